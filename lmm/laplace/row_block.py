"""Some rows of a model of one grouping factor, and sums over levels of products of their columns.

With one factor all that derivatives need of the rows are such sums, of two columns or of three
(docs/theory/laplace.md, section "One grouping factor"): no array has a column per direction and a
row per observation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np

from lmm._lapack import einsum
from lmm._types import IntVector, Matrix, Vector, cached_property
from lmm.family import Conditional
from lmm.pls.groups import Group

# Numbers up to which products of columns are kept and summed in one pass.
SMALL = 20_000


@cache
def pairs_of(k: int) -> tuple[tuple[int, int], ...]:
    """Pairs (a, b) of k columns with b <= a."""
    return tuple((a, b) for a in range(k) for b in range(a + 1))


@cache
def pair_index(k: int) -> IntVector:
    """Number of the pair of two columns, (k, k)."""
    index = np.empty((k, k), dtype=np.intp)
    for number, (a, b) in enumerate(pairs_of(k)):
        index[a, b] = index[b, a] = number
    return index


@cache
def doubled(k: int) -> Vector:
    """How often each pair stands in a symmetric matrix, as a column (pairs, 1)."""
    return np.array([[1.0 if a == b else 2.0] for a, b in pairs_of(k)])


def paired(blocks: Matrix) -> Matrix:
    """Symmetric blocks (..., k, k, l) by pairs of columns, (..., pairs, l)."""
    k = blocks.shape[-2]
    if k == 1:
        return blocks[..., 0, :, :]
    a, b = zip(*pairs_of(k), strict=True)
    return np.asarray(blocks[..., list(a), list(b), :])


def added(parts: Iterable[tuple[np.ndarray, ...]]) -> tuple[np.ndarray, ...]:
    """Sums of arrays, one by one, in the memory of the first."""
    each = iter(parts)
    total = next(each)
    for part in each:
        for own, more in zip(total, part, strict=True):
            own += more
    return total


@dataclass(frozen=True, eq=False)
class CrossSums:
    """Cross-products in the metric of some weights w.

    Attributes
    ----------
    A : (k, k, l) array
        ``Z'wZ`` by level.
    B : (p, k, l) array
        ``X'wZ`` by level.
    G : (p, p) array
        ``X'wX``.
    """

    A: Matrix
    B: Matrix
    G: Matrix

    def times(self, T: Matrix, C: Matrix) -> tuple[Matrix, Matrix]:
        """``Z'w eta`` (d, k, l) and ``X'w eta`` (p, d) for ``eta = Z T + X C``."""
        by_level = self.A[0] * T if len(self.A) == 1 else einsum("abl,dbl->dal", self.A, T)
        if not len(C):
            return by_level, np.empty((0, len(T)))
        B = self.B.reshape(len(C), -1)
        by_level = by_level + (C.T @ B).reshape(T.shape)
        return by_level, B @ T.reshape(len(T), -1).T + self.G @ C


@dataclass(frozen=True, eq=False)
class RowBlock:
    """Some rows.

    Attributes
    ----------
    rows : slice
        Which.
    group : Group
        The grouping factor and the columns Z, whitened.
    X : (c, p) array
        Columns of the fixed effects, orthonormal with those of the other rows.
    bound : Conditional
        The family with their responses.
    """

    rows: slice
    group: Group
    X: Matrix
    bound: Conditional

    def pairs(self, weights: Vector) -> Matrix:
        """``Z'wZ`` by pairs of columns and level, (pairs, l)."""
        Z = self.group.Z.T
        leads = ((weights * z, Z[: a + 1]) for a, z in enumerate(Z))
        return self._summed(leads, len(pairs_of(len(Z))))

    def cross(self, weights: Vector) -> tuple[Matrix, Matrix]:
        """Pairs of columns of Z, then those of X with Z, by level (pairs + p k, l); ``X'wX``."""
        k, p = self.group.size, self.X.shape[1]
        gram = (self.X * weights[:, None]).T @ self.X
        if self._seconds is not None:
            return self._in_one_pass(self._seconds, weights), gram
        return self._summed(self._second_products(weights), len(pairs_of(k)) + p * k), gram

    def thirds(self, weights: Vector) -> Matrix:
        """Sums of ``w z_a z_b v`` for columns v of Z, then of X, (pairs (k + p), l)."""
        if self._thirds is not None:
            return self._in_one_pass(self._thirds, weights)
        k, p = self.group.size, self.X.shape[1]
        return self._summed(self._third_products(weights), len(pairs_of(k)) * (k + p))

    def along(self, weights: Vector) -> tuple[Matrix, Vector]:
        """``Z'w`` by level (k, l), and ``X'w`` (p,)."""
        Z = self.group.Z.T
        return self._summed([(weights, Z)], len(Z)), self.X.T @ weights

    def forms(self, blocks: Matrix) -> Vector:
        """``z'B z`` by row (c,), for symmetric blocks by pairs of columns, (pairs, l)."""
        total, Z = np.zeros(len(self.X)), self.group.Z.T
        for (a, b), own in zip(pairs_of(len(Z)), blocks, strict=True):
            rows = own[self.group.codes]
            rows *= Z[a]
            rows *= Z[b] if a == b else 2.0 * Z[b]
            total += rows
        return total

    def spread(self, T: Matrix, C: Vector) -> Vector:
        """``Z T + X C`` by row (c,), for (k, l) and (p,)."""
        total = self.X @ C
        for z, own in zip(self.group.Z.T, T, strict=True):
            rows = own[self.group.codes]
            rows *= z
            total += rows
        return total

    # Products of columns: leading ones, each with those that it meets ----------------------------

    def _second_products(self, weights: Vector) -> Iterator[tuple[Vector, Matrix]]:
        Z = self.group.Z.T
        for a, z in enumerate(Z):
            yield weights * z, Z[: a + 1]
        for x in self.X.T:
            yield weights * x, Z

    def _third_products(self, weights: Vector) -> Iterator[tuple[Vector, Matrix]]:
        Z = self.group.Z.T
        for a, b in pairs_of(len(Z)):
            lead = weights * (Z[a] * Z[b])
            yield lead, Z
            yield lead, self.X.T

    def _summed(self, products: Iterable[tuple[Vector, Matrix]], count: int) -> Matrix:
        """Sums by level, (count, l)."""
        codes, n_levels = self.group.codes, self.group.n_levels
        columns = ((lead, column) for lead, others in products for column in others)
        sums = np.empty((count, n_levels))
        for total, (lead, column) in zip(sums, columns, strict=True):
            total[:] = np.bincount(codes, lead * column, n_levels)
        return sums

    @cached_property
    def _seconds(self) -> tuple[Matrix, IntVector] | None:
        k, p = self.group.size, self.X.shape[1]
        return self._kept(self._second_products, len(pairs_of(k)) + p * k)

    @cached_property
    def _thirds(self) -> tuple[Matrix, IntVector] | None:
        k, p = self.group.size, self.X.shape[1]
        return self._kept(self._third_products, len(pairs_of(k)) * (k + p))

    def _kept(
        self, products: Callable[[Vector], Iterator[tuple[Vector, Matrix]]], count: int
    ) -> tuple[Matrix, IntVector] | None:
        """Products (c, count) and where their sums go, unless they are many."""
        n = len(self.X)
        if n * count > SMALL:
            return None
        each = products(np.ones(n))
        found = np.column_stack([lead * column for lead, others in each for column in others])
        places = self.group.codes[:, None] * count + np.arange(count)
        return found, places.ravel()

    def _in_one_pass(self, kept: tuple[Matrix, IntVector], weights: Vector) -> Matrix:
        products, places = kept
        count, n_levels = products.shape[1], self.group.n_levels
        moved = (products * weights[:, None]).ravel()
        sums = np.bincount(places, moved, count * n_levels).reshape(n_levels, count)
        return np.ascontiguousarray(sums.T)
