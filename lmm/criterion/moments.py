"""Starting values by the method of moments, one grouping factor at a time (Henderson 1953).

For the standardized response y and one factor, ``c_i = Z_i'y`` has expectation zero and covariance
``A_i Psi A_i + s^2 A_i`` with ``A_i = Z_i'Z_i``, where Psi is the covariance of the random effects
and s^2 the variance within levels. The latter is estimated by what a regression within each level
leaves; then

    sum_i A_i Psi A_i = sum_i c_i c_i' - s^2 sum_i A_i                                         (1)

is a linear system for those entries of Psi that the terms have, or for wide structured terms for
the steps that Psi can take from generic parameters. Variances that come out negative
are zero, and the others those without them. Other factors and the fixed effects are ignored: for
balanced data the result is the optimum all the same, elsewhere it is close. It costs O(n) once.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lmm._lapack import solve_positive
from lmm._types import Matrix, Vector
from lmm.covariance import Covariance, Filled, ScaledIdentity, diagonal, unstructured
from lmm.pls.groups import Group
from lmm.pls.kernels import invert, multiply_turned
from lmm.pls.levels import by_rows
from lmm.pls.problem import Problem

__all__ = ["moment_start"]

# Least share of the variance that is left to the residuals.
RESIDUAL = 0.1
# Columns up to which all entries of Psi are estimated.
FEW = 8


def moment_start(problem: Problem) -> Vector:
    """Whitened coordinates (m,) of the moment estimates."""
    estimates = [_estimated(problem, g) for g in range(len(problem.groups))]
    residual = _residual_variance(problem, estimates)
    x = np.empty(len(problem.matrices.lower))
    for group, (psi, _) in zip(problem.groups, estimates, strict=True):
        for i, part in group.members:
            covariance = problem.matrices.terms[i].covariance
            gamma = psi[part, part] / residual
            x[problem.matrices.theta_slices[i]] = covariance.nearest(gamma)
    return x


def _estimated(problem: Problem, g: int) -> tuple[Matrix, float]:
    """Psi of (1), (k, k), and the variance within levels."""
    group, products = problem.groups[g], problem.products
    covariances = (problem.matrices.terms[i].covariance for i, _ in group.members)
    if group.size > FEW and sum(covariance.n_units for covariance in covariances) < group.size:
        return _along_units(problem, group)
    return _moments(problem, group, products.grams[g], products.couplings[g][-1])


def _along_units(problem: Problem, group: Group) -> tuple[Matrix, float]:
    """Psi among the units at generic parameters, from roots R_i of A_i, rows of Z among them."""
    levels = by_rows(group, problem.y[None])
    R, s = levels.R, levels.S[0]
    K = multiply_turned(R, R)
    ridge = 1e-9 * float(np.einsum("aam->", K)) / K.shape[2]
    inverse, _ = invert(K + ridge * np.eye(len(K))[:, :, None])
    explained = (np.einsum("abm,bm->am", block, s) for block in (K, inverse))
    between = float(np.vdot(next(explained), next(explained)))
    within = max(problem.squares - between, 1e-3 * problem.squares)
    within = min(within / max(problem.n - group.q, 1), problem.squares / problem.n)
    blocks = list(_generic_blocks(problem, group))
    B = np.array([multiply_turned(R, block @ R) for block in blocks])
    flat = B.reshape(len(B), -1)
    system = flat @ flat.T
    right = np.einsum("aijm,jm->aim", B, s).reshape(len(B), -1) @ s.ravel()
    right = right - within * np.einsum("aiim->a", B)
    entries = np.linalg.lstsq(system, right, rcond=1e-9)[0]
    psi = np.tensordot(entries, np.array(blocks), 1)
    return (psi if psi.diagonal().min() >= 0.0 else np.zeros_like(psi)), within


def _generic_blocks(problem: Problem, group: Group) -> Iterator[Matrix]:
    """Units (k, k) of the terms of a factor, over its columns."""
    for i, part in group.members:
        covariance = problem.matrices.terms[i].covariance
        for unit in covariance.units(covariance.generic):
            block = np.zeros((group.size, group.size))
            block[part, part] = unit
            yield block


def _moments(problem: Problem, group: Group, A: Matrix, c: Matrix) -> tuple[Matrix, float]:
    """Psi of (1), (k, k), and the variance within levels, from A (k, k, l) and c (k, l)."""
    k = group.size
    # c_i lies in the range of A_i, so a ridge far below its size makes singular blocks harmless.
    ridge = 1e-9 * float(np.einsum("aam->", A)) / A.shape[2]
    inverse, _ = invert(A + ridge * np.eye(k)[:, :, None])
    total = problem.squares
    between = float(np.vdot(c, np.einsum("abm,bm->am", inverse, c)))
    within = max(total - between, 1e-3 * total) / max(problem.n - group.q, 1)
    right = c @ c.T - within * A.sum(axis=2)
    flat = A.reshape(k * k, -1)
    # sum_i A_i (x) A_i, from the products of its entries
    products = (flat @ flat.T).reshape(k, k, k, k).transpose(0, 2, 1, 3).reshape(k * k, k * k)
    psi = _solved(products, right, _units(problem, group))
    return psi, min(within, total / problem.n)


def _units(problem: Problem, group: Group) -> Matrix:
    """Symmetric matrices (e, k, k), each with 1 where an entry of the group's terms varies."""
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


def _solved(products: Matrix, right: Matrix, units: Matrix) -> Matrix:
    """Psi (k, k) of (1) among the units, without those of columns whose variance is negative."""
    while len(units):
        flat = units.reshape(len(units), -1)
        system = flat @ products @ flat.T
        # Another ridge, for covariances that no level tells of.
        system.flat[:: len(units) + 1] += 1e-9 * system.trace()
        entries = solve_positive(system, flat @ right.ravel())
        psi = (entries @ flat).reshape(right.shape)
        least = int(psi.diagonal().argmin())
        if psi[least, least] >= 0.0:
            return psi
        units = units[~units[:, least].any(axis=1)]
    return np.zeros_like(right)


def _residual_variance(problem: Problem, estimates: list[tuple[Matrix, float]]) -> float:
    """Variance within levels of a single factor; with several, what all of them leave."""
    if len(estimates) == 1:
        return estimates[0][1]
    total = problem.squares / problem.n
    explained = sum(
        float(np.vdot(A.sum(axis=2), psi))
        for A, (psi, _) in zip(problem.products.grams, estimates, strict=True)
    )
    return max(total - explained / problem.n, RESIDUAL * total)
