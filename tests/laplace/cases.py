"""Simulated generalized models: every family with every link on every structure."""

from __future__ import annotations

import numpy as np

import lmm
from lmm.design.matrices import ModelMatrices
from lmm.family import Binomial, Family, Gamma, Gaussian, InverseGaussian, NegativeBinomial, Poisson

FAMILIES = (
    *(Binomial(link) for link in Binomial.links),
    *(Poisson(link) for link in Poisson.links),
    *(NegativeBinomial(theta, link) for link in ("log", "sqrt") for theta in (None, 1.7)),
    *(Gamma(link) for link in Gamma.links),
    *(Gaussian(link) for link in Gaussian.links),
    *(InverseGaussian(link) for link in InverseGaussian.links),
)
STRUCTURES = {
    "one": "(1 | g)",
    "slopes": "(x | g)",
    "independent": "(x || g)",
    "crossed": "(1 | g) + (1 | h)",
    "nested": "(1 | g / k)",
    "slopes and crossed": "(x | g) + (1 | h)",
}


def level_of(family: Family) -> float:
    """A linear predictor well inside the family's range."""
    if family.name == "binomial":
        return {"log": -1.2}.get(family.link, 0.2)
    return {"identity": 4.0, "inverse": 1.0, "1/mu^2": 1.0, "sqrt": 3.0}.get(family.link, 0.7)


def simulated(family: Family, formula: str, seed: int = 3, n: int = 120) -> ModelMatrices:
    """Matrices of a model whose data follow it, roughly."""
    rng = np.random.default_rng(seed)
    g, h, k = rng.integers(0, 12, n), rng.integers(0, 7, n), rng.integers(0, 3, n)
    x = rng.uniform(-1.0, 1.0, n)
    small = 0.08 if family.link in ("inverse", "1/mu^2") or family.link == "log" else 0.3
    effects = small * (rng.normal(size=12)[g] + rng.normal(size=7)[h])
    eta = level_of(family) + 0.5 * small * x + effects
    weights = rng.integers(1, 5, n).astype(float)
    y = family.draw(
        rng,
        family.inverse(eta),
        weights,
        family.shape_of(2.0 if family.shape_name == "theta" else -1.0),
    )
    data = {"y": y, "x": x, "g": g, "h": h, "k": k, "w": weights}
    control = lmm.LmerControl(check_nobs_vs_nRE="ignore", check_nobs_vs_nlev="ignore")
    return lmm.build_matrices(f"y ~ x + {formula}", data, weights="w", control=control)
