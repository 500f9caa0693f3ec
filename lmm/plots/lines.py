"""Data and fitted lines by group."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from lmm.errors import DataError, nearest
from lmm.fitted import Fitted
from lmm.plots.canvas import ACCENT, FAINT, INK, axes, group_of, spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["fitted_lines"]

# Levels that are drawn of more.
MOST_LINES = 300


def fitted_lines(m: Fitted, x: str, group: str | None = None, ax: Axes | None = None) -> Axes:
    """Response against a covariate, with fitted values joined by level and the population's line.

    Where a level has several rows at one value of the covariate, fitted values are averaged; so
    are the fixed parts of the population's line. Of more than 300 levels, 300 are drawn.

    Parameters
    ----------
    m : LinearMixedModel
        The model.
    x : str
        Covariate of the formula.
    group : str, optional
        Grouping factor; the first by default.
    ax : Axes, optional
        Where to draw.

    Raises
    ------
    DataError
        The formula has no such covariate, or the model no such grouping factor.

    Examples
    --------
    >>> import lmm, lmm.plots
    >>> m = lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))
    >>> ax = lmm.plots.fitted_lines(m, "Days")
    >>> ax.get_ylabel()
    'Reaction'
    """
    group = group_of(m, group)
    matrices = m.fit.matrices
    numeric = {
        name: column
        for name, column in matrices.frame.columns.items()
        if isinstance(column, np.ndarray)
    }
    if x not in numeric:
        raise DataError(f"the formula has no covariate {x!r}.{nearest(x, numeric)}")
    term = next(term for term in matrices.terms if term.group == group)
    rows = pd.DataFrame(
        {"x": numeric[x], "level": term.codes, "fitted": m.fit.fitted, "fixed": m.fit.fixed_part}
    )
    ax = axes(ax)
    drawn = np.isin(term.codes, spread(term.n_levels, MOST_LINES))
    ax.plot(rows["x"][drawn], matrices.y[drawn], "o", ms=2.5, color=FAINT, mec="none", alpha=0.7)
    means = rows[drawn].groupby(["level", "x"])["fitted"].mean()
    alpha = max(0.08, min(0.7, 20.0 / min(term.n_levels, MOST_LINES)))
    for _, line in means.groupby(level="level"):
        ax.plot(line.index.get_level_values("x"), line, color=INK, lw=1.0, alpha=alpha)
    population = rows.groupby("x")["fixed"].mean()
    ax.plot(population.index, population, color=ACCENT, lw=2.5, label="population")
    ax.plot([], [], color=INK, lw=1.0, label=f"by {group}")
    ax.set(xlabel=x, ylabel=matrices.formula.response)
    ax.legend(frameon=False)
    return ax
