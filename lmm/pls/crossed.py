"""Crossed grouping factors: the largest is eliminated level by level, the others are a dense tail.

With the leading factor 1 and the tail T (the columns of all other factors), eliminating level i of
factor 1 takes ``C_i' H_i C_i`` from the cross-products of everything else (`lmm.pls.grouped`),
where ``C_i = Z_i'[Z_T X y]``. Its part in Z_T is sparse: only the tail's levels that occur together
with level i. It is held as one sparsity pattern over levels, with one array of values per column of
Z_1 ("couplings"), so that multiplying by H_i or N_i is a handful of array operations. What is left,

    Omega_T = Lambda_T'(Z_T'V_1^-1 Z_T) Lambda_T + I,

is factored densely. Gradients need ``Y = Lambda_T Omega_T^-1 Lambda_T'``, the inverse of the tail,
and its inner products with the couplings: more sparse products (docs/theory/blocks.md, eqns. 8
and 9).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse
from scipy.linalg import block_diag, lapack

from lmm._brief import Brief
from lmm._threads import blas_threads, limited
from lmm._types import IntVector, Matrix, Vector
from lmm.errors import NumericalError
from lmm.pls.base import Blocks, Derivatives, Factors, PLSSolution
from lmm.pls.border import Bordered
from lmm.pls.grouped import (
    directions,
    identity_minus,
    penalized_inverse,
    per_term,
)
from lmm.pls.groups import Group
from lmm.pls.inverse import CHUNK, by_level, dense_blocks, flat
from lmm.pls.problem import Problem
from lmm.pls.products import Pairs
from lmm.pls.tail import Tail

__all__ = ["CrossedPLS"]


@dataclass(frozen=True, eq=False)
class Links:
    """Sparse couplings of the leading factor's columns with some columns of the tail.

    Attributes
    ----------
    columns : slice
        Columns of the tail.
    indptr, indices : (l + 1,) and (nnz,) int arrays
        Pattern over levels of the leading factor, CSR.
    rows : (nnz,) int array
        Level of each entry.
    values : (k, nnz) array
        One set of values per column of Z_1.
    """

    columns: slice
    indptr: IntVector
    indices: IntVector
    rows: IntVector
    values: Matrix

    def times(self, blocks: Matrix) -> Matrix:
        """Blocks (k, k, l) times the couplings, (k, nnz)."""
        if len(blocks) == 1:
            return np.asarray(blocks[0, 0, self.rows] * self.values)
        return np.asarray(np.einsum("abm,bm->am", blocks[:, :, self.rows], self.values))

    def matrix(self, values: Matrix) -> sparse.csr_array:
        """Values (k, nnz) as one sparse (k l, columns) matrix, column by column of Z_1."""
        k, nnz = values.shape
        starts = (self.indptr[:-1] + nnz * np.arange(k)[:, None]).ravel()
        indices = self.indices if k == 1 else np.tile(self.indices, k)
        return sparse.csr_array(
            (values.ravel(), indices, np.append(starts, k * nnz)),
            shape=(len(starts), self.columns.stop - self.columns.start),
        )


@dataclass(frozen=True, eq=False)
class CrossedPoint(Bordered):
    """Everything at one Lambda that values, derivatives and coefficients share."""

    pls: CrossedPLS
    lams: list[Matrix]  # of the tail's groups
    H: Matrix  # (k, k, l)
    logdet: float
    tail: Matrix  # Z_T'V_1^-1 Z_T, (q_T, q_T)
    coupling: Matrix  # Z_T'V_1^-1 [X y], (q_T, t)
    root: Matrix  # lower Cholesky factor of Omega_T, Fortran order
    half: Matrix  # L_T^-1 Lambda_T' coupling, (q_T, t)
    reduced: Matrix  # [X y]'V^-1[X y], (t, t)

    @limited
    def solution(self) -> PLSSolution:
        """Coefficients."""
        right = self.half @ self.border.residual
        spherical, _ = lapack.dtrtrs(self.root, right, lower=1, trans=1)
        b_tail = self.pls.scale_rows(self.lams, spherical.reshape(-1, 1)).ravel()
        leading = self.pls.leading
        sums = np.einsum("t,tbm->bm", self.border.residual, self.pls.C)
        for links in self.pls.links:
            reached = links.matrix(links.values) @ b_tail[links.columns]
            sums = sums - reached.reshape(sums.shape)
        by_group = [(leading, np.einsum("abm,bm->ma", self.H, sums))]
        for group, part in zip(self.pls.others, self.pls.tail_groups.parts, strict=True):
            by_group.append((group, b_tail[part].reshape(group.n_levels, group.size)))
        effects = {i: b[:, columns] for group, b in by_group for i, columns in group.members}
        return self.coefficients(tuple(effects[i] for i in range(len(effects))))

    @limited
    def derivatives(self, reml: bool) -> Derivatives:
        """Values with exact first derivatives, and second ones by the average information."""
        lams = self.lams
        t, k, n_levels = self.pls.C.shape
        N = identity_minus(self.pls.A, self.H)
        F = np.einsum("abm,bcm->acm", N, self.pls.A)
        NS_values = [links.times(N) for links in self.pls.links]
        NS = sparse.csr_array(
            sparse.hstack(
                [links.matrix(v) for links, v in zip(self.pls.links, NS_values, strict=True)],
                format="csr",
            )
        )
        inverse = _inverse(self.root)
        Y = self.pls.scale(lams, inverse)
        # E: Z'V^-1 [X y] L^-T, of which the last column is v / sqrt(pwrss).
        half = self.border.half
        coupling = self.coupling @ half.T
        solved = Y @ coupling
        E_tail = coupling - self.tail @ solved
        D = np.einsum("abm,tbm->tam", N, (half @ self.pls.C.reshape(t, -1)).reshape(t, k, n_levels))
        E = D - (NS @ solved).T.reshape(t, k, n_levels)
        F_tail = self._tail_F(lams, inverse, self.tail, Y)
        sums = [F.sum(axis=2) - self.pls.coupled(NS_values, Y)]
        sums += self.pls.tail_groups.sums(F_tail)
        effects = [E, *self.pls.tail_groups.by_level(E_tail)]
        average = self._average(effects, E_tail, F, NS, Y)
        trace = self._trace(F, F_tail)
        return per_term(
            self.terms,
            (self.pls.leading, *self.pls.others),
            sums,
            effects,
            average,
            trace,
            reml,
        )

    def _tail_F(self, lams: list[Matrix], inverse: Matrix, tail: Matrix, Y: Matrix) -> Matrix:
        """Z_T'V^-1 Z_T, (q_T, q_T).

        Where every lambda is regular it is ``Lambda^-T (I - Omega^-1) Lambda^-1``, elsewhere
        ``A - A Y A``, which costs two products of the tail's size.
        """
        values = [np.linalg.svd(lam, compute_uv=False) for lam in lams]
        if any(s[-1] <= REGULAR * max(s[0], 1.0) for s in values):
            return tail - tail @ Y @ tail
        roots = [np.linalg.inv(lam) for lam in lams]
        F = -inverse
        F.flat[:: len(F) + 1] += 1.0
        return self.pls.scale(roots, F, transpose=True, overwrite=True)

    def _trace(self, F: Matrix, F_tail: Matrix) -> Matrix:
        """``tr(F E F E')`` (K, K), without the couplings between levels of the leading factor.

        What is left out needs products of the tail's size; it only shapes the first steps.
        """
        k = len(F)
        flat = F.reshape(k * k, -1)
        own = np.einsum("bcda->abcd", (flat @ flat.T).reshape(k, k, k, k)).reshape(k * k, k * k)
        return np.asarray(block_diag(own, self.pls.tail_groups.trace(F_tail)))

    def _average(
        self, effects: list[Matrix], E_tail: Matrix, F: Matrix, NS: sparse.csr_array, Y: Matrix
    ) -> Matrix:
        """``w'Z'PZ w`` for w = E_ab v over all groups' directions (a, b), (K, K)."""
        lead = directions(effects[0][-1]).reshape(-1, F.shape[0] * F.shape[2])
        tail = self.tail
        W_tail = self.pls.tail_groups.directions([effect[-1] for effect in effects[1:]]).T
        K = len(lead) + len(W_tail)
        W = np.vstack([np.zeros((len(lead), len(tail))), W_tail])
        first = np.zeros((K, lead.shape[1]))
        first[: len(lead)] = lead
        blocks = first.reshape(K, *F.shape[1:])
        own = np.einsum("abm,kbm->kam", F, blocks).reshape(K, -1)
        cross = first @ (NS @ W.T)
        reach = (NS.T @ first.T).T + W @ tail
        fixed = first @ effects[0][:-1].reshape(-1, first.shape[1]).T
        fixed[len(lead) :] = W_tail @ E_tail[:, :-1]
        unswept = first @ own.T + cross + cross.T + W @ tail @ W.T
        return np.asarray(unswept - reach @ Y @ reach.T - fixed @ fixed.T)

    # The inverse -----------------------------------------------------------------------------

    @cached_property
    def _B(self) -> sparse.csr_array:
        """H Z_1'Z_T, (k l, q_T), column by column of Z_1."""
        pieces = [links.matrix(links.times(self.H)) for links in self.pls.links]
        return sparse.csr_array(sparse.hstack(pieces, format="csr"))

    @cached_property
    def _Y(self) -> Matrix:
        """D_TT = Lambda_T Omega_T^-1 Lambda_T', (q_T, q_T)."""
        with blas_threads(self.dense_size):
            return self.pls.scale(self.lams, _inverse(self.root))

    @limited
    def solve(self, right: Blocks) -> Blocks:
        """D times columns."""
        lead, *rest = (right[g] for g in self.pls.order)
        if not len(lead):
            return right
        swept = np.concatenate([flat(effects) for effects in rest])
        swept -= self._B.T @ lead.reshape(len(lead), -1).T
        inner = self.pls.scale_rows(self.lams, swept, transpose=True)
        solved, _ = lapack.dpotrs(self.root, inner, lower=1)
        behind = self.pls.scale_rows(self.lams, np.ascontiguousarray(solved))
        front = np.einsum("abm,rbm->ram", self.H, lead) - (self._B @ behind).T.reshape(lead.shape)
        parts = zip(self.pls.tail_groups.parts, self.pls.others, strict=True)
        return self.pls.by_group([front, *(by_level(behind[p], group) for p, group in parts)])

    @cached_property
    def diagonal(self) -> Blocks:
        """Blocks of D of each level."""
        levels = np.arange(self.pls.leading.n_levels)
        blocks = [self._lead_blocks(levels, levels)]
        blocks += [dense_blocks(self._Y, own, own) for own in self.pls.tail_groups.places]
        return self.pls.by_group(blocks)

    def blocks(self, g: int, h: int, i: IntVector, j: IntVector) -> Matrix:
        """Blocks of D between levels: D_11 = H + B D_TT B', D_1T = -B D_TT."""
        one, two = self.pls.order.index(g), self.pls.order.index(h)
        if one == two == 0:
            return self._lead_blocks(i, j)
        if two == 0:
            return self.blocks(h, g, j, i).transpose(1, 0, 2)
        columns = self.pls.tail_groups.places[two - 1][j]
        if one > 0:
            return dense_blocks(self._Y, self.pls.tail_groups.places[one - 1][i], columns)
        found = np.empty((self.pls.leading.size, columns.shape[1], len(i)))
        for here, rows, reach in self._reach(i):
            found[:, :, here] = -reach[:, rows[:, None], columns[here]].transpose(0, 2, 1)
        return found

    def _lead_blocks(self, i: IntVector, j: IntVector) -> Matrix:
        """Blocks of D_11, (k, k, m)."""
        k, n_levels = self.pls.leading.size, self.pls.leading.n_levels
        found = np.where(i == j, self.H[:, :, i], 0.0)
        for here, rows, reach in self._reach(i):
            for b in range(k):
                other = self._B[b * n_levels + j[here]]
                for a in range(k):
                    found[a, b, here] += other.multiply(reach[a, rows]).sum(axis=1)
        return found

    def _reach(self, i: IntVector) -> Iterator[tuple[IntVector, IntVector, Matrix]]:
        """B D_TT at levels i, a range of them at a time: which of i, their rows, (k, ., q_T)."""
        k, n_levels = self.pls.leading.size, self.pls.leading.n_levels
        levels, place = np.unique(i, return_inverse=True)
        step = max(1, CHUNK // (k * len(self.tail)))
        for start in range(0, len(levels), step):
            here = np.flatnonzero((place >= start) & (place < start + step))
            chosen = levels[start : start + step]
            rows = (np.arange(k)[:, None] * n_levels + chosen).ravel()
            yield here, place[here] - start, (self._B[rows] @ self._Y).reshape(k, len(chosen), -1)


@dataclass(frozen=True, eq=False, repr=False)
class CrossedPLS(Brief):
    """Block solver for crossed factors with a dense tail.

    Parameters
    ----------
    problem : Problem
        Standardized problem.
    leading : Group
        The factor that is eliminated.
    others : tuple of Group
        The tail's factors.
    A : (k, k, l) array
        Z_i'Z_i of the leading factor.
    C : (t, k, l) array
        [X y]'Z_i.
    links : tuple of Links
        Couplings Z_i'Z_T, cut into pieces of the tail's columns: only the pieces on and above the
        diagonal of a symmetric product are formed.
    tail : (q_T, q_T) array
        Z_T'Z_T.
    border : (q_T, t) array
        Z_T'[X y].
    """

    problem: Problem
    leading: Group
    others: tuple[Group, ...]
    A: Matrix
    C: Matrix
    links: tuple[Links, ...]
    tail: Matrix
    border: Matrix

    name = "block"

    @classmethod
    def build(cls, problem: Problem) -> CrossedPLS:
        """Accumulate the cross-products of a problem."""
        first, *rest = sorted(range(len(problem.groups)), key=lambda g: -problem.groups[g].q)
        leading, others = problem.groups[first], tuple(problem.groups[g] for g in rest)
        products = problem.products
        tail, border = products.dense(rest, Tail(others).places)
        return cls(
            problem,
            leading,
            others,
            products.grams[first],
            products.couplings[first],
            tuple(_links(leading, others, [products.pairs(first, g) for g in rest])),
            tail,
            border,
        )

    def with_response(self, y: Vector) -> CrossedPLS:
        """The same design with another response (n,)."""
        return self.with_problem(self.problem.with_response(y))

    def with_problem(self, problem: Problem) -> CrossedPLS:
        """The same random effects with other columns [X y]."""
        C, *behind = (problem.products.couplings[g] for g in self.order)
        border = np.concatenate([flat(each) for each in behind])
        return CrossedPLS(
            problem, self.leading, self.others, self.A, C, self.links, self.tail, border
        )

    def reweighted(self, weights: Vector, y: Vector | None = None) -> CrossedPLS:
        """The same layout with other weights (n,) and response (n,)."""
        return CrossedPLS.build(self.problem.reweighted(weights, y))

    @property
    def description(self) -> str:
        """What was chosen and why."""
        return (
            f"block: {self.leading.n_levels} levels of {self.leading.name} eliminated, dense tail "
            f"of {len(self.tail)} columns for {', '.join(group.name for group in self.others)}"
        )

    @cached_property
    def order(self) -> tuple[int, ...]:
        """Place of the leading factor, then of the tail's, among the problem's groups."""
        return tuple(self.problem.number(group) for group in (self.leading, *self.others))

    def by_group(self, arrays: list[Matrix]) -> Blocks:
        """Arrays of the leading factor and the tail's in the order of the problem's groups."""
        return tuple(arrays[c] for c in np.argsort(self.order))

    @cached_property
    def tail_groups(self) -> Tail:
        """Where the tail's columns stand."""
        return Tail(self.others)

    def scale_rows(
        self, lams: list[Matrix], M: Matrix, transpose: bool = False, overwrite: bool = False
    ) -> Matrix:
        """Lambda_T M, or Lambda_T' M: the same k x k factor for every level of a group."""
        out = M if overwrite else np.empty_like(M)
        for lam, part, group in zip(lams, self.tail_groups.parts, self.others, strict=True):
            factor, k = lam.T if transpose else lam, group.size
            rows = [M[part.start + b : part.stop : k] for b in range(k)]
            if overwrite and k > 1:
                rows = [row.copy() for row in rows]
            for a in range(k):
                target = out[part.start + a : part.stop : k]
                np.multiply(factor[a, 0], rows[0], out=target)
                for b in range(1, k):
                    if factor[a, b] != 0.0:
                        target += factor[a, b] * rows[b]
        return out

    def scale(
        self, lams: list[Matrix], M: Matrix, transpose: bool = False, overwrite: bool = False
    ) -> Matrix:
        """Lambda_T M Lambda_T', or Lambda_T' M Lambda_T, for a symmetric M (q_T, q_T).

        Fresh memory of the tail's size costs as much as the arithmetic.
        """
        half = self.scale_rows(lams, M, transpose, overwrite)
        return self.scale_rows(lams, half.T, transpose, overwrite=True)

    # Forward ---------------------------------------------------------------------------------

    @limited
    def at(self, factors: Factors) -> CrossedPoint:
        """Eliminate the leading factor, and factor the tail."""
        lam = self.leading.factor(factors)
        H, logdets = penalized_inverse(self.A, lam)
        logdet = float(logdets.sum())
        t = len(self.C)
        HC = np.einsum("abm,tbm->tam", H, self.C)
        base = self.problem.base - self.C.reshape(t, -1) @ HC.reshape(t, -1).T
        tail, border = self.tail.copy(), self.border.copy()
        S = [links.matrix(links.values) for links in self.links]
        HS = [links.matrix(links.times(H)) for links in self.links]
        for i, j, swept in self._upper_products(S, HS):
            rows, columns = self.links[i].columns, self.links[j].columns
            tail[rows, columns] -= swept.toarray()
            if i < j:
                tail[columns, rows] = tail[rows, columns].T
        for links, piece in zip(self.links, S, strict=True):
            border[links.columns] -= piece.T @ HC.reshape(t, -1).T
        lams = [group.factor(factors) for group in self.others]
        omega = self.scale(lams, tail, transpose=True)
        omega.flat[:: len(omega) + 1] += 1.0
        # In row order omega is its own transpose: LAPACK factors it in place.
        root, info = lapack.dpotrf(omega.T, lower=1, clean=1, overwrite_a=1)
        if info:
            raise NumericalError("The tail of the normal equations is not positive definite.")
        logdet += 2.0 * float(np.log(np.diag(root)).sum())
        right = self.scale_rows(lams, border, transpose=True)
        half, _ = lapack.dtrtrs(root, right, lower=1)
        reduced = base - half.T @ half
        return CrossedPoint(self, lams, H, logdet, tail, border, root, half, reduced)

    @property
    def dense_size(self) -> int:
        """Columns of the largest dense matrix that is factored."""
        return len(self.tail)

    def coupled(self, NS: list[Matrix], Y: Matrix) -> Matrix:
        """Sum over levels of (N S) Y (N S)', (k, k), from values (k, nnz) per piece of S.

        Off-diagonal entries by polarization, 2 a'b = (a + b)'(a + b) - a'a - b'b, so that every
        product is symmetric.
        """
        k = len(self.A)
        total = np.empty((k, k))
        for a in range(k):
            total[a, a] = self._form([values[a] for values in NS], Y)
        for a in range(k):
            for b in range(a):
                joint = self._form([values[a] + values[b] for values in NS], Y)
                total[a, b] = total[b, a] = 0.5 * (joint - total[a, a] - total[b, b])
        return total

    def _form(self, values: list[Vector], Y: Matrix) -> float:
        """``tr(R Y R')`` for a sparse R (l, q_T) with the given values (nnz,) per piece."""
        total = 0.0
        pieces = [links.matrix(v[None]) for links, v in zip(self.links, values, strict=True)]
        for i, j, product in self._upper_products(pieces, pieces):
            joint = sparse.coo_array(product)
            block = Y[self.links[i].columns, self.links[j].columns]
            total += (1.0 + (i < j)) * float(joint.data @ block[joint.coords])
        return total

    def _upper_products(
        self, left: list[sparse.csr_array], right: list[sparse.csr_array]
    ) -> Iterator[tuple[int, int, sparse.csr_array]]:
        """``left_i' right_j`` for pieces i <= j. Large ones in threads: SciPy frees the lock."""
        pairs = [(i, j) for j in range(len(right)) for i in range(j + 1)]

        def product(pair: tuple[int, int]) -> sparse.csr_array:
            return sparse.csr_array(left[pair[0]].T @ right[pair[1]])

        if sum(piece.nnz for piece in right) < THREADED:
            products: Iterable[sparse.csr_array] = map(product, pairs)
        else:
            with ThreadPoolExecutor(min(os.cpu_count() or 1, 8)) as pool:
                products = list(pool.map(product, pairs))
        for (i, j), result in zip(pairs, products, strict=True):
            yield i, j, result


# Relative size of the smallest singular value of lambda below which its inverse is not used.
REGULAR = 1e-3
# Columns of the tail per piece of the couplings.
PIECE = 256
# Entries of the couplings from which their products are formed in threads.
THREADED = 50_000


def _inverse(root: Matrix) -> Matrix:
    """Inverse from a lower Cholesky factor with a clean upper triangle."""
    lower, _ = lapack.dpotri(root, lower=1)
    inverse: Matrix = lower + lower.T
    inverse.flat[:: len(inverse) + 1] *= 0.5
    return inverse


def _links(leading: Group, others: tuple[Group, ...], each: Sequence[Pairs]) -> Iterator[Links]:
    """Couplings of the leading factor with the tail, summed over the rows of each level pair."""
    start = 0
    # Pairs are ordered by leading level: the pattern in compressed rows.
    for group, pairs in zip(others, each, strict=True):
        level, other = pairs.i, pairs.j
        values = pairs.A.transpose(0, 2, 1)
        per_piece = max(PIECE // group.size, 1)
        for first in range(0, group.n_levels, per_piece):
            stop = min(first + per_piece, group.n_levels)
            chosen = np.flatnonzero((other >= first) & (other < stop))
            rows = np.repeat(level[chosen], group.size)
            within = (other[chosen, None] - first) * group.size + np.arange(group.size)
            yield Links(
                slice(start + first * group.size, start + stop * group.size),
                np.searchsorted(rows, np.arange(leading.n_levels + 1)),
                within.ravel(),
                rows,
                np.ascontiguousarray(values[:, chosen].reshape(leading.size, -1)),
            )
        start += group.q
