"""How a criterion and the covariance of the fixed effects answer to the variance parameters.

The coordinates g (m,) are the entries of the whitened relative covariances ``Gamma*`` that theta
fills: V = I + sum_r g_r G_r is linear in them, with ``G_r = Z S_r Z'`` and S_r symmetric, one or
two ones per level. Everything is written in the basis U with ``sigma^2 U U' = vcov(beta)``, where
the fixed effects' columns ``Xt = W^(1/2) X U`` have ``Xt'V^-1 Xt = I``. With ``D = Z'V^-1 Xt``,

    P_r  = Xt'V^-1 G_r V^-1 Xt         = D'S_r D                                              (1)
    Q_rs = Xt'V^-1 G_r V^-1 G_s V^-1 Xt = (S_r D)' Z'V^-1 Z (S_s D)                              (2)

so that ``d vcov / dg_r = sigma^2 U P_r U'``. No n x n matrix is formed: V^-1 is applied to p
columns at a time (`lmm.pls.factor`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse
from scipy.linalg import block_diag

from lmm._threads import blas_threads
from lmm._types import Matrix, Vector
from lmm.criterion import ProfiledCriterion, lower_triangular, stacked
from lmm.fit import Fit
from lmm.pls import Derivatives, Factors, PenalizedFactor

__all__ = ["Couplings", "Curvature", "entries_in_x"]

# Step in an entry of Gamma* for the derivative of the gradient, relative to FLOOR + its variance.
STEP = 1e-3
FLOOR = 1e-2


@dataclass(frozen=True)
class Curvature:
    """Derivatives of log determinants and pwrss in the entries g, exact on every model.

    Attributes
    ----------
    logdet : (m,) array
        First derivative of the log determinants, ``tr(F S_r)``.
    quadratic : (m,) array
        Minus the first derivative of log pwrss.
    average : (m, m) array
        Half the second derivative of pwrss, over pwrss.
    trace : (m, m) array
        Minus the second derivative of the log determinants, ``tr(F S_r F S_s)``.
    slopes : tuple of (k_i, k_i) arrays
        Derivative of the profiled criterion in Gamma*.
    """

    logdet: Vector
    quadratic: Vector
    average: Matrix
    trace: Matrix
    slopes: tuple[Matrix, ...]

    @classmethod
    def of(cls, fit: Fit) -> Curvature:
        """Curvature of the criterion of a fit, where it ended."""
        criterion = fit.criterion
        factors = criterion.factors(fit.optimum.x)
        with blas_threads(criterion.pls.dense_size):
            at = criterion.pls.derivatives(factors, criterion.reml)
            S = criterion.matrices.theta_map.symmetric_units
            trace = S @ at.trace @ S.T if at.exact else _differenced_trace(criterion, factors, at)
        nu = criterion.degrees_of_freedom
        slopes = tuple(t - nu * q for t, q in zip(at.logdet, at.quadratic, strict=True))
        return cls(
            S @ stacked(at.logdet), S @ stacked(at.quadratic), S @ at.average @ S.T, trace, slopes
        )


def _differenced_trace(criterion: ProfiledCriterion, factors: Factors, at: Derivatives) -> Matrix:
    """``tr(F S_r F S_s)`` by second-order differences of the exact ``tr(F S_r)``.

    Gamma* is moved by multiples of positive semidefinite matrices only, so that the steps exist
    on the boundary too; the off-diagonal directions follow from them by linearity.
    """
    S = criterion.matrices.theta_map.symmetric_units
    moves, slopes = [], []
    for i, direction in _semidefinite_directions(criterion):
        size = float(direction @ np.diag(factors[i] @ factors[i].T))
        step = STEP * (FLOOR + size)
        ahead = []
        for distance in (step, 2.0 * step):
            moved = np.column_stack([factors[i], np.sqrt(distance) * direction])
            there = (*factors[:i], lower_triangular(moved), *factors[i + 1 :])
            ahead.append(stacked(criterion.pls.derivatives(there, criterion.reml).logdet))
        slopes.append((4.0 * ahead[0] - ahead[1] - 3.0 * stacked(at.logdet)) / (2.0 * step))
        blocks = [np.zeros_like(factor) for factor in factors]
        blocks[i] = np.outer(direction, direction)
        moves.append(stacked(tuple(blocks)))
    # moves = mixing @ S in the space of symmetric matrices
    mixing = np.array(moves) @ np.linalg.pinv(S)
    trace = -np.linalg.solve(mixing, np.array(slopes) @ S.T)
    return np.asarray(0.5 * (trace + trace.T))


def _semidefinite_directions(criterion: ProfiledCriterion) -> Iterator[tuple[int, Vector]]:
    """Term and vector d for each entry of theta: d d' is E_ii, or has E_ij + E_ji in it."""
    for i, term in enumerate(criterion.matrices.terms):
        identity = np.eye(term.size)
        for row, column in zip(*term.covariance.positions, strict=True):
            yield i, identity[row] if row == column else identity[row] + identity[column]


