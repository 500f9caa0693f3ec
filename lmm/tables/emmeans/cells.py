"""Cells of a reference grid."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from lmm.inference.marginal import (
    ReferenceGrid,
)


def cells(
    grid: ReferenceGrid, by: tuple[str, ...]
) -> Iterator[tuple[dict[str, Any], dict[str, int]]]:
    """Labels and positions of the combinations of some predictors, the first changing fastest."""
    axes = [grid.axis(name) for name in by]
    shape = tuple(len(axis.levels) for axis in axes)
    for index in np.ndindex(*reversed(shape)):
        position = dict(zip(by, reversed(index), strict=True))
        yield {axis.name: axis.levels[position[axis.name]] for axis in axes}, position


def named_axes(grid: ReferenceGrid, names: str | Sequence[str] | None) -> tuple[str, ...]:
    """Axes of the grid by name, in the order asked for."""
    chosen = () if names is None else (names,) if isinstance(names, str) else tuple(names)
    return tuple(grid.axis(name).name for name in chosen)
