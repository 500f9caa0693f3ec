"""How the covariance of the fixed effects answers to the variance parameters.

The coordinates g (e,) move symmetric matrices M_i along units S_r (`level_units`), with
``Gamma*_i = C_i M_i C_i'`` for the whitened relative covariances Gamma* and fixed roots C_i,

    C_i C_i' = Gamma*_i + 1                                                                   (1)

at the estimates: the random effects of a level together with the noise of its own mean. In these
units all coordinates count about alike, whatever the number of rows and the size and shape of
Gamma*. V = I + sum_r g_r G_r is linear in them, with ``G_r = Z C S_r C'Z'``. Everything is written
in the basis U with ``sigma^2 U U' = vcov(beta)``, where the fixed effects' columns
``Xt = W^(1/2) X U`` have ``Xt'V^-1 Xt = I``. With
``D = C'Z'V^-1 Xt``,

    P_r  = Xt'V^-1 G_r V^-1 Xt         = D'S_r D                                              (2)
    Q_rs = Xt'V^-1 G_r V^-1 G_s V^-1 Xt = (S_r D)' C'Z'V^-1 Z C (S_s D)                        (3)

so that ``d vcov / dg_r = sigma^2 U P_r U'``. No n x n matrix is formed: V^-1 is applied to p
columns at a time (`lmm.pls.inverse`), and since ``b = Gamma* Z'V^-1 x`` are the random effects that
explain x,

    C'Z'V^-1 x = C^-1 (b + Z'(x - Z b))                                                       (4)

keeps all digits where ``Z'V^-1 x`` itself is a small difference of large numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import block_diag

from lmm._lapack import lower_triangular
from lmm._types import Matrix, cached_property
from lmm.covariance import Covariance, Filled
from lmm.fit import Fit
from lmm.likelihood import Entries
from lmm.pls import Factors
from lmm.pls.products import sparse_products

if TYPE_CHECKING:
    from scipy import sparse

    from lmm.pls.effect_columns import Columns


def total_roots(fit: Fit) -> Factors:
    """C_i of (1) per term, (k_i, k_i) lower triangular."""
    return tuple(
        lower_triangular(np.hstack([factor, np.eye(len(factor))]))
        for factor in fit.whitened_factors
    )


def in_level_units(fit: Fit) -> Entries:
    """Derivatives of the criterion along `level_units`, (e,)."""
    parts = zip(fit.matrices.terms, total_roots(fit), strict=True)
    turned = [_turned(term.covariance, C) for term, C in parts]
    return fit.entries.along(np.asarray(block_diag(*turned)))


def _turned(covariance: Covariance, C: Matrix) -> Matrix:
    """Units of M as combinations (e, e), in rows, of those of Gamma*."""
    if isinstance(covariance, Filled):
        return covariance.lift(C).T
    return np.eye(covariance.n_units)


def level_units(fit: Fit) -> tuple[Matrix, ...]:
    """Symmetric S (e_i, k_i, k_i) per term along which M moves.

    The entries of M that vary, for a structure that stays what it is in M; for any other what the
    units of Gamma* are in M.
    """
    units = []
    parts = zip(fit.matrices.terms, total_roots(fit), fit.matrices.theta_slices, strict=True)
    for term, C, part in parts:
        own = term.covariance.units(fit.optimum.x[part])
        if not isinstance(term.covariance, Filled):
            inverse = np.linalg.inv(C)
            own = inverse @ own @ inverse.T
        units.append(own)
    return tuple(units)


def level_chart(fit: Fit) -> tuple[Matrix, Matrix]:
    """Derivative (e, m) of M in coordinates, and the second ones along the criterion's slopes.

    The coordinates are those of ``mu = C^-1 lambda*``, with ``M = mu mu'``, for a structure that
    stays what it is in M; for any other its whitened parameters.
    """
    J, bend, start = [], [], 0
    parts = zip(
        fit.matrices.terms,
        total_roots(fit),
        fit.whitened_factors,
        fit.matrices.theta_slices,
        strict=True,
    )
    for term, C, factor, part in parts:
        covariance, k = term.covariance, term.size
        slopes = fit.slopes[start : start + k * k].reshape(k, k)
        start += k * k
        par = fit.optimum.x[part]
        if isinstance(covariance, Filled):
            par, slopes = covariance.par(np.linalg.solve(C, factor)), C.T @ slopes @ C
        J.append(covariance.jacobian(par))
        bend.append(covariance.bend(par, slopes))
    return np.asarray(block_diag(*J)), np.asarray(block_diag(*bend))


def tangents(fit: Fit) -> Matrix:
    """Directions (d, e) along which V moves, to first order, as combinations of `level_units`.

    Every entry of M by itself where all of them are free; elsewhere derivatives by parameters.
    """
    parts = zip(fit.matrices.terms, fit.matrices.theta_slices, strict=True)
    blocks = [
        np.eye(term.covariance.n_units)
        if isinstance(term.covariance, Filled)
        else term.covariance.jacobian(fit.optimum.x[part]).T
        for term, part in parts
    ]
    return np.asarray(block_diag(*blocks))


@dataclass(frozen=True)
class _Direction:
    """A symmetric S (k, k) over a group's columns."""

    group: int
    S: Matrix


