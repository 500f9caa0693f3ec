"""Estimated marginal means of a model, as R's emmeans: means and slopes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from lmm._types import Matrix, Vector
from lmm._words import Adjust, Ddf, MeanScale
from lmm.design.labels import by_name
from lmm.errors import DataError
from lmm.fitted import EstimatedModel
from lmm.formula import Specs, parse_specs
from lmm.inference.fixed.base import DdfMethod
from lmm.inference.marginal.combinations import Combinations
from lmm.inference.marginal.grid import DETECT, KEPT_VALUES, Keep, ReferenceGrid
from lmm.tables.emmeans.kept import Kept, kept
from lmm.tables.emmeans.marginal_means import Estimates
from lmm.tables.emmeans.predictions import Nested, Reduce, grid_of, method_of, predictions
from lmm.tables.emmeans.several import EmmeansList
from lmm.tables.emmeans.shown import checked_type

DEGREES = ("linear", "quadratic", "cubic", "quartic")


def emmeans(
    m: EstimatedModel | Estimates,
    specs: str | Sequence[str],
    by: str | Sequence[str] | None = None,
    at: Mapping[str, Any] | None = None,
    *,
    ddf: Ddf | None = None,
    weights: str | ArrayLike = "equal",
    type: MeanScale = "link",
    nesting: Nested = DETECT,
    cov_reduce: Reduce = np.mean,
    cov_keep: Keep = KEPT_VALUES,
    vcov: ArrayLike | None = None,
    regrid: str | None = None,
    transform: str | None = None,
    adjust: Adjust | None = None,
    infer: bool | None = None,
    bias_adjust: bool = False,
    sigma: float | None = None,
    offset: float | None = None,
) -> Estimates | EmmeansList:
    """Estimated marginal means: predictions at the reference grid, averaged over the rest.

    Parameters
    ----------
    m : LinearMixedModel or Estimates
        The model; or means, which are averaged further.
    specs : str or sequence of str
        Predictors whose combinations get a mean, or R's formula: ``"~ a * b | c"`` for means of
        a and b by c, ``"pairwise ~ a"`` for contrasts as well, ``"1"`` or ``"~ 1"`` for the
        overall mean. Several formulas give several tables.
    by : str or sequence of str, optional
        Predictors whose combinations are shown, and contrasted, apart.
    at : mapping, optional
        Values of predictors to use: by default all levels of factors, the mean of covariates, and
        all values of numbers that the formula makes a factor of, as in ``cut(x, 3)``.
    ddf : {"kenward-roger", "satterthwaite", "asymptotic"}, optional
        Degrees of freedom, whatever the size of the data: Kenward and Roger's by default for linear
        models, infinite ones for generalized ones, which have no others.
    weights : {"equal", "proportional", "outer", "cells", "flat"} or sequence of float
        How the predictors that are averaged over count: all combinations the same; by frequency
        of their combinations; by the product of their own frequencies; by frequency within each
        mean's cell; all combinations that the data have the same; or as the numbers say (by
        level, for a Series or dict, where one predictor is averaged over).
    type : {"link", "response"}
        Scale on which the means of a transformed response are shown: see `Estimates.response`.
    nesting : str, mapping or None
        Predictors nested in others: ``"class %in% school, pupil %in% (school * class)"``, or
        ``{"class": "school"}``. By default what the data show, as a note says: levels of a
        predictor that occur with one level of another only. A nested predictor is averaged over
        within each level of the outer one. None for none.
    cov_reduce : callable, False, mapping of these, or formulas
        Value or values that stand for a covariate, from all that it has, or by predictor; False
        for all of them. By ``"x ~ a"`` x stands at its mean that least squares predict from a, by
        several such formulas several covariates do.
    cov_keep : int, str, or sequence of these
        Covariates of which all values are kept and averaged over, as levels are; or the number of
        values up to which those of any covariate are: 2 by default, 1 where names alone are given.
    vcov : (p, p) array_like, optional
        Another covariance of the fixed effects, such as `vcov_cr`'s.
    regrid : str, optional
        Scale on which predictions are averaged: see `Estimates.regrid`.
    transform : str, optional
        The same: R's older name of `regrid`.
    adjust : str, optional
        Adjustment of the contrasts, or of the means if there are none: see `Estimates.confint`.
    infer : bool, optional
        Whether to show intervals and tests both.
    bias_adjust, sigma
        As for `Estimates.response`.
    offset : float, optional
        Value of the model's offset, such as 0 for rates per unit of exposure; its mean by default.

    Returns
    -------
    Estimates
        With ``contrast() pairs() confint() test() joint() to_frame() plot()``; or, with contrasts
        or several tables asked for, an EmmeansList of them.

    Raises
    ------
    DataError
        A name is no predictor, or a level is not one of its factor's; the model has no fixed
        effects.
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
    checked_type(type)
    regrid = _one_name(regrid, transform)
    if isinstance(m, Estimates):
        everything = m
    else:
        grid = grid_of(m, at, cov_reduce, nesting, cov_keep)
        method = method_of(m, ddf, vcov)
        known = grid.offset if offset is None else offset
        everything = predictions(m, grid, grid.rows(), method, "emmean", known)
    if regrid is not None:
        everything = everything.regrid(regrid)

    def shown(means: Estimates) -> Estimates:
        return means.response(bias_adjust, sigma) if type == "response" else means

    return _tables(everything, _Asked(specs, by, weights, adjust, infer), "emmeans", shown)


