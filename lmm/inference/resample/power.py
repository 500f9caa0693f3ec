"""Power by simulation: how often a test finds an effect of a given size, by size of the study."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from lmm._progress import progress_bar
from lmm._threads import blas_threads, one_blas_thread
from lmm._types import IntVector, Vector
from lmm.criterion import ProfiledCriterion
from lmm.design.labels import by_name
from lmm.design.matrices import ModelMatrices, ReTerm
from lmm.errors import DataError, nearest
from lmm.fit import check_linear
from lmm.fitted import Fitted
from lmm.formula import Formula
from lmm.inference.resample.many import engine_for
from lmm.inference.resample.replicates import Replicates
from lmm.inference.resample.rows import compressed, rows_of
from lmm.inference.resample.simulator import Simulator
from lmm.report.document import Document
from lmm.report.printed import TableLike
from lmm.report.tables import frame_cells
from lmm.request import planned_matrices

__all__ = ["Power", "StudyDesign", "power"]


@dataclass(frozen=True, eq=False)
class StudyDesign:
    """A study that is planned: its rows and the parameters assumed, no response yet.

    Parameters
    ----------
    formula : str or Formula
        Such as ``"y ~ time + (time | id)"``; the response may be left out.
    data : table
        The rows of the study; the response may be absent.
    beta : (p,) array or mapping
        Fixed effects, in the order of the model matrix's columns or by name; names that a mapping
        or Series leaves out are zero.
    theta : (m,) array or mapping
        Covariance parameters, lme4's scale: relative to sigma.
    sigma : float
        Residual standard deviation.

    Raises
    ------
    DataError
        The data do not suit the formula.
    ValueError
        A parameter has the wrong length; the message names the parameters.

    Examples
    --------
    >>> rows = {"id": np.repeat(np.arange(20), 5).astype(str), "time": np.tile(np.arange(5.0), 20)}
    >>> study = StudyDesign("y ~ time + (1 | id)", rows, beta=[0, 0.2], theta=[1], sigma=1)
    >>> study.matrices.n
    100
    """

    formula: str | Formula
    data: Any
    beta: Any
    theta: Any
    sigma: float
    matrices: ModelMatrices = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        matrices = planned_matrices(self.formula, self.data)
        object.__setattr__(self, "matrices", matrices)
        names = matrices.fixed.names
        beta = by_name(self.beta, names, "beta", otherwise=0.0)
        theta = by_name(self.theta, matrices.theta_names, "theta")
        object.__setattr__(self, "beta", _vector("beta", beta, names))
        object.__setattr__(self, "theta", _vector("theta", theta, matrices.theta_names))
        if not self.sigma > 0.0:
            raise ValueError(f"sigma must be positive, not {self.sigma!r}.")


def _vector(name: str, values: Any, names: Sequence[str]) -> Vector:
    values = np.atleast_1d(np.asarray(values, dtype=float))
    if values.shape != (len(names),):
        raise ValueError(
            f"{name} has shape {values.shape}, but the model has {len(names)}: {', '.join(names)}."
        )
    return np.asarray(values)


@dataclass(frozen=True, eq=False, repr=False)
class Power(TableLike):
    """Estimated power.

    Attributes
    ----------
    table : DataFrame
        A row per size of the study and value of the effect: these, ``power``, the limits ``lower``
        and ``upper`` of its 95 % interval (Clopper & Pearson, 1934), ``nsim``, ``singular`` and
        ``failed`` fits.
    effect : str
        What was tested.
    value : tuple of float
        Its true coefficients, or the values of a single one that were tried.
    test : str
        How.
    alpha : float
        Level of the test.
    """

    table: pd.DataFrame
    effect: str
    value: tuple[float, ...]
    test: str
    alpha: float

    def to_frame(self) -> pd.DataFrame:
        """The table."""
        return self.table.copy()

    def document(self, *, digits: int = 7) -> Document:
        """What was tested, and the table."""
        values = ", ".join(f"{value:.4g}" for value in self.value)
        head = f"Power for {self.effect} = {values} ({self.test}, alpha = {self.alpha:g})"
        return Document((head, frame_cells(self.table, digits)))


@one_blas_thread
def power(
    m: Fitted | StudyDesign,
    effect: str,
    nsim: int = 1000,
    *,
    value: float | Sequence[float] | None = None,
    along: Mapping[str, Sequence[int]] | None = None,
    alpha: float = 0.05,
    seed: int | None = None,
    progress: bool | None = None,
) -> Power:
    """Estimate the power to detect an effect, by simulating and refitting.

    A single coefficient is tested by t with Satterthwaite's degrees of freedom, a term with several
    by the likelihood ratio against the model without it, whose critical value is simulated too: in
    small studies that of chi-square rejects too often. All refits advance together in batches where
    the design allows it (`lmm.refit_many`).

    Parameters
    ----------
    m : LinearMixedModel or StudyDesign
        A pilot fit, whose design and parameters are used, or a planned study.
    effect : str
        Name of a coefficient or of a fixed term.
    nsim : int
        Simulated studies per size.
    value : float or sequence of float, optional
        True value of the effect; by default that of `m`. Several values of a single coefficient
        are tried in turn.
    along : mapping, optional
        Grouping factors and their numbers of levels, such as ``{"Subject": [10, 20, 40]}``: rows of
        existing levels are copied in turn, levels nested in them too. Of several factors all
        combinations are studied, such as subjects and items.
    alpha : float
        Level of the test.
    seed : int, optional
        Seed of the random numbers.
    progress : bool, optional
        Whether to show a bar; by default in a terminal or a notebook when it takes more than
        two seconds.

    Returns
    -------
    Power

    Raises
    ------
    ValueError
        `nsim` is below 1, `alpha` is not between 0 and 1, the effect or the factor is unknown, or
        `value` has the wrong length.
    DataError
        The design cannot be fitted with so few levels.

    Examples
    --------
    >>> import lmm
    >>> m = lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))
    >>> p = lmm.power(m, "Days", 500, value=5.0, along={"Subject": [6, 12, 24]}, seed=1)
    >>> bool(p.table["power"].is_monotonic_increasing)
    True
    """
    if nsim < 1:
        raise ValueError(f"nsim must be at least 1, not {nsim!r}.")
    if not 0.0 < alpha < 1.0:
        raise ValueError(f"alpha must be between 0 and 1, not {alpha!r}.")
    if isinstance(m, StudyDesign):
        matrices, theta, beta, sigma = m.matrices, m.theta, m.beta, m.sigma
        reml = matrices.p > 0
    else:
        check_linear("studies of power", m)
        fit = m.fit
        matrices, theta, beta, sigma, reml = fit.matrices, fit.theta, fit.beta, fit.sigma, fit.reml
    columns = _columns(matrices, effect)
    names = [matrices.fixed.names[j] for j in columns]
    values = _values(value, names, beta[columns])
    studies = list(product(_sizes(matrices, along), values))
    streams = np.random.SeedSequence(seed).spawn(len(studies))
    rows = []
    # A term of several columns is tested by studies without its effect too.
    steps = nsim * len(studies) * (1 if len(columns) == 1 else 2)
    with progress_bar(steps, "study", progress) as bar:
        for (sizes, true), stream in zip(studies, streams, strict=True):
            design = matrices
            for group, size in sizes.items():
                design = extended(design, group, size)
            own = beta.copy()
            own[columns] = true
            trial = _Trial(design, reml, theta, own, float(sigma), columns, bar)
            found, fits = trial.run(nsim, stream, alpha)
            rows.append({**sizes, **({"value": true[0]} if len(values) > 1 else {})})
            rows[-1] |= _row(found, fits)
    table = pd.DataFrame(rows)
    index = [*(along or ()), *(["value"] if len(values) > 1 else [])]
    if index:
        table = table.set_index(index if len(index) > 1 else index[0])
    test = "t, Satterthwaite" if len(columns) == 1 else "likelihood ratio, simulated null"
    return Power(table, effect, tuple(np.concatenate(values).tolist()), test, alpha)


def _values(
    value: float | Sequence[float] | None, names: Sequence[str], own: Vector
) -> list[Vector]:
    """True coefficients (q,) of each study: several of a single coefficient, one of a term."""
    if value is None:
        return [own]
    given = by_name(value, names, "value")
    if len(names) == 1 and np.ndim(given) == 1 and len(given) > 1:
        return [np.array([float(each)]) for each in given]
    return [_vector("value", given, names)]


def _columns(matrices: ModelMatrices, effect: str) -> IntVector:
    """Columns of X of a coefficient or a term."""
    fixed = matrices.fixed
    if effect in fixed.names:
        return np.array([list(fixed.names).index(effect)])
    if effect in fixed.term_labels:
        return np.flatnonzero(np.asarray(fixed.assign) == list(fixed.term_labels).index(effect) + 1)
    known = dict.fromkeys([*fixed.names, *fixed.term_labels])
    raise ValueError(f"The model has no fixed effect {effect!r}.{nearest(effect, known)}")


def _sizes(
    matrices: ModelMatrices, along: Mapping[str, Sequence[int]] | None
) -> list[dict[str, int]]:
    """Numbers of levels of each study, by grouping factor: all combinations."""
    if along is None:
        return [{}]
    groups = list(dict.fromkeys(term.group for term in matrices.terms))
    if not along:
        raise ValueError("along must name a grouping factor.")
    for group, sizes in along.items():
        if group not in groups:
            raise ValueError(f"The model has no grouping factor {group!r}.{nearest(group, groups)}")
        if any(size < 2 for size in sizes):
            raise ValueError(f"{group} must have at least 2 levels, not {min(sizes)}.")
    return [dict(zip(along, map(int, sizes), strict=True)) for sizes in product(*along.values())]


def _row(found: np.ndarray, fits: Replicates) -> dict[str, Any]:
    """Power with its Clopper-Pearson interval, and what happened to the fits."""
    from scipy.special import betaincinv

    hits, n = int(found.sum()), len(found)
    return {
        "power": hits / n,
        "lower": float(betaincinv(hits, n - hits + 1, 0.025)) if hits else 0.0,
        "upper": float(betaincinv(hits + 1, n - hits, 0.975)) if hits < n else 1.0,
        "nsim": n,
        "singular": int(fits.singular.sum()),
        "failed": int((~fits.converged).sum()),
    }


def extended(matrices: ModelMatrices, group: str, size: int) -> ModelMatrices:
    """A design with another number of levels of one grouping factor.

    New level i has the rows of level ``i mod l``. Factors nested in the group get new levels in
    every copy; others keep theirs.

    Parameters
    ----------
    matrices : ModelMatrices
        The design.
    group : str
        Grouping factor.
    size : int
        Its number of levels.

    Raises
    ------
    DataError
        So few levels do not determine the fixed effects.
    """
    own = next(term for term in matrices.terms if term.group == group)
    by_level = np.argsort(own.codes, kind="stable")
    parts = np.split(by_level, np.cumsum(np.bincount(own.codes, minlength=own.n_levels))[:-1])
    sources = [parts[i % own.n_levels] for i in range(size)]
    rows = np.concatenate(sources)
    level = np.repeat(np.arange(size), [len(part) for part in sources])
    design = matrices.design.at_rows(rows)
    if design.X.shape[1] < matrices.p:
        raise DataError(f"{size} levels of {group} cannot determine {matrices.p} fixed effects.")
    codes = [_copied(term, own, rows, level) for term in matrices.terms]
    return ModelMatrices(design.with_codes(codes), matrices.response.at_rows(rows))


def _copied(term: ReTerm, own: ReTerm, rows: IntVector, level: IntVector) -> IntVector:
    """Levels of a term on copied rows, which have the levels (m,) of their own group."""
    if term.group == own.group:
        return level
    codes = term.codes[rows]
    is_nested = len(np.unique(np.stack([term.codes, own.codes]), axis=1).T) == term.n_levels
    return codes + level // own.n_levels * term.n_levels if is_nested else codes


@dataclass(frozen=True, eq=False)
class _Trial:
    """Studies of one size: a design with its true parameters, the columns tested, and a bar."""

    matrices: ModelMatrices
    reml: bool
    theta: Vector
    beta: Vector
    sigma: float
    columns: IntVector
    bar: Any

    def run(
        self, nsim: int, stream: np.random.SeedSequence, alpha: float
    ) -> tuple[np.ndarray, Replicates]:
        """Whether each simulated study rejects, and its fits."""
        from scipy.special import stdtrit

        rng = np.random.default_rng(stream)
        # The response only has to be one that the fixed effects do not fit exactly.
        matrices = self.matrices.with_response(rng.standard_normal(self.matrices.n))
        self._check(matrices)
        with blas_threads(0):
            if len(self.columns) == 1:
                fits = self._fits(matrices, nsim, rng)
                j = self.columns[0]
                t = np.abs(fits.beta[:, j] / fits.std_error[:, j])
                return np.asarray(t > stdtrit(fits.df[:, j], 1.0 - 0.5 * alpha)), fits
            null = self.beta.copy()
            null[self.columns] = 0.0
            without, _ = self._ratios(matrices, null, nsim, rng)
            ratios, fits = self._ratios(matrices, self.beta, nsim, rng)
            return np.asarray(ratios > np.quantile(without, 1.0 - alpha)), fits

    def _fits(self, matrices: ModelMatrices, nsim: int, rng: np.random.Generator) -> Replicates:
        """Fits of simulated studies, with degrees of freedom."""
        criterion = ProfiledCriterion(matrices, self.reml)
        x = criterion.to_x(self.theta)
        rows = rows_of(criterion.problem)
        fewer = compressed(rows)
        engine = engine_for(criterion, x, fewer)
        simulator = Simulator.parametric(criterion, engine.rows, x, self.beta, self.sigma)
        parts = []
        for size in _batches(nsim, engine.batch):
            parts.append(engine.replicates(*simulator.draw(rng, size), df=True))
            self.bar.update(size)
        return Replicates.concatenate(parts)

    def _ratios(
        self, matrices: ModelMatrices, beta: Vector, nsim: int, rng: np.random.Generator
    ) -> tuple[Vector, Replicates]:
        """Likelihood-ratio statistics of simulated studies, and the larger model's fits."""
        criterion = ProfiledCriterion(matrices, reml=False)
        x = criterion.to_x(self.theta)
        large = engine_for(criterion, x)
        X = np.delete(matrices.X, self.columns, axis=1)
        small = engine_for(ProfiledCriterion(matrices.with_columns(X), False), x)
        simulator = Simulator.parametric(criterion, rows_of(criterion.problem), x, beta, self.sigma)
        ratios, parts = [], []
        for size in _batches(nsim, large.batch):
            drawn = simulator.draw(rng, size)
            parts.append(large.replicates(*drawn))
            ratios.append(small.replicates(*drawn).criterion - parts[-1].criterion)
            self.bar.update(size)
        return np.concatenate(ratios), Replicates.concatenate(parts)

    def _check(self, matrices: ModelMatrices) -> None:
        for term in matrices.terms:
            if term.n_levels >= matrices.n and term.size == 1:
                raise DataError(
                    f"{term.group} has as many levels as there are rows ({matrices.n}): its random "
                    "effects cannot be told from the residuals."
                )
        if matrices.n <= matrices.p:
            raise DataError(f"{matrices.n} rows cannot determine {matrices.p} fixed effects.")


def _batches(nsim: int, batch: int) -> list[int]:
    return [min(batch, nsim - start) for start in range(0, nsim, batch)]
