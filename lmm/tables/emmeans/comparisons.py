"""Comparisons of means as effect sizes, matrices of p-values, and compact letters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from lmm._types import Matrix, Vector
from lmm.errors import DataError, checked_level
from lmm.likelihood import critical_value
from lmm.report.document import Block, Document
from lmm.report.estimate_blocks import estimates_blocks
from lmm.report.printed import Framed, Printed
from lmm.report.tables import frame_cells
from lmm.tables.emmeans.estimates_table import EstimatesTable
from lmm.tables.emmeans.row_labels import groups, label_text, row_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, eq=False, repr=False)
class EffectSizes(Framed):
    """Contrasts divided by a standard deviation, with confidence intervals.

    Attributes
    ----------
    frame : DataFrame
        The labels, then ``effect.size SE df lower.CL upper.CL``.
    by : tuple of str
        Labels whose combinations are shown apart.
    sigma : float
        The standard deviation.
    level : float
        Coverage of the intervals.
    """

    by: tuple[str, ...]
    sigma: float
    level: float

    def document(self) -> Document:
        """The table by group, and what it stands on."""
        half = 0.5 * (self.frame["upper.CL"] - self.frame["lower.CL"]).to_numpy()
        blocks = estimates_blocks(self.frame, "effect.size", self.by, half)
        notes = (f"sigma used for effect sizes: {self.sigma:.4g} ",)
        return Document((*blocks, "", *notes, f"Confidence level used: {self.level:g} "))


def effect_sizes(
    contrasts: EstimatesTable, sigma: float, edf: float, level: float = 0.95
) -> EffectSizes:
    """Divide contrasts by a standard deviation that is estimated too.

    With d the contrast over sigma, and ``1 / (2 edf)`` the variance of log sigma, independent of
    the contrast, the delta method gives ``SE(d)^2 = (SE / sigma)^2 + d^2 / (2 edf)``.

    Parameters
    ----------
    contrasts : Estimates
        Differences of means.
    sigma : float
        Standard deviation. What it should be in a mixed model is a choice: the residual one, or
        that of a new observation, the root of the sum of all variances.
    edf : float
        Its degrees of freedom; infinite for a known one.
    level : float
        Coverage of the intervals.

    Raises
    ------
    DataError
        Sigma or its degrees of freedom are not positive.

    Examples
    --------
    >>> import lmm
    >>> m = lmm.lmer("angle ~ recipe + (1 | recipe:replicate)", lmm.load_dataset("cake"))
    >>> lmm.emmeans(m, "recipe").eff_size(sigma=5, edf=40)
     contrast effect.size    SE df lower.CL upper.CL
     A - B        0.29556 0.492 42   -0.698     1.29
     A - C        0.30444 0.492 42   -0.689     1.30
     B - C        0.00889 0.491 42   -0.982     1.00
    <BLANKLINE>
    sigma used for effect sizes: 5
    Confidence level used: 0.95
    """
    if not (0.0 < sigma < np.inf and edf > 0.0):
        raise DataError(f"sigma and edf must be positive, not {sigma!r} and {edf!r}")
    tests = contrasts.estimator.t_tests(contrasts.L, contrasts.offset)
    size = tests.estimate / sigma
    error = np.sqrt((tests.std_error / sigma) ** 2 + size**2 / (2.0 * edf))
    half = critical_value(checked_level(level), tests.df) * error
    frame = contrasts.labels.assign(**{"effect.size": size, "SE": error, "df": tests.df})
    frame["lower.CL"], frame["upper.CL"] = size - half, size + half
    return EffectSizes(frame, contrasts.by, float(sigma), level)


@dataclass(frozen=True, eq=False)
class _GroupOfMeans:
    """Means of a group with the differences of all pairs of them."""

    title: str
    names: list[str]
    means: Vector
    differences: Matrix
    p_values: Matrix


def _compared(means: EstimatesTable, pairs: EstimatesTable) -> list[_GroupOfMeans]:
    """Groups of means, with the tests of `pairs` as square matrices."""
    frame, tested = means.to_frame(), pairs.summary(tests=True).to_frame()
    statistic = tested[pairs.column].to_numpy(), tested["p.value"].to_numpy()
    assert pairs.differences is not None
    found = []
    inside = [rows for _, rows in groups(pairs.labels, pairs.by)]
    for (labels, rows), tests in zip(groups(means.labels, means.by), inside, strict=True):
        square = np.full((2, len(rows), len(rows)), np.nan)
        i, j = np.sort(pairs.differences[tests], axis=1).T
        for matrix, values in zip(square, statistic, strict=True):
            matrix[i, j] = matrix[j, i] = values[tests]
        title = ", ".join(f"{name} = {label_text(level)}" for name, level in labels.items())
        names = row_names(means.labels.iloc[rows], means.by)
        values = frame[means.column].to_numpy()[rows]
        found.append(_GroupOfMeans(title, names, values, *square))
    return found


@dataclass(frozen=True, eq=False, repr=False)
class PairwiseMatrices(Printed):
    """Matrices of means: means on the diagonal, differences below, p-values above.

    Attributes
    ----------
    matrices : dict of str to DataFrame
        By group; under the empty name if there are no groups.
    notes : tuple of str
        What is what.

    Examples
    --------
    >>> import lmm
    >>> m = lmm.lmer("angle ~ recipe + (1 | recipe:replicate)", lmm.load_dataset("cake"))
    >>> lmm.emmeans(m, "recipe").pwpm().matrices[""].round(4)
             A        B        C
    A  33.1222   0.8200   0.8102
    B   1.4778  31.6444   0.9998
    C   1.5222   0.0444  31.6000
    """

    matrices: dict[str, pd.DataFrame]
    notes: tuple[str, ...]

    @classmethod
    def of(cls, means: EstimatesTable, pairs: EstimatesTable) -> PairwiseMatrices:
        """Matrices of means and of all their differences."""
        tables = {}
        for group in _compared(means, pairs):
            lower = np.tri(len(group.names), k=-1, dtype=bool)
            values = np.where(lower, group.differences, group.p_values)
            np.fill_diagonal(values, group.means)
            tables[group.title] = pd.DataFrame(values, index=group.names, columns=group.names)
        notes = (
            f"Upper triangle: p-values, adjustment: {pairs.shown.adjustment}",
            f"Diagonal: {means.column}",
            "Lower triangle: differences",
        )
        return cls(tables, notes)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Every pair of means as a line between their rows, at its p-value (emmeans' ``pwpp``).

        Parameters
        ----------
        ax : Axes, optional
            Where to draw. Means stand in rising order, group by group.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("angle ~ recipe + (1 | recipe:replicate)", lmm.load_dataset("cake"))
        >>> lmm.emmeans(m, "recipe").pwpm().plot().get_xlabel()
        'p-value'
        """
        from lmm.plots.means import pairwise

        names: list[str] = []
        pairs: list[tuple[int, int, float]] = []
        for title, table in self.matrices.items():
            values = table.to_numpy()
            order = np.argsort(np.diag(values), kind="stable")
            start = len(names)
            names += [f"{title}: {table.index[i]}" if title else table.index[i] for i in order]
            for a, b in combinations(range(len(order)), 2):
                i, j = sorted((order[a], order[b]))
                pairs.append((start + a, start + b, float(values[i, j])))
        return pairwise(names, pairs, ax)

    def document(self, *, digits: int = 4) -> Document:
        """The matrices, with so many significant digits."""
        blocks: list[Block] = []
        for title, table in self.matrices.items():
            blocks += [*([f"{title}:"] if title else []), frame_cells(table, digits), ""]
        return Document((*blocks, *self.notes))


