"""Estimates and tests of linear functions of the fixed effects, where the data determine them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import null_space

from lmm._brief import Brief
from lmm._lapack import qr_factor
from lmm._types import IntVector, Matrix, Vector
from lmm.fixed_fit import FixedFit
from lmm.inference.fixed.base import DdfMethod, FTest, TTests, t_tests

# A linear function whose part outside the row space of X is longer than this, relative to its
# length, is not estimable; rows of that length relative to the longest depend on the others.
ESTIMABLE = 1e-8


@dataclass(frozen=True, eq=False)
class GivenCovariance:
    """A method whose covariance is another one, such as one that is robust.

    Attributes
    ----------
    method : DdfMethod
        Gives the degrees of freedom.
    vcov : (p, p) array
        Covariance of beta.
    """

    method: DdfMethod
    vcov: Matrix

    @property
    def fit(self) -> FixedFit:
        """The method's fit."""
        return self.method.fit

    @property
    def name(self) -> str:
        """The method's name."""
        return self.method.name

    def df(self, L: Matrix) -> Vector:
        """The method's degrees of freedom of each row of L (r, p)."""
        return self.method.df(L)

    def f_test(self, L: Matrix, rhs: Vector | None = None) -> FTest:
        """Wald's test of ``L beta = rhs``, L (q, p), divided by the rank of L."""
        residual = L @ self.fit.beta - (0.0 if rhs is None else rhs)
        covariance = L @ self.vcov @ L.T
        unit = 1.0 / np.sqrt(np.diag(covariance))
        inverse = np.linalg.pinv(covariance * np.outer(unit, unit), ESTIMABLE, hermitian=True)
        rank = int(np.linalg.matrix_rank(inverse, hermitian=True))
        statistic = (unit * residual) @ inverse @ (unit * residual) / rank
        return FTest(float(statistic), rank, self.method.f_test(L, rhs).ddf)


@dataclass(frozen=True, eq=False, repr=False)
class Estimator(Brief):
    """Linear functions ``L beta`` in terms of all P columns that the formula makes.

    Attributes
    ----------
    method : DdfMethod
        Estimates, their covariance and degrees of freedom.
    kept : (p,) int array
        Columns that the model has; the others depend on them linearly.
    scale : (P,) array
        Root mean square of each column: what is said of lengths holds for columns of length 1.
    null : (P, d) array
        Directions of the scaled beta that the data say nothing about.
    """

    method: DdfMethod
    kept: IntVector
    scale: Vector
    null: Matrix

    @classmethod
    def of(cls, method: DdfMethod) -> Estimator:
        """The estimator of a method's fit."""
        matrices = method.fit.matrices
        fixed = matrices.fixed
        X = matrices.full_factor
        length = np.sqrt(np.einsum("ij,ij->j", X, X) / matrices.n)
        scale = np.where(length > 0.0, length, 1.0)
        null = np.empty((len(scale), 0))
        if fixed.dropped:
            # As many directions as there are dropped columns, so that no tolerance is needed.
            null = np.linalg.svd(qr_factor(X / scale))[2][len(fixed.kept) :].T
        return cls(method, fixed.kept, scale, null)

    def is_estimable(self, L: Matrix) -> np.ndarray:
        """Whether the data determine each row of L (r, P); (r,) bool."""
        if not self.null.shape[1]:
            return np.asarray(np.isfinite(L).all(axis=1))
        scaled = L / self.scale
        outside = np.linalg.norm(scaled @ self.null, axis=1)
        return np.asarray(outside <= ESTIMABLE * np.linalg.norm(scaled, axis=1))

    def t_tests(self, L: Matrix, offset: Vector, null: float = 0.0) -> TTests:
        """Estimates ``L beta + offset`` and their tests; NaN where not estimable."""
        good = self.is_estimable(L)
        tests = t_tests(self.method, L[good][:, self.kept], null)
        estimate, error, df = (np.full(len(L), np.nan) for _ in range(3))
        estimate[good] = tests.estimate + offset[good]
        error[good], df[good] = tests.std_error, tests.df
        return TTests(estimate, error, df, np.full(len(L), null))

    def vcov(self, L: Matrix) -> Matrix:
        """Covariances (r, r) of the estimates; NaN where not estimable."""
        good = self.is_estimable(L)
        rows = np.where(good[:, None], L, 0.0)[:, self.kept]
        covariance = rows @ self.method.vcov @ rows.T
        return np.where(np.logical_and.outer(good, good), covariance, np.nan)

    def correlation(self, L: Matrix) -> Matrix:
        """Correlations (r, r) of the estimates of estimable rows of L."""
        covariance = self.vcov(L)
        errors = np.sqrt(np.diag(covariance))
        return np.asarray(covariance / np.outer(errors, errors))

    def rank(self, L: Matrix) -> int:
        """Number of linearly independent rows of L (r, P)."""
        return len(self._basis(L))

    def f_test(self, L: Matrix, rhs: Vector | None = None) -> tuple[FTest | None, bool]:
        """Joint test of what is estimable of ``L beta = rhs``, and whether that is less than L.

        None when nothing of it is estimable.
        """
        if rhs is not None and np.any(rhs):
            good = self.is_estimable(L)
            if not good.any():
                return None, True
            return self.method.f_test(L[good][:, self.kept], rhs[good]), not bool(good.all())
        within = self.estimable_part(L)
        reduced = len(within) < self.rank(L)
        if not len(within):
            return None, reduced
        return self.method.f_test(within[:, self.kept]), reduced

    def estimable_part(self, L: Matrix) -> Matrix:
        """Independent rows (q, P) that span the estimable functions among those of L (r, P)."""
        basis = self._basis(L)
        if not self.is_estimable(basis * self.scale).all():
            basis = null_space((basis @ self.null).T, rcond=ESTIMABLE).T @ basis
        return basis * self.scale

    def remainder(self, L: Matrix, tested: Matrix) -> Matrix:
        """Rows (q, P) that complete `tested` to the estimable part of L, uncorrelated with it."""
        rows = self.estimable_part(L)
        covariance = rows[:, self.kept] @ self.method.vcov @ tested[:, self.kept].T
        if len(rows) == self.rank(tested):
            return rows[:0]
        left, _, _ = np.linalg.svd(covariance)
        return np.asarray(left[:, self.rank(tested) :].T @ rows)

    def _basis(self, L: Matrix) -> Matrix:
        """Orthonormal rows, in scaled columns, that span those of L."""
        scaled = L[np.isfinite(L).all(axis=1)] / self.scale
        _, values, rows = np.linalg.svd(scaled, full_matrices=False)
        return np.asarray(rows[values > ESTIMABLE * values.max(initial=0.0)])
