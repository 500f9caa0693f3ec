"""Plots of random effects: caterpillar, Q-Q, shrinkage."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from lmm._types import IntVector, Matrix, Vector
from lmm.design.codes import rows_by_level
from lmm.errors import DataError, checked_level, nearest
from lmm.fitted import Fitted
from lmm.likelihood import critical_value
from lmm.plots.canvas import ACCENT, FAINT, INK, axes, group_of, label_rows, qq, spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes


# Arrows that a plot draws of more.
MOST_ARROWS = 300


def caterpillar(
    m: Fitted,
    group: str | None = None,
    effect: str | None = None,
    level: float = 0.95,
    ax: Axes | None = None,
) -> Axes:
    """Random effects of each level in order, with intervals from their conditional variances.

    Of more than 2000 levels, 2000 are drawn, evenly from the smallest effect to the largest.

    Parameters
    ----------
    m : LinearMixedModel
        The model.
    group : str, optional
        Grouping factor; the first by default.
    effect : str, optional
        Column of the random effects; the first by default.
    level : float
        Coverage of the intervals.
    ax : Axes, optional
        Where to draw.

    Raises
    ------
    DataError
        The model has no such grouping factor or effect.

    Examples
    --------
    >>> import lmm, lmm.plots
    >>> m = lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))
    >>> ax = lmm.plots.caterpillar(m, effect="Days")
    >>> ax.get_ylabel()
    'Subject'
    """
    group = group_of(m, group)
    chosen, effect = _effects(m, group, effect)
    chosen = chosen.sort_values("condval")
    n_levels = len(chosen)
    chosen = chosen.iloc[spread(n_levels)]
    ax = axes(ax, n_levels)
    y = np.arange(len(chosen))
    ax.axvline(0.0, color=ACCENT, lw=1.2)
    values = chosen["condval"].to_numpy()
    errors = critical_value(checked_level(level)) * chosen["condsd"].to_numpy()
    ax.errorbar(values, y, xerr=errors, fmt="o", ms=3.5, color=INK, ecolor=FAINT, elinewidth=1.2)
    label_rows(ax, chosen["grp"].to_list())
    ax.set(xlabel=effect, ylabel=_some(group, len(chosen), n_levels), ylim=(-1, len(chosen)))
    return ax


def qq_random_effects(
    m: Fitted,
    group: str | None = None,
    effect: str | None = None,
    level: float = 0.95,
    ax: Axes | None = None,
) -> Axes:
    """Random effects against normal quantiles, with intervals, as lme4's ``qqmath(ranef(m))``.

    Parameters
    ----------
    m : LinearMixedModel
        The model.
    group, effect, level, ax
        As for `caterpillar`.

    Examples
    --------
    >>> import lmm, lmm.plots
    >>> m = lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))
    >>> ax = lmm.plots.qq_random_effects(m)
    >>> ax.get_ylabel()
    '(Intercept) | Subject'
    """
    group = group_of(m, group)
    chosen, effect = _effects(m, group, effect)
    errors = critical_value(checked_level(level)) * chosen["condsd"].to_numpy()
    ax = qq(axes(ax), chosen["condval"].to_numpy(), errors)
    ax.set_ylabel(f"{effect} | {group}")
    return ax


def shrinkage(
    m: Fitted,
    group: str | None = None,
    effects: tuple[str, str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """How far the model pulls each level's own estimates towards the population's.

    An arrow leads from the least-squares estimates of a level alone (random effects and residual
    variation of other terms taken out) to its conditional coefficients. Of more than 300 levels,
    300 are drawn.

    Parameters
    ----------
    m, group, ax
        As for `caterpillar`.
    effects : pair of str, optional
        Columns to show; the first two by default. With a single column, levels stand side by side.

    Raises
    ------
    DataError
        The model has no such grouping factor or effects.

    Examples
    --------
    >>> import lmm, lmm.plots
    >>> m = lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))
    >>> ax = lmm.plots.shrinkage(m)
    >>> ax.get_ylabel()
    'Days'
    """
    group = group_of(m, group)
    n_levels = len(m.ranef()[group])
    shown = spread(n_levels, MOST_ARROWS)
    pooled, alone = _coefficients(m, group, shown)
    names = list(effects or pooled.columns[:2])
    _check_known(names, list(pooled.columns), group)
    population = pd.Series(m.fit.beta, index=list(m.fit.matrices.fixed.names))
    centre = population.reindex(names, fill_value=0.0).to_numpy()
    ax = axes(ax, n_levels if len(names) == 1 else 0)
    group = _some(group, len(shown), n_levels)
    if len(names) == 1:
        order = np.argsort(pooled[names[0]].to_numpy())
        start, end = (table[names[0]].to_numpy()[order] for table in (alone, pooled))
        levels = np.arange(len(order))
        _arrows(ax, np.column_stack([start, levels]), np.column_stack([end, levels]))
        ax.axvline(centre[0], color=ACCENT, lw=1.2, label="population")
        label_rows(ax, [str(pooled.index[i]) for i in order])
        ax.set(xlabel=names[0], ylabel=group)
    else:
        _arrows(ax, alone[names].to_numpy(), pooled[names].to_numpy())
        ax.plot(*centre, "D", ms=7, color=ACCENT, label="population")
        ax.set(xlabel=names[0], ylabel=names[1])
    ax.legend(frameon=False)
    return ax


def _some(group: str, shown: int, of: int) -> str:
    """The factor's name, with how many of its levels are drawn where that is not all."""
    return group if shown == of else f"{group} ({shown} of {of} levels)"


