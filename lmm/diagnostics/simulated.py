"""Residuals as quantiles of simulated responses, and tests of them, as R's DHARMa.

The residual of a row is the share of its simulated responses that are smaller than the observed
one, at a random point of the jump where some are equal (Dunn & Smyth, 1996, J. Comput. Graph. Stat.
5, 236-244). If the model holds it is uniform, whatever the distribution of the response.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from lmm._types import Frozen, IntVector, Matrix, Vector
from lmm.design.beside import Beside
from lmm.design.columns import Factor, as_factor, drop_unused_levels, numbers_of
from lmm.design.table import Table, number_array
from lmm.diagnostics.residual_tests import categories, durbin_watson, morans_i, quantile_scores
from lmm.errors import DataError
from lmm.fit import Fit
from lmm.formula import Formula
from lmm.plain_fit import PlainFit
from lmm.predict import predict
from lmm.report.document import Document
from lmm.report.printed import Pictured, PrintedTable
from lmm.report.tables import frame_cells
from lmm.simulate import simulate


@dataclass(frozen=True, eq=False, repr=False)
class SimulatedResiduals(Pictured, Frozen):
    """Simulated quantile residuals; prints their tests. Made by ``m.simulated_residuals()``.

    A test is its statistic and its p-value. Rows that share a random effect are dependent; tests
    that take rows as independent are more exact with the random effects held (``re_form=None``) or
    after `grouped`.

    Attributes
    ----------
    values : (n,) array
        Residuals of the rows used, from 0 to 1.
    ranks : (n,) int array
        Place of each response among its nsim simulated ones, ties broken at random: 0 to nsim.
    y : (n,) array
        Response.
    predicted : (n,) array
        Its mean, given the random effects that were held.
    simulated : (n, nsim) array
        Simulated responses.
    labels : Index
        Labels of the rows, or the groups of `grouped` ones.
    beside : Beside or None
        Where columns of the data are looked for; not of `grouped` residuals.
    seed : int
        Of the random numbers that break ties in `grouped`.
    """

    values: Vector
    ranks: IntVector
    y: Vector
    predicted: Vector
    simulated: Matrix
    labels: pd.Index
    beside: Beside | None
    seed: int

    picture: ClassVar[str] = "check_simulated"

    @classmethod
    def of(
        cls,
        y: Vector,
        predicted: Vector,
        simulated: Matrix,
        labels: pd.Index,
        beside: Beside | None,
        seed: int,
    ) -> SimulatedResiduals:
        """Residuals of responses (n,) among simulated ones (n, nsim)."""
        nsim = simulated.shape[1]
        below = np.mean(simulated < y[:, None], axis=1)
        upto = np.mean(simulated <= y[:, None], axis=1)
        u = np.random.default_rng(seed).uniform(size=len(y))
        places = nsim * below + np.floor(u * (nsim * (upto - below) + 1.0))
        ranks = np.rint(places).astype(np.intp)
        values = below + (upto - below) * u
        return cls(values, ranks, y, predicted, simulated, labels, beside, seed)

    @property
    def nsim(self) -> int:
        """Number of simulated responses."""
        return int(self.simulated.shape[1])

    @property
    def outliers(self) -> np.ndarray:
        """Whether each response comes before or after all of its simulated ones, (n,) bool."""
        return np.asarray((self.ranks == 0) | (self.ranks == self.nsim))

    def uniformity(self) -> tuple[float, float]:
        """Kolmogorov and Smirnov's statistic, and its p-value."""
        from scipy.stats import kstest

        test = kstest(self.values, "uniform")
        return float(test.statistic), float(test.pvalue)

    def dispersion(self) -> tuple[float, float]:
        """Variance around the predicted means over its mean in simulations, and a p-value."""
        return _among(*self.dispersions())

    def dispersions(self) -> tuple[float, Vector]:
        """Variances around the predicted means: the observed one, and the simulated (nsim,)."""
        simulated = np.var(self.simulated - self.predicted[:, None], axis=0)
        return float(np.var(self.y - self.predicted)), simulated

    def outlier_test(self) -> tuple[float, float]:
        """Share of outliers, and the binomial test that it is ``2 / (nsim + 1)``."""
        from scipy.stats import binomtest

        count = int(self.outliers.sum())
        test = binomtest(count, len(self.y), 2.0 / (self.nsim + 1))
        return count / len(self.y), float(test.pvalue)

    def zero_inflation(self) -> tuple[float, float]:
        """Number of zeros over its mean in simulations, and a p-value.

        Raises
        ------
        DataError
            There are no zeros, neither observed nor simulated.
        """
        if not (self.y == 0.0).any() and not (self.simulated == 0.0).any():
            raise DataError("no response is zero, neither an observed nor a simulated one.")
        return self.statistic_test(lambda y: float(np.count_nonzero(y == 0.0)))

    def statistic_test(self, statistic: Callable[[Vector], float]) -> tuple[float, float]:
        """Any statistic of the responses over its mean in simulations, and a p-value.

        The p-value is twice the smaller share of the simulations that are as small or as large.

        Parameters
        ----------
        statistic : callable
            From responses (n,) to a number, such as ``np.max``.
        """
        simulated = np.array([float(statistic(draw)) for draw in self.simulated.T])
        return _among(float(statistic(self.y)), simulated)

    def temporal_autocorrelation(
        self, time: str | Sequence[Any] | None = None
    ) -> tuple[float, float]:
        """Durbin and Watson's statistic of the residuals in the order of time, and a p-value.

        It is 2 without autocorrelation, and smaller where neighbours are alike. The two-sided
        p-value is exact for normal residuals.

        Parameters
        ----------
        time : str or (n,) sequence, optional
            A column of the data, or the time of each row; the order of the rows (or of the groups)
            by default.

        Raises
        ------
        DataError
            A time stands twice: ``grouped(time)`` makes one residual of all rows of a time.
        """
        times = np.arange(len(self.y)) if time is None else self._numbers(time, "time")
        if len(np.unique(times)) < len(times):
            raise DataError(
                "several rows have the same time, so that their order is not known: test "
                "grouped(time), the residuals of the sums at each time."
            )
        if len(times) < 3:
            raise DataError(f"{len(times)} times are too few to test their autocorrelation.")
        return durbin_watson(self.values[np.argsort(times, kind="stable")])

    def spatial_autocorrelation(self, *coordinates: str | Sequence[Any]) -> tuple[float, float]:
        """Moran's I of the residuals, weighted by inverse distances, and its two-sided p-value.

        It is ``-1 / (n - 1)`` on average without autocorrelation, and larger where neighbours are
        alike.

        Parameters
        ----------
        *coordinates : str or (n,) sequence
            Columns of the data, or coordinates of each row (or group), such as ``"x", "y"``.

        Raises
        ------
        DataError
            Two rows have the same place: ``grouped(place)`` makes one residual of all rows of a
            place. A coordinate is missing, or there are fewer than four places.
        """
        if not coordinates:
            raise DataError("the test needs coordinates, such as 'x', 'y'.")
        if len(self.y) < 4:
            raise DataError(f"{len(self.y)} places are too few to test their autocorrelation.")
        columns = [self._numbers(values, "a coordinate") for values in coordinates]
        return morans_i(self.values, np.column_stack(columns))

    def quantiles(self, along: str | Sequence[Any] | None = None) -> PrintedTable:
        """Tests that the quartiles of the residuals are the same all along a predictor.

        DHARMa's ``testQuantiles`` asks the same by smoothing (``qgam``); these are score tests of a
        cubic polynomial in the ranks of the predictor.

        Parameters
        ----------
        along : str or (n,) sequence, optional
            A numeric column of the data, or a number for each row; the predicted means by default.

        Returns
        -------
        PrintedTable
            Rows ``0.25 0.5 0.75``, columns ``statistic df p.value p.adjusted`` (Holm's).
        """
        places = self.predicted if along is None else self._numbers(along, "the predictor")
        head = "Quartiles along the predictor, score tests"
        return PrintedTable(quantile_scores(self.values, places), (head,))

    def categories(self, groups: str | Sequence[Any]) -> PrintedTable:
        """Tests that the residuals of each category are uniform, and that all vary alike.

        DHARMa's ``testCategorical``: Kolmogorov and Smirnov's test by category, and Levene's.

        Parameters
        ----------
        groups : str or (n,) sequence
            A column of the data, or the category of each row.

        Returns
        -------
        PrintedTable
            A row per category, then ``equal variances``; columns ``statistic p.value p.adjusted``
            (Holm's over the categories).

        Raises
        ------
        DataError
            A row has no category, or all have the same.
        """
        head = "Residuals by category: Kolmogorov and Smirnov's tests, and Levene's"
        return PrintedTable(categories(self.values, self._factor(groups)), (head,))

    def _numbers(self, given: str | Sequence[Any], what: str) -> Vector:
        if self.beside is None and not isinstance(given, str):
            values = number_array(given, what)
            if len(values) != len(self.y):
                raise DataError(f"{what} must hold {len(self.y)} values, not {len(values)}.")
        else:
            values = numbers_of(self._beside(what).column(given, what), what)
        if not np.isfinite(values).all():
            raise DataError(f"{what} is missing in {int((~np.isfinite(values)).sum())} rows.")
        return values

    def _beside(self, what: str) -> Beside:
        if self.beside is None:
            raise DataError(
                f"the residuals are grouped already: no column stands beside them: give {what} "
                "as values, one for each group, in the order of labels."
            )
        return self.beside

    def grouped(self, groups: str | Sequence[Any]) -> SimulatedResiduals:
        """Residuals of the sums of responses in groups of rows, DHARMa's ``recalculateResiduals``.

        Parameters
        ----------
        groups : str or (n,) sequence
            A column of the data, or the group of each row.

        Raises
        ------
        DataError
            A row has no group, or there is no such column.
        """
        factor = self._factor(groups)
        sums = np.zeros((len(factor.levels), self.nsim + 2))
        columns = [self.y[:, None], self.predicted[:, None], self.simulated]
        np.add.at(sums, factor.codes, np.hstack(columns))
        labels = pd.Index(factor.levels)
        return SimulatedResiduals.of(sums[:, 0], sums[:, 1], sums[:, 2:], labels, None, self.seed)

    def _factor(self, groups: str | Sequence[Any]) -> Factor:
        column = self._beside("groups").column(groups, "groups")
        factor = drop_unused_levels(as_factor(column))
        if (factor.codes < 0).any():
            raise DataError(f"{int((factor.codes < 0).sum())} rows have no group.")
        return factor

    def to_series(self) -> pd.Series[float]:
        """The residuals by row or group."""
        return pd.Series(self.values, index=self.labels)

    def to_frame(self) -> pd.DataFrame:
        """The tests: rows ``uniformity dispersion outliers``, columns ``statistic p.value``."""
        tests = {
            "uniformity": self.uniformity(),
            "dispersion": self.dispersion(),
            "outliers": self.outlier_test(),
        }
        return pd.DataFrame.from_dict(tests, orient="index", columns=["statistic", "p.value"])

    def document(self, *, digits: int = 4) -> Document:
        """The tests."""
        head = f"Simulated quantile residuals of {len(self.y)} rows, {self.nsim} simulations"
        return Document((head, frame_cells(self.to_frame(), digits)))


