"""Deletion diagnostics against lme4's influence()."""

import numpy as np
import pandas as pd
import pytest

import lmm

# lme4's own refits stop at about this relative error of the estimates.
RTOL = 1e-4


def test_deletion_of_groups(sleepstudy_slope):
    # lme4 1.1-31: influence(fm1, "Subject")
    deletion = sleepstudy_slope.influence("Subject")
    assert deletion.converged.all()
    assert deletion.n_evaluations.max() <= 6
    assert list(deletion.deleted[:2]) == ["308", "309"]
    np.testing.assert_allclose(
        deletion.cooks_distance()[:6],
        [0.082148405, 0.132020798, 0.098240744, 0.074146502, 0.050121507, 0.005613424],
        rtol=RTOL,
    )
    np.testing.assert_allclose(
        deletion.dfbeta()[:2], [[0.4242609, -0.6645539], [2.7264800, 0.4826765]], rtol=RTOL
    )
    np.testing.assert_allclose(
        deletion.dfbetas()[:2], [[0.05872488, -0.4489274], [0.41087492, 0.3098969]], rtol=RTOL
    )
    change = deletion.dfbeta("varcorr").loc["308"]
    assert change["sigma^2"] == pytest.approx(-95.76266, rel=RTOL)
    assert change["var_(Intercept)|Subject"] == pytest.approx(82.0299, rel=RTOL)
    # The difference of two covariances near 9, of which lme4 knows three digits.
    assert change["cov_Days.(Intercept)|Subject"] == pytest.approx(-1.458233, abs=0.01)
    assert change["var_Days|Subject"] == pytest.approx(-4.596982, rel=RTOL)


def test_deletion_of_groups_from_random_intercepts(sleepstudy_int):
    distance = sleepstudy_int.influence("Subject").cooks_distance()
    np.testing.assert_allclose(distance[:2], [0.33921460, 0.29030906], rtol=RTOL)


def test_distances_are_positive_with_fewer_groups_than_fixed_effects():
    """lme4's factor (g - p) / g would make them negative: 6 blocks, 12 fixed effects."""
    m = lmm.lmer("yield ~ factor(nitro) * Variety + (1 | Block)", lmm.load_dataset("Oats"))
    deletion = m.influence("Block")
    change = deletion.dfbeta().to_numpy()
    expected = np.einsum("gj,gj->g", change, np.linalg.solve(deletion.vcov, change.T).T) / 12
    assert (expected > 0.0).all()
    np.testing.assert_allclose(deletion.cooks_distance(), expected)


def test_deletions_from_a_model_without_fixed_effects():
    d = lmm.load_dataset("Dyestuff").assign(y=lambda t: t["Yield"] - 1500)
    deletion = lmm.lmer("y ~ 0 + (1 | Batch)", d).influence("Batch")
    assert deletion.cooks_distance().isna().all()
    assert deletion.dfbetas().shape == (6, 0)
    rest = lmm.lmer("y ~ 0 + (1 | Batch)", d[d["Batch"] != "C"])
    np.testing.assert_allclose(deletion.components_without[2, 0], rest.sigma**2, rtol=1e-6)
    assert list(deletion.to_frame().columns) == [
        "cooks_distance",
        "sigma^2",
        "var_(Intercept)|Batch",
    ]


def test_deletion_of_cases(sleepstudy_int):
    # lme4 1.1-31: influence(fi)
    deletion = sleepstudy_int.influence()
    assert len(deletion.to_frame()) == 180
    np.testing.assert_allclose(
        deletion.cooks_distance()[:3], [0.01650334, 0.01066341, 0.01129308], rtol=RTOL
    )
    np.testing.assert_allclose(
        deletion.components_without[:2], [[951.9059, 1405.460], [951.1388, 1406.208]], rtol=RTOL
    )


def test_a_deletion_equals_a_fit_of_the_rest():
    data = lmm.load_dataset("Pastes")
    formula = "strength ~ 1 + (1 | batch/cask)"
    deletion = lmm.lmer(formula, data).influence("batch")
    rest = lmm.lmer(formula, data[data["batch"] != "C"])
    g = list(deletion.deleted).index("C")
    np.testing.assert_allclose(deletion.fixef_without[g], rest.beta, rtol=1e-9)
    np.testing.assert_allclose(deletion.vcov_without[g], rest.vcov(), rtol=1e-5)


def test_a_fixed_effect_without_data_is_missing():
    data = lmm.load_dataset("Machines")
    data["only"] = (data["Worker"] == "6").astype(float)
    m = lmm.lmer("score ~ Machine + only + (1 | Worker)", data)
    without = m.influence("Worker").fixef_without
    assert np.isnan(without[:, 3]).sum() == 1
    assert np.isfinite(without[:, :3]).all()


def test_an_unknown_factor_is_refused(sleepstudy_int):
    with pytest.raises(lmm.DataError, match=r"no grouping factor 'subject'\. Did you mean"):
        sleepstudy_int.influence("subject")


