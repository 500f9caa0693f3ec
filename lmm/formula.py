"""lme4's formula syntax, read into a `Formula`; no other module parses formula text.

The grammar is R's: a tokenizer and a precedence-climbing parser give an expression tree, the tree
is split into a fixed part, offsets and random terms, and the fixed part expands by the algebra of
R's ``terms.formula``. `deparse` writes trees as R does.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple, TypeAlias

from lmm.errors import FormulaError

__all__ = [
    "Binary",
    "Call",
    "Constant",
    "Formula",
    "Name",
    "Node",
    "Number",
    "Paren",
    "RandomTerm",
    "String",
    "Term",
    "Terms",
    "Unary",
    "deparse",
    "expand_terms",
    "parse_formula",
    "parse_one_sided",
    "update_formula",
    "variables",
    "walk",
]

STRUCTURES = ("us", "diag")
"""Covariance structures that a formula may name, as in ``diag(x | g)``."""

# Hostile text must neither hang nor exhaust Python's stack.
MAX_LENGTH = 100_000
MAX_DEPTH = 100
MAX_TERMS = 20_000
MAX_PRODUCT = 1_000_000

LINE_WIDTH = 60  # R's deparse(width.cutoff = 60), in bytes

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


def _children(node: Node) -> tuple[Node, ...]:
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
        stack.extend(reversed(_children(current)))


def variables(node: Node) -> tuple[str, ...]:
    """Names used in an expression, in order of appearance (R's ``all.vars``).

    Examples
    --------
    >>> variables(parse_formula("y ~ poly(x, 2) * sex + (1 | g)").rhs)
    ('x', 'sex', 'g')
    """
    return tuple(dict.fromkeys(part.id for part in walk(node) if isinstance(part, Name)))


def _summands(node: Node) -> tuple[Node, list[tuple[str, Node]]]:
    """Read ``a + b - c`` as ``a, [(+, b), (-, c)]``; a loop, as sums may be thousands long."""
    rest: list[tuple[str, Node]] = []
    while isinstance(node, Binary) and node.op in ("+", "-"):
        rest.append((node.op, node.right))
        node = node.left
    return node, rest[::-1]


def _map_summands(change: Callable[[Node], Node], node: Node) -> Node:
    first, rest = _summands(node)
    total = change(first)
    for op, operand in rest:
        total = Binary(op, total, change(operand), span=node.span)
    return total


def _sum(nodes: Iterable[Node]) -> Node:
    first, *rest = nodes
    for node in rest:
        first = Binary("+", first, node)
    return first


def _is_bar(node: Node) -> bool:
    return isinstance(node, Binary) and node.op in ("|", "||")


def _strip(node: Node) -> Node:
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
    | {"+": 5, "-": 5, "*": 6, "/": 6, ":": 8, "^": 10}
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
        self.open_calls = 0

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
        return lhs, rhs

    def expression(self, minimum: int = 1, depth: int = 0) -> Node:
        if depth > MAX_DEPTH:
            raise self.fail(f"The formula is nested more than {MAX_DEPTH} deep.")
        start = self.token.start
        left = self.operand(depth)
        links = 0
        while self.token.kind == "operator" and (level := _level(self.token.text)) >= minimum:
            # Sums of any length are walked in a loop; every other chain nests.
            links += level != _LEVELS["+"] or self.open_calls > 0
            if links > MAX_DEPTH:
                raise self.fail(f"More than {MAX_DEPTH} operators in one chain.")
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
        return Number(value, token.text.endswith("L"), span=(token.start, token.end))

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
        name = _quote(self.name(token)) if self.token.text == "::" else self.name(token)
        if self.accept("::"):
            name = f"{name}::{_quote(self.name(self.advance()))}"
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
        self.open_calls += 1
        found = [self.argument(depth)]
        while self.accept(","):
            found.append(self.argument(depth))
        self.close(opening)
        self.open_calls -= 1
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


# ---------------------------------------------------------------------------------------------
# Tree to text

_TIGHT = frozenset({":", "/", "^"})


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
    fixed = f"{float(scientific):.{max(0, digits - 1 - int(exponent))}f}"
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
            self.parts.append("    " * self.indent)
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
        first, rest = _summands(node)
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


def deparse(node: Node) -> str:
    """Text of an expression on one line, spaced as R's ``deparse`` spaces it.

    Examples
    --------
    >>> deparse(parse_formula("y~I(x^2)*log( z )+(1|g)").fixed)
    'I(x^2) * log(z)'
    """
    writer = _Deparser(math.inf)
    writer.node(node)
    return writer.finish()[0]


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


class _TermAlgebra:
    """R's ``terms.formula``: + - * : ^ / %in% over sets of variables."""

    def __init__(
        self, source: str, columns: Iterable[str] | None = None, *, keep_random: bool = False
    ):
        self.source = source
        self.columns = None if columns is None else [Name(column) for column in columns]
        self.keep_random = keep_random
        self.intercept = True
        self.atoms: dict[str, Node] = {}
        self.bits: dict[str, int] = {}

    def expand(self, node: Node) -> Terms:
        masks = sorted(self.masks(node), key=int.bit_count)
        atoms = list(self.atoms.values())
        return Terms(self.intercept, tuple(Term(self.factors(mask, atoms)) for mask in masks))

    @staticmethod
    def factors(mask: int, atoms: list[Node]) -> tuple[Node, ...]:
        chosen = []
        while mask:
            lowest = mask & -mask
            chosen.append(atoms[lowest.bit_length() - 1])
            mask ^= lowest
        return tuple(chosen)

    def masks(self, node: Node, *, adding: bool = True) -> _Masks:
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
        first, rest = _summands(node)
        total = self.masks(first, adding=adding)
        for op, operand in rest:
            if op == "+":
                total |= self.masks(operand, adding=adding)
            else:
                self.remove(self.masks(operand, adding=not adding), total, operand)
        return total

    def remove(self, removed: _Masks, total: _Masks, operand: Node) -> None:
        if self.keep_random and _has_random(operand) and not removed.keys() <= total.keys():
            present = [
                text
                for text, bit in self.bits.items()
                if bit in total and _has_random(self.atoms[text])
            ]
            raise self.fail(
                f"There is no term {deparse(operand)} to remove; "
                f"the random terms are {', '.join(f'({text})' for text in present)}.",
                operand,
            )
        for mask in removed:
            total.pop(mask, None)

    def product(self, node: Binary, *, adding: bool) -> _Masks:
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
        exponent = _strip(node.right)
        if not isinstance(exponent, Number) or exponent.value < 1 or exponent.value % 1:
            raise self.fail(
                f"The power in {deparse(node)} must be a whole number, at least 1; "
                "for arithmetic write I(x^2).",
                node.right,
            )
        base = self.masks(node.left, adding=adding)
        total, order = base, 1
        while order < exponent.value:
            grown = total | self.interact(total, base, node)
            if len(grown) == len(total):
                break
            total, order = grown, order + 1
        return total

    def interact(self, left: _Masks, right: _Masks, node: Node) -> _Masks:
        if len(left) * len(right) <= MAX_PRODUCT:
            crossed = dict.fromkeys(a | b for a in left for b in right)
            if len(crossed) <= MAX_TERMS:
                return crossed
        raise self.fail(f"The formula expands to more than {MAX_TERMS} terms.", node)

    def checked_atom(self, node: Node) -> Node:
        if self.keep_random:
            return node
        if _is_offset(node):
            raise self.fail(
                "offset() must be added as a term of its own, as in y ~ x + offset(z).", node
            )
        if _is_bar(node):
            raise self.fail(f"({deparse(node)}) is a random term, not a fixed one.", node)
        return node

    def bit(self, node: Node) -> int:
        # (x | g) and (x || g) share a bit, so that either removes the other.
        text = deparse(node).replace("||", "|") if _is_bar(node) else deparse(node)
        if text not in self.bits:
            self.bits[text] = 1 << len(self.atoms)
            self.atoms[text] = node
        return self.bits[text]

    def fail(self, message: str, node: Node) -> FormulaError:
        return (
            FormulaError(message, self.source, node.span[0])
            if self.source
            else FormulaError(message)
        )


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
    >>> expand_terms(parse_formula("y ~ (a + b + c)^2 - a:b - 1 + (1 | g)").fixed)
    Terms(intercept=False, terms=(Term(factors=(Name(id='a'),)), Term(factors=(Name(id='b'),)), \
Term(factors=(Name(id='c'),)), Term(factors=(Name(id='a'), Name(id='c'))), \
Term(factors=(Name(id='b'), Name(id='c')))))
    """
    return _TermAlgebra("", data_columns).expand(node)


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
        ``"us"`` (``|``), ``"diag"`` (``diag(x | g)``) or ``"split"`` (``||``: the columns are
        independent terms, taken column by column over the groups of one bar).
    bar : int
        Which bar of the formula the term comes from, counted from 0.
    span : tuple of int
        Where that bar stands in the source.
    """

    effects: Node
    group: Node
    structure: str
    bar: int
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


def _is_random_call(node: Node) -> bool:
    """``name(effects | group)``; inside I() the bar is R's logical "or"."""
    return (
        isinstance(node, Call)
        and node.function != "I"
        and any(_is_bar(value) for _, value in node.arguments)
    )


def _is_offset(node: Node) -> bool:
    return isinstance(node, Call) and node.function == "offset"


def _walk_algebra(node: Node) -> Iterator[Node]:
    """As `walk`, but calls are leaves: what they hold is arithmetic, not model formula."""
    stack = [node]
    while stack:
        current = stack.pop()
        yield current
        if not isinstance(current, Call):
            stack.extend(reversed(_children(current)))


def _has_random(node: Node) -> bool:
    return any(_is_bar(part) or _is_random_call(part) for part in _walk_algebra(node))


def _grouping_factors(node: Node, source: str) -> list[Node]:
    """Expand the right side of a bar, finest first where nested: lme4's names and order."""
    match node:
        case Name() | Call():
            return [node]
        case Paren():
            inner = _grouping_factors(node.inner, source)
            return [node] if len(inner) == 1 else inner
        case Binary(op="+" | "-"):
            return _grouping_sum(node, source)
        case Binary(op=":" | "%in%" | "/"):
            return _grouping_product(node, source)
        case Binary(op="*" | "^"):
            return [term.node for term in _expand_grouping(node, source)]
        case _:
            raise FormulaError(
                f"{deparse(node)} is not a grouping factor: name a column, join columns with "
                "':' or '/', or wrap an expression in factor().",
                source,
                node.span[0],
            )


def _grouping_sum(node: Binary, source: str) -> list[Node]:
    first, rest = _summands(node)
    for op, operand in rest:
        if op == "-":
            raise FormulaError(
                f"'-' has no meaning in the grouping factor {deparse(node)}: "
                "join factors with ':' or '/'.",
                source,
                operand.span[0],
            )
    operands = [first, *(operand for _, operand in rest)]
    return [factor for operand in operands for factor in _grouping_factors(operand, source)]


def _grouping_product(node: Binary, source: str) -> list[Node]:
    left = _grouping_factors(node.left, source)
    right = _grouping_factors(node.right, source)
    if node.op == "/" and len(right) == 1 and (len(left) == 1 or _is_nesting(node.left)):
        return [_interaction(right[0], left[0]), *left]
    if node.op != "/" and len(left) == len(right) == 1:
        return [_interaction(left[0], right[0])]
    terms = _expand_grouping(node, source)
    if node.op != "/":
        return [term.node for term in terms]
    return [Term(term.factors[::-1]).node for term in reversed(terms)]


def _expand_grouping(node: Node, source: str) -> tuple[Term, ...]:
    return _TermAlgebra(source).expand(node).terms


def _is_nesting(node: Node) -> bool:
    node = _strip(node)
    return isinstance(node, Binary) and node.op == "/"


def _interaction(left: Node, right: Node) -> Node:
    return Binary(":", left, Paren(right) if isinstance(right, Binary) else right)


# ---------------------------------------------------------------------------------------------
# The formula


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Formula:
    """A mixed-model formula; `str` gives it as lme4 prints it.

    Attributes
    ----------
    source : str
        The text as typed.
    lhs : Node or None
        The response; None for a one-sided formula.
    rhs : Node
        Everything right of ``~``, as typed.
    fixed : Node
        The right side without random terms and offsets; ``1`` when nothing is left.
    random : tuple of RandomTerm
        Random terms in order of appearance, nesting expanded.
    offsets : tuple of Node
        The ``offset(...)`` calls.

    Notes
    -----
    Two formulas are equal when they read the same, whatever the spacing in `source`.
    """

    source: str
    lhs: Node | None
    rhs: Node
    fixed: Node
    random: tuple[RandomTerm, ...]
    offsets: tuple[Node, ...]

    @property
    def response(self) -> str:
        """The response as R writes it, such as ``log(Reaction)``; empty when one-sided."""
        return "" if self.lhs is None else deparse(self.lhs)

    @property
    def fixed_text(self) -> str:
        """The fixed part as R writes it."""
        return deparse(self.fixed)

    def terms(self, data_columns: Iterable[str] | None = None) -> Terms:
        """Terms of the fixed part; ``.`` is every data column that the response does not use.

        Raises
        ------
        FormulaError
            As `expand_terms`, with the place in the source; when the response is also a term.
        """
        used = () if self.lhs is None else variables(self.lhs)
        if data_columns is not None:
            data_columns = [column for column in data_columns if column not in used]
        terms = _TermAlgebra(self.source, data_columns).expand(self.fixed)
        for term in terms.terms:
            if term.factors == (self.lhs,):
                raise FormulaError(
                    f"The response {self.response} is also a predictor.",
                    self.source,
                    term.factors[0].span[0],
                )
        return terms

    def __str__(self) -> str:
        return " \n".join(_formula_lines(self.lhs, _expand_double_bars(self.rhs, "|"), LINE_WIDTH))

    def __repr__(self) -> str:
        return f"Formula({self._text()!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Formula) and self._text() == other._text()

    def __hash__(self) -> int:
        return hash(self._text())

    def __reduce__(self) -> tuple[Callable[[str], Formula], tuple[str]]:
        return (parse_one_sided if self.lhs is None else parse_formula), (self.source,)

    def _text(self) -> str:
        return _formula_lines(self.lhs, self.rhs, math.inf)[0]


def _formula_lines(lhs: Node | None, rhs: Node, width: float) -> list[str]:
    writer = _Deparser(width)
    if lhs is None:
        writer.write("~")
        writer.node(rhs)
    else:
        writer.node(Binary("~", lhs, rhs))
    return writer.finish()


def _expand_double_bars(node: Node, op: str) -> Node:
    """``x || g`` as lme4 stores it: ``(1 | g) + (0 + x | g)``, with `op` as the bar of slopes."""
    match node:
        case Paren():
            return Paren(_expand_double_bars(node.inner, op))
        case Binary(op="||"):
            return _sum(Paren(bar) for bar in _single_bars(node, op))
        case Binary(op="+" | "-"):
            return _map_summands(lambda operand: _expand_double_bars(operand, op), node)
        case _:
            return node


def _single_bars(bar: Binary, op: str) -> Iterator[Node]:
    expanded = expand_terms(bar.left)
    if expanded.intercept or not expanded.terms:
        yield Binary("|", Number(float(expanded.intercept)), bar.right)
    for term in expanded.terms:
        yield Binary(op, Binary("+", Number(0.0), term.node), bar.right)


class _Splitter:
    """Sorts the summands of a right side into fixed part, random terms and offsets."""

    def __init__(self, source: str):
        self.source = source
        self.random: list[RandomTerm] = []
        self.offsets: list[Node] = []
        self.bars = 0

    def fixed(self, node: Node) -> Node | None:
        """Take random terms and offsets out of `node`; None when nothing is left."""
        first, rest = _summands(node)
        kept: Node | None = None
        for op, operand in [("+", first), *rest]:
            left = self.summand(op, operand)
            if left is None:
                continue
            if kept is None:
                kept = left if op == "+" else Unary("-", left, span=operand.span)
            else:
                kept = Binary(op, kept, left)
        return kept

    def summand(self, op: str, node: Node) -> Node | None:
        if not _has_random(node) and not _is_offset(node):
            return node
        if op == "-":
            raise self.fail(f"{deparse(node)} cannot be subtracted: leave it out instead.", node)
        match node:
            case Paren():
                inner = self.fixed(node.inner)
                return None if inner is None else Paren(inner, span=node.span)
            case Binary(op="|" | "||"):
                self.bar(node, "us" if node.op == "|" else "split", node)
            case Call(function="offset"):
                self.offsets.append(node)
            case Call():
                self.structured(node)
            case _:
                raise self.fail(
                    f"A random term can only be added, as in x + (1 | g); in {deparse(node)} "
                    f"it stands under '{getattr(node, 'op', '')}'.",
                    node,
                )
        return None

    def structured(self, call: Call) -> None:
        if call.function not in STRUCTURES:
            raise self.fail(
                f"There is no covariance structure {call.function}(); "
                f"the registered ones are {', '.join(STRUCTURES)}. "
                f"For a logical 'or' write I(a | b).",
                call,
            )
        match call.arguments:
            case ((None, Binary(op="|") as bar),):
                self.bar(bar, call.function, call)
            case _:
                raise self.fail(f"Write {call.function}(effects | group), nothing more.", call)

    def bar(self, bar: Binary, structure: str, whole: Node) -> None:
        for side in (bar.left, bar.right):
            if _has_random(side):
                raise self.fail(
                    "A random term cannot hold another bar: "
                    "put each random term in parentheses, as in (1 | a) + (1 | b).",
                    side,
                )
        _TermAlgebra(self.source).expand(bar.left)
        for group in dict.fromkeys(_grouping_factors(bar.right, self.source)):
            self.random.append(RandomTerm(bar.left, group, structure, self.bars, whole.span))
        self.bars += 1

    def fail(self, message: str, node: Node) -> FormulaError:
        return FormulaError(message, self.source, node.span[0])


def _assemble(source: str, lhs: Node | None, rhs: Node) -> Formula:
    splitter = _Splitter(source)
    fixed = splitter.fixed(rhs) or Number(1.0)
    formula = Formula(source, lhs, rhs, fixed, tuple(splitter.random), tuple(splitter.offsets))
    formula.terms()
    return formula


def _check_response(lhs: Node | None, source: str) -> None:
    if lhs is None:
        raise FormulaError(
            "The formula has no response: expected 'response ~ terms'.", source, source.index("~")
        )
    if isinstance(lhs, Call) and lhs.function == "cbind":
        raise FormulaError(
            "A linear mixed model takes one response, not the matrix that cbind() makes: "
            "fit one column, and use refit() or refit_many() for the others.",
            source,
            lhs.span[0],
        )
    if _has_random(lhs) or not variables(lhs) or "." in variables(lhs):
        raise FormulaError(
            f"{deparse(lhs)} is not a response: expected a column or a function of columns.",
            source,
            lhs.span[0],
        )


def _check_text(text: object) -> str:
    if not isinstance(text, str):
        raise FormulaError(
            "The formula must be text such as 'y ~ x + (1 | g)', "
            f"not an object of type {type(text).__name__}."
        )
    if not text.strip():
        raise FormulaError("The formula is empty: expected text such as 'y ~ x + (1 | g)'.")
    if len(text) > MAX_LENGTH:
        raise FormulaError(
            f"The formula has {len(text)} characters, more than the {MAX_LENGTH} allowed."
        )
    return text


def parse_formula(text: str | Formula) -> Formula:
    """Read a mixed-model formula in lme4's syntax.

    Parameters
    ----------
    text : str or Formula
        Such as ``"Reaction ~ Days + (Days | Subject)"``; a `Formula` is returned as it is.

    Returns
    -------
    Formula

    Raises
    ------
    FormulaError
        When the text does not parse, has no response or no random term, or puts a random term
        where it has no meaning; the message points at the place.

    Notes
    -----
    Grouping factors follow lme4 1.1 (Bates, Maechler, Bolker & Walker, 2015, J. Stat. Softw.
    67(1), table 2) and, where it gives an error, lme4 2: ``a/b`` is ``b:a`` and ``a``, ``a*b`` is
    ``a``, ``b`` and ``a:b``, ``a + b`` is ``a`` and ``b``.

    Examples
    --------
    >>> formula = parse_formula("strength ~ 1 + (1|batch/cask)")
    >>> print(formula)
    strength ~ 1 + (1 | batch/cask)
    >>> [term.group_text for term in formula.random]
    ['cask:batch', 'batch']
    """
    return text if isinstance(text, Formula) else _parse_two_sided(_check_text(text))


@lru_cache(maxsize=256)
def _parse_two_sided(source: str) -> Formula:
    lhs, rhs = _Parser(source).formula()
    _check_response(lhs, source)
    formula = _assemble(source, lhs, rhs)
    if not formula.random:
        raise FormulaError(
            "No random effects terms specified in formula: add one, such as (1 | g) for a random "
            "intercept in each level of g, or fit the model by ordinary least squares.",
            source,
            len(source.rstrip()),
        )
    return formula


def parse_one_sided(text: str | Formula) -> Formula:
    """Read a formula without response, such as ``~ x + (1 | g)`` or ``~ 0``.

    Raises
    ------
    FormulaError
        As `parse_formula`; when there is a response.

    Examples
    --------
    >>> str(parse_one_sided("~(1|g)").random[0])
    '1 | g'
    """
    return text if isinstance(text, Formula) else _parse_one_sided(_check_text(text))


@lru_cache(maxsize=256)
def _parse_one_sided(source: str) -> Formula:
    lhs, rhs = _Parser(source).formula()
    if lhs is not None:
        raise FormulaError(
            f"Expected '~' first: here the formula has no response, but {deparse(lhs)} is given.",
            source,
            lhs.span[0],
        )
    return _assemble(source, lhs, rhs)


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
    lhs, rhs = _Parser(_check_text(change)).formula()
    response = old.lhs if lhs is None else _substitute_dot(lhs, old.lhs or Name("."))
    dot = Paren(_expand_double_bars(old.rhs, "||"))
    algebra = _TermAlgebra(change, keep_random=True)
    right = _rebuild(algebra.expand(_substitute_dot(_expand_double_bars(rhs, "||"), dot)), change)
    text = _formula_lines(response, right, math.inf)[0]
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
            return _map_summands(lambda operand: _substitute_dot(operand, dot), node)
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
        special = [factor for factor in term.factors if _is_bar(factor) or _is_random_call(factor)]
        if special and len(term.factors) > 1:
            raise FormulaError(
                f"The random term ({deparse(special[0])}) cannot be in an interaction: "
                "add the new fixed terms by name, as in . ~ . + x:z.",
                source,
                source.index("~") + 1,
            )
        wrapped = Paren(term.node) if _is_bar(term.node) else term.node
        (offsets if _is_offset(term.node) else terms).append(wrapped)
    right = _sum([*(terms or [Number(1.0)]), *offsets])
    return right if expanded.intercept else Binary("-", right, Number(1.0))
