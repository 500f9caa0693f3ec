"""Sums over the rows of a grouping factor, and quadratic forms in them."""

from __future__ import annotations

import numpy as np

from lmm._types import Matrix, Vector
from lmm.pls.groups import Group, LevelPairs
from lmm.pls.kernels import sum_by, sum_products, sum_rows

__all__ = ["grams", "level_sums", "pair_forms", "row_forms"]

# Numbers up to which all columns are summed in one pass.
SMALL = 5000


def level_sums(group: Group, rows: Matrix) -> Matrix:
    """Z'rows of every level of a group, (l, k) or (l, k, r), for rows (n,) or (n, r)."""
    if rows.ndim == 1:
        return sum_products(group.Z, rows, group.codes, group.n_levels).T
    return np.stack([_summed(group, rows * z[:, None]).T for z in group.Z.T], axis=1)


def _summed(group: Group, rows: Matrix) -> Matrix:
    """Sums of rows (n, r) by level, (r, l)."""
    if rows.size <= SMALL:
        return sum_rows(rows, group.codes, group.n_levels)
    return sum_by(np.ascontiguousarray(rows.T), group.codes, group.n_levels)


def grams(group: Group, weights: Matrix) -> Matrix:
    """Z'WZ of every level of a group, (k, k, l), or (r, k, k, l) for weights (n, r)."""
    A = np.empty((*weights.shape[1:], group.size, group.size, group.n_levels))
    for a in range(group.size):
        for b in range(a + 1):
            z = group.Z[:, a] * group.Z[:, b]
            one = weights.ndim == 1
            moved = weights * (z if one else z[:, None])
            sums = sum_by(moved, group.codes, group.n_levels) if one else _summed(group, moved)
            A[..., a, b, :] = A[..., b, a, :] = sums
    return A


def row_forms(group: Group, blocks: Matrix) -> Vector:
    """``z_i'B z_i`` by row for blocks B (..., k, k, l) of the rows' levels, (..., n)."""
    total: np.ndarray | None = None
    for a, left in enumerate(group.Z.T):
        for b, right in enumerate(group.Z.T[: a + 1]):
            entry = blocks[..., a, b, :]
            if a != b:
                entry = entry + blocks[..., b, a, :]
            rows = np.ascontiguousarray(entry)[..., group.codes]
            rows *= left * right
            total = rows if total is None else np.add(total, rows, out=total)
    assert total is not None
    return total


def pair_forms(group: Group, other: Group, blocks: Matrix, pairs: LevelPairs) -> Vector:
    """``z_i'B y_i`` by row for blocks B (k, k_h, m) of the rows' pairs of levels, (n,)."""
    total: Vector = np.zeros(len(group.codes))
    for a, left in enumerate(group.Z.T):
        for b, right in enumerate(other.Z.T):
            total += blocks[a, b, pairs.rows] * left * right
    return total
