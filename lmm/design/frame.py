"""The model frame: the rows and columns that a model uses, and where they were in the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
import pandas as pd

from lmm._brief import Brief
from lmm._types import Frozen, IntVector, Vector
from lmm.design.columns import (
    EXACT,
    Basis,
    Column,
    Factor,
    RawColumn,
    drop_unused_levels,
    is_missing,
    numbers_of,
    take,
)
from lmm.design.evaluate import Evaluator
from lmm.design.functions.own import Own
from lmm.design.functions.values import State
from lmm.design.labels import in_order
from lmm.design.table import Table, number_array
from lmm.errors import DataError
from lmm.language.tree import Name, Node

if TYPE_CHECKING:
    from lmm.design.column_summary import ColumnSummary
from lmm.design.choice import (
    RowArgument,
    add_up,
    checked_action,
    choose_rows,
    row_numbers,
    selected_rows,
)
from lmm.design.variables import Variables, column_names

C = TypeVar("C", bound=Vector | Factor | Basis)


@dataclass(frozen=True, eq=False, repr=False)
class Frame(Frozen, Brief):
    """The rows and variables of the data that a model uses (R's model frame).

    Attributes
    ----------
    columns : mapping of str to Column
        The formula's variables by their text, at the rows used; factors without unused levels.
    groups : mapping of str to Factor
        The variables that group, likewise: exact where their values are no doubles.
    rows : (n,) int array
        Positions in the data of the rows used.
    selected : (m,) int array
        Positions of the rows that `subset` selects, among them those with missing values.
    index : pandas.Index or None
        Labels of all rows of the data, when it is a pandas table.
    na_action : str
        ``"omit"``, ``"exclude"`` or ``"raise"``.
    variables : Variables
        The recipe of the columns, for new data.
    summary : ColumnSummary or None
        What is kept of rows that were read batch by batch, and are not there.
    """

    columns: Mapping[str, Column]
    groups: Mapping[str, Factor]
    rows: IntVector
    selected: IntVector
    index: pd.Index | None
    na_action: str
    variables: Variables
    summary: ColumnSummary | None = None

    @property
    def n(self) -> int:
        """Number of rows used."""
        return len(self.rows)

    @property
    def n_omitted(self) -> int:
        """Number of selected rows left out because of missing values or zero weights."""
        return len(self.selected) - len(self.rows)

    @property
    def labels(self) -> pd.Index:
        """Labels of the rows that results per observation have; see `pad`."""
        rows = self.selected if self.na_action == "exclude" else self.rows
        return pd.Index(rows) if self.index is None else self.index[rows]

    @property
    def used(self) -> pd.Index:
        """Labels of the n rows used."""
        return pd.Index(self.rows) if self.index is None else self.index[self.rows]

    def at_rows(self, rows: IntVector) -> Frame:
        """The frame of some of its rows, given by position among the n."""
        columns = {text: take(column, rows) for text, column in self.columns.items()}
        groups = {text: factor.at_rows(rows) for text, factor in self.groups.items()}
        kept = self.rows[rows]
        return replace(self, columns=columns, groups=groups, rows=kept, selected=kept)

    def by_row(self, values: Vector) -> pd.Series[float]:
        """Results per observation (n,) as a Series of the caller's own; see `pad`."""
        return pd.Series(self.pad(values), index=self.labels, dtype=float, copy=True)

    def pad(self, values: Vector) -> Vector:
        """Results per observation, with NaN at rows left out if `na_action` is ``"exclude"``.

        Parameters
        ----------
        values : (n,) array
            One value per row used.

        Returns
        -------
        (n,) or (m,) array
        """
        if self.na_action != "exclude" or self.n_omitted == 0:
            return values
        padded = np.full(len(self.selected), np.nan)
        padded[np.searchsorted(self.selected, self.rows)] = values
        return padded

    def rows_of(self, values: Any, name: str) -> Any:
        """Rows used of labelled or positional values for them, or for all selected rows.

        Parameters
        ----------
        values : (n, ...) or (m, ...) array, Series or DataFrame
            One row per row used or selected; labelled ones may also have one per row of the data,
            and are put in the data's order.
        name : str
            What messages call them.

        Raises
        ------
        DataError
            The number of rows or their labels are others.
        """
        choices = [self.rows, self.selected]
        if self.index is not None and isinstance(values, pd.Series | pd.DataFrame):
            choices.append(np.arange(len(self.index)))
        for rows in choices:
            if len(rows) == len(values):
                index = None if self.index is None else self.index[rows]
                ordered = in_order(values, index, name)
                positions = np.searchsorted(rows, self.rows)
                return getattr(ordered, "iloc", ordered)[positions]
        sizes = dict.fromkeys((len(self.rows), len(self.selected)))
        raise DataError(
            f"{name} has shape {np.shape(values)}, but the model has "
            f"{' (used) or '.join(map(str, sizes))} rows"
        )

    def response_values(self, y: Any) -> Vector:
        """Another response for the rows used, from values for them or for all selected rows.

        Parameters
        ----------
        y : (n,) or (m,) array, Series or DataFrame of one column
            Values; labelled ones are put in the data's order.

        Raises
        ------
        DataError
            The length is neither n nor m, or a value for a row used is missing or infinite.
        """
        name = "the new response"
        if isinstance(y, pd.DataFrame) and y.shape[1] == 1:
            y = y.iloc[:, 0]
        given = y if isinstance(y, pd.Series) else number_array(y, name)
        values = number_array(self.rows_of(given, name), name)
        if not np.isfinite(values).all():
            bad = ~np.isfinite(values)
            raise DataError(
                f"the new response is missing or infinite in {int(bad.sum())} of {len(bad)} rows, "
                f"first at {self.row_name(int(np.argmax(bad)))}"
            )
        return values

    def row_name(self, i: int) -> str:
        """How messages name the i-th row used: by its label, else by its position."""
        row = int(self.rows[i])
        return f"row {row}" if self.index is None else f"row {self.index[row]!r}"


@dataclass(frozen=True, eq=False)
class Observations:
    """A frame with the prior weights and the known offset of its rows, (n,) or None.

    Attributes
    ----------
    inexact : tuple of str
        Grouping factors whose whole numbers are doubles that cannot be told from their neighbours.
    """

    frame: Frame
    weights: Vector | None
    offset: Vector | None
    inexact: tuple[str, ...]


def build_frame(
    nodes: Mapping[str, Node],
    groups: Mapping[str, Node],
    offsets: Sequence[str],
    table: Table,
    source: str,
    *,
    weights: RowArgument = None,
    offset: RowArgument = None,
    subset: RowArgument = None,
    na_action: str = "omit",
    own: Mapping[str, Own] | None = None,
) -> Observations:
    """Evaluate the variables and keep the rows that are selected and complete.

    As in R, variables are evaluated on all rows before rows are left out: the mean in
    ``scale(x)`` does not depend on `subset`, nor on missing values of other variables.

    Parameters
    ----------
    nodes : mapping of str to Node
        The formula's variables other than grouping factors.
    groups : mapping of str to Node
        The variables that group.
    offsets : sequence of str
        Those of `nodes` that are offsets.
    table : Table
        The data.
    source : str
        The formula's text, for messages.
    weights, offset : str or array, optional
        Column name or one number per row of the data. Rows of weight zero are left out, as in lm;
        missing numbers are missing values.
    subset : str or array of bool, optional
        Column name, condition such as ``"Days >= 2 & Subject != '308'"``, or truth value per row.
    na_action : str
        ``"omit"`` and ``"exclude"`` leave out rows with missing values, ``"raise"`` refuses them.
    own : mapping of str to Own, optional
        The caller's functions.

    Raises
    ------
    DataError
        If an argument does not fit the data, or no row is left.
    """
    na_action = checked_action(na_action)
    everything = {**nodes, **groups}
    raw = {name: table.column(name) for name in column_names(everything.values(), table)}
    state: State = {}
    evaluator = Evaluator(raw, state, source, own or {})
    columns = {text: evaluator.column(node) for text, node in nodes.items()}
    factors = {text: evaluator.grouping(node) for text, node in groups.items()}
    levels = {name: column.levels for name, column in raw.items() if isinstance(column, Factor)}

    known = [numbers_of(columns[text], f"offset({text})") for text in offsets]
    selected = selected_rows(table, subset, state)
    choice = choose_rows(
        table,
        selected,
        {text: is_missing(column) for text, column in {**columns, **factors}.items()},
        row_numbers(table, weights, "weights"),
        add_up(known, row_numbers(table, offset, "offset")),
        na_action,
    )
    used = choice.rows
    if len(used) == 0:
        raise DataError(f"0 (non-NA) cases: {_why_empty(table.n, selected, choice.missing)}")
    frame = Frame(
        {text: _at_rows(column, used, table.n) for text, column in columns.items()},
        {text: _at_rows(factor, used, table.n) for text, factor in factors.items()},
        used,
        selected,
        table.index,
        na_action,
        Variables(everything, state, levels, source, own or {}),
    )
    return Observations(
        frame,
        choice.weights,
        choice.offset,
        tuple(
            text for text, node in groups.items() if isinstance(node, Name) and lost(raw[node.id])
        ),
    )


def lost(column: RawColumn) -> bool:
    """Tell whether doubles stand for whole numbers so large that neighbours are one double."""
    return isinstance(column, np.ndarray) and bool((np.abs(column) >= EXACT).any())


def _at_rows(column: C, rows: IntVector, n: int) -> C:
    taken: Any = column if len(rows) == n else take(column, rows)
    return cast(C, drop_unused_levels(taken) if isinstance(taken, Factor) else taken)


def _why_empty(n: int, selected: IntVector, missing: Mapping[str, np.ndarray]) -> str:
    if n == 0:
        return "the data have no rows"
    if len(selected) == 0:
        return "subset selects no row"
    empty = [text for text, rows in missing.items() if rows.all()]
    if empty:
        return f"{', '.join(map(repr, empty))} is missing in every selected row"
    return "every selected row has a missing value or zero weight"
