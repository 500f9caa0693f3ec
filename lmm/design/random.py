"""Random-effects terms: grouping factors and their columns, in lme4's order."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import groupby, pairwise
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from lmm._types import IntVector, Matrix, Vector, cached_property
from lmm.covariance import unstructured
from lmm.design.columns import Factor, as_factor, drop_unused_levels
from lmm.design.fixed import check_finite
from lmm.design.frame import Frame
from lmm.design.layout import Layout, Predictor, lay_out
from lmm.design.matrices import ReTerm
from lmm.design.structures import covariance_of, times_of
from lmm.design.variables import Variables
from lmm.errors import FormulaError
from lmm.formula import RandomTerm
from lmm.language.tree import Binary, Node, Paren

T = TypeVar("T")

# Combinations of levels up to which they are counted, however few the rows.
FEW_KEYS = 10_000


@dataclass(frozen=True, eq=False)
class Bar:
    """One random term of the formula, over variables named by their text.

    Attributes
    ----------
    term : RandomTerm
        The term as parsed.
    predictor : Predictor
        Its effects.
    group : tuple of str
        Variables that the grouping factor crosses, the slowest-changing first.
    """

    term: RandomTerm
    predictor: Predictor
    group: tuple[str, ...]

    @cached_property
    def label(self) -> str:
        """The term as lme4 prints it."""
        return str(self.term)

    @cached_property
    def group_text(self) -> str:
        """Name of the grouping factor."""
        return self.term.group_text


def grouping_nodes(node: Node) -> tuple[Node, ...]:
    """Factors that a grouping expression crosses: ``c:(b:a)`` gives c, b, a."""
    match node:
        case Paren():
            return grouping_nodes(node.inner)
        case Binary(op=":"):
            return grouping_nodes(node.left) + grouping_nodes(node.right)
        case _:
            return (node,)


@dataclass(frozen=True, eq=False)
class ReRecipe:
    """How a random-effects term is made for new data.

    Attributes
    ----------
    layout : Layout
        The columns of the bar it comes from.
    kept : (k,) int array
        Which of them the term has (all, unless ``||`` split the bar).
    group : tuple of str
        Variables that the grouping factor crosses.
    variables : Variables
        Recipe of the variables.
    """

    layout: Layout
    kept: IntVector
    group: tuple[str, ...]
    variables: Variables

    def matrix(self, data: Any) -> Matrix:
        """Raw model columns (n_new, k) for new data; rows with missing values are NaN."""
        columns, n = self.variables.on(data, self.layout.predictor.variables)
        return self.layout.matrix(columns, n)[:, self.kept]

    def times(self, data: Any, known: Sequence[float]) -> tuple[Matrix, Vector]:
        """Indicators (n_new, k) of known times, and the times (n_new,) of rows with others.

        Rows with other times have no indicator; the times of known ones are NaN.

        Raises
        ------
        DataError
            A level of new data is no number.
        """
        ((variable,),) = self.layout.predictor.terms
        columns, _ = self.variables.on(data, (variable,))
        own = times_of(as_factor(columns[variable]), variable)
        Z = (own[:, None] == np.asarray(known)).astype(float)
        Z[np.isnan(own)] = np.nan
        return Z, np.where(Z.any(axis=1), np.nan, own)

    def grouping(self, data: Any) -> Factor:
        """Grouping factor of new data, with the levels that occur there; -1 where missing."""
        return cross(self.variables.groups_on(data, self.group))


def cross(factors: Sequence[Factor]) -> Factor:
    """Interaction of factors: the combinations that occur, the first factor changing slowest.

    Levels are joined by colons; colons within them are escaped by a backslash, so that no two
    combinations have one name. The code is -1 where a factor is missing.
    """
    if len(factors) == 1:
        return drop_unused_levels(factors[0])
    first, *others = [replace(f, levels=tuple(map(escaped, f.levels))) for f in factors]
    return reduce(_cross_two, others, drop_unused_levels(first))


def escaped(level: str) -> str:
    """A level as crossed ones are joined of, with colons that are its own told apart."""
    return level.replace("\\", r"\\").replace(":", r"\:")


def shown(keys: tuple[str, ...]) -> tuple[str, ...]:
    """Levels of a crossed factor as R writes them, where that tells them apart."""
    if not any("\\" in key for key in keys):
        return keys
    plain = tuple(re.sub(r"\\(.)", r"\1", key, flags=re.DOTALL) for key in keys)
    return plain if len(set(plain)) == len(keys) else keys


def _cross_two(slow: Factor, fast: Factor) -> Factor:
    size = len(fast.levels)
    missing = (slow.codes < 0) | (fast.codes < 0)
    # Missing combinations get the largest key, so that their code comes last.
    largest = len(slow.levels) * size
    codes, present = _numbered(np.where(missing, largest, slow.codes * size + fast.codes), largest)
    first, second = np.divmod(present[present < largest], max(size, 1))
    left = np.array(slow.levels, dtype=object)[first]
    right = np.array(fast.levels, dtype=object)[second]
    levels = tuple(f"{a}:{b}" for a, b in zip(left.tolist(), right.tolist(), strict=True))
    return Factor(np.where(missing, -1, codes), levels)


def _numbered(keys: IntVector, largest: int) -> tuple[IntVector, IntVector]:
    """Codes (n,) of whole numbers up to the largest, and those that occur, in order."""
    if largest <= max(len(keys), FEW_KEYS):
        occurs = np.bincount(keys, minlength=largest + 1) > 0
        return (np.cumsum(occurs) - 1)[keys], np.flatnonzero(occurs)
    codes, found = pd.factorize(keys)
    order = np.argsort(found)
    position = np.empty(len(found), dtype=np.intp)
    position[order] = np.arange(len(found))
    return position[codes], found[order]


def build_random(bars: Sequence[Bar], frame: Frame) -> tuple[ReTerm, ...]:
    """Random-effects terms of a model, in lme4's order.

    Contrasts are R's defaults: as in lme4, the ``contrasts`` argument is for X only.

    Parameters
    ----------
    bars : sequence of Bar
        The formula's random terms in order of appearance.
    frame : Frame
        The model frame.

    Raises
    ------
    FormulaError
        If a term has no columns.
    DataError
        If a column holds infinite values.
    """
    groups: dict[tuple[str, ...], Factor] = {}
    terms: list[ReTerm] = []
    for _, same_bar in groupby(bars, key=lambda bar: bar.term.bar):
        members = list(same_bar)
        whole = [_whole_term(bar, frame, groups) for bar in members]
        terms += _split_columns(whole) if members[0].term.is_double else whole
    return sorted_by_levels(terms, [term.n_levels for term in terms])


def _whole_term(bar: Bar, frame: Frame, groups: dict[tuple[str, ...], Factor]) -> ReTerm:
    if bar.group not in groups:
        crossed = [frame.groups[text] for text in bar.group]
        groups[bar.group] = cross(crossed) if len(crossed) > 1 else crossed[0]
    factor = groups[bar.group]
    keys = factor.levels
    levels = shown(keys) if len(bar.group) > 1 else keys
    columns = {text: frame.columns[text] for text in bar.predictor.variables}
    layout = lay_out(bar.predictor, columns)
    size = len(layout.names)
    if size == 0:
        raise FormulaError(f"the random term ({bar.term}) has no columns: write 1 for intercepts")
    Z = layout.matrix(columns, frame.n)
    if columns:
        check_finite(Z, layout.names, frame)
    recipe = ReRecipe(layout, np.arange(size), bar.group, frame.variables)
    return ReTerm(
        group=bar.group_text,
        levels=np.array(levels, dtype=object),
        columns=layout.names,
        codes=factor.codes,
        Z=Z,
        covariance=covariance_of(bar.term, layout, columns),
        label=bar.label,
        recipe=recipe,
        keys=None if levels == keys else np.array(keys, dtype=object),
    )


def _split_columns(terms: Sequence[ReTerm]) -> list[ReTerm]:
    """Independent terms of a ``||`` bar: column by column, over the bar's grouping factors."""
    columns = enumerate(terms[0].columns)
    return [_one_column(term, j, column) for j, column in columns for term in terms]


def _one_column(term: ReTerm, j: int, column: str) -> ReTerm:
    effects = "1" if column == "(Intercept)" else f"0 + {column}"
    return replace(
        term,
        columns=(column,),
        Z=term.Z[:, [j]],
        covariance=unstructured(1),
        label=f"{effects} | {term.group}",
        recipe=term.recipe and replace(term.recipe, kept=np.array([j])),
    )


def sorted_by_levels(terms: Sequence[T], counts: Sequence[int]) -> tuple[T, ...]:
    """Terms by decreasing number of levels, as lme4 sorts them.

    lme4 reverses an increasing sort, and only if the terms are not in order already: ties come
    out in reverse order of appearance when it sorts, and in order when it does not.
    """
    if all(a >= b for a, b in pairwise(counts)):
        return tuple(terms)
    increasing = sorted(range(len(terms)), key=counts.__getitem__)
    return tuple(terms[i] for i in reversed(increasing))
