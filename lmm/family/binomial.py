"""The binomial family: proportions with their numbers of trials."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
from scipy.special import betainc, expit, gammaln, xlogy

from lmm._types import Vector, cached_property
from lmm.errors import DataError
from lmm.family.base import Conditional, Family, RowLikelihood
from lmm.family.jets import Jet, negated, product, scaled
from lmm.family.links import PROBABILITY_LINKS, ProbabilityLink


@dataclass(frozen=True)
class Binomial(Family):
    """Binomial distribution of successes in trials; the response is their proportion.

    Parameters
    ----------
    link : {"logit", "probit", "cloglog", "cauchit", "log"}
        Link of the probability.

    Examples
    --------
    >>> import lmm
    >>> lmm.Binomial("probit")
    Binomial(link='probit')
    >>> float(lmm.Binomial().inverse(0.0))
    0.5
    """

    link: str = "logit"

    name: ClassVar[str] = "binomial"
    links: ClassVar = PROBABILITY_LINKS
    canonical_link: ClassVar[str] = "logit"
    mean_range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    concave_links: ClassVar[frozenset[str]] = frozenset(("logit", "probit", "cloglog", "log"))

    def check(self, y: Vector, weights: Vector) -> None:
        if ((y < 0.0) | (y > 1.0)).any():
            raise DataError(
                "y values must be 0 <= y <= 1: the response of a binomial model is 0/1, a factor "
                "of two levels, a proportion (with the numbers of trials as weights) or "
                "cbind(successes, failures)"
            )

    def start_mean(self, y: Vector, weights: Vector) -> Vector:
        return np.asarray((weights * y + 0.5) / (weights + 1.0))

    def variance(self, mu: Vector, shape: float) -> Vector:
        return np.asarray(mu * (1.0 - mu))

    def deviances(self, y: Vector, mu: Vector, weights: Vector, shape: float) -> Vector:
        wins = xlogy(y, y) - xlogy(y, mu)
        losses = xlogy(1.0 - y, 1.0 - y) - xlogy(1.0 - y, 1.0 - mu)
        return np.asarray(2.0 * weights * np.maximum(wins + losses, 0.0))

    def draw(self, rng: np.random.Generator, mu: Vector, weights: Vector, shape: float) -> Vector:
        trials = np.rint(weights).astype(np.int64)
        return np.asarray(rng.binomial(trials, mu) / np.maximum(trials, 1))

    def cdf(self, y: Vector, mu: Vector, weights: Vector, shape: float) -> tuple[Vector, Vector]:
        trials = np.rint(weights)
        successes = np.rint(weights * y)
        return _at_most(successes - 1.0, trials, mu), _at_most(successes, trials, mu)

    def conditional(self, y: Vector, weights: Vector, trials: Vector | None = None) -> BinomialRows:
        return BinomialRows(self, y, weights, weights if trials is None else trials)


def _at_most(s: Vector, n: Vector, p: Vector) -> Vector:
    """P(S <= s) of binomial numbers of successes in n trials."""
    inside = betainc(np.maximum(n - s, 1.0), np.maximum(s + 1.0, 1.0), 1.0 - p)
    return np.asarray(np.where(s < 0.0, 0.0, np.where(s >= n, 1.0, inside)))


@dataclass(frozen=True, eq=False)
class BinomialRows(Conditional):
    """Proportions y with weights: the log-likelihood is ``s log(mu) + f log(1 - mu)``.

    Attributes
    ----------
    family : Binomial
        The family.
    y, weights, trials : (n,) arrays
        Proportions, trials times prior weights, and trials.
    lost : float
        Log-likelihood that rows before they were merged have beside that of these.
    """

    family: Binomial
    y: Vector
    weights: Vector
    trials: Vector
    lost: float = field(default=0.0)

    @cached_property
    def _link(self) -> ProbabilityLink:
        return self.family.links[self.family.link]

    @cached_property
    def successes(self) -> Vector:
        """Weighted successes, (n,)."""
        return self.y if (self.weights == 1.0).all() else np.asarray(self.weights * self.y)

    @cached_property
    def failures(self) -> Vector:
        """Weighted failures, (n,)."""
        return np.asarray(self.weights - self.successes)

    @cached_property
    def is_binary(self) -> bool:
        """Whether every row is one trial."""
        return bool((self.weights == 1.0).all() and ((self.y == 0.0) | (self.y == 1.0)).all())

    @cached_property
    def constants(self) -> Vector:
        """Logarithms of the binomial coefficients, (n,)."""
        n = self.trials
        s = n * self.y
        choose = gammaln(n + 1.0) - gammaln(s + 1.0) - gammaln(n - s + 1.0)
        return np.asarray(self.weights / np.where(n > 0.0, n, 1.0) * choose)

    @cached_property
    def constant(self) -> float:
        """See `Conditional`."""
        return 0.0 if self.is_binary else float(self.constants.sum())

    @property
    def _constant(self) -> float:
        return self.constant + self.lost

    def within(self, rows: slice) -> BinomialRows:
        y, weights, trials = self.y[rows], self.weights[rows], self.trials[rows]
        return BinomialRows(self.family, y, weights, trials)

    def losing(self, lost: float) -> BinomialRows:
        return replace(self, lost=lost)

    def loglik_rows(self, eta: Vector, xi: float) -> Vector:
        return self._rows_of(*self._link.logs(eta))

    def _rows_of(self, log_mu: Vector, log_nu: Vector) -> Vector:
        s, f = self.successes, self.failures
        rows = self.constants.copy()  # of trials that were not made a logarithm may be infinite
        for count, logs in ((s, log_mu), (f, log_nu)):
            rows += np.multiply(count, logs, out=np.zeros_like(rows), where=count > 0.0)
        return rows

    def _total(self, log_mu: Vector, log_nu: Vector) -> float:
        """Log-likelihood from the logarithms of mu and of 1 - mu."""
        with np.errstate(invalid="ignore"):  # no trials times an infinite logarithm
            total = float(self.successes @ log_mu + self.failures @ log_nu) + self._constant
        if np.isfinite(total):
            return total
        return float(self._rows_of(log_mu, log_nu).sum()) + self.lost

    def loglik(self, eta: Vector, xi: float) -> float:
        if not self.family.is_canonical:
            return self._total(*self._link.logs(eta))
        return self._logit_loglik(eta, np.exp(-np.abs(eta)))

    def _logit_loglik(self, eta: Vector, e: Vector) -> float:
        """Log-likelihood from ``e = exp(-|eta|)``: ``log mu = min(eta, 0) - log(1 + e)``."""
        s, f, w = self.successes, self.failures, self.weights
        won = s @ np.minimum(eta, 0.0) - f @ np.maximum(eta, 0.0)
        return float(won - w @ np.log1p(e)) + self._constant

    def score_rows(self, eta: Vector, xi: float) -> Vector:
        if self.family.is_canonical:
            return np.asarray(self.successes - self.weights * expit(eta))
        A, C = self._link.hazards(eta, 0, self._link.logs(eta))
        return self.successes * A[0] + self.failures * C[0]

    def shape_slopes(self, eta: Vector, xi: float) -> Vector:
        """See `Conditional`: there is no shape."""
        return np.zeros_like(eta)

    def at(self, eta: Vector, xi: float, order: int) -> RowLikelihood:
        """See `Conditional`: ``r = s A + f C``, and ``W = -n A C``."""
        if self.family.is_canonical:
            return self._logit(eta, xi, order)
        logs = self._link.logs(eta)
        A, C = self._link.hazards(eta, order + 1, logs)
        s, f = self.successes, self.failures
        r = tuple(s * a + f * c for a, c in zip(A, C, strict=True))
        expected = scaled(-self.weights, product(A, C))[: order + 1]
        loglik = float(self._rows_of(*logs).sum()) + self.lost
        return RowLikelihood(loglik, r[0], expected, negated(r[1:]))

    def _logit(self, eta: Vector, xi: float, order: int) -> RowLikelihood:
        if self.is_binary:
            return self._binary(eta, order)
        e = np.exp(-np.abs(eta))  # one exponential for all: neither tail is rounded
        larger = 1.0 / (1.0 + e)
        smaller = e * larger
        above = eta > 0.0
        p, q = np.where(above, larger, smaller), np.where(above, smaller, larger)
        v = larger * smaller
        W = self.weights * v
        jet: Jet = (W,)
        if order:
            odd = q - p
            jet = (W, W * odd, W * (odd * odd - 2.0 * v))[: order + 1]
        r = self.successes * q - self.failures * p
        return RowLikelihood(self._logit_loglik(eta, e), r, jet, jet)

    def _binary(self, eta: Vector, order: int) -> RowLikelihood:
        """The same of single trials: ``r = s mu(-s eta)``, s = 1 or -1."""
        sign = 2.0 * self.y - 1.0
        m = sign * eta
        e = np.exp(-np.abs(m))
        larger = 1.0 / (1.0 + e)
        smaller = e * larger
        missed = np.where(m > 0.0, smaller, larger)
        loglik = float((np.minimum(m, 0.0) - np.log1p(e)).sum()) + self._constant
        W = larger * smaller
        jet: Jet = (W,)
        if order:
            odd = sign * (2.0 * missed - 1.0)
            jet = (W, W * odd, W * (odd * odd - 2.0 * W))[: order + 1]
        return RowLikelihood(loglik, sign * missed, jet, jet)
