"""Plots of profile likelihoods.

Contours of two parameters follow Bates & Watts (1988), Nonlinear Regression Analysis and Its
Applications, appendix A6: on the scale of zeta a region of size c is the curve

    zeta_i = c cos(a + d/2),    zeta_j = c cos(a - d/2),                                       (1)

with d a periodic function of the angle a, known where the curve touches the profile traces.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from lmm._types import Vector
from lmm.errors import checked_level
from lmm.inference.profile.criterion_curve import CriterionCurve
from lmm.inference.profile.curves import ProfileCurve
from lmm.plots.canvas import ACCENT, FAINT, INK, axes, panel_grid, subplots

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


LEVELS = (0.50, 0.80, 0.90, 0.95, 0.99)


def plot_zeta(curves: Sequence[ProfileCurve], absolute: bool = False) -> Figure:
    """Signed roots of the profiles, with intervals at five levels."""
    figure, panels = panel_grid(len(curves))
    for curve, ax in zip(curves, panels, strict=False):
        value, zeta = _fine(curve)
        ax.plot(value, np.abs(zeta) if absolute else zeta, color=INK)
        for level in LEVELS:
            ends = np.array(curve.limits(level))
            heights = curve.spline(curve.coordinate(ends))
            if absolute:
                ax.plot(ends, np.abs(heights), color=ACCENT, lw=0.8)
            else:
                ax.vlines(ends, 0.0, heights, color=ACCENT, lw=0.8)
        if not absolute:
            ax.axhline(0.0, color=FAINT, lw=0.8)
        ax.set(xlabel=curve.name, ylabel="|ζ|" if absolute else "ζ")
    return figure


def plot_density(curves: Sequence[ProfileCurve]) -> Figure:
    """Densities that the profiles imply."""
    figure, panels = panel_grid(len(curves))
    for curve, ax in zip(curves, panels, strict=False):
        value, zeta = _fine(curve)
        slope = np.gradient(zeta, value)
        density = np.exp(-0.5 * zeta**2) / np.sqrt(2.0 * np.pi) * slope
        ax.fill_between(value, density, color=INK, alpha=0.15, lw=0.0)
        ax.plot(value, density, color=INK)
        ax.set(xlabel=curve.name, ylabel="density", ylim=(0.0, None))
    return figure


def plot_criterion(curve: CriterionCurve, level: float, ax: Axes | None) -> Axes:
    """A criterion's rise with its chi-square reference."""
    from scipy.special import chdtri

    ax = axes(ax)
    quantile = float(chdtri(1, 1.0 - checked_level(level)))
    ax.plot(curve.values, curve.difference, color=INK)
    ax.axhline(quantile, color=ACCENT, lw=1.0, ls="--", label=f"χ²₁ quantile, {level:.0%}")
    ax.axvline(curve.estimate, color=FAINT, lw=1.0)
    likelihood = "restricted likelihood" if curve.reml else "likelihood"
    ax.set(xlabel=curve.parameter, ylabel=f"−2 log profile {likelihood} ratio", ylim=(0.0, None))
    ax.legend(frameon=False)
    return ax


def _fine(curve: ProfileCurve) -> tuple[Vector, Vector]:
    """Values and zeta along a curve, finite ones only."""
    t = np.linspace(curve.t[0], curve.t[-1], 400)
    value, zeta = curve.value(t), curve.spline(t)
    finite = np.isfinite(value)
    return value[finite], zeta[finite]


# Pairs --------------------------------------------------------------------------------------------


def plot_pairs(curves: Sequence[ProfileCurve], names: Sequence[str]) -> Figure:
    """Joint regions of all pairs: parameters below the diagonal, zeta above it."""
    n = len(curves)
    figure, grid = subplots(n, n, figsize=(1.9 * n, 1.9 * n))
    for i, down in enumerate(curves):
        for j, across in enumerate(curves):
            ax = grid[i, j]
            ax.tick_params(labelsize="x-small")
            if i == j:
                ax.set_axis_off()
                ax.text(0.5, 0.5, _wrapped(down.name), ha="center", va="center", fontsize="small")
                continue
            _draw_pair(ax, across, down, names, as_zeta=i < j)
            ax.label_outer()
    return figure


def _wrapped(name: str) -> str:
    return name.replace("|", "\n| ").replace("_", "\n", 1)


def _draw_pair(
    ax: Axes, across: ProfileCurve, down: ProfileCurve, names: Sequence[str], as_zeta: bool
) -> None:
    """Contours and traces of one pair of parameters."""
    from scipy.special import chdtri

    down_given_across = _trace(across, down, names)
    across_given_down = _trace(down, across, names)
    for x, y in ((across.zeta, down_given_across), (across_given_down, down.zeta)):
        shown = (x, y) if as_zeta else (_at_zeta(across, x), _at_zeta(down, y))
        ax.plot(*shown, color=ACCENT, lw=0.8)
    for level in LEVELS:
        size = float(np.sqrt(chdtri(2, 1.0 - level)))
        x, y = _contour(size, across, down, down_given_across, across_given_down)
        shown = (x, y) if as_zeta else (_at_zeta(across, x), _at_zeta(down, y))
        ax.plot(*shown, color=INK, lw=0.8)
    if as_zeta:
        ax.set(xlim=(-3.8, 3.8), ylim=(-3.8, 3.8))


def _trace(fixed: ProfileCurve, other: ProfileCurve, names: Sequence[str]) -> Vector:
    """The other parameter's zeta along the profile of a fixed one, (N,)."""
    values = fixed.parameters[:, list(names).index(other.name)]
    t = np.clip(other.coordinate(values), other.t[0], other.t[-1])
    return np.asarray(other.spline(t))


def _at_zeta(curve: ProfileCurve, zeta: Vector) -> Vector:
    """Parameter values at given zeta; NaN outside the profile's range."""
    keep = np.concatenate([[True], np.diff(np.maximum.accumulate(curve.zeta)) > 0.0])
    t = np.interp(zeta, *_dense(curve, keep), left=np.nan, right=np.nan)
    return curve.value(t)


def _dense(curve: ProfileCurve, keep: np.ndarray) -> tuple[Vector, Vector]:
    t = np.linspace(curve.t[keep][0], curve.t[keep][-1], 400)
    zeta = np.maximum.accumulate(curve.spline(t))
    return zeta, t


def _contour(
    size: float,
    across: ProfileCurve,
    down: ProfileCurve,
    down_given_across: Vector,
    across_given_down: Vector,
) -> tuple[Vector, Vector]:
    """The curve (1) of one size, on the scale of zeta."""
    from scipy.interpolate import CubicSpline

    def angle(curve: ProfileCurve, trace: Vector, sign: float) -> float:
        known = np.isfinite(trace)
        ratio = sign * np.interp(sign * size, curve.zeta[known], trace[known]) / size
        return float(np.arccos(np.clip(ratio, -1.0, 1.0)))

    d = np.array(
        [
            angle(across, down_given_across, 1.0),
            angle(down, across_given_down, 1.0),
            angle(across, down_given_across, -1.0),
            angle(down, across_given_down, -1.0),
        ]
    )
    a = np.array([-0.5, 0.5, -0.5, 0.5]) * d + np.array([0.0, 0.0, np.pi, np.pi])
    knots, values = np.append(a, a[0] + 2.0 * np.pi), np.append(d, d[0])
    fine = np.linspace(knots[0], knots[-1], 200)
    gap = CubicSpline(knots, values, bc_type="periodic")(fine)
    return size * np.cos(fine + 0.5 * gap), size * np.cos(fine - 0.5 * gap)
