"""How the levels of a factor become columns: R's contrasts, computed by formulaic."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
import pandas as pd

from lmm._types import IntVector, Matrix
from lmm.design._formulaic import coding_matrix, user_coding
from lmm.design.columns import Factor
from lmm.errors import DataError, nearest

CONTRASTS = (
    "contr.treatment",
    "contr.sum",
    "contr.helmert",
    "contr.poly",
    "contr.SAS",
    "contr.sdif",
)


@dataclass(frozen=True)
class Contrasts:
    """Contrasts by name, as ``contr.treatment(3, base = 2)`` says them.

    Attributes
    ----------
    name : str
        One of `CONTRASTS`.
    base : int or str
        Level that ``contr.treatment`` compares the others with, by position from 1 or by name.
    size : int or None
        Number of levels that the contrasts are for; None for any.
    numbered : bool
        Whether columns are named by the numbers of the levels, as R does in ``C()``.
    """

    name: str
    base: int | str = 1
    size: int | None = None
    numbered: bool = False


@dataclass(frozen=True, eq=False)
class Coding:
    """Columns that stand for a factor.

    Attributes
    ----------
    levels : tuple of str
        The l levels, in order.
    matrix : (l, k) array
        Row i is the coding of level i.
    suffixes : tuple of str
        What R appends to the factor's name for each of the k columns.
    contrasts : str
        Name of the contrasts, ``dummy`` for indicators of all levels, ``matrix`` for the user's.
    """

    levels: tuple[str, ...]
    matrix: Matrix
    suffixes: tuple[str, ...]
    contrasts: str

    def columns(self, codes: IntVector) -> Matrix:
        """Columns (n, k) of a factor with these levels; NaN where the code is -1."""
        # The extra last row is what code -1 (missing) indexes.
        missing = np.full((1, self.matrix.shape[1]), np.nan)
        return np.vstack([self.matrix, missing])[codes]


@lru_cache(maxsize=256)
def dummy_coding(levels: tuple[str, ...]) -> Coding:
    """Indicators of all levels."""
    return Coding(levels, np.eye(len(levels)), levels, "dummy")


def contrast_coding(name: str, factor: Factor, contrasts: object = None) -> Coding:
    """Contrasts of a factor.

    Parameters
    ----------
    name : str
        The factor's name, for messages.
    factor : Factor
        Its levels and what ``C()`` asked for.
    contrasts : str, array, DataFrame or formulaic Contrasts, optional
        What the argument ``contrasts=`` asks for; it wins over ``C()``. The default is
        ``contr.treatment``, for ordered factors ``contr.poly``.

    Raises
    ------
    DataError
        If the factor has one level, or the contrasts do not fit its levels.
    """
    if len(factor.levels) < 2:
        raise DataError(
            f"factor {name!r} has {len(factor.levels)} level(s) in the rows used: contrasts can be "
            "applied only to factors with 2 or more levels. Leave it out of the formula"
        )
    chosen = contrasts if contrasts is not None else factor.contrasts
    if chosen is None:
        chosen = "contr.poly" if factor.is_ordered else "contr.treatment"
    if isinstance(chosen, str):
        if chosen not in CONTRASTS:
            hint = nearest(chosen, CONTRASTS)
            raise DataError(f"unknown contrasts {chosen!r} for {name!r}.{hint}")
        chosen = Contrasts(chosen)
    if isinstance(chosen, Contrasts):
        _check_fit(name, factor.levels, chosen)
        return _named_coding(chosen, factor.levels)
    if isinstance(chosen, np.ndarray | pd.DataFrame):
        return _matrix_coding(name, factor.levels, chosen)
    return _formulaic_coding(name, factor.levels, chosen)


def _check_fit(name: str, levels: tuple[str, ...], contrasts: Contrasts) -> None:
    """Refuse contrasts for another number of levels, or with a base that is no level."""
    if contrasts.size not in (None, len(levels)):
        raise DataError(
            f"{contrasts.name}({contrasts.size}) is for {contrasts.size} levels, but {name!r} has "
            f"{len(levels)}: {', '.join(levels[:6])}{', ...' if len(levels) > 6 else ''}"
        )
    if isinstance(contrasts.base, str) and contrasts.base not in levels:
        hint = nearest(contrasts.base, levels)
        raise DataError(f"the base {contrasts.base!r} is not a level of {name!r}.{hint}")
    if isinstance(contrasts.base, int) and contrasts.base > len(levels):
        raise DataError(f"the base {contrasts.base} of {name!r} is not among {len(levels)} levels")


@lru_cache(maxsize=256)
def _named_coding(contrasts: Contrasts, levels: tuple[str, ...]) -> Coding:
    numbers = tuple(str(i) for i in range(1, len(levels) + 1))
    names = numbers if contrasts.numbered else levels
    base = contrasts.base - 1 if isinstance(contrasts.base, int) else levels.index(contrasts.base)
    suffixes = {
        "contr.treatment": names[:base] + names[base + 1 :],
        "contr.SAS": names[:-1],
        "contr.sum": numbers[:-1],
        "contr.helmert": numbers[:-1],
        "contr.poly": _powers(len(levels) - 1),
        "contr.sdif": tuple(f"{b}-{a}" for a, b in pairwise(names)),
    }[contrasts.name]
    if contrasts.name == "contr.sdif":
        matrix = _successive_differences(len(levels))
    else:
        matrix = coding_matrix(contrasts.name, levels, base)
    return Coding(levels, matrix, suffixes, contrasts.name)


def _successive_differences(count: int) -> Matrix:
    """Coding whose coefficients are differences of neighbours.

    Venables and Ripley (2002), Modern Applied Statistics with S, section 6.2.
    """
    row, column = np.arange(count)[:, None], np.arange(1, count)[None, :]
    return np.where(row < column, column - count, column) / count


def _powers(count: int) -> tuple[str, ...]:
    """R's names of polynomial contrasts: .L .Q .C ^4 ^5."""
    return (".L", ".Q", ".C", *(f"^{i}" for i in range(4, count + 1)))[:count]


def _matrix_coding(name: str, levels: tuple[str, ...], given: np.ndarray | pd.DataFrame) -> Coding:
    matrix = np.asarray(given, dtype=np.float64)
    if matrix.shape != (len(levels), len(levels) - 1):
        raise DataError(
            f"contrasts of {name!r} have shape {matrix.shape}, but its {len(levels)} levels "
            f"({', '.join(levels[:6])}{', ...' if len(levels) > 6 else ''}) need shape "
            f"({len(levels)}, {len(levels) - 1})"
        )
    if isinstance(given, pd.DataFrame):
        suffixes = tuple(map(str, given.columns))
    else:
        suffixes = tuple(str(i) for i in range(1, len(levels)))
    return Coding(levels, matrix, suffixes, "matrix")


def _formulaic_coding(name: str, levels: tuple[str, ...], coder: object) -> Coding:
    coding = user_coding(coder, levels)
    if coding is None:
        raise DataError(
            f"contrasts of {name!r} must be one of {', '.join(CONTRASTS)}, a matrix, a DataFrame "
            f"or a formulaic Contrasts object, not {type(coder).__name__}"
        )
    return Coding(levels, *coding, type(coder).__name__)
