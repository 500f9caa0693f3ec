"""Structures whose parameters are entries of lambda: a full covariance, and independent columns."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lmm._lapack import cholesky, dependent, eigh, einsum, lower_triangular, qr_factor, solve_upper
from lmm._types import IntVector, Matrix, Vector, cached_property
from lmm.covariance.base import (
    CLEAR,
    Covariance,
    ReportedParameter,
    diagonal,
    lower_triangle,
    shared,
)

# Columns that depend on the others, by their pivot over their length, keep their own length.
DEPENDENT = 1e-7
# Diagonal entries of lambda below this fraction of their row's length are zero.
VANISHING = 1e-6


@dataclass(frozen=True)
class Filled(Covariance):
    """Lambda is lower triangular, and the parameters (lme4's theta) fill some of its entries."""

    @property
    @abstractmethod
    def positions(self) -> tuple[IntVector, IntVector]:
        """Rows and columns of the entries of lambda that theta fills, in theta's order."""

    @cached_property
    def symmetric_units(self) -> Matrix:
        """Symmetric matrices (m, k, k), each with 1 where an entry of Gamma stands."""
        rows, columns = self.positions
        each = np.arange(len(rows))
        units = np.zeros((len(rows), self.size, self.size))
        units[each, rows, columns] = units[each, columns, rows] = 1.0
        return shared(units)

    @property
    def n_units(self) -> int:
        """Gamma varies where lambda does."""
        return len(self.on_diagonal)

    def units(self, par: Vector) -> Matrix:
        """The same everywhere: the entries of Gamma that vary."""
        return self.symmetric_units

    def combination(self, par: Vector) -> Vector:
        """The entries of Gamma that vary, (m,)."""
        factor = self.factor(par)
        return np.asarray((factor @ factor.T)[self.positions])

    def lift(self, R: Matrix) -> Matrix:
        """Derivative (m, m) of the entries of R Gamma R' by those of Gamma."""
        return np.asarray((R @ self.symmetric_units @ R.T)[:, *self.positions].T)

    def informative(self, par: Vector) -> Vector:
        """Units do not depend on the parameters."""
        return self.generic

    @cached_property
    def on_diagonal(self) -> NDArray[np.bool_]:
        """Which components of theta stand on the diagonal of lambda, (m,)."""
        rows, columns = self.positions
        return shared(np.asarray(rows == columns))

    @cached_property
    def start(self) -> Vector:
        """Theta of the identity, (m,)."""
        return shared(self.on_diagonal.astype(np.float64))

    @cached_property
    def lower(self) -> Vector:
        """Lower bounds of theta, (m,): 0 on the diagonal, -inf below it."""
        return shared(np.where(self.on_diagonal, 0.0, -np.inf))

    @cached_property
    def upper(self) -> Vector:
        """There are no upper bounds."""
        return shared(np.full(len(self.on_diagonal), np.inf))

    @property
    def pattern(self) -> tuple[IntVector, IntVector]:
        """The parameters are the entries of lambda."""
        return self.positions

    def factor(self, par: Vector) -> Matrix:
        """Lambda, (..., k, k) lower triangular."""
        if self.size == 1:
            return np.array(par, dtype=np.float64)[..., None]
        lam = np.zeros((*np.shape(par)[:-1], self.size, self.size))
        lam[..., *self.positions] = par
        return lam

    def par(self, factor: Matrix) -> Vector:
        """Theta (m,) of a lower-triangular lambda (k, k): the inverse of `factor`."""
        return np.asarray(factor[self.positions])

    @cached_property
    def _products(self) -> tuple[IntVector, IntVector]:
        """Index in theta of ``[i = r] lambda_jc`` and ``[j = r] lambda_ic``, (m, m) each.

        For the rows (i, j) and columns (r, c) of `jacobian`; m, where there is no such entry.
        """
        rows, columns = self.positions
        m = len(rows)
        index = np.full((self.size, self.size), m)
        index[rows, columns] = np.arange(m)
        first = np.where(rows[:, None] == rows, index[columns[:, None], columns], m)
        second = np.where(columns[:, None] == rows, index[rows[:, None], columns], m)
        return shared(first), shared(second)

    def jacobian(self, par: Vector) -> Matrix:
        """Derivative of the entries of ``Gamma = lambda lambda'`` by those of lambda, (m, m).

        ``dGamma_ij / dlambda_rc = [i = r] lambda_jc + [j = r] lambda_ic``.
        """
        if len(self.on_diagonal) == self.size:  # nothing below the diagonal
            return par[..., None] * self._twice
        first, second = self._products
        padded = _with_zero(par)
        return np.asarray(padded.take(first, axis=-1) + padded.take(second, axis=-1))

    @cached_property
    def _twice(self) -> Matrix:
        """Twice the identity (m, m): the derivative of a diagonal's squares, by its entries."""
        return shared(2.0 * np.eye(self.size))

    @cached_property
    def _same_column(self) -> IntVector:
        """Index in theta of Gamma's entry (r, s), for lambda's (r, c) and (s, c), (m, m).

        It is m where there is none.
        """
        rows, columns = self.positions
        m = len(rows)
        index = np.full((self.size, self.size), m)
        index[rows, columns] = index[columns, rows] = np.arange(m)
        return shared(np.where(columns[:, None] == columns, index[rows[:, None], rows], m))

    def bend(self, par: Vector, slopes: Matrix) -> Matrix:
        """Second derivatives of Gamma, which is quadratic in lambda: see `Covariance`."""
        if self.size == 1:
            return 2.0 * slopes
        twice = _with_zero(2.0 * slopes[..., *self.positions])
        return np.asarray(twice.take(self._same_column, axis=-1))

    def cleared(self, par: Vector, tolerance: float) -> Vector:
        """Columns of lambda shorter than `tolerance` are zero."""
        return np.where(self._column_lengths(par) < tolerance, 0.0, par)

    def is_free(self, par: Vector) -> NDArray[np.bool_]:
        """Components that are not in a column of lambda that is zero altogether."""
        return np.asarray(self._column_lengths(par) > 0.0)

    def on_boundary(self, par: Vector) -> NDArray[np.bool_]:
        """Diagonal components that vanish against their row of lambda."""
        if len(par) == self.size:  # nothing beside the diagonal
            return np.asarray(par == 0.0)
        rows, _ = self.positions
        squares = par * par
        vanish = squares <= VANISHING**2 * np.bincount(rows, squares)[rows]
        return np.asarray(self.on_diagonal & vanish)

    def _column_lengths(self, par: Vector) -> Vector:
        """Length of the column of lambda in which each component stands, (m,)."""
        if len(par) == self.size:  # nothing below the diagonal
            return np.abs(par)
        _, columns = self.positions
        return np.asarray(np.sqrt(np.bincount(columns, par * par))[columns])

    def reported(self, columns: Sequence[str]) -> tuple[ReportedParameter, ...]:
        """The entries of Gamma that vary."""
        rows, others = (part.tolist() for part in self.positions)
        return tuple(
            ReportedParameter(columns[i] if i == j else f"{columns[i]}.{columns[j]}", i, j)
            for i, j in zip(rows, others, strict=True)
        )

    def names(self, group: str, columns: Sequence[str]) -> tuple[str, ...]:
        """The names of theta."""
        return self.theta_names(group, columns)


@dataclass(frozen=True)
class Unstructured(Filled):
    """Full covariance: theta is the lower triangle of lambda, column by column.

    Examples
    --------
    >>> Unstructured(2).names("Subject", ["(Intercept)", "Days"])
    ('Subject.(Intercept)', 'Subject.Days.(Intercept)', 'Subject.Days')
    """

    word = "us"

    @cached_property
    def positions(self) -> tuple[IntVector, IntVector]:
        """Rows and columns of the lower triangle, column by column."""
        return lower_triangle(self.size)

    def nearest(self, gamma: Matrix, clear: float = CLEAR) -> Vector:
        """Theta of gamma, its eigenvalues kept clear of zero."""
        if self.size == 1:
            return _deviations(gamma, clear)
        values, vectors = eigh(gamma)
        floor = clear * max(float(values[-1]), 0.1)
        if values[0] < floor:
            gamma = (vectors * np.maximum(values, floor)) @ vectors.T
        return self.par(cholesky(gamma))

    def whitening(self, Z: Matrix, n_levels: int) -> Matrix:
        """R such that the levels' mean of Z*'Z* is the identity, with Z* = Z R^-1."""
        if self.size == 1:
            return _lengths(Z, n_levels)
        R: Matrix = qr_factor(Z) / np.sqrt(n_levels)
        explained = dependent(R, DEPENDENT)
        if explained.any():
            lengths = np.sqrt(einsum("ij,ij->j", R, R))[explained]
            R[explained, :] = 0.0
            R[explained, explained] = np.where(lengths > 0.0, lengths, 1.0)
        return R

    def whitened(self, par: Vector, R: Matrix) -> Vector:
        """Theta of R Gamma R'."""
        return self.par(lower_triangular(R @ self.factor(par)))

    def unwhitened(self, par: Vector, R: Matrix) -> Vector:
        if self.size == 1:
            return np.asarray(np.abs(par / R[0, 0]))
        return self.par(lower_triangular(solve_upper(R, self.factor(par))))


@dataclass(frozen=True)
class Diagonal(Filled):
    """Independent columns: theta is the diagonal of lambda.

    Examples
    --------
    >>> Diagonal(2).names("Subject", ["(Intercept)", "Days"])
    ('Subject.(Intercept)', 'Subject.Days')
    """

    word = "diag"

    @cached_property
    def positions(self) -> tuple[IntVector, IntVector]:
        """Rows and columns of the diagonal."""
        return diagonal(self.size)

    def nearest(self, gamma: Matrix, clear: float = CLEAR) -> Vector:
        """Theta of gamma's diagonal, kept clear of zero."""
        return _deviations(gamma, clear)

    def whitening(self, Z: Matrix, n_levels: int) -> Matrix:
        """Lengths of the columns."""
        return _lengths(Z, n_levels)

    def whitened(self, par: Vector, R: Matrix) -> Vector:
        """Theta of R Gamma R', for a diagonal R."""
        return np.abs(np.diag(R) * par)

    def unwhitened(self, par: Vector, R: Matrix) -> Vector:
        return np.abs(par / np.diag(R))


def _with_zero(values: Vector) -> Vector:
    """Values (..., m) with a zero behind them, (..., m + 1)."""
    padded = np.zeros((*values.shape[:-1], values.shape[-1] + 1))
    padded[..., :-1] = values
    return padded


def _deviations(gamma: Matrix, clear: float) -> Vector:
    """Roots of gamma's diagonal, kept clear of zero."""
    variances = gamma.diagonal()
    floor = clear * max(float(variances.max()), 0.1)
    return np.asarray(np.sqrt(np.maximum(variances, floor)))


def _lengths(Z: Matrix, n_levels: int) -> Matrix:
    lengths = np.sqrt(einsum("ij,ij->j", Z, Z) / n_levels)
    lengths[lengths == 0.0] = 1.0
    return np.diag(lengths)
