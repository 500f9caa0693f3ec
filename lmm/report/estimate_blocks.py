"""Tables of estimates as R's emmeans prints them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from lmm._types import Vector
from lmm.report.cells import Cells, Column
from lmm.report.document import Block
from lmm.report.format import format_numbers, round_decimals, zapsmall

LEAST_DIGITS = 3
ALL_DIGITS = 7
RATIOS = ("t.ratio", "z.ratio", "F.ratio")


def estimates_blocks(
    frame: pd.DataFrame, estimate: str, by: Sequence[str], half_width: Vector | None
) -> tuple[Block, ...]:
    """Estimates in tables group by group, whose columns have common widths.

    Parameters
    ----------
    frame : DataFrame
        Labels, then numbers. ``p.value`` gets four decimals, ratios three, degrees of freedom two
        at most; all others as many significant digits as tell the estimates from their confidence
        limits, three at least.
    estimate : str
        Column of the estimates: missing ones are printed as ``nonEst``.
    by : sequence of str
        Columns whose combinations are printed apart.
    half_width : (r,) array, optional
        Half-lengths of the estimates' confidence intervals; all digits are shown without.

    Examples
    --------
    >>> frame = pd.DataFrame({"f": ["a", "b"], "emmean": [33.122, 31.6], "SE": [1.7368, 1.7368]})
    >>> print(*estimates_blocks(frame, "emmean", [], np.array([3.5, 3.5])))
     f emmean   SE
     a   33.1 1.74
     b   31.6 1.74
    """
    digits = ALL_DIGITS if half_width is None else _digits(frame[estimate], half_width)
    columns = [
        _column(str(name), frame[name], digits, name == estimate)
        for name in frame.columns
        if name not in by
    ]
    if not by:
        return (Cells(tuple(columns)),)
    groups = zip(*(_label_texts(frame[name]) for name in by), strict=True)
    titles = [
        f"{', '.join(f'{name} = {text}' for name, text in zip(by, group, strict=True))}:"
        for group in groups
    ]
    blocks: list[Block] = []
    for title in dict.fromkeys(titles):
        rows = [i for i, other in enumerate(titles) if other == title]
        blocks += [Cells(tuple(_part(column, rows) for column in columns), title=title), ""]
    return tuple(blocks[:-1])


def _part(column: Column, rows: Sequence[int]) -> Column:
    """Some rows, as wide as all."""
    width = len(column.padded()[0])
    return replace(column, texts=tuple(column.texts[i] for i in rows), width=width)


def _digits(estimates: pd.Series[float], half_width: Vector) -> int:
    """Significant digits that the estimates need, so that their intervals show."""
    values = np.abs(estimates.to_numpy())
    good = np.isfinite(half_width) & (half_width > 0.0) & (values > 0.0)
    if not good.any():
        return LEAST_DIGITS
    ratio = float((values[good] / (2.0 * half_width[good])).max())
    return max(LEAST_DIGITS, math.floor(math.log10(ratio)) + 2)


def _column(name: str, values: pd.Series[Any], digits: int, is_estimate: bool) -> Column:
    """Labels to the left, numbers to the right."""
    if values.dtype == bool or not pd.api.types.is_numeric_dtype(values):
        return Column(name, tuple(_label_texts(values)), "label", left=name != "note")
    numbers = values.to_numpy(dtype=float)
    if name == "p.value":
        texts = [_p_value(p) for p in numbers]
    elif name in RATIOS:
        texts = ["NA" if np.isnan(x) else f"{round(x, 3) + 0.0:.3f}" for x in numbers]
    elif name in ("df", "df2"):
        texts = format_numbers(round_decimals(numbers, 2), digits)
    else:
        texts = format_numbers(zapsmall(numbers), digits, na="nonEst" if is_estimate else "NA")
    return Column(name, tuple(text.strip() for text in texts))


def _p_value(p: float) -> str:
    if np.isnan(p):
        return "NA"
    return "<.0001" if p < 0.5e-4 else f"{p:.4f}"


def _label_texts(values: pd.Series[Any]) -> list[str]:
    if values.dtype == bool:
        texts = ["TRUE" if value else "FALSE" for value in values]
        width = max(map(len, texts))
        return [text.rjust(width) for text in texts]
    if pd.api.types.is_numeric_dtype(values):
        return [text.strip() for text in format_numbers(values.to_numpy(dtype=float))]
    return [str(value) for value in values]
