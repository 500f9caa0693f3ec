"""Where a call of `lmm.lmer` on the sleepstudy data spends its time, stage by stage.

    python tests/benchmarks/profile_call.py [--output docs/benchmarks/profile.md]

Each stage is repeated on its own and the minimum is taken, so that the stages add up to a little
less than a whole call.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from timeit import repeat

import lmm
from lmm._threads import blas_threads
from lmm.criterion.moments import moment_start
from lmm.fit import Fit
from lmm.pls import choose_solver

FORMULA = "Reaction ~ Days + (Days | Subject)"


def microseconds(call: Callable[[], object]) -> float:
    return min(repeat(call, number=20, repeat=30)) / 20 * 1e6


def stages() -> dict[str, Callable[[], object]]:
    data = lmm.load_dataset("sleepstudy")
    matrices = lmm.build_matrices(FORMULA, data)
    criterion = lmm.ProfiledCriterion(matrices)
    optimum = lmm.minimize(criterion)
    return {
        "whole call": lambda: lmm.lmer(FORMULA, data),
        "model matrices (`build_matrices`)": lambda: lmm.build_matrices(FORMULA, data),
        "standardizing and cross-products (`choose_solver`)": lambda: choose_solver(
            matrices, "auto"
        ),
        f"optimization (`minimize`), {optimum.n_evaluations} evaluations": lambda: lmm.minimize(
            criterion
        ),
        "· of which the moment start": lambda: moment_start(criterion.problem),
        "· of which one value": lambda: criterion.value(optimum.x),
        "· of which one value with gradient and Hessian": lambda: criterion.evaluate(optimum.x),
        "estimates and standard errors (`Fit.at`)": lambda: Fit.at(
            matrices.formula, criterion, optimum
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("docs/benchmarks/profile.md"))
    output = parser.parse_args().output
    with blas_threads(0):
        lines = ["| stage | microseconds |", "| --- | ---: |"]
        lines += [f"| {name} | {microseconds(call):.0f} |" for name, call in stages().items()]
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
