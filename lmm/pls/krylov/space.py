"""Directions and probes: chosen once, at a reference point that depends on the data alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import hadamard

from lmm._types import IntVector, Matrix, Vector
from lmm.pls.base import Factors
from lmm.pls.krylov.deflation import Deflated, outlying
from lmm.pls.krylov.system import Scaled, System
from lmm.pls.krylov.traces import LogDeterminant
from lmm.pls.problem import Problem
from lmm.pls.tail import Tail

if TYPE_CHECKING:
    from lmm.pls.choose import Krylov

__all__ = ["Space"]

# Directions that are taken out at first, and at most.
FIRST, MOST = 16, 512
# Up to so many levels of a group of the tail are taken out altogether.
FEW = 64
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
        count, draws = FIRST, options.probes
        space = cls._drawn(scaled, count, draws, options.seed)
        error = space.error(scaled)
        while error > options.tolerance:
            wider = cls._drawn(scaled, 2 * count, draws, options.seed)
            gained = wider.error(scaled)
            if space.Q.shape[1] < wider.Q.shape[1] and 2 * count <= MOST and gained < 0.7 * error:
                count, space, error = 2 * count, wider, gained
                continue
            wanted = int(np.ceil(draws * (error / options.tolerance) ** 2))
            if draws >= MANY:
                break
            draws = min(MANY, wanted)
            space = cls._drawn(scaled, count, draws, options.seed)
            error = space.error(scaled)
        return space

    @classmethod
    def _drawn(cls, scaled: Scaled, count: int, draws: int, seed: int) -> Space:
        rng = np.random.default_rng(seed)
        tail = scaled.system.tail
        Q = _by_column(tail, outlying(scaled, min(count, tail.q), rng)[1])
        signs = _signs(tail)
        base = rng.choice([-1.0, 1.0], size=(tail.q, draws))
        Z = (base[:, :, None] * signs[:, None, :]).reshape(tail.q, -1)
        return cls(Q, Z, signs.shape[1])

    def error(self, scaled: Scaled) -> float:
        """Standard error of the log determinant."""
        draws = LogDeterminant.of(Deflated.of(scaled, self.Q), self.probes, self.repeats).draws
        return float(draws.std(ddof=1) / np.sqrt(len(draws)))


def _columns(tail: Tail) -> list[IntVector]:
    """Rows of each column of each group."""
    return [own[:, a] for own in tail.places for a in range(own.shape[1])]


def _signs(tail: Tail) -> Matrix:
    """Signs (q, h) that are orthogonal between columns of the tail."""
    columns = _columns(tail)
    pattern = hadamard(1 << (len(columns) - 1).bit_length())
    signs = np.empty((tail.q, len(pattern)))
    for rows, own in zip(columns, pattern, strict=False):
        signs[rows] = own
    return signs


def _by_column(tail: Tail, directions: Matrix) -> Matrix:
    """Orthonormal directions (q, K) that span the others' parts in each column of the tail."""
    found = []
    for rows in _columns(tail):
        if len(rows) <= FEW:
            own = np.eye(len(rows))
        else:
            U, values, _ = np.linalg.svd(directions[rows], full_matrices=False)
            own = U[:, values > SLIGHT]
        block = np.zeros((tail.q, own.shape[1]))
        block[rows] = own
        found.append(block)
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
