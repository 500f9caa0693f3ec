"""Data and fitted lines by group."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from lmm._types import Vector
from lmm.errors import DataError, nearest
from lmm.fitted import ReportedModel
from lmm.plots.bands import held_value, predictors_of
from lmm.plots.canvas import ACCENT, FAINT, INK, axes, group_of, spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes


# Levels that are drawn of more.
MOST_LINES = 300
LIMITS = ("fit", "lower", "upper")


def fitted_lines(
    m: ReportedModel,
    x: str,
    group: str | None = None,
    ax: Axes | None = None,
    *,
    interval: Literal["confidence"] | None = None,
    level: float = 0.95,
) -> Axes:
    """Response against a covariate, with a line for each level and the population's.

    Other predictors are held: covariates at their mean, factors at their first level. A level's
    line adds its random effects, averaged where it has several rows at one value of the covariate.
    Of more than 300 levels, 300 are drawn. Lines along a variable that the formula makes, such as
    ``log(x)``, and those of models made of arrays, average what is fitted to the rows instead.

    Parameters
    ----------
    m, group, ax
        As for `caterpillar`.
    x : str
        Covariate of the formula.
    interval : {"confidence"}, optional
        Whether the population's line has a band; `lmm.plots.predictions` has that of observations.
    level : float
        Coverage of the band.

    Raises
    ------
    DataError
        The formula has no such covariate, or the model no such grouping factor.
    ValueError
        `interval` is another word, or asked for where lines are averages.

    Examples
    --------
    >>> import lmm, lmm.plots
    >>> m = lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))
    >>> ax = lmm.plots.fitted_lines(m, "Days", interval="confidence")
    >>> ax.get_ylabel()
    'Reaction'
    """
    if interval not in (None, "confidence"):
        raise ValueError(f"interval must be 'confidence' or None, not {interval!r}.")
    group = group_of(m, group)
    values = _covariate(m, x)
    codes = next(term.codes for term in m.fit.matrices.terms if term.group == group)
    curve = _population(m, x, values, interval, level)
    rows = pd.DataFrame({"x": values, "level": codes, "fitted": _fitted(m, group, values, curve)})
    n_levels = int(codes.max()) + 1
    ax = axes(ax)
    drawn = np.isin(codes, spread(n_levels, MOST_LINES))
    y = m.fit.matrices.y
    ax.plot(values[drawn], y[drawn], "o", ms=2.5, color=FAINT, mec="none", alpha=0.7)
    means = rows[drawn].groupby(["level", "x"])["fitted"].mean()
    alpha = max(0.08, min(0.7, 20.0 / min(n_levels, MOST_LINES)))
    for _, line in means.groupby(level="level"):
        ax.plot(line.index.get_level_values("x"), line, color=INK, lw=1.0, alpha=alpha)
    eta, family = curve["fit"].to_numpy(), m.fit.family
    ax.plot(curve.index, family.inverse(eta), color=ACCENT, lw=2.5, label="population")
    if interval:
        limits = family.limits(eta, (curve["lower"].to_numpy(), curve["upper"].to_numpy()))
        ax.fill_between(curve.index, *limits, color=ACCENT, alpha=0.25, lw=0.0)
    ax.plot([], [], color=INK, lw=1.0, label=f"by {group}")
    ax.set(xlabel=x, ylabel=m.fit.matrices.formula.response)
    ax.legend(frameon=False)
    return ax


def _covariate(m: ReportedModel, x: str) -> Vector:
    """Values (n,) of a numeric variable of the formula."""
    columns = m.fit.matrices.frame.columns
    numeric = {name: each for name, each in columns.items() if isinstance(each, np.ndarray)}
    if x not in numeric:
        raise DataError(f"the formula has no covariate {x!r}.{nearest(x, numeric)}")
    return numeric[x]


def _population(
    m: ReportedModel, x: str, values: Vector, interval: str | None, level: float
) -> pd.DataFrame:
    """Linear predictor ``fit [lower upper]`` of the population by value of the covariate."""
    known = None if m.call.data is None else predictors_of(m)
    if known is None or x not in known:
        if interval:
            raise ValueError(f"lines along {x!r} are averages of rows: leave interval out.")
        rows = pd.DataFrame({"x": values, "fit": m.fit.fixed_part})
        return rows.groupby("x")[["fit"]].mean()
    places = np.unique(values)
    held = {name: held_value(column) for name, column in known.items()} | {x: places}
    table = {name: np.broadcast_to(np.asarray(v), len(places)) for name, v in held.items()}
    found = m.predict(table, "~0", interval=interval, level=level)
    if interval is None:
        return pd.DataFrame({"fit": found.to_numpy()}, index=places)
    return pd.DataFrame({name: found[name].to_numpy() for name in LIMITS}, index=places)


def _fitted(m: ReportedModel, group: str, values: Vector, curve: pd.DataFrame) -> Vector:
    """Means (n,) of the rows: the population's, with the random effects of a grouping factor."""
    eta = curve["fit"].to_numpy()[np.searchsorted(curve.index.to_numpy(), values)]
    for term, b in zip(m.fit.matrices.terms, m.fit.b, strict=True):
        if term.group == group:
            eta = eta + np.einsum("nk,nk->n", term.Z, b[term.codes])
    return np.asarray(m.fit.family.inverse(eta))
