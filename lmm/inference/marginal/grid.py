"""The reference grid: combinations of the predictors at which a model's mean is looked at.

Factors contribute their levels, covariates their mean (Searle, Speed & Milliken, 1980, Am. Stat.
34, 216-221). As in R's emmeans, a covariate with two values keeps both, and a number that the
formula turns into a factor counts as one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from lmm._types import Matrix, Vector
from lmm.design.columns import Column, Factor, Identifiers, drop_unused_levels, take
from lmm.design.fixed import FixedEffects
from lmm.design.frame import column_names
from lmm.design.table import Table
from lmm.errors import DataError, nearest
from lmm.fit import Fit
from lmm.language import Call, variables, walk

__all__ = ["WEIGHTS", "Axis", "ReferenceGrid", "Source", "reference_grid"]

WEIGHTS = ("equal", "proportional", "outer", "cells")
FACTOR_CALLS = ("factor", "as.factor", "ordered", "as.ordered")
# A covariate with no more distinct values than this keeps them all.
KEPT_VALUES = 2

Level = str | float | bool


class HasData(Protocol):
    """What knows a table."""

    @property
    def data(self) -> Any:
        """The table; None for arrays."""


class Source(Protocol):
    """Where a grid comes from: a fitted model that knows its data."""

    @property
    def fit(self) -> Fit:
        """Its fit."""

    @property
    def call(self) -> HasData:
        """How it was asked for."""


@dataclass(frozen=True, eq=False)
class Axis:
    """One predictor of the grid.

    Attributes
    ----------
    name : str
        Column of the data.
    levels : tuple
        Labels of a factor (truth values: False, True), or numbers.
    kind : {"factor", "logical", "numbered", "covariate"}
        Numbered: numbers that the formula turns into a factor.
    codes : (n,) int array or None
        Level of each row of the data, -1 for none; None for a covariate of which all rows count
        for each of its values.
    """

    name: str
    levels: tuple[Level, ...]
    kind: str
    codes: np.ndarray | None

    def values(self) -> np.ndarray:
        """Levels as a column of data."""
        types: dict[str, type] = {"factor": object, "logical": bool}
        return np.array(self.levels, dtype=types.get(self.kind, float))

    def at(self, levels: Sequence[Any]) -> Axis:
        """The axis at other levels.

        Raises
        ------
        DataError
            The factor has no such level.
        """
        if self.kind in ("numbered", "covariate"):
            chosen: tuple[Level, ...] = tuple(float(level) for level in levels)
        else:
            chosen = tuple(level if level in self.levels else str(level) for level in levels)
        unknown = [level for level in chosen if level not in self.levels]
        if self.kind == "covariate" and (unknown or self.codes is None):
            return replace(self, levels=chosen, codes=None)
        if unknown:
            hint = nearest(str(unknown[0]), map(str, self.levels))
            raise DataError(f"{self.name!r} has no level {unknown[0]!r}.{hint}")
        assert self.codes is not None
        position = {level: i for i, level in enumerate(chosen)}
        new = np.array([*(position.get(level, -1) for level in self.levels), -1])
        return replace(self, levels=chosen, codes=new[self.codes])


@dataclass(frozen=True, eq=False)
class ReferenceGrid:
    """Model rows over all combinations of the predictors.

    Attributes
    ----------
    fixed : FixedEffects
        The model's fixed effects.
    axes : tuple of Axis
        The k predictors.
    offset : float
        Mean of the model's offset, a part of every mean.
    """

    fixed: FixedEffects
    axes: tuple[Axis, ...]
    offset: float

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the predictors."""
        return tuple(axis.name for axis in self.axes)

    @property
    def shape(self) -> tuple[int, ...]:
        """Numbers of levels."""
        return tuple(len(axis.levels) for axis in self.axes)

    def rows(self, **shifts: float) -> Matrix:
        """Rows of the model matrix, dropped columns too, (*shape, P); covariates shifted."""
        values = [
            axis.values() + shifts[axis.name] if axis.name in shifts else axis.values()
            for axis in self.axes
        ]
        mesh = np.meshgrid(*values, indexing="ij") if values else []
        size = int(np.prod(self.shape))
        data = {name: column.ravel() for name, column in zip(self.names, mesh, strict=True)}
        wanted = self.fixed.layout.predictor.variables
        columns, _ = self.fixed.variables.on(data, wanted) if wanted else ({}, size)
        return self.fixed.layout.matrix(columns, size).reshape(*self.shape, -1)

    def slopes(self, name: str) -> Matrix:
        """Derivatives of the rows in a covariate, (*shape, P), by central differences.

        Raises
        ------
        DataError
            The covariate is not a number of the fixed part.
        """
        axis = self.axis(name)
        if axis.kind != "covariate":
            raise DataError(f"{name!r} is a factor of the model: it has no slope")
        # Wide enough to round little, narrow enough that a spline or polynomial bends little.
        step = 1e-4 * max(1.0, float(np.max(np.abs(axis.values()))))
        return (self.rows(**{name: step}) - self.rows(**{name: -step})) / (2.0 * step)

    def axis(self, name: str) -> Axis:
        """The predictor of that name.

        Raises
        ------
        DataError
            The fixed part has no such predictor.
        """
        if name not in self.names:
            raise DataError(f"the fixed part has no predictor {name!r}.{nearest(name, self.names)}")
        return self.axes[self.names.index(name)]

    def average(self, rows: Matrix, keep: Sequence[str], weights: str = "equal") -> Matrix:
        """Average rows over the predictors that are not kept.

        Parameters
        ----------
        rows : (*shape, P) array
            Rows of the grid.
        keep : sequence of str
            Predictors to keep.
        weights : {"equal", "proportional", "outer", "cells"}
            Every combination the same; by frequency of the combinations averaged over; by the
            product of the predictors' own frequencies; by frequency within each kept cell.

        Returns
        -------
        (r, P) array
            The kept predictors in their order, the first one changing fastest.

        Raises
        ------
        ValueError
            Another name of weights.
        """
        if weights not in WEIGHTS:
            raise ValueError(f"weights must be one of {', '.join(WEIGHTS)}, not {weights!r}.")
        kept = [self.names.index(name) for name in keep]
        over = tuple(i for i in range(len(self.axes)) if i not in kept)
        w = self._weights(over, weights)
        with np.errstate(invalid="ignore"):  # cells without data: 0 / 0
            w = w / w.sum(axis=over, keepdims=True)
        mean = (rows * np.broadcast_to(w, self.shape)[..., None]).sum(axis=over)
        remaining = [i for i in range(len(self.axes)) if i in kept]
        # Reverse the kept axes, so that the first named one changes fastest when raveled.
        order = [remaining.index(i) for i in reversed(kept)]
        return np.asarray(mean.transpose(*order, len(order)).reshape(-1, rows.shape[-1]))

    def _weights(self, over: tuple[int, ...], weights: str) -> np.ndarray:
        if weights == "equal":
            return np.ones(self.shape)
        if weights == "cells":
            return self._counts
        others = tuple(i for i in range(len(self.axes)) if i not in over)
        if weights == "proportional":
            return np.asarray(self._counts.sum(axis=others, keepdims=True))
        product = np.ones((1,) * len(self.axes))
        for i in over:
            rest = tuple(j for j in range(len(self.axes)) if j != i)
            product = product * self._counts.sum(axis=rest, keepdims=True)
        return product

    @property
    def _counts(self) -> np.ndarray:
        """Rows of the data in each cell, (*shape); those of a covariate's values alike."""
        counts = np.zeros(self.shape)
        codes = [np.zeros(1, dtype=int) if axis.codes is None else axis.codes for axis in self.axes]
        aligned = np.broadcast_arrays(*codes)
        inside = np.logical_and.reduce([code >= 0 for code in aligned])
        np.add.at(counts, tuple(code[inside] for code in aligned), 1.0)
        for i, axis in enumerate(self.axes):
            if axis.codes is None:  # its rows were counted at the first value
                counts[:] = np.take(counts, [0], axis=i)
        return counts


