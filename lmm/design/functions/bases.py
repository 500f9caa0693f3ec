"""Bases: several columns of one, with coefficients learned from the data."""

from __future__ import annotations

from typing import Any

import numpy as np

from lmm._types import Matrix, Vector
from lmm.design._formulaic import b_spline, polynomial, rescaled
from lmm.design.columns import Basis, Column
from lmm.design.functions.values import (
    MAX_COLUMNS,
    Scalar,
    Value,
    flag,
    is_column,
    number,
    numbers,
    observed,
    whole,
)
from lmm.errors import DataError


def _numbered(values: Matrix) -> Basis:
    """Basis whose columns R numbers from 1."""
    return Basis(values, tuple(str(i) for i in range(1, values.shape[1] + 1)))


def poly(x: Vector, degree: Scalar = 1.0, raw: Scalar = False, *, state: dict[str, Any]) -> Basis:
    """Orthogonal polynomials, or powers if `raw`."""
    if is_column(degree) or is_column(raw):
        raise DataError("it takes one column: add poly() of each, and products as I(x * z)")
    order, is_raw = whole(degree, "degree", 1, MAX_COLUMNS), flag(raw, "raw")
    if not is_raw and not state and order >= len(np.unique(observed(x))):
        raise DataError("'degree' must be at least 1 and less than the number of unique points")
    return _numbered(polynomial(x, order, is_raw, state))


def scale(
    x: Value, center: Scalar = True, scale: Scalar = True, *, state: dict[str, Any]
) -> Column:
    """A column, or each of a basis, less its mean and divided by its standard deviation."""
    values = x.values if isinstance(x, Basis) else x
    by = _switch(center, "center"), _switch(scale, "scale")
    if not state:
        rescaled(observed(values), *by, state)
    scaled = rescaled(values, *by, state)
    return Basis(scaled, x.suffixes) if isinstance(x, Basis) else scaled


def _switch(value: Scalar, name: str) -> float | bool:
    return value if isinstance(value, bool) else number(value, name)


def bs(
    x: Vector,
    df: Scalar = None,
    knots: Any = None,
    degree: Scalar = 3.0,
    intercept: Scalar = False,
    boundary_knots: Any = None,
    *,
    state: dict[str, Any],
) -> Basis:
    """B-splines."""
    options: dict[str, Any] = {
        "df": None if df is None else whole(df, "df", 1, MAX_COLUMNS),
        "knots": None if knots is None else _knots(knots, "knots").tolist(),
        "degree": whole(degree, "degree", 1, 20),
        "intercept": flag(intercept, "intercept"),
        "boundary": _boundary(boundary_knots) or (None, None),
    }
    if not state:
        b_spline(observed(x), state, **options)
    values = b_spline(x, state, **options)
    values[np.isnan(x)] = np.nan
    return _numbered(values)


def _knots(value: Any, name: str) -> Vector:
    knots = numbers(value, name)
    if not np.isfinite(knots).all() or len(knots) > MAX_COLUMNS:
        raise DataError(f"{name!r} must be at most {MAX_COLUMNS} finite numbers")
    return knots


def _boundary(value: Any) -> tuple[float, float] | None:
    if value is None:
        return None
    knots = _knots(value, "Boundary.knots")
    if len(knots) != 2 or not knots[0] < knots[1]:
        raise DataError("'Boundary.knots' must be two increasing numbers, such as c(0, 10)")
    return float(knots[0]), float(knots[1])


def ns(
    x: Vector,
    df: Scalar = None,
    knots: Any = None,
    intercept: Scalar = False,
    boundary_knots: Any = None,
    *,
    state: dict[str, Any],
) -> Basis:
    """Natural cubic splines: B-splines with zero second derivative at the boundary knots.

    The basis is the B-spline basis times an orthonormal basis of the null space of the two
    constraints (Hastie, 1992, in Statistical Models in S, section 7.6.2); outside the boundary
    knots it is continued linearly.
    """
    from scipy.interpolate import BSpline

    if not state:
        count = None if df is None else whole(df, "df", 1, MAX_COLUMNS)
        inner = None if knots is None else _knots(knots, "knots")
        in_full, boundary = flag(intercept, "intercept"), _boundary(boundary_knots)
        state.update(_natural_spline_state(observed(x), count, inner, in_full, boundary))
    lower, upper = state["boundary"]
    null_space = state["null_space"]
    spline = BSpline(state["knots"], np.eye(len(state["knots"]) - 4), 3)
    slope = spline.derivative()
    inside = np.clip(x, lower, upper)
    beyond = np.where(np.isnan(x), 0.0, x - inside)
    values = spline(inside)
    outside = beyond != 0
    values[outside] += beyond[outside, None] * slope(inside[outside])
    return _numbered(values[:, state["first"] :] @ null_space)


def _natural_spline_state(
    x: Vector,
    df: int | None,
    knots: Vector | None,
    intercept: bool,
    boundary: tuple[float, float] | None,
) -> dict[str, Any]:
    from scipy.interpolate import BSpline
    from scipy.linalg import qr

    lower, upper = boundary or (float(x.min()), float(x.max()))
    if knots is None:
        count = 0 if df is None else df - 1 - int(intercept)
        if count < 0:
            raise DataError(f"'df' is too small: at least {1 + int(intercept)} is needed")
        within = x[(x >= lower) & (x <= upper)]
        knots = np.quantile(within, np.linspace(0, 1, count + 2)[1:-1])
    all_knots = np.sort(np.concatenate([[lower] * 4, knots, [upper] * 4]))
    curvature = BSpline(all_knots, np.eye(len(all_knots) - 4), 3).derivative(2)
    first = 0 if intercept else 1
    constraints = curvature(np.array([lower, upper]))[:, first:]
    # Householder vectors have LINPACK's signs, so the columns come out as R's.
    null_space = qr(constraints.T)[0][:, 2:]
    return {
        "knots": all_knots,
        "boundary": (lower, upper),
        "first": first,
        "null_space": null_space,
    }
