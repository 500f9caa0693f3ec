"""Structures ``Gamma = D C(rho) D``: standard deviations D, correlations C by a few parameters.

The parameters are the standard deviations over sigma, one for each column or one for all (`hom`),
and then those of the correlation. Derivatives follow from those of C:

    dGamma/ds_a = E_a C D + D C E_a,    dGamma/drho_b = D (dC/drho_b) D                          (1)

with E_a the derivative of D, the identity if all columns share one standard deviation s. Criteria
are differentiated along few symmetric matrices, which do not vanish with s: for one s

    C,    dC/drho_b                                                                            (2)

and for own ones, with ``E_a C D + D C E_a = 2 s_a E_a + O_a``,

    E_a,    O_a,    D (dC/drho_b) D                                                            (3)
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from lmm._lapack import cholesky, eigh, lower_triangular
from lmm._types import IntVector, Matrix, Vector, cached_property
from lmm.covariance.base import (
    CLEAR,
    Covariance,
    ReportedParameter,
    diagonal,
    lower_triangle,
    shared,
)
from lmm.covariance.filled import VANISHING

# Correlations are kept this far inside their bounds where a search starts.
INSIDE = 0.05
# How far between its bounds a correlation is nothing special: not zero, for one.
GENERIC = 0.7


@dataclass(frozen=True, eq=False)
class Correlation:
    """A correlation matrix with its derivatives in r parameters.

    Attributes
    ----------
    value : (k, k) array
        C.
    slopes : (r, k, k) array
        First derivatives.
    where : (k, k) int array
        Which entry of `bends` stands where: many entries of C are the same.
    bends : (c, r, r) array
        Second derivatives of the c different entries.
    """

    value: Matrix
    slopes: Matrix
    where: IntVector
    bends: Matrix

    def bend(self, weights: Matrix) -> Matrix:
        """Second derivatives, summed over entries with weights (k, k), (r, r)."""
        c, r, _ = self.bends.shape
        sums = np.bincount(self.where.ravel(), weights.ravel(), minlength=c)
        return (sums @ self.bends.reshape(c, r * r)).reshape(r, r)

    @cached_property
    def root(self) -> Matrix:
        """Lower-triangular root (k, k), also of a singular correlation."""
        try:
            return cholesky(self.value)
        except np.linalg.LinAlgError:
            pass
        values, vectors = eigh(self.value)
        return lower_triangular(vectors * np.sqrt(np.maximum(values, 0.0)))


@dataclass(frozen=True)
class Correlated(Covariance):
    """Standard deviations and a structured correlation.

    Parameters
    ----------
    size : int
        Number of columns k.
    hom : bool
        Whether all columns share one standard deviation.
    """

    hom: bool

    @property
    @abstractmethod
    def rho_bounds(self) -> tuple[Vector, Vector]:
        """Lower and upper bounds (r,) of the correlation's parameters."""

    @abstractmethod
    def correlation(self, rho: Vector) -> Correlation:
        """C at rho (r,), with derivatives."""

    @abstractmethod
    def nearest_rho(self, correlation: Matrix) -> Vector:
        """Parameters (r,) of a correlation close to a given one (k, k)."""

    def rho_names(self) -> tuple[str, ...]:
        """Names of the correlation's parameters."""
        return ("rho",)

    @abstractmethod
    def correlations(self) -> tuple[ReportedParameter, ...]:
        """Correlations that stand for the parameters, (r,)."""

    @property
    def n_sd(self) -> int:
        """Number of standard deviations."""
        return 1 if self.hom else self.size

    @cached_property
    def pattern(self) -> tuple[IntVector, IntVector]:
        """The lower triangle, column by column."""
        return lower_triangle(self.size)

    @cached_property
    def start(self) -> Vector:
        """Standard deviations of 1 and no correlation, or the smallest that is inside."""
        return shared(self.nearest(np.eye(self.size)))

    @cached_property
    def generic(self) -> Vector:
        """Standard deviations of 1, correlations between zero and their upper bounds."""
        lower, upper = self.rho_bounds
        return shared(np.append(np.ones(self.n_sd), lower + GENERIC * (upper - lower)))

    @cached_property
    def lower(self) -> Vector:
        """0 for standard deviations, the correlation's bounds."""
        return shared(np.concatenate([np.zeros(self.n_sd), self.rho_bounds[0]]))

    @cached_property
    def upper(self) -> Vector:
        """Infinity for standard deviations, the correlation's bounds."""
        return shared(np.concatenate([np.full(self.n_sd, np.inf), self.rho_bounds[1]]))

    @property
    def is_shared(self) -> bool:
        """Whether one column shows what there is to say of all."""
        return self.hom

    @property
    def is_correlated(self) -> bool:
        """Whether there are fewer correlations than would take up a residual variance."""
        return len(self.rho_names()) == 1

    def split(self, par: Vector) -> tuple[Vector, Vector]:
        """Standard deviations (k,) of the columns, and rho (r,)."""
        sd, rho = par[: self.n_sd], par[self.n_sd :]
        return (np.full(self.size, sd[0]) if self.hom else sd), rho

    def factor(self, par: Vector) -> Matrix:
        """Lambda, (..., k, k) lower triangular."""
        if par.ndim > 1:
            return np.array([self.factor(each) for each in par])
        sd, rho = self.split(par)
        return np.asarray(sd[:, None] * correlation_at(self, rho).root)

    @property
    def n_units(self) -> int:
        """As many as (2) or (3) has."""
        return self.n_sd * (1 if self.hom else 2) + len(self.rho_bounds[0])

    def units(self, par: Vector) -> Matrix:
        """The matrices (2), or (3) where columns have their own standard deviations."""
        sd, rho = self.split(par)
        C = correlation_at(self, rho)
        if self.hom:
            return np.concatenate([C.value[None], C.slopes])
        each = np.arange(self.size)
        squares, others = np.zeros((2, self.size, self.size, self.size))
        squares[each, each, each] = 1.0
        others[each, each] = others[each, :, each] = C.value * sd
        others[each, each, each] = 0.0
        return np.concatenate([squares, others, sd[:, None] * C.slopes * sd])

    def jacobian(self, par: Vector) -> Matrix:
        """Derivative (e, m) in the parameters, eqn. 1, in terms of (2) or (3)."""
        n, r = self.n_sd, len(par) - self.n_sd
        if self.hom:
            return np.diag(np.append(2.0 * par[0], np.full(r, par[0] ** 2)))
        J = np.zeros((2 * n + r, n + r))
        J[:n, :n] = np.diag(2.0 * par[:n])
        J[n:] = np.eye(n + r)
        return J

    def combination(self, par: Vector) -> Vector:
        """Gamma in terms of (2) or (3): half of ``sum_a s_a dGamma/ds_a``, (e,)."""
        J = self.jacobian(par)
        return np.asarray(0.5 * J[:, : self.n_sd] @ par[: self.n_sd])

    def lift(self, R: Matrix) -> Matrix:
        """See `Covariance`, for a diagonal R."""
        scale, r = np.diag(R)[: self.n_sd], len(self.rho_bounds[0])
        if self.hom:
            return np.asarray(scale[0] ** 2 * np.eye(1 + r))
        return np.diag(np.concatenate([scale**2, scale, np.ones(r)]))

    def informative(self, par: Vector) -> Vector:
        """A standard deviation that all share does not matter to (2)."""
        return np.append(1.0, par[1:]) if self.hom else par

    def bend(self, par: Vector, slopes: Matrix) -> Matrix:
        """Second derivatives of Gamma, summed with slopes: see `Covariance`."""
        sd, rho = self.split(par)
        C, n, m = correlation_at(self, rho), self.n_sd, len(par)
        H = np.empty((m, m))
        own = 2.0 * slopes * C.value
        mixed = 2.0 * (slopes * C.slopes) @ sd
        H[:n, :n] = own.sum() if self.hom else own
        H[:n, n:] = mixed.sum(axis=1) if self.hom else mixed.T
        H[n:, :n] = H[:n, n:].T
        H[n:, n:] = C.bend(sd[:, None] * slopes * sd)
        return H

    def nearest(self, gamma: Matrix, clear: float = CLEAR) -> Vector:
        """Root mean square of the variances, and the nearest correlation, inside the bounds."""
        variances = np.diag(gamma)
        variances = np.maximum(variances, clear * max(float(variances.max()), 0.1))
        sd = np.sqrt(variances)
        correlation = gamma / sd / sd[:, None]
        correlation[np.diag_indices(self.size)] = 1.0
        lower, upper = self.rho_bounds
        margin = INSIDE * np.where(np.isfinite(upper - lower), upper - lower, 0.0)
        rho = np.clip(self.nearest_rho(correlation), lower + margin, upper - margin)
        return np.concatenate([[np.sqrt(variances.mean())] if self.hom else sd, rho])

    def whitening(self, Z: Matrix, n_levels: int) -> Matrix:
        """Lengths of the columns; one length for all, if they share one standard deviation."""
        squares = np.einsum("ij,ij->j", Z, Z) / n_levels
        if self.hom:
            squares = np.full(self.size, squares.mean())
        return np.diag(np.where(squares > 0.0, np.sqrt(squares), 1.0))

    def whitened(self, par: Vector, R: Matrix) -> Vector:
        """Parameters of R Gamma R': standard deviations scale, correlations stay."""
        return np.concatenate([par[: self.n_sd] * np.diag(R)[: self.n_sd], par[self.n_sd :]])

    def unwhitened(self, par: Vector, R: Matrix) -> Vector:
        return np.concatenate([par[: self.n_sd] / np.diag(R)[: self.n_sd], par[self.n_sd :]])

    def cleared(self, par: Vector, tolerance: float) -> Vector:
        """Standard deviations below `tolerance` are zero."""
        sd, rho = par[: self.n_sd], par[self.n_sd :]
        return np.concatenate([np.where(sd < tolerance, 0.0, sd), rho])

    def is_free(self, par: Vector) -> NDArray[np.bool_]:
        """Inside the bounds; correlations say nothing where fewer than two columns vary."""
        inside = (par > self.lower) & (par < self.upper)
        if np.count_nonzero(self.split(par)[0]) < 2:
            inside[self.n_sd :] = False
        return np.asarray(inside)

    def on_boundary(self, par: Vector) -> NDArray[np.bool_]:
        """On a bound, up to rounding."""
        with np.errstate(invalid="ignore"):
            near = (par - self.lower <= VANISHING) | (self.upper - par <= VANISHING)
        return np.asarray(near)

    def place(self, row: int, column: int) -> int:
        """Which parameter a reported entry of Gamma stands for."""
        if row == column:
            return 0 if self.hom else row
        entries = [(one.row, one.column) for one in self.correlations()]
        return self.n_sd + entries.index((row, column))

    def reported(self, columns: Sequence[str]) -> tuple[ReportedParameter, ...]:
        """Standard deviations, ``*`` if all columns share one; then correlations."""
        shown = ("*",) if self.hom else columns
        sd = (ReportedParameter(label, i, i) for i, label in enumerate(shown))
        return (*sd, *self.correlations())

    def names(self, group: str, columns: Sequence[str]) -> tuple[str, ...]:
        """lme4's names: ``Subject.*`` for one standard deviation of all columns."""
        shown = ("*",) if self.hom else columns
        return tuple(f"{group}.{name}" for name in (*shown, *self.rho_names()))


