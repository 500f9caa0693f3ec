"""Which predictors are nested in which others, and which of their combinations there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np

from lmm._types import IntMatrix
from lmm.errors import DataError
from lmm.language.parse import parse_tilde
from lmm.language.tree import Binary, Node, strip_parens, variables

Nesting: TypeAlias = Mapping[str, tuple[str, ...]]
"""Predictors within whose levels alone the levels of another have a meaning, by its name."""


def detected(names: Sequence[str], observed: IntMatrix, sizes: Sequence[int]) -> Nesting:
    """Nesting that data show: each level of a predictor occurs with one level of the other.

    Parameters
    ----------
    names : sequence of k str
        Predictors.
    observed : (c, k) int array
        Combinations of their levels in the data, -1 for none.
    sizes : sequence of k int
        Numbers of levels; predictors with one level are nested in nothing.

    Examples
    --------
    >>> detected(["route", "drug"], np.array([[0, 0], [0, 1], [1, 2]]), [2, 3])
    {'drug': ('route',)}
    """
    found = {
        name: tuple(
            other
            for j, other in enumerate(names)
            if j != i and sizes[j] > 1 and _is_nested(observed, i, j)
        )
        for i, name in enumerate(names)
        if sizes[i] > 1
    }
    # Of two names of one thing the first is nested in the second.
    order = {name: i for i, name in enumerate(names)}
    return {
        name: kept
        for name, parents in found.items()
        if (kept := tuple(p for p in parents if name not in found[p] or order[name] < order[p]))
    }


def _is_nested(observed: IntMatrix, inner: int, outer: int) -> bool:
    pairs = observed[:, [inner, outer]]
    pairs = np.unique(pairs[(pairs >= 0).all(axis=1)], axis=0)
    return len(pairs) > 0 and len(np.unique(pairs[:, 0])) == len(pairs)


def read_nesting(
    given: str | Mapping[str, str | Sequence[str]] | None, checked: Callable[[str], str]
) -> Nesting:
    """Nesting as a user says it.

    Parameters
    ----------
    given : str, mapping or None
        ``"class %in% school, pupil %in% (school * class)"``, the same as a mapping of names to
        names, or nothing.
    checked : callable
        Returns a predictor's name, or raises.

    Raises
    ------
    DataError
        The text says no nesting, or a name is no predictor.
    """
    if not given:
        return {}
    if isinstance(given, Mapping):
        parents = {k: (v,) if isinstance(v, str) else tuple(v) for k, v in given.items()}
    else:
        parents = dict(_relation(part) for part in given.split(","))
    return {checked(name): tuple(map(checked, outer)) for name, outer in parents.items()}


def _relation(text: str) -> tuple[str, tuple[str, ...]]:
    node: Node = strip_parens(parse_tilde(f"~ {text}")[1])
    if not isinstance(node, Binary) or node.op != "%in%":
        raise DataError(f"nesting is written 'inner %in% outer', not {text.strip()!r}")
    return variables(node.left)[0], variables(node.right)


def nesting_text(nesting: Nesting) -> str:
    """Nesting as emmeans writes it.

    Examples
    --------
    >>> nesting_text({"class": ("school",), "pupil": ("school", "class")})
    'class %in% school, pupil %in% (school*class)'
    """
    texts = (
        "*".join(outer) if len(outer) == 1 else f"({'*'.join(outer)})" for outer in nesting.values()
    )
    return ", ".join(f"{name} %in% {text}" for name, text in zip(nesting, texts, strict=True))


def combinations_of(
    names: Sequence[str], sizes: Sequence[int], observed: IntMatrix, nesting: Nesting
) -> IntMatrix:
    """All combinations of levels that the nesting allows, the first predictor's changing fastest.

    Parameters
    ----------
    names, sizes : sequences of k
        Predictors and their numbers of levels.
    observed : (c, k) int array
        Combinations in the data: levels of a nested predictor exist with those of its outer ones
        that they occur with.
    nesting : Nesting
        What is nested in what.

    Returns
    -------
    (r, k) int array
    """
    position = {name: i for i, name in enumerate(names)}
    rows = np.zeros((1, 0), dtype=np.intp)
    placed: list[int] = []
    for i, size in enumerate(sizes):
        levels = np.repeat(np.arange(size), len(rows))
        rows = np.column_stack([np.tile(rows, (size, 1)), levels])
        placed.append(i)
        for name, outer in nesting.items():
            columns = [position[name], *(position[p] for p in outer)]
            if i in columns and set(columns) <= set(placed):
                rows = rows[_are_among(rows[:, columns], observed[:, columns])]
    return rows


def _are_among(rows: IntMatrix, known: IntMatrix) -> np.ndarray:
    """Whether each row (r, k) is one of the known ones (c, k)."""
    wanted = {tuple(row) for row in known.tolist()}
    return np.array([tuple(row) in wanted for row in rows.tolist()], dtype=bool)
