"""What a table of estimates shows, and on which scale."""

from __future__ import annotations

from dataclasses import dataclass, field

from lmm.errors import nearest
from lmm.inference.marginal.hypothesis import Hypothesis

# Scales on which means of a transformed response are shown.
TYPES = ("link", "response")


def checked_type(type: str) -> str:
    """The name of a scale.

    Raises
    ------
    ValueError
        There is none of that name.
    """
    if type not in TYPES:
        raise ValueError(f"unknown type {type!r}.{nearest(type, TYPES)}")
    return type


@dataclass(frozen=True)
class Shown:
    """What a table of estimates shows.

    Attributes
    ----------
    intervals, tests : bool
        Whether confidence intervals, and tests, are shown.
    adjustment : str
        How p-values and intervals are adjusted for the rows of a group.
    crossed : str
        How p-values are adjusted further across corresponding rows of the groups.
    level : float
        Coverage of the intervals.
    hypothesis : Hypothesis
        What is tested.
    on_response : bool
        Whether estimates are shown on the response's own scale.
    sigma : float
        Standard deviation for which means on the response's scale are freed from bias; 0 for none.
    scatter : float
        Standard deviation about its mean of the new observation that intervals are for; 0 for the
        mean itself.
    """

    intervals: bool = True
    tests: bool = False
    adjustment: str = "none"
    crossed: str = "none"
    level: float = 0.95
    hypothesis: Hypothesis = field(default_factory=Hypothesis)
    on_response: bool = False
    sigma: float = 0.0
    scatter: float = 0.0
