"""What is minimized: criteria of covariances, and of plain coordinates beside them."""

from lmm.criterion.base import (
    Completed,
    Criterion,
    Estimated,
    Evaluation,
    Move,
    PlainCriterion,
    Resumable,
)
from lmm.criterion.profiled import ProfiledCriterion

__all__ = [
    "Completed",
    "Criterion",
    "Estimated",
    "Evaluation",
    "Move",
    "PlainCriterion",
    "ProfiledCriterion",
    "Resumable",
]
