"""The work of a bootstrap in batches: here or by several workers, with a bar of what is done.

Each batch has its own stream of random numbers, made from the seed by
`numpy.random.SeedSequence.spawn`, and its size depends on the design only: results are the same
whatever the number of workers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lmm._progress import progress_bar
from lmm._threads import blas_threads
from lmm._types import Matrix, Vector
from lmm.errors import DataError, NumericalError, silence
from lmm.fit import Fit
from lmm.generalized import GeneralizedFit
from lmm.inference.resample.families import FamilyEngine, FamilySimulator
from lmm.inference.resample.many import Batched, Engine, engine_for
from lmm.inference.resample.replicates import Replicates
from lmm.inference.resample.rows import compressed, rows_of
from lmm.inference.resample.simulator import Kind, Simulator
from lmm.inference.variance.parameters import parameters_of, sdcor

__all__ = ["Chunk", "Parameters", "Refits", "Refitted", "Statistic", "run"]

# Models that a worker refits before it reports.
MODELS = 10


class Refitted(Protocol):
    """A refitted model, as a statistic gets it."""

    @property
    def converged(self) -> bool:
        """Whether it converged."""

    def is_singular(self) -> bool:
        """Whether it is singular."""


Statistic = Callable[[Any], Any]


@dataclass(frozen=True, eq=False)
class Chunk:
    """Results of one batch: statistics (r, d), verdicts, score, what went wrong."""

    values: Matrix
    converged: NDArray[np.bool_]
    singular: NDArray[np.bool_]
    failed: NDArray[np.bool_]
    score: Matrix
    errors: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Parameters:
    """Work of one batch of a linear model: its parameters, all responses fitted together."""

    fit: Fit
    simulator: Simulator
    engine: Engine

    @classmethod
    def of(cls, fit: Fit, kind: Kind, use_u: bool) -> Parameters:
        """Prepare the simulation and the refits."""
        rows = rows_of(fit.criterion.problem)
        fewer = compressed(rows) if kind == "parametric" else rows
        engine = engine_for(fit.criterion, fit.optimum.x, fewer)
        shown = fewer if isinstance(engine, Batched) else rows
        return cls(fit, Simulator.of(fit, shown, kind, use_u), engine)

    @property
    def batch(self) -> int:
        """Replicates in a batch."""
        return self.engine.batch

    def __call__(self, seed: np.random.SeedSequence, size: int) -> Chunk:
        """Simulate and refit."""
        with blas_threads(0):
            y, hidden = self.simulator.draw(np.random.default_rng(seed), size)
            fits = self.engine.replicates(y, hidden)
            score = self.engine.score(y, hidden)
        failed = np.zeros(size, dtype=bool)
        return Chunk(self._parameters(fits), fits.converged, fits.singular, failed, score)

    def _parameters(self, fits: Replicates) -> Matrix:
        """Parameters of replicates, (r, d)."""
        matrices = self.fit.matrices
        covariances = []
        for term, part in zip(matrices.terms, matrices.theta_slices, strict=True):
            factor = term.covariance.factor(fits.theta[:, part]) * fits.sigma[:, None, None]
            covariances.append(factor @ factor.transpose(0, 2, 1))
        return np.hstack([sdcor(parameters_of(self.fit), covariances, fits.sigma), fits.beta])


@dataclass(frozen=True, eq=False)
class Refits:
    """Work of one batch: statistics of models that are refitted one after the other.

    Parameters
    ----------
    simulator : Simulator or FamilySimulator
        Draws the responses.
    engine : Engine or FamilyEngine
        Knows their scores.
    refit : callable
        Refits the model to a response (n,).
    statistic : callable
        What is asked of a refitted model.
    names : tuple of str
        Names of the statistics.
    failures : tuple of exception types
        Errors by which a replicate fails; others stop the bootstrap.
    """

    simulator: Simulator | FamilySimulator
    engine: Engine | FamilyEngine
    refit: Callable[[Vector], Refitted]
    statistic: Statistic
    names: tuple[str, ...]
    failures: tuple[type[Exception], ...]

    batch = MODELS

    def __call__(self, seed: np.random.SeedSequence, size: int) -> Chunk:
        """Simulate and refit."""
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
            except self.failures as error:
                failed[i] = True
                errors.append(f"{type(error).__name__}: {error}")
            else:
                _, values[i] = named(result, self.names)
        with blas_threads(0):
            score = self.engine.score(y, hidden)
        return Chunk(values, converged, singular, failed, score, tuple(errors))


Work = Parameters | Refits


def parameter_names(fit: Fit) -> tuple[str, ...]:
    """Names as in ``m.confint()``."""
    return (*(parameter.name for parameter in parameters_of(fit)), *fit.matrices.fixed.names)


def parameter_values(fit: Fit) -> Vector:
    """Standard deviations, correlations, sigma or theta, and fixed effects."""
    values = [each.value(fit.covariances, fit.size) for each in parameters_of(fit)]
    return np.concatenate([values, fit.beta])


def parameters_work(fit: Fit, kind: Kind, use_u: bool) -> Work:
    """The bootstrap of the parameters."""
    if not isinstance(fit, GeneralizedFit):
        return Parameters.of(fit, kind, use_u)
    engine = FamilyEngine(fit.criterion, fit.optimum.x)
    return Refits(
        FamilySimulator(fit, use_u),
        engine,
        engine.fitted,
        parameter_values,
        parameter_names(fit),
        (DataError, NumericalError, np.linalg.LinAlgError),
    )


def statistic_work(
    fit: Fit,
    kind: Kind,
    use_u: bool,
    refit: Callable[[Vector], Refitted],
    statistic: Statistic,
    names: tuple[str, ...],
) -> Refits:
    """The bootstrap of a user's statistic, which may fail in any way: it worked for the fit."""
    simulator: Simulator | FamilySimulator
    engine: Engine | FamilyEngine
    if isinstance(fit, GeneralizedFit):
        simulator = FamilySimulator(fit, use_u)
        engine = FamilyEngine(fit.criterion, fit.optimum.x)
    else:
        simulator = Simulator.of(fit, rows_of(fit.criterion.problem), kind, use_u)
        engine = engine_for(fit.criterion, fit.optimum.x)
    return Refits(simulator, engine, refit, statistic, names, (Exception,))


def named(result: Any, expected: tuple[str, ...] | None = None) -> tuple[tuple[str, ...], Vector]:
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


def run(
    work: Work,
    nsim: int,
    seed: int | None,
    n_jobs: int | None,
    progress: bool | None,
) -> list[Chunk]:
    """Do the work in batches; what is finished when it is interrupted is kept."""
    sizes = [min(work.batch, nsim - start) for start in range(0, nsim, work.batch)]
    seeds = np.random.SeedSequence(seed).spawn(len(sizes))
    chunks: list[Chunk] = []
    with progress_bar(nsim, "fit", progress) as bar:
        try:
            for chunk in _results(work, seeds, sizes, n_jobs):
                chunks.append(chunk)
                bar.update(len(chunk.values))
        except KeyboardInterrupt:
            if not chunks:
                raise
    return chunks


def _results(
    work: Work,
    seeds: Sequence[np.random.SeedSequence],
    sizes: Sequence[int],
    n_jobs: int | None,
) -> Iterator[Chunk]:
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
