"""Following a profile: settle the other parameters at each grid point, predict the next start.

With H the Hessian of the likelihood in (w, t), the optimum moves along

    dw/dt = -H_ww^-1 H_wt                                                                      (1)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lmm._types import Vector
from lmm.errors import NumericalError
from lmm.inference.profile.targets import Section, Target

__all__ = ["Point", "first_point", "predicted", "settle", "walk"]

# Distance in zeta between grid points.
STEP = 0.6
# Points on one side of the estimate, at most.
MAX_POINTS = 60
# Newton steps for one point, at most.
MAX_STEPS = 100
# A point is settled when the quadratic model promises a smaller decrease than this. With the exact
# Hessian the last step is then taken on trust: what it leaves is of order promise^(3/2).
SETTLED = 1e-5
SETTLED_INEXACT = 1e-9
# Eigenvalues of the scaled Hessian below this fraction of the largest are rounding.
FLAT = 1e-9
# A negative eigenvalue of the scaled Hessian beyond this tells a saddle ...
SADDLE = 1e-4
# ... which is left by a step that should gain this much.
LEAP = 0.01


@dataclass(frozen=True, eq=False)
class Point:
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


@dataclass(frozen=True, eq=False)
class _Spectrum:
    """Hessian in the free components of w, scaled to a unit diagonal, by its eigenvalues."""

    free: NDArray[np.bool_]
    scale: Vector
    eigenvalues: Vector
    vectors: Vector

    @classmethod
    def of(cls, here: Section, free: NDArray[np.bool_]) -> _Spectrum:
        hessian = here.hessian[np.ix_(free, free)]
        diagonal = np.abs(np.diag(hessian))
        floor = max(1e-14 * float(diagonal.max(initial=0.0)), np.finfo(float).tiny)
        scale = 1.0 / np.sqrt(np.maximum(diagonal, floor))
        return cls(free, scale, *np.linalg.eigh(hessian * np.outer(scale, scale)))

    def solve(self, right: Vector) -> Vector:
        """|H|^-1 right (d,); zero for what is not free, and in flat directions."""
        size = np.abs(self.eigenvalues)
        flat = size <= FLAT * size.max(initial=0.0)
        along = self.vectors.T @ (self.scale * right[self.free])
        along = np.where(flat, 0.0, along / np.where(flat, 1.0, size))
        return self._spread(self.scale * (self.vectors @ along))

    def escape(self, below: Vector, above: Vector) -> Vector | None:
        """A step along negative curvature to the side with more room, or None at a minimum."""
        if not self.eigenvalues.size or self.eigenvalues[0] > -SADDLE:
            return None
        length = np.sqrt(2.0 * LEAP / -self.eigenvalues[0])
        step = self._spread(length * self.scale * self.vectors[:, 0])
        lost = [
            np.sum(np.minimum(below + side, 0.0) + np.minimum(above - side, 0.0))
            for side in (step, -step)
        ]
        return step if lost[0] >= lost[1] else -step

    def _spread(self, values: Vector) -> Vector:
        full = np.zeros(len(self.free))
        full[self.free] = values
        return full


def settle(target: Target, t: float, w: Vector, fallback: Vector | None = None) -> Point:
    """Minimize over w at fixed t by damped Newton steps from a start.

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
    section, (floor, ceiling) = target.at(t), target.box
    w = np.clip(w, floor, ceiling)
    here, n = _tried(section, w), 1
    if here is None:
        w = w if fallback is None else np.clip(fallback, floor, ceiling)
        here, n = _tried(section, w), 2
    if here is None:
        raise NumericalError(
            f"The likelihood breaks down on the profile of {target.name} at {t:.6g} "
            "(working scale)."
        )
    for _ in range(MAX_STEPS):
        inward = ((w > floor) | (here.gradient <= 0.0)) & ((w < ceiling) | (here.gradient >= 0.0))
        spectrum = _Spectrum.of(here, inward)
        step = -spectrum.solve(here.gradient)
        promise = -0.5 * float(here.gradient @ step)
        if promise < (SETTLED if here.exact else SETTLED_INEXACT):
            leap = spectrum.escape(w - floor, ceiling - w)
            if leap is None:
                return _settled(target, t, w, here, spectrum, step, promise, n)
            step = leap
        for size in 0.5 ** np.arange(30.0):
            n += 1
            further = np.clip(w + size * step, floor, ceiling)
            there = _tried(section, further)
            if there is not None and there.value <= here.value:
                w, here = further, there
                break
        else:  # no descent left: rounding of the likelihood itself
            return _settled(target, t, w, here, spectrum, 0.0 * step, 0.0, n)
    raise NumericalError(
        f"The profile of {target.name} did not settle at {t:.6g} (working scale) in {MAX_STEPS} "
        "steps. The likelihood may be flat in another parameter: simplify the random effects."
    )