def test_a_factor_of_two_levels_cannot_lose_one():
    rng = np.random.default_rng(2)
    data = {"g": ["a", "b"] * 20, "h": np.repeat(np.arange(8), 5), "y": rng.normal(size=40)}
    data["y"] = data["y"] + 3 * np.repeat(rng.normal(size=8), 5) + 5 * np.tile([0, 1], 20)
    m = lmm.lmer("y ~ 1 + (1 | g) + (1 | h)", data)
    with pytest.raises(lmm.DataError, match="leave 1 of the 2 levels of 'g'"):
        m.influence("g")
    assert m.influence("h").converged.all()


def test_unknown_estimates_are_refused(sleepstudy_slope):
    with pytest.raises(ValueError, match="fixed, varcorr"):
        sleepstudy_slope.influence("Subject").dfbeta("random")


def test_change_of_precision(sleepstudy_slope):
    """By hand in R, from lmer without the levels: HLMdiag's definitions."""
    deletion = sleepstudy_slope.influence("Subject", {"one": ["308"], "two": ["308", "337"]})
    assert list(deletion.deleted) == ["one", "two"]
    np.testing.assert_allclose(deletion.mdffits(), [0.10077587, 0.51252234], rtol=RTOL)
    np.testing.assert_allclose(deletion.covratio(), [1.0316457, 0.93088547], rtol=RTOL)
    np.testing.assert_allclose(deletion.covtrace(), [0.04201, 0.02984], atol=1e-4)
    change = deletion.relative_variance_change()
    expected = [[-0.14621026, 0.13396189, -0.15216, -0.13109265]]
    expected += [[-0.11826888, 0.05072925, -2.80710, -0.23839305]]
    np.testing.assert_allclose(change, expected, atol=3e-4)


def test_chosen_deletions_are_those_of_all(sleepstudy_slope):
    every = sleepstudy_slope.influence("Subject").to_frame()
    some = sleepstudy_slope.influence("Subject", ["337", "308"]).to_frame()
    pd.testing.assert_frame_equal(
        some.drop(columns="cooks_distance"),
        every.loc[["337", "308"]].drop(columns="cooks_distance"),
    )
    rows = sleepstudy_slope.influence(sets=[7, 3])
    data = lmm.load_dataset("sleepstudy").drop(index=7)
    without = lmm.lmer("Reaction ~ Days + (Days | Subject)", data)
    np.testing.assert_allclose(rows.fixef_without[0], without.beta, rtol=1e-6)


def test_measures_without_fixed_effects():
    d = lmm.load_dataset("Dyestuff").assign(y=lambda t: t["Yield"] - 1500)
    deletion = lmm.lmer("y ~ 0 + (1 | Batch)", d).influence("Batch", ["A"])
    assert np.isnan(deletion.mdffits()["A"])
    assert deletion.covratio()["A"] == 1.0
    assert deletion.covtrace()["A"] == 0.0


def test_a_component_of_zero_has_no_relative_change():
    with pytest.warns(lmm.SingularFitWarning):
        m = lmm.lmer("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff2"))
    assert m.influence("Batch").relative_variance_change()["var_(Intercept)|Batch"].isna().all()


@pytest.mark.parametrize(
    "sets, error, message",
    [
        (["399"], lmm.DataError, r"'399' is not among the levels of 'Subject'.*'369'"),
        ({"a": "308"}, ValueError, "list of labels that is not empty, not '308'"),
        ({"a": []}, ValueError, "not empty"),
        ("308", ValueError, "list of labels, or lists by name"),
    ],
)
def test_sets_that_are_none(sleepstudy_slope, sets, error, message):
    with pytest.raises(error, match=message):
        sleepstudy_slope.influence("Subject", sets)


def test_a_set_leaves_two_levels(sleepstudy_slope):
    levels = list(sleepstudy_slope.flist["Subject"].categories)
    with pytest.raises(lmm.DataError, match="would leave 1 of the 18 levels of 'Subject'"):
        sleepstudy_slope.influence("Subject", {"most": levels[1:]})


def test_deletions_of_an_unshipped_design_are_those_of_r():
    """lme4's cooks.distance(influence(m, "g")); the others by hand from R's fits without g."""
    i = np.arange(120)
    a, g = np.array(["k", "l", "m"])[i % 3], i * 7 % 11
    k = np.array([1.0, 2.0, 4.0, 7.0])[i * (i // 5) % 4]
    x = 1 + i * 37 % 83 / 10 + 1.5 * (a == "l")
    eta = 0.1 * x * (a != "m") + 0.3 * (a == "l") + 0.05 * k + 0.3 * np.sin(1.7 * g)
    data = {"y": np.exp(eta + 0.2 * np.sin(12.9898 * i)), "a": a, "x": x, "g": g}
    deletion = lmm.lmer("y ~ a + x + (1 | g)", data).influence("g")
    expected = {
        "cooks_distance": [0.04175993737, 0.09228169549, 0.05080783291],
        "mdffits": [0.06102538406, 0.1247847524, 0.07372382128],
        "covtrace": [0.4718032123, 0.5657083916, 0.5029148398],
        "covratio": [1.553031251, 1.687468505, 1.59654434],
    }
    for measure, values in expected.items():
        found = getattr(deletion, measure)().loc[["0", "3", "10"]]
        np.testing.assert_allclose(found, values, rtol=1e-6)
    change = deletion.relative_variance_change().loc[["0", "3", "10"]]
    np.testing.assert_allclose(change["sigma^2"], [-0.01686014, 0.06416381, 0.05589742], atol=1e-6)
