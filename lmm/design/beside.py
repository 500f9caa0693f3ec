"""Values that stand beside the rows of a fit: a column of its data, or one given row by row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from lmm._types import Frozen
from lmm.design.columns import RawColumn, read_column, take
from lmm.design.frame import Frame
from lmm.design.table import Table, series_of
from lmm.errors import DataError, nearest


@dataclass(frozen=True, eq=False)
class Beside(Frozen):
    """Where a value for each row used is looked for.

    Attributes
    ----------
    frame : Frame
        The rows used.
    table : Table or None
        The data.
    """

    frame: Frame
    table: Table | None

    def column(self, given: str | Sequence[Any], what: str) -> RawColumn:
        """Values (n,) of the rows used.

        Parameters
        ----------
        given : str or (n,) sequence
            A column of the data, or a value per row used; a Series is put in the order of the
            data's labels.
        what : str
            What messages call the values.

        Raises
        ------
        DataError
            There is no such column, or the number of values or their labels are others.
        """
        if isinstance(given, str):
            return self._named(given, what)
        values: Any = given
        if not isinstance(values, pd.Series):
            values = series_of(values, what).array
            if len(values) != self.frame.n:
                raise DataError(
                    f"{what} must hold {self.frame.n} values, one per row used, not shape "
                    f"{values.shape}"
                )
        return read_column(series_of(self.frame.rows_of(values, what), what), what)

    def _named(self, name: str, what: str) -> RawColumn:
        names = () if self.table is None else self.table.names
        if self.table is None or name not in names:
            raise DataError(f"{what}: the data have no column {name!r}.{nearest(name, names)}")
        return take(self.table.column(name), self.frame.rows)
