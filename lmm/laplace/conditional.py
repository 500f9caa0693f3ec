"""D of observed information that single rows have with the wrong sign.

Least squares with such weights do not exist, but D does, as long as the penalized likelihood has a
maximum: `lmm.laplace.elimination` forms it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lmm._types import IntVector, Matrix
from lmm.laplace.elimination import ByLevel, Elimination
from lmm.pls import Problem
from lmm.pls.base import Blocks
from lmm.pls.inverse import by_level, by_solving, flat


@dataclass(frozen=True, eq=False)
class EliminatedPoint:
    """D as a `lmm.pls.base.Inverse`.

    Attributes
    ----------
    D : Elimination
        Its products.
    problem : Problem
        Where its groups are.
    """

    D: Elimination
    problem: Problem

    def solve(self, right: Blocks) -> Blocks:
        """See `Inverse`."""
        solved = self.D.solve(np.concatenate([flat(part) for part in right]))
        ends = np.cumsum([group.q for group in self.problem.groups])[:-1]
        return tuple(map(by_level, np.split(solved, ends), self.problem.groups))

    @property
    def diagonal(self) -> Blocks:
        """See `Inverse`."""
        if isinstance(self.D, ByLevel):
            return (self.D.blocks,)
        levels = [np.arange(group.n_levels) for group in self.problem.groups]
        return tuple(self.blocks(g, g, own, own) for g, own in enumerate(levels))

    def blocks(self, g: int, h: int, i: IntVector, j: IntVector) -> Matrix:
        """See `Inverse`."""
        if isinstance(self.D, ByLevel):  # nothing is between levels
            return np.asarray(self.D.blocks[:, :, i] * (i == j))
        return by_solving(self.solve, self.problem.groups, g, h, i, j)
