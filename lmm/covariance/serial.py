"""Correlations that fall off with the distance of columns: ar1, ou and toep."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from lmm._types import IntVector, Matrix, Vector, cached_property
from lmm.covariance.base import ReportedParameter, shared
from lmm.covariance.correlated import Correlated, Correlation, correlation_at


@dataclass(frozen=True)
class _Decaying(Correlated):
    """Correlations ``rho ** lag`` of columns that are a lag apart."""

    @property
    @abstractmethod
    def lags(self) -> Matrix:
        """Distances (k, k) of the columns, 0 or at least 1."""

    def correlation(self, rho: Vector) -> Correlation:
        """Powers of rho."""
        lags, base = self.lags, rho[0]
        # Below lag 2 the second derivative has a pole at 0, which no search needs to see.
        steep = base if base < 0.0 else max(base, 1e-3)
        first = lags * base ** np.maximum(lags - 1.0, 0.0)
        second = lags * (lags - 1.0) * np.power(steep, np.where(lags < 1.0, 0.0, lags - 2.0))
        each = np.arange(lags.size).reshape(lags.shape)
        return Correlation(base**lags, first[None], each, second.reshape(-1, 1, 1))

    def nearest_rho(self, correlation: Matrix) -> Vector:
        """Mean correlation of the columns closest to each other."""
        lags = self.lags
        closest = lags == lags[lags > 0.0].min()
        return np.array([correlation[closest].mean()])

    def correlations(self) -> tuple[ReportedParameter, ...]:
        """Rho, between two columns that are closest to each other."""
        rows, columns = np.nonzero(np.tril(self.lags == 1.0))
        return (ReportedParameter("rho", int(rows[0]), int(columns[0])),)


@dataclass(frozen=True)
class AutoRegressive(_Decaying):
    """Autoregression of first order: ``rho ** |i - j|`` for columns i and j.

    Examples
    --------
    >>> AutoRegressive(3, hom=True).correlation(np.array([0.5])).value
    array([[1.  , 0.5 , 0.25],
           [0.5 , 1.  , 0.5 ],
           [0.25, 0.5 , 1.  ]])
    """

    word = "ar1"

    @property
    def rho_bounds(self) -> tuple[Vector, Vector]:
        """From -1 to 1."""
        return -np.ones(1), np.ones(1)

    @cached_property
    def lags(self) -> Matrix:
        """Differences of the columns' numbers."""
        each = np.arange(self.size, dtype=np.float64)
        return shared(np.abs(each[:, None] - each))


@dataclass(frozen=True)
class OrnsteinUhlenbeck(_Decaying):
    """Autoregression in continuous time: correlation ``exp(-|t_i - t_j| / range)``.

    The parameter rho is the correlation of the two columns closest in time, a `spacing` apart;
    ``range = -spacing / log(rho)``.

    Parameters
    ----------
    size : int
        Number of columns k.
    hom : bool
        Whether all columns share one standard deviation.
    times : tuple of float
        Time of each column, all different.

    Examples
    --------
    >>> OrnsteinUhlenbeck(3, hom=True, times=(0.0, 1.0, 3.0)).correlation(np.array([0.5])).value
    array([[1.   , 0.5  , 0.125],
           [0.5  , 1.   , 0.25 ],
           [0.125, 0.25 , 1.   ]])
    """

    word = "ou"

    times: tuple[float, ...]

    @property
    def rho_bounds(self) -> tuple[Vector, Vector]:
        """From 0 to 1."""
        return np.zeros(1), np.ones(1)

    @property
    def spacing(self) -> float:
        """Smallest distance of two columns."""
        return min(b - a for a, b in pairwise(sorted(self.times)))

    def between(self, par: Vector, times: Vector) -> tuple[Matrix, Vector]:
        """Effects at other times, given those of the columns.

        Parameters
        ----------
        par : (2,) array
            Standard deviation over sigma, and rho.
        times : (r,) array
            Times.

        Returns
        -------
        weights : (r, k) array
            The expectation of each is so much of the columns' effects (``c'C^-1``).
        left : (r,) array
            Variance over sigma^2 that they do not tell.
        """
        sd, rho = par
        distances = np.abs(times[:, None] - np.asarray(self.times)) / self.spacing
        c = rho**distances
        weights = np.linalg.lstsq(correlation_at(self, par[1:]).value, c.T, rcond=None)[0].T
        left = sd**2 * np.maximum(1.0 - np.einsum("rk,rk->r", weights, c), 0.0)
        return weights, left

    @cached_property
    def lags(self) -> Matrix:
        """Distances in time, over the smallest one."""
        times = np.asarray(self.times)
        return shared(np.abs(times[:, None] - times) / self.spacing)


