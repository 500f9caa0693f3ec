"""Arrows from means that overlap where their difference is not significant.

For two means ``a < b`` the arrow of a to the right and that of b to the left, of lengths R and L,
meet if ``R + L >= b - a``. With m the least significant difference of the two, all ``R + L = m``
are solved by least squares. Where an overlap then says otherwise than the test, the lengths are
moved as little as makes all of them agree, by linear programming, or as many as can.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lmm._types import IntMatrix, Matrix, Vector
from lmm.tables.emmeans.estimates_table import EstimatesTable
from lmm.tables.emmeans.row_labels import groups

# Gap or overlap that is seen, of the largest difference.
SEEN = 1e-3
# Means so near to the smallest or the largest, of their range, are equal to it.
EQUAL = 1e-9
# Price of a pair that the arrows show wrongly, in lengths.
WRONG = 1e3


@dataclass(frozen=True, eq=False)
class Arrows:
    """Comparison arrows of means, on the scale on which they were compared.

    Attributes
    ----------
    left, right : (r,) arrays
        Ends of the arrows; NaN where there is none, as to the left of the smallest mean.
    wrong : tuple of str
        Differences whose significance the arrows cannot show.
    """

    left: Vector
    right: Vector
    wrong: tuple[str, ...]


def comparison_arrows(means: EstimatesTable, pairs: EstimatesTable) -> Arrows:
    """Arrows of means, within each group of them.

    Parameters
    ----------
    means : EstimatesTable
        The means.
    pairs : EstimatesTable
        All their differences, whose level and adjustment count; neither on the response's scale.
    """
    assert pairs.differences is not None
    table = pairs.summary(level=pairs.shown.level).to_frame()
    margins = 0.5 * np.ptp(table.iloc[:, -4:-2].to_numpy(dtype=float), axis=1)
    significant = table["p.value"].to_numpy() < 1.0 - pairs.shown.level
    estimates = means.to_frame()[means.column].to_numpy()
    left, right = np.full((2, len(means)), np.nan)
    wrong: list[str] = []
    compared = {tuple(labels.values()): rows for labels, rows in groups(pairs.labels, pairs.by)}
    for labels, members in groups(means.labels, means.by):
        rows = compared[tuple(labels.values())]
        rows = rows[np.isfinite(margins[rows])]
        known, places = np.unique(pairs.differences[rows], return_inverse=True)
        inside = members[known]
        own = estimates[inside]
        ends = places.reshape(-1, 2)
        lengths, failed = arrow_lengths(own, ends, margins[rows], significant[rows])
        equal = EQUAL * np.ptp(own)
        left[inside] = np.where(own > own.min() + equal, own - lengths[:, 1], np.nan)
        right[inside] = np.where(own < own.max() - equal, own + lengths[:, 0], np.nan)
        wrong += [str(name) for name in pairs.labels.iloc[rows[failed], 0]]
    return Arrows(left, right, tuple(wrong))


def arrow_lengths(
    estimates: Vector, pairs: IntMatrix, margins: Vector, significant: np.ndarray
) -> tuple[Matrix, np.ndarray]:
    """Lengths to the right and to the left, (r, 2), and the pairs (k,) that they show wrongly.

    Parameters
    ----------
    estimates : (r,) array
        The means.
    pairs : (k, 2) int array
        Positions of compared means.
    margins : (k,) array
        Least significant difference of each pair.
    significant : (k,) bool array
        Whether their difference is.

    Examples
    --------
    >>> pairs = np.array([[0, 1], [0, 2], [1, 2]])
    >>> lengths, wrong = arrow_lengths(
    ...     np.array([1.0, 2.0, 5.0]), pairs, np.full(3, 2.0), np.array([False, True, True])
    ... )
    >>> lengths.round(2).tolist(), bool(wrong.any())
    ([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]], False)
    """
    from scipy.optimize import lsq_linear

    rising = estimates[pairs[:, 0]] <= estimates[pairs[:, 1]]
    low, high = np.where(rising[:, None], pairs, pairs[:, ::-1]).T
    gaps = estimates[high] - estimates[low]
    r, k = len(estimates), len(pairs)
    A = np.zeros((k, 2 * r))
    A[np.arange(k), low] = A[np.arange(k), r + high] = 1.0
    # Of all solutions the shortest.
    start = np.linalg.lstsq(A, margins, rcond=None)[0]
    if (start < 0.0).any():
        start = lsq_linear(A, margins, (0.0, np.inf)).x
    lengths = start
    if _wrong(A @ start, gaps, significant).any():
        lengths = _moved(start, A, gaps, significant)
    return lengths.reshape(2, r).T, _wrong(A @ lengths, gaps, significant)


def _wrong(reach: Vector, gaps: Vector, significant: np.ndarray) -> np.ndarray:
    """Pairs whose arrows meet though they differ, or do not though they do not, (k,)."""
    return np.asarray((reach >= gaps) == significant)


def _moved(start: Vector, A: Matrix, gaps: Vector, significant: np.ndarray) -> Vector:
    """Lengths near others that meet where the differences are not significant, as far as can be."""
    from scipy.optimize import linprog

    k, n = A.shape
    seen = SEEN * float(gaps.max())
    side = np.where(significant, 1.0, -1.0)
    bound = np.where(significant, gaps - seen, -gaps)
    # Variables: lengths, distances from the start, and by how much each pair is shown wrongly.
    near = np.block([[np.eye(n), -np.eye(n)], [-np.eye(n), -np.eye(n)]])
    upper = np.block(
        [[side[:, None] * A, np.zeros((k, n)), -np.eye(k)], [near, np.zeros((2 * n, k))]]
    )
    limits = np.concatenate([bound, start, -start])
    cost = np.concatenate([np.zeros(n), np.ones(n), np.full(k, WRONG)])
    found = linprog(cost, A_ub=upper, b_ub=limits).x
    return start if found is None else np.asarray(found[:n])
