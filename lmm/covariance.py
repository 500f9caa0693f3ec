"""Covariance structures of random effects: theta <-> relative covariance factor lambda.

Three scales have three names. `theta` fills `lambda` (lme4's scale); the optimizer moves whitened
coordinates (`lmm.criterion`); reports show standard deviations and correlations.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import block_diag

from lmm._types import IntVector, Matrix, Vector

__all__ = [
    "Covariance",
    "Diagonal",
    "ThetaMap",
    "Unstructured",
    "diagonal",
    "theta_map",
    "unstructured",
]


Array = TypeVar("Array", bound=np.ndarray)


def _shared(array: Array) -> Array:
    """The array, read-only: all models of a structure hold the same one."""
    array.flags.writeable = False
    return array


@dataclass(frozen=True)
class Covariance(ABC):
    """How a term's theta fills its k x k relative covariance factor lambda.

    Parameters
    ----------
    size : int
        Number of columns k of the random-effects term.
    """

    size: int

    @property
    @abstractmethod
    def positions(self) -> tuple[IntVector, IntVector]:
        """Rows and columns of the entries of lambda that theta fills, in theta's order."""

    @cached_property
    def on_diagonal(self) -> NDArray[np.bool_]:
        """Which components of theta stand on the diagonal of lambda, (n_theta,)."""
        rows, columns = self.positions
        return _shared(np.asarray(rows == columns))

    @property
    def is_diagonal(self) -> bool:
        """Whether the columns are independent by construction."""
        return isinstance(self, Diagonal)

    @cached_property
    def symmetric_units(self) -> Matrix:
        """Symmetric matrices (n_theta, k, k), each with 1 where an entry of theta stands."""
        units = np.zeros((self.n_theta, self.size, self.size))
        rows, columns = self.positions
        each = np.arange(self.n_theta)
        units[each, rows, columns] = units[each, columns, rows] = 1.0
        return _shared(units)

    @property
    def n_theta(self) -> int:
        """Number of parameters."""
        return len(self.positions[0])

    @property
    def start(self) -> Vector:
        """Theta of the identity, (n_theta,)."""
        return self.on_diagonal.astype(np.float64)

    @property
    def lower(self) -> Vector:
        """Lower bounds of theta, (n_theta,): 0 on the diagonal, -inf below it."""
        return np.where(self.on_diagonal, 0.0, -np.inf)

    def factor(self, theta: Vector) -> Matrix:
        """Lambda, (k, k) lower triangular, for theta (n_theta,)."""
        lam = np.zeros((self.size, self.size))
        lam[self.positions] = theta
        return lam

    def theta(self, factor: Matrix) -> Vector:
        """Theta (n_theta,) of a lower-triangular lambda (k, k): the inverse of `factor`."""
        return np.asarray(factor[self.positions])

    def names(self, group: str, columns: Sequence[str]) -> tuple[str, ...]:
        """lme4's names of theta, such as ``Subject.Days.(Intercept)``."""
        return tuple(
            f"{group}.{columns[i]}" if i == j else f"{group}.{columns[i]}.{columns[j]}"
            for i, j in zip(*self.positions, strict=True)
        )


@dataclass(frozen=True)
class Unstructured(Covariance):
    """Full covariance: theta is the lower triangle of lambda, column by column.

    Examples
    --------
    >>> Unstructured(2).names("Subject", ["(Intercept)", "Days"])
    ('Subject.(Intercept)', 'Subject.Days.(Intercept)', 'Subject.Days')
    """

    @cached_property
    def positions(self) -> tuple[IntVector, IntVector]:
        """Rows and columns of the lower triangle, column by column."""
        columns, rows = np.triu_indices(self.size)
        return _shared(rows), _shared(columns)


@dataclass(frozen=True)
class Diagonal(Covariance):
    """Independent columns: theta is the diagonal of lambda.

    Examples
    --------
    >>> Diagonal(2).names("Subject", ["(Intercept)", "Days"])
    ('Subject.(Intercept)', 'Subject.Days')
    """

    @cached_property
    def positions(self) -> tuple[IntVector, IntVector]:
        """Rows and columns of the diagonal."""
        index = _shared(np.arange(self.size))
        return index, index


# The same objects for all models: they remember their arrays of indices.
unstructured = cache(Unstructured)
diagonal = cache(Diagonal)


