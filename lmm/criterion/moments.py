"""Starting values by the method of moments (Henderson 1953), exact for balanced data.

For the standardized response y let ``c_i = Z_i'y`` be of level i of a grouping factor, and
``F_ij = Z_i'P Z_j`` between levels of any two, with ``P = 1 - X X'`` for REML and 1 for ML. Then

    E sum_i c_i c_i' = sum_ij F_ij Psi_j F_ji + s^2 sum_i F_ii                                 (1)

with i over the levels of one factor and j over those of all factors, Psi_j the covariance of j's
random effects, and s^2 the residual variance. This is linear in those entries of Psi that the terms
have. The s^2 of a single factor is what regressions within its levels leave; for several factors

    E y'y = sum_j tr(F_jj Psi_j) + s^2 tr(P)                                                   (2)

is another equation. Variances that come out negative are zero, and the others those without them.
For balanced data these equations are those of the likelihood. They cost O(n) once.

For wide structured terms of a single factor Psi is a combination of the steps that it can take from
generic parameters, and P is 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

import numpy as np

from lmm._lapack import einsum, solve_positive
from lmm._types import Matrix, Vector
from lmm.covariance import Covariance, Filled, ScaledIdentity, diagonal, unstructured
from lmm.pls.effect_columns import FEW
from lmm.pls.groups import Group
from lmm.pls.kernels import invert, multiply_turned
from lmm.pls.levels import by_rows
from lmm.pls.problem import Problem

# Least share of the variance that is left to the residuals, of one and of several factors.
WITHIN, RESIDUAL = 1e-3, 0.01
# Columns up to which all entries of Psi are estimated.
NARROW = 8
# What is added to matrices that may be singular, relative to their size.
RIDGE = 1e-13


def moment_start(problem: Problem, reml: bool) -> Vector:
    """Whitened coordinates (m,) of the moment estimates.

    Parameters
    ----------
    problem : Problem
        The standardized problem.
    reml : bool
        Whether they are those of REML, or of ML.
    """
    groups = problem.groups
    if len(groups) == 1 and _is_wide(problem, groups[0]):
        psis, residual = _along_units(problem, groups[0])
    else:
        psis, residual = _jointly(problem, reml)
    x = np.empty(len(problem.matrices.lower))
    for group, psi in zip(groups, psis, strict=True):
        for i, part in group.members:
            covariance = problem.matrices.terms[i].covariance
            x[problem.matrices.theta_slices[i]] = covariance.nearest(psi[part, part] / residual)
    return x


def _is_wide(problem: Problem, group: Group) -> bool:
    """Whether the covariances of a factor's many columns have fewer units than columns."""
    covariances = (problem.matrices.terms[i].covariance for i, _ in group.members)
    return group.size > NARROW and sum(each.n_units for each in covariances) < group.size


def _jointly(problem: Problem, reml: bool) -> tuple[list[Matrix], float]:
    """Psi of each factor, (k, k), and s^2, from (1) and (2)."""
    units = [_units(problem, group) for group in problem.groups]
    parts = [slice(*span) for span in pairwise(accumulate(map(len, units), initial=0))]
    T, right = _equations(problem, units, parts, reml)
    within = _within(problem, reml) if len(units) == 1 else None
    chosen, entries = np.arange(len(T)), np.zeros(len(T))
    while True:
        # Without s^2, and what s^2 takes away.
        plain, taken = solve_positive(T, right).T
        residual = _residual(problem, reml, right[:, 1], plain, taken) if within is None else within
        entries[:] = 0.0
        entries[chosen] = plain - residual * taken
        psis: list[Matrix] = [
            (entries[part] @ own.reshape(len(own), -1)).reshape(own.shape[1:])
            for part, own in zip(parts, units, strict=True)
        ]
        least = [float(psi.diagonal().min()) for psi in psis]
        if min(least) >= 0.0:
            return psis, residual
        g = least.index(min(least))
        kept = np.ones(len(entries), dtype=np.bool_)
        kept[parts[g]] = ~units[g][:, psis[g].diagonal().argmin()].any(axis=1)
        still = kept[chosen]
        T, right, chosen = T[still][:, still], right[still], chosen[still]


