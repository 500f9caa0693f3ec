"""The criterion: R's values at fixed theta, exact derivatives, invariance."""

import dataclasses
import pickle

import numpy as np
import pytest

import lmm
from lmm import ProfiledCriterion
from lmm._lapack import lower_triangular
from models import STRUCTURES, matrices, table
from reference import MODEL_IDS, fit_arguments, load_reference, load_table

NAMES = ["block", "sparse", "dense"]
# R prints 15 digits of values that two routes compute to about 1e-12.
VALUE = 1e-9
# Central differences with a step h lose h^2 by truncation and eps / h by rounding.
STEP, DIFFERENCE = 1e-5, 1e-6


def reference_criterion(model_id, name="auto"):
    reference = load_reference(model_id)
    arguments = {k: v for k, v in fit_arguments(reference).items() if k != "reml"}
    built = lmm.build_matrices(reference["formula"], load_table(reference["data"]), **arguments)
    return ProfiledCriterion(built, reml=reference["REML"], solver=name)


def assert_values_of_r(criterion, reference):
    for point in reference["criterion_at"]:
        theta = np.atleast_1d(np.asarray(point["theta"], dtype=float))
        assert criterion(theta) == pytest.approx(point["value"], rel=VALUE)


def central_differences(function, x, step=STEP):
    """Derivative of a function of x (m,), (m, ...)."""
    steps = step * np.eye(len(x))
    return np.array([(function(x + h) - function(x - h)) / (2.0 * step) for h in steps])


def inner_point(criterion, seed=3):
    """Whitened coordinates inside the bounds."""
    rng = np.random.default_rng(seed)
    x = 0.3 * rng.standard_normal(len(criterion.lower))
    return np.where(criterion.lower == 0.0, 0.5 + np.abs(x), x)


def assert_close(actual, expected, relative=DIFFERENCE):
    atol = relative * np.abs(expected).max()
    np.testing.assert_allclose(actual, expected, rtol=0.0, atol=atol)


@pytest.mark.parametrize("model_id", [i for i in MODEL_IDS if i != "insteval"])
def test_values_of_r_with_every_solver(model_id):
    reference = load_reference(model_id)
    for name in NAMES:
        assert_values_of_r(reference_criterion(model_id, name), reference)


@pytest.mark.parametrize("name", ["block", "sparse"])
def test_values_of_r_for_many_levels(name):
    assert_values_of_r(reference_criterion("insteval", name), load_reference("insteval"))


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("model", STRUCTURES)
def test_derivatives_are_those_of_the_value(model, reml):
    criterion = ProfiledCriterion(matrices(model), reml=reml)
    x = inner_point(criterion)
    here = criterion.evaluate(x)
    assert here.value == pytest.approx(criterion.value(x), rel=1e-12)
    assert_close(here.gradient, central_differences(criterion.value, x))
    if here.exact:
        differences = central_differences(lambda z: criterion.evaluate(z).gradient, x)
        assert_close(here.hessian, differences)


@pytest.mark.parametrize("model", STRUCTURES)
def test_derivatives_in_the_covariance(model):
    """Score and curvature in Gamma: differences in the entries of Gamma themselves."""
    criterion = ProfiledCriterion(matrices(model), solver="dense")
    x = inner_point(criterion)
    parts = matrices(model).theta_slices
    terms = matrices(model).terms

    def at(entries):
        target = np.empty_like(entries)
        for term, part in zip(terms, parts, strict=True):
            half = term.covariance.factor(entries[part])
            gamma = half + np.tril(half, -1).T
            target[part] = term.covariance.par(np.linalg.cholesky(gamma))
        return criterion.evaluate(target)

    gamma = np.concatenate(
        [
            (factor @ factor.T)[term.covariance.pattern]
            for term, factor in zip(terms, criterion.factors(x), strict=True)
        ]
    )
    here = at(gamma)
    assert_close(here.score, central_differences(lambda g: at(g).value, gamma))
    assert_close(here.curvature, central_differences(lambda g: at(g).score, gamma))
    assert np.linalg.eigvalsh(here.information)[0] > 0.0


@pytest.mark.parametrize("model", STRUCTURES)
def test_gradient_on_lme4s_scale(model):
    criterion = ProfiledCriterion(matrices(model))
    theta = criterion.to_theta(inner_point(criterion))
    value, gradient = criterion.value_and_gradient(theta)
    assert value == pytest.approx(criterion(theta), rel=1e-12)
    assert_close(gradient, central_differences(criterion, theta))


