"""How many minima of hard designs are missed, by where doubtful fits are searched for again.

Prints the table of docs/decisions/optimizer-steps.md: python tests/benchmarks/far_starts.py
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from unittest import mock

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

import lmm
from hard import hard
from lmm.criterion import profiled

DESIGNS = 300
# Second start and those whose value alone is looked at, in units of the noise of a level's mean.
VARIANTS: dict[str, tuple[float, ...]] = {
    "none": (),
    "3": (3.0,),
    "100": (100.0,),
    "300": (300.0,),
    "1000": (1000.0,),
    "300, and 10 if it lies lower": (300.0, 10.0),
}


def ends(criterion: lmm.ProfiledCriterion) -> list[tuple[float, int]]:
    """Value and evaluations of each variant."""
    found = []
    for further in VARIANTS.values():
        with mock.patch.object(profiled, "FURTHER", further):
            optimum = lmm.minimize(criterion)
        found.append((optimum.value, optimum.n_evaluations))
    return found


def best_of_others(criterion: lmm.ProfiledCriterion) -> float:
    """What L-BFGS-B finds from five starts."""
    rng = np.random.default_rng(1)
    spread = np.exp(2.0 * rng.standard_normal(len(criterion.lower)))
    starts = [criterion.to_theta(scale * criterion.start) for scale in (0.1, 1.0, 10.0, spread)]
    return min(lmm.minimize(criterion, "L-BFGS-B", start=s).value for s in (None, *starts))


def main() -> None:
    """Print the table."""
    warnings.simplefilter("ignore")
    rows = []
    for design in hard(DESIGNS, seed=7):
        criterion = design.criterion()
        found = ends(criterion)
        best = min(best_of_others(criterion), *(value for value, _ in found))
        missed = [value > best + max(1e-6, 1e-9 * abs(best)) for value, _ in found]
        rows.append(list(zip(missed, (n for _, n in found), strict=True)))
    table = np.array(rows, dtype=float)
    print("| second start | missed | evaluations |\n|---|---|---|")
    for name, part in zip(VARIANTS, table.transpose(1, 2, 0), strict=True):
        print(f"| {name} | {part[0].sum():.0f} of {len(rows)} | {part[1].mean():.1f} |")


if __name__ == "__main__":
    main()
