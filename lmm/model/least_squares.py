"""A linear model without random effects, as R's ``lm``: what mixed models are compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from lmm import _lapack
from lmm._types import Frozen, Matrix, Vector
from lmm.design import ModelMatrices, build_matrices
from lmm.design.choice import RowArgument
from lmm.design.table import Table
from lmm.errors import DataError, checked_level
from lmm.likelihood import critical_value
from lmm.model.without_effects import WithoutEffects
from lmm.report.cells import named, wide_vector
from lmm.report.document import Document
from lmm.report.format import format_numbers
from lmm.report.printed import AnovaTable, Printed, PrintedTable, confidence_table
from lmm.report.tables import labels
from lmm.request import Request, offset_of

__all__ = ["LinearModel"]


@dataclass(frozen=True, eq=False, repr=False)
class LinearModel(Frozen, Printed, WithoutEffects):
    """A model fitted by weighted least squares. Made by `lmm.lm`.

    Attributes
    ----------
    matrices : ModelMatrices
        Design and response, without random-effects terms.
    table : Table
        The data.
    beta : (p,) array
        Coefficients.
    root : (p, p) array
        ``(X'W X)^-1 = root root'``.
    rss : float
        Weighted residual sum of squares.
    given_offset : str, array or None
        What `lmm.lm` was given as offset.

    Examples
    --------
    >>> import lmm
    >>> lmm.lm("Reaction ~ Days", lmm.load_dataset("sleepstudy"))
    Call:
    lm(formula = Reaction ~ Days, data = sleepstudy)
    <BLANKLINE>
    Coefficients:
    (Intercept)         Days
         251.41        10.47
    """

    matrices: ModelMatrices
    table: Table
    beta: Vector
    root: Matrix
    rss: float
    given_offset: RowArgument = None

    @classmethod
    def of(
        cls, matrices: ModelMatrices, table: Table, given_offset: RowArgument = None
    ) -> LinearModel:
        """Fit a design.

        Raises
        ------
        DataError
            There are no more rows than coefficients.
        """
        response = matrices.response
        if matrices.n <= matrices.p:
            raise DataError(
                f"{matrices.n} rows do not determine {matrices.p} coefficients and a residual "
                "variance: give more rows, or leave out terms"
            )
        Q, R = _lapack.qr(response.weighted(matrices.X))
        target = response.standardized(response.y)
        beta = _lapack.solve_upper(R, Q.T @ target)
        residual = target - response.weighted(matrices.X) @ beta
        root = _lapack.solve_upper(R, np.eye(matrices.p))
        return cls(matrices, table, beta, root, float(residual @ residual), given_offset)

    @classmethod
    def like(cls, call: Request, formula: str) -> LinearModel:
        """Fit a formula without random terms to the data of a mixed model's call."""
        matrices = build_matrices(
            formula,
            call.table,
            weights=call.weights,
            offset=call.offset,
            subset=call.subset,
            na_action=call.na_action,
            contrasts=call.contrasts,
            control=call.control,
            extra_namespace=call.extra_namespace,
            mixed=False,
        )
        if call.response is not None:
            values = matrices.frame.response_values(call.response)
            matrices = matrices.with_response(values)
        return cls.of(matrices, Table.of(call.table), call.offset)

    # What anova asks of every model ---------------------------------------------------------------

    @property
    def n_parameters(self) -> int:
        """Coefficients and the residual variance."""
        return len(self.beta) + 1

    def loglik(self) -> float:
        """Log-likelihood at the maximum-likelihood residual variance ``rss / n``."""
        n = self.nobs
        weights = float(np.log(self.matrices.weights).sum())
        return 0.5 * (weights - n * (1.0 + float(np.log(2.0 * np.pi * self.rss / n))))

    # Estimates ------------------------------------------------------------------------------------

    @cached_property
    def sigma(self) -> float:
        """Residual standard deviation, ``sqrt(rss / (n - p))``."""
        return float(np.sqrt(self.rss / self.df_resid))

    def vcov(self) -> pd.DataFrame:
        """Covariance of the coefficients, (p, p)."""
        names = pd.Index(self.matrices.fixed.names)
        return pd.DataFrame(self.sigma**2 * self.root @ self.root.T, index=names, columns=names)

    def fitted(self) -> pd.Series[float]:
        """Fitted values, padded as `na_action` says."""
        return self.matrices.frame.by_row(self.matrices.X @ self.beta + self.matrices.offset)

    def residuals(self) -> pd.Series[float]:
        """Response minus fitted values, padded as `na_action` says."""
        fitted = self.matrices.X @ self.beta + self.matrices.offset
        return self.matrices.frame.by_row(self.matrices.y - fitted)

    def predict(self, newdata: Any = None) -> pd.Series[float]:
        """Fitted values, or means of new rows, offsets included.

        Raises
        ------
        DataError
            The new rows lack a column, or the model was fitted with an array as offset, which says
            nothing about them.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lm("Reaction ~ Days", lmm.load_dataset("sleepstudy"))
        >>> m.predict({"Days": [0.0, 10.0]}).round(2).tolist()
        [251.41, 356.08]
        """
        if newdata is None:
            return self.fitted()
        fixed = self.matrices.fixed
        mean = fixed.matrix(newdata) @ self.beta + fixed.offset(newdata)
        offset = offset_of(self.given_offset, newdata)
        mean = mean if offset is None else mean + offset
        index = newdata.index if isinstance(newdata, pd.DataFrame) else None
        return pd.Series(mean, index=index)

    def confint(self, level: float = 0.95) -> PrintedTable:
        """Intervals of the t distribution with the residual degrees of freedom."""
        level = checked_level(level)
        half = critical_value(level, self.df_resid) * np.sqrt(np.diag(self.vcov()))
        limits = np.column_stack([self.beta - half, self.beta + half])
        return confidence_table(limits, self.matrices.fixed.names, level)

    def summary(self) -> pd.DataFrame:
        """R's table of coefficients: ``Estimate Std. Error t value Pr(>|t|)``.

        Examples
        --------
        >>> import lmm
        >>> lmm.lm("Reaction ~ Days", lmm.load_dataset("sleepstudy")).summary().round(3)
                     Estimate  Std. Error  t value  Pr(>|t|)
        (Intercept)   251.405       6.610   38.033       0.0
        Days           10.467       1.238    8.454       0.0
        """
        from scipy.stats import t

        error = np.sqrt(np.diag(self.vcov()))
        statistic = self.beta / error
        return pd.DataFrame(
            {
                "Estimate": self.beta,
                "Std. Error": error,
                "t value": statistic,
                "Pr(>|t|)": 2.0 * t.sf(np.abs(statistic), self.df_resid),
            },
            index=pd.Index(self.matrices.fixed.names),
        )

    def anova(self) -> AnovaTable:
        """R's ``anova(lm)``: sequential sums of squares with F tests.

        Examples
        --------
        >>> import lmm
        >>> lmm.lm("Reaction ~ Days", lmm.load_dataset("sleepstudy")).anova()
        Analysis of Variance Table
        <BLANKLINE>
        Response: Reaction
                   Df Sum Sq Mean Sq F value    Pr(>F)
        Days        1 162703  162703  71.464 9.894e-15 ***
        Residuals 178 405252    2277
        ---
        Signif. codes:  0 ‘***’ 0.001 ‘**’ 0.01 ‘*’ 0.05 ‘.’ 0.1 ‘ ’ 1
        """
        fixed = self.matrices.fixed
        effects = _lapack.solve_upper(self.root, self.beta)
        own = {j: fixed.assign == j for j in sorted(set(fixed.assign.tolist()) - {0})}
        rows = {
            fixed.term_labels[j - 1]: self._test(
                int(chosen.sum()), float(np.sum(effects[chosen] ** 2))
            )
            for j, chosen in own.items()
        }
        df = self.df_resid
        rows["Residuals"] = [df, self.rss, self.rss / df, np.nan, np.nan]
        columns = ["Df", "Sum Sq", "Mean Sq", "F value", "Pr(>F)"]
        frame = pd.DataFrame.from_dict(rows, orient="index", columns=columns, dtype=float)
        heading = ("Analysis of Variance Table", "", f"Response: {self.formula.response}")
        return AnovaTable(frame, heading)

    def _test(self, df: int, sum_of_squares: float) -> list[float]:
        """Degrees of freedom, sum and mean of squares, F and its p-value."""
        from scipy.stats import f

        mean = sum_of_squares / df
        statistic = mean / self.sigma**2
        return [df, sum_of_squares, mean, statistic, float(f.sf(statistic, df, self.df_resid))]

    def drop1(self, scope: Sequence[str] | None = None) -> AnovaTable:
        """R's ``drop1(lm, test = "F")``: each term left out that no other contains.

        Parameters
        ----------
        scope : sequence of str, optional
            Terms to leave out, by label; by default all that may be.

        Raises
        ------
        DataError
            A term of `scope` is not in the model, or is contained in another.

        Examples
        --------
        >>> import lmm
        >>> lmm.lm("Reaction ~ Days", lmm.load_dataset("sleepstudy")).drop1()
        Single term deletions
        <BLANKLINE>
        Model:
        Reaction ~ Days
               Df Sum of Sq    RSS    AIC F value    Pr(>F)
        <none>              405252 1393.5
        Days    1    162703 567954 1452.2  71.464 9.894e-15 ***
        ---
        Signif. codes:  0 ‘***’ 0.001 ‘**’ 0.01 ‘*’ 0.05 ‘.’ 0.1 ‘ ’ 1
        """
        from lmm.tables.comparison import checked_scope

        missing = [np.nan] * 2
        rows = {"<none>": [*missing, self.rss, self._aic(self.rss, len(self.beta)), *missing]}
        for label in checked_scope(self.matrices.fixed, scope):
            rows[label] = self._deletion(label)
        columns = ["Df", "Sum of Sq", "RSS", "AIC", "F value", "Pr(>F)"]
        frame = pd.DataFrame.from_dict(rows, orient="index", columns=columns, dtype=float)
        return AnovaTable(frame, ("Single term deletions", "", "Model:", str(self.formula)))

    def _deletion(self, label: str) -> list[float]:
        from lmm.inference.fixed.term_contrasts import deletion_contrasts

        L = deletion_contrasts(self.matrices, label)
        if not len(L):
            return [0.0, 0.0, self.rss, self._aic(self.rss, len(self.beta)), np.nan, np.nan]
        change = np.linalg.lstsq(L @ self.root, L @ self.beta, rcond=None)[0]
        df, added, _, statistic, p_value = self._test(len(L), float(change @ change))
        rss = self.rss + added
        return [df, added, rss, self._aic(rss, len(self.beta) - len(L)), statistic, p_value]

    def _aic(self, rss: float, p: int) -> float:
        """R's ``extractAIC``, which leaves out constants."""
        return float(self.nobs * np.log(rss / self.nobs)) + 2.0 * p

    def document(self, *, digits: int = 4) -> Document:
        """R's print of an ``lm``."""
        data = "" if self.data_name is None else f", data = {self.data_name}"
        head = ("Call:", f"lm(formula = {self.formula}{data})", "")
        if not len(self.beta):
            return Document((*head, "No coefficients"))
        texts = format_numbers(self.beta, digits)
        names = labels(pd.Index(self.matrices.fixed.names))
        return Document((*head, named(names, texts, "Coefficients:", wide_vector)))
