"""Link functions eta = g(mu), their inverses and the derivatives of these.

Links of a probability also give the logarithms of mu and 1 - mu and their derivatives, written so
that both tails keep all digits: nothing is clipped.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from scipy.special import erfcx, expit, log_expit, logit, ndtr, ndtri

from lmm._types import Vector
from lmm.family.jets import Jet, constant, negated, product, quotient

LOG_2PI = float(np.log(2.0 * np.pi))
ROOT_HALF = float(np.sqrt(0.5))

# Logarithms of mu and of 1 - mu, (n,) each.
Logs: TypeAlias = tuple[Vector, Vector]


class Link(ABC):
    """A link function by its name in R; call it with a mean to get the linear predictor.

    Examples
    --------
    >>> import lmm
    >>> link = lmm.Poisson("sqrt").link_function
    >>> float(link(9.0)), float(link.inverse(3.0)), float(link.slope(3.0))
    (3.0, 9.0, 6.0)
    """

    name: str

    @abstractmethod
    def __call__(self, mu: Vector) -> Vector:
        """Linear predictor of means (n,)."""

    @abstractmethod
    def jet(self, eta: Vector, order: int) -> Jet:
        """The mean of linear predictors (n,) and its derivatives up to `order` (at most 4)."""

    def inverse(self, eta: Vector) -> Vector:
        """Mean of linear predictors (n,)."""
        return self.jet(np.asarray(eta, dtype=float), 0)[0]

    def kept_beside(self, limit: Vector, eta: Vector) -> Vector:
        """Limits (n,) of linear predictors (n,), ended where means beyond them would turn back."""
        return limit

    def slope(self, eta: Vector) -> Vector:
        """Derivative of the mean by the linear predictor, (n,)."""
        return self.jet(np.asarray(eta, dtype=float), 1)[1]


@dataclass(frozen=True)
class Log(Link):
    """``eta = log(mu)``."""

    name = "log"

    def __call__(self, mu: Vector) -> Vector:
        return np.log(mu)

    def jet(self, eta: Vector, order: int) -> Jet:
        """See `Link`: the exponential function is its own derivative."""
        return (np.exp(eta),) * (order + 1)


@dataclass(frozen=True)
class PowerLink(Link):
    """``mu = eta**exponent``: the identity, square root, inverse and inverse square links."""

    name: str
    exponent: float

    def __call__(self, mu: Vector) -> Vector:
        return np.asarray(mu, dtype=float) ** (1.0 / self.exponent)

    def kept_beside(self, limit: Vector, eta: Vector) -> Vector:
        """See `Link`: all but the identity end at 0, on the side of the predictor."""
        crossed = limit * eta < 0.0
        return limit if self.exponent == 1.0 else np.where(crossed, np.copysign(0.0, eta), limit)

    def jet(self, eta: Vector, order: int) -> Jet:
        parts, factor = [], 1.0
        for n in range(order + 1):
            parts.append(factor * eta ** (self.exponent - n) if factor else np.zeros_like(eta))
            factor *= self.exponent - n
        return tuple(parts)


class ProbabilityLink(Link):
    """A link of probabilities, with A = d log(mu) / d eta and C = d log(1 - mu) / d eta."""

    @abstractmethod
    def logs(self, eta: Vector) -> Logs:
        """Logarithms of mu and of 1 - mu, (n,) each."""

    @abstractmethod
    def hazards(self, eta: Vector, order: int, logs: Logs) -> tuple[Jet, Jet]:
        """Jets of A and C up to derivative `order` (at most 3), given `logs` of eta."""

    def jet(self, eta: Vector, order: int) -> Jet:
        """See `Link`: from ``mu' = mu A``."""
        logs = self.logs(eta)
        mu: Jet = (np.exp(logs[0]),)
        A, _ = self.hazards(eta, max(order - 1, 0), logs)
        for n in range(order):
            mu = (*mu, product(mu, A)[n])
        return mu


@dataclass(frozen=True)
class Logit(ProbabilityLink):
    """``eta = log(mu / (1 - mu))``."""

    name = "logit"

    def __call__(self, mu: Vector) -> Vector:
        return np.asarray(logit(mu))

    def logs(self, eta: Vector) -> Logs:
        return log_expit(eta), log_expit(-eta)

    def hazards(self, eta: Vector, order: int, logs: Logs) -> tuple[Jet, Jet]:
        """See `ProbabilityLink`: A = 1 - mu and C = -mu have the same derivatives."""
        p, q = expit(eta), expit(-eta)
        v, odd = p * q, q - p
        rest = (-v, -v * odd, -v * (odd * odd - 2.0 * v))[:order]
        return (q, *rest), (-p, *rest)


@dataclass(frozen=True)
class Probit(ProbabilityLink):
    """``eta = Phi^-1(mu)``."""

    name = "probit"

    def __call__(self, mu: Vector) -> Vector:
        return np.asarray(ndtri(mu))

    def inverse(self, eta: Vector) -> Vector:
        return np.asarray(ndtr(eta))

    def logs(self, eta: Vector) -> Logs:
        """See `ProbabilityLink`: from the smaller tail, ``exp(-eta^2 / 2) erfcx / 2``, both."""
        scaled = 0.5 * erfcx(np.abs(eta) * ROOT_HALF)
        bent = -0.5 * eta * eta
        smaller, larger = bent + np.log(scaled), np.log1p(-scaled * np.exp(bent))
        below = eta < 0.0
        return np.where(below, smaller, larger), np.where(below, larger, smaller)

    def hazards(self, eta: Vector, order: int, logs: Logs) -> tuple[Jet, Jet]:
        """See `ProbabilityLink`: C(eta) = -A(-eta), so signs alternate."""
        mirrored = _mills(-eta, logs[1], order)
        return _mills(eta, logs[0], order), tuple(
            -part if n % 2 == 0 else part for n, part in enumerate(mirrored)
        )


