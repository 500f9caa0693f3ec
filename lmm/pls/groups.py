"""Random effects by grouping factor, and the pairs of levels that occur together."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lmm._types import IntVector, Matrix, Vector, cached_property
from lmm.pls.kernels import SMALL, sum_by, sum_products


@dataclass(frozen=True, eq=False)
class Group:
    """Terms of one grouping factor, side by side.

    Attributes
    ----------
    name : str
        Grouping factor.
    codes : (n,) int array
        Level of each row.
    n_levels : int
        Number of levels l.
    Z : (n, k) array
        Whitened columns of all its terms, weighted in a `Problem`.
    members : tuple of (int, slice)
        Index of each term and its columns in Z.
    """

    name: str
    codes: IntVector
    n_levels: int
    Z: Matrix
    members: tuple[tuple[int, slice], ...]

    @cached_property
    def size(self) -> int:
        """Number of columns k."""
        return int(self.Z.shape[1])

    @cached_property
    def q(self) -> int:
        """Number of random effects."""
        return self.n_levels * self.size

    def factor(self, factors: tuple[Matrix, ...]) -> Matrix:
        """Factor (k, k) of the group: those of its terms along the diagonal."""
        if len(self.members) == 1:
            return factors[self.members[0][0]]
        lam = np.zeros((self.size, self.size))
        for i, part in self.members:
            lam[part, part] = factors[i]
        return lam

    def sums(self, rows: Sequence[Vector] | Matrix) -> Matrix:
        """Z'rows by level, (r, k, l), for r rows (n,)."""
        if len(rows) * self.Z.size <= SMALL:
            return sum_by(np.asarray(rows)[:, None] * self.Z.T, self.codes, self.n_levels)
        sums = np.empty((len(rows), self.size, self.n_levels))
        for row, total in zip(rows, sums, strict=True):
            total[:] = sum_products(self.Z, row, self.codes, self.n_levels)
        return sums

    def spread(self, effects: Matrix) -> Matrix:
        """Z times effects by row, (r, n), for effects (r, k, l)."""
        rows = np.zeros((len(effects), len(self.codes)))
        for a, column in enumerate(self.Z.T):
            rows += column * effects[:, a, self.codes]
        return rows

    def weighted(self, root: Vector) -> Group:
        """With rows times the roots (n,) of weights."""
        return dataclasses.replace(self, Z=self.Z * root[:, None])


@dataclass(frozen=True, eq=False)
class LevelPairs:
    """Pairs of levels of two groups that occur together in some row, found when asked for.

    Attributes
    ----------
    left, right : Group
        The groups.
    """

    left: Group
    right: Group

    @cached_property
    def _found(self) -> tuple[IntVector, IntVector]:
        """Number of every pair among all that there might be, (m,), and pair of each row, (n,)."""
        codes = self.left.codes.astype(np.int64) * self.right.n_levels + self.right.codes
        distinct, rows = np.unique(codes, return_inverse=True)
        return distinct, rows.ravel()

    @cached_property
    def i(self) -> IntVector:
        """Levels of the left group, (m,), in order."""
        return self._found[0] // self.right.n_levels

    @cached_property
    def j(self) -> IntVector:
        """Levels of the right group, (m,)."""
        return self._found[0] % self.right.n_levels

    @property
    def rows(self) -> IntVector:
        """Pair of each row, (n,)."""
        return self._found[1]

    def products(self, left: Group, right: Group) -> Matrix:
        """Cross-products Z_i'Z_j of each pair, (k_left, k_right, m), of groups weighted or not."""
        m = len(self.i)
        columns = [sum_products(left.Z, column, self.rows, m) for column in right.Z.T]
        return np.stack(columns, axis=1)
