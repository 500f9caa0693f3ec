"""What is profiled: a parameter as a coordinate, and the likelihood of all others at its values.

A standard deviation is a coordinate of the likelihood itself, the leading entry of a Cholesky
factor; a correlation ``sin(phi)`` is an angle, with ``L_21 = tau sin(phi), L_22 = tau cos(phi)``; a
covariance c has ``L_21 = c / L_11``. Fixed effects have a file of their own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol, Self

import numpy as np

from lmm._types import Matrix, Vector, cached_property
from lmm.covariance import Correlated, Covariance, Diagonal, Unstructured
from lmm.criterion import ProfiledCriterion
from lmm.inference.variance.kinds import Kind
from lmm.inference.variance.laplace import likelihood_of
from lmm.inference.variance.reported import Likelihood, Taylor, VarianceParameter
from lmm.laplace import LaplaceCriterion


@dataclass(frozen=True, eq=False)
class Section:
    """The likelihood at fixed t, as a function of the other coordinates w, near a point.

    Attributes
    ----------
    value : float
        -2 log-likelihood.
    gradient, hessian : (d,) and (d, d) arrays
        Derivatives in w.
    slope : float
        Derivative in t.
    cross : (d,) array or None
        Mixed derivatives in w and t, where they are known.
    bend : float
        Second derivative in t.
    exact : bool
        Whether the second derivatives are exact.
    """

    value: float
    gradient: Vector
    hessian: Matrix
    slope: float
    cross: Vector | None
    bend: float
    exact: bool


class Target(Protocol):
    """A parameter to be profiled."""

    @property
    def name(self) -> str:
        """R's name."""

    @property
    def bounds(self) -> tuple[float, float]:
        """Range of t."""

    @property
    def unit(self) -> float:
        """A first step in t, for a parameter whose likelihood is flat at the estimate."""

    @property
    def box(self) -> tuple[Vector, Vector]:
        """Lower and upper bounds of w, (d,) each."""

    @property
    def start(self) -> tuple[float, Vector]:
        """The estimates of t and w."""

    def at(self, t: float) -> Callable[[Vector], Section]:
        """The likelihood at fixed t, as a function of w."""

    @property
    def exactly(self) -> Self:
        """The same with exact Hessians, at a price."""

    def slope(self, t: float, w: Vector) -> float:
        """Derivative in t at a settled point, for sections without mixed derivatives."""

    def parameters(self, t: float, w: Vector) -> tuple[tuple[Matrix, ...], float, Vector]:
        """Covariances, sigma and beta at (t, w)."""


class Coordinate(ABC):
    """A parameter that is a coordinate z_j of the likelihood, or becomes one."""

    likelihood: Likelihood
    estimate: Vector

    @property
    @abstractmethod
    def place(self) -> int:
        """Where z holds t."""

    @property
    def box(self) -> tuple[Vector, Vector]:
        """Bounds of w, (d,) each: none but those of structures' parameters."""
        floor, ceiling = self.likelihood.box
        return np.delete(floor, self.place), np.delete(ceiling, self.place)

    @property
    def start(self) -> tuple[float, Vector]:
        """The estimates of t and w."""
        return float(self.estimate[self.place]), np.delete(self.estimate, self.place)

    def _entries(self, t: float, w: Vector) -> Vector:
        """The likelihood's coordinates at (t, w)."""
        return np.insert(w, self.place, t)

    def _derivatives(self, t: float, z: Vector, here: Taylor) -> tuple[Vector, Matrix]:
        """Gradient and Hessian in z with t in its place."""
        return here.gradient, here.hessian

    def at(self, t: float) -> Callable[[Vector], Section]:
        """The likelihood at fixed t, as a function of w."""
        return partial(self._section, t)

    def _section(self, t: float, w: Vector) -> Section:
        z = self._entries(t, w)
        here = self.likelihood.evaluate(z)
        gradient, hessian = self._derivatives(t, z, here)
        j, rest = self.place, np.delete(np.arange(len(z)), self.place)
        return Section(
            here.value,
            gradient[rest],
            hessian[np.ix_(rest, rest)],
            float(gradient[j]),
            hessian[rest, j],
            float(hessian[j, j]),
            here.exact,
        )

    def slope(self, t: float, w: Vector) -> float:
        """Derivative in t at a settled point."""
        return self._section(t, w).slope

    def parameters(self, t: float, w: Vector) -> tuple[tuple[Matrix, ...], float, Vector]:
        """Covariances, sigma or theta, and beta at (t, w)."""
        z = self._entries(t, w)
        return self.likelihood.covariances(z), self.likelihood.size(z), self.likelihood.beta(z)


