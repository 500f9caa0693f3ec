"""Functions that make, change or read factors."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from lmm._types import Vector
from lmm.design.coding import CONTRASTS, Contrasts
from lmm.design.columns import (
    Basis,
    Column,
    Factor,
    as_factor,
    drop_unused_levels,
)
from lmm.design.functions.values import (
    MAX_COLUMNS,
    Scalar,
    flag,
    level_names,
    numbers,
    observed,
    whole,
)
from lmm.errors import DataError, nearest


def factor(
    x: Column,
    levels: Any = None,
    labels: Any = None,
    ordered: Scalar = None,
    *,
    state: dict[str, Any],
) -> Factor:
    """R's ``factor()``: levels of the original data come first, in their order."""
    values = as_factor(x)
    unseen: tuple[str, ...] = ()
    if levels is not None:
        known = level_names(levels, "levels")
        if len(set(known)) < len(known):
            raise DataError("'levels' names a level twice")
    else:
        if not state:
            state["levels"] = drop_unused_levels(replace(values, is_logical=False)).levels
        known = state["levels"]
        unseen = tuple(level for level in values.levels if level not in known)
    values = values.recode(known + unseen)
    if labels is not None:
        values = values.relabel(_labels(labels, len(known), "levels") + unseen)
    is_ordered = values.is_ordered if ordered is None else flag(ordered, "ordered")
    return replace(values, is_ordered=is_ordered, is_logical=False, is_text=False)


def _labels(labels: Any, count: int, what: str) -> tuple[str, ...]:
    names = level_names(labels, "labels")
    if len(names) != count:
        raise DataError(f"{len(names)} labels are given for {count} {what}")
    return names


def ordered(x: Column, levels: Any = None, labels: Any = None, *, state: dict[str, Any]) -> Factor:
    """R's ``ordered()``."""
    return factor(x, levels, labels, ordered=True, state=state)


def relevel(x: Column, ref: Scalar) -> Factor:
    """Factor with another first level."""
    values = as_factor(x)
    (wanted,) = level_names(ref, "ref")
    if wanted not in values.levels:
        raise DataError(f"{wanted!r} is not a level.{nearest(wanted, values.levels)}")
    others = tuple(level for level in values.levels if level != wanted)
    return replace(values.recode((wanted, *others)), is_text=False)


def as_factor_only(x: Column) -> Factor:
    """R's ``as.factor()``."""
    return replace(as_factor(x), is_text=False)


def as_numeric(x: Column) -> Vector:
    """R's ``as.numeric()``: texts by what they say, factors by the number of their level."""
    if isinstance(x, Basis):
        raise DataError("a matrix is not one column")
    if not isinstance(x, Factor):
        return x
    if not x.is_text:
        # R numbers the levels of a factor from 1, whatever they say.
        return x.by_level(np.arange(len(x.levels)) + (not x.is_logical), np.nan)
    try:
        return x.by_level([float(level) for level in x.levels], np.nan)
    except ValueError as error:
        raise DataError("the texts are not numbers") from error


def as_character(x: Column) -> Factor:
    """Strings: the levels that occur, sorted."""
    values = drop_unused_levels(as_factor(x))
    return replace(values.recode(tuple(sorted(values.levels))), is_text=True)


def starts_with(x: Column, prefix: Scalar) -> Factor:
    """Whether texts begin with a text."""
    (text,) = level_names(prefix, "prefix")
    values = as_factor(x)
    return values.where([level.startswith(text) for level in values.levels])


def ends_with(x: Column, suffix: Scalar) -> Factor:
    """Whether texts end with a text."""
    (text,) = level_names(suffix, "suffix")
    values = as_factor(x)
    return values.where([level.endswith(text) for level in values.levels])


def dummy(f: Column, levelstokeep: Any = None) -> Basis:
    """lme4's ``dummy()``: indicators of the named levels, of all but the first by default."""
    values = as_factor(f)
    kept = values.levels[1:]
    if levelstokeep is not None:
        kept = level_names(levelstokeep, "levelstokeep")
    if unknown := [level for level in kept if level not in values.levels]:
        raise DataError(f"{unknown[0]!r} is not a level.{nearest(unknown[0], values.levels)}")
    if not 0 < len(kept) <= MAX_COLUMNS:
        raise DataError(
            f"it makes {len(kept)} columns: name at least 1 level, at most {MAX_COLUMNS}"
        )
    columns = [values.by_level([level == k for level in values.levels], np.nan) for k in kept]
    return Basis(np.column_stack(columns), kept)


def interaction(*factors: Column, sep: Scalar = ".") -> Factor:
    """Combinations of levels that occur, the first factor's changing fastest."""
    (between,) = level_names(sep, "sep")
    total = as_factor(factors[0])
    for column in factors[1:]:
        total = _crossed(total, as_factor(column), between)
    return replace(drop_unused_levels(total), is_text=False)


