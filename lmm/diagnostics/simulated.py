"""Residuals as quantiles of simulated responses, and tests of them, as R's DHARMa.

The residual of a row is the share of its simulated responses that are smaller than the observed
one, at a random point of the jump where some are equal (Dunn & Smyth, 1996, J. Comput. Graph. Stat.
5, 236-244). If the model holds it is uniform, whatever the distribution of the response.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from lmm._types import Frozen, IntVector, Matrix, Vector
from lmm.fit import Fit
from lmm.formula import Formula
from lmm.predict import predict
from lmm.report.document import Document
from lmm.report.printed import TableLike
from lmm.report.tables import frame_cells
from lmm.simulate import simulate

__all__ = ["SimulatedResiduals", "simulated_residuals"]


@dataclass(frozen=True, eq=False, repr=False)
class SimulatedResiduals(TableLike, Frozen):
    """Simulated quantile residuals; prints their tests. Made by ``m.simulated_residuals()``.

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
    """

    values: Vector
    ranks: IntVector
    y: Vector
    predicted: Vector
    simulated: Matrix

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
        """Variance around the predicted means over its mean in simulations, and a p-value.

        The p-value is twice the smaller share of the simulations that are as small or as large.
        """
        observed = float(np.var(self.y - self.predicted))
        simulated = np.var(self.simulated - self.predicted[:, None], axis=0)
        tails = np.mean(simulated <= observed), np.mean(simulated >= observed)
        return observed / float(simulated.mean()), min(1.0, 2.0 * float(min(tails)))

    def outlier_test(self) -> tuple[float, float]:
        """Share of outliers, and the binomial test that it is ``2 / (nsim + 1)``."""
        from scipy.stats import binomtest

        count = int(self.outliers.sum())
        test = binomtest(count, len(self.y), 2.0 / (self.nsim + 1))
        return count / len(self.y), float(test.pvalue)

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


def simulated_residuals(
    fit: Fit,
    nsim: int = 250,
    seed: int | np.random.Generator | None = None,
    re_form: str | Formula | None = "~0",
) -> SimulatedResiduals:
    """Simulate quantile residuals of a fit.

    Parameters
    ----------
    fit : Fit
        The model.
    nsim : int
        Number of simulated responses.
    seed : int or numpy.random.Generator, optional
        Where the random numbers come from.
    re_form : str, Formula or None
        Random effects that are held at their conditional modes; the others are drawn anew.
    """
    rng = np.random.default_rng(seed)
    frame = fit.matrices.frame
    drawn = simulate(fit, nsim, rng, re_form=re_form).to_numpy()
    simulated = np.asarray(frame.rows_of(drawn, "y"))
    linear = predict(fit, None, re_form).to_series().to_numpy()
    predicted = fit.family.inverse(np.asarray(frame.rows_of(linear[:, None], "y"))[:, 0])
    y = fit.matrices.y
    below = np.mean(simulated < y[:, None], axis=1)
    upto = np.mean(simulated <= y[:, None], axis=1)
    u = rng.uniform(size=len(y))
    values = below + (upto - below) * u
    places = nsim * below + np.floor(u * (nsim * (upto - below) + 1.0))
    return SimulatedResiduals(
        values, np.rint(places).astype(np.intp), y, np.asarray(predicted), simulated
    )
