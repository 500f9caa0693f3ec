"""Linear hypotheses as text: ``"Days = 10"``, ``"fb = fc"``, ``"2*Days - x = 15"``.

Names of coefficients stand for themselves, with whatever they are made of (``poly(x, 2)1``,
``recipeB:temp``); so do back-ticked ones, and ``Intercept`` for ``(Intercept)``. Beside them there
are numbers, ``+ - * /`` and parentheses. Sides of a chain ``a = b = c`` are all equal; an
expression without ``=`` is zero. Commas and line ends separate hypotheses.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from lmm._types import Matrix, Vector
from lmm.errors import FormulaError, nearest

NUMBER = re.compile(r"\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?")
WORD = re.compile(r"[^\W\d][\w.:]*")
OPERATORS = "+-*/()=,\n"
NESTED = 100


@dataclass(frozen=True, eq=False)
class LinearHypotheses:
    """``L beta = rhs``.

    Attributes
    ----------
    L : (q, p) array
        Coefficients of the hypotheses.
    rhs : (q,) array
        Their values.
    labels : tuple of str
        The hypotheses as car writes them: ``fb - fc = 0``.
    """

    L: Matrix
    rhs: Vector
    labels: tuple[str, ...]


def parse_hypotheses(text: str | Sequence[str], names: Sequence[str]) -> LinearHypotheses:
    """Hypotheses about named coefficients.

    Parameters
    ----------
    text : str or sequence of str
        One hypothesis, or several.
    names : sequence of str
        Names of the p coefficients.

    Raises
    ------
    FormulaError
        The text is no hypothesis, is not linear, or names another coefficient.

    Examples
    --------
    >>> h = parse_hypotheses("2*Days - x = 15, x", ["(Intercept)", "Days", "x"])
    >>> h.L.tolist(), h.rhs.tolist(), h.labels
    ([[0.0, 2.0, -1.0], [0.0, 0.0, 1.0]], [15.0, 0.0], ('2 Days - x = 15', 'x = 0'))
    """
    rows = [
        row
        for part in ([text] if isinstance(text, str) else text)
        for row in _HypothesisParser(part, names).hypotheses()
    ]
    table = np.array(rows)
    L, rhs = table[:, :-1], -table[:, -1]
    return LinearHypotheses(L, rhs + 0.0, hypothesis_labels(L, rhs, names))


def hypothesis_labels(L: Matrix, rhs: Vector, names: Sequence[str]) -> tuple[str, ...]:
    """Hypotheses ``L beta = rhs`` as car writes them."""
    return tuple(_label(row, value, names) for row, value in zip(L, rhs, strict=True))


def _label(row: Vector, value: float, names: Sequence[str]) -> str:
    terms = []
    for weight, name in zip(row, names, strict=True):
        if weight:
            size = "" if abs(weight) == 1.0 else f"{abs(weight):g} "
            terms.append(f"{'-' if weight < 0.0 else '+'} {size}{name}")
    left = " ".join(terms).removeprefix("+ ")
    if left.startswith("- "):
        left = f"-{left[2:]}"
    return f"{left} = {value + 0.0:g}"


class _HypothesisParser:
    """One text; values are rows (p + 1,): weights of the coefficients, and a number at the end."""

    def __init__(self, text: str, names: Sequence[str]):
        self.text, self.names = text, list(names)
        self.tokens = [*self._tokens(), ("end", 0.0, len(text))]
        self.at = self.depth = 0

    def _tokens(self) -> Iterator[tuple[str, float, int]]:
        """Kind (a name's is ``name``), value or index, and position."""
        text, at = self.text, 0
        by_length = sorted(range(len(self.names)), key=lambda j: -len(self.names[j]))
        while at < len(text):
            if text[at] in " \t":
                at += 1
                continue
            found = self._name_at(at, by_length)
            if found is not None:
                yield "name", found[0], at
                at = found[1]
            elif (number := NUMBER.match(text, at)) is not None:
                yield "number", float(number[0]), at
                at = number.end()
            elif text[at] in OPERATORS:
                yield ("," if text[at] == "\n" else text[at]), 0.0, at
                at += 1
            else:
                raise self._unknown(at)

    def _name_at(self, at: int, by_length: Sequence[int]) -> tuple[int, int] | None:
        """Index and end of the longest coefficient name that starts here."""
        text = self.text
        for j in by_length:
            name = self.names[j]
            for spelling in (f"`{name}`", name, *(("Intercept",) if name == "(Intercept)" else ())):
                end = at + len(spelling)
                if text.startswith(spelling, at) and not (
                    re.match(r"[\w.:]", spelling[-1]) and re.match(r"[\w.:]", text[end : end + 1])
                ):
                    return j, end
        return None

    def _unknown(self, at: int) -> FormulaError:
        word = WORD.match(self.text, at)
        if word is None:
            return FormulaError(f"a hypothesis has no {self.text[at]!r}", self.text, at)
        hint = nearest(word[0], self.names)
        return FormulaError(f"the model has no coefficient {word[0]!r}.{hint}", self.text, at)

    def _fail(self, what: str) -> FormulaError:
        return FormulaError(what, self.text, self.tokens[self.at][2])

    def _take(self, *kinds: str) -> tuple[str, float] | None:
        kind, value, _ = self.tokens[self.at]
        if kind not in kinds:
            return None
        self.at += 1
        return kind, value

    def hypotheses(self) -> Iterator[Vector]:
        """Rows that are zero under the hypotheses."""
        while self._take(","):
            pass
        while not self._take("end"):
            yield from self._chain()
            if not self._take(",") and self.tokens[self.at][0] != "end":
                raise self._fail("expected an operator, '=' or ','")
            while self._take(","):
                pass

    def _chain(self) -> Iterator[Vector]:
        sides = [self._sum()]
        while self._take("="):
            sides.append(self._sum())
        rows = [side - sides[-1] for side in sides[:-1]] or sides
        for row in rows:
            if not row[:-1].any():
                raise self._fail("the hypothesis says nothing about a coefficient")
            yield row

    def _sum(self) -> Vector:
        total = self._product()
        while (sign := self._take("+", "-")) is not None:
            term = self._product()
            total = total + term if sign[0] == "+" else total - term
        return total

    def _product(self) -> Vector:
        value = self._signed()
        while (operator := self._take("*", "/")) is not None:
            other = self._signed()
            if operator[0] == "/" and (other[:-1].any() or other[-1] == 0.0):
                raise self._fail("a hypothesis is linear: divide by numbers other than 0")
            if operator[0] == "/":
                value = value / other[-1]
            elif not other[:-1].any():
                value = value * other[-1]
            elif not value[:-1].any():
                value = other * value[-1]
            else:
                raise self._fail("a hypothesis is linear: coefficients are not multiplied")
        return value

    def _signed(self) -> Vector:
        sign = 1.0
        while (operator := self._take("+", "-")) is not None:
            sign = -sign if operator[0] == "-" else sign
        return sign * self._atom()

    def _atom(self) -> Vector:
        row: Vector = np.zeros(len(self.names) + 1)
        if (name := self._take("name")) is not None:
            row[int(name[1])] = 1.0
            return row
        if (number := self._take("number")) is not None:
            row[-1] = number[1]
            # as car writes it: 2 Days
            return number[1] * self._atom() if self.tokens[self.at][0] == "name" else row
        if self._take("("):
            self.depth += 1
            if self.depth > NESTED:
                raise self._fail("the hypothesis is nested too deeply")
            row = self._sum()
            if not self._take(")"):
                raise self._fail("expected ')'")
            self.depth -= 1
            return row
        raise self._fail("expected a coefficient or a number")
