"""Nested grouping factors: a chain in which every level belongs to one level of the next factor.

Classes in schools in regions: eliminating the classes leaves the schools' blocks diagonal by
school, eliminating those leaves the regions', and so on, so that each step is the elimination of
`lmm.pls.grouped` with a wider border: level i of factor c couples with the blocks of its ancestors
only, and with [X y]. An evaluation costs O(number of levels) (docs/theory/blocks.md, eqns. 6, 7).

Columns of a border are ordered [ancestors' columns, from the next factor to the last; X; y].
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise

import numpy as np

from lmm._brief import Brief
from lmm._types import IntVector, Matrix, Vector
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
from lmm.pls.inverse import by_solving
from lmm.pls.kernels import sum_by, sum_products
from lmm.pls.problem import Group, Problem

__all__ = ["NestedPLS", "chain"]


def chain(groups: tuple[Group, ...]) -> tuple[Group, ...] | None:
    """The groups ordered so that each is nested in the next, or None where they are not."""
    ordered = tuple(sorted(groups, key=lambda group: -group.n_levels))
    nested = all(_parents(fine, coarse) is not None for fine, coarse in pairwise(ordered))
    return ordered if nested else None


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
    reduced: Matrix

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
        for group, solved in zip(self.pls.groups, self._effects()[1], strict=True):
            b = solved[-1].T / root
            effects.update({i: b[:, part] for i, part in group.members})
        return PLSSolution(
            self.terms,
            self.border.beta,
            tuple(effects[i] for i in range(len(effects))),
            self.border.fixed_root,
        )

    # Backward --------------------------------------------------------------------------------

    def _effects(self) -> tuple[list[Matrix], list[Matrix]]:
        """E_c = Z_c'V^-1 [X y] L^-T and Gamma_c E_c, (t, k_c, l_c) per factor.

        The latter from H_c = Gamma_c N_c: a large Gamma would multiply the rounding errors of E_c.
        """
        half, N = self.border.half, self.N
        t = len(half)
        E: list[Matrix] = [np.empty(0)] * len(N)
        b: list[Matrix] = [np.empty(0)] * len(N)
        for c in reversed(range(len(N))):
            _, k, n_levels = self.D[c].shape
            R = (half @ self.D[c][-t:].reshape(t, -1)).reshape(t, k, n_levels)
            for h, part, parents in self.pls.later(c):
                R = R - np.einsum("xam,txm->tam", self.D[c][part], b[h][:, :, parents])
            E[c] = np.einsum("abm,tbm->tam", N[c], R)
            b[c] = np.einsum("abm,tbm->tam", self.H[c], R)
        return E, b

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
        (E, _), blocks = self._effects(), self._blocks()
        forms, fixed = self._quadratic_forms([e[-1] for e in E])
        return per_term(
            self.terms,
            self.pls.groups,
            [block.F.sum(axis=2) for block in blocks],
            E,
            forms - fixed @ fixed.T,
            self._trace(E, blocks, reml),
            reml,
            exact=len(self.pls.groups) <= 2,
        )

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
        if reml:
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
        """``w'Fw`` (K, K) and ``RX^-T X'V^-1 Zw`` (K, p) for w = E_ab v over all directions.

        The columns Z w are swept like responses: what is left of their cross-products after all
        factors are swept out is the result.
        """
        R, RX, products = self._direction_products(v)
        t = self.pls.problem.p + 1
        for c, H in enumerate(self.H):
            HR = np.einsum("abm,kbm->kam", H, R[c])
            K = len(HR)
            products = products - R[c].reshape(K, -1) @ HR.reshape(K, -1).T
            for h, part, parents in self.pls.later(c):
                swept = np.einsum("xam,kam->kxm", self.D[c][part], HR)
                R[h] -= sum_by(swept, parents, self.pls.groups[h].n_levels)
            RX = RX - HR.reshape(K, -1) @ self.D[c][-t:-1].reshape(t - 1, HR[0].size).T
        return products, RX @ self.border.fixed_root

    def _direction_products(self, v: list[Matrix]) -> tuple[list[Matrix], Matrix, Matrix]:
        """Z_c'Zw (K, k_c, l_c) per factor, X'Zw (K, p) and w'Z'Zw (K, K), unswept."""
        W = [directions(effect) for effect in v]
        starts = list(accumulate((len(w) for w in W), initial=0))
        K, t = starts[-1], self.pls.problem.p + 1
        R = [np.zeros((K, *effect.shape)) for effect in v]
        RX = np.zeros((K, self.pls.problem.p))
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
        r = [right[g].copy() for g in self.pls.order]
        for c, H in enumerate(self.H):
            Hr = np.einsum("abm,rbm->ram", H, r[c])
            for h, part, parents in self.pls.later(c):
                swept = np.einsum("xam,ram->rxm", self.D[c][part], Hr)
                r[h] -= sum_by(swept, parents, self.pls.groups[h].n_levels)
        for c in reversed(range(len(r))):
            for h, part, parents in self.pls.later(c):
                r[c] -= np.einsum("xam,rxm->ram", self.D[c][part], r[h][:, :, parents])
            r[c] = np.einsum("abm,rbm->ram", self.H[c], r[c])
        return self.pls.by_group(r)

    @cached_property
    def diagonal(self) -> Blocks:
        """Blocks of D of each level."""
        return self.pls.by_group([block.Y for block in self._blocks()])

    def blocks(self, g: int, h: int, i: IntVector, j: IntVector) -> Matrix:
        """Blocks of D between levels."""
        if g == h and np.array_equal(i, j):
            return self.diagonal[g][:, :, i]
        return by_solving(self.solve, self.pls.problem, g, h, i, j)


@dataclass(frozen=True, eq=False, repr=False)
class NestedPLS(Brief):
    """Block solver for nested factors.

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
        Border: [Z_ancestors X y]'Z_i per factor.
    """

    problem: Problem
    groups: tuple[Group, ...]
    ancestors: tuple[tuple[IntVector, ...], ...]
    A: tuple[Matrix, ...]
    D: tuple[Matrix, ...]

    name = "block"

    @classmethod
    def build(cls, problem: Problem, groups: tuple[Group, ...]) -> NestedPLS:
        """Accumulate the cross-products of a problem whose groups form a chain, finest first."""
        found = [
            [_parents(group, other) for other in groups[c + 1 :]] for c, group in enumerate(groups)
        ]
        ancestors = [tuple(parents for parents in row if parents is not None) for row in found]
        return cls.accumulate(problem, groups, tuple(ancestors))

    @classmethod
    def accumulate(
        cls,
        problem: Problem,
        groups: tuple[Group, ...],
        ancestors: tuple[tuple[IntVector, ...], ...],
    ) -> NestedPLS:
        """Accumulate the cross-products, given the ancestors of each level."""
        A, D = [], []
        for c, group in enumerate(groups):
            later = groups[c + 1 :]
            A.append(gram(group))
            rows = [
                sum_products(group.Z, other.Z[:, x], group.codes, group.n_levels)
                for other in later
                for x in range(other.size)
            ]
            D.append(
                np.concatenate([np.array(rows), couplings(problem, group)])
                if rows
                else couplings(problem, group)
            )
        return cls(problem, groups, ancestors, tuple(A), tuple(D))

    def with_response(self, y: Vector) -> NestedPLS:
        """The same design with another response (n,)."""
        problem = self.problem.with_response(y)
        D = []
        for group, border in zip(self.groups, self.D, strict=True):
            own = sum_products(group.Z, problem.y, group.codes, group.n_levels)
            D.append(np.concatenate([border[:-1], own[None]]))
        return NestedPLS(problem, self.groups, self.ancestors, self.A, tuple(D))

    def reweighted(self, weights: Vector, y: Vector | None = None) -> NestedPLS:
        """The same layout with other weights (n,) and response (n,)."""
        problem = self.problem.reweighted(weights, y)
        by_name = {group.name: group for group in problem.groups}
        groups = tuple(by_name[group.name] for group in self.groups)
        return NestedPLS.accumulate(problem, groups, self.ancestors)

    @property
    def description(self) -> str:
        """What was chosen and why."""
        names = " in ".join(f"{group.n_levels} levels of {group.name}" for group in self.groups)
        return f"block: nested factors eliminated one after the other, {names}"

    @property
    def dense_size(self) -> int:
        """Columns of the largest dense matrix that is factored."""
        return self.problem.p + 1

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
        """Place of each factor of the chain among the problem's groups."""
        return tuple(self.problem.groups.index(group) for group in self.groups)

    def by_group(self, arrays: list[Matrix]) -> Blocks:
        """Arrays of the chain in the order of the problem's groups."""
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
        lams = [group.factor(factors) for group in self.groups]
        A, D, H = [a.copy() for a in self.A], [d.copy() for d in self.D], []
        base, logdet, t = self.problem.base, 0.0, self.problem.p + 1
        for c, lam in enumerate(lams):
            inverse, logdets = penalized_inverse(A[c], lam)
            H.append(inverse)
            logdet += float(logdets.sum())
            HD = np.einsum("abm,tbm->tam", inverse, D[c])
            for h, part, parents in self.later(c):
                swept = np.einsum("tam,xam->txm", D[c][part.start :], HD[part])
                swept = sum_by(swept, parents, self.groups[h].n_levels)
                A[h] -= swept[: part.stop - part.start]
                D[h] -= swept[part.stop - part.start :]
            base = base - D[c][-t:].reshape(t, -1) @ HD[-t:].reshape(t, -1).T
        return NestedPoint(self, lams, A, D, H, logdet, base)