@pytest.mark.parametrize("model", STRUCTURES)
def test_whitened_coordinates_are_another_name_for_theta(model):
    criterion = ProfiledCriterion(matrices(model))
    x = inner_point(criterion)
    theta = criterion.to_theta(x)
    np.testing.assert_allclose(criterion.to_x(theta), x, rtol=1e-10, atol=1e-12)
    assert criterion(theta) == pytest.approx(criterion.value(x), rel=1e-12)


def test_expected_hessian_is_the_mean_of_hessians():
    """Over responses drawn from the model, the mean Hessian in Gamma is the information."""
    built = matrices("two terms, one factor")
    criterion = ProfiledCriterion(built)
    x = inner_point(criterion)
    theta = criterion.to_theta(x)
    rng = np.random.default_rng(11)
    noise = rng.standard_normal((1000, built.n)) / np.sqrt(built.weights)
    u = rng.standard_normal((1000, built.q))
    responses = u @ (built.Lambdat(theta) @ built.Zt).toarray() + noise
    hessians = [criterion.with_response(y).evaluate(x).curvature for y in responses]
    mean, error = np.mean(hessians, axis=0), np.std(hessians, axis=0) / np.sqrt(1000)
    information = criterion.evaluate(x).information
    assert np.all(np.abs(mean - information) < 4.5 * error + 0.01 * np.abs(information).max())


def test_zero_theta_is_least_squares():
    built = matrices("crossed, one slope")
    criterion = ProfiledCriterion(built, reml=False)
    w = np.sqrt(built.weights)
    beta, *_ = np.linalg.lstsq(built.X * w[:, None], built.y * w, rcond=None)
    rss = np.sum((w * (built.y - built.X @ beta)) ** 2)
    deviance = built.n * (1.0 + np.log(2.0 * np.pi * rss / built.n)) - np.log(built.weights).sum()
    assert criterion(np.zeros(len(criterion.lower))) == pytest.approx(deviance, rel=1e-12)


def test_another_response_is_another_model():
    built = matrices("nested and crossed")
    y = np.cos(np.arange(built.n)) + built.y
    direct = lmm.build_matrices(
        STRUCTURES["nested and crossed"],
        table() | {"y": y},
        weights="weight",
    )
    criterion = ProfiledCriterion(built)
    theta = np.array([0.7, 0.4, 1.1])
    expected = ProfiledCriterion(direct)(theta)
    assert criterion.with_response(y)(theta) == pytest.approx(expected, rel=1e-12)


def test_theta_of_the_wrong_length_is_refused():
    criterion = ProfiledCriterion(matrices("crossed"))
    with pytest.raises(ValueError, match=r"2 covariance parameters: a.\(Intercept\), b"):
        criterion(np.ones(3))


def test_lower_triangular_roots():
    rng = np.random.default_rng(0)
    factor = rng.standard_normal((4, 6))
    L = lower_triangular(factor)
    np.testing.assert_allclose(L @ L.T, factor @ factor.T, atol=1e-12)
    assert np.all(np.triu(L, 1) == 0.0)
    assert np.all(np.diag(L) >= 0.0)


def test_an_elimination_is_handed_on_only_to_the_point_it_was_made_at():
    criterion = ProfiledCriterion(matrices("crossed"))
    x = lmm.minimize(criterion).x
    value, state = criterion.value_and_state(x)
    assert value == criterion.value(x)
    kept = criterion.point(x, state)
    assert kept is criterion.point(x, state)
    assert kept.terms == criterion.point(x).terms
    moved = criterion.point(x + 0.1, state)
    assert moved.terms == criterion.point(x + 0.1).terms != kept.terms
    other = criterion.with_response(criterion.matrices.y[::-1].copy())
    assert other.point(x, state).pls is other.pls


def test_what_was_handed_on_does_not_stay():
    criterion = ProfiledCriterion(matrices("crossed"))
    optimum = dataclasses.replace(lmm.minimize(criterion), state="anything")
    assert lmm.LinearMixedModel.at(criterion, optimum).optimum.state is None
    assert pickle.loads(pickle.dumps(optimum)).state is None


def test_a_search_hands_on_what_its_last_step_eliminated():
    data = lmm.load_dataset("dietox")
    criterion = ProfiledCriterion(lmm.build_matrices("Weight ~ Time + (Time | Pig)", data))
    optimum = lmm.minimize(criterion)
    assert criterion.point(optimum.x, optimum.state) is optimum.state.point


def test_errors_that_do_not_exist_cost_no_elimination(monkeypatch):
    criterion = ProfiledCriterion(matrices("crossed"))
    monkeypatch.setattr(ProfiledCriterion, "point", None)
    assert not criterion.is_estimated
    assert lmm.minimize(criterion).error == 0.0
