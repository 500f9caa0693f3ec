"""Fits of the reference models: everything R's lmer gives, the certificate, and few evaluations."""

import functools
import warnings

import numpy as np
import pytest

import lmm
from lmm.fit import Fit
from reference import MODEL_IDS, fit_arguments, load_reference, load_table

# R's optimizer stops with this much of the criterion left; ours must not be above it.
CRITERION = 1e-6
# Where R stops early, estimates differ by the root of what is left.
ESTIMATE, THETA = 1e-5, 1e-3
# Most evaluations that a reference model may take.
EVALUATIONS = 12


@functools.cache
def fitted(model_id):
    reference = load_reference(model_id)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return lmm.lmer(
            reference["formula"], load_table(reference["data"]), **fit_arguments(reference)
        )


def by_term(values):
    return list(values.values()) if isinstance(values, dict) else np.atleast_1d(values)


@pytest.mark.parametrize("model_id", MODEL_IDS)
def test_criterion_is_the_smallest_known(model_id):
    reference, fit = load_reference(model_id), fitted(model_id).fit
    assert fit.optimum.value <= reference["criterion"] + CRITERION
    # The recomputed value belongs to the estimates, and is no artefact of the search.
    at_theta = fit.criterion(fit.theta)
    assert fit.optimum.value == pytest.approx(at_theta, rel=1e-11)


@pytest.mark.parametrize("model_id", MODEL_IDS)
def test_certificate_holds(model_id):
    optimum = fitted(model_id).fit.optimum
    assert optimum.converged
    assert optimum.message == ""
    assert optimum.decrement <= max(1e-6, 1e-11 * abs(optimum.value))
    assert np.all(optimum.hessian_eigenvalues > 0.0)
    assert optimum.n_evaluations <= EVALUATIONS
    assert bool(optimum.boundary) == load_reference(model_id)["singular"]


@pytest.mark.parametrize("model_id", MODEL_IDS)
def test_estimates_of_r(model_id):
    reference, m = load_reference(model_id), fitted(model_id)
    errors = np.array(list(reference["se"].values()))
    beta = np.array(list(reference["fixef"].values()))
    assert list(m.fixef().index) == list(reference["fixef"])
    # A coefficient may be far below its standard error: differences are measured by the latter.
    np.testing.assert_allclose(m.beta / errors, beta / errors, rtol=ESTIMATE, atol=ESTIMATE * 10)
    np.testing.assert_allclose(np.sqrt(np.diag(m.fit.vcov)), errors, rtol=ESTIMATE * 10)
    assert m.sigma == pytest.approx(reference["sigma"], rel=ESTIMATE)
    np.testing.assert_allclose(m.theta, by_term(reference["theta"]), atol=THETA, rtol=THETA)


@pytest.mark.parametrize("model_id", MODEL_IDS)
def test_information_criteria_of_r(model_id):
    reference, m = load_reference(model_id), fitted(model_id)
    assert m.fit.n_parameters == reference["df"]
    assert m.nobs == reference["nobs"]
    assert m.aic() == pytest.approx(reference["AIC"], abs=1e-5)
    assert m.bic() == pytest.approx(reference["BIC"], abs=1e-5)
    assert float(m.loglik()) == pytest.approx(reference["logLik"], abs=1e-5)
    assert m.is_singular() == reference["singular"]
    assert dict(m.ngroups) == reference["ngrps"]


@pytest.mark.parametrize("model_id", MODEL_IDS)
def test_random_effects_of_r(model_id):
    reference, m = load_reference(model_id), fitted(model_id)
    tables = m.ranef()
    for group, expected in reference["ranef"].items():
        columns = np.atleast_1d(expected["cols"])
        actual = tables[group].loc[expected["levels"], columns].to_numpy()
        values = np.reshape(expected["values"], actual.shape)
        np.testing.assert_allclose(actual, values, atol=THETA * np.abs(values).max(initial=1e-6))


