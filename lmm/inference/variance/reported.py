"""Standard deviations, correlations and sigma as parameters: names, values, likelihood, intervals.

The likelihood is a function of absolute covariance factors and sigma. With ``L_i L_i' = Sigma_i``
the covariance of term i and ``s = log sigma``, it is (1) of `lmm.likelihood` at
``Gamma_i = Sigma_i / sigma^2``: fixed effects are profiled out, sigma is not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from lmm._types import IntVector, Matrix, Vector, cached_property
from lmm.covariance import Correlated, Parameters
from lmm.criterion import ProfiledCriterion
from lmm.design.matrices import ModelMatrices
from lmm.errors import nearest
from lmm.fit import Fit
from lmm.inference.variance.kinds import Kind
from lmm.likelihood import Entries, correlations, with_log_sigma
from lmm.optimize import minimize
from lmm.pls import Derivatives, stacked

Scale = Literal["sdcor", "varcov"]


@dataclass(frozen=True)
class VarianceParameter:
    """One entry of a term's covariance, or a size: sigma, or theta of the negative binomial.

    Attributes
    ----------
    name : str
        R's name (``signames=FALSE``), such as ``cor_Days.(Intercept)|Subject``.
    kind : Kind
        What it is.
    term : int
        Index of its random-effects term; -1 for a size.
    row, column : int
        Columns of the term that it belongs to; equal for standard deviations.
    """

    name: str
    kind: Kind
    term: int = -1
    row: int = 0
    column: int = 0

    def value(self, covariances: Sequence[Matrix], size: Any) -> Any:
        """Its value for covariances (..., k_i, k_i) per term and sizes (...).

        A correlation with a zero variance is NaN.
        """
        if self.term < 0:
            return size**2 if self.kind == Kind.SIGMA_SQUARED else size
        C, i, j = covariances[self.term], self.row, self.column
        if self.kind == Kind.COR:
            return correlations(C)[..., i, j]
        return np.sqrt(C[..., i, i]) if self.kind == Kind.SD else C[..., i, j]


def variance_parameters(
    matrices: ModelMatrices, scale: Scale = "sdcor", size: Literal["sigma", "theta", ""] = "sigma"
) -> tuple[VarianceParameter, ...]:
    """All variance parameters of a model in R's order, sigma last.

    Parameters
    ----------
    matrices : ModelMatrices
        The model.
    scale : {"sdcor", "varcov"}
        Standard deviations and correlations, or variances and covariances.
    size : {"sigma", "theta", ""}
        What the family has beside them, if anything.

    Raises
    ------
    ValueError
        The scale is another word.

    Examples
    --------
    >>> import lmm
    >>> formula = lmm.parse_formula("Reaction ~ Days + (Days | Subject)")
    >>> matrices = lmm.build_matrices(formula, lmm.load_dataset("sleepstudy"))
    >>> [parameter.name for parameter in variance_parameters(matrices)]
    ['sd_(Intercept)|Subject', 'cor_Days.(Intercept)|Subject', 'sd_Days|Subject', 'sigma']
    """
    if scale not in ("sdcor", "varcov"):
        raise ValueError(f"scale must be 'sdcor' or 'varcov', not {scale!r}.")
    squared = scale == "varcov"
    entries = _entries(matrices, *((Kind.VAR, Kind.COV) if squared else (Kind.SD, Kind.COR)))
    if not size:
        return tuple(entries)
    kind = Kind.SIGMA_SQUARED if squared and size == "sigma" else Kind(size)
    return (*entries, VarianceParameter(str(kind), kind))


def parameters_of(fit: Fit, scale: Scale = "sdcor") -> tuple[VarianceParameter, ...]:
    """The variance parameters of a fit: see `variance_parameters`."""
    return variance_parameters(fit.matrices, scale, fit.size_name)


def names_of(fit: Fit, scale: Scale = "sdcor") -> tuple[str, ...]:
    """Names of all parameters in R's order: variance parameters, sigma, fixed effects."""
    names = [parameter.name for parameter in parameters_of(fit, scale)]
    return (*names, *fit.matrices.fixed.names)


