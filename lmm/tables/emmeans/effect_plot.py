"""The effect of a predictor as a picture: marginal means along it, with bands and data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from lmm.design.columns import Factor, RawColumn, take
from lmm.design.table import Table
from lmm.errors import DataError
from lmm.fit import check_fitted
from lmm.fitted import EstimatedModel
from lmm.inference.marginal.scales import response_scale
from lmm.language.tree import Name, variables
from lmm.plots.canvas import POINTS, observations
from lmm.tables.emmeans.interaction_plot import emmip
from lmm.tables.emmeans.predictions import grid_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def effect(
    m: EstimatedModel,
    x: str,
    by: str | None = None,
    *,
    data: bool = True,
    at: Mapping[str, Any] | None = None,
    ax: Axes | None = None,
    **options: Any,
) -> Axes:
    """Marginal means along a predictor, one line for each level of another, with bands and data.

    Whatever the formula makes of the covariate (``poly``, ``log``, splines), the curve is that of
    the covariate itself. Other predictors are averaged over, as in `emmeans`.

    Parameters
    ----------
    m : LinearMixedModel or GeneralizedMixedModel
        The model.
    x : str
        A covariate or factor of the fixed part.
    by : str, optional
        A factor with a line for each level.
    data : bool
        Whether to draw the observations behind the lines, a sample of many.
    at : mapping, optional
        Values of other predictors, and of `x`.
    ax : Axes, optional
        Where to draw.
    **options
        As for `emmeans`: ``ddf=``, ``weights=``, ``type="response"``, ...; and for `emmip`:
        ``interval="prediction"`` adds bands of new observations.

    Returns
    -------
    Axes

    Raises
    ------
    DataError
        A name is no predictor of the fixed part, or `by` is `x`.

    Examples
    --------
    >>> import lmm, lmm.plots
    >>> m = lmm.lmer("Weight ~ poly(Time, 2) * Cu + (1 | Pig)", lmm.load_dataset("dietox"))
    >>> ax = lmm.plots.effect(m, "Time", by="Cu", ddf="asymptotic")
    >>> ax.get_xlabel(), len(ax.get_legend().texts)
    ('Time', 3)
    """
    check_fitted(m)
    if by == x:
        raise DataError(f"by must be another predictor than {x!r}")
    grid = grid_of(m, nesting=None)
    axis = grid.axis(x)
    raw = _column(m, x)
    chosen = dict(at or {})
    is_number = isinstance(raw, np.ndarray) and len(axis.levels) == 1
    if isinstance(raw, np.ndarray) and is_number and x not in chosen:
        chosen[x] = np.linspace(float(raw.min()), float(raw.max()), POINTS)
    # The response stands on the scale of the means: its own, unless the formula transforms it.
    own = response_scale(m) is None
    options.setdefault("type", "link" if own else "response")
    formula = f"`{by}` ~ `{x}`" if by else f"~ `{x}`"
    drawn = emmip(m, formula, bands=True, at=chosen, ax=ax, **options)
    assert not isinstance(drawn, list)
    for line in drawn.lines:
        line.set_marker("" if is_number else "o")
    if data and is_number and (own or (options["type"] == "response" and _is_bare(m))):
        _scatter(drawn, m, raw, None if by is None else _column(m, by))
    drawn.set(xlabel=x, ylabel=_label(m, on_link=options["type"] == "link"))
    return drawn


def _label(m: EstimatedModel, on_link: bool) -> str:
    """What means are means of: the response, or a column that a linear model transforms."""
    response, lhs, family = m.fit.formula.response, m.fit.formula.lhs, m.fit.family
    if family.is_gaussian_identity:
        return response if on_link or lhs is None else variables(lhs)[0]
    return f"{response}, {family.link} scale" if on_link and family.link != "identity" else response


def _column(m: EstimatedModel, name: str) -> RawColumn:
    """A column of the data, for the rows of the fit."""
    return take(Table.of(m.call.data).column(name), m.fit.matrices.frame.rows)


def _is_bare(m: EstimatedModel) -> bool:
    """Whether the response is a column as it is: a count, a proportion."""
    return isinstance(m.fit.formula.lhs, Name)


def _scatter(ax: Axes, m: EstimatedModel, x: RawColumn, by: RawColumn | None) -> None:
    """The observations, each in the colour of its line."""
    y = m.fit.matrices.y
    colours = {line.get_label(): line.get_color() for line in ax.lines}
    names = [by.levels[code] for code in by.codes] if isinstance(by, Factor) else [""] * len(y)
    observations(ax, np.asarray(x), y, [str(colours.get(name, "0.5")) for name in names])
