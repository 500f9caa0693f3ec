"""Comparisons of models: R's prints to the character, and tests on the boundary."""

import numpy as np
import pytest

import lmm
from fits import fitted
from lmm.inference.variance.lrt import chi_bar_square_tail
from lmm.tables.comparison import sequential_anova
from reference.model import load_model_reference

R = load_model_reference()["text"]
NOTE = "refitting model(s) with ML (instead of REML)"


def smaller():
    return fitted("slopes", reml=False).update(". ~ . - Days")


def weighted():
    return fitted("slopes").update(". ~ . - Days", weights=np.tile([1.0, 2.0], 90))


def of_counts():
    d = {"y": np.arange(40) // 6 + np.arange(40) % 5, "g": np.arange(40) // 6}
    return lmm.lmer("y ~ 1 + (1 | g)", d), lmm.glmer("y ~ 1 + (1 | g)", d, family="poisson")


PRINTS = [
    (
        "anova",
        lambda: lmm.anova(fitted("slopes"), fitted("independent"), names=["fm1", "fm2"]),
    ),
    (
        "anova_three",
        lambda: lmm.anova(
            fitted("slopes"),
            fitted("intercepts"),
            fitted("independent"),
            names=["fm1", "fm0", "fm2"],
        ),
    ),
    (
        "anova_reml",
        lambda: lmm.anova(
            fitted("slopes"), fitted("independent"), refit=False, names=["fm1", "fm2"]
        ),
    ),
    (
        "anova_ml",
        lambda: lmm.anova(fitted("slopes", reml=False), smaller(), names=["fm1ML", "fm1ML_small"]),
    ),
    ("anova_one", lambda: sequential_anova(fitted("slopes"))),
    ("anova_cake", lambda: sequential_anova(fitted("cake"))),
    ("drop1_cake", lambda: fitted("cake").drop1(test="Chisq")),
    ("drop1", lambda: fitted("slopes", reml=False).drop1()),
]


@pytest.mark.parametrize("key, table", PRINTS)
def test_prints_are_rs(key, table):
    lines = str(table()).split("\n")
    if key in ("anova", "anova_three"):
        # R writes the note to the console before it prints.
        assert lines.pop(0) == NOTE
    # R names the data by the variable of its session, which was wrapped in a call here.
    expected = [line for line in R[key] if not line.startswith("Data: ")]
    assert [line for line in lines if line != "Data: sleepstudy"] == expected


def test_the_data_are_named():
    table = lmm.anova(fitted("slopes", reml=False), smaller())
    assert str(table).split("\n")[:2] == ["Data: sleepstudy", "Models:"]
    assert list(table.to_frame().index) == ["m2", "m1"]


def test_numbers_are_those_of_the_fits():
    large, small = fitted("slopes", reml=False), smaller()
    table = lmm.anova(large, small).to_frame()
    assert list(table["npar"]) == [5, 6]
    np.testing.assert_allclose(table["logLik"], [small.loglik(), large.loglik()])
    np.testing.assert_allclose(table["AIC"], [small.aic(), large.aic()])
    np.testing.assert_allclose(table["BIC"], [small.bic(), large.bic()])
    assert table["Chisq"].iloc[1] == pytest.approx(2.0 * (large.loglik() - small.loglik()))


def test_boundary_p_values_stand_beside_the_naive_ones():
    table = lmm.anova(
        fitted("slopes"), fitted("independent"), fitted("intercepts"), refit=False, boundary=True
    ).to_frame()
    naive, aware = table["Pr(>Chisq)"].to_numpy(), table["Pr(>Chibar)"].to_numpy()
    # One independent variance was added: half the point mass at zero, half chi-square 1.
    np.testing.assert_allclose(aware[1], 0.5 * naive[1])
    # A correlation is not on the boundary: no random effect was added.
    assert np.isnan(aware[2])
    pair = lmm.anova(fitted("slopes"), fitted("intercepts"), refit=False, boundary=True).to_frame()
    statistic = pair["Chisq"].iloc[1]
    assert pair["Pr(>Chibar)"].iloc[1] == pytest.approx(
        chi_bar_square_tail(statistic, {1: 0.5, 2: 0.5})
    )
    fixed = lmm.anova(fitted("slopes", reml=False), smaller(), boundary=True).to_frame()
    assert fixed["Pr(>Chibar)"].isna().all()


def test_mixture_tails():
    # Self & Liang (1987): the 5 % point of half chi-square 0, half chi-square 1 is 2.706.
    assert chi_bar_square_tail(2.7055435, {0: 0.5, 1: 0.5}) == pytest.approx(0.05, abs=1e-7)
    # Stram & Lee (1994): that of half chi-square 1, half chi-square 2 is 5.138.
    assert chi_bar_square_tail(5.138, {1: 0.5, 2: 0.5}) == pytest.approx(0.05, abs=1e-4)
    assert chi_bar_square_tail(0.0, {0: 0.5, 1: 0.5}) == 1.0


def test_exact_restricted_test_of_dyestuff():
    # RLRsim's exactRLRT on Dyestuff: RLRT = 6.369, p about 0.004
    test = fitted("dyestuff").exact_rlrt(20_000, seed=1)
    assert test.statistic == pytest.approx(6.369, abs=5e-4)
    assert test.p_value == pytest.approx(0.004, abs=0.001)
    assert "RLRT = 6.369" in str(test)


def test_exact_null_distribution_is_that_of_refits():
    m = fitted("dyestuff")
    null = m.simulate(300, seed=3, theta=[0.0])
    criterion = m.fit.criterion
    observed = []
    for name in null.columns:
        other = criterion.with_response(null[name].to_numpy())
        observed.append(max(0.0, other.value(np.zeros(1)) - lmm.minimize(other).value))
    simulated = m.exact_rlrt(20_000, seed=4).simulated
    # Shares at and above a few points agree within four binomial standard errors of 300 refits.
    for point in (1e-3, 0.5, 1.5):
        share = np.mean(simulated > point)
        error = np.sqrt(share * (1.0 - share) / len(observed))
        assert abs(np.mean(np.array(observed) > point) - share) < 4.0 * error


@pytest.mark.parametrize(
    "act, error, message",
    [
        (lambda: lmm.anova(fitted("slopes")), ValueError, "two models or more"),
        (lambda: lmm.anova(fitted("slopes"), fitted("cake")), lmm.DataError, "180 rows.*270"),
        (lambda: lmm.anova(fitted("slopes"), weighted()), lmm.DataError, "weigh their rows"),
        (lambda: lmm.pb_modcomp(fitted("slopes"), weighted()), lmm.DataError, "weigh their rows"),
        (lambda: lmm.anova(*of_counts()), lmm.DataError, "a normal response and one of another"),
        (
            lambda: lmm.anova(fitted("slopes"), fitted("slopes").update("log(.) ~ .")),
            lmm.DataError,
            r"log\(Reaction\)",
        ),
        (
            lambda: lmm.anova(
                fitted("slopes"), fitted("slopes").update(". ~ . - Days"), refit=False
            ),
            ValueError,
            "refit=True",
        ),
        (
            lambda: lmm.anova(fitted("slopes"), fitted("independent"), names=["a"]),
            ValueError,
            "2 models, but 1 names",
        ),
        (lambda: fitted("cake").drop1(["recipe"]), lmm.DataError, "contained in another"),
        (lambda: fitted("cake").drop1(["recip"]), lmm.DataError, "Did you mean 'recipe'"),
        (lambda: fitted("cake").drop1(test="LRT"), ValueError, "'Chisq'"),
        (lambda: fitted("slopes").exact_rlrt(), ValueError, "single variance component"),
        (
            lambda: fitted("dyestuff", reml=False).exact_rlrt(),
            ValueError,
            "fitted by maximum likelihood",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused(act, error, message):
    with pytest.raises(error, match=message):
        act()


def test_weights_do_not_change_sequential_sums_when_constant():
    data = lmm.load_dataset("sleepstudy").assign(w=4.0)
    m = lmm.lmer("Reaction ~ Days + (Days | Subject)", data, weights="w")
    ours, plain = (sequential_anova(x).to_frame() for x in (m, fitted("slopes")))
    np.testing.assert_allclose(ours["F value"], plain["F value"], rtol=1e-6)


def test_html_shows_the_table():
    html = lmm.anova(fitted("slopes", reml=False), smaller())._repr_html_()
    assert "Pr(&gt;Chisq)" in html
