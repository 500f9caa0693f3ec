"""Random and fixed terms left out, and backward selection, against lmerTest."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import lmm
from fits import fitted
from reference import MODEL_IDS, load_reference
from reference import load_table as reference_table
from reference.inference import frame, load_inference, load_table

REFERENCE = load_inference()
# Smaller models may be singular.
pytestmark = pytest.mark.filterwarnings("ignore::lmm.SingularFitWarning")


def fit(case):
    return lmm.lmer(case["formula"], load_table(case["data"]), reml=case.get("reml", True))


def lines(text):
    """Lines without the spaces that R leaves at their ends."""
    return [line.rstrip() for line in (text.split("\n") if isinstance(text, str) else text)]


@pytest.fixture
def with_gaps():
    """Forty rows without x, seven without z."""
    d, rng = lmm.load_dataset("sleepstudy"), np.random.default_rng(1)
    d["x"], d["z"] = rng.normal(size=180), rng.normal(size=180)
    d.loc[rng.choice(180, 40, replace=False), "x"] = np.nan
    d.loc[rng.choice(180, 7, replace=False), "z"] = np.nan
    return d


def test_selection_keeps_the_rows_of_the_model(with_gaps):
    """As on the complete rows; lmerTest stops: the number of rows in use has changed."""
    formula = "Reaction ~ Days + x + (z | Subject)"
    complete = with_gaps.dropna()
    m, plain = lmm.lmer(formula, with_gaps), lmm.lmer(formula, complete)
    found, expected = m.step(), plain.step()
    assert found.model.nobs == len(complete)
    assert str(found.model.formula) == str(expected.model.formula)
    assert_allclose(found.fixed.to_frame(), expected.fixed.to_frame(), rtol=1e-6)
    assert_allclose(found.random.to_frame(), expected.random.to_frame(), rtol=1e-6, atol=1e-6)
    for table, other in (
        (m.drop1(test="Chisq"), plain.drop1(test="Chisq")),
        (m.drop1(test="F"), plain.drop1(test="F")),
        (m.ranova(), plain.ranova()),
    ):
        assert_allclose(table.to_frame(), other.to_frame(), rtol=1e-6, atol=1e-6)


def test_rows_without_gaps_leave_the_call_as_it_was(with_gaps):
    m = lmm.lmer("Reaction ~ Days + (1 | Subject)", with_gaps, subset="Days > 1")
    smaller = m.update_on_own_rows(". ~ . - Days")
    assert smaller.nobs == m.nobs
    assert smaller.call.subset == "Days > 1"


@pytest.mark.parametrize("case", REFERENCE["ranovas"], ids=lambda case: case["formula"])
def test_ranova_is_that_of_lmertest(case):
    table = fit(case).ranova(case["reduce"])
    expected = frame(case["table"])
    assert list(table.to_frame().index) == list(expected.index)
    assert_allclose(table.to_frame(), expected, rtol=1e-6)
    assert lines(str(table)) == lines(case["text"])


@pytest.mark.parametrize("model_id", [i for i in MODEL_IDS if load_reference(i).get("ranova")])
def test_ranova_of_reference_models(model_id):
    r = load_reference(model_id)
    expected = frame(r["ranova"])
    table = lmm.lmer(r["formula"], reference_table(r["data"])).ranova().to_frame()
    assert list(table.index) == list(expected.index)
    assert_allclose(table, expected, rtol=1e-5)


def test_independent_effects_are_left_out_one_by_one():
    table = fitted("independent").ranova().to_frame()
    assert list(table.index) == ["<none>", "(1 | Subject)", "Days in (0 + Days | Subject)"]
    assert_allclose(table["LRT"].iloc[1:], [22.856, 42.796], atol=5e-4)


STEPS = REFERENCE["steps"]


@pytest.mark.parametrize("case", STEPS, ids=lambda case: case["formula"])
def test_step_is_that_of_lmertest(case):
    m = fit(case)
    selection = m.step()
    for found, expected in ((selection.random, case["random"]), (selection.fixed, case["fixed"])):
        table, expected = found.to_frame(), frame(expected)
        assert list(table.index) == list(expected.index)
        assert_allclose(table, expected, rtol=1e-5, atol=1e-12)  # R's LRT of 0 is 6e-14
    # A digit of F differs between the optima, and R prints its 6e-14 for 0.
    if case["data"] not in ("carrots", "flat"):
        assert lines(str(selection)) == lines(case["text"])
    assert selection.get_model() is selection.model
    kind = lmm.LinearModel if case["data"] == "flat" else lmm.LinearMixedModel
    assert isinstance(selection.model, kind)


def test_step_goes_on_without_random_effects():
    control = lmm.LmerControl(check_conv_singular="ignore")
    table = load_table("flat")
    m = lmm.lmer("y ~ A + x + (1|g) + (1|h)", table, control=control)
    selection = m.step(reduce_fixed=False)
    assert selection.random.to_frame()["Eliminated"].tolist()[1:] == [1.0, 2.0]
    found = selection.get_model()
    assert str(found.formula) == "y ~ A + x"
    pd.testing.assert_series_equal(found.fixef(), lmm.lm("y ~ A + x", table).fixef())
    kept = m.step(keep=["A"]).fixed.to_frame()
    assert kept.loc["A", "Eliminated"] == 0.0


def test_generalized_models_go_on_to_those_without_random_effects():
    d = lmm.load_dataset("cbpp").assign(one=lambda d: np.arange(len(d)) % 7)
    control = lmm.GlmerControl(check_conv_singular="ignore")
    formula = "cbind(incidence, size - incidence) ~ period + (1 | one)"
    m = lmm.glmer(formula, d, control=control)
    selection = m.step()
    found = selection.get_model()
    assert selection.random.to_frame()["Eliminated"].tolist()[1:] == [1.0]
    assert isinstance(found, lmm.GeneralizedLinearModel)
    assert "Model found (glm, family = binomial):" in str(selection)
    plain = lmm.glm("cbind(incidence, size - incidence) ~ period", d)
    pd.testing.assert_series_equal(found.fixef(), plain.fixef())
    assert_allclose(selection.fixed.loc["period", "Pr(>Chi)"], plain.drop1().iloc[1, -1])
    without = m.step(alpha_fixed=1e-20)
    assert str(without.get_model().formula) == "cbind(incidence, size - incidence) ~ 1"
    assert without.fixed.to_frame()["Eliminated"].tolist() == [1.0]


def test_independent_columns_of_a_factor_stay_independent():
    table = load_table("unbalanced")
    with pytest.warns(lmm.DoubleBarWarning):
        m = lmm.lmer("y ~ x + (A || g) + (1 | h)", table)
    with pytest.warns(lmm.DoubleBarWarning):
        rows = m.ranova().to_frame()
    assert list(rows.index) == ["<none>", "A in (A || g)", "(1 | h)"]
    intercepts = lmm.lmer("y ~ x + (1 | g) + (1 | h)", table)
    assert_allclose(rows["logLik"].iloc[1], intercepts.loglik(), rtol=1e-9)
    smaller = lmm.lmer("y ~ x + diag(A | g)", table)
    assert_allclose(rows["logLik"].iloc[2], smaller.loglik(), rtol=1e-9)


def test_structured_terms_are_left_out_whole():
    table = load_table("unbalanced")
    m = lmm.lmer("y ~ x + cs(0 + A | g, hom = TRUE) + (1 | h)", table)
    rows = m.ranova().to_frame()
    assert list(rows.index) == ["<none>", "cs(0 + A | g, hom = TRUE)", "(1 | h)"]
    smaller = lmm.lmer("y ~ x + cs(0 + A | g, hom = TRUE)", table)
    assert_allclose(rows["logLik"].iloc[2], smaller.loglik(), rtol=1e-9)


def test_step_keeps_what_it_is_asked_to():
    m = lmm.lmer("y ~ A*B + x + z + (1|g)", load_table("unbalanced"))
    kept = m.step(keep=["z"], reduce_random=False).get_model()
    assert "z" in kept.fit.matrices.fixed.term_labels
    assert m.step(reduce_random=False, reduce_fixed=False).get_model() is m
    with pytest.raises(lmm.DataError, match=r"no fixed term 'zz'.*'z'"):
        m.step(keep=["zz"])


def test_step_with_kenward_roger():
    selection = lmm.lmer("y ~ A + z + (1|g)", load_table("unbalanced")).step("kenward-roger")
    assert "Degrees of freedom method: Kenward-Roger" in str(selection)
    assert "<table>" in selection._repr_html_()


def test_drop1_with_f_names_its_method():
    m = lmm.lmer("y ~ A*B + x + (1|g)", load_table("unbalanced"))
    table = m.drop1(scope=["x"], test="F", ddf="kenward-roger")
    assert str(table).startswith(
        "Single term deletions using Kenward-Roger's method:\n\nModel:\ny ~ A * B + x + (1 | g)\n"
    )
    expected = m.anova(ddf="kenward-roger").to_frame().loc[["x"]]
    assert_allclose(table.to_frame(), expected)


def test_offsets_and_structures_stay_in_smaller_models():
    table = load_table("unbalanced")
    m = lmm.lmer("y ~ x + offset(z) + diag(1 + x | g) + (1 | h)", table)
    rows = m.ranova().to_frame()
    assert list(rows.index) == ["<none>", "x in diag(1 + x | g)", "(1 | h)"]
    smaller = lmm.lmer("y ~ x + offset(z) + diag(1 | g) + (1 | h)", table)
    assert_allclose(rows["logLik"].iloc[1], smaller.loglik(), rtol=1e-9)
    assert_allclose(rows["npar"].iloc[1:], [5, 5])


def test_without_random_terms_the_criterion_is_least_squares():
    m = lmm.lmer("y ~ x + (1|g)", load_table("unbalanced"), reml=False)
    rss = np.sum((m.y - m.X @ np.linalg.lstsq(m.X, m.y, rcond=None)[0]) ** 2)
    expected = -0.5 * m.nobs * (1.0 + np.log(2.0 * np.pi * rss / m.nobs))
    assert_allclose(m.ranova().to_frame().loc["(1 | g)", "logLik"], expected)


@pytest.mark.parametrize("family", [lmm.Gamma("log"), "negative.binomial", "poisson"])
def test_the_last_random_term_is_compared_with_the_highest_likelihood(family):
    rng = np.random.default_rng(6)
    d = {"g": np.repeat(list("abcdefgh"), 15), "x": rng.normal(size=120)}
    d["y"] = 1.0 + rng.poisson(9.0 * np.exp(0.4 * d["x"]) * rng.gamma(2.0, 0.5, size=120))
    control = lmm.GlmerControl(check_conv_singular="ignore")
    m = lmm.glmer("y ~ x + (1 | g)", d, family, control=control)
    plain = lmm.glm("y ~ x", d, family)
    row = m.ranova().to_frame().loc["(1 | g)"]
    assert_allclose(row["logLik"], plain.loglik(), rtol=1e-10)
    assert row["npar"] == plain.n_parameters
    expected = max(0.0, 2.0 * (m.loglik() - plain.loglik()))
    assert_allclose(row["LRT"], expected, atol=1e-6)
