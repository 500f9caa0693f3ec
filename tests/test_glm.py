"""Generalized linear models without random effects, against R's glm and glm.nb."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

import lmm

FORMULA = "cbind(incidence, size - incidence) ~ period"


@pytest.fixture(scope="module")
def cbpp():
    return lmm.load_dataset("cbpp")


def coefficients(m):
    return m.summary().iloc[:, :2].to_numpy()


def test_binomial_models(cbpp):
    m = lmm.glm(FORMULA, cbpp)
    expected = [
        [-1.26902349, 0.144919762],
        [-1.17076273, 0.291467788],
        [-1.30140533, 0.312881172],
        [-1.78227864, 0.413056443],
    ]
    assert_allclose(coefficients(m), expected, rtol=1e-6)
    assert m.loglik() == pytest.approx(-99.0291995, abs=1e-7)
    assert (m.deviance(), m.null_deviance) == pytest.approx((114.102, 154.817), abs=5e-4)
    assert m.aic() == pytest.approx(206.058, abs=5e-4)
    assert "52 Residual" in str(m)


def test_other_links_and_residuals(cbpp):
    m = lmm.glm(FORMULA, cbpp, lmm.Binomial("cloglog"))
    expected = [
        [-1.39544102, 0.128364516],
        [-1.08642965, 0.274472649],
        [-1.21207301, 0.296544049],
        [-1.67905651, 0.399199221],
    ]
    assert_allclose(coefficients(m), expected, rtol=1e-6)
    for kind, first in (
        ("deviance", [-0.727394205, 1.774473162]),
        ("pearson", [-0.692241229, 2.165964615]),
        ("working", [-0.395968676, 2.208668951]),
    ):
        assert_allclose(m.residuals(kind)[:2], first, rtol=1e-8)
    assert_allclose(m.residuals("response") + m.fitted(), cbpp["incidence"] / cbpp["size"])


def test_counts_with_an_offset(cbpp):
    m = lmm.glm("incidence ~ period + offset(log(size))", cbpp, "poisson")
    expected = [
        [-1.51674725, 0.128036880],
        [-1.00662568, 0.274257128],
        [-1.12739915, 0.296347750],
        [-1.58076772, 0.399062132],
    ]
    assert_allclose(coefficients(m), expected, rtol=1e-6)
    assert_allclose(
        [m.loglik(), m.deviance(), m.null_deviance], [-94.612705, 98.0520003, 133.66356]
    )
    rows = cbpp[:3]
    assert_allclose(m.predict(rows), m.predict()[:3])
    assert_allclose(m.predict(rows, type="response"), m.fitted()[:3])
    by_name = lmm.glm(
        "incidence ~ period", cbpp.assign(o=np.log(cbpp["size"])), "poisson", offset="o"
    )
    assert_allclose(by_name.beta, m.beta)


def test_negative_binomial_counts():
    m = lmm.glm(
        "total.fruits ~ factor(nutrient) + amd",
        lmm.load_dataset("Arabidopsis"),
        "negative.binomial",
    )
    expected = [[2.488891997, 0.105717807], [1.209039198, 0.119067709], [0.243860379, 0.119091446]]
    assert_allclose(coefficients(m), expected, rtol=1e-7)
    assert m.shape == pytest.approx(0.461691523, rel=1e-7)
    assert m.loglik() == pytest.approx(-2551.868632611, abs=1e-7)
    assert m.n_parameters == 4


def test_gamma_responses(cbpp):
    m = lmm.glm("size ~ period", cbpp, "Gamma")
    expected = [
        [0.0539568345, 0.00716852665],
        [0.0120809013, 0.01156984355],
        [0.0171091553, 0.01212018346],
        [0.0299141332, 0.01395177801],
    ]
    assert_allclose(coefficients(m), expected, rtol=1e-7)
    assert_allclose(m.summary()["t value"].iloc[0], 7.52690716, rtol=1e-7)
    assert m.dispersion == pytest.approx(0.264763516, rel=1e-8)
    # MASS::gamma.dispersion, that of the highest likelihood
    assert m.shape == pytest.approx(0.304539467, rel=1e-7)
    # 2.160 of t with 52 degrees of freedom
    half = np.diff(m.confint(method="wald").to_frame().iloc[0])[0] / 2.0
    assert half / m.summary()["Std. Error"].iloc[0] == pytest.approx(2.0066468, rel=1e-7)


def test_comparison_with_mixed_models(cbpp):
    m = lmm.glmer(f"{FORMULA} + (1 | herd)", cbpp)
    table = lmm.anova(m, lmm.glm(FORMULA, cbpp), boundary=True).to_frame()
    assert list(table["npar"]) == [4, 5]
    assert table["Chisq"].iloc[1] == pytest.approx(14.0058, abs=1e-3)
    assert_allclose(table["Pr(>Chibar)"].iloc[1], table["Pr(>Chisq)"].iloc[1] / 2.0)
    with pytest.raises(lmm.DataError, match="the responses of model 1"):
        lmm.anova(m, lmm.glm(FORMULA, cbpp.assign(incidence=np.arange(56) % 2)))


def test_likelihood_is_that_of_a_mixed_model_without_variance(cbpp):
    control = lmm.GlmerControl(check_conv_singular="ignore")
    flat = cbpp.assign(incidence=(cbpp["size"] * 0.2).round().astype(int))
    m = lmm.glmer(f"{FORMULA} + (1 | herd)", flat, control=control)
    assert m.is_singular()
    assert lmm.glm(FORMULA, flat).loglik() == pytest.approx(m.loglik(), abs=1e-6)


def test_results_of_statsmodels(cbpp):
    sm = pytest.importorskip("statsmodels.api")
    X = np.column_stack([np.ones(56), *(cbpp["period"].astype(str) == k for k in "234")])
    both = np.column_stack([cbpp["incidence"], cbpp["size"] - cbpp["incidence"]])
    result = sm.GLM(both, X.astype(float), family=sm.families.Binomial()).fit()
    m = lmm.glmer(f"{FORMULA} + (1 | herd)", cbpp)
    table = lmm.anova(m, result).to_frame()
    assert table["Chisq"].iloc[1] == pytest.approx(14.0058, abs=1e-3)
    gamma = sm.GLM(
        cbpp["size"], X.astype(float), family=sm.families.Gamma(sm.families.links.Log())
    ).fit()
    with pytest.raises(TypeError, match=r"fit the model by lmm\.glm"):
        lmm.anova(m, gamma)


def test_separated_responses():
    d = {"y": [0, 0, 0, 1, 1, 1], "x": [1, 2, 3, 4, 5, 6]}
    with pytest.warns(lmm.ConvergenceWarning, match="6 fitted probabilities are 0 or 1"):
        lmm.glm("y ~ x", d)


@pytest.mark.parametrize(
    "formula, family, message",
    [
        ("size ~ period", "gaussian", r"use lmm\.lm"),
        ("size ~ period", "binomial", "binomial"),
        ("incidence ~ period", "Gamma", "positive"),
    ],
)
def test_mistakes(cbpp, formula, family, message):
    with pytest.raises(lmm.DataError, match=message):
        lmm.glm(formula, cbpp, family)


def test_random_terms_are_for_glmer(cbpp):
    with pytest.raises(lmm.FormulaError):
        lmm.glm("size ~ period + (1 | herd)", cbpp, "poisson")
    with pytest.raises(ValueError, match="Unknown kind of residuals 'quantil'"):
        lmm.glm("size ~ period", cbpp, "poisson").residuals("quantil")
    with pytest.raises(ValueError, match="'link' or 'response', not 'mean'"):
        lmm.glm("size ~ period", cbpp, "poisson").predict(type="mean")


def test_first_steps_that_leave_the_link_are_cut():
    """Counts with identity link: R's glm, which needs a start, gives the same likelihood."""
    x = np.linspace(-2.0, 2.0, 40)
    y = np.round(2.2 + x + np.sin(7.0 * np.arange(40))).clip(0)
    m = lmm.glm("y ~ x", {"y": y, "x": x}, lmm.Poisson("identity"))
    score = (y / m.fitted() - 1.0) @ np.column_stack([np.ones(40), x])
    np.testing.assert_allclose(score, 0.0, atol=1e-5)
