"""Collinearity and comparisons of performance, against R's performance 0.10."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

import lmm
from fits import fitted

FORMULA = "angle ~ recipe + x + z + (1 | recipe:replicate)"


@pytest.fixture(scope="module")
def cake():
    d = lmm.load_dataset("cake").assign(x=lambda d: d["temperature"].astype(str).astype(float))
    return d.assign(z=np.sin(np.arange(1.0, 271.0)) + d["x"] / 30.0)


@pytest.fixture(scope="module")
def model(cake):
    return lmm.lmer(FORMULA, cake)


def test_factors_are_those_of_performance(model):
    checked = lmm.check_collinearity(model)
    table = checked.to_frame()
    assert_allclose(table["VIF"], [1.000000003, 1.631095324, 1.631095327], rtol=1e-8)
    limits = table.loc["x", ["VIF_CI_low", "VIF_CI_high"]]
    assert_allclose(limits, [1.416420487, 1.956440234], rtol=1e-8)
    assert table.loc["recipe", "VIF_CI_high"] > 1e6
    assert [line.rstrip() for line in str(checked).split("\n")] == [
        "# Check for Multicollinearity",
        "",
        "Low Correlation",
        "",
        "   Term  VIF   VIF 95% CI Increased SE Tolerance",
        " recipe 1.00  [1.00, Inf]         1.00      1.00",
        "      x 1.63 [1.42, 1.96]         1.28      0.61",
        "      z 1.63 [1.42, 1.96]         1.28      0.61",
    ]


def test_interactions_inflate(model):
    checked = lmm.check_collinearity(model.update(". ~ . + recipe:x"))
    table = checked.to_frame()
    assert_allclose(
        table["VIF"], [134.217626138, 3.633611251, 1.631096619, 157.388120810], rtol=1e-6
    )
    expected = [106.731522932, 3.002570498, 1.417735171, 125.137260389]
    assert_allclose(table["VIF_CI_low"], expected, rtol=1e-6)
    assert_allclose(table["GVIF^(1/(2*Df))"]["recipe"], 134.217626138**0.25, rtol=1e-6)
    assert "High Correlation" in str(checked)


def test_two_covariates_by_their_correlation(cake):
    m = lmm.lmer("angle ~ x + z + (1 | recipe:replicate)", cake)
    V = m.vcov().to_numpy()[1:, 1:]
    r = V[0, 1] / np.sqrt(V[0, 0] * V[1, 1])
    assert_allclose(lmm.check_collinearity(m)["VIF"], 1.0 / (1.0 - r**2), rtol=1e-10)


def test_generalized_models():
    m = lmm.glmer(
        "cbind(incidence, size - incidence) ~ period + size + (1 | herd)", lmm.load_dataset("cbpp")
    )
    # R's covariance is of differences
    assert_allclose(lmm.check_collinearity(m)["VIF"], 1.151418, rtol=2e-3)


def test_one_term_is_refused():
    with pytest.raises(lmm.DataError, match="two terms or more beside the intercept"):
        lmm.check_collinearity(fitted("slopes"))


def test_comparison_is_that_of_performance(model):
    small = model.update(". ~ . - z")
    compared = lmm.compare_performance(small, model, names=["small", "large"])
    table = compared.to_frame()
    assert_allclose(table["R2 (cond.)"], [0.7055191950, 0.7048233819], rtol=1e-5)
    assert_allclose(table["ICC"], [0.6687080058, 0.6679287933], rtol=1e-5)
    assert_allclose(table["Sigma"], [4.550540384, 4.559135538], rtol=1e-6)
    # R's likelihoods are those at the REML estimates
    assert_allclose(table["AIC_wt"], [0.71666, 0.28334], atol=2e-3)
    assert_allclose(table["AIC"], [small.refit_ml().aic(), model.refit_ml().aic()])
    assert_allclose(table[["AIC_wt", "AICc_wt", "BIC_wt"]].sum(), 1.0)
    assert "small | 1708.2 (0.718)" in str(compared)


def test_what_cannot_be_compared(model, cake):
    with pytest.raises(ValueError, match="two models or more"):
        lmm.compare_performance(model)
    with pytest.raises(ValueError, match="2 models, but 1 names"):
        lmm.compare_performance(model, model, names=["a"])
    with pytest.raises(lmm.DataError, match="same size"):
        lmm.compare_performance(model, model.update(data=cake.iloc[:200]))
