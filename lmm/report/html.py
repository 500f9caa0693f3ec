"""Tables and lines as HTML, for notebooks."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from lmm.report.cells import Cells


def table(cells: Cells) -> str:
    """Write a table as a ``<table>`` element; every text is escaped.

    Examples
    --------
    >>> from lmm.report.cells import Column
    >>> table(Cells((Column("<x>", ("1.5",)),), ("a & b",)))
    '<table><thead><tr><th></th><th>&lt;x&gt;</th></tr></thead>...<th>a &amp; b</th>...'
    """
    title = _caption(cells.title) if cells.title else ""
    stub = [""] if cells.rows else []
    head = "".join(map(_header, [*stub, *(column.name for column in cells.columns)]))
    styles = ["" if column.kind == "number" else _LEFT for column in cells.columns]
    stubs = map(_header, cells.rows) if cells.rows else [""] * len(cells)
    body = "".join(
        f"<tr>{name}{''.join(map(_cell, line, styles))}</tr>"
        for name, line in zip(stubs, cells.lines(), strict=True)
    )
    return (
        f"<table>{title}<thead><tr>{head}</tr></thead>"
        f'<tbody style="text-align:right">{body}</tbody></table>'
    )


_LEFT = ' style="text-align:left"'


def _caption(title: str) -> str:
    return f'<caption style="white-space:nowrap">{escape(title.strip())}</caption>'


def _header(name: str) -> str:
    return f"<th>{escape(name.strip())}</th>"


def _cell(text: str, style: str) -> str:
    return f"<td{style}>{escape(text.strip())}</td>"


def paragraph(lines: Iterable[str]) -> str:
    r"""Write lines as a paragraph that keeps them apart.

    Examples
    --------
    >>> paragraph(["y ~ x", "    + z"])
    '<p style="white-space:pre-wrap">y ~ x\n    + z</p>'
    """
    text = "\n".join(lines)
    return f'<p style="white-space:pre-wrap">{escape(text)}</p>'
