"""Tables as R prints them: matrices, data frames, coefficient tables, analysis-of-variance tables.

`matrix_text` lays strings out; the other functions decide on the digits of a kind of table.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from lmm._types import Matrix
from lmm.report.format import (
    SIGNIFICANCE_LEGEND,
    format_numbers,
    format_p_values,
    round_decimals,
    significance_stars,
    zapsmall,
)

__all__ = [
    "WIDTH",
    "anova_cells",
    "anova_text",
    "coefficient_cells",
    "coefficients_text",
    "frame_cells",
    "frame_text",
    "has_p_values",
    "labels",
    "matrix_text",
    "vector_text",
]

WIDTH = 80

Cells: TypeAlias = list[list[str]]
CellArray: TypeAlias = np.ndarray[tuple[int, ...], np.dtype[np.object_]]


def matrix_text(
    cells: Sequence[Sequence[str]],
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    align: str = "right",
) -> str:
    """Lay out strings as R prints a character matrix without quotes.

    Columns that do not fit into 80 characters follow below, with the row names again.

    Parameters
    ----------
    cells : sequence of m sequences of k str
        The rows of the matrix.
    rows, columns : m and k str
        Names of rows (always left-justified) and of columns.
    align : {"right", "left"}
        How columns and their names are justified.

    Examples
    --------
    >>> print(matrix_text([["1.5", "a"], ["-2", "bb"]], ["x", "yy"], ["num", "s"]))
       num  s
    x  1.5  a
    yy  -2 bb
    """
    stub = _padded(["", *rows], "left")
    padded = [_padded([name, *(row[j] for row in cells)], align) for j, name in enumerate(columns)]
    blocks = _wrap_columns([len(column[0]) + 1 for column in padded], len(stub[0]))
    return "\n".join(
        " ".join(line) for block in blocks for line in zip(stub, *padded[block], strict=True)
    )


def _padded(texts: Sequence[str], align: str) -> list[str]:
    width = max(map(len, texts))
    return [text.rjust(width) if align == "right" else text.ljust(width) for text in texts]


def _wrap_columns(widths: Sequence[int], stub: int) -> list[slice]:
    """Consecutive columns that fit on a line; R leaves the last character of the line free."""
    starts, used = [0], stub
    for j, width in enumerate(widths):
        if j > starts[-1] and used + width >= WIDTH:
            starts.append(j)
            used = stub
        used += width
    return [slice(a, b) for a, b in zip(starts, [*starts[1:], len(widths)], strict=True)]


def vector_text(values: Sequence[str], names: Sequence[str], *, gap: int = 1) -> str:
    r"""Lay out strings as R prints a named vector: names above values, filled to 80 characters.

    Examples
    --------
    >>> vector_text(["251.41", "10.47"], ["(Intercept)", "Days"], gap=2).split("\n")
    ['(Intercept)         Days  ', '     251.41        10.47  ']
    """
    width = max(map(len, chain(values, names)))
    per_line = max(1, WIDTH // (width + gap))
    return "\n".join(
        "".join(text.rjust(width) + " " * gap for text in part[start : start + per_line])
        for start in range(0, len(values), per_line)
        for part in (names, values)
    )


def frame_text(frame: pd.DataFrame, *, digits: int = 7) -> str:
    """Print a table of numbers, text or both as R prints a data frame or a numeric matrix.

    Examples
    --------
    >>> limits = pd.DataFrame({"2.5 %": [14.3815707, -0.4815007], "97.5 %": [37.7, 0.6849859]})
    >>> print(frame_text(limits.set_axis([".sig01", ".sig02"])))
                2.5 %     97.5 %
    .sig01 14.3815707 37.7000000
    .sig02 -0.4815007  0.6849859
    """
    return matrix_text(frame_cells(frame, digits), labels(frame.index), labels(frame.columns))


def frame_cells(frame: pd.DataFrame, digits: int = 7) -> Cells:
    """Texts of a data frame's cells, row by row: each column has its own number of decimals."""
    columns = [_column_texts(frame.iloc[:, j], digits) for j in range(frame.shape[1])]
    return [list(row) for row in zip(*columns, strict=True)]