def values_of(fit: Fit, parameters: Sequence[VarianceParameter]) -> Vector:
    """Estimates of variance parameters."""
    return np.array([each.value(fit.covariances, fit.size) for each in parameters])


def _entries(matrices: ModelMatrices, one: Kind, two: Kind) -> Iterator[VarianceParameter]:
    for index, term in enumerate(matrices.terms):
        for label, i, j in term.covariance.reported(term.columns):
            # The correlation of a structure belongs to no pair of columns.
            off = Kind.COR if isinstance(term.covariance, Correlated) else two
            kind = one if i == j else off
            yield VarianceParameter(f"{kind}_{label}|{term.group}", kind, index, i, j)


def find_parameter(
    matrices: ModelMatrices, name: str, size: Literal["sigma", "theta", ""] = "sigma"
) -> VarianceParameter:
    """The variance parameter of that name.

    Parameters
    ----------
    matrices : ModelMatrices
        The model.
    name : str
        R's name (``sd_Time|tree``, ``var_Time|tree``, ``cov_Time.(Intercept)|tree``, ``sigma``,
        ``sigma^2``) or statsmodels' (``Time Var``, ``tree Var`` or ``Group Var`` for the
        intercept, ``tree x Time Cov``, ``scale``). The name chooses the scale.
    size : {"sigma", "theta", ""}
        What the family has beside covariances, if anything.

    Raises
    ------
    ValueError
        No parameter has that name; the message suggests the nearest.
    """
    known = [
        *variance_parameters(matrices, size=size),
        *variance_parameters(matrices, "varcov", size),
    ]
    spellings = {parameter.name: parameter for parameter in known}
    for parameter in known:
        for spelling in _statsmodels_names(matrices, parameter):
            spellings.setdefault(spelling, parameter)
    if name not in spellings:
        names = dict.fromkeys(parameter.name for parameter in known)
        close = nearest(re.sub(r"\s+", " ", name), spellings if " " in name else names)
        raise ValueError(f"The model has no variance parameter {name!r}.{close}")
    return spellings[name]


def _statsmodels_names(matrices: ModelMatrices, parameter: VarianceParameter) -> list[str]:
    """Spellings in statsmodels' MixedLM of a variance or covariance."""
    if parameter.kind == Kind.SIGMA_SQUARED:
        return ["scale"]
    if parameter.kind not in (Kind.VAR, Kind.COV):
        return []
    term = matrices.terms[parameter.term]
    parts = []
    for index in (parameter.column, parameter.row):
        column = term.columns[index]
        parts.append([term.group, "Group"] if column == "(Intercept)" else [column])
    if parameter.kind == Kind.VAR:
        return [f"{one} Var" for one in parts[0]]
    return [f"{one} x {two} Cov" for one in parts[0] for two in parts[1]]


# The likelihood in absolute factors ---------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Taylor:
    """A function's value with its first two derivatives at a point.

    Attributes
    ----------
    value : float
        The function.
    gradient, hessian : (d,) and (d, d) arrays
        Its derivatives.
    exact : bool
        Whether the Hessian is exact.
    """

    value: float
    gradient: Vector
    hessian: Matrix
    exact: bool

    def without_last(self) -> Taylor:
        """The same as a function of all coordinates but the last."""
        return replace(self, gradient=self.gradient[:-1], hessian=self.hessian[:-1, :-1])


