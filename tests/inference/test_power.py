"""Power by simulation, against what is known of balanced designs."""

import numpy as np
import pytest

import lmm
from lmm.inference.resample.power import StudyDesign, extended


@pytest.fixture(scope="module")
def sleep():
    return lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))


@pytest.fixture(scope="module")
def oats():
    return lmm.lmer("yield ~ nitro + Variety + (1 | Block/Variety)", lmm.load_dataset("Oats"))


def study(n=20, slope=0.3):
    rows = {"id": np.repeat(np.arange(n), 5).astype(str), "x": np.tile(np.arange(5.0), n)}
    return StudyDesign("y ~ x + (1 | id)", rows, beta={"x": slope}, theta=[1.0], sigma=1.0)


def test_power_of_a_within_subject_effect_is_that_of_its_t_test():
    """With random intercepts the slope is tested within subjects: a t test with n l - l - 1 df."""
    from scipy.stats import nct, t

    p = lmm.power(study(10, 0.25), "x", 4000, seed=1)
    df = 10 * 5 - 10 - 1
    noncentrality = 0.25 * np.sqrt(10 * 10.0)
    exact = nct.sf(t.ppf(0.975, df), df, noncentrality) + nct.cdf(
        -t.ppf(0.975, df), df, noncentrality
    )
    row = p.table.iloc[0]
    assert row["power"] == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 4000))
    assert row["lower"] < row["power"] < row["upper"]


@pytest.mark.slow
def test_the_level_is_kept(sleep, oats):
    for m, effect, value in ((sleep, "Days", 0.0), (oats, "Variety", [0.0, 0.0])):
        for alpha in (0.05, 0.2):
            p = lmm.power(m, effect, 2000, value=value, alpha=alpha, seed=3)
            noise = 4 * np.sqrt(2 * alpha * (1 - alpha) / 2000)
            assert p.table["power"].iloc[0] == pytest.approx(alpha, abs=noise)


def test_power_rises_with_the_study(sleep):
    p = lmm.power(sleep, "Days", 400, value=5.0, along={"Subject": [6, 12, 24]}, seed=1)
    assert list(p.table.index) == [6, 12, 24]
    assert p.table.index.name == "Subject"
    assert p.table["power"].is_monotonic_increasing
    assert p.table["power"].iloc[0] < 0.5 < p.table["power"].iloc[-1]
    assert "Power for Days = 5 (t, Satterthwaite, alpha = 0.05)" in repr(p)
    again = lmm.power(sleep, "Days", 400, value=5.0, along={"Subject": [6, 12, 24]}, seed=1)
    assert p.to_frame().equals(again.to_frame())


def test_terms_with_several_coefficients(oats):
    p = lmm.power(oats, "Variety", 200, along={"Block": [6, 24]}, seed=1)
    assert p.test == "likelihood ratio, simulated null"
    assert p.value == pytest.approx(tuple(oats.beta[2:]))
    assert p.table["power"].is_monotonic_increasing


def test_the_fit_stays_as_it_is(sleep):
    before = sleep.beta.copy()
    lmm.power(sleep, "Days", 10, value=0.0, seed=1)
    np.testing.assert_array_equal(sleep.beta, before)


def test_more_levels(oats):
    design = extended(oats.fit.matrices, "Block", 9)
    assert design.n == 72 * 9 // 6
    inner, outer = design.terms
    assert outer.n_levels == 9
    assert inner.n_levels == 27  # varieties are nested in blocks
    assert np.array_equal(np.unique(np.bincount(inner.codes)), [4])
    crossed = lmm.lmer("diameter ~ 1 + (1 | plate) + (1 | sample)", lmm.load_dataset("Penicillin"))
    plates, samples = extended(crossed.fit.matrices, "plate", 30).terms
    assert (plates.n_levels, samples.n_levels) == (30, 6)


