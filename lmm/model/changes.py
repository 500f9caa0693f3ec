"""Predictions, simulations, and the same model for other data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import pandas as pd

from lmm._threads import one_blas_thread
from lmm._words import Ddf, Interval, PredictionScale
from lmm.design.matrices import ModelMatrices
from lmm.fit import Fit, check_linear, check_sigma_estimated
from lmm.formula import Formula
from lmm.model.estimates import LabelledEstimates
from lmm.optimize import reporter, value_at
from lmm.request import Request

if TYPE_CHECKING:
    from lmm.model.least_squares import LinearModel
    from lmm.report.printed import AnovaTable
    from lmm.tables.draws import PredictionDraws


# Decrease of the criterion for which a model is searched for once more.
LOWER = 1e-7


class Changes(LabelledEstimates):
    """Prediction, simulation, refits and updates."""

    def predict(
        self,
        newdata: Any = None,
        re_form: str | Formula | None = None,
        allow_new_levels: bool | Literal["missing"] = False,
        *,
        type: PredictionScale = "response",
        random_only: bool = False,
        se: bool = False,
        interval: Interval | None = None,
        level: float = 0.95,
        newparams: Mapping[str, Any] | None = None,
    ) -> pd.Series[float] | pd.DataFrame:
        """Predict the response for the rows of the fit, or for new rows.

        Parameters
        ----------
        newdata : table, optional
            pandas, polars or pyarrow table, or dict of arrays. Rows with missing values are
            predicted as NaN.
        re_form : str or Formula, optional
            Random effects to condition on: all of them (None), none (``"~0"``), or those of a
            formula such as ``"~ (1 | Subject)"``.
        allow_new_levels : bool or "missing"
            Whether levels that the model was not fitted to, or missing ones, are predicted with
            random effects of zero. Their variance is that of a new random effect. With
            ``"missing"`` their rows are NaN.
        type : {"link", "response", "population"}
            As for generalized models: in a linear one the first two are the same, and the last is
            what ``re_form="~0"`` gives.
        random_only : bool
            Whether to leave out the fixed effects and the offset.
        se : bool
            Whether to add standard errors.
        interval : {"confidence", "prediction"}, optional
            Add limits for the mean given the random effects, or for a new observation.
            Random effects that `re_form` leaves out count as those of a new level in the latter.
        level : float
            Coverage of the interval.
        newparams : mapping, optional
            ``"beta"``, ``"theta"`` or both, to predict with in place of the estimates, each in
            order or by name. Random effects are ``Lambda u`` with the spherical effects ``m.u`` of
            the fit, as in lme4.

        Returns
        -------
        Series, or DataFrame with columns ``fit se [lower upper]``

        Raises
        ------
        DataError
            A column is missing, or a factor has an unknown level.
        ValueError
            `newparams` has other names, a wrong length, or is to have standard errors; `type` is
            another word, or contradicts `re_form` or `random_only`.

        Notes
        -----
        Standard errors include the uncertainty of the fixed effects, that of the random effects
        and their covariance (`lmm.joint`); the covariance parameters are taken as known, as in
        lme4. Intervals allow for their estimation too, by Prasad and Rao's correction and a t
        quantile with Satterthwaite's degrees of freedom (`lmm.predict`), so that they are wider.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))
        >>> rows = {"Days": [0, 9], "Subject": ["308", "new"]}
        >>> m.predict(rows, allow_new_levels=True, se=True).round(3)
               fit      se
        0  253.664  12.255
        1  345.611  61.966
        """
        from lmm.predict import check_scale, predict

        check_scale(type, re_form, random_only)
        result = predict(
            self._fit_at(newparams, se or interval is not None),
            newdata,
            "~0" if type == "population" else re_form,
            allow_new_levels=allow_new_levels,
            random_only=random_only,
            se=se,
            interval=interval,
            level=level,
            offset=self.call.offset_for(newdata),
            weights=self.call.weights_for(newdata) if interval == "prediction" else None,
        )
        return result.labelled()

    def predict_arrays(
        self, X: Any, groups: Any = None, Z: Any = None, **options: Any
    ) -> pd.Series[float] | pd.DataFrame:
        """Predict new rows that are arrays, after `lmm.lmer_arrays`.

        Parameters
        ----------
        X, groups, Z : arrays
            New rows in the columns and the order of those that were fitted.
        **options
            As for `predict`.

        Raises
        ------
        DataError
            The arrays are not like those that were fitted.

        Examples
        --------
        >>> import lmm, numpy as np
        >>> d = lmm.load_dataset("sleepstudy")
        >>> X = np.column_stack([np.ones(180), d["Days"]])
        >>> m = lmm.lmer_arrays(d["Reaction"], X, d["Subject"], X)
        >>> m.predict_arrays(X[:2], d["Subject"][:2], X[:2]).round(2).to_list()
        [253.66, 273.33]
        """
        from lmm.design.arrays import table_of_new_arrays

        names = self.call.heading.names
        return self.predict(table_of_new_arrays(self.fit.matrices, names, X, groups, Z), **options)

    def _fit_at(self, newparams: Mapping[str, Any] | None, with_errors: bool) -> Fit:
        """The fit, or one with other parameters, whose errors are not known."""
        if newparams is None:
            return self.fit
        if with_errors:
            raise ValueError(
                "parameters that are given have no standard errors: leave se and interval out, or "
                "newparams."
            )
        from lmm.predict import with_parameters

        return with_parameters(self.fit, newparams)

    def predict_parts(
        self, newdata: Any = None, allow_new_levels: bool | Literal["missing"] = False
    ) -> pd.DataFrame:
        """Parts of predictions: fixed effects, each grouping factor's effects, and their sum.

        Parameters
        ----------
        newdata, allow_new_levels
            As for `predict`.

        Returns
        -------
        DataFrame (m, 2 + groups)
            ``fixed`` (with the offset), a column per grouping factor, ``total``; of a generalized
            model on the scale of the link.

        Raises
        ------
        DataError
            A column is missing, or a factor has an unknown level.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer(
        ...     "diameter ~ 1 + (1 | plate) + (1 | sample)", lmm.load_dataset("Penicillin")
        ... )
        >>> m.predict_parts({"plate": ["a"], "sample": ["F"]}).round(2)
           fixed  plate  sample  total
        0  22.97    0.8    -3.0  20.77
        """
        from lmm.predict import prediction_parts

        offset = self.call.offset_for(newdata)
        return prediction_parts(self.fit, newdata, allow_new_levels=allow_new_levels, offset=offset)

    def predict_draws(
        self,
        newdata: Any = None,
        nsim: int = 1000,
        seed: int | np.random.Generator | None = None,
        *,
        allow_new_levels: bool | Literal["missing"] = False,
        residual: bool = True,
    ) -> PredictionDraws:
        """Draw predictions and their parts, as merTools' ``predictInterval`` with all of them.

        Fixed and random effects are drawn jointly given the response, at the estimated relative
        covariances; effects of unknown levels from the population.

        Parameters
        ----------
        newdata, allow_new_levels
            As for `predict`.
        nsim : int
            Number of draws.
        seed : int or numpy.random.Generator, optional
            Where the random numbers come from.
        residual : bool
            Whether to draw new observations of a linear model instead of means; a generalized
            model's draws are those of its linear predictor.

        Returns
        -------
        PredictionDraws
            Prints and is one table of all parts; ``.draws`` holds the numbers drawn, by part.

        Raises
        ------
        DataError
            A column is missing, or a factor has an unknown level.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))
        >>> drawn = m.predict_draws({"Days": [3.0], "Subject": ["308"]}, seed=1)
        >>> drawn.to_frame(level=0.9).round(1)
             effect  obs    fit    lwr    upr
        0  combined    0  311.0  266.9  354.8
        1   Subject    0   29.9   11.0   47.5
        2     fixed    0  282.4  270.4  295.4
        """
        from lmm.tables.draws import prediction_draws

        return prediction_draws(
            self.joint,
            newdata,
            nsim,
            seed,
            allow_new_levels=allow_new_levels,
            residual=residual,
            offset=self.call.offset_for(newdata),
            weights=self.call.weights_for(newdata) if residual else None,
        )

    def simulate(
        self,
        nsim: int = 1,
        seed: int | np.random.Generator | None = None,
        use_u: bool = False,
        re_form: str | Formula | None = "~0",
        newdata: Any = None,
        *,
        allow_new_levels: bool = False,
        theta: Any = None,
        beta: Any = None,
        sigma: float | None = None,
    ) -> Any:
        """Simulate responses from the fitted model, in the form of the data's response.

        Parameters
        ----------
        nsim : int
            Number of responses.
        seed : int or numpy.random.Generator, optional
            Where the random numbers come from.
        use_u : bool
            Whether to hold all random effects at their conditional modes; the same as
            ``re_form=None``.
        re_form : str, Formula or None
            Random effects that are held at their conditional modes; the others are drawn anew:
            all of them by default.
        newdata : table, optional
            Rows to simulate; by default those of the fit.
        allow_new_levels : bool
            Whether effects that are held may have unknown levels.
        theta, beta, sigma : optional
            Parameters in place of the estimates; a Series or mapping names those that differ. Sigma
            is the root of the dispersion, for families that have one.

        Returns
        -------
        DataFrame (n, nsim)
            Columns ``sim_1``, ``sim_2``, ...; for a response made by ``cbind``, whose columns stay
            side by side, a dict of such names to tables (n, 2).

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff"))
        >>> y = m.simulate(nsim=2, seed=2)
        >>> y.shape
        (30, 2)
        >>> m.refit(y["sim_1"]).converged
        True
        """
        from lmm.simulate import in_form, simulate

        drawn = simulate(
            self.fit,
            nsim,
            seed,
            re_form=None if use_u else re_form,
            newdata=newdata,
            allow_new_levels=allow_new_levels,
            offset=self.call.offset_for(newdata),
            weights=self.call.weights_for(newdata),
            theta=theta,
            beta=beta,
            sigma=sigma,
        )
        return drawn if newdata is not None else in_form(self.fit.matrices, drawn)

    def _refitted(self, call: Request) -> Self:
        assert call.response is not None
        return self.estimate(self.fit.criterion.with_response(call.response), call)

    @one_blas_thread
    def refit_ml(self) -> Self:
        """The same model fitted by maximum likelihood; itself, if it was.

        A search is made also from its REML estimates, if the likelihood is higher there than at the
        maximum found.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff"))
        >>> round(m.refit_ml().deviance(), 4)
        327.3271
        """
        if not self.reml:
            return self
        call = replace(self.call, reml=False)
        criterion = self.fit.criterion.with_reml(False)
        return self.estimate(criterion, call, others=[self.optimum.theta])

    def lowered(self, others: Iterable[Fit]) -> Self:
        """Search also from the covariances of other fits, if the criterion is lower there.

        Parameters
        ----------
        others : iterable of Fit
            Fits with random effects in common, such as those of nested models.

        Returns
        -------
        LinearMixedModel
            The better fit; the model itself, where that is the best.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))
        >>> m.lowered([m.update(". ~ . - Days").fit]) is m
        True
        """
        criterion, best = self.fit.criterion, self.optimum.value
        starts = [other.carried_to(criterion) for other in others]
        values = [value_at(criterion, criterion.to_x(start)) for start in starts]
        if not values or not min(values) < best - LOWER:
            return self
        start = starts[values.index(min(values))]
        again = self.estimate(criterion, self.call, start=start)
        return again if again.optimum.value < best else self

    @one_blas_thread
    def on(self, matrices: ModelMatrices) -> Self:
        """Fit the model with other matrices for the same response, by the same criterion.

        Parameters
        ----------
        matrices : ModelMatrices
            Such as ``m.fit.matrices.with_columns(X)``; results name the formula of this fit.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Reaction ~ Days + (1 | Subject)", lmm.load_dataset("sleepstudy"))
        >>> m.on(m.fit.matrices.with_columns(m.X[:, :1])).beta.round(2).tolist()
        [298.51]
        """
        return self.estimate(replace(self.fit.criterion, matrices=matrices), self.call)

    @one_blas_thread
    def update(self, formula: str | None = None, **changes: Any) -> Self:
        """Fit again with a changed formula or other arguments.

        Parameters
        ----------
        formula : str, optional
            A formula in which ``.`` stands for the old one's sides: ``". ~ . - Days"``.
        **changes
            Arguments of `lmm.lmer` that change, such as ``reml=False`` or ``data=...``.

        Raises
        ------
        FormulaError, DataError
            As `lmm.lmer`.
        TypeError
            There is no such argument.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))
        >>> m.update(". ~ . - Days", reml=False).formula
        Formula('Reaction ~ (Days | Subject)')
        """
        start, verbose = changes.pop("start", None), changes.pop("verbose", 0)
        request = self._changed_call(formula, changes)
        return self.estimate(request.criterion(), request, start=start, report=reporter(verbose))

    def least_squares(self, formula: str) -> LinearModel:
        """Fit a model without random effects to the rows, weights and response of this fit.

        Parameters
        ----------
        formula : str
            As for `lmm.lm`, without dots.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))
        >>> m.least_squares("Reaction ~ Days").fixef().round(2).to_list()
        [251.41, 10.47]
        """
        from lmm.model.least_squares import LinearModel

        check_sigma_estimated("fits by least squares", self.fit)
        return LinearModel.like(self.call.changed(self.formula, **self._own_rows()), formula)

    def drop1(
        self, scope: Sequence[str] | None = None, test: str | None = None, ddf: Ddf | None = None
    ) -> AnovaTable:
        """Leave out each fixed term that may be left out.

        Parameters
        ----------
        scope : sequence of str, optional
            Terms to leave out; by default all that no other term contains.
        test : {"Chisq", "F"}, optional
            By maximum likelihood, as lme4: AIC alone, or likelihood-ratio tests too. ``"F"``: F
            tests of the model as it is, as lmerTest. All models are fitted to the rows of this one.
        ddf : {"satterthwaite", "kenward-roger", "asymptotic"}, optional
            Method for the denominator degrees of freedom of F; the first for linear models.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))
        >>> m.drop1(test="Chisq").to_frame().round(2)
                npar      AIC    LRT  Pr(Chi)
        <none>   NaN  1763.94    NaN      NaN
        Days     1.0  1785.48  23.54      0.0
        """
        from lmm.tables.comparison import drop1
        from lmm.tables.selection import drop1_f

        if test == "F":
            check_linear("F tests", self)
            return drop1_f(self, scope, ddf)
        return drop1(self, scope, test)
