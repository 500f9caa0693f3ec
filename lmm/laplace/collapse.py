"""Rows that are alike as one: the same levels, columns and offset.

The log-likelihood of a family with a known shape depends on such rows through the sum of their
weights and the weighted mean of their responses only, so that they are one row with these; what the
constants lose is kept beside them. Results by row stay those of the data.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from lmm._types import IntVector, Vector
from lmm.design.matrices import ModelMatrices
from lmm.design.response import Response
from lmm.family import Conditional, Family

# Share of distinct rows above which it is not worth while, and few rows.
WORTH, FEW = 0.5, 1000


def collapsed(matrices: ModelMatrices, family: Family) -> tuple[ModelMatrices, Conditional]:
    """Matrices of the distinct rows and the family bound to them; all rows where few are alike."""
    response = matrices.response
    bound = family.conditional(response.y, response.weights, response.trials)
    pattern = None if family.shape_name or matrices.n < FEW else _patterns(_columns(matrices))
    if pattern is None:
        return matrices, bound
    count = int(pattern.max()) + 1
    weights: Vector = np.bincount(pattern, response.weights, count).astype(float)
    total = np.bincount(pattern, response.weights * response.y, count)
    y: Vector = total / np.where(weights > 0.0, weights, 1.0)
    first = np.empty(count, dtype=np.intp)
    first[pattern[::-1]] = np.arange(matrices.n)[::-1]
    design = matrices.design.at_rows(first)
    own = Response.of(y, weights, response.offset[first])
    merged = family.conditional(y, weights)
    return ModelMatrices(design, own), merged.losing(bound.constant - merged.constant)


def _columns(matrices: ModelMatrices) -> Iterator[np.ndarray]:
    """Everything of a row that the linear predictor depends on."""
    for term in {term.group: term for term in matrices.terms}.values():
        yield term.codes
    yield from matrices.X.T
    for term in matrices.terms:
        yield from term.Z.T
    yield matrices.offset


def _patterns(columns: Iterator[np.ndarray]) -> IntVector | None:
    """Number of each row's pattern (n,), or None where most rows are distinct."""
    pattern: IntVector = np.zeros(0, dtype=np.intp)
    for column in columns:
        values, _ = pd.factorize(np.asarray(column))
        if pattern.size:
            values = pattern * (int(values.max()) + 1) + values
        pattern, distinct = pd.factorize(values)
        if len(distinct) > WORTH * len(pattern):
            return None
    return pattern
