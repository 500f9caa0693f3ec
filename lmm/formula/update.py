"""R's `update` of a formula."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import chain

from lmm.errors import FormulaError
from lmm.formula.formula import (
    Formula,
    check_text,
    formula_lines,
    parse_formula,
    parse_one_sided,
    parse_two_sided,
    single_bars,
)
from lmm.formula.terms import TermAlgebra, Terms, has_random, is_offset, is_random_call
from lmm.language.deparse import deparse
from lmm.language.operators import Sets
from lmm.language.parse import parse_tilde
from lmm.language.tree import Binary, Name, Node, Number, Paren, add, is_bar, map_children, walk

MAX_DOTS = 20
"""How often a change may repeat the old formula."""


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
        random term of a formula that has some.

    Examples
    --------
    >>> print(update_formula(parse_formula("y ~ a*b + (1 | g)"), ". ~ . - a:b + (0 + a | g)"))
    y ~ a + b + (1 | g) + (0 + a | g)
    """
    lhs, rhs = parse_tilde(check_text(change))
    for side in (lhs or rhs, rhs):
        if sum(node == Name(".") for node in walk(side)) > MAX_DOTS:
            raise FormulaError(f"The change names '.' more than {MAX_DOTS} times.")
    response = old.lhs if lhs is None else _substitute_dot(lhs, old.lhs or Name("."))
    expanded = _DotAlgebra(change).expand(_substitute_dot(rhs, Paren(old.rhs)))
    text = formula_lines(response, _rebuild(expanded, change), math.inf)[0]
    if response is None:
        return parse_one_sided(text)
    return parse_formula(text) if old.random else parse_two_sided(text)


def _substitute_dot(node: Node, dot: Node) -> Node:
    if isinstance(node, Name):
        return dot if node.id == "." else node
    return map_children(lambda part: _substitute_dot(part, dot), node)


class _DotAlgebra(TermAlgebra):
    """The algebra with random terms as variables, so that they can be taken away."""

    def checked_atom(self, node: Node) -> Node:
        return node

    def without(self, total: Sets, removed: Sets, operand: Node) -> Sets:
        if not has_random(operand):
            return super().without(total, removed, operand)
        spellings = [self.spellings(numbers) for numbers in removed]
        apart = self.written_out(total, dict.fromkeys(chain(*chain(*spellings))))
        for present in (total, apart):
            found = [next((s for s in same if s <= present.keys()), None) for same in spellings]
            if None not in found:
                gone = frozenset().union(*filter(None, found))
                return super().without(present, dict.fromkeys(gone), operand)
        raise self.nothing_to_remove(total, operand)

    def spellings(self, numbers: frozenset[int]) -> list[frozenset[frozenset[int]]]:
        """A random term, with ``||`` for ``|`` or the reverse, and the parts of ``||``."""
        (number, *_) = numbers
        bar = self.atoms[number]
        if not isinstance(bar, Binary) or not is_bar(bar):
            return [frozenset({numbers})]
        other = replace(bar, op="|" if bar.op == "||" else "||")
        spelled = [frozenset({numbers}), frozenset({frozenset({self.number(other)})})]
        if bar.op == "||":
            parts = [self.number(part) for part in single_bars(bar.left, bar.right)]
            spelled.append(frozenset(frozenset({part}) for part in parts))
        return spelled

    def written_out(self, total: Sets, removed: Sets) -> Sets:
        """The sum with those ``||`` bars apart that hold a term which is to be removed."""
        parts: Sets = {}
        for numbers in total:
            (number, *others) = numbers
            bar = self.atoms[number]
            found: Sets = {}
            if not others and isinstance(bar, Binary) and bar.op == "||":
                found = dict.fromkeys(map(self.part, single_bars(bar.left, bar.right)))
            parts |= found if found.keys() & removed.keys() else {numbers: None}
        return parts

    def part(self, bar: Binary) -> frozenset[int]:
        """Part of a ``||`` bar; columns that it may still have stay independent."""
        is_one = isinstance(bar.left, Number)
        return frozenset({self.number(bar if is_one else replace(bar, op="||"))})

    def nothing_to_remove(self, total: Sets, operand: Node) -> FormulaError:
        kept = [self.atoms[number] for numbers in total for number in numbers]
        present = [f"({deparse(node)})" for node in kept if has_random(node)]
        return self.fail(
            f"There is no term {deparse(operand)} to remove; "
            f"the random terms are {', '.join(present)}.",
            operand,
        )


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
        (offsets if is_offset(term.node) else terms).append(term.node)
    right = add([*(terms or [Number(1.0)]), *offsets])
    return right if expanded.intercept else Binary("-", right, Number(1.0))
