"""A printed result: lines and tables in a row, written as text, HTML, Markdown or LaTeX."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, groupby
from typing import TypeAlias

from lmm.report import html, latex, markdown
from lmm.report.cells import Cells
from lmm.report.format import r_element

Block: TypeAlias = str | Cells

# Rows of all tables up to which a representation shows everything, and what it shows of more.
MANY_ROWS = 100
SHOWN_ROWS = 20
SHOWN_TABLES = 10


@dataclass(frozen=True)
class Document:
    """Lines and tables as they follow each other in R's print.

    Attributes
    ----------
    blocks : tuple of str or Cells
        Lines, blank ones too, and tables.

    Examples
    --------
    >>> from lmm.report.cells import Column
    >>> print(Document(("A title", Cells((Column("x", ("1.5",)),), ("a",)))).to_text())
    A title
        x
    a 1.5
    """

    blocks: tuple[Block, ...]

    @classmethod
    def of_elements(cls, parts: Mapping[str, Iterable[Block]]) -> Document:
        """Elements of R's list, each under its name."""
        blocks = ((r_element(name), *part, "") for name, part in parts.items())
        return cls(tuple(chain.from_iterable(blocks)))

    def to_text(self) -> str:
        """Plain text, as R prints it."""
        return "\n".join(map(str, self.blocks))

    def to_html(self) -> str:
        """HTML, every text escaped."""
        return "".join(self._written(html.table, html.paragraph))

    def to_markdown(self) -> str:
        """Markdown, with GitHub's tables."""
        return "\n\n".join(self._written(markdown.table, markdown.paragraph))

    def to_latex(self) -> str:
        """LaTeX, whose tables need the package booktabs."""
        return "\n\n".join(self._written(latex.table, latex.paragraph))

    def _written(
        self, table: Callable[[Cells], str], paragraph: Callable[[Iterable[str]], str]
    ) -> Iterator[str]:
        for is_table, blocks in groupby(self.blocks, lambda block: isinstance(block, Cells)):
            if is_table:
                yield from (table(block) for block in blocks if isinstance(block, Cells))
            else:
                yield from map(paragraph, _paragraphs("\n".join(map(str, blocks))))

    def shortened(self) -> Document:
        """The same if it is short, else the first rows of the first tables."""
        tables = [block for block in self.blocks if isinstance(block, Cells)]
        if sum(map(len, tables)) <= MANY_ROWS:
            return self
        return Document(tuple(self._shortened()))

    def _shortened(self) -> Iterator[Block]:
        tables = 0
        for block in self.blocks:
            if not isinstance(block, Cells):
                yield block
                continue
            tables += 1
            if tables > SHOWN_TABLES:
                yield "[ further tables are left out: print() shows all ]"
                return
            yield block.head(SHOWN_ROWS)
            if len(block) > SHOWN_ROWS:
                yield f"[ {SHOWN_ROWS} of {len(block)} rows: print() shows all ]"


def _paragraphs(text: str) -> Iterator[list[str]]:
    """Lines between blank lines, without rules made of dashes."""
    lines = [line.rstrip() for line in text.split("\n") if set(line) != {"-"}]
    return (list(part) for filled, part in groupby(lines, bool) if filled)
