"""Any structure, by a sparse Cholesky factor of all random effects: CHOLMOD, or SciPy's SuperLU.

    Omega = Lambda'Z'Z Lambda + I = P'L L'P

Its pattern is that of Z'Z: level pairs that occur together in some row. It is laid down once, from
the codes (a product of sparse matrices would drop zeros that come and go with theta), ordered,
analysed, and factored anew for every theta.

Each group's factor is written as ``lambda = U diag(s)`` along its principal axes: any square root
of Gamma will do, and this one can be inverted. Where an axis has no variance s is set to `FLOOR`;
the rows of Omega^-1 scale with s, so that quotients by s keep their digits, and no more than s^2 is
lost against 1. With S = Omega^-1 Lambda'Z'[X y] this gives

    Z'V^-1[X y] = Lambda^-T S,   Z'V^-1 Z = Lambda^-T (I - Omega^-1) Lambda^-1                   (4)

of which the gradient needs the diagonal blocks: entries of Omega^-1 where Z'Z has entries
(`lmm.pls.sparse.selected`). Equations: docs/theory/sparse-tail.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
from scipy import sparse
from scipy.linalg import block_diag

from lmm._brief import Brief
from lmm._threads import limited
from lmm._types import IntVector, Matrix, Vector
from lmm.pls.base import Blocks, Derivatives, Factors, PLSSolution
from lmm.pls.border import Bordered
from lmm.pls.directions import assembled, directions, level_traces, squares
from lmm.pls.groups import Group
from lmm.pls.inverse import by_level, by_solving, flat
from lmm.pls.kernels import sum_by
from lmm.pls.problem import Problem
from lmm.pls.products import Pairs
from lmm.pls.sparse.selected import SelectedInverse
from lmm.pls.sparse.symbolic import column_counts, flops, permuted

__all__ = ["SparsePLS", "has_cholmod"]

# Standard deviation, in units of the noise of a level's own mean, that stands for none at all.
FLOOR = 1e-8
# From this s on, diagonal blocks of (4) are (I - Omega^-1) / s^2; below, U'A Lambda Omega^-1 / s.
REGULAR = 1e-2


@dataclass(frozen=True, eq=False)
class Ordering:
    """Fill-reducing order of the random effects.

    Attributes
    ----------
    backend : str
        ``"cholmod"`` or ``"scipy"``.
    name : str
        Method.
    order : (q,) int array
        Column that comes first, second, ...
    counts : (q,) int array
        Entries of each column of L.
    """

    backend: str
    name: str
    order: IntVector
    counts: IntVector

    @property
    def flops(self) -> float:
        """Operations of one factorization."""
        return flops(self.counts)


@dataclass(frozen=True, eq=False)
class _System:
    """A symmetric matrix of fixed pattern, given by its entries.

    Attributes
    ----------
    rows, columns : (m,) int arrays
        Positions; off the diagonal blocks only one of (i, j) and (j, i).
    ordering : Ordering
        Its order.
    """

    rows: IntVector
    columns: IntVector
    ordering: Ordering

    def __reduce__(self) -> tuple[Any, ...]:
        # Symbolic factors live outside Python: analyse again instead.
        return type(self), (self.rows, self.columns, self.ordering)

    @cached_property
    def _pattern(self) -> sparse.csc_array:
        """In its final order; the values are indices into the entries."""
        pattern = _symmetric(self.rows, self.columns, len(self.ordering.order))
        return permuted(pattern, self.ordering.order)

    @cached_property
    def _analysis(self) -> Any:
        return _backend(self.ordering.backend).Analysis(self._pattern)

    @cached_property
    def _selected(self) -> SelectedInverse:
        """Plan of the selected inverse."""
        return SelectedInverse.of(self._analysis.indptr, self._analysis.indices)

    @cached_property
    def _where(self) -> IntVector:
        """Place of each entry in the values of L."""
        q = len(self.ordering.order)
        rank = np.empty(q, dtype=np.int64)
        rank[self.ordering.order] = np.arange(q)
        low, high = np.sort([rank[self.rows], rank[self.columns]], axis=0)
        columns = np.repeat(np.arange(q, dtype=np.int64), np.diff(self._analysis.indptr))
        keys: IntVector = columns * q + self._analysis.indices
        return np.asarray(np.searchsorted(keys, low * q + high))

    def factor(self, entries: Vector) -> _Factored:
        """Factor the matrix with these entries (m,)."""
        pattern = self._pattern
        matrix = sparse.csc_array(
            (entries[pattern.data], pattern.indices, pattern.indptr), shape=pattern.shape
        )
        return _Factored(self, self._analysis.factor(matrix))

    def logdet(self, L: Vector) -> float:
        """Log determinant from the values of L."""
        return 2.0 * float(np.log(L[self._analysis.indptr[:-1]]).sum())

    def inverse(self, L: Vector) -> Vector:
        """Entries of the inverse (m,) from the values of L."""
        return self._selected(L)[self._where]


@dataclass(frozen=True, eq=False)
class _Factored:
    system: _System
    factor: Any

    @cached_property
    def L(self) -> Vector:
        """Values of the Cholesky factor."""
        return np.asarray(self.factor.values)

    def solve(self, right: Matrix) -> Matrix:
        """The inverse times right (q, c)."""
        order = self.system.ordering.order
        solution = np.empty_like(right)
        solution[order] = self.factor.solve(right[order])
        return solution


@dataclass(frozen=True, eq=False)
class SparsePoint(Bordered):
    """Everything at one Lambda."""

    pls: SparsePLS
    factors: Factors
    axes: list[Matrix]  # U per group
    s: list[Vector]
    factored: _Factored
    S: Matrix  # Omega^-1 Lambda'Z'[X y], (q, t)
    logdet: float
    reduced: Matrix  # [X y]'V^-1[X y], (t, t)

    @limited
    def solution(self) -> PLSSolution:
        """Coefficients."""
        # b = Gamma Lambda^-T S (-beta, 1): with the Gamma given, axes without variance have none.
        blocks = []
        for group, U, s in zip(self.pls.problem.groups, self.axes, self.s, strict=True):
            lam = group.factor(self.factors)
            blocks.append(lam @ (lam.T @ U / s))
        b = self.pls.each(blocks, self.S @ self.border.residual[:, None])
        groups = self.pls.problem.groups
        each = zip(self.pls.parts, groups, strict=True)
        return self.coefficients(groups, [by_level(b[part], group) for part, group in each])

    @limited
    def derivatives(self, reml: bool) -> Derivatives:
        """Values with exact first derivatives, and second ones by the average information."""
        inverse_t = [U / s for U, s in zip(self.axes, self.s, strict=True)]  # Lambda^-T
        E = self.pls.each(inverse_t, self.S @ self.border.half.T)
        effects = [
            E[part].reshape(group.n_levels, group.size, -1).transpose(2, 1, 0)
            for part, group in zip(self.pls.parts, self.pls.problem.groups, strict=True)
        ]
        F = self._diagonal_blocks()
        return assembled(
            self.terms,
            self.pls.problem.groups,
            [blocks.sum(axis=2) for blocks in F],
            [squares(own) for own in effects],
            self._average(inverse_t, E),
            np.asarray(block_diag(*map(level_traces, F))),
            reml,
            exact=False,
        )

    @cached_property
    def _selected(self) -> list[Matrix]:
        """Blocks of Omega^-1 at the pairs, (k_g, k_h, m) each."""
        entries = self.pls.system.inverse(self.factored.L)
        sizes = accumulate((pairs.A.size for pairs in self.pls.pairs), initial=0)
        return [
            entries[a:b].reshape(pairs.A.shape)
            for pairs, (a, b) in zip(self.pls.pairs, pairwise(sizes), strict=True)
        ]

    @cached_property
    def _lams(self) -> list[Matrix]:
        """Lambda of each group, axes without variance included."""
        return [np.where(s > FLOOR, U * s, 0.0) for U, s in zip(self.axes, self.s, strict=True)]

    @limited
    def solve(self, right: Blocks) -> Blocks:
        """D times columns."""
        if not len(right[0]):
            return right
        columns = np.concatenate([flat(effects) for effects in right])
        inner = self.pls.each([lam.T for lam in self._lams], columns)
        solved = self.pls.each(self._lams, self.factored.solve(inner))
        groups = zip(self.pls.parts, self.pls.problem.groups, strict=True)
        return tuple(by_level(solved[part], group) for part, group in groups)

    @cached_property
    def diagonal(self) -> Blocks:
        """Blocks of D of each level."""
        own = [
            self._scaled(g, g, block)
            for pairs, block in zip(self.pls.pairs, self._selected, strict=True)
            for g in [pairs.g]
            if pairs.h == g
        ]
        return tuple(own)

    def _scaled(self, g: int, h: int, blocks: Matrix) -> Matrix:
        """Blocks of D from those of Omega^-1."""
        return np.asarray(
            np.einsum("ab,bcm,dc->adm", self._lams[g], blocks, self._lams[h], optimize=True)
        )

    def blocks(self, g: int, h: int, i: IntVector, j: IntVector) -> Matrix:
        """Blocks of D between levels: selected entries, and products where there are none."""
        if g < h:
            return self.blocks(h, g, j, i).transpose(1, 0, 2)
        n_levels = self.pls.problem.groups[h].n_levels
        pairs, block = next(
            (pairs, block)
            for pairs, block in zip(self.pls.pairs, self._selected, strict=True)
            if (pairs.g, pairs.h) == (g, h)
        )
        keys, asked = pairs.i * n_levels + pairs.j, i * n_levels + j
        place = np.minimum(np.searchsorted(keys, asked), len(keys) - 1)
        found = self._scaled(g, h, block[:, :, place])
        rest = np.flatnonzero(keys[place] != asked)
        if len(rest):
            found[:, :, rest] = by_solving(self.solve, self.pls.problem, g, h, i[rest], j[rest])
        return found

    def _diagonal_blocks(self) -> list[Matrix]:
        """Diagonal blocks of Z'V^-1 Z by (4), (k, k, l) per group."""
        inverse, F = self._selected, []
        for g, (U, s) in enumerate(zip(self.axes, self.s, strict=True)):
            own = next(
                block
                for pairs, block in zip(self.pls.pairs, inverse, strict=True)
                if pairs.g == pairs.h == g
            )
            blocks = (np.eye(len(s))[:, :, None] - own) / np.outer(s, s)[:, :, None]
            if s[-1] < REGULAR:
                regular = np.minimum.outer(s, s) >= REGULAR
                rows = self._product_blocks(inverse, g) / s[:, None]
                blocks = np.where(regular[:, :, None], blocks, rows)
            blocks = np.einsum("ab,bcm,dc->adm", U, blocks, U, optimize=True)
            F.append(0.5 * (blocks + blocks.transpose(1, 0, 2)))
        return F

    def _product_blocks(self, inverse: list[Matrix], g: int) -> Matrix:
        """Diagonal blocks of U'A Lambda Omega^-1 for one group, (k, k, l): (5)."""
        n_levels = self.pls.problem.groups[g].n_levels
        total = np.zeros((len(self.s[g]), len(self.s[g]), n_levels))
        for pairs, block in zip(self.pls.pairs, inverse, strict=True):
            for own, other, levels, turned in (
                (pairs.g, pairs.h, pairs.i, False),
                (pairs.h, pairs.g, pairs.j, True),
            ):
                if own != g or (turned and pairs.g == pairs.h):
                    continue
                A, W = (M.transpose(1, 0, 2) if turned else M for M in (pairs.A, block))
                left, lam = self.axes[g].T, self.axes[other] * self.s[other]
                product = np.einsum("xa,abm,bc,dcm->xdm", left, A, lam, W, optimize=True)
                total += sum_by(product, levels, n_levels)
        return total

    def _average(self, inverse_t: Sequence[Matrix], E: Matrix) -> Matrix:
        """``w'Z'V^-1 Z w`` for w = E_ab v over all groups' directions (a, b), (K, K)."""
        columns = []
        for part, group in zip(self.pls.parts, self.pls.problem.groups, strict=True):
            v = E[part, -1].reshape(group.n_levels, group.size).T
            columns.append(directions(v).transpose(2, 1, 0).reshape(group.q, -1))
        W = np.asarray(block_diag(*columns))
        lams_t = [(U * s).T for U, s in zip(self.axes, self.s, strict=True)]
        swept = self.factored.solve(self.pls.each(lams_t, self.pls.A @ W))
        return np.asarray(W.T @ self.pls.each(inverse_t, swept))


