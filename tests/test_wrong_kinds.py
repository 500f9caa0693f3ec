"""Arguments of a wrong kind: one clear error each, or what R means by them."""

import numpy as np
import pandas as pd
import pytest

import lmm

FORMULA = "Reaction ~ Days + (1 | Subject)"


@pytest.fixture(scope="module")
def m():
    return lmm.lmer(FORMULA, lmm.load_dataset("sleepstudy"))


FUNCTIONS = {
    "anova": lambda x: lmm.anova(x, x),
    "coef_test": lmm.coef_test,
    "emmeans": lambda x: lmm.emmeans(x, "Days"),
    "emtrends": lambda x: lmm.emtrends(x, "Days", "Days"),
    "get_me": lambda x: lmm.get_me(x, "theta"),
    "get_variance": lmm.get_variance,
    "icc": lmm.icc,
    "joint_tests": lmm.joint_tests,
    "kr_modcomp": lambda x: lmm.kr_modcomp(x, [0, 1]),
    "model_performance": lmm.model_performance,
    "pb_modcomp": lambda x: lmm.pb_modcomp(x, x),
    "power": lambda x: lmm.power(x, "Days"),
    "r2_nakagawa": lmm.r2_nakagawa,
    "ref_grid": lmm.ref_grid,
    "refit_many": lambda x: lmm.refit_many(x, np.ones(3)),
    "sat_modcomp": lambda x: lmm.sat_modcomp(x, [0, 1]),
    "vcov_cr": lmm.vcov_cr,
}


@pytest.mark.parametrize("odd", [3, None, FORMULA, pd.DataFrame()], ids=repr)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_of_models_want_a_model(name, odd):
    with pytest.raises(TypeError, match=r"a fitted model is needed, such as lmm.lmer returns, not"):
        FUNCTIONS[name](odd)


def test_a_model_beside_what_is_none(m):
    with pytest.raises(TypeError, match="not 'Reaction ~ 1'"):
        lmm.anova(m, "Reaction ~ 1")
    with pytest.raises(ValueError, match=r"type is a model: compare models by lmm.anova\(m, "):
        m.anova(m)


@pytest.mark.parametrize("na", [pd.NA, float("nan"), "NA", "~NA", np.nan], ids=repr)
def test_na_selects_no_random_effects_as_in_r(na, m):
    pd.testing.assert_series_equal(m.predict(re_form=na), m.predict(re_form="~0"))


@pytest.mark.parametrize("odd", [False, True, 3, ["~0"]], ids=repr)
def test_other_random_effects_are_refused(odd, m):
    for act in (m.predict, m.simulate):
        with pytest.raises(TypeError, match=r"re_form must be None .* or a formula such as"):
            act(re_form=odd)


@pytest.mark.parametrize(
    "act, message",
    [
        (lambda m: m.simulate(0), "nsim must be a whole number, at least 1, not 0"),
        (lambda m: m.simulate(1.5), "nsim must be a whole number, at least 1, not 1.5"),
        (lambda m: m.simulate(sigma="x"), "sigma must be positive, not 'x'"),
        (lambda m: m.simulate(sigma=0), "sigma must be positive, not 0"),
        (lambda m: m.refit(None), "'the new response' must have one dimension"),
        (lambda m: m.predict(3), "data must be a pandas, polars or pyarrow table"),
    ],
)
def test_values_of_a_wrong_kind(act, message, m):
    with pytest.raises(ValueError, match=message):
        act(m)


@pytest.mark.parametrize("r, ours", [("na.omit", "omit"), ("na.exclude", "exclude")])
def test_na_actions_by_their_names_in_r(r, ours):
    data = lmm.load_dataset("sleepstudy").assign(Days=lambda t: t["Days"].where(t["Days"] != 3))
    m = lmm.lmer(FORMULA, data, na_action=r)
    pd.testing.assert_series_equal(m.fitted(), m.update(na_action=ours).fitted())
    with pytest.raises(lmm.DataError, match="missing values in 'Days'"):
        m.update(na_action="na.fail")


def test_names_come_first_in_the_intervals_of_a_profile_as_in_r(m):
    profile = m.profile(["Days", "sigma"])
    expected = profile.confint(parm="Days").to_frame()
    pd.testing.assert_frame_equal(profile.confint("Days").to_frame(), expected)
    pd.testing.assert_frame_equal(profile.confint(["Days"]).to_frame(), expected)


def test_a_covariance_of_means_is_aligned(m):
    data = lmm.load_dataset("Machines")
    m = lmm.lmer("score ~ Machine + (1 | Worker)", data)
    own = lmm.vcov_cr(m)
    swapped = own.iloc[::-1, ::-1]
    expected = lmm.emmeans(m, "Machine", vcov=own.to_numpy()).to_frame()
    pd.testing.assert_frame_equal(lmm.emmeans(m, "Machine", vcov=swapped).to_frame(), expected)


LEVELS = {
    "bootstrap": lambda x, level: x.bootstrap(nsim=2, seed=1).confint(level=level),
    "cld": lambda x, level: lmm.emmeans(x, "Days", at={"Days": [1, 2]}).cld(level=level),
    "coef_test": lambda x, level: lmm.coef_test(x).confint(level=level),
    "confint": lambda x, level: x.confint(level=level, method="wald"),
    "contest": lambda x, level: x.contest([[0, 1]], joint=False, level=level),
    "difflsmeans": lambda x, level: cake().difflsmeans(level=level),
    "eff_size": lambda x, level: lmm.emmeans(x, "Days", at={"Days": [1, 2]}).eff_size(
        1, 9, level=level
    ),
    "emmeans": lambda x, level: lmm.emmeans(x, "Days").confint(level=level),
    "lm": lambda x, level: lmm.lm("Reaction ~ Days", x.data).confint(level=level),
    "lmlist": lambda x, level: lmm.lmlist("Reaction ~ Days | Subject", x.data).confint(level=level),
    "ls_means": lambda x, level: cake().ls_means(level=level),
    "predict": lambda x, level: x.predict(interval="confidence", level=level),
    "profile": lambda x, level: x.profile("Days", level=level),
    "table": lambda x, level: lmm.table(x, level=level),
    "tidy": lambda x, level: x.tidy(conf_int=True, conf_level=level),
}


def cake():
    return lmm.lmer("angle ~ recipe + (1 | recipe:replicate)", lmm.load_dataset("cake"))


@pytest.mark.parametrize("name", LEVELS)
def test_confidence_levels_are_numbers_between_0_and_1(name, m):
    for odd in (95, 0, 1, -0.1, float("nan"), True):
        with pytest.raises(ValueError, match="level must be between 0 and 1, not"):
            LEVELS[name](m, odd)
    for odd in ("0.95", None, [0.9]):
        with pytest.raises(TypeError, match="level must be a number between 0 and 1, not"):
            LEVELS[name](m, odd)


@pytest.mark.parametrize("odd", ["a", [["b"]], {"theta": "a"}, [None, [1.0]]], ids=repr)
def test_a_start_is_made_of_numbers(odd):
    with pytest.raises(
        ValueError, match=r"start must hold numbers, for Subject.\(Intercept\), not"
    ):
        lmm.lmer(FORMULA, lmm.load_dataset("sleepstudy"), start=odd)


def test_verbose_is_a_number():
    with pytest.raises(TypeError, match="verbose must be a whole number, not 'a lot'"):
        lmm.lmer(FORMULA, lmm.load_dataset("sleepstudy"), verbose="a lot")
