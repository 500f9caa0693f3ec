"""R's expressions, evaluated from the formula's tree.

Formula text is never given to Python's `eval`: names are columns, functions are those of
`lmm.design.transforms`, and neither can shadow the other.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, reduce
from typing import Any

import numpy as np

from lmm.design.columns import Basis, Column, Factor, level_name
from lmm.design.transforms import (
    EXTREMES,
    FUNCTIONS,
    MATH,
    NAMED_CONSTANTS,
    OF_NUMBERS,
    STATEFUL,
    State,
    Value,
    combine,
    is_scalar,
    logical,
    numbered_basis,
    truth,
)
from lmm.errors import DataError, FormulaError, nearest
from lmm.language import Binary, Call, Constant, Name, Node, Number, Paren, String, Unary, deparse

__all__ = ["Evaluator"]


@dataclass(frozen=True)
class Evaluator:
    """Evaluates the variables of one formula on one table.

    Parameters
    ----------
    columns : mapping of str to Column
        Columns of the table, by name.
    state : dict
        Filled by the first evaluation, read by later ones.
    source : str
        The formula's text, for messages.
    """

    columns: Mapping[str, Column]
    state: State
    source: str

    def column(self, node: Node) -> Column:
        """Value of a variable of the formula, (n,) or (n, k).

        Raises
        ------
        FormulaError
            If the expression is not one of columns, or a function or argument is unknown.
        DataError
            If a column's content does not suit the expression.
        """
        value = self._value(node)
        if not isinstance(value, np.ndarray | Factor | Basis) or is_scalar(value):
            raise self._fail(f"{deparse(node)} does not depend on the data: name a column", node)
        return value

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
        return NAMED_CONSTANTS[node.id]

    def _unary(self, node: Unary) -> Value:
        operand = self._value(node.operand)
        match node.op:
            case "-":
                return np.negative(self._number(operand, node))  # type: ignore[no-any-return]
            case "+":
                return np.positive(self._number(operand, node))  # type: ignore[no-any-return]
            case _:
                return logical(1.0 - truth(self._number(operand, node)))

    def _binary(self, node: Binary) -> Value:
        left, right = self._value(node.left), self._value(node.right)
        if node.op in _COMPARISONS:
            return self._compare(node, left, right)
        if node.op == "%in%":
            return _is_in(left, right)
        if node.op not in _ARITHMETIC:
            raise self._fail(f"operator {node.op!r} has no value inside an expression", node)
        with np.errstate(all="ignore"):
            result = _ARITHMETIC[node.op](self._number(left, node), self._number(right, node))
        return logical(result) if node.op in ("&", "|", "&&", "||") else result

    def _compare(self, node: Binary, left: Value, right: Value) -> Value:
        if isinstance(left, str) and isinstance(right, Factor):
            left, right = right, left
        if isinstance(left, Factor) and not left.is_logical:
            if node.op not in ("==", "!="):
                raise self._fail("factors can be compared by == and != only", node)
            if isinstance(right, Factor):
                return _same_level(left, right, equal=node.op == "==")
            if not isinstance(right, str | float):
                raise self._fail("a factor can be compared with a level or another factor", node)
            wanted = level_name(right)
            equal = np.array([level == wanted for level in left.levels] + [False])[left.codes]
            return logical(np.where(left.codes < 0, np.nan, equal == (node.op == "==")))
        a, b = self._number(left, node), self._number(right, node)
        return logical(np.where(np.isnan(a + b), np.nan, _COMPARISONS[node.op](a, b)))

    def _number(self, value: Value, node: Node) -> Any:
        """Number, or array of numbers; truth values count 0 and 1."""
        if isinstance(value, Factor) and value.is_logical:
            return np.where(value.codes < 0, np.nan, value.codes)
        if isinstance(value, np.ndarray | float | int):
            return value
        what = "a factor" if isinstance(value, Factor) else type(value).__name__.lower()
        raise self._fail(f"{deparse(node)} needs numbers, but is given {what}", node)

    def _call(self, node: Call) -> Value:
        name = node.function.rpartition("::")[2]
        if name in MATH:
            return self._math(name, node)
        if name == "cbind":
            return self._cbind(node)
        if name == "c":
            return self._apply(node, combine, *[self._value(part) for part in node.args])
        if name in EXTREMES:
            numbers = [self._number(self._value(argument), node) for argument in node.args]
            return reduce(EXTREMES[name], numbers)  # type: ignore[no-any-return]
        if name not in FUNCTIONS:
            known = sorted([*MATH, *EXTREMES, *FUNCTIONS, "c", "cbind"])
            raise self._fail(
                f"unknown function {name!r}: compute the column in the data first, or use one that "
                f"formulas know.{nearest(name, known)}",
                node,
            )
        return self._bound_call(name, node)

    def _math(self, name: str, node: Call) -> Value:
        if len(node.args) != 1 or node.kwargs:
            raise self._fail(f"{name}() takes one argument", node)
        with np.errstate(all="ignore"):
            return MATH[name](self._number(self._value(node.args[0]), node))  # type: ignore[no-any-return]

    def _cbind(self, node: Call) -> Basis:
        columns, suffixes = [], []
        for name, argument in node.arguments:
            columns.append(self._number(self.column(argument), node))
            suffixes.append(name or (argument.id if isinstance(argument, Name) else ""))
        if not any(suffixes):
            return numbered_basis(np.column_stack(columns))
        return Basis(np.column_stack(columns), tuple(suffixes))

    def _bound_call(self, name: str, node: Call) -> Value:
        """Call a function of the table with R's argument names."""
        parameters = _parameters(name)
        given = {key.replace(".", "_").lower(): v for key, v in node.kwargs.items()}
        free = [parameter for parameter in parameters if parameter not in given]
        if unknown := set(given) - set(parameters):
            raise self._fail(f"{name}() has no argument {unknown.pop()!r}: {_usage(name)}", node)
        if len(node.args) > len(free):
            raise self._fail(f"{name}() is given too many arguments: {_usage(name)}", node)
        given |= dict(zip(free, node.args, strict=False))
        if parameters[0] not in given:
            raise self._fail(f"{name}() needs an argument {parameters[0]!r}: {_usage(name)}", node)
        arguments: dict[str, Any] = {key: self._value(argument) for key, argument in given.items()}
        if name in OF_NUMBERS:
            arguments[parameters[0]] = self._number(arguments[parameters[0]], node)
        if name in STATEFUL:
            arguments["state"] = self.state.setdefault(deparse(node), {})
        return self._apply(node, FUNCTIONS[name], **arguments)

    def _apply(self, node: Call, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Value:
        """Result of a function; what it refuses is told with the place in the formula."""
        try:
            return function(*args, **kwargs)  # type: ignore[no-any-return]
        except (DataError, TypeError, ValueError) as error:
            raise self._fail(f"{deparse(node)}: {error}", node) from error

    def _fail(self, message: str, node: Node) -> FormulaError:
        return FormulaError(message, self.source, node.span[0])


@lru_cache(maxsize=256)
def _parameters(name: str) -> tuple[str, ...]:
    signature = inspect.signature(FUNCTIONS[name])
    return tuple(parameter for parameter in signature.parameters if parameter != "state")


def _usage(name: str) -> str:
    return f"its arguments are {', '.join(_parameters(name))}"


# ---------------------------------------------------------------------------------------------
# Operators


def _and(a: Any, b: Any) -> Any:
    a, b = truth(a), truth(b)
    return np.where((a == 0) | (b == 0), 0.0, a * b)


def _or(a: Any, b: Any) -> Any:
    return 1.0 - _and(1.0 - truth(a), 1.0 - truth(b))


_ARITHMETIC: Mapping[str, Callable[[Any, Any], Any]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.true_divide,
    "^": np.float_power,
    "%%": np.mod,
    "%/%": np.floor_divide,
    "&": _and,
    "&&": _and,
    "|": _or,
    "||": _or,
}
_COMPARISONS: Mapping[str, Callable[[Any, Any], Any]] = {
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
    "==": np.equal,
    "!=": np.not_equal,
}


def _same_level(left: Factor, right: Factor, *, equal: bool) -> Factor:
    position = {level: i for i, level in enumerate(left.levels)}
    other = np.array([position.get(level, -2) for level in right.levels] + [-1])[right.codes]
    missing = (left.codes < 0) | (other == -1)
    return logical(np.where(missing, np.nan, (left.codes == other) == equal))


def _is_in(left: Value, right: Value) -> Factor:
    wanted = right if isinstance(right, tuple) else (right,)
    if isinstance(left, Factor):
        names = {level_name(value) for value in wanted}  # type: ignore[arg-type]
        # A missing value is in no set, as in R.
        return logical(np.array([level in names for level in left.levels] + [False])[left.codes])
    return logical(np.isin(np.asarray(left), np.asarray(wanted)))
