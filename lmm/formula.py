"""lme4's formula syntax: text to `Formula`; no other module reads it.

The expression tree of `lmm.expression` is split into a fixed part, offsets and random terms. The
fixed part expands by the algebra of R's ``terms.formula``, grouping factors as in lme4.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TypeAlias

from lmm.errors import FormulaError
from lmm.expression import (
    Binary,
    Call,
    Constant,
    Name,
    Node,
    Number,
    Paren,
    String,
    Unary,
    add,
    children,
    deparse,
    deparse_lines,
    is_bar,
    map_summands,
    parse_tilde,
    strip_parens,
    summands,
    variables,
    walk,
)

__all__ = [
    "STRUCTURES",
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

LINE_WIDTH = 60  # in bytes, as R's deparse counts

# Hostile text must not hang.
MAX_LENGTH = 100_000
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


class _TermAlgebra:
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
        # Powers repeat terms: (a + b + c)^3 crosses 6 with 3 to give 7. Hence the allowance.
        self.check_size(len(left) * len(right) // 50, node)
        crossed = dict.fromkeys(a | b for a in left for b in right)
        self.check_size(len(crossed), node)
        return crossed

    def check_size(self, size: int, node: Node) -> None:
        if size > MAX_TERMS:
            raise self.fail(f"The formula expands to more than {MAX_TERMS} terms.", node)

    def checked_atom(self, node: Node) -> Node:
        if self.keep_random:
            return node
        if _is_offset(node):
            raise self.fail(
                "offset() must be added as a term of its own, as in y ~ x + offset(z).", node
            )
        if is_bar(node):
            raise self.fail(f"({deparse(node)}) is a random term, not a fixed one.", node)
        return node

    def bit(self, node: Node) -> int:
        # (x | g) and (x || g) share a bit, so that either removes the other.
        text = deparse(node).replace("||", "|") if is_bar(node) else deparse(node)
        if text not in self.bits:
            self.bits[text] = 1 << len(self.atoms)
            self.atoms[text] = node
        return self.bits[text]

    def fail(self, message: str, node: Node) -> FormulaError:
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
    >>> expand_terms(parse_formula("y ~ (a + b + c)^2 - a:b - 1 + (1 | g)").fixed).labels
    ('a', 'b', 'c', 'a:c', 'b:c')
    """
    return _TermAlgebra(None, data_columns).expand(node)


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
        and any(is_bar(value) for _, value in node.arguments)
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
            stack.extend(reversed(children(current)))


def _has_random(node: Node) -> bool:
    return any(is_bar(part) or _is_random_call(part) for part in _walk_algebra(node))


def _expand_groups(node: Node, source: str) -> list[Node]:
    """Expand the right side of a bar, finest first where nested: lme4's names and order."""
    for part in _walk_algebra(node):
        if isinstance(part, Binary | Unary) and part.op == "-":
            raise FormulaError(
                f"'-' has no meaning in the grouping factor {deparse(part)}: "
                "join factors with ':' or '/'.",
                source,
                part.span[0],
            )
    return list(dict.fromkeys(_grouping_factors(node, source)))


def _grouping_factors(node: Node, source: str) -> list[Node]:
    match node:
        case Name() | Call():
            return [node]
        case Paren():
            inner = _grouping_factors(node.inner, source)
            return [node] if len(inner) == 1 else inner
        case Binary(op="+"):
            first, rest = summands(node)
            operands = [first, *(operand for _, operand in rest)]
            return [factor for part in operands for factor in _grouping_factors(part, source)]
        case Binary(op=":" | "%in%" | "/"):
            return _grouping_product(node, source)
        case Binary(op="*" | "^"):
            return [term.node for term in _TermAlgebra(source).expand(node).terms]
        case _:
            raise FormulaError(
                f"{deparse(node)} is not a grouping factor: name a column, join columns with "
                "':' or '/', or wrap an expression in factor().",
                source,
                node.span[0],
            )


def _grouping_product(node: Binary, source: str) -> list[Node]:
    left = _grouping_factors(node.left, source)
    right = _grouping_factors(node.right, source)
    if node.op == "/" and len(right) == 1 and (len(left) == 1 or _is_nesting(node.left)):
        return [_interaction(right[0], left[0]), *left]
    if node.op != "/" and len(left) == len(right) == 1:
        return [_interaction(left[0], right[0])]
    terms = _TermAlgebra(source).expand(node).terms
    if node.op != "/":
        return [term.node for term in terms]
    return [Term(term.factors[::-1]).node for term in reversed(terms)]


def _is_nesting(node: Node) -> bool:
    node = strip_parens(node)
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
    tilde = Unary("~", rhs) if lhs is None else Binary("~", lhs, rhs)
    return deparse_lines(tilde, width)


def _expand_double_bars(node: Node, op: str) -> Node:
    """``x || g`` as lme4 stores it: ``(1 | g) + (0 + x | g)``, with `op` as the bar of slopes."""
    match node:
        case Paren():
            return Paren(_expand_double_bars(node.inner, op))
        case Binary(op="||"):
            return add(Paren(bar) for bar in _single_bars(node, op))
        case Binary(op="+" | "-"):
            return map_summands(lambda operand: _expand_double_bars(operand, op), node)
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
        for group in _expand_groups(bar.right, self.source):
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
    lhs, rhs = parse_tilde(source)
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
    lhs, rhs = parse_tilde(source)
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
    lhs, rhs = parse_tilde(_check_text(change))
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
            return map_summands(lambda operand: _substitute_dot(operand, dot), node)
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
        special = [factor for factor in term.factors if is_bar(factor) or _is_random_call(factor)]
        if special and len(term.factors) > 1:
            raise FormulaError(
                f"The random term ({deparse(special[0])}) cannot be in an interaction: "
                "add the new fixed terms by name, as in . ~ . + x:z.",
                source,
                source.index("~") + 1,
            )
        wrapped = Paren(term.node) if is_bar(term.node) else term.node
        (offsets if _is_offset(term.node) else terms).append(wrapped)
    right = add([*(terms or [Number(1.0)]), *offsets])
    return right if expanded.intercept else Binary("-", right, Number(1.0))
