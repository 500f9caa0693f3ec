"""What functions of a fitted model ask of it: the one description, by how much is asked.

The models themselves stand above these functions, which therefore know them by what they can do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, Self

import pandas as pd

from lmm._words import Ddf, IntervalMethod, TidyScale
from lmm.design.matrices import ModelMatrices
from lmm.fit import Fit
from lmm.formula import Formula
from lmm.plain_fit import PlainFit
from lmm.report.printed import PrintedTable
from lmm.report.random_effects import Coefficients, RandomEffects
from lmm.report.summary import Summary
from lmm.report.varcorr import VarCorr
from lmm.request import Request


class EstimatedModel(Protocol):
    """A fitted model, with random effects or without."""

    @property
    def fit(self) -> Fit | PlainFit:
        """Estimates as arrays."""

    @property
    def call(self) -> Request:
        """Data and options."""


class TabulatedModel(EstimatedModel, Protocol):
    """What tables of several models ask of each, with random effects or without."""

    @property
    def nobs(self) -> int:
        """Number of observations."""

    def aic(self) -> float:
        """Akaike's criterion."""

    def bic(self) -> float:
        """Schwarz's criterion."""

    def loglik(self) -> float:
        """Log-likelihood."""

    def refit_ml(self) -> Self:
        """The model fitted by maximum likelihood."""

    def tidy(
        self,
        effects: str = ...,
        *,
        conf_int: bool = ...,
        conf_level: float = ...,
        ddf: Ddf | None = ...,
        exponentiate: bool = ...,
    ) -> pd.DataFrame:
        """Its estimates in broom's columns."""


class Fitted(EstimatedModel, Protocol):
    """A fitted mixed model: its arrays, and how it was asked for."""

    @property
    def fit(self) -> Fit:
        """Estimates as arrays."""

    @property
    def call(self) -> Request:
        """Data and options; a request without data where it was put together from its parts."""

    @property
    def converged(self) -> bool:
        """Whether a verified optimum was reached."""

    def is_singular(self) -> bool:
        """Whether a covariance of random effects is singular."""

    def ranef(self, condvar: bool = False) -> RandomEffects:
        """Random effects."""

    def aic(self) -> float:
        """Akaike's criterion."""

    def bic(self) -> float:
        """Bayesian information criterion."""

    def loglik(self) -> float:
        """Log-likelihood."""


class Comparable(Fitted, Protocol):
    """A model that can be changed, and so compared with others."""

    @property
    def formula(self) -> Formula:
        """The formula."""

    @property
    def data_name(self) -> str | None:
        """Name of the data."""

    def refit_ml(self) -> Self:
        """The model fitted by maximum likelihood."""

    def update(self, formula: str | None = None, **changes: Any) -> Self:
        """The model with a changed formula or other arguments."""

    def refit(self, y: Any) -> Self:
        """The model of another response (n,)."""

    def update_on_own_rows(self, formula: str) -> Self:
        """The model with a changed formula, on the rows of this fit."""

    def on(self, matrices: ModelMatrices) -> Self:
        """The model of another design for the same response."""

    def lowered(self, others: Iterable[Fit]) -> Self:
        """The model, or one from the covariances of other fits, where its criterion is lower."""

    def least_squares(self, formula: str) -> Any:
        """A model without random effects, fitted to the rows of this one."""


class ReportedModel(Comparable, Protocol):
    """A model with its labelled tables, predictions and simulations."""

    @property
    def data(self) -> Any:
        """The data as given."""

    @property
    def nobs(self) -> int:
        """Number of observations."""

    @property
    def ngroups(self) -> dict[str, int]:
        """Number of levels of each grouping factor."""

    def summary(self, ddf: Ddf | None = None) -> Summary:
        """Coefficient table."""

    def varcorr(self) -> VarCorr:
        """Variance components."""

    def coef(self) -> Coefficients:
        """Coefficients by level."""

    def confint(
        self, parm: Any = None, level: float = 0.95, method: IntervalMethod = "profile"
    ) -> PrintedTable:
        """Confidence intervals."""

    def tidy(
        self,
        effects: str | Sequence[str] = ...,
        *,
        scales: TidyScale = ...,
        conf_int: bool = ...,
        conf_level: float = ...,
        conf_method: IntervalMethod = ...,
        ddf: Ddf | None = ...,
        exponentiate: bool = ...,
        variance_errors: bool = ...,
    ) -> pd.DataFrame:
        """Its estimates in broom's columns."""

    @property
    def predict(self) -> Callable[..., Any]:
        """Predicts rows; the options are those of the model's kind."""

    def bootstrap(
        self,
        nsim: int,
        seed: int | None = None,
        *,
        statistic: Callable[[Any], Any] | None = None,
        progress: bool | None = None,
    ) -> Any:
        """Replicates of the parameters, or of a statistic."""

    def cooks_distance(self) -> pd.Series[float]:
        """Cook's distance of each row."""
