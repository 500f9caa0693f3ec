"""Estimated marginal means as a table that can be contrasted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from lmm._types import IntMatrix, IntVector, Matrix, Vector
from lmm.errors import DataError
from lmm.inference.fixed.base import TTests
from lmm.inference.marginal import (
    ADJUSTMENTS,
    IDENTITY,
    Cells,
    Coefficients,
    Estimator,
    Family,
    Hypothesis,
    Nesting,
    Place,
    Transformation,
    adjusted_p_values,
    adjustment_for,
    check_adjustment,
    contrasts_of,
    critical_values,
)
from lmm.report.document import Document
from lmm.report.estimates import estimates_blocks
from lmm.report.printed import TableLike
from lmm.tables.emmeans.interaction import Methods, interaction_contrasts
from lmm.tables.emmeans.joint_table import JointTests
from lmm.tables.emmeans.labels import checked_labels, codes_of, groups, row_names
from lmm.tables.emmeans.several import EmmeansList

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["TYPES", "Estimates", "Shown"]

# Scales on which means of a transformed response are shown.
TYPES = ("link", "response")


@dataclass(frozen=True)
class Shown:
    """What a table of estimates shows.

    Attributes
    ----------
    intervals, tests : bool
        Whether confidence intervals, and tests, are shown.
    adjustment : str
        How p-values and intervals are adjusted for the rows of a group.
    level : float
        Coverage of the intervals.
    hypothesis : Hypothesis
        What is tested.
    on_response : bool
        Whether estimates are shown on the response's own scale.
    sigma : float
        Standard deviation for which means on the response's scale are freed from bias; 0 for none.
    """

    intervals: bool = True
    tests: bool = False
    adjustment: str = "none"
    level: float = 0.95
    hypothesis: Hypothesis = field(default_factory=Hypothesis)
    on_response: bool = False
    sigma: float = 0.0


@dataclass(frozen=True, eq=False, repr=False)
class Estimates(TableLike):
    """Linear functions of the fixed effects: marginal means, slopes, or contrasts of them.

    Prints as R's emmeans does. `confint` and `test` choose what is shown; `to_frame` gives it.
    Rows are selected by position, slice or truth values: ``means[0]``, ``means[[0, 2]]``.

    Attributes
    ----------
    quantity : str
        Name of the estimates' column: ``"emmean"``, ``"Days.trend"``, ``"estimate"``.
    labels : DataFrame (r, j)
        What each row is an estimate of.
    by : tuple of str
        Columns of `labels` whose combinations are shown, and adjusted, apart.
    L : (r, P) array
        Coefficients, for all P columns that the formula makes.
    offset : (r,) array
        Known part of each estimate.
    counts : (r,) array
        Rows of the data that each stands for.
    estimator : Estimator
        Estimates and their distribution.
    ddf : str
        Method for the degrees of freedom.
    averaged : tuple of str
        Predictors that were averaged over.
    levels : mapping of str to tuple
        Levels of labels in their order; of the others in that of the rows.
    nesting : Nesting
        Labels nested in others.
    notes : tuple of str
        What else is said below the table before the method.
    scale : Transformation or None
        How the response is transformed.
    heading : tuple of str
        What is said above the table.
    interactions : tuple of frozenset of str
        Predictors of each interaction of the model.
    differences : (r, 2) int array or None
        The two means of each row, if they are differences of two.
    shown : Shown
        What is shown of them.
    """

    quantity: str
    labels: pd.DataFrame
    by: tuple[str, ...]
    L: Matrix
    offset: Vector
    counts: Vector
    estimator: Estimator
    ddf: str
    averaged: tuple[str, ...] = ()
    levels: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    nesting: Nesting = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    scale: Transformation | None = None
    heading: tuple[str, ...] = ()
    interactions: tuple[frozenset[str], ...] = ()
    differences: IntMatrix | None = None
    shown: Shown = field(default_factory=Shown)

    # What is shown -------------------------------------------------------------------------------

    def confint(
        self, level: float = 0.95, adjust: str | None = None, *, side: str = "two-sided"
    ) -> Estimates:
        """The same with confidence intervals, adjusted for the rows of each group or not.

        Parameters
        ----------
        level : float
            Coverage.
        adjust : str, optional
            ``"none" "tukey" "bonferroni" "sidak" "holm" "hochberg" "hommel" "fdr" "BH" "BY"
            "scheffe" "mvt"``. What it is by default depends on the family; none for means.
        side : {"two-sided", ">", "<"}
            Intervals to both sides, or without an upper, or a lower limit.

        Raises
        ------
        ValueError
            The level is not between 0 and 1, or the adjustment or the side unknown or unsuitable.
        """
        return self.summary(True, False, level, adjust=adjust, side=side)

    def test(
        self,
        null: float = 0.0,
        adjust: str | None = None,
        *,
        side: str = "two-sided",
        delta: float = 0.0,
    ) -> Estimates:
        """The same with t tests, adjusted for the rows of each group or not.

        Parameters
        ----------
        null : float
            Value under the hypothesis.
        adjust : str, optional
            As for `confint`. Tukey's and Scheffe's become Sidak's where tests have one side.
        side : {"two-sided", ">", "<"}
            Alternative: other values, larger ones, or smaller ones.
        delta : float
            Threshold: estimates are tested to be within it around the null (equivalence, by two
            one-sided tests), with a side to be above ``null - delta`` (noninferiority) or below
            ``null + delta`` (nonsuperiority).

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("angle ~ recipe + (1 | recipe:replicate)", lmm.load_dataset("cake"))
        >>> print(lmm.emmeans(m, "recipe").pairs(adjust="none").test(delta=5))
         contrast estimate   SE df t.ratio p.value
         A - B      1.4778 2.46 42  -1.434  0.0795
         A - C      1.5222 2.46 42  -1.416  0.0821
         B - C      0.0444 2.46 42  -2.017  0.0250
        <BLANKLINE>
        Degrees-of-freedom method: kenward-roger
        Statistics are tests of equivalence with a threshold of 5
        P values are left-tailed
        """
        return self.summary(False, True, self.shown.level, null, adjust, side=side, delta=delta)

    def summary(
        self,
        intervals: bool = True,
        tests: bool = True,
        level: float = 0.95,
        null: float = 0.0,
        adjust: str | None = None,
        *,
        side: str = "two-sided",
        delta: float = 0.0,
    ) -> Estimates:
        """The same with intervals and tests; arguments as for `confint` and `test`."""
        if not 0.0 < level < 1.0:
            raise ValueError(f"level must lie between 0 and 1, not {level!r}.")
        adjustment = self.shown.adjustment if adjust is None else adjust
        check_adjustment(adjustment, self.differences is not None)
        hypothesis = Hypothesis.of(null, side, delta)
        shown = replace(
            self.shown,
            intervals=intervals,
            tests=tests,
            adjustment=adjustment,
            level=level,
            hypothesis=hypothesis,
        )
        return replace(self, shown=shown)

    def response(self, bias_adjust: bool = False, sigma: float | None = None) -> Estimates:
        """The same on the scale of the response, for a transformed one.

        The response's own expression is undone: functions of one argument, powers and arithmetic
        with constants, as in ``log(y + 1)``, ``sqrt(y / 100)``, ``asin(sqrt(y))``, ``1 / y``,
        ``scale(y)`` or ``(y^0.3 - 1) / 0.3``. Means are transformed back with their limits, to the
        nearest value that the response can have, and their standard errors by the delta method;
        differences of logarithms become ratios, of log odds odds ratios. Tests remain those on the
        scale of the model. Without a transformation nothing changes.

        Parameters
        ----------
        bias_adjust : bool
            Whether to give the mean of the response instead of the value at the mean, to second
            order.
        sigma : float, optional
            Standard deviation around the mean for that; the residual one by default. For the mean
            over random effects take the total one.

        Raises
        ------
        DataError
            The response's expression has no inverse over the data; the message says why.

        Examples
        --------
        >>> import lmm
        >>> dietox = lmm.load_dataset("dietox")
        >>> m = lmm.lmer("log(Weight) ~ Time + Cu + (1 | Pig)", dietox)
        >>> lmm.emmeans(m, "Cu", ddf="satterthwaite").response()
         Cu    response   SE df lower.CL upper.CL
         Cu000     55.0 1.37 69     52.3     57.8
         Cu035     54.1 1.29 69     51.6     56.8
         Cu175     56.5 1.38 69     53.9     59.3
        <BLANKLINE>
        Degrees-of-freedom method: satterthwaite
        Confidence level used: 0.95
        Intervals are back-transformed from the log scale
        """
        if self.scale is not None and self.scale.obstacle:
            raise DataError(
                f"the way back from the scale {self.scale.name} to the response is not known: "
                f"{self.scale.obstacle}"
            )
        spread = self.estimator.method.fit.sigma if sigma is None else sigma
        shown = replace(self.shown, on_response=True, sigma=float(spread) if bias_adjust else 0.0)
        return replace(self, shown=shown)

    def joint(self) -> JointTests:
        """F test that all estimates of a group equal the null."""
        null = self.shown.hypothesis.null
        tests = [
            (labels, *self.estimator.f_test(self.L[rows], null - self.offset[rows]))
            for labels, rows in self._groups()
        ]
        return JointTests.of(tests, self.by)

    # Contrasts -----------------------------------------------------------------------------------

    def contrast(
        self,
        method: str | Coefficients = "eff",
        by: str | Sequence[str] | None = None,
        adjust: str | None = None,
        ref: Place | Sequence[Place] | None = None,
        *,
        reverse: bool = False,
        exclude: Place | Sequence[Place] = (),
        interaction: Methods | None = None,
        simple: str | Sequence[str] | None = None,
        offset: float = 0.0,
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
        offset : float
            Added to each contrast.

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

        def within(by: list[str]) -> Estimates:
            return self.contrast(
                method, by, adjust, ref, reverse=reverse, exclude=exclude, offset=offset
            )

        if simple is not None:
            return self._simple(simple, within)  # type: ignore[no-any-return]
        source = self if by is None else replace(self, by=checked_labels(by, self.labels))
        if interaction is not None:
            made = source._contrasted(*interaction_contrasts(interaction, self.labels, source.by))
            made = replace(made, offset=made.offset + offset)
            return made if adjust is None else made.summary(False, True, adjust=adjust)
        return source._within_groups(method, offset, adjust, ref, reverse, exclude)

    def _within_groups(
        self,
        method: str | Coefficients,
        offset: float,
        adjust: str | None,
        ref: Place | Sequence[Place] | None,
        reverse: bool,
        exclude: Place | Sequence[Place],
    ) -> Estimates:
        column = _unused("contrast", self.by)
        names = np.array(row_names(self.labels, self.by), dtype=object)
        parts, rows, labels = [], [], []
        for group, inside in self._groups():
            part = contrasts_of(
                method, names[inside].tolist(), ref, reverse=reverse, exclude=exclude
            )
            coefficients = np.zeros((len(part.names), len(self.L)))
            coefficients[:, inside] = part.coefficients
            parts.append(part)
            rows.append(coefficients)
            labels += [{column: name, **group} for name in part.names]
        pairs = [part.pairs for part in parts if part.pairs is not None]
        table = pd.DataFrame(labels, columns=[column, *self.by])
        made = self._contrasted(np.vstack(rows), table, np.vstack(pairs) if pairs else None)
        made = replace(made, offset=made.offset + offset)
        adjustment = parts[0].adjustment if adjust is None else adjust
        return made.summary(False, True, made.shown.level, adjust=adjustment)

    def _contrasted(
        self, coefficients: Matrix, labels: pd.DataFrame, differences: IntMatrix | None = None
    ) -> Estimates:
        """Linear functions of the rows, (c, r)."""
        if not len(labels):
            raise DataError("there is nothing to contrast: each group has one row")
        return replace(
            self,
            quantity="estimate",
            labels=labels,
            L=coefficients @ self.L,
            offset=coefficients @ self.offset,
            counts=np.abs(coefficients) @ self.counts,
            levels={},
            nesting={},
            interactions=(),
            notes=(*self.notes, *self._contrast_note()),
            scale=self.scale and self.scale.contrasts,
            differences=differences,
            shown=replace(self.shown, intervals=False, tests=True, adjustment="none"),
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
        adjust: str | None = None,
        reverse: bool = False,
        *,
        simple: str | Sequence[str] | None = None,
        exclude: Place | Sequence[Place] = (),
    ) -> Estimates:
        """All pairwise differences within groups; arguments as for `contrast`."""
        return self.contrast(
            "pairwise", by, adjust, reverse=reverse, simple=simple, exclude=exclude
        )

    def _contrast_note(self) -> tuple[str, ...]:
        if self.scale is None or self.scale.contrasts is not None or self.quantity == "estimate":
            return ()
        return (f"Note: contrasts are still on the {self.scale.name} scale",)

    def _groups(self) -> Iterator[tuple[dict[str, Any], IntVector]]:
        """Labels and rows of each group."""
        return groups(self.labels, self.by)

    # Rows ----------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.L)

    def __getitem__(self, key: Any) -> Any:
        """A column by name, several by a list of names, rows by anything else."""
        if isinstance(key, str) or (isinstance(key, list) and key and isinstance(key[0], str)):
            return self.to_frame()[key]
        try:
            chosen = np.atleast_1d(np.arange(len(self))[key])
        except IndexError as error:
            raise DataError(f"there are {len(self)} rows, from 0: {error}") from None
        return replace(
            self,
            labels=self.labels.iloc[chosen].reset_index(drop=True),
            L=self.L[chosen],
            offset=self.offset[chosen],
            counts=self.counts[chosen],
            differences=None if self.differences is None else self.differences[chosen],
        )

    def cells(self) -> Cells:
        """The labels as combinations of levels, to average over further."""
        names = tuple(map(str, self.labels.columns))
        return Cells(names, codes_of(self.labels, self.levels), self.counts, self.nesting)

    # Tables --------------------------------------------------------------------------------------

    @property
    def back(self) -> Transformation | None:
        """The transformation that the table takes back."""
        if self.scale is None or not self.shown.on_response:
            return None
        return self.scale.without_bias(self.shown.sigma) if self.shown.sigma else self.scale

    @property
    def column(self) -> str:
        """Name of the estimates' column."""
        return self.quantity if self.back is None else self.back.column

    def to_frame(self) -> pd.DataFrame:
        """The table as a DataFrame with R's column names; NaN where nothing can be estimated.

        Returns
        -------
        DataFrame
            The labels, then the estimate, ``SE df`` and, as asked for, ``lower.CL upper.CL`` and
            ``null t.ratio p.value``; ``asymp.LCL asymp.UCL z.ratio`` with infinite df.
        """
        shown, hypothesis = self.shown, self.shown.hypothesis
        tests = self.estimator.t_tests(self.L, self.offset)
        back, normal = self.back or IDENTITY, self.ddf == "asymptotic"
        frame = self.labels.copy()
        if self.back is not None and self.quantity == "estimate":
            frame["contrast"] = frame["contrast"].str.replace(" - ", " / ")
        frame[self.column] = back.inverse(tests.estimate)
        frame["SE"], frame["df"] = tests.std_error * np.abs(back.slope(tests.estimate)), tests.df
        if shown.intervals:
            names = ("asymp.LCL", "asymp.UCL") if normal else ("lower.CL", "upper.CL")
            ends = [back.inverse(end) for end in self._limits(tests)]
            frame[names[0]], frame[names[1]] = np.minimum(*ends), np.maximum(*ends)
        if shown.tests:
            null = float(back.inverse(np.array([hypothesis.null]))[0])
            if null:
                frame["null"] = null
            statistic = hypothesis.statistics(tests.estimate, tests.std_error)
            frame["z.ratio" if normal else "t.ratio"] = statistic
            frame["p.value"] = self._by_group(
                tests,
                lambda rows, family: adjusted_p_values(shown.adjustment, statistic[rows], family),
                hypothesis.tail,
            )
        return frame

    def _limits(self, tests: TTests) -> tuple[Vector, Vector]:
        side = self.shown.hypothesis.side
        half = tests.std_error * self._critical(tests, self.shown.adjustment, side)
        missing = np.isnan(half)
        lower = np.where(missing | (side >= 0), tests.estimate - half, -np.inf)
        upper = np.where(missing | (side <= 0), tests.estimate + half, np.inf)
        return lower, upper

    def _critical(self, tests: TTests, adjustment: str, side: int) -> Vector:
        level = self.shown.level
        return self._by_group(
            tests, lambda _, family: critical_values(adjustment, level, family), side
        )

    def _by_group(
        self, tests: TTests, compute: Callable[[IntVector, Family], Vector], tail: int
    ) -> Vector:
        """Values (r,) computed from the estimable tests of each group."""
        values = np.full(len(self.L), np.nan)
        for _, rows in self._groups():
            rows = rows[np.isfinite(tests.std_error[rows])]
            correlation = self.estimator.correlation(self.L[rows])
            family = Family(tests.df[rows], correlation, self._means(rows), tail)
            values[rows] = compute(rows, family)
        return values

    def _means(self, rows: IntVector) -> int:
        """Number of means that rows are the differences of; 0 if they are not."""
        return 0 if self.differences is None else len(np.unique(self.differences[rows]))

    def vcov(self) -> Matrix:
        """Covariance of the estimates, (r, r); NaN for what cannot be estimated."""
        return self.estimator.vcov(self.L)

    def document(self) -> Document:
        """The estimates by group, and how they were made."""
        frame = self.to_frame()
        tests = self.estimator.t_tests(self.L, self.offset)
        adjustment = self.shown.adjustment if self.shown.intervals else "none"
        half = frame["SE"].to_numpy() * self._critical(tests, adjustment, 0)
        blocks = estimates_blocks(frame, self.column, self.by, half)
        notes = (f"{line} " for line in self._annotations())
        return Document((*self.heading, *blocks, "", *notes))

    def _annotations(self) -> Iterator[str]:
        if self.averaged:
            yield f"Results are averaged over the levels of: {', '.join(self.averaged)}"
        yield from self.notes
        yield f"Degrees-of-freedom method: {self.ddf}"
        if self.scale is not None and not self.shown.on_response:
            yield f"Results are given on the {self.scale.name} (not the response) scale."
        if self.shown.intervals:
            yield from self._interval_annotations()
        if self.shown.tests:
            yield from self._test_annotations()
        if self.back is not None and self.shown.sigma:
            yield f"Bias adjustment applied based on sigma = {self.shown.sigma:.4g}"

    def _interval_annotations(self) -> Iterator[str]:
        yield f"Confidence level used: {self.shown.level:g}"
        name = adjustment_for(self.shown.adjustment, self.shown.hypothesis.side)
        name = ADJUSTMENTS[name].interval_name or name
        if of := self._family_text(name, "estimates"):
            yield f"Conf-level adjustment: {name} method {of}"
        if self.back is not None:
            yield f"Intervals are back-transformed from the {self.back.name} scale"

    def _test_annotations(self) -> Iterator[str]:
        name = adjustment_for(self.shown.adjustment, self.shown.hypothesis.tail)
        if of := self._family_text(name, "tests"):
            yield f"P value adjustment: {name} method {of}"
        if self.back is not None:
            yield f"Tests are performed on the {self.back.name} scale"
        yield from self.shown.hypothesis.descriptions()

    def _family_text(self, adjustment: str, what: str) -> str:
        """What an adjustment is for; empty if no group has several tests to adjust."""
        good = self.estimator.is_estimable(self.L)
        families = [rows[good[rows]] for _, rows in self._groups()]
        families = [rows for rows in families if len(rows)]
        if adjustment == "none" or all(len(rows) < 2 for rows in families):
            return ""
        if adjustment == "tukey":
            return f"for comparing a family of {_span(map(self._means, families))} estimates"
        if adjustment == "scheffe":
            return f"with rank {_span(self.estimator.rank(self.L[rows]) for rows in families)}"
        return f"for {_span(map(len, families))} {what}"

    def plot(self, ax: Axes | None = None) -> Axes:
        """Estimates with their confidence intervals, row by row.

        Parameters
        ----------
        ax : Axes, optional
            Where to draw.
        """
        from lmm.plots.estimates import estimates

        frame = self.summary(True, False, self.shown.level).to_frame()
        rows = frame[list(self.labels.columns)].itertuples(index=False, name=None)
        names = [" ".join(map(str, row)) for row in rows]
        lower, upper = (frame.iloc[:, j].to_numpy() for j in (-2, -1))
        return estimates(names, frame[self.column].to_numpy(), lower, upper, self.column, ax)


def _span(sizes: Iterable[int]) -> str:
    """A size, or the smallest and the largest one."""
    found = sorted(set(sizes))
    return str(found[0]) if len(found) == 1 else f"{found[0]} to {found[-1]}"


def _unused(name: str, taken: Sequence[str]) -> str:
    """The name, with a number behind it if it is taken."""
    numbered = (f"{name}{i}" if i else name for i in range(len(taken) + 1))
    return next(one for one in numbered if one not in taken)
