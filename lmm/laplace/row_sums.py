"""Sums over the rows of a grouping factor, and quadratic forms in them."""

from __future__ import annotations

import numpy as np

from lmm._types import Matrix, Vector
from lmm.pls.groups import Group, LevelPairs
from lmm.pls.kernels import sum_by, sum_products


def level_sums(group: Group, rows: Matrix) -> Matrix:
    """Z'rows of every level of a group, (l, k) or (l, k, r), for rows (n,) or (n, r)."""
    if rows.ndim == 1:
        return sum_products(group.Z, rows, group.codes, group.n_levels).T
    sums = [sum_by((rows * z[:, None]).T, group.codes, group.n_levels).T for z in group.Z.T]
    return np.stack(sums, axis=1)


def grams(group: Group, weights: Matrix) -> Matrix:
    """Z'WZ of every level of a group, (k, k, l), or (r, k, k, l) for weights (n, r)."""
    A = np.empty((*weights.shape[1:], group.size, group.size, group.n_levels))
    for a in range(group.size):
        for b in range(a + 1):
            z = group.Z[:, a] * group.Z[:, b]
            sums = sum_by(weights.T * z, group.codes, group.n_levels)
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
