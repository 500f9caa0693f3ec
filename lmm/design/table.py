"""Tables of any supported kind, read column by column without losing a digit or a missing value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from lmm._types import Matrix, Vector
from lmm.design.columns import EXACT, RawColumn, array_of, numbers_of, read_array, read_column
from lmm.design.labels import in_order
from lmm.design.matrix_columns import apart
from lmm.errors import DataError, nearest


@dataclass(frozen=True, eq=False)
class Table:
    """A table of any supported kind, read column by column.

    Parameters
    ----------
    native : DataFrame
        pandas', or narwhals' of anything else.
    is_own : bool
        Whether nobody else can change it.
    """

    native: Any
    is_own: bool = False

    @classmethod
    def of(cls, data: Any) -> Table:
        """Table of what the user gave.

        Parameters
        ----------
        data : DataFrame, table, relation or mapping of arrays
            pandas; anything that narwhals reads (polars, also lazy, pyarrow, DuckDB); or a dict of
            arrays, whose Series must have the same row labels. A matrix in a dict, or a table, is
            one term of a formula (`lmm.design.matrix_columns`).

        Raises
        ------
        DataError
            If it is not a table, or the arrays of a dict do not belong together.
        """
        if isinstance(data, Table):
            return data
        if isinstance(data, pd.DataFrame):
            if data.columns.inferred_type != "string":
                # Formulas name columns by text, so a column 0 is written `0`.
                data = data.set_axis([str(name) for name in data.columns], axis=1)
            return cls(data)
        if isinstance(data, Mapping):
            return cls(_frame_of_mapping(data))
        import narwhals.stable.v2 as narwhals

        native = narwhals.from_native(data, pass_through=True)
        if isinstance(native, narwhals.LazyFrame):
            native = native.collect()
        if not isinstance(native, narwhals.DataFrame):
            raise DataError(
                "data must be a pandas, polars or pyarrow table, a DuckDB relation or a dict of "
                f"arrays, not {type(data).__name__}"
            )
        return cls(native)

    def frozen(self) -> Table:
        """The table as it is now, which later changes of the user's own leave alone."""
        return self if self.is_own else Table(self._copy(), is_own=True)

    def _copy(self) -> Any:
        if isinstance(self.native, pd.DataFrame):
            return self.native.copy(deep=not _copies_on_write())
        return self.native.clone()

    def to_native(self) -> Any:
        """A table of the user's kind (pandas for a dict), which may be changed freely."""
        copy = self._copy()
        return copy if isinstance(copy, pd.DataFrame) else copy.to_native()

    def like(self, frame: pd.DataFrame) -> Any:
        """A pandas table as one of the user's kind, labels of rows as columns."""
        if not isinstance(frame.index, pd.RangeIndex):
            names = [str(name or "row") for name in frame.index.names]
            frame = frame.rename_axis(index=names).reset_index()
        if isinstance(self.native, pd.DataFrame):
            return frame
        import narwhals.stable.v2 as narwhals

        known = frame.astype(object).where(frame.notna(), None)
        columns = {str(name): known[name].tolist() for name in known}
        return narwhals.from_dict(columns, backend=self.native.implementation).to_native()

    @property
    def label(self) -> str | None:
        """Name of the table, where it has one (``data.attrs["name"]``)."""
        name = getattr(self.native, "attrs", {}).get("name")
        return None if name is None else str(name)

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

    def column(self, name: str) -> RawColumn:
        """One column, as the model reads it."""
        native = self.native
        if isinstance(native, pd.DataFrame) and name in native.columns and native.columns.is_unique:
            return read_array(_array_at(native, native.columns.get_loc(name)), name)
        return read_column(self.series(name), name)


# What pandas itself reads columns by: to make a Series takes longer than to read it.
_array_at: Callable[[pd.DataFrame, Any], Any] = getattr(
    pd.DataFrame, "_get_column_array", lambda frame, i: array_of(frame.iloc[:, i])
)


def _copies_on_write() -> bool:
    """Whether pandas copies shared columns when they are written to: always from version 3."""
    return int(pd.__version__.split(".")[0]) >= 3 or pd.options.mode.copy_on_write is True


def _frame_of_mapping(data: Mapping[Any, Any]) -> pd.DataFrame:
    """Columns of a dict side by side; labelled ones in the order of the first that is."""
    whole = [apart(str(name), values) for name, values in data.items()]
    data = {name: values for columns in whole for name, values in columns.items()}
    columns = {str(name): series_of(values, str(name)) for name, values in data.items()}
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        raise DataError(f"the columns of the data differ in length: {listed}")
    labelled = [values for values in data.values() if isinstance(values, pd.Series)]
    index = labelled[0].index if labelled else None
    all_labelled = len(labelled) == len(columns)
    arrays = {}
    for name, values in zip(columns, data.values(), strict=True):
        own = columns[name]
        if isinstance(values, pd.Series):
            others = "the columns before it"
            own = in_order(own, index, f"column {name!r}", others, may_reorder=all_labelled)
        arrays[name] = own.array
    return pd.DataFrame(arrays, index=index, copy=True)


