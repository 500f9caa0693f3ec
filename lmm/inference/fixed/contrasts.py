"""Contrast matrices of the terms of the fixed part: hypotheses of type I, II and III.

A term's hypothesis is ``L beta = 0`` with one row of L (d, p) per degree of freedom.

* Type I: what the term adds to those before it. With ``X'X = R'R``, R upper triangular, the rows of
  R that belong to the term.
* Type II: what it adds to all terms that do not contain it; the columns of X are put in the order
  others, term, containing terms.
* Type III: rows of the term's own coefficients under treatment contrasts, made orthogonal to those
  of the terms that contain it in the space of estimable functions, that is with respect to
  ``K = C C'`` where ``X_o = X C`` codes each factor by indicators of all its levels (Goodnight,
  1978, SAS Technical Report R-101; "The four types of estimable functions", SAS/STAT User's Guide).

A term contains another if it has all its factors and more, and the same numeric variables. A term
that none contains is tested by its own coefficients in types II and III. In type II a matrix, such
as ``poly(x, 2)`` or ``scale(x)``, counts as a factor, as in lmerTest: what it interacts with is
tested without the interaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.linalg import null_space, qr, solve_triangular

from lmm._types import IntVector, Matrix
from lmm.design.columns import Basis
from lmm.design.fixed import (
    FixedEffects,
    Layout,
    independent_columns,
    lay_out,
    lay_out_indicators,
)
from lmm.design.matrices import ModelMatrices
from lmm.errors import nearest

__all__ = [
    "TYPES",
    "AnovaType",
    "TermContrasts",
    "anova_type",
    "containing_terms",
    "term_contrasts",
]

AnovaType = Literal["I", "II", "III"]
TYPES = {"I": "I", "II": "II", "III": "III", "1": "I", "2": "II", "3": "III"}

# Singular values below this fraction of the largest count as zero.
RANK = 1e-8
# Entries of a contrast below this are rounding errors of zero.
ZERO = 1e-9
# Coding whose coefficients compare each level with one reference level.
REFERENCE_CODING = ("contr.treatment", "contr.SAS", "dummy")


@dataclass(frozen=True, eq=False)
class TermContrasts:
    """Hypotheses of the fixed terms.

    Attributes
    ----------
    type : {"I", "II", "III"}
        Type of hypothesis.
    L : dict of str to (d, p) array
        Contrast matrix by term label, in the model's order; d is 0 where all columns of the term
        were dropped.
    rows : dict of str to tuple of str
        Names of the rows: the coefficients that they begin with (in type III those of treatment
        contrasts).
    missing_cells : tuple of str
        Combinations of levels that do not occur in the data (only looked for in type III, whose
        hypotheses then depend on which cells are missing).
    """

    type: AnovaType
    L: dict[str, Matrix]
    rows: dict[str, tuple[str, ...]]
    missing_cells: tuple[str, ...] = ()


def anova_type(name: str | int) -> AnovaType:
    """One of the three types by its name, ``"III"`` or 3.

    Raises
    ------
    ValueError
        Another name.
    """
    type_ = TYPES.get(str(name).upper())
    if type_ is None:
        raise ValueError(f"unknown type of test {name!r}.{nearest(str(name), TYPES)}")
    return type_  # type: ignore[return-value]


def term_contrasts(matrices: ModelMatrices, type_: AnovaType) -> TermContrasts:
    """Contrast matrices of all fixed terms.

    Examples
    --------
    >>> import lmm
    >>> formula = lmm.parse_formula("angle ~ recipe + temp + (1 | replicate)")
    >>> contrasts = term_contrasts(lmm.build_matrices(formula, lmm.load_dataset("cake")), "III")
    >>> contrasts.L["recipe"]
    array([[0., 1., 0., 0.],
           [0., 0., 1., 0.]])
    """
    fixed = matrices.fixed
    if type_ == "I":
        rows = _sequential(matrices.X)
        return TermContrasts(type_, _by_term(fixed, rows), _names_by_term(fixed))
    if type_ == "II":
        containing = containing_terms(fixed, _matrix_variables(matrices))
        return TermContrasts(type_, _type_two(matrices, containing), _names_by_term(fixed))
    return _type_three(matrices, containing_terms(fixed))


def deletion_contrasts(matrices: ModelMatrices, label: str) -> Matrix:
    """L (d, p) with ``L beta = 0`` in the model without a term that no other contains.

    Its own coefficients; fewer where dropped columns of other terms could take their place.
    """
    fixed = matrices.fixed
    term = fixed.term_labels.index(label) + 1
    own: Matrix = np.eye(matrices.p)[fixed.assign == term]
    if not fixed.dropped:
        return own
    others = fixed.layout.assign != term
    X_rest = fixed.layout.matrix(matrices.frame.columns, matrices.n)[:, others]
    L = restriction(matrices.X, X_rest)
    return own if len(L) == len(own) else L


def restriction(X: Matrix, smaller: Matrix) -> Matrix:
    """L (d, p) with ``L beta = 0`` where ``X beta`` lies in the span of `smaller`'s columns.

    Parameters
    ----------
    X : (n, p) array
        Columns of a model.
    smaller : (n, p0) array
        Columns within their span.

    Examples
    --------
    >>> X = np.array([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]])
    >>> np.abs(restriction(X, X[:, :1]))
    array([[0., 1.]])
    """
    C = _coordinates(X, smaller)
    return np.asarray(null_space(C.T, rcond=RANK).T)


def _matrix_variables(matrices: ModelMatrices) -> frozenset[str]:
    """Predictors that are matrices in R; ``scale(x)`` is one of a single column."""
    columns = matrices.frame.columns
    return frozenset(
        variable
        for variable in matrices.fixed.term_factors
        if isinstance(columns[variable], Basis) or variable.startswith("scale(")
    )


def containing_terms(
    fixed: FixedEffects, like_factors: frozenset[str] = frozenset()
) -> tuple[tuple[int, ...], ...]:
    """For each term, the terms that contain it, counted from 1 as in ``assign``.

    Marginal terms only: in ``a + a:b`` the coefficients of ``a:b`` are differences within each
    level of a (`a` is coded by all its levels there), and those of a stand for themselves.

    Parameters
    ----------
    fixed : FixedEffects
        The terms.
    like_factors : frozenset of str
        Numeric variables that count as factors.
    """
    terms = [frozenset(term) for term in fixed.term_variables]
    row = {variable: i for i, variable in enumerate(fixed.layout.predictor.variables)}
    numeric = [term - set(fixed.levels) - like_factors for term in terms]
    return tuple(
        tuple(
            j + 1
            for j, other in enumerate(terms)
            if term < other
            and numeric[i] == numeric[j]
            and all(fixed.factors[row[variable], j] == 1 for variable in term)
        )
        for i, term in enumerate(terms)
    )


def _by_term(fixed: FixedEffects, rows: Matrix) -> dict[str, Matrix]:
    return {label: rows[fixed.assign == j] for j, label in enumerate(fixed.term_labels, start=1)}


def _names_by_term(fixed: FixedEffects) -> dict[str, tuple[str, ...]]:
    names = np.array(fixed.names)
    return {
        label: tuple(names[fixed.assign == j]) for j, label in enumerate(fixed.term_labels, start=1)
    }


def _sequential(X: Matrix) -> Matrix:
    """Unit upper-triangular factor of X'X, rounding errors cleared, (p, p)."""
    R = np.linalg.qr(X, mode="r")
    return _cleared(R / np.diag(R)[:, None])


