"""The kinds of column that a model frame holds, and how a table's column becomes one.

A column is a float array, a `Factor`, or a `Basis` (several named columns, as ``poly(x, 2)``).
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from itertools import compress, count, repeat
from typing import Any, TypeAlias, TypeVar, cast

import numpy as np
import pandas as pd

from lmm._types import IntVector, Matrix, Vector
from lmm.errors import DataError
from lmm.language.deparse import fewest_digits

LOGICAL_LEVELS = ("FALSE", "TRUE")
# Doubles tell all whole numbers below this apart.
EXACT = 2.0**53
# Whole doubles below this print in full.
_LONGEST = 2.0**63
# A double holds any decimal number of this many digits.
_DECIMAL_DIGITS = 15
# Strings in shorter columns are numbered one by one, those in longer ones by pandas.
_FEW_ROWS = 2000


@dataclass(frozen=True, eq=False)
class Factor:
    """A categorical column.

    Attributes
    ----------
    codes : (n,) int array
        Level of each row, -1 where missing.
    levels : tuple of str
        Levels in order, spelled as R prints them.
    is_ordered : bool
        Whether the levels are ordered (R then codes them by polynomials).
    is_logical : bool
        Whether the column holds truth values; both levels then always count.
    is_text : bool
        Whether the column holds strings (R's character), not categories.
    contrasts : object
        Coding that ``C(f, ...)`` asks for; None for the default.
    gaps : tuple of str
        Levels that no row has and that stood between those that some have.
    """

    codes: IntVector
    levels: tuple[str, ...]
    is_ordered: bool = False
    is_logical: bool = False
    is_text: bool = False
    contrasts: object = field(default=None, repr=False)
    gaps: tuple[str, ...] = ()

    @classmethod
    def of_booleans(cls, values: np.ndarray) -> Factor:
        """Logical column of a boolean array (n,)."""
        return cls(values.astype(np.intp), LOGICAL_LEVELS, is_logical=True)

    def by_level(self, values: Any, missing: Any) -> np.ndarray:
        """Values (n,) of the rows from one value per level, and one for missing rows."""
        # The extra last entry is what code -1 (missing) indexes.
        return np.append(np.asarray(values), missing)[self.codes]

    def recode(self, levels: tuple[str, ...], unknown: int = -1) -> Factor:
        """The same values among other levels, in their order; `unknown` is the code of the rest.

        Examples
        --------
        >>> Factor(np.array([0, 1, -1]), ("a", "b")).recode(("b", "c")).codes
        array([-1,  0, -1])
        """
        if levels == self.levels:
            return self
        position = {level: i for i, level in enumerate(levels)}
        codes = np.array([position.get(level, unknown) for level in self.levels], dtype=np.intp)
        return replace(self, codes=self.by_level(codes, -1), levels=levels)

    def relabel(self, levels: tuple[str, ...]) -> Factor:
        """The same codes under other names, one per level."""
        return _merge_equal_levels(replace(self, levels=levels))

    def where(self, holds: Any) -> Factor:
        """Whether something holds, from one truth value per level; missing rows stay missing."""
        codes = self.by_level(np.asarray(holds, dtype=np.intp), -1)
        return Factor(codes, LOGICAL_LEVELS, is_logical=True)

    def at_rows(self, rows: IntVector) -> Factor:
        """The factor of some of its rows, with all levels."""
        return replace(self, codes=self.codes[rows])


@dataclass(frozen=True, eq=False)
class Basis:
    """Several numeric columns that one call makes.

    Attributes
    ----------
    values : (n, k) array
        The columns.
    suffixes : tuple of str
        What R appends to the call's text to name each column.
    """

    values: Matrix
    suffixes: tuple[str, ...]

    def at_rows(self, rows: IntVector) -> Basis:
        """The columns at some of their rows."""
        return replace(self, values=self.values[rows])


@dataclass(frozen=True, eq=False)
class Identifiers:
    """A column of the data that is exact as a factor only.

    Whole numbers beyond 2^53 and long decimals, which doubles cannot tell apart, and dates.

    Attributes
    ----------
    factor : Factor
        The values as levels, in their order.
    numbers : (n,) array or None
        The values rounded to doubles; None for dates, which are no numbers.
    content : str
        What the values are, for messages.
    """

    factor: Factor
    numbers: Vector | None
    content: str = "integer"

    def at_rows(self, rows: IntVector) -> Identifiers:
        """The column at some of its rows."""
        numbers = None if self.numbers is None else self.numbers[rows]
        return replace(self, factor=self.factor.at_rows(rows), numbers=numbers)

    def plain(self, as_factor: bool) -> Column:
        """The factor, where it is asked for or there is nothing else; the numbers otherwise."""
        return self.factor if as_factor or self.numbers is None else self.numbers


Column: TypeAlias = Vector | Factor | Basis
RawColumn: TypeAlias = Vector | Factor | Identifiers
C = TypeVar("C", bound=Vector | Factor | Basis | Identifiers)


def numbers_of(column: RawColumn | Basis, name: str) -> Vector:
    """Numbers (n,) of a column of numbers or of truth values, which count 0 and 1.

    Raises
    ------
    DataError
        If it is another column.
    """
    if isinstance(column, Identifiers):
        if column.numbers is None:
            raise DataError(
                f"{name} holds {column.content} values, which are no numbers: convert it to "
                "numbers, from a date that you choose, or use it as a factor"
            )
        return column.numbers
    if isinstance(column, Factor) and column.is_logical:
        return np.where(column.codes < 0, np.nan, column.codes)
    if not isinstance(column, np.ndarray):
        raise DataError(f"{name} must be numeric, one number per row")
    return column


def is_missing(column: Column) -> np.ndarray:
    """Rows where a column is missing, (n,) bool."""
    if isinstance(column, Factor):
        return np.asarray(column.codes < 0, dtype=np.bool_)
    if isinstance(column, Basis):
        return np.asarray(np.isnan(column.values).any(axis=1))
    return np.isnan(column)


def take(column: C, rows: IntVector) -> C:
    """Rows of a column."""
    part: Any = column
    return cast(C, part[rows] if isinstance(part, np.ndarray) else part.at_rows(rows))


def drop_unused_levels(factor: Factor) -> Factor:
    """Factor without the levels that no row has; truth values keep both."""
    if factor.is_logical:
        return factor
    counts = np.bincount(factor.codes + 1, minlength=len(factor.levels) + 1)[1:]
    if counts.all():
        return factor
    used = counts > 0
    names, before = np.array(factor.levels, dtype=object), np.cumsum(used)
    gaps = ~used & (before > 0) & (before < before[-1])
    codes = factor.by_level(before - 1, -1)
    return replace(factor, codes=codes, levels=tuple(names[used]), gaps=tuple(names[gaps]))


def as_factor(column: Column | Identifiers) -> Factor:
    """Categorical view of a column, as R's ``factor()``: numbers become sorted levels."""
    if isinstance(column, Factor):
        return column
    if isinstance(column, Identifiers):
        return column.factor
    if isinstance(column, Basis):
        raise DataError("a matrix cannot be used as a factor: use one of its columns")
    return factor_from_values(column)


def factor_from_values(values: Any) -> Factor:
    """Factor of numbers, strings or dates, with sorted levels.

    Strings sort by code point, not by a locale's collation: the same data give the same levels
    on every machine.
    """
    codes, uniques = pd.factorize(values)
    numbers = np.asarray(uniques)
    # Texts one by one take Arrow longer than all at once.
    objects = numbers.tolist() if numbers.dtype.kind == "O" else list(uniques)
    found: Any = numbers if numbers.dtype.kind in "iuf" else objects
    if isinstance(found, np.ndarray):
        order = np.argsort(found)
        levels = _number_names(found[order])
    else:
        order = np.array(sorted(range(len(found)), key=found.__getitem__), dtype=np.intp)
        levels = tuple(map(level_name, [found[i] for i in order]))
    # The extra last entry is what code -1 (missing) indexes.
    position = np.empty(len(found) + 1, dtype=np.intp)
    position[order] = np.arange(len(found))
    position[-1] = -1
    return _merge_equal_levels(Factor(position[codes], levels))


def _number_names(values: np.ndarray) -> tuple[str, ...]:
    """`level_name` of many numbers."""
    if values.dtype.kind == "f" and not (np.abs(values) < _LONGEST).all():
        return tuple(map(level_name, values.tolist()))
    whole = values.astype(np.int64) if values.dtype.kind == "f" else values
    if (whole == values).all():
        return tuple(map(str, whole.tolist()))
    return tuple(map(level_name, values.tolist()))


def _merge_equal_levels(factor: Factor) -> Factor:
    """Join levels that print the same, such as 0.3 and 0.1 + 0.2."""
    if len(set(factor.levels)) == len(factor.levels):
        return factor
    return factor.recode(tuple(dict.fromkeys(factor.levels)))


def level_name(value: Hashable) -> str:
    """How R prints a value as a level: ``1`` for 1.0, ``TRUE`` for True, 15 digits at most.

    Whole numbers are written in full, as R's integers: 100000, where R's double is 1e+05. Dates
    and times are written as in ISO 8601, without a time at midnight.

    Examples
    --------
    >>> [level_name(v) for v in (1.0, 2.5, 0.1 + 0.2, 1e-5, 100000, True, "a")]
    ['1', '2.5', '0.3', '1e-05', '100000', 'TRUE', 'a']
    """
    match value:
        case str():
            return str(value)
        case bool() | np.bool_():
            return LOGICAL_LEVELS[bool(value)]
        case float() | np.floating():
            return _r_number(float(value))
        case Decimal():
            return f"{value.normalize():f}"
        case datetime():
            return str(value).removesuffix(" 00:00:00")
        case _:
            return str(value)


def _r_number(value: float) -> str:
    """Print a double as R's as.character: 15 significant digits, the shorter notation."""
    if value.is_integer() and abs(value) < _LONGEST:
        return str(int(value))
    # Whole numbers keep all their digits: they may be identifiers.
    return fewest_digits(value, 17 if value.is_integer() else 15)


def read_column(values: pd.Series, name: str) -> RawColumn:
    """Read one column of a table.

    Parameters
    ----------
    values : Series
        Numbers, truth values, strings, categories, dates or times.
    name : str
        Column's name, for messages.

    Raises
    ------
    DataError
        If the column holds complex numbers or other objects.
    """
    return read_array(array_of(values), name)


def array_of(values: pd.Series) -> Any:
    """Array (n,) of a column: NumPy's, or one of pandas' own."""
    return values.to_numpy() if isinstance(values.dtype, np.dtype) else values.array


def read_array(values: Any, name: str) -> RawColumn:
    """Read one column from what `array_of` gives; see `read_column`."""
    dtype = values.dtype
    if isinstance(dtype, np.dtype) and dtype.kind in "iuf":
        return _read_numbers(values)
    if isinstance(dtype, pd.StringDtype):
        return _factor_of_texts(values)
    if isinstance(dtype, pd.CategoricalDtype):
        return _from_categories(values)
    if isinstance(dtype, np.dtype) and dtype.kind == "b":
        return Factor.of_booleans(values)
    if isinstance(dtype, pd.ArrowDtype) and str(dtype).startswith("dictionary"):
        return _from_categories(_arrow_categories(values))
    if pd.api.types.is_integer_dtype(dtype):
        return _read_nullable_integers(values)
    return _read_by_content(pd.Series(values, dtype=dtype), name)


def _factor_of_texts(values: Any) -> Factor:
    """Factor of strings; in short columns one by one: pandas takes 0.1 ms to get going."""
    if len(values) >= _FEW_ROWS:
        return replace(factor_from_values(values), is_text=True)
    texts = values.to_numpy(dtype=object).tolist()
    found = set(texts)
    levels = sorted(compress(found, map(isinstance, found, repeat(str))))
    place = dict(zip(levels, count()))
    codes = np.fromiter(map(place.get, texts, repeat(-1)), np.intp, len(texts))
    return Factor(codes, tuple(map(str, levels)), is_text=True)


def _read_numbers(values: np.ndarray) -> Vector | Identifiers:
    numbers = np.array(values, dtype=np.float64)  # a copy: the data may change later
    if values.dtype.kind != "f" and len(values) and np.abs(numbers).max() >= EXACT:
        return Identifiers(factor_from_values(values), numbers)
    return numbers


def _read_nullable_integers(values: Any) -> Vector | Identifiers:
    missing = values.isna()
    kind = np.uint64 if str(values.dtype).lower().startswith("u") else np.int64
    column = _read_numbers(values[~missing].to_numpy(dtype=kind))
    if isinstance(column, Identifiers):
        assert column.numbers is not None
        codes = _spread(column.factor.codes, missing, -1)
        factor = replace(column.factor, codes=codes)
        return Identifiers(factor, _spread(column.numbers, missing, np.nan))
    return _spread(column, missing, np.nan)


def _spread(values: np.ndarray, missing: np.ndarray, filling: float) -> np.ndarray:
    """Values of the rows that are not missing, among all rows."""
    spread = np.full(len(missing), filling, dtype=values.dtype)
    spread[~missing] = values
    return spread


def _from_categories(values: pd.Categorical) -> Factor:
    categories = values.categories.to_numpy(dtype=object)  # of Arrow's, faster than a list
    levels = tuple(v if type(v) is str else level_name(v) for v in categories.tolist())
    codes = values.codes.astype(np.intp)
    return _merge_equal_levels(Factor(codes, levels, is_ordered=bool(values.ordered)))


def _arrow_categories(values: Any) -> pd.Categorical:
    """Arrow's dictionary column as pandas' categories, in the dictionary's order."""
    chunks = values.__arrow_array__().unify_dictionaries().combine_chunks()
    codes = chunks.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    return pd.Categorical.from_codes(
        codes, categories=chunks.dictionary.to_pylist(), ordered=chunks.type.ordered
    )


# What pandas calls the content of a column -> how it is read.
_NUMBERS = {"integer", "integer-na", "floating", "mixed-integer-float", "decimal", "empty"}
_DATES = {"date", "datetime", "datetime64", "interval", "period", "time"}
_DATES |= {"timedelta", "timedelta64"}


def _read_by_content(values: pd.Series, name: str) -> RawColumn:
    """Read a column whose dtype alone does not tell: objects and nullable types."""
    content = pd.api.types.infer_dtype(values, skipna=True)
    if content in _NUMBERS or values.isna().all():
        return _read_number_objects(values)
    if content == "boolean":
        codes = np.where(values.isna(), -1, values.to_numpy(dtype=object)).astype(np.intp)
        return Factor(codes, LOGICAL_LEVELS, is_logical=True)
    if content == "string":
        return _factor_of_texts(values)
    if content in _DATES:
        return Identifiers(factor_from_values(values), None, content)
    raise DataError(
        f"column {name!r} holds {content} values, which have no place in a model: convert it to "
        "numbers (a covariate), or to strings or categories (a factor)"
    )


def _read_number_objects(values: pd.Series) -> Vector | Identifiers:
    numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
    if values.dtype.kind == "f" or all(map(_is_double, values.dropna())):
        return np.array(numbers)
    return Identifiers(factor_from_values(values.to_numpy(dtype=object)), np.array(numbers))


def _is_double(value: Any) -> bool:
    """Whether a number is one that a double tells from its neighbours."""
    if isinstance(value, Decimal):
        return len(value.normalize().as_tuple().digits) <= _DECIMAL_DIGITS
    return isinstance(value, float | np.floating) or abs(value) < EXACT