def emtrends(
    m: EstimatedModel,
    specs: str | Sequence[str],
    var: str,
    by: str | Sequence[str] | None = None,
    at: Mapping[str, Any] | None = None,
    *,
    ddf: Ddf | None = None,
    weights: str | ArrayLike = "equal",
    max_degree: int = 1,
    nesting: Nested = DETECT,
    cov_reduce: Reduce = np.mean,
    cov_keep: Keep = KEPT_VALUES,
    vcov: ArrayLike | None = None,
    regrid: str | None = None,
    transform: str | None = None,
    adjust: Adjust | None = None,
    infer: bool | None = None,
    offset: float | None = None,
) -> Estimates | EmmeansList:
    """Slopes of a covariate, by combinations of other predictors.

    Parameters
    ----------
    m : LinearMixedModel
        The model.
    specs, by, at, ddf, weights, nesting, cov_reduce, cov_keep, vcov, adjust, infer, offset
        As for `emmeans`.
    var : str
        The covariate, or a function of one such as ``"log(x)"``. Where the model bends in it, the
        slope is that at its mean or at `at`. Of a matrix of the data, all columns rise by the same;
        ``"M[, 1]"`` is one of them.
    max_degree : int
        Degree up to which coefficients of powers of the covariate are given: the derivative of
        order k divided by k!.
    regrid : str, optional
        Scale of which slopes are those: ``"response"`` for the mean of the response, or a function
        of it such as ``"log"``, where the model has a link or a transformed response.
    transform : str, optional
        The same: R's older name of `regrid`.

    Returns
    -------
    Estimates or EmmeansList

    Raises
    ------
    DataError
        `var` is no covariate of the fixed part, nor a function of one.
    ValueError
        The scale is unknown.

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
    regrid = _one_name(regrid, transform)
    grid = grid_of(m, at, cov_reduce, nesting, cov_keep)
    if not 1 <= max_degree <= len(DEGREES):
        raise ValueError(f"max_degree must be 1 to {len(DEGREES)}, not {max_degree!r}.")
    known = grid.offset if offset is None else offset
    slopes = _Slopes(m, grid, method_of(m, ddf, vcov), f"{var}.trend", known, regrid)
    tables = [slopes.of(grid.differences(var, degree)) for degree in range(1, max_degree + 1)]
    everything = tables[0] if max_degree == 1 else _by_degree(tables)
    asked = _Asked(specs, by, weights, adjust, infer, ("degree",) if max_degree > 1 else ())
    return _tables(everything, asked, "emtrends")


def _one_name(regrid: str | None, transform: str | None) -> str | None:
    if regrid is not None and transform is not None:
        raise ValueError("transform is another name of regrid: give one of them.")
    return transform if regrid is None else regrid


@dataclass(frozen=True, eq=False)
class _Slopes:
    """Tables of derivatives at the cells of a grid, on the model's scale or another one."""

    m: EstimatedModel
    grid: ReferenceGrid
    method: DdfMethod
    quantity: str
    offset: float
    regrid: str | None

    def of(self, differences: Sequence[tuple[Vector, Matrix]]) -> Estimates:
        """Derivatives by weights (r,) of rows (r, P)."""
        rows = np.asarray(sum(w[:, None] * rows for w, rows in differences))
        table = predictions(self.m, self.grid, rows, self.method, self.quantity)
        if self.regrid is None:
            return table
        parts = [(w, self._regridded(rows, self.regrid)) for w, rows in differences]
        return replace(
            table,
            L=np.asarray(sum(w[:, None] * part.L for w, part in parts)),
            offset=np.asarray(sum(w * part.offset for w, part in parts)),
            scale=None,
        )

    def _regridded(self, rows: Matrix, regrid: str) -> Estimates:
        made = predictions(self.m, self.grid, rows, self.method, "emmean", self.offset)
        return made.regrid(regrid)


def _by_degree(tables: Sequence[Estimates]) -> Estimates:
    """Tables of coefficients of several degrees as one, shown apart."""
    names = DEGREES[: len(tables)]
    parts = [table.labels.assign(degree=name) for table, name in zip(tables, names, strict=True)]
    first = tables[0]
    return replace(
        first,
        labels=pd.concat(parts, ignore_index=True),
        by=("degree",),
        L=np.vstack([table.L for table in tables]),
        offset=np.concatenate([table.offset for table in tables]),
        counts=np.concatenate([table.counts for table in tables]),
        levels={**first.levels, "degree": names},
    )


