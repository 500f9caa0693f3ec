"""Second derivatives for several grouping factors: the largest in front, the others a dense tail.

With ``H`` the D of the leading factor alone (1), block by block, ``C = Z_1'WZ_2``, ``B = H C`` and
Y = D_22,

    D = [[H, 0], [0, 0]] + J Y J',     J = [-B; I]                                              (1)

so that nothing of size q x q is formed but the tail's own block, and what the Hessian asks for are
products of the tail's size (docs/theory/laplace.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from lmm._types import IntVector, Matrix, Vector
from lmm.laplace.rows import row_forms

if TYPE_CHECKING:
    from lmm.laplace.effects import Effects, Elimination

__all__ = ["LARGEST", "Split"]

# Numbers in the largest array, beside the directions.
LARGEST = 30_000_000
# Share of the cells of lead and tail below which those that are empty are left out.
SPARSE = 0.1


@dataclass(frozen=True, eq=False)
class Parts:
    """Cross-products of weighted rows: lead (l, k, k), lead by tail (l, k, q2), tail (q2, q2)."""

    A: Matrix
    C: Matrix
    T: Matrix


@dataclass(frozen=True, eq=False)
class Split:
    """D of several factors as in (1).

    Attributes
    ----------
    D : Elimination
        The equations.
    """

    D: Elimination

    @property
    def effects(self) -> Effects:
        """The random effects."""
        return self.D.effects

    @property
    def lead(self) -> int:
        """The group in front."""
        return self.effects.lead

    @property
    def tail(self) -> IntVector:
        """Random effects of the tail, (q2,)."""
        return self.effects.tail

    @cached_property
    def starts(self) -> dict[int, int]:
        """Where each group of the tail starts in it."""
        groups = self.effects.groups
        behind = [g for g in range(len(groups)) if g != self.lead]
        starts = np.cumsum([0, *(groups[g].q for g in behind)])
        return dict(zip(behind, map(int, starts), strict=False))

    def columns(self, g: int) -> IntVector:
        """Places in the tail of each column of a group, (k, l)."""
        group = self.effects.groups[g]
        return self.starts[g] + np.arange(group.q).reshape(group.n_levels, group.size).T

    def parts(self, weights: Vector) -> Parts:
        """Cross-products for weights (n,), which may be negative."""
        group, start = self.effects.groups[self.lead], self.effects.starts[self.lead]
        k, gram = group.size, self.effects.gram(weights)
        rows = gram[start : start + group.q]
        blocks = rows[:, start : start + group.q].tocoo()
        A = np.zeros((group.n_levels, k, k))
        A[blocks.row // k, blocks.row % k, blocks.col % k] = blocks.data
        C = rows[:, self.tail].toarray().reshape(group.n_levels, k, -1)
        return Parts(A, C, gram[self.tail][:, self.tail].toarray())

    @cached_property
    def own(self) -> Parts:
        """Cross-products for the weights of D."""
        return self.parts(self.D.weights)

    @cached_property
    def H(self) -> Matrix:
        """D of the lead alone, (l, k, k)."""
        lam = self.effects.groups[self.lead].factor(self.D.factors)
        omega = lam.T @ self.own.A @ lam + np.eye(len(lam))
        return np.asarray(lam @ np.linalg.inv(omega) @ lam.T)

    @cached_property
    def B(self) -> Matrix:
        """``H C``, (l, k, q2)."""
        return np.asarray(self.H @ self.own.C)

    @cached_property
    def Y(self) -> Matrix:
        """D of the tail, (q2, q2)."""
        unit = np.zeros((self.effects.q, len(self.tail)))
        unit[self.tail, np.arange(len(self.tail))] = 1.0
        return self.D.solve(unit)[self.tail]

    @cached_property
    def leverages(self) -> Vector:
        """``z'D z`` by row, (n,)."""
        U = self.B @ self.Y
        return self.forms(self.H + blockwise(U, self.B), -U, self.Y)

    def forms(self, X11: Matrix, X12: Matrix, X22: Matrix) -> Vector:
        """``z'X z`` by row for X in the parts of (1), (n,)."""
        groups = self.effects.groups
        first = groups[self.lead]
        total = row_forms(first, X11)
        for g in self.starts:
            group, columns = groups[g], self.columns(g)
            for a, left in enumerate(first.Z.T):
                for b, right in enumerate(group.Z.T):
                    total += 2.0 * left * right * X12[first.codes, a, columns[b, group.codes]]
            total += row_forms(group, X22[columns.T[:, :, None], columns.T[:, None, :]])
            for h in self.starts:
                if h < g:
                    total += 2.0 * self._between(g, h, X22)
        return total

    def _between(self, g: int, h: int, X22: Matrix) -> Vector:
        left, right = self.effects.groups[g], self.effects.groups[h]
        rows, columns = self.columns(g), self.columns(h)
        total = np.zeros(len(left.codes))
        for a, first in enumerate(left.Z.T):
            for b, second in enumerate(right.Z.T):
                total += first * second * X22[rows[a, left.codes], columns[b, right.codes]]
        return total

    # F = A - A D A -------------------------------------------------------------------------------

    @cached_property
    def N(self) -> Matrix:
        """``I - A H``, (l, k, k)."""
        return np.asarray(np.eye(self.H.shape[1]) - self.own.A @ self.H)

    @cached_property
    def NC(self) -> Matrix:
        """``N C``, (l, k, q2)."""
        return np.asarray(self.N @ self.own.C)

    @cached_property
    def NCY(self) -> Matrix:
        """``N C Y``, (l, k, q2)."""
        return np.asarray(self.NC @ self.Y)

    @cached_property
    def schur(self) -> Matrix:
        """What the lead leaves of the tail's cross-products, (q2, q2)."""
        return np.asarray(self.own.T - flat(self.own.C).T @ flat(self.B))

    @cached_property
    def trace(self) -> Matrix:
        """``tr(F E_a F E_b)`` over all entries of the terms' Gammas, (K, K)."""
        pairs = [
            (g, part.start + a, part.start + b)
            for g, part in self.effects.place
            for a in range(part.stop - part.start)
            for b in range(part.stop - part.start)
        ]
        found = np.empty((len(pairs),) * 2)
        for i, first in enumerate(pairs):
            for j, second in enumerate(pairs[: i + 1]):
                found[i, j] = found[j, i] = self._trace(first, second)
        return found

    @cached_property
    def _F(self) -> tuple[Matrix, Matrix, Matrix]:
        """Diagonal blocks of N Y N' in the lead, and F_12 and F_22."""
        low = blockwise(self.NCY, self.NC)
        TY = self.schur @ self.Y
        return low, self.NC - self.NCY @ self.schur, self.schur - TY @ self.schur

    @cached_property
    def _GY(self) -> Matrix:
        """``(sum over levels of NC_a' NC_b) Y``, (k, k, q2, q2)."""
        NC = self.NC.transpose(1, 0, 2)
        return np.array([[a.T @ b @ self.Y for b in NC] for a in NC])

    def _trace(self, first: tuple[int, int, int], second: tuple[int, int, int]) -> float:
        (g, a, b), (h, c, d) = first, second
        low, F12, F22 = self._F
        if g == h == self.lead:
            own = self.N @ self.own.A - low
            value = own[:, b, c] @ own[:, d, a] - low[:, b, c] @ low[:, d, a]
            return float(value + np.vdot(self._GY[a, b], self._GY[c, d].T))
        if self.lead in (g, h):
            if h == self.lead:
                g, a, b, h, c, d = h, c, d, g, a, b
            columns = self.columns(h)
            return float(np.vdot(F12[:, b, columns[c]], F12[:, a, columns[d]]))
        rows, columns = self.columns(g), self.columns(h)
        left = F22[rows[b][:, None], columns[c]]
        return float(np.vdot(left, F22[rows[a][:, None], columns[d]]))

    # Moving weights ------------------------------------------------------------------------------

    def moving_weights(self, moved: Matrix) -> Matrix:
        """``tr(D S_i D S_j)``, (d, d), with ``S_j = Z'diag(moved_j)Z`` for weights (n, d)."""
        HS, YP, left, right = [], [], [], []
        sparsely = self.is_sparse
        for weights in moved.T:
            S = self.parts(np.ascontiguousarray(weights))
            HS.append(self.H @ S.A)
            P, first, second = self._sparsely(S) if sparsely else self._densely(S)
            YP.append(self.Y @ P)
            left.append(first)
            right.append(second)
        cross = np.array(left) @ np.array(right).T
        return cross + cross.T + _traces(np.array(HS)) + _traces(np.array(YP))

    def _densely(self, S: Parts) -> tuple[Matrix, Vector, Vector]:
        """``J'S J``, and the lead rows R of ``S J`` as H R and R Y, flat."""
        rows = S.C - S.A @ self.B
        P = S.T - flat(S.C).T @ flat(self.B) - flat(self.B).T @ flat(rows)
        return P, (self.H @ rows).ravel(), (rows @ self.Y).ravel()

    def _sparsely(self, S: Parts) -> tuple[Matrix, Vector, Vector]:
        """As `_densely`, on the cells that occur alone."""
        i, j = self.effects.cells
        B = self._sparse_B
        rows = sparse.csr_array(flat(S.C - S.A @ self.B))
        P = S.T - (flat(S.C).T @ B) - (B.T @ rows).toarray()
        moved = flat(self.H @ rows.toarray().reshape(self.B.shape))
        return P, moved[i, j], (rows @ self.Y)[i, j]

    @cached_property
    def _sparse_B(self) -> sparse.csr_array:
        return sparse.csr_array(flat(self.B))

    @property
    def is_sparse(self) -> bool:
        """Whether few pairs of levels of lead and tail occur together."""
        i, _ = self.effects.cells
        return len(i) < SPARSE * flat(self.B).size

    def swept_forms(self, unit: Sequence[Matrix]) -> Vector:
        """``z'(I - DA) E (I - AD) z`` by row for a unit E of one group's Gamma, (n,)."""
        g = next(i for i, block in enumerate(unit) if block.any())
        E = unit[g]
        if g == self.lead:
            moved = E @ self.NCY
            P = flat(self.NCY).T @ flat(moved)
            Q = np.swapaxes(self.N, 1, 2) @ moved
            BP = self.B @ P
            side = blockwise(Q, self.B)
            own = np.swapaxes(self.N, 1, 2) @ E @ self.N + blockwise(BP, self.B)
            return self.forms(own + side + np.swapaxes(side, 1, 2), -Q - BP, P)
        columns = self.columns(g)
        part = -(self.schur @ self.Y)[columns]
        part[np.arange(len(columns))[:, None], np.arange(columns.shape[1]), columns] += 1.0
        P = flat(part).T @ flat(np.einsum("ab,blq->alq", E, part))
        BP = self.B @ P
        return self.forms(blockwise(BP, self.B), -BP, P)


def flat(blocks: Matrix) -> Matrix:
    """Blocks (l, k, q2) as rows, (l k, q2)."""
    return blocks.reshape(-1, blocks.shape[-1])


def blockwise(left: Matrix, right: Matrix) -> Matrix:
    """Diagonal blocks of ``left right'``, (l, k, k), for (l, k, q2) each."""
    return np.asarray(left @ np.swapaxes(right, 1, 2))


def _traces(products: Matrix) -> Matrix:
    """``tr(M_i M_j)``, (d, d), summed over blocks, for products (d, ..., k, k)."""
    d = len(products)
    turned = np.swapaxes(products, -1, -2).reshape(d, -1)
    return np.asarray(products.reshape(d, -1) @ turned.T)
