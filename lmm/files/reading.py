"""Tables by the name of their file: formats by suffix, or by the first bytes of a stream."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmm.datasets import DATASETS, dataset_names, load_dataset
from lmm.errors import DataError, nearest
from lmm.files.text import Reading, Source, opened, read_text, with_numbers

if TYPE_CHECKING:
    import pandas as pd


COMPRESSIONS = (".gz", ".bz2", ".xz", ".zip", ".zst")


def read_table(name: str, reading: Reading | None = None) -> pd.DataFrame:
    """Read the table that the command line names.

    Parameters
    ----------
    name : str
        Path of a file whose suffix tells its format (text files may be compressed, such as
        ``.csv.gz``), ``"-"`` for standard input, or the name of a shipped data set. Never an
        address: nothing is fetched.
    reading : Reading, optional
        How text is read.

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
    reading = Reading() if reading is None else reading
    source, suffix = _source(name)
    try:
        table = _READERS[suffix](source, reading)
    except MemoryError:
        raise
    except UnicodeDecodeError as error:
        raise DataError(
            f"Cannot read {name!r}: it is no {reading.encoding} text. If it is a text file, name "
            "its encoding: --encoding latin-1, for example"
        ) from error
    except Exception as error:  # a damaged file can make its reader raise anything
        raise DataError(f"Cannot read {name!r}: {message(error)}") from error
    table.attrs["name"] = "stdin" if name == "-" else Path(name).name
    return table


@contextmanager
def one_error(what: str) -> Iterator[None]:
    """Make one error of whatever a reader raises, but leave those that say what is wrong."""
    try:
        yield
    except (DataError, MemoryError):
        raise
    except Exception as error:  # each library raises its own, for a damaged file anything
        raise DataError(f"{what}: {message(error)}") from error


def message(error: Exception) -> str:
    """What an error of the system or of a reader says, in one line."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split()) or type(error).__name__


def _source(name: str) -> tuple[Source, str]:
    """The file and the suffix that tells its format."""
    if name == "-":
        content = sys.stdin.buffer.read() if sys.stdin is not None else b""
        kinds = (suffix for start, suffix in _BEGINNINGS.items() if content.startswith(start))
        return content, next(kinds, ".csv")
    # An absolute path: pandas would fetch what looks like an address.
    return Path(os.path.abspath(name)), _suffix(name)


def suffix_of(name: str) -> str:
    """What tells the format, in small letters, whether compressed or not; empty if nothing does."""
    suffixes = [suffix.lower() for suffix in Path(name).suffixes]
    while suffixes and suffixes[-1] in COMPRESSIONS:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def _suffix(name: str) -> str:
    suffix = suffix_of(name)
    if suffix in _READERS:
        return suffix
    known = ", ".join(_READERS)
    if not suffix:
        raise DataError(
            f"{name!r} is neither a file with one of the suffixes {known} nor a shipped data set."
            f"{nearest(name, dataset_names())}"
        )
    raise DataError(f"Cannot read {name!r}: the suffix must be one of {known}.")


def _read_parquet(source: Source, reading: Reading) -> pd.DataFrame:
    import pandas as pd

    return pd.read_parquet(opened(source))


def _read_feather(source: Source, reading: Reading) -> pd.DataFrame:
    import pandas as pd

    return pd.read_feather(opened(source))


def _read_lines_of_json(source: Source, reading: Reading) -> pd.DataFrame:
    import pandas as pd

    # Not pandas' reader, which would turn identifiers into numbers and texts into dates.
    content = source if isinstance(source, bytes) else source.read_bytes()
    lines = content.decode(reading.encoding).splitlines()
    return pd.DataFrame.from_records([json.loads(line) for line in lines if line.strip()])


def _read_excel(source: Source, reading: Reading) -> pd.DataFrame:
    import pandas as pd

    # As objects: pandas would make numbers of text cells, and 1 of the identifier 01.
    cells = pd.read_excel(
        opened(source), dtype=object, keep_default_na=False, na_values=["", *reading.missing]
    )
    return with_numbers(cells.infer_objects())


def _read_stata(source: Source, reading: Reading) -> pd.DataFrame:
    import pandas as pd

    table = pd.read_stata(opened(source), order_categoricals=False)
    codes = pd.read_stata(opened(source), convert_categoricals=False)
    for name in table.select_dtypes("category"):
        if not all(isinstance(label, str) for label in table[name].cat.categories):
            table[name] = codes[name]  # labels of a few values, such as 99: refused
    return table


def _read_spss(source: Source, reading: Reading) -> pd.DataFrame:
    if isinstance(source, bytes):
        raise DataError("SPSS files are read by name only")
    try:
        from pyreadstat import read_sav
    except ImportError as error:
        raise DataError("SPSS files need pyreadstat: pip install 'lmm[files]'") from error
    table, about = read_sav(str(source))
    for name, labels in about.variable_value_labels.items():
        if table[name].dropna().isin(labels).all():
            table[name] = _labelled(table[name], labels)
    return table


def _labelled(codes: pd.Series[Any], labels: dict[Any, str]) -> pd.Series[Any]:
    """Codes as their labels, in the order of the codes; one label of two codes is one level."""
    import pandas as pd

    levels = dict.fromkeys(labels[code] for code in sorted(labels))
    return codes.map(labels).astype(pd.CategoricalDtype(list(levels)))


_READERS: dict[str, Callable[[Source, Reading], pd.DataFrame]] = {
    ".csv": read_text,
    ".tsv": partial(read_text, usual="\t"),
    ".txt": partial(read_text, usual="\t"),
    ".parquet": _read_parquet,
    ".feather": _read_feather,
    ".arrow": _read_feather,
    ".ndjson": _read_lines_of_json,
    ".jsonl": _read_lines_of_json,
    ".xlsx": _read_excel,
    ".xls": _read_excel,
    ".ods": _read_excel,
    ".dta": _read_stata,
    ".sav": _read_spss,
}
# How formats that are no text begin; text may begin with anything but these.
_BEGINNINGS = {
    b"PAR1": ".parquet",
    b"ARROW1": ".feather",
    b"PK\x03\x04": ".xlsx",
    b'{"': ".ndjson",
    b"<stata_dta>": ".dta",
    b"$FL2": ".sav",
}
