"""Whole-call times of `lmm.lmer` beside R's lme4 and other Python packages, in one run.

    python tests/benchmarks/compare.py [--quick] [--output docs/benchmarks]

Every engine that is installed fits every model; an engine whose criterion is off by more than 1e-4
is listed as "other optimum" and its time is not compared. Rounds are interleaved, so that a slow
minute of the machine hits all engines alike, and each engine makes several calls in a row, so that
none finds its caches emptied by another; medians and ratios are what to read.
Writes ``table.md`` and ``scaling.png`` into the output folder.

R's lme4 takes part when Rscript is on the path (its BLAS is named in the table), and these packages
when they can be imported: glmm, mixedlm, lme_python, statsmodels, gpboost.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import tracemalloc
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd

import lmm

AGREE = 1e-4


@dataclass(frozen=True)
class Case:
    """One model: what to fit, to which data, how often, and whom to ask."""

    name: str
    formula: str
    data: Callable[[], pd.DataFrame]
    rounds: int = 15
    engines: tuple[str, ...] = ("lme4", "glmm", "mixedlm", "lme_python")

    @property
    def in_a_row(self) -> int:
        """Calls that an engine makes before it is the next one's turn."""
        return 5 if self.rounds > 3 else 2


@dataclass(frozen=True)
class Timing:
    """Seconds per call and the REML criterion reached."""

    seconds: float
    criterion: float


def shipped(name: str) -> Callable[[], pd.DataFrame]:
    """A data set as a user has it: text columns where it has factors."""

    def load() -> pd.DataFrame:
        data = lmm.load_dataset(name)
        factors = data.select_dtypes("category").columns
        return data.astype(dict.fromkeys(factors, str))

    return load


def slopes(n: int, groups: int) -> Callable[[], pd.DataFrame]:
    """Random intercepts and two slopes per group."""

    def make() -> pd.DataFrame:
        rng = np.random.default_rng(1)
        g, x, z = rng.integers(0, groups, n), rng.normal(size=n), rng.normal(size=n)
        b = rng.normal(size=(groups, 3)) @ np.array([[1, 0.3, 0.1], [0, 0.5, 0.2], [0, 0, 0.4]])
        y = 1 + 0.5 * x - 0.2 * z + b[g, 0] + b[g, 1] * x + b[g, 2] * z + rng.normal(size=n)
        return pd.DataFrame({"g": g, "x": x, "z": z, "y": y})

    return make


def nested(n: int, schools: int) -> Callable[[], pd.DataFrame]:
    """Ten classes in each school."""

    def make() -> pd.DataFrame:
        rng = np.random.default_rng(2)
        room = rng.integers(0, 10 * schools, n)
        school, x = room // 10, rng.normal(size=n)
        effects = 0.7 * rng.normal(size=10 * schools)[room] + 0.5 * rng.normal(size=schools)[school]
        y = 1 + 0.5 * x + effects + rng.normal(size=n)
        return pd.DataFrame({"school": school, "room": room, "x": x, "y": y})

    return make


def crossed(n: int, levels: tuple[int, ...]) -> Callable[[], pd.DataFrame]:
    """Crossed factors f0, f1, ... with a correlated slope on each."""

    def make() -> pd.DataFrame:
        rng = np.random.default_rng(3)
        u = rng.normal(size=n)
        data, y = {"u": u}, 1 + u + rng.normal(size=n)
        for j, size in enumerate(levels):
            codes = rng.integers(0, size, n)
            b = rng.normal(size=(size, 2)) @ np.array([[0.6, 0.1], [0, 0.3]])
            y = y + b[codes, 0] + b[codes, 1] * u
            data[f"f{j}"] = codes
        return pd.DataFrame(data | {"y": y})

    return make


