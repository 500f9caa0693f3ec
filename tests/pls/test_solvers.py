"""Every solver agrees with the dense oracle on every model of the table, at every kind of point."""

import dataclasses
import functools
import pickle

import numpy as np
import pytest
from scipy.linalg import eigh

import lmm
from lmm.pls import DensePLS, Sparse, named, standardize
from lmm.pls.inverse import row_quadratic
from models import (
    MODELS,
    STRUCTURES,
    criterion,
    crossed,
    factors_at,
    matrices,
    pairs,
    points,
    problem,
    solver,
)

# Two routes to a log determinant or a sum of squares differ by rounding ...
VALUE = 1e-10
# ... which derivatives amplify by the size of Z'Z lambda lambda', up to 1e3 here.
DERIVATIVE = 1e-8
# Differences of derivatives with these errors, over steps of 1e-6 to 1e-3.
DIFFERENCED = 2e-5


@functools.cache
def dense_derivatives(model, point, reml):
    return solver(model, "dense").at(factors_at(model, point)).derivatives(reml)


@functools.cache
def dense_solution(model, point):
    return solver(model, "dense").at(factors_at(model, point)).solution()


def assert_close(actual, expected, relative, size=0.0):
    actual, expected = np.asarray(actual), np.asarray(expected)
    scale = np.abs(expected).max(initial=max(size, 1e-300))
    np.testing.assert_allclose(actual, expected, rtol=0.0, atol=relative * scale)


def assert_terms(actual, expected):
    # A log determinant near zero is a difference of numbers of order one.
    for name in ("logdet_L", "logdet_RX"):
        value = getattr(expected, name)
        assert getattr(actual, name) == pytest.approx(value, rel=VALUE, abs=VALUE * 10)
    assert actual.pwrss == pytest.approx(expected.pwrss, rel=VALUE)


@pytest.mark.parametrize("model, name", pairs())
def test_values(model, name):
    for point in points(model):
        expected = dense_solution(model, point).terms
        assert_terms(solver(model, name).at(factors_at(model, point)).terms, expected)


def assert_same_size(model, scoring, trace, large):
    """What the first steps take for the information is never much less than it.

    It is more where a chain of factors is handled as if crossed, and steps are shorter.
    """
    parameters = matrices(model).parameters
    S = parameters.units(parameters.start)
    ratios = eigh(S @ scoring @ S.T, S @ trace @ S.T, eigvals_only=True)
    assert ratios[0] > 0.3
    assert large or ratios[-1] < 10.0


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("model, name", pairs())
def test_derivatives(model, name, reml):
    for point in points(model):
        expected = dense_derivatives(model, point, reml)
        actual = solver(model, name).at(factors_at(model, point)).derivatives(reml)
        assert_terms(actual.terms, expected.terms)
        for own, others in (
            (actual.logdet, expected.logdet),
            (actual.quadratic, expected.quadratic),
        ):
            for block, other in zip(own, others, strict=True):
                assert_close(block, other, DERIVATIVE)
        assert_close(actual.average, expected.average, DERIVATIVE)
        if actual.trace is not None:
            assert_close(actual.trace, expected.trace, DERIVATIVE)
        assert_same_size(model, actual.scoring, expected.trace, point == "large")


@pytest.mark.parametrize("model, name", [pair for pair in pairs() if pair[0] in STRUCTURES])
def test_second_derivatives_are_exact_whatever_the_solver(model, name):
    """Solvers without the exact trace leave it to differences of the exact gradient."""
    for point in points(model):
        factors = factors_at(model, point)
        parameters = matrices(model).parameters
        units = parameters.units(parameters.start)
        _, entries = criterion(model, name).exactly(factors, units)
        _, expected = criterion(model, "dense").exactly(factors, units)
        scale = np.sqrt(np.diag(expected.trace))
        error = (entries.trace - expected.trace) / np.outer(scale, scale)
        assert np.abs(error).max() < DIFFERENCED


@pytest.mark.parametrize("model, name", pairs())
def test_solutions(model, name):
    for point in points(model):
        expected = dense_solution(model, point)
        actual = solver(model, name).at(factors_at(model, point)).solution()
        covariance = expected.fixed_root @ expected.fixed_root.T
        # Where GLS is OLS, as for balanced data, beta is zero: compare with its standard errors.
        errors = np.sqrt(np.diag(covariance))
        np.testing.assert_array_less(np.abs(actual.beta - expected.beta), DERIVATIVE * errors)
        assert_close(actual.fixed_root @ actual.fixed_root.T, covariance, DERIVATIVE)
        for own, other in zip(actual.effects, expected.effects, strict=True):
            # The response has size 1; effects of a singular factor are zero.
            assert_close(own, other, DERIVATIVE, size=1.0)