def test_fewer_levels(sleep):
    design = extended(sleep.fit.matrices, "Subject", 4)
    assert design.n == 40
    np.testing.assert_array_equal(design.X, sleep.X[:40])


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"effect": "Dais"}, "Did you mean 'Days'"),
        ({"effect": "Days", "nsim": 0}, "nsim must be at least 1"),
        ({"effect": "Days", "alpha": 5}, "alpha must be between 0 and 1"),
        ({"effect": "Days", "along": {"Subjct": [3]}}, "Did you mean 'Subject'"),
        ({"effect": "Days", "along": {"Subject": [1]}}, "at least 2 levels, not 1"),
        ({"effect": "Days", "along": {}}, "along must name a grouping factor"),
        ({"effect": "Days", "value": []}, r"value has shape \(0,\)"),
    ],
)
def test_bad_input(sleep, arguments, message):
    with pytest.raises(ValueError, match=message):
        lmm.power(sleep, **arguments)


def test_bad_designs():
    rows = {"id": ["a", "a", "b", "b"], "x": [0.0, 1.0, 0.0, 1.0]}
    with pytest.raises(ValueError, match="theta has shape"):
        StudyDesign("y ~ x + (1 | id)", rows, beta=[0, 1], theta=[1, 2], sigma=1)
    with pytest.raises(ValueError, match="beta has no place for 'z'"):
        StudyDesign("y ~ x + (1 | id)", rows, beta={"z": 1}, theta=[1], sigma=1)
    with pytest.raises(ValueError, match="sigma must be positive"):
        StudyDesign("y ~ x + (1 | id)", rows, beta=[0, 1], theta=[1], sigma=0)


def test_levels_of_two_factors_and_values_of_an_effect(sleep):
    pen = lmm.lmer("diameter ~ 1 + (1 | plate) + (1 | sample)", lmm.load_dataset("Penicillin"))
    p = lmm.power(pen, "(Intercept)", 20, along={"plate": [6, 12], "sample": [3, 6]}, seed=1)
    assert list(p.table.index) == [(6, 3), (6, 6), (12, 3), (12, 6)]
    p = lmm.power(sleep, "Days", 200, value=[0.0, 3.0, 9.0], along={"Subject": [6, 24]}, seed=1)
    assert p.table.index.names == ["Subject", "value"]
    for size in (6, 24):
        assert p.table.loc[size, "power"].is_monotonic_increasing
    assert p.table.loc[(24, 0.0), "power"] < 0.12
    assert p.table.loc[(24, 9.0), "power"] > 0.95


def test_curves_of_power(sleep):
    import matplotlib as mpl

    mpl.use("Agg")
    p = lmm.power(sleep, "Days", 20, value=[3.0, 9.0], along={"Subject": [6, 12]}, seed=1)
    ax = lmm.plots.power(p)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["value = 3", "value = 9"]
    assert list(ax.lines[1].get_ydata()) == p.table.xs(9.0, level="value")["power"].tolist()
    alone = lmm.plots.power(lmm.power(sleep, "Days", 20, value=[3.0, 9.0], seed=1))
    assert alone.get_xlabel() == "value"
    mpl.pyplot.close("all")


def counts(n=30, slope=0.3, family="poisson", **options):
    rows = {"id": np.repeat(np.arange(n), 6).astype(str), "x": np.tile(np.arange(6.0) / 5, n)}
    rows["size"] = np.full(6 * n, 10.0)
    truth = {"beta": [0.5, slope], "theta": [0.5]}
    return StudyDesign("y ~ x + (1 | id)", rows, family=family, **(truth | options))


@pytest.mark.slow
def test_power_of_counts_is_that_of_simulated_fits():
    """R's glmer, refitted to 600 responses of rpois: 0.520 by z, 0.508 by the likelihood ratio."""
    for test, known in (("z", 0.52), ("LRT", 0.5083)):
        p = lmm.power(counts(), "x", 500, test=test, seed=1)
        assert p.table["power"].iloc[0] == pytest.approx(known, abs=4 * np.sqrt(0.25 / 270))
        assert p.table["failed"].iloc[0] == 0


