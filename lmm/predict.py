"""Predictions for the rows of a fit or for new rows, with the variance of their errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import ndtri

from lmm._types import Vector
from lmm.design.rows import Rows, Selection, fitted_rows, index_of, new_rows, select
from lmm.fit import Fit
from lmm.formula import Formula
from lmm.joint import Effects, JointCovariance

__all__ = ["Prediction", "predict"]


@dataclass(frozen=True, eq=False)
class Prediction:
    """Predicted means of rows, with the parts of their uncertainty.

    Attributes
    ----------
    index : Index
        Labels of the rows.
    mean : (m,) array
        ``x'beta + offset + z'b``, or ``z'b`` alone.
    variance : (m,) array or None
        Variance of the error of the mean, where it was asked for.
    spread : (m,) array or None
        Further variance of a new observation: its residual, and the random effects that were not
        selected.
    """

    index: pd.Index
    mean: Vector
    variance: Vector | None = None
    spread: Vector | None = None

    def to_series(self) -> pd.Series[float]:
        """Return the means."""
        return pd.Series(self.mean, index=self.index)

    def to_frame(self, interval: str | None = None, level: float = 0.95) -> pd.DataFrame:
        """Return a table ``fit se [lower upper]``.

        Parameters
        ----------
        interval : {"confidence", "prediction"}, optional
            Limits for the mean, or for a new observation.
        level : float
            Coverage of the limits.

        Raises
        ------
        ValueError
            `interval` is another word, or `level` is not between 0 and 1.
        """
        if interval not in (None, "confidence", "prediction"):
            raise ValueError(
                f"interval must be None, 'confidence' or 'prediction', not {interval!r}."
            )
        if not 0.0 < level < 1.0:
            raise ValueError(f"level must lie between 0 and 1, not {level}.")
        assert self.variance is not None
        table = pd.DataFrame({"fit": self.mean, "se": np.sqrt(self.variance)}, index=self.index)
        if interval is not None:
            assert self.spread is not None
            total = self.variance + (self.spread if interval == "prediction" else 0.0)
            half = ndtri(0.5 + 0.5 * level) * np.sqrt(total)
            table["lower"], table["upper"] = self.mean - half, self.mean + half
        return table


def predict(
    fit: Fit,
    newdata: Any = None,
    re_form: str | Formula | None = None,
    *,
    allow_new_levels: bool = False,
    random_only: bool = False,
    variance: bool = False,
    offset: Vector | None = None,
) -> Prediction:
    """Predict rows, conditional on the estimated covariance parameters.

    Parameters
    ----------
    fit : Fit
        The fit.
    newdata : table, optional
        New rows; by default those of the fit, padded as `na_action` says.
    re_form : str or Formula, optional
        Random effects that take part, as `select` takes it; the others are set to zero.
    allow_new_levels : bool
        Whether unknown or missing levels count as new ones.
    random_only : bool
        Whether to leave out the fixed effects and the offset.
    variance : bool
        Whether to compute variances too.
    offset : (m,) array, optional
        Known part for new rows, beside the formula's offsets.
    """
    matrices = fit.matrices
    selection = select(matrices, re_form)
    if newdata is None:
        rows = fitted_rows(matrices)
    else:
        levels, columns = allow_new_levels, variance
        rows = new_rows(matrices, newdata, selection, levels, offset, all_columns=columns)
    mean = rows.random_part(fit.b, selection)
    if not random_only:
        mean += rows.fixed_part(fit.beta)
    error = spread = None
    if variance:
        X = np.zeros_like(rows.X) if random_only else rows.X
        error = JointCovariance(fit).variance(X, _effects(fit, rows, selection))
        spread = _spread(fit, rows, selection)
    if newdata is not None:
        return Prediction(index_of(newdata, rows.m), mean, error, spread)
    pad = matrices.frame.pad
    padded = [None if values is None else pad(values) for values in (error, spread)]
    return Prediction(matrices.frame.labels, pad(mean), *padded)


def _effects(fit: Fit, rows: Rows, selection: Selection) -> Effects:
    """Selected columns of each group's terms side by side, the others zero."""
    effects = {}
    for g, group in enumerate(fit.criterion.problem.groups):
        columns = np.zeros((len(rows.X), group.size))
        levels = None
        for i, part in group.members:
            codes, Z = rows.codes[i], rows.Z[i]
            if codes is not None and Z is not None:
                levels = codes
                columns[:, part] = np.where(selection[i], Z, 0.0)
        if levels is not None:
            effects[g] = levels, columns
    return effects


def _spread(fit: Fit, rows: Rows, selection: Selection) -> Vector:
    """Variance of a new observation around its predicted mean."""
    total = np.full(len(rows.X), fit.sigma**2)
    if rows.weights is not None:
        total /= rows.weights
    for Z, covariance, mask in zip(rows.Z, fit.covariances, selection, strict=True):
        if Z is not None and not mask.all():
            left_out = np.where(mask, 0.0, Z)
            total += np.einsum("ma,ab,mb->m", left_out, covariance, left_out)
    return total
