"""Correlations that a fitted covariance structure has between its columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lmm.errors import DataError
from lmm.fitted import Fitted
from lmm.likelihood import correlations
from lmm.plots.canvas import MAX_LABELS, axes, group_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes


# More cells than this get no numbers.
MAX_NUMBERS = 12


def correlation(m: Fitted, group: str | None = None, term: int = 0, ax: Axes | None = None) -> Axes:
    """Correlation of a term's random effects as a picture of the matrix.

    Parameters
    ----------
    m, group, ax
        As for `caterpillar`.
    term : int
        Which of the factor's terms with several columns, counted from 0.

    Raises
    ------
    DataError
        The factor is not in the model, or has no such term.

    Examples
    --------
    >>> import lmm, lmm.plots
    >>> data = lmm.load_dataset("sleepstudy")
    >>> m = lmm.lmer("Reaction ~ Days + ar1(0 + factor(Days) | Subject)", data)
    >>> ax = lmm.plots.correlation(m)
    >>> ax.get_title()
    'ar1 | Subject'
    """
    group = group_of(m, group)
    terms = m.fit.matrices.terms
    found = [i for i, one in enumerate(terms) if one.group == group and one.size > 1]
    if not found:
        raise DataError(
            f"the random effects of {group!r} have one column in each term, and no correlation to "
            "draw: choose another grouping factor, or fit a term of several columns"
        )
    if not 0 <= term < len(found):
        raise DataError(
            f"{group!r} has {len(found)} terms with several columns, and none of number {term}"
        )
    chosen = terms[found[term]]
    values = correlations(m.fit.covariances[found[term]])
    ax = axes(ax)
    image = ax.imshow(values, vmin=-1.0, vmax=1.0, cmap="RdBu_r")
    ax.figure.colorbar(image, ax=ax, label="correlation")
    each = np.arange(chosen.size)
    few = chosen.size <= MAX_LABELS
    names = list(chosen.columns) if few else []
    ax.set_xticks(each if few else [], names, rotation=90, fontsize="small")
    ax.set_yticks(each if few else [], names, fontsize="small")
    if chosen.size <= MAX_NUMBERS:
        for i, j in np.ndindex(values.shape):
            ink = "white" if abs(values[i, j]) > 0.6 else "black"
            ax.text(j, i, f"{values[i, j]:.2f}", ha="center", va="center", color=ink, fontsize=7)
    ax.set_title(f"{chosen.covariance.word} | {group}")
    return ax
