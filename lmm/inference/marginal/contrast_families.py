"""Families of contrasts of k means: coefficients, names, and what they are adjusted by."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import combinations
from math import gcd, lcm
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from lmm._types import IntMatrix, Matrix
from lmm._words import Adjust
from lmm.design.labels import by_name
from lmm.errors import DataError, nearest

DEGREES = ("linear", "quadratic", "cubic", "quartic", "degree 5", "degree 6")


@dataclass(frozen=True, eq=False)
class MeanContrasts:
    """Contrasts of k means.

    Attributes
    ----------
    coefficients : (c, k) array
        One contrast per row.
    names : tuple of str
        Their names.
    adjustment : str
        What their tests are adjusted by unless something else is asked for.
    pairs : (c, 2) int array or None
        The two means of each, if they are all the differences of two means.
    """

    coefficients: Matrix
    names: tuple[str, ...]
    adjustment: Adjust
    pairs: IntMatrix | None = None


def _differences(
    pairs: Sequence[tuple[int, int]],
    labels: Sequence[str],
    adjustment: Adjust,
    *,
    are_all: bool = False,
) -> MeanContrasts:
    """Differences ``first - second``."""
    rows = np.zeros((len(pairs), len(labels)))
    for row, (i, j) in zip(rows, pairs, strict=True):
        row[i], row[j] = 1.0, -1.0
    names = tuple(f"{labels[i]} - {labels[j]}" for i, j in pairs)
    means = np.array(pairs, dtype=np.intp).reshape(-1, 2) if are_all else None
    return MeanContrasts(rows, names, adjustment, means)


def pairwise(labels: Sequence[str]) -> MeanContrasts:
    """All differences, earlier minus later."""
    pairs = list(combinations(range(len(labels)), 2))
    return _differences(pairs, labels, "tukey", are_all=True)


def reverse_pairwise(labels: Sequence[str]) -> MeanContrasts:
    """All differences, later minus earlier."""
    pairs = [(j, i) for i, j in combinations(range(len(labels)), 2)]
    return _differences(pairs, labels, "tukey", are_all=True)


def treatment_vs_control(labels: Sequence[str], controls: Sequence[int] = (0,)) -> MeanContrasts:
    """Every other level minus the control, or the mean of several controls."""
    others = [i for i in range(len(labels)) if i not in controls]
    if len(controls) == 1:
        return _differences([(i, controls[0]) for i in others], labels, "mvt")
    rows = np.eye(len(labels))[others]
    rows[:, list(controls)] -= 1.0 / len(controls)
    average = f"avg({','.join(labels[i] for i in controls)})"
    return MeanContrasts(rows, tuple(f"{labels[i]} - {average}" for i in others), "mvt")


def consecutive(labels: Sequence[str]) -> MeanContrasts:
    """Each level minus the one before."""
    return _differences([(i + 1, i) for i in range(len(labels) - 1)], labels, "mvt")


def reverse_consecutive(labels: Sequence[str]) -> MeanContrasts:
    """Each level minus the one after."""
    return _differences([(i, i + 1) for i in range(len(labels) - 1)], labels, "mvt")


def effects(labels: Sequence[str]) -> MeanContrasts:
    """Each level minus the mean of all."""
    k = len(labels)
    return MeanContrasts(np.eye(k) - 1.0 / k, tuple(f"{label} effect" for label in labels), "fdr")


def effects_of_deletion(labels: Sequence[str]) -> MeanContrasts:
    """Each level minus the mean of the others."""
    k = len(labels)
    rows = (np.eye(k) * k - 1.0) / max(k - 1.0, 1.0)
    return MeanContrasts(rows, tuple(f"{label} effect" for label in labels), "fdr")


def mean_change(labels: Sequence[str]) -> MeanContrasts:
    """Mean of the levels after each cut minus the mean of those before it."""
    k = len(labels)
    rows = np.array([[-1.0 / c] * c + [1.0 / (k - c)] * (k - c) for c in range(1, k)])
    names = tuple(f"{labels[c - 1]}|{labels[c]}" for c in range(1, k))
    return MeanContrasts(rows.reshape(k - 1, k), names, "mvt")


def polynomial(labels: Sequence[str], max_degree: int = len(DEGREES)) -> MeanContrasts:
    """Orthogonal polynomials in the levels' positions, as the smallest whole numbers."""
    k = len(labels)
    degrees = min(max_degree, k - 1)
    powers = [[Fraction(2 * i - (k - 1)) ** d for i in range(k)] for d in range(degrees + 1)]
    basis: list[list[Fraction]] = []
    for power in powers:  # Gram and Schmidt, exactly
        row = power
        for other in basis:
            share = _dot(power, other) / _dot(other, other)
            row = [a - share * b for a, b in zip(row, other, strict=True)]
        basis.append(row)
    rows = np.array([_whole(row) for row in basis[1:]], dtype=float).reshape(degrees, k)
    return MeanContrasts(rows, DEGREES[:degrees], "none")


