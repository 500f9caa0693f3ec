"""A generalized linear model without random effects, as R's ``glm``, to compare glmer's with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from lmm._types import Vector
from lmm._words import Ddf
from lmm.model.without_effects import WithoutEffects
from lmm.plain_fit import ScoredFit
from lmm.report.cells import named, wide_vector
from lmm.report.document import Document
from lmm.report.format import format_number, format_numbers
from lmm.report.plain_summary import ScoredSummary
from lmm.report.printed import AnovaTable, PrintedTable
from lmm.report.tables import labels
from lmm.request import Request, ScoredRequest


@dataclass(frozen=True, eq=False, repr=False)
class GeneralizedLinearModel(WithoutEffects):
    """A generalized linear model fitted by maximum likelihood. Made by `lmm.glm`.

    What it has is named as in `GeneralizedMixedModel`; nothing changes it.

    Attributes
    ----------
    fit : ScoredFit
        Estimates as arrays.
    call : Request
        Data and options as given.
    warnings : tuple of LmmWarning
        What was warned of while fitting.

    Examples
    --------
    >>> import lmm
    >>> cbpp = lmm.load_dataset("cbpp")
    >>> lmm.glm("cbind(incidence, size - incidence) ~ period", cbpp, "binomial")
    Call:
    glm(formula = cbind(incidence, size - incidence) ~ period, family = binomial, data = cbpp)
    <BLANKLINE>
    Coefficients:
    (Intercept)      period2      period3      period4
         -1.269       -1.171       -1.301       -1.782
    <BLANKLINE>
    Degrees of Freedom: 55 Total (i.e. Null);  52 Residual
    Null Deviance:     154.8
    Residual Deviance: 114.1  AIC: 206.1
    """

    fit: ScoredFit
    request_class: ClassVar[type[Request]] = ScoredRequest

    _interval_methods: ClassVar[tuple[str, ...]] = ("wald", "profile")

    @property
    def xi(self) -> float:
        """Logarithm of the shape (a dispersion, or theta) at the maximum; 0 without one."""
        return self.fit.xi

    @property
    def shape(self) -> float:
        """Dispersion or theta at the maximum of the likelihood; 1 where there is none."""
        return self.fit.shape

    @property
    def dispersion(self) -> float:
        """Pearson's chi-square over the residual degrees of freedom; 1 without a dispersion."""
        return self.fit.dispersion

    @property
    def linear(self) -> Vector:
        """Linear predictor, offsets included, (n,)."""
        return self.fit.linear

    @property
    def _drawn_sigma(self) -> float:
        return float(np.sqrt(self.shape)) if self.fit.distribution.has_scale else 1.0

    def summary(self, ddf: Ddf | None = None) -> ScoredSummary:
        """Summary that prints as R's ``summary(glm(...))``, and behaves as its table.

        Parameters
        ----------
        ddf : {"asymptotic"}, optional
            As for mixed models: there are no other degrees of freedom.

        Raises
        ------
        ValueError
            Degrees of freedom are asked for: they exist for linear models only.

        Examples
        --------
        >>> import lmm
        >>> cbpp = lmm.load_dataset("cbpp")
        >>> counts = lmm.glm("incidence ~ period + offset(log(size))", cbpp, "poisson")
        >>> counts.summary().round(3)
                     Estimate  Std. Error  z value  Pr(>|z|)
        (Intercept)    -1.517       0.128  -11.846       0.0
        period2        -1.007       0.274   -3.670       0.0
        period3        -1.127       0.296   -3.804       0.0
        period4        -1.581       0.399   -3.961       0.0
        """
        return ScoredSummary(
            self._text,
            self._coefficient_table(ddf),
            self.family.title,
            self.dispersion,
            self.null_deviance,
            self.deviance(),
            self.fit.df_null,
            self.df_resid,
            self.aic(),
        )

    def residuals(
        self,
        kind: str | None = None,
        scaled: bool = False,
        seed: int | np.random.Generator | None = None,
    ) -> pd.Series[float]:
        """Residuals by row, as R's ``residuals(m, type)``.

        Parameters
        ----------
        kind : {"deviance", "pearson", "working", "response", "quantile"}
            As for `GeneralizedMixedModel.residuals`.
        scaled : bool
            Whether to divide by sigma; quantile residuals have variance 1 as they are.
        seed : int or numpy.random.Generator, optional
            Where the random points of quantile residuals come from.

        Raises
        ------
        ValueError
            The kind is another word.
        """
        if kind != "quantile":
            return super().residuals(kind, scaled)
        return self._quantile_residuals(self.fit, seed)

    def confint(
        self, parm: Any = None, level: float = 0.95, method: str = "profile"
    ) -> PrintedTable:
        """Confidence intervals of the coefficients.

        Parameters
        ----------
        parm : str, int or sequence, optional
            Names, or positions from 0; all by default.
        level : float
            Confidence level.
        method : {"profile", "wald"}
            Profile likelihood, as R's ``confint``; or estimates and their standard errors, of t
            where there is a dispersion, as ``confint.default``.

        Raises
        ------
        ValueError
            A name, the level or the method is none.

        Examples
        --------
        >>> import lmm
        >>> cbpp = lmm.load_dataset("cbpp")
        >>> lmm.glm("cbind(incidence, size - incidence) ~ period", cbpp).confint("period4")
                    2.5 %   97.5 %
        period4 -2.680568 -1.03745
        """
        if method != "profile":
            return super().confint(parm, level, method)
        from lmm.tables.deviances import profile_limits

        return profile_limits(self.fit, self._chosen(parm), level)

    def anova(self, test: str | None = None) -> AnovaTable:
        """R's ``anova(glm)``: what each term adds to those before it.

        Parameters
        ----------
        test : {"Chisq", "F"}, optional
            Differences of deviances by chi-square, the default without a dispersion; or by F, the
            default with one. Types II and III are those of `lmm.wald_anova`.

        Returns
        -------
        AnovaTable
            ``Df Deviance Resid. Df Resid. Dev`` with ``Pr(>Chi)``, or ``F Pr(>F)``.

        Raises
        ------
        ValueError
            The test is another word.

        Examples
        --------
        >>> import lmm
        >>> cbpp = lmm.load_dataset("cbpp")
        >>> lmm.glm("cbind(incidence, size - incidence) ~ period", cbpp).anova()
        Analysis of Deviance Table
        <BLANKLINE>
        Model: binomial, link: logit
        <BLANKLINE>
        Response: cbind(incidence, size - incidence)
        <BLANKLINE>
        Terms added sequentially (first to last)
        <BLANKLINE>
               Df Deviance Resid. Df Resid. Dev  Pr(>Chi)
        NULL                      55     154.82
        period  3   40.716        52     114.10 7.513e-09 ***
        ---
        Signif. codes:  0 ‘***’ 0.001 ‘**’ 0.01 ‘*’ 0.05 ‘.’ 0.1 ‘ ’ 1
        """
        from lmm.tables.deviances import deviance_table

        return deviance_table(self.fit, test)

    def drop1(self, scope: Sequence[str] | None = None, test: str | None = None) -> AnovaTable:
        """R's ``drop1(glm, test)``: each term left out that no other contains.

        Parameters
        ----------
        scope : sequence of str, optional
            Terms to leave out, by label; by default all that may be.
        test : {"Chisq", "F"}, optional
            As for `anova`.

        Raises
        ------
        DataError
            A term of `scope` is not in the model, or is contained in another.
        ValueError
            The test is another word.

        Examples
        --------
        >>> import lmm
        >>> cbpp = lmm.load_dataset("cbpp")
        >>> m = lmm.glm("cbind(incidence, size - incidence) ~ period", cbpp)
        >>> m.drop1().to_frame().round(3)
                 Df  Deviance      AIC     LRT  Pr(>Chi)
        <none>  NaN   114.102  206.058     NaN       NaN
        period  3.0   154.817  240.774  40.716       0.0
        """
        from lmm.tables.deviances import deviance_drop1

        return deviance_drop1(self.fit, scope, test)

    def glance(self) -> pd.DataFrame:
        """One row: ``null.deviance df.null logLik AIC BIC deviance df.residual nobs``, as broom's.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.glm("incidence ~ period", lmm.load_dataset("cbpp"), "poisson")
        >>> m.glance()[["null.deviance", "deviance", "df.residual"]].round(3)
           null.deviance  deviance  df.residual
        0         167.31   111.045           52
        """
        row: dict[str, Any] = {
            "null.deviance": self.null_deviance,
            "df.null": self.fit.df_null,
            "logLik": self.loglik(),
            "AIC": self.aic(),
            "BIC": self.bic(),
            "deviance": self.deviance(),
            "df.residual": self.df_resid,
            "nobs": self.nobs,
        }
        return pd.DataFrame([row])

    @property
    def _text(self) -> str:
        family = self.fit.distribution
        name = family.name.replace(" ", ".")
        usual = family.link == type(family)().link
        return self._call_text("glm", f"family = {name if usual else f'{name}({family.link})'}")

    def document(self, *, digits: int = 4) -> Document:
        """R's print of a ``glm``."""
        texts = format_numbers(self.beta, digits) if len(self.beta) else []
        names = labels(pd.Index(self.matrices.fixed.names))
        residual = format_number(self.deviance(), digits)
        total = self.fit.df_null
        return Document(
            (
                *("Call:", self._text, ""),
                named(names, texts, "Coefficients:", wide_vector) if names else "No coefficients",
                "",
                f"Degrees of Freedom: {total} Total (i.e. Null);  {self.df_resid} Residual",
                f"Null Deviance:     {format_number(self.null_deviance, digits)}",
                f"Residual Deviance: {residual}  AIC: {format_number(self.aic(), digits)}",
            )
        )
