"""A point of a search, and what tells whether it is a minimum."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lmm._lapack import eigh
from lmm._types import Matrix, Vector, cached_property
from lmm.criterion import Completed, Criterion, Evaluation, Move
from lmm.optimize.charts import LocalModel

# Inside the bounds a Hessian tells all, if its eigenvalues are above this fraction of the largest
# (or of 1, where that is more: near zero they are rounding errors).
REGULAR = 1e-6
# Directions of which the information, over the Hessian, is below this fraction of the largest say
# nothing.
UNKNOWN = 1e-10
# Curvature at a minimum, relative to the expected one, that is nothing unusual.
EXPECTED = (0.1, 5.0)


@dataclass(frozen=True, eq=False)
class Point:
    """Coordinates with the criterion and its derivatives there.

    Attributes
    ----------
    criterion : Criterion
        The criterion.
    x : (d,) array
        Coordinates.
    here : Evaluation
        Value and derivatives.
    """

    criterion: Criterion
    x: Vector
    here: Evaluation

    @classmethod
    def at(cls, criterion: Criterion, x: Vector, move: Move | None = None) -> Point:
        """Evaluate the criterion at x (d,), where a search came to by `move`."""
        return cls(criterion, x, criterion.evaluate(x, move))

    @property
    def value(self) -> float:
        """The criterion."""
        return self.here.value

    def completed(self) -> Point:
        """The point with the exact Hessian, where the criterion keeps that for a search's end."""
        criterion = self.criterion
        if self.here.exact or not isinstance(criterion, Completed):
            return self
        return Point(criterion, self.x, criterion.exact(self.here))

    @cached_property
    def model(self) -> LocalModel:
        """Quadratic model in the local coordinates of the covariances."""
        return LocalModel.at(self.criterion, self.x, self.here)

    @cached_property
    def free(self) -> NDArray[np.bool_]:
        """Components, (d,), that are on no bound.

        Those of covariances are bound in a column of lambda* that is zero altogether.
        """
        parameters = self.criterion.parameters
        m = len(parameters.lower)
        if m == len(self.x):
            return parameters.is_free(self.x)
        x, slope = self.x[m:], self.here.gradient[m:]
        lower, upper = self.criterion.lower[m:], self.criterion.upper[m:]
        plain = ((x > lower) | (slope < 0.0)) & ((x < upper) | (slope > 0.0))
        return np.append(parameters.is_free(self.x[:m]), plain)

    @cached_property
    def is_free(self) -> bool:
        """Whether all components are on no bound."""
        return bool(self.free.all())

    @cached_property
    def spectrum(self) -> tuple[Vector, Matrix]:
        """Eigenvalues, ascending, and eigenvectors of the Hessian in the free components."""
        hessian = self.here.hessian
        return eigh(hessian if self.is_free else hessian[self.free][:, self.free])

    @cached_property
    def is_regular(self) -> bool:
        """Whether all components are free, and the criterion is clearly convex in them.

        Then Newton's step in x itself will do; elsewhere x has directions that say nothing, and
        plain coordinates have units.
        """
        if len(self.x) > len(self.criterion.parameters.lower) or not self.is_free:
            return False
        values, _ = self.spectrum
        return bool(values[0] > REGULAR * max(values[-1], 1.0))

    @cached_property
    def is_doubtful(self) -> bool:
        """Whether there may well be another minimum.

        That is where a variance is zero, or the curvature is far from the expected one.
        """
        parameters = self.criterion.parameters
        if parameters.on_boundary(self.x[: len(parameters.lower)]).any():
            return True
        values = self._regular_curvatures() if self.is_regular else self._curvatures()
        return bool(((values < EXPECTED[0]) | (values > EXPECTED[1])).any())

    def _curvatures(self) -> Vector:
        """Eigenvalues of the Hessian relative to the information, where the data know of one."""
        values, directions = self.model.spectrum
        moved = self.model.information @ directions
        # What the data know nothing of has a curvature that says nothing.
        return np.asarray(values[np.einsum("ij,ij->j", directions, moved) > 0.5])

    def _regular_curvatures(self) -> Vector:
        """The same without charts: at a stationary point it does not depend on coordinates."""
        values, directions = self.spectrum
        J = self.criterion.parameters.jacobian(self.x) @ (directions / np.sqrt(values))
        sizes, _ = eigh(J.T @ self.here.information @ J)
        return np.asarray(1.0 / sizes[sizes > UNKNOWN * sizes[-1]])

    @cached_property
    def newton_move(self) -> tuple[Vector, Move | None]:
        """Where a full Newton step ends, (d,), and how it goes there, unless that is plain."""
        if not self.is_regular:
            model = self.model
            target, taken = model.follow(model.newton_step())
            return target, Move(self.here, model.jacobian @ taken, self.decrement)
        values, directions = self.spectrum
        target = self.x - directions @ ((directions.T @ self.here.gradient) / values)
        return np.clip(target, self.criterion.lower, self.criterion.upper), None

    @cached_property
    def decrement(self) -> float:
        """Decrease of the criterion that a full Newton step promises, g'H^-1 g / 2."""
        if not self.is_regular:
            return self.model.decrement
        values, directions = self.spectrum
        along = directions.T @ self.here.gradient
        return 0.5 * float(along @ (along / values))
