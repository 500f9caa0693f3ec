"""Tables of models without random effects: R's ``anova``, ``drop1`` and profiles of ``glm``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.linalg import null_space
from scipy.optimize import brentq

from lmm._types import Matrix, Vector
from lmm.errors import DataError, checked_level
from lmm.inference.fixed.anova import term_tests
from lmm.inference.fixed.base import FTest
from lmm.inference.fixed.ddf import ddf_method
from lmm.inference.fixed.term_contrasts import AnovaType, deletion_contrasts
from lmm.inference.variance.lrt import chi_square_tail
from lmm.likelihood import critical_value
from lmm.plain_fit import LeastSquaresFit, PlainFit, ScoredFit
from lmm.report.printed import AnovaTable, PrintedTable, confidence_table
from lmm.report.tables import rows_of

# Standard errors from the estimate beyond which a limit counts as infinite.
FAR = 64.0


def least_squares_anova(fit: LeastSquaresFit, type_: AnovaType) -> AnovaTable:
    """Tests of types II and III, printed as car's ``Anova(lm)``."""
    tests = term_tests(ddf_method(fit), type_, fit.vcov)

    def row(test: FTest) -> list[float]:
        return [test.statistic * test.ndf * fit.sigma**2, test.ndf, test.statistic, test.p_value]

    frame = rows_of(tests.items(), row, ["Sum Sq", "Df", "F value", "Pr(>F)"])
    frame.loc["Residuals"] = [fit.rss, fit.df_resid, np.nan, np.nan]
    heading = (f"Anova Table (Type {type_} tests)", "", f"Response: {fit.formula.response}")
    return AnovaTable(frame, heading)


# Deviances ----------------------------------------------------------------------------------------


def deviance_table(fit: ScoredFit, test: str | None) -> AnovaTable:
    """What each term adds to those before it, as R's ``anova(glm)``."""
    test, fixed = _checked_test(fit, test), fit.matrices.fixed
    terms = sorted(set(fixed.assign.tolist()) - {0})
    nested = [fit.deviance_of(fit.matrices.X[:, fixed.assign <= j]) for j in terms[:-1]]
    deviances = np.array([fit.null_deviance, *nested, *([fit.deviance] if terms else [])])
    lost = np.array([int((fixed.assign == j).sum()) for j in terms])
    table = pd.DataFrame(
        {
            "Df": [np.nan, *lost],
            "Deviance": [np.nan, *-np.diff(deviances)],
            "Resid. Df": fit.df_null - np.concatenate([[0], np.cumsum(lost)]),
            "Resid. Dev": deviances,
        },
        index=["NULL", *(fixed.term_labels[j - 1] for j in terms)],
    )
    heading = (
        *("Analysis of Deviance Table", "", f"Model: {fit.family.title}, link: {fit.family.link}"),
        *("", f"Response: {fit.formula.response}", ""),
        *("Terms added sequentially (first to last)", ""),
    )
    return AnovaTable(_tested(table, fit, test), heading)


def _checked_test(fit: ScoredFit, test: str | None) -> str:
    """The test: chi-square, or F where a dispersion is estimated.

    Raises
    ------
    ValueError
        It is neither.
    """
    has_scale = fit.distribution.has_scale
    if test is None:
        return "F" if has_scale else "Chisq"
    if test not in ("Chisq", "F") or (test == "F" and not has_scale):
        needs = "" if has_scale else "; F is for families with a dispersion"
        raise ValueError(f"test must be 'Chisq' or 'F', not {test!r}{needs}.")
    return test


def _tested(table: pd.DataFrame, largest: ScoredFit, test: str) -> pd.DataFrame:
    """A table with ``Df`` and ``Deviance`` and the tests of these differences."""
    df, added = table["Df"].to_numpy(float), table["Deviance"].to_numpy(float)
    scaled = np.where(df < 0.0, -added, added) / largest.dispersion
    if test == "F":
        return _with_f(table, scaled / np.abs(df), largest)
    return table.assign(**{"Pr(>Chi)": chi_square_tail(scaled, np.abs(df))})


def deviance_drop1(fit: ScoredFit, scope: Sequence[str] | None, test: str | None) -> AnovaTable:
    """Each term left out that no other contains, as R's ``drop1(glm, test)``."""
    from lmm.tables.comparison import checked_scope

    test, aic = _checked_test(fit, test), 2.0 * fit.n_parameters - 2.0 * fit.loglik
    missing = [np.nan] * 2
    rows = {"<none>": [np.nan, fit.deviance, aic, *missing]}
    for label in checked_scope(fit.matrices.fixed, scope):
        L = deletion_contrasts(fit.matrices, label)
        deviance = fit.deviance_of(fit.matrices.X @ null_space(L)) if len(L) else fit.deviance
        scaled = (deviance - fit.deviance) / fit.dispersion
        rows[label] = [
            len(L),
            deviance,
            aic + scaled - 2.0 * len(L),
            *_deletion(fit, test, L, scaled),
        ]
    names = ["scaled dev.", "Pr(>Chi)"] if fit.distribution.has_scale else ["LRT", "Pr(>Chi)"]
    columns = ["Df", "Deviance", "AIC", *(["F value", "Pr(>F)"] if test == "F" else names)]
    frame = pd.DataFrame.from_dict(rows, orient="index", columns=columns, dtype=float)
    return AnovaTable(frame, ("Single term deletions", "", "Model:", str(fit.formula)))


