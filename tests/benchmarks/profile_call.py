"""Where a call of `lmm.lmer` on the sleepstudy data spends its time, stage by stage.

    python tests/benchmarks/profile_call.py [--output docs/benchmarks]

The whole call is measured as a user makes it, with the BLAS's own number of threads outside; the
stages within the one limit that `lmer` puts around them. Each is repeated on its own and the
minimum is taken, so that the stages add up to a little less than a whole call. Processor time is
that of all threads: where it exceeds the elapsed time, one of them spins. Writes ``profile.md``.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from timeit import repeat

import pandas as pd
from compare import about

import lmm
from lmm._threads import blas_threads
from lmm.criterion.moments import moment_start
from lmm.fit import Fit
from lmm.pls import named, standardize

TIMERS = (time.perf_counter, time.process_time)
FORMULA = "Reaction ~ Days + (Days | Subject)"


def microseconds(call: Callable[[], object]) -> tuple[float, float]:
    """Elapsed and processor time per call."""
    best = (min(repeat(call, number=20, repeat=30, timer=timer)) for timer in TIMERS)
    elapsed, processor = (seconds / 20 * 1e6 for seconds in best)
    return elapsed, processor


def stages(data: pd.DataFrame) -> dict[str, Callable[[], object]]:
    matrices = lmm.build_matrices(FORMULA, data)
    criterion = lmm.ProfiledCriterion(matrices)
    optimum = lmm.minimize(criterion)
    return {
        "model matrices (`build_matrices`)": lambda: lmm.build_matrices(FORMULA, data),
        "standardizing and cross-products (`Auto.bind`)": lambda: named("auto").bind(
            standardize(matrices)
        ),
        f"optimization (`minimize`), evaluations: {optimum.n_evaluations}": lambda: lmm.minimize(
            criterion
        ),
        "· of which the moment start": lambda: moment_start(criterion.problem, True),
        "· of which one value": lambda: criterion.value(optimum.x),
        "· of which one value with gradient and Hessian": lambda: criterion.evaluate(optimum.x),
        "estimates and standard errors (`Fit.at`)": lambda: Fit.at(
            matrices.formula, criterion, optimum
        ),
    }


def row(name: str, call: Callable[[], object]) -> str:
    elapsed, processor = microseconds(call)
    return f"| {name} | {elapsed:.0f} | {processor:.0f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("docs/benchmarks"))
    output = parser.parse_args().output
    data = lmm.load_dataset("sleepstudy")
    lines = [about(), "", "| stage | microseconds | of processor time |", "| --- | ---: | ---: |"]
    lines.append(row("whole call", lambda: lmm.lmer(FORMULA, data)))
    with blas_threads(0):
        lines += [row(name, call) for name, call in stages(data).items()]
    output.mkdir(parents=True, exist_ok=True)
    (output / "profile.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
