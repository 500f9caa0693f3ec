"""Predictions at the reference grid of a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any, Literal, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from lmm._types import Matrix, Vector
from lmm._words import Ddf
from lmm.design.fixed import FixedEffects
from lmm.design.labels import in_order
from lmm.errors import DataError
from lmm.fit import check_fitted
from lmm.fitted import EstimatedModel
from lmm.inference.fixed.base import DdfMethod
from lmm.inference.fixed.ddf import ddf_method
from lmm.inference.marginal.estimator import Estimator, GivenCovariance
from lmm.inference.marginal.grid import DETECT, KEPT_VALUES, Keep, ReferenceGrid, reference_grid
from lmm.inference.marginal.nesting import nesting_text
from lmm.inference.marginal.scales import response_scale
from lmm.tables.emmeans.marginal_means import Estimates
from lmm.tables.emmeans.shown import Shown
from lmm.tables.fixed_tests import is_text

Nested: TypeAlias = str | Mapping[str, str | Sequence[str]] | None
OneReduce: TypeAlias = Callable[[Vector], ArrayLike] | Literal[False]
Reduce: TypeAlias = OneReduce | Mapping[str, OneReduce] | str | Sequence[str]


def ref_grid(
    m: EstimatedModel,
    at: Mapping[str, Any] | None = None,
    *,
    ddf: Ddf | None = None,
    nesting: Nested = DETECT,
    cov_reduce: Reduce = np.mean,
    cov_keep: Keep = KEPT_VALUES,
    vcov: ArrayLike | None = None,
    offset: float | None = None,
) -> Estimates:
    """Predictions at all combinations of the predictors, of which marginal means are averages.

    Parameters
    ----------
    m, at, ddf, nesting, cov_reduce, cov_keep, vcov, offset
        As for `emmeans`.

    Examples
    --------
    >>> import lmm
    >>> m = lmm.lmer("angle ~ recipe + temp + (1 | recipe:replicate)", lmm.load_dataset("cake"))
    >>> lmm.ref_grid(m)
     recipe temp prediction   SE df
     A       200       33.1 1.74 42
     B       200       31.6 1.74 42
     C       200       31.6 1.74 42
    <BLANKLINE>
    Degrees-of-freedom method: kenward-roger
    """
    grid = grid_of(m, at, cov_reduce, nesting, cov_keep)
    method = method_of(m, ddf, vcov)
    known = grid.offset if offset is None else offset
    table = predictions(m, grid, grid.rows(), method, "prediction", known)
    return replace(table, shown=Shown(intervals=False))


def grid_of(
    m: EstimatedModel,
    at: Mapping[str, Any] | None = None,
    cov_reduce: Reduce = np.mean,
    nesting: Nested = DETECT,
    cov_keep: Keep = KEPT_VALUES,
) -> ReferenceGrid:
    """The reference grid that is asked for."""
    check_fitted(m)
    if is_text(cov_reduce):
        regressions = [cov_reduce] if isinstance(cov_reduce, str) else list(cov_reduce)
        if all("~" in text for text in regressions):
            return reference_grid(m, at, np.mean, nesting, cov_keep, regressions)
    each = cov_reduce.values() if isinstance(cov_reduce, Mapping) else [cov_reduce]
    if bad := [one for one in each if one is not False and not callable(one)]:
        raise TypeError(
            f"cov_reduce takes functions of a column such as numpy.median, False for all of its "
            f"values, or formulas such as 'x ~ a', not {bad[0]!r}"
        )
    if isinstance(cov_reduce, Mapping):
        reductions = {k: one or None for k, one in cov_reduce.items()}
        return reference_grid(m, at, reductions, nesting, cov_keep)
    one = cov_reduce if callable(cov_reduce) else None
    return reference_grid(m, at, one, nesting, cov_keep)


def method_of(m: EstimatedModel, ddf: Ddf | None, vcov: ArrayLike | None) -> DdfMethod:
    """The method for degrees of freedom, with another covariance of the fixed effects or not.

    Raises
    ------
    DataError
        The covariance has the wrong shape.
    ValueError
        Degrees of freedom of a generalized model are asked for.
    """
    check_fitted(m)
    method = ddf_method(m.fit, ddf, "kenward-roger")
    if vcov is None:
        return method
    p = m.fit.matrices.p
    if isinstance(vcov, pd.DataFrame) and vcov.columns.inferred_type == "string":
        names, of = pd.Index(m.fit.matrices.fixed.names), "the fixed effects"
        vcov = in_order(in_order(vcov, names, "vcov", of).T, names, "vcov", of).T
    given = np.asarray(vcov, dtype=float)
    if given.shape != (p, p) or not np.isfinite(given).all():
        raise DataError(
            f"vcov must be a covariance of the {p} fixed effects, ({p}, {p}) finite numbers, not "
            f"of shape {given.shape}"
        )
    return GivenCovariance(method, given)


def predictions(
    m: EstimatedModel,
    grid: ReferenceGrid,
    rows: Matrix,
    method: DdfMethod,
    quantity: str,
    offset: float = 0.0,
) -> Estimates:
    """Linear functions (r, P) at all combinations of a grid.

    Raises
    ------
    DataError
        The model has no fixed effects.
    """
    if not grid.fixed.full_names:
        raise DataError("the model has no fixed effects: there are no means to estimate")
    levels = list(map(grid.values, grid.names))
    heading: tuple[str, ...] = ()
    if grid.nesting and grid.is_detected:
        note = "NOTE: A nesting structure was detected in the fitted model:"
        heading = (f"{note}\n    {nesting_text(grid.nesting)}",)
    return Estimates(
        quantity,
        pd.DataFrame(dict(zip(grid.names, levels, strict=True)), index=range(len(rows))),
        (),
        rows,
        np.full(len(rows), offset),
        grid.cells.counts,
        Estimator.of(method),
        method.name.lower(),
        levels={
            axis.name: () if axis.name in grid.regressed else tuple(axis.values().tolist())
            for axis in grid.axes
        },
        nesting=grid.nesting,
        scale=response_scale(m),
        heading=heading,
        interactions=_interactions(m, grid) if not quantity.endswith(".trend") else (),
    )


def _interactions(m: EstimatedModel, grid: ReferenceGrid) -> tuple[frozenset[str], ...]:
    """Predictors of each interaction of the model."""
    fixed = m.fit.matrices.fixed
    return tuple(
        frozenset(predictors(fixed, term)) & frozenset(grid.names)
        for term in fixed.term_variables
        if len(term) > 1
    )


def predictors(fixed: FixedEffects, term: Sequence[str]) -> tuple[str, ...]:
    """Columns of the data that a term's variables are made of."""
    return tuple(chain.from_iterable(fixed.variables.columns_of(text) for text in term))
