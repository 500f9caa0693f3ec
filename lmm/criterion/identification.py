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

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lmm._lapack import eigh
from lmm._types import Matrix, Vector
from lmm.covariance import Parameters
from lmm.pls.problem import Problem

# Information about an entry, over what it would be without X, that is a rounding error.
ABSORBED = 1e-13
# Eigenvalues of the information, scaled to a unit diagonal, that are rounding errors.
NULL = 1e-12
# Share of a parameter in a null direction that counts.
SHARE = 0.1
# The same where information is looked at away from Gamma = 0, to see whether it is worth it.
NEARLY = 1e-6


def is_suspicious(J: Matrix, information: Matrix) -> bool:
    """Whether the information (e, e) at whatever Gamma looks singular, in derivatives J (e, m)."""
    information = J.T @ information @ J
    diagonal = information.diagonal()
    if not np.all(diagonal > NULL * max(1.0, float(diagonal.max(initial=0.0)))):
        return True
    scale = np.sqrt(diagonal)
    values, _ = eigh(information / (scale * scale[:, None]))
    return bool(values.size and values[0] < NEARLY)


def undetermined(problem: Problem, reml: bool, known: bool = False) -> NDArray[np.bool_]:
    """Parameters (m,) that can change together without changing the likelihood.

    Parameters
    ----------
    problem : Problem
        The design.
    reml : bool
        Whether fixed effects are taken out first.
    known : bool
        Whether the residual variance is known, so that nothing is to be told from it.
    """
    parameters = problem.matrices.parameters
    J = parameters.jacobian(parameters.generic).T @ parameters.units(parameters.generic)
    full = J @ _traces(problem, False) @ J.T
    trace = J @ _traces(problem, True) @ J.T if reml else full
    if known:
        return _null(trace, full.diagonal())
    nu = problem.n - (problem.p if reml else 0)
    t = (J @ _first(problem, reml))[:, None]
    information = np.block([[trace, t], [t.T, np.array([[nu]])]])
    return _null(information, np.append(full.diagonal(), nu))[:-1]


def undetermined_near(
    parameters: Parameters, logdet: Vector, trace: Matrix, nu: int
) -> NDArray[np.bool_]:
    """The same (m,) from t (e,) and T (e, e) of (1) at generic parameters."""
    J = parameters.jacobian(parameters.generic)
    t = (logdet @ J)[:, None]
    information = np.block([[J.T @ trace @ J, t], [t.T, np.array([[nu]])]])
    return _null(information, information.diagonal())[:-1]


def undetermined_at(parameters: Parameters, information: Matrix) -> NDArray[np.bool_]:
    """The same (m,) from the information (e, e) at generic parameters; without residuals."""
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


@dataclass(frozen=True, eq=False)
class _Term:
    """A term's part of its group's columns, and C of (2) for them, (k, p, l)."""

    group: int
    part: slice
    C: Matrix


def _terms(problem: Problem) -> list[_Term]:
    couplings = problem.products.couplings
    found = {
        i: _Term(g, part, couplings[g][:-1, part].transpose(1, 0, 2))
        for g, group in enumerate(problem.groups)
        for i, part in group.members
    }
    return [found[i] for i in range(len(found))]


def _first(problem: Problem, reml: bool) -> Vector:
    """The derivatives t (K,) of (1), entries of the terms row by row."""
    blocks = []
    for term in _terms(problem):
        F = problem.products.grams[term.group].sum(axis=2)[term.part, term.part]
        blocks.append((F - np.einsum("apl,bpl->ab", term.C, term.C) if reml else F).ravel())
    return np.concatenate(blocks)


def _traces(problem: Problem, reml: bool) -> Matrix:
    """T (K, K) of (1), entries of the terms row by row."""
    terms = _terms(problem)
    pairs = {(p.g, p.h): p for p in problem.products.all_pairs()}
    pairs |= {(h, g): p.turned for (g, h), p in pairs.items() if g != h}
    rows = []
    for one in terms:
        row = []
        for two in terms:
            both = pairs[one.group, two.group]
            A = both.A[one.part, two.part]
            T = np.einsum("stm,rum->rstu", A, A)
            if reml:
                here, there = one.C[:, :, both.i], two.C[:, :, both.j]
                T = T - 2.0 * np.einsum("stm,rpm,upm->rstu", A, here, there, optimize=True)
                own = np.einsum("rpl,sql->rspq", one.C, one.C, optimize=True)
                across = np.einsum("tpl,uql->tupq", two.C, two.C, optimize=True)
                T = T + np.einsum("rspq,tuqp->rstu", own, across, optimize=True)
            row.append(T.reshape(A.shape[0] ** 2, -1))
        rows.append(np.hstack(row))
    return np.vstack(rows)
