"""The likelihood in absolute factors, names of variance parameters, Wald intervals."""

import numpy as np
import pytest

import lmm
from lmm.covariance import Diagonal
from lmm.inference.variance.laplace import likelihood_of
from lmm.inference.variance.reported import (
    find_parameter,
    variance_parameters,
)
from lmm.inference.variance.wald import wald_limits

# Central differences of step 1e-5 in functions of size 1e3 leave about 1e-7.
DIFFERENCES = 1e-6

MODELS = {
    "slopes": ("Reaction ~ Days + (Days | Subject)", "sleepstudy"),
    "independent": ("Reaction ~ Days + (Days || Subject)", "sleepstudy"),
    "nested": ("strength ~ 1 + (1 | batch/cask)", "Pastes"),
}


def fitted(model, reml=True):
    formula, data = MODELS[model]
    return lmm.lmer(formula, lmm.load_dataset(data), reml=reml)


def likelihood_at(fit, reverse):
    orders = tuple(
        np.arange(term.size)[:: -1 if reverse and not isinstance(term.covariance, Diagonal) else 1]
        for term in fit.matrices.terms
    )
    likelihood = likelihood_of(fit.criterion, orders)
    return likelihood, likelihood.coordinates(fit.theta, fit.sigma)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("reverse", [True, False])
def test_the_fit_is_stationary(model, reml, reverse):
    m = fitted(model, reml)
    likelihood, z = likelihood_at(m.fit, reverse)
    here = likelihood.evaluate(z)
    assert here.value == pytest.approx(m.optimum.value, abs=1e-9)
    assert np.abs(here.gradient).max() < 1e-4


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("reverse", [True, False])
def test_derivatives_agree_with_differences(model, reml, reverse):
    likelihood, z = likelihood_at(fitted(model, reml).fit, reverse)
    z = z + 0.1 * np.arange(1.0, len(z) + 1.0)
    here, step = likelihood.evaluate(z), 1e-5
    moves = step * np.eye(len(z))
    ahead = [likelihood.evaluate(z + move) for move in moves]
    behind = [likelihood.evaluate(z - move) for move in moves]
    slopes = [(a.value - b.value) / (2 * step) for a, b in zip(ahead, behind, strict=True)]
    bends = [(a.gradient - b.gradient) / (2 * step) for a, b in zip(ahead, behind, strict=True)]
    scale = np.abs(here.hessian).max()
    np.testing.assert_allclose(slopes, here.gradient, atol=DIFFERENCES * scale)
    np.testing.assert_allclose(bends, here.hessian, atol=DIFFERENCES * scale)


def test_covariances_come_back_in_the_terms_order():
    m = fitted("slopes")
    likelihood, z = likelihood_at(m.fit, reverse=True)
    np.testing.assert_allclose(likelihood.covariances(z)[0], m.fit.covariances[0], rtol=1e-9)
    np.testing.assert_allclose(likelihood.beta(z), m.beta, rtol=1e-9)


@pytest.mark.parametrize(
    "spelling, name",
    [
        ("sd_Days|Subject", "sd_Days|Subject"),
        ("var_(Intercept)|Subject", "var_(Intercept)|Subject"),
        ("Days Var", "var_Days|Subject"),
        ("Subject Var", "var_(Intercept)|Subject"),
        ("Group Var", "var_(Intercept)|Subject"),
        ("Subject x Days Cov", "cov_Days.(Intercept)|Subject"),
        ("scale", "sigma^2"),
        ("sigma", "sigma"),
    ],
)
def test_spellings(spelling, name):
    assert find_parameter(fitted("slopes").fit.matrices, spelling).name == name


def test_unknown_names_suggest_the_nearest():
    matrices = fitted("slopes").fit.matrices
    with pytest.raises(ValueError, match=r"Did you mean 'sd_Days\|Subject'"):
        find_parameter(matrices, "sd_Day|Subject")
    with pytest.raises(ValueError, match="Did you mean 'Days Var'"):
        find_parameter(matrices, "Day Var")
    with pytest.raises(ValueError, match="'sdcor' or 'varcov'"):
        variance_parameters(matrices, "sd")


def test_values_of_many_fits_are_those_of_each():
    fit = fitted("slopes").fit
    parameters = variance_parameters(fit.matrices)
    each = [parameter.value(fit.covariances, fit.sigma) for parameter in parameters]
    both = [np.stack([fit.covariances[0]] * 2)]
    many = [parameter.value(both, np.full(2, fit.sigma)) for parameter in parameters]
    np.testing.assert_allclose(many, np.transpose([each, each]), rtol=1e-14)
    zero = [parameter.value([np.zeros((1, 2, 2))], np.ones(1)) for parameter in parameters]
    np.testing.assert_array_equal(zero, [[0.0], [np.nan], [0.0], [1.0]])


def test_wald_limits_of_balanced_one_way_data_are_known():
    # Balanced one-way REML: s^2 and t^2 (the mean squares) are independent, with variances
    # 2 s^4 / df; log sigma has standard error sqrt(1 / (2 df)).
    m = lmm.lmer("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff"))
    within, between, size = 24, 5, 5
    top = m.sigma**2 + size * m.fit.covariances[0][0, 0]
    variance = (2 * top**2 / between + 2 * m.sigma**4 / within) / size**2
    log_se = np.sqrt(variance) / (2 * m.fit.covariances[0][0, 0])
    limits = np.log(wald_limits(m.fit, 0.95))
    half = 1.959963984540054 * np.array([log_se, np.sqrt(0.5 / within)])
    np.testing.assert_allclose(0.5 * np.diff(limits, axis=1)[:, 0], half, rtol=1e-6)


def test_wald_limits_on_the_boundary_are_missing():
    with pytest.warns(lmm.SingularFitWarning):
        m = lmm.lmer("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff2"))
    assert np.isnan(wald_limits(m.fit, 0.95)).all()
