"""R's operators in one table: how tightly they bind, how they are written, how they join terms."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

Sets: TypeAlias = dict[frozenset[int], None]
"""Terms as sets of variables, which are numbered in order of appearance; an ordered set."""

Cross: TypeAlias = Callable[[Sets, Sets], Sets]


@dataclass(frozen=True)
class Operator:
    """A binary operator.

    Attributes
    ----------
    level : int
        Binding strength: help("Syntax") in R, from loosest to tightest.
    is_tight : bool
        Whether R writes it without blanks.
    is_right : bool
        Whether it groups from the right.
    terms : callable or None
        Terms that two sums of terms make: a function of how terms are crossed, and of the sums.
        None where that depends on more than the two (``+ - ^``) or has no meaning.
    is_nesting : bool
        Whether it nests grouping factors, which are then listed from the finest.
    """

    level: int
    is_tight: bool = False
    is_right: bool = False
    terms: Callable[[Cross, Sets, Sets], Sets] | None = None
    is_nesting: bool = False


def _whole(sets: Sets) -> Sets:
    """One term of all the variables."""
    return {frozenset().union(*sets): None}


COMPARISONS = frozenset({"<", ">", "<=", ">=", "==", "!="})

OPERATORS: Mapping[str, Operator] = {
    "|": Operator(1),
    "||": Operator(1),
    "&": Operator(2),
    "&&": Operator(2),
    **dict.fromkeys(COMPARISONS, Operator(4)),
    "+": Operator(5),
    "-": Operator(5),
    "*": Operator(6, terms=lambda cross, a, b: a | b | cross(a, b)),
    "/": Operator(
        6, is_tight=True, terms=lambda cross, a, b: a | cross(_whole(a), b), is_nesting=True
    ),
    "%in%": Operator(7, terms=lambda cross, a, b: cross(a, _whole(b))),
    "%%": Operator(7, is_tight=True),
    "%/%": Operator(7, is_tight=True),
    ":": Operator(8, is_tight=True, terms=lambda cross, a, b: cross(a, b)),
    "^": Operator(10, is_tight=True, is_right=True),
}
"""Binary operators but ``~``, which a formula has once."""

PREFIXES: Mapping[str, int] = {"!": 3, "-": 9, "+": 9}
"""Binding strength of the operators before an operand."""


def level(operator: str) -> int:
    """Binding strength of a binary operator; 0 for anything else."""
    if operator in OPERATORS:
        return OPERATORS[operator].level
    return OPERATORS["%in%"].level if operator.startswith("%") else 0
