"""R's expression language, as far as model formulas use it: tree, parser and `deparse`."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from lmm.errors import FormulaError

__all__ = [
    "MAX_DEPTH",
    "Binary",
    "Call",
    "Constant",
    "Name",
    "Node",
    "Number",
    "Paren",
    "String",
    "Unary",
    "add",
    "children",
    "deparse",
    "deparse_lines",
    "is_bar",
    "map_summands",
    "parse_tilde",
    "strip_parens",
    "summands",
    "variables",
    "walk",
]

MAX_DEPTH = 100
"""Deepest nesting read: hostile text must not exhaust Python's stack."""

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
        return _CONSTANTS[self.text]


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

_CONSTANTS: dict[str, bool | float | None] = {
    "TRUE": True,
    "FALSE": False,
    "NULL": None,
    "NA": math.nan,
    "NaN": math.nan,
    "Inf": math.inf,
}
_KEYWORDS = frozenset(
    {"if", "else", "repeat", "while", "function", "for", "next", "break", "in"}
    | {"NA_integer_", "NA_real_", "NA_character_", "NA_complex_"}
)


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
    >>> variables(parse_tilde("y ~ poly(x, 2) * sex + (1 | g)")[1])
    ('x', 'sex', 'g')
    """
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


# ---------------------------------------------------------------------------------------------
# Text to tree

_TOKEN = re.compile(
    r"""
    (?P<space>\s+)
  | (?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?L?)
  | (?P<name>(?:[^\W\d_]|\.(?!\d))[\w.]*)
  | (?P<quoted>`(?:[^`\\]|\\.)+`)
  | (?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
  | (?P<operator>%[^%\n]*%|\*\*|\|\||&&|::|<-|<=|>=|==|!=|[-+*/:^~|&!<>(),=])
    """,
    re.VERBOSE | re.DOTALL,
)
_SYNTACTIC = re.compile(r"(?:[^\W\d_]|\.(?!\d))[\w.]*")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", '"': '"', "'": "'", "`": "`"}

_COMPARISONS = frozenset({"<", ">", "<=", ">=", "==", "!="})
# help("Syntax") in R, from loosest to tightest; ~ stands outside, as a formula has one.
_LEVELS = (
    {"|": 1, "||": 1, "&": 2, "&&": 2}
    | dict.fromkeys(_COMPARISONS, 4)
    | {"+": 5, "-": 5, "*": 6, "/": 6, ":": 8, "^": 10, "**": 10}
)
_PREFIX_LEVELS = {"!": 3, "-": 9, "+": 9}


def _level(operator: str) -> int:
    """Binding strength of a binary operator; 0 for anything else."""
    return 7 if operator.startswith("%") else _LEVELS.get(operator, 0)


class _Token(NamedTuple):
    kind: str
    text: str
    start: int

    @property
    def end(self) -> int:
        return self.start + len(self.text)

    def __str__(self) -> str:
        return "the end of the formula" if self.kind == "end" else f"'{self.text}'"


def _tokenize(source: str) -> list[_Token]:
    tokens = []
    position = 0
    while position < len(source):
        match = _TOKEN.match(source, position)
        if match is None or match.lastgroup is None:
            raise FormulaError(_unreadable(source[position]), source, position)
        if match.lastgroup != "space":
            tokens.append(_Token(match.lastgroup, match.group(), position))
        position = match.end()
    return [*tokens, _Token("end", "", len(source.rstrip()))]


def _unreadable(character: str) -> str:
    match character:
        case '"' | "'" | "`" | "%":
            return f"The {character} that opens here is never closed."
        case "[" | "$" | "@" | "{":
            return (
                f"'{character}' is not part of the formula language: "
                "make the column in the data first, then name it."
            )
        case _:
            return (
                f"Unexpected character {character!r}. "
                "Put a column name that is not made of letters, digits, '.' and '_' in back-ticks."
            )


def _unquote(token: _Token, source: str) -> str:
    def unescape(match: re.Match[str]) -> str:
        if match.group(1) not in _ESCAPES:
            raise FormulaError(
                f"Unknown escape '{match.group()}': known are \\n \\t \\r \\\\ and quotes.",
                source,
                token.start + 1 + match.start(),
            )
        return _ESCAPES[match.group(1)]

    return re.sub(r"\\(.)", unescape, token.text[1:-1], flags=re.DOTALL)


