"""What is known of the data's columns: their rows, or what was added up of these."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lmm._types import Vector
from lmm.design.absent import refuse
from lmm.design.column_summary import ColumnSummary, Described
from lmm.design.columns import Column, Factor, RawColumn, take
from lmm.design.fixed import FixedEffects
from lmm.design.matrices import ModelMatrices
from lmm.design.table import Table
from lmm.design.variables import column_names
from lmm.errors import DataError
from lmm.fitted import EstimatedModel
from lmm.language.tree import Node, variables


@dataclass(frozen=True, eq=False)
class KnownColumn:
    """One column of the data.

    Attributes
    ----------
    raw : RawColumn or None
        Its values at the rows, or at combinations of values that stand for rows; None for numbers
        of so many values that only moments are known.
    numbers : array or Described or None
        Numbers, for what reduces them.
    makers : mapping of Node to Factor
        Expressions of it that are factors of the model, and their values likewise.
    """

    raw: RawColumn | None
    numbers: Any
    makers: Mapping[Node, Factor]


@dataclass(frozen=True, eq=False)
class KnownColumns:
    """The data's columns that the fixed part reads.

    Attributes
    ----------
    columns : mapping of str to KnownColumn
        By name.
    offset : float
        Mean of the known parts.
    frequencies : (n,) array or None
        Rows of the data that each row stands for; one each by default.
    """

    columns: Mapping[str, KnownColumn]
    offset: float
    frequencies: Vector | None = None

    @classmethod
    def of(cls, source: EstimatedModel) -> KnownColumns:
        """Columns of a model's data.

        Raises
        ------
        DataError
            The model was put together from its parts.
        """
        matrices = source.fit.matrices
        if matrices.frame.summary is not None:
            return cls._of_summary(matrices, matrices.frame.summary)
        fixed, data = matrices.fixed, source.call.data
        nodes = [fixed.variables.nodes[text] for text in fixed.term_factors]
        if nodes and data is None:
            raise DataError(
                "the model was not fitted to a table: there is no data to make a grid of"
            )
        table = Table.of({} if data is None else data)
        columns = {}
        for name in column_names(nodes, table):
            raw = take(table.column(name), matrices.frame.rows)
            makers = _makers(name, fixed, matrices.frame.columns)
            columns[name] = KnownColumn(raw, raw, makers)
        return cls(columns, float(matrices.offset.mean()))

    @classmethod
    def _of_summary(cls, matrices: ModelMatrices, summary: ColumnSummary) -> KnownColumns:
        fixed, cells = matrices.fixed, summary.cells
        table = Table(cells.table())
        made = {
            text: column
            for text, column in _evaluated(fixed, table, cells.names).items()
            if isinstance(column, Factor)
        }
        columns = {}
        for name in summary.names:
            moments = summary.moments.get(name)
            if name not in cells.names and moments is None:
                refuse()
            columns[name] = KnownColumn(
                table.column(name) if name in cells.names else None,
                None if moments is None else Described.of(moments),
                _makers(name, fixed, {**matrices.frame.columns, **made}),
            )
        return cls(columns, summary.offset.mean, cells.counts)


def _evaluated(fixed: FixedEffects, table: Table, known: tuple[str, ...]) -> dict[str, Column]:
    """Variables of the fixed part that known columns make."""
    nodes = fixed.variables.nodes
    texts = [text for text in fixed.term_factors if set(variables(nodes[text])) <= set(known)]
    columns = fixed.variables.on(table, texts)[0]
    levels = fixed.levels
    return {
        text: column.recode(levels[text]) if isinstance(column, Factor) else column
        for text, column in columns.items()
    }


def _makers(name: str, fixed: FixedEffects, columns: Mapping[str, Column]) -> dict[Node, Factor]:
    """Expressions of a column that are factors of the model, and their values."""
    found = {}
    for text in fixed.term_factors:
        node, column = fixed.variables.nodes[text], columns[text]
        # what is true or false of a covariate leaves it one, as in emmeans
        if isinstance(column, Factor) and not column.is_logical and name in variables(node):
            found[node] = column
    return found
