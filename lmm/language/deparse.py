"""Trees back to R's text."""

from __future__ import annotations

import math

from lmm.language.names import escape_spaces, quote
from lmm.language.operators import OPERATORS
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
    summands,
)


def _string_text(value: str) -> str:
    return '"' + escape_spaces(value.replace("\\", "\\\\").replace('"', '\\"')) + '"'


def fewest_digits(value: float, most: int = 15) -> str:
    """A double as R writes it: no more digits than it needs, fixed unless scientific is shorter."""
    mantissa, _, exponent = f"{value:.{most - 1}e}".partition("e")
    if not exponent:
        return mantissa  # not finite
    mantissa = mantissa.rstrip("0").rstrip(".")
    digits = sum(map(str.isdigit, mantissa))
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
                self.write(quote(node.id))
            case Number():
                self.write(f"{node.value:.0f}L" if node.is_integer else fewest_digits(node.value))
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
            case Binary() if node.op in OPERATORS and OPERATORS[node.op].is_tight:
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
        self.write(call.function if "::" in call.function else quote(call.function))
        self.write("(")
        broken = False
        for position, (name, value) in enumerate(call.arguments):
            if position:
                self.write(", ")
                if self.break_line() and not broken:
                    broken = True
                    self.indent += 1
            if name is not None:
                self.write(f"{quote(name)} = ")
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
    >>> from lmm.language.parse import parse_tilde
    >>> deparse(parse_tilde("y~I(x^2)*log( z )")[1])
    'I(x^2) * log(z)'
    """
    return deparse_lines(node, math.inf)[0]
