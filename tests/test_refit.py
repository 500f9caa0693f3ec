"""refit, refit_ml and update give what a new call gives, and leave the model alone."""

import numpy as np
import pandas as pd
import pytest

import lmm
from fits import fitted

SLEEP = "Reaction ~ Days + (Days | Subject)"


def same(left, right):
    np.testing.assert_allclose(left.beta, right.beta, rtol=1e-6)
    np.testing.assert_allclose(left.theta, right.theta, atol=1e-5)
    assert left.optimum.value == pytest.approx(right.optimum.value, abs=1e-7)
    assert str(left.formula) == str(right.formula)


def test_refit_is_a_fit_to_the_new_response():
    data = lmm.load_dataset("sleepstudy")
    y = np.log(data["Reaction"])
    same(fitted("slopes").refit(y), lmm.lmer(SLEEP, data.assign(Reaction=y)))


def test_refit_of_dyestuff_on_dyestuff2():
    # lme4's tests: fixef 5.6656, variance 0, criterion 161.8283
    with pytest.warns(lmm.SingularFitWarning):
        m = fitted("dyestuff").refit(lmm.load_dataset("Dyestuff2")["Yield"])
    np.testing.assert_allclose(m.fixef(), 5.6656, rtol=1e-6)
    np.testing.assert_allclose(m.tvalues, 8.3515624346, rtol=1e-6)
    assert m.theta[0] == 0.0
    assert m.reml_criterion() == pytest.approx(161.8283, abs=1e-4)


def test_refit_takes_padded_and_used_rows():
    data = lmm.load_dataset("sleepstudy")
    data.loc[3, "Reaction"] = np.nan
    m = lmm.lmer(SLEEP, data, na_action="exclude")
    simulated = m.simulate(1, seed=1)["sim_1"]
    assert len(simulated) == 180
    same(m.refit(simulated), m.refit(simulated.drop(3)))


def test_an_update_keeps_the_new_response():
    data = lmm.load_dataset("sleepstudy")
    y = data["Reaction"] ** 2 / 100.0
    same(
        fitted("slopes").refit(y).update(". ~ . - Days"),
        lmm.lmer("Reaction ~ (Days | Subject)", data.assign(Reaction=y)),
    )


def test_refit_ml():
    m = fitted("slopes")
    same(m.refit_ml(), fitted("slopes", reml=False))
    assert m.reml
    ml = fitted("slopes", reml=False)
    assert ml.refit_ml() is ml


@pytest.mark.parametrize(
    "change, formula",
    [
        (". ~ . - Days", "Reaction ~ (Days | Subject)"),
        ("log(.) ~ .", "log(Reaction) ~ Days + (Days | Subject)"),
        (". ~ . - (Days | Subject) + (1 | Subject)", "Reaction ~ Days + (1 | Subject)"),
        (". ~ . + I(Days^2)", "Reaction ~ Days + (Days | Subject) + I(Days^2)"),
    ],
)
def test_update_takes_rs_dots(change, formula):
    same(fitted("slopes").update(change), lmm.lmer(formula, lmm.load_dataset("sleepstudy")))


def test_update_changes_arguments():
    data = lmm.load_dataset("sleepstudy")
    same(fitted("slopes").update(reml=False), fitted("slopes", reml=False))
    some = data[data["Days"] > 2]
    same(fitted("slopes").update(data=some), lmm.lmer(SLEEP, some))
    same(fitted("slopes").update(subset="Days > 2"), lmm.lmer(SLEEP, some))


@pytest.mark.parametrize(
    "act, error, message",
    [
        (lambda m: m.refit(np.ones(3)), lmm.DataError, r"shape \(3,\)"),
        (lambda m: m.refit(np.full(180, np.nan)), lmm.DataError, "missing or infinite in 180"),
        (lambda m: m.update(". ~ . + Dys"), lmm.DataError, "Did you mean 'Days'"),
        (lambda m: m.update(". ~ . - Dys"), lmm.DataError, "Did you mean 'Days'"),
        (lambda m: m.update(". ~ . - (1 | Subject)"), lmm.FormulaError, "no term"),
        (lambda m: m.update(remel=False), TypeError, "Did you mean 'reml'"),
    ],
)
def test_bad_changes_are_refused_and_the_model_is_untouched(act, error, message):
    m = fitted("slopes")
    before = str(m), m.theta.copy(), m.y.copy()
    with pytest.raises(error, match=message):
        act(m)
    assert str(m) == before[0]
    np.testing.assert_array_equal(m.theta, before[1])
    np.testing.assert_array_equal(m.y, before[2])


def test_models_of_arrays_are_updated_too():
    data = lmm.load_dataset("sleepstudy")
    X = np.column_stack([np.ones(180), data["Days"]])
    m = lmm.lmer_arrays(data["Reaction"], X, data["Subject"], X)
    assert m.update(reml=False).deviance() == pytest.approx(1751.9393444, abs=1e-6)
    assert isinstance(m.data, pd.DataFrame)


@pytest.mark.filterwarnings("ignore::lmm.DoubleBarWarning")
def test_updates_keep_the_independent_columns_of_a_factor():
    machines = lmm.load_dataset("Machines")
    m = lmm.lmer("score ~ Machine + (Machine || Worker)", machines, reml=False)
    assert "lme4 keeps the columns of Machine correlated" in m.warnings[0].text
    same = m.update(". ~ .")
    smaller = m.update(". ~ . - Machine")
    written = lmm.lmer("score ~ 1 + (Machine || Worker)", machines, reml=False)
    dropped = m.drop1(test="Chisq").to_frame()
    assert str(same.formula) == str(m.formula) == "score ~ Machine + (Machine || Worker)"
    np.testing.assert_array_equal(same.theta, m.theta)
    assert len(smaller.theta) == len(m.theta) == 3
    assert smaller.loglik() == pytest.approx(written.loglik(), abs=1e-8)
    assert dropped.loc["Machine", "LRT"] == pytest.approx(2 * (m.loglik() - written.loglik()))
    # diag() says the same model as one term.
    named = lmm.lmer("score ~ Machine + diag(Machine | Worker)", machines, reml=False)
    assert named.loglik() == pytest.approx(m.loglik(), abs=1e-8)


def test_an_update_that_drops_a_factor_ignores_its_contrasts():
    cake = lmm.load_dataset("cake")
    m = lmm.lmer(
        "angle ~ recipe + temperature + (1 | recipe:replicate)",
        cake,
        contrasts={"recipe": "contr.sum"},
    )
    with pytest.warns(lmm.ContrastsWarning, match="variable 'recipe' is absent, its contrast will"):
        smaller = m.update(". ~ . - recipe")
    plain = lmm.lmer("angle ~ temperature + (1 | recipe:replicate)", cake)
    assert smaller.reml_criterion() == plain.reml_criterion()
    with pytest.warns(lmm.ContrastsWarning):
        assert m.drop1().to_frame().index.tolist() == ["<none>", "recipe", "temperature"]
