"""R's expressions, evaluated from the formula's tree.

Formula text is never given to Python's `eval`: names are columns, functions are those of
`lmm.design.functions` and those that a caller passes in, and neither can shadow the other.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from lmm.design.coding import Contrasts
from lmm.design.columns import (
    EXACT,
    Basis,
    Column,
    Factor,
    Identifiers,
    RawColumn,
    as_factor,
    level_name,
    numbers_of,
)
from lmm.design.functions import FUNCTIONS, NAMED_CONSTANTS, Function
from lmm.design.functions.own import Own
from lmm.design.functions.values import State, Value, is_column, logical, truth
from lmm.design.matrix_columns import matrix_of, parts_of
from lmm.errors import DataError, FormulaError, nearest
from lmm.language.deparse import deparse
from lmm.language.parse import parse_expression
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
    variables,
)


@dataclass(frozen=True)
class Evaluator:
    """Evaluates the variables of one formula on one table.

    Parameters
    ----------
    columns : mapping of str to RawColumn
        Columns of the table, by name.
    state : dict
        Filled by the first evaluation, read by later ones.
    source : str
        The formula's text, for messages.
    own : mapping of str to Own
        The caller's functions.
    """

    columns: Mapping[str, RawColumn]
    state: State
    source: str
    own: Mapping[str, Own] = field(default_factory=dict)

    def column(self, node: Node) -> Column:
        """Value of a variable of the formula, (n,) or (n, k).

        Raises
        ------
        FormulaError
            If the expression is not one of columns, or a function or argument is unknown.
        DataError
            If a column's content does not suit the expression.
        """
        return self._plain(self._column(node), node)  # type: ignore[return-value]

    def grouping(self, node: Node) -> Factor:
        """Value of a variable as a grouping factor, exact where doubles are not.

        Raises
        ------
        FormulaError, DataError
            As for `column`.
        """
        return as_factor(self._column(node))  # type: ignore[arg-type]

    def _column(self, node: Node) -> Value:
        value = self._value(node)
        if not is_column(value):
            raise self._fail(f"{deparse(node)} does not depend on the data: name a column", node)
        return value

    def _plain(self, value: Value, node: Node) -> Value:
        """A value without what only factors can tell."""
        if isinstance(value, Identifiers):
            return numbers_of(value, repr(deparse(node)))
        return value

    def value(self, node: Node) -> Value:
        """Value of a part of an expression, which may be constant."""
        return self._value(node)

    def _value(self, node: Node) -> Value:
        match node:
            case Name():
                return self._named(node)
            case Number() | String() | Constant():
                return node.value
            case Paren():
                return self._value(node.inner)
            case Unary():
                return self._unary(node)
            case Binary():
                return self._binary(node)
            case Call():
                return self._call(node)

    def _named(self, node: Name) -> Value:
        # A column wins over a constant of the same name; functions live apart from both.
        if node.id in self.columns:
            return self.columns[node.id]
        if parts_of(node.id, self.columns):
            return self._matrix(node)
        return NAMED_CONSTANTS[node.id]

    def _matrix(self, node: Name) -> Basis:
        parts = parts_of(node.id, self.columns)
        known = self.state.setdefault(node.id, {}).setdefault("columns", parts)
        if parts != known:
            raise DataError(
                f"the matrix {node.id!r} has other columns than in the data of the fit: "
                f"{', '.join(parts)}, not {', '.join(known)}"
            )
        return matrix_of(node.id, self.columns)

    def _unary(self, node: Unary) -> Value:
        return self._by_element(_PREFIXES[node.op], node, self._value(node.operand))

    def _binary(self, node: Binary) -> Value:
        left, right = self._value(node.left), self._value(node.right)
        if node.op in _COMPARISONS:
            return self._compare(node, left, right)
        if node.op == "%in%":
            return self._is_in(node, left, right)
        if node.op not in _ARITHMETIC:
            raise self._fail(f"operator {node.op!r} has no value inside an expression", node)
        return self._by_element(_ARITHMETIC[node.op], node, left, right)

    def _by_element(self, apply: Callable[..., Any], node: Unary | Binary, *values: Value) -> Value:
        """Arithmetic of numbers and columns; of a matrix and a column, column by column."""
        matrices = [value for value in values if isinstance(value, Basis)]
        with np.errstate(all="ignore"):
            if not matrices or node.op in _LOGICAL:
                return apply(*(self._number(value, node) for value in values))  # type: ignore[no-any-return]
            if len({matrix.values.shape for matrix in matrices}) > 1:
                raise self._fail(f"{deparse(node)} takes matrices of as many columns", node)
            parts = [
                value.values if isinstance(value, Basis) else _upright(self._number(value, node))
                for value in values
            ]
            return replace(matrices[0], values=apply(*parts))

    def _compare(self, node: Binary, left: Value, right: Value) -> Value:
        if isinstance(left, str) and isinstance(right, Factor | Identifiers):
            return self._compare(replace(node, op=_MIRRORED[node.op]), right, left)
        if isinstance(left, Identifiers) and isinstance(right, str):
            left = replace(left.factor, is_text=True)  # dates in ISO 8601 sort as texts do
        if isinstance(left, Factor) and not left.is_logical:
            return self._compare_levels(node, left, right)
        self._check_exact(left, right, node)
        self._check_exact(right, left, node)
        a, b = self._number(left, node), self._number(right, node)
        return logical(np.where(np.isnan(a + b), np.nan, _COMPARISONS[node.op](a, b)))

    def _compare_levels(self, node: Binary, left: Factor, right: Value) -> Factor:
        if node.op in ("==", "!="):
            if isinstance(right, Factor):
                return _same_level(left, right, equal=node.op == "==")
            if not isinstance(right, str | float):
                raise self._fail("a factor can be compared with a level or another factor", node)
            wanted = level_name(right)
            return left.where([(level == wanted) == (node.op == "==") for level in left.levels])
        if not (left.is_ordered or left.is_text):
            raise self._fail("factors can be compared by == and != only, unless ordered", node)
        if not isinstance(right, str | float):
            raise self._fail("the order of levels can be compared with one level only", node)
        wanted = level_name(right)
        if left.is_text:
            return left.where([_COMPARISONS[node.op](level, wanted) for level in left.levels])
        if wanted not in left.levels:
            raise self._fail(f"{wanted!r} is not a level.{nearest(wanted, left.levels)}", node)
        positions = np.arange(len(left.levels))
        return left.where(_COMPARISONS[node.op](positions, left.levels.index(wanted)))

    def _is_in(self, node: Binary, left: Value, right: Value) -> Value:
        """R's ``%in%``; a missing value is in no set."""
        wanted = right if isinstance(right, tuple) else () if right is None else (right,)
        if not all(isinstance(value, str | float | int) for value in wanted):
            raise self._fail("the right side of %in% must be values, such as c(1, 2)", node)
        for value in wanted:
            self._check_exact(left, value, node)
        if isinstance(left, np.ndarray) and left.ndim:
            return Factor.of_booleans(np.isin(left, list(map(_number_named, wanted))))
        names = {level_name(value) for value in wanted}  # type: ignore[arg-type]
        if not is_column(left):
            return isinstance(left, str | float | int) and level_name(left) in names
        sought = as_factor(left)  # type: ignore[arg-type]
        found = sought.where([level in names for level in sought.levels])
        return Factor.of_booleans(found.codes == 1)

    def _check_exact(self, left: Value, right: Value, node: Node) -> None:
        """Refuse a number that stands for several identifiers."""
        is_number = isinstance(right, float) and abs(right) >= EXACT
        if isinstance(left, Identifiers) and is_number:
            raise self._fail(
                "a number of this size is rounded, and stands for several identifiers: "
                "write it in quotes",
                node,
            )

    def _number(self, value: Value, node: Node) -> Any:
        """Number, or array of numbers; truth values count 0 and 1."""
        value = self._plain(value, node)
        if isinstance(value, Factor) and value.is_logical:
            return value.by_level([0.0, 1.0], np.nan)
        if isinstance(value, np.ndarray | float | int):
            return float(value) if isinstance(value, int) else value
        kinds = {Factor: "a factor", Basis: "a matrix"}
        what = kinds.get(type(value), type(value).__name__.lower())
        raise self._fail(f"{deparse(node)} needs numbers, but is given {what}", node)

    def _call(self, node: Call) -> Value:
        if node.function in self.own:
            return self._call_own(node)
        name = node.function.rpartition("::")[2]
        if name not in FUNCTIONS:
            raise self._fail(
                f"unknown function {name!r}: compute the column in the data first, pass a function "
                f"of your own in extra_namespace=, or use one that formulas know.{_hint(name)}",
                node,
            )
        function = FUNCTIONS[name]
        free, named = self._bound(name, function, node)
        values = [self._first(function, self._value(part), node) for part in free]
        arguments: dict[str, Any] = {key: self._value(part) for key, part in named.items()}
        for first in function.required[:1]:
            arguments[first] = self._first(function, arguments[first], node)
        if function.keeps_state:
            arguments["state"] = self.state.setdefault(deparse(node), {})
        if function.takes_names:
            arguments["names"] = tuple(map(_argument_name, node.arguments))
        return self._apply(node, function.apply, *values, **arguments)

    def _call_own(self, node: Call) -> Value:
        values = [self._value(part) for part in node.args]
        named = {key: self._value(part) for key, part in node.kwargs.items()}
        return self._apply(node, self.own[node.function], *values, **named)

    def _bound(
        self, name: str, function: Function, node: Call
    ) -> tuple[list[Node], dict[str, Node]]:
        """Arguments by R's rules of matching: those that are free in number, and those by name."""
        if function.is_variadic:
            named = {key: v for key, v in node.kwargs.items() if key in function.parameters}
            free = [value for key, value in node.arguments if key not in named]
            if not free and function.first != "value":
                raise self._fail(f"{name}() needs an argument", node)
            return free, named
        given = {key.replace(".", "_").lower(): v for key, v in node.kwargs.items()}
        left = [parameter for parameter in function.parameters if parameter not in given]
        if unknown := set(given) - set(function.parameters):
            raise self._fail(f"{name}() has no argument {min(unknown)!r}: {_usage(function)}", node)
        if len(node.args) > len(left):
            raise self._fail(f"{name}() is given too many arguments: {_usage(function)}", node)
        given |= dict(zip(left, node.args, strict=False))
        if lacking := [parameter for parameter in function.required if parameter not in given]:
            raise self._fail(f"{name}() needs an argument {lacking[0]!r}: {_usage(function)}", node)
        return [], given

    def _first(self, function: Function, value: Value, node: Call) -> Any:
        """Argument that the function computes with."""
        if function.first == "numbers" or (
            function.first == "elements" and not isinstance(value, Basis)
        ):
            return self._number(value, node)
        if function.first in ("column", "factor") and not is_column(value):
            raise self._fail(f"{node.function}() needs a column, but is given one value", node)
        return self._plain(value, node) if function.first == "column" else value

    def _apply(self, node: Call, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Value:
        """Result of a function; what it refuses is told with the place in the formula."""
        try:
            with np.errstate(all="ignore"):
                return function(*args, **kwargs)  # type: ignore[no-any-return]
        except (ArithmeticError, TypeError, ValueError) as error:
            raise self._fail(f"{deparse(node)}: {error}", node) from error

    def _fail(self, message: str, node: Node) -> FormulaError:
        return FormulaError(message, self.source, node.span[0])


def contrasts_of_text(text: str) -> Contrasts | str:
    """Contrasts that a text says, as ``contr.treatment(base = 2)``; another text as it is."""
    try:
        node = parse_expression(text)
        if not set(variables(node)) <= set(NAMED_CONSTANTS):
            return text
        value = Evaluator({}, {}, text).value(node)
    except FormulaError:
        return text
    if isinstance(value, Contrasts):
        return replace(value, numbered=False)
    return value if isinstance(value, str) else text


def _argument_name(argument: tuple[str | None, Node]) -> str:
    name, value = argument
    return name or (value.id if isinstance(value, Name) else "")


def _usage(function: Function) -> str:
    return f"its arguments are {', '.join(function.parameters)}"


_SPELLINGS: Mapping[str, str] = {
    "isin": "x %in% c(1, 2)",
    "isna": "is.na(x)",
    "isnull": "is.na(x)",
    "notna": "!is.na(x)",
    "notnull": "!is.na(x)",
    "between": "x >= 1 & x <= 2",
    "startswith": 'startsWith(x, "a")',
    "endswith": 'endsWith(x, "z")',
}
"""pandas' methods, as R spells them."""


def _hint(name: str) -> str:
    """What to write instead of an unknown function."""
    last = name.rpartition(".")[2]
    if last in _SPELLINGS:
        return f" R writes {_SPELLINGS[last]}."
    if name not in FUNCTIONS and last in FUNCTIONS:
        return f" Write {last}()."
    return nearest(name, sorted(FUNCTIONS))


# Operators ---------------------------------------------------------------------------------------


def _and(a: Any, b: Any) -> Any:
    a, b = truth(a), truth(b)
    return np.where((a == 0) | (b == 0), 0.0, a * b)


def _or(a: Any, b: Any) -> Any:
    return 1.0 - _and(1.0 - truth(a), 1.0 - truth(b))


_PREFIXES: Mapping[str, Callable[[Any], Any]] = {
    "-": np.negative,
    "+": np.positive,
    "!": lambda x: logical(1.0 - truth(x)),
}
_ARITHMETIC: Mapping[str, Callable[[Any, Any], Any]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.true_divide,
    "^": np.float_power,
    "%%": np.mod,
    "%/%": np.floor_divide,
    **dict.fromkeys(("&", "&&"), lambda a, b: logical(_and(a, b))),
    **dict.fromkeys(("|", "||"), lambda a, b: logical(_or(a, b))),
}
_LOGICAL = ("&", "&&", "|", "||", "!")
_COMPARISONS: Mapping[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
_MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}


def _upright(numbers: Any) -> Any:
    """A column (n,) as one of a matrix, (n, 1)."""
    return numbers[:, None] if np.ndim(numbers) else numbers


def _number_named(value: Any) -> float:
    """Number that a value prints as; NaN, which is in no column, for other texts."""
    try:
        number = float(value)
    except ValueError:
        return np.nan
    is_name = isinstance(value, bool) or level_name(number) == level_name(value)
    return number if is_name else np.nan


def _same_level(left: Factor, right: Factor, *, equal: bool) -> Factor:
    other = right.recode(left.levels, unknown=-2).codes
    missing = (left.codes < 0) | (right.codes < 0)
    return logical(np.where(missing, np.nan, (left.codes == other) == equal))
