"""Random effects as tables per grouping factor, and their principal components."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lmm._types import Matrix, Vector
from lmm.errors import nearest
from lmm.report.format import format_numbers
from lmm.report.html import table_html, text_html
from lmm.report.tables import frame_cells, frame_text, labels, matrix_text

__all__ = ["Coefficients", "GroupTables", "PrincipalComponents", "RandomEffects"]


@dataclass(frozen=True, eq=False)
class GroupTables(Mapping[str, pd.DataFrame]):
    """A table per grouping factor, levels by columns; prints as R's list of data frames.

    Attributes
    ----------
    tables : dict of str to DataFrame
        By grouping factor, in lme4's order.
    """

    tables: dict[str, pd.DataFrame]

    def __getitem__(self, group: str) -> pd.DataFrame:
        if group not in self.tables:
            raise KeyError(f"No grouping factor {group!r}.{nearest(group, self.tables)}")
        return self.tables[group]

    def __iter__(self) -> Iterator[str]:
        return iter(self.tables)

    def __len__(self) -> int:
        return len(self.tables)

    def to_text(self, *, digits: int = 7) -> str:
        """Print with so many significant digits in every column."""
        return "\n".join(
            f"{r_element(group)}\n{frame_text(table, digits=digits)}\n"
            for group, table in self.tables.items()
        )

    def __str__(self) -> str:
        return self.to_text()

    def __repr__(self) -> str:
        return self.to_text()

    def _repr_html_(self) -> str:
        return "".join(
            table_html(
                frame_cells(table), labels(table.columns), rows=labels(table.index), caption=group
            )
            for group, table in self.tables.items()
        )


class Coefficients(GroupTables):
    """Coefficients by level: fixed effects plus random effects."""


@dataclass(frozen=True, eq=False, repr=False)
class RandomEffects(GroupTables):
    """Conditional modes of the random effects.

    Attributes
    ----------
    tables : dict of str to DataFrame
        Levels by columns, per grouping factor; terms of one factor share a table.
    condvar : dict of str to (l, k, k) array, or None
        Covariance of each level's random effects given the response, at the estimated parameters
        (fixed effects taken as known, as in lme4).

    Examples
    --------
    >>> modes = pd.DataFrame({"(Intercept)": [-17.6, 0.4]}, index=["A", "B"])
    >>> RandomEffects({"Batch": modes}, {"Batch": np.full((2, 1, 1), 383.6)}).to_frame()
      grpvar         term grp  condval     condsd
    0  Batch  (Intercept)   A    -17.6  19.585709
    1  Batch  (Intercept)   B      0.4  19.585709
    """

    condvar: dict[str, Matrix] | None = None

    def to_text(self, *, digits: int = 7) -> str:
        """Print with so many significant digits in every column."""
        text = super().to_text(digits=digits)
        if self.condvar is None:
            return text
        return f"{text}\nwith conditional variances for {' '.join(f'“{g}”' for g in self.condvar)} "

    def to_frame(self) -> pd.DataFrame:
        """Return R's ``as.data.frame(ranef(m))``.

        Returns
        -------
        DataFrame
            ``grpvar term grp condval`` and, with conditional variances, ``condsd``; one row per
            random effect, column by column.
        """
        return pd.concat(
            [self._stacked(group, table) for group, table in self.tables.items()],
            ignore_index=True,
        )

    def _stacked(self, group: str, table: pd.DataFrame) -> pd.DataFrame:
        levels, k = table.shape
        stacked = pd.DataFrame(
            {
                "grpvar": group,
                "term": np.repeat(labels(table.columns), levels),
                "grp": np.tile(labels(table.index), k),
                "condval": table.to_numpy().ravel(order="F"),
            }
        )
        if self.condvar is not None:
            variances = np.diagonal(self.condvar[group], axis1=1, axis2=2)
            stacked["condsd"] = np.sqrt(variances).ravel(order="F")
        return stacked


@dataclass(frozen=True, eq=False)
class PrincipalComponents(Mapping[str, tuple[Vector, Matrix]]):
    """Principal components of the random effects: R's ``rePCA``.

    Attributes
    ----------
    components : dict of str to (sd, rotation)
        Per grouping factor, standard deviations (k,) relative to sigma in decreasing order, and
        their directions (k, k) as columns.
    """

    components: dict[str, tuple[Vector, Matrix]]

    @classmethod
    def of(cls, groups: Sequence[str], factors: Sequence[Matrix]) -> PrincipalComponents:
        """Decompose the relative covariance factor (k, k) of each grouping factor."""
        decomposed = [np.linalg.svd(factor.T) for factor in factors]
        return cls(
            {group: (sd, Vh.T) for group, (_, sd, Vh) in zip(groups, decomposed, strict=True)}
        )

    def __getitem__(self, group: str) -> tuple[Vector, Matrix]:
        return self.components[group]

    def __iter__(self) -> Iterator[str]:
        return iter(self.components)

    def __len__(self) -> int:
        return len(self.components)

    def to_frame(self) -> pd.DataFrame:
        """Table of ``group component sd proportion cumulative``."""
        return pd.concat([_shares(group, sd) for group, (sd, _) in self.items()], ignore_index=True)

    def to_text(self, *, digits: int = 7) -> str:
        """Print standard deviations and directions with so many significant digits."""
        return "\n".join(
            f"{r_element(group)}\n{_prcomp_text(sd, rotation, digits)}\n"
            for group, (sd, rotation) in self.items()
        )

    def __str__(self) -> str:
        return self.to_text()

    def __repr__(self) -> str:
        return self.to_text()

    def summary(self) -> str:
        """Importance of the components, as R prints ``summary(rePCA(m))``."""
        return "\n".join(
            f"{r_element(group)}\nImportance of components:\n{_importance_text(sd)}\n"
            for group, (sd, _) in self.items()
        )

    def _repr_html_(self) -> str:
        return text_html(self.summary())


def _shares(group: str, sd: Vector) -> pd.DataFrame:
    proportion = _proportions(sd)
    return pd.DataFrame(
        {
            "group": group,
            "component": np.arange(1, len(sd) + 1),
            "sd": sd,
            "proportion": proportion,
            "cumulative": np.cumsum(proportion),
        }
    )


def _proportions(sd: Vector) -> Vector:
    """Shares of the variance; zeros where there is none."""
    total = float(sd @ sd)
    return sd**2 / total if total > 0.0 else np.zeros_like(sd)


def _prcomp_text(sd: Vector, rotation: Matrix, digits: int) -> str:
    k = len(sd)
    rows, columns = [f"[{i + 1},]" for i in range(k)], [f"[,{j + 1}]" for j in range(k)]
    cells = np.array([format_numbers(column, digits) for column in rotation.T], dtype=object).T
    return "\n".join(
        [
            f"Standard deviations (1, .., p={k}):",
            f"[1] {' '.join(format_numbers(sd, digits))}",
            "",
            f"Rotation (n x k) = ({k} x {k}):",
            matrix_text([list(map(str, row)) for row in cells], rows, columns),
        ]
    )


def _importance_text(sd: Vector) -> str:
    """R rounds the proportions to five decimals and prints the table with four digits."""
    proportion = _proportions(sd)
    table = np.vstack([sd, np.round(proportion, 5), np.round(np.cumsum(proportion), 5)])
    names = ["Standard deviation", "Proportion of Variance", "Cumulative Proportion"]
    columns = [format_numbers(column, 4) for column in table.T]
    header = [f"[,{j + 1}]" for j in range(len(sd))]
    return matrix_text([list(row) for row in zip(*columns, strict=True)], names, header)


def r_element(name: str) -> str:
    """How R heads an element of a printed list: backticks where the name is no R name."""
    plain = name.replace(".", "").replace("_", "").isalnum() and not name[0].isdigit()
    return f"${name}" if plain else f"$`{name}`"
