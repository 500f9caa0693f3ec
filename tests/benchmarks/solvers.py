"""Whole calls of `lmm.lmer` with each solver: processor time, peak memory and evaluations.

    python tests/benchmarks/solvers.py [--quick]

prints the table of docs/decisions/solvers.md. Every fit runs in a process of its own, one after the
other; the memory is that of the process, data and interpreter included. The large cases take
minutes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from compare import about

import lmm
from lmm.pls import Auto, Solver, Sparse

SOLVERS: dict[str, Solver] = {
    "auto": Auto(),
    "CHOLMOD": Sparse("cholmod"),
    "SuperLU": Sparse("scipy"),
}


@dataclass(frozen=True)
class Case:
    """One model and the solvers that fit it."""

    name: str
    formula: str
    data: Callable[[], pd.DataFrame]
    solvers: tuple[str, ...]
    quick: bool = False


def insteval() -> pd.DataFrame:
    return lmm.load_dataset("InstEval")


def small_factors() -> pd.DataFrame:
    """Five crossed factors of 30 to 400 levels, 50 000 rows."""
    rng = np.random.default_rng(1)
    sizes = {"a": 400, "b": 300, "c": 200, "d": 100, "e": 30}
    codes = {name: rng.integers(0, size, 50_000) for name, size in sizes.items()}
    effects = sum(rng.normal(size=sizes[name])[code] for name, code in codes.items())
    x = rng.normal(size=50_000)
    return pd.DataFrame(codes | {"x": x, "y": x + effects + rng.normal(size=50_000)})


def neighbours(n: int = 200_000) -> pd.DataFrame:
    """30 000 by 20 000 levels, of which only those close to each other meet."""
    rng = np.random.default_rng(2)
    a = rng.integers(0, 30_000, n)
    b = (a * 2 // 3 + rng.integers(0, 5, n)) % 20_000
    x = rng.normal(size=n)
    y = x + rng.normal(size=30_000)[a] + rng.normal(size=20_000)[b] + rng.normal(size=n)
    return pd.DataFrame({"a": a, "b": b, "x": x, "y": y})


def pupils(n: int = 100_000) -> pd.DataFrame:
    """30 000 pupils and 20 000 teachers in 500 schools; 2 % of the rows cross schools."""
    rng = np.random.default_rng(3)
    a = rng.integers(0, 30_000, n)
    home = (a % 500) + 500 * rng.integers(0, 40, n)
    b = np.where(rng.random(n) < 0.02, rng.integers(0, 20_000, n), home)
    x = rng.normal(size=n)
    y = x + rng.normal(size=30_000)[a] + rng.normal(size=20_000)[b] + rng.normal(size=n)
    return pd.DataFrame({"a": a, "b": b, "x": x, "y": y})


CASES = (
    Case(
        "InstEval, 3 factors",
        "y ~ service + (1 | s) + (1 | d) + (1 | dept:service)",
        insteval,
        ("auto", "CHOLMOD", "SuperLU"),
        quick=True,
    ),
    Case(
        "5 small crossed factors, 50 000 rows",
        "y ~ x + (1 | a) + (1 | b) + (1 | c) + (1 | d) + (1 | e)",
        small_factors,
        ("auto", "CHOLMOD", "SuperLU"),
        quick=True,
    ),
    Case(
        "30 000 by 20 000, neighbours meet, 200 000 rows",
        "y ~ x + (1 | a) + (1 | b)",
        neighbours,
        ("auto", "SuperLU"),
    ),
    Case(
        "30 000 pupils by 20 000 teachers in 500 schools, 2 % of rows elsewhere",
        "y ~ x + (1 | a) + (1 | b)",
        pupils,
        ("auto", "SuperLU"),
    ),
)


def fit(case: Case, solver: str) -> dict[str, object]:
    """One fit in this process."""
    import resource
    import time

    data = case.data()
    start = time.process_time()
    m = lmm.lmer(case.formula, data, solver=SOLVERS[solver])
    return {
        "seconds": time.process_time() - start,
        "MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "q": sum(term.n_levels * term.size for term in m.fit.matrices.terms),
        "evaluations": m.optimum.n_evaluations,
        "solver": m.optimum.solver.split(":")[0],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="without the large cases")
    parser.add_argument("--one", nargs=2, metavar=("CASE", "SOLVER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(fit(CASES[int(options.one[0])], options.one[1])))
        return
    print(f"{about()}\n")
    print("| model | random effects | solver | processor seconds | MB | evaluations |")
    print("|---|---:|---|---:|---:|---:|")
    for i, case in enumerate(CASES):
        for solver in case.solvers if case.quick or not options.quick else ():
            command = [sys.executable, __file__, "--one", str(i), solver]
            done = subprocess.run(command, capture_output=True, check=True)
            row = json.loads(done.stdout)
            print(
                f"| {case.name} | {row['q']} | {solver} ({row['solver']}) | {row['seconds']:.2g} | "
                f"{row['MB']:.0f} | {row['evaluations']} |"
            )


if __name__ == "__main__":
    main()
