"""Directions and probes: chosen once, at a reference point that depends on the data alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import hadamard

from lmm._types import IntVector, Matrix, Vector
from lmm.pls.base import Factors
from lmm.pls.effect_columns import Columns
from lmm.pls.krylov.deflation import Deflated, outlying
from lmm.pls.krylov.system import Scaled, System
from lmm.pls.krylov.traces import LogDeterminant
from lmm.pls.problem import Problem

if TYPE_CHECKING:
    from lmm.pls.choose import Krylov


# Directions that are taken out at first, and at most.
FIRST, MOST = 16, 512
# Up to so many levels of a group of the tail are taken out altogether: of one that another is
# nested in, which has an outlying eigenvalue for each level, and of any other.
NESTED, FEW = 512, 64
# Share of the error that twice as many directions must leave at most, to be worth it.
WORTH = 0.7
# Probes at most.
MANY = 128
# Least and largest deviations of the reference point, in units of the noise of a level's own mean.
LEAST, LARGEST = 0.3, 100.0
# Singular values of a direction's part in one column, below which the part is left in.
SLIGHT = 1e-2
# Share of the residuals in the variance, at least.
RESIDUAL = 0.1


@dataclass(frozen=True, eq=False)
class Space:
    """What makes the criterion one function of theta.

    Attributes
    ----------
    Q : (q, K) array
        Orthonormal directions, each within one column of one group: signs of deviations do not
        matter.
    probes : (q, T) array
        Random signs. Those of one draw stand side by side, `repeats` of them, with the signs of the
        tail's columns switched in an orthogonal pattern, so that the columns' products cancel.
    repeats : int
        Probes per draw.
    """

    Q: Matrix
    probes: Matrix
    repeats: int

    @classmethod
    def of(cls, problem: Problem, system: System, options: Krylov) -> Space:
        """Choose as many as the tolerance asks for."""
        scaled = Scaled.at(system, reference(problem, system))
        start = Deflated.of(scaled, _known(problem, scaled))
        count, draws = FIRST, options.probes
        space = cls._drawn(start, count, draws, options.seed)
        error = space.error(scaled)
        while error > options.tolerance:
            if 2 * count <= MOST:
                wider = cls._drawn(start, 2 * count, draws, options.seed)
                if (gained := wider.error(scaled)) < WORTH * error:
                    count, space, error = 2 * count, wider, gained
                    continue
            if draws >= MANY:
                break
            draws = min(MANY, int(np.ceil(draws * (error / options.tolerance) ** 2)))
            space = cls._drawn(start, count, draws, options.seed)
            error = space.error(scaled)
        return space

    @classmethod
    def _drawn(cls, start: Deflated, count: int, draws: int, seed: int) -> Space:
        """With so many directions beside those of `start`, and so many draws."""
        rng = np.random.default_rng(seed)
        tail = start.scaled.system.tail
        Q = np.hstack([start.Q, _by_column(tail, outlying(start, count, rng))])
        signs = _signs(tail)
        base = rng.choice([-1.0, 1.0], size=(tail.q, draws))
        Z = (base[:, :, None] * signs[:, None, :]).reshape(tail.q, -1)
        return cls(Q, Z, signs.shape[1])

    def error(self, scaled: Scaled) -> float:
        """Standard error of the log determinant."""
        draws = LogDeterminant.of(Deflated.of(scaled, self.Q), self.probes, self.repeats).draws
        return float(draws.std(ddof=1) / np.sqrt(len(draws)))


def _columns(tail: Columns) -> list[IntVector]:
    """Rows of each column of each group."""
    return [own[:, a] for own in tail.places for a in range(own.shape[1])]


def _signs(tail: Columns) -> Matrix:
    """Signs (q, h) that are orthogonal between columns of the tail."""
    columns = _columns(tail)
    pattern = hadamard(1 << (len(columns) - 1).bit_length())
    signs = np.empty((tail.q, len(pattern)))
    for rows, own in zip(columns, pattern, strict=False):
        signs[rows] = own
    return signs


def _known(problem: Problem, scaled: Scaled) -> Matrix:
    """Orthonormal directions (q, K) that the groups tell without a search.

    All of groups with few levels, and of those that another is nested in; of the latter what is the
    same within a level of the former, since only the prior tells one from the other.
    """
    tail, (_, *rest) = scaled.system.tail, problem.by_size
    parents = [_parents(problem, g, rest) for g in rest]
    coarse = {h for h, _ in filter(None, parents)}
    found = [np.empty((tail.q, 0))]
    for g, part, own, root, above in zip(
        rest, tail.parts, tail.places, scaled.roots, parents, strict=True
    ):
        if g in coarse or problem.groups[g].n_levels <= FEW:
            found.append(np.eye(tail.q, part.stop - part.start, -part.start))
        elif above:
            h, level = above
            for a, rows in enumerate(own.T):
                block = np.zeros((tail.q, problem.groups[h].n_levels))
                block[rows, level] = root[a, a]
                found.append(block / np.sqrt(np.einsum("ij,ij->j", block, block)))
    return np.hstack(found)


def _parents(problem: Problem, g: int, others: list[int]) -> tuple[int, IntVector] | None:
    """The finest group with few levels that a group is nested in, and the level for each of its."""
    groups = problem.groups
    for h in sorted(others, key=lambda h: -groups[h].n_levels):
        if h != g and groups[h].n_levels <= min(NESTED, groups[g].n_levels):
            level = problem.products.parents(g, h)
            if level is not None:
                return h, level
    return None


def _by_column(tail: Columns, directions: Matrix) -> Matrix:
    """Orthonormal directions (q, K) that span the others' parts in each column of the tail."""
    found = []
    for rows in _columns(tail):
        U, values, _ = np.linalg.svd(directions[rows], full_matrices=False)
        block = np.zeros((tail.q, len(values)))
        block[rows] = U
        found.append(block[:, values > SLIGHT])
    return np.hstack(found)


def reference(problem: Problem, system: System) -> Factors:
    """Diagonal factors by moments, column by column: sums of ``c^2 = (A psi + s^2) A``."""
    blocks = [(system.leading, system.A, system.C[-1])]
    borders = system.tail.by_level(system.border)
    for group, A, C in zip(system.tail.groups, system.blocks, borders, strict=True):
        blocks.append((group, A, C[-1]))
    total = float(problem.base[-1, -1]) / problem.n
    variances: dict[int, Vector] = {}
    explained = 0.0
    for group, A, c in blocks:
        sizes = np.einsum("aam->am", A)
        psi = (c**2 - total * sizes).sum(axis=1) / np.maximum((sizes**2).sum(axis=1), 1e-300)
        psi = np.maximum(psi, 0.0)
        explained += float(psi @ sizes.sum(axis=1)) / problem.n
        variances |= {i: psi[part] for i, part in group.members}
    noise = max(total - explained, RESIDUAL * total) or 1.0
    return tuple(
        np.diag(np.clip(np.sqrt(variances[i] / noise), LEAST, LARGEST))
        for i in range(len(variances))
    )
