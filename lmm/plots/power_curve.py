"""Curves of power."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lmm.inference.resample.power import Power
from lmm.plots.means import Trace, estimates_lines

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def power(studies: Power, ax: Axes | None = None) -> Axes:
    """Power with its intervals, against the first of what was varied, a line for each of the rest.

    Parameters
    ----------
    studies : Power
        Result of `lmm.power` with ``along=`` or several values of the effect.
    ax : Axes, optional
        Where to draw.

    Examples
    --------
    >>> import lmm, lmm.plots
    >>> m = lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))
    >>> p = lmm.power(m, "Days", 50, value=[3.0, 6.0], along={"Subject": [6, 12]}, seed=1)
    >>> lmm.plots.power(p).get_xlabel()
    'Subject'
    """
    names = [str(name) for name in studies.table.index.names if name is not None] or ["index"]
    table = studies.table.reset_index()
    x, others = names[0], names[1:]
    groups = table.groupby(others, sort=False) if others else [((), table)]
    traces = {}
    for keys, part in groups:
        label = ", ".join(f"{name} = {key:g}" for name, key in zip(others, keys, strict=True))
        limits = part[["lower", "upper"]].to_numpy()
        traces[label] = Trace(part["power"].to_numpy(), (limits,))
    ax = estimates_lines(np.unique(table[x].to_numpy(float)), None, traces, ax)
    ax.set(xlabel=x, ylabel=f"Power for {studies.effect}", ylim=(0.0, 1.02))
    if others:
        ax.legend(frameon=False)
    return ax
