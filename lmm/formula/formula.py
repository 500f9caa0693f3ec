"""lme4's formula syntax: text to `Formula`; no other module reads it.

The expression tree of `lmm.language` is split into a fixed part, offsets and random terms. The
fixed part expands by the algebra of R's ``terms.formula``, grouping factors as in lme4.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from html import escape

from lmm.covariance import STRUCTURES
from lmm.errors import FormulaError
from lmm.formula.grouping import RandomTerm, expand_groups
from lmm.formula.terms import (
    Budget,
    TermAlgebra,
    Terms,
    expand_terms,
    has_random,
    is_offset,
    random_parts,
)
from lmm.language.deparse import deparse, deparse_lines
from lmm.language.parse import MAX_LENGTH, parse_tilde
from lmm.language.tree import (
    Binary,
    Call,
    Constant,
    Node,
    Number,
    Paren,
    Unary,
    add,
    map_summands,
    summands,
    variables,
)

LINE_WIDTH = 60  # in bytes, as R's deparse counts

MAX_REMEMBERED = 2000
"""Longest text whose formula is kept in memory."""

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
        terms = TermAlgebra(self.source, data_columns).expand(self.fixed)
        for term in terms.terms:
            if term.factors == (self.lhs,):
                raise FormulaError(
                    f"The response {self.response} is also a predictor.",
                    self.source,
                    term.factors[0].span[0],
                )
        return terms

    def written_out(self, chosen: Callable[[Node], bool] = lambda bar: True) -> Formula:
        """The formula with ``x || g`` as lme4 stores it: ``(1 | g) + (0 + x | g)``.

        Parameters
        ----------
        chosen : callable
            Which ``||`` bars are written out; all by default. The model stays the same only where
            every effect of the bar is one numeric column: ``0 + f`` codes a factor otherwise than
            ``f`` beside an intercept.

        Examples
        --------
        >>> print(parse_formula("y ~ x + (x || g)").written_out())
        y ~ x + ((1 | g) + (0 + x | g))
        """
        rhs = _expand_double_bars(self.rhs, chosen)
        text = formula_lines(self.lhs, rhs, math.inf)[0]
        return parse_one_sided(text) if self.lhs is None else parse_formula(text)

    def __str__(self) -> str:
        return " \n".join(formula_lines(self.lhs, self.rhs, LINE_WIDTH))

    def __repr__(self) -> str:
        return f"Formula({self._text()!r})"

    def _repr_html_(self) -> str:
        return f"<code>{escape(self._text())}</code>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Formula) and self._text() == other._text()

    def __hash__(self) -> int:
        return hash(self._text())

    def __reduce__(self) -> tuple[Callable[[str], Formula], tuple[str]]:
        return (parse_one_sided if self.lhs is None else parse_two_sided), (self.source,)

    def _text(self) -> str:
        return formula_lines(self.lhs, self.rhs, math.inf)[0]


def formula_lines(lhs: Node | None, rhs: Node, width: float) -> list[str]:
    """Text of a formula in lines of at most `width` bytes, as R's deparse breaks them."""
    tilde = Unary("~", rhs) if lhs is None else Binary("~", lhs, rhs)
    return deparse_lines(tilde, width)


def _expand_double_bars(node: Node, chosen: Callable[[Node], bool]) -> Node:
    match node:
        case Paren():
            return Paren(_expand_double_bars(node.inner, chosen))
        case Binary(op="||") if chosen(node):
            return add(Paren(bar) for bar in single_bars(node.left, node.right))
        case Binary(op="+" | "-"):
            return map_summands(lambda operand: _expand_double_bars(operand, chosen), node)
        case _:
            return node


def single_bars(effects: Node, group: Node) -> Iterator[Binary]:
    """Intercept and terms of ``effects || group``, each in a bar of its own, as lme4 has them."""
    expanded = expand_terms(effects)
    if expanded.intercept or not expanded.terms:
        yield Binary("|", Number(float(expanded.intercept)), group)
    for term in expanded.terms:
        yield Binary("|", Binary("+", Number(0.0), term.node), group)


