"""Leverages, and the residuals and distances that are made of them."""

from __future__ import annotations

import numpy as np

from lmm._types import Vector
from lmm.errors import nearest
from lmm.fit import Fit
from lmm.joint import JointCovariance

__all__ = ["RESIDUAL_KINDS", "cooks_distance", "leverages", "residuals", "standardized_residuals"]

RESIDUAL_KINDS = ("response", "working", "deviance", "pearson")


def residuals(fit: Fit, kind: str = "response", scaled: bool = False) -> Vector:
    """Residuals (n,) of one kind.

    Parameters
    ----------
    fit : Fit
        The model.
    kind : {"response", "working", "deviance", "pearson"}
        Response minus fitted values; these over the slope of the mean in the linear predictor;
        signed roots of what a row adds to the deviance; response minus fitted values over the root
        of the variance. For a linear model the first two are the same, and the last two are these
        times the square roots of the prior weights.
    scaled : bool
        Whether to divide by sigma.

    Raises
    ------
    ValueError
        The kind is unknown.
    """
    if kind not in RESIDUAL_KINDS:
        raise ValueError(f"Unknown kind of residuals {kind!r}.{nearest(kind, RESIDUAL_KINDS)}")
    values = fit.residuals_of(kind)
    return values / fit.sigma if scaled else values


def leverages(joint: JointCovariance) -> Vector:
    """Diagonal (n,) of the hat matrix that turns the response into fitted values.

    Of a generalized model, the working response into linear predictors. They sum to the effective
    number of parameters.

    The leverage of a row is the variance of its fitted value's error over that of its response,
    at the estimated theta: Nobre & Singer (2011), J. Appl. Stat. 38, 1063-1072.
    """
    fit = joint.fit
    matrices = fit.matrices
    if fit.working_root is not fit.fixed_root:
        joint = JointCovariance(fit, fit.working_root)
    # the problem's own rows may be fewer: those that are alike are one
    members = [[matrices.terms[i] for i, _ in group.members] for group in fit.problem.groups]
    effects = {
        g: (terms[0].codes, np.hstack([term.Z for term in terms]))
        for g, terms in enumerate(members)
    }
    return joint.variance(matrices.X, effects) / fit.noise**2 * fit.working_weights


def standardized_residuals(fit: Fit, hat: Vector) -> Vector:
    """Pearson residuals over their standard errors sigma sqrt(1 - leverage), (n,).

    This is what lme4's ``rstudent`` gives; sigma is that of all rows.
    """
    with np.errstate(invalid="ignore", divide="ignore"):  # rows that determine their own fit
        return np.asarray(fit.scaled_residuals / np.sqrt(1.0 - hat))


def cooks_distance(fit: Fit, hat: Vector) -> Vector:
    """Cook's distance (n,) of each observation at the estimated theta and sigma.

    ``r^2 h / (p (1 - h)^2)`` with scaled Pearson residuals r and leverages h (Cook, 1977,
    Technometrics 19, 15-18). `lmm.diagnostics.influence` refits instead. NaN without fixed effects,
    and for rows that determine their own fitted value.
    """
    p = len(fit.beta) or np.nan
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(fit.scaled_residuals**2 * hat / (p * (1.0 - hat) ** 2))
