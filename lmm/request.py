"""How a model was asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from lmm._types import Vector
from lmm.design.frame import column_names, row_numbers
from lmm.design.table import Table
from lmm.errors import DataError, nearest
from lmm.formula import Formula
from lmm.language import Name, parse_tilde, variables

if TYPE_CHECKING:
    from lmm.model.linear import LinearMixedModel


@dataclass(frozen=True)
class Call:
    """How the model was asked for: what a print shows, and what `update` starts from.

    Attributes
    ----------
    function : callable
        What was called: `lmm.lmer`.
    data : object
        The table as given.
    arguments : mapping of str to object
        Keyword arguments of `lmm.lmer` other than the formula, as given.
    response : (n,) array, optional
        What `refit` put in place of the data's response.
    """

    function: Callable[..., LinearMixedModel]
    data: Any
    arguments: dict[str, Any]
    response: Vector | None = None

    def again(self, formula: Formula, changes: dict[str, Any]) -> LinearMixedModel:
        """Call the function again, with another formula and changed arguments.

        Raises
        ------
        TypeError
            A changed argument does not exist.
        """
        known = ["data", "start", "verbose", *self.arguments]
        for name in changes:
            if name not in known:
                raise TypeError(f"lmer has no argument {name!r}.{nearest(name, known)}")
        return self.function(formula, **{"data": self.data, **self.arguments, **changes})

    @property
    def data_name(self) -> str | None:
        """Name of the table, where it has one (``data.attrs["name"]``)."""
        return getattr(self.data, "attrs", {}).get("name")

    def offset_for(self, newdata: Any) -> Vector | None:
        """The column of new data that was the fit's offset argument.

        Raises
        ------
        DataError
            The offset was given as an array, or the column is missing.
        """
        offset = self.arguments.get("offset")
        if offset is None:
            return None
        if not isinstance(offset, str):
            raise DataError(
                "the model was fitted with an array as offset, which says nothing about new rows: "
                "put it into the data, and name its column in offset= or in the formula"
            )
        return row_numbers(Table.of(newdata), offset, "offset")

    def text(self, argument: str) -> str | None:
        """An argument as a print shows it: a name or expression as typed, values in brief."""
        value = self.arguments.get(argument)
        if value is None or isinstance(value, str):
            return value
        return str(getattr(value, "name", None) or argument)


def refuse(*_: object, **__: object) -> NoReturn:
    """Say that there is nothing to repeat.

    Raises
    ------
    TypeError
        Always.
    """
    raise TypeError(
        "the model was put together from its parts: there are no data and no call of lmer to "
        "repeat. Build new matrices, or fit with lmer"
    )


NO_CALL = Call(refuse, None, {})
"""Of a model that was put together from its parts."""


def check_names(change: str, data: Any) -> None:
    """Refuse a change of a formula that names what the data do not have.

    R ignores the removal of a term that is not there, and so hides a misspelt name.
    """
    named = [node for node in parse_tilde(change) if node is not None]
    names = {Name(name) for node in named for name in variables(node) if name != "."}
    column_names(names, Table.of(data))
