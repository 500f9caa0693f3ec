"""Standardized coefficients, as R's effectsize and parameters packages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from lmm._types import Vector
from lmm._words import Ddf
from lmm.design.choice import row_numbers
from lmm.design.columns import Factor
from lmm.design.matrices import ModelMatrices
from lmm.design.table import Table
from lmm.errors import DataError, nearest
from lmm.fit import Fit, check_fitted, check_models
from lmm.fitted import ReportedModel
from lmm.language.tree import Call, Name, Node, children, variables
from lmm.report.document import Document
from lmm.report.printed import Framed
from lmm.report.tables import frame_cells

METHODS = ("refit", "posthoc", "smart", "basic", "pseudo")

# Functions that move and stretch with their argument, or take its powers.
POLYNOMIAL = {"I", "poly", "ns", "bs", "scale", "standardize", "center"}


@dataclass(frozen=True, eq=False, repr=False)
class StandardizedCoefficients(Framed):
    """Standardized coefficients. Made by `lmm.standardize_parameters`.

    Attributes
    ----------
    frame : DataFrame
        ``Std_Coefficient CI_low CI_high`` by coefficient.
    method : str
        How they were standardized.
    level : float
        Coverage of the intervals.
    """

    method: str
    level: float

    def document(self, *, digits: int = 4) -> Document:
        """The method and the coefficients."""
        head = f"# Standardization method: {self.method} ({100.0 * self.level:g}% intervals)"
        return Document((head, "", frame_cells(self.frame, digits)))


def standardize_parameters(
    m: ReportedModel,
    method: str = "refit",
    *,
    two_sd: bool = False,
    level: float = 0.95,
    ddf: Ddf | None = None,
) -> StandardizedCoefficients:
    """Fixed effects per standard deviation of covariates, in those of the response.

    Parameters
    ----------
    m : LinearMixedModel or GeneralizedMixedModel
        The model. The response of a generalized one stays as it is.
    method : {"refit", "posthoc", "smart", "basic", "pseudo"}
        Fit again to standardized numeric columns; multiply each coefficient by the standard
        deviations of its covariates (1 for factors); the same, but coefficients of a factor in
        standard deviations of the response at its reference level, like Glass' delta; by that of
        its column of the model matrix; or, of two-level models, by that between groups for columns
        that are constant in each group and within groups for the others, in units of the response's
        standard deviation of that level in a model of the groups alone (Hoffman, 2015, Longitudinal
        Analysis, p. 342).
    two_sd : bool
        Whether to count in two standard deviations of covariates, which compares them with factors
        of two levels (Gelman, 2008, Stat. Med. 27, 2865-2873).
    level : float
        Coverage of the intervals, which are Wald's.
    ddf : str, optional
        Degrees of freedom for t quantiles, as for `summary`; normal ones by default.

    Raises
    ------
    ValueError
        The method is unknown.
    TypeError
        ``"pseudo"`` of a model without random effects.
    DataError
        A column cannot be standardized in its place, such as under a logarithm or in the response
        of a generalized model; the model is none of two levels, for ``"pseudo"``; the response does
        not vary at a reference level, for ``"smart"``.

    Notes
    -----
    Where weights were given, means and standard deviations are weighted, these with the divisor
    ``sum w - sum w^2 / sum w``, as effectsize's. effectsize's own numbers differ where it leaves
    the definition: ``"posthoc"`` there does not multiply interactions with factors by the deviation
    of their covariate; ``"smart"`` takes the level of the data's first row for the reference;
    ``"pseudo"`` takes the deviation of a whole column for that within groups, and warns: for
    columns that are centred in each group both are one.

    Examples
    --------
    >>> import lmm
    >>> m = lmm.lmer("distance ~ age * Sex + (1 | Subject)", lmm.load_dataset("Orthodont"))
    >>> lmm.standardize_parameters(m)
    # Standardization method: refit (95% intervals)
    <BLANKLINE>
                  Std_Coefficient   CI_low  CI_high
    (Intercept)            0.3229 -0.00237  0.64815
    age                    0.6017  0.48517  0.71821
    SexFemale             -0.7925 -1.30212 -0.28296
    age:SexFemale         -0.2338 -0.41639 -0.05128
    """
    check_fitted(m)
    if method not in METHODS:
        raise ValueError(f"method {method!r} is unknown.{nearest(method, METHODS)}")
    times = 2.0 if two_sd else 1.0
    if method == "refit":
        frame = _estimates(_refitted(m, times), level, ddf)
    else:
        by_method = {"posthoc": _posthoc, "smart": _smart, "basic": _basic, "pseudo": _pseudo}
        factors = by_method[method](m, times)
        frame = _estimates(m, level, ddf).mul(factors, axis=0) + 0.0
    return StandardizedCoefficients(frame, method, level)


def _estimates(m: ReportedModel, level: float, ddf: Ddf | None) -> pd.DataFrame:
    table = m.tidy("fixed", conf_int=True, conf_level=level, ddf=ddf).set_index("term")
    table.index.name = None
    names = ["Std_Coefficient", "CI_low", "CI_high"]
    return table[["estimate", "conf.low", "conf.high"]].set_axis(names, axis=1)


# Fitted again ------------------------------------------------------------------------------------


def _refitted(m: ReportedModel, times: float) -> ReportedModel:
    """The model of standardized columns."""
    fit, table = m.fit, Table.of(m.data)
    rows = fit.matrices.frame.rows
    columns = {name: table.series(name).array[rows] for name in table.names}
    for name in _standardized_columns(fit):
        columns[name] = _scaled(np.asarray(table.column(name))[rows], times, _weights(m))
    options: dict[str, Any] = {"subset": None}
    for option in ("weights", "offset"):
        values = row_numbers(table, getattr(m.call, option), option)
        options[option] = None if values is None else values[rows]
    again = m.update(data=pd.DataFrame(columns), **options)
    if not fit.family.is_gaussian_identity:
        return again
    if fit.matrices.offset.any():
        raise DataError("the offset is not in standard deviations: use method='posthoc'.")
    return again.refit(_scaled(fit.matrices.y, 1.0, _weights(m)))


def _scaled(values: Vector, times: float, weights: Vector | None) -> Vector:
    centred = values - np.average(values, weights=weights)
    return np.asarray(centred / (times * _deviations(values, weights)))


def _weights(m: ReportedModel) -> Vector | None:
    """Prior weights, where they were given."""
    return None if m.call.weights is None else m.fit.matrices.weights


def _standardized_columns(fit: Fit) -> list[str]:
    """Columns of the data that are numbers in the fixed or random part.

    Raises
    ------
    DataError
        One stands in another place too, or under a function that asks for its own values.
    """
    formula, frame = fit.formula, fit.matrices.frame
    apart = {formula.response, *fit.matrices.fixed.offsets}
    found, held = dict[str, None](), set[str]()
    for text, column in frame.columns.items():
        node = frame.variables.nodes[text]
        if text in apart or isinstance(column, Factor):
            held.update(variables(node))
            continue
        for function, name in _uses(node):
            if function not in POLYNOMIAL:
                raise DataError(
                    f"{text} asks for {name}'s own values: write scale({text}) in the formula, or "
                    "use method='posthoc'."
                )
        found |= dict.fromkeys(frame.variables.columns_of(text))
    if both := [name for name in found if name in held]:
        raise DataError(
            f"{both[0]} stands as a number, and also in a factor, an offset or the response, which "
            "need its own values: use method='posthoc'."
        )
    return list(found)


def _uses(node: Node, function: str = "I") -> Iterator[tuple[str, str]]:
    """Names in an expression, each with the first function around it that is no polynomial."""
    if isinstance(node, Name):
        yield function, node.id
        return
    if isinstance(node, Call) and function in POLYNOMIAL:
        function = node.function
    for child in children(node):
        yield from _uses(child, function)


# Afterwards --------------------------------------------------------------------------------------


def _response_deviation(m: ReportedModel) -> float:
    """Standard deviation of a linear model's response; 1 for a generalized one."""
    if not m.fit.family.is_gaussian_identity:
        return 1.0
    return float(_deviations(m.fit.matrices.y, _weights(m)))


