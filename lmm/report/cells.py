"""Tables of texts, and how R lays them out: the one form in which every result is printed.

A writer (`lmm.report.html`, `markdown`, `latex`) needs no more than `Cells` to write a table; the
layouts of plain text stand here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import Literal, TypeAlias

from lmm.report.format import WIDTH

Kind = Literal["number", "label", "stars"]


@dataclass(frozen=True)
class Column:
    """A column of a table, its values formatted.

    Attributes
    ----------
    name : str
        Text above it.
    texts : tuple of str
        Its values, one per row.
    kind : {"number", "label", "stars"}
        What they are: numbers stand to the right in HTML, Markdown and LaTeX.
    left : bool
        Whether plain text justifies it to the left, its name too.
    width : int
        Least width in plain text.
    """

    name: str
    texts: tuple[str, ...]
    kind: Kind = "number"
    left: bool = False
    width: int = 0

    def padded(self) -> list[str]:
        """Name and texts of one width."""
        return _padded([self.name, *self.texts], self.left, self.width)


Layout: TypeAlias = Callable[["Cells"], str]


def matrix(cells: Cells) -> str:
    """R's print of a matrix: columns that do not fit into 80 characters follow below."""
    stub = _padded(["", *cells.rows], left=True) if cells.rows else [""] * (len(cells) + 1)
    padded = [column.padded() for column in cells.columns]
    blocks = _wrap_columns([len(column[0]) + 1 for column in padded], len(stub[0]))
    return "\n".join(
        " ".join(line) for block in blocks for line in zip(stub, *padded[block], strict=True)
    )


def _wrap_columns(widths: Sequence[int], stub: int) -> list[slice]:
    """Consecutive columns that fit on a line; R leaves the last character of the line free."""
    starts, used = [0], stub
    for j, width in enumerate(widths):
        if j > starts[-1] and used + width >= WIDTH:
            starts.append(j)
            used = stub
        used += width
    return [slice(a, b) for a, b in zip(starts, [*starts[1:], len(widths)], strict=True)]


def _vector(cells: Cells, gap: int) -> str:
    names = [column.name for column in cells.columns]
    values = [column.texts[0] for column in cells.columns]
    width = max(map(len, chain(values, names)))
    per_line = max(1, WIDTH // (width + gap))
    return "\n".join(
        "".join(text.rjust(width) + " " * gap for text in part[start : start + per_line])
        for start in range(0, len(values), per_line)
        for part in (names, values)
    )


vector: Layout = partial(_vector, gap=1)
"""R's print of a named vector, a table with one row: names above values, on lines of 80."""

wide_vector: Layout = partial(_vector, gap=2)
"""The same with two characters between values, as ``print(x, print.gap = 2)``."""


def bars(cells: Cells) -> str:
    """Columns apart by bars under a ruled header, as R's insight prints tables.

    Examples
    --------
    >>> group, icc = Column("Group", ("Subject",), "label", left=True), Column("ICC", ("0.48",))
    >>> print(Cells((group, icc), layout=bars))
    Group   |  ICC
    --------------
    Subject | 0.48
    """
    padded = (column.padded() for column in cells.columns)
    header, *lines = (" | ".join(line) for line in zip(*padded, strict=True))
    return "\n".join([header, "-" * len(header), *lines])


def listed(cells: Cells) -> str:
    """Two columns as lines ``name: value``, the names to the right."""
    names, values = (column.texts for column in cells.columns)
    return "\n".join(
        f"  {name}: {value}" for name, value in zip(_padded(names, False), values, strict=True)
    )


def _padded(texts: Iterable[str], left: bool, width: int = 0) -> list[str]:
    texts = list(texts)
    width = max(width, *map(len, texts))
    return [text.ljust(width) if left else text.rjust(width) for text in texts]


@dataclass(frozen=True)
class Cells:
    """A table of formatted values.

    Attributes
    ----------
    columns : tuple of Column
        The columns, of one length.
    rows : tuple of str
        Names of the rows; empty if they have none.
    title : str
        Line above the table; empty if it has none.
    layout : callable
        How plain text arranges it: `matrix`, `vector`, `wide_vector`, `bars` or `listed`.

    Examples
    --------
    >>> cells = Cells((Column("num", ("1.5", "-2")), Column("s", ("a", "bb"))), ("x", "yy"))
    >>> print(cells)
       num  s
    x  1.5  a
    yy  -2 bb
    """

    columns: tuple[Column, ...]
    rows: tuple[str, ...] = ()
    title: str = ""
    layout: Layout = matrix

    def __len__(self) -> int:
        return len(self.columns[0].texts) if self.columns else len(self.rows)

    def __str__(self) -> str:
        text = self.layout(self)
        return f"{self.title}\n{text}" if self.title else text

    def lines(self) -> list[tuple[str, ...]]:
        """Texts row by row, without names."""
        return list(zip(*(column.texts for column in self.columns), strict=True))

    def head(self, size: int) -> Cells:
        """The first rows."""
        columns = tuple(replace(column, texts=column.texts[:size]) for column in self.columns)
        return replace(self, columns=columns, rows=self.rows[:size])


def named(
    names: Iterable[str], texts: Sequence[str], title: str = "", layout: Layout = vector
) -> Cells:
    """A named vector as a table with one row.

    Examples
    --------
    >>> print(named(["a", "Days"], ["251.41", "10.47"]))
         a   Days
    251.41  10.47
    """
    columns = (Column(name, (text,)) for name, text in zip(names, texts, strict=True))
    return Cells(tuple(columns), title=title, layout=layout)
