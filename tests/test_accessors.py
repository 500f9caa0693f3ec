"""What a fit gives on request: frames, covariances, likelihoods, tests with its covariance."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import lmm


@pytest.fixture(scope="module")
def d():
    """Growth of 24 children with gaps, and a factor that crosses their sexes."""
    d = lmm.load_dataset("Orthodont")
    codes = pd.Categorical(d["Subject"].astype(str)).codes + 1
    w = codes % 7 + np.where(d["Sex"] == "Male", 0.5, 0.0)
    d["a"] = np.where(w > 3.2, "hi", "lo")
    d["Sex"] = pd.Categorical(d["Sex"], ["Female", "Male"])
    d = d.drop(index=[2, 16, 39, 40]).reset_index(drop=True)
    return d.drop(index=[*range(9), *range(49, 57), 59])


@pytest.fixture(scope="module")
def m(d):
    return lmm.lmer("distance ~ age + Sex * a + (1 | Subject)", d)


def test_type_two_tests_are_those_of_car(m):
    # car 3.1-1: Anova(m), Anova(m, test.statistic = "F")
    table = lmm.wald_anova(m).to_frame()
    assert_allclose(table["Chisq"], [66.62650878, 6.62941972, 0.13732219, 2.62495629], rtol=2e-7)
    table = lmm.wald_anova(m, "II", "F").to_frame()
    assert_allclose(table["F"], [66.42070735, 6.62842310, 0.13827167, 2.62278946], rtol=2e-6)
    assert_allclose(table["Df.res"], [62.802183, 19.691888, 19.873206, 19.695409], rtol=2e-6)
    # lmerTest's differ in what is not balanced
    assert_allclose(m.anova("II").loc["Sex", "F value"], 6.386325, rtol=1e-6)


def test_type_two_leaves_out_all_that_have_the_variables_and_more():
    # car 3.1-1: a factor beside its slopes is tested in the model of one slope. lmerTest tests the
    # difference at zero.
    d = lmm.load_dataset("Orthodont").drop(index=[*range(9), *range(49, 57), 59])
    m = lmm.lmer("distance ~ age * Sex + (1 | Subject)", d)
    table = lmm.wald_anova(m).to_frame()
    assert_allclose(table["Chisq"], [95.013411898, 4.153634305, 3.115139456], rtol=1e-7)
    table = lmm.wald_anova(m, "II", "F").to_frame()
    assert_allclose(table["F"], [94.878717073, 4.149163370, 3.111796437], rtol=1e-7)
    assert_allclose(table["Df.res"], [64.68940859, 21.87060121, 64.71343531], rtol=1e-7)


def test_type_three_tests_are_those_of_car_with_sum_contrasts(m):
    table = lmm.wald_anova(m, 3).to_frame()
    assert_allclose(table["Chisq"], [66.62650878, 5.59974093, 0.26358208, 2.62495629], rtol=2e-7)
    assert str(lmm.wald_anova(m, 3, "F")).startswith(
        "Analysis of Deviance Table (Type III Wald F tests with Kenward-Roger df)"
    )


def test_type_two_by_comparing_wald_statistics():
    # The statistic of a term with those that contain it, less that of these alone.
    cbpp = lmm.load_dataset("cbpp")
    cbpp["half"] = np.where(cbpp["herd"].astype(int) > 7, "b", "a")
    g = lmm.glmer("cbind(incidence, size - incidence) ~ period * half + (1 | herd)", cbpp)
    V, beta = g.vcov().to_numpy(), g.beta

    def wald(rows):
        return beta[rows] @ np.linalg.solve(V[np.ix_(rows, rows)], beta[rows])

    expected = wald([1, 2, 3, 5, 6, 7]) - wald([5, 6, 7])
    assert_allclose(g.anova("II").loc["period", "Chisq"], expected, rtol=1e-9)
    assert_allclose(lmm.wald_anova(g).loc["period", "Chisq"], expected, rtol=1e-9)
    with pytest.raises(ValueError, match="F tests exist for linear models only"):
        lmm.wald_anova(g, test="F")


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"test": "LRT"}, "test must be 'Chisq' or 'F'"),
        ({"ddf": "kenward-roger"}, "leave ddf out"),
        ({"type": "IV"}, "unknown type"),
    ],
)
def test_mistakes_of_wald_tests(m, arguments, message):
    with pytest.raises(ValueError, match=message):
        lmm.wald_anova(m, **arguments)


def test_hypotheses_by_the_name_of_a_term():
    m = lmm.lmer("angle ~ recipe * temp + (1 | recipe:replicate)", lmm.load_dataset("cake"))
    named = lmm.linear_hypothesis(m, "recipe:temp").to_frame()
    listed = lmm.linear_hypothesis(m, ["recipeB:temp = 0", "recipeC:temp = 0"]).to_frame()
    pd.testing.assert_frame_equal(named, listed)
    assert lmm.wald_test_cr(m, "recipe:temp")["df_num"].iloc[0] == 2
    assert len(m.contest("recipe", joint=False).to_frame()) == 2


# clubSandwich 0.5.8
@pytest.mark.parametrize(
    "kind, expected",
    [
        ("CR1", [1.3308197387, 0.0909894036, 1.1175633978, 1.2236722260, 1.5938751252]),
        ("CR1p", [1.464220056, 0.100110109, 1.229587068, 1.346332161, 1.753643906]),
        ("CR1S", [1.3632835272, 0.0932089835, 1.1448250478, 1.2535222765, 1.6327558418]),
    ],
)
def test_corrections_by_one_number(m, kind, expected):
    assert_allclose(np.sqrt(np.diag(lmm.vcov_cr(m, kind))), expected, rtol=1e-6)


@pytest.mark.parametrize(
    "test, df, p",
    [("z", np.inf, 0.6291155), ("naive-t", 23, 0.633681), ("naive-tp", 19, 0.6346338)],
)
def test_naive_degrees_of_freedom(m, test, df, p):
    found = lmm.coef_test(m, test=test)
    assert found.loc["SexMale", "d.f."] == df
    assert found.loc["SexMale", "p-val"] == pytest.approx(p, abs=1e-6)
    assert f"d.f. ({test})" in str(found)


def test_unknown_robust_tests(m):
    with pytest.raises(ValueError, match="one of Satterthwaite, saddlepoint, z, naive-t, naive-tp"):
        lmm.coef_test(m, test="F")


def test_dropped_coefficients_in_their_places():
    d = lmm.load_dataset("sleepstudy").assign(twice=lambda t: 2.0 * t["Days"])
    with pytest.warns(lmm.RankDeficiencyWarning):
        m = lmm.lmer("Reaction ~ Days + twice + I(Days^2) + (1 | Subject)", d)
    assert list(m.fixef().index) == ["(Intercept)", "Days", "I(Days^2)"]
    full = m.fixef(add_dropped=True)
    assert list(full.index) == ["(Intercept)", "Days", "twice", "I(Days^2)"]
    assert np.isnan(full["twice"])
    assert full["I(Days^2)"] == m.fixef()["I(Days^2)"]


def test_model_frames():
    d = lmm.load_dataset("sleepstudy").assign(w=2.0)
    d.loc[3, "Days"] = np.nan
    m = lmm.lmer("log(Reaction) ~ poly(Days, 2) + (1 | Subject)", d, weights="w")
    frame = m.model_frame()
    names = ["log(Reaction)", "poly(Days, 2)1", "poly(Days, 2)2", "Subject", "(weights)"]
    assert list(frame.columns) == names
    assert 3 not in frame.index
    assert_allclose(frame["log(Reaction)"], np.log(d["Reaction"].drop(3)))
    assert (frame["Subject"].astype(str) == d["Subject"].drop(3).astype(str)).all()
    cbpp = lmm.load_dataset("cbpp")
    g = lmm.glmer("cbind(incidence, size - incidence) ~ period + (1 | herd)", cbpp)
    assert len(g.model_frame()) == 56


def test_the_marginal_covariance_gives_generalized_least_squares(d):
    w = np.linspace(0.5, 2.0, len(d))
    m = lmm.lmer("distance ~ age + Sex + (age | Subject)", d, weights=w)
    V = m.marginal_covariance().toarray()
    solved = np.linalg.solve(V, m.X)
    assert_allclose(np.linalg.solve(m.X.T @ solved, solved.T @ m.y), m.beta, rtol=1e-8)
    assert_allclose(np.linalg.inv(m.X.T @ solved), m.vcov(), rtol=1e-6)


def test_likelihoods_of_both_kinds(m):
    assert m.loglik(reml=True) == m.loglik()
    assert m.loglik(reml=False) == pytest.approx(-0.5 * m.deviance())
    ml = m.refit_ml()
    assert ml.loglik(reml=True) < m.loglik()


def test_kenward_rogers_covariance(m):
    adjusted = m.vcov(ddf="kenward-roger")
    errors = m.summary(ddf="kenward-roger").coefficients["Std. Error"]
    assert_allclose(np.sqrt(np.diag(adjusted)), errors)


def test_restrictions_of_nested_models(m):
    small = m.update(". ~ . - Sex:a")
    L = lmm.restriction_matrix(m, small)
    assert L.shape == (1, 5)
    assert_allclose(np.abs(L.iloc[0]), [0, 0, 0, 0, 1], atol=1e-9)
    assert_allclose(
        m.contest(L, ddf="kenward-roger")["F value"], lmm.kr_modcomp(m, small).loc["Ftest", "stat"]
    )
    with pytest.raises(lmm.DataError, match="the larger model comes first"):
        lmm.restriction_matrix(small, m)


def test_methods_of_means_on_what_pairwise_returns(m):
    both = lmm.emmeans(m, "pairwise ~ Sex", by="a")
    pd.testing.assert_frame_equal(both.pairs().to_frame(), both.contrasts.to_frame())
    assert len(both.contrast("trt.vs.ctrl")) == 2


def test_reduction_of_covariates_by_a_word(m):
    with pytest.raises(TypeError, match=r"functions of a column such as numpy\.median"):
        lmm.emmeans(m, "Sex", cov_reduce="median")


def test_names_of_other_packages_lead_here():
    with pytest.raises(AttributeError, match=r"write lmm\.wald_anova"):
        lmm.Anova  # noqa: B018
    with pytest.raises(AttributeError, match=r"write lmm\.plots\.check_model"):
        lmm.check_model  # noqa: B018
