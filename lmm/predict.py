"""Predictions for the rows of a fit or for new rows, with the variance of their errors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lmm._elsewhere import no_function
from lmm._types import Frozen, Matrix, Vector
from lmm._words import Interval
from lmm.design.matrices import checked_beta, checked_theta
from lmm.design.rows import Rows, Selection, fitted_rows, index_of, new_rows, select
from lmm.design.table import Table
from lmm.errors import NumericalError, checked_level
from lmm.family import Family
from lmm.fit import Fit
from lmm.formula import Formula
from lmm.joint import Effects, JointCovariance
from lmm.likelihood import critical_value
from lmm.plain_fit import PlainFit

no_function(__name__)

Levels = bool | Literal["missing"]
"""Whether unknown levels are predicted by effects of zero, or are missing."""


# Rows that are predicted at a time, so that their model rows stay small.
AT_A_TIME = 1 << 18
# Step in the whitened coordinates for derivatives of predictions.
STEP = 1e-3
# Points of the quadrature over a normal linear predictor.
NODES = 41
# Probability of predictors outside the link's range that changes no mean by much.
NEGLIGIBLE = 1e-4


def check_scale(scale: str, re_form: object, random_only: bool) -> None:
    """Refuse a `type` of predictions that is another word, or contradicts other arguments."""
    if scale not in ("link", "response", "population"):
        raise ValueError(f"type must be 'link', 'response' or 'population', not {scale!r}.")
    if scale == "population" and (random_only or re_form is not None):
        raise ValueError(
            "means over the population have no random effects to choose: leave random_only and "
            "re_form out."
        )


@dataclass(frozen=True, eq=False)
class Prediction(Frozen):
    """Predicted means of rows, with their uncertainty where it was asked for.

    Attributes
    ----------
    index : Index
        Labels of the rows.
    mean : (m,) array
        ``x'beta + offset + z'b``, or ``z'b`` alone.
    se : (m,) array or None
        Standard error of the mean, the covariance parameters taken as known.
    limits : pair of (m,) arrays or None
        Limits of the interval around the mean.
    """

    index: pd.Index
    mean: Vector
    se: Vector | None = None
    limits: tuple[Vector, Vector] | None = None

    def through(self, family: Family) -> Prediction:
        """On the scale of the response: means, standard errors by slopes, limits transformed."""
        slope = np.abs(family.link_function.slope(self.mean))
        se = None if self.se is None else slope * self.se
        limits = None if self.limits is None else family.limits(self.mean, self.limits)
        return Prediction(self.index, family.inverse(self.mean), se, limits)

    def on_scale(self, type: str, family: Family) -> Prediction:
        """Of the linear predictor (``"link"``), or of the mean (``"response"``)."""
        return self.through(family) if type == "response" else self

    def labelled(self) -> pd.Series[float] | pd.DataFrame:
        """The means alone, or a table where standard errors were asked for."""
        return self.to_series() if self.se is None else self.to_frame()

    def to_series(self) -> pd.Series[float]:
        """Return the means."""
        return pd.Series(self.mean, index=self.index)

    def to_frame(self) -> pd.DataFrame:
        """Return a table ``fit se [lower upper]``."""
        table = pd.DataFrame({"fit": self.mean, "se": self.se}, index=self.index)
        if self.limits is not None:
            table["lower"], table["upper"] = self.limits
        return table


@dataclass(frozen=True, eq=False)
class _Query:
    """What is predicted, whatever the parameters."""

    rows: Rows
    selection: Selection
    random_only: bool

    def mean(self, fit: Fit | PlainFit) -> Vector:
        """Predicted means, (m,)."""
        rows, _ = self.rows.interpolated(fit.matrices, fit.theta)
        mean = rows.random_part(fit.b, self.selection)
        return mean if self.random_only else mean + self.rows.fixed_part(fit.beta)

    def unknown(self) -> NDArray[np.bool_]:
        """Rows with a level of a selected term that is unknown or missing, (m,)."""
        unknown = np.zeros(self.rows.m, dtype=np.bool_)
        for codes in self.rows.codes:
            if codes is not None:
                unknown |= codes < 0
        return unknown

    def variance(self, fit: Fit | PlainFit) -> Vector:
        """Variance of the error of the means, (m,)."""
        if isinstance(fit, PlainFit):
            return fit.variance(self.rows.X)
        rows, left = self.rows.interpolated(fit.matrices, fit.theta)
        X = np.zeros_like(rows.X) if self.random_only else rows.X
        total = JointCovariance(fit).variance(X, effects_of(fit, rows, self.selection))
        return total + _untold(fit, left, [bool(mask.any()) for mask in self.selection])


def predict(
    fit: Fit | PlainFit,
    newdata: Any = None,
    re_form: str | Formula | None = None,
    *,
    allow_new_levels: Levels = False,
    random_only: bool = False,
    se: bool = False,
    interval: Interval | None = None,
    level: float = 0.95,
    offset: Vector | None = None,
    weights: Vector | None = None,
) -> Prediction:
    """Predict rows.

    Arguments and errors as for `LinearMixedModel.predict`; `offset` (m,), beside the
    formula's offsets, and `weights` (m,) are those of new rows, zeros and ones by default.
    """
    _check_interval(interval, level, random_only)
    if interval == "prediction" and not fit.family.is_gaussian_identity:
        raise ValueError(
            "Prediction intervals exist for linear models only: simulate() draws new responses."
        )
    question = _Question(
        select(fit.matrices, re_form), allow_new_levels, random_only, se, interval, level
    )
    if newdata is None:
        return question.answer(fit)
    table = Table.of(newdata)
    parts = [
        question.answer(fit, piece, _within(offset, place), _within(weights, place))
        for piece, place in _pieces(table)
    ]
    return _joined(parts, index_of(newdata, table.n))


def _pieces(table: Table) -> Iterator[tuple[Table, slice]]:
    """The rows of a table, not too many at a time."""
    for start in range(0, max(table.n, 1), AT_A_TIME):
        place = slice(start, min(start + AT_A_TIME, table.n))
        yield (table if table.n <= AT_A_TIME else Table(table.native[place])), place


def _within(values: Vector | None, place: slice) -> Vector | None:
    return None if values is None else values[place]


def _joined(parts: Sequence[Prediction], index: pd.Index) -> Prediction:
    """Predictions of pieces of a table."""

    def together(values: list[Vector | None]) -> Vector | None:
        known = [each for each in values if each is not None]
        return np.concatenate(known) if known else None

    mean = np.concatenate([part.mean for part in parts])
    limits = [part.limits for part in parts if part.limits is not None]
    lower, upper = (together([each[k] for each in limits]) for k in (0, 1))
    both = None if lower is None or upper is None else (lower, upper)
    return Prediction(index, mean, together([part.se for part in parts]), both)


@dataclass(frozen=True, eq=False)
class _Question:
    """What is asked about rows: see `predict`."""

    selection: Selection
    allow_new_levels: Levels
    random_only: bool
    se: bool
    interval: str | None
    level: float

    def answer(
        self,
        fit: Fit | PlainFit,
        newdata: Table | None = None,
        offset: Vector | None = None,
        weights: Vector | None = None,
    ) -> Prediction:
        """Predictions of new rows, or of those of the fit."""
        matrices = fit.matrices
        if newdata is None:
            rows = fitted_rows(matrices)
        else:
            rows = new_rows(
                matrices,
                newdata,
                self.selection,
                checked_levels(self.allow_new_levels),
                offset,
                weights,
                all_columns=self.interval == "prediction",
            )
        query = _Query(rows, self.selection, self.random_only)
        results = [query.mean(fit)]
        if self.se or self.interval is not None:
            results.append(np.sqrt(query.variance(fit)))
        if self.interval is not None:
            if isinstance(fit, PlainFit):
                margin = _plain_margin(fit, query, self.interval, self.level)
            elif fit.family.is_gaussian_identity:
                margin = _margin(fit, query, self.interval, self.level)
            else:
                margin = critical_value(self.level) * results[1]
            results += [results[0] - margin, results[0] + margin]
        if self.allow_new_levels == "missing":
            results = [np.where(query.unknown(), np.nan, result) for result in results]
        if newdata is None:
            results = [matrices.frame.pad(result) for result in results]
        index = matrices.frame.labels if newdata is None else pd.RangeIndex(rows.m)
        limits = (results[2], results[3]) if self.interval is not None else None
        return Prediction(index, results[0], results[1] if len(results) > 1 else None, limits)


def checked_levels(allow_new_levels: Levels) -> bool:
    """Whether unknown levels are read at all.

    Raises
    ------
    ValueError
        It is neither true, false nor ``"missing"``.
    """
    if allow_new_levels not in (True, False, "missing"):
        raise ValueError(
            f"allow_new_levels must be True, False or 'missing', not {allow_new_levels!r}."
        )
    return bool(allow_new_levels)


def prediction_parts(
    fit: Fit, newdata: Any = None, *, allow_new_levels: Levels = False, offset: Vector | None = None
) -> pd.DataFrame:
    """Parts of the linear predictor: ``fixed`` (with the offset), each grouping factor, ``total``.

    Parameters
    ----------
    fit, newdata, allow_new_levels, offset
        As for `predict`.
    """
    matrices = fit.matrices
    selection = select(matrices, None)
    if newdata is None:
        rows = fitted_rows(matrices)
    else:
        rows = new_rows(matrices, newdata, selection, checked_levels(allow_new_levels), offset)
    query = _Query(rows, selection, random_only=False)
    shown, _ = rows.interpolated(matrices, fit.theta)
    parts = {"fixed": rows.fixed_part(fit.beta)}
    for group in dict.fromkeys(term.group for term in matrices.terms):
        own = tuple(
            np.full(len(mask), term.group == group)
            for term, mask in zip(matrices.terms, selection, strict=True)
        )
        parts[group] = shown.random_part(fit.b, own)
    parts["total"] = np.sum(list(parts.values()), axis=0)
    if allow_new_levels == "missing":
        parts["total"] = np.where(query.unknown(), np.nan, parts["total"])
    if newdata is not None:
        return pd.DataFrame(parts, index=index_of(newdata, rows.m))
    padded = {name: matrices.frame.pad(part) for name, part in parts.items()}
    return pd.DataFrame(padded, index=matrices.frame.labels)


def with_parameters(fit: Fit, parameters: Mapping[str, Any]) -> Fit:
    """A fit with other parameters in place of the estimates.

    Random effects are ``Lambda u`` with the spherical effects u of the fit, as in lme4: with other
    covariances they are larger or smaller.

    Parameters
    ----------
    fit : Fit
        The fit.
    parameters : mapping
        ``"beta"``, ``"theta"`` or both, each in order or by name; names left out keep estimates.

    Raises
    ------
    TypeError
        It is no mapping.
    ValueError
        Another name, or a wrong length.
    """
    if not isinstance(parameters, Mapping):
        raise TypeError(
            "newparams must be a mapping, such as {'beta': m.fixef(), 'theta': m.theta}, not "
            f"{type(parameters).__name__}."
        )
    for name in parameters:
        if name not in ("beta", "theta"):
            raise ValueError(
                f"newparams holds 'beta' and 'theta', not {name!r}: no prediction depends on it."
            )
    matrices = fit.matrices
    theta = checked_theta(matrices, parameters.get("theta"), fit.theta)
    beta = checked_beta(matrices, parameters.get("beta"), fit.beta)
    parts = zip(fit.b, fit.factors, matrices.factors(theta), strict=True)
    b = tuple(own @ np.linalg.pinv(old).T @ new.T for own, old, new in parts)
    return replace(fit, theta=theta, beta=beta, b=b)


def population_means(
    fit: Fit,
    newdata: Any = None,
    offset: Vector | None = None,
    se: bool = False,
    *,
    interval: Interval | None = None,
    level: float = 0.95,
) -> Prediction:
    """Means of rows, averaged over new levels of all grouping factors.

    The integral of the inverse link over the normal linear predictor of a row, by Gauss-Hermite
    quadrature. Standard errors are by the delta method in the fixed effects; the covariance
    parameters are taken as known. Limits are made on the scale of the link.

    Parameters
    ----------
    fit, newdata, offset, se, interval, level
        As for `predict`.

    Raises
    ------
    NumericalError
        There are none: predictors of new levels leave what the link allows.
    """
    _check_interval(interval, level, random_only=False)
    matrices = fit.matrices
    if newdata is None:
        rows, index = fitted_rows(matrices), matrices.frame.used
    else:
        nothing = select(matrices, "~0")
        rows = new_rows(matrices, newdata, nothing, offset=offset, all_columns=True)
        index = index_of(newdata, rows.m)
    variance = np.zeros(rows.m)
    for Z, covariance in zip(rows.Z, fit.covariances, strict=True):
        assert Z is not None
        variance += np.einsum("ma,ab,mb->m", Z, covariance, Z)
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    mean, spread = rows.fixed_part(fit.beta), np.sqrt(variance)
    eta, weights = mean[:, None] + spread[:, None] * nodes, weights / weights.sum()
    inside = _inside(fit.family, eta, weights)
    means = fit.family.inverse(inside) @ weights
    if not se and interval is None:
        return Prediction(index, means)
    slopes = rows.X * (fit.family.link_function.slope(inside) @ weights)[:, None]
    variances = np.einsum("ma,ab,mb->m", slopes, fit.vcov, slopes)
    errors = np.sqrt(variances)
    if interval is None:
        return Prediction(index, means, errors)
    link = fit.family.link_function
    centre = link(means)
    margin = critical_value(level) * errors / np.abs(link.slope(centre))
    limits = fit.family.limits(centre, (centre - margin, centre + margin))
    return Prediction(index, means, errors, limits)


def _inside(family: Family, eta: Matrix, weights: Vector) -> Matrix:
    """Linear predictors (m, r), which the link has to allow but for nodes of no weight.

    In the place of these stands the middle one.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        mu = family.inverse(eta)
    outside = family.impossible(mu) & ~np.isnan(eta)
    share = float((outside @ weights).max())
    if share > NEGLIGIBLE:
        raise NumericalError(
            f"Linear predictors of new levels leave what the {family.link!r} link allows with "
            f"probability {share:.2g}: there are no means over the population. Use another link."
        )
    return np.where(outside, eta[:, [eta.shape[1] // 2]], eta)


def _check_interval(interval: Interval | None, level: float, random_only: bool) -> None:
    if interval not in (None, "confidence", "prediction"):
        raise ValueError(f"interval must be None, 'confidence' or 'prediction', not {interval!r}.")
    if interval == "prediction" and random_only:
        raise ValueError("A prediction interval is one for observations: drop random_only=True.")
    checked_level(level)


def _margin(fit: Fit, query: _Query, interval: str, level: float) -> Vector:
    """Half-width of intervals that allow for the estimation of the covariance parameters.

    With C the covariance of the estimated x and the means' derivatives d in x, the mean squared
    error is estimated by ``variance + 2 d'C d`` (Prasad & Rao, 1990, JASA 85, 163-171: estimates
    at x-hat are too small by ``d'C d``, and leave out another one). The degrees of freedom of a
    variance v with derivatives g are ``2 v^2 / (g'C g + 2 v^2 / nu)`` (Satterthwaite, 1946), the
    second part for sigma given x.
    """

    def moments(at: Fit) -> tuple[Vector, Vector]:
        total = query.variance(at)
        if interval == "prediction":
            total = total + _spread(at, query.rows, query.selection)
        return query.mean(at), total

    _, total = moments(fit)
    error, noise = np.zeros(len(total)), np.zeros(len(total))
    if fit.size_name:
        noise = 2.0 * total**2 / fit.criterion.degrees_of_freedom
    # Directions: columns of a square root of C.
    for direction in _uncertain_directions(fit).T:
        up, down = (moments(_moved(fit, sign * STEP * direction)) for sign in (1.0, -1.0))
        error += ((up[0] - down[0]) / (2.0 * STEP)) ** 2
        noise += ((up[1] - down[1]) / (2.0 * STEP)) ** 2
    df = np.divide(2.0 * total**2, noise, out=np.full(len(noise), np.inf), where=noise > 0.0)
    return np.asarray(critical_value(level, df) * np.sqrt(total + 2.0 * error))


def _plain_margin(fit: PlainFit, query: _Query, interval: str, level: float) -> Vector:
    """Half-width of intervals without random effects, which are exact for normal responses."""
    total = query.variance(fit)
    if interval == "prediction":
        total = total + fit.sigma**2 / query.rows.weights
    return np.asarray(critical_value(level, fit.test_df) * np.sqrt(total))


def _uncertain_directions(fit: Fit) -> Matrix:
    """Root (m, r) of the covariance of x-hat, twice the inverse Hessian, off the boundary."""
    values, vectors = np.linalg.eigh(fit.hessian)
    # On the boundary the criterion is flat or no minimum in some directions: they are left out.
    free = values > 1e-6 * max(float(values[-1]), 1.0)
    return np.asarray(vectors[:, free] * np.sqrt(2.0 / values[free]))


def _moved(fit: Fit, step: Vector) -> Fit:
    """The fit at other covariance parameters."""
    x = fit.optimum.x + step
    optimum = replace(fit.optimum, x=x, theta=fit.criterion.to_theta(x))
    return Fit.at(fit.formula, fit.criterion, optimum, keep=True)


def effects_of(fit: Fit, rows: Rows, selection: Selection) -> Effects:
    """Selected columns (m, k) of each group's terms side by side, the others zero."""
    effects = {}
    for g, group in enumerate(fit.problem.groups):
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


def _untold(fit: Fit, left: Sequence[Vector | None], chosen: Sequence[bool]) -> Vector | float:
    """Variance of the effects at times without a column, of the chosen terms."""
    known = [one for one, use in zip(left, chosen, strict=True) if use and one is not None]
    return fit.sigma**2 * np.sum(known, axis=0) if known else 0.0


def _spread(fit: Fit, rows: Rows, selection: Selection) -> Vector:
    """Variance of a new observation around its predicted mean."""
    rows, left = rows.interpolated(fit.matrices, fit.theta)
    total = fit.sigma**2 / rows.weights
    total = total + _untold(fit, left, [not bool(mask.any()) for mask in selection])
    for Z, covariance, mask in zip(rows.Z, fit.covariances, selection, strict=True):
        if Z is not None and not mask.all():
            left_out = np.where(mask, 0.0, Z)
            total += np.einsum("ma,ab,mb->m", left_out, covariance, left_out)
    return total
