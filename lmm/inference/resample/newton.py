"""Newton steps of many fits at once, damped by the rule of `lmm.optimize.newton`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lmm._types import Matrix, Vector


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
