"""Results as text in R's form, as HTML and as labelled tables."""

from lmm.report.random_effects import Coefficients, PrincipalComponents, RandomEffects
from lmm.report.summary import ConvergenceReport, FitReport, Summary
from lmm.report.varcorr import VarCorr, variance_components

__all__ = [
    "Coefficients",
    "ConvergenceReport",
    "FitReport",
    "PrincipalComponents",
    "RandomEffects",
    "Summary",
    "VarCorr",
    "variance_components",
]
