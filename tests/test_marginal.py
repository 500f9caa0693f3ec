"""Estimated marginal means against the prints of R's emmeans, and their own laws."""

import re

import matplotlib as mpl
import numpy as np
import pandas as pd
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
    nested = cake.copy()
    k = nested["replicate"].astype(int)
    number = 1 + (k > 6) + ((k > 10) & (nested["recipe"] == "C"))
    nested["batch"] = nested["recipe"].astype(str) + number.astype(str)
    nested["warm"] = np.where(nested["temp"] > 200, "yes", "no")
    hole = d[~((d["half"] == "lo") & d["lg"])]
    return {
        "fc": lmm.lmer(f"angle ~ recipe * temp + {RECIPES}", cake),
        "f2": lmm.lmer(f"angle ~ recipe * temperature + {RECIPES}", cake),
        "f3": lmm.lmer(f"angle ~ recipe + temp + {RECIPES}", cake),
        "f4": lmm.lmer(f"angle ~ recipe + temperature + {RECIPES}", partly),
        "f5": lmm.lmer(
            f"angle ~ recipe * warm + cut(temp, c(0, 180, 200, 300)) + {RECIPES}", nested
        ),
        "n1": lmm.lmer(f"angle ~ recipe + batch + warm + {RECIPES}", nested),
        "n2": lmm.lmer(f"angle ~ recipe + batch * temp + {RECIPES}", nested),
        "n3": lmm.lmer(f"angle ~ recipe / batch + warm + {RECIPES}", nested),
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
SIX = means("f2", "~ recipe * temperature", at={"temperature": ["175", "185", "195"]})

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
    'emmeans(n1, "recipe")': means("n1", "recipe"),
    'emmeans(n1, "batch")': means("n1", "batch"),
    "emmeans(n1, ~batch | recipe)": means("n1", "~ batch | recipe"),
    "emmeans(n1, ~batch * warm)": means("n1", "~ batch * warm"),
    "emmeans(n1, ~1)": means("n1", "1"),
    'emmeans(n1, ~1, weights = "proportional")': means("n1", "~ 1", weights="proportional"),
    'emmeans(n1, ~1, weights = "outer")': means("n1", "~ 1", weights="outer"),
    'pairs(emmeans(n1, "recipe"))': then(means("n1", "recipe"), "pairs"),
    'pairs(emmeans(n1, "batch"))': then(means("n1", "batch"), "pairs"),
    "joint_tests(n1)": joint("n1"),
    'emtrends(n2, "recipe", var = "temp")': trends("n2", "recipe", "temp"),
    'emtrends(n2, ~1, var = "temp")': trends("n2", "~ 1", "temp"),
    'emmeans(n3, "recipe")': means("n3", "recipe"),
    "joint_tests(n3)": joint("n3"),
    'emmeans(f5, "recipe")': means("f5", "recipe"),
    'contrast(six, interaction = "pairwise")': then(SIX, "contrast", interaction="pairwise"),
    'contrast(six, interaction = c("consec", "poly"))': then(
        SIX, "contrast", interaction=["consec", "poly"]
    ),
    'contrast(six, interaction = c(temperature = "consec", recipe = "eff"))': then(
        SIX, "contrast", interaction={"temperature": "consec", "recipe": "eff"}
    ),
    'contrast(six, interaction = "pairwise", by = "recipe")': then(
        SIX, "contrast", interaction="pairwise", by="recipe"
    ),
    'contrast(six, "pairwise", simple = "each")': then(SIX, "contrast", "pairwise", simple="each"),
    'pairs(pairs(six, by = "recipe"), by = "contrast")': then(
        then(SIX, "pairs", by="recipe"), "pairs", by="contrast"
    ),
    'contrast(pairs(six, by = "recipe"), "eff", by = NULL)': then(
        then(SIX, "pairs", by="recipe"), "contrast", "eff", by=[]
    ),
    'contrast(emmeans(f3, "recipe"), "trt.vs.ctrl", ref = 2:3)': then(
        RECIPE, "contrast", "trt.vs.ctrl", ref=[1, 2]
    ),
    'contrast(emmeans(f3, "recipe"), "eff", exclude = 1)': then(
        RECIPE, "contrast", "eff", exclude="A"
    ),
    'contrast(emmeans(f3, "recipe"), "pairwise", offset = 1)': then(
        RECIPE, "contrast", "pairwise", offset=1.0
    ),
    'pairs(emmeans(f3, "recipe"), adjust = "scheffe")': then(RECIPE, "pairs", adjust="scheffe"),
    'pairs(emmeans(f3, "recipe"), adjust = "hochberg")': then(RECIPE, "pairs", adjust="hochberg"),
    'pairs(emmeans(f3, "recipe"), adjust = "hommel")': then(RECIPE, "pairs", adjust="hommel"),
    'pairs(emmeans(f3, "recipe"), adjust = "BH")': then(RECIPE, "pairs", adjust="BH"),
    'pairs(emmeans(f3, "recipe"), adjust = "BY")': then(RECIPE, "pairs", adjust="BY"),
    'confint(pairs(emmeans(f3, "recipe")), adjust = "scheffe")': then(
        PAIRS, "confint", adjust="scheffe"
    ),
    'test(pairs(emmeans(f3, "recipe")), side = ">")': then(PAIRS, "test", side=">"),
    'test(pairs(emmeans(f3, "recipe")), delta = 2, adjust = "none")': then(
        PAIRS, "test", delta=2, adjust="none"
    ),
    'test(pairs(emmeans(f3, "recipe")), delta = 2, side = "<")': then(
        PAIRS, "test", delta=2, side="<"
    ),
    'confint(pairs(emmeans(f3, "recipe")), side = ">")': then(PAIRS, "confint", side=">"),
    'confint(pairs(emmeans(f3, "recipe")), side = "<", adjust = "none")': then(
        PAIRS, "confint", side="<", adjust="none"
    ),
    'summary(emmeans(f3, "recipe"), side = "noninferiority", delta = 2, null = 30, infer = TRUE)': (
        then(RECIPE, "summary", side="noninferiority", delta=2, null=30)
    ),
    'emmeans(six, "recipe")': lambda models: lmm.emmeans(SIX(models), "recipe"),
    "joint_tests(six)": lambda models: lmm.joint_tests(SIX(models)),
    'joint_tests(six, by = "recipe")': lambda models: lmm.joint_tests(SIX(models), by="recipe"),
    'emmeans(f3, "recipe")[2:3]': lambda models: RECIPE(models)[1:],
    'emmeans(f2, "recipe", weights = 1:6)': means("f2", "recipe", weights=range(1, 7)),
    'emmeans(f3, pairwise ~ recipe, adjust = "none", infer = TRUE)': means(
        "f3", "pairwise ~ recipe", adjust="none", infer=True
    ),
    'emmeans(s3, "half", type = "response", bias.adjust = TRUE)': means(
        "s3", "half", type="response", bias_adjust=True
    ),
    'emmeans(s3, "half", type = "response", bias.adjust = TRUE, sigma = 0.2)': means(
        "s3", "half", type="response", bias_adjust=True, sigma=0.2
    ),
}