# Log of the estimate over a residual standard deviation that is next to nothing: structures can do
# without one.
NOTHING = 11.5


@dataclass(frozen=True, eq=False)
class VarianceTarget(Coordinate):
    """A standard deviation: a coordinate of the likelihood as it is. Others are subclasses.

    Parameters
    ----------
    parameter : VarianceParameter
        Which.
    likelihood : Likelihood
        With the term's columns ordered for it (see `ordered`).
    estimate : (m + 1,) array
        Optimum in the likelihood's coordinates.
    """

    parameter: VarianceParameter
    likelihood: Likelihood
    estimate: Vector

    @property
    def name(self) -> str:
        """R's name."""
        return self.parameter.name

    @property
    def bounds(self) -> tuple[float, float]:
        """Range of t."""
        return 0.0, np.inf

    @property
    def _covariance(self) -> Covariance:
        """Structure of the term."""
        return self.likelihood.criterion.matrices.terms[self.parameter.term].covariance

    @cached_property
    def noise(self) -> Vector:
        """Noise of a level's own mean of each column of the term, (k,)."""
        R = self.likelihood.whitening[self.parameter.term]
        noise = self.likelihood.noise(self.estimate)
        return np.asarray(noise / np.sqrt(np.einsum("ij,ij->j", R, R)))

    @property
    def unit(self) -> float:
        """A first step: a tenth of the noise of a level's own mean."""
        return float(0.1 * self.noise[self.parameter.row])

    @property
    def first(self) -> int:
        """Where z holds the first parameter of the term."""
        return int(self.likelihood.criterion.matrices.theta_slices[self.parameter.term].start)

    @property
    def place(self) -> int:
        """Where z holds t."""
        covariance, row = self._covariance, self.parameter.row
        if isinstance(covariance, Correlated):
            return self.first + covariance.place(row, self.parameter.column)
        return self.first + (row if isinstance(covariance, Diagonal) else 0)

    @property
    def exactly(self) -> Self:
        """The same with exact Hessians."""
        return replace(self, likelihood=replace(self.likelihood, always_exact=True))


class SizeTarget(VarianceTarget):
    """Sigma or theta: its logarithm."""

    unit = 0.1

    @property
    def bounds(self) -> tuple[float, float]:
        centre = float(self.estimate[-1])
        return centre - NOTHING, centre + NOTHING if self.parameter.kind == Kind.THETA else np.inf

    @property
    def place(self) -> int:
        return len(self.estimate) - 1


class TurnedTarget(VarianceTarget):
    """A parameter in place of a coordinate of the likelihood."""

    @property
    def start(self) -> tuple[float, Vector]:
        z = self._with_parameter(self.estimate.copy())
        return float(z[self.place]), np.delete(z, self.place)

    def _entries(self, t: float, w: Vector) -> Vector:
        return self._without_parameter(np.insert(w, self.place, t))

    def _derivatives(self, t: float, z: Vector, here: Taylor) -> tuple[Vector, Matrix]:
        J, bend = np.eye(len(z)), np.zeros((len(z), len(z)))
        self._turn(t, z, here.gradient, J, bend)
        return J @ here.gradient, J @ here.hessian @ J.T + bend

    @abstractmethod
    def _with_parameter(self, z: Vector) -> Vector:
        """Coordinates z themselves, with the parameter in its place."""

    @abstractmethod
    def _without_parameter(self, z: Vector) -> Vector:
        """The inverse."""

    @abstractmethod
    def _turn(self, t: float, z: Vector, gradient: Vector, J: Matrix, bend: Matrix) -> None:
        """Fill derivatives of the entries in (w, t), and the second ones along a gradient."""


class CorrelationTarget(TurnedTarget):
    """The correlation of a structure: its angle arcsin(t)."""

    unit = 0.1

    @property
    def bounds(self) -> tuple[float, float]:
        floor, ceiling = self.likelihood.box
        return float(np.arcsin(floor[self.place])), float(np.arcsin(ceiling[self.place]))

    def _with_parameter(self, z: Vector) -> Vector:
        z[self.place] = np.arcsin(z[self.place])
        return z

    def _without_parameter(self, z: Vector) -> Vector:
        z[self.place] = np.sin(z[self.place])
        return z

    def _turn(self, t: float, z: Vector, gradient: Vector, J: Matrix, bend: Matrix) -> None:
        own = self.place
        J[own, own] = np.cos(t)
        bend[own, own] = -gradient[own] * np.sin(t)


