"""Variance explained: the model's variance split into fixed, random and residual parts.

The random part is the mean over rows of ``z'Sigma z``, which knows random slopes (Johnson, 2014,
Methods Ecol. Evol. 5, 944-946). Shares of it: Nakagawa, Johnson & Schielzeth (2017), J. R. Soc.
Interface 14, 20170213.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lmm.fit import Fit

__all__ = ["VarianceParts", "variance_parts"]


@dataclass(frozen=True)
class VarianceParts:
    """Parts of the variance of the response that the model sees.

    Attributes
    ----------
    fixed : float
        Variance of X beta over the rows.
    by_group : dict of str to float
        Mean variance of z'b over the rows, by grouping factor.
    residual : float
        sigma^2.
    """

    fixed: float
    by_group: dict[str, float]
    residual: float

    @property
    def random(self) -> float:
        """Mean variance of all random effects together."""
        return sum(self.by_group.values())

    @property
    def total(self) -> float:
        """Sum of the parts."""
        return self.fixed + self.random + self.residual

    @property
    def icc_adjusted(self) -> float:
        """Share of the random effects in what the fixed effects leave."""
        return self.random / (self.random + self.residual)

    @property
    def icc_unadjusted(self) -> float:
        """Share of the random effects in everything (the conditional ICC)."""
        return self.random / self.total

    @property
    def icc_by_group(self) -> dict[str, float]:
        """Share of each grouping factor in what the fixed effects leave."""
        left = self.random + self.residual
        return {group: variance / left for group, variance in self.by_group.items()}

    @property
    def r2_marginal(self) -> float:
        """Share of the fixed effects."""
        return self.fixed / self.total

    @property
    def r2_conditional(self) -> float:
        """Share of fixed and random effects together."""
        return (self.fixed + self.random) / self.total


def variance_parts(fit: Fit) -> VarianceParts:
    """Split the variance that a fit sees.

    Examples
    --------
    >>> import lmm
    >>> m = lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))
    >>> parts = variance_parts(m.fit)
    >>> round(parts.icc_adjusted, 3), round(parts.r2_marginal, 3)
    (0.722, 0.279)
    """
    by_group: dict[str, float] = {}
    for term, covariance in zip(fit.matrices.terms, fit.covariances, strict=True):
        variance = float(np.einsum("na,ab,nb->", term.Z, covariance, term.Z)) / fit.matrices.n
        by_group[term.group] = by_group.get(term.group, 0.0) + variance
    fixed = float(np.var(fit.matrices.X @ fit.beta, ddof=1))
    return VarianceParts(fixed, by_group, fit.sigma**2)
