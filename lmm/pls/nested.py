"""Nested grouping factors: a chain in which every level belongs to one level of the next factor.

Classes in schools in regions: eliminating the classes leaves the schools' blocks diagonal by
school, eliminating those leaves the regions', and so on, so that each step is the elimination of
`lmm.pls.grouped` with a wider border: level i of factor c couples with the blocks of its ancestors
only, and with the columns behind the chain, U = [Z_T X y]. An evaluation costs O(number of levels)
(docs/theory/blocks.md, eqns. 6, 7).

Factors that are crossed with the chain, such as raters, are its tail T: when the chain is gone,
what is left of them is one dense matrix, as in `lmm.pls.crossed`. Without a tail U is [X y].

Columns of a border are ordered [ancestors' columns, from the next factor to the last; U].
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise

import numpy as np
from scipy.linalg import block_diag

from lmm import _lapack
from lmm._brief import Brief
from lmm._threads import limited
from lmm._types import IntVector, Matrix, Vector
from lmm.errors import NumericalError
from lmm.pls.base import Blocks, Factors
from lmm.pls.chain import NestedPoint
from lmm.pls.grouped import penalized_inverse
from lmm.pls.groups import Group
from lmm.pls.inverse import flat
from lmm.pls.kernels import sum_by
from lmm.pls.problem import Problem
from lmm.pls.tail import Tail

__all__ = ["NestedPLS", "chain"]


def chain(problem: Problem) -> tuple[tuple[Group, ...], tuple[Group, ...]]:
    """Groups of which each is nested in the next, finest first, and the others.

    The chain starts with the group of the most levels, and takes what fits.
    """
    groups = problem.groups
    first, *rest = sorted(range(len(groups)), key=lambda g: -groups[g].n_levels)
    nested: list[int] = [first]
    others: list[int] = []
    for g in rest:
        fits = problem.products.parents(nested[-1], g) is not None
        (nested if fits else others).append(g)
    return tuple(groups[g] for g in nested), tuple(groups[g] for g in others)


@dataclass(frozen=True, eq=False, repr=False)
class NestedPLS(Brief):
    """Block solver for nested factors, and others behind them as a dense tail.

    Parameters
    ----------
    problem : Problem
        Standardized problem.
    groups : tuple of Group
        The chain, finest factor first.
    ancestors : tuple of tuple of (l_c,) int arrays
        Per factor c and later factor h, the level of h that each level of c belongs to.
    A : tuple of (k_c, k_c, l_c) arrays
        Z_i'Z_i per factor.
    D : tuple of (tau_c, k_c, l_c) arrays
        Border: [Z_ancestors U]'Z_i per factor.
    tail : Tail
        Groups behind the chain.
    base : (q_T + t, q_T + t) array
        U'U.
    """

    problem: Problem
    groups: tuple[Group, ...]
    ancestors: tuple[tuple[IntVector, ...], ...]
    A: tuple[Matrix, ...]
    D: tuple[Matrix, ...]
    tail: Tail
    base: Matrix

    name = "block"

    @classmethod
    def build(
        cls, problem: Problem, groups: tuple[Group, ...], tail: tuple[Group, ...] = ()
    ) -> NestedPLS:
        """Accumulate the cross-products, given a chain of groups, finest first, and the others."""
        places = [problem.number(group) for group in groups]
        found = [
            [problem.products.parents(g, h) for h in places[c + 1 :]] for c, g in enumerate(places)
        ]
        ancestors = [tuple(parents for parents in row if parents is not None) for row in found]
        return cls.accumulate(problem, groups, tuple(ancestors), Tail(tail))

    @classmethod
    def accumulate(
        cls,
        problem: Problem,
        groups: tuple[Group, ...],
        ancestors: tuple[tuple[IntVector, ...], ...],
        tail: Tail,
    ) -> NestedPLS:
        """Accumulate the cross-products, given the ancestors of each level."""
        products, D = problem.products, []
        behind = [problem.number(group) for group in tail.groups]
        Z_T, Z_TXy = products.dense(behind, tail.places)
        base = np.block([[Z_T, Z_TXy], [Z_TXy.T, problem.base]])
        chained = [problem.number(group) for group in groups]
        for c, g in enumerate(chained):
            rows = [products.nested(g, h) for h in chained[c + 1 :]]
            rows += [_coupled(problem, g, h) for h in behind]
            D.append(np.concatenate([*rows, products.couplings[g]]))
        A = tuple(products.grams[g] for g in chained)
        return cls(problem, groups, ancestors, A, tuple(D), tail, base)

    def with_response(self, y: Vector) -> NestedPLS:
        """The same design with another response (n,)."""
        return self.with_problem(self.problem.with_response(y))

    def with_problem(self, problem: Problem) -> NestedPLS:
        """The same random effects with other columns [X y]."""
        t, q = len(self.problem.base), self.tail.q
        couplings = [problem.products.couplings[g] for g in self.order]
        D = [np.concatenate([d[:-t], own]) for d, own in zip(self.D, couplings, strict=False)]
        behind = [np.zeros((0, len(problem.base))), *map(flat, couplings[len(D) :])]
        border = np.concatenate(behind)
        base = np.block([[self.base[:q, :q], border], [border.T, problem.base]])
        return dataclasses.replace(self, problem=problem, D=tuple(D), base=base)

    def reweighted(self, weights: Vector, y: Vector | None = None) -> NestedPLS:
        """The same layout with other weights (n,) and response (n,)."""
        problem = self.problem.reweighted(weights, y)
        by_name = {group.name: group for group in problem.groups}
        groups = tuple(by_name[group.name] for group in self.groups)
        tail = Tail(tuple(by_name[group.name] for group in self.tail.groups))
        return NestedPLS.accumulate(problem, groups, self.ancestors, tail)

    @property
    def description(self) -> str:
        """What was chosen and why."""
        names = " in ".join(f"{group.n_levels} levels of {group.name}" for group in self.groups)
        text = f"block: nested factors eliminated one after the other, {names}"
        if not self.tail.groups:
            return text
        behind = ", ".join(group.name for group in self.tail.groups)
        return f"{text}; dense tail of {self.tail.q} columns for {behind}"

    @property
    def dense_size(self) -> int:
        """Columns of the largest dense matrix that is factored."""
        return len(self.base)

    @property
    def all_groups(self) -> tuple[Group, ...]:
        """The chain, and the tail behind it."""
        return (*self.groups, *self.tail.groups)

    @cached_property
    def columns(self) -> tuple[tuple[slice, ...], ...]:
        """Per factor c, the part of its border that belongs to each later factor."""
        columns = []
        for c in range(len(self.groups)):
            stops = list(accumulate((g.size for g in self.groups[c + 1 :]), initial=0))
            columns.append(tuple(slice(a, b) for a, b in pairwise(stops)))
        return tuple(columns)

    @cached_property
    def order(self) -> tuple[int, ...]:
        """Place of each factor of the chain, and of the tail, among the problem's groups."""
        return tuple(self.problem.number(group) for group in self.all_groups)

    def by_group(self, arrays: list[Matrix]) -> Blocks:
        """Arrays of the chain and the tail in the order of the problem's groups."""
        return tuple(arrays[c] for c in np.argsort(self.order))

    def later(self, c: int) -> list[tuple[int, slice, IntVector]]:
        """Later factors of c: (factor, its columns in c's border, ancestor of each level)."""
        return [
            (c + 1 + j, part, parents)
            for j, (part, parents) in enumerate(
                zip(self.columns[c], self.ancestors[c], strict=True)
            )
        ]

    @limited
    def at(self, factors: Factors) -> NestedPoint:
        """Eliminate one factor after the other at given factors."""
        lams = [group.factor(factors) for group in self.all_groups]
        A, D, H = [a.copy() for a in self.A], [d.copy() for d in self.D], []
        left, logdet, tau = self.base, 0.0, len(self.base)
        for c, lam in enumerate(lams[: len(A)]):
            inverse, logdets = penalized_inverse(A[c], lam)
            H.append(inverse)
            logdet += float(logdets.sum())
            HD = np.einsum("abm,tbm->tam", inverse, D[c])
            for h, part, parents in self.later(c):
                swept = np.einsum("tam,xam->txm", D[c][part.start :], HD[part])
                swept = sum_by(swept, parents, self.groups[h].n_levels)
                A[h] -= swept[: part.stop - part.start]
                D[h] -= swept[part.stop - part.start :]
            left = left - D[c][-tau:].reshape(tau, -1) @ HD[-tau:].reshape(tau, -1).T
        half, tail_logdet = self._tail_factor(lams[len(A) :], left)
        T = len(half)
        QR = half @ left[:T, T:]
        logdet += tail_logdet
        return NestedPoint(self, lams, A, D, H, logdet, left, half, left[T:, T:] - QR.T @ QR)

    def _tail_factor(self, lams: list[Matrix], left: Matrix) -> tuple[Matrix, float]:
        """L_T^-1 Lambda_T' (q_T, q_T) and log|Omega_T| of what the chain leaves."""
        if not lams:
            return np.empty((0, 0)), 0.0
        each = zip(self.tail.groups, lams, strict=True)
        Lambdat = block_diag(*(np.kron(np.eye(group.n_levels), lam.T) for group, lam in each))
        omega = Lambdat @ left[: len(Lambdat), : len(Lambdat)] @ Lambdat.T
        omega.flat[:: len(omega) + 1] += 1.0
        try:
            L = _lapack.cholesky(omega)
        except np.linalg.LinAlgError as error:
            raise NumericalError(
                "The tail of the normal equations is not positive definite."
            ) from error
        return _lapack.solve_lower(L, Lambdat), 2.0 * float(np.log(L.diagonal()).sum())


def _coupled(problem: Problem, g: int, h: int) -> Matrix:
    """Z_h'Z_i per level i of group g, (q_h, k_g, l_g)."""
    left, right, pairs = problem.groups[g], problem.groups[h], problem.products.pairs(g, h)
    border = np.zeros((right.n_levels, right.size, left.size, left.n_levels))
    border[pairs.j, :, :, pairs.i] = pairs.A.transpose(2, 1, 0)
    return border.reshape(right.q, left.size, left.n_levels)
