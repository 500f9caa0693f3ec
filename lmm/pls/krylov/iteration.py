"""Crossed factors whose tail is too large to factor: log determinant and solves by iteration.

The leading factor is eliminated level by level; what is left (`lmm.pls.krylov.system`) multiplies
vectors and is never formed. Its outlying directions are taken out exactly (`deflation`), the rest
is small: conjugate gradients solve systems in a few steps, and ``log|I + E_Q|`` follows from
``tr E_Q``, which is known, and quadrature with fixed random probes (`traces`). Directions and
probes are chosen once, at a reference point, and kept: for a seed the criterion is one smooth
function of theta, and its gradient is that function's. docs/theory/krylov.md.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import block_diag

from lmm._brief import Brief
from lmm._threads import limited
from lmm._types import IntVector, Matrix, Vector, cached_property
from lmm.pls.base import Blocks, Derivatives, Factors, PLSSolution, Sampled
from lmm.pls.border import Bordered
from lmm.pls.directions import assembled, directions, entries, level_traces, squares
from lmm.pls.groups import Group
from lmm.pls.inverse import by_solving, flat
from lmm.pls.krylov import LINEAR_ONLY
from lmm.pls.krylov.deflation import Deflated
from lmm.pls.krylov.slopes import exact_slopes, level_blocks
from lmm.pls.krylov.space import Space
from lmm.pls.krylov.system import Scaled, System
from lmm.pls.krylov.traces import LogDeterminant
from lmm.pls.krylov.variances import EstimatedVariances
from lmm.pls.problem import Problem

if TYPE_CHECKING:
    from lmm.pls.choose import Krylov


@dataclass(frozen=True, eq=False)
class KrylovPoint(Bordered):
    """Everything at one Lambda; what is dear is computed when it is first asked for."""

    pls: KrylovPLS
    scaled: Scaled

    @cached_property
    def deflated(self) -> Deflated:
        """The tail without its outlying directions."""
        return Deflated.of(self.scaled, self.pls.space.Q)

    @cached_property
    def _logdet(self) -> LogDeterminant:
        space = self.pls.space
        return LogDeterminant.of(self.deflated, space.probes, space.repeats)

    @property
    @limited
    def logdet(self) -> float:
        """log|Omega|, by quadrature."""
        return self.scaled.logdet + self._logdet.value

    def _tail_solve(self, B: Matrix) -> Matrix:
        """``Lambda_T Omega_T^-1 Lambda_T'`` times columns (q_T, r)."""
        outer, scaled = self.scaled.varying, self.scaled
        return scaled.each(outer, self.deflated.solve(scaled.each(outer, B, transpose=True)))

    @cached_property
    def _coupling(self) -> Matrix:
        """Z_T'V_1^-1[X y], (q_T, t)."""
        system = self.pls.system
        HC = np.einsum("abm,tbm->amt", self.scaled.H, system.C)
        return system.border - system.back(HC)

    @cached_property
    def _solved(self) -> Matrix:
        """D_TT Z_T'V_1^-1[X y], (q_T, t)."""
        return self._tail_solve(self._coupling)

    @cached_property
    def reduced(self) -> Matrix:
        """``[X y]'V^-1[X y]``, (t, t)."""
        C = self.pls.system.C
        HC = np.einsum("abm,tbm->tam", self.scaled.H, C)
        swept = np.tensordot(C, HC, axes=((1, 2), (1, 2))) + self._coupling.T @ self._solved
        return np.asarray(self.pls.problem.base - 0.5 * (swept + swept.T))

    @limited
    def solution(self) -> PLSSolution:
        """Coefficients."""
        residual = self.border.residual
        tail = self._solved @ residual
        front = np.einsum("tbm,t->bm", self.pls.system.C, residual)
        front = front - self.pls.system.reach(tail[:, None])[:, :, 0]
        lead = np.einsum("abm,bm->am", self.scaled.H, front)[None]
        behind = self.pls.system.tail.by_level(tail[:, None])
        return self.coefficients(self.pls.groups, [lead, *behind])

    # Derivatives -----------------------------------------------------------------------------

    @limited
    def derivatives(self, reml: bool) -> Derivatives:
        """Values with first derivatives, and second ones by the average information."""
        system, scaled = self.pls.system, self.scaled
        half = self.border.half
        solved = self._solved @ half.T
        E_tail = self._coupling @ half.T - scaled.left(solved)
        lead = np.einsum("st,tbm->bms", half, system.C) - system.reach(solved)
        E_lead = np.einsum("abm,bms->sam", scaled.N, lead)
        effects: list[Matrix] = [E_lead, *system.tail.by_level(E_tail)]
        F = np.einsum("abm,bcm->acm", scaled.N, system.A)
        sums: list[Matrix] = [
            own + rest for own, rest in zip(exact_slopes(scaled), self._logdet.slopes, strict=True)
        ]
        forms = self._forms([effect[-1] for effect in effects], F)
        scoring = np.asarray(
            block_diag(*(level_traces(blocks) for blocks in (F, *level_blocks(scaled))))
        )
        EE = [squares(own) for own in effects]
        return assembled(self.terms, self.pls.groups, sums, EE, forms, scoring, reml, exact=False)

    def _forms(self, v: list[Matrix], F: Matrix) -> Matrix:
        """``w'Z'V^-1 Z w`` for w = E_ab v over all groups' directions (a, b), (K, K)."""
        system, scaled = self.pls.system, self.scaled
        k, _, n_levels = F.shape
        lead, tail = directions(v[0]), system.tail.directions(v[1:])
        first = np.concatenate([lead, np.zeros((tail.shape[1], k, n_levels))])
        behind = np.hstack([np.zeros((len(tail), len(lead))), tail])
        moved = np.einsum("bam,rbm->amr", scaled.N, first)
        reach = scaled.left(behind) + system.back(np.ascontiguousarray(moved))
        cross = np.tensordot(moved, system.reach(behind), axes=((0, 1), (0, 1)))
        own = np.einsum("ram,abm,sbm->rs", first, F, first, optimize=True)
        unswept = own + cross + cross.T + behind.T @ scaled.left(behind)
        return np.asarray(unswept - reach.T @ self._tail_solve(reach))

    @limited
    def sampling(self) -> Matrix:
        """Covariance of `logdet` and of its derivatives due to probes: see `SampledPoint`."""
        return self._logdet.covariance(entries(self.pls.groups))

    # The inverse -----------------------------------------------------------------------------

    @limited
    def solve(self, right: Blocks) -> Blocks:
        """D times columns, by conjugate gradients."""
        lead, *rest = (right[g] for g in self.pls.order)
        if not len(lead):
            return right
        system, H = self.pls.system, self.scaled.H
        front = np.einsum("abm,rbm->amr", H, lead)
        swept = np.concatenate([flat(effects) for effects in rest]) - system.back(front)
        behind = self._tail_solve(swept)
        front = front - np.einsum("abm,bmr->amr", H, system.reach(behind))
        found = [front.transpose(2, 0, 1), *system.tail.by_level(behind)]
        return tuple(found[c] for c in np.argsort(self.pls.order))

    @cached_property
    @limited
    def _variances(self) -> EstimatedVariances:
        return EstimatedVariances.of(self)

    @property
    def diagonal(self) -> Blocks:
        """Blocks of D of each level: of groups with few levels by solves, of others by probes."""
        return self._variances.blocks

    @property
    def diagonal_error(self) -> Blocks:
        """Standard errors of the entries of `diagonal`; zero where they were solved for."""
        return self._variances.errors

    def blocks(self, g: int, h: int, i: IntVector, j: IntVector) -> Matrix:
        """Blocks of D between levels, by conjugate gradients: one solve per level and column."""
        return by_solving(self.solve, self.pls.problem.groups, g, h, i, j)


