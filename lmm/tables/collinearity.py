"""Variance inflation of the fixed terms by each other, as R's performance and car."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from lmm._types import Vector
from lmm.errors import DataError
from lmm.fit import check_fitted
from lmm.fitted import EstimatedModel
from lmm.fixed_fit import FixedFit
from lmm.likelihood import critical_value
from lmm.report.cells import Cells, Column
from lmm.report.document import Document
from lmm.report.printed import Framed

LEVEL = 0.95
GRADES = (("Low", 1.0, 5.0), ("Moderate", 5.0, 10.0), ("High", 10.0, np.inf))


@dataclass(frozen=True, eq=False, repr=False)
class Collinearity(Framed):
    """Variance inflation factors by term.

    Attributes
    ----------
    frame : DataFrame
        ``VIF VIF_CI_low VIF_CI_high SE_factor Tolerance Df GVIF^(1/(2*Df))`` by term.
    """

    def document(self) -> Document:
        """The terms by grade: below 5, below 10, and above."""
        blocks: list[str | Cells] = ["# Check for Multicollinearity"]
        for grade, low, high in GRADES:
            vif = self.frame["VIF"]
            own = self.frame[(vif >= low) & (vif < high)]
            if len(own):
                blocks += ["", f"{grade} Correlation", "", _cells(own)]
        return Document(tuple(blocks))


def _cells(frame: pd.DataFrame) -> Cells:
    limits = zip(frame["VIF_CI_low"], frame["VIF_CI_high"], strict=True)
    return Cells(
        (
            Column("Term", tuple(map(str, frame.index)), "label"),
            Column("VIF", tuple(f"{value:.2f}" for value in frame["VIF"])),
            Column("VIF 95% CI", tuple(f"[{low:.2f}, {_text(high)}]" for low, high in limits)),
            Column("Increased SE", tuple(f"{value:.2f}" for value in frame["SE_factor"])),
            Column("Tolerance", tuple(f"{value:.2f}" for value in frame["Tolerance"])),
        )
    )


def _text(limit: float) -> str:
    return f"{limit:.2f}" if np.isfinite(limit) else "Inf"


def check_collinearity(m: EstimatedModel) -> Collinearity:
    """How much the fixed terms inflate the variances of each other's coefficients.

    Parameters
    ----------
    m : LinearMixedModel or GeneralizedMixedModel
        The model.

    Returns
    -------
    Collinearity

    Raises
    ------
    DataError
        There are fewer than two terms beside the intercept.

    Notes
    -----
    ``det(R_11) det(R_22) / det(R)`` with the correlations R of the coefficients, those of a term in
    R_11 and those of all others but the intercept in R_22 (Fox & Monette, 1992, J. Am. Stat. Assoc.
    87, 178-183). The intervals are Marcoulides and Raykov's (2019), Educ. Psychol. Meas. 79,
    874-882. A term and its interactions inflate each other: centre covariates, or leave the
    interactions out.

    Examples
    --------
    >>> import lmm
    >>> d = lmm.load_dataset("sleepstudy")
    >>> m = lmm.lmer("Reaction ~ Days + I(Days^2) + (1 | Subject)", d)
    >>> lmm.check_collinearity(m).to_frame()["VIF"].round(2).to_list()
    [13.65, 13.65]
    """
    check_fitted(m)
    fit = m.fit
    fixed = fit.matrices.fixed
    present = [j for j in range(1, len(fixed.term_labels) + 1) if (fixed.assign == j).any()]
    if len(present) < 2:
        raise DataError(
            "collinearity is one of two terms or more beside the intercept; the model has "
            f"{len(present)}"
        )
    rows = {fixed.term_labels[j - 1]: _row(fit, fixed.assign, j) for j in present}
    columns = ["VIF", "VIF_CI_low", "VIF_CI_high", "SE_factor", "Tolerance", "Df"]
    columns.append("GVIF^(1/(2*Df))")
    return Collinearity(pd.DataFrame.from_dict(rows, orient="index", columns=columns, dtype=float))


def _row(fit: FixedFit, assign: np.ndarray, j: int) -> list[float]:
    slopes = np.flatnonzero(assign > 0)
    V = fit.vcov[np.ix_(slopes, slopes)]
    errors = np.sqrt(np.diag(V))
    R = V / np.outer(errors, errors)
    own = assign[slopes] == j
    parts = [R[np.ix_(own, own)], R[np.ix_(~own, ~own)], R]
    first, others, whole = (float(np.linalg.slogdet(part).logabsdet) for part in parts)
    vif = max(1.0, float(np.exp(first + others - whole)))
    df = int(own.sum())
    low, high = _limits(vif, fit.matrices.n, fit.matrices.p)
    return [vif, low, high, np.sqrt(vif), 1.0 / vif, df, vif ** (0.5 / df)]


def _limits(vif: float, n: int, p: int) -> Vector:
    """Interval of a factor, by that of R^2 of the term on the others on the logit scale."""
    from scipy.special import expit, logit

    share = 1.0 - 1.0 / vif
    if share <= 0.0:
        return np.array([1.0, np.inf])
    error = (1.0 - share**2) * abs(n - p - 1) / np.sqrt((n**2 - 1.0) * (n + 3.0))
    half = critical_value(LEVEL) * error / (share * (1.0 - share))
    with np.errstate(divide="ignore"):
        return np.asarray(1.0 / (1.0 - expit(logit(share) + np.array([-half, half]))))
