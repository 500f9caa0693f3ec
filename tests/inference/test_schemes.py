"""Bootstraps of residuals, blocks and cases; chosen effects held; runs joined and resumed."""

import warnings

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import lmm
from fits import fitted
from lmm.design.rows import select
from lmm.inference.resample.bootstrap import _acceleration, shortest
from lmm.inference.resample.cases import CaseSampler
from lmm.inference.resample.regressed import rows_of
from lmm.inference.resample.residual_draws import (
    WildSimulator,
    block_simulator,
    residual_simulator,
)
from lmm.inference.resample.simulator import Simulator


@pytest.fixture(scope="module")
def weighted():
    d = lmm.load_dataset("sleepstudy")
    return lmm.lmer("Reaction ~ Days + (Days | Subject)", d, weights=np.tile([0.5, 2.0], 90))


@pytest.fixture(scope="module")
def nested():
    return lmm.lmer("strength ~ 1 + (1 | batch / cask)", lmm.load_dataset("Pastes"))


# Residuals ---------------------------------------------------------------------------------------


def test_effects_and_residuals_that_are_drawn_have_the_estimated_moments(weighted):
    draws = residual_simulator(weighted.fit)
    R = weighted.fit.problem.whitening[0]
    b = np.linalg.solve(R, draws.effects[0][0].T).T
    assert_allclose(b.mean(axis=0), 0.0, atol=1e-9)
    assert_allclose(b.T @ b / len(b), weighted.fit.covariances[0], rtol=1e-9)
    assert_allclose(draws.residuals.mean(), 0.0, atol=1e-9)
    assert_allclose(draws.residuals.std(), weighted.sigma)


def test_a_response_is_made_of_a_level_s_effects_and_a_row_s_residual(weighted):
    draws = residual_simulator(weighted.fit)
    y = draws.raw(draws.draw(np.random.default_rng(1), 3)[0])
    rest = np.sqrt(weighted.weights)[:, None] * (y - (weighted.X @ weighted.beta)[:, None])
    effects = draws.effects[0][0]
    Z = weighted.fit.problem.term_columns[0]
    # The first level's rows: some level's effects, and for each some row's residual.
    gaps = [rest[:10, :1] - Z[:10] @ b[:, None] - draws.residuals for b in effects]
    assert min(np.abs(gap).min(axis=1).max() for gap in gaps) < 1e-8


def test_residual_draws_of_nested_effects(nested):
    draws = residual_simulator(nested.fit)
    for i, term in enumerate(nested.fit.matrices.terms):
        group = next(g for g, own in enumerate(nested.fit.problem.groups) if own.name == term.group)
        b = draws.effects[group][0] / nested.fit.problem.whitening[i][0, 0]
        assert_allclose(b.var(), nested.fit.covariances[i][0, 0], rtol=1e-9)
    y, _ = draws.draw(np.random.default_rng(1), 4000)
    expected = sum(float(own[0, 0]) for own in nested.fit.covariances) + nested.sigma**2
    assert_allclose(y.var(), expected, rtol=0.05)


def test_a_variance_of_zero_stays_zero():
    m = lmm.lmer(
        "Yield ~ 1 + (1 | Batch)",
        lmm.load_dataset("Dyestuff2"),
        control=lmm.LmerControl(check_conv_singular="ignore"),
    )
    assert_allclose(residual_simulator(m.fit).effects[0][0], 0.0)


def test_blocks_by_hand():
    d = lmm.load_dataset("Dyestuff")
    m = lmm.lmer("Yield ~ 1 + (1 | Batch)", d)
    draws = block_simulator(m.fit, scaled=False)
    marginal = d["Yield"] - m.fixef().iloc[0]
    means = marginal.groupby(d["Batch"], observed=True).mean()
    R = m.fit.problem.whitening[0][0, 0]
    assert_allclose(draws.effects[0][0][:, 0] / R, means)
    assert_allclose(draws.residuals, marginal - means[d["Batch"]].to_numpy())
    sources = draws._sources(np.random.default_rng(2), 50)
    batch = d["Batch"].cat.codes.to_numpy() if hasattr(d["Batch"], "cat") else None
    codes = pd.factorize(d["Batch"])[0] if batch is None else batch
    for level in range(6):
        assert (np.ptp(codes[sources[codes == level]], axis=0) == 0).all()
    scaled = block_simulator(m.fit, scaled=True)
    assert_allclose(scaled.residuals.std(), m.sigma)
    assert_allclose((scaled.effects[0][0] / R).var(), m.fit.covariances[0][0, 0])


