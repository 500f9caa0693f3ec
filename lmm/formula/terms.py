"""The algebra of terms: what `+ : * / ^ %in% -` make of a right-hand side."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from lmm.errors import FormulaError
from lmm.language.deparse import deparse
from lmm.language.operators import OPERATORS, Sets
from lmm.language.parse import MAX_DEPTH
from lmm.language.tree import (
    Binary,
    Call,
    Constant,
    Name,
    Node,
    Number,
    Paren,
    String,
    Unary,
    children,
    is_bar,
    strip_parens,
    summands,
)

MAX_TERMS = 20_000
"""Most terms that one formula expands to."""

MAX_PRODUCTS = 10 * MAX_TERMS
"""Most products of two sums; a power forms most of its terms several times."""

MAX_CROSSED = 5_000_000
"""Most variables written down while terms are crossed."""

MAX_CHARACTERS = 5_000_000
"""Longest text of all labels together."""

# ---------------------------------------------------------------------------------------------
# Terms of the fixed part


@dataclass(frozen=True, slots=True)
class Term:
    """One term of a linear predictor: the interaction of `factors`, in R's order."""

    factors: tuple[Node, ...]

    @property
    def label(self) -> str:
        """R's term label, such as ``recipe:temperature``."""
        return ":".join(deparse(factor) for factor in self.factors)

    @property
    def node(self) -> Node:
        """The term as an expression that reads as the term."""
        # x > 5 beside a sum would take the sum for its right side.
        node: Node
        node, *rest = (Paren(f) if isinstance(f, Binary | Unary) else f for f in self.factors)
        for factor in rest:
            node = Binary(":", node, factor)
        return node


