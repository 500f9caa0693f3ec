"""A linear model without random effects, as R's ``lm``: what mixed models are compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from lmm import _lapack
from lmm._words import Ddf
from lmm.model.without_effects import WithoutEffects
from lmm.plain_fit import LeastSquaresFit
from lmm.report.cells import named, wide_vector
from lmm.report.document import Document
from lmm.report.format import format_numbers
from lmm.report.plain_summary import LeastSquaresSummary
from lmm.report.printed import AnovaTable
from lmm.report.tables import labels
from lmm.request import LeastSquaresRequest, Request


@dataclass(frozen=True, eq=False, repr=False)
class LinearModel(WithoutEffects):
    """A model fitted by weighted least squares. Made by `lmm.lm`.

    What it has is named as in `LinearMixedModel`; nothing changes it.

    Attributes
    ----------
    fit : LeastSquaresFit
        Estimates as arrays.
    call : Request
        Data and options as given.
    warnings : tuple of LmmWarning
        What was warned of while fitting.

    Examples
    --------
    >>> import lmm
    >>> lmm.lm("Reaction ~ Days", lmm.load_dataset("sleepstudy"))
    Call:
    lm(formula = Reaction ~ Days, data = sleepstudy)
    <BLANKLINE>
    Coefficients:
    (Intercept)         Days
         251.41        10.47
    """

    fit: LeastSquaresFit
    request_class: ClassVar[type[Request]] = LeastSquaresRequest

    @property
    def rss(self) -> float:
        """Weighted residual sum of squares."""
        return self.fit.rss

    def summary(self, ddf: Ddf | None = None) -> LeastSquaresSummary:
        """Summary that prints as R's ``summary(lm(...))``, and behaves as its table.

        Parameters
        ----------
        ddf : str, optional
            As for mixed models; the degrees of freedom are those of the residuals for every method
            but ``"asymptotic"``, which gives z tests.

        Examples
        --------
        >>> import lmm
        >>> lmm.lm("Reaction ~ Days", lmm.load_dataset("sleepstudy")).summary().round(3)
                     Estimate  Std. Error  t value  Pr(>|t|)
        (Intercept)   251.405       6.610   38.033       0.0
        Days           10.467       1.238    8.454       0.0
        """
        explained = self._explained()
        return LeastSquaresSummary(
            self._text,
            self._coefficient_table(ddf),
            self.fit.residuals_of("pearson"),
            self.call.weights is not None,
            self.sigma,
            self.df_resid,
            explained["r.squared"],
            explained["adj.r.squared"],
            explained["statistic"],
            int(explained["df"]) if np.isfinite(explained["df"]) else 0,
            explained["p.value"],
        )

    def _explained(self) -> dict[str, float]:
        """Shares of the variance, and the test of all coefficients but the intercept."""
        from scipy.stats import f

        total, df = self.null_deviance, len(self.beta) - int(self.matrices.fixed.has_intercept)
        shares = {"r.squared": self.fit.r_squared, "adj.r.squared": self.fit.adj_r_squared}
        if not df:
            return dict.fromkeys(shares, 0.0) | dict.fromkeys(
                ("statistic", "p.value", "df"), np.nan
            )
        statistic = (total - self.rss) / df / self.sigma**2
        return {
            **shares,
            "statistic": statistic,
            "p.value": float(f.sf(statistic, df, self.df_resid)),
            "df": df,
        }

    def glance(self) -> pd.DataFrame:
        """One row, with the columns of R's broom.

        ``r.squared adj.r.squared sigma statistic p.value df logLik AIC BIC deviance df.residual
        nobs``; the statistic is F.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lm("Reaction ~ Days", lmm.load_dataset("sleepstudy"))
        >>> m.glance()[["r.squared", "sigma", "statistic"]].round(4)
           r.squared    sigma  statistic
        0     0.2865  47.7147    71.4644
        """
        known = self._explained()
        row: dict[str, Any] = {
            "r.squared": known["r.squared"],
            "adj.r.squared": known["adj.r.squared"],
            "sigma": self.sigma,
            "statistic": known["statistic"],
            "p.value": known["p.value"],
            "df": known["df"],
            "logLik": self.loglik(),
            "AIC": self.aic(),
            "BIC": self.bic(),
            "deviance": self.rss,
            "df.residual": self.df_resid,
            "nobs": self.nobs,
        }
        return pd.DataFrame([row])

    def anova(self, type: str | int = "I") -> AnovaTable:
        """R's ``anova(lm)``: sequential sums of squares with F tests; or those of types II and III.

        Parameters
        ----------
        type : {"I", "II", "III"} or {1, 2, 3}
            What a term is adjusted for: the terms before it, as R's anova; those that do not
            contain it, or all others, printed as car's ``Anova``. Type III does not depend on the
            contrasts of the factors.

        Raises
        ------
        ValueError
            There is no such type.

        Examples
        --------
        >>> import lmm
        >>> lmm.lm("Reaction ~ Days", lmm.load_dataset("sleepstudy")).anova()
        Analysis of Variance Table
        <BLANKLINE>
        Response: Reaction
                   Df Sum Sq Mean Sq F value    Pr(>F)
        Days        1 162703  162703  71.464 9.894e-15 ***
        Residuals 178 405252    2277
        ---
        Signif. codes:  0 ‘***’ 0.001 ‘**’ 0.01 ‘*’ 0.05 ‘.’ 0.1 ‘ ’ 1
        """
        from lmm.inference.fixed.term_contrasts import anova_type

        if (type_ := anova_type(type)) != "I":
            from lmm.tables.deviances import least_squares_anova

            return least_squares_anova(self.fit, type_)
        fixed = self.matrices.fixed
        effects = _lapack.solve_upper(self.fit.fixed_root, self.beta)
        own = {j: fixed.assign == j for j in sorted(set(fixed.assign.tolist()) - {0})}
        rows = {
            fixed.term_labels[j - 1]: self._test(
                int(chosen.sum()), float(np.sum(effects[chosen] ** 2))
            )
            for j, chosen in own.items()
        }
        df = self.df_resid
        rows["Residuals"] = [df, self.rss, self.rss / df, np.nan, np.nan]
        columns = ["Df", "Sum Sq", "Mean Sq", "F value", "Pr(>F)"]
        frame = pd.DataFrame.from_dict(rows, orient="index", columns=columns, dtype=float)
        heading = ("Analysis of Variance Table", "", f"Response: {self.formula.response}")
        return AnovaTable(frame, heading)

    def _test(self, df: int, sum_of_squares: float) -> list[float]:
        """Degrees of freedom, sum and mean of squares, F and its p-value."""
        from scipy.stats import f

        mean = sum_of_squares / df
        statistic = mean / self.sigma**2
        return [df, sum_of_squares, mean, statistic, float(f.sf(statistic, df, self.df_resid))]

    def drop1(self, scope: Sequence[str] | None = None, test: str = "F") -> AnovaTable:
        """R's ``drop1(lm, test)``: each term left out that no other contains.

        Parameters
        ----------
        scope : sequence of str, optional
            Terms to leave out, by label; by default all that may be.
        test : {"F", "Chisq"}
            F tests, or likelihood ratios against chi-square.

        Raises
        ------
        DataError
            A term of `scope` is not in the model, or is contained in another.
        ValueError
            The test is another word.

        Examples
        --------
        >>> import lmm
        >>> lmm.lm("Reaction ~ Days", lmm.load_dataset("sleepstudy")).drop1()
        Single term deletions
        <BLANKLINE>
        Model:
        Reaction ~ Days
               Df Sum of Sq    RSS    AIC F value    Pr(>F)
        <none>              405252 1393.5
        Days    1    162703 567954 1452.2  71.464 9.894e-15 ***
        ---
        Signif. codes:  0 ‘***’ 0.001 ‘**’ 0.01 ‘*’ 0.05 ‘.’ 0.1 ‘ ’ 1
        """
        from scipy.special import chdtrc

        from lmm.tables.comparison import checked_scope

        if test not in ("F", "Chisq"):
            raise ValueError(f"test must be 'F' or 'Chisq', not {test!r}.")
        missing = [np.nan] * 2
        rows = {"<none>": [*missing, self.rss, self._aic(self.rss, len(self.beta)), *missing]}
        for label in checked_scope(self.matrices.fixed, scope):
            rows[label] = self._deletion(label)
        columns = ["Df", "Sum of Sq", "RSS", "AIC", "F value", "Pr(>F)"]
        frame = pd.DataFrame.from_dict(rows, orient="index", columns=columns, dtype=float)
        if test == "Chisq":
            ratios = self.nobs * np.log(frame["RSS"] / self.rss)
            frame = frame.iloc[:, :4].assign(**{"Pr(>Chi)": chdtrc(frame["Df"], ratios)})
        return AnovaTable(frame, ("Single term deletions", "", "Model:", str(self.formula)))

    def _deletion(self, label: str) -> list[float]:
        from lmm.inference.fixed.term_contrasts import deletion_contrasts

        L = deletion_contrasts(self.matrices, label)
        if not len(L):
            return [0.0, 0.0, self.rss, self._aic(self.rss, len(self.beta)), np.nan, np.nan]
        change = np.linalg.lstsq(L @ self.fit.fixed_root, L @ self.beta, rcond=None)[0]
        df, added, _, statistic, p_value = self._test(len(L), float(change @ change))
        rss = self.rss + added
        return [df, added, rss, self._aic(rss, len(self.beta) - len(L)), statistic, p_value]

    def _aic(self, rss: float, p: int) -> float:
        """R's ``extractAIC``, which leaves out constants."""
        return float(self.nobs * np.log(rss / self.nobs)) + 2.0 * p

    @property
    def _text(self) -> str:
        return self._call_text("lm")

    def document(self, *, digits: int = 4) -> Document:
        """R's print of an ``lm``."""
        head = ("Call:", self._text, "")
        if not len(self.beta):
            return Document((*head, "No coefficients"))
        texts = format_numbers(self.beta, digits)
        names = labels(pd.Index(self.matrices.fixed.names))
        return Document((*head, named(names, texts, "Coefficients:", wide_vector)))
