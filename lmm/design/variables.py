"""The variables of a formula: the columns they need, and their recipe for new data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from lmm.design.columns import (
    Column,
    Factor,
    RawColumn,
)
from lmm.design.evaluate import Evaluator
from lmm.design.functions import NAMED_CONSTANTS
from lmm.design.functions.own import Own
from lmm.design.functions.values import State
from lmm.design.matrix_columns import parts_of
from lmm.design.table import Table
from lmm.errors import DataError, nearest
from lmm.language.tree import Node, variables


@dataclass(frozen=True, eq=False)
class Variables:
    """The variables of a formula with what they learned from the data: ready for new data.

    Attributes
    ----------
    nodes : mapping of str to Node
        Expression of each variable, by its text.
    state : dict
        Coefficients of the data-dependent transforms.
    levels : mapping of str to tuple of str
        Levels of the data's factors, by column.
    source : str
        The formula's text, for messages.
    own : mapping of str to Own
        The caller's functions.
    """

    nodes: Mapping[str, Node]
    state: State
    levels: Mapping[str, tuple[str, ...]]
    source: str
    own: Mapping[str, Own] = field(default_factory=dict)

    def on(self, data: Any, texts: Iterable[str]) -> tuple[dict[str, Column], int]:
        """Evaluate variables on new data.

        Parameters
        ----------
        data : table
            New data with the columns that the variables use.
        texts : iterable of str
            Which variables.

        Returns
        -------
        columns : dict of str to Column
            Their values; missing ones stay missing.
        n : int
            Number of rows.

        Raises
        ------
        DataError
            If a column is missing from the data.
        """
        table = Table.of(data)
        nodes = {text: self.nodes[text] for text in texts}
        evaluator = self._evaluator(table, nodes)
        return {text: evaluator.column(node) for text, node in nodes.items()}, table.n

    def groups_on(self, data: Any, texts: Iterable[str]) -> list[Factor]:
        """Evaluate grouping factors on new data; as for `on`."""
        nodes = {text: self.nodes[text] for text in texts}
        evaluator = self._evaluator(Table.of(data), nodes)
        return [evaluator.grouping(node) for node in nodes.values()]

    def columns_of(self, text: str) -> tuple[str, ...]:
        """Names in a variable's expression; of a matrix, those of its columns in the data."""
        names = variables(self.nodes[text])
        parts = (self.state.get(name, {}).get("columns", (name,)) for name in names)
        return tuple(chain.from_iterable(parts))

    def _evaluator(self, table: Table, nodes: Mapping[str, Node]) -> Evaluator:
        columns = {
            name: self._with_known_levels(name, table.column(name))
            for name in column_names(nodes.values(), table)
        }
        return Evaluator(columns, self.state, self.source, self.own)

    def _with_known_levels(self, name: str, column: RawColumn) -> RawColumn:
        """Number the levels of a factor as the original data do; new levels come last."""
        known = self.levels.get(name)
        if known is None or not isinstance(column, Factor) or column.levels == known:
            return column
        return column.recode(tuple(dict.fromkeys((*known, *column.levels))))


def column_names(nodes: Iterable[Node], table: Table, what: str = "the formula") -> tuple[str, ...]:
    """Columns that expressions read: their names, less constants such as ``pi``.

    Those of a matrix are its columns.

    Parameters
    ----------
    nodes : iterable of Node
        The expressions.
    table : Table
        The data.
    what : str
        Where the expressions stand, for the message.

    Raises
    ------
    DataError
        If a name is neither a column nor a constant.
    """
    found = dict.fromkeys(name for node in nodes for name in variables(node))
    known = table.native.columns
    names: list[str] = []
    unknown: list[str] = []
    for name in found:
        if name in known:
            names.append(name)
        elif parts := parts_of(name, table.names):
            names += parts
        elif name not in NAMED_CONSTANTS:
            unknown.append(name)
    if unknown:
        raise DataError(
            f"{what} uses {', '.join(map(repr, unknown))}, but the data have no such "
            f"column.{nearest(unknown[0], table.names)}"
        )
    return tuple(dict.fromkeys(names))
