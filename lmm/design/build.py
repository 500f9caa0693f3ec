"""From a formula and data, or from arrays, to `ModelMatrices`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from lmm._types import Vector
from lmm.design.checks import (
    DEFAULT_CONTROL,
    LmerControl,
    check_groups,
    check_identifiers,
    check_rank,
    check_scale,
)
from lmm.design.choice import RowArgument
from lmm.design.columns import Basis, Column, Factor
from lmm.design.factor_contrasts import choose_contrasts
from lmm.design.fixed import FixedEffects, check_finite, independent_columns
from lmm.design.frame import Frame, Observations, build_frame
from lmm.design.functions.own import own_functions
from lmm.design.layout import Predictor, lay_out
from lmm.design.matrices import Design, ModelMatrices
from lmm.design.matrix_columns import formula_names
from lmm.design.outcome import read_outcome
from lmm.design.random import Bar, build_random, grouping_nodes
from lmm.design.response import Response
from lmm.design.table import Table
from lmm.errors import DataError, DoubleBarWarning, FormulaError, LmmWarning
from lmm.family import Family
from lmm.formula import (
    MAX_REMEMBERED,
    Formula,
    expand_terms,
    parse_formula,
    parse_one_sided,
    parse_two_sided,
    single_bars,
)
from lmm.language.deparse import deparse
from lmm.language.tree import Binary, Call, Node


@dataclass(frozen=True, eq=False)
class Plan:
    """What a formula asks for, whatever the data: computed once per formula.

    Attributes
    ----------
    formula : Formula
        The parsed formula.
    nodes : mapping of str to Node
        Every variable but grouping factors by its text: response, predictors, offsets.
    groups : mapping of str to Node
        The variables that group.
    response : str or None
        The response's text; None for a study that is planned.
    fixed : Predictor
        Terms of the fixed part.
    bars : tuple of Bar
        Random terms.
    offsets : tuple of str
        Variables that are offsets.
    """

    formula: Formula
    nodes: Mapping[str, Node]
    groups: Mapping[str, Node]
    response: str | None
    fixed: Predictor
    bars: tuple[Bar, ...]
    offsets: tuple[str, ...]


@lru_cache(maxsize=256)
def _remembered_plan(source: str, data_columns: tuple[str, ...] | None, planned: bool) -> Plan:
    return _plan(source, data_columns, planned)


def _plan(source: str, data_columns: tuple[str, ...] | None, planned: bool) -> Plan:
    """Plan of a formula; `data_columns` is what ``.`` stands for, if it occurs."""
    one_sided = planned and source.lstrip().startswith("~")
    formula = parse_one_sided(source) if one_sided else parse_two_sided(source)
    response = None if planned or formula.lhs is None else formula.response
    nodes: dict[str, Node] = {}
    if response is not None and formula.lhs is not None:
        nodes[response] = formula.lhs
    expanded = formula.terms(data_columns)
    fixed = Predictor.of(expanded)
    # As in R, a variable that is named and then subtracted still decides which rows are complete.
    named = expanded.variables if data_columns is None else ()
    kept = [node for term in expanded.terms for node in term.factors]
    nodes |= {deparse(node): node for node in (*named, *kept)}
    groups: dict[str, Node] = {}
    bars = []
    for term in formula.random:
        effects = expand_terms(term.effects)
        group = grouping_nodes(term.group)
        nodes |= {deparse(node): node for node in effects.variables}
        groups |= {deparse(node): node for node in group}
        bars.append(Bar(term, Predictor.of(effects), tuple(map(deparse, group))))
    offsets = []
    for call in formula.offsets:
        node = _offset_argument(call, source)
        nodes[deparse(node)] = node
        offsets.append(deparse(node))
    return Plan(formula, nodes, groups, response, fixed, tuple(bars), tuple(offsets))


def _offset_argument(call: Node, source: str) -> Node:
    match call:
        case Call(arguments=((None, node),)):
            return node
        case _:
            raise FormulaError("offset() takes one expression", source, call.span[0])


def build_matrices(
    formula: str | Formula,
    data: Any,
    *,
    weights: RowArgument = None,
    offset: RowArgument = None,
    subset: RowArgument = None,
    na_action: str = "omit",
    contrasts: Mapping[str, object] | None = None,
    control: LmerControl | None = None,
    planned: bool = False,
    family: Family | None = None,
    sigma: float | None = None,
    mixed: bool = True,
    extra_namespace: Mapping[str, Callable[..., Any]] | None = None,
) -> ModelMatrices:
    """Build the arrays of a mixed model from a formula and data (lme4's ``lFormula``).

    Parameters
    ----------
    formula : str or Formula
        Mixed-model formula in lme4's syntax.
    data : DataFrame, table or mapping of arrays
        pandas, polars or pyarrow table, or a dict of arrays; only columns in use are read.
    weights : str or array (n,), optional
        Prior weights, by column name or value: the residual variance is sigma^2 / weight. Rows of
        weight zero are left out, as in R's lm.
    offset : str or array (n,), optional
        Known part of the linear predictor; adds to ``offset()`` in the formula.
    subset : str or array (n,) of bool, optional
        Rows to use: a column name, a condition such as ``"x > 2 & g != 'a'"``, or values.
    na_action : {"omit", "exclude", "raise"}
        What to do with rows that have missing values; after ``"exclude"`` results per observation
        are padded with NaN.
    contrasts : mapping, optional
        Contrasts by factor: ``"contr.treatment"``, ``"contr.sum"``, ``"contr.helmert"``,
        ``"contr.poly"``, ``"contr.SAS"``, a matrix, a DataFrame with named columns, or a formulaic
        Contrasts object.
    control : LmerControl, optional
        Levels of the checks.
    planned : bool
        Whether there is no response yet: the formula's, if any, is not read, and y is zero.
    family : Family, optional
        Conditional distribution of the response; without one it is a linear model's.
    sigma : float, optional
        Residual standard deviation, where it is known; there may then be an effect for each row.
    mixed : bool
        Whether the formula has random terms, or none.
    extra_namespace : mapping, optional
        The caller's functions: see `lmm.lmer`.

    Returns
    -------
    ModelMatrices

    Raises
    ------
    FormulaError
        If the formula does not parse or names an unknown function.
    DataError
        If the data do not suit the formula, or a check at level ``"stop"`` does not pass.

    Examples
    --------
    >>> data = {"y": [1.0, 2, 4, 3, 5, 6], "x": [0, 1, 2, 0, 1, 2], "g": list("aaabbb")}
    >>> matrices = build_matrices("y ~ x + (1 | g)", data)
    >>> matrices.fixed.names, matrices.theta_names
    (('(Intercept)', 'x'), ('g.(Intercept)',))
    """
    control = LmerControl.of(control) or DEFAULT_CONTROL
    table = Table.of(data)
    plan = plan_for(parse_formula(formula) if mixed else _fixed_only(formula), table, planned)
    observed = build_frame(
        plan.nodes,
        plan.groups,
        plan.offsets,
        table,
        plan.formula.source,
        weights=weights,
        offset=offset,
        subset=subset,
        na_action=na_action,
        own=own_functions(extra_namespace),
    )
    frame = observed.frame
    response, about_response = _response(plan, observed, family)
    plan = plan_for(written_out(plan, frame), table, planned)
    terms = build_random(plan.bars, frame)
    notes = check_identifiers(observed.inexact)
    notes += check_groups(
        terms, frame.n, control, sigma is None and (family is None or family.has_scale)
    )
    notes += double_bar_notes(plan, frame)

    chosen: Mapping[str, object] = {}
    if contrasts:
        chosen, ignored = choose_contrasts(contrasts, plan.fixed, frame.columns, table.names)
        notes += ignored
    layout = lay_out(plan.fixed, frame.columns, chosen)
    X = layout.matrix(frame.columns, frame.n)
    check_finite(X, layout.names, frame)
    keeps_all = control.check_rankX == "ignore"
    kept = np.arange(X.shape[1]) if keeps_all else independent_columns(X)
    fixed = FixedEffects(layout, kept, frame.variables, plan.offsets)
    if len(kept) < X.shape[1]:
        X = X[:, kept]
        notes += check_rank(len(layout.names), fixed.dropped, control)
    notes += check_scale(X, control)
    design = Design(plan.formula, X, terms, fixed, frame, notes + about_response)
    return ModelMatrices(design, response)


def _fixed_only(text: str | Formula) -> Formula:
    formula = parse_two_sided(text)
    if formula.random:
        raise FormulaError(f"({formula.random[0]}) is a random term: fit the model with lmer")
    return formula


def plan_for(formula: Formula, table: Table, planned: bool) -> Plan:
    """Plan of a formula for a table.

    Raises
    ------
    DataError
        It has no response, and none is planned.
    """
    if formula.lhs is None and not planned:
        raise DataError("the formula has no response: write 'response ~ terms'")
    # Column names are part of the plan only where "." stands for them.
    has_dot = "." in formula.source and "." in formula.fixed_text
    plan = _remembered_plan if len(formula.source) <= MAX_REMEMBERED else _plan
    return plan(formula.source, formula_names(table.names) if has_dot else None, planned)


def written_out(plan: Plan, frame: Frame) -> Formula:
    """The formula with ``||`` apart where that is the same model: as lme4 stores it."""

    def is_apart(bar: Node) -> bool:
        assert isinstance(bar, Binary)
        effects = Predictor.of(expand_terms(bar.left))
        return not any(_has_columns(frame.columns[variable]) for variable in effects.variables)

    is_double = any(bar.term.is_double for bar in plan.bars)
    return plan.formula.written_out(is_apart) if is_double else plan.formula


def _has_columns(column: Column) -> bool:
    """Whether a variable has a coding, or several columns."""
    return isinstance(column, Factor) or (isinstance(column, Basis) and column.values.shape[1] > 1)


def double_bar_notes(plan: Plan, frame: Frame) -> tuple[LmmWarning, ...]:
    """Say where ``||`` separates columns that lme4 keeps together."""
    notes = {}
    for bar in plan.bars:
        together = [v for v in bar.predictor.variables if _has_columns(frame.columns[v])]
        if bar.term.is_double and together:
            term = bar.term
            effects, group = term.effects_text, deparse(term.group)
            apart = " + ".join(
                f"({deparse(part)})" for part in single_bars(term.effects, term.group)
            )
            notes[term.bar] = DoubleBarWarning(
                f"every column of ({effects} || {group}) varies independently, as in "
                f"diag({effects} | {group}); lme4 keeps the columns of {', '.join(together)} "
                f"correlated: for its model write {apart}"
            )
    return tuple(notes.values())


def _response(
    plan: Plan, observed: Observations, family: Family | None
) -> tuple[Response, tuple[LmmWarning, ...]]:
    """The response with weights and offset, and what does not look right."""
    frame, weights, offset = observed.frame, observed.weights, observed.offset
    if plan.response is None:
        return Response.of(np.zeros(frame.n), weights, offset), ()
    if family is None:
        return Response.of(linear_response(plan.formula, plan.response, frame), weights, offset), ()
    outcome = read_outcome(plan.response, frame.columns[plan.response], family, weights)
    trials = outcome.trials
    if trials is not None:
        weights = trials if weights is None else weights * trials
    response = Response.of(outcome.y, weights, offset)
    return replace(response, trials=trials, form=outcome.form), outcome.notes


def linear_response(formula: Formula, text: str, frame: Frame) -> Vector:
    """The response of a linear model (n,).

    Raises
    ------
    FormulaError, DataError
        It is no column of finite numbers.
    """
    y = frame.columns[text]
    if isinstance(y, Basis):
        assert formula.lhs is not None
        if isinstance(formula.lhs, Call) and formula.lhs.function == "cbind":
            raise FormulaError(
                "A linear mixed model takes one response, not the matrix that cbind() makes: "
                "fit one column, and use refit() or refit_many() for the others. Successes and "
                "failures are a response of glmer(family='binomial').",
                formula.source,
                formula.lhs.span[0],
            )
        raise DataError(
            f"can't handle matrix-valued responses: {text!r} has {y.values.shape[1]} "
            "columns. Fit one of them, and use refit() or refit_many() for the others"
        )
    if isinstance(y, Factor):
        kind = "truth values" if y.is_logical else "a factor"
        raise DataError(f"response must be numeric: {text!r} holds {kind}, such as {y.levels[0]!r}")
    check_finite(y[:, None], (text,), frame)
    return y
