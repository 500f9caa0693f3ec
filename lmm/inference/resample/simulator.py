"""Simulated responses of linear models, in standardized rows."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse
from scipy.linalg import solve_triangular

from lmm._types import Matrix, Vector
from lmm.criterion import ProfiledCriterion
from lmm.design.response import Response
from lmm.design.rows import Selection
from lmm.fit import Fit
from lmm.inference.resample.regressed import StandardizedRows


@dataclass(frozen=True, eq=False)
class Simulator:
    """Draws standardized responses of a fit.

    Parameters
    ----------
    rows : StandardizedRows
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

    rows: StandardizedRows
    Zt: sparse.csr_array
    mean: Vector
    spread: tuple[tuple[int, Matrix], ...]
    sigma: float
    residuals: Vector | None
    response: Response

    @classmethod
    def of(
        cls,
        fit: Fit,
        rows: StandardizedRows,
        held: Selection | None = None,
        *,
        resampled: bool = False,
    ) -> Simulator:
        """Prepare the simulation of a fit.

        Parameters
        ----------
        fit : Fit
            The fit.
        rows : StandardizedRows
            Standardized rows.
        held : Selection, optional
            Random effects that are held at their conditional modes; none by default.
        resampled : bool
            Whether residuals are those of the fit.
        """
        drawn = cls.parametric(fit.criterion, rows, fit.optimum.x, fit.beta, fit.sigma)
        if resampled:
            drawn = replace(drawn, residuals=fit.sigma * fit.scaled_residuals)
        if held is None or not any(mask.any() for mask in held):
            return drawn
        whitening = fit.criterion.problem.whitening
        known = [(b * mask) @ R.T for R, b, mask in zip(whitening, fit.b, held, strict=True)]
        mean = drawn.mean + drawn.Zt.T @ np.concatenate([b.ravel() for b in known])
        if all(mask.all() for mask in held):
            return replace(drawn, mean=mean, spread=())
        spread = tuple(
            (levels, R @ (np.where(mask, 0.0, 1.0)[:, None] * solve_triangular(R, factor)))
            for (levels, factor), R, mask in zip(drawn.spread, whitening, held, strict=True)
        )
        return replace(drawn, mean=mean, spread=spread)

    @classmethod
    def parametric(
        cls,
        criterion: ProfiledCriterion,
        rows: StandardizedRows,
        x: Vector,
        beta: Vector,
        sigma: float,
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
