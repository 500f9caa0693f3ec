"""A generalized linear model without random effects, as R's ``glm``, to compare glmer's with."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from lmm import _lapack
from lmm._types import Frozen, Matrix, Vector
from lmm.design import ModelMatrices
from lmm.design.choice import RowArgument
from lmm.design.table import Table
from lmm.errors import (
    ConvergenceWarning,
    DataError,
    NumericalError,
    checked_level,
    nearest,
    warn,
)
from lmm.family import Family
from lmm.family.base import Conditional
from lmm.likelihood import critical_value
from lmm.model.without_effects import WithoutEffects
from lmm.report.cells import named, wide_vector
from lmm.report.document import Document
from lmm.report.format import format_number, format_numbers
from lmm.report.printed import Printed, PrintedTable, confidence_table
from lmm.report.tables import labels
from lmm.request import offset_of

__all__ = ["GeneralizedLinearModel"]

# Relative changes of the log-likelihood at which scoring has converged, and steps at most.
TOLERANCE = 1e-12
STEPS = 100
# Probabilities nearer to 0 or 1 than this are taken as certain.
CERTAIN = 1e-10
HALVINGS = 30
# Largest logarithm of a shape: counts that are not overdispersed have no finite theta.
LARGE_XI = 20.0
KINDS = ("response", "deviance", "pearson", "working")


@dataclass(frozen=True, eq=False, repr=False)
class GeneralizedLinearModel(Frozen, Printed, WithoutEffects):
    """A generalized linear model fitted by maximum likelihood. Made by `lmm.glm`.

    Attributes
    ----------
    matrices : ModelMatrices
        Design and response, without random-effects terms.
    table : Table
        The data.
    family : Family
        Distribution of the response.
    beta : (p,) array
        Coefficients.
    xi : float
        Logarithm of the shape (a dispersion, or theta) at the maximum; 0 where there is none.
    null_deviance : float
        Deviance of the model with an intercept (or nothing) and the offset.
    given_offset : str, array or None
        What `lmm.glm` was given as offset.

    Examples
    --------
    >>> import lmm
    >>> cbpp = lmm.load_dataset("cbpp")
    >>> lmm.glm("cbind(incidence, size - incidence) ~ period", cbpp, "binomial")
    Call:
    glm(formula = cbind(incidence, size - incidence) ~ period, family = binomial, data = cbpp)
    <BLANKLINE>
    Coefficients:
    (Intercept)      period2      period3      period4
         -1.269       -1.171       -1.301       -1.782
    <BLANKLINE>
    Degrees of Freedom: 55 Total (i.e. Null);  52 Residual
    Null Deviance:     154.8
    Residual Deviance: 114.1  AIC: 206.1
    """

    matrices: ModelMatrices
    table: Table
    family: Family
    beta: Vector
    xi: float
    null_deviance: float
    given_offset: RowArgument = None

    @classmethod
    def of(
        cls,
        matrices: ModelMatrices,
        table: Table,
        family: Family,
        given_offset: RowArgument = None,
    ) -> GeneralizedLinearModel:
        """Fit a design.

        Raises
        ------
        DataError
            There are fewer rows than coefficients, or the responses are none of the family's.
        NumericalError
            The likelihood has no maximum that is found.
        """
        if matrices.n < matrices.p:
            raise DataError(
                f"{matrices.n} rows do not determine {matrices.p} coefficients: give more rows, or "
                "leave out terms"
            )
        response = matrices.response
        family.check(response.y, response.weights)
        beta, xi = _fitted(matrices, family, matrices.X)
        ones = np.ones((matrices.n, int(matrices.fixed.has_intercept)))
        null, null_xi = _fitted(matrices, family, ones)
        _check_separation(family, family.inverse(matrices.X @ beta + matrices.offset))
        # Deviances are compared at one shape.
        shape = family.shape_of(xi if family.shape_name == "theta" else null_xi)
        mean = family.inverse(ones @ null + matrices.offset)
        deviance = float(family.deviances(response.y, mean, response.weights, shape).sum())
        return cls(matrices, table, family, beta, xi, deviance, given_offset)

    # What anova asks of every model ---------------------------------------------------------------

    @property
    def n_parameters(self) -> int:
        """Coefficients, and a shape that is estimated."""
        return len(self.beta) + bool(self.family.shape_name)

    def loglik(self) -> float:
        """Log-likelihood at its maximum, over the shape too."""
        return _bound(self.matrices, self.family).loglik(self.linear, self.xi)

    # Estimates ------------------------------------------------------------------------------------

    @cached_property
    def linear(self) -> Vector:
        """Linear predictor, offsets included, (n,)."""
        return np.asarray(self.matrices.X @ self.beta + self.matrices.offset)

    @property
    def shape(self) -> float:
        """Dispersion or theta at the maximum of the likelihood; 1 where there is none."""
        return self.family.shape_of(self.xi)

    @cached_property
    def dispersion(self) -> float:
        """Pearson's chi-square over the residual degrees of freedom; 1 without a dispersion."""
        if not self.family.has_scale:
            return 1.0
        return float(np.sum(self._residuals("pearson") ** 2) / self.df_resid)

    def deviance(self) -> float:
        """Twice the log-likelihood that a perfect fit has more, without the dispersion."""
        return float(np.sum(self._residuals("deviance") ** 2))

    def vcov(self) -> pd.DataFrame:
        """Covariance of the coefficients by the expected information, (p, p)."""
        xi = 0.0 if self.family.has_scale else self.xi
        W = _bound(self.matrices, self.family).at(self.linear, xi, 0).expected[0]
        _, R = _lapack.qr(np.sqrt(W)[:, None] * self.matrices.X)
        root = _lapack.solve_upper(R, np.eye(len(self.beta)))
        names = pd.Index(self.matrices.fixed.names)
        return pd.DataFrame(self.dispersion * root @ root.T, index=names, columns=names)

    def fitted(self) -> pd.Series[float]:
        """Means, padded as `na_action` says."""
        return self._by_row(self.family.inverse(self.linear))

    def residuals(self, kind: str = "deviance") -> pd.Series[float]:
        """Residuals by row: ``"deviance"``, ``"response"``, ``"pearson"`` or ``"working"``.

        Raises
        ------
        ValueError
            The kind is another word.
        """
        if kind not in KINDS:
            raise ValueError(f"Unknown kind of residuals {kind!r}.{nearest(kind, KINDS)}")
        return self._by_row(self._residuals(kind))

    def _residuals(self, kind: str) -> Vector:
        y, weights = self.matrices.y, self.matrices.weights
        mean = self.family.inverse(self.linear)
        left = y - mean
        if kind == "deviance":
            squares = self.family.deviances(y, mean, weights, self.shape)
            return np.asarray(np.sign(left) * np.sqrt(np.maximum(squares, 0.0)))
        if kind == "pearson":
            return np.asarray(left * np.sqrt(weights / self.family.variance(mean, self.shape)))
        if kind == "working":
            return np.asarray(left / self.family.link_function.slope(self.linear))
        return np.asarray(left)

    def _by_row(self, values: Vector) -> pd.Series[float]:
        frame = self.matrices.frame
        return pd.Series(frame.pad(values), index=frame.labels)

    def predict(self, newdata: Any = None, *, type: str = "link") -> pd.Series[float]:
        """Linear predictors of the rows or of new ones, or means (``type="response"``).

        Raises
        ------
        DataError
            The new rows lack a column, or the offset was an array.
        ValueError
            The type is another word.
        """
        if type not in ("link", "response"):
            raise ValueError(f"type must be 'link' or 'response', not {type!r}.")
        if newdata is None:
            linear = self._by_row(self.linear)
        else:
            fixed = self.matrices.fixed
            mean = fixed.matrix(newdata) @ self.beta + fixed.offset(newdata)
            offset = offset_of(self.given_offset, newdata)
            mean = mean if offset is None else mean + offset
            index = newdata.index if isinstance(newdata, pd.DataFrame) else None
            linear = pd.Series(mean, index=index)
        if type == "link":
            return linear
        return pd.Series(self.family.inverse(linear.to_numpy()), index=linear.index)

    def confint(self, level: float = 0.95) -> PrintedTable:
        """Wald's intervals: normal ones, of t where there is a dispersion."""
        df = self.df_resid if self.family.has_scale else np.inf
        half = critical_value(checked_level(level), df) * np.sqrt(np.diag(self.vcov()))
        limits = np.column_stack([self.beta - half, self.beta + half])
        return confidence_table(limits, self.matrices.fixed.names, level)

    def summary(self) -> pd.DataFrame:
        """R's table of coefficients: ``Estimate Std. Error``, z or t values, p-values.

        Examples
        --------
        >>> import lmm
        >>> cbpp = lmm.load_dataset("cbpp")
        >>> counts = lmm.glm("incidence ~ period + offset(log(size))", cbpp, "poisson")
        >>> counts.summary().round(3)
                     Estimate  Std. Error  z value  Pr(>|z|)
        (Intercept)    -1.517       0.128  -11.846       0.0
        period2        -1.007       0.274   -3.670       0.0
        period3        -1.127       0.296   -3.804       0.0
        period4        -1.581       0.399   -3.961       0.0
        """
        from scipy.stats import norm, t

        error = np.sqrt(np.diag(self.vcov()))
        statistic = self.beta / error
        letter, tail = "z", norm.sf(np.abs(statistic))
        if self.family.has_scale:
            letter, tail = "t", t.sf(np.abs(statistic), self.df_resid)
        columns = {
            "Estimate": self.beta,
            "Std. Error": error,
            f"{letter} value": statistic,
            f"Pr(>|{letter}|)": 2.0 * tail,
        }
        return pd.DataFrame(columns, index=pd.Index(self.matrices.fixed.names))

    def document(self, *, digits: int = 4) -> Document:
        """R's print of a ``glm``."""
        data = "" if self.data_name is None else f", data = {self.data_name}"
        call = f"glm(formula = {self.formula}, family = {self.family.name}{data})"
        texts = format_numbers(self.beta, digits)
        names = labels(pd.Index(self.matrices.fixed.names))
        total = self.nobs - int(self.matrices.fixed.has_intercept)
        residual = format_number(self.deviance(), digits)
        return Document(
            (
                *("Call:", call, ""),
                named(names, texts, "Coefficients:", wide_vector),
                "",
                f"Degrees of Freedom: {total} Total (i.e. Null);  {self.df_resid} Residual",
                f"Null Deviance:     {format_number(self.null_deviance, digits)}",
                f"Residual Deviance: {residual}  AIC: {format_number(self.aic(), digits)}",
            )
        )


