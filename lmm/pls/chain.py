"""A chain of nested grouping factors, eliminated one after the other in closed form.

Every level of a factor belongs to one level of the next: classes in schools in regions. Eliminating
the classes leaves the schools' blocks diagonal by school, eliminating those leaves the regions',
and so on. With the border ``C_i = [Z_ancestors U]'Z_i`` of level i, where U = [Z_T X y] are the
columns behind the chain, each step takes

    H_i = lambda (lambda'A_i lambda + I)^-1 lambda',   [.]'[.] <- [.]'[.] - C_i H_i C_i'        (1)

from the cross-products of its own ancestors and of U, and ``N_i = I - A_i H_i``. An evaluation
costs O(number of levels) (docs/theory/blocks.md, blocks-level to blocks-meeting). What is left of U
is a dense tail; the columns of a tail with few couplings are not in the border but in
`SparseCouplings`.

Columns of a border are ordered [ancestors' columns, from the next factor to the last; U].
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import accumulate, pairwise
from operator import add
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.linalg import block_diag

from lmm._lapack import einsum
from lmm._types import IntVector, Matrix, cached_property
from lmm.pls.base import Derivatives, PLSTerms
from lmm.pls.directions import assembled, directions, level_traces, restricted, squares
from lmm.pls.effect_columns import Columns
from lmm.pls.groups import Group
from lmm.pls.kernels import identity_minus, multiply, penalized_inverse, sum_by
from lmm.pls.problem import Problem
from lmm.pls.tail import DenseFactor, DenseTail, bordered

if TYPE_CHECKING:
    from scipy import sparse

    from lmm.pls.couplings import Reach, SparseCouplings


def nested(problem: Problem) -> tuple[int, ...]:
    """Numbers of groups of which each is nested in the next, finest first.

    The chain starts with the group of the most levels, and takes what fits.
    """
    levels = [group.n_levels for group in problem.groups]
    first, *rest = sorted(range(len(levels)), key=lambda g: -levels[g])
    found = [first]
    for g in rest:
        if problem.products.parents(found[-1], g) is not None:
            found.append(g)
    return tuple(found)


class Later(NamedTuple):
    """A later factor h, its columns in a border, and the ancestor there of each level."""

    h: int
    part: slice
    parents: IntVector


@dataclass(frozen=True, eq=False)
class Chain:
    """Cross-products of nested factors, finest first, and of what is behind them.

    Attributes
    ----------
    order : tuple of int
        Number of each group of the chain, then of the tail, in the problem.
    columns : Columns
        Those of the tail.
    base : (q_T + t, q_T + t) array
        U'U.
    ancestors : tuple of tuple of (l_c,) int arrays
        Per factor c and later factor h, the level of h that each level of c belongs to.
    A : tuple of (k_c, k_c, l_c) arrays
        Z_i'Z_i per factor.
    C : tuple of (., k_c, l_c) arrays
        Borders.
    couplings : SparseCouplings or None
        Those of a single factor with the tail, where they are not in its border.
    """

    order: tuple[int, ...]
    columns: Columns
    base: Matrix
    ancestors: tuple[tuple[IntVector, ...], ...] = ()
    A: tuple[Matrix, ...] = ()
    C: tuple[Matrix, ...] = ()
    couplings: SparseCouplings | None = None

    @classmethod
    def of(
        cls, problem: Problem, inner: Sequence[int], behind: Sequence[int], is_sparse: bool
    ) -> Chain:
        """Sums of a problem, given the numbers of its groups in the chain and in the tail.

        Couplings of a single factor with the tail may be held as sparse ones.
        """
        products = problem.products
        found = [[products.parents(g, h) for h in inner[c + 1 :]] for c, g in enumerate(inner)]
        ancestors = tuple(tuple(own for own in row if own is not None) for row in found)
        columns = Columns(tuple(products.groups[g] for g in behind))
        return cls((*inner, *behind), columns, problem.base, ancestors)._summed(problem, is_sparse)

    def _summed(self, problem: Problem, is_sparse: bool) -> Chain:
        products, n = problem.products, self.n
        inner, behind = self.order[:n], self.order[n:]
        C, base, couplings = [], problem.base, None
        if behind:
            base = bordered(products.dense(behind, self.columns.places), base)
        for c, g in enumerate(inner):
            rows = [products.nested(g, h) for h in inner[c + 1 :]]
            if not is_sparse:
                rows += [_coupled(problem, g, h) for h in behind]
            C.append(np.concatenate([*rows, products.couplings[g]]))
        if is_sparse:
            from lmm.pls.couplings import SparseCouplings

            pairs = [products.pairs(inner[0], h) for h in behind]
            couplings = SparseCouplings.of(problem.groups[inner[0]], self.columns, pairs)
        A = tuple(products.grams[g] for g in inner)
        return dataclasses.replace(self, A=A, C=tuple(C), base=base, couplings=couplings)

    @property
    def n(self) -> int:
        """Number of factors."""
        return len(self.ancestors)

    @property
    def tail(self) -> DenseTail:
        """What stands behind."""
        return DenseTail(self.columns)

    def description(self, groups: Sequence[Group]) -> str:
        """What is eliminated."""
        each = [f"{group.n_levels} levels of {group.name}" for group in groups[: self.n]]
        if len(each) > 1:
            return f"nested factors eliminated one after the other, {' in '.join(each)}"
        return f"{each[0]} eliminated"

    def with_columns(self, problem: Problem) -> Chain:
        """The same random effects with other columns [X y]."""
        given = [problem.products.couplings[g] for g in self.order]
        t = len(self.base) - self.columns.q
        C = tuple(np.concatenate([c[:-t], own]) for c, own in zip(self.C, given, strict=False))
        base = self.tail.with_border(self.base, given[self.n :], problem.base)
        return dataclasses.replace(self, C=C, base=base)

    def reweighted(self, problem: Problem) -> Chain:
        """The same layout with the sums of other weights."""
        return self._summed(problem, is_sparse=self.couplings is not None)

    @cached_property
    def later(self) -> tuple[tuple[Later, ...], ...]:
        """Later factors of each factor."""
        found = []
        for c, ancestors in enumerate(self.ancestors):
            stops = accumulate((len(A) for A in self.A[c + 1 :]), initial=0)
            each = zip(pairwise(stops), ancestors, strict=True)
            found.append(
                tuple(Later(c + 1 + j, slice(*part), up) for j, (part, up) in enumerate(each))
            )
        return tuple(found)

    @cached_property
    def widths(self) -> tuple[int, ...]:
        """Columns of each factor's ancestors."""
        return tuple(later[-1].part.stop if later else 0 for later in self.later)

    def onto_tail(self, c: int, C: Matrix, w: Matrix) -> Matrix:
        """``Z_T'Z_c w`` (r, q_T) for w (r, k, l), given the border of factor c."""
        w = w.reshape(len(w), -1)
        return self.couplings.back(w) if self.couplings else w @ self.to_tail(c, C).T

    def from_tail(self, c: int, C: Matrix, x: Matrix) -> Matrix:
        """``Z_c'Z_T x`` (r, k, l) for x (r, q_T), given the border of factor c."""
        found = self.couplings.forth(x.T) if self.couplings else x @ self.to_tail(c, C)
        return found.reshape(len(x), *C.shape[1:])

    def to_tail(self, c: int, C: Matrix) -> Matrix:
        """Rows (q_T, k l) of the border of factor c that belong to the tail."""
        q, start = self.columns.q, self.widths[c]
        return C[start : start + q].reshape(q, C[0].size)

    def at(self, lams: Sequence[Matrix]) -> SweptChain:
        """Eliminate one factor after the other at given lambdas, and the tail."""
        A, C, H = list(self.A), list(self.C), []
        left, logdet = self.base, 0.0
        for c, lam in enumerate(lams[: self.n]):
            inverse, logdets = penalized_inverse(A[c], lam)
            H.append(inverse)
            logdet += float(logdets.sum())
            HC = einsum("abm,tbm->tam", inverse, C[c])
            for h, part, parents in self.later[c]:
                swept = einsum("tam,xam->txm", C[c][part.start :], HC[part])
                swept = sum_by(swept, parents, A[h].shape[2])
                A[h] = A[h] - swept[: part.stop - part.start]
                C[h] = C[h] - swept[part.stop - part.start :]
            U, HU = C[c][self.widths[c] :], HC[self.widths[c] :]
            swept = U.reshape(len(U), -1) @ HU.reshape(len(U), -1).T
            if self.couplings:
                left = self.couplings.swept(inverse, HU, left)
                left[-len(U) :, -len(U) :] -= swept
            else:
                left = left - swept
        tail = self.tail.at(lams[self.n :], left)
        return SweptChain(self, A, C, H, tail, logdet + tail.logdet)


