"""Tests of fixed effects that hold when the random effects are wrong, as R's clubSandwich."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd

from lmm.fit import Fit, check_models
from lmm.inference.fixed.robust import cluster_robust
from lmm.report.cells import Cells, Column
from lmm.report.document import Document
from lmm.report.format import format_numbers, significance_stars
from lmm.report.printed import TableLike
from lmm.report.tables import labels

__all__ = ["RobustTests", "coef_test", "vcov_cr"]

DIGITS = 3


class Fitted(Protocol):
    """A fitted model."""

    @property
    def fit(self) -> Fit:
        """Its fit."""


@dataclass(frozen=True, eq=False, repr=False)
class RobustTests(TableLike):
    """t tests of the fixed effects with cluster-robust standard errors.

    Attributes
    ----------
    frame : DataFrame (p, 5)
        ``Estimate SE t-stat d.f. p-val`` by coefficient.
    kind : str
        Kind of the covariance.
    cluster : str
        Name of the clusters.
    """

    frame: pd.DataFrame
    kind: str
    cluster: str

    def to_frame(self) -> pd.DataFrame:
        """The tests as a DataFrame of the caller's own."""
        return self.frame.copy()

    def document(self, *, digits: int = DIGITS) -> Document:
        """The table, with so many significant digits."""
        p = self.frame["p-val"].to_numpy()
        small = ["<0.001" if x < 0.001 else format_numbers([x], digits)[0] for x in p]
        names = {"Estimate": "Estimate", "SE": "SE", "t-stat": "t-stat", "d.f. (Satt)": "d.f."}
        columns = (
            Column("Coef.", labels(self.frame.index), "label"),
            *(
                Column(name, tuple(format_numbers(self.frame[column], digits)))
                for name, column in names.items()
            ),
            Column("p-val (Satt)", tuple(small)),
            Column("Sig.", tuple(significance_stars(p)), "stars"),
        )
        return Document((Cells(columns),))


def coef_test(
    m: Fitted, vcov: str = "CR2", cluster: str | Sequence[Any] | None = None
) -> RobustTests:
    """Test each fixed effect with a cluster-robust standard error and Satterthwaite's df.

    Parameters
    ----------
    m : LinearMixedModel
        The model.
    vcov : {"CR2", "CR1", "CR0"}
        Kind of the covariance: see `lmm.inference.fixed.robust`.
    cluster : str or (n,) sequence, optional
        A grouping factor, or the label of each row's cluster. By default the grouping factor in
        which all others are nested.

    Returns
    -------
    RobustTests

    Raises
    ------
    ValueError
        The kind is unknown.
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
    check_models(m)
    robust = cluster_robust(m.fit, vcov, cluster)
    tests = robust.t_tests(np.eye(m.fit.matrices.p))
    frame = pd.DataFrame(
        {
            "Estimate": tests.estimate,
            "SE": tests.std_error,
            "t-stat": tests.statistic,
            "d.f.": tests.df,
            "p-val": tests.p_values,
        },
        index=pd.Index(m.fit.matrices.fixed.names),
    )
    return RobustTests(frame, robust.kind, robust.cluster)


def vcov_cr(
    m: Fitted, kind: str = "CR2", cluster: str | Sequence[Any] | None = None
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
    check_models(m)
    names = pd.Index(m.fit.matrices.fixed.names)
    return pd.DataFrame(cluster_robust(m.fit, kind, cluster).vcov, index=names, columns=names)
