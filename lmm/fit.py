"""The frozen record of one fit: arrays and numbers, no labels beyond names of parameters."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np

from lmm._elsewhere import no_function
from lmm._lapack import singular_values
from lmm._threads import blas_threads
from lmm._types import Matrix, Vector, cached_property, frozen_property
from lmm.criterion import ProfiledCriterion
from lmm.design import LmerControl
from lmm.design.matrices import ModelMatrices, ReTerm
from lmm.errors import (
    ConvergenceWarning,
    DataError,
    LmmWarning,
    PrecisionWarning,
    SingularFitWarning,
)
from lmm.fixed_fit import FixedFit
from lmm.formula import Formula
from lmm.likelihood import Entries, is_singular
from lmm.optimize import Optimum, Status, minimize_near
from lmm.plain_fit import PlainFit
from lmm.pls import Inverse, PLSPoint, PLSTerms, Problem, stacked

no_function(__name__)


# Fraction of the largest variance that a variance of zero becomes in another model's start.
CARRIED = 1e-12
# Relative rounding error of the residual variance that is worth a warning: of criteria of thirty
# rows it is 1e-5.
IMPRECISE = 3e-7


@dataclass(frozen=True, eq=False)
class Uncertainty:
    """How estimates of all d parameters move linear predictors ``x'beta + z'b``.

    Attributes
    ----------
    X : (p, d) array
        Derivatives of beta by the parameters.
    coupling : tuple of (l, k, d) arrays
        Minus the derivatives of the whitened random effects, per group.
    root : (d, d) array
        Square root of the parameters' covariance.
    """

    X: Matrix
    coupling: tuple[Matrix, ...]
    root: Matrix


@dataclass(frozen=True, eq=False, repr=False)
class Fit(FixedFit):
    """Everything that a fit determines.

    Attributes
    ----------
    formula : Formula
        The parsed formula.
    criterion : ProfiledCriterion
        The criterion that was minimized; holds the model's matrices and the solver.
    optimum : Optimum
        Where and how the minimization ended.
    theta : (m,) array
        Covariance parameters, lme4's scale.
    terms : PLSTerms
        ``logdet_L, logdet_RX, pwrss`` at theta, original units.
    beta : (p,) array
        Fixed effects.
    b : tuple of (l_i, k_i) arrays
        Random effects per term, original units.
    fixed_root : (p, p) array
        Square root of the unscaled covariance of beta: ``(X'V^-1 X)^-1 = root root'``.
    """

    formula: Formula
    criterion: ProfiledCriterion
    optimum: Optimum
    theta: Vector
    terms: PLSTerms
    beta: Vector
    b: tuple[Matrix, ...]
    fixed_root: Matrix

    @classmethod
    def at(
        cls, formula: Formula, criterion: ProfiledCriterion, optimum: Optimum, keep: bool = False
    ) -> Fit:
        """Gather the estimates at an optimum; `keep` what was solved for them as its `point`."""
        problem = criterion.problem
        point = criterion.point(optimum.x, optimum.state)
        solution = point.solution()
        if optimum.state is not None:
            optimum = copy.copy(optimum)  # without it
        terms = PLSTerms(
            solution.terms.logdet_L,
            solution.terms.logdet_RX + problem.logdet_T,
            solution.terms.pwrss * problem.scale**2,
        )
        with blas_threads(0):
            beta, b = problem.beta(solution.beta), problem.effects(solution.effects)
            fixed_root = problem.fixed_root(solution.fixed_root)
        fit = cls(formula, criterion, optimum, optimum.theta, terms, beta, b, fixed_root)
        if keep:
            vars(fit)["point"] = point
        return fit

    @property
    def matrices(self) -> ModelMatrices:
        """The model's matrices."""
        return self.criterion.matrices

    @property
    def reml(self) -> bool:
        return self.criterion.reml

    @cached_property
    def sigma(self) -> float:
        """Residual standard deviation, estimated or known."""
        if self.known_sigma is not None:
            return self.known_sigma
        return float(np.sqrt(self.terms.pwrss / self.criterion.degrees_of_freedom))

    @property
    def known_sigma(self) -> float | None:
        return self.criterion.sigma

    @property
    def size(self) -> float:
        """Its estimate."""
        return self.sigma

    @property
    def noise(self) -> float:
        """Standard deviation in units of which the equations at theta are written."""
        return self.sigma

    @property
    def conditional_inverse(self) -> Inverse:
        """D of `lmm.joint`: covariance of b given the response, in units of the noise."""
        return self.point

    @property
    def working_root(self) -> Matrix:
        """Inverse of the upper triangular RX, (p, p), in units of `noise`."""
        return self.fixed_root

    @property
    def working_weights(self) -> Vector:
        """Weights of the rows in these equations, (n,)."""
        return self.matrices.weights

    @frozen_property
    def factors(self) -> tuple[Matrix, ...]:
        """Relative covariance factors lambda, one (k_i, k_i) per term."""
        return self.matrices.factors(self.theta)

    @frozen_property
    def covariances(self) -> tuple[Matrix, ...]:
        """Covariance matrices of the random effects, one (k_i, k_i) per term."""
        return tuple(self.sigma**2 * factor @ factor.T for factor in self.factors)

    @frozen_property
    def u(self) -> Vector:
        """Spherical random effects (q,): b = Lambda u. Zero where lambda is singular."""
        return np.concatenate(
            [
                (effect @ np.linalg.pinv(factor).T).ravel()
                for effect, factor in zip(self.b, self.factors, strict=True)
            ]
        )

    @frozen_property
    def fixed_part(self) -> Vector:
        """X beta + offset, (n,)."""
        return self.matrices.X @ self.beta + self.matrices.offset

    @frozen_property
    def linear(self) -> Vector:
        """Linear predictor X beta + offset + Z b, (n,)."""
        mu = self.fixed_part.copy()
        for term, effect in zip(self.matrices.terms, self.b, strict=True):
            mu += np.einsum("ij,ij->i", term.Z, effect[term.codes])
        return mu

    @property
    def residual_deviation(self) -> float | None:
        """Standard deviation that reports show beside those of the random effects, if any."""
        return self.sigma

    @property
    def converged(self) -> bool:
        """Whether a verified optimum was reached."""
        return self.optimum.converged

    def is_singular(self, tol: float = 1e-4) -> bool:
        """Whether a term's whitened factor has a singular value below `tol`.

        See `lmm.likelihood.is_singular`.
        """
        return any(bool(singular_values(each)[-1] < tol) for each in self.whitened_factors)

    @frozen_property
    def whitened_factors(self) -> tuple[Matrix, ...]:
        """Factors lambda* of the whitened problem, one (k_i, k_i) per term."""
        return self.criterion.factors(self.optimum.x)

    @property
    def uncertainty(self) -> Uncertainty | None:
        """None: covariance parameters do not move a linear model's predictors to first order."""
        return None

    @property
    def problem(self) -> Problem:
        """The standardized problem, rows weighted."""
        return self.criterion.problem

    @cached_property
    def point(self) -> PLSPoint:
        """The equations solved at theta: conditional covariances and products with them."""
        with blas_threads(self.criterion.pls.dense_size):
            return self.criterion.pls.at(self.whitened_factors)

    def __getstate__(self) -> dict[str, Any]:
        # A point is as large as the equations, and quickly made again.
        return {name: value for name, value in vars(self).items() if name != "point"}

    @cached_property
    def _exactly(self) -> tuple[Vector, Entries]:
        """Slopes (K,) of the criterion in the whitened covariances, and `entries`."""
        units = self.matrices.parameters.units(self.optimum.x)
        with blas_threads(self.criterion.pls.dense_size):
            derivatives, entries = self.criterion.exactly(self.whitened_factors, units)
        return stacked(derivatives.slopes(self.misfit)), entries

    @property
    def misfit(self) -> float:
        """Penalized residual sum of squares over sigma^2: nu where sigma is estimated."""
        return self.criterion.misfit(self.terms.pwrss / self.problem.scale**2)

    @property
    def entries(self) -> Entries:
        """Derivatives of log determinants and pwrss along the units at x, all exact."""
        return self._exactly[1]

    @property
    def slopes(self) -> Vector:
        """Derivatives (K,) of the criterion by the entries of the whitened covariances."""
        return self._exactly[0]

    @frozen_property
    def hessian(self) -> Matrix:
        """Exact Hessian (m, m) of the criterion in the whitened coordinates x."""
        parameters, x = self.matrices.parameters, self.optimum.x
        J = parameters.jacobian(x)
        curvature = self.criterion.curvature(self.entries, self.misfit)
        return J.T @ curvature @ J + parameters.bend(x, self.slopes)

    @cached_property
    def deviance(self) -> float:
        """Deviance (-2 log-likelihood) at theta, beta and the ML sigma profiled out."""
        return self.criterion.with_reml(False).value(self.optimum.x)

    @property
    def without_effects(self) -> float:
        """The criterion of the model without random effects."""
        return self.criterion.value(np.zeros_like(self.theta))

    @property
    def rounding(self) -> float:
        """Relative rounding error of the residual variance, or of what stands for a known one."""
        relative = self.criterion.rounding(self.terms.pwrss / self.problem.scale**2)
        return relative * self.misfit / self.criterion.degrees_of_freedom

    def start_for(self, criterion: ProfiledCriterion) -> Vector:
        """Where the search for the same model on other rows starts."""
        return self.theta

    def refitted(self, matrices: ModelMatrices) -> Fit:
        """Fit the same model to other matrices, from these estimates."""
        criterion = self.criterion.on(matrices)
        optimum = minimize_near(criterion, self.start_for(criterion))
        return type(self).at(self.formula, criterion, optimum)

    def carried_to(self, criterion: ProfiledCriterion) -> Vector:
        """Covariance parameters (m,) of another model with this fit's covariances.

        Effects are the same if their grouping factors and columns have the same names; what this
        fit does not have is zero.
        """
        known: dict[tuple[str, str, str], float] = {}
        for term, factor in zip(self.matrices.terms, self.factors, strict=True):
            for a, row in zip(term.columns, factor @ factor.T, strict=True):
                for b, entry in zip(term.columns, row, strict=True):
                    place = term.group, a, b
                    known[place] = known.get(place, 0.0) + float(entry)
        parts = []
        for term in criterion.matrices.terms:
            pairs = [(term.group, a, b) for a in term.columns for b in term.columns]
            entries = [known.get(pair, 0.0) for pair in pairs]
            parts.append(
                term.covariance.nearest(np.reshape(entries, (term.size, term.size)), CARRIED)
            )
        return np.concatenate(parts)

    @property
    def loglik(self) -> float:
        """Log-likelihood (REML fits: restricted)."""
        return -0.5 * self.optimum.value


def check_models(*models: object) -> None:
    """Refuse what is no fitted mixed model.

    Raises
    ------
    TypeError
        It is none; the message says what it is.
    """
    for model in models:
        if isinstance(getattr(model, "fit", None), PlainFit):
            raise TypeError(
                f"{type(model).__name__} has no random effects: this is for models of lmm.lmer and "
                "lmm.glmer (what a model without explains: m.glance(), lmm.model_performance(m))."
            )
        if not isinstance(getattr(model, "fit", None), Fit):
            shown = repr(model) if isinstance(model, str | int | float) else type(model).__name__
            raise TypeError(f"a fitted model is needed, such as lmm.lmer returns, not {shown}.")


def check_fitted(*models: object) -> None:
    """Refuse what is no fitted model, with random effects or without.

    Raises
    ------
    TypeError
        It is none; the message says what it is.
    """
    for model in models:
        if not isinstance(getattr(model, "fit", None), PlainFit):
            check_models(model)


def check_linear(what: str, *models: Any) -> None:
    """Refuse models that are not linear.

    Parameters
    ----------
    what : str
        What exists for linear models only, in the plural.
    *models
        The models.

    Raises
    ------
    TypeError
        One is no fitted model.
    ValueError
        One is a generalized model.
    """
    check_models(*models)
    if not all(model.fit.family.is_gaussian_identity for model in models):
        raise ValueError(f"{what} exist for linear models only, not for those of glmer.")


def check_sigma_estimated(what: str, fit: Fit) -> None:
    """Refuse a fit whose sigma is known.

    Parameters
    ----------
    what : str
        What needs it to be estimated, in the plural.
    fit : Fit
        The fit.

    Raises
    ------
    ValueError
        It was given to `lmer`.
    """
    if fit.known_sigma is not None:
        raise ValueError(
            f"{what} are for models whose residual variance is estimated; this one was fitted with "
            f"sigma={fit.sigma:g} as known. Use what allows for that: z tests (the default), "
            "ddf='satterthwaite', m.profile(), m.bootstrap() or m.ranova()."
        )


def verdict(fit: Fit, control: LmerControl) -> tuple[LmmWarning, ...]:
    """Convergence and singularity of a fit as warnings, at the levels that `control` asks for.

    Raises
    ------
    DataError
        A check at level ``"stop"`` fails.
    """
    notes: list[LmmWarning] = []
    about_hessian = fit.optimum.status in (Status.SADDLE, Status.NOT_IDENTIFIED)
    level = control.check_conv_hess if about_hessian else control.check_conv_grad
    if not fit.converged and level != "ignore":
        text = f"Model failed to converge: {fit.optimum.message}"
        notes.append(ConvergenceWarning(text))
        _stop_if(level, text)
    if fit.optimum.status in (Status.UNBOUNDED, Status.ROUNDING):
        return tuple(notes)  # the others are said of an optimum, which there is not
    singular = control.check_conv_singular
    if singular != "ignore" and fit.is_singular(control.check_conv_singular_tol):
        text = singular_text(fit, control.check_conv_singular_tol)
        notes.append(SingularFitWarning(text))
        _stop_if(singular, text)
    if fit.rounding > IMPRECISE:
        notes.append(PrecisionWarning(_precision_text(fit)))
    return tuple(notes)


def _precision_text(fit: Fit) -> str:
    """How many digits are left, and what takes them."""
    digits = max(0, int(-np.log10(fit.rounding)))
    ratio = np.sqrt(fit.rounding / np.finfo(float).eps)
    return (
        f"The response, less its fixed effects, is {ratio:.0e} times as large as the residuals: "
        f"about {digits} digits of the residual variance are left. {_where_the_size_is(fit)}"
    )


def _where_the_size_is(fit: Fit) -> str:
    """What to do about a response that is much larger than its residuals."""
    y = fit.problem.y
    if np.linalg.norm(y - y.mean()) < 0.5 * np.linalg.norm(y):
        return "Subtract a constant, or add a fixed intercept."
    return (
        "The random effects follow the response, and the residual variance is as good as zero. "
        "Compare with a model of fewer random effects."
    )


def singular_text(fit: Fit, tol: float) -> str:
    """What is singular in a singular fit, term by term, and what to do about it."""
    terms = zip(
        fit.matrices.terms, fit.factors, fit.whitened_factors, fit.problem.whitening, strict=True
    )
    found = [_degenerate(*parts, tol) for parts in terms if is_singular(parts[2:3], tol)]
    return (
        f"boundary (singular) fit: {'; '.join(found)}.\n"
        "Simpler random effects fit as well: m.re_pca() shows in how many dimensions they vary."
    )


def _degenerate(term: ReTerm, factor: Matrix, whitened: Matrix, R: Matrix, tol: float) -> str:
    """Which variances of a singular term are zero, or which columns vary together."""
    size = np.linalg.norm(factor, axis=1) * np.linalg.norm(R, axis=0)
    zero = [name for name, each in zip(term.columns, size, strict=True) if each < tol]
    by = f"by {term.group}"
    if zero:
        verb = "variance is" if len(zero) == 1 else "variances are"
        return f"the {verb} zero for {' and '.join(zero)} {by}"
    names = " and ".join(term.columns)
    if len(term.columns) == 2:
        return f"the correlation of {names} {by} is {'1' if factor[0] @ factor[1] > 0 else '-1'}"
    rank = int((np.linalg.svd(whitened, compute_uv=False) >= tol).sum())
    return f"the covariance of {names} {by} has rank {rank}"


def _stop_if(level: str, text: str) -> None:
    if level == "stop":
        raise DataError(text)
