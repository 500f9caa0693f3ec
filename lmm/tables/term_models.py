"""Tests of every fixed term by comparing models: likelihood-ratio tests, and their bootstrap.

Each term is tested by a model pair of one response, both fitted by maximum likelihood:

* Type I: the terms up to this one, and those before it.
* Type II: the terms that do not have all variables of this one beside others, with and without it.
* Type III: the whole model, and the model in which the term's hypothesis of type III holds. With
  all cells filled that is the model without the term's columns where factors are coded by
  contrasts that sum to zero, whatever the coding of the fit.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.linalg import qr

from lmm._types import Matrix
from lmm.design.fixed import FixedEffects
from lmm.design.matrices import ModelMatrices
from lmm.fit import check_models
from lmm.inference.fixed.term_contrasts import AnovaType, term_contrasts
from lmm.inference.variance.lrt import chi_square_tail
from lmm.report.printed import AnovaTable
from lmm.report.tables import rows_of
from lmm.tables.comparison import ModelT, settled
from lmm.tables.modcomp import checked_nsim, compared_by_bootstrap


def lrt_anova(model: ModelT, type_: AnovaType) -> AnovaTable:
    """Likelihood-ratio tests ``Chisq Df Pr(>Chisq)`` of the fixed terms, by maximum likelihood.

    The module says which models the types compare. Missing for a term that adds no columns.
    """
    check_models(model)
    frame = rows_of(_pairs(model, type_), _lrt_row, ["Chisq", "Df", "Pr(>Chisq)"])
    return _table(model, frame, type_, "likelihood-ratio")


def pb_anova(
    model: ModelT,
    type_: AnovaType,
    nsim: int,
    seed: int | np.random.Generator | None,
    progress: bool | None = None,
) -> AnovaTable:
    """Likelihood-ratio tests whose null distributions are simulated, by `lmm.pb_modcomp`."""
    check_models(model)
    checked_nsim(nsim)
    rng = np.random.default_rng(seed)

    def row(pair: tuple[ModelT, ModelT]) -> list[float]:
        return [*_lrt_row(pair), compared_by_bootstrap(*pair, nsim, rng, progress).p_value]

    frame = rows_of(_pairs(model, type_), row, ["Chisq", "Df", "Pr(>Chisq)", "Pr(>PB)"])
    return _table(model, frame, type_, "parametric bootstrap")


def _table(model: ModelT, frame: pd.DataFrame, type_: AnovaType, test: str) -> AnovaTable:
    heading = (f"Type {type_} Analysis of Variance Table ({test} tests)", "", "Model:")
    return AnovaTable(frame, (*heading, *str(model.formula).split("\n")))


def _lrt_row(pair: tuple[ModelT, ModelT]) -> list[float]:
    large, small = (model.fit for model in pair)
    statistic = max(0.0, 2.0 * (large.loglik - small.loglik))
    df = large.n_parameters - small.n_parameters
    return [statistic, df, chi_square_tail(statistic, df)]


# Models ------------------------------------------------------------------------------------------


def _pairs(model: ModelT, type_: AnovaType) -> Iterator[tuple[str, tuple[ModelT, ModelT] | None]]:
    """Larger and smaller model of each term; None where they are the same."""
    full = model.refit_ml()
    for label, large, small in _designs(full.fit.matrices, type_):
        if large.p == small.p:
            yield label, None
            continue
        larger = full if large.p == full.fit.matrices.p else full.on(large)
        larger, smaller = settled([larger, full.on(small)])
        yield label, (larger, smaller)


def _designs(
    matrices: ModelMatrices, type_: AnovaType
) -> Iterator[tuple[str, ModelMatrices, ModelMatrices]]:
    if type_ == "III":
        for label, L in term_contrasts(matrices, type_).L.items():
            yield label, matrices, _restricted(matrices, L)
        return
    assign = matrices.fixed.assign
    for j, label in enumerate(matrices.fixed.term_labels, start=1):
        large = ~np.isin(assign, _left_out(matrices.fixed, j, type_))
        yield label, _part(matrices, large), _part(matrices, large & (assign != j))


def _left_out(fixed: FixedEffects, j: int, type_: AnovaType) -> list[int]:
    """Terms, counted from 1, that term j is not adjusted for."""
    terms = [frozenset(variables) for variables in fixed.term_variables]
    if type_ == "I":
        return list(range(j + 1, len(terms) + 1))
    return [i for i, other in enumerate(terms, start=1) if terms[j - 1] < other]


def _part(matrices: ModelMatrices, chosen: NDArray[np.bool_]) -> ModelMatrices:
    """The model with some of its fixed-effects columns, (p,) bool."""
    kept = np.flatnonzero(chosen)
    return matrices.with_columns(matrices.X[:, kept], kept)


def _restricted(matrices: ModelMatrices, L: Matrix) -> ModelMatrices:
    """The model with coefficients that ``L beta = 0`` ties to the others in their terms."""
    if not len(L):
        return matrices
    pivots = qr(L, mode="r", pivoting=True)[1]
    tied, free = pivots[: len(L)], np.sort(pivots[len(L) :])
    X = matrices.X[:, free] - matrices.X[:, tied] @ np.linalg.solve(L[:, tied], L[:, free])
    return matrices.with_columns(X, free)
