"""Newton steps of many fits at once, damped by the rule of `lmm.optimize.newton`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lmm._types import IntVector, Matrix, Vector
from lmm.inference.resample.replicates import ROUNDING
from lmm.optimize.newton import damped

MAX_STEPS = 60
# A fit has converged when the quadratic model promises a smaller decrease of the criterion.
TOLERANCE = 1e-10
# Steps are no longer than this times the larger of 1 and the largest coordinate.
FURTHEST = 2.0


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


def newton_steps(here: Local, damping: Vector) -> tuple[Matrix, Vector, Vector]:
    """Steps with |eigenvalues| + damping (r, m), promised decreases, largest |eigenvalues|."""
    eigenvalues, vectors = np.linalg.eigh(here.hessian)
    size = np.abs(eigenvalues)
    scale = size.max(axis=1)
    along = np.einsum("rij,ri->rj", vectors, here.gradient)
    curvature = np.maximum(size, 1e-10 * scale[:, None]) + damping[:, None]
    curvature[curvature == 0.0] = 1.0
    coefficients = -along / curvature
    step = np.einsum("rij,rj->ri", vectors, coefficients)
    return step, -0.5 * np.einsum("rj,rj->r", along, coefficients), scale


def predicted(here: Local, step: Matrix) -> Vector:
    """Decreases that the quadratic model predicts; kept positive."""
    linear = np.einsum("ri,ri->r", here.gradient, step)
    quadratic = 0.5 * np.einsum("ri,rij,rj->r", step, here.hessian, step)
    model = -(linear + np.maximum(quadratic, 0.0))
    return np.asarray(np.maximum(np.maximum(model, -0.5 * linear), 1e-300))


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
    x = x.copy()
    active = np.arange(len(x))
    damping: Vector = np.zeros(len(x))
    here = local(x, active)
    for _ in range(MAX_STEPS):
        step, promise, scale = newton_steps(here, damping)
        close = promise < np.maximum(TOLERANCE, ROUNDING * np.abs(here.value))
        moving = ~(close & (damping <= scale))
        active, here = active[moving], here[moving]
        damping, step, scale = damping[moving], step[moving], scale[moving]
        if len(active) == 0:
            break
        longest = FURTHEST * np.maximum(1.0, np.abs(x[active]).max(axis=1))
        step *= (longest / np.maximum(longest, np.abs(step).max(axis=1)))[:, None]
        there = local(x[active] + step, active)
        better = there.value <= here.value
        gain = (here.value - there.value) / predicted(here, step)
        x[active[better]] += step[better]
        here = here.where(better, there)
        damping = damped(damping, gain, scale)
    stationary = np.ones(len(x), dtype=bool)
    stationary[active] = False
    return x, stationary
