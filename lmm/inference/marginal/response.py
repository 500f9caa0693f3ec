"""Transformed responses, and the way back from their scale."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lmm._types import Vector
from lmm.expression import Binary, Call, Name, Node, Number

__all__ = ["Transformation", "transformation"]


@dataclass(frozen=True, eq=False)
class Transformation:
    """A transformation of the response.

    Attributes
    ----------
    name : str
        As emmeans writes it: ``log``, ``log(mu + 1)``, ``sqrt``.
    inverse, slope : callable
        From its scale to the response's, (r,) to (r,), and the derivative of that.
    contrasts : Transformation or None
        Of differences: those of logarithms are logarithms of ratios, others have no way back.
    """

    name: str
    inverse: Callable[[Vector], Vector]
    slope: Callable[[Vector], Vector]
    contrasts: Transformation | None = None


def _power(
    base: float, contrasts: Transformation | None = None, shift: float = 0.0
) -> Transformation:
    """``log(mu + shift)`` to a base."""
    rate = float(np.log(base))
    name = {2.0: "log2", 10.0: "log10"}.get(base, "log")
    return Transformation(
        f"{name}(mu + {shift:g})" if shift else name,
        lambda eta: np.exp(rate * eta) - shift,
        lambda eta: rate * np.exp(rate * eta),
        contrasts,
    )


# Function of the formula -> base of the logarithm.
_BASES = {"log": float(np.e), "log2": 2.0, "log10": 10.0}
_RATIOS = {function: _power(base) for function, base in _BASES.items()}
_KNOWN = {
    **{function: _power(base, _RATIOS[function]) for function, base in _BASES.items()},
    "log1p": Transformation("log1p", np.expm1, np.exp),
    "sqrt": Transformation("sqrt", np.square, lambda eta: 2.0 * eta),
}


def transformation(response: Node | None) -> Transformation | None:
    """The transformation that a formula's response is, if it is a known one."""
    match response:
        case Call(
            function=function,
            arguments=((None, Binary(op="+", left=Name(), right=Number(value=shift))),),
        ) if function in _BASES:
            return _power(_BASES[function], _RATIOS[function], shift)
        case Call(function=function, arguments=((None, _),)):
            return _KNOWN.get(function)
        case _:
            return None
