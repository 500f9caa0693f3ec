"""Simulated responses have the model's moments; seeds reproduce them."""

import numpy as np
import pandas as pd
import pytest

import lmm
from fits import fitted

NSIM = 4000
# Monte Carlo error of a covariance over 4000 draws, relative to the largest variance.
COVARIANCE = 0.1


def marginal(m, held=()):
    """Covariance of the response given the effects of the terms `held`."""
    total = m.sigma**2 * np.diag(1.0 / m.weights)
    for i, (term, block) in enumerate(zip(m.fit.matrices.terms, m.fit.covariances, strict=True)):
        if i not in held:
            Z = term.Zt.T.toarray()
            total += Z @ np.kron(np.eye(term.n_levels), block) @ Z.T
    return total


@pytest.mark.parametrize("name", ["slopes", "penicillin"])
def test_moments_are_the_models(name):
    m = fitted(name)
    y = m.simulate(NSIM, seed=1).to_numpy()
    expected = marginal(m)
    error = np.sqrt(expected.max() / NSIM)
    np.testing.assert_allclose(y.mean(axis=1), m.fit.fixed_part, atol=5.0 * error)
    np.testing.assert_allclose(np.cov(y), expected, atol=COVARIANCE * expected.max())


def test_effects_may_be_held():
    m = fitted("penicillin")
    y = m.simulate(NSIM, seed=2, re_form="~ (1 | plate)").to_numpy()
    expected = marginal(m, held=(0,))
    np.testing.assert_allclose(np.cov(y), expected, atol=COVARIANCE * expected.max())
    center = m.predict(re_form="~ (1 | plate)")
    np.testing.assert_allclose(y.mean(axis=1), center, atol=5.0 * np.sqrt(expected.max() / NSIM))
    everything = m.simulate(NSIM, seed=2, use_u=True).to_numpy()
    np.testing.assert_allclose(everything.mean(axis=1), m.fitted(), atol=0.05)
    np.testing.assert_allclose(everything.std(axis=1), m.sigma, rtol=0.1)


def test_weights_scale_the_residuals():
    data = lmm.load_dataset("sleepstudy").assign(w=np.repeat([1.0, 4.0], 90))
    m = lmm.lmer("Reaction ~ Days + (1 | Subject)", data, weights="w")
    spread = m.simulate(NSIM, seed=3, use_u=True).std(axis=1)
    np.testing.assert_allclose(spread, m.sigma / np.sqrt(data["w"]), rtol=0.1)


def test_seeds_and_generators_reproduce():
    m = fitted("dyestuff")
    first = m.simulate(3, seed=7)
    pd.testing.assert_frame_equal(first, m.simulate(3, seed=np.random.default_rng(7)))
    assert list(first.columns) == ["sim_1", "sim_2", "sim_3"]
    assert not first.equals(m.simulate(3, seed=8))


def test_given_parameters():
    m = fitted("dyestuff")
    y = m.simulate(NSIM, seed=1, theta=[0.0], beta=[10.0], sigma=2.0).to_numpy()
    np.testing.assert_allclose([y.mean(), y.std()], [10.0, 2.0], rtol=0.02)


def test_new_rows_may_have_any_levels():
    m = fitted("slopes")
    rows = pd.DataFrame({"Days": [0, 0, 0], "Subject": ["x", "x", "y"]}, index=list("abc"))
    y = m.simulate(NSIM, seed=5, newdata=rows)
    assert list(y.index) == list("abc")
    shared, variance = m.fit.covariances[0][0, 0], m.fit.covariances[0][0, 0] + m.sigma**2
    expected = np.array([[variance, shared, 0], [shared, variance, 0], [0, 0, variance]])
    np.testing.assert_allclose(np.cov(y), expected, atol=COVARIANCE * variance)


def test_a_formula_is_enough():
    data = pd.DataFrame({"g": np.repeat(np.arange(40), 5), "x": np.tile(np.arange(5), 40)})
    y = lmm.simulate_formula(
        "~ x + (1 | g)", data, beta=[1.0, 0.5], theta=[2.0], sigma=0.5, nsim=NSIM, seed=1
    )
    np.testing.assert_allclose(y.mean(axis=1), 1.0 + 0.5 * data["x"], atol=0.1)
    covariance = np.cov(y.iloc[:6])
    np.testing.assert_allclose(covariance[:5, :5], np.eye(5) * 0.25 + 1.0, atol=0.1)
    np.testing.assert_allclose(covariance[5, :5], 0.0, atol=0.1)
    two_sided = lmm.simulate_formula(
        "z ~ x + (1 | g)", data, beta=[1.0, 0.5], theta=[2.0], sigma=0.5, nsim=NSIM, seed=1
    )
    pd.testing.assert_frame_equal(y, two_sided)


def test_parameters_are_recovered():
    data = pd.DataFrame({"g": np.repeat(np.arange(400), 6), "x": np.tile(np.arange(6.0), 400)})
    theta, beta = np.array([1.0, 0.3, 0.5]), [2.0, -1.0]
    y = lmm.simulate_formula("~ x + (x | g)", data, beta=beta, theta=theta, sigma=3.0, seed=4)
    m = lmm.lmer("y ~ x + (x | g)", data.assign(y=y["sim_1"]))
    np.testing.assert_allclose(m.beta, beta, atol=0.5)
    np.testing.assert_allclose(m.theta, theta, atol=0.15)
    np.testing.assert_allclose(m.sigma, 3.0, rtol=0.05)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"theta": [1.0]}, r"Subject\.Days"),
        ({"beta": [1.0]}, r"\(Intercept\), Days"),
        ({"sigma": -1.0}, "positive"),
    ],
)
def test_bad_parameters_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        fitted("slopes").simulate(**options)


def test_a_missing_level_cannot_be_simulated():
    with pytest.raises(lmm.DataError, match="missing in 1 row"):
        fitted("slopes").simulate(newdata={"Days": [1], "Subject": [None]})


def test_rows_without_a_predictor_have_no_response():
    cbpp = lmm.load_dataset("cbpp")
    m = lmm.glmer("incidence ~ size + (1 | herd)", cbpp, "poisson")
    new = cbpp.head(3).assign(size=[9.0, np.nan, 8.0])
    drawn = m.simulate(2, seed=1, newdata=new)
    assert drawn.isna().all(axis=1).tolist() == [False, True, False]


def test_predictors_that_the_link_does_not_allow():
    """Of a variance that is large beside the mean, levels have negative predictors."""
    rng = np.random.default_rng(2)
    g = np.repeat(np.arange(12), 10)
    rate = np.maximum(2.0 + 0.9 * rng.normal(size=12), 0.3)[g]
    data = {"n": rng.gamma(9.0, 1.0 / rate / 9.0), "g": g}
    m = lmm.glmer("n ~ 1 + (1 | g)", data, lmm.Gamma("inverse"))
    with pytest.raises(lmm.NumericalError, match="leave what the 'inverse' link allows"):
        m.predict(type="population")
    with pytest.raises(lmm.NumericalError, match="leave what the 'inverse' link allows"):
        m.simulate(100, seed=1)
