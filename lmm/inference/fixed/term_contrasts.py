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

A term contains another if both have the same numeric variables, coded the same way, and it compares
levels of more factors in something that the other stands for: ``a:b`` contains `a` in ``a * b``,
``g:x:b`` contains ``g:x`` in ``g / x * b``, and ``f:x`` contains ``h:x`` in ``h:x + f:x``, where
the slopes of h are those at the reference level of f (`containing_terms`). A term that none
contains is tested by its own coefficients in types II and III; so is the only term of a model, by
the rows of type I. In type II a matrix, such as ``poly(x, 2)`` or ``scale(x)``, counts as a factor,
as in lmerTest: what it interacts with is tested without the interaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.linalg import null_space, qr, solve_triangular

from lmm._types import Frozen, IntVector, Matrix
from lmm.design.columns import Basis
from lmm.design.fixed import FixedEffects, independent_columns
from lmm.design.layout import Layout, lay_out, lay_out_indicators
from lmm.design.matrices import ModelMatrices
from lmm.errors import nearest

AnovaType = Literal["I", "II", "III"]
TYPES = {"I": "I", "II": "II", "III": "III", "1": "I", "2": "II", "3": "III"}

# Singular values below this fraction of the largest count as zero.
RANK = 1e-8
# Entries of a contrast below this are rounding errors of zero.
ZERO = 1e-9
# Coding whose coefficients compare each level with one reference level.
REFERENCE_CODING = ("contr.treatment", "contr.SAS", "dummy")


@dataclass(frozen=True, eq=False)
class TermContrasts(Frozen):
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
        Another name, or a model.
    """
    if hasattr(name, "fit"):
        raise ValueError("type is a model: compare models by lmm.anova(m, other)")
    type_ = TYPES.get(str(name).upper())
    if type_ is None:
        raise ValueError(f"unknown type of test {name!r}.{nearest(str(name), TYPES)}")
    return type_  # type: ignore[return-value]


def term_contrasts(
    matrices: ModelMatrices, type_: AnovaType, vcov: Matrix | None = None
) -> TermContrasts:
    """Contrast matrices of all fixed terms.

    Parameters
    ----------
    matrices : ModelMatrices
        The model.
    type_ : {"I", "II", "III"}
        Type of hypothesis.
    vcov : (p, p) array, optional
        Covariance of the coefficients, for car's type II: the hypotheses that the estimates of the
        containing terms say nothing of, where every term with all of a term's variables contains
        it, numeric ones too. Those of lmerTest look at the columns of X only.

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
    if type_ == "I" or len(fixed.term_labels) == 1:
        rows = _sequential(matrices.factor)
        return TermContrasts(type_, _by_term(fixed, rows), _names_by_term(fixed))
    if type_ == "II":
        containing = (
            containing_terms(fixed, _matrix_variables(matrices))
            if vcov is None
            else larger_terms(fixed)
        )
        L = _type_two(matrices, containing, vcov)
        return TermContrasts(type_, L, _names_by_term(fixed))
    return _type_three(matrices.spanning, containing_terms(fixed))


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
    known = matrices.spanning
    X_rest = fixed.layout.matrix(known.frame.columns, known.n)[:, others]
    L = restriction(known.X, X_rest)
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


@dataclass(frozen=True)
class _Coded:
    """How a term is coded.

    Attributes
    ----------
    numeric : frozenset of (str, int)
        Numeric variables with their entries in R's ``attr(terms, "factors")``.
    factors : frozenset of str
        Factors.
    contrasts : frozenset of str
        Those that are coded by contrasts; the others by indicators of all their levels.
    """

    numeric: frozenset[tuple[str, int]]
    factors: frozenset[str]
    contrasts: frozenset[str]

    @property
    def covariates(self) -> frozenset[str]:
        """Numeric variables."""
        return frozenset(variable for variable, _ in self.numeric)


def containing_terms(
    fixed: FixedEffects, like_factors: frozenset[str] = frozenset()
) -> tuple[tuple[int, ...], ...]:
    """For each term, the terms that contain it, counted from 1 as in ``assign``.

    The coefficients of a term depend on how the terms that contain it compare levels. Those of `a`
    in ``a + a:b`` and of x in ``x + f:x`` do too, but count as questions of their own, as in
    lmerTest: what they share with the larger term is coded another way there.

    Parameters
    ----------
    fixed : FixedEffects
        The terms.
    like_factors : frozenset of str
        Numeric variables that count as factors.
    """
    terms = _coded_terms(fixed, frozenset(fixed.levels) | like_factors)
    return tuple(
        tuple(
            j + 1
            for j, other in enumerate(terms)
            if term.numeric == other.numeric
            and term.contrasts < other.contrasts
            and _is_own(term.factors & other.factors, term, terms[:i], fixed.has_intercept)
        )
        for i, term in enumerate(terms)
    )


def larger_terms(fixed: FixedEffects) -> tuple[tuple[int, ...], ...]:
    """For each term, those that have all its variables and more, counted from 1: car's rule."""
    sets = [frozenset(variables) for variables in fixed.term_variables]
    return tuple(tuple(j + 1 for j, other in enumerate(sets) if own < other) for own in sets)


def _is_own(
    shared: frozenset[str], term: _Coded, earlier: Sequence[_Coded], has_intercept: bool
) -> bool:
    """Whether what a term says of the cells of `shared` factors is not said by an earlier one."""
    if not shared and not term.numeric and has_intercept:
        return False
    return not any(
        term.covariates == other.covariates and shared <= other.factors for other in earlier
    )


def _coded_terms(fixed: FixedEffects, factors: frozenset[str]) -> tuple[_Coded, ...]:
    coded = []
    for j, term in enumerate(fixed.term_variables):
        rule = dict(zip(fixed.term_factors, fixed.factors[:, j].tolist(), strict=True))
        inside = factors.intersection(term)
        coded.append(
            _Coded(
                frozenset((variable, rule[variable]) for variable in set(term) - inside),
                inside,
                frozenset(variable for variable in inside if rule[variable] == 1),
            )
        )
    return tuple(coded)


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


def _type_two(
    matrices: ModelMatrices, containing: Sequence[tuple[int, ...]], vcov: Matrix | None
) -> dict[str, Matrix]:
    L = _by_term(matrices.fixed, np.eye(matrices.p))
    assign, factor = matrices.fixed.assign, matrices.factor
    for j, (label, above) in enumerate(zip(L, containing, strict=True), start=1):
        if above:
            own, last = assign == j, np.isin(assign, above)
            if vcov is not None:
                weights = np.linalg.solve(vcov[np.ix_(last, last)], vcov[np.ix_(last, own)])
                L[label][:, last] -= weights.T
                continue
            order = np.concatenate([np.flatnonzero(part) for part in (~own & ~last, own, last)])
            rows = np.empty((matrices.p, matrices.p))
            rows[:, order] = _sequential(factor[:, order])
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