def test_studies_of_generalized_fits():
    cbpp = lmm.load_dataset("cbpp")
    m = lmm.glmer("cbind(incidence, size - incidence) ~ period + (1 | herd)", cbpp)
    p = lmm.power(m, "period2", 30, value=[-2.0, -0.2], along={"herd": [10, 20]}, seed=1)
    assert p.test == "Wald z"
    assert p.table.index.names == ["herd", "value"]
    assert p.table.loc[(20, -2.0), "power"] > 0.9 > 0.5 > p.table.loc[(20, -0.2), "power"]
    terms = lmm.power(m, "period", 10, seed=1)
    assert terms.test == "likelihood ratio, chi-square"
    assert terms.table["power"].iloc[0] == 1.0


def test_trials_of_binomial_studies_count():
    few = lmm.power(counts(12, 0.8, "binomial"), "x", 30, seed=2)
    many = lmm.power(counts(12, 0.8, "binomial", weights="size"), "x", 30, seed=2)
    assert few.table["power"].iloc[0] < 0.5 < many.table["power"].iloc[0]


def test_a_study_of_a_family_is_fitted_as_glmer_fits_it():
    """The first simulated study, drawn again and fitted by glmer, has the verdict counted."""
    from lmm.inference.resample.family_engine import FamilySimulator

    study = counts()
    trial = study.trial
    stream = np.random.SeedSequence(5).spawn(1)[0]
    simulator = FamilySimulator.parametric(
        study.matrices, study.family, 1.0, study.theta, study.beta
    )
    y, _ = simulator.draw(np.random.default_rng(stream), 1)
    m = lmm.glmer("y ~ x + (1 | id)", study.data | {"y": y[:, 0]}, "poisson")
    fit = trial._fitted(study.matrices.with_response(y[:, 0]), study.beta)
    np.testing.assert_allclose(fit.beta, m.beta, rtol=1e-6)
    p = lmm.power(study, "x", 1, seed=5)
    assert p.table["power"].iloc[0] == float(m.pvalues["x"] < 0.05)


def test_an_interrupted_study_keeps_what_it_has(monkeypatch, sleep):
    from lmm.inference.resample import trials

    fits, seen = trials.refitted, []

    def interrupted(*arguments):
        seen.append(1)
        if len(seen) == 26:
            raise KeyboardInterrupt
        return fits(*arguments)

    whole = lmm.power(counts(10), "x", 20, along={"id": [10, 20, 30]}, seed=1)
    monkeypatch.setattr(trials, "refitted", interrupted)
    p = lmm.power(counts(10), "x", 20, along={"id": [10, 20, 30]}, seed=1)
    assert p.table["nsim"].to_dict() == {10: 20, 20: 5}
    assert p.asked == 60
    assert p.table.loc[10].equals(whole.table.loc[10])
    assert "interrupted: 25 of 60 studies" in repr(p)
    seen[:] = [1] * 25
    with pytest.raises(KeyboardInterrupt):
        lmm.power(counts(10), "x", 20, seed=1)


def test_likelihood_ratios_of_a_single_coefficient(sleep):
    p = lmm.power(sleep, "Days", 200, value=5.0, test="LRT", seed=1)
    t = lmm.power(sleep, "Days", 200, value=5.0, seed=1)
    assert p.test == "likelihood ratio, simulated null"
    assert p.table["power"].iloc[0] == pytest.approx(t.table["power"].iloc[0], abs=0.15)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"test": "t"}, "test must be one of z, LRT here, not 't'"),
        ({"sigma": 2.0}, "The poisson family has no sigma"),
        ({"family": "gaussian"}, "sigma must be positive, not None"),
        ({"family": "negative.binomial"}, "needs its theta"),
    ],
)
def test_bad_studies_of_families(arguments, message):
    test = arguments.pop("test", None)
    with pytest.raises(ValueError, match=message):
        lmm.power(counts(**arguments), "x", 2, test=test)
    oats = lmm.lmer("yield ~ nitro + Variety + (1 | Block)", lmm.load_dataset("Oats"))
    with pytest.raises(ValueError, match="test 't' is of a single coefficient, not of 2"):
        lmm.power(oats, "Variety", 2, test="t")
