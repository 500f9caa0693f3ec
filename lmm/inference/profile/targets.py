"""What is profiled: a parameter as a coordinate, and the likelihood of all others at its values.

A standard deviation is a coordinate of the likelihood itself, the leading entry of a Cholesky
factor; a correlation ``sin(phi)`` is an angle, with ``L_21 = tau sin(phi), L_22 = tau cos(phi)``; a
covariance c has ``L_21 = c / L_11``. Fixed effects have a file of their own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Protocol, Self

import numpy as np

from lmm._types import Matrix, Vector
from lmm.covariance import Correlated, Diagonal, Unstructured
from lmm.criterion import ProfiledCriterion
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
    def kind(self) -> str:
        """``sd``, ``cor``, ``cov``, ``sigma`` or ``beta``."""

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
    def exactly(self) -> Self | None:
        """The same with exact Hessians, at a price; None where there is none."""

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
    """A standard deviation, a correlation, a covariance or sigma.

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

    @classmethod
    def of(
        cls,
        parameter: VarianceParameter,
        criterion: ProfiledCriterion | LaplaceCriterion,
        theta: Vector,
        sigma: float,
    ) -> VarianceTarget:
        """Order the columns so that the parameter is a coordinate."""
        likelihood = ordered(criterion, parameter)
        return cls(parameter, likelihood, likelihood.coordinates(theta, sigma))

    @property
    def name(self) -> str:
        """R's name."""
        return self.parameter.name

    @property
    def kind(self) -> str:
        """``sd``, ``cor``, ``cov`` or ``sigma``."""
        return self.parameter.kind

    @property
    def bounds(self) -> tuple[float, float]:
        """Range of t: the sd itself, the angle of a correlation, a covariance, log of a size."""
        if self.kind == "cor":
            lower, upper = self._correlation_bounds
            return float(np.arcsin(lower)), float(np.arcsin(upper))
        if self.kind == "sigma":
            return float(self.estimate[-1]) - NOTHING, np.inf
        if self.kind == "theta":
            return float(self.estimate[-1]) - NOTHING, float(self.estimate[-1]) + NOTHING
        return (0.0 if self.kind == "sd" else -np.inf), np.inf

    @property
    def _correlation_bounds(self) -> tuple[float, float]:
        if self._structure is None:
            return -1.0, 1.0
        own = self.place - self._part.start
        return float(self._structure.lower[own]), float(self._structure.upper[own])

    @property
    def _part(self) -> slice:
        """Where z holds the parameters of the term."""
        return self.likelihood.criterion.matrices.theta_slices[self.parameter.term]

    @property
    def _structure(self) -> Correlated | None:
        """The term's structure, if standard deviations and correlations are its parameters."""
        if self.parameter.term < 0:
            return None
        covariance = self.likelihood.criterion.matrices.terms[self.parameter.term].covariance
        return covariance if isinstance(covariance, Correlated) else None

    @cached_property
    def unit(self) -> float:
        """A first step: a tenth of the noise of a level's own mean; small angles."""
        if self.parameter.term < 0 or self.kind == "cor":
            return 0.1
        R = self.likelihood.whitening[self.parameter.term]
        noise = self.likelihood.noise(self.estimate) / np.sqrt(np.einsum("ij,ij->j", R, R))
        i, j = self.parameter.row, self.parameter.column
        return float(0.1 * (noise[i] if self.kind == "sd" else noise[i] * noise[j]))

    @cached_property
    def places(self) -> tuple[int, int, int]:
        """Where z holds L_11, L_21 and L_22 of the term (L_11 alone for other kinds)."""
        if self.parameter.term < 0:
            return (len(self.estimate) - 1,) * 3
        part = self._part
        covariance = self.likelihood.criterion.matrices.terms[self.parameter.term].covariance
        if self._structure is not None:
            return (
                part.start + self._structure.place(self.parameter.row, self.parameter.column),
            ) * 3
        if isinstance(covariance, Diagonal):
            return (part.start + self.parameter.row,) * 3
        return part.start, part.start + 1, part.start + covariance.size

    @property
    def place(self) -> int:
        return self.places[1 if self.kind in ("cor", "cov") else 0]

    @cached_property
    def box(self) -> tuple[Vector, Vector]:
        """Bounds of w, (d,) each: none but for structures, where they are those of the parameters.

        A correlation of a full covariance keeps its sign only while L_11, tau >= 0.
        """
        floor, ceiling = self.likelihood.box
        if self.kind == "cor" and self._structure is None:
            one, _, three = self.places
            floor[[one, three]] = 0.0
        return np.delete(floor, self.place), np.delete(ceiling, self.place)

    @property
    def start(self) -> tuple[float, Vector]:
        z = self.estimate.copy()
        one, two, three = self.places
        if self.kind == "cor" and self._structure is not None:
            z[two] = np.arcsin(z[two])
        elif self.kind == "cor":
            z[two], z[three] = (
                np.arctan2(z[two], z[three]),
                np.hypot(z[two], z[three]),
            )
        elif self.kind == "cov":
            z[two] *= z[one]
        return float(z[self.place]), np.delete(z, self.place)

    def _entries(self, t: float, w: Vector) -> Vector:
        z = np.insert(w, self.place, t)
        one, two, three = self.places
        if self.kind == "cor" and self._structure is not None:
            z[two] = np.sin(t)
        elif self.kind == "cor":
            z[two], z[three] = z[three] * np.sin(t), z[three] * np.cos(t)
        elif self.kind == "cov":
            z[two] = t / z[one]
        return z

    @property
    def exactly(self) -> Self | None:
        """The same with exact Hessians."""
        return replace(self, likelihood=replace(self.likelihood, always_exact=True))

    def _derivatives(self, t: float, z: Vector, here: Taylor) -> tuple[Vector, Matrix]:
        J, bend = self._chain(t, z, here.gradient)
        return J @ here.gradient, J @ here.hessian @ J.T + bend

    def _chain(self, t: float, z: Vector, gradient: Vector) -> tuple[Matrix, Matrix]:
        """Derivative of the entries in (w, t), and the second ones contracted with a gradient."""
        J, bend = np.eye(len(z)), np.zeros((len(z), len(z)))
        one, two, three = self.places
        if self.kind == "cor" and self._structure is not None:
            J[two, two] = np.cos(t)
            bend[two, two] = -gradient[two] * np.sin(t)
        elif self.kind == "cor":
            sin, cos = np.sin(t), np.cos(t)
            tau = z[two] * sin + z[three] * cos
            J[two, two], J[two, three] = tau * cos, -tau * sin
            J[three, two], J[three, three] = sin, cos
            bend[two, two] = -tau * (gradient[two] * sin + gradient[three] * cos)
            bend[two, three] = bend[three, two] = gradient[two] * cos - gradient[three] * sin
        elif self.kind == "cov":
            L = z[one]
            J[two, two], J[one, two] = 1.0 / L, -t / L**2
            bend[one, one] = 2.0 * gradient[two] * t / L**3
            bend[one, two] = bend[two, one] = -gradient[two] / L**2
        return J, bend


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