class _Splitter:
    """Sorts the summands of a right side into fixed part, random terms and offsets."""

    def __init__(self, source: str, rhs: Node):
        self.source = source
        self.budget = Budget(source)
        self.random_parts = random_parts(rhs)
        self.random: list[RandomTerm] = []
        self.offsets: list[Node] = []
        self.columns = 0
        self.bars = 0

    def has_random(self, node: Node) -> bool:
        return id(node) in self.random_parts

    def fixed(self, node: Node) -> Node | None:
        """Take random terms and offsets out of `node`; None when nothing is left."""
        first, rest = summands(node)
        kept: Node | None = None
        for op, operand in [("+", first), *rest]:
            left = self.summand(op, operand)
            if left is None:
                continue
            if kept is not None:
                kept = Binary(op, kept, left)
            elif op == "+":
                kept = left
            else:
                kept = Unary("-", Paren(left) if isinstance(left, Binary) else left)
        return kept

    def summand(self, op: str, node: Node) -> Node | None:
        if not self.has_random(node) and not is_offset(node):
            return node
        if op == "-":
            raise self.fail(f"{deparse(node)} cannot be subtracted: leave it out instead.", node)
        match node:
            case Paren():
                inner = self.fixed(node.inner)
                return None if inner is None else Paren(inner, span=node.span)
            case Binary(op="|" | "||"):
                self.bar(node, "us" if node.op == "|" else "diag", node)
            case Call(function="offset"):
                self.offsets.append(node)
            case Call():
                self.structured(node)
            case Binary() | Unary():
                raise self.fail(
                    "A random term can only be added, as in x + (1 | g); "
                    f"in {deparse(node)} it stands under '{node.op}'.",
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
        takes_hom = STRUCTURES[call.function].hom is not None
        match call.arguments:
            case ((None, Binary(op="|") as bar),):
                self.bar(bar, call.function, call)
            case ((None, Binary(op="|") as bar), ("hom", Constant(text="TRUE" | "FALSE") as hom)):
                if not takes_hom:
                    raise self.fail(f"{call.function}() takes no 'hom': leave it out.", call)
                self.bar(bar, call.function, call, hom=hom.text == "TRUE")
            case _:
                option = " or with hom = TRUE or FALSE" if takes_hom else ", nothing more"
                raise self.fail(f"Write {call.function}(effects | group){option}.", call)

    def bar(self, bar: Binary, structure: str, whole: Node, hom: bool | None = None) -> None:
        for side in (bar.left, bar.right):
            if has_random(side):
                raise self.fail(
                    "A random term cannot hold another bar: "
                    "put each random term in parentheses, as in (1 | a) + (1 | b).",
                    side,
                )
        effects = TermAlgebra(self.source, budget=self.budget).expand(bar.left)
        groups = expand_groups(bar.right, self.source, self.budget)
        # Each group repeats the effects: as terms of a model, and in the labels.
        self.columns += len(groups) * (len(effects.terms) + effects.intercept)
        characters = len(groups) * (bar.left.span[1] - bar.left.span[0])
        self.budget.keep(self.columns, characters, whole)
        is_double = bar.op == "||"
        self.random += [
            RandomTerm(bar.left, group, structure, self.bars, is_double, hom, whole.span)
            for group in groups
        ]
        self.bars += 1

    def fail(self, message: str, node: Node) -> FormulaError:
        return FormulaError(message, self.source, node.span[0])


def _assemble(source: str, lhs: Node | None, rhs: Node) -> Formula:
    splitter = _Splitter(source, rhs)
    fixed = splitter.fixed(rhs) or Number(1.0)
    formula = Formula(source, lhs, rhs, fixed, tuple(splitter.random), tuple(splitter.offsets))
    formula.terms()
    return formula


def _check_response(lhs: Node | None, source: str) -> None:
    if lhs is None:
        raise FormulaError(
            "The formula has no response: expected 'response ~ terms'.", source, source.index("~")
        )
    if has_random(lhs) or not variables(lhs) or "." in variables(lhs):
        raise FormulaError(
            f"{deparse(lhs)} is not a response: expected a column or a function of columns.",
            source,
            lhs.span[0],
        )


def check_text(text: object) -> str:
    """Return the text of a formula; refuse what is none, empty or too long."""
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
    if isinstance(text, Formula):
        return text
    formula = parse_two_sided(text)
    if not formula.random:
        source = formula.source
        raise FormulaError(
            "No random effects terms specified in formula: add one, such as (1 | g) for a random "
            "intercept in each level of g, or fit the model by ordinary least squares: lmm.lm.",
            source,
            len(source.rstrip()),
        )
    return formula


def parse_two_sided(text: str | Formula) -> Formula:
    """Read a formula with a response, with or without random terms.

    Raises
    ------
    FormulaError
        When the text does not parse or has no response.

    Examples
    --------
    >>> parse_two_sided("y ~ x").random
    ()
    """
    return text if isinstance(text, Formula) else _remembered(_parse_two_sided, check_text(text))


@lru_cache(maxsize=256)
def _parsed(parse: Callable[[str], Formula], source: str) -> Formula:
    return parse(source)


def _remembered(parse: Callable[[str], Formula], source: str) -> Formula:
    """Formula of a text, which is parsed once unless it is long."""
    return _parsed(parse, source) if len(source) <= MAX_REMEMBERED else parse(source)


def _parse_two_sided(source: str) -> Formula:
    lhs, rhs = parse_tilde(source)
    _check_response(lhs, source)
    return _assemble(source, lhs, rhs)


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
    return text if isinstance(text, Formula) else _remembered(_parse_one_sided, check_text(text))


def _parse_one_sided(source: str) -> Formula:
    lhs, rhs = parse_tilde(source)
    if lhs is not None:
        raise FormulaError(
            f"Expected '~' first: here the formula has no response, but {deparse(lhs)} is given.",
            source,
            lhs.span[0],
        )
    return _assemble(source, lhs, rhs)
