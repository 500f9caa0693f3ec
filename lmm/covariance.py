"""Covariance structures of random effects: theta <-> relative covariance factor lambda.

Three scales have three names. `theta` fills `lambda` (lme4's scale); the optimizer moves whitened
coordinates (`lmm.criterion`); reports show standard deviations and correlations.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from lmm._types import IntVector, Matrix, Vector

__all__ = ["Covariance", "Diagonal", "Unstructured"]


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
        return np.asarray(rows == columns)

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
        return units

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
        return rows, columns


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
        index = np.arange(self.size)
        return index, index
