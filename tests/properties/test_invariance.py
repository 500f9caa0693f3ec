"""Laws that hold for every data set: what changes a fit, and how, is known beforehand."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lmm

# Two fits of one model in other units agree to the tolerance of the optimizer ...
CRITERION = 1e-6
# ... and estimates to its root.
ESTIMATE = 1e-4

seeds = st.integers(0, 2**32 - 1)
REML = st.booleans()
# Fits take milliseconds; a law that fails does so early.
few = settings(max_examples=25)


def table(seed):
    """Two crossed factors, one nested in the first, covariates; variances of all sizes."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(60, 120))
    a, b = rng.integers(0, 8, n), rng.integers(0, 5, n)
    a[:8], b[:5] = np.arange(8), np.arange(5)
    c = rng.integers(0, 3, n)
    x, z = rng.standard_normal((2, n))
    sd = rng.choice([0.0, 0.3, 1.0, 3.0], 4)
    effects = sd[:, None] * rng.standard_normal((4, 24))
    y = 1.0 + 0.5 * x + effects[0][a] + effects[1][a] * x + effects[2][b] + effects[3][3 * a + c]
    factors = {k: np.char.add(k, v.astype(str)) for k, v in {"a": a, "b": b, "c": c}.items()}
    return {"y": y + rng.standard_normal(n), "x": x, "z": z} | factors


def fit(formula, data, **arguments):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for harmless in (lmm.SingularFitWarning, lmm.ScaleWarning):
            warnings.simplefilter("ignore", harmless)
        return lmm.lmer(formula, data, **arguments)


def value(m):
    return m.optimum.value


def covariance_of(m, group):
    """Covariance matrix of a factor's first term."""
    return dict(zip([t.group for t in m.fit.matrices.terms], m.fit.covariances, strict=True))[group]


@few
@given(seeds, REML)
def test_order_of_rows(seed, reml):
    data = table(seed)
    order = np.random.default_rng(seed).permutation(len(data["y"]))
    formula = "y ~ x + (x | a) + (1 | b)"
    m = fit(formula, data, reml=reml)
    other = fit(formula, {k: v[order] for k, v in data.items()}, reml=reml)
    assert value(other) == pytest.approx(value(m), abs=CRITERION)
    np.testing.assert_allclose(other.beta, m.beta, atol=ESTIMATE)
    np.testing.assert_allclose(other.fit.fitted, m.fit.fitted[order], atol=ESTIMATE * 10)


@few
@given(seeds)
def test_names_of_levels(seed):
    data = table(seed)
    names = np.random.default_rng(seed).permutation(8)
    renamed = np.array([f"n{names[int(level[1:])]}" for level in data["a"]])
    m, other = (fit("y ~ x + (x | a)", data | {"a": v}) for v in (data["a"], renamed))
    assert value(other) == pytest.approx(value(m), abs=CRITERION)
    effects, others = m.ranef()["a"], other.ranef()["a"]
    for i in range(8):
        np.testing.assert_allclose(
            others.loc[f"n{names[i]}"], effects.loc[f"a{i}"], atol=ESTIMATE * 10
        )


@few
@given(seeds, REML)
def test_order_of_terms(seed, reml):
    data = table(seed)
    m = fit("y ~ x + (x | a) + (1 | b)", data, reml=reml)
    other = fit("y ~ x + (1 | b) + (x | a)", data, reml=reml)
    assert value(other) == pytest.approx(value(m), abs=CRITERION)


@few
@given(seeds, st.floats(-6, 6), REML)
def test_unit_of_the_response(seed, exponent, reml):
    """With y -> c y, the criterion gains 2 nu log c and all estimates scale."""
    data, c = table(seed), 10.0**exponent
    formula = "y ~ x + (x | a) + (1 | b)"
    m = fit(formula, data, reml=reml)
    other = fit(formula, data | {"y": c * data["y"]}, reml=reml)
    nu = m.nobs - (2 if reml else 0)
    assert value(other) - 2.0 * nu * np.log(c) == pytest.approx(value(m), abs=CRITERION)
    np.testing.assert_allclose(other.theta, m.theta, atol=ESTIMATE, rtol=ESTIMATE)
    assert other.sigma == pytest.approx(c * m.sigma, rel=ESTIMATE)
    assert other.is_singular() == m.is_singular()


