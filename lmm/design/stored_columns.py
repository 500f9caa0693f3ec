"""Columns of tables as files hold them: arrays, and descriptions in JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from lmm.design.columns import Factor, Identifiers, level_name, read_column
from lmm.errors import DataError

Arrays: TypeAlias = dict[str, np.ndarray]
"""Arrays of a file by their key; keys are numbered, since names may hold any character."""


def pack_column(name: str, values: pd.Series[Any], arrays: Arrays) -> dict[str, Any]:
    """Describe a column; its numbers go to `arrays`.

    Parameters
    ----------
    name : str
        The column's name.
    values : Series
        Its values, of any kind that models read.
    arrays : dict
        Arrays of the file so far.

    Raises
    ------
    DataError
        Models do not read such values.
    """
    return {"name": name, **_described(name, values, arrays)}


def _described(name: str, values: pd.Series[Any], arrays: Arrays) -> dict[str, Any]:
    dtype = values.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        levels = _levels(dtype.categories.to_list())
        return _category(values.cat.codes.to_numpy(), levels, bool(dtype.ordered), arrays)
    if isinstance(dtype, np.dtype) and dtype.kind in "biuf":
        plain = values.to_numpy()
        short = plain if plain.itemsize <= 8 else plain.astype(np.float64)
        kind = "bool" if dtype.kind == "b" else "number"
        return {"kind": kind, "key": add_array(arrays, short)}
    if isinstance(dtype, np.dtype | pd.DatetimeTZDtype) and dtype.kind == "M":
        return _moments(values, arrays)
    if pd.api.types.is_bool_dtype(dtype) and not pd.api.types.is_object_dtype(dtype):
        return _nullable("bool", values, np.dtype(bool), arrays)
    if pd.api.types.is_integer_dtype(dtype):
        unsigned = str(dtype).lower().startswith("u")
        return _nullable("number", values, np.dtype(np.uint64 if unsigned else np.int64), arrays)
    if pd.api.types.is_float_dtype(dtype):
        numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
        return {"kind": "number", "key": add_array(arrays, numbers)}
    return _objects(name, values, arrays)


def add_array(arrays: Arrays, values: np.ndarray, kind: str = "column") -> str:
    """Put an array beside the others; the name that it gets."""
    key = f"{kind}/{len(arrays)}"
    arrays[key] = values
    return key


def _nullable(
    kind: str, values: pd.Series[Any], dtype: np.dtype[Any], arrays: Arrays
) -> dict[str, Any]:
    """Numbers or truth values beside missing ones."""
    missing = values.isna().to_numpy(dtype=bool)
    plain = np.zeros(len(values), dtype)
    plain[~missing] = values[~missing].to_numpy(dtype=dtype)
    return {"kind": kind, "key": add_array(arrays, plain), "missing": add_array(arrays, missing)}


def _moments(values: pd.Series[Any], arrays: Arrays) -> dict[str, Any]:
    zone = getattr(values.dtype, "tz", None)
    plain: Any = values if zone is None else values.dt.tz_convert("UTC").dt.tz_localize(None)
    moments = plain.to_numpy()
    unit, _ = np.datetime_data(moments.dtype)
    key = add_array(arrays, moments.view(np.int64))
    return {"kind": "datetime", "key": key, "unit": unit, "zone": zone and str(zone)}


def _category(
    codes: np.ndarray, levels: list[Any], ordered: bool, arrays: Arrays
) -> dict[str, Any]:
    return {
        "kind": "category",
        "key": add_array(arrays, codes),
        "levels": levels,
        "ordered": ordered,
    }


def _levels(values: list[Any]) -> list[Any]:
    """Categories as JSON holds them; those that it does not, as the names of the levels."""
    plain = [value.item() if isinstance(value, np.generic) else value for value in values]
    if all(isinstance(value, str | bool | int | float) for value in plain):
        return plain
    return [level_name(value) for value in values]


def _objects(name: str, values: pd.Series[Any], arrays: Arrays) -> dict[str, Any]:
    column = read_column(values, name)
    if isinstance(column, Factor) and not (column.is_text or column.is_logical):
        return _category(column.codes, list(column.levels), column.is_ordered, arrays)
    found = [None if missing else v for v, missing in zip(values, values.isna(), strict=True)]
    found = [value.item() if isinstance(value, np.generic) else value for value in found]
    if all(value is None or isinstance(value, str | bool | int | float) for value in found):
        return {"kind": "text", "values": found}
    if all(value is None or isinstance(value, Decimal) for value in found):
        return {"kind": "decimal", "values": [v if v is None else str(v) for v in found]}
    if not isinstance(column, Identifiers):
        raise DataError(f"column {name!r} holds values that a saved model cannot hold")
    return _category(column.factor.codes, list(column.factor.levels), False, arrays)


def unpack_column(column: Mapping[str, Any], arrays: Arrays) -> Any:
    """Values (n,) of a column that `pack_column` described."""
    match column["kind"]:
        case "text":
            return _object_array(column["values"])
        case "decimal":
            return _object_array([v if v is None else Decimal(v) for v in column["values"]])
        case "category":
            codes, levels = arrays[column["key"]], pd.Index(column["levels"])
            return pd.Categorical.from_codes(codes, categories=levels, ordered=column["ordered"])
        case "datetime":
            return _datetimes(arrays[column["key"]], column["unit"], column["zone"])
        case kind:
            return _numbers(kind, arrays[column["key"]].copy(), column.get("missing"), arrays)


def _object_array(values: Sequence[Any]) -> np.ndarray:
    array = np.empty(len(values), dtype=object)
    array[:] = list(values)
    return array


def _datetimes(values: np.ndarray, unit: str, zone: str | None) -> Any:
    moments = pd.Series(values.view(f"M8[{unit}]"))
    if zone is not None:
        moments = moments.dt.tz_localize("UTC").dt.tz_convert(zone)
    return moments.array


def _numbers(kind: str, values: np.ndarray, missing: str | None, arrays: Arrays) -> Any:
    """Numbers or truth values, some of which may be missing."""
    if kind not in ("number", "bool"):
        raise DataError(f"columns of the kind {kind!r} are unknown")
    if missing is None:
        return values
    nullable = pd.arrays.BooleanArray if kind == "bool" else pd.arrays.IntegerArray
    return nullable(values, arrays[missing].copy())
