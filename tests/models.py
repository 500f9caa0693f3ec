"""The table of models and solvers that the numerical tests share: one line adds either."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np

import lmm
from lmm.covariance import Diagonal
from lmm.design.matrices import ModelMatrices
from lmm.pls import PLS, BlockPLS, DensePLS, Problem, standardize
from lmm.pls.base import Factors
from lmm.pls.chain import nested
from lmm.pls.sparse.cholesky import SparseTail
from reference import MODEL_IDS, fit_arguments, load_reference, load_table


def crossed(problem: Problem) -> BlockPLS:
    """The largest factor in front of the others as a tail, by sparse couplings."""
    return BlockPLS.of(problem, problem.by_size[:1], is_sparse=True)


def sparse(problem: Problem, backend: str) -> BlockPLS:
    """All factors as a sparse tail."""
    return BlockPLS.of_tail(problem, SparseTail.of(problem, backend))


def _several(make: Callable[[Problem], PLS]) -> Callable[[Problem], PLS | None]:
    """Makes its solver for more factors than one."""
    return lambda problem: make(problem) if len(problem.groups) > 1 else None


# Each makes its solver, or None where it does not apply: chains and tails of the elimination,
# a sparse factor. "nested" has a tail for what is not nested, which may be all factors but one.
SOLVERS: dict[str, Callable[[Problem], PLS | None]] = {
    "roots": lambda problem: BlockPLS.of_one(problem) if len(problem.groups) == 1 else None,
    "chain": lambda problem: BlockPLS.of(problem, (0,)) if len(problem.groups) == 1 else None,
    "small": lambda problem: BlockPLS.of(problem, ()),
    "nested": _several(lambda problem: BlockPLS.of(problem, nested(problem))),
    "crossed": _several(crossed),
    "sparse": lambda problem: sparse(problem, "scipy"),
}
if importlib.util.find_spec("sksparse"):
    SOLVERS["cholmod"] = lambda problem: sparse(problem, "cholmod")


def table(seed: int = 1, n: int = 160) -> dict[str, Any]:
    """Crossed a (12) and b (7); c nested in a, d in c, e in d; covariates and a weight."""
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, 12, n), rng.integers(0, 7, n)
    c = 2 * a + rng.integers(0, 2, n)
    d = 2 * c + rng.integers(0, 2, n)
    codes = {"a": a, "b": b, "c": c, "d": d, "f": rng.integers(0, 3, n)}
    columns: dict[str, Any] = {k: np.char.add(k, v.astype(str)) for k, v in codes.items()}
    columns |= dict(zip("xzw", rng.standard_normal((3, n)), strict=True))
    columns |= {"weight": rng.uniform(0.2, 5.0, n), "u": rng.standard_normal(12)[a]}
    columns["e"] = np.char.add("e", (2 * d + np.arange(n) % 2).astype(str))
    effects = rng.standard_normal(12)[a] * (1 + columns["x"]) + rng.standard_normal(7)[b]
    return columns | {"y": 3.0 + columns["x"] + effects + rng.standard_normal(n)}


# Structures beyond those of R's reference models.
STRUCTURES: dict[str, str] = {
    "no fixed effects": "y ~ 0 + (1 | a)",
    "three columns": "y ~ x + (x + z | a)",
    "four columns": "y ~ x + (x + z + w | a)",
    "three independent columns": "y ~ x + (x + z || a)",
    "two terms, one factor": "y ~ x + (x | a) + (0 + z | a)",
    "factor as effects": "y ~ f + (0 + f | a)",
    "between-level slope": "y ~ u + (u | a)",
    "crossed": "y ~ x + (1 | a) + (1 | b)",
    "crossed, one slope": "y ~ x + (x | a) + (1 | b)",
    "crossed, all slopes": "y ~ x + (x + z | a) + (x | b)",
    "crossed, independent": "y ~ x + (x || a) + (z || b)",
    "three factors": "y ~ x + (1 | a) + (x | b) + (1 | f)",
    "nested": "y ~ x + (1 | a / c)",
    "nested with slopes": "y ~ x + (x | a / c)",
    "nested thrice": "y ~ x + (1 | a) + (x | c) + (1 | d)",
    "nested four times": "y ~ x + (x | a) + (1 | c) + (1 | d) + (1 | e)",
    "nested and crossed": "y ~ x + (1 | a / c) + (1 | b)",
    "nested and crossed, slopes": "y ~ x + (1 | a) + (x | c) + (x || b) + (1 | f)",
}

# The dense oracle forms n x q matrices: the large tables are left to tests of the criterion.
SMALL_REFERENCES = [i for i in MODEL_IDS if i not in {"insteval", "scotssec", "exam", "ham"}]
MODELS = [*STRUCTURES, *SMALL_REFERENCES]


@functools.cache
def matrices(model: str) -> ModelMatrices:
    """Matrices of a model of the table."""
    if model in STRUCTURES:
        return lmm.build_matrices(STRUCTURES[model], table(), weights="weight")
    reference = load_reference(model)
    arguments = {k: v for k, v in fit_arguments(reference).items() if k != "reml"}
    return lmm.build_matrices(reference["formula"], load_table(reference["data"]), **arguments)


@functools.cache
def problem(model: str) -> Problem:
    """Standardized problem of a model of the table."""
    return standardize(matrices(model))


@functools.cache
def solver(model: str, name: str) -> PLS | None:
    """Solver of a model of the table, None where it does not apply."""
    return DensePLS(problem(model)) if name == "dense" else SOLVERS[name](problem(model))


@functools.cache
def criterion(model: str, name: str) -> lmm.ProfiledCriterion:
    """REML criterion of a model of the table with one of its solvers."""
    return lmm.ProfiledCriterion(problem(model).matrices, True, bound=solver(model, name))


@functools.cache
def pairs() -> list[tuple[str, str]]:
    """Every model with every solver that applies to it."""
    return [(model, name) for model in MODELS for name in SOLVERS if solver(model, name)]


def points(model: str) -> tuple[str, ...]:
    """Kinds of points to look at: all for the small structures."""
    return ("identity", "small", "large", "singular") if model in STRUCTURES else ("identity",)


def factors_at(model: str, point: str) -> Factors:
    """Covariance factors of a model at a kind of point."""
    rng = np.random.default_rng(len(model))
    factors = []
    for term in matrices(model).terms:
        factor = np.eye(term.size)
        if point != "identity":
            factor += 0.5 * np.tril(rng.standard_normal(factor.shape))
            factor *= {"small": 0.05, "large": 30.0, "singular": 1.0}[point]
        if isinstance(term.covariance, Diagonal):
            factor = np.diag(np.diag(factor))
        if point == "singular":
            factor[:, -1] = 0.0
        factors.append(factor)
    return tuple(factors)
