"""Rubin's rules, against R's mice 3.15 (`pool` of the same fits) and by hand."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

import lmm


def completed(k):
    """Sleepstudy with a disturbance that imputations could have."""
    d = lmm.load_dataset("sleepstudy")
    return d.assign(Reaction=d["Reaction"] + 30.0 * np.sin(k * np.arange(1.0, 181.0)))


@pytest.fixture(scope="module")
def least_squares():
    return [lmm.lm("Reaction ~ Days", completed(k)) for k in range(1, 6)]


@pytest.fixture(scope="module")
def mixed():
    return [lmm.lmer("Reaction ~ Days + (1 | Subject)", completed(k)) for k in range(1, 4)]


def test_pooled_least_squares_are_those_of_mice(least_squares):
    pooled = lmm.pool(least_squares)
    parts = {
        "ubar": [52.180100392, 1.830880716],
        "b": [2.8827053430, 0.1453952325],
        "t": [55.639346804, 2.005354995],
        "dfcom": [178.0, 178.0],
        "df": [142.3749021, 123.2357450],
        "riv": [0.06629436098, 0.09529527379],
        "lambda": [0.06217266396, 0.08700418606],
        "fmi": [0.0750748544, 0.1014691193],
    }
    for name, expected in parts.items():
        assert_allclose(pooled.variances()[name], expected, rtol=1e-8)
    table = pooled.to_frame()
    assert_allclose(table["estimate"], [252.18683174, 10.30070921], rtol=1e-9)
    assert_allclose(table["std.error"], [7.459178695, 1.416105573], rtol=1e-9)
    assert_allclose(table["p.value"], [6.638336522e-70, 3.547354320e-11], rtol=1e-7)
    assert_allclose(pooled.confint().loc["Days"], [7.497668321, 13.10375009], rtol=1e-8)
    assert str(pooled).startswith("Fixed effects pooled over 5 data sets")


def test_mixed_models_by_hand(mixed):
    pooled = lmm.pool(mixed)
    estimates = np.array([m.fixef() for m in mixed])
    within = np.mean([m.vcov() for m in mixed], axis=0)
    total = within + 4.0 / 3.0 * np.cov(estimates.T)
    assert_allclose(pooled.vcov(), total)
    assert_allclose(pooled.fixef(), estimates.mean(axis=0))
    assert_allclose(pooled.variances()["dfcom"], 180 - 4)
    share = 1.0 - np.diag(within) / np.diag(total)
    old, observed = 2.0 / share**2, 177.0 / 179.0 * 176.0 * (1.0 - share)
    assert_allclose(pooled.to_frame()["df"], old * observed / (old + observed))


def test_degrees_of_freedom_of_complete_data(mixed):
    mean = np.mean([m.summary("satterthwaite").coefficients["df"] for m in mixed], axis=0)
    assert_allclose(lmm.pool(mixed, "satterthwaite").df_complete, mean)
    large = lmm.pool(mixed, np.inf).variances()
    assert_allclose(large["df"], 2.0 / large["lambda"] ** 2)
    assert_allclose(lmm.pool(mixed, "asymptotic").variances(), large)
    assert_allclose(lmm.pool(mixed, 40).df_complete, 40.0)


def test_equal_data_sets_leave_the_observed_degrees_of_freedom(mixed):
    table = lmm.pool([mixed[0], mixed[0]], 100).variances()
    assert_allclose(table["df"], 101.0 / 103.0 * 100.0)
    assert_allclose(table["lambda"], 0.0)


def test_generalized_models():
    d = lmm.load_dataset("cbpp")
    formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
    fits = [lmm.glmer(formula, d[np.arange(56) != k]) for k in (3, 9)]
    table = lmm.pool(fits).to_frame()
    assert_allclose(table["estimate"], np.mean([m.fixef() for m in fits], axis=0))


def test_what_cannot_be_pooled(mixed, least_squares):
    with pytest.raises(ValueError, match="at least two data sets, not 1"):
        lmm.pool(mixed[:1])
    with pytest.raises(TypeError, match="fitted models, not str"):
        lmm.pool(["a", "b"])
    with pytest.raises(lmm.DataError, match=r"model 2 has the fixed effects \(Intercept\), the"):
        lmm.pool([mixed[0], mixed[1].update(". ~ . - Days")])
    with pytest.raises(ValueError, match=r"Unknown degrees of freedom 'residuals'.*'residual'"):
        lmm.pool(mixed, "residuals")
    for df in (0, None):
        with pytest.raises(ValueError, match="df must be a positive number or one of residual"):
            lmm.pool(mixed, df)
    with pytest.raises(TypeError, match="a list of fitted models"):
        lmm.pool(mixed[0])
