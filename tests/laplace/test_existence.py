"""Models without a finite optimum are named, with the coefficient and its direction."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import expit
from scipy.stats import norm

import lmm
from lmm.optimize import Status

N = 150
GROUP = np.repeat(np.arange(15), 10)


def table(seed=1):
    rng = np.random.default_rng(seed)
    x, u = rng.normal(size=N), rng.normal(size=15)[GROUP]
    factor = np.array(list("abc"))[rng.integers(0, 3, N)]
    success = (rng.uniform(size=N) < 1.0 / (1.0 + np.exp(-0.2 - 0.6 * x - u))).astype(int)
    counts = rng.poisson(np.exp(0.5 + 0.5 * u))
    return {"x": x, "f": factor, "g": GROUP, "y": success, "counts": counts, "rng": rng}


def fit(formula, data, family="binomial", **options):
    with pytest.warns(lmm.ConvergenceWarning) as warned:
        m = lmm.glmer(formula, {k: v for k, v in data.items() if k != "rng"}, family, **options)
    return m, str(warned[0].message)


def test_a_level_of_successes_only():
    data = table()
    data["y"][data["f"] == "b"] = 1
    m, message = fit("y ~ x + f + (1 | g)", data)
    assert m.optimum.status is Status.SEPARATED
    assert "Parameter: fb (+inf)." in message


def test_coefficients_of_the_joint_mode_separate_too():
    data = table()
    data["y"][data["f"] == "b"] = 1
    m, message = fit("y ~ x + f + (1 | g)", data, nagq=0)
    assert m.optimum.status is Status.SEPARATED
    assert "Parameter: fb (+inf)." in message


@pytest.mark.parametrize("family", [lmm.Binomial("probit"), lmm.Binomial("log")])
def test_a_level_of_failures_only(family):
    data = table()
    data["y"][data["f"] == "b"] = 0
    m, message = fit("y ~ f + (1 | g)", data, family)
    assert m.optimum.status is Status.SEPARATED
    assert "fb (-inf)" in message
    str(m.summary())  # means of 0 are no division by zero


def test_the_end_of_a_link():
    """Probabilities of 1 are at the end of the log link: no Newton step leads to them."""
    data = table()
    data["y"][data["f"] == "b"] = 1
    control = lmm.GlmerControl(check_conv_singular="ignore")
    m, message = fit("y ~ f + (1 | g)", data, lmm.Binomial("log"), control=control)
    assert m.optimum.status is Status.END_OF_LINK
    assert "Use another link" in message
    assert m.fitted().max() <= 1.0


def test_groups_that_fit_exactly():
    data = table()
    data["z"] = np.exp(0.3 * data["x"] + data.pop("rng").normal(size=15)[GROUP])
    m, message = fit("z ~ x + (1 | g)", data, lmm.Gamma("log"))
    assert m.optimum.status is Status.EXACT
    assert "Parameter: dispersion." in message
    with pytest.raises(lmm.NumericalError, match="fixed effects fit the response exactly"):
        lmm.glmer("z ~ x + (1 | g)", data | {"z": np.exp(0.3 * data["x"])}, lmm.Gamma("log"))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("level", [-2.0, -0.8])
def test_narrow_links_have_a_start_inside(level, seed):
    """R's glm asks for starting values: here those of equal means are inside."""
    rng = np.random.default_rng(seed)
    x, b = rng.normal(size=N), 0.1 * rng.normal(size=15)[GROUP]
    y = (rng.uniform(size=N) < np.exp(np.minimum(level + 0.1 * x + b, -0.01))).astype(int)
    control = lmm.GlmerControl(check_conv_singular="ignore")
    data = {"y": y, "x": x, "g": GROUP}
    m = lmm.glmer("y ~ x + (1 | g)", data, lmm.Binomial("log"), control=control)
    assert m.converged
    assert m.fitted().max() < 1.0


def test_a_combination_of_columns():
    """Neither column separates alone."""
    data = table()
    data["z"] = data["rng"].normal(size=N)
    data["y"][data["x"] + data["z"] > 0.9] = 1
    data["y"][data["x"] + data["z"] <= 0.9] = 0
    m, message = fit("y ~ x + z + (1 | g)", data)
    assert m.optimum.status is Status.SEPARATED
    assert "x (+inf), z (+inf)" in message


@pytest.mark.parametrize("family", ["poisson", lmm.NegativeBinomial(3.0)])
def test_a_level_without_counts(family):
    data = table()
    data["counts"][data["f"] == "b"] = 0
    m, message = fit("counts ~ f + (1 | g)", data, family)
    assert m.optimum.status is Status.SEPARATED
    assert "fb (-inf)" in message


@pytest.mark.parametrize("seed", range(3, 6))
@pytest.mark.parametrize("random", ["(1 | g)", "(1 | g) + (1 | f)", "(1 | g / f)"])
def test_poisson_counts_have_no_theta(random, seed):
    data = table(seed)
    data["counts"] = data["rng"].binomial(6, 0.6, N)
    control = lmm.GlmerControl(check_conv_singular="ignore")
    m, message = fit(f"counts ~ x + {random}", data, lmm.NegativeBinomial(), control=control)
    assert m.optimum.status is Status.SHAPE_UNBOUNDED
    assert "vary no more than Poisson's" in message