def _among(observed: float, simulated: Vector) -> tuple[float, float]:
    """A statistic over its mean in simulations, and twice the smaller tail."""
    tails = np.mean(simulated <= observed), np.mean(simulated >= observed)
    with np.errstate(divide="ignore"):
        ratio = np.divide(observed, simulated.mean())
    return float(ratio), min(1.0, 2.0 * float(min(tails)))


def simulated_residuals(
    fit: Fit | PlainFit,
    nsim: int = 250,
    seed: int | np.random.Generator | None = None,
    re_form: str | Formula | None = "~0",
    table: Table | None = None,
) -> SimulatedResiduals:
    """Simulate quantile residuals of a fit.

    Arguments and errors as for `LinearMixedModel.simulated_residuals`.
    """
    rng = np.random.default_rng(seed)
    frame = fit.matrices.frame
    drawn = simulate(fit, nsim, rng, re_form=re_form).to_numpy()
    simulated = np.asarray(frame.rows_of(drawn, "y"))
    linear = predict(fit, None, re_form).to_series().to_numpy()
    predicted = fit.family.inverse(np.asarray(frame.rows_of(linear[:, None], "y"))[:, 0])
    return SimulatedResiduals.of(
        fit.matrices.y,
        np.asarray(predicted),
        simulated,
        frame.used,
        Beside(frame, table),
        int(rng.integers(2**32)),
    )
