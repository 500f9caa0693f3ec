"""Marginal means in all words of emmeans, against numbers of emmeans 1.8.4 (R 4.2.2).

Data, in R as here, from ``i <- 0:119``; degrees of freedom by Satterthwaite's method.
"""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from numpy.testing import assert_allclose

import lmm

pytestmark = pytest.mark.filterwarnings("ignore:.*rank deficient")
SATTERTHWAITE = {"ddf": "satterthwaite"}


@pytest.fixture(scope="module")
def data():
    i = np.arange(120)
    a, b, g = np.array(["k", "l", "m"])[i % 3], np.array(["u", "v"])[i // 3 % 2], i * 7 % 11
    k = np.array([1.0, 2.0, 4.0, 7.0])[i * (i // 5) % 4]
    x = 1 + i * 37 % 83 / 10 + 1.5 * (a == "l")
    eta = 0.1 * x * (a != "m") + 0.3 * (a == "l") + 0.05 * k + 0.3 * np.sin(1.7 * g)
    y = np.exp(eta + 0.2 * np.sin(12.9898 * i))
    return {"a": a, "b": b, "g": g, "k": k, "x": x, "y": y}


@pytest.fixture(scope="module")
def m(data):
    return lmm.lmer("y ~ a * x + b + (1 | g)", data)


@pytest.fixture(scope="module")
def logs(data):
    return lmm.lmer("log(y) ~ a * x + b + (1 | g)", data)


def numbers(table, *columns):
    return table.to_frame()[list(columns)].to_numpy()


def test_a_covariate_stands_at_its_mean_given_a_factor(m):
    means = lmm.emmeans(m, "a", cov_reduce="x ~ a", **SATTERTHWAITE)
    expected = [
        [1.855180787, 0.1558987447, 13.66811233],
        [3.206620680, 0.1558980991, 13.66794111],
        [1.178696588, 0.1558985451, 13.66805913],
    ]
    assert_allclose(numbers(means, "emmean", "SE", "df"), expected, rtol=2e-6)
    means = lmm.emmeans(m, "b", cov_reduce=["x ~ a * b"], **SATTERTHWAITE)
    expected = [[2.064768586, 0.1500847079], [2.095563451, 0.1500846052]]
    assert_allclose(numbers(means, "emmean", "SE"), expected, rtol=2e-6)


def test_the_grid_shows_what_is_predicted(m, data):
    x, a = data["x"], data["a"]
    grid = lmm.ref_grid(m, cov_reduce="x ~ a", **SATTERTHWAITE)
    frame = grid.to_frame()
    assert_allclose(frame["x"][:3], [x[a == level].mean() for level in "klm"], rtol=1e-12)
    means = lmm.emmeans(m, "a", cov_reduce="x ~ a", **SATTERTHWAITE)
    again = lmm.emmeans(grid, "a")
    assert_allclose(numbers(again, "prediction"), numbers(means, "emmean"), rtol=1e-12)
    at = lmm.emmeans(m, "a", {}, {"x": 4.0}, cov_reduce="x ~ a", **SATTERTHWAITE)
    fixed = lmm.emmeans(m, "a", at={"x": 4.0}, **SATTERTHWAITE)
    assert_allclose(numbers(at, "emmean"), numbers(fixed, "emmean"), rtol=1e-12)
    overall = lmm.emmeans(m, "a", cov_reduce="x ~ 1", **SATTERTHWAITE)
    plain = lmm.emmeans(m, "a", **SATTERTHWAITE)
    assert_allclose(numbers(overall, "emmean"), numbers(plain, "emmean"), rtol=1e-12)


def test_values_of_covariates_are_kept_and_averaged_over(data):
    m = lmm.lmer("y ~ a * k + b + x + (1 | g)", data)
    means = lmm.emmeans(m, "a", cov_keep="k", **SATTERTHWAITE)
    expected = [
        [2.128438785, 0.1605609798, 19.46673123],
        [3.175165927, 0.1616048876, 19.92782890],
        [1.223608335, 0.1594317930, 18.94656054],
    ]
    assert_allclose(numbers(means, "emmean", "SE", "df"), expected, rtol=2e-6)
    means = lmm.emmeans(m, "a", cov_keep=4, weights="proportional", **SATTERTHWAITE)
    expected = [
        [2.027975709, 0.1529382341],
        [3.008111908, 0.1535574115],
        [1.204346184, 0.1511715254],
    ]
    assert_allclose(numbers(means, "emmean", "SE"), expected, rtol=2e-6)
    levels = lmm.emmeans(m, "~ k | a", cov_keep=["k", "2"], **SATTERTHWAITE).to_frame()["k"]
    assert levels.unique().tolist() == [1.0, 2.0, 4.0, 7.0]


def test_slopes_on_the_scale_of_the_response(logs):
    slopes = lmm.emtrends(logs, "a", "x", regrid="response", **SATTERTHWAITE)
    expected = [
        [0.20507374645, 0.03148623245],
        [0.26452776694, 0.03535822284],
        [0.01075249901, 0.01320363835],
    ]
    # R's slopes are forward differences
    assert_allclose(numbers(slopes, "x.trend", "SE"), expected, rtol=2e-4)
    means = lmm.emmeans(logs, ["a", "b"], **SATTERTHWAITE).to_frame()["emmean"].to_numpy()
    own = lmm.emtrends(logs, "a", "x", **SATTERTHWAITE).to_frame()["x.trend"].to_numpy()
    exact = np.exp(means).reshape(2, 3).mean(axis=0) * own
    assert_allclose(slopes.to_frame()["x.trend"], exact, rtol=1e-7)
    roots = lmm.emtrends(logs, "a", "x", transform="sqrt", **SATTERTHWAITE)
    expected = [
        [0.073125113820, 0.009688892223],
        [0.081305762823, 0.010200395915],
        [0.005050122353, 0.006187478192],
    ]
    assert_allclose(numbers(roots, "x.trend", "SE"), expected, rtol=2e-4)


def test_slopes_of_probabilities():
    cbpp = lmm.load_dataset("cbpp").assign(p=lambda d: d["period"].astype(int))
    m = lmm.glmer("cbind(incidence, size - incidence) ~ p + (1 | herd)", cbpp)
    at = {"p": 2.5}
    slope = lmm.emtrends(m, "1", "p", at=at, regrid="response").to_frame()["p.trend"][0]
    p = lmm.emmeans(m, "1", at=at, type="response").to_frame()["prob"][0]
    assert_allclose(slope, m.fixef()["p"] * p * (1.0 - p), rtol=1e-7)


def test_contrasts_are_scaled_shifted_and_cut_off(m, logs):
    means = lmm.emmeans(m, "a", **SATTERTHWAITE)
    made = means.contrast("trt.vs.ctrl", scale=[1.0, 10.0], offset=[1.0, 2.0])
    expected = [
        [1.728767279, 0.1180607432, 14.643032323],
        [-7.052930968, 1.0971114675, -6.42863663],
    ]
    assert_allclose(numbers(made, "estimate", "SE", "t.ratio"), expected, rtol=1e-6)
    linear = means.contrast("poly", max_degree=1, name="trend").to_frame()
    assert linear["trend"].tolist() == ["linear"]
    assert_allclose(linear[["estimate", "SE"]], [[-0.9052930968, 0.1097111468]], rtol=1e-6)
    pairs = lmm.emmeans(logs, "a", type="response", **SATTERTHWAITE).contrast(
        "pairwise", ratios=False
    )
    expected = [[-0.2970632892, 0.04656722057], [0.5509393983, 0.04327257588]]
    assert_allclose(numbers(pairs, "estimate", "SE")[:2], expected, rtol=1e-6)
    assert "contrasts are still on the log scale" in str(pairs)


def test_scales_repeat_in_each_group(m):
    made = lmm.emmeans(m, "~ a | b", **SATTERTHWAITE).contrast("pairwise", scale=[1.0, 2.0, 3.0])
    plain = lmm.emmeans(m, "~ a | b", **SATTERTHWAITE).pairs()
    assert_allclose(
        numbers(made, "estimate"), numbers(plain, "estimate") * np.tile([1, 2, 3], 2)[:, None]
    )


def test_intervals_of_new_observations(m, logs):
    table = lmm.emmeans(m, "a", **SATTERTHWAITE).predict(sigma=1.2)
    expected = [
        [2.084289546, 1.210639097, 15.17895977, -0.4934793729, 4.662058466],
        [2.813056826, 1.210877968, 15.84885954, 0.2441192659, 5.381994386],
        [1.178996450, 1.210096223, 13.69971488, -1.4217490781, 3.779741977],
    ]
    columns = ("prediction", "SE", "df", "lower.PL", "upper.PL")
    assert_allclose(numbers(table, *columns), expected, rtol=2e-6)
    table = lmm.emmeans(logs, "a", type="response", **SATTERTHWAITE).predict()
    expected = [
        [1.965828142, 0.3863765171, 13.27806273, 1.286857210, 3.003037364],
        [2.645809036, 0.5206297944, 13.69160203, 1.733326361, 4.038654008],
        [1.133119224, 0.2221203263, 12.35824611, 0.740255670, 1.734480703],
    ]
    assert_allclose(numbers(table, *columns), expected, rtol=2e-6)
    assert f"based on an error SD of {logs.sigma:.5g}" in str(table)
    assert "prediction" not in table.pairs().to_frame().columns
    own = lmm.emmeans(logs, "a", type="response", **SATTERTHWAITE)
    assert_allclose(numbers(table.confint(), "SE"), numbers(own, "SE"), rtol=1e-12)


def test_pictures_show_new_observations(m):
    wide = lmm.emmeans(m, ["b", "a"], **SATTERTHWAITE).predict().to_frame()
    ax = lmm.emmip(m, "a ~ b", bands=True, interval="prediction", **SATTERTHWAITE)
    bars = np.array([segment[:, 1] for lines in ax.collections for segment in lines.get_segments()])
    assert len(bars) == 12
    drawn = bars.reshape(3, 2, 2, 2)[:, 1].reshape(6, 2)
    assert_allclose(np.sort(drawn, axis=0), np.sort(wide[["lower.PL", "upper.PL"]], axis=0))
    plt.close(ax.figure)
    ax = lmm.plots.effect(m, "x", by="a", interval="prediction", **SATTERTHWAITE)
    assert len(ax.collections) == 2 * 3 + 1
    plt.close(ax.figure)
    ax = lmm.emmeans(m, "a", **SATTERTHWAITE).plot(interval="prediction")
    assert len(ax.collections) == 2
    plt.close(ax.figure)


@pytest.mark.parametrize("show0df, terms", [(False, ["x"]), (True, ["a", "b", "x", "a:b"])])
def test_joint_tests_with_and_without_what_is_not_estimable(show0df, terms, data):
    kept = ~((data["b"] == "v") & (data["a"] != "k"))
    m = lmm.lmer("y ~ a * b + x + (1 | g)", {name: v[kept] for name, v in data.items()})
    tests = lmm.joint_tests(m, show0df=show0df, **SATTERTHWAITE).to_frame()
    assert tests["model term"].tolist() == [*terms, "(confounded)"]
    shown = tests.set_index("model term")
    assert_allclose(shown.loc["x", ["df1", "df2"]].astype(float), [1, 66.77], atol=0.01)
    assert_allclose(shown["F.ratio"][["x", "(confounded)"]], [36.786, 55.646], rtol=1e-4)
    if show0df:
        assert tests["df1"].tolist() == [0, 0, 1, 0, 3]
        assert tests["note"].tolist() == ["e", "e", "", "e", ""]
    without = lmm.joint_tests(m, showconf=False, show0df=show0df, **SATTERTHWAITE).to_frame()
    assert without["model term"].tolist() == terms


def test_joint_tests_leave_out_a_covariate_at_its_mean(m):
    tests = lmm.joint_tests(m, cov_reduce=np.mean, **SATTERTHWAITE).to_frame()
    assert tests["model term"].tolist() == ["a", "b"]
    assert_allclose(tests["F.ratio"], [108.100, 0.008], atol=0.0006)


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda m: lmm.emmeans(m, "a", cov_reduce="x"), TypeError, "such as .x ~ a."),
        (lambda m: lmm.emmeans(m, "a", cov_reduce="x ~ z"), lmm.DataError, "no predictor 'z'"),
        (lambda m: lmm.emmeans(m, "a", cov_reduce="a ~ b"), lmm.DataError, "must be numeric"),
        (lambda m: lmm.emmeans(m, "a", cov_reduce="log(x) ~ a"), lmm.DataError, "name"),
        (lambda m: lmm.emmeans(m, "a", cov_reduce="x ~ x"), lmm.FormulaError, "also a predictor"),
        (lambda m: lmm.emmeans(m, "a", cov_reduce=["x ~ a", "x ~ b"]), lmm.DataError, "once"),
        (lambda m: lmm.emmeans(m, ["a", "x"], cov_reduce="x ~ a"), lmm.DataError, "'x'"),
        (lambda m: lmm.emmeans(m, "a", cov_keep="z"), lmm.DataError, "no predictor 'z'"),
        (lambda m: lmm.emtrends(m, "a", "x", regrid="lgo"), ValueError, "lgo"),
        (lambda m: lmm.emmeans(m, "a").contrast("poly", max_degree=0), ValueError, "1 to 6"),
        (lambda m: lmm.emmeans(m, "a").contrast("eff", max_degree=2), ValueError, "'poly'"),
        (lambda m: lmm.emmeans(m, "a").contrast("eff", scale=[1, 2]), lmm.DataError, "3 contr"),
        (lambda m: lmm.emmeans(m, "a").pairs().predict(), lmm.DataError, "only means"),
        (lambda m: lmm.emmeans(m, "a").predict(sigma=0), ValueError, "positive"),
        (lambda m: lmm.emmip(m, "~ a", interval="both"), ValueError, "'both'"),
    ],
)
def test_mistakes_are_named(call, error, message, m):
    with pytest.raises(error, match=message):
        call(m)


def test_a_probability_has_no_normal_observations():
    m = lmm.glmer(
        "cbind(incidence, size - incidence) ~ period + (1 | herd)", lmm.load_dataset("cbpp")
    )
    with pytest.raises(lmm.DataError, match="no residual standard deviation"):
        lmm.emmeans(m, "period").predict()
