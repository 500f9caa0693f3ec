"""Marginal means of generalized models: on the scale of the link, and back."""

import numpy as np
import pytest
from scipy.special import expit

import lmm


@pytest.fixture(scope="module")
def cbpp():
    return lmm.load_dataset("cbpp")


@pytest.fixture(scope="module")
def logit(cbpp):
    return lmm.glmer(
        "cbind(incidence, size - incidence) ~ period + (1 | herd)", cbpp, family="binomial"
    )


def test_probabilities_and_odds_ratios(logit):
    # R: emmeans(m, "period", type = "response"), pairs of it
    means = lmm.emmeans(logit, "period", type="response")
    frame = means.to_frame()
    assert list(frame) == ["period", "prob", "SE", "df", "asymp.LCL", "asymp.UCL"]
    np.testing.assert_allclose(frame["prob"], [0.1981, 0.0839, 0.0740, 0.0484], atol=2e-4)
    b = logit.fixef().to_numpy()
    eta = b[0] + np.r_[0.0, b[1:]]
    np.testing.assert_allclose(frame["prob"], expit(eta))
    ratios = means.pairs()
    shown = ratios.to_frame()
    assert shown["contrast"].iloc[0] == "period1 / period2"
    np.testing.assert_allclose(shown["odds.ratio"][:3], np.exp(-b[1:]))
    np.testing.assert_allclose(shown["odds.ratio"], [2.7, 3.09, 4.86, 1.15, 1.8, 1.57], rtol=5e-3)
    assert str(ratios).rstrip().endswith("Tests are performed on the log odds ratio scale")
    assert "Degrees-of-freedom" not in str(ratios)


def test_the_scale_of_the_link_is_named(logit):
    means = lmm.emmeans(logit, "period")
    assert "Results are given on the logit (not the response) scale." in str(means)
    assert "on the log odds ratio (not the response) scale" in str(means.pairs())
    assert list(means.regrid().to_frame())[1] == "prob"


@pytest.mark.parametrize(
    "family, column, contrast",
    [
        (lmm.Poisson(), "rate", "ratio"),
        (lmm.Poisson("sqrt"), "rate", "estimate"),
        (lmm.NegativeBinomial(2.0), "response", "ratio"),
        (lmm.Gamma("log"), "response", "ratio"),
        (lmm.Gamma("inverse"), "response", "estimate"),
    ],
)
def test_names_of_means_and_contrasts(family, column, contrast, cbpp):
    data = cbpp.assign(y=cbpp["incidence"] + (0.0 if family.name != "Gamma" else 0.5))
    m = lmm.glmer("y ~ period + (1 | herd)", data, family=family)
    means = lmm.emmeans(m, "period", type="response")
    frame = means.to_frame()
    plain = lmm.emmeans(m, "period").to_frame()["emmean"]
    np.testing.assert_allclose(frame[column], family.link_function.inverse(plain.to_numpy()))
    assert (frame["asymp.LCL"] < frame[column]).all()
    assert (frame[column] < frame["asymp.UCL"]).all()
    assert contrast in means.pairs().to_frame()


def test_joint_tests_are_walds(logit):
    row = lmm.joint_tests(logit).to_frame().iloc[0]
    b, V = logit.beta[1:], logit.fit.vcov[1:, 1:]
    assert row["F.ratio"] == pytest.approx(b @ np.linalg.solve(V, b) / 3)
    assert np.isinf(row["df2"])


def test_degrees_of_freedom_and_bias_need_a_linear_model(logit):
    with pytest.raises(ValueError, match="linear models only"):
        lmm.emmeans(logit, "period", ddf="satterthwaite")
    with pytest.raises(lmm.DataError, match="give sigma="):
        lmm.emmeans(logit, "period", type="response", bias_adjust=True)
    sigma = 0.64
    adjusted = lmm.emmeans(logit, "period", type="response", bias_adjust=True, sigma=sigma)
    eta = lmm.emmeans(logit, "period").to_frame()["emmean"].to_numpy()
    z = sigma * np.random.default_rng(0).normal(size=400_000)
    mean = expit(eta[:, None] + z).mean(axis=1)
    np.testing.assert_allclose(adjusted.to_frame()["prob"], mean, rtol=0.02)


@pytest.mark.filterwarnings("ignore::lmm.ConvergenceWarning")
def test_joint_tests_where_one_level_separates_the_responses(cbpp):
    """Differences from it have a standard error of thousands, and seem to be one."""
    sick = cbpp.assign(sick=(cbpp["period"] == "4") | (cbpp["incidence"] > 1))
    m = lmm.glmer("sick ~ period + (1 | herd)", sick)
    assert m.bse["period4"] > 1e3
    found = lmm.joint_tests(m).to_frame()
    assert found["df1"].to_list() == [3]
    np.testing.assert_allclose(
        3.0 * found["F.ratio"], m.anova("III").to_frame()["Chisq"], rtol=1e-6
    )
    assert m.tidy("fixed", conf_int=True, exponentiate=True)["conf.high"].isin([np.inf]).sum() == 1
