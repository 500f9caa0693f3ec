"""What marginal means are asked for, among the predictors that there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lmm.formula import Specs
from lmm.inference.marginal.combinations import Combinations, checked

OVERALL = "1"


@dataclass(frozen=True)
class Kept:
    """Predictors that are not averaged over.

    Attributes
    ----------
    names : tuple of str
        Those whose combinations get a mean.
    by : tuple of str
        Those whose combinations are shown apart.
    """

    names: tuple[str, ...]
    by: tuple[str, ...]

    @property
    def all(self) -> tuple[str, ...]:
        """All of them."""
        return (*self.names, *self.by)


def kept(
    specs: Specs, cells: Combinations, by: str | Sequence[str] | None, always: Sequence[str] = ()
) -> Kept:
    """What specs keep, nested predictors with what they are nested in.

    Parameters
    ----------
    specs : Specs
        Predictors and groups.
    cells : Combinations
        The predictors that there are.
    by : str or sequence of str, optional
        Groups instead of those of the specs.
    always : sequence of str
        Groups beside the others, unless they are asked for otherwise.

    Raises
    ------
    DataError
        A name is no predictor.
    """
    asked = specs.by if by is None else (by,) if isinstance(by, str) else tuple(by)
    asked = (*asked, *(name for name in always if name not in (*asked, *specs.predictors)))
    groups = _with_outer([checked(name, cells.names) for name in asked], cells)
    wanted = [name for name in specs.predictors if name in cells.names or name != OVERALL]
    names = _with_outer(
        [checked(name, cells.names) for name in wanted if name not in groups], cells
    )
    return Kept(tuple(name for name in names if name not in groups), groups)


def _with_outer(names: Sequence[str], cells: Combinations) -> tuple[str, ...]:
    """Names, nested ones first, each followed by what it is nested in."""
    nested = [name for name in names if name in cells.nesting]
    first = [one for name in nested for one in (name, *cells.nesting[name])]
    return tuple(dict.fromkeys([*first, *names]))
