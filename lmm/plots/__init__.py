"""Plots of a fitted model (matplotlib, the ``plot`` extra).

Every function draws on one Axes, which it makes unless it is given, and returns it.
"""

from lmm.plots.correlation import correlation
from lmm.plots.deletion import influence
from lmm.plots.lines import fitted_lines
from lmm.plots.random_effects import caterpillar, qq_random_effects, shrinkage
from lmm.plots.residuals import qq_residuals, residuals_vs_fitted

__all__ = [
    "caterpillar",
    "correlation",
    "fitted_lines",
    "influence",
    "qq_random_effects",
    "qq_residuals",
    "residuals_vs_fitted",
    "shrinkage",
]