def _crossed(first: Factor, second: Factor, sep: str) -> Factor:
    first, second = drop_unused_levels(first), drop_unused_levels(second)
    size = len(first.levels)
    codes = np.where((first.codes < 0) | (second.codes < 0), -1, second.codes * size + first.codes)
    found, inverse = np.unique(codes, return_inverse=True)
    present = found[found >= 0]
    levels = tuple(f"{first.levels[k % size]}{sep}{second.levels[k // size]}" for k in present)
    if len(set(levels)) < len(levels):
        twice = next(level for i, level in enumerate(levels) if level in levels[:i])
        raise DataError(f"two combinations would both be called {twice!r}: give another 'sep'")
    return Factor(inverse - (len(found) - len(present)), levels)


def cut(
    x: Vector,
    breaks: Any,
    labels: Any = None,
    include_lowest: Scalar = False,
    right: Scalar = True,
    dig_lab: Scalar = 3.0,
    *,
    state: dict[str, Any],
) -> Column:
    """Intervals of a number."""
    if not state:
        state["breaks"] = _cut_points(observed(x), breaks)
    points = state["breaks"]
    closed, lowest = flag(right, "right"), flag(include_lowest, "include.lowest")
    codes = np.searchsorted(points, x, side="left" if closed else "right") - 1
    edge, code = (points[0], 0) if closed else (points[-1], len(points) - 2)
    if lowest:
        codes = np.where(x == edge, code, codes)
    inside = (codes >= 0) & (codes < len(points) - 1) & ~np.isnan(x)
    codes = np.where(inside, codes, -1)
    if labels is False:
        return np.where(inside, codes + 1.0, np.nan)
    if labels is None or labels is True:
        digits = whole(dig_lab, "dig.lab", 1, 15)
        return Factor(codes, _interval_names(points, closed, lowest, digits))
    return Factor(codes, _labels(labels, len(points) - 1, "intervals"))


def _cut_points(x: Vector, breaks: Any) -> Vector:
    if isinstance(breaks, tuple) and len(breaks) > 1:
        points = np.sort(numbers(breaks, "breaks"))
        if not (np.diff(points) > 0).all():
            raise DataError("'breaks' are not distinct")
        return points
    count = whole(breaks[0] if isinstance(breaks, tuple) else breaks, "breaks", 2)
    lower, upper = float(x.min()), float(x.max())
    if not np.isfinite([lower, upper]).all():
        raise DataError("a number of intervals needs finite values: give the cut points")
    # As R: a constant column gets intervals as wide as its size.
    spread = upper - lower or abs(lower) or 1.0
    margin = spread / 1000
    if upper == lower:
        return np.linspace(lower - margin, upper + margin, count + 1)
    points = np.linspace(lower, upper, count + 1)
    points[0], points[-1] = lower - margin, upper + margin
    return points


def _interval_names(
    points: Vector, right: bool, include_lowest: bool, digits: int
) -> tuple[str, ...]:
    while True:
        texts = [_edge_text(point, digits) for point in points.tolist()]
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


def _edge_text(point: float, digits: int) -> str:
    """Write a number as R's ``formatC(width = 1)``, which puts a blank before Inf."""
    if np.isinf(point):
        return " Inf" if point > 0 else "-Inf"
    return f"{point:.{digits}g}"


# Contrasts ---------------------------------------------------------------------------------------


def with_contrasts(object: Column, contr: Any = None, base: Scalar = None) -> Factor:
    """R's and patsy's ``C()``: a factor with contrasts."""
    chosen = contr
    if isinstance(contr, str):
        chosen = _named(contr)
    if chosen is not None and not isinstance(chosen, Contrasts):
        raise DataError(
            "the contrasts must be named, as in C(f, contr.sum) or "
            "C(f, contr.treatment, base = 2); a matrix goes in the argument contrasts="
        )
    if base is not None:
        chosen = replace(chosen or Contrasts("contr.treatment"), base=_base(base))
    return replace(as_factor(object), contrasts=chosen)


def _named(name: str) -> Contrasts:
    if name not in CONTRASTS:
        raise DataError(f"unknown contrasts {name!r}.{nearest(name, CONTRASTS)}")
    return Contrasts(name, numbered=True)


def _base(value: Scalar) -> int | str:
    return value if isinstance(value, str) else whole(value, "base")


def _contrasts(name: str) -> Any:
    def contrasts(n: Scalar = None) -> Contrasts:
        return Contrasts(name, size=None if n is None else whole(n, "n", 2), numbered=True)

    return contrasts


def _treatment(n: Scalar = None, base: Scalar = 1.0) -> Contrasts:
    size = None if n is None else whole(n, "n", 2)
    return Contrasts("contr.treatment", base=_base(base), size=size, numbered=True)


def treatment(reference: Scalar = None) -> Contrasts:
    """The contrasts of patsy's ``Treatment``; the reference is named by its level."""
    base = 1 if reference is None else level_names(reference, "reference")[0]
    return Contrasts("contr.treatment", base=base)


CONTRAST_FUNCTIONS = {
    **{name: _contrasts(name) for name in CONTRASTS if name != "contr.treatment"},
    "contr.treatment": _treatment,
}
"""Functions that name contrasts, such as ``contr.treatment(3, base = 2)``."""
