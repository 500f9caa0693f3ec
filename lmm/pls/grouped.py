"""One grouping factor: every level is eliminated in closed form, second derivatives are exact.

For level i with ``A_i = Z_i'Z_i`` and ``C_i = Z_i'[X y]`` let ``R_i'R_i = A_i`` with R_i upper
triangular, and ``R_i'S_i = C_i``: S_i is the part of [X y] that the columns of Z_i explain. With
``Gamma = lambda lambda'``, everything follows from ``M_i = (I + R_i Gamma R_i')^-1``:

* ``log|V| = -sum_i log|M_i|``;
* ``[X y]'V^-1[X y] = W + sum_i S_i'M_i S_i``, where W is what is left within levels. Its Cholesky
  factor has ``RX`` in its leading part and ``sqrt(pwrss)`` as its last pivot. All terms are
  positive: none cancels another, however large Gamma is;
* ``F_i = Z_i'V_i^-1 Z_i = R_i'M_i R_i`` and ``D_i = Z_i'V_i^-1 [X y] = R_i'M_i S_i``.

Where a level has fewer rows than columns, R_i may be Z_i itself, S_i the rows of [X y] and W zero.
Levels that share A_i share R_i, M_i and F_i: they are computed once per distinct A_i, and the C_i
of such a class are replaced by as few rows as span the same sum of C_i C_i'. These are equations
1-5 of docs/theory/blocks.md. After construction nothing depends on the number of rows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, reduce
from operator import add
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from lmm._brief import Brief
from lmm._types import IntVector, Matrix, Vector
from lmm.pls.along import AlongUnits, SweptLevels
from lmm.pls.base import Blocks, Derivatives, Factors, FullDerivatives, PLSSolution, PLSTerms
from lmm.pls.border import Bordered
from lmm.pls.groups import Group
from lmm.pls.kernels import invert, multiply_turned
from lmm.pls.levels import Levels, backward, by_rows, chunks, forward, root
from lmm.pls.problem import Problem
from lmm.pls.products import RowProducts

if TYPE_CHECKING:
    from typing import Self

__all__ = ["GroupedPLS", "has_few_directions"]

# Random effects this many times as large as the noise of their level's mean let W show the digits
# that it lost as a difference.
LARGE = 30.0


# What a sweep over a set of levels gives: M (d, d, m), M S (t, d, r), and the part of log|V|.
Sweep: TypeAlias = tuple[Matrix, Matrix, float]


@dataclass(frozen=True, eq=False)
class GroupedPoint(Bordered):
    """All levels eliminated at one lambda.

    Attributes
    ----------
    lam : (k, k) array
        Factor of the group.
    logdet : float
        log|V|.
    reduced : (t, t) array
        ``[X y]'V^-1[X y]``.
    kept : tuple of Sweep
        The sweeps, one per chunk; empty where they were not kept.
    """

    pls: GroupedPLS
    lam: Matrix
    logdet: float
    reduced: Matrix
    kept: tuple[Sweep, ...]

    @classmethod
    def of(cls, pls: GroupedPLS, lam: Matrix, keep: bool) -> Self:
        """Sweep over all chunks."""
        logdet, reduced, kept = 0.0, pls.left(lam).copy(), []
        for levels in pls.chunks:
            sweep = _sweep(levels, lam)
            logdet += sweep[2]
            reduced += _quadratic(levels, sweep[1])
            if keep:
                kept.append(sweep)
        return cls(pls, lam, logdet, reduced, tuple(kept))

    def _sweeps(self) -> Iterator[tuple[Levels, Sweep]]:
        sweeps = self.kept or (_sweep(levels, self.lam) for levels in self.pls.chunks)
        yield from zip(self.pls.chunks, sweeps, strict=True)

    def derivatives(self, reml: bool) -> Derivatives:
        """Values with exact first and second derivatives."""
        half = self.border.half
        if self.pls.along_units:
            return self._along_units(half, reml)
        parts = (_Sums.of(levels, M, MS, half) for levels, (M, MS, _) in self._sweeps())
        return reduce(add, parts).derivatives(self.terms, reml, self.pls.members)

    def _along_units(self, half: Matrix, reml: bool) -> AlongUnits:
        swept = []
        for levels, (M, MS, _) in self._sweeps():
            E = (half @ MS.reshape(len(MS), -1)).reshape(MS.shape)
            swept.append(SweptLevels(levels, M, E))
        return AlongUnits.of(self.terms, tuple(swept), self.pls.members, reml)

    def solution(self) -> PLSSolution:
        """Coefficients."""
        (C,) = self.pls.problem.products.couplings
        right = np.einsum("t,tbm->bm", self.border.residual, C)
        # Not Gamma Z'V^-1 (y - X beta): a large Gamma would multiply the rounding errors of it.
        b = np.einsum("abm,bm->ma", self._D, right)
        effects = tuple(b[:, part] for part in self.pls.members)
        return self.coefficients(effects)

    @cached_property
    def _D(self) -> Matrix:
        """D of each level, (k, k, l)."""
        parts = []
        for levels in self.pls.chunks:
            A = np.einsum("iam,ibm->abm", levels.R, levels.R)
            parts.append(levels.by_level(penalized_inverse(A, self.lam)[0]))
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=2)

    def solve(self, right: Blocks) -> Blocks:
        """D times columns."""
        return (np.einsum("abm,rbm->ram", self._D, right[0]),)

    @property
    def diagonal(self) -> Blocks:
        """Blocks of D of each level."""
        return (self._D,)

    def blocks(self, g: int, h: int, i: IntVector, j: IntVector) -> Matrix:
        """Blocks of D between levels: zero between two of them."""
        return np.where(i == j, self._D[:, :, i], 0.0)


@dataclass(frozen=True, eq=False)
class RowsPoint(GroupedPoint):
    """The same with rows Z_i for roots: ``D = lam (I - H'M H) lam'`` with ``H = Z_i lam``."""

    def solution(self) -> PLSSolution:
        """Coefficients."""
        ((levels, (M, _, _)),) = self._sweeps()
        right = np.einsum("t,tbm->bm", self.border.residual, levels.S)
        u = np.einsum("dkm,dem,em->km", self._half, M, right, optimize=True)
        b = (self.lam @ u).T
        return self.coefficients(tuple(b[:, part] for part in self.pls.members))

    @cached_property
    def _half(self) -> Matrix:
        """H, (d, k, l)."""
        return np.asarray(self.lam.T @ self.pls.chunks[0].R)

    def solve(self, right: Blocks) -> Blocks:
        """D times columns."""
        ((_, (M, _, _)),) = self._sweeps()
        inner = self.lam.T @ right[0]
        swept = np.einsum("dem,ekm,rkm->rdm", M, self._half, inner, optimize=True)
        return (self.lam @ (inner - np.einsum("dkm,rdm->rkm", self._half, swept)),)

    @cached_property
    def _D(self) -> Matrix:
        """D of each level, (k, k, l)."""
        identity = np.eye(len(self.lam))[:, :, None]
        (blocks,) = self.solve((np.broadcast_to(identity, (*self.lam.shape, self._levels)),))
        return blocks.transpose(1, 0, 2)

    @property
    def _levels(self) -> int:
        return self.pls.problem.groups[0].n_levels


@dataclass(frozen=True, eq=False, repr=False)
class GroupedPLS(Brief):
    """Block solver for models with a single grouping factor.

    Parameters
    ----------
    problem : Problem
        Standardized problem with one group.
    chunks : tuple of Levels
        Cross-products, in pieces that fit the cache.
    within : (t, t) array
        The part W of [X y]'[X y] that Z does not explain, as a difference.
    by_rows : bool
        Whether the roots are rows of Z.
    """

    problem: Problem
    chunks: tuple[Levels, ...]
    within: Matrix
    by_rows: bool = False

    name = "block"

    @classmethod
    def build(cls, problem: Problem) -> GroupedPLS:
        """Accumulate the cross-products of a problem."""
        if _has_few_rows(problem):
            columns = np.array([*problem.X.T, problem.y])
            rows = by_rows(problem.groups[0], columns)
            return cls(problem, (rows,), np.zeros_like(problem.base), True)
        (A,), (C,) = problem.products.grams, problem.products.couplings
        levels = tuple(chunks(A, C, collapse=not problem.is_reweighted))
        within = problem.base - sum(_quadratic(own, own.S) for own in levels)
        return cls(problem, levels, within)

    def with_response(self, y: Vector) -> GroupedPLS:
        """The same design with another response (n,)."""
        return GroupedPLS.build(self.problem.with_response(y))

    def with_problem(self, problem: Problem) -> GroupedPLS:
        """The same random effects with other columns [X y]."""
        return GroupedPLS.build(problem)

    def reweighted(self, weights: Vector, y: Vector | None = None) -> GroupedPLS:
        """The same layout with other weights (n,) and response (n,)."""
        return GroupedPLS.build(self.problem.reweighted(weights, y))

    @property
    def description(self) -> str:
        """What was chosen and why."""
        group = self.problem.groups[0]
        distinct = sum(chunk.R.shape[2] for chunk in self.chunks)
        return (
            f"block: one grouping factor, {group.n_levels} levels of {group.name} "
            f"({distinct} distinct {group.size} x {group.size} blocks) eliminated in closed form"
        )

    @property
    def dense_size(self) -> int:
        """Columns of the largest dense matrix that is factored."""
        return len(self.within)

    def at(self, factors: Factors) -> GroupedPoint:
        """Eliminate all levels at given factors."""
        lam = self.problem.groups[0].factor(factors)
        # Sweeps over many chunks are made once more when they are needed, to save memory.
        point = RowsPoint if self.by_rows else GroupedPoint
        return point.of(self, lam, keep=len(self.chunks) == 1)

    def left(self, lam: Matrix) -> Matrix:
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
    def members(self) -> tuple[slice, ...]:
        """Columns of each term."""
        by_term = dict(self.problem.groups[0].members)
        return tuple(by_term[i] for i in range(len(by_term)))

    @cached_property
    def along_units(self) -> bool:
        """Whether Gamma moves in few directions only."""
        return has_few_directions(self.problem)


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


def _quadratic(levels: Levels, MS: Matrix) -> Matrix:
    """Sum over levels of S_i'M_i S_i, (t, t)."""
    t = len(MS)
    return np.asarray(levels.S.reshape(t, -1) @ MS.reshape(t, -1).T)


def penalized_inverse(A: Matrix, lam: Matrix) -> tuple[Matrix, Vector]:
    """H (k, k, m) and log|lambda'A lambda + I| (m,)."""
    if len(lam) == 1:
        gamma = lam[0, 0] ** 2
        inverse, logdet = invert(1.0 + gamma * A)
        return gamma * inverse, logdet
    omega = np.einsum("ba,bcm->acm", lam, lam.T @ A)
    for a in range(len(lam)):
        omega[a, a] += 1.0
    inverse, logdet = invert(omega)
    half = np.einsum("ab,bcm->acm", lam, inverse)
    return lam @ half, logdet


def identity_minus(A: Matrix, H: Matrix) -> Matrix:
    """N = I - A H, (k, k, m)."""
    if len(A) == 1:
        return 1.0 - A * H
    N: Matrix = -np.einsum("abm,bcm->acm", A, H)
    for a in range(len(N)):
        N[a, a] += 1.0
    return N


@dataclass(frozen=True, eq=False)
class _Sums:
    """Sums over levels that the derivatives are made of. E = L^-1 D': DX and v / sqrt(pwrss)."""

    F: Matrix  # (k, k)          sum F
    EE: Matrix  # (t, k, t, k)    sum E E
    FF: Matrix  # (k, k, k, k)    sum F (x) F
    FX: Matrix  # (k, k, k, k)    sum F (x) DX DX'
    Fv: Matrix  # (k, k, k, k)    sum F (x) v v'

    @classmethod
    def of(cls, levels: Levels, M: Matrix, MS: Matrix, half: Matrix) -> _Sums:
        """Sums over one chunk, given M, M S and L^-1."""
        t, k, rows = MS.shape
        F = np.einsum("bam,bcm->acm", levels.R, np.einsum("abm,bcm->acm", M, levels.R))
        D = levels.times(levels.R.swapaxes(0, 1), MS)
        E = half @ D.reshape(t, -1)
        flat = E.reshape(t * k, rows)
        E = E.reshape(t, k, rows)
        flat_F = F.reshape(k * k, -1)
        spread = levels.spread(F).reshape(k * k, rows)
        XX = np.einsum("sam,sbm->abm", E[:-1], E[:-1]).reshape(k * k, rows)
        vv = (E[-1, :, None] * E[-1]).reshape(k * k, rows)
        weighted = flat_F * levels.counts
        return cls(
            (flat_F @ levels.counts).reshape(k, k),
            (flat @ flat.T).reshape(t, k, t, k),
            (weighted @ flat_F.T).reshape(k, k, k, k),
            (spread @ XX.T).reshape(k, k, k, k),
            (spread @ vv.T).reshape(k, k, k, k),
        )

    def __add__(self, other: _Sums) -> _Sums:
        return _Sums(
            *(
                getattr(self, field.name) + getattr(other, field.name)
                for field in dataclasses.fields(self)
            )
        )

    def derivatives(self, terms: PLSTerms, reml: bool, parts: tuple[slice, ...]) -> FullDerivatives:
        """Put the sums together; directions (a, b) of Gamma, restricted to the terms' blocks."""
        k, p = len(self.F), len(self.EE) - 1
        EXX = self.EE[:p, :, :p, :]
        U = self.EE[p, :, :p, :].transpose(2, 0, 1).reshape(k * k, p)  # sum DX_a v_b
        logdet, quadratic = self.F, self.EE[p, :, p, :]
        average = self.Fv.transpose(0, 2, 1, 3).reshape(k * k, k * k) - U @ U.T
        trace = self.FF.transpose(3, 0, 1, 2)
        if reml:
            logdet = logdet - np.einsum("sasb->ab", EXX)
            left = EXX.transpose(3, 1, 0, 2).reshape(k * k, p * p)
            right = EXX.transpose(1, 3, 0, 2).reshape(k * k, p * p)
            trace = trace - self.FX.transpose(3, 0, 1, 2) - self.FX.transpose(1, 2, 3, 0)
            trace = trace + (left @ right.T).reshape(k, k, k, k)
        trace = trace.reshape(k * k, k * k)
        if len(parts) == 1:
            return FullDerivatives(terms, (logdet,), (quadratic,), average, trace, trace)
        index = np.arange(k * k).reshape(k, k)
        chosen = np.concatenate([index[part, part].ravel() for part in parts])
        pick = np.ix_(chosen, chosen)
        trace = trace[pick]
        return FullDerivatives(
            terms,
            tuple(logdet[part, part] for part in parts),
            tuple(quadratic[part, part] for part in parts),
            average[pick],
            trace,
            trace,
        )


def directions(v: Matrix) -> Matrix:
    """E_ab v for all (a, b), row by row: (k * k, k, l) from v (k, l)."""
    k, n_levels = v.shape
    W = np.zeros((k, k, k, n_levels))
    for a in range(k):
        W[a, :, a, :] = v
    return W.reshape(k * k, k, n_levels)


def per_term(
    terms: PLSTerms,
    groups: tuple[Group, ...],
    sums: list[Matrix],
    effects: list[Matrix],
    average: Matrix,
    scoring: Matrix,
    reml: bool,
    exact: bool = False,
) -> FullDerivatives:
    """Derivatives of several groups, restricted to the blocks of their terms in the terms' order.

    Parameters
    ----------
    terms : PLSTerms
        The values.
    groups : tuple of Group
        Groups of G columns each.
    sums : list of (k, k) arrays
        Sums over levels of the diagonal blocks of Z'V^-1 Z.
    effects : list of (t, k, l) arrays
        E = Z'V^-1 [X y] L^-T per group.
    average, scoring : (K, K) arrays
        Over the directions (a, b) of all groups, K = sum of k^2.
    reml : bool
        Whether the log determinant includes that of X'V^-1 X.
    exact : bool
        Whether `scoring` is the exact trace.
    """
    logdet, quadratic, chosen = {}, {}, {}
    start = 0
    for group, F, E in zip(groups, sums, effects, strict=True):
        k = group.size
        if reml:
            F = F - np.einsum("sam,sbm->ab", E[:-1], E[:-1])
        q = E[-1] @ E[-1].T
        index = start + np.arange(k * k).reshape(k, k)
        start += k * k
        for i, part in group.members:
            logdet[i], quadratic[i] = F[part, part], q[part, part]
            chosen[i] = index[part, part].ravel()
    order = range(len(chosen))
    pick = np.concatenate([chosen[i] for i in order])
    scoring = scoring[np.ix_(pick, pick)]
    return FullDerivatives(
        terms,
        tuple(logdet[i] for i in order),
        tuple(quadratic[i] for i in order),
        average[np.ix_(pick, pick)],
        scoring,
        scoring if exact else None,
    )