@dataclass(frozen=True, slots=True)
class Terms:
    """The expanded terms of a linear predictor, by degree and then order of appearance.

    Attributes
    ----------
    intercept : bool
        Whether there is an intercept.
    terms : tuple of Term
        The terms.
    variables : tuple of Node
        Variables in order of appearance, those of terms that are subtracted among them (R's
        ``attr(terms, "variables")``).
    """

    intercept: bool
    terms: tuple[Term, ...]
    variables: tuple[Node, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """R's term labels, without the intercept."""
        return tuple(term.label for term in self.terms)


class Budget:
    """What a formula may still expand to: hostile text must not hang.

    Sizes are counted before anything is formed.
    """

    def __init__(self, source: str | None):
        self.source = source
        self.crossed = 0
        self.characters = 0

    def cross(self, products: int, variables: int, node: Node) -> None:
        """Count the products that are about to be formed, and the variables that they hold."""
        self.crossed += variables
        if products > MAX_PRODUCTS or self.crossed > MAX_CROSSED:
            raise self.refusal(node)

    def keep(self, terms: int, characters: int, node: Node) -> None:
        """Count the terms of one sum, and the length of its labels."""
        self.characters += characters
        if terms > MAX_TERMS or self.characters > MAX_CHARACTERS:
            raise self.refusal(node)

    def refusal(self, node: Node) -> FormulaError:
        """Error at the node that is too much."""
        return FormulaError(
            f"The formula expands to more than {MAX_TERMS} terms, or to very long ones: "
            "write the terms that are meant.",
            self.source,
            node.span[0],
        )


class TermAlgebra:
    """R's ``terms.formula``: + - * : ^ / %in% over sets of variables.

    Parameters
    ----------
    source : str or None
        The formula's text, for messages.
    columns : iterable of str, optional
        What ``.`` stands for.
    budget : Budget, optional
        What the formula may still expand to.
    """

    def __init__(
        self, source: str | None, columns: Iterable[str] | None = None, budget: Budget | None = None
    ):
        self.source = source
        self.columns = None if columns is None else [Name(column) for column in columns]
        self.budget = budget or Budget(source)
        self.intercept = True
        self.numbers: dict[str, int] = {}
        self.atoms: list[Node] = []

    def expand(self, node: Node) -> Terms:
        """Terms of a right-hand side."""
        sets = [sorted(numbers) for numbers in sorted(self.sets(node), key=len)]
        lengths = list(map(len, self.numbers))
        characters = sum(lengths[i] for numbers in sets for i in numbers)
        self.budget.keep(len(sets), characters, node)
        terms = tuple(Term(tuple(self.atoms[i] for i in numbers)) for numbers in sets)
        return Terms(self.intercept, terms, tuple(self.atoms))

    def sets(self, node: Node, *, adding: bool = True) -> Sets:
        """Terms of a node as sets of numbers; 0 and 1 set the intercept."""
        match node:
            case Paren():
                return self.sets(node.inner, adding=adding)
            case Number() if node.value in (0, 1):
                self.intercept = (node.value == 1) == adding
                return {}
            case Number() | String() | Constant():
                raise self.fail(f"{deparse(node)} is not a term: only 0 and 1 are.", node)
            case Unary(op="+"):
                return self.sets(node.operand, adding=adding)
            case Unary(op="-"):
                self.sets(node.operand, adding=not adding)
                return {}
            case Binary(op="+" | "-"):
                return self.sum(node, adding=adding)
            case Binary(op="^"):
                return self.power(node, adding=adding)
            case Binary() if node.op in OPERATORS and (rule := OPERATORS[node.op].terms):
                left = self.sets(node.left, adding=adding)
                right = self.sets(node.right, adding=adding)
                return self.bounded(rule(partial(self.interact, node), left, right), node)
            case Name(id=".") if self.columns is not None:
                self.budget.cross(0, len(self.columns), node)
                return {frozenset({self.number(column)}): None for column in self.columns}
            case _:
                return {frozenset({self.number(self.checked_atom(node))}): None}

    def sum(self, node: Binary, *, adding: bool) -> Sets:
        """Terms of a sum; a loop, as sums may be thousands long."""
        first, rest = summands(node)
        total = self.sets(first, adding=adding)
        for op, operand in rest:
            if op == "+":
                total |= self.sets(operand, adding=adding)
                self.bounded(total, node)
            else:
                total = self.without(total, self.sets(operand, adding=not adding), operand)
        return total

    def without(self, total: Sets, removed: Sets, operand: Node) -> Sets:
        """A sum without the terms of an operand that is subtracted."""
        for numbers in removed:
            total.pop(numbers, None)
        return total

    def power(self, node: Binary, *, adding: bool) -> Sets:
        """Terms of a power, up to the order where they stop growing."""
        exponent = strip_parens(node.right)
        if not isinstance(exponent, Number) or exponent.value < 1 or exponent.value % 1:
            raise self.fail(
                f"The power in {deparse(node)} must be a whole number, at least 1; "
                "for arithmetic write I(x^2).",
                node.right,
            )
        base = self.sets(node.left, adding=adding)
        total, order = base, 1
        while order < exponent.value:
            grown = self.bounded(self.interact(node, total, base), node)
            if len(grown) == len(total):
                break
            total, order = grown, order + 1
        return total

    def interact(self, node: Node, left: Sets, right: Sets) -> Sets:
        """Every term of one sum crossed with every term of the other."""
        if max(map(len, (*left, *right)), default=0) > MAX_DEPTH:
            raise self.too_many_variables(node)
        variables = sum(map(len, left)) * len(right) + sum(map(len, right)) * len(left)
        self.budget.cross(len(left) * len(right), variables, node)
        crossed = {a | b: None for a in left for b in right}
        if max(map(len, crossed), default=0) > MAX_DEPTH:
            raise self.too_many_variables(node)
        return crossed

    def bounded(self, sets: Sets, node: Node) -> Sets:
        """The terms, if they are not too many."""
        self.budget.keep(len(sets), 0, node)
        return sets

    def checked_atom(self, node: Node) -> Node:
        """A variable: neither an offset nor a random term."""
        if is_offset(node):
            raise self.fail(
                "offset() must be added as a term of its own, as in y ~ x + offset(z).", node
            )
        if is_bar(node):
            raise self.fail(f"({deparse(node)}) is a random term, not a fixed one.", node)
        return node

    def number(self, node: Node) -> int:
        """Number of a variable, by its text."""
        number = self.numbers.setdefault(self.key(node), len(self.atoms))
        if number == len(self.atoms):
            self.atoms.append(node)
        return number

    def key(self, node: Node) -> str:
        """Text by which variables are told apart."""
        return deparse(node)

    def too_many_variables(self, node: Node) -> FormulaError:
        """Error for an interaction that no model has."""
        return self.fail(
            f"An interaction has more than {MAX_DEPTH} variables: after '/' and '%in%' all "
            "variables of a sum stand in one term.",
            node,
        )

    def fail(self, message: str, node: Node) -> FormulaError:
        """Error at a node."""
        return FormulaError(message, self.source, node.span[0])


def expand_terms(node: Node) -> Terms:
    """Expand a linear predictor to its terms, as R's ``terms.formula`` does.

    Parameters
    ----------
    node : Node
        Fixed part of a formula, or the effects of a random term; ``.`` stays a name.

    Returns
    -------
    Terms
        The intercept flag and the terms ordered by degree.

    Raises
    ------
    FormulaError
        For what is not a term: a power that is not a whole number, a number other than 0 and 1,
        a random term, an offset inside an interaction, more than 20000 terms, an interaction of
        more than 100 variables.

    Examples
    --------
    >>> from lmm.formula import parse_formula
    >>> expand_terms(parse_formula("y ~ (a + b + c)^2 - a:b - 1 + (1 | g)").fixed).labels
    ('a', 'b', 'c', 'a:c', 'b:c')
    """
    return TermAlgebra(None).expand(node)


def is_random_call(node: Node) -> bool:
    """``name(effects | group)``; inside I() the bar is R's logical "or"."""
    return (
        isinstance(node, Call)
        and node.function != "I"
        and any(is_bar(value) for _, value in node.arguments)
    )


def is_offset(node: Node) -> bool:
    """Whether a node is `offset(...)`."""
    return isinstance(node, Call) and node.function == "offset"


def walk_algebra(node: Node) -> Iterator[Node]:
    """As `walk`, but calls are leaves: what they hold is arithmetic, not model formula."""
    stack = [node]
    while stack:
        current = stack.pop()
        yield current
        if not isinstance(current, Call):
            stack.extend(reversed(children(current)))


def random_parts(root: Node) -> frozenset[int]:
    """Identities of the nodes that are or hold a random term, in one walk over the tree."""
    found: set[int] = set()
    for node in reversed(list(walk_algebra(root))):
        below = () if isinstance(node, Call) else children(node)
        if is_bar(node) or is_random_call(node) or any(id(child) in found for child in below):
            found.add(id(node))
    return frozenset(found)


def has_random(node: Node) -> bool:
    """Whether a node is or holds a random term."""
    return id(node) in random_parts(node)
