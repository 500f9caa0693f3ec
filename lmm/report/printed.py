"""What prints: results that write themselves as text, HTML, Markdown and LaTeX."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar, TypeVar

import numpy as np
import pandas as pd

from lmm._types import Matrix
from lmm.errors import nearest
from lmm.report.document import Block, Document
from lmm.report.format import r_element
from lmm.report.tables import anova_blocks, frame_cells

Part = TypeVar("Part")


class Printed(ABC):
    """A result that prints as R does; a class says in `document` what that is.

    The four ``to_`` methods take the options that `document` of the class has, such as ``digits``.
    ``repr`` and Jupyter show the beginning of long tables, ``print`` all.
    """

    @abstractmethod
    def document(self, *args: Any, **options: Any) -> Document:
        """Lines and tables of the print."""

    def to_text(self, **options: Any) -> str:
        """Plain text, as R prints it; options as for `document`."""
        return self.document(**options).to_text()

    def to_html(self, **options: Any) -> str:
        """HTML, every text escaped; options as for `document`."""
        return self.document(**options).to_html()

    def to_markdown(self, **options: Any) -> str:
        """Markdown, with GitHub's tables; options as for `document`."""
        return self.document(**options).to_markdown()

    def to_latex(self, **options: Any) -> str:
        """LaTeX, whose tables need the package booktabs; options as for `document`."""
        return self.document(**options).to_latex()

    def __str__(self) -> str:
        return self.document().to_text()

    def __repr__(self) -> str:
        return self.document().shortened().to_text()

    def _repr_html_(self) -> str:
        return self.document().shortened().to_html()


# What a DataFrame has under names that say something else of a result, or that would change a copy.
ONLY_OF_FRAMES = frozenset(
    ("plot", "hist", "boxplot", "sample", "filter", "update", "insert", "pop", "isetitem")
)


class TableLike(Printed):
    """A result that prints and holds one table, as which it behaves.

    Columns by name, iteration over the columns' names, the number of rows as length, and whatever
    else reads a DataFrame (``loc``, ``index``, ``round``); `to_frame` gives the table itself.
    Pictures and changes of a DataFrame, and its ``filter`` and ``sample``, are those of `to_frame`
    only.
    """

    @abstractmethod
    def to_frame(self) -> pd.DataFrame:
        """The table as a DataFrame of the caller's own."""

    def __getitem__(self, key: Any) -> Any:
        return self.to_frame()[key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.to_frame())

    def __contains__(self, key: object) -> bool:
        return key in self.to_frame()

    def __len__(self) -> int:
        return len(self.to_frame())

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        return np.asarray(self.to_frame(), dtype=dtype)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        if name in ONLY_OF_FRAMES:
            raise AttributeError(
                f"{type(self).__name__} has no {name} of its own: write to_frame().{name} for the "
                "DataFrame's."
            )
        return getattr(self.to_frame(), name)


class Pictured(TableLike):
    """A table-like result that a function of `lmm.plots` draws, called `picture`."""

    picture: ClassVar[str]

    def plot(self, *args: Any, **options: Any) -> Any:
        """Draw it: arguments and picture as documented for its function in `lmm.plots`."""
        # By name: pictures stand above results.
        return getattr(import_module("lmm.plots"), self.picture)(self, *args, **options)


@dataclass(frozen=True, eq=False, repr=False)
class Framed(TableLike):
    """A result whose one table is its attribute `frame`."""

    frame: pd.DataFrame

    def to_frame(self) -> pd.DataFrame:
        return self.frame.copy()


@dataclass(frozen=True, eq=False, repr=False)
class PrintedTable(Framed):
    """A data frame or matrix of results, such as confidence intervals.

    Attributes
    ----------
    frame : DataFrame
        The numbers, with R's names of rows and columns.
    heading : tuple of str
        Lines above the table.
    footing : tuple of str
        Lines below the table.

    Examples
    --------
    >>> limits = pd.DataFrame({"2.5 %": [14.38, 22.9], "97.5 %": [37.72, 28.86]})
    >>> table = PrintedTable(limits.set_axis([".sig01", ".sigma"]))
    >>> table
           2.5 % 97.5 %
    .sig01 14.38  37.72
    .sigma 22.90  28.86
    >>> float(table.loc[".sigma", "2.5 %"]), len(table)
    (22.9, 2)
    >>> print(table.to_markdown())
    |      | 2.5 % | 97.5 % |
    | :--- | ---: | ---: |
    | .sig01 | 14.38 | 37.72 |
    | .sigma | 22.90 | 28.86 |
    """

    heading: tuple[str, ...] = ()
    footing: tuple[str, ...] = ()

    def document(self, *, digits: int = 7) -> Document:
        """The table, with so many significant digits in every column."""
        return Document((*self.heading, frame_cells(self.frame, digits), *self.footing))


@dataclass(frozen=True, eq=False, repr=False)
class AnovaTable(PrintedTable):
    """Tests of terms or models, printed with blank missing cells, stars and their legend.

    Examples
    --------
    >>> tests = pd.DataFrame({"F value": [45.85], "Pr(>F)": [3.264e-06]}, index=["Days"])
    >>> table = AnovaTable(tests, ("Type III Analysis of Variance Table",))
    >>> table
    Type III Analysis of Variance Table
         F value    Pr(>F)
    Days   45.85 3.264e-06 ***
    ---
    Signif. codes:  0 ‘***’ 0.001 ‘**’ 0.01 ‘*’ 0.05 ‘.’ 0.1 ‘ ’ 1
    >>> float(table["Pr(>F)"]["Days"])
    3.264e-06
    """

    def document(self, *, digits: int = 5, stars: bool = True) -> Document:
        """The table, with `digits` significant digits, with or without stars."""
        blocks = anova_blocks(self.frame, digits=digits, stars=stars)
        return Document((*self.heading, *blocks, *self.footing))


def confidence_table(limits: Matrix, names: Sequence[str], level: float) -> PrintedTable:
    """Intervals (d, 2) under the names of R's ``confint``."""
    columns = [f"{100.0 * a:.3g} %" for a in (0.5 - 0.5 * level, 0.5 + 0.5 * level)]
    frame = pd.DataFrame(limits.reshape(-1, 2), index=pd.Index(list(names)), columns=columns)
    return PrintedTable(frame)


class PrintedMapping(Printed, Mapping[str, Part]):
    """Parts by name, which print together."""

    #: What a name that there is not is called.
    missing: ClassVar[str] = "There is no"

    @property
    @abstractmethod
    def parts(self) -> Mapping[str, Part]:
        """The parts, in order."""

    def __getitem__(self, name: str) -> Part:
        if name not in self.parts:
            raise KeyError(f"{self.missing} {name!r}.{nearest(name, self.parts)}")
        return self.parts[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.parts)

    def __len__(self) -> int:
        return len(self.parts)


@dataclass(frozen=True, eq=False, repr=False)
class PrintedTables(PrintedMapping[pd.DataFrame]):
    """Tables by name, printed as R's list of data frames or matrices.

    Attributes
    ----------
    tables : dict of str to DataFrame
        The tables in order.
    """

    tables: dict[str, pd.DataFrame]

    @property
    def parts(self) -> dict[str, pd.DataFrame]:
        """The tables."""
        return self.tables

    def document(self, *, digits: int = 7) -> Document:
        """The tables, with so many significant digits in every column."""
        return Document(tuple(self._blocks(digits)))

    def _blocks(self, digits: int) -> Iterator[Block]:
        for name, table in self.tables.items():
            yield frame_cells(table, digits, title=r_element(name))
            yield ""
