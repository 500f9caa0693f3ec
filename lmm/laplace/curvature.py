"""The dearest second derivatives of the Laplace criterion (docs/theory/laplace.md, eqn. 8).

As parameters move, so do the weights W: ``Wdot_k = W' eta_k`` along direction k. The determinant
then changes by the traces of products of D, and by quadratic forms in the rows of Z. For one
grouping factor both are sums over levels; for several see `lmm.laplace.split`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lmm._types import Matrix
from lmm.laplace.effects import Elimination
from lmm.laplace.rows import grams, row_forms
from lmm.laplace.split import LARGEST

__all__ = ["is_exact", "moving_weights", "swept_forms"]


def is_exact(D: Elimination, directions: int) -> bool:
    """Whether these can be had in closed form, for some directions."""
    if D.is_single:
        return True
    split = D.split
    if split is None:
        return False
    tail = len(split.tail)
    return directions * tail * max(tail, D.effects.q - tail) <= LARGEST


def moving_weights(D: Elimination, moved: Matrix) -> Matrix:
    """``tr(D S_i D S_j)``, (d, d), with ``S_j = Z'diag(moved_j)Z`` for weights (n, d)."""
    if D.split is not None:
        return D.split.moving_weights(moved)
    group = D.effects.groups[0]
    S = np.array([grams(group, weights).transpose(2, 0, 1) for weights in moved.T])
    products = D.by_level @ S
    d = len(products)
    turned = np.swapaxes(products, -1, -2).reshape(d, -1)
    return np.asarray(products.reshape(d, -1) @ turned.T)


def swept_forms(D: Elimination, units: Sequence[Sequence[Matrix]]) -> Matrix:
    """``z'(I - DA) E (I - AD) z`` by row for every unit E of Gamma, (m, n)."""
    if D.split is not None:
        return np.array([D.split.swept_forms(unit) for unit in units])
    group = D.effects.groups[0]
    A = grams(group, D.weights).transpose(2, 0, 1)
    P = np.eye(group.size) - D.by_level @ A
    return np.array([row_forms(group, P @ E @ np.swapaxes(P, 1, 2)) for (E,) in units])
