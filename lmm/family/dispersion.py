"""Rows of an exponential-dispersion family: everything from the mean and the variance function.

With k = mu' / V(mu) and e = y - mu the score is ``r = (w / phi) e k`` and the expected information
``W = (w / phi) mu' k``; their derivatives follow by the rules for products and quotients.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lmm._types import Vector, cached_property
from lmm.family.base import Conditional, Family, RowLikelihood, ShapeRows
from lmm.family.jets import Jet, constant, negated, product, quotient, scaled


class DispersionFamily(Family):
    """A family with ``log f = (w / phi) kernel(y, mu) + constant(y, w, phi)``."""

    @property
    def canonical_k(self) -> float:
        """The number that k is for the canonical link."""
        return 1.0

    def are_means(self, mu: Vector) -> NDArray[np.bool_]:
        """Which means (n,) are possible."""
        return np.asarray(mu > 0.0)

    @abstractmethod
    def kernel(self, y: Vector, mu: Vector, shape: float) -> Vector:
        """The part of the log-likelihood that depends on the mean, (n,), for phi = w = 1."""

    @abstractmethod
    def constant(self, y: Vector, weights: Vector, shape: float) -> Vector:
        """The rest of the log-likelihood, (n,)."""

    @abstractmethod
    def variance_jet(self, mu: Jet, shape: float) -> Jet:
        """The jet of V(mu) in eta, from that of mu."""

    @abstractmethod
    def shape_rows(self, rows: DispersionRows, mu: Vector, xi: float) -> tuple[Vector, Vector]:
        """First and second derivatives of the log-likelihood by xi, (n,) each."""

    def conditional(
        self, y: Vector, weights: Vector, trials: Vector | None = None
    ) -> DispersionRows:
        return DispersionRows(self, y, weights)


@dataclass(frozen=True, eq=False)
class DispersionRows(Conditional):
    """Responses y with prior weights.

    Attributes
    ----------
    family : DispersionFamily
        The family.
    y, weights : (n,) arrays
        Responses and prior weights.
    lost : float
        Log-likelihood that rows before they were merged have beside that of these.
    """

    family: DispersionFamily
    y: Vector
    weights: Vector
    lost: float = 0.0

    def phi(self, xi: float) -> float:
        """Dispersion of the logarithm xi of the shape; 1 for families without one."""
        return np.exp(xi) if self.family.has_scale else 1.0  # 0 divides, as no float of Python does

    @cached_property
    def constant(self) -> float:
        """See `Conditional`."""
        known = self.family.constant(self.y, self.weights, self.family.shape_of(0.0))
        return float(known.sum())

    def losing(self, lost: float) -> DispersionRows:
        return replace(self, lost=lost)

    def within(self, rows: slice) -> DispersionRows:
        return replace(self, y=self.y[rows], weights=self.weights[rows], lost=0.0)

    def _constant(self, xi: float) -> float:
        if not self.family.shape_name:
            return self.constant + self.lost
        known = self._constants.get(xi)
        if known is None:  # the steps to a mode ask for the same again
            shape = self.family.shape_of(xi)
            known = float(self.family.constant(self.y, self.weights, shape).sum())
            self._constants.clear()
            self._constants[xi] = known
        return known + self.lost

    @cached_property
    def _constants(self) -> dict[float, float]:
        """The last constant that was asked for, by xi."""
        return {}

    def loglik(self, eta: Vector, xi: float) -> float:
        return self._loglik(self.family.inverse(eta), xi)

    def _loglik(self, mu: Vector, xi: float) -> float:
        if not self.family.are_means(mu).all():
            return -np.inf
        kernel = self.family.kernel(self.y, mu, self.family.shape_of(xi))
        return float(self.weights @ kernel / self.phi(xi) + self._constant(xi))

    def loglik_rows(self, eta: Vector, xi: float) -> Vector:
        family, shape, mu = self.family, self.family.shape_of(xi), self.family.inverse(eta)
        with np.errstate(all="ignore"):  # of impossible means
            kernel = self.weights * family.kernel(self.y, mu, shape) / self.phi(xi)
        rows = kernel + family.constant(self.y, self.weights, shape)
        return np.where(family.are_means(mu), rows, -np.inf)

    def score_rows(self, eta: Vector, xi: float) -> Vector:
        mu = self.family.link_function.jet(eta, 1)
        return self._scale(xi) * (self.y - mu[0]) * self._k(mu, 0, xi)[0]

    def shape_slopes(self, eta: Vector, xi: float) -> Vector:
        if not self.family.shape_name:
            return np.zeros_like(eta)
        return self.family.shape_rows(self, self.family.inverse(eta), xi)[0]

    def _scale(self, xi: float) -> Vector:
        return self.weights / self.phi(xi)

    def _k(self, mu: Jet, order: int, xi: float) -> Jet:
        """The jet of k up to derivative `order`, from that of mu up to the next."""
        family = self.family
        if family.is_canonical:
            return constant(family.canonical_k, mu[0], order)
        return quotient(mu[1 : order + 2], family.variance_jet(mu, family.shape_of(xi)))

    def at(self, eta: Vector, xi: float, order: int) -> RowLikelihood:
        mu = self.family.link_function.jet(eta, order + 2)
        scale = self._scale(xi)
        loglik = self._loglik(mu[0], xi)
        if self.family.is_canonical:
            ck = scale * self.family.canonical_k
            expected = observed = scaled(ck, mu[1 : order + 2])
            r: Vector = ck * (self.y - mu[0])
        else:
            k = self._k(mu, order + 1, xi)
            r, expected, observed = self._parts(scale, mu, k, order)
        if not (order and self.family.shape_name):
            return RowLikelihood(loglik, r, expected, observed)
        shape = self._shape(mu, xi, (r, expected, observed))
        return RowLikelihood(loglik, r, expected, observed, shape)

    def _parts(self, scale: Vector, mu: Jet, k: Jet, order: int) -> tuple[Vector, Jet, Jet]:
        """Score, W and W_o with their jets, from k."""
        e = (self.y - mu[0], *negated(mu[1:]))
        r = scaled(scale, product(e, k))
        return r[0], scaled(scale, product(mu[1:], k)[: order + 1]), negated(r[1:])

    def _shape(self, mu: Jet, xi: float, parts: tuple[Vector, Jet, Jet]) -> ShapeRows:
        """Derivatives by log(phi) of what is proportional to 1 / phi."""
        r, expected, observed = parts
        first, second = self.family.shape_rows(self, mu[0], xi)
        return ShapeRows(
            float(first.sum()),
            float(second.sum()),
            -r,
            r,
            negated(expected),
            negated(observed),
            expected[0],
            observed[0],
        )
