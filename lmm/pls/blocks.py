"""One elimination: a chain of nested factors in closed form, then a tail.

    chain                               tail
    one factor                          none         one grouping factor
    nested factors                      none         classes in schools in regions
    nested factors                      dense        the same, crossed with few raters
    the factor with most effects        dense        crossed factors, by sparse couplings
    none                                dense        few random effects, crossed in any way
    none                                sparse       crossed factors of which few levels meet

The chain (`lmm.pls.chain`, `lmm.pls.roots`) eliminates level by level, the tail (`lmm.pls.tail`)
factors what is left of the other groups, and the border (`lmm.pls.border`) what is left of [X y].
With V_1 of the chain alone and Y of the tail everything follows from

    V^-1 = V_1^-1 - V_1^-1 Z_T Y Z_T'V_1^-1

(docs/theory/blocks.md). After construction nothing depends on the number of rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lmm._brief import Brief
from lmm._threads import limited
from lmm._types import IntVector, Matrix, Vector, cached_property
from lmm.pls.base import Blocks, Derivatives, Factors, PLSSolution
from lmm.pls.border import Bordered
from lmm.pls.chain import Chain, SweptChain
from lmm.pls.groups import Group
from lmm.pls.inverse import by_solving
from lmm.pls.no_chain import NoChain, SweptNoChain
from lmm.pls.problem import Problem
from lmm.pls.roots import Roots, SweptRoots
from lmm.pls.tail import DenseTail, Tail


@dataclass(frozen=True, eq=False)
class BlockPoint(Bordered):
    """Chain and tail eliminated at given factors."""

    pls: BlockPLS
    swept: SweptChain | SweptRoots | SweptNoChain
    logdet: float
    reduced: Matrix

    @limited
    def derivatives(self, reml: bool) -> Derivatives:
        """Values with first and second derivatives; the latter exact where one part is alone."""
        return self.swept.derivatives(self.terms, self.border.half, self.pls.groups, reml)

    @limited
    def solution(self) -> PLSSolution:
        """Coefficients."""
        modes = self.swept.modes(self.border.residual[None])
        return self.coefficients(self.pls.groups, modes)

    @limited
    def solve(self, right: Blocks) -> Blocks:
        """D times columns."""
        if not len(right[0]):
            return right
        return self._by_group(self.swept.solve([right[g] for g in self.pls.order]))

    def _by_group(self, arrays: list[Matrix]) -> Blocks:
        """Arrays of the chain and the tail in the order of the problem's groups."""
        return tuple(arrays[c] for c in np.argsort(self.pls.order))

    @cached_property
    @limited
    def diagonal(self) -> Blocks:
        """Blocks of D of each level."""
        return self._by_group(self.swept.diagonal)

    @limited
    def blocks(self, g: int, h: int, i: IntVector, j: IntVector) -> Matrix:
        """Blocks of D between levels: those at hand, and products for the others."""
        if g == h and np.array_equal(i, j):
            return self.diagonal[g][:, :, i]
        one, two = self.pls.order.index(g), self.pls.order.index(h)
        if one > two:
            return self.blocks(h, g, j, i).transpose(1, 0, 2)
        found = self.swept.blocks(one, two, i, j)
        if found is None:
            return by_solving(self.solve, self.pls.problem.groups, g, h, i, j)
        return found


@dataclass(frozen=True, eq=False, repr=False)
class BlockPLS(Brief):
    """A problem whose random effects are eliminated by a chain and a tail.

    Parameters
    ----------
    problem : Problem
        Standardized problem.
    chain : Chain, Roots or NoChain
        What is eliminated, with the tail behind it.
    """

    problem: Problem
    chain: Chain | Roots | NoChain

    @classmethod
    def of(cls, problem: Problem, inner: Sequence[int], is_sparse: bool = False) -> BlockPLS:
        """Accumulate the cross-products of a problem.

        Parameters
        ----------
        problem : Problem
            Standardized problem.
        inner : sequence of int
            Groups of the chain, finest first; the others are a dense tail.
        is_sparse : bool
            Whether the couplings of a single factor with the tail are held as sparse ones.
        """
        if not inner:
            return cls.of_tail(problem, DenseTail(problem.products.columns), "few random effects")
        behind = tuple(g for g in range(len(problem.groups)) if g not in inner)
        return cls(problem, Chain.of(problem, tuple(inner), behind, is_sparse))

    @classmethod
    def of_tail(cls, problem: Problem, tail: Tail, reason: str = "") -> BlockPLS:
        """The same for a tail of all groups."""
        return cls(problem, NoChain(tail, tail.base(problem), reason))

    @classmethod
    def of_one(cls, problem: Problem) -> BlockPLS:
        """The same for a single grouping factor, by roots."""
        return cls(problem, Roots.of(problem))

    @property
    def tail(self) -> Tail:
        """What is left to be factored."""
        return self.chain.tail

    @property
    def name(self) -> str:
        """What it is called as a string."""
        return self.tail.name

    @property
    def order(self) -> tuple[int, ...]:
        """Numbers of the groups of the chain, then of the tail."""
        return self.chain.order

    def with_response(self, y: Vector) -> BlockPLS:
        """The same design with another response (n,)."""
        return self.with_problem(self.problem.with_response(y))

    def with_problem(self, problem: Problem) -> BlockPLS:
        """The same random effects with other columns [X y]."""
        return BlockPLS(problem, self.chain.with_columns(problem))

    def reweighted(self, weights: Vector, y: Vector | None = None) -> BlockPLS:
        """The same layout with other weights (n,) and response (n,)."""
        problem = self.problem.reweighted(weights, y)
        return BlockPLS(problem, self.chain.reweighted(problem))

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """Groups of the chain, then of the tail."""
        return tuple(self.problem.groups[g] for g in self.order)

    @property
    def description(self) -> str:
        """What was chosen and why."""
        parts = (self.chain.description(self.groups), self.tail.description)
        return f"{self.name}: {'; '.join(part for part in parts if part)}"

    @property
    def dense_size(self) -> int:
        """Columns of the largest dense matrix that is factored."""
        return self.tail.dense_size

    @limited
    def at(self, factors: Factors) -> BlockPoint:
        """Eliminate at given factors."""
        swept = self.chain.at([group.factor(factors) for group in self.groups])
        return BlockPoint(self, swept, swept.logdet, swept.reduced)
