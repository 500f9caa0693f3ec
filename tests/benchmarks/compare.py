"""Whole-call times of `lmm.lmer` and `lmm.glmer` beside R and other Python packages, in one run.

    python tests/benchmarks/compare.py [--quick] [--only TABLE] [--output docs/benchmarks]

Every engine that is installed fits every model; an engine whose criterion is off by more than 1e-4
is listed as "other optimum" and its time is not compared; of generalized models, where most engines
stop early, by how much is said. Rounds are interleaved, so that a slow
minute of the machine hits all engines alike, and each engine makes several calls in a row, so that
none finds its caches emptied by another; medians and ratios are what to read.
Writes ``table.md``, ``generalized.md`` and ``scaling.png`` into the output folder.

R's lme4 and glmmTMB take part when Rscript is on the path (its BLAS is named in the table), and
these packages when they can be imported: glmm, mixedlm, lme_python.
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
REFERENCE = Path(__file__).parents[1] / "reference" / "generalized" / "data"


@dataclass(frozen=True)
class Case:
    """One model: what to fit, to which data, how often, and whom to ask."""

    name: str
    formula: str
    data: Callable[[], pd.DataFrame]
    rounds: int = 15
    engines: tuple[str, ...] = ("lme4", "glmm", "mixedlm", "lme_python")
    family: str = ""

    @property
    def in_a_row(self) -> int:
        """Calls that an engine makes before it is the next one's turn."""
        return 5 if self.rounds > 3 else 2


@dataclass(frozen=True)
class Timing:
    """Seconds per call and the criterion reached: REML's, or -2 log-likelihood."""

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


def reference(name: str) -> pd.DataFrame:
    """A table of the reference fits by R."""
    return pd.read_csv(REFERENCE / f"{name}.csv.gz")


def herds() -> pd.DataFrame:
    """Cases of cbpp, with the failures as a column."""
    data = shipped("cbpp")()
    return data.assign(healthy=data["size"] - data["incidence"], period="p" + data["period"])


def pupils() -> pd.DataFrame:
    """Answers of VerbAgg as 0 and 1."""
    data = reference("VerbAgg")
    return data.assign(yes=(data["r2"] == "Y").astype(int))


def contraception() -> pd.DataFrame:
    """Use of contraception as 0 and 1."""
    data = reference("Contraception")
    return data.assign(uses=(data["use"] == "Y").astype(int), children=data["livch"].astype(str))


def ticks() -> pd.DataFrame:
    """Counts of ticks, years as text."""
    data = reference("grouseticks")
    return data.assign(YEAR="y" + data["YEAR"].astype(str))


def binary_slopes() -> pd.DataFrame:
    """1e6 answers, about ten of each person, with a slope per person."""
    rng = np.random.default_rng(1)
    n, persons = 1_000_000, 100_000
    g, x = rng.integers(0, persons, n), rng.normal(size=n)
    eta = -0.5 + 0.4 * x + 0.8 * rng.normal(size=persons)[g] + 0.3 * rng.normal(size=persons)[g] * x
    return pd.DataFrame(
        {"y": (rng.random(n) < 1.0 / (1.0 + np.exp(-eta))).astype(int), "x": x, "g": g}
    )


def crossed_binary() -> pd.DataFrame:
    """50 000 answers of 1200 persons to 150 items."""
    rng = np.random.default_rng(3)
    n = 50_000
    f, g, x = rng.integers(0, 1200, n), rng.integers(0, 150, n), rng.normal(size=n)
    eta = -0.3 + 0.5 * x + 0.8 * rng.normal(size=1200)[f] + 0.6 * rng.normal(size=150)[g]
    y = (rng.uniform(size=n) < 1.0 / (1.0 + np.exp(-eta))).astype(int)
    return pd.DataFrame({"y": y, "x": x, "f": f, "g": g})


def good_lectures() -> pd.DataFrame:
    """InstEval with the two best marks as success."""
    data = shipped("InstEval")()
    return data.assign(good=(data["y"] >= 4).astype(int))


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


