"""Tables of results that print as R prints them."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from lmm.report.html import table_html, text_html
from lmm.report.tables import anova_cells, anova_text, frame_cells, frame_text, labels

__all__ = ["AnovaTable", "PrintedTable"]


@dataclass(frozen=True, eq=False)
class PrintedTable:
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
    >>> PrintedTable(limits.set_axis([".sig01", ".sigma"]))
           2.5 % 97.5 %
    .sig01 14.38  37.72
    .sigma 22.90  28.86
    """

    frame: pd.DataFrame
    heading: tuple[str, ...] = ()
    footing: tuple[str, ...] = ()

    def to_frame(self) -> pd.DataFrame:
        """Return the numbers as a DataFrame of the caller's own."""
        return self.frame.copy()

    def to_text(self, *, digits: int = 7) -> str:
        """Print with so many significant digits in every column."""
        return "\n".join([*self.heading, frame_text(self.frame, digits=digits), *self.footing])

    def __str__(self) -> str:
        return self.to_text()

    def __repr__(self) -> str:
        return self.to_text()

    def _cells(self) -> list[list[str]]:
        return frame_cells(self.frame)

    def _repr_html_(self) -> str:
        table = table_html(self._cells(), labels(self.frame.columns), rows=labels(self.frame.index))
        parts = ["\n".join(self.heading).strip(), "\n".join(self.footing).strip()]
        above, below = (text_html(part) if part else "" for part in parts)
        return above + table + below


@dataclass(frozen=True, eq=False, repr=False)
class AnovaTable(PrintedTable):
    """Tests of terms or models, printed with blank missing cells, stars and their legend.

    Examples
    --------
    >>> tests = pd.DataFrame({"F value": [45.85], "Pr(>F)": [3.264e-06]}, index=["Days"])
    >>> AnovaTable(tests, ("Type III Analysis of Variance Table",))
    Type III Analysis of Variance Table
         F value    Pr(>F)
    Days   45.85 3.264e-06 ***
    ---
    Signif. codes:  0 ‘***’ 0.001 ‘**’ 0.01 ‘*’ 0.05 ‘.’ 0.1 ‘ ’ 1
    """

    def to_text(self, *, digits: int = 5, stars: bool = True) -> str:
        """Print with `digits` significant digits, with or without stars."""
        body = anova_text(self.frame, self.heading, digits=digits, stars=stars)
        return "\n".join([body, *self.footing])

    def _cells(self) -> list[list[str]]:
        return anova_cells(self.frame)
