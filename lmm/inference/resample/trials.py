"""Studies that are simulated from known parameters, and whether a test rejects in each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from lmm._threads import blas_threads
from lmm._types import IntVector, Vector
from lmm._workers import calls
from lmm.criterion import ProfiledCriterion
from lmm.design.matrices import ModelMatrices
from lmm.errors import DataError, NumericalError, silence
from lmm.family import Family
from lmm.generalized_fit import GeneralizedFit
from lmm.inference.resample.family_engine import FamilySimulator, refitted
from lmm.inference.resample.many import engine_for
from lmm.inference.resample.regressed import compressed, rows_of
from lmm.inference.resample.replicates import Replicates
from lmm.inference.resample.simulator import Simulator
from lmm.laplace import LaplaceCriterion


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What became of some simulated studies.

    Attributes
    ----------
    rejected, singular, converged : (r,) bool arrays
        Whether the test rejects, and verdicts on the fits.
    """

    rejected: NDArray[np.bool_]
    singular: NDArray[np.bool_]
    converged: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.rejected)


@dataclass(frozen=True, eq=False)
class TrialPlan:
    """What is asked of simulated studies.

    Attributes
    ----------
    columns : (q,) int array
        Columns of X whose coefficients are tested.
    test : str
        ``"t"``, ``"z"`` or ``"LRT"``.
    nsim : int
        Number of studies.
    alpha : float
        Level of the test.
    bar : progress bar
        Told of every study.
    n_jobs : int or None
        Workers that fit studies of generalized models.
    """

    columns: IntVector
    test: str
    nsim: int
    alpha: float
    bar: Any
    n_jobs: int | None = 1


@dataclass(frozen=True, eq=False)
class LinearTrial:
    """Studies of a linear model.

    Parameters
    ----------
    matrices : ModelMatrices
        The design; its response does not matter.
    theta, beta : (m,), (p,) arrays
        True parameters, theta relative to sigma.
    sigma : float
        True residual standard deviation.
    reml : bool
        How t tests are fitted.
    """

    matrices: ModelMatrices
    theta: Vector
    beta: Vector
    sigma: float
    reml: bool

    tests: ClassVar[Mapping[str, str]] = {
        "t": "t, Satterthwaite",
        "LRT": "likelihood ratio, simulated null",
    }

    def steps(self, nsim: int, test: str) -> int:
        """Studies to simulate: a likelihood ratio takes some without the effect too."""
        return 2 * nsim if test == "LRT" else nsim

    def run(self, plan: TrialPlan, rng: np.random.Generator) -> Iterator[Outcomes]:
        """Outcomes of simulated studies, in batches."""
        # The response only has to be one that the fixed effects do not fit exactly.
        matrices = self.matrices.with_response(rng.standard_normal(self.matrices.n))
        self._check()
        with blas_threads(0):
            if plan.test == "t":
                yield from self._t_tests(matrices, plan, rng)
                return
            null = self.beta.copy()
            null[plan.columns] = 0.0
            without = [each for each, _ in self._ratios(matrices, null, plan, rng)]
            limit = np.quantile(np.concatenate(without), 1.0 - plan.alpha)
            for ratios, fits in self._ratios(matrices, self.beta, plan, rng):
                yield Outcomes(ratios > limit, fits.singular, fits.converged)

    def _t_tests(
        self, matrices: ModelMatrices, plan: TrialPlan, rng: np.random.Generator
    ) -> Iterator[Outcomes]:
        from scipy.special import stdtrit

        criterion, j = ProfiledCriterion(matrices, self.reml), plan.columns[0]
        x = criterion.to_x(self.theta)
        engine = engine_for(criterion, x, compressed(rows_of(criterion.problem)))
        simulator = Simulator.parametric(criterion, engine.rows, x, self.beta, self.sigma)
        for size in _batches(plan.nsim, engine.batch):
            fits = engine.replicates(*simulator.draw(rng, size), df=True)
            t = np.abs(fits.beta[:, j] / fits.std_error[:, j])
            plan.bar.update(size)
            found = t > stdtrit(fits.df[:, j], 1.0 - 0.5 * plan.alpha)
            yield Outcomes(np.asarray(found), fits.singular, fits.converged)

    def _ratios(
        self, matrices: ModelMatrices, beta: Vector, plan: TrialPlan, rng: np.random.Generator
    ) -> Iterator[tuple[Vector, Replicates]]:
        """Likelihood-ratio statistics of simulated studies, and the larger model's fits."""
        criterion = ProfiledCriterion(matrices, reml=False)
        x = criterion.to_x(self.theta)
        large = engine_for(criterion, x)
        X = np.delete(matrices.X, plan.columns, axis=1)
        small = engine_for(ProfiledCriterion(matrices.with_columns(X), False), x)
        simulator = Simulator.parametric(criterion, rows_of(criterion.problem), x, beta, self.sigma)
        for size in _batches(plan.nsim, large.batch):
            drawn = simulator.draw(rng, size)
            fits = large.replicates(*drawn)
            ratios = small.replicates(*drawn).criterion - fits.criterion
            plan.bar.update(size)
            yield ratios, fits

    def _check(self) -> None:
        n, p = self.matrices.n, self.matrices.p
        for term in self.matrices.terms:
            if term.n_levels >= n and term.size == 1:
                raise DataError(
                    f"{term.group} has as many levels as there are rows ({n}): its random effects "
                    "cannot be told from the residuals."
                )
        if n <= p:
            raise DataError(f"{n} rows cannot determine {p} fixed effects.")


