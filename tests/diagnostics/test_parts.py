"""Leverages in parts, residuals of levels alone, deletions with their random effects."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy.integrate import quad

import lmm
from fits import fitted


@pytest.mark.parametrize("name", ["slopes", "penicillin"])
def test_leverages_of_fixed_and_random_effects(name):
    m = fitted(name)
    table = m.hatvalues(parts=True)
    V = m.marginal_covariance().toarray()
    solved = np.linalg.solve(V, m.X)
    fixed = np.einsum("np,pq,nq->n", m.X, np.linalg.inv(m.X.T @ solved), solved)
    assert_allclose(table["fixef"], fixed, rtol=1e-8)
    assert_allclose(table["overall"], m.hatvalues())
    assert_allclose(table["fixef"] + table["ranef"], table["overall"])
    assert table["fixef"].sum() == pytest.approx(m.X.shape[1])


def test_leverages_of_weighted_and_generalized_models():
    d = lmm.load_dataset("sleepstudy")
    m = lmm.lmer("Reaction ~ Days + (Days | Subject)", d, weights=np.tile([0.5, 2.0], 90))
    V = m.marginal_covariance().toarray()
    solved = np.linalg.solve(V, m.X)
    fixed = np.einsum("np,pq,nq->n", m.X, np.linalg.inv(m.X.T @ solved), solved)
    assert_allclose(m.hatvalues(parts=True)["fixef"], fixed, rtol=1e-8)
    cbpp = lmm.load_dataset("cbpp")
    g = lmm.glmer("cbind(incidence, size - incidence) ~ period + (1 | herd)", cbpp)
    assert g.hatvalues(parts=True)["fixef"].sum() == pytest.approx(4.0)


def test_least_squares_residuals_are_those_of_separate_fits():
    d = lmm.load_dataset("sleepstudy")
    m = lmm.lmer("Reaction ~ Days + (1 | Subject)", d)
    separate = lmm.lmlist("Reaction ~ Days | Subject", d).residuals()
    assert_allclose(m.residuals("least-squares"), separate, atol=1e-8)
    assert_allclose(m.residuals("least-squares", scaled=True) * m.sigma, separate, atol=1e-8)
    pastes = fitted("pastes").residuals("least-squares")
    innermost = max(fitted("pastes").fit.matrices.terms, key=lambda term: term.n_levels)
    groups = pd.Series(fitted("pastes").y).groupby(innermost.codes)
    assert_allclose(pastes, fitted("pastes").y - groups.transform("mean"), atol=1e-9)


def test_random_effects_without_each_level():
    m, d = fitted("slopes"), lmm.load_dataset("sleepstudy")
    deleted = m.influence("Subject", ["308", "335"], effects=True).effects_without
    assert deleted.shape == (2, 36)
    again = lmm.lmer("Reaction ~ Days + (Days | Subject)", d[d["Subject"].astype(str) != "335"])
    expected = again.ranef()["Subject"]["Days"]
    found = deleted.loc["335"].xs("Days", level="term")["Subject"]
    assert np.isnan(found["335"])
    assert_allclose(found.drop("335"), expected, atol=1e-3)
    assert m.influence("Subject", ["308"]).effects_without is None


def test_workers_delete_alike():
    pytest.importorskip("joblib")
    m = fitted("slopes")
    here, there = (m.influence("Subject", n_jobs=n).cooks_distance() for n in (1, 2))
    assert_allclose(there, here)


def test_population_means_of_a_generalized_model():
    cbpp = lmm.load_dataset("cbpp")
    m = lmm.glmer("cbind(incidence, size - incidence) ~ period + (1 | herd)", cbpp)
    rows = cbpp[:4]
    found = m.predict(rows, type="population")
    sd = m.fit.theta[0]

    def mean(eta):
        def integrand(b):
            return np.exp(-0.5 * b**2) / np.sqrt(2.0 * np.pi) / (1.0 + np.exp(-eta - sd * b))

        return quad(integrand, -9.0, 9.0)[0]

    assert_allclose(found, [mean(eta) for eta in m.predict(rows, re_form="~0")], rtol=1e-8)
    # of a log link in closed form
    counts = lmm.glmer("incidence ~ period + (1 | herd)", cbpp, "poisson")
    expected = np.exp(counts.predict(re_form="~0") + 0.5 * counts.fit.theta[0] ** 2)
    assert_allclose(counts.predict(type="population"), expected, rtol=1e-10)
    table = counts.predict(type="population", se=True)
    X = counts.X
    errors = expected * np.sqrt(np.einsum("ma,ab,mb->m", X, counts.fit.vcov, X))
    assert_allclose(table["fit"], expected, rtol=1e-10)
    assert_allclose(table["se"], errors, rtol=1e-10)
    # of the logit by differences in the coefficients
    step = 1e-5 * np.eye(4)
    slopes = [
        m.predict(rows, type="population", newparams={"beta": m.fit.beta + h})
        - m.predict(rows, type="population", newparams={"beta": m.fit.beta - h})
        for h in step
    ]
    J = np.array(slopes).T / 2e-5
    expected = np.sqrt(np.einsum("ma,ab,mb->m", J, m.fit.vcov, J))
    assert_allclose(m.predict(rows, type="population", se=True)["se"], expected, rtol=1e-7)
    with pytest.raises(ValueError, match="confidence intervals only"):
        m.predict(rows, type="population", interval="prediction")


def test_separate_fits_are_drawn():
    import matplotlib as mpl

    mpl.use("Agg")
    fits = lmm.lmlist("Reaction ~ Days | Subject", lmm.load_dataset("sleepstudy"))
    first, second = fits.plot()
    assert second.get_xlabel() == "Days"
    assert_allclose(first.lines[0].get_xdata(), fits.coef()["(Intercept)"])
    mpl.pyplot.close(first.figure)
