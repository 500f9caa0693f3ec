"""The profiled deviance and REML criterion of a model, in lme4's theta and in whitened coordinates.

What a solver returns (`lmm.pls.base`) becomes the likelihood (`lmm.likelihood`) of

    d(theta) = logdet_L [+ logdet_RX] + nu (1 + log(2 pi pwrss / nu)) - sum(log w)            (1)

with nu = n (ML) or n - p (REML; Bates et al. 2015, eqns. 34 and 41), and its derivatives by
``Gamma_i = lambda_i lambda_i'`` become those by the entries of lambda (docs/theory/criterion.md).
Where sigma is known, ``nu log(2 pi sigma^2) + pwrss / sigma^2`` stands in place of the third part.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import InitVar, dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from lmm import likelihood
from lmm._brief import Brief
from lmm._threads import blas_threads
from lmm._types import Matrix, Vector, cached_property
from lmm.covariance import Parameters
from lmm.criterion.base import Estimated, Evaluation, Move, Resumable, checked_start
from lmm.criterion.differences import differenced_trace
from lmm.criterion.identification import (
    is_suspicious,
    undetermined,
    undetermined_at,
    undetermined_near,
)
from lmm.criterion.moments import moment_start
from lmm.design.matrices import ModelMatrices
from lmm.likelihood import Entries
from lmm.pls import (
    PLS,
    Derivatives,
    Factors,
    Forms,
    PLSPoint,
    PLSTerms,
    Problem,
    Sampled,
    SampledPoint,
    Solver,
    named,
    stacked,
    standardize,
)

# Further starts, in units of the noise of a level's own mean.
FURTHER = (300.0, 10.0)

# Share of the response's sum of squares below which residuals are its rounding errors.
VANISHED = 1e-24
# The same of sums, in which a difference of squares is no smaller than rounding errors.
ROUNDING = 1e-13
EPSILON = float(np.finfo(float).eps)
# Random effects up to which an elimination is kept beside its derivatives.
LITTLE = 1000


@dataclass(frozen=True, eq=False)
class Eliminated:
    """An elimination at whitened coordinates x (m,) of a problem."""

    pls: PLS
    x: Vector
    point: PLSPoint


@dataclass(frozen=True, eq=False, repr=False)
class ProfiledCriterion(Brief, Resumable, Estimated):
    """Profiled deviance (ML) or REML criterion of a model, as a function of theta.

    Parameters
    ----------
    matrices : ModelMatrices
        The model.
    reml : bool, default True
        REML criterion if true, deviance if false.
    solver : str or Solver, default "auto"
        ``"auto"``, ``"block"``, ``"cholmod"``, ``"sparse"``, ``"krylov"``, ``"dense"``, or an
        object with options, such as ``lmm.pls.Sparse("scipy")``.
    bound : PLS, optional
        A problem of these matrices that is ready already.
    sigma : float, optional
        Residual standard deviation, where it is known; else it is profiled out.

    Attributes
    ----------
    pls : PLS
        The problem, ready to be solved.

    Raises
    ------
    ValueError
        The solver's name is unknown, or `bound` belongs to other matrices.
    TypeError
        The solver is neither a name nor an object with options.

    Notes
    -----
    Calling it with lme4's theta evaluates (1). The optimizer moves ``x``, the same entries of
    ``lambda* = R lambda`` made lower triangular, in which units and origins of the covariates
    have no effect (see `lmm.pls.problem`).

    Examples
    --------
    >>> import lmm
    >>> sleepstudy = lmm.load_dataset("sleepstudy")
    >>> matrices = lmm.build_matrices("Reaction ~ Days + (Days | Subject)", sleepstudy)
    >>> criterion = lmm.ProfiledCriterion(matrices)
    >>> round(criterion([1.0, 0.0, 1.0]), 4)
    1773.6803
    """

    matrices: ModelMatrices
    reml: bool = True
    solver: Solver | str = "auto"
    bound: InitVar[PLS | None] = None
    sigma: float | None = None
    pls: PLS = field(init=False, repr=False)

    def __post_init__(self, bound: PLS | None) -> None:
        solver = named(self.solver)
        if bound is None:
            with blas_threads(0):
                bound = solver.bind(standardize(self.matrices))
        elif bound.problem.matrices is not self.matrices:
            raise ValueError("The bound problem belongs to other matrices than the criterion.")
        object.__setattr__(self, "pls", bound)

    @property
    def problem(self) -> Problem:
        """The standardized problem that the solver holds."""
        return self.pls.problem

    @cached_property
    def degrees_of_freedom(self) -> int:
        """The number nu, n for ML and n - p for REML."""
        return self.matrices.n - (self.matrices.p if self.reml else 0)

    @property
    def parameters(self) -> Parameters:
        """Structures of the terms' covariances."""
        return self.matrices.parameters

    @property
    def names(self) -> tuple[str, ...]:
        """lme4's names of theta."""
        return self.matrices.theta_names

    @property
    def description(self) -> str:
        """The solver, and why it was chosen."""
        return self.pls.description

    @property
    def dense_size(self) -> int:
        """Columns of the largest dense matrix that is factored."""
        return self.pls.dense_size

    @property
    def start(self) -> Vector:
        """lme4's default start, the identity."""
        return self.matrices.parameters.start

    @property
    def lower(self) -> Vector:
        """Lower bounds of theta (and of x), 0 on the diagonals and -inf elsewhere."""
        return self.matrices.lower

    def starts(self) -> Iterator[Vector]:
        """The moment estimates (m,) of `lmm.criterion.moments`, then multiples of the identity.

        Moments tell variances from an unknown sigma, for which there may be too many effects.
        """
        yield moment_start(self.problem, self.reml) if self.sigma is None else self.start
        for size in FURTHER:
            yield size * self.start

    @property
    def upper(self) -> Vector:
        """Upper bounds of theta (and of x)."""
        return self.matrices.parameters.upper

    # Values ------------------------------------------------------------------------------------

    def __call__(self, theta: Vector) -> float:
        """The criterion at theta (m,), lme4's length and order."""
        return self.from_terms(self.pls.at(self.whitened(self.checked(theta))).terms)

    def from_terms(self, terms: PLSTerms, sigma: float | None = None) -> float:
        """Criterion (1) from the three numbers of a solver, at the best sigma or a given one."""
        sigma = self.sigma if sigma is None else sigma
        logdet = terms.logdet_L + terms.logdet_RX if self.reml else terms.logdet_L
        pwrss = terms.pwrss * self.problem.scale**2
        nu = self.degrees_of_freedom
        return float(likelihood.criterion(logdet + self.constant, pwrss, nu, sigma))

    def misfit(self, pwrss: float) -> float:
        """pwrss, here of a standardized problem, over sigma^2: nu where sigma is profiled out."""
        if self.sigma is None:
            return self.degrees_of_freedom
        return pwrss * (self.problem.scale / self.sigma) ** 2

    def curvature(self, entries: Entries, c: float) -> Matrix:
        """Second derivative (e, e) by the entries of Gamma, where the misfit is c."""
        return entries.profiled(c) if self.sigma is None else entries.curvature(c)

    @cached_property
    def constant(self) -> float:
        """What standardizing and weights add to the log determinants."""
        added = self.problem.logdet_T if self.reml else 0.0
        return added - self.problem.sum_log_weights

    def value_and_gradient(self, theta: Vector) -> tuple[float, Vector]:
        """The criterion and its gradient at theta, lme4's scale.

        Parameters
        ----------
        theta : (m,) array
            Covariance parameters.

        Returns
        -------
        value : float
            Deviance or REML criterion.
        gradient : (m,) array
            Its derivatives in theta.

        Examples
        --------
        >>> import lmm
        >>> matrices = lmm.build_matrices("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff"))
        >>> value, gradient = lmm.ProfiledCriterion(matrices).value_and_gradient([1.0])
        >>> round(value, 4), gradient.round(4)
        (319.7924, array([1.6788]))
        """
        theta = self.checked(theta)
        derivatives = self.pls.at(self.whitened(theta)).derivatives(self.reml)
        parameters, c = self.matrices.parameters, self.misfit(derivatives.terms.pwrss)
        slopes = tuple(
            R.T @ G @ R for R, G in zip(self.problem.whitening, derivatives.slopes(c), strict=True)
        )
        score = parameters.units(theta) @ stacked(slopes)
        return self.from_terms(derivatives.terms), score @ parameters.jacobian(theta)

    def checked(self, theta: Vector) -> Vector:
        """Theta as a float array of the right length.

        Raises
        ------
        ValueError
            The length is not the number of covariance parameters, or a value is not finite.
        """
        return checked_start(self, theta)

    # Coordinates -------------------------------------------------------------------------------

    def whitened(self, theta: Vector) -> Factors:
        """Factors R lambda of the whitened problem, for lme4's theta."""
        return tuple(
            R @ factor
            for R, factor in zip(self.problem.whitening, self.matrices.factors(theta), strict=True)
        )

    def factors(self, x: Vector) -> Factors:
        """Lower-triangular factors lambda* of the whitened problem, for x (m,)."""
        return self.matrices.factors(x)

    def to_x(self, theta: Vector) -> Vector:
        """Whitened coordinates of covariance parameters."""
        return self.matrices.parameters.whitened(theta, self.problem.whitening)

    def to_theta(self, x: Vector) -> Vector:
        """Covariance parameters of whitened coordinates."""
        return self.matrices.parameters.unwhitened(x, self.problem.whitening)

    # Derivatives -------------------------------------------------------------------------------

    def value(self, x: Vector) -> float:
        """The criterion at whitened coordinates x (m,)."""
        return self.from_terms(self.pls.at(self.factors(x)).terms)

    def value_and_state(self, x: Vector, move: Move | None = None) -> tuple[float, Eliminated]:
        """The criterion at x (m,), and the elimination there."""
        point = self.pls.at(self.factors(x))
        return self.from_terms(point.terms), Eliminated(self.pls, x, point)

    def point(self, x: Vector, state: object = None) -> PLSPoint:
        """The elimination at x (m,): that of a state, if it was made there."""
        if isinstance(state, Eliminated) and state.pls is self.pls and (state.x == x).all():
            return state.point
        return self.pls.at(self.factors(x))

    def evaluate(self, x: Vector, move: Move | None = None) -> Evaluation:
        """Value, gradient and Hessian at whitened coordinates x (m,)."""
        point = self.pls.at(self.factors(x))
        derivatives = point.derivatives(self.reml)
        parameters, c = self.matrices.parameters, self.misfit(derivatives.terms.pwrss)
        units, slopes = parameters.units(x), derivatives.slopes(c)
        forms = derivatives.along(units)
        entries = self.sums(derivatives, forms, units)
        score, curvature = entries.score(c), self.curvature(entries, c)
        # A known sigma does not move: as if told by infinitely many rows.
        nu = self.degrees_of_freedom if self.sigma is None else np.inf
        gradient, hessian = likelihood.chained(
            score, curvature, parameters.jacobian(x), parameters.bend(x, stacked(slopes))
        )
        return Evaluation(
            self.from_terms(derivatives.terms),
            gradient,
            hessian,
            score,
            curvature,
            likelihood.information(forms.scoring, entries.logdet, nu),
            entries.logdet / nu,
            slopes,
            forms.trace is not None,
            c * self.rounding(derivatives.terms.pwrss),
            kept=Eliminated(self.pls, x, point) if self.matrices.q <= LITTLE else None,
        )

    @property
    def is_estimated(self) -> bool:
        """Whether its solver samples."""
        return isinstance(self.pls, Sampled)

    def errors(self, x: Vector, hessian: Matrix, state: object) -> tuple[float, Vector]:
        """Standard errors of the criterion and of theta (m,) at the minimum x."""
        point = self.point(x, state)
        assert isinstance(point, SampledPoint)
        parameters = self.matrices.parameters
        sampling = point.sampling()
        moved = parameters.jacobian(x).T @ parameters.units(x)
        # Of the minimum: -hessian^-1 times the error of the gradient
        moved = np.linalg.pinv(hessian, hermitian=True) @ moved
        steps = [self.to_theta(x + STEP * e) - self.to_theta(x - STEP * e) for e in np.eye(len(x))]
        moved = np.array(steps).T / (2.0 * STEP) @ moved
        variances = np.einsum("ij,jk,ik->i", moved, sampling[1:, 1:], moved)
        return float(np.sqrt(sampling[0, 0])), np.sqrt(variances)

    def rounding(self, pwrss: float) -> float:
        """Relative rounding error of a standardized pwrss: it is what is left of y'y."""
        return EPSILON * self.problem.squares / pwrss

    def undetermined(self, x: Vector, here: Evaluation) -> NDArray[np.bool_]:
        """Parameters (m,) that can change together without changing the criterion.

        Summed over all rows only where an evaluation looks suspicious, or may hide it.
        """
        levels = [term.n_levels for term in self.matrices.terms]
        hidden = not here.exact and len(set(levels)) < len(levels)
        J = self.parameters.jacobian(self.parameters.informative(x))
        if not hidden and not is_suspicious(J, here.information):
            return np.zeros(len(self.lower), dtype=np.bool_)
        widest = max(term.size for term in self.matrices.terms)
        if here.exact and self.parameters.n_units < widest:
            return self._undetermined_near()
        return undetermined(self.problem, self.reml, self.sigma is not None)

    def _undetermined_near(self) -> NDArray[np.bool_]:
        """The same without sums of k^2 x k^2 matrices."""
        parameters = self.parameters
        units = parameters.units(parameters.generic)
        _, entries = self.exactly(self.factors(parameters.generic), units)
        if self.sigma is not None:
            return undetermined_at(parameters, entries.trace)
        nu = self.degrees_of_freedom
        return undetermined_near(parameters, entries.logdet, entries.trace, nu)

    def endless(self, x: Vector, here: Evaluation) -> tuple[str, Mapping[str, float]] | None:
        """None: coefficients have a closed form."""
        return None

    def fits_exactly(self, x: Vector) -> bool:
        """Whether the residuals at x (m,), row by row, are rounding errors of the response."""
        solution = self.pls.at(self.factors(x)).solution()
        if not self.problem.has_rows:
            # Sums lose these digits: only a limit without residual variance is seen.
            return solution.terms.pwrss <= ROUNDING * self.problem.squares
        residual = self.problem.y - self.problem.X @ solution.beta
        columns = zip(self.matrices.terms, self.problem.term_columns, solution.effects, strict=True)
        for term, Z, effect in columns:
            residual = residual - np.einsum("ij,ij->i", Z, effect[term.codes])
        return float(residual @ residual) <= VANISHED * self.problem.squares

    def sums(self, derivatives: Derivatives, forms: Forms, units: Matrix) -> Entries:
        """Derivatives along units (e, K) of Gamma.

        Without the exact trace, the average information: c * average has the same expectation.
        """
        c = self.misfit(derivatives.terms.pwrss)
        trace = c * forms.average if forms.trace is None else forms.trace
        logdet, quadratic = stacked(derivatives.logdet), stacked(derivatives.quadratic)
        return Entries(units @ logdet, units @ quadratic, forms.average, trace)

    def exactly(self, factors: Factors, units: Matrix) -> tuple[Derivatives, Entries]:
        """Derivatives at whitened factors, and along units (e, K) exact ones with any solver."""
        derivatives = self.pls.at(factors).derivatives(self.reml)
        forms = derivatives.along(units)
        entries = self.sums(derivatives, forms, units)
        if forms.trace is None:
            trace = differenced_trace(self.pls, self.reml, factors, units, entries.logdet)
            entries = replace(entries, trace=trace)
        return derivatives, entries

    # Other criteria on the same problem ----------------------------------------------------------

    def with_response(self, y: Vector) -> ProfiledCriterion:
        """The criterion for another response (n,) on the same design."""
        pls = self.pls.with_response(y)
        return replace(self, matrices=pls.problem.matrices, bound=pls)

    def on(self, matrices: ModelMatrices) -> ProfiledCriterion:
        """The criterion of other matrices, by the same solver."""
        return ProfiledCriterion(matrices, self.reml, self.solver, sigma=self.sigma)

    def with_reml(self, reml: bool) -> ProfiledCriterion:
        """The REML criterion, or the deviance, of the same problem."""
        return replace(self, reml=reml, bound=self.pls)


# Step in x for the derivative of theta, which is linear but for signs.
STEP = 1e-6
