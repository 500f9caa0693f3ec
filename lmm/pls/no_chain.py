"""No chain: all groups are in the tail, dense or sparse."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from lmm._types import IntVector, Matrix
from lmm.pls.base import Derivatives, PLSTerms
from lmm.pls.directions import assembled, squares
from lmm.pls.groups import Group
from lmm.pls.problem import Problem
from lmm.pls.tail import Tail, TailPoint


@dataclass(frozen=True, eq=False)
class NoChain:
    """A tail of all groups, in the problem's order.

    Attributes
    ----------
    tail : Tail
        The tail.
    base : array
        What it factors: see `Tail.base`.
    reason : str
        Why there is no chain.
    """

    tail: Tail
    base: Matrix
    reason: str = ""

    @property
    def order(self) -> tuple[int, ...]:
        """Number of each group in the problem."""
        return tuple(range(len(self.tail.columns.groups)))

    def description(self, groups: Sequence[Group]) -> str:
        """What is eliminated."""
        return self.reason

    def with_columns(self, problem: Problem) -> NoChain:
        """The same random effects with other columns [X y]."""
        base = self.tail.base(problem, self.base)
        return replace(self, tail=self.tail.with_columns(problem), base=base)

    def reweighted(self, problem: Problem) -> NoChain:
        """The same layout with the sums of other weights."""
        return replace(self, tail=self.tail.reweighted(problem), base=self.tail.base(problem))

    def at(self, lams: Sequence[Matrix]) -> SweptNoChain:
        """Factor the tail at given lambdas."""
        return SweptNoChain(self.tail.at(lams, self.base))


@dataclass(frozen=True, eq=False)
class SweptNoChain:
    """The tail at given lambdas: see `lmm.pls.chain.SweptChain`.

    Attributes
    ----------
    tail : TailPoint
        The tail.
    """

    tail: TailPoint

    @property
    def logdet(self) -> float:
        """log|V|."""
        return self.tail.logdet

    @property
    def reduced(self) -> Matrix:
        """``[X y]'V^-1[X y]``, (t, t)."""
        return self.tail.reduced

    def derivatives(
        self, terms: PLSTerms, half: Matrix, groups: Sequence[Group], reml: bool
    ) -> Derivatives:
        """Derivatives, given L^-1 (t, t) of the fixed effects; exact where the tail's are."""
        columns, tail = self.tail.columns, self.tail
        E_T = tail.unswept @ half.T
        E = columns.by_level(E_T)
        forms = tail.forms(columns.directions([e[-1] for e in E]))
        scoring = tail.trace(E_T[:, :-1] if reml else None)
        EE = [squares(own) for own in E]
        return assembled(terms, groups, tail.sums, EE, forms, scoring, reml, tail.is_exact)

    def modes(self, residual: Matrix) -> list[Matrix]:
        """``D Z'[X y] residual'`` (r, k, l) by group, for (r, t)."""
        tail = self.tail
        return tail.columns.by_level(tail.solve(tail.coupling @ residual.T))

    def solve(self, right: Sequence[Matrix]) -> list[Matrix]:
        """D times columns (r, k, l) by group."""
        columns = self.tail.columns
        return columns.by_level(self.tail.solve(columns.flat(right, len(right[0]))))

    @property
    def diagonal(self) -> list[Matrix]:
        """Blocks of D of each level, (k, k, l) per group."""
        return self.tail.diagonal

    def blocks(self, g: int, h: int, i: IntVector, j: IntVector) -> Matrix:
        """Blocks of D between levels i of group g and j of group h."""
        return self.tail.blocks(g, h, i, j)