@pytest.mark.parametrize("model_id", [i for i in MODEL_IDS if load_reference(i)["condVar"]])
def test_conditional_variances_of_r(model_id):
    effects = fitted(model_id).ranef(condvar=True)
    for group, given in load_reference(model_id)["condVar"].items():
        columns = list(effects[group].columns)
        # R names the arrays by term where a factor has several, here of one column each.
        several = isinstance(given, dict)
        arrays = {(k,): v for k, v in given.items()} if several else {tuple(columns): given}
        for names, expected in arrays.items():
            values = np.moveaxis(np.array(expected), -1, 0)
            own = [columns.index(name) for name in names]
            actual = effects.condvar[group][: len(values)][:, own][:, :, own]
            atol = THETA * np.abs(values).max(initial=1e-6)
            np.testing.assert_allclose(actual, values, atol=atol)


@pytest.mark.parametrize("model_id", MODEL_IDS)
def test_fitted_values_of_r(model_id):
    reference, m = load_reference(model_id), fitted(model_id)
    sigma = reference["sigma"]
    head = len(reference["fitted_head"])
    np.testing.assert_allclose(
        m.fit.fitted[:head], reference["fitted_head"], atol=THETA * sigma, rtol=1e-8
    )
    np.testing.assert_allclose(
        m.fit.fixed_part[:head], reference["fitted_fixed_head"], atol=THETA * sigma, rtol=1e-8
    )
    np.testing.assert_allclose(m.fit.scaled_residuals[:head], reference["pearson_head"], atol=THETA)
    sumsq = float(m.fit.residuals @ m.fit.residuals)
    assert sumsq == pytest.approx(reference["resid_sumsq"], rel=THETA)
    assert m.fit.terms.pwrss == pytest.approx(reference["pwrss"], rel=THETA)


@pytest.mark.parametrize("model_id", ["sleep_slope", "pastes", "dietox_double", "sleep_weights"])
def test_spherical_effects_are_those_of_the_textbook(model_id):
    """B = Lambda u, y = X beta + Z b + residual, and pwrss is the penalized sum of squares."""
    fit: Fit = fitted(model_id).fit
    matrices = fit.matrices
    b = matrices.Lambdat(fit.theta).T @ fit.u
    np.testing.assert_allclose(b, np.concatenate([e.ravel() for e in fit.b]), atol=1e-8)
    residual = matrices.y - matrices.X @ fit.beta - matrices.Zt.T @ b
    np.testing.assert_allclose(residual, fit.residuals, atol=1e-8 * np.abs(matrices.y).max())
    weights = 1.0 if matrices.weights is None else matrices.weights
    pwrss = float(np.sum(weights * residual**2) + fit.u @ fit.u)
    assert pwrss == pytest.approx(fit.terms.pwrss, rel=1e-8)


def test_deviance_of_a_reml_fit_is_the_criterion_of_maximum_likelihood():
    fit = fitted("sleep_slope").fit
    ml = lmm.ProfiledCriterion(fit.matrices, reml=False)
    assert fit.deviance == pytest.approx(ml(fit.theta), rel=1e-12)
    assert fit.loglik == pytest.approx(-0.5 * fit.optimum.value)


def test_singular_means_zero_in_units_of_the_noise():
    fit = fitted("dyestuff2").fit
    assert fit.is_singular()
    assert fit.optimum.boundary == ("Batch.(Intercept)",)
    assert not fitted("sleep_slope").is_singular()
    assert fitted("sleep_slope").is_singular(tol=100.0)


def test_hessian_check_is_obeyed():
    rng = np.random.default_rng(0)
    data = {"y": rng.standard_normal(60), "g": np.repeat(list("abcdef"), 10)}
    with pytest.raises(lmm.DataError, match="does not depend on a random effect"):
        lmm.lmer("y ~ g + (1 | g)", data, control=lmm.LmerControl(check_conv_hess="stop"))
    quiet = lmm.lmer("y ~ g + (1 | g)", data, control=lmm.LmerControl(check_conv_hess="ignore"))
    assert not quiet.converged
    assert not any(isinstance(note, lmm.ConvergenceWarning) for note in quiet.warnings)
