"""Variance explained: the model's variance split into fixed, random and residual parts.

The random part is the mean over rows of ``z'Sigma z``, which knows random slopes (Johnson, 2014,
Methods Ecol. Evol. 5, 944-946). Shares of it: Nakagawa, Johnson & Schielzeth (2017), J. R. Soc.
Interface 14, 20170213.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lmm.design.absent import cross_products
from lmm.fit import Fit
from lmm.generalized_fit import GeneralizedFit
from lmm.optimize import minimize


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
        sigma^2; of a generalized model, the distribution's variance on the link's scale, and that
        of random effects of single rows.
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
    residual = distribution_variance(fit)
    for term, covariance in zip(fit.matrices.terms, fit.covariances, strict=True):
        variance = float(np.vdot(cross_products(term.Z), covariance)) / fit.matrices.n
        if isinstance(fit, GeneralizedFit) and term.n_levels == fit.matrices.n:
            residual += variance  # a random effect of every row is dispersion
            continue
        by_group[term.group] = by_group.get(term.group, 0.0) + variance
    fixed = fit.matrices.variance(fit.beta)
    return VarianceParts(fixed, by_group, residual)


# Variances of the latent variables of binomial models, by link.
LATENT = {"logit": np.pi**2 / 3.0, "probit": 1.0, "cloglog": np.pi**2 / 6.0}


def has_latent_variance(fit: Fit) -> bool:
    """Whether a response has a variance on the scale of the link, so that shares of it exist."""
    return fit.family.name != "binomial" or fit.family.link in LATENT


def distribution_variance(fit: Fit) -> float:
    """Variance of the response given the random effects, on the scale of the link.

    Of a latent variable for binomial models; else at the mean mu of the model without predictors
    (0 on the scale of the link where there are no fixed effects), ``log(1 + V(mu) / mu^2)`` for the
    log link and ``V(mu) g'(mu)^2`` for others (Nakagawa, Johnson & Schielzeth, 2017, table 1).

    Raises
    ------
    ValueError
        The link of a binomial model has no latent variable of finite variance.
    """
    if not isinstance(fit, GeneralizedFit):
        return fit.sigma**2
    family = fit.criterion.family
    if family.name == "binomial":
        if not has_latent_variance(fit):
            raise ValueError(
                f"R2 and ICC need a latent variable of finite variance: the {family.link} link has "
                f"none, {', '.join(LATENT)} have one."
            )
        return LATENT[family.link]
    # an offset stays, as in R's insight
    eta = without_predictors(fit).beta if fit.matrices.p else np.zeros(1)
    mu = family.inverse(eta)
    dispersion = fit.shape if family.has_scale else 1.0
    variance = dispersion * family.variance(mu, fit.shape)
    if family.link == "log":
        return float(np.log1p(variance / mu**2)[0])
    return float((variance / family.link_function.slope(eta) ** 2)[0])


def without_predictors(fit: Fit) -> Fit:
    """The fit of the model with an intercept in the place of all fixed effects."""
    kept = np.arange(min(1, fit.matrices.p))
    bare = fit.matrices.with_columns(np.ones_like(fit.matrices.X[:, kept]), kept)
    criterion = fit.criterion.on(bare)
    return fit.at(fit.formula, criterion, minimize(criterion))
