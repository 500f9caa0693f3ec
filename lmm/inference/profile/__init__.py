"""Profile likelihood of every parameter."""

from __future__ import annotations

from lmm.inference.profile.criterion_curve import CriterionCurve, criterion_curve
from lmm.inference.profile.curves import (
    ProfileCurve,
    from_working,
    profile_curves,
    to_working,
)

__all__ = [
    "CriterionCurve",
    "ProfileCurve",
    "criterion_curve",
    "from_working",
    "profile_curves",
    "to_working",
]
