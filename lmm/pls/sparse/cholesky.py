"""A sparse tail of all random effects, of any structure: CHOLMOD, or SciPy's SuperLU.

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

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
from scipy import sparse
from scipy.linalg import block_diag

from lmm._types import IntVector, Matrix, Vector, cached_property
from lmm.pls.base import Blocks
from lmm.pls.directions import level_traces
from lmm.pls.effect_columns import Columns, Lambda
from lmm.pls.inverse import by_solving, flat
from lmm.pls.kernels import sum_by
from lmm.pls.problem import Problem
from lmm.pls.products import Pairs, sparse_products
from lmm.pls.sparse.selected import SelectedInverse
from lmm.pls.sparse.symbolic import column_counts, flops, permuted
from lmm.pls.tail import Tail, TailPoint

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
class SparseFactor(TailPoint):
    """All random effects at one Lambda."""

    tail: SparseTail
    axes: list[Matrix]  # U per group
    s: list[Vector]
    factored: _Factored
    logdet: float
    reduced: Matrix  # [X y]'V^-1[X y], (t, t)

    is_exact = False

    @property
    def columns(self) -> Columns:
        """See `TailPoint`."""
        return self.tail.columns

    @property
    def coupling(self) -> Matrix:
        """See `TailPoint`."""
        return self.tail.border

    @cached_property
    def _Lambda(self) -> Lambda:
        """Lambda in principal axes, those without variance included."""
        return self._along_axes(lambda U, s: U * s)

    def _along_axes(self, block: Callable[[Matrix, Vector], Matrix]) -> Lambda:
        each = zip(self.axes, self.s, strict=True)
        return Lambda(self.columns, [block(U, s) for U, s in each])

    def solve(self, right: Matrix) -> Matrix:
        """See `TailPoint`: axes without variance have none."""
        own = self._varying
        return own.times(self.factored.solve(own.times(right, transpose=True)))

    @cached_property
    def _varying(self) -> Lambda:
        """Lambda, zero along axes without variance."""
        return self._along_axes(lambda U, s: np.where(s > FLOOR, U * s, 0.0))

    @property
    def unswept(self) -> Matrix:
        """See `TailPoint`."""
        return self._unswept(self.coupling)

    def _unswept(self, right: Matrix) -> Matrix:
        """``Z'V^-1 w`` of columns w, from Z'w (q, r): (4)."""
        swept = self.factored.solve(self._Lambda.times(right, transpose=True))
        return self._along_axes(lambda U, s: U / s).times(swept)

    def forms(self, W: Matrix) -> Matrix:
        """See `TailPoint`."""
        return np.asarray(W.T @ self._unswept(self.tail.A @ W))

    @cached_property
    def _selected(self) -> list[Matrix]:
        """Blocks of Omega^-1 at the pairs, (k_g, k_h, m) each."""
        entries = self.tail.system.inverse(self.factored.L)
        sizes = accumulate((pairs.A.size for pairs in self.tail.pairs), initial=0)
        return [
            entries[a:b].reshape(pairs.A.shape)
            for pairs, (a, b) in zip(self.tail.pairs, pairwise(sizes), strict=True)
        ]

    def _at(self, g: int, h: int) -> tuple[Pairs, Matrix]:
        """Pairs of two groups, and their blocks of Omega^-1."""
        each = zip(self.tail.pairs, self._selected, strict=True)
        return next((pairs, block) for pairs, block in each if (pairs.g, pairs.h) == (g, h))

    @cached_property
    def diagonal(self) -> list[Matrix]:
        """See `TailPoint`."""
        groups = range(len(self.columns.groups))
        return [self._scaled(g, g, self._at(g, g)[1]) for g in groups]

    def _scaled(self, g: int, h: int, blocks: Matrix) -> Matrix:
        """Blocks of D from those of Omega^-1."""
        left, right = self._varying.factors[g], self._varying.factors[h]
        return np.asarray(np.einsum("ab,bcm,dc->adm", left, blocks, right, optimize=True))

    def blocks(self, g: int, h: int, i: IntVector, j: IntVector) -> Matrix:
        """See `TailPoint`: selected entries, and products where there are none."""
        if g < h:
            return self.blocks(h, g, j, i).transpose(1, 0, 2)
        groups, (pairs, block) = self.columns.groups, self._at(g, h)
        n_levels = groups[h].n_levels
        keys, asked = pairs.i * n_levels + pairs.j, i * n_levels + j
        place = np.minimum(np.searchsorted(keys, asked), len(keys) - 1)
        found = self._scaled(g, h, block[:, :, place])
        rest = np.flatnonzero(keys[place] != asked)
        if len(rest):
            found[:, :, rest] = by_solving(self._solve, groups, g, h, i[rest], j[rest])
        return found

    def _solve(self, right: Blocks) -> Blocks:
        rows = self.columns.flat(right, len(right[0]))
        return tuple(self.columns.by_level(self.solve(rows)))

    @cached_property
    def _F(self) -> list[Matrix]:
        """Diagonal blocks of Z'V^-1 Z by (4), (k, k, l) per group."""
        F = []
        for g, (U, s) in enumerate(zip(self.axes, self.s, strict=True)):
            own = self._at(g, g)[1]
            blocks = (np.eye(len(s))[:, :, None] - own) / np.outer(s, s)[:, :, None]
            if s[-1] < REGULAR:
                regular = np.minimum.outer(s, s) >= REGULAR
                rows = self._product_blocks(g) / s[:, None]
                blocks = np.where(regular[:, :, None], blocks, rows)
            blocks = np.einsum("ab,bcm,dc->adm", U, blocks, U, optimize=True)
            F.append(0.5 * (blocks + blocks.transpose(1, 0, 2)))
        return F

    @property
    def sums(self) -> list[Matrix]:
        """See `TailPoint`."""
        return [blocks.sum(axis=2) for blocks in self._F]

    def trace(self, E: Matrix | None) -> Matrix:
        """See `TailPoint`: what couples levels, and E, is left out."""
        return np.asarray(block_diag(*map(level_traces, self._F)))

    def _product_blocks(self, g: int) -> Matrix:
        """Diagonal blocks of U'A Lambda Omega^-1 for one group, (k, k, l): (5)."""
        n_levels = self.columns.groups[g].n_levels
        total = np.zeros((len(self.s[g]), len(self.s[g]), n_levels))
        for pairs, block in zip(self.tail.pairs, self._selected, strict=True):
            for own, other, levels, turned in (
                (pairs.g, pairs.h, pairs.i, False),
                (pairs.h, pairs.g, pairs.j, True),
            ):
                if own != g or (turned and pairs.g == pairs.h):
                    continue
                A, W = (M.transpose(1, 0, 2) if turned else M for M in (pairs.A, block))
                left, lam = self.axes[g].T, self._Lambda.factors[other]
                product = np.einsum("xa,abm,bc,dcm->xdm", left, A, lam, W, optimize=True)
                total += sum_by(product, levels, n_levels)
        return total


