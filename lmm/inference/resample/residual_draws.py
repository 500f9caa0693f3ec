"""Responses of linear models made of what the fit left, in standardized rows.

Random effects of the levels of a group, with the mean taken off, have the empirical covariance S;
times ``A = L_S'^-1 L'`` they have the estimated one, ``L L'`` (Carpenter, Goldstein & Rasbash,
2003).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.linalg import block_diag, solve_triangular

from lmm._types import IntVector, Matrix, Vector
from lmm.design.codes import rows_by_level
from lmm.design.response import Response
from lmm.errors import DataError
from lmm.fit import Fit
from lmm.inference.fixed.robust import outermost
from lmm.inference.resample.regressed import StandardizedRows, rows_of
from lmm.inference.resample.schemes import Wild

# Eigenvalues of S below this fraction of the largest are zero.
SINGULAR = 1e-10
# Mammen's two points (1993, Ann. Stat. 21, 255-285), and the probability of the first.
GOLDEN = 0.5 * (1.0 + np.sqrt(5.0))
POINTS = (1.0 - GOLDEN, GOLDEN)
FIRST = GOLDEN / np.sqrt(5.0)


@dataclass(frozen=True, eq=False)
class LevelSimulator:
    """Draws random effects level by level, and residuals row by row, both with replacement.

    Parameters
    ----------
    Zt : (q, n) sparse array
        Random-effects columns of standardized rows, transposed.
    mean : (n,) array
        Fixed part.
    effects : tuple of tuples of (l, k_i) arrays
        Whitened effects of the terms of each group, drawn together.
    order : tuple of int
        Position among the groups' terms, side by side, of each term of the model.
    residuals : (n,) array
        Residuals of the rows.
    blocks : (n,) int array or None
        Level of each row whose residuals come from one other level; None for any rows'.
    response : Response
        The model's own response, for its units.
    """

    Zt: sparse.csr_array
    mean: Vector
    effects: tuple[tuple[Matrix, ...], ...]
    order: tuple[int, ...]
    residuals: Vector
    blocks: IntVector | None
    response: Response

    def raw(self, y: Matrix) -> Matrix:
        """Responses in original units from standardized ones."""
        return self.response.raw(y)

    def draw(self, rng: np.random.Generator, size: int) -> tuple[Matrix, Vector]:
        """Responses (n, size), and zeros (size,): no rows are hidden."""
        drawn: list[Matrix] = []
        for terms in self.effects:
            levels = len(terms[0])
            chosen = rng.integers(levels, size=(levels, size))
            drawn += [b[chosen].transpose(0, 2, 1).reshape(-1, size) for b in terms]
        b = np.concatenate([drawn[i] for i in self.order])
        y = self.residuals[self._sources(rng, size)] + self.mean[:, None] + self.Zt.T @ b
        return np.asarray(y), np.zeros(size)

    def _sources(self, rng: np.random.Generator, size: int) -> IntVector:
        """Rows whose residuals are taken, (n, size)."""
        n = len(self.mean)
        if self.blocks is None:
            return rng.integers(n, size=(n, size))
        counts = np.bincount(self.blocks)
        starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
        donors = rng.integers(len(counts), size=(len(counts), size))[self.blocks]
        place = np.floor(rng.uniform(size=(n, size)) * counts[donors]).astype(np.intp)
        return np.argsort(self.blocks, kind="stable")[starts[donors] + place]


@dataclass(frozen=True, eq=False)
class WildSimulator:
    """Draws marginal residuals times random numbers per cluster.

    Parameters
    ----------
    mean, residuals : (n,) arrays
        Fixed part, and residuals corrected for leverage, of standardized rows.
    clusters : (n,) int array
        Cluster of each row.
    weights : str
        Distribution of the random numbers, as `Wild` has it.
    response : Response
        The model's own response, for its units.
    """

    mean: Vector
    residuals: Vector
    clusters: IntVector
    weights: str
    response: Response

    @classmethod
    def of(cls, fit: Fit, scheme: Wild) -> WildSimulator:
        """Prepare the simulation of a fit."""
        rows, mean, residuals = _marginal(fit)
        # The columns of X are orthonormal.
        left = np.maximum(1.0 - np.einsum("ij,ij->i", rows.X, rows.X), 0.0)
        if (left < SINGULAR).any():
            raise DataError(
                f"{int((left < SINGULAR).sum())} rows determine a fixed effect alone: their "
                "residuals are zero, and the wild bootstrap cannot draw them."
            )
        corrected = residuals / (left if scheme.correction == "hc3" else np.sqrt(left))
        _, codes = outermost({term.group: term.codes for term in fit.matrices.terms})
        return cls(mean, corrected, codes, scheme.weights, fit.matrices.response)

    def raw(self, y: Matrix) -> Matrix:
        """Responses in original units from standardized ones."""
        return self.response.raw(y)

    def draw(self, rng: np.random.Generator, size: int) -> tuple[Matrix, Vector]:
        """Responses (n, size), and zeros (size,): no rows are hidden."""
        u = rng.uniform(size=(int(self.clusters.max()) + 1, size))
        if self.weights == "mammen":
            w = np.where(u < FIRST, *POINTS)
        else:
            w = np.where(u < 0.5, -1.0, 1.0)
        y = self.mean[:, None] + self.residuals[:, None] * w[self.clusters]
        return y, np.zeros(size)


def residual_simulator(fit: Fit) -> LevelSimulator:
    """Draw predicted random effects and residuals, scaled to the estimates."""
    own = [b @ R.T for R, b in zip(fit.problem.whitening, fit.b, strict=True)]
    residuals = fit.sigma * fit.scaled_residuals
    return _levels(fit, own, _scaled_residuals(fit, residuals), None, _scaled)


def block_simulator(fit: Fit, scaled: bool) -> LevelSimulator:
    """Draw effects of each level alone, and blocks of what they leave.

    Raises
    ------
    DataError
        The model has several grouping factors.
    """
    groups = fit.problem.groups
    if len(groups) != 1:
        raise DataError(
            "the random effect block bootstrap is one for a single grouping factor; the model has "
            f"{', '.join(group.name for group in groups)}: use kind='residual'."
        )
    rows, _, residuals = _marginal(fit)
    codes = rows.codes[0]
    Z = np.hstack(rows.Z)
    effects = np.zeros((int(codes.max()) + 1, Z.shape[1]))
    left = residuals.copy()
    for i, inside in enumerate(rows_by_level(codes)):
        effects[i] = np.linalg.lstsq(Z[inside], residuals[inside], rcond=None)[0]
        left[inside] -= Z[inside] @ effects[i]
    ends = np.cumsum([part.shape[1] for part in rows.Z])[:-1]
    own = np.split(effects, ends, axis=1)
    if scaled:
        return _levels(fit, own, _scaled_residuals(fit, left), codes, _scaled)
    return _levels(fit, own, left, codes, lambda fit, members, effects: effects)


def _marginal(fit: Fit) -> tuple[StandardizedRows, Vector, Vector]:
    """Standardized rows, their fixed part and what it leaves, (n,)."""
    rows, response = rows_of(fit.problem), fit.matrices.response
    mean = rows.X @ (fit.problem.T @ fit.beta)
    return rows, mean, response.standardized(response.y) - mean


def _levels(
    fit: Fit,
    effects: Sequence[Matrix],
    residuals: Vector,
    blocks: IntVector | None,
    prepared: Callable[[Fit, list[int], Matrix], Matrix],
) -> LevelSimulator:
    """Draws of whitened effects (l_i, k_i) per term, each group's prepared side by side."""
    rows, mean, _ = _marginal(fit)
    parts, order = [], []
    for group in fit.problem.groups:
        terms = [i for i, _ in group.members]
        together = prepared(fit, terms, np.hstack([effects[i] for i in terms]))
        ends = np.cumsum([effects[i].shape[1] for i in terms])[:-1]
        parts.append(tuple(np.split(together, ends, axis=1)))
        order += terms
    Zt = rows.Zt([term.n_levels for term in fit.matrices.terms])
    places = tuple(order.index(i) for i in range(len(order)))
    return LevelSimulator(Zt, mean, tuple(parts), places, residuals, blocks, fit.matrices.response)


