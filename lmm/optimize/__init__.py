"""Minimizing criteria: one Newton, other searches beside it, and a certificate of the result."""

from lmm.optimize.minimize import OPTIMIZERS, minimize, minimize_near, named, reporter, silent
from lmm.optimize.newton import Report, value_at
from lmm.optimize.optimizers import Optimizer
from lmm.optimize.point import Point
from lmm.optimize.scoring import FisherScoring
from lmm.optimize.searches import COBYQA, LBFGSB, NelderMead
from lmm.optimize.status import Optimum, Status

__all__ = [
    "COBYQA",
    "LBFGSB",
    "OPTIMIZERS",
    "FisherScoring",
    "NelderMead",
    "Optimizer",
    "Optimum",
    "Point",
    "Report",
    "Status",
    "minimize",
    "minimize_near",
    "named",
    "reporter",
    "silent",
    "value_at",
]