def _cleared(L: Matrix) -> Matrix:
    return np.where(np.abs(L) < ZERO, 0.0, L)


def _type_two(matrices: ModelMatrices, containing: Sequence[tuple[int, ...]]) -> dict[str, Matrix]:
    L = _by_term(matrices.fixed, np.eye(matrices.p))
    assign = matrices.fixed.assign
    for j, (label, above) in enumerate(zip(L, containing, strict=True), start=1):
        if above:
            own, last = assign == j, np.isin(assign, above)
            order = np.concatenate([np.flatnonzero(part) for part in (~own & ~last, own, last)])
            rows = np.empty((matrices.p, matrices.p))
            rows[:, order] = _sequential(matrices.X[:, order])
            first = int((~own & ~last).sum())
            L[label] = rows[first : first + int(own.sum())]
    return L


def _type_three(matrices: ModelMatrices, containing: Sequence[tuple[int, ...]]) -> TermContrasts:
    fixed, frame = matrices.fixed, matrices.frame
    columns = frame.columns
    indicators = lay_out_indicators(fixed.layout, columns)
    X_o = indicators.matrix(columns, frame.n)
    X, assign, names = _reference_coded(matrices)
    C = _coordinates(X, X_o)
    K = C @ C.T
    back = None if X is matrices.X else _coordinates(X, matrices.X)
    L, row_names = {}, {}
    for j, (label, above) in enumerate(zip(fixed.term_labels, containing, strict=True), start=1):
        own, last = np.flatnonzero(assign == j), np.flatnonzero(np.isin(assign, above))
        rows = np.eye(len(assign))[own]
        if len(own) and len(last):
            rows[:, last] = -np.linalg.solve(K[np.ix_(last, last)], K[np.ix_(last, own)]).T
        L[label] = _cleared(rows if back is None else rows @ back)
        row_names[label] = tuple(names[k] for k in own)
    return TermContrasts("III", L, row_names, _empty_cells(indicators, X_o))


def _reference_coded(matrices: ModelMatrices) -> tuple[Matrix, IntVector, tuple[str, ...]]:
    """X with treatment contrasts, dependent columns dropped; terms and names of its columns."""
    fixed, columns = matrices.fixed, matrices.frame.columns
    codings = [c.contrasts for term in fixed.layout.codings for c in term.values()]
    if all(coding in REFERENCE_CODING for coding in codings):
        return matrices.X, fixed.assign, fixed.names
    treatment = dict.fromkeys(fixed.levels, "contr.treatment")
    layout: Layout = lay_out(fixed.layout.predictor, columns, treatment)
    X = layout.matrix(columns, matrices.n)
    kept = independent_columns(X)
    return X[:, kept], layout.assign[kept], tuple(layout.names[j] for j in kept)


def _coordinates(X: Matrix, other: Matrix) -> Matrix:
    """C with ``other = X C``."""
    Q, R = qr(X, mode="economic")
    return np.asarray(solve_triangular(R, Q.T @ other))


def _empty_cells(indicators: Layout, X_o: Matrix) -> tuple[str, ...]:
    return tuple(indicators.names[j] for j in np.flatnonzero(~X_o.any(axis=0)))
