"""How the covariance of the fixed effects answers to the variance parameters.

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

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse

from lmm._types import Matrix
from lmm.fit import Fit
from lmm.pls import PenalizedFactor

__all__ = ["Couplings"]


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