def _column_texts(column: pd.Series[Any], digits: int) -> list[str]:
    if pd.api.types.is_bool_dtype(column):
        return [str(value).upper() for value in column]
    if pd.api.types.is_integer_dtype(column) and not column.hasnans:
        return format_numbers(column.to_numpy(int), digits)
    if pd.api.types.is_numeric_dtype(column):
        return format_numbers(column.to_numpy(float, na_value=np.nan), digits)
    return ["<NA>" if pd.isna(value) else str(value) for value in column]


def labels(index: pd.Index[Any]) -> list[str]:
    """Names of rows or columns as text."""
    return [str(label) for label in index]


def coefficients_text(
    table: pd.DataFrame,
    *,
    digits: int = 5,
    estimates: Sequence[int] | None = None,
    tests: Sequence[int] | None = None,
    zapped: Sequence[int] = (),
    na: str = "NA",
    stars: bool = True,
) -> str:
    """Print a table of estimates, tests and p-values as R's ``printCoefmat``.

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

    Returns
    -------
    str
        The table, with its legend where stars occur.

    Examples
    --------
    >>> table = pd.DataFrame(
    ...     {"Estimate": [251.405], "Std. Error": [6.8246], "t value": [36.838]}, ["(Intercept)"]
    ... )
    >>> print(coefficients_text(table, digits=4))
                Estimate Std. Error t value
    (Intercept)  251.405      6.825   36.84
    """
    cells = coefficient_cells(
        table, digits=digits, estimates=estimates, tests=tests, zapped=zapped, na=na
    )
    rows, columns = labels(table.index), labels(table.columns)
    p_values = table.iloc[:, -1] if has_p_values(table) else pd.Series(dtype=float)
    if not (stars and (p_values < 0.1).any()):
        return matrix_text(cells, rows, columns)
    marked = [[*line, star] for line, star in zip(cells, significance_stars(p_values), strict=True)]
    return "\n".join([matrix_text(marked, rows, [*columns, ""]), "---", SIGNIFICANCE_LEGEND])


def has_p_values(table: pd.DataFrame) -> bool:
    """Whether the last column holds p-values, judged by its name as R does."""
    return str(table.columns[-1]).startswith(("Pr(", "p-"))


def coefficient_cells(
    table: pd.DataFrame,
    *,
    digits: int = 5,
    estimates: Sequence[int] | None = None,
    tests: Sequence[int] | None = None,
    zapped: Sequence[int] = (),
    na: str = "NA",
) -> Cells:
    """Texts of a coefficient table's cells, row by row; arguments as in `coefficients_text`."""
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
    return [[str(text) for text in line] for line in cells]


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


def anova_text(
    table: pd.DataFrame, heading: str | Sequence[str] = (), *, digits: int = 5, stars: bool = True
) -> str:
    """Print an analysis-of-variance or deviance table as R's ``print.anova``.

    Test statistics (``F value``, ``Chisq``, ...) share `digits`, degrees of freedom are printed
    in full, missing cells are blank.

    Parameters
    ----------
    table : DataFrame
        Numbers, with R's column names.
    heading : str or sequence of str
        Lines above the table.
    digits : int
        Significant digits.
    stars : bool
        Whether small p-values get stars and the table a legend.

    Examples
    --------
    >>> table = pd.DataFrame({"npar": [1], "Sum Sq": [30030.9], "F value": [45.853]}, ["Days"])
    >>> print(anova_text(table, "Analysis of Variance Table"))
    Analysis of Variance Table
         npar Sum Sq F value
    Days    1  30031  45.853
    """
    lines = [heading] if isinstance(heading, str) else heading
    tests, zapped = _anova_roles(table)
    body = coefficients_text(
        table, digits=digits, estimates=(), tests=tests, zapped=zapped, na="", stars=stars
    )
    return "\n".join([*lines, body])


def anova_cells(table: pd.DataFrame, *, digits: int = 5) -> Cells:
    """Texts of the cells of an analysis-of-variance table, row by row."""
    tests, zapped = _anova_roles(table)
    return coefficient_cells(table, digits=digits, estimates=(), tests=tests, zapped=zapped, na="")


def _anova_roles(table: pd.DataFrame) -> tuple[list[int], list[int]]:
    """Positions of the test statistics, and of the columns whose negligible numbers become 0."""
    tests, zapped = [], []
    for j, name in enumerate(labels(table.columns)):
        if name[1:] == " value" or name in ("F", "Cp", "Chisq"):
            tests.append(j)
        elif not name.endswith("Df") and not name.startswith("Pr("):
            zapped.append(j)
    return tests, zapped
