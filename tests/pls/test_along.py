"""Few directions of wide blocks, and levels with fewer rows than columns."""

import numpy as np
import pytest

import lmm
from lmm.pls import BlockPLS, DensePLS, standardize

FORMULAS = [
    "y ~ x + ar1(0 + t | g)",
    "y ~ x + ou(0 + t | g)",
    "y ~ x + cs(0 + t | g, hom = TRUE)",
    "y ~ x + (1 | g) + ar1(0 + t | g)",
    "y ~ x + diag(0 + t | g, hom = TRUE)",
]


def problem(formula, visits, weights=False):
    """20 subjects, each seen at `visits` of 6 times, some of them twice."""
    rng = np.random.default_rng(8)
    times = np.concatenate([rng.choice(6, visits, replace=False) for _ in range(20)])
    g = np.repeat(np.arange(20), visits)
    g, times = np.append(g, g[::7]), np.append(times, times[::7])
    n = len(g)
    data = {"y": rng.standard_normal(n), "x": rng.standard_normal(n), "g": g}
    data["t"] = np.array([f"{t}" for t in times])
    control = lmm.LmerControl(check_nobs_vs_nRE="ignore")
    w = rng.uniform(0.5, 2.0, n) if weights else None
    return standardize(lmm.build_matrices(formula, data, weights=w, control=control))


def points(problem):
    """Parameters where Gamma is small, large and singular."""
    parameters = problem.matrices.parameters
    yield parameters.generic
    yield 1e3 * parameters.generic.clip(0.0, 1e-3)
    yield np.where(np.isinf(parameters.upper), 30.0, parameters.generic)
    yield np.where(np.isinf(parameters.upper), 0.0, parameters.generic)


@pytest.mark.parametrize("formula", FORMULAS)
@pytest.mark.parametrize("visits", [2, 5])
@pytest.mark.parametrize("reml", [True, False])
def test_derivatives_and_effects_are_those_of_dense_matrices(formula, visits, reml):
    whole = problem(formula, visits, weights=reml)
    parameters, ours, oracle = whole.matrices.parameters, BlockPLS.of_one(whole), DensePLS(whole)
    assert ours.chain.along_units
    assert ours.chain.by_rows is (visits == 2)
    for par in points(whole):
        factors, units = parameters.factors(par), parameters.units(par)
        here, there = ours.at(factors), oracle.at(factors)
        actual, expected = here.derivatives(reml), there.derivatives(reml)
        for name in ("logdet_L", "logdet_RX", "pwrss"):
            value = getattr(expected.terms, name)
            assert getattr(actual.terms, name) == pytest.approx(value, rel=1e-10, abs=1e-10)
        for name in ("logdet", "quadratic"):
            for one, other in zip(getattr(actual, name), getattr(expected, name), strict=True):
                np.testing.assert_allclose(one, other, atol=1e-10 * np.abs(other).max())
        for name in ("average", "scoring", "trace"):
            one, other = (getattr(d.along(units), name) for d in (actual, expected))
            np.testing.assert_allclose(one, other, atol=1e-9 * np.abs(other).max())
        for one, other in zip(here.solution().effects, there.solution().effects, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-9)
        group = whole.groups[0]
        right = np.random.default_rng(1).standard_normal((2, group.size, group.n_levels))
        np.testing.assert_allclose(here.solve((right,))[0], there.solve((right,))[0], atol=1e-7)
        np.testing.assert_allclose(here.diagonal[0], there.diagonal[0], atol=1e-7)