def without_notes(text: str) -> str:
    """R gives these notes as messages, apart from the print."""
    return re.sub(r"NOTE: .*\n(    \S+ %in% .*\n)?", "", text)


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


def test_nesting_can_be_said_and_taken_back(models):
    m = models["n1"]
    means = lmm.emmeans(m, "recipe").to_frame()
    for given in ("batch %in% recipe", {"batch": "recipe"}, {"batch": ["recipe"]}):
        said = lmm.emmeans(m, "recipe", nesting=given)
        np.testing.assert_allclose(said.to_frame()["emmean"], means["emmean"])
        assert not str(said).startswith("NOTE")
    assert str(lmm.emmeans(m, "recipe")).startswith("NOTE: A nesting structure was detected")
    assert lmm.emmeans(m, "recipe", nesting=None).to_frame()["emmean"].isna().all()
    cells = m.call.data[["recipe", "batch", "warm"]].drop_duplicates()
    cells["mean"] = np.asarray(m.predict(cells, re_form="~0"))
    by_batch = cells.groupby(["recipe", "batch"], observed=True)["mean"].mean()
    expected = by_batch.groupby("recipe", observed=True).mean()
    np.testing.assert_allclose(means["emmean"], expected)


def test_three_levels_of_nesting():
    rng = np.random.default_rng(5)
    school = np.repeat(list("xyz"), 24)
    group = np.char.add(school, np.tile(np.repeat(["1", "2"], 12), 3))
    pupil = np.char.add(group, np.tile(np.repeat(["1", "2", "3"], 4), 6))
    data = {"school": school, "group": group, "pupil": pupil, "day": np.tile(list("abcd"), 18)}
    data["y"] = rng.normal(size=72)
    m = lmm.lmer("y ~ school + group + pupil + (1 | day)", data)
    means = lmm.emmeans(m, "pupil", ddf="asymptotic")
    assert list(means.labels) == ["pupil", "school", "group"]
    assert "group %in% school, pupil %in% (school*group)" in str(means)
    tests = lmm.joint_tests(m, ddf="asymptotic").to_frame()
    assert tests["model term"].tolist() == ["school", "school:group", "school:group:pupil"]
    assert tests["df1"].tolist() == [2, 3, 12]


