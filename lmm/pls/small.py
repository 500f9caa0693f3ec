"""Any structure with few random effects: dense q x q cross-products, exact second derivatives.

The equations are those of `lmm.pls.dense`, but formed from ``A = Z'Z`` and ``B = Z'[X y]`` once, so
that an evaluation costs a handful of q x q matrix operations and nothing depends on n.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lmm import _lapack
from lmm._brief import Brief
from lmm._types import IntVector, Matrix, Vector
from lmm.errors import NumericalError
from lmm.pls.base import Factors, FullDerivatives, PLSSolution
from lmm.pls.border import Bordered
from lmm.pls.inverse import DenseInverse
from lmm.pls.problem import Problem

__all__ = ["SmallPLS"]


@dataclass(frozen=True, eq=False)
class SmallPoint(Bordered, DenseInverse):
    """At one Lambda: L^-1 Lambda' (q, q), L^-1 Lambda'B (q, t), log|Omega|, what is left."""

    pls: SmallPLS
    half: Matrix
    HB: Matrix
    logdet: float
    reduced: Matrix

    def derivatives(self, reml: bool) -> FullDerivatives:
        """Values with exact first and second derivatives."""
        HA = self.half @ self.pls.A
        ZVZ = self.pls.A - HA.T @ HA
        E = (self.pls.B - HA.T @ self.HB) @ self.border.half.T
        ZPZ = ZVZ - E[:, :-1] @ E[:, :-1].T
        F, v = (ZPZ if reml else ZVZ), E[:, -1]
        directions = [(a, b) for term in self.pls.components for a in term for b in term]
        W = np.zeros((len(v), len(directions)))
        for j, (a, b) in enumerate(directions):
            W[a, j] = v[b]
        trace = np.empty((len(directions), len(directions)))
        for i, (a, b) in enumerate(directions):
            for j, (c, d) in enumerate(directions[: i + 1]):
                trace[i, j] = trace[j, i] = np.vdot(F[b[:, None], c], F[a[:, None], d])
        logdet, quadratic = [], []
        for columns in self.pls.components:
            logdet.append(np.array([[F[a, b].sum() for b in columns] for a in columns]))
            effects = v[np.array(columns)]
            quadratic.append(effects @ effects.T)
        return FullDerivatives(
            self.terms,
            tuple(logdet),
            tuple(quadratic),
            W.T @ ZPZ @ W,
            trace,
            trace,
        )

    def solution(self) -> PLSSolution:
        """Coefficients."""
        b = self.half.T @ (self.HB @ self.border.residual)
        effects = tuple(b[np.array(columns).T] for columns in self.pls.components)
        return self.coefficients(effects)

    @cached_property
    def D(self) -> Matrix:
        """D, (q, q)."""
        return np.asarray(self.half.T @ self.half)


@dataclass(frozen=True, eq=False, repr=False)
class SmallPLS(Brief):
    """Solver for models with few random effects, crossed in any way.

    Parameters
    ----------
    problem : Problem
        Standardized problem.
    A : (q, q) array
        Z'Z, term by term, level by level, columns within.
    B : (q, t) array
        Z'[X y], t = p + 1.
    base : (t, t) array
        [X y]'[X y].
    """

    problem: Problem
    A: Matrix
    B: Matrix
    base: Matrix

    name = "block"

    @classmethod
    def build(cls, problem: Problem) -> SmallPLS:
        """Accumulate the cross-products of a problem."""
        A, B = problem.products.dense(range(len(problem.groups)), problem.places)
        return cls(problem, A, B, problem.base)

    def with_response(self, y: Vector) -> SmallPLS:
        """The same design with another response (n,)."""
        return self.with_problem(self.problem.with_response(y))

    def with_problem(self, problem: Problem) -> SmallPLS:
        """The same random effects with other columns [X y]."""
        B = np.empty((len(self.B), len(problem.base)))
        for own, C in zip(problem.places, problem.products.couplings, strict=True):
            B[own] = C.transpose(2, 1, 0)
        return SmallPLS(problem, self.A, B, problem.base)

    def reweighted(self, weights: Vector, y: Vector | None = None) -> SmallPLS:
        """The same layout with other weights (n,) and response (n,)."""
        return SmallPLS.build(self.problem.reweighted(weights, y))

    @property
    def description(self) -> str:
        """What was chosen and why."""
        return f"block: all {len(self.A)} random effects in one dense block, for they are few"

    @cached_property
    def components(self) -> tuple[tuple[IntVector, ...], ...]:
        """Per term, the positions in q of each of its columns: k_i arrays (l_i,)."""
        components, start = [], 0
        for term in self.problem.matrices.terms:
            index = np.arange(start, start + term.q).reshape(term.n_levels, term.size)
            components.append(tuple(index.T))
            start += term.q
        return tuple(components)

    def _Lambdat(self, factors: Factors) -> Matrix:
        Lambdat = np.zeros_like(self.A)
        for factor, columns in zip(factors, self.components, strict=True):
            for i, row in enumerate(columns):
                for j, column in enumerate(columns):
                    if factor[i, j] != 0.0:
                        Lambdat[column, row] = factor[i, j]
        return Lambdat

    def at(self, factors: Factors) -> SmallPoint:
        """Eliminate at given factors."""
        Lambdat = self._Lambdat(factors)
        omega = Lambdat @ self.A @ Lambdat.T
        omega.flat[:: len(omega) + 1] += 1.0
        try:
            L = _lapack.cholesky(omega)
        except np.linalg.LinAlgError as error:
            raise NumericalError("Lambda'Z'Z Lambda + I is not positive definite.") from error
        half = _lapack.solve_lower(L, Lambdat)
        HB = half @ self.B
        logdet = 2.0 * float(np.log(L.diagonal()).sum())
        return SmallPoint(self, half, HB, logdet, self.base - HB.T @ HB)

    @property
    def dense_size(self) -> int:
        """Columns of the largest dense matrix that is factored."""
        return len(self.A)
