"""One grouping factor: every level is eliminated in closed form, second derivatives are exact.

For level i with ``A_i = Z_i'Z_i`` and ``C_i = Z_i'[X y]`` let ``R_i'R_i = A_i`` with R_i upper
triangular, and ``R_i'S_i = C_i``: S_i is the part of [X y] that the columns of Z_i explain. With
``Gamma = lambda lambda'``, everything follows from ``M_i = (I + R_i Gamma R_i')^-1``:

* ``log|V| = -sum_i log|M_i|``;
* ``[X y]'V^-1[X y] = W + sum_i S_i'M_i S_i``, where W is what is left within levels. Its Cholesky
  factor has ``RX`` in its leading part and ``sqrt(pwrss)`` as its last pivot. All terms are
  positive: none cancels another, however large Gamma is;
* ``F_i = Z_i'V_i^-1 Z_i = R_i'M_i R_i`` and ``D_i = Z_i'V_i^-1 [X y] = R_i'M_i S_i``.

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
from typing import TypeAlias

import numpy as np

from lmm._brief import Brief
from lmm._types import IntVector, Matrix, Vector
from lmm.pls.base import Blocks, Derivatives, Factors, PLSSolution, PLSTerms
from lmm.pls.border import Bordered
from lmm.pls.groups import Group
from lmm.pls.kernels import invert
from lmm.pls.problem import Problem
from lmm.pls.products import RowProducts

__all__ = ["GroupedPLS"]

# Levels per chunk: the working set of a chunk stays in the cache.
CHUNK = 16384
# Levels from which equal blocks are looked for.
COLLAPSIBLE = 256
# A column of Z_i with less than this share of its square left, after the columns before it, depends
# on them.
DEPENDENT = 1e-13
# Random effects this many times as large as the noise of their level's mean let W show the digits
# that it lost as a difference.
LARGE = 30.0


@dataclass(frozen=True, eq=False)
class Levels:
    """Cross-products of a set of levels, struct of arrays.

    Attributes
    ----------
    R : (k, k, m) array
        Upper-triangular roots of the distinct blocks Z_i'Z_i.
    counts : (m,) array
        How many levels share each.
    S : (t, k, r) array
        Rows of [X y]'Z_i R_i^-1, t = p + 1.
    classes : (r,) int array or None
        Block of each row of S; None when rows and blocks correspond one to one.
    members : (l,) int array or None
        Block of each level; None when they correspond one to one.
    """

    R: Matrix
    counts: Vector
    S: Matrix
    classes: IntVector | None = None
    members: IntVector | None = None

    def spread(self, blocks: Matrix) -> Matrix:
        """Blocks (k, k, m) repeated for the rows of S, (k, k, r)."""
        return blocks if self.classes is None else blocks[:, :, self.classes]

    def by_level(self, blocks: Matrix) -> Matrix:
        """Blocks (k, k, m) repeated for the levels, (k, k, l)."""
        return blocks if self.members is None else blocks[:, :, self.members]


# What a sweep over a set of levels gives: M (k, k, m), M S (t, k, r), and the part of log|V|.
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
    def of(cls, pls: GroupedPLS, lam: Matrix, keep: bool) -> GroupedPoint:
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
        parts = (_Sums.of(levels, M, MS, half) for levels, (M, MS, _) in self._sweeps())
        return reduce(add, parts).derivatives(self.terms, reml, self.pls.members)

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
    """

    problem: Problem
    chunks: tuple[Levels, ...]
    within: Matrix

    name = "block"

    @classmethod
    def build(cls, problem: Problem) -> GroupedPLS:
        """Accumulate the cross-products of a problem."""
        (A,), (C,) = problem.products.grams, problem.products.couplings
        chunks = tuple(_chunks(A, C, collapse=not problem.is_reweighted))
        within = problem.base - sum(_quadratic(levels, levels.S) for levels in chunks)
        return cls(problem, chunks, within)

    def with_response(self, y: Vector) -> GroupedPLS:
        """The same design with another response (n,)."""
        return GroupedPLS.build(self.problem.with_response(y))

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
        return GroupedPoint.of(self, lam, keep=len(self.chunks) == 1)

    def left(self, lam: Matrix) -> Matrix:
        """W (t, t), with all the digits that count at this factor (k, k) where there are rows."""
        large = np.abs(lam).max() > LARGE and isinstance(self.problem.products, RowProducts)
        return self._residuals_within if large else self.within

    @cached_property
    def _residuals_within(self) -> Matrix:
        """W (t, t) from the residuals of [X y], regressed on Z level by level: O(n), once."""
        rows, group = self.problem.rows, self.problem.groups[0]
        R = root(rows.grams[0])
        coefficients = backward(R, forward(R, rows.couplings[0]))
        left = np.array([*rows.X.T, rows.y])
        # Entry by entry: temporaries as large as Z would dominate the memory of a fit.
        for column, effects in zip(left, coefficients, strict=True):
            for Z, effect in zip(group.Z.T, effects, strict=True):
                column -= Z * effect[group.codes]
        return np.asarray(left @ left.T)

    @cached_property
    def members(self) -> tuple[slice, ...]:
        """Columns of each term."""
        by_term = dict(self.problem.groups[0].members)
        return tuple(by_term[i] for i in range(len(by_term)))


