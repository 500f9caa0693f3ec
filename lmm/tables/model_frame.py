"""The model frame as a table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from lmm.design.columns import Basis, Column, Factor
from lmm.design.matrices import ModelMatrices


def model_frame(matrices: ModelMatrices) -> pd.DataFrame:
    """Variables of a formula at the rows used, then weights and offset where there are any.

    Parameters
    ----------
    matrices : ModelMatrices
        The model.
    """
    frame = matrices.frame
    columns: dict[str, Any] = {}
    for text, column in {**frame.columns, **frame.groups}.items():
        columns |= dict(_shown(text, column))
    if (matrices.weights != 1.0).any():
        columns["(weights)"] = matrices.weights
    if matrices.offset.any():
        columns["(offset)"] = matrices.offset
    return pd.DataFrame(columns, index=frame.used)


def _shown(text: str, column: Column) -> Iterator[tuple[str, Any]]:
    """Columns of a table that a variable makes, by name."""
    if isinstance(column, Basis):
        for suffix, values in zip(column.suffixes, column.values.T, strict=True):
            yield f"{text}{suffix}", values
    elif isinstance(column, Factor):
        kind = pd.CategoricalDtype(list(column.levels), ordered=column.is_ordered)
        yield text, pd.Categorical.from_codes(column.codes.tolist(), dtype=kind)
    else:
        yield text, column
