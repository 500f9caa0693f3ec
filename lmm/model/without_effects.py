"""What models without random effects have in common: the results of mixed models, in R's words."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import pandas as pd

from lmm._threads import one_blas_thread
from lmm._words import Ddf, Interval
from lmm.design import ModelMatrices
from lmm.errors import LmmWarning, checked_level, nearest, warn
from lmm.family import Family
from lmm.formula import parse_two_sided
from lmm.likelihood import critical_value
from lmm.model.fitted_model import FittedModel
from lmm.plain_fit import PlainFit, plain_fit
from lmm.report.plain_summary import PlainSummary
from lmm.report.printed import AnovaTable, Printed, PrintedTable, confidence_table
from lmm.request import Request

if TYPE_CHECKING:
    from lmm.diagnostics.influence_measures import InfluenceMeasures
    from lmm.diagnostics.simulated import SimulatedResiduals


@dataclass(frozen=True, eq=False, repr=False)
class WithoutEffects(Printed, FittedModel):
    """A fitted model of fixed effects alone."""

    fit: PlainFit
    call: Request
    warnings: tuple[LmmWarning, ...] = ()

    #: Kinds of residuals that there are.
    kinds: ClassVar[tuple[str, ...]] = ("response", "working", "deviance", "pearson")

    #: What asks for such a model.
    request_class: ClassVar[type[Request]]

    @classmethod
    def like(cls, call: Request, formula: str) -> Self:
        """Fit a formula without random terms to the data of a mixed model's call."""
        names = [field.name for field in fields(cls.request_class) if field.name != "formula"]
        shared = {name: getattr(call, name) for name in names}
        return cls.of(cls.request_class(parse_two_sided(formula), **shared))

    @classmethod
    @one_blas_thread
    def of(cls, call: Request) -> Self:
        """Fit what was asked for, and warn of what is wrong with the design.

        Raises
        ------
        FormulaError, DataError
            The formula or the data are none of such a model.
        NumericalError
            A likelihood has no maximum that is found.
        """
        fit = plain_fit(call)
        for note in fit.matrices.notes:
            warn(note)
        return cls(fit, call, fit.matrices.notes)

    if not TYPE_CHECKING:  # to a type checker, what is not defined is an error

        def __getattr__(self, name):
            if not name.startswith("_"):
                from lmm.model.generalized import GeneralizedMixedModel

                if hasattr(GeneralizedMixedModel, name):
                    raise AttributeError(
                        f"{type(self).__name__} has no {name!r}, which is for models with random "
                        "effects, as lmm.lmer and lmm.glmer fit them."
                    )
            return super().__getattr__(name)

    @property
    def matrices(self) -> ModelMatrices:
        """Design and response, without random-effects terms."""
        return self.fit.matrices

    @property
    def family(self) -> Family:
        """Distribution of the response, with its estimated shape."""
        return self.fit.family

    @property
    def n_parameters(self) -> int:
        """Number of estimated parameters."""
        return self.fit.n_parameters

    @property
    def df_resid(self) -> int:
        """Residual degrees of freedom, n - p."""
        return self.fit.df_resid

    @property
    def null_deviance(self) -> float:
        """Deviance of the model of an intercept (or nothing) and the offset."""
        return self.fit.null_deviance

    def deviance(self) -> float:
        """Residual sum of squares, or what a perfect fit adds to the log-likelihood, twice."""
        return self.fit.deviance

    def loglik(self) -> float:
        """Log-likelihood at its maximum, over a variance or shape too."""
        return self.fit.loglik

    def vcov(self) -> pd.DataFrame:
        """Covariance of the coefficients, (p, p)."""
        names = pd.Index(self.matrices.fixed.names)
        return pd.DataFrame(self.fit.vcov, index=names, columns=names, copy=True)

    @abstractmethod
    def summary(self, ddf: Ddf | None = None) -> PlainSummary:
        """R's summary."""

    @abstractmethod
    def anova(self) -> AnovaTable:
        """R's sequential table of the terms."""

    def _coefficient_table(self, ddf: Ddf | None) -> pd.DataFrame:
        from lmm.inference.fixed.ddf import ResidualDegrees, ddf_method
        from lmm.tables.fixed_tests import coefficient_table

        method = ddf_method(self.fit, None if ddf == "lme4" else ddf)
        return coefficient_table(
            method, "t" if isinstance(method, ResidualDegrees) else "z", df=False
        )

    @property
    def pvalues(self) -> pd.Series[float]:
        """Two-sided p-values of the coefficients, those of `summary`."""
        return self.summary().coefficients.iloc[:, -1].rename(None)

    def confint(self, parm: Any = None, level: float = 0.95, method: str = "wald") -> PrintedTable:
        """Confidence intervals of the coefficients.

        Parameters
        ----------
        parm : str, int or sequence, optional
            Names, or positions from 0; all by default.
        level : float
            Confidence level.
        method : {"wald"}
            Estimates and their standard errors: exact t intervals of linear models; of t where a
            dispersion is estimated, normal ones otherwise (R's ``confint.default``).

        Raises
        ------
        ValueError
            A name, the level or the method is none.
        """
        if method not in self._interval_methods:
            raise ValueError(
                f"method {method!r} is unknown.{nearest(method, self._interval_methods)}"
            )
        half = critical_value(checked_level(level), self.fit.test_df) * self.bse.to_numpy()
        limits = np.column_stack([self.beta - half, self.beta + half])
        chosen = self._chosen(parm)
        names = self.matrices.fixed.names
        return confidence_table(limits[chosen], [names[j] for j in chosen], level)

    _interval_methods: ClassVar[tuple[str, ...]] = ("wald",)

    def _chosen(self, parm: Any) -> list[int]:
        """Positions of coefficients by name or number."""
        names = list(self.matrices.fixed.names)
        if parm is None or (isinstance(parm, str) and parm == "beta_"):
            return list(range(len(names)))
        asked = [parm] if isinstance(parm, str | int | np.integer) else list(parm)
        found = []
        for each in asked:
            if isinstance(each, str) and each in names:
                found.append(names.index(each))
            elif isinstance(each, int | np.integer) and -len(names) <= each < len(names):
                found.append(range(len(names))[each])
            else:
                raise ValueError(f"There is no coefficient {each!r}.{nearest(str(each), names)}")
        return found

    # Rows -----------------------------------------------------------------------------------------

    def residuals(self, kind: str | None = None, scaled: bool = False) -> pd.Series[float]:
        """Residuals by row, as R's ``residuals(m, type)``.

        Parameters
        ----------
        kind : {"response", "working", "deviance", "pearson"}, optional
            As for mixed models: response minus mean is a linear model's default, signed roots of
            what a row adds to the deviance that of others.
        scaled : bool
            Whether to divide by sigma.

        Raises
        ------
        ValueError
            The kind is another word.
        """
        kind = self.fit.default_residuals if kind is None else kind
        if kind not in self.kinds:
            raise ValueError(f"Unknown kind of residuals {kind!r}.{nearest(kind, self.kinds)}")
        values = self.fit.residuals_of(kind)
        return self._by_row(values / self.sigma if scaled else values)

    def hatvalues(self) -> pd.Series[float]:
        """Leverages by row: the diagonal of the matrix that turns y into fitted values."""
        return self._by_row(self.fit.hat)

    def rstandard(self) -> pd.Series[float]:
        """Deviance residuals over their standard errors, ``r / (sigma sqrt(1 - h))``."""
        from lmm.diagnostics.studentized import standardized

        return self._by_row(standardized(self.fit))

    def rstudent(self) -> pd.Series[float]:
        """Residuals over their standard errors with sigma of the other rows, R's ``rstudent``."""
        from lmm.diagnostics.studentized import studentized

        return self._by_row(studentized(self.fit))

    def cooks_distance(self) -> pd.Series[float]:
        """Cook's distance by row."""
        from lmm.diagnostics.studentized import distances_of

        return self._by_row(distances_of(self.fit))

    def influence_measures(self) -> InfluenceMeasures:
        """What each row changes: coefficients, fitted values, precision, as R's function.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lm("Reaction ~ Days", lmm.load_dataset("sleepstudy"))
        >>> m.influence_measures().frame.columns.tolist()
        ['dfb.1_', 'dfb.Days', 'dffit', 'cov.r', 'cook.d', 'hat']
        >>> m.influence_measures().is_influential.any().tolist()
        [False, False, True, True, False, False]
        """
        from lmm.diagnostics.influence_measures import InfluenceMeasures, influence_measures

        columns = influence_measures(self.fit)
        frame = pd.DataFrame({name: self._by_row(values) for name, values in columns.items()})
        return InfluenceMeasures(frame, self._text)

    def simulated_residuals(
        self, nsim: int = 250, seed: int | np.random.Generator | None = None
    ) -> SimulatedResiduals:
        """Quantile residuals by simulation, with tests of them, as R's DHARMa.

        Parameters
        ----------
        nsim, seed
            As for mixed models.
        """
        from lmm.diagnostics.simulated import simulated_residuals

        return simulated_residuals(self.fit, nsim, seed, table=self.call.table)

    # Tables ---------------------------------------------------------------------------------------

    def tidy(
        self,
        effects: str | Sequence[str] = "fixed",
        *,
        conf_int: bool = False,
        conf_level: float = 0.95,
        conf_method: str = "wald",
        ddf: Ddf | None = None,
        exponentiate: bool = False,
    ) -> pd.DataFrame:
        """Table of the coefficients, a row each, with the columns of R's broom.

        Parameters
        ----------
        effects : {"fixed"}
            As for mixed models, whose tables say it in a column.
        conf_int : bool
            Whether to add ``conf.low`` and ``conf.high``, those of `confint`.
        conf_level : float
            Their level.
        conf_method : str
            Their method, as for `confint`.
        ddf : str, optional
            As for `summary`.
        exponentiate : bool
            Whether to give exponentials, such as odds ratios.

        Raises
        ------
        ValueError
            Effects are asked for that the model does not have.

        Examples
        --------
        >>> import lmm
        >>> lmm.lm("Reaction ~ Days", lmm.load_dataset("sleepstudy")).tidy().round(3)
                  term  estimate  std.error  statistic  p.value
        0  (Intercept)   251.405      6.610     38.033      0.0
        1         Days    10.467      1.238      8.454      0.0
        """
        from lmm.tables.broom import exponentiated, fixed_rows

        for effect in [effects] if isinstance(effects, str) else effects:
            if effect != "fixed":
                raise ValueError(f"effects {effect!r}: the model has fixed effects alone.")
        rows = fixed_rows(self.summary(ddf).coefficients)
        if conf_int:
            limits = self.confint(level=conf_level, method=conf_method).to_frame().to_numpy()
            rows = rows.assign(**{"conf.low": limits[:, 0], "conf.high": limits[:, 1]})
        return exponentiated(rows, self.family) if exponentiate else rows

    @abstractmethod
    def glance(self) -> pd.DataFrame:
        """One row about the fit, with the columns of R's broom."""

    def augment(self, newdata: Any = None) -> pd.DataFrame:
        """The data's rows with what the fit says of each, with the columns of R's broom.

        Parameters
        ----------
        newdata : table, optional
            Other rows: they get ``.fitted`` only, by `predict`.

        Returns
        -------
        DataFrame
            The data's columns, then ``.fitted .resid .hat .sigma .cooksd .std.resid``, rows as in
            `fitted`; ``.fitted`` is the linear predictor.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lm("Reaction ~ Days", lmm.load_dataset("sleepstudy"))
        >>> m.augment()[[".fitted", ".hat", ".cooksd"]].head(2).round(4)
            .fitted     .hat  .cooksd
        0  251.4051  0.0192   0.0000
        1  261.8724  0.0138   0.0001
        """
        from lmm.design.table import Table
        from lmm.tables.broom import augment_plain

        if newdata is None:
            return augment_plain(self.fit, self.data)
        table, values = Table.of(newdata), self.predict(newdata)
        columns = {name: table.series(name).array for name in table.names}
        return pd.DataFrame(columns | {".fitted": values.to_numpy()}, index=values.index)

    # Predictions, simulations, changes ------------------------------------------------------------

    def predict(
        self,
        newdata: Any = None,
        *,
        type: str = "link",
        se: bool = False,
        interval: Interval | None = None,
        level: float = 0.95,
    ) -> pd.Series[float] | pd.DataFrame:
        """Predict the rows of the fit, or new rows.

        Parameters
        ----------
        newdata, se, level
            As for mixed models.
        type : {"link", "response"}
            The linear predictor, as R's default, or the mean, which in a linear model is the same.
        interval : {"confidence", "prediction"}, optional
            Add limits for the mean, made on the scale of the link, or for a new observation of a
            linear model.

        Returns
        -------
        Series, or DataFrame with columns ``fit se [lower upper]``

        Raises
        ------
        DataError
            A column is missing, or the model was fitted with an array as offset, which says nothing
            about new rows.
        ValueError
            The type or interval is another word.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lm("Reaction ~ Days", lmm.load_dataset("sleepstudy"))
        >>> m.predict({"Days": [0.0, 10.0]}, interval="prediction").round(2)
              fit    se   lower   upper
        0  251.41  6.61  156.35  346.46
        1  356.08  7.68  260.71  451.45
        """
        from lmm.predict import predict

        if type not in ("link", "response"):
            raise ValueError(f"type must be 'link' or 'response', not {type!r}.")
        prediction = predict(
            self.fit,
            newdata,
            se=se,
            interval=interval,
            level=level,
            offset=self.call.offset_for(newdata),
            weights=self.call.weights_for(newdata) if interval == "prediction" else None,
        )
        return prediction.on_scale(type, self.family).labelled()

    def simulate(
        self,
        nsim: int = 1,
        seed: int | np.random.Generator | None = None,
        newdata: Any = None,
        *,
        beta: Any = None,
        sigma: float | None = None,
    ) -> Any:
        """Simulate responses from the fitted model, in the form of the data's response.

        Parameters
        ----------
        nsim, seed, newdata, beta, sigma
            As for mixed models. By default a dispersion is that of the highest likelihood.

        Returns
        -------
        DataFrame (n, nsim), or dict
            As for mixed models; padded like fitted values.

        Examples
        --------
        >>> import lmm
        >>> lmm.lm("Reaction ~ Days", lmm.load_dataset("sleepstudy")).simulate(2, seed=1).shape
        (180, 2)
        """
        from lmm.simulate import in_form, simulate

        drawn = simulate(
            self.fit,
            nsim,
            seed,
            newdata=newdata,
            offset=self.call.offset_for(newdata),
            weights=self.call.weights_for(newdata),
            beta=beta,
            sigma=self._drawn_sigma if sigma is None and self.fit.family.has_scale else sigma,
        )
        return drawn if newdata is not None else in_form(self.fit.matrices, drawn)

    @property
    def _drawn_sigma(self) -> float:
        return self.sigma

    def update(self, formula: str | None = None, **changes: Any) -> Self:
        """Fit again with a changed formula or other arguments.

        Parameters
        ----------
        formula : str, optional
            A formula in which ``.`` stands for the old one's sides: ``". ~ . - Days"``.
        **changes
            Arguments that change, such as ``data=...`` or ``weights=...``.

        Raises
        ------
        FormulaError, DataError
            As when it was fitted; a random term makes another model: use `lmm.lmer`.
        TypeError
            There is no such argument.

        Examples
        --------
        >>> import lmm
        >>> lmm.lm("Reaction ~ Days", lmm.load_dataset("sleepstudy")).update("log(.) ~ .").formula
        Formula('log(Reaction) ~ Days')
        """
        return self.of(self._changed_call(formula, changes))

    def _refitted(self, call: Request) -> Self:
        return self.of(call)

    def refit_ml(self) -> Self:
        """The model itself: what compares likelihoods is at their maximum."""
        return self

    @property
    @abstractmethod
    def _text(self) -> str:
        """The call as R would print it."""

    def _call_text(self, function: str, *arguments: str) -> str:
        """The call as R would print it."""
        named = [
            f"{name} = {text}" for name in ("weights", "offset") if (text := self.call.text(name))
        ]
        data = [] if self.data_name is None else [f"data = {self.data_name}"]
        return f"{function}({', '.join([f'formula = {self.formula}', *arguments, *data, *named])})"
