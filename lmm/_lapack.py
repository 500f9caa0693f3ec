"""LAPACK and einsum for the small matrices of a fit, without the wrappers around them.

For a 2 x 2 matrix the checks and conversions of `numpy.linalg` and `scipy.linalg` cost several
times what LAPACK itself does, and a fit of a small model makes dozens of such calls. Arguments here
are arrays of doubles, and not checked.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import blas, lapack

from lmm._types import Matrix, Vector

# NumPy's own looks at every operand for other kinds of arrays, which takes as long as a small sum.
einsum: Callable[..., Matrix] = getattr(np.einsum, "__wrapped__", np.einsum)

# Columns that a blocked QR decomposition works on at a time.
BLOCK = 32
# Entries up to which it is remembered which of them are not below the diagonal.
SMALL = 1024
# Columns up to which LAPACK inverts a triangle as fast as by halves.
HALVED = 128
# Columns that are mirrored at a time.
PIECE = 256


def _checked(info: int, what: str) -> None:
    if info > 0:
        raise np.linalg.LinAlgError(what)


def cholesky(matrix: Matrix) -> Matrix:
    """Lower Cholesky factor (n, n), by rows, of a symmetric matrix; the upper triangle is not read.

    Raises
    ------
    numpy.linalg.LinAlgError
        The matrix is not positive definite.
    """
    if not matrix.size:
        return matrix.copy()
    upper, info = lapack.dpotrf(matrix.T, lower=0, clean=1)
    _checked(info, "Matrix is not positive definite")
    return np.asarray(upper.T)


def eigh(matrix: Matrix) -> tuple[Vector, Matrix]:
    """Eigenvalues (n,), ascending, and eigenvectors (n, n) of a symmetric matrix."""
    if not matrix.size:
        return np.empty(0), matrix.copy()
    values, vectors, info = lapack.dsyevd(matrix, lower=1)
    _checked(info, "Eigenvalues did not converge")
    return values, vectors


def svd(matrix: Matrix) -> tuple[Matrix, Vector, Matrix]:
    """Singular value decomposition U (m, m), s (min(m, n),), V' (n, n)."""
    U, values, Vt, info = lapack.dgesdd(matrix)
    _checked(info, "SVD did not converge")
    return U, values, Vt


def singular_values(matrix: Matrix) -> Vector:
    """Singular values, descending."""
    if matrix.shape == (1, 1):
        return np.abs(matrix).ravel()
    _, values, _, info = lapack.dgesdd(matrix, compute_uv=0)
    _checked(info, "SVD did not converge")
    return np.asarray(values)


def qr(matrix: Matrix) -> tuple[Matrix, Matrix]:
    """Orthonormal Q (m, min(m, n)) and upper-triangular R of a matrix (m, n)."""
    m, n = matrix.shape
    if not matrix.size:
        return np.empty((m, min(m, n))), np.empty((min(m, n), n))
    packed, tau, *_ = lapack.dgeqrf(matrix, lwork=BLOCK * n)
    R = _triangle(packed)
    Q, *_ = lapack.dorgqr(packed[:, : min(m, n)], tau, lwork=BLOCK * n, overwrite_a=1)
    return Q, R


def qr_factor(matrix: Matrix) -> Matrix:
    """R (min(m, n), n), upper triangular, with ``R'R = matrix'matrix``."""
    if not matrix.size:
        return np.empty((min(matrix.shape), matrix.shape[1]))
    return _triangle(lapack.dgeqrf(matrix, lwork=BLOCK * matrix.shape[1])[0])


def _triangle(packed: Matrix) -> Matrix:
    k = min(packed.shape)
    R: Matrix = packed[:k]
    return R * (_remembered if R.size <= SMALL else _upper)(*R.shape)


def _upper(k: int, n: int) -> NDArray[np.bool_]:
    """Which entries of a (k, n) matrix are not below the diagonal."""
    mask: NDArray[np.bool_] = np.arange(k)[:, None] <= np.arange(n)
    mask.setflags(write=False)
    return mask


_remembered = lru_cache(maxsize=64)(_upper)


def dependent(R: Matrix, tolerance: float) -> NDArray[np.bool_]:
    """Columns (n,) of an upper-triangular R (n, n) that those before them explain.

    No more is left of them than the tolerance, beside their length.
    """
    squares = R * R
    return np.asarray(squares.diagonal() <= tolerance**2 * squares.sum(axis=0))


def solve_upper(R: Matrix, right: Matrix) -> Matrix:
    """R^-1 right for upper-triangular R (n, n) and right (n,) or (n, r), which may be empty.

    Raises
    ------
    numpy.linalg.LinAlgError
        R is singular.
    """
    if not right.size:
        return right
    solution, info = lapack.dtrtrs(R, right)
    _checked(info, "Singular matrix")
    return np.asarray(solution)


def solve_positive(matrix: Matrix, right: Matrix) -> Matrix:
    """Solve a system with a positive-definite matrix (n, n), right (n,) or (n, r), maybe empty.

    Raises
    ------
    numpy.linalg.LinAlgError
        The matrix is not positive definite.
    """
    if not right.size:
        return right
    _, solution, info = lapack.dposv(matrix, right, lower=1)
    _checked(info, "Matrix is not positive definite")
    return np.asarray(solution)


def divide_upper(left: Matrix, R: Matrix) -> Matrix:
    """Left R^-1, (m, n), for upper-triangular R (n, n)."""
    return np.asarray(blas.dtrsm(1.0, R, left, side=1))


def invert_lower(L: Matrix) -> Matrix:
    """L^-1 for lower-triangular L (n, n)."""
    if not L.size:
        return L.copy()
    # L by rows is L' by columns, which LAPACK reads without a copy.
    inverse, info = lapack.dtrtri(L.T)
    _checked(info, "Singular matrix")
    return np.asarray(inverse.T)


def inverse_of_factored(L: Matrix) -> Matrix:
    """(L L')^-1 for lower-triangular L (n, n), by columns, with nothing above the diagonal."""
    if not L.size:
        return L
    half = L.copy(order="F")
    _invert_by_halves(half)
    inverse, _ = lapack.dlauum(half, lower=1, overwrite_c=1)
    for start in range(0, len(inverse), PIECE):
        own, rest = slice(start, start + PIECE), slice(start + PIECE, None)
        block = inverse[own, own]
        block += block.T
        block.flat[:: len(block) + 1] *= 0.5
        inverse[own, rest] = inverse[rest, own].T
    return np.asarray(inverse.T)  # by rows


def _invert_by_halves(L: Matrix) -> None:
    """Invert lower-triangular L (n, n) in place: products, which LAPACK's own has few of."""
    if len(L) <= HALVED:
        L[:], _ = lapack.dtrtri(L, lower=1)
        return
    h = len(L) // 2
    first, below, last = L[:h, :h], L[h:, :h], L[h:, h:]
    _invert_by_halves(first)
    _invert_by_halves(last)
    half = blas.dtrmm(-1.0, first, below, side=1, lower=1)
    below[:] = blas.dtrmm(1.0, last, half, lower=1, overwrite_b=1)


def lower_triangular(factor: Matrix) -> Matrix:
    """Lower-triangular L (k, k) with L L' = factor factor' and a non-negative diagonal.

    By a QR decomposition of factor', so that no digits are lost by forming the product.
    """
    k, c = factor.shape
    if k == c == 1:
        return np.abs(factor)
    L = qr_factor(factor.T).T
    signs = np.where(L.diagonal() < 0.0, -1.0, 1.0)
    return np.asarray(L * signs + 0.0)  # no zeros with a sign
