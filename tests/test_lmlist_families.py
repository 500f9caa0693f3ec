"""Generalized models by level, against R's lmList(family = ...)."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose

import lmm
import r_tables


@pytest.fixture(scope="module")
def counts():
    return lmm.lmlist("breaks ~ tension | wool", r_tables.warpbreaks(), "poisson")


@pytest.fixture(scope="module")
def gamma():
    return lmm.lmlist("mpg ~ wt | gear", r_tables.mtcars(), lmm.Gamma("log"))


def test_counts_by_level(counts):
    r = [[3.79673685, -0.61868301963, -0.5957987258], [3.34010969, 0.01949379468, -0.4074355521]]
    assert_allclose(counts.coef(), r, rtol=1e-7)
    tests = counts.summary().coefficients["tensionH"]
    # R's weights are those before its last step
    assert_allclose(tests["Std. Error"], [0.08377722993, 0.09926813676], rtol=1e-5)
    assert_allclose(tests["z value"], [-7.111702384, -4.104394072], rtol=1e-5)
    assert_allclose(tests["Pr(>|z|)"], [1.146202243e-12, 4.053759587e-05], rtol=1e-3)
    # R interpolates profiles
    r = [[-0.7613979759, -0.4328061821], [-0.6034247918, -0.2139882904]]
    assert_allclose(counts.confint()["tensionH"], r, rtol=1e-3)
    half = 1.959963984540054 * tests["Std. Error"]
    assert_allclose(counts.confint(pooled=True)["tensionH"].iloc[:, 1], tests["Estimate"] + half)
    assert counts.loglik() == pytest.approx(-228.4846045, abs=1e-6)
    assert (counts.sigma, counts.has_sigma) == (1.0, False)


def test_prints_without_a_dispersion_have_no_residual_error(counts):
    assert str(counts).rstrip().split("\n") == [
        "Call: lmList(formula = breaks ~ tension | wool, data = w, family = poisson) ",
        "Coefficients:",
        "  (Intercept)    tensionM   tensionH",
        "A    3.796737 -0.61868302 -0.5957987",
        "B    3.340110  0.01949379 -0.4074356",
    ]
    assert "Residual standard error" not in str(counts.summary())


def test_a_dispersion_is_pooled(gamma):
    r = [[3.568310587, -0.2061426967], [3.905023624, -0.2748072337], [4.002425286, -0.3712435242]]
    assert_allclose(gamma.coef(), r, rtol=1e-5)
    assert gamma.sigma == pytest.approx(0.1254275042, rel=1e-8)
    r = [[3.239505079, 3.897116096], [3.575013254, 4.235033995], [3.572277243, 4.432573329]]
    assert_allclose(gamma.confint(pooled=True)["(Intercept)"], r, rtol=1e-6)
    assert_allclose(gamma.residuals()[:2], [-0.1372915301, -0.0696132639], rtol=1e-4)
    assert "Residual standard error: 0.1254275" in str(gamma)
    assert gamma.df_resid == 26


def test_means_predictions_and_changes(counts, gamma):
    d = r_tables.mtcars()
    assert_allclose(gamma.predict(d, type="response"), gamma.fitted())
    assert_allclose(gamma.residuals("response") + gamma.fitted(), d["mpg"])
    with pytest.raises(lmm.DataError, match="level '6'"):
        gamma.predict(d.assign(gear=6.0))
    smaller = counts.update(". ~ 1")
    means = r_tables.warpbreaks().groupby("wool", observed=True)["breaks"].mean()
    assert_allclose(smaller.coef()["(Intercept)"], np.log(means))
    assert counts.update(family="negative.binomial").call.family.name == "negative binomial"
    again = pickle.loads(pickle.dumps(counts))
    assert str(again) == str(counts)
    assert [ax.get_xlabel() for ax in gamma.plot()] == ["(Intercept)", "wt"]
    with pytest.raises(ValueError, match="Unknown kind of residuals 'quantile'"):
        counts.residuals("quantile")
    with pytest.raises(ValueError, match="'link' or 'response', not 'mean'"):
        counts.predict(type="mean")


def test_levels_without_finite_coefficients_are_named():
    d = {"y": [0, 0, 0, 0, 1, 0, 1, 1, 0, 1], "g": list("aaaabbbbbb"), "x": list(range(10))}
    with pytest.warns(lmm.ConvergenceWarning, match=r"1 levels of g have no finite coef.* \(a\)"):
        fits = lmm.lmlist("y ~ 1 | g", d, "binomial")
    assert fits.coef().loc["b", "(Intercept)"] == pytest.approx(np.log(4 / 2))


def test_the_gaussian_family_is_least_squares():
    d = r_tables.warpbreaks()
    one, two = (lmm.lmlist("breaks ~ tension | wool", d, *f) for f in ((), ("gaussian",)))
    assert type(two) is lmm.tables.lmlist.LmList
    assert str(one) == str(two)


def test_own_functions_in_formulas_of_lists_simulations_and_plans():
    d, own = r_tables.mtcars(), {"tons": lambda x: x / 2.2}
    fits = lmm.lmlist("mpg ~ tons(wt) | gear", d, lmm.Gamma("log"), extra_namespace=own)
    plain = lmm.lmlist("mpg ~ I(wt / 2.2) | gear", d, lmm.Gamma("log"))
    assert_allclose(fits.predict(d[:3]), plain.predict(d[:3]))
    linear = lmm.lmlist("mpg ~ tons(wt) | gear", d, extra_namespace=own)
    assert_allclose(linear.fitted(), lmm.lmlist("mpg ~ wt | gear", d).fitted())
    truth = {"beta": [1.0, 2.0], "theta": [0.5]}
    names = "~ tons(wt) + (1 | gear)", "~ I(wt / 2.2) + (1 | gear)"
    one = lmm.simulate_formula(names[0], d, **truth, sigma=1.0, seed=1, extra_namespace=own)
    assert_allclose(one, lmm.simulate_formula(names[1], d, **truth, sigma=1.0, seed=1))
    study = lmm.StudyDesign(names[0], d, **truth, family="poisson", extra_namespace=own)
    assert study.matrices.fixed.names == ("(Intercept)", "tons(wt)")
    with pytest.raises(lmm.FormulaError, match="tons"):
        lmm.StudyDesign(names[0], d, **truth, family="poisson")


def test_workers_change_no_power():
    rows = {"g": np.repeat(np.arange(6), 8).astype(str), "x": np.tile(np.arange(8.0), 6)}
    study = lmm.StudyDesign("y ~ x + (1 | g)", rows, [0.5, 0.1], [0.4], family="poisson")
    one, two = (lmm.power(study, "x", 12, seed=3, n_jobs=n).to_frame() for n in (1, 2))
    assert one.equals(two)