def _check_separation(family: Family, mean: Vector) -> None:
    """Warn of probabilities of 0 or 1."""
    certain = int(np.sum((mean < CERTAIN) | (mean > 1.0 - CERTAIN)))
    if family.name == "binomial" and certain:
        warn(
            ConvergenceWarning(
                f"{certain} fitted probabilities are 0 or 1: a predictor separates the responses, "
                "and its coefficient grows without limit."
            )
        )


def _bound(matrices: ModelMatrices, family: Family) -> Conditional:
    response = matrices.response
    return family.conditional(response.y, response.weights, response.trials)


def _fitted(matrices: ModelMatrices, family: Family, X: Matrix) -> tuple[Vector, float]:
    """Coefficients of columns X (n, p), and the logarithm of the shape, at the maximum."""
    response, bound = matrices.response, _bound(matrices, family)
    start = family.start_mean(response.y, response.weights)
    eta: Vector = family.link_function(start)
    beta: Vector = np.zeros(X.shape[1])
    xi = 0.0
    last = -np.inf
    for _ in range(STEPS):
        eta, beta = _scored(bound, X, matrices.offset, eta, xi, beta, np.isfinite(last))
        xi = _best_shape(bound, family, eta, xi)
        value = bound.loglik(eta, xi)
        if abs(value - last) <= TOLERANCE * (abs(value) + 1.0):
            return beta, xi
        last = value
    raise NumericalError(
        f"the coefficients have not settled after {STEPS} steps: responses that a predictor "
        "separates have no finite ones"
    )


