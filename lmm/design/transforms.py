"""R's functions of columns.

Transforms whose coefficients come from the data (``poly``, ``ns``, ``bs``, ``scale``, ``cut``,
``mean`` ...) keep them in a state that is read again for new data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np

from lmm._types import Matrix, Vector
from lmm.design.coding import CONTRASTS
from lmm.design.columns import (
    Basis,
    Column,
    Factor,
    as_factor,
    drop_unused_levels,
    level_name,
)
from lmm.errors import DataError, nearest

__all__ = [
    "EXTREMES",
    "FUNCTIONS",
    "MATH",
    "NAMED_CONSTANTS",
    "OF_NUMBERS",
    "STATEFUL",
    "State",
    "Value",
    "combine",
    "is_scalar",
    "logical",
    "numbered_basis",
    "truth",
]

Scalar: TypeAlias = float | str | bool | None
Value: TypeAlias = Column | Scalar | tuple[Scalar, ...]
State: TypeAlias = dict[str, dict[str, Any]]
"""What each data-dependent call of a formula has learned, by the call's text."""

NAMED_CONSTANTS: Mapping[str, Scalar] = {
    "pi": np.pi,
    "T": True,
    "F": False,
    **{name: name for name in CONTRASTS},
}


def is_scalar(value: Column) -> bool:
    """Whether a value has no rows."""
    values = value.codes if isinstance(value, Factor) else value
    return isinstance(values, np.ndarray) and values.ndim == 0


def truth(values: Any) -> Any:
    """1 where a number is not zero, 0 where it is, NaN where missing."""
    return np.where(np.isnan(values), np.nan, values != 0)


def logical(values: Any) -> Factor:
    """Truth values from 0, 1 and NaN."""
    values = np.asarray(values, dtype=np.float64)
    codes = np.where(np.isnan(values), -1, values).astype(np.intp)
    return Factor(codes, ("FALSE", "TRUE"), is_logical=True)


# ---------------------------------------------------------------------------------------------
# Functions of numbers

MATH: Mapping[str, Callable[..., Any]] = {
    "abs": np.abs,
    "acos": np.arccos,
    "asin": np.arcsin,
    "atan": np.arctan,
    "ceiling": np.ceil,
    "cos": np.cos,
    "cosh": np.cosh,
    "exp": np.exp,
    "expm1": np.expm1,
    "floor": np.floor,
    "log10": np.log10,
    "log1p": np.log1p,
    "log2": np.log2,
    "sign": np.sign,
    "sin": np.sin,
    "sinh": np.sinh,
    "sqrt": np.sqrt,
    "tan": np.tan,
    "tanh": np.tanh,
    "trunc": np.trunc,
}


def _log(x: Vector, base: float | None = None) -> Any:
    with np.errstate(all="ignore"):
        return np.log(x) if base is None else np.log(x) / np.log(base)


def _round(x: Vector, digits: float = 0) -> Any:
    return np.round(x, int(digits))


def _ifelse(test: Value, yes: Value, no: Value) -> Column:
    condition = test if isinstance(test, Factor) else logical(truth(test))
    if isinstance(yes, str) and isinstance(no, str):
        levels = tuple(sorted({yes, no}))
        codes = np.where(condition.codes == 1, levels.index(yes), levels.index(no))
        return Factor(np.where(condition.codes < 0, -1, codes), levels)
    if isinstance(yes, Factor | str) or isinstance(no, Factor | str):
        raise DataError("both outcomes must be numbers, or both texts")
    chosen = np.where(condition.codes == 1, yes, no)  # type: ignore[arg-type]
    return np.where(condition.codes < 0, np.nan, chosen)


def _identity(x: Value) -> Value:
    return x


def combine(*values: Value) -> tuple[Scalar, ...]:
    """R's ``c()`` of constants."""
    parts: list[Scalar] = []
    for value in values:
        if isinstance(value, np.ndarray | Factor | Basis):
            raise DataError("c() takes numbers and texts, not columns")
        parts.extend(value if isinstance(value, tuple) else (value,))
    return tuple(parts)


