"""What the plots share: axes, colours, the model's interface, quantiles."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lmm._types import Vector
from lmm.errors import DataError, nearest
from lmm.fitted import Fitted

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["ACCENT", "FAINT", "INK", "MAX_LABELS", "axes", "group_of", "panels", "qq"]

INK, ACCENT, FAINT = "#1f4e79", "#c8553d", "#9aa5b1"

# More levels than this get no tick labels of their own: they would print over each other.
MAX_LABELS = 60


def axes(ax: Axes | None) -> Axes:
    """The axes given, or those of a new figure.

    Raises
    ------
    ImportError
        matplotlib is not installed.
    """
    return panels(1)[0] if ax is None else ax


def panels(number: int) -> list[Axes]:
    """Axes of a new figure, side by side with one vertical scale.

    Raises
    ------
    ImportError
        matplotlib is not installed.
    """
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError("Plots need matplotlib: pip install 'lmm[plot]'.") from error
    width, height = plt.rcParams["figure.figsize"]
    size = 0.5 * (number + 1) * width, height
    return list(
        plt.subplots(1, number, sharey=True, squeeze=False, figsize=size, layout="constrained")[1][
            0
        ]
    )


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
    # Hazen's plotting positions, which R's ppoints has for n > 10
    quantiles = norm.ppf((np.arange(n) + 0.5) / n)
    if errors is not None:
        ax.errorbar(quantiles, values[order], errors[order], fmt="none", ecolor=FAINT, lw=1)
    ax.plot(quantiles, values[order], "o", ms=3.5, color=INK, mec="none", alpha=0.8)
    low, high = np.quantile(values, [0.25, 0.75])
    slope = (high - low) / (2.0 * norm.ppf(0.75))
    ax.axline((0.0, (low + high) / 2.0), slope=slope, color=ACCENT, lw=1.2)
    ax.set_xlabel("Standard normal quantiles")
    return ax
