"""Cross-products of a leading factor and a tail that stays sparse, and the tail that is left.

Eliminating the leading factor 1 leaves ``K = Z_T'Z_T - C'H C`` of the tail's cross-products, with
the couplings ``C = Z_1'Z_T`` and the blocks ``H_i = lambda(lambda'A_i lambda + I)^-1 lambda'`` of
its levels. K is never formed: it multiplies a few columns at a time, and its diagonal blocks are
summed over the pairs of levels that occur together.

Per level of the tail ``D_j = Lambda'K_jj Lambda + I = L_j L_j'``, and

    S = L^-1 (Lambda'K Lambda + I) L^-T = I + E                                                (1)

has a unit diagonal, block by block (docs/theory/krylov.md, krylov-scaled).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from typing import TypeVar

import numpy as np
from scipy import sparse

from lmm._lapack import lower_triangular
from lmm._types import IntVector, Matrix, cached_property
from lmm.errors import NumericalError
from lmm.pls.base import Factors
from lmm.pls.effect_columns import Columns
from lmm.pls.groups import Group
from lmm.pls.inverse import flat
from lmm.pls.kernels import identity_minus, penalized_inverse
from lmm.pls.problem import Problem
from lmm.pls.products import Pairs, sparse_products

# Columns that are multiplied at a time.
COLUMNS = 32
# Pairs of levels per piece of the couplings: what is made for all of them is as large.
PAIRS = 2_000_000
# Pairs from which there is a piece for each thread.
THREADED = 300_000
THREADS = min(os.cpu_count() or 1, 8)
# Standard deviation, in units of the noise of a level's own mean, that stands for none at all.
FLOOR = 1e-8

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class PairLinks:
    """Couplings of some levels of the leading factor with one group of the tail.

    Attributes
    ----------
    indptr : (l + 1,) int array
        Where the pairs of each leading level begin.
    j : (m,) int array
        Tail level of each pair.
    values : (k_1, m, k) array
        Z_i'Z_j of each pair.
    n_levels : int
        Levels of the tail's group.
    """

    indptr: IntVector
    j: IntVector
    values: Matrix
    n_levels: int

    def among(self, levels: slice) -> PairLinks:
        """Those of a range of leading levels."""
        indptr = self.indptr[levels.start : levels.stop + 1]
        own = slice(int(indptr[0]), int(indptr[-1]))
        return PairLinks(indptr - own.start, self.j[own], self.values[:, own], self.n_levels)

    @cached_property
    def matrices(self) -> tuple[sparse.csr_array, ...]:
        """One sparse (l, k l_g) matrix per column of the leading factor."""
        k = self.values.shape[2]
        indices = self.j if k == 1 else (self.j[:, None] * k + np.arange(k, dtype=np.int32)).ravel()
        shape = len(self.indptr) - 1, self.n_levels * k
        return tuple(
            sparse.csr_array((values.ravel(), indices, (self.indptr * k).astype(np.int32)), shape)
            for values in self.values
        )

    def times(self, blocks: Matrix) -> Matrix:
        """Blocks (k_1, k_1, l) times the couplings, (k_1, m, k)."""
        rows = np.repeat(np.arange(len(self.indptr) - 1), np.diff(self.indptr))
        if len(blocks) == 1:
            return np.asarray(blocks[0, 0, rows, None] * self.values)
        return np.asarray(np.einsum("abm,bmc->amc", blocks[:, :, rows], self.values))

    def swept(self, H: Matrix) -> Matrix:
        """Sums of ``C_ij'H_i C_ij`` over leading levels, (k, k, l_g)."""
        forms = self._forms(self.values, self.times(H))
        return np.asarray(np.einsum("aacdj->cdj", forms))

    def squares(self, N: Matrix) -> Matrix:
        """Sums of (N_i C_ij) (x) (N_i C_ij) over leading levels, (k_1, k_1, k, k, l_g)."""
        reach = self.times(N)
        return self._forms(reach, reach)

    def by_lead(self, X: Matrix) -> Matrix:
        """Sums of ``C_ij X_j C_ij'`` over the tail's levels, (k_1, k_1, l), for X (k, k, l_g)."""
        n_levels = len(self.indptr) - 1
        rows = np.repeat(np.arange(n_levels), np.diff(self.indptr))
        moved = np.einsum("amc,cdm->amd", self.values, X[:, :, self.j])
        sums = np.empty((len(moved), len(moved), n_levels))
        for a, b in np.ndindex(sums.shape[:2]):
            products = np.einsum("mc,mc->m", moved[a], self.values[b])
            sums[a, b] = np.bincount(rows, products, n_levels)
        return sums

    def _forms(self, left: Matrix, right: Matrix) -> Matrix:
        """Sums by tail level of left[a, :, c] right[b, :, d]."""
        k1, _, k = left.shape
        forms = np.empty((k1, k1, k, k, self.n_levels))
        for a, b, c, d in np.ndindex(k1, k1, k, k):
            products = left[a, :, c] * right[b, :, d]
            forms[a, b, c, d] = np.bincount(self.j, products, self.n_levels)
        return forms


