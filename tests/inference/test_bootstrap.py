"""The bootstrap: simulation, reproducibility, intervals, statistics, interruption."""

import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest

import lmm
from lmm.design.rows import select
from lmm.inference.resample.bootstrap import bca_tails, quantiles
from lmm.inference.resample.many import engine_for
from lmm.inference.resample.regressed import compressed, rows_of
from lmm.inference.resample.schemes import scheme_of
from lmm.inference.resample.simulator import Simulator
from lmm.inference.resample.work import BatchedFits


@pytest.fixture(scope="module")
def sleep():
    return lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))


@pytest.fixture(scope="module")
def dyestuff():
    return lmm.lmer("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff"))


@pytest.fixture(scope="module")
def replicates(sleep):
    return sleep.bootstrap(4000, seed=1)


def test_replicates_are_refits(sleep):
    """The bootstrap's own responses, refitted one by one."""
    work = BatchedFits.of(sleep.fit, scheme_of("parametric"), select(sleep.fit.matrices, "~0"))
    seed = np.random.SeedSequence(7).spawn(1)[0]
    y, _ = work.simulator.draw(np.random.default_rng(seed), 20)
    values = sleep.bootstrap(20, seed=7).replicates
    for i in range(5):
        one = sleep.refit(y[:, i])
        np.testing.assert_allclose(values.iloc[i, -2:], one.beta, rtol=1e-9)
        assert values["sigma"][i] == pytest.approx(one.sigma, rel=1e-5)
        sd = one.varcorr()["Subject"].sd
        assert values["sd_Days|Subject"][i] == pytest.approx(sd[1], rel=1e-3)


def test_estimates_and_names_are_those_of_confint(sleep, replicates):
    assert list(replicates.estimate.index) == list(sleep.confint().to_frame().index)
    assert replicates.estimate["sigma"] == sleep.sigma
    np.testing.assert_array_equal(replicates.estimate[-2:], sleep.beta)


def test_moments_of_the_parametric_bootstrap(sleep, replicates):
    # In balanced data beta is normal with its GLS covariance; sigma^2 has 144 degrees of freedom.
    n = len(replicates)
    values = replicates.replicates
    np.testing.assert_allclose(values[["(Intercept)", "Days"]].std(), sleep.bse, rtol=4 / n**0.5)
    mean_variance = (values["sigma"] ** 2).mean()
    assert mean_variance == pytest.approx(sleep.sigma**2, rel=4 * np.sqrt(2 / 144 / n) + 0.01)


@pytest.mark.parametrize(
    "formula, data",
    [
        ("normexam ~ standLRT + (standLRT | school)", "Exam"),
        ("Yield ~ 1 + (1 | Batch)", "Dyestuff"),
    ],
)
def test_compressed_rows_simulate_the_same_distribution(formula, data):
    m = lmm.lmer(formula, lmm.load_dataset(data))
    rows = rows_of(m.fit.criterion.problem)
    means = []
    for which in (rows, compressed(rows)):
        simulator = Simulator.of(m.fit, which)
        y, hidden = simulator.draw(np.random.default_rng(1), 4000)
        Zy = simulator.Zt @ y
        total = np.einsum("ij,ij->j", y, y) + hidden
        means.append(np.r_[np.einsum("ij,ij->i", Zy, Zy) / 4000, total.mean(), total.var()])
    np.testing.assert_allclose(means[0], means[1], rtol=0.2)


def test_held_random_effects(sleep):
    simulator = Simulator.of(
        sleep.fit, rows_of(sleep.fit.criterion.problem), select(sleep.fit.matrices, None)
    )
    y, _ = simulator.draw(np.random.default_rng(1), 20_000)
    np.testing.assert_allclose(y.mean(axis=1), sleep.fit.fitted, atol=5 * sleep.sigma / 20_000**0.5)
    np.testing.assert_allclose(simulator.mean, sleep.fit.fitted, rtol=1e-10)


def test_semiparametric_draws_are_residuals_of_the_fit(sleep):
    rows = rows_of(sleep.fit.criterion.problem)
    simulator = Simulator.of(sleep.fit, rows, select(sleep.fit.matrices, None), resampled=True)
    y, _ = simulator.draw(np.random.default_rng(1), 3)
    drawn = np.round(y - sleep.fit.fitted[:, None], 6)
    assert np.isin(drawn, np.round(sleep.fit.residuals, 6)).all()
    b = sleep.bootstrap(30, seed=1, kind="semiparametric", use_u=True)
    assert b.replicates.notna().all().all()
    assert "Semiparametric bootstrap, 30 replicates" in repr(b)


