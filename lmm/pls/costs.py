"""What ways to solve crossed factors cost: operations of an evaluation, and memory.

Operations are those of dense matrices, some 4e10 a second and core (docs/decisions/solvers.md).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lmm.errors import DataError
from lmm.pls.problem import Problem

# Time of an operation of a sparse evaluation over that of a dense one.
PENALTY = {"cholmod": 2.0, "scipy": 5.0}
# Matrices of a dense tail that exist at a time in an evaluation with gradient.
MATRICES = 5
# Bytes per entry of a sparse factor: values, rows, and the workspace of the selected inverse.
ENTRY = 32
# Bytes per pair of levels that occur together, and columns of the tail and of the leading factor
# that exist at a time in an iteration.
PAIR, TAIL_COLUMNS, LEADING_COLUMNS = 48, 400, 100
GIB = float(1 << 30)


@dataclass(frozen=True)
class Cost:
    """What an evaluation with gradient takes.

    Attributes
    ----------
    what : str
        Way to solve.
    operations : float
        Operations, as long as dense ones take.
    bytes : float
        Memory.
    """

    what: str
    operations: float
    bytes: float

    @property
    def fits(self) -> bool:
        """Whether the memory suffices."""
        return self.bytes <= available()


def dense_tail(columns: int) -> Cost:
    """A dense matrix of all groups but the largest."""
    size = float(columns)
    return Cost(f"a dense tail of {columns} columns", size**3, 8.0 * MATRICES * size**2)


def sparse_factor(backend: str, entries: float, flops: float) -> Cost:
    """A sparse factor of all random effects: three factorizations for a gradient."""
    what = f"a sparse factor of {entries:.2g} entries"
    return Cost(what, 3.0 * PENALTY[backend] * flops, ENTRY * entries)


def iteration(problem: Problem) -> Cost:
    """Products with the tail: its operations are next to nothing where the others are large."""
    largest = max(group.q for group in problem.groups)
    levels = sorted(group.n_levels for group in problem.groups)
    pairs = sum(min(problem.n, levels[-1] * few) for few in levels[:-1])
    columns = TAIL_COLUMNS * problem.tail_size + LEADING_COLUMNS * largest
    return Cost("iteration", 0.0, float(PAIR) * pairs + 8.0 * columns)


def fill(problem: Problem) -> float:
    """Entries that eliminating the largest group fills in, over those of a dense tail.

    Pairs of the tail's columns that share a level count as often as they do.
    """
    first, *rest = problem.by_size
    reached = np.zeros(problem.groups[first].n_levels)
    for g in rest:
        pairs = problem.products.pairs(*sorted((first, g)))  # the order in which they are known
        own = pairs.i if pairs.g == first else pairs.j
        reached += problem.groups[g].size * np.bincount(own, minlength=len(reached))
    return float(reached @ reached) / float(problem.tail_size) ** 2


def check_memory(*ways: Cost, advice: str) -> None:
    """Refuse what does not fit into memory, before anything is allocated.

    Raises
    ------
    DataError
        No way fits.
    """
    if any(way.fits for way in ways):
        return
    needs = " and ".join(f"{way.what} takes {way.bytes / GIB:.1f} GiB" for way in ways)
    raise DataError(
        f"The model does not fit into memory: {needs}, and {available() / GIB:.1f} GiB are free. "
        f"{advice}"
    )


def available() -> float:
    """Bytes of memory that can be had, infinite where the system does not say."""
    return min(_free(), _limit())


def _free() -> float:
    """What the system can give to processes, or has at all."""
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return 1024.0 * float(line.split()[1])
    except (OSError, ValueError):
        pass
    try:
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (OSError, ValueError, AttributeError):
        return np.inf


def _limit() -> float:
    """What the container of this process leaves of its limit."""
    try:
        most, used = (_number(f"/sys/fs/cgroup/memory.{name}") for name in ("max", "current"))
    except (OSError, ValueError):
        return np.inf
    return most - used


def _number(path: str) -> float:
    return float(Path(path).read_text(encoding="ascii"))
