"""What `lmm.lm` and `lmm.glm` print of a fit: R's ``summary`` of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lmm._types import Vector
from lmm.report.cells import named
from lmm.report.document import Block, Document
from lmm.report.format import format_number, format_numbers, format_p_values, zapsmall
from lmm.report.printed import TableLike
from lmm.report.tables import coefficient_blocks


@dataclass(frozen=True, eq=False, repr=False)
class PlainSummary(TableLike):
    """Coefficients with their tests, and what R's summary says beside them.

    Attributes
    ----------
    call : str
        The call, as R would print it.
    coefficients : DataFrame
        ``Estimate, Std. Error``, t or z values, p-values.
    """

    call: str
    coefficients: pd.DataFrame

    def to_frame(self) -> pd.DataFrame:
        """The coefficients as a DataFrame of the caller's own."""
        return self.coefficients.copy()

    def _coefficients(self, digits: int, stars: bool) -> Iterator[Block]:
        if not len(self.coefficients):
            yield "No Coefficients"
            return
        yield from coefficient_blocks(
            self.coefficients, digits=digits, stars=stars, title="Coefficients:"
        )


@dataclass(frozen=True, eq=False, repr=False)
class LeastSquaresSummary(PlainSummary):
    """R's ``summary(lm(...))``.

    Attributes
    ----------
    residuals : (n,) array
        Weighted residuals.
    weighted : bool
        Whether there are weights.
    sigma, df_resid : float
        Residual standard deviation and its degrees of freedom.
    r_squared, adj_r_squared : float
        Share of the variance that is explained, and the adjusted one.
    f_statistic, f_df, f_p_value : float
        Test of all coefficients but the intercept, NaN where there is none.
    """

    residuals: Vector
    weighted: bool
    sigma: float
    df_resid: int
    r_squared: float
    adj_r_squared: float
    f_statistic: float
    f_df: int
    f_p_value: float

    def document(self, *, digits: int = 4, stars: bool = True) -> Document:
        """R's ``print(summary(m), digits)``."""
        quantiles = zapsmall(np.quantile(self.residuals, [0, 0.25, 0.5, 0.75, 1]), digits + 1)
        texts = format_numbers(quantiles, digits)
        title = f"{'Weighted ' * self.weighted}Residuals:"
        sigma = format_number(self.sigma, digits)
        return Document(
            (
                *("Call:", self.call, ""),
                named(["Min", "1Q", "Median", "3Q", "Max"], texts, title),
                "",
                *self._coefficients(digits, stars),
                "",
                f"Residual standard error: {sigma} on {self.df_resid} degrees of freedom",
                *(self._explained(digits) if self.f_df else ()),
            )
        )

    def _explained(self, digits: int) -> tuple[str, ...]:
        r2, adjusted, statistic = (
            format_number(value, digits)
            for value in (self.r_squared, self.adj_r_squared, self.f_statistic)
        )
        p = format_p_values([self.f_p_value], digits)[0].strip()
        return (
            f"Multiple R-squared:  {r2},\tAdjusted R-squared:  {adjusted}",
            f"F-statistic: {statistic} on {self.f_df} and {self.df_resid} DF,  p-value: {p}",
        )


@dataclass(frozen=True, eq=False, repr=False)
class ScoredSummary(PlainSummary):
    """R's ``summary(glm(...))``.

    Attributes
    ----------
    family : str
        Name of the family.
    dispersion : float
        The dispersion, estimated or 1.
    null_deviance, deviance : float
        Deviances without and with the predictors.
    df_null, df_resid : int
        Their degrees of freedom.
    aic : float
        Akaike's criterion.
    """

    family: str
    dispersion: float
    null_deviance: float
    deviance: float
    df_null: int
    df_resid: int
    aic: float

    def document(self, *, digits: int = 4, stars: bool = True) -> Document:
        """R's ``print(summary(m), digits)``."""
        texts = format_numbers([self.null_deviance, self.deviance], digits + 1)
        degrees = format_numbers([self.df_null, self.df_resid])
        taken = f"{self.family} family taken to be {format_number(self.dispersion, 7)}"
        return Document(
            (
                *("Call:", self.call, ""),
                *self._coefficients(digits, stars),
                "",
                f"(Dispersion parameter for {taken})",
                "",
                f"    Null deviance: {texts[0]}  on {degrees[0]}  degrees of freedom",
                f"Residual deviance: {texts[1]}  on {degrees[1]}  degrees of freedom",
                f"AIC: {format_number(self.aic, digits + 1)}",
            )
        )