@dataclass(frozen=True)
class ThetaMap:
    """How the theta of a whole model fills the factors of its terms; see `theta_map`.

    Parameters
    ----------
    covariances : tuple of Covariance
        Structure of each term.
    """

    covariances: tuple[Covariance, ...]

    @cached_property
    def slices(self) -> tuple[slice, ...]:
        """Which part of theta belongs to each term."""
        stops = np.cumsum([covariance.n_theta for covariance in self.covariances]).tolist()
        return tuple(
            slice(stop - covariance.n_theta, stop)
            for stop, covariance in zip(stops, self.covariances, strict=True)
        )

    @cached_property
    def start(self) -> Vector:
        """Theta of the identity, (m,)."""
        return _shared(np.concatenate([np.empty(0), *(c.start for c in self.covariances)]))

    @cached_property
    def lower(self) -> Vector:
        """Lower bounds of theta, (m,)."""
        return _shared(np.concatenate([np.empty(0), *(c.lower for c in self.covariances)]))

    @cached_property
    def on_diagonal(self) -> NDArray[np.bool_]:
        """Which components of theta stand on the diagonal of a factor, (m,)."""
        none = np.empty(0, dtype=np.bool_)
        return _shared(np.concatenate([none, *(c.on_diagonal for c in self.covariances)]))

    @cached_property
    def positions(self) -> tuple[IntVector, IntVector]:
        """Rows and columns of theta's entries in one block-diagonal lambda of all terms, (m,)."""
        sizes = np.array([covariance.size for covariance in self.covariances], dtype=np.int64)
        counts = np.array([covariance.n_theta for covariance in self.covariances], dtype=np.int64)
        starts = np.repeat(np.cumsum(sizes) - sizes, counts)
        none = np.empty(0, dtype=np.int64)
        positions = [(none, none), *(covariance.positions for covariance in self.covariances)]
        rows, columns = map(np.concatenate, zip(*positions, strict=True))
        return _shared(starts + rows), _shared(starts + columns)

    @cached_property
    def symmetric_units(self) -> Matrix:
        """Derivative of the stacked Gamma entries w.r.t. those that theta fills, (m, K)."""
        blocks = [c.symmetric_units.reshape(c.n_theta, -1) for c in self.covariances]
        return _shared(np.asarray(block_diag(*blocks)))

    def factors(self, theta: Vector) -> tuple[Matrix, ...]:
        """Relative covariance factors lambda, one (k, k) per term, for theta (m,)."""
        return tuple(
            covariance.factor(theta[part])
            for covariance, part in zip(self.covariances, self.slices, strict=True)
        )

    def column_lengths(self, theta: Vector) -> Vector:
        """Length of the column of lambda in which each component stands, (m,)."""
        _, columns = self.positions
        return np.asarray(np.sqrt(np.bincount(columns, theta * theta))[columns])

    def row_lengths(self, theta: Vector) -> Vector:
        """Length of the row of lambda in which each component stands, (m,)."""
        rows, _ = self.positions
        return np.asarray(np.sqrt(np.bincount(rows, theta * theta))[rows])

    @cached_property
    def _products(self) -> tuple[IntVector, IntVector]:
        """Index in theta of ``[i = r] lambda_jc`` and ``[j = r] lambda_ic``, (m, m) each.

        For the rows (i, j) and columns (r, c) of `jacobian`; m, where there is no such entry.
        """
        rows, columns = self.positions
        m = len(rows)
        index = np.full((rows[-1] + 1, rows[-1] + 1), m)
        index[rows, columns] = np.arange(m)
        first = np.where(rows[:, None] == rows, index[columns[:, None], columns], m)
        second = np.where(columns[:, None] == rows, index[rows[:, None], columns], m)
        return first, second

    def jacobian(self, theta: Vector) -> Matrix:
        """Derivative of the entries of ``Gamma = lambda lambda'`` by those of lambda, (..., m, m).

        ``dGamma_ij / dlambda_rc = [i = r] lambda_jc + [j = r] lambda_ic``, for theta (..., m).
        """
        first, second = self._products
        padded = _with_zero(theta)
        return np.asarray(padded[..., first] + padded[..., second])

    @cached_property
    def _same_column(self) -> tuple[IntVector, Vector]:
        """Index in theta of Gamma's entry (r, s), for lambda's (r, c) and (s, c), (m, m).

        It is m where there is none. With how often each entry of theta stands in 2 Gamma, (m,):
        twice on the diagonal.
        """
        rows, columns = self.positions
        m = len(rows)
        index = np.full((rows[-1] + 1, rows[-1] + 1), m)
        index[rows, columns] = index[columns, rows] = np.arange(m)
        where = np.where(columns[:, None] == columns, index[rows[:, None], rows], m)
        return where, np.where(self.on_diagonal, 2.0, 1.0)

    def bend(self, score: Vector) -> Matrix:
        """What the curvature of Gamma in lambda adds to a Hessian, (..., m, m).

        Parameters
        ----------
        score : (..., m) array
            Derivatives by the entries of the symmetric Gamma that theta fills.
        """
        where, twice = self._same_column
        return np.asarray(_with_zero(twice * score)[..., where])

    def entries(self, theta: Vector) -> Vector:
        """The entries of Gamma that theta fills, (m,), for theta (m,)."""
        return np.asarray(0.5 * self.jacobian(theta) @ theta)  # Gamma is quadratic


def _with_zero(values: Vector) -> Vector:
    """Values (..., m) with a zero behind them, (..., m + 1)."""
    return np.concatenate([values, np.zeros((*values.shape[:-1], 1))], axis=-1)


@lru_cache(maxsize=256)
def theta_map(covariances: tuple[Covariance, ...]) -> ThetaMap:
    """The map of a model's terms: made once, for it depends on their structures alone."""
    return ThetaMap(covariances)
