"""Responses simulated from a model: the fitted one, or one with given parameters."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from lmm._elsewhere import no_function
from lmm._types import IntVector, Matrix, Vector
from lmm.design import ModelMatrices, ReTerm
from lmm.design.matrices import checked_beta, checked_theta
from lmm.design.rows import fitted_rows, index_of, new_rows, select
from lmm.errors import DataError
from lmm.fit import Fit
from lmm.formula import Formula
from lmm.plain_fit import PlainFit
from lmm.request import planned_matrices

no_function(__name__)


def simulate(
    fit: Fit | PlainFit,
    nsim: int = 1,
    seed: int | np.random.Generator | None = None,
    *,
    re_form: str | Formula | None = "~0",
    newdata: Any = None,
    allow_new_levels: bool = False,
    offset: Vector | None = None,
    weights: Vector | None = None,
    theta: Any = None,
    beta: Any = None,
    sigma: float | None = None,
) -> pd.DataFrame:
    """Simulate responses for the rows of a fit, or for new rows.

    Arguments and errors as for `LinearMixedModel.simulate`; `offset` (m,), beside the
    formula's offsets, and `weights` (m,) are those of new rows, zeros and ones by default.
    """
    nsim = _checked_number(nsim)
    matrices, frame = fit.matrices, fit.matrices.frame
    theta = checked_theta(matrices, theta, fit.theta)
    if sigma is not None and not fit.family.has_scale:
        raise ValueError(
            f"sigma: the {fit.family.name} family has no dispersion to draw with; its variance "
            "follows from the mean. Leave sigma out."
        )
    beta, sigma = _checked(matrices, beta, fit.beta, fit.sigma if sigma is None else sigma)
    held = select(matrices, re_form)
    if newdata is None:
        rows = fitted_rows(matrices)
        levels = tuple(term.codes for term in matrices.terms)
    else:
        rows = new_rows(
            matrices, newdata, held, allow_new_levels, offset, weights, all_columns=True
        )
        if any(times is not None for times in rows.times):
            raise DataError(
                "newdata has times that ou() was not fitted to: their effects cannot be drawn; "
                "predict() gives their means and intervals"
            )
        levels = tuple(_own_levels(term, newdata) for term in matrices.terms)
    mean = rows.fixed_part(beta) + rows.random_part(fit.b, held)
    drawn = tuple(
        (own, np.where(mask, 0.0, Z))
        for own, Z, mask in zip(levels, rows.Z, held, strict=True)
        if Z is not None
    )
    rng, factors = np.random.default_rng(seed), matrices.factors(theta)
    if fit.family.is_gaussian_identity:
        scale = sigma / np.sqrt(rows.weights)
        values = draw(rng, nsim, mean, tuple(sigma * own for own in factors), drawn, scale)
    else:
        values = _draw_family(rng, nsim, mean, factors, drawn, rows.weights, fit, sigma)
    if newdata is not None:
        return _labelled(values, index_of(newdata, rows.m))
    return _labelled(np.column_stack([frame.pad(column) for column in values.T]), frame.labels)


def simulate_formula(
    formula: str | Formula,
    data: Any,
    *,
    beta: Any,
    theta: Any,
    sigma: float,
    nsim: int = 1,
    seed: int | np.random.Generator | None = None,
    **arguments: Any,
) -> pd.DataFrame:
    """Simulate responses of a model that is not fitted, for power studies and tests.

    Parameters
    ----------
    formula : str or Formula
        Such as ``"~ Days + (Days | Subject)"``; a response is ignored.
    data : table
        The columns that the formula uses.
    beta : (p,) array, Series or mapping
        Fixed effects, in the order of the model matrix's columns, or by name; names that are left
        out are zero.
    theta : (m,) array, Series or mapping
        Covariance parameters, lme4's scale: relative to sigma.
    sigma : float
        Residual standard deviation.
    nsim : int
        Number of responses.
    seed : int or numpy.random.Generator, optional
        Where the random numbers come from.
    **arguments
        ``weights, offset, subset, contrasts, control, extra_namespace`` as for `lmm.lmer`.

    Returns
    -------
    DataFrame (n, nsim)
        Columns ``sim_1``, ``sim_2``, ...

    Raises
    ------
    ValueError
        A parameter has the wrong length; the message names the parameters.

    Examples
    --------
    >>> import lmm
    >>> data = {"g": list("aaabbbccc"), "x": [0, 1, 2] * 3}
    >>> y = lmm.simulate_formula(
    ...     "~ x + (1 | g)", data, beta=[1, 0.5], theta=[2], sigma=1, nsim=2, seed=1
    ... )
    >>> y.shape
    (9, 2)
    """
    nsim = _checked_number(nsim)
    matrices = planned_matrices(formula, data, **arguments)
    beta, sigma = _checked(matrices, beta, np.zeros(matrices.p), sigma)
    theta = checked_theta(matrices, theta)
    rows = fitted_rows(matrices)
    factors = tuple(sigma * factor for factor in matrices.factors(theta))
    drawn = tuple((term.codes, term.Z) for term in matrices.terms)
    scale = sigma / np.sqrt(rows.weights)
    mean = rows.fixed_part(beta)
    values = draw(np.random.default_rng(seed), nsim, mean, factors, drawn, scale)
    return _labelled(values, matrices.frame.labels)


def _draw_family(
    rng: np.random.Generator,
    nsim: int,
    mean: Vector,
    factors: tuple[Matrix, ...],
    effects: tuple[tuple[IntVector, Matrix], ...],
    weights: Vector,
    fit: Fit | PlainFit,
    sigma: float,
) -> Matrix:
    """Responses (n, nsim) of a fit's family, its linear predictors drawn first."""
    family = fit.family
    eta = draw(rng, nsim, mean, factors, effects, np.zeros(len(mean)))
    known = ~np.isnan(mean)
    shape = sigma**2 if family.has_scale else family.shape_of(0.0)
    values = np.full(eta.shape, np.nan)
    repeated = np.repeat(weights[known, None], nsim, axis=1)
    values[known] = family.draw_at(rng, eta[known], repeated, shape)
    return values


