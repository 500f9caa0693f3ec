"""Estimates with their intervals, and against a predictor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lmm._types import Matrix, Vector
from lmm.plots.canvas import ACCENT, FAINT, INK, axes, label_columns, label_rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes


P_TICKS = (0.0, 0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0)


@dataclass(frozen=True, eq=False)
class Trace:
    """One line of estimates.

    Attributes
    ----------
    values : (k,) array
        Estimates.
    limits : tuple of (k, 2) arrays
        Limits of their intervals, wider ones last.
    """

    values: Vector
    limits: tuple[Matrix, ...] = ()


def estimates(
    names: Sequence[str],
    trace: Trace,
    label: str,
    ax: Axes | None = None,
    arrows: tuple[Vector, Vector] | None = None,
) -> Axes:
    """Estimates as points with intervals, the first at the top.

    Parameters
    ----------
    names : sequence of r str
        Name of each.
    trace : Trace
        Estimates and limits of their intervals.
    label : str
        What they are.
    ax : Axes, optional
        Where to draw.
    arrows : pair of (r,) arrays, optional
        Ends of arrows from the estimates to the left and to the right; NaN for none.
    """
    ax = axes(ax, len(names))
    y = np.arange(len(names))[::-1]
    for depth, ends in enumerate(trace.limits, start=1):
        ax.hlines(y, *ends.T, color=FAINT, lw=4.0 / depth**2)
    ax.plot(trace.values, y, "o", ms=5.0, color=INK)
    for ends in arrows or ():
        for value, end, at in zip(trace.values, ends, y, strict=True):
            if np.isfinite(end):
                arrow = {"arrowstyle": "->", "color": ACCENT, "lw": 1.5, "shrinkA": 0, "shrinkB": 0}
                ax.annotate("", xy=(end, at), xytext=(value, at), arrowprops=arrow)
    label_rows(ax, names[::-1])
    ax.set(xlabel=label, ylim=(-0.7, len(names) - 0.3))
    return ax


def estimates_lines(
    x: Vector, ticks: Sequence[str] | None, traces: Mapping[str, Trace], ax: Axes | None = None
) -> Axes:
    """Estimates against a predictor, one line for each of the others' combinations.

    Parameters
    ----------
    x : (k,) array
        Values of the predictor.
    ticks : sequence of k str, optional
        Its levels, if it is no number.
    traces : mapping of str to Trace
        Estimates and limits of their intervals, by name.
    ax : Axes, optional
        Where to draw.
    """
    ax = axes(ax)
    for i, (name, trace) in enumerate(traces.items()):
        # Lines at levels stand beside each other, so that their bars do.
        at = x if ticks is None else x + 0.06 * (i - 0.5 * (len(traces) - 1))
        ax.plot(at, trace.values, "o-", ms=4.0, label=name, color=f"C{i}")
        for depth, ends in enumerate(trace.limits, start=1):
            if ticks is None:
                ax.fill_between(at, *ends.T, color=f"C{i}", alpha=0.15 / depth, lw=0.0)
            else:
                ax.vlines(at, *ends.T, color=f"C{i}", alpha=0.4 / depth, lw=3.0 / depth)
    if ticks is not None:
        label_columns(ax, x, ticks)
    return ax


def pairwise(
    names: Sequence[str], pairs: Sequence[tuple[int, int, float]], ax: Axes | None = None
) -> Axes:
    """P-values of pairs on a scale of cube roots, each as a line between its two rows.

    Parameters
    ----------
    names : sequence of str
        Name of each row, the first at the bottom.
    pairs : sequence of (int, int, float)
        The two rows of each pair, and its p-value; NaN is not drawn.
    ax : Axes, optional
        Where to draw.
    """
    ax = axes(ax, len(names))
    for i, (a, b, p) in enumerate(pairs):
        if np.isfinite(p):
            ax.plot([np.cbrt(p)] * 2, [a, b], "o-", ms=4.0, lw=1.5, color=f"C{i % 10}")
    ax.axvline(np.cbrt(0.05), color=FAINT, lw=1.0, ls="--", zorder=0)
    label_columns(ax, np.cbrt(P_TICKS), [f"{p:g}" for p in P_TICKS])
    label_rows(ax, names)
    ax.set(xlabel="p-value", xlim=(-0.03, 1.03), ylim=(-0.7, len(names) - 0.3))
    return ax
