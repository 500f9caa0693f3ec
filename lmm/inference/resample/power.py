"""Power by simulation: how often a test finds an effect of a given size, by size of the study."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from lmm._progress import progress_bar
from lmm._threads import one_blas_thread
from lmm._types import IntVector, Vector
from lmm._words import PowerTest
from lmm.design.codes import is_nested, rows_by_level
from lmm.design.labels import by_name
from lmm.design.matrices import ModelMatrices, ReTerm
from lmm.errors import DataError, nearest
from lmm.family import Family, family_named
from lmm.fit import check_models, check_sigma_estimated
from lmm.fitted import Fitted
from lmm.formula import Formula
from lmm.generalized_fit import GeneralizedFit
from lmm.inference.resample.trials import (
    FamilyTrial,
    LinearTrial,
    Outcomes,
    Trial,
    TrialPlan,
    with_effect,
)
from lmm.laplace import LaplaceCriterion
from lmm.report.document import Document
from lmm.report.printed import Pictured
from lmm.report.tables import frame_cells
from lmm.request import planned_matrices


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
        Covariance parameters, lme4's scale: relative to sigma, of a generalized model absolute.
    sigma : float, optional
        Residual standard deviation, or root of the dispersion; families without one have none.
    family : str or Family
        Conditional distribution of the response, as for `lmm.glmer`.
    weights : str or (n,) array, optional
        Numbers of trials of a binomial response, or other prior weights; one by default.
    extra_namespace : mapping, optional
        The caller's functions in the formula: see `lmm.lmer`.

    Raises
    ------
    DataError
        The data do not suit the formula.
    ValueError
        A parameter has the wrong length; the message names the parameters. Or sigma is missing, or
        given for a family that has none.

    Examples
    --------
    >>> rows = {"id": np.repeat(np.arange(20), 5).astype(str), "time": np.tile(np.arange(5.0), 20)}
    >>> study = StudyDesign("y ~ time + (1 | id)", rows, beta=[0, 0.2], theta=[1], sigma=1)
    >>> study.matrices.n
    100
    >>> counts = StudyDesign(
    ...     "y ~ time + (1 | id)", rows, beta=[0, 0.2], theta=[0.5], family="poisson"
    ... )
    >>> counts.family
    Poisson(link='log')
    """

    formula: str | Formula
    data: Any
    beta: Any
    theta: Any
    sigma: float | None = None
    family: Any = "gaussian"
    weights: Any = None
    extra_namespace: Mapping[str, Callable[..., Any]] | None = None
    matrices: ModelMatrices = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        family = family_named(self.family)
        is_linear = family.is_gaussian_identity
        matrices = planned_matrices(
            self.formula,
            self.data,
            None if is_linear else family,
            weights=self.weights,
            extra_namespace=self.extra_namespace,
        )
        object.__setattr__(self, "family", family)
        object.__setattr__(self, "matrices", matrices)
        names = matrices.fixed.names
        beta = by_name(self.beta, names, "beta", otherwise=0.0)
        theta = by_name(self.theta, matrices.theta_names, "theta")
        object.__setattr__(self, "beta", _vector("beta", beta, names))
        object.__setattr__(self, "theta", _vector("theta", theta, matrices.theta_names))
        object.__setattr__(self, "sigma", _residual(family, self.sigma))

    @property
    def trial(self) -> Trial:
        """What simulates the study."""
        family, sigma = self.family, float(self.sigma or 1.0)
        parameters = self.matrices, self.theta, self.beta
        if family.is_gaussian_identity:
            return LinearTrial(*parameters, sigma, reml=self.matrices.p > 0)
        shape = sigma**2 if family.has_scale else family.shape_of(0.0)
        criterion = LaplaceCriterion(self.matrices, family, information=family.information)
        return FamilyTrial(*parameters, shape, criterion)


