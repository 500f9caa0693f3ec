"""Arrow's record batches as pandas tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from lmm.files.reading import one_error

if TYPE_CHECKING:
    import pyarrow as pa


def frame_of_batch(batch: pa.RecordBatch, place: str) -> pd.DataFrame:
    """A record batch as a pandas table, whole numbers exact and texts left in Arrow's memory.

    Raises
    ------
    DataError
        A column's content cannot be read.
    """
    columns = {}
    for column, description in zip(batch.columns, batch.schema, strict=True):
        with one_error(f"{place}: column {description.name!r}"):
            columns[description.name] = _series_of(column, description)
    return pd.DataFrame(columns, index=pd.RangeIndex(batch.num_rows), copy=False)


def _series_of(column: Any, description: Any) -> Any:
    import pyarrow as pa

    if _is_of_polars(description, b"_PL_CATEGORICAL"):
        # Its categories stand as the rows, or other columns, brought them in.
        column = column.dictionary_decode()
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _categories_of(column, bool(kind.ordered) and not _is_of_polars(description))
    if pa.types.is_integer(kind) and column.null_count:
        missing = column.is_null().to_numpy(zero_copy_only=False)
        numbers = column.fill_null(0).to_numpy(zero_copy_only=False)
        return pd.arrays.IntegerArray(numbers.copy(), missing.copy())
    if pa.types.is_boolean(kind) and column.null_count:
        missing = column.is_null().to_numpy(zero_copy_only=False)
        values = column.fill_null(False).to_numpy(zero_copy_only=False)
        return pd.arrays.BooleanArray(values.copy(), missing.copy())
    if _is_view(kind):  # which pyarrow before 18 does not cast
        return pd.array(column.to_pylist(), dtype=pd.StringDtype("pyarrow"))
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        texts = column.cast(pa.large_string())
        return pd.array(texts, dtype=pd.StringDtype("pyarrow"))
    return column.to_pandas()


def _is_view(kind: Any) -> bool:
    import pyarrow as pa

    return bool(getattr(pa.types, "is_string_view", lambda kind: False)(kind))


def _is_of_polars(description: Any, kind: bytes = b"_PL_") -> bool:
    """Whether polars made the column: its categories have an order that is none of the values."""
    return any(key.startswith(kind) for key in description.metadata or {})


def _categories_of(column: Any, ordered: bool) -> pd.Categorical:
    import pyarrow as pa

    codes = column.indices.cast(pa.int64()).fill_null(-1)
    return pd.Categorical.from_codes(
        codes.to_numpy(zero_copy_only=False),
        categories=column.dictionary.to_pylist(),
        ordered=ordered,
    )
