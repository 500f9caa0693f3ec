"""The first look at a source: what must be known before its rows can be summed up.

Levels of the fixed part's factors, and what transforms such as ``scale(x)`` learn from all rows.
Levels of grouping factors need no look: they are met batch by batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from lmm._types import IntVector
from lmm.design.build import Plan
from lmm.design.columns import Column, Factor, Identifiers, RawColumn, read_column, take
from lmm.design.evaluate import Evaluator
from lmm.design.functions import FUNCTIONS
from lmm.design.functions.own import Own
from lmm.design.keys import Keys, Values, distinct
from lmm.design.portions import GroupVariable, Read, Reader, RowArguments
from lmm.design.source import Portion, Source, placed
from lmm.design.table import Table
from lmm.design.variables import Variables, column_names
from lmm.errors import DataError
from lmm.language.deparse import deparse
from lmm.language.tree import Call, Name, Node, walk

_BY_LEVELS = ("factor", "ordered")
# Functions whose levels do not depend on which rows there are.
_FIXED_LEVELS = ("cut", "ifelse")
_NO_ROWS: IntVector = np.zeros(0, dtype=np.intp)


@dataclass(frozen=True, eq=False)
class Learned:
    """What the first look found.

    Attributes
    ----------
    reader : Reader
        Reads batches.
    columns : mapping of str to Column
        The formula's variables without rows: their kinds, and the levels that rows used have.
    """

    reader: Reader
    columns: Mapping[str, Column]


def learn(
    plan: Plan, source: Source, rows: RowArguments, own: Mapping[str, Own] | None = None
) -> Learned:
    """Look at a source, once or twice where the formula needs it, else at its first batch.

    Parameters
    ----------
    plan : Plan
        What the formula asks for.
    source : Source
        The data.
    rows : RowArguments
        Which rows count.
    own : mapping of str to Own, optional
        The caller's functions.

    Raises
    ------
    DataError
        The content does not suit the formula, or a look is needed at a source that can be read
        once only.
    """
    nodes = {**plan.nodes, **plan.groups}
    groups = tuple(GroupVariable.of(text, node) for text, node in plan.groups.items())
    variables = Variables(nodes, {}, {}, plan.formula.source, own or {})
    reader = Reader(plan, variables, groups, rows)
    used = reader.columns_of(source.heading)
    first = source.first(used)
    with placed(first):
        _learn_transforms(reader, source, first)
        columns, _ = reader.variables.on(first, plan.nodes)
    pending = [text for text, column in columns.items() if _has_levels(column)]
    if plan.response in pending:
        pending.remove(plan.response)
    made = [group.text for group in groups if group.column is None and group.text not in pending]
    kinds: dict[str, Column] = {text: take(column, _NO_ROWS) for text, column in columns.items()}
    if not pending and not made:
        return Learned(reader, kinds)
    source.check_rereadable(
        f"the levels of {', '.join([*pending, *made])} must be known before its rows can be summed"
    )
    found = _levels_used(reader, source, used, pending, made)
    kinds |= {text: found[text] for text in pending}
    groups = tuple(
        replace(group, levels=found[group.text].levels) if group.column is None else group
        for group in groups
    )
    return Learned(replace(reader, groups=groups), kinds)


def _has_levels(column: Column) -> bool:
    return isinstance(column, Factor) and not column.is_logical


# Transforms ----------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Need:
    """What must be read before variables can be evaluated.

    Attributes
    ----------
    whole : list of Node
        Expressions that are evaluated on whole columns, as in memory.
    levels : list of Call
        Calls of ``factor()`` on one column, for which its distinct values are enough.
    columns : list of str
        Columns whose levels expressions read.
    """

    whole: list[Node] = field(default_factory=list)
    levels: list[Call] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)

    def add(self, node: Node, table: Table) -> None:
        """Add what an expression needs."""
        if isinstance(node, Name):
            return
        calls = [part for part in walk(node) if isinstance(part, Call) and _learns(part)]
        if all(_is_by_levels(call) for call in calls):
            self.levels.extend(calls)
            self.columns.extend(
                name for name in column_names([node], table) if _is_categorical(table.column(name))
            )
        else:
            self.whole.append(node)


def _learns(call: Call) -> bool:
    function = FUNCTIONS.get(call.function.rpartition("::")[2])
    return function is not None and function.keeps_state


def _is_by_levels(call: Call) -> bool:
    inner = [part for part in walk(call) if isinstance(part, Call) and _learns(part)]
    names = {part.id for part in walk(call) if isinstance(part, Name)}
    return call.function in _BY_LEVELS and len(inner) == 1 and len(names) == 1


def _is_categorical(column: RawColumn) -> bool:
    return isinstance(column, Identifiers) or (isinstance(column, Factor) and not column.is_logical)


def _learn_transforms(reader: Reader, source: Source, first: Portion) -> None:
    """Fill the states of transforms, and the levels of columns that expressions read."""
    need = _Need()
    for node in reader.plan.nodes.values():
        need.add(node, first)
    for group in reader.groups:
        if group.column is None:
            need.add(reader.plan.groups[group.text], first)
    condition = reader.rows.condition(first.names)
    if condition is not None:
        need.add(condition, first)
    variables = reader.variables
    assert isinstance(variables.levels, dict)
    whole = _named(need.whole, first)
    by_value = _named(need.levels, first) | set(need.columns)
    if not whole and not by_value:
        return
    causes = [deparse(node) for node in (*need.whole, *need.levels)]
    learned = ", ".join(causes or sorted(by_value))
    source.check_rereadable(f"{learned} must be known from all rows before they are summed")
    raw, values = _read_columns(source, sorted(whole), sorted(by_value - whole))
    levels = {**raw, **values}
    variables.levels.update({n: c.levels for n, c in levels.items() if isinstance(c, Factor)})
    for call in need.levels:
        Evaluator(levels, variables.state, variables.source, variables.own).value(call)
    for node in need.whole:
        Evaluator(raw, variables.state, variables.source, variables.own).value(node)


def _named(nodes: Iterable[Node], table: Table) -> set[str]:
    return set(column_names(nodes, table))


@dataclass(frozen=True, eq=False)
class _LearnedColumns:
    """Columns in whole, by pieces, and the distinct values of others; parts add up."""

    pieces: Mapping[str, tuple[pd.Series[Any], ...]]
    met: Mapping[str, Values]

    @classmethod
    def of(cls, portion: Portion, whole: Sequence[str], by_value: Sequence[str]) -> _LearnedColumns:
        """Columns of a batch."""
        with placed(portion):
            return cls(
                {name: (portion.series(name),) for name in whole},
                {name: distinct(portion.series(name), name)[0] for name in by_value},
            )

    def __add__(self, other: _LearnedColumns) -> _LearnedColumns:
        return _LearnedColumns(
            {name: parts + other.pieces[name] for name, parts in self.pieces.items()},
            {name: values.union(other.met[name])[0] for name, values in self.met.items()},
        )


def _read_columns(
    source: Source, whole: list[str], by_value: list[str]
) -> tuple[dict[str, RawColumn], dict[str, RawColumn]]:
    """Columns in whole, and columns of the distinct values of others."""
    read = partial(_LearnedColumns.of, whole=whole, by_value=by_value)
    found = source.total([*whole, *by_value], read)
    raw = {name: read_column(_joined(name, parts), name) for name, parts in found.pieces.items()}
    return raw, {name: read_column(values.series(), name) for name, values in found.met.items()}


def _joined(name: str, parts: Sequence[pd.Series[Any]]) -> pd.Series[Any]:
    if not any(isinstance(part.dtype, pd.CategoricalDtype) for part in parts):
        return pd.concat(parts, ignore_index=True)
    try:
        return pd.Series(pd.api.types.union_categoricals(list(parts)))
    except (TypeError, ValueError) as error:
        raise DataError(f"the categories of {name!r} differ between batches: {error}") from error


# Levels of the rows used ---------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Levels:
    """Levels of a variable at rows used, and the combinations of values that make them.

    Attributes
    ----------
    factor : Factor
        The variable without rows, with the levels of the first batch.
    used : frozenset of str
        Levels at rows used.
    keys : Keys or None
        Combinations of the values of its columns; None where levels are the same in every batch.
    """

    factor: Factor
    used: frozenset[str]
    keys: Keys | None

    def __add__(self, other: _Levels) -> _Levels:
        keys = None
        if self.keys is not None and other.keys is not None:
            keys = self.keys.union(other.keys)[0]
        return _Levels(self.factor, self.used | other.used, keys)


@dataclass(frozen=True, eq=False)
class _Used:
    """Levels of several variables at n rows used; parts add up."""

    levels: Mapping[str, _Levels]
    n: int

    def __add__(self, other: _Used) -> _Used:
        levels = {text: own + other.levels[text] for text, own in self.levels.items()}
        return _Used(levels, self.n + other.n)


@dataclass(frozen=True, eq=False)
class _Look:
    """How levels are looked for.

    Attributes
    ----------
    reader : Reader
        Reads batches.
    columns : mapping of str to tuple of str
        Columns of each variable.
    groups : sequence of str
        Those of the variables that group.
    """

    reader: Reader
    columns: Mapping[str, tuple[str, ...]]
    groups: Sequence[str]

    def used(self, portion: Portion) -> _Used:
        """Levels of a batch."""
        with placed(portion):
            read = self.reader.read(portion)
            rows = read.choice.rows
            levels = {text: self._levels(text, portion, read, rows) for text in self.columns}
            return _Used(levels, len(rows))

    def _levels(self, text: str, portion: Portion, read: Read, rows: IntVector) -> _Levels:
        factor = _factor_of(text, read, text in self.groups)
        used = frozenset(factor.levels[code] for code in np.unique(factor.codes[rows]))
        node = self.reader.variables.nodes[text]
        if isinstance(node, Call) and node.function in _FIXED_LEVELS:
            return _Levels(take(factor, _NO_ROWS), used, None)
        columns = [distinct(portion.series(name), name) for name in self.columns[text]]
        complete = np.logical_and.reduce([codes >= 0 for _, codes in columns])
        keys, _ = Keys.of(columns, np.flatnonzero(complete))
        return _Levels(take(factor, _NO_ROWS), used, keys)

    def factor(self, text: str, found: _Levels) -> Factor:
        """A variable without rows, with the levels of the rows used in their order."""
        factor = found.factor
        if found.keys is not None:
            factor = self._evaluated(text, found.keys)
        if factor.is_logical:
            return take(factor, _NO_ROWS)
        ordered = tuple(level for level in factor.levels if level in found.used)
        return replace(factor, codes=_NO_ROWS, levels=ordered)

    def _evaluated(self, text: str, keys: Keys) -> Factor:
        """A variable at all combinations of its columns' values."""
        variables = self.reader.variables
        table = Table(_distinct_rows(self.columns[text], keys))
        assert isinstance(variables.levels, dict)
        for name in self.columns[text]:
            raw = table.column(name)
            if isinstance(raw, Factor):
                variables.levels.setdefault(name, raw.levels)
        if text in self.groups:
            return variables.groups_on(table, [text])[0]
        column = variables.on(table, [text])[0][text]
        assert isinstance(column, Factor)
        return column


