"""The covariance structure of a random term, from its word in the formula and its columns."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lmm._types import Vector
from lmm.covariance import STRUCTURES, WIDE, Covariance
from lmm.design.columns import Column, Factor
from lmm.design.labels import is_number
from lmm.design.layout import Layout
from lmm.errors import DataError, FormulaError
from lmm.formula import RandomTerm

MAX_STRUCTURED = 200
"""Most columns of a structured term."""


def covariance_of(term: RandomTerm, layout: Layout, columns: Mapping[str, Column]) -> Covariance:
    """Covariance structure of a random term.

    Parameters
    ----------
    term : RandomTerm
        The term as parsed.
    layout : Layout
        Its columns.
    columns : mapping of str to Column
        Variables of the columns.

    Raises
    ------
    FormulaError
        The structure does not fit the columns.
    """
    structure, size = STRUCTURES[term.structure], len(layout.names)
    hom = bool(structure.hom) if term.hom is None else term.hom
    if structure.of_levels:
        factor = _only_factor(term, layout, columns)
        if factor.gaps and not structure.of_times:
            raise FormulaError(_gap(term, factor))
        times = _times(term, factor) if structure.of_times else ()
    else:
        times = ()
    if term.structure in ("us", "diag"):
        return structure.make(size, hom, times)
    if not 2 <= size <= MAX_STRUCTURED:
        raise FormulaError(_wrong_size(term, size))
    covariance = structure.make(size, hom, times)
    if size > WIDE and covariance.n_units >= size:
        raise FormulaError(
            f"{term.structure}({term}) has {size} columns and {covariance.n_par} parameters: more "
            f"than {WIDE} columns are possible for cs, ar1 and ou of one variance. Write "
            "hom = TRUE there, or use fewer levels, or wider classes of them."
        )
    return covariance


def _wrong_size(term: RandomTerm, size: int) -> str:
    if size < 2:
        return (
            f"{term.structure}({term}) has one column, and so nothing to correlate: write ({term})."
        )
    return (
        f"{term.structure}({term}) has {size} columns, and at most {MAX_STRUCTURED} are possible: "
        "use fewer levels, or wider classes of them."
    )


def _only_factor(term: RandomTerm, layout: Layout, columns: Mapping[str, Column]) -> Factor:
    """The factor whose levels are the columns."""
    predictor = layout.predictor
    if not predictor.has_intercept and [len(variables) for variables in predictor.terms] == [1]:
        column = columns[predictor.terms[0][0]]
        if isinstance(column, Factor):
            return column
    raise FormulaError(
        f"{term.structure}({term}) correlates the levels of one factor, in their order: "
        f"write {term.structure}(0 + f | {term.group_text}) with a factor f, "
        "or factor(x) for a numeric column x."
    )


def _gap(term: RandomTerm, factor: Factor) -> str:
    return (
        f"{term.structure}({term}) takes distances from the order of the levels, but "
        f"{', '.join(map(repr, factor.gaps[:5]))} between others has no rows: its neighbours would "
        "count as next to each other. If they are, write factor(f) for f, which leaves it out; "
        "else take ou() for distances in time."
    )


def _times(term: RandomTerm, factor: Factor) -> tuple[float, ...]:
    """Levels of a factor as numbers."""
    try:
        return tuple(float(level) for level in factor.levels)
    except ValueError:
        wrong = next(level for level in factor.levels if not is_number(level))
        raise FormulaError(
            f"{term.structure}({term}) takes times from the levels of the factor, but "
            f"{wrong!r} is no number: use ar1() for levels of equal distance."
        ) from None


def times_of(factor: Factor, name: str) -> Vector:
    """Levels of rows as numbers, (n,); NaN where missing.

    Raises
    ------
    DataError
        A level is no number.
    """
    if wrong := [level for level in factor.levels if not is_number(level)]:
        raise DataError(f"{wrong[0]!r} of {name} is no number: the model takes times from it")
    return factor.by_level(np.array([float(level) for level in factor.levels]), np.nan)