def correlation_at(structure: Correlated, rho: Vector) -> Correlation:
    """The correlation at rho (r,), made once per point: factors and derivatives ask for it."""
    return _remembered(structure, tuple(rho.tolist()))


@lru_cache(maxsize=32)
def _remembered(structure: Correlated, rho: tuple[float, ...]) -> Correlation:
    return structure.correlation(np.array(rho))


@dataclass(frozen=True)
class ScaledIdentity(Correlated):
    """Independent columns of one variance: ``diag(..., hom = TRUE)``.

    Examples
    --------
    >>> ScaledIdentity(2, hom=True).names("Subject", ["(Intercept)", "Days"])
    ('Subject.*',)
    """

    word = "diag"

    is_shared = False

    @cached_property
    def pattern(self) -> tuple[IntVector, IntVector]:
        """The diagonal."""
        return diagonal(self.size)

    @property
    def rho_bounds(self) -> tuple[Vector, Vector]:
        """There is no correlation."""
        return np.empty(0), np.empty(0)

    def correlation(self, rho: Vector) -> Correlation:
        """The identity."""
        k = self.size
        nowhere = np.zeros((k, k), dtype=np.int64)
        return Correlation(np.eye(k), np.empty((0, k, k)), nowhere, np.empty((1, 0, 0)))

    def nearest_rho(self, correlation: Matrix) -> Vector:
        """There is no parameter."""
        return np.empty(0)

    def rho_names(self) -> tuple[str, ...]:
        """There is no parameter."""
        return ()

    def correlations(self) -> tuple[ReportedParameter, ...]:
        """There is no parameter."""
        return ()


