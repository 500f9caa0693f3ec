"""What an optimizer minimizes: a function of covariances, and of plain coordinates beside them.

The coordinates x (d,) are first the m parameters of the whitened covariances that `Parameters`
knows, then d - m plain ones (fixed effects and shapes, where they are not profiled out). For
covariances a criterion gives its derivatives along the units of ``Gamma = lambda lambda'``
(`Evaluation`); an optimizer moves them in coordinates of its own (`lmm.optimize.charts`), and plain
coordinates as they are.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lmm._lapack import eigh
from lmm._types import Matrix, Vector
from lmm.covariance import Parameters, parameters_of
from lmm.design.labels import by_name


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A criterion with its derivatives at one point.

    Attributes
    ----------
    value : float
        The criterion.
    gradient, hessian : (d,) and (d, d) arrays
        Derivatives with respect to x: parameters of covariances, then the plain coordinates.
    score, curvature, information : (w,), (w, w) and (w, w) arrays
        Gradient, Hessian and expected Hessian with respect to the relative covariances
        ``Gamma* = lambda* lambda*'``, along their e units (`Parameters.units`), then the plain
        coordinates.
    log_variance : (w,) array
        Derivative of ``-log(sigma^2)`` by the same, where sigma is profiled out; else zero.
    slopes : tuple of (k_i, k_i) arrays
        Derivative of the criterion in each term's Gamma*.
    exact : bool
        Whether `hessian` is exact, or made with the average information, and `information`
        approximate (see `lmm.pls.base.Derivatives`).
    rounding : float
        Size of the rounding errors in `value`, where they are known to be large.
    kept : object
        What was computed for it, where that is little: a `state` that costs no other value.
    """

    value: float
    gradient: Vector
    hessian: Matrix
    score: Vector
    curvature: Matrix
    information: Matrix
    log_variance: Vector
    slopes: tuple[Matrix, ...]
    exact: bool
    rounding: float
    kept: object = field(default=None, kw_only=True, repr=False)

    @classmethod
    def plain(
        cls,
        value: float,
        gradient: Vector,
        hessian: Matrix,
        information: Matrix | None = None,
        exact: bool = True,
    ) -> Evaluation:
        """An evaluation in plain coordinates alone.

        Parameters
        ----------
        value, gradient, hessian : float, (d,) and (d, d) arrays
            The function and its derivatives.
        information : (d, d) array, optional
            What sizes of steps are measured with, positive semidefinite; by default the Hessian
            with the absolute values of its eigenvalues.
        exact : bool
            Whether the Hessian is exact.
        """
        if information is None:
            information = _absolute(hessian)
        zero = np.zeros(len(gradient))
        return cls(value, gradient, hessian, gradient, hessian, information, zero, (), exact, 0.0)

    @property
    def state(self) -> object:
        """What the criterion can go on from at its point, if it is kept; see `Resumable`."""
        return None

    def share(self, change: Vector) -> float:
        """Share of a step that the quadratic model can be trusted with, at most 1.

        Parameters
        ----------
        change : (w,) array
            Change of Gamma*, in its units, and of the plain coordinates, to first order.
        """
        return 1.0


# Eigenvalues of a Hessian, scaled to a unit diagonal, of this size measure no steps.
FLAT = 1e-4


def _absolute(hessian: Matrix) -> Matrix:
    """The matrix (d, d) with absolute eigenvalues, `FLAT` or more, where its diagonal is 1."""
    size = np.sqrt(np.abs(np.diag(hessian)))
    size[size == 0.0] = 1.0
    values, vectors = eigh(hessian / (size * size[:, None]))
    values = np.maximum(np.abs(values), FLAT)
    return np.asarray((vectors * values) @ vectors.T * size * size[:, None])


