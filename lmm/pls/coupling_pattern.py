"""Which random effects of a factor meet those of the groups behind it in some row.

Cross-products of the two vanish elsewhere, mostly nearly everywhere. They are "couplings", (k, e):
for the k columns of the factor, and every pair of one of its levels and a column behind it that
meet, ordered by level.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lmm._types import IntVector, Matrix
from lmm.pls.effect_columns import Columns
from lmm.pls.groups import Group, LevelPairs
from lmm.pls.products import Pairs

if TYPE_CHECKING:
    from scipy import sparse


@dataclass(frozen=True, eq=False)
class CouplingPattern:
    """Places of couplings.

    Attributes
    ----------
    q : int
        Columns behind the factor.
    level, column : (e,) int arrays
        Level of each coupling, ascending, and its column behind the factor, of 32 bits.
    bounds : (l + 1,) int array
        Where the couplings of each level start.
    order : (e,) int array
        Which comes first, second, ... of those of one group behind after the other.
    """

    q: int
    level: IntVector
    column: IntVector
    bounds: IntVector
    order: IntVector

    @classmethod
    def of(
        cls, lead: Group, behind: Columns, each: Sequence[LevelPairs | Pairs]
    ) -> CouplingPattern:
        """From the pairs of the factor's levels with those of each group behind it."""
        levels, columns = [], []
        for pairs, places in zip(each, behind.places, strict=True):
            levels.append(np.repeat(pairs.i, places.shape[1]))
            columns.append(places[pairs.j].ravel())
        level = np.concatenate(levels)
        order = np.argsort(level, kind="stable")
        level, column = level[order], np.concatenate(columns, dtype=np.int32)[order]
        bounds = np.searchsorted(level, np.arange(lead.n_levels + 1))
        return cls(behind.q, level, column, bounds, order)

    def values(self, products: Sequence[Matrix]) -> Matrix:
        """Couplings (k, e) from the cross-products (k, k_h, m) of the pairs with each group."""
        found = [A.transpose(0, 2, 1).reshape(len(A), -1) for A in products]
        return found[0] if len(found) == 1 else np.hstack(found)[:, self.order]

    def times(self, blocks: Matrix, couplings: Matrix) -> Matrix:
        """Blocks (k, k, l) of the factor's levels times couplings (k, e)."""
        found = np.zeros((len(blocks), couplings.shape[1]))
        for total, row in zip(found, blocks, strict=True):
            for block, own in zip(row, couplings, strict=True):
                total += block[self.level] * own
        return found

    def matrix(self, couplings: Matrix) -> sparse.csr_array:
        """Couplings (k, e) as one sparse (k l, q) matrix, column by column of the factor."""
        from scipy.sparse import csr_array

        k, e = couplings.shape
        starts = (self.bounds[:-1] + e * np.arange(k)[:, None]).ravel()
        column = self.column if k == 1 else np.tile(self.column, k)
        bounds = np.append(starts, k * e).astype(np.int32)
        return csr_array((couplings.ravel(), column, bounds), shape=(len(starts), self.q))
