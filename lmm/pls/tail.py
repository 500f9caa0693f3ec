"""The tail: groups that are left as one dense matrix when others are eliminated."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import numpy as np
from scipy.linalg import block_diag

from lmm._types import IntVector, Matrix
from lmm.pls.grouped import directions
from lmm.pls.groups import Group
from lmm.pls.inverse import by_level, flat

__all__ = ["Tail", "pair_traces"]


@dataclass(frozen=True, eq=False)
class Tail:
    """Random effects of some groups, one group after the other, level by level.

    Attributes
    ----------
    groups : tuple of Group
        The groups.
    """

    groups: tuple[Group, ...]

    @property
    def q(self) -> int:
        """Number of random effects."""
        return sum(group.q for group in self.groups)

    @cached_property
    def parts(self) -> tuple[slice, ...]:
        """Rows of each group."""
        starts = accumulate((group.q for group in self.groups), initial=0)
        return tuple(
            slice(start, start + group.q) for start, group in zip(starts, self.groups, strict=False)
        )

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

    def directions(self, v: list[Matrix]) -> Matrix:
        """E_ab v over all entries (a, b) of the groups' Gammas, (q, K), for v (k, l) each."""
        return np.asarray(block_diag(*(flat(directions(effects)) for effects in v)))

    def sums(self, F: Matrix) -> list[Matrix]:
        """Sums over levels of the diagonal blocks of F (q, q), (k, k) per group."""
        return [F[own[:, :, None], own[:, None, :]].sum(axis=0) for own in self.places]

    def trace(self, F: Matrix) -> Matrix:
        """``tr(F E F E')`` (K, K) over the directions, for a symmetric F (q, q)."""
        each = list(zip(self.parts, self.groups, strict=True))
        return np.block([[pair_traces(F[p, r], g, h) for r, h in each] for p, g in each])


def pair_traces(F: Matrix, g: Group, h: Group) -> Matrix:
    """``tr(F E F'E')`` (k_g^2, k_h^2) over entries of two groups' Gammas, for F (q_g, q_h)."""
    levels = F.reshape(g.n_levels, g.size, h.n_levels, h.size)
    pairs = levels.transpose(1, 3, 0, 2).reshape(g.size * h.size, -1)
    square = (pairs @ pairs.T).reshape(g.size, h.size, g.size, h.size)
    return np.asarray(np.einsum("bcad->abcd", square)).reshape(g.size**2, h.size**2)
