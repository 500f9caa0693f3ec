"""Sources whose parts are there already: tables in memory, and partitions on a cluster."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from lmm.design.source import Batched, Portion, Source
from lmm.design.table import Table


def source_of(data: Any) -> Source:
    """What is read batch by batch; a table in memory in portions.

    Raises
    ------
    DataError
        It is neither.
    """
    return Source.of(data) or TableSource.of_table(Table.of(data))


def _no_batches(columns: list[str]) -> Batched:
    yield from ()


@dataclass(frozen=True, eq=False)
class TableSource(Source):
    """A table in memory, in portions.

    Attributes
    ----------
    table : Table
        The table.
    """

    table: Table = field(default_factory=lambda: Table(pd.DataFrame()))

    is_part = True

    @classmethod
    def of_table(cls, table: Table, **options: Any) -> TableSource:
        """Source of a table."""
        return cls(table.label or "the table", table.names, _no_batches, table=table, **options)

    def _parts(self, columns: Sequence[str]) -> Iterator[Portion]:
        for start in range(0, max(self.table.n, 1), self.batch_rows):
            stop = min(start + self.batch_rows, self.table.n)
            place = f"rows {start} to {stop - 1}"
            yield Portion(self.table.native[start:stop], self.table.is_own, place, start)


@dataclass(frozen=True, eq=False)
class DaskSource(Source):
    """A Dask DataFrame: sums are made where its partitions are, and added there.

    Attributes
    ----------
    frame : dask.dataframe.DataFrame
        The data.
    """

    frame: Any = None
    is_spread = True

    @classmethod
    def of_frame(cls, frame: Any) -> DaskSource:
        """Source of a Dask DataFrame."""
        names = tuple(map(str, frame.columns))
        return cls("the Dask DataFrame", names, _no_batches, frame=frame)

    def _parts(self, columns: Sequence[str]) -> Iterator[Portion]:
        start = 0
        chosen = self.frame[list(columns)]
        for i in range(chosen.npartitions):
            portion = _portion(chosen.get_partition(i).compute(), i, start)
            start += portion.n
            if portion.n:
                yield portion

    def total(self, columns: Sequence[str], part: Callable[[Portion], Any]) -> Any:
        """The sum of what a function makes of each partition, on the workers, in a tree."""
        from dask.delayed import delayed

        self._check(columns)
        parts = [
            delayed(_of_partition)(own, i, part)
            for i, own in enumerate(self.frame[list(columns)].to_delayed())
        ]
        while len(parts) > 1:
            pairs = [parts[i : i + 2] for i in range(0, len(parts), 2)]
            parts = [delayed(operator.add)(*pair) if len(pair) == 2 else pair[0] for pair in pairs]
        return parts[0].compute()


def _portion(rows: Any, number: int, start: int) -> Portion:
    return Portion(Table.of(rows).native, True, f"partition {number}", start)


def _of_partition(rows: Any, number: int, part: Callable[[Portion], Any]) -> Any:
    return part(_portion(rows, number, 0))
