"""Estimates from several completed data sets as one: Rubin's rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd

from lmm._types import Matrix, Vector
from lmm.errors import DataError, checked_level, nearest
from lmm.likelihood import critical_value
from lmm.plain_fit import PlainFit
from lmm.report.document import Document
from lmm.report.printed import PrintedTable, TableLike, confidence_table
from lmm.report.tables import frame_cells

DF = ("residual", "satterthwaite", "asymptotic")


class Poolable(Protocol):
    """A fitted model, mixed or not."""

    @property
    def nobs(self) -> int:
        """Number of observations."""

    def fixef(self) -> pd.Series[float]:
        """Fixed effects."""

    def vcov(self) -> pd.DataFrame:
        """Their covariance."""


@dataclass(frozen=True, eq=False, repr=False)
class Pooled(TableLike):
    """Fixed effects of the same model fitted to m completed data sets. Made by `lmm.pool`.

    Attributes
    ----------
    names : tuple of str
        Names of the p fixed effects.
    estimates : (m, p) array
        Estimates by data set.
    covariances : (m, p, p) array
        Their covariance matrices.
    df_complete : (p,) array
        Degrees of freedom that complete data would have.

    Notes
    -----
    With the mean U of the covariances and the covariance B of the estimates,
    ``T = U + (1 + 1/m) B`` is the covariance of the mean estimates (Rubin, 1987, Multiple
    Imputation for Nonresponse in Surveys, eqn. 3.1.5). Degrees of freedom are those of Barnard and
    Rubin (1999), Biometrika 86, 948-955, eqn. 3.
    """

    names: tuple[str, ...]
    estimates: Matrix
    covariances: Matrix
    df_complete: Vector

    @property
    def m(self) -> int:
        """Number of data sets."""
        return len(self.estimates)

    def fixef(self) -> pd.Series[float]:
        """Mean estimates by name."""
        return pd.Series(self.estimates.mean(axis=0), index=list(self.names))

    @property
    def within(self) -> Matrix:
        """Mean covariance U of the estimates, (p, p)."""
        return np.asarray(self.covariances.mean(axis=0))

    @property
    def between(self) -> Matrix:
        """Covariance B of the estimates between data sets, (p, p)."""
        return np.atleast_2d(np.cov(self.estimates, rowvar=False))

    def vcov(self) -> pd.DataFrame:
        """Covariance ``T`` of the mean estimates, (p, p)."""
        total = self.within + (1.0 + 1.0 / self.m) * self.between
        return pd.DataFrame(total, index=list(self.names), columns=list(self.names))

    def variances(self) -> pd.DataFrame:
        """Parts of the variances, with the columns of R's mice.

        ``ubar``: within data sets; ``b``: between them; ``t``: of the mean; ``dfcom``: degrees of
        freedom of complete data; ``df``: those of the mean; ``riv``: relative increase of variance
        by what is missing; ``lambda``: its share of ``t``; ``fmi``: fraction of missing
        information.
        """
        ubar, b = np.diag(self.within), np.diag(self.between)
        extra = (1.0 + 1.0 / self.m) * b
        share = extra / (ubar + extra)
        df = barnard_rubin(share, self.df_complete, self.m)
        riv = extra / ubar
        fmi = (riv + 2.0 / (df + 3.0)) / (riv + 1.0)
        columns = {"ubar": ubar, "b": b, "t": ubar + extra, "dfcom": self.df_complete, "df": df}
        columns |= {"riv": riv, "lambda": share, "fmi": fmi}
        return pd.DataFrame(columns, index=list(self.names))

    def to_frame(self) -> pd.DataFrame:
        """Tests of the mean estimates: ``estimate std.error statistic df p.value``."""
        from scipy.stats import t

        parts = self.variances()
        error = np.sqrt(parts["t"])
        statistic = self.fixef() / error
        return pd.DataFrame(
            {
                "estimate": self.fixef(),
                "std.error": error,
                "statistic": statistic,
                "df": parts["df"],
                "p.value": 2.0 * t.sf(np.abs(statistic), parts["df"]),
            }
        )

    def confint(self, level: float = 0.95) -> PrintedTable:
        """Intervals of the t distribution."""
        parts, centre = self.variances(), self.fixef().to_numpy()
        half = critical_value(checked_level(level), parts["df"]) * np.sqrt(parts["t"].to_numpy())
        return confidence_table(np.column_stack([centre - half, centre + half]), self.names, level)

    def document(self, *, digits: int = 6) -> Document:
        """The tests."""
        head = f"Fixed effects pooled over {self.m} data sets"
        return Document((head, frame_cells(self.to_frame(), digits)))


def barnard_rubin(share: Vector, df_complete: Vector, m: int) -> Vector:
    """Degrees of freedom (p,) of means over m data sets.

    Parameters
    ----------
    share : (p,) array
        Share of the variance that is due to what is missing.
    df_complete : (p,) array
        Degrees of freedom of complete data; infinite for normal tests.
    m : int
        Number of data sets.

    Examples
    --------
    >>> barnard_rubin(np.array([0.5]), np.array([np.inf]), 5)
    array([16.])
    """
    with np.errstate(divide="ignore"):
        old = (m - 1) / share**2
        reciprocal = 1.0 / df_complete
        observed = (1.0 + reciprocal) / (1.0 + 3.0 * reciprocal) * (1.0 - share) / reciprocal
        return np.asarray(1.0 / (1.0 / old + 1.0 / observed))


def pool(models: Sequence[Poolable], df: str | float = "residual") -> Pooled:
    """Pool the fixed effects of one model fitted to several completed data sets.

    Parameters
    ----------
    models : sequence of models
        At least two of `lmm.lmer`, `lmm.glmer` or `lmm.lm`, of the same formula.
    df : {"residual", "satterthwaite", "asymptotic"} or float
        Degrees of freedom of complete data: rows minus all parameters, as R's mice takes for
        mixed models; the mean of Satterthwaite's over the data sets; infinite; or a number.

    Returns
    -------
    Pooled

    Raises
    ------
    DataError
        The models have other fixed effects than the first.
    TypeError
        What is given is not a list of fitted models.
    ValueError
        There are fewer than two models, or `df` is unknown.

    Examples
    --------
    >>> import lmm
    >>> d = lmm.load_dataset("sleepstudy")
    >>> noise = [np.random.default_rng(k).normal(0, 5, len(d)) for k in range(3)]
    >>> completed = [d.assign(Reaction=d["Reaction"] + part) for part in noise]
    >>> fits = [lmm.lmer("Reaction ~ Days + (Days | Subject)", each) for each in completed]
    >>> lmm.pool(fits, df="satterthwaite").to_frame()["df"].round(1).to_list()
    [15.3, 15.3]
    """
    if hasattr(models, "fixef"):
        raise TypeError("pool takes a list of fitted models, one for each data set, not a model.")
    models = list(models)
    if len(models) < 2:
        raise ValueError(f"pool needs the model on at least two data sets, not {len(models)}.")
    for model in models:
        if not (hasattr(model, "fixef") and hasattr(model, "vcov")):
            raise TypeError(f"pool takes fitted models, not {type(model).__name__}.")
    names = tuple(models[0].fixef().index)
    for i, model in enumerate(models, start=1):
        if tuple(model.fixef().index) != names:
            raise DataError(
                f"model {i} has the fixed effects {', '.join(model.fixef().index)}, the first one "
                f"{', '.join(names)}: pool the same formula, with the same levels in every data set"
            )
    estimates = np.array([model.fixef().to_numpy() for model in models])
    covariances = np.array([model.vcov().to_numpy() for model in models])
    complete = np.mean([_complete_df(model, df) for model in models], axis=0)
    return Pooled(names, estimates, covariances, np.broadcast_to(complete, (len(names),)))


def _complete_df(model: Any, df: str | float) -> Any:
    """Degrees of freedom of one fit, a number or (p,)."""
    if not isinstance(df, str):
        if not isinstance(df, int | float | np.number) or not df > 0.0:
            raise ValueError(f"df must be a positive number or one of {', '.join(DF)}, not {df!r}.")
        return float(df)
    if df not in DF:
        raise ValueError(f"Unknown degrees of freedom {df!r}.{nearest(df, DF)}")
    if df == "asymptotic":
        return np.inf
    if df == "residual" or isinstance(getattr(model, "fit", None), PlainFit):
        return float(model.df_resid)  # those of least squares are exact
    return model.summary("satterthwaite").coefficients["df"].to_numpy()
