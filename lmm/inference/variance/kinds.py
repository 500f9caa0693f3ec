"""Kinds of parameters, and the coordinates in which they are profiled."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import TypeAlias

import numpy as np

from lmm._types import Vector

Map: TypeAlias = Callable[[Vector], Vector]


class Kind(StrEnum):
    """What a parameter is, by the name that users see."""

    SD = "sd"
    COR = "cor"
    VAR = "var"
    COV = "cov"
    SIGMA = "sigma"
    SIGMA_SQUARED = "sigma^2"
    THETA = "theta"
    BETA = "beta"
    LOG_SD = "log sd"
    LOG_SIGMA = "log sigma"

    __repr__ = str.__repr__

    @property
    def root(self) -> Kind:
        """What is profiled in its place: standard deviations instead of variances."""
        return {Kind.VAR: Kind.SD, Kind.SIGMA_SQUARED: Kind.SIGMA}.get(self, self)

    def from_working(self, t: Vector) -> Vector:
        """Values of a parameter at its working coordinates."""
        with np.errstate(divide="ignore"):
            return np.asarray(_WORKING[self][0](t)) if self in _WORKING else t

    def to_working(self, values: Vector) -> Vector:
        """Working coordinates of values: the inverse of `from_working`."""
        return np.asarray(_WORKING[self][1](values)) if self in _WORKING else values


# Values of parameters at their working coordinates, and the way back; others are the same.
_WORKING: dict[Kind, tuple[Map, Map]] = {
    Kind.COR: (np.sin, np.arcsin),
    Kind.VAR: (np.square, np.sqrt),
    Kind.LOG_SD: (np.log, np.exp),
    Kind.SIGMA: (np.exp, np.log),
    Kind.THETA: (np.exp, np.log),
    Kind.SIGMA_SQUARED: (lambda t: np.exp(2.0 * t), lambda values: np.log(values) / 2.0),
}
