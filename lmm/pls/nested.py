"""Nested grouping factors: a chain in which every level belongs to one level of the next factor.

Classes in schools in regions: eliminating the classes leaves the schools' blocks diagonal by
school, eliminating those leaves the regions', and so on, so that each step is the elimination of
`lmm.pls.grouped` with a wider border: level i of factor c couples with the blocks of its ancestors
only, and with the columns behind the chain, U = [Z_T X y]. An evaluation costs O(number of levels)
(docs/theory/blocks.md, eqns. 6, 7).

Factors that are crossed with the chain, such as raters, are its tail T: when the chain is gone,
what is left of them is one dense matrix, as in `lmm.pls.crossed`. Without a tail U is [X y].

Columns of a border are ordered [ancestors' columns, from the next factor to the last; U].
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise

import numpy as np
from scipy.linalg import block_diag

from lmm import _lapack
from lmm._brief import Brief
from lmm._types import IntVector, Matrix, Vector
from lmm.errors import NumericalError
from lmm.pls.base import Blocks, Derivatives, Factors, PLSSolution, PLSTerms
from lmm.pls.border import Border
from lmm.pls.grouped import (
    couplings,
    directions,
    gram,
    identity_minus,
    penalized_inverse,
    per_term,
)
from lmm.pls.inverse import by_level, by_solving, dense_blocks, flat
from lmm.pls.kernels import sum_by, sum_products
from lmm.pls.problem import Group, Problem
from lmm.pls.small import cross_products

__all__ = ["NestedPLS", "chain"]


def chain(groups: tuple[Group, ...]) -> tuple[tuple[Group, ...], tuple[Group, ...]]:
    """Groups of which each is nested in the next, finest first, and the others.

    The chain starts with the group of the most levels, and takes what fits.
    """
    first, *rest = sorted(groups, key=lambda group: -group.n_levels)
    nested: list[Group] = [first]
    others: list[Group] = []
    for group in rest:
        fits = _parents(nested[-1], group) is not None
        (nested if fits else others).append(group)
    return tuple(nested), tuple(others)


def _parents(fine: Group, coarse: Group) -> IntVector | None:
    """Level of `coarse` that each level of `fine` belongs to, or None where it has several."""
    parents = np.zeros(fine.n_levels, dtype=np.intp)
    parents[fine.codes] = coarse.codes
    return parents if np.array_equal(parents[fine.codes], coarse.codes) else None


@dataclass(frozen=True, eq=False)
class _Blocks:
    """Per factor: diagonal blocks of Z'V^-1 Z and of the inverse, and N_i C_i onto the parent."""

    F: Matrix  # (k, k, l)
    Y: Matrix  # (k, k, l)
    reach: Matrix | None  # (k_parent, k, l); None for the last factor


def _square(left: Matrix, right: Matrix) -> Matrix:
    """Sum over levels of left[b, c] right[a, d], rows (a, b) and columns (c, d)."""
    a, c, n_levels = left.shape
    product = left.reshape(a * c, n_levels) @ right.reshape(a * c, n_levels).T
    return np.asarray(product.reshape(a, c, a, c).transpose(2, 0, 1, 3).reshape(a * a, c * c))


