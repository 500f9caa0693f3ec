"""What marginal means are asked for: ``pairwise ~ a | b``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lmm.errors import FormulaError
from lmm.formula.formula import check_text
from lmm.language.deparse import deparse
from lmm.language.parse import parse_tilde
from lmm.language.tree import Binary, Name, is_bar, variables


@dataclass(frozen=True, slots=True)
class Specs:
    """Predictors to average over the levels of others, and what is made of the averages.

    Attributes
    ----------
    contrast : str or None
        Family of contrasts, such as ``"pairwise"``.
    predictors : tuple of str
        Predictors whose levels the means are for.
    by : tuple of str
        Predictors within whose levels contrasts are made.
    """

    contrast: str | None
    predictors: tuple[str, ...]
    by: tuple[str, ...]


def parse_specs(specs: str | Sequence[str]) -> Specs:
    """Read ``"a"``, ``["a", "b"]``, ``"~ a | b"`` or ``"pairwise ~ a * b | c"``.

    Raises
    ------
    FormulaError
        When the text does not parse, or has more than one bar.

    Examples
    --------
    >>> parse_specs("pairwise ~ sex | `age group`")
    Specs(contrast='pairwise', predictors=('sex',), by=('age group',))
    """
    if not isinstance(specs, str):
        return Specs(None, tuple(specs), ())
    if "~" not in specs:
        return Specs(None, (specs,), ())
    left, right = parse_tilde(check_text(specs))
    contrast = None if left is None else left.id if isinstance(left, Name) else deparse(left)
    if not (isinstance(right, Binary) and is_bar(right)):
        return Specs(contrast, variables(right), ())
    if is_bar(right.left):
        raise FormulaError("Marginal means have one '|': join the groups by '+'.", specs, 0)
    return Specs(contrast, variables(right.left), variables(right.right))
