"""Cluster-robust covariance of a generalized model's fixed effects, from scores of clusters.

The criterion is a sum over independent clusters i, whose scores ``s_i = -1/2 dd_i/dx`` by all its
coordinates x (covariances, fixed effects, shape) sum to zero at the estimates. With H the Hessian
of the log-likelihood the sandwich is (White, 1982, Econometrica 50, 1-25, eqn. 3.2)

    V = c H^-1 (sum_i s_i s_i') H^-1                                                            (1)

of which the block of the fixed effects is asked for. CR0 has ``c = 1``, as R's merDeriv and
sandwich; CR1 ``m / (m - 1)`` for m clusters, and CR1p and CR1S as for linear models. Corrections
by leverages (CR2 and above) are of linear models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lmm._types import Frozen, Matrix, Vector
from lmm.design.codes import rows_by_level
from lmm.design.table import Table
from lmm.generalized_fit import GeneralizedFit
from lmm.inference.fixed.base import FTest
from lmm.inference.fixed.robust import clusters_of, inflations, plain_ddf, wald
from lmm.likelihood import variance_of_estimates
from lmm.plain_fit import ScoredFit

KINDS = ("CR0", "CR1", "CR1p", "CR1S")
TESTS = ("chi-sq", "Naive-F", "Naive-Fp")


@dataclass(frozen=True, eq=False)
class ScoreRobust(Frozen):
    """Sandwich covariance of a generalized fit's fixed effects.

    Attributes
    ----------
    fit : GeneralizedFit
        The fit.
    kind : str
        ``"CR0"``, ``"CR1"``, ``"CR1p"`` or ``"CR1S"``.
    cluster : str
        Name of the clusters.
    vcov : (p, p) array
        Block of V of (1).
    scores : (m, d) array
        Scores of the clusters by all coordinates; without random effects by the coefficients.
    """

    fit: GeneralizedFit | ScoredFit
    kind: str
    cluster: str
    vcov: Matrix
    scores: Matrix

    @property
    def n_clusters(self) -> int:
        """Number of clusters m."""
        return len(self.scores)

    def df(self, L: Matrix) -> Vector:
        """Wald's z tests have none, (r,)."""
        return np.full(len(L), np.inf)

    def f_test(self, L: Matrix, rhs: Vector, test: str = "chi-sq") -> FTest:
        """Joint test of ``L beta = rhs`` for L (q, p); dependent rows count once.

        Raises
        ------
        ValueError
            The test is none of `TESTS`.
        """
        if test not in TESTS:
            raise ValueError(f"test must be one of {', '.join(TESTS)} here, not {test!r}.")
        rows, Q = wald(self.fit, self.vcov, L, rhs)
        q = len(rows)
        return FTest(Q / q, q, plain_ddf(test, self.n_clusters, rows.shape[1]))


def score_robust(
    fit: GeneralizedFit | ScoredFit,
    kind: str = "CR1",
    cluster: str | Sequence[Any] | None = None,
    data: Table | None = None,
) -> ScoreRobust:
    """Cluster-robust covariance of a generalized fit's fixed effects.

    Parameters
    ----------
    fit : GeneralizedFit or ScoredFit
        The fit.
    kind : {"CR1", "CR1p", "CR1S", "CR0"}
        Correction for few clusters.
    cluster, data
        As for `lmm.inference.fixed.robust.cluster_robust`.

    Raises
    ------
    ValueError
        The kind is unknown, or the fixed effects are no parameters of the likelihood (nagq = 0).
    DataError
        As for `lmm.inference.fixed.robust.cluster_robust`.

    Examples
    --------
    >>> import lmm
    >>> cbpp = lmm.load_dataset("cbpp")
    >>> m = lmm.glmer("cbind(incidence, size - incidence) ~ period + (1 | herd)", cbpp)
    >>> robust = score_robust(m.fit, "CR0")
    >>> robust.n_clusters, bool(abs(robust.scores.sum(axis=0)).max() < 1e-4)
    (15, True)
    """
    if kind not in KINDS:
        raise ValueError(
            f"kind must be one of {', '.join(KINDS)} for a generalized model, not {kind!r}."
        )
    if isinstance(fit, ScoredFit):
        return _plain_robust(fit, kind, cluster, data)
    model = fit.criterion.model
    if model.joint:
        raise ValueError(
            "with nagq=0 fixed effects are no parameters of the criterion: fit with nagq=1 for "
            "covariances from its scores."
        )
    name, codes = clusters_of(fit.matrices, cluster, data)
    m = int(codes.max()) + 1
    factors = {"CR0": 1.0, **inflations(kind, m, fit.matrices.n, model.p)}
    x = fit.optimum.x
    scores = -0.5 * np.array(
        [fit.criterion.part(rows).gradient(x) for rows in rows_by_level(codes)]
    )
    influences = scores @ variance_of_estimates(fit.hessian)
    moved = model.coefficients(influences[:, model.m : model.m + model.p].T)
    return ScoreRobust(fit, kind, name, factors[kind] * (moved @ moved.T), scores)


def _plain_robust(
    fit: ScoredFit, kind: str, cluster: str | Sequence[Any] | None, data: Table | None
) -> ScoreRobust:
    """The same without random effects, a shape held, by the expected information."""
    name, codes = clusters_of(fit.matrices, cluster, data)
    m, p = int(codes.max()) + 1, fit.matrices.p
    factors = {"CR0": 1.0, **inflations(kind, m, fit.matrices.n, p)}
    scores = np.zeros((m, p))
    np.add.at(scores, codes, fit.score_rows[:, None] * fit.matrices.X)
    moved = scores @ fit.fixed_root @ fit.fixed_root.T
    return ScoreRobust(fit, kind, name, factors[kind] * (moved.T @ moved), scores)
