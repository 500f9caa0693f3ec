"""The rows that a model uses: the only place that knows missing values, weights, subset, offset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from lmm._types import IntVector, Vector
from lmm.design.columns import (
    Basis,
    Factor,
    RawColumn,
    is_missing,
    numbers_of,
    read_column,
)
from lmm.design.evaluate import Evaluator
from lmm.design.functions.values import State
from lmm.design.labels import in_order
from lmm.design.table import Table, number_array, series_of
from lmm.design.variables import Variables, column_names
from lmm.errors import DataError, FormulaError
from lmm.language.parse import parse_condition

NA_ACTIONS = ("omit", "exclude", "raise")
R_NA_ACTIONS = {"na.omit": "omit", "na.exclude": "exclude", "na.fail": "raise"}
RowArgument: TypeAlias = str | bool | Sequence[Any] | np.ndarray | pd.Series | None


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
    used = _usable_rows(selected, checked, weights, na_action)
    return Choice(
        used,
        None if weights is None else weights[used],
        None if offset is None else _finite(offset[used], used),
        checked,
    )


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
    missing: Mapping[str, np.ndarray],
    weights: Vector | None,
    na_action: str,
) -> IntVector:
    """Rows that are selected, complete and of positive weight."""
    used, lacking = selected, [text for text, rows in missing.items() if rows.any()]
    if lacking and na_action == "raise":
        text, rows = lacking[0], missing[lacking[0]]
        raise DataError(
            f"missing values in {text!r}: {int(rows.sum())} of {len(rows)} rows, and na_action is "
            "'raise'. Use na_action='omit' or 'exclude' to leave such rows out"
        )
    if lacking:
        used = selected[~np.logical_or.reduce([missing[text] for text in lacking])]
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


def _finite(offset: Vector, rows: IntVector) -> Vector:
    """Offsets that are numbers: an exposure of 0 has no logarithm."""
    bad = np.isinf(offset)
    if bad.any():
        first = int(np.argmax(bad))
        raise DataError(
            f"the offset must be finite: {int(bad.sum())} of {len(rows)} rows are not, first "
            f"{offset[first]} at row {rows[first]}. Leave such rows out by subset="
        )
    return offset


def used_columns(
    variables: Variables, table: Table, others: Sequence[str], subset: RowArgument
) -> list[str]:
    """Columns that a model reads, in the table's order: of its formula, and of its arguments."""
    found = {*column_names(variables.nodes.values(), table), *others}
    if isinstance(subset, str):
        is_name = subset in table.names
        found |= {subset} if is_name else set(column_names([parse_condition(subset)], table))
    return [name for name in table.names if name in found]