def test_levels_that_a_formula_makes_are_all_in_the_grid(models):
    dietox = lmm.load_dataset("dietox")
    cuts = "cut(Time, c(0, 2, 10, 12))"
    m = lmm.lmer(f"Weight ~ Cu + {cuts} + (1 | Pig)", dietox)
    row = lmm.joint_tests(m, ddf="satterthwaite").to_frame().iloc[1]
    anova = m.anova().to_frame().loc[cuts]
    assert (row["model term"], row["df1"]) == ("Time", 2)
    np.testing.assert_allclose(row["F.ratio"], anova["F value"], rtol=1e-6)
    np.testing.assert_allclose(row["df2"], anova["DenDF"], rtol=1e-6)
    b = m.fixef()
    mean = b.iloc[0] + (8 * b.iloc[3] + 2 * b.iloc[4]) / 12
    assert lmm.emmeans(m, "Cu").to_frame()["emmean"].iloc[0] == pytest.approx(mean)
    at = lmm.emmeans(m, "Time", at={"Time": [1.5, 11.5]}).to_frame()["emmean"]
    assert at.diff().iloc[1] == pytest.approx(b.iloc[4])


def test_a_comparison_of_a_covariate_leaves_it_one(models):
    """emmeans 1.8.4: the grid has the mean of the covariate, of which the comparison is made."""
    m = lmm.lmer("Weight ~ I(Time > 6) + (1 | Pig)", lmm.load_dataset("dietox"))
    (time,) = lmm.ref_grid(m)["Time"].unique()
    assert float(time) == pytest.approx(lmm.load_dataset("dietox")["Time"].mean())


def test_a_continuous_covariate_that_is_cut_stands_for_its_levels():
    rng = np.random.default_rng(2)
    x = np.sort(rng.uniform(size=600))
    data = {"x": x, "g": np.tile(np.arange(20), 30), "y": (x > 0.9) + rng.normal(size=600)}
    m = lmm.lmer("y ~ cut(x, c(0, 0.5, 0.9, 1)) + (1 | g)", data)
    assert lmm.joint_tests(m, ddf="satterthwaite").to_frame()["df1"].item() == 2
    b = m.fixef().to_numpy()
    overall = lmm.emmeans(m, "1", ddf="satterthwaite").to_frame()["emmean"].item()
    assert overall == pytest.approx(b[0] + b[1:].sum() / 3)


@pytest.mark.filterwarnings("ignore::lmm.errors.ScaleWarning")
@pytest.mark.parametrize("unit, zero", [(1.0, 0.0), (1e6, 0.0), (86400.0, 1.7e9), (1e-9, 0.0)])
def test_an_empty_cell_has_no_mean_whatever_the_unit_of_a_covariate(unit, zero):
    cake = lmm.load_dataset("cake")
    data = cake[~((cake["recipe"] == "C") & (cake["temperature"] == "225"))].copy()
    data["x"] = zero + unit * (data["temp"] + data["angle"].rank() / 40)
    m = lmm.lmer("angle ~ recipe * temperature + x + (1 | replicate)", data)
    means = lmm.emmeans(m, "~ recipe * temperature", ddf="asymptotic")
    assert np.flatnonzero(means.to_frame()["emmean"].isna()).tolist() == [17]
    covariance = means.vcov()
    assert np.isnan(covariance[17]).all()
    assert np.isfinite(covariance[:17, :17]).all()
    tests = lmm.joint_tests(m, ddf="asymptotic").to_frame()
    assert tests["df1"].tolist() == [1, 4, 1, 9, 2]


def test_adjustments_count_the_tests_that_are_made():
    cake = lmm.load_dataset("cake")
    data = cake[~((cake["recipe"] == "C") & (cake["temp"] > 190))]
    m = lmm.lmer(f"angle ~ recipe * temperature + {RECIPES}", data)
    pairs = lmm.emmeans(m, "~ recipe | temperature", ddf="satterthwaite").pairs()
    raw, adjusted = (
        pairs.test(adjust=adjust).to_frame()["p.value"] for adjust in ("none", "bonferroni")
    )
    np.testing.assert_allclose(adjusted[:6], np.minimum(3 * raw[:6], 1.0))
    np.testing.assert_allclose(adjusted[6::3], raw[6::3])
    assert "for 1 to 3 tests" in str(pairs.test(adjust="bonferroni"))
    limits = pairs.confint().to_frame()
    assert np.isfinite(limits["lower.CL"]).tolist() == [True] * 6 + [True, False, False] * 4
    assert "a family of 2 to 3 estimates" in str(pairs.confint())


