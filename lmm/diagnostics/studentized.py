"""Residuals of models without random effects that know of leverages, as R's ``influence.measures``.

Belsley, Kuh & Welsch (1980), Regression Diagnostics; Williams (1987), Appl. Stat. 36, 181-191.
"""

from __future__ import annotations

import numpy as np

from lmm._types import Vector
from lmm.diagnostics.leverage import distances
from lmm.plain_fit import PlainFit, ScoredFit


def deleted_sigmas(fit: PlainFit) -> Vector:
    """Residual standard deviations (n,) without each row, to first order in generalized models."""
    squares = fit.residuals_of("deviance") ** 2
    with np.errstate(divide="ignore", invalid="ignore"):  # rows that determine their own fit
        left = squares.sum() - squares / (1.0 - fit.hat)
        return np.asarray(np.sqrt(left / (fit.df_resid - 1)))


def standardized(fit: PlainFit) -> Vector:
    """Deviance residuals over their standard errors ``sigma sqrt(1 - h)``, R's ``rstandard``."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(fit.residuals_of("deviance") / (fit.sigma * np.sqrt(1.0 - fit.hat)))


def studentized(fit: PlainFit) -> Vector:
    """Residuals over their standard errors with sigma of the other rows, R's ``rstudent``.

    Of generalized models Williams' combination of deviance and Pearson's residuals.
    """
    h, residual = fit.hat, fit.residuals_of("deviance")
    with np.errstate(divide="ignore", invalid="ignore"):
        if not isinstance(fit, ScoredFit):
            return np.asarray(residual / (deleted_sigmas(fit) * np.sqrt(1.0 - h)))
        squares = residual**2 + h * fit.residuals_of("pearson") ** 2 / (1.0 - h)
        values = np.sign(residual) * np.sqrt(squares)
        known = fit.distribution.name in ("binomial", "poisson")
        return np.asarray(values if known else values / deleted_sigmas(fit))


def distances_of(fit: PlainFit) -> Vector:
    """Cook's distances, (n,)."""
    return distances(fit.scaled_residuals, fit.hat, len(fit.beta))
