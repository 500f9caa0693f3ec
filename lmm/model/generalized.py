"""A fitted generalized linear mixed model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import pandas as pd

from lmm._words import Ddf, EffectsTest, Interval, PredictionScale, ResidualKind
from lmm.family import Family
from lmm.fit import check_linear
from lmm.formula import Formula
from lmm.generalized_fit import GeneralizedFit
from lmm.model.statsmodels import StatsmodelsNames

if TYPE_CHECKING:
    from lmm.model.glm import GeneralizedLinearModel
    from lmm.report.printed import AnovaTable
    from lmm.report.summary import FitReport, Summary
    from lmm.tables.family_checks import LaplaceCheck, Overdispersion, ZeroInflation


class GeneralizedMixedModel(StatsmodelsNames):
    """A fitted generalized linear mixed model.

    Made by `lmm.glmer`. What it has is named as in `LinearMixedModel`; nothing changes it.

    Attributes
    ----------
    fit : GeneralizedFit
        Estimates as arrays.
    call : GeneralizedRequest
        Data and options as given.
    warnings : tuple of LmmWarning
        What was warned of while fitting.

    Examples
    --------
    >>> import lmm
    >>> cbpp = lmm.load_dataset("cbpp")
    >>> m = lmm.glmer("cbind(incidence, size - incidence) ~ period + (1 | herd)", cbpp)
    >>> m.family, round(m.deviance(), 4)
    (Binomial(link='logit'), 184.0526)
    """

    fit: GeneralizedFit
    fit_class: ClassVar[Any] = GeneralizedFit

    @property
    def family(self) -> Family:
        """Conditional distribution of the response, with its estimated shape."""
        return self.fit.family

    @property
    def shape(self) -> float | None:
        """Dispersion, or theta of the negative binomial; None where the family has neither."""
        has_shape = self.fit.criterion.family.shape_name or hasattr(self.family, "theta")
        return self.fit.shape if has_shape else None

    @property
    def nagq(self) -> int:
        """Points of quadrature; 1 for Laplace's approximation."""
        return self.fit.criterion.nagq

    def deviance(self, conditional: bool = False) -> float:
        """-2 log-likelihood, as prints show it; or what R's ``deviance(m)`` returns.

        Parameters
        ----------
        conditional : bool
            Sum of the squared deviance residuals given the random effects instead.

        Examples
        --------
        >>> import lmm
        >>> cbpp = lmm.load_dataset("cbpp")
        >>> m = lmm.glmer("cbind(incidence, size - incidence) ~ period + (1 | herd)", cbpp)
        >>> round(m.deviance(), 3), round(m.deviance(conditional=True), 3)
        (184.053, 73.472)
        """
        return float(self.fit.squared_deviances.sum()) if conditional else self.optimum.value

    def residuals(
        self,
        kind: ResidualKind = "deviance",
        scaled: bool = False,
        seed: int | np.random.Generator | None = None,
    ) -> pd.Series[float]:
        """Residuals by row, as R's ``residuals(m, type, scaled)``.

        Parameters
        ----------
        kind : {"deviance", "pearson", "working", "response", "quantile"}
            Signed roots of what a row adds to the conditional deviance; response minus mean over
            the root of the variance; over the slope of the mean in the linear predictor; alone; or
            normal quantiles of the response's distribution function at a random point of its jump
            (Dunn & Smyth, 1996), which are standard normal if the model holds.
        scaled : bool
            Whether to divide by sigma.
        seed : int or numpy.random.Generator, optional
            Where the random points of quantile residuals come from.

        Raises
        ------
        ValueError
            The kind is unknown.
        """
        if kind != "quantile":
            return super().residuals(kind, scaled)
        return self._quantile_residuals(self.fit, seed)

    def predict(
        self,
        newdata: Any = None,
        re_form: str | Formula | None = None,
        allow_new_levels: bool | Literal["missing"] = False,
        *,
        type: PredictionScale = "link",
        random_only: bool = False,
        se: bool = False,
        interval: Interval | None = None,
        level: float = 0.95,
        newparams: Mapping[str, Any] | None = None,
    ) -> pd.Series[float] | pd.DataFrame:
        """Predict the rows of the fit, or new rows.

        Parameters
        ----------
        newdata, re_form, allow_new_levels, random_only, se, level, newparams
            As for linear models.
        type : {"link", "response", "population"}
            The linear predictor, as R's default; the mean; or the mean averaged over new levels
            of all grouping factors, the population's, which that of a typical level
            (``re_form="~0"``) is not.
        interval : {"confidence"}, optional
            Add limits, made on the scale of the link.

        Returns
        -------
        Series, or DataFrame with columns ``fit se [lower upper]``

        Raises
        ------
        DataError
            A column is missing, or a factor has an unknown level.
        ValueError
            `type` or `interval` is another word, or `level` is not between 0 and 1.
        NumericalError
            There are no means over the population: the link does not allow all predictors.

        Notes
        -----
        Standard errors of means are those of the link times the slope of the mean; of means over
        the population by the delta method in the fixed effects.
        """
        from lmm.predict import check_scale, population_means, predict

        check_scale(type, re_form, random_only)
        fit = self._fit_at(newparams, se or interval is not None)
        if type == "population":
            if interval == "prediction":
                raise ValueError(
                    "means over the population have confidence intervals only: leave "
                    "interval='prediction' out."
                )
            offset = self.call.offset_for(newdata)
            means = population_means(fit, newdata, offset, se, interval=interval, level=level)
            return means.labelled()

        prediction = predict(
            fit,
            newdata,
            re_form,
            allow_new_levels=allow_new_levels,
            random_only=random_only,
            se=se,
            interval=interval,
            level=level,
            offset=self.call.offset_for(newdata),
        )
        return prediction.on_scale(type, self.family).labelled()

    # Reports -------------------------------------------------------------------------------------

    def report(self) -> FitReport:
        """What ``str(m)`` prints, as a record."""
        rule = "Laplace Approximation"
        if self.nagq != 1:
            rule = f"Adaptive Gauss-Hermite Quadrature, nAGQ = {self.nagq}"
        family = self.family
        return replace(
            super().report(), family=f"{family.title}  ( {family.link} )", approximation=rule
        )

    def summary(self, ddf: Ddf | None = None) -> Summary:
        """Summary that prints as R's ``summary(glmer(...))``, with Wald's z tests.

        Raises
        ------
        ValueError
            Degrees of freedom are asked for: they exist for linear models only.
        """
        from lmm.report.summary import Summary

        if ddf not in (None, "lme4", "asymptotic"):
            check_linear(f"degrees of freedom by {ddf!r}", self)
        z = self.fixef() / self.bse
        statistic = "t value" if self.fit.criterion.family.has_scale else "z value"
        table = pd.DataFrame(
            {
                "Estimate": self.fixef(),
                "Std. Error": self.bse,
                statistic: z,
                "Pr(>|z|)": self.pvalues,
            }
        )
        return Summary(self.report(), table, self._fixed_correlation(), self.fit.scaled_residuals)

    @property
    def pvalues(self) -> pd.Series[float]:
        """Two-sided p-values of Wald's z tests of the fixed effects."""
        from scipy.special import ndtr

        return 2.0 * pd.Series(ndtr(-np.abs(self.tvalues)), index=self.fixef().index)

    def anova(
        self,
        type: str | int = "III",
        ddf: Ddf | None = None,
        test: EffectsTest = "Chisq",
        nsim: int = 1000,
        seed: int | np.random.Generator | None = None,
        *,
        progress: bool | None = None,
    ) -> AnovaTable:
        """Wald chi-square tests of the fixed terms, printed as car's ``Anova``; or comparisons.

        Parameters
        ----------
        type : {"III", "II", "I"} or {3, 2, 1}
            As for linear models. Type III does not depend on the contrasts of the factors, as
            car's does.
        ddf : {"asymptotic", "lme4"}, optional
            ``"lme4"`` gives the sequential sums of squares that R's ``anova(m)`` prints.
        test : {"Chisq", "LRT", "PB"}
            Wald's tests, or comparisons of models as for linear models.
        nsim, seed, progress
            As for linear models.

        Returns
        -------
        AnovaTable
            ``Chisq Df Pr(>Chisq)``, with ``"PB"`` also ``Pr(>PB)``.

        Raises
        ------
        ValueError
            There is no such type or test, or degrees of freedom are asked for.

        Examples
        --------
        >>> import lmm
        >>> cbpp = lmm.load_dataset("cbpp")
        >>> m = lmm.glmer("cbind(incidence, size - incidence) ~ period + (1 | herd)", cbpp)
        >>> m.anova()
        Analysis of Deviance Table (Type III Wald chisquare tests)
        <BLANKLINE>
        Response: cbind(incidence, size - incidence)
                Chisq Df Pr(>Chisq)
        period 24.949  3  1.583e-05 ***
        ---
        Signif. codes:  0 ‘***’ 0.001 ‘**’ 0.01 ‘*’ 0.05 ‘.’ 0.1 ‘ ’ 1
        """
        from lmm.inference.fixed.ddf import ddf_method
        from lmm.inference.fixed.term_contrasts import anova_type
        from lmm.tables.fixed_tests import wald_tests

        if test != "Chisq":
            return self._compared_terms(anova_type(type), ddf, test, nsim, seed, progress)
        if ddf == "lme4":
            return super().anova(type, ddf)
        return wald_tests(ddf_method(self.fit, ddf), anova_type(type))

    def least_squares(self, formula: str) -> GeneralizedLinearModel:  # type: ignore[override]
        """Fit a model without random effects to the rows, weights and response of this fit.

        It is one of the same family, fitted by least squares with weights that are renewed.

        Parameters
        ----------
        formula : str
            As for `lmm.glm`, without dots.

        Examples
        --------
        >>> import lmm
        >>> cbpp = lmm.load_dataset("cbpp")
        >>> m = lmm.glmer("cbind(incidence, size - incidence) ~ period + (1 | herd)", cbpp)
        >>> m.least_squares("cbind(incidence, size - incidence) ~ 1").fixef().round(3).to_list()
        [-2.016]
        """
        from lmm.model.glm import GeneralizedLinearModel

        call = self.call.changed(self.formula, **self._own_rows())
        return GeneralizedLinearModel.like(call, formula)

    # Checks --------------------------------------------------------------------------------------

    def check_overdispersion(self) -> Overdispersion:
        """Pearson's chi-square over its degrees of freedom, as R's performance.

        Examples
        --------
        >>> import lmm
        >>> cbpp = lmm.load_dataset("cbpp")
        >>> m = lmm.glmer("cbind(incidence, size - incidence) ~ period + (1 | herd)", cbpp)
        >>> round(m.check_overdispersion().ratio, 3)
        1.237
        """
        from lmm.tables.family_checks import overdispersion

        return overdispersion(self.fit)

    def check_zero_inflation(self) -> ZeroInflation:
        """Zeros of a count beside those that the model expects, as R's performance.

        Raises
        ------
        ValueError
            The response is no count.

        Examples
        --------
        >>> import lmm
        >>> counts = {"n": [0, 0, 0, 5, 6, 4, 0, 7, 9, 0, 3, 8], "g": list("aaabbbcccddd")}
        >>> m = lmm.glmer("n ~ 1 + (1 | g)", counts, "poisson")
        >>> m.check_zero_inflation().observed
        5
        """
        from lmm.tables.family_checks import zero_inflation

        return zero_inflation(self.fit)

    def check_laplace(self, nagq: int = 15) -> LaplaceCheck:
        """Fit again by adaptive quadrature, to see how far estimates move.

        Parameters
        ----------
        nagq : int
            Points of quadrature.

        Returns
        -------
        LaplaceCheck
            True where no estimate moves by a tenth of its standard error.

        Raises
        ------
        DataError
            The random effects are not those of one grouping factor with up to 3 columns.

        Examples
        --------
        >>> import lmm
        >>> cbpp = lmm.load_dataset("cbpp")
        >>> m = lmm.glmer("cbind(incidence, size - incidence) ~ period + (1 | herd)", cbpp)
        >>> bool(m.check_laplace())
        True
        """
        from lmm.tables.family_checks import laplace_check

        return laplace_check(self, nagq)
