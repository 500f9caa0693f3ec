"""The rows that a model predicts or simulates: those of its fit, or new ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from lmm._types import IntVector, Matrix, Vector
from lmm.covariance import OrnsteinUhlenbeck
from lmm.design.layout import Predictor, lay_out
from lmm.design.matrices import ModelMatrices, ReTerm
from lmm.errors import DataError, nearest
from lmm.formula import Formula, expand_terms, parse_one_sided

Selection: TypeAlias = tuple[np.ndarray, ...]
"""Per random-effects term, which of its columns take part: (k_i,) bool each."""


@dataclass(frozen=True, eq=False)
class Rows:
    """Model matrices of the rows to predict.

    Attributes
    ----------
    X : (m, p) array
        Fixed effects.
    offset : (m,) array
        Known part.
    weights : (m,) array
        Prior weights of the observations.
    codes : tuple of (m,) int arrays, or None
        Level of each row per term, -1 where it is unknown; None for terms that are not needed.
    Z : tuple of (m, k_i) arrays, or None
        Columns per term; None for terms that are not needed.
    times : tuple of (m,) arrays, or None
        Times per term at which it has no column (`lmm.covariance.OrnsteinUhlenbeck`), NaN for
        other rows; None where there are none.
    """

    X: Matrix
    offset: Vector
    weights: Vector
    codes: tuple[IntVector | None, ...]
    Z: tuple[Matrix | None, ...]
    times: tuple[Vector | None, ...] = ()

    def interpolated(
        self, matrices: ModelMatrices, theta: Vector
    ) -> tuple[Rows, tuple[Vector | None, ...]]:
        """Rows with columns for the times that have none, at covariance parameters theta.

        With the variance over sigma^2, (m,) per term, that the effects at such a time have beyond
        what those at the term's own times tell.
        """
        if not any(times is not None for times in self.times):
            return self, (None,) * len(self.Z)
        columns: list[Matrix | None] = list(self.Z)
        left: list[Vector | None] = [None] * len(self.Z)
        for i, (term, part) in enumerate(zip(matrices.terms, matrices.theta_slices, strict=True)):
            times, Z = self.times[i], columns[i]
            if times is None or Z is None or not isinstance(term.covariance, OrnsteinUhlenbeck):
                continue
            new = np.isfinite(times)
            weights, rest = term.covariance.between(theta[part], times[new])
            filled, untold = Z.copy(), np.zeros(self.m)
            filled[new], untold[new] = weights, rest
            columns[i], left[i] = filled, untold
        return replace(self, Z=tuple(columns), times=()), tuple(left)

    @property
    def m(self) -> int:
        """Number of rows."""
        return len(self.X)

    def fixed_part(self, beta: Vector) -> Vector:
        """``x'beta + offset``, (m,)."""
        return self.X @ beta + self.offset

    def random_part(self, effects: Sequence[Matrix], selection: Selection) -> Vector:
        """``z'b`` of the selected columns, (m,), for effects (l_i, k_i) per term."""
        total = np.zeros(self.m)
        for codes, Z, effect, mask in zip(self.codes, self.Z, effects, selection, strict=True):
            if codes is None or Z is None:
                continue
            b = np.vstack([effect, np.zeros(len(mask))])  # the last row is that of unknown levels
            for a in np.flatnonzero(mask):
                total += Z[:, a] * b[codes, a]
        return total


def index_of(data: Any, m: int) -> pd.Index:
    """Labels of the m rows of new data: those of a pandas table, else positions."""
    index = getattr(data, "index", None)
    return index if isinstance(index, pd.Index) else pd.RangeIndex(m)


def select(matrices: ModelMatrices, re_form: str | Formula | None) -> Selection:
    """Random effects that a formula selects: all for None, none for ``"~0"`` (or R's NA).

    Parameters
    ----------
    matrices : ModelMatrices
        The model.
    re_form : str, Formula or None
        One-sided formula of random terms, such as ``"~ (1 | Subject)"``; its columns are looked
        up by name among those of the model's terms for the same grouping factor.

    Raises
    ------
    TypeError
        It is neither a formula nor missing.
    FormulaError
        The formula does not parse.
    DataError
        It names a grouping factor or an effect that the model does not have.
    """
    if re_form is None:
        return tuple(np.ones(term.size, dtype=bool) for term in matrices.terms)
    if _is_na(re_form):
        re_form = "~0"
    if not isinstance(re_form, str | Formula):
        raise TypeError(
            "re_form must be None (all random effects), '~0' (none) or a formula such as "
            f"'~ (1 | g)', not {re_form!r}."
        )
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


def _is_na(re_form: Any) -> bool:
    """Whether it is R's NA, which selects no random effect."""
    if isinstance(re_form, float):
        return bool(np.isnan(re_form))
    return re_form is pd.NA or (isinstance(re_form, str) and re_form.strip(" ~") == "NA")


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
    weights: Vector | None = None,
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
    weights : (m,) array, optional
        Prior weights; ones by default.
    all_columns : bool
        Whether the columns of unselected terms are wanted too.

    Raises
    ------
    DataError
        A column is missing, a factor of the fixed part has an unknown level, or a grouping factor
        has one and `allow_new_levels` is false.
    """
    X = matrices.fixed.matrix(data)
    known = matrices.fixed.offset(data)
    codes: list[IntVector | None] = []
    columns: list[Matrix | None] = []
    times: list[Vector | None] = []
    by_group: dict[str, IntVector] = {}
    for term, mask in zip(matrices.terms, selection, strict=True):
        if mask.any() and term.group not in by_group:
            by_group[term.group] = _codes(term, data, allow_new_levels)
        codes.append(by_group[term.group] if mask.any() else None)
        Z, other = term.times_for(data) if mask.any() or all_columns else (None, None)
        columns.append(Z)
        times.append(other)
    return Rows(
        X,
        known if offset is None else known + offset,
        np.ones(len(X)) if weights is None else weights,
        tuple(codes),
        tuple(columns),
        tuple(times),
    )


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
