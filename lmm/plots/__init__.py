"""Plots of a fitted model (matplotlib, the ``plot`` extra).

Every function draws on one Axes, which it makes unless it is given, and returns it; `check_model`,
`check_simulated` and `bootstrap` return a figure of several.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from lmm.plots.bands import predictions
from lmm.plots.check import check_model
from lmm.plots.coefficients import coefficients
from lmm.plots.correlation import correlation
from lmm.plots.deletion_plot import influence
from lmm.plots.histograms import bootstrap
from lmm.plots.lines import fitted_lines
from lmm.plots.modes import caterpillar, qq_random_effects, shrinkage
from lmm.plots.power_curve import power
from lmm.plots.residuals import (
    binned_residuals,
    check_simulated,
    qq_residuals,
    residuals_vs_fitted,
    simulated,
    simulated_vs_predicted,
)

if TYPE_CHECKING:
    from lmm.tables.emmeans.effect_plot import effect
else:

    def __getattr__(name):
        # What draws marginal means stands with them, above the plain drawings.
        if name == "effect":
            return import_module("lmm.tables.emmeans.effect_plot").effect
        raise AttributeError(f"module 'lmm.plots' has no attribute {name!r}{_hint(name)}")

    def _hint(name):
        from difflib import get_close_matches

        from lmm._elsewhere import PLOTS

        if name in PLOTS:
            return f": write {PLOTS[name]}"
        return "".join(f": did you mean {one!r}?" for one in get_close_matches(name, __all__, 1))


__all__ = [
    "binned_residuals",
    "bootstrap",
    "caterpillar",
    "check_model",
    "check_simulated",
    "coefficients",
    "correlation",
    "effect",
    "fitted_lines",
    "influence",
    "power",
    "predictions",
    "qq_random_effects",
    "qq_residuals",
    "residuals_vs_fitted",
    "shrinkage",
    "simulated",
    "simulated_vs_predicted",
]