def _residual(family: Family, sigma: float | None) -> float:
    """Standard deviation, or root of the dispersion; 1 for families without one.

    Raises
    ------
    ValueError
        It is missing or not positive, or the family has another shape or none.
    """
    if family.shape_name == "theta":
        raise ValueError("A negative binomial study needs its theta: NegativeBinomial(theta=2).")
    if family.has_scale:
        if sigma is None or not sigma > 0.0:
            raise ValueError(f"sigma must be positive, not {sigma!r}.")
        return sigma
    if sigma not in (None, 1.0):
        raise ValueError(f"The {family.name} family has no sigma: leave it out, not {sigma!r}.")
    return 1.0


def _vector(name: str, values: Any, names: Sequence[str]) -> Vector:
    values = np.atleast_1d(np.asarray(values, dtype=float))
    if values.shape != (len(names),):
        raise ValueError(
            f"{name} has shape {values.shape}, but the model has {len(names)}: {', '.join(names)}."
        )
    return np.asarray(values)


@dataclass(frozen=True, eq=False, repr=False)
class Power(Pictured):
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
    asked : int
        Studies asked for in all; more than `table` counts if it was interrupted.
    """

    table: pd.DataFrame
    effect: str
    value: tuple[float, ...]
    test: str
    alpha: float
    asked: int

    picture: ClassVar[str] = "power"

    def to_frame(self) -> pd.DataFrame:
        """The table."""
        return self.table.copy()

    def document(self, *, digits: int = 7) -> Document:
        """What was tested, and the table."""
        values = ", ".join(f"{value:.4g}" for value in self.value)
        head = f"Power for {self.effect} = {values} ({self.test}, alpha = {self.alpha:g})"
        done = int(self.table["nsim"].sum())
        notes = [f"interrupted: {done} of {self.asked} studies"] if done < self.asked else []
        return Document((head, frame_cells(self.table, digits), *notes))


@one_blas_thread
def power(
    m: Fitted | StudyDesign,
    effect: str,
    nsim: int = 1000,
    *,
    value: float | Sequence[float] | None = None,
    along: Mapping[str, Sequence[int]] | None = None,
    test: PowerTest | None = None,
    alpha: float = 0.05,
    seed: int | None = None,
    n_jobs: int | None = 1,
    progress: bool | None = None,
) -> Power:
    """Estimate the power to detect an effect, by simulating and refitting.

    In linear models a single coefficient is tested by t with Satterthwaite's degrees of freedom, a
    term with several by the likelihood ratio against the model without it, whose critical value is
    simulated too: in small studies that of chi-square rejects too often. All refits advance
    together in batches where the design allows it (`lmm.refit_many`). In generalized models, whose
    studies are fitted one after the other, Wald's z and the likelihood ratio against chi-square
    test as users will. What is finished when interrupted is kept.

    Parameters
    ----------
    m : LinearMixedModel, GeneralizedMixedModel or StudyDesign
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
    test : {"t", "z", "LRT"}, optional
        ``"t"`` of linear and ``"z"`` of generalized models is the default for a single coefficient,
        ``"LRT"`` for several.
    alpha : float
        Level of the test.
    seed : int, optional
        Seed of the random numbers.
    n_jobs : int or None
        Workers that fit studies of generalized models, whose number changes no result; -1 for all
        processors, None for those of ``joblib.parallel_config``.
    progress : bool, optional
        Whether to show a bar; by default in a terminal or a notebook, after two seconds.

    Returns
    -------
    Power

    Raises
    ------
    ValueError
        `nsim` is below 1, `alpha` is not between 0 and 1, the effect or the factor is unknown,
        `value` has the wrong length, or the model or effect has no such test.
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
    trial = m.trial if isinstance(m, StudyDesign) else _trial_of(m)
    matrices = trial.matrices
    columns = _columns(matrices, effect)
    chosen = _test(trial, len(columns), test)
    values = _values(value, [matrices.fixed.names[j] for j in columns], trial.beta[columns])
    sizes = _sizes(matrices, along)
    asked = nsim * len(sizes) * len(values)
    streams = np.random.SeedSequence(seed).spawn(len(sizes) * len(values))
    rows: list[dict[str, Any]] = []
    with progress_bar(trial.steps(asked, chosen), "study", progress) as bar:
        plan = TrialPlan(columns, chosen, nsim, alpha, bar, n_jobs)
        for (size, true), stream in zip(product(sizes, values), streams, strict=True):
            study = with_effect(trial, _resized(matrices, size), columns, true)
            found, interruption = _run(study, plan, stream)
            if found:
                of_several = {"value": true[0]} if len(values) > 1 else {}
                rows.append(size | of_several | _row(found))
            if interruption is not None:
                if not rows:
                    raise interruption
                break
    table = _indexed(rows, [*(along or ()), *(["value"] if len(values) > 1 else [])])
    tried = tuple(np.concatenate(values).tolist())
    return Power(table, effect, tried, trial.tests[chosen], alpha, asked)


