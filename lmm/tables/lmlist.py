"""A linear model per level of a grouping factor: lme4's ``lmList``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from lmm._types import Frozen, Matrix, Vector
from lmm.design import LmerControl
from lmm.errors import FormulaError, checked_level
from lmm.language import Binary, deparse, parse_tilde
from lmm.report.document import Document
from lmm.report.printed import Printed, PrintedTables, confidence_table
from lmm.report.tables import frame_cells, labels
from lmm.request import Request

__all__ = ["LmList", "lmlist"]


@dataclass(frozen=True, eq=False, repr=False)
class LmList(Printed, Frozen):
    """Separate least-squares fits, one per level.

    Attributes
    ----------
    formula : str
        The formula, such as ``Reaction ~ Days | Subject``.
    data_name : str or None
        Name of the data.
    levels : (l,) array of str
        Levels of the grouping factor.
    names : tuple of str
        Coefficients.
    estimates : (l, p) array
        Coefficients by level; NaN where a level cannot estimate one.
    unscaled : (l, p) array
        Diagonals of (X'X)^-1 by level.
    rss : (l,) array
        Residual sums of squares.
    df : (l,) array
        Residual degrees of freedom.
    nobs : int
        Number of observations.
    """

    formula: str
    data_name: str | None
    levels: np.ndarray
    names: tuple[str, ...]
    estimates: Matrix
    unscaled: Matrix
    rss: Vector
    df: Vector
    nobs: int

    @property
    def df_resid(self) -> int:
        """Residual degrees of freedom of all fits together."""
        return int(self.df.sum())

    @cached_property
    def sigma(self) -> float:
        """Pooled residual standard deviation."""
        return float(np.sqrt(self.rss.sum() / self.df_resid))

    @cached_property
    def sigmas(self) -> pd.Series[float]:
        """Residual standard deviation of each level's own fit; NaN without degrees of freedom."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return pd.Series(np.sqrt(self.rss / self.df), index=self.levels)

    def coef(self) -> pd.DataFrame:
        """Coefficients, levels by names."""
        return pd.DataFrame(self.estimates, index=self.levels, columns=list(self.names))

    def fixef(self) -> pd.Series[float]:
        """Means of the coefficients over levels."""
        return self.coef().mean()

    def summary(self) -> LmListSummary:
        """Coefficients with tests, by the pooled standard deviation."""
        from scipy.stats import t

        tables = {}
        errors = self.sigma * np.sqrt(self.unscaled)
        for j, name in enumerate(self.names):
            statistic = self.estimates[:, j] / errors[:, j]
            tables[name] = pd.DataFrame(
                {
                    "Estimate": self.estimates[:, j],
                    "Std. Error": errors[:, j],
                    "t value": statistic,
                    "Pr(>|t|)": 2.0 * t.sf(np.abs(statistic), self.df_resid),
                },
                index=self.levels,
            )
        return LmListSummary(self.formula, self.data_name, tables, self.sigma, self.df_resid)

    def confint(self, level: float = 0.95, pooled: bool = False) -> PrintedTables:
        """Confidence intervals, a table per coefficient.

        Parameters
        ----------
        level : float
            Coverage.
        pooled : bool
            Whether to use the pooled standard deviation and its degrees of freedom; by default
            each level's own, as lme4 does.
        """
        from scipy.stats import t

        sigmas = np.full(len(self.levels), self.sigma) if pooled else self.sigmas.to_numpy()
        df = np.full(len(self.levels), float(self.df_resid)) if pooled else self.df
        half = (t.ppf(0.5 + 0.5 * checked_level(level), df) * sigmas)[:, None] * np.sqrt(
            self.unscaled
        )
        lower, upper = self.estimates - half, self.estimates + half
        limits = np.stack([lower, upper], axis=-1)
        rows = labels(pd.Index(self.levels))
        return PrintedTables(
            {
                name: confidence_table(limits[:, j], rows, level).frame
                for j, name in enumerate(self.names)
            }
        )

    def document(self, *, digits: int = 7) -> Document:
        """The call, coefficients by level, and the pooled standard deviation."""
        total = self.df_resid + int(np.isfinite(self.estimates).sum())
        return Document(
            (
                f"Call: lmList(formula = {self.formula}, data = {self.data_name or 'data'}) ",
                frame_cells(self.coef(), digits, title="Coefficients:"),
                "",
                f"Degrees of freedom: {total} total; {self.df_resid} residual",
                f"Residual standard error: {self.sigma:.7g}",
            )
        )


@dataclass(frozen=True, eq=False, repr=False)
class LmListSummary(Printed):
    """Tests of every coefficient of every level.

    Attributes
    ----------
    formula : str
        The formula.
    data_name : str or None
        Name of the data.
    coefficients : mapping of str to DataFrame
        Per coefficient, ``Estimate``, ``Std. Error``, ``t value``, ``Pr(>|t|)`` by level.
    sigma : float
        Pooled residual standard deviation.
    df_resid : int
        Its degrees of freedom.
    """

    formula: str
    data_name: str | None
    coefficients: Mapping[str, pd.DataFrame]
    sigma: float
    df_resid: int

    def document(self, *, digits: int = 7) -> Document:
        """The call, a table per coefficient, and the pooled standard deviation."""
        tables = (
            frame_cells(table, digits, title=f"   {name} ")
            for name, table in self.coefficients.items()
        )
        df = f"on {self.df_resid} degrees of freedom"
        return Document(
            (
                "Call:",
                f"  Model: {self.formula} ",
                f"   Data: {self.data_name or 'data'} ",
                "",
                "Coefficients:",
                *tables,
                "",
                f"Residual standard error: {self.sigma:.7g} {df}",
                "",
            )
        )


def lmlist(
    formula: str,
    data: Any,
    **options: Any,
) -> LmList:
    """Fit a linear model to each level of a grouping factor by least squares.

    Parameters
    ----------
    formula : str
        Such as ``"Reaction ~ Days | Subject"``.
    data : table
        pandas, polars or pyarrow table, or a dict of arrays.
    **options
        ``weights, offset, subset, na_action, contrasts`` as for `lmm.lmer`.

    Returns
    -------
    LmList

    Raises
    ------
    FormulaError
        The formula has no ``| group``, or does not parse.
    DataError
        The data do not suit the formula.

    Notes
    -----
    The model matrix is made once for all data: bases such as ``poly(x, 2)`` are the same for every
    level, and so are the coefficients' meanings. lme4 makes them level by level.

    Examples
    --------
    >>> import lmm
    >>> fits = lmm.lmlist("Reaction ~ Days | Subject", lmm.load_dataset("sleepstudy"))
    >>> round(fits.sigma, 5)
    25.59182
    >>> fits.coef().head(2).round(3)
         (Intercept)    Days
    308      244.193  21.765
    309      205.055   2.262
    """
    left, right = parse_tilde(formula)
    if left is None or not (isinstance(right, Binary) and right.op == "|"):
        raise FormulaError("lmlist needs a formula of the form 'response ~ terms | group'.")
    mixed = f"{deparse(left)} ~ {deparse(right.left)} + (1 | {deparse(right.right)})"
    unchecked = LmerControl(check_nobs_vs_nlev="ignore", check_nobs_vs_nRE="ignore")
    request = Request.of(mixed, data, control=unchecked, **options)
    matrices = request.build()
    (term,) = matrices.terms
    response = matrices.response
    X, y = response.weighted(matrices.X), response.standardized(matrices.y)
    order = np.argsort(term.codes, kind="stable")
    rows = np.split(order, np.cumsum(np.bincount(term.codes))[:-1])
    fits = [_least_squares(X[part], y[part]) for part in rows]
    estimates, unscaled, rss, df = (np.array(values) for values in zip(*fits, strict=True))
    text = f"{deparse(left)} ~ {deparse(right)}"
    names = matrices.fixed.names
    return LmList(
        text, request.data_name, term.levels, names, estimates, unscaled, rss, df, matrices.n
    )


def _least_squares(X: Matrix, y: Vector) -> tuple[Vector, Vector, float, float]:
    """Coefficients, diagonal of (X'X)^-1, residual sum of squares and degrees of freedom."""
    from lmm.design.fixed import independent_columns

    kept = independent_columns(X)
    Q, R = np.linalg.qr(X[:, kept])
    inverse = np.linalg.inv(R)
    beta, unscaled = np.full((2, X.shape[1]), np.nan)
    beta[kept] = inverse @ (Q.T @ y)
    unscaled[kept] = np.einsum("ij,ij->i", inverse, inverse)
    residual = y - X[:, kept] @ beta[kept]
    return beta, unscaled, float(residual @ residual), float(len(y) - len(kept))
