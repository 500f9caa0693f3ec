"""Leverages, and the residuals and distances that are made of them."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.linalg import solve_triangular
from scipy.sparse.csgraph import connected_components

from lmm._types import IntVector, Vector
from lmm.design.codes import rows_by_level
from lmm.errors import nearest
from lmm.fit import Fit
from lmm.joint import JointCovariance
from lmm.plain_fit import PlainFit

COMMON_KINDS = ("response", "working", "deviance", "pearson")
LINEAR_KINDS = ("marginal", "normalized", "least-squares")


def residuals(fit: Fit | PlainFit, kind: str = "response", scaled: bool = False) -> Vector:
    """Residuals (n,) of one kind: see `LinearMixedModel.residuals`.

    For a linear model ``"working"`` are the same as ``"response"``, and ``"deviance"`` and
    ``"pearson"`` these times the square roots of the prior weights.

    Raises
    ------
    ValueError
        The kind is unknown, or exists for linear models only.
    """
    is_linear = fit.family.is_gaussian_identity
    if kind in LINEAR_KINDS and not is_linear:
        raise ValueError(f"{kind} residuals exist for linear models only: see kind='quantile'.")
    known = (*COMMON_KINDS, *(LINEAR_KINDS if is_linear else ("quantile",)))
    if kind not in known:
        raise ValueError(f"Unknown kind of residuals {kind!r}.{nearest(kind, known)}")
    if isinstance(fit, PlainFit):
        values = fit.residuals_of("pearson" if kind == "normalized" else kind)
        return values / fit.sigma if scaled or kind == "normalized" else values
    if kind == "normalized":
        return normalized_residuals(fit)
    if kind in ("marginal", "least-squares"):
        of = marginal_residuals if kind == "marginal" else least_squares_residuals
        values = of(fit)
        return values / fit.sigma if scaled else values
    values = fit.residuals_of(kind)
    return values / fit.sigma if scaled else values


def normal_quantiles(below: Vector, upto: Vector, seed: int | np.random.Generator | None) -> Vector:
    """Normal quantiles (n,) of P(Y < y) and P(Y <= y), at a random point between them.

    Standard normal if the model holds (Dunn & Smyth, 1996, J. Comput. Graph. Stat. 5, 236-244).
    """
    from scipy.special import ndtri

    u = np.random.default_rng(seed).uniform(size=len(below))
    tiny = np.finfo(float).tiny
    return np.asarray(ndtri(np.clip(below + u * (upto - below), tiny, 1.0 - 2.0**-53)))


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


def fixed_leverages(joint: JointCovariance) -> Vector:
    """Diagonal (n,) of ``X (X'V^-1 X)^-1 X'V^-1``: the part of the fixed effects in `leverages`.

    With M of `lmm.joint`, the rows of ``V^-1 X`` are those of ``W (X - Z M)``.
    """
    fit = joint.fit
    matrices = fit.matrices
    if fit.working_root is not fit.fixed_root:
        joint = JointCovariance(fit, fit.working_root)
    X = matrices.X
    left = X.copy()
    for g, group in enumerate(fit.problem.groups):
        terms = [matrices.terms[i] for i, _ in group.members]
        Z = np.hstack([term.Z for term in terms])
        left -= np.einsum("nk,nkp->np", Z, joint.coupling[g][terms[0].codes])
    projected = X @ fit.working_root @ fit.working_root.T
    return np.asarray(np.einsum("np,np->n", projected, left) * fit.working_weights)


def least_squares_residuals(fit: Fit) -> Vector:
    """Residuals (n,) of least squares in each level of the innermost grouping factor alone.

    The response is regressed on the columns of X in the level's rows, so that neither the random
    effects nor their covariance have a part in it (Hilden-Minton, 1995; Loy & Hofmann, 2014,
    J. Stat. Softw. 56(5)). Zero where a level has no more rows than it has columns.
    """
    matrices = fit.matrices
    innermost = max(matrices.terms, key=lambda term: term.n_levels)
    root = np.sqrt(matrices.weights)
    y = marginal_residuals(fit)
    values = np.empty(matrices.n)
    for rows in rows_by_level(innermost.codes):
        X, target = root[rows, None] * matrices.X[rows], root[rows] * y[rows]
        beta = np.linalg.lstsq(X, target, rcond=None)[0]
        values[rows] = y[rows] - matrices.X[rows] @ beta
    return values


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
    return distances(fit.scaled_residuals, hat, len(fit.beta))


def distances(scaled: Vector, hat: Vector, p: int) -> Vector:
    """Cook's distances (n,) from scaled Pearson residuals and leverages, for p coefficients."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(scaled**2 * hat / ((p or np.nan) * (1.0 - hat) ** 2))


def marginal_residuals(fit: Fit | PlainFit) -> Vector:
    """Response minus the fixed part, (n,)."""
    return np.asarray(fit.matrices.y - fit.fixed_part)


def normalized_residuals(fit: Fit) -> Vector:
    """Marginal residuals made independent: ``C^-1 (y - X beta)`` with ``V = C C'``, (n,).

    C is the Cholesky factor of the marginal covariance of the response in the order of the rows, so
    that each value is the error of predicting a row from those above it, over its standard
    deviation (Houseman, Ryan & Coull, 2004, J. Am. Stat. Assoc. 99, 383-394). Rows that share no
    level are independent and factored apart.
    """
    values, weights = marginal_residuals(fit), fit.matrices.weights
    loadings = [
        (term.codes, term.Z @ factor)
        for term, factor in zip(fit.matrices.terms, fit.factors, strict=True)
    ]
    for rows in _independent_rows(fit):
        V = np.diag(1.0 / weights[rows])
        for codes, A in loadings:
            V += (A[rows] @ A[rows].T) * (codes[rows][:, None] == codes[rows])
        values[rows] = solve_triangular(np.linalg.cholesky(V), values[rows], lower=True)
    return values / fit.sigma


def _independent_rows(fit: Fit) -> list[IntVector]:
    """Rows of each set that shares no level with the others, in order."""
    n, terms = fit.matrices.n, fit.matrices.terms
    starts = n + np.cumsum([0, *(term.n_levels for term in terms)])
    row = np.tile(np.arange(n), len(terms))
    level = np.concatenate([start + term.codes for start, term in zip(starts, terms, strict=False)])
    size = int(starts[-1])
    links = sparse.csr_array((np.ones(len(row)), (row, level)), shape=(size, size))
    component = connected_components(links, directed=False)[1][:n]
    order = np.argsort(component, kind="stable")
    ends = np.cumsum(np.unique(component, return_counts=True)[1])
    return list(np.split(order, ends[:-1]))
