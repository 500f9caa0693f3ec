"""The record of a generalized model's fit: as `lmm.fit.Fit`, with a family and a link."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lmm._lapack import solve_upper
from lmm._threads import one_blas_thread
from lmm._types import Matrix, Vector, cached_property, frozen_property
from lmm.errors import silence
from lmm.family import Family
from lmm.family.base import RowLikelihood
from lmm.fit import Fit, Uncertainty
from lmm.fixed_fit import FamilyFit
from lmm.formula import Formula
from lmm.laplace import Expansion, LaplaceCriterion, LaplaceEvaluation
from lmm.laplace.conditional import EliminatedPoint
from lmm.likelihood import variance_of_estimates
from lmm.optimize import Optimum
from lmm.plain_fit import ScoredFit
from lmm.pls import PLS, Inverse, PLSPoint, PLSTerms, Problem


@dataclass(frozen=True, eq=False, repr=False)
class GeneralizedFit(FamilyFit, Fit):
    """Everything that the fit of a generalized model determines.

    Attributes
    ----------
    criterion : LaplaceCriterion
        The criterion that was minimized.
    theta : (m,) array
        Covariance parameters: factors of the covariances themselves, no scale taken out.
    xi : float
        Logarithm of the family's shape; 0 where it has none.
    """

    criterion: LaplaceCriterion  # type: ignore[assignment]
    xi: float = 0.0

    @classmethod
    @one_blas_thread
    def at(  # type: ignore[override]
        cls, formula: Formula, criterion: LaplaceCriterion, optimum: Optimum
    ) -> GeneralizedFit:
        """Gather the estimates at an optimum."""
        model = criterion.model
        here = criterion.known(optimum.x, optimum.state)
        if not model.joint:
            here = criterion.exact(here)
        expansion = here.expansion
        optimum = replace(optimum, state=None)
        m = model.m
        root = _square_root(criterion.fixed_covariance(here))
        standardized = expansion.mode.beta if model.joint else expansion.place.beta
        xi = expansion.place.xi
        scale = np.exp(0.5 * xi) if criterion.family.has_scale else 1.0
        effects = expansion.model.effects
        b = tuple(
            solve_upper(R, own.T).T
            for R, own in zip(
                effects.problem.whitening, effects.by_term(expansion.mode.b), strict=True
            )
        )
        fit = cls(
            formula,
            criterion,
            optimum,
            criterion.to_theta(optimum.x)[:m],
            PLSTerms(expansion.D.logdet, 0.0, expansion.mode.penalized),
            model.coefficients(standardized),
            b,
            model.coefficients(root) / scale,
            xi,
        )
        fit.__dict__["here"] = here  # it would be computed again
        return fit

    @cached_property
    def here(self) -> LaplaceEvaluation:
        """The criterion at the optimum, with its exact derivatives."""
        return self.criterion.exactly(self.optimum.x)

    @property
    def expansion(self) -> Expansion:
        """The approximation at the optimum, with its mode."""
        return self.here.expansion

    def start_for(self, criterion: LaplaceCriterion) -> Vector:  # type: ignore[override]
        """Where the search for the same model on other rows starts: all parameters, by name."""
        own = dict(zip(self.criterion.names, self.optimum.theta.tolist(), strict=True))
        return np.array([own[name] for name in criterion.names])

    def carried_to(self, criterion: LaplaceCriterion) -> Vector:  # type: ignore[override]
        """Parameters (d,) of another model with this fit's covariances and coefficients."""
        own = dict(zip(self.matrices.fixed.names, self.beta.tolist(), strict=True))
        names = () if criterion.model.joint else criterion.matrices.fixed.names
        beta = [own.get(name, 0.0) for name in names]
        shape = [float(np.exp(self.xi))] if criterion.model.has_xi else []
        covariances = super().carried_to(criterion)  # type: ignore[arg-type]
        return np.concatenate([covariances, beta, shape])

    @cached_property
    def without_effects(self) -> float:
        """-2 log-likelihood of the model without random effects, at its maximum."""
        with silence():
            return -2.0 * ScoredFit.of(self.matrices, self.criterion.family).loglik

    @property
    def rounding(self) -> float:
        """Nothing is known to be lost."""
        return 0.0

    @property
    def distribution(self) -> Family:
        """Conditional distribution as it was asked for."""
        return self.criterion.family

    @property
    def sigma(self) -> float:
        """Root of the dispersion; 1 for families without one."""
        return float(np.sqrt(self.shape)) if self.criterion.family.has_scale else 1.0

    @frozen_property
    def covariances(self) -> tuple[Matrix, ...]:
        """Covariance matrices of the random effects, one (k_i, k_i) per term."""
        return tuple(factor @ factor.T for factor in self.factors)

    @property
    def residual_deviation(self) -> float | None:
        """Root of the dispersion, if the family has one."""
        return self.sigma if self.criterion.family.has_scale else None

    @frozen_property
    def whitened_factors(self) -> tuple[Matrix, ...]:
        """Factors lambda* of the whitened problem, one (k_i, k_i) per term."""
        return self.expansion.place.factors

    @cached_property
    def _working(self) -> PLS:
        """Least squares with the working weights and response at the mode.

        Where observed information of single rows is negative, the expected makes the weights.
        """
        model, mode = self.criterion.model, self.expansion.mode
        rows = self.expansion.rows
        W = (rows.observed if self._is_informed else rows.expected)[0]
        working = mode.eta + self.expansion.rows.score / np.where(W > 0.0, W, 1.0)
        return model.pls.reweighted(W, working)

    @cached_property
    def _by_row(self) -> RowLikelihood:
        """What each row of the data says at the mode, those merged in the criterion apart."""
        return self.bound.at(self.linear, self.xi, 0)

    @cached_property
    def _is_informed(self) -> bool:
        """Whether the observed information makes weights: it does not where some is negative."""
        return self.criterion.information == "observed" and self._by_row.observed[0].min() >= 0.0

    @frozen_property
    def working_weights(self) -> Vector:
        """Information of the rows' linear predictors at the mode, (n,)."""
        rows = self._by_row
        return (rows.observed if self._is_informed else rows.expected)[0]

    @cached_property
    def uncertainty(self) -> Uncertainty | None:
        """How estimates of all parameters move linear predictors; None where `nagq` is 0."""
        model = self.criterion.model
        if model.joint:
            return None
        covariance = variance_of_estimates(self.hessian)
        root = _square_root(covariance)
        effects = model.effects.by_group(self.expansion.effects_along())
        T_inverse = model.coefficients(np.eye(model.p))
        before, after = model.m, model.d - model.m - model.p
        X = np.hstack([np.zeros((model.p, before)), T_inverse, np.zeros((model.p, after))])
        return Uncertainty(X, tuple(-own for own in effects), root)

    @property
    def conditional_inverse(self) -> Inverse:
        """Inverse information of the random effects at the mode, rows of negative one included."""
        own = self.expansion
        if own.weights[0].min() >= 0.0:
            return self.point
        return EliminatedPoint(own.D, self.criterion.model.problem)

    @property
    def problem(self) -> Problem:
        """The standardized problem, rows weighted by the information at the mode."""
        return self._working.problem

    @property
    def rule(self) -> str:
        """How random effects are integrated out."""
        return f"nagq={self.criterion.nagq} and information={self.criterion.information!r}"

    @property
    def size(self) -> float:
        """Sigma or theta; 1 where there is neither."""
        return self.sigma if self.criterion.family.has_scale else self.shape

    @property
    def noise(self) -> float:
        """1: the working weights hold the dispersion."""
        return 1.0

    @cached_property
    def working_root(self) -> Matrix:
        """Inverse of the upper triangular RX of the working least squares, (p, p)."""
        return self.problem.fixed_root(self.point.solution().fixed_root)

    @cached_property
    def point(self) -> PLSPoint:
        """The equations solved at theta: conditional covariances and products with them."""
        return self._working.at(self.whitened_factors)

    def __getstate__(self) -> dict[str, Any]:
        # These are as large as the equations, and quickly made again.
        large = ("point", "_working", "_by_row", "here")
        return {name: value for name, value in vars(self).items() if name not in large}

    @frozen_property
    def hessian(self) -> Matrix:
        """Hessian (d, d) of the criterion in all its coordinates."""
        return self.criterion.exact(self.here).hessian

    @property
    def deviance(self) -> float:
        """-2 log-likelihood."""
        return self.optimum.value


def _square_root(covariance: Matrix) -> Matrix:
    """R (p, p) with R R' = covariance, which is singular where a search has failed."""
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)))
