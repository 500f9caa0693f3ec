"""The values that expressions have, and the checks of arguments that functions share."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from lmm._types import Vector
from lmm.design.coding import Contrasts
from lmm.design.columns import Basis, Column, Factor, Identifiers, level_name
from lmm.errors import DataError

Scalar: TypeAlias = float | str | bool | None
Value: TypeAlias = Column | Identifiers | Scalar | tuple[Scalar, ...] | Contrasts
State: TypeAlias = dict[str, dict[str, Any]]
"""What each data-dependent call of a formula has learned, by the call's text."""

MAX_COUNT = 10_000
"""Largest number of intervals that an argument may ask for."""

MAX_COLUMNS = 1000
"""Largest number of columns that one call may make."""


def is_column(value: Value) -> bool:
    """Whether a value has rows."""
    values = value.codes if isinstance(value, Factor) else value
    return isinstance(values, Basis | Identifiers) or (
        isinstance(values, np.ndarray) and values.ndim > 0
    )


def truth(values: Any) -> Any:
    """1 where a number is not zero, 0 where it is, NaN where missing."""
    return np.where(np.isnan(values), np.nan, np.not_equal(values, 0))


def logical(values: Any) -> Factor:
    """Truth values from 0, 1 and NaN."""
    values = np.asarray(values, dtype=np.float64)
    codes = np.where(np.isnan(values), -1, values).astype(np.intp)
    return Factor(codes, ("FALSE", "TRUE"), is_logical=True)


def observed(x: Any) -> Vector:
    """Values that are not missing; a transform learns from these only.

    Raises
    ------
    DataError
        If they are not numbers, or all are missing.
    """
    if not isinstance(x, np.ndarray):
        raise DataError("the first argument must be a numeric column")
    found = x[~np.isnan(x)] if x.ndim == 1 else x[~np.isnan(x).any(axis=1)]
    if not len(found):
        raise DataError("every value is missing")
    return found


def whole(value: Any, name: str, low: int = 1, high: int = MAX_COUNT) -> int:
    """A whole number between bounds.

    Raises
    ------
    DataError
        If an argument is none.
    """
    if isinstance(value, bool) or not isinstance(value, float | int) or value != np.floor(value):
        raise DataError(f"{name!r} must be a whole number")
    if not low <= value <= high:
        raise DataError(f"{name!r} must be a whole number between {low} and {high}, not {value:g}")
    return int(value)


def number(value: Any, name: str) -> float:
    """A finite number."""
    if isinstance(value, bool) or not isinstance(value, float | int) or not np.isfinite(value):
        raise DataError(f"{name!r} must be a number")
    return float(value)


def numbers(value: Any, name: str) -> Vector:
    """Numbers, one or a vector of them; infinite ones are allowed, missing ones are not."""
    parts = value if isinstance(value, tuple) else (value,)
    if any(not isinstance(part, float | int) or np.isnan(part) for part in parts):
        raise DataError(f"{name!r} must be a number, or a vector of numbers such as c(1, 2)")
    return np.asarray(parts, dtype=np.float64)


def flag(value: Any, name: str) -> bool:
    """TRUE or FALSE."""
    if not isinstance(value, bool):
        raise DataError(f"{name!r} must be TRUE or FALSE")
    return value


def level_names(value: Any, name: str) -> tuple[str, ...]:
    """Levels or labels as an argument gives them: one, or a vector."""
    parts = value if isinstance(value, tuple) else (value,)
    if any(part is None or not isinstance(part, str | float | int) for part in parts):
        raise DataError(f"{name!r} must be a level, or a vector of levels such as c('a', 'b')")
    return tuple(map(level_name, parts))
