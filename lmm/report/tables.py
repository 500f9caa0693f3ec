"""The digits of R's tables: data frames, coefficient tables, analysis-of-variance tables."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias, TypeVar

import numpy as np
import pandas as pd

from lmm._types import Matrix
from lmm.report.cells import Cells, Column
from lmm.report.document import Block
from lmm.report.format import (
    SIGNIFICANCE_LEGEND,
    format_numbers,
    format_p_values,
    round_decimals,
    significance_stars,
    zapsmall,
)

CellArray: TypeAlias = np.ndarray[tuple[int, ...], np.dtype[np.object_]]


def frame_cells(frame: pd.DataFrame, digits: int = 7, *, title: str = "") -> Cells:
    """Cells of a data frame or numeric matrix: each column has its own number of decimals.

    Examples
    --------
    >>> limits = pd.DataFrame({"2.5 %": [14.3815707, -0.4815007], "97.5 %": [37.7, 0.6849859]})
    >>> print(frame_cells(limits.set_axis([".sig01", ".sig02"])))
                2.5 %     97.5 %
    .sig01 14.3815707 37.7000000
    .sig02 -0.4815007  0.6849859
    """
    columns = (_column(frame.iloc[:, j], digits) for j in range(frame.shape[1]))
    return Cells(tuple(columns), labels(frame.index), title)


def _column(values: pd.Series[Any], digits: int) -> Column:
    name = str(values.name)
    if pd.api.types.is_bool_dtype(values):
        return Column(name, tuple(str(value).upper() for value in values), "label")
    if pd.api.types.is_integer_dtype(values) and not values.hasnans:
        return Column(name, tuple(format_numbers(values.to_numpy(int), digits)))
    if pd.api.types.is_numeric_dtype(values):
        numbers = values.to_numpy(float, na_value=np.nan)
        return Column(name, tuple(format_numbers(numbers, digits)))
    texts = ("<NA>" if pd.isna(value) else str(value) for value in values)
    return Column(name, tuple(texts), "label")


FoundT = TypeVar("FoundT")


def rows_of(
    found: Iterable[tuple[str, FoundT | None]],
    row: Callable[[FoundT], Sequence[float]],
    columns: Sequence[str],
) -> pd.DataFrame:
    """Numbers of what was found, by name; missing ones where nothing was."""
    missing = [np.nan] * len(columns)
    rows = {name: missing if one is None else row(one) for name, one in found}
    return pd.DataFrame.from_dict(rows, orient="index", columns=list(columns), dtype=float)


def labels(index: pd.Index[Any]) -> tuple[str, ...]:
    """Names of rows or columns as text."""
    return tuple(str(label) for label in index)


def coefficient_blocks(
    table: pd.DataFrame,
    *,
    digits: int = 5,
    estimates: Sequence[int] | None = None,
    tests: Sequence[int] | None = None,
    zapped: Sequence[int] = (),
    na: str = "NA",
    stars: bool = True,
    title: str = "",
) -> tuple[Block, ...]:
    """Estimates, tests and p-values as R's ``printCoefmat`` prints them.

    Parameters
    ----------
    table : DataFrame (m, k)
        Numbers. A last column whose name begins with ``Pr(`` or ``p-`` holds p-values.
    digits : int
        Significant digits of estimates; tests and p-values get one less.
    estimates, tests : sequence of int, optional
        Positions of the columns that share their decimals with the standard errors, and of the
        test statistics. By default the column before the p-values is a test statistic and those
        before it are estimates.
    zapped : sequence of int
        Positions of the columns whose negligible numbers are printed as 0.
    na : str
        Text of a missing value.
    stars : bool
        Whether small p-values get stars and the table a legend.
    title : str
        Line above the table.

    Returns
    -------
    tuple of str and Cells
        The table, with its legend where stars occur.

    Examples
    --------
    >>> table = pd.DataFrame(
    ...     {"Estimate": [251.405], "Std. Error": [6.8246], "t value": [36.838]}, ["(Intercept)"]
    ... )
    >>> print(*coefficient_blocks(table, digits=4))
                Estimate Std. Error t value
    (Intercept)  251.405      6.825   36.84
    """
    columns = coefficient_columns(
        table, digits=digits, estimates=estimates, tests=tests, zapped=zapped, na=na
    )
    p_values = table.iloc[:, -1] if has_p_values(table) else pd.Series(dtype=float)
    if stars and (p_values < 0.1).any():
        return starred(columns, labels(table.index), p_values, title)
    return (Cells(columns, labels(table.index), title),)


def starred(
    columns: Sequence[Column], rows: tuple[str, ...], p_values: pd.Series[Any], title: str = ""
) -> tuple[Block, ...]:
    """A table with a column of significance stars, and their legend."""
    stars = Column("", tuple(significance_stars(p_values)), "stars")
    return (Cells((*columns, stars), rows, title), "---", SIGNIFICANCE_LEGEND)


def has_p_values(table: pd.DataFrame) -> bool:
    """Whether the last column holds p-values, judged by its name as R does."""
    return str(table.columns[-1]).startswith(("Pr(", "p-"))


def coefficient_columns(
    table: pd.DataFrame,
    *,
    digits: int = 5,
    estimates: Sequence[int] | None = None,
    tests: Sequence[int] | None = None,
    zapped: Sequence[int] = (),
    na: str = "NA",
) -> tuple[Column, ...]:
    """Columns of a coefficient table; arguments as in `coefficient_blocks`."""
    values = table.to_numpy(dtype=np.float64, na_value=np.nan, copy=True)
    last_test = values.shape[1] - 1 - has_p_values(table)
    tests = [last_test] if tests is None else tests
    estimates = range(last_test) if estimates is None else estimates
    test_digits = max(1, min(5, digits - 1))
    for j in zapped:
        values[:, j] = zapsmall(values[:, j], digits)
    cells = np.array([format_numbers(column, digits) for column in values.T], dtype=object).T
    if len(estimates):
        cells[:, estimates] = _estimate_cells(values[:, estimates], digits)
    _restore_vanished(cells, values, digits)
    for j in tests:
        cells[:, j] = format_numbers(round_decimals(values[:, j], test_digits), digits)
    if has_p_values(table):
        cells[:, -1] = format_p_values(values[:, -1], test_digits)
    cells[np.isnan(values)] = na
    names = labels(table.columns)
    return tuple(
        Column(name, tuple(map(str, texts))) for name, texts in zip(names, cells.T, strict=True)
    )


def _estimate_cells(values: Matrix, digits: int) -> CellArray:
    """Estimates and standard errors: so many decimals that the smallest shows `digits` digits."""
    sizes = np.abs(values[np.isfinite(values) & (values != 0)])
    leading = 1 + math.floor(math.log10(sizes.min())) if sizes.size else 0
    rounded = round_decimals(values, max(1, digits - leading))
    return np.array(format_numbers(rounded.ravel(), digits), dtype=object).reshape(values.shape)


def _restore_vanished(cells: CellArray, values: Matrix, digits: int) -> None:
    """Show numbers that rounding turned into 0 with one digit less instead."""
    vanished = np.isfinite(values) & (values != 0)
    vanished[vanished] = [float(text) == 0 for text in cells[vanished]]
    cells[vanished] = format_numbers(values[vanished], max(1, digits - 1))


def anova_blocks(table: pd.DataFrame, *, digits: int = 5, stars: bool = True) -> tuple[Block, ...]:
    """An analysis-of-variance or deviance table as R's ``print.anova`` prints it.

    Test statistics (``F value``, ``Chisq``, ...) share `digits`, degrees of freedom are printed
    in full, missing cells are blank.

    Examples
    --------
    >>> table = pd.DataFrame({"npar": [1], "Sum Sq": [30030.9], "F value": [45.853]}, ["Days"])
    >>> print(*anova_blocks(table))
         npar Sum Sq F value
    Days    1  30031  45.853
    """
    tests, zapped = _anova_roles(table)
    return coefficient_blocks(
        table, digits=digits, estimates=(), tests=tests, zapped=zapped, na="", stars=stars
    )


def _anova_roles(table: pd.DataFrame) -> tuple[list[int], list[int]]:
    """Positions of the test statistics, and of the columns whose negligible numbers become 0."""
    tests, zapped = [], []
    for j, name in enumerate(labels(table.columns)):
        if name[1:] == " value" or name in ("F", "Cp", "Chisq"):
            tests.append(j)
        elif not name.endswith("Df") and not name.startswith("Pr("):
            zapped.append(j)
    return tests, zapped
