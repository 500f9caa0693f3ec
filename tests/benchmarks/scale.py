"""Large data: time, peak memory and accuracy of fits of up to 1e8 rows.

    python tests/benchmarks/scale.py crossed [rows users items] [--solver NAME] [--seed N] [--files]
    python tests/benchmarks/scale.py files [rows groups] [--folder PATH] [--seed N]
    python tests/benchmarks/scale.py curves [--to ROWS] [--gpboost PYTHON]

The first makes ratings as people give them and fits two crossed factors, of a table in memory or of
a Parquet file; the second fits a slope by group to Parquet files. Both print what it took. Run them
in a process of their own: the peak memory is that of the process, the making of a table included,
that of files not. The third runs both at several sizes, beside lme4 (`Rscript` on the path) and
gpboost (an interpreter that imports it), and draws docs/benchmarks/scale.png.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

import lmm

# Standard deviations of users, items and single ratings, in stars.
USER, ITEM, NOISE = 0.45, 0.55, 0.85
GENRES = 20
# Rows that are drawn at a time.
DRAWN = 2_000_000


def ratings(n: int, users: int, items: int, seed: int = 0) -> pd.DataFrame:
    """Ratings of items by users with a realistic popularity: `user`, `item`, `rating` (n rows).

    Activity is log-normal from 20 ratings on, popularity Zipf-Mandelbrot's law as in MovieLens
    (half of the items have a handful of ratings, the most popular are rated by every second user),
    tastes are mixtures of genres, and nobody rates an item twice. Stars come in halves.
    """
    rng = np.random.default_rng(seed)
    activity = rng.lognormal(0.0, 1.1, users)
    floor = min(20.0, 0.5 * n / users)
    wanted = floor + activity * (n / users - floor) / activity.mean()
    popularity = 1.0 / (np.arange(items) + 0.01 * items) ** 1.6
    popularity = rng.permutation(popularity)
    genre = rng.integers(0, GENRES, items)
    order = np.argsort(genre, kind="stable")
    reach = np.cumsum(popularity[order])
    bounds = np.append(0.0, reach[np.searchsorted(genre[order], np.arange(GENRES), "right") - 1])
    taste = np.diff(bounds) * rng.gamma(0.8, size=(users, GENRES))
    taste = np.ascontiguousarray((np.cumsum(taste, axis=1) / taste.sum(axis=1)[:, None]).T)
    pairs = np.empty(0, dtype=np.int64)
    while len(pairs) < n:
        size = min(DRAWN, int(1.3 * (n - len(pairs))) + 1000)
        user = np.repeat(np.arange(users), rng.multinomial(size, wanted / wanted.sum()))
        draw, chosen = rng.random(size), np.zeros(size, dtype=np.intp)
        for reached in taste[:-1]:
            chosen += reached[user] < draw
        place = bounds[chosen] + rng.random(size) * (bounds[chosen + 1] - bounds[chosen])
        item = order[np.searchsorted(reach, place).clip(max=items - 1)]
        pairs = np.sort(np.append(pairs, user * items + item))
        pairs = pairs[np.append(True, pairs[1:] != pairs[:-1])]
    pairs = np.sort(rng.choice(pairs, n, replace=False, shuffle=False))
    user, item = np.divmod(pairs, items)
    mean = 3.4 + USER * rng.standard_normal(users)[user] + ITEM * rng.standard_normal(items)[item]
    stars = 0.5 * np.rint(2.0 * (mean + NOISE * rng.standard_normal(n)))
    return pd.DataFrame(
        {"user": user.astype(np.int32), "item": item.astype(np.int32), "rating": stars.clip(0.5, 5)}
    )


def crossed(rows: int, users: int, items: int, solver: str, seed: int, files: bool) -> None:
    """Fit ratings by maximum likelihood, and print what it took."""
    sizes = (rows, users, items, seed)
    with tempfile.TemporaryDirectory() as folder:
        table = _rated(Path(folder) / "ratings.parquet", sizes) if files else ratings(*sizes)
        print(f"{rows} ratings, {_peak():.0f} MiB before the fit", flush=True)
        start, processor = time.perf_counter(), time.process_time()
        m = lmm.lmer("rating ~ 1 + (1 | user) + (1 | item)", table, reml=False, solver=solver)
        took, used = time.perf_counter() - start, time.process_time() - processor
    print(m.optimum.solver)
    print(f"theta {m.theta}, deviance {m.deviance():.6f}, {m.optimum.n_evaluations} evaluations")
    print(f"{took:.1f} s, {used:.1f} processor seconds, {_peak():.0f} MiB")


def _rated(path: Path, sizes: tuple[int, ...]) -> object:
    """Ratings in a file that another process writes."""
    command = [sys.executable, __file__, "rate", str(path), *map(str, sizes)]
    subprocess.run(command, check=True)  # its memory is not ours
    return lmm.scan(path, progress=False)


def rate(folder: str, rows: int, users: int, items: int, seed: int) -> None:
    """Write ratings to a Parquet file."""
    ratings(rows, users, items, seed).to_parquet(folder, row_group_size=1 << 20)


def files(rows: int, groups: int, folder: str | None, seed: int) -> None:
    """Fit an intercept and a slope by group to Parquet files, and print what it took."""
    with tempfile.TemporaryDirectory() as own:
        path = Path(folder or own)
        path.mkdir(parents=True, exist_ok=True)
        if not any(path.glob("*.parquet")):
            command = [sys.executable, __file__, "write", str(path), str(rows), str(groups)]
            subprocess.run([*command, str(seed)], check=True)  # its memory is not ours
        start, processor = time.perf_counter(), time.process_time()
        m = lmm.lmer("y ~ x + (1 + x | group)", lmm.scan(path, progress=False))
        took, used = time.perf_counter() - start, time.process_time() - processor
    print(f"{m.nobs} rows, theta {m.theta}, criterion {m.reml_criterion():.6f}")
    print(f"{took:.1f} s, {used:.1f} processor seconds, {_peak():.0f} MiB")


def write(folder: str, rows: int, groups: int, seed: int) -> None:
    """Write the files that `files` reads, `DRAWN` rows each."""
    rng = np.random.default_rng(seed)
    effects = rng.standard_normal((groups, 2)) * [0.6, 0.3]
    for i, start in enumerate(range(0, rows, DRAWN)):
        size = min(DRAWN, rows - start)
        group, x = rng.integers(0, groups, size), rng.standard_normal(size)
        mean = 1.0 + effects[group, 0] + (0.5 + effects[group, 1]) * x
        table = {"y": mean + rng.standard_normal(size), "x": x, "group": group}
        pd.DataFrame(table).to_parquet(Path(folder) / f"part-{i:04d}.parquet")


GPBOOST = """
import resource, sys, time, gpboost, numpy, pandas
table = pandas.read_parquet(sys.argv[1])
start = time.perf_counter()
model = gpboost.GPModel(group_data=table[["user", "item"]].to_numpy(), likelihood="gaussian")
model.fit(y=table["rating"].to_numpy(float), X=numpy.ones((len(table), 1)))
took = time.perf_counter() - start
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(f"{took:.1f} s, 0 processor seconds, {peak:.0f} MiB")
"""
LME4 = """
suppressMessages(library(lme4))
table <- read.csv(commandArgs(TRUE)[1])
took <- system.time(lmer(rating ~ 1 + (1 | user) + (1 | item), table, REML = FALSE))
status <- readLines("/proc/self/status")
peak <- as.numeric(gsub("[^0-9]", "", grep("VmHWM", status, value = TRUE))) / 1024
cat(sprintf("%.1f s, 0 processor seconds, %.0f MiB\\n", took[["elapsed"]], peak))
"""
# Largest numbers of rows that the other engines are given.
FOR_GPBOOST, FOR_LME4 = 1_000_000, 100_000
# Ratings are made in memory, which bounds their number.
FOR_CROSSED = 10_000_000


def _sizes(rows: int) -> tuple[int, int]:
    """Users and items of a number of ratings."""
    return max(rows // 143, 1_500), min(max(rows // 200, 1_000), 10_000)


def curves(to: int, gpboost: str | None) -> None:
    """Time fits of growing tables, print a table and draw it."""
    found = []
    for rows in (10**k for k in range(5, 9) if 10**k <= to):
        found.append(("lmm, slope by group, files", rows, *_run("files", str(rows))))
        if rows > FOR_CROSSED:
            continue
        users, items = _sizes(rows)
        crossing = ["crossed", str(rows), str(users), str(items), "--files"]
        found.append(("lmm, users and items, file", rows, *_run(*crossing)))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "ratings.parquet"
            if gpboost and rows <= FOR_GPBOOST:
                rate(str(path), rows, users, items, 0)
                took = _measured([gpboost, "-c", GPBOOST, str(path)])
                found.append(("gpboost, users and items", rows, *took))
            if rows <= FOR_LME4:
                ratings(rows, users, items).to_csv(path, index=False)
                took = _measured(["Rscript", "-e", LME4, str(path)])
                found.append(("lme4, users and items", rows, *took))
    table = pd.DataFrame(found, columns=["fit", "rows", "seconds", "MiB"])
    print(table.to_string(index=False))
    _draw(table)


def _run(*arguments: str) -> tuple[float, float]:
    return _measured([sys.executable, __file__, *arguments])


def _measured(command: list[str]) -> tuple[float, float]:
    """Seconds and peak memory that a command prints last."""
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    seconds, _, memory = text.strip().splitlines()[-1].split(", ")
    return float(seconds.split()[0]), float(memory.split()[0])


def _draw(table: pd.DataFrame) -> None:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9.0, 4.4), layout="constrained")
    for ax, column in zip(axes, ("seconds", "MiB"), strict=True):
        for name, own in table.groupby("fit", sort=False):
            ax.loglog(own["rows"], own[column], marker="o", label=name)
        ax.set(xlabel="rows", ylabel=column)
        ax.grid(alpha=0.3)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2, frameon=False)
    folder = Path(__file__).parents[2] / "docs" / "benchmarks"
    figure.savefig(folder / "scale.png", dpi=110)


def _peak() -> float:
    """Peak memory of the process in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("crossed", help="two crossed factors")
    for name, default in (("rows", 1_000_000), ("users", 7_000), ("items", 5_000)):
        command.add_argument(name, type=int, nargs="?", default=default)
    command.add_argument("--solver", default="auto")
    command.add_argument("--files", action="store_true", help="read from a Parquet file")
    command.add_argument("--seed", type=int, default=0)
    command.set_defaults(run=crossed)
    command = commands.add_parser("files", help="Parquet files, batch by batch")
    for name, default in (("rows", 10_000_000), ("groups", 50_000)):
        command.add_argument(name, type=int, nargs="?", default=default)
    command.add_argument("--folder", help="where the files are, or stay")
    command.add_argument("--seed", type=int, default=0)
    command.set_defaults(run=files)
    command = commands.add_parser("write", help="the files only")
    command.add_argument("folder")
    for name in ("rows", "groups", "seed"):
        command.add_argument(name, type=int)
    command.set_defaults(run=write)
    command = commands.add_parser("rate", help="a file of ratings only")
    command.add_argument("folder")
    for name in ("rows", "users", "items", "seed"):
        command.add_argument(name, type=int)
    command.set_defaults(run=rate)
    command = commands.add_parser("curves", help="both at several sizes, beside other packages")
    command.add_argument("--to", type=int, default=10_000_000)
    command.add_argument("--gpboost", help="an interpreter that imports gpboost")
    command.set_defaults(run=curves)
    arguments = vars(parser.parse_args())
    arguments.pop("run")(**arguments)


if __name__ == "__main__":
    main()
