"""The front door for arrays: response, exogenous columns and groups, as statsmodels takes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from lmm.design.labels import in_order
from lmm.design.table import number_matrix, series_of
from lmm.errors import DataError
from lmm.language.deparse import deparse
from lmm.language.tree import Name

if TYPE_CHECKING:
    from lmm.design.matrices import ModelMatrices


Groups: TypeAlias = ArrayLike | Mapping[str, ArrayLike] | Sequence[ArrayLike] | pd.DataFrame
Columns: TypeAlias = "ArrayLike | pd.DataFrame | pd.Series[Any]"


def table_of_arrays(
    y: ArrayLike,
    X: Columns,
    groups: Groups,
    Z: Columns | Mapping[str, Columns] | None = None,
) -> tuple[str, pd.DataFrame]:
    """Formula and table that say the same as arrays, such as ``y ~ 1 + x2 + (1 | group)``.

    Parameters
    ----------
    y : (n,) array or Series
        Response (statsmodels' endog).
    X : (n, p) array or DataFrame
        Fixed-effects columns as they are (exog). A first column of ones is the intercept; columns
        without names are called ``x1``, ``x2`` and so on, by their position.
    groups : (n,) array, or mapping or list of them
        Grouping factor, or several by name; a list is named ``group1``, ``group2`` and so on.
    Z : (n, k) array or DataFrame, or mapping of them by group, optional
        Random-effects columns (exog_re), with full covariance; an intercept by default.

    Returns
    -------
    formula : str
    table : DataFrame

    Raises
    ------
    DataError
        If shapes or row labels do not match, or two different columns have one name.

    Examples
    --------
    >>> X = np.column_stack([np.ones(6), [0, 1, 2, 0, 1, 2]])
    >>> table_of_arrays([1.0, 2, 4, 3, 5, 6], X, list("aaabbb"))[0]
    'y ~ 1 + x2 + (1 | group)'
    """
    table = _TableColumns(y)
    response = table.add(_name_of(y, "y"), y)
    named_groups = _named_groups(groups)
    bars = []
    for name, labels in named_groups.items():
        columns = Z.get(name) if isinstance(Z, Mapping) else Z
        effects = "1" if columns is None else _predictor(table, columns, "z")
        bars.append(f"({effects} | {table.add(name, labels)})")
    if isinstance(Z, Mapping) and (unknown := set(map(str, Z)) - set(named_groups)):
        raise DataError(
            f"Z has columns for {', '.join(sorted(unknown))}, but the groups are "
            f"{', '.join(named_groups)}"
        )
    fixed = _predictor(table, X, "x")
    formula = f"{response} ~ {' + '.join([fixed, *bars])}"
    return formula, pd.DataFrame(table.columns, index=table.index)


def table_of_new_arrays(
    matrices: ModelMatrices,
    names: Sequence[str],
    X: Columns,
    groups: Groups | None = None,
    Z: Columns | Mapping[str, Columns] | None = None,
) -> pd.DataFrame:
    """New rows of a model of arrays as a table, columns by position under the model's names.

    Arguments and errors as for `LinearMixedModel.predict_arrays`.
    """
    written = {deparse(Name(str(name))): str(name) for name in names}
    known = list(dict.fromkeys(term.group for term in matrices.terms))
    columns = _by_position(X, matrices.fixed.full_names, written, "X")
    for term in matrices.terms:
        own = Z.get(written[term.group]) if isinstance(Z, Mapping) else Z
        if own is not None:
            columns |= _by_position(own, term.columns, written, f"Z of {term.group}")
    if groups is not None:
        given = _named_groups(groups)
        if not isinstance(groups, Mapping | pd.DataFrame):  # by position
            given = dict(zip([written[name] for name in known], given.values(), strict=False))
        columns |= {name: np.asarray(labels) for name, labels in given.items()}
    if len(lengths := {len(values) for values in columns.values()}) > 1:
        listed = ", ".join(map(str, sorted(lengths)))
        raise DataError(f"X, groups and Z must have the same number of rows, not {listed}")
    return pd.DataFrame(columns, index=getattr(X, "index", None))


def _by_position(
    values: Any, names: Sequence[str], written: Mapping[str, str], what: str
) -> dict[str, Any]:
    """Columns of an array under a model's names; a column of ones stands for an intercept."""
    matrix = number_matrix(values)
    matrix = matrix[:, None] if matrix.ndim == 1 else matrix
    if matrix.ndim != 2 or matrix.shape[1] != len(names):
        raise DataError(
            f"{what} has shape {matrix.shape}, but the model has {len(names)} columns: "
            f"{', '.join(names)}"
        )
    found = {}
    for name, column in zip(names, matrix.T, strict=True):
        if name != "(Intercept)":
            found[written[name]] = column
        elif not (column == 1).all():
            raise DataError(f"{what} must have ones where the model has its intercept")
    return found


class _TableColumns:
    """Collects the columns of the table, all of one length and with one index."""

    def __init__(self, y: Any):
        self.n = len(y)
        self.is_labelled = isinstance(y, pd.Series)
        self.index = y.index if isinstance(y, pd.Series) else None
        self.columns: dict[str, Any] = {}

    def add(self, name: str, values: Any) -> str:
        """Add a column; its name as formulas write it."""
        ordered = in_order(
            values, self.index, repr(name), "the response", may_reorder=self.is_labelled
        )
        column = series_of(ordered, name)
        if len(column) != self.n:
            raise DataError(
                f"{name!r} has shape {column.shape}, but the response has {self.n} rows"
            )
        if self.index is None and isinstance(values, pd.Series):
            self.index = column.index
        array = column.array
        if name in self.columns and not pd.Series(array).equals(pd.Series(self.columns[name])):
            raise DataError(f"two different columns are called {name!r}: rename one")
        self.columns[name] = array
        return deparse(Name(name))


def _name_of(values: Any, default: str) -> str:
    name = values.name if isinstance(values, pd.Series) else None
    return default if name is None else str(name)


def _named_groups(groups: Any) -> dict[str, Any]:
    if isinstance(groups, Mapping | pd.DataFrame):
        return {str(name): values for name, values in groups.items()}
    if isinstance(groups, list | tuple) and len(groups) and np.ndim(groups[0]) == 1:
        return {_name_of(g, f"group{i}"): g for i, g in enumerate(groups, 1)}
    return {_name_of(groups, "group"): groups}


def _predictor(table: _TableColumns, values: Any, prefix: str) -> str:
    """Write columns as a linear predictor, a first column of ones as the intercept."""
    if isinstance(values, pd.Series):
        values = values.to_frame(_name_of(values, f"{prefix}1"))
    if not isinstance(values, pd.DataFrame):
        matrix = number_matrix(values)
        matrix = matrix[:, None] if matrix.ndim == 1 else matrix
        if matrix.ndim != 2:
            raise DataError(f"{prefix.upper()} must have two dimensions, not shape {matrix.shape}")
        if len(matrix) != table.n:
            raise DataError(
                f"{prefix.upper()} has {len(matrix)} rows, but the response has {table.n}"
            )
        columns = [f"{prefix}{j}" for j in range(1, matrix.shape[1] + 1)]
        values = pd.DataFrame(matrix, columns=columns, index=table.index)
    has_intercept = values.shape[1] > 0 and bool((values.iloc[:, 0] == 1).all())
    rest = values.iloc[:, int(has_intercept) :]
    names = [table.add(str(name), rest[name]) for name in rest.columns]
    return " + ".join(["1" if has_intercept else "0", *names])
