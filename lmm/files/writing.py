"""Files that are written whole or not at all, and never over others unless that is asked for."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from lmm.errors import DataError
from lmm.files.reading import message, suffix_of

if TYPE_CHECKING:
    import pandas as pd


_WRITERS: dict[str, Callable[[pd.DataFrame, Path], None]] = {
    ".csv": lambda table, path: table.to_csv(path, index=False),
    ".tsv": lambda table, path: table.to_csv(path, sep="\t", index=False),
    ".parquet": lambda table, path: table.to_parquet(path, index=False),
}


def _suffix(name: str) -> str:
    suffix = suffix_of(name)
    if suffix in _WRITERS:
        return suffix
    raise DataError(f"Cannot write {name!r}: the table must be a .csv, .tsv or .parquet file.")


def check_output(name: str, force: bool) -> None:
    """Refuse a table that cannot or must not be written, before anything is computed.

    Raises
    ------
    DataError
        The suffix is unknown, the folder does not exist, or the file does and `force` is false.
    """
    if name == "-":
        return
    _suffix(name)
    check_place(name, force)


def check_place(name: str, force: bool) -> None:
    """Refuse a file in no folder, or one that exists unless `force` is true.

    Raises
    ------
    DataError
        It is so.
    """
    if name == "-":
        raise DataError("Cannot write this to standard output: name a file.")
    path = Path(name)
    if not path.parent.is_dir():
        raise DataError(f"Cannot write {name!r}: there is no folder {str(path.parent)!r}.")
    if path.is_dir():
        raise DataError(f"Cannot write {name!r}: it is a folder.")
    if os.path.lexists(path) and not force:
        raise DataError(f"{name!r} exists: choose another name, or --force replaces it.")


def write_table(table: pd.DataFrame, name: str, force: bool) -> None:
    """Write a table in the format of the file's suffix: whole, or not at all.

    Raises
    ------
    DataError
        As `check_output`, or the file cannot be written.
    """
    write = _WRITERS[_suffix(name)]
    write_whole(name, force, lambda path: write(table, path))


def write_whole(name: str, force: bool, write: Callable[[Path], None]) -> None:
    """Have a file written whole, or not at all.

    Raises
    ------
    DataError
        As `check_place`, or the file cannot be written.
    """
    check_place(name, force)
    try:
        put_whole(Path(name), write)
    except (OSError, ImportError, ValueError) as error:
        raise DataError(f"Cannot write {name!r}: {message(error)}") from error


def put_whole(path: Path, write: Callable[[Path], None]) -> None:
    """Have a file written beside its place and put there, with the permissions of a former one."""
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".lmm-") as folder:
        whole = Path(folder) / path.name
        write(whole)
        if path.exists():
            whole.chmod(path.stat().st_mode & 0o777)
        whole.replace(path)
