"""Parametric and semiparametric bootstrap of a fit.

Responses are simulated and fitted in batches. Each batch has its own stream of random numbers, made
from the seed by `numpy.random.SeedSequence.spawn`, and its size depends on the design only: results
are the same whatever the number of workers.

Intervals follow Davison & Hinkley (1997), Bootstrap Methods and their Application, chapter 5:
quantiles are interpolated on the normal scale (their eqn. 5.8). BCa intervals use Efron's (1987)
acceleration of a parametric family: a sixth of the skewness of the score in the least favourable
direction. Here the score of each replicate at the estimate is at hand (it is linear in the
statistics of `lmm.inference.lockstep.Lockstep.score`), and the direction of any statistic t is its
regression on the score,

    t* ~ alpha + u*'gamma,     a = skewness(u*'gamma) / 6                                      (1)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from lmm._threads import blas_threads, one_blas_thread
from lmm._types import Frozen, Matrix, Vector
from lmm.criterion import ProfiledCriterion
from lmm.design.response import Response
from lmm.errors import (
    DataError,
    FailedReplicatesWarning,
    NumericalError,
    checked_level,
    nearest,
    silence,
    warn,
)
from lmm.fit import Fit
from lmm.generalized import GeneralizedFit
from lmm.inference.resample.families import FamilyEngine, FamilySimulator
from lmm.inference.resample.many import Batched, Engine, engine_for
from lmm.inference.resample.replicates import Replicates
from lmm.inference.resample.rows import Rows, compressed, rows_of
from lmm.inference.variance.parameters import parameters_of, sdcor
from lmm.report.document import Document
from lmm.report.printed import PrintedTable, TableLike, confidence_table
from lmm.report.tables import frame_cells, labels

__all__ = ["Bootstrap", "Interval", "Kind", "bootstrap"]

Kind = Literal["parametric", "semiparametric"]
Interval = Literal["perc", "basic", "norm", "bca"]
INTERVALS = ("perc", "basic", "norm", "bca")
KINDS = ("parametric", "semiparametric")

# A progress bar appears on a terminal after so many seconds.
PATIENCE = 2.0
# Statistics of refitted models that a worker computes before it reports.
MODELS = 10


class Refitted(Protocol):
    """A refitted model, as a statistic gets it."""

    @property
    def converged(self) -> bool:
        """Whether it converged."""

    def is_singular(self) -> bool:
        """Whether it is singular."""


Statistic = Callable[[Any], Any]


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


# Simulation ---------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Simulator:
    """Draws standardized responses of a fit.

    Parameters
    ----------
    rows : Rows
        Standardized rows.
    Zt : (q, n) sparse array
        Their random-effects columns, transposed.
    mean : (n,) array
        Their mean: the fixed part, with the random one if that is held.
    spread : tuple of (int, (k_i, k_i) array)
        Number of levels and factor of the whitened random effects of each term; empty if held.
    sigma : float
        Residual standard deviation.
    residuals : (n,) array or None
        Residuals to resample; None for normal ones.
    response : Response
        The model's own response, for its units.
    """

    rows: Rows
    Zt: sparse.csr_array
    mean: Vector
    spread: tuple[tuple[int, Matrix], ...]
    sigma: float
    residuals: Vector | None
    response: Response

    @classmethod
    def of(cls, fit: Fit, rows: Rows, kind: Kind, use_u: bool) -> Simulator:
        """Prepare the simulation of a fit."""
        drawn = cls.parametric(fit.criterion, rows, fit.optimum.x, fit.beta, fit.sigma)
        residuals = fit.sigma * fit.scaled_residuals if kind == "semiparametric" else None
        if not use_u:
            return drawn
        whitening = fit.criterion.problem.whitening
        whitened = [b @ R.T for R, b in zip(whitening, fit.b, strict=True)]
        held = np.asarray(drawn.Zt.T @ np.concatenate([b.ravel() for b in whitened]))
        return replace(drawn, mean=drawn.mean + held, spread=(), residuals=residuals)

    @classmethod
    def parametric(
        cls, criterion: ProfiledCriterion, rows: Rows, x: Vector, beta: Vector, sigma: float
    ) -> Simulator:
        """Prepare the simulation of a model with given parameters, all random effects drawn."""
        terms = criterion.matrices.terms
        spread = tuple(
            (term.n_levels, sigma * factor)
            for term, factor in zip(terms, criterion.factors(x), strict=True)
        )
        Zt = rows.Zt([term.n_levels for term in terms])
        mean = rows.X @ (criterion.problem.T @ beta)
        return cls(rows, Zt, mean, spread, sigma, None, criterion.matrices.response)

    def raw(self, y: Matrix) -> Matrix:
        """Responses in original units from standardized rows, which must show all rows."""
        return self.response.raw(y)

    def draw(self, rng: np.random.Generator, size: int) -> tuple[Matrix, Vector]:
        """Responses (n, size) of the rows, and residual sums of squares of the hidden ones."""
        n = self.rows.n
        if self.residuals is None:
            y: Matrix = rng.standard_normal((n, size))
            y *= self.sigma
        else:
            y = self.residuals[rng.integers(n, size=(n, size))]
        y += self.mean[:, None]
        if self.spread:
            b = [
                (factor @ rng.standard_normal((levels, len(factor), size))).reshape(-1, size)
                for levels, factor in self.spread
            ]
            y += self.Zt.T @ np.concatenate(b)
        hidden = np.zeros(size)
        if self.rows.hidden:
            hidden = self.sigma**2 * rng.chisquare(self.rows.hidden, size)
        return y, hidden


# The bootstrap ------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Chunk:
    """Results of one batch: statistics (r, d), verdicts, score, what went wrong."""

    values: Matrix
    converged: NDArray[np.bool_]
    singular: NDArray[np.bool_]
    failed: NDArray[np.bool_]
    score: Matrix
    errors: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class _Parameters:
    """Work of one batch: standard deviations, correlations, sigma and fixed effects."""

    fit: Fit
    simulator: Simulator
    engine: Engine

    @classmethod
    def of(cls, fit: Fit, kind: Kind, use_u: bool) -> _Parameters:
        rows = rows_of(fit.criterion.problem)
        fewer = compressed(rows) if kind == "parametric" else rows
        engine = engine_for(fit.criterion, fit.optimum.x, fewer)
        shown = fewer if isinstance(engine, Batched) else rows
        return cls(fit, Simulator.of(fit, shown, kind, use_u), engine)

    @property
    def batch(self) -> int:
        return self.engine.batch

    def __call__(self, seed: np.random.SeedSequence, size: int) -> _Chunk:
        with blas_threads(0):
            y, hidden = self.simulator.draw(np.random.default_rng(seed), size)
            fits = self.engine.replicates(y, hidden)
            score = self.engine.score(y, hidden)
        failed = np.zeros(size, dtype=bool)
        return _Chunk(self._parameters(fits), fits.converged, fits.singular, failed, score)

    def _parameters(self, fits: Replicates) -> Matrix:
        """Parameters of replicates, (r, d)."""
        matrices = self.fit.matrices
        covariances = []
        for term, part in zip(matrices.terms, matrices.theta_slices, strict=True):
            factor = term.covariance.factor(fits.theta[:, part]) * fits.sigma[:, None, None]
            covariances.append(factor @ factor.transpose(0, 2, 1))
        return np.hstack([sdcor(parameters_of(self.fit), covariances, fits.sigma), fits.beta])


@dataclass(frozen=True, eq=False)
class _FamilyParameters:
    """Work of one batch of a generalized model: its parameters."""

    fit: GeneralizedFit
    simulator: FamilySimulator
    engine: FamilyEngine

    batch = MODELS

    def __call__(self, seed: np.random.SeedSequence, size: int) -> _Chunk:
        y, hidden = self.simulator.draw(np.random.default_rng(seed), size)
        values = np.full((size, len(_parameter_names(self.fit))), np.nan)
        converged, singular, failed = (np.zeros(size, dtype=bool) for _ in range(3))
        errors = []
        for i, response in enumerate(y.T):
            try:
                with silence(), np.errstate(all="ignore"):
                    fit = self.engine.fitted(response)
                    converged[i], singular[i] = fit.optimum.converged, fit.is_singular()
                    values[i] = _parameter_values(fit)
            except (DataError, NumericalError, np.linalg.LinAlgError) as error:
                failed[i] = True
                errors.append(f"{type(error).__name__}: {error}")
        score = self.engine.score(y, hidden)
        return _Chunk(values, converged, singular, failed, score, tuple(errors))


def _parameter_names(fit: Fit) -> tuple[str, ...]:
    """Names as in ``m.confint()``."""
    return (*(parameter.name for parameter in parameters_of(fit)), *fit.matrices.fixed.names)


def _parameter_values(fit: Fit) -> Vector:
    """Standard deviations, correlations, sigma or theta, and fixed effects."""
    values = [each.value(fit.covariances, fit.size) for each in parameters_of(fit)]
    return np.concatenate([values, fit.beta])


@dataclass(frozen=True, eq=False)
class _Statistic:
    """Work of one batch: a user's statistic of refitted models."""

    fit: Fit
    simulator: Simulator | FamilySimulator
    engine: Engine | FamilyEngine
    refit: Callable[[Vector], Refitted]
    statistic: Statistic
    names: tuple[str, ...]

    batch = MODELS

    def __call__(self, seed: np.random.SeedSequence, size: int) -> _Chunk:
        y, hidden = self.simulator.draw(np.random.default_rng(seed), size)
        values = np.full((size, len(self.names)), np.nan)
        converged, singular, failed = (np.zeros(size, dtype=bool) for _ in range(3))
        errors = []
        for i, response in enumerate(self.simulator.raw(y).T):
            try:
                with silence(), np.errstate(all="ignore"):
                    m = self.refit(response)
                    converged[i], singular[i] = m.converged, m.is_singular()
                    result = self.statistic(m)
            except Exception as error:  # the statistic is the user's, and worked for the fit itself
                failed[i] = True
                errors.append(f"{type(error).__name__}: {error}")
            else:
                _, values[i] = _named(result, self.names)
        with blas_threads(0):
            score = self.engine.score(y, hidden)
        return _Chunk(values, converged, singular, failed, score, tuple(errors))


