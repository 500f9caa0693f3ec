"""Simulated responses of generalized models, and their refits from known parameters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lmm._types import Matrix, Vector
from lmm.design.matrices import ModelMatrices
from lmm.design.rows import Selection, fitted_rows, select
from lmm.errors import DataError, NumericalError
from lmm.family import Family
from lmm.generalized_fit import GeneralizedFit
from lmm.laplace import LaplaceCriterion
from lmm.optimize import minimize_near

# Standard deviations, in units of their noise, below which a refit starts above them: from zero
# every response looks stationary.
OFF_BOUNDARY = 0.1


@dataclass(frozen=True, eq=False)
class FamilySimulator:
    """Draws responses of a generalized model.

    Parameters
    ----------
    matrices : ModelMatrices
        The design; its response does not matter.
    family : Family
        Conditional distribution.
    shape : float
        Its shape.
    mean : (n,) array
        Known part of the linear predictor.
    factors : tuple of (k_i, k_i) arrays
        Square roots of the covariances.
    held : Selection
        Random effects that are part of `mean`.
    """

    matrices: ModelMatrices
    family: Family
    shape: float
    mean: Vector
    factors: tuple[Matrix, ...]
    held: Selection

    @classmethod
    def of(cls, fit: GeneralizedFit, held: Selection) -> FamilySimulator:
        """Prepare the simulation of a fit, some of whose random effects are held."""
        mean = fit.fixed_part + fitted_rows(fit.matrices).random_part(fit.b, held)
        return cls(fit.matrices, fit.family, fit.shape, mean, fit.factors, held)

    @classmethod
    def parametric(
        cls, matrices: ModelMatrices, family: Family, shape: float, theta: Vector, beta: Vector
    ) -> FamilySimulator:
        """Prepare the simulation of a model with given parameters, all random effects drawn."""
        mean = matrices.X @ beta + matrices.offset
        held = select(matrices, "~0")
        return cls(matrices, family, shape, mean, matrices.factors(theta), held)

    def draw(self, rng: np.random.Generator, size: int) -> tuple[Matrix, Vector]:
        """Responses (n, size), and zeros (size,): no rows are hidden."""
        eta = np.repeat(self.mean[:, None], size, axis=1)
        for term, factor, mask in zip(self.matrices.terms, self.factors, self.held, strict=True):
            if not mask.all():
                b = rng.standard_normal((size, term.n_levels, term.size)) @ factor.T
                eta += np.einsum("na,sna->ns", term.Z[:, ~mask], b[:, term.codes][:, :, ~mask])
        weights = np.repeat(self.matrices.weights[:, None], size, axis=1)
        y = self.family.draw_at(rng, eta, weights, self.shape)
        return y, np.zeros(size)

    def raw(self, y: Matrix) -> Matrix:
        """Responses as the model's refit takes them."""
        return y


def refitted(criterion: LaplaceCriterion, theta: Vector) -> GeneralizedFit:
    """The fit of a criterion, from parameters (d,) on the users' scale."""
    # The whitening depends on the response: what is carried over is on the users' scale.
    x = criterion.to_x(theta)
    x = np.where(criterion.lower == 0.0, np.maximum(x, OFF_BOUNDARY), x)
    optimum = minimize_near(criterion, criterion.to_theta(x))
    return GeneralizedFit.at(criterion.matrices.formula, criterion, optimum)


@dataclass(frozen=True, eq=False)
class FamilyEngine:
    """Fits responses one after the other, each from the model's own estimates.

    Parameters
    ----------
    criterion : LaplaceCriterion
        The model; its response does not matter.
    estimate : (d,) array
        Coordinates of its estimates.
    """

    criterion: LaplaceCriterion
    estimate: Vector

    def fitted(self, y: Vector) -> GeneralizedFit:
        """The fit of one response (n,)."""
        return refitted(self.criterion.with_response(y), self.criterion.to_theta(self.estimate))

    def score(self, y: Matrix, hidden: Vector) -> Matrix:
        """Scores (r, d) of the responses at the model's estimates."""
        theta = self.criterion.to_theta(self.estimate)
        return np.array([self._score(column, theta) for column in y.T])

    def _score(self, y: Vector, theta: Vector) -> Vector:
        """NaN for a response that the model cannot be fitted to."""
        try:
            criterion = self.criterion.with_response(y)
            return criterion.evaluate(criterion.to_x(theta)).score
        except (DataError, NumericalError, np.linalg.LinAlgError):
            return np.full(self.criterion.model.width, np.nan)
