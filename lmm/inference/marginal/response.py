"""Transformed responses, and the way back from their scale."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lmm._types import Vector
from lmm.language import Binary, Call, Name, Node, Number

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


# Logarithms by name, with the natural logarithm of their base.
_RATES = {"log": 1.0, "log2": float(np.log(2.0)), "log10": float(np.log(10.0))}


def _logarithm(
    name: str, contrasts: Transformation | None = None, shift: float = 0.0
) -> Transformation:
    """``log(mu + shift)`` to some base."""
    rate = _RATES[name]
    return Transformation(
        f"{name}(mu + {shift:g})" if shift else name,
        lambda eta: np.exp(rate * eta) - shift,
        lambda eta: rate * np.exp(rate * eta),
        contrasts,
    )


_RATIOS = {name: _logarithm(name) for name in _RATES}
_KNOWN = {
    **{name: _logarithm(name, ratio) for name, ratio in _RATIOS.items()},
    "log1p": Transformation("log1p", np.expm1, np.exp),
    "sqrt": Transformation("sqrt", np.square, lambda eta: 2.0 * eta),
}


def transformation(response: Node | None) -> Transformation | None:
    """The transformation that a formula's response is, if it is a known one."""
    match response:
        case Call(
            function=function,
            arguments=((None, Binary(op="+", left=Name(), right=Number(value=shift))),),
        ) if function in _RATES:
            return _logarithm(function, _RATIOS[function], shift)
        case Call(function=function, arguments=((None, _),)):
            return _KNOWN.get(function)
        case _:
            return None
