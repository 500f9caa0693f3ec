"""R's expression language, as far as model formulas use it: tree, parser and `deparse`."""

from __future__ import annotations

import math
import re
from typing import NamedTuple

from lmm.errors import FormulaError
from lmm.language.names import CONSTANTS, KEYWORDS, quote
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
)

MAX_DEPTH = 100
"""Deepest nesting read: hostile text must not exhaust Python's stack."""


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
        if token.kind == "name" and token.text in CONSTANTS:
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
        if token.text in KEYWORDS:
            raise self.fail(
                f"'{token.text}' is a reserved word of R's formula language: "
                f"write `{token.text}` in back-ticks.",
                token.start,
            )
        return token.text

    def name_or_call(self, token: _Token, depth: int) -> Node:
        name = self.name(token)
        if self.accept("::"):
            name = f"{quote(name)}::{quote(self.name(self.advance()))}"
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
