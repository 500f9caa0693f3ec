"""The work of a bootstrap in batches: here or by several workers, with a bar of what is done.

Each batch has its own stream of random numbers, made from the seed by
`numpy.random.SeedSequence.spawn`, and its size depends on the design only: results are the same
whatever the number of workers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any, Protocol, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lmm._progress import progress_bar
from lmm._threads import blas_threads
from lmm._types import IntVector, Matrix, Vector
from lmm._workers import calls
from lmm.design.matrices import ModelMatrices
from lmm.design.rows import Selection
from lmm.errors import DataError, NumericalError, silence
from lmm.fit import Fit
from lmm.fitted import Comparable
from lmm.generalized_fit import GeneralizedFit
from lmm.inference.resample.cases import CaseSampler
from lmm.inference.resample.family_engine import FamilyEngine, FamilySimulator
from lmm.inference.resample.many import Engine, engine_for
from lmm.inference.resample.regressed import StandardizedRows, compressed, rows_of
from lmm.inference.resample.replicates import Replicates
from lmm.inference.resample.residual_draws import WildSimulator, block_simulator, residual_simulator
from lmm.inference.resample.schemes import REB, Cases, Residual, Scheme, Wild
from lmm.inference.resample.simulator import Simulator
from lmm.inference.variance.reported import names_of, parameters_of, values_of

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
class BatchResults:
    """Results of one batch.

    Statistics (r, d), verdicts, score; criterion (r,) and standard errors (r, p) of the refits;
    what went wrong.
    """

    values: Matrix
    converged: NDArray[np.bool_]
    singular: NDArray[np.bool_]
    failed: NDArray[np.bool_]
    score: Matrix
    objective: Vector
    std_errors: Matrix
    errors: tuple[str, ...] = ()

    def first(self, number: int) -> BatchResults:
        """The first replicates."""
        names = [each.name for each in fields(self) if each.name != "errors"]
        return replace(self, **{name: getattr(self, name)[:number] for name in names})


class Draws(Protocol):
    """Draws responses of a design."""

    def draw(self, rng: np.random.Generator, size: int) -> tuple[Matrix, Vector]:
        """Responses (n, size), and residual sums of squares of the hidden rows."""

    def raw(self, y: Matrix) -> Matrix:
        """Responses as a refit takes them."""


@dataclass(frozen=True, eq=False)
class BatchedFits:
    """Work of one batch of a linear model: its parameters, all responses fitted together."""

    fit: Fit
    simulator: Draws
    engine: Engine

    @classmethod
    def of(cls, fit: Fit, scheme: Scheme, held: Selection) -> BatchedFits:
        """Prepare the simulation and the refits."""
        rows = rows_of(fit.criterion.problem)
        fewer = compressed(rows) if scheme.name == "parametric" else rows
        engine = engine_for(fit.criterion, fit.optimum.x, fewer)
        return cls(fit, linear_draws(fit, engine.rows, scheme, held), engine)

    @property
    def batch(self) -> int:
        """Replicates in a batch."""
        return self.engine.batch

    def __call__(self, seed: np.random.SeedSequence, size: int) -> BatchResults:
        """Simulate and refit."""
        with blas_threads(0):
            y, hidden = self.simulator.draw(np.random.default_rng(seed), size)
            fits = self.engine.replicates(y, hidden)
            score = self.engine.score(y, hidden)
        failed = np.zeros(size, dtype=bool)
        return BatchResults(
            self._parameters(fits),
            fits.converged,
            fits.singular,
            failed,
            score,
            fits.criterion,
            fits.std_error,
        )

    def _parameters(self, fits: Replicates) -> Matrix:
        """Parameters of replicates, (r, d)."""
        matrices = self.fit.matrices
        covariances = []
        for term, part in zip(matrices.terms, matrices.theta_slices, strict=True):
            factor = term.covariance.factor(fits.theta[:, part]) * fits.sigma[:, None, None]
            covariances.append(factor @ factor.transpose(0, 2, 1))
        own = [each.value(covariances, fits.sigma) for each in parameters_of(self.fit)]
        return np.column_stack([*own, fits.beta])


@dataclass(frozen=True, eq=False)
class Asked:
    """What is asked of models that are refitted one after the other.

    Parameters
    ----------
    refit : callable
        Refits the model to a response (n,), or to matrices.
    statistic : callable
        What is asked of a refitted model.
    names : tuple of str
        Names of the statistics.
    p : int
        Number of fixed effects.
    failures : tuple of exception types
        Errors by which a replicate fails; others stop the bootstrap.
    """

    refit: Callable[[Any], Refitted]
    statistic: Statistic
    names: tuple[str, ...]
    p: int
    failures: tuple[type[Exception], ...]

    def chunk(self, sources: Iterable[Callable[[], Any]], score: Matrix) -> BatchResults:
        """Results of refits to what the sources give, one after the other."""
        size = len(score)
        values, errors = np.full((size, len(self.names)), np.nan), []
        objective, std_errors = np.full(size, np.nan), np.full((size, self.p), np.nan)
        converged, singular, failed = (np.zeros(size, dtype=bool) for _ in range(3))
        for i, source in enumerate(sources):
            try:
                with silence(), np.errstate(all="ignore"):
                    m = self.refit(source())
                    converged[i], singular[i] = m.converged, m.is_singular()
                    fit = cast("Fit", getattr(m, "fit", m))
                    objective[i] = fit.optimum.value
                    std_errors[i] = np.sqrt(np.diag(fit.vcov))
                    result = self.statistic(m)
            except self.failures as error:
                failed[i] = True
                errors.append(f"{type(error).__name__}: {error}")
            else:
                _, values[i] = named(result, self.names)
        verdicts = converged, singular, failed
        return BatchResults(values, *verdicts, score, objective, std_errors, tuple(errors))


@dataclass(frozen=True, eq=False)
class Refits:
    """Work of one batch: statistics of models that are refitted to drawn responses.

    Parameters
    ----------
    simulator : Draws
        Draws the responses.
    engine : Engine or FamilyEngine
        Knows their scores.
    asked : Asked
        The refits.
    """

    simulator: Draws
    engine: Engine | FamilyEngine
    asked: Asked

    batch = MODELS

    def __call__(self, seed: np.random.SeedSequence, size: int) -> BatchResults:
        """Simulate and refit."""
        y, hidden = self.simulator.draw(np.random.default_rng(seed), size)
        with blas_threads(0):
            score = self.engine.score(y, hidden)
        responses = self.simulator.raw(y).T
        return self.asked.chunk((partial(np.asarray, each) for each in responses), score)


@dataclass(frozen=True, eq=False)
class CaseRefits:
    """Work of one batch: statistics of models that are refitted to drawn cases.

    The score of a replicate is how often each unit was drawn, in which statistics are linear to
    first order.

    Parameters
    ----------
    sampler : CaseSampler
        Draws the cases.
    asked : Asked
        The refits.
    """

    sampler: CaseSampler
    asked: Asked

    batch = MODELS

    def __call__(self, seed: np.random.SeedSequence, size: int) -> BatchResults:
        """Draw and refit."""
        units = self.sampler.units
        sizes = np.bincount(units)
        score = np.zeros((size, len(sizes)))
        rngs = [np.random.default_rng(own) for own in seed.spawn(size)]
        return self.asked.chunk(
            (partial(self._drawn, rng, units, row) for rng, row in zip(rngs, score, strict=True)),
            score,
        )

    def _drawn(self, rng: np.random.Generator, units: IntVector, counts: Vector) -> ModelMatrices:
        """Drawn matrices; how often each unit was drawn is written to `counts`."""
        drawn = self.sampler.draw(rng)
        counts[:] = np.bincount(units[drawn.rows], minlength=len(counts)) / np.bincount(units)
        return self.sampler.at(drawn)


Work = BatchedFits | Refits | CaseRefits


def linear_draws(fit: Fit, rows: StandardizedRows, scheme: Scheme, held: Selection) -> Draws:
    """Draws of a linear model's responses, in standardized rows."""
    match scheme:
        case Residual():
            return residual_simulator(fit)
        case REB():
            return block_simulator(fit, scheme.scaled)
        case Wild():
            return WildSimulator.of(fit, scheme)
        case _:
            return Simulator.of(fit, rows, held, resampled=scheme.name == "semiparametric")


