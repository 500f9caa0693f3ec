"""What is observed of the rows of a design: response, prior weights, known offset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from lmm._brief import Brief
from lmm._types import Frozen, IntVector, Vector, cached_property, frozen_property
from lmm.design.outcome import NUMBERS, Form

Rows = TypeVar("Rows", bound=np.ndarray)


@dataclass(frozen=True, eq=False, repr=False)
class Response(Frozen, Brief):
    """Observations of the rows of a design; nothing of it is missing.

    Attributes
    ----------
    y : (n,) array
        Response, offset not subtracted.
    weights : (n,) array
        Prior weights, all positive: the residual variance is sigma^2 / weight.
    offset : (n,) array
        Known part of the linear predictor.
    trials : (n,) array, optional
        Numbers of trials of a binomial response, where they are not the weights.
    form : Form
        How the response is written in the data.
    """

    y: Vector
    weights: Vector
    offset: Vector
    trials: Vector | None = None
    form: Form = NUMBERS

    @classmethod
    def of(cls, y: Vector, weights: Vector | None = None, offset: Vector | None = None) -> Response:
        """Response (n,) with weights of one and offsets of zero where none are given."""
        return cls(
            y,
            _constant(1.0, len(y)) if weights is None else weights,
            _constant(0.0, len(y)) if offset is None else offset,
        )

    @cached_property
    def is_weighted(self) -> bool:
        """Whether a weight is not one."""
        return self.weights.strides != (0,) and bool((self.weights != 1.0).any())

    @frozen_property
    def root(self) -> Vector:
        """Square roots of the weights, (n,)."""
        return np.sqrt(self.weights)

    def weighted(self, rows: Rows) -> Rows:
        """Rows (n,) or (n, k) times the roots of their weights: residual variances become equal."""
        if not self.is_weighted:
            return rows
        return rows * (self.root if rows.ndim == 1 else self.root[:, None])  # type: ignore[return-value]

    def standardized(self, y: Rows) -> Rows:
        """Responses (n,) or (n, r) less the offset, weighted."""
        return self.weighted(y - self._like(self.offset, y))  # type: ignore[return-value]

    def raw(self, y: Rows) -> Rows:
        """Responses (n,) or (n, r) of which `standardized` makes y."""
        return y / self._like(self.root, y) + self._like(self.offset, y)  # type: ignore[return-value]

    @staticmethod
    def _like(values: Vector, rows: np.ndarray) -> Vector:
        return values if rows.ndim == 1 else values[:, None]

    def within(self, rows: slice) -> Response:
        """The observations of a range of rows, which shares their memory."""
        return Response(self.y[rows], self.weights[rows], self.offset[rows], None, self.form)

    def at_rows(self, rows: IntVector) -> Response:
        """The observations of some rows."""
        trials = None if self.trials is None else self.trials[rows]
        return Response(self.y[rows], self.weights[rows], self.offset[rows], trials, self.form)


def _constant(value: float, n: int) -> Vector:
    """A value for each row (n,), which takes the memory of one."""
    return np.ndarray((n,), np.float64, np.array(value), strides=(0,))