@dataclass(frozen=True, eq=False)
class Move:
    """How a search came to a point: what a criterion with an inner iteration starts that from.

    Attributes
    ----------
    origin : Evaluation
        The point before.
    change : (w,) array
        Change of Gamma*, in its units, and of the plain coordinates, to first order.
    promise : float
        Decrease of the criterion that the quadratic model predicts.
    """

    origin: Evaluation
    change: Vector
    promise: float


class Criterion(Protocol):
    """A function to be minimized, with its derivatives."""

    @property
    def parameters(self) -> Parameters:
        """Structures of the covariances that the first m coordinates fill."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the d coordinates."""

    @property
    def lower(self) -> Vector:
        """Lower bounds of the coordinates, (d,): 0 on diagonals of factors, else mostly -inf."""

    @property
    def upper(self) -> Vector:
        """Upper bounds of the coordinates, (d,): mostly inf."""

    @property
    def description(self) -> str:
        """How it is computed, one line."""

    @property
    def dense_size(self) -> int:
        """Columns of the largest dense matrix that is factored; decides the BLAS threads."""

    def starts(self) -> Iterable[Vector]:
        """Points (d,) to search from.

        Where the search from the first ends in doubt (on the boundary, or at a minimum that is
        not like the expected one), another is made from the second, and one from that of the rest
        which lies lowest, if it lies below what was found.
        """

    def value(self, x: Vector) -> float:
        """The criterion at x (d,)."""

    def evaluate(self, x: Vector, move: Move | None = None) -> Evaluation:
        """The criterion with its derivatives at x (d,), where a search came to by `move`."""

    def undetermined(self, x: Vector, here: Evaluation) -> NDArray[np.bool_]:
        """Coordinates (d,) that can change together without changing the criterion anywhere.

        The evaluation at an x (d,), whichever, may tell that there are none.
        """

    def fits_exactly(self, x: Vector) -> bool:
        """Whether nothing of the data is left as a residual at x (d,), but rounding errors."""

    def endless(self, x: Vector, here: Evaluation) -> tuple[str, Mapping[str, float]] | None:
        """Why there is no optimum, though the search ended at x (d,), if that is known.

        The name of a verdict, and the parameters that it is about with their signs at infinity, 0
        where they stay finite.
        """

    def to_x(self, theta: Vector) -> Vector:
        """Coordinates x of parameters theta (d,) on the users' scale."""

    def to_theta(self, x: Vector) -> Vector:
        """Parameters on the users' scale of coordinates x (d,)."""


class Resumable(ABC):
    """A criterion that hands on what it has computed at the last point of a search."""

    @abstractmethod
    def value_and_state(self, x: Vector, move: Move | None = None) -> tuple[float, object]:
        """The criterion at x (d,), where a search came to by `move`, if that is known.

        With what it can go on from there; None if that is little.
        """


class Completed(ABC):
    """A criterion that computes the exact Hessian where a search ends, and not on the way."""

    @abstractmethod
    def exact(self, here: Any) -> Any:
        """An evaluation of this criterion with its exact Hessian; itself if it has that."""


class Estimated(ABC):
    """A criterion that is estimated where it would be too dear to compute."""

    @property
    @abstractmethod
    def is_estimated(self) -> bool:
        """Whether it is."""

    @abstractmethod
    def errors(self, x: Vector, hessian: Matrix, state: object) -> tuple[float, Vector]:
        """Standard errors of its value and of the parameters (d,) of its minimum, due to that.

        Parameters
        ----------
        x : (d,) array
            The minimum.
        hessian : (d, d) array
            Hessian there, zero in coordinates that are fixed.
        state : object
            What was computed at x, if it is kept; see `Resumable`.
        """


