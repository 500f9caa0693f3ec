"""Tables and lines as Markdown, with GitHub's tables."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from lmm.report.cells import Cells

_SPECIAL = re.compile(r"[\\`*_\[\]<|~$]")
# What begins a heading, a quotation, a list or a rule at the start of a line.
_BLOCK = re.compile(r"^(?=[#>+=-])|(?<=^\d)(?=[.)])")


def table(cells: Cells) -> str:
    r"""Write a table, numbers to the right.

    Examples
    --------
    >>> from lmm.report.cells import Column
    >>> print(table(Cells((Column("Pr(>|t|)", ("< 2e-16",)),), ("Days",))))
    |      | Pr(>\|t\|) |
    | :--- | ---: |
    | Days | \< 2e-16 |
    """
    stub = [""] if cells.rows else []
    rules = [":---"] * len(stub)
    rules += ["---:" if column.kind == "number" else ":---" for column in cells.columns]
    names = [*stub, *(column.name for column in cells.columns)]
    stubs = [[name] for name in cells.rows] if cells.rows else [[]] * len(cells)
    rows = [_row([*stub, *line]) for stub, line in zip(stubs, cells.lines(), strict=True)]
    title = [_escaped(cells.title.strip()), ""] if cells.title else []
    return "\n".join([*title, _row(names), f"| {' | '.join(rules)} |", *rows])


def _row(texts: Sequence[str]) -> str:
    return f"| {' | '.join(_escaped(text.strip()) for text in texts)} |"


def paragraph(lines: Iterable[str]) -> str:
    """Write lines as a paragraph that keeps them apart."""
    return "  \n".join(_BLOCK.sub(r"\\", _escaped(line.strip())) for line in lines)


def _escaped(text: str) -> str:
    return _SPECIAL.sub(r"\\\g<0>", text.replace("\n", " "))
