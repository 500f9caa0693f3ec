"""Kenward and Roger's method, derived in docs/theory/kenward-roger.md.

With V linear in its parameters (to first order, where correlations are parameters: SAS's
``DDFM=KENWARDROGER(FIRSTORDER)``) and ``W = 2 I^-1``, I_rs = tr(P G_r P G_s) twice the expected
information of the REML criterion, the adjusted covariance in the basis U of
`lmm.inference.fixed.sensitivity` is

    vcov_A = sigma^2 U (1 + 2 sum_rs W_rs (Q_rs - P_r P_s)) U'                                  (1)

(Kenward & Roger, 1997, Biometrics 53, 983-997). Results are the same for any parametrization in
which V is linear: the first direction here is V itself, not the identity, because then
``P_0 = 1``, ``Q_0r = P_r``, ``I_00 = nu`` and ``I_0r = t_r`` need no traces of n x n matrices, and
the direction adds nothing to (1). Degrees of freedom: Halekoh & Hojsgaard (2014), J. Stat. Softw.
59(9), section 3. See also docs/theory/kenward-roger.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lmm._types import Matrix, Vector
from lmm.errors import RefitWarning, warn
from lmm.fit import Fit, check_sigma_estimated
from lmm.inference.fixed.base import FTest, orthogonal_rows
from lmm.inference.fixed.sensitivity import Couplings, in_level_units, tangents
from lmm.likelihood import variance_of_estimates
from lmm.optimize import minimize

# Moments smaller than this are rounding errors of zero (balanced designs have exact zeros).
ZERO = 1e-10


@dataclass(frozen=True, eq=False)
class KenwardRoger:
    """Kenward and Roger's method at a REML fit.

    Attributes
    ----------
    fit : Fit
        A REML fit.
    vcov : (p, p) array
        Adjusted covariance (1).
    slopes : (m + 1, p, p) array
        P_r, with the direction V first.
    W : (m + 1, m + 1) array
        Asymptotic covariance of the variance parameters.

    Examples
    --------
    >>> import lmm
    >>> m = lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))
    >>> KenwardRoger.of(m.fit).df(np.array([[0.0, 1.0]])).round(6)
    array([17.])
    """

    fit: Fit
    vcov: Matrix
    slopes: Matrix
    W: Matrix

    name = "Kenward-Roger"

    @classmethod
    def of(cls, fit: Fit) -> KenwardRoger:
        """Prepare the method; a maximum likelihood fit is refitted by REML.

        Raises
        ------
        ValueError
            Sigma is known.

        Warns
        -----
        RefitWarning
            The fit was by maximum likelihood.
        """
        check_sigma_estimated("Kenward-Roger's degrees of freedom", fit)
        if not fit.reml and len(fit.beta):  # without fixed effects both criteria are the same
            text = (
                "Kenward-Roger needs a REML fit: the model is refitted by REML, and its "
                "estimates are those of that fit."
            )
            warn(RefitWarning(text))
            fit = refit_by_reml(fit)
        couplings, T = Couplings(fit), tangents(fit)
        entries = in_level_units(fit).along(T)
        t, nu = entries.logdet[None], np.atleast_2d(fit.criterion.degrees_of_freedom)
        information = np.block([[nu, t], [t.T, entries.trace]])
        W = variance_of_estimates(information)
        P = np.einsum("re,epq->rpq", T, couplings.first)
        U, identity = fit.fixed_root, np.eye(fit.matrices.p)
        bias = np.einsum("rs,rspq->pq", T.T @ W[1:, 1:] @ T, couplings.second)
        bias -= np.einsum("rs,rpk,skq->pq", W[1:, 1:], P, P, optimize=True)
        adjusted = fit.sigma**2 * U @ (identity + bias + bias.T) @ U.T
        return cls(fit, adjusted, np.concatenate([identity[None], P]), W)

    def df(self, L: Matrix) -> Vector:
        """Degrees of freedom of each row of L (r, p)."""
        units = L @ self.fit.fixed_root
        units = units / np.linalg.norm(units, axis=1, keepdims=True)
        moments = np.einsum("rp,tpq,rq->rt", units, self.slopes, units, optimize=True)
        A = np.einsum("rt,tu,ru->r", moments, self.W, moments)
        return np.array([_approximate(1, a, a)[0] for a in A])

    def f_test(self, L: Matrix, rhs: Vector | None = None) -> FTest:
        """Joint test of ``L beta = rhs``, L (q, p), with the scaled F."""
        rows, residual, _ = orthogonal_rows(self.fit, L, rhs)
        basis = np.linalg.qr((rows @ self.fit.fixed_root).T)[0]
        M = basis.T @ self.slopes @ basis
        traces = np.einsum("taa->t", M)
        A1 = float(traces @ self.W @ traces)
        A2 = float(np.einsum("tu,tab,uba->", self.W, M, M, optimize=True))
        ddf, scaling = _approximate(len(rows), A1, A2)
        wald = residual @ np.linalg.solve(rows @ self.vcov @ rows.T, residual)
        return FTest(scaling * float(wald) / len(rows), len(rows), ddf, scaling)


def _approximate(q: int, A1: float, A2: float) -> tuple[float, float]:
    """Denominator degrees of freedom and scaling that match the mean and variance of F (5)."""
    B = (A1 + 6.0 * A2) / (2.0 * q)
    g = ((q + 1) * A1 - (q + 4) * A2) / ((q + 2) * A2)
    common = 3 * q + 2.0 * (1.0 - g)
    c1, c2, c3 = g / common, (q - g) / common, (q + 2 - g) / common
    V0, V1, V2 = (0.0 if abs(v) < ZERO else v for v in (1 + c1 * B, 1 - c2 * B, 1 - c3 * B))
    shrunk = 1.0 - A2 / q
    # rho = above / below; below vanishes for balanced random slopes, where ddf is 4.
    above, below = _ratio(shrunk, V1) ** 2 * V0, q * V2
    ddf = 4.0 + (q + 2) * below / (q * above - below)
    # The mean of F is infinite at 2.
    scaling = 1.0 if abs(ddf - 2.0) < 1e-2 else ddf * shrunk / (ddf - 2.0)
    return ddf, scaling


def _ratio(above: float, below: float) -> float:
    """Quotient; both vanish together where A2 = q, with limit 1."""
    return 1.0 if abs(above) < ZERO and abs(below) < ZERO else above / below


def refit_by_reml(fit: Fit) -> Fit:
    """The same model fitted by REML, from the estimates of the given fit."""
    criterion = fit.criterion.with_reml(True)
    return Fit.at(fit.formula, criterion, minimize(criterion, start=fit.theta))