@dataclass(frozen=True, eq=False, repr=False)
class SparsePLS(Brief):
    """Sparse Cholesky solver for any structure.

    Parameters
    ----------
    problem : Problem
        Standardized problem.
    pairs : tuple of Pairs
        Z'Z.
    B : (q, t) array
        Z'[X y], group by group, level by level, columns within; t = p + 1.
    system : _System
        Omega's pattern and analysis.
    """

    problem: Problem
    pairs: tuple[Pairs, ...]
    B: Matrix
    system: _System

    @classmethod
    def build(cls, problem: Problem, backend: str) -> SparsePLS:
        """Accumulate the cross-products of a problem and choose an order.

        Parameters
        ----------
        problem : Problem
            Standardized problem.
        backend : str
            ``"cholmod"`` or ``"scipy"``.
        """
        pairs = tuple(problem.products.all_pairs())
        rows, columns = _entries(problem, pairs)
        B = np.concatenate([flat(C) for C in problem.products.couplings])
        system = _System(rows, columns, _order(_symmetric(rows, columns, len(B)), backend))
        return cls(problem, pairs, B, system)

    def with_response(self, y: Vector) -> SparsePLS:
        """The same design with another response (n,); the analysis is shared."""
        return self.with_problem(self.problem.with_response(y))

    def with_problem(self, problem: Problem) -> SparsePLS:
        """The same random effects with other columns [X y]; the analysis is shared."""
        B = np.concatenate([flat(C) for C in problem.products.couplings])
        return SparsePLS(problem, self.pairs, B, self.system)

    def reweighted(self, weights: Vector, y: Vector | None = None) -> SparsePLS:
        """The same layout with other weights (n,) and response (n,); the analysis is shared."""
        problem = self.problem.reweighted(weights, y)
        B = np.concatenate([flat(C) for C in problem.products.couplings])
        return SparsePLS(problem, tuple(problem.products.all_pairs()), B, self.system)

    @property
    def name(self) -> str:
        """``"cholmod"``, or ``"sparse"`` for SciPy's."""
        return "cholmod" if self.system.ordering.backend == "cholmod" else "sparse"

    @property
    def description(self) -> str:
        """What was chosen and why."""
        ordering = self.system.ordering
        library = "CHOLMOD" if ordering.backend == "cholmod" else "SciPy's SuperLU"
        return (
            f"{self.name}: sparse factor of all {len(self.B)} random effects by {library}, "
            f"{ordering.name} order, {ordering.counts.sum():.2g} entries, "
            f"{ordering.flops / 1e9:.2g} Gflop; a dense tail would have "
            f"{self.problem.tail_size} columns"
        )

    @property
    def dense_size(self) -> int:
        """Columns of the largest dense matrix that is factored."""
        return int(self.system.ordering.counts.max())

    @cached_property
    def parts(self) -> tuple[slice, ...]:
        """Random effects of each group."""
        return tuple(slice(a, b) for a, b in pairwise(_offsets(self.problem.groups)))

    def each(self, blocks: Sequence[Matrix], M: Matrix) -> Matrix:
        """A group's block (k, k) times every level's rows of M (q, c)."""
        out = np.empty_like(M)
        for block, part, group in zip(blocks, self.parts, self.problem.groups, strict=True):
            levels = M[part].reshape(group.n_levels, group.size, -1)
            out[part] = np.einsum("ab,lbc->lac", block, levels).reshape(group.q, -1)
        return out

    # Forward ---------------------------------------------------------------------------------

    @limited
    def at(self, factors: Factors) -> SparsePoint:
        """Factor at given factors."""
        axes, s = [], []
        for group in self.problem.groups:
            U, values, _ = np.linalg.svd(group.factor(factors))
            axes.append(U)
            s.append(np.maximum(values, FLOOR))
        lams = [U * values for U, values in zip(axes, s, strict=True)]
        factored = self.system.factor(self._omega(lams))
        right = self.each([lam.T for lam in lams], self.B)
        S = factored.solve(right)
        reduced = self.problem.base - right.T @ S
        logdet = self.system.logdet(factored.L)
        return SparsePoint(self, factors, axes, s, factored, S, logdet, reduced)

    def _omega(self, lams: list[Matrix]) -> Vector:
        """Entries of Omega."""
        entries = []
        for pairs in self.pairs:
            half = np.einsum("ba,bcm->acm", lams[pairs.g], pairs.A)
            block = np.einsum("abm,bc->acm", half, lams[pairs.h])
            if pairs.g == pairs.h:
                block[np.diag_indices(len(block))] += 1.0
            entries.append(block.ravel())
        return np.concatenate(entries)

    @cached_property
    def A(self) -> sparse.csr_array:
        """Z'Z, (q, q)."""
        values = np.concatenate([pairs.A.ravel() for pairs in self.pairs])
        pattern = _symmetric(self.system.rows, self.system.columns, len(self.B))
        return sparse.csr_array(
            (values[pattern.data], pattern.indices, pattern.indptr), shape=pattern.shape
        )


