"""Contrasts that a user asks for, by factor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain

from lmm.design.columns import Column, Factor
from lmm.design.evaluate import contrasts_of_text
from lmm.design.layout import Predictor
from lmm.errors import ContrastsWarning, DataError, FormulaError, LmmWarning, nearest
from lmm.language.deparse import deparse
from lmm.language.parse import parse_expression
from lmm.language.tree import Name, Node, variables


def choose_contrasts(
    contrasts: Mapping[str, object],
    predictor: Predictor,
    columns: Mapping[str, Column],
    names: Sequence[str],
) -> tuple[dict[str, object], tuple[LmmWarning, ...]]:
    """Contrasts by variable, and notes about those of factors that the predictor does not have.

    As in R, contrasts of a column that the formula does not use are ignored with a warning, so
    that a term can be dropped.

    Parameters
    ----------
    contrasts : mapping of str to object
        What was asked for, by the factor's name with or without back-ticks.
    predictor : Predictor
        The terms.
    columns : mapping of str to Column
        The variables.
    names : sequence of str
        Columns of the data.

    Raises
    ------
    DataError
        If contrasts are asked for what is neither a factor of the predictor nor a column.
    """
    known = [v for v in predictor.variables if isinstance(columns[v], Factor)]
    chosen: dict[str, object] = {}
    notes: list[LmmWarning] = []
    for name, value in contrasts.items():
        node = Name(name) if name in names else _expression(name)
        variable = deparse(node) if node is not None else name
        if variable in known:
            chosen[variable] = contrasts_of_text(value) if isinstance(value, str) else value
        elif variable not in predictor.variables and node is not None and _is_of(node, names):
            text = f"variable {name!r} is absent, its contrast will be ignored"
            notes.append(ContrastsWarning(text))
        else:
            hint = nearest(name, known) if known else " It has none."
            raise DataError(
                f"contrasts are given for {name!r}, which is not a factor of the fixed part.{hint}"
            )
    return chosen, tuple(notes)


def contrast_columns(contrasts: Mapping[str, object] | None) -> list[str]:
    """Columns that contrasts may name, those that the formula does not use among them."""
    nodes = [_expression(name) for name in contrasts or ()]
    used = [variables(node) for node in nodes if node is not None]
    return [*(contrasts or ()), *chain.from_iterable(used)]


def _expression(text: str) -> Node | None:
    """Expression that a text is, if it is one."""
    try:
        return parse_expression(text)
    except FormulaError:
        return None


def _is_of(node: Node, names: Sequence[str]) -> bool:
    """Whether an expression is one of columns."""
    used = set(variables(node))
    return bool(used) and used <= set(names)
