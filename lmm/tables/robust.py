"""Tests of fixed effects that hold when the random effects are wrong, as R's clubSandwich."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd

from lmm.fit import Fit
from lmm.inference.fixed.robust import cluster_robust
from lmm.report.format import format_numbers, significance_stars
from lmm.report.html import text_html

__all__ = ["RobustTests", "coef_test", "vcov_cr"]

DIGITS = 3


class Fitted(Protocol):
    """A fitted model."""

    @property
    def fit(self) -> Fit:
        """Its fit."""


@dataclass(frozen=True, eq=False)
class RobustTests:
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

    def __str__(self) -> str:
        p = self.frame["p-val"].to_numpy()
        columns = {
            "Coef.": [str(name) for name in self.frame.index],
            "Estimate": format_numbers(self.frame["Estimate"], DIGITS),
            "SE": format_numbers(self.frame["SE"], DIGITS),
            "t-stat": format_numbers(self.frame["t-stat"], DIGITS),
            "d.f. (Satt)": format_numbers(self.frame["d.f."], DIGITS),
            "p-val (Satt)": ["<0.001" if x < 0.001 else format_numbers([x], DIGITS)[0] for x in p],
            "Sig.": significance_stars(p),
        }
        padded = []
        for name, texts in columns.items():
            width = max(map(len, (name, *texts)))
            padded.append([text.rjust(width) for text in (name, *texts)])
        return "\n".join(" " + " ".join(line) for line in zip(*padded, strict=True))

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return text_html(str(self))


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
    names = pd.Index(m.fit.matrices.fixed.names)
    return pd.DataFrame(cluster_robust(m.fit, kind, cluster).vcov, index=names, columns=names)