def _residual(problem: Problem, reml: bool, F: Vector, plain: Vector, taken: Vector) -> float:
    """The s^2 (2) of several factors, given what s^2 multiplies in (1) and its solutions (e,)."""
    left = problem.n - reml * problem.p - float(F @ taken)
    total = problem.squares / problem.n
    residual = (problem.squares - float(F @ plain)) / max(left, 1.0)
    return min(max(residual, RESIDUAL * total), 2.0 * total)


def _equations(
    problem: Problem, units: Sequence[Matrix], parts: Sequence[slice], reml: bool
) -> tuple[Matrix, Matrix]:
    """What multiplies the entries (e,) of all Psi in (1), (e, e); its left side, and s^2's, (e, 2).

    The former with a ridge, for covariances such that no level tells of them.
    """
    several = len(units) > 1 and problem.matrices.q <= FEW
    sums = (_dense_sums if several else _sums)(problem, problem.p * reml)
    flats, e = [own.reshape(len(own), -1) for own in units], parts[-1].stop
    T, right = np.empty((e, e)), np.empty((e, 2))
    for g, own in enumerate(flats):
        right[parts[g], 0] = own @ sums.squares[g].ravel()
        right[parts[g], 1] = own @ sums.F[g].ravel()
        for h in range(g + 1):
            block = own @ sums.trace(g, h) @ flats[h].T
            T[parts[g], parts[h]], T[parts[h], parts[g]] = block, block.T
    T.ravel()[:: e + 1] += RIDGE * sums.size
    return T, right


class MomentSums(NamedTuple):
    """MomentSums over levels that (1) is made of.

    Of ``c_i c_i'`` and ``F_ii``, (k, k) per factor; of ``F_ij[a, c] F_ij[b, d]`` of two factors,
    (k k, j j); and of the squares of ``Z_i'Z_i``.
    """

    squares: Sequence[Matrix]
    F: Sequence[Matrix]
    trace: Callable[[int, int], Matrix]
    size: float


def _dense_sums(problem: Problem, p: int) -> MomentSums:
    """The same of few random effects, given the number of X's columns in P."""
    products, columns = problem.products, problem.products.columns
    (q, _), whole = products.whole.shape, products.whole
    A, B, c = whole[:, :q], whole[:, q : q + p], whole[:, -1:]
    F = A - B @ B.T if p else A
    squares = [own[0] @ own[0].T for own in columns.by_level(c)]
    T, entries, own = columns.trace(F), columns.entries, A.diagonal()
    return MomentSums(
        squares, columns.sums(F), lambda g, h: T[entries[g], entries[h]], float(own @ own)
    )


def _sums(problem: Problem, p: int) -> MomentSums:
    """The same from the pairs of levels that meet."""
    products = problem.products
    B = [C[:p] for C in products.couplings]
    among = list(map(_squares, B))

    def trace(g: int, h: int) -> Matrix:
        if h == g:
            met = _met(products.grams[g], B[g], B[g])
        else:
            pairs = products.pairs(h, g)
            met = _met(pairs.A.transpose(1, 0, 2), B[g][:, :, pairs.j], B[h][:, :, pairs.i])
        return met + among[g] @ among[h].T

    own = (einsum("pam,pbm->ab", each, each) for each in B)
    F = [A.sum(axis=2) - fixed for A, fixed in zip(products.grams, own, strict=True)]
    squares = [C[-1] @ C[-1].T for C in products.couplings]
    return MomentSums(squares, F, trace, sum(float(np.vdot(A, A)) for A in products.grams))


