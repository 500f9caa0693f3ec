"""R's expression language, as far as model formulas use it: text to trees."""

from __future__ import annotations

import math
import re
from typing import NamedTuple

from lmm.errors import FormulaError
from lmm.language.names import CONSTANTS, KEYWORDS, quote
from lmm.language.operators import COMPARISONS, OPERATORS, PREFIXES, level
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

MAX_LENGTH = 100_000
"""Longest text read."""

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
_SPELLINGS = {
    "/": " Whole division is written x %/% 2.",
    "=": " Equality is written ==.",
    "<-": " A comparison with a negative number needs a blank: x < -1.",
    "[": " Values of a set are written c(1, 2).",
    "is": " Missing values are found by is.na(x).",
}
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", '"': '"', "'": "'", "`": "`"}


class _Token(NamedTuple):
    kind: str
    text: str
    start: int

    @property
    def end(self) -> int:
        return self.start + len(self.text)

    def __str__(self) -> str:
        return "the end" if self.kind == "end" else f"'{self.text}'"


def _tokenize(source: str, brackets: str = "") -> list[_Token]:
    """Tokens of a text; `brackets` are further characters that stand for themselves."""
    _check_characters(source)
    tokens = []
    position = 0
    while position < len(source):
        match = _TOKEN.match(source, position)
        if match is None and source[position] in brackets:
            tokens.append(_Token("operator", source[position], position))
            position += 1
            continue
        if match is None or match.lastgroup is None:
            raise FormulaError(_unreadable(source[position]), source, position)
        if match.lastgroup != "space":
            tokens.append(_Token(match.lastgroup, match.group(), position))
        position = match.end()
    return [*tokens, _Token("end", "", len(source.rstrip()))]


def _check_characters(source: str) -> None:
    """Refuse texts that are too long to read, or that cannot be written."""
    if len(source) > MAX_LENGTH:
        raise FormulaError(f"The text has {len(source)} characters, more than {MAX_LENGTH}.")
    try:
        source.encode()
    except UnicodeEncodeError as error:
        raise FormulaError(
            f"The character {source[error.start]!r} is half of one: no text can hold it."
        ) from None


def _unreadable(character: str) -> str:
    match character:
        case "%":
            return "The % that opens here is never closed; remainders are written x %% 2."
        case '"' | "'" | "`":
            return f"The {character} that opens here is never closed."
        case "[":
            return (
                "'[' is not part of the formula language: values are listed by c(1, 2), and a "
                "column of a matrix is made in the data first."
            )
        case "$" | "@" | "{":
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

    brackets = ""
    whole = "formula"

    def __init__(self, source: str):
        self.source = source
        self.tokens = _tokenize(source, self.brackets)
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
        found = f"the end of the {self.whole}" if self.token.kind == "end" else str(self.token)
        return self.fail(f"Expected {expected}, found {found}.{self.hint()}")

    def hint(self) -> str:
        """What to write instead of another language's operator."""
        return _SPELLINGS.get(self.token.text, "") if self.index else ""

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

    def alone(self) -> Node:
        """One expression and nothing else."""
        node = self.expression()
        if self.token.kind != "end":
            raise self.unexpected(f"an operator, or the end of the {self.whole}")
        self.check_depth(node)
        return node

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
        return self.fail(f"The {self.whole} nests more than {MAX_DEPTH} operations.", position)

    def operator(self, minimum: int) -> tuple[str, int] | None:
        """Take the binary operator that stands here and binds so tightly: its text and level."""
        if self.token.kind != "operator":
            return None
        text = self.token.text.replace("**", "^")
        strength = level(text)
        if strength < minimum:
            return None
        self.advance()
        return text, strength

    def expression(self, minimum: int = 1, depth: int = 0) -> Node:
        if depth > MAX_DEPTH:
            raise self.too_deep(self.token.start)
        start = self.token.start
        left = self.operand(depth)
        compared: Node | None = None
        while found := self.operator(minimum):
            op, strength = found
            position = self.tokens[self.index - 1].start
            is_right = op in OPERATORS and OPERATORS[op].is_right
            right = self.expression(strength if is_right else strength + 1, depth + 1)
            node = self.binary(op, left, right, (start, self.last_end))
            if op not in COMPARISONS:
                left, compared = node, None
                continue
            left = node if compared is None else self.chain(op, left, compared, right, position)
            compared = right
        return left

    def binary(self, op: str, left: Node, right: Node, span: tuple[int, int]) -> Node:
        return Binary(op, left, right, span=span)

    def chain(self, op: str, left: Node, middle: Node, right: Node, position: int) -> Node:
        raise self.fail(
            "Comparisons do not chain: put the first in parentheses, or write x > 1 & x < 5.",
            position,
        )

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
        if token.kind == "operator" and token.text in PREFIXES:
            inner = self.expression(PREFIXES[token.text], depth + 1)
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
            match name, arguments:
                case "Q", ((None, String(value)),) if value:  # patsy's quoting of a name
                    return Name(value, span=(token.start, self.last_end))
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