def _named(result: Any, expected: tuple[str, ...] | None = None) -> tuple[tuple[str, ...], Vector]:
    """Names and values of what a statistic returned.

    Raises
    ------
    ValueError
        It is not numeric, not a vector, or has another length than `expected`.
    """
    if isinstance(result, Mapping):
        result = pd.Series(dict(result))
    try:
        values = np.atleast_1d(np.asarray(result, dtype=float))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"The statistic must return numbers, not {type(result).__name__}."
        ) from error
    if values.ndim != 1 or len(values) == 0:
        raise ValueError(
            f"The statistic must return a number or a vector, not shape {values.shape}."
        )
    if expected is not None and len(values) != len(expected):
        raise ValueError(
            f"The statistic returned {len(values)} values for a simulated response, but "
            f"{len(expected)} for the fit. It must always return as many."
        )
    if isinstance(result, pd.Series):
        return tuple(str(name) for name in result.index), values
    return tuple(f"t{i + 1}" for i in range(len(values))), values


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
        Whether to show a bar; by default on a terminal when it takes more than two seconds.

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
        The statistic raised an error in some replicates.
    """
    if nsim < 1:
        raise ValueError(f"nsim must be at least 1, not {nsim!r}.")
    if kind not in KINDS:
        raise ValueError(f"Unknown kind {kind!r}.{nearest(kind, KINDS)}")
    if kind == "semiparametric" and not use_u:
        raise ValueError(
            "The semiparametric bootstrap resamples residuals around the fitted values: it needs "
            "use_u=True."
        )
    if statistic is not None and refit is None:
        raise ValueError("A statistic needs the model and how to refit it.")
    if kind == "semiparametric" and isinstance(fit, GeneralizedFit):
        raise ValueError(
            "The semiparametric bootstrap resamples the residuals of linear models only: use "
            "kind='parametric'."
        )
    work: _Work
    if statistic is None or refit is None:
        names, estimate = _parameter_names(fit), _parameter_values(fit)
        work = _parameters_work(fit, kind, use_u)
    else:
        names, estimate = _named(statistic(model))
        work = _statistic_work(fit, kind, use_u, refit, statistic, names)
    chunks = _run(work, nsim, seed, n_jobs, progress)
    index = pd.Index(names)
    failed = np.concatenate([chunk.failed for chunk in chunks])
    errors = tuple(dict.fromkeys(error for chunk in chunks for error in chunk.errors))
    if failed.any():
        warn(
            FailedReplicatesWarning(
                f"The statistic failed in {int(failed.sum())} of {len(failed)} replicates, which "
                f"summaries and intervals leave out ({errors[0]})."
            )
        )
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


_Work = _Parameters | _FamilyParameters | _Statistic


def _parameters_work(fit: Fit, kind: Kind, use_u: bool) -> _Work:
    if not isinstance(fit, GeneralizedFit):
        return _Parameters.of(fit, kind, use_u)
    engine = FamilyEngine(fit.criterion, fit.optimum.x)
    return _FamilyParameters(fit, FamilySimulator(fit, use_u), engine)


def _statistic_work(
    fit: Fit,
    kind: Kind,
    use_u: bool,
    refit: Callable[[Vector], Refitted],
    statistic: Statistic,
    names: tuple[str, ...],
) -> _Work:
    if isinstance(fit, GeneralizedFit):
        drawn, engine = FamilySimulator(fit, use_u), FamilyEngine(fit.criterion, fit.optimum.x)
        return _Statistic(fit, drawn, engine, refit, statistic, names)
    simulator = Simulator.of(fit, rows_of(fit.criterion.problem), kind, use_u)
    single = engine_for(fit.criterion, fit.optimum.x)
    return _Statistic(fit, simulator, single, refit, statistic, names)


def _run(
    work: _Work,
    nsim: int,
    seed: int | None,
    n_jobs: int | None,
    progress: bool | None,
) -> list[_Chunk]:
    """Do the work in batches; what is finished when it is interrupted is kept."""
    sizes = [min(work.batch, nsim - start) for start in range(0, nsim, work.batch)]
    seeds = np.random.SeedSequence(seed).spawn(len(sizes))
    chunks: list[_Chunk] = []
    with _bar(nsim, progress) as bar:
        try:
            for chunk in _results(work, seeds, sizes, n_jobs):
                chunks.append(chunk)
                bar.update(len(chunk.values))
        except KeyboardInterrupt:
            if not chunks:
                raise
    return chunks


def _results(
    work: _Work,
    seeds: Sequence[np.random.SeedSequence],
    sizes: Sequence[int],
    n_jobs: int | None,
) -> Iterator[_Chunk]:
    """Batches in order, here or from joblib's workers."""
    if n_jobs == 1:
        yield from map(work, seeds, sizes)
        return
    try:
        from joblib import Parallel, delayed
    except ImportError as error:
        raise ImportError("Several workers need joblib: pip install 'lmm[parallel]'.") from error
    tasks = (delayed(work)(seed, size) for seed, size in zip(seeds, sizes, strict=True))
    yield from Parallel(n_jobs=n_jobs, return_as="generator")(tasks)


def _bar(total: int, progress: bool | None) -> Any:
    """A progress bar, or a stand-in.

    Raises
    ------
    ImportError
        A bar is asked for, but tqdm is not installed.
    """
    if progress is False:
        return _NoBar()
    try:
        from tqdm import tqdm
    except ImportError as error:
        if progress:
            raise ImportError(
                "The progress bar needs tqdm: pip install 'lmm[parallel]'."
            ) from error
        return _NoBar()
    # disable=None hides the bar where the output is no terminal.
    hidden = False if progress else None
    return tqdm(total=total, unit="fit", delay=0.0 if progress else PATIENCE, disable=hidden)


class _NoBar:
    """Stands in for a progress bar."""

    def __enter__(self) -> _NoBar:
        return self

    def __exit__(self, *_exception: object) -> None:
        return None

    def update(self, _done: int) -> None:
        """Show nothing."""
