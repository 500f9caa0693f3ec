"""The Gaussian likelihood of a mixed model: plain functions of what a solver returns.

Equations of docs/theory/criterion.md. With nu = n (ML) or n - p (REML), ``logdet`` the log
determinants of V (and X'V^-1 X for REML) less the log weights, and ``c = pwrss / sigma^2``,

    -2 log L = logdet + nu log(2 pi sigma^2) + c                                               (1)

which is smallest in sigma where c = nu. Gamma = lambda lambda' is the relative covariance of a
term; derivatives by its entries need nothing but the pieces t, q, M, T of `Entries`:

    score      = t - c q                                                                       (2)
    curvature  = 2 c M - T          at fixed sigma                                             (3)
               = 2 nu M - T - nu q q'  with sigma profiled out                                 (4)
    information = T - t t' / nu     the expectation of (4)                                     (5)

All arrays may have leading axes: none for one fit, an axis of replicates for a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lmm._types import Matrix, Vector

Number = TypeVar("Number", float, Vector)  # of one fit, of many

# Eigenvalues of a Hessian, scaled to unit diagonal, below this fraction of the largest say nothing.
FLAT = 1e-10


def criterion(logdet: Number, pwrss: Number, nu: int, sigma: float | None = None) -> Number:
    """-2 log-likelihood (1), at the best sigma or at a given one.

    Parameters
    ----------
    logdet : float or (...) array
        Log determinants less the sum of the log weights.
    pwrss : float or (...) array
        Penalized residual sum of squares, original units.
    nu : int
        Degrees of freedom.
    sigma : float, optional
        Residual standard deviation; by default it is profiled out.
    """
    variance = pwrss / nu if sigma is None else sigma**2
    misfit = nu if sigma is None else pwrss / sigma**2
    value: Number = logdet + nu * np.log(2.0 * np.pi * variance) + misfit
    return value


@dataclass(frozen=True, slots=True)
class Entries:
    """What log determinants and pwrss do as the m free entries of Gamma move.

    Attributes
    ----------
    logdet : (..., m) array
        First derivative t of the log determinants, ``tr(F E)``.
    quadratic : (..., m) array
        q, minus the first derivative of log pwrss.
    average : (..., m, m) array
        M, half the second derivative of pwrss, over pwrss.
    trace : (..., m, m) array
        T, minus the second derivative of the log determinants, ``tr(F E F E')``.
    """

    logdet: Vector
    quadratic: Vector
    average: Matrix
    trace: Matrix

    def score(self, c: float) -> Vector:
        """First derivative (2), (..., m)."""
        return self.logdet - c * self.quadratic

    def curvature(self, c: float) -> Matrix:
        """Second derivative (3) at fixed sigma, (..., m, m)."""
        return 2.0 * c * self.average - self.trace

    def profiled(self, nu: float) -> Matrix:
        """Second derivative (4) with sigma profiled out, (..., m, m)."""
        q = self.quadratic
        return self.curvature(nu) - nu * q[..., :, None] * q[..., None, :]

    def along(self, directions: Matrix) -> Entries:
        """The same along other directions (d, m), combinations of the entries."""
        return Entries(
            self.logdet @ directions.T,
            self.quadratic @ directions.T,
            directions @ self.average @ directions.T,
            directions @ self.trace @ directions.T,
        )


def information(trace: Matrix, logdet: Vector, nu: float) -> Matrix:
    """Expected second derivative (5), (..., m, m)."""
    return trace - logdet[..., :, None] * logdet[..., None, :] / nu


def chained(score: Vector, curvature: Matrix, J: Matrix, bend: Matrix) -> tuple[Vector, Matrix]:
    """Gradient (..., d) and Hessian (..., d, d) in any coordinates of Gamma.

    Parameters
    ----------
    score, curvature : (..., m) and (..., m, m) arrays
        Derivatives by the entries of Gamma.
    J : (..., m, d) array
        Derivative of the entries by the coordinates.
    bend : (..., d, d) array
        Second derivatives of the entries by the coordinates, contracted with the score.
    """
    if score.ndim == 1:  # without the detours that leading axes take
        return score @ J, J.T @ curvature @ J + bend
    Jt = np.swapaxes(J, -1, -2)
    return (Jt @ score[..., None])[..., 0], Jt @ curvature @ J + bend


def with_log_sigma(
    entries: Entries, J: Matrix, bend: Matrix, c: float, nu: float
) -> tuple[Vector, Matrix]:
    """Gradient (..., d) and Hessian (..., d, d) of (1) in coordinates of which log sigma is last.

    Parameters
    ----------
    entries : Entries
        Pieces of the derivatives by the entries of Gamma.
    J, bend : (..., m, d) and (..., d, d) arrays
        As for `chained`; zero in log sigma where Gamma is relative to sigma^2.
    c, nu : float
        As in (1).
    """
    gradient, hessian = chained(entries.score(c), entries.curvature(c), J, bend)
    mixed = 2.0 * c * (entries.quadratic[..., None, :] @ J)[..., 0, :]
    gradient[..., -1] += 2.0 * (nu - c)
    hessian[..., -1, :] += mixed
    hessian[..., :, -1] += mixed
    hessian[..., -1, -1] += 4.0 * c
    return gradient, hessian


def padded(J: Matrix, bend: Matrix) -> tuple[Matrix, Matrix]:
    """J (..., m, d + 1) and bend with log sigma added, on which Gamma does not depend."""
    lead = [(0, 0)] * (J.ndim - 2)
    return np.pad(J, [*lead, (0, 0), (0, 1)]), np.pad(bend, [*lead, (0, 1), (0, 1)])


def variance_of_estimates(hessian: Matrix) -> Matrix:
    """Asymptotic covariance ``2 H^-1`` of estimates, (..., d, d), from the Hessian of (1).

    Scaled to unit diagonal, so that units and sizes of the coordinates do not matter; directions
    without positive curvature have no part.
    """
    size = np.sqrt(np.abs(np.diagonal(hessian, axis1=-2, axis2=-1)))
    inverse = np.where(size > 0.0, 1.0 / np.where(size > 0.0, size, 1.0), 0.0)
    scaled = hessian * inverse[..., :, None] * inverse[..., None, :]
    values, vectors = np.linalg.eigh(0.5 * (scaled + np.swapaxes(scaled, -1, -2)))
    kept = values > FLAT * values[..., -1:]
    weights = np.where(kept, 2.0 / np.where(kept, values, 1.0), 0.0)
    vectors = vectors * inverse[..., :, None]
    return np.asarray((vectors * weights[..., None, :]) @ np.swapaxes(vectors, -1, -2))


def satterthwaite(variance: Vector, gradient: Matrix, covariance: Matrix) -> Vector:
    """Degrees of freedom ``2 v^2 / (g'A g)`` of estimated variances (Giesbrecht & Burns, 1985).

    Parameters
    ----------
    variance : (..., r) array
        v.
    gradient : (..., r, d) array
        Derivatives g of each in the variance parameters.
    covariance : (..., d, d) array
        A, the covariance of the estimated variance parameters.
    """
    spread = np.einsum("...rt,...tu,...ru->...r", gradient, covariance, gradient, optimize=True)
    infinite = np.full(np.shape(spread), np.inf)  # of variances that nothing estimated moves
    df = np.divide(2.0 * variance**2, spread, out=infinite, where=spread != 0.0)
    return np.asarray(df)


def critical_value(level: float, df: ArrayLike = np.inf) -> Any:
    """What a t variable, normal for infinite df, stays below in size with probability `level`.

    A number for a number; an array of the shape of `df` for an array.
    """
    from scipy.special import ndtri, stdtrit

    tail, df = 0.5 + 0.5 * level, np.asarray(df, dtype=np.float64)
    return np.where(np.isinf(df), ndtri(tail), stdtrit(df, tail))[()]


def is_singular(factors: Sequence[Matrix], tol: float) -> NDArray[np.bool_]:
    """Whether some whitened factor lambda* has a singular value below `tol`, (...).

    There 1 is a random effect as large as the noise of its level's own mean, whatever the units
    and origins of the covariates (docs/theory/optimizer.md). It is no matter of ratios.

    Parameters
    ----------
    factors : sequence of (..., k_i, k_i) arrays
        Whitened factors, one per term.
    tol : float
        Smallest standard deviation that is not zero.
    """
    smallest = [np.linalg.svd(factor, compute_uv=False)[..., -1] for factor in factors]
    return np.asarray(np.min(smallest, axis=0) < tol)


def correlations(covariance: Matrix) -> Matrix:
    """Correlations (..., k, k), between -1 and 1; NaN between columns of which one is constant."""
    deviations = np.sqrt(np.diagonal(covariance, axis1=-2, axis2=-1))
    size = deviations[..., :, None] * deviations[..., None, :]
    defined = size > 0.0
    ratio = np.clip(covariance / np.where(defined, size, 1.0), -1.0, 1.0)
    ratio = np.where(defined, ratio, np.nan)
    diagonal = np.arange(ratio.shape[-1])
    ratio[..., diagonal, diagonal] = 1.0
    return np.asarray(ratio)
