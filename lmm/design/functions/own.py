"""Functions that a caller passes in, for formulas to call beside those of the language."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from lmm.covariance import STRUCTURES
from lmm.design.columns import Basis, Factor, Identifiers, read_column
from lmm.design.functions import FUNCTIONS
from lmm.design.functions.values import Value, is_column
from lmm.errors import DataError, FormulaError
from lmm.language.parse import parse_expression
from lmm.language.tree import Call

# Results for the same values at other places may differ by so much: vector instructions round.
CLOSE = 1e-9


@dataclass(frozen=True)
class Own:
    """A caller's function of columns, which makes the value of a row of that row alone.

    Attributes
    ----------
    name : str
        What formulas call it.
    function : callable
        Takes arrays (n,) of numbers, truth values or texts, and single values; returns n values,
        or an array (n, k).
    """

    name: str
    function: Callable[..., Any]

    def __call__(self, *args: Value, **kwargs: Value) -> Value:
        """The value for columns.

        Raises
        ------
        DataError
            An argument is not exact as a number, or the result has not one value or row of
            numbers per row, or depends on which other rows there are.
        """
        plain = [_plain(value, self.name) for value in args]
        named = {key: _plain(value, self.name) for key, value in kwargs.items()}
        sizes = {len(value) for value in (*plain, *named.values()) if isinstance(value, np.ndarray)}
        if len(sizes) != 1:
            raise DataError(f"{self.name}() needs a column of the data among its arguments")
        (n,) = sizes
        whole = self._result(plain, named, n)
        some = np.arange(n)[::-2]
        part = self._result(
            [_at(value, some) for value in plain],
            {key: _at(value, some) for key, value in named.items()},
            len(some),
        )
        if not _agree(whole[some], part):
            raise DataError(
                f"{self.name}() gives a row another value beside other rows, so that new data "
                "would not mean what the model was fitted to: pass a function of each row alone, "
                "or compute the column in the data first"
            )
        return _value(whole, self.name)

    def _result(self, args: list[Any], kwargs: dict[str, Any], n: int) -> np.ndarray:
        try:
            # A copy, as it may be one of the arguments.
            result = np.array(self.function(*args, **kwargs))
        except Exception as error:  # a function of the user's raises anything
            raise DataError(f"it raised {type(error).__name__}: {error}") from error
        if result.shape[:1] != (n,) or result.ndim > 2:
            raise DataError(
                f"{self.name}() returned shape {result.shape} for {n} rows: it must return one "
                "value per row, or an array with one row for each"
            )
        return result


def _plain(value: Value, name: str) -> Any:
    """An argument as a caller's function knows it."""
    if isinstance(value, Identifiers):
        raise DataError(
            f"{name}() would be given {value.content} values that doubles cannot tell apart, or "
            "dates: make numbers or texts of them in the data first"
        )
    if isinstance(value, Basis):
        return value.values.copy()
    if isinstance(value, Factor):
        levels = [level == "TRUE" for level in value.levels] if value.is_logical else value.levels
        values = np.array([*levels, None], dtype=object)[value.codes]
        return values.astype(bool) if value.is_logical and (value.codes >= 0).all() else values
    return value.copy() if isinstance(value, np.ndarray) and is_column(value) else value


def _at(value: Any, rows: np.ndarray) -> Any:
    return value[rows] if isinstance(value, np.ndarray) else value


def _agree(whole: np.ndarray, part: np.ndarray) -> bool:
    if whole.shape[1:] != part.shape[1:]:
        return False
    if whole.dtype.kind in "iuf" and part.dtype.kind in "iuf":
        return bool(np.allclose(whole, part, rtol=CLOSE, atol=0.0, equal_nan=True))
    same = (whole == part) | (pd.isna(whole) & pd.isna(part))
    return bool(np.all(same))


def _value(result: np.ndarray, name: str) -> Value:
    """What a caller's function returned, as formulas know it."""
    if result.ndim == 1:
        return read_column(pd.Series(result), f"{name}()")
    if result.dtype.kind not in "biuf":
        raise DataError(f"{name}() returned several columns that are not numbers")
    suffixes = tuple(map(str, range(1, result.shape[1] + 1)))
    return Basis(result.astype(np.float64), suffixes)


def own_functions(namespace: object) -> Mapping[str, Own]:
    """Functions that a caller passes in, by name.

    Parameters
    ----------
    namespace : mapping of str to callable, or None
        The functions.

    Raises
    ------
    TypeError
        It is no mapping from names to functions.
    ValueError
        A name is none that formulas can call, or means something in them already.
    """
    if namespace is None:
        return {}
    if not isinstance(namespace, Mapping):
        raise TypeError(
            "extra_namespace must be a mapping from names to functions, such as {'f': f}, not "
            f"{type(namespace).__name__}."
        )
    for name, function in namespace.items():
        if not callable(function):
            raise TypeError(
                f"extra_namespace[{name!r}] must be a function of columns, not "
                f"{type(function).__name__}: values are written in the formula, or are columns."
            )
        if not isinstance(name, str) or not _is_name(name):
            raise ValueError(f"{name!r} is no name of a function in a formula.")
        if name in FUNCTIONS or name in STRUCTURES or name == "offset":
            raise ValueError(
                f"{name}() means something in formulas already: pass the function by another name."
            )
    return {name: Own(name, function) for name, function in namespace.items()}


def _is_name(name: str) -> bool:
    try:
        node = parse_expression(f"{name}(x)")
    except FormulaError:
        return False
    return isinstance(node, Call) and node.function == name and "::" not in name