def _deviations(X: np.ndarray, weights: Vector | None = None) -> Vector:
    """Standard deviations of columns, (p,)."""
    if weights is None:
        return np.asarray(np.std(X, axis=0, ddof=1))
    squares = (X - np.average(X, axis=0, weights=weights)) ** 2
    total = weights.sum()
    return np.asarray(np.sqrt(weights @ squares / (total - weights @ weights / total)))


def _basic(m: ReportedModel, times: float) -> Vector:
    return times * _deviations(m.fit.matrices.X, _weights(m)) / _response_deviation(m)


def _posthoc(m: ReportedModel, times: float) -> Vector:
    """Products of the covariates' deviations by coefficient; zero for the intercept."""
    matrices, weights = m.fit.matrices, _weights(m)
    fixed, columns = matrices.fixed, matrices.frame.columns
    factors = times * _deviations(matrices.X, weights)
    for j, term in enumerate(fixed.term_variables, start=1):
        parts = [columns[name] for name in term]
        numbers = [part for part in parts if isinstance(part, np.ndarray)]
        # Of bases such as poly(x, 2) each column has its own deviation, that of X.
        if all(isinstance(part, np.ndarray | Factor) for part in parts):
            product = np.prod([times * _deviations(part, weights) for part in numbers])
            factors[fixed.assign == j] = product
    return factors / _response_deviation(m)