@dataclass(frozen=True)
class CompoundSymmetry(Correlated):
    """One correlation of all pairs of columns, between -1 / (k - 1) and 1.

    Examples
    --------
    >>> CompoundSymmetry(3, hom=True).factor(np.array([2.0, 0.5])).round(3)
    array([[2.   , 0.   , 0.   ],
           [1.   , 1.732, 0.   ],
           [1.   , 0.577, 1.633]])
    """

    word = "cs"

    @property
    def rho_bounds(self) -> tuple[Vector, Vector]:
        """Where the matrix is positive semi-definite."""
        return np.array([-1.0 / (self.size - 1)]), np.ones(1)

    def correlation(self, rho: Vector) -> Correlation:
        """Rho off the diagonal."""
        k = self.size
        off = 1.0 - np.eye(k)
        nowhere = np.zeros((k, k), dtype=np.int64)
        return Correlation(np.eye(k) + rho[0] * off, off[None], nowhere, np.zeros((1, 1, 1)))

    def nearest_rho(self, correlation: Matrix) -> Vector:
        """Mean of the correlations."""
        k = self.size
        return np.array([(correlation.sum() - correlation.trace()) / (k * (k - 1))])

    def correlations(self) -> tuple[ReportedParameter, ...]:
        """Rho, between any two columns."""
        return (ReportedParameter("rho", 1, 0),)
