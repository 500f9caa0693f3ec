"""Tests of linear contrasts of the fixed effects: the contract of methods and what tests return.

A method for denominator degrees of freedom (`lmm.inference.fixed.ddf`) is an object that holds a
fit and the covariance of its fixed effects, and gives degrees of freedom to contrasts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from lmm._types import Frozen, Matrix, Vector
from lmm.errors import DataError, checked_level
from lmm.fixed_fit import FixedFit
from lmm.likelihood import critical_value

# Eigenvalues of a contrast's covariance below this fraction of the largest one count as zero.
RANK_TOLERANCE = float(np.sqrt(np.finfo(float).eps))


@dataclass(frozen=True)
class FTest:
    """Joint test of several contrasts.

    Attributes
    ----------
    statistic : float
        F, scaled where the method scales it.
    ndf, ddf : float
        Degrees of freedom: the rank of the contrasts, and the denominator's.
    scaling : float
        What the unscaled F was multiplied by.
    """

    statistic: float
    ndf: int
    ddf: float
    scaling: float = 1.0

    @property
    def unscaled(self) -> float:
        """F before scaling: what mean squares are made of."""
        return self.statistic / self.scaling

    @property
    def p_value(self) -> float:
        """Probability of a larger F."""
        from scipy.stats import chi2, f

        if np.isinf(self.ddf):
            return float(chi2.sf(self.statistic * self.ndf, self.ndf))
        return float(f.sf(self.statistic, self.ndf, self.ddf))


@dataclass(frozen=True, eq=False)
class TTests(Frozen):
    """One test per contrast; arrays (r,).

    Attributes
    ----------
    estimate, std_error, df : (r,) arrays
        Contrasts of beta, their standard errors and degrees of freedom.
    rhs : (r,) array
        Values under the hypothesis.
    """

    estimate: Vector
    std_error: Vector
    df: Vector
    rhs: Vector

    @property
    def statistic(self) -> Vector:
        """The t values ``(estimate - rhs) / std_error``."""
        return (self.estimate - self.rhs) / self.std_error

    @property
    def p_values(self) -> Vector:
        """Two-sided; normal where df is infinite."""
        from scipy.stats import t

        return np.asarray(2.0 * t.sf(np.abs(self.statistic), self.df))

    def limits(self, level: float = 0.95) -> tuple[Vector, Vector]:
        """Lower and upper confidence limits of the estimates."""
        half = critical_value(checked_level(level), self.df) * self.std_error
        return self.estimate - half, self.estimate + half


class CovarianceMethod(Protocol):
    """Gives covariances and degrees of freedom to contrasts of the fixed effects."""

    @property
    def fit(self) -> FixedFit:
        """The fit whose estimates are tested (Kenward-Roger: always a REML fit)."""

    @property
    def vcov(self) -> Matrix:
        """Covariance of beta (p, p) that standard errors are made of."""

    def df(self, L: Matrix) -> Vector:
        """Degrees of freedom of the t test of each row of L (r, p)."""


class DdfMethod(CovarianceMethod, Protocol):
    """Gives F tests too."""

    @property
    def name(self) -> str:
        """As prints show it, ``Kenward-Roger``."""

    def f_test(self, L: Matrix, rhs: Vector | None = None) -> FTest:
        """Joint test of ``L beta = rhs`` for L (q, p); dependent rows count once."""


def t_tests(method: CovarianceMethod, L: Matrix, rhs: Vector | float = 0.0) -> TTests:
    """Test each row of L (r, p): ``L beta = rhs``.

    Examples
    --------
    >>> import lmm
    >>> from lmm.inference.fixed.ddf import ddf_method
    >>> m = lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))
    >>> tests = t_tests(ddf_method(m.fit, "satterthwaite"), np.eye(2))
    >>> tests.df.round(3), tests.statistic.round(3)
    (array([17., 17.]), array([36.838,  6.771]))
    """
    variance = np.einsum("rp,pq,rq->r", L, method.vcov, L)
    error = np.sqrt(variance)
    return TTests(L @ method.fit.beta, error, method.df(L), np.broadcast_to(rhs, error.shape))


def _told_apart(fit: FixedFit, L: Matrix) -> Matrix:
    """Contrasts (rank, p) that say the same, at right angles in units of standard errors."""
    error = np.sqrt(np.diag(fit.vcov))
    error = np.where(error > 0.0, error, 1.0)
    rows = L * error
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    _, sizes, directions = np.linalg.svd(
        rows / np.where(length > 0.0, length, 1.0), full_matrices=False
    )
    return np.asarray(directions[sizes > RANK_TOLERANCE * sizes[0]] / error)


def orthogonal_rows(
    fit: FixedFit, L: Matrix, rhs: Vector | None = None
) -> tuple[Matrix, Vector, Vector]:
    """Uncorrelated contrasts that say the same as ``L beta = rhs``.

    Parameters
    ----------
    fit : Fit
        Estimates and their covariance vcov.
    L : (q, p) array
        Contrasts.
    rhs : (q,) array, optional
        Values under the hypothesis, 0 by default.

    Returns
    -------
    rows : (rank, p) array
        Rows with ``rows vcov rows' = diag(variances)``.
    residual : (rank,) array
        Estimates of the rows minus their values under the hypothesis.
    variances : (rank,) array

    Raises
    ------
    DataError
        No row tests anything, or rows contradict each other.
    """
    residual = L @ fit.beta if rhs is None else L @ fit.beta - rhs
    covariance = L @ fit.vcov @ L.T
    # Rank is judged in standard errors: coefficients have units.
    error = np.sqrt(np.diag(covariance))
    unit = 1.0 / np.where(error > 0.0, error, 1.0)
    values, vectors = np.linalg.eigh(covariance * unit[:, None] * unit)
    kept = values > RANK_TOLERANCE * max(values.max(initial=0.0), 0.0)
    if not kept.any():
        raise DataError("the contrasts are all zero: there is nothing to test")
    left = vectors[:, ~kept].T @ (unit * residual)
    if np.any(np.abs(left) > RANK_TOLERANCE * np.abs(unit * residual).max()):
        if rhs is None:  # rows that one coefficient hides, of a standard error beyond all others
            told = _told_apart(fit, L)
            return orthogonal_rows(fit, told, np.zeros(len(told)))
        raise DataError(
            "rows of L are linearly dependent but their right-hand sides contradict each other: "
            "drop the dependent rows, or correct rhs"
        )
    # lmerTest's choice among the bases of uncorrelated contrasts, on which pooled degrees of
    # freedom depend a little; units may differ too much for it.
    plain, directions = np.linalg.eigh(0.5 * (covariance + covariance.T))
    top = len(plain) - int(kept.sum())
    if plain[top] > RANK_TOLERANCE * plain[-1]:
        variances, V = plain[top:], directions[:, top:]
    else:
        variances, V = values[kept], vectors[:, kept] * unit[:, None]
    return V.T @ L, V.T @ residual, variances
