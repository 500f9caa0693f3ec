"""Sparse couplings of a factor with the tail behind it.

Level i of the factor couples only with the tail's levels that occur together with it.
``C = Z_1'Z_T`` is held as one sparsity pattern over levels, with one array of values per column of
Z_1, so that multiplying by a block per level writes values into a fixed pattern. It is cut into
pieces of the tail's columns: only the pieces on and above the diagonal of a symmetric product are
formed.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse

from lmm._lapack import einsum
from lmm._types import IntVector, Matrix, Vector
from lmm.pls.groups import Group
from lmm.pls.inverse import CHUNK
from lmm.pls.products import Pairs

__all__ = ["Reach", "SparseCouplings"]

# Columns of the tail per piece.
PIECE = 512
# Entries from which products of pieces are formed in threads.
THREADED = 50_000


@dataclass(frozen=True, eq=False)
class CouplingPiece:
    """SparseCouplings with some columns of the tail.

    Attributes
    ----------
    columns : slice
        Columns of the tail.
    indptr, indices : (l + 1,) and (nnz,) int arrays
        Pattern over levels of the factor, CSR.
    rows : (nnz,) int array
        Level of each entry.
    values : (k, nnz) array
        One set of values per column of Z_1.
    """

    columns: slice
    indptr: IntVector
    indices: IntVector
    rows: IntVector
    values: Matrix

    def times(self, blocks: Matrix) -> Matrix:
        """Blocks (k, k, l) times the couplings, (k, nnz)."""
        if len(blocks) == 1:
            return np.asarray(blocks[0, 0, self.rows] * self.values)
        return np.asarray(einsum("abm,bm->am", blocks[:, :, self.rows], self.values))

    def matrix(self, values: Matrix) -> sparse.csr_array:
        """Values (k, nnz) as one sparse (k l, columns) matrix, column by column of Z_1."""
        k, nnz = values.shape
        starts = (self.indptr[:-1] + nnz * np.arange(k)[:, None]).ravel()
        indices = self.indices if k == 1 else np.tile(self.indices, k)
        return sparse.csr_array(
            (values.ravel(), indices, np.append(starts, k * nnz)),
            shape=(len(starts), self.columns.stop - self.columns.start),
        )


@dataclass(frozen=True, eq=False)
class SparseCouplings:
    """Sparse ``C = Z_1'Z_T``.

    Attributes
    ----------
    pieces : tuple of CouplingPiece
        SparseCouplings with all columns of the tail, in order.
    """

    pieces: tuple[CouplingPiece, ...]

    @classmethod
    def of(cls, leading: Group, others: Sequence[Group], each: Sequence[Pairs]) -> SparseCouplings:
        """From the sums over the rows of each pair of levels."""
        return cls(tuple(_pieces(leading, others, each)))

    @cached_property
    def _matrices(self) -> tuple[sparse.csr_array, ...]:
        return tuple(piece.matrix(piece.values) for piece in self.pieces)

    def times(self, blocks: Matrix) -> sparse.csr_array:
        """Blocks (k, k, l) times C, (k l, q_T), column by column of Z_1."""
        pieces = [piece.matrix(piece.times(blocks)) for piece in self.pieces]
        return sparse.csr_array(sparse.hstack(pieces, format="csr"))

    def forth(self, X: Matrix) -> Matrix:
        """``C X`` for the tail's X (q_T, r), (r, k l)."""
        each = zip(self.pieces, self._matrices, strict=True)
        return np.asarray(sum(matrix @ X[piece.columns] for piece, matrix in each)).T

    def back(self, w: Matrix) -> Matrix:
        """``w C`` for w (r, k l), (r, q_T)."""
        return np.hstack([(matrix.T @ w.T).T for matrix in self._matrices])

    def sweep(self, H: Matrix, HC: Matrix, left: Matrix) -> None:
        """Take ``[C X'Z_1 y'Z_1]' H [C X'Z_1 y'Z_1]`` from the cross-products left (q_T + t, ...).

        All but those of [X y] with itself, given H (k, k, l) and its product HC (t, k, l) with the
        columns of [X y].
        """
        q = self.pieces[-1].columns.stop
        swept = [piece.matrix(piece.times(H)) for piece in self.pieces]
        for i, j, product in self._upper_products(self._matrices, swept):
            rows, columns = self.pieces[i].columns, self.pieces[j].columns
            left[rows, columns] -= product.toarray()
            if i < j:
                left[columns, rows] = left[rows, columns].T
        left[q:, :q] -= self.back(HC.reshape(len(HC), -1))
        left[:q, q:] = left[q:, :q].T

    def form(self, N: Matrix, Y: Matrix) -> Matrix:
        """Sum over levels of ``N C Y C'N'`` (k, k), for N (k, k, l) and a symmetric Y (q_T, q_T).

        Off-diagonal entries by polarization, 2 a'b = (a + b)'(a + b) - a'a - b'b, so that every
        product is symmetric.
        """
        NC, k = [piece.times(N) for piece in self.pieces], len(N)
        total = np.empty((k, k))
        for a in range(k):
            total[a, a] = self._form([values[a] for values in NC], Y)
        for a in range(k):
            for b in range(a):
                joint = self._form([values[a] + values[b] for values in NC], Y)
                total[a, b] = total[b, a] = 0.5 * (joint - total[a, a] - total[b, b])
        return total

    def _form(self, values: Sequence[Vector], Y: Matrix) -> float:
        """``tr(R Y R')`` for a sparse R (l, q_T) with the given values (nnz,) per piece."""
        total = 0.0
        pieces = [piece.matrix(v[None]) for piece, v in zip(self.pieces, values, strict=True)]
        for i, j, product in self._upper_products(pieces, pieces):
            joint = sparse.coo_array(product)
            block = Y[self.pieces[i].columns, self.pieces[j].columns]
            total += (1.0 + (i < j)) * float(joint.data @ block[joint.coords])
        return total

    def _upper_products(
        self, left: Sequence[sparse.csr_array], right: Sequence[sparse.csr_array]
    ) -> Iterator[tuple[int, int, sparse.csr_array]]:
        """``left_i' right_j`` for pieces i <= j. Large ones in threads: SciPy frees the lock."""
        pairs = [(i, j) for j in range(len(right)) for i in range(j + 1)]

        def product(pair: tuple[int, int]) -> sparse.csr_array:
            return sparse.csr_array(left[pair[0]].T @ right[pair[1]])

        if sum(piece.nnz for piece in right) < THREADED:
            products: Iterable[sparse.csr_array] = map(product, pairs)
        else:
            with ThreadPoolExecutor(min(os.cpu_count() or 1, 8)) as pool:
                products = list(pool.map(product, pairs))
        for (i, j), result in zip(pairs, products, strict=True):
            yield i, j, result


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


def _pieces(
    leading: Group, others: Sequence[Group], each: Sequence[Pairs]
) -> Iterator[CouplingPiece]:
    start = 0
    # Pairs are ordered by leading level: the pattern in compressed rows.
    for group, pairs in zip(others, each, strict=True):
        values = pairs.A.transpose(0, 2, 1)
        per_piece = max(PIECE // group.size, 1)
        for first in range(0, group.n_levels, per_piece):
            stop = min(first + per_piece, group.n_levels)
            chosen = np.flatnonzero((pairs.j >= first) & (pairs.j < stop))
            rows = np.repeat(pairs.i[chosen], group.size)
            within = (pairs.j[chosen, None] - first) * group.size + np.arange(group.size)
            yield CouplingPiece(
                slice(start + first * group.size, start + stop * group.size),
                np.searchsorted(rows, np.arange(leading.n_levels + 1)),
                within.ravel(),
                rows,
                np.ascontiguousarray(values[:, chosen].reshape(leading.size, -1)),
            )
        start += group.q
