"""The model frame: the only place that knows missing values, weights, subset and offset."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from lmm._types import IntVector, Vector
from lmm.design.columns import Column, Factor, drop_unused_levels, is_missing, read_column, take
from lmm.design.evaluate import Evaluator
from lmm.design.functions import NAMED_CONSTANTS
from lmm.design.functions.values import State
from lmm.errors import DataError, nearest
from lmm.language import Node, variables

__all__ = ["NA_ACTIONS", "Frame", "Observations", "Table", "Variables", "build_frame"]

NA_ACTIONS = ("omit", "exclude", "raise")

RowArgument: TypeAlias = str | Sequence[Any] | np.ndarray | pd.Series | None


@dataclass(frozen=True, eq=False)
class Table:
    """A table of any supported kind, read column by column.

    Parameters
    ----------
    native : DataFrame, Table or mapping of arrays
        pandas, anything that narwhals reads (polars, pyarrow), or a dict of arrays.
    """

    native: Any

    @classmethod
    def of(cls, data: Any) -> Table:
        """Table of what the user gave.

        Raises
        ------
        DataError
            If it is not a table, or the arrays of a dict differ in length.
        """
        if isinstance(data, pd.DataFrame):
            if data.columns.inferred_type != "string":
                # Formulas name columns by text, so a column 0 is written `0`.
                data = data.set_axis([str(name) for name in data.columns], axis=1)
            return cls(data)
        if isinstance(data, Mapping):
            columns = {str(name): _as_series(values, str(name)) for name, values in data.items()}
            lengths = {name: len(values) for name, values in columns.items()}
            if len(set(lengths.values())) > 1:
                listed = ", ".join(f"{name} has {length}" for name, length in lengths.items())
                raise DataError(f"the columns of the data differ in length: {listed}")
            return cls(pd.DataFrame(columns))
        import narwhals.stable.v1 as narwhals

        native = narwhals.from_native(data, eager_only=True, pass_through=True)
        if not isinstance(native, narwhals.DataFrame):
            raise DataError(
                "data must be a pandas, polars or pyarrow table, or a dict of arrays, not "
                f"{type(data).__name__}"
            )
        return cls(native)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(self.native.columns)

    @property
    def n(self) -> int:
        """Number of rows."""
        return len(self.native)

    @property
    def index(self) -> pd.Index | None:
        """Labels of the rows, for pandas."""
        return self.native.index if isinstance(self.native, pd.DataFrame) else None

    def series(self, name: str) -> pd.Series:
        """One column.

        Raises
        ------
        DataError
            If there is no such column, or more than one.
        """
        if name not in self.native.columns:
            raise DataError(f"there is no column {name!r} in the data.{nearest(name, self.names)}")
        values = self.native[name]
        if isinstance(values, pd.DataFrame):
            raise DataError(f"the data have {values.shape[1]} columns named {name!r}")
        return values if isinstance(values, pd.Series) else _narwhals_series(values)

    def column(self, name: str) -> Column:
        """One column, as the model reads it."""
        return read_column(self.series(name), name)

    def query(self, expression: str) -> Any:
        """Value of an expression of the columns, as `pandas.DataFrame.eval` takes it."""
        native = self.native
        if not isinstance(native, pd.DataFrame):
            native = pd.DataFrame({name: self.series(name) for name in self.names})
        try:
            return native.eval(expression)
        except (SyntaxError, NameError, TypeError, ValueError, AttributeError, KeyError) as error:
            raise DataError(f"subset {expression!r} cannot be evaluated: {error}") from error


def _as_series(values: Any, name: str) -> pd.Series:
    if isinstance(values, pd.Series):
        return values.reset_index(drop=True)
    series = values if isinstance(values, pd.Categorical) else np.asarray(values)
    if np.ndim(series) != 1:
        raise DataError(f"column {name!r} must have one dimension, not shape {np.shape(series)}")
    return pd.Series(series)


def _narwhals_series(values: Any) -> pd.Series:
    """Make a pandas Series of a narwhals one, without needing pyarrow."""
    import narwhals.stable.v1 as narwhals

    if values.dtype in (narwhals.Categorical, narwhals.Enum):
        categories = values.cat.get_categories().to_list()
        return pd.Series(pd.Categorical(values.to_list(), categories=categories))
    if values.dtype.is_integer() and not values.null_count():
        return pd.Series(values.to_numpy())
    if values.dtype.is_numeric():
        return pd.Series(values.cast(narwhals.Float64).to_numpy())
    return pd.Series(values.to_list(), dtype=object)


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
        table = data if isinstance(data, Table) else Table.of(data)
        nodes = {text: self.nodes[text] for text in texts}
        columns = {
            name: self._with_known_levels(name, table.column(name))
            for name in column_names(nodes.values(), table)
        }
        evaluator = Evaluator(columns, self.state, self.source)
        return {text: evaluator.column(node) for text, node in nodes.items()}, table.n

    def _with_known_levels(self, name: str, column: Column) -> Column:
        """Number the levels of a factor as the original data do; new levels come last."""
        known = self.levels.get(name)
        if known is None or not isinstance(column, Factor) or column.levels == known:
            return column
        return column.recode(tuple(dict.fromkeys((*known, *column.levels))))


def column_names(nodes: Iterable[Node], table: Table) -> tuple[str, ...]:
    """Columns that expressions read: their names, less constants such as ``pi``.

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
            f"the formula uses {', '.join(map(repr, unknown))}, but the data have no such "
            f"column.{nearest(unknown[0], table.names)}"
        )
    return names


