"""Interaction plots: marginal means against a predictor, by the levels of others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from lmm._types import IntVector
from lmm._words import Interval
from lmm.errors import DataError
from lmm.fitted import EstimatedModel
from lmm.language.parse import parse_tilde
from lmm.language.tree import Binary, variables
from lmm.tables.emmeans.emmeans import emmeans
from lmm.tables.emmeans.marginal_means import Estimates
from lmm.tables.emmeans.row_labels import groups, label_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def emmip(
    m: EstimatedModel | Estimates,
    formula: str,
    *,
    bands: bool = False,
    interval: Interval = "confidence",
    sigma: float | None = None,
    ax: Axes | None = None,
    **options: Any,
) -> Axes | list[Axes]:
    """Plot marginal means against a predictor, with a line for each level of others.

    Parameters
    ----------
    m : LinearMixedModel or Estimates
        The model, or means.
    formula : str
        ``"traces ~ x"``, or ``"traces ~ x | panels"``; ``"~ x"`` for one line.
    bands : bool
        Whether to show confidence intervals: bands along a number, bars at levels.
    interval : {"confidence", "prediction"}
        With ``"prediction"`` those of new observations are shown as well, behind the others.
    sigma : float, optional
        Standard deviation of a new observation, see `Estimates.predict`; or that of `emmeans`.
    ax : Axes, optional
        Where to draw, without panels.
    **options
        As for `emmeans`: ``at=`` chooses the values of a covariate.

    Returns
    -------
    Axes, or list of Axes
        The list for panels.

    Raises
    ------
    DataError
        A name is no predictor, or there is nothing on the right of ``~``.

    Examples
    --------
    >>> import lmm
    >>> m = lmm.lmer("angle ~ recipe * temp + (1 | recipe:replicate)", lmm.load_dataset("cake"))
    >>> ax = lmm.emmip(m, "recipe ~ temp", at={"temp": [175, 200, 225]}, bands=True)
    >>> len(ax.lines), ax.get_xlabel()
    (3, 'temp')
    """
    from lmm.plots.canvas import panels

    left, right = parse_tilde(formula)
    traces = () if left is None else variables(left)
    x: tuple[str, ...] = variables(right)
    within: tuple[str, ...] = ()
    if isinstance(right, Binary) and right.op == "|":
        x, within = variables(right.left), variables(right.right)
    if not x:
        raise DataError(f"{formula!r} names no predictor on the right of '~' to draw means against")
    found = emmeans(m, [*x, *traces], by=within, sigma=sigma, **options)
    means = cast("Estimates", found).confint()
    wide = means.predict(interval, sigma=sigma) if interval != "confidence" else None
    parts = list(groups(means.labels, within))
    drawn = panels(len(parts)) if within else [ax]
    shown = (*([means] if bands else []), *([] if wide is None else [wide]))
    pictures = [
        _draw(means, rows, x, traces, shown, ax) for (_, rows), ax in zip(parts, drawn, strict=True)
    ]
    for (labels, _), ax in zip(parts, pictures, strict=True):
        ax.set_title(", ".join(f"{name} = {label_text(level)}" for name, level in labels.items()))
    pictures[0].set_ylabel(means.column)
    if traces:
        pictures[-1].legend(title=", ".join(traces))
    return pictures if within else pictures[0]


def _draw(
    means: Estimates,
    rows: IntVector,
    x: Sequence[str],
    traces: Sequence[str],
    shown: tuple[Estimates, ...],
    ax: Axes | None,
) -> Axes:
    from lmm.plots.means import Trace, estimates_lines

    labels, values = means.labels.iloc[rows], means.to_frame()[means.column].to_numpy()[rows]
    limits = [one.to_frame().iloc[rows, -2:].to_numpy() for one in shown]
    is_number = len(x) == 1 and labels[x[0]].dtype.kind == "f" and labels[x[0]].nunique() > 1
    names = [" ".join(map(label_text, row)) for row in labels[list(x)].itertuples(index=False)]
    levels = list(dict.fromkeys(names))
    at = np.unique(labels[x[0]]) if is_number else np.arange(len(levels), dtype=float)
    lines = {
        " ".join(map(label_text, key.values())) or "mean": Trace(
            values[inside], tuple(ends[inside] for ends in limits)
        )
        for key, inside in groups(labels, traces)
    }
    ax = estimates_lines(at, None if is_number else levels, lines, ax)
    ax.set_xlabel(", ".join(x))
    return ax
