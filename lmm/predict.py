"""Predictions for the rows of a fit or for new rows, with the variance of their errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import ndtri

from lmm._types import IntVector, Matrix, Vector
from lmm.design.fixed import Predictor, lay_out
from lmm.design.matrices import ModelMatrices, ReTerm
from lmm.errors import DataError, nearest
from lmm.fit import Fit
from lmm.formula import Formula, expand_terms, parse_one_sided
from lmm.joint import Effects, JointCovariance

__all__ = ["Prediction", "Rows", "Selection", "fitted_rows", "new_rows", "predict", "select"]

Selection = tuple[np.ndarray, ...]
"""Per random-effects term, which of its columns take part: (k_i,) bool each."""


@dataclass(frozen=True, eq=False)
class Rows:
    """Model matrices of the rows to predict.

    Attributes
    ----------
    X : (m, p) array
        Fixed effects.
    offset : (m,) array or None
        Known part.
    weights : (m,) array or None
        Prior weights of new observations; None for ones.
    codes : tuple of (m,) int arrays, or None
        Level of each row per term, -1 where it is unknown; None for terms that are not needed.
    Z : tuple of (m, k_i) arrays, or None
        Columns per term; None for terms that are not needed.
    """

    X: Matrix
    offset: Vector | None
    weights: Vector | None
    codes: tuple[IntVector | None, ...]
    Z: tuple[Matrix | None, ...]


def select(matrices: ModelMatrices, re_form: str | Formula | None) -> Selection:
    """Random effects that a formula selects: all for None, none for ``"~0"``.

    Parameters
    ----------
    matrices : ModelMatrices
        The model.
    re_form : str, Formula or None
        One-sided formula of random terms, such as ``"~ (1 | Subject)"``; its columns are looked
        up by name among those of the model's terms for the same grouping factor.

    Raises
    ------
    FormulaError
        The formula does not parse.
    DataError
        It names a grouping factor or an effect that the model does not have.
    """
    if re_form is None:
        return tuple(np.ones(term.size, dtype=bool) for term in matrices.terms)
    chosen = [np.zeros(term.size, dtype=bool) for term in matrices.terms]
    for bar in parse_one_sided(re_form).random:
        predictor = Predictor.of(expand_terms(bar.effects))
        for name in _effect_names(predictor, matrices, str(bar)):
            found = False
            for mask, term in zip(chosen, matrices.terms, strict=True):
                if term.group == bar.group_text and name in term.columns:
                    mask[term.columns.index(name)] = found = True
            if not found:
                raise _unknown_effect(name, bar.group_text, matrices)
    return tuple(chosen)


def _effect_names(predictor: Predictor, matrices: ModelMatrices, bar: str) -> tuple[str, ...]:
    columns = matrices.frame.columns
    for variable in predictor.variables:
        if variable not in columns:
            raise DataError(
                f"re_form has the term ({bar}), but the model has no variable {variable!r}."
                f"{nearest(variable, columns)}"
            )
    return lay_out(predictor, columns).names


def _unknown_effect(name: str, group: str, matrices: ModelMatrices) -> DataError:
    known = [term for term in matrices.terms if term.group == group]
    if not known:
        groups = dict.fromkeys(term.group for term in matrices.terms)
        return DataError(
            f"re_form names the grouping factor {group!r}, which the model does not have."
            f"{nearest(group, groups)}"
        )
    effects = [column for term in known for column in term.columns]
    return DataError(
        f"re_form names the random effect {name!r} of {group!r}, which the model does not have."
        f"{nearest(name, effects)}"
    )


def fitted_rows(matrices: ModelMatrices) -> Rows:
    """The rows that the model was fitted to."""
    terms = matrices.terms
    return Rows(
        matrices.X,
        matrices.offset,
        matrices.weights,
        tuple(term.codes for term in terms),
        tuple(term.Z for term in terms),
    )


def new_rows(
    matrices: ModelMatrices,
    data: Any,
    selection: Selection,
    allow_new_levels: bool = False,
    offset: Vector | None = None,
    *,
    all_columns: bool = False,
) -> Rows:
    """Rows of new data; missing values give NaN.

    Parameters
    ----------
    matrices : ModelMatrices
        The model.
    data : table
        The columns that the fixed effects and the selected random effects use.
    selection : Selection
        Random effects that take part.
    allow_new_levels : bool
        Whether unknown or missing levels of a selected grouping factor count as new ones.
    offset : (m,) array, optional
        Known part, beside the formula's offsets.
    all_columns : bool
        Whether the columns of unselected terms are wanted too.

    Raises
    ------
    DataError
        A column is missing, a factor of the fixed part has an unknown level, or a grouping factor
        has one and `allow_new_levels` is false.
    """
    known = [part for part in (matrices.fixed.offset(data), offset) if part is not None]
    codes: list[IntVector | None] = []
    columns: list[Matrix | None] = []
    by_group: dict[str, IntVector] = {}
    for term, mask in zip(matrices.terms, selection, strict=True):
        if mask.any() and term.group not in by_group:
            by_group[term.group] = _codes(term, data, allow_new_levels)
        codes.append(by_group[term.group] if mask.any() else None)
        columns.append(term.matrix(data) if mask.any() or all_columns else None)
    total = np.sum(known, axis=0) if known else None
    return Rows(matrices.fixed.matrix(data), total, None, tuple(codes), tuple(columns))


def _codes(term: ReTerm, data: Any, allow_new_levels: bool) -> IntVector:
    codes = term.codes_for(data)
    if allow_new_levels or (codes >= 0).all():
        return codes
    labels = term.labels_for(data)[codes < 0]
    new = list(dict.fromkeys(label for label in labels if label is not None))
    if not new:
        raise DataError(
            f"the grouping factor {term.group!r} is missing in {len(labels)} rows of newdata. NAs "
            "are not allowed in prediction data for grouping variables unless allow_new_levels "
            "is True: such rows then get random effects of zero"
        )
    listed = ", ".join(map(str, new[:10])) + (", ..." if len(new) > 10 else "")
    raise DataError(
        f"new levels detected in newdata: {listed} ({len(new)} of grouping factor {term.group!r})."
        " Set allow_new_levels=True to predict them with random effects of zero"
    )


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
    mean = _mean(fit, rows, selection, random_only)
    error = spread = None
    if variance:
        X = np.zeros_like(rows.X) if random_only else rows.X
        error = JointCovariance(fit).variance(X, _effects(fit, rows, selection))
        spread = _spread(fit, rows, selection)
    if newdata is not None:
        native = getattr(newdata, "index", None)
        index = native if isinstance(native, pd.Index) else pd.RangeIndex(len(mean))
        return Prediction(index, mean, error, spread)
    pad = matrices.frame.pad
    padded = [None if values is None else pad(values) for values in (error, spread)]
    return Prediction(matrices.frame.labels, pad(mean), *padded)


def _mean(fit: Fit, rows: Rows, selection: Selection, random_only: bool) -> Vector:
    mean = np.zeros(len(rows.X)) if random_only else rows.X @ fit.beta
    if rows.offset is not None and not random_only:
        mean = mean + rows.offset
    for codes, Z, effect, mask in zip(rows.codes, rows.Z, fit.b, selection, strict=True):
        if codes is None or Z is None:
            continue
        b = np.vstack([effect, np.zeros(len(mask))])  # the last row is that of unknown levels
        for a in np.flatnonzero(mask):
            mean = mean + Z[:, a] * b[codes, a]
    return mean


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
