"""Columns of random effects of several groups: one group after the other, level by level."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np

from lmm._lapack import einsum
from lmm._types import IntVector, Matrix, Vector, cached_property
from lmm.pls.directions import directions, pair_traces
from lmm.pls.groups import Group
from lmm.pls.inverse import by_level, flat

# Columns of several groups up to which products of dense matrices cost next to nothing.
FEW = 200


@dataclass(frozen=True, eq=False)
class Columns:
    """Random effects of some groups, one group after the other, level by level.

    Attributes
    ----------
    groups : tuple of Group
        The groups.
    """

    groups: tuple[Group, ...]

    @cached_property
    def q(self) -> int:
        """Number of random effects."""
        return sum(self.sizes)

    @cached_property
    def sizes(self) -> list[int]:
        """Number of random effects of each group."""
        return [group.q for group in self.groups]

    @cached_property
    def parts(self) -> tuple[slice, ...]:
        """Rows of each group."""
        return tuple(slice(*part) for part in pairwise(accumulate(self.sizes, initial=0)))

    @cached_property
    def places(self) -> tuple[IntVector, ...]:
        """Rows of each level of each group, (l, k) each."""
        return tuple(
            part.start + np.arange(group.q).reshape(group.n_levels, group.size)
            for part, group in zip(self.parts, self.groups, strict=True)
        )

    def by_level(self, rows: Matrix) -> list[Matrix]:
        """Rows (q, r) as (r, k, l) per group."""
        return [
            by_level(rows[part], group) for part, group in zip(self.parts, self.groups, strict=True)
        ]

    def flat(self, effects: Sequence[Matrix], r: int) -> Matrix:
        """The inverse of `by_level`, for effects (r, k, l) per group."""
        return np.concatenate([np.empty((0, r)), *map(flat, effects)])

    def directions(self, v: Sequence[Matrix]) -> Matrix:
        """E_ab v over all entries (a, b) of the groups' Gammas, (q, K), for v (k, l) each."""
        W = np.zeros((self.q, self.entries[-1].stop))
        for rows, own, effects in zip(self.parts, self.entries, v, strict=True):
            W[rows, own] = flat(directions(effects))
        return W

    def sums(self, F: Matrix) -> list[Matrix]:
        """Sums over levels of the diagonal blocks of F (q, q), (k, k) per group."""
        if self.is_scalar:
            return list(np.add.reduceat(F.diagonal(), self._starts).reshape(-1, 1, 1))
        return [F[own[:, :, None], own[:, None, :]].sum(axis=0) for own in self.places]

    def row_products(self, left: Matrix, right: Matrix) -> list[Matrix]:
        """Sums over levels of the diagonal blocks of ``left right'`` (q, q), (k, k) per group."""
        found = []
        for part, group in zip(self.parts, self.groups, strict=True):
            shape = (group.n_levels, group.size, -1)
            L, R = left[part].reshape(shape), right[part].reshape(shape)
            found.append(einsum("lai,lbi->ab", L, R))
        return found

    def trace(self, F: Matrix) -> Matrix:
        """``tr(F E F E')`` (K, K) over the directions, for a symmetric F (q, q)."""
        if self.is_scalar and self.q <= FEW:
            squares = np.add.reduceat(F * F, self._starts, axis=0)
            return np.add.reduceat(squares, self._starts, axis=1)
        each = list(zip(self.parts, self.groups, self.entries, strict=True))
        K = self.entries[-1].stop if each else 0
        trace = np.empty((K, K))
        for m, (rows, g, own) in enumerate(each):
            for columns, h, other in each[: m + 1]:
                block = F[rows, columns]
                if g.size == h.size == 1:
                    trace[own, other] = einsum("ij,ij->", block, block)
                else:
                    trace[own, other] = pair_traces(block, g, h)
                trace[other, own] = trace[own, other].T
        return trace

    @cached_property
    def entries(self) -> tuple[slice, ...]:
        """Numbers of the directions of each group."""
        stops = accumulate((group.size**2 for group in self.groups), initial=0)
        return tuple(slice(*part) for part in pairwise(stops))

    @cached_property
    def is_scalar(self) -> bool:
        """Whether every level has one random effect, and there are any."""
        return bool(self.groups) and all(group.size == 1 for group in self.groups)

    @cached_property
    def _starts(self) -> list[int]:
        """First row of each group."""
        return [part.start for part in self.parts]


@dataclass(frozen=True, eq=False)
class Lambda:
    """A block-diagonal matrix, the same k x k factor for every level of a group.

    Attributes
    ----------
    columns : Columns
        Groups.
    factors : sequence of (k, k) arrays
        Factor of each group.
    """

    columns: Columns
    factors: Sequence[Matrix]

    @cached_property
    def _diagonal(self) -> Vector:
        """Diagonal (q,) where every level has one random effect."""
        return np.concatenate(self.factors).ravel().repeat(self.columns.sizes)

    def times(self, M: Matrix, transpose: bool = False, overwrite: bool = False) -> Matrix:
        """Lambda M, or Lambda'M."""
        out = M if overwrite else np.empty_like(M)
        if self.columns.is_scalar:
            return np.multiply(self._diagonal[:, None], M, out=out)
        each = zip(self.factors, self.columns.parts, self.columns.groups, strict=True)
        for given, part, group in each:
            factor, k = given.T if transpose else given, group.size
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

    def around(self, M: Matrix, transpose: bool = False, overwrite: bool = False) -> Matrix:
        """Lambda M Lambda', or Lambda'M Lambda, for a symmetric M (q, q).

        Fresh memory of the tail's size costs as much as the arithmetic.
        """
        if self.columns.is_scalar:  # in one pass
            out = M if overwrite else np.empty(M.shape)
            for factor, part in zip(self.factors, self.columns.parts, strict=True):
                np.multiply(M[part], factor[0, 0] * self._diagonal, out=out[part])
            return out
        half = self.times(M, transpose, overwrite)
        return self.times(half.T, transpose, overwrite=True).T
