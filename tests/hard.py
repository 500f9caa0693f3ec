"""Hard designs: criteria with several minima, with saddles and with narrow valleys.

Years and Julian days in independent columns, cells of two factors, weights over five orders of
magnitude, nearly collinear columns, crossed factors with few rows. Deterministic in the seed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

import lmm
from simulated import Table, labels

WEIGHTS = [0.01, 1.0, 1.0, 5.0, 1000.0]
CONTROL = lmm.LmerControl(
    check_nobs_vs_nRE="ignore", check_nobs_vs_nlev="ignore", check_nlev_gtr_1="ignore"
)

YEARS = [
    "y ~ x + (x || g)",
    "y ~ 1 + (x || g)",
    "y ~ x + (x + 0 | g) + (1 | g)",
    "y ~ x + (x | g)",
    "y ~ x + (x || g) + (1 | h)",
    "y ~ 1 + (x || h) + (1 | g)",
]
CELLS = [
    "y ~ f + (f:f2 | g)",
    "y ~ 1 + (f | g)",
    "y ~ f + (f | g)",
    "y ~ f + (0 + f | g)",
    "y ~ f2 + (f + f2 | g)",
    "y ~ f + (1 | g) + (0 + f | g)",
    "y ~ f + (f || g)",
    "y ~ f*f2 + (1 | g/f)",
]
WEIGHTED = [
    "y ~ x + (x | g)",
    "y ~ x + (x | g)",
    "y ~ x + (1 | g)",
    "y ~ x + (x || g)",
    "y ~ x + (1 | g) + (1 | h)",
]
COLLINEAR = [
    "y ~ x + (x * t || g)",
    "y ~ x + (x + t | g)",
    "y ~ x + (x + z | g)",
    "y ~ x + (x + z || g)",
    "y ~ x*t + (x + t | g) + (1 | h)",
    "y ~ 0 + x + (x * t || g)",
    "y ~ x + (x + I(x^2) | g)",
    "y ~ x + (x + I(x^2) || g)",
]
CROSSED = [
    "y ~ x + (1 | g) + (1 | h)",
    "y ~ x + (x | g) + (1 | h)",
    "y ~ x + (f | g) + (x || h)",
    "y ~ f*x + (x || h)",
    "y ~ f + (x | g) + (x | h)",
    "y ~ 0 + f:x + (f | g) + (x || h)",
]


class Hard(NamedTuple):
    """A model and its data."""

    name: str
    formula: str
    data: Table
    weights: str | None
    reml: bool

    def criterion(self) -> lmm.ProfiledCriterion:
        """What is minimized."""
        built = lmm.build_matrices(self.formula, self.data, weights=self.weights, control=CONTROL)
        return lmm.ProfiledCriterion(built, reml=self.reml)


def _groups(rng: np.random.Generator, levels: tuple[int, int], rows: tuple[int, int]) -> np.ndarray:
    n_levels = int(rng.integers(*levels))
    return np.repeat(np.arange(n_levels), rng.integers(*rows, n_levels))


def years(rng: np.random.Generator) -> tuple[str, Table, bool]:
    """A covariate far from its origin, in independent columns."""
    g = _groups(rng, (4, 25), (2, 9))
    n, n_levels = len(g), g[-1] + 1
    origins = {
        0: lambda: rng.integers(1985, 2021, n).astype(float),
        1: lambda: 2000 + np.arange(n) % 8.0,
        2: lambda: 2.45e6 + rng.integers(0, 400, n),
        3: lambda: rng.normal(100, 1, n),
        4: lambda: rng.uniform(20, 21, n),
    }
    x = origins[int(rng.integers(5))]()
    s = (x - x.mean()) / x.std()
    sd = rng.choice([0, 0.1, 0.5, 1, 3], 2)
    y = 50 + s * rng.choice([0, 1.0]) + sd[0] * rng.normal(size=n_levels)[g]
    y = y + sd[1] * rng.normal(size=n_levels)[g] * s + rng.choice([0.1, 1, 5]) * rng.normal(size=n)
    h = rng.integers(0, max(3, n_levels // 3), n)
    return rng.choice(YEARS), {"y": y, "x": x, "g": labels(g), "h": labels(h)}, False


def cells(rng: np.random.Generator) -> tuple[str, Table, bool]:
    """Factors as random effects, some cells empty."""
    g = _groups(rng, (5, 20), (3, 14))
    n, n_levels = len(g), g[-1] + 1
    a, b = rng.integers(0, rng.integers(2, 5), n), rng.integers(0, rng.integers(2, 4), n)
    y = rng.normal(size=(n_levels, 4))[g, a] * rng.choice([0, 0.3, 1])
    y = y + rng.normal(size=(n_levels, 4))[g, b] * rng.choice([0, 0.3, 1])
    y = y + rng.choice([0.3, 1, 3]) * rng.normal(size=n) + rng.choice([0, 1]) * a
    return rng.choice(CELLS), {"y": y, "f": labels(a), "f2": labels(b), "g": labels(g)}, False


def weighted(rng: np.random.Generator) -> tuple[str, Table, bool]:
    """Prior weights of very different size."""
    g = _groups(rng, (3, 14), (2, 9))
    n, n_levels = len(g), g[-1] + 1
    x = rng.normal(size=n)
    sd = [rng.choice([0, 0.05, 0.3, 1, 4]), rng.choice([0, 0.05, 0.3, 1, 3])]
    noise = rng.choice([0.05, 1, 1, 3])
    y = 1 + 0.5 * x + sd[0] * rng.normal(size=n_levels)[g]
    y = y + sd[1] * rng.normal(size=n_levels)[g] * x + noise * rng.normal(size=n)
    h, w = rng.integers(0, 5, n), rng.choice(WEIGHTS, n)
    return rng.choice(WEIGHTED), {"y": y, "x": x, "g": labels(g), "h": labels(h), "w": w}, True


def collinear(rng: np.random.Generator) -> tuple[str, Table, bool]:
    """Columns that are nearly combinations of each other."""
    g = _groups(rng, (6, 20), (3, 10))
    n, n_levels = len(g), g[-1] + 1
    x = rng.normal(size=n) + rng.choice([0, 20])
    t, z = rng.integers(0, 3, n).astype(float), x + rng.choice([0.01, 0.1, 1]) * rng.normal(size=n)
    y = rng.normal(size=n_levels)[g] + 0.6 * rng.normal(size=n_levels)[g] * (x - x.mean())
    y = y + rng.choice([0.1, 1, 4]) * rng.normal(size=n) + rng.choice([0, 100])
    data = {"y": y, "x": x, "t": t, "z": z, "g": labels(g), "h": labels(rng.integers(0, 4, n))}
    data["w"] = rng.choice(WEIGHTS, n)
    return rng.choice(COLLINEAR), data, bool(rng.random() < 0.3)


def crossed(rng: np.random.Generator) -> tuple[str, Table, bool]:
    """Crossed factors with few rows for each random effect."""
    n = int(rng.integers(20, 90))
    a, b = rng.integers(0, rng.integers(3, 12), n), rng.integers(0, rng.integers(3, 12), n)
    x, f = rng.normal(size=n) + rng.choice([0, 0, 50]), rng.integers(0, 3, n)
    y = rng.choice([0, 0.2, 2]) * rng.normal(size=12)[a]
    y = y + rng.choice([0, 0.2, 2]) * rng.normal(size=12)[b]
    y = y + rng.choice([0, 1]) * rng.normal(size=12)[b] * (x - x.mean())
    y = (y + rng.choice([0.1, 1]) * rng.normal(size=n)) * rng.choice([1e-4, 1, 1e3])
    data = {"y": y, "x": x, "f": labels(f), "g": labels(a), "h": labels(b)}
    data["w"] = rng.choice(WEIGHTS, n)
    return rng.choice(CROSSED), data, bool(rng.random() < 0.4)


KINDS = [years, cells, weighted, collinear, crossed]


def hard(n: int, seed: int = 11) -> Iterator[Hard]:
    """N designs, kinds in turn; those that cannot be fitted at all are left out."""
    for i in range(n):
        rng = np.random.default_rng([seed, i])
        kind = KINDS[i % len(KINDS)]
        formula, data, has_weights = kind(rng)
        weights = "w" if has_weights else None
        yield Hard(f"{kind.__name__}-{i}", str(formula), data, weights, bool(rng.random() < 0.6))