def _arrows(ax: Axes, start: Matrix, end: Matrix) -> None:
    style = {"arrowstyle": "->", "color": FAINT, "lw": 1.0, "shrinkA": 2, "shrinkB": 2}
    for a, b in zip(start, end, strict=True):
        ax.annotate("", xy=tuple(b), xytext=tuple(a), arrowprops=style)
    ax.plot(*start.T, "o", ms=4.5, mfc="none", mec=INK, label="level alone")
    ax.plot(*end.T, "o", ms=4.5, color=INK, label="mixed model")


def _effects(m: Fitted, group: str, effect: str | None) -> tuple[pd.DataFrame, str]:
    """Rows of R's as.data.frame(ranef(m)) of one effect, and its name."""
    table = m.ranef(condvar=True).to_frame()
    table = table[table["grpvar"] == group]
    names = table["term"].unique().tolist()
    effect = names[0] if effect is None else effect
    _check_known([effect], names, group)
    return table[table["term"] == effect], effect


def _check_known(names: list[str], known: list[str], group: str) -> None:
    for name in names:
        if name not in known:
            raise DataError(f"{group} has no random effect {name!r}.{nearest(name, known)}")


def _coefficients(m: Fitted, group: str, shown: IntVector) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Coefficients (l, k) of levels: by the model, and by least squares within the level.

    The second are the first plus the regression of the level's residuals on its columns.
    """
    matrices = m.fit.matrices
    terms = [term for term in matrices.terms if term.group == group]
    Z = np.hstack([term.Z for term in terms])
    effects = m.ranef()[group].iloc[shown]
    fixed = pd.Series(m.fit.beta, index=list(matrices.fixed.names))
    pooled = effects + fixed.reindex(effects.columns, fill_value=0.0)
    root = matrices.response.root
    added = _within(Z * root[:, None], m.fit.residuals * root, terms[0].codes, shown)
    return pooled, pooled + added


def _within(Z: Matrix, residuals: Vector, codes: IntVector, shown: IntVector) -> Matrix:
    """Least-squares coefficients (l, k) of the residuals of each level on its rows of Z."""
    rows = rows_by_level(codes)
    fits = (np.linalg.lstsq(Z[rows[i]], residuals[rows[i]], rcond=None) for i in shown)
    return np.array([fit[0] for fit in fits])
