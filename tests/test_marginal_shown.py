"""What is shown of marginal means: scales, groups, offsets, empty cells."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import lmm

pytestmark = pytest.mark.filterwarnings("ignore:.*rank deficient")


@pytest.fixture(scope="module")
def crossed():
    """Two factors without the cell of their last levels, and a number that no rows share."""
    rng = np.random.default_rng(3)
    a, b = rng.choice(["k", "l", "m"], 120), rng.choice(["u", "v", "w"], 120)
    kept = ~((a == "m") & (b == "w"))
    g, x = rng.integers(0, 12, 120), rng.uniform(1.0, 9.0, 120)
    y = np.exp(0.1 * (a == "l") + 0.05 * x + 0.2 * rng.normal(size=12)[g] + rng.normal(0, 0.1, 120))
    return {k: v[kept] for k, v in {"a": a, "b": b, "g": g, "x": x, "y": y}.items()}


def test_an_unknown_mean_hides_only_its_own_contrasts(crossed):
    means = lmm.emmeans(lmm.lmer("y ~ a * b + (1 | g)", crossed), "a", ddf="satterthwaite")
    pairs = means.regrid("log").pairs().to_frame()
    assert_array_equal(np.isnan(pairs["estimate"]), [False, True, True])
    estimate = means.to_frame()["emmean"]
    assert_allclose(pairs["estimate"][0], np.log(estimate[0] / estimate[1]), rtol=1e-12)


def test_groups_without_any_known_difference_are_shown(crossed):
    m = lmm.lmer("y ~ a * b + (1 | g)", {k: v[crossed["a"] != "l"] for k, v in crossed.items()})
    pairs = lmm.emmeans(m, "~ a | b", ddf="satterthwaite").pairs()
    assert np.isnan(pairs.to_frame()["p.value"]).tolist() == [False, False, True]
    assert "nonEst" in str(pairs)


def test_unknown_cells_of_no_weight_do_not_count(crossed):
    cells = lmm.emmeans(lmm.lmer("y ~ a * b + (1 | g)", crossed), ["a", "b"], ddf="satterthwaite")
    by_cells = lmm.emmeans(cells.regrid(), "a", weights="cells").to_frame().iloc[:, 1]
    linear = lmm.emmeans(cells, "a", weights="cells").to_frame().iloc[:, 1]
    assert_allclose(by_cells, linear, rtol=1e-12)


def test_values_of_a_number_are_nested_in_nothing(crossed):
    m = lmm.lmer("y ~ a * x + (1 | g)", crossed)
    means = lmm.emmeans(m, "a", cov_reduce=False, ddf="satterthwaite")
    assert "nesting" not in str(means)
    expected = lmm.emmeans(m, "a", at={"x": np.unique(crossed["x"]).mean()}, ddf="satterthwaite")
    assert_allclose(means.to_frame()["emmean"], expected.to_frame()["emmean"], rtol=1e-12)


def test_summary_in_the_words_of_r():
    m = lmm.lmer("log(Weight) ~ Time + Cu + (1 | Pig)", lmm.load_dataset("dietox"))
    pairs = lmm.emmeans(m, "Cu", ddf="satterthwaite").pairs()
    assert str(pairs.summary(infer=True)) == str(pairs.summary())
    assert str(pairs.summary(infer=(True, False))) == str(pairs.confint())
    assert str(pairs.summary(type="response")) == str(pairs.response().summary())
    assert str(pairs.response().summary(type="link")) == str(pairs.summary())
    with pytest.raises(ValueError, match="unknown type 'log'"):
        pairs.summary(type="log")


def test_summary_in_other_groups():
    cake = lmm.load_dataset("cake")
    m = lmm.lmer("angle ~ recipe * temperature + (1 | recipe:replicate)", cake)
    pairs = lmm.emmeans(m, "~ recipe | temperature").pairs()
    assert str(pairs.summary(by="temperature")) == str(pairs.summary())
    together = pairs.summary(by=[], adjust="bonferroni").to_frame()["p.value"]
    alone = pairs.summary(adjust="none").to_frame()["p.value"]
    assert_allclose(together, np.minimum(18 * alone, 1.0), rtol=1e-12)
    with pytest.raises(ValueError, match="Tukey's adjustment is for all pairwise differences"):
        pairs.summary(by=[]).to_frame()
    with pytest.raises(lmm.DataError, match="there is no label 'recipes'"):
        pairs.summary(by="recipes")


def test_simple_contrasts_as_one_family():
    # pairs(emmeans(m, ~ Sex | age, at = list(age = c(8, 14))), simple = "each", combine = TRUE)
    d = lmm.load_dataset("Orthodont").drop(index=[*range(9), *range(49, 57), 59])
    m = lmm.lmer("distance ~ age * Sex + (1 | Subject)", d)
    means = lmm.emmeans(m, "~ Sex | age", at={"age": [8, 14]}, ddf="satterthwaite")
    pairs = means.pairs(simple="each", combine=True)
    p = [8.800080526e-01, 6.588060527e-02, 8.743760791e-11, 1.306118205e-06]
    assert_allclose(pairs.to_frame()["p.value"], p, rtol=1e-5)
    assert pairs.to_frame()["age"].tolist() == ["8", "14", ".", "."]


@pytest.mark.parametrize(
    "sides", [(1, "+", ">", "right"), (-1, "-", "<", "left"), (0, 2, "=", "!=", "both")]
)
def test_sides_by_number_and_sign(sides):
    m = lmm.lmer("angle ~ recipe + (1 | replicate)", lmm.load_dataset("cake"))
    pairs = lmm.emmeans(m, "recipe", ddf="satterthwaite").pairs(adjust="none")
    first, *others = [pairs.test(side=side).to_frame() for side in sides]
    assert all(first.equals(other) for other in others)


def test_means_at_a_value_of_the_offset():
    cbpp = lmm.load_dataset("cbpp")
    m = lmm.glmer("incidence ~ period + offset(log(size)) + (1 | herd)", cbpp, "poisson")
    rates = lmm.emmeans(m, "period", offset=0.0, type="response").to_frame()["rate"]
    usual = lmm.emmeans(m, "period", type="response").to_frame()["rate"]
    assert_allclose(usual / rates, np.exp(np.log(cbpp["size"]).mean()), rtol=1e-12)
    grid = lmm.ref_grid(m, offset=0.0).to_frame()["prediction"]
    assert_allclose(np.exp(grid), rates, rtol=1e-12)