@dataclass(frozen=True, eq=False)
class Piece:
    """Couplings of a range of leading levels with all groups of the tail."""

    levels: slice
    links: tuple[PairLinks, ...]

    def reach(self, parts: Sequence[Matrix]) -> Matrix:
        """C times rows of the tail's groups, (k_1, l, r)."""
        each = list(zip(self.links, parts, strict=True))
        k1 = len(self.links[0].values)
        rows = [_total(links.matrices[a] @ X for links, X in each) for a in range(k1)]
        return rows[0][None] if k1 == 1 else np.stack(rows)

    def back(self, front: Matrix) -> Matrix:
        """C' times rows (k_1, l, r) of the leading factor, (q_T, r)."""
        return _joined(
            [
                _total(M.T @ rows for M, rows in zip(links.matrices, front, strict=True))
                for links in self.links
            ]
        )


@dataclass(frozen=True, eq=False)
class System:
    """All cross-products of a problem, apart from those of [X y] alone.

    Attributes
    ----------
    leading : Group
        The factor that is eliminated.
    tail : Columns
        The others.
    A : (k_1, k_1, l) array
        Z_i'Z_i of the leading factor.
    C : (t, k_1, l) array
        [X y]'Z_i.
    border : (q_T, t) array
        Z_T'[X y].
    pieces : tuple of Piece
        Couplings.
    blocks : tuple of (k, k, l_g) arrays
        Z_j'Z_j of the tail's groups.
    gram : (q_T, q_T) sparse array
        Z_T'Z_T.
    """

    leading: Group
    tail: Columns
    A: Matrix
    C: Matrix
    border: Matrix
    pieces: tuple[Piece, ...]
    blocks: tuple[Matrix, ...]
    gram: sparse.csr_array

    @classmethod
    def of(cls, problem: Problem) -> System:
        """Accumulate them."""
        first, *rest = problem.by_size
        leading, tail = problem.groups[first], Columns(tuple(problem.groups[g] for g in rest))
        products = problem.products
        each = zip(rest, tail.groups, strict=True)
        links = [_links(products.pairs(first, g), leading, group) for g, group in each]
        blocks = tuple(products.grams[g] for g in rest)
        places = dict(zip(rest, tail.places, strict=True))
        gram = sparse_products(products.all_pairs(rest), places, tail.q)
        pieces, A = tuple(_pieces(links)), products.grams[first]
        return cls(leading, tail, A, *_borders(problem), pieces, blocks, gram)

    def with_columns(self, problem: Problem) -> System:
        """With the cross-products of other columns [X y]."""
        C, border = _borders(problem)
        return replace(self, C=C, border=border)

    def over_pieces(self, function: Callable[[Piece], T]) -> Iterator[T]:
        """A function of each piece of the couplings, in threads: sparse products free the lock."""
        if len(self.pieces) == 1:
            yield function(self.pieces[0])
            return
        yield from _pool(os.getpid()).map(function, self.pieces)

    def summed(self, function: Callable[[Piece], list[Matrix]]) -> list[Matrix]:
        """Sums over the pieces of arrays, one for each group of the tail."""
        totals: list[Matrix] = []
        for parts in self.over_pieces(function):
            for total, part in zip(totals, parts, strict=False):
                total += part
            totals = totals or parts
        return totals

    def reach(self, X: Matrix) -> Matrix:
        """C times rows X (q_T, r), (k_1, l, r)."""
        parts = [np.ascontiguousarray(X[part]) for part in self.tail.parts]
        return np.concatenate(list(self.over_pieces(lambda p: p.reach(parts))), axis=1)

    def back(self, front: Matrix) -> Matrix:
        """C' times rows (k_1, l, r) of the leading factor, (q_T, r)."""
        return _total(self.over_pieces(lambda p: p.back(np.ascontiguousarray(front[:, p.levels]))))


