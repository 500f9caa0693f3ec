"""The model frame: the only place that knows missing values, weights, subset and offset."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast

import numpy as np
import pandas as pd

from lmm._brief import Brief
from lmm._types import Frozen, IntVector, Vector, read_only
from lmm.design.columns import (
    EXACT,
    Basis,
    Column,
    Factor,
    RawColumn,
    drop_unused_levels,
    is_missing,
    numbers_of,
    read_column,
    take,
)
from lmm.design.evaluate import Evaluator
from lmm.design.functions import NAMED_CONSTANTS
from lmm.design.functions.values import State
from lmm.design.labels import in_order
from lmm.design.table import Table, number_array, series_of
from lmm.errors import DataError, FormulaError, nearest
from lmm.language import Name, Node, parse_condition, variables

if TYPE_CHECKING:
    from lmm.design.summary import Summary

__all__ = ["NA_ACTIONS", "Frame", "Observations", "Variables", "build_frame"]

NA_ACTIONS = ("omit", "exclude", "raise")
R_NA_ACTIONS = {"na.omit": "omit", "na.exclude": "exclude", "na.fail": "raise"}

C = TypeVar("C", bound=Vector | Factor | Basis)

RowArgument: TypeAlias = str | bool | Sequence[Any] | np.ndarray | pd.Series | None


@dataclass(frozen=True, eq=False)
class Variables:
    """The variables of a formula with what they learned from the data: ready for new data.

    Attributes
    ----------
    nodes : mapping of str to Node
        Expression of each variable, by its text.
    state : dict
        Coefficients of the data-dependent transforms.
    levels : mapping of str to tuple of str
        Levels of the data's factors, by column.
    source : str
        The formula's text, for messages.
    """

    nodes: Mapping[str, Node]
    state: State
    levels: Mapping[str, tuple[str, ...]]
    source: str

    def on(self, data: Any, texts: Iterable[str]) -> tuple[dict[str, Column], int]:
        """Evaluate variables on new data.

        Parameters
        ----------
        data : table
            New data with the columns that the variables use.
        texts : iterable of str
            Which variables.

        Returns
        -------
        columns : dict of str to Column
            Their values; missing ones stay missing.
        n : int
            Number of rows.

        Raises
        ------
        DataError
            If a column is missing from the data.
        """
        table = Table.of(data)
        nodes = {text: self.nodes[text] for text in texts}
        evaluator = self._evaluator(table, nodes)
        return {text: evaluator.column(node) for text, node in nodes.items()}, table.n

    def groups_on(self, data: Any, texts: Iterable[str]) -> list[Factor]:
        """Evaluate grouping factors on new data; as for `on`."""
        nodes = {text: self.nodes[text] for text in texts}
        evaluator = self._evaluator(Table.of(data), nodes)
        return [evaluator.grouping(node) for node in nodes.values()]

    def _evaluator(self, table: Table, nodes: Mapping[str, Node]) -> Evaluator:
        columns = {
            name: self._with_known_levels(name, table.column(name))
            for name in column_names(nodes.values(), table)
        }
        return Evaluator(columns, self.state, self.source)

    def _with_known_levels(self, name: str, column: RawColumn) -> RawColumn:
        """Number the levels of a factor as the original data do; new levels come last."""
        known = self.levels.get(name)
        if known is None or not isinstance(column, Factor) or column.levels == known:
            return column
        return column.recode(tuple(dict.fromkeys((*known, *column.levels))))


def column_names(nodes: Iterable[Node], table: Table, what: str = "the formula") -> tuple[str, ...]:
    """Columns that expressions read: their names, less constants such as ``pi``.

    Parameters
    ----------
    nodes : iterable of Node
        The expressions.
    table : Table
        The data.
    what : str
        Where the expressions stand, for the message.

    Raises
    ------
    DataError
        If a name is neither a column nor a constant.
    """
    found = dict.fromkeys(name for node in nodes for name in variables(node))
    known = table.native.columns
    names = tuple(name for name in found if name in known or name not in NAMED_CONSTANTS)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise DataError(
            f"{what} uses {', '.join(map(repr, unknown))}, but the data have no such "
            f"column.{nearest(unknown[0], table.names)}"
        )
    return names


def used_columns(
    variables: Variables, table: Table, others: Sequence[str], subset: RowArgument
) -> list[str]:
    """Columns that a model reads, in the table's order: of its formula, and of its arguments."""
    found = {*column_names(variables.nodes.values(), table), *others}
    if isinstance(subset, str):
        is_name = subset in table.names
        found |= {subset} if is_name else set(column_names([parse_condition(subset)], table))
    return [name for name in table.names if name in found]


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
    summary : Summary or None
        What is kept of rows that were read batch by batch, and are not there.
    """

    columns: Mapping[str, Column]
    groups: Mapping[str, Factor]
    rows: IntVector
    selected: IntVector
    index: pd.Index | None
    na_action: str
    variables: Variables
    summary: Summary | None = None

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

    Raises
    ------
    DataError
        If an argument does not fit the data, or no row is left.
    """
    na_action = checked_action(na_action)
    everything = {**nodes, **groups}
    raw = {name: table.column(name) for name in column_names(everything.values(), table)}
    state: State = {}
    evaluator = Evaluator(raw, state, source)
    columns = {text: evaluator.column(node) for text, node in nodes.items()}
    factors = {text: evaluator.grouping(node) for text, node in groups.items()}
    levels = {name: column.levels for name, column in raw.items() if isinstance(column, Factor)}

    known = [numbers_of(columns[text], f"offset({text})") for text in offsets]
    selected = selected_rows(table, subset)
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
        Variables(everything, state, levels, source),
    )
    return Observations(
        frame,
        choice.weights,
        choice.offset,
        tuple(
            text for text, node in groups.items() if isinstance(node, Name) and lost(raw[node.id])
        ),
    )


