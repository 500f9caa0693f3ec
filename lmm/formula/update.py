"""R's `update` of a formula."""

from __future__ import annotations

import math

from lmm.errors import FormulaError
from lmm.formula.formula import (
    Formula,
    check_text,
    expand_double_bars,
    formula_lines,
    parse_formula,
    parse_one_sided,
)
from lmm.formula.terms import TermAlgebra, Terms, is_offset, is_random_call
from lmm.language import (
    Binary,
    Call,
    Name,
    Node,
    Number,
    Paren,
    Unary,
    add,
    deparse,
    is_bar,
    map_summands,
    parse_tilde,
)


def update_formula(old: Formula, change: str) -> Formula:
    """Change a formula with R's dots: ``. ~ . + x``, ``. ~ . - (1 | g)``, ``log(.) ~ .``.

    Parameters
    ----------
    old : Formula
        The formula that ``.`` stands for, side by side.
    change : str
        A formula; without a left side the old response stays.

    Returns
    -------
    Formula
        Expanded to its terms, sorted by degree, as R's ``update.formula`` does.

    Raises
    ------
    FormulaError
        When `change` does not parse, removes a random term that is not there, or leaves no
        random term.

    Examples
    --------
    >>> print(update_formula(parse_formula("y ~ a*b + (1 | g)"), ". ~ . - a:b + (0 + a | g)"))
    y ~ a + b + (1 | g) + (0 + a | g)
    """
    lhs, rhs = parse_tilde(check_text(change))
    response = old.lhs if lhs is None else _substitute_dot(lhs, old.lhs or Name("."))
    dot = Paren(expand_double_bars(old.rhs, "||"))
    algebra = TermAlgebra(change, keep_random=True)
    right = _rebuild(algebra.expand(_substitute_dot(expand_double_bars(rhs, "||"), dot)), change)
    text = formula_lines(response, right, math.inf)[0]
    return parse_one_sided(text) if response is None else parse_formula(text)


def _substitute_dot(node: Node, dot: Node) -> Node:
    match node:
        case Name(id="."):
            return dot
        case Paren():
            return Paren(_substitute_dot(node.inner, dot), span=node.span)
        case Unary():
            return Unary(node.op, _substitute_dot(node.operand, dot), span=node.span)
        case Binary(op="+" | "-"):
            return map_summands(lambda operand: _substitute_dot(operand, dot), node)
        case Binary():
            left, right = _substitute_dot(node.left, dot), _substitute_dot(node.right, dot)
            return Binary(node.op, left, right, span=node.span)
        case Call():
            arguments = ((name, _substitute_dot(value, dot)) for name, value in node.arguments)
            return Call(node.function, tuple(arguments), span=node.span)
        case _:
            return node


def _rebuild(expanded: Terms, source: str) -> Node:
    """Add the terms up as R's ``update.formula`` does: offsets and ``- 1`` go last."""
    terms: list[Node] = []
    offsets: list[Node] = []
    for term in expanded.terms:
        special = [factor for factor in term.factors if is_bar(factor) or is_random_call(factor)]
        if special and len(term.factors) > 1:
            raise FormulaError(
                f"The random term ({deparse(special[0])}) cannot be in an interaction: "
                "add the new fixed terms by name, as in . ~ . + x:z.",
                source,
                source.index("~") + 1,
            )
        wrapped = Paren(term.node) if is_bar(term.node) else term.node
        (offsets if is_offset(term.node) else terms).append(wrapped)
    right = add([*(terms or [Number(1.0)]), *offsets])
    return right if expanded.intercept else Binary("-", right, Number(1.0))