@dataclass(frozen=True, eq=False)
class Scaled:
    """The scaled tail S of (1) at given factors.

    Attributes
    ----------
    system : System
        Cross-products.
    lam : (k_1, k_1) array
        Factor of the leading group.
    lams : tuple of (k, k) arrays
        Lower-triangular, regular factors of the tail's groups.
    H : (k_1, k_1, l) array
        Of the leading levels.
    logdet : float
        Log determinant of all that (1) leaves out: ``sum log|lambda'A_i lambda + I| + log|D_j|``.
    blocks : tuple of (k, k, l_g) arrays
        K_jj.
    roots : tuple of (k, k, l_g) arrays
        L_j.
    inner : tuple of (k, k, l_g) arrays
        L_j^-1.
    """

    system: System
    lam: Matrix
    lams: tuple[Matrix, ...]
    H: Matrix
    logdet: float
    blocks: tuple[Matrix, ...]
    roots: tuple[Matrix, ...]
    inner: tuple[Matrix, ...]

    @classmethod
    def at(cls, system: System, factors: Factors) -> Scaled:
        """Eliminate the leading factor, and scale what is left."""
        lam = system.leading.factor(factors)
        H, logdets = penalized_inverse(system.A, lam)
        logdet = float(logdets.sum())
        swept = system.summed(lambda p: [each.swept(H[:, :, p.levels]) for each in p.links])
        blocks = tuple(A - part for A, part in zip(system.blocks, swept, strict=True))
        lams = tuple(_regular(group.factor(factors)) for group in system.tail.groups)
        roots = tuple(_root(K, own) for K, own in zip(blocks, lams, strict=True))
        logdet += 2.0 * sum(float(np.log(np.einsum("aam->am", L)).sum()) for L in roots)
        inner = tuple(_by_level(np.linalg.inv, L) for L in roots)
        return cls(system, lam, lams, H, logdet, blocks, roots, inner)

    @cached_property
    def outer(self) -> tuple[Matrix, ...]:
        """Lambda L_j^-T, (k, k, l_g)."""
        return tuple(
            np.einsum("ab,cbm->acm", lam, inner)
            for lam, inner in zip(self.lams, self.inner, strict=True)
        )

    @cached_property
    def varying(self) -> tuple[Matrix, ...]:
        """The same without what has no variance."""
        return tuple(
            np.einsum("ab,cbm->acm", np.where(lam.diagonal() > FLOOR, lam, 0.0), inner)
            for lam, inner in zip(self.lams, self.inner, strict=True)
        )

    def each(self, blocks: Sequence[Matrix], X: Matrix, transpose: bool = False) -> Matrix:
        """Blocks (k, k, l_g) of every level of the tail times its rows of X (q_T, r)."""
        parts = []
        for own, part in zip(blocks, self.system.tail.parts, strict=True):
            k, _, n_levels = own.shape
            if k == 1:
                parts.append(own[0, 0, :, None] * X[part])
                continue
            levels = np.moveaxis(own, 2, 0)
            levels = levels.transpose(0, 2, 1) if transpose else levels
            parts.append((levels @ X[part].reshape(n_levels, k, -1)).reshape(k * n_levels, -1))
        return _joined(parts)

    def left(self, X: Matrix) -> Matrix:
        """K X, (q_T, r)."""
        system = self.system
        parts = [np.ascontiguousarray(X[part]) for part in system.tail.parts]

        def swept(piece: Piece) -> Matrix:
            front = piece.reach(parts)
            H = self.H[:, :, piece.levels]
            return piece.back(_times(H, front))

        return system.gram @ X - _total(system.over_pieces(swept))

    def times(self, X: Matrix) -> Matrix:
        """E X, (q_T, r): the hollow part of S."""
        return in_columns(self._times, X)

    def _times(self, X: Matrix) -> Matrix:
        spread = self.each(self.outer, X)
        hollow = self.left(spread) - self.each(self.blocks, spread)
        return self.each(self.outer, hollow, transpose=True)

    @cached_property
    def N(self) -> Matrix:
        """I - A H of the leading levels, (k_1, k_1, l)."""
        return identity_minus(self.system.A, self.H)

    @cached_property
    def squares(self) -> tuple[Matrix, ...]:
        """Sums of (N_i C_ij) (x) (N_i C_ij), (k_1, k_1, k, k, l_g): derivatives of `blocks`."""
        N = self.N
        return tuple(
            self.system.summed(lambda p: [each.squares(N[:, :, p.levels]) for each in p.links])
        )


