"""Columns of the data that are matrices: each of their columns stands in the table by R's index.

A matrix ``M`` of three columns is held as ``M[, 1]``, ``M[, 2]`` and ``M[, 3]``, or by the names of
its columns; a formula says ``M``, and its coefficients are ``M1 M2 M3``, as in R.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from lmm.design.columns import Basis, RawColumn, numbers_of
from lmm.errors import DataError


def apart(name: str, values: Any) -> dict[str, Any]:
    """Columns by the names that they are held by: those of a matrix apart, another as it is.

    Parameters
    ----------
    name : str
        Name of the column.
    values : DataFrame (n, k), array (n, k), or any column
        Its values.

    Raises
    ------
    DataError
        A matrix has no columns, or two of one name.
    """
    if isinstance(values, pd.DataFrame):
        labels = [str(label) for label in values.columns]
        columns = [values.iloc[:, j] for j in range(values.shape[1])]
    elif isinstance(values, np.ndarray) and values.ndim == 2:
        labels = [str(j + 1) for j in range(values.shape[1])]
        columns = list(values.T)
    else:
        return {name: values}
    if not labels or len(set(labels)) < len(labels):
        raise DataError(f"the matrix {name!r} must have columns of different names, not {labels}")
    named = (f"{name}[, {label}]" for label in labels)
    return dict(zip(named, columns, strict=True))


def parts_of(name: str, known: Iterable[str]) -> tuple[str, ...]:
    """Columns of a table that make the matrix of a name, in order; none where there is none."""
    return tuple(each for each in known if each.startswith(f"{name}[, ") and each.endswith("]"))


def formula_names(known: Collection[str]) -> tuple[str, ...]:
    """What a formula calls the columns of a table: a matrix once."""
    whole = (each.partition("[, ")[0] if each.endswith("]") else each for each in known)
    return tuple(dict.fromkeys(whole))


def matrix_of(name: str, columns: Mapping[str, RawColumn]) -> Basis:
    """The matrix of a name, whose parts are among the columns.

    Raises
    ------
    DataError
        A part is no column of numbers.
    """
    parts = parts_of(name, columns)
    labels = tuple(part.removeprefix(f"{name}[, ")[:-1] for part in parts)
    values = np.column_stack([numbers_of(columns[part], part) for part in parts])
    return Basis(values, ("",) if labels == ("1",) else labels)
