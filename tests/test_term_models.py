"""Tests of every term by comparing models, against afex's `mixed` (1.2-1) and models by hand."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import lmm
from fits import fitted

pytestmark = pytest.mark.filterwarnings("ignore::lmm.SingularFitWarning")


@pytest.fixture(scope="module")
def cake():
    """Cake without every seventh row, the temperature as a number."""
    d = lmm.load_dataset("cake").assign(x=lambda d: d["temperature"].astype(str).astype(float))
    return lmm.lmer("angle ~ recipe * x + (1 | recipe:replicate)", d[np.arange(1, 271) % 7 != 0])


@pytest.fixture(scope="module")
def machines():
    """Machines without every fifth row, the workers in two halves."""
    d = lmm.load_dataset("Machines")
    even = d["Worker"].cat.codes % 2 == 1
    d = d.assign(half=np.where(even, "e", "o"))[np.arange(1, 55) % 5 != 0]
    return lmm.lmer("score ~ Machine * half + (1 | Worker)", d)


@pytest.mark.parametrize(
    "name, type_, expected",
    [
        ("cake", "II", [0.3757653138, 74.4500045063, 0.6748323371]),
        ("cake", "III", [0.6961779016, 74.7911562574, 0.6748323371]),
        ("machines", "II", [61.1478221149, 0.1940313962, 5.4842580846]),
        ("machines", "III", [65.736043617, 0.207635693, 5.484258085]),
    ],
)
def test_likelihood_ratio_tests_are_those_of_afex(name, type_, expected, request):
    table = request.getfixturevalue(name).anova(type_, test="LRT").to_frame()
    assert_allclose(table["Chisq"], expected, rtol=2e-6, atol=2e-7)
    assert table["Df"].tolist() == [2, 1, 2]


def test_coding_of_the_fit_does_not_matter(machines):
    for contrasts in ("contr.sum", "contr.helmert", "contr.SAS"):
        coded = machines.update(contrasts={"Machine": contrasts, "half": contrasts})
        for type_ in ("I", "II", "III"):
            tests = [m.anova(type_, test="LRT")["Chisq"] for m in (machines, coded)]
            assert_allclose(*tests, rtol=1e-7, atol=1e-7)


def test_type_one_adds_terms_in_turn(machines):
    steps = [machines.update(f"score ~ {t} + (1 | Worker)", reml=False) for t in ("1", "Machine")]
    expected = 2.0 * (steps[1].loglik() - steps[0].loglik())
    assert_allclose(machines.anova(1, test="LRT")["Chisq"]["Machine"], expected, rtol=1e-7)


def test_generalized_models():
    m = lmm.glmer(
        "cbind(incidence, size - incidence) ~ period + (1 | herd)", lmm.load_dataset("cbpp")
    )
    expected = m.deviance() - m.update(". ~ . - period").deviance()
    for type_ in (1, 2, 3):
        table = m.anova(type_, test="LRT").to_frame()
        assert_allclose(-table.loc["period", "Chisq"], expected, rtol=1e-6)
    table = m.anova(test="PB", nsim=19, seed=1)
    assert_allclose(table["Pr(>PB)"], [0.05])


def test_bootstrap_is_that_of_pb_modcomp():
    m = fitted("slopes")
    table = m.anova(test="PB", nsim=30, seed=5)
    alone = lmm.pb_modcomp(m, "Days", nsim=30, seed=5)
    assert_allclose(table["Pr(>PB)"], [alone.p_value])
    assert "(parametric bootstrap tests)" in str(table)


def test_a_term_without_columns_has_no_test():
    d = lmm.load_dataset("sleepstudy").assign(twice=lambda d: 2.0 * d["Days"])
    with pytest.warns(lmm.RankDeficiencyWarning):
        m = lmm.lmer("Reaction ~ Days + twice + (1 | Subject)", d, reml=False)
    table = m.anova(test="LRT").to_frame()
    assert np.isnan(table.loc["twice", "Chisq"])
    assert table.loc["Days", "Df"] == 1


def test_smaller_models_by_name_or_change():
    m = fitted("slopes")
    small = m.update(". ~ . - Days")
    for compare in (lmm.kr_modcomp, lmm.sat_modcomp):
        expected = compare(m, small).to_frame()
        for change in ("Days", ". ~ . - Days"):
            pd.testing.assert_frame_equal(compare(m, change).to_frame(), expected)


def test_smaller_models_that_are_none():
    m = fitted("cake")
    with pytest.raises(lmm.DataError, match=r"no fixed term 'recipes'.*'recipe'"):
        lmm.kr_modcomp(m, "recipes")
    with pytest.raises(lmm.DataError, match=r"contained in another term"):
        lmm.pb_modcomp(m, "recipe")


@pytest.mark.parametrize(
    "options, message",
    [
        ({"test": "lrt"}, "test must be"),
        ({"test": "LRT", "ddf": "kenward-roger"}, "leave ddf out"),
        ({"test": "PB", "nsim": 0}, "nsim must be at least 1"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(ValueError, match=message):
        fitted("slopes").anova(**options)
