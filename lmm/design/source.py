"""Tables that are read batch by batch: files, Arrow streams, relations and queries."""

from __future__ import annotations

import operator
import pickle
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial, reduce
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import pandas as pd

from lmm._progress import progress_bar
from lmm._types import cached_property
from lmm.design.table import Table
from lmm.errors import DataError, nearest
from lmm.files.arrow import frame_of_batch
from lmm.files.reading import one_error
from lmm.files.scanning import open_files, read_dataset

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.dataset as ds


BATCH_ROWS = 1 << 19
"""Rows of a batch: many enough for fast array arithmetic, few enough to stay small."""

Batched: TypeAlias = "Iterator[tuple[str, pa.RecordBatch]]"
"""Record batches, each with the name of what it comes from."""


@dataclass(frozen=True, eq=False)
class Portion(Table):
    """A batch of a source: a table that knows where it stands.

    Attributes
    ----------
    place : str
        How messages call it.
    start : int
        Number of the source's rows before it.
    """

    place: str = "the data"
    start: int = 0


@contextmanager
def placed(table: Table) -> Iterator[None]:
    """Name the batch in errors about its content."""
    try:
        yield
    except DataError as error:
        if isinstance(table, Portion):
            raise DataError(f"{table.place}: {error}") from error
        raise


@dataclass(frozen=True, eq=False)
class Source:
    """A table that is read batch by batch, and never held in whole.

    Made by `scan`, or by `of` from what other libraries read in batches.

    Attributes
    ----------
    label : str
        How messages call it.
    names : tuple of str
        Its columns.
    read : callable
        Record batches of some columns, from the first row on.
    is_rereadable : bool
        Whether it can be read more than once.
    batch_rows : int
        Rows of a batch: larger ones are cut, smaller ones joined.
    count : callable, optional
        Number of rows, of what may as well be read in whole.
    progress : bool, optional
        Whether to show a bar of rows read; by default in a terminal or a notebook when reading
        takes more than two seconds.
    """

    label: str
    names: tuple[str, ...]
    read: Callable[[list[str]], Batched]
    is_rereadable: bool = True
    batch_rows: int = BATCH_ROWS
    count: Callable[[], int] | None = None
    progress: bool | None = None
    _taken: list[bool] = field(default_factory=list, repr=False)
    _held: list[tuple[tuple[str, ...], Iterator[Portion]]] = field(default_factory=list, repr=False)

    #: Whether its parts are on other machines, where `total` adds them.
    is_spread: ClassVar[bool] = False
    #: Whether it may be one part of many, and have no rows.
    is_part: ClassVar[bool] = False

    @classmethod
    def of(cls, data: Any) -> Source | None:
        """Source of data that are read batch by batch; None for tables in memory.

        Parameters
        ----------
        data : object
            A `Source`; a pyarrow Dataset or RecordBatchReader; a DuckDB relation; a polars
            LazyFrame; a Dask DataFrame; anything else with ``__arrow_c_stream__`` that is no
            table in memory.
        """
        if isinstance(data, Source):
            return data
        import narwhals.stable.v2 as narwhals

        if narwhals.dependencies.is_polars_lazyframe(data):
            return _of_lazyframe(data)
        if type(data).__name__ == "DuckDBPyRelation":
            return _of_relation(data)
        if narwhals.dependencies.is_dask_dataframe(data):
            from lmm.design.partitions import DaskSource

            return DaskSource.of_frame(data)
        if type(data).__module__.startswith("pyarrow."):
            return _of_pyarrow(data)
        if not hasattr(data, "__arrow_c_stream__"):
            return None
        if isinstance(
            narwhals.from_native(data, eager_only=True, pass_through=True), narwhals.DataFrame
        ):
            return None
        import pyarrow as pa

        return _of_reader(pa.RecordBatchReader.from_stream(data), type(data).__name__)

    @property
    def n_rows(self) -> float:
        """Number of rows of a query; infinite for what is not to be read in whole."""
        if self.count is None:
            return float("inf")
        with one_error(f"cannot read {self.label}"):
            return self.count()

    def __getstate__(self) -> dict[str, Any]:
        # what was begun to be read stays here, and what is no file
        state = {**vars(self), "_held": []}
        if not _travels((self.read, self.count)):
            state |= {"read": partial(_left_behind, self.label), "count": None}
        return state

    def __deepcopy__(self, memo: dict[int, Any]) -> Source:
        return self

    @cached_property
    def heading(self) -> Table:
        """A table of the same columns without rows."""
        return Table(pd.DataFrame(columns=list(self.names)))

    def batches(self, columns: Sequence[str]) -> Iterator[Portion]:
        """Read some columns, batch by batch.

        Parameters
        ----------
        columns : sequence of str
            Names of columns.

        Raises
        ------
        DataError
            A column is missing, the content cannot be read, there are no rows, or the source can
            be read once only and has been.
        """
        if self._held and self._held[0][0] == tuple(columns):
            return self._held.pop()[1]
        self._check(columns)
        self._take()
        return self._portions(columns)

    def _check(self, columns: Sequence[str]) -> None:
        for name in columns:
            if name not in self.names:
                hint = nearest(name, self.names)
                raise DataError(f"{self.label} has no column {name!r}.{hint}")

    def first(self, columns: Sequence[str]) -> Portion:
        """The first batch of some columns, with which reading the same columns begins later."""
        batches = self.batches(columns)
        portion = next(batches)
        self._held[:] = [(tuple(columns), chain([portion], batches))]
        return portion

    def _portions(self, columns: Sequence[str]) -> Iterator[Portion]:
        start = 0
        with progress_bar(None, " rows", self.progress) as bar:
            for portion in self._parts(columns):
                yield portion
                bar.update(portion.n)
                start = portion.start + portion.n
        if start == 0 and not self.is_part:
            raise DataError(f"{self.label} has no rows")

    def _parts(self, columns: Sequence[str]) -> Iterator[Portion]:
        start = 0
        pieces = _resized(self._read(list(columns)), self.batch_rows)
        for number, (origin, batch) in enumerate(pieces, start=1):
            place = f"batch {number} of {origin}"
            yield Portion(frame_of_batch(batch, place), True, place, start)
            start += batch.num_rows

    def total(self, columns: Sequence[str], part: Callable[[Portion], Any]) -> Any:
        """The sum of what a function makes of each batch, which must be additive.

        Parameters
        ----------
        columns : sequence of str
            Columns that it reads.
        part : callable
            From a batch to what has ``+``, and may have a ``size``, what adding costs.

        Raises
        ------
        DataError
            As for `batches`.
        """
        return reduce(operator.add, map(part, self.batches(columns)))

    def _take(self) -> None:
        if self.is_rereadable:
            return
        if self._taken:
            raise DataError(
                f"{self.label} can be read once only, and has been read: write it to a file, and "
                "give lmm.scan() its path; or give lmm.scan() a function that opens it anew"
            )
        self._taken.append(True)

    def check_rereadable(self, why: str) -> None:
        """Refuse a source that can be read once only.

        Raises
        ------
        DataError
            It is one.
        """
        if not self.is_rereadable:
            raise DataError(
                f"{self.label} can be read once only, but {why}: write it to a file, and give "
                "lmm.scan() its path; or give lmm.scan() a function that opens it anew"
            )

    def _read(self, columns: list[str]) -> Batched:
        """Batches that have rows; what the reader raises becomes one error."""
        number, origin = 0, self.label
        batches = None
        while True:
            with one_error(f"cannot read on after {number} batches of {origin}"):
                batches = self.read(columns) if batches is None else batches
                found = next(batches, None)
            if found is None:
                return
            origin, batch = found
            number += 1
            if batch.num_rows:
                yield origin, batch