def _scored(
    bound: Conditional,
    X: Matrix,
    offset: Vector,
    eta: Vector,
    xi: float,
    beta: Vector,
    started: bool,
) -> tuple[Vector, Vector]:
    """Linear predictor and coefficients after a step of Fisher's scoring, halved while it falls."""
    rows = bound.at(eta, xi, 0)
    W = rows.expected[0]
    root = np.sqrt(W)
    target = root * (eta - offset) + rows.score / np.where(root > 0.0, root, 1.0)
    Q, R = _lapack.qr(root[:, None] * X)
    new = _lapack.solve_upper(R, Q.T @ target)
    if started:
        floor = bound.loglik(X @ beta + offset, xi)
        for _ in range(HALVINGS):
            value = bound.loglik(X @ new + offset, xi)
            if np.isfinite(value) and value >= floor - TOLERANCE * abs(floor):
                break
            new = 0.5 * (new + beta)
    return np.asarray(X @ new + offset), np.asarray(new)


def _best_shape(bound: Conditional, family: Family, eta: Vector, xi: float) -> float:
    """Logarithm of the shape at the maximum for a linear predictor, by Newton's steps."""
    if not family.shape_name:
        return 0.0
    for _ in range(STEPS):
        shape = bound.at(eta, xi, 1).shape
        assert shape is not None
        step = float(np.clip(shape.first / max(abs(shape.second), 1e-8), -2.0, 2.0))
        xi = float(np.clip(xi + step, -LARGE_XI, LARGE_XI))
        if abs(step) < 1e-10:
            break
    return xi
