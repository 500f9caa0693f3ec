"""Joint tests of the predictors of a reference grid and of their interactions."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from lmm._types import IntVector, Matrix, Vector
from lmm._words import Ddf
from lmm.fit import check_fitted
from lmm.fitted import EstimatedModel
from lmm.inference.marginal.combinations import Combinations, checked
from lmm.inference.marginal.grid import DETECT
from lmm.tables.emmeans.joint_table import JointTest, JointTests
from lmm.tables.emmeans.marginal_means import Estimates
from lmm.tables.emmeans.predictions import (
    Nested,
    Reduce,
    grid_of,
    method_of,
    predictions,
    predictors,
)

CONFOUNDED = "(confounded)"


def joint_tests(
    m: EstimatedModel | Estimates,
    by: str | Sequence[str] | None = None,
    at: Mapping[str, Any] | None = None,
    *,
    ddf: Ddf | None = None,
    nesting: Nested = DETECT,
    vcov: ArrayLike | None = None,
    cov_reduce: Reduce | None = None,
    show0df: bool = False,
    showconf: bool = True,
) -> JointTests:
    """F tests of each predictor and interaction, from contrasts of marginal means.

    Tests of type III that do not depend on contrast codings: each predictor's means, averaged over
    the others (covariates: at their mean), are equal; each interaction's contrasts vanish. Where
    cells are empty, what else the data say about differences of cells is tested under the name
    "(confounded)".

    Parameters
    ----------
    m : LinearMixedModel or Estimates
        The model; or means, whose labels are the predictors.
    by : str or sequence of str, optional
        Predictors within whose combinations the others are tested.
    at : mapping, optional
        Values of predictors to use.
    ddf, nesting, vcov
        As for `emmeans`. A nested predictor is tested within the levels of the outer one.
    cov_reduce
        As for `emmeans`; by default two values around a covariate's mean, so that its slope is
        tested, which a single value leaves out.
    show0df : bool
        Whether to show terms of which nothing can be estimated, with 0 degrees of freedom.
    showconf : bool
        Whether to test what is confounded.

    Examples
    --------
    >>> import lmm
    >>> m = lmm.lmer("angle ~ recipe * temp + (1 | recipe:replicate)", lmm.load_dataset("cake"))
    >>> lmm.joint_tests(m)
     model term  df1 df2 F.ratio p.value
     recipe        2  42   0.249  0.7809
     temp          1 222  94.163  <.0001
     recipe:temp   2 222   0.042  0.9592
    """
    if isinstance(m, Estimates):
        everything, sources = m, [set(map(str, m.labels.columns))]
    else:
        check_fitted(m)
        if not m.fit.matrices.fixed.full_names:
            return JointTests.of([], ())
        grid = grid_of(m, at, cov_reduce or _around_the_mean, nesting)
        everything = predictions(m, grid, grid.rows(), method_of(m, ddf, vcov), "emmean")
        fixed = m.fit.matrices.fixed
        sources = [set(predictors(fixed, term)) for term in fixed.term_variables]
    cells = everything.cells()
    chosen = () if by is None else (by,) if isinstance(by, str) else tuple(by)
    groups = cells.closed([checked(name, cells.names) for name in chosen])
    tests = [
        test
        for test in _tests(everything, cells, groups, sources)
        if showconf or test[0]["model term"] != CONFOUNDED
    ]
    return JointTests.of(tests, groups, show_empty=show0df)


def _tests(
    everything: Estimates,
    cells: Combinations,
    groups: tuple[str, ...],
    sources: Iterable[Collection[str]],
) -> Iterator[JointTest]:
    codes, group = cells.kept(groups)
    for i in range(len(codes)):
        rows = np.flatnonzero(group == i)
        labels = everything.labels.iloc[rows[0]][list(groups)].to_dict()
        inside = _without(cells, groups, rows)
        parts = {
            ":".join(term): inside.interaction(everything.L[rows], term)
            for term in inside.terms(sources)
        }
        for term, L in (parts | _confounded(everything, rows, list(parts.values()))).items():
            yield {"model term": term, **labels}, *everything.estimator.f_test(L)


def _confounded(everything: Estimates, rows: IntVector, tested: list[Matrix]) -> dict[str, Matrix]:
    """What the data say about the cells beyond the tested terms, where cells are empty."""
    estimator, cells = everything.estimator, everything.L[rows]
    if not tested or estimator.is_estimable(cells).all():
        return {}
    known = np.vstack([estimator.estimable_part(L) for L in tested])
    left = estimator.remainder(cells - cells[:1], known)
    return {CONFOUNDED: left} if len(left) else {}


def _without(cells: Combinations, names: tuple[str, ...], rows: IntVector) -> Combinations:
    """Some rows, in which some predictors are constant."""
    kept = tuple(name for name in cells.names if name not in names)
    nesting = {
        name: outer
        for name in cells.nesting
        if name in kept and (outer := tuple(p for p in cells.nesting[name] if p in kept))
    }
    columns = cells.columns(kept)
    return replace(
        cells,
        names=kept,
        codes=cells.codes[rows][:, columns],
        counts=cells.counts[rows],
        nesting=nesting,
    )


def _around_the_mean(values: Vector) -> tuple[float, float]:
    """Two values, symmetric about the mean, so that a covariate stands for its slope.

    One unit away as in emmeans, unless that is beyond the data or next to nothing.
    """
    mean, spread = float(values.mean()), float(values.std())
    is_inside = values.min() <= mean - 1.0 and mean + 1.0 <= values.max()
    step = 1.0 if (is_inside and spread < 1e3) or not spread else spread
    return mean - step, mean + step
