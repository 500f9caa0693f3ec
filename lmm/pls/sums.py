"""Sums over rows that come in batches: all that a linear mixed model reads of them.

    batch of rows --(recipe, pilot)--> Sums,   Sums + Sums -> Sums,   Sums --> Problem

The rows are summed in the coordinates of a `Pilot`, a first look at some of them: columns that are
about orthonormal, a response of which a regression is taken out. There everything is of order one,
and nothing is lost when rows are added that have large common parts. The sum of all rows then tells
how far the pilot's coordinates are from the right ones, and a change of basis makes them right:

    G = sum X*'X* = n T1'T1,   X** = X* T1^-1 / sqrt(n)                                       (1)

(a second step of Cholesky QR; Yamamoto, Nakatsukasa, Yanagisawa & Fukaya, 2015, ETNA 44), likewise
for Z, and the response is regressed on X** once more. Where G is far from orthonormal, digits were
lost, and the rows are to be summed once more in the better coordinates (`lmm.pls.summed.better`).

Sums are aligned by the names of the levels, so that parts need not know of each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any, Protocol, TypeVar

import numpy as np

from lmm import _lapack
from lmm._brief import Brief
from lmm._types import IntVector, Matrix, Vector, cached_property
from lmm.design.response import Response
from lmm.errors import DataError
from lmm.pls.groups import Group
from lmm.pls.products import Pairs, RowProducts

# A column of which the pilot leaves no more than this beside those before it is not turned.
DEPENDENT = 1e-7


class LevelKeys(Protocol):
    """Levels of a grouping factor, as `lmm.design.keys.Keys`."""

    def __len__(self) -> int: ...

    def union(self, other: Any, /) -> tuple[Any, IntVector, IntVector]:
        """Levels of both, and the places of either's among them."""

    def order(self) -> IntVector:
        """Positions (l,) that sort the levels."""


@dataclass(frozen=True)
class Numbered:
    """Levels that are known by their numbers in all parts."""

    size: int

    def __len__(self) -> int:
        return self.size

    def union(self, other: Numbered, /) -> tuple[Numbered, IntVector, IntVector]:
        """The same levels."""
        return self, self.order(), self.order()

    def order(self) -> IntVector:
        """They are sorted."""
        return np.arange(self.size)


class SummableRows(Protocol):
    """Rows of a model: as many as there are at a time."""

    @property
    def X(self) -> Matrix:
        """All fixed-effects columns, dependent ones too, (n, p)."""

    @property
    def Z(self) -> tuple[Matrix, ...]:
        """Columns of each random-effects term, (n, k_i)."""

    @property
    def group_of(self) -> tuple[int, ...]:
        """Number of each term's grouping factor."""

    @property
    def codes(self) -> tuple[IntVector, ...]:
        """Level of each row, (n,) per grouping factor."""

    @property
    def keys(self) -> tuple[LevelKeys, ...]:
        """Levels of each grouping factor."""

    @property
    def response(self) -> Response:
        """Response, weights and offset of the rows."""


@dataclass(frozen=True, eq=False)
class Part:
    """Some rows of a model in memory: see `SummableRows`."""

    X: Matrix
    Z: tuple[Matrix, ...]
    group_of: tuple[int, ...]
    codes: tuple[IntVector, ...]
    keys: tuple[LevelKeys, ...]
    response: Response


@dataclass(frozen=True, eq=False)
class Pilot:
    """Coordinates in which rows are summed.

    Attributes
    ----------
    T : (p, p) array
        Upper triangular: X* = X T^-1, all columns of X, dependent ones too.
    R : tuple of (k_i, k_i) arrays
        Upper triangular, per term: Z_i* = Z_i R_i^-1.
    beta : (p,) array
        Coefficients of X* that are subtracted from the response.
    scale : float
        What the rest is divided by.
    """

    T: Matrix
    R: tuple[Matrix, ...]
    beta: Vector
    scale: float

    @classmethod
    def of(cls, batch: SummableRows) -> Pilot:
        """Coordinates that suit some rows."""
        X, y = batch.response.weighted(batch.X), batch.response.standardized(batch.response.y)
        T, free = triangle(X)
        columns, beta = _divided(X, T), np.zeros(X.shape[1])
        beta[free] = np.linalg.lstsq(columns[:, free], y, rcond=None)[0]
        rest = y - columns @ beta
        scale = float(np.sqrt(rest @ rest / len(y)))
        size = float(np.sqrt(y @ y / len(y)))
        R = tuple(triangle(batch.response.weighted(Z))[0] for Z in batch.Z)
        return cls(T, R, beta, scale if scale > DEPENDENT * size else size or 1.0)

    def rows(self, batch: SummableRows) -> RowProducts:
        """The rows of a batch in these coordinates, weighted."""
        response = batch.response
        X = _divided(response.weighted(batch.X), self.T)
        y = (response.standardized(response.y) - X @ self.beta) / self.scale
        columns: list[list[Matrix]] = [[] for _ in batch.keys]
        for g, Z, R in zip(batch.group_of, batch.Z, self.R, strict=True):
            columns[g].append(_divided(response.weighted(Z), R))
        groups = tuple(
            Group(str(g), codes, len(keys), np.hstack(Z), ())
            for g, (codes, keys, Z) in enumerate(zip(batch.codes, batch.keys, columns, strict=True))
        )
        return RowProducts(X, y, groups)