@dataclass(frozen=True, eq=False, repr=False)
class CompactLetters(Framed):
    """Means in rising order, with signs: two have one in common if they do not differ.

    Means without a significant difference are not shown to be equal; `PairwiseMatrices` and
    `Estimates.pairs` say more.

    Attributes
    ----------
    frame : DataFrame
        The means, and their signs in the column ``.group``.
    means : EstimatesTable
        The means.
    alpha : float
        Significance level.
    adjustment : str
        How the p-values of the differences are adjusted.
    """

    means: EstimatesTable
    alpha: float
    adjustment: str

    @classmethod
    def of(
        cls, means: EstimatesTable, pairs: EstimatesTable, alpha: float, reverse: bool
    ) -> CompactLetters:
        """Signs of means by the tests of all their differences."""
        shown = means.summary(True, False).to_frame()
        parts = []
        compared = _compared(means, pairs)
        for (_, rows), group in zip(groups(means.labels, means.by), compared, strict=True):
            order = np.argsort(-group.means if reverse else group.means, kind="stable")
            part = shown.iloc[rows[order]].copy()
            part[".group"] = compact_letters(group.p_values[np.ix_(order, order)] < alpha)
            parts.append(part)
        frame = pd.concat(parts, ignore_index=True)
        return cls(frame, means, alpha, pairs.shown.adjustment)

    def document(self) -> Document:
        """The means by group, and how they were compared."""
        half = 0.5 * np.ptp(self.frame.iloc[:, -3:-1].to_numpy(dtype=float), axis=1)
        blocks = estimates_blocks(self.frame, self.means.column, self.means.by, half)
        notes = (
            f"P value adjustment: {self.adjustment} method ",
            f"significance level used: alpha = {self.alpha:.4g} ",
            "Means that share a sign are not shown to be equal: they do not differ significantly. ",
        )
        return Document((*blocks, "", *notes))


def compact_letters(differ: np.ndarray) -> list[str]:
    """Signs of r means, in common where they do not differ.

    Insertion and absorption (Piepho, 2004, J. Comput. Graph. Stat. 13, 456-466): a set that holds
    two means which differ is replaced by two that lack one of them; sets within others go.

    Parameters
    ----------
    differ : (r, r) bool array
        Whether two means differ.

    Examples
    --------
    >>> compact_letters(np.array([[0, 0, 1], [0, 0, 0], [1, 0, 0]], dtype=bool))
    [' 1 ', ' 12', '  2']
    """
    sets = [frozenset(range(len(differ)))]
    for i, j in combinations(range(len(differ)), 2):
        if differ[i, j]:
            split = [part for one in sets for part in _without_both(one, i, j)]
            sets = [one for one in dict.fromkeys(split) if not any(one < other for other in split)]
    sets.sort(key=sorted)
    signs = [_sign(k) for k in range(len(sets))]
    return [
        " " + "".join(sign if i in one else " " for sign, one in zip(signs, sets, strict=True))
        for i in range(len(differ))
    ]


def _without_both(one: frozenset[int], i: int, j: int) -> Sequence[frozenset[int]]:
    return [one - {i}, one - {j}] if {i, j} <= one else [one]


def _sign(k: int) -> str:
    """Digits from 1, then letters."""
    return "123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"[k % 61]
