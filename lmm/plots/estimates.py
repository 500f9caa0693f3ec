"""Estimates with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from lmm._types import Vector
from lmm.plots.canvas import FAINT, INK, axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["estimates"]


def estimates(
    names: Sequence[str],
    values: Vector,
    lower: Vector,
    upper: Vector,
    label: str,
    ax: Axes | None = None,
) -> Axes:
    """Estimates as points with intervals, the first at the top.

    Parameters
    ----------
    names : sequence of r str
        Name of each.
    values, lower, upper : (r,) arrays
        Estimates and limits of their intervals.
    label : str
        What they are.
    ax : Axes, optional
        Where to draw.
    """
    ax = axes(ax)
    y = np.arange(len(names))[::-1]
    ax.hlines(y, lower, upper, color=FAINT, lw=4.0)
    ax.plot(values, y, "o", ms=5.0, color=INK)
    ax.set_yticks(y, names)
    ax.set(xlabel=label, ylim=(-0.7, len(names) - 0.3))
    return ax
