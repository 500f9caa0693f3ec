"""Profile likelihood: each parameter fixed on a grid, all others optimized by second-order steps.

For a parameter t with estimate t^ and f the -2 log-likelihood minimized over all other parameters,

    zeta(t) = sign(t - t^) sqrt(f(t) - f(t^))                                                  (1)

(Bates et al. 2015, section 5.1; docs/theory/profile.md). Its slope is exact,

    zeta' = f' / (2 zeta)                                                                      (2)

with f' the partial derivative in t, since the others are stationary: between few grid points zeta
is a cubic Hermite spline.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from lmm._progress import watched
from lmm._threads import blas_threads
from lmm._types import Frozen, Matrix, Vector, cached_property
from lmm.errors import NumericalError, checked_level, nearest
from lmm.fit import Fit
from lmm.inference.profile.fixed_targets import fixed_target
from lmm.inference.profile.path import (
    MAX_POINTS,
    Breakdown,
    ProfilePoint,
    first_point,
    predicted,
    settle,
    walk,
)
from lmm.inference.profile.targets import Target, variance_target
from lmm.inference.variance.kinds import Kind
from lmm.inference.variance.reported import Scale, maximum_likelihood, names_of, parameters_of
from lmm.likelihood import critical_value

if TYPE_CHECKING:
    from scipy.interpolate import CubicHermiteSpline


# zeta beyond which a range is searched, as lme4: joint regions of this level stay inside.
JOINT_LEVEL = 0.99
# The likelihood of a fit may be improved by this much before a profile reports it.
BETTER = 1e-5


@dataclass(frozen=True, eq=False)
class ProfileCurve(Frozen):
    """The profile of one parameter.

    Attributes
    ----------
    name : str
        R's name.
    kind : Kind
        What it is.
    t : (N,) array
        Working coordinate, ascending: the parameter itself, but the angle ``arcsin`` of a
        correlation, the logarithm of sigma (sigma^2, theta), the standard deviation of a variance.
    zeta, slope : (N,) arrays
        Signed root (1) and its derivative (2) in t.
    estimate : int
        Index of the estimate (the ML estimate) in the grid.
    bounds : tuple of float
        Range of t.
    parameters : (N, d) array
        All parameters at each point.
    endless : tuple of bool
        Whether zeta levels off below or above, or is not known, before it reaches the range asked
        for.
    notes : tuple of str
        What is irregular.
    n_evaluations : int
        Evaluations of the likelihood.
    """

    name: str
    kind: Kind
    t: Vector
    zeta: Vector
    slope: Vector
    estimate: int
    bounds: tuple[float, float]
    parameters: Matrix
    endless: tuple[bool, bool]
    notes: tuple[str, ...]
    n_evaluations: int

    def value(self, t: ArrayLike) -> Vector:
        """The parameter at working coordinates t."""
        return self.kind.from_working(np.asarray(t, dtype=float))

    def coordinate(self, value: ArrayLike) -> Vector:
        """Working coordinates of values of the parameter: the inverse of `value`."""
        return self.kind.to_working(np.asarray(value, dtype=float))

    @cached_property
    def spline(self) -> CubicHermiteSpline:
        """The signed root zeta as a function of t."""
        return _spline(self.t, self.zeta, self.slope)

    def limits(self, level: float) -> tuple[float, float]:
        """Confidence interval: where zeta first reaches plus or minus the normal quantile.

        A side on which it never does ends at the parameter's bound (0 for a standard deviation,
        -1 or 1 for a correlation, else infinity); it is NaN where other parameters come to the end
        of what a link allows before.

        Parameters
        ----------
        level : float
            Confidence level, between 0 and 1.

        Raises
        ------
        ValueError
            The profile was not followed that far.
        """
        quantile = critical_value(checked_level(level))
        lower, upper = (self._crossing(sign * quantile) for sign in (-1.0, 1.0))
        return float(self.value(lower)), float(self.value(upper))

    def _crossing(self, zeta: float) -> float:
        """Working coordinate nearest to the estimate where the spline takes the value zeta."""
        side = int(zeta > 0.0)
        at = self.t[self.estimate]
        roots = [t for t in self.spline.solve(zeta, extrapolate=False) if (t - at) * zeta >= 0.0]
        if roots:
            return float(min(roots, key=lambda t: abs(t - at)))
        bound, end = self.bounds[side], -side
        if self.t[end] != bound and not self.endless[side]:
            raise ValueError(
                f"The profile of {self.name} ends at |zeta| = {abs(self.zeta[end]):.3g}, but this "
                f"level needs {abs(zeta):.3g}. Ask for a profile with this level."
            )
        return bound


def profile_curves(
    fit: Fit,
    which: Sequence[str] | None = None,
    *,
    scale: Scale = "sdcor",
    level: float = 0.95,
    progress: bool | None = None,
) -> tuple[ProfileCurve, ...]:
    """Profile parameters of a fit, by name: see `LinearMixedModel.profile`.

    REML fits are profiled by maximum likelihood, as R does. The curves reach at least the limits at
    `level`, and those of a joint 99 % region of all parameters in any case.

    Raises
    ------
    ValueError
        A name is not that of a parameter.
    NumericalError
        The likelihood could not be maximized at a point of the grid.
    """
    from scipy.special import chdtri

    names = names_of(fit, scale)
    which = names if which is None else tuple(which)
    for name in which:
        if name not in names:
            raise ValueError(f"The model has no parameter {name!r}.{nearest(name, names)}")
    quantile = critical_value(checked_level(level))
    cutoff = max(float(np.sqrt(chdtri(len(names), 1.0 - JOINT_LEVEL))), 1.02 * quantile)
    with blas_threads(fit.criterion.dense_size):
        targets = _targets(fit, scale)
        return tuple(
            _curve(fit, scale, name, *targets[name], quantile, cutoff)
            for name in watched(which, "parameter", progress)
        )


def _targets(fit: Fit, scale: Scale) -> dict[str, tuple[Kind, Target]]:
    """Every parameter by its name on the scale, with its kind there."""
    criterion, x, sigma = maximum_likelihood(fit)
    theta = criterion.to_theta(x)
    targets: dict[str, tuple[Kind, Target]] = {}
    for parameter in parameters_of(fit, scale):
        target = variance_target(parameter, criterion, theta, sigma)
        targets[parameter.name] = parameter.kind, target
    for index, name in enumerate(fit.matrices.fixed.names):
        targets[name] = Kind.BETA, fixed_target(name, index, criterion, theta, sigma)
    return targets


def _curve(
    fit: Fit, scale: Scale, name: str, kind: Kind, target: Target, quantile: float, cutoff: float
) -> ProfileCurve:
    """Follow one parameter to both sides."""
    first = first_point(target)
    below, above = (walk(target, first, sign, cutoff) for sign in (-1.0, 1.0))
    if not (below or above):
        raise NumericalError(
            f"The likelihood ends at the estimate of {name}, as the link allows no other values: "
            "it has no profile. Use another link."
        )
    rough = _Grid.of([*below[::-1], first, *above], first)
    grid = _Grid.of(_with_crossings(target, rough, quantile), first)
    shown = parameters_of(fit, scale)
    table = []
    for point in grid.points:
        covariances, sigma, beta = target.parameters(point.t, point.w)
        table.append([*(p.value(covariances, sigma) for p in shown), *beta])
    lower, upper = target.bounds[0], np.inf if kind == Kind.THETA else target.bounds[1]
    low, high = (
        _End.of(below, first, target, lower, cutoff),
        _End.of(above, first, target, upper, cutoff),
    )
    return ProfileCurve(
        name,
        kind,
        grid.t,
        grid.zeta,
        grid.slope,
        grid.points.index(first),
        (low.bound, high.bound),
        np.array(table),
        (low.is_flat or low.is_cut, high.is_flat or high.is_cut),
        _notes(name, grid, low, high),
        sum(point.n_evaluations for point in grid.points),
    )


@dataclass(frozen=True)
class _End:
    """Where one side of a profile ends.

    Attributes
    ----------
    bound : float
        The end of t; NaN where it is not known.
    is_flat : bool
        Whether zeta levels off before it reaches the range asked for.
    is_cut : bool
        Whether the other parameters come to where the likelihood ends before.
    """

    bound: float
    is_flat: bool
    is_cut: bool

    @classmethod
    def of(
        cls,
        side: list[ProfilePoint],
        first: ProfilePoint,
        target: Target,
        bound: float,
        cutoff: float,
    ) -> _End:
        last = side[-1] if side else first
        if last.t == bound or last.zeta(first.value, 1.0) >= cutoff:
            return cls(bound, False, False)
        is_flat = len(side) >= MAX_POINTS or last.t in target.bounds
        return cls(bound if is_flat else np.nan, is_flat, not is_flat)


@dataclass(frozen=True, eq=False)
class _Grid:
    """Points in ascending order with their zeta and its slope."""

    points: list[ProfilePoint]
    t: Vector
    rise: Vector
    zeta: Vector
    slope: Vector

    @classmethod
    def of(cls, points: list[ProfilePoint], first: ProfilePoint) -> _Grid:
        t = np.array([point.t for point in points])
        rise = np.array([point.value - first.value for point in points])
        zeta = np.sign(t - first.t) * np.sqrt(np.maximum(rise, 0.0))
        slope = np.zeros(len(t))
        away = zeta != 0.0
        slope[away] = np.array([point.slope for point in points])[away] / (2.0 * zeta[away])  # (2)
        at = points.index(first)
        slope[at] = _slope_at_estimate(t, zeta, slope, at, first)
        return cls(points, t, rise, zeta, slope)

    @property
    def spline(self) -> CubicHermiteSpline:
        return _spline(self.t, self.zeta, self.slope)


def _spline(t: Vector, zeta: Vector, slope: Vector) -> CubicHermiteSpline:
    from scipy.interpolate import CubicHermiteSpline

    return CubicHermiteSpline(t, zeta, slope, extrapolate=False)


def _with_crossings(target: Target, grid: _Grid, quantile: float) -> list[ProfilePoint]:
    """The points, with one more where the spline crosses plus and minus the quantile."""
    points = grid.points
    for zeta in (-quantile, quantile):
        for t in grid.spline.solve(zeta, extrapolate=False):
            near = sorted(grid.points, key=lambda point: abs(point.t - t))
            if abs(near[0].t - t) > 1e-6 * abs(near[1].t - near[0].t):
                start = predicted(near[2::-1], float(t))
                with suppress(Breakdown):  # the spline leads there, where points beside it do not
                    points = [*points, settle(target, float(t), start, near[0].w)]
    return sorted(points, key=lambda point: point.t)


def _slope_at_estimate(
    t: Vector, zeta: Vector, slope: Vector, at: int, first: ProfilePoint
) -> float:
    """Slope of zeta where (2) is 0/0: from both neighbours, or the curvature at a bound."""
    if 0 < at < len(t) - 1:
        from scipy.interpolate import KroghInterpolator

        near = [at - 1, at - 1, at, at + 1, at + 1]
        values = [zeta[at - 1], slope[at - 1], 0.0, zeta[at + 1], slope[at + 1]]
        return float(KroghInterpolator(t[near], values).derivative(t[at]))
    return float(np.sqrt(0.5 * max(first.curvature, 0.0)))


def _notes(name: str, grid: _Grid, low: _End, high: _End) -> tuple[str, ...]:
    """What is irregular about a profile."""
    notes = []
    if grid.rise.min() < -BETTER:
        notes.append(
            f"{name}: the profile finds a deviance lower than the fit's by "
            f"{-grid.rise.min():.3g}. Refit from other starting values."
        )
    if np.any(np.diff(grid.zeta) < -1e-6):
        notes.append(
            f"{name}: the profile is not monotone. Its interval ends where zeta first reaches the "
            "limit on each side of the estimate."
        )
    for side, end in (("below", low), ("above", high)):
        if end.is_flat:
            notes.append(f"{name}: the likelihood is flat {side} the estimate: no limit there.")
        if end.is_cut:
            notes.append(
                f"{name}: {side} the estimate the profile ends early, where other parameters meet "
                "the end of what the link allows."
            )
    return tuple(notes)