def _chunks(A: Matrix, C: Matrix, collapse: bool) -> Iterator[Levels]:
    """Cut into chunks; collapse levels with bitwise equal blocks where that may pay."""
    k, _, n_levels = A.shape
    rows = A.reshape(k * k, n_levels).T
    # A look at the first levels tells whether the full search can pay; for a few levels an
    # evaluation costs its array calls, whatever their number.
    sample = _classes(rows[:256]) if collapse and n_levels >= COLLAPSIBLE else np.arange(n_levels)
    if 4 * (sample.max() + 1) <= len(sample):
        classes = _classes(rows)
        counts = np.bincount(classes)
        if 4 * len(counts) <= n_levels:
            _, first = np.unique(classes, return_index=True)
            yield _collapse(root(A[:, :, first]), classes, counts, C)
            return
    for start in range(0, n_levels, CHUNK):
        part = slice(start, start + CHUNK)
        R = root(A[:, :, part])
        yield Levels(R, np.ones(R.shape[2]), forward(R, C[:, :, part]))


def _classes(rows: Matrix) -> IntVector:
    """Number rows (m, k k) so that bitwise equal ones share a number, (m,)."""
    numbers: dict[bytes, int] = {}
    return np.array([numbers.setdefault(row.tobytes(), len(numbers)) for row in rows])


def _collapse(R: Matrix, classes: IntVector, counts: IntVector, C: Matrix) -> Levels:
    """Replace each class's C_i by at most t k rows with the same sum of outer products."""
    t, k, _ = C.shape
    pieces, owners = [], []
    order = np.argsort(classes, kind="stable")
    for c, members in enumerate(np.split(order, np.cumsum(counts)[:-1])):
        block = C[:, :, members].reshape(t * k, -1)
        if block.shape[1] > t * k:
            block = np.asarray(np.linalg.qr(block.T, mode="r")).T
        pieces.append(block)
        owners.append(np.full(block.shape[1], c))
    owner = np.concatenate(owners)
    S = forward(R[:, :, owner], np.hstack(pieces).reshape(t, k, -1))
    return Levels(R, counts.astype(float), S, owner, classes)


def root(A: Matrix) -> Matrix:
    """Upper-triangular R (k, k, m) with R'R = A; rows of dependent columns are zero."""
    R = np.zeros(A.shape)
    for j in range(len(A)):
        row = A[j, j:]
        if j:
            row = row - np.einsum("im,ibm->bm", R[:j, j], R[:j, j:])
        known = row[0] > DEPENDENT * A[j, j]
        R[j, j:] = row * np.where(known, 1.0 / np.sqrt(np.where(known, row[0], 1.0)), 0.0)
    return R


def forward(R: Matrix, C: Matrix) -> Matrix:
    """S (t, k, m) with R'S = C, for C (t, k, m); zero where R has a row of zeros."""
    S = np.empty(C.shape)
    for j in range(len(R)):
        pivot = R[j, j]
        rest = C[:, j]
        if j:
            rest = rest - np.einsum("im,tim->tm", R[:j, j], S[:, :j])
        S[:, j] = rest * np.where(pivot > 0.0, 1.0 / np.where(pivot > 0.0, pivot, 1.0), 0.0)
    return S


def backward(R: Matrix, S: Matrix) -> Matrix:
    """B (t, k, m) with R B = S, for S (t, k, m); zero where R has a row of zeros."""
    B = np.empty(S.shape)
    for j in reversed(range(len(R))):
        pivot = R[j, j]
        rest = S[:, j] - np.einsum("im,tim->tm", R[j, j + 1 :], B[:, j + 1 :])
        B[:, j] = rest * np.where(pivot > 0.0, 1.0 / np.where(pivot > 0.0, pivot, 1.0), 0.0)
    return B


def _sweep(levels: Levels, lam: Matrix) -> Sweep:
    half = lam.T @ levels.R
    omega = np.einsum("acm,bcm->abm", half, half)
    for a in range(len(lam)):
        omega[a, a] += 1.0
    M, logdets = invert(omega)
    MS = np.einsum("abm,tbm->tam", levels.spread(M), levels.S)
    return M, MS, float(levels.counts @ logdets)


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
        D = np.einsum("bam,tbm->tam", levels.spread(levels.R), MS)
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

    def derivatives(self, terms: PLSTerms, reml: bool, parts: tuple[slice, ...]) -> Derivatives:
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
            return Derivatives(terms, (logdet,), (quadratic,), average, trace, trace)
        index = np.arange(k * k).reshape(k, k)
        chosen = np.concatenate([index[part, part].ravel() for part in parts])
        pick = np.ix_(chosen, chosen)
        trace = trace[pick]
        return Derivatives(
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
) -> Derivatives:
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
    return Derivatives(
        terms,
        tuple(logdet[i] for i in order),
        tuple(quadratic[i] for i in order),
        average[np.ix_(pick, pick)],
        scoring,
        scoring if exact else None,
    )
