"""Model-matrix columns as R makes them: terms, contrasts, names, linear dependence.

Factors are coded by formulaic's contrasts and bases computed by formulaic's transforms; which
coding a factor gets in which term, and how columns are named, follow R.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from itertools import chain
from typing import Any

import numpy as np

from lmm._lapack import qr_factor
from lmm._types import IntVector, Matrix, Vector
from lmm.design.coding import Coding, contrast_coding, dummy_coding
from lmm.design.columns import Basis, Column, Factor, as_factor
from lmm.design.evaluate import contrasts_of_text
from lmm.design.frame import Frame, Variables
from lmm.errors import ContrastsWarning, DataError, FormulaError, LmmWarning, nearest
from lmm.formula import Terms
from lmm.language import Name, Node, deparse, parse_expression, variables

__all__ = [
    "FixedEffects",
    "Layout",
    "Predictor",
    "independent_columns",
    "lay_out",
    "lay_out_indicators",
]

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
            block = _term_columns([_coded(v, columns[v], codings.get(v)) for v in term])
            start, stop = stop, stop + block.shape[1]
            X[:, start:stop] = block
        return X


def _coded(variable: str, column: Column, coding: Coding | None) -> Matrix:
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
            f"factor {variable!r} has level {level!r}, which the model was not fit with: a fixed "
            f"effect cannot be predicted for it.{nearest(level, levels)}"
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
        pieces = [_piece_names(v, columns[v], coded.get(v)) for v in term]
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


def choose_contrasts(
    contrasts: Mapping[str, object],
    predictor: Predictor,
    columns: Mapping[str, Column],
    names: Sequence[str],
) -> tuple[dict[str, object], tuple[LmmWarning, ...]]:
    """Contrasts by variable, and notes about those of factors that the predictor does not have.

    As in R, contrasts of a column that the formula does not use are ignored with a warning, so
    that a term can be dropped.

    Parameters
    ----------
    contrasts : mapping of str to object
        What was asked for, by the factor's name with or without back-ticks.
    predictor : Predictor
        The terms.
    columns : mapping of str to Column
        The variables.
    names : sequence of str
        Columns of the data.

    Raises
    ------
    DataError
        If contrasts are asked for what is neither a factor of the predictor nor a column.
    """
    known = [v for v in predictor.variables if isinstance(columns[v], Factor)]
    chosen: dict[str, object] = {}
    notes: list[LmmWarning] = []
    for name, value in contrasts.items():
        node = Name(name) if name in names else _expression(name)
        variable = deparse(node) if node is not None else name
        if variable in known:
            chosen[variable] = contrasts_of_text(value) if isinstance(value, str) else value
        elif variable not in predictor.variables and node is not None and _is_of(node, names):
            text = f"variable {name!r} is absent, its contrast will be ignored"
            notes.append(ContrastsWarning(text))
        else:
            hint = nearest(name, known) if known else " It has none."
            raise DataError(
                f"contrasts are given for {name!r}, which is not a factor of the fixed part.{hint}"
            )
    return chosen, tuple(notes)


def contrast_columns(contrasts: Mapping[str, object] | None) -> list[str]:
    """Columns that contrasts may name, those that the formula does not use among them."""
    nodes = [_expression(name) for name in contrasts or ()]
    used = [variables(node) for node in nodes if node is not None]
    return [*(contrasts or ()), *chain.from_iterable(used)]


def _expression(text: str) -> Node | None:
    """Expression that a text is, if it is one."""
    try:
        return parse_expression(text)
    except FormulaError:
        return None


def _is_of(node: Node, names: Sequence[str]) -> bool:
    """Whether an expression is one of columns."""
    used = set(variables(node))
    return bool(used) and used <= set(names)


def _first_factor(predictor: Predictor, columns: Mapping[str, Column]) -> tuple[int, str] | None:
    """Without an intercept R codes the first factor of the first term that has one in full."""
    for j, term in enumerate(predictor.terms):
        for variable in term:
            if isinstance(columns[variable], Factor):
                return j, variable
    return None


def _piece_names(variable: str, column: Column, coding: Coding | None) -> list[str]:
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


@dataclass(frozen=True, eq=False)
class FixedEffects:
    """What the columns of X are, and how to make them for new data.

    Attributes
    ----------
    layout : Layout
        All columns, before linearly dependent ones are dropped: terms, variables, the contrast
        matrix of each factor in each term.
    kept : (p,) int array
        Which of the layout's columns X has.
    variables : Variables
        Recipe of the variables.
    offsets : tuple of str
        The formula's offsets, as variables.

    Notes
    -----
    For tests of terms: column j of X belongs to term ``term_labels[assign[j] - 1]`` (to the
    intercept where ``assign[j]`` is 0); ``factors`` says which variables make up a term, so that
    one term is marginal to another if its variables are a subset; ``layout.codings[t][f].matrix``
    is the contrast matrix of factor f in term t.
    """

    layout: Layout
    kept: IntVector
    variables: Variables
    offsets: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the p columns of X."""
        return tuple(self.layout.names[j] for j in self.kept)

    @property
    def full_names(self) -> tuple[str, ...]:
        """Names of all columns, dropped ones too, in R's order."""
        return self.layout.names

    @property
    def dropped(self) -> tuple[str, ...]:
        """Names of the dropped columns, in R's order."""
        kept = set(self.kept.tolist())
        return tuple(name for j, name in enumerate(self.layout.names) if j not in kept)

    @property
    def assign(self) -> IntVector:
        """Term of each column of X, (p,), counted from 1; 0 is the intercept."""
        return self.layout.assign[self.kept]

    @property
    def term_labels(self) -> tuple[str, ...]:
        """R's labels of the terms, without the intercept."""
        return self.layout.predictor.labels

    @property
    def term_variables(self) -> tuple[tuple[str, ...], ...]:
        """Variables of each term."""
        return self.layout.predictor.terms

    @property
    def term_factors(self) -> tuple[str, ...]:
        """Distinct variables of the terms: the rows of `factors`."""
        return self.layout.predictor.variables

    @property
    def has_intercept(self) -> bool:
        """Whether the model has an intercept."""
        return self.layout.predictor.has_intercept

    @property
    def factors(self) -> np.ndarray:
        """R's ``attr(terms, "factors")``, (variables, terms): see `Predictor.contrast_rule`."""
        return self.layout.factors

    @property
    def levels(self) -> dict[str, tuple[str, ...]]:
        """Levels of each factor of the fixed part (R's ``xlevels``)."""
        return {
            variable: coding.levels
            for codings in self.layout.codings
            for variable, coding in codings.items()
        }

    def matrix(self, data: Any) -> Matrix:
        """X for new data, (n_new, p); rows with missing values are NaN.

        Raises
        ------
        DataError
            If a column is missing, a factor has an unknown level, or a covariate is not numeric.
        """
        columns, n = self.variables.on(data, self.layout.predictor.variables)
        return self.layout.matrix(columns, n)[:, self.kept]

    def offset(self, data: Any) -> Vector:
        """Sum of the formula's offsets on new data, (n_new,); zeros if it has none."""
        columns, n = self.variables.on(data, self.offsets)
        total = np.zeros(n)
        for text in self.offsets:
            total = total + _coded(text, columns[text], None)[:, 0]
        return total


