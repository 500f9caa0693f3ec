"""Sums over the rows of a grouping factor, and quadratic forms in them."""

from __future__ import annotations

import numpy as np

from lmm._types import Matrix, Vector
from lmm.pls.groups import Group, LevelPairs

__all__ = ["grams", "pair_forms", "row_forms"]


def grams(group: Group, weights: Vector) -> Matrix:
    """Z'WZ of every level of a group, (k, k, l)."""
    A = np.empty((group.size, group.size, group.n_levels))
    for a in range(group.size):
        for b in range(a + 1):
            product = weights * group.Z[:, a] * group.Z[:, b]
            A[a, b] = A[b, a] = np.bincount(group.codes, product, group.n_levels)
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