def _met(A: Matrix, B: Matrix, C: Matrix) -> Matrix:
    """What pairs of levels that meet add to the sum over all of ``F[a, c] F[b, d]``, (k k, j j).

    With A (k, j, m) of each, B (p, k, m) and C (p, j, m): ``F = A - B'C``, of which the sum over
    all pairs is that of ``B'C`` alone, by `_squares`, and this.
    """
    k, j, m = A.shape
    flat = A.reshape(k * j, m)
    mixed = flat @ einsum("pam,pcm->acm", B, C).reshape(k * j, m).T
    met: Matrix = flat @ flat.T - mixed - mixed.T
    return met.reshape(k, j, k, j).transpose(0, 2, 1, 3).reshape(k * k, j * j)


def _squares(B: Matrix) -> Matrix:
    """MomentSums over levels of ``B[p, a] B[q, b]``, (k k, p p), for B (p, k, l)."""
    p, k, n_levels = B.shape
    flat = B.reshape(p * k, n_levels)
    return (flat @ flat.T).reshape(p, k, p, k).transpose(1, 3, 0, 2).reshape(k * k, p * p)


def _within(problem: Problem, reml: bool) -> float:
    """Variance that regressions within the levels of a single factor leave."""
    total, within = problem.squares, problem.within
    # The fixed effects' part that is not between levels has its degrees of freedom.
    nu = max(problem.n - problem.groups[0].q - reml * within[:-1, :-1].trace(), 1.0)
    return float(min(max(within[-1, -1], WITHIN * total) / nu, total / problem.n))


def _along_units(problem: Problem, group: Group) -> tuple[list[Matrix], float]:
    """Psi among the units at generic parameters, from roots R_i of A_i, rows of Z among them."""
    levels = by_rows(group, problem.y[None])
    R, s = levels.R, levels.S[0]
    K = multiply_turned(R, R)
    ridge = 1e-9 * float(einsum("aam->", K)) / K.shape[2]
    inverse, _ = invert(K + ridge * np.eye(len(K))[:, :, None])
    explained = (einsum("abm,bm->am", block, s) for block in (K, inverse))
    between = float(np.vdot(next(explained), next(explained)))
    within = max(problem.squares - between, 1e-3 * problem.squares)
    within = min(within / max(problem.n - group.q, 1), problem.squares / problem.n)
    blocks = list(_generic_blocks(problem, group))
    B = np.array([multiply_turned(R, block @ R) for block in blocks])
    flat = B.reshape(len(B), -1)
    system = flat @ flat.T
    right = einsum("aijm,jm->aim", B, s).reshape(len(B), -1) @ s.ravel()
    right = right - within * einsum("aiim->a", B)
    entries = np.linalg.lstsq(system, right, rcond=1e-9)[0]
    psi = np.tensordot(entries, np.array(blocks), 1)
    return [psi if psi.diagonal().min() >= 0.0 else np.zeros_like(psi)], within


def _generic_blocks(problem: Problem, group: Group) -> Iterator[Matrix]:
    """Units (k, k) of the terms of a factor, over its columns."""
    for i, part in group.members:
        covariance = problem.matrices.terms[i].covariance
        for unit in covariance.units(covariance.generic):
            block = np.zeros((group.size, group.size))
            block[part, part] = unit
            yield block


def _units(problem: Problem, group: Group) -> Matrix:
    """Symmetric matrices (e, k, k), each with 1 where an entry of the group's terms varies."""
    if _is_wide(problem, group):
        return np.array(list(_generic_blocks(problem, group)))
    covariances = [problem.matrices.terms[i].covariance for i, _ in group.members]
    if len(covariances) == 1:
        return _entries(covariances[0])
    units = []
    for covariance, (_, part) in zip(covariances, group.members, strict=True):
        own = _entries(covariance)
        block = np.zeros((len(own), group.size, group.size))
        block[:, part, part] = own
        units.append(block)
    return np.concatenate(units)


def _entries(covariance: Covariance) -> Matrix:
    """Symmetric matrices (e, k, k), each with 1 where an entry of a full or diagonal Psi stands."""
    if isinstance(covariance, Filled):
        return covariance.symmetric_units
    whole = diagonal if isinstance(covariance, ScaledIdentity) else unstructured
    return whole(covariance.size).symmetric_units