class _Parser:
    """Precedence climbing over the tokens of one formula."""

    def __init__(self, source: str):
        self.source = source
        self.tokens = _tokenize(source)
        self.index = 0

    @property
    def token(self) -> _Token:
        return self.tokens[self.index]

    @property
    def last_end(self) -> int:
        return self.tokens[self.index - 1].end

    def advance(self) -> _Token:
        token = self.token
        self.index += token.kind != "end"
        return token

    def accept(self, text: str) -> bool:
        found = self.token.kind == "operator" and self.token.text == text
        self.index += found
        return found

    def fail(self, message: str, position: int | None = None) -> FormulaError:
        return FormulaError(
            message, self.source, self.token.start if position is None else position
        )

    def unexpected(self, expected: str) -> FormulaError:
        if self.token.text == "~":
            return self.fail("A formula has one '~', between the response and the terms.")
        return self.fail(f"Expected {expected}, found {self.token}.")

    def formula(self) -> tuple[Node | None, Node]:
        """``lhs ~ rhs`` or ``~ rhs``."""
        lhs = None if self.token.text == "~" else self.expression()
        if not self.accept("~"):
            raise self.unexpected("an operator or the '~' between the response and the terms")
        rhs = self.expression()
        if self.token.kind != "end":
            raise self.unexpected("an operator, such as '+', or the end of the formula")
        for side in (lhs, rhs):
            if side is not None:
                self.check_depth(side)
        return lhs, rhs

    def check_depth(self, root: Node) -> None:
        """Refuse what is too deep to walk by recursion; sums of terms may have any length."""
        stack = [(root, 0, True)]
        while stack:
            node, depth, in_terms = stack.pop()
            if depth > MAX_DEPTH:
                raise self.too_deep(node.span[0])
            in_terms = in_terms and not isinstance(node, Call)
            is_flat = in_terms and isinstance(node, Binary) and node.op in ("+", "-")
            for position, child in enumerate(children(node)):
                step = 0 if is_flat and position == 0 else 1
                stack.append((child, depth + step, in_terms))

    def too_deep(self, position: int) -> FormulaError:
        return self.fail(f"The formula nests more than {MAX_DEPTH} operations.", position)

    def expression(self, minimum: int = 1, depth: int = 0) -> Node:
        if depth > MAX_DEPTH:
            raise self.too_deep(self.token.start)
        start = self.token.start
        left = self.operand(depth)
        while self.token.kind == "operator" and (level := _level(self.token.text)) >= minimum:
            if level == _LEVELS["<"] and isinstance(left, Binary) and left.op in _COMPARISONS:
                raise self.fail("Comparisons do not chain: put the first in parentheses.")
            op = self.advance().text.replace("**", "^")
            right = self.expression(level if op == "^" else level + 1, depth + 1)
            left = Binary(op, left, right, span=(start, self.last_end))
        return left

    def operand(self, depth: int) -> Node:
        token = self.advance()
        span = (token.start, token.end)
        if token.kind == "number":
            return self.number(token)
        if token.kind == "string":
            return String(_unquote(token, self.source), span=span)
        if token.kind == "name" and token.text in _CONSTANTS:
            return Constant(token.text, span=span)
        if token.kind in ("name", "quoted"):
            return self.name_or_call(token, depth)
        if token.kind == "operator" and token.text == "(":
            inner = self.expression(depth=depth + 1)
            self.close(token)
            return Paren(inner, span=(token.start, self.last_end))
        if token.kind == "operator" and token.text in _PREFIX_LEVELS:
            inner = self.expression(_PREFIX_LEVELS[token.text], depth + 1)
            return Unary(token.text, inner, span=(token.start, self.last_end))
        self.index -= token.kind != "end"
        before = f" after '{self.tokens[self.index - 1].text}'" if self.index else ""
        raise self.unexpected(f"a variable, a number, a function or '('{before}")

    def number(self, token: _Token) -> Number:
        value = float(token.text.removesuffix("L"))
        if not math.isfinite(value):
            raise self.fail(f"The number {token} is too large.", token.start)
        is_integer = token.text.endswith("L") and value.is_integer()
        return Number(value, is_integer, span=(token.start, token.end))

    def name(self, token: _Token) -> str:
        if token.kind == "quoted":
            return _unquote(token, self.source)
        if token.kind != "name":
            raise self.fail(f"Expected a name, found {token}.", token.start)
        if token.text in _KEYWORDS:
            raise self.fail(
                f"'{token.text}' is a reserved word of R's formula language: "
                f"write `{token.text}` in back-ticks.",
                token.start,
            )
        return token.text

    def name_or_call(self, token: _Token, depth: int) -> Node:
        name = self.name(token)
        if self.accept("::"):
            name = f"{_quote(name)}::{_quote(self.name(self.advance()))}"
            if self.token.text != "(":
                raise self.unexpected(f"'(' after the function '{name}'")
        if self.token.kind == "operator" and self.token.text == "(":
            arguments = self.arguments(depth)
            return Call(name, arguments, span=(token.start, self.last_end))
        return Name(name, span=(token.start, token.end))

    def arguments(self, depth: int) -> tuple[tuple[str | None, Node], ...]:
        opening = self.advance()
        if self.accept(")"):
            return ()
        found = [self.argument(depth)]
        while self.accept(","):
            found.append(self.argument(depth))
        self.close(opening)
        return tuple(found)

    def argument(self, depth: int) -> tuple[str | None, Node]:
        name = None
        if self.token.kind in ("name", "quoted") and self.tokens[self.index + 1].text == "=":
            name = self.name(self.advance())
            self.advance()
        return name, self.expression(depth=depth + 1)

    def close(self, opening: _Token) -> None:
        if self.token.kind == "end":
            raise self.fail("This '(' is never closed: expected ')'.", opening.start)
        if not self.accept(")"):
            raise self.unexpected("an operator or ')'")