def independent_columns(X: Matrix, tol: float = 1e-7) -> IntVector:
    """Columns of X that R keeps: those not linearly dependent on earlier ones.

    Householder QR with LINPACK's limited pivoting: going from left to right, a column whose norm,
    after projection on the complement of the columns kept so far, falls below `tol` times its own
    norm is moved to the end (as R's ``qr``; Chambers, 1977, Computational Methods for Data
    Analysis, section 5.d, describes the decomposition).

    Parameters
    ----------
    X : (n, p) array
        Model matrix.
    tol : float
        Relative norm below which a column counts as dependent.

    Returns
    -------
    (r,) int array
        Positions of the kept columns, increasing.

    Examples
    --------
    >>> independent_columns(np.array([[1.0, 0, 2, 1], [1, 1, 2, 0], [1, 2, 2, 5]]))
    array([0, 1, 3])
    """
    n, p = X.shape
    if n >= p and p > 0:
        # Without dependence no column moves, and one LAPACK call shows it.
        R = qr_factor(X)
        norms = np.sqrt(np.einsum("ij,ij->j", R, R))
        if (np.abs(R.diagonal()) >= tol * np.where(norms > 0, norms, 1.0)).all():
            return np.arange(p)
    kept: list[int] = []
    work = X.astype(np.float64, order="F")
    for j in range(p):
        rank = len(kept)
        if rank == n:
            break
        original = np.linalg.norm(X[:, j])
        pivot = work[rank:, j]
        norm = np.linalg.norm(pivot)
        if norm < tol * (original if original > 0 else 1.0):
            continue
        reflector = pivot.copy()
        reflector[0] += np.copysign(norm, pivot[0])
        reflector /= np.linalg.norm(reflector)
        work[rank:, j:] -= 2.0 * np.outer(reflector, reflector @ work[rank:, j:])
        kept.append(j)
    return np.array(kept, dtype=np.intp)


def check_finite(X: Matrix, names: Sequence[str], frame: Frame) -> None:
    """Refuse infinite values, naming the first column and row that has one.

    Raises
    ------
    DataError
        If an entry of X is infinite.
    """
    if np.isfinite(X).all():
        return
    j = int(np.argmax(~np.isfinite(X).all(axis=0)))
    bad = ~np.isfinite(X[:, j])
    raise DataError(
        f"infinite values in {names[j]!r}: {int(bad.sum())} of {len(bad)} rows, first at "
        f"{frame.row_name(int(np.argmax(bad)))}. Correct them, or mark them as missing"
    )
