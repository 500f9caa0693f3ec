"""The contract of penalized-least-squares solvers, and the values that they return.

A `Solver` holds options. Bound to a `Problem` (`lmm.pls.problem`) it becomes a `PLS`, which is
evaluated at relative covariance factors
``factors = (lambda_1, ..., lambda_r)``, one (k, k) array per random-effects term in the problem's
whitened coordinates. Only ``lambda lambda'`` matters: any square root will do.

With ``V = I + Z Lambda Lambda' Z'`` and ``P = V^-1 - V^-1 X (X'V^-1 X)^-1 X'V^-1`` the laws
(docs/theory/pls.md, pls-v to pls-terms) are

* ``logdet_L  = log|V|``,  ``logdet_RX = log|X'V^-1 X|``,  ``pwrss = y'P y``;
* `PLSPoint.terms` and `derivatives` are the hot path: they return scalars and k x k matrices;
* every solver agrees with `lmm.pls.dense` on every model.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from lmm._types import IntVector, Matrix, Vector

if TYPE_CHECKING:
    from typing import Self

    from lmm.pls.problem import Problem


Factors = tuple[Matrix, ...]
Blocks = tuple[Matrix, ...]
"""Arrays by group, in the problem's order: columns of effects (r, k, l), or blocks (k, k, l)."""


@dataclass(frozen=True, slots=True)
class PLSTerms:
    """The three numbers that the criteria are made of.

    Attributes
    ----------
    logdet_L : float
        ``log|Lambda'Z'Z Lambda + I|``, twice the log determinant of the sparse factor L.
    logdet_RX : float
        ``log|X'V^-1 X|``.
    pwrss : float
        Penalized weighted residual sum of squares at its minimum.
    """

    logdet_L: float
    logdet_RX: float
    pwrss: float


@dataclass(frozen=True, slots=True)
class Forms:
    """Second derivatives along directions a, b, of which there are e.

    Attributes
    ----------
    average : (e, e) array
        ``v'E_a' (Z'PZ) E_b v / pwrss``: half the second derivative of pwrss, over pwrss.
    scoring : (e, e) array
        ``tr(F E_a F E_b)`` for the first steps of a search: where the exact one would cost much
        more than the gradient, couplings between levels of an eliminated factor are left out.
    trace : (e, e) array or None
        ``tr(F E_a F E_b)``, minus the second derivative of the log determinants; None where
        `scoring` is not exact.
    """

    average: Matrix
    scoring: Matrix
    trace: Matrix | None


@dataclass(frozen=True, eq=False)
class Derivatives(ABC):
    """First and second derivatives with respect to ``Gamma_i = lambda_i lambda_i'``.

    Directions are the entries of the k_i x k_i matrices Gamma_i, stacked row by row over terms:
    K = sum of k_i^2 of them. ``F`` is ``Z'PZ`` for REML and ``Z'V^-1 Z`` for ML, ``v = Z'Py``.

    Attributes
    ----------
    terms : PLSTerms
        The values themselves.
    logdet : tuple of (k_i, k_i) arrays
        Sum over levels of the diagonal blocks of F: the derivative of ``log|V|``
        (ML) or ``log|V| + log|X'V^-1 X|`` (REML).
    quadratic : tuple of (k_i, k_i) arrays
        Sum over levels of v v' / pwrss: minus the derivative of log pwrss.
    """

    terms: PLSTerms
    logdet: tuple[Matrix, ...]
    quadratic: tuple[Matrix, ...]

    def slopes(self, c: float) -> tuple[Matrix, ...]:
        """Derivative of ``logdet + c log pwrss`` in each Gamma, (k_i, k_i)."""
        pairs = zip(self.logdet, self.quadratic, strict=True)
        return tuple(logdet - c * quadratic for logdet, quadratic in pairs)

    @abstractmethod
    def along(self, units: Matrix) -> Forms:
        """Second derivatives along combinations (e, K) of the directions."""


