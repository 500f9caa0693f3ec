"""Profiles as users see them: tables that print, views on other scales, plots."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from lmm._types import Matrix, Vector
from lmm.errors import ConvergenceWarning, checked_level, nearest, warn
from lmm.fit import Fit
from lmm.inference.profile.criterion_curve import CriterionCurve
from lmm.inference.profile.curves import ProfileCurve, profile_curves
from lmm.inference.resample.bootstrap import Interval, bootstrap
from lmm.inference.variance.kinds import Kind
from lmm.inference.variance.reported import Scale, names_of, parameters_of
from lmm.inference.variance.wald import fixed_wald_limits, wald_limits
from lmm.report.document import Document
from lmm.report.printed import Printed, PrintedTable, TableLike, confidence_table
from lmm.report.tables import frame_cells

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


Which = Sequence[str | int] | str | int | None
METHODS = ("profile", "wald", "boot")


@dataclass(frozen=True, eq=False, repr=False)
class Profile(Printed):
    """Profiles of the parameters of a model.

    Made by ``m.profile()``. A REML fit is profiled by maximum likelihood, as in R: the REML
    criterion says nothing about fixed effects.

    Attributes
    ----------
    curves : tuple of ProfileCurve
        One per profiled parameter, in R's order.
    names : tuple of str
        All parameters, in R's order.
    kinds : tuple of Kind
        Their kinds.
    level : float
        Confidence level whose limits are computed exactly; those of others are interpolated.
    from_reml : bool
        Whether the fit was by REML.

    Examples
    --------
    >>> import lmm
    >>> m = lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))
    >>> m.profile("theta_").confint().to_frame().round(3)
                                   2.5 %  97.5 %
    sd_(Intercept)|Subject        14.381  37.716
    cor_Days.(Intercept)|Subject  -0.481   0.685
    sd_Days|Subject                3.801   8.753
    sigma                         22.898  28.858
    """

    curves: tuple[ProfileCurve, ...]
    names: tuple[str, ...]
    kinds: tuple[Kind, ...]
    level: float
    from_reml: bool

    @property
    def notes(self) -> tuple[str, ...]:
        """What is irregular, and how the profile was made."""
        made = ("The REML fit was refitted by maximum likelihood.",) if self.from_reml else ()
        return (*made, *(note for curve in self.curves for note in curve.notes))

    def __getitem__(self, name: str) -> ProfileCurve:
        """The curve of one parameter."""
        for curve in self.curves:
            if curve.name == name:
                return curve
        known = [curve.name for curve in self.curves]
        raise KeyError(f"No profile of {name!r}.{nearest(name, known)}")

    def confint(self, level: float | Which = None, parm: Which = None) -> PrintedTable:
        """Profile confidence intervals.

        Parameters
        ----------
        level : float, optional
            Confidence level; by default the one that the profile was made for. Names in its place
            are `parm`, as in R.
        parm : str, int or sequence, optional
            Parameters as for ``m.confint``; all that were profiled by default.

        Returns
        -------
        PrintedTable
            Two columns, a row per parameter.

        Raises
        ------
        ValueError
            The level is not between 0 and 1, a name is unknown, or the profile does not reach the
            level.
        """
        if isinstance(level, str | Sequence):
            level, parm = None, level
        coverage = self.level if level is None else level
        kinds = [curve.kind for curve in self.curves]
        names = chosen(parm, [curve.name for curve in self.curves], kinds)
        limits = np.array([self[name].limits(coverage) for name in names])
        return confidence_table(limits, names, coverage)

    def to_frame(self) -> pd.DataFrame:
        """All points of all curves.

        Returns
        -------
        DataFrame
            ``.zeta``, all parameters, ``.par`` (which one was fixed) and ``.focal`` (its value).
        """
        parts = []
        for curve in self.curves:
            part = pd.DataFrame(curve.parameters, columns=pd.Index(self.names))
            part.insert(0, ".zeta", curve.zeta)
            part[".par"] = curve.name
            part[".focal"] = curve.value(curve.t)
            parts.append(part)
        frame = pd.concat(parts, ignore_index=True)
        frame[".par"] = pd.Categorical(frame[".par"], [curve.name for curve in self.curves])
        return frame

    def log(self) -> Profile:
        """View with standard deviations and sigma on the log scale."""
        kinds = {Kind.SD: Kind.LOG_SD, Kind.SIGMA: Kind.LOG_SIGMA}
        return self._viewed(kinds, lambda name, _kind: f"log({name})")

    def variance(self) -> Profile:
        """View with variances in place of standard deviations; correlations stay.

        For profiles of covariances use ``m.profile(scale="varcov")``.
        """
        kinds = {Kind.SD: Kind.VAR, Kind.SIGMA: Kind.SIGMA_SQUARED}
        return self._viewed(kinds, lambda name, kind: kinds[kind] + name.removeprefix(kind))

    def _viewed(self, kinds: dict[Kind, Kind], rename: Callable[[str, Kind], str]) -> Profile:
        def view(name: str, kind: Kind) -> str:
            return rename(name, kind) if kind in kinds else name

        names = tuple(view(*each) for each in zip(self.names, self.kinds, strict=True))
        curves = tuple(
            replace(
                curve,
                name=view(curve.name, curve.kind),
                kind=kinds.get(curve.kind, curve.kind),
                parameters=self._converted(curve.parameters, kinds),
            )
            for curve in self.curves
        )
        shown = tuple(kinds.get(kind, kind) for kind in self.kinds)
        return replace(self, curves=curves, names=names, kinds=shown)

    def _converted(self, table: Matrix, kinds: dict[Kind, Kind]) -> Matrix:
        columns: list[Vector] = []
        for kind, column in zip(self.kinds, table.T, strict=True):
            shown = kinds.get(kind, kind)
            same = shown == kind
            columns.append(column if same else shown.from_working(kind.to_working(column)))
        return np.column_stack(columns)

    def document(self, *, digits: int = 7) -> Document:
        """The intervals, and what is irregular."""
        points = sum(len(curve.t) for curve in self.curves)
        heading = f"Profile of {len(self.curves)} parameters ({points} points); intervals:"
        table = self.confint(self.level).document(digits=digits)
        return Document((heading, *table.blocks, *self.notes))

    # Plots ----------------------------------------------------------------------------------------

    def plot_zeta(self, absolute: bool = False) -> Figure:
        """Plot the signed root of each parameter, with intervals at five levels.

        Straight lines mean that Wald intervals would do.

        Parameters
        ----------
        absolute : bool
            Plot ``|zeta|``, in which an interval is a horizontal line.
        """
        from lmm.plots.profile import plot_zeta

        return plot_zeta(self.curves, absolute)

    def plot_density(self) -> Figure:
        """Plot the density of each parameter that its profile implies: phi(zeta) dzeta/dvalue."""
        from lmm.plots.profile import plot_density

        return plot_density(self.curves)

    def plot_pairs(self) -> Figure:
        """Plot joint profile regions of all pairs of parameters at five levels.

        Below the diagonal on the parameters' scale, above it on the scale of zeta; lines are the
        profile traces.
        """
        from lmm.plots.profile import plot_pairs

        return plot_pairs(self.curves, self.names)


@dataclass(frozen=True, eq=False, repr=False)
class CriterionProfile(TableLike):
    """The criterion along one variance parameter, all others re-optimized.

    Attributes
    ----------
    curve : CriterionCurve
        Values and differences.

    Examples
    --------
    >>> import lmm
    >>> m = lmm.lmer("size ~ Time + (1 | tree)", lmm.load_dataset("Sitka"))
    >>> m.profile_criterion("tree Var", 0.3, 0.5, 3).to_frame().round(2)
       var_(Intercept)|tree  difference
    0                   0.3        1.97
    1                   0.4        0.16
    2                   0.5        2.86
    """

    curve: CriterionCurve

    @property
    def values(self) -> Vector:
        """Values of the parameter, (N,)."""
        return self.curve.values

    @property
    def difference(self) -> Vector:
        """Criterion minus its minimum, (N,)."""
        return self.curve.difference

    def to_frame(self) -> pd.DataFrame:
        """Values of the parameter, and the criterion's rise there."""
        return pd.DataFrame({self.curve.parameter: self.values, "difference": self.difference})

    def document(self, *, digits: int = 7) -> Document:
        """The table."""
        return Document((frame_cells(self.to_frame(), digits),))

    def plot(self, ax: Axes | None = None, level: float = 0.95) -> Axes:
        """Plot the curve with the chi-square quantile whose crossings are the interval's ends.

        Parameters
        ----------
        ax : Axes, optional
            Where to draw.
        level : float
            Confidence level of the reference line.
        """
        from lmm.plots.profile import plot_criterion

        return plot_criterion(self.curve, level, ax)