@dataclass(frozen=True, eq=False)
class Frame:
    """The rows and variables of the data that a model uses (R's model frame).

    Attributes
    ----------
    columns : mapping of str to Column
        The formula's variables by their text, at the rows used; factors without unused levels.
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
    """

    columns: Mapping[str, Column]
    rows: IntVector
    selected: IntVector
    index: pd.Index | None
    na_action: str
    variables: Variables

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

    def at_rows(self, rows: IntVector) -> Frame:
        """The frame of some of its rows, given by position among the n."""
        columns = {text: take(column, rows) for text, column in self.columns.items()}
        kept = self.rows[rows]
        return replace(self, columns=columns, rows=kept, selected=kept)

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

    def response_values(self, y: Any) -> Vector:
        """Another response for the rows used, from values for them or for all selected rows.

        Parameters
        ----------
        y : (n,) or (m,) array
            Values.

        Raises
        ------
        DataError
            The length is neither n nor m, or a value for a row used is missing or infinite.
        """
        values = np.asarray(y, dtype=np.float64)
        if values.shape == self.selected.shape:
            values = values[np.searchsorted(self.selected, self.rows)]
        if values.shape != self.rows.shape:
            sizes = dict.fromkeys((len(self.rows), len(self.selected)))
            raise DataError(
                f"the new response has shape {values.shape}, but the model has "
                f"{' (used) or '.join(map(str, sizes))} rows"
            )
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
    """A frame with the prior weights and the known offset of its rows, (n,) or None."""

    frame: Frame
    weights: Vector | None
    offset: Vector | None


def build_frame(
    nodes: Mapping[str, Node],
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
        The formula's variables.
    offsets : sequence of str
        Those of them that are offsets.
    table : Table
        The data.
    source : str
        The formula's text, for messages.
    weights, offset : str or array, optional
        Column name or one number per row of the data. Rows of weight zero are left out, as in lm.
    subset : str or array of bool, optional
        Column name, expression as `pandas.DataFrame.eval` takes it, or truth value per row.
    na_action : str
        ``"omit"`` and ``"exclude"`` leave out rows with missing values, ``"raise"`` refuses them.

    Raises
    ------
    DataError
        If an argument does not fit the data, or no row is left.
    """
    if na_action not in NA_ACTIONS:
        raise DataError(f"na_action must be one of {', '.join(NA_ACTIONS)}, not {na_action!r}")
    raw = {name: table.column(name) for name in column_names(nodes.values(), table)}
    state: State = {}
    evaluator = Evaluator(raw, state, source)
    columns = {text: evaluator.column(node) for text, node in nodes.items()}
    levels = {name: column.levels for name, column in raw.items() if isinstance(column, Factor)}

    selected = _selected_rows(table, subset)
    prior = row_numbers(table, weights, "weights")
    known = [_number_column(columns[text], f"offset({text})") for text in offsets]
    total = _add_up(known, row_numbers(table, offset, "offset"))

    checked = columns if total is None else {**columns, "offset": total}
    missing = {text: is_missing(column)[selected] for text, column in checked.items()}
    complete = ~np.logical_or.reduce(list(missing.values())) if missing else None
    used = _usable_rows(table, selected, complete, missing, prior, na_action)
    frame = Frame(
        {text: _at_rows(column, used, table.n) for text, column in columns.items()},
        used,
        selected,
        table.index,
        na_action,
        Variables(nodes, state, levels, source),
    )
    return Observations(
        frame,
        None if prior is None else prior[used],
        None if total is None else total[used],
    )


def _at_rows(column: Column, rows: IntVector, n: int) -> Column:
    taken = column if len(rows) == n else take(column, rows)
    return drop_unused_levels(taken) if isinstance(taken, Factor) else taken


def _selected_rows(table: Table, subset: RowArgument) -> IntVector:
    if subset is None:
        return np.arange(table.n)
    if isinstance(subset, str):
        named = subset in table.native.columns
        values = table.series(subset) if named else table.query(subset)
    else:
        values = subset
    values = pd.array(np.asarray(_aligned(table, values, "subset")))
    if len(values) != table.n or values.dtype.kind != "b":
        raise DataError(
            f"subset must hold {table.n} truth values, one per row of the data, not "
            f"{len(values)} of type {values.dtype}"
        )
    return np.flatnonzero(values.to_numpy(dtype=bool, na_value=False))


def _aligned(table: Table, values: Any, name: str) -> Any:
    """Refuse a Series whose labels stand in another order than the data's."""
    if (
        isinstance(values, pd.Series)
        and table.index is not None
        and len(values) == table.n
        and not values.index.equals(table.index)
    ):
        raise DataError(f"the index of {name} is not that of the data: align them, or pass arrays")
    return values


def row_numbers(table: Table, values: RowArgument, name: str) -> Vector | None:
    """One number per row, from a column's name or an array."""
    if values is None:
        return None
    if isinstance(values, str):
        return _number_column(table.column(values), f"{name} {values!r}")
    numbers = np.asarray(_aligned(table, values, name), dtype=np.float64)
    if numbers.shape != (table.n,):
        raise DataError(
            f"{name} must hold {table.n} numbers, one per row of the data, not shape "
            f"{numbers.shape}"
        )
    return numbers


def _add_up(known: Sequence[Vector], argument: Vector | None) -> Vector | None:
    """Sum of the formula's offsets and the argument's."""
    parts = [*known] if argument is None else [*known, argument]
    return np.sum(parts, axis=0, dtype=np.float64) if parts else None


def _number_column(column: Column, name: str) -> Vector:
    if not isinstance(column, np.ndarray):
        raise DataError(f"{name} must be numeric, one number per row")
    return column


def _usable_rows(
    table: Table,
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
    if len(used) == 0:
        raise DataError(f"0 (non-NA) cases: {_why_empty(table.n, selected, missing)}")
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