def _dot(a: Sequence[Fraction], b: Sequence[Fraction]) -> Fraction:
    return sum((x * y for x, y in zip(a, b, strict=True)), Fraction(0))


def _whole(row: Sequence[Fraction]) -> list[int]:
    scale = lcm(*(value.denominator for value in row))
    numbers = [int(value * scale) for value in row]
    return [number // gcd(*numbers) for number in numbers]


def identity(labels: Sequence[str]) -> MeanContrasts:
    """The means themselves."""
    return MeanContrasts(np.eye(len(labels)), tuple(labels), "none")


FAMILIES: dict[str, Callable[[Sequence[str]], MeanContrasts]] = {
    "pairwise": pairwise,
    "tukey": pairwise,
    "revpairwise": reverse_pairwise,
    "trt.vs.ctrl": treatment_vs_control,
    "trt.vs.ctrl1": treatment_vs_control,
    "dunnett": treatment_vs_control,
    "trt.vs.ctrlk": lambda labels: treatment_vs_control(labels, (len(labels) - 1,)),
    "poly": polynomial,
    "consec": consecutive,
    "mean_chg": mean_change,
    "eff": effects,
    "del.eff": effects_of_deletion,
    "identity": identity,
}
REVERSED = {
    "pairwise": reverse_pairwise,
    "tukey": reverse_pairwise,
    "revpairwise": pairwise,
    "consec": reverse_consecutive,
}
CONTROLLED = ("trt.vs.ctrl", "dunnett")

Coefficients: TypeAlias = Mapping[str, Sequence[float]] | ArrayLike
Place: TypeAlias = int | str
"""A level, by its position counted from 0 or by its label."""


def contrasts_of(
    method: str | Coefficients,
    labels: Sequence[str],
    ref: Place | Sequence[Place] | None = None,
    *,
    reverse: bool = False,
    exclude: Place | Sequence[Place] = (),
    max_degree: int | None = None,
) -> MeanContrasts:
    """Contrasts of means by the name of a family, or by coefficients.

    Parameters
    ----------
    method : str, mapping of str to (k,) sequence, or (c, k) array_like
        One of `FAMILIES`, or coefficients, with names or without.
    labels : sequence of k str
        Names of the means.
    ref : int, str or sequence of these, optional
        Control level of ``"trt.vs.ctrl"``, by position counted from 0 or by label; the mean of
        several. The first one by default.
    reverse : bool
        Whether to take differences the other way round.
    exclude : int, str or sequence of these
        Levels that take no part in a family.
    max_degree : int, optional
        Highest degree of ``"poly"``: 6 by default.

    Raises
    ------
    ValueError
        No family has that name, or it has no control, no reverse or no degree.
    DataError
        Coefficients do not fit the number of means, or there is no such level.

    Examples
    --------
    >>> contrasts_of("poly", ["a", "b", "c", "d"]).coefficients
    array([[-3., -1.,  1.,  3.],
           [ 1., -1., -1.,  1.],
           [-1.,  3., -3.,  1.]])
    """
    if not isinstance(method, str):
        return _given(method, labels)
    left_out = positions(exclude, labels)
    inside = [i for i in range(len(labels)) if i not in left_out]
    part = _family(method, [labels[i] for i in inside], ref, reverse, max_degree)
    if not left_out:
        return part
    rows = np.zeros((len(part.names), len(labels)))
    rows[:, inside] = part.coefficients
    pairs = None if part.pairs is None else np.array(inside)[part.pairs]
    return replace(part, coefficients=rows, pairs=pairs)


def _family(
    method: str,
    labels: Sequence[str],
    ref: Place | Sequence[Place] | None,
    reverse: bool,
    max_degree: int | None,
) -> MeanContrasts:
    if method not in FAMILIES:
        raise ValueError(f"unknown family of contrasts {method!r}.{nearest(method, FAMILIES)}")
    bracketed = [f"({label})" if re.search(r"[-+/*]", label) else label for label in labels]
    if reverse and method not in REVERSED:
        raise ValueError(f"contrasts {method!r} have no reverse: {', '.join(REVERSED)} have")
    if ref is not None and method not in CONTROLLED:
        raise ValueError(f"contrasts {method!r} have no reference level: use 'trt.vs.ctrl'")
    if max_degree is not None:
        return _polynomial(method, bracketed, max_degree)
    if ref is not None:
        return treatment_vs_control(bracketed, positions(ref, labels))
    return REVERSED[method](bracketed) if reverse else FAMILIES[method](bracketed)


def _polynomial(method: str, labels: Sequence[str], max_degree: int) -> MeanContrasts:
    if method != "poly" or not 1 <= max_degree <= len(DEGREES):
        raise ValueError(
            f"max_degree is that of contrasts 'poly', 1 to {len(DEGREES)}, not {max_degree!r} of "
            f"{method!r}"
        )
    return polynomial(labels, max_degree)


def _given(method: Coefficients, labels: Sequence[str]) -> MeanContrasts:
    """Coefficients that are given, by name, as columns of a table, or as rows."""
    if isinstance(method, Mapping) or hasattr(method, "columns"):
        table: Any = method
        names = [str(name) for name in table]
        given = [by_name(table[name], labels, f"contrast {name!r}", 0.0) for name in table]
        rows = [np.asarray(row, dtype=float).ravel() for row in given]
    else:
        rows = list(np.atleast_2d(np.asarray(method, dtype=float)))
        names = [f"c({', '.join(f'{x:.7g}' for x in row)})" for row in rows]
    if not rows:
        raise DataError("no contrasts are given")
    for name, row in zip(names, rows, strict=True):
        if len(row) != len(labels):
            raise DataError(
                f"contrast {name!r} has {len(row)} coefficients for {len(labels)} means: "
                f"{', '.join(labels[:12])}"
            )
        if not np.isfinite(row).all():
            raise DataError(f"contrast {name!r} has coefficients that are missing or infinite")
    return MeanContrasts(np.array(rows), tuple(names), "none")


def positions(chosen: Place | Sequence[Place], labels: Sequence[str]) -> list[int]:
    """Positions of levels given by position, counted from 0, or by label.

    Raises
    ------
    DataError
        There is no such level.
    """
    given = [chosen] if isinstance(chosen, int | str | np.integer) else list(chosen)
    return [_position(one, labels) for one in given]


def _position(chosen: Place, labels: Sequence[str]) -> int:
    if isinstance(chosen, str):
        if chosen not in labels:
            raise DataError(f"there is no level {chosen!r}.{nearest(chosen, labels)}")
        return list(labels).index(chosen)
    k = len(labels)
    if isinstance(chosen, bool) or not -k <= chosen < k:
        raise DataError(
            f"there is no level number {chosen!r}: the {k} levels are counted from 0, "
            f"{labels[0]!r}, to {k - 1}, {labels[-1]!r}"
        )
    return int(chosen) % k