def draw(
    rng: np.random.Generator,
    nsim: int,
    mean: Vector,
    factors: tuple[Matrix, ...],
    effects: tuple[tuple[IntVector, Matrix], ...],
    scale: Vector,
) -> Matrix:
    """Draw responses: mean + Z b + residual.

    Parameters
    ----------
    rng : numpy.random.Generator
        Random numbers.
    nsim : int
        Number of responses.
    mean : (n,) array
        Known part.
    factors : tuple of (k_i, k_i) arrays
        Square roots of the random effects' covariances, in units of the response.
    effects : tuple of (codes (n,), Z (n, k_i))
        Level and columns of each row, per term.
    scale : (n,) array
        Standard deviations of the residuals.

    Returns
    -------
    (n, nsim) array
    """
    values = np.repeat(mean[:, None], nsim, axis=1)
    for factor, (codes, Z) in zip(factors, effects, strict=True):
        u = rng.standard_normal((int(codes.max()) + 1, len(factor), nsim))
        b = np.einsum("ab,lbs->las", factor, u)
        for a in range(len(factor)):
            values += Z[:, a, None] * b[codes, a]
    values += scale[:, None] * rng.standard_normal(values.shape)
    return values


def _own_levels(term: ReTerm, newdata: Any) -> IntVector:
    """Levels (m,) of new rows by number: the model's that occur, in its order, then new ones."""
    labels, codes = term.labels_for(newdata), term.codes_for(newdata)
    missing = int(pd.isna(labels).sum())
    if missing:
        raise DataError(
            f"the grouping factor {term.group!r} is missing in {missing} rows of newdata: nothing "
            "can be simulated there. Leave these rows out"
        )
    known = codes >= 0
    present, own = np.unique(codes[known], return_inverse=True)
    levels = np.empty(len(codes), dtype=np.intp)
    levels[known] = own
    levels[~known] = len(present) + pd.factorize(labels[~known])[0]
    return levels


def in_form(matrices: ModelMatrices, drawn: pd.DataFrame) -> Any:
    """Simulated responses of a model's rows, as they would stand in its data.

    A table (n, nsim); for a response made by ``cbind`` a dict of names to tables (n, 2).
    """
    response = matrices.response
    if response.form.kind == "numbers":
        return drawn
    trials = matrices.frame.pad(response.weights if response.trials is None else response.trials)
    packed = {
        name: response.form.pack(column.to_numpy(), trials, drawn.index)
        for name, column in drawn.items()
    }
    return packed if response.form.kind == "counts" else pd.DataFrame(packed)


def _checked_number(nsim: Any) -> int:
    if isinstance(nsim, bool) or not isinstance(nsim, int | np.integer) or nsim < 1:
        raise ValueError(f"nsim must be a whole number, at least 1, not {nsim!r}.")
    return int(nsim)


def _checked(
    matrices: ModelMatrices, beta: Any, otherwise: Vector, sigma: float
) -> tuple[Vector, float]:
    """Fixed effects, by name or in their order, and the residual standard deviation."""
    beta = checked_beta(matrices, beta, otherwise)
    if not isinstance(sigma, int | float | np.number) or not sigma > 0.0:
        raise ValueError(f"sigma must be positive, not {sigma!r}.")
    return beta, float(sigma)


def _labelled(values: Matrix, index: pd.Index) -> pd.DataFrame:
    columns = [f"sim_{j + 1}" for j in range(values.shape[1])]
    return pd.DataFrame(values, index=index, columns=columns)
