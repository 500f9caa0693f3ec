"""What the plots share: axes, colours, the model's interface, quantiles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from lmm._types import IntVector, Vector
from lmm.errors import DataError, nearest
from lmm.fitted import Fitted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


INK, ACCENT, FAINT = "#1f4e79", "#c8553d", "#9aa5b1"

# More levels than this get no tick labels of their own, nor smaller letters (in points).
MAX_LABELS = 60
SMALLEST = 4.0
# Inches of a row with a label.
ROW_HEIGHT = 0.16
# Points or lines that a plot draws of more.
MOST = 2000
# Values whose range is below this share of their size are one.
ROUNDING = 1e-9
# More rows than this are drawn as a sample.
MAX_DATA = 5000
# Values of a covariate at which its curve is computed.
POINTS = 60


def axes(ax: Axes | None, n_labels: int = 0) -> Axes:
    """The axes given, or those of a new figure, high enough for so many labels of rows.

    Raises
    ------
    ImportError
        matplotlib is not installed.
    """
    if ax is not None:
        return ax
    _, grid = subplots(1, 1)
    figure = grid[0, 0].figure
    few = n_labels if n_labels <= MAX_LABELS else 0
    figure.set_figheight(max(figure.get_figheight(), 1.0 + few * ROW_HEIGHT))
    return cast("Axes", grid[0, 0])


def panels(number: int) -> list[Axes]:
    """Axes of a new figure, side by side with one vertical scale.

    Raises
    ------
    ImportError
        matplotlib is not installed.
    """
    figure, grid = subplots(1, number, sharey=True)
    figure.set_figwidth(0.5 * (number + 1) * figure.get_figwidth())
    return list(grid[0])


def subplots(rows: int, columns: int, **options: Any) -> tuple[Figure, np.ndarray]:
    """A new figure with a grid of axes.

    Raises
    ------
    ImportError
        matplotlib is not installed.
    """
    try:
        import matplotlib.pyplot as plt

        from lmm.plots.figure import NotebookFigure
    except ImportError as error:
        raise ImportError("Plots need matplotlib: pip install 'lmm[plot]'.") from error
    return plt.subplots(
        rows, columns, squeeze=False, layout="constrained", FigureClass=NotebookFigure, **options
    )


def panel_grid(n: int) -> tuple[Figure, list[Axes]]:
    """A new figure with so many axes, three in a row."""
    columns = min(n, 3)
    rows = -(-n // columns)
    figure, grid = subplots(rows, columns, figsize=(3.2 * columns, 2.6 * rows))
    panels = list(grid.flat)
    for ax in panels[n:]:
        ax.set_visible(False)
    return figure, panels[:n]


def label_rows(ax: Axes, names: Sequence[str]) -> None:
    """Name rows 0, 1, ... in letters that do not print over each other; not where none would."""
    # Of a subfigure too, the whole one: get_figure(root=True) came with Matplotlib 3.10.
    figure = ax.figure.figure
    points = 72.0 * ax.get_position().height * figure.get_figheight()
    size = min(8.5, 0.85 * points / max(len(names), 1))
    if len(names) > MAX_LABELS or size < SMALLEST:
        ax.set_yticks([])
    else:
        ax.set_yticks(np.arange(len(names)), list(names), fontsize=size)


def label_columns(ax: Axes, at: Vector, names: Sequence[str]) -> None:
    """Name places of the horizontal axis, upright where the names would meet."""
    figure = ax.figure.figure
    points = 72.0 * ax.get_position().width * figure.get_figwidth()
    # Letters of 10 points are about 6 wide, and names need a gap.
    meets = 6.0 * (max(map(len, names), default=0) + 1) * len(names) > points
    size = min(10.0, 0.85 * points / max(len(names), 1))
    if len(names) > MAX_LABELS or size < SMALLEST:
        ax.set_xticks([])
    else:
        ax.set_xticks(at, list(names), rotation=90 if meets else 0, fontsize=size)


def name_highest(ax: Axes, x: Vector, y: Vector, names: Sequence[str], number: int) -> None:
    """Name the highest points; names of neighbours go to either side."""
    highest = np.argsort(-y)[:number]
    near = 0.12 * float(np.ptp(x))
    for i in highest:
        others = x[highest[highest != i]]
        left = bool(np.any((others < x[i]) & (others > x[i] - near)))
        right = bool(np.any((others > x[i]) & (others < x[i] + near)))
        side = "center" if left == right else "left" if left else "right"
        ax.annotate(
            names[i],
            (x[i], y[i]),
            xytext=(0, 4),
            textcoords="offset points",
            ha=side,
            fontsize="small",
            color=ACCENT,
        )


def histogram(ax: Axes, values: Vector, bins: int | str) -> None:
    """Bars of the finite ones of values (n,): one where they differ by rounding only."""
    finite = values[np.isfinite(values)]
    is_one = np.ptp(finite) <= ROUNDING * np.abs(finite).max() if len(finite) else True
    ax.hist(finite, bins=1 if is_one else bins, color=FAINT)


def spread(n: int, most: int = MOST) -> IntVector:
    """Positions among n ordered ones: all, or so many evenly from the first to the last."""
    return np.unique(np.linspace(0, n - 1, min(n, most)).round().astype(np.int64))


def observations(ax: Axes, x: Vector, y: Vector, colours: Sequence[str]) -> None:
    """Observed responses behind lines, a sample of many, each in its colour."""
    rows = spread(len(y), MAX_DATA)
    chosen = [colours[i] for i in rows]
    ax.scatter(x[rows], y[rows], s=9, c=chosen, alpha=0.5, lw=0, zorder=1)


def group_of(m: Fitted, group: str | None) -> str:
    """A grouping factor of the model, the first by default.

    Raises
    ------
    DataError
        The model has no such grouping factor.
    """
    groups = list(dict.fromkeys(term.group for term in m.fit.matrices.terms))
    if group is None:
        return groups[0]
    if group not in groups:
        raise DataError(f"the model has no grouping factor {group!r}.{nearest(group, groups)}")
    return group


def qq(ax: Axes, values: Vector, errors: Vector | None = None) -> Axes:
    """Ordered values against normal quantiles, with the line through their quartiles.

    Parameters
    ----------
    ax : Axes
        Where to draw.
    values : (n,) array
        Sample.
    errors : (n,) array, optional
        Half-lengths of intervals around the values.
    """
    from scipy.stats import norm

    n = len(values)
    order = np.argsort(values)
    shown = spread(n)
    # Hazen's plotting positions, which R's ppoints has for n > 10
    quantiles = norm.ppf((np.arange(n) + 0.5) / n)
    if errors is not None:
        bars = errors[order][shown]
        ax.errorbar(quantiles[shown], values[order][shown], bars, fmt="none", ecolor=FAINT, lw=1)
    ax.plot(quantiles[shown], values[order][shown], "o", ms=3.5, color=INK, mec="none", alpha=0.8)
    low, high = np.quantile(values, [0.25, 0.75])
    slope = (high - low) / (2.0 * norm.ppf(0.75))
    ax.axline((0.0, (low + high) / 2.0), slope=slope, color=ACCENT, lw=1.2)
    ax.set_xlabel("Standard normal quantiles")
    return ax
