"""Compact HTML tables for notebooks."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

__all__ = ["table_html", "text_html"]


def table_html(
    cells: Sequence[Sequence[str]],
    columns: Sequence[str],
    *,
    rows: Sequence[str] | None = None,
    caption: str | None = None,
) -> str:
    """Write a table of formatted cells as HTML.

    Parameters
    ----------
    cells : sequence of m sequences of k str
        The rows of the table.
    columns : sequence of k str
        Column names.
    rows : sequence of m str, optional
        Row names.
    caption : str, optional
        Title above the table.

    Returns
    -------
    str
        A ``<table>`` element; every text is escaped.

    Examples
    --------
    >>> table_html([["1.5"]], ["<x>"], rows=["a & b"])
    '<table><thead><tr><th></th><th>&lt;x&gt;</th></tr></thead>...<th>a &amp; b</th>...'
    """
    stubs = [[]] * len(cells) if rows is None else [[name] for name in rows]
    head = _row([], columns if rows is None else ["", *columns], "th")
    body = "".join(_row(stub, line) for stub, line in zip(stubs, cells, strict=True))
    title = "" if caption is None else f"<caption>{escape(caption)}</caption>"
    return (
        f'<table>{title}<thead>{head}</thead><tbody style="text-align:right">{body}</tbody></table>'
    )


def text_html(text: str) -> str:
    r"""Write lines of text as an HTML paragraph.

    Examples
    --------
    >>> text_html("y ~ x\n    + z")
    '<p style="white-space:pre-wrap">y ~ x\n    + z</p>'
    """
    return f'<p style="white-space:pre-wrap">{escape(text)}</p>'


def _row(stub: Sequence[str], texts: Sequence[str], tag: str = "td") -> str:
    names = "".join(f"<th>{escape(name)}</th>" for name in stub)
    cells = "".join(f"<{tag}>{escape(text.strip())}</{tag}>" for text in texts)
    return f"<tr>{names}{cells}</tr>"