def parse_tilde(source: str) -> tuple[Node | None, Node]:
    """Read ``lhs ~ rhs`` or ``~ rhs``; a missing left side is None.

    Raises
    ------
    FormulaError
        When the text does not parse; the message points at the place.

    Examples
    --------
    >>> parse_tilde("y ~ 2 * x")
    (Name(id='y'), Binary(op='*', left=Number(value=2.0, is_integer=False), right=Name(id='x')))
    """
    return _Parser(source).formula()


# ---------------------------------------------------------------------------------------------
# Tree to text

_TIGHT = frozenset({":", "/", "^", "%%", "%/%"})


def _quote(name: str) -> str:
    if _SYNTACTIC.fullmatch(name) and name not in _KEYWORDS and name not in _CONSTANTS:
        return name
    escaped = name.replace("\\", "\\\\").replace("`", "\\`")
    return f"`{_escape_spaces(escaped)}`"


def _escape_spaces(text: str) -> str:
    return text.replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r")


def _string_text(value: str) -> str:
    return '"' + _escape_spaces(value.replace("\\", "\\\\").replace('"', '\\"')) + '"'


def _number_text(number: Number) -> str:
    """Write the fewest of 15 significant digits, fixed unless scientific is shorter."""
    value = number.value
    if number.is_integer:
        return f"{value:.0f}L"
    mantissa, exponent = f"{value:.14e}".split("e")
    mantissa = mantissa.rstrip("0").rstrip(".")
    digits = len(mantissa.replace(".", ""))
    scientific = f"{mantissa}e{int(exponent):+03d}"
    fixed = f"{value:.{max(0, digits - 1 - int(exponent))}f}"
    return fixed if len(fixed) <= len(scientific) else scientific


class _Deparser:
    """Writes a tree as R's ``deparse`` does, breaking a line once it is longer than `width`."""

    def __init__(self, width: float):
        self.width = width
        self.lines: list[str] = []
        self.parts: list[str] = []
        self.length = 0
        self.indent = 0

    def write(self, text: str) -> None:
        if not self.parts:
            text = "    " * min(self.indent, 4) + "  " * max(self.indent - 4, 0) + text
        self.parts.append(text)
        self.length += len(text.encode())

    def break_line(self) -> bool:
        if self.length <= self.width:
            return False
        self.lines.append("".join(self.parts))
        self.parts.clear()
        self.length = 0
        return True

    def finish(self) -> list[str]:
        return [*self.lines, "".join(self.parts)]

    def node(self, node: Node) -> None:
        match node:
            case Name():
                self.write(_quote(node.id))
            case Number():
                self.write(_number_text(node))
            case String():
                self.write(_string_text(node.value))
            case Constant():
                self.write(node.text)
            case Unary():
                self.write(node.op)
                self.node(node.operand)
            case Paren():
                self.write("(")
                self.node(node.inner)
                self.write(")")
            case Call():
                self.call(node)
            case Binary() if node.op in _TIGHT:
                self.node(node.left)
                self.write(node.op)
                self.node(node.right)
            case Binary() if node.op in ("+", "-"):
                self.sum(node)
            case Binary():
                self.node(node.left)
                self.spaced(node.op, node.right)

    def sum(self, node: Binary) -> None:
        first, rest = summands(node)
        self.node(first)
        for op, operand in rest:
            self.spaced(op, operand)

    def spaced(self, op: str, right: Node) -> None:
        self.write(f" {op} ")
        broken = self.break_line()
        self.indent += broken
        self.node(right)
        self.indent -= broken

    def call(self, call: Call) -> None:
        self.write(call.function if "::" in call.function else _quote(call.function))
        self.write("(")
        broken = False
        for position, (name, value) in enumerate(call.arguments):
            if position:
                self.write(", ")
                if self.break_line() and not broken:
                    broken = True
                    self.indent += 1
            if name is not None:
                self.write(f"{_quote(name)} = ")
            self.node(value)
        self.write(")")
        self.indent -= broken


def deparse_lines(node: Node, width: float) -> list[str]:
    """Lines of an expression as R's ``deparse(width.cutoff = width)`` breaks them."""
    writer = _Deparser(width)
    writer.node(node)
    return writer.finish()


def deparse(node: Node) -> str:
    """Text of an expression on one line, spaced as R's ``deparse`` spaces it.

    Examples
    --------
    >>> deparse(parse_tilde("y~I(x^2)*log( z )")[1])
    'I(x^2) * log(z)'
    """
    return deparse_lines(node, math.inf)[0]
