"""Several tables of estimates that were asked for together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lmm.report.document import Document
from lmm.report.printed import Printed


@dataclass(frozen=True, eq=False, repr=False)
class EmmeansList(Printed):
    """Tables of estimates by name, as ``emmeans(m, "pairwise ~ f")`` gives means and contrasts.

    What can be done with each can be done with all: ``confint() test() summary() response()``.
    Means are contrasted by ``pairs() contrast()``.

    Attributes
    ----------
    tables : mapping of str to Estimates
        The tables.
    """

    tables: Mapping[str, Any]

    def __getitem__(self, name: str | int) -> Any:
        return list(self.tables.values())[name] if isinstance(name, int) else self.tables[name]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.tables.values())

    def __len__(self) -> int:
        return len(self.tables)

    @property
    def emmeans(self) -> Any:
        """The first table: means, or slopes."""
        return self[0]

    @property
    def contrasts(self) -> Any:
        """The last table: contrasts of the means."""
        return self[-1]

    def _all(self, change: Callable[[Any], Any]) -> EmmeansList:
        return EmmeansList({name: change(table) for name, table in self.tables.items()})

    def confint(self, *args: Any, **kwargs: Any) -> EmmeansList:
        """All with confidence intervals: see `Estimates.confint`."""
        return self._all(lambda table: table.confint(*args, **kwargs))

    def test(self, *args: Any, **kwargs: Any) -> EmmeansList:
        """All with tests: see `Estimates.test`."""
        return self._all(lambda table: table.test(*args, **kwargs))

    def summary(self, *args: Any, **kwargs: Any) -> EmmeansList:
        """All with intervals and tests: see `Estimates.summary`."""
        return self._all(lambda table: table.summary(*args, **kwargs))

    def response(self, *args: Any, **kwargs: Any) -> EmmeansList:
        """All on the scale of the response: see `Estimates.response`."""
        return self._all(lambda table: table.response(*args, **kwargs))

    def pairs(self, *args: Any, **kwargs: Any) -> Any:
        """Pairwise differences of the first table: see `Estimates.pairs`."""
        return self.emmeans.pairs(*args, **kwargs)

    def contrast(self, *args: Any, **kwargs: Any) -> Any:
        """Contrasts of the first table: see `Estimates.contrast`."""
        return self.emmeans.contrast(*args, **kwargs)

    def to_frame(self) -> dict[str, Any]:
        """The tables as DataFrames, by name."""
        return {name: table.to_frame() for name, table in self.tables.items()}

    def plot(self, ax: Any = None, **kwargs: Any) -> Any:
        """The first table's plot: see `Estimates.plot`."""
        return self.emmeans.plot(ax, **kwargs)

    def document(self) -> Document:
        """All, one below the other."""
        parts = {name: table.document().blocks for name, table in self.tables.items()}
        return Document.of_elements(parts)
