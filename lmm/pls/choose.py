"""Ways to solve: frozen options that know no data, and the choice among them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from lmm.covariance import WIDE, Filled
from lmm.errors import FormulaError, nearest
from lmm.pls.base import PLS, Solver
from lmm.pls.blocks import BlockPLS
from lmm.pls.chain import nested
from lmm.pls.costs import Cost, check_memory, dense_tail, fill, iteration, sparse_factor
from lmm.pls.effect_columns import FEW
from lmm.pls.krylov import LINEAR_ONLY
from lmm.pls.problem import Problem
from lmm.pls.roots import has_few_directions

if TYPE_CHECKING:
    from lmm.pls.sparse.cholesky import SparseTail


# A dense q x q block beats elimination up to `FEW` random effects, and its exact Hessian saves
# evaluations; for crossed factors with many covariance parameters, such as maximal models, up to
# more.
MANY_PARAMETERS, FEW_FOR_MANY = 6, 700
# Operations of a dense tail that the search for an order costs, per random effect.
LOOK = 1e6
# Operations of an evaluation with gradient, from which it is not waited for: some 15 seconds.
PATIENCE = 5e11
# Share of a dense tail that is filled in, from which no order keeps a factor sparse.
FILLED = 0.1
# Entries of the dense couplings of a chain with what is behind it.
LARGE_BORDER = 10_000_000

TOO_LARGE = (
    "Leave out grouping factors with many levels, merge their rare levels, or use a machine with "
    "more memory."
)

Library = Literal["cholmod", "scipy"]


@dataclass(frozen=True)
class Auto:
    """What is expected to be fastest: `Block`, or `Sparse` where its factor costs less.

    Where neither fits into memory, or an evaluation would take more than some 15 seconds, `Krylov`.

    Parameters
    ----------
    sampling : bool, default True
        Whether it may be `Krylov`, which estimates.
    """

    sampling: bool = True

    name = "auto"

    def bind(self, problem: Problem) -> PLS:
        """Make ready to solve a problem.

        Raises
        ------
        DataError
            The memory does not suffice.
        """
        return _large(problem, self.sampling) or Block().bind(problem)


@dataclass(frozen=True)
class Block:
    """Elimination of one grouping factor after the other, level by level.

    Crossed factors but the largest are left as one dense matrix.
    """

    name = "block"

    def bind(self, problem: Problem) -> PLS:
        """Make ready to solve a problem.

        Raises
        ------
        DataError
            The memory does not suffice for a dense tail.
        """
        _check_width(problem)
        if len(problem.groups) == 1:
            return BlockPLS.of_one(problem)
        matrices = problem.matrices
        if matrices.q <= FEW:
            return BlockPLS.of(problem, ())
        inner, pays = _chain(problem)
        if pays:
            return BlockPLS.of(problem, inner)
        if len(matrices.lower) > MANY_PARAMETERS and matrices.q <= FEW_FOR_MANY:
            return BlockPLS.of(problem, ())
        check_memory(dense_tail(problem.tail_size), advice="solver='krylov' needs less.")
        return BlockPLS.of(problem, problem.by_size[:1], is_sparse=True)


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
        DataError
            The memory does not suffice.
        """
        from lmm.pls.sparse.cholesky import SparseTail, has_cholmod

        if self.library == "cholmod" and not has_cholmod():
            raise ImportError(
                'solver="cholmod" needs scikit-sparse, which is not installed. Install the extra '
                "with pip install 'lmm[cholmod]' (it compiles against SuiteSparse: "
                'libsuitesparse-dev on Debian and Ubuntu), or use solver="auto" or "sparse", which '
                "work without it."
            )
        refuse_wide(problem)
        tail = SparseTail.of(problem, self.library or ("cholmod" if has_cholmod() else "scipy"))
        check_memory(_factor(tail), advice="solver='krylov' needs less.")
        return BlockPLS.of_tail(problem, tail)


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
    """Refuse structured terms so wide that only `Roots` can differentiate along their units.

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


@dataclass(frozen=True)
class Krylov:
    """Iteration, for crossed factors whose tail is too large to factor.

    The log determinant is estimated with fixed random probes. For a seed the criterion is one
    smooth function of theta, which differs from the exact one by a small, known error.

    Parameters
    ----------
    tolerance : float, default 0.01
        Standard error of the criterion that is aimed at.
    probes : int, default 16
        Random probes at least; more are drawn where the tolerance needs them.
    seed : int, default 0
        Seed of the probes.

    Raises
    ------
    ValueError
        The tolerance is not positive, or there are fewer than two probes.

    Examples
    --------
    >>> import lmm
    >>> penicillin = lmm.load_dataset("Penicillin")
    >>> krylov = lmm.pls.Krylov(tolerance=1e-3, seed=1)
    >>> m = lmm.lmer("diameter ~ 1 + (1 | plate) + (1 | sample)", penicillin, solver=krylov)
    >>> m.optimum.solver
    'krylov: 24 levels of plate eliminated, 6 columns for sample by iteration, ...
    """

    tolerance: float = 0.01
    probes: int = 16
    seed: int = 0

    name = "krylov"

    def __post_init__(self) -> None:
        if not self.tolerance > 0.0:
            raise ValueError(f"tolerance must be positive, not {self.tolerance!r}.")
        if self.probes < 2:
            raise ValueError(f"probes must be 2 or more, not {self.probes!r}: they tell the error.")

    def bind(self, problem: Problem) -> PLS:
        """Make ready to solve a problem.

        Raises
        ------
        DataError
            The memory does not suffice.
        """
        if len(problem.groups) == 1:
            return BlockPLS.of_one(problem)
        refuse_wide(problem)
        check_memory(iteration(problem), advice=TOO_LARGE)
        from lmm.pls.krylov.iteration import KrylovPLS

        return KrylovPLS.build(problem, self)


SOLVERS: dict[str, Solver] = {
    "auto": Auto(),
    "block": Block(),
    "cholmod": Sparse("cholmod"),
    "sparse": Sparse(),
    "dense": Dense(),
    "krylov": Krylov(),
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


def _chain(problem: Problem) -> tuple[tuple[int, ...], bool]:
    """A chain of nested factors, and whether it costs less in front of a tail of the others.

    The tail has dense couplings; the alternative has all groups but the largest in its tail.
    """
    inner = nested(problem)
    q = [group.q for group in problem.groups]
    levels = sum(q[g] for g in inner)
    columns = sum(q) - levels
    if len(inner) == 1 or levels * columns > LARGE_BORDER:
        return inner, not columns
    return inner, (levels + columns) * float(columns) ** 2 < float(problem.tail_size) ** 3


def exact(solver: Solver) -> Solver:
    """The solver of a model that needs the covariances of all pairs of levels.

    Raises
    ------
    ValueError
        It estimates.
    """
    if isinstance(solver, Krylov):
        raise ValueError(LINEAR_ONLY)
    return Auto(sampling=False) if isinstance(solver, Auto) else solver


def _large(problem: Problem, sampling: bool) -> PLS | None:
    """A solver other than `Block` where that costs less, None where it does not.

    `Block` has a dense tail for all groups but the largest, unless factors are nested. An
    evaluation with gradient takes about q_T^3 operations for a dense tail of q_T columns, and three
    factorizations for a sparse factor (docs/decisions/solvers.md).
    """
    tail, q = problem.tail_size, sum(group.q for group in problem.groups)
    if float(tail) ** 3 < LOOK * q:
        return None
    refuse_wide(problem)
    if _chain(problem)[1]:
        return None
    found: list[tuple[Cost, PLS | None]] = [(dense_tail(tail), None)]
    if fill(problem) < FILLED or not sampling:
        found.append(_sparse(problem))
    fitting = [way for way in found if way[0].fits]
    best = min(fitting, key=lambda way: way[0].operations, default=None)
    if best and (best[0].operations < PATIENCE or not sampling):
        return best[1]
    ways = [cost for cost, _ in found]
    if sampling:
        if best and not iteration(problem).fits:
            return best[1]
        ways.append(iteration(problem))
    check_memory(*ways, advice=TOO_LARGE)
    return Krylov().bind(problem)


def _sparse(problem: Problem) -> tuple[Cost, PLS]:
    """The sparse solver, and what it takes."""
    from lmm.pls.sparse.cholesky import SparseTail, has_cholmod

    tail = SparseTail.of(problem, "cholmod" if has_cholmod() else "scipy")
    return _factor(tail), BlockPLS.of_tail(problem, tail)


def _factor(tail: SparseTail) -> Cost:
    ordering = tail.system.ordering
    return sparse_factor(ordering.backend, float(ordering.counts.sum()), ordering.flops)
