"""Products with, and blocks of, ``D = Lambda (Lambda'Z'Z Lambda + I)^-1 Lambda'``.

D is the covariance of the random effects given the response (and the fixed effects), over sigma^2.
Every `PLSPoint` multiplies by it and has its diagonal blocks; what it does not hold of the rest is
solved for here, a few columns at a time.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lmm._types import IntVector, Matrix, Vector
from lmm.pls.base import Blocks, PLSPoint
from lmm.pls.groups import Group

# Numbers in the columns that are solved for at once.
CHUNK = 1 << 22


def flat(effects: Matrix) -> Matrix:
    """Effects of one group (r, k, l) as rows, level by level and columns within, (l k, r)."""
    r, k, n_levels = effects.shape
    return effects.transpose(2, 1, 0).reshape(n_levels * k, r)


def by_level(rows: Matrix, group: Group) -> Matrix:
    """The inverse of `flat`: (r, k, l) for rows (l k, r)."""
    return rows.reshape(group.n_levels, group.size, rows.shape[1]).transpose(2, 1, 0)


def by_solving(
    solve: Callable[[Blocks], Blocks],
    groups: tuple[Group, ...],
    g: int,
    h: int,
    i: IntVector,
    j: IntVector,
) -> Matrix:
    """Blocks (k_g, k_h, m) of D between levels i of group g and j of group h, by products."""
    left, right = groups[g], groups[h]
    levels, place = np.unique(j, return_inverse=True)
    found = np.empty((left.size, right.size, len(i)))
    step = max(1, CHUNK // (right.size * sum(group.q for group in groups)))
    for start in range(0, len(levels), step):
        chosen = levels[start : start + step]
        here = np.flatnonzero((place >= start) & (place < start + step))
        columns = tuple(
            np.zeros((len(chosen) * right.size, group.size, group.n_levels)) for group in groups
        )
        for b in range(right.size):
            columns[h][b * len(chosen) + np.arange(len(chosen)), b, chosen] = 1.0
        solved = solve(columns)[g].reshape(right.size, len(chosen), left.size, left.n_levels)
        found[:, :, here] = solved[:, place[here] - start, :, i[here]].transpose(2, 1, 0)
    return found


def dense_blocks(D: Matrix, rows: IntVector, columns: IntVector) -> Matrix:
    """Blocks (a, b, m) of a dense D (q, q) at rows (m, a) and columns (m, b)."""
    return D[rows[:, :, None], columns[:, None, :]].transpose(1, 2, 0)


def row_quadratic(point: PLSPoint, groups: tuple[Group, ...]) -> Vector:
    """``z'Dz`` of each row (n,), for the columns of groups of the point's problem.

    Parameters
    ----------
    point : PLSPoint
        Where.
    groups : tuple of Group
        Those of its problem, weighted or (as in its layout) not.
    """
    problem = point.pls.problem
    total = np.zeros(problem.n)
    for g, (group, D) in enumerate(zip(groups, point.diagonal, strict=True)):
        for a, left in enumerate(group.Z.T):
            for b, right in enumerate(group.Z.T):
                total += left * right * D[a, b, group.codes]
        for h, other in enumerate(groups[:g]):
            cells = problem.cells(g, h)
            blocks = point.blocks(g, h, cells.i, cells.j)
            for a, left in enumerate(group.Z.T):
                for b, right in enumerate(other.Z.T):
                    total += 2.0 * left * right * blocks[a, b, cells.rows]
    return total
