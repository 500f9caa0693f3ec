"""A chain of one factor with nothing behind it, by roots of its blocks: no digits are lost.

For level i with ``A_i = Z_i'Z_i`` and ``C_i = Z_i'[X y]`` let ``R_i'R_i = A_i`` with R_i upper
triangular, and ``R_i'S_i = C_i``: S_i is the part of [X y] that the columns of Z_i explain. With
``Gamma = lambda lambda'``, everything follows from ``M_i = (I + R_i Gamma R_i')^-1``:

* ``log|V| = -sum_i log|M_i|``;
* ``[X y]'V^-1[X y] = W + sum_i S_i'M_i S_i``, where W is what is left within levels. Its Cholesky
  factor has ``RX`` in its leading part and ``sqrt(pwrss)`` as its last pivot. All terms are
  positive: none cancels another, however large Gamma is;
* ``F_i = Z_i'V_i^-1 Z_i = R_i'M_i R_i`` and ``E_i = Z_i'V_i^-1 [X y] L^-T = R_i'M_i S_i L^-T``.

Where a level has fewer rows than columns, R_i may be Z_i itself, S_i the rows of [X y] and W zero.
Levels that share A_i share R_i, M_i and F_i: they are computed once per distinct A_i, and the C_i
of such a class are replaced by as few rows as span the same sum of C_i C_i' (docs/theory/blocks.md,
blocks-inverse to blocks-duplicates). After construction nothing depends on the number of rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import TypeAlias

import numpy as np

from lmm._lapack import einsum
from lmm._types import IntVector, Matrix, cached_property
from lmm.pls.along import AlongUnits, SweptLevels
from lmm.pls.base import Derivatives, PLSTerms
from lmm.pls.directions import assembled, level_traces, restricted, squares
from lmm.pls.effect_columns import Columns
from lmm.pls.groups import Group
from lmm.pls.kernels import invert, multiply_turned, penalized_inverse
from lmm.pls.levels import Levels, backward, by_rows, forward, root
from lmm.pls.problem import Problem
from lmm.pls.products import RowProducts
from lmm.pls.tail import DenseTail

# Random effects this many times as large as the noise of their level's mean let W show the digits
# that it lost as a difference.
LARGE = 30.0

# What a sweep over a set of levels gives: M (d, d, m), M S (t, d, r), and the part of log|V|.
Sweep: TypeAlias = tuple[Matrix, Matrix, float]


@dataclass(frozen=True, eq=False)
class Roots:
    """Cross-products of a problem with a single grouping factor.

    Attributes
    ----------
    problem : Problem
        Standardized problem.
    chunks : tuple of Levels
        Roots, in pieces that fit the cache.
    within : (t, t) array
        The part W of [X y]'[X y] that Z does not explain, as a difference.
    by_rows : bool
        Whether the roots are rows of Z.
    """

    problem: Problem
    chunks: tuple[Levels, ...]
    within: Matrix
    by_rows: bool = False

    order = (0,)
    tail = DenseTail(Columns(()))

    @classmethod
    def of(cls, problem: Problem) -> Roots:
        """Accumulate the cross-products of a problem."""
        if _has_few_rows(problem):
            columns = np.array([*problem.X.T, problem.y])
            rows = by_rows(problem.groups[0], columns)
            return cls(problem, (rows,), np.zeros_like(problem.base), True)
        return cls(problem, problem.levels, problem.within)

    def with_columns(self, problem: Problem) -> Roots:
        """The same random effects with other columns [X y]."""
        return Roots.of(problem)

    def reweighted(self, problem: Problem) -> Roots:
        """The same layout with the sums of other weights."""
        return Roots.of(problem)

    def description(self, groups: Sequence[Group]) -> str:
        """What is eliminated."""
        (group,) = groups
        distinct = sum(chunk.R.shape[2] for chunk in self.chunks)
        return (
            f"one grouping factor, {group.n_levels} levels of {group.name} "
            f"({distinct} distinct {group.size} x {group.size} blocks) eliminated in closed form"
        )

    def at(self, lams: Sequence[Matrix]) -> SweptRoots:
        """Eliminate all levels at a given lambda."""
        (lam,) = lams
        logdet, reduced, kept = 0.0, self._left(lam).copy(), []
        for levels in self.chunks:
            sweep = _sweep(levels, lam)
            logdet += sweep[2]
            reduced += levels.quadratic(sweep[1])
            # Sweeps over many chunks are made once more when they are needed, to save memory.
            if len(self.chunks) == 1:
                kept.append(sweep)
        swept = SweptRows if self.by_rows else SweptRoots
        return swept(self, lam, logdet, reduced, tuple(kept))

    def _left(self, lam: Matrix) -> Matrix:
        """W (t, t), with all the digits that count at this factor (k, k) where there are rows."""
        large = np.abs(lam).max() > LARGE and self.problem.has_rows
        return self._residuals_within if large and not self.by_rows else self.within

    @cached_property
    def _residuals_within(self) -> Matrix:
        """W (t, t) from the residuals of [X y], regressed on Z level by level: O(n), once."""
        (A,), (C,) = self.problem.products.grams, self.problem.products.couplings
        R = root(A)
        coefficients = backward(R, forward(R, C))
        within = np.zeros_like(self.within)
        for rows in self.problem.parts():
            left = np.array([*rows.X.T, rows.y])
            left -= rows.groups[0].spread(coefficients)
            within += left @ left.T
        return within

    @cached_property
    def along_units(self) -> bool:
        """Whether Gamma moves in few directions only."""
        return has_few_directions(self.problem)


@dataclass(frozen=True, eq=False)
class SweptRoots:
    """All levels eliminated at one lambda.

    Attributes
    ----------
    chain : Roots
        The cross-products.
    lam : (k, k) array
        Factor of the group.
    logdet : float
        log|V|.
    reduced : (t, t) array
        ``[X y]'V^-1[X y]``.
    kept : tuple of Sweep
        The sweeps, one per chunk; empty where they were not kept.
    """

    chain: Roots
    lam: Matrix
    logdet: float
    reduced: Matrix
    kept: tuple[Sweep, ...]

    def _sweeps(self) -> Iterator[tuple[Levels, Sweep]]:
        sweeps = self.kept or (_sweep(levels, self.lam) for levels in self.chain.chunks)
        yield from zip(self.chain.chunks, sweeps, strict=True)

    def derivatives(
        self, terms: PLSTerms, half: Matrix, groups: Sequence[Group], reml: bool
    ) -> Derivatives:
        """Exact derivatives, given L^-1 (t, t) of the fixed effects."""
        if self.chain.along_units:
            return self._along_units(terms, half, groups[0], reml)
        sums = [_sums(levels, M, MS, half) for levels, (M, MS, _) in self._sweeps()]
        F, EE, trace, forms_X, forms_v = (reduce(add, each) for each in zip(*sums, strict=True))
        if reml:
            trace = restricted(trace, forms_X, [EE])
        return assembled(terms, groups, [F], [EE], forms_v, trace, reml, exact=True)

    def _along_units(self, terms: PLSTerms, half: Matrix, group: Group, reml: bool) -> AlongUnits:
        swept = []
        for levels, (M, MS, _) in self._sweeps():
            E = (half @ MS.reshape(len(MS), -1)).reshape(MS.shape)
            swept.append(SweptLevels(levels, M, E))
        members = dict(group.members)
        order = tuple(members[i] for i in range(len(members)))
        return AlongUnits.of(terms, tuple(swept), order, reml)

    def modes(self, residual: Matrix) -> list[Matrix]:
        """See `SweptChain`."""
        (C,) = self.chain.problem.products.couplings
        # Not Gamma Z'V^-1 (y - X beta): a large Gamma would multiply the rounding errors of it.
        return self.solve([einsum("rt,tbm->rbm", residual, C)])

    def solve(self, right: Sequence[Matrix]) -> list[Matrix]:
        """See `SweptChain`."""
        return [einsum("abm,rbm->ram", self._D, right[0])]

    @cached_property
    def _D(self) -> Matrix:
        """D of each level, (k, k, l)."""
        parts = []
        for levels in self.chain.chunks:
            A = einsum("iam,ibm->abm", levels.R, levels.R)
            parts.append(levels.by_level(penalized_inverse(A, self.lam)[0]))
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=2)

    @property
    def diagonal(self) -> list[Matrix]:
        """See `SweptChain`."""
        return [self._D]

    def blocks(self, g: int, h: int, i: IntVector, j: IntVector) -> Matrix:
        """See `SweptChain`: zero between two levels."""
        return np.where(i == j, self._D[:, :, i], 0.0)


@dataclass(frozen=True, eq=False)
class SweptRows(SweptRoots):
    """The same with rows Z_i for roots: ``D = lam (I - H'M H) lam'`` with ``H = Z_i lam``."""

    def modes(self, residual: Matrix) -> list[Matrix]:
        """See `SweptChain`."""
        ((levels, (M, _, _)),) = self._sweeps()
        right = einsum("rt,tbm->rbm", residual, levels.S)
        return [self.lam @ einsum("dkm,dem,rem->rkm", self._half, M, right, optimize=True)]

    @cached_property
    def _half(self) -> Matrix:
        """H, (d, k, l)."""
        return np.asarray(self.lam.T @ self.chain.chunks[0].R)

    def solve(self, right: Sequence[Matrix]) -> list[Matrix]:
        """See `SweptChain`."""
        ((_, (M, _, _)),) = self._sweeps()
        inner = self.lam.T @ right[0]
        turned = einsum("dem,ekm,rkm->rdm", M, self._half, inner, optimize=True)
        return [self.lam @ (inner - einsum("dkm,rdm->rkm", self._half, turned))]

    @cached_property
    def _D(self) -> Matrix:
        """D of each level, (k, k, l)."""
        k, n_levels = self._half.shape[1:]
        identity = np.broadcast_to(np.eye(k)[:, :, None], (k, k, n_levels))
        (blocks,) = self.solve([identity])
        return blocks.transpose(1, 0, 2)


def has_few_directions(problem: Problem) -> bool:
    """Whether the covariances of a single factor have fewer units than columns."""
    return problem.matrices.parameters.n_units < problem.groups[0].size


def _has_few_rows(problem: Problem) -> bool:
    """Whether rows of Z are smaller roots than triangles, of blocks that are wide."""
    if not has_few_directions(problem) or not isinstance(problem.products, RowProducts):
        return False
    group = problem.groups[0]
    return bool(2 * np.bincount(group.codes).max() <= group.size)


def _sweep(levels: Levels, lam: Matrix) -> Sweep:
    half = lam.T @ levels.R
    omega = multiply_turned(half, half)
    for a in range(len(omega)):
        omega[a, a] += 1.0
    M, logdets = invert(omega)
    return M, levels.times(M, levels.S), float(levels.counts @ logdets)


def _sums(levels: Levels, M: Matrix, MS: Matrix, half: Matrix) -> tuple[Matrix, ...]:
    """Sums over levels that derivatives are made of, given M, M S and L^-1.

    Of F_i, (k, k); of ``e_s e_t'`` over columns of E_i, (t, k, t, k); ``tr(F E_ab F E_cd)``; and
    ``w'F w`` for ``w = E_ab e``, summed over the columns e of E in X, and for its last one.
    """
    t, k, rows = MS.shape
    F = einsum("bam,bcm->acm", levels.R, einsum("abm,bcm->acm", M, levels.R))
    RMS = levels.times(levels.R.swapaxes(0, 1), MS)
    E = (half @ RMS.reshape(t, -1)).reshape(t, k, rows)
    spread = levels.spread(F)
    XX = einsum("sam,sbm->abm", E[:-1], E[:-1])
    vv = E[-1, :, None] * E[-1]
    trace = level_traces(F, levels.counts)
    return F @ levels.counts, squares(E), trace, _forms(spread, XX), _forms(spread, vv)


def _forms(F: Matrix, V: Matrix) -> Matrix:
    """Sum over levels of ``w'F w`` for ``w = E_ab v`` (k^2, k^2), for F and ``V = v v'``."""
    k = len(F)
    products = F.reshape(k * k, -1) @ V.reshape(k * k, -1).T
    return products.reshape(k, k, k, k).transpose(0, 2, 1, 3).reshape(k * k, k * k)