def test_limits_of_many_pairs_take_one_root(monkeypatch):
    from lmm.inference.marginal import adjustments

    roots = []
    root = adjustments._root
    monkeypatch.setattr(adjustments, "_root", lambda *a: roots.append(a) or root(*a))
    k, rng = 12, np.random.default_rng(0)
    data = {"v": np.tile(np.array([f"v{i:02d}" for i in range(k)]), 4), "b": np.repeat(range(4), k)}
    data["y"] = rng.normal(size=4 * k) + rng.normal(size=4)[data["b"]]
    pairs = lmm.emmeans(lmm.lmer("y ~ v + (1 | b)", data), "v").pairs().confint().to_frame()
    assert (len(pairs), len(roots)) == (66, 1)


def test_differences_of_differences_are_interactions():
    rng = np.random.default_rng(1)
    data = {"sub": np.repeat(np.arange(14), 3), "day": np.tile(["d1", "d2", "d3"], 14)}
    data["sex"] = np.where(data["sub"] < 8, "F", "M")
    data["y"] = rng.normal(size=14)[data["sub"]] + rng.normal(size=42)
    m = lmm.lmer("y ~ sex * day + (1 | sub)", data)
    steps = lmm.emmeans(m, "day", by="sex").contrast("consec")
    b = m.fixef()
    expected = [-b["sexM:dayd2"], b["sexM:dayd2"] - b["sexM:dayd3"]]
    for made in (
        steps.contrast("pairwise", by="contrast"),
        lmm.emmeans(m, ["day", "sex"]).contrast(interaction=["consec", "pairwise"]),
    ):
        np.testing.assert_allclose(made.to_frame()["estimate"], expected)
        assert made._repr_html_()


def test_control_levels_are_named_or_counted_from_zero(models):
    means = lmm.emmeans(models["f3"], "recipe")
    for ref in ("C", 2, -1):
        names = means.contrast("trt.vs.ctrl", ref=ref).to_frame()["contrast"]
        assert names.tolist() == ["A - C", "B - C"]
    for ref in (3, 7, -4):
        with pytest.raises(lmm.DataError, match=f"no level number {ref}: the 3 levels .* from 0"):
            means.contrast("trt.vs.ctrl", ref=ref)


def test_rows_are_selected_by_position_and_by_truth_value(models):
    means = lmm.emmeans(models["f2"], ["recipe", "temperature"])
    frame = means.to_frame()
    for chosen in (
        slice(3, 5),
        [4, 1],
        means.labels["recipe"] == "B",
        np.array([True] + [False] * 17),
    ):
        rows = np.arange(18)[np.asarray(chosen)] if not isinstance(chosen, slice) else range(3, 5)
        np.testing.assert_allclose(means[chosen].to_frame()["emmean"], frame["emmean"].iloc[rows])
    assert len(means[0]) == 1
    with pytest.raises(lmm.DataError, match="18 rows, from 0"):
        means[18]


@pytest.mark.parametrize("method", [[[1, -1, 0]], np.array([1.0, -1.0, 0.0])])
def test_contrasts_given_as_numbers(method, models):
    given = lmm.emmeans(models["f3"], "recipe").contrast(method).to_frame()
    assert given["contrast"].tolist() == ["c(1, -1, 0)"]
    np.testing.assert_allclose(given["estimate"], 133 / 90, rtol=1e-9)


def test_the_means_of_a_model_without_predictors(models):
    cake = lmm.load_dataset("cake")
    one = lmm.lmer("angle ~ 1 + (1 | replicate)", cake)
    assert str(lmm.joint_tests(one)) == "There is nothing to test."
    assert lmm.joint_tests(one).to_frame().empty
    none = lmm.lmer("angle ~ 0 + (1 | replicate)", cake)
    with pytest.raises(lmm.DataError, match="no fixed effects"):
        lmm.emmeans(none, "~ 1", ddf="asymptotic")


def test_several_tables_at_once(models):
    tables = lmm.emmeans(models["f4"], ["~ recipe", "pairwise ~ temperature"])
    assert list(tables.tables) == [
        "emmeans of recipe",
        "emmeans of temperature",
        "pairwise contrasts of temperature",
    ]
    assert [len(table) for table in tables.confint(0.9)] == [3, 6, 15]


def test_slopes_leave_alone_what_is_made_a_factor(models):
    dietox = lmm.load_dataset("dietox")
    m = lmm.lmer("Weight ~ Time + I(Time > 6) + (1 | Pig)", dietox)
    slope = lmm.emtrends(m, "1", "Time", ddf="asymptotic").to_frame()["Time.trend"].item()
    assert slope == pytest.approx(m.fixef()["Time"])


def test_slopes_do_not_depend_on_the_unit():
    dietox = lmm.load_dataset("dietox")
    slopes = []
    for unit in (1.0, 1e-7, 1e5):
        m = lmm.lmer("Weight ~ log(x) + (1 | Pig)", dietox.assign(x=unit * dietox["Time"]))
        slope = lmm.emtrends(m, "1", "x", ddf="asymptotic").to_frame()["x.trend"].item()
        slopes.append(slope * unit)
    np.testing.assert_allclose(slopes, slopes[0], rtol=1e-7)


