"""Checks of a generalized model: dispersion, zeros, and Laplace's approximation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd

from lmm.fitted import Comparable
from lmm.generalized_fit import GeneralizedFit
from lmm.likelihood import variance_of_estimates
from lmm.report.cells import Cells, Column, listed
from lmm.report.document import Document
from lmm.report.printed import Framed, TableLike

COUNTS = ("poisson", "negative binomial")
# A ratio of zeros this near to 1 is none to speak of, as in performance.
TOLERANCE = 0.05
# Standard errors by which quadrature may move an estimate.
CLOSE = 0.1


class Generalized(Comparable, Protocol):
    """A fitted generalized model."""

    @property
    def fit(self) -> GeneralizedFit:
        """Its fit."""


@dataclass(frozen=True, repr=False)
class Overdispersion(TableLike):
    """Whether a response varies more than its family says: Pearson's chi-square.

    Attributes
    ----------
    chisq : float
        Sum of squared Pearson residuals.
    df : int
        Residual degrees of freedom.
    """

    chisq: float
    df: int

    @property
    def ratio(self) -> float:
        """Chi-square over its degrees of freedom: about 1 if the family fits."""
        return self.chisq / self.df

    @property
    def p_value(self) -> float:
        """Probability of a larger chi-square."""
        from scipy.special import chdtrc

        return float(chdtrc(self.df, self.chisq))

    def to_frame(self) -> pd.DataFrame:
        """One row: ``chisq ratio df p_value``."""
        row = {"chisq": self.chisq, "ratio": self.ratio, "df": self.df, "p_value": self.p_value}
        return pd.DataFrame([row])

    def document(self) -> Document:
        """As R's performance prints it."""
        p = "< 0.001" if self.p_value < 0.001 else f"{self.p_value:.3f}".rstrip("0").rstrip(".")
        verdict = "Overdispersion" if self.p_value <= 0.05 else "No overdispersion"
        texts = (f"{self.ratio:.3f}", f"{self.chisq:.3f}", p)
        width = max(map(len, texts))
        names = ("dispersion ratio", "Pearson's Chi-Squared", "p-value")
        lines = (f"{n:>23} = {text:>{width}}" for n, text in zip(names, texts, strict=True))
        return Document(("# Overdispersion test", "", *lines, "", f"{verdict} detected."))


@dataclass(frozen=True, repr=False)
class ZeroInflation(TableLike):
    """Whether a count has more zeros than its model says.

    Attributes
    ----------
    observed : int
        Zeros of the response.
    predicted : float
        Sum of the rows' probabilities of a zero, given the random effects.
    """

    observed: int
    predicted: float

    @property
    def ratio(self) -> float:
        """Predicted over observed; NaN without zeros."""
        return self.predicted / self.observed if self.observed else float("nan")

    def to_frame(self) -> pd.DataFrame:
        """One row: ``observed predicted ratio``."""
        row = {"observed": self.observed, "predicted": self.predicted, "ratio": self.ratio}
        return pd.DataFrame([row])

    def document(self) -> Document:
        """As R's performance prints it."""
        names = ("Observed zeros", "Predicted zeros", "Ratio")
        texts = (f"{self.observed}", f"{self.predicted:.0f}", f"{self.ratio:.2f}")
        numbers = Cells((Column("", names, "label"), Column("", texts)), layout=listed)
        return Document(("# Check for zero-inflation", "", numbers, "", self._verdict))

    @property
    def _verdict(self) -> str:
        if not self.observed:
            return "The response has no zeros."
        if self.ratio < 1.0 - TOLERANCE:
            return "Model is underfitting zeros (probable zero-inflation)."
        if self.ratio > 1.0 + TOLERANCE:
            return "Model is overfitting zeros."
        return (
            "Model seems ok, ratio of observed and predicted zeros is within the tolerance range."
        )


@dataclass(frozen=True, eq=False, repr=False)
class LaplaceCheck(Framed):
    """Estimates by Laplace's approximation beside those by adaptive quadrature.

    Attributes
    ----------
    frame : DataFrame
        ``laplace quadrature shift`` by parameter; the shift is in standard errors.
    nagq : int
        Points of the quadrature.
    """

    nagq: int

    @property
    def is_close(self) -> bool:
        """Whether no estimate moves by more than a tenth of its standard error."""
        return bool((self.frame["shift"].abs() < CLOSE).all())

    def __bool__(self) -> bool:
        return self.is_close

    def document(self, *, digits: int = 5) -> Document:
        """The estimates, and whether they are close."""
        from lmm.report.tables import frame_cells

        worst = str(self.frame["shift"].abs().idxmax())
        size = abs(float(self.frame["shift"][worst]))
        verdict = (
            "Laplace's approximation is close: no estimate moves by a tenth of its standard error."
            if self.is_close
            else f"{worst} moves by {size:.2g} standard errors: fit with nagq={self.nagq}."
        )
        return Document((frame_cells(self.frame, digits), "", verdict))


def overdispersion(fit: GeneralizedFit) -> Overdispersion:
    """Pearson's chi-square of a fit against its residual degrees of freedom."""
    return Overdispersion(float(fit.pearson @ fit.pearson), fit.matrices.n - fit.n_parameters)


def zero_inflation(fit: GeneralizedFit) -> ZeroInflation:
    """Zeros of a count, and those that the model expects.

    Raises
    ------
    ValueError
        The response is no count.
    """
    family, response = fit.criterion.family, fit.matrices.response
    if family.name not in COUNTS:
        raise ValueError(
            f"zeros are counted of Poisson and negative binomial models, not of {family.name} ones."
        )
    zero = np.zeros(len(response.y))
    upto = family.cdf(zero, fit.fitted, response.weights, fit.shape)[1]
    return ZeroInflation(int((response.y == 0.0).sum()), float(upto.sum()))


def laplace_check(m: Generalized, nagq: int) -> LaplaceCheck:
    """Fit a model again by adaptive quadrature.

    Raises
    ------
    DataError
        The random effects are not those of one grouping factor with up to 3 columns.
    """
    other = m.update(nagq=nagq).fit
    names, estimate, again = m.fit.criterion.names, m.fit.optimum.theta, other.optimum.theta
    covariance = variance_of_estimates(m.fit.hessian)
    errors = np.sqrt(np.maximum(np.diag(covariance), np.finfo(float).tiny))
    # Coefficients of orthonormal columns are turned back: shifts are of what is shown.
    model = m.fit.criterion.model
    moved = m.fit.criterion.to_x(again) - m.fit.optimum.x
    fixed = slice(model.m, model.m + model.p)
    moved[fixed] = again[fixed] - estimate[fixed]
    errors[fixed] = np.sqrt(np.diag(m.fit.vcov)) if model.p else errors[fixed]
    frame = pd.DataFrame(
        {"laplace": estimate, "quadrature": again, "shift": moved / errors}, index=list(names)
    )
    return LaplaceCheck(frame, nagq)