def chosen(parm: Which, names: Sequence[str], kinds: Sequence[Kind]) -> tuple[str, ...]:
    """Names of the parameters that a user asks for.

    Parameters
    ----------
    parm : str, int, sequence of them, or None
        Names, positions from 0, ``"theta_"`` (variance parameters), ``"beta_"`` (fixed effects);
        None for all.
    names : sequence of str
        All names: variance parameters, sigma last among them, then fixed effects.
    kinds : sequence of Kind
        Their kinds.

    Raises
    ------
    ValueError
        A name or position does not exist.
    """
    if parm is None:
        return tuple(names)
    asked = [parm] if isinstance(parm, str | int) else list(parm)
    found: list[str] = []
    for one in asked:
        if one in ("theta_", "beta_"):
            fixed = one == "beta_"
            found += [
                n for n, kind in zip(names, kinds, strict=True) if (kind == Kind.BETA) == fixed
            ]
        elif isinstance(one, str):
            if one not in names:
                raise ValueError(f"The model has no parameter {one!r}.{nearest(one, names)}")
            found.append(one)
        elif 0 <= one < len(names):
            found.append(names[one])
        else:
            raise ValueError(
                f"There is no parameter {one}: positions are 0 to {len(names) - 1} "
                f"({', '.join(names)})."
            )
    return tuple(dict.fromkeys(found))