def series_of(values: Any, name: str) -> pd.Series:
    """One column of values of any supported kind.

    Missing values stay missing (masked, None, NaN among texts) and whole numbers exact.

    Parameters
    ----------
    values : Series, array, masked array or sequence, (n,)
        The values.
    name : str
        What messages call them.

    Raises
    ------
    DataError
        If they do not have one dimension.

    Examples
    --------
    >>> series_of(np.ma.masked_equal([1, 2, 9], 9), "x").tolist()
    [1, 2, <NA>]
    """
    if isinstance(values, pd.Series):
        return values
    if not isinstance(values, list | tuple | np.ndarray):
        values = _foreign(values)
    if isinstance(values, pd.Series | pd.Index | pd.api.extensions.ExtensionArray):
        return pd.Series(values)
    array = _unmasked(values) if isinstance(values, np.ma.MaskedArray) else _exact_array(values)
    if np.ndim(array) != 1:
        raise DataError(f"{name!r} must have one dimension, not shape {np.shape(array)}")
    return pd.Series(array)


def _foreign(values: Any) -> Any:
    """What polars and pyarrow call a column, as a Series; anything else as it is."""
    if hasattr(values, "to_pylist"):  # pyarrow's Array, which narwhals does not read
        return values.to_pylist()
    import narwhals.stable.v2 as narwhals

    column = narwhals.from_native(values, series_only=True, pass_through=True)
    return _narwhals_series(column) if isinstance(column, narwhals.Series) else values


def _unmasked(values: np.ma.MaskedArray[Any, Any]) -> Any:
    """A masked array with its masked values missing."""
    missing, plain = np.ma.getmaskarray(values), np.ma.getdata(values)
    if plain.ndim != 1:
        return plain
    match plain.dtype.kind:
        case "f":
            return np.where(missing, np.nan, plain)
        case "i" | "u":
            return pd.arrays.IntegerArray(plain.copy(), missing.copy())
        case "b":
            return pd.arrays.BooleanArray(plain.copy(), missing.copy())
        case _:
            texts = plain.astype(object)
            texts[missing] = None
            return texts


def _exact_array(values: Any) -> np.ndarray:
    """Array of a sequence that numpy does not turn into texts or into inexact doubles."""
    if isinstance(values, np.ndarray):
        return values
    try:
        array = np.asarray(values)
    except ValueError:  # of sequences that differ in length
        array = np.asarray(values, dtype=object)
    if array.ndim == 1 and (
        array.dtype.kind in "US" or (array.dtype.kind == "f" and (np.abs(array) >= EXACT).any())
    ):
        array = np.empty(len(array), dtype=object)
        array[:] = list(values)
    return array


def _narwhals_series(values: Any) -> pd.Series:
    """Make a pandas Series of a narwhals one, without needing pyarrow."""
    import narwhals.stable.v2 as narwhals

    if values.dtype == narwhals.Categorical and values.implementation.is_polars():
        # Its categories stand as the rows, or other columns, brought them in.
        values = values.cast(narwhals.String)
    dtype = values.dtype
    if dtype in (narwhals.Categorical, narwhals.Enum):
        categories = values.cat.get_categories().to_list()
        ordered = getattr(getattr(values.to_native(), "type", None), "ordered", False)  # Arrow's
        return pd.Series(pd.Categorical(values.to_list(), categories=categories, ordered=ordered))
    if dtype.is_integer() and dtype not in (narwhals.Int128, narwhals.UInt128):
        numbers = values.fill_null(0).to_numpy()
        if not values.null_count():
            return pd.Series(numbers)
        return pd.Series(pd.arrays.IntegerArray(numbers.copy(), values.is_null().to_numpy().copy()))
    if dtype.is_float():
        return pd.Series(values.cast(narwhals.Float64).to_numpy())
    if dtype == narwhals.Datetime:
        moments = pd.Series(values.to_numpy())
        zone = dtype.time_zone
        return moments if zone is None else moments.dt.tz_localize("UTC").dt.tz_convert(zone)
    return pd.Series(values.to_list(), dtype=object)


def number_array(values: Any, name: str) -> Vector:
    """Numbers (n,) of a column or array of any supported kind, missing ones as NaN.

    Raises
    ------
    DataError
        If they are not numbers; truth values count 0 and 1.
    """
    return numbers_of(read_column(series_of(values, name), name), name)


def number_matrix(values: Any) -> Matrix:
    """Numbers of an array of any shape, masked ones as NaN."""
    if isinstance(values, np.ma.MaskedArray):
        return np.asarray(np.ma.filled(values.astype(np.float64), np.nan))
    return np.asarray(values, dtype=np.float64)
