"""Which random effects of a grouping factor meet those of others in some row.

Cross-products of the two are held as couplings (`lmm.pls.coupling_pattern`), for any weights of the
rows. Where few meet, products of such matrices with dense ones are wanted on these pairs alone:
sums over pairs of couplings of one level.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from lmm._types import IntVector, Matrix, Vector, cached_property
from lmm.laplace.row_sums import grams, pair_forms, row_forms
from lmm.pls.coupling_pattern import CouplingPattern
from lmm.pls.effect_columns import Columns
from lmm.pls.groups import Group, LevelPairs
from lmm.pls.inverse import dense_blocks
from lmm.pls.kernels import sum_by, sum_products
from lmm.pls.problem import Problem

# Share of pairs that meet below which those that do not are left out of products.
SPARSE = 0.1
# Pairs of couplings that are worked on at once, in the processor's cache, and that are kept.
CHUNK, KEPT = 1 << 16, 1 << 22
# Pairs of couplings that are added up before a product of sparse matrices has begun.
FEW = 1 << 14


@dataclass(frozen=True, eq=False)
class Parts:
    """Cross-products of weighted rows.

    Attributes
    ----------
    A : (k, k, l) array
        Of the lead, level by level.
    C : (k, e) array
        Couplings.
    T : tuple of (int array, int array, array)
        Of the groups behind: rows, columns and values of what is not zero.
    """

    A: Matrix
    C: Matrix
    T: tuple[tuple[IntVector, IntVector, Matrix], ...]

    def added_to(self, M: Matrix) -> Matrix:
        """M (q2, q2) itself, with T added."""
        for rows, columns, values in self.T:
            M[rows, columns] += values
        return M


@dataclass(frozen=True, eq=False)
class Chunk:
    """Pairs of couplings of one level of the lead: each with itself and those before it.

    Attributes
    ----------
    later : slice
        The later couplings, f of them.
    within : slice
        All couplings of their levels so far.
    count, starts : (f,) int arrays
        How many pairs each has, and where they start.
    earlier : (c,) int array
        Earlier coupling of each pair, counted from the first of `within`.
    place : (c,) int array
        Where its two columns meet in a matrix (q2, q2).
    """

    later: slice
    within: slice
    count: IntVector
    starts: IntVector
    earlier: IntVector
    place: IntVector


@dataclass(frozen=True, eq=False)
class Meetings:
    """Pairs of levels of a group in front and of groups behind it that occur together.

    Attributes
    ----------
    lead : Group
        The group in front, of l levels and k columns.
    tail : Columns
        The others, q2 random effects in all.
    pairs : tuple of LevelPairs
        Levels of the lead and of each group behind.
    within : tuple of tuple of LevelPairs
        Levels of each group behind and of every one before it.
    """

    lead: Group
    tail: Columns
    pairs: tuple[LevelPairs, ...]
    within: tuple[tuple[LevelPairs, ...], ...]

    @classmethod
    def of(cls, problem: Problem, lead: int) -> Meetings:
        """Those of a group with all others, rows not weighted."""
        groups = problem.layout.groups
        behind = [g for g in range(len(groups)) if g != lead]
        return cls(
            groups[lead],
            Columns(tuple(groups[g] for g in behind)),
            tuple(problem.cells(lead, g) for g in behind),
            tuple(tuple(problem.cells(g, h) for h in behind[:i]) for i, g in enumerate(behind)),
        )

    @property
    def shape(self) -> tuple[int, int]:
        """Random effects in front and behind."""
        return self.lead.q, self.tail.q

    # Couplings -----------------------------------------------------------------------------------

    @cached_property
    def pattern(self) -> CouplingPattern:
        """Where couplings are."""
        return CouplingPattern.of(self.lead, self.tail, self.pairs)

    @property
    def level(self) -> IntVector:
        """Level of the lead of every coupling, (e,), ascending."""
        return self.pattern.level

    @cached_property
    def column(self) -> IntVector:
        """Random effect behind of every coupling, (e,)."""
        return self.pattern.column.astype(np.intp)

    @cached_property
    def _numbers(self) -> tuple[IntVector, ...]:
        """Coupling of every pair of levels and column of a group behind, (m, k_h) each."""
        order = self.pattern.order
        number = np.empty_like(order)
        number[order] = np.arange(len(order))
        beside = zip(self.pairs, self.tail.groups, strict=True)
        each = [(len(pairs.i), group.size) for pairs, group in beside]
        sizes = [m * size for m, size in each]
        parts = np.split(number, np.cumsum(sizes)[:-1])
        return tuple(part.reshape(shape) for part, shape in zip(parts, each, strict=True))

    def products(self, weights: Vector) -> Parts:
        """Cross-products of rows with weights (n,), which may be negative."""
        lead, found = self.lead, []
        for group, pairs in zip(self.tail.groups, self.pairs, strict=True):
            found.append(pairs.products(lead, group.weighted(weights)))
        C = self.pattern.values(found)
        return Parts(grams(lead, weights), C, tuple(self._products_behind(weights)))

    def _products_behind(self, weights: Vector) -> Iterator[tuple[IntVector, IntVector, Matrix]]:
        for group, places, others in zip(
            self.tail.groups, self.tail.places, self.within, strict=True
        ):
            own = grams(group, weights).transpose(2, 0, 1)
            yield places[:, :, None], places[:, None, :], own
            for pairs, other, columns in zip(
                others, self.tail.groups, self.tail.places, strict=False
            ):
                there = columns[pairs.j]
                for a, column in enumerate(group.Z.T):
                    here = places[pairs.i, a, None]
                    sums = sum_products(other.Z, weights * column, pairs.rows, len(pairs.i)).T
                    yield here, there, sums
                    yield there, here, sums

    def times(self, blocks: Matrix, couplings: Matrix) -> Matrix:
        """Blocks (k, k, l) of the lead's levels times couplings (k, e)."""
        return self.pattern.times(blocks, couplings)

    def outer(self, left: Matrix, right: Matrix) -> Matrix:
        """Diagonal blocks of ``left right'`` by level of the lead, (k, k, l), for (k, e) each."""
        return sum_by(left[:, None] * right, self.level, self.lead.n_levels)

    @cached_property
    def is_sparse(self) -> bool:
        """Whether few levels meet."""
        return len(self.level) < SPARSE * self.lead.n_levels * self.shape[1]

    def gathered(self, couplings: Matrix, effects: Matrix) -> Matrix:
        """``couplings' effects``, (q2, r), for effects (l, k, r) of the lead."""
        found = np.empty((self.shape[1], effects.shape[2]))
        for r, total in enumerate(found.T):
            rows = np.einsum("ae,ea->e", couplings, effects[self.level, :, r])
            total[:] = np.bincount(self.column, rows, self.shape[1])
        return found

    def spread(self, couplings: Matrix, effects: Matrix) -> Matrix:
        """``couplings effects``, (l, k, r), for effects (q2, r) of the tail."""
        found = np.empty((self.lead.n_levels, len(couplings), effects.shape[1]))
        for r, column in enumerate(effects.T):
            rows = column[self.column]
            for a, own in enumerate(couplings):
                found[:, a, r] = np.bincount(self.level, own * rows, self.lead.n_levels)
        return found

    def _filled(self, couplings: Matrix) -> Matrix:
        """Couplings (k, e) as dense rows, (l, k, q2)."""
        full = np.zeros((self.lead.n_levels, len(couplings), self.shape[1]))
        full[self.level, :, self.column] = couplings.T
        return full

    # Sums over pairs of couplings of a level -----------------------------------------------------

    @property
    def _chunks(self) -> Iterable[Chunk]:
        """All pairs of couplings of one level, some at a time."""
        return self._kept if self._pairs_up_to[-1] <= KEPT else self._cut()

    @cached_property
    def _kept(self) -> tuple[Chunk, ...]:
        return tuple(self._cut())

    @cached_property
    def _pairs_up_to(self) -> IntVector:
        """Number of pairs up to each coupling, (e,)."""
        return np.cumsum(np.arange(1, len(self.level) + 1) - self.pattern.bounds[self.level])

    def _cut(self) -> Iterator[Chunk]:
        ends, start = self._pairs_up_to, 0
        while start < len(ends):
            stop = int(np.searchsorted(ends, (ends[start - 1] if start else 0) + CHUNK, "right"))
            yield self._chunk(slice(start, max(stop, start + 1)))
            start = max(stop, start + 1)

    def _chunk(self, later: slice) -> Chunk:
        first = self.pattern.bounds[self.level[later]]
        within = slice(int(first[0]), later.stop)
        count = np.arange(later.start, later.stop) - first + 1
        starts = np.cumsum(count) - count
        earlier = np.arange(count.sum()) + np.repeat(first - first[0] - starts, count)
        row = np.repeat(self.column[later] * self.shape[1], count)
        return Chunk(later, within, count, starts, earlier, row + self.column[within][earlier])

    def carried(self, couplings: Matrix, M: Matrix) -> Matrix:
        """Couplings (k, e) times a symmetric M (q2, q2), where levels meet: (k, e)."""
        if not self.is_sparse:
            full = self._filled(couplings) @ M
            return np.ascontiguousarray(full[self.level, :, self.column].T)
        found = -M.diagonal()[self.column] * couplings  # pairs of a coupling with itself serve both
        entries = M.ravel(order="K")
        for chunk in self._chunks:
            values = entries.take(chunk.place)
            for own, total in zip(couplings, found, strict=True):
                before = own[chunk.within].take(chunk.earlier) * values
                total[chunk.later] += np.add.reduceat(before, chunk.starts)
                after = np.repeat(own[chunk.later], chunk.count) * values
                total[chunk.within] += np.bincount(chunk.earlier, after)
        return found

    def crossed(self, left: Matrix, right: Matrix) -> Matrix:
        """``left'right``, (q2, q2), for couplings (k, e)."""
        if not self.is_sparse:
            one, other = (self._filled(own).reshape(-1, self.shape[1]) for own in (left, right))
            return one.T @ other
        if self._pairs_up_to[-1] <= FEW:
            return self._crossed_by_pair(left, right)
        product = self.pattern.matrix(left).T @ self.pattern.matrix(right)
        return np.asarray(product.toarray())

    def _crossed_by_pair(self, left: Matrix, right: Matrix) -> Matrix:
        """The same, pair by pair."""
        one, other, place = self._both_ways
        q, values = self.shape[1], (left[:, one] * right[:, other]).sum(axis=0)
        return np.asarray(np.bincount(place, values, q * q).reshape(q, q))

    @cached_property
    def _both_ways(self) -> tuple[IntVector, IntVector, IntVector]:
        """Pairs of couplings of a level, each before and after the other, and their places."""
        first, second = [], []
        for chunk in self._chunks:
            later = np.repeat(np.arange(chunk.later.start, chunk.later.stop), chunk.count)
            earlier = chunk.within.start + chunk.earlier
            others = later != earlier
            first += [later, earlier[others]]
            second += [earlier, later[others]]
        one, other = np.concatenate(first), np.concatenate(second)
        return one, other, self.column[one] * self.shape[1] + self.column[other]

    # Rows ----------------------------------------------------------------------------------------

    def forms(self, X11: Matrix, X12: Matrix, X22: Matrix) -> Vector:
        """``z'X z`` by row (n,), for blocks (k, k, l), couplings (k, e), and (q2, q2)."""
        lead = self.lead
        total = row_forms(lead, X11)
        for number, pairs, group in zip(self._numbers, self.pairs, self.tail.groups, strict=True):
            blocks = X12[:, number].transpose(0, 2, 1)
            total += 2.0 * pair_forms(lead, group, blocks, pairs)
        for group, places, others in zip(
            self.tail.groups, self.tail.places, self.within, strict=True
        ):
            total += row_forms(group, dense_blocks(X22, places, places))
            for pairs, other, columns in zip(
                others, self.tail.groups, self.tail.places, strict=False
            ):
                blocks = dense_blocks(X22, places[pairs.i], columns[pairs.j])
                total += 2.0 * pair_forms(group, other, blocks, pairs)
        return total
