"""Sums over the rows of a grouping factor, and quadratic forms in them."""

from __future__ import annotations

import numpy as np

from lmm._types import Matrix, Vector
from lmm.pls.groups import Group

__all__ = ["grams", "row_forms"]


def grams(group: Group, weights: Vector) -> Matrix:
    """Z'WZ of every level of a group, (k, k, l)."""
    A = np.empty((group.size, group.size, group.n_levels))
    for a in range(group.size):
        for b in range(a + 1):
            product = weights * group.Z[:, a] * group.Z[:, b]
            A[a, b] = A[b, a] = np.bincount(group.codes, product, group.n_levels)
    return A


def row_forms(group: Group, blocks: Matrix) -> Vector:
    """``z_i'B z_i`` by row for blocks B (l, k, k) of the rows' levels, (n,)."""
    total = np.zeros(len(group.codes))
    for a in range(group.size):
        for b in range(a + 1):
            entry = blocks[:, a, b] + (blocks[:, b, a] if a != b else 0.0)
            total += entry[group.codes] * group.Z[:, a] * group.Z[:, b]
    return total
