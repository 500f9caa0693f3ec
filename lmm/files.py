"""Tables in files: what the command line reads and writes."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmm.datasets import DATASETS, dataset_names, load_dataset
from lmm.errors import DataError, nearest

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["almost_numbers", "check_output", "read_table", "write_table"]

# What R's type.convert takes for a number, NaN and infinities among it.
_NUMBER = re.compile(
    r"\s*[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|nan|inf|infinity)\s*", re.IGNORECASE
)
# Share of the fields from which a column of text is said to be one of numbers.
ALMOST = 0.8


def read_table(name: str) -> pd.DataFrame:
    """Read the table that the command line names.

    Parameters
    ----------
    name : str
        Path of a ``.csv``, ``.tsv`` or ``.parquet`` file (text files may be compressed, such as
        ``.csv.gz``), or the name of a shipped data set. Never an address: nothing is fetched.

    Returns
    -------
    pandas.DataFrame
        The table, which carries its name as ``attrs["name"]``. In text files only empty fields and
        ``NA`` are missing, so that a level called ``None`` or ``nan`` survives; ``NaN`` and ``inf``
        are numbers where all fields of the column are. Integers are exact, missing ones or not.

    Raises
    ------
    DataError
        If there is no such table or it cannot be read.
    """
    if name in DATASETS:
        return load_dataset(name)
    read = _READERS[_suffix(name, "read")]
    # An absolute path: pandas would fetch what looks like an address.
    path = Path(os.path.abspath(name))
    try:
        table = read(path)
    except MemoryError:
        raise
    except Exception as error:  # a damaged file can make its reader raise anything
        raise DataError(f"Cannot read {name!r}: {_message(error)}") from error
    table.attrs["name"] = Path(name).name
    return table


def _message(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def _suffix(name: str, verb: str) -> str:
    suffixes = [suffix.lower() for suffix in Path(name).suffixes]
    while suffixes and suffixes[-1] in _COMPRESSIONS:
        suffixes.pop()
    suffix = suffixes[-1] if suffixes else ""
    if suffix in _READERS:
        return suffix
    if not suffix and verb == "read":
        known = nearest(name, dataset_names())
        raise DataError(
            f"{name!r} is neither a .csv, .tsv or .parquet file nor a shipped data set.{known}"
        )
    raise DataError(f"Cannot {verb} {name!r}: the table must be a .csv, .tsv or .parquet file.")


def _read_csv(path: Path, separator: str = ",") -> pd.DataFrame:
    import pandas as pd

    table: pd.DataFrame = pd.read_csv(
        path,
        sep=separator,
        keep_default_na=False,
        na_values=["", "NA"],
        low_memory=False,  # in pieces, a column could be text in one and numbers in another
        dtype_backend="numpy_nullable",  # whole numbers stay exact beside missing ones
    )
    for name in table:
        if _is_text(table[name]) and not _strange(table[name]):
            table[name] = _converted(table[name])
    return table


def _converted(column: pd.Series[Any]) -> pd.Series[Any]:
    """Numbers of text; the text where they would lose digits, as identifiers do."""
    numbers = {field: float(field) for field in column.dropna().unique()}
    whole = (field for field in numbers if field.strip().lstrip("+-").isdigit())
    if any(int(field) != numbers[field] for field in whole):
        return column
    return column.map(numbers).astype(float)


def _is_text(column: pd.Series[Any]) -> bool:
    import pandas as pd

    return pd.api.types.infer_dtype(column, skipna=True) == "string"


def _strange(column: pd.Series[Any]) -> list[str]:
    """Different fields that are no numbers; all of them where none is a finite number."""
    fields = [str(field) for field in column.dropna().unique()]
    strange = [field for field in fields if not _NUMBER.fullmatch(field)]
    return strange if any(map(_is_finite, fields)) else fields


def _is_finite(field: str) -> bool:
    return _NUMBER.fullmatch(field) is not None and any(map(str.isdigit, field))


def almost_numbers(table: pd.DataFrame) -> dict[str, list[str]]:
    """Columns of text most of whose fields are numbers, with the first fields that are none."""
    found = {}
    for name in table:
        column = table[name]
        if not _is_text(column):
            continue
        strange = _strange(column)
        if strange and column.isin(strange).sum() <= (1.0 - ALMOST) * column.notna().sum():
            found[str(name)] = strange[:5]
    return found


def _read_parquet(path: Path) -> pd.DataFrame:
    import pandas as pd

    return pd.read_parquet(path)


def _write_csv(table: pd.DataFrame, path: Path, separator: str) -> None:
    table.to_csv(path, sep=separator, index=False)


_COMPRESSIONS = (".gz", ".bz2", ".xz", ".zip", ".zst")
_READERS: dict[str, Callable[[Path], pd.DataFrame]] = {
    ".csv": _read_csv,
    ".tsv": partial(_read_csv, separator="\t"),
    ".parquet": _read_parquet,
}
_WRITERS: dict[str, Callable[[pd.DataFrame, Path], None]] = {
    ".csv": partial(_write_csv, separator=","),
    ".tsv": partial(_write_csv, separator="\t"),
    ".parquet": lambda table, path: table.to_parquet(path, index=False),
}


def check_output(name: str, force: bool) -> None:
    """Refuse an output that cannot or must not be written, before anything is computed.

    Raises
    ------
    DataError
        The suffix is unknown, the folder does not exist, or the file does and `force` is false.
    """
    if name == "-":
        return
    _suffix(name, "write")
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
    check_output(name, force)
    path = Path(name)
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".lmm-") as folder:
            whole = Path(folder) / path.name
            _WRITERS[_suffix(name, "write")](table, whole)
            whole.replace(path)
    except (OSError, ImportError, ValueError) as error:
        raise DataError(f"Cannot write {name!r}: {_message(error)}") from error
