"""Estimated marginal means against the prints of R's emmeans, and their own laws."""

import re

import matplotlib as mpl
import numpy as np
import pytest

import lmm
from reference import FOLDER

mpl.use("Agg")

pytestmark = pytest.mark.filterwarnings("ignore::lmm.RankDeficiencyWarning")

RECIPES = "(1 | recipe:replicate)"
TWO_TEMPS = {"temp": [175, 200]}


def sections() -> dict[str, str]:
    text = (FOLDER / "emmeans.txt").read_text()
    parts = re.split(r"^## (.*) \n", text, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


R = sections()


@pytest.fixture(scope="module")
def models():
    cake = lmm.load_dataset("cake")
    d = lmm.load_dataset("sleepstudy")
    i = d["Subject"].cat.codes + 1
    d["half"] = np.array(["lo", "mid", "hi"])[i % 3]
    d["two"] = (i > 7).astype(float)
    d["lg"] = d["Days"] > 3
    d["off"] = 2 * d["Days"]
    partly = cake[~((cake["recipe"] == "C") & (cake["temp"] > 200))]
    hole = d[~((d["half"] == "lo") & d["lg"])]
    return {
        "fc": lmm.lmer(f"angle ~ recipe * temp + {RECIPES}", cake),
        "f2": lmm.lmer(f"angle ~ recipe * temperature + {RECIPES}", cake),
        "f3": lmm.lmer(f"angle ~ recipe + temp + {RECIPES}", cake),
        "f4": lmm.lmer(f"angle ~ recipe + temperature + {RECIPES}", partly),
        "s1": lmm.lmer("Reaction ~ half * Days + two + (Days | Subject)", d),
        "s2": lmm.lmer("Reaction ~ half + lg + factor(two) + poly(Days, 2) + (1 | Subject)", d),
        "s3": lmm.lmer("log(Reaction) ~ half + (1 | Subject)", d),
        "s4": lmm.lmer("sqrt(Reaction) ~ half + (1 | Subject)", d),
        "s5": lmm.lmer("Reaction ~ half * lg + (1 | Subject)", hole),
        "s6": lmm.lmer("Reaction ~ half + (1 | Subject)", d, offset="off"),
        "s7": lmm.lmer("log(Reaction + 10) ~ half + (1 | Subject)", d),
        "s8": lmm.lmer("log1p(Reaction) ~ half + (1 | Subject)", d),
        "s9": lmm.lmer("log10(Reaction) ~ half + (1 | Subject)", d),
    }


def means(model, *args, **kwargs):
    return lambda models: lmm.emmeans(models[model], *args, **kwargs)


def trends(model, *args, **kwargs):
    return lambda models: lmm.emtrends(models[model], *args, **kwargs)


def joint(model, **kwargs):
    return lambda models: lmm.joint_tests(models[model], **kwargs)


def then(make, method, *args, **kwargs):
    return lambda models: getattr(make(models), method)(*args, **kwargs)


RECIPE = means("f3", "recipe")
PAIRS = then(RECIPE, "pairs")
TEMPERATURES = means("f2", "temperature")
HALF = means("s1", "half")

# R's call -> ours
CALLS = {
    "emmeans(fc, pairwise ~ recipe)": means("fc", "pairwise ~ recipe"),
    'emmeans(fc, ~recipe, lmer.df = "satterthwaite")': means("fc", "~ recipe", ddf="satterthwaite"),
    'emmeans(fc, ~recipe, lmer.df = "asymptotic")': means("fc", "~ recipe", ddf="asymptotic"),
    'test(emmeans(fc, ~recipe, lmer.df = "asymptotic"))': then(
        means("fc", "~ recipe", ddf="asymptotic"), "test"
    ),
    'emtrends(fc, pairwise ~ recipe, var = "temp")': trends("fc", "pairwise ~ recipe", "temp"),
    'emtrends(fc, ~1, var = "temp")': trends("fc", "~ 1", "temp"),
    "joint_tests(fc)": joint("fc"),
    "test(emmeans(fc, ~recipe))": then(means("fc", "~ recipe"), "test"),
    "emmeans(f2, ~recipe)": means("f2", "recipe"),
    "emmeans(f2, ~recipe | temperature)": means("f2", "recipe", by="temperature"),
    "emmeans(f2, ~recipe * temperature)": means("f2", ["recipe", "temperature"]),
    "emmeans(f2, ~1)": means("f2", "~ 1"),
    "pairs(emmeans(f2, ~temperature))": then(TEMPERATURES, "pairs"),
    'contrast(emmeans(f2, "temperature"), "poly")': then(TEMPERATURES, "contrast", "poly"),
    'contrast(emmeans(f2, "temperature"), "mean_chg")': then(TEMPERATURES, "contrast", "mean_chg"),
    'pairs(emmeans(f3, c("recipe", "temp"), at = two_temps))': then(
        means("f3", ["recipe", "temp"], at=TWO_TEMPS), "pairs"
    ),
    "emmeans(f3, pairwise ~ recipe | temp, at = two_temps)": means(
        "f3", "pairwise ~ recipe | temp", at=TWO_TEMPS
    ),
    'contrast(emmeans(f3, "recipe"), "eff")': then(RECIPE, "contrast", "eff"),
    'contrast(emmeans(f3, "recipe"), "del.eff")': then(RECIPE, "contrast", "del.eff"),
    'contrast(emmeans(f3, "recipe"), "consec")': then(RECIPE, "contrast", "consec"),
    'contrast(emmeans(f3, "recipe"), "trt.vs.ctrl", adjust = "mvt")': then(
        RECIPE, "contrast", "trt.vs.ctrl"
    ),
    'confint(contrast(emmeans(f3, "recipe"), "eff"))': then(
        then(RECIPE, "contrast", "eff"), "confint"
    ),
    'pairs(emmeans(f3, "recipe"), reverse = TRUE)': then(RECIPE, "pairs", reverse=True),
    'pairs(emmeans(f3, "recipe"), adjust = "holm")': then(RECIPE, "pairs", adjust="holm"),
    'pairs(emmeans(f3, "recipe"), adjust = "none")': then(RECIPE, "pairs", adjust="none"),
    'pairs(emmeans(f3, "recipe"), adjust = "bonferroni")': then(
        RECIPE, "pairs", adjust="bonferroni"
    ),
    'pairs(emmeans(f3, "recipe"), adjust = "sidak")': then(RECIPE, "pairs", adjust="sidak"),
    'pairs(emmeans(f3, "recipe"), adjust = "fdr")': then(RECIPE, "pairs", adjust="fdr"),
    'pairs(emmeans(f3, "recipe"), adjust = "mvt")': then(RECIPE, "pairs", adjust="mvt"),
    'confint(pairs(emmeans(f3, "recipe")))': then(PAIRS, "confint"),
    'confint(pairs(emmeans(f3, "recipe")), adjust = "bonferroni")': then(
        PAIRS, "confint", adjust="bonferroni"
    ),
    'summary(pairs(emmeans(f3, "recipe")), infer = TRUE)': then(PAIRS, "summary"),
    'confint(emmeans(f3, "recipe"), adjust = "sidak")': then(RECIPE, "confint", adjust="sidak"),
    'confint(emmeans(f3, "recipe"), level = 0.9)': then(RECIPE, "confint", 0.9),
    'test(emmeans(f3, "recipe"), null = 30)': then(RECIPE, "test", null=30),
    "joint_tests(f2)": joint("f2"),
    'joint_tests(f2, by = "recipe")': joint("f2", by="recipe"),
    "joint_tests(f3)": joint("f3"),
    'emmeans(f4, "temperature")': means("f4", "temperature"),
    'emmeans(f4, "temperature", weights = "proportional")': means(
        "f4", "temperature", weights="proportional"
    ),
    'emmeans(f4, "temperature", weights = "outer")': means("f4", "temperature", weights="outer"),
    'emmeans(f4, "temperature", weights = "cells")': means("f4", "temperature", weights="cells"),
    'emmeans(s1, "half")': HALF,
    "emmeans(s1, ~half + two)": means("s1", "~ half + two"),
    "pairs(emmeans(s1, ~half + two))": then(means("s1", "~ half + two"), "pairs"),
    'emmeans(s1, "half", weights = "proportional")': means("s1", "half", weights="proportional"),
    'emmeans(s1, "half", weights = "cells")': means("s1", "half", weights="cells"),
    'emtrends(s1, ~half, var = "Days")': trends("s1", "half", "Days"),
    'emmeans(s1, "half", at = list(Days = c(0, 9), half = c("lo", "hi")), by = "Days")': means(
        "s1", "half", "Days", {"Days": [0, 9], "half": ["lo", "hi"]}
    ),
    'contrast(emmeans(s1, "half"), list(a = c(1, -1, 0), b = c(0.5, 0.5, -1)))': then(
        HALF, "contrast", {"a": [1, -1, 0], "b": [0.5, 0.5, -1]}
    ),
    'emmeans(s2, "lg")': means("s2", "lg"),
    'emmeans(s2, "two")': means("s2", "two"),
    'emmeans(s3, "half")': means("s3", "half"),
    'pairs(emmeans(s3, "half"))': then(means("s3", "half"), "pairs"),
    'emmeans(s4, "half")': means("s4", "half"),
    'pairs(emmeans(s4, "half"))': then(means("s4", "half"), "pairs"),
    'emmeans(s3, pairwise ~ half, type = "response")': means(
        "s3", "pairwise ~ half", type="response"
    ),
    'confint(pairs(emmeans(s3, "half")), type = "response")': lambda models: (
        lmm.emmeans(models["s3"], "half").pairs().confint().response()
    ),
    'test(emmeans(s3, "half"), null = log(300), type = "response")': lambda models: (
        lmm.emmeans(models["s3"], "half").test(null=np.log(300.0)).response()
    ),
    'summary(emmeans(s3, "half"), infer = TRUE, type = "response")': lambda models: (
        lmm.emmeans(models["s3"], "half").summary().response()
    ),
    'contrast(emmeans(s3, "half"), "eff", type = "response")': lambda models: lmm.emmeans(
        models["s3"], "half", type="response"
    ).contrast("eff"),
    'emmeans(s4, pairwise ~ half, type = "response")': means(
        "s4", "pairwise ~ half", type="response"
    ),
    'test(emmeans(s4, "half"), type = "response")': lambda models: (
        lmm.emmeans(models["s4"], "half").test().response()
    ),
    "emmeans(s7, pairwise ~ half)": means("s7", "pairwise ~ half"),
    'emmeans(s7, pairwise ~ half, type = "response")': means(
        "s7", "pairwise ~ half", type="response"
    ),
    'emmeans(s8, pairwise ~ half, type = "response")': means(
        "s8", "pairwise ~ half", type="response"
    ),
    'emmeans(s9, pairwise ~ half, type = "response")': means(
        "s9", "pairwise ~ half", type="response"
    ),
    "emmeans(s5, ~half | lg)": means("s5", "~ half | lg"),
    'emmeans(s5, "half")': means("s5", "half"),
    'emmeans(s6, "half")': means("s6", "half"),
}


def without_notes(text: str) -> str:
    """R gives these notes as messages, apart from the print."""
    return re.sub(r"NOTE: .*\n", "", text)


@pytest.mark.parametrize("call", CALLS)
def test_prints_are_those_of_emmeans(call, models):
    assert without_notes(str(CALLS[call](models))).rstrip() == R[call].rstrip()


def test_every_reference_print_is_used():
    assert set(R) == set(CALLS)


def test_frames_have_the_columns_of_emmeans(models):
    means = lmm.emmeans(models["fc"], "recipe")
    assert list(means.to_frame()) == ["recipe", "emmean", "SE", "df", "lower.CL", "upper.CL"]
    frame = means.pairs().to_frame()
    assert list(frame) == ["contrast", "estimate", "SE", "df", "t.ratio", "p.value"]
    np.testing.assert_allclose(frame["estimate"], [133 / 90, 137 / 90, 2 / 45], rtol=1e-9)
    frame = lmm.emmeans(models["fc"], "recipe", ddf="asymptotic").summary(null=30.0).to_frame()
    assert list(frame)[4:] == ["asymp.LCL", "asymp.UCL", "null", "z.ratio", "p.value"]
    assert np.isinf(frame["df"]).all()


def test_means_on_the_scale_of_the_response(models):
    means = lmm.emmeans(models["s3"], "half", type="response")
    plain = lmm.emmeans(models["s3"], "half").to_frame()
    np.testing.assert_allclose(means.to_frame()["response"], np.exp(plain["emmean"]))
    assert means.plot().get_xlabel() == "response"
    ratios = means.pairs()
    names = ["hi / lo", "hi / mid", "lo / mid"]
    assert ratios.to_frame()["contrast"].tolist() == names
    assert sorted(text.get_text() for text in ratios.plot().get_yticklabels()) == names


def test_without_a_transformation_the_scale_is_the_responses(models):
    assert str(lmm.emmeans(models["f3"], "recipe", type="response")) == str(
        lmm.emmeans(models["f3"], "recipe")
    )


def test_an_unknown_type_is_named(models):
    with pytest.raises(ValueError, match=r"unknown type 'respone'.*response"):
        lmm.emmeans(models["f3"], "recipe", type="respone")


def test_means_of_a_saturated_grid_are_predictions(models):
    m = models["f2"]
    cells = m.call.data[["recipe", "temperature"]].drop_duplicates()
    means = lmm.emmeans(m, ["recipe", "temperature"]).to_frame()
    predicted = cells.assign(emmean=np.asarray(m.predict(cells, re_form="~0")))
    joined = means.merge(predicted, on=["recipe", "temperature"])
    assert len(joined) == 18
    np.testing.assert_allclose(joined["emmean_x"], joined["emmean_y"])


def test_slope_of_a_bent_covariate_is_that_at_the_point(models):
    m = models["s2"]
    slopes = lmm.emtrends(m, "Days", var="Days", at={"Days": [1.0, 6.0]}).to_frame()
    at = [[1 - 1e-5, 1 + 1e-5], [6 - 1e-5, 6 + 1e-5]]
    means = [lmm.emmeans(m, "Days", at={"Days": pair}).to_frame()["emmean"] for pair in at]
    expected = [(b - a) / 2e-5 for a, b in means]
    np.testing.assert_allclose(slopes["Days.trend"], expected, rtol=1e-6)


def test_a_covariate_with_two_values_has_a_slope(models):
    slope = lmm.emtrends(models["s1"], "~ 1", var="two").to_frame()
    assert slope["two.trend"].item() == pytest.approx(models["s1"].fixef()["two"])
    between = lmm.emmeans(models["s1"], "two", at={"two": [0.25, 0.5]}, weights="proportional")
    difference = np.diff(between.to_frame()["emmean"]).item()
    assert difference == pytest.approx(models["s1"].fixef()["two"] / 4)


def test_a_number_made_a_factor_has_levels_only(models):
    with pytest.raises(lmm.DataError, match="'two' is a factor"):
        lmm.emtrends(models["s2"], "~ 1", var="two")
    with pytest.raises(lmm.DataError, match=r"no level 0\.5"):
        lmm.emmeans(models["s2"], "two", at={"two": 0.5})


def test_joint_tests_are_type_iii(models):
    ours = lmm.joint_tests(models["f2"], ddf="satterthwaite").to_frame()
    np.testing.assert_allclose(ours["F.ratio"], [0.2488, 20.5199, 1.0062], rtol=2e-4)
    np.testing.assert_allclose(ours["df2"], [42, 210, 210], rtol=1e-4)


def test_means_that_are_equal_to_the_null_have_no_joint_effect(models):
    means = lmm.emmeans(models["fc"], "recipe")
    joint = means.pairs().joint().to_frame()
    assert joint["df1"].item() == 2
    assert joint["F.ratio"].item() == pytest.approx(0.2488, abs=1e-4)
    assert lmm.emmeans(models["s6"], "half").test(null=0).joint().frame["df1"].item() == 3


def test_contrasts_that_nothing_tells_are_missing(models):
    frame = lmm.emmeans(models["s5"], "half", by="lg").pairs().to_frame()
    assert frame["estimate"].isna().tolist() == [False, False, False, True, False, True]
    joint = lmm.joint_tests(models["s5"])
    assert str(joint).endswith("e: df1 reduced due to non-estimability ")
    assert joint.to_frame()["df1"].tolist() == [1, 1]


def test_maximum_likelihood_is_refitted_and_said_to_be():
    m = lmm.lmer("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff"), reml=False)
    with pytest.warns(lmm.LmmWarning):
        means = lmm.emmeans(m, "~ 1")
    assert means.to_frame()["df"].item() == pytest.approx(5.0)