@dataclass(frozen=True)
class _Asked:
    """What tables are asked for; `always` are groups that all of them have."""

    specs: str | Sequence[str]
    by: str | Sequence[str] | None
    weights: str | ArrayLike
    adjust: Adjust | None
    infer: bool | None
    always: tuple[str, ...] = ()

    @property
    def parts(self) -> list[Specs]:
        """The specs one by one.

        Raises
        ------
        TypeError
            They are neither names nor formulas.
        """
        if not isinstance(self.specs, str | Sequence):
            raise TypeError(f"specs are names of predictors or a formula, not {self.specs!r}")
        if not isinstance(self.specs, str) and any("~" in spec for spec in self.specs):
            return list(map(parse_specs, self.specs))
        return [parse_specs(self.specs)]


def _tables(
    everything: Estimates,
    asked: _Asked,
    kind: str,
    shown: Callable[[Estimates], Estimates] = lambda means: means,
) -> Estimates | EmmeansList:
    """What one or several specs ask for."""
    tables: dict[str, Estimates] = {}
    cells, parts = everything.cells(), asked.parts
    for part in parts:
        keep = kept(part, cells, asked.by, asked.always)
        means = shown(_averaged(everything, cells, keep, asked.weights))
        title = f" of {', '.join(keep.names) or 'the whole'}" if len(parts) > 1 else ""
        only = part.contrast is None
        tables[f"{kind}{title}"] = _inferred(means, asked.adjust if only else None, asked.infer)
        if part.contrast is not None:
            contrasts = means.contrast(part.contrast, adjust=asked.adjust)
            name = f"{part.contrast} contrasts{title}" if title else "contrasts"
            tables[name] = _inferred(contrasts, None, asked.infer)
    return EmmeansList(tables) if len(tables) > 1 else next(iter(tables.values()))


def _inferred(table: Estimates, adjust: Adjust | None, infer: bool | None) -> Estimates:
    if infer is None and adjust is None:
        return table
    intervals = table.shown.intervals if infer is None else infer
    tests = table.shown.tests if infer is None else infer
    return table.summary(intervals, tests, adjust=adjust)


def _weights_by_level(
    weights: str | ArrayLike, labels: pd.DataFrame, cells: Combinations, over: Sequence[str]
) -> str | ArrayLike:
    """Weights named by levels in the order of the levels; others as they are."""
    if not isinstance(weights, Mapping | pd.Series):
        return weights
    if len(over) != 1:
        raise DataError(
            f"weights have names, but there are {len(over)} predictors to average over: give "
            "numbers, one for each combination, the first predictor's levels changing fastest"
        )
    first = np.unique(cells.codes[:, cells.columns(over)[0]], return_index=True)[1]
    levels = labels[over[0]].iloc[first].astype(str).tolist()
    numbers: ArrayLike = by_name(weights, levels, "weights")
    return numbers


def _averaged(
    everything: Estimates, cells: Combinations, keep: Kept, weights: str | ArrayLike
) -> Estimates:
    """Means over the labels that a spec does not name."""
    codes, cell = cells.kept(keep.all)
    first = np.unique(cell, return_index=True)[1]
    labels = everything.labels.iloc[first][list(keep.all)].reset_index(drop=True)
    if not keep.names:
        labels.insert(0, "1", ["overall"] * len(codes))
    rows = np.column_stack([everything.L, everything.offset])
    over = [name for name in _order(cells) if name not in keep.all and _varies(cells, name)]
    weights = _weights_by_level(weights, everything.labels, cells, over)
    means = cells.average(rows, keep.all, weights)
    return replace(
        everything,
        labels=labels,
        by=keep.by,
        L=means[:, :-1],
        offset=means[:, -1],
        counts=cells.total_counts(keep.all),
        averaged=(*everything.averaged, *over),
        nesting={k: v for k, v in cells.nesting.items() if k in keep.all},
        heading=tuple(dict.fromkeys([*everything.heading, *_warning(everything, set(keep.all))])),
        differences=None,
    )


def _order(cells: Combinations) -> list[str]:
    """Predictors in the order in which they are averaged over: nested ones first, outer last."""
    outer = {name for names in cells.nesting.values() for name in names}
    return sorted(cells.names, key=lambda name: (name in outer, name not in cells.nesting))


def _varies(cells: Combinations, name: str) -> bool:
    return len(np.unique(cells.codes[:, cells.names.index(name)])) > 1


def _warning(everything: Estimates, keep: set[str]) -> tuple[str, ...]:
    """Warning that means are averaged over, or at one value of, what they interact with."""
    if any(used & keep and not used <= keep for used in everything.interactions):
        return ("NOTE: Results may be misleading due to involvement in interactions",)
    return ()
