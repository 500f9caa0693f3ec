"""Bootstraps of a fit, and intervals from them.

Intervals follow Davison & Hinkley (1997), Bootstrap Methods and their Application, chapter 5:
quantiles are interpolated on the normal scale (their eqn. 5.8). BCa intervals use Efron's (1987)
acceleration of a parametric family: a sixth of the skewness of the score in the least favourable
direction. Here the score of each replicate at the estimate is at hand (it is linear in the
statistics of `lmm.inference.resample.lockstep.Lockstep.score`), and the direction of any statistic
t is its regression on the score,

    t* ~ alpha + u*'gamma,     a = skewness(u*'gamma) / 6                                      (1)

Where cases are drawn, u* is how often each was: a is then that of the empirical influences.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lmm._threads import one_blas_thread
from lmm._types import Frozen, Matrix, Vector
from lmm.design.rows import Selection, select
from lmm.errors import FailedReplicatesWarning, checked_level, nearest, warn
from lmm.fit import Fit
from lmm.fitted import Comparable
from lmm.formula import Formula
from lmm.generalized_fit import GeneralizedFit
from lmm.inference.resample.schemes import Cases, Kind, Scheme, scheme_of
from lmm.inference.resample.work import (
    BatchResults,
    Statistic,
    named,
    parameter_values,
    parameters_work,
    run,
    statistic_work,
)
from lmm.inference.variance.reported import names_of
from lmm.report.document import Document
from lmm.report.printed import AnovaTable, Pictured, PrintedTable, confidence_table
from lmm.report.tables import frame_cells, labels

Interval = Literal["perc", "basic", "norm", "bca", "shortest"]
INTERVALS = ("perc", "basic", "norm", "bca", "shortest")


@dataclass(frozen=True, eq=False, repr=False)
class Bootstrap(Pictured, Frozen):
    """Replicates of statistics of a model.

    Attributes
    ----------
    estimate : Series
        The statistics of the fit itself.
    fixed_errors : Series
        Standard errors of the fixed effects of the fit itself.
    replicates : DataFrame (nsim, d)
        The statistics of the refitted models, a row per simulated response.
    converged, singular : (nsim,) bool arrays
        Verdicts on the refitted models.
    failed : (nsim,) bool array
        Whether the refit or its statistic raised an error: there is no statistic (NaN).
    score : (nsim, s) array
        Statistics of the simulated responses for BCa intervals.
    objective : (nsim,) array
        Criterion at the optimum of each refit: REML criterion, or deviance.
    std_errors : DataFrame (nsim, p)
        Standard errors of the fixed effects in each refit.
    scheme : Scheme
        What was drawn, as `kind` said.
    re_form : str, Formula or None
        Random effects that were held at their conditional modes.
    seeds : tuple of int
        Seed of each run; a fresh one where none was given.
    asked : int
        Replicates asked for; more than there are if the bootstrap was interrupted.
    errors : tuple of str
        What went wrong in the failed replicates, each message once.
    """

    estimate: pd.Series[float]
    fixed_errors: pd.Series[float]
    replicates: pd.DataFrame
    converged: NDArray[np.bool_]
    singular: NDArray[np.bool_]
    failed: NDArray[np.bool_]
    score: Matrix
    objective: Vector
    std_errors: pd.DataFrame
    scheme: Scheme
    re_form: str | Formula | None
    seeds: tuple[int, ...]
    asked: int
    errors: tuple[str, ...] = ()

    picture: ClassVar[str] = "bootstrap"

    def __len__(self) -> int:
        return len(self.replicates)

    @property
    def kind(self) -> str:
        """Name of the scheme, such as ``"parametric"``."""
        return self.scheme.name

    def __add__(self, other: Bootstrap) -> Bootstrap:
        """Both runs as one.

        Raises
        ------
        ValueError
            They are runs of different statistics, estimates or schemes, or have a seed in common.
        """
        if not isinstance(other, Bootstrap):
            return NotImplemented
        if not self.agrees_with(other.estimate, other.scheme, other.re_form):
            raise ValueError("The runs have other statistics, estimates or kinds: they stay apart.")
        if shared := set(self.seeds) & set(other.seeds):
            raise ValueError(
                f"Both runs have the seed {shared.pop()}: their replicates are the same. Run one "
                "with another seed."
            )
        joined: dict[str, Any] = {
            name: pd.concat([getattr(self, name), getattr(other, name)], ignore_index=True)
            for name in ("replicates", "std_errors")
        }
        for name in ("converged", "singular", "failed", "score", "objective"):
            joined[name] = np.concatenate([getattr(self, name), getattr(other, name)])
        return replace(
            self,
            **joined,
            seeds=(*self.seeds, *other.seeds),
            asked=self.asked + other.asked,
            errors=tuple(dict.fromkeys((*self.errors, *other.errors))),
        )

    def agrees_with(
        self, estimate: pd.Series[float], scheme: Scheme, re_form: str | Formula | None
    ) -> bool:
        """Whether it is a run of these statistics, drawn in this way."""
        same = self.scheme == scheme and str(self.re_form) == str(re_form)
        return same and self.estimate.equals(estimate)

    @property
    def n_singular(self) -> int:
        """Number of singular refits."""
        return int(self.singular.sum())

    @property
    def n_failed(self) -> int:
        """Number of replicates that did not converge, or whose statistic failed."""
        return int((self.failed | ~self.converged).sum())

    def to_frame(self, details: bool = False) -> pd.DataFrame:
        """The replicates, with ``converged`` and ``singular`` at the end.

        Parameters
        ----------
        details : bool
            Whether to add ``objective`` and the standard errors, ``se Days`` and so on.
        """
        table = self.replicates.assign(converged=self.converged, singular=self.singular)
        if not details:
            return table
        errors = self.std_errors.add_prefix("se ")
        return pd.concat([table.assign(objective=self.objective), errors], axis=1)

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

    def adjusted(self) -> Bootstrap:
        """The same run with its replicates agreeing with the fit, Chambers and Chandra's REB/2.

        Logarithms of standard deviations are made uncorrelated and get those of the fit as their
        means; fixed effects get the estimates as their means (Chambers & Chandra, 2013, J. Comput.
        Graph. Stat. 22, 452-470, section 3.2). Replicates with a variance of zero become undefined.
        Correlations of random effects stay as they are.

        Raises
        ------
        ValueError
            The statistics are not the parameters, or there are too few replicates.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff"))
        >>> b = m.bootstrap(100, seed=1, kind="reb").adjusted()
        >>> bool(abs(b.bias["(Intercept)"]) < 1e-9)
        True
        """
        fixed = self._fixed("Adjusted replicates")
        names = map(str, self.replicates.columns)
        deviations = [name for name in names if name.startswith(("sd_", "sigma"))]
        values = self.replicates.copy()
        with np.errstate(divide="ignore"):
            logs = np.log(values[deviations].to_numpy(dtype=float))
        defined = np.isfinite(logs).all(axis=1)
        if defined.sum() <= len(deviations):
            raise ValueError(
                f"{int(defined.sum())} replicates without a variance of zero are too few to adjust "
                f"{len(deviations)} standard deviations."
            )
        centre = np.log(self.estimate[deviations].to_numpy(dtype=float))
        logs[~defined] = np.nan
        logs[defined] = centre + uncorrelated(logs[defined])
        values[deviations] = np.exp(logs)
        values[fixed] += self.estimate[fixed] - values[fixed].mean()
        return replace(self, replicates=values)

    def p_values(self) -> AnovaTable:
        """Tests that each fixed effect is zero, from the t statistics of the replicates.

        The share ``(1 + #{|t*| >= |t|}) / (1 + R)`` of the replicates whose distance from the
        estimate, over its own standard error, is as large as the estimate over its own
        (lmeresampler's ``bootstrap_pvals``; Davison & Hinkley, 1997, section 4.4.1).

        Raises
        ------
        ValueError
            The statistics are not the parameters.

        Examples
        --------
        >>> import lmm
        >>> m = lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))
        >>> float(m.bootstrap(199, seed=1).p_values().loc["Days", "Pr(>|t|)"])
        0.005
        """
        fixed = self._fixed("Tests of fixed effects")
        estimate, errors = self.estimate[fixed].to_numpy(), self.fixed_errors.to_numpy()
        t = np.abs(estimate / errors)
        with np.errstate(divide="ignore", invalid="ignore"):
            drawn = np.abs((self.replicates[fixed] - estimate).to_numpy() / self.std_errors)
        defined = np.isfinite(drawn)
        p = (1.0 + (drawn >= t).sum(axis=0)) / (1.0 + defined.sum(axis=0))
        columns = {
            "Estimate": estimate,
            "Std. Error": errors,
            "t value": estimate / errors,
            "Pr(>|t|)": p,
        }
        head = f"Tests of fixed effects, {self.scheme.title.lower()} bootstrap"
        return AnovaTable(pd.DataFrame(columns, index=pd.Index(fixed)), (head,))

    def _fixed(self, what: str) -> list[str]:
        """Names of the fixed effects, which are among the default statistics."""
        names = list(self.std_errors.columns)
        if not set(names) <= set(self.replicates.columns):
            raise ValueError(f"{what} need the parameters as statistics: leave `statistic` out.")
        return names

    def confint(self, level: float = 0.95, type: Interval = "perc") -> PrintedTable:
        """Bootstrap confidence intervals.

        Parameters
        ----------
        level : float
            Confidence level.
        type : {"perc", "basic", "norm", "bca", "shortest"}
            Percentile; basic (reflected percentile); normal with bias correction; bias-corrected
            and accelerated; the shortest that holds its share of the replicates.

        Returns
        -------
        PrintedTable
            Lower and upper limit of each statistic. Undefined replicates (a correlation with a
            variance of zero) are left out.

        Raises
        ------
        ValueError
            The level is not between 0 and 1, the type is unknown, or there are fewer than two
            replicates (of cases, for ``"bca"``, not more than there are units to draw).
        """
        tails = np.array([0.5 - 0.5 * checked_level(level), 0.5 + 0.5 * level])
        if type not in INTERVALS:
            raise ValueError(f"Unknown type {type!r}.{nearest(type, INTERVALS)}")
        if len(self) < 2:
            raise ValueError(f"Intervals need at least 2 replicates, not {len(self)}.")
        if type == "bca" and isinstance(self.scheme, Cases) and len(self) <= self.score.shape[1]:
            raise ValueError(
                f"BCa intervals need more replicates than the {self.score.shape[1]} units that are "
                f"drawn, not {len(self)}."
            )
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
        if type == "shortest":
            return shortest(values, float(tails[1] - tails[0]))
        if type == "bca":
            tails = bca_tails(values, estimate, self.score[defined], tails)
        return quantiles(values, tails)

    def document(self, *, digits: int = 7) -> Document:
        """Estimates, bias and standard errors, and which refits went wrong."""
        head = f"{self.scheme.title} bootstrap, {len(self)} replicates"
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


def uncorrelated(values: Matrix) -> Matrix:
    """Rows (r, k) turned so that columns have mean zero, their own variances and no correlations.

    ``(S - mean) C^-1/2 diag(C)^1/2`` with the covariance matrix C and its symmetric root.
    """
    centred = values - values.mean(axis=0)
    C = np.atleast_2d(np.cov(centred, rowvar=False))
    size, axes = np.linalg.eigh(C)
    kept = size > 1e-12 * size[-1]
    root = (axes[:, kept] / np.sqrt(size[kept])) @ axes[:, kept].T
    return np.asarray(centred @ root * np.sqrt(np.diag(C)))


def quantiles(values: Vector, tails: Vector) -> Vector:
    """Quantiles interpolated on the normal scale between order statistics (5.8).

    Order statistic k of R estimates the quantile k / (R + 1); tails beyond the extreme ones get
    these.
    """
    from scipy.special import ndtri

    ordered = np.sort(values)
    at = ndtri(np.arange(1, len(ordered) + 1) / (len(ordered) + 1.0))
    return np.asarray(np.interp(ndtri(tails), at, ordered))


def shortest(values: Vector, level: float) -> Vector:
    """The shortest interval (2,) that holds a share of the values; the lowest of several."""
    ordered = np.sort(values)
    inside = max(1, int(np.ceil(level * len(ordered))))
    widths = ordered[inside - 1 :] - ordered[: len(ordered) - inside + 1]
    start = int(np.argmin(widths))
    return np.array([ordered[start], ordered[start + inside - 1]])


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
    kind: Kind | Scheme = "parametric",
    use_u: bool = False,
    re_form: str | Formula | None = "~0",
    statistic: Statistic | None = None,
    model: Comparable | None = None,
    resume: Bootstrap | None = None,
    n_jobs: int | None = 1,
    progress: bool | None = None,
) -> Bootstrap:
    """Bootstrap a fit.

    Arguments and errors as for `LinearMixedModel.bootstrap`.
    """
    scheme, re_form = scheme_of(kind), None if use_u else re_form
    held = select(fit.matrices, re_form)
    _check(fit, nsim, scheme, held)
    if statistic is None:
        names, estimate = names_of(fit), parameter_values(fit)
        work = parameters_work(fit, scheme, held)
    elif model is None:
        raise ValueError("A statistic needs the model, to refit it.")
    else:
        names, estimate = named(statistic(model))
        work = statistic_work(fit, scheme, held, model, statistic, names)
    labelled = pd.Series(estimate, index=pd.Index(names))
    seed = _seed(seed, resume)
    finished = [] if resume is None else [_finished(resume, labelled, scheme, re_form, seed)]
    done = min(len(finished[0].values) if finished else 0, nsim) // work.batch
    kept = [chunk.first(done * work.batch) for chunk in finished]
    chunks = kept + run(work, nsim, seed, n_jobs, progress, done)
    made = Bootstrap(
        labelled,
        pd.Series(np.sqrt(np.diag(fit.vcov)), index=list(fit.matrices.fixed.names)),
        pd.DataFrame(_stacked(chunks, "values"), columns=labelled.index),
        _stacked(chunks, "converged"),
        _stacked(chunks, "singular"),
        _stacked(chunks, "failed"),
        _stacked(chunks, "score"),
        _stacked(chunks, "objective"),
        pd.DataFrame(_stacked(chunks, "std_errors"), columns=list(fit.matrices.fixed.names)),
        scheme,
        re_form,
        (seed,),
        nsim,
        tuple(dict.fromkeys(error for chunk in chunks for error in chunk.errors)),
    )
    if made.failed.any():
        _warn_of_failures("fit" if statistic is None else "statistic", made.failed, made.errors)
    return made


def _stacked(chunks: Sequence[BatchResults], name: str) -> Any:
    return np.concatenate([getattr(chunk, name) for chunk in chunks])


def _finished(
    run: Bootstrap,
    estimate: pd.Series[float],
    scheme: Scheme,
    re_form: str | Formula | None,
    seed: int,
) -> BatchResults:
    """What a run to resume has finished.

    Raises
    ------
    ValueError
        It has other statistics, estimates, kinds or seeds.
    """
    if run.seeds != (seed,) or not run.agrees_with(estimate, scheme, re_form):
        raise ValueError(
            "The run to resume has other statistics, estimates, kinds or another seed: resume it "
            "with the arguments that it was made with."
        )
    return BatchResults(
        run.replicates.to_numpy(),
        run.converged,
        run.singular,
        run.failed,
        run.score,
        run.objective,
        run.std_errors.to_numpy(),
        run.errors,
    )


def _seed(seed: int | None, resume: Bootstrap | None) -> int:
    """The seed given, that of the run to resume, or a fresh one."""
    if seed is not None:
        return seed
    if resume is not None:
        return resume.seeds[0]
    return int(np.random.SeedSequence().generate_state(1)[0])


def _check(fit: Fit, nsim: int, scheme: Scheme, held: Selection) -> None:
    if nsim < 1:
        raise ValueError(f"nsim must be at least 1, not {nsim!r}.")
    name = scheme.name
    some, everything = (any(mask.any() for mask in held), all(mask.all() for mask in held))
    if name == "semiparametric" and not everything:
        raise ValueError(
            "The semiparametric bootstrap resamples residuals around the fitted values: it needs "
            "use_u=True."
        )
    if name not in ("parametric", "semiparametric") and some:
        raise ValueError(
            f"The {name} bootstrap draws all random effects: leave use_u and re_form out."
        )
    if name not in ("parametric", "case") and isinstance(fit, GeneralizedFit):
        raise ValueError(
            f"The {name} bootstrap resamples the residuals of linear models only: use "
            "kind='parametric' or kind='case'."
        )


def _warn_of_failures(what: str, failed: NDArray[np.bool_], errors: tuple[str, ...]) -> None:
    warn(
        FailedReplicatesWarning(
            f"The {what} failed in {int(failed.sum())} of {len(failed)} replicates, which "
            f"summaries and intervals leave out ({errors[0]})."
        )
    )
