"""Fit many simulated designs by every optimizer, and report evaluations, verdicts and the worst.

    python tests/benchmarks/simulation_grid.py --count 5000 --seed 1 [--hard] [--thorough]

The test suite runs the first 500 (tests/optimize/test_simulated_designs.py).
"""

from __future__ import annotations

import argparse
import collections
import sys
import warnings
from pathlib import Path

import numpy as np

import lmm
from lmm.optimize import Optimum

sys.path.insert(0, str(Path(__file__).parents[1]))
from simulated import Design, stressful, well_posed

WORSE = 1e-6


def criterion_of(design: Design) -> lmm.ProfiledCriterion:
    """The criterion of a design."""
    weights = "weight" if "weight" in design.data else None
    matrices = lmm.build_matrices(design.formula, design.data, weights=weights)
    return lmm.ProfiledCriterion(matrices, reml=design.reml)


def others(criterion: lmm.ProfiledCriterion, thorough: bool) -> dict[str, Optimum]:
    """Optima of the other optimizers; of L-BFGS-B from several starts."""
    rng = np.random.default_rng(1)
    found = {"L-BFGS-B": lmm.minimize(criterion, "L-BFGS-B")}
    for i in range(3):
        spread = np.exp(rng.standard_normal(len(criterion.lower)))
        start = criterion.to_theta(spread * criterion.start)
        found[f"L-BFGS-B, start {i}"] = lmm.minimize(criterion, "L-BFGS-B", start=start)
    if thorough:
        found |= {name: lmm.minimize(criterion, name) for name in ("COBYQA", "Nelder-Mead")}
    return found


def main() -> None:
    """Run the grid and print one line per kind of design, and one per finding."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--hard", action="store_true", help="singular and extreme designs")
    parser.add_argument("--thorough", action="store_true", help="search without derivatives too")
    options = parser.parse_args()
    warnings.simplefilter("error")
    evaluations = collections.defaultdict(list)
    failures: collections.Counter[str] = collections.Counter()
    grid = stressful if options.hard else well_posed
    for design in grid(options.count, options.seed):
        criterion = criterion_of(design)
        optimum = lmm.minimize(criterion)
        evaluations[design.name.rpartition("-")[0]].append(optimum.n_evaluations)
        if not optimum.converged:
            print(f"{design.name}: {optimum.message}")
        found = others(criterion, options.thorough)
        best = min(found, key=lambda name: found[name].value)
        excess = optimum.value - found[best].value
        if excess > WORSE:
            print(f"{design.name}: {excess:.2e} above {best}")
        failures.update(k for k, o in found.items() if o.value > optimum.value + WORSE)
    print(f"{'kind':22}{'designs':>8}{'mean':>7}{'max':>5}   evaluations")
    for kind, counts in evaluations.items():
        print(f"{kind:22}{len(counts):8}{np.mean(counts):7.2f}{max(counts):5}")
    for name, count in failures.items():
        print(f"{name} ended above the second-order optimizer in {count} of {options.count}")


if __name__ == "__main__":
    main()
