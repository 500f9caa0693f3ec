"""The verdict on the point where a search has ended, and its record."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from lmm._types import Vector
from lmm.criterion import Criterion, Estimated, Resumable
from lmm.errors import NumericalError
from lmm.optimize.newton import value_at
from lmm.optimize.optimizers import Path
from lmm.optimize.point import Point
from lmm.optimize.status import Optimum, Status
from lmm.optimize.steps import LOST, curves_down, hidden

# Columns of lambda* shorter than this are set to zero when the criterion does not object: a random
# effect 1e-5 times the noise of its level's mean changes the criterion by about 1e-10 per level.
SNAP = 1e-5
# A stationary point promises no larger decrease of the criterion than this (or than rounding).
STATIONARY, RELATIVE, MULTIPLE = 1e-6, 1e-11, 10.0
# No digit that is printed changes where less is promised: it is 1e-8 standard errors.
PRINTED = 1e-16
# Nor is a dear evaluation made where estimates are off by 1e-6 standard errors, or by up to 1e-5
# where the criterion is large.
SETTLED, LARGE = 1e-12, 100.0
# Random effects this many times as large as the noise of their level's mean leave no noise.
VAST = 1e6
# ... and this many times as large little of it.
DISTANT = 2e5
# Beyond this many times it is looked at whether the optimum lies where no noise is left.
SUSPICIOUS = 1e2
# Shares of a step along which the criterion must fall somewhere.
SIZES = (1.0, 0.1, 1e-2, 1e-3)
# Verdicts of the criterion itself, which may be about parameters that are no coordinates.
PROVED = (
    Status.SEPARATED,
    Status.EXACT,
    Status.END_OF_LINK,
    Status.EQUAL_WITHIN,
    Status.SINGLE_TRIALS,
)
# Parameters that a message lists at most.
NAMED = 6


def cleared(criterion: Criterion, x: Vector) -> Vector:
    """The point x (d,) with tiny columns of lambda* set to zero."""
    parameters = criterion.parameters
    m = len(parameters.lower)
    if m == len(x):
        return parameters.cleared(x, SNAP)
    return np.append(parameters.cleared(x[:m], SNAP), x[m:])


def judged(path: Path, optimizer: str) -> Optimum:
    """The record of a search that has ended, with a last Newton step where it has converged."""
    if (point := path.point.completed()) is not path.point:
        path = dataclasses.replace(path, point=point)
    status, where = _status(path)
    point, n_evaluations = path.point, path.n_evaluations
    criterion, x, value, state = point.criterion, point.x, point.value, None
    if status is Status.UNBOUNDED:
        point = _retreated(point)
        n_evaluations += 1
        x, value = point.x, point.value
        status = Status.UNBOUNDED if _falls(point) else Status.CONVERGED
    elif status is Status.CONVERGED and _is_settled(point):
        state = point.here.state
    elif status is Status.CONVERGED and point.decrement > PRINTED:
        x, value, state = _polished(point)
        n_evaluations += 1
    if status is Status.CONVERGED and (limit := _limit(criterion, x, value)):
        point, state = limit, None
        n_evaluations += 1
        x, value = point.x, point.value
    if state is None and x is point.x:
        state = point.here.kept
    theta = criterion.to_theta(x)
    error, theta_error = _errors(point, x, state)
    return Optimum(
        theta=theta,
        x=x,
        value=value,
        status=status,
        n_evaluations=n_evaluations,
        gradient=np.where(point.free, point.here.gradient, 0.0),
        decrement=point.decrement,
        hessian_eigenvalues=point.spectrum[0],
        boundary=_boundary(criterion, theta),
        exact_hessian=point.here.exact,
        solver=criterion.description,
        optimizer=optimizer,
        message="" if status is Status.CONVERGED else _advice(point, status, where),
        error=error,
        theta_error=theta_error,
        state=state,
    )


def _errors(point: Point, x: Vector, state: object) -> tuple[float, Vector | None]:
    """Standard errors of the criterion and of theta at x, near a point, if it is estimated."""
    criterion = point.criterion
    if not (isinstance(criterion, Estimated) and criterion.is_estimated):
        return 0.0, None
    hessian = np.where(np.outer(point.free, point.free), point.here.hessian, 0.0)
    return criterion.errors(x, hessian, state)


def _is_settled(point: Point) -> bool:
    """Whether a point is as good as an optimum, and the criterion can go on from it."""
    size = min(max(1.0, 1e-3 * abs(point.value)), LARGE)
    return point.here.state is not None and point.decrement < SETTLED * size


def _polished(point: Point) -> tuple[Vector, float, object]:
    """A last Newton step (x, value, state): it squares the distance to the optimum for a value.

    It is taken where the value is as low but for rounding errors, which hide what a short one
    gains. The certificate stays that of the point before it.
    """
    target, move = point.newton_move
    x = cleared(point.criterion, target)
    criterion, state = point.criterion, None
    if isinstance(criterion, Resumable):
        value, state = criterion.value_and_state(x, move)
    else:
        value = criterion.value(x)
    highest = point.value + hidden(point.value, point.here.rounding)
    return (x, value, state) if value <= highest else (point.x, point.value, point.here.state)


def _retreated(point: Point) -> Point:
    """The same covariances with more residual variance, so that estimates have digits left.

    What has a limit as sigma goes to zero (fixed effects and their standard errors) is near it.
    """
    size = _size(point.criterion, point.x)
    return _scaled(point.criterion, point.x, DISTANT / size) if size > DISTANT else point


def _limit(criterion: Criterion, x: Vector, value: float) -> Point | None:
    """The point where next to no noise is left, if the criterion is as low there as at x (d,).

    The way there is flat, and where a search gives up on it says nothing.
    """
    size = _size(criterion, x)
    if size <= SUSPICIOUS or size == DISTANT:
        return None
    try:
        limit = _scaled(criterion, x, DISTANT / size)
    except NumericalError:  # no digits are left there
        return None
    return limit if limit.value <= value + STATIONARY else None


def _size(criterion: Criterion, x: Vector) -> float:
    """The largest of the coordinates (d,) that grow with covariances."""
    return float(np.abs(x[_scales(criterion)]).max(initial=0.0))


def _scaled(criterion: Criterion, x: Vector, factor: float) -> Point:
    """The point with larger or smaller covariances of the same shape."""
    x = x.copy()
    x[_scales(criterion)] *= factor
    return Point.at(criterion, x)


def _falls(point: Point) -> bool:
    """Whether the criterion falls with log(1/sigma) where the residual variance is tiny.

    An exact fit changes it by -2(nu - r) per unit, r being the number of contrasts that the random
    effects reach: with an effect for each row by nothing, and the likelihood has its supremum at
    sigma = 0.
    """
    scales = _scales(point.criterion)
    return float(point.here.gradient[scales] @ point.x[scales]) < -1.0


def _scales(criterion: Criterion) -> NDArray[np.bool_]:
    """Coordinates (d,) that grow with the covariance: not correlations, which are bounded."""
    scales = criterion.parameters.scales
    others = len(criterion.lower) - len(scales)
    return np.append(scales, np.zeros(others, dtype=np.bool_)) if others else scales


def _status(path: Path) -> tuple[Status, NDArray[np.bool_]]:
    """The verdict, and the coordinates (d,) that it is about."""
    point = path.point
    tolerance = max(STATIONARY, RELATIVE * abs(point.value), MULTIPLE * point.here.rounding)
    stationary = point.decrement <= tolerance
    found = point.criterion.endless(point.x, point.here)
    if not found and not point.here.rounding < LOST:
        exactly = point.criterion.fits_exactly(point.x)
        return (Status.UNBOUNDED if exactly else Status.ROUNDING), _farthest(point, False)
    none = np.zeros(len(point.x), dtype=np.bool_)
    # Optima may lie at the end of a link; what does not get there is stuck.
    if found and not (Status[found[0]] is Status.END_OF_LINK and stationary and point.is_regular):
        return Status[found[0]], np.isin(point.criterion.names, list(found[1]))
    if stationary and point.is_regular:
        return Status.CONVERGED, none
    undetermined = point.criterion.undetermined(point.x, point.here)
    if undetermined.any():
        return Status.NOT_IDENTIFIED, undetermined
    if stationary:
        values, _ = point.model.spectrum
        if not curves_down(values).any():
            return Status.CONVERGED, none
        return Status.SADDLE, _farthest(point, True)
    covariances = point.x[: len(point.criterion.parameters.lower)]
    if np.abs(covariances).max(initial=0.0) > VAST:
        return Status.UNBOUNDED, _farthest(point, False)
    if not _delivers(point):
        return Status.ROUNDING, _farthest(point, False)
    stopped = Status.MAX_EVALUATIONS if path.exhausted else Status.NOT_STATIONARY
    return stopped, _farthest(point, False)


def _delivers(point: Point) -> bool:
    """Whether the criterion falls at all along a Newton step, as its derivatives promise."""
    model = point.model
    step = model.newton_step()
    targets = [model.follow(size * step)[0] for size in SIZES]
    return any(value_at(point.criterion, x) < point.value for x in targets)


def _farthest(point: Point, downwards: bool) -> NDArray[np.bool_]:
    """The coordinate (d,) that a Newton step, or one along negative curvature, moves most."""
    model = point.model
    step = model.spectrum[1][:, 0] if downwards else model.newton_step()
    change = np.abs(model.follow(step)[0] - point.x)
    return np.asarray(np.arange(len(change)) == np.argmax(change))


def _advice(point: Point, status: Status, where: NDArray[np.bool_]) -> str:
    """What to do, and the parameters that it is about."""
    criterion = point.criterion
    names = list(dict.fromkeys(np.array(criterion.names, dtype=object)[where]))
    if status in PROVED and (found := criterion.endless(point.x, point.here)):
        names = [
            f"{name} ({'+' if s > 0 else '-'}inf)" if s else name for name, s in found[1].items()
        ]
    if len(names) > NAMED:
        names = [*names[:NAMED], "..."]
    return f"{status.value} Parameter{'s' if len(names) > 1 else ''}: {', '.join(names)}."


def _boundary(criterion: Criterion, theta: Vector) -> tuple[str, ...]:
    """Names of the parameters that make a covariance singular."""
    parameters = criterion.parameters
    where = np.flatnonzero(parameters.on_boundary(theta[: len(parameters.lower)]))
    return tuple(criterion.names[i] for i in where) if len(where) else ()
