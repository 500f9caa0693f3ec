"""Grouping factors as integer codes, (n,): which rows a level has, and what lies in what."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from lmm._types import IntVector, Matrix


def rows_by_level(codes: IntVector, n_levels: int = 0) -> list[IntVector]:
    """Rows of each level, in their order, also of levels up to `n_levels` that have none."""
    ends = np.cumsum(np.bincount(codes, minlength=n_levels))
    return np.split(np.argsort(codes, kind="stable"), ends[:-1])


def numbered(*codes: IntVector) -> IntVector:
    """Number (n,) of each row's combination of levels; combinations are in their order."""
    return np.unique(np.stack(codes), axis=1, return_inverse=True)[1].ravel()


def is_nested(inner: IntVector, outer: IntVector) -> bool:
    """Whether every level of one factor lies within one level of another."""
    first = np.full(int(inner.max(initial=-1)) + 1, -1)
    first[inner] = outer
    return bool((first[inner] == outer).all())


def indicators(Z: Matrix, codes: IntVector, n_levels: int) -> sparse.csc_array:
    """Columns Z (n, k) spread over the levels of the rows, transposed: (l k, n), by level."""
    n, k = Z.shape
    places = codes[:, None].astype(np.int64) * k + np.arange(k)
    starts = np.arange(0, n * k + 1, k)
    # Structural entries stay, zeros too: the pattern must not depend on the data's values.
    return sparse.csc_array((Z.ravel(), places.ravel(), starts), shape=(n_levels * k, n))