def test_wild_residuals_by_hand():
    d = lmm.load_dataset("sleepstudy")
    m = lmm.lmer("Reaction ~ Days + (1 | Subject)", d)
    draws = WildSimulator.of(m.fit, lmm.Wild("hc2"))
    Q = np.linalg.qr(m.X)[0]
    left = 1.0 - np.einsum("ij,ij->i", Q, Q)
    marginal = m.y - m.X @ m.beta
    assert_allclose(draws.residuals, marginal / np.sqrt(left))
    y, _ = draws.draw(np.random.default_rng(1), 20000)
    w = (y - draws.mean[:, None]) / draws.residuals[:, None]
    assert_allclose(np.ptp(w[:10], axis=0), 0.0, atol=1e-9)
    # Mammen's two points: mean 0, variance 1, skewness 1
    assert_allclose([np.mean(w), np.mean(w**2), np.mean(w**3)], [0.0, 1.0, 1.0], atol=0.02)
    golden = 0.5 * (1.0 + np.sqrt(5.0))
    assert_allclose(np.unique(w[0].round(9)), [1.0 - golden, golden])
    signs = WildSimulator.of(m.fit, lmm.Wild("hc3", "rademacher"))
    assert_allclose(signs.residuals, marginal / left)


def test_fixed_effects_of_all_kinds_agree_in_balanced_designs():
    # The variance of a mean is that between subjects, whatever is drawn.
    m = fitted("slopes")
    expected = np.sqrt(np.diag(m.vcov()))
    for kind in ("residual", "wild", lmm.REB(scaled=True), lmm.Wild("hc2", "rademacher")):
        spread = m.bootstrap(2000, seed=1, kind=kind).std_error[["(Intercept)", "Days"]]
        assert_allclose(spread, expected, rtol=0.07)
    cases = m.bootstrap(200, seed=1, kind="case").std_error[["(Intercept)", "Days"]]
    assert_allclose(cases, expected * np.sqrt(17 / 18), rtol=0.15)


# Cases -------------------------------------------------------------------------------------------


def sampled(m, *groups, rows=False, seed=1):
    sampler = CaseSampler.of(m.fit.matrices, lmm.Cases(*groups, rows=rows))
    drawn = sampler.draw(np.random.default_rng(seed))
    return sampler, drawn, sampler.at(drawn)


def test_copies_of_levels_are_levels_of_their_own():
    m = fitted("slopes")
    _, drawn, matrices = sampled(m)
    assert matrices.terms[0].n_levels == 18
    subjects = m.fit.matrices.terms[0].codes[drawn.rows]
    assert len(np.unique(subjects)) < 18
    for level in range(18):
        inside = matrices.terms[0].codes == level
        assert len(np.unique(subjects[inside])) == 1
        assert sorted(drawn.rows[inside] % 10) == list(range(10))


def test_a_refit_to_cases_is_a_fit_of_the_drawn_data():
    m, d = fitted("slopes"), lmm.load_dataset("sleepstudy")
    _, drawn, matrices = sampled(m, "Subject", rows=True)
    table = d.iloc[drawn.rows].assign(Subject=matrices.terms[0].codes.astype(str))
    expected = lmm.lmer("Reaction ~ Days + (Days | Subject)", table.reset_index(drop=True))
    again = m.on(matrices)
    assert_allclose(again.beta, expected.beta, rtol=1e-5)
    assert_allclose(again.sigma, expected.sigma, rtol=1e-5)


