"""Tables in text: separators, decimals and missing values, told or guessed."""

from __future__ import annotations

import codecs
import csv
import re
import warnings
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from lmm.errors import DataError

if TYPE_CHECKING:
    import pandas as pd


Source: TypeAlias = Path | bytes
"""A file, or what was read from standard input."""

# What R's type.convert takes for a number, NaN and infinities among it.
_NUMBER = re.compile(
    r"\s*[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|nan|inf|infinity)\s*", re.IGNORECASE
)
_WITH_COMMA = re.compile(r"\s*[+-]?\d*,\d+(?:e[+-]?\d+)?\s*", re.IGNORECASE)
_ZEROS = r"\s*[+-]?0\d"
# Share of the fields from which a column of text is said to be one of numbers.
ALMOST = 0.8

SEPARATORS = (",", ";", "\t", "|")
_SPELLED = {"tab": "\t", "\\t": "\t", "space": r"\s+", " ": r"\s+"}
# Lines from which the separator is guessed.
SAMPLE = 50


@dataclass(frozen=True)
class Reading:
    """How text in files is read.

    Attributes
    ----------
    separator : str
        One character, ``"tab"``, ``"space"`` for any blanks, or ``"auto"``: the one that divides
        the first lines into equally many fields.
    decimal : {"auto", ".", ","}
        Mark of decimals; by default the comma in files separated by semicolons whose numbers are
        written so, the point elsewhere.
    encoding : str
        Encoding of the text.
    missing : tuple of str
        Fields that are missing values, beside empty ones.

    Raises
    ------
    DataError
        The separator, the decimal mark or the encoding is none.
    """

    separator: str = "auto"
    decimal: str = "auto"
    encoding: str = "utf-8"
    missing: tuple[str, ...] = ("NA",)

    def __post_init__(self) -> None:
        if self.separator not in ("auto", *_SPELLED) and (
            len(self.separator) != 1 or self.separator in '"\n\r'
        ):
            raise DataError(
                "the separator must be one character, 'tab', 'space' or 'auto', "
                f"not {self.separator!r}"
            )
        if self.decimal not in ("auto", ".", ","):
            raise DataError(f"the decimal mark must be '.', ',' or 'auto', not {self.decimal!r}")
        if self.decimal == self.separator != "auto":
            raise DataError(f"{self.decimal!r} cannot separate both decimals and fields")
        try:
            codecs.lookup(self.encoding)
        except LookupError:
            raise DataError(
                f"there is no encoding {self.encoding!r}; common ones are utf-8, latin-1, utf-16"
            ) from None


def opened(source: Source) -> Path | BytesIO:
    """What pandas reads: the path, or a stream of the bytes from their beginning."""
    return BytesIO(source) if isinstance(source, bytes) else source


def read_text(source: Source, reading: Reading, usual: str = ",") -> pd.DataFrame:
    """Read a table of text; `usual` is its separator where the first lines do not tell."""
    separator = _SPELLED.get(reading.separator, reading.separator)
    if separator == "auto":
        separator = _guessed(_first_lines(source, reading), usual)
    if reading.decimal != "auto":
        return _parsed(source, separator, reading.decimal, reading)
    table = _parsed(source, separator, ".", reading)
    if separator == ";" and _has_decimal_commas(table):
        return _parsed(source, separator, ",", reading)
    return table


def _first_lines(source: Source, reading: Reading) -> list[str]:
    """The first lines, of a compressed file too."""
    import pandas as pd

    with warnings.catch_warnings():
        # What is no text may hold the separator that no text has.
        warnings.simplefilter("ignore", pd.errors.ParserWarning)
        lines = pd.read_csv(
            opened(source),
            sep="\x01",
            header=None,
            names=["line"],
            index_col=False,
            nrows=SAMPLE,
            quoting=csv.QUOTE_NONE,
            encoding=reading.encoding,
            dtype=str,
            keep_default_na=False,
        )["line"].tolist()
    # The last of many may be the beginning of a quoted field of several lines.
    return lines[:-1] if len(lines) == SAMPLE else lines


def _guessed(lines: list[str], usual: str) -> str:
    """The separator that gives all lines equally many fields, and the most."""
    candidates = dict.fromkeys((usual, *SEPARATORS))
    return max(candidates, key=lambda separator: _n_fields(lines, separator))


def _n_fields(lines: list[str], separator: str) -> int:
    """Number of fields of every line, 0 if they differ or there is one."""
    try:
        counts = {len(fields) for fields in csv.reader(lines, delimiter=separator)}
    except csv.Error:
        return 0
    return counts.pop() if len(counts) == 1 and counts != {1} else 0