def _smart(m: ReportedModel, times: float) -> Vector:
    """As `_posthoc`, in deviations of the response at the reference level of each term's factor."""
    factors, whole = _posthoc(m, times), _response_deviation(m)
    if not m.fit.family.is_gaussian_identity:
        return factors
    matrices, weights = m.fit.matrices, _weights(m)
    fixed = matrices.fixed
    for j, term in enumerate(fixed.term_variables, start=1):
        name = next((name for name in reversed(term) if name in fixed.levels), None)
        rows = None if name is None else _reference_rows(matrices, j, name)
        if rows is None:
            continue
        own = _deviations(matrices.y[rows], None if weights is None else weights[rows])
        if not own > 0.0:
            raise DataError(f"the response does not vary at the reference level of {name!r}.")
        factors[fixed.assign == j] *= whole / own
    return factors


def _reference_rows(matrices: ModelMatrices, j: int, name: str) -> np.ndarray | None:
    """Rows (n,) at the reference level of a factor in term j; None where it has none there."""
    coding = matrices.fixed.layout.codings[j - 1][name]
    reference = np.flatnonzero(~coding.matrix.any(axis=1))
    column = matrices.frame.columns[name]
    if len(reference) != 1 or not isinstance(column, Factor):
        return None
    level = coding.levels[reference[0]]
    return np.asarray(column.codes == list(column.levels).index(level))


def _pseudo(m: ReportedModel, times: float) -> Vector:
    """Deviations of the columns over those of the response, between or within groups."""
    check_models(m)
    fit = m.fit
    groups = {term.group: term for term in fit.matrices.terms}
    if len(groups) != 1:
        raise DataError(
            f"method='pseudo' is one for two levels; the model has the groups {', '.join(groups)}."
        )
    ((group, term),) = groups.items()
    X, codes = fit.matrices.X, term.codes
    means = np.zeros((int(codes.max()) + 1, X.shape[1]))
    np.add.at(means, codes, X)
    means /= np.bincount(codes)[:, None]
    within = X - means[codes]
    varies = np.abs(within).max(axis=0) > 1e-9 * np.abs(X).max(axis=0)
    total, between = 1.0, 1.0
    if fit.family.is_gaussian_identity:
        alone = m.update_on_own_rows(f"{fit.formula.response} ~ 1 + (1 | {group})").fit
        total, between = alone.sigma, float(np.sqrt(alone.covariances[0][0, 0]))
        if not between and not varies[1:].all():
            raise DataError(f"the response does not vary between the levels of {group}.")
    with np.errstate(divide="ignore", invalid="ignore"):
        factors = np.where(varies, _deviations(within) / total, _deviations(means) / between)
    factors[np.ptp(X, axis=0) == 0.0] = 0.0
    return np.asarray(times * factors)