def test_inner_levels_are_drawn_within_outer_ones(nested):
    terms = {term.group: term.codes for term in nested.fit.matrices.terms}
    batch, cask = terms["batch"], terms["cask:batch"]
    _, drawn, matrices = sampled(nested, "cask:batch")
    own = {term.group: term.codes for term in matrices.terms}
    assert_allclose(np.bincount(batch[drawn.rows]), np.bincount(batch))
    assert len(np.unique(own["cask:batch"])) == 30
    for level in range(30):
        assert len(np.unique(cask[drawn.rows][own["cask:batch"] == level])) == 1
    _, drawn, matrices = sampled(nested, "batch")
    own = {term.group: term.codes for term in matrices.terms}
    for level in range(10):
        inside = own["batch"] == level
        assert len(np.unique(own["cask:batch"][inside])) == 3
        assert len(np.unique(batch[drawn.rows[inside]])) == 1


def test_crossed_factors_keep_their_levels():
    m = fitted("penicillin")
    terms = {term.group: term.codes for term in m.fit.matrices.terms}
    _, drawn, matrices = sampled(m, "plate")
    own = {term.group: term.codes for term in matrices.terms}
    assert (own["sample"] == terms["sample"][drawn.rows]).all()
    assert len(np.unique(own["plate"])) == 24
    with pytest.raises(lmm.DataError, match="are crossed"):
        m.bootstrap(5, kind="case")
    with pytest.raises(lmm.DataError, match="not nested in"):
        m.bootstrap(5, kind=lmm.Cases("plate", "sample"))
    with pytest.raises(lmm.DataError, match="no grouping factor 'plates'"):
        m.bootstrap(5, kind=lmm.Cases("plates"))


def test_acceleration_of_cases_is_that_of_the_empirical_influences():
    d = lmm.load_dataset("Dyestuff")
    m = lmm.lmer("Yield ~ 1 + (1 | Batch)", d)
    sampler, rng = CaseSampler.of(m.fit.matrices, lmm.Cases()), np.random.default_rng(1)
    drawn = [np.bincount(sampler.units[sampler.draw(rng).rows], minlength=6) for _ in range(4000)]
    score = np.array(drawn) / 5.0
    influence = (d.groupby("Batch", observed=True)["Yield"].mean() - m.beta[0]).to_numpy()
    expected = np.sum(influence**3) / (6.0 * np.sum(influence**2) ** 1.5)
    assert _acceleration(score @ influence, score) == pytest.approx(expected, abs=0.015)
    few = m.bootstrap(6, seed=1, kind="case")
    with pytest.raises(ValueError, match="more replicates than the 6 units"):
        few.confint(type="bca")


def test_cases_of_generalized_models():
    cbpp = lmm.load_dataset("cbpp")
    m = lmm.glmer("cbind(incidence, size - incidence) ~ period + (1 | herd)", cbpp)
    b = m.bootstrap(20, seed=3, kind="case")
    assert b.score.sum(axis=1) == pytest.approx(15.0)
    assert b.n_failed == 0
    assert_allclose(b.replicates["period2"].mean(), m.fixef()["period2"], atol=0.5)
    with pytest.raises(ValueError, match="residuals of linear models only"):
        m.bootstrap(5, kind="wild")


def test_cases_that_do_not_determine_the_model_fail():
    rng = np.random.default_rng(1)
    d = pd.DataFrame({"g": np.repeat(list("abcdefgh"), 5), "y": rng.standard_normal(40)})
    d["rare"] = np.where(d["g"] == "a", "yes", "no")
    control = lmm.LmerControl(check_conv_singular="ignore")
    m = lmm.lmer("y ~ rare + (1 | g)", d, control=control)
    with pytest.warns(lmm.FailedReplicatesWarning, match="do not determine all fixed effects"):
        b = m.bootstrap(30, seed=1, kind="case")
    assert b.failed.sum() == b.replicates["rareyes"].isna().sum() > 0


# Chosen effects ----------------------------------------------------------------------------------


@pytest.mark.parametrize("re_form", ["~ (0 + Days | Subject)", "~ (1 | Subject)", None])
def test_chosen_effects_are_held(weighted, re_form):
    fit = weighted.fit
    draws = Simulator.of(fit, rows_of(fit.criterion.problem), select(fit.matrices, re_form))
    y = draws.raw(draws.draw(np.random.default_rng(1), 6000)[0])
    expected = weighted.simulate(6000, seed=2, re_form=re_form).to_numpy()
    assert_allclose(y.mean(axis=1), expected.mean(axis=1), atol=4.0)
    assert_allclose(np.cov(y[:10]), np.cov(expected[:10]), atol=0.1 * expected[:10].var())


