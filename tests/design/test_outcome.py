"""Responses of generalized models in all their forms, and the errors of those that are none."""

import numpy as np
import pandas as pd
import pytest

import lmm
from lmm.errors import DataError, FormulaError, LmmWarning

RNG = np.random.default_rng(2)
N = 60
GROUP = np.repeat(np.arange(12), 5)
SUCCESS = (RNG.uniform(size=N) < 0.3 + 0.4 * (GROUP % 2)).astype(int)
TRIALS = RNG.integers(2, 9, N)
SHIFT = 1.2 * RNG.normal(size=12)[GROUP]
WINS = RNG.binomial(TRIALS, 1.0 / (1.0 + np.exp(-SHIFT)))
DATA = {
    "g": GROUP,
    "x": RNG.uniform(size=N),
    "y": SUCCESS,
    "truth": SUCCESS == 1,
    "text": np.where(SUCCESS == 1, "yes", "no"),
    "factor": pd.Categorical(np.where(SUCCESS == 1, "won", "lost"), ["lost", "won", "drawn"]),
    "three": np.array(["a", "b", "c"])[np.arange(N) % 3],
    "wins": WINS,
    "losses": TRIALS - WINS,
    "trials": TRIALS,
    "share": WINS / TRIALS,
    "zero": np.zeros(N),
    "half": np.arange(N) / 2.0,
    "negative": np.arange(N) - 3.0,
    "counts": RNG.poisson(np.exp(1.0 + SHIFT)),
}


def fit(response, family="binomial", **options):
    return lmm.glmer(f"{response} ~ x + (1 | g)", DATA, family, **options)


@pytest.mark.parametrize("response", ["truth", "text", "factor", "I(text == 'yes')"])
def test_two_levels_are_zero_and_one(response):
    assert fit(response).deviance() == pytest.approx(fit("y").deviance(), abs=1e-9)


def test_proportions_are_counts():
    counted = fit("cbind(wins, losses)")
    assert fit("share", weights="trials").deviance() == pytest.approx(counted.deviance(), abs=1e-9)
    twice = fit("cbind(wins, losses)", weights=np.full(N, 2.0))
    np.testing.assert_allclose(twice.weights, 2.0 * TRIALS)


def test_rows_without_trials_say_nothing():
    data = pd.DataFrame(DATA)
    more = pd.concat([data, data.iloc[:5].assign(wins=0, losses=0)], ignore_index=True)
    formula = "cbind(wins, losses) ~ x + (1 | g)"
    with_them = lmm.glmer(formula, more)
    assert with_them.deviance() == pytest.approx(lmm.glmer(formula, data).deviance(), abs=1e-9)


@pytest.mark.parametrize(
    "response, family, message",
    [
        ("three", "binomial", "a binomial response has two levels, but 'three' has 3: 'a', 'b'"),
        ("counts", "binomial", "y values must be 0 <= y <= 1"),
        ("zero", "binomial", "Response is constant: 'zero' is 0 in all rows"),
        ("zero", "poisson", "Response is constant"),
        ("cbind(wins, zero)", "binomial", r"constant: 'cbind\(wins, zero\)' is 1 in all rows"),
        ("cbind(zero, zero)", "binomial", "Response is constant"),
        ("half", "poisson", "must be counts, but one is 0.5"),
        ("negative", "poisson", "negative values not allowed for the 'Poisson' family"),
        ("negative", "negative.binomial", "negative values not allowed for the 'negative bin"),
        ("negative", "Gamma", "non-positive values not allowed for the 'Gamma' family"),
        ("text", "poisson", "response must be numeric: 'text' holds a factor, such as 'no'"),
        ("cbind(wins, losses)", "poisson", "can't handle matrix-valued responses"),
        ("cbind(wins, losses, x)", "binomial", "two, successes and failures, but .* has 3"),
        ("cbind(negative, losses)", "binomial", "negative values not allowed for the 'binomial'"),
        ("cbind(half, losses)", "binomial", "successes and failures must be counts"),
    ],
)
def test_impossible_responses(response, family, message):
    with pytest.raises(DataError, match=message):
        fit(response, family)


def test_a_proportion_without_trials_is_told():
    with pytest.warns(LmmWarning, match="non-integer #successes in a binomial glm!"):
        fit("share", control=lmm.GlmerControl(check_conv_singular="ignore"))


def test_a_linear_model_has_one_response():
    with pytest.raises(FormulaError, match="A linear mixed model takes one response") as info:
        lmm.lmer("cbind(wins, losses) ~ x + (1 | g)", DATA)
    assert info.value.position == 0


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"family": "quasipoisson"}, DataError, "cannot be used in glmer"),
        ({"nagq": 2.5}, ValueError, "nagq must be a whole number from 0 to 100"),
        ({"nagq": 101}, ValueError, "nagq must be a whole number from 0 to 100"),
        ({"information": "fisher"}, ValueError, "information must be 'expected' or 'observed'"),
        ({"reml": True}, TypeError, "reml"),
    ],
)
def test_impossible_arguments(options, error, message):
    with pytest.raises(error, match=message):
        lmm.glmer("y ~ x + (1 | g)", DATA, **options)


@pytest.mark.parametrize("response", ["cbind(wins, losses)", "text", "truth", "y", "counts"])
def test_simulated_responses_come_in_the_form_of_the_data(response):
    m = fit(response, "poisson" if response == "counts" else "binomial")
    new = m.simulate(1, seed=3)["sim_1"]
    if response.startswith("cbind"):
        np.testing.assert_array_equal(new.sum(axis=1), TRIALS)
    else:
        known = set(range(200)) if response == "counts" else set(DATA[response])
        assert set(new) <= known
    again = m.refit(new)
    assert again.converged
    assert again.deviance() != m.deviance()


def test_as_many_levels_as_rows():
    """Without a residual variance there may be an effect per observation, and no more."""
    data = DATA | {"row": np.arange(N)}
    control = lmm.GlmerControl(check_conv_singular="ignore")
    formula = "cbind(wins, losses) ~ x + (1 | g) + (1 | row)"
    assert lmm.glmer(formula, data, control=control).converged
    with pytest.raises(DataError, match=r"\(=60\) < number of random effects \(=120\)"):
        lmm.glmer("cbind(wins, losses) ~ x + (x | row)", data)


def test_a_linear_model_is_lmers():
    with pytest.warns(LmmWarning, match="as a shortcut to lmer"):
        m = fit("half", "gaussian", control=lmm.GlmerControl(check_conv_singular="ignore"))
    assert isinstance(m, lmm.LinearMixedModel)
    assert m.reml
