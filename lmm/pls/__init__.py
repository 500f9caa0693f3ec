"""Penalized-least-squares solvers, and the choice among them."""

from __future__ import annotations

from lmm.design.matrices import ModelMatrices
from lmm.errors import nearest
from lmm.pls.base import Derivatives, Factors, PLSSolution, PLSSolver, PLSTerms
from lmm.pls.dense import DenseSolver
from lmm.pls.grouped import GroupedSolver
from lmm.pls.problem import Problem, standardize
from lmm.pls.small import SmallSolver

__all__ = [
    "DenseSolver",
    "Derivatives",
    "Factors",
    "GroupedSolver",
    "PLSSolution",
    "PLSSolver",
    "PLSTerms",
    "Problem",
    "choose_solver",
    "standardize",
]


def choose_solver(matrices: ModelMatrices, solver: str) -> PLSSolver:
    """Make the named solver for a model, or the best one for ``"auto"``."""
    problem = standardize(matrices)
    if solver == "dense":
        return DenseSolver(problem)
    if len(problem.groups) > 1:
        return SmallSolver.build(problem)
    return GroupedSolver.build(problem)
