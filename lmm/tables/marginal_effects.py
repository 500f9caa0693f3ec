"""Average predictions, comparisons and slopes over rows of data, as R's marginaleffects.

Random effects are held at zero: what is averaged are the population's means at the rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, combinations, pairwise
from typing import Any, Literal, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from lmm._types import IntVector, Matrix, Vector, cached_property
from lmm._words import Ddf
from lmm.design.absent import is_unread, refuse
from lmm.design.table import Table
from lmm.errors import DataError, checked_level, nearest
from lmm.fit import check_fitted
from lmm.fitted import EstimatedModel
from lmm.inference.fixed.base import DdfMethod
from lmm.inference.marginal.grid import Axis, AxisKind
from lmm.inference.marginal.smooth import Smooth, means
from lmm.inference.marginal.smooth import slopes as slopes_of
from lmm.report.cells import Cells, Column
from lmm.report.document import Document
from lmm.report.format import format_numbers, format_p_values
from lmm.report.printed import Framed
from lmm.tables.emmeans.predictions import grid_of, method_of, predictors
from lmm.tables.emmeans.shown import TYPES

Change: TypeAlias = float | Sequence[Any] | Literal["reference", "pairwise", "sequential"]
Changes: TypeAlias = str | Sequence[str] | Mapping[str, Change]
Kind = Literal["difference", "ratio"]
Scale = Literal["response", "link"]
KINDS = ("difference", "ratio")
WAYS = ("reference", "pairwise", "sequential")

# Step of the differences by which a model row is differentiated, as a part of the covariate's
# standard deviation or of the value itself, the smaller: the error is of its fourth power.
STEP = 1e-3


@dataclass(frozen=True, eq=False, repr=False)
class MarginalEffects(Framed):
    """Averages over rows, with standard errors by the delta method.

    Attributes
    ----------
    frame : DataFrame
        The columns that name each average, then ``estimate std.error df statistic p.value conf.low
        conf.high``; without p-values for predictions.
    heading : str
        What was averaged.
    """

    heading: str = ""

    def document(self, *, digits: int = 4) -> Document:
        """What was averaged, and the table."""
        frame = self.frame
        columns = []
        for name in frame.columns:
            values = frame[name]
            if name == "p.value":
                columns.append(Column(name, tuple(format_p_values(values, digits - 1))))
            elif pd.api.types.is_float_dtype(values):
                columns.append(Column(name, tuple(format_numbers(values.to_numpy(), digits))))
            else:
                columns.append(Column(str(name), tuple(map(str, values)), "label"))
        return Document((self.heading, "", Cells(tuple(columns))))


def predictions(
    m: EstimatedModel,
    newdata: Any = None,
    by: str | Sequence[str] | None = None,
    *,
    average: bool = True,
    type: Scale = "response",
    ddf: Ddf | None = None,
    vcov: ArrayLike | None = None,
    level: float = 0.95,
) -> MarginalEffects:
    """Average the population's means over rows, with standard errors.

    Parameters
    ----------
    m : LinearMixedModel or GeneralizedMixedModel
        The model.
    newdata : table, optional
        Rows to average over; by default those of the fit.
    by : str or sequence of str, optional
        Columns within whose combinations to average; over all rows by default.
    average : bool
        Whether to average at all, or to show each row.
    type : {"response", "link"}
        Means, or linear predictors. That of a model of ``log(y)`` is the mean of the logarithm.
    ddf : str, optional
        Degrees of freedom, as for `emmeans`.
    vcov : (p, p) array, optional
        Another covariance of the fixed effects, such as `vcov_cr` gives.
    level : float
        Coverage of the intervals, which are symmetric: averages of probabilities near 0 or 1 may
        have limits beyond.

    Returns
    -------
    MarginalEffects

    Raises
    ------
    DataError
        There is no such column, or values are missing.
    ValueError
        `type` is another word.

    Examples
    --------
    >>> import lmm
    >>> f = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
    >>> m = lmm.glmer(f, lmm.load_dataset("cbpp"), "binomial")
    >>> lmm.predictions(m, by="period")
    Average predictions on the scale of the response (asymptotic degrees of freedom)
    <BLANKLINE>
     period estimate std.error  df conf.low conf.high
          1  0.19805   0.03692 Inf 0.125682   0.27042
          2  0.08387   0.02384 Inf 0.037154   0.13059
          3  0.07397   0.02262 Inf 0.029630   0.11832
          4  0.04839   0.01980 Inf 0.009575   0.08721
    """
    rows = _Rows.of(m, newdata, by, average, type, method_of(m, ddf, vcov), level)
    found = rows.averaged(rows.means(rows.data))
    return rows.table([({}, found)], "Average predictions" if average else "Predictions", None)


def comparisons(
    m: EstimatedModel,
    variables: Changes,
    newdata: Any = None,
    by: str | Sequence[str] | None = None,
    *,
    comparison: Kind = "difference",
    average: bool = True,
    type: Scale = "response",
    ddf: Ddf | None = None,
    vcov: ArrayLike | None = None,
    level: float = 0.95,
) -> MarginalEffects:
    """Average what a change of a predictor does to the population's means.

    Parameters
    ----------
    m, newdata, by, average, type, ddf, vcov, level
        As for `predictions`.
    variables : str, sequence or mapping
        Predictors; or by predictor what is compared: of factors ``"reference"`` (each level with
        the first, the default), ``"pairwise"``, ``"sequential"`` or two levels; of numbers a step
        (1 by default) from the value in each row, or two values.
    comparison : {"difference", "ratio"}
        Of the averages.

    Returns
    -------
    MarginalEffects
        Ratios are tested for 1.

    Raises
    ------
    DataError
        The fixed part has no such predictor or level, or values are missing.
    ValueError
        `comparison` or a way to compare is another word.

    Examples
    --------
    >>> import lmm
    >>> m = lmm.lmer("yield ~ nitro + Variety + (1 | Block/Variety)", lmm.load_dataset("Oats"))
    >>> effects = lmm.comparisons(m, {"Variety": "reference", "nitro": 0.2})
    >>> effects.to_frame().iloc[:, :5].round(3)
          term                  contrast  estimate  std.error    df
    0  Variety  Marvellous - Golden Rain     5.292      7.079  10.0
    1  Variety     Victory - Golden Rain    -6.875      7.079  10.0
    2    nitro                      +0.2    14.733      1.356  53.0
    """
    if comparison not in KINDS:
        raise ValueError(f"Unknown comparison {comparison!r}.{nearest(comparison, KINDS)}")
    rows = _Rows.of(m, newdata, by, average, type, method_of(m, ddf, vcov), level)
    parts = []
    for name, change in _changes(variables).items():
        for label, low, high in rows.changes(name, change, comparison):
            after, before = (rows.averaged(rows.means(rows.with_(name, v))) for v in (high, low))
            found = after.minus(before) if comparison == "difference" else after.over(before)
            parts.append(({"term": name, "contrast": label}, found))
    null = 0.0 if comparison == "difference" else 1.0
    return rows.table(parts, "Average comparisons" if average else "Comparisons", null)


def slopes(
    m: EstimatedModel,
    variables: str | Sequence[str],
    newdata: Any = None,
    by: str | Sequence[str] | None = None,
    *,
    average: bool = True,
    type: Scale = "response",
    ddf: Ddf | None = None,
    vcov: ArrayLike | None = None,
    level: float = 0.95,
) -> MarginalEffects:
    """Average the slopes of the population's means in numeric predictors: marginal effects.

    Parameters
    ----------
    m, newdata, by, average, type, ddf, vcov, level
        As for `predictions`.
    variables : str or sequence of str
        Numeric predictors.

    Returns
    -------
    MarginalEffects

    Raises
    ------
    DataError
        A predictor is no number of the fixed part, or values are missing.

    Examples
    --------
    >>> import lmm
    >>> m = lmm.lmer("Reaction ~ log(Days + 1) + (1 | Subject)", lmm.load_dataset("sleepstudy"))
    >>> lmm.slopes(m, "Days").to_frame()[["term", "estimate", "std.error"]].round(3)
       term  estimate  std.error
    0  Days    11.723      1.044
    """
    rows = _Rows.of(m, newdata, by, average, type, method_of(m, ddf, vcov), level)
    names = [variables] if isinstance(variables, str) else list(variables)
    parts = [({"term": name}, rows.averaged(rows.slopes(name))) for name in names]
    return rows.table(parts, "Average slopes" if average else "Slopes", 0.0)


def _changes(variables: Changes) -> Mapping[str, Change | None]:
    if isinstance(variables, str):
        return {variables: None}
    return variables if isinstance(variables, Mapping) else dict.fromkeys(variables)


@dataclass(frozen=True, eq=False)
class _Rows:
    """Rows to average over, and how."""

    m: EstimatedModel
    data: pd.DataFrame
    own_offset: Vector | None
    by: tuple[str, ...]
    average: bool
    on_response: bool
    method: DdfMethod
    level: float

    @classmethod
    def of(
        cls,
        m: EstimatedModel,
        newdata: Any,
        by: str | Sequence[str] | None,
        average: bool,
        scale: str,
        method: DdfMethod,
        level: float,
    ) -> _Rows:
        check_fitted(m)
        if scale not in TYPES:
            raise ValueError(f"Unknown type {scale!r}.{nearest(scale, TYPES)}")
        groups = (by,) if isinstance(by, str) else tuple(by or ())
        matrices = m.fit.matrices
        if newdata is None and is_unread(matrices.X):
            refuse()
        table = Table.of(m.call.data if newdata is None else newdata)
        names = dict.fromkeys((*_predictors(m), *groups))
        columns = {name: table.series(name).reset_index(drop=True) for name in names}
        data = pd.DataFrame(columns, index=pd.RangeIndex(table.n))
        offset = None
        if newdata is None:
            data = data.iloc[matrices.frame.rows].reset_index(drop=True)
            offset = matrices.offset
        if not len(data):
            raise DataError("there are no rows to average over")
        missing = data.columns[data.isna().any()]
        if len(missing):
            raise DataError(f"{missing[0]!r} has missing values: leave those rows out of newdata")
        level = checked_level(level)
        return cls(m, data, offset, groups, average, scale == "response", method, level)

    @cached_property
    def axes(self) -> dict[str, Axis]:
        """The predictors by name."""
        grid = grid_of(self.m, nesting=None)
        return {axis.name: axis for axis in grid.axes}

    def axis(self, name: str) -> Axis:
        if name not in self.axes:
            raise DataError(f"the fixed part has no predictor {name!r}.{nearest(name, self.axes)}")
        return self.axes[name]

    def with_(self, name: str, values: Any) -> pd.DataFrame:
        """The rows with other values of a predictor."""
        return self.data.assign(**{name: values})

    def X(self, data: pd.DataFrame) -> Matrix:
        return self.m.fit.matrices.fixed.matrix(data)

    def offset(self, data: pd.DataFrame) -> Vector:
        return (
            self.m.fit.matrices.fixed.offset(data) if self.own_offset is None else self.own_offset
        )

    def means(self, data: pd.DataFrame) -> Smooth:
        return means(self.m.fit, self.X(data), self.offset(data), self.on_response)

    def slopes(self, name: str) -> Smooth:
        axis = self.axis(name)
        if axis.kind != AxisKind.COVARIATE:
            raise DataError(f"{name!r} is a factor of the model: it has no slope")
        X, by_z = self.X(self.data), self._differentiated(name, axis.spread)
        return slopes_of(self.m.fit, X, by_z, self.offset(self.data), self.on_response)

    def _differentiated(self, name: str, spread: float) -> Matrix:
        """Derivatives of the rows of X by a covariate, from four points around each."""
        z = self.data[name].to_numpy(float)
        size = np.where(z != 0.0, np.abs(z), spread)
        h = STEP * np.minimum(size, spread) if spread > 0.0 else STEP * np.maximum(size, STEP)

        def rise(steps: float) -> Matrix:
            above, below = (self.X(self.with_(name, z + sign * steps * h)) for sign in (1.0, -1.0))
            return above - below

        return np.asarray((8.0 * rise(1.0) - rise(2.0)) / (12.0 * h)[:, None])

    def changes(
        self, name: str, change: Change | None, comparison: Kind
    ) -> Iterator[tuple[str, Any, Any]]:
        """Label, value before and value after of each comparison of a predictor."""
        axis = self.axis(name)
        sign = "-" if comparison == "difference" else "/"
        if axis.kind.is_free:
            if change is None or isinstance(change, int | float):
                step = 1.0 if change is None else float(change)
                z = self.data[name].to_numpy(float)
                yield f"+{step:g}" if step >= 0.0 else f"{step:g}", z, z + step
                return
            low, high = _two(name, change)
            yield f"{high:g} {sign} {low:g}", float(low), float(high)
            return
        for low, high in _pairs(axis, change):
            yield f"{high} {sign} {low}", low, high

    @cached_property
    def groups(self) -> tuple[IntVector, pd.DataFrame]:
        """Group of each row, and what names each group."""
        if not self.average:
            return np.arange(len(self.data)), self.data
        if not self.by:
            return np.zeros(len(self.data), dtype=int), pd.DataFrame(index=[0])
        grouped = self.data.groupby(list(self.by), sort=True, observed=True)
        labels = grouped.size().index.to_frame(index=False)
        return grouped.ngroup().to_numpy(), labels

    def averaged(self, rows: Smooth) -> Smooth:
        codes, labels = self.groups
        return rows.averaged(codes, len(labels)) if self.average else rows

    def table(
        self, parts: Sequence[tuple[dict[str, str], Smooth]], heading: str, null: float | None
    ) -> MarginalEffects:
        labels = self.groups[1]
        frames = []
        for names, found in parts:
            named = pd.DataFrame({key: [value] * len(labels) for key, value in names.items()})
            numbers = self._tested(found, null)
            frames.append(pd.concat([named, labels.reset_index(drop=True), numbers], axis=1))
        scale = "response" if self.on_response else "link"
        words = f"{heading} on the scale of the {scale} ({self.method.name} degrees of freedom)"
        return MarginalEffects(pd.concat(frames, ignore_index=True), words)

    def _tested(self, found: Smooth, null: float | None) -> pd.DataFrame:
        from scipy.special import stdtr, stdtrit

        vcov = self.method.vcov
        error = np.sqrt(np.einsum("gp,pq,gq->g", found.gradient, vcov, found.gradient))
        df = self.method.df(found.gradient)
        columns: dict[str, Vector] = {"estimate": found.value, "std.error": error, "df": df}
        if null is not None:
            with np.errstate(invalid="ignore", divide="ignore"):
                statistic = (found.value - null) / error
            columns |= {"statistic": statistic, "p.value": 2.0 * stdtr(df, -np.abs(statistic))}
        margin = stdtrit(df, 0.5 + 0.5 * self.level) * error
        limits = {"conf.low": found.value - margin, "conf.high": found.value + margin}
        return pd.DataFrame(columns | limits)


def _predictors(m: EstimatedModel) -> list[str]:
    """Columns of the data that the fixed part and its offsets are made of."""
    fixed = m.fit.matrices.fixed
    terms = (*fixed.term_variables, *((offset,) for offset in fixed.offsets))
    return list(dict.fromkeys(chain.from_iterable(predictors(fixed, term) for term in terms)))


def _two(name: str, change: Any) -> tuple[Any, Any]:
    if isinstance(change, str) or len(change) != 2:
        raise ValueError(f"compare {name!r} by a step or by two values, not by {change!r}.")
    return change[0], change[1]


def _pairs(axis: Axis, change: Change | None) -> list[tuple[Any, Any]]:
    """Levels before and after of the comparisons of a factor."""
    levels = axis.values().tolist()
    if change is None or change == "reference":
        return [(levels[0], level) for level in levels[1:]]
    if change == "sequential":
        return list(pairwise(levels))
    if change == "pairwise":
        return list(combinations(levels, 2))
    if isinstance(change, str | int | float):
        raise ValueError(
            f"compare {axis.name!r} by one of {', '.join(WAYS)} or by two levels, not {change!r}."
        )
    low, high = axis.at(_two(axis.name, change)).values().tolist()
    return [(low, high)]