def entries_in_x(fit: Fit, slopes: tuple[Matrix, ...]) -> tuple[Matrix, Matrix]:
    """Chain rule from the entries g to x, the entries of lambda* that theta fills.

    ``Gamma* = lambda* lambda*'`` is quadratic in x.

    Parameters
    ----------
    fit : Fit
        The fit.
    slopes : tuple of (k_i, k_i) arrays
        Derivatives of a function in Gamma*.

    Returns
    -------
    first : (m, m) array
        dg/dx, a column per component of x.
    second : (m, m) array
        Second derivatives of g in x, contracted with the slopes.
    """
    firsts, seconds = [], []
    factors = fit.criterion.factors(fit.optimum.x)
    for term, factor, slope in zip(fit.matrices.terms, factors, slopes, strict=True):
        rows, columns = term.covariance.positions
        # d(lambda lambda')/d lambda_rc = e_r lambda_c' + lambda_c e_r'
        half = np.eye(term.size)[rows][:, :, None] * factor.T[columns][:, None, :]
        moved = half + half.transpose(0, 2, 1)
        firsts.append(moved[:, rows, columns].T)
        same = columns[:, None] == columns
        seconds.append(np.where(same, 2.0 * slope[rows[:, None], rows], 0.0))
    return np.asarray(block_diag(*firsts)), np.asarray(block_diag(*seconds))


@dataclass(frozen=True)
class _Direction:
    """Entry (row, column) of the relative covariance of a group's columns."""

    group: int
    row: int
    column: int


@dataclass(frozen=True, eq=False)
class Couplings:
    """Couplings of fixed and random effects through V^-1, at the estimates of a fit.

    Attributes
    ----------
    fit : Fit
        The fit.
    """

    fit: Fit

    @cached_property
    def _factor(self) -> PenalizedFactor:
        criterion = self.fit.criterion
        return PenalizedFactor.of(criterion.problem, criterion.factors(self.fit.optimum.x))

    @cached_property
    def _columns(self) -> tuple[sparse.csr_array, ...]:
        """Z of each group, (n, l k) sparse."""
        columns = []
        for group in self.fit.criterion.problem.groups:
            n, k = group.Z.shape
            places = (group.codes[:, None] * k + np.arange(k)).ravel()
            starts = np.arange(0, n * k + 1, k)
            columns.append(sparse.csr_array((group.Z.ravel(), places, starts), shape=(n, group.q)))
        return tuple(columns)

    @cached_property
    def _directions(self) -> tuple[_Direction, ...]:
        starts = {
            i: (g, part.start)
            for g, group in enumerate(self.fit.criterion.problem.groups)
            for i, part in group.members
        }
        return tuple(
            _Direction(starts[i][0], starts[i][1] + row, starts[i][1] + column)
            for i, term in enumerate(self.fit.matrices.terms)
            for row, column in zip(
                *(part.tolist() for part in term.covariance.positions), strict=True
            )
        )

    def _by_level(self, rows: Matrix) -> tuple[Matrix, ...]:
        """Z' times rows (n, r), per group (l, k, r)."""
        groups = self.fit.criterion.problem.groups
        return tuple(
            (Z.T @ rows).reshape(group.n_levels, group.size, rows.shape[1])
            for Z, group in zip(self._columns, groups, strict=True)
        )

    def _solve(self, rows: Matrix) -> Matrix:
        """V^-1 times rows (n, r)."""
        solved = rows
        if not rows.shape[1]:
            return solved
        for Z, b in zip(self._columns, self._factor.product(self._by_level(rows)), strict=True):
            solved = solved - Z @ _flat(b)
        return solved

    @cached_property
    def D(self) -> tuple[Matrix, ...]:
        """``Z'V^-1 Xt`` per group, (l, k, p)."""
        problem = self.fit.criterion.problem
        return self._by_level(self._solve(problem.X @ (problem.T @ self.fit.fixed_root)))

    def _turned(self, direction: _Direction) -> Matrix:
        """``S_r D`` in its group, (l, k, p)."""
        D = self.D[direction.group]
        turned = np.zeros_like(D)
        turned[:, direction.row] = D[:, direction.column]
        turned[:, direction.column] = D[:, direction.row]
        return turned

    @cached_property
    def first(self) -> Matrix:
        """P_r of (1), (m, p, p)."""
        return np.array([_inner(self.D[r.group], self._turned(r)) for r in self._directions])

    @cached_property
    def second(self) -> Matrix:
        """Q_rs of (2), (m, m, p, p)."""
        m, p = len(self._directions), self.fit.matrices.p
        Q = np.empty((m, m, p, p))
        for s, direction in enumerate(self._directions):
            rows = self._columns[direction.group] @ _flat(self._turned(direction))
            coupled = self._by_level(self._solve(rows))
            for r, other in enumerate(self._directions):
                Q[r, s] = _inner(self._turned(other), coupled[other.group])
        return Q


def _flat(blocks: Matrix) -> Matrix:
    """Blocks (l, k, p) as (l k, p)."""
    n_levels, size, p = blocks.shape
    return blocks.reshape(n_levels * size, p)


def _inner(left: Matrix, right: Matrix) -> Matrix:
    """Sum over levels and columns of left right', (p, p)."""
    return np.asarray(_flat(left).T @ _flat(right))
