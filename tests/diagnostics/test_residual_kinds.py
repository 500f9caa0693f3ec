"""Residuals that know the random effects' covariance, and those by simulation."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import lmm
from fits import fitted
from lmm.design.columns import as_factor, read_column
from lmm.diagnostics.residual_tests import (
    categories,
    durbin_watson,
    morans_i,
    quantile_scores,
)


@pytest.mark.parametrize(
    "name, expected",
    [
        (
            "slopes",
            [-0.05183532893, -0.07096677114, -0.63248577883, 0.44669211813, -0.24848111777],
        ),
        (
            "penicillin",
            [1.84798327826, -0.26922346614, 1.16854343436, -1.80300383966, -1.51340683875],
        ),
    ],
)
def test_normalized_residuals_are_those_of_r(name, expected):
    # forwardsolve(t(chol(V)), y - X beta), V from lme4's getME: its estimates have five digits
    values = fitted(name).residuals("normalized").to_numpy()
    assert_allclose(values[[0, 1, 2, -2, -1]], expected, rtol=1e-4, atol=1e-6)


def test_normalized_residuals_with_weights_of_nested_effects():
    d = lmm.load_dataset("Pastes")
    weights = np.tile([1.0, 2.0, 0.5], 20)
    m = lmm.lmer("strength ~ 1 + (1 | batch / cask)", d, weights=weights)
    A = (m.Z @ m.Lambda).toarray()
    V = m.sigma**2 * (np.diag(1.0 / weights) + A @ A.T)
    marginal = m.residuals("marginal").to_numpy()
    assert_allclose(marginal, m.y - m.fixef().iloc[0])
    expected = np.linalg.solve(np.linalg.cholesky(V), marginal)
    assert_allclose(m.residuals("normalized"), expected, rtol=1e-9, atol=1e-12)
    assert_allclose(m.residuals("normalized", scaled=True), expected, rtol=1e-9, atol=1e-12)
    assert_allclose(m.residuals("marginal", scaled=True), marginal / m.sigma)


def test_kinds_of_linear_models_only():
    m = lmm.glmer(
        "cbind(incidence, size - incidence) ~ period + (1 | herd)", lmm.load_dataset("cbpp")
    )
    with pytest.raises(ValueError, match="marginal residuals exist for linear models only"):
        m.residuals("marginal")


def test_simulated_residuals_are_ranks():
    residuals = fitted("slopes").simulated_residuals(nsim=40, seed=3)
    below = (residuals.simulated < residuals.y[:, None]).mean(axis=1)
    assert_allclose(residuals.values, below)
    assert_allclose(residuals.predicted, fitted("slopes").predict(re_form="~0"))
    assert residuals.outliers.sum() == ((below == 0.0) | (below == 1.0)).sum()
    share, _ = residuals.outlier_test()
    assert share == residuals.outliers.mean()
    again = fitted("slopes").simulated_residuals(nsim=40, seed=3)
    assert_allclose(again.values, residuals.values)


def test_a_model_that_holds_has_uniform_residuals():
    rng = np.random.default_rng(4)
    g = np.repeat(np.arange(60), 10)
    y = rng.poisson(np.exp(0.5 + 0.5 * rng.standard_normal(60)[g]))
    m = lmm.glmer("y ~ 1 + (1 | g)", {"y": y, "g": g.astype(str)}, family="poisson")
    tests = m.simulated_residuals(seed=1).to_frame()
    assert (tests["p.value"] > 0.05).all()
    assert tests.loc["dispersion", "statistic"] == pytest.approx(1.0, abs=0.3)


def test_overdispersion_is_seen():
    rng = np.random.default_rng(5)
    g = np.repeat(np.arange(60), 10)
    y = rng.negative_binomial(0.7, 0.7 / (0.7 + 4.0), size=600)
    m = lmm.glmer(
        "y ~ 1 + (1 | g)",
        {"y": y, "g": g.astype(str)},
        family="poisson",
        control=lmm.GlmerControl(check_conv_singular="ignore"),
    )
    residuals = m.simulated_residuals(seed=1)
    ratio, p_value = residuals.dispersion()
    assert ratio > 2.0
    assert p_value == 0.0
    assert residuals.uniformity()[1] < 1e-6
    assert residuals.outlier_test()[1] < 1e-6


def test_rows_left_out_stay_out():
    d = lmm.load_dataset("sleepstudy")
    d.loc[3, "Days"] = np.nan
    m = lmm.lmer("Reaction ~ Days + (1 | Subject)", d, na_action="exclude")
    assert len(m.simulated_residuals(nsim=20, seed=1).values) == 179
    assert len(m.residuals("normalized")) == 180


def test_number_of_simulations():
    with pytest.raises(ValueError, match="nsim must be a whole number"):
        fitted("slopes").simulated_residuals(nsim=0)


def counts(zeros=0.0, seed=7):
    """A Poisson model of 400 rows, with so large a share of zeros beside its own."""
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(40), 10)
    y = rng.poisson(np.exp(1.0 + 0.4 * rng.standard_normal(40)[g]))
    y = np.where(rng.uniform(size=400) < zeros, 0, y)
    d = {"y": y, "g": g.astype(str), "t": np.tile(np.arange(10), 40)}
    return lmm.glmer("y ~ 1 + (1 | g)", d, family="poisson")


def test_zero_inflation():
    ratio, p_value = counts().simulated_residuals(seed=1).zero_inflation()
    assert 0.5 < ratio < 1.6
    assert p_value > 0.05
    ratio, p_value = counts(zeros=0.3).simulated_residuals(seed=1).zero_inflation()
    assert ratio > 1.5
    assert p_value == 0.0


def test_a_model_without_zeros_has_no_test_of_them():
    with pytest.raises(lmm.DataError, match="no response is zero"):
        fitted("slopes").simulated_residuals(nsim=10, seed=1).zero_inflation()


def test_durbin_watson_of_three_values_in_closed_form():
    # l = 1, 3: P(d < s) is that of (z2/z1)^2 < (s - 1) / (3 - s), Cauchy squared
    statistic, p_value = durbin_watson(np.array([0.0, 1.0, 3.0]))
    assert statistic == pytest.approx(15.0 / 14.0)
    below = 2.0 / np.pi * np.arctan(np.sqrt((statistic - 1.0) / (3.0 - statistic)))
    assert p_value == pytest.approx(2.0 * min(below, 1.0 - below), abs=1e-12)


def test_durbin_watson_of_many_values_is_nearly_normal():
    from scipy.stats import norm

    n = 5000
    values = np.random.default_rng(1).standard_normal(n)
    statistic, p_value = durbin_watson(values)
    # von Neumann (1941): mean 2, variance 4 (n - 2) / (n^2 - 1)
    z = (statistic - 2.0) / np.sqrt(4.0 * (n - 2.0) / (n**2 - 1.0))
    assert p_value == pytest.approx(2.0 * norm.sf(abs(z)), rel=2e-3)


def test_temporal_autocorrelation_is_seen_over_time():
    rng = np.random.default_rng(3)
    season = np.cumsum(rng.standard_normal(60))
    t = np.tile(rng.permutation(60), 5)
    d = {"y": season[t] + rng.standard_normal(300), "t": t, "g": np.repeat(list("abcde"), 60)}
    m = lmm.lmer("y ~ 1 + (1 | g)", d, control=lmm.LmerControl(check_conv_singular="ignore"))
    residuals = m.simulated_residuals(seed=1)
    with pytest.raises(lmm.DataError, match="several rows have the same time"):
        residuals.temporal_autocorrelation("t")
    grouped = residuals.grouped("t")
    statistic, p_value = grouped.temporal_autocorrelation()
    assert statistic < 1.0
    assert p_value < 1e-6
    assert list(grouped.labels) == [str(i) for i in range(60)]
    by_hand = pd.Series(d["y"]).groupby(t).sum()
    assert_allclose(grouped.y, by_hand)
    again = residuals.grouped(t)
    assert_allclose(again.values, grouped.values)


def test_times_may_be_a_column_or_a_vector():
    rows = lmm.load_dataset("sleepstudy").iloc[:60].assign(order=np.arange(60)[::-1])
    m = lmm.lmer("Reaction ~ Days + (1 | Subject)", rows)
    residuals = m.simulated_residuals(seed=1, re_form=None)
    expected = residuals.temporal_autocorrelation()
    assert_allclose(residuals.temporal_autocorrelation("order"), expected)
    assert_allclose(residuals.temporal_autocorrelation(rows["order"].sample(frac=1.0)), expected)
    with pytest.raises(lmm.DataError, match="no column 'Order'"):
        residuals.temporal_autocorrelation("Order")
    with pytest.raises(lmm.DataError, match="time must hold 60 values"):
        residuals.temporal_autocorrelation([1.0, 2.0])
    with pytest.raises(lmm.DataError, match="grouped already"):
        residuals.grouped("Days").grouped("Days")


def test_any_statistic():
    residuals = fitted("slopes").simulated_residuals(seed=1)
    ratio, p_value = residuals.statistic_test(np.max)
    largest = residuals.simulated.max(axis=0)
    assert ratio == pytest.approx(residuals.y.max() / largest.mean())
    above, below = (largest >= residuals.y.max()).mean(), (largest <= residuals.y.max()).mean()
    assert p_value == pytest.approx(2.0 * min(above, below))


def _unbalanced():
    """Levels of 6 rows, but for the first with 2, and a predictor of levels."""
    rng = np.random.default_rng(3)
    g = np.repeat(np.arange(12), 6)
    x, z = rng.normal(size=72), rng.normal(size=72)
    y = 1.0 + x + 0.5 * z + rng.normal(size=12)[g] + rng.normal(size=72)
    weights = rng.uniform(0.5, 2.0, 72)
    columns = {"y": y, "x": x, "z": z, "w": weights, "t": rng.normal(size=12)[g]}
    table = pd.DataFrame(columns | {"g": [f"{level:02d}" for level in g]})
    return table.drop(index=range(2, 6)).reset_index(drop=True)


@pytest.mark.filterwarnings("ignore::lmm.LmmWarning")
def test_least_squares_residuals_of_levels_are_those_of_lmlist_in_r():
    # lme4: ranef(lmList(y ~ x + z | g, d)); a predictor of levels has no part
    table = lmm.lmer("y ~ x + z + t + (x | g)", _unbalanced()).level_residuals()
    expected = [
        [-0.82482289, 0.02115188, np.nan],
        [-0.64098739, 0.07126504, -0.18868703],
        [-0.62310166, -0.09246625, -0.06362657],
    ]
    assert_allclose(table.filter(like=".ls.")[:3], expected, atol=1e-8)
    # ranef(lmList(y ~ x | g, d, weights = w))
    table = lmm.lmer("y ~ x + (1 | g)", _unbalanced(), weights="w").level_residuals("g")
    assert_allclose(table[".ls.(Intercept)"][:3], [-0.9178928, -0.4450679, -0.7515686], atol=1e-7)
    assert_allclose(table[".ls.x"][:3], [-0.07321278, -0.08323864, 0.32806378], atol=1e-8)


def test_residuals_of_nested_levels():
    m = fitted("pastes")
    inner, outer = (m.level_residuals(group) for group in m.ranef())
    assert_allclose(inner[".ranef.(Intercept)"], m.ranef()["cask:batch"]["(Intercept)"])
    # lme4: ranef(lmList(strength ~ 1 | sample, Pastes)), and by batch
    first = inner.loc[["a:A", "b:A", "c:A"], ".ls.(Intercept)"]
    assert_allclose(first, [2.64666667, 1.14666667, 2.84666667], atol=1e-8)
    assert_allclose(outer[".ls.(Intercept)"][:3], [2.21333333, -0.75333333, 1.99666667], atol=1e-8)
    with pytest.raises(lmm.DataError, match="no grouping factor 'casks'"):
        m.level_residuals("casks")


def _spatial():
    rng = np.random.default_rng(1)
    for size, dimensions in ((40, 2), (25, 1), (60, 3)):
        values, places = rng.uniform(size=size), rng.normal(size=(size, dimensions))
        values[places[:, 0] > 1] **= 3
        yield values, places


def test_morans_i_is_that_of_r():
    # ape::Moran.I(values, W) with W = 1 / as.matrix(dist(places)), zero on the diagonal
    expected = [
        (-0.054385061537, 0.345492935862),
        (0.002711291732, 0.723773384268),
        (-0.007210168484, 0.522192217339),
    ]
    for (values, places), known in zip(_spatial(), expected, strict=True):
        assert_allclose(morans_i(values, places), known, rtol=1e-9)


def test_morans_i_in_blocks(monkeypatch):
    values, places = next(_spatial())
    whole = morans_i(values, places)
    monkeypatch.setattr("lmm.diagnostics.residual_tests.BLOCK", 7)
    assert_allclose(morans_i(values, places), whole, rtol=1e-12)


def test_categories_and_quantiles_are_those_of_r():
    *_, (values, places) = _spatial()
    factor = as_factor(read_column(pd.Series(np.repeat(["a", "b", "c"], 20)), "f"))
    table = categories(values, factor)
    # ks.test(values[f == level], "punif"), and car::leveneTest(values, f)
    assert_allclose(table["statistic"], [0.131985, 0.1729260, 0.3082013, 0.2276656], atol=1e-6)
    assert_allclose(table["p.value"], [0.8328254, 0.5317977, 0.03484538, 0.797111], atol=1e-6)
    # S <- cbind(1 / sqrt(n), poly(rank(x), 3)); sum(crossprod(S, (v < q) - q)^2) / (q * (1 - q))
    scores = quantile_scores(values, places[:, 0])
    assert_allclose(scores["statistic"], [10.26796, 5.711746, 7.317171], rtol=1e-6)


def test_quantile_scores_hold_their_level():
    rng = np.random.default_rng(2)
    p = [quantile_scores(rng.uniform(size=80), rng.normal(size=80))["p.value"] for _ in range(400)]
    assert 0.02 < (np.array(p) < 0.05).mean() < 0.08


def test_residuals_over_space_and_along_predictors():
    rng = np.random.default_rng(8)
    x, y, g = rng.uniform(size=150), rng.uniform(size=150), np.repeat(np.arange(15), 10)
    response = np.sin(4.0 * x) + 0.3 * rng.normal(size=15)[g] + 0.2 * rng.normal(size=150)
    data = {"r": response, "x": x, "y": y, "g": g.astype(str), "half": np.where(x < 0.5, "a", "b")}
    residuals = lmm.lmer("r ~ y + (1 | g)", data).simulated_residuals(seed=1)
    statistic, p_value = residuals.spatial_autocorrelation("x", "y")
    assert statistic > 0.05
    assert p_value < 1e-6
    assert residuals.quantiles("x")["p.adjusted"].max() < 1e-3
    assert residuals.categories("half")["p.adjusted"].min() < 1e-3
    with pytest.raises(lmm.DataError, match="have the same place"):
        residuals.spatial_autocorrelation(g)
    with pytest.raises(lmm.DataError, match="needs coordinates"):
        residuals.spatial_autocorrelation()
    with pytest.raises(lmm.DataError, match="no column 'z'"):
        residuals.quantiles("z")
    sums = residuals.grouped("g")
    assert_allclose(
        sums.spatial_autocorrelation(range(15)), morans_i(sums.values, np.arange(15.0)[:, None])
    )
    with pytest.raises(lmm.DataError, match="must hold 15 values, not 3"):
        sums.spatial_autocorrelation([1, 2, 3])
