"""Parametric and semiparametric bootstrap of a fit.

Intervals follow Davison & Hinkley (1997), Bootstrap Methods and their Application, chapter 5:
quantiles are interpolated on the normal scale (their eqn. 5.8). BCa intervals use Efron's (1987)
acceleration of a parametric family: a sixth of the skewness of the score in the least favourable
direction. Here the score of each replicate at the estimate is at hand (it is linear in the
statistics of `lmm.inference.resample.lockstep.Lockstep.score`), and the direction of any statistic
t is its regression on the score,

    t* ~ alpha + u*'gamma,     a = skewness(u*'gamma) / 6                                      (1)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lmm._threads import one_blas_thread
from lmm._types import Frozen, Matrix, Vector
from lmm.errors import FailedReplicatesWarning, checked_level, nearest, warn
from lmm.fit import Fit
from lmm.generalized import GeneralizedFit
from lmm.inference.resample.batches import (
    Refitted,
    Statistic,
    Work,
    named,
    parameter_names,
    parameter_values,
    parameters_work,
    run,
    statistic_work,
)
from lmm.inference.resample.simulator import KINDS, Kind
from lmm.report.document import Document
from lmm.report.printed import PrintedTable, TableLike, confidence_table
from lmm.report.tables import frame_cells, labels

__all__ = ["Bootstrap", "Interval", "Kind", "bootstrap"]

Interval = Literal["perc", "basic", "norm", "bca"]
INTERVALS = ("perc", "basic", "norm", "bca")


@dataclass(frozen=True, eq=False, repr=False)
class Bootstrap(TableLike, Frozen):
    """Replicates of statistics of a model.

    Attributes
    ----------
    estimate : Series
        The statistics of the fit itself.
    replicates : DataFrame (nsim, d)
        The statistics of the refitted models, a row per simulated response.
    converged, singular : (nsim,) bool arrays
        Verdicts on the refitted models.
    failed : (nsim,) bool array
        Whether the refit or its statistic raised an error: there is no statistic (NaN).
    score : (nsim, s) array
        Statistics of the simulated responses for BCa intervals.
    kind : str
        ``"parametric"`` or ``"semiparametric"``.
    use_u : bool
        Whether the random effects were held at their conditional modes.
    seed : int or None
        As given.
    asked : int
        Replicates asked for; more than there are if the bootstrap was interrupted.
    errors : tuple of str
        What went wrong in the failed replicates, each message once.
    """

    estimate: pd.Series[float]
    replicates: pd.DataFrame
    converged: NDArray[np.bool_]
    singular: NDArray[np.bool_]
    failed: NDArray[np.bool_]
    score: Matrix
    kind: Kind
    use_u: bool
    seed: int | None
    asked: int
    errors: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.replicates)

    @property
    def n_singular(self) -> int:
        """Number of singular refits."""
        return int(self.singular.sum())

    @property
    def n_failed(self) -> int:
        """Number of replicates that did not converge, or whose statistic failed."""
        return int((self.failed | ~self.converged).sum())

    def to_frame(self) -> pd.DataFrame:
        """The replicates, with ``converged`` and ``singular`` at the end."""
        return self.replicates.assign(converged=self.converged, singular=self.singular)

    def to_parquet(self, path: str | Path) -> None:
        """Save `to_frame` as a Parquet file (needs pyarrow)."""
        self.to_frame().to_parquet(path)

    @property
    def bias(self) -> pd.Series[float]:
        """Mean of the replicates minus the estimate."""
        return self.replicates.mean() - self.estimate

    @property
    def std_error(self) -> pd.Series[float]:
        """Standard deviations of the replicates."""
        return self.replicates.std()

    def summary(self) -> pd.DataFrame:
        """Estimates with bootstrap bias and standard error, as R prints a boot object."""
        return pd.DataFrame(
            {"original": self.estimate, "bias": self.bias, "std. error": self.std_error}
        )

    def confint(self, level: float = 0.95, type: Interval = "perc") -> PrintedTable:
        """Bootstrap confidence intervals.

        Parameters
        ----------
        level : float
            Confidence level.
        type : {"perc", "basic", "norm", "bca"}
            Percentile; basic (reflected percentile); normal with bias correction; bias-corrected
            and accelerated.

        Returns
        -------
        PrintedTable
            Lower and upper limit of each statistic. Undefined replicates (a correlation with a
            variance of zero) are left out.

        Raises
        ------
        ValueError
            The level is not between 0 and 1, the type is unknown, or there are fewer than two
            replicates.
        """
        tails = np.array([0.5 - 0.5 * checked_level(level), 0.5 + 0.5 * level])
        if type not in INTERVALS:
            raise ValueError(f"Unknown type {type!r}.{nearest(type, INTERVALS)}")
        if len(self) < 2:
            raise ValueError(f"Intervals need at least 2 replicates, not {len(self)}.")
        limits = np.array([self._limits(name, tails, type) for name in self.replicates])
        return confidence_table(limits, labels(self.replicates.columns), level)

    def _limits(self, name: Any, tails: Vector, type: Interval) -> Vector:
        from scipy.special import ndtri

        values = self.replicates[name].to_numpy(dtype=float)
        defined = np.isfinite(values)
        values, estimate = values[defined], float(self.estimate[name])
        if len(values) < 2:
            return np.full(2, np.nan)
        if type == "norm":
            half = ndtri(tails) * values.std(ddof=1)
            return np.asarray(2.0 * estimate - values.mean() + half)
        if type == "basic":
            return 2.0 * estimate - quantiles(values, tails[::-1])
        if type == "bca":
            tails = bca_tails(values, estimate, self.score[defined], tails)
        return quantiles(values, tails)

    def document(self, *, digits: int = 7) -> Document:
        """Estimates, bias and standard errors, and which refits went wrong."""
        head = f"{self.kind.capitalize()} bootstrap, {len(self)} replicates"
        if len(self) < self.asked:
            head += f" ({self.asked} asked for: interrupted)"
        stuck = int((~self.converged & ~self.failed).sum())
        notes = [f"{self.n_singular} singular fits, {stuck} not converged"]
        if self.failed.any():
            notes.append(f"{int(self.failed.sum())} failed")
        undefined = int((self.replicates.isna().any(axis=1) & ~self.failed).sum())
        if undefined:
            notes.append(f"{undefined} with undefined statistics")
        notes += [f"error: {error}" for error in self.errors]
        return Document((head, frame_cells(self.summary(), digits), "; ".join(notes)))


def quantiles(values: Vector, tails: Vector) -> Vector:
    """Quantiles interpolated on the normal scale between order statistics (5.8).

    Order statistic k of R estimates the quantile k / (R + 1); tails beyond the extreme ones get
    these.
    """
    from scipy.special import ndtri

    ordered = np.sort(values)
    at = ndtri(np.arange(1, len(ordered) + 1) / (len(ordered) + 1.0))
    return np.asarray(np.interp(ndtri(tails), at, ordered))


def bca_tails(values: Vector, estimate: float, score: Matrix, tails: Vector) -> Vector:
    """Adjusted tail probabilities of bias-corrected, accelerated intervals.

    Parameters
    ----------
    values : (r,) array
        Replicates of a statistic.
    estimate : float
        The statistic of the fit.
    score : (r, s) array
        Statistics that the replicates' scores are linear in.
    tails : (2,) array
        Nominal tail probabilities.
    """
    from scipy.special import ndtr, ndtri

    r = len(values)
    below = (np.sum(values < estimate) + 0.5 * np.sum(values == estimate)) / r
    bias = ndtri(np.clip(below, 0.5 / r, 1.0 - 0.5 / r))
    acceleration = _acceleration(values, score)
    z = bias + ndtri(tails)
    return np.asarray(ndtr(bias + z / (1.0 - acceleration * z)))


def _acceleration(values: Vector, score: Matrix) -> float:
    """Acceleration (1) by least squares on the standardized scores."""
    spread = score.std(axis=0)
    useful = spread > 1e-12 * np.abs(score).max(axis=0)
    u = (score[:, useful] - score[:, useful].mean(axis=0)) / spread[useful]
    gamma = np.linalg.lstsq(u, values - values.mean(), rcond=1e-10)[0]
    direction = u @ gamma
    size = direction.std()
    return float(np.mean(direction**3) / size**3 / 6.0) if size > 0.0 else 0.0


@one_blas_thread
def bootstrap(
    fit: Fit,
    nsim: int,
    seed: int | None = None,
    *,
    kind: Kind = "parametric",
    use_u: bool = False,
    statistic: Statistic | None = None,
    model: Any = None,
    refit: Callable[[Vector], Refitted] | None = None,
    n_jobs: int | None = 1,
    progress: bool | None = None,
) -> Bootstrap:
    """Bootstrap a fit.

    Parameters
    ----------
    fit : Fit
        The fit.
    nsim : int
        Number of replicates.
    seed : int, optional
        Seed of the random numbers; a fresh one by default.
    kind : {"parametric", "semiparametric"}
        Normal residuals, or residuals of the fit drawn with replacement.
    use_u : bool
        Whether to hold the random effects at their conditional modes instead of drawing them.
    statistic : callable, optional
        Function of a refitted model that returns a number or a vector; by default the parameters.
    model, refit : model and callable
        The fitted model, and how to refit it to a response (n,); needed with a statistic.
    n_jobs : int or None
        Workers (joblib's); None for those of the enclosing ``joblib.parallel_config``.
    progress : bool, optional
        Whether to show a bar; by default in a terminal or a notebook when it takes more than
        two seconds.

    Returns
    -------
    Bootstrap

    Raises
    ------
    ValueError
        `nsim` is below 1, the kind is unknown, or a statistic returns varying lengths.

    Warns
    -----
    FailedReplicatesWarning
        The fit or its statistic raised an error in some replicates.
    """
    _check(fit, nsim, kind, use_u)
    work: Work
    if statistic is None:
        names, estimate = parameter_names(fit), parameter_values(fit)
        work = parameters_work(fit, kind, use_u)
    elif refit is None:
        raise ValueError("A statistic needs the model and how to refit it.")
    else:
        names, estimate = named(statistic(model))
        work = statistic_work(fit, kind, use_u, refit, statistic, names)
    chunks = run(work, nsim, seed, n_jobs, progress)
    index = pd.Index(names)
    failed = np.concatenate([chunk.failed for chunk in chunks])
    errors = tuple(dict.fromkeys(error for chunk in chunks for error in chunk.errors))
    if failed.any():
        _warn_of_failures("fit" if statistic is None else "statistic", failed, errors)
    return Bootstrap(
        pd.Series(estimate, index=index),
        pd.DataFrame(np.concatenate([chunk.values for chunk in chunks]), columns=index),
        np.concatenate([chunk.converged for chunk in chunks]),
        np.concatenate([chunk.singular for chunk in chunks]),
        failed,
        np.concatenate([chunk.score for chunk in chunks]),
        kind,
        use_u,
        seed,
        nsim,
        errors,
    )


def _check(fit: Fit, nsim: int, kind: Kind, use_u: bool) -> None:
    if nsim < 1:
        raise ValueError(f"nsim must be at least 1, not {nsim!r}.")
    if kind not in KINDS:
        raise ValueError(f"Unknown kind {kind!r}.{nearest(kind, KINDS)}")
    if kind == "semiparametric" and not use_u:
        raise ValueError(
            "The semiparametric bootstrap resamples residuals around the fitted values: it needs "
            "use_u=True."
        )
    if kind == "semiparametric" and isinstance(fit, GeneralizedFit):
        raise ValueError(
            "The semiparametric bootstrap resamples the residuals of linear models only: use "
            "kind='parametric'."
        )


def _warn_of_failures(what: str, failed: NDArray[np.bool_], errors: tuple[str, ...]) -> None:
    warn(
        FailedReplicatesWarning(
            f"The {what} failed in {int(failed.sum())} of {len(failed)} replicates, which "
            f"summaries and intervals leave out ({errors[0]})."
        )
    )
