"""Functions of numbers, value by value, and summaries of a column."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any

import numpy as np

from lmm._types import Vector
from lmm.design.columns import Basis, Column, Factor, is_missing
from lmm.design.functions.values import (
    Scalar,
    Value,
    is_column,
    logical,
    number,
    observed,
    truth,
    whole,
)
from lmm.errors import DataError

ELEMENTWISE: Mapping[str, Callable[[Any], Any]] = {
    "abs": np.abs,
    "acos": np.arccos,
    "asin": np.arcsin,
    "atan": np.arctan,
    "ceiling": np.ceil,
    "cos": np.cos,
    "cosh": np.cosh,
    "exp": np.exp,
    "expm1": np.expm1,
    "floor": np.floor,
    "log10": np.log10,
    "log1p": np.log1p,
    "log2": np.log2,
    "sign": np.sign,
    "sin": np.sin,
    "sinh": np.sinh,
    "sqrt": np.sqrt,
    "tan": np.tan,
    "tanh": np.tanh,
    "trunc": np.trunc,
}
"""Functions of one number."""


def log(x: Vector, base: Scalar = None) -> Any:
    """Natural logarithm, or to a base."""
    return np.log(x) if base is None else np.log(x) / np.log(number(base, "base"))


def round_to(x: Vector, digits: Scalar = 0.0) -> Any:
    """Round half to even, as R and IEC 60559."""
    return np.round(x, whole(digits, "digits", -300, 300))


def ifelse(test: Value, yes: Value, no: Value) -> Column:
    """Take `yes` where the test holds, else `no`; both are numbers, or both texts."""
    condition = test if isinstance(test, Factor) else logical(truth(_plain(test, "test")))
    if isinstance(yes, str) and isinstance(no, str):
        levels = tuple(sorted({yes, no}))
        codes = np.where(condition.codes == 1, levels.index(yes), levels.index(no))
        return Factor(np.where(condition.codes < 0, -1, codes), levels)
    chosen = np.where(condition.codes == 1, _plain(yes, "yes"), _plain(no, "no"))
    return np.where(condition.codes < 0, np.nan, chosen)


def _plain(value: Value, name: str) -> Any:
    if isinstance(value, np.ndarray | float | int):
        return value
    raise DataError(f"{name!r} must be numbers; both outcomes must be numbers, or both texts")


def identity(x: Value) -> Value:
    """R's ``I()``."""
    return x


def is_na(x: Column) -> Factor:
    """Whether values are missing."""
    return Factor.of_booleans(is_missing(x))


def combine(*values: Value) -> tuple[Scalar, ...] | None:
    """R's ``c()`` of constants; without any it is NULL."""
    parts: list[Scalar] = []
    for value in values:
        if value is not None and not isinstance(value, tuple | float | int | str):
            raise DataError("c() takes numbers and texts, not columns")
        parts.extend(value if isinstance(value, tuple) else (value,))
    return tuple(parts) or None


def cbind(*columns: Vector, names: tuple[str, ...]) -> Basis:
    """Columns side by side, named by their arguments."""
    if not all(map(is_column, columns)):
        raise DataError("cbind() takes columns")
    suffixes = names if any(names) else tuple(str(i + 1) for i in range(len(names)))
    return Basis(np.column_stack(columns), suffixes)


def _extreme(choose: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    def extreme(*values: Any) -> Any:
        return reduce(choose, values)

    return extreme


EXTREMES: Mapping[str, Callable[..., Any]] = {
    "pmax": _extreme(np.maximum),
    "pmin": _extreme(np.minimum),
}
"""Extremes, row by row."""


def _summary(reduction: Callable[[Vector], Any]) -> Callable[..., float]:
    """Make a stateful function of a number that summarizes a column."""

    def summarize(x: Vector, *, state: dict[str, Any]) -> float:
        if "value" not in state:
            state["value"] = float(reduction(observed(x)))
        return float(state["value"])

    return summarize


SUMMARIES: Mapping[str, Callable[..., float]] = {
    "max": _summary(np.max),
    "mean": _summary(np.mean),
    "median": _summary(np.median),
    "min": _summary(np.min),
    "sd": _summary(lambda x: np.std(x, ddof=1)),
}
"""Numbers that summarize a column of the original data."""


def center(x: Vector, *, state: dict[str, Any]) -> Vector:
    """A column less its mean."""
    return x - SUMMARIES["mean"](x, state=state)
