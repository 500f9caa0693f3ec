"""One design, many responses: all fits advance together as one batched computation.

The rows of a design fall into components, the connected parts of its grouping factors: levels of a
single factor; a batch with its casks; everything, if the factors are fully crossed. In component i
let Z_i (K columns) and X_i be the standardized columns, ``A_i = Z_i'Z_i``, and B_i (K x t,
t = p + 1) the coefficients of least squares of [X y] on Z_i, which leaves R. Components with equal
A form a class. With Gamma block-diagonal over the levels,

    H = (Gamma^-1 + A)^-1,   F = A - A H A = Z_i'V^-1 Z_i,   D_i = F B_i = Z_i'V^-1[X y]        (1)
    [X y]'V^-1[X y] = R'R + sum_i B_i'F B_i = L L',   E_i = D_i L^-T                            (2)

whose terms are positive, so that adding them loses no digits; F itself, of several levels, loses
some where Gamma is very large. Everything that the criterion and its first two derivatives need
(`lmm.pls.base`) is linear in the sums over each class

    W = sum_i vec(B_i) vec(B_i)',     sum_i vec(E_i) vec(E_i)' = (F (x) L^-1) W (F (x) L^-1)'   (3)

which are sufficient for a response, and small: 6 x 6 for 18 subjects with the same days.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from lmm import likelihood
from lmm._lapack import solve_upper
from lmm._types import Matrix, Vector
from lmm.covariance import Diagonal, Filled, Unstructured
from lmm.criterion import ProfiledCriterion
from lmm.inference.resample.descent import Local, descend
from lmm.inference.resample.regressed import StandardizedRows
from lmm.inference.resample.replicates import LARGE, SINGULAR, Replicates, Responses
from lmm.inference.resample.strata import Stratum, component_columns, weighted
from lmm.inference.resample.strata_sums import Accumulated, StrataSums, cholesky, symmetric
from lmm.likelihood import Entries
from lmm.optimize.steps import curves_down
from lmm.optimize.verdict import SNAP

# Columns K t of a component up to which dense matrices, batched, beat a solver that knows more.
LARGEST = 80
# Numbers of 8 bytes that the sufficient statistics of a design may take per response.
LONGEST = 200_000
# ... and that one batch may take.
BATCH = 4_000_000
# Responses in one batch, at most: more would leave the cache.
MOST = 1000
# A stationary point is a saddle also if the criterion falls at more than this rate in some whitened
# variance.
DESCENT = 1e-3
# Restarts put vanished diagonal entries of lambda* back to this.
LIFT = 0.3


@dataclass(frozen=True, eq=False)
class Lockstep:
    """Fits one design to many responses at once.

    Parameters
    ----------
    criterion : ProfiledCriterion
        The design, with ML or REML; its response does not matter.
    rows : StandardizedRows
        Its rows, or fewer that say the same.
    Zt : (q, n) sparse array
        Their random-effects columns, transposed.
    strata : tuple of Stratum
        Their components.
    within : (n, p) array
        What least squares on the random-effects columns leaves of X.
    """

    criterion: ProfiledCriterion
    rows: StandardizedRows
    Zt: sparse.csr_array
    strata: tuple[Stratum, ...]
    within: Matrix

    @classmethod
    def build(cls, criterion: ProfiledCriterion, rows: StandardizedRows) -> Lockstep | None:
        """Accumulate the cross-products of a design.

        None if components are too large for it, or parameters are not entries of the factors.
        """
        terms = criterion.matrices.terms
        if not all(isinstance(term.covariance, Filled) for term in terms):
            return None
        n_levels, sizes = [t.n_levels for t in terms], [t.size for t in terms]
        parts = list(component_columns(rows.codes, n_levels, sizes))
        t = criterion.matrices.p + 1
        if max(columns.shape[1] * t for columns, _ in parts) > LARGEST:
            return None
        Zt = rows.Zt(n_levels)
        ZtX, ZtZ = Zt @ rows.X, sparse.coo_array(Zt @ Zt.T)
        found = tuple(Stratum.of(columns, slots, ZtX, ZtZ) for columns, slots in parts)
        if sum(stratum.size for stratum in found) > LONGEST:
            return None
        within = rows.X - Zt.T @ _spread(found, [stratum.B for stratum in found])
        return cls(criterion, rows, Zt, found, within)

    @property
    def batch(self) -> int:
        """Responses that are computed at once."""
        each = 4 * sum(stratum.size for stratum in self.strata) + 2 * self.rows.n
        return int(np.clip(BATCH // each, 1, MOST))

    def responses(self, y: Matrix, hidden: Vector) -> Responses:
        """Reduce responses to their sufficient statistics.

        Parameters
        ----------
        y : (n, r) array
            Responses in the standardized rows: weighted, offset subtracted.
        hidden : (r,) array
            Further residual sums of squares that no row shows.
        """
        left = self.rows.regressed(y, hidden, self.criterion)
        Zy = self.Zt @ left.residual
        b = [stratum.regressed(Zy) for stratum in self.strata]
        within = self._within(left.residual - self.Zt.T @ _spread(self.strata, b))
        within[:, -1, -1] += hidden / left.scale**2
        W = tuple(stratum.sums(part) for stratum, part in zip(self.strata, b, strict=True))
        return Responses(W, within, left.beta0, left.scale)

    def _within(self, residual: Matrix) -> Matrix:
        """R'R of (2), (r, t, t), of what is left of responses (n, r)."""
        (r, p), X = (residual.shape[1], self.within.shape[1]), self.within
        found = np.empty((r, p + 1, p + 1))
        found[:, :-1, :-1] = X.T @ X
        found[:, :-1, -1] = found[:, -1, :-1] = residual.T @ X
        found[:, -1, -1] = np.einsum("ij,ij->j", residual, residual)
        return found

    # Values ---------------------------------------------------------------------------------------

    def _sums(self, factors: Sequence[Matrix], data: Responses) -> StrataSums:
        """Everything at given factors (r, k_i, k_i)."""
        problem, reml = self.criterion.problem, self.criterion.reml
        r, p = len(data), problem.p
        logdet = np.zeros(r)
        reduced = data.within.copy()
        pieces = []
        for stratum, W in zip(self.strata, data.W, strict=True):
            F, part = weighted(stratum, factors)
            logdet += part @ stratum.counts
            _, d, K, _ = F.shape
            reduced += np.einsum("rdab,rdasbt->rst", F, W.reshape(r, d, K, p + 1, K, p + 1))
            pieces.append(F)
        L = cholesky(symmetric(reduced))
        diagonal = np.diagonal(L, axis1=1, axis2=2)
        if reml:
            logdet = logdet + 2.0 * np.log(diagonal[:, :-1]).sum(axis=1)
        half = np.linalg.inv(L)
        entries = Accumulated([f.shape[1] for f in factors], r, p)
        for stratum, W, F in zip(self.strata, data.W, pieces, strict=True):
            entries.add(stratum, W, F, half, reml)
        first, quadratic, average, trace = entries.total(reml)
        parameters = self.criterion.matrices.parameters
        S = parameters.units(parameters.start)
        free = Entries(first @ S.T, quadratic @ S.T, S @ average @ S.T, S @ trace @ S.T)
        return StrataSums(
            logdet, diagonal[:, -1] ** 2, half, first, quadratic, free, entries.coupled
        )

    def _local(self, x: Matrix, data: Responses) -> Local:
        """Criterion with derivatives in x (r, m)."""
        at, nu = self._sums(self._factors(x), data), self.criterion.degrees_of_freedom
        parameters, slopes = self.criterion.matrices.parameters, at.first - nu * at.quadratic
        gradient, hessian = likelihood.chained(
            at.entries.score(nu),
            at.entries.profiled(nu),
            parameters.jacobian(x),
            parameters.bend(x, slopes),
        )
        return Local(self._criterion(at, data), gradient, symmetric(hessian), slopes)

    def _criterion(self, at: StrataSums, data: Responses) -> Vector:
        """Values of the criterion, (r,)."""
        criterion, pwrss = self.criterion, at.pwrss * data.scale**2
        return likelihood.criterion(
            at.logdet + criterion.constant, pwrss, criterion.degrees_of_freedom
        )

    def _factors(self, x: Matrix) -> tuple[Matrix, ...]:
        """Factors lambda* (r, k_i, k_i) of whitened coordinates (r, m)."""
        matrices = self.criterion.matrices
        factors = []
        for term, part in zip(matrices.terms, matrices.theta_slices, strict=True):
            factor = np.zeros((len(x), term.size, term.size))
            factor[:, *term.covariance.pattern] = x[:, part]
            factors.append(factor)
        return tuple(factors)

    # Fits -----------------------------------------------------------------------------------------

    def fit(self, data: Responses, start: Vector, *, df: bool = False) -> Replicates:
        """Fit all responses.

        Parameters
        ----------
        data : Responses
            Their sufficient statistics.
        start : (m,) array
            Whitened coordinates to start from.
        df : bool
            Whether to compute Satterthwaite's degrees of freedom.
        """
        x, converged = self._minimize(data, np.tile(start, (len(data), 1)))
        diagonal = self.criterion.lower == 0.0
        for lift in (True, False):
            again = np.flatnonzero(~converged)
            if len(again) == 0:
                break
            # First from where it got stuck, with what vanished there put back; then from 1.
            lifted = np.where(diagonal, np.maximum(np.abs(x[again]), LIFT), x[again])
            begin = lifted if lift else np.tile(self.criterion.start, (len(again), 1))
            x[again], converged[again] = self._minimize(data[again], begin)
        if not self.rows.hidden:  # single fits keep more digits
            converged &= np.abs(x).max(axis=1) <= LARGE
        return self._gather(self._tidied(x), converged, data, df)

    def score(self, data: Responses, x: Vector) -> Matrix:
        """Statistics that the score at x (m,) is linear in.

        Returns
        -------
        (r, Q + 1 + p) array
            ``sum v v'`` for each entry of Gamma, pwrss, and the GLS estimate, original units.
        """
        at = self._sums(self._factors(np.tile(x, (len(data), 1))), data)
        size = (at.pwrss * data.scale**2)[:, None]
        return np.hstack([at.quadratic * size, size, self._beta(at, data)])

    def _beta(self, at: StrataSums, data: Responses) -> Matrix:
        """Fixed effects (r, p) in original units."""
        star = -at.half[:, -1, :-1] / at.half[:, -1:, -1]
        back = solve_upper(self.criterion.problem.T, star.T).T
        return np.asarray(data.beta0 + data.scale[:, None] * back)

    def _minimize(self, everything: Responses, x: Matrix) -> tuple[Matrix, NDArray[np.bool_]]:
        """Minima for all responses at once."""
        x, stationary = descend(lambda x, chosen: self._local(x, everything[chosen]), x)
        return x, stationary & self._is_minimum(self._local(x, everything))

    def _is_minimum(self, here: Local) -> NDArray[np.bool_]:
        """Whether stationary points are minima: no saddles in x, none of the singular lambda.

        At a singular lambda the criterion has zero slope in x whatever its derivative G in Gamma,
        which has to be positive semi-definite there.
        """
        eigenvalues = np.linalg.eigvalsh(here.hessian)
        down = curves_down(eigenvalues, np.maximum(eigenvalues[:, -1], 1.0))
        minimum: NDArray[np.bool_] = np.logical_not(down.any(axis=1))
        start = 0
        for term in self.criterion.matrices.terms:
            k = term.size
            G = here.slopes[:, start : start + k * k].reshape(-1, k, k)
            start += k * k
            if isinstance(term.covariance, Diagonal):
                lowest = np.diagonal(G, axis1=1, axis2=2).min(axis=1)
            else:
                lowest = np.linalg.eigvalsh(G)[:, 0]
            minimum &= lowest > -DESCENT
        return minimum

    def _tidied(self, x: Matrix) -> Matrix:
        """Whitened coordinates with non-negative diagonals and tiny columns set to zero."""
        x = x.copy()
        matrices = self.criterion.matrices
        parts = zip(matrices.terms, matrices.theta_slices, self._factors(x), strict=True)
        for term, part, factor in parts:
            _, columns = term.covariance.pattern
            signs = np.where(np.diagonal(factor, axis1=1, axis2=2) < 0.0, -1.0, 1.0)
            lengths = np.sqrt(np.einsum("rij,rij->rj", factor, factor))
            signs[lengths < SNAP] = 0.0
            x[:, part] *= signs[:, columns]
        return x

    def _gather(
        self, x: Matrix, converged: NDArray[np.bool_], data: Responses, df: bool
    ) -> Replicates:
        """Estimates in original units at the optima."""
        problem, nu = self.criterion.problem, self.criterion.degrees_of_freedom
        factors = self._factors(x)
        at = self._sums(factors, data)
        p = problem.p
        sigma = np.sqrt(at.pwrss / nu) * data.scale
        back = np.linalg.inv(problem.T) if p else np.empty((0, 0))
        loadings = at.half[:, :p, :p] @ back.T  # half T^-T: columns e_j' (X'V^-1 X)^(-1/2)
        std_error = sigma[:, None] * np.sqrt(np.einsum("rsj,rsj->rj", loadings, loadings))
        return Replicates(
            self._theta(factors),
            sigma,
            self._beta(at, data),
            std_error,
            self._satterthwaite(x, at, loadings) if df else np.empty((len(x), 0)),
            self._criterion(at, data),
            converged,
            likelihood.is_singular(factors, SINGULAR),
        )

    def _theta(self, factors: Sequence[Matrix]) -> Matrix:
        """lme4's theta (r, m) of whitened factors (r, k_i, k_i)."""
        parts = []
        for term, R, factor in zip(
            self.criterion.matrices.terms, self.criterion.problem.whitening, factors, strict=True
        ):
            raw = np.linalg.solve(R, factor)
            if term.size > 1 and isinstance(term.covariance, Unstructured):
                upper: Matrix = np.asarray(np.linalg.qr(raw.transpose(0, 2, 1), mode="r"))
                raw = upper.transpose(0, 2, 1)
                raw = raw * np.where(np.diagonal(raw, axis1=1, axis2=2) < 0.0, -1.0, 1.0)[:, None]
            parts.append(raw[:, *term.covariance.pattern])
        return np.concatenate(parts, axis=1)

    def _satterthwaite(self, x: Matrix, at: StrataSums, loadings: Matrix) -> Matrix:
        """Degrees of freedom (r, p) of the fixed effects.

        ``df = 2 v^2 / (g'A g)`` with v the variance of a coefficient, g its derivative in
        (x, log sigma) and A = 2 H^-1 for the criterion in which sigma is not profiled out
        (Giesbrecht & Burns, 1985). With s the loadings, ``dv/dGamma_ab = sigma^2 s'P_ab s`` where
        P are the couplings.
        """
        nu = self.criterion.degrees_of_freedom
        parameters = self.criterion.matrices.parameters
        J, bend = parameters.jacobian(x), parameters.bend(x, at.first - nu * at.quadratic)
        _, H = likelihood.with_log_sigma(at.entries, *likelihood.padded(J, bend), nu, nu)
        P = np.einsum("ik,rkst->rist", parameters.units(parameters.start), at.couplings)
        slope = np.einsum("rim,rist,rsj,rtj->rjm", J, P, loadings, loadings, optimize=True)
        variance = np.einsum("rsj,rsj->rj", loadings, loadings)
        g = np.concatenate([slope, 2.0 * variance[:, :, None]], axis=2)
        return likelihood.satterthwaite(variance, g, likelihood.variance_of_estimates(H))


def _spread(strata: Sequence[Stratum], parts: Sequence[Matrix]) -> Matrix:
    """Coefficients (q, s) of all columns of Z, of those by component (c, K, s)."""
    found = np.empty((sum(stratum.columns.size for stratum in strata), parts[0].shape[2]))
    for stratum, part in zip(strata, parts, strict=True):
        found[stratum.columns] = part
    return found