# Choice of the order ------------------------------------------------------------------------------


def has_cholmod() -> bool:
    """Whether scikit-sparse can be imported."""
    try:
        _backend("cholmod")
    except ImportError:
        return False
    return True


def _backend(name: str) -> Any:
    return import_module(
        {"cholmod": "lmm.pls.sparse._sksparse", "scipy": "lmm.pls.sparse._superlu"}[name]
    )


def _order(pattern: sparse.csc_array, backend: str) -> Ordering:
    """The library's order of a symmetric pattern with the fewest operations."""
    found = []
    for name, permutation in _backend(backend).orderings(pattern):
        counts = column_counts(permuted(pattern, permutation))
        found.append(Ordering(backend, name, permutation, counts))
    return min(found, key=lambda ordering: ordering.flops)


def _offsets(groups: tuple[Group, ...]) -> list[int]:
    return list(accumulate((group.q for group in groups), initial=0))


def _entries(problem: Problem, pairs: tuple[Pairs, ...]) -> tuple[IntVector, IntVector]:
    """Rows and columns in q of the pairs' entries."""
    starts, groups = _offsets(problem.groups), problem.groups
    rows, columns = [], []
    for pair in pairs:
        k, c, m = pair.A.shape
        row = starts[pair.g] + pair.i * groups[pair.g].size + np.arange(k)[:, None, None]
        column = starts[pair.h] + pair.j * groups[pair.h].size + np.arange(c)[:, None]
        rows.append(np.broadcast_to(row, (k, c, m)).ravel())
        columns.append(np.broadcast_to(column, (k, c, m)).ravel())
    return np.concatenate(rows), np.concatenate(columns)


def _symmetric(rows: IntVector, columns: IntVector, q: int) -> sparse.csc_array:
    """Both triangles, sorted; the values are indices into the entries.

    Blocks on the diagonal have both triangles already: their entries occur with (j, i) as well.
    """
    index = np.arange(len(rows))
    keys = rows * q + columns
    mirrored = ~np.isin(columns * q + rows, keys)
    coordinates = (
        np.concatenate([rows, columns[mirrored]]),
        np.concatenate([columns, rows[mirrored]]),
    )
    values = np.concatenate([index, index[mirrored]])
    pattern = sparse.coo_array((values, coordinates), shape=(q, q)).tocsc()
    pattern.sort_indices()
    return pattern