def _tried(section: Callable[[Vector], Section], w: Vector) -> Section | None:
    """The likelihood at w; None where a step went so far that the factorization breaks down."""
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            here = section(w)
    except (NumericalError, np.linalg.LinAlgError):
        return None
    return here if np.isfinite(here.value) and np.isfinite(here.hessian).all() else None


def _settled(
    target: Target,
    t: float,
    w: Vector,
    here: Section,
    spectrum: _Spectrum,
    step: Vector,
    promise: float,
    n: int,
) -> Point:
    """The point that the last Newton step leads to, without evaluating there."""
    w = np.clip(w + step, *target.box)
    value = here.value - promise
    if here.cross is None:
        return Point(t, w, value, target.slope(t, w), np.nan, None, n)
    tangent = -spectrum.solve(here.cross)
    slope = here.slope + float(here.cross @ step)
    curvature = here.bend + float(here.cross @ tangent)
    return Point(t, w, value, slope, curvature, tangent, n)


def first_point(target: Target) -> Point:
    """The estimate itself, settled."""
    return settle(target, *target.start)


def walk(target: Target, first: Point, sign: float, cutoff: float) -> list[Point]:
    """Points from the estimate in one direction until zeta passes the cutoff or t its bound.

    Parameters
    ----------
    target : Target
        The parameter.
    first : Point
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
        t = float(np.clip(points[-1].t + sign * _distance(target, points), lower, upper))
        points.append(settle(target, t, predicted(points, t), points[-1].w))
    return _retraced(target, points)[1:]


def _retraced(target: Target, points: list[Point]) -> list[Point]:
    """Points settled again from the next one outwards, where that one lies lower.

    A descending profile has passed from one local minimum of the other parameters to another,
    which may be the lower one for some way back.
    """
    for i in range(len(points) - 2, 0, -1):
        if points[i].value > points[i + 1].value:
            again = settle(target, points[i].t, points[i + 1].w)
            if again.value < points[i].value:
                points[i] = again
    return points


def _distance(target: Target, points: Sequence[Point]) -> float:
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


def predicted(points: Sequence[Point], t: float) -> Vector:
    """Start for w at t: from values and tangents of the last points."""
    last = points[-1]
    h = t - last.t
    if last.tangent is None:
        return _lagrange(points[-3:], t)
    if len(points) == 1 or points[-2].tangent is None:
        return last.w + h * last.tangent
    turn = (last.tangent - points[-2].tangent) / (last.t - points[-2].t)
    return np.asarray(last.w + h * last.tangent + 0.5 * h * h * turn)


def _lagrange(points: Sequence[Point], t: float) -> Vector:
    """Polynomial through the points, at t."""
    total = np.zeros_like(points[-1].w)
    for i, point in enumerate(points):
        others = [other.t for j, other in enumerate(points) if j != i]
        total += point.w * np.prod([(t - o) / (point.t - o) for o in others])
    return total
