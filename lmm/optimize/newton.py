"""Damped Newton steps along a criterion: to a stationary point, and off a saddle.

Damping in the manner of Levenberg and Marquardt (`lmm.optimize.steps`), in the metric of the local
model (`lmm.optimize.charts`), reacts to how well the quadratic model predicted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from lmm._types import Vector
from lmm.criterion import Criterion, Move
from lmm.errors import NumericalError
from lmm.optimize.charts import LocalModel
from lmm.optimize.point import Point
from lmm.optimize.steps import (
    HOPELESS,
    LOST,
    STALLED,
    curves_down,
    damped,
    hidden,
    is_settled,
    is_stalled,
    unit,
)

Report = Callable[[int, float, Vector], None]

# Coordinates that differ relatively by less have the same minimum near them.
NEIGHBOUR = 0.05
# Steps off a saddle, in the metric.
LEAPS = (1.0, 0.25, 0.0625, 0.015625)


def value_at(criterion: Criterion, x: Vector) -> float:
    """The criterion at x (d,); infinite where it cannot be computed."""
    try:
        value = criterion.value(x)
    except NumericalError:  # gone too far: the factorization breaks down
        return np.inf
    return value if np.isfinite(value) else np.inf


class Walk:
    """The current point of a descent; every trial is counted and reported.

    Parameters
    ----------
    criterion : Criterion
        What is minimized.
    start : (d,) array
        Where to begin.
    report : callable
        Called as ``report(count, value, x)`` after each evaluation.
    limit : int
        Limit on evaluations.
    before : Walk, optional
        A walk that has ended: evaluations count on from it, and to come close to its point ends
        this one.
    """

    def __init__(
        self,
        criterion: Criterion,
        start: Vector,
        report: Report,
        limit: int,
        before: Walk | None = None,
    ):
        self.criterion, self.report, self.limit = criterion, report, limit
        self.known: Point | None = None if before is None else before.point
        self.point: Point = Point.at(criterion, start)
        self.tried = self.point.value
        self.n: int = 1 if before is None else before.n + 1
        self.first = self.n
        report(self.n, self.tried, start)

    @property
    def exhausted(self) -> bool:
        """Whether the limit on evaluations is reached."""
        return self.n >= self.limit

    @property
    def lost(self) -> bool:
        """Whether rounding errors leave nothing of the criterion."""
        return not self.point.here.rounding < LOST

    @property
    def over(self) -> bool:
        """Whether evaluations ran out, or the walk is lost or where one has ended before."""
        known = self.known is not None and self._is_near(self.known)
        return self.exhausted or self.lost or known

    def _is_near(self, known: Point) -> bool:
        x, end = self.point.x, known.x
        return bool(np.all(np.abs(x - end) <= NEIGHBOUR * (NEIGHBOUR + np.abs(end))))

    @property
    def unit(self) -> float:
        """What counts as a small difference of the criterion, relative to the tolerances."""
        return float(unit(self.point.value))

    def complete(self) -> bool:
        """Have the exact Hessian at the point; True where it was not known before."""
        before = self.point
        self.point = before.completed()
        return self.point is not before

    def lower(self, candidates: Sequence[Vector]) -> list[Vector]:
        """The candidate (d,) of the lowest value, if that is below the current one."""
        if not candidates:
            return []
        values = [value_at(self.criterion, x) for x in candidates]
        for x, value in zip(candidates, values, strict=True):
            self.n += 1
            self.report(self.n, value, x)
        lowest = int(np.argmin(values))
        return [candidates[lowest]] if values[lowest] < self.point.value - STALLED else []

    def follow(self, step: Vector) -> tuple[Vector, Vector]:
        """Where a step (c,) leads, (d,), and the step as taken: no longer than can be trusted."""
        return self._trusted(self.point.model.follow, step)

    def score(self, step: Vector) -> tuple[Vector, Vector]:
        """The same of a scoring step."""
        return self._trusted(self.point.model.score, step)

    def _trusted(
        self, path: Callable[[Vector], tuple[Vector, Vector]], step: Vector
    ) -> tuple[Vector, Vector]:
        target, taken = path(step)
        share = self.point.here.share(self.point.model.jacobian @ taken)
        return (target, taken) if share >= 1.0 else path(share * step)

    def descend(self, target: Vector, taken: Vector, promise: float) -> bool:
        """Evaluate `target` (d,), reached by a step (c,); move there unless the criterion grows.

        Where rounding errors hide what is promised, the gradient decides.
        """
        self.n += 1
        move = Move(self.point.here, self.point.model.jacobian @ taken, promise)
        try:
            there = Point.at(self.criterion, target, move)
        except NumericalError:  # a step gone too far: the factorization breaks down
            self.tried = np.inf
            return False
        self.tried = there.value
        self.report(self.n, there.value, target)
        if not (there.value <= self.point.value or self._flattens(there, promise)):
            return False
        self.point = there
        return True

    def _flattens(self, there: Point, promise: float) -> bool:
        """Whether a step that promised too little to be seen leaves less of the gradient."""
        noise = hidden(self.point.value, self.point.here.rounding)
        unseen = promise < noise and there.value <= self.point.value + noise
        return bool(unseen) and there.decrement < self.point.decrement


def settle(walk: Walk, tolerance: float) -> bool:
    """Damped Newton steps until stationary; False when evaluations ran out or no step helps.

    Parameters
    ----------
    walk : Walk
        The descent.
    tolerance : float
        Promised decrease of the criterion that is nothing (times `Walk.unit`).
    """
    damping = 0.0
    while not walk.over and damping < HOPELESS:
        model, unit = walk.point.model, walk.unit
        step = model.newton_step(damping)
        promise = model.promise(step, model.hessian)
        if is_settled(promise, damping, tolerance * unit):
            return True
        target, taken = walk.follow(step)
        kept = model.promise(taken, model.hessian)
        gain = 0.0
        # A step that the boundary has cut short may no longer point downwards.
        if kept > 0.1 * promise:
            before = walk.point.value
            walk.descend(target, taken, kept)
            gain = (before - walk.tried) / kept
            if is_stalled(gain, kept, unit):
                return True
        damping = float(damped(damping, gain))
    return False


def escapes(walk: Walk, tolerance: float) -> list[Vector]:
    """Steps (c,) from a stationary point along which the criterion curves downwards.

    One unit of the metric long, and no longer than the sizes of the covariances themselves; only
    those that promise more than the tolerance, so that a flat valley is no saddle.
    """
    model = walk.point.model
    values, directions = model.spectrum
    steps = []
    for direction in directions[:, curves_down(values)].T:
        step = direction / max(1.0, float(np.abs(direction[model.relative]).max(initial=0.0)))
        if _descent(model, step) > tolerance * walk.unit:
            steps.append(step)
    return steps


def _descent(model: LocalModel, step: Vector) -> float:
    """Decrease that negative curvature promises."""
    return -0.5 * float(step @ model.hessian @ step)


def leave_saddle(walk: Walk, tolerance: float) -> bool:
    """Take one of the `escapes`, shortened until it descends; False when none does."""
    origin = walk.point
    for direction in escapes(walk, tolerance):
        for size in LEAPS:
            for step in (size * direction, -size * direction):
                if walk.exhausted:
                    return False
                target, taken = walk.follow(step)
                walk.descend(target, taken, _descent(origin.model, taken))
                if walk.point.value < origin.value:
                    return True
                walk.point = origin  # where it is as high elsewhere, nothing is gained
    return False
