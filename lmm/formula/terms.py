"""The algebra of terms: what `+ : * / ^ %in% -` make of a right-hand side."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from lmm.errors import FormulaError
from lmm.language import (
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
    deparse,
    is_bar,
    strip_parens,
    summands,
)

MAX_TERMS = 20_000

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
        """The term as an expression."""
        first, *rest = self.factors
        for factor in rest:
            first = Binary(":", first, factor)
        return first


@dataclass(frozen=True, slots=True)
class Terms:
    """The expanded terms of a linear predictor, by degree and then order of appearance."""

    intercept: bool
    terms: tuple[Term, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """R's term labels, without the intercept."""
        return tuple(term.label for term in self.terms)


# A term is a bit set over the variables in order of appearance, as an int; a sum of terms is a
# dictionary without values, which is an ordered set.
_Masks: TypeAlias = dict[int, None]


class TermAlgebra:
    """R's ``terms.formula``: + - * : ^ / %in% over sets of variables."""

    def __init__(
        self,
        source: str | None,
        columns: Iterable[str] | None = None,
        *,
        keep_random: bool = False,
    ):
        self.source = source
        self.columns = None if columns is None else [Name(column) for column in columns]
        self.keep_random = keep_random
        self.intercept = True
        self.atoms: dict[str, Node] = {}
        self.bits: dict[str, int] = {}

    def expand(self, node: Node) -> Terms:
        """Terms of a right-hand side, by order."""
        masks = sorted(self.masks(node), key=int.bit_count)
        atoms = list(self.atoms.values())
        return Terms(self.intercept, tuple(Term(self.factors(mask, atoms)) for mask in masks))

    @staticmethod
    def factors(mask: int, atoms: list[Node]) -> tuple[Node, ...]:
        """Variables of a term."""
        chosen = []
        while mask:
            lowest = mask & -mask
            chosen.append(atoms[lowest.bit_length() - 1])
            mask ^= lowest
        return tuple(chosen)

    def masks(self, node: Node, *, adding: bool = True) -> _Masks:
        """Terms of a node, as bits of its variables."""
        match node:
            case Paren():
                return self.masks(node.inner, adding=adding)
            case Number() if node.value in (0, 1):
                self.intercept = (node.value == 1) == adding
                return {}
            case Number() | String() | Constant():
                raise self.fail(f"{deparse(node)} is not a term: only 0 and 1 are.", node)
            case Unary(op="+"):
                return self.masks(node.operand, adding=adding)
            case Unary(op="-"):
                self.masks(node.operand, adding=not adding)
                return {}
            case Binary(op="+" | "-"):
                return self.sum(node, adding=adding)
            case Binary(op="*" | ":" | "/" | "%in%"):
                return self.product(node, adding=adding)
            case Binary(op="^"):
                return self.power(node, adding=adding)
            case Name(id=".") if self.columns is not None:
                return dict.fromkeys(self.bit(column) for column in self.columns)
            case _:
                return {self.bit(self.checked_atom(node)): None}

    def sum(self, node: Binary, *, adding: bool) -> _Masks:
        """Terms of `a + b - c`."""
        first, rest = summands(node)
        total = self.masks(first, adding=adding)
        for op, operand in rest:
            if op == "+":
                total |= self.masks(operand, adding=adding)
                self.check_size(len(total), node)
            else:
                self.remove(self.masks(operand, adding=not adding), total, operand)
        return total

    def remove(self, removed: _Masks, total: _Masks, operand: Node) -> None:
        """Take terms out of a sum."""
        if self.keep_random and has_random(operand) and not removed.keys() <= total.keys():
            present = [
                text
                for text, bit in self.bits.items()
                if bit in total and has_random(self.atoms[text])
            ]
            raise self.fail(
                f"There is no term {deparse(operand)} to remove; "
                f"the random terms are {', '.join(f'({text})' for text in present)}.",
                operand,
            )
        for mask in removed:
            total.pop(mask, None)

    def product(self, node: Binary, *, adding: bool) -> _Masks:
        """Terms of `a * b`, `a:b`, `a / b` and `a %in% b`."""
        left = self.masks(node.left, adding=adding)
        right = self.masks(node.right, adding=adding)
        match node.op:
            case ":":
                return self.interact(left, right, node)
            case "*":
                return left | right | self.interact(left, right, node)
            case "/":
                return left | self.interact({_union(left): None}, right, node)
            case _:
                return self.interact(left, {_union(right): None}, node)

    def power(self, node: Binary, *, adding: bool) -> _Masks:
        """Terms of `(a + b)^n`."""
        exponent = strip_parens(node.right)
        if not isinstance(exponent, Number) or exponent.value < 1 or exponent.value % 1:
            raise self.fail(
                f"The power in {deparse(node)} must be a whole number, at least 1; "
                "for arithmetic write I(x^2).",
                node.right,
            )
        base = self.masks(node.left, adding=adding)
        total, order = base, 1
        while order < exponent.value:
            grown = self.interact(total, base, node)
            if len(grown) == len(total):
                break
            total, order = grown, order + 1
        return total

    def interact(self, left: _Masks, right: _Masks, node: Node) -> _Masks:
        """Each term on the left crossed with each on the right."""
        # Powers repeat terms: (a + b + c)^3 crosses 6 with 3 to give 7. Hence the allowance.
        self.check_size(len(left) * len(right) // 50, node)
        crossed = dict.fromkeys(a | b for a in left for b in right)
        self.check_size(len(crossed), node)
        return crossed

    def check_size(self, size: int, node: Node) -> None:
        """Refuse more terms than can be meant."""
        if size > MAX_TERMS:
            raise self.fail(f"The formula expands to more than {MAX_TERMS} terms.", node)

    def checked_atom(self, node: Node) -> Node:
        """A variable, which must be no random term where these are not kept."""
        if self.keep_random:
            return node
        if is_offset(node):
            raise self.fail(
                "offset() must be added as a term of its own, as in y ~ x + offset(z).", node
            )
        if is_bar(node):
            raise self.fail(f"({deparse(node)}) is a random term, not a fixed one.", node)
        return node

    def bit(self, node: Node) -> int:
        """Bit of a variable."""
        # (x | g) and (x || g) share a bit, so that either removes the other.
        text = deparse(node).replace("||", "|") if is_bar(node) else deparse(node)
        if text not in self.bits:
            self.bits[text] = 1 << len(self.atoms)
            self.atoms[text] = node
        return self.bits[text]

    def fail(self, message: str, node: Node) -> FormulaError:
        """Error at a node."""
        return FormulaError(message, self.source, node.span[0])


def _union(masks: _Masks) -> int:
    total = 0
    for mask in masks:
        total |= mask
    return total


def expand_terms(node: Node, data_columns: Iterable[str] | None = None) -> Terms:
    """Expand a linear predictor to its terms, as R's ``terms.formula`` does.

    Parameters
    ----------
    node : Node
        Fixed part of a formula, or the effects of a random term.
    data_columns : iterable of str, optional
        What ``.`` stands for; without it ``.`` stays a name.

    Returns
    -------
    Terms
        The intercept flag and the terms ordered by degree.

    Raises
    ------
    FormulaError
        For what is not a term: a power that is not a whole number, a number other than 0 and 1,
        a random term, an offset inside an interaction, more than 20000 terms.

    Examples
    --------
    >>> from lmm.formula import parse_formula
    >>> expand_terms(parse_formula("y ~ (a + b + c)^2 - a:b - 1 + (1 | g)").fixed).labels
    ('a', 'b', 'c', 'a:c', 'b:c')
    """
    return TermAlgebra(None, data_columns).expand(node)


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


def has_random(node: Node) -> bool:
    """Whether a node holds a random term."""
    return any(is_bar(part) or is_random_call(part) for part in walk_algebra(node))
