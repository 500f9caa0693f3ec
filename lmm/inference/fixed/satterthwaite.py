"""Satterthwaite's degrees of freedom, from exact derivatives.

With phi the variance parameters, H the Hessian in phi of the criterion with sigma not profiled out,
and ``g_r`` the derivative of the variance ``L vcov L'`` in phi_r, a contrast has

    df = 2 (L vcov L')^2 / (g' A g),    A = 2 H^-1                                             (1)

(Giesbrecht & Burns, 1985, Biometrics 41, 477-486; Kuznetsova, Brockhoff & Christensen, 2017,
J. Stat. Softw. 82(13)). Several contrasts at once: Fai & Cornelius (1996), J. Stat. Comput. Simul.
54, 363-378. See also docs/theory/satterthwaite.md.

At an optimum (1) is the same for all parametrizations. Here phi holds log sigma and the entries of
``mu = C^-1 lambda*``, the whitened factors in units of their level's whole variation
(`lmm.inference.fixed.sensitivity`), so that neither units nor the number of rows matter; on the
boundary a column of mu is zero, its entries have no part in the first derivatives of V, and (1) is
that of the model without them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lmm import likelihood
from lmm._types import Matrix, Vector
from lmm.fit import Fit
from lmm.inference.fixed.base import FTest, orthogonal_rows
from lmm.inference.fixed.sensitivity import Couplings, in_level_units, level_chart

# Degrees of freedom that differ by less than this count as equal.
EQUAL = 1e-8


@dataclass(frozen=True, eq=False)
class Satterthwaite:
    """Satterthwaite's method at a fit.

    Attributes
    ----------
    fit : Fit
        The fit.
    varpar_vcov : (m + 1, m + 1) array
        Asymptotic covariance A of phi; (m, m) where sigma is known, and not one of phi.
    gradients : (m + 1, p, p) array
        Derivatives of the covariance of beta in phi.

    Examples
    --------
    >>> import lmm
    >>> m = lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))
    >>> method = Satterthwaite.of(m.fit)
    >>> method.df(np.array([[0.0, 1.0]])).round(2)
    array([17.])
    """

    fit: Fit
    varpar_vcov: Matrix
    gradients: Matrix

    name = "Satterthwaite"

    @classmethod
    def of(cls, fit: Fit) -> Satterthwaite:
        """Prepare the method."""
        nu, entries = fit.criterion.degrees_of_freedom, in_level_units(fit)
        J, bend = level_chart(fit)
        if fit.size_name:
            _, H = likelihood.with_log_sigma(entries, *likelihood.padded(J, bend), nu, nu)
        else:
            c = fit.misfit
            _, H = likelihood.chained(entries.score(c), entries.curvature(c), J, bend)
        U = fit.fixed_root
        in_mu = np.einsum("rt,rpq->tpq", J, Couplings(fit).first)
        gradients = np.concatenate([fit.sigma**2 * (U @ in_mu @ U.T), 2.0 * fit.vcov[None]])
        gradients = gradients[: len(H)]
        return cls(fit, likelihood.variance_of_estimates(H), gradients)

    @property
    def vcov(self) -> Matrix:
        """Covariance of beta, (p, p)."""
        return self.fit.vcov

    def df(self, L: Matrix) -> Vector:
        """Degrees of freedom (1) of each row of L (r, p)."""
        variance = np.einsum("rp,pq,rq->r", L, self.vcov, L)
        g = np.einsum("rp,tpq,rq->rt", L, self.gradients, L, optimize=True)
        return likelihood.satterthwaite(variance, g, self.varpar_vcov)

    def f_test(self, L: Matrix, rhs: Vector | None = None) -> FTest:
        """Joint test of ``L beta = rhs``, L (q, p)."""
        rows, residual, variances = orthogonal_rows(self.fit, L, rhs)
        return FTest(float(np.mean(residual**2 / variances)), len(rows), _pooled(self.df(rows)))


def _pooled(df: Vector) -> float:
    """Denominator of a mean of independent squared t variables, (5): matches the mean of the F."""
    if len(df) == 1 or np.ptp(df) < EQUAL:
        return float(df.mean())
    if (df <= 2.0).any():
        return 2.0
    mean = float((df / (df - 2.0)).sum())
    return 2.0 * mean / (mean - len(df))
