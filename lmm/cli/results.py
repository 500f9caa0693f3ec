"""Results of commands in the formats that they can be asked for."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from lmm.cli.screen import write
from lmm.errors import DataError
from lmm.files.writing import check_output, check_place, write_table, write_whole
from lmm.report.document import Document
from lmm.report.format import SIGNIFICANCE_LEGEND
from lmm.report.printed import Printed

_SUFFIXES = {
    ".txt": "text",
    ".json": "json",
    ".csv": "csv",
    ".md": "markdown",
    ".html": "html",
    ".tex": "latex",
}
_TABLES = (".tsv", ".parquet", ".gz", ".bz2", ".xz", ".zip", ".zst")


@dataclass(frozen=True, repr=False)
class Printings(Printed):
    """Results that print one after the other.

    Attributes
    ----------
    parts : tuple of Printed
        The results.
    """

    parts: tuple[Printed, ...]

    def document(self) -> Document:
        """Theirs in a row."""
        return Document(tuple(block for part in self.parts for block in part.document().blocks))


def check_destination(arguments: argparse.Namespace) -> None:
    """Refuse an output that cannot be written, before anything is computed.

    Raises
    ------
    DataError
        The file's suffix says no format and none is given, or the file must not be written.
    """
    name = arguments.output
    if name is None:
        return
    suffix = Path(name).suffix.lower()
    if arguments.format is None and suffix in _TABLES:
        check_output(name, arguments.force)
    elif arguments.format is None and suffix not in _SUFFIXES:
        known = ", ".join((*_SUFFIXES, *_TABLES[:2]))
        raise DataError(
            f"Cannot tell the format of {name!r}: give --format, or one of the suffixes {known}."
        )
    check_place(name, arguments.force)


def deliver(
    result: Printed,
    arguments: argparse.Namespace,
    *,
    frame: pd.DataFrame | None = None,
    record: Any = None,
) -> None:
    """Print a result, or write it to the file that is asked for.

    Parameters
    ----------
    result : Printed
        The result.
    arguments : Namespace
        With ``format``, ``output`` and ``force``.
    frame : DataFrame, optional
        Its table for CSV, by default its own.
    record : optional
        What JSON holds of it, by default the rows of its table and its notes.
    """
    name = arguments.output
    suffix = "" if name is None else Path(name).suffix.lower()
    if arguments.format is None and suffix in _TABLES:
        write_table(_table_of(result, frame), name, arguments.force)
        return
    form = arguments.format or _SUFFIXES.get(suffix, "text")
    text = _rendered(result, form, frame, record).rstrip("\n")
    if name is None:
        write(text)
    else:
        write_whole(name, arguments.force, lambda path: _write_text(path, text + "\n"))


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _rendered(result: Printed, form: str, frame: pd.DataFrame | None, record: Any) -> str:
    match form:
        case "json":
            return json_text(_record_of(result) if record is None else record)
        case "csv":
            return str(_table_of(result, frame).to_csv(index=False))
        case "markdown":
            return result.to_markdown()
        case "html":
            return result.to_html()
        case "latex":
            return result.to_latex()
    return str(result)


def _frame_of(result: Any) -> Any:
    """Its DataFrame, or several by name."""
    return result.to_frame()


def _table_of(result: Printed, frame: pd.DataFrame | None) -> pd.DataFrame:
    """Its table with the names of rows as a column, for files."""
    table = _frame_of(result) if frame is None else frame
    if not isinstance(table, pd.DataFrame):
        raise DataError(
            "the result is several tables, which CSV cannot hold: ask for --format json or text"
        )
    return _with_rows(table)


def _with_rows(table: pd.DataFrame) -> pd.DataFrame:
    """The table with its names of rows, if it has any, as a first column."""
    # Rows 0, 1, ... that have been taken are no RangeIndex in pandas 2.
    if isinstance(table.index, pd.RangeIndex) or table.index.equals(pd.RangeIndex(len(table))):
        return table
    name = next(name for name in ("row", "row_", "row__") if name not in table.columns)
    names = table.index.to_frame(name=str(table.index.name or name), index=False)
    return pd.concat([names, table.reset_index(drop=True)], axis=1)


def _record_of(result: Printed) -> dict[str, Any]:
    """What JSON holds of a result: its rows, and what stands above and below them."""
    table = _frame_of(result)
    rows = (
        {str(name): records(each) for name, each in table.items()}
        if isinstance(table, dict)
        else records(table)
    )
    lines = (block.strip() for block in result.document().blocks if isinstance(block, str))
    notes = [line for line in lines if line and line not in ("---", SIGNIFICANCE_LEGEND)]
    return {"rows": rows, "notes": notes}


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a table, with their names where they have any."""
    return [
        {str(name): value for name, value in row.items()}
        for row in _with_rows(table).astype(object).to_dict(orient="records")
    ]


def json_text(value: Any) -> str:
    """JSON of a value, in which null stands for numbers that are none."""
    # DEL is the one control character that json leaves as it is.
    return json.dumps(_plain(value), indent=2, allow_nan=False).replace("\x7f", "\\u007f")


def _plain(value: Any) -> Any:
    match value:
        case Mapping():
            return {str(key): _plain(each) for key, each in value.items()}
        case list() | tuple():
            return [_plain(each) for each in value]
        case None | bool() | int() | str():
            return value
        case float():
            return float(value) if math.isfinite(value) else None
    if value is pd.NA or value is pd.NaT:
        return None
    return _plain(value.item()) if hasattr(value, "item") else str(value)