def _travels(value: object) -> bool:
    """Whether a value can be pickled."""
    try:
        pickle.dumps(value)
    except Exception:  # an object's own pickling raises anything
        return False
    return True


def _left_behind(label: str, columns: list[str]) -> Batched:
    raise DataError(f"{label} stayed behind when this was pickled: name the source to read")


def _resized(batches: Batched, rows: int) -> Batched:
    """Batches of at most `rows` rows; small ones of one origin are joined."""
    held: list[pa.RecordBatch] = []
    origin = ""
    for new_origin, batch in batches:
        if held and (new_origin != origin or _n_rows(held) + batch.num_rows > rows):
            yield origin, _joined(held)
            held = []
        origin = new_origin
        for start in range(0, batch.num_rows, rows):
            piece = batch.slice(start, rows)
            if piece.num_rows == rows:
                yield origin, piece
            else:
                held.append(piece)
    if held:
        yield origin, _joined(held)


def _n_rows(batches: Iterable[pa.RecordBatch]) -> int:
    return sum(batch.num_rows for batch in batches)


def _joined(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    import pyarrow as pa

    if len(batches) == 1:
        return batches[0]
    table = pa.Table.from_batches(batches).unify_dictionaries().combine_chunks()
    (joined,) = table.to_batches()
    return joined


# Kinds of sources --------------------------------------------------------------------------------


def _of_lazyframe(query: Any) -> Source:
    import narwhals.stable.v2 as narwhals

    def read(columns: list[str]) -> Batched:
        for frame in _frames(query.select(columns)):
            # A stream would have texts as views, which older pyarrow does not read.
            for batch in frame.to_arrow().to_batches():
                yield label, batch

    def count() -> int:
        return int(narwhals.from_native(query).select(narwhals.len()).collect().item())

    label = "the polars query"
    with one_error(f"cannot read {label}"):
        names = tuple(query.collect_schema().names())
    return Source(label, names, read, count=count)


def _frames(query: Any) -> Iterator[Any]:
    """Batches of a query's result; polars before 1.34 holds it in whole."""
    if hasattr(query, "collect_batches"):
        yield from query.collect_batches(chunk_size=BATCH_ROWS)
    else:
        yield from query.collect().iter_slices(BATCH_ROWS)


def _of_relation(relation: Any) -> Source:
    def read(columns: list[str]) -> Batched:
        quoted = ", ".join('"' + name.replace('"', '""') + '"' for name in columns)
        projected = relation.project(quoted)
        open_ = getattr(projected, "to_arrow_reader", None) or projected.fetch_arrow_reader
        for batch in open_(BATCH_ROWS):
            yield label, batch

    label = "the DuckDB relation"

    def count() -> int:
        return int(relation.count("*").fetchall()[0][0])

    return Source(label, tuple(relation.columns), read, count=count)


def _of_pyarrow(data: Any) -> Source | None:
    import pyarrow as pa
    import pyarrow.dataset as ds

    if isinstance(data, ds.Dataset):
        return _of_dataset(data, "the dataset")
    if isinstance(data, pa.RecordBatchReader):
        return _of_reader(data, "RecordBatchReader")
    return None


def _of_reader(reader: pa.RecordBatchReader, kind: str) -> Source:
    label = f"the {kind}"

    def read(columns: list[str]) -> Batched:
        for batch in reader:
            yield label, batch.select(columns)

    return Source(label, tuple(reader.schema.names), read, is_rereadable=False)


def _of_function(open_: Callable[[], Any]) -> Source:
    """Source of a function that opens the same stream each time."""
    first = _opened(open_)
    return Source(first.label, first.names, partial(_read_anew, open_))


def _read_anew(open_: Callable[[], Any], columns: list[str]) -> Batched:
    return _opened(open_).read(columns)


def _opened(open_: Callable[[], Any]) -> Source:
    import pyarrow as pa

    stream = open_()
    source = Source.of(stream)
    if source is None and hasattr(stream, "__arrow_c_stream__"):
        source = _of_reader(pa.RecordBatchReader.from_stream(stream), type(stream).__name__)
    if source is None:
        raise DataError(
            "a function that opens a stream must return what has __arrow_c_stream__, such as a "
            f"pyarrow RecordBatchReader, not {type(stream).__name__}"
        )
    return source


def _of_dataset(dataset: ds.Dataset, label: str) -> Source:
    read = partial(read_dataset, dataset, batch_rows=BATCH_ROWS)
    return Source(label, tuple(dataset.schema.names), read)


def scan(
    data: Any,
    *,
    batch_rows: int = BATCH_ROWS,
    progress: bool | None = None,
) -> Source:
    """Open tables that are larger than memory, to be read batch by batch.

    Nothing is read but names and types of columns. A fit reads the columns of its formula only.

    Parameters
    ----------
    data : path, pattern, list of paths, callable, or stream
        A file of the formats Parquet, Arrow (Feather), ORC or CSV; a folder of them, also one
        that is partitioned in Hive's way (``year=2024/...``); a pattern such as
        ``"ratings/*.parquet"``; several paths; a function without arguments that opens an Arrow
        stream anew each time; or what `lmer` takes as well: a pyarrow Dataset or
        RecordBatchReader, a DuckDB relation, a polars LazyFrame, a Dask DataFrame.
    batch_rows : int
        Rows of a batch.
    progress : bool, optional
        Whether to show a bar of rows read; by default in a terminal or a notebook when reading
        takes more than two seconds.

    Returns
    -------
    Source

    Raises
    ------
    DataError
        There is no such file, it cannot be read, or `data` is nothing of that kind.
    ImportError
        pyarrow is not installed.

    Examples
    --------
    >>> import lmm, pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "sleepstudy.parquet"
    ...     lmm.load_dataset("sleepstudy").to_parquet(path)
    ...     scan(path).names
    ('Reaction', 'Days', 'Subject')
    """
    if batch_rows < 1:
        raise ValueError(f"batch_rows must be positive, not {batch_rows}.")
    source = _of_function(data) if callable(data) else _of_paths(data) or Source.of(data)
    if source is None:
        raise DataError(
            "there is nothing to scan: give paths, a function that opens a stream, or a stream or "
            f"query, not {type(data).__name__}; tables in memory go to lmm.lmer itself"
        )
    return replace(source, batch_rows=batch_rows, progress=progress, count=None)


def _of_paths(data: Any) -> Source | None:
    """Source of files; None of what names none."""
    if isinstance(data, str | Path):
        return _of_dataset(open_files([data]), str(data))
    if not isinstance(data, list | tuple | set) or not all(
        isinstance(path, str | Path) for path in data
    ):
        return None
    paths = list(data)
    return _of_dataset(open_files(paths), str(paths[0]) if len(paths) == 1 else "the files")
