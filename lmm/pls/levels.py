"""Roots of the cross-products of a grouping factor's levels: what is left of the rows.

With ``A_i = Z_i'Z_i`` and ``C_i = Z_i'[X y]``, R_i is upper triangular with ``R_i'R_i = A_i``, and
``R_i'S_i = C_i``. Any other root will do: where a level has fewer rows than columns, as with many
visits of which each subject makes a few, its rows ``R_i = Z_i`` and ``S_i = [X y]_i`` are smaller.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lmm._lapack import einsum
from lmm._types import IntVector, Matrix, Vector
from lmm.pls.groups import Group

# Levels per chunk: the working set of a chunk stays in the cache.
CHUNK = 16384
# Entries of blocks (of 2 x 2 at least) from which equal ones are looked for.
COLLAPSIBLE = 1024
# A column of Z_i with less than this share of its square left, after the columns before it, depends
# on them.
DEPENDENT = 1e-13


@dataclass(frozen=True, eq=False)
class Levels:
    """Cross-products of a set of levels, struct of arrays.

    Attributes
    ----------
    R : (d, k, m) array
        Roots of the distinct blocks Z_i'Z_i: upper triangular, or the rows Z_i themselves.
    counts : (m,) array
        How many levels share each.
    S : (t, d, r) array
        Rows of [X y]'Z_i R_i^-1, or those of [X y] themselves, t = p + 1.
    classes : (r,) int array or None
        Block of each row of S; None when rows and blocks correspond one to one.
    members : (l,) int array or None
        Block of each level; None when they correspond one to one.
    """

    R: Matrix
    counts: Vector
    S: Matrix
    classes: IntVector | None = None
    members: IntVector | None = None

    def spread(self, blocks: Matrix) -> Matrix:
        """Blocks (k, k, m) repeated for the rows of S, (k, k, r)."""
        return blocks if self.classes is None else blocks[:, :, self.classes]

    def times(self, blocks: Matrix, columns: Matrix) -> Matrix:
        """Blocks (a, b, m) times the rows of S or like them (t, b, r), (t, a, r)."""
        if blocks.shape[2] == 1:
            return np.asarray(blocks[:, :, 0] @ columns)
        return np.asarray(einsum("abm,tbm->tam", self.spread(blocks), columns))

    def quadratic(self, columns: Matrix) -> Matrix:
        """Sum over levels of S_i'columns_i (t, t), for columns (t, d, r) such as M_i S_i."""
        t = len(columns)
        return np.asarray(self.S.reshape(t, -1) @ columns.reshape(t, -1).T)

    def by_level(self, blocks: Matrix) -> Matrix:
        """Blocks (k, k, m) repeated for the levels, (k, k, l)."""
        return blocks if self.members is None else blocks[:, :, self.members]


def chunks(A: Matrix, C: Matrix, collapse: bool) -> Iterator[Levels]:
    """Cut into chunks; collapse levels with bitwise equal blocks where that may pay."""
    k, _, n_levels = A.shape
    rows = A.reshape(k * k, n_levels).T
    # A look at the first levels tells whether the full search can pay; for a few small blocks an
    # evaluation costs its array calls, whatever their number.
    collapse = collapse and n_levels * max(k * k, 4) >= COLLAPSIBLE
    if collapse and 4 * (_classes(rows[:256]).max() + 1) <= min(n_levels, 256):
        classes = _classes(rows)
        counts = np.bincount(classes)
        if 4 * len(counts) <= n_levels:
            _, first = np.unique(classes, return_index=True)
            yield _collapse(root(A[:, :, first]), classes, counts, C)
            return
    for start in range(0, n_levels, CHUNK):
        part = slice(start, start + CHUNK)
        R = root(A[:, :, part])
        yield Levels(R, np.ones(R.shape[2]), forward(R, C[:, :, part]))


def by_rows(group: Group, columns: Matrix) -> Levels:
    """Levels whose roots are their own rows of Z and [X y] (t, n), with zeros below them."""
    counts = np.bincount(group.codes, minlength=group.n_levels)
    order = np.argsort(group.codes, kind="stable")
    place = np.empty(len(order), dtype=np.intp)
    place[order] = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    d = int(counts.max())
    R = np.zeros((d, group.size, group.n_levels))
    S = np.zeros((len(columns), d, group.n_levels))
    R[place, :, group.codes] = group.Z
    S[:, place, group.codes] = columns
    return Levels(R, np.ones(group.n_levels), S)


def _classes(rows: Matrix) -> IntVector:
    """Number rows (m, k k) so that bitwise equal ones share a number, (m,)."""
    numbers: dict[bytes, int] = {}
    return np.array([numbers.setdefault(row.tobytes(), len(numbers)) for row in rows])


def _collapse(R: Matrix, classes: IntVector, counts: IntVector, C: Matrix) -> Levels:
    """Replace each class's C_i by at most t k rows with the same sum of outer products."""
    t, k, _ = C.shape
    pieces, owners = [], []
    order = np.argsort(classes, kind="stable")
    for c, members in enumerate(np.split(order, np.cumsum(counts)[:-1])):
        block = C[:, :, members].reshape(t * k, -1)
        if block.shape[1] > t * k:
            block = np.asarray(np.linalg.qr(block.T, mode="r")).T
        pieces.append(block)
        owners.append(np.full(block.shape[1], c))
    owner = np.concatenate(owners)
    S = forward(R[:, :, owner], np.hstack(pieces).reshape(t, k, -1))
    return Levels(R, counts.astype(float), S, owner, classes)


def root(A: Matrix) -> Matrix:
    """Upper-triangular R (k, k, m) with R'R = A; rows of dependent columns are zero."""
    R, squares = np.zeros(A.shape), A.diagonal().T
    if np.count_nonzero(A) == np.count_nonzero(squares):  # indicators of a factor's levels
        each = np.arange(len(A))
        R[each, each] = np.sqrt(squares)
        return R
    for j in range(len(A)):
        row = A[j, j:]
        if j:
            row = row - einsum("im,ibm->bm", R[:j, j], R[:j, j:])
        R[j, j:] = row / np.sqrt(np.where(row[0] > DEPENDENT * squares[j], row[0], np.inf))
    return R


def forward(R: Matrix, C: Matrix) -> Matrix:
    """S (t, k, m) with R'S = C, for C (t, k, m); zero where R has a row of zeros."""
    diagonal = R.diagonal().T
    pivots = np.where(diagonal > 0.0, diagonal, np.inf)
    if np.count_nonzero(R) == np.count_nonzero(diagonal):
        return C / pivots
    S = np.empty(C.shape)
    for j in range(len(R)):
        rest = C[:, j]
        if j:
            rest = rest - einsum("im,tim->tm", R[:j, j], S[:, :j])
        S[:, j] = rest / pivots[j]
    return S


def backward(R: Matrix, S: Matrix) -> Matrix:
    """B (t, k, m) with R B = S, for S (t, k, m); zero where R has a row of zeros."""
    B = np.empty(S.shape)
    for j in reversed(range(len(R))):
        rest = S[:, j] - einsum("im,tim->tm", R[j, j + 1 :], B[:, j + 1 :])
        B[:, j] = rest / np.where(R[j, j] > 0.0, R[j, j], np.inf)
    return B
