"""CHOLMOD through scikit-sparse: the only file that knows it, and both of its interfaces.

scikit-sparse 0.4 has ``analyze()`` and a ``Factor``, of which ``cholesky()`` makes a new numeric
factor; 0.5 has a ``CholeskyFactor`` that is copied before ``factorize()`` fills it. Either way the
symbolic analysis stays as it is and serves all later factorizations.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy import sparse
from sksparse import cholmod

from lmm._threads import blas_was_loaded
from lmm._types import IntVector, Matrix, Vector
from lmm.errors import NumericalError

RENAMED = hasattr(cholmod, "CholeskyFactor")
# SuiteSparse brings a BLAS of its own.
blas_was_loaded()


def orderings(matrix: sparse.csc_array) -> Iterator[tuple[str, IntVector]]:
    """Fill-reducing permutations of a symmetric matrix: AMD, and METIS where it was compiled in."""
    for name in ("AMD", "METIS"):
        try:
            factor = _analyze(matrix, name.lower())
        except cholmod.CholmodNotInstalledError:
            continue
        yield name, np.array(factor.perm if RENAMED else factor.P(), dtype=np.int64)


class Analysis:
    """Symbolic analysis of a symmetric matrix whose rows are in their final order.

    Parameters
    ----------
    matrix : (q, q) sparse array
        Full pattern; the values are ignored.

    Attributes
    ----------
    indptr, indices : (q + 1,) and (nnz,) int arrays
        Pattern of L, by columns. It includes the zeros that CHOLMOD adds to merge columns.
    """

    def __init__(self, matrix: sparse.csc_array) -> None:
        self._symbolic = _analyze(matrix, "natural")
        rows, columns = (
            matrix.indices,
            np.repeat(np.arange(matrix.shape[1]), np.diff(matrix.indptr)),
        )
        unit = (rows == columns).astype(float)
        identity = sparse.csc_array((unit, rows, matrix.indptr), shape=matrix.shape)
        lower = self.factor(identity).lower
        self.indptr, self.indices = lower.indptr, lower.indices

    def factor(self, matrix: sparse.csc_array) -> CholmodFactor:
        """Numeric factorization of a matrix with the analysed pattern.

        Raises
        ------
        NumericalError
            It is not positive definite.
        """
        try:
            if RENAMED:
                return CholmodFactor(self._symbolic.copy().factorize(matrix))
            return CholmodFactor(self._symbolic.cholesky(sparse.csc_matrix(matrix)))
        except cholmod.CholmodNotPositiveDefiniteError as error:
            raise NumericalError("Lambda'Z'Z Lambda + I is not positive definite.") from error


class CholmodFactor:
    """Numeric factor.

    Attributes
    ----------
    lower : (q, q) sparse array
        L, in the pattern of the analysis.
    """

    def __init__(self, numeric: Any) -> None:
        self._numeric = numeric
        # Where CHOLMOD factored into L D L', only this shows that D is positive.
        self.lower: Any = numeric.factor if RENAMED else numeric.L()

    @property
    def values(self) -> Vector:
        """Values of L (nnz,)."""
        return np.asarray(self.lower.data)

    def solve(self, right: Matrix) -> Matrix:
        """``(L L')^-1 right`` for right (q, c)."""
        return np.asarray(self._numeric.solve(right) if RENAMED else self._numeric(right))


def _analyze(matrix: sparse.csc_array, ordering: str) -> Any:
    # With "auto", CHOLMOD goes column by column through factors that are nearly empty: merging
    # their columns into dense blocks takes twenty times as long.
    if RENAMED:
        return cholmod.CholeskyFactor(matrix, order=ordering, supernodal_mode="supernodal")
    return cholmod.analyze(sparse.csc_matrix(matrix), mode="auto", ordering_method=ordering)