def test_regridded_means_are_functions_of_means(models):
    means = lmm.emmeans(models["s3"], "half", ddf="satterthwaite")
    shown, regridded = means.response().to_frame(), means.regrid().to_frame()
    columns = ["response", "SE", "df"]
    np.testing.assert_allclose(shown[columns], regridded[columns], rtol=1e-7)
    b, differences = shown["response"], means.regrid().pairs().to_frame()["estimate"]
    np.testing.assert_allclose(differences, [b[0] - b[1], b[0] - b[2], b[1] - b[2]])
    plain = lmm.emmeans(models["f3"], "recipe")
    ratios = plain.regrid("log").pairs().response().to_frame()["ratio"]
    a = plain.to_frame()["emmean"]
    np.testing.assert_allclose(ratios, [a[0] / a[1], a[0] / a[2], a[1] / a[2]])
    with pytest.raises(ValueError, match="unknown scale 'lg'"):
        plain.regrid("lg")


def test_averages_of_regridded_predictions(models):
    m = models["s7"]
    grid = lmm.ref_grid(m).response().to_frame()
    overall = lmm.emmeans(m, "1", regrid="response").to_frame()["response"].item()
    assert overall == pytest.approx(grid["response"].mean())


def test_contrasts_of_ratios_are_ratios_and_averages_of_logarithms_are_not(models):
    means = lmm.emmeans(models["s3"], "half")
    b = means.response().to_frame()["response"]
    twice = means.contrast("consec").contrast([[1, -1]]).response()
    assert twice.to_frame()["ratio"].item() == pytest.approx((b[1] / b[0]) / (b[2] / b[1]))
    average = means.contrast({"m": [0.5, 0.5, 0]}).response()
    assert average.to_frame()["estimate"].item() == pytest.approx(np.log(b[:2]).mean())
    assert "Note: contrasts are still on the log scale" in str(average)


def test_ratios_are_written_as_ratios_in_all_contrasts():
    cake = lmm.load_dataset("cake")
    m = lmm.lmer(f"log(angle) ~ recipe * temperature + {RECIPES}", cake)
    at = {"temperature": ["175", "185"]}
    means = lmm.emmeans(m, "~ recipe | temperature", at=at, type="response")
    both = means.contrast(interaction={"recipe": "consec", "temperature": "consec"})
    assert both.to_frame().iloc[0, :2].tolist() == ["B / A", "185 / 175"]
    text = str(means.pairs().pairs(by="contrast"))
    assert "contrast = A / B:" in text
    assert "temperature175 / temperature185" in text


@pytest.mark.parametrize("cross", ["bonferroni", "holm", "sidak"])
def test_p_values_are_adjusted_across_groups(cross, models):
    pairs = lmm.emmeans(models["f2"], "~ recipe | temperature").pairs()
    within = pairs.to_frame()["p.value"].to_numpy().reshape(6, 3)
    across = pairs.test(cross_adjust=cross).to_frame()["p.value"].to_numpy().reshape(6, 3)
    least = within.argmin(axis=0)
    for j, i in enumerate(least):
        p = within[i, j]
        expected = -np.expm1(6 * np.log1p(-p)) if cross == "sidak" else min(6 * p, 1.0)
        assert across[i, j] == pytest.approx(expected)
    assert f"Cross-group P-value adjustment: {cross}" in str(pairs.test(cross_adjust=cross))
    with pytest.raises(ValueError, match="unknown adjustment 'tukey'"):
        pairs.test(cross_adjust="tukey")


def test_groups_of_means_are_predictors_to_what_is_made_of_them(models):
    means = lmm.emmeans(models["f2"], "recipe", by="temperature")
    assert lmm.emmeans(means, "recipe").by == ()
    terms = lmm.joint_tests(means).to_frame()["model term"].tolist()
    assert terms == ["recipe", "temperature", "recipe:temperature"]


def test_effect_sizes_are_those_of_emmeans(models):
    # R: eff_size(emmeans(fc, "recipe"), sigma = 5, edf = 40)
    sizes = lmm.emmeans(models["fc"], "recipe").eff_size(sigma=5, edf=40).to_frame()
    np.testing.assert_allclose(sizes["effect.size"], [0.29556, 0.30444, 0.00889], atol=5e-6)
    np.testing.assert_allclose(sizes["SE"], [0.492, 0.492, 0.491], atol=5e-4)
    np.testing.assert_allclose(sizes["lower.CL"], [-0.698, -0.689, -0.982], atol=5e-4)
    with pytest.raises(lmm.DataError, match="must be positive"):
        lmm.emmeans(models["fc"], "recipe").eff_size(sigma=0, edf=40)


