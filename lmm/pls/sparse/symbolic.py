"""What is known about a sparse Cholesky factor before any number is computed.

The pattern of column j of L is that of column j of the matrix joined with those of its children in
the elimination tree; its parent is the first row below the diagonal (George & Liu 1981, Computer
Solution of Large Sparse Positive Definite Systems, section 5.2; Davis 2006, Direct Methods for
Sparse Linear Systems, section 4.1).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import sparse

from lmm._types import IntVector


def factor_columns(matrix: sparse.csc_array) -> Iterator[IntVector]:
    """Rows below the diagonal of each column of L, for a symmetric matrix in its final order."""
    indptr, indices = matrix.indptr, matrix.indices
    children: dict[int, list[IntVector]] = {}
    q = matrix.shape[1]
    for j in range(q):
        own = indices[indptr[j] : indptr[j + 1]]
        below = own[np.searchsorted(own, j) + 1 :]
        if j in children:
            # Sorted runs: a stable sort merges them, where numpy.unique would hash.
            rows = np.sort(np.concatenate([below, *children.pop(j)]), kind="stable")
            below = rows[np.append(True, rows[1:] != rows[:-1])]
        if len(below) == q - 1 - j:  # all that follows is dense
            yield from (np.arange(i + 1, q) for i in range(j, q))
            return
        if len(below) > 1:
            children.setdefault(int(below[0]), []).append(below[1:])
        yield below


def column_counts(matrix: sparse.csc_array) -> IntVector:
    """Entries of each column of L (q,), its diagonal included."""
    return np.array([1 + len(below) for below in factor_columns(matrix)])


def flops(counts: IntVector) -> float:
    """Floating-point operations of a Cholesky factorization with these column counts."""
    return float(counts.astype(float) @ counts)


def permuted(matrix: sparse.csc_array, order: IntVector) -> sparse.csc_array:
    """``P matrix P'``, sorted. Values are carried along, zeros included."""
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    columns = np.repeat(rank, np.diff(matrix.indptr))
    rows = rank[matrix.indices]
    entries = sparse.coo_array((matrix.data, (rows, columns)), shape=matrix.shape)
    result = entries.tocsc()
    result.sort_indices()
    return result
