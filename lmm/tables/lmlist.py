"""A model without random effects per level of a grouping factor: lme4's ``lmList``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd

from lmm._types import Frozen, IntVector, Matrix, Vector, cached_property
from lmm.design import LmerControl
from lmm.design.codes import rows_by_level
from lmm.design.matrices import ModelMatrices
from lmm.errors import DataError, FormulaError, checked_level, nearest
from lmm.family import family_named
from lmm.formula import Formula, update_formula
from lmm.language.deparse import deparse
from lmm.language.parse import parse_tilde
from lmm.language.tree import Binary, Name, walk
from lmm.likelihood import critical_value
from lmm.report.document import Document
from lmm.report.printed import Printed, PrintedTables, confidence_table
from lmm.report.tables import frame_cells, labels
from lmm.request import GeneralizedRequest, Request, check_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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
    matrices : ModelMatrices
        Design, response and levels of all rows.
    call : Request
        Data and options as given.
    """

    formula: str
    data_name: str | None
    levels: np.ndarray
    names: tuple[str, ...]
    estimates: Matrix
    unscaled: Matrix
    rss: Vector
    df: Vector
    matrices: ModelMatrices
    call: Request

    @classmethod
    def of(cls, call: Request, text: str) -> Self:
        """Fit a model with one random intercept level by level; `text` is what it is called."""
        matrices = call.build()
        (term,) = matrices.terms
        response = matrices.response
        X, y = response.weighted(matrices.X), response.standardized(matrices.y)
        estimates, unscaled, rss, df = least_squares_by_level(X, y, term.codes)
        names = matrices.fixed.names
        return cls(
            text, call.data_name, term.levels, names, estimates, unscaled, rss, df, matrices, call
        )

    @property
    def has_sigma(self) -> bool:
        """Whether a residual variance or dispersion is estimated."""
        return True

    @property
    def nobs(self) -> int:
        """Number of observations."""
        return self.matrices.n

    @property
    def df_resid(self) -> int:
        """Residual degrees of freedom of all fits together."""
        return int(np.nansum(self.df))

    @cached_property
    def sigma(self) -> float:
        """Pooled residual standard deviation, or root of the dispersion; 1 where there is none."""
        return float(np.sqrt(np.nansum(self.rss) / self.df_resid)) if self.has_sigma else 1.0

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

    def fitted(self) -> pd.Series[float]:
        """Fitted values by row, each by its level's fit."""
        return self.matrices.frame.by_row(self._fitted())

    def residuals(self) -> pd.Series[float]:
        """Response minus fitted values, by row."""
        return self.matrices.frame.by_row(self.matrices.y - self._fitted())

    def _fitted(self) -> Vector:
        # Columns that a level cannot estimate depend on its others: they add nothing.
        own = np.nan_to_num(self.estimates)[self.matrices.terms[0].codes]
        return np.asarray(np.einsum("ij,ij->i", self.matrices.X, own) + self.matrices.offset)

    def predict(self, newdata: Any = None) -> pd.Series[float]:
        """Fitted values, or means of new rows of known levels.

        Parameters
        ----------
        newdata : table, optional
            The predictors and the grouping factor. Rows that need a coefficient which their level
            cannot estimate are predicted as NaN.

        Raises
        ------
        DataError
            A column is missing, or a level was not fitted.

        Examples
        --------
        >>> import lmm
        >>> fits = lmm.lmlist("Reaction ~ Days | Subject", lmm.load_dataset("sleepstudy"))
        >>> fits.predict({"Days": [0, 10], "Subject": ["308", "309"]}).round(2).to_list()
        [244.19, 227.67]
        """
        if newdata is None:
            return self.fitted()
        return self._linear_of(newdata)

    def _linear_of(self, newdata: Any) -> pd.Series[float]:
        """Linear predictors of new rows."""
        (term,) = self.matrices.terms
        codes, found = term.codes_for(newdata), term.labels_for(newdata)
        if (codes < 0).any():
            level = str(found[np.argmax(codes < 0)])
            raise DataError(
                f"{term.group!r} has the level {level!r} in newdata, which no model was fitted to."
                f"{nearest(level, [str(known) for known in self.levels])}"
            )
        fixed = self.matrices.fixed
        X = fixed.matrix(newdata)
        own = np.where(X == 0.0, 0.0, self.estimates[codes])
        mean = np.einsum("ij,ij->i", X, own) + fixed.offset(newdata)
        offset = self.call.offset_for(newdata)
        index = newdata.index if isinstance(newdata, pd.DataFrame) else None
        return pd.Series(mean if offset is None else mean + offset, index=index)

    def update(self, formula: str | None = None, **changes: Any) -> Self:
        """Fit again with another formula, other data or options.

        Parameters
        ----------
        formula : str, optional
            A formula with its ``| group``, in which dots stand for the old sides:
            ``". ~ . + I(Days^2) | Subject"``; without the bar the group stays.
        **changes
            Arguments of `lmm.lmlist` that change.

        Examples
        --------
        >>> import lmm
        >>> fits = lmm.lmlist("Reaction ~ Days | Subject", lmm.load_dataset("sleepstudy"))
        >>> fits.update(". ~ . - Days").formula
        'Reaction ~ 1 | Subject'
        """
        new = self.call.formula
        if formula is not None:
            check_names(formula.replace("|", "+"), changes.get("data", self.call.data))
            new = _changed(new, formula)
        text = self.formula if formula is None else _list_text(new)
        return self.of(self.call.changed(new, **changes), text)

    def summary(self) -> LmListSummary:
        """Coefficients with tests, by the pooled standard deviation."""
        from scipy.stats import t

        tables = {}
        errors = self.sigma * np.sqrt(self.unscaled)
        df = self.df_resid if self.has_sigma else np.inf
        letter = "t" if self.has_sigma else "z"
        for j, name in enumerate(self.names):
            statistic = self.estimates[:, j] / errors[:, j]
            tables[name] = pd.DataFrame(
                {
                    "Estimate": self.estimates[:, j],
                    "Std. Error": errors[:, j],
                    f"{letter} value": statistic,
                    f"Pr(>|{letter}|)": 2.0 * t.sf(np.abs(statistic), df),
                },
                index=self.levels,
            )
        sigma = self.sigma if self.has_sigma else None
        return LmListSummary(self.formula, self.data_name, tables, sigma, self.df_resid)

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
        sigmas = np.full(len(self.levels), self.sigma) if pooled else self.sigmas.to_numpy()
        df = np.full(len(self.levels), float(self.df_resid)) if pooled else self.df
        df = df if self.has_sigma else np.full(len(self.levels), np.inf)
        quantile = critical_value(checked_level(level), df)
        half = (quantile * sigmas)[:, None] * np.sqrt(self.unscaled)
        lower, upper = self.estimates - half, self.estimates + half
        return self._intervals(np.stack([lower, upper], axis=-1), level)

    def _intervals(self, limits: np.ndarray, level: float) -> PrintedTables:
        """Limits (l, p, 2), a table per coefficient."""
        rows = labels(pd.Index(self.levels))
        return PrintedTables(
            {
                name: confidence_table(limits[:, j], rows, level).frame
                for j, name in enumerate(self.names)
            }
        )

    def plot(self, level: float = 0.95, pooled: bool = False) -> list[Axes]:
        """Coefficients by level with their intervals, as nlme's ``plot(intervals(lmList))``.

        Parameters
        ----------
        level, pooled
            As for `confint`.

        Returns
        -------
        list of Axes
            One per coefficient, side by side.

        Examples
        --------
        >>> import lmm
        >>> fits = lmm.lmlist("Reaction ~ Days | Subject", lmm.load_dataset("sleepstudy"))
        >>> [ax.get_xlabel() for ax in fits.plot()]
        ['(Intercept)', 'Days']
        """
        from lmm.plots.canvas import panels
        from lmm.plots.means import Trace, estimates

        intervals = self.confint(level, pooled)
        axes = panels(len(self.names))
        names = [str(one) for one in self.levels]
        for j, (ax, name) in enumerate(zip(axes, self.names, strict=True)):
            trace = Trace(self.estimates[:, j], (intervals[name].to_numpy(),))
            estimates(names, trace, name, ax)
        return axes

    def document(self, *, digits: int = 7) -> Document:
        """The call, coefficients by level, and the pooled standard deviation."""
        return Document(
            (
                f"Call: lmList({', '.join(self._arguments)}) ",
                frame_cells(self.coef(), digits, title="Coefficients:"),
                "",
                *(self._pooled if self.has_sigma else ()),
            )
        )

    @property
    def _arguments(self) -> tuple[str, ...]:
        return (f"formula = {self.formula}", f"data = {self.data_name or 'data'}")

    @property
    def _pooled(self) -> tuple[str, str]:
        total = self.df_resid + int(np.isfinite(self.estimates).sum())
        return (
            f"Degrees of freedom: {total} total; {self.df_resid} residual",
            f"Residual standard error: {self.sigma:.7g}",
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
    sigma : float or None
        Pooled residual standard deviation, if there is one.
    df_resid : int
        Its degrees of freedom.
    """

    formula: str
    data_name: str | None
    coefficients: Mapping[str, pd.DataFrame]
    sigma: float | None
    df_resid: int

    def document(self, *, digits: int = 7) -> Document:
        """The call, a table per coefficient, and the pooled standard deviation."""
        tables = (
            frame_cells(table, digits, title=f"   {name} ")
            for name, table in self.coefficients.items()
        )
        spread: tuple[str, ...] = ()
        if self.sigma is not None:
            df = f"on {self.df_resid} degrees of freedom"
            spread = (f"Residual standard error: {self.sigma:.7g} {df}", "")
        return Document(
            (
                "Call:",
                f"  Model: {self.formula} ",
                f"   Data: {self.data_name or 'data'} ",
                "",
                "Coefficients:",
                *tables,
                "",
                *spread,
            )
        )


def lmlist(formula: str, data: Any, family: Any = None, **options: Any) -> LmList:
    """Fit a model without random effects to each level of a grouping factor.

    Parameters
    ----------
    formula : str
        Such as ``"Reaction ~ Days | Subject"``.
    data : table
        pandas, polars or pyarrow table, or a dict of arrays.
    family : str or Family, optional
        Distribution of the response, as for `lmm.glmer`; by default linear models, by least
        squares.
    **options
        ``weights, offset, subset, na_action, contrasts, extra_namespace`` as for `lmm.lmer`.

    Returns
    -------
    LmList, or GlmList for a family

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
    >>> counts = {"n": [1, 2, 4, 3, 0, 2, 1, 5], "x": [0, 1, 2, 3] * 2, "g": list("aaaabbbb")}
    >>> lmm.lmlist("n ~ x | g", counts, "poisson").coef().round(3)
       (Intercept)      x
    a        0.355  0.330
    b       -0.941  0.828
    """
    left, right = parse_tilde(formula)
    if left is None or not (isinstance(right, Binary) and right.op == "|"):
        raise FormulaError("lmlist needs a formula of the form 'response ~ terms | group'.")
    mixed = f"{deparse(left)} ~ {deparse(right.left)} + (1 | {deparse(right.right)})"
    unchecked = LmerControl(check_nobs_vs_nlev="ignore", check_nobs_vs_nRE="ignore")
    text = f"{deparse(left)} ~ {deparse(right)}"
    if family is None or family_named(family).is_gaussian_identity:
        return LmList.of(Request.of(mixed, data, control=unchecked, **options), text)
    from lmm.tables.glm_list import GlmList

    options |= {"family": family, "control": unchecked}
    return GlmList.of(GeneralizedRequest.of(mixed, data, **options), text)


def least_squares_by_level(
    X: Matrix, y: Vector, codes: IntVector
) -> tuple[Matrix, Matrix, Vector, Vector]:
    """Fit each level alone.

    Parameters
    ----------
    X, y : (n, p) and (n,) arrays
        Columns and response, weighted.
    codes : (n,) int array
        Level of each row.

    Returns
    -------
    tuple of (l, p), (l, p), (l,) and (l,) arrays
        Coefficients (NaN where a level cannot estimate one), diagonals of (X'X)^-1, residual sums
        of squares and degrees of freedom.
    """
    fits = [_least_squares(X[rows], y[rows]) for rows in rows_by_level(codes)]
    estimates, unscaled, rss, df = (np.array(values) for values in zip(*fits, strict=True))
    return estimates, unscaled, rss, df


def _changed(old: Formula, change: str) -> Formula:
    """A formula with one random intercept, changed by a formula that may have a ``| group``."""
    left, right = parse_tilde(change)
    fixed, former = right, deparse(old.random[0].group)
    new = former
    if isinstance(right, Binary) and right.op == "|":
        fixed, new = right.left, deparse(right.right)
    change = f"{'.' if left is None else deparse(left)} ~ {deparse(fixed)}"
    if Name(".") not in walk(fixed):
        change += f" + (1 | {new})"
    elif new != former:
        change += f" - (1 | {former}) + (1 | {new})"
    return update_formula(old, change)


def _list_text(formula: Formula) -> str:
    """``response ~ terms | group`` of a formula with one random intercept."""
    terms = formula.terms()
    constant = [] if terms.intercept and terms.terms else ["1" if terms.intercept else "0"]
    offsets = [deparse(offset) for offset in formula.offsets]
    right = " + ".join([*constant, *terms.labels, *offsets])
    return f"{formula.response} ~ {right} | {deparse(formula.random[0].group)}"


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
