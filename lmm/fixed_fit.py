"""What fits have in common, with random effects or without: coefficients and residuals.

Tests of fixed effects, residuals and tables ask no more of a fit than what stands here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from lmm._brief import Brief
from lmm._types import Frozen, Matrix, Vector, frozen_property
from lmm.design import ModelMatrices
from lmm.family import Family, Gaussian
from lmm.family.base import Conditional
from lmm.formula import Formula


class FixedFit(Frozen, Brief):
    """A fit of a linear model."""

    if TYPE_CHECKING:  # fields of some, properties of others

        @property
        def formula(self) -> Formula:
            """The parsed formula."""

        @property
        def matrices(self) -> ModelMatrices:
            """The model's matrices."""

        @property
        def theta(self) -> Vector:
            """Covariance parameters, (m,)."""

        @property
        def beta(self) -> Vector:
            """Coefficients, (p,)."""

        @property
        def fixed_root(self) -> Matrix:
            """Square root (p, p) of their covariance in units of sigma^2."""

        @property
        def sigma(self) -> float:
            """Residual standard deviation, or root of the dispersion; 1 where there is none."""

        @property
        def linear(self) -> Vector:
            """Linear predictor, offsets included, (n,)."""

    @property
    def family(self) -> Family:
        """Conditional distribution of the response."""
        return Gaussian()

    @property
    def reml(self) -> bool:
        """Whether the criterion is REML."""
        return False

    @property
    def rule(self) -> str:
        """How random effects are integrated out, where that is an approximation."""
        return ""

    @property
    def known_sigma(self) -> float | None:
        """Residual standard deviation of a linear model, where it was given and not estimated."""
        return None

    @property
    def size_name(self) -> Literal["sigma", "theta", ""]:
        """What is estimated beside covariances and coefficients, if anything."""
        return "sigma" if self.known_sigma is None else ""

    @property
    def n_parameters(self) -> int:
        """Number of estimated parameters as R counts: p + m, and 1 for sigma or a shape."""
        return len(self.beta) + len(self.theta) + bool(self.size_name)

    @frozen_property
    def vcov(self) -> Matrix:
        """Covariance of the coefficients, (p, p)."""
        return np.asarray(self.sigma**2 * self.fixed_root @ self.fixed_root.T)

    # Rows -----------------------------------------------------------------------------------------

    @property
    def fitted(self) -> Vector:
        """Means, given random effects, (n,)."""
        return self.linear

    @property
    def mean_slope(self) -> Vector:
        """Slope (n,) of the mean in the linear predictor."""
        return np.ones(self.matrices.n)

    @frozen_property
    def residuals(self) -> Vector:
        """Response minus means, (n,)."""
        return np.asarray(self.matrices.y - self.fitted)

    @property
    def default_residuals(self) -> Literal["response", "deviance"]:
        """Kind of residuals that are meant if none is named."""
        return "response"

    @property
    def response_root(self) -> Vector:
        """Roots (n,) of prior weight over variance function: they make residuals Pearson's."""
        return np.sqrt(self.matrices.weights)

    def residuals_of(self, kind: str) -> Vector:
        """Residuals (n,) of a kind: see `lmm.diagnostics.leverage.residuals`."""
        weighted = kind in ("deviance", "pearson")
        return self.matrices.response.weighted(self.residuals) if weighted else self.residuals

    @frozen_property
    def scaled_residuals(self) -> Vector:
        """Pearson residuals in units of sigma, (n,)."""
        return self.residuals_of("pearson") / self.sigma


class FamilyFit(FixedFit):
    """A fit of a generalized model."""

    if TYPE_CHECKING:

        @property
        def distribution(self) -> Family:
            """Conditional distribution as it was asked for."""

        @property
        def xi(self) -> float:
            """Logarithm of the shape (a dispersion, or theta); 0 where there is none."""

    @property
    def family(self) -> Family:
        """Conditional distribution of the response, with its estimated shape."""
        known = self.distribution
        return known.with_shape(self.shape) if known.shape_name else known

    @property
    def shape(self) -> float:
        """Dispersion, or theta of the negative binomial; 1 where there is none."""
        return self.distribution.shape_of(self.xi)

    @property
    def bound(self) -> Conditional:
        """Likelihood of the rows as a function of their linear predictors."""
        response = self.matrices.response
        return self.distribution.conditional(response.y, response.weights, response.trials)

    @property
    def reml(self) -> bool:
        """Always false: there is no REML of a generalized model."""
        return False

    @property
    def known_sigma(self) -> None:
        """None: only linear models have it."""

    @property
    def size_name(self) -> Literal["sigma", "theta", ""]:
        """What the family has beside covariances and coefficients, if anything."""
        if self.distribution.has_scale:
            return "sigma"
        return "theta" if self.distribution.shape_name else ""

    # Rows -----------------------------------------------------------------------------------------

    @frozen_property
    def fitted(self) -> Vector:
        """Means, given random effects, (n,)."""
        return self.distribution.inverse(self.linear)

    @property
    def mean_slope(self) -> Vector:
        return self.distribution.link_function.slope(self.linear)

    @property
    def default_residuals(self) -> Literal["response", "deviance"]:
        """Signed roots of what a row adds to the deviance."""
        return "deviance"

    @property
    def response_root(self) -> Vector:
        variance = self.distribution.variance(self.fitted, self.shape)
        with np.errstate(divide="ignore", invalid="ignore"):  # at the ends of the means' range
            return np.asarray(np.sqrt(self.matrices.weights / variance))

    @frozen_property
    def pearson(self) -> Vector:
        """Pearson residuals, (n,): over the root of the variance function, weighted."""
        root = np.where(self.residuals == 0.0, 0.0, self.response_root)  # which may be infinite
        return np.asarray(self.residuals * root)

    @frozen_property
    def squared_deviances(self) -> Vector:
        """Squared deviance residuals, (n,)."""
        response = self.matrices.response
        squares = self.distribution.deviances(response.y, self.fitted, response.weights, self.shape)
        return np.maximum(squares, 0.0)

    def residuals_of(self, kind: str) -> Vector:
        if kind == "deviance":
            return np.asarray(np.sign(self.residuals) * np.sqrt(self.squared_deviances))
        if kind == "pearson":
            return self.pearson
        return self.residuals / self.mean_slope if kind == "working" else self.residuals

    @frozen_property
    def quantile_levels(self) -> tuple[Vector, Vector]:
        """P(Y < y) and P(Y <= y) by row, (n,) each."""
        response = self.matrices.response
        return self.distribution.cdf(response.y, self.fitted, response.weights, self.shape)
