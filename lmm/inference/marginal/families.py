"""Families of contrasts of k means: coefficients, names, and what they are adjusted by."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations
from math import gcd, lcm

import numpy as np

from lmm._types import Matrix
from lmm.errors import DataError, nearest

__all__ = ["FAMILIES", "Contrasts", "contrasts_of"]

DEGREES = ("linear", "quadratic", "cubic", "quartic", "degree 5", "degree 6")


@dataclass(frozen=True, eq=False)
class Contrasts:
    """Contrasts of k means.

    Attributes
    ----------
    coefficients : (c, k) array
        One contrast per row.
    names : tuple of str
        Their names.
    adjustment : str
        What their tests are adjusted by unless something else is asked for.
    is_pairwise : bool
        Whether they are all differences of two means.
    """

    coefficients: Matrix
    names: tuple[str, ...]
    adjustment: str
    is_pairwise: bool = False


def _differences(
    pairs: Sequence[tuple[int, int]], labels: Sequence[str], adjustment: str, **of: bool
) -> Contrasts:
    """Differences ``first - second``."""
    rows = np.zeros((len(pairs), len(labels)))
    for row, (i, j) in zip(rows, pairs, strict=True):
        row[i], row[j] = 1.0, -1.0
    names = tuple(f"{labels[i]} - {labels[j]}" for i, j in pairs)
    return Contrasts(rows, names, adjustment, **of)


def pairwise(labels: Sequence[str]) -> Contrasts:
    """All differences, earlier minus later."""
    pairs = list(combinations(range(len(labels)), 2))
    return _differences(pairs, labels, "tukey", is_pairwise=True)


def reverse_pairwise(labels: Sequence[str]) -> Contrasts:
    """All differences, later minus earlier."""
    pairs = [(j, i) for i, j in combinations(range(len(labels)), 2)]
    return _differences(pairs, labels, "tukey", is_pairwise=True)


def treatment_vs_control(labels: Sequence[str], control: int = 0) -> Contrasts:
    """Every other level minus the control."""
    others = [i for i in range(len(labels)) if i != control % len(labels)]
    return _differences([(i, control % len(labels)) for i in others], labels, "mvt")


def consecutive(labels: Sequence[str]) -> Contrasts:
    """Each level minus the one before."""
    return _differences([(i + 1, i) for i in range(len(labels) - 1)], labels, "mvt")


def effects(labels: Sequence[str]) -> Contrasts:
    """Each level minus the mean of all."""
    k = len(labels)
    return Contrasts(np.eye(k) - 1.0 / k, tuple(f"{label} effect" for label in labels), "fdr")


def effects_of_deletion(labels: Sequence[str]) -> Contrasts:
    """Each level minus the mean of the others."""
    k = len(labels)
    rows = (np.eye(k) * k - 1.0) / (k - 1.0)
    return Contrasts(rows, tuple(f"{label} effect" for label in labels), "fdr")


def mean_change(labels: Sequence[str]) -> Contrasts:
    """Mean of the levels after each cut minus the mean of those before it."""
    k = len(labels)
    rows = np.array([[-1.0 / c] * c + [1.0 / (k - c)] * (k - c) for c in range(1, k)])
    names = tuple(f"{labels[c - 1]}|{labels[c]}" for c in range(1, k))
    return Contrasts(rows.reshape(k - 1, k), names, "mvt")


def polynomial(labels: Sequence[str]) -> Contrasts:
    """Orthogonal polynomials in the levels' positions, as the smallest whole numbers."""
    k = len(labels)
    degrees = min(len(DEGREES), k - 1)
    powers = [[Fraction(2 * i - (k - 1)) ** d for i in range(k)] for d in range(degrees + 1)]
    basis: list[list[Fraction]] = []
    for power in powers:  # Gram and Schmidt, exactly
        row = power
        for other in basis:
            share = _dot(power, other) / _dot(other, other)
            row = [a - share * b for a, b in zip(row, other, strict=True)]
        basis.append(row)
    rows = np.array([_whole(row) for row in basis[1:]], dtype=float).reshape(degrees, k)
    return Contrasts(rows, DEGREES[:degrees], "none")


def _dot(a: Sequence[Fraction], b: Sequence[Fraction]) -> Fraction:
    return sum((x * y for x, y in zip(a, b, strict=True)), Fraction(0))


def _whole(row: Sequence[Fraction]) -> list[int]:
    scale = lcm(*(value.denominator for value in row))
    numbers = [int(value * scale) for value in row]
    return [number // gcd(*numbers) for number in numbers]


def identity(labels: Sequence[str]) -> Contrasts:
    """The means themselves."""
    return Contrasts(np.eye(len(labels)), tuple(labels), "none")


FAMILIES: dict[str, Callable[[Sequence[str]], Contrasts]] = {
    "pairwise": pairwise,
    "revpairwise": reverse_pairwise,
    "trt.vs.ctrl": treatment_vs_control,
    "trt.vs.ctrl1": treatment_vs_control,
    "trt.vs.ctrlk": lambda labels: treatment_vs_control(labels, -1),
    "poly": polynomial,
    "consec": consecutive,
    "mean_chg": mean_change,
    "eff": effects,
    "del.eff": effects_of_deletion,
    "identity": identity,
}


def contrasts_of(
    method: str | Mapping[str, Sequence[float]], labels: Sequence[str], control: int | str = 0
) -> Contrasts:
    """Contrasts of means by the name of a family, or by coefficients.

    Parameters
    ----------
    method : str or mapping of str to (k,) sequence
        One of `FAMILIES`, or named coefficients.
    labels : sequence of k str
        Names of the means.
    control : int or str
        Position or label of the control level, for ``"trt.vs.ctrl"``.

    Raises
    ------
    ValueError
        No family has that name.
    DataError
        Coefficients do not fit the number of means, or no level has the control's label.

    Examples
    --------
    >>> contrasts_of("poly", ["a", "b", "c", "d"]).coefficients
    array([[-3., -1.,  1.,  3.],
           [ 1., -1., -1.,  1.],
           [-1.,  3., -3.,  1.]])
    """
    if isinstance(method, Mapping):
        rows = np.array([np.asarray(row, dtype=float).ravel() for row in method.values()])
        for name, row in method.items():
            if len(row) != len(labels):
                raise DataError(
                    f"contrast {name!r} has {len(row)} coefficients for {len(labels)} means: "
                    f"{', '.join(labels[:12])}"
                )
        return Contrasts(rows, tuple(map(str, method)), "none")
    if method not in FAMILIES:
        raise ValueError(f"unknown family of contrasts {method!r}.{nearest(method, FAMILIES)}")
    bracketed = [f"({label})" if re.search(r"[-+/*]", label) else label for label in labels]
    if method != "trt.vs.ctrl":
        return FAMILIES[method](bracketed)
    if isinstance(control, str):
        if control not in labels:
            raise DataError(f"there is no level {control!r}.{nearest(control, labels)}")
        control = list(labels).index(control)
    return treatment_vs_control(bracketed, control)