GENERALIZED = (
    Case(
        "cbpp",
        "cbind(incidence, healthy) ~ period + (1 | herd)",
        herds,
        9,
        ("lme4", "glmmTMB", "glmm"),
        "binomial",
    ),
    Case(
        "Contraception",
        "uses ~ age + I(age^2) + urban + children + (1 | district)",
        contraception,
        5,
        ("lme4", "glmmTMB", "glmm"),
        "binomial",
    ),
    Case(
        "VerbAgg",
        "yes ~ Anger + Gender + btype + situ + (1 | id) + (1 | item)",
        pupils,
        2,
        ("lme4", "glmmTMB", "glmm"),
        "binomial",
    ),
    Case(
        "grouseticks",
        "TICKS ~ YEAR + cHEIGHT + (1 | BROOD) + (1 | INDEX) + (1 | LOCATION)",
        ticks,
        5,
        ("lme4", "glmmTMB", "glmm"),
        "poisson",
    ),
    Case(
        "crossed, 50 000 rows",
        "y ~ x + (1 | f) + (1 | g)",
        crossed_binary,
        1,
        ("lme4", "glmmTMB", "glmm"),
        "binomial",
    ),
    Case(
        "InstEval, 73 421 rows",
        "good ~ service + (1 | s) + (1 | d)",
        good_lectures,
        1,
        ("glmm",),
        "binomial",
    ),
    Case(
        "slopes, 1e6 rows, 1e5 groups",
        "y ~ x + (x | g)",
        binary_slopes,
        1,
        (),
        "binomial",
    ),
)


def fit_lmm(case: Case, data: pd.DataFrame) -> float:
    if case.family:
        return lmm.glmer(case.formula, data, case.family).deviance()
    return lmm.lmer(case.formula, data).reml_criterion()


def fit_glmm(case: Case, data: pd.DataFrame) -> float:
    import glmm

    return -2.0 * float(glmm.fit(data, case.formula, family=case.family or "gaussian").loglik)


def fit_mixedlm(case: Case, data: pd.DataFrame) -> float:
    import mixedlm

    return float(mixedlm.lmer(case.formula, data).REMLcrit())


def fit_lme_python(case: Case, data: pd.DataFrame) -> float:
    import lme_python
    import polars as pl

    return float(lme_python.lmer(case.formula, pl.from_pandas(data), True).reml_criterion)


PYTHON_ENGINES: dict[str, Callable[[Case, pd.DataFrame], float]] = {
    "lmm": fit_lmm,
    "glmm": fit_glmm,
    "mixedlm": fit_mixedlm,
    "lme_python": fit_lme_python,
}

R_SCRIPT = r"""
args <- commandArgs(TRUE); package <- args[4]; family <- args[5]
suppressMessages({library(package, character.only = TRUE); library(jsonlite)})
d <- read.csv(args[1], stringsAsFactors = FALSE); f <- as.formula(args[2])
fitter <- if (package == "glmmTMB") glmmTMB else if (family == "") lmer else glmer
options <- if (family == "") list(f, d) else list(f, d, family = family)
fit <- function() suppressMessages(suppressWarnings(do.call(fitter, options)))
m <- fit()
once <- function(i) {start <- Sys.time(); fit(); as.numeric(Sys.time() - start, units = "secs")}
seconds <- sapply(seq_len(as.integer(args[3])), once)
criterion <- if (family == "") REMLcrit(m) else -2 * as.numeric(logLik(m))
cat(toJSON(list(seconds = seconds, criterion = criterion,
  version = as.character(packageVersion(package)), blas = sessionInfo()$BLAS),
  auto_unbox = TRUE, digits = NA))
"""


def installed() -> list[str]:
    """Engines that can take part, ours first."""
    engines = [name for name in PYTHON_ENGINES if importlib.util.find_spec(name)]
    return engines + (list(R_ENGINES) if shutil.which("Rscript") else [])


