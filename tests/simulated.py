"""Small simulated designs: one line per kind, deterministic in the seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

Table = dict[str, Any]
Generator = np.random.Generator
Kind = Callable[[Generator], tuple[str, Table]]


@dataclass(frozen=True)
class Design:
    """A model and its data.

    Attributes
    ----------
    name : str
        Kind and number.
    formula : str
        Model formula.
    data : mapping of arrays
        Simulated table.
    reml : bool
        Criterion.
    """

    name: str
    formula: str
    data: Table
    reml: bool


def labels(codes: np.ndarray) -> np.ndarray:
    """Codes as level names."""
    return np.char.add("g", codes.astype(str))


def unbalanced(rng: Generator, n_levels: int, least: int, most: int) -> np.ndarray:
    """Codes of levels with between `least` and `most` rows each."""
    return np.repeat(np.arange(n_levels), rng.integers(least, most + 1, n_levels))


def effects(rng: Generator, n_levels: int, sd: list[float], rho: float = 0.0) -> np.ndarray:
    """Gaussian effects (n_levels, k) with standard deviations and one common correlation."""
    correlation = np.full((len(sd), len(sd)), rho)
    np.fill_diagonal(correlation, 1.0)
    values, vectors = np.linalg.eigh(correlation * np.outer(sd, sd))
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    return rng.standard_normal((n_levels, len(sd))) @ root.T


def _slopes(rng: Generator, sd: list[float], rho: float, formula: str) -> tuple[str, Table]:
    g = unbalanced(rng, int(rng.integers(8, 30)), 4, 12)
    columns = [np.ones(len(g)), *rng.standard_normal((len(sd) - 1, len(g)))]
    b = effects(rng, g[-1] + 1, sd, rho)
    y = np.einsum("in,ni->n", columns, b[g]) + rng.standard_normal(len(g))
    names = dict(zip(["x", "z", "w"], columns[1:], strict=False))
    return formula, {"y": y, "g": labels(g), **names}


def single(rng: Generator) -> tuple[str, Table]:
    """One random intercept, unbalanced."""
    return _slopes(rng, [float(rng.uniform(0.3, 2.0))], 0.0, "y ~ 1 + (1 | g)")


def slope(rng: Generator) -> tuple[str, Table]:
    """A correlated random slope."""
    return _slopes(
        rng, [1.0, float(rng.uniform(0.5, 1.5))], rng.uniform(-0.6, 0.6), "y ~ x + (x | g)"
    )


def two_slopes(rng: Generator) -> tuple[str, Table]:
    """Two correlated random slopes."""
    return _slopes(rng, [1.0, 0.7, 0.5], rng.uniform(-0.3, 0.6), "y ~ x + z + (x + z | g)")


def independent(rng: Generator) -> tuple[str, Table]:
    """Uncorrelated intercept and slope."""
    return _slopes(rng, [1.0, 0.5], 0.0, "y ~ x + (x || g)")


def high_correlation(rng: Generator) -> tuple[str, Table]:
    """Correlation near plus or minus one."""
    rho = float(rng.choice([-0.99, 0.99]))
    return _slopes(rng, [1.5, 1.0], rho, "y ~ x + (x | g)")


def tiny_variance(rng: Generator) -> tuple[str, Table]:
    """A slope whose standard deviation is a hundredth of the noise."""
    return _slopes(rng, [1.0, 0.01], 0.0, "y ~ x + (x || g)")


def zero_slope(rng: Generator) -> tuple[str, Table]:
    """A slope without variance, in a full covariance."""
    return _slopes(rng, [1.0, 0.0], 0.0, "y ~ x + (x | g)")


def zero_variance(rng: Generator) -> tuple[str, Table]:
    """A grouping factor that explains nothing."""
    return _slopes(rng, [0.0], 0.0, "y ~ x + (1 | g)".replace("x + ", "1 + "))


def large_variance(rng: Generator) -> tuple[str, Table]:
    """Standard deviations of hundreds of the noise's."""
    return _slopes(rng, [300.0, 100.0], 0.5, "y ~ x + (x | g)")


