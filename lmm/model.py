"""A fitted linear mixed model: labels and thin methods over a `Fit`."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import pandas as pd
from scipy.linalg import block_diag

from lmm._types import Matrix, Vector
from lmm.criterion import ProfiledCriterion
from lmm.design import DEFAULT_CONTROL
from lmm.design.frame import Table, column_names, row_numbers
from lmm.errors import ConvergenceWarning, DataError, LmmWarning, SingularFitWarning, nearest
from lmm.expression import Name, parse_tilde, variables
from lmm.fit import Fit, verdict
from lmm.formula import Formula, update_formula
from lmm.optimize import Optimum, Report, minimize, silent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike
    from scipy import sparse

    from lmm.diagnostics import ConvergenceCheck, Influence
    from lmm.fixed_tests import Hypotheses, LeastSquaresMeans
    from lmm.inference.bootstrap import Bootstrap
    from lmm.inference.bootstrap import Interval as BootstrapInterval
    from lmm.inference.bootstrap import Kind as BootstrapKind
    from lmm.inference.lrt import ExactTest
    from lmm.inference.profile import Scale
    from lmm.joint import JointCovariance
    from lmm.optimize import Optimizer
    from lmm.profiles import CriterionProfile, Profile, Which
    from lmm.report import (
        Coefficients,
        FitReport,
        PrincipalComponents,
        RandomEffects,
        Summary,
        VarCorr,
    )
    from lmm.report.all_fit import AllFit
    from lmm.report.printed import AnovaTable, PrintedTable
    from lmm.selection import Selection

__all__ = ["LinearMixedModel"]


@dataclass(frozen=True)
class Call:
    """How the model was asked for: what a print shows, and what `update` starts from.

    Attributes
    ----------
    function : callable
        What was called: `lmm.lmer`.
    data : object
        The table as given.
    arguments : mapping of str to object
        Keyword arguments of `lmm.lmer` other than the formula, as given.
    response : (n,) array, optional
        What `refit` put in place of the data's response.
    """

    function: Callable[..., LinearMixedModel]
    data: Any
    arguments: dict[str, Any]
    response: Vector | None = None

    def again(self, formula: Formula, changes: dict[str, Any]) -> LinearMixedModel:
        """Call the function again, with another formula and changed arguments.

        Raises
        ------
        TypeError
            A changed argument does not exist.
        """
        known = ["data", "start", "verbose", *self.arguments]
        for name in changes:
            if name not in known:
                raise TypeError(f"lmer has no argument {name!r}.{nearest(name, known)}")
        return self.function(formula, **{"data": self.data, **self.arguments, **changes})

    @property
    def data_name(self) -> str | None:
        """Name of the table, where it has one (``data.attrs["name"]``)."""
        return getattr(self.data, "attrs", {}).get("name")

    def offset_for(self, newdata: Any) -> Vector | None:
        """The column of new data that was the fit's offset argument.

        Raises
        ------
        DataError
            The offset was given as an array, or the column is missing.
        """
        offset = self.arguments.get("offset")
        if offset is None:
            return None
        if not isinstance(offset, str):
            raise DataError(
                "the model was fitted with an array as offset, which says nothing about new rows: "
                "put it into the data, and name its column in offset= or in the formula"
            )
        return row_numbers(Table.of(newdata), offset, "offset")

    def text(self, argument: str) -> str | None:
        """An argument as a print shows it: a name or expression as typed, values in brief."""
        value = self.arguments.get(argument)
        if value is None or isinstance(value, str):
            return value
        return str(getattr(value, "name", None) or argument)


def _refuse(*_: object, **__: object) -> NoReturn:
    raise TypeError(
        "the model was put together from its parts: there are no data and no call of lmer to "
        "repeat. Build new matrices, or fit with lmer"
    )


NO_CALL = Call(_refuse, None, {})
"""Of a model that was put together from its parts."""


def check_names(change: str, data: Any) -> None:
    """Refuse a change of a formula that names what the data do not have.

    R ignores the removal of a term that is not there, and so hides a misspelt name.
    """
    named = [node for node in parse_tilde(change) if node is not None]
    names = {Name(name) for node in named for name in variables(node) if name != "."}
    column_names(names, Table.of(data))


@dataclass(frozen=True, eq=False)
class LinearMixedModel:
    """A fitted linear mixed model.

    Made by `lmm.lmer`. Arrays are properties, labelled tables are methods; nothing changes it.

    Attributes
    ----------
    fit : Fit
        Estimates as arrays.
    call : Call
        Data and arguments as given.
    warnings : tuple of LmmWarning
        What was warned of while fitting.

    Examples
    --------
    >>> import lmm
    >>> lmm.lmer("Reaction ~ Days + (1 | Subject)", lmm.load_dataset("sleepstudy"))
    Linear mixed model fit by REML ['lmerMod']
    Formula: Reaction ~ Days + (1 | Subject)
       Data: sleepstudy
    REML criterion at convergence: 1786.465
    Random effects:
     Groups   Name        Std.Dev.
     Subject  (Intercept) 37.12
     Residual             30.99
    Number of obs: 180, groups:  Subject, 18
    Fixed Effects:
    (Intercept)         Days
         251.41        10.47
    """

    fit: Fit
    call: Call
    warnings: tuple[LmmWarning, ...]

    @classmethod
    def estimate(
        cls,
        criterion: ProfiledCriterion,
        call: Call,
        *,
        start: Vector | None = None,
        report: Report = silent,
    ) -> LinearMixedModel:
        """Minimize a criterion, gather the fit and warn of what is wrong with it.

        Parameters
        ----------
        criterion : ProfiledCriterion
            What to minimize; its matrices name the formula.
        call : Call
            Data and arguments, among them the optimizer and the checks.
        start : (m,) array, optional
            Starting theta, lme4's scale.
        report : callable, optional
            Called as ``report(count, value, x)`` after each evaluation.
        """
        optimizer = call.arguments.get("optimizer", "auto")
        model = cls.at(criterion, minimize(criterion, optimizer, start=start, report=report), call)
        for note in model.warnings:
            warnings.warn(note, stacklevel=3)
        return model

    @classmethod
    def at(
        cls, criterion: ProfiledCriterion, optimum: Optimum, call: Call = NO_CALL
    ) -> LinearMixedModel:
        """Model at an optimum: the last of the modular steps (lme4's ``mkMerMod``).

        Parameters
        ----------
        criterion : ProfiledCriterion
            What was minimized.
        optimum : Optimum
            Where it ended, from `lmm.minimize`.
        call : Call, optional
            Data and arguments; without them the model cannot be updated or saved.

        Examples
        --------
        >>> import lmm
        >>> matrices = lmm.build_matrices("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff"))
        >>> criterion = lmm.ProfiledCriterion(matrices)
        >>> m = lmm.LinearMixedModel.at(criterion, lmm.minimize(criterion))
        >>> round(m.sigma, 2)
        49.51
        """
        fit = Fit.at(criterion.matrices.formula, criterion, optimum)
        control = call.arguments.get("control") or DEFAULT_CONTROL
        return cls(fit, call, (*criterion.matrices.notes, *verdict(fit, control)))

    # Estimates as arrays --------------------------------------------------------------------------

    @property
    def formula(self) -> Formula:
        """The parsed formula; ``str()`` gives R's text."""
        return self.fit.formula

    @property
    def reml(self) -> bool:
        """Whether the model was fitted by REML."""
        return self.fit.reml

    @property
    def theta(self) -> Vector:
        """Covariance parameters (m,), lme4's order."""
        return self.fit.theta

    @property
    def beta(self) -> Vector:
        """Fixed effects, (p,)."""
        return self.fit.beta

    @property
    def u(self) -> Vector:
        """Spherical random effects, (q,)."""
        return self.fit.u

    @property
    def b(self) -> Vector:
        """Random effects (q,), term by term and level by level."""
        return np.concatenate([effect.ravel() for effect in self.fit.b])

    @property
    def sigma(self) -> float:
        """Residual standard deviation."""
        return self.fit.sigma

    @property
    def X(self) -> Matrix:
        """Fixed-effects model matrix, (n, p)."""
        return self.fit.matrices.X

    @property
    def y(self) -> Vector:
        """Response, (n,)."""
        return self.fit.matrices.y

    @property
    def Zt(self) -> sparse.csc_array:
        """Transposed random-effects model matrix, (q, n) sparse."""
        return self.fit.matrices.Zt

    @property
    def Z(self) -> sparse.csr_array:
        """Random-effects model matrix, (n, q) sparse."""
        return self.Zt.T

    @cached_property
    def Lambdat(self) -> sparse.csc_array:
        """Transposed relative covariance factor, (q, q) sparse upper triangular."""
        return self.fit.matrices.Lambdat(self.theta)

    @property
    def Lambda(self) -> sparse.csr_array:
        """Relative covariance factor, (q, q) sparse lower triangular."""
        return self.Lambdat.T

    @property
    def weights(self) -> Vector:
        """Prior weights (n,), ones when none were given."""
        weights = self.fit.matrices.weights
        return np.ones(self.nobs) if weights is None else weights

    @property
    def offset(self) -> Vector:
        """Offset (n,), zeros when none was given."""
        offset = self.fit.matrices.offset
        return np.zeros(self.nobs) if offset is None else offset

    @property
    def nobs(self) -> int:
        """Number of observations used."""
        return self.fit.matrices.n

    @property
    def ngroups(self) -> dict[str, int]:
        """Number of levels of each grouping factor, lme4's order."""
        return {term.group: term.n_levels for term in self.fit.matrices.terms}

    @property
    def cnms(self) -> dict[str, tuple[str, ...]]:
        """Names of the random-effects columns per term, terms named as in `varcorr`."""
        return {group: block.columns for group, block in self.varcorr().blocks.items()}

    @property
    def flist(self) -> dict[str, pd.Categorical]:
        """Grouping factors as used, (n,) each."""
        return {
            term.group: pd.Categorical.from_codes(term.codes, categories=pd.Index(term.levels))
            for term in self.fit.matrices.terms
        }

    @property
    def optimum(self) -> Optimum:
        """How the optimization ended, with its certificate."""
        return self.fit.optimum

    @property
    def converged(self) -> bool:
        """Whether a verified optimum was reached."""
        return self.fit.optimum.converged

    # Labelled estimates ---------------------------------------------------------------------------

    def fixef(self) -> pd.Series[float]:
        """Fixed-effects estimates by name, (p,).

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))
        >>> m.fixef().round(3).to_dict()
        {'(Intercept)': 251.405, 'Days': 10.467}
        """
        return pd.Series(self.beta, index=pd.Index(self.fit.matrices.fixed.names), dtype=float)

    def vcov(self, full: bool = False) -> pd.DataFrame:
        """Covariance matrix of the fixed effects, (p, p).

        Parameters
        ----------
        full : bool
            Whether to return the joint covariance of the errors of fixed and random effects
            instead, (p + q, p + q): the random effects follow, named ``Subject.308.(Intercept)``,
            by grouping factor and level. It is dense; ``m.joint`` gives blocks of it.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))
        >>> m.vcov().round(3)
                     (Intercept)   Days
        (Intercept)       46.575 -1.451
        Days              -1.451  2.389
        """
        names = list(self.fit.matrices.fixed.names)
        if not full:
            return pd.DataFrame(self.fit.vcov, index=names, columns=names)
        for group, table in self.ranef().items():
            names += [f"{group}.{level}.{column}" for level in table.index for column in table]
        return pd.DataFrame(self.joint.matrix(), index=names, columns=names)

    def varcorr(self) -> VarCorr:
        """Variance components: standard deviations and correlations, printed as R does.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))
        >>> print(m.varcorr())
         Groups   Name        Std.Dev. Corr
         Subject  (Intercept) 24.7405
                  Days         5.9221  0.066
         Residual             25.5918
        """
        from lmm.report import variance_components

        terms = self.fit.matrices.terms
        return variance_components(
            [term.group for term in terms],
            [term.columns for term in terms],
            self.fit.covariances,
            self.sigma,
            diagonal=[term.covariance.is_diagonal for term in terms],
        )

    # Random effects -------------------------------------------------------------------------------

    def ranef(self, condvar: bool = False) -> RandomEffects:
        """Conditional modes of the random effects: a table per grouping factor.

        Terms of one grouping factor share a table, as in lme4.

        Parameters
        ----------
        condvar : bool
            Whether to add the conditional covariance of each level's random effects, for
            ``.condvar`` and the ``condsd`` of ``.to_frame()``.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff"))
        >>> m.ranef(condvar=True).to_frame().round(2).head(2)
          grpvar         term grp  condval  condsd
        0  Batch  (Intercept)   A   -17.61   19.59
        1  Batch  (Intercept)   B     0.39   19.59
        """
        from lmm.report import RandomEffects

        parts: dict[str, list[pd.DataFrame]] = {}
        for term, effect in zip(self.fit.matrices.terms, self.fit.b, strict=True):
            table = pd.DataFrame(effect, index=pd.Index(term.levels), columns=list(term.columns))
            parts.setdefault(term.group, []).append(table)
        tables = {group: pd.concat(some, axis=1) for group, some in parts.items()}
        if not condvar:
            return RandomEffects(tables)
        return RandomEffects(tables, dict(zip(tables, self.joint.conditional, strict=True)))

    def coef(self) -> Coefficients:
        """Coefficients by level, fixed plus random effects: a table per grouping factor.

        Random effects without a fixed effect of their name stand first, as in lme4.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))
        >>> m.coef()["Subject"].head(2).round(3)
             (Intercept)    Days
        308      253.664  19.666
        309      211.007   1.848
        """
        from lmm.report import Coefficients

        fixed = self.fixef()
        tables = {}
        for group, modes in self.ranef().items():
            names = [*modes.columns.difference(fixed.index, sort=False), *fixed.index]
            base = fixed.reindex(names, fill_value=0.0)
            tables[group] = modes.reindex(columns=names, fill_value=0.0) + base
        return Coefficients(tables)

    def re_pca(self) -> PrincipalComponents:
        """Principal components of each grouping factor's random effects (lme4's ``rePCA``).

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))
        >>> m.re_pca().to_frame().round(3)
             group  component     sd  proportion  cumulative
        0  Subject          1  0.967       0.946       0.946
        1  Subject          2  0.231       0.054       1.000
        """
        from lmm.report import PrincipalComponents

        factors: dict[str, list[Matrix]] = {}
        for term, factor in zip(self.fit.matrices.terms, self.fit.factors, strict=True):
            factors.setdefault(term.group, []).append(factor)
        return PrincipalComponents.of(list(factors), [block_diag(*f) for f in factors.values()])

    @cached_property
    def joint(self) -> JointCovariance:
        """Joint covariance of the errors of fixed and random effects."""
        from lmm.joint import JointCovariance

        return JointCovariance(self.fit)

    # Prediction -----------------------------------------------------------------------------------

    def predict(
        self,
        newdata: Any = None,
        re_form: str | Formula | None = None,
        allow_new_levels: bool = False,
        *,
        random_only: bool = False,
        se: bool = False,
        interval: str | None = None,
        level: float = 0.95,
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
        allow_new_levels : bool
            Whether levels that the model was not fitted to, or missing ones, are predicted with
            random effects of zero. Their variance is that of a new random effect.
        random_only : bool
            Whether to leave out the fixed effects and the offset.
        se : bool
            Whether to add standard errors.
        interval : {"confidence", "prediction"}, optional
            Add limits for the mean given the random effects, or for a new observation.
            Random effects that `re_form` leaves out count as those of a new level in the latter.
        level : float
            Coverage of the interval.

        Returns
        -------
        Series, or DataFrame with columns ``fit se [lower upper]``

        Raises
        ------
        DataError
            A column is missing, or a factor has an unknown level.

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
        from lmm.predict import predict

        result = predict(
            self.fit,
            newdata,
            re_form,
            allow_new_levels=allow_new_levels,
            random_only=random_only,
            se=se,
            interval=interval,
            level=level,
            offset=None if newdata is None else self.call.offset_for(newdata),
        )
        return result.to_series() if result.se is None else result.to_frame()

    # Simulation and refitting ---------------------------------------------------------------------

    def simulate(
        self,
        nsim: int = 1,
        seed: int | np.random.Generator | None = None,
        use_u: bool = False,
        re_form: str | Formula | None = "~0",
        newdata: Any = None,
        *,
        allow_new_levels: bool = False,
        theta: Vector | None = None,
        beta: Vector | None = None,
        sigma: float | None = None,
    ) -> pd.DataFrame:
        """Simulate responses from the fitted model.

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
            Parameters in place of the estimates.

        Returns
        -------
        DataFrame (n, nsim)
            Columns ``sim_1``, ``sim_2``, ...

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
        from lmm.simulate import simulate

        return simulate(
            self.fit,
            nsim,
            seed,
            re_form=None if use_u else re_form,
            newdata=newdata,
            allow_new_levels=allow_new_levels,
            offset=None if newdata is None else self.call.offset_for(newdata),
            theta=theta,
            beta=beta,
            sigma=sigma,
        )

    def refit(self, y: Any) -> LinearMixedModel:
        """Fit the same model to another response.

        Parameters
        ----------
        y : (n,) array
            Response of the rows used, or of all rows that `subset` selects.

        Raises
        ------
        DataError
            The length is another one, or a value is missing.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff"))
        >>> round(m.refit(2.0 * m.y).sigma / m.sigma, 6)
        2.0
        """
        y = self.fit.matrices.frame.response_values(y)
        call = replace(self.call, response=y)
        return LinearMixedModel.estimate(self.fit.criterion.with_response(y), call)

    def refit_ml(self) -> LinearMixedModel:
        """The same model fitted by maximum likelihood; itself, if it was.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff"))
        >>> round(m.refit_ml().deviance(), 4)
        327.3271
        """
        if not self.reml:
            return self
        call = replace(self.call, arguments={**self.call.arguments, "reml": False})
        return LinearMixedModel.estimate(replace(self.fit.criterion, reml=False), call)

    def update(self, formula: str | None = None, **changes: Any) -> LinearMixedModel:
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
        new = self.formula
        if formula is not None:
            new = update_formula(self.formula, formula)
            check_names(formula, changes.get("data", self.data))
        updated = self.call.again(new, changes)
        if self.call.response is None or "data" in changes or new.response != self.formula.response:
            return updated
        return updated.refit(self.call.response)

    # Comparison -----------------------------------------------------------------------------------

    @property
    def data_name(self) -> str | None:
        """Name of the data, where they have one (``data.attrs["name"]``)."""
        return self.call.data_name

    def drop1(
        self,
        scope: Sequence[str] | None = None,
        test: str | None = None,
        ddf: str = "satterthwaite",
    ) -> AnovaTable:
        """Leave out each fixed term that may be left out.

        Parameters
        ----------
        scope : sequence of str, optional
            Terms to leave out; by default all that no other term contains.
        test : {"Chisq", "F"}, optional
            By maximum likelihood, as lme4: AIC alone, or likelihood-ratio tests too. ``"F"``: F
            tests of the model as it is, as lmerTest.
        ddf : {"satterthwaite", "kenward-roger", "asymptotic"}
            Method for the denominator degrees of freedom of F.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))
        >>> m.drop1(test="Chisq").to_frame().round(2)
                npar      AIC    LRT  Pr(Chi)
        <none>   NaN  1763.94    NaN      NaN
        Days     1.0  1785.48  23.54      0.0
        """
        from lmm.comparison import drop1
        from lmm.selection import drop1_f

        return drop1_f(self, scope, ddf) if test == "F" else drop1(self, scope, test)

    def exact_rlrt(
        self, nsim: int = 10_000, seed: int | np.random.Generator | None = None
    ) -> ExactTest:
        """Test the only variance component by simulating the exact null distribution.

        The model needs one scalar random effect and a fit by REML. See
        `lmm.inference.lrt.exact_restricted_lrt`.

        Parameters
        ----------
        nsim : int
            Number of values drawn from the null distribution.
        seed : int or numpy.random.Generator, optional
            Where the random numbers come from.

        Raises
        ------
        ValueError
            The model has another random part, or was fitted by maximum likelihood.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff"))
        >>> m.exact_rlrt(seed=1)
        simulated finite sample distribution of RLRT (10000 simulated values)
        RLRT = 6.3689, p-value = 0.00...
        """
        from lmm.inference.lrt import exact_restricted_lrt

        return exact_restricted_lrt(self.fit, nsim, seed)

    # Profiles and resampling ----------------------------------------------------------------------

    def confint(
        self,
        parm: Which = None,
        level: float = 0.95,
        method: str = "profile",
        *,
        nsim: int = 500,
        seed: int | None = None,
        boot_type: BootstrapInterval = "perc",
    ) -> PrintedTable:
        """Confidence intervals of variance parameters, sigma and fixed effects.

        Parameters
        ----------
        parm : str, int or sequence, optional
            Names as in the result, positions from 0, ``"theta_"`` (variance parameters) or
            ``"beta_"`` (fixed effects); all by default.
        level : float
            Confidence level.
        method : {"profile", "wald", "boot"}
            Profile likelihood (maximum likelihood, also for a REML fit, as in R); normal
            approximation, of standard deviations on the log scale and of correlations on Fisher's
            z scale; parametric bootstrap.
        nsim, seed : int
            Replicates of the bootstrap, and its seed.
        boot_type : {"perc", "basic", "norm", "bca"}
            Kind of bootstrap interval.

        Returns
        -------
        PrintedTable
            Two columns, rows in R's order; prints as R's confint.

        Raises
        ------
        ValueError
            A name, the level or the method is not one.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff"))
        >>> m.confint().to_frame().round(2)
                                2.5 %   97.5 %
        sd_(Intercept)|Batch    12.20    84.06
        sigma                   38.23    67.66
        (Intercept)           1486.45  1568.55
        """
        from lmm.profiles import confint

        return confint(self.fit, parm, level, method, nsim=nsim, seed=seed, boot_type=boot_type)

    def profile(
        self, which: Which = None, *, level: float = 0.95, scale: Scale = "sdcor"
    ) -> Profile:
        """Profile likelihood of parameters.

        Parameters
        ----------
        which : str, int or sequence, optional
            As `parm` of `confint`.
        level : float
            Confidence level whose limits are computed exactly.
        scale : {"sdcor", "varcov"}
            Standard deviations and correlations, or variances and covariances.

        Returns
        -------
        Profile
            With ``confint(level)``, ``to_frame()``, ``log()``, ``variance()`` and plots.

        Warns
        -----
        ConvergenceWarning
            A profile finds a better fit, or is not monotone; also in its `notes`.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff"))
        >>> m.profile().confint().to_frame().round(3)
                                 2.5 %    97.5 %
        sd_(Intercept)|Batch    12.197    84.063
        sigma                   38.230    67.658
        (Intercept)           1486.451  1568.549
        """
        from lmm.profiles import profile

        return profile(self.fit, which, level, scale)

    def profile_criterion(
        self,
        parameter: str,
        low: float | None = None,
        high: float | None = None,
        points: int = 41,
    ) -> CriterionProfile:
        """The fitted criterion (REML or ML) along one variance parameter, others re-optimized.

        Parameters
        ----------
        parameter : str
            R's name (``sd_Time|tree``, ``var_Time|tree``, ``cor_...``, ``cov_...``, ``sigma``,
            ``sigma^2``) or statsmodels' (``Time Var``; ``tree Var`` for the intercept;
            ``tree x Time Cov``; ``scale``). The name chooses the scale of `low` and `high`.
        low, high : float, optional
            Range; about the 99 % interval by default.
        points : int
            Number of equally spaced values.

        Returns
        -------
        CriterionProfile
            With ``values``, ``difference`` (-2 log likelihood ratio), ``to_frame()``, ``plot()``.

        Raises
        ------
        ValueError
            The name is unknown, or the range is not one of the parameter's.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff"))
        >>> m.profile_criterion("sigma", 40.0, 60.0, points=3).to_frame().round(3)
           sigma  difference
        0   40.0       2.530
        1   50.0       0.005
        2   60.0       1.566
        """
        from lmm.inference.profile import criterion_curve
        from lmm.profiles import CriterionProfile

        return CriterionProfile(criterion_curve(self.fit, parameter, low, high, points))

    # Tests of effects -----------------------------------------------------------------------------

    def anova(self, type: str | int = "III", ddf: str = "satterthwaite") -> AnovaTable:
        """F tests of the fixed terms, as lmerTest's ``anova``.

        Parameters
        ----------
        type : {"III", "II", "I"} or {3, 2, 1}
            What a term is adjusted for: all other terms; those that do not contain it; those
            before it. Type III does not depend on the contrasts of the factors.
        ddf : {"satterthwaite", "kenward-roger", "lme4"}
            Method for denominator degrees of freedom; ``"lme4"`` gives sequential sums of squares
            without tests.

        Returns
        -------
        AnovaTable
            ``Sum Sq, Mean Sq, NumDF, DenDF, F value, Pr(>F)``.

        Raises
        ------
        ValueError
            There is no such type or method.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))
        >>> m.anova()
        Type III Analysis of Variance Table with Satterthwaite's method
             Sum Sq Mean Sq NumDF DenDF F value    Pr(>F)
        Days  30031   30031     1    17  45.853 3.264e-06 ***
        ---
        Signif. codes:  0 ‘***’ 0.001 ‘**’ 0.01 ‘*’ 0.05 ‘.’ 0.1 ‘ ’ 1
        """
        from lmm.comparison import sequential_anova
        from lmm.fixed_tests import type_anova
        from lmm.inference.contrasts import anova_type
        from lmm.inference.ddf import ddf_method

        checked = anova_type(type)
        if ddf == "lme4":
            return sequential_anova(self)
        return type_anova(ddf_method(self.fit, ddf), checked)

    def contest(
        self,
        L: ArrayLike,
        rhs: ArrayLike = 0.0,
        joint: bool = True,
        ddf: str = "satterthwaite",
        level: float = 0.95,
    ) -> PrintedTable:
        """Test linear contrasts of the fixed effects, ``L beta = rhs``.

        Parameters
        ----------
        L : (p,) or (q, p) array
            Contrasts, one per row. Where columns were dropped, rows for all columns (dropped ones
            too) are also taken, if they are estimable.
        rhs : float or (q,) array
            Values under the hypothesis.
        joint : bool
            One F test of all rows, or a t test with confidence limits for each.
        ddf : {"satterthwaite", "kenward-roger", "asymptotic"}
            Method for degrees of freedom.
        level : float
            Confidence level.

        Raises
        ------
        DataError
            The number of columns is wrong, a row is not estimable, or dependent rows contradict
            each other.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))
        >>> m.contest([0, 1], rhs=10, joint=False).to_frame()[["Estimate", "t value"]].round(3)
           Estimate  t value
        1    10.467    0.302
        """
        from lmm.fixed_tests import contest
        from lmm.inference.ddf import ddf_method

        return contest(ddf_method(self.fit, ddf), L, rhs, joint, level)

    def show_tests(self, type: str | int = "III", fractions: bool = False) -> Hypotheses:
        """Contrast matrices of the hypotheses that `anova` tests.

        Parameters
        ----------
        type : {"III", "II", "I"} or {3, 2, 1}
            As for `anova`.
        fractions : bool
            Whether to print entries as fractions.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))
        >>> print(m.show_tests())
        $Days
             (Intercept) Days
        Days           0    1
        """
        from lmm.fixed_tests import hypotheses
        from lmm.inference.contrasts import anova_type

        return hypotheses(self.fit.matrices, anova_type(type), fractions)

    def ranova(self, reduce_terms: bool = True) -> AnovaTable:
        """Likelihood-ratio tests of the random terms, as lmerTest's ``ranova``.

        Parameters
        ----------
        reduce_terms : bool
            Whether a term with several effects loses one effect at a time, instead of being left
            out.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))
        >>> m.ranova()
        ANOVA-like table for random-effects: Single term deletions
        <BLANKLINE>
        Model:
        Reaction ~ Days + (Days | Subject)
                                 npar  logLik    AIC    LRT Df Pr(>Chisq)
        <none>                      6 -871.81 1755.6
        Days in (Days | Subject)    4 -893.23 1794.5 42.837  2   4.99e-10 ***
        ---
        Signif. codes:  0 ‘***’ 0.001 ‘**’ 0.01 ‘*’ 0.05 ‘.’ 0.1 ‘ ’ 1
        """
        from lmm.selection import ranova

        return ranova(self, reduce_terms)

    def step(
        self,
        ddf: str = "satterthwaite",
        alpha_random: float = 0.1,
        alpha_fixed: float = 0.05,
        reduce_random: bool = True,
        reduce_fixed: bool = True,
        keep: Sequence[str] = (),
    ) -> Selection[LinearMixedModel]:
        """Backward selection of random, then fixed terms, as lmerTest's ``step``.

        Parameters
        ----------
        ddf : {"satterthwaite", "kenward-roger", "asymptotic"}
            Method for the F tests of fixed terms.
        alpha_random, alpha_fixed : float
            A term stays if its p-value is below this.
        reduce_random, reduce_fixed : bool
            Whether terms of that kind are left out at all.
        keep : sequence of str
            Labels of fixed terms that stay.

        Returns
        -------
        Selection
            With tables ``random`` and ``fixed``, and ``get_model()``.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))
        >>> m.step().get_model().formula
        Formula('Reaction ~ Days + (Days | Subject)')
        """
        from lmm.selection import step

        return step(self, ddf, alpha_random, alpha_fixed, reduce_random, reduce_fixed, keep)

    def ls_means(
        self, term: str | None = None, ddf: str = "satterthwaite", level: float = 0.95
    ) -> LeastSquaresMeans:
        """Least-squares means of factor terms, as lmerTest's ``ls_means``.

        Means over equal numbers of all combinations of levels, covariates at their mean; missing
        where the data do not determine one.

        Parameters
        ----------
        term : str, optional
            A term of factors; all of them by default.
        ddf : {"satterthwaite", "kenward-roger", "asymptotic"}
            Method for degrees of freedom.
        level : float
            Confidence level.

        Raises
        ------
        DataError
            `term` is not a term of factors alone.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("angle ~ recipe + (1 | recipe:replicate)", lmm.load_dataset("cake"))
        >>> m.ls_means("recipe").to_frame()[["Estimate", "df"]].round(3)
                 Estimate    df
        recipeA    33.122  42.0
        recipeB    31.644  42.0
        recipeC    31.600  42.0
        """
        from lmm.fixed_tests import ls_means
        from lmm.inference.ddf import ddf_method

        return ls_means(self, ddf_method(self.fit, ddf), term, level, pairwise=False)

    def difflsmeans(
        self, term: str | None = None, ddf: str = "satterthwaite", level: float = 0.95
    ) -> LeastSquaresMeans:
        """Differences of all pairs of least-squares means; parameters as for `ls_means`.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("angle ~ recipe + (1 | recipe:replicate)", lmm.load_dataset("cake"))
        >>> m.difflsmeans("recipe").to_frame()[["Estimate", "df"]].round(3)
                           Estimate    df
        recipeA - recipeB     1.478  42.0
        recipeA - recipeC     1.522  42.0
        recipeB - recipeC     0.044  42.0
        """
        from lmm.fixed_tests import ls_means
        from lmm.inference.ddf import ddf_method

        return ls_means(self, ddf_method(self.fit, ddf), term, level, pairwise=True)

    def bootstrap(
        self,
        nsim: int,
        seed: int | None = None,
        *,
        statistic: Callable[[LinearMixedModel], Any] | None = None,
        kind: BootstrapKind = "parametric",
        use_u: bool = False,
        n_jobs: int | None = 1,
        progress: bool | None = None,
    ) -> Bootstrap:
        """Simulate responses, refit, and collect parameters or a statistic of the refitted models.

        Without a statistic, and for designs with small components, all refits advance together
        as one batched computation. Results depend on the seed, not on the number of workers.

        Parameters
        ----------
        nsim : int
            Number of replicates.
        seed : int, optional
            Seed of the random numbers; a fresh one by default.
        statistic : callable, optional
            Function of a refitted model that returns a number, a vector or a Series; by default
            standard deviations, correlations, sigma and fixed effects.
        kind : {"parametric", "semiparametric"}
            Normal residuals, or residuals of the fit drawn with replacement (needs `use_u`).
        use_u : bool
            Whether to hold the random effects at their conditional modes.
        n_jobs : int or None
            Workers; -1 for all processors, None for those of ``joblib.parallel_config``.
        progress : bool, optional
            Whether to show a bar; by default on a terminal when it takes more than two seconds.

        Returns
        -------
        Bootstrap
            With ``to_frame()``, ``confint(level, type)``, ``summary()``, ``to_parquet(path)``. If
            it is interrupted (Ctrl-C), what is finished.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff"))
        >>> b = m.bootstrap(1000, seed=1)
        >>> b.to_frame().shape
        (1000, 5)
        >>> b.confint(type="basic").index.tolist()
        ['sd_(Intercept)|Batch', 'sigma', '(Intercept)']
        """
        from lmm.inference.bootstrap import bootstrap

        return bootstrap(
            self.fit,
            nsim,
            seed,
            kind=kind,
            use_u=use_u,
            statistic=statistic,
            model=self,
            refit=self.refit,
            n_jobs=n_jobs,
            progress=progress,
        )

    # Criteria -------------------------------------------------------------------------------------

    def reml_criterion(self) -> float:
        """REML criterion at the optimum.

        Raises
        ------
        ValueError
            The model was fitted by maximum likelihood.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff"))
        >>> round(m.reml_criterion(), 4)
        319.6543
        """
        if not self.reml:
            raise ValueError("The model was fitted by maximum likelihood: use deviance().")
        return self.optimum.value

    def deviance(self) -> float:
        """Deviance, -2 log-likelihood; for a REML fit, that of its theta.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff"))
        >>> round(m.deviance(), 4)
        327.4039
        """
        return self.fit.deviance if self.reml else self.optimum.value

    def loglik(self) -> float:
        """Log-likelihood; for a REML fit the restricted one, as R's logLik.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff"))
        >>> round(m.loglik(), 4)
        -159.8271
        """
        return self.fit.loglik

    def aic(self) -> float:
        """Akaike's criterion, from `loglik` and all parameters.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff"))
        >>> round(m.aic(), 4)
        325.6543
        """
        return -2.0 * self.loglik() + 2.0 * self.fit.n_parameters

    def bic(self) -> float:
        """Bayesian information criterion, with log(n) per parameter.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff"))
        >>> round(m.bic(), 4)
        329.8579
        """
        return -2.0 * self.loglik() + float(np.log(self.nobs)) * self.fit.n_parameters

    @property
    def df_resid(self) -> int:
        """Observations minus estimated parameters, as R's df.residual."""
        return self.nobs - self.fit.n_parameters

    def is_singular(self, tol: float = 1e-4) -> bool:
        """Whether a random-effects covariance is singular, whatever the units of the data.

        Parameters
        ----------
        tol : float
            A term is singular if the smallest singular value of its whitened factor lambda* is
            below `tol` times the larger of 1 and the largest.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))
        >>> m.is_singular()
        False
        """
        return self.fit.is_singular(tol)

    # Residuals ------------------------------------------------------------------------------------

    def fitted(self) -> pd.Series[float]:
        """Conditional means ``X beta + offset + Z b`` by row; padded after na_action="exclude".

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff"))
        >>> m.fitted().head(2).round(2).to_list()
        [1509.89, 1509.89]
        """
        return self._by_row(self.fit.fitted)

    def residuals(self, kind: str = "response", scaled: bool = False) -> pd.Series[float]:
        """Residuals by row, as R's ``residuals(m, type, scaled)``.

        Parameters
        ----------
        kind : {"response", "working", "deviance", "pearson"}
            Response minus fitted values, for the last two times the square root of the weight.
        scaled : bool
            Whether to divide by sigma.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff"))
        >>> m.residuals("pearson", scaled=True).head(2).round(3).to_list()
        [0.709, -1.412]
        """
        from lmm.diagnostics import residuals

        return self._by_row(residuals(self.fit, kind, scaled))

    def _by_row(self, values: Vector) -> pd.Series[float]:
        frame = self.fit.matrices.frame
        return pd.Series(frame.pad(values), index=frame.labels, dtype=float)

    # Diagnostics ----------------------------------------------------------------------------------

    def hatvalues(self) -> pd.Series[float]:
        """Leverages by row: the diagonal of the matrix that turns y into fitted values.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff"))
        >>> m.hatvalues().head(2).round(4).to_list()
        [0.1638, 0.1638]
        """
        from lmm.diagnostics import leverages

        return self._by_row(leverages(self.joint))

    def rstudent(self) -> pd.Series[float]:
        """Standardized residuals by row, ``r / (sigma sqrt(1 - h))``, as lme4's ``rstudent``.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff"))
        >>> m.rstudent().head(2).round(4).to_list()
        [0.7754, -1.5437]
        """
        from lmm.diagnostics import leverages, standardized_residuals

        return self._by_row(standardized_residuals(self.fit, leverages(self.joint)))

    def cooks_distance(self) -> pd.Series[float]:
        """Cook's distance by row at the estimated theta; `influence` refits instead.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff"))
        >>> m.cooks_distance().head(2).round(4).to_list()
        [0.1177, 0.4667]
        """
        from lmm.diagnostics import cooks_distance, leverages

        return self._by_row(cooks_distance(self.fit, leverages(self.joint)))

    def influence(self, groups: str | None = None) -> Influence:
        """Refit without each observation, or without each level of a grouping factor.

        Parameters
        ----------
        groups : str, optional
            Grouping factor of the model; observations one by one if not given.

        Returns
        -------
        Influence
            With ``dfbeta() dfbetas() cooks_distance() to_frame()``.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))
        >>> print(m.influence("Subject").cooks_distance().head(3).round(4).to_list())
        [0.0821, 0.132, 0.0982]
        """
        from lmm.diagnostics import influence

        return influence(self.fit, groups)

    def check_convergence(
        self, gradient_tol: float = 2e-3, singular_tol: float = 1e-4, hessian_tol: float = 1e-6
    ) -> ConvergenceCheck:
        """Check gradient, Hessian and singularity; true if converged, with lme4's messages.

        Parameters
        ----------
        gradient_tol : float
            Largest scaled gradient that passes.
        singular_tol : float
            As `tol` of `is_singular`.
        hessian_tol : float
            Smallest eigenvalue of the Hessian, relative to the largest, that passes.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))
        >>> print(m.check_convergence())
        converged
        """
        from lmm.diagnostics import check_convergence

        return check_convergence(self.fit, gradient_tol, singular_tol, hessian_tol)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Pearson residuals against fitted values; `lmm.plots` has more.

        Parameters
        ----------
        ax : Axes, optional
            Where to draw; new axes by default.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff"))
        >>> m.plot().get_xlabel()
        'Fitted values'
        """
        from lmm.plots import residuals_vs_fitted

        return residuals_vs_fitted(self, ax)

    def all_fit(self, optimizers: Iterable[str | Optimizer] | None = None) -> AllFit:
        """Fit with every optimizer (or those given), from the default start, to compare them.

        Parameters
        ----------
        optimizers : iterable of str or Optimizer, optional
            Names or objects, as for `lmm.lmer`.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff"))
        >>> list(m.all_fit().fits)
        ['Fisher scoring', 'L-BFGS-B', 'COBYQA', 'Nelder-Mead']
        """
        from lmm.diagnostics import fit_with_each
        from lmm.report.all_fit import AllFit

        attempts = fit_with_each(self.fit, optimizers)
        return AllFit(str(self.formula), self.call.data_name, attempts)

    # Reports --------------------------------------------------------------------------------------

    def report(self) -> FitReport:
        """What ``str(m)`` prints, as a record."""
        from lmm.report import ConvergenceReport, FitReport

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

    def summary(self, ddf: str | None = None) -> Summary:
        """Summary that prints as R's ``summary(lmer(...))``.

        Parameters
        ----------
        ddf : {"satterthwaite", "kenward-roger"}, optional
            Method for degrees of freedom: adds ``df`` and ``Pr(>|t|)`` as lmerTest does. With
            Kenward-Roger standard errors are adjusted, and a maximum likelihood fit is refitted
            by REML.

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
        from lmm.report import Summary

        errors = np.sqrt(np.diag(self.fit.vcov))
        correlation = self.fit.vcov / np.outer(errors, errors)
        if ddf is None or ddf == "lme4":
            table = pd.DataFrame(
                {
                    "Estimate": self.fixef(),
                    "Std. Error": errors,
                    "t value": self.fixef() / errors,
                }
            )
            return Summary(self.report(), table, correlation, self.fit.scaled_residuals)
        from lmm.fixed_tests import coefficient_table
        from lmm.inference.ddf import ddf_method

        method = ddf_method(self.fit, ddf)
        if method.fit is not self.fit:
            return replace(self, fit=method.fit).summary(ddf)
        table = coefficient_table(method)
        return Summary(self.report(), table, correlation, self.fit.scaled_residuals, method.name)

    # broom.mixed's tables -------------------------------------------------------------------------

    def tidy(
        self,
        effects: str | Sequence[str] = ("fixed", "ran_pars"),
        *,
        scales: str = "sdcor",
        conf_int: bool = False,
        conf_level: float = 0.95,
        conf_method: str = "wald",
        ddf: str | None = None,
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
            Of fixed effects and variance parameters, as in `confint`.
        ddf : str, optional
            Degrees of freedom and p-values of fixed effects, as in `summary`.

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
        from lmm.broom import tidy

        return tidy(
            self,
            effects,
            scales=scales,
            conf_int=conf_int,
            conf_level=conf_level,
            conf_method=conf_method,
            ddf=ddf,
        )

    def glance(self) -> pd.DataFrame:
        """One row: ``nobs sigma logLik AIC BIC REMLcrit|deviance df.residual``.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff"))
        >>> m.glance()[["nobs", "sigma", "REMLcrit"]].round(3)
           nobs  sigma  REMLcrit
        0    30  49.51   319.654
        """
        from lmm.broom import glance

        return glance(self.fit)

    def augment(self) -> pd.DataFrame:
        """The data's rows with what the fit says of each.

        Returns
        -------
        DataFrame
            The data's columns, then ``.fitted .resid .hat .cooksd .fixed .mu .offset .sqrtXwt
            .sqrtrwt .weights .wtres``; rows as in `fitted`.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff"))
        >>> m.augment()[["Yield", ".fitted", ".resid"]].head(2).round(2)
           Yield  .fitted  .resid
        0   1545  1509.89   35.11
        1   1440  1509.89  -69.89
        """
        from lmm.broom import augment
        from lmm.diagnostics import cooks_distance, leverages

        hat = leverages(self.joint)
        return augment(self, hat, cooks_distance(self.fit, hat))

    @property
    def data(self) -> Any:
        """The data as given.

        Raises
        ------
        TypeError
            The model was put together from its parts, without data.
        """
        return _refuse() if self.call is NO_CALL else self.call.data

    def __str__(self) -> str:
        return str(self.report())

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return self.report()._repr_html_()

    # Files ----------------------------------------------------------------------------------------

    def save(self, path: str | Path) -> None:
        """Write the model to a file that `lmm.load` reads, without pickles.

        Parameters
        ----------
        path : str or Path
            The file; an existing one is replaced.

        Raises
        ------
        DataError
            A column or an argument is of a kind that the format does not hold.

        Examples
        --------
        >>> import lmm, pathlib, tempfile
        >>> m = lmm.lmer("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff"))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder) / "dyestuff.lmm"
        ...     m.save(path)
        ...     again = lmm.load(path)
        >>> again.sigma == m.sigma
        True
        """
        from lmm.storage import write

        write(path, self.fit, self.data, self.call.arguments, self.call.response)

    # statsmodels' words ---------------------------------------------------------------------------

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