EXTREMES: Mapping[str, Callable[[Any, Any], Any]] = {"pmax": np.maximum, "pmin": np.minimum}


def _summary(reduce: Callable[[Vector], Any]) -> Callable[..., float]:
    """Make a stateful function of a number that summarizes a column."""

    def summarize(x: Vector, *, state: dict[str, Any]) -> float:
        if "value" not in state:
            state["value"] = float(reduce(_observed(x)))
        return float(state["value"])

    return summarize


def _observed(x: Any) -> Vector:
    """Values that are not missing; a transform learns from these only."""
    if not isinstance(x, np.ndarray):
        raise DataError("the first argument must be a numeric column")
    return x[~np.isnan(x)] if x.ndim == 1 else x[~np.isnan(x).any(axis=1)]


# ---------------------------------------------------------------------------------------------
# Bases


def numbered_basis(values: Matrix) -> Basis:
    """Basis whose columns R numbers from 1."""
    return Basis(values, tuple(str(i) for i in range(1, values.shape[1] + 1)))


def _poly(x: Value, degree: float = 1, raw: bool = False, *, state: dict[str, Any]) -> Basis:
    from formulaic.transforms.poly import poly

    observed = _observed(x)
    if not raw and not state and not 1 <= degree < len(np.unique(observed)):
        raise DataError("'degree' must be at least 1 and less than the number of unique points")
    values = poly(x, int(degree), raw, _state=state)
    return numbered_basis(np.asarray(getattr(values, "__wrapped__", values)))


def _scale(
    x: Value, center: float | bool = True, scale: float | bool = True, *, state: dict[str, Any]
) -> Column:
    from formulaic.transforms.scale import scale as rescale

    values = x.values if isinstance(x, Basis) else x
    if not state:
        rescale(_observed(values), center=center, scale=scale, _state=state)
    scaled = np.asarray(rescale(values, center=center, scale=scale, _state=state))
    return Basis(scaled, x.suffixes) if isinstance(x, Basis) else scaled


def _bs(
    x: Vector,
    df: float | None = None,
    knots: Any = None,
    degree: float = 3,
    intercept: bool = False,
    boundary_knots: tuple[float, float] | None = None,
    *,
    state: dict[str, Any],
) -> Basis:
    from formulaic.transforms.basis_spline import basis_spline

    lower, upper = boundary_knots or (None, None)
    options: dict[str, Any] = {
        "df": None if df is None else int(df),
        "knots": None if knots is None else np.atleast_1d(knots).tolist(),
        "degree": int(degree),
        "include_intercept": intercept,
        "lower_bound": lower,
        "upper_bound": upper,
        "extrapolation": "extend",
    }
    if options["knots"] is not None:
        options["df"] = None
    if not state:
        basis_spline(_observed(x), **options, _state=state)
    columns = basis_spline(x, **options, _state=state).__wrapped__
    values = np.column_stack(list(columns.values()))
    values[np.isnan(x)] = np.nan
    return numbered_basis(values)


