"""Random effects of a generalized model: products with their columns, and what eliminates them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from lmm._types import IntVector, Matrix, Vector, cached_property
from lmm.design.matrices import ModelMatrices
from lmm.errors import NumericalError
from lmm.laplace.elimination import ByLevel, Elimination, Solved, Units
from lmm.laplace.meetings import Meetings
from lmm.laplace.row_sums import grams, level_sums
from lmm.laplace.split import DENSE, LARGEST, Split
from lmm.pls import PLS, Factors, Problem, Solver, standardize
from lmm.pls.choose import Auto
from lmm.pls.groups import Group
from lmm.pls.tail import DenseTail

ALL = slice(None)


@dataclass(frozen=True, eq=False)
class Effects:
    """Columns of the random effects, whitened, rows not weighted.

    Attributes
    ----------
    problem : Problem
        The standardized problem; its layout holds the columns.
    solver : Solver
        What eliminates them, if that was asked for, or where there is no closed form.
    """

    problem: Problem
    solver: Solver

    @cached_property
    def pls(self) -> PLS:
        """Least squares on the same rows, without fixed effects.

        The equations hold where the information of X has vanished, too.
        """
        matrices = self.problem.matrices
        bare = replace(matrices.design, X=matrices.X[:, :0])
        return self.solver.bind(standardize(ModelMatrices(bare, matrices.response)))

    @property
    def groups(self) -> tuple[Group, ...]:
        """Random effects by grouping factor."""
        return self.problem.layout.groups

    @property
    def q(self) -> int:
        """Number of random effects."""
        return sum(group.q for group in self.groups)

    @cached_property
    def starts(self) -> IntVector:
        """Where each group starts among the random effects."""
        return np.cumsum([0, *(group.q for group in self.groups)])

    def at_rows(self, rows: slice) -> tuple[Group, ...]:
        """Groups with some of their rows."""
        if rows == ALL:
            return self.groups
        return tuple(replace(g, codes=g.codes[rows], Z=g.Z[rows]) for g in self.groups)

    def sums(self, values: np.ndarray, rows: slice = ALL) -> np.ndarray:
        """``Z'values``, (q,) or (q, r), for values (n,) or (n, r), or those of some rows."""
        columns, groups = values.shape[1:], self.at_rows(rows)
        parts = [level_sums(group, values).reshape(group.q, *columns) for group in groups]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def spread(self, effects: np.ndarray, rows: slice = ALL) -> np.ndarray:
        """``Z effects``, (n,) or (n, r), for effects (q,) or (q, r), or some rows of it."""
        total: np.ndarray | None = None
        for group, own in zip(self.at_rows(rows), self.by_group(effects), strict=True):
            for column, part in zip(group.Z.T, own.swapaxes(0, 1), strict=True):
                moved = np.ascontiguousarray(part)[group.codes]
                moved *= column if moved.ndim == 1 else column[:, None]
                if total is None:
                    total = moved
                else:
                    total += moved
        assert total is not None
        return total

    def by_group(self, effects: np.ndarray) -> tuple[np.ndarray, ...]:
        """Random effects (q, ...) as (l, k, ...) per group."""
        return tuple(
            effects[start : start + group.q].reshape(group.n_levels, group.size, *effects.shape[1:])
            for start, group in zip(self.starts, self.groups, strict=False)
        )

    def times_gamma(self, factors: Factors, v: Matrix) -> Matrix:
        """``Gamma v`` for dual effects v (q,): the effects b themselves."""
        parts = []
        for group, own in zip(self.groups, self.by_group(v), strict=True):
            lam = group.factor(factors)
            parts.append((own @ (lam @ lam.T)).ravel())
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def along(self, units: Units, v: Vector) -> Matrix:
        """``E v``, (q, e), for e units of all Gammas and dual effects v (q,)."""
        parts = []
        for own, effects in zip(units, self.by_group(v), strict=True):
            moved = np.tensordot(effects, own, (1, 2))  # (l, e, k)
            parts.append(moved.transpose(0, 2, 1).reshape(-1, len(own)))
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    @cached_property
    def place(self) -> tuple[tuple[int, slice], ...]:
        """Group of each term, and its columns there."""
        found = {i: (g, part) for g, group in enumerate(self.groups) for i, part in group.members}
        return tuple(found[i] for i in range(len(found)))

    def by_term(self, effects: np.ndarray) -> tuple[np.ndarray, ...]:
        """Random effects (q, ...) as (l, k_i, ...) per term."""
        parts = self.by_group(effects)
        return tuple(parts[g][:, part] for g, part in self.place)

    def units(self, by_term: Sequence[Matrix]) -> Units:
        """Units (e_i, k_i, k_i) of all terms, (e, k, k) per group: each is of one group alone."""
        e, start = sum(len(own) for own in by_term), 0
        blocks = tuple(np.zeros((e, group.size, group.size)) for group in self.groups)
        for (g, part), own in zip(self.place, by_term, strict=True):
            blocks[g][start : start + len(own), part, part] = own
            start += len(own)
        return blocks

    def eliminated(self, weights: Vector, factors: Factors) -> Elimination:
        """D for weights (n,) and whitened factors.

        Raises
        ------
        NumericalError
            Weights are negative, and ``Lambda'A Lambda + I`` is not positive definite.
        """
        closed = self.closed(weights, factors)
        negative = weights.min() < 0.0
        if closed is not None and (negative or isinstance(self.solver, Auto)):
            return closed
        if negative:
            raise NumericalError(
                "The observed information of single rows is negative, and the random effects are "
                f"too many ({self.q}) to form their information as a whole."
            )
        return Solved(self, factors, weights, closed)

    def closed(self, weights: Vector, factors: Factors) -> Elimination | None:
        """D in closed form, if that is not too large."""
        if len(self.groups) == 1:
            return ByLevel(self, factors, grams(self.groups[0], weights))
        return Split(self, factors, weights) if self.is_splittable else None

    @property
    def is_by_level(self) -> bool:
        """Whether all that is asked of them is a sum over the levels of one factor."""
        return len(self.groups) == 1 and isinstance(self.solver, Auto)

    @property
    def has_closed_form(self) -> bool:
        """Whether `closed` gives one."""
        return len(self.groups) == 1 or self.is_splittable

    @property
    def is_splittable(self) -> bool:
        """Whether all groups but the largest make a dense tail."""
        front = max(group.q for group in self.groups)
        behind = self.q - front
        return behind <= DENSE and behind * front <= LARGEST

    @property
    def description(self) -> str:
        """What eliminates them and why."""
        if not isinstance(self.solver, Auto) or not self.has_closed_form:
            return self.pls.description
        group = self.groups[self.lead]
        if len(self.groups) == 1:
            return (
                f"block: one grouping factor, {group.n_levels} levels of {group.name} eliminated "
                "in closed form"
            )
        tail = DenseTail(self.meetings.tail).description
        return f"block: {group.n_levels} levels of {group.name} eliminated, {tail}"

    @property
    def dense_size(self) -> int:
        """Columns of the largest dense matrix that is factored."""
        is_closed = isinstance(self.solver, Auto) and self.has_closed_form
        return self.q - self.groups[self.lead].q if is_closed else self.pls.dense_size

    @cached_property
    def lead(self) -> int:
        """The group with most random effects."""
        return int(np.argmax([group.q for group in self.groups]))

    @cached_property
    def in_front(self) -> slice:
        """Random effects of the lead."""
        start, stop = self.starts[self.lead : self.lead + 2]
        return slice(int(start), int(stop))

    @cached_property
    def behind(self) -> IntVector:
        """Random effects of the other groups, (q2,)."""
        return np.delete(np.arange(self.q), self.in_front)

    @cached_property
    def meetings(self) -> Meetings:
        """Which levels of the lead and of the other groups occur together."""
        return Meetings.of(self.problem, self.lead)

    def cells(self, g: int, h: int) -> tuple[IntVector, int]:
        """Pair of levels of two groups in each row, (n,), and how many pairs there are."""
        if g == h:
            return self.groups[g].codes, self.groups[g].n_levels
        # in the order in which `Meetings` asks for them
        first, second = (g, h) if g == self.lead or (h != self.lead and g > h) else (h, g)
        pairs = self.problem.cells(first, second)
        return pairs.rows, len(pairs.i)

    def of_terms(self, full: Matrix) -> Matrix:
        """Rows and columns for entries of the terms' Gammas of a matrix over the groups'."""
        chosen = self._entries
        return full if len(chosen) == len(full) == 1 else full[chosen[:, None], chosen]

    @cached_property
    def _entries(self) -> IntVector:
        """Places of the entries of the terms' Gammas among those of the groups'."""
        starts = np.cumsum([0, *(group.size**2 for group in self.groups)])
        chosen = []
        for g, part in self.place:
            size = self.groups[g].size
            chosen.append(starts[g] + np.arange(size**2).reshape(size, size)[part, part].ravel())
        return np.concatenate(chosen)