def _trial_of(m: Fitted) -> Trial:
    """What simulates studies like that of a fitted model."""
    check_models(m)
    fit = m.fit
    if isinstance(fit, GeneralizedFit):
        return FamilyTrial(fit.matrices, fit.theta, fit.beta, fit.shape, fit.criterion)
    check_sigma_estimated("studies of power", fit)
    return LinearTrial(fit.matrices, fit.theta, fit.beta, float(fit.sigma), fit.reml)


def _test(trial: Trial, q: int, test: str | None) -> str:
    """The test of q coefficients.

    Raises
    ------
    ValueError
        There is none of this name.
    """
    single, ratio = trial.tests
    if test is None:
        return single if q == 1 else ratio
    if test not in trial.tests:
        raise ValueError(f"test must be one of {', '.join(trial.tests)} here, not {test!r}.")
    if test == single and q > 1:
        raise ValueError(f"test {test!r} is of a single coefficient, not of {q}: use {ratio!r}.")
    return test


def _run(
    trial: Trial, plan: TrialPlan, stream: np.random.SeedSequence
) -> tuple[list[Outcomes], KeyboardInterrupt | None]:
    """Outcomes of studies of one size, and what interrupted them."""
    found: list[Outcomes] = []
    try:
        for part in trial.run(plan, np.random.default_rng(stream)):
            found.append(part)  # noqa: PERF402
    except KeyboardInterrupt as interruption:
        return found, interruption
    return found, None


def _indexed(rows: Sequence[Mapping[str, Any]], index: list[str]) -> pd.DataFrame:
    """The table, by what was varied."""
    table = pd.DataFrame(rows)
    return table.set_index(index if len(index) > 1 else index[0]) if index else table


def _resized(matrices: ModelMatrices, sizes: Mapping[str, int]) -> ModelMatrices:
    """A design with other numbers of levels."""
    for group, size in sizes.items():
        matrices = extended(matrices, group, size)
    return matrices


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


def _row(found: Sequence[Outcomes]) -> dict[str, Any]:
    """Power with its Clopper-Pearson interval, and what happened to the fits."""
    from scipy.special import betaincinv

    n, hits, singular, converged = (
        sum(int(count) for count in counts) for counts in zip(*map(_counts, found), strict=True)
    )
    return {
        "power": hits / n,
        "lower": float(betaincinv(hits, n - hits + 1, 0.025)) if hits else 0.0,
        "upper": float(betaincinv(hits + 1, n - hits, 0.975)) if hits < n else 1.0,
        "nsim": n,
        "singular": singular,
        "failed": n - converged,
    }


def _counts(part: Outcomes) -> tuple[int, int, int, int]:
    return len(part), part.rejected.sum(), part.singular.sum(), part.converged.sum()


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
    parts = rows_by_level(own.codes, own.n_levels)
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
    apart = is_nested(term.codes, own.codes)
    return codes + level // own.n_levels * term.n_levels if apart else codes
