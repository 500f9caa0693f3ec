"""Model-matrix columns as R makes them: which coding a factor gets in which term, and names.

Factors are coded by formulaic's contrasts and bases computed by formulaic's transforms.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np

from lmm._types import IntVector, Matrix, cached_property
from lmm.design.coding import Coding, contrast_coding, dummy_coding
from lmm.design.columns import Basis, Column, Factor, as_factor
from lmm.errors import DataError, nearest
from lmm.formula import Terms
from lmm.language.deparse import deparse

MAX_COLUMNS = 100_000
"""Most columns of a dense model matrix: far more than memory holds for the rows they need."""


@dataclass(frozen=True, eq=False)
class Predictor:
    """The terms of a linear predictor, over variables named by their text.

    Attributes
    ----------
    has_intercept : bool
        Whether the first column is 1.
    terms : tuple of tuple of str
        Variables of each term, in R's order.
    labels : tuple of str
        R's term labels.
    """

    has_intercept: bool
    terms: tuple[tuple[str, ...], ...]
    labels: tuple[str, ...]

    @classmethod
    def of(cls, expanded: Terms) -> Predictor:
        """Predictor of expanded terms."""
        terms = tuple(tuple(deparse(node) for node in term.factors) for term in expanded.terms)
        return cls(expanded.intercept, terms, tuple(":".join(term) for term in terms))

    @cached_property
    def variables(self) -> tuple[str, ...]:
        """Distinct variables, in order of appearance."""
        return tuple(dict.fromkeys(variable for term in self.terms for variable in term))

    @cached_property
    def _terms_with(self) -> dict[str, int]:
        """By variable, the terms that have it, as the bits of an integer."""
        found = dict.fromkeys(self.variables, 0)
        for j, term in enumerate(self.terms):
            for variable in term:
                found[variable] |= 1 << j
        return found

    @cached_property
    def contrast_rule(self) -> np.ndarray:
        """R's ``attr(terms, "factors")``, (variables, terms).

        0: the variable is not in the term; 1: it is, and is coded by contrasts, because the term
        without it lies within an earlier term; 2: it is, and is coded by indicators of all levels.
        """
        row = {variable: i for i, variable in enumerate(self.variables)}
        rule = np.zeros((len(self.variables), len(self.terms)), dtype=int)
        for j, term in enumerate(self.terms):
            earlier = (1 << j) - 1
            for variable in term:
                rest = [self._terms_with[other] for other in term if other != variable]
                within = not rest or reduce(operator.and_, rest, earlier)
                rule[row[variable], j] = 1 if within else 2
        return rule

    @cached_property
    def of_numbers(self) -> Layout:
        """The layout where no variable has levels, or several columns."""
        return _layout(self, self.contrast_rule, [{} for _ in self.terms], {})


@dataclass(frozen=True, eq=False)
class Layout:
    """The columns of a model matrix: which variable, coded how, in which term.

    Attributes
    ----------
    predictor : Predictor
        The terms.
    factors : (v, t) int array
        R's ``attr(terms, "factors")`` without the response: see `Predictor.contrast_rule`.
    codings : tuple of dict of str to Coding
        For each term, the coding of each of its factors.
    names : tuple of str
        R's names of the columns.
    assign : (p,) int array
        Term of each column, counted from 1; 0 is the intercept.
    """

    predictor: Predictor
    factors: np.ndarray
    codings: tuple[Mapping[str, Coding], ...]
    names: tuple[str, ...]
    assign: IntVector

    def matrix(self, columns: Mapping[str, Column], n: int) -> Matrix:
        """Model matrix (n, p) of columns by variable; missing values become NaN.

        Raises
        ------
        DataError
            If a factor has a level that it has no coding for, or a covariate is not numeric.
        """
        X = np.empty((n, len(self.names)), order="F")
        if self.predictor.has_intercept:
            X[:, 0] = 1.0
        stop = int(self.predictor.has_intercept)
        for term, codings in zip(self.predictor.terms, self.codings, strict=True):
            block = _term_columns([coded(v, columns[v], codings.get(v)) for v in term])
            start, stop = stop, stop + block.shape[1]
            X[:, start:stop] = block
        return X


def coded(variable: str, column: Column, coding: Coding | None) -> Matrix:
    """Columns (n, k) of one variable."""
    if coding is not None:
        return coding.columns(known_codes(variable, as_factor(column), coding.levels))
    if isinstance(column, Factor):
        raise DataError(f"variable {variable!r} must be numeric, as it was when the model was fit")
    return column.values if isinstance(column, Basis) else column[:, None]


def known_codes(variable: str, factor: Factor, levels: tuple[str, ...]) -> IntVector:
    """Codes of a factor in terms of `levels`; refuses rows with other levels."""
    unseen = len(levels)
    codes = factor.recode(levels, unknown=unseen).codes
    if (codes == unseen).any():
        level = factor.levels[factor.codes[np.argmax(codes == unseen)]]
        raise DataError(
            f"factor {variable!r} has level {level!r}, which the model was not fit with: its "
            f"effect cannot be predicted.{nearest(level, levels)}"
        )
    return codes


def _term_columns(pieces: Sequence[Matrix]) -> Matrix:
    """Row-wise products of the variables' columns, the first variable's changing fastest."""
    block = pieces[0]
    for piece in pieces[1:]:
        width = piece.shape[1] * block.shape[1]
        block = (piece[:, :, None] * block[:, None, :]).reshape(len(block), width)
    return block


def lay_out(
    predictor: Predictor,
    columns: Mapping[str, Column],
    contrasts: Mapping[str, object] | None = None,
) -> Layout:
    """Decide the columns of a model matrix, as R's ``model.matrix``.

    Parameters
    ----------
    predictor : Predictor
        The terms.
    columns : mapping of str to Column
        The variables.
    contrasts : mapping of str to object, optional
        Contrasts asked for, by variable: see `contrast_coding`.

    Raises
    ------
    DataError
        If contrasts do not fit their factor.
    """
    if not any(isinstance(columns[v], Factor | Basis) for v in predictor.variables):
        return predictor.of_numbers
    chosen = contrasts or {}
    factors = predictor.contrast_rule
    row = {variable: i for i, variable in enumerate(predictor.variables)}
    in_full = None if predictor.has_intercept else _first_factor(predictor, columns)
    codings: list[dict[str, Coding]] = []
    for j, term in enumerate(predictor.terms):
        coded: dict[str, Coding] = {}
        for variable in term:
            column = columns[variable]
            if not isinstance(column, Factor):
                continue
            if factors[row[variable], j] == 2 or (j, variable) == in_full:
                coded[variable] = dummy_coding(column.levels)
            else:
                coded[variable] = contrast_coding(variable, column, chosen.get(variable))
        codings.append(coded)
    return _layout(predictor, factors, codings, columns)


def lay_out_indicators(layout: Layout, columns: Mapping[str, Column]) -> Layout:
    """The same terms with every factor coded by indicators of all its levels.

    Its columns span what the layout's columns span and do not depend on contrasts: the estimable
    functions of a model are defined by them.
    """
    codings = [
        {variable: dummy_coding(coding.levels) for variable, coding in codings.items()}
        for codings in layout.codings
    ]
    return _layout(layout.predictor, layout.factors, codings, columns)


def _layout(
    predictor: Predictor,
    factors: np.ndarray,
    codings: Sequence[Mapping[str, Coding]],
    columns: Mapping[str, Column],
) -> Layout:
    """Name the columns that codings make, and tell their terms."""
    names = ["(Intercept)"] if predictor.has_intercept else []
    assign = [0] if predictor.has_intercept else []
    for j, (term, coded) in enumerate(zip(predictor.terms, codings, strict=True)):
        pieces = [_piece_names(v, columns.get(v), coded.get(v)) for v in term]
        width = math.prod(map(len, pieces))
        if len(names) + width > MAX_COLUMNS:
            raise DataError(
                f"the model matrix has more than {MAX_COLUMNS} columns: {':'.join(term)} alone "
                f"makes {width}. Let a factor with so many levels be a random effect"
            )
        added = _term_names(pieces)
        names += added
        assign += [j + 1] * len(added)
    return Layout(predictor, factors, tuple(codings), tuple(names), np.array(assign, dtype=np.intp))


def _first_factor(predictor: Predictor, columns: Mapping[str, Column]) -> tuple[int, str] | None:
    """Without an intercept R codes the first factor of the first term that has one in full."""
    for j, term in enumerate(predictor.terms):
        for variable in term:
            if isinstance(columns[variable], Factor):
                return j, variable
    return None


def _piece_names(variable: str, column: Column | None, coding: Coding | None) -> list[str]:
    if coding is not None:
        return [variable + suffix for suffix in coding.suffixes]
    if isinstance(column, Basis) and len(column.suffixes) > 1:
        return [variable + suffix for suffix in column.suffixes]
    return [variable]


def _term_names(pieces: Sequence[list[str]]) -> list[str]:
    names = pieces[0]
    for piece in pieces[1:]:
        names = [f"{first}:{second}" for second in piece for first in names]
    return names
