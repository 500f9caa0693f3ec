"""Labelled vectors: put in the order of the rows or parameters they belong to, or refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from lmm._types import Vector
from lmm.errors import DataError, nearest


def in_order(
    values: Any,
    index: pd.Index | None,
    name: str,
    of: str = "the data",
    *,
    may_reorder: bool = True,
) -> Any:
    """Rows of a Series or DataFrame in the order of `index`; unlabelled values as they are.

    Parameters
    ----------
    values : Series, DataFrame or array
        What has one row per label.
    index : Index or None
        Labels of the rows in their order; None where they have none.
    name, of : str
        What messages call the values, and what the labels belong to.
    may_reorder : bool
        Whether the order may be another one; not beside values without labels, whose order it is.

    Raises
    ------
    DataError
        If the labels are others, or stand in another order and are not unique.

    Examples
    --------
    >>> in_order(pd.Series({"b": 2.0, "a": 1.0}), pd.Index(["a", "b"]), "weights").tolist()
    [1.0, 2.0]
    """
    if index is None or not isinstance(values, pd.Series | pd.DataFrame):
        return values
    if values.index.equals(index):
        return values
    can_match = may_reorder and values.index.is_unique and index.is_unique
    if can_match and len(values) == len(index):
        positions = values.index.get_indexer(index)
        if (positions >= 0).all():
            return values.iloc[positions]
    raise DataError(f"the index of {name} is not that of {of}: align them, or pass arrays")


def by_name(values: Any, names: Sequence[str], what: str, otherwise: Any = None) -> Any:
    """Numbers in the order of `names` from a Series or mapping; other values as they are.

    Parameters
    ----------
    values : Series, mapping or array
        Numbers, by name where they are labelled.
    names : sequence of str
        Names in their order.
    what : str
        What messages call the values.
    otherwise : (len(names),) array or float, optional
        Values of names that are not given; without them every name is needed.

    Raises
    ------
    ValueError
        A name is unknown, given twice, or missing.

    Examples
    --------
    >>> by_name({"x": 2.0}, ["(Intercept)", "x"], "beta", otherwise=0.0)
    array([0., 2.])
    """
    if not isinstance(values, Mapping | pd.Series) or _is_numbered(values):
        return values
    given = pd.Series(values, dtype=object)
    given.index = given.index.map(str)
    if not given.index.is_unique:
        raise ValueError(f"{what} names {given.index[given.index.duplicated()][0]!r} twice.")
    for name in given.index:
        if name not in names:
            raise ValueError(f"{what} has no place for {name!r}.{nearest(name, names)}")
    if otherwise is None and (missing := [name for name in names if name not in given.index]):
        raise ValueError(f"{what} says nothing of {', '.join(missing)}.")
    result: Vector = np.broadcast_to(np.asarray(otherwise, dtype=np.float64), len(names)).copy()
    result[[list(names).index(name) for name in given.index]] = given.to_numpy(dtype=np.float64)
    return result


def _is_numbered(values: Any) -> bool:
    """Whether a Series has no labels but pandas' own, 0, 1, 2, ..."""
    labels = getattr(values, "index", None)
    return labels is not None and labels.equals(pd.RangeIndex(len(values)))


def rows_by_name(L: Any, names: Sequence[str], what: str) -> Any:
    """Rows of coefficients in the order of `names`; names that are left out are zero.

    Parameters
    ----------
    L : DataFrame, Series, mapping or array
        Coefficients: columns of a DataFrame, or labels of one row, are names; other values are
        returned as they are.
    names : sequence of str
        Names in their order.
    what : str
        What messages call L.

    Raises
    ------
    ValueError
        A name is unknown or given twice.

    Examples
    --------
    >>> rows_by_name({"x": 1.0}, ["(Intercept)", "x"], "L")
    array([[0., 1.]])
    """
    if isinstance(L, Mapping | pd.Series):
        return np.atleast_2d(by_name(L, names, what, otherwise=0.0))
    if isinstance(L, pd.DataFrame) and L.columns.inferred_type != "integer":
        rows = [by_name(L.iloc[i], names, what, otherwise=0.0) for i in range(len(L))]
        return np.array(rows).reshape(len(rows), len(names))
    return L


def is_number(text: str) -> bool:
    """Whether a label is that of a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True
