"""Families with a dispersion: gaussian, Gamma and inverse gaussian."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import digamma, gammainc, gammaln, log_ndtr, ndtr, polygamma

from lmm._types import Vector
from lmm.errors import DataError
from lmm.family.dispersion import DispersionFamily, DispersionRows
from lmm.family.jets import Jet, constant, product
from lmm.family.links import LOG_2PI, MEAN_LINKS, Link

# From here on log gamma functions come from Stirling's series.
STIRLING = 50.0


def _check_size(y: Vector, most: float) -> None:
    """Raise DataError where powers of positive responses (n,) over- or underflow."""
    for extreme in (y.min(), y.max()):
        if not 1.0 / most < extreme < most:
            raise DataError(
                f"a response is {extreme:g}, of which powers cannot be computed with: measure it "
                "in another unit"
            )


def _links(*names: str) -> Mapping[str, Link]:
    return {name: MEAN_LINKS[name] for name in names}


class ScaleFamily(DispersionFamily):
    """A family whose shape is its dispersion."""

    @property
    def shape_name(self) -> str:
        return "dispersion"


@dataclass(frozen=True)
class Gaussian(ScaleFamily):
    """Normal distribution: variance phi, the square of the residual standard deviation.

    Parameters
    ----------
    link : {"identity", "log", "inverse"}
        Link of the mean.

    Examples
    --------
    >>> import lmm
    >>> lmm.Gaussian("log").link
    'log'
    """

    link: str = "identity"

    name: ClassVar[str] = "gaussian"
    links: ClassVar[Mapping[str, Link]] = _links("identity", "log", "inverse")
    canonical_link: ClassVar[str] = "identity"
    mean_range: ClassVar[tuple[float, float]] = (-np.inf, np.inf)
    concave_links: ClassVar[frozenset[str]] = frozenset(("identity",))

    @property
    def is_gaussian_identity(self) -> bool:
        return self.link == "identity"

    def are_means(self, mu: Vector) -> NDArray[np.bool_]:
        """See `DispersionFamily`: any finite number."""
        return np.isfinite(mu)

    def check(self, y: Vector, weights: Vector) -> None:
        if self.link == "log" and (y <= 0.0).all():
            raise DataError(
                "no response is positive, but the log link gives positive means only: use another "
                "link"
            )

    def start_mean(self, y: Vector, weights: Vector) -> Vector:
        if self.link == "identity":
            return y
        if self.link == "log":
            return np.asarray(np.maximum(y, 0.1 * float(np.abs(y).mean()) + 1e-300))
        center = float(np.average(y, weights=weights))
        away = np.where(np.abs(y) < 0.1 * abs(center), center, y)
        return np.where(away == 0.0, 1.0, away)

    def kernel(self, y: Vector, mu: Vector, shape: float) -> Vector:
        return np.asarray(-0.5 * (y - mu) ** 2)

    def constant(self, y: Vector, weights: Vector, shape: float) -> Vector:
        return np.asarray(-0.5 * (LOG_2PI + np.log(shape) - np.log(weights)))

    def variance(self, mu: Vector, shape: float) -> Vector:
        return np.ones_like(mu)

    def variance_jet(self, mu: Jet, shape: float) -> Jet:
        return constant(1.0, mu[0], len(mu) - 1)

    def shape_rows(self, rows: DispersionRows, mu: Vector, xi: float) -> tuple[Vector, Vector]:
        s = 0.5 * rows.weights * (rows.y - mu) ** 2 / rows.phi(xi)
        return s - 0.5, -s

    def deviances(self, y: Vector, mu: Vector, weights: Vector, shape: float) -> Vector:
        return np.asarray(weights * (y - mu) ** 2)

    def draw(self, rng: np.random.Generator, mu: Vector, weights: Vector, shape: float) -> Vector:
        return np.asarray(mu + np.sqrt(shape / weights) * rng.standard_normal(mu.shape))

    def cdf(self, y: Vector, mu: Vector, weights: Vector, shape: float) -> tuple[Vector, Vector]:
        p = np.asarray(ndtr((y - mu) * np.sqrt(weights / shape)))
        return p, p


@dataclass(frozen=True)
class Gamma(ScaleFamily):
    """Gamma distribution: variance phi mu^2, phi the squared coefficient of variation.

    Parameters
    ----------
    link : {"inverse", "log", "identity"}
        Link of the mean.

    Examples
    --------
    >>> import lmm
    >>> lmm.Gamma("log")
    Gamma(link='log')
    """

    link: str = "inverse"

    name: ClassVar[str] = "Gamma"
    links: ClassVar[Mapping[str, Link]] = _links("inverse", "log", "identity")
    canonical_link: ClassVar[str] = "inverse"
    concave_links: ClassVar[frozenset[str]] = frozenset(("log", "inverse"))

    @property
    def canonical_k(self) -> float:
        return -1.0

    def check(self, y: Vector, weights: Vector) -> None:
        if (y <= 0.0).any():
            raise DataError("non-positive values not allowed for the 'Gamma' family")
        _check_size(y, 1e60)

    def start_mean(self, y: Vector, weights: Vector) -> Vector:
        return y

    def kernel(self, y: Vector, mu: Vector, shape: float) -> Vector:
        excess = (y - mu) / mu
        return np.asarray(np.log1p(excess) - excess)

    def constant(self, y: Vector, weights: Vector, shape: float) -> Vector:
        return np.asarray(_gamma_rest(weights / shape)[0] - np.log(y))

    def variance(self, mu: Vector, shape: float) -> Vector:
        return np.asarray(mu * mu)

    def variance_jet(self, mu: Jet, shape: float) -> Jet:
        return product(mu, mu)

    def shape_rows(self, rows: DispersionRows, mu: Vector, xi: float) -> tuple[Vector, Vector]:
        _, first, second = _gamma_rest(rows.weights / rows.phi(xi))
        s = -rows.weights * self.kernel(rows.y, mu, 1.0) / rows.phi(xi)
        return s - first, second - s

    def deviances(self, y: Vector, mu: Vector, weights: Vector, shape: float) -> Vector:
        return np.asarray(-2.0 * weights * np.minimum(self.kernel(y, mu, shape), 0.0))

    def draw(self, rng: np.random.Generator, mu: Vector, weights: Vector, shape: float) -> Vector:
        a = weights / shape
        return np.asarray(rng.gamma(a, mu / a))

    def cdf(self, y: Vector, mu: Vector, weights: Vector, shape: float) -> tuple[Vector, Vector]:
        a = weights / shape
        p = np.asarray(gammainc(a, a * y / mu))
        return p, p


def _gamma_rest(a: Vector) -> tuple[Vector, Vector, Vector]:
    """``g = a log(a) - a - log Gamma(a)``, ``a g'(a)`` and ``a (a g')'``.

    From Stirling's series where a is large, in which nothing cancels.
    """
    large = a >= STIRLING
    b = np.where(large, a, STIRLING)
    s = 1.0 / (b * b)
    value = 0.5 * np.log(b / (2.0 * np.pi)) - (1.0 - s * (1.0 / 30.0 - s / 105.0)) / (12.0 * b)
    first = 0.5 + (1.0 - s * (0.1 - s / 21.0)) / (12.0 * b)
    second = -(1.0 - s * (0.3 - 5.0 * s / 21.0)) / (12.0 * b)
    c = np.where(large, 1.0, a)
    slope = np.log(c) - digamma(c)
    return (
        np.where(large, value, c * np.log(c) - c - gammaln(c)),
        np.where(large, first, c * slope),
        np.where(large, second, c * slope + c * (1.0 - c * polygamma(1, c))),
    )


@dataclass(frozen=True)
class InverseGaussian(ScaleFamily):
    """Inverse gaussian distribution: variance phi mu^3.

    Parameters
    ----------
    link : {"1/mu^2", "inverse", "log", "identity"}
        Link of the mean.

    Examples
    --------
    >>> import lmm
    >>> float(lmm.InverseGaussian().inverse(0.25))
    2.0
    """

    link: str = "1/mu^2"

    name: ClassVar[str] = "inverse.gaussian"
    links: ClassVar[Mapping[str, Link]] = _links("1/mu^2", "inverse", "log", "identity")
    canonical_link: ClassVar[str] = "1/mu^2"
    concave_links: ClassVar[frozenset[str]] = frozenset(("1/mu^2", "inverse"))

    @property
    def canonical_k(self) -> float:
        return -0.5

    def check(self, y: Vector, weights: Vector) -> None:
        if (y <= 0.0).any():
            raise DataError("positive values only are allowed for the 'inverse.gaussian' family")
        _check_size(y, 1e40)

    def start_mean(self, y: Vector, weights: Vector) -> Vector:
        return y

    def kernel(self, y: Vector, mu: Vector, shape: float) -> Vector:
        return np.asarray(-0.5 * (y - mu) ** 2 / (mu * mu * y))

    def constant(self, y: Vector, weights: Vector, shape: float) -> Vector:
        return np.asarray(-0.5 * (LOG_2PI + np.log(shape) - np.log(weights) + 3.0 * np.log(y)))

    def variance(self, mu: Vector, shape: float) -> Vector:
        return np.asarray(mu**3)

    def variance_jet(self, mu: Jet, shape: float) -> Jet:
        return product(product(mu, mu), mu)

    def shape_rows(self, rows: DispersionRows, mu: Vector, xi: float) -> tuple[Vector, Vector]:
        s = 0.5 * rows.weights * (rows.y - mu) ** 2 / (rows.phi(xi) * mu * mu * rows.y)
        return s - 0.5, -s

    def deviances(self, y: Vector, mu: Vector, weights: Vector, shape: float) -> Vector:
        return np.asarray(weights * (y - mu) ** 2 / (y * mu * mu))

    def draw(self, rng: np.random.Generator, mu: Vector, weights: Vector, shape: float) -> Vector:
        return np.asarray(rng.wald(mu, weights / shape))

    def cdf(self, y: Vector, mu: Vector, weights: Vector, shape: float) -> tuple[Vector, Vector]:
        rate = weights / shape
        root = np.sqrt(rate / y)
        upper = np.exp(2.0 * rate / mu + log_ndtr(-root * (y / mu + 1.0)))
        p = np.asarray(ndtr(root * (y / mu - 1.0)) + upper)
        return p, p
