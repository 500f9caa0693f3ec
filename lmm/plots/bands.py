"""Predictions along a predictor, with the bands where means and new observations lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from lmm._types import Vector
from lmm._words import Interval
from lmm.design.columns import Factor, Identifiers, RawColumn, take
from lmm.design.table import Table
from lmm.design.variables import column_names
from lmm.errors import DataError, nearest
from lmm.fit import check_models
from lmm.fitted import ReportedModel
from lmm.plots.canvas import POINTS, axes, label_columns, observations

if TYPE_CHECKING:
    from matplotlib.axes import Axes


INTERVALS = ("prediction", "confidence", None)


def predictions(
    m: ReportedModel,
    x: str,
    by: str | None = None,
    *,
    interval: Interval | None = "prediction",
    level: float = 0.95,
    at: Mapping[str, Any] | None = None,
    data: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """Predictions of the population along a predictor, with bands.

    The inner band is that of the mean, the outer one that of a new observation of a new level of
    every grouping factor; generalized models have the inner one only. Other predictors are held:
    covariates at their mean, factors at their first level, or as `at` says.

    Parameters
    ----------
    m : LinearMixedModel or GeneralizedMixedModel
        The model.
    x : str
        A covariate or factor of the formula.
    by : str, optional
        A factor with a line for each level.
    interval : {"prediction", "confidence"} or None
        The outermost band.
    level : float
        Coverage of the bands.
    at : mapping, optional
        A value for each predictor that is held.
    data : bool
        Whether to draw the observations behind the lines, a sample of many.
    ax : Axes, optional
        Where to draw.

    Raises
    ------
    DataError
        The formula has no such predictor, `by` is `x` or no factor, or the model has no data.
    ValueError
        `interval` is another word.

    Examples
    --------
    >>> import lmm, lmm.plots
    >>> m = lmm.lmer("Weight ~ Time * Cu + (Time | Pig)", lmm.load_dataset("dietox"))
    >>> ax = lmm.plots.predictions(m, "Time", by="Cu")
    >>> ax.get_ylabel(), len(ax.collections)
    ('Weight', 7)
    """
    check_models(m)
    if interval not in INTERVALS:
        raise ValueError(f"interval must be 'prediction', 'confidence' or None, not {interval!r}.")
    columns = predictors_of(m)
    along, factor = _checked(columns, x, by)
    held = {name: held_value(column) for name, column in columns.items()} | dict(at or {})
    is_number = isinstance(along, np.ndarray)
    values = _values(along)
    places = np.asarray(values if is_number else np.arange(len(values)), dtype=float)
    lines = ("",) if factor is None else factor.levels
    ax = axes(ax)
    for i, line in enumerate(lines):
        rows = held | {x: values} | ({by: line} if by else {})
        table = {name: np.broadcast_to(np.asarray(v), len(values)) for name, v in rows.items()}
        shift = 0.0 if is_number else 0.08 * (i - 0.5 * (len(lines) - 1))
        _draw(ax, m, table, places + shift, f"C{i}", line, interval, level, is_number)
    if data:
        _observations(ax, m, along, factor)
    if not is_number:
        label_columns(ax, places, [str(value) for value in values])
    ax.set(xlabel=x, ylabel=m.fit.formula.response)
    if by:
        ax.legend(title=by, frameon=False)
    return ax


def predictors_of(m: ReportedModel) -> dict[str, RawColumn]:
    """Columns of the data that fixed and random effects are made of, for the rows of the fit."""
    if m.call.data is None:
        raise DataError("the model was made of arrays: there are no predictors to draw along")
    formula, table = m.fit.formula, Table.of(m.call.data)
    effects = (term.effects for term in formula.random)
    nodes = chain([formula.fixed], effects, formula.offsets)
    rows, names = m.fit.matrices.frame.rows, column_names(nodes, table)
    if isinstance(m.call.offset, str):
        names = (*names, m.call.offset)
    return {name: take(table.column(name), rows) for name in names}


def _checked(
    columns: Mapping[str, RawColumn], x: str, by: str | None
) -> tuple[Vector | Factor, Factor | None]:
    """The column to draw along, and the factor with a line for each level."""
    if by == x:
        raise DataError(f"by must be another predictor than {x!r}")
    for name in (x, by):
        if name is not None and name not in columns:
            raise DataError(f"the formula has no predictor {name!r}.{nearest(name, columns)}")
    along, lines = columns[x], columns[by] if by else None
    if isinstance(along, Identifiers):
        raise DataError(f"{x!r} has too many levels to draw along")
    if not (lines is None or isinstance(lines, Factor)):
        raise DataError(f"by must be a factor, which {by!r} is not")
    return along, lines


def _values(along: Vector | Factor) -> Sequence[Any]:
    """Values of the predictor at which lines are drawn."""
    if isinstance(along, Factor):
        return along.levels
    if along.dtype == bool:
        return (False, True)
    return tuple(np.linspace(along.min(), along.max(), POINTS))


def held_value(column: RawColumn) -> Any:
    """The value of a predictor that is not drawn."""
    if isinstance(column, np.ndarray):
        return bool(column[0]) if column.dtype == bool else float(np.mean(column))
    return (column.factor if isinstance(column, Identifiers) else column).levels[0]


def _draw(
    ax: Axes,
    m: ReportedModel,
    rows: Mapping[str, Any],
    places: Vector,
    color: str,
    label: str,
    interval: Interval | None,
    level: float,
    is_number: bool,
) -> None:
    """One line with its bands; at levels, points with bars."""
    linear = m.fit.family.is_gaussian_identity
    scale = {} if linear else {"type": "response"}
    wanted = [] if interval is None else ["confidence"]
    if interval == "prediction" and linear:
        wanted.insert(0, "prediction")
    for kind in wanted:
        found = m.predict(rows, "~0", interval=kind, level=level, **scale)
        lower, upper = found["lower"].to_numpy(), found["upper"].to_numpy()
        faint = 0.13 if kind == "prediction" else 0.3
        if is_number:
            ax.fill_between(places, lower, upper, color=color, alpha=faint, lw=0.0)
        else:
            width = 9.0 if kind == "prediction" else 4.0
            ax.vlines(places, lower, upper, color=color, alpha=faint, lw=width)
    fit = np.asarray(m.predict(rows, "~0", **scale))
    ax.plot(places, fit, "-" if is_number else "o", color=color, lw=2.0, label=label)


def _observations(ax: Axes, m: ReportedModel, along: Vector | Factor, by: Factor | None) -> None:
    """The observations, each in the colour of its line; at levels, beside each other at random."""
    y, rng = m.fit.matrices.y, np.random.default_rng(0)
    places = along.codes + rng.uniform(-0.2, 0.2, len(y)) if isinstance(along, Factor) else along
    colours = ["0.4"] * len(y) if by is None else [f"C{code % 10}" for code in by.codes]
    observations(ax, places, y, colours)
