"""Models without random effects, against R's lm, and in comparisons with mixed models."""

import pickle
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import lmm


@pytest.fixture(scope="module")
def sleepstudy():
    return lmm.load_dataset("sleepstudy")


@pytest.fixture(scope="module")
def mixed(sleepstudy):
    return lmm.lmer("Reaction ~ Days + (Days | Subject)", sleepstudy)


def test_estimates_are_those_of_r(sleepstudy):
    m = lmm.lm("Reaction ~ Days", sleepstudy)
    # lm(Reaction ~ Days, sleepstudy)
    assert_allclose(m.summary()["Std. Error"], [6.610154, 1.238195], rtol=1e-6)
    assert_allclose(
        m.summary().loc["Days"], [10.467286, 1.238195, 8.453663, 9.894096e-15], rtol=1e-6
    )
    assert_allclose([m.loglik(), m.aic(), m.bic()], [-950.1465282, 1906.293056, 1915.871927])
    assert_allclose(m.sigma, 47.714720, rtol=1e-6)
    assert (m.nobs, m.df_resid, m.n_parameters) == (180, 178, 3)
    assert_allclose(m.confint().loc["Days"], [8.023855, 12.910716], rtol=1e-6)
    assert_allclose(m.fitted() + m.residuals(), sleepstudy["Reaction"])


def test_a_summary_asked_for_normal_tests_has_z_tests(sleepstudy):
    tests = lmm.lm("Reaction ~ Days", sleepstudy).summary("asymptotic")
    assert list(tests.to_frame())[2:] == ["z value", "Pr(>|z|)"]
    assert_allclose(tests.loc["Days", "Pr(>|z|)"], 2.823030e-17, rtol=1e-6)  # 2 * pnorm(-8.453663)


def test_weights_and_offsets_count(sleepstudy):
    weights = np.tile([1.0, 2.0, 0.5], 60)
    m = lmm.lm("Reaction ~ Days + offset(Days * 2)", sleepstudy, weights=weights)
    # coef(summary(lm(..., weights = w))), logLik
    expected = [[252.3254235, 6.3742736], [8.0815101, 1.1940108]]
    assert_allclose(m.summary()[["Estimate", "Std. Error"]], expected, rtol=1e-7)
    assert_allclose(m.loglik(), -957.4794614)
    assert_allclose(m.predict(sleepstudy), m.fitted())


def test_the_table_is_that_of_r(sleepstudy, mixed):
    plain = lmm.lm("Reaction ~ Days", sleepstudy)
    lines = str(lmm.anova(mixed, plain, names=["m", "l"])).split("\n")
    assert [line.rstrip() for line in lines[1:8]] == [
        "Data: sleepstudy",
        "Models:",
        "l: Reaction ~ Days",
        "m: Reaction ~ Days + (Days | Subject)",
        "  npar    AIC    BIC  logLik deviance  Chisq Df Pr(>Chisq)",
        "l    3 1906.3 1915.9 -950.15   1900.3",
        "m    6 1763.9 1783.1 -875.97   1751.9 148.35  3  < 2.2e-16 ***",
    ]


def test_one_variance_beside_none_is_on_the_boundary(sleepstudy):
    plain = lmm.lm("Reaction ~ Days", sleepstudy)
    one = lmm.lmer("Reaction ~ Days + (1 | Subject)", sleepstudy)
    row = lmm.anova(plain, one, boundary=True).loc["m2"]
    assert_allclose(row["Pr(>Chibar)"], 0.5 * row["Pr(>Chisq)"], rtol=1e-12)


def test_results_of_statsmodels_are_taken(sleepstudy, mixed):
    """By their words: a stand-in, with the numbers of ols("Reaction ~ Days", d).fit()."""
    plain = lmm.lm("Reaction ~ Days", sleepstudy)
    about = SimpleNamespace(endog=sleepstudy["Reaction"].to_numpy(), formula="Reaction ~ Days")
    result = SimpleNamespace(model=about, llf=plain.loglik(), params=plain.fixef(), ssr=plain.rss)
    found = lmm.anova(result, mixed)
    assert_allclose(found.to_frame(), lmm.anova(plain, mixed).to_frame())
    about.endog = about.endog[1:]
    with pytest.raises(lmm.DataError, match="model 1 has 179 rows, model 2 has 180"):
        lmm.anova(result, mixed)


def test_missing_values_are_padded(sleepstudy):
    gaps = sleepstudy.assign(Days=sleepstudy["Days"].where(sleepstudy["Days"] > 1))
    m = lmm.lm("Reaction ~ Days", gaps, na_action="exclude")
    assert (m.nobs, len(m.fitted()), int(m.residuals().isna().sum())) == (144, 180, 36)