@dataclass(frozen=True, eq=False)
class Likelihood:
    """-2 log-likelihood (1) as a function of z = (entries of the L_i, log sigma).

    For full and independent columns any point is allowed: only ``L_i L_i'`` matters, so that signs
    are free and no bounds are needed. Other structures have their parameters in place of L_i.

    Parameters
    ----------
    criterion : ProfiledCriterion
        The model, with ML or REML.
    orders : tuple of (k_i,) int arrays
        Order of each term's columns in which L_i is lower triangular. What comes first has its
        standard deviation as a coordinate.
    always_exact : bool
        Whether `evaluate` is exact also where the solver finds the exact Hessian dear.
    """

    criterion: ProfiledCriterion
    orders: tuple[IntVector, ...]
    always_exact: bool = field(default=False, kw_only=True)

    @property
    def n_coordinates(self) -> int:
        """Length of z, m + 1."""
        return len(self.criterion.lower) + 1

    @property
    def box(self) -> tuple[Vector, Vector]:
        """Bounds of z, (m + 1,) each: those of structures, for factors may have any sign."""
        parameters = self._parameters
        floor = np.full(self.n_coordinates, -np.inf)
        ceiling = np.full(self.n_coordinates, np.inf)
        for covariance, part in zip(parameters.covariances, parameters.slices, strict=True):
            if isinstance(covariance, Correlated):
                floor[part], ceiling[part] = covariance.lower, covariance.upper
        return floor, ceiling

    @property
    def whitening(self) -> tuple[Matrix, ...]:
        """Whitening matrices R of the terms."""
        return self.criterion.problem.whitening

    @property
    def _parameters(self) -> Parameters:
        return self.criterion.matrices.parameters

    @cached_property
    def _roots(self) -> tuple[Matrix, ...]:
        """Whitening matrices with their columns in order."""
        return tuple(R[:, order] for R, order in zip(self.whitening, self.orders, strict=True))

    def size(self, z: Vector) -> float:
        """Sigma."""
        return float(np.exp(z[-1]))

    def noise(self, z: Vector) -> float:
        """Standard deviation of the noise in whose units terms are whitened."""
        return self.size(z)

    def coordinates(self, theta: Vector, sigma: float) -> Vector:
        """Coordinates z (m + 1,) of covariance parameters theta (m,) and sigma."""
        turns = [sigma * np.eye(len(order))[order] for order in self.orders]
        return np.append(self._parameters.whitened(theta, turns), np.log(sigma))

    def covariances(self, z: Vector) -> tuple[Matrix, ...]:
        """Covariance matrices (k_i, k_i) of the terms, in their own order."""
        result = []
        factors = self.criterion.matrices.factors(z[: len(self.criterion.matrices.lower)])
        for L, order in zip(factors, self.orders, strict=True):
            back = np.argsort(order)
            result.append((L @ L.T)[np.ix_(back, back)])
        return tuple(result)

    def whitened(self, z: Vector) -> tuple[Matrix, ...]:
        """Factors for the solver."""
        scale = np.exp(-z[-1])
        factors = self.criterion.matrices.factors(z[:-1])
        return tuple(scale * (R @ L) for R, L in zip(self._roots, factors, strict=True))

    def beta(self, z: Vector) -> Vector:
        """Fixed effects (p,) that maximize the likelihood at z."""
        problem = self.criterion.problem
        solution = self.criterion.pls.at(self.whitened(z)).solution()
        return problem.beta(solution.beta)

    def evaluate(self, z: Vector) -> Taylor:
        """Value (1), gradient and Hessian at z (m + 1,)."""
        if self.always_exact:
            return self.exactly(z)
        criterion, units = self.criterion, self._units(z)
        derivatives = criterion.pls.at(self.whitened(z)).derivatives(criterion.reml)
        forms = derivatives.along(units)
        exact = forms.trace is not None
        return self._at(z, derivatives, criterion.sums(derivatives, forms, units), exact)

    def exactly(self, z: Vector) -> Taylor:
        """Value (1), gradient and Hessian at z (m + 1,), exact with every solver."""
        derivatives, entries = self.criterion.exactly(self.whitened(z), self._units(z))
        return self._at(z, derivatives, entries, True)

    def _at(self, z: Vector, derivatives: Derivatives, entries: Entries, exact: bool) -> Taylor:
        criterion, nu, sigma = self.criterion, self.criterion.degrees_of_freedom, np.exp(z[-1])
        c = derivatives.terms.pwrss * (criterion.problem.scale / sigma) ** 2
        J, bend = self._chain(z, entries.score(c), derivatives.slopes(c))
        gradient, hessian = with_log_sigma(entries, J, bend, c, nu)
        value = criterion.from_terms(derivatives.terms, sigma)
        return Taylor(value, gradient, 0.5 * (hessian + hessian.T), exact)

    def _turned(self, z: Vector) -> tuple[Matrix, ...]:
        """Matrices R (k_i, k_i) that make relative covariances ``R L L'R'`` of absolute ones."""
        return tuple(np.exp(-z[-1]) * R for R in self._roots)

    def _units(self, z: Vector) -> Matrix:
        """Units of the whitened covariances, (e, K)."""
        parameters = self._parameters
        return parameters.units(parameters.whitened(z[:-1], self._turned(z)))

    def _chain(self, z: Vector, score: Vector, slopes: tuple[Matrix, ...]) -> tuple[Matrix, Matrix]:
        """Derivative of Gamma in z, in its units, (e, m + 1), and the second ones along a score.

        ``Gamma = R L L' R' exp(-2 s)``: ``dGamma/ds = -2 Gamma``, ``d2Gamma/ds2 = 4 Gamma`` and
        ``d2Gamma/ds dL = -2 dGamma/dL``.
        """
        parameters, L, turned = self._parameters, z[:-1], self._turned(z)
        own = np.column_stack([parameters.jacobian(L), -2.0 * parameters.combination(L)])
        J = parameters.lift(turned) @ own
        pulled = tuple(R.T @ G @ R for R, G in zip(turned, slopes, strict=True))
        bend = np.zeros((len(z), len(z)))
        bend[:-1, :-1] = parameters.bend(L, stacked(pulled))
        bend[-1] = bend[:, -1] = -2.0 * (J.T @ score)
        return J, bend


