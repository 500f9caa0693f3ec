"""Cook's distances by deletion."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lmm.diagnostics.influence import Influence
from lmm.plots.canvas import INK, axes, label_columns, name_highest

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def influence(deletion: Influence, label: int = 3, ax: Axes | None = None) -> Axes:
    """Cook's distance of each deletion; the largest are named.

    Parameters
    ----------
    deletion : Influence
        Result of ``m.influence(...)``.
    label : int
        How many to name.
    ax : Axes, optional
        Where to draw.

    Raises
    ------
    TypeError
        It is no result of ``m.influence()``.

    Examples
    --------
    >>> import lmm, lmm.plots
    >>> m = lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))
    >>> ax = lmm.plots.influence(m.influence("Subject"))
    >>> ax.get_ylabel()
    "Cook's distance"
    """
    if not isinstance(deletion, Influence):
        raise TypeError(
            "the result of a model's influence() is needed, such as m.influence('Subject'), not "
            f"{type(deletion).__name__}."
        )
    ax = axes(ax)
    distance = deletion.cooks_distance()
    x, y = np.arange(float(len(distance))), distance.to_numpy()
    ax.vlines(x, 0.0, y, color=INK, lw=1.2)
    ax.plot(x, y, "o", ms=3.5, color=INK)
    names = [str(name) for name in distance.index]
    name_highest(ax, x, y, names, label)
    label_columns(ax, x, names)
    ax.set(xlabel=f"Deleted {deletion.groups}", ylabel="Cook's distance")
    ax.set_ylim(0.0, 1.1 * float(np.nanmax(y)))
    return ax