def test_matrices_of_p_values_hold_the_pairs(models):
    means = lmm.emmeans(models["f2"], "recipe", by="temperature")
    matrices, pairs = means.pwpm(), means.pairs().to_frame()
    assert next(iter(matrices.matrices)) == "temperature = 175"
    for i, matrix in enumerate(matrices.matrices.values()):
        upper = matrix.to_numpy()[np.triu_indices(3, 1)]
        np.testing.assert_allclose(upper, pairs["p.value"][3 * i : 3 * i + 3])
        lower = matrix.to_numpy().T[np.triu_indices(3, 1)]
        np.testing.assert_allclose(lower, pairs["estimate"][3 * i : 3 * i + 3])
    assert "Upper triangle: p-values, adjustment: tukey" in str(matrices)


@pytest.mark.parametrize("reverse", [False, True])
def test_means_have_a_letter_in_common_if_they_do_not_differ(reverse, models):
    means = lmm.emmeans(models["f2"], "temperature")
    letters = means.cld(reverse=reverse).to_frame()
    order = letters["emmean"].to_numpy()
    assert (np.diff(order) > 0).all() != reverse
    signs = dict(zip(letters["temperature"], letters[".group"].str.replace(" ", ""), strict=True))
    names, matrix = list(signs), means.pwpm().matrices[""]
    matrix.index = matrix.columns = [name.removeprefix("temperature") for name in matrix.index]
    for a in names:
        for b in names:
            if names.index(a) < names.index(b):
                first, second = sorted((a, b))
                differ = matrix.loc[first, second] < 0.05
                assert bool(set(signs[a]) & set(signs[b])) != differ


def test_another_covariance_changes_errors_and_not_estimates(models):
    m = models["f2"]
    plain, robust = (lmm.emmeans(m, "recipe", vcov=v) for v in (None, lmm.vcov_cr(m)))
    np.testing.assert_allclose(robust.to_frame()["emmean"], plain.to_frame()["emmean"])
    L = plain.L
    expected = np.sqrt(np.diag(L @ lmm.vcov_cr(m).to_numpy() @ L.T))
    np.testing.assert_allclose(robust.to_frame()["SE"], expected)
    row = lmm.joint_tests(m, vcov=lmm.vcov_cr(m)).to_frame().iloc[0]
    C = L[:2] - L[1:]
    estimate = C @ m.beta
    wald = estimate @ np.linalg.solve(C @ lmm.vcov_cr(m).to_numpy() @ C.T, estimate) / 2
    assert row["F.ratio"] == pytest.approx(wald)
    assert robust.pairs().joint().to_frame()["F.ratio"].item() == pytest.approx(wald)
    with pytest.raises(lmm.DataError, match=r"covariance of the 18 fixed effects"):
        lmm.emmeans(m, "recipe", vcov=np.eye(3))


@pytest.mark.filterwarnings("ignore::lmm.errors.ScaleWarning")
def test_slopes_in_functions_of_a_covariate_and_of_higher_degree():
    cake = lmm.load_dataset("cake")
    log = lmm.lmer(f"angle ~ recipe * log(temp) + {RECIPES}", cake)
    slopes = lmm.emtrends(log, "recipe", "log(temp)", ddf="asymptotic").to_frame()
    b = log.fixef()
    expected = b["log(temp)"] + np.array([0, b["recipeB:log(temp)"], b["recipeC:log(temp)"]])
    np.testing.assert_allclose(slopes["log(temp).trend"], expected, rtol=1e-6)
    bent = lmm.lmer(f"angle ~ recipe + temp + I(temp^2) + {RECIPES}", cake)
    table = lmm.emtrends(bent, "recipe", "temp", max_degree=2, ddf="asymptotic")
    frame, b = table.to_frame(), bent.fixef()
    at_mean = b["temp"] + 2 * b["I(temp^2)"] * cake["temp"].mean()
    np.testing.assert_allclose(frame["temp.trend"][:3], at_mean, rtol=1e-6)
    np.testing.assert_allclose(frame["temp.trend"][3:], b["I(temp^2)"], rtol=1e-6)
    assert table.by == ("degree",)


def test_covariates_stand_for_what_is_asked(models):
    m, temp = models["fc"], models["fc"].call.data["temp"]
    by_median = lmm.emmeans(m, "recipe", cov_reduce={"temp": np.median}).to_frame()
    at = lmm.emmeans(m, "recipe", at={"temp": temp.median()}).to_frame()
    np.testing.assert_allclose(by_median["emmean"], at["emmean"])
    assert len(lmm.ref_grid(m, cov_reduce=False)) == 3 * temp.nunique()
    ends = lmm.emmeans(m, "~ recipe | temp", cov_reduce=lambda x: (x.min(), x.max()))
    assert ends.labels["temp"].unique().tolist() == [175, 225]


