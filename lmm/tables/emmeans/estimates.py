"""Estimated marginal means as a table that can be contrasted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from lmm._types import Matrix, Vector
from lmm.errors import DataError, nearest
from lmm.inference.fixed.base import TTests
from lmm.inference.marginal import (
    ADJUSTMENTS,
    IDENTITY,
    Estimator,
    Family,
    Transformation,
    adjusted_p_values,
    contrasts_of,
    critical_values,
)
from lmm.report.document import Document
from lmm.report.estimates import estimates_blocks
from lmm.report.printed import Printed, TableLike
from lmm.tables.emmeans.joint_tests import JointTests

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Scales on which means of a transformed response are shown.
TYPES = ("link", "response")


@dataclass(frozen=True, eq=False, repr=False)
class Estimates(TableLike):
    """Linear functions of the fixed effects: marginal means, slopes, or contrasts of them.

    Prints as R's emmeans does. `confint` and `test` choose what is shown; `to_frame` gives it.

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
    estimator : Estimator
        Estimates and their distribution.
    ddf : str
        Method for the degrees of freedom.
    notes : tuple of str
        What is said below the table before the method.
    scale : Transformation or None
        How the response is transformed.
    heading : str
        What is said above the table.
    adjustment : str
        How p-values and intervals are adjusted for the rows of a group.
    means : int
        Number of means of which each group's rows are all the differences; 0 if they are not.
    intervals, tests : bool
        Whether confidence intervals, and tests, are shown.
    level : float
        Coverage of the intervals.
    null : float
        Value under the hypothesis.
    on_response : bool
        Whether estimates are shown on the response's own scale.
    """

    quantity: str
    labels: pd.DataFrame
    by: tuple[str, ...]
    L: Matrix
    offset: Vector
    estimator: Estimator
    ddf: str
    notes: tuple[str, ...] = ()
    scale: Transformation | None = None
    heading: str = ""
    adjustment: str = "none"
    means: int = 0
    intervals: bool = True
    tests: bool = False
    level: float = 0.95
    null: float = 0.0
    on_response: bool = False

    # What is shown -------------------------------------------------------------------------------

    def confint(self, level: float = 0.95, adjust: str | None = None) -> Estimates:
        """The same with confidence intervals, adjusted for the rows of each group or not.

        Parameters
        ----------
        level : float
            Coverage.
        adjust : {"none", "tukey", "bonferroni", "sidak", "holm", "fdr", "mvt"}, optional
            What it is by default depends on the family; none for means.

        Raises
        ------
        ValueError
            The level is not between 0 and 1, or the adjustment unknown or unsuitable.
        """
        if not 0.0 < level < 1.0:
            raise ValueError(f"level must lie between 0 and 1, not {level!r}.")
        return self._showing(intervals=True, tests=False, level=level, adjust=adjust)

    def test(self, null: float = 0.0, adjust: str | None = None) -> Estimates:
        """The same with t tests, adjusted for the rows of each group or not.

        Parameters
        ----------
        null : float
            Value under the hypothesis.
        adjust : str, optional
            As for `confint`.
        """
        return self._showing(intervals=False, tests=True, null=null, adjust=adjust)

    def summary(
        self,
        intervals: bool = True,
        tests: bool = True,
        level: float = 0.95,
        null: float = 0.0,
        adjust: str | None = None,
    ) -> Estimates:
        """The same with intervals and tests; arguments as for `confint` and `test`."""
        return self._showing(
            intervals=intervals, tests=tests, level=level, null=null, adjust=adjust
        )

    def _showing(self, adjust: str | None, **changes: Any) -> Estimates:
        return replace(self, **changes, adjustment=self.adjustment if adjust is None else adjust)

    def response(self) -> Estimates:
        """The same on the scale of the response, for a transformed one.

        The response's own expression is undone: functions of one argument, powers and arithmetic
        with constants, as in ``log(y + 1)``, ``sqrt(y / 100)``, ``asin(sqrt(y))``, ``1 / y``,
        ``scale(y)`` or ``(y^0.3 - 1) / 0.3``. Means are transformed back with their limits, to the
        nearest value that the response can have, and their standard errors by the delta method;
        differences of logarithms become ratios, of log odds odds ratios. Tests remain those on the
        scale of the model. Without a transformation nothing changes.

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
        return replace(self, on_response=True)

    def joint(self) -> JointTests:
        """F test that all estimates of a group equal the null."""
        tests = [
            (labels, *self.estimator.f_test(self.L[rows], self.null - self.offset[rows]))
            for labels, rows in self._groups()
        ]
        return JointTests.of(tests, self.by)

    # Contrasts -----------------------------------------------------------------------------------

    def contrast(
        self,
        method: str | Mapping[str, Sequence[float]] = "eff",
        by: str | Sequence[str] | None = None,
        adjust: str | None = None,
        ref: int | str = 0,
    ) -> Estimates:
        """Contrasts of the rows of each group.

        Parameters
        ----------
        method : str or mapping
            ``"pairwise" "revpairwise" "trt.vs.ctrl" "trt.vs.ctrlk" "consec" "poly" "eff"
            "del.eff" "mean_chg" "identity"``, or coefficients by name.
        by : str or sequence of str, optional
            Labels that make groups; those of the estimates by default, ``[]`` for none.
        adjust : str, optional
            As for `confint`; by default what suits the method: Tukey for pairs, exact
            multivariate t for comparisons with a control and consecutive ones, false discovery
            rate for effects.
        ref : int or str
            Position or label of the control, for ``"trt.vs.ctrl"``.

        Raises
        ------
        ValueError
            The method or adjustment is unknown.
        DataError
            `by` is no label, or coefficients do not fit the number of means.
        """
        source = self if by is None else replace(self, by=self._checked_by(by))
        parts, labels = [], []
        for group, rows in source._groups():
            part = contrasts_of(method, source._row_names(rows), ref)
            parts.append((part, rows))
            labels += [{"contrast": name, **group} for name in part.names]
        first = parts[0][0]
        return replace(
            source,
            quantity="estimate",
            labels=pd.DataFrame(labels, columns=["contrast", *source.by]),
            L=np.vstack([part.coefficients @ self.L[rows] for part, rows in parts]),
            offset=np.concatenate([part.coefficients @ self.offset[rows] for part, rows in parts]),
            adjustment=first.adjustment if adjust is None else adjust,
            means=first.coefficients.shape[1] if first.is_pairwise else 0,
            notes=(*self.notes, *self._contrast_note()),
            scale=self.scale and self.scale.contrasts,
            intervals=False,
            tests=True,
        )

    def pairs(
        self,
        by: str | Sequence[str] | None = None,
        adjust: str | None = None,
        reverse: bool = False,
    ) -> Estimates:
        """All pairwise differences within groups; arguments as for `contrast`."""
        return self.contrast("revpairwise" if reverse else "pairwise", by, adjust)

    def _contrast_note(self) -> tuple[str, ...]:
        if self.scale is None or self.scale.contrasts is not None or self.quantity == "estimate":
            return ()
        return (f"Note: contrasts are still on the {self.scale.name} scale",)

    def _checked_by(self, by: str | Sequence[str]) -> tuple[str, ...]:
        names = (by,) if isinstance(by, str) else tuple(by)
        for name in names:
            if name not in self.labels.columns:
                raise DataError(f"there is no label {name!r}.{nearest(name, self.labels.columns)}")
        return names

    def _row_names(self, rows: np.ndarray) -> list[str]:
        """Names of a group's rows: levels, with the predictor's name where they are numbers."""
        columns = [name for name in self.labels.columns if name not in self.by]
        texts = [_level_names(name, self.labels[name].iloc[rows]) for name in columns]
        return [" ".join(parts) for parts in zip(*texts, strict=True)]

    def _groups(self) -> Iterator[tuple[dict[str, Any], np.ndarray]]:
        """Labels and rows of each group."""
        if not self.by:
            yield {}, np.arange(len(self.labels))
            return
        keys = list(self.labels[list(self.by)].itertuples(index=False, name=None))
        for key in dict.fromkeys(keys):
            rows = np.flatnonzero([other == key for other in keys])
            yield dict(zip(self.by, key, strict=True)), rows

    # Tables --------------------------------------------------------------------------------------

    @property
    def _back(self) -> Transformation | None:
        """The transformation that the table takes back."""
        return self.scale if self.on_response else None

    @property
    def _column(self) -> str:
        """Name of the estimates' column."""
        return self.quantity if self._back is None else self._back.column

    def to_frame(self) -> pd.DataFrame:
        """The table as a DataFrame with R's column names; NaN where nothing can be estimated.

        Returns
        -------
        DataFrame
            The labels, then the estimate, ``SE df`` and, as asked for, ``lower.CL upper.CL`` and
            ``null t.ratio p.value``; ``asymp.LCL asymp.UCL z.ratio`` with infinite df.
        """
        tests = self.estimator.t_tests(self.L, self.offset, self.null)
        back = self._back or IDENTITY
        frame = self.labels.copy()
        if self._back is not None and self.quantity == "estimate":
            frame["contrast"] = frame["contrast"].str.replace(" - ", " / ")
        frame[self._column] = back.inverse(tests.estimate)
        frame["SE"], frame["df"] = tests.std_error * np.abs(back.slope(tests.estimate)), tests.df
        normal = self.ddf == "asymptotic"
        if self.intervals:
            half = tests.std_error * self._by_group(tests, self._critical)
            names = ("asymp.LCL", "asymp.UCL") if normal else ("lower.CL", "upper.CL")
            ends = [back.inverse(tests.estimate + sign * half) for sign in (-1.0, 1.0)]
            frame[names[0]], frame[names[1]] = np.minimum(*ends), np.maximum(*ends)
        if self.tests:
            null = float(back.inverse(np.array([self.null]))[0])
            if null:
                frame["null"] = null
            frame["z.ratio" if normal else "t.ratio"] = tests.statistic
            frame["p.value"] = self._by_group(tests, self._p_values)
        return frame

    def _critical(self, family: Family, _: Vector) -> Vector:
        return critical_values(self.adjustment, self.level, family)

    def _p_values(self, family: Family, t: Vector) -> Vector:
        return adjusted_p_values(self.adjustment, t, family)

    def _by_group(self, tests: TTests, compute: Callable[[Family, Vector], Vector]) -> Vector:
        """Values (r,) computed from the estimable tests of each group."""
        values = np.full(len(self.L), np.nan)
        for _, rows in self._groups():
            rows = rows[np.isfinite(tests.std_error[rows])]
            correlation = self.estimator.correlation(self.L[rows])
            family = Family(tests.df[rows], correlation, self.means)
            values[rows] = compute(family, tests.statistic[rows])
        return values

    def vcov(self) -> Matrix:
        """Covariance of the estimates, (r, r)."""
        rows = self.L[:, self.estimator.kept]
        return np.asarray(rows @ self.estimator.method.vcov @ rows.T)

    def __len__(self) -> int:
        return len(self.L)

    def document(self) -> Document:
        """The estimates by group, and how they were made."""
        frame = self.to_frame()
        tests = self.estimator.t_tests(self.L, self.offset)
        plain = self if self.intervals else replace(self, adjustment="none")
        half = frame["SE"].to_numpy() * plain._by_group(tests, plain._critical)
        heading = [self.heading] if self.heading else []
        return Document(
            (
                *heading,
                *estimates_blocks(frame, self._column, self.by, half),
                "",
                *(f"{line} " for line in self._annotations()),
            )
        )

    def _annotations(self) -> Iterator[str]:
        yield from self.notes
        yield f"Degrees-of-freedom method: {self.ddf}"
        if self.scale is not None and not self.on_response:
            yield f"Results are given on the {self.scale.name} (not the response) scale."
        size = max(len(rows) for _, rows in self._groups())
        is_adjusted = self.adjustment != "none" and size > 1
        family = f"for comparing a family of {self.means} estimates"
        if self.intervals:
            yield f"Confidence level used: {self.level:g}"
            if is_adjusted:
                name = ADJUSTMENTS[self.adjustment].interval_name or self.adjustment
                of = family if name == "tukey" else f"for {size} estimates"
                yield f"Conf-level adjustment: {name} method {of}"
            if self._back is not None:
                yield f"Intervals are back-transformed from the {self._back.name} scale"
        if self.tests:
            if is_adjusted:
                of = family if self.adjustment == "tukey" else f"for {size} tests"
                yield f"P value adjustment: {self.adjustment} method {of}"
            if self._back is not None:
                yield f"Tests are performed on the {self._back.name} scale"

    def plot(self, ax: Axes | None = None) -> Axes:
        """Estimates with their confidence intervals, row by row.

        Parameters
        ----------
        ax : Axes, optional
            Where to draw.
        """
        from lmm.plots.estimates import estimates

        frame, column = self.confint(self.level).to_frame(), self._column
        rows = frame[list(self.labels.columns)].itertuples(index=False, name=None)
        names = [" ".join(map(str, row)) for row in rows]
        lower, upper = (frame.iloc[:, j].to_numpy() for j in (-2, -1))
        return estimates(names, frame[column].to_numpy(), lower, upper, column, ax)


def _level_names(name: str, levels: pd.Series[Any]) -> list[str]:
    """Levels as parts of a contrast's name: numbers get the predictor's name in front."""
    texts = [_label_text(level) for level in levels]
    return [f"{name}{text}" for text in texts] if all(map(_is_number, texts)) else texts


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _label_text(level: Any) -> str:
    if isinstance(level, bool | np.bool_):
        return "TRUE" if level else "FALSE"
    return f"{level:.7g}" if isinstance(level, float) else str(level)


@dataclass(frozen=True, eq=False, repr=False)
class EmmeansList(Printed):
    """Means with contrasts of them, as ``emmeans(m, pairwise ~ f)`` gives.

    Attributes
    ----------
    emmeans, contrasts : Estimates
        Means (or slopes), and their contrasts.
    """

    emmeans: Estimates
    contrasts: Estimates

    def document(self) -> Document:
        """Both, one below the other."""
        name = "emmeans" if self.emmeans.quantity == "emmean" else "emtrends"
        parts = (self.emmeans.document().blocks, self.contrasts.document().blocks)
        return Document((f"${name}", *parts[0], "", "$contrasts", *parts[1], ""))
