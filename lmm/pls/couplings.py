"""Sparse couplings of a factor with the tail behind it.

Level i of the factor couples only with the tail's levels that occur together with it: multiplying
``C = Z_1'Z_T`` by a block per level writes values into a fixed pattern. Of symmetric products some
rows at a time are formed, from the diagonal on.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from scipy import sparse

from lmm._lapack import einsum
from lmm._types import IntVector, Matrix, Vector, cached_property
from lmm.pls.coupling_pattern import CouplingPattern
from lmm.pls.effect_columns import Columns
from lmm.pls.groups import Group
from lmm.pls.inverse import CHUNK
from lmm.pls.products import Pairs

T = TypeVar("T")

# Rows of a symmetric product that are formed at a time.
PIECE = 256
# Entries from which they are formed in threads.
THREADED = 50_000


@dataclass(frozen=True, eq=False)
class SparseCouplings:
    """Sparse ``C = Z_1'Z_T``.

    Attributes
    ----------
    pattern : CouplingPattern
        Where they are.
    values : (k, e) array
        One set of values per column of Z_1.
    """

    pattern: CouplingPattern
    values: Matrix

    @classmethod
    def of(cls, leading: Group, tail: Columns, each: Sequence[Pairs]) -> SparseCouplings:
        """From the sums over the rows of each pair of levels."""
        pattern = CouplingPattern.of(leading, tail, each)
        return cls(pattern, pattern.values([pairs.A for pairs in each]))

    @cached_property
    def _turned(self) -> sparse.csr_array:
        """C', by rows."""
        return self.pattern.matrix(self.values).T.tocsr()

    def times(self, blocks: Matrix) -> sparse.csr_array:
        """Blocks (k, k, l) times C, (k l, q_T), column by column of Z_1."""
        return self.pattern.matrix(self.pattern.times(blocks, self.values))

    def forth(self, X: Matrix) -> Matrix:
        """``C X`` for the tail's X (q_T, r), (r, k l)."""
        return np.asarray(self._turned.T @ X).T

    def back(self, w: Matrix) -> Matrix:
        """``w C`` for w (r, k l), (r, q_T)."""
        return np.asarray(self._turned @ w.T).T

    def swept(self, H: Matrix, HC: Matrix, base: Matrix) -> Matrix:
        """The cross-products base (q_T + t, ...) less ``[C X'Z_1 y'Z_1]' H [C X'Z_1 y'Z_1]``.

        All but those of [X y] with itself, given H (k, k, l) and its product HC (t, k, l) with the
        columns of [X y].
        """
        q, left = self.pattern.q, np.empty_like(base)

        def take(start: int, product: Matrix) -> None:
            own, after = slice(start, start + len(product)), slice(start + len(product), q)
            np.subtract(base[own, start:q], product, out=left[own, start:q])
            left[after, own] = left[own, after].T

        _by_rows(take, self._turned, self.times(H))
        left[q:, :q] = base[q:, :q] - self.back(HC.reshape(len(HC), -1))
        left[:q, q:] = left[q:, :q].T
        left[q:, q:] = base[q:, q:]
        return left

    def form(self, N: Matrix, Y: Matrix) -> Matrix:
        """Sum over levels of ``N C Y C'N'`` (k, k), for N (k, k, l) and a symmetric Y (q_T, q_T).

        Off-diagonal entries by polarization, 2 a'b = (a + b)'(a + b) - a'a - b'b, so that every
        product is symmetric.
        """
        NC, k = self.pattern.times(N, self.values), len(N)
        total = np.empty((k, k))
        for a in range(k):
            total[a, a] = self._form(NC[a], Y)
        for a in range(k):
            for b in range(a):
                joint = self._form(NC[a] + NC[b], Y)
                total[a, b] = total[b, a] = 0.5 * (joint - total[a, a] - total[b, b])
        return total

    def _form(self, values: Vector, Y: Matrix) -> float:
        """``tr(R Y R')`` for a sparse R (l, q_T) with the given values (nnz,)."""

        def trace(start: int, product: Matrix) -> float:
            size = len(product)
            block = Y[start : start + size, start:]
            own = einsum("ij,ij->", product[:, :size], block[:, :size])
            return float(own + 2.0 * einsum("ij,ij->", product[:, size:], block[:, size:]))

        R = self.pattern.matrix(values[None])
        return sum(_by_rows(trace, R.T.tocsr(), R))


def _by_rows(
    use: Callable[[int, Matrix], T], left: sparse.csr_array, right: sparse.csr_array
) -> list[T]:
    """What is made of some rows at a time of a symmetric product, each from the diagonal on.

    Large ones in threads: SciPy frees the lock.
    """

    def used(start: int) -> T:
        product = left[start : start + PIECE] @ (right[:, start:] if start else right)
        return use(start, product.toarray())

    starts = range(0, left.shape[0], PIECE)
    if right.nnz < THREADED:
        return list(map(used, starts))
    with ThreadPoolExecutor(min(os.cpu_count() or 1, 8)) as pool:
        return list(pool.map(used, starts))


@dataclass(frozen=True, eq=False)
class Reach:
    """Blocks of ``J Y J'`` with ``J = [-B; I]``, formed for some levels of the factor at a time.

    Attributes
    ----------
    B : (k l, q_T) sparse array
        H C, column by column of Z_1.
    Y : (q_T, q_T) array
        D of the tail.
    k : int
        Columns of the factor.
    """

    B: sparse.csr_array
    Y: Matrix
    k: int

    def within(self, i: IntVector, j: IntVector) -> Matrix:
        """Those between levels i and j of the factor, (k, k, m)."""
        found, n_levels = np.empty((self.k, self.k, len(i))), self.B.shape[0] // self.k
        for here, rows, reach in self._ranges(i):
            for b in range(self.k):
                other = self.B[b * n_levels + j[here]]
                for a in range(self.k):
                    found[a, b, here] = other.multiply(reach[a, rows]).sum(axis=1)
        return found

    def behind(self, i: IntVector, columns: IntVector) -> Matrix:
        """Those between levels i of the factor and columns (m, b) of the tail, (k, b, m)."""
        found = np.empty((self.k, columns.shape[1], len(i)))
        for here, rows, reach in self._ranges(i):
            found[:, :, here] = -reach[:, rows[:, None], columns[here]].transpose(0, 2, 1)
        return found

    def _ranges(self, i: IntVector) -> Iterator[tuple[IntVector, IntVector, Matrix]]:
        """B Y at levels i, a range of them at a time: which of i, their rows, (k, ., q_T)."""
        n_levels = self.B.shape[0] // self.k
        levels, place = np.unique(i, return_inverse=True)
        step = max(1, CHUNK // (self.k * len(self.Y)))
        for start in range(0, len(levels), step):
            here = np.flatnonzero((place >= start) & (place < start + step))
            chosen = levels[start : start + step]
            rows = (np.arange(self.k)[:, None] * n_levels + chosen).ravel()
            yield (
                here,
                place[here] - start,
                (self.B[rows] @ self.Y).reshape(self.k, len(chosen), -1),
            )