@dataclass(frozen=True, eq=False)
class NestedPoint:
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
    def border(self) -> Border:
        """What is left of [X y]."""
        return Border.of(self.reduced)

    @property
    def terms(self) -> PLSTerms:
        """The three numbers."""
        return self.border.terms(self.logdet)

    @cached_property
    def N(self) -> list[Matrix]:
        """I - A H per factor, (k, k, l)."""
        return [identity_minus(a, h) for a, h in zip(self.A, self.H, strict=True)]

    def solution(self) -> PLSSolution:
        """Coefficients."""
        root, effects = self.border.half[-1, -1], {}
        tail = self.pls.by_tail_level(-self._turn[:, : len(self.half_T)])
        solved = [*self._reach(self._turn)[1], *tail]
        for group, each in zip(self.pls.all_groups, solved, strict=True):
            b = each[-1].T / root
            effects.update({i: b[:, part] for i, part in group.members})
        return PLSSolution(
            self.terms,
            self.border.beta,
            tuple(effects[i] for i in range(len(effects))),
            self.border.fixed_root,
        )

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
        return chain + self.pls.by_tail_level(tail)

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
                blocks.insert(0, _Blocks(F, selected, None))
                continue
            width = self.pls.columns[c][-1].stop
            above = selected[:, :, self.pls.ancestors[c][0]]
            C = self.D[c][:width]
            NC = np.einsum("abm,xbm->xam", N[c], C)
            F = F - np.einsum("xam,xym,ybm->abm", NC, above, NC, optimize=True)
            HC = np.einsum("abm,xbm->xam", self.H[c], C)
            side = -np.einsum("xam,xym->aym", HC, above)
            own = self.H[c] - np.einsum("aym,ybm->abm", side, HC)
            blocks.insert(0, _Blocks(F, own, NC[self.pls.columns[c][0]]))
            top = np.concatenate([own, side], axis=1)
            bottom = np.concatenate([side.transpose(1, 0, 2), above], axis=1)
            selected = np.concatenate([top, bottom])
        return blocks

    def derivatives(self, reml: bool) -> Derivatives:
        """Values with first and second derivatives; the latter exact for up to two factors."""
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
            own = [
                F_T[part, part].reshape(g.n_levels, g.size, g.n_levels, g.size)
                for part, g in zip(self.pls.parts, self.pls.tail, strict=True)
            ]
            sums += [np.einsum("lalb->ab", block) for block in own]
            scoring = np.asarray(block_diag(scoring, self.pls.tail_trace(F_T)))
        return per_term(
            self.terms,
            self.pls.all_groups,
            sums,
            E,
            self._average([e[-1] for e in E]),
            scoring,
            reml,
            exact=len(self.pls.groups) <= 2 and not T,
        )

    def _average(self, v: list[Matrix]) -> Matrix:
        """``w'Z'PZ w`` for w = E_ab v over the directions of all groups, (K, K)."""
        T, chain = len(self.half_T), len(self.pls.groups)
        forms, across = self._quadratic_forms(v[:chain])
        if T:
            W = self.pls.tail_directions(v[chain:])
            to_tail = across[:, :T] @ W
            forms = np.block([[forms, to_tail], [to_tail.T, W.T @ self.left[:T, :T] @ W]])
            across = np.vstack([across, W.T @ self.left[:T, :-1]])
            Q = across[:, :T] @ self.half_T.T
            forms = forms - Q @ Q.T
            across = across[:, T:] - Q @ (self.half_T @ self.left[:T, T:-1])
        fixed = across @ self.border.fixed_root
        return np.asarray(forms - fixed @ fixed.T)

    def _trace(self, E: list[Matrix], blocks: list[_Blocks], reml: bool) -> Matrix:
        """``tr(F E_ab F E_cd)`` over all factors' directions, (K, K).

        Levels of one factor are coupled through their common parent, and levels of a factor with
        those of the next; couplings over two generations are left out.
        """
        starts = list(accumulate((group.size**2 for group in self.pls.groups), initial=0))
        trace = np.zeros((starts[-1], starts[-1]))
        for c, block in enumerate(blocks):
            own = slice(starts[c], starts[c + 1])
            trace[own, own] = _square(block.F, block.F)
            if block.reach is None:
                continue
            parents, n_parents = self.pls.ancestors[c][0], self.pls.groups[c + 1].n_levels
            Y, reach = blocks[c + 1].Y, block.reach
            coupled = np.einsum("xam,xym,ybm->abm", reach, Y[:, :, parents], reach, optimize=True)
            K = sum_by(np.einsum("xam,ybm->abxym", reach, reach), parents, n_parents)
            KY = np.einsum("abxyu,yzu->abxzu", K, Y)
            siblings = np.einsum("abxzu,cdzxu->abcd", KY, KY).reshape(len(trace[own]), -1)
            trace[own, own] += siblings - _square(coupled, coupled)
            up = slice(starts[c + 1], starts[c + 2])
            across = np.einsum("xam,yxm->aym", reach, self.N[c + 1][:, :, parents])
            trace[own, up] = _square(across, across)
            trace[up, own] = trace[own, up].T
        if reml and not len(self.half_T):
            trace = trace + self._fixed_part_of_trace(E)
        return trace

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
        return self.pls.by_group(r + self.pls.by_tail_level(behind))

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
        return self.pls.by_group(blocks + [dense_blocks(D, own, own) for own in self.pls.places])

    def blocks(self, g: int, h: int, i: IntVector, j: IntVector) -> Matrix:
        """Blocks of D between levels."""
        if g == h and np.array_equal(i, j):
            return self.diagonal[g][:, :, i]
        return by_solving(self.solve, self.pls.problem, g, h, i, j)


