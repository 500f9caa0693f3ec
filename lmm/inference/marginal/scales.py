"""Scales on which means are estimated, and the way back from them to the response's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from lmm._types import Vector
from lmm.design.columns import take
from lmm.design.evaluate import Evaluator
from lmm.design.table import Table
from lmm.design.variables import column_names
from lmm.errors import DataError, nearest
from lmm.family import Family
from lmm.fitted import EstimatedModel
from lmm.inference.marginal.inversion import (
    KNOWN,
    Values,
    arithmetic,
    bare,
    through_two_points,
    way_back,
)
from lmm.language.deparse import deparse
from lmm.language.tree import Binary, Call, Name, Node, Paren, Unary

# Step, relative to the estimate, for the bend of a transformation.
STEP = 1e-4
# What differences of logarithms are called on the response's scale.
RATIOS = ("ratio", "odds.ratio")


@dataclass(frozen=True, eq=False)
class Transformation:
    """A scale on which means are estimated, and the way back to the response's.

    That of a response that the formula transforms, as in ``sqrt(y + 1)``; the link of a
    generalized model is another.

    Attributes
    ----------
    name : str
        As emmeans writes it: ``log``, ``log(mu + 1)``, ``sqrt``.
    inverse, slope : callable
        From its scale to the response's, (r,) to (r,), and the derivative of that.
    contrasts : Transformation or None
        Of differences: those of logarithms are logarithms of ratios, others have no way back.
    column : str
        What estimates are called on the response's scale.
    obstacle : str
        Why there is no way back, if there is none.
    forward : callable or None
        From the response's scale to this one, for the scales that have a name.
    bounds : pair of float
        The least and the largest value on the response's scale.
    """

    name: str
    inverse: Callable[[Vector], Vector]
    slope: Callable[[Vector], Vector]
    contrasts: Transformation | None = None
    column: str = "response"
    obstacle: str = ""
    forward: Callable[[Vector], Vector] | None = None
    bounds: tuple[float, float] = (-np.inf, np.inf)

    def ends(self, estimate: Vector, limits: tuple[Vector, Vector]) -> tuple[Vector, Vector]:
        """Limits on the response's scale, the smaller first; within its bounds as estimates are."""
        least, largest = self.bounds
        shown = self.inverse(estimate)
        ends = [self.inverse(limit) for limit in limits]
        kept = np.clip(ends, np.minimum(least, shown), np.maximum(largest, shown))
        return np.minimum(*kept), np.maximum(*kept)

    def of_contrasts(self, are_differences: bool) -> Transformation | None:
        """The scale of contrasts, if they have a way back: ratios stay ratios."""
        if self.column in RATIOS:
            return self
        return self.contrasts if are_differences else None

    def to(self, values: Vector) -> Vector:
        """From the response's scale to this one, which must have a name."""
        assert self.forward is not None
        with np.errstate(all="ignore"):
            return self.forward(values)

    def without_bias(self, sigma: float) -> Transformation:
        """The way back to the mean of a response that varies by sigma on this scale.

        The mean of a function g of a variable is ``g + sigma^2 g'' / 2`` at its mean, to second
        order.
        """

        def bend(eta: Vector) -> Vector:
            step = STEP * np.maximum(np.abs(eta), sigma)
            return 0.5 * sigma**2 * (self.slope(eta + step) - self.slope(eta - step)) / (2.0 * step)

        def bend_slope(eta: Vector) -> Vector:
            step = STEP * np.maximum(np.abs(eta), sigma)
            ends = self.slope(eta + step) - 2.0 * self.slope(eta) + self.slope(eta - step)
            return 0.5 * sigma**2 * ends / step**2

        return replace(
            self,
            inverse=lambda eta: self.inverse(eta) + bend(eta),
            slope=lambda eta: self.slope(eta) + bend_slope(eta),
        )


IDENTITY = Transformation("identity", np.array, np.ones_like)

# Logarithms by name, with the natural logarithm of their base.
RATES = {"log": 1.0, "log2": float(np.log(2.0)), "log10": float(np.log(10.0))}


def scale_named(name: str) -> Transformation:
    """The scale of a function of one argument.

    Raises
    ------
    ValueError
        The function is unknown.
    """
    if name not in KNOWN:
        raise ValueError(f"unknown scale {name!r}.{nearest(name, KNOWN)}")
    step = KNOWN[name][0]
    ratio = _ratio(name, RATES[name]) if name in RATES else None
    return Transformation(name, step.inverse, step.slope, ratio, forward=step.forward)


# What means of a family are called on the response's scale.
MEANS = {"binomial": "prob", "poisson": "rate"}
# Links that are defined for positive means only and have no negative values.
POSITIVE = ("sqrt", "inverse", "1/mu^2")


