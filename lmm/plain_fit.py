"""Fits of fixed effects alone: least squares, and generalized models by Fisher's scoring.

What they have is named as in `lmm.fit.Fit`, so that tests, predictions and simulations are the same
functions for models with random effects and without.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from lmm import _lapack
from lmm._types import Matrix, Vector, cached_property, frozen_property
from lmm.design import ModelMatrices
from lmm.errors import ConvergenceWarning, DataError, NumericalError, warn
from lmm.family import Family
from lmm.family.base import Conditional
from lmm.fixed_fit import FamilyFit, FixedFit
from lmm.formula import Formula
from lmm.laplace.start import constant_mean
from lmm.request import Request

# Relative changes of the log-likelihood at which scoring has converged, and steps at most.
TOLERANCE = 1e-12
STEPS = 100
# Probabilities nearer to 0 or 1 than this are taken as certain.
CERTAIN = 1e-10
HALVINGS = 30
# Largest logarithm of a shape: counts that are not overdispersed have no finite theta.
LARGE_XI = 20.0


@dataclass(frozen=True, eq=False, repr=False)
class PlainFit(FixedFit, ABC):
    """Estimates of a model without random effects.

    Attributes
    ----------
    matrices : ModelMatrices
        Design and response, without random-effects terms.
    beta : (p,) array
        Coefficients.
    fixed_root : (p, p) array
        Square root of their unscaled covariance, ``(X'W X)^-1 = root root'``.
    """

    matrices: ModelMatrices
    beta: Vector
    fixed_root: Matrix

    b: ClassVar[tuple[Matrix, ...]] = ()
    covariances: ClassVar[tuple[Matrix, ...]] = ()

    @property
    def theta(self) -> Vector:
        """No covariance parameters, (0,)."""
        return np.zeros(0)

    @property
    @abstractmethod
    def sigma(self) -> float:
        """Residual standard deviation, or root of the dispersion; 1 where there is none."""

    @property
    @abstractmethod
    def loglik(self) -> float:
        """Log-likelihood at its maximum."""

    @property
    @abstractmethod
    def deviance(self) -> float:
        """Residual sum of squares, or twice what a perfect fit adds to the log-likelihood."""

    @property
    @abstractmethod
    def null_deviance(self) -> float:
        """Deviance of the model of an intercept (or nothing) and the offset."""

    @property
    @abstractmethod
    def working_weights(self) -> Vector:
        """Weights of the rows in the last step of least squares, (n,)."""

    @property
    def test_df(self) -> float:
        """Degrees of freedom of t tests; infinite where nothing but coefficients is estimated."""
        return float(self.df_resid)

    @property
    def formula(self) -> Formula:
        """The parsed formula."""
        return self.matrices.formula

    @property
    def df_resid(self) -> int:
        """Residual degrees of freedom, n - p."""
        return self.matrices.n - len(self.beta)

    @property
    def df_null(self) -> int:
        """Those of the model of an intercept (or nothing)."""
        return self.matrices.n - int(self.matrices.fixed.has_intercept)

    @frozen_property
    def linear(self) -> Vector:
        """Linear predictor, offsets included, (n,)."""
        return np.asarray(self.matrices.X @ self.beta + self.matrices.offset)

    @property
    def fixed_part(self) -> Vector:
        """The linear predictor, all of which is fixed, (n,)."""
        return self.linear

    @frozen_property
    def hat(self) -> Vector:
        """Leverages, the diagonal (n,) of the matrix that turns responses into fitted values."""
        rows = self.matrices.X @ self.fixed_root
        return np.asarray(self.working_weights * np.einsum("ij,ij->i", rows, rows))

    def variance(self, X: Matrix) -> Vector:
        """Variances (m,) of the linear predictors of rows X (m, p)."""
        rows = X @ self.fixed_root
        return np.asarray(self.sigma**2 * np.einsum("ij,ij->i", rows, rows))


@dataclass(frozen=True, eq=False, repr=False)
class LeastSquaresFit(PlainFit):
    """Weighted least squares.

    Attributes
    ----------
    rss : float
        Weighted residual sum of squares.
    """

    rss: float

    @classmethod
    def of(cls, matrices: ModelMatrices) -> LeastSquaresFit:
        """Fit a design.

        Raises
        ------
        DataError
            There are no more rows than coefficients.
        """
        response = matrices.response
        if matrices.n <= matrices.p:
            raise DataError(
                f"{matrices.n} rows do not determine {matrices.p} coefficients and a residual "
                "variance: give more rows, or leave out terms"
            )
        Q, R = _lapack.qr(response.weighted(matrices.X))
        target = response.standardized(response.y)
        beta = _lapack.solve_upper(R, Q.T @ target)
        residual = target - response.weighted(matrices.X) @ beta
        root = _lapack.solve_upper(R, np.eye(matrices.p))
        return cls(matrices, beta, root, float(residual @ residual))

    @cached_property
    def sigma(self) -> float:
        """Residual standard deviation, ``sqrt(rss / (n - p))``."""
        return float(np.sqrt(self.rss / self.df_resid))

    @property
    def r_squared(self) -> float:
        """Share of the sum of squares that is explained."""
        return 1.0 - self.rss / self.null_deviance

    @property
    def adj_r_squared(self) -> float:
        """The same of variances, by their degrees of freedom."""
        return 1.0 - (1.0 - self.r_squared) * self.df_null / self.df_resid

    @property
    def loglik(self) -> float:
        """Log-likelihood at the maximum-likelihood residual variance ``rss / n``."""
        n = self.matrices.n
        weights = float(np.log(self.matrices.weights).sum())
        return 0.5 * (weights - n * (1.0 + float(np.log(2.0 * np.pi * self.rss / n))))

    @property
    def deviance(self) -> float:
        """Weighted residual sum of squares."""
        return self.rss

    @cached_property
    def null_deviance(self) -> float:
        """Weighted sum of squares around the mean (or zero), offsets taken off."""
        weights, y = self.matrices.weights, self.matrices.y - self.matrices.offset
        if self.matrices.fixed.has_intercept:
            y = y - np.average(y, weights=weights)
        return float(np.sum(weights * y**2))

    @property
    def working_weights(self) -> Vector:
        """The prior weights, (n,)."""
        return self.matrices.weights


@dataclass(frozen=True, eq=False, repr=False)
class ScoredFit(FamilyFit, PlainFit):
    """A generalized linear model at the maximum of its likelihood.

    Attributes
    ----------
    distribution : Family
        Distribution of the response as it was asked for.
    xi : float
        Logarithm of the shape (a dispersion, or theta) at the maximum; 0 where there is none.
    """

    distribution: Family
    xi: float

    @classmethod
    def of(cls, matrices: ModelMatrices, family: Family) -> ScoredFit:
        """Fit a design.

        Raises
        ------
        DataError
            There are fewer rows than coefficients, or the responses are none of the family's.
        NumericalError
            The likelihood has no maximum that is found.
        """
        if matrices.n < matrices.p:
            raise DataError(
                f"{matrices.n} rows do not determine {matrices.p} coefficients: give more rows, or "
                "leave out terms"
            )
        family.check(matrices.response.y, matrices.response.weights)
        beta, xi = _fitted(matrices, family, matrices.X, matrices.offset)
        eta = matrices.X @ beta + matrices.offset
        _check_separation(family, family.inverse(eta))
        W = _bound(matrices, family).at(eta, 0.0 if family.has_scale else xi, 0).expected[0]
        _, R = _lapack.qr(np.sqrt(W)[:, None] * matrices.X)
        return cls(matrices, beta, _lapack.solve_upper(R, np.eye(len(beta))), family, xi)

    @cached_property
    def dispersion(self) -> float:
        """Pearson's chi-square over the residual degrees of freedom; 1 without a dispersion."""
        if not self.distribution.has_scale:
            return 1.0
        return float(self.pearson @ self.pearson / self.df_resid)

    @property
    def sigma(self) -> float:
        """Root of the dispersion; 1 where there is none."""
        return float(np.sqrt(self.dispersion))

    @property
    def test_df(self) -> float:
        """Those of the residuals where a dispersion is estimated, infinite otherwise."""
        return float(self.df_resid) if self.distribution.has_scale else np.inf

    @property
    def loglik(self) -> float:
        """Log-likelihood at its maximum, over the shape too."""
        return self.bound.loglik(self.linear, self.xi)

    @cached_property
    def deviance(self) -> float:
        """Twice the log-likelihood that a perfect fit has more, without the dispersion."""
        return float(self.squared_deviances.sum())

    @cached_property
    def null_deviance(self) -> float:
        """Deviance of the model of an intercept (or nothing) and the offset, at this shape."""
        return self.deviance_of(np.ones((self.matrices.n, int(self.matrices.fixed.has_intercept))))

    def deviance_of(self, X: Matrix, offset: Vector | None = None) -> float:
        """Deviance of the model of columns X (n, p), its theta (not a dispersion) held."""
        matrices, known = self.matrices, self.distribution
        held = self.family if known.shape_name == "theta" else known
        offset = matrices.offset if offset is None else offset
        beta, xi = _fitted(matrices, held, X, offset)
        response, mean = matrices.response, held.inverse(X @ beta + offset)
        deviances = held.deviances(response.y, mean, response.weights, held.shape_of(xi))
        return float(deviances.sum())

    @property
    def working_weights(self) -> Vector:
        """Expected information of the linear predictors in units of the dispersion, (n,)."""
        return self.bound.at(self.linear, self._unit_xi, 0).expected[0]

    @property
    def score_rows(self) -> Vector:
        """Derivatives of the log-likelihood in the linear predictors, in the same unit, (n,)."""
        return self.bound.score_rows(self.linear, self._unit_xi)

    @property
    def _unit_xi(self) -> float:
        """Logarithm of the shape, of 1 for a dispersion."""
        return 0.0 if self.distribution.has_scale else self.xi


def _check_separation(family: Family, mean: Vector) -> None:
    """Warn of probabilities of 0 or 1."""
    certain = int(np.sum((mean < CERTAIN) | (mean > 1.0 - CERTAIN)))
    if family.name == "binomial" and certain:
        warn(
            ConvergenceWarning(
                f"{certain} fitted probabilities are 0 or 1: a predictor separates the responses, "
                "and its coefficient grows without limit."
            )
        )


def _bound(matrices: ModelMatrices, family: Family) -> Conditional:
    response = matrices.response
    return family.conditional(response.y, response.weights, response.trials)


def _fitted(
    matrices: ModelMatrices, family: Family, X: Matrix, offset: Vector
) -> tuple[Vector, float]:
    """Coefficients of columns X (n, p), and the logarithm of the shape, at the maximum."""
    response, bound = matrices.response, _bound(matrices, family)
    start = family.start_mean(response.y, response.weights)
    eta: Vector = family.link_function(start)
    beta = constant_mean(X, offset, family, bound)
    xi = 0.0
    last = bound.loglik(X @ beta + offset, xi)
    for _ in range(STEPS):
        eta, beta = _scored(bound, X, offset, eta, xi, beta, np.isfinite(last))
        xi = _best_shape(bound, family, eta, xi)
        value = bound.loglik(eta, xi)
        if abs(value - last) <= TOLERANCE * (abs(value) + 1.0):
            return beta, xi
        last = value
    raise NumericalError(
        f"the coefficients have not settled after {STEPS} steps: responses that a predictor "
        "separates have no finite ones"
    )


def _scored(
    bound: Conditional,
    X: Matrix,
    offset: Vector,
    eta: Vector,
    xi: float,
    beta: Vector,
    started: bool,
) -> tuple[Vector, Vector]:
    """Linear predictor and coefficients after a step of Fisher's scoring, halved while it falls."""
    rows = bound.at(eta, xi, 0)
    W = rows.expected[0]
    root = np.sqrt(W)
    target = root * (eta - offset) + rows.score / np.where(root > 0.0, root, 1.0)
    Q, R = _lapack.qr(root[:, None] * X)
    new = _lapack.solve_upper(R, Q.T @ target)
    if started:
        floor = bound.loglik(X @ beta + offset, xi)
        for _ in range(HALVINGS):
            value = bound.loglik(X @ new + offset, xi)
            if np.isfinite(value) and value >= floor - TOLERANCE * abs(floor):
                break
            new = 0.5 * (new + beta)
    return np.asarray(X @ new + offset), np.asarray(new)


def _best_shape(bound: Conditional, family: Family, eta: Vector, xi: float) -> float:
    """Logarithm of the shape at the maximum for a linear predictor, by Newton's steps."""
    if not family.shape_name:
        return 0.0
    for _ in range(STEPS):
        shape = bound.at(eta, xi, 1).shape
        assert shape is not None
        step = float(np.clip(shape.first / max(abs(shape.second), 1e-8), -2.0, 2.0))
        xi = float(np.clip(xi + step, -LARGE_XI, LARGE_XI))
        if abs(step) < 1e-10:
            break
    return xi


def plain_fit(call: Request) -> PlainFit:
    """Fit what `lmm.lm` or `lmm.glm` was asked for."""
    family, matrices = call.conditional, call.build()
    return LeastSquaresFit.of(matrices) if family is None else ScoredFit.of(matrices, family)
