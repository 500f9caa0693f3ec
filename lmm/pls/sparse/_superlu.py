"""SciPy's SuperLU in the part of a sparse Cholesky factorization, for installs without CHOLMOD.

In symmetric mode with pivots from the diagonal ``P Omega P' = L D L'`` comes out as ``L U`` with
``U = D L'``: twice the flops of a Cholesky factorization, the same numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import spilu, splu

from lmm._types import IntVector, Matrix, Vector
from lmm.errors import NumericalError
from lmm.pls.sparse.symbolic import factor_columns

SYMMETRIC: dict[str, Any] = {"diag_pivot_thresh": 0.0, "options": {"SymmetricMode": True}}


def orderings(matrix: sparse.csc_array) -> Iterator[tuple[str, IntVector]]:
    """Fill-reducing permutation of a symmetric matrix: multiple minimum degree.

    SuperLU does not order without factoring: an incomplete factorization that keeps nothing is
    the cheapest.
    """
    rows, columns = matrix.indices, np.repeat(np.arange(matrix.shape[1]), np.diff(matrix.indptr))
    values = np.where(rows == columns, 2.0 * np.diff(matrix.indptr)[columns], -1.0)
    dominant = sparse.csc_array((values, rows, matrix.indptr), shape=matrix.shape)
    found = spilu(dominant, permc_spec="MMD_AT_PLUS_A", drop_tol=np.inf, fill_factor=1, **SYMMETRIC)
    yield "MMD", np.argsort(found.perm_c)


class Analysis:
    """Symbolic analysis of a symmetric matrix whose rows are in their final order.

    Parameters
    ----------
    matrix : (q, q) sparse array
        Full pattern; the values are ignored.

    Attributes
    ----------
    indptr, indices : (q + 1,) and (nnz,) int arrays
        Pattern of L, by columns.
    """

    def __init__(self, matrix: sparse.csc_array) -> None:
        below = list(factor_columns(matrix))
        self.indptr = np.concatenate([[0], np.cumsum([1 + len(rows) for rows in below])])
        self.indices = np.concatenate([np.append(j, rows) for j, rows in enumerate(below)])

    def factor(self, matrix: sparse.csc_array) -> SuperluFactor:
        """Numeric factorization of a matrix with the analysed pattern.

        Raises
        ------
        NumericalError
            It is not positive definite.
        """
        numeric = splu(matrix, permc_spec="NATURAL", **SYMMETRIC)
        pivots = numeric.U.diagonal()
        if not pivots.min() > 0.0:
            raise NumericalError("Lambda'Z'Z Lambda + I is not positive definite.")
        return SuperluFactor(self, numeric, pivots)


class SuperluFactor:
    """Numeric factor."""

    def __init__(self, analysis: Analysis, numeric: Any, pivots: Vector) -> None:
        self._analysis, self._numeric, self._pivots = analysis, numeric, pivots

    @property
    def values(self) -> Vector:
        """Values of L (nnz,), in the pattern of the analysis."""
        lower = self._numeric.L.sorted_indices()
        values = lower.data * np.repeat(np.sqrt(self._pivots), np.diff(lower.indptr))
        if len(values) == len(self._analysis.indices):
            return np.asarray(values)
        # SuperLU leaves out what happens to be zero.
        full = np.zeros(len(self._analysis.indices))
        full[np.searchsorted(_keys(self._analysis), _keys(lower))] = values
        return full

    def solve(self, right: Matrix) -> Matrix:
        """``(L L')^-1 right`` for right (q, c)."""
        return np.asarray(self._numeric.solve(np.asfortranarray(right)))


def _keys(lower: Any) -> IntVector:
    """Entries of a pattern by columns as increasing integers."""
    q = len(lower.indptr) - 1
    columns = np.repeat(np.arange(q, dtype=np.int64), np.diff(lower.indptr))
    return np.asarray(columns * q + lower.indices)
