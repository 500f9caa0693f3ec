"""Coefficients in standard deviations."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import lmm
import r_tables


@pytest.fixture(scope="module")
def d():
    d = lmm.load_dataset("Orthodont")
    codes = pd.Categorical(d["Subject"].astype(str)).codes + 1
    d["w"] = codes % 7 + np.where(d["Sex"] == "Male", 0.5, 0.0)
    d["Sex"] = pd.Categorical(d["Sex"], ["Female", "Male"])
    return d.drop(index=[2, 16, 39, 40])


@pytest.fixture(scope="module")
def m(d):
    return lmm.lmer("distance ~ age * Sex + w + (1 | Subject)", d)


# parameters::standardize_parameters 0.20.2
@pytest.mark.parametrize(
    "method, two_sd, expected",
    [
        ("refit", False, [-0.486975277, 0.379085936, 0.857739798, -0.089188092, 0.242518162]),
        ("refit", True, [-0.486975277, 0.758171872, 0.857739798, -0.178376184, 0.485036324]),
        ("basic", False, [0.0, 0.379085936, -0.169245677, -0.089188092, 0.623332556]),
        # R's interaction is not per standard deviation of age: 0.108778787
        ("posthoc", False, [0.0, 0.379085936, -0.340918762, -0.089188092, 0.242518162]),
    ],
)
def test_coefficients_are_those_of_r(m, method, two_sd, expected):
    table = lmm.standardize_parameters(m, method, two_sd=two_sd).to_frame()
    assert_allclose(table["Std_Coefficient"], expected, rtol=2e-6, atol=1e-12)


def test_intervals_scale_with_the_estimates(m):
    raw = m.tidy("fixed", conf_int=True, conf_level=0.9, ddf="satterthwaite")
    factor = d_of(m.X[:, 1]) / d_of(m.y)
    table = lmm.standardize_parameters(m, "basic", level=0.9, ddf="satterthwaite")
    assert_allclose(table.loc["age", "CI_low"], raw.loc[1, "conf.low"] * factor)
    refit = lmm.standardize_parameters(m, level=0.9, ddf="satterthwaite")
    assert_allclose(refit.loc["age"], table.loc["age"], rtol=1e-5)


def d_of(values):
    return np.std(values, ddof=1)


def test_levels_of_a_two_level_model(d, m):
    # Hoffman (2015): within and between deviations by hand
    alone = lmm.lmer("distance ~ 1 + (1 | Subject)", d)
    table = lmm.standardize_parameters(m, "pseudo").to_frame()["Std_Coefficient"]
    groups = d.groupby("Subject", observed=True)
    within = d_of(d["age"] - groups["age"].transform("mean")) / alone.sigma
    between = d_of(groups["w"].mean()) / np.sqrt(alone.varcorr().to_frame()["vcov"].iloc[0])
    assert_allclose(table[["age", "w"]], m.fixef()[["age", "w"]] * [within, between])


def test_a_refit_knows_subset_weights_and_powers(d):
    weights = np.linspace(1.0, 2.0, len(d))
    formula = "distance ~ age + I(age^2) + (1 | Subject)"
    m = lmm.lmer(formula, d, weights=weights, subset="age > 8 | w > 1")
    table = lmm.standardize_parameters(m).to_frame()
    chosen = (d["age"] > 8) | (d["w"] > 1)
    rows, w = d[chosen], weights[chosen]

    def scaled(column):
        centred = column - np.average(column, weights=w)
        return centred / np.sqrt(np.sum(w * centred**2) / (w.sum() - np.sum(w**2) / w.sum()))

    z = rows.assign(distance=scaled(rows["distance"]), age=scaled(rows["age"]))
    again = lmm.lmer(formula, z, weights=w)
    assert_allclose(table["Std_Coefficient"], again.fixef(), rtol=1e-6, atol=1e-9)


def test_the_response_of_a_generalized_model_stays():
    cbpp = lmm.load_dataset("cbpp")
    cbpp["h"] = cbpp["herd"].astype(int)
    g = lmm.glmer("cbind(incidence, size - incidence) ~ period + h + (1 | herd)", cbpp)
    refit = lmm.standardize_parameters(g)["Std_Coefficient"]
    after = lmm.standardize_parameters(g, "posthoc")["Std_Coefficient"]
    assert_allclose(refit[1:], after[1:], rtol=1e-4)
    assert_allclose(after["h"], g.fixef()["h"] * d_of(cbpp["h"]))


@pytest.mark.parametrize(
    "formula, method, message",
    [
        ("distance ~ log(age) + (1 | Subject)", "refit", r"write scale\(log\(age\)\)"),
        ("distance ~ age + factor(age) + (1 | Subject)", "refit", "age stands as a number"),
        ("distance ~ age + (1 | Subject) + (1 | Sex)", "pseudo", "groups Subject, Sex"),
        ("distance ~ age + offset(w) + (1 | Subject)", "refit", "offset is not in standard"),
    ],
)
@pytest.mark.filterwarnings("ignore::lmm.LmmWarning")
def test_what_cannot_be_standardized(d, formula, method, message):
    m = lmm.lmer(formula, d, control=lmm.LmerControl(check_nlev_gtreq_5="ignore"))
    with pytest.raises(lmm.DataError, match=message):
        lmm.standardize_parameters(m, method)


def test_an_unknown_method(m):
    with pytest.raises(ValueError, match="'smar' is unknown"):
        lmm.standardize_parameters(m, "smar")


QSEC = (
    "16.46 17.02 18.61 19.44 17.02 20.22 15.84 20 22.9 18.3 18.9 17.4 17.6 18 17.98 17.82 17.42 "
    "19.47 18.52 19.9 20.01 16.87 17.3 15.41 17.05 18.9 16.7 16.9 14.5 15.5 14.6 18.6"
)


@pytest.fixture(scope="module")
def cars():
    d = r_tables.mtcars()
    return d.assign(qsec=r_tables.numbers(QSEC), cyl=pd.Categorical(d["cyl"]))


def standardized(m, method, **options):
    return lmm.standardize_parameters(m, method, **options).to_frame()["Std_Coefficient"]


# effectsize::standardize_parameters 0.8.3, the rows sorted by cyl
@pytest.mark.parametrize(
    "method, expected",
    [
        ("refit", [0.3102096534, -0.5261576002, -0.2700124763, -0.5321177463, -0.4693907775]),
        ("posthoc", [0.0, -0.5261576002, -0.2700124763, -0.5321177463, -0.4693907775]),
        ("basic", [0.0, -0.5261576002, -0.2700124763, -0.2241081146, -0.2346891146]),
        ("smart", [0.0, -0.5261576002, -0.2700124763, -0.7103617329, -0.6266230518]),
    ],
)
def test_deviations_are_weighted_as_the_model(cars, method, expected):
    m = lmm.lm("mpg ~ wt + hp + cyl", cars, weights="qsec")
    assert_allclose(standardized(m, method), expected, rtol=1e-8, atol=1e-12)


def test_smart_counts_in_deviations_at_the_reference_level(cars):
    d = r_tables.warpbreaks().assign(z=lambda d: np.arange(1, 55) % 7)
    expected = [0.0, 0.2128370564, -1.0104257113, -1.2883504738, -1.2930765867, 1.2836243610]
    m = lmm.lm("breaks ~ z + wool * tension", d)
    assert_allclose(standardized(m, "smart"), [*expected, 0.6418121805], rtol=1e-8, atol=1e-12)
    # without a reference level the deviation is that of all rows
    sums = lmm.lm("breaks ~ wool + tension", d, contrasts={"wool": "contr.sum"})
    both = pd.DataFrame({k: standardized(sums, k) for k in ("smart", "posthoc")})
    assert_allclose(*both.loc["wool1"])
    m = lmm.glm("am ~ wt + cyl", cars)
    r = [0.0, -7.690032299, 3.104626432, 5.379420924]
    assert_allclose(standardized(m, "smart"), r, rtol=1e-6, atol=1e-9)
    flat = d.assign(breaks=d["breaks"].where(d["wool"] == "B", 30.0))
    with pytest.raises(lmm.DataError, match="does not vary at the reference level of 'wool'"):
        lmm.standardize_parameters(lmm.lm("breaks ~ wool + z", flat), "smart")


def test_pseudo_is_that_of_r_for_columns_centred_in_groups(cars):
    means = cars.groupby("gear")["wt"].transform("mean")
    d = cars.assign(v=means, u=cars["wt"] - means)
    m = lmm.lmer("mpg ~ u + v + (1 | gear)", d)
    assert_allclose(standardized(m, "pseudo"), [0.0, -0.7687505617, -0.9770728292], rtol=1e-5)
    assert_allclose(standardized(m, "smart"), [0.0, -0.5996125516, -0.5936023057], rtol=1e-5)
    with pytest.raises(TypeError, match="LinearModel has no random effects"):
        lmm.standardize_parameters(lmm.lm("mpg ~ wt", cars), "pseudo")
