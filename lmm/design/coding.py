"""How the levels of a factor become columns: R's contrasts, computed by formulaic."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from lmm._types import IntVector, Matrix
from lmm.design.columns import Factor
from lmm.errors import DataError, nearest

__all__ = ["CONTRASTS", "Coding", "contrast_coding", "dummy_coding"]

CONTRASTS = ("contr.treatment", "contr.sum", "contr.helmert", "contr.poly", "contr.SAS")


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
        # C() passes R's contrast functions the number of levels, not their names.
        by_number = contrasts is None and factor.contrasts is not None
        return _named_coding(chosen, factor.levels, by_number)
    if isinstance(chosen, np.ndarray | pd.DataFrame):
        return _matrix_coding(name, factor.levels, chosen)
    return _formulaic_coding(name, factor.levels, chosen)


@lru_cache(maxsize=256)
def _named_coding(contrasts: str, levels: tuple[str, ...], by_number: bool) -> Coding:
    from formulaic.transforms import contrasts as coders

    numbers = tuple(str(i) for i in range(1, len(levels) + 1))
    names = numbers if by_number else levels
    coder: Any
    coder, suffixes = {
        "contr.treatment": (coders.TreatmentContrasts(), names[1:]),
        "contr.SAS": (coders.SASContrasts(), names[:-1]),
        "contr.sum": (coders.SumContrasts(), numbers[:-1]),
        "contr.helmert": (coders.HelmertContrasts(), numbers[:-1]),
        "contr.poly": (coders.PolyContrasts(), _powers(len(levels) - 1)),
    }[contrasts]
    matrix = coder.get_coding_matrix(levels).to_numpy(dtype=np.float64)
    return Coding(levels, matrix, suffixes, contrasts)


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
    from formulaic.transforms.contrasts import Contrasts

    if not isinstance(coder, Contrasts):
        raise DataError(
            f"contrasts of {name!r} must be one of {', '.join(CONTRASTS)}, a matrix, a DataFrame "
            f"or a formulaic Contrasts object, not {type(coder).__name__}"
        )
    table = coder.get_coding_matrix(levels)
    suffixes = tuple(map(str, table.columns))
    return Coding(levels, table.to_numpy(dtype=np.float64), suffixes, type(coder).__name__)
