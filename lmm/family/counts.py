"""Families of counts: Poisson and negative binomial."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, digamma, gammaln, pdtr, polygamma, xlogy

from lmm._types import Vector
from lmm.errors import DataError
from lmm.family.base import ShapeRows
from lmm.family.dispersion import DispersionFamily, DispersionRows
from lmm.family.jets import Jet, negated, product, quotient, scaled
from lmm.family.links import MEAN_LINKS, Link

COUNT_LINKS: Mapping[str, Link] = {name: MEAN_LINKS[name] for name in ("log", "sqrt", "identity")}
# From here on differences of log gamma functions are taken from Stirling's series, in which they
# do not cancel.
STIRLING = 50.0


class CountFamily(DispersionFamily):
    """What Poisson and negative binomial have in common."""

    def are_means(self, mu: Vector) -> NDArray[np.bool_]:
        """See `DispersionFamily`: a mean that underflows to 0 is one."""
        return np.asarray(mu >= 0.0)

    def check(self, y: Vector, weights: Vector) -> None:
        if (y < 0.0).any():
            raise DataError(f"negative values not allowed for the {self.name!r} family")
        if (np.abs(y - np.rint(y)) > 1e-7 * np.maximum(y, 1.0)).any():
            value = y[np.abs(y - np.rint(y)) > 1e-7 * np.maximum(y, 1.0)][0]
            raise DataError(
                f"the response of the {self.name} family must be counts, but one is {value:g}: "
                "model rates by an offset, as in offset(log(exposure)), or use the Gamma family"
            )

    def start_mean(self, y: Vector, weights: Vector) -> Vector:
        return y + 0.1


@dataclass(frozen=True)
class Poisson(CountFamily):
    """Poisson distribution of counts.

    Parameters
    ----------
    link : {"log", "sqrt", "identity"}
        Link of the mean.

    Examples
    --------
    >>> import lmm
    >>> lmm.Poisson()
    Poisson(link='log')
    """

    link: str = "log"

    name: ClassVar[str] = "poisson"
    links: ClassVar[Mapping[str, Link]] = COUNT_LINKS
    canonical_link: ClassVar[str] = "log"
    concave_links: ClassVar[frozenset[str]] = frozenset(("log", "sqrt", "identity"))

    def check(self, y: Vector, weights: Vector) -> None:
        if (y < 0.0).any():
            raise DataError("negative values not allowed for the 'Poisson' family")
        super().check(y, weights)

    def kernel(self, y: Vector, mu: Vector, shape: float) -> Vector:
        return np.asarray(xlogy(y, mu) - mu)

    def constant(self, y: Vector, weights: Vector, shape: float) -> Vector:
        return np.asarray(-weights * gammaln(y + 1.0))

    def variance(self, mu: Vector, shape: float) -> Vector:
        return mu

    def variance_jet(self, mu: Jet, shape: float) -> Jet:
        return mu

    def shape_rows(self, rows: DispersionRows, mu: Vector, xi: float) -> tuple[Vector, Vector]:
        """See `DispersionFamily`: there is no shape."""
        return np.zeros_like(mu), np.zeros_like(mu)

    def deviances(self, y: Vector, mu: Vector, weights: Vector, shape: float) -> Vector:
        halves = xlogy(y, y) - xlogy(y, mu) - (y - mu)
        return np.asarray(2.0 * weights * np.maximum(halves, 0.0))

    def draw(self, rng: np.random.Generator, mu: Vector, weights: Vector, shape: float) -> Vector:
        return rng.poisson(mu).astype(np.float64)

    def cdf(self, y: Vector, mu: Vector, weights: Vector, shape: float) -> tuple[Vector, Vector]:
        below = np.where(y > 0.0, pdtr(np.maximum(y - 1.0, 0.0), mu), 0.0)
        return below, np.asarray(pdtr(y, mu))


@dataclass(frozen=True)
class NegativeBinomial(CountFamily):
    """Negative binomial distribution of counts: variance ``mu + mu^2 / theta``.

    Parameters
    ----------
    theta : float, optional
        Its shape; estimated with the other parameters where it is not given.
    link : {"log", "sqrt", "identity"}
        Link of the mean.

    Examples
    --------
    >>> import lmm
    >>> lmm.NegativeBinomial(theta=7.41671).title
    'Negative Binomial(7.4167)'
    """

    theta: float | None = None
    link: str = "log"

    name: ClassVar[str] = "negative binomial"
    links: ClassVar[Mapping[str, Link]] = COUNT_LINKS
    canonical_link: ClassVar[str] = ""
    concave_links: ClassVar[frozenset[str]] = frozenset(("log",))

    def __post_init__(self) -> None:
        super().__post_init__()
        theta: Any = self.theta
        if theta is None:
            return
        is_number = isinstance(theta, int | float | np.number) and not isinstance(theta, bool)
        if not is_number or not 0.0 < float(theta) < np.inf:
            link = f"; a link is given by link={theta!r}" if str(theta) in self.links else ""
            raise DataError(
                f"theta of a negative binomial must be a positive number, not {theta!r}{link}"
            )

    @property
    def shape_name(self) -> str:
        return "theta" if self.theta is None else ""

    @property
    def title(self) -> str:
        if self.theta is None:
            return "Negative Binomial"
        return f"Negative Binomial({float(f'{round(self.theta, 4):.7g}'):g})"

    def shape_of(self, xi: float) -> float:
        return float(np.exp(xi)) if self.theta is None else self.theta

    def with_shape(self, shape: float) -> NegativeBinomial:
        return NegativeBinomial(shape, self.link)

    def kernel(self, y: Vector, mu: Vector, shape: float) -> Vector:
        return np.asarray(xlogy(y, mu) - (y + shape) * np.log1p(mu / shape))

    def constant(self, y: Vector, weights: Vector, shape: float) -> Vector:
        return np.asarray(weights * (_gamma_ratio(y, shape) - gammaln(y + 1.0)))

    def variance(self, mu: Vector, shape: float) -> Vector:
        return np.asarray(mu + mu * mu / shape)

    def variance_jet(self, mu: Jet, shape: float) -> Jet:
        return tuple(a + b / shape for a, b in zip(mu, product(mu, mu), strict=True))

    def shape_rows(self, rows: DispersionRows, mu: Vector, xi: float) -> tuple[Vector, Vector]:
        t, y = self.shape_of(xi), rows.y
        first, second = _gamma_slopes(y, t)
        lost = t * np.log1p(mu / t)
        first = first - lost + (y + t) * mu / (t + mu)
        second = second - lost + t * mu * (2.0 - (y + t) / (t + mu)) / (t + mu)
        return rows.weights * first, rows.weights * second

    def deviances(self, y: Vector, mu: Vector, weights: Vector, shape: float) -> Vector:
        tail = (y + shape) * (np.log1p(y / shape) - np.log1p(mu / shape))
        return np.asarray(2.0 * weights * np.maximum(xlogy(y, y) - xlogy(y, mu) - tail, 0.0))

    def draw(self, rng: np.random.Generator, mu: Vector, weights: Vector, shape: float) -> Vector:
        return rng.negative_binomial(shape, shape / (shape + mu)).astype(np.float64)

    def cdf(self, y: Vector, mu: Vector, weights: Vector, shape: float) -> tuple[Vector, Vector]:
        p = shape / (shape + mu)
        below = np.where(y > 0.0, betainc(shape, np.maximum(y, 1.0), p), 0.0)
        return below, np.asarray(betainc(shape, y + 1.0, p))

    def conditional(
        self, y: Vector, weights: Vector, trials: Vector | None = None
    ) -> DispersionRows:
        return NegativeBinomialRows(self, y, weights)


@dataclass(frozen=True, eq=False)
class NegativeBinomialRows(DispersionRows):
    """Counts whose variance depends on xi = log(theta)."""

    def _shape(self, mu: Jet, xi: float, parts: tuple[Vector, Jet, Jet]) -> ShapeRows:
        """Derivatives of k = mu' / V from those of V, of which mu^2 / theta moves."""
        theta = self.family.shape_of(xi)
        V = self.family.variance_jet(mu, theta)
        moving = tuple(part / theta for part in product(mu, mu))
        k = quotient(mu[1:], V)
        k1 = quotient(product(k, moving), V)
        k2 = quotient(product(tuple(2.0 * a - b for a, b in zip(k1, k, strict=False)), moving), V)
        e, w = (self.y - mu[0], *negated(mu[1:])), self.weights
        first, second = self.family.shape_rows(self, mu[0], xi)
        score1, score2 = product(e, k1), product(e, k2)
        return ShapeRows(
            float(first.sum()),
            float(second.sum()),
            w * score1[0],
            w * score2[0],
            scaled(w, product(mu[1:], k1)),
            negated(scaled(w, score1[1:])),
            w * mu[1] * k2[0],
            -w * score2[1],
        )


