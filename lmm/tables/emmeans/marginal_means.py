"""Estimated marginal means that can be contrasted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from lmm._types import IntMatrix, Matrix, Vector
from lmm._words import Adjust, Interval
from lmm.errors import ArrowsWarning, DataError, checked_level, warn
from lmm.inference.marginal.contrast_families import (
    Coefficients,
    MeanContrasts,
    Place,
    contrasts_of,
)
from lmm.inference.marginal.scales import IDENTITY, scale_named
from lmm.tables.emmeans.arrows import comparison_arrows
from lmm.tables.emmeans.comparisons import (
    CompactLetters,
    EffectSizes,
    PairwiseMatrices,
    effect_sizes,
)
from lmm.tables.emmeans.estimates_table import EstimatesTable
from lmm.tables.emmeans.interaction import Methods, interaction_contrasts
from lmm.tables.emmeans.row_labels import checked_labels, label_text, row_names
from lmm.tables.emmeans.several import EmmeansList

if TYPE_CHECKING:
    from matplotlib.axes import Axes


# Sum of coefficients of a difference, at most.
ROUNDING = 1e-9


@dataclass(frozen=True, eq=False, repr=False)
class Estimates(EstimatesTable):
    """Linear functions of the fixed effects: marginal means, slopes, or contrasts of them.

    Prints as R's emmeans does. `confint` and `test` choose what is shown; `to_frame` gives it.
    Rows are selected by position, slice or truth values: ``means[0]``, ``means[[0, 2]]``.
    """

    def contrast(
        self,
        method: str | Coefficients = "eff",
        by: str | Sequence[str] | None = None,
        adjust: Adjust | None = None,
        ref: Place | Sequence[Place] | None = None,
        *,
        reverse: bool = False,
        exclude: Place | Sequence[Place] = (),
        interaction: Methods | None = None,
        simple: str | Sequence[str] | None = None,
        combine: bool = False,
        offset: ArrayLike = 0.0,
        scale: ArrayLike = 1.0,
        max_degree: int | None = None,
        ratios: bool = True,
        name: str = "contrast",
    ) -> Estimates:
        """Contrasts of the rows of each group.

        Parameters
        ----------
        method : str, mapping or array_like
            ``"pairwise" "revpairwise" "trt.vs.ctrl" "trt.vs.ctrlk" "consec" "poly" "eff"
            "del.eff" "mean_chg" "identity"``, coefficients by name, or rows of coefficients.
        by : str or sequence of str, optional
            Labels that make groups; those of the estimates by default, ``[]`` for none.
        adjust : str, optional
            As for `confint`; by default what suits the method: Tukey for pairs, exact
            multivariate t for comparisons with a control and consecutive ones, false discovery
            rate for effects.
        ref : int, str or sequence of these, optional
            Control of ``"trt.vs.ctrl"``, by position counted from 0 or by label; the mean of
            several.
        reverse : bool
            Whether to take differences the other way round.
        exclude : int, str or sequence of these
            Rows of each group that take no part.
        interaction : str, sequence, mapping or True, optional
            Method for each label: contrasts of contrasts, with no adjustment by default.
        simple : str or sequence of str, optional
            Labels to contrast within all combinations of the others; ``"each"`` for all in turn.
        combine : bool
            Whether to make one table, one family of tests, of those of ``simple="each"``.
        offset, scale : float or sequence of float
            What each contrast is multiplied by, and what is added then, for all or by contrast of
            a group.
        max_degree : int, optional
            Highest degree of ``"poly"``: 6 by default.
        ratios : bool
            Whether differences of logarithms and log odds are shown as ratios on the scale of the
            response.
        name : str
            Column of the contrasts' names.

        Returns
        -------
        Estimates
            An EmmeansList of them for ``simple="each"``.

        Raises
        ------
        ValueError
            The method or adjustment is unknown.
        DataError
            `by` is no label, or coefficients do not fit the number of means.
        """

        def family(labels: Sequence[str]) -> MeanContrasts:
            return contrasts_of(
                method, labels, ref, reverse=reverse, exclude=exclude, max_degree=max_degree
            )

        def within(by: Sequence[str] | None) -> Estimates:
            source = self if by is None else replace(self, by=checked_labels(by, self.labels))
            made = source._within_groups(family, name, adjust, (scale, offset))
            return made if ratios else made._on_link()

        if simple is not None:
            tables = self._simple(simple, within)
            joined = reduce(add, tables) if combine and simple == "each" else tables
            return cast("Estimates", joined)
        if interaction is not None:
            chosen = self.by if by is None else checked_labels(by, self.labels)
            made = self._interaction(interaction, chosen)._shifted(scale, offset, 1)
            return made if adjust is None else made.summary(False, True, adjust=adjust)
        return within(by)

    def _interaction(self, methods: Methods, by: Sequence[str]) -> Estimates:
        """Contrasts of contrasts within groups."""
        rows, table = interaction_contrasts(methods, self.labels, by)
        groups = tuple(str(name) for name in table.columns if name in self.labels.columns)
        return replace(self, by=groups)._contrasted(rows, table)

    def _within_groups(
        self,
        family: Callable[[Sequence[str]], MeanContrasts],
        column: str,
        adjust: Adjust | None,
        line: tuple[ArrayLike, ArrayLike],
    ) -> Estimates:
        column = _unused(column, self.by)
        names = np.array(row_names(self.labels, self.by), dtype=object)
        parts, rows, labels = [], [], []
        for group, inside in self._groups():
            part = family(names[inside].tolist())
            coefficients = np.zeros((len(part.names), len(self.L)))
            coefficients[:, inside] = part.coefficients
            parts.append(part)
            rows.append(coefficients)
            labels += [{column: name, **group} for name in part.names]
        pairs = [part.pairs for part in parts if part.pairs is not None]
        table = pd.DataFrame(labels, columns=[column, *self.by])
        made = self._contrasted(np.vstack(rows), table, np.vstack(pairs) if pairs else None)
        made = made._shifted(*line, len(parts))
        adjustment = parts[0].adjustment if adjust is None else adjust
        return made.summary(False, True, made.shown.level, adjust=adjustment)

    def _shifted(self, scale: ArrayLike, offset: ArrayLike, groups: int) -> Estimates:
        """The same times a number plus another one: for all, or by row of each group."""
        by_row = [np.asarray(numbers, dtype=float) for numbers in (scale, offset)]
        sizes = {len(numbers) for numbers in by_row if numbers.ndim}
        if any(size * groups != len(self.L) for size in sizes):
            raise DataError(
                f"scale and offset are a number, or one for each of {len(self.L) // groups} "
                f"contrasts, not {sizes.pop()}"
            )
        factor, shift = (np.resize(numbers, len(self.L)) for numbers in by_row)
        return replace(self, L=factor[:, None] * self.L, offset=factor * self.offset + shift)

    def _on_link(self) -> Estimates:
        """The same on the model's scale, which they stay on."""
        return self if self.scale is None else replace(self, scale=None, notes=self._still())

    def _still(self) -> tuple[str, ...]:
        note = f"Note: contrasts are still on the {self.scale and self.scale.name} scale"
        return (*self.notes, note)

    def _contrasted(
        self, coefficients: Matrix, labels: pd.DataFrame, differences: IntMatrix | None = None
    ) -> Estimates:
        """Linear functions of the rows, (c, r)."""
        if not len(labels):
            raise DataError("there is nothing to contrast: each group has one row")
        are_differences = np.abs(coefficients.sum(axis=1)).max() < ROUNDING
        scale = self.scale and self.scale.of_contrasts(are_differences)
        kept = {str(name) for name in labels.columns} & set(self.levels)
        return replace(
            self,
            quantity="estimate",
            labels=labels,
            L=_combined(coefficients, self.L),
            offset=_combined(coefficients, self.offset),
            counts=np.abs(coefficients) @ self.counts,
            levels={name: self.levels[name] for name in self.levels if name in kept},
            nesting={},
            interactions=(),
            notes=self.notes if self.scale is None or scale else self._still(),
            scale=scale,
            differences=differences,
            shown=replace(self.shown, intervals=False, tests=True, adjustment="none", scatter=0.0),
        )

    def _simple(
        self, simple: str | Sequence[str], contrast: Callable[[list[str]], Estimates]
    ) -> Any:
        """Contrasts of some labels within the others, or of each."""
        names = list(map(str, self.labels.columns))
        if simple == "each":
            tables = {
                f"simple contrasts for {name}": self._simple(name, contrast) for name in names
            }
            return EmmeansList(tables)
        inside = checked_labels(simple, self.labels)
        return contrast([name for name in names if name not in inside])

    def pairs(
        self,
        by: str | Sequence[str] | None = None,
        adjust: Adjust | None = None,
        reverse: bool = False,
        *,
        simple: str | Sequence[str] | None = None,
        combine: bool = False,
        exclude: Place | Sequence[Place] = (),
    ) -> Estimates:
        """All pairwise differences within groups; arguments as for `contrast`."""
        return self.contrast(
            "pairwise", by, adjust, reverse=reverse, simple=simple, combine=combine, exclude=exclude
        )

    def regrid(self, transform: str = "response") -> Estimates:
        """The same as estimates on another scale, with what is averaged or contrasted next on it.

        Parameters
        ----------
        transform : str
            ``"response"``, or a function of the response such as ``"log"``: differences of
            logarithms of means are ratios of means.

        Raises
        ------
        DataError
            The response's expression has no inverse over the data.
        ValueError
            The function is unknown.
        """
        back = self.response().back or IDENTITY
        link = self.estimator.t_tests(self.L, self.offset).estimate
        values, slope, scale = back.inverse(link), back.slope(link), None
        if transform != "response":
            scale = scale_named(transform)
            values = scale.to(values)
            slope = slope / scale.slope(values)
        return replace(
            self._linearized(values, slope),
            quantity=self.quantity if self.scale is scale is None else back.column,
            scale=scale,
            shown=replace(self.shown, on_response=False, sigma=0.0),
        )

    def _linearized(self, values: Vector, slope: Vector) -> Estimates:
        """Functions of the estimates, by their values and slopes, (r,)."""
        known = np.isfinite(values) & np.isfinite(slope)
        L = np.where(known[:, None], slope[:, None] * self.L, np.nan)
        beta = np.zeros(L.shape[1])
        beta[self.estimator.kept] = self.estimator.method.fit.beta
        return replace(self, L=L, offset=np.where(known, values - L @ beta, np.nan))

    # What is made of them ------------------------------------------------------------------------

    def __add__(self, other: Estimates) -> Estimates:
        """Rows of both, tested as one family with Bonferroni's adjustment."""
        if not isinstance(other, Estimates):
            return NotImplemented
        if other.estimator.method.fit is not self.estimator.method.fit:
            raise DataError("the estimates are those of different models")
        labels = pd.concat([self.labels, other.labels], ignore_index=True)
        partly = list(labels.columns[labels.isna().any()])
        labels[partly] = labels[partly].map(label_text, na_action="ignore")
        made = replace(
            self,
            labels=labels.astype(object).where(labels.notna(), "."),
            by=(),
            L=np.vstack([self.L, other.L]),
            offset=np.concatenate([self.offset, other.offset]),
            counts=np.concatenate([self.counts, other.counts]),
            levels={},
            nesting={},
            differences=None,
        )
        return replace(made, shown=replace(self.shown, adjustment="bonferroni"))

    def add_grouping(self, name: str, of: str, groups: Sequence[Any]) -> Estimates:
        """The same with a label that groups the levels of another one, which is nested in it.

        Parameters
        ----------
        name : str
            The new label.
        of : str
            Label whose levels it groups.
        groups : sequence
            Group of each level, in the order of the levels.

        Raises
        ------
        DataError
            There are not as many groups as levels, or the name is taken.
        """
        checked_labels(of, self.labels)
        levels = list(self.levels.get(of) or dict.fromkeys(self.labels[of]))
        if len(groups) != len(levels) or name in self.labels.columns:
            raise DataError(
                f"{len(groups)} groups for the {len(levels)} levels of {of!r}, as a new label "
                f"{name!r}"
            )
        group = dict(zip(levels, groups, strict=True))
        return replace(
            self,
            labels=self.labels.assign(**{name: [group[level] for level in self.labels[of]]}),
            nesting={**self.nesting, of: (*self.nesting.get(of, ()), name)},
        )

    def eff_size(
        self, sigma: float, edf: float, method: str | Coefficients = "pairwise", level: float = 0.95
    ) -> EffectSizes:
        """Contrasts in units of a standard deviation: Cohen's d. See `effect_sizes`."""
        return effect_sizes(self.contrast(method), sigma, edf, level)

    def pwpm(self, adjust: Adjust | None = None, reverse: bool = False) -> PairwiseMatrices:
        """Means, their differences and p-values as matrices. See `PairwiseMatrices`."""
        return PairwiseMatrices.of(self, self.pairs(adjust=adjust, reverse=reverse))

    def cld(
        self, level: float = 0.95, adjust: Adjust | None = None, reverse: bool = False
    ) -> CompactLetters:
        """Means in order, with a sign in common where they do not differ. See `CompactLetters`."""
        return CompactLetters.of(
            self, self.pairs(adjust=adjust), 1.0 - checked_level(level), reverse
        )

    def plot(
        self,
        ax: Axes | None = None,
        *,
        comparisons: bool = False,
        adjust: Adjust | None = None,
        interval: Interval = "confidence",
        sigma: float | None = None,
    ) -> Axes:
        """Estimates with their confidence intervals, row by row.

        Parameters
        ----------
        ax : Axes, optional
            Where to draw.
        comparisons : bool
            Whether to draw comparison arrows: those of two means overlap where their difference is
            not significant.
        adjust : str, optional
            Adjustment of the comparisons: Tukey's by default.
        interval : {"confidence", "prediction"}
            With ``"prediction"`` the intervals of new observations are drawn as well.
        sigma : float, optional
            As for `predict`.

        Warns
        -----
        LmmWarning
            No arrows show the significance of all differences; the message names which.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("angle ~ temp + recipe + (1 | replicate)", lmm.load_dataset("cake"))
        >>> lmm.emmeans(m, "recipe").plot(comparisons=True).get_xlabel()
        'emmean'
        """
        from lmm.plots.means import Trace, estimates

        frame = self.summary(True, False, self.shown.level).to_frame()
        rows = frame[list(self.labels.columns)].itertuples(index=False, name=None)
        names = [" ".join(map(str, row)) for row in rows]
        arrows = self._arrows(adjust) if comparisons else None
        limits = [frame.iloc[:, -2:]]
        if interval != "confidence":
            wide = self.predict(interval, self.shown.level, sigma=sigma)
            limits.append(wide.to_frame().iloc[:, -2:])
        return estimates(
            names,
            Trace(frame[self.column].to_numpy(), tuple(ends.to_numpy() for ends in limits)),
            self.column,
            ax,
            arrows,
        )

    def _arrows(self, adjust: Adjust | None) -> tuple[Vector, Vector]:
        """Ends of comparison arrows, (r,) each, on the scale that is shown."""
        means = replace(self, shown=replace(self.shown, on_response=False))
        arrows = comparison_arrows(means, means.pairs(adjust=adjust))
        if arrows.wrong:
            warn(
                ArrowsWarning(
                    "no arrows show the significance of all differences; those drawn are wrong "
                    f"about {', '.join(arrows.wrong)}: see pairs()."
                )
            )
        back = self.back or IDENTITY
        return back.inverse(arrows.left), back.inverse(arrows.right)


def _combined(coefficients: Matrix, rows: np.ndarray) -> np.ndarray:
    """Linear functions (c, ...) of rows (r, ...), NaN of those that have an unknown row."""
    unknown = np.isnan(rows)
    made = coefficients @ np.where(unknown, 0.0, rows)
    return np.where(np.abs(coefficients) @ unknown > 0.0, np.nan, made)


def _unused(name: str, taken: Sequence[str]) -> str:
    """The name, with a number behind it if it is taken."""
    numbered = (f"{name}{i}" if i else name for i in range(len(taken) + 1))
    return next(one for one in numbered if one not in taken)
