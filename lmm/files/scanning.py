"""Files of tables as one dataset that is read batch by batch."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from glob import glob, has_magic
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmm.errors import DataError
from lmm.files.reading import message, one_error

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.dataset as ds


_FORMATS = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".feather": "feather",
    ".arrow": "feather",
    ".orc": "orc",
    ".csv": "csv",
}


def open_files(paths: Sequence[str | Path]) -> ds.Dataset:
    """Files, folders and patterns as one dataset, of which only the columns' types are read.

    Raises
    ------
    DataError
        There is no such file, its format is unknown, or it cannot be read.
    ImportError
        pyarrow is not installed.
    """
    try:
        import pyarrow.dataset as ds
    except ImportError as error:
        raise ImportError("scan() needs pyarrow: pip install 'lmm[files]'.") from error
    found = _found(paths)
    source: Any = found[0] if len(found) == 1 else found
    kind = _format_of(found)
    with one_error(f"cannot read {found[0]!r}"):
        return ds.dataset(source, format=kind, partitioning="hive")


def read_dataset(
    dataset: ds.Dataset, columns: list[str], batch_rows: int
) -> Iterator[tuple[str, pa.RecordBatch]]:
    """Record batches of some columns, each with the name of its file.

    Raises
    ------
    DataError
        A file lacks a column, has it with another type than others, or cannot be opened.
    """
    for fragment, types in _checked_fragments(dataset, columns):
        origin = Path(_path_of(fragment)).name
        batches = _batches(fragment, _schema_of(dataset, fragment), columns, batch_rows)
        number = 0
        try:
            for batch in batches:
                yield origin, _cast(batch, types)
                number += 1
        except MemoryError:
            raise
        except Exception as error:  # a damaged file can make its reader raise anything
            text = _with_names(message(error), fragment.physical_schema.names)
            raise DataError(f"cannot read on after {number} batches of {origin}: {text}") from error


def _batches(
    fragment: Any, schema: pa.Schema, columns: list[str], batch_rows: int
) -> Iterator[pa.RecordBatch]:
    """Batches of one file; Parquet's would be read ahead to its end, unless group by group."""
    import pyarrow.dataset as ds

    is_parquet = fragment.format.default_extname == "parquet"
    for piece in fragment.split_by_row_group() if is_parquet else [fragment]:
        yield from piece.to_batches(
            schema=schema,
            columns=columns,
            batch_size=batch_rows,
            batch_readahead=1,
            fragment_readahead=1,
            fragment_scan_options=ds.ParquetFragmentScanOptions(pre_buffer=False)
            if is_parquet
            else None,
        )


def _with_names(text: str, names: Sequence[str]) -> str:
    """What a reader says, which numbers the columns of text files, with their names."""
    return re.sub(r"In CSV column #(\d+)", lambda found: f"in {names[int(found[1])]!r}", text)


def _schema_of(dataset: ds.Dataset, fragment: Any) -> pa.Schema:
    """Columns of one file, with those that its folder's name says."""
    schema = fragment.physical_schema
    for name in dataset.schema.names:
        if name not in schema.names:
            schema = schema.append(dataset.schema.field(name))
    return schema


def _checked_fragments(
    dataset: ds.Dataset, columns: Sequence[str]
) -> Iterator[tuple[Any, dict[str, pa.DataType]]]:
    """Files, and the types of the columns that suit all of them.

    Raises
    ------
    DataError
        A file lacks a column, or has it with another type.
    """
    fragments = list(dataset.get_fragments())
    types = {name: dataset.schema.field(name).type for name in columns}
    for fragment in fragments:
        own = _own_types(dataset, fragment)
        for name in columns:
            if name not in own:
                raise DataError(f"{_path_of(fragment)} has no column {name!r}, as other files have")
            if own[name] != types[name]:
                types[name] = _common_type(types[name], own[name], name, _path_of(fragment))
    for fragment in fragments:
        yield fragment, types


def _path_of(fragment: Any) -> str:
    return str(getattr(fragment, "path", "the dataset"))


def _own_types(dataset: ds.Dataset, fragment: Any) -> dict[str, pa.DataType]:
    import pyarrow.dataset as ds

    with one_error(f"cannot read {_path_of(fragment)}"):
        schema = fragment.physical_schema
    folders = ds.get_partition_keys(fragment.partition_expression)
    told = {name: dataset.schema.field(name).type for name in folders}
    return told | {description.name: description.type for description in schema}


def _common_type(known: pa.DataType, own: pa.DataType, name: str, path: str) -> pa.DataType:
    import pyarrow as pa

    schemas = [pa.schema([(name, known)]), pa.schema([(name, own)])]
    try:
        return pa.unify_schemas(schemas, promote_options="permissive").field(name).type
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        raise DataError(
            f"column {name!r} of {path} holds {own}, but {known} in files before it: write all "
            "files with the same types"
        ) from None


def _cast(batch: pa.RecordBatch, types: dict[str, pa.DataType]) -> pa.RecordBatch:
    import pyarrow as pa

    if all(column.type == types[name] for name, column in zip(types, batch.columns, strict=True)):
        return batch
    columns = [column.cast(types[name]) for name, column in zip(types, batch.columns, strict=True)]
    return pa.RecordBatch.from_arrays(columns, names=list(types))


def _found(given: Sequence[str | Path]) -> list[str]:
    """Files and folders that paths and patterns name."""
    found: list[str] = []
    for path in map(str, given):
        if "://" in path or Path(path).exists():
            found.append(path)
            continue
        files = sorted(glob(path, recursive=True)) if has_magic(path) else []
        if not files:
            kind = "file like" if has_magic(path) else "file or folder"
            raise DataError(f"there is no {kind} {path!r}")
        found += files
    if not found:
        raise DataError("no path is given to scan")
    return found


def _format_of(paths: Sequence[str]) -> str:
    """Format by the suffix of the first file."""
    first = Path(paths[0])
    if first.is_dir():
        inside = (path for path in sorted(first.rglob("*")) if path.suffix.lower() in _FORMATS)
        first = next(inside, first)
        if first.is_dir():
            raise DataError(f"the folder {paths[0]!r} has no files of {', '.join(_FORMATS)}")
    suffix = next((s.lower() for s in reversed(first.suffixes) if s.lower() in _FORMATS), None)
    if suffix is None:
        raise DataError(
            f"cannot scan {str(first)!r}: the suffix must be one of {', '.join(_FORMATS)}"
        )
    return _FORMATS[suffix]