@cache
def _pool(process: int) -> ThreadPoolExecutor:
    """Threads of a process: those of its parent are not there after a fork."""
    return ThreadPoolExecutor(THREADS)


def in_columns(function: Callable[[Matrix], Matrix], X: Matrix) -> Matrix:
    """A function of columns (q, r), some at a time."""
    if X.shape[1] <= COLUMNS:
        return function(X)
    starts = range(0, X.shape[1], COLUMNS)
    return np.hstack([function(np.ascontiguousarray(X[:, a : a + COLUMNS])) for a in starts])


def _times(blocks: Matrix, front: Matrix) -> Matrix:
    """Blocks (k, k, l) times (k, l, r)."""
    rows = [
        _total(own[:, None] * part for own, part in zip(row, front, strict=True)) for row in blocks
    ]
    return rows[0][None] if len(rows) == 1 else np.stack(rows)


def _joined(parts: Sequence[Matrix]) -> Matrix:
    """Rows of several groups, one after the other."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _total(parts: Iterable[Matrix]) -> Matrix:
    """Sum of arrays, the first of which is overwritten."""
    parts = iter(parts)
    total = next(parts)
    for part in parts:
        total += part
    return total


def _regular(factor: Matrix) -> Matrix:
    """A lower-triangular factor of the same covariance, with `FLOOR` for zero deviations."""
    lam = np.zeros_like(factor)
    varies = np.flatnonzero(np.sqrt(np.einsum("ij,ij->i", factor, factor)) > FLOOR)
    lam[np.ix_(varies, varies)] = lower_triangular(factor[varies])[:, : len(varies)]
    np.fill_diagonal(lam, np.maximum(lam.diagonal(), FLOOR))
    return lam


def _root(K: Matrix, lam: Matrix) -> Matrix:
    """Lower Cholesky factors (k, k, l) of ``lambda'K_jj lambda + I``."""
    D = np.einsum("ba,bcm,cd->adm", lam, K, lam, optimize=True)
    D[np.diag_indices(len(D))] += 1.0
    try:
        return _by_level(np.linalg.cholesky, D)
    except np.linalg.LinAlgError as error:
        text = "The tail of the normal equations is not positive definite."
        raise NumericalError(text) from error


def _by_level(function: Callable[[Matrix], Matrix], blocks: Matrix) -> Matrix:
    """A function of stacked matrices, of blocks (k, k, l)."""
    return np.ascontiguousarray(np.moveaxis(function(np.moveaxis(blocks, 2, 0)), 0, 2))


def _borders(problem: Problem) -> tuple[Matrix, Matrix]:
    """[X y]'Z_i of the leading group (t, k_1, l), and Z_T'[X y] (q_T, t)."""
    first, *rest = problem.by_size
    couplings = problem.products.couplings
    return couplings[first], np.concatenate([flat(couplings[g]) for g in rest])


def _links(pairs: Pairs, leading: Group, group: Group) -> PairLinks:
    """Couplings of the leading group with another."""
    indptr = np.searchsorted(pairs.i, np.arange(leading.n_levels + 1))
    values = np.ascontiguousarray(pairs.A.transpose(0, 2, 1))
    return PairLinks(indptr, pairs.j.astype(np.int32), values, group.n_levels)


def _pieces(links: Sequence[PairLinks]) -> Iterator[Piece]:
    """Ranges of leading levels with about as many pairs each."""
    reached = np.sum([own.indptr for own in links], axis=0)
    total = int(reached[-1])
    count = max(-(-total // PAIRS), THREADS if total > THREADED else 1)
    cuts = np.unique(np.searchsorted(reached, np.linspace(0, total, count + 1)[1:-1]))
    bounds = [0, *cuts.tolist(), len(reached) - 1]
    for start, stop in pairwise(bounds):
        if stop > start:
            levels = slice(start, stop)
            yield Piece(levels, tuple(own.among(levels) for own in links))
