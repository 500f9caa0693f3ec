"""What later results ask of the data's columns, added up batch by batch.

Marginal means stand at means of covariates and average over combinations of levels; tests of
types I to III ask which linear functions of the coefficients the rows determine. Of all rows that
takes moments, counts of combinations, a triangular factor, and a few rows that span the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.linalg import qr

from lmm._lapack import qr_factor
from lmm._types import IntVector, Matrix, Vector
from lmm.design.absent import Unread
from lmm.design.columns import RawColumn, read_column
from lmm.design.keys import Keys, Values, distinct

MAX_VALUES = 100
"""A number with more distinct values than this is a covariate, whose values are not counted."""
MAX_CELLS = 1 << 20
"""Combinations of levels are counted up to this many."""
# Norm of a row, beside the largest, below which it depends on the others.
DEPENDENT = 1e-9
# Rows of a batch, for each column, among which spanning ones are looked for first.
FIRST_LOOK = 20


@dataclass(frozen=True)
class Moments:
    """Moments and range of a column of numbers.

    Attributes
    ----------
    n : int
        Number of rows.
    mean, squares : float
        Mean, and sum of squares about it.
    smallest, largest : float
        Range.
    """

    n: int
    mean: float
    squares: float
    smallest: float
    largest: float

    @classmethod
    def of(cls, values: Vector) -> Moments:
        """Moments of numbers (n,)."""
        if not len(values):
            return cls(0, 0.0, 0.0, np.inf, -np.inf)
        mean = float(values.mean())
        squares = float(np.sum((values - mean) ** 2))
        return cls(len(values), mean, squares, float(values.min()), float(values.max()))

    def __add__(self, other: Moments) -> Moments:
        # Chan, Golub & LeVeque (1983), Am. Stat. 37, 242-247, equation 1.5
        n = self.n + other.n
        share, gap = other.n / max(n, 1), other.mean - self.mean
        return Moments(
            n,
            self.mean + gap * share,
            self.squares + other.squares + gap**2 * (self.n * share),
            min(self.smallest, other.smallest),
            max(self.largest, other.largest),
        )


@dataclass(frozen=True, eq=False)
class Described(Unread):
    """A column of numbers of which only moments and the range are known.

    NumPy's ``mean``, ``std``, ``min`` and ``max`` of it have a value.

    Attributes
    ----------
    moments : Moments
        What is known.

    Examples
    --------
    >>> column = Described.of(Moments.of(np.array([1.0, 2.0, 6.0])))
    >>> float(np.mean(column)), float(column.max())
    (3.0, 6.0)
    """

    moments: Moments

    @classmethod
    def of(cls, moments: Moments) -> Described:
        """Column with such moments."""
        return cls((moments.n,), moments)

    def mean(self) -> float:
        """Mean."""
        return self.moments.mean

    def std(self) -> float:
        """Standard deviation, of n."""
        return float(np.sqrt(self.moments.squares / max(self.moments.n, 1)))

    def min(self) -> float:
        """Smallest value."""
        return self.moments.smallest

    def max(self) -> float:
        """Largest value."""
        return self.moments.largest

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if function in _METHODS and not kwargs and len(args) == 1:
            return getattr(self, _METHODS[function])()
        return self._refuse()


_METHODS = {np.mean: "mean", np.std: "std", np.min: "min", np.max: "max"}


@dataclass(frozen=True, eq=False)
class CellCounts:
    """Combinations of factors' levels and of few-valued numbers, and how many rows have each.

    Attributes
    ----------
    names : tuple of str
        The columns.
    keys : Keys or None
        Combinations of their values; None without columns, or where there are too many.
    counts : (c,) float array
        Rows of each.
    """

    names: tuple[str, ...]
    keys: Keys | None
    counts: Vector

    @classmethod
    def of(cls, columns: Mapping[str, tuple[Values, IntVector]], n: int) -> CellCounts:
        """Combinations in n rows, none of which is missing."""
        if not columns:
            return cls((), None, np.array([float(n)]))
        keys, codes = Keys.of(list(columns.values()))
        counts = np.bincount(codes, minlength=len(keys)).astype(float)
        return cls(tuple(columns), keys, counts)

    def __add__(self, other: CellCounts) -> CellCounts:
        names = tuple(name for name in self.names if name in other.names)
        left, right = self.only(names), other.only(names)
        if left.keys is None or right.keys is None:
            return CellCounts(names, None, np.array([left.counts.sum() + right.counts.sum()]))
        keys, _, places = left.keys.union(right.keys)
        counts = np.append(left.counts, np.zeros(len(keys) - len(left.counts)))
        counts[places] += right.counts
        return CellCounts(names, keys, counts).bounded()

    def only(self, names: Sequence[str]) -> CellCounts:
        """Combinations of some of the columns."""
        if self.keys is None or tuple(names) == self.names:
            return self
        kept = {name: self.column(name) for name in names}
        if not kept:
            return CellCounts((), None, np.array([self.counts.sum()]))
        keys, codes = Keys.of(list(kept.values()))
        return CellCounts(
            tuple(kept), keys, np.bincount(codes, self.counts, len(keys)).astype(float)
        )

    def column(self, name: str) -> tuple[Values, IntVector]:
        """Values of a column, and that of each combination (c,)."""
        assert self.keys is not None
        i = self.names.index(name)
        part = self.keys.parts[i]
        return part, self.keys.codes[i] if self.keys.codes else np.arange(len(part))

    def bounded(self) -> CellCounts:
        """The combinations without numbers of many values; none where there are too many."""
        assert self.keys is not None
        kept = [name for name, part in self._parts() if not _is_many(part)]
        if len(kept) < len(self.names):
            return self.only(kept)
        if len(self.counts) <= MAX_CELLS:
            return self
        factors = [name for name, part in self._parts() if part.kind != "numbers"]
        fewer = self.only(factors)
        if len(fewer.counts) <= MAX_CELLS:
            return fewer
        return CellCounts((), None, np.array([self.counts.sum()]))

    def _parts(self) -> list[tuple[str, Values]]:
        assert self.keys is not None
        return list(zip(self.names, self.keys.parts, strict=True))

    def table(self) -> pd.DataFrame:
        """The combinations as rows of data."""
        if self.keys is None:
            return pd.DataFrame(index=pd.RangeIndex(len(self.counts)))
        columns = {}
        for name in self.names:
            values, codes = self.column(name)
            columns[name] = values.series().iloc[codes].array
        return pd.DataFrame(columns)


def _is_countable(values: Values, codes: IntVector) -> bool:
    return bool((codes >= 0).all()) and not _is_many(values)


def _is_many(values: Values) -> bool:
    return len(values) > MAX_VALUES and values.kind == "numbers"


@dataclass(frozen=True, eq=False)
class Spanning:
    """A few rows of the data whose model rows span those of all.

    Attributes
    ----------
    rows : DataFrame
        Columns of the data that the fixed part reads.
    matrix : (r, P) array
        Their model rows, all factors coded by indicators.
    """

    rows: pd.DataFrame
    matrix: Matrix

    @classmethod
    def of(cls, rows: pd.DataFrame, model: Callable[[IntVector], Matrix], rank: int) -> Spanning:
        """Rows that span the given ones.

        Parameters
        ----------
        rows : DataFrame
            The data, n rows.
        model : callable
            Model rows (m, P) of some of them (m,).
        rank : int
            Largest rank that model rows can have.
        """
        n = len(rows)
        step = max(1, n // (FIRST_LOOK * (rank + 1)))
        some = np.arange(0, n, step)
        matrix = model(some)
        own = independent_rows(matrix)
        found, matrix = some[own], matrix[own]
        if len(found) < rank and step > 1:
            everything = model(np.arange(n))
            found = np.append(found, _outside(everything, found))
            found = found[independent_rows(everything[found])]
            matrix = everything[found]
        return cls(rows.iloc[found].reset_index(drop=True), matrix)

    def __add__(self, other: Spanning) -> Spanning:
        matrix = np.vstack([self.matrix, other.matrix])
        found = independent_rows(matrix)
        if np.array_equal(found, np.arange(len(self.matrix))):
            return self
        rows = pd.concat([self.rows, other.rows], ignore_index=True)
        return Spanning(rows.iloc[found].reset_index(drop=True), matrix[found])


def independent_rows(matrix: Matrix) -> IntVector:
    """Positions, increasing, of rows (n, P) that span all of them."""
    if not matrix.size:
        return np.zeros(0, dtype=np.intp)
    R, order = qr(_scaled(matrix).T, mode="r", pivoting=True, check_finite=False)
    sizes = np.abs(np.diagonal(R))
    rank = int((sizes > DEPENDENT * max(float(sizes[0]), np.finfo(float).tiny)).sum())
    return np.sort(order[:rank])


def _scaled(matrix: Matrix) -> Matrix:
    """Columns of size one; where the first is of ones, the others without their common part."""
    moved = matrix.copy()
    if (matrix[:, 0] == 1.0).all():
        moved[:, 1:] -= matrix[0, 1:]
    size = np.abs(moved).max(axis=0)
    return np.asarray(moved / np.where(size > 0.0, size, 1.0))


def _outside(matrix: Matrix, found: IntVector) -> IntVector:
    """Rows that do not depend on those found, at most one for each column."""
    scaled = _scaled(matrix)
    chosen = list(found)
    rest: list[int] = []
    left = scaled - scaled @ np.linalg.pinv(scaled[chosen]) @ scaled[chosen]
    while len(rest) < matrix.shape[1]:
        size = np.einsum("ij,ij->i", left, left)
        row = int(np.argmax(size))
        if size[row] <= DEPENDENT**2:
            break
        rest.append(row)
        direction = left[row] / np.sqrt(size[row])
        left = left - np.outer(left @ direction, direction)
    return np.array(rest, dtype=np.intp)


@dataclass(frozen=True, eq=False)
class ColumnSummary:
    """What is kept of the columns of rows; summaries of parts add up.

    Attributes
    ----------
    names : tuple of str
        Columns that the fixed part reads.
    moments : dict of str to Moments
        By column of numbers that the fixed part reads.
    cells : CellCounts
        Combinations of its other columns, and of numbers with few values.
    spanning : Spanning
        Rows that span the model's.
    triangle : (P + 1, P + 1) array
        Triangular factor R of ``[1 X]``, of all rows and columns, without weights.
    is_indicator : (P,) bool array
        Whether a column of X holds zeros and ones only.
    random : tuple of (k_i, k_i) arrays
        Z'Z of each random-effects term, without weights.
    offset : Moments
        Known parts of the rows.
    """

    names: tuple[str, ...]
    moments: Mapping[str, Moments]
    cells: CellCounts
    spanning: Spanning
    triangle: Matrix
    is_indicator: np.ndarray
    random: tuple[Matrix, ...]
    offset: Moments

    @classmethod
    def of(
        cls,
        columns: pd.DataFrame,
        X: Matrix,
        Z: Sequence[Matrix],
        indicators: Callable[[IntVector], Matrix],
        offset: Vector,
    ) -> ColumnSummary:
        """Summary of rows.

        Parameters
        ----------
        columns : DataFrame
            Columns that the fixed part reads, n rows without missing values.
        X : (n, P) array
            Model rows.
        Z : sequence of (n, k_i) arrays
            Columns of the random-effects terms.
        indicators : callable
            Model rows (m, Q) of some rows (m,) with all factors coded by indicators.
        offset : (n,) array
            Known part.
        """
        names = [str(name) for name in columns]
        raw = {name: read_column(columns[name], name) for name in names}
        numbers = {name: col for name, col in raw.items() if isinstance(col, np.ndarray)}
        counted = {
            name: _counted(columns[name], name, column)
            for name, column in raw.items()
            if not _has_many(column)
        }
        few = {name: part for name, part in counted.items() if _is_countable(*part)}
        return cls(
            tuple(names),
            {name: Moments.of(column) for name, column in numbers.items()},
            CellCounts.of(few, len(columns)),
            Spanning.of(columns, indicators, X.shape[1]),
            _triangle(np.column_stack([np.ones(len(X)), X])),
            ~((X != 0) & (X != 1)).any(axis=0),
            tuple(columns.T @ columns for columns in Z),
            Moments.of(offset),
        )

    def __add__(self, other: ColumnSummary) -> ColumnSummary:
        return ColumnSummary(
            self.names,
            {name: own + other.moments[name] for name, own in self.moments.items()},
            self.cells + other.cells,
            self.spanning + other.spanning,
            _triangle(np.vstack([self.triangle, other.triangle])),
            self.is_indicator & other.is_indicator,
            tuple(a + b for a, b in zip(self.random, other.random, strict=True)),
            self.offset + other.offset,
        )

    @property
    def factor(self) -> Matrix:
        """Rows (P + 1, P) with the cross-products of all rows of X."""
        return self.triangle[:, 1:]

    def deviations(self, kept: IntVector) -> Vector:
        """Standard deviations of the kept columns of X that are no indicators."""
        about_mean = self.triangle[1:, 1 + kept[~self.is_indicator[kept]]]
        squares = np.einsum("ij,ij->j", about_mean, about_mean)
        return np.asarray(np.sqrt(squares / max(self.offset.n - 1, 1)))

    def variance(self, beta: Vector, kept: IntVector) -> float:
        """Sum of squares of X beta about its mean, for coefficients of the columns kept."""
        about_mean = self.triangle[1:, 1 + kept] @ beta
        return float(about_mean @ about_mean)


def _counted(column: pd.Series[Any], name: str, raw: RawColumn) -> tuple[Values, IntVector]:
    """Distinct values of a column, numbers to the last digit, and each row's."""
    if not isinstance(raw, np.ndarray):
        return distinct(column, name)
    codes, found = pd.factorize(raw)
    return Values(name, found), codes


def _has_many(column: RawColumn) -> bool:
    """Whether the first rows of numbers have too many values already."""
    return isinstance(column, np.ndarray) and len(np.unique(column[:1000])) > MAX_VALUES


def _triangle(X: Matrix) -> Matrix:
    """Triangular factor with as many rows as columns."""
    n, p = X.shape
    if n < p:
        X = np.vstack([X, np.zeros((p - n, p))])
    return qr_factor(X)