def _gamma_ratio(y: Vector, t: float) -> Vector:
    """``log(Gamma(t + y) / Gamma(t)) - y log(t)``."""
    if t < STIRLING:
        return np.asarray(gammaln(t + y) - gammaln(t) - y * np.log(t))
    change = _power_change(y, t)
    series = change(1) / 12.0 - change(3) / 360.0 + change(5) / 1260.0
    return np.asarray((t + y - 0.5) * np.log1p(y / t) - y + series)


def _gamma_slopes(y: Vector, t: float) -> tuple[Vector, Vector]:
    """Two derivatives of `_gamma_ratio` by log(t)."""
    s = t + y
    if t < STIRLING:
        first = t * (digamma(s) - digamma(t)) - y
        second = first + y + t * t * (polygamma(1, s) - polygamma(1, t))
        return np.asarray(first), np.asarray(second)
    change = _power_change(y, t)
    first = t * (np.log1p(y / t) - change(1) / 2.0 - change(2) / 12.0 + change(4) / 120.0)
    first = first - t * change(6) / 252.0 - y
    squared = change(2) / 2.0 + change(3) / 6.0 - change(5) / 30.0 + change(7) / 42.0
    return np.asarray(first), np.asarray(first + y * y / s + t * t * squared)


def _power_change(y: Vector, t: float) -> Callable[[int], Vector]:
    """How negative powers change from t to t + y."""

    def change(power: int) -> Vector:
        return np.asarray((t + y) ** -power - t**-power)

    return change