def checked_start(criterion: Criterion, theta: Any) -> Vector:
    """Parameters on the users' scale as a float array of the right length.

    A Series or mapping gives them by name; a mapping with the only key ``"theta"`` is R's list.

    Raises
    ------
    ValueError
        The length is not the number of parameters, or a value is no number or not finite.
    """
    names = criterion.names
    if isinstance(theta, Mapping) and "theta" in theta:  # R's list(theta = ...)
        others = [str(name) for name in theta if name != "theta"]
        if others:
            raise ValueError(f"start holds theta only: leave out {', '.join(others)}.")
        theta = theta["theta"]
    given = by_name(theta, names, "theta")
    try:
        theta = np.atleast_1d(np.asarray(given, dtype=np.float64))
    except (TypeError, ValueError):
        raise ValueError(
            f"start must hold numbers, for {', '.join(names)}, not {given!r}."
        ) from None
    if theta.shape != (len(names),):
        kind = "covariance " if len(names) == len(criterion.parameters.lower) else ""
        raise ValueError(
            f"theta has shape {theta.shape}, but the model has {len(names)} {kind}parameters: "
            f"{', '.join(names)}."
        )
    if not np.isfinite(theta).all():
        name = names[int(np.argmin(np.isfinite(theta)))]
        raise ValueError(f"theta must be finite, but {name} is {theta[~np.isfinite(theta)][0]}.")
    return np.asarray(theta)


@dataclass(frozen=True, eq=False)
class PlainCriterion:
    """A function of plain coordinates as a criterion: a likelihood of one's own.

    Parameters
    ----------
    function : callable
        Gives value, gradient (d,) and Hessian (d, d) at x (d,).
    start : (d,) array
        Where to begin.
    labels : tuple of str, optional
        Names of the coordinates; ``x1``, ``x2``, ... by default.
    least, most : (d,) array, optional
        Lower and upper bounds of the coordinates; none by default.

    Examples
    --------
    >>> import numpy as np
    >>> import lmm
    >>> def cosh(x):
    ...     return np.cosh(x).sum(), np.sinh(x), np.diag(np.cosh(x))
    >>> optimum = lmm.minimize(lmm.PlainCriterion(cosh, np.array([3.0, -1.0])))
    >>> float(optimum.value), optimum.converged
    (2.0, True)
    """

    function: Callable[[Vector], Any]
    start: Vector
    labels: tuple[str, ...] = ()
    least: Vector | None = None
    most: Vector | None = None

    description = "a function of plain coordinates"
    dense_size = 0
    parameters = parameters_of(())

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the coordinates."""
        return self.labels or tuple(f"x{i + 1}" for i in range(len(self.start)))

    @property
    def lower(self) -> Vector:
        """Lower bounds of the coordinates, (d,)."""
        return np.full(len(self.start), -np.inf) if self.least is None else self.least

    @property
    def upper(self) -> Vector:
        """Upper bounds of the coordinates, (d,)."""
        return np.full(len(self.start), np.inf) if self.most is None else self.most

    def starts(self) -> tuple[Vector, ...]:
        """The start."""
        return (np.asarray(self.start, dtype=float),)

    def value(self, x: Vector) -> float:
        """The function at x (d,)."""
        return float(self.function(x)[0])

    def evaluate(self, x: Vector, move: Move | None = None) -> Evaluation:
        """The function with its derivatives at x (d,)."""
        value, gradient, hessian = self.function(x)
        return Evaluation.plain(float(value), np.asarray(gradient), np.asarray(hessian))

    def undetermined(self, x: Vector, here: Evaluation) -> NDArray[np.bool_]:
        """Coordinates in which the function has no curvature: no step can be told."""
        return np.asarray(~here.hessian.any(axis=0))

    def fits_exactly(self, x: Vector) -> bool:
        """False: there are no data."""
        return False

    def endless(self, x: Vector, here: Evaluation) -> tuple[str, Mapping[str, float]] | None:
        """None: nothing is known of the function elsewhere."""
        return None

    def to_x(self, theta: Vector) -> Vector:
        """The coordinates themselves."""
        return np.asarray(theta)

    def to_theta(self, x: Vector) -> Vector:
        """The coordinates themselves."""
        return x
