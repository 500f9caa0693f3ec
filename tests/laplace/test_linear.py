"""A linear model is the generalized one with the identity link: the same criterion, to rounding."""

from types import SimpleNamespace

import numpy as np
import pytest

import lmm
import lmm.pls
from lmm.laplace import LaplaceCriterion
from models import SOLVERS, matrices, pairs


def profiled(model):
    """Deviance at lme4's start, with its gradient, and the estimates that belong to it."""
    criterion = lmm.ProfiledCriterion(matrices(model), reml=False)
    theta = criterion.start
    value, gradient = criterion.value_and_gradient(theta)
    problem, factors = criterion.problem, criterion.whitened(theta)
    solution = criterion.pls.at(factors).solution()
    variance = solution.terms.pwrss * problem.scale**2 / criterion.matrices.n
    theta = theta * np.sqrt(variance)
    return value, gradient, theta, problem.beta(solution.beta), variance


@pytest.mark.parametrize("model, name", [*pairs(), *((m, "dense") for m, n in pairs()[::7])])
def test_deviance_and_gradient(model, name):
    """At the best beta and sigma their slopes vanish, and that in theta is the profile's."""
    solver = SimpleNamespace(name=name, bind=SOLVERS.get(name) or lmm.pls.DensePLS)
    value, gradient, theta, beta, variance = profiled(model)
    criterion = LaplaceCriterion(matrices(model), lmm.Gaussian(), solver=solver)
    x = criterion.to_x(np.concatenate([theta, beta, [variance]]))
    here = criterion.evaluate(x)
    assert here.value == pytest.approx(value, rel=1e-10)
    size = max(1.0, np.abs(gradient).max())
    m = len(theta)
    # sigma moves the covariances too, which are relative to it there and absolute here
    along_sigma = here.gradient[-1] + 0.5 * x[:m] @ here.gradient[:m]
    np.testing.assert_allclose(here.gradient[m:-1], 0.0, atol=1e-7 * max(1.0, abs(value)))
    np.testing.assert_allclose(along_sigma, 0.0, atol=1e-7 * max(1.0, abs(value)))
    step = 1e-6
    for i, unit in enumerate(np.eye(m)):
        ahead = criterion.to_x(np.concatenate([theta + step * unit, beta, [variance]]))
        change = here.gradient @ (ahead - x) / step * np.sqrt(variance)
        assert change == pytest.approx(gradient[i], abs=1e-4 * size)


@pytest.mark.parametrize("model", ["sleep_slope_ml", "penicillin", "pastes", "nested and crossed"])
def test_optimum(model):
    criterion = LaplaceCriterion(matrices(model), lmm.Gaussian())
    optimum = lmm.minimize(criterion)
    linear = lmm.minimize(lmm.ProfiledCriterion(matrices(model), reml=False))
    assert optimum.converged
    assert optimum.value == pytest.approx(linear.value, rel=1e-10)