@dataclass(frozen=True, eq=False, repr=False)
class KrylovPLS(Brief, Sampled):
    """Iterative solver for crossed factors.

    Parameters
    ----------
    problem : Problem
        Standardized problem.
    options : Krylov
        Accuracy and seed.
    system : System
        Cross-products.
    space : Space
        Directions and probes.
    """

    problem: Problem
    options: Krylov
    system: System
    space: Space

    name = "krylov"

    @classmethod
    def build(cls, problem: Problem, options: Krylov) -> KrylovPLS:
        """Accumulate the cross-products of a problem, and choose directions and probes."""
        system = System.of(problem)
        return cls(problem, options, system, Space.of(problem, system, options))

    def with_response(self, y: Vector) -> KrylovPLS:
        """The same design with another response (n,); directions and probes are shared."""
        return self.with_problem(self.problem.with_response(y))

    def with_problem(self, problem: Problem) -> KrylovPLS:
        """The same random effects with other columns [X y]; directions and probes are shared."""
        system = self.system.with_columns(problem)
        return dataclasses.replace(self, problem=problem, system=system)

    def reweighted(self, weights: Vector, y: Vector | None = None) -> KrylovPLS:
        """Refused: generalized models ask for covariances of all pairs of levels.

        Raises
        ------
        ValueError
            Always.
        """
        raise ValueError(LINEAR_ONLY)

    @property
    def description(self) -> str:
        """What was chosen and why."""
        leading, tail = self.system.leading, self.system.tail
        _, count = self.space.probes.shape
        return (
            f"krylov: {leading.n_levels} levels of {leading.name} eliminated, {tail.q} columns for "
            f"{', '.join(group.name for group in tail.groups)} by iteration, "
            f"{self.space.Q.shape[1]} directions taken out, {count} probes"
        )

    @property
    def dense_size(self) -> int:
        """Columns of the largest dense matrix that is factored."""
        return int(self.space.Q.shape[1])

    @cached_property
    def order(self) -> tuple[int, ...]:
        """Place of the leading factor, then of the tail's, among the problem's groups."""
        return tuple(self.problem.by_size)

    @property
    def groups(self) -> tuple[Group, ...]:
        """The leading group, then the tail's."""
        return (self.system.leading, *self.system.tail.groups)

    @limited
    def at(self, factors: Factors) -> KrylovPoint:
        """Eliminate the leading factor at given factors, and scale the tail."""
        return KrylovPoint(self, Scaled.at(self.system, factors))
