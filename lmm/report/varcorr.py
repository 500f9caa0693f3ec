"""Estimated variances, standard deviations and correlations of the random effects."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from itertools import chain, count
from typing import Literal

import numpy as np
import pandas as pd

from lmm._types import Matrix, Vector, cached_property
from lmm.covariance import (
    AutoRegressive,
    CompoundSymmetry,
    Correlated,
    Covariance,
    Diagonal,
    OrnsteinUhlenbeck,
    ReportedParameter,
    ScaledIdentity,
)
from lmm.likelihood import correlations
from lmm.report.cells import Cells, Column
from lmm.report.document import Document
from lmm.report.format import format_numbers, round_decimals
from lmm.report.printed import PrintedMapping

Component = Literal["Variance", "Std.Dev."]
Row = tuple[str, str | None, str | None, float, float]


@dataclass(frozen=True, eq=False)
class VarianceBlock:
    """Covariance of one random-effects term, or of one column of a term without correlations.

    Attributes
    ----------
    columns : tuple of str
        Names of the k columns, such as ``(Intercept)``, ``Days``.
    covariance : (k, k) array
        Covariance matrix, in squared units of the response.
    structure : Covariance, optional
        Its structure; a full covariance if not given.
    """

    columns: tuple[str, ...]
    covariance: Matrix
    structure: Covariance | None = None

    @property
    def shown(self) -> int:
        """Number of columns that a print shows: one, where it stands for all."""
        structure = self.structure
        return 1 if isinstance(structure, Correlated) and structure.is_shared else len(self.columns)

    @property
    def sdcor(self) -> Matrix:
        """Standard deviations on the diagonal, correlations off it, (k, k)."""
        return np.where(np.eye(len(self.columns), dtype=bool), self.sd, self.correlation)

    @property
    def reported(self) -> tuple[ReportedParameter, ...]:
        """What stands for the parameters: names as in broom, ``(Intercept).Days``."""
        if isinstance(self.structure, Correlated):
            return self.structure.reported(self.columns)
        k = len(self.columns)
        pairs = [(i, j) for j in range(k) for i in range(j, k)]
        if isinstance(self.structure, Diagonal):
            pairs = [(i, i) for i in range(k)]
        return tuple(
            ReportedParameter(
                self.columns[i] if i == j else f"{self.columns[j]}.{self.columns[i]}", i, j
            )
            for i, j in pairs
        )

    @property
    def variance(self) -> Vector:
        """Variances, (k,)."""
        return np.diag(self.covariance)

    @property
    def sd(self) -> Vector:
        """Standard deviations, (k,)."""
        return np.sqrt(self.variance)

    @cached_property
    def correlation(self) -> Matrix:
        """Correlation matrix, (k, k); NaN where a standard deviation is 0."""
        return correlations(self.covariance)


@dataclass(frozen=True, eq=False, repr=False)
class VarCorr(PrintedMapping[VarianceBlock]):
    """Variance components of a fit: a mapping from group to `VarianceBlock`, printed as R.

    Attributes
    ----------
    blocks : dict of str to VarianceBlock
        By grouping factor, in lme4's order; further terms of one factor are ``Subject.1``, ...
    sigma : float or None
        Residual standard deviation; None for a model without one.
    is_known : bool
        Whether it was given, and not estimated: prints say ``(known)``.

    See Also
    --------
    variance_components : builds one from the terms of a model.

    Examples
    --------
    >>> covariance = np.array([[612.1, 9.604], [9.604, 35.07]])
    >>> vc = variance_components(["Subject"], [("(Intercept)", "Days")], [covariance], 25.59)
    >>> print(vc)
     Groups   Name        Std.Dev. Corr
     Subject  (Intercept) 24.741
              Days         5.922   0.066
     Residual             25.590
    >>> vc["Subject"].sd.round(2)
    array([24.74,  5.92])
    """

    blocks: dict[str, VarianceBlock]
    sigma: float | None
    is_known: bool = False

    missing = "No random effects of"

    @property
    def parts(self) -> dict[str, VarianceBlock]:
        """The blocks."""
        return self.blocks

    def document(
        self, *, digits: int = 5, components: Sequence[Component] = ("Std.Dev.",)
    ) -> Document:
        """R's ``print(VarCorr(m), digits, comp)``.

        Parameters
        ----------
        digits : int
            Significant digits of variances and standard deviations, which share their number of
            decimals over all groups; correlations get two decimals less, at least 2.
        components : sequence of {"Variance", "Std.Dev."}
            The columns to show.

        Raises
        ------
        ValueError
            If a component has another name.
        """
        return Document((self.cells(digits, components),))

    def _repr_html_(self) -> str:
        return self.to_html(components=("Variance", "Std.Dev."))

    def cells(self, digits: int, components: Sequence[Component]) -> Cells:
        """The table alone, everything to the left as R prints it."""
        groups, names = zip(*self._labels(), strict=True)
        correlations = zip(*self._correlation_texts(max(2, digits - 2)), strict=True)
        return Cells(
            (
                Column("Groups", groups, "label", left=True),
                Column("Name", names, "label", left=True),
                *(
                    Column(name, tuple(self._component_texts(name, digits)), left=True)
                    for name in components
                ),
                *(
                    Column("" if j else "Corr", texts, left=True)
                    for j, texts in enumerate(correlations)
                ),
            )
        )

    def _labels(self) -> list[tuple[str, str]]:
        labels = [
            (group if j == 0 else "", column)
            for group, block in self.blocks.items()
            for j, column in enumerate(block.columns[: block.shown])
        ]
        residual = ("Residual", "(known)" if self.is_known else "")
        return labels if self.sigma is None else [*labels, residual]

    def _component_texts(self, component: Component, digits: int) -> list[str]:
        blocks = self.blocks.values()
        residual = [] if self.sigma is None else [self.sigma]
        if component == "Variance":
            variances = [*(block.variance[: block.shown] for block in blocks), np.square(residual)]
            return format_numbers(np.concatenate(variances), digits)
        if component == "Std.Dev.":
            return format_numbers(
                np.concatenate([*(block.sd[: block.shown] for block in blocks), residual]), digits
            )
        raise ValueError(f"Unknown component {component!r}: a column is 'Variance' or 'Std.Dev.'.")

    def _correlation_texts(self, decimals: int) -> list[list[str]]:
        """Lower triangles without their diagonals, one row per column of every block."""
        lines = [
            line
            for block in self.blocks.values()
            for line in _correlation_rows(block, decimals)[: block.shown]
        ]
        if self.sigma is not None:
            lines.append([])
        width = max(map(len, lines))
        return [line + [""] * (width - len(line)) for line in lines]

    def to_frame(self, order: Literal["cov.last", "lower.tri"] = "cov.last") -> pd.DataFrame:
        """Return R's ``as.data.frame(VarCorr(m))``.

        Parameters
        ----------
        order : {"cov.last", "lower.tri"}
            Whether the covariances of a term follow its variances, or stand where the lower
            triangle, column by column, has them.

        Returns
        -------
        DataFrame
            ``grp``, ``var1``, ``var2`` (missing for a variance), ``vcov`` (variance or
            covariance) and ``sdcor`` (standard deviation or correlation).

        Raises
        ------
        ValueError
            If `order` is neither of the two.
        """
        if order not in ("cov.last", "lower.tri"):
            raise ValueError(f"order is {order!r}: it must be 'cov.last' or 'lower.tri'.")
        rows = [row for group in self.blocks for row in self._frame_rows(group, order)]
        if self.sigma is not None:
            rows.append(("Residual", None, None, self.sigma**2, self.sigma))
        return pd.DataFrame(rows, columns=["grp", "var1", "var2", "vcov", "sdcor"])

    def _frame_rows(self, group: str, order: str) -> list[Row]:
        block = self.blocks[group]
        columns = block.columns
        pairs = [(i, j) for j in range(len(columns)) for i in range(j, len(columns))]
        if isinstance(block.structure, Diagonal | ScaledIdentity):
            pairs = [pair for pair in pairs if pair[0] == pair[1]]
        if order == "cov.last":
            pairs.sort(key=lambda pair: pair[0] != pair[1])
        return [
            (group, columns[j], None, block.variance[i], block.sd[i])
            if i == j
            else (group, columns[j], columns[i], block.covariance[i, j], block.correlation[i, j])
            for i, j in pairs
        ]


def variance_components(
    groups: Sequence[str],
    columns: Sequence[tuple[str, ...]],
    covariances: Sequence[Matrix],
    sigma: float | None,
    *,
    structures: Sequence[Covariance] | None = None,
    is_known: bool = False,
) -> VarCorr:
    """Gather the terms' covariance matrices under lme4's names.

    Parameters
    ----------
    groups : sequence of str
        Grouping factor of each term.
    columns : sequence of tuple of str
        Names of each term's k columns.
    covariances : sequence of (k, k) arrays
        Covariance matrix of each term, in squared units of the response.
    sigma : float or None
        Residual standard deviation.
    structures : sequence of Covariance, optional
        Structure of each term; full covariances if not given.
    is_known : bool
        Whether sigma was given, and not estimated.

    Returns
    -------
    VarCorr
        Groups that occur again are numbered as R does: ``Subject``, ``Subject.1``.

    Examples
    --------
    >>> vc = variance_components(
    ...     ["Pig", "Pig"], [("(Intercept)",), ("Time",)], [np.eye(1), 0.4 * np.eye(1)], 2.45
    ... )
    >>> list(vc)
    ['Pig', 'Pig.1']
    """
    blocks: dict[str, VarianceBlock] = {}
    known = [None] * len(groups) if structures is None else structures
    for group, names, covariance, structure in zip(
        groups, columns, covariances, known, strict=True
    ):
        block = VarianceBlock(tuple(names), covariance, structure)
        blocks[_unused_name(group, blocks)] = block
    return VarCorr(blocks, sigma, is_known)


def _unused_name(name: str, used: Container[str]) -> str:
    numbered = (f"{name}.{k}" for k in count(1))
    return next(new for new in chain([name], numbered) if new not in used)


def _correlation_rows(block: VarianceBlock, decimals: int) -> list[list[str]]:
    """The correlations behind each column: the lower triangle, or what a structure has of them."""
    match block.structure:
        case Diagonal() | ScaledIdentity():
            return [[] for _ in block.columns]
        case CompoundSymmetry() | AutoRegressive() | OrnsteinUhlenbeck() as structure:
            (one,) = structure.correlations()
            rho = np.array([block.correlation[one.row, one.column]])
            (text,) = format_numbers(round_decimals(rho, decimals), decimals=decimals, na="NaN")
            return [[f"{text} ({structure.word})"], *([] for _ in block.columns[1:])]
        case _:
            return _lower_rows(block, decimals)


def _lower_rows(block: VarianceBlock, decimals: int) -> list[list[str]]:
    """Correlations left of the diagonal; the whole matrix is formatted to one width."""
    k = len(block.columns)
    values = round_decimals(block.correlation.ravel(), decimals)
    texts = format_numbers(values, decimals=decimals, na="NaN")
    return [texts[i * k : i * k + i] for i in range(k)]