class BelowTarget(TurnedTarget):
    """A parameter in place of L_21 of a full covariance."""

    @property
    def places(self) -> tuple[int, int, int]:
        """Where z holds L_11, L_21 and L_22 of the term."""
        return self.first, self.first + 1, self.first + self._covariance.size

    @property
    def place(self) -> int:
        return self.first + 1


class AngleTarget(BelowTarget):
    """A correlation of a full covariance: its angle."""

    unit, bounds = 0.1, (-0.5 * np.pi, 0.5 * np.pi)

    @cached_property
    def box(self) -> tuple[Vector, Vector]:
        """Bounds of w, (d,) each: a correlation keeps its sign only while L_11, tau >= 0."""
        one, two, three = self.places
        floor, ceiling = self.likelihood.box
        floor[[one, three]] = 0.0
        return np.delete(floor, two), np.delete(ceiling, two)

    def _with_parameter(self, z: Vector) -> Vector:
        _, two, three = self.places
        z[two], z[three] = np.arctan2(z[two], z[three]), np.hypot(z[two], z[three])
        return z

    def _without_parameter(self, z: Vector) -> Vector:
        _, two, three = self.places
        z[two], z[three] = z[three] * np.sin(z[two]), z[three] * np.cos(z[two])
        return z

    def _turn(self, t: float, z: Vector, gradient: Vector, J: Matrix, bend: Matrix) -> None:
        _, two, three = self.places
        sin, cos = np.sin(t), np.cos(t)
        tau = z[two] * sin + z[three] * cos
        J[two, two], J[two, three] = tau * cos, -tau * sin
        J[three, two], J[three, three] = sin, cos
        bend[two, two] = -tau * (gradient[two] * sin + gradient[three] * cos)
        bend[two, three] = bend[three, two] = gradient[two] * cos - gradient[three] * sin


class CovarianceTarget(BelowTarget):
    """A covariance of a full covariance matrix."""

    bounds = (-np.inf, np.inf)

    @property
    def unit(self) -> float:
        return float(0.1 * self.noise[self.parameter.row] * self.noise[self.parameter.column])

    def _with_parameter(self, z: Vector) -> Vector:
        one, two, _ = self.places
        z[two] *= z[one]
        return z

    def _without_parameter(self, z: Vector) -> Vector:
        one, two, _ = self.places
        z[two] /= z[one]
        return z

    def _turn(self, t: float, z: Vector, gradient: Vector, J: Matrix, bend: Matrix) -> None:
        one, two, _ = self.places
        L = z[one]
        J[two, two], J[one, two] = 1.0 / L, -t / L**2
        bend[one, one] = 2.0 * gradient[two] * t / L**3
        bend[one, two] = bend[two, one] = -gradient[two] / L**2


def variance_target(
    parameter: VarianceParameter,
    criterion: ProfiledCriterion | LaplaceCriterion,
    theta: Vector,
    sigma: float,
) -> VarianceTarget:
    """The target of a variance parameter, or of the root of one."""
    likelihood = ordered(criterion, parameter)
    target = _class_for(parameter, criterion)
    return target(parameter, likelihood, likelihood.coordinates(theta, sigma))


def _class_for(
    parameter: VarianceParameter, criterion: ProfiledCriterion | LaplaceCriterion
) -> type[VarianceTarget]:
    if parameter.term < 0:
        return SizeTarget
    match parameter.kind.root:
        case Kind.SD:
            return VarianceTarget
        case Kind.COV:
            return CovarianceTarget
    covariance = criterion.matrices.terms[parameter.term].covariance
    return CorrelationTarget if isinstance(covariance, Correlated) else AngleTarget


def ordered(
    criterion: ProfiledCriterion | LaplaceCriterion, parameter: VarianceParameter
) -> Likelihood:
    """The likelihood in factors whose leading columns are those of a parameter."""
    orders = [np.arange(term.size) for term in criterion.matrices.terms]
    if parameter.term >= 0:
        term = criterion.matrices.terms[parameter.term]
        if isinstance(term.covariance, Unstructured):
            first = dict.fromkeys((parameter.column, parameter.row))
            order = np.array([*first, *(i for i in range(term.size) if i not in first)])
            orders[parameter.term] = order
    return likelihood_of(criterion, orders)
