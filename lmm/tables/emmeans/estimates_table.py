"""Estimates and what is shown of them: intervals, tests, adjustments, scales."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
import pandas as pd

from lmm._types import IntMatrix, IntVector, Matrix, Vector
from lmm._words import Adjust, Interval, MeanScale, Side
from lmm.errors import DataError, checked_level
from lmm.inference.fixed.base import TTests
from lmm.inference.marginal.adjustments import (
    ADJUSTMENTS,
    SimultaneousTests,
    adjusted_p_values,
    adjustment_for,
    check_adjustment,
    critical_values,
    crossed_p_values,
)
from lmm.inference.marginal.combinations import Combinations
from lmm.inference.marginal.estimator import Estimator
from lmm.inference.marginal.hypothesis import Hypothesis
from lmm.inference.marginal.nesting import Nesting
from lmm.inference.marginal.scales import IDENTITY, Transformation
from lmm.report.document import Document
from lmm.report.estimate_blocks import estimates_blocks
from lmm.report.printed import TableLike
from lmm.tables.emmeans.joint_table import JointTests
from lmm.tables.emmeans.row_labels import checked_labels, codes_of, groups
from lmm.tables.emmeans.shown import Shown, checked_type

# What means on the scale of the model are called.
MEANS = ("emmean", "prediction")


@dataclass(frozen=True, eq=False, repr=False)
class EstimatesTable(TableLike):
    """Linear functions of the fixed effects, shown as R's emmeans does.

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
        Levels of labels in their order; of the others in that of the rows. None of a covariate
        whose value follows from the other labels.
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
        self, level: float = 0.95, adjust: Adjust | None = None, *, side: Side = "two-sided"
    ) -> Self:
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
        adjust: Adjust | None = None,
        *,
        side: Side = "two-sided",
        delta: float = 0.0,
        cross_adjust: str = "none",
    ) -> Self:
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
        cross_adjust : str
            Further adjustment of the p-values of corresponding rows of all groups, one that needs
            p-values only.

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
        level = self.shown.level
        return self.summary(
            False, True, level, null, adjust, side=side, delta=delta, cross_adjust=cross_adjust
        )

    def summary(
        self,
        intervals: bool = True,
        tests: bool = True,
        level: float = 0.95,
        null: float = 0.0,
        adjust: Adjust | None = None,
        *,
        side: Side = "two-sided",
        delta: float = 0.0,
        cross_adjust: str = "none",
        infer: bool | tuple[bool, bool] | None = None,
        type: MeanScale | None = None,
        by: str | Sequence[str] | None = None,
    ) -> Self:
        """The same with intervals and tests; arguments as for `confint` and `test`.

        Parameters
        ----------
        intervals, tests : bool
            Whether to show them; or both at once by `infer`, R's word.
        level, null, adjust, side, delta, cross_adjust
            As for `confint` and `test`.
        type : {"link", "response"}, optional
            Scale on which estimates are shown: see `response`.
        by : str or sequence of str, optional
            Labels whose combinations are shown, and adjusted, apart; ``[]`` for none.
        """
        if type is not None or by is not None:
            return self._rearranged(type, by).summary(
                intervals,
                tests,
                level,
                null,
                adjust,
                side=side,
                delta=delta,
                cross_adjust=cross_adjust,
                infer=infer,
            )
        if infer is not None:
            intervals, tests = (infer, infer) if isinstance(infer, bool) else infer
        level = checked_level(level)
        adjustment = self.shown.adjustment if adjust is None else adjust
        check_adjustment(adjustment, self.differences is not None)
        crossed_p_values(cross_adjust, np.empty(0))  # refuses an unknown one
        hypothesis = Hypothesis.of(null, side, delta)
        shown = replace(
            self.shown,
            intervals=intervals,
            tests=tests,
            adjustment=adjustment,
            crossed=cross_adjust,
            level=level,
            hypothesis=hypothesis,
            scatter=0.0,
        )
        return replace(self, shown=shown)

    def _rearranged(self, type: MeanScale | None, by: str | Sequence[str] | None) -> Self:
        """The same on another scale and in other groups."""
        made = self
        if type is not None:
            on_response = checked_type(type) == "response"
            made = self.response() if on_response else self
            made = replace(made, shown=replace(made.shown, on_response=on_response))
        if by is None or (groups := checked_labels(by, self.labels)) == self.by:
            return made
        return replace(made, by=groups, differences=None)

    def response(self, bias_adjust: bool = False, sigma: float | None = None) -> Self:
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
        fit = self.estimator.method.fit
        if bias_adjust and sigma is None and not fit.family.is_gaussian_identity:
            raise DataError(
                "a generalized model has no residual standard deviation: give sigma=, such as the "
                "root of the sum of the variances of its random effects"
            )
        spread = fit.sigma if sigma is None and bias_adjust else sigma
        shown = replace(self.shown, on_response=True, sigma=float(spread or 0.0) * bias_adjust)
        return replace(self, shown=shown)

    def predict(
        self, interval: Interval = "prediction", level: float = 0.95, *, sigma: float | None = None
    ) -> Self:
        """The means as predictions, with intervals of new observations, as emmeans' ``predict``.

        Parameters
        ----------
        interval : {"prediction", "confidence"}
            For a new observation, or for the mean: see `confint`.
        level : float
            Coverage.
        sigma : float, optional
            Standard deviation of a new observation about its mean, on the model's scale: the
            residual one by default, as in R. For an observation of a new level of the grouping
            factors give the root of the sum of their variances and the residual one.

        Raises
        ------
        DataError
            These are no means on the scale of the model, or it has no residual variance.
        ValueError
            The level is not between 0 and 1, sigma is none, or the interval another word.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("angle ~ recipe + temp + (1 | replicate)", lmm.load_dataset("cake"))
        >>> lmm.emmeans(m, "recipe", ddf="satterthwaite").predict()
         recipe prediction  SE   df lower.PL upper.PL
         A            33.1 5.1 15.8     22.3     43.9
         B            31.6 5.1 15.8     20.8     42.5
         C            31.6 5.1 15.8     20.8     42.4
        <BLANKLINE>
        Degrees-of-freedom method: satterthwaite
        Prediction intervals and SEs are based on an error SD of 4.8127
        Confidence level used: 0.95
        """
        if interval not in ("prediction", "confidence"):
            raise ValueError(f"interval must be 'prediction' or 'confidence', not {interval!r}.")
        made = self.confint(level)
        if interval == "confidence":
            return made
        scatter = self.estimator.method.fit.sigma if sigma is None else float(sigma)
        if not (np.isfinite(scatter) and scatter > 0.0):
            raise ValueError(f"sigma must be a positive number, not {sigma!r}.")
        if self.quantity not in MEANS:
            raise DataError(
                f"only means on the scale of the model have new observations, not {self.quantity!r}"
            )
        if sigma is None and not self.estimator.method.fit.family.is_gaussian_identity:
            raise DataError(
                "a generalized model has no residual standard deviation, and intervals of its new "
                "observations are not those of a normal distribution: see m.simulate()"
            )
        return replace(made, quantity="prediction", shown=replace(made.shown, scatter=scatter))

    def joint(self) -> JointTests:
        """F test that all estimates of a group equal the null."""
        null = self.shown.hypothesis.null
        tests = [
            (labels, *self.estimator.f_test(self.L[rows], null - self.offset[rows]))
            for labels, rows in self._groups()
        ]
        return JointTests.of(tests, self.by)

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

    def cells(self) -> Combinations:
        """The labels as combinations of levels, to average over further."""
        names = [name for name in map(str, self.labels.columns) if self.levels.get(name) != ()]
        codes = codes_of(self.labels[names], self.levels)
        return Combinations(tuple(names), codes, self.counts, self.nesting)

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
        return self.quantity if self.back is None or self.shown.scatter else self.back.column

    def to_frame(self) -> pd.DataFrame:
        """The table as a DataFrame with R's column names; NaN where nothing can be estimated.

        Returns
        -------
        DataFrame
            The labels, then the estimate, ``SE df`` and, as asked for, ``lower.CL upper.CL`` and
            ``null t.ratio p.value``; ``asymp.LCL asymp.UCL z.ratio`` with infinite df.
        """
        shown, hypothesis = self.shown, self.shown.hypothesis
        tests = self._t_tests()
        back, normal = self.back or IDENTITY, self.ddf == "asymptotic"
        frame = self.labels.copy()
        if self.back is not None and self.quantity == "estimate":
            for name in frame.columns.difference(list(self.levels), sort=False):
                frame[name] = frame[name].str.replace(" - ", " / ")
        frame[self.column] = back.inverse(tests.estimate)
        frame["SE"], frame["df"] = tests.std_error * np.abs(back.slope(tests.estimate)), tests.df
        if shown.intervals:
            names = ("asymp.LCL", "asymp.UCL") if normal else ("lower.CL", "upper.CL")
            names = ("lower.PL", "upper.PL") if shown.scatter else names
            frame[names[0]], frame[names[1]] = back.ends(tests.estimate, self._limits(tests))
        if shown.tests:
            null = float(back.inverse(np.array([hypothesis.null]))[0])
            if null:
                frame["null"] = null
            statistic = hypothesis.statistics(tests.estimate, tests.std_error)
            frame["z.ratio" if normal else "t.ratio"] = statistic
            p = self._by_group(
                tests,
                lambda rows, family: adjusted_p_values(shown.adjustment, statistic[rows], family),
                hypothesis.tail,
            )
            frame["p.value"] = self._crossed(p)
        return frame

    def _t_tests(self) -> TTests:
        """Estimates with their errors, or those of new observations."""
        tests = self.estimator.t_tests(self.L, self.offset)
        return replace(tests, std_error=np.hypot(tests.std_error, self.shown.scatter))

    def _crossed(self, p: Vector) -> Vector:
        """P-values (r,) adjusted across the groups, row by row."""
        adjusted = p.copy()
        groups = [rows for _, rows in self._groups()]
        for i in range(max(map(len, groups))):
            rows = np.array([group[i] for group in groups if i < len(group)])
            rows = rows[np.isfinite(p[rows])]
            adjusted[rows] = crossed_p_values(self.shown.crossed, p[rows])
        return adjusted

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
        self, tests: TTests, compute: Callable[[IntVector, SimultaneousTests], Vector], tail: int
    ) -> Vector:
        """Values (r,) computed from the estimable tests of each group."""
        values = np.full(len(self.L), np.nan)
        for _, rows in self._groups():
            rows = rows[np.isfinite(tests.std_error[rows])]
            if not len(rows):
                continue
            correlation = self.estimator.correlation(self.L[rows])
            family = SimultaneousTests(tests.df[rows], correlation, self._means(rows), tail)
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
        tests = self._t_tests()
        adjustment = self.shown.adjustment if self.shown.intervals else "none"
        half = frame["SE"].to_numpy() * self._critical(tests, adjustment, 0)
        blocks = estimates_blocks(frame, self.column, self.by, half)
        notes = (f"{line} " for line in self._annotations())
        return Document((*self.heading, *blocks, "", *notes))

    def _annotations(self) -> Iterator[str]:
        if self.averaged:
            yield f"Results are averaged over the levels of: {', '.join(self.averaged)}"
        yield from self.notes
        if self.estimator.method.fit.family.is_gaussian_identity and self.ddf != "residual":
            yield f"Degrees-of-freedom method: {self.ddf}"
        if self.scale is not None and not self.shown.on_response:
            yield f"Results are given on the {self.scale.name} (not the response) scale."
        if self.shown.scatter:
            sd = f"{self.shown.scatter:.5g}"
            yield f"Prediction intervals and SEs are based on an error SD of {sd}"
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
        if self.shown.crossed != "none":
            yield f"Cross-group P-value adjustment: {self.shown.crossed}"
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


def _span(sizes: Iterable[int]) -> str:
    """A size, or the smallest and the largest one."""
    found = sorted(set(sizes))
    return str(found[0]) if len(found) == 1 else f"{found[0]} to {found[-1]}"
