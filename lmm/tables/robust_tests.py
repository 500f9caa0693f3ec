"""Tests of fixed effects that hold when the random effects are wrong, as R's clubSandwich."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from lmm._types import Vector
from lmm.errors import checked_level
from lmm.fit import check_fitted
from lmm.fitted import EstimatedModel
from lmm.generalized_fit import GeneralizedFit
from lmm.inference.fixed.base import TTests, t_tests
from lmm.inference.fixed.ddf import Asymptotic
from lmm.inference.fixed.robust import ClusterRobust, cluster_robust
from lmm.inference.fixed.scores import ScoreRobust, score_robust
from lmm.plain_fit import ScoredFit
from lmm.report.cells import Cells, Column
from lmm.report.document import Document
from lmm.report.format import format_numbers, significance_stars
from lmm.report.printed import Framed, PrintedTable, confidence_table
from lmm.report.tables import labels
from lmm.tables.fixed_tests import stated

DIGITS = 3
SADDLEPOINT = "saddlepoint"
SHORT = {"Satterthwaite": "Satt", SADDLEPOINT: "Saddle"}


@dataclass(frozen=True, eq=False, repr=False)
class RobustTests(Framed):
    """t tests of the fixed effects with cluster-robust standard errors.

    Attributes
    ----------
    frame : DataFrame (p, 5)
        ``Estimate SE t-stat d.f. p-val`` by coefficient; ``s.p.``, the saddlepoint, in the place of
        ``d.f.`` for its approximation.
    kind : str
        Kind of the covariance.
    cluster : str
        Name of the clusters.
    test : str
        Where the degrees of freedom come from.
    """

    kind: str
    cluster: str
    test: str = "Satterthwaite"

    def confint(self, level: float = 0.95) -> PrintedTable:
        """Intervals of the t distribution with the tests' degrees of freedom.

        Raises
        ------
        ValueError
            The tests are the saddlepoint approximation's, which has none.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))
        >>> lmm.coef_test(m).confint().to_frame().round(3)
                       2.5 %   97.5 %
        (Intercept)  237.007  265.804
        Days           7.206   13.729
        """
        frame = self.frame
        if self.test == SADDLEPOINT:
            raise ValueError("test='saddlepoint' has no degrees of freedom, and so no intervals.")
        tests = TTests(
            frame["Estimate"].to_numpy(),
            frame["SE"].to_numpy(),
            frame["d.f."].to_numpy(),
            np.zeros(len(frame)),
        )
        limits = np.column_stack(tests.limits(checked_level(level)))
        return confidence_table(limits, labels(frame.index), level)

    def document(self, *, digits: int = DIGITS) -> Document:
        """The table, with so many significant digits."""
        p = self.frame["p-val"].to_numpy()
        short = SHORT.get(self.test, self.test)
        degrees = {"s.p.": "s.p."} if self.test == SADDLEPOINT else {f"d.f. ({short})": "d.f."}
        small = ["<0.001" if x < 0.001 else format_numbers([x], digits)[0] for x in p]
        names = {"Estimate": "Estimate", "SE": "SE", "t-stat": "t-stat", **degrees}
        columns = (
            Column("Coef.", labels(self.frame.index), "label"),
            *(
                Column(name, tuple(format_numbers(self.frame[column], digits)))
                for name, column in names.items()
            ),
            Column(f"p-val ({short})", tuple(small)),
            Column("Sig.", tuple(significance_stars(p)), "stars"),
        )
        return Document((Cells(columns),))


def coef_test(
    m: EstimatedModel,
    vcov: str | None = None,
    cluster: str | Sequence[Any] | None = None,
    *,
    test: str | None = None,
) -> RobustTests:
    """Test each fixed effect with a cluster-robust standard error.

    Parameters
    ----------
    m : LinearMixedModel or GeneralizedMixedModel
        The model.
    vcov : {"CR2", "CR3", "CR4", "CR1", "CR1p", "CR1S", "CR0"}, optional
        Kind of the covariance: see `lmm.inference.fixed.robust`. By default CR2. Generalized models
        have CR1, their default, CR1p, CR1S and CR0, from the clusters' scores
        (`lmm.inference.fixed.scores`).
    cluster : str or (n,) sequence, optional
        A grouping factor, a column of the data, or the label of each row's cluster (a Series is
        aligned). By default the grouping factor in which all others are nested.
    test : {"Satterthwaite", "naive-t", "naive-tp", "z", "saddlepoint"}, optional
        Degrees of freedom: estimated from the design; number of clusters less one; less the number
        of coefficients; infinite. The first is the default of linear models, ``"z"`` of
        generalized ones, which do not have the first. Or p-values by a saddlepoint approximation,
        of linear models, which does without.

    Returns
    -------
    RobustTests

    Raises
    ------
    ValueError
        The kind or the test is unknown.
    DataError
        Clusters are not independent under the model, or their name is unknown.

    Examples
    --------
    >>> import lmm
    >>> m = lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))
    >>> lmm.coef_test(m)
           Coef. Estimate   SE t-stat d.f. (Satt) p-val (Satt) Sig.
     (Intercept)    251.4 6.82  36.84          17       <0.001  ***
            Days     10.5 1.55   6.77          17       <0.001  ***
    """
    robust = _robust(m, vcov, cluster)
    tests = t_tests(robust, np.eye(m.fit.matrices.p))
    if test is None:
        test = "Satterthwaite" if isinstance(robust, ClusterRobust) else "z"
    if test == SADDLEPOINT and isinstance(robust, ClusterRobust):
        points, p_values = robust.saddlepoints(np.eye(len(tests.estimate)), tests.statistic)
        return _tested(m, robust, tests, test, {"s.p.": points, "p-val": p_values})
    if test != "Satterthwaite" or isinstance(robust, ScoreRobust):
        known = () if isinstance(robust, ScoreRobust) else ("Satterthwaite", SADDLEPOINT)
        df = _naive_df(test, robust.n_clusters, m.fit.matrices.p, known)
        tests = replace(tests, df=np.full(m.fit.matrices.p, df))
    return _tested(m, robust, tests, test, {"d.f.": tests.df, "p-val": tests.p_values})


def _tested(
    m: EstimatedModel,
    robust: ClusterRobust | ScoreRobust,
    tests: TTests,
    test: str,
    judged: dict[str, Vector],
) -> RobustTests:
    columns = {"Estimate": tests.estimate, "SE": tests.std_error, "t-stat": tests.statistic}
    frame = pd.DataFrame(columns | judged, index=pd.Index(m.fit.matrices.fixed.names))
    return RobustTests(frame, robust.kind, robust.cluster, test)


def _naive_df(test: str, clusters: int, p: int, others: tuple[str, ...]) -> float:
    """Degrees of freedom that do not look at the design.

    Raises
    ------
    ValueError
        The test is unknown, or has no degrees of freedom left.
    """
    known = {"z": np.inf, "naive-t": clusters - 1.0, "naive-tp": float(clusters - p)}
    if test not in known:
        raise ValueError(f"test must be one of {', '.join((*others, *known))}, not {test!r}.")
    if known[test] <= 0.0:
        raise ValueError(f"{test} needs more clusters than coefficients: {clusters} and {p}.")
    return known[test]


def _robust(
    m: EstimatedModel, kind: str | None, cluster: str | Sequence[Any] | None
) -> ClusterRobust | ScoreRobust:
    """Cluster-robust covariance of a model, of its default kind where none is named."""
    check_fitted(m)
    if isinstance(m.fit, GeneralizedFit | ScoredFit):
        return score_robust(m.fit, kind or "CR1", cluster, m.call.table)
    return cluster_robust(m.fit, kind or "CR2", cluster, m.call.table)


def vcov_cr(
    m: EstimatedModel, kind: str | None = None, cluster: str | Sequence[Any] | None = None
) -> pd.DataFrame:
    """Cluster-robust covariance of the fixed effects, (p, p); arguments as for `coef_test`.

    Examples
    --------
    >>> import lmm
    >>> m = lmm.lmer("Reaction ~ Days + (1 | Subject)", lmm.load_dataset("sleepstudy"))
    >>> lmm.vcov_cr(m).round(3)
                 (Intercept)   Days
    (Intercept)       46.575 -1.451
    Days              -1.451  2.389
    """
    robust = _robust(m, kind, cluster)
    names = pd.Index(m.fit.matrices.fixed.names)
    return pd.DataFrame(robust.vcov, index=names, columns=names)


def wald_test_cr(
    m: EstimatedModel,
    hypothesis: str | Sequence[str] | ArrayLike,
    rhs: ArrayLike = 0.0,
    *,
    vcov: str | None = None,
    cluster: str | Sequence[Any] | None = None,
    test: str | None = None,
) -> PrintedTable:
    """Joint test of several coefficients with a cluster-robust covariance, as ``Wald_test``.

    Parameters
    ----------
    m : LinearMixedModel or GeneralizedMixedModel
        The model.
    hypothesis : str, sequence of str or (q, p) array
        As for `linear_hypothesis`: ``["fb", "fc"]``, ``"fb = fc"``, or rows of ``L beta = rhs``.
    rhs : float or (q,) array
        Values of the rows of an array.
    vcov, cluster
        As for `coef_test`.
    test : {"HTZ", "Naive-F", "Naive-Fp", "chi-sq"}, optional
        Hotelling's T squared with degrees of freedom estimated from the design (Pustejovsky &
        Tipton, 2018), the default of linear models; F with as many as clusters, less one,
        or less the fixed effects; chi-square, the default of generalized ones, which do not have
        the first.

    Returns
    -------
    PrintedTable
        ``Fstat df_num df_denom p_val``.

    Raises
    ------
    ValueError
        The kind or the test is unknown.
    DataError, FormulaError
        As for `coef_test` and `linear_hypothesis`.

    Examples
    --------
    >>> import lmm
    >>> m = lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))
    >>> lmm.wald_test_cr(m, "Days = 10").to_frame().round(3)
         Fstat  df_num  df_denom  p_val
    HTZ  0.091       1      17.0  0.766
    """
    robust = _robust(m, vcov, cluster)
    if test is None:
        test = "HTZ" if isinstance(robust, ClusterRobust) else "chi-sq"
    asked = stated(Asymptotic(m.fit), hypothesis, rhs)
    found = robust.f_test(asked.L, asked.rhs, test)
    row = {
        "Fstat": found.statistic,
        "df_num": found.ndf,
        "df_denom": found.ddf,
        "p_val": found.p_value,
    }
    return PrintedTable(pd.DataFrame(row, index=[test]))
