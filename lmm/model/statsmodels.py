"""Statsmodels' words for what a model has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from lmm.model.reports import Reports

if TYPE_CHECKING:
    from lmm.report.printed import PrintedTable

__all__ = ["StatsmodelsNames"]


class StatsmodelsNames(Reports):
    """Thin aliases in statsmodels' words."""

    @property
    def params(self) -> pd.Series[float]:
        """Fixed effects; statsmodels' name of `fixef`."""
        return self.fixef()

    @property
    def bse(self) -> pd.Series[float]:
        """Standard errors of the fixed effects."""
        return pd.Series(np.sqrt(np.diag(self.fit.vcov)), index=self.fixef().index)

    @property
    def tvalues(self) -> pd.Series[float]:
        """Fixed effects over their standard errors."""
        return self.fixef() / self.bse

    @property
    def pvalues(self) -> pd.Series[float]:
        """Two-sided p-values of the fixed effects, by Satterthwaite's degrees of freedom."""
        return self.summary("satterthwaite").coefficients["Pr(>|t|)"]

    @property
    def llf(self) -> float:
        """Log-likelihood; statsmodels' name of `loglik`."""
        return self.loglik()

    @property
    def scale(self) -> float:
        """Residual variance, sigma^2."""
        return self.sigma**2

    @property
    def resid(self) -> pd.Series[float]:
        """Residuals; statsmodels' name of `residuals`."""
        return self.residuals()

    @property
    def fittedvalues(self) -> pd.Series[float]:
        """Fitted values; statsmodels' name of `fitted`."""
        return self.fitted()

    def cov_params(self) -> pd.DataFrame:
        """Covariance of the fixed effects; statsmodels' name of `vcov`.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff"))
        >>> m.cov_params().round(2)
                     (Intercept)
        (Intercept)       375.72
        """
        return self.vcov()

    def t_test(
        self, r_matrix: str | Sequence[str] | ArrayLike, ddf: str | None = None
    ) -> PrintedTable:
        """Test hypotheses one by one; statsmodels' name of ``contest(..., joint=False)``.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))
        >>> m.t_test("Days = 10, Intercept = 250").to_frame()[["t value", "Pr(>|t|)"]].round(3)
                           t value  Pr(>|t|)
        Days = 10            0.302     0.766
        (Intercept) = 250    0.206     0.839
        """
        return self.contest(r_matrix, joint=False, ddf=ddf)

    def wald_test(
        self, r_matrix: str | Sequence[str] | ArrayLike, ddf: str | None = None
    ) -> PrintedTable:
        """Test hypotheses jointly; statsmodels' name of `contest`.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))
        >>> m.wald_test("Days = 10").to_frame()[["DenDF", "F value"]].round(3)
           DenDF  F value
        1   17.0    0.091
        """
        return self.contest(r_matrix, ddf=ddf)

    def conf_int(self, alpha: float = 0.05) -> pd.DataFrame:
        """Wald intervals of the fixed effects, with coverage ``1 - alpha``: columns 0 and 1.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))
        >>> m.conf_int().round(3)
                           0        1
        (Intercept)  238.029  264.781
        Days           7.438   13.497
        """
        limits = self.confint("beta_", 1.0 - alpha, "wald").to_frame()
        return limits.set_axis([0, 1], axis=1)