CASES = (
    Case("sleepstudy", "Reaction ~ Days + (Days | Subject)", shipped("sleepstudy")),
    Case("dietox", "Weight ~ Time + (1 + Time | Pig)", shipped("dietox")),
    Case("Penicillin", "diameter ~ 1 + (1 | plate) + (1 | sample)", shipped("Penicillin")),
    Case("Pastes", "strength ~ 1 + (1 | batch) + (1 | batch:cask)", shipped("Pastes")),
    Case("Oats", "yield ~ nitro + Variety + (1 | Block) + (1 | Block:Variety)", shipped("Oats")),
    Case(
        "InstEval",
        "y ~ service + (1 | s) + (1 | d) + (1 | dept:service)",
        shipped("InstEval"),
        3,
        ("lme4", "glmm", "mixedlm"),
    ),
    Case("slopes, 1e5 rows, 1e4 groups", "y ~ x + z + (1 + x + z | g)", slopes(10**5, 10**4), 3),
    Case(
        "slopes, 1e6 rows, 1e5 groups", "y ~ x + z + (1 + x + z | g)", slopes(10**6, 10**5), 3, ()
    ),
    Case("nested, 1e6 rows, 1e5 in 1e4", "y ~ x + (1 | school/room)", nested(10**6, 10**4), 3, ()),
    Case(
        "crossed 9452 x 344 x 68, slopes",
        "y ~ u + (1 + u | f0) + (1 + u | f1) + (1 + u | f2)",
        crossed(130_000, (9452, 344, 68)),
        3,
        (),
    ),
)


def fit_lmm(formula: str, data: pd.DataFrame) -> float:
    return lmm.lmer(formula, data).reml_criterion()


def fit_glmm(formula: str, data: pd.DataFrame) -> float:
    import glmm

    return -2.0 * float(glmm.fit(data, formula).loglik)


def fit_mixedlm(formula: str, data: pd.DataFrame) -> float:
    import mixedlm

    return float(mixedlm.lmer(formula, data).REMLcrit())


def fit_lme_python(formula: str, data: pd.DataFrame) -> float:
    import lme_python
    import polars as pl

    return float(lme_python.lmer(formula, pl.from_pandas(data), True).reml_criterion)


PYTHON_ENGINES: dict[str, Callable[[str, pd.DataFrame], float]] = {
    "lmm": fit_lmm,
    "glmm": fit_glmm,
    "mixedlm": fit_mixedlm,
    "lme_python": fit_lme_python,
}

R_SCRIPT = r"""
suppressMessages({library(lme4); library(jsonlite)})
args <- commandArgs(TRUE)
d <- read.csv(args[1], stringsAsFactors = FALSE); f <- as.formula(args[2])
fit <- function() suppressMessages(suppressWarnings(lmer(f, d)))
m <- fit()
once <- function(i) {start <- Sys.time(); fit(); as.numeric(Sys.time() - start, units = "secs")}
seconds <- sapply(seq_len(as.integer(args[3])), once)
cat(toJSON(list(seconds = seconds, criterion = REMLcrit(m),
  lme4 = as.character(packageVersion("lme4")), blas = sessionInfo()$BLAS),
  auto_unbox = TRUE, digits = NA))
"""


def installed() -> list[str]:
    """Engines that can take part, ours first."""
    engines = [name for name in PYTHON_ENGINES if importlib.util.find_spec(name)]
    return engines + (["lme4"] if shutil.which("Rscript") else [])


def time_r(case: Case, data: pd.DataFrame) -> tuple[Timing, str]:
    """Median over rounds inside one R process, without its start-up."""
    with tempfile.TemporaryDirectory() as folder:
        table, script = Path(folder, "data.csv"), Path(folder, "fit.R")
        data.to_csv(table, index=False)
        script.write_text(R_SCRIPT)
        count = case.rounds * case.in_a_row
        command = ["Rscript", str(script), str(table), case.formula, str(count)]
        result = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    seconds = np.atleast_1d(result["seconds"])
    label = f"lme4 {result['lme4']} ({Path(result['blas']).parent.name or 'BLAS'})"
    return Timing(float(np.median(seconds)), result["criterion"]), label


def time_python(case: Case, data: pd.DataFrame, engines: list[str]) -> dict[str, Timing]:
    """Interleaved rounds of every Python engine."""
    criteria = {name: PYTHON_ENGINES[name](case.formula, data) for name in engines}
    seconds: dict[str, list[float]] = {name: [] for name in engines}
    for _ in range(case.rounds):
        for name in engines:
            for _ in range(case.in_a_row):
                start = time.perf_counter()
                PYTHON_ENGINES[name](case.formula, data)
                seconds[name].append(time.perf_counter() - start)
    return {name: Timing(median(seconds[name]), criteria[name]) for name in engines}


def peak_memory(case: Case, data: pd.DataFrame) -> float:
    """Peak of one call over what was held before, in megabytes."""
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    lmm.lmer(case.formula, data)
    peak = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    return peak / 1e6


def short(x: float) -> str:
    """Two digits, or all before the point."""
    return f"{x:.0f}" if x >= 10.0 else f"{x:.2g}"