def parameter_values(fit: Fit) -> Vector:
    """Standard deviations, correlations, sigma or theta, and fixed effects."""
    return np.concatenate([values_of(fit, parameters_of(fit)), fit.beta])


FIT_FAILURES = (DataError, NumericalError, np.linalg.LinAlgError)


def parameters_work(fit: Fit, scheme: Scheme, held: Selection) -> Work:
    """The bootstrap of the parameters."""
    p, names = fit.matrices.p, names_of(fit)
    if isinstance(scheme, Cases):
        asked = Asked(fit.refitted, parameter_values, names, p, FIT_FAILURES)
        return CaseRefits(CaseSampler.of(fit.matrices, scheme), asked)
    if not isinstance(fit, GeneralizedFit):
        return BatchedFits.of(fit, scheme, held)
    engine = FamilyEngine(fit.criterion, fit.optimum.x)
    asked = Asked(engine.fitted, parameter_values, names, p, FIT_FAILURES)
    return Refits(FamilySimulator.of(fit, held), engine, asked)


def statistic_work(
    fit: Fit,
    scheme: Scheme,
    held: Selection,
    model: Comparable,
    statistic: Statistic,
    names: tuple[str, ...],
) -> Work:
    """The bootstrap of a user's statistic, which may fail in any way: it worked for the fit."""
    p = fit.matrices.p
    if isinstance(scheme, Cases):
        asked = Asked(model.on, statistic, names, p, (Exception,))
        return CaseRefits(CaseSampler.of(fit.matrices, scheme), asked)
    asked = Asked(model.refit, statistic, names, p, (Exception,))
    if isinstance(fit, GeneralizedFit):
        engine = FamilyEngine(fit.criterion, fit.optimum.x)
        return Refits(FamilySimulator.of(fit, held), engine, asked)
    draws = linear_draws(fit, rows_of(fit.criterion.problem), scheme, held)
    return Refits(draws, engine_for(fit.criterion, fit.optimum.x), asked)


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
    done: int = 0,
) -> list[BatchResults]:
    """Do the work in batches after the first ones; what is finished when interrupted is kept."""
    sizes = [min(work.batch, nsim - start) for start in range(0, nsim, work.batch)]
    seeds = np.random.SeedSequence(seed).spawn(len(sizes))
    chunks: list[BatchResults] = []
    with progress_bar(sum(sizes[done:]), "fit", progress) as bar:
        try:
            for chunk in calls(work, seeds[done:], sizes[done:], n_jobs=n_jobs):
                chunks.append(chunk)
                bar.update(len(chunk.values))
        except KeyboardInterrupt:
            if not chunks and not done:
                raise
    return chunks
