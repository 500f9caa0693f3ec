"""Which covariances the data cannot tell apart: a property of the design alone.

The expected information about the entries of Gamma and the residual variance,

    I = [[T, t], [t', nu]],   T_ab = tr(F E_a F E_b),   t_a = tr(F E_a)                          (1)

has the same null space whatever Gamma is: V (REML: what X leaves of it) moves in no other way along
it. Parameters that do not fill Gamma are looked at where no correlation is zero: without any, an
effect for each row looks like a residual. At Gamma = 0, where V is the identity, it can be summed
over rows and pairs of levels without a solver,

    F = Z'Z - C C',   C = Z'X                                                                  (2)

(ML: F = Z'Z). Columns of Z are whitened, so that sizes are comparable.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lmm._lapack import eigh
from lmm._types import IntVector, Matrix, Vector
from lmm.covariance import Parameters
from lmm.pls.kernels import sum_by
from lmm.pls.problem import Problem

__all__ = ["is_suspicious", "undetermined", "undetermined_at"]

# Information about an entry, over what it would be without X, that is a rounding error.
ABSORBED = 1e-13
# Eigenvalues of the information, scaled to a unit diagonal, that are rounding errors.
NULL = 1e-12
# Share of a parameter in a null direction that counts.
SHARE = 0.1
# The same where information is looked at away from Gamma = 0, to see whether it is worth it.
NEARLY = 1e-6


def is_suspicious(parameters: Parameters, information: Matrix) -> bool:
    """Whether the information about entries of Gamma (e, e), at whatever Gamma, looks singular."""
    J = parameters.jacobian(parameters.generic)
    information = J.T @ information @ J
    diagonal = information.diagonal()
    if not np.all(diagonal > NULL * max(1.0, float(diagonal.max(initial=0.0)))):
        return True
    scale = np.sqrt(diagonal)
    values, _ = eigh(information / (scale * scale[:, None]))
    return bool(values.size and values[0] < NEARLY)


def undetermined(problem: Problem, reml: bool) -> NDArray[np.bool_]:
    """Parameters (m,) that can change together without changing the likelihood.

    Parameters
    ----------
    problem : Problem
        The design.
    reml : bool
        Whether fixed effects are taken out first.
    """
    parameters = problem.matrices.parameters
    J = parameters.jacobian(parameters.generic).T @ parameters.symmetric_units
    full = J @ _traces(problem, False) @ J.T
    trace = J @ _traces(problem, True) @ J.T if reml else full
    nu = problem.n - (problem.p if reml else 0)
    t = (J @ _first(problem, reml))[:, None]
    information = np.block([[trace, t], [t.T, np.array([[nu]])]])
    return _null(information, np.append(full.diagonal(), nu))[:-1]


def undetermined_at(parameters: Parameters, information: Matrix) -> NDArray[np.bool_]:
    """The same (m,) from the information about entries (e, e) at any Gamma; without residuals."""
    J = parameters.jacobian(parameters.generic)
    information = J.T @ information @ J
    return _null(information, np.full(len(information), information.diagonal().max(initial=0.0)))


def _null(information: Matrix, size: Vector) -> NDArray[np.bool_]:
    """Parameters in the null space of an information matrix, where `size` is no rounding error."""
    absorbed = ~(information.diagonal() > ABSORBED * size)
    scale = np.sqrt(np.where(absorbed, np.inf, information.diagonal()))
    values, vectors = eigh(information / (scale * scale[:, None]) + np.diag(1.0 * absorbed))
    null = np.abs(vectors[:, values < NULL]).max(axis=1, initial=0.0)
    return np.asarray(absorbed | (null > SHARE))


def _levels(problem: Problem) -> list[tuple[IntVector, int, Matrix, Matrix]]:
    """Codes, number of levels, columns Z (n, k) and C (k, p, l) of (2) of each term."""
    parts = []
    for term, Z in zip(problem.matrices.terms, problem.term_columns, strict=True):
        shape = term.size, problem.p, term.n_levels
        products = (Z[:, :, None] * problem.X[:, None, :]).reshape(problem.n, shape[0] * shape[1])
        C = sum_by(products.T, term.codes, term.n_levels).reshape(shape)
        parts.append((term.codes, term.n_levels, Z, C))
    return parts


def _first(problem: Problem, reml: bool) -> Vector:
    """The derivatives t (K,) of (1), entries of the terms row by row."""
    blocks = []
    for _, _, Z, C in _levels(problem):
        F = Z.T @ Z
        blocks.append((F - np.einsum("apl,bpl->ab", C, C) if reml else F).ravel())
    return np.concatenate(blocks)


def _traces(problem: Problem, reml: bool) -> Matrix:
    """T (K, K) of (1), entries of the terms row by row."""
    parts = _levels(problem)
    rows = []
    for codes, _, Z, C in parts:
        row = []
        for other_codes, n_others, other_Z, other_C in parts:
            pairs, which = np.unique(codes * np.int64(n_others) + other_codes, return_inverse=True)
            products = (Z[:, :, None] * other_Z[:, None, :]).reshape(problem.n, -1).T
            A = sum_by(products, which.ravel(), len(pairs)).reshape(Z.shape[1], -1, len(pairs))
            T = np.einsum("stm,rum->rstu", A, A)
            if reml:
                here, there = C[:, :, pairs // n_others], other_C[:, :, pairs % n_others]
                T = T - 2.0 * np.einsum("stm,rpm,upm->rstu", A, here, there, optimize=True)
                own = np.einsum("rpl,sql->rspq", C, C, optimize=True)
                across = np.einsum("tpl,uql->tupq", other_C, other_C, optimize=True)
                T = T + np.einsum("rspq,tuqp->rstu", own, across, optimize=True)
            row.append(T.reshape(Z.shape[1] ** 2, -1))
        rows.append(np.hstack(row))
    return np.vstack(rows)
