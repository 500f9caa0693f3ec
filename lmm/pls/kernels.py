"""Kernels over many small symmetric blocks, one k x k matrix per level of a grouping factor.

Blocks are stored as a struct of arrays, ``(k, k, m)`` with the level last: each matrix element is
one contiguous array over levels, so that array operations (and `numpy.einsum`) run at memory speed
for 1e6 levels and at call overhead for ten. LAPACK's overhead per block would be many times the
arithmetic, so k = 1, 2, 3 are unrolled by hand; larger blocks go to stacked LAPACK.
"""

from __future__ import annotations

from math import prod

import numpy as np

from lmm import _lapack
from lmm._lapack import einsum
from lmm._types import Matrix, Vector
from lmm.errors import NumericalError

# Columns from which BLAS, one block after the other, beats a sum over all of them.
WIDE = 12
# Entries up to which products of columns are formed at once, and sums made in one pass.
SMALL, FEW_ENTRIES = 50_000, 4000


def invert(blocks: Matrix) -> tuple[Matrix, Vector]:
    """Inverses (k, k, m) and log determinants (m,) of positive-definite blocks (k, k, m).

    Raises
    ------
    NumericalError
        A block is not positive definite.
    """
    k = len(blocks)
    if k == 1:
        return 1.0 / blocks, _log(blocks[0, 0])
    if k == 2:
        return _invert_2(blocks)
    return _invert_3(blocks) if k == 3 else _invert_stacked(blocks)


def _log(pivots: Vector) -> Vector:
    if not pivots.min(initial=np.inf) > 0.0:
        raise NumericalError("A block of the penalized normal equations is not positive definite.")
    return np.log(pivots)


def _invert_2(blocks: Matrix) -> tuple[Matrix, Vector]:
    a, b, d = blocks[0, 0], blocks[1, 0], blocks[1, 1]
    determinant = a * d - b * b
    logdet = _log(determinant)
    inverse = np.empty_like(blocks)
    inverse[0, 0] = d / determinant
    inverse[1, 1] = a / determinant
    inverse[1, 0] = inverse[0, 1] = -b / determinant
    return inverse, logdet


def _invert_3(blocks: Matrix) -> tuple[Matrix, Vector]:
    # L D L' unrolled: unit lower L with entries l10, l20, l21 and pivots d0, d1, d2.
    d0 = blocks[0, 0]
    l10, l20 = blocks[1, 0] / d0, blocks[2, 0] / d0
    d1 = blocks[1, 1] - l10 * blocks[1, 0]
    l21 = (blocks[2, 1] - l20 * blocks[1, 0]) / d1
    d2 = blocks[2, 2] - l20 * blocks[2, 0] - l21 * l21 * d1
    m20 = l10 * l21 - l20  # entry (2, 0) of the inverse of L
    inverse = np.empty_like(blocks)
    r1, r2 = 1.0 / d1, 1.0 / d2
    inverse[2, 2] = r2
    inverse[2, 1] = inverse[1, 2] = -l21 * r2
    inverse[2, 0] = inverse[0, 2] = m20 * r2
    inverse[1, 1] = r1 + l21 * l21 * r2
    inverse[1, 0] = inverse[0, 1] = -l10 * r1 - l21 * m20 * r2
    inverse[0, 0] = 1.0 / d0 + l10 * l10 * r1 + m20 * m20 * r2
    return inverse, _log(d0) + _log(d1) + _log(d2)


def _invert_stacked(blocks: Matrix) -> tuple[Matrix, Vector]:
    try:
        if blocks.shape[2] == 1:  # without the detours of a stack
            L = _lapack.cholesky(blocks[:, :, 0])[None]
            half = _lapack.invert_lower(L[0])[None]
        else:
            L = np.linalg.cholesky(blocks.transpose(2, 0, 1))
            half = np.linalg.inv(L)
    except np.linalg.LinAlgError as error:
        raise NumericalError(
            "A block of the penalized normal equations is not positive definite."
        ) from error
    logdet = 2.0 * np.log(np.diagonal(L, axis1=1, axis2=2)).sum(axis=1)
    inverse = half.transpose(0, 2, 1) @ half
    return np.ascontiguousarray(inverse.transpose(1, 2, 0)), logdet


def penalized_inverse(A: Matrix, lam: Matrix) -> tuple[Matrix, Vector]:
    """H = lambda (lambda'A lambda + I)^-1 lambda' (k, k, m) and log|lambda'A lambda + I| (m,)."""
    if len(lam) == 1:
        gamma = lam[0, 0] ** 2
        inverse, logdet = invert(1.0 + gamma * A)
        return gamma * inverse, logdet
    omega = einsum("ba,bcm->acm", lam, lam.T @ A)
    for a in range(len(lam)):
        omega[a, a] += 1.0
    inverse, logdet = invert(omega)
    half = einsum("ab,bcm->acm", lam, inverse)
    return lam @ half, logdet


def identity_minus(A: Matrix, H: Matrix) -> Matrix:
    """N = I - A H, (k, k, m)."""
    if len(A) == 1:
        return 1.0 - A * H
    N: Matrix = -einsum("abm,bcm->acm", A, H)
    for a in range(len(N)):
        N[a, a] += 1.0
    return N


def multiply(left: Matrix, right: Matrix) -> Matrix:
    """Products A_i B_i per level, (a, c, m), of (a, b, m) and (b, c, m)."""
    if left.shape[1] < WIDE:
        return np.asarray(einsum("abm,bcm->acm", left, right))
    return _one_by_one(left, right.transpose(2, 0, 1))


def multiply_turned(left: Matrix, right: Matrix) -> Matrix:
    """Products A_i B_i' per level, (a, c, m), of (a, b, m) and (c, b, m)."""
    if left.shape[1] < WIDE:
        return np.asarray(einsum("abm,cbm->acm", left, right))
    return _one_by_one(left, right.transpose(2, 1, 0))


def _one_by_one(left: Matrix, right: Matrix) -> Matrix:
    products = np.ascontiguousarray(left.transpose(2, 0, 1)) @ np.ascontiguousarray(right)
    return np.ascontiguousarray(products.transpose(1, 2, 0))


def sum_products(Z: Matrix, x: Vector, codes: np.ndarray, n_levels: int) -> Matrix:
    """Z_i'x_i per level, (k, n_levels), for rows Z (n, k) and x (n,).

    Column by column: a temporary as large as Z would dominate the memory of a fit.
    """
    sums = np.empty((Z.shape[1], n_levels))
    for a, total in enumerate(sums):
        total[:] = np.bincount(codes, weights=Z[:, a] * x, minlength=n_levels)
    return sums


def sum_by(values: Matrix, codes: np.ndarray, n_levels: int) -> Matrix:
    """Sum over the last axis of `values` (..., n) by level: (..., n_levels)."""
    flat = np.ascontiguousarray(values).reshape(prod(values.shape[:-1]), values.shape[-1])
    sums = np.empty((len(flat), n_levels))
    if len(flat) > 1 and flat.size <= FEW_ENTRIES:
        places = np.arange(len(flat))[:, None] * n_levels + codes
        sums[:] = np.bincount(places.ravel(), flat.ravel(), sums.size).reshape(sums.shape)
    else:
        for row, total in zip(flat, sums, strict=True):
            total[:] = np.bincount(codes, weights=row, minlength=n_levels)
    return sums.reshape(*values.shape[:-1], n_levels)