@pytest.mark.parametrize("model, name", pairs())
def test_inverses(model, name):
    """Products with D, its blocks at any pairs of levels, and z'Dz of the rows."""
    rng, groups = np.random.default_rng(5), problem(model).groups
    right = tuple(rng.standard_normal((3, group.size, group.n_levels)) for group in groups)
    for point in points(model):
        expected = solver(model, "dense").at(factors_at(model, point))
        actual = solver(model, name).at(factors_at(model, point))
        for own, other in zip(actual.solve(right), expected.solve(right), strict=True):
            assert_close(own, other, DERIVATIVE, size=1.0)
        for own, other in zip(actual.diagonal, expected.diagonal, strict=True):
            assert_close(own, other, DERIVATIVE, size=1.0)
        for g, left in enumerate(groups):
            for h, other in enumerate(groups):
                i, j = rng.integers(left.n_levels, size=20), rng.integers(other.n_levels, size=20)
                blocks = expected.blocks(g, h, i, j)
                assert_close(actual.blocks(g, h, i, j), blocks, DERIVATIVE, size=1.0)
        quadratic = row_quadratic(expected, groups)
        assert_close(row_quadratic(actual, groups), quadratic, DERIVATIVE, size=1.0)
        Z, D = problem(model).dense_Z(), expected.D
        assert_close(quadratic, np.einsum("ij,jk,ik->i", Z, D, Z, optimize=True), DERIVATIVE)


@pytest.mark.parametrize("model, name", pairs())
def test_another_response(model, name):
    y = matrices(model).y
    other = y[::-1] + np.linspace(0.0, np.std(y), len(y))
    factors = factors_at(model, "identity")
    actual = solver(model, name).with_response(other)
    expected = DensePLS(actual.problem)
    assert_terms(actual.at(factors).terms, expected.at(factors).terms)
    assert_close(
        actual.at(factors).derivatives(True).quadratic[0],
        expected.at(factors).derivatives(True).quadratic[0],
        DERIVATIVE,
    )


@pytest.mark.parametrize("model, name", [pair for pair in pairs() if pair[0] in STRUCTURES])
def test_a_fixed_effect_held_at_a_value(model, name):
    """Fewer columns beside the same random effects."""
    factors = factors_at(model, "large")
    for j in range(problem(model).p):
        held = problem(model).fixing(j, 0.3)
        actual = solver(model, name).with_problem(held).at(factors)
        assert_terms(actual.terms, DensePLS(held).at(factors).terms)


def other_rows(model):
    """Weights and a response that are not those of the model, and its matrices with them."""
    built, rng = matrices(model), np.random.default_rng(8)
    weights = rng.uniform(0.05, 3.0, built.n) * built.weights
    y = built.y[::-1] + built.y.std() * rng.standard_normal(built.n)
    response = dataclasses.replace(built.response, y=y, weights=weights)
    return weights, y, dataclasses.replace(built, response=response)


def original_units(pls, theta):
    """Log determinants, pwrss, beta and b at lme4's theta, whatever the whitening."""
    problem = pls.problem
    factors = problem.matrices.factors(theta)
    whitened = tuple(R @ factor for R, factor in zip(problem.whitening, factors, strict=True))
    point = pls.at(whitened)
    solution = point.solution()
    assert point.logdet == point.terms.logdet_L
    return (
        point.logdet,
        point.terms.logdet_RX + problem.logdet_T,
        point.terms.pwrss * problem.scale**2,
        problem.beta(solution.beta),
        np.concatenate([b.ravel() for b in problem.effects(solution.effects)]),
    )


@pytest.mark.parametrize("model, name", pairs())
def test_other_weights_keep_the_layout(model, name):
    weights, y, built = other_rows(model)
    theta = 0.7 * built.parameters.start
    again = solver(model, name).reweighted(weights, y)
    expected = original_units(DensePLS(standardize(built)), theta)
    for actual, value in zip(original_units(again, theta), expected, strict=True):
        assert_close(actual, value, DERIVATIVE)
    assert again.problem.layout is solver(model, name).problem.layout
    back = again.with_response(matrices(model).y).with_response(y)
    for actual, value in zip(original_units(back, theta), expected, strict=True):
        assert_close(actual, value, DERIVATIVE)


@pytest.mark.parametrize("model, name", pairs())
def test_random_effects_alone(model, name):
    weights, _, _ = other_rows(model)
    factors = factors_at(model, "identity")
    both = solver(model, name).reweighted(weights, matrices(model).y).at(factors)
    alone = solver(model, name).reweighted(weights).at(factors)
    assert alone.logdet == pytest.approx(both.logdet, rel=1e-14)


@pytest.mark.parametrize("model", ["three columns", "nested thrice", "crossed, all slopes"])
def test_solvers_survive_pickling(model):
    factors = factors_at(model, "small")
    for name in [name for other, name in pairs() if other == model]:
        original = solver(model, name)
        copy = pickle.loads(pickle.dumps(original))
        assert copy.at(factors).terms == original.at(factors).terms


