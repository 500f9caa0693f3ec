"""Joint tests of the terms of a reference grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, combinations
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from lmm._types import Matrix
from lmm.inference.fixed.base import FTest
from lmm.inference.fixed.ddf import ddf_method
from lmm.inference.marginal import (
    Estimator,
    ReferenceGrid,
    Source,
    reference_grid,
)
from lmm.language import variables
from lmm.report.document import Document
from lmm.report.estimates import estimates_blocks
from lmm.report.printed import TableLike
from lmm.tables.emmeans.cells import cells, named_axes

JointTest: TypeAlias = tuple[dict[str, Any], FTest | None, bool]
"""Labels, the test if there is something to test, and whether something is not estimable."""


@dataclass(frozen=True, eq=False, repr=False)
class JointTests(TableLike):
    """F tests, one row each, printed as R's emmeans does.

    Attributes
    ----------
    frame : DataFrame
        ``model term df1 df2 F.ratio p.value``, ``note`` where something is not estimable, and the
        `by` predictors.
    by : tuple of str
        Predictors whose combinations are shown apart.
    """

    frame: pd.DataFrame
    by: tuple[str, ...]

    @classmethod
    def of(cls, tests: Sequence[JointTest], by: tuple[str, ...]) -> JointTests:
        """Make a table of (labels, F test or None, whether something is not estimable)."""
        rows = [
            {
                **labels,
                "df1": test.ndf,
                "df2": test.ddf,
                "F.ratio": test.statistic,
                "p.value": test.p_value,
                "note": "e" if reduced else "",
            }
            for labels, test, reduced in tests
            if test is not None
        ]
        frame = pd.DataFrame(rows)
        return cls(frame if (frame["note"] != "").any() else frame.drop(columns="note"), by)

    def to_frame(self) -> pd.DataFrame:
        """The tests as a DataFrame of the caller's own."""
        return self.frame.copy()

    def document(self) -> Document:
        """The tests by group."""
        blocks = estimates_blocks(self.frame, "F.ratio", self.by, None)
        note = ("", "e: df1 reduced due to non-estimability ") if "note" in self.frame else ()
        return Document((*blocks, *note))


def joint_tests(
    m: Source,
    by: str | Sequence[str] | None = None,
    at: Mapping[str, Any] | None = None,
    *,
    ddf: str = "kenward-roger",
) -> JointTests:
    """F tests of each predictor and interaction, from contrasts of marginal means.

    Tests of type III that do not depend on contrast codings: each predictor's means, averaged over
    the others (covariates: at their mean), are equal; each interaction's contrasts vanish.

    Parameters
    ----------
    m : LinearMixedModel
        The model.
    by : str or sequence of str, optional
        Predictors within whose combinations the others are tested.
    at : mapping, optional
        Values of predictors to use.
    ddf : str
        As for `emmeans`.

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
    # A covariate stands for its slope: two values, symmetric about the mean.
    grid = reference_grid(m, at, lambda values: (values.mean() - 1.0, values.mean() + 1.0))
    by = named_axes(grid, by)
    estimator = Estimator.of(ddf_method(m.fit, ddf))
    rows = grid.rows()
    fixed = m.fit.matrices.fixed
    sources = [set(predictors(fixed, term)) for term in fixed.term_variables]
    tested = [name for name in grid.names if name not in by]
    terms = [
        term
        for size in range(1, len(tested) + 1)
        for term in combinations(tested, size)
        if any(set(term) <= source for source in sources)
    ]
    tests: list[JointTest] = []
    for labels, index in cells(grid, by):
        for term in terms:
            L = _interaction(grid, rows, term, index)
            tests.append(({"model term": ":".join(term), **labels}, *estimator.f_test(L)))
    return JointTests.of(tests, by)


def _interaction(
    grid: ReferenceGrid, rows: Matrix, term: tuple[str, ...], cell: Mapping[str, int]
) -> Matrix:
    """Consecutive differences along the term's axes, averaged over the others, in one cell."""
    for i in reversed(range(len(grid.axes))):
        name = grid.names[i]
        if name in cell:
            rows = np.take(rows, cell[name], axis=i)
        elif name in term:
            rows = np.diff(rows, axis=i)
        else:
            rows = np.asarray(rows.mean(axis=i))
    return rows.reshape(-1, rows.shape[-1])


def predictors(fixed: Any, term: Sequence[str]) -> tuple[str, ...]:
    """Columns of the data that a term's variables are made of."""
    return tuple(chain.from_iterable(variables(fixed.variables.nodes[text]) for text in term))
