"""Derivatives of products and quotients. A jet is a function's value and its derivatives."""

from __future__ import annotations

from math import comb
from typing import TypeAlias

import numpy as np

from lmm._types import Vector

Jet: TypeAlias = tuple[Vector, ...]


def constant(value: float, like: Vector, order: int) -> Jet:
    """The jet of a constant, with derivatives up to `order`."""
    return (np.full_like(like, value), *(np.zeros_like(like) for _ in range(order)))


def scaled(weight: Vector, f: Jet) -> Jet:
    """The jet of weight times f, for weights that do not move."""
    return tuple(weight * part for part in f)


def negated(f: Jet) -> Jet:
    """The jet of -f."""
    return tuple(-part for part in f)


def product(f: Jet, g: Jet) -> Jet:
    """The jet of f g by Leibniz's rule, as long as the shorter of the two."""
    return tuple(_convolved(f, g, n) for n in range(min(len(f), len(g))))


def quotient(f: Jet, g: Jet) -> Jet:
    """The jet h of f / g, from the rule for h g = f."""
    h: Jet = ()
    for n in range(min(len(f), len(g))):
        rest = sum(comb(n, i) * h[i] * g[n - i] for i in range(n))
        h = (*h, (f[n] - rest) / g[0])
    return h


def _convolved(f: Jet, g: Jet, n: int) -> Vector:
    total = f[0] * g[n]
    for i in range(1, n + 1):
        total = total + comb(n, i) * f[i] * g[n - i]
    return total
