"""The assumptions of a model at a glance."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lmm.diagnostics.leverage import residuals
from lmm.diagnostics.studentized import standardized
from lmm.fitted import Fitted, ReportedModel
from lmm.plain_fit import PlainFit
from lmm.plots.canvas import ACCENT, FAINT, INK, MOST, group_of, name_highest, subplots
from lmm.plots.modes import qq_random_effects
from lmm.plots.residuals import qq_residuals, residuals_vs_fitted
from lmm.simulate import simulate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


# Responses that are simulated beside the observed one.
DRAWS = 20


def check_model(m: ReportedModel, seed: int = 0) -> Figure:
    """Six pictures of what a model assumes.

    Observed responses among simulated ones; residuals against fitted values, and their size,
    whose line should be level; quantiles of residuals and of the first grouping factor's random
    effects, or residuals against leverages where there are none; Cook's distances.

    Parameters
    ----------
    m : LinearMixedModel or GeneralizedMixedModel
        The model.
    seed : int
        Seed of the simulated responses.

    Returns
    -------
    Figure
        A notebook shows it once.

    Examples
    --------
    >>> import lmm, lmm.plots
    >>> m = lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))
    >>> figure = lmm.plots.check_model(m)
    >>> [ax.get_title() for ax in figure.axes][:3]
    ['Observed and simulated', 'Residuals', 'Size of residuals']
    """
    figure, grid = subplots(2, 3, figsize=(12.0, 7.0))
    simulated, spread, size, normal, effects, distances = grid.flat
    _simulated(simulated, m, seed)
    residuals_vs_fitted(m, ax=spread).set_title("Residuals")
    _size(size, m)
    qq_residuals(m, ax=normal).set_title("Quantiles of residuals")
    if isinstance(m.fit, PlainFit):
        _leverages(effects, m.fit)
    else:
        qq_random_effects(m, ax=effects).set_title(f"Random effects of {group_of(m, None)}")
    _distances(distances, m)
    return figure


def _simulated(ax: Axes, m: Fitted, seed: int) -> None:
    """Shares of the response's values, observed and drawn."""
    matrices = m.fit.matrices
    drawn = simulate(m.fit, DRAWS, seed, re_form="~0").to_numpy(float)
    y = matrices.frame.pad(matrices.y)
    y, drawn = y[np.isfinite(y)], drawn[np.isfinite(y)]
    edges = np.histogram_bin_edges(np.concatenate([y, drawn[:, 0]]), bins=min(40, 5 + len(y) // 10))
    centres = 0.5 * (edges[1:] + edges[:-1])
    for draw in drawn.T:
        ax.plot(centres, np.histogram(draw, edges)[0] / len(y), color=FAINT, lw=0.8, alpha=0.6)
    ax.plot([], [], color=FAINT, lw=0.8, label="simulated")
    ax.plot(centres, np.histogram(y, edges)[0] / len(y), color=INK, lw=2.0, label="observed")
    ax.set(title="Observed and simulated", xlabel=matrices.formula.response, ylabel="Share")
    ax.set_ylim(0.0, None)
    ax.legend(frameon=False)


def _size(ax: Axes, m: Fitted) -> None:
    """Roots of absolute residuals against fitted values, and their means along these."""
    fitted = m.fit.fitted
    root = np.sqrt(np.abs(residuals(m.fit, "pearson", scaled=True)))
    order = np.argsort(fitted, kind="stable")
    shown = order[:: max(1, len(order) // MOST)]
    ax.plot(fitted[shown], root[shown], "o", ms=2.5, color=INK, mec="none", alpha=0.5)
    parts = np.array_split(order, min(15, max(2, len(order) // 10)))
    means = [(fitted[part].mean(), root[part].mean()) for part in parts if len(part)]
    ax.plot(*np.array(means).T, color=ACCENT, lw=2.0)
    ax.set(title="Size of residuals", xlabel="Fitted values", ylabel="√|scaled residuals|")


def _leverages(ax: Axes, fit: PlainFit) -> None:
    """Standardized residuals against leverages, of a model without random effects."""
    ax.axhline(0.0, color=ACCENT, lw=1.2)
    ax.plot(fit.hat, standardized(fit), "o", ms=2.5, color=INK, mec="none", alpha=0.5)
    ax.set(title="Leverages", xlabel="Leverage", ylabel="Standardized residuals")


def _distances(ax: Axes, m: ReportedModel) -> None:
    """Cook's distance of each row; the three largest are named."""
    distance = m.cooks_distance().dropna()
    y = distance.to_numpy(float)
    # Of many rows those with the largest distances.
    shown = np.sort(np.argsort(-y)[:MOST])
    ax.vlines(shown, 0.0, y[shown], color=INK, lw=0.8)
    names = [str(distance.index[i]) for i in shown]
    name_highest(ax, shown.astype(float), y[shown], names, 3)
    ax.locator_params(axis="x", nbins=4)
    ax.set(title="Cook's distances", xlabel="Row", ylabel="Distance")
    ax.set_ylim(0.0, 1.12 * float(np.nanmax(y)))