def reference_grid(
    source: Source,
    at: Mapping[str, Any] | None = None,
    reduce: Callable[[Vector], Sequence[float]] = lambda values: (float(values.mean()),),
) -> ReferenceGrid:
    """Reference grid of a model.

    Parameters
    ----------
    source : Source
        The model.
    at : mapping, optional
        Levels or values to use instead, by predictor.
    reduce : callable
        Values that stand for a covariate, from its values (n,).

    Raises
    ------
    DataError
        `at` names what is not a predictor, or a level that a factor does not have.
    """
    matrices = source.fit.matrices
    fixed, rows = matrices.fixed, matrices.frame.rows
    nodes = [fixed.variables.nodes[text] for text in fixed.layout.predictor.variables]
    if nodes and source.call.data is None:
        raise DataError("the model was not fitted to a table: there is no data to make a grid of")
    table = Table.of({} if source.call.data is None else source.call.data)
    names = column_names(nodes, table)
    coerced = {
        name
        for node in nodes
        for call in walk(node)
        if isinstance(call, Call) and call.function in FACTOR_CALLS
        for name in variables(call)
    }
    columns = {name: table.column(name) for name in names}
    plain = {
        name: column.plain(name in coerced) if isinstance(column, Identifiers) else column
        for name, column in columns.items()
    }
    axes = {
        name: _axis(name, take(column, rows), name in coerced, reduce)
        for name, column in plain.items()
    }
    for name, levels in (at or {}).items():
        if name not in axes:
            raise DataError(f"the fixed part has no predictor {name!r}.{nearest(name, axes)}")
        axes[name] = axes[name].at(np.atleast_1d(np.asarray(levels, dtype=object)).tolist())
    offset = float(matrices.offset.mean())
    return ReferenceGrid(fixed, tuple(axes.values()), offset)


def _axis(
    name: str, column: Column, coerced: bool, reduce: Callable[[Vector], Sequence[float]]
) -> Axis:
    if isinstance(column, Factor):
        factor = drop_unused_levels(column)
        if factor.is_logical:
            return Axis(name, (False, True), "logical", factor.codes)
        return Axis(name, factor.levels, "factor", factor.codes)
    assert isinstance(column, np.ndarray)
    found, codes = np.unique(column, return_inverse=True)
    if coerced or len(found) <= KEPT_VALUES:
        return Axis(name, tuple(found.tolist()), "numbered" if coerced else "covariate", codes)
    return Axis(name, tuple(reduce(column)), "covariate", None)