def profile(
    fit: Fit,
    which: Which = None,
    level: float = 0.95,
    scale: Scale = "sdcor",
    progress: bool | None = None,
) -> Profile:
    """Profile a fit; see ``m.profile``."""
    names = names_of(fit, scale)
    kinds = _kinds(fit, scale)
    asked = chosen(which, names, kinds)
    curves = profile_curves(fit, asked, scale=scale, level=level, progress=progress)
    for note in (note for curve in curves for note in curve.notes):
        warn(ConvergenceWarning(note))
    return Profile(curves, names, kinds, level, fit.reml)


def _kinds(fit: Fit, scale: Scale = "sdcor") -> tuple[Kind, ...]:
    kinds = [parameter.kind for parameter in parameters_of(fit, scale)]
    return (*kinds, *[Kind.BETA] * fit.matrices.p)


def confint(
    fit: Fit,
    parm: Which,
    level: float,
    method: str,
    *,
    nsim: int = 500,
    seed: int | None = None,
    boot_type: Interval = "perc",
    progress: bool | None = None,
) -> PrintedTable:
    """Profile, Wald or bootstrap intervals of a fit; see ``m.confint``."""
    level, method = checked_level(level), str(method).lower()
    if method not in METHODS:
        raise ValueError(f"Unknown method {method!r}.{nearest(method, METHODS)}")
    if method == "profile":
        return profile(fit, parm, level, progress=progress).confint()
    names = names_of(fit)
    asked = list(chosen(parm, names, _kinds(fit)))
    if method == "boot":
        replicates = bootstrap(fit, nsim, seed, progress=progress)
        limits = replicates.confint(level, boot_type).to_numpy()
    else:
        limits = np.vstack([wald_limits(fit, level), fixed_wald_limits(fit, level)])
    table = confidence_table(limits, names, level)
    return replace(table, frame=table.frame.loc[asked])
