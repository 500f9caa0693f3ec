"""Tables and lines as LaTeX; the tables need the package booktabs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from lmm.report.cells import Cells, Column

_ESCAPES = str.maketrans(
    {character: f"\\{character}" for character in "&%$#_{}"}
    | {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        "‘": "`",
        "’": "'",
        "“": "``",
        "”": "''",
        "\n": " ",
    }
)
_NUMBER = re.compile(r"(?P<below><\s*)?(?P<mantissa>-?\d*\.?\d+)(?:e(?P<exponent>[+-]\d+))?")


def table(cells: Cells) -> str:
    r"""Write a table as a ``tabular`` environment.

    Examples
    --------
    >>> from lmm.report.cells import Column
    >>> print(table(Cells((Column("p", ("3.2e-06",)),), ("x_1",))))
    \begin{tabular}{lr}
    \toprule
     & p \\
    \midrule
    x\_1 & $3.2 \times 10^{-6}$ \\
    \bottomrule
    \end{tabular}
    """
    stub = [""] if cells.rows else []
    alignment = "l" * len(stub)
    alignment += "".join("r" if column.kind == "number" else "l" for column in cells.columns)
    names = [*stub, *(_escaped(column.name) for column in cells.columns)]
    columns = [list(map(_escaped, cells.rows))] if cells.rows else []
    columns += [_texts(column) for column in cells.columns]
    title = [f"{_escaped(cells.title)}\n"] if cells.title else []
    return "\n".join(
        [
            *title,
            rf"\begin{{tabular}}{{{alignment}}}",
            r"\toprule",
            _row(names),
            r"\midrule",
            *map(_row, zip(*columns, strict=True)),
            r"\bottomrule",
            r"\end{tabular}",
        ]
    )


def _row(texts: Sequence[str]) -> str:
    line = " & ".join(texts)
    # After the end of a line LaTeX takes a star or a bracket for an option of it.
    return rf"{'{}' if line.startswith(('[', '*')) else ''}{line} \\"


def _texts(column: Column) -> list[str]:
    write = _number if column.kind == "number" else _escaped
    return [write(text) for text in column.texts]


def _number(text: str) -> str:
    """A number with a sign, a bound or an exponent as mathematics."""
    found = _NUMBER.fullmatch(text.strip())
    if found is None:
        return _escaped(text)
    below, mantissa, exponent = found["below"], found["mantissa"], found["exponent"]
    if not (below or exponent or mantissa.startswith("-")):
        return mantissa
    power = rf" \times 10^{{{int(exponent)}}}" if exponent else ""
    return f"${'< ' if below else ''}{mantissa}{power}$"


def paragraph(lines: Iterable[str]) -> str:
    """Write lines as a paragraph that keeps them apart."""
    return " \\\\\n".join(("{}" if line[:1] in "[*" else "") + _escaped(line) for line in lines)


def _escaped(text: str) -> str:
    return text.strip().translate(_ESCAPES)
