"""Diagnostics of a fit: residuals, leverages, influence, convergence."""

from lmm.diagnostics.attempts import Attempt, fit_with_each
from lmm.diagnostics.convergence import ConvergenceCheck, check_convergence
from lmm.diagnostics.influence import Influence, influence
from lmm.diagnostics.leverage import (
    cooks_distance,
    fixed_leverages,
    leverages,
    residuals,
    standardized_residuals,
)
from lmm.diagnostics.simulated import SimulatedResiduals, simulated_residuals

__all__ = [
    "Attempt",
    "ConvergenceCheck",
    "Influence",
    "SimulatedResiduals",
    "check_convergence",
    "cooks_distance",
    "fit_with_each",
    "fixed_leverages",
    "influence",
    "leverages",
    "residuals",
    "simulated_residuals",
    "standardized_residuals",
]
