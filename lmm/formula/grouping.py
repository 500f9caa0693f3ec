"""Grouping factors: what stands right of a bar."""

from __future__ import annotations

from dataclasses import dataclass, field

from lmm.errors import FormulaError
from lmm.formula.terms import Budget, Term, TermAlgebra, walk_algebra
from lmm.language.deparse import deparse
from lmm.language.operators import OPERATORS
from lmm.language.tree import Binary, Call, Name, Node, Paren, Unary, strip_parens, summands

# ---------------------------------------------------------------------------------------------
# Random terms


@dataclass(frozen=True, slots=True)
class RandomTerm:
    """One random-effects term: the columns of `effects` within each level of one `group`.

    Attributes
    ----------
    effects : Node
        Linear predictor left of the bar, as typed.
    group : Node
        One grouping factor; nesting is expanded, so ``(1 | a/b)`` gives ``b:a`` and ``a``.
    structure : str
        Covariance structure of the columns: ``"us"`` for ``|``, ``"diag"`` for ``||`` and
        ``diag(x | g)``.
    bar : int
        Which bar of the formula the term comes from, counted from 0.
    is_double : bool
        Whether the bar is ``||``: its columns are terms of their own, taken column by column over
        the groups of the bar.
    hom : bool, optional
        Whether the columns share one variance, where the formula says so.
    span : tuple of int
        Where that bar stands in the source.
    """

    effects: Node
    group: Node
    structure: str
    bar: int
    is_double: bool = False
    hom: bool | None = None
    span: tuple[int, int] = field(default=(0, 0), compare=False)

    @property
    def effects_text(self) -> str:
        """The effects as text, such as ``1 + Days``."""
        return deparse(self.effects)

    @property
    def group_text(self) -> str:
        """Name of the grouping factor, as lme4 names it; a lone name is without back-ticks."""
        return self.group.id if isinstance(self.group, Name) else deparse(self.group)

    def __str__(self) -> str:
        return deparse(Binary("|", self.effects, self.group))


def expand_groups(node: Node, source: str, budget: Budget) -> list[Node]:
    """Expand the right side of a bar, finest first where nested: lme4's names and order."""
    for part in walk_algebra(node):
        if isinstance(part, Binary | Unary) and part.op == "-":
            raise FormulaError(
                f"'-' has no meaning in the grouping factor {deparse(part)}: "
                "join factors with ':' or '/'.",
                source,
                part.span[0],
            )
    return list(dict.fromkeys(_grouping_factors(node, source, budget)))


def _grouping_factors(node: Node, source: str, budget: Budget) -> list[Node]:
    match node:
        case Name() | Call():
            return [node]
        case Paren():
            inner = _grouping_factors(node.inner, source, budget)
            return [node] if len(inner) == 1 else inner
        case Binary(op="+"):
            first, rest = summands(node)
            parts = [first, *(operand for _, operand in rest)]
            return [group for part in parts for group in _grouping_factors(part, source, budget)]
        case Binary(op=":" | "%in%" | "/"):
            return _grouping_product(node, source, budget)
        case Binary(op="*" | "^"):
            return [term.node for term in TermAlgebra(source, budget=budget).expand(node).terms]
        case _:
            raise FormulaError(
                f"{deparse(node)} is not a grouping factor: name a column, join columns with "
                "':' or '/', or wrap an expression in factor().",
                source,
                node.span[0],
            )


def _grouping_product(node: Binary, source: str, budget: Budget) -> list[Node]:
    is_nesting = OPERATORS[node.op].is_nesting
    left = _grouping_factors(node.left, source, budget)
    right = _grouping_factors(node.right, source, budget)
    if is_nesting and len(right) == 1 and (len(left) == 1 or _is_nesting(node.left)):
        return [_interaction(right[0], left[0]), *left]
    if not is_nesting and len(left) == len(right) == 1:
        return [_interaction(left[0], right[0])]
    terms = TermAlgebra(source, budget=budget).expand(node).terms
    if is_nesting:
        return [Term(term.factors[::-1]).node for term in reversed(terms)]
    return [term.node for term in terms]


def _is_nesting(node: Node) -> bool:
    node = strip_parens(node)
    return isinstance(node, Binary) and OPERATORS[node.op].is_nesting


def _interaction(left: Node, right: Node) -> Node:
    return Binary(":", left, Paren(right) if isinstance(right, Binary) else right)
