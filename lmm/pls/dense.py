"""The textbook: penalized least squares with dense matrices, equation by equation.

This is the oracle. It follows Bates, Maechler, Bolker & Walker (2015), J. Stat. Softw. 67(1),
section 2.3 ("eqn." below), with the fill-reducing permutation left out, and forms every matrix
that the derivatives need. Use it to check the other solvers; it costs O(q^3).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_solve, cholesky, solve_triangular

from lmm._brief import Brief
from lmm._lapack import eigh
from lmm._types import IntVector, Matrix, Vector, cached_property
from lmm.pls.base import Blocks, Factors, FullDerivatives, PLSSolution, PLSTerms
from lmm.pls.inverse import dense_blocks
from lmm.pls.problem import Problem


@dataclass(frozen=True, eq=False)
class DensePoint:
    """Everything at one Lambda: L (q, q), RZX (q, p), RX (p, p), cu (q,), beta (p,), u (q,)."""

    pls: DensePLS
    Lambda: Matrix
    L: Matrix
    RZX: Matrix
    RX: Matrix
    beta: Vector
    u: Vector
    pwrss: float

    @property
    def logdet(self) -> float:
        """log|Omega|."""
        return 2.0 * float(np.log(np.diag(self.L)).sum())

    @property
    def terms(self) -> PLSTerms:
        """The three numbers."""
        return PLSTerms(
            self.logdet,
            2.0 * float(np.log(np.diag(self.RX)).sum()),
            self.pwrss,
        )

    def derivatives(self, reml: bool) -> FullDerivatives:
        """Values with first and second derivatives, from the q x q matrices themselves."""
        X, y, Z = self.pls.columns
        A = Z.T @ Z
        half = solve_triangular(self.L, self.Lambda.T @ A, lower=True)
        ZVZ = A - half.T @ half
        ZVX = Z.T @ X - half.T @ self.RZX
        DX = solve_triangular(self.RX, ZVX.T, trans="T").T
        ZPZ = ZVZ - DX @ DX.T
        v = Z.T @ (y - X @ self.beta - Z @ (self.Lambda @ self.u))
        F = ZPZ if reml else ZVZ
        selectors = list(self.pls.directions())
        rows = [a for a, _ in selectors]
        columns = [b for _, b in selectors]
        W = np.zeros((len(v), len(selectors)))  # E_ab v, one column per direction
        for j, (a, b) in enumerate(selectors):
            W[a, j] = v[b]
        trace = np.array(
            [
                [
                    np.sum(F[np.ix_(b, c)] * F[np.ix_(a, d)])
                    for c, d in zip(rows, columns, strict=True)
                ]
                for a, b in selectors
            ]
        )
        logdet, quadratic = [], []
        for range_, term in zip(self.pls.ranges(), self.pls.problem.matrices.terms, strict=True):
            blocks = F[range_, range_].reshape(term.n_levels, term.size, term.n_levels, term.size)
            logdet.append(np.einsum("iaib->ab", blocks))
            effects = v[range_].reshape(term.n_levels, term.size)
            quadratic.append(effects.T @ effects / self.pwrss)
        average = W.T @ ZPZ @ W / self.pwrss
        return FullDerivatives(self.terms, tuple(logdet), tuple(quadratic), average, trace, trace)

    def solution(self) -> PLSSolution:
        """Coefficients."""
        b = self.Lambda @ self.u
        effects = tuple(
            b[range_].reshape(term.n_levels, term.size)
            for range_, term in zip(self.pls.ranges(), self.pls.problem.matrices.terms, strict=True)
        )
        root = solve_triangular(self.RX, np.eye(len(self.RX)))
        return PLSSolution(self.terms, self.beta, effects, root)

    @cached_property
    def D(self) -> Matrix:
        """D, (q, q)."""
        return np.asarray(self.Lambda @ cho_solve((self.L, True), self.Lambda.T))

    def solve(self, right: Blocks) -> Blocks:
        """D times columns."""
        columns = np.empty((len(self.D), len(right[0])))
        for own, effects in zip(self.pls.problem.places, right, strict=True):
            columns[own] = effects.transpose(2, 1, 0)
        product = self.D @ columns
        return tuple(product[own].transpose(2, 1, 0) for own in self.pls.problem.places)

    @property
    def diagonal(self) -> Blocks:
        """Blocks of D of each level."""
        return tuple(dense_blocks(self.D, own, own) for own in self.pls.problem.places)

    def blocks(self, g: int, h: int, i: IntVector, j: IntVector) -> Matrix:
        """Blocks of D between levels."""
        places = self.pls.problem.places
        return dense_blocks(self.D, places[g][i], places[h][j])


@dataclass(frozen=True, eq=False, repr=False)
class DensePLS(Brief):
    """Dense solver for small models and for checking the others.

    Parameters
    ----------
    problem : Problem
        Standardized problem.
    """

    problem: Problem

    name = "dense"
    description = "dense: textbook oracle"

    @cached_property
    def columns(self) -> tuple[Matrix, Vector, Matrix]:
        """X (n, p), y (n,) and Z (n, q), this term by term, level by level, columns within.

        Of rows that are gone, as many others as there are columns, with the same cross-products.
        """
        problem = self.problem
        if problem.has_rows:
            return problem.X, problem.y, problem.dense_Z()
        whole = problem.products.dense(range(len(problem.groups)), problem.places)
        q = len(whole)
        values, vectors = eigh(np.vstack([whole, np.hstack([whole[:, q:].T, problem.base])]))
        root = np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T
        return root[:, q:-1], root[:, -1], root[:, :q]

    def at(self, factors: Factors) -> DensePoint:
        """Solve at given factors."""
        X, y, Z = self.columns
        terms = self.problem.matrices.terms
        Lambda = np.zeros((Z.shape[1], Z.shape[1]))
        for rows, factor, term in zip(self.ranges(), factors, terms, strict=True):
            Lambda[rows, rows] = np.kron(np.eye(term.n_levels), factor)
        ZL = Z @ Lambda
        gram = ZL.T @ ZL + np.eye(ZL.shape[1])
        if not np.isfinite(gram).all():
            raise np.linalg.LinAlgError("The covariances are too large to compute with")
        L = cholesky(gram, lower=True)  # eqn. 18
        cu = solve_triangular(L, ZL.T @ y, lower=True)
        RZX = solve_triangular(L, ZL.T @ X, lower=True)
        RX = cholesky(X.T @ X - RZX.T @ RZX)  # eqn. 18
        beta = solve_triangular(RX, X.T @ y - RZX.T @ cu, trans="T")
        beta = solve_triangular(RX, beta)
        u = solve_triangular(L, cu - RZX @ beta, lower=True, trans="T")
        residual = y - X @ beta - ZL @ u
        pwrss = float(residual @ residual + u @ u)  # eqn. 14
        return DensePoint(self, Lambda, L, RZX, RX, beta, u, pwrss)

    def ranges(self) -> Iterator[slice]:
        """Random effects of each term."""
        start = 0
        for term in self.problem.matrices.terms:
            yield slice(start, start + term.q)
            start += term.q

    @property
    def dense_size(self) -> int:
        """Columns of the largest dense matrix that is factored."""
        return self.problem.matrices.q

    def directions(self) -> Iterator[tuple[Vector, Vector]]:
        """Rows and columns of Z'..Z that each entry (a, b) of each Gamma couples."""
        for range_, term in zip(self.ranges(), self.problem.matrices.terms, strict=True):
            index = np.arange(range_.start, range_.stop).reshape(term.n_levels, term.size)
            for a in range(term.size):
                for b in range(term.size):
                    yield index[:, a], index[:, b]

    def reweighted(self, weights: Vector, y: Vector | None = None) -> DensePLS:
        """The same layout with other weights (n,) and response (n,)."""
        return DensePLS(self.problem.reweighted(weights, y))

    def with_response(self, y: Vector) -> DensePLS:
        """The same design with another response (n,)."""
        return DensePLS(self.problem.with_response(y))

    def with_problem(self, problem: Problem) -> DensePLS:
        """The same random effects with other columns [X y]."""
        return DensePLS(problem)
