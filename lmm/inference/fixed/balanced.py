"""A balanced population: the cells of the factors that a formula uses or makes.

Least-squares means average over it. Its axes are the formula's factors (``f``, ``cut(x, 3)``,
``I(x > 4)``), each with all its levels; factors made of the same data column have one axis, the
combinations of their levels that occur. Covariates stand at their means: what the formula makes of
numeric columns, at the means of these columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lmm._types import IntVector, Matrix
from lmm.design.columns import Basis, Column, Factor, RawColumn, as_factor, take
from lmm.design.fixed import FixedEffects
from lmm.design.frame import Frame
from lmm.design.layout import known_codes
from lmm.design.table import Table
from lmm.design.variables import column_names
from lmm.language.tree import variables


@dataclass(frozen=True, eq=False)
class BalancedPopulation:
    """All combinations of the axes, a row each.

    Attributes
    ----------
    fixed : FixedEffects
        The fixed effects.
    codes : dict of str to (c,) int array
        Level of each factor in each of the c cells.
    rows : (c, P) array
        Their rows of the model matrix, dropped columns too.
    """

    fixed: FixedEffects
    codes: dict[str, IntVector]
    rows: Matrix

    @classmethod
    def of(cls, fixed: FixedEffects, frame: Frame, data: Any) -> BalancedPopulation:
        """The population of a model; `data` is the table it was fitted to, or None."""
        observed = {
            text: known_codes(text, as_factor(frame.columns[text]), levels)
            for text, levels in fixed.levels.items()
        }
        axes = [_combinations(fixed, observed, axis) for axis in _axes(fixed)]
        lengths = [len(axis) for axis in axes]
        size = int(np.prod(lengths))
        places = np.indices(lengths).reshape(len(axes), size)
        codes: dict[str, IntVector] = {}
        for texts, axis, place in zip(_axes(fixed), axes, places, strict=True):
            codes.update(zip(texts, axis[place].T, strict=True))
        columns: dict[str, Column] = {
            text: Factor(code, fixed.levels[text]) for text, code in codes.items()
        }
        for text in fixed.term_factors:
            if text not in fixed.levels:
                columns[text] = _repeated(_at_mean(fixed, frame, data, text), size)
        return cls(fixed, codes, fixed.layout.matrix(columns, size))

    def means(self, term: Sequence[str]) -> Matrix:
        """Mean row of each cell of some factors, (cells, P), the first factor changing fastest.

        NaN for cells that the population does not have.
        """
        shape = [len(self.fixed.levels[text]) for text in reversed(term)]
        index = tuple(self.codes[text] for text in reversed(term))
        cell = np.ravel_multi_index(index, shape)
        counts = np.bincount(cell, minlength=int(np.prod(shape)))
        total = np.zeros((len(counts), self.rows.shape[1]))
        np.add.at(total, cell, self.rows)
        return np.divide(
            total, counts[:, None], out=np.full_like(total, np.nan), where=counts[:, None] > 0
        )


def _axes(fixed: FixedEffects) -> list[tuple[str, ...]]:
    """Factors of the formula, those that read a common data column together."""
    groups: list[tuple[tuple[str, ...], set[str]]] = []
    for text in fixed.levels:
        names = set(variables(fixed.variables.nodes[text]))
        joined = [group for group in groups if group[1] & names]
        groups = [group for group in groups if not group[1] & names]
        texts = (*(each for group in joined for each in group[0]), text)
        groups.append((texts, names.union(*(group[1] for group in joined))))
    return [texts for texts, _ in groups]


def _combinations(
    fixed: FixedEffects, observed: Mapping[str, IntVector], texts: Sequence[str]
) -> IntVector:
    """Levels of an axis, (c, number of its factors)."""
    if len(texts) == 1:
        return np.arange(len(fixed.levels[texts[0]]))[:, None]
    return np.unique(np.column_stack([observed[text] for text in texts]), axis=0)


def _at_mean(fixed: FixedEffects, frame: Frame, data: Any, text: str) -> Column:
    """A covariate's value at the means of the numeric columns that it is made of; one row."""
    read = {} if data is None else _columns_of(fixed, frame, data, text)
    means = {
        name: np.array([column.mean()])
        for name, column in read.items()
        if isinstance(column, np.ndarray)
    }
    if read and len(means) == len(read):
        return fixed.variables.on(means, [text])[0][text]
    column = frame.columns[text]
    if isinstance(column, Basis):
        return Basis(column.values.mean(axis=0, keepdims=True), column.suffixes)
    assert isinstance(column, np.ndarray)
    return np.array([column.mean()])


def _columns_of(fixed: FixedEffects, frame: Frame, data: Any, text: str) -> dict[str, RawColumn]:
    """The data's columns that a variable reads, at the rows used."""
    table = Table.of(data)
    names = column_names([fixed.variables.nodes[text]], table)
    return {name: take(table.column(name), frame.rows) for name in names}


def _repeated(column: Column, size: int) -> Column:
    return take(column, np.zeros(size, dtype=np.intp))
