"""How a batch of a source becomes variables and rows, as a table in memory does at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from lmm._types import IntVector, cached_property
from lmm.design.build import Plan
from lmm.design.choice import (
    Choice,
    add_up,
    checked_action,
    choose_rows,
    row_numbers,
    selected_rows,
    used_columns,
)
from lmm.design.columns import Column, is_missing, numbers_of
from lmm.design.keys import Keys, Values, distinct
from lmm.design.table import Table
from lmm.design.variables import Variables
from lmm.errors import DataError
from lmm.language.parse import parse_condition
from lmm.language.tree import Call, Name, Node


@dataclass(frozen=True)
class RowArguments:
    """Which rows of a source count, and how much.

    Attributes
    ----------
    weights, offset : str or None
        Names of columns.
    subset : str or None
        A column's name, or a condition.
    na_action : str
        ``"omit"``, ``"exclude"`` (which is the same here) or ``"raise"``.

    Raises
    ------
    DataError
        An argument is an array, which has no place beside rows that come in batches.
    """

    weights: str | None = None
    offset: str | None = None
    subset: str | None = None
    na_action: str = "omit"

    def __post_init__(self) -> None:
        object.__setattr__(self, "na_action", checked_action(self.na_action))
        for name in ("weights", "offset", "subset"):
            value = getattr(self, name)
            if not isinstance(value, str | None):
                also = ", or write a condition such as 'x > 2'" if name == "subset" else ""
                raise DataError(
                    f"{name} is given as {type(value).__name__}, but the data are read batch by "
                    f"batch: put it into the source, and name its column{also}"
                )

    @property
    def names(self) -> list[str]:
        """Columns that they name."""
        return [name for name in (self.weights, self.offset) if name is not None]

    def condition(self, names: tuple[str, ...]) -> Node | None:
        """The subset as an expression of columns."""
        if self.subset is None:
            return None
        return Name(self.subset) if self.subset in names else parse_condition(self.subset)


@dataclass(frozen=True, eq=False)
class GroupVariable:
    """A variable that groups.

    Attributes
    ----------
    text : str
        The variable as the formula writes it.
    column : str or None
        The column whose values are its levels; None for other expressions.
    is_made : bool
        Whether ``factor()`` makes it, which drops a truth value that does not occur.
    levels : tuple of str or None
        Levels of an expression in order, once they are known.
    """

    text: str
    column: str | None
    is_made: bool = False
    levels: tuple[str, ...] | None = None

    @classmethod
    def of(cls, text: str, node: Node) -> GroupVariable:
        """Variable of an expression."""
        match node:
            case Name():
                return cls(text, node.id)
            case Call(function="factor" | "as.factor", arguments=((None, Name() as name),)):
                return cls(text, name.id, is_made=node.function == "factor")
            case _:
                return cls(text, None)

    def read(self, table: Table, variables: Variables) -> tuple[Values, IntVector]:
        """Its values in a batch, and the place of each row's (n,), -1 where missing."""
        if self.column is not None:
            values, codes = distinct(table.series(self.column), self.text)
            return (replace(values, keeps_all=False) if self.is_made else values), codes
        (factor,) = variables.groups_on(table, [self.text])
        if self.levels is not None:
            factor = factor.recode(self.levels)
        return Values.of_factor(self.text, factor), factor.codes


@dataclass(frozen=True, eq=False)
class Read:
    """A batch as the formula reads it.

    Attributes
    ----------
    columns : mapping of str to Column
        The formula's variables, at all rows of the batch.
    groups : mapping of str to (Values, (N,) int array)
        The variables that group, likewise.
    choice : Choice
        The rows used.
    n_selected : int
        Number of rows that the subset selects.
    """

    columns: Mapping[str, Column]
    groups: Mapping[str, tuple[Values, IntVector]]
    choice: Choice
    n_selected: int

    def keys(self, texts: tuple[str, ...]) -> tuple[Keys, IntVector]:
        """Levels of a grouping factor at the rows used, and each row's (n,)."""
        return Keys.of([self.groups[text] for text in texts], self.choice.rows)


@dataclass(frozen=True, eq=False)
class Reader:
    """Reads batches by a formula's variables.

    Attributes
    ----------
    plan : Plan
        What the formula asks for.
    variables : Variables
        Its variables, with what they learned from the data.
    groups : tuple of GroupVariable
        Those that group.
    rows : RowArguments
        Which rows count.
    """

    plan: Plan
    variables: Variables
    groups: tuple[GroupVariable, ...]
    rows: RowArguments

    def columns_of(self, heading: Table) -> list[str]:
        """Columns that are read."""
        return used_columns(self.variables, heading, self.rows.names, self.rows.subset)

    @property
    def response(self) -> str:
        """The response as a variable."""
        assert self.plan.response is not None
        return self.plan.response

    @cached_property
    def _texts(self) -> tuple[str, ...]:
        return tuple(self.plan.nodes)

    def read(self, table: Table) -> Read:
        """Variables of a batch, and its rows used.

        Raises
        ------
        DataError
            The content does not suit the formula or its arguments.
        """
        columns, _ = self.variables.on(table, self._texts)
        groups = {group.text: group.read(table, self.variables) for group in self.groups}
        missing = {text: is_missing(column) for text, column in columns.items()}
        missing |= {text: codes < 0 for text, (_, codes) in groups.items()}
        known = [numbers_of(columns[text], f"offset({text})") for text in self.plan.offsets]
        selected = selected_rows(table, self.rows.subset, self.variables.state)
        choice = choose_rows(
            table,
            selected,
            missing,
            row_numbers(table, self.rows.weights, "weights"),
            add_up(known, row_numbers(table, self.rows.offset, "offset")),
            self.rows.na_action,
        )
        return Read(columns, groups, choice, len(selected))
