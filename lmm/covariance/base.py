"""What a covariance structure of random effects is: ``Gamma(par)`` and all that is asked of it.

Gamma (k, k) is the covariance of the k effects of one level over sigma^2. A structure gives it by a
few parameters `par`, with bounds, derivatives and the changes of units under which it is closed.
Everything else - criterion, optimizer, intervals, reports - asks the structure and knows none.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from lmm._types import IntVector, Matrix, Vector

Array = TypeVar("Array", bound=np.ndarray)


# Columns up to which second derivatives are formed in all entries of Gamma, k^4 numbers.
WIDE = 50
# Fraction of the largest variance of a start above which the others are kept.
CLEAR = 0.02


def shared(array: Array) -> Array:
    """The array, read-only: all models of a structure hold the same one."""
    array.flags.writeable = False
    return array


def lower_triangle(size: int) -> tuple[IntVector, IntVector]:
    """Rows and columns of a lower triangle, column by column."""
    columns, rows = np.triu_indices(size)
    return shared(rows), shared(columns)


def diagonal(size: int) -> tuple[IntVector, IntVector]:
    """Rows and columns of a diagonal."""
    index = shared(np.arange(size))
    return index, index


class ReportedParameter(NamedTuple):
    """A standard deviation or a correlation that stands for a parameter of a structure.

    Attributes
    ----------
    label : str
        Its columns, such as ``Days.(Intercept)``; ``*`` for all of them, or the parameter.
    row, column : int
        An entry of Gamma where it stands; equal for standard deviations.
    """

    label: str
    row: int
    column: int


@dataclass(frozen=True)
class Covariance(ABC):
    """Covariance Gamma (k, k) of a term's random effects over sigma^2, by parameters `par`.

    Parameters
    ----------
    size : int
        Number of columns k of the random-effects term.
    """

    size: int

    @property
    @abstractmethod
    def word(self) -> str:
        """Its name in a formula."""

    @property
    @abstractmethod
    def start(self) -> Vector:
        """Parameters (m,) of the identity."""

    @property
    def generic(self) -> Vector:
        """Parameters (m,) where derivatives of Gamma are as independent as anywhere."""
        return self.start

    @property
    @abstractmethod
    def lower(self) -> Vector:
        """Lower bounds of the parameters, (m,)."""

    @property
    @abstractmethod
    def upper(self) -> Vector:
        """Upper bounds of the parameters, (m,)."""

    @property
    @abstractmethod
    def pattern(self) -> tuple[IntVector, IntVector]:
        """Rows and columns of the entries of lambda that are not zero: lme4's theta, in order."""

    @abstractmethod
    def factor(self, par: Vector) -> Matrix:
        """Lower-triangular root lambda (..., k, k) of Gamma, for parameters (..., m)."""

    @property
    @abstractmethod
    def n_units(self) -> int:
        """Number e of `units`."""

    @abstractmethod
    def units(self, par: Vector) -> Matrix:
        """Symmetric matrices U (e, k, k), of which steps of Gamma from `par` are combinations.

        Criteria are differentiated along these alone.
        """

    @abstractmethod
    def jacobian(self, par: Vector) -> Matrix:
        """Derivative (e, m) of Gamma in the parameters, as combinations of `units`."""

    @abstractmethod
    def combination(self, par: Vector) -> Vector:
        """Gamma itself as a combination (e,) of `units`."""

    @abstractmethod
    def bend(self, par: Vector, slopes: Matrix) -> Matrix:
        """What Gamma's curvature adds to a Hessian: sum over ij of G_ij d2 Gamma_ij, (m, m).

        Parameters
        ----------
        par : (m,) array
            Parameters.
        slopes : (k, k) array
            Derivatives G of a function by the entries of Gamma, symmetric.
        """

    @abstractmethod
    def lift(self, R: Matrix) -> Matrix:
        """R U R' of all units as combinations (e, e), in columns, of the units at `whitened`."""

    def informative(self, par: Vector) -> Vector:
        """Parameters (m,) with the same units where derivatives are as independent as anywhere."""
        return par

    @abstractmethod
    def nearest(self, gamma: Matrix, clear: float = CLEAR) -> Vector:
        """Parameters (m,) of a member close to a positive semi-definite gamma (k, k).

        Variances are kept above `clear` times the largest (or 0.1, where that is more): from
        exactly 0 no step of a search would lead away.
        """

    @abstractmethod
    def whitening(self, Z: Matrix, n_levels: int) -> Matrix:
        """Upper-triangular R (k, k) that evens out the columns of Z (n, k).

        Under Gamma -> R Gamma R' the structure must be closed.
        """

    @abstractmethod
    def whitened(self, par: Vector, R: Matrix) -> Vector:
        """Parameters (m,) of R Gamma R', for an R of the kind that `whitening` gives."""

    @abstractmethod
    def unwhitened(self, par: Vector, R: Matrix) -> Vector:
        """The inverse of `whitened`."""

    @abstractmethod
    def cleared(self, par: Vector, tolerance: float) -> Vector:
        """The parameters (m,) with what is below `tolerance` in lambda set to zero."""

    @abstractmethod
    def is_free(self, par: Vector) -> NDArray[np.bool_]:
        """Parameters (m,) that are not on a bound, and matter there."""

    @abstractmethod
    def on_boundary(self, par: Vector) -> NDArray[np.bool_]:
        """Parameters (m,) that make Gamma singular."""

    @abstractmethod
    def names(self, group: str, columns: Sequence[str]) -> tuple[str, ...]:
        """lme4's names of the parameters, such as ``Subject.Days.(Intercept)``."""

    @abstractmethod
    def reported(self, columns: Sequence[str]) -> tuple[ReportedParameter, ...]:
        """What reports show of the covariance: as many as there are parameters, in R's order."""

    def theta(self, par: Vector) -> Vector:
        """lme4's theta: the entries of lambda that are not zero, column by column."""
        return np.asarray(self.factor(par)[self.pattern])

    def theta_names(self, group: str, columns: Sequence[str]) -> tuple[str, ...]:
        """lme4's names of theta, such as ``Subject.Days.(Intercept)``."""
        return tuple(
            f"{group}.{columns[i]}" if i == j else f"{group}.{columns[i]}.{columns[j]}"
            for i, j in zip(*self.pattern, strict=True)
        )

    @property
    def is_correlated(self) -> bool:
        """Whether correlations alone tell the variances from a residual variance."""
        return False

    @property
    def n_par(self) -> int:
        """Number m of parameters."""
        return len(self.start)
