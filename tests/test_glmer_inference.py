"""What follows from generalized fits: tests and diagnostics, beside R's."""

from __future__ import annotations

import numpy as np
import pytest

import lmm
from generalized import IDS, fitted, reference, without_scale


def rows(block):
    """A table of R's as rows by name; missing numbers are NaN."""
    names = block["rows"] if isinstance(block["rows"], list) else [block["rows"]]
    numbers = [
        [np.nan if value is None else float(value) for value in row] for row in block["values"]
    ]
    return dict(zip(names, np.array(numbers), strict=True))


@pytest.mark.filterwarnings("ignore::lmm.SingularFitWarning")
@pytest.mark.parametrize("model", [m for m in IDS if "drop1" in reference(m)])
def test_drop1(model):
    found = fitted(model).drop1(test="Chisq").to_frame()
    for term, expected in rows(reference(model)["drop1"]["table"]).items():
        np.testing.assert_allclose(found.loc[term], expected, rtol=2e-5, atol=1e-4)


@pytest.mark.parametrize("model", [m for m in IDS if "anova_sequential" in reference(m)])
def test_sequential_sums_of_squares(model):
    found = fitted(model).anova(ddf="lme4").to_frame()
    for term, expected in rows(reference(model)["anova_sequential"]["table"]).items():
        np.testing.assert_allclose(found.loc[term], expected, rtol=1e-3)


def test_wald_tests_take_the_covariance_of_the_hessian():
    m = fitted("cbpp")
    beta, vcov = m.beta[1:], m.fit.vcov[1:, 1:]
    table = m.anova(2)
    assert table.heading[0] == "Analysis of Deviance Table (Type II Wald chisquare tests)"
    chisq = beta @ np.linalg.solve(vcov, beta)
    np.testing.assert_allclose(table["Chisq"]["period"], chisq, rtol=1e-12)
    joint = lmm.linear_hypothesis(m, [f"period{k} = 0" for k in "234"])
    np.testing.assert_allclose(joint["Chisq"].iloc[1], chisq, rtol=1e-12)


@pytest.mark.parametrize("model", IDS)
def test_leverages_sum_to_the_effective_number_of_parameters(model):
    m = fitted(model)
    h = m.hatvalues().to_numpy()
    W, X, Z, L = m.fit.working_weights, m.X, m.Z.tocsr(), m.Lambda
    spherical = (Z @ L).toarray()
    A = np.hstack([X, spherical]) * np.sqrt(W)[:, None]
    penalty = np.r_[np.zeros(X.shape[1]), np.ones(spherical.shape[1])]
    hat = np.einsum("ij,ji->i", A, np.linalg.solve(A.T @ A + np.diag(penalty), A.T))
    np.testing.assert_allclose(h, hat, atol=1e-9)
    assert (h < 1.0).all()  # lme4's are not: 1.92 for the first row of cbpp
    assert m.cooks_distance().to_numpy().max() < np.inf


@pytest.mark.parametrize("kind", ["satterthwaite", "kenward-roger"])
def test_degrees_of_freedom_are_of_linear_models(kind):
    m = fitted("cbpp")
    for call in (m.anova, m.contest, m.drop1, lmm.emmeans):
        arguments = {m.contest: ([0, 1, 0, 0],), lmm.emmeans: (m, "period")}.get(call, ())
        keywords = {"test": "F"} if call == m.drop1 else {}
        with pytest.raises(ValueError, match="exist for linear models only"):
            call(*arguments, ddf=kind, **keywords)


def test_default_tests_are_asymptotic():
    m = fitted("cbpp")
    assert np.isinf(m.contest([0, 1, 0, 0])["DenDF"].iloc[0])
    assert np.isinf(m.ls_means("period")["df"]).all()


@pytest.mark.parametrize("model", ["cbpp", "sim_nb", "sim_gamma_log"])
def test_random_terms_are_tested_against_the_model_without_any(model):
    m = fitted(model)
    table = m.ranova().to_frame()
    marginal = m.fit.criterion.model.marginal
    assert table["npar"].iloc[-1] == table["npar"].iloc[0] - len(m.theta)
    gone = m.fit.without_effects
    small = m.fit.criterion.to_theta(
        m.fit.criterion.model.joined(
            np.zeros(len(m.theta)), m.fit.criterion.model.T @ marginal.beta, marginal.xi
        )
    )
    at_zero = m.fit.criterion.value(m.fit.criterion.to_x(small))
    np.testing.assert_allclose(gone, at_zero, rtol=1e-10)


@pytest.mark.parametrize("model", without_scale()[:3])
def test_all_optimizers_agree(model):
    fits = fitted(model).all_fit().fits
    values = [fit.optimum.value for fit in fits.values()]
    assert np.ptp(values) < 1e-5
    assert fitted(model).check_convergence()
