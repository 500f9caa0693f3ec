"""The profiled criterion of one variance parameter on a grid of the caller's choice."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lmm._threads import blas_threads
from lmm._types import Frozen, Vector
from lmm.fit import Fit
from lmm.inference.profile.path import ProfilePoint, first_point, predicted, settle, walk
from lmm.inference.profile.targets import Target, variance_target
from lmm.inference.variance.reported import VarianceParameter, find_parameter

# Size of zeta at the ends of a range that the caller leaves open: a little beyond 99 %.
REACH = 2.7


@dataclass(frozen=True, eq=False)
class CriterionCurve(Frozen):
    """Rise of the criterion as one parameter is fixed and all others are optimized.

    Attributes
    ----------
    parameter : str
        R's name.
    reml : bool
        Whether the criterion is the REML criterion (else the deviance).
    estimate : float
        The fitted value of the parameter.
    values : (N,) array
        Values of the parameter, ascending.
    difference : (N,) array
        Criterion there minus its minimum: -2 log profile (restricted) likelihood ratio, to be
        compared with quantiles of chi-square with one degree of freedom.
    """

    parameter: str
    reml: bool
    estimate: float
    values: Vector
    difference: Vector


def criterion_curve(
    fit: Fit, parameter: str, low: float | None = None, high: float | None = None, points: int = 41
) -> CriterionCurve:
    """Profile the criterion that was fitted, REML or ML, along one variance parameter.

    Arguments and errors as for `LinearMixedModel.profile_criterion`.
    """
    chosen = find_parameter(fit.matrices, parameter, fit.size_name)
    if points < 2:
        raise ValueError(f"points must be at least 2, not {points}.")
    with blas_threads(fit.criterion.dense_size):
        target = variance_target(chosen, fit.criterion, fit.optimum.theta, fit.sigma)
        first = first_point(target)
        t = _grid(chosen, target, first, low, high, points)
        below = _settled(target, first, t[t < first.t][::-1])
        above = _settled(target, first, t[t >= first.t])
    rise = np.array([point.value for point in [*below[::-1], *above]]) - first.value
    values = chosen.kind.from_working(t)
    estimate = chosen.value(fit.covariances, fit.size)
    return CriterionCurve(chosen.name, fit.reml, estimate, values, np.maximum(rise, 0.0))


def _grid(
    chosen: VarianceParameter,
    target: Target,
    first: ProfilePoint,
    low: float | None,
    high: float | None,
    points: int,
) -> Vector:
    """Working coordinates of the values."""
    ends = []
    for end, sign in ((low, -1.0), (high, 1.0)):
        if end is None:
            path = walk(target, first, sign, REACH)
            reached = path[-1].t if path else first.t
            ends.append(float(chosen.kind.from_working(np.array(reached))))
        else:
            ends.append(float(end))
    allowed = chosen.kind.from_working(np.array(target.bounds))
    if not allowed[0] <= ends[0] < ends[1] <= allowed[1]:
        raise ValueError(
            f"The range of {chosen.name} must be ascending and within [{allowed[0]:g}, "
            f"{allowed[1]:g}], not from {ends[0]:g} to {ends[1]:g}."
        )
    return chosen.kind.to_working(np.linspace(ends[0], ends[1], points))


def _settled(target: Target, first: ProfilePoint, grid: Vector) -> list[ProfilePoint]:
    """Points along a grid that leads away from the estimate."""
    path, points = [first], []
    for t in grid.tolist():
        if not np.isclose(t, path[-1].t, rtol=1e-9, atol=0.0):
            path.append(settle(target, t, predicted(path, t)))
        points.append(path[-1])
    return points