def _mills(eta: Vector, log_cdf: Vector, order: int) -> Jet:
    """The jet of a = phi / Phi: ``a' = -a (eta + a)``."""
    a = np.exp(-0.5 * (eta * eta + LOG_2PI) - log_cdf)
    s = eta + a
    first = -a * s
    if order < 2:
        return (a, first)[: order + 1]
    s1 = 1.0 + first
    second = -first * s - a * s1
    if order < 3:
        return a, first, second
    return a, first, second, -second * s - 2.0 * first * s1 - a * second


@dataclass(frozen=True)
class Cloglog(ProbabilityLink):
    """``eta = log(-log(1 - mu))``."""

    name = "cloglog"

    def __call__(self, mu: Vector) -> Vector:
        return np.asarray(np.log(-np.log1p(-np.asarray(mu))))

    def inverse(self, eta: Vector) -> Vector:
        return np.asarray(-np.expm1(-self._t(eta)))

    def logs(self, eta: Vector) -> Logs:
        t = self._t(eta)
        tiny = t < 1e-300
        return np.where(tiny, eta, np.log(-np.expm1(-np.where(tiny, 1.0, t)))), -t

    @staticmethod
    def _t(eta: Vector) -> Vector:
        return np.asarray(np.exp(np.minimum(eta, 700.0)))

    def hazards(self, eta: Vector, order: int, logs: Logs) -> tuple[Jet, Jet]:
        """See `ProbabilityLink`: with t = exp(eta), C = -t, and A = t / (exp(t) - 1)."""
        t = self._t(eta)
        small = t < 0.03
        failing = np.exp(-np.where(small, 1.0, t))
        near = _bernoulli(np.where(small, t, 0.0))
        A: Jet = (np.where(small, near + 1.0, t * failing / (1.0 - failing)),)
        # A' = A g with g = 1 - t - A, which cancels where t is small
        g: Jet = (np.where(small, -t - near, 1.0 - t - A[0]),)
        for n in range(order):
            A = (*A, product(A, g)[n])
            g = (*g, -t - A[-1])
        return A, (-t,) * (order + 1)


def _bernoulli(t: Vector) -> Vector:
    """``t / (exp(t) - 1) - 1`` for small t."""
    s = t * t
    return -0.5 * t + s * (1.0 / 12.0 - s * (1.0 / 720.0 - s / 30240.0))


@dataclass(frozen=True)
class Cauchit(ProbabilityLink):
    """``eta = tan(pi (mu - 1/2))``."""

    name = "cauchit"

    def __call__(self, mu: Vector) -> Vector:
        return np.asarray(np.tan(np.pi * (np.asarray(mu) - 0.5)))

    @staticmethod
    def _tail(eta: Vector) -> Vector:
        """The mean; in the lower tail arctan(1 / eta) keeps the digits that arctan(eta) loses."""
        return np.asarray(np.arctan2(1.0, -eta) / np.pi)

    def logs(self, eta: Vector) -> Logs:
        return np.log(self._tail(eta)), np.log(self._tail(-eta))

    def hazards(self, eta: Vector, order: int, logs: Logs) -> tuple[Jet, Jet]:
        d = 1.0 + eta * eta
        m1 = 1.0 / (np.pi * d)
        m2 = -2.0 * eta * m1 / d
        m3 = m1 * (6.0 * eta * eta - 2.0) / d**2
        m4 = 24.0 * m1 * eta * (1.0 - eta * eta) / d**3
        slopes = (m1, m2, m3, m4)[: order + 1]
        mu = (self._tail(eta), *slopes)
        nu = (self._tail(-eta), *negated(slopes))
        return quotient(slopes, mu), quotient(negated(slopes), nu)


@dataclass(frozen=True)
class LogProbability(ProbabilityLink):
    """``eta = log(mu)`` of a probability: eta must be negative."""

    name = "log"

    def __call__(self, mu: Vector) -> Vector:
        return np.log(mu)

    def jet(self, eta: Vector, order: int) -> Jet:
        """See `Link`: the exponential function, above 1 too."""
        return (np.exp(eta),) * (order + 1)

    def logs(self, eta: Vector) -> Logs:
        """See `ProbabilityLink`: minus infinity where eta gives no probability."""
        possible = eta <= 0.0
        with np.errstate(divide="ignore"):
            nu = np.log(-np.expm1(np.where(possible, eta, 0.0)))
        return np.where(possible, eta, -np.inf), nu

    def hazards(self, eta: Vector, order: int, logs: Logs) -> tuple[Jet, Jet]:
        """See `ProbabilityLink`: A = 1, and the odds c = -C have ``c' = c (1 + c)``."""
        c: Jet = (-np.exp(eta) / np.expm1(eta),)
        for n in range(order):
            c = (*c, product(c, (1.0 + c[0], *c[1:]))[n])
        return constant(1.0, eta, order), negated(c)


MEAN_LINKS: Mapping[str, Link] = {
    "log": Log(),
    "identity": PowerLink("identity", 1.0),
    "sqrt": PowerLink("sqrt", 2.0),
    "inverse": PowerLink("inverse", -1.0),
    "1/mu^2": PowerLink("1/mu^2", -0.5),
}
PROBABILITY_LINKS: Mapping[str, ProbabilityLink] = {
    link.name: link for link in (Logit(), Probit(), Cloglog(), Cauchit(), LogProbability())
}
