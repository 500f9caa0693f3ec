"""What is tested of an estimate: a value, from which side, and up to which threshold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lmm._types import Vector
from lmm.errors import nearest

SIDES: dict[str | int, int] = {
    **dict.fromkeys(("two-sided", "both", "!=", "=", "equivalence", 0, 2), 0),
    **dict.fromkeys((">", "right", "greater", "noninferiority", "superiority", "+", 1), 1),
    **dict.fromkeys(("<", "left", "less", "nonsuperiority", "inferiority", "-", -1), -1),
}


@dataclass(frozen=True)
class Hypothesis:
    """A test of estimates.

    Attributes
    ----------
    null : float
        Value under the hypothesis.
    side : {-1, 0, 1}
        Alternatives: smaller, either, or larger values.
    delta : float
        Threshold of a test of nonsuperiority, equivalence or noninferiority; 0 for others.
    """

    null: float = 0.0
    side: int = 0
    delta: float = 0.0

    @classmethod
    def of(cls, null: float, side: str | int, delta: float) -> Hypothesis:
        """The hypothesis, with a side by name.

        Raises
        ------
        ValueError
            The side is unknown or the threshold negative.
        """
        if side not in SIDES:
            raise ValueError(f"unknown side {side!r}.{nearest(str(side), map(str, SIDES))}")
        if not 0.0 <= delta < np.inf:
            raise ValueError(f"delta must be a threshold, at least 0, not {delta!r}.")
        return cls(float(null), SIDES[side], float(delta))

    @property
    def tail(self) -> int:
        """Tail of the statistic's distribution that counts; 0 for both."""
        return -1 if self.is_equivalence else self.side

    @property
    def is_equivalence(self) -> bool:
        """Whether a difference within the threshold is the alternative."""
        return self.delta > 0.0 and self.side == 0

    def statistics(self, estimate: Vector, std_error: Vector) -> Vector:
        """Test statistics (r,) of estimates (r,)."""
        excess = estimate - self.null
        if self.is_equivalence:
            return np.asarray((np.abs(excess) - self.delta) / std_error)
        return (excess + self.side * self.delta) / std_error

    def descriptions(self) -> list[str]:
        """What is said below a table of tests."""
        lines = []
        if self.delta:
            kind = {-1: "nonsuperiority", 0: "equivalence", 1: "noninferiority"}[self.side]
            lines.append(f"Statistics are tests of {kind} with a threshold of {self.delta:g}")
        if self.tail:
            lines.append(f"P values are {'right' if self.tail > 0 else 'left'}-tailed")
        return lines
