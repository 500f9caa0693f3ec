"""Plots of residuals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lmm._types import Vector
from lmm.diagnostics.leverage import residuals
from lmm.diagnostics.simulated import SimulatedResiduals
from lmm.fitted import EstimatedModel
from lmm.plots.canvas import ACCENT, FAINT, INK, axes, histogram, qq, spread, subplots

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def residuals_vs_fitted(m: EstimatedModel, ax: Axes | None = None) -> Axes:
    """Pearson residuals against fitted values, R's ``plot(m)``.

    Parameters
    ----------
    m : LinearMixedModel
        The model.
    ax : Axes, optional
        Where to draw.

    Examples
    --------
    >>> import lmm, lmm.plots
    >>> m = lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))
    >>> ax = lmm.plots.residuals_vs_fitted(m)
    >>> ax.get_ylabel()
    'Pearson residuals'
    """
    ax = axes(ax)
    values = residuals(m.fit, "pearson")
    ax.axhline(0.0, color=ACCENT, lw=1.2)
    many = len(values) > 5000
    size = 1.0 if many else 3.5
    ax.plot(m.fit.fitted, values, "o", ms=size, color=INK, mec="none", alpha=0.3 if many else 0.7)
    ax.set(xlabel="Fitted values", ylabel="Pearson residuals")
    return ax


def qq_residuals(m: EstimatedModel, ax: Axes | None = None) -> Axes:
    """Scaled Pearson residuals against normal quantiles.

    Parameters
    ----------
    m, ax
        As for `residuals_vs_fitted`.

    Examples
    --------
    >>> import lmm, lmm.plots
    >>> m = lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))
    >>> ax = lmm.plots.qq_residuals(m)
    >>> ax.get_ylabel()
    'Scaled residuals'
    """
    ax = qq(axes(ax), residuals(m.fit, "pearson", scaled=True))
    ax.set_ylabel("Scaled residuals")
    return ax


def simulated(residuals: SimulatedResiduals, ax: Axes | None = None) -> Axes:
    """Simulated quantile residuals against uniform quantiles, with the p-values of their tests.

    Parameters
    ----------
    residuals : SimulatedResiduals
        Result of ``m.simulated_residuals()``.
    ax : Axes, optional
        Where to draw.

    Examples
    --------
    >>> import lmm, lmm.plots
    >>> m = lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))
    >>> ax = lmm.plots.simulated(m.simulated_residuals(seed=1))
    >>> ax.get_xlabel()
    'Uniform quantiles'
    """
    ax = axes(ax)
    n = len(residuals.values)
    order = np.argsort(residuals.values)
    colours = np.where(residuals.outliers[order], ACCENT, INK)
    ax.axline((0.0, 0.0), slope=1.0, color=ACCENT, lw=1.2)
    ax.scatter((np.arange(n) + 0.5) / n, residuals.values[order], s=10, c=colours, lw=0, zorder=2)
    tests = residuals.to_frame()["p.value"]
    title = ", ".join(f"{name} p = {value:.3g}" for name, value in tests.items())
    ax.set(xlabel="Uniform quantiles", ylabel="Simulated quantile residuals")
    ax.set_title(title, fontsize="small")
    return ax


def simulated_vs_predicted(residuals: SimulatedResiduals, ax: Axes | None = None) -> Axes:
    """Simulated quantile residuals against the ranks of predicted means, with running quartiles.

    The three lines are level, at 0.25, 0.5 and 0.75, if the model holds.

    Parameters
    ----------
    residuals, ax
        As for `simulated`.

    Examples
    --------
    >>> import lmm, lmm.plots
    >>> m = lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))
    >>> ax = lmm.plots.simulated_vs_predicted(m.simulated_residuals(seed=1))
    >>> ax.get_xlabel()
    'Ranks of predicted means, from 0 to 1'
    """
    from scipy.stats import rankdata

    ax = axes(ax)
    values, n = residuals.values, len(residuals.values)
    x = (rankdata(residuals.predicted) - 0.5) / n
    colours = np.where(residuals.outliers, ACCENT, INK)
    shown = spread(n)
    ax.scatter(x[shown], values[shown], s=10, c=colours[shown], lw=0, alpha=0.6)
    parts = np.array_split(np.argsort(x, kind="stable"), min(15, max(2, n // 20)))
    quartiles = np.array([np.quantile(values[part], [0.25, 0.5, 0.75]) for part in parts])
    for level, line in zip((0.25, 0.5, 0.75), quartiles.T, strict=True):
        ax.axhline(level, color=FAINT, lw=1.0, ls="--")
        ax.plot([x[part].mean() for part in parts], line, color=ACCENT, lw=1.5)
    ax.set(xlabel="Ranks of predicted means, from 0 to 1", ylabel="Simulated quantile residuals")
    return ax


def check_simulated(residuals: SimulatedResiduals) -> Figure:
    """Four pictures of simulated quantile residuals and their tests.

    Against uniform quantiles; against predicted means; the variance among that of simulated
    responses; and the number of zeros among theirs, or where there are none, the largest response.

    Parameters
    ----------
    residuals : SimulatedResiduals
        Result of ``m.simulated_residuals()``.

    Returns
    -------
    Figure
        A notebook shows it once.

    Examples
    --------
    >>> import lmm, lmm.plots
    >>> m = lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))
    >>> figure = lmm.plots.check_simulated(m.simulated_residuals(seed=1))
    >>> [ax.get_title() for ax in figure.axes][2:]
    ['Dispersion, p = 0.816', 'Largest response, p = 0.824']
    """
    figure, grid = subplots(2, 2, figsize=(10.0, 8.0))
    quantiles, means, dispersion, last = grid.flat
    simulated(residuals, ax=quantiles)
    simulated_vs_predicted(residuals, ax=means)
    observed, drawn = residuals.dispersions()
    label = f"Dispersion, p = {residuals.dispersion()[1]:.3g}"
    _among_simulated(dispersion, observed, drawn, "Variance around predicted means", label)
    zeros = bool((residuals.y == 0.0).any() or (residuals.simulated == 0.0).any())
    name, statistic = ("Zeros", _zeros) if zeros else ("Largest response", np.max)
    label = f"{name}, p = {residuals.statistic_test(statistic)[1]:.3g}"
    drawn = np.array([statistic(draw) for draw in residuals.simulated.T], dtype=float)
    _among_simulated(last, float(statistic(residuals.y)), drawn, name, label)
    return figure


def _zeros(y: Vector) -> float:
    return float(np.count_nonzero(y == 0.0))


def _among_simulated(ax: Axes, observed: float, simulated: Vector, name: str, title: str) -> None:
    """Histogram of a simulated statistic, with the observed one."""
    histogram(ax, simulated, min(30, 5 + len(simulated) // 10))
    ax.axvline(observed, color=ACCENT, lw=2.0, label="observed")
    ax.set(xlabel=name, ylabel="Simulations", title=title)
    ax.legend(frameon=False)


def binned_residuals(m: EstimatedModel, bins: int | None = None, ax: Axes | None = None) -> Axes:
    """Mean residuals of rows with similar fitted values, for zeros and ones and small counts.

    Nineteen means of twenty lie within the band, two standard errors wide, if the model holds
    (Gelman & Hill, 2007, section 5.6).

    Parameters
    ----------
    m : LinearMixedModel or GeneralizedMixedModel
        The model.
    bins : int, optional
        Number of bins with equally many rows; about the square root of that of rows by default.
    ax : Axes, optional
        Where to draw.

    Examples
    --------
    >>> import lmm, lmm.plots
    >>> cbpp = lmm.load_dataset("cbpp")
    >>> m = lmm.glmer("cbind(incidence, size - incidence) ~ period + (1 | herd)", cbpp)
    >>> lmm.plots.binned_residuals(m).get_ylabel()
    'Average residual'
    """
    ax = axes(ax)
    values, fitted = residuals(m.fit, "response"), m.fit.fitted
    number = bins or max(2, int(np.sqrt(len(values))))
    parts = np.array_split(np.argsort(fitted, kind="stable"), min(number, len(values)))
    x = [float(fitted[rows].mean()) for rows in parts]
    means = [float(values[rows].mean()) for rows in parts]
    band = np.array([2.0 * values[rows].std() / np.sqrt(len(rows)) for rows in parts])
    ax.axhline(0.0, color=ACCENT, lw=1.2)
    ax.fill_between(x, -band, band, color=INK, alpha=0.12, lw=0.0)
    ax.plot(x, means, "o", ms=4.0, color=INK, mec="none")
    ax.set(xlabel="Fitted values", ylabel="Average residual")
    return ax