def test_weights_and_offsets_are_kept():
    data = lmm.load_dataset("sleepstudy")
    rng = np.random.default_rng(0)
    data["w"], data["o"] = rng.uniform(0.5, 2.0, 180), 100 * rng.normal(size=180)
    data["Reaction"] += data["o"]
    m = lmm.lmer("Reaction ~ Days + (Days | Subject)", data, weights="w", offset="o")
    b = m.bootstrap(2000, seed=1)
    np.testing.assert_allclose(b.std_error[["(Intercept)", "Days"]], m.bse, rtol=0.08)
    direct = m.bootstrap(20, seed=1, statistic=lambda one: one.beta)
    assert (np.abs(direct.replicates - m.beta) < 5 * m.bse.to_numpy()).all().all()


# Reproducibility ----------------------------------------------------------------------------------


def test_seeds(dyestuff):
    one, two = dyestuff.bootstrap(50, seed=1), dyestuff.bootstrap(50, seed=1)
    pd.testing.assert_frame_equal(one.to_frame(), two.to_frame(), check_exact=True)
    assert not dyestuff.bootstrap(50, seed=2).replicates.equals(one.replicates)


def test_more_replicates_start_with_the_same_ones(dyestuff):
    batch = engine_for(dyestuff.fit.criterion, dyestuff.optimum.x).batch
    few, many = dyestuff.bootstrap(batch, seed=1), dyestuff.bootstrap(batch + 5, seed=1)
    assert many.replicates[:batch].equals(few.replicates)


def test_workers_do_not_matter(sleep):
    one, two = sleep.bootstrap(2500, seed=5), sleep.bootstrap(2500, seed=5, n_jobs=2)
    pd.testing.assert_frame_equal(one.to_frame(), two.to_frame(), check_exact=True)


def test_a_dask_cluster_gives_the_same(sleep):
    import joblib
    from distributed import Client, LocalCluster

    expected = sleep.bootstrap(2500, seed=5)
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None
        ) as cluster,
        Client(cluster),
        joblib.parallel_config(backend="dask"),
    ):
        found = sleep.bootstrap(2500, seed=5, n_jobs=None)
    pd.testing.assert_frame_equal(found.to_frame(), expected.to_frame(), check_exact=True)


# Intervals ----------------------------------------------------------------------------------------


def test_quantiles_are_order_statistics_on_the_normal_scale():
    values = np.arange(1.0, 20.0)  # R = 19: the k-th of them is the k / 20 quantile
    np.testing.assert_allclose(quantiles(values, np.array([0.05, 0.5, 0.95])), [1.0, 10.0, 19.0])
    np.testing.assert_allclose(quantiles(values, np.array([0.01, 0.99])), [1.0, 19.0])


def test_kinds_of_intervals(replicates):
    estimate = replicates.estimate
    perc, basic = replicates.confint(), replicates.confint(type="basic")
    np.testing.assert_allclose(
        perc.to_numpy() + basic.to_numpy()[:, ::-1], 2 * np.tile(estimate, (2, 1)).T, rtol=1e-12
    )
    norm = replicates.confint(type="norm")
    np.testing.assert_allclose(norm.mean(axis=1), estimate - replicates.bias, rtol=1e-9)
    assert list(perc.columns) == ["2.5 %", "97.5 %"]
    wide, narrow = np.diff(replicates.confint(0.99)), np.diff(replicates.confint(0.9))
    assert np.all(wide > narrow)


def test_bca_of_a_variance_is_second_order_exact():
    """The mean of squares of normals: exact limits are those of chi-square, a = sqrt(8 / n) / 6."""
    from scipy.stats import chi2

    n, r = 20, 200_000
    values = chi2.rvs(n, size=r, random_state=1) / n
    tails = bca_tails(values, 1.0, values[:, None], np.array([0.025, 0.975]))
    exact = n / chi2.ppf([0.975, 0.025], n)
    np.testing.assert_allclose(np.quantile(values, tails), exact, rtol=0.02)
    # Percentile limits are far from them.
    assert np.all(np.abs(np.quantile(values, [0.025, 0.975]) / exact - 1.0) > 0.1)


def test_bca_intervals_move_towards_the_profile(sleep, replicates):
    profile = sleep.confint().to_frame()
    perc, bca = replicates.confint(), replicates.confint(type="bca")
    name = "sd_Days|Subject"
    assert (
        abs(bca.loc[name] - profile.loc[name]).iloc[0]
        < abs(perc.loc[name] - profile.loc[name]).iloc[0]
    )


def test_model_confint_by_bootstrap(dyestuff):
    table = dyestuff.confint("beta_", method="boot", nsim=300, seed=1).to_frame()
    assert list(table.index) == ["(Intercept)"]
    assert table.iloc[0, 0] < dyestuff.beta[0] < table.iloc[0, 1]


def test_undefined_correlations_are_left_out():
    data = lmm.load_dataset("sleepstudy")
    m = lmm.lmer(
        "Reaction ~ Days + (Days | Subject)",
        data[data["Subject"].isin(["308", "309", "310", "330"])],
    )
    b = m.bootstrap(400, seed=1)
    limits = b.confint()
    assert limits.notna().all().all()
    assert b.n_singular > 0
    assert f"{b.n_singular} singular fits" in repr(b)


# Statistics ---------------------------------------------------------------------------------------


