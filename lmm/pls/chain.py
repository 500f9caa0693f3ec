"""A chain of nested factors eliminated at one Lambda, and what follows from it.

The equations are those of docs/theory/blocks.md; see `lmm.pls.nested` for the columns of borders.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import block_diag

from lmm._threads import limited
from lmm._types import IntVector, Matrix
from lmm.pls.base import Blocks, Derivatives, PLSSolution
from lmm.pls.border import Bordered
from lmm.pls.grouped import directions, identity_minus, per_term
from lmm.pls.inverse import by_solving, dense_blocks, flat
from lmm.pls.kernels import sum_by

if TYPE_CHECKING:
    from lmm.pls.nested import NestedPLS

__all__ = ["NestedPoint"]


@dataclass(frozen=True, eq=False)
class _Blocks:
    """Per factor: diagonal blocks of Z'V^-1 Z and of the inverse, the chain alone in V."""

    F: Matrix  # (k, k, l)
    Y: Matrix  # (k, k, l)


def _square(left: Matrix, right: Matrix) -> Matrix:
    """Sum over levels of left[b, c] right[a, d], rows (a, b) and columns (c, d)."""
    a, c, n_levels = left.shape
    product = left.reshape(a * c, n_levels) @ right.reshape(a * c, n_levels).T
    return np.asarray(product.reshape(a, c, a, c).transpose(2, 0, 1, 3).reshape(a * a, c * c))