def checked_action(na_action: str) -> str:
    """What to do with rows that have missing values, by this package's name or R's.

    Raises
    ------
    DataError
        It is none of `NA_ACTIONS`.
    """
    na_action = R_NA_ACTIONS.get(na_action, na_action)
    if na_action not in NA_ACTIONS:
        raise DataError(f"na_action must be one of {', '.join(NA_ACTIONS)}, not {na_action!r}")
    return na_action


@dataclass(frozen=True, eq=False)
class Choice:
    """The rows of a table that a model uses, and what belongs to them.

    Attributes
    ----------
    rows : (n,) int array
        Positions of the rows used.
    weights, offset : (n,) array or None
        Their prior weights and known part.
    missing : mapping of str to (m,) bool array
        By variable, which of the selected rows lack it.
    """

    rows: IntVector
    weights: Vector | None
    offset: Vector | None
    missing: Mapping[str, np.ndarray]


def choose_rows(
    table: Table,
    selected: IntVector,
    missing: Mapping[str, np.ndarray],
    weights: Vector | None,
    offset: Vector | None,
    na_action: str,
) -> Choice:
    """Choose the rows that are selected, complete and of positive weight.

    Parameters
    ----------
    table : Table
        The data, N rows.
    selected : (m,) int array
        Positions of the rows that are selected.
    missing : mapping of str to (N,) bool array
        Where the variables are missing.
    weights, offset : (N,) array or None
        Prior weights and known part of all rows.
    na_action : str
        One of `NA_ACTIONS`.

    Raises
    ------
    DataError
        A value is missing though `na_action` is ``"raise"``, or a weight is negative or infinite.
    """
    # R's names in the model frame, which no variable has.
    by_row = {"(offset)": offset, "(weights)": weights}
    checked = {**missing}
    checked |= {name: is_missing(values) for name, values in by_row.items() if values is not None}
    if len(selected) < table.n:
        checked = {name: values[selected] for name, values in checked.items()}
    complete = ~np.logical_or.reduce(list(checked.values())) if checked else None
    used = _usable_rows(selected, complete, checked, weights, na_action)
    return Choice(
        used,
        None if weights is None else weights[used],
        None if offset is None else offset[used],
        checked,
    )


def lost(column: RawColumn) -> bool:
    """Tell whether doubles stand for whole numbers so large that neighbours are one double."""
    return isinstance(column, np.ndarray) and bool((np.abs(column) >= EXACT).any())


