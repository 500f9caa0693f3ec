"""The levels of a grouping factor met so far: arrays that are joined batch by batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from lmm._types import IntVector, cached_property
from lmm.design.columns import LOGICAL_LEVELS, Factor, as_factor, read_column
from lmm.design.random import escaped, shown
from lmm.errors import DataError


@dataclass(frozen=True, eq=False)
class Values:
    """Distinct values of one variable.

    Attributes
    ----------
    name : str
        The variable, for messages.
    values : (l,) array
        Numbers, texts, dates, or names of categories; none is missing.
    categories : tuple of str or None
        All categories in their order; None for what is no category.
    is_ordered : bool
        Whether they are ordered.
    keeps_all : bool
        Whether all of them count, those that do not occur too.
    """

    name: str
    values: np.ndarray
    categories: tuple[str, ...] | None = None
    is_ordered: bool = False
    keeps_all: bool = False

    @classmethod
    def of_factor(cls, name: str, factor: Factor) -> Values:
        """Levels of a factor, all of them, in their order."""
        levels = np.array(factor.levels, dtype=object)
        return cls(name, levels, factor.levels, factor.is_ordered, factor.is_logical)

    def __len__(self) -> int:
        return len(self.values)

    @property
    def kind(self) -> str:
        """What they are, for messages."""
        if self.categories is not None:
            return "truth values" if self.categories == LOGICAL_LEVELS else "categories"
        if self.values.dtype.kind in "iuf":
            return "numbers"
        is_text = len(self.values) > 0 and isinstance(self.values[0], str)
        return "texts" if is_text else "dates or other values"

    @cached_property
    def index(self) -> Any:
        """Table of their places."""
        return pd.Index(self.values)

    @cached_property
    def factor(self) -> Factor:
        """The values as a factor, as if they were all of a column."""
        return as_factor(read_column(self.series(), self.name))

    def series(self) -> pd.Series:
        """The values as a column of data."""
        if self.categories == LOGICAL_LEVELS:
            return pd.Series(self.values == LOGICAL_LEVELS[1])
        if self.categories is not None:
            categories = list(self.categories)
            return pd.Series(pd.Categorical(self.values, categories, ordered=self.is_ordered))
        return pd.Series(self.values)

    def at(self, places: IntVector) -> Values:
        """Some of the values."""
        return replace(self, values=self.values[places])

    def union(self, other: Values) -> tuple[Values, IntVector]:
        """These values, then those of `other` that are new; places (m,) of `other`'s there.

        Raises
        ------
        DataError
            They are of another kind.
        """
        if not len(self) or not len(other):
            return (self if len(self) else other), np.arange(len(other))
        if self.kind != other.kind:
            raise DataError(
                f"{self.name!r} holds {other.kind}, but {self.kind} in rows before: give the "
                "column one type"
            )
        places = self.index.get_indexer(other.index)
        categories = _joined(self.categories, other.categories)
        new = places < 0
        if not new.any() and categories is self.categories:
            return self, places
        places[new] = len(self) + np.arange(new.sum())
        values = np.concatenate([self.values, other.values[new]])
        return replace(self, values=values, categories=categories), places


def _joined(own: tuple[str, ...] | None, other: tuple[str, ...] | None) -> tuple[str, ...] | None:
    if own is None or other is None or own == other:
        return own
    return tuple(dict.fromkeys(own + other))


def distinct(column: pd.Series, name: str) -> tuple[Values, IntVector]:
    """Distinct values of a column, and the place of each row's (n,), -1 where it is missing.

    Raises
    ------
    DataError
        Its values have no place in a model.
    """
    dtype = column.dtype
    if pd.api.types.is_bool_dtype(dtype) or _is_categorical(dtype):
        factor = as_factor(read_column(column, name))
        return Values.of_factor(name, factor), factor.codes
    if pd.api.types.is_integer_dtype(dtype):
        return _distinct_integers(column, name)
    if pd.api.types.is_float_dtype(dtype):
        return _distinct_numbers(column.to_numpy(dtype=np.float64, na_value=np.nan), name)
    codes, found = pd.factorize(column)
    if isinstance(dtype, pd.StringDtype):
        return Values(name, np.asarray(found, dtype=object)), codes
    read = read_column(pd.Series(found), name)
    if isinstance(read, Factor) and read.is_logical:
        factor = as_factor(read_column(column, name))
        return Values.of_factor(name, factor), factor.codes
    return Values(name, np.asarray(found, dtype=object)), codes


def _is_categorical(dtype: object) -> bool:
    is_arrows = isinstance(dtype, pd.ArrowDtype) and str(dtype).startswith("dictionary")
    return isinstance(dtype, pd.CategoricalDtype) or is_arrows


def _distinct_integers(column: pd.Series, name: str) -> tuple[Values, IntVector]:
    """Whole numbers, exact."""
    kind = np.uint64 if str(column.dtype).lower().startswith("uint64") else np.int64
    missing = column.isna().to_numpy()
    if not missing.any():
        codes, found = pd.factorize(column.to_numpy(dtype=kind))
        return Values(name, found), codes
    own, found = pd.factorize(column[~missing].to_numpy(dtype=kind))
    codes = np.full(len(column), -1, dtype=np.intp)
    codes[~missing] = own
    return Values(name, found), codes


def _distinct_numbers(values: np.ndarray, name: str) -> tuple[Values, IntVector]:
    """Doubles; those that print the same are one, as levels are."""
    codes, found = pd.factorize(values)
    broken = np.flatnonzero(found != np.floor(found))
    if not len(broken):
        return Values(name, found + 0.0), codes
    rounded = found + 0.0
    rounded[broken] = [float(f"{value:.15g}") for value in found[broken].tolist()]
    places, merged = pd.factorize(rounded)
    return Values(name, merged), np.append(places, -1)[codes]


@dataclass(frozen=True, eq=False)
class Keys:
    """Levels of a grouping factor: combinations of its variables' values, in order of appearance.

    Attributes
    ----------
    parts : tuple of Values
        Values of the variables that it crosses.
    codes : tuple of (l,) int arrays
        Value of each level, per variable; empty for one variable, whose values are the levels.
    """

    parts: tuple[Values, ...]
    codes: tuple[IntVector, ...] = ()

    @classmethod
    def of(
        cls, variables: Sequence[tuple[Values, IntVector]], rows: IntVector | None = None
    ) -> tuple[Keys, IntVector]:
        """Levels that occur, and the level of each row (n,).

        Parameters
        ----------
        variables : sequence of (Values, (N,) int array)
            Values of each variable that is crossed, and their places in rows.
        rows : (n,) int array, optional
            The rows that count; all by default. None of them has a missing value.
        """
        used = [
            _used(values, codes if rows is None else codes[rows]) for values, codes in variables
        ]
        parts = tuple(values for values, _ in used)
        if len(used) == 1:
            return cls(parts), used[0][1]
        ids, first = _combined([codes for _, codes in used], [len(part) for part in parts])
        return cls(parts, tuple(codes[first] for _, codes in used)), ids

    def __len__(self) -> int:
        return len(self.codes[0]) if self.codes else len(self.parts[0])

    def union(self, other: Keys) -> tuple[Keys, IntVector, IntVector]:
        """These levels, then those of `other` that are new.

        Returns
        -------
        keys : Keys
        own : (l,) int array
            Places of these levels among them.
        others : (m,) int array
            Places of `other`'s levels.

        Raises
        ------
        DataError
            A variable holds values of another kind.
        """
        own = np.arange(len(self))
        joined = [a.union(b) for a, b in zip(self.parts, other.parts, strict=True)]
        parts = tuple(values for values, _ in joined)
        if len(parts) == 1:
            return Keys(parts), own, joined[0][1]
        moved = [places[codes] for (_, places), codes in zip(joined, other.codes, strict=True)]
        both = [np.concatenate(pair) for pair in zip(self.codes, moved, strict=True)]
        ids, first = _combined(both, [len(part) for part in parts])
        return Keys(parts, tuple(codes[first] for codes in both)), own, ids[len(self) :]

    def order(self) -> IntVector:
        """Positions (l,) that sort the levels as a fit in memory does."""
        ranks = [part.factor.codes for part in self.parts]
        if not self.codes:
            return np.argsort(ranks[0], kind="stable")
        # lexsort's last key is the primary one
        return np.lexsort([r[c] for r, c in zip(ranks, self.codes, strict=True)][::-1])

    @cached_property
    def escaped(self) -> np.ndarray:
        """Names of the levels (l,), with colons of crossed ones escaped."""
        names = [_names(part) for part in self.parts]
        if not self.codes:
            return names[0]
        columns = [
            np.array([escaped(name) for name in own.tolist()], dtype=object)[codes].tolist()
            for own, codes in zip(names, self.codes, strict=True)
        ]
        joined = np.empty(len(self), dtype=object)
        joined[:] = [":".join(row) for row in zip(*columns, strict=True)]
        return joined

    @cached_property
    def labels(self) -> np.ndarray:
        """Names of the levels (l,) as results show them."""
        if not self.codes:
            return self.escaped
        return np.array(shown(tuple(self.escaped.tolist())), dtype=object)


def _used(values: Values, codes: IntVector) -> tuple[Values, IntVector]:
    """Values that occur; both truth values stay."""
    if values.keeps_all:
        return values, codes
    used = np.bincount(codes, minlength=len(values)) > 0
    if used.all():
        return values, codes
    return values.at(np.flatnonzero(used)), (np.cumsum(used) - 1)[codes]


def _combined(columns: Sequence[IntVector], sizes: Sequence[int]) -> tuple[IntVector, IntVector]:
    """Number of each row's combination (n,), and the first row of each combination."""
    ids = columns[0]
    for codes, size in zip(columns[1:], sizes[1:], strict=True):
        ids, _ = pd.factorize(ids.astype(np.int64) * size + codes)
    first = np.empty(int(ids.max()) + 1 if len(ids) else 0, dtype=np.intp)
    first[ids[::-1]] = np.arange(len(ids))[::-1]
    return ids, first


def _names(values: Values) -> np.ndarray:
    """Names of values, (l,)."""
    factor = values.factor
    return np.array(factor.levels, dtype=object)[factor.codes]