def _distinct_rows(names: Sequence[str], keys: Keys) -> pd.DataFrame:
    columns = [part.series() for part in keys.parts]
    if keys.codes:
        columns = [c.iloc[codes] for c, codes in zip(columns, keys.codes, strict=True)]
    arrays = {name: column.array for name, column in zip(names, columns, strict=True)}
    return pd.DataFrame(arrays)


def _levels_used(
    reader: Reader,
    source: Source,
    columns: Sequence[str],
    pending: Sequence[str],
    made: Sequence[str],
) -> dict[str, Factor]:
    """Factors without rows, with the levels that rows used have."""
    nodes = reader.variables.nodes
    wanted = {text: column_names([nodes[text]], source.heading) for text in [*pending, *made]}
    look = _Look(reader, wanted, made)
    found = source.total(columns, look.used)
    if found.n == 0:
        raise DataError(f"0 (non-NA) cases: no row of {source.label} is selected and complete")
    return {text: look.factor(text, own) for text, own in found.levels.items()}


def _factor_of(text: str, read: Read, is_group: bool) -> Factor:
    if is_group:
        values, codes = read.groups[text]
        return Factor(codes, tuple(values.values.tolist()), is_logical=values.keeps_all)
    column = read.columns[text]
    if not isinstance(column, Factor):
        raise DataError(f"{text!r} holds numbers, but a factor in batches before")
    return column