def nested(rng: Generator) -> tuple[str, Table]:
    """Classes in schools, unbalanced."""
    inner = unbalanced(rng, int(rng.integers(24, 60)), 2, 6)
    outer = (inner // 4).astype(int)
    sd = rng.uniform(0.3, 1.5, 2)
    y = sd[0] * rng.standard_normal(outer[-1] + 1)[outer]
    y += sd[1] * rng.standard_normal(inner[-1] + 1)[inner] + rng.standard_normal(len(inner))
    return "y ~ 1 + (1 | a/b)", {"y": y, "a": labels(outer), "b": labels(inner % 4)}


def _crossed(rng: Generator, formula: str, slope: float, kept: float = 0.7) -> tuple[str, Table]:
    a, b = (grid.ravel() for grid in np.indices(rng.integers(6, 16, 2)))
    rows = np.flatnonzero(rng.random(len(a)) < kept)
    a, b = a[rows], b[rows]
    x = rng.standard_normal(len(a))
    first = effects(rng, a.max() + 1, [float(rng.uniform(0.4, 1.5)), slope], 0.3)
    second = effects(rng, b.max() + 1, [float(rng.uniform(0.4, 1.5)), slope], -0.3)
    y = x + (first[a, 0] + first[a, 1] * x) + (second[b, 0] + second[b, 1] * x)
    y += rng.standard_normal(len(a))
    return formula, {"y": y, "x": x, "a": labels(a), "b": labels(b)}


def crossed(rng: Generator) -> tuple[str, Table]:
    """Two crossed random intercepts with missing cells."""
    return _crossed(rng, "y ~ x + (1 | a) + (1 | b)", 0.0)


def crossed_slope(rng: Generator) -> tuple[str, Table]:
    """A correlated slope on one of two crossed factors."""
    return _crossed(rng, "y ~ x + (x | a) + (1 | b)", 0.7)


def crossed_slopes(rng: Generator) -> tuple[str, Table]:
    """Correlated slopes on both crossed factors."""
    return _crossed(rng, "y ~ x + (x | a) + (x | b)", 0.7)


def factor_effects(rng: Generator) -> tuple[str, Table]:
    """A three-level condition with random effects by subject, replicated."""
    n_levels = int(rng.integers(10, 25))
    g, condition, _ = (grid.ravel() for grid in np.indices((n_levels, 3, 4)))
    b = effects(rng, n_levels, [1.0, 0.8, 0.6], 0.4)
    y = condition + b[g, condition] + rng.standard_normal(len(g))
    return "y ~ f + (f | g)", {"y": y, "f": labels(condition), "g": labels(g)}


WELL_POSED: tuple[Kind, ...] = (
    single,
    slope,
    two_slopes,
    independent,
    high_correlation,
    tiny_variance,
    zero_slope,
    zero_variance,
    large_variance,
    nested,
    crossed,
    crossed_slope,
    crossed_slopes,
    factor_effects,
)


def well_posed(count: int, seed: int = 20240501) -> Iterator[Design]:
    """The first `count` designs of the grid, kinds and criteria taking turns."""
    return _take_turns(WELL_POSED, count, seed)


def _take_turns(kinds: tuple[Kind, ...], count: int, seed: int) -> Iterator[Design]:
    for i, stream in enumerate(np.random.SeedSequence(seed).spawn(count)):
        kind = kinds[i % len(kinds)]
        formula, data = kind(np.random.default_rng(stream))
        reml = (i // len(kinds)) % 2 == 0
        yield Design(f"{kind.__name__.strip('_')}-{i}", formula, data, reml)


def _maximal(rng: Generator) -> tuple[str, Table]:
    """Twenty parameters, four columns by two crossed factors, little of it real."""
    a, b, _ = (grid.ravel() for grid in np.indices((12, 10, 2)))
    x, z, w = rng.standard_normal((3, len(a)))
    columns = np.array([np.ones(len(a)), x, z, w])
    first, second = effects(rng, 12, [1.0, 0.4, 0.0, 0.0]), effects(rng, 10, [0.7, 0.0, 0.0, 0.0])
    y = x + np.einsum("in,ni->n", columns, first[a] + second[b]) + rng.standard_normal(len(a))
    formula = "y ~ x + z + w + (x + z + w | a) + (x + z + w | b)"
    return formula, {"y": y, "x": x, "z": z, "w": w, "a": labels(a), "b": labels(b)}


def _perfect_correlation(rng: Generator) -> tuple[str, Table]:
    """Intercept and slope proportional to each other."""
    return _slopes(rng, [1.0, 0.7], float(rng.choice([-1.0, 1.0])), "y ~ x + (x | g)")


def _no_variance(rng: Generator) -> tuple[str, Table]:
    """A full covariance of which nothing is there."""
    return _slopes(rng, [0.0, 0.0, 0.0], 0.0, "y ~ x + z + (x + z | g)")


def _between_slope(rng: Generator) -> tuple[str, Table]:
    """A random slope of a covariate that only varies between groups."""
    g = unbalanced(rng, int(rng.integers(10, 30)), 3, 8)
    x = rng.standard_normal(g[-1] + 1)[g]
    b = effects(rng, g[-1] + 1, [1.0, 0.5])
    y = x + b[g, 0] + b[g, 1] * x + rng.standard_normal(len(g))
    return "y ~ x + (x | g)", {"y": y, "x": x, "g": labels(g)}


def _collinear_slopes(rng: Generator) -> tuple[str, Table]:
    """Two slopes of nearly the same covariate."""
    formula, data = _slopes(rng, [1.0, 0.5], 0.3, "y ~ x + (x + z | g)")
    return formula, data | {"z": data["x"] + 1e-4 * rng.standard_normal(len(data["x"]))}


def _once_per_level(rng: Generator) -> tuple[str, Table]:
    """Every combination of two crossed factors seen once."""
    return _crossed(rng, "y ~ x + (1 | a) + (1 | b)", 0.0, kept=1.0)


def _single_rows(rng: Generator) -> tuple[str, Table]:
    """Most levels seen once."""
    g = np.repeat(np.arange(40), np.where(np.arange(40) < 30, 1, 4))
    y = rng.standard_normal(40)[g] + 0.5 * rng.standard_normal(len(g))
    return "y ~ 1 + (1 | g)", {"y": y, "g": labels(g)}


def _single_rows_crossed(rng: Generator) -> tuple[str, Table]:
    """A crossed factor whose levels have one row each, but for a few."""
    a = np.repeat(np.arange(20), 6)
    b = np.arange(120)
    b[rng.choice(120, 20, replace=False)] = 0
    y = rng.standard_normal(20)[a] + 0.7 * rng.standard_normal(120)[b] + rng.standard_normal(120)
    return "y ~ 1 + (1 | a) + (1 | b)", {"y": y, "a": labels(a), "b": labels(b)}


def _weights(rng: Generator) -> tuple[str, Table]:
    """Prior weights from 1e-3 to 1e3."""
    formula, data = slope(rng)
    return formula, data | {"weight": 10.0 ** rng.uniform(-3.0, 3.0, len(data["y"]))}


def _huge_ratio(rng: Generator) -> tuple[str, Table]:
    """A relative standard deviation of a thousand."""
    return _slopes(rng, [1000.0, 0.5], 0.0, "y ~ x + (x | g)")


def _few_rows(rng: Generator) -> tuple[str, Table]:
    """Barely more rows than fixed effects."""
    g = np.repeat(np.arange(5), 4)
    x = rng.standard_normal((12, 20))
    y = rng.standard_normal(5)[g] + rng.standard_normal(20)
    names = [f"x{i}" for i in range(12)]
    data = {"y": y, "g": labels(g), **dict(zip(names, x, strict=True))}
    return f"y ~ {' + '.join(names)} + (1 | g)", data


def _few_levels(rng: Generator) -> tuple[str, Table]:
    """Three levels for a 3 x 3 covariance."""
    g = np.repeat(np.arange(4), 8)
    x, z = rng.standard_normal((2, len(g)))
    y = rng.standard_normal(4)[g] * (1 + x) + rng.standard_normal(len(g))
    return "y ~ x + (x + z | g)", {"y": y, "x": x, "z": z, "g": labels(g)}


STRESS: tuple[Kind, ...] = (
    _maximal,
    _perfect_correlation,
    _no_variance,
    _between_slope,
    _collinear_slopes,
    _once_per_level,
    _single_rows,
    _single_rows_crossed,
    _weights,
    _huge_ratio,
    _few_rows,
    _few_levels,
)


def stressful(count: int, seed: int = 20240502) -> Iterator[Design]:
    """The first `count` hard designs: singular, extreme or barely identified."""
    return _take_turns(STRESS, count, seed)
