"""R's expressions as trees: nodes, and walks over them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from lmm.language.names import CONSTANTS

# ---------------------------------------------------------------------------------------------
# Expression tree


@dataclass(frozen=True, slots=True, kw_only=True)
class _Spanned:
    span: tuple[int, int] = field(default=(0, 0), compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Name(_Spanned):
    """A variable; `id` is without back-ticks."""

    id: str


@dataclass(frozen=True, slots=True)
class Number(_Spanned):
    """A number; `is_integer` marks R's integer literals (``2L``)."""

    value: float
    is_integer: bool = False


@dataclass(frozen=True, slots=True)
class String(_Spanned):
    """A quoted string."""

    value: str


@dataclass(frozen=True, slots=True)
class Constant(_Spanned):
    """One of R's reserved constants: TRUE, FALSE, NULL, NA, NaN, Inf."""

    text: str

    @property
    def value(self) -> bool | float | None:
        """The constant as a Python value (NA is nan)."""
        return CONSTANTS[self.text]


@dataclass(frozen=True, slots=True)
class Call(_Spanned):
    """A function call; `arguments` are ``(name or None, value)`` pairs in written order."""

    function: str
    arguments: tuple[tuple[str | None, Node], ...]

    @property
    def args(self) -> tuple[Node, ...]:
        """Arguments without a name."""
        return tuple(value for name, value in self.arguments if name is None)

    @property
    def kwargs(self) -> dict[str, Node]:
        """Arguments with a name."""
        return {name: value for name, value in self.arguments if name is not None}


@dataclass(frozen=True, slots=True)
class Unary(_Spanned):
    """``-x``, ``+x`` or ``!x``."""

    op: str
    operand: Node


@dataclass(frozen=True, slots=True)
class Binary(_Spanned):
    """Two operands and an operator, ``**`` written as ``^``."""

    op: str
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Paren(_Spanned):
    """An expression in parentheses, kept because R prints them."""

    inner: Node


Node: TypeAlias = Name | Number | String | Constant | Call | Unary | Binary | Paren


def children(node: Node) -> tuple[Node, ...]:
    """Direct operands or arguments of a node, left to right."""
    match node:
        case Call():
            return tuple(value for _, value in node.arguments)
        case Unary():
            return (node.operand,)
        case Binary():
            return (node.left, node.right)
        case Paren():
            return (node.inner,)
        case _:
            return ()


def walk(node: Node) -> Iterator[Node]:
    """Every node of a tree, parents first, left to right."""
    stack = [node]
    while stack:
        current = stack.pop()
        yield current
        stack.extend(reversed(children(current)))


def variables(node: Node) -> tuple[str, ...]:
    """Names used in an expression, in order of appearance (R's ``all.vars``).

    Examples
    --------
    >>> from lmm.language.parse import parse_tilde
    >>> variables(parse_tilde("y ~ poly(x, 2) * sex + (1 | g)")[1])
    ('x', 'sex', 'g')
    """
    if isinstance(node, Name):  # most are, and a walk takes ten times as long
        return (node.id,)
    return tuple(dict.fromkeys(part.id for part in walk(node) if isinstance(part, Name)))


def summands(node: Node) -> tuple[Node, list[tuple[str, Node]]]:
    """Read ``a + b - c`` as ``a, [(+, b), (-, c)]``; a loop, as sums may be thousands long."""
    rest: list[tuple[str, Node]] = []
    while isinstance(node, Binary) and node.op in ("+", "-"):
        rest.append((node.op, node.right))
        node = node.left
    return node, rest[::-1]


def map_summands(change: Callable[[Node], Node], node: Node) -> Node:
    """Change every operand of a sum."""
    first, rest = summands(node)
    total = change(first)
    for op, operand in rest:
        total = Binary(op, total, change(operand), span=node.span)
    return total


def map_children(change: Callable[[Node], Node], node: Node) -> Node:
    """The node with changed operands or arguments."""
    match node:
        case Paren():
            return Paren(change(node.inner), span=node.span)
        case Unary():
            return Unary(node.op, change(node.operand), span=node.span)
        case Binary(op="+" | "-"):
            return map_summands(change, node)
        case Binary():
            return Binary(node.op, change(node.left), change(node.right), span=node.span)
        case Call():
            arguments = tuple((name, change(value)) for name, value in node.arguments)
            return Call(node.function, arguments, span=node.span)
        case _:
            return node


def add(nodes: Iterable[Node]) -> Node:
    """Join nodes, at least one, by ``+``."""
    first, *rest = nodes
    for node in rest:
        first = Binary("+", first, node)
    return first


def is_bar(node: Node) -> bool:
    """Whether the node is ``a | b`` or ``a || b``."""
    return isinstance(node, Binary) and node.op in ("|", "||")


def strip_parens(node: Node) -> Node:
    """Take the parentheses around a node off."""
    while isinstance(node, Paren):
        node = node.inner
    return node