def test_tables_are_joined_as_one_family(models):
    means = lmm.emmeans(models["f3"], "recipe")
    both = means + means.pairs()
    assert both.labels["recipe"].tolist() == ["A", "B", "C", ".", ".", "."]
    assert "bonferroni method for 6 estimates" in str(both)
    other = lmm.emmeans(models["f2"], "recipe")
    with pytest.raises(lmm.DataError, match="different models"):
        means + other


def test_levels_are_grouped(models):
    means = lmm.emmeans(models["f3"], "recipe").add_grouping("kind", "recipe", ["x", "x", "y"])
    grouped = lmm.emmeans(means, "kind").to_frame()["emmean"]
    a = means.to_frame()["emmean"]
    np.testing.assert_allclose(grouped, [(a[0] + a[1]) / 2, a[2]])
    with pytest.raises(lmm.DataError, match="2 groups for the 3 levels"):
        means.add_grouping("other", "recipe", ["x", "y"])


def test_functions_of_r_that_are_methods_are_named():
    with pytest.raises(AttributeError, match=r"'cld': write emmeans\(m, \.\.\.\)\.cld"):
        getattr(lmm, "cld")  # noqa: B009


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
    assert joint.to_frame()["df1"].tolist() == [1, 1, 2]


def test_what_empty_cells_confound_completes_the_tests(models):
    m = models["s5"]
    tests = lmm.joint_tests(m, ddf="asymptotic").to_frame()
    assert tests["model term"].tolist() == ["half", "half:lg", "(confounded)"]
    cells = m.call.data[["half", "lg"]].drop_duplicates()
    X = m.fit.matrices.fixed.matrix(cells)
    C = X[1:] - X[0]
    estimate = C @ m.beta
    together = estimate @ np.linalg.solve(C @ m.fit.vcov @ C.T, estimate)
    # the part that is uncorrelated with what is tested by the terms
    fixed = m.fit.matrices.fixed
    assert fixed.names == ("(Intercept)", "halflo", "halfmid", "lgTRUE", "halfmid:lgTRUE")
    L = np.array([[0, 0, 1, 0, 0.5], [0, 0, 0, 0, 1.0]])
    by_terms = (L @ m.beta) @ np.linalg.solve(L @ m.fit.vcov @ L.T, L @ m.beta)
    assert tests["F.ratio"].iloc[2] == pytest.approx((together - by_terms) / 2)


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
        (lambda m: lmm.emmeans(m, "recipe", weights="even"), "weights must be one of equal"),
        (lambda m: lmm.emtrends(m, "temp", var="recipe"), "'recipe' is a factor"),
        (lambda m: lmm.emmeans(m, "recipe").contrast("pairs"), "unknown family of contrasts"),
        (lambda m: lmm.emmeans(m, "recipe").contrast("eff", by="temp"), "no label 'temp'"),
        (lambda m: lmm.emmeans(m, "recipe").contrast({"a": [1, -1]}), "2 coefficients for 3"),
        (lambda m: lmm.emmeans(m, "recipe").contrast("trt.vs.ctrl", ref="D"), "no level 'D'"),
        (lambda m: str(lmm.emmeans(m, "recipe").pairs(adjust="tuckey")), "mean 'tukey'"),
        (lambda m: str(lmm.emmeans(m, "recipe").test(adjust="tukey")), "all pairwise differences"),
        (lambda m: lmm.emmeans(m, "recipe").confint(95), "between 0 and 1, not 95"),
        (lambda m: lmm.emmeans(m, "recipe").contrast({}), "no contrasts are given"),
        (lambda m: lmm.emmeans(m, "recipe", at={"temp": []}), "gives no value for 'temp'"),
        (lambda m: lmm.emmeans(m, "recipe", at={"temp": ["warm"]}), "it cannot be 'warm'"),
        (lambda m: lmm.emmeans(m, "recipe").pairs(adjust="dunnettx"), "which is here: 'mvt'"),
        (lambda m: lmm.emmeans(m, "recipe").test(side="up"), "unknown side 'up'"),
        (lambda m: lmm.emmeans(m, "recipe").test(delta=-1), "at least 0, not -1"),
        (lambda m: lmm.emmeans(m, "recipe").contrast("eff", ref="A"), "no reference level"),
        (lambda m: lmm.emmeans(m, "recipe").contrast("eff", reverse=True), "no reverse"),
        (lambda m: lmm.emmeans(m, "recipe")[:1].pairs(), "nothing to contrast"),
        (lambda m: lmm.emmeans(m, "recipe", weights=[1, 2]), "2 numbers for 1 combinations"),
        (lambda m: lmm.emmeans(m, "recipe", nesting="temp in recipe"), "an operator"),
        (lambda m: lmm.emmeans(m, "recipe", nesting="temp * recipe"), "inner %in% outer"),
        (lambda m: lmm.emmeans(m, "log(recipe) ~ temp"), "unknown family of contrasts 'log"),
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
    by_height = sorted(ax.get_yticklabels(), key=lambda label: -label.get_position()[1])
    assert [label.get_text() for label in by_height] == ["A", "B", "C"]
    mpl.pyplot.close(ax.figure)


