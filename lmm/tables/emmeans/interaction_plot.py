"""Interaction plots: marginal means against a predictor, by the levels of others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from lmm._types import IntVector
from lmm.errors import DataError
from lmm.fitted import EstimatedModel
from lmm.language import Binary, parse_tilde, variables
from lmm.tables.emmeans.emmeans import emmeans
from lmm.tables.emmeans.marginal_means import Estimates
from lmm.tables.emmeans.row_labels import groups, label_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["emmip"]


def emmip(
    m: EstimatedModel | Estimates,
    formula: str,
    *,
    bands: bool = False,
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
    means = cast("Estimates", emmeans(m, [*x, *traces], by=within, **options)).confint()
    parts = list(groups(means.labels, within))
    drawn = panels(len(parts)) if within else [ax]
    found = [
        _draw(means, rows, x, traces, bands, ax) for (_, rows), ax in zip(parts, drawn, strict=True)
    ]
    for (labels, _), ax in zip(parts, found, strict=True):
        ax.set_title(", ".join(f"{name} = {label_text(level)}" for name, level in labels.items()))
    found[0].set_ylabel(means.column)
    if traces:
        found[-1].legend(title=", ".join(traces))
    return found if within else found[0]


def _draw(
    means: Estimates,
    rows: IntVector,
    x: Sequence[str],
    traces: Sequence[str],
    bands: bool,
    ax: Axes | None,
) -> Axes:
    from lmm.plots.means import estimates_lines

    frame, labels = means.to_frame().iloc[rows], means.labels.iloc[rows]
    is_number = len(x) == 1 and labels[x[0]].dtype.kind == "f"
    names = [" ".join(map(label_text, row)) for row in labels[list(x)].itertuples(index=False)]
    levels = list(dict.fromkeys(names))
    at = np.unique(labels[x[0]]) if is_number else np.arange(len(levels), dtype=float)
    lines = {}
    for key, inside in groups(labels, traces):
        part = frame.iloc[inside]
        limits = part.iloc[:, -2:].to_numpy() if bands else np.full((len(part), 2), np.nan)
        name = " ".join(map(label_text, key.values())) or "mean"
        lines[name] = (part[means.column].to_numpy(), *limits.T)
    ax = estimates_lines(at, None if is_number else levels, lines, ax)
    ax.set_xlabel(", ".join(x))
    return ax