@dataclass(frozen=True, eq=False)
class SweptChain:
    """A chain and its tail eliminated at given lambdas, V_1 that of the chain alone.

    Attributes
    ----------
    chain : Chain
        The sums.
    A, C : lists of arrays
        Blocks and borders when all factors before are eliminated.
    H : list of (k, k, l) arrays
        See (1).
    tail : DenseFactor
        The tail.
    logdet : float
        log|V|.
    """

    chain: Chain
    A: list[Matrix]
    C: list[Matrix]
    H: list[Matrix]
    tail: DenseFactor
    logdet: float

    @property
    def reduced(self) -> Matrix:
        """``[X y]'V^-1[X y]``, (t, t)."""
        return self.tail.reduced

    @cached_property
    def N(self) -> list[Matrix]:
        """I - A H per factor, (k, k, l)."""
        return [identity_minus(A, H) for A, H in zip(self.A, self.H, strict=True)]

    # Sweeping other columns --------------------------------------------------------------------

    def solve(self, right: Sequence[Matrix]) -> list[Matrix]:
        """D times columns (r, k, l) by group: over the chain, through the tail, and back."""
        n, r = len(self.H), len(right[0])
        R, swept = self._forward(right[:n], self.chain.columns.flat(right[n:], r).T)
        return self._through_tail(R, swept.T)

    def modes(self, residual: Matrix) -> list[Matrix]:
        """``D Z'[X y] residual'`` (r, k, l) by group, for (r, t)."""
        return self._through_tail(self._columns(residual), self.tail.coupling @ residual.T)

    def _through_tail(self, R: Sequence[Matrix], swept: Matrix) -> list[Matrix]:
        """``D Z'w``, given what `_forward` makes of w: (r, k, l) per factor, and (q_T, r)."""
        b_T = self.tail.solve(swept)
        _, b = self._backward(R, b_T.T)
        return [*b, *self.chain.columns.by_level(b_T)]

    def _forward(self, right: Sequence[Matrix], behind: Matrix) -> tuple[list[Matrix], Matrix]:
        """Sweep columns w with ``Z_c'w`` (r, k, l) per factor and ``Z_T'w`` (r, q_T).

        Returns the former when all factors before are eliminated, and ``Z_T'V_1^-1 w``.
        """
        R = list(right)
        for c, H in enumerate(self.H):
            HR = _times(H, R[c])
            for h, part, parents in self.chain.later[c]:
                swept = einsum("xam,ram->rxm", self.C[c][part], HR)
                R[h] = R[h] - sum_by(swept, parents, self.H[h].shape[2])
            behind = behind - self.chain.onto_tail(c, self.C[c], HR)
        return R, behind

    def _backward(self, swept: Sequence[Matrix], x_T: Matrix) -> tuple[list[Matrix], list[Matrix]]:
        """Back over the chain, given what `_forward` makes of w, and x_T (r, q_T).

        ``Z_c'V_1^-1 (w - Z_T x_T)`` but for its factor N_c, and ``D_1 Z'(w - Z_T x_T)``; the latter
        is not Gamma times the former: that would multiply the rounding errors.
        """
        R, x = list(swept), list(swept)
        for c in reversed(range(len(R))):
            if self.chain.columns.q:
                R[c] = R[c] - self.chain.from_tail(c, self.C[c], x_T)
            for h, part, parents in self.chain.later[c]:
                R[c] = R[c] - einsum("xam,rxm->ram", self.C[c][part], x[h][:, :, parents])
            x[c] = _times(self.H[c], R[c])
        return R, x

    def _columns(self, turn: Matrix) -> list[Matrix]:
        """``Z_c'[X y] turn'`` (r, k, l) per factor, swept, for turn (r, t)."""
        t = turn.shape[1]
        return [(turn @ C[-t:].reshape(t, -1)).reshape(len(turn), *C.shape[1:]) for C in self.C]

    # What derivatives are made of --------------------------------------------------------------

    def derivatives(
        self, terms: PLSTerms, half: Matrix, groups: Sequence[Group], reml: bool
    ) -> Derivatives:
        """Derivatives, given L^-1 (t, t) of the fixed effects; exact ones where no tail is left."""
        columns, tail = self.chain.columns, self.tail
        x_T, E_T = tail.across(tail.coupling @ half.T)
        swept, _ = self._backward(self._columns(half), x_T.T)
        E = [_times(N, R) for N, R in zip(self.N, swept, strict=True)]
        E += columns.by_level(E_T)
        EE = [squares(own) for own in E]
        scoring = self._trace()
        if columns.q:
            scoring = np.asarray(block_diag(scoring, tail.trace(None)))
        elif reml and len(half) > 1:
            scoring = restricted(scoring, self._fixed_forms(E), EE)
        sums, forms = [*self._sums(), *tail.sums], self._forms([e[-1] for e in E])
        return assembled(terms, groups, sums, EE, forms, scoring, reml, exact=not columns.q)

    def _fixed_forms(self, E: Sequence[Matrix]) -> Matrix:
        """``w'Z'V_1^-1 Zw`` (K, K) for w = E_ab e, summed over the columns e of E in X."""
        forms = (self._own_forms([e[s] for e in E])[0] for s in range(len(E[0]) - 1))
        return reduce(add, forms)

    def _forms(self, v: Sequence[Matrix]) -> Matrix:
        """``w'Z'V^-1 Zw`` (K, K) for w = E_ab v over the directions of all groups."""
        n, columns, tail = len(self.H), self.chain.columns, self.tail
        forms, across = self._own_forms(v[:n])
        if not columns.q:
            return forms
        W = columns.directions(v[n:])
        x_T, unswept = tail.across(across.T)
        aside = unswept.T @ W
        return np.block([[forms - across @ x_T, aside], [aside.T, tail.forms(W)]])

    def _own_forms(self, v: Sequence[Matrix]) -> tuple[Matrix, Matrix]:
        """``w'Z'V_1^-1 Zw`` (K, K) and ``w'Z'V_1^-1 Z_T`` (K, q_T) for w = E_ab v over the chain.

        The columns Z w are swept like responses: what is left of their cross-products after all
        factors are swept out is the result.
        """
        W = [directions(effects) for effects in v]
        starts = list(accumulate((len(w) for w in W), initial=0))
        R = [np.zeros((starts[-1], *effects.shape)) for effects in v]
        behind: list[Matrix] = [np.zeros((0, self.chain.columns.q))]
        own = [slice(*part) for part in pairwise(starts)]
        for c, w in enumerate(W):
            R[c][own[c]] += _times(self.chain.A[c], w)
            behind.append(self.chain.onto_tail(c, self.chain.C[c], w))
            for h, part, parents in self.chain.later[c]:
                down = einsum("xam,kam->kxm", self.chain.C[c][part], w)
                R[h][own[c]] += sum_by(down, parents, R[h].shape[2])
                up = einsum("xam,kxm->kam", self.chain.C[c][part], W[h][:, :, parents])
                R[c][own[h]] += up
        products = np.zeros((starts[-1], starts[-1]))
        for c, w in enumerate(W):
            products[own[c]] = w.reshape(len(w), -1) @ R[c].reshape(len(products), -1).T
        R, across = self._forward(R, np.concatenate(behind))
        for H, each in zip(self.H, R, strict=True):
            rows = each.reshape(len(each), -1)
            products -= rows @ _times(H, each).reshape(rows.shape).T
        return products, across

    def _sums(self) -> list[Matrix]:
        """Sums over levels of the diagonal blocks of Z'V^-1 Z, (k, k) per factor."""
        sums = [F.sum(axis=2) for F, _ in self._selected]
        if not self.chain.columns.q:
            return sums
        if self.chain.couplings:
            return [F - self.chain.couplings.form(self.N[0], self.tail.Y) for F in sums]
        reached = (_times(N, R) for N, R in zip(self.N, self._reached[0], strict=True))
        return [
            F - einsum("uam,ubm->ab", G, _across(self.tail.Y, G))
            for F, G in zip(sums, reached, strict=True)
        ]

    @cached_property
    def _reached(self) -> tuple[list[Matrix], list[Matrix]]:
        """What `_backward` gives for the tail's columns themselves, (q_T, k, l) per factor."""
        q = self.chain.columns.q
        none = [np.zeros((q, *C.shape[1:])) for C in self.C]
        return self._backward(none, -np.eye(q))

    @cached_property
    def _selected(self) -> list[tuple[Matrix, Matrix]]:
        """Diagonal blocks of Z'V_1^-1 Z and of D_1, (k, k, l) per factor.

        `above` is D_1 over a level's ancestors.
        """
        found: list[tuple[Matrix, Matrix]] = []
        above: Matrix = np.empty((0, 0, 0))
        for c in reversed(range(len(self.H))):
            N, H, later = self.N[c], self.H[c], self.chain.later[c]
            F = multiply(N, self.A[c])
            if not later:
                above = H
                found.append((F, H))
                continue
            above, C = above[:, :, later[0].parents], self.C[c][: self.chain.widths[c]]
            NC, HC = (einsum("abm,xbm->xam", blocks, C) for blocks in (N, H))
            F = F - einsum("xam,xym,ybm->abm", NC, above, NC, optimize=True)
            side = -einsum("xam,xym->aym", HC, above)
            own = H - einsum("aym,ybm->abm", side, HC)
            found.append((F, own))
            top = np.concatenate([own, side], axis=1)
            bottom = np.concatenate([side.transpose(1, 0, 2), above], axis=1)
            above = np.concatenate([top, bottom])
        return found[::-1]

    # Traces ------------------------------------------------------------------------------------

    def _trace(self) -> Matrix:
        """``tr(F E_ab F E_cd)`` over all factors' directions (K, K), the chain alone in V.

        Levels i of c and j of h that meet in the same level of a later factor g, and in none before
        it, have ``F_ij = -sum rho_i'H rho_j`` over g and what is behind it (blocks-meeting).
        """
        n = len(self.H)
        starts = list(accumulate((len(H) ** 2 for H in self.H), initial=0))
        own = [slice(*part) for part in pairwise(starts)]
        trace, reaches = np.zeros((starts[-1], starts[-1])), self._reaches() if n > 1 else []
        for c, (F, _) in enumerate(self._selected):
            for h in range(c, n):
                total = level_traces(F if h == c else self._upwards(c, h, reaches))
                for g in range(h + 1, n):
                    total = total + self._meeting(c, h, g, g, reaches)
                    total = total - self._meeting(c, h, g, g - 1, reaches)
                trace[own[c], own[h]] = total
                trace[own[h], own[c]] = total.T
        return trace

    def _reaches(self) -> list[Matrix]:
        """rho: couplings of each factor's levels with their ancestors, (width_c, k_c, l_c).

        Those with an ancestor are what is left when all factors before it are eliminated.
        """
        reaches = []
        for c, (N, width) in enumerate(zip(self.N, self.chain.widths, strict=True)):
            rho = einsum("abm,xbm->xam", N, self.C[c][:width])
            for h, part, parents in self.chain.later[c]:
                behind = self.C[h][: width - part.stop]
                B = einsum("abm,xbm->xam", self.H[h], behind)[:, :, parents]
                rho[part.stop :] -= einsum("xbm,bam->xam", B, rho[part])
            reaches.append(rho)
        return reaches

    def _upwards(self, c: int, h: int, reaches: Sequence[Matrix]) -> Matrix:
        """F between the levels of c and their ancestors in h, (k_c, k_h, l_c)."""
        _, part, parents = self.chain.later[c][h - c - 1]
        direct = einsum("xam,yxm->aym", reaches[c][part], self.N[h][:, :, parents])
        if h + 1 == len(self.N):
            return np.asarray(direct)
        H = self._joint(h + 1)[:, :, self.chain.ancestors[c][h - c]]
        left, right = reaches[c][part.stop :], reaches[h][:, :, parents]
        return np.asarray(direct - einsum("xam,xym,ybm->abm", left, H, right, optimize=True))

    def _joint(self, g: int) -> Matrix:
        """H of the levels of g and of their ancestors along one diagonal, (w, w, l_g)."""
        size, width = len(self.H[g]), self.chain.widths[g]
        joint = np.zeros((size + width, size + width, self.H[g].shape[2]))
        joint[:size, :size] = self.H[g]
        for h, part, parents in self.chain.later[g]:
            own = slice(size + part.start, size + part.stop)
            joint[own, own] = self.H[h][:, :, parents]
        return joint

    def _meeting(self, c: int, h: int, g: int, by: int, reaches: Sequence[Matrix]) -> Matrix:
        """Sum over all levels i of c and j of h with one ancestor in `by`, as if they met in g."""
        H = self._joint(g) if by == g else self._joint(g)[:, :, self.chain.ancestors[by][0]]
        pairs = []
        for factor in (c, h):
            rho = reaches[factor][-len(H) :]
            squares = einsum("xam,ybm->abxym", rho, rho)
            if factor != by:
                parents, n_levels = self.chain.ancestors[factor][by - factor - 1], H.shape[2]
                squares = sum_by(squares, parents, n_levels)
            pairs.append(einsum("abxyu,yzu->abxzu", squares, H))
        total = einsum("abxzu,cdzxu->abcd", *pairs)
        return np.asarray(total.reshape(total.shape[0] ** 2, total.shape[2] ** 2))

    # The inverse -------------------------------------------------------------------------------

    @property
    def diagonal(self) -> list[Matrix]:
        """Blocks of D of each level, (k, k, l) per group."""
        blocks = [D for _, D in self._selected]
        if self.chain.couplings:
            levels = np.arange(blocks[0].shape[2])
            blocks = [blocks[0] + self._reach.within(levels, levels)]
        elif self.chain.columns.q:
            each = zip(blocks, self._reached[1], strict=True)
            blocks = [D + einsum("uam,ubm->abm", B, _across(self.tail.Y, B)) for D, B in each]
        return [*blocks, *self.tail.diagonal]

    def blocks(self, g: int, h: int, i: IntVector, j: IntVector) -> Matrix | None:
        """Blocks of D between levels i of group g and j of group h >= g; None if not at hand."""
        n = len(self.H)
        if g >= n:
            return self.tail.blocks(g - n, h - n, i, j)
        if not self.chain.couplings:
            return None
        if g < h:
            return self._reach.behind(i, self.chain.columns.places[h - 1][j])
        return np.where(i == j, self.H[0][:, :, i], 0.0) + self._reach.within(i, j)

    @property
    def _reach(self) -> Reach:
        """What the tail adds to the blocks of a single factor, by sparse couplings."""
        from lmm.pls.couplings import Reach

        return Reach(self._B, self.tail.Y, len(self.H[0]))

    @cached_property
    def _B(self) -> sparse.csr_array:
        """H C of a single factor."""
        assert self.chain.couplings is not None
        return self.chain.couplings.times(self.H[0])


def _times(blocks: Matrix, w: Matrix) -> Matrix:
    """Blocks (k, k, l) times columns (r, k, l)."""
    if len(blocks) == 1:
        return np.asarray(blocks[0] * w)
    return np.asarray(einsum("abm,rbm->ram", blocks, w))


def _across(Y: Matrix, w: Matrix) -> Matrix:
    """Y times columns (q_T, k, l)."""
    return np.asarray((Y @ w.reshape(len(w), -1)).reshape(w.shape))


def _coupled(problem: Problem, g: int, h: int) -> Matrix:
    """Z_h'Z_i per level i of group g, (q_h, k_g, l_g)."""
    left, right, pairs = problem.groups[g], problem.groups[h], problem.products.pairs(g, h)
    border = np.zeros((right.n_levels, right.size, left.size, left.n_levels))
    border[pairs.j, :, :, pairs.i] = pairs.A.transpose(2, 1, 0)
    return border.reshape(right.q, left.size, left.n_levels)
