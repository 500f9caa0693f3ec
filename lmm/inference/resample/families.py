"""Simulated responses of generalized models, and their refits from the model's own estimates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lmm._types import Matrix, Vector
from lmm.design.rows import Selection, fitted_rows
from lmm.errors import DataError, NumericalError
from lmm.generalized import GeneralizedFit
from lmm.laplace import LaplaceCriterion
from lmm.optimize import minimize

__all__ = ["FamilyEngine", "FamilySimulator"]

# Standard deviations, in units of their noise, below which a refit starts above them: from zero
# every response looks stationary.
OFF_BOUNDARY = 0.1


@dataclass(frozen=True, eq=False)
class FamilySimulator:
    """Draws responses of a generalized fit.

    Parameters
    ----------
    fit : GeneralizedFit
        The fit.
    held : Selection
        Random effects that are held at their conditional modes.
    """

    fit: GeneralizedFit
    held: Selection

    def draw(self, rng: np.random.Generator, size: int) -> tuple[Matrix, Vector]:
        """Responses (n, size), and zeros (size,): no rows are hidden."""
        fit = self.fit
        mean = fit.fixed_part + fitted_rows(fit.matrices).random_part(fit.b, self.held)
        eta = np.repeat(mean[:, None], size, axis=1)
        for term, factor, mask in zip(fit.matrices.terms, fit.factors, self.held, strict=True):
            if not mask.all():
                b = rng.standard_normal((size, term.n_levels, term.size)) @ factor.T
                eta += np.einsum("na,sna->ns", term.Z[:, ~mask], b[:, term.codes][:, :, ~mask])
        weights = np.repeat(fit.matrices.weights[:, None], size, axis=1)
        return fit.family.draw(rng, fit.family.inverse(eta), weights, fit.shape), np.zeros(size)

    def raw(self, y: Matrix) -> Matrix:
        """Responses as the model's refit takes them."""
        return y


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
        criterion = self.criterion.with_response(y)
        bounded = self.criterion.lower == 0.0
        x = np.where(bounded, np.maximum(self.estimate, OFF_BOUNDARY), self.estimate)
        # The whitening depends on the response: what is carried over is on the users' scale.
        optimum = minimize(criterion, start=self.criterion.to_theta(x))
        return GeneralizedFit.at(criterion.matrices.formula, criterion, optimum)

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