def _at_rows(column: C, rows: IntVector, n: int) -> C:
    taken: Any = column if len(rows) == n else take(column, rows)
    used = drop_unused_levels(taken) if isinstance(taken, Factor) else read_only(taken)
    return cast(C, used)


def selected_rows(table: Table, subset: RowArgument, state: State | None = None) -> IntVector:
    """Positions of the rows for which a condition holds, or that are true in an array.

    `state` holds what the condition's functions learned from other rows.
    """
    if subset is None or subset is True:
        return np.arange(table.n)
    if isinstance(subset, str):
        truth, count = _condition(table, subset, {} if state is None else state), table.n
    else:
        found = series_of(in_order(subset, table.index, "subset"), "subset")
        truth, count = read_column(found, "subset"), len(found)
    if not (isinstance(truth, Factor) and truth.is_logical and count == table.n):
        raise DataError(
            f"subset must hold {table.n} truth values, one per row of the data, not "
            f"{count} {_kind(truth)}"
        )
    return np.flatnonzero(truth.codes == 1)


def _condition(table: Table, text: str, state: State) -> RawColumn | Basis:
    """A column by its name, or the value of a condition in the language of formulas."""
    if text in table.names:
        return table.column(text)
    try:
        node = parse_condition(text)
        raw = {name: table.column(name) for name in column_names([node], table, "it")}
        return Evaluator(raw, state, text).column(node)
    except (DataError, FormulaError) as error:
        shown = text if len(text) <= 80 else f"{text[:77]}..."
        raise DataError(f"subset {shown!r} cannot be evaluated: {error}") from error


def _kind(column: RawColumn | Basis) -> str:
    if isinstance(column, Factor):
        return "truth values" if column.is_logical else "texts or categories"
    return "numbers" if isinstance(column, np.ndarray | Basis) else "identifiers or dates"


def row_numbers(table: Table, values: RowArgument, name: str) -> Vector | None:
    """One number per row, from a column's name or an array."""
    if values is None:
        return None
    if isinstance(values, str):
        return numbers_of(table.column(values), f"{name} {values!r}")
    numbers = number_array(in_order(values, table.index, name), name)
    if numbers.shape != (table.n,):
        raise DataError(
            f"{name} must hold {table.n} numbers, one per row of the data, not shape "
            f"{numbers.shape}"
        )
    return numbers


def add_up(known: Sequence[Vector], argument: Vector | None) -> Vector | None:
    """Sum of the formula's offsets and the argument's."""
    parts = [*known] if argument is None else [*known, argument]
    return np.sum(parts, axis=0, dtype=np.float64) if parts else None


def _usable_rows(
    selected: IntVector,
    complete: np.ndarray | None,
    missing: Mapping[str, np.ndarray],
    weights: Vector | None,
    na_action: str,
) -> IntVector:
    """Rows that are selected, complete and of positive weight."""
    used = selected if complete is None or complete.all() else selected[complete]
    if len(used) < len(selected) and na_action == "raise":
        text, rows = next((text, rows) for text, rows in missing.items() if rows.any())
        raise DataError(
            f"missing values in {text!r}: {int(rows.sum())} of {len(rows)} rows, and na_action is "
            "'raise'. Use na_action='omit' or 'exclude' to leave such rows out"
        )
    if weights is not None:
        used = used[_positive(weights[used], used)]
    return used


def _positive(weights: Vector, rows: IntVector) -> np.ndarray:
    bad = ~(weights >= 0) | np.isinf(weights)
    if bad.any():
        first = int(np.argmax(bad))
        raise DataError(
            f"weights must be finite and not negative: {int(bad.sum())} are not, first "
            f"{weights[first]} at row {rows[first]}"
        )
    return weights > 0


def _why_empty(n: int, selected: IntVector, missing: Mapping[str, np.ndarray]) -> str:
    if n == 0:
        return "the data have no rows"
    if len(selected) == 0:
        return "subset selects no row"
    empty = [text for text, rows in missing.items() if rows.all()]
    if empty:
        return f"{', '.join(map(repr, empty))} is missing in every selected row"
    return "every selected row has a missing value or zero weight"