def _scaled_residuals(fit: Fit, residuals: Vector) -> Vector:
    """Residuals with mean zero and the estimated variance."""
    centred = residuals - residuals.mean()
    return np.asarray(centred * (fit.sigma / centred.std()))


def _scaled(fit: Fit, terms: list[int], effects: Matrix) -> Matrix:
    """Effects (l, k) of a group's terms with mean zero and the estimated covariance.

    Raises
    ------
    DataError
        There are too few levels for it.
    """
    factors = fit.whitened_factors
    root = fit.sigma * block_diag(*(factors[i] for i in terms))
    target = root @ root.T
    centred = effects - effects.mean(axis=0)
    S = centred.T @ centred / len(centred)
    values, vectors = np.linalg.eigh(S)
    if values[0] > SINGULAR * values[-1]:
        lower = np.linalg.cholesky(S)
        turn = solve_triangular(lower, root.T, lower=True, trans="T")
    else:  # a variance of zero: on the range of both, by symmetric roots
        kept = values > SINGULAR * values[-1]
        inverse = (vectors[:, kept] / np.sqrt(values[kept])) @ vectors[:, kept].T
        own, axes = np.linalg.eigh(target)
        turn = inverse @ (axes * np.sqrt(np.maximum(own, 0.0))) @ axes.T
    made = turn.T @ S @ turn
    if np.abs(made - target).max() > 1e-6 * max(float(np.abs(target).max()), 1e-300):
        name = fit.matrices.terms[terms[0]].group
        raise DataError(
            f"{len(effects)} levels of {name} have too few effects to give them the estimated "
            "covariance: use kind='parametric'."
        )
    return np.asarray(centred @ turn)
