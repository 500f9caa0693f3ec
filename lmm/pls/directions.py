"""Second derivatives by directions: the entries (a, b) of the groups' Gammas, row by row.

``E_ab`` is one in its entry of every level of a group and zero elsewhere, K of them in all. Blocks
F of ``Z'V^-1 Z`` and effects v give ``tr(F E_ab F E_cd)`` and the vectors ``E_ab v``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import accumulate

import numpy as np

from lmm._lapack import einsum
from lmm._types import IntVector, Matrix, Vector
from lmm.pls.base import FullDerivatives, PLSTerms
from lmm.pls.groups import Group


def directions(v: Matrix) -> Matrix:
    """E_ab v for all (a, b), row by row: (k * k, k, l) from v (k, l)."""
    k, n_levels = v.shape
    if k == 1:
        return v[None]
    W = np.zeros((k, k, k, n_levels))
    for a in range(k):
        W[a, :, a, :] = v
    return W.reshape(k * k, k, n_levels)


def level_traces(F: Matrix, counts: Vector | None = None) -> Matrix:
    """``sum_i tr(F_i E_ab F_i' E_cd)`` (k^2, c^2) for blocks F (k, c, l) of separate levels.

    Levels may count several times, (l,).
    """
    k, c, n_levels = F.shape
    rows = F.reshape(k * c, n_levels)
    square = ((rows if counts is None else rows * counts) @ rows.T).reshape(k, c, k, c)
    return np.asarray(square.transpose(2, 0, 1, 3).reshape(k * k, c * c))


def pair_traces(F: Matrix, g: Group, h: Group) -> Matrix:
    """``tr(F E F'E')`` (k_g^2, k_h^2) over entries of two groups' Gammas, for F (q_g, q_h)."""
    levels = F.reshape(g.n_levels, g.size, h.n_levels, h.size)
    return level_traces(levels.transpose(1, 3, 0, 2).reshape(g.size, h.size, -1))


def squares(E: Matrix) -> Matrix:
    """Sum over levels of ``e_s e_t'`` for E (t, k, l), (t, k, t, k)."""
    t, k, n_levels = E.shape
    rows = E.reshape(t * k, n_levels)
    return np.asarray(rows @ rows.T).reshape(t, k, t, k)


def restricted(trace: Matrix, forms: Matrix, EE: Sequence[Matrix]) -> Matrix:
    """The trace with ``Z'PZ = Z'V^-1 Z - sum_s e_s e_s'`` for ``Z'V^-1 Z``, s over columns of X.

    Parameters
    ----------
    trace : (K, K) array
        ``tr(F E F E')`` with ``F = Z'V^-1 Z``.
    forms : (K, K) array
        Sum over s of ``w'F w`` for ``w = E_ab e_s``.
    EE : sequence of (t, k, t, k) arrays
        `squares` per group.
    """
    p, sizes = len(EE[0]) - 1, tuple(each.shape[1] for each in EE)
    rows = [
        each[:p, :, :p].transpose(1, 3, 0, 2).reshape(k * k, p * p)
        for each, k in zip(EE, sizes, strict=True)
    ]
    G, turn = _joined(rows), _transposed(sizes)
    across = forms[turn]
    return np.asarray(trace + G @ G[turn].T - across - across.T)


@cache
def _transposed(sizes: tuple[int, ...]) -> IntVector:
    """Number of the direction (b, a) for each (a, b)."""
    starts = accumulate((k * k for k in sizes), initial=0)
    each = zip(sizes, starts, strict=False)
    turned = [start + np.arange(k * k).reshape(k, k).T.ravel() for k, start in each]
    return np.concatenate(turned)


def assembled(
    terms: PLSTerms,
    groups: Sequence[Group],
    sums: Sequence[Matrix],
    EE: Sequence[Matrix],
    forms: Matrix,
    scoring: Matrix,
    reml: bool,
    exact: bool,
) -> FullDerivatives:
    """Derivatives from sums by group, restricted to the blocks of the terms.

    Parameters
    ----------
    terms : PLSTerms
        The values.
    groups : sequence of Group
        The groups.
    sums : sequence of (k, k) arrays
        Sums over levels of the diagonal blocks of Z'V^-1 Z.
    EE : sequence of (t, k, t, k) arrays
        `squares` of ``E = Z'V^-1 [X y] L^-T``, of which the last column is ``v / sqrt(pwrss)``.
    forms, scoring : (K, K) arrays
        ``w'Z'V^-1 Zw`` for ``w = E_ab v``, and ``tr(F E_ab F E_cd)``.
    reml : bool
        Whether the log determinant includes that of X'V^-1 X.
    exact : bool
        Whether `scoring` leaves nothing out.
    """
    p, logdet = len(EE[0]) - 1, list(sums)
    if reml:
        own = (einsum("sasb->ab", each[:p, :, :p]) for each in EE)
        logdet = [F - fixed for F, fixed in zip(sums, own, strict=True)]
    # sums of E_X,a v_b: w'E_X for w = E_ab v
    across = [each[p, :, :p].transpose(2, 0, 1).reshape(each.shape[1] ** 2, p) for each in EE]
    fixed = _joined(across)
    average, quadratic = forms - fixed @ fixed.T, [each[p, :, p] for each in EE]
    if [i for group in groups for i, _ in group.members] != list(range(len(groups))):
        chosen = entries(groups)
        average, scoring = average[chosen[:, None], chosen], scoring[chosen[:, None], chosen]
        logdet, quadratic = by_term(groups, logdet), by_term(groups, quadratic)
    trace = scoring if exact else None
    return FullDerivatives(terms, tuple(logdet), tuple(quadratic), average, scoring, trace)


def _joined(parts: list[Matrix]) -> Matrix:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def entries(groups: Sequence[Group]) -> IntVector:
    """Numbers of the directions in the terms' blocks, in the terms' order."""
    found: dict[int, IntVector] = {}
    starts = accumulate((group.size**2 for group in groups), initial=0)
    for group, start in zip(groups, starts, strict=False):
        index = start + np.arange(group.size**2).reshape(group.size, group.size)
        found |= {i: index[part, part].ravel() for i, part in group.members}
    return np.concatenate([found[i] for i in range(len(found))])


def by_term(groups: Sequence[Group], blocks: Sequence[Matrix]) -> list[Matrix]:
    """The terms' blocks of matrices (k, k) by group, in the terms' order."""
    each = zip(groups, blocks, strict=True)
    found = {i: block[part, part] for group, block in each for i, part in group.members}
    return [found[i] for i in range(len(found))]
