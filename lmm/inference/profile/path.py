"""Following a profile: settle the other parameters at each grid point, predict the next start.

With H the Hessian of the likelihood in (w, t), the optimum moves along

    dw/dt = -H_ww^-1 H_wt                                                                      (1)
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, fields

import numpy as np

from lmm._types import Vector
from lmm.criterion import Evaluation, Move, PlainCriterion
from lmm.errors import NumericalError
from lmm.inference.profile.targets import Section, Target
from lmm.optimize import silent
from lmm.optimize.newton import Walk, leave_saddle
from lmm.optimize.newton import settle as settled
from lmm.optimize.steps import SETTLED, TRUSTED

# Distance in zeta between grid points.
STEP = 0.6
# Points on one side of the estimate, at most.
MAX_POINTS = 60
# Times a step is halved until the likelihood can be computed where it ends.
HALVINGS = 6
# Evaluations for one point, at most.
MAX_STEPS = 300
# The same with average information for the Hessian: far from the estimate it may lead nowhere.
MAX_INEXACT = 40


@dataclass(frozen=True, eq=False)
class ProfilePoint:
    """A settled point of a profile.

    Attributes
    ----------
    t : float
        The fixed coordinate.
    w : (d,) array
        The others at their optimum.
    value, slope, curvature : float
        -2 log-likelihood there and its derivatives in t along the profile. The curvature is NaN
        where mixed derivatives are not known.
    tangent : (d,) array or None
        dw/dt of (1), where it is known.
    n_evaluations : int
        What it cost.
    """

    t: float
    w: Vector
    value: float
    slope: float
    curvature: float
    tangent: Vector | None
    n_evaluations: int

    def zeta(self, minimum: float, sign: float) -> float:
        """Signed root of the rise above a minimum."""
        return sign * float(np.sqrt(max(self.value - minimum, 0.0)))


@dataclass(frozen=True)
class _Place(Evaluation):
    """The likelihood at fixed t near a point, as a search sees it."""

    section: Section


@dataclass(frozen=True, eq=False)
class _AtFixed(PlainCriterion):
    """The likelihood at fixed t as a criterion of the other coordinates w."""

    def evaluate(self, x: Vector, move: Move | None = None) -> _Place:
        """The likelihood with its derivatives at w (d,).

        Raises
        ------
        NumericalError
            A step went so far that it cannot be computed.
        """
        try:
            here: Section = self.function(x)
        except np.linalg.LinAlgError as error:
            raise NumericalError(str(error)) from error
        if not (np.isfinite(here.value) and np.isfinite(here.hessian).all()):
            raise NumericalError("The likelihood is not finite.")
        plain = Evaluation.plain(here.value, here.gradient, here.hessian, exact=here.exact)
        values = {field.name: getattr(plain, field.name) for field in fields(plain)}
        return _Place(**values, section=here)


class Breakdown(NumericalError):
    """The likelihood cannot be computed at a value of the parameter."""


def settle(target: Target, t: float, w: Vector, fallback: Vector | None = None) -> ProfilePoint:
    """Minimize over w at fixed t by the Newton steps of `lmm.optimize.newton`.

    Parameters
    ----------
    target : Target
        The parameter.
    t : float
        Its value.
    w : (d,) array
        Start.
    fallback : (d,) array, optional
        Start where the likelihood cannot be evaluated at the first one.

    Raises
    ------
    NumericalError
        The minimum was not found.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        search = _search(target, t, w, fallback)
        if not search.point.here.exact:
            search.limit = MAX_INEXACT
        tolerance = TRUSTED if search.point.here.exact else SETTLED
        tolerance /= search.unit
        while settled(search, tolerance):
            if not leave_saddle(search, tolerance):
                return _point(target, t, search)
        if search.exhausted and not search.point.here.exact:
            return settle(target.exactly, t, search.point.x)
    if search.exhausted:
        raise NumericalError(
            f"The profile of {target.name} did not settle at {t:.6g} (working scale) in "
            f"{MAX_STEPS} evaluations. The likelihood may be flat in another parameter: simplify "
            "the random effects."
        )
    return _point(target, t, search)  # no step descends: rounding of the likelihood itself


def _search(target: Target, t: float, w: Vector, fallback: Vector | None) -> Walk:
    """A walk that begins at w, or where that cannot be evaluated at the fallback."""
    floor, ceiling = target.box
    for start in (w, fallback):
        if start is not None:
            start = np.clip(start, floor, ceiling)
            criterion = _AtFixed(target.at(t), start, least=floor, most=ceiling)
            with suppress(NumericalError):
                return Walk(criterion, start, silent, MAX_STEPS)
    raise Breakdown(
        f"The likelihood breaks down on the profile of {target.name} at {t:.6g} (working scale)."
    )