def test_dependent_columns_are_dropped_with_a_warning(sleepstudy):
    with pytest.warns(lmm.RankDeficiencyWarning):
        m = lmm.lm("Reaction ~ Days + I(2 * Days)", sleepstudy)
    assert list(m.fixef().index) == ["(Intercept)", "Days"]


def test_mistakes_are_named(sleepstudy, mixed):
    plain = lmm.lm("Reaction ~ Days", sleepstudy)
    with pytest.raises(lmm.FormulaError, match="random term: fit the model with lmer"):
        lmm.lm("Reaction ~ Days + (1 | Subject)", sleepstudy)
    with pytest.raises(lmm.FormulaError, match=r"No random effects terms.*lmm\.lm"):
        lmm.lmer("Reaction ~ Days", sleepstudy)
    with pytest.raises(ValueError, match="leave refit=True"):
        lmm.anova(mixed, plain, refit=False)
    with pytest.raises(TypeError, match=r"a fitted model is needed.* not 3"):
        lmm.anova(mixed, 3)
    other = lmm.lm("log(Reaction) ~ Days", sleepstudy)
    with pytest.raises(lmm.DataError, match="differ: their likelihoods cannot be compared"):
        lmm.anova(mixed, other)
    with pytest.raises(lmm.DataError, match="2 rows do not determine 2 coefficients"):
        lmm.lm("y ~ x", pd.DataFrame({"y": [1.0, 2.0], "x": [0.0, 1.0]}))


def test_terms_are_tested_as_in_r():
    d = lmm.load_dataset("cake").assign(x=lambda d: d["temperature"].astype(str).astype(float))
    m = lmm.lm("angle ~ recipe * x", d)
    # anova(lm(angle ~ recipe * x, cake)), drop1(..., test = "F")
    table = m.anova().to_frame()
    assert_allclose(
        table["F value"].iloc[:3], [1.11174350323, 32.37085762928, 0.01433277292], rtol=1e-6
    )
    assert_allclose(table["Df"], [2, 1, 2, 264])
    dropped = m.drop1().to_frame()
    assert list(dropped.index) == ["<none>", "recipe:x"]
    assert_allclose(dropped["AIC"], [1114.783533, 1110.812848], rtol=1e-6)
    assert_allclose(dropped.loc["recipe:x", "RSS"], 16041.17270, rtol=1e-7)
    with pytest.raises(lmm.DataError, match="contained in another term"):
        m.drop1(["x"])


def test_what_is_asked_of_a_term_without_columns():
    d = lmm.load_dataset("sleepstudy").assign(twice=lambda d: 2.0 * d["Days"])
    with pytest.warns(lmm.RankDeficiencyWarning):
        m = lmm.lm("Reaction ~ Days + twice", d)
    assert list(m.anova().to_frame().index) == ["Days", "Residuals"]
    assert m.drop1().to_frame()["Df"].tolist()[1:] == [0.0, 0.0]


def test_an_offset_argument_counts_for_new_rows(sleepstudy):
    m = lmm.lm("Reaction ~ 1", sleepstudy, offset="Days")
    assert_allclose(m.predict(sleepstudy), m.fitted())
    # predict(lm(Reaction ~ 1, sleepstudy, offset = Days), data.frame(Days = c(0, 100)))
    assert_allclose(m.predict({"Days": [0.0, 100.0]}), [294.007891667, 394.007891667], rtol=1e-11)
    m = lmm.lm("Reaction ~ 1", sleepstudy, offset=sleepstudy["Days"].to_numpy())
    with pytest.raises(lmm.DataError, match="an array as offset, which says nothing about new"):
        m.predict(sleepstudy)


def test_models_are_copied_and_pickled_with_read_only_arrays(sleepstudy):
    m = lmm.lm("Reaction ~ Days", sleepstudy)
    again = pickle.loads(pickle.dumps(m))
    assert (str(again), again.loglik()) == (str(m), m.loglik())
    for one in (m, again):
        with pytest.raises(ValueError, match="read-only"):
            one.beta[0] = 1.0


def test_step_may_leave_nothing():
    rng = np.random.default_rng(8)
    d = {"y": rng.normal(size=60), "x": rng.normal(size=60), "g": list("abcdef") * 10}
    control = lmm.LmerControl(check_conv_singular="ignore")
    for intercept, left in (("1", "y ~ 1"), ("0", "y ~ 0")):
        m = lmm.lmer(f"y ~ {intercept} + x + (1 | g)", d, control=control)
        selection = m.step(alpha_fixed=1e-9)
        assert str(selection.get_model().formula) == left
        assert selection.fixed.to_frame()["Eliminated"].tolist() == [1.0]
        assert left in str(selection)
