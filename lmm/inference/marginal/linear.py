"""Estimates and tests of linear functions of the fixed effects, where the data determine them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import null_space

from lmm._types import IntVector, Matrix, Vector
from lmm.inference.fixed.base import DdfMethod, FTest, TTests, t_tests

__all__ = ["Estimator"]

# A linear function whose part outside the row space of X is longer than this is not estimable.
ESTIMABLE = 1e-8


@dataclass(frozen=True, eq=False)
class Estimator:
    """Linear functions ``L beta`` in terms of all P columns that the formula makes.

    Attributes
    ----------
    method : DdfMethod
        Estimates, their covariance and degrees of freedom.
    kept : (p,) int array
        Columns that the model has; the others depend on them linearly.
    null : (P, d) array
        Directions of beta that the data say nothing about.
    """

    method: DdfMethod
    kept: IntVector
    null: Matrix

    @classmethod
    def of(cls, method: DdfMethod) -> Estimator:
        """The estimator of a method's fit."""
        matrices = method.fit.matrices
        fixed = matrices.fixed
        null = np.empty((len(fixed.full_names), 0))
        if fixed.dropped:
            null = null_space(fixed.layout.matrix(matrices.frame.columns, matrices.n))
        return cls(method, fixed.kept, null)

    def is_estimable(self, L: Matrix) -> np.ndarray:
        """Whether the data determine each row of L (r, P); (r,) bool."""
        if not self.null.shape[1]:
            return np.asarray(np.isfinite(L).all(axis=1))
        outside = np.abs(L @ self.null).max(axis=1)
        return np.asarray(outside <= ESTIMABLE * np.maximum(1.0, np.abs(L).max(axis=1)))

    def t_tests(self, L: Matrix, offset: Vector, null: float = 0.0) -> TTests:
        """Estimates ``L beta + offset`` and their tests; NaN where not estimable."""
        good = self.is_estimable(L)
        tests = t_tests(self.method, L[good][:, self.kept], null)
        estimate, error, df = (np.full(len(L), np.nan) for _ in range(3))
        estimate[good] = tests.estimate + offset[good]
        error[good], df[good] = tests.std_error, tests.df
        return TTests(estimate, error, df, np.full(len(L), null))

    def correlation(self, L: Matrix) -> Matrix:
        """Correlations (r, r) of the estimates of estimable rows of L."""
        rows = L[:, self.kept]
        covariance = rows @ self.method.vcov @ rows.T
        errors = np.sqrt(np.diag(covariance))
        return np.asarray(covariance / np.outer(errors, errors))

    def f_test(self, L: Matrix, rhs: Vector | None = None) -> tuple[FTest | None, bool]:
        """Joint test of what is estimable of ``L beta = rhs``, and whether that is less than L.

        None when nothing of it is estimable.
        """
        rhs = np.zeros(len(L)) if rhs is None else rhs
        reduced = False
        if not self.is_estimable(L).all():
            combinations = null_space((L @ self.null).T, rcond=ESTIMABLE)
            rank = np.linalg.matrix_rank(L, tol=ESTIMABLE)
            L, rhs = combinations.T @ L, combinations.T @ rhs
            reduced = bool(np.linalg.matrix_rank(L, tol=ESTIMABLE) < rank)
        if not len(L) or np.abs(L).max() < ESTIMABLE:
            return None, reduced
        return self.method.f_test(L[:, self.kept], rhs), reduced
