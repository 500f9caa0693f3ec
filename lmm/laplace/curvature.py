"""Second derivatives of the Laplace criterion (docs/theory/laplace.md, eqns. 4-8).

Directions are the entries of Gamma that theta fills, the columns of X, and the family's xi. With
the derivatives eta_k of the linear predictor along each at the mode, and ``Wdot_k = W' eta_k``
those of the weights, the Hessian is what the mode's own curvature gives, less the traces of
products of F and of D, plus what the quadratic forms of Z do as the weights move.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lmm._types import Matrix, Vector
from lmm.laplace.effects import Effects, Elimination, entry_forms, grams, row_forms

__all__ = ["is_exact", "moving_weights", "swept_forms"]

# Entries of the products D S_k that are kept at once.
LARGEST = 40_000_000


def is_exact(D: Elimination, directions: int) -> bool:
    """Whether the dearest terms of the Hessian can be had in closed form."""
    return D.is_single or (D.whole is not None and directions * D.whole.size <= LARGEST)


def moving_weights(D: Elimination, moved: Matrix) -> Matrix:
    """``tr(D S_i D S_j)``, (d, d), with ``S_j = Z'diag(moved_j)Z`` for weights (n, d)."""
    products = _by_level(D, moved) if D.is_single else _whole(D, moved)
    d = len(products)
    turned = np.swapaxes(products, -1, -2).reshape(d, -1)
    return np.asarray(products.reshape(d, -1) @ turned.T)


def _by_level(D: Elimination, moved: Matrix) -> Matrix:
    """D S_j of every level of a single factor, (d, l, k, k)."""
    effects = D.effects
    group, k = effects.groups[0], effects.groups[0].size
    d = moved.shape[1]
    S = np.empty((d, group.n_levels, k, k))
    for a in range(k):
        for b in range(a + 1):
            product = group.Z[:, a] * group.Z[:, b]
            for j in range(d):
                sums = np.bincount(group.codes, moved[:, j] * product, group.n_levels)
                S[j, :, a, b] = S[j, :, b, a] = sums
    return np.asarray(D.blocks[0] @ S)


def _whole(D: Elimination, moved: Matrix) -> Matrix:
    """D S_j of several factors, (d, q, q)."""
    assert D.whole is not None
    effects = D.effects
    q = effects.q
    products = np.empty((moved.shape[1], q, q))
    for j, weights in enumerate(moved.T):
        products[j] = (effects.gram(weights) @ D.whole).T
    return products


def swept_forms(D: Elimination, units: Sequence[tuple[Matrix, ...]]) -> Matrix:
    """``z'(I - DA) E (I - AD) z`` by row for every unit E of Gamma, (m, n)."""
    return np.array(_swept_by_level(D, units) if D.is_single else _swept_whole(D, units))


def _swept_by_level(D: Elimination, units: Sequence[tuple[Matrix, ...]]) -> list[Vector]:
    group = D.effects.groups[0]
    A = grams(group, D.weights).transpose(2, 0, 1)
    P = np.eye(group.size) - D.blocks[0] @ A
    return [row_forms(group, P @ E @ np.swapaxes(P, 1, 2)) for (E,) in units]


def _swept_whole(D: Elimination, units: Sequence[tuple[Matrix, ...]]) -> list[Vector]:
    assert D.whole is not None
    effects = D.effects
    P = -(effects.gram(D.weights) @ D.whole).T
    P.flat[:: len(P) + 1] += 1.0
    return [entry_forms(effects, _congruence(effects, P, blocks)) for blocks in units]


def _congruence(effects: Effects, P: Matrix, blocks: Sequence[Matrix]) -> Matrix:
    """``P E P'`` (q, q) with E block-diagonal, mostly zero."""
    total = np.zeros_like(P)
    for start, group, block in zip(effects.starts, effects.groups, blocks, strict=False):
        stop = start + group.q
        for a, b in zip(*np.nonzero(block), strict=True):
            left = P[:, start + a : stop : group.size]
            right = P[:, start + b : stop : group.size]
            total += block[a, b] * (left @ right.T)
    return total
