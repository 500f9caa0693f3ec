"""Replicates of a bootstrap."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lmm.inference.resample.bootstrap import Bootstrap, Interval
from lmm.plots.canvas import ACCENT, INK, histogram, panel_grid

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def bootstrap(replicates: Bootstrap, level: float = 0.95, type: Interval = "perc") -> Figure:
    """Histogram of each statistic's replicates, with the estimate (full) and interval (dashed).

    Parameters
    ----------
    replicates : Bootstrap
        Result of ``m.bootstrap``, with at least two replicates; undefined ones are left out.
    level, type
        Of the intervals, as for `Bootstrap.confint`.

    Examples
    --------
    >>> import lmm, lmm.plots
    >>> m = lmm.lmer("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff"))
    >>> figure = lmm.plots.bootstrap(m.bootstrap(50, seed=1))
    >>> [ax.get_xlabel() for ax in figure.axes]
    ['sd_(Intercept)|Batch', 'sigma', '(Intercept)']
    """
    limits = replicates.confint(level, type).to_frame().to_numpy()
    names = list(replicates.replicates.columns)
    figure, panels = panel_grid(len(names))
    for ax, name, ends in zip(panels, names, limits, strict=True):
        values = replicates.replicates[name].to_numpy(float)
        histogram(ax, values, "sqrt")
        ax.axvline(float(replicates.estimate[name]), color=ACCENT)
        for end in ends[np.isfinite(ends)]:
            ax.axvline(end, color=INK, ls="--")
        ax.set(xlabel=str(name), yticks=[])
    return figure
