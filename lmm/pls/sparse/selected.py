"""Entries of the inverse of a sparse matrix, where its Cholesky factor has entries.

Columns of L with the same rows below form a supernode J with rows R below. By blocks, from the last
supernode to the first (Takahashi, Fagan & Chin 1973; Erisman & Tinney 1975, Comm. ACM 18, 177),

    S_RJ = -S_RR L_RJ L_JJ^-1,   S_JJ = L_JJ^-T L_JJ^-1 - (L_RJ L_JJ^-1)'S_RJ                    (6)

where S is the inverse (docs/theory/sparse-tail.md). R lies within the rows of the parent in the
elimination tree, so that S_RR is a part of the parent's dense "front" S over its rows, and
nothing is searched for. Supernodes of one shape with one parent are computed together: levels of a
large grouping factor are many and alike, and array operations on single ones would cost more than
the arithmetic.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.linalg import blas, lapack

from lmm._types import IntVector, Matrix, Vector

# Width of a supernode from which LAPACK's triangular routines beat stacked inverses.
WIDE = 16
# Entries of the fronts that are computed together.
CHUNK = 1 << 20


@dataclass(frozen=True, eq=False)
class _Batch:
    """Supernodes of one shape with one parent.

    Attributes
    ----------
    starts : (b,) int array
        Where the first column of each is in the values of L.
    width, size : int
        Number of columns w, and of rows m = w + r.
    parent : (int, int) or None
        Batch of the parent, and its place there.
    relative : (b, r) int array
        Rows below among those of the parent.
    children : int
        Number of batches whose parent is here.
    """

    starts: IntVector
    width: int
    size: int
    parent: tuple[int, int] | None
    relative: IntVector
    children: int

    @property
    def mask(self) -> Matrix:
        """Which of (w, m) a packed panel fills: column t from its diagonal downwards."""
        return np.asarray(np.arange(self.size) >= np.arange(self.width)[:, None])

    @property
    def index(self) -> IntVector:
        """Where the values of L of each supernode stand, (b, packed)."""
        packed = self.width * self.size - self.width * (self.width - 1) // 2
        return np.asarray(self.starts)[:, None] + np.arange(packed)

    def panels(self, values: Vector) -> Matrix:
        """Columns of L, transposed: (b, w, m)."""
        panels = np.zeros((len(self.starts), self.width, self.size))
        panels[:, self.mask] = values[self.index]
        return panels

    def store(self, panels: Matrix, values: Vector) -> None:
        """Write transposed columns (b, w, m) to values in L's pattern."""
        values[self.index] = panels[:, self.mask]


@dataclass(frozen=True, eq=False)
class SelectedInverse:
    """The order of the computation, fixed by the pattern of L.

    Attributes
    ----------
    batches : tuple
        Supernodes, parents before children.
    """

    batches: tuple[_Batch, ...]

    @classmethod
    def of(cls, indptr: IntVector, indices: IntVector) -> SelectedInverse:
        """Plan for a pattern of L by columns, rows sorted."""
        counts = np.diff(indptr)
        q = len(counts)
        below = np.full(q, q, dtype=np.int64)  # first row below the diagonal: the parent
        below[counts > 1] = indices[indptr[:-1][counts > 1] + 1]
        joined = (below[:-1] == np.arange(1, q)) & (counts[:-1] == counts[1:] + 1)
        first = np.flatnonzero(np.append(True, ~joined))
        widths = np.diff(np.append(first, q))
        nodes = np.repeat(np.arange(len(first)), widths)
        after = below[first + widths - 1]
        parents = np.where(after < q, nodes[np.minimum(after, q - 1)], -1)
        return cls(tuple(_batches(indptr, indices, first, widths, counts[first], parents)))

    def __call__(self, values: Vector) -> Vector:
        """Values of the inverse in the pattern of L, from the values of L: (6)."""
        inverse = np.empty_like(values)
        fronts: dict[int, Matrix] = {}
        waiting = [batch.children for batch in self.batches]
        for number, batch in enumerate(self.batches):
            w = batch.width
            panels = batch.panels(values)
            own, X = _eliminate(panels[:, :, :w], panels[:, :, w:])
            if batch.parent is None:
                batch.store(own, inverse)
                if batch.children:
                    fronts[number] = own
                continue
            parent, place = batch.parent
            rows = batch.relative
            outer = fronts[parent][place][rows[:, :, None], rows[:, None, :]]
            side = -(X @ outer)
            own -= X @ side.transpose(0, 2, 1)
            both = np.concatenate([own, side], axis=2)
            batch.store(both, inverse)
            if batch.children:
                under = np.concatenate([side.transpose(0, 2, 1), outer], axis=2)
                fronts[number] = np.concatenate([both, under], axis=1)
            waiting[parent] -= 1
            if not waiting[parent]:
                del fronts[parent]
        return inverse


def _eliminate(top: Matrix, below: Matrix) -> tuple[Matrix, Matrix]:
    """``L_JJ^-T L_JJ^-1`` (b, w, w) and ``(L_RJ L_JJ^-1)'`` (b, w, r) from L_JJ' and L_RJ'."""
    w = top.shape[1]
    if w == 1:
        return top**-2.0, below / top
    if w < WIDE:
        half = np.linalg.inv(top)
        return half @ half.transpose(0, 2, 1), half @ below
    own, X = np.empty_like(top), np.empty_like(below)
    for place, upper in enumerate(top):
        inverse, _ = lapack.dpotri(upper, lower=0)
        own[place] = np.triu(inverse) + np.triu(inverse, 1).T
        X[place] = blas.dtrsm(1.0, upper, below[place], lower=0)
    return own, X


def _batches(
    indptr: IntVector,
    indices: IntVector,
    first: IntVector,
    widths: IntVector,
    sizes: IntVector,
    parents: IntVector,
) -> Iterator[_Batch]:
    """Group supernodes by parent and shape, parents before children."""
    nodes = [
        chunk
        for same in _alike(parents, widths, sizes)
        for chunk in np.array_split(same, 1 + len(same) * int(sizes[same[0]]) ** 2 // CHUNK)
        if len(chunk)
    ]
    # A parent comes after its children in L: order by the last supernode of each batch.
    nodes.sort(key=lambda chunk: -int(chunk[-1]))
    home = {
        int(node): (b, place) for b, chunk in enumerate(nodes) for place, node in enumerate(chunk)
    }
    children = np.zeros(len(nodes), dtype=int)
    for chunk in nodes:
        if parents[chunk[0]] >= 0:
            children[home[int(parents[chunk[0]])][0]] += 1

    def rows_of(node: int) -> IntVector:
        start = indptr[first[node]]
        return indices[start : start + sizes[node]]

    for b, chunk in enumerate(nodes):
        head = int(chunk[0])
        w, m, parent = int(widths[head]), int(sizes[head]), int(parents[head])
        relative = np.empty((len(chunk), 0), dtype=np.int64)
        if parent >= 0:
            below = np.stack([rows_of(int(node))[w:] for node in chunk])
            relative = np.searchsorted(rows_of(parent), below)
        yield _Batch(
            indptr[first[chunk]], w, m, home[parent] if parent >= 0 else None, relative, children[b]
        )


def _alike(parents: IntVector, widths: IntVector, sizes: IntVector) -> list[IntVector]:
    """Supernodes by parent, width and size, each set increasing."""
    order = np.lexsort((np.arange(len(parents)), sizes, widths, parents))
    keys = np.stack([parents, widths, sizes])[:, order]
    cuts = np.flatnonzero((keys[:, 1:] != keys[:, :-1]).any(axis=0)) + 1
    return np.split(order, cuts)