def parse_expression(source: str) -> Node:
    """Read one expression, such as ``factor(x, levels = c("b", "a"))``.

    Raises
    ------
    FormulaError
        When the text does not parse; the message points at the place.
    """
    return _Parser(source).alone()


# Python's operators: what R writes, and how tightly they bind in Python.
_WORDS = {"and": ("&", 2), "or": ("|", 1), "in": ("in", 4)}


class _ConditionParser(_Parser):
    """Reads conditions on rows, in R's spelling or as pandas' ``DataFrame.eval`` takes them."""

    brackets = "[]"
    whole = "condition"

    def unexpected(self, expected: str) -> FormulaError:
        if self.token.text == "~":
            return self.fail("'~' has no meaning in a condition: write !(x > 1) for 'not'.")
        return super().unexpected(expected)

    def operator(self, minimum: int) -> tuple[str, int] | None:
        is_negated = self.token.text == "not" and self.tokens[self.index + 1].text == "in"
        text, strength = _WORDS.get("in" if is_negated else self.token.text, ("", 0))
        if self.token.kind != "name" or not text:
            return super().operator(minimum)
        if strength < minimum:
            return None
        self.index += 1 + is_negated
        return "not in" if is_negated else text, strength

    def binary(self, op: str, left: Node, right: Node, span: tuple[int, int]) -> Node:
        if op not in ("in", "not in"):
            return super().binary(op, left, right, span)
        # Python's operator binds less tightly than R's: parentheses keep what it joins.
        left, right = (Paren(n) if isinstance(n, Binary | Unary) else n for n in (left, right))
        node = Binary("%in%", left, right, span=span)
        return node if op == "in" else Paren(Unary("!", node, span=span), span=span)

    def chain(self, op: str, left: Node, middle: Node, right: Node, position: int) -> Node:
        return Binary("&", left, Binary(op, middle, right, span=left.span), span=left.span)

    def is_followed_by_operand(self) -> bool:
        """Whether the name that stands here is a word before an operand, and no column."""
        after = self.tokens[self.index + 1]
        if after.kind == "operator":
            return after.text in ("(", "!", "-", "+")
        return after.kind != "end" and after.text not in _WORDS

    def operand(self, depth: int) -> Node:
        token = self.token
        if token.kind == "name" and token.text == "not" and self.is_followed_by_operand():
            self.advance()
            inner = self.expression(PREFIXES["!"], depth + 1)
            return Unary("!", inner, span=(token.start, self.last_end))
        if token.kind == "operator" and token.text in ("[", "("):
            return self.values(depth)
        return super().operand(depth)

    def values(self, depth: int) -> Node:
        """``[1, 2]`` and ``(1, 2)``, R's ``c(1, 2)``; one value in parentheses is itself."""
        opening = self.advance()
        found = [self.expression(depth=depth + 1)]
        while self.accept(","):
            found.append(self.expression(depth=depth + 1))
        if opening.text == "(":
            self.close(opening)
        elif not self.accept("]"):
            raise self.fail("This '[' is never closed: expected ']'.", opening.start)
        span = (opening.start, self.last_end)
        if opening.text == "(" and len(found) == 1:
            return Paren(found[0], span=span)
        return Call("c", tuple((None, value) for value in found), span=span)


def parse_condition(source: str) -> Node:
    """Read a condition on rows, such as ``Days >= 2 & Subject != "308"``.

    Spellings that pandas' ``DataFrame.eval`` takes are read as R's: ``and``, ``or``, ``not``,
    ``x in [1, 2]``, ``x not in [1, 2]``, ``0 < x < 5``.

    Raises
    ------
    FormulaError
        When the text does not parse; the message points at the place.

    Examples
    --------
    >>> from lmm.language.deparse import deparse
    >>> deparse(parse_condition("0 < Days < 5 and not (Subject in ['308', '309'])"))
    '0 < Days & Days < 5 & !(Subject %in% c("308", "309"))'
    """
    return _ConditionParser(source).alone()