def _parsed(source: Source, separator: str, decimal: str, reading: Reading) -> pd.DataFrame:
    import pandas as pd

    table: pd.DataFrame = pd.read_csv(
        opened(source),
        sep=separator,
        decimal=decimal,
        encoding=reading.encoding,
        keep_default_na=False,
        na_values=["", *reading.missing],
        low_memory=False,  # in pieces, a column could be text in one and numbers in another
        dtype_backend="numpy_nullable",  # whole numbers stay exact beside missing ones
    )
    table.attrs["decimal"] = decimal
    whole = [name for name in table if pd.api.types.is_integer_dtype(table[name])]
    padded = _padded(source, separator, reading, whole)
    for name, fields in padded.items():
        table[name] = fields
    return with_numbers(table, decimal)


def with_numbers(table: pd.DataFrame, decimal: str = ".") -> pd.DataFrame:
    """The table with numbers for columns of text all of whose fields are some.

    Columns with leading zeros stay text, and so do numbers that would lose digits.
    """
    for name in table:
        column = table[name]
        if not _is_text(column) or column.str.match(_ZEROS).any() or _strange(column, decimal):
            continue
        table[name] = _converted(column, decimal)
    return table


def _padded(
    source: Source, separator: str, reading: Reading, names: list[Any]
) -> dict[Any, pd.Series[str]]:
    """Columns of digits with leading zeros, as text: ``01`` and ``1`` are two identifiers."""
    import pandas as pd

    if not names:
        return {}
    texts = pd.read_csv(
        opened(source),
        sep=separator,
        encoding=reading.encoding,
        keep_default_na=False,
        na_values=["", *reading.missing],
        usecols=names,
        dtype=str,
    )
    return {name: texts[name] for name in names if texts[name].str.match(_ZEROS).any()}


def _has_decimal_commas(table: pd.DataFrame) -> bool:
    """Whether the fields of a column are numbers, some with a comma, and no number has a point."""
    import pandas as pd

    if any(pd.api.types.is_float_dtype(table[name]) for name in table):
        return False
    texts = [table[name].dropna().astype(str) for name in table if _is_text(table[name])]
    return any(map(_are_with_commas, texts))


def _are_with_commas(fields: pd.Series[str]) -> bool:
    numbers = [_NUMBER.fullmatch(_pointed(field, ",")) is not None for field in fields]
    return sum(numbers) >= ALMOST * len(fields) and any(map(_WITH_COMMA.fullmatch, fields))


def _pointed(field: str, decimal: str) -> str:
    """A number with a point; text that has one where commas are expected is none."""
    if decimal == ".":
        return field
    return field.translate(str.maketrans(",.", ".,"))


def _converted(column: pd.Series[Any], decimal: str) -> pd.Series[Any]:
    """Numbers of text; the text where they would lose digits, as identifiers do."""
    numbers = {field: float(_pointed(field, decimal)) for field in column.dropna().unique()}
    whole = (field for field in numbers if field.strip().lstrip("+-").isdigit())
    if any(int(field) != numbers[field] for field in whole):
        return column
    return column.map(numbers).astype(float)


def _is_text(column: pd.Series[Any]) -> bool:
    import pandas as pd

    return pd.api.types.infer_dtype(column, skipna=True) == "string"


def _strange(column: pd.Series[Any], decimal: str) -> list[str]:
    """Different fields that are no numbers; all of them where none is a finite number."""
    fields = [str(field) for field in column.dropna().unique()]
    strange = [field for field in fields if not _NUMBER.fullmatch(_pointed(field, decimal))]
    return strange if any(_is_finite(_pointed(field, decimal)) for field in fields) else fields


def _is_finite(field: str) -> bool:
    return _NUMBER.fullmatch(field) is not None and any(map(str.isdigit, field))


def almost_numbers(table: pd.DataFrame) -> dict[str, list[str]]:
    """Columns of text most of whose fields are numbers, with the first fields that are none.

    Numbers with a decimal comma are none, but a column of them is one of numbers.
    """
    found = {}
    for name in table:
        column = table[name]
        if not _is_text(column):
            continue
        strange = _strange(column, table.attrs.get("decimal", "."))
        others = [field for field in strange if not _WITH_COMMA.fullmatch(field)]
        if strange and column.isin(others).sum() <= (1.0 - ALMOST) * column.notna().sum():
            found[str(name)] = strange[:5]
    return found
