"""Plots of random effects: caterpillar, Q-Q, shrinkage."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from lmm._types import Matrix, Vector
from lmm.errors import DataError, checked_level, nearest
from lmm.fitted import Fitted
from lmm.plots.canvas import ACCENT, FAINT, INK, MAX_LABELS, axes, group_of, qq

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["caterpillar", "qq_random_effects", "shrinkage"]


def caterpillar(
    m: Fitted,
    group: str | None = None,
    effect: str | None = None,
    level: float = 0.95,
    ax: Axes | None = None,
) -> Axes:
    """Random effects of each level in order, with intervals from their conditional variances.

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
    ax = axes(ax)
    y = np.arange(len(chosen))
    ax.axvline(0.0, color=ACCENT, lw=1.2)
    values = chosen["condval"].to_numpy()
    errors = _half_width(level) * chosen["condsd"].to_numpy()
    ax.errorbar(values, y, xerr=errors, fmt="o", ms=3.5, color=INK, ecolor=FAINT, elinewidth=1.2)
    few = len(chosen) <= MAX_LABELS
    ax.set_yticks(y if few else [], chosen["grp"].to_list() if few else [], fontsize="small")
    ax.set(xlabel=effect, ylabel=group, ylim=(-1, len(chosen)))
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
    errors = _half_width(level) * chosen["condsd"].to_numpy()
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
    variation of other terms taken out) to its conditional coefficients.

    Parameters
    ----------
    m : LinearMixedModel
        The model.
    group : str, optional
        Grouping factor; the first by default.
    effects : pair of str, optional
        Columns to show; the first two by default. With a single column, levels stand side by side.
    ax : Axes, optional
        Where to draw.

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
    pooled, alone = _coefficients(m, group)
    names = list(effects or pooled.columns[:2])
    _check_known(names, list(pooled.columns), group)
    population = pd.Series(m.fit.beta, index=list(m.fit.matrices.fixed.names))
    centre = population.reindex(names, fill_value=0.0).to_numpy()
    ax = axes(ax)
    if len(names) == 1:
        order = np.argsort(pooled[names[0]].to_numpy())
        start, end = (table[names[0]].to_numpy()[order] for table in (alone, pooled))
        levels = np.arange(len(order))
        _arrows(ax, np.column_stack([start, levels]), np.column_stack([end, levels]))
        ax.axvline(centre[0], color=ACCENT, lw=1.2, label="population")
        few = len(order) <= MAX_LABELS
        labels = [str(pooled.index[i]) for i in order]
        ax.set_yticks(levels if few else [], labels if few else [], fontsize="small")
        ax.set(xlabel=names[0], ylabel=group)
    else:
        _arrows(ax, alone[names].to_numpy(), pooled[names].to_numpy())
        ax.plot(*centre, "D", ms=7, color=ACCENT, label="population")
        ax.set(xlabel=names[0], ylabel=names[1])
    ax.legend(frameon=False)
    return ax


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


def _half_width(level: float) -> float:
    from scipy.stats import norm

    return float(norm.ppf(0.5 + checked_level(level) / 2.0))


def _coefficients(m: Fitted, group: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Coefficients (l, k) of each level: by the model, and by least squares within the level.

    The second are the first plus the regression of the level's residuals on its columns.
    """
    matrices = m.fit.matrices
    terms = [term for term in matrices.terms if term.group == group]
    Z = np.hstack([term.Z for term in terms])
    effects = m.ranef()[group]
    fixed = pd.Series(m.fit.beta, index=list(matrices.fixed.names))
    pooled = effects + fixed.reindex(effects.columns, fill_value=0.0)
    root = matrices.response.root
    added = _within(Z * root[:, None], m.fit.residuals * root, terms[0].codes, len(effects))
    return pooled, pooled + added


def _within(Z: Matrix, residuals: Vector, codes: np.ndarray, n_levels: int) -> Matrix:
    """Least-squares coefficients (l, k) of the residuals of each level on its rows of Z."""
    order = np.argsort(codes, kind="stable")
    rows = np.split(order, np.cumsum(np.bincount(codes, minlength=n_levels))[:-1])
    return np.array([np.linalg.lstsq(Z[part], residuals[part], rcond=None)[0] for part in rows])