@dataclass(frozen=True, eq=False)
class KnownSizeLikelihood(Likelihood):
    """The same where sigma is known: a function of z = (entries of the L_i) alone."""

    @property
    def n_coordinates(self) -> int:
        """Length of z, m."""
        return len(self.criterion.lower)

    @property
    def _free(self) -> Likelihood:
        return Likelihood(self.criterion, self.orders, always_exact=self.always_exact)

    def _with_size(self, z: Vector) -> Vector:
        return np.append(z, np.log(self.size(z)))

    def size(self, z: Vector) -> float:
        """The known sigma."""
        assert self.criterion.sigma is not None
        return self.criterion.sigma

    def coordinates(self, theta: Vector, sigma: float) -> Vector:
        """Coordinates z (m,) of covariance parameters theta (m,)."""
        return self._free.coordinates(theta, sigma)[:-1]

    def whitened(self, z: Vector) -> tuple[Matrix, ...]:
        return self._free.whitened(self._with_size(z))

    def evaluate(self, z: Vector) -> Taylor:
        """Value (1), gradient and Hessian at z (m,)."""
        return self._free.evaluate(self._with_size(z)).without_last()

    def exactly(self, z: Vector) -> Taylor:
        """Value (1), gradient and Hessian at z (m,), exact with every solver."""
        return self._free.exactly(self._with_size(z)).without_last()


def maximum_likelihood(fit: Fit) -> tuple[ProfiledCriterion, Vector, float]:
    """ML criterion of a fit, its optimum x (m,) and the ML estimate of sigma (or theta).

    A REML fit is refitted by maximum likelihood from its own estimates, and from the criterion's
    first start where that lies lower than the minimum found.
    """
    if not fit.reml:
        return fit.criterion, fit.optimum.x, fit.size
    criterion = fit.criterion.with_reml(False)
    first = criterion.to_theta(next(criterion.starts()))
    x = minimize(criterion, start=fit.optimum.theta, others=[first]).x
    if criterion.sigma is not None:
        return criterion, x, criterion.sigma
    terms = criterion.pls.at(criterion.factors(x)).terms
    return (
        criterion,
        x,
        criterion.problem.scale * float(np.sqrt(terms.pwrss / criterion.matrices.n)),
    )