def test_interaction_plots_show_means_and_limits(models):
    frame = lmm.emmeans(models["f2"], ["temperature", "recipe"]).to_frame()
    ax = lmm.emmip(models["f2"], "recipe ~ temperature", bands=True)
    for i, line in enumerate(ax.lines):
        np.testing.assert_allclose(line.get_ydata(), frame["emmean"][6 * i : 6 * i + 6])
    bars = np.array([s[:, 1] for part in ax.collections for s in part.get_segments()])
    np.testing.assert_allclose(bars, frame[["lower.CL", "upper.CL"]])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["A", "B", "C"]
    assert [text.get_text() for text in ax.get_xticklabels()][:2] == ["175", "185"]
    parts = lmm.emmip(models["f2"], "~ temperature | recipe")
    assert [part.get_title() for part in parts] == ["recipe = A", "recipe = B", "recipe = C"]
    along = lmm.emmip(models["fc"], "recipe ~ temp", at={"temp": [175, 200]}, bands=True)
    assert along.lines[0].get_xdata().tolist() == [175, 200]
    with pytest.raises(lmm.DataError, match="no predictor on the right"):
        lmm.emmip(models["fc"], "recipe ~ 1")
    mpl.pyplot.close("all")


def test_weights_with_names_belong_to_levels():
    m = lmm.lmer("angle ~ recipe * temp + (1 | recipe:replicate)", lmm.load_dataset("cake"))
    right = lmm.emmeans(m, "1", weights=[0.5, 0.2, 0.3]).to_frame()
    for weights in (pd.Series({"C": 0.3, "A": 0.5, "B": 0.2}), {"B": 0.2, "C": 0.3, "A": 0.5}):
        found = lmm.emmeans(m, "1", weights=weights).to_frame()
        pd.testing.assert_frame_equal(found, right)
    with pytest.raises(ValueError, match="weights says nothing of C"):
        lmm.emmeans(m, "1", weights={"A": 1.0, "B": 1.0})
    two = lmm.lmer("angle ~ recipe + temperature + (1 | replicate)", lmm.load_dataset("cake"))
    with pytest.raises(lmm.DataError, match="there are 2 predictors to average over"):
        lmm.emmeans(two, "1", weights={"A": 1.0})


def test_arguments_of_a_wrong_kind_are_named():
    m = lmm.lmer("Reaction ~ Days + (1 | Subject)", lmm.load_dataset("sleepstudy"))
    with pytest.raises(TypeError, match="at must be a mapping"):
        lmm.emmeans(m, "~ Days", at=[1])
    with pytest.raises(TypeError, match="nesting must be text"):
        lmm.emmeans(m, "~ Days", nesting=3)
    with pytest.raises(ValueError, match="Unknown method '3'"):
        m.confint(method=3)


def test_transform_is_the_older_name_of_regrid():
    m = lmm.lmer("log(angle) ~ recipe + (1 | recipe:replicate)", lmm.load_dataset("cake"))
    older = lmm.emmeans(m, "recipe", transform="response").to_frame()
    pd.testing.assert_frame_equal(older, lmm.emmeans(m, "recipe", regrid="response").to_frame())
    with pytest.raises(ValueError, match="another name of regrid"):
        lmm.emmeans(m, "recipe", transform="response", regrid="response")


def test_p_values_of_pairs_as_a_picture():
    m = lmm.lmer("angle ~ recipe * temp + (1 | recipe:replicate)", lmm.load_dataset("cake"))
    means = lmm.emmeans(m, ["recipe", "temp"], by="temp", at={"temp": [175, 225]})
    ax, pairs = means.pwpm().plot(), means.pairs().to_frame()
    lines = [line for line in ax.get_lines() if len(set(line.get_ydata())) == 2][:6]
    np.testing.assert_allclose(
        sorted(line.get_xdata()[0] for line in lines), sorted(np.cbrt(pairs["p.value"]))
    )
    names = [label.get_text() for label in ax.get_yticklabels()]
    for temp, group in means.to_frame().groupby("temp"):
        order = group.sort_values("emmean")["recipe"]
        assert [n for n in names if f"{temp:g}" in n] == [f"temp = {temp:g}: {r}" for r in order]
    plain = lmm.emmeans(m, "recipe").pwpm().plot()
    assert plain.get_xlabel() == "p-value"