def test_informative_rows_are_no_separation():
    """Many trials leave little information at probabilities near one, but there is an optimum."""
    rng = np.random.default_rng(5)
    trials = np.full(N, 2000)
    wins = rng.binomial(trials, 1.0 / (1.0 + np.exp(-5.0 - 0.5 * rng.normal(size=15)[GROUP])))
    data = {"wins": wins, "losses": trials - wins, "x": rng.normal(size=N), "g": GROUP}
    assert lmm.glmer("cbind(wins, losses) ~ x + (1 | g)", data).converged


@pytest.mark.parametrize("family, response", [("binomial", "y"), ("poisson", "counts")])
def test_the_fit_without_random_effects_has_run_away(family, response):
    """Its weights have vanished where the search begins, and vanish no further."""
    data = table()
    low, high = data["f"] == "a", data["f"] == "b"
    data[response][low] = 0
    if family == "binomial":
        data[response][high] = 1
    control = lmm.GlmerControl(check_conv_singular="ignore")
    m, message = fit(f"{response} ~ 0 + f + (1 | g)", data, family, control=control)
    assert m.optimum.status is Status.SEPARATED
    assert "fa (-inf)" in message


@pytest.mark.parametrize("link", ["logit", "probit", "cloglog", "cauchit"])
@pytest.mark.parametrize("seed", range(8))
def test_separation_of_few_rows(link, seed):
    """With the smallest of designs, where levels are often all alike."""
    rng = np.random.default_rng(seed)
    n = 30
    f, x, g = rng.integers(0, 3, n), rng.normal(size=n), rng.integers(0, 5, n)
    eta = (rng.normal(size=3) * 3.0)[f] + 0.5 * x
    y = (rng.uniform(size=n) < 1.0 / (1.0 + np.exp(-eta))).astype(int)
    y[f == 0] = 1
    data = {"y": y, "f": f.astype(str), "x": x, "g": g, "rng": rng}
    control = lmm.GlmerControl(check_conv_singular="ignore")
    m, message = fit("y ~ f + (1 | g)", data, lmm.Binomial(link), control=control)
    assert m.optimum.status is Status.SEPARATED
    assert "inf)" in message


PLAIN = lmm.GlmerControl(check_conv_singular="ignore", check_nobs_vs_nlev="ignore")


@pytest.mark.parametrize("formula", ["y ~ x + (1 | row)", "y ~ x + (1 | g) + (1 | row)"])
@pytest.mark.parametrize("n", [150, 1200])  # the latter's rows would be merged
def test_single_trials_tell_no_variance(formula, n):
    rng = np.random.default_rng(7)
    x = rng.integers(0, 2, n)
    y = rng.binomial(1, np.where(x == 1, 0.7, 0.4))
    data = {"y": y, "x": x, "g": rng.integers(0, 15, n), "row": np.arange(n)}
    m, message = fit(formula, data, control=PLAIN)
    assert m.optimum.status is Status.SINGLE_TRIALS
    assert message.splitlines()[0].endswith("Leave the factor out. Parameter: row.(Intercept).")


def test_rows_of_several_trials_tell_a_variance():
    rng = np.random.default_rng(3)
    wins = rng.binomial(8, 1.0 / (1.0 + np.exp(-rng.normal(size=60))))
    data = {"wins": wins, "losses": 8 - wins, "row": np.arange(60)}
    assert lmm.glmer("cbind(wins, losses) ~ 1 + (1 | row)", data, control=PLAIN).converged


@pytest.mark.parametrize("n", [150, 1500])
@pytest.mark.parametrize("link", ["logit", "probit", "cloglog"])
@pytest.mark.parametrize(
    "formula", ["y ~ 1 + (1 | g)", "y ~ x + (x | g)", "y ~ 1 + (1 | h) + (1 | g)"]
)
def test_levels_of_equal_responses(formula, link, n):
    rng = np.random.default_rng(5)
    g = np.repeat(np.arange(n // 10), 10)
    data = {"y": rng.integers(0, 2, n // 10)[g], "x": rng.normal(size=n).round(), "g": g}
    data["h"] = np.arange(n) % 10
    m, message = fit(formula, data, lmm.Binomial(link), control=PLAIN)
    assert m.optimum.status is Status.EQUAL_WITHIN
    assert "Parameter: g.(Intercept) (+inf)." in message


def test_the_likelihood_of_levels_of_equal_responses_rises_for_ever():
    """P(all five 1) is 1/2 in the limit, and less before; more points follow it farther."""
    shares = [
        quad(lambda z, sd=sd: norm.pdf(z) * expit(sd * z) ** 5, -9, 9, points=[0], limit=500)[0]
        for sd in (1.0, 10.0, 100.0, 1000.0)
    ]
    assert np.all(np.diff([*shares, 0.5]) > 0.0)
    data = {"y": np.repeat([0.0, 1.0], 50), "g": np.repeat(np.arange(20), 5)}
    deviations = [float(fit("y ~ 1 + (1 | g)", data, nagq=k)[0].fit.theta[0]) for k in (1, 9, 25)]
    assert np.all(np.diff(deviations) > 0.0)


@pytest.mark.parametrize("mixed", [1, 3])
def test_levels_that_vary_are_no_such_case(mixed):
    rng = np.random.default_rng(5)
    y = rng.integers(0, 2, 15)[GROUP]
    y[: 10 * mixed : 10] = 1 - y[: 10 * mixed : 10]
    assert lmm.glmer("y ~ 1 + (1 | g)", {"y": y, "g": GROUP}).converged