@few
@given(seeds, st.floats(-1e4, 1e4), st.floats(-1e4, 1e4))
def test_part_of_the_fixed_effects_added_to_the_response(seed, intercept, slope):
    data = table(seed)
    formula = "y ~ x + (x | a)"
    m = fit(formula, data)
    other = fit(formula, data | {"y": data["y"] + intercept + slope * data["x"]})
    assert value(other) == pytest.approx(value(m), abs=CRITERION)
    np.testing.assert_allclose(other.beta - m.beta, [intercept, slope], atol=ESTIMATE)


@few
@given(seeds, st.floats(-1e4, 1e4), st.floats(-4, 4), REML)
def test_unit_and_origin_of_a_covariate(seed, shift, exponent, reml):
    """With x -> s x + t, a full covariance changes as that of a linear map of its effects."""
    data, s = table(seed), 10.0**exponent
    formula = "y ~ x + (x | a)"
    m = fit(formula, data, reml=reml)
    other = fit(formula, data | {"x": s * data["x"] + s * shift}, reml=reml)
    change = 2.0 * np.log(s) if reml else 0.0
    assert value(other) - change == pytest.approx(value(m), abs=CRITERION)
    # intercept + slope x = (intercept - slope t / s) + (slope / s) (s x + t)
    back = np.array([[1.0, s * shift], [0.0, s]])
    expected, actual = covariance_of(m, "a"), back @ covariance_of(other, "a") @ back.T
    size = np.sqrt(np.outer(np.diag(expected), np.diag(expected))).max() + m.sigma**2
    np.testing.assert_allclose(actual, expected, atol=1e-3 * size)
    assert other.is_singular() == m.is_singular()


@few
@given(seeds, REML)
def test_independent_columns_are_separate_terms(seed, reml):
    data = table(seed)
    m = fit("y ~ x + (x || a)", data, reml=reml)
    other = fit("y ~ x + (1 | a) + (0 + x | a)", data, reml=reml)
    assert value(other) == pytest.approx(value(m), abs=CRITERION)
    np.testing.assert_allclose(other.theta, m.theta, atol=ESTIMATE, rtol=ESTIMATE)


@few
@given(seeds)
def test_nesting_is_an_interaction(seed):
    data = table(seed)
    m = fit("y ~ x + (1 | a / c)", data)
    other = fit("y ~ x + (1 | a) + (1 | a:c)", data)
    assert value(other) == pytest.approx(value(m), abs=CRITERION)
    np.testing.assert_allclose(other.theta, m.theta, atol=ESTIMATE, rtol=ESTIMATE)


@few
@given(seeds, REML)
def test_theta_of_zero_is_least_squares(seed, reml):
    data = table(seed)
    built = lmm.build_matrices("y ~ x + z + (x | a) + (1 | b)", data)
    criterion = lmm.ProfiledCriterion(built, reml=reml)
    _, rss, *_ = np.linalg.lstsq(built.X, built.y, rcond=None)
    nu = built.n - (built.p if reml else 0)
    expected = nu * (1.0 + np.log(2.0 * np.pi * rss[0] / nu))
    if reml:
        expected += np.linalg.slogdet(built.X.T @ built.X)[1]
    assert criterion(np.zeros(4)) == pytest.approx(expected, rel=1e-12)


@few
@given(seeds, st.floats(0.01, 100.0))
def test_a_common_weight_only_rescales_sigma(seed, weight):
    data = table(seed)
    formula = "y ~ x + (x | a)"
    weights = np.full(len(data["y"]), weight)
    m, other = fit(formula, data), fit(formula, data, weights=weights)
    np.testing.assert_allclose(other.beta, m.beta, atol=ESTIMATE)
    assert other.sigma == pytest.approx(np.sqrt(weight) * m.sigma, rel=ESTIMATE)
    assert value(other) == pytest.approx(value(m), abs=CRITERION)


@few
@given(seeds)
def test_a_smaller_model_does_not_fit_better(seed):
    data = table(seed)
    formulas = ["y ~ x + (1 | a)", "y ~ x + (x || a)", "y ~ x + (x | a)"]
    values = [value(fit(formula, data, reml=False)) for formula in formulas]
    assert values[0] >= values[1] - CRITERION
    assert values[1] >= values[2] - CRITERION