def test_a_model_without_data_has_a_grand_mean_only():
    data = lmm.load_dataset("Dyestuff")
    m = lmm.lmer_arrays(data["Yield"], np.ones((30, 1)), data["Batch"])
    with pytest.raises(lmm.DataError, match=r"no predictor|no data"):
        lmm.emmeans(m, "Batch")


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda m: lmm.emmeans(m, "recip"), "no predictor 'recip'. Did you mean 'recipe'"),
        (lambda m: lmm.emmeans(m, "recipe", at={"tmp": 1}), "Did you mean 'temp'"),
        (lambda m: lmm.emmeans(m, "recipe", at={"recipe": ["A", "D"]}), "no level 'D'"),
        (lambda m: lmm.emmeans(m, "recipe", ddf="kenward"), "unknown ddf method 'kenward'"),
        (lambda m: lmm.emmeans(m, "recipe", weights="prop"), "weights must be one of equal"),
        (lambda m: lmm.emtrends(m, "temp", var="recipe"), "'recipe' is a factor"),
        (lambda m: lmm.emmeans(m, "recipe").contrast("pairs"), "unknown family of contrasts"),
        (lambda m: lmm.emmeans(m, "recipe").contrast("eff", by="temp"), "no label 'temp'"),
        (lambda m: lmm.emmeans(m, "recipe").contrast({"a": [1, -1]}), "2 coefficients for 3"),
        (lambda m: lmm.emmeans(m, "recipe").contrast("trt.vs.ctrl", ref="D"), "no level 'D'"),
        (lambda m: str(lmm.emmeans(m, "recipe").pairs(adjust="tuckey")), "mean 'tukey'"),
        (lambda m: str(lmm.emmeans(m, "recipe").test(adjust="tukey")), "all pairwise differences"),
        (lambda m: lmm.emmeans(m, "recipe").confint(95), "between 0 and 1, not 95"),
    ],
)
def test_mistakes_are_named(call, message, models):
    with pytest.raises(ValueError, match=message):
        call(models["fc"])


def test_plot_shows_means_and_limits(models):
    means = lmm.emmeans(models["f2"], "recipe")
    ax = means.plot()
    frame = means.to_frame()
    np.testing.assert_allclose(ax.lines[0].get_xdata(), frame["emmean"])
    limits = [segment[:, 0] for segment in ax.collections[0].get_segments()]
    np.testing.assert_allclose(limits, frame[["lower.CL", "upper.CL"]])
    assert [label.get_text() for label in ax.get_yticklabels()] == ["A", "B", "C"]
    mpl.pyplot.close(ax.figure)
