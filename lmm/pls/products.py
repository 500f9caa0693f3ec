"""Cross-products of a problem's rows: all that criteria and solvers read of them.

`RowProducts` sums them over the rows in memory; `KnownProducts` holds those of rows that were read
batch by batch (`lmm.pls.sums`) and are gone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from lmm._types import IntVector, Matrix, Vector, cached_property
from lmm.pls.effect_columns import Columns
from lmm.pls.groups import Group, LevelPairs
from lmm.pls.kernels import SMALL, sum_by, sum_products

if TYPE_CHECKING:
    from scipy import sparse


# Entries of a dense Z up to which its products cost less than sums by pairs of levels.
FEW_ENTRIES = 50_000


@dataclass(frozen=True, eq=False)
class Pairs:
    """Cross-products of the levels of two groups that occur together in some row.

    Attributes
    ----------
    g, h : int
        Groups.
    i, j : (m,) int arrays
        Levels of the two groups, ordered by the first.
    A : (k_g, k_h, m) array
        Z_i'Z_j.
    """

    g: int
    h: int
    i: IntVector
    j: IntVector
    A: Matrix

    @property
    def turned(self) -> Pairs:
        """The same pairs, ordered by the second group's levels."""
        order = np.lexsort((self.i, self.j))
        i, j, A = self.j[order], self.i[order], self.A.transpose(1, 0, 2)[:, :, order]
        return Pairs(self.h, self.g, i, j, A)

    def entries(self, rows: IntVector, columns: IntVector) -> tuple[IntVector, IntVector]:
        """Row and column of each entry of A in Z'Z.

        Parameters
        ----------
        rows, columns : (l_g, k_g) and (l_h, k_h) int arrays
            Places of the groups' random effects.
        """
        shape = self.A.shape
        row = np.broadcast_to(rows[self.i].T[:, None, :], shape)
        column = np.broadcast_to(columns[self.j].T[None], shape)
        return row.ravel(), column.ravel()


def sparse_products(
    pairs: Iterable[Pairs], places: Mapping[int, IntVector], q: int
) -> sparse.csr_array:
    """Z'Z (q, q) from pairs in one order of groups, at places (l, k) by group."""
    from scipy.sparse import coo_array, csr_array

    rows, columns, values = [], [], []
    for each in pairs:
        row, column = each.entries(places[each.g], places[each.h])
        rows.append(row)
        columns.append(column)
        values.append(each.A.ravel())
        if each.g != each.h:
            rows.append(column)
            columns.append(row)
            values.append(values[-1])
    where = np.concatenate(rows), np.concatenate(columns)
    return csr_array(coo_array((np.concatenate(values), where), shape=(q, q)))


class Products(ABC):
    """Cross-products of standardized rows, t = p + 1.

    Attributes
    ----------
    groups : tuple of Group
        Random effects, merged by grouping factor.
    """

    groups: tuple[Group, ...]

    @property
    @abstractmethod
    def grams(self) -> tuple[Matrix, ...]:
        """Z_i'Z_i per level, (k, k, l) per group."""

    @property
    @abstractmethod
    def couplings(self) -> tuple[Matrix, ...]:
        """[X y]'Z_i per level, (t, k, l) per group."""

    @abstractmethod
    def pairs(self, g: int, h: int) -> Pairs:
        """Pairs of levels of two groups, with what they have in common."""

    @abstractmethod
    def parents(self, g: int, h: int) -> IntVector | None:
        """Level of h that each level of g belongs to, (l_g,); None where one has several."""

    def nested(self, g: int, h: int) -> Matrix:
        """Z_h'Z_i per level i of g, (k_h, k_g, l_g), where g is nested in h."""
        return np.ascontiguousarray(self.pairs(g, h).A.transpose(1, 0, 2))

    @abstractmethod
    def mixed(self, basis: Matrix) -> Products:
        """Those of other columns, ``[X y] basis``, for a basis (t, s)."""

    @cached_property
    def columns(self) -> Columns:
        """All random effects."""
        return Columns(self.groups)

    @cached_property
    def whole(self) -> Matrix:
        """``Z'[Z X y]`` (q, q + t) of all random effects as a dense matrix."""
        return self.dense(range(len(self.groups)), self.columns.places)

    def dense(self, chosen: Sequence[int], places: Sequence[IntVector]) -> Matrix:
        """Dense ``Z'[Z X y]`` (q, q + t) of some groups, at places (l, k) given for each."""
        q = sum(own.size for own in places)
        whole = np.zeros((q, q + len(self.couplings[0])))
        for n, (g, own) in enumerate(zip(chosen, places, strict=True)):
            whole[own[:, :, None], own[:, None, :]] = self.grams[g].transpose(2, 0, 1)
            whole[own, q:] = self.couplings[g].transpose(2, 1, 0)
            for h, other in zip(chosen[:n], places[:n], strict=True):
                pairs = self.pairs(h, g)
                products = pairs.A.transpose(2, 0, 1)
                rows, columns = other[pairs.i][:, :, None], own[pairs.j][:, None, :]
                whole[rows, columns] = products
                whole[columns, rows] = products
        return whole

    def inside(self, g: int) -> Pairs:
        """A group with itself, level by level."""
        levels = np.arange(self.groups[g].n_levels)
        return Pairs(g, g, levels, levels, self.grams[g])

    def all_pairs(self, chosen: Sequence[int] | None = None) -> Iterator[Pairs]:
        """Each group, or each that is chosen, with itself level by level, and with those before."""
        chosen = range(len(self.groups)) if chosen is None else chosen
        for n, g in enumerate(chosen):
            yield self.inside(g)
            yield from (self.pairs(g, h) for h in chosen[:n])