def _deletion(fit: ScoredFit, test: str, L: Matrix, scaled: float) -> list[float]:
    """Statistic and p-value of a term with rows L (d, p)."""
    if not len(L):
        return [np.nan, np.nan]
    if test == "Chisq":
        return [scaled, chi_square_tail(scaled, len(L))]
    # R's drop1 takes the dispersion of the deviance here, unlike its anova.
    statistic = scaled * fit.dispersion / len(L) / (fit.deviance / fit.df_resid)
    found = FTest(statistic, len(L), fit.df_resid)
    return [statistic, found.p_value]


# Several models -----------------------------------------------------------------------------------


def compare_plain(models: Sequence[Any], names: Sequence[str] | None = None) -> AnovaTable:
    """Models without random effects by F, or by differences of deviances, as R's ``anova``.

    Raises
    ------
    DataError
        Some are linear and others are not, or the families differ.
    """
    fits: list[PlainFit] = [model.fit for model in models]
    linear = [fit for fit in fits if isinstance(fit, LeastSquaresFit)]
    scored = [fit for fit in fits if isinstance(fit, ScoredFit)]
    if (linear and scored) or len({(f.distribution.name, f.distribution.link) for f in scored}) > 1:
        raise DataError("models of different families have no differences of deviances to compare")
    df = np.array([fit.df_resid for fit in fits])
    deviances = np.array([fit.deviance for fit in fits])
    added = [np.nan, *-np.diff(deviances)]
    heads = ("Res.Df", "RSS", "Sum of Sq") if linear else ("Resid. Df", "Resid. Dev", "Deviance")
    columns = {heads[0]: df, heads[1]: deviances, "Df": [np.nan, *-np.diff(df)], heads[2]: added}
    rows = [str(i + 1) for i in range(len(fits))] if names is None else list(names)
    table = pd.DataFrame(columns, index=rows)
    largest = fits[int(np.argmin(df))]
    if isinstance(largest, ScoredFit):
        table = _tested(table, largest, _checked_test(largest, None))
    else:
        table = _f_tested(table, largest)
    lines = [
        f"{f'Model {i}' if names is None else names[i - 1]}: {line}"
        for i, fit in enumerate(fits, start=1)
        for line in str(fit.formula).split("\n")
    ]
    title = "Analysis of Variance Table" if linear else "Analysis of Deviance Table"
    return AnovaTable(table, (title, "", *lines))


def _f_tested(table: pd.DataFrame, largest: PlainFit) -> pd.DataFrame:
    df = table["Df"].to_numpy(float)
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = table["Sum of Sq"].to_numpy(float) / df / largest.sigma**2
    return _with_f(table, statistic, largest)


def _with_f(table: pd.DataFrame, statistic: Vector, largest: PlainFit) -> pd.DataFrame:
    from scipy.stats import f

    tail = f.sf(statistic, np.abs(table["Df"]), largest.df_resid)
    return table.assign(**{"F": statistic, "Pr(>F)": tail})


# Profiles -----------------------------------------------------------------------------------------


def profile_limits(fit: ScoredFit, chosen: Sequence[int], level: float) -> PrintedTable:
    """Limits where the signed root of the scaled deviance reaches a normal quantile, as R's."""
    half = float(critical_value(checked_level(level)))
    limits = [[_limit(fit, j, sign, half) for sign in (-1.0, 1.0)] for j in chosen]
    names = [fit.matrices.fixed.names[j] for j in chosen]
    return confidence_table(np.array(limits), names, level)


def _limit(fit: ScoredFit, j: int, sign: float, half: float) -> float:
    """Value of coefficient j, left or right of its estimate, that raises the deviance so much."""
    X, center = fit.matrices.X, fit.beta[j]
    error = float(np.sqrt(fit.vcov[j, j]))
    others = np.delete(X, j, axis=1)

    def rise(steps: float) -> float:
        held = X[:, j] * (center + sign * steps * error)
        deviance = fit.deviance_of(others, fit.matrices.offset + held)
        return float(np.sqrt(max(deviance - fit.deviance, 0.0) / fit.dispersion)) - half

    far = half
    try:
        while rise(far) < 0.0:
            far *= 2.0
            if far > FAR:
                return sign * np.inf
    except np.linalg.LinAlgError:  # probabilities of 0 and 1 leave no information
        return sign * np.inf
    low = 0.0 if far == half else far / 2.0
    return float(center + sign * error * brentq(rise, low, far, xtol=1e-10, rtol=1e-12))
