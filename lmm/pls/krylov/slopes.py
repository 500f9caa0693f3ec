"""Derivatives of the scaled tail by the covariances: what quadratic forms ``u'S w`` change by.

With ``Gamma = Lambda Lambda'`` and the lower-triangular Lambda, a change of Gamma moves S of (1)
through K (the leading factor's Gamma), Lambda and the scaling L (docs/theory/krylov.md,
krylov-forms). Directions are the entries of the k x k matrices Gamma, as in
`lmm.pls.base.Derivatives`.
"""

from __future__ import annotations

import numpy as np

from lmm._types import Matrix
from lmm.pls.krylov.system import COLUMNS, Scaled

Slopes = tuple[Matrix, ...]
"""Derivatives (..., k, k) by the Gamma of the leading group, then of the tail's."""


def exact_slopes(scaled: Scaled) -> Slopes:
    """Derivatives (k, k) of ``sum log|lambda'A_i lambda + I| + sum log|D_j|``."""
    lead = np.einsum("abm,bcm->ac", scaled.N, scaled.system.A)
    inverses = [np.einsum("bam,bcm->acm", inner, inner) for inner in scaled.inner]
    for P, lam, D in zip(scaled.squares, scaled.lams, inverses, strict=True):
        lead = lead - np.einsum("abcdm,cdm->ab", P, np.einsum("ab,bcm,dc->adm", lam, D, lam))
    return lead, *(blocks.sum(axis=2) for blocks in level_blocks(scaled))


def level_blocks(scaled: Scaled) -> list[Matrix]:
    """``K_jj (I + Gamma K_jj)^-1``, (k, k, l_g): Z_j'V^-1 Z_j but for couplings in the tail."""
    found: list[Matrix] = []
    for K, lam in zip(scaled.blocks, scaled.lams, strict=True):
        stacked = np.moveaxis(K, 2, 0)
        solved = np.linalg.solve(np.eye(len(lam)) + stacked @ (lam @ lam.T), stacked)
        found.append(np.moveaxis(0.5 * (solved + solved.transpose(0, 2, 1)), 0, 2))
    return found


def form_slopes(scaled: Scaled, U: Matrix, EU: Matrix, W: Matrix, EW: Matrix) -> Slopes:
    """Derivatives (r, k, k) of ``u'S w`` for columns u, w of U, W (q, r), given E U and E W."""
    starts = range(0, U.shape[1], COLUMNS)
    parts = [_some(scaled, *(X[:, a : a + COLUMNS] for X in (U, EU, W, EW))) for a in starts]
    return tuple(np.concatenate(each) for each in zip(*parts, strict=True))


def _some(scaled: Scaled, U: Matrix, EU: Matrix, W: Matrix, EW: Matrix) -> Slopes:
    """The same for a few columns."""
    system = scaled.system
    left = np.einsum("abm,bmr->amr", scaled.N, system.reach(scaled.each(scaled.outer, U)))
    right = left
    if W is not U:
        right = np.einsum("abm,bmr->amr", scaled.N, system.reach(scaled.each(scaled.outer, W)))
    lead = -np.einsum("amr,bmr->rab", left, right)
    tail = []
    for g, part in enumerate(system.tail.parts):
        own = _GroupForms(scaled, g, *(_levels(X[part], scaled, g) for X in (U, EU, W, EW)))
        lead += own.lead()
        tail.append(own.slope())
    return 0.5 * (lead + lead.transpose(0, 2, 1)), *tail


class _GroupForms:
    """Forms of one group's levels: columns as (l, k, r)."""

    def __init__(self, scaled: Scaled, g: int, u: Matrix, Eu: Matrix, w: Matrix, Ew: Matrix):
        self.lam, self.P = scaled.lams[g], scaled.squares[g]
        self.K, self.root, self.inner = (
            np.moveaxis(blocks[g], 2, 0) for blocks in (scaled.blocks, scaled.roots, scaled.inner)
        )
        self.u, self.Eu, self.w, self.Ew = u, Eu, w, Ew
        # Of dS = L^-1 dOmega L^-T - Phi S - S Phi', Phi the lower half of L^-1 dD L^-T.
        both = _outer(u, w + Ew) + _outer(w, u + Eu)
        lower = np.tril(np.ones(self.lam.shape))[:, :, None] > 0.0
        mirrored = both if len(self.lam) == 1 else np.where(lower, both, both.swapaxes(1, 2))
        self.B = 0.5 * _between(self.inner, mirrored)

    def lead(self) -> Matrix:
        """What the leading Gamma does through D, (r, k_1, k_1)."""
        moved = _between(self.lam.T[None], self.B)
        k1, r = len(self.P), moved.shape[3]
        squares = self.P.transpose(0, 1, 4, 2, 3).reshape(k1 * k1, -1)
        return np.asarray((squares @ moved.reshape(-1, r)).T.reshape(r, k1, k1))

    def slope(self) -> Matrix:
        """What the group's own Gamma does, (r, k, k)."""
        scaled = self.lam.T @ self.K @ self.lam
        inner_t = self.inner.transpose(0, 2, 1)
        k, r = len(self.lam), self.u.shape[2]
        flat = scaled.transpose(1, 0, 2).reshape(k, -1)
        total = -2.0 * (flat @ self.B.reshape(-1, k * r)).reshape(k, k, r).transpose(2, 0, 1)
        for x, Ex, y in ((self.w, self.Ew, self.u), (self.u, self.Eu, self.w)):
            moved = _times(scaled, _times(inner_t, x)) + _times(self.root, Ex)
            total += np.einsum("lar,lbr->rab", moved, _times(inner_t, y))
        # d Lambda = Lambda (lower half of Lambda^-1 dGamma Lambda^-T)
        half = np.tril(total) * (1.0 - 0.5 * np.eye(k))
        half = 0.5 * (half + half.transpose(0, 2, 1))
        inverse = np.linalg.inv(self.lam)
        return np.asarray(inverse.T @ half @ inverse)


def _times(blocks: Matrix, rows: Matrix) -> Matrix:
    """Blocks (l, k, k) times (l, k, r)."""
    return np.asarray(blocks * rows if blocks.shape[1] == 1 else blocks @ rows)


def _between(A: Matrix, X: Matrix) -> Matrix:
    """``A'X A`` (l, k, k, r) for A (l, k, k), or (1, k, k), and X (l, k, k, r)."""
    if A.shape[1] == 1:
        return np.asarray((A * A)[..., None] * X)
    n_levels, k, _, r = X.shape
    for _ in range(2):
        X = (A.transpose(0, 2, 1) @ X.reshape(n_levels, k, k * r)).reshape(n_levels, k, k, r)
        X = X.swapaxes(1, 2)
    return X


def _outer(u: Matrix, w: Matrix) -> Matrix:
    """(l, k, k, r) from (l, k, r)."""
    return u[:, :, None] * w[:, None]


def _levels(rows: Matrix, scaled: Scaled, g: int) -> Matrix:
    group = scaled.system.tail.groups[g]
    return rows.reshape(group.n_levels, group.size, -1)
