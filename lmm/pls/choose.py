"""Ways to solve: frozen options that know no data, and the choice among them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lmm.covariance import WIDE, Filled
from lmm.errors import FormulaError, nearest
from lmm.pls.base import PLS, Solver
from lmm.pls.grouped import GroupedPLS, has_few_directions
from lmm.pls.groups import Group
from lmm.pls.problem import Problem

__all__ = ["SOLVERS", "Auto", "Block", "Dense", "Sparse", "named", "refuse_wide"]

# Up to this many random effects a dense q x q block beats elimination, and its exact Hessian saves
# evaluations ...
FEW = 200
# ... for crossed factors with many covariance parameters, such as maximal models, up to more.
MANY_PARAMETERS, FEW_FOR_MANY = 6, 700
# Operations of a dense tail that the search for an order costs, per random effect.
LOOK = 1e6
# Columns from which the matrices of a dense tail do not fit the memory of most machines.
LARGE_TAIL = 10_000
# Entries of the dense couplings of a chain with what is behind it.
LARGE_BORDER = 10_000_000
# Time of an operation of a sparse evaluation over that of a dense one.
PENALTY = {"cholmod": 2.0, "scipy": 5.0}

Library = Literal["cholmod", "scipy"]


@dataclass(frozen=True)
class Auto:
    """What is expected to be fastest: `Block`, or `Sparse` where its factor costs less."""

    name = "auto"

    def bind(self, problem: Problem) -> PLS:
        """Make ready to solve a problem."""
        _check_width(problem)
        return _sparse_or_none(problem) or Block().bind(problem)


@dataclass(frozen=True)
class Block:
    """Elimination of one grouping factor after the other, level by level.

    Crossed factors but the largest are left as one dense matrix.
    """

    name = "block"

    def bind(self, problem: Problem) -> PLS:
        """Make ready to solve a problem."""
        _check_width(problem)
        if len(problem.groups) == 1:
            return GroupedPLS.build(problem)
        from lmm.pls.crossed import CrossedPLS
        from lmm.pls.nested import NestedPLS, chain
        from lmm.pls.small import SmallPLS

        matrices = problem.matrices
        if matrices.q <= FEW:
            return SmallPLS.build(problem)
        nested, others = chain(problem)
        if not others or _pays(nested, others, problem.tail_size):
            return NestedPLS.build(problem, nested, others)
        if len(matrices.lower) > MANY_PARAMETERS and matrices.q <= FEW_FOR_MANY:
            return SmallPLS.build(problem)
        return CrossedPLS.build(problem)


@dataclass(frozen=True)
class Sparse:
    """A sparse Cholesky factor of all random effects.

    Parameters
    ----------
    library : {"cholmod", "scipy"}, optional
        What factors: scikit-sparse's CHOLMOD or SciPy's SuperLU. By default CHOLMOD where it is
        installed.

    Raises
    ------
    ValueError
        The library is another word.

    Examples
    --------
    >>> import lmm
    >>> penicillin = lmm.load_dataset("Penicillin")
    >>> sparse = lmm.pls.Sparse("scipy")
    >>> m = lmm.lmer("diameter ~ 1 + (1 | plate) + (1 | sample)", penicillin, solver=sparse)
    >>> m.optimum.solver
    "sparse: sparse factor of all 30 random effects by SciPy's SuperLU, ...
    """

    library: Library | None = None

    def __post_init__(self) -> None:
        if self.library not in (None, "cholmod", "scipy"):
            raise ValueError(f"library must be 'cholmod' or 'scipy', not {self.library!r}.")

    @property
    def name(self) -> str:
        """``"cholmod"`` where that is asked for, else ``"sparse"``."""
        return "cholmod" if self.library == "cholmod" else "sparse"

    def bind(self, problem: Problem) -> PLS:
        """Make ready to solve a problem.

        Raises
        ------
        ImportError
            scikit-sparse is not installed; the message says how to install it.
        """
        from lmm.pls.sparse.solver import SparsePLS, has_cholmod

        if self.library == "cholmod" and not has_cholmod():
            raise ImportError(
                'solver="cholmod" needs scikit-sparse, which is not installed. Install the extra '
                "with pip install 'lmm[cholmod]' (it compiles against SuiteSparse: "
                'libsuitesparse-dev on Debian and Ubuntu), or use solver="auto" or "sparse", which '
                "work without it."
            )
        refuse_wide(problem)
        return SparsePLS.build(problem, self.library or ("cholmod" if has_cholmod() else "scipy"))


@dataclass(frozen=True)
class Dense:
    """The textbook with dense matrices: for checking the others on small models."""

    name = "dense"

    def bind(self, problem: Problem) -> PLS:
        """Make ready to solve a problem."""
        from lmm.pls.dense import DensePLS

        refuse_wide(problem)
        return DensePLS(problem)


def _check_width(problem: Problem) -> None:
    if len(problem.groups) > 1 or not has_few_directions(problem):
        refuse_wide(problem)


def refuse_wide(problem: Problem) -> None:
    """Refuse structured terms so wide that only `GroupedPLS` can differentiate along their units.

    Raises
    ------
    FormulaError
        A structured term has more than `WIDE` columns.
    """
    for term in problem.matrices.terms:
        if term.size > WIDE and not isinstance(term.covariance, Filled):
            raise FormulaError(
                f"({term.label}) has {term.size} columns: more than {WIDE} are possible in linear "
                "models with one grouping factor, and with the solver 'auto' or 'block'. Use fewer "
                "levels, or wider classes of them."
            )


SOLVERS: dict[str, Solver] = {
    "auto": Auto(),
    "block": Block(),
    "cholmod": Sparse("cholmod"),
    "sparse": Sparse(),
    "dense": Dense(),
}


def named(solver: str | Solver) -> Solver:
    """The solver of that name, or the object itself.

    Raises
    ------
    ValueError
        The name is unknown; the message lists the known ones.
    TypeError
        It is neither a name nor an object with options.
    """
    if isinstance(solver, str):
        if solver not in SOLVERS:
            raise ValueError(f"Unknown solver {solver!r}.{nearest(solver, SOLVERS)}")
        return SOLVERS[solver]
    if isinstance(solver, type) or not callable(getattr(solver, "bind", None)):
        raise TypeError(
            f"solver must be one of {', '.join(map(repr, SOLVERS))}, or an object such as "
            f"lmm.pls.Sparse('scipy'), not {_shown(solver)}. It holds options, and no data."
        )
    return solver


def _shown(value: object) -> str:
    """A value of the wrong kind, in brief."""
    if isinstance(value, type):
        return f"the class {value.__name__} itself"
    text = repr(value)
    return text if len(text) < 40 else f"a {type(value).__name__}"


def _pays(nested: tuple[Group, ...], others: tuple[Group, ...], tail: int) -> bool:
    """Whether a chain in front of a dense tail, which has dense couplings, costs less.

    The alternative has all groups but the largest in its tail.
    """
    levels, columns = sum(group.q for group in nested), sum(group.q for group in others)
    if len(nested) == 1 or levels * columns > LARGE_BORDER:
        return False
    return (levels + columns) * float(columns) ** 2 < float(tail) ** 3


def _sparse_or_none(problem: Problem) -> PLS | None:
    """The sparse solver where it costs less than the block solvers, None where it does not.

    The alternative is a dense tail for all groups but the largest, unless factors are nested. An
    evaluation with gradient takes about q_T^3 operations for a dense tail of q_T columns, and three
    factorizations, slower by `PENALTY`, for a sparse factor (docs/decisions/solvers.md).
    """
    tail, q = problem.tail_size, sum(group.q for group in problem.groups)
    if float(tail) ** 3 < LOOK * q:
        return None
    from lmm.pls.nested import chain
    from lmm.pls.sparse.solver import SparsePLS, has_cholmod

    nested, others = chain(problem)
    if not others or _pays(nested, others, tail):
        return None
    solver = SparsePLS.build(problem, "cholmod" if has_cholmod() else "scipy")
    ordering = solver.system.ordering
    dense_is_cheaper = 3.0 * PENALTY[ordering.backend] * ordering.flops > float(tail) ** 3
    return None if tail < LARGE_TAIL and dense_is_cheaper else solver