def test_any_statistic(dyestuff):
    def icc(m):
        variance = m.varcorr()["Batch"].variance[0]
        return pd.Series({"icc": variance / (variance + m.sigma**2)})

    b = dyestuff.bootstrap(25, seed=1, statistic=icc)
    assert list(b.replicates.columns) == ["icc"]
    assert b.replicates["icc"].between(0.0, 1.0).all()
    assert b.confint(type="bca").notna().all().all()
    two = dyestuff.bootstrap(25, seed=1, statistic=icc, n_jobs=2)
    assert two.replicates.equals(b.replicates)


def test_names_of_plain_statistics(dyestuff):
    b = dyestuff.bootstrap(3, seed=1, statistic=lambda m: [m.sigma, m.aic()])
    assert list(b.replicates.columns) == ["t1", "t2"]
    b = dyestuff.bootstrap(3, seed=1, statistic=lambda m: {"sigma": m.sigma})
    assert list(b.replicates.columns) == ["sigma"]


def test_statistics_that_break_down_are_counted(dyestuff):
    def fragile(m):
        if m.sigma > dyestuff.sigma:
            raise ZeroDivisionError("too noisy")
        return m.sigma

    with pytest.warns(
        lmm.FailedReplicatesWarning, match=r"The statistic failed in 8 of 20 .* too noisy"
    ):
        b = dyestuff.bootstrap(20, seed=1, statistic=fragile)
    assert b.failed.sum() == b.replicates["t1"].isna().sum() == b.n_failed == 8
    assert b.converged.all()
    assert b.errors == ("ZeroDivisionError: too noisy",)
    assert "8 failed; error: ZeroDivisionError: too noisy" in repr(b)


@pytest.mark.parametrize("kind", [ValueError, KeyError, lmm.DataError])
def test_any_error_of_a_statistic_counts_as_a_failure(dyestuff, kind):
    def fragile(m):
        if m is not dyestuff:
            raise kind("no")
        return 1.0

    with pytest.warns(lmm.FailedReplicatesWarning, match="20 of 20"):
        b = dyestuff.bootstrap(20, seed=1, statistic=fragile)
    assert b.n_failed == 20


def test_threads_leave_the_warning_filters_alone():
    """warnings.catch_warnings would leave one thread's filters to another."""
    flat = lmm.load_dataset("Dyestuff2")
    with pytest.warns(lmm.SingularFitWarning):
        m = lmm.lmer("Yield ~ 1 + (1 | Batch)", flat)
    before = list(warnings.filters)
    with ThreadPoolExecutor(8) as pool:
        runs = [
            pool.submit(m.bootstrap, 20, seed=i, statistic=lambda fit: fit.sigma) for i in range(16)
        ]
    assert all(run.result().n_singular for run in runs)
    assert warnings.filters == before
    with pytest.warns(lmm.SingularFitWarning):
        lmm.lmer("Yield ~ 1 + (1 | Batch)", flat)


# Interruption, files, bad input -------------------------------------------------------------------


def test_an_interrupted_bootstrap_returns_what_is_finished(dyestuff):
    calls = []

    def interrupted(m):
        calls.append(m)
        if len(calls) > 25:
            raise KeyboardInterrupt
        return m.sigma

    b = dyestuff.bootstrap(100, seed=1, statistic=interrupted)
    assert len(b) == 20  # two whole batches of ten
    assert b.asked == 100
    assert "interrupted" in repr(b)


def test_parquet(dyestuff, tmp_path):
    b = dyestuff.bootstrap(10, seed=1)
    b.to_parquet(tmp_path / "b.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "b.parquet"), b.to_frame())


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"nsim": 0}, "nsim must be at least 1, not 0"),
        ({"nsim": 5, "kind": "parametrik"}, "Did you mean 'parametric'"),
        ({"nsim": 5, "kind": "semiparametric"}, "use_u=True"),
        ({"nsim": 5, "statistic": lambda m: np.eye(2)}, r"not shape \(2, 2\)"),
        ({"nsim": 5, "statistic": lambda m: "a"}, "must return numbers, not str"),
    ],
)
def test_bad_input(dyestuff, arguments, message):
    with pytest.raises(ValueError, match=message):
        dyestuff.bootstrap(**arguments)


def test_varying_lengths(dyestuff):
    calls = []

    def growing(m):
        calls.append(m)
        return np.zeros(len(calls))

    with pytest.raises(ValueError, match="2 values for a simulated response, but 1 for the fit"):
        dyestuff.bootstrap(5, statistic=growing)


def test_bad_intervals(dyestuff):
    b = dyestuff.bootstrap(5, seed=1)
    with pytest.raises(ValueError, match=r"Did you mean 0\.95"):
        b.confint(95)
    with pytest.raises(ValueError, match="Known: perc, basic, norm, bca, shortest"):
        b.confint(type="student")
    with pytest.raises(ValueError, match="at least 2 replicates"):
        dyestuff.bootstrap(1, seed=1).confint()