@dataclass(frozen=True, eq=False)
class SparseTail(Tail):
    """A tail of all random effects, of any structure, with no chain before it.

    Attributes
    ----------
    columns : Columns
        All random effects, in the order of the problem's groups.
    pairs : tuple of Pairs
        Z'Z.
    border : (q, t) array
        Z'[X y].
    system : _System
        Omega's pattern and analysis.
    """

    columns: Columns
    pairs: tuple[Pairs, ...]
    border: Matrix
    system: _System

    @classmethod
    def of(cls, problem: Problem, backend: str) -> SparseTail:
        """Accumulate the cross-products of a problem and choose an order.

        Parameters
        ----------
        problem : Problem
            Standardized problem.
        backend : str
            ``"cholmod"`` or ``"scipy"``.
        """
        columns, pairs = Columns(problem.groups), tuple(problem.products.all_pairs())
        rows, others = _entries(columns, pairs)
        system = _System(rows, others, _order(_symmetric(rows, others, columns.q), backend))
        return cls(columns, pairs, _border(problem), system)

    def with_columns(self, problem: Problem) -> SparseTail:
        """See `Tail`; the analysis is shared."""
        return replace(self, border=_border(problem))

    def reweighted(self, problem: Problem) -> SparseTail:
        """See `Tail`; the analysis is shared."""
        return replace(self, border=_border(problem), pairs=tuple(problem.products.all_pairs()))

    @property
    def name(self) -> str:
        """``"cholmod"``, or ``"sparse"`` for SciPy's."""
        return "cholmod" if self.system.ordering.backend == "cholmod" else "sparse"

    @property
    def description(self) -> str:
        """What was chosen and why."""
        ordering, sizes = self.system.ordering, [group.q for group in self.columns.groups]
        library = "CHOLMOD" if ordering.backend == "cholmod" else "SciPy's SuperLU"
        return (
            f"sparse factor of all {self.columns.q} random effects by {library}, "
            f"{ordering.name} order, {ordering.counts.sum():.2g} entries, "
            f"{ordering.flops / 1e9:.2g} Gflop; a dense tail would have "
            f"{sum(sizes) - max(sizes)} columns"
        )

    @property
    def dense_size(self) -> int:
        """Columns of the largest dense matrix that is factored."""
        return int(self.system.ordering.counts.max())

    def at(self, lams: Sequence[Matrix], left: Matrix) -> SparseFactor:
        """See `Tail`."""
        axes, s = [], []
        for lam in lams:
            U, values, _ = np.linalg.svd(lam)
            axes.append(U)
            s.append(np.maximum(values, FLOOR))
        scaled = [U * values for U, values in zip(axes, s, strict=True)]
        factored = self.system.factor(self._omega(scaled))
        right = Lambda(self.columns, scaled).times(self.border, transpose=True)
        reduced = left - right.T @ factored.solve(right)
        logdet = self.system.logdet(factored.L)
        return SparseFactor(self, axes, s, factored, logdet, reduced)

    def _omega(self, lams: Sequence[Matrix]) -> Vector:
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
        places = dict(enumerate(self.columns.places))
        return sparse_products(self.pairs, places, self.columns.q)


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


def _border(problem: Problem) -> Matrix:
    """Z'[X y], (q, t)."""
    return np.concatenate([flat(C) for C in problem.products.couplings])


def _entries(columns: Columns, pairs: tuple[Pairs, ...]) -> tuple[IntVector, IntVector]:
    """Rows and columns in q of the pairs' entries."""
    each = (one.entries(columns.places[one.g], columns.places[one.h]) for one in pairs)
    rows, others = zip(*each, strict=True)
    return np.concatenate(rows), np.concatenate(others)


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