def test_generalized_models_hold_chosen_effects():
    cbpp = lmm.load_dataset("cbpp")
    cbpp["obs"] = np.arange(56)
    m = lmm.glmer("cbind(incidence, size - incidence) ~ period + (1 | herd) + (1 | obs)", cbpp)
    b = m.bootstrap(6, seed=1, re_form="~ (1 | herd)")
    assert b.re_form == "~ (1 | herd)"
    assert b.replicates.notna().all(axis=None)


def test_kinds_that_draw_everything_hold_nothing():
    with pytest.raises(ValueError, match="draws all random effects"):
        fitted("slopes").bootstrap(5, kind="residual", use_u=True)


# Replicates and runs -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["parametric", "residual"])
def test_each_replicate_has_its_criterion_and_standard_errors(kind):
    m = fitted("slopes")
    seed = 5
    b = m.bootstrap(8, seed=seed, kind=kind, statistic=lambda fit: fit.y[:1])
    assert b.kind == kind
    values = []
    m.bootstrap(8, seed=seed, kind=kind, statistic=lambda fit: values.append(fit) or [0.0])
    fits = values[1:]
    assert_allclose(b.objective, [fit.reml_criterion() for fit in fits])
    assert_allclose(b.std_errors["Days"], [np.sqrt(fit.vcov().iloc[1, 1]) for fit in fits])
    table = b.to_frame(details=True)
    assert list(table.columns[-3:]) == ["objective", "se (Intercept)", "se Days"]


def test_batched_replicates_have_the_criteria_of_single_fits():
    m = fitted("slopes")
    together = m.bootstrap(10, seed=5, kind="wild")
    alone = m.bootstrap(10, seed=5, kind="wild", statistic=lambda fit: fit.fixef())
    assert_allclose(together.objective, alone.objective, atol=1e-6)
    assert_allclose(together.std_errors, alone.std_errors, rtol=1e-4)
    assert_allclose(together.replicates["Days"], alone.replicates["Days"], rtol=1e-6)


def test_two_runs_are_joined():
    m = fitted("slopes")
    first, second = m.bootstrap(30, seed=1), m.bootstrap(20, seed=2)
    both = first + second
    assert (len(both), both.asked, both.seeds) == (50, 50, (1, 2))
    assert_allclose(both.replicates.iloc[30:], second.replicates)
    assert_allclose(both.objective[:30], first.objective)
    with pytest.raises(ValueError, match="Both runs have the seed 1"):
        first + both
    with pytest.raises(ValueError, match="they stay apart"):
        first + m.bootstrap(5, seed=3, kind="wild")


@pytest.mark.parametrize("kind", ["parametric", "case"])
def test_a_run_is_resumed(kind):
    m = fitted("slopes")
    calls = []

    def slope(fit):
        calls.append(1)
        return fit.fixef()["Days"]

    whole = m.bootstrap(40, seed=1, kind=kind, statistic=slope)
    part = m.bootstrap(20, seed=1, kind=kind, statistic=slope)
    calls.clear()
    resumed = m.bootstrap(40, kind=kind, statistic=slope, resume=part)
    assert len(calls) == 21  # the fit itself, and two batches of ten
    assert_allclose(resumed.replicates, whole.replicates)
    assert_allclose(resumed.score, whole.score)
    assert resumed.asked == 40
    with pytest.raises(ValueError, match="resume it with the arguments"):
        m.bootstrap(40, seed=2, kind=kind, statistic=slope, resume=part)


def test_an_interrupted_run_goes_on():
    m, calls = fitted("slopes"), []

    def interrupted(fit):
        calls.append(1)
        if len(calls) == 26:
            raise KeyboardInterrupt
        return fit.sigma

    part = m.bootstrap(40, seed=4, statistic=interrupted)
    assert len(part) == 20
    whole = m.bootstrap(40, statistic=interrupted, resume=part)
    assert_allclose(whole.replicates, m.bootstrap(40, seed=4, statistic=interrupted).replicates)