def duration(seconds: float) -> str:
    """Seconds, or milliseconds below one second, to two or three digits."""
    return f"{seconds:.2g} s" if seconds >= 1.0 else f"{seconds * 1e3:.3g} ms"


# Version and BLAS of R's engine, as R told them.
ABOUT: dict[str, str] = {}


def rows(cases: tuple[Case, ...]) -> Iterator[dict[str, str]]:
    """Table rows, one per case."""
    available = installed()
    for case in cases:
        data = case.data()
        engines = [e for e in available if e in PYTHON_ENGINES and e in ("lmm", *case.engines)]
        timings = time_python(case, data, engines)
        if "lme4" in available and "lme4" in case.engines:
            timings["lme4"], ABOUT["lme4"] = time_r(case, data)
        model = lmm.lmer(case.formula, data)
        ours = timings["lmm"]
        row = {
            "model": case.name,
            "lmm": duration(ours.seconds),
            "steps": str(model.optimum.n_evaluations),
            "MB": short(peak_memory(case, data)),
        }
        for name, timing in timings.items():
            if name != "lmm":
                worse = timing.criterion - ours.criterion > AGREE * max(
                    1.0, abs(ours.criterion) * 1e-3
                )
                text = f"{duration(timing.seconds)}, {short(timing.seconds / ours.seconds)}×"
                row[name] = "other optimum" if worse else text
        print(row, file=sys.stderr)
        yield row


def about() -> str:
    """Day, machine and versions of a run."""
    names = ("lmm", "numpy", "scipy", "pandas", "glmm", "mixedlm", "lme-python")
    found = [name for name in names if importlib.util.find_spec(name.replace("-", "_"))]
    versions = [*(f"{name} {version(name)}" for name in found), *ABOUT.values()]
    machine = f"{platform.machine()}, Python {platform.python_version()}"
    return f"{date.today():%d %B %Y}; {machine}; {', '.join(versions)}."


def markdown(table: pd.DataFrame) -> str:
    """The table as MyST Markdown, with the machine and versions above it."""
    lines = [
        about(),
        "",
        "| " + " | ".join(table.columns) + " |",
        "|" + " --- |" * len(table.columns),
        *("| " + " | ".join(row) + " |" for row in table.fillna("").to_numpy()),
    ]
    return "\n".join(lines) + "\n"


def scaling(output: Path) -> None:
    """Time against rows, levels and number of crossed factors, as one figure."""
    import matplotlib.pyplot as plt

    def seconds(formula: str, data: pd.DataFrame) -> float:
        times = []
        for _ in range(3):
            start = time.perf_counter()
            lmm.lmer(formula, data)
            times.append(time.perf_counter() - start)
        return median(times)

    figure, axes = plt.subplots(1, 3, figsize=(12, 3.6), sharey=True, layout="constrained")
    n = [10**3, 10**4, 10**5, 10**6]
    formula = "y ~ x + z + (1 + x + z | g)"
    axes[0].loglog(n, [seconds(formula, slopes(m, m // 10)()) for m in n], "o-")
    axes[0].set(xlabel="rows (10 per group, 2 slopes)", ylabel="seconds per call")
    levels = [10**2, 10**3, 10**4, 10**5]
    axes[1].loglog(levels, [seconds(formula, slopes(10**6, m)()) for m in levels], "o-")
    axes[1].set(xlabel="groups (1e6 rows)")
    terms = [1, 2, 3, 4]
    times = []
    for m in terms:
        data = crossed(20_000, (500, 100, 50, 20)[:m])()
        text = " + ".join(f"(1 + u | f{j})" for j in range(m))
        times.append(seconds(f"y ~ u + {text}", data))
    axes[2].semilogy(terms, times, "o-")
    axes[2].set(xlabel="crossed factors with slopes (20 000 rows)", xticks=terms)
    for axis in axes:
        axis.grid(alpha=0.3)
    figure.savefig(output / "scaling.png", dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the small models only, no curves")
    parser.add_argument("--output", type=Path, default=Path("docs/benchmarks"))
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    arguments.output.mkdir(parents=True, exist_ok=True)
    table = pd.DataFrame(list(rows(CASES[:5] if arguments.quick else CASES)))
    text = markdown(table)
    print(text)
    (arguments.output / "table.md").write_text(text)
    if not arguments.quick:
        scaling(arguments.output)


if __name__ == "__main__":
    main()