@dataclass(frozen=True, eq=False, repr=False)
class NestedPLS(Brief):
    """Block solver for nested factors, and others behind them as a dense tail.

    Parameters
    ----------
    problem : Problem
        Standardized problem.
    groups : tuple of Group
        The chain, finest factor first.
    ancestors : tuple of tuple of (l_c,) int arrays
        Per factor c and later factor h, the level of h that each level of c belongs to.
    A : tuple of (k_c, k_c, l_c) arrays
        Z_i'Z_i per factor.
    D : tuple of (tau_c, k_c, l_c) arrays
        Border: [Z_ancestors U]'Z_i per factor.
    tail : tuple of Group
        Groups behind the chain.
    base : (q_T + t, q_T + t) array
        U'U.
    """

    problem: Problem
    groups: tuple[Group, ...]
    ancestors: tuple[tuple[IntVector, ...], ...]
    A: tuple[Matrix, ...]
    D: tuple[Matrix, ...]
    tail: tuple[Group, ...]
    base: Matrix

    name = "block"

    @classmethod
    def build(
        cls, problem: Problem, groups: tuple[Group, ...], tail: tuple[Group, ...] = ()
    ) -> NestedPLS:
        """Accumulate the cross-products, given a chain of groups, finest first, and the others."""
        found = [
            [_parents(group, other) for other in groups[c + 1 :]] for c, group in enumerate(groups)
        ]
        ancestors = [tuple(parents for parents in row if parents is not None) for row in found]
        return cls.accumulate(problem, groups, tuple(ancestors), tail)

    @classmethod
    def accumulate(
        cls,
        problem: Problem,
        groups: tuple[Group, ...],
        ancestors: tuple[tuple[IntVector, ...], ...],
        tail: tuple[Group, ...],
    ) -> NestedPLS:
        """Accumulate the cross-products, given the ancestors of each level."""
        A, D = [], []
        behind = [problem.groups.index(group) for group in tail]
        Z_T, Z_TXy = cross_products(problem, behind, _places(tail))
        base = np.block([[Z_T, Z_TXy], [Z_TXy.T, problem.base]])
        for c, group in enumerate(groups):
            later = groups[c + 1 :]
            A.append(gram(group))
            rows = [
                sum_products(group.Z, column, group.codes, group.n_levels)[None]
                for other in later
                for column in other.Z.T
            ]
            rows += [_coupled(problem, problem.groups.index(group), g) for g in behind]
            D.append(np.concatenate([*rows, couplings(problem, group)]))
        return cls(problem, groups, ancestors, tuple(A), tuple(D), tail, base)

    def with_response(self, y: Vector) -> NestedPLS:
        """The same design with another response (n,)."""
        problem = self.problem.with_response(y)
        D = []
        for group, border in zip(self.groups, self.D, strict=True):
            own = sum_products(group.Z, problem.y, group.codes, group.n_levels)
            D.append(np.concatenate([border[:-1], own[None]]))
        base = self.base.copy()
        base[-1, -1] = problem.base[-1, -1]
        sums = [flat(group.sums(problem.y[None])).ravel() for group in self.tail]
        column = np.concatenate([*sums, problem.base[:-1, -1]])
        base[-1, :-1] = base[:-1, -1] = column
        return dataclasses.replace(self, problem=problem, D=tuple(D), base=base)

    def reweighted(self, weights: Vector, y: Vector | None = None) -> NestedPLS:
        """The same layout with other weights (n,) and response (n,)."""
        problem = self.problem.reweighted(weights, y)
        by_name = {group.name: group for group in problem.groups}
        groups = tuple(by_name[group.name] for group in self.groups)
        tail = tuple(by_name[group.name] for group in self.tail)
        return NestedPLS.accumulate(problem, groups, self.ancestors, tail)

    @property
    def description(self) -> str:
        """What was chosen and why."""
        names = " in ".join(f"{group.n_levels} levels of {group.name}" for group in self.groups)
        text = f"block: nested factors eliminated one after the other, {names}"
        if not self.tail:
            return text
        columns = sum(group.q for group in self.tail)
        behind = ", ".join(group.name for group in self.tail)
        return f"{text}; dense tail of {columns} columns for {behind}"

    @property
    def dense_size(self) -> int:
        """Columns of the largest dense matrix that is factored."""
        return len(self.base)

    @property
    def all_groups(self) -> tuple[Group, ...]:
        """The chain, and the tail behind it."""
        return (*self.groups, *self.tail)

    @cached_property
    def places(self) -> tuple[IntVector, ...]:
        """Rows of the tail of each level of each of its groups, (l, k) each."""
        return _places(self.tail)

    @cached_property
    def parts(self) -> tuple[slice, ...]:
        """Rows of the tail of each of its groups."""
        return tuple(slice(int(own[0, 0]), int(own[-1, -1]) + 1) for own in self.places)

    def by_tail_level(self, rows: Matrix) -> list[Matrix]:
        """Columns of the tail (r, q_T) as (r, k, l) per group."""
        return [
            by_level(rows[:, part].T, group)
            for part, group in zip(self.parts, self.tail, strict=True)
        ]

    def tail_directions(self, v: list[Matrix]) -> Matrix:
        """E_ab v of all groups of the tail, (q_T, K_T)."""
        return np.asarray(block_diag(*(flat(directions(effects)) for effects in v)))

    def tail_trace(self, F: Matrix) -> Matrix:
        """``tr(F E F E')`` over the directions of the tail for its F (q_T, q_T)."""
        rows = []
        for p, g in zip(self.parts, self.tail, strict=True):
            row = []
            for r, h in zip(self.parts, self.tail, strict=True):
                levels = F[p, r].reshape(g.n_levels, g.size, h.n_levels, h.size)
                pairs = levels.transpose(1, 3, 0, 2).reshape(g.size * h.size, -1)
                square = (pairs @ pairs.T).reshape(g.size, h.size, g.size, h.size)
                block = np.einsum("bcad->abcd", square).reshape(g.size**2, h.size**2)
                row.append(block)
            rows.append(row)
        return np.block(rows)

    @cached_property
    def columns(self) -> tuple[tuple[slice, ...], ...]:
        """Per factor c, the part of its border that belongs to each later factor."""
        columns = []
        for c in range(len(self.groups)):
            stops = list(accumulate((g.size for g in self.groups[c + 1 :]), initial=0))
            columns.append(tuple(slice(a, b) for a, b in pairwise(stops)))
        return tuple(columns)

    @cached_property
    def order(self) -> tuple[int, ...]:
        """Place of each factor of the chain, and of the tail, among the problem's groups."""
        return tuple(self.problem.groups.index(group) for group in self.all_groups)

    def by_group(self, arrays: list[Matrix]) -> Blocks:
        """Arrays of the chain and the tail in the order of the problem's groups."""
        return tuple(arrays[c] for c in np.argsort(self.order))

    def later(self, c: int) -> list[tuple[int, slice, IntVector]]:
        """Later factors of c: (factor, its columns in c's border, ancestor of each level)."""
        return [
            (c + 1 + j, part, parents)
            for j, (part, parents) in enumerate(
                zip(self.columns[c], self.ancestors[c], strict=True)
            )
        ]

    def at(self, factors: Factors) -> NestedPoint:
        """Eliminate one factor after the other at given factors."""
        lams = [group.factor(factors) for group in self.all_groups]
        A, D, H = [a.copy() for a in self.A], [d.copy() for d in self.D], []
        left, logdet, tau = self.base, 0.0, len(self.base)
        for c, lam in enumerate(lams[: len(A)]):
            inverse, logdets = penalized_inverse(A[c], lam)
            H.append(inverse)
            logdet += float(logdets.sum())
            HD = np.einsum("abm,tbm->tam", inverse, D[c])
            for h, part, parents in self.later(c):
                swept = np.einsum("tam,xam->txm", D[c][part.start :], HD[part])
                swept = sum_by(swept, parents, self.groups[h].n_levels)
                A[h] -= swept[: part.stop - part.start]
                D[h] -= swept[part.stop - part.start :]
            left = left - D[c][-tau:].reshape(tau, -1) @ HD[-tau:].reshape(tau, -1).T
        half, tail_logdet = self._tail(lams[len(A) :], left)
        T = len(half)
        QR = half @ left[:T, T:]
        logdet += tail_logdet
        return NestedPoint(self, lams, A, D, H, logdet, left, half, left[T:, T:] - QR.T @ QR)

    def _tail(self, lams: list[Matrix], left: Matrix) -> tuple[Matrix, float]:
        """L_T^-1 Lambda_T' (q_T, q_T) and log|Omega_T| of what the chain leaves."""
        if not lams:
            return np.empty((0, 0)), 0.0
        each = zip(self.tail, lams, strict=True)
        Lambdat = block_diag(*(np.kron(np.eye(group.n_levels), lam.T) for group, lam in each))
        omega = Lambdat @ left[: len(Lambdat), : len(Lambdat)] @ Lambdat.T
        omega.flat[:: len(omega) + 1] += 1.0
        try:
            L = _lapack.cholesky(omega)
        except np.linalg.LinAlgError as error:
            raise NumericalError(
                "The tail of the normal equations is not positive definite."
            ) from error
        return _lapack.solve_lower(L, Lambdat), 2.0 * float(np.log(L.diagonal()).sum())


def _places(tail: tuple[Group, ...]) -> tuple[IntVector, ...]:
    """Rows of each level of each group, (l, k), one group after the other."""
    starts = accumulate((group.q for group in tail), initial=0)
    return tuple(
        start + np.arange(group.q).reshape(group.n_levels, group.size)
        for start, group in zip(starts, tail, strict=False)
    )


def _coupled(problem: Problem, g: int, h: int) -> Matrix:
    """Z_h'Z_i per level i of group g, (q_h, k_g, l_g)."""
    left, right, cells = problem.groups[g], problem.groups[h], problem.cells(g, h)
    border = np.zeros((right.n_levels, right.size, left.size, left.n_levels))
    border[cells.j, :, :, cells.i] = cells.products(left, right).transpose(2, 1, 0)
    return border.reshape(right.q, left.size, left.n_levels)
