"""What an optimizer is: a frozen object with its own validated options."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from lmm._types import Vector
from lmm.criterion import Criterion
from lmm.optimize.newton import Report
from lmm.optimize.point import Point


@dataclass(frozen=True, eq=False)
class Path:
    """What an optimizer returns.

    Attributes
    ----------
    point : Point
        The best point.
    n_evaluations : int
        Evaluations used.
    exhausted : bool
        Whether the limit on evaluations ended it.
    """

    point: Point
    n_evaluations: int
    exhausted: bool


class Optimizer(Protocol):
    """Moves the coordinates of a criterion from a start to a minimum."""

    @property
    def name(self) -> str:
        """Name shown to users."""

    def run(self, criterion: Criterion, start: Vector, report: Report) -> Path:
        """Minimize from `start` (d,); call ``report(i, value, x)`` after each evaluation."""


@dataclass(frozen=True)
class Limited:
    """Options that all optimizers have.

    Raises
    ------
    ValueError
        One is not positive.
    """

    max_evaluations: int
    tolerance: float

    def __post_init__(self) -> None:
        for name in ("max_evaluations", "tolerance"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)!r}.")