def test_a_fresh_seed_is_kept():
    m = fitted("slopes")
    b = m.bootstrap(10)
    assert_allclose(m.bootstrap(10, seed=b.seeds[0]).replicates, b.replicates)


def test_the_shortest_interval():
    values = np.array([0.0, 5.0, 5.5, 6.0, 6.2, 6.4, 9.0, 20.0, 30.0, 40.0])
    assert shortest(values, 0.5).tolist() == [5.0, 6.4]
    m = fitted("slopes")
    b = m.bootstrap(500, seed=1)
    limits = b.confint(type="shortest").to_frame()
    inside = (b.replicates >= limits.iloc[:, 0]) & (b.replicates <= limits.iloc[:, 1])
    assert (inside.mean() >= 0.95).all()
    assert (np.diff(limits, axis=1) <= np.diff(b.confint(), axis=1) * 1.02).all()


@pytest.mark.parametrize(
    "kind, message",
    [
        ("cases", "Did you mean 'case'"),
        (3, "a name or an object"),
    ],
)
def test_unknown_kinds(kind, message):
    with pytest.raises(ValueError, match=message):
        fitted("slopes").bootstrap(5, kind=kind)


def test_unknown_options():
    with pytest.raises(ValueError, match="Unknown correction 'hc1'"):
        lmm.Wild("hc1")
    with pytest.raises(ValueError, match="Unknown weights 'normal'"):
        lmm.Wild(weights="normal")


def test_blocks_need_one_grouping_factor():
    with pytest.raises(lmm.DataError, match="a single grouping factor"):
        fitted("penicillin").bootstrap(5, kind="reb")


def test_titles():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        b = fitted("slopes").bootstrap(20, seed=1, kind=lmm.Cases("Subject", rows=True))
    assert str(b).startswith("Case (Subject, rows) bootstrap, 20 replicates")


# Replicates that agree with the fit, and tests from them ------------------------------------------


def test_adjusted_replicates_agree_with_the_fit(nested):
    run = nested.bootstrap(200, seed=3)
    adjusted = run.adjusted()
    deviations = [name for name in run.replicates if name.startswith(("sd_", "sigma"))]
    known = (run.replicates[deviations] > 0.0).all(axis=1)
    assert 150 < known.sum() < 200  # a variance of zero has no logarithm
    logs, before = (np.log(b.replicates.loc[known, deviations]) for b in (adjusted, run))
    assert_allclose(logs.mean(), np.log(run.estimate[deviations]), rtol=1e-12)
    assert_allclose(logs.std(), before.std(), rtol=1e-10)
    assert_allclose(logs.corr(), np.eye(3), atol=1e-10)
    assert adjusted.replicates.loc[~known, deviations].isna().all(axis=None)
    assert_allclose(adjusted.bias["(Intercept)"], 0.0, atol=1e-10)
    assert_allclose(adjusted.std_error["(Intercept)"], run.std_error["(Intercept)"])


def test_p_values_count_t_statistics_of_replicates():
    m = fitted("slopes")
    run = m.bootstrap(99, seed=1, kind="residual")
    table = run.p_values()
    errors = np.sqrt(np.diag(m.vcov()))
    assert_allclose(table["t value"], m.fixef() / errors)
    details = run.to_frame(details=True)
    t = (details["Days"] - m.fixef()["Days"]) / details["se Days"]
    p = (1 + (t.abs() >= table.loc["Days", "t value"]).sum()) / 100
    assert table.loc["Days", "Pr(>|t|)"] == p


def test_what_needs_the_parameters():
    run = fitted("slopes").bootstrap(3, seed=1, statistic=lambda fit: fit.sigma)
    with pytest.raises(ValueError, match="Tests of fixed effects need the parameters"):
        run.p_values()
    with pytest.raises(ValueError, match="Adjusted replicates need the parameters"):
        run.adjusted()
    with pytest.raises(ValueError, match="too few to adjust"):
        fitted("slopes").bootstrap(2, seed=1).adjusted()