@dataclass(frozen=True, eq=False)
class NestedPoint(Bordered):
    """Everything at one Lambda: blocks and borders after elimination, per factor of the chain."""

    pls: NestedPLS
    lams: list[Matrix]
    A: list[Matrix]
    D: list[Matrix]
    H: list[Matrix]
    logdet: float
    left: Matrix  # U'V^-1 U with the chain alone in V, (q_T + t, q_T + t)
    half_T: Matrix  # L_T^-1 Lambda_T', the tail's inverse half_T'half_T, (q_T, q_T)
    reduced: Matrix  # [X y]'V^-1 [X y], (t, t)

    @cached_property
    def N(self) -> list[Matrix]:
        """I - A H per factor, (k, k, l)."""
        return [identity_minus(a, h) for a, h in zip(self.A, self.H, strict=True)]

    def solution(self) -> PLSSolution:
        """Coefficients."""
        root, effects = self.border.half[-1, -1], {}
        tail = self.pls.tail.by_level(-self._turn[:, : len(self.half_T)].T)
        solved = [*self._reach(self._turn)[1], *tail]
        for group, each in zip(self.pls.all_groups, solved, strict=True):
            b = each[-1].T / root
            effects.update({i: b[:, part] for i, part in group.members})
        return self.coefficients(tuple(effects[i] for i in range(len(effects))))

    # Backward --------------------------------------------------------------------------------

    @cached_property
    def _turn(self) -> Matrix:
        """C (t, q_T + t) with ``C U'V_1^-1 = L^-1 [X y]'V^-1``, V_1 that of the chain alone.

        Its part in the tail is minus the tail's random effects for each row.
        """
        T = len(self.half_T)
        half, QR = self.border.half, self.half_T @ self.left[:T, T:]
        return np.hstack([-half @ QR.T @ self.half_T, half])

    def _effects(self) -> list[Matrix]:
        """Z'V^-1 [X y] L^-T, (t, k, l) per factor of the chain, then of the tail."""
        chain, tail = self._reach(self._turn)[0], self._turn @ self.left[:, : len(self.half_T)]
        return chain + self.pls.tail.by_level(tail.T)

    def _reach(self, C: Matrix) -> tuple[list[Matrix], list[Matrix]]:
        """E_c = Z_c'V_1^-1 U C' and Gamma_c E_c, (r, k_c, l_c) per factor; the chain alone in V_1.

        The latter from H_c = Gamma_c N_c: a large Gamma would multiply the rounding errors of E_c.
        """
        N, (r, tau) = self.N, C.shape
        E: list[Matrix] = [np.empty(0)] * len(N)
        b: list[Matrix] = [np.empty(0)] * len(N)
        for c in reversed(range(len(N))):
            _, k, n_levels = self.D[c].shape
            R = (C @ self.D[c][-tau:].reshape(tau, -1)).reshape(r, k, n_levels)
            for h, part, parents in self.pls.later(c):
                R = R - np.einsum("xam,txm->tam", self.D[c][part], b[h][:, :, parents])
            E[c] = np.einsum("abm,tbm->tam", N[c], R)
            b[c] = np.einsum("abm,tbm->tam", self.H[c], R)
        return E, b

    @cached_property
    def _reach_T(self) -> tuple[list[Matrix], list[Matrix]]:
        """``half_T Z_T'V_1^-1 Z_c`` (q_T, k_c, l_c) per factor, and Gamma_c times it."""
        T, tau = len(self.half_T), len(self.left)
        return self._reach(np.hstack([self.half_T, np.zeros((T, tau - T))]))

    def _blocks(self) -> list[_Blocks]:
        """Blocks of Z'V^-1 Z and of the inverse of the penalized cross-products, per factor.

        `selected` is that inverse over a level and its ancestors.
        """
        blocks: list[_Blocks] = []
        N = self.N
        selected: Matrix = np.empty((0, 0, 0))
        for c in reversed(range(len(N))):
            F = np.einsum("abm,bcm->acm", N[c], self.A[c])
            if not self.pls.ancestors[c]:
                selected = self.H[c]
                blocks.insert(0, _Blocks(F, selected))
                continue
            width = self.pls.columns[c][-1].stop
            above = selected[:, :, self.pls.ancestors[c][0]]
            C = self.D[c][:width]
            NC = np.einsum("abm,xbm->xam", N[c], C)
            F = F - np.einsum("xam,xym,ybm->abm", NC, above, NC, optimize=True)
            HC = np.einsum("abm,xbm->xam", self.H[c], C)
            side = -np.einsum("xam,xym->aym", HC, above)
            own = self.H[c] - np.einsum("aym,ybm->abm", side, HC)
            blocks.insert(0, _Blocks(F, own))
            top = np.concatenate([own, side], axis=1)
            bottom = np.concatenate([side.transpose(1, 0, 2), above], axis=1)
            selected = np.concatenate([top, bottom])
        return blocks

    @limited
    def derivatives(self, reml: bool) -> Derivatives:
        """Values with first and second derivatives; the latter exact where there is no tail."""
        E, blocks, T = self._effects(), self._blocks(), len(self.half_T)
        scoring = self._trace(E, blocks, reml)
        sums = [block.F.sum(axis=2) for block in blocks]
        if T:
            sums = [
                F - np.einsum("uam,ubm->ab", reach, reach)
                for F, reach in zip(sums, self._reach_T[0], strict=True)
            ]
            QR = self.half_T @ self.left[:T, :T]
            F_T = self.left[:T, :T] - QR.T @ QR
            sums += self.pls.tail.sums(F_T)
            scoring = np.asarray(block_diag(scoring, self.pls.tail.trace(F_T)))
        return per_term(
            self.terms,
            self.pls.all_groups,
            sums,
            E,
            self._average([e[-1] for e in E]),
            scoring,
            reml,
            exact=not T,
        )

    def _average(self, v: list[Matrix]) -> Matrix:
        """``w'Z'PZ w`` for w = E_ab v over the directions of all groups, (K, K)."""
        T, chain = len(self.half_T), len(self.pls.groups)
        forms, across = self._quadratic_forms(v[:chain])
        if T:
            W = self.pls.tail.directions(v[chain:])
            to_tail = across[:, :T] @ W
            forms = np.block([[forms, to_tail], [to_tail.T, W.T @ self.left[:T, :T] @ W]])
            across = np.vstack([across, W.T @ self.left[:T, :-1]])
            Q = across[:, :T] @ self.half_T.T
            forms = forms - Q @ Q.T
            across = across[:, T:] - Q @ (self.half_T @ self.left[:T, T:-1])
        fixed = across @ self.border.fixed_root
        return np.asarray(forms - fixed @ fixed.T)

    def _trace(self, E: list[Matrix], blocks: list[_Blocks], reml: bool) -> Matrix:
        """``tr(F E_ab F E_cd)`` over all factors' directions (K, K), the chain alone in V.

        Levels i of c and j of h that meet in the same level of a later factor g, and in none before
        it, have ``F_ij = -sum rho_i'H rho_j`` over g and what is behind it (blocks-meeting).
        """
        sizes = [group.size**2 for group in self.pls.groups]
        starts = list(accumulate(sizes, initial=0))
        trace, reaches = np.zeros((starts[-1], starts[-1])), self._reaches()
        for c, block in enumerate(blocks):
            for h in range(c, len(blocks)):
                own, other = slice(starts[c], starts[c + 1]), slice(starts[h], starts[h + 1])
                F = block.F if h == c else self._upwards(c, h, reaches)
                total = _square(F, F)
                for g in range(h + 1, len(blocks)):
                    total = total + self._meeting(c, h, g, g, reaches)
                    total = total - self._meeting(c, h, g, g - 1, reaches)
                trace[own, other] = total
                trace[other, own] = total.T
        if reml and not len(self.half_T):
            trace = trace + self._fixed_part_of_trace(E)
        return trace

    def _reaches(self) -> list[Matrix]:
        """rho: couplings of each factor's levels with their ancestors, (width_c, k_c, l_c).

        Those with an ancestor are what is left when all factors before it are eliminated.
        """
        reaches = []
        for c, N in enumerate(self.N):
            width = self.pls.columns[c][-1].stop if self.pls.columns[c] else 0
            rho = np.einsum("abm,xbm->xam", N, self.D[c][:width])
            for h, part, parents in self.pls.later(c):
                behind = self.D[h][: width - part.stop]
                B = np.einsum("abm,xbm->xam", self.H[h], behind)[:, :, parents]
                rho[part.stop :] -= np.einsum("xbm,bam->xam", B, rho[part])
            reaches.append(rho)
        return reaches

    def _upwards(self, c: int, h: int, reaches: list[Matrix]) -> Matrix:
        """F between the levels of c and their ancestors in h, (k_c, k_h, l_c)."""
        _, part, parents = self.pls.later(c)[h - c - 1]
        direct = np.einsum("xam,yxm->aym", reaches[c][part], self.N[h][:, :, parents])
        if h + 1 == len(self.N):
            return np.asarray(direct)
        H = self._joint(h + 1)[:, :, self.pls.ancestors[c][h - c]]
        left, right = reaches[c][part.stop :], reaches[h][:, :, parents]
        return np.asarray(direct - np.einsum("xam,xym,ybm->abm", left, H, right, optimize=True))

    def _joint(self, g: int) -> Matrix:
        """H of the levels of g and of their ancestors along one diagonal, (w, w, l_g)."""
        size, width = self.H[g].shape[0], self.pls.columns[g]
        w = size + (width[-1].stop if width else 0)
        joint = np.zeros((w, w, self.H[g].shape[2]))
        joint[:size, :size] = self.H[g]
        for h, part, parents in self.pls.later(g):
            own = slice(size + part.start, size + part.stop)
            joint[own, own] = self.H[h][:, :, parents]
        return joint

    def _meeting(self, c: int, h: int, g: int, by: int, reaches: list[Matrix]) -> Matrix:
        """Sum over all levels i of c and j of h with one ancestor in `by`, as if they met in g."""
        H = self._joint(g) if by == g else self._joint(g)[:, :, self.pls.ancestors[by][0]]
        pairs = []
        for factor in (c, h):
            rho = reaches[factor][-len(H) :]
            squares = np.einsum("xam,ybm->abxym", rho, rho)
            if factor != by:
                parents, n_levels = self.pls.ancestors[factor][by - factor - 1], H.shape[2]
                squares = sum_by(squares, parents, n_levels)
            pairs.append(np.einsum("abxyu,yzu->abxzu", squares, H))
        total = np.einsum("abxzu,cdzxu->abcd", *pairs)
        return np.asarray(total.reshape(total.shape[0] ** 2, total.shape[2] ** 2))

    def _fixed_part_of_trace(self, E: list[Matrix]) -> Matrix:
        """What ``Z'PZ = F - sum_s e_s e_s'`` adds to the trace of F, e_s the columns of E in X."""
        p = self.pls.problem.p
        flip = np.concatenate(
            [
                start + np.arange(g.size**2).reshape(g.size, g.size).T.ravel()
                for start, g in zip(
                    accumulate((g.size**2 for g in self.pls.groups), initial=0),
                    self.pls.groups,
                    strict=False,
                )
            ]
        )
        forms = np.zeros((len(flip), len(flip)))
        for s in range(p):
            forms += self._quadratic_forms([e[s] for e in E])[0]
        G = np.concatenate([np.einsum("sam,tbm->abst", e[:p], e[:p]).reshape(-1, p * p) for e in E])
        return np.asarray(G @ G[flip].T - forms[flip] - forms[flip].T)

    def _quadratic_forms(self, v: list[Matrix]) -> tuple[Matrix, Matrix]:
        """``w'Fw`` (K, K) and ``U'V_1^-1 Zw`` less y (K, .) for w = E_ab v over the chain.

        The columns Z w are swept like responses: what is left of their cross-products after all
        factors are swept out is the result.
        """
        R, RX, products = self._direction_products(v)
        t = len(self.left)
        for c, H in enumerate(self.H):
            HR = np.einsum("abm,kbm->kam", H, R[c])
            K = len(HR)
            products = products - R[c].reshape(K, -1) @ HR.reshape(K, -1).T
            for h, part, parents in self.pls.later(c):
                swept = np.einsum("xam,kam->kxm", self.D[c][part], HR)
                R[h] -= sum_by(swept, parents, self.pls.groups[h].n_levels)
            RX = RX - HR.reshape(K, -1) @ self.D[c][-t:-1].reshape(t - 1, HR[0].size).T
        return products, RX

    def _direction_products(self, v: list[Matrix]) -> tuple[list[Matrix], Matrix, Matrix]:
        """Z_c'Zw (K, k_c, l_c) per factor, U'Zw less y and w'Z'Zw (K, K), unswept."""
        W = [directions(effect) for effect in v]
        starts = list(accumulate((len(w) for w in W), initial=0))
        K, t = starts[-1], len(self.left)
        R = [np.zeros((K, *effect.shape)) for effect in v]
        RX = np.zeros((K, t - 1))
        for c, w in enumerate(W):
            own = slice(starts[c], starts[c + 1])
            R[c][own] += np.einsum("abm,kbm->kam", self.pls.A[c], w)
            border = self.pls.D[c][-t:-1].reshape(t - 1, w[0].size)
            RX[own] = w.reshape(len(w), -1) @ border.T
            for h, part, parents in self.pls.later(c):
                other = slice(starts[h], starts[h + 1])
                down = np.einsum("xam,kam->kxm", self.pls.D[c][part], w)
                R[h][own] += sum_by(down, parents, self.pls.groups[h].n_levels)
                R[c][other] += np.einsum("xam,kxm->kam", self.pls.D[c][part], W[h][:, :, parents])
        products = np.zeros((K, K))
        for c, w in enumerate(W):
            own = slice(starts[c], starts[c + 1])
            products[own] = w.reshape(len(w), -1) @ R[c].reshape(K, -1).T
        return R, RX, products

    def solve(self, right: Blocks) -> Blocks:
        """D times columns: forward over the chain, and back."""
        chain = len(self.H)
        given = [right[g] for g in self.pls.order]
        r = [effects.copy() for effects in given[:chain]]
        behind = np.hstack([np.zeros((len(right[0]), 0)), *(flat(e).T for e in given[chain:])])
        for c, H in enumerate(self.H):
            Hr = np.einsum("abm,rbm->ram", H, r[c])
            for h, part, parents in self.pls.later(c):
                swept = np.einsum("xam,ram->rxm", self.D[c][part], Hr)
                r[h] -= sum_by(swept, parents, self.pls.groups[h].n_levels)
            behind -= Hr.reshape(len(Hr), -1) @ self._to_tail(c).T
        behind = behind @ self.half_T.T @ self.half_T
        for c in reversed(range(len(self.H))):
            r[c] -= (behind @ self._to_tail(c)).reshape(r[c].shape)
            for h, part, parents in self.pls.later(c):
                r[c] -= np.einsum("xam,rxm->ram", self.D[c][part], r[h][:, :, parents])
            r[c] = np.einsum("abm,rbm->ram", self.H[c], r[c])
        return self.pls.by_group(r + self.pls.tail.by_level(behind.T))

    def _to_tail(self, c: int) -> Matrix:
        """Border of factor c in the tail's columns, (q_T, k_c l_c)."""
        D, start, T = self.D[c], len(self.D[c]) - len(self.left), len(self.half_T)
        return D[start : start + T].reshape(T, D[0].size)

    @cached_property
    def diagonal(self) -> Blocks:
        """Blocks of D of each level."""
        blocks = [block.Y for block in self._blocks()]
        if not len(self.half_T):
            return self.pls.by_group(blocks)
        blocks = [
            Y + np.einsum("uam,ubm->abm", b, b)
            for Y, b in zip(blocks, self._reach_T[1], strict=True)
        ]
        D = self.half_T.T @ self.half_T
        tail = [dense_blocks(D, own, own) for own in self.pls.tail.places]
        return self.pls.by_group(blocks + tail)

    def blocks(self, g: int, h: int, i: IntVector, j: IntVector) -> Matrix:
        """Blocks of D between levels."""
        if g == h and np.array_equal(i, j):
            return self.diagonal[g][:, :, i]
        return by_solving(self.solve, self.pls.problem, g, h, i, j)
