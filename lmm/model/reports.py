"""What a model prints, and its tables in broom's columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd

from lmm._types import Matrix
from lmm._words import Ddf, IntervalMethod, TidyScale
from lmm.errors import ConvergenceWarning, SingularFitWarning
from lmm.fit import Fit
from lmm.model.diagnostics import Diagnostics

if TYPE_CHECKING:
    from lmm.report.summary import FitReport, Summary


class Reports(Diagnostics):
    """Prints, summaries, tidy tables, storage."""

    def report(self) -> FitReport:
        """What ``str(m)`` prints, as a record.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff"))
        >>> m.report().formula
        'Yield ~ 1 + (1 | Batch)'
        """
        from lmm.report.summary import ConvergenceReport, FitReport

        if self.reml:
            criteria = {"REML": self.optimum.value}
        else:
            criteria = {
                "AIC": self.aic(),
                "BIC": self.bic(),
                "logLik": self.loglik(),
                "deviance": self.optimum.value,
                "df.resid": self.df_resid,
            }
        of_fit = (ConvergenceWarning, SingularFitWarning)
        messages = tuple(note.text for note in self.warnings if isinstance(note, of_fit))
        notes = tuple(note.text for note in self.warnings if not isinstance(note, of_fit))
        return FitReport(
            reml=self.reml,
            formula=str(self.formula),
            criteria=criteria,
            varcorr=self.varcorr(),
            nobs=self.nobs,
            ngroups=self.ngroups,
            fixef=self.fixef(),
            data=self.call.data_name,
            weights=self.call.text("weights"),
            offset=self.call.text("offset"),
            subset=self.call.text("subset"),
            fit_warnings=notes,
            convergence=ConvergenceReport(
                self.optimum.optimizer,
                0 if self.converged else 1,
                "OK" if self.converged else self.optimum.status.name,
                messages,
            ),
        )

    def summary(self, ddf: Ddf | None = None) -> Summary:
        """Summary that prints as R's ``summary(lmer(...))``.

        Parameters
        ----------
        ddf : {"satterthwaite", "kenward-roger"}, optional
            Method for degrees of freedom: adds ``df`` and ``Pr(>|t|)`` as lmerTest does. With
            Kenward-Roger standard errors are adjusted, and a maximum likelihood fit is refitted
            by REML. Without one there are no p-values; z tests where sigma is known.

        Raises
        ------
        ValueError
            There is no such method.

        Warns
        -----
        RefitWarning
            A maximum likelihood fit was refitted.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))
        >>> m.summary(ddf="satterthwaite").coefficients.round(3)
                     Estimate  Std. Error    df  t value  Pr(>|t|)
        (Intercept)   251.405       6.825  17.0   36.838       0.0
        Days           10.467       1.546  17.0    6.771       0.0
        """
        from lmm.report.summary import Summary

        correlation = self._fixed_correlation()
        errors = np.sqrt(np.diag(self.fit.vcov))
        residuals = self.fit.scaled_residuals if self.fit.problem.has_rows else None
        from lmm.inference.fixed.ddf import ddf_method
        from lmm.tables.fixed_tests import coefficient_table

        if ddf is None and self.fit.known_sigma is not None:
            table = coefficient_table(ddf_method(self.fit), "z", df=False)
            return Summary(self.report(), table, correlation, residuals)
        if ddf is None or ddf == "lme4":
            table = pd.DataFrame(
                {"Estimate": self.fixef(), "Std. Error": errors, "t value": self.fixef() / errors}
            )
            return Summary(self.report(), table, correlation, residuals)

        method = ddf_method(self.fit, ddf)
        if method.fit is not self.fit:
            return replace(self, fit=cast(Fit, method.fit)).summary(ddf)
        table = coefficient_table(method)
        return Summary(self.report(), table, correlation, residuals, method.name)

    def _fixed_correlation(self) -> Matrix:
        errors = np.sqrt(np.diag(self.fit.vcov))
        with np.errstate(invalid="ignore"):  # errors of zero, where a search has run away
            return np.asarray(self.fit.vcov / np.outer(errors, errors))

    def tidy(
        self,
        effects: str | Sequence[str] = ("fixed", "ran_pars"),
        *,
        scales: TidyScale = "sdcor",
        conf_int: bool = False,
        conf_level: float = 0.95,
        conf_method: IntervalMethod = "wald",
        ddf: Ddf | None = None,
        exponentiate: bool = False,
        variance_errors: bool = False,
    ) -> pd.DataFrame:
        """Estimates as one table, a row each, with broom.mixed's columns.

        Parameters
        ----------
        effects : str or sequence of str
            Of ``"fixed"``, ``"ran_pars"`` (variance parameters), ``"ran_vals"`` (random effects),
            ``"ran_coefs"`` (coefficients by level).
        scales : {"sdcor", "vcov"}
            Variance parameters as standard deviations and correlations, or (co)variances.
        conf_int : bool
            Whether to add ``conf.low`` and ``conf.high``, with coverage `conf_level`.
        conf_method : {"wald", "profile"}
            Of fixed effects and variance parameters, as in `confint`. Wald's limits of fixed
            effects use the t distribution with the row's `df` when there is one, so that they
            belong to its p-value, and the normal distribution otherwise, as those of random
            effects do.
        ddf : str, optional
            Degrees of freedom and p-values of fixed effects, as in `summary`.
        exponentiate : bool
            Whether to give ratios: exponentials of fixed effects and their limits.
        variance_errors : bool
            Whether to give variance parameters standard errors too: by the delta method from the
            exact Hessian, missing on the boundary. Their distributions are skewed: intervals say
            more.

        Returns
        -------
        DataFrame
            ``effect group level term estimate std.error statistic df p.value conf.low conf.high``,
            as far as there are any.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff"))
        >>> m.tidy("ran_pars").round(2)
             effect     group             term  estimate
        0  ran_pars     Batch  sd__(Intercept)     42.00
        1  ran_pars  Residual  sd__Observation     49.51
        """
        from lmm.tables.broom import tidy

        return tidy(
            self,
            effects,
            scales=scales,
            conf_int=conf_int,
            conf_level=conf_level,
            conf_method=conf_method,
            ddf=ddf,
            exponentiate=exponentiate,
            variance_errors=variance_errors,
        )

    def glance(self) -> pd.DataFrame:
        """One row: ``nobs sigma logLik AIC BIC REMLcrit|deviance df.residual``.

        The deviance of a generalized model is that given its random effects, as in broom.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff"))
        >>> m.glance()[["nobs", "sigma", "REMLcrit"]].round(3)
           nobs  sigma  REMLcrit
        0    30  49.51   319.654
        """
        from lmm.tables.broom import glance

        return glance(self.fit)

    def augment(self, newdata: Any = None) -> pd.DataFrame:
        """The data's rows with what the fit says of each.

        Parameters
        ----------
        newdata : table, optional
            Other rows: they get ``.fitted .fixed .mu`` only, by `predict`.

        Returns
        -------
        DataFrame
            The data's columns, then ``.fitted .resid .hat .cooksd .fixed .mu .offset .sqrtXwt
            .sqrtrwt .weights .wtres``; rows as in `fitted`. ``.fitted`` is the linear predictor,
            ``.mu`` the mean.

        Raises
        ------
        DataError
            The new rows lack a column, or have a level that the fit does not know.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff"))
        >>> m.augment()[["Yield", ".fitted", ".resid"]].head(2).round(2)
           Yield  .fitted  .resid
        0   1545  1509.89   35.11
        1   1440  1509.89  -69.89
        """
        from lmm.diagnostics.leverage import cooks_distance, leverages
        from lmm.tables.broom import augment, augment_new

        if newdata is not None:
            return augment_new(self, newdata)
        hat = leverages(self.joint)
        return augment(self, hat, cooks_distance(self.fit, hat))

    def augment_batches(
        self, data: Any = None, *, columns: Sequence[str] = (), hat: bool = True
    ) -> Iterator[pd.DataFrame]:
        """Rows of data with what the fit says of each, batch by batch, as `augment`.

        Parameters
        ----------
        data : table or source, optional
            Rows with the response; those of the fit, which are read again, by default. Weights,
            offset, subset and missing values are treated as in the fit.
        columns : sequence of str
            Columns to return beside those of the formula.
        hat : bool, default True
            Whether to compute leverages and Cook's distances, which takes most of the time.

        Yields
        ------
        DataFrame
            The columns, then those of `augment`; rows are labelled by their position in the data.

        Raises
        ------
        DataError
            The data do not suit the model, or a grouping factor has a new level.

        Examples
        --------
        >>> import lmm
        >>> d = lmm.load_dataset("Dyestuff")
        >>> m = lmm.lmer("Yield ~ 1 + (1 | Batch)", d)
        >>> parts = m.augment_batches(hat=False)
        >>> next(parts)[["Yield", ".fitted", ".resid"]].head(2).round(2)
           Yield  .fitted  .resid
        0   1545  1509.89   35.11
        1   1440  1509.89  -69.89
        """
        from lmm.tables.by_batch import augment_batches

        return augment_batches(self, data, columns=columns, hat=hat)

    def predict_batches(
        self, data: Any, **options: Any
    ) -> Iterator[pd.Series[float] | pd.DataFrame]:
        """Predictions of rows that are read batch by batch.

        Parameters
        ----------
        data : table or source
            New rows, such as ``lmm.scan("new/*.parquet")``.
        **options
            As for `predict`.

        Yields
        ------
        Series or DataFrame
            What `predict` gives; rows are labelled by their position in the data.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))
        >>> new = {"Days": [0.0, 9.0], "Subject": ["308", "new"]}
        >>> for part in m.predict_batches(new, allow_new_levels=True):
        ...     print(part.round(1).to_list())
        [253.7, 345.6]
        """
        from lmm.tables.by_batch import predict_batches

        return predict_batches(self, partial(self.predict, **options), data)

    def __str__(self) -> str:
        return str(self.report())

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return self.report()._repr_html_()

    def to_html(self, **options: Any) -> str:
        """The print as HTML; options as for `FitReport.document`, such as ``digits``.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff"))
        >>> m.to_html(digits=3).count("<table>")
        2
        """
        return self.report().to_html(**options)

    def to_markdown(self, **options: Any) -> str:
        """The print as Markdown; options as for `to_html`.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff"))
        >>> print(m.to_markdown().splitlines()[-3])
        | (Intercept) |
        """
        return self.report().to_markdown(**options)

    def to_latex(self, **options: Any) -> str:
        r"""The print as LaTeX, whose tables need booktabs; options as for `to_html`.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff"))
        >>> print(m.to_latex().splitlines()[-2])
        \bottomrule
        """
        return self.report().to_latex(**options)