@pytest.mark.parametrize("model", MODELS)
def test_the_automatic_choice_says_what_and_why(model):
    chosen = named("auto").bind(problem(model))
    assert chosen.description.startswith(f"{chosen.name}: ")


def pupils_and_raters(rng, n=1500):
    """Pupils in classes in schools, crossed with raters."""
    pupil, rater = rng.integers(0, 400, n), rng.integers(0, 12, n)
    y = rng.standard_normal(400)[pupil] + rng.standard_normal(80)[pupil // 5]
    y += rng.standard_normal(12)[rater] + rng.standard_normal(n)
    factors = {"p": pupil, "c": pupil // 5, "s": pupil // 40, "r": rater}
    columns = {name: np.char.add(name, codes.astype(str)) for name, codes in factors.items()}
    return {"y": y, "x": rng.standard_normal(n), **columns}


def test_a_chain_keeps_its_closed_form_beside_crossed_factors():
    table = pupils_and_raters(np.random.default_rng(6))
    problem = standardize(
        lmm.build_matrices("y ~ x + (x | p) + (1 | c) + (1 | s) + (1 | r)", table)
    )
    chosen = named("auto").bind(problem)
    assert chosen.description.endswith("in 10 levels of s; dense tail of 12 columns for r")
    factors = tuple(0.8 * np.eye(term.size) for term in problem.matrices.terms)
    expected = crossed(problem).at(factors)
    assert_terms(chosen.at(factors).terms, expected.terms)
    pairs_of_slopes = zip(
        chosen.at(factors).derivatives(True).logdet, expected.derivatives(True).logdet, strict=True
    )
    for own, other in pairs_of_slopes:
        assert_close(own, other, DERIVATIVE)


def pupils_and_words(rng, n=700):
    """Pupils crossed with words, both with slopes."""
    pupil, word = rng.integers(0, 150, n), rng.integers(0, 140, n)
    x, z = rng.standard_normal((2, n))
    y = rng.standard_normal(150)[pupil] * (1 + x) + rng.standard_normal(140)[word] * z
    columns = {"p": np.char.add("p", pupil.astype(str)), "w": np.char.add("w", word.astype(str))}
    return {"y": y + rng.standard_normal(n), "x": x, "z": z, **columns}


# of which the second is regular, and the others are nearly or altogether singular
@pytest.mark.parametrize("least", [0.0, 0.3, 1e-5])
def test_a_large_tail(least):
    table = pupils_and_words(np.random.default_rng(4))
    problem = standardize(lmm.build_matrices("y ~ x + (x | p) + (z | w)", table))
    own = np.array([[1.5, 0.0], [-0.7, least]])
    point, dense = (pls.at((own, own)) for pls in (crossed(problem), DensePLS(problem)))
    assert point.pls.dense_size > 256
    assert_terms(point.terms, dense.terms)
    found, expected = point.derivatives(True), dense.derivatives(True)
    for name in ("logdet", "quadratic"):
        for one, other in zip(getattr(found, name), getattr(expected, name), strict=True):
            assert_close(one, other, DERIVATIVE)
    assert_close(found.average, expected.average, DERIVATIVE)


@pytest.mark.parametrize("wrong", [3, None, DensePLS, Sparse, np.ones(2)])
def test_what_is_no_solver_is_refused(wrong):
    with pytest.raises(TypeError, match="solver must be one of 'auto'"):
        named(wrong)


def test_a_bound_problem_is_no_solver():
    bound = solver("crossed", "crossed")
    with pytest.raises(TypeError, match=r"not a BlockPLS\. It holds options, and no data"):
        named(bound)
    with pytest.raises(ValueError, match="other matrices"):
        lmm.ProfiledCriterion(matrices("nested"), bound=bound)


def test_an_unknown_library_is_refused():
    with pytest.raises(ValueError, match="'cholmod' or 'scipy', not 'pardiso'"):
        Sparse("pardiso")


def test_options_fit_the_data_they_are_given():
    data = lmm.load_dataset("sleepstudy")
    other = data.assign(Reaction=data["Reaction"].to_numpy()[::-1])
    m = lmm.lmer("Reaction ~ Days + (Days | Subject)", data, solver=Sparse("scipy"))
    assert m.optimum.solver.startswith("sparse: ")
    assert m.update(data=other).fixef()["Days"] == pytest.approx(-m.fixef()["Days"])
    weights = np.repeat([1.0, 9.0], 90)
    expected = lmm.lmer("Reaction ~ Days + (Days | Subject)", data, weights=weights).fixef()
    np.testing.assert_allclose(m.update(weights=weights).fixef(), expected, rtol=1e-6)


def test_an_unknown_solver_is_named_with_the_nearest():
    with pytest.raises(ValueError, match=r"'blok'.*block"):
        named("blok")
