"""Fixed effects of models with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from lmm._words import Ddf
from lmm.errors import DataError
from lmm.fitted import ReportedModel
from lmm.plots.canvas import FAINT, axes, label_rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def coefficients(
    *models: ReportedModel,
    names: Sequence[str] | None = None,
    level: float = 0.95,
    ddf: Ddf | None = None,
    intercept: bool = False,
    exponentiate: bool = False,
    ax: Axes | None = None,
) -> Axes:
    """Fixed effects with confidence intervals, those of several models beside each other.

    Parameters
    ----------
    *models : LinearMixedModel or GeneralizedMixedModel
        The models.
    names : sequence of str, optional
        Names of several models for the legend; ``Model 1``, ... by default.
    level : float
        Coverage of the intervals.
    ddf : str, optional
        Degrees of freedom of linear models, whose quantiles the intervals then take; normal
        quantiles by default.
    intercept : bool
        Whether to show the intercept, whose size would often hide the others.
    exponentiate : bool
        Whether to show ratios, for a log or logit link, on a logarithmic axis.
    ax : Axes, optional
        Where to draw.

    Raises
    ------
    DataError
        There is no model, no effect to show, or not one name for each model.

    Examples
    --------
    >>> import lmm, lmm.plots
    >>> m = lmm.lmer("yield ~ nitro + Variety + (1 | Block)", lmm.load_dataset("Oats"))
    >>> ax = lmm.plots.coefficients(m)
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['VarietyVictory', 'VarietyMarvellous', 'nitro']
    """
    names = [f"Model {i + 1}" for i in range(len(models))] if names is None else list(names)
    if not models or len(names) != len(models):
        raise DataError(f"coefficients needs a model or more and a name for each, not {names}")
    tables = [
        m.tidy(
            "fixed", conf_int=True, conf_level=level, ddf=ddf, exponentiate=exponentiate
        ).set_index("term")
        for m in models
    ]
    terms = list(dict.fromkeys(term for table in tables for term in table.index))
    terms = [term for term in terms if intercept or term != "(Intercept)"]
    if not terms:
        raise DataError("the models have no fixed effects but the intercept: give intercept=True")
    ax = axes(ax, len(terms))
    ax.axvline(1.0 if exponentiate else 0.0, color=FAINT, lw=1.0, ls="--")
    rows = np.arange(len(terms))[::-1]
    for i, (name, table) in enumerate(zip(names, tables, strict=True)):
        drawn = table.reindex(terms)[["estimate", "conf.low", "conf.high"]].to_numpy(float)
        estimate, low, high = drawn.T
        y = rows - 0.6 * ((i + 0.5) / len(models) - 0.5)
        ax.hlines(y, low, high, color=f"C{i}", lw=2.0, alpha=0.6)
        ax.plot(estimate, y, "o", ms=5.0, color=f"C{i}", label=name)
    label_rows(ax, terms[::-1])
    ax.set(xlabel="Ratio" if exponentiate else "Coefficient", ylim=(-0.7, len(terms) - 0.3))
    if exponentiate:
        ax.set_xscale("log")
    if len(models) > 1:
        ax.legend(frameon=False)
    return ax