@dataclass(frozen=True, eq=False)
class RowProducts(Products):
    """Cross-products of rows in memory, summed when they are first asked for.

    Attributes
    ----------
    X : (n, p) array
        Weighted columns X*.
    y : (n,) array
        Standardized response.
    groups : tuple of Group
        Weighted random effects.
    shared : mapping of (int, int) to LevelPairs, optional
        Pairs of levels, where problems share them; they are as large as the data.
    """

    X: Matrix
    y: Vector
    groups: tuple[Group, ...]
    shared: Mapping[tuple[int, int], LevelPairs] | None = None

    def cells(self, g: int, h: int) -> LevelPairs:
        """Pairs of levels of two groups, and that of each row."""
        return self.shared[g, h] if self.shared else LevelPairs(self.groups[g], self.groups[h])

    @cached_property
    def grams(self) -> tuple[Matrix, ...]:
        """Z_i'Z_i per level."""
        return tuple(map(_gram, self.groups))

    @cached_property
    def couplings(self) -> tuple[Matrix, ...]:
        """[X y]'Z_i per level."""
        rows = [*self.X.T, self.y]
        return tuple(group.sums(rows) for group in self.groups)

    def pairs(self, g: int, h: int) -> Pairs:
        """Pairs of levels."""
        if (g, h) not in self._pairs:
            cells = self.cells(g, h)
            products = cells.products(self.groups[g], self.groups[h])
            self._pairs[g, h] = Pairs(g, h, cells.i, cells.j, products)
        return self._pairs[g, h]

    @cached_property
    def _pairs(self) -> dict[tuple[int, int], Pairs]:
        return {}

    def parents(self, g: int, h: int) -> IntVector | None:
        """Level that each level belongs to."""
        fine, coarse = self.groups[g], self.groups[h]
        parents = np.zeros(fine.n_levels, dtype=np.intp)
        parents[fine.codes] = coarse.codes
        return parents if np.array_equal(parents[fine.codes], coarse.codes) else None

    def nested(self, g: int, h: int) -> Matrix:
        """Z_h'Z_i per level i of g."""
        return self.groups[g].sums(self.groups[h].Z.T)

    def dense(self, chosen: Sequence[int], places: Sequence[IntVector]) -> Matrix:
        """Dense ``Z'[Z X y]`` of some groups."""
        (n, p), q = self.X.shape, sum(own.size for own in places)
        if n * q > FEW_ENTRIES:
            return super().dense(chosen, places)
        both = np.zeros((n, q + p + 1))
        rows = np.arange(n)[:, None]
        for g, own in zip(chosen, places, strict=True):
            both[rows, own[self.groups[g].codes]] = self.groups[g].Z
        both[:, q:-1], both[:, -1] = self.X, self.y
        return np.asarray(both.T @ both)[:q]

    def mixed(self, basis: Matrix) -> RowProducts:
        """Those of other columns."""
        both = self.X @ basis[:-1] + self.y[:, None] * basis[-1]
        changed = replace(self, X=both[:, :-1], y=both[:, -1])
        vars(changed)["grams"] = self.grams
        vars(changed)["couplings"] = _mixed(self.couplings, basis)
        return changed

    def with_response(self, y: Vector) -> RowProducts:
        """Those of the same columns with another response (n,)."""
        changed = replace(self, y=y)
        known = vars(self)
        if "grams" in known:
            vars(changed)["grams"] = self.grams
        if "couplings" in known:
            each = zip(self.couplings, self.groups, strict=True)
            own = (np.concatenate([C[:-1], group.sums([y])]) for C, group in each)
            vars(changed)["couplings"] = tuple(own)
        return changed


@dataclass(frozen=True, eq=False)
class KnownProducts(Products):
    """Cross-products of rows that are gone.

    Attributes
    ----------
    groups : tuple of Group
        Random effects, without rows.
    A : tuple of (k, k, l) arrays
        `grams`.
    C : tuple of (t, k, l) arrays
        `couplings`.
    known : mapping of (int, int) to Pairs
        Pairs of groups g < h.
    log_weights : float
        Sum of the log prior weights.
    """

    groups: tuple[Group, ...]
    A: tuple[Matrix, ...]
    C: tuple[Matrix, ...]
    known: Mapping[tuple[int, int], Pairs]
    log_weights: float = 0.0

    @property
    def grams(self) -> tuple[Matrix, ...]:
        """Z_i'Z_i per level."""
        return self.A

    @property
    def couplings(self) -> tuple[Matrix, ...]:
        """[X y]'Z_i per level."""
        return self.C

    def pairs(self, g: int, h: int) -> Pairs:
        """Pairs of levels."""
        return self.known[g, h] if g < h else self.known[h, g].turned

    def mixed(self, basis: Matrix) -> KnownProducts:
        """Those of other columns."""
        return replace(self, C=_mixed(self.C, basis))

    def parents(self, g: int, h: int) -> IntVector | None:
        """Level that each level belongs to."""
        pairs = self.pairs(g, h)
        return pairs.j if len(pairs.i) == self.groups[g].n_levels else None


def _mixed(couplings: tuple[Matrix, ...], basis: Matrix) -> tuple[Matrix, ...]:
    return tuple(np.einsum("ts,tkl->skl", basis, C) for C in couplings)


def _gram(group: Group) -> Matrix:
    """Z_i'Z_i per level, (k, k, l)."""
    k = group.size
    if k * group.Z.size <= SMALL:
        return sum_by(group.Z.T[:, None] * group.Z.T, group.codes, group.n_levels)
    A = np.empty((k, k, group.n_levels))
    for a in range(k):
        row = sum_products(group.Z[:, : a + 1], group.Z[:, a], group.codes, group.n_levels)
        A[a, : a + 1] = A[: a + 1, a] = row
    return A
