"""Drawn predictions and ranks."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import norm

import lmm
from fits import fitted

NEW = {"Days": [0.0, 9.0, 0.0, 9.0, 3.0], "Subject": ["308", "308", "new", "new", "other"]}


@pytest.mark.parametrize("solver", ["auto", "sparse", "dense"])
def test_draws_have_the_joint_covariance_of_the_errors(solver):
    d = lmm.load_dataset("Pastes")
    m = lmm.lmer(
        "strength ~ 1 + (1 | batch / cask)", d, weights=np.linspace(0.5, 2.0, 60), solver=solver
    )
    beta, effects = m.joint.draws(np.random.default_rng(1), 20000)
    drawn = np.vstack([beta, *(own.reshape(-1, 20000) for own in effects)])
    expected = m.joint.matrix()
    sd = np.sqrt(np.diag(expected))
    # 41 x 41 correlations, each with a standard error of at most 0.007 times sqrt(2)
    assert_allclose(np.cov(drawn) / np.outer(sd, sd), expected / np.outer(sd, sd), atol=0.045)


def test_draws_agree_with_standard_errors_and_intervals():
    m = fitted("slopes")
    drawn = m.predict_draws(NEW, 20000, seed=2, allow_new_levels=True, residual=False)
    expected = m.predict(NEW, se=True, allow_new_levels=True)
    combined = drawn.draws["combined"]
    # sigma is drawn too: variances are df / (df - 2) times as large
    df = m.fit.criterion.degrees_of_freedom
    inflation = np.sqrt(df / (df - 2.0))
    assert_allclose(combined.std(axis=1), expected["se"] * inflation, rtol=0.03)
    assert_allclose(combined.mean(axis=1), expected["fit"], atol=1.5)
    parts = sum(drawn.draws[name] for name in ("Subject", "fixed"))
    assert_allclose(parts, combined)


def test_rows_of_one_new_level_share_its_effect():
    drawn = fitted("slopes").predict_draws(NEW, 4000, seed=2, allow_new_levels=True)
    correlation = np.corrcoef(drawn.draws["Subject"])
    assert correlation[2, 3] > 0.2
    assert abs(correlation[2, 4]) < 0.06


def test_one_table_of_all_parts():
    m = fitted("penicillin")
    drawn = m.predict_draws({"plate": ["a", "b"], "sample": ["F", "A"]}, 200, seed=1)
    table = drawn.to_frame(0.5, "mean")
    assert list(table["effect"].unique()) == ["combined", "plate", "sample", "fixed"]
    own = drawn.draws["plate"][1]
    row = table.iloc[3]
    assert (row["effect"], row["obs"]) == ("plate", 1)
    assert_allclose([row["fit"], row["lwr"]], [own.mean(), np.quantile(own, 0.25)])


def test_residuals_have_the_prior_weights():
    d = lmm.load_dataset("sleepstudy").assign(w=np.tile([1.0, 100.0], 90))
    m = lmm.lmer("Reaction ~ Days + (1 | Subject)", d, weights="w")
    with_noise = m.predict_draws(nsim=2000, seed=1).draws["combined"]
    rows = with_noise - m.predict_draws(nsim=2000, seed=1, residual=False).draws["combined"]
    assert_allclose(rows[::2].std() / m.sigma, 1.0, rtol=0.02)
    assert_allclose(rows[1::2].std() / m.sigma, 0.1, rtol=0.02)


def test_missing_levels_on_request():
    drawn = fitted("slopes").predict_draws(NEW, 20, seed=1, allow_new_levels="missing")
    assert np.isnan(drawn.draws["combined"]).any(axis=1).tolist() == [
        False,
        False,
        True,
        True,
        True,
    ]
    with pytest.raises(lmm.DataError, match="new levels detected"):
        fitted("slopes").predict_draws(NEW, 20, seed=1)


def test_draws_of_a_generalized_model_are_those_of_its_linear_predictor():
    cbpp = lmm.load_dataset("cbpp")
    m = lmm.glmer("cbind(incidence, size - incidence) ~ period + (1 | herd)", cbpp)
    drawn = m.predict_draws(nsim=10000, seed=1).draws["combined"]
    expected = m.predict(se=True)
    assert_allclose(drawn.std(axis=1), expected["se"], rtol=0.04)
    assert_allclose(drawn.mean(axis=1), expected["fit"], atol=0.04)


def test_number_of_draws():
    with pytest.raises(ValueError, match="nsim must be a whole number"):
        fitted("slopes").predict_draws(nsim=0)
    with pytest.raises(ValueError, match="'median' or 'mean', not 'mode'"):
        fitted("slopes").predict_draws(nsim=2, seed=1).to_frame(statistic="mode")


def test_expected_ranks_by_hand():
    m = fitted("slopes")
    ranks = m.expected_ranks()
    own = ranks[ranks["term"] == "Days"]
    b, s = own["estimate"].to_numpy(), own["std.error"].to_numpy()
    below = norm.cdf((b[3] - b) / np.sqrt(s[3] ** 2 + s**2))
    assert_allclose(own["expected.rank"].iloc[3], 1.0 + below.sum() - below[3])
    assert_allclose(own["expected.rank"].sum(), 18 * 19 / 2)
    assert_allclose(own["percentile"], 100.0 * (own["expected.rank"] - 0.5) / 18)


def test_ranks_of_effects_without_variance_are_tied():
    d = lmm.load_dataset("Dyestuff2")
    control = lmm.LmerControl(check_conv_singular="ignore")
    m = lmm.lmer("Yield ~ 1 + (1 | Batch)", d, control=control)
    assert_allclose(m.expected_ranks()["expected.rank"], 3.5)


def _crossing():
    """In R from i <- 0:119."""
    i = np.arange(120)
    a, g = np.array(["k", "l", "m"])[i % 3], i * 7 % 11
    k = np.array([1.0, 2.0, 4.0, 7.0])[i * (i // 5) % 4]
    x = 1 + i * 37 % 83 / 10 + 1.5 * (a == "l")
    eta = 0.1 * x * (a != "m") + 0.3 * (a == "l") + 0.05 * k + 0.3 * np.sin(1.7 * g)
    return {"y": np.exp(eta + 0.2 * np.sin(12.9898 * i)), "a": a, "x": x, "g": g}


def test_parts_are_drawn_as_by_mertools_and_together_with_their_covariance():
    # predictInterval(m, new, n.sims = 40000, include.resid.var = FALSE, returnSims = TRUE)
    m = lmm.lmer("y ~ a + x + (1 | g)", _crossing())
    new = {"a": ["k", "m"], "x": [4.0, 8.0], "g": ["2", "7"]}
    drawn = m.predict_draws(new, 40000, seed=1, residual=False).draws
    assert_allclose(drawn["combined"].mean(axis=1), [1.615780596, 1.218898942], atol=0.01)
    assert_allclose(drawn["fixed"].std(axis=1), [0.1536038937, 0.1636056887], rtol=0.03)
    # there, parts are independent, the effects given the fixed ones: too wide by a quarter
    given = m.ranef(condvar=True).to_frame().set_index("grp").loc[["2", "7"], "condsd"]
    independent = np.hypot(given, drawn["fixed"].std(axis=1))
    assert_allclose(independent, [0.2175116436, 0.2245960101], rtol=0.02)
    exact = m.predict(new, se=True)["se"]
    assert_allclose(drawn["combined"].std(axis=1), exact, rtol=0.025)
