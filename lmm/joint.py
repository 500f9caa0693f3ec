"""Joint covariance of the errors of fixed effects and random effects, at the estimated theta.

With ``C = (X'V^-1 X)^-1``, D of `lmm.pls.inverse` and ``M = D Z'W X``,

    Cov(beta_hat - beta)            = sigma^2 C                                              (1)
    Cov(b_hat - b, beta_hat - beta) = -sigma^2 M C                                           (2)
    Cov(b_hat - b)                  = sigma^2 (D + M C M')                                   (3)

(Henderson, 1975, Biometrics 31, 423-447). Of a generalized model sigma is 1, D that of the working
weights, and C the covariance of its coefficients. So the error of ``x'beta + z'b`` has variance

    sigma^2 (z'D z + (x - M'z)'C (x - M'z))                                                  (4)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy.linalg import block_diag, solve_triangular

from lmm._types import IntVector, Matrix, Vector, cached_property
from lmm.fit import Fit, Uncertainty
from lmm.pls import Inverse
from lmm.pls.inverse import CHUNK, by_level, flat

Effects = Mapping[int, tuple[IntVector, Matrix]]
"""By group: the level of each row, -1 where it is unknown, and the columns (m, k)."""


@dataclass(frozen=True, eq=False)
class JointCovariance:
    """Covariances of the errors of beta and b.

    Groups are grouping factors in order of appearance; the columns of a group are those of all its
    terms, side by side.

    Attributes
    ----------
    fit : Fit
        The fit.
    root : (p, p) array, optional
        Square root of C in place of that of the fit's covariance of beta.
    """

    fit: Fit
    root: Matrix | None = None

    @cached_property
    def _root(self) -> Matrix:
        """Square root of C, in units of the noise."""
        if self.root is not None:
            return self.root
        return self.fit.fixed_root * (self.fit.sigma / self.fit.noise)

    @property
    def _inverse(self) -> Inverse:
        """D itself; of the working least squares where these are meant by `root`."""
        return self.fit.conditional_inverse if self.root is None else self.fit.point

    @cached_property
    def _unwhiten(self) -> tuple[Matrix, ...]:
        """R^-1 of each group, (k, k)."""
        problem = self.fit.problem
        return tuple(
            np.asarray(solve_triangular(R, np.eye(len(R))))
            for R in (group.factor(problem.whitening) for group in problem.groups)
        )

    @cached_property
    def _whitened_coupling(self) -> tuple[Matrix, ...]:
        """M of each group in whitened coordinates, (l, k, p)."""
        problem = self.fit.problem
        cross = tuple(C[:-1] for C in problem.products.couplings)
        return tuple(M.transpose(2, 1, 0) @ problem.T for M in self.fit.point.solve(cross))

    @cached_property
    def coupling(self) -> tuple[Matrix, ...]:
        """M of each group, (l, k, p)."""
        return tuple(
            inverse @ M for inverse, M in zip(self._unwhiten, self._whitened_coupling, strict=True)
        )

    @cached_property
    def _diagonal(self) -> tuple[Matrix, ...]:
        """Blocks of D of each level, (l, k, k) per group."""
        return tuple(D.transpose(2, 0, 1) for D in self._inverse.diagonal)

    def _own_blocks(self, g: int, codes: IntVector) -> Matrix:
        """Blocks of D of some levels of group g, (m, k, k); any where a level is unknown."""
        if len(codes) >= self.fit.problem.groups[g].n_levels:
            return self._diagonal[g][codes]
        known = np.maximum(codes, 0)
        return self._inverse.blocks(g, g, known, known).transpose(2, 0, 1)

    @cached_property
    def conditional(self) -> tuple[Matrix, ...]:
        """Covariance of b given y with beta known, ``sigma^2 D``: (l, k, k) per group."""
        return tuple(
            self.fit.noise**2 * inverse @ D @ inverse.T
            for inverse, D in zip(self._unwhiten, self._diagonal, strict=True)
        )

    @cached_property
    def random(self) -> tuple[Matrix, ...]:
        """Covariance (3) of b_hat - b, level by level: (l, k, k) per group."""
        root = self.fit.noise * self._root
        return tuple(
            D + (M @ root) @ (M @ root).transpose(0, 2, 1)
            for D, M in zip(self.conditional, self.coupling, strict=True)
        )

    def matrix(self) -> Matrix:
        """All of (1)-(3), (p + q, p + q): beta first, then b group by group, level by level."""
        groups = self.fit.problem.groups
        q = sum(group.q for group in groups)
        ends = np.cumsum([group.q for group in groups])
        identity = tuple(
            by_level(part, group)
            for part, group in zip(np.split(np.eye(q), ends[:-1]), groups, strict=True)
        )
        unwhiten = block_diag(
            *(
                np.kron(np.eye(group.n_levels), inverse)
                for group, inverse in zip(groups, self._unwhiten, strict=True)
            )
        )
        D = np.concatenate([flat(part) for part in self._inverse.solve(identity)])
        p = self.fit.matrices.p
        M = np.concatenate(self.coupling, axis=None).reshape(q, p)
        root = np.vstack([self._root, -M @ self._root])
        total = root @ root.T
        total[p:, p:] += unwhiten @ D @ unwhiten.T
        return np.asarray(self.fit.noise**2 * total)

    def variance(self, X: Matrix, effects: Effects) -> Vector:
        """Variance (4) of the error of x'beta + z'b, row by row.

        Of a generalized model, whose modes move with all its parameters, these take beta's place.

        A random effect of an unknown level is new: its variance is that of the population, and it
        has nothing in common with the estimates.

        Parameters
        ----------
        X : (m, p) array
            Rows x'.
        effects : mapping of int to (codes, Z)
            Rows z' by group; groups that are left out do not take part.

        Returns
        -------
        (m,) array
        """
        known = self._uncertainty
        slope = X @ known.X
        total = np.zeros(len(X))
        whitened = {g: Z @ self._unwhiten[g] for g, (_, Z) in effects.items()}
        for g, (codes, _) in effects.items():
            z, M = whitened[g], known.coupling[g]
            seen = codes >= 0
            D = np.where(seen[:, None, None], self._own_blocks(g, codes), self._relative[g])
            total += _quadratic(z, D, z)
            z = np.where(seen[:, None], z, 0.0)
            for a in range(z.shape[1]):
                slope -= z[:, a, None] * M[codes, a]
        for g, h in combinations(effects, 2):
            both = np.flatnonzero((effects[g][0] >= 0) & (effects[h][0] >= 0))
            levels = effects[g][0][both], effects[h][0][both]
            blocks = self._inverse.blocks(g, h, *levels).transpose(2, 0, 1)
            total[both] += 2.0 * _quadratic(whitened[g][both], blocks, whitened[h][both])
        slope = slope @ known.root
        return np.asarray(self.fit.noise**2 * (total + np.einsum("ij,ij->i", slope, slope)))

    @cached_property
    def _uncertainty(self) -> Uncertainty:
        """How the estimates that move predictors do, their covariance in units of the noise."""
        known = self.fit.uncertainty if self.root is None else None
        if known is not None:
            return known
        return Uncertainty(np.eye(self.fit.matrices.p), self._whitened_coupling, self._root)

    def draws(self, rng: np.random.Generator, nsim: int) -> tuple[Matrix, tuple[Matrix, ...]]:
        """Errors of beta and b, drawn from their joint normal distribution.

        Effects and noise of a drawn response, less the effects predicted from it with beta known,
        have covariance ``sigma^2 D``; what the error of beta adds is ``-M`` times it.

        Parameters
        ----------
        rng : numpy.random.Generator
            Random numbers.
        nsim : int
            Number of draws.

        Returns
        -------
        (p, nsim) array, and (l, k, nsim) arrays per group
        """
        known, noise = self._uncertainty, self.fit.noise
        z = noise * known.root @ rng.standard_normal((known.root.shape[1], nsim))
        step = max(1, CHUNK // (self.fit.problem.n + 1))
        parts = [
            self._conditional_draws(rng, min(step, nsim - start)) for start in range(0, nsim, step)
        ]
        effects = tuple(
            inverse @ (noise * np.concatenate(own, axis=2) - M @ z)
            for inverse, own, M in zip(
                self._unwhiten, zip(*parts, strict=True), known.coupling, strict=True
            )
        )
        return known.X @ z, effects

    def _conditional_draws(self, rng: np.random.Generator, nsim: int) -> tuple[Matrix, ...]:
        """Whitened effects with covariance D, (l, k, nsim) per group."""
        problem, factors = self.fit.problem, self.fit.whitened_factors
        effects = []
        response = rng.standard_normal((nsim, problem.n))
        for group in problem.groups:
            u = rng.standard_normal((nsim, group.size, group.n_levels))
            effects.append(np.einsum("ab,sbl->sal", group.factor(factors), u))
            response += group.spread(effects[-1])
        predicted = self.fit.point.solve(tuple(group.sums(response) for group in problem.groups))
        return tuple(
            (drawn - own).transpose(2, 1, 0) for drawn, own in zip(effects, predicted, strict=True)
        )

    @cached_property
    def _relative(self) -> tuple[Matrix, ...]:
        """Whitened relative covariance of each group, (k, k)."""
        groups, factors = self.fit.problem.groups, self.fit.whitened_factors
        return tuple(lam @ lam.T for lam in (group.factor(factors) for group in groups))


def _quadratic(left: Matrix, blocks: Matrix, right: Matrix) -> Vector:
    """``left_i' block_i right_i`` for rows (m, a), blocks (m, a, b) and rows (m, b)."""
    if blocks.shape[1:] == (1, 1):
        return np.asarray(left[:, 0] * blocks[:, 0, 0] * right[:, 0])
    return np.asarray(np.einsum("ma,mab,mb->m", left, blocks, right))
