"""Newton's step, how far it is trusted, and when to stop: of one search, or of many at once.

Pure functions of values and derivatives, of which leading axes (...) belong to separate searches.
Fits (`lmm.optimize.newton`), profiles and batches of fits (`lmm.inference.resample.descent`) are
loops around them, and share their tolerances.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmm._types import Matrix, Vector

# A step is as good as predicted above the one fraction of the promised decrease, and a failure
# below the other.
GOOD, POOR = 0.75, 0.25
# Damping that is first tried, and that leaves nothing of a step.
DAMPED, HOPELESS = 0.1, 1e12
# Curvatures, beside the largest, are cut off at this size.
FLAT = 1e-10
# A stationary point is a saddle if an eigenvalue of the Hessian, beside the largest, is below this.
SADDLE = -1e-6
# A step that promised less than this and did not deliver was lost in rounding errors.
STALLED = 1e-7
# Rounding errors of the criterion that leave nothing of a minimum.
LOST = 0.1
# ... beside the criterion, that are usual.
ROUNDING = 1e-14
# Promised decreases that end a search. What the last step leaves, when it is then taken on trust
# with the exact Hessian, is of order promise^(3/2); where it is not taken, all of it is left.
TRUSTED, SETTLED = 1e-5, 1e-10


def unit(value: Any) -> Any:
    """What counts as a small difference of criteria (...) of this size, beside the tolerances."""
    return np.maximum(1.0, 1e-3 * np.abs(value))


def hidden(value: Any, rounding: Any = 0.0) -> Any:
    """Differences of criteria (...) of this size that rounding errors hide; derivatives tell."""
    return np.maximum(ROUNDING * np.abs(value), rounding)


def solved(
    values: Vector, directions: Matrix, right: Vector, damping: Any = 0.0, size: Any = 1.0
) -> Vector:
    """The Hessian's inverse times vectors, with absolute eigenvalues plus damping.

    Parameters
    ----------
    values, directions : (..., r) and (..., c, r) arrays
        Eigenvalues and their directions.
    right : (..., c) array
        The vectors.
    damping : float or (...) array
        Added to each eigenvalue.
    size : float or (...) array
        Largest curvature, in the units of the damping; 1 in the metric of a local model.
    """
    flat, damping = (np.asarray(one)[..., None] for one in (FLAT * size, damping))
    along = (right[..., None, :] @ directions)[..., 0, :]
    along /= np.maximum(np.abs(values), flat) + damping
    return np.asarray((directions @ along[..., None])[..., 0])


def promised(gradient: Vector, hessian: Matrix, step: Vector) -> Any:
    """Decreases (...) that quadratic models predict for steps (..., c); no gain from curvature."""
    column = step[..., None]
    linear = (gradient[..., None, :] @ column)[..., 0, 0]
    curved = (step[..., None, :] @ hessian @ column)[..., 0, 0]
    return -linear - 0.5 * np.maximum(curved, 0.0)


def damped(damping: Any, gain: Any, size: Any = 1.0) -> Vector:
    """Damping (...) after steps that delivered `gain` (...) times the promised decrease.

    Parameters
    ----------
    damping, gain : (...) arrays
        Of each search.
    size : float or (...) array
        Largest curvature, in the units of the damping; 1 in the metric of a local model.
    """
    least = DAMPED * size
    eased = np.where(damping < DAMPED * least, 0.0, 0.1 * damping)
    kept = np.where(gain >= POOR, damping, np.maximum(4.0 * damping, least))
    return np.where(gain > GOOD, eased, kept)


def is_settled(promise: Any, damping: Any, tolerance: Any, size: Any = 1.0) -> Any:
    """Whether next to nothing is promised, by steps that damping has not made small."""
    return (damping <= size) & (promise < tolerance)


def is_stalled(gain: Any, kept: Any, unit: Any) -> Any:
    """Whether steps did not deliver because what they promised is lost in rounding errors."""
    return (gain < POOR) & (kept < STALLED * unit)


def curves_down(values: Vector, size: Any = 1.0) -> NDArray[np.bool_]:
    """Which eigenvalues (..., r) of the Hessian are those of a saddle."""
    return np.asarray(values <= SADDLE * np.asarray(size)[..., None])