def _ns(
    x: Vector,
    df: float | None = None,
    knots: Any = None,
    intercept: bool = False,
    boundary_knots: tuple[float, float] | None = None,
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
        state.update(_natural_spline_state(_observed(x), df, knots, intercept, boundary_knots))
    lower, upper = state["boundary"]
    null_space = state["null_space"]
    spline = BSpline(state["knots"], np.eye(len(state["knots"]) - 4), 3)
    slope = spline.derivative()
    inside = np.clip(x, lower, upper)
    beyond = np.where(np.isnan(x), 0.0, x - inside)
    values = spline(inside)
    outside = beyond != 0
    values[outside] += beyond[outside, None] * slope(inside[outside])
    return numbered_basis(values[:, state["first"] :] @ null_space)


def _natural_spline_state(
    x: Vector,
    df: float | None,
    knots: Any,
    intercept: bool,
    boundary: tuple[float, float] | None,
) -> dict[str, Any]:
    from scipy.interpolate import BSpline
    from scipy.linalg import qr

    lower, upper = boundary or (float(x.min()), float(x.max()))
    if knots is None:
        count = 0 if df is None else int(df) - 1 - int(intercept)
        if count < 0:
            raise DataError(f"'df' is too small: at least {1 + int(intercept)} is needed")
        within = x[(x >= lower) & (x <= upper)]
        knots = np.quantile(within, np.linspace(0, 1, count + 2)[1:-1])
    all_knots = np.sort(np.concatenate([[lower] * 4, np.atleast_1d(knots), [upper] * 4]))
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


# ---------------------------------------------------------------------------------------------
# Factors


def _factor(
    x: Column,
    levels: Any = None,
    labels: Any = None,
    ordered: bool | None = None,
    *,
    state: dict[str, Any],
) -> Factor:
    factor = as_factor(x)
    if levels is not None:
        known = _names(levels)
        unseen: tuple[str, ...] = ()
    else:
        if not state:
            state["levels"] = drop_unused_levels(replace(factor, is_logical=False)).levels
        known = state["levels"]
        unseen = tuple(level for level in factor.levels if level not in known)
    factor = _with_levels(factor, known + unseen)
    if labels is not None:
        names = _names(labels)
        if len(names) != len(known):
            raise DataError(f"{len(names)} labels are given for {len(known)} levels")
        factor = replace(factor, levels=names + unseen)
    is_ordered = factor.is_ordered if ordered is None else bool(ordered)
    return replace(factor, is_ordered=is_ordered, is_logical=False, is_text=False)


def _names(levels: Any) -> tuple[str, ...]:
    """Levels or labels as an argument gives them: one, or a vector."""
    return tuple(map(level_name, levels if isinstance(levels, tuple) else (levels,)))


def _with_levels(factor: Factor, levels: tuple[str, ...]) -> Factor:
    position = {level: i for i, level in enumerate(levels)}
    codes = np.array([position.get(level, -1) for level in factor.levels] + [-1])[factor.codes]
    return replace(factor, codes=codes, levels=levels)


def _ordered(x: Column, levels: Any = None, labels: Any = None, *, state: dict[str, Any]) -> Factor:
    return _factor(x, levels, labels, ordered=True, state=state)


def _relevel(x: Column, ref: Scalar) -> Factor:
    factor = as_factor(x)
    wanted = level_name(ref)
    if wanted not in factor.levels:
        raise DataError(f"{wanted!r} is not a level.{nearest(wanted, factor.levels)}")
    others = tuple(level for level in factor.levels if level != wanted)
    return replace(_with_levels(factor, (wanted, *others)), is_text=False)


def _as_factor(x: Column) -> Factor:
    return replace(as_factor(x), is_text=False)


def _with_contrasts(object: Column, contr: Scalar = None) -> Factor:
    return replace(as_factor(object), contrasts=contr)


def _as_numeric(x: Column) -> Vector:
    if isinstance(x, Basis):
        raise DataError("a matrix is not one column")
    if isinstance(x, np.ndarray):
        return x
    if x.is_text:
        try:
            numbers = [float(level) for level in x.levels]
        except ValueError as error:
            raise DataError("the texts are not numbers") from error
    else:
        # R numbers the levels of a factor from 1, whatever they say.
        numbers = [i + (0.0 if x.is_logical else 1.0) for i in range(len(x.levels))]
    return np.array([*numbers, np.nan])[x.codes]


def _as_character(x: Column) -> Factor:
    """Strings: the levels that occur, sorted."""
    factor = drop_unused_levels(as_factor(x))
    return replace(_with_levels(factor, tuple(sorted(factor.levels))), is_text=True)


def _dummy(f: Column, levelstokeep: Any = None) -> Basis:
    """lme4's ``dummy()``: indicators of the named levels, of all but the first by default."""
    factor = as_factor(f)
    kept = factor.levels[1:] if levelstokeep is None else _names(levelstokeep)
    if unknown := [level for level in kept if level not in factor.levels]:
        raise DataError(f"{unknown[0]!r} is not a level.{nearest(unknown[0], factor.levels)}")
    names = np.array([*factor.levels, None], dtype=object)[factor.codes]
    values = np.column_stack([(names == level).astype(np.float64) for level in kept])
    values[factor.codes < 0] = np.nan
    return Basis(values, kept)


def _interaction(a: Column, b: Column, sep: str = ".") -> Factor:
    first, second = as_factor(a), as_factor(b)
    size = len(first.levels)
    codes = np.where((first.codes < 0) | (second.codes < 0), -1, second.codes * size + first.codes)
    levels = tuple(f"{left}{sep}{right}" for right in second.levels for left in first.levels)
    return drop_unused_levels(Factor(codes, levels))


def _cut(
    x: Vector,
    breaks: Any,
    labels: Any = None,
    include_lowest: bool = False,
    right: bool = True,
    dig_lab: float = 3,
    *,
    state: dict[str, Any],
) -> Column:
    if not state:
        state["breaks"] = _cut_points(_observed(x), breaks)
    points = state["breaks"]
    codes = np.searchsorted(points, x, side="left" if right else "right") - 1
    edge, code = (points[0], 0) if right else (points[-1], len(points) - 2)
    if include_lowest:
        codes = np.where(x == edge, code, codes)
    inside = (codes >= 0) & (codes < len(points) - 1) & ~np.isnan(x)
    codes = np.where(inside, codes, -1)
    if labels is False:
        return np.where(inside, codes + 1.0, np.nan)
    if labels is None:
        return Factor(codes, _interval_names(points, right, include_lowest, int(dig_lab)))
    names = _names(labels)
    if len(names) != len(points) - 1:
        raise DataError(f"{len(names)} labels are given for {len(points) - 1} intervals")
    return Factor(codes, names)


def _cut_points(x: Vector, breaks: Any) -> Vector:
    if isinstance(breaks, tuple) and len(breaks) > 1:
        return np.sort(np.asarray(breaks, dtype=np.float64))
    count = int(np.atleast_1d(breaks)[0])
    if count < 2:
        raise DataError("'breaks' must be at least 2 intervals, or a vector of cut points")
    lower, upper = float(x.min()), float(x.max())
    points = np.linspace(lower, upper, count + 1)
    margin = (upper - lower) / 1000
    points[0], points[-1] = lower - margin, upper + margin
    return points


def _interval_names(
    points: Vector, right: bool, include_lowest: bool, digits: int
) -> tuple[str, ...]:
    while True:
        texts = [f"{point:.{digits}g}" for point in points]
        if len(set(texts)) == len(texts) or digits >= 12:
            break
        digits += 1
    opening, closing = ("(", "]") if right else ("[", ")")
    names = [f"{opening}{a},{b}{closing}" for a, b in pairwise(texts)]
    if include_lowest and right:
        names[0] = f"[{names[0][1:]}"
    elif include_lowest:
        names[-1] = f"{names[-1][:-1]}]"
    return tuple(names)


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "C": _with_contrasts,
    "I": _identity,
    "as.character": _as_character,
    "as.factor": _as_factor,
    "as.integer": lambda x: np.trunc(_as_numeric(x)),
    "as.numeric": _as_numeric,
    "bs": _bs,
    "cut": _cut,
    "dummy": _dummy,
    "factor": _factor,
    "ifelse": _ifelse,
    "interaction": _interaction,
    "log": _log,
    "max": _summary(np.max),
    "mean": _summary(np.mean),
    "median": _summary(np.median),
    "min": _summary(np.min),
    "ns": _ns,
    "ordered": _ordered,
    "poly": _poly,
    "relevel": _relevel,
    "round": _round,
    "scale": _scale,
    "sd": _summary(lambda x: np.std(x, ddof=1)),
}
STATEFUL = frozenset(
    ["bs", "cut", "factor", "max", "mean", "median", "min", "ns", "ordered", "poly", "scale", "sd"]
)
"""Functions with a keyword `state`, in which they keep what they learned."""

OF_NUMBERS = STATEFUL - {"factor", "ordered", "scale"} | {"log", "round"}
"""Functions whose first argument must be numbers; truth values count 0 and 1."""