@dataclass(frozen=True, eq=False)
class FullDerivatives(Derivatives):
    """Second derivatives in all directions: those of `Forms`, (K, K) each."""

    average: Matrix
    scoring: Matrix
    trace: Matrix | None

    def along(self, units: Matrix) -> Forms:
        """See `Derivatives`."""
        scoring = units @ self.scoring @ units.T
        if self.trace is self.scoring:
            return Forms(units @ self.average @ units.T, scoring, scoring)
        trace = None if self.trace is None else units @ self.trace @ units.T
        return Forms(units @ self.average @ units.T, scoring, trace)


@dataclass(frozen=True, eq=False)
class PLSSolution:
    """Coefficients at one point, in whitened coordinates of the problem.

    Attributes
    ----------
    terms : PLSTerms
        The values.
    beta : (p,) array
        Fixed effects of the orthonormal X.
    effects : tuple of (l_i, k_i) arrays
        Random effects b of each term.
    fixed_root : (p, p) array
        ``RX^-1``: ``(X'V^-1 X)^-1 = RX^-1 RX^-T``.
    """

    terms: PLSTerms
    beta: Vector
    effects: tuple[Matrix, ...]
    fixed_root: Matrix


class Inverse(Protocol):
    """``D = Lambda (Lambda'Z'Z Lambda + I)^-1 Lambda'``, of which there are products and blocks."""

    def solve(self, right: Blocks) -> Blocks:
        """D times r columns, (r, k, l) by group."""

    @property
    def diagonal(self) -> Blocks:
        """Blocks of D of each level, (k, k, l) by group."""

    def blocks(self, g: int, h: int, i: IntVector, j: IntVector) -> Matrix:
        """Blocks of D between levels i of group g and levels j of group h, (k_g, k_h, m)."""


class PLSPoint(Inverse, Protocol):
    """The problem at given covariance factors: one elimination, which answers everything."""

    @property
    def pls(self) -> PLS:
        """The problem."""

    @property
    def logdet(self) -> float:
        """``log|Lambda'Z'Z Lambda + I|``."""

    @property
    def terms(self) -> PLSTerms:
        """The three numbers."""

    def derivatives(self, reml: bool) -> Derivatives:
        """Values with first and second derivatives of the log determinant and pwrss."""

    def solution(self) -> PLSSolution:
        """Coefficients."""


@runtime_checkable
class SampledPoint(Protocol):
    """A point whose log determinant is estimated with random probes, and its error with it."""

    def sampling(self) -> Matrix:
        """Covariance (1 + K, 1 + K) of `logdet` and of its K derivatives, due to the probes.

        Derivatives are those by the directions of `Derivatives`.
        """


class Sampled:
    """A problem of which every point is a `SampledPoint`: no point is made to find out."""


class PLS(Protocol):
    """A penalized least-squares problem, ready to be solved at any covariance factors."""

    @property
    def problem(self) -> Problem:
        """The standardized problem it was made from."""

    @property
    def name(self) -> str:
        """Short name, such as ``"block"``."""

    @property
    def description(self) -> str:
        """What was chosen and why, one line."""

    @property
    def dense_size(self) -> int:
        """Columns of the largest dense matrix that is factored; decides the BLAS threads."""

    def at(self, factors: Factors) -> PLSPoint:
        """Eliminate at given factors; nothing is remembered."""

    def with_problem(self, problem: Problem) -> Self:
        """A problem of the same random effects with other columns [X y]; the rest is shared."""

    def with_response(self, y: Vector) -> Self:
        """The same problem with another response (n,); everything else is shared."""

    def reweighted(self, weights: Vector, y: Vector | None = None) -> Self:
        """The same layout with other weights (n,) and response: sums are accumulated anew.

        Patterns and orders stay. See `lmm.pls.problem.Problem.reweighted`.
        """


class Solver(Protocol):
    """Options of a way to solve problems: a frozen object that knows no data."""

    @property
    def name(self) -> str:
        """What it is called as a string."""

    def bind(self, problem: Problem) -> PLS:
        """Make ready to solve a problem."""


def stacked(blocks: tuple[Matrix, ...]) -> Vector:
    """Entries of matrices row by row, one after the other."""
    return blocks[0].ravel() if len(blocks) == 1 else np.concatenate([b.ravel() for b in blocks])