def time_r(case: Case, data: pd.DataFrame, package: str) -> tuple[Timing, str]:
    """Median over rounds inside one R process, without its start-up."""
    with tempfile.TemporaryDirectory() as folder:
        table, script = Path(folder, "data.csv"), Path(folder, "fit.R")
        data.to_csv(table, index=False)
        script.write_text(R_SCRIPT)
        count = case.rounds * case.in_a_row
        options = [case.formula, str(count), package, case.family]
        command = ["Rscript", str(script), str(table), *options]
        result = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    seconds = np.atleast_1d(result["seconds"])
    label = f"{package} {result['version']} ({Path(result['blas']).parent.name or 'BLAS'})"
    return Timing(float(np.median(seconds)), result["criterion"]), label


def time_python(case: Case, data: pd.DataFrame, engines: list[str]) -> dict[str, Timing]:
    """Interleaved rounds of every Python engine."""
    criteria = {name: PYTHON_ENGINES[name](case, data) for name in engines}
    seconds: dict[str, list[float]] = {name: [] for name in engines}
    for _ in range(case.rounds):
        for name in engines:
            for _ in range(case.in_a_row):
                start = time.perf_counter()
                PYTHON_ENGINES[name](case, data)
                seconds[name].append(time.perf_counter() - start)
    return {name: Timing(median(seconds[name]), criteria[name]) for name in engines}


def peak_memory(case: Case, data: pd.DataFrame) -> float:
    """Peak of one call over what was held before, in megabytes."""
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    fit_lmm(case, data)
    peak = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    return peak / 1e6


def short(x: float) -> str:
    """Two digits, or all before the point."""
    return f"{x:.0f}" if x >= 10.0 else f"{x:.2g}"


def duration(seconds: float) -> str:
    """Seconds, or milliseconds below one second, to two or three digits."""
    return f"{seconds:.2g} s" if seconds >= 1.0 else f"{seconds * 1e3:.3g} ms"


R_ENGINES = ("lme4", "glmmTMB")
# Versions and BLAS of R's engines, as R told them.
ABOUT: dict[str, str] = {}


def rows(cases: tuple[Case, ...]) -> Iterator[dict[str, str]]:
    """Table rows, one per case."""
    available = installed()
    for case in cases:
        data = case.data()
        engines = [e for e in available if e in PYTHON_ENGINES and e in ("lmm", *case.engines)]
        timings = time_python(case, data, engines)
        for name in R_ENGINES:
            if name in available and name in case.engines:
                timings[name], ABOUT[name] = time_r(case, data, name)
        ours = timings["lmm"]
        row = {
            "model": case.name,
            "lmm": duration(ours.seconds),
            "steps": str(steps(case, data)),
            "MB": short(peak_memory(case, data)),
        }
        others = {name: compared(case, t, ours) for name, t in timings.items() if name != "lmm"}
        print(row | others, file=sys.stderr)
        yield row | others


def steps(case: Case, data: pd.DataFrame) -> int:
    """Evaluations of the criterion in one of our fits."""
    if case.family:
        return lmm.glmer(case.formula, data, case.family).optimum.n_evaluations
    return lmm.lmer(case.formula, data).optimum.n_evaluations


def compared(case: Case, timing: Timing, ours: Timing) -> str:
    """Another engine's time, as a multiple of ours, where it comes to the same optimum."""
    text = f"{duration(timing.seconds)}, {short(timing.seconds / ours.seconds)}×"
    excess = timing.criterion - ours.criterion
    if case.family:
        return text if excess < 1e-6 else f"{text}, +{excess:.0e}"
    return text if excess <= AGREE * max(1.0, abs(ours.criterion) * 1e-3) else "other optimum"


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
    parser.add_argument("--only", choices=("table", "generalized"), help="one table, no curves")
    parser.add_argument("--output", type=Path, default=Path("docs/benchmarks"))
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    arguments.output.mkdir(parents=True, exist_ok=True)
    for cases, name in ((CASES, "table"), (GENERALIZED, "generalized")):
        if arguments.only in (None, name):
            ABOUT.clear()
            chosen = cases[: 5 if cases is CASES else 2] if arguments.quick else cases
            text = markdown(pd.DataFrame(list(rows(chosen))))
            print(text)
            (arguments.output / f"{name}.md").write_text(text)
    if not arguments.quick and arguments.only is None:
        scaling(arguments.output)


if __name__ == "__main__":
    main()