@dataclass(frozen=True, eq=False)
class FamilyTrial:
    """Studies of a generalized model, which are fitted one after the other.

    Parameters
    ----------
    matrices : ModelMatrices
        The design with its numbers of trials; its response does not matter.
    theta, beta : (m,), (p,) arrays
        True parameters.
    shape : float
        True shape; 1 where the family has none.
    criterion : LaplaceCriterion
        How studies are fitted.
    """

    matrices: ModelMatrices
    theta: Vector
    beta: Vector
    shape: float
    criterion: LaplaceCriterion

    tests: ClassVar[Mapping[str, str]] = {"z": "Wald z", "LRT": "likelihood ratio, chi-square"}

    @property
    def family(self) -> Family:
        """Conditional distribution that responses are drawn from."""
        family = self.criterion.family
        return family.with_shape(self.shape) if family.shape_name else family

    def steps(self, nsim: int, test: str) -> int:
        """Studies to simulate."""
        return nsim

    def run(self, plan: TrialPlan, rng: np.random.Generator) -> Iterator[Outcomes]:
        """Outcomes of simulated studies, one by one, whatever fits them."""
        simulator = FamilySimulator.parametric(
            self.matrices, self.family, self.shape, self.theta, self.beta
        )
        drawn = (simulator.draw(rng, 1)[0][:, 0] for _ in range(plan.nsim))
        work = partial(self._outcome, plan=replace(plan, bar=None))  # bars are not for workers
        for outcome in calls(work, drawn, n_jobs=plan.n_jobs):
            plan.bar.update(1)
            yield Outcomes(*(np.array([verdict]) for verdict in outcome))

    def _outcome(self, y: Vector, plan: TrialPlan) -> tuple[bool, bool, bool]:
        """Whether a study rejects, is singular, and has converged.

        One that cannot be fitted is not any of these.
        """
        matrices = self.matrices.with_response(y)
        try:
            with silence(), np.errstate(all="ignore"):
                fit = self._fitted(matrices, self.beta)
                rejected = self._statistic(fit, plan) > _chi_square(len(plan.columns), plan.alpha)
        except (DataError, NumericalError, np.linalg.LinAlgError):
            return False, False, False
        return rejected, fit.is_singular(), fit.converged

    def _statistic(self, fit: GeneralizedFit, plan: TrialPlan) -> float:
        """Squared z, or twice the logarithm of the likelihood ratio."""
        if plan.test == "z":
            j = plan.columns[0]
            return float(fit.beta[j] ** 2 / fit.vcov[j, j])
        kept = np.delete(np.arange(fit.matrices.p), plan.columns)
        small = self._fitted(
            fit.matrices.with_columns(fit.matrices.X[:, kept], kept), self.beta[kept]
        )
        return small.optimum.value - fit.optimum.value

    def _fitted(self, matrices: ModelMatrices, beta: Vector) -> GeneralizedFit:
        """The fit of a study, from the true parameters."""
        criterion = self.criterion.on(matrices)
        return refitted(criterion, self._parameters(beta))

    def _parameters(self, beta: Vector) -> Vector:
        """Coordinates of the criterion on the users' scale."""
        criterion = self.criterion
        shape = [self.shape] if criterion.family.shape_name else []
        return np.concatenate([self.theta, beta if criterion.nagq else [], shape])


Trial = LinearTrial | FamilyTrial


def _chi_square(df: int, alpha: float) -> float:
    """Value that chi-square exceeds with probability `alpha`."""
    from scipy.special import chdtri

    return float(chdtri(df, alpha))


def with_effect(trial: Trial, matrices: ModelMatrices, columns: IntVector, value: Vector) -> Trial:
    """The trial on another design, with other coefficients of some columns."""
    beta = trial.beta.copy()
    beta[columns] = value
    return replace(trial, matrices=matrices, beta=beta)


def _batches(nsim: int, batch: int) -> list[int]:
    return [min(batch, nsim - start) for start in range(0, nsim, batch)]
