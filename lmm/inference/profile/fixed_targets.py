"""Fixed effects as targets of a profile.

With a fixed effect at t, a linear model is one without its column whose response is
``y - x_j t``; in a generalized model it is a coordinate of the likelihood.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from lmm._types import Matrix, Vector, cached_property
from lmm.criterion import ProfiledCriterion
from lmm.inference.profile.targets import Coordinate, Section, Target
from lmm.inference.variance.laplace import LaplaceLikelihood, likelihood_of
from lmm.inference.variance.reported import Likelihood
from lmm.laplace import LaplaceCriterion


@dataclass(frozen=True, eq=False)
class FixedEffectTarget:
    """A fixed effect.

    Parameters
    ----------
    name : str
        Its name.
    index : int
        Its column of X.
    likelihood : Likelihood
        Of the whole model.
    estimate : (m + 1,) array
        Optimum in the likelihood's coordinates.
    """

    name: str
    index: int
    likelihood: Likelihood
    estimate: Vector

    bounds = (-np.inf, np.inf)

    def _conditional(self, w: Vector) -> tuple[Vector, Vector]:
        """GLS estimate beta^ (p,) and column j of its unscaled covariance (p,), at given w."""
        problem = self.likelihood.criterion.problem
        solution = self.likelihood.criterion.pls.at(self.likelihood.whitened(w)).solution()
        root = problem.fixed_root(solution.fixed_root)
        return problem.beta(solution.beta), root @ root[self.index]

    @cached_property
    def _at_estimate(self) -> tuple[Vector, Vector]:
        return self._conditional(self.estimate)

    @property
    def unit(self) -> float:
        """A first step: its standard error."""
        size = self.likelihood.size(self.estimate)
        return float(size * np.sqrt(self._at_estimate[1][self.index]))

    @cached_property
    def box(self) -> tuple[Vector, Vector]:
        """Bounds of w, (d,) each: those of structures."""
        return self.likelihood.box

    @property
    def start(self) -> tuple[float, Vector]:
        """The estimates of t and w."""
        return float(self._at_estimate[0][self.index]), self.estimate

    @property
    def exactly(self) -> Self:
        """The same with exact Hessians."""
        return replace(self, likelihood=replace(self.likelihood, always_exact=True))

    def at(self, t: float) -> Callable[[Vector], Section]:
        """The likelihood at fixed t, as a function of w; derivatives in t are left to `slope`."""
        whole = self.likelihood.criterion
        problem = whole.problem.fixing(self.index, t)
        criterion = replace(
            whole, matrices=problem.matrices, reml=False, bound=whole.pls.with_problem(problem)
        )
        exact = self.likelihood.always_exact
        likelihood = replace(likelihood_of(criterion), always_exact=exact)

        def section(w: Vector) -> Section:
            here = likelihood.evaluate(w)
            return Section(here.value, here.gradient, here.hessian, 0.0, None, 0.0, here.exact)

        return section

    def slope(self, t: float, w: Vector) -> float:
        """Derivative in t: f depends on it as ``(t - beta^_j)^2 / (c_jj sigma^2)``."""
        beta, column = self._conditional(w)
        j = self.index
        return float(2.0 * (t - beta[j]) / column[j] / self.likelihood.size(w) ** 2)

    def parameters(self, t: float, w: Vector) -> tuple[tuple[Matrix, ...], float, Vector]:
        """Covariances, sigma and beta at (t, w)."""
        beta, column = self._conditional(w)
        moved = beta + column * ((t - beta[self.index]) / column[self.index])
        return self.likelihood.covariances(w), self.likelihood.size(w), moved


@dataclass(frozen=True, eq=False)
class CoordinateTarget(Coordinate):
    """A fixed effect that is a coordinate of the likelihood, as in generalized models.

    Parameters
    ----------
    name : str
        Its name.
    likelihood : LaplaceLikelihood
        With the fixed effect as the first coordinate of the coefficients.
    estimate : (d,) array
        Optimum in the likelihood's coordinates.
    """

    name: str
    likelihood: LaplaceLikelihood
    estimate: Vector

    bounds = (-np.inf, np.inf)

    @property
    def place(self) -> int:
        return self.likelihood.criterion.model.m

    @property
    def unit(self) -> float:
        """A first step: about its standard error without random effects."""
        return float(1.0 / np.linalg.norm(self.likelihood.basis[:, 0]))

    @property
    def exactly(self) -> Self:
        """The same with exact Hessians."""
        return replace(self, likelihood=replace(self.likelihood, always_exact=True))


def fixed_target(
    name: str,
    index: int,
    criterion: ProfiledCriterion | LaplaceCriterion,
    theta: Vector,
    sigma: float,
) -> Target:
    """The target of a fixed effect: column `index` of X."""
    likelihood = likelihood_of(criterion)
    if isinstance(likelihood, LaplaceLikelihood):
        turned = likelihood.toward(index)
        return CoordinateTarget(name, turned, turned.coordinates(theta, sigma))
    return FixedEffectTarget(name, index, likelihood, likelihood.coordinates(theta, sigma))
