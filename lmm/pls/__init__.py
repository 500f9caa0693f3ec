"""Penalized-least-squares solvers, and the choice among them."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

from lmm._threads import blas_threads
from lmm.design.matrices import ModelMatrices
from lmm.errors import nearest
from lmm.pls.base import Derivatives, Factors, PLSSolution, PLSSolver, PLSTerms
from lmm.pls.grouped import GroupedSolver
from lmm.pls.problem import Problem, standardize

if TYPE_CHECKING:
    from lmm.pls.crossed import CrossedSolver
    from lmm.pls.dense import DenseSolver
    from lmm.pls.factor import PenalizedFactor
    from lmm.pls.nested import NestedSolver
    from lmm.pls.small import SmallSolver
    from lmm.pls.sparse.solver import SparseSolver
else:
    # Most models need one of these or none: they are loaded when first used.
    _LATER = {
        "CrossedSolver": "lmm.pls.crossed",
        "DenseSolver": "lmm.pls.dense",
        "NestedSolver": "lmm.pls.nested",
        "PenalizedFactor": "lmm.pls.factor",
        "SmallSolver": "lmm.pls.small",
        "SparseSolver": "lmm.pls.sparse.solver",
    }

    def __getattr__(name):
        if name not in _LATER:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value = getattr(import_module(_LATER[name]), name)
        return value


__all__ = [
    "SOLVERS",
    "CrossedSolver",
    "DenseSolver",
    "Derivatives",
    "Factors",
    "GroupedSolver",
    "NestedSolver",
    "PLSSolution",
    "PLSSolver",
    "PLSTerms",
    "PenalizedFactor",
    "Problem",
    "SmallSolver",
    "SparseSolver",
    "choose_solver",
    "standardize",
]


# Up to this many random effects a dense q x q block beats elimination, and its exact Hessian saves
# evaluations ...
FEW = 200
# ... for crossed factors with many covariance parameters, such as maximal models, up to more.
MANY_PARAMETERS, FEW_FOR_MANY = 6, 700


def choose_solver(matrices: ModelMatrices, solver: str) -> PLSSolver:
    """Make the named solver for a model, or the best one for ``"auto"``.

    Raises
    ------
    ValueError
        The name is unknown; the message lists the known ones.
    """
    if solver not in SOLVERS:
        raise ValueError(f"Unknown solver {solver!r}.{nearest(solver, SOLVERS)}")
    with blas_threads(0):
        return SOLVERS[solver](standardize(matrices))


def _block(problem: Problem) -> PLSSolver:
    from lmm.pls.crossed import CrossedSolver
    from lmm.pls.nested import NestedSolver, chain
    from lmm.pls.small import SmallSolver

    if len(problem.groups) == 1:
        return GroupedSolver.build(problem)
    matrices = problem.matrices
    if matrices.q <= FEW:
        return SmallSolver.build(problem)
    nested = chain(problem.groups)
    if nested is not None:
        return NestedSolver.build(problem, nested)
    if len(matrices.lower) > MANY_PARAMETERS and matrices.q <= FEW_FOR_MANY:
        return SmallSolver.build(problem)
    return CrossedSolver.build(problem)


def _auto(problem: Problem) -> PLSSolver:
    if len(problem.groups) == 1:
        return GroupedSolver.build(problem)
    from lmm.pls.sparse.solver import sparse_or_none

    return sparse_or_none(problem) or _block(problem)


def _dense(problem: Problem) -> PLSSolver:
    from lmm.pls.dense import DenseSolver

    return DenseSolver(problem)


def _cholmod(problem: Problem) -> PLSSolver:
    from lmm.pls.sparse.solver import cholmod_solver

    return cholmod_solver(problem)


def _sparse(problem: Problem) -> PLSSolver:
    from lmm.pls.sparse.solver import sparse_solver

    return sparse_solver(problem)


SOLVERS: dict[str, Callable[[Problem], PLSSolver]] = {
    "auto": _auto,
    "block": _block,
    "cholmod": _cholmod,
    "sparse": _sparse,
    "dense": _dense,
}
