"""Where the search begins: the fit without random effects, and moments of its scores.

The marginal fit is by iteratively reweighted least squares. At it the sums ``c_i = Z_i'r`` of
scores have covariance ``A_i + A_i Psi A_i`` with ``A_i = Z_i'WZ_i``, which gives Psi by a linear
system for one grouping factor; several share what each alone would explain, and one step of
scoring from the joint mode of coefficients and random effects tells them apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lmm._lapack import eigh, qr_factor, solve_upper
from lmm._types import Matrix, Vector
from lmm.design.matrices import ModelMatrices
from lmm.family import Conditional, Family
from lmm.laplace.row_sums import grams
from lmm.pls import stacked
from lmm.pls.groups import Group

if TYPE_CHECKING:
    from lmm.laplace.effects import Effects
    from lmm.laplace.mode import Mode
    from lmm.laplace.model import Model


STEPS = 25
LARGE_XI = 8.0
# Share of the largest pivot below which weighted columns may depend on each other.
DEPENDENT = 1e-10
# Eigenvalues of Gamma are kept above this: from exactly 0 no step would lead away.
CLEAR = 0.02
# What another step to the mode promises, beside the penalized likelihood, far away from it.
ASTRAY = 0.05


@dataclass(frozen=True, eq=False)
class Marginal:
    """The fit without random effects.

    Attributes
    ----------
    beta : (p,) array
        Coefficients.
    eta, weights : (n,) arrays
        Linear predictor, and expected information, kept away from zero.
    xi : float
        Where to begin with the family's shape, on the log scale.
    """

    beta: Vector
    eta: Vector
    weights: Vector
    xi: float


def marginal_fit(matrices: ModelMatrices, family: Family, bound: Conditional) -> Marginal:
    """Fit a generalized linear model; a few steps of it will do."""
    with np.errstate(all="ignore"):  # steps that leave the family's range are halved
        return _marginal_fit(matrices, family, bound)


def _marginal_fit(matrices: ModelMatrices, family: Family, bound: Conditional) -> Marginal:
    X, offset = matrices.X, matrices.offset
    beta = constant_mean(X, offset, family, bound)
    inside = X @ beta + offset
    last = bound.loglik(inside, 0.0)
    eta = family.link_function(family.start_mean(bound.y, bound.weights))
    for _ in range(STEPS):
        rows = bound.at(eta, 0.0, 0)
        W = _positive(rows.expected[0])
        new = _least_squares(X, W, eta - offset + rows.score / W)
        there = X @ new + offset
        loglik = bound.loglik(there, 0.0)
        t = 1.0
        while np.isfinite(last) and not loglik >= last - 1e-8 * abs(last) and t > 1e-3:
            t *= 0.5
            there = inside + t * (X @ new + offset - inside)
            loglik = bound.loglik(there, 0.0)
        if not np.isfinite(loglik):
            break
        beta = new if t == 1.0 else beta + t * (new - beta)
        eta = inside = there
        if abs(loglik - last) < 1e-6 * (abs(loglik) + 1.0):
            break
        last = loglik
    eta = inside if np.isfinite(last) else eta
    xi = _shape_start(family, bound, eta)
    rows = bound.at(eta, xi, 0)
    return Marginal(beta, eta, _positive(rows.expected[0]), xi)


def constant_mean(X: Matrix, offset: Vector, family: Family, bound: Conditional) -> Vector:
    """Coefficients (p,) whose predictors are as equal as can be: a point inside narrow ranges."""
    mean = np.average(bound.y, weights=bound.weights)
    level = family.link_function(family.start_mean(np.full(1, mean), np.ones(1)))
    return _least_squares(X, np.ones(len(X)), level - offset)


def _positive(W: Vector) -> Vector:
    """Weights kept away from zero, for their logarithms and inverses."""
    finite = np.where(np.isfinite(W), W, 0.0)
    return np.maximum(finite, 1e-8 * max(float(finite.mean()), 1e-300))


def _least_squares(X: Matrix, W: Vector, z: Vector) -> Vector:
    root, p = np.sqrt(W), X.shape[1]
    R = qr_factor(np.column_stack([X, z]) * root[:, None])
    pivots = np.abs(R.diagonal()[:p])
    if pivots.min(initial=np.inf) > DEPENDENT * pivots.max(initial=0.0):
        return solve_upper(R[:p, :p], R[:p, p])
    return np.asarray(np.linalg.lstsq(X * root[:, None], z * root, rcond=None)[0])


def _shape_start(family: Family, bound: Conditional, eta: Vector) -> float:
    """The best shape without random effects, moved to where they would leave it."""
    xi = 0.0
    if not family.shape_name:
        return xi
    for _ in range(STEPS):
        shape = bound.at(eta, xi, 1).shape
        assert shape is not None
        step = shape.first / max(abs(shape.second), 1e-8)
        # theta of counts that are not overdispersed has no finite optimum
        xi = float(np.clip(xi + np.clip(step, -2.0, 2.0), -LARGE_XI, LARGE_XI))
        if abs(step) < 1e-3:
            break
    toward = np.log(2.0) if family.shape_name == "theta" else -np.log(2.0)
    return xi + float(toward)


def moment_start(model: Model) -> Vector:
    """Whitened coordinates (m,) of the covariances that the scores of the marginal fit tell of."""
    marginal, groups = model.marginal, model.effects.groups
    rows = model.bound.at(marginal.eta, marginal.xi, 0)
    W = _positive(rows.expected[0])
    found = [_moments(group, grams(group, W), rows.score) for group in groups]
    psis, gaps = [psi for psi, _ in found], np.array([gap for _, gap in found])
    shares = np.ones(1) if len(groups) == 1 else _shares(model.effects, W, psis, gaps)
    each = zip(groups, psis, shares, strict=True)
    by_term = {
        i: share * psi[part, part] for group, psi, share in each for i, part in group.members
    }
    return _nearest(model, [by_term[i] for i in range(len(by_term))])


def scored_start(model: Model, theta: Vector, mode: Mode, xi: float) -> Vector:
    """Whitened coordinates (m,) after a scoring step on Gamma from theta, near its joint mode.

    It leaves out how weights follow the mode, and takes the place of an evaluation that costs twice
    as much. For one grouping factor that is next to nothing, and far from the mode it would lead
    astray: then theta stays.
    """
    effects, factors = model.effects, model.matrices.factors(theta)
    if len(effects.groups) == 1 or mode.decrement > ASTRAY * abs(mode.penalized):
        return theta
    weights = _positive(model.bound.scored(mode.eta, xi).expected[0])
    D = effects.eliminated(weights, factors)
    slopes = [F - v.T @ v for F, v in zip(D.sums, effects.by_term(mode.v), strict=True)]
    units = model.parameters.units(theta)
    slope, information = units @ stacked(tuple(slopes)), units @ D.scoring @ units.T
    step = np.linalg.lstsq(information, slope, rcond=None)[0]
    moved, gammas, start = step @ units, [], 0
    for factor in factors:
        change = moved[start : start + factor.size].reshape(factor.shape)
        gammas.append(factor @ factor.T - change)
        start += factor.size
    return _nearest(model, gammas)


def _nearest(model: Model, gammas: Sequence[Matrix]) -> Vector:
    """Whitened coordinates (m,) of what is nearest to Gammas and well away from singular ones."""
    x = np.empty(model.m)
    each = zip(gammas, model.matrices.terms, model.matrices.theta_slices, strict=True)
    for gamma, term, own in each:
        values, vectors = eigh(gamma)
        x[own] = term.covariance.nearest((vectors * np.maximum(values, CLEAR)) @ vectors.T)
    return x


def _moments(group: Group, A: Matrix, r: Vector) -> tuple[Matrix, float]:
    """Psi (k, k), made positive definite, and what there is to explain."""
    k = group.size
    c = np.array([np.bincount(group.codes, r * z, group.n_levels) for z in group.Z.T])
    products = np.einsum("abl,cdl->acbd", A, A, optimize=True).reshape(k * k, k * k)
    products.flat[:: k * k + 1] += 1e-9 * np.trace(products)
    gap = c @ c.T - A.sum(axis=2)
    psi = np.linalg.solve(products, gap.ravel()).reshape(k, k)
    values, vectors = eigh(0.5 * (psi + psi.T))
    floor = 0.1 * max(float(values[-1]), 0.5)
    return (vectors * np.maximum(values, floor)) @ vectors.T, float(np.trace(gap))


def _shares(effects: Effects, W: Vector, psis: list[Matrix], gaps: Vector) -> Vector:
    """Shares tau of the factors: ``sum_h tau_h |Z_g'W Z_h psi_h^(1/2)|^2 = gap_g``."""
    from scipy.optimize import nnls

    groups = effects.groups
    M = np.empty((len(groups),) * 2)
    for j, (h, psi) in enumerate(zip(groups, psis, strict=True)):
        columns = h.Z @ np.linalg.cholesky(psi)
        for i, g in enumerate(groups):
            cell, count = effects.cells(i, j)
            sums = [np.bincount(cell, W * a * b, count) for a in g.Z.T for b in columns.T]
            M[i, j] = float(np.sum(np.square(sums)))
    scale = np.maximum(M.diagonal(), 1e-300)
    tau, _ = nnls(M / scale[:, None], np.maximum(gaps / scale, 0.0))
    return np.clip(tau, 0.05, 1.0)
