"""Adaptive Gauss-Hermite quadrature for one grouping factor, with an exact gradient.

For every level, ``u = u_hat + L^-T z`` with ``L L' = Lambda'A Lambda + I`` and z on the grid of a
product rule with weights w, the criterion is (docs/theory/quadrature.md)

    d = sum_levels [log|L L'| - 2 log sum_j w_j exp(l(u_j) - |u_j|^2 / 2 + |z_j|^2 / 2)]      (1)

The nodes move with the parameters. With pi_j the weights of the nodes given the response, and
``s_j = u_j - Lambda'Z'r(u_j)``, the derivative along a parameter is

    tr(L^-1 dOmega L^-T) + 2 sum_j pi_j [s_j'(du_hat + dL^-T z_j) - dl(u_j) at fixed u_j]       (2)

with ``dL^-T = -L^-T phi'``, where phi is the lower triangle of ``L^-1 dOmega L^-T`` with half its
diagonal. The Hessian that steers a search is Laplace's.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.polynomial.hermite_e import hermegauss
from scipy.linalg import block_diag

from lmm._types import Matrix, Vector, cached_property
from lmm.design.matrices import ModelMatrices
from lmm.laplace.effects import ALL
from lmm.laplace.level_expansion import LevelExpansion

# Nodes of a product rule, and columns, up to which it is offered.
MOST_NODES, MOST_COLUMNS = 10_000, 3
# Step of differences of covariance factors, which are linear or nearly so in their parameters.
STEP = 1e-5


def check_rule(matrices: ModelMatrices, nagq: int) -> None:
    """Refuse quadrature where there is no product rule.

    Raises
    ------
    ValueError
        There are several grouping factors, or too many columns or nodes.
    """
    groups = {term.group for term in matrices.terms}
    k = sum(term.size for term in matrices.terms)
    if len(groups) > 1 or k > MOST_COLUMNS or nagq**k > MOST_NODES:
        raise ValueError(
            f"nagq > 1 is only available for models with a single grouping factor, at most "
            f"{MOST_COLUMNS} random effects per level and {MOST_NODES} nodes: this one has "
            f"{len(groups)} grouping factors, {k} columns and {nagq}^{k} nodes. Use nagq=1"
        )


def rule(nagq: int, k: int) -> tuple[Matrix, Vector]:
    """Nodes (J, k) and weights (J,) of the product rule for k standard normal variables."""
    z, w = hermegauss(nagq)
    w = w / w.sum()
    grid = np.array(list(product(z, repeat=k)))
    return grid, np.prod(np.array(list(product(w, repeat=k))), axis=1)


@dataclass(frozen=True, eq=False)
class Nodes:
    """Posterior means over the nodes, by level.

    Attributes
    ----------
    logarithm : float
        Sum over levels of the logarithm in (1).
    s : (l, k) array
        Mean of s_j.
    sz : (l, k, k) array
        Mean of ``s_j z_j'``.
    ru : (l, k, k) array
        Mean of ``Z'r(u_j) u_j'``.
    rX : (p,) array
        Mean of ``X'r(u_j)``, over all levels.
    by_xi : float
        Mean of the derivative of l by xi, over all levels.
    """

    logarithm: float
    s: Matrix
    sz: Matrix
    ru: Matrix
    rX: Vector
    by_xi: float


@dataclass(frozen=True, eq=False)
class Quadrature(LevelExpansion):
    """Criterion (1) at a mode, with its exact gradient.

    Attributes
    ----------
    nagq : int
        Nodes per column.
    """

    nagq: int = 1

    @property
    def is_exact(self) -> bool:
        """False: the Hessian is Laplace's."""
        return False

    @cached_property
    def _lam(self) -> Matrix:
        return self.model.effects.groups[0].factor(self.place.factors)

    @cached_property
    def _A(self) -> Matrix:
        """Z'WZ per level, (l, k, k)."""
        return np.ascontiguousarray(self.D.A.transpose(2, 0, 1))

    @cached_property
    def _L_inverse(self) -> Matrix:
        lam = self._lam
        omega = lam.T @ self._A @ lam + np.eye(len(lam))
        return np.linalg.inv(np.linalg.cholesky(omega))

    @cached_property
    def _u(self) -> Matrix:
        """The mode in spherical effects, (l, k): b = Lambda u and ``u = Lambda'v``."""
        (v,) = self.model.effects.by_group(self.mode.v)
        return np.asarray(v @ self._lam)

    @cached_property
    def _nodes(self) -> Nodes:
        model, xi = self.model, self.place.xi
        effects, group, bound = model.effects, model.effects.groups[0], model.bound
        grid, weights = rule(self.nagq, group.size)
        fixed = self.mode.eta - effects.spread(self.mode.b)

        def summed(rows: Vector) -> Vector:
            sums: Vector = np.bincount(group.codes, rows, group.n_levels).astype(float)
            return sums

        logs, found = [], []
        for z, weight in zip(grid, weights, strict=True):
            u = self._u + z @ self._L_inverse
            b = u @ self._lam.T
            eta = fixed + effects.spread(b.ravel())
            with np.errstate(all="ignore"):
                rows = (bound.loglik_rows, bound.score_rows, bound.shape_slopes)
                loglik, r, slopes = (of(eta, xi) for of in rows)
            inside = np.isfinite(loglik)  # beyond the link's range a level's node has no weight
            r = np.where(inside, r, 0.0)
            penalty = np.einsum("la,la->l", u, u) - z @ z
            logs.append(summed(loglik) - 0.5 * penalty + np.log(weight))
            (Zr,) = effects.by_group(effects.sums(r))
            s = u - Zr @ self._lam
            rX = np.array([summed(r * column) for column in model.outer.T])
            shape = summed(np.where(inside, slopes, 0.0))
            found.append((s, s[:, :, None] * z, Zr[:, :, None] * u[:, None, :], rX, shape))
        top = np.max(logs, axis=0)
        pi = np.exp(np.array(logs) - top)
        total = pi.sum(axis=0)
        pi /= total
        parts = [np.array(part) for part in zip(*found, strict=True)]
        return Nodes(
            float((top + np.log(total)).sum()),
            np.einsum("jl,jla->la", pi, parts[0]),
            np.einsum("jl,jlab->lab", pi, parts[1]),
            np.einsum("jl,jlab->lab", pi, parts[2]),
            np.einsum("jl,jpl->p", pi, parts[3].reshape(len(pi), -1, len(top))),
            float(np.vdot(pi, parts[4])),
        )

    @cached_property
    def value(self) -> float:
        """See `Expansion`."""
        return self.D.logdet - 2.0 * (self._nodes.logarithm + self.model.bound.lost)

    @cached_property
    def score(self) -> Vector:
        """See `Expansion`; along null directions of Gamma it is Laplace's."""
        model, e = self.model, self.model.e
        J = model.parameters.jacobian(self.place.x[: model.m])
        laplace = self.laplace_score
        gradient = self._gradient
        change = gradient[: model.m] - J.T @ laplace[:e]
        moved = np.linalg.lstsq(J.T, change, rcond=1e-10)[0]
        return np.concatenate([laplace[:e] + moved, gradient[model.m :]])

    @cached_property
    def slopes(self) -> tuple[Matrix, ...]:
        """See `Expansion`."""
        laplace = self.laplace_slopes
        S = self.flat_units
        change = (self.score - self.laplace_score)[: self.model.e]
        flat = np.linalg.lstsq(S, change, rcond=None)[0]
        ends = np.cumsum([G.size for G in laplace])
        parts = np.split(flat, ends[:-1])
        return tuple(G + part.reshape(G.shape) for G, part in zip(laplace, parts, strict=True))

    @cached_property
    def _gradient(self) -> Vector:
        """Derivatives (2) by the coordinates x, (d,)."""
        model, m = self.model, self.model.m
        nodes, lam = self._nodes, self._lam
        J = model.parameters.jacobian(self.place.x[:m])
        directions = block_diag(J, np.eye(model.d - m))
        moving = self._whole(self.moving(ALL, directions))
        (by_level,) = model.effects.by_group(self.v_along(directions))
        (own_v,) = model.effects.by_group(self.mode.v)
        found = np.empty(model.d)
        for j in range(model.d):
            S = moving[j].transpose(2, 0, 1)
            d_omega, d_u = lam.T @ S @ lam, by_level[:, :, j] @ lam
            if j < m:
                d_lam = self._factor_slope(j)
                half = d_lam.T @ self._A @ lam
                d_omega = d_omega + half + np.swapaxes(half, 1, 2)
                d_u = d_u + own_v @ d_lam
            trace, inner = self._moved(d_omega, d_u)
            found[j] = trace + 2.0 * inner
            if j < m:
                found[j] -= 2.0 * float(np.einsum("lab,ab->", nodes.ru, d_lam))
        found[m : m + model.p] -= 2.0 * nodes.rX
        if model.has_xi:
            found[-1] -= 2.0 * nodes.by_xi
        return found

    def _moved(self, d_omega: Matrix, d_u: Matrix) -> tuple[float, float]:
        """The trace in (2), and the mean of s_j times how the nodes move."""
        Li, nodes = self._L_inverse, self._nodes
        M = Li @ d_omega @ np.swapaxes(Li, 1, 2)
        phi = np.tril(M)
        k = phi.shape[1]
        phi[:, np.arange(k), np.arange(k)] *= 0.5
        d_L = -np.einsum("lba,lcb->lac", Li, phi)
        inner = np.vdot(nodes.s, d_u) + np.vdot(nodes.sz, d_L)
        return float(np.einsum("laa->", M)), float(inner)

    def _factor_slope(self, j: int) -> Matrix:
        """Derivative of Lambda by the j-th covariance parameter, (k, k)."""
        x = self.place.x[: self.model.m]
        step = STEP * np.eye(len(x))[j]
        group = self.model.effects.groups[0]
        up, down = (group.factor(self.model.matrices.factors(at)) for at in (x + step, x - step))
        return np.asarray((up - down) / (2.0 * STEP))
