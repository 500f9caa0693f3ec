"""Wald intervals of all parameters, from the exact Hessian of the criterion that was fitted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lmm._types import Matrix, Vector
from lmm.design.matrices import ModelMatrices
from lmm.fit import Fit
from lmm.generalized_fit import GeneralizedFit
from lmm.inference.variance.kinds import Kind
from lmm.inference.variance.laplace import likelihood_of
from lmm.inference.variance.reported import Scale, VarianceParameter, parameters_of, values_of
from lmm.likelihood import correlations, critical_value


def wald_limits(fit: Fit, level: float) -> Matrix:
    """Wald intervals of standard deviations, correlations, and sigma or theta.

    From the exact Hessian of the criterion that was fitted, with standard deviations and sizes on
    the log scale and correlations on Fisher's z scale.

    Parameters
    ----------
    fit : Fit
        A fit.
    level : float
        Confidence level.

    Returns
    -------
    (K, 2) array
        Lower and upper limits in the order of `parameters_of`; NaN on the boundary, where
        the likelihood has no quadratic approximation, and with ``nagq=0``, where it is none of the
        variance parameters alone.
    """
    parameters = parameters_of(fit)
    estimate = values_of(fit, parameters)
    is_cor = np.array([p.kind == Kind.COR for p in parameters])
    with np.errstate(divide="ignore"):
        centre = np.where(
            is_cor,
            np.arctanh(np.where(is_cor, estimate, 0.0)),
            np.log(np.where(is_cor, 1.0, estimate)),
        )
    half = critical_value(level) * np.sqrt(np.diag(_covariance(fit, parameters)))
    limits = centre[:, None] + half[:, None] * np.array([-1.0, 1.0])
    with np.errstate(over="ignore"):  # an upper limit may be infinite
        return np.asarray(np.where(is_cor[:, None], np.tanh(limits), np.exp(limits)))


def variance_errors(fit: Fit, scale: Scale = "sdcor") -> Vector:
    """Standard errors (K,) of variance parameters, sigma or theta last, by the delta method.

    From the same covariance as `wald_limits`; NaN on the boundary.

    Parameters
    ----------
    fit : Fit
        A fit.
    scale : {"sdcor", "varcov"}
        Standard deviations and correlations, or variances and covariances.
    """
    parameters = parameters_of(fit)
    covariance = _covariance(fit, parameters)
    slopes = np.array([_slopes(fit, parameters, a, scale) for a in range(len(parameters))])
    return np.asarray(np.sqrt(np.einsum("ai,ij,aj->a", slopes, covariance, slopes)))


def _slopes(fit: Fit, parameters: Sequence[VarianceParameter], a: int, scale: str) -> Vector:
    """Derivatives (K,) of the a-th parameter by (log sd, atanh cor, log size)."""
    parameter, slopes = parameters[a], np.zeros(len(parameters))
    value = parameter.value(fit.covariances, fit.size)
    if parameter.kind != Kind.COR:
        is_square = scale == "varcov" and parameter.kind != Kind.THETA
        slopes[a] = 2.0 * value**2 if is_square else value
        return slopes
    slopes[a] = 1.0 - value**2
    if scale == "varcov":
        C, i, j = fit.covariances[parameter.term], parameter.row, parameter.column
        slopes[a] *= np.sqrt(C[i, i] * C[j, j])
        sds = {
            p.row: at
            for at, p in enumerate(parameters)
            if (p.term, p.kind) == (parameter.term, Kind.SD)
        }
        for k in (i, j):  # a structure of one standard deviation reports its first only
            slopes[sds.get(k, min(sds.values()))] += C[i, j]
    return slopes


def _covariance(fit: Fit, parameters: Sequence[VarianceParameter]) -> Matrix:
    """Covariance (K, K) of (log sd, atanh cor, log size); NaN where `wald_limits` are."""
    if fit.is_singular() or _fixed_inside(fit):
        return np.full((len(parameters), len(parameters)), np.nan)
    likelihood = likelihood_of(fit.criterion)
    z = likelihood.coordinates(fit.optimum.theta, fit.sigma)
    J = _log_and_z_jacobian(parameters, fit.matrices, z)
    return np.asarray(2.0 * J @ np.linalg.solve(likelihood.exactly(z).hessian, J.T))


def _fixed_inside(fit: Fit) -> bool:
    """Whether the fixed effects belong to the mode: nagq is 0."""
    return isinstance(fit, GeneralizedFit) and fit.criterion.model.joint


def fixed_wald_limits(fit: Fit, level: float) -> Matrix:
    """Wald intervals of the fixed effects from normal quantiles, as R's confint, (p, 2)."""
    half = critical_value(level) * np.sqrt(np.diag(fit.vcov))
    return np.asarray(fit.beta[:, None] + half[:, None] * np.array([-1.0, 1.0]))


def _log_and_z_jacobian(
    parameters: Sequence[VarianceParameter], matrices: ModelMatrices, z: Vector
) -> Matrix:
    """Derivative of (log sd, atanh cor, log size) in the likelihood's coordinates, size last."""
    J = np.zeros((len(parameters), len(z)))
    theta = z[: len(matrices.lower)]
    factors = matrices.factors(theta)
    for a, parameter in enumerate(parameters):
        if parameter.term < 0:
            J[a, -1] = 1.0
            continue
        part = matrices.theta_slices[parameter.term]
        covariance = matrices.terms[parameter.term].covariance
        units, by_par = covariance.units(theta[part]), covariance.jacobian(theta[part])
        slopes = np.einsum("eij,em->ijm", units, by_par)
        C = factors[parameter.term] @ factors[parameter.term].T
        i, j = parameter.row, parameter.column
        one, two = 0.5 * slopes[i, i] / C[i, i], 0.5 * slopes[j, j] / C[j, j]
        if parameter.kind == Kind.SD:
            J[a, part] = one
        else:
            rho = correlations(C)[i, j]
            J[a, part] = (slopes[i, j] / np.sqrt(C[i, i] * C[j, j]) - rho * (one + two)) / (
                1.0 - rho**2
            )
    return J
