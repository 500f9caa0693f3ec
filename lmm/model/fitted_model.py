"""What all fitted models have in common, with random effects or without."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd

from lmm._elsewhere import no_attribute
from lmm._threads import one_blas_thread
from lmm._types import Matrix, Vector
from lmm.design import absent
from lmm.design.table import Table
from lmm.errors import DataError
from lmm.fit import Fit
from lmm.fixed_fit import FamilyFit
from lmm.formula import Formula, update_formula
from lmm.model.coefficient_tests import CoefficientTests
from lmm.plain_fit import PlainFit
from lmm.request import Request, check_names, refuse

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from lmm.report.printed import PrintedTable


class FittedModel(CoefficientTests, ABC):
    """A fit and the request that it answers: data, fixed effects and their tests, in R's words.

    Attributes
    ----------
    fit : Fit or PlainFit
        Estimates as arrays.
    call : Request
        Data and options as given.
    """

    fit: Fit | PlainFit
    call: Request

    if not TYPE_CHECKING:  # to a type checker, what is not defined is an error

        def __getattr__(self, name):
            raise no_attribute(self, name)

    @abstractmethod
    def vcov(self) -> pd.DataFrame:
        """Covariance of the fixed effects, (p, p)."""

    @abstractmethod
    def loglik(self) -> float:
        """Log-likelihood."""

    @abstractmethod
    def residuals(self) -> pd.Series[float]:
        """Residuals by row."""

    @abstractmethod
    def confint(self, parm: Any = None, level: float = 0.95, method: Any = "wald") -> PrintedTable:
        """Confidence intervals."""

    @abstractmethod
    def update(self, formula: str | None = None, **changes: Any) -> Self:
        """The model with a changed formula or other arguments."""

    # The data -------------------------------------------------------------------------------------

    @property
    def formula(self) -> Formula:
        """The parsed formula; ``str()`` gives R's text."""
        return self.fit.formula

    @property
    def data_name(self) -> str | None:
        """Name of the data, where they have one (``data.attrs["name"]``)."""
        return self.call.data_name

    @property
    def data(self) -> Any:
        """The data as they were at the fit, of the kind given (a pandas table for a dict).

        Raises
        ------
        TypeError
            The model was put together from its parts, without data.
        DataError
            The data were read batch by batch.
        """
        if self.call.source is not None:
            absent.refuse()
        return refuse() if self.call.table is None else self.call.data

    @property
    def y(self) -> Vector:
        """Response, (n,)."""
        return self.fit.matrices.y

    @property
    def X(self) -> Matrix:
        """Fixed-effects model matrix, (n, p)."""
        return self.fit.matrices.X

    @property
    def weights(self) -> Vector:
        """Prior weights (n,), ones when none were given."""
        return self.fit.matrices.weights

    @property
    def offset(self) -> Vector:
        """Offset (n,), zeros when none was given."""
        return self.fit.matrices.offset

    @property
    def nobs(self) -> int:
        """Number of observations used."""
        return self.fit.matrices.n

    def model_frame(self) -> pd.DataFrame:
        """The variables of the formula at the rows used, as R's ``model.frame``.

        Returns
        -------
        DataFrame
            A column per variable, such as ``log(y)`` and ``Subject``, several for ``poly(x, 2)``;
            ``(weights)`` and ``(offset)`` where there are any.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("log(Reaction) ~ Days + (1 | Subject)", lmm.load_dataset("sleepstudy"))
        >>> m.model_frame().head(2).round(3)
           log(Reaction)  Days Subject
        0          5.520   0.0     308
        1          5.556   1.0     308
        """
        from lmm.tables.model_frame import model_frame

        return model_frame(self.fit.matrices)

    def native(self, result: Any) -> Any:
        """A table of results in the library of the model's data: polars for polars.

        Parameters
        ----------
        result : DataFrame, Series or result with ``to_frame()``
            What a method gave; labels of rows become columns, ``row`` if they have no name.

        Returns
        -------
        table
            A pandas table for a model of a pandas table or a dict.

        Examples
        --------
        >>> import lmm, pyarrow
        >>> data = pyarrow.Table.from_pandas(lmm.load_dataset("Dyestuff"))
        >>> m = lmm.lmer("Yield ~ 1 + (1 | Batch)", data)
        >>> m.native(m.confint(method="wald")).column_names
        ['row', '2.5 %', '97.5 %']
        """
        frame = result if isinstance(result, pd.DataFrame) else result.to_frame()
        return Table.of(self.data).like(frame)

    def _by_row(self, values: Vector) -> pd.Series[float]:
        return self.fit.matrices.frame.by_row(values)

    def _quantile_residuals(self, fit: FamilyFit, seed: Any) -> pd.Series[float]:
        from lmm.diagnostics.leverage import normal_quantiles

        return self._by_row(normal_quantiles(*fit.quantile_levels, seed))

    # Changes --------------------------------------------------------------------------------------

    def _changed_call(self, formula: str | None, changes: dict[str, Any]) -> Request:
        """The request with a changed formula and other arguments."""
        new = self.formula
        if formula is not None:
            new = update_formula(self.formula, formula)
            check_names(formula, changes.get("data", self.call.heading))
        return self.call.changed(new, **changes)

    def update_on_own_rows(self, formula: str) -> Self:
        """`update` a formula and keep the rows of this fit.

        Rows that were left out because a variable is missing in them stay out, even if the new
        formula does not have that variable: its fit can be compared with this one.

        Parameters
        ----------
        formula : str
            As for `update`.

        Examples
        --------
        >>> import lmm
        >>> d = lmm.load_dataset("sleepstudy")
        >>> d["x"] = (d["Days"] ** 2.0).where(d["Days"] > 2)
        >>> m = lmm.lmer("Reaction ~ Days + x + (1 | Subject)", d)
        >>> m.update(". ~ . - x").nobs, m.update_on_own_rows(". ~ . - x").nobs
        (180, 126)
        """
        return self.update(formula, **self._own_rows())

    @one_blas_thread
    def refit(self, y: Any) -> Self:
        """Fit the same model to another response.

        Parameters
        ----------
        y : (n,) array, Series, or table (n, 2)
            Response of the rows used, or of all rows that `subset` selects, in the form of the
            data's response or as proportions; a Series is put in the order of the data's labels.

        Raises
        ------
        DataError
            The length or the labels are others, a value is missing, or the family cannot have it.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff"))
        >>> round(m.refit(2.0 * m.y).sigma / m.sigma, 6)
        2.0
        """
        matrices = self.fit.matrices
        values = matrices.frame.response_values(self._proportions(y))
        self.fit.family.check(values, matrices.weights)
        return self._refitted(replace(self.call, response=values))

    @abstractmethod
    def _refitted(self, call: Request) -> Self:
        """The model of a request that differs by its response."""

    def _own_rows(self) -> dict[str, Any]:
        """The `subset` that selects the rows of this fit, where others were left out."""
        frame = self.fit.matrices.frame
        if len(frame.rows) == len(frame.selected):
            return {}
        if self.call.source is not None:
            raise DataError(
                f"{frame.n_omitted} rows of the source were left out for missing values, and a "
                "smaller model might not leave out the same ones: say by subset= which are complete"
            )
        used = np.zeros(Table.of(self.data).n, dtype=bool)
        used[frame.rows] = True
        return {"subset": used}

    def _proportions(self, y: Any) -> Any:
        """A new response as numbers: successes and failures as proportions, levels as 0 and 1."""
        response = self.fit.matrices.response
        kind, names = response.form.kind, response.form.names
        if kind == "counts" and np.ndim(y) == 2:
            table = pd.DataFrame(y)
            trials = table.sum(axis=1)
            known = response.weights if response.trials is None else response.trials
            if table.shape[1] != 2 or (len(trials) == len(known) and (trials != known).any()):
                raise DataError(
                    "y must hold successes and failures in two columns, which add up to the fit's "
                    "numbers of trials"
                )
            return table.iloc[:, 0] / trials.where(trials > 0, 1)
        if kind == "levels" and not np.issubdtype(np.asarray(y).dtype, np.number):
            levels = pd.Series(y).astype(str)
            if not levels.isin(names).all():
                strange = levels[~levels.isin(names)].iloc[0]
                raise DataError(
                    f"y holds {strange!r}, but its levels are {names[0]!r}, {names[1]!r}"
                )
            return (levels == names[1]).astype(float)
        if kind == "truth":
            return y.astype(float) if isinstance(y, pd.Series) else np.asarray(y, dtype=float)
        return y

    # Estimates ------------------------------------------------------------------------------------

    @property
    def beta(self) -> Vector:
        """Fixed effects, (p,)."""
        return self.fit.beta

    def fixef(self, add_dropped: bool = False) -> pd.Series[float]:
        """Fixed-effects estimates by name, (p,).

        Parameters
        ----------
        add_dropped : bool
            Whether to list the coefficients that were dropped too, as NaN in their places.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))
        >>> m.fixef().round(3).to_dict()
        {'(Intercept)': 251.405, 'Days': 10.467}
        """
        fixed = self.fit.matrices.fixed
        known = pd.Series(self.beta, index=pd.Index(fixed.names), dtype=float, copy=True)
        return known.reindex(list(fixed.full_names)) if add_dropped else known

    @property
    def bse(self) -> pd.Series[float]:
        """Standard errors of the fixed effects."""
        return pd.Series(np.sqrt(np.diag(self.fit.vcov)), index=self.fixef().index)

    @property
    def sigma(self) -> float:
        """Residual standard deviation, or root of the dispersion; 1 where there is none."""
        return self.fit.sigma

    @property
    def scale(self) -> float:
        """Residual variance or dispersion, sigma^2."""
        return self.sigma**2

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
    def tvalues(self) -> pd.Series[float]:
        """Fixed effects over their standard errors."""
        return self.fixef() / self.bse

    @property
    def params(self) -> pd.Series[float]:
        """Fixed effects; statsmodels' name of `fixef`."""
        return self.fixef()

    @property
    def llf(self) -> float:
        """Log-likelihood; statsmodels' name of `loglik`."""
        return self.loglik()

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

    # Rows -----------------------------------------------------------------------------------------

    def fitted(self) -> pd.Series[float]:
        """Means, given random effects, by row; padded after na_action="exclude".

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff"))
        >>> m.fitted().head(2).round(2).to_list()
        [1509.89, 1509.89]
        """
        return self._by_row(self.fit.fitted)

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

        write(path, self.fit, self.call)