@dataclass(frozen=True)
class Toeplitz(Correlated):
    """One correlation for each lag between columns.

    The parameters are the partial autocorrelations phi_1 ... phi_{k-1}, free between -1 and 1; the
    correlations of lags 1 ... k-1 follow from them by the recursion of Levinson and Durbin
    (Durbin 1960, Rev. Int. Stat. Inst. 28, 233-244).

    Examples
    --------
    >>> Toeplitz(3, hom=True).correlation(np.array([0.5, 0.2])).value
    array([[1. , 0.5, 0.4],
           [0.5, 1. , 0.5],
           [0.4, 0.5, 1. ]])
    """

    word = "toep"
    is_shared = False

    @property
    def rho_bounds(self) -> tuple[Vector, Vector]:
        """From -1 to 1."""
        ones = np.ones(self.size - 1)
        return -ones, ones

    @cached_property
    def lags(self) -> IntVector:
        """Differences (k, k) of the columns' numbers."""
        each = np.arange(self.size)
        return shared(np.abs(each[:, None] - each))

    def correlation(self, rho: Vector) -> Correlation:
        """Correlations by lag, from partial ones."""
        by_lag = [_Jet.constant(1.0, len(rho)), *_autocorrelations(rho)]
        values = np.array([jet.value for jet in by_lag])
        slopes = np.array([jet.slope for jet in by_lag])
        bends = np.array([jet.bend for jet in by_lag])
        lags = self.lags
        return Correlation(values[lags], np.moveaxis(slopes[lags], 2, 0), lags, bends)

    def nearest_rho(self, correlation: Matrix) -> Vector:
        """Partial autocorrelations of the mean correlation of each lag."""
        by_lag = [float(np.diagonal(correlation, lag).mean()) for lag in range(1, self.size)]
        return _partial(np.array(by_lag))

    def rho_names(self) -> tuple[str, ...]:
        """Phi, numbered by lag."""
        return tuple(f"phi{lag}" for lag in range(1, self.size))

    def correlations(self) -> tuple[ReportedParameter, ...]:
        """One for each lag."""
        return tuple(ReportedParameter(f"lag{lag}", lag, 0) for lag in range(1, self.size))


@dataclass(frozen=True, eq=False)
class _Jet:
    """A number with its first (r,) and second (r, r) derivatives."""

    value: float
    slope: Vector
    bend: Matrix

    @classmethod
    def constant(cls, value: float, r: int) -> _Jet:
        return cls(value, np.zeros(r), np.zeros((r, r)))

    def __add__(self, other: _Jet) -> _Jet:
        return _Jet(self.value + other.value, self.slope + other.slope, self.bend + other.bend)

    def __sub__(self, other: _Jet) -> _Jet:
        return _Jet(self.value - other.value, self.slope - other.slope, self.bend - other.bend)

    def __mul__(self, other: _Jet) -> _Jet:
        cross = np.outer(self.slope, other.slope)
        return _Jet(
            self.value * other.value,
            self.value * other.slope + other.value * self.slope,
            self.value * other.bend + other.value * self.bend + cross + cross.T,
        )


def _autocorrelations(phi: Vector) -> list[_Jet]:
    """Correlations of lags 1 ... r, from partial ones (r,)."""
    r = len(phi)
    variables = [
        _Jet(float(p), unit, np.zeros((r, r))) for p, unit in zip(phi, np.eye(r), strict=True)
    ]
    one = left = _Jet.constant(1.0, r)  # left: variance that earlier lags leave
    found: list[_Jet] = []
    weights: list[_Jet] = []
    for variable in variables:
        new = variable * left
        for weight, known in zip(weights, reversed(found), strict=True):
            new = new + weight * known
        turned = zip(weights, reversed(weights), strict=True)
        weights = [*(w - variable * v for w, v in turned), variable]
        found.append(new)
        left = left * (one - variable * variable)
    return found


def _partial(correlations: Vector) -> Vector:
    """Partial autocorrelations (r,) of correlations by lag (r,), cut off at -1 and 1."""
    weights, left = np.empty(0), 1.0
    phi = np.zeros(len(correlations))
    for lag, correlation in enumerate(correlations):
        known = correlations[:lag][::-1]
        partial = (correlation - weights @ known) / left if left > 0.0 else 0.0
        phi[lag] = partial = float(np.clip(partial, -1.0, 1.0))
        weights = np.append(weights - partial * weights[::-1], partial)
        left *= 1.0 - partial * partial
    return phi
