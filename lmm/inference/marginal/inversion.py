"""An expression of one column undone: from its value back to the column's.

The tree is inverted from the outside inwards. Each function of one argument, each power and each
piece of arithmetic with constants is one `Step`; what is not one to one over the data is refused,
with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.polynomial import Polynomial

from lmm._types import Vector
from lmm.errors import DataError
from lmm.language.deparse import deparse
from lmm.language.tree import Binary, Call, Name, Node, Paren, Unary

Function = Callable[[Vector], Vector]
Values = Callable[[Node], Vector | float]
"""Value on the data of a part of the expression: numbers (n,), or one number if it is constant."""


@dataclass(frozen=True, eq=False)
class Step:
    """A function that is one to one between two numbers, with its inverse.

    Attributes
    ----------
    forward, inverse, slope : callable
        The function, its inverse, and the derivative of the inverse; (r,) to (r,).
    lower, upper : float
        Arguments between which it is one to one.
    """

    forward: Function
    inverse: Function
    slope: Function
    lower: float = -np.inf
    upper: float = np.inf

    def image(self, lower: float, upper: float) -> tuple[float, float]:
        """Least and greatest value over the arguments between two numbers."""
        with np.errstate(all="ignore"):
            ends = self.forward(np.clip([lower, upper], self.lower, self.upper))
        return float(ends.min()), float(ends.max())


@dataclass(frozen=True, eq=False)
class Way:
    """The way back from the value of an expression to that of its column.

    Attributes
    ----------
    steps : tuple of Step
        What is undone, the outermost function first.
    lower, upper : float
        Values between which those of the expression lie.
    """

    steps: tuple[Step, ...]
    lower: float
    upper: float

    @classmethod
    def of(cls, steps: tuple[Step, ...]) -> Way:
        """The way of some steps."""
        lower, upper = -np.inf, np.inf
        for step in reversed(steps):
            lower, upper = step.image(lower, upper)
        return cls(steps, lower, upper)

    def inverse(self, values: Vector) -> Vector:
        """Column (r,) of values (r,) of the expression, or of the nearest ones that it can have."""
        at = np.clip(values, self.lower, self.upper)
        with np.errstate(all="ignore"):
            for step in self.steps:
                at = step.inverse(at)
        return np.asarray(at) + 0.0

    def slope(self, values: Vector) -> Vector:
        """Derivative (r,) of `inverse`."""
        at = np.clip(values, self.lower, self.upper)
        total = np.ones_like(at)
        with np.errstate(all="ignore"):
            for step in self.steps:
                total, at = total * step.slope(at), step.inverse(at)
        return np.asarray(total)


def way_back(node: Node, value: Values) -> Way:
    """Invert an expression of one column.

    Parameters
    ----------
    node : Node
        The expression.
    value : callable
        Value of each of its parts on the data.

    Raises
    ------
    DataError
        It is not one to one over the data, or something in it has no known inverse.
    """
    return Way.of(tuple(_steps(node, value)))


def _steps(node: Node, value: Values) -> list[Step]:
    node = bare(node)
    if isinstance(node, Name):
        return []
    operators = arithmetic(node, value)
    if operators.core is None:
        raise DataError(f"{deparse(node)} does not depend on the data")
    if operators.core != node:
        pieces, inner = _fraction(operators, node), operators.core
    elif isinstance(node, Binary) and node.op == "^":
        pieces, inner = _power(node, value)
    elif isinstance(node, Call):
        pieces, inner = _function(node, value)
    else:
        raise _unknown(node)
    return [_piece_of_the_data(pieces, node, value(inner)), *_steps(inner, value)]


def bare(node: Node) -> Node:
    """A node without parentheses and functions that change nothing."""
    while isinstance(node, Paren) or (
        isinstance(node, Call) and node.function in ("I", "identity")
    ):
        node = node.inner if isinstance(node, Paren) else node.args[0]
    return node


def _piece_of_the_data(pieces: tuple[Step, ...], node: Node, inner: Vector | float) -> Step:
    lowest, highest = float(np.nanmin(inner)), float(np.nanmax(inner))
    for step in pieces:
        if step.lower <= lowest and highest <= step.upper:
            return step
    raise DataError(
        f"{deparse(node)} is not one to one over the data, where its argument goes from "
        f"{lowest:g} to {highest:g}"
    )


def _unknown(node: Node) -> DataError:
    what = f"{node.function}()" if isinstance(node, Call) else repr(deparse(node))
    return DataError(f"{what} has no inverse that is known here")


# Arithmetic --------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Arithmetic:
    """What ``+ - * /`` make of one part of an expression: a ratio of polynomials in it.

    Attributes
    ----------
    numerator, denominator : Polynomial
        The polynomials.
    core : Node or None
        The part; None if the expression is constant.
    """

    numerator: Polynomial
    denominator: Polynomial
    core: Node | None

    @property
    def fraction(self) -> tuple[float, float, float, float] | None:
        """a, b, c, d, if it is ``(a x + b) / (c x + d)``."""
        top, bottom = self.numerator.trim().coef, self.denominator.trim().coef
        if len(top) > 2 or len(bottom) > 2:
            return None
        (b, a), (d, c) = (np.append(part, 0.0)[:2].tolist() for part in (top, bottom))
        return a, b, c, d


def arithmetic(node: Node, value: Values) -> Arithmetic:
    """What the operators ``+ - * /`` at the top of an expression make of their operands."""
    node, one = bare(node), Polynomial([1.0])
    if isinstance(found := value(node), float):
        return Arithmetic(Polynomial([found]), one, None)
    match node:
        case Unary(op="-" | "+" as sign, operand=operand):
            inner = arithmetic(operand, value)
            flipped = -inner.numerator if sign == "-" else inner.numerator
            return Arithmetic(flipped, inner.denominator, inner.core)
        case Binary(op="+" | "-" | "*" | "/"):
            return _combined(node, arithmetic(node.left, value), arithmetic(node.right, value))
        case _:
            return Arithmetic(Polynomial([0.0, 1.0]), one, node)


def _combined(node: Binary, left: Arithmetic, right: Arithmetic) -> Arithmetic:
    cores = [part.core for part in (left, right) if part.core is not None]
    if len(cores) == 2 and cores[0] != cores[1]:
        raise DataError(f"the column stands twice in {deparse(node)}, which has no known inverse")
    a, b, c, d = left.numerator, left.denominator, right.numerator, right.denominator
    match node.op:
        case "+":
            return Arithmetic(a * d + b * c, b * d, cores[0])
        case "-":
            return Arithmetic(a * d - b * c, b * d, cores[0])
        case "*":
            return Arithmetic(a * c, b * d, cores[0])
        case _:
            return Arithmetic(a * d, b * c, cores[0])


def _fraction(operators: Arithmetic, node: Node) -> tuple[Step, ...]:
    """Pieces of ``(a x + b) / (c x + d)``."""
    if (coefficients := operators.fraction) is None:
        raise _unknown(node)
    a, b, c, d = coefficients
    determinant = a * d - b * c
    if determinant == 0.0:
        raise DataError(f"{deparse(node)} does not depend on the data")
    if c == 0.0:
        a, b = a / d, b / d
        return (
            Step(lambda x: a * x + b, lambda v: (v - b) / a, lambda v: np.full_like(v, 1.0 / a)),
        )

    def piece(lower: float, upper: float) -> Step:
        # Towards the pole it grows without bound, to a side that depends on the piece.
        at_pole = np.copysign(np.inf, determinant if upper < np.inf else -determinant)
        far = upper if upper == np.inf else lower

        def forward(x: Vector) -> Vector:
            inside = np.where(x == -d / c, at_pole, (a * x + b) / (c * x + d))
            return np.where(np.isinf(x), a / c, inside)

        def inverse(v: Vector) -> Vector:
            return np.where(
                v == a / c, far, np.where(np.isinf(v), -d / c, (d * v - b) / (a - c * v))
            )

        return Step(forward, inverse, lambda v: determinant / (a - c * v) ** 2, lower, upper)

    return piece(-d / c, np.inf), piece(-np.inf, -d / c)


# Powers and functions ----------------------------------------------------------------------------


def _power(node: Binary, value: Values) -> tuple[tuple[Step, ...], Node]:
    base, exponent = value(node.left), value(node.right)
    if isinstance(exponent, float) and exponent:
        return _pieces_of_power(exponent), node.left
    if isinstance(base, float) and base > 0.0 and base != 1.0:
        rate = float(np.log(base))
        exponential = Step(
            lambda x: np.exp(rate * x), lambda v: np.log(v) / rate, lambda v: 1.0 / (rate * v)
        )
        return (exponential,), node.right
    raise _unknown(node)


def _pieces_of_power(c: float) -> tuple[Step, ...]:
    """Pieces of ``x^c``: whole powers exist for negative numbers too."""
    positive = Step(
        lambda x: np.power(x, c),
        lambda v: np.power(v, 1.0 / c),
        lambda v: np.power(v, 1.0 / c - 1.0) / c,
        0.0,
    )
    if not c.is_integer():
        return (positive,)
    sign = -1.0 if c % 2 else 1.0
    negative = Step(
        lambda x: sign * np.power(np.abs(x), c),
        lambda v: -np.power(np.abs(v), 1.0 / c),
        lambda v: -sign * np.power(np.abs(v), 1.0 / c - 1.0) / c,
        -np.inf,
        0.0,
    )
    if c < 0.0 or sign > 0.0:
        return positive, negative
    everywhere = Step(
        lambda x: np.sign(x) * np.power(np.abs(x), c),
        lambda v: np.sign(v) * np.power(np.abs(v), 1.0 / c),
        lambda v: np.power(np.abs(v), 1.0 / c - 1.0) / c,
    )
    return (everywhere,)


def _logarithm(rate: float) -> Step:
    """Logarithm to the base ``exp(rate)``."""
    return Step(
        lambda x: np.log(x) / rate,
        lambda v: np.exp(rate * v),
        lambda v: rate * np.exp(rate * v),
        0.0,
    )


KNOWN: Mapping[str, tuple[Step, ...]] = {
    "abs": (
        Step(np.array, np.array, np.ones_like, 0.0),
        Step(np.negative, np.negative, lambda v: -np.ones_like(v), -np.inf, 0.0),
    ),
    "acos": (Step(np.arccos, np.cos, lambda v: -np.sin(v), -1.0, 1.0),),
    "as.numeric": (Step(np.array, np.array, np.ones_like),),
    "asin": (Step(np.arcsin, np.sin, np.cos, -1.0, 1.0),),
    "atan": (Step(np.arctan, np.tan, lambda v: 1.0 / np.cos(v) ** 2),),
    "cos": (Step(np.cos, np.arccos, lambda v: -1.0 / np.sqrt(1.0 - v**2), 0.0, np.pi),),
    "cosh": (
        Step(np.cosh, np.arccosh, lambda v: 1.0 / np.sqrt(v**2 - 1.0), 0.0),
        Step(np.cosh, lambda v: -np.arccosh(v), lambda v: -1.0 / np.sqrt(v**2 - 1.0), -np.inf, 0.0),
    ),
    "exp": (Step(np.exp, np.log, lambda v: 1.0 / v),),
    "expm1": (Step(np.expm1, np.log1p, lambda v: 1.0 / (1.0 + v)),),
    "log": (_logarithm(1.0),),
    "log10": (_logarithm(float(np.log(10.0))),),
    "log1p": (Step(np.log1p, np.expm1, np.exp, -1.0),),
    "log2": (_logarithm(float(np.log(2.0))),),
    "sin": (
        Step(np.sin, np.arcsin, lambda v: 1.0 / np.sqrt(1.0 - v**2), -0.5 * np.pi, 0.5 * np.pi),
    ),
    "sinh": (Step(np.sinh, np.arcsinh, lambda v: 1.0 / np.sqrt(1.0 + v**2)),),
    "sqrt": _pieces_of_power(0.5),
    "tan": (Step(np.tan, np.arctan, lambda v: 1.0 / (1.0 + v**2), -0.5 * np.pi, 0.5 * np.pi),),
    "tanh": (Step(np.tanh, np.arctanh, lambda v: 1.0 / (1.0 - v**2)),),
}


def _function(node: Call, value: Values) -> tuple[tuple[Step, ...], Node]:
    name = node.function.rpartition("::")[2]
    given = [argument for _, argument in node.arguments]
    inner = [argument for argument in given if not isinstance(value(argument), float)]
    if len(inner) != 1 or (name != "scale" and name not in KNOWN):
        raise _unknown(node)
    if name == "scale":
        return (_line(*through_two_points(value(inner[0]), value(node))),), inner[0]
    constants = [float(value(argument)) for argument in given if argument is not inner[0]]
    if constants and name != "log":
        raise _unknown(node)
    pieces = (_logarithm(float(np.log(constants[0]))),) if constants else KNOWN[name]
    return pieces, inner[0]


def _line(slope: float, middle: float, level: float) -> Step:
    """``level + slope (x - middle)``."""
    return Step(
        lambda x: level + slope * (x - middle),
        lambda v: middle + (v - level) / slope,
        lambda v: np.full_like(v, 1.0 / slope),
    )


def through_two_points(x: Vector | float, v: Vector | float) -> tuple[float, float, float]:
    """Slope, a point x and its value, of the straight line with values v."""
    x, v = np.ravel(x), np.ravel(v)
    first, last = int(np.nanargmin(x)), int(np.nanargmax(x))
    return float((v[last] - v[first]) / (x[last] - x[first])), float(x[first]), float(v[first])
