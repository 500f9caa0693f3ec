"""Estimated marginal means of a model, as R's emmeans: means, slopes, contrasts, joint tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from lmm._types import Matrix
from lmm.errors import nearest
from lmm.formula import parse_specs
from lmm.inference.fixed.ddf import ddf_method
from lmm.inference.marginal import (
    Estimator,
    ReferenceGrid,
    Source,
    reference_grid,
    response_scale,
)
from lmm.tables.emmeans.cells import cells, named_axes
from lmm.tables.emmeans.estimates import TYPES, EmmeansList, Estimates
from lmm.tables.emmeans.joint_tests import predictors

# Making them ------------------------------------------------------------------------------------


def emmeans(
    m: Source,
    specs: str | Sequence[str],
    by: str | Sequence[str] | None = None,
    at: Mapping[str, Any] | None = None,
    *,
    ddf: str = "kenward-roger",
    weights: str = "equal",
    type: str = "link",
) -> Estimates | EmmeansList:
    """Estimated marginal means: predictions at the reference grid, averaged over the rest.

    Parameters
    ----------
    m : LinearMixedModel
        The model.
    specs : str or sequence of str
        Predictors whose combinations get a mean, or R's formula: ``"~ a * b | c"`` for means of
        a and b by c, ``"pairwise ~ a"`` for contrasts as well, ``"~ 1"`` for the overall mean.
    by : str or sequence of str, optional
        Predictors whose combinations are shown, and contrasted, apart.
    at : mapping, optional
        Values of predictors to use: by default all levels of factors and the mean of covariates.
    ddf : {"kenward-roger", "satterthwaite", "asymptotic"}
        Degrees of freedom, whatever the size of the data.
    weights : {"equal", "proportional", "outer", "cells"}
        How the predictors that are averaged over count: all combinations the same; by frequency
        of their combinations; by the product of their own frequencies; by frequency within each
        mean's cell.
    type : {"link", "response"}
        Scale on which the means of a transformed response are shown: see `Estimates.response`.

    Returns
    -------
    Estimates
        With ``contrast() pairs() confint() test() joint() to_frame() plot()``; or, with contrasts
        asked for, an EmmeansList of both.

    Raises
    ------
    DataError
        A name is no predictor, or a level is not one of its factor's.
    ValueError
        The name of a method, of weights, of a type or of a family of contrasts is unknown.

    Examples
    --------
    >>> import lmm
    >>> m = lmm.lmer("angle ~ recipe + temp + (1 | recipe:replicate)", lmm.load_dataset("cake"))
    >>> lmm.emmeans(m, "recipe").pairs()
     contrast estimate   SE df t.ratio p.value
     A - B      1.4778 2.46 42   0.602  0.8200
     A - C      1.5222 2.46 42   0.620  0.8102
     B - C      0.0444 2.46 42   0.018  0.9998
    <BLANKLINE>
    Degrees-of-freedom method: kenward-roger
    P value adjustment: tukey method for comparing a family of 3 estimates
    """
    grid = reference_grid(m, at)
    contrast, means = _estimates(m, grid, grid.rows(), "emmean", specs, by, ddf, weights)
    if type not in TYPES:
        raise ValueError(f"unknown type {type!r}.{nearest(type, TYPES)}")
    offset = np.full(len(means), grid.offset)
    means = replace(means, offset=offset)
    means = means.response() if type == "response" else means
    return means if contrast is None else EmmeansList(means, means.contrast(contrast))


def emtrends(
    m: Source,
    specs: str | Sequence[str],
    var: str,
    by: str | Sequence[str] | None = None,
    at: Mapping[str, Any] | None = None,
    *,
    ddf: str = "kenward-roger",
    weights: str = "equal",
) -> Estimates | EmmeansList:
    """Slopes of a covariate, by combinations of other predictors.

    Parameters
    ----------
    m : LinearMixedModel
        The model.
    specs, by, at, ddf, weights
        As for `emmeans`.
    var : str
        The covariate. Where the model bends in it, the slope is that at its mean or at `at`.

    Returns
    -------
    Estimates or EmmeansList

    Raises
    ------
    DataError
        `var` is no covariate of the fixed part.

    Examples
    --------
    >>> import lmm
    >>> m = lmm.lmer("angle ~ recipe * temp + (1 | recipe:replicate)", lmm.load_dataset("cake"))
    >>> lmm.emtrends(m, "recipe", var="temp")
     recipe temp.trend     SE  df lower.CL upper.CL
     A           0.154 0.0282 222   0.0981    0.209
     B           0.165 0.0282 222   0.1090    0.220
     C           0.156 0.0282 222   0.1002    0.211
    <BLANKLINE>
    Degrees-of-freedom method: kenward-roger
    Confidence level used: 0.95
    """
    grid = reference_grid(m, at)
    rows = grid.slopes(var)
    contrast, trends = _estimates(m, grid, rows, f"{var}.trend", specs, by, ddf, weights)
    return trends if contrast is None else EmmeansList(trends, trends.contrast(contrast))


def _estimates(
    m: Source,
    grid: ReferenceGrid,
    rows: Matrix,
    quantity: str,
    specs: str | Sequence[str],
    by: str | Sequence[str] | None,
    ddf: str,
    weights: str,
) -> tuple[str | None, Estimates]:
    """Family of contrasts asked for, and averages of the rows of a grid."""
    asked = parse_specs(specs)
    groups = named_axes(grid, asked.by if by is None else by)
    names = tuple(name for name in named_axes(grid, asked.predictors) if name not in groups)
    keep = (*names, *groups)
    L = grid.average(rows, keep, weights)
    labels = pd.DataFrame([cell for cell, _ in cells(grid, keep)], columns=list(keep))
    if not names:
        labels.insert(0, "1", "overall")
        labels = labels if len(labels) else pd.DataFrame({"1": ["overall"]})
    over = [axis for axis in grid.axes if axis.name not in keep and len(axis.levels) > 1]
    notes = []
    if over:
        names_over = ", ".join(axis.name for axis in over)
        notes.append(f"Results are averaged over the levels of: {names_over}")
    estimator = Estimator.of(ddf_method(m.fit, ddf))
    return asked.contrast, Estimates(
        quantity,
        labels,
        groups,
        L,
        np.zeros(len(L)),
        estimator,
        ddf.lower(),
        tuple(notes),
        response_scale(m),
        _interaction_note(m, grid, keep, quantity),
    )


def _interaction_note(m: Source, grid: ReferenceGrid, keep: tuple[str, ...], quantity: str) -> str:
    """Warning that means are averaged over, or at one value of, what they interact with."""
    fixed = m.fit.matrices.fixed
    factors = {axis.name for axis in grid.axes}
    for term in fixed.term_variables:
        used = set(predictors(fixed, term)) & factors
        if len(term) > 1 and used & set(keep) and not used <= set(keep) and quantity == "emmean":
            return "NOTE: Results may be misleading due to involvement in interactions"
    return ""
