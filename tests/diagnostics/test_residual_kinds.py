"""Residuals that know the random effects' covariance, and those by simulation."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

import lmm
from fits import fitted


@pytest.mark.parametrize(
    "name, expected",
    [
        (
            "slopes",
            [-0.05183532893, -0.07096677114, -0.63248577883, 0.44669211813, -0.24848111777],
        ),
        (
            "penicillin",
            [1.84798327826, -0.26922346614, 1.16854343436, -1.80300383966, -1.51340683875],
        ),
    ],
)
def test_normalized_residuals_are_those_of_r(name, expected):
    # forwardsolve(t(chol(V)), y - X beta), V from lme4's getME: its estimates have five digits
    values = fitted(name).residuals("normalized").to_numpy()
    assert_allclose(values[[0, 1, 2, -2, -1]], expected, rtol=1e-4, atol=1e-6)


def test_normalized_residuals_with_weights_of_nested_effects():
    d = lmm.load_dataset("Pastes")
    weights = np.tile([1.0, 2.0, 0.5], 20)
    m = lmm.lmer("strength ~ 1 + (1 | batch / cask)", d, weights=weights)
    A = (m.Z @ m.Lambda).toarray()
    V = m.sigma**2 * (np.diag(1.0 / weights) + A @ A.T)
    marginal = m.residuals("marginal").to_numpy()
    assert_allclose(marginal, m.y - m.fixef().iloc[0])
    expected = np.linalg.solve(np.linalg.cholesky(V), marginal)
    assert_allclose(m.residuals("normalized"), expected, rtol=1e-9, atol=1e-12)
    assert_allclose(m.residuals("normalized", scaled=True), expected, rtol=1e-9, atol=1e-12)
    assert_allclose(m.residuals("marginal", scaled=True), marginal / m.sigma)


def test_kinds_of_linear_models_only():
    m = lmm.glmer(
        "cbind(incidence, size - incidence) ~ period + (1 | herd)", lmm.load_dataset("cbpp")
    )
    with pytest.raises(ValueError, match="marginal residuals exist for linear models only"):
        m.residuals("marginal")


def test_simulated_residuals_are_ranks():
    residuals = fitted("slopes").simulated_residuals(nsim=40, seed=3)
    below = (residuals.simulated < residuals.y[:, None]).mean(axis=1)
    assert_allclose(residuals.values, below)
    assert_allclose(residuals.predicted, fitted("slopes").predict(re_form="~0"))
    assert residuals.outliers.sum() == ((below == 0.0) | (below == 1.0)).sum()
    share, _ = residuals.outlier_test()
    assert share == residuals.outliers.mean()
    again = fitted("slopes").simulated_residuals(nsim=40, seed=3)
    assert_allclose(again.values, residuals.values)


def test_a_model_that_holds_has_uniform_residuals():
    rng = np.random.default_rng(4)
    g = np.repeat(np.arange(60), 10)
    y = rng.poisson(np.exp(0.5 + 0.5 * rng.standard_normal(60)[g]))
    m = lmm.glmer("y ~ 1 + (1 | g)", {"y": y, "g": g.astype(str)}, family="poisson")
    tests = m.simulated_residuals(seed=1).to_frame()
    assert (tests["p.value"] > 0.05).all()
    assert tests.loc["dispersion", "statistic"] == pytest.approx(1.0, abs=0.3)


def test_overdispersion_is_seen():
    rng = np.random.default_rng(5)
    g = np.repeat(np.arange(60), 10)
    y = rng.negative_binomial(0.7, 0.7 / (0.7 + 4.0), size=600)
    m = lmm.glmer(
        "y ~ 1 + (1 | g)",
        {"y": y, "g": g.astype(str)},
        family="poisson",
        control=lmm.GlmerControl(check_conv_singular="ignore"),
    )
    residuals = m.simulated_residuals(seed=1)
    ratio, p_value = residuals.dispersion()
    assert ratio > 2.0
    assert p_value == 0.0
    assert residuals.uniformity()[1] < 1e-6
    assert residuals.outlier_test()[1] < 1e-6


def test_rows_left_out_stay_out():
    d = lmm.load_dataset("sleepstudy")
    d.loc[3, "Days"] = np.nan
    m = lmm.lmer("Reaction ~ Days + (1 | Subject)", d, na_action="exclude")
    assert len(m.simulated_residuals(nsim=20, seed=1).values) == 179
    assert len(m.residuals("normalized")) == 180


def test_number_of_simulations():
    with pytest.raises(ValueError, match="nsim must be a whole number"):
        fitted("slopes").simulated_residuals(nsim=0)
