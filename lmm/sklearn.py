"""A mixed model as a scikit-learn estimator (scikit-learn, the ``sklearn`` extra)."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import pandas as pd

from lmm._types import Vector
from lmm.errors import DataError
from lmm.formula import parse_one_sided
from lmm.pipeline import lmer

try:
    from sklearn.base import BaseEstimator, RegressorMixin
    from sklearn.utils.validation import check_is_fitted
except ImportError as error:
    raise ImportError("lmm.sklearn needs scikit-learn: pip install 'lmm[sklearn]'.") from error


RESPONSE = "y"


class MixedRegressor(RegressorMixin, BaseEstimator):  # type: ignore[misc]  # has no types
    """Linear mixed model as a scikit-learn regressor.

    Parameters
    ----------
    formula : str
        The right side, such as ``"~ Days + (Days | Subject)"``: the response is the ``y`` of
        `fit`, the columns are those of ``X``.
    reml : bool, default True
        REML if true, maximum likelihood if false.
    allow_new_levels : bool, default True
        Whether groups that `fit` did not see are predicted with random effects of zero, as they
        are in cross-validation by groups; else they are an error.
    re_form : str, optional
        Random effects to predict with: all of them (None), none (``"~0"``), or a formula's.
    optimizer : str or Optimizer, default "auto"
        As for `lmm.lmer`.

    Attributes
    ----------
    model_ : LinearMixedModel
        The fitted model, after `fit`.
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : (n_features_in_,) array of str
        Their names.

    Examples
    --------
    >>> import lmm
    >>> from lmm.sklearn import MixedRegressor
    >>> from sklearn.model_selection import GroupKFold, cross_val_score
    >>> data = lmm.load_dataset("sleepstudy")
    >>> X, y = data[["Days", "Subject"]], data["Reaction"]
    >>> model = MixedRegressor("~ Days + (Days | Subject)")
    >>> model.fit(X, y).predict(X.head(2)).round(1)
    array([253.7, 273.3])
    >>> scores = cross_val_score(model, X, y, groups=X["Subject"], cv=GroupKFold(3))
    >>> len(scores)
    3
    """

    def __init__(
        self,
        formula: str,
        *,
        reml: bool = True,
        allow_new_levels: bool = True,
        re_form: str | None = None,
        optimizer: Any = "auto",
    ):
        self.formula = formula
        self.reml = reml
        self.allow_new_levels = allow_new_levels
        self.re_form = re_form
        self.optimizer = optimizer

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit the model.

        Parameters
        ----------
        X : DataFrame, mapping, or (n, p) array
            Columns of the formula; those of an array are named ``x0``, ``x1``, ...
        y : (n,) array
            Response.
        sample_weight : (n,) array, optional
            Prior weights.

        Raises
        ------
        FormulaError, DataError
            As `lmm.lmer`.
        """
        table = _table(X)
        right = parse_one_sided(self.formula)
        response = np.asarray(y, dtype=float)
        if response.shape != (len(table),):
            raise DataError(
                f"y has shape {response.shape}, but X has {len(table)} rows: give one number a row"
            )
        name = _unused(RESPONSE, table)
        self.model_ = lmer(
            f"`{name}` {right}",
            table.assign(**{name: response}),
            reml=self.reml,
            weights=sample_weight,
            optimizer=self.optimizer,
        )
        self.n_features_in_ = table.shape[1]
        self.feature_names_in_ = np.asarray(table.columns, dtype=object)
        return self

    def predict(self, X: Any) -> Vector:
        """Predictions (n,) for new rows.

        Parameters
        ----------
        X : DataFrame, mapping, or (n, p) array
            As for `fit`.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            `fit` has not been called.
        """
        check_is_fitted(self, "model_")
        predicted = self.model_.predict(
            _table(X), self.re_form, allow_new_levels=self.allow_new_levels
        )
        return np.asarray(predicted, dtype=float)


def _table(X: Any) -> pd.DataFrame:
    if isinstance(X, pd.DataFrame):
        return X
    if isinstance(X, np.ndarray):
        return pd.DataFrame(X, columns=[f"x{j}" for j in range(X.shape[1])])
    return pd.DataFrame(X)


def _unused(name: str, table: pd.DataFrame) -> str:
    while name in table.columns:
        name += "_"
    return name
