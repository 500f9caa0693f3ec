"""Random effects as tables per grouping factor, and their principal components."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lmm._types import Matrix, Vector
from lmm.report.cells import Cells, Column
from lmm.report.document import Block, Document
from lmm.report.format import format_numbers
from lmm.report.printed import Printed, PrintedMapping, PrintedTables
from lmm.report.tables import labels


class Coefficients(PrintedTables):
    """Coefficients by level: fixed effects plus random effects."""


@dataclass(frozen=True, eq=False, repr=False)
class RandomEffects(PrintedTables):
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

    def _blocks(self, digits: int) -> Iterator[Block]:
        yield from super()._blocks(digits)
        if self.condvar is not None:
            yield f"with conditional variances for {' '.join(f'“{g}”' for g in self.condvar)} "

    def to_frame(self) -> pd.DataFrame:
        """Return R's ``as.data.frame(ranef(m))``.

        Returns
        -------
        DataFrame
            ``grpvar term grp condval`` and, with conditional variances, ``condsd``; one row per
            random effect, column by column.
        """
        return pd.concat(
            [self._stacked(group, table) for group, table in self.tables.items()], ignore_index=True
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


@dataclass(frozen=True, eq=False, repr=False)
class PrincipalComponents(PrintedMapping[tuple[Vector, Matrix]]):
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

    @property
    def parts(self) -> dict[str, tuple[Vector, Matrix]]:
        """The components."""
        return self.components

    def to_frame(self) -> pd.DataFrame:
        """Table of ``group component sd proportion cumulative``."""
        return pd.concat([_shares(group, sd) for group, (sd, _) in self.items()], ignore_index=True)

    def document(self, *, digits: int = 7) -> Document:
        """Standard deviations and directions with so many significant digits."""
        parts = {g: _prcomp_blocks(sd, rotation, digits) for g, (sd, rotation) in self.items()}
        return Document.of_elements(parts)

    def summary(self) -> Importance:
        """Importance of the components, printed as R's ``summary(rePCA(m))``."""
        return Importance({group: sd for group, (sd, _) in self.items()})


@dataclass(frozen=True, eq=False, repr=False)
class Importance(Printed):
    """Shares of the variance that the principal components of each grouping factor have.

    Attributes
    ----------
    deviations : dict of str to (k,) array
        Standard deviations relative to sigma, per grouping factor.
    """

    deviations: dict[str, Vector]

    def document(self) -> Document:
        """A table per grouping factor."""
        return Document.of_elements({g: (_importance(sd),) for g, sd in self.deviations.items()})


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


def _prcomp_blocks(sd: Vector, rotation: Matrix, digits: int) -> tuple[Block, ...]:
    k = len(sd)
    columns = [
        Column(f"[,{j + 1}]", tuple(format_numbers(column, digits)))
        for j, column in enumerate(rotation.T)
    ]
    return (
        f"Standard deviations (1, .., p={k}):",
        f"[1] {' '.join(format_numbers(sd, digits))}",
        "",
        Cells(
            tuple(columns),
            tuple(f"[{i + 1},]" for i in range(k)),
            f"Rotation (n x k) = ({k} x {k}):",
        ),
    )


def _importance(sd: Vector) -> Cells:
    """R rounds the proportions to five decimals and prints the table with four digits."""
    proportion = _proportions(sd)
    table = np.vstack([sd, np.round(proportion, 5), np.round(np.cumsum(proportion), 5)])
    columns = [
        Column(f"[,{j + 1}]", tuple(format_numbers(column, 4))) for j, column in enumerate(table.T)
    ]
    names = ("Standard deviation", "Proportion of Variance", "Cumulative Proportion")
    return Cells(tuple(columns), names, "Importance of components:")
