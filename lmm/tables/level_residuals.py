"""Residuals of the levels of a grouping factor: random effects, and what least squares find."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lmm._types import IntVector, Matrix
from lmm.design.matrices import ModelMatrices
from lmm.errors import DataError, nearest
from lmm.fit import check_linear
from lmm.fitted import Fitted
from lmm.tables.lmlist import least_squares_by_level


def level_residuals(m: Fitted, group: str | None = None) -> pd.DataFrame:
    """Random effects of a grouping factor's levels beside their least-squares counterparts.

    Parameters
    ----------
    m : LinearMixedModel
        The model.
    group : str, optional
        The grouping factor; the first by default.
    """
    check_linear("residuals of levels", m)
    effects = m.ranef()
    group = next(iter(effects)) if group is None else group
    if group not in effects:
        raise DataError(f"the model has no grouping factor {group!r}.{nearest(group, effects)}")
    predicted = effects[group].add_prefix(".ranef.")
    alone = _alone(m.fit.matrices, group).set_axis(predicted.index)
    return pd.concat([predicted, alone.add_prefix(".ls.")], axis=1)


def _alone(matrices: ModelMatrices, group: str) -> pd.DataFrame:
    """Coefficients of each level alone minus their means over levels, (l, k)."""
    term = next(term for term in matrices.terms if term.group == group)
    response = matrices.response
    X, names = _varying(matrices, term.codes)
    y = response.standardized(matrices.y)
    estimates = least_squares_by_level(response.weighted(X), y, term.codes)[0]
    coefficients = pd.DataFrame(estimates, columns=pd.Index(names))
    return coefficients - coefficients.mean()


def _varying(matrices: ModelMatrices, codes: IntVector) -> tuple[Matrix, list[str]]:
    """Columns of X that vary within levels, after an intercept for those that do not."""
    X = matrices.X
    first = X[np.unique(codes, return_index=True)[1]]
    constant = np.all(first[codes] == X, axis=0)
    names = [name for name, same in zip(matrices.fixed.names, constant, strict=True) if not same]
    if not constant.any():
        return X, names
    return np.column_stack([np.ones(len(X)), X[:, ~constant]]), ["(Intercept)", *names]
