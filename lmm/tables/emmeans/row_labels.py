"""What the rows of a table of estimates are called, and the groups that they form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from lmm._types import IntMatrix, IntVector
from lmm.design.labels import is_number
from lmm.errors import DataError, nearest


def groups(labels: pd.DataFrame, by: Sequence[str]) -> Iterator[tuple[dict[str, Any], IntVector]]:
    """Labels and rows of each combination of some columns."""
    if not by:
        yield {}, np.arange(len(labels))
        return
    keys = list(labels[list(by)].itertuples(index=False, name=None))
    rows: dict[tuple[Any, ...], list[int]] = {}
    for i, key in enumerate(keys):
        rows.setdefault(key, []).append(i)
    for key, found in rows.items():
        yield dict(zip(by, key, strict=True)), np.array(found)


def row_names(labels: pd.DataFrame, by: Sequence[str]) -> list[str]:
    """Names of rows: levels, with the predictor's name where they are numbers."""
    columns = [name for name in labels.columns if name not in by]
    if not columns:  # every row is a group of its own
        return ["."] * len(labels)
    texts = [_level_names(name, labels[name]) for name in columns]
    return [" ".join(parts) for parts in zip(*texts, strict=True)]


def _level_names(name: str, levels: pd.Series[Any]) -> list[str]:
    texts = [label_text(level) for level in levels]
    return [f"{name}{text}" for text in texts] if all(map(is_number, texts)) else texts


def label_text(level: Any) -> str:
    """A label as tables show it."""
    if isinstance(level, bool | np.bool_):
        return "TRUE" if level else "FALSE"
    return f"{level:.7g}" if isinstance(level, float) else str(level)


def checked_labels(names: str | Sequence[str], labels: pd.DataFrame) -> tuple[str, ...]:
    """Names of columns of labels.

    Raises
    ------
    DataError
        There is no such column.
    """
    chosen = (names,) if isinstance(names, str) else tuple(names)
    for name in chosen:
        if name not in labels.columns:
            raise DataError(f"there is no label {name!r}.{nearest(name, labels.columns)}")
    return chosen


def codes_of(labels: pd.DataFrame, levels: Mapping[str, tuple[Any, ...]]) -> IntMatrix:
    """Each column's levels numbered in their order, else in order of appearance, (r, k)."""
    codes = np.zeros(labels.shape, dtype=np.intp)
    for j, name in enumerate(labels.columns):
        order = levels.get(str(name)) or tuple(dict.fromkeys(labels[name]))
        position = {level: i for i, level in enumerate(order)}
        codes[:, j] = [position[level] for level in labels[name]]
    return codes