def _divided(X: Matrix, T: Matrix) -> Matrix:
    """X T^-1."""
    if len(T) < 2:
        return np.asarray(X / T[0, 0]) if T.size else X
    return np.asarray(X @ _lapack.invert_lower(np.ascontiguousarray(T.T)).T)


def triangle(X: Matrix) -> tuple[Matrix, IntVector]:
    """Upper-triangular T for which the columns of X T^-1 are of order one, whatever X is.

    Columns that depend on those before them are left as they are; the others are returned.
    """
    n, p = X.shape
    padded = X if n >= p else np.vstack([X, np.zeros((p - n, p))])
    T: Matrix = _lapack.qr_factor(padded) / np.sqrt(n) if p else np.empty((0, 0))
    lengths = np.sqrt(np.einsum("ij,ij->j", T, T))
    dependent = np.abs(T.diagonal()) <= DEPENDENT * lengths
    for j in np.flatnonzero(dependent):
        T[:, j] = T[j] = 0.0
        T[j, j] = lengths[j] or 1.0
    return T, np.flatnonzero(~dependent)


@dataclass(frozen=True, eq=False)
class Coupled:
    """Cross-products of pairs of levels of two groups, ordered by key.

    Attributes
    ----------
    i, j : (m,) arrays of 32-bit integers
        Levels.
    A : (k_g, k_h, m) array
        Z_i'Z_j.
    """

    i: IntVector
    j: IntVector
    A: Matrix

    @classmethod
    def of(cls, pairs: Pairs) -> Coupled:
        """Those of a problem; there may be as many as rows, so that memory counts."""
        return cls(pairs.i.astype(np.int32), pairs.j.astype(np.int32), pairs.A)

    def keys(self, i: IntVector, j: IntVector, n_levels: int) -> IntVector:
        """One number for each pair, from the levels' places in larger sets of levels."""
        numbers = i[self.i].astype(np.int64)
        numbers *= n_levels
        numbers += j[self.j]
        return numbers

    @classmethod
    def joined(cls, keys: IntVector, A: Matrix, n_levels: int) -> Coupled:
        """Pairs (m,) by number, of which some may occur twice, with their products."""
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        first = np.flatnonzero(np.diff(keys, prepend=-1))
        i, j = np.divmod(keys[first], n_levels)
        A = np.add.reduceat(A[:, :, order], first, axis=2) if len(first) else A
        return cls(i.astype(np.int32), j.astype(np.int32), A)