@dataclass(frozen=True, eq=False)
class Couplings:
    """Couplings of fixed and random effects through V^-1, at the estimates of a fit.

    Attributes
    ----------
    fit : Fit
        The fit.
    """

    fit: Fit

    @property
    def _columns(self) -> Columns:
        return self.fit.problem.products.columns

    @cached_property
    def _A(self) -> sparse.csr_array:
        """Z'Z, (q, q)."""
        places = dict(enumerate(self._columns.places))
        return sparse_products(self.fit.problem.products.all_pairs(), places, self._columns.q)

    @cached_property
    def _directions(self) -> tuple[_Direction, ...]:
        places = {
            i: (g, part)
            for g, group in enumerate(self.fit.problem.groups)
            for i, part in group.members
        }
        directions = []
        for i, units in enumerate(level_units(self.fit)):
            g, part = places[i]
            size = self.fit.problem.groups[g].size
            for unit in units:
                S = np.zeros((size, size))
                S[part, part] = unit
                directions.append(_Direction(g, S))
        return tuple(directions)

    @cached_property
    def _roots(self) -> tuple[Matrix, ...]:
        """C of each group, (k, k)."""
        roots = total_roots(self.fit)
        return tuple(group.factor(roots) for group in self.fit.problem.groups)

    def _coupled(self, right: Matrix) -> tuple[Matrix, ...]:
        """``C'Z'V^-1 x`` by (4) for r columns x, from ``Z'x`` (q, r); per group (l, k, r)."""
        columns = self._columns
        effects = self.fit.point.solve(tuple(columns.by_level(right)))
        b = columns.flat(effects, right.shape[1])
        moved = b + (right - self._A @ b)
        parts = zip(self._roots, columns.places, strict=True)
        return tuple(np.linalg.solve(C, moved[own]) for C, own in parts)

    @cached_property
    def D(self) -> tuple[Matrix, ...]:
        """``C'Z'V^-1 Xt`` per group, (l, k, p)."""
        problem = self.fit.problem
        ZX = self._columns.flat([C[:-1] for C in problem.products.couplings], problem.p)
        return self._coupled(ZX @ (problem.T @ self.fit.fixed_root))

    def _turned(self, direction: _Direction) -> Matrix:
        """``S_r D`` in its group, (l, k, p)."""
        return np.asarray(direction.S @ self.D[direction.group])

    @cached_property
    def first(self) -> Matrix:
        """P_r of (2), (m, p, p)."""
        return np.array([_inner(self.D[r.group], self._turned(r)) for r in self._directions])

    @cached_property
    def second(self) -> Matrix:
        """Q_rs of (3), (m, m, p, p)."""
        m, p = len(self._directions), self.fit.matrices.p
        sides = [self._A[part].T for part in self._columns.parts]  # Z'Z_g
        Q = np.empty((m, m, p, p))
        for s, direction in enumerate(self._directions):
            turned = self._roots[direction.group] @ self._turned(direction)
            coupled = self._coupled(sides[direction.group] @ _flat(turned))
            for r, other in enumerate(self._directions):
                Q[r, s] = _inner(self._turned(other), coupled[other.group])
        return Q


def _flat(blocks: Matrix) -> Matrix:
    """Blocks (l, k, p) as (l k, p)."""
    n_levels, size, p = blocks.shape
    return blocks.reshape(n_levels * size, p)


def _inner(left: Matrix, right: Matrix) -> Matrix:
    """Sum over levels and columns of left right', (p, p)."""
    return np.asarray(_flat(left).T @ _flat(right))
