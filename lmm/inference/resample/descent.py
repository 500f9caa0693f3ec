"""Newton steps of many fits at once, by the rules of `lmm.optimize.steps`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lmm._types import IntVector, Matrix, Vector
from lmm.optimize.steps import (
    HOPELESS,
    SETTLED,
    damped,
    is_settled,
    is_stalled,
    promised,
    solved,
    unit,
)

MAX_STEPS = 60
# Steps are no longer than this times the larger of 1 and the largest coordinate.
FURTHEST = 2.0
# Keeps what is divided by from zero.
TINY = 1e-300


@dataclass(frozen=True, eq=False)
class Local:
    """Criterion of r fits with its derivatives in x."""

    value: Vector
    gradient: Matrix
    hessian: Matrix
    slopes: Matrix

    def __getitem__(self, chosen: NDArray[np.bool_]) -> Local:
        return Local(
            self.value[chosen], self.gradient[chosen], self.hessian[chosen], self.slopes[chosen]
        )

    def where(self, better: NDArray[np.bool_], other: Local) -> Local:
        """Take the other's where that is better."""
        return Local(
            np.where(better, other.value, self.value),
            np.where(better[:, None], other.gradient, self.gradient),
            np.where(better[:, None, None], other.hessian, self.hessian),
            np.where(better[:, None], other.slopes, self.slopes),
        )


def newton_steps(here: Local, damping: Vector | float = 0.0) -> tuple[Matrix, Vector]:
    """Newton's steps (r, m), and the largest curvatures (r,)."""
    eigenvalues, vectors = np.linalg.eigh(here.hessian)
    size = np.maximum(np.abs(eigenvalues).max(axis=1), TINY)
    return -solved(eigenvalues, vectors, here.gradient, damping, size), size


def descend(
    local: Callable[[Matrix, IntVector], Local], x: Matrix
) -> tuple[Matrix, NDArray[np.bool_]]:
    """Damped Newton steps of all fits at once; those that have converged drop out.

    Parameters
    ----------
    local : callable
        The criterion at points (s, m) of s chosen fits.
    x : (r, m) array
        Where they start.

    Returns
    -------
    x : (r, m) array
        Where they end.
    stationary : (r,) array of bool
        Which of them have converged.
    """
    x, active = x.copy(), np.arange(len(x))
    damping: Vector = np.zeros(len(x))
    stationary, stalled = np.zeros((2, len(x)), dtype=np.bool_)
    here = local(x, active)
    for _ in range(MAX_STEPS):
        step, size = newton_steps(here, damping)
        promise, scale = promised(here.gradient, here.hessian, step), unit(here.value)
        ended = stalled | is_settled(promise, damping, SETTLED * scale, size)
        stationary[active[ended]] = True
        going = ~ended & (damping < HOPELESS * size)
        active, here, damping = active[going], here[going], damping[going]
        step, size, scale = step[going], size[going], scale[going]
        if len(active) == 0:
            break
        longest = FURTHEST * np.maximum(1.0, np.abs(x[active]).max(axis=1))
        step *= (longest / np.maximum(longest, np.abs(step).max(axis=1)))[:, None]
        kept = np.maximum(promised(here.gradient, here.hessian, step), TINY)
        there = local(x[active] + step, active)
        better = there.value <= here.value
        gain = (here.value - there.value) / kept
        stalled = is_stalled(gain, kept, scale)
        x[active[better]] += step[better]
        here = here.where(better, there)
        damping = damped(damping, gain, size)
    return x, stationary