@dataclass(frozen=True, eq=False, repr=False)
class Sums(Brief):
    """Sums over rows in the coordinates of a pilot, t = p + 1 columns X* and y*.

    Attributes
    ----------
    pilot : Pilot
        The coordinates.
    n : int
        Number of rows that count.
    log_weights : float
        Sum of the log prior weights.
    base : (t, t) array
        [X y]'[X y].
    keys : tuple of LevelKeys
        Levels of each grouping factor.
    grams : tuple of (k, k, l) arrays
        Z_i'Z_i.
    couplings : tuple of (t, k, l) arrays
        [X y]'Z_i.
    pairs : mapping of (int, int) to Coupled
        Z_i'Z_j of groups g < h.
    """

    pilot: Pilot
    n: int
    log_weights: float
    base: Matrix
    keys: tuple[LevelKeys, ...]
    grams: tuple[Matrix, ...]
    couplings: tuple[Matrix, ...]
    pairs: Mapping[tuple[int, int], Coupled]

    @classmethod
    def of(cls, batch: SummableRows, pilot: Pilot) -> Sums:
        """Sum the rows of a batch."""
        rows = pilot.rows(batch)
        both = np.column_stack([rows.X, rows.y])
        weights = batch.response.weights
        numbers = range(len(rows.groups))
        pairs = {(g, h): rows.pairs(g, h) for g in numbers for h in numbers[g + 1 :]}
        return cls(
            pilot,
            len(rows.y),
            float(np.log(weights).sum()) if batch.response.is_weighted else 0.0,
            both.T @ both,
            batch.keys,
            rows.grams,
            rows.couplings,
            {where: Coupled.of(each) for where, each in pairs.items()},
        )

    def __add__(self, other: Sums) -> Sums:
        """The sums over the rows of both."""
        if other.pilot is not self.pilot and not _same(self.pilot, other.pilot):
            raise DataError(
                "these sums were made in other coordinates: make all parts with the same first one"
            )
        keys, here, there = zip(
            *(own.union(others) for own, others in zip(self.keys, other.keys, strict=True)),
            strict=True,
        )
        sizes = [len(each) for each in keys]
        places = list(zip(here, there, sizes, strict=True))
        pairs = {
            (g, h): _joined(own, other.pairs[g, h], places[g], places[h])
            for (g, h), own in self.pairs.items()
        }
        return replace(
            self,
            n=self.n + other.n,
            log_weights=self.log_weights + other.log_weights,
            base=self.base + other.base,
            keys=tuple(keys),
            grams=_added(self.grams, other.grams, places),
            couplings=_added(self.couplings, other.couplings, places),
            pairs=pairs,
        )

    @cached_property
    def size(self) -> int:
        """Levels and pairs of levels: what adding costs."""
        return sum(map(len, self.keys)) + sum(len(pairs.i) for pairs in self.pairs.values())


def _same(one: Pilot, two: Pilot) -> bool:
    """Whether two pilots are copies of one, such as another process has."""
    arrays = [(one.T, two.T), (one.beta, two.beta), *zip(one.R, two.R, strict=True)]
    return one.scale == two.scale and all(np.array_equal(a, b) for a, b in arrays)


def _joined(
    own: Coupled,
    other: Coupled,
    left: tuple[IntVector, IntVector, int],
    right: tuple[IntVector, IntVector, int],
) -> Coupled:
    """Sums by pair, over the unions of the levels."""
    n_levels = right[2]
    keys = [own.keys(left[0], right[0], n_levels), other.keys(left[1], right[1], n_levels)]
    A = np.concatenate([own.A, other.A], axis=2)
    return Coupled.joined(np.concatenate(keys), A, n_levels)


def _added(
    own: Sequence[Matrix],
    others: Sequence[Matrix],
    places: Sequence[tuple[IntVector, IntVector, int]],
) -> tuple[Matrix, ...]:
    """Sums by level (..., l) over the union of the levels."""
    totals = []
    for left, right, (here, there, n_levels) in zip(own, others, places, strict=True):
        total = np.zeros((*left.shape[:-1], n_levels))
        rows = (each.reshape(prod(left.shape[:-1]), -1) for each in (total, left, right))
        # One by one: indices behind an ellipsis take twice the time.
        for row, a, b in zip(*rows, strict=True):
            row[here] = a
            row[there] += b
        totals.append(total)
    return tuple(totals)


class Additive(Protocol):
    """What can be added, at a cost."""

    @property
    def size(self) -> int:
        """What adding costs."""

    def __add__(self, other: Any, /) -> Any: ...


Summand = TypeVar("Summand", bound=Additive)


def add(parts: Iterable[Summand]) -> Summand:
    """The sum of all parts: small ones are added to small ones first.

    Raises
    ------
    DataError
        There are none.
    """
    waiting: list[Summand] = []
    for part in parts:
        waiting.append(part)
        # Each level and pair takes part in few additions, and few are held twice.
        while len(waiting) > 1 and 2 * waiting[-1].size >= waiting[-2].size:
            last = waiting.pop()
            waiting[-1] = waiting[-1] + last
    if not waiting:
        raise DataError("0 (non-NA) cases: the source has no rows that count")
    total = waiting.pop()
    while waiting:
        total = waiting.pop() + total
    return total
