"""Second derivatives of log determinants by differences, where a solver has no exact ones.

Gamma* is moved by multiples of positive semidefinite matrices only, so that the steps exist on the
boundary too; all other directions follow from them by linearity.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lmm._lapack import eigh, lower_triangular
from lmm._types import Matrix, Vector
from lmm.covariance import Covariance, Filled
from lmm.pls import PLS, Factors, stacked

# Step in an entry of Gamma* + FLOOR for the derivative of the gradient, relative to its scale.
STEP = 5e-4
FLOOR = 1e-2
# Eigenvalues of a direction below this fraction of the largest are rounding errors.
NEGLIGIBLE = 1e-12


def differenced_trace(
    pls: PLS, reml: bool, factors: Factors, units: Matrix, logdet: Vector
) -> Matrix:
    """``tr(F U_a F U_b)`` (e, e) by second-order differences of the exact ``tr(F U)``.

    Parameters
    ----------
    pls : PLS
        The problem.
    reml : bool
        Whether fixed effects are taken out.
    factors : tuple of (k_i, k_i) arrays
        Whitened factors.
    units : (e, K) array
        Directions U.
    logdet : (e,) array
        ``tr(F U)`` at the factors.
    """
    moves, slopes = [], []
    for i, root in _semidefinite(pls, factors, units):
        # What is left of the variance along a direction, given all others, sets the scale.
        gamma = factors[i] @ factors[i].T + FLOOR * np.eye(len(root))
        step = STEP / float(np.vdot(root, np.linalg.solve(gamma, root)))
        ahead = []
        for distance in (step, 2.0 * step):
            moved = lower_triangular(np.hstack([factors[i], np.sqrt(distance) * root]))
            there = pls.at((*factors[:i], moved, *factors[i + 1 :])).derivatives(reml)
            ahead.append(units @ stacked(there.logdet))
        slopes.append((4.0 * ahead[0] - ahead[1] - 3.0 * logdet) / (2.0 * step))
        blocks = [np.zeros_like(factor) for factor in factors]
        blocks[i] = root @ root.T
        moves.append(stacked(tuple(blocks)))
    # units = mixing @ moves in the space of symmetric matrices
    mixing = units @ np.linalg.pinv(np.array(moves))
    trace = -mixing @ np.array(slopes)
    return np.asarray(0.5 * (trace + trace.T))


def _semidefinite(pls: PLS, factors: Factors, units: Matrix) -> Iterator[tuple[int, Matrix]]:
    """Terms with roots (k, r) of matrices that span the units."""
    columns, rows = 0, 0
    for i, term in enumerate(pls.problem.matrices.terms):
        k, e = term.size, term.covariance.n_units
        own = units[rows : rows + e, columns : columns + k * k].reshape(e, k, k)
        yield from ((i, root) for root in _roots(term.covariance, own))
        columns, rows = columns + k * k, rows + e


def _roots(covariance: Covariance, units: Matrix) -> Iterator[Matrix]:
    """Columns d of ``d d'``, which is E_ii or has E_ij + E_ji in it; else both parts of a unit."""
    if isinstance(covariance, Filled):
        identity = np.eye(covariance.size)
        for i, j in zip(*covariance.positions, strict=True):
            yield identity[:, [i]] if i == j else identity[:, [i]] + identity[:, [j]]
        return
    for unit in units:
        values, vectors = eigh(unit)
        floor = NEGLIGIBLE * float(np.abs(values).max())
        for part in (values > floor, values < -floor):
            if part.any():
                yield vectors[:, part] * np.sqrt(np.abs(values[part]))