def _point(target: Target, t: float, search: Walk) -> ProfilePoint:
    """The point that the last Newton step leads to, without evaluating there."""
    model, here = search.point.model, search.point.here
    assert isinstance(here, _Place)
    step = model.newton_step()
    promise = max(model.promise(step, model.hessian), 0.0)
    w, taken = model.follow(step)
    value = here.value - promise
    section = here.section
    if section.cross is None:
        return ProfilePoint(t, w, value, target.slope(t, w), np.nan, None, search.n)
    tangent = model.jacobian @ model.solve(section.cross @ model.jacobian)
    slope = section.slope + float(section.cross @ model.jacobian @ taken)
    curvature = section.bend - float(section.cross @ tangent)
    return ProfilePoint(t, w, value, slope, curvature, -tangent, search.n)


def first_point(target: Target) -> ProfilePoint:
    """The estimate itself, settled."""
    return settle(target, *target.start)


def walk(target: Target, first: ProfilePoint, sign: float, cutoff: float) -> list[ProfilePoint]:
    """Points from the estimate in one direction until zeta passes the cutoff or t its bound.

    They end before where the likelihood does: a link may allow no other values.

    Parameters
    ----------
    target : Target
        The parameter.
    first : ProfilePoint
        The estimate.
    sign : {-1.0, 1.0}
        Direction.
    cutoff : float
        Size of zeta at which to stop.

    Returns
    -------
    list of Point
        Without the first one; empty if the estimate is at the bound.
    """
    points = [first]
    lower, upper = target.bounds
    bound = lower if sign < 0.0 else upper
    while len(points) <= MAX_POINTS and points[-1].t != bound:
        if abs(points[-1].zeta(first.value, sign)) >= cutoff:
            break
        point = _farther(target, points, sign * _distance(target, points))
        if point is None:
            break
        points.append(point)
    return _retraced(target, points)[1:]


def _farther(target: Target, points: list[ProfilePoint], step: float) -> ProfilePoint | None:
    """The next point, as far away as the likelihood can be computed; None where it ends."""
    last = points[-1]
    for size in 0.5 ** np.arange(HALVINGS + 1):
        t = float(np.clip(last.t + size * step, *target.bounds))
        with suppress(Breakdown):
            return settle(target, t, predicted(points, t), last.w)
    return None


def _retraced(target: Target, points: list[ProfilePoint]) -> list[ProfilePoint]:
    """Points settled again from the next one outwards, where that one lies lower.

    A descending profile has passed from one local minimum of the other parameters to another,
    which may be the lower one for some way back.
    """
    for i in range(len(points) - 2, 0, -1):
        if points[i].value > points[i + 1].value:
            with suppress(Breakdown):
                again = settle(target, points[i].t, points[i + 1].w)
                points[i] = min(points[i], again, key=lambda point: point.value)
    return points


def _distance(target: Target, points: Sequence[ProfilePoint]) -> float:
    """How far to go in t for `STEP` in zeta, from the slopes of the last two points."""
    first, last = points[0], points[-1]
    if len(points) == 1:
        rate = np.sqrt(0.5 * first.curvature) if first.curvature > 0.0 else 0.0
        longest = 10.0 * target.unit
        return min(STEP / rate, longest) if rate > 0.0 else target.unit
    before = points[-2]
    previous = abs(last.t - before.t)
    rates = [
        abs(point.slope) / (2.0 * abs(point.zeta(first.value, 1.0)))
        for point in (before, last)
        if point.value > first.value
    ]
    rising = (last.slope > 0.0) == (last.t > first.t)
    if not rates or not rising or rates[-1] <= 0.0:
        return previous
    distance = STEP / rates[-1]
    if len(rates) == 2:  # where the rate is expected halfway
        change = (rates[1] - rates[0]) / previous
        distance = STEP / max(rates[1] + 0.5 * change * distance, 0.5 * rates[1])
    return float(min(distance, 3.0 * previous))


def predicted(points: Sequence[ProfilePoint], t: float) -> Vector:
    """Start for w at t: from values and tangents of the last points."""
    last = points[-1]
    h = t - last.t
    if last.tangent is None:
        return _lagrange(points[-3:], t)
    if len(points) == 1 or points[-2].tangent is None:
        return last.w + h * last.tangent
    turn = (last.tangent - points[-2].tangent) / (last.t - points[-2].t)
    return np.asarray(last.w + h * last.tangent + 0.5 * h * h * turn)


def _lagrange(points: Sequence[ProfilePoint], t: float) -> Vector:
    """Polynomial through the points, at t."""
    total = np.zeros_like(points[-1].w)
    for i, point in enumerate(points):
        others = [other.t for j, other in enumerate(points) if j != i]
        total += point.w * np.prod([(t - o) / (point.t - o) for o in others])
    return total
