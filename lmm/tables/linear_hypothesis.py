"""Linear hypotheses of the fixed effects, written as text, as R's car and statsmodels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from lmm._words import Ddf
from lmm.errors import nearest
from lmm.fit import check_fitted
from lmm.fitted import EstimatedModel
from lmm.inference.fixed.ddf import ddf_method
from lmm.inference.fixed.hypotheses import LinearHypotheses
from lmm.inference.variance.lrt import chi_square_tail
from lmm.report.printed import AnovaTable
from lmm.tables.fixed_tests import stated

TESTS = ("Chisq", "F")


def linear_hypothesis(
    m: EstimatedModel,
    hypothesis: str | Sequence[str] | ArrayLike,
    rhs: ArrayLike = 0.0,
    *,
    test: str = "Chisq",
    ddf: Ddf | None = None,
) -> AnovaTable:
    """Test hypotheses about the fixed effects jointly, as car's ``linearHypothesis``.

    Parameters
    ----------
    m : LinearMixedModel
        The model.
    hypothesis : str, sequence of str or (q, p) array
        Such as ``"Days = 10"``, ``["fb = fc", "2*x - z = 15"]`` (`lmm.inference.fixed.hypotheses`),
        a fixed term whose coefficients are all zero, or rows L of ``L beta = rhs``.
    rhs : float or (q,) array
        Values of the rows of an array.
    test : {"Chisq", "F"}
        Wald's chi-square test with the model's covariance, or F with a method's degrees of freedom.
    ddf : {"kenward-roger", "satterthwaite", "asymptotic"}
        The method for F.

    Returns
    -------
    AnovaTable
        Rows of the restricted model and the model: ``Df Chisq Pr(>Chisq)``, or ``Res.Df Df F
        Pr(>F)``.

    Raises
    ------
    FormulaError
        The text is no linear hypothesis, or names another coefficient.
    DataError
        A hypothesis is not estimable, or hypotheses contradict each other.
    ValueError
        `test` or `ddf` is another word, or `rhs` is given beside text.

    Examples
    --------
    >>> import lmm
    >>> m = lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))
    >>> lmm.linear_hypothesis(m, "Days = 10")
    Linear hypothesis test
    <BLANKLINE>
    Hypothesis:
    Days = 10
    <BLANKLINE>
    Model 1: restricted model
    Model 2: Reaction ~ Days + (Days | Subject)
    <BLANKLINE>
      Df  Chisq Pr(>Chisq)
    1
    2  1 0.0914     0.7624
    """
    if test not in TESTS:
        raise ValueError(f"test is {test!r}.{nearest(test, TESTS)}")
    check_fitted(m)
    method = ddf_method(m.fit, ddf if test == "F" else "asymptotic", "kenward-roger")
    asked = stated(method, hypothesis, rhs)
    found = method.f_test(asked.L, asked.rhs)
    if test == "F":
        columns = {
            "Res.Df": [found.ddf + found.ndf, found.ddf],
            "Df": [np.nan, found.ndf],
            "F": [np.nan, found.statistic],
            "Pr(>F)": [np.nan, found.p_value],
        }
    else:
        chisq = found.statistic * found.ndf
        columns = {
            "Df": [np.nan, found.ndf],
            "Chisq": [np.nan, chisq],
            "Pr(>Chisq)": [np.nan, chi_square_tail(chisq, found.ndf)],
        }
    return AnovaTable(pd.DataFrame(columns, index=["1", "2"]), _heading(asked, m))


def _heading(asked: LinearHypotheses, m: EstimatedModel) -> tuple[str, ...]:
    return (
        "Linear hypothesis test",
        "",
        "Hypothesis:",
        *asked.labels,
        "",
        "Model 1: restricted model",
        *f"Model 2: {m.fit.formula}".split("\n"),
        "",
    )
