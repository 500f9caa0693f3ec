"""Means and their slopes at rows of data, with exact gradients in the fixed effects.

With eta_i = x_i'beta + o_i and mu the inverse link, a mean has the gradient

    d mu(eta_i) / d beta = mu'(eta_i) x_i                                                      (1)

and its slope in a covariate z, on which x depends,

    s_i = mu'(eta_i) x_i,z'beta
    d s_i / d beta = mu''(eta_i) (x_i,z'beta) x_i + mu'(eta_i) x_i,z                           (2)

with x_i,z the derivative of the row. An average has the average gradient, and by the delta method
(Casella & Berger, 2002, Statistical Inference, section 5.5.4) the variance ``g' vcov g``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lmm._types import IntVector, Matrix, Vector
from lmm.fixed_fit import FixedFit


@dataclass(frozen=True, eq=False)
class Smooth:
    """Functions of the fixed effects at their estimates.

    Attributes
    ----------
    value : (n,) array
        The estimates.
    gradient : (n, p) array
        Their derivatives by beta.
    """

    value: Vector
    gradient: Matrix

    def averaged(self, codes: IntVector, n_groups: int) -> Smooth:
        """Averages over the rows of each group."""
        counts = np.bincount(codes, minlength=n_groups)
        value = np.bincount(codes, self.value, n_groups) / counts
        sums = [np.bincount(codes, column, n_groups) for column in self.gradient.T]
        gradient = np.stack(sums, axis=1) if sums else np.empty((n_groups, 0))
        return Smooth(value, gradient / counts[:, None])

    def minus(self, other: Smooth) -> Smooth:
        """Differences."""
        return Smooth(self.value - other.value, self.gradient - other.gradient)

    def over(self, other: Smooth) -> Smooth:
        """Ratios, by the rule for quotients."""
        ratio = self.value / other.value
        gradient = (self.gradient - ratio[:, None] * other.gradient) / other.value[:, None]
        return Smooth(ratio, gradient)


def means(fit: FixedFit, X: Matrix, offset: Vector, on_response: bool) -> Smooth:
    """Linear predictors of rows X (n, p), or the means (1) that they stand for."""
    eta = X @ fit.beta + offset
    if not on_response:
        return Smooth(eta, X)
    mu, slope = fit.family.link_function.jet(eta, 1)
    return Smooth(mu, slope[:, None] * X)


def slopes(fit: FixedFit, X: Matrix, by_z: Matrix, offset: Vector, on_response: bool) -> Smooth:
    """Slopes (2) at rows X (n, p), whose derivatives by the covariate are `by_z` (n, p)."""
    rise = by_z @ fit.beta
    if not on_response:
        return Smooth(rise, by_z)
    _, first, second = fit.family.link_function.jet(X @ fit.beta + offset, 2)
    return Smooth(first * rise, (second * rise)[:, None] * X + first[:, None] * by_z)