def link_scale(family: Family) -> Transformation | None:
    """The scale of a family's link; None for the identity.

    Examples
    --------
    >>> import lmm
    >>> scale = link_scale(lmm.Binomial("logit"))
    >>> scale.column, scale.contrasts.column, float(scale.inverse(np.zeros(1))[0])
    ('prob', 'odds.ratio', 0.5)
    """
    if family.link == "identity":
        return None
    link, lower = family.link_function, 0.0 if family.link in POSITIVE else -np.inf
    ratio = _ratio(family.link, 1.0) if family.link in ("log", "logit") else None
    if family.link == "logit":
        ratio = replace(_ratio("log odds ratio", 1.0), column="odds.ratio")
    return Transformation(
        family.link,
        lambda eta: link.inverse(np.maximum(eta, lower)),
        lambda eta: link.slope(np.maximum(eta, lower)),
        ratio,
        MEANS.get(family.name, "response"),
        bounds=family.mean_range,
    )


def response_scale(source: EstimatedModel) -> Transformation | None:
    """The scale of a model's means: its link, or the transformation that its response is."""
    if not source.fit.family.is_gaussian_identity:
        return link_scale(source.fit.family)
    node = source.fit.formula.lhs
    if node is None or isinstance(bare(node), Name) or source.call.data is None:
        return None
    value = partial(_value, _evaluator(source, node))
    name = _name(node, value)
    try:
        way = way_back(node, value)
    except DataError as error:
        return Transformation(name, np.array, np.ones_like, obstacle=str(error))
    return Transformation(name, way.inverse, way.slope, _of_differences(node, value))


def _evaluator(source: EstimatedModel, node: Node) -> Evaluator:
    """Evaluates parts of the response on the rows of the fit, with what its functions learned."""
    frame, table = source.fit.matrices.frame, Table.of(source.call.data)
    names = column_names([node], table)
    columns = {name: take(table.column(name), frame.rows) for name in names}
    return Evaluator(columns, frame.variables.state, frame.variables.source, frame.variables.own)


def _value(evaluator: Evaluator, node: Node) -> Vector | float:
    value = evaluator.value(node)
    if isinstance(value, float | int | np.ndarray):
        return float(value) if np.ndim(value) == 0 else np.asarray(value)
    raise DataError(f"{deparse(node)} is not a number")


def _name(node: Node, value: Values) -> str:
    """A simple function's name; else the expression, of mu."""
    inner = bare(node)
    if isinstance(inner, Call) and isinstance(inner.args[0], Name):
        if inner.function == "scale":
            slope, x, v = through_two_points(value(inner.args[0]), value(inner))
            return f"scale({x - v / slope:.3g}, {1.0 / slope:.3g})"
        if len(inner.arguments) == 1:
            return inner.function
    return deparse(_of_mu(inner, value))


def _of_mu(node: Node, value: Values) -> Node:
    """An expression with its column called mu."""
    match node:
        case Name():
            return Name("mu") if not isinstance(value(node), float) else node
        case Paren():
            return Paren(_of_mu(node.inner, value))
        case Unary():
            return Unary(node.op, _of_mu(node.operand, value))
        case Binary():
            return Binary(node.op, _of_mu(node.left, value), _of_mu(node.right, value))
        case Call():
            return Call(node.function, tuple((k, _of_mu(v, value)) for k, v in node.arguments))
        case _:
            return node


def _of_differences(node: Node, value: Values) -> Transformation | None:
    """Differences of logarithms of ``a + b y``, or of odds ``y / (c - y)``, are logs of ratios."""
    outer = arithmetic(node, value)
    if not isinstance(outer.core, Call) or outer.core.function not in RATES:
        return None
    rate, inner = RATES[outer.core.function], arithmetic(outer.core.args[0], value)
    if bases := outer.core.args[1:] or tuple(outer.core.kwargs.values()):
        rate = float(np.log(value(bases[0])))
    if outer.fraction is None or inner.fraction is None or not isinstance(inner.core, Name):
        return None
    factor, _, bend, level = outer.fraction
    slope, constant, against, whole = inner.fraction
    if bend:
        return None
    rate *= level / factor
    ratio = _ratio(outer.core.function, rate)
    if not against:
        return ratio
    are_odds = constant == 0.0 and slope * against < 0.0 < slope * whole
    return replace(ratio, name="log odds ratio", column="odds.ratio") if are_odds else None


def _ratio(name: str, rate: float) -> Transformation:
    """Of differences of logarithms to the base ``exp(rate)``."""
    return Transformation(
        name, lambda eta: np.exp(rate * eta), lambda eta: rate * np.exp(rate * eta), column="ratio"
    )
