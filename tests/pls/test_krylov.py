"""The iterative solver: exact where all directions are taken out, else within its own error."""

import itertools

import numpy as np
import pytest

import lmm
from lmm.pls import DensePLS, Krylov, KrylovPLS, Sparse, costs, standardize
from lmm.pls.krylov import space, system, variances
from lmm.pls.products import KnownProducts
from lmm.pls.sparse.cholesky import SparseTail
from models import crossed

CROSSED = "y ~ x + (1 | a) + (1 | b)"
SLOPES = "y ~ x + (x | a) + (z | b) + (1 | c)"
FORMULAS = [CROSSED, SLOPES, "y ~ x + (x | a) + (x || b)"]
# Coarse: few directions are taken out, and the probes have something to do.
COARSE = Krylov(tolerance=100.0)


@pytest.fixture
def few_directions(monkeypatch):
    """No group of the tail is taken out altogether."""
    monkeypatch.setattr(space, "FEW", 0)


def table(n=1900, levels=(90, 80, 20), seed=3):
    rng = np.random.default_rng(seed)
    a, b, c = (rng.integers(0, count, n) for count in levels)
    x, z = rng.standard_normal((2, n))
    y = x + rng.standard_normal(levels[0])[a] + rng.standard_normal(levels[1])[b] * (1 + 0.5 * z)
    return {"y": y + rng.standard_normal(n), "x": x, "z": z, "a": a, "b": b, "c": c}


def problem_of(formula, **options):
    return standardize(lmm.build_matrices(formula, table(**options)))


def random_factors(problem, seed, zero=False):
    """Factors between e^-1 and e^1 in size; the last column of each is zero if `zero`."""
    rng = np.random.default_rng(seed)
    factors = []
    for term in problem.matrices.terms:
        factor = np.tril(rng.standard_normal((term.size, term.size))) * np.exp(rng.uniform(-1, 1))
        factor[:, -1] *= not zero
        factors.append(
            factor if term.covariance.n_units > term.size else np.diag(factor.diagonal())
        )
    return tuple(factors)


def assert_close(actual, expected, relative):
    scale = np.abs(expected).max(initial=1e-300)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=relative * scale)


# Everything but the log determinant is exact ----------------------------------------------------


@pytest.mark.parametrize("zero", [False, True])
@pytest.mark.parametrize("formula", FORMULAS)
def test_all_but_the_log_determinant_is_exact(formula, zero):
    problem = problem_of(formula)
    solver, oracle = KrylovPLS.build(problem, COARSE), DensePLS(problem)
    factors = random_factors(problem, 1, zero)
    point, expected = solver.at(factors), oracle.at(factors)
    assert point.terms.logdet_RX == pytest.approx(expected.terms.logdet_RX, rel=1e-9)
    assert point.terms.pwrss == pytest.approx(expected.terms.pwrss, rel=1e-10)
    found, right = point.solution(), expected.solution()
    np.testing.assert_allclose(found.beta, right.beta, rtol=1e-9, atol=1e-12)
    assert_close(found.fixed_root @ found.fixed_root.T, right.fixed_root @ right.fixed_root.T, 1e-9)
    for own, other in zip(found.effects, right.effects, strict=True):
        assert_close(own, other, 1e-8)
    for reml in (True, False):
        found, right = point.derivatives(reml), expected.derivatives(reml)
        assert found.trace is None
        assert_close(found.average, right.average, 1e-9)
        for own, other in zip(found.quadratic, right.quadratic, strict=True):
            assert_close(own, other, 1e-9)


@pytest.mark.parametrize("formula", FORMULAS)
def test_all_is_exact_where_all_directions_are_taken_out(formula, monkeypatch):
    monkeypatch.setattr(space, "FEW", 1000)
    problem = problem_of(formula)
    solver, oracle = KrylovPLS.build(problem, COARSE), DensePLS(problem)
    factors = random_factors(problem, 2)
    point, expected = solver.at(factors), oracle.at(factors)
    assert point.logdet == pytest.approx(expected.logdet, rel=1e-12)
    assert np.abs(point.sampling()).max() < 1e-20
    found, right = point.derivatives(True), expected.derivatives(True)
    for own, other in zip(found.logdet, right.logdet, strict=True):
        assert_close(own, other, 1e-9)


def test_the_tail_multiplies_in_pieces_as_it_does_in_one(monkeypatch):
    problem = problem_of(SLOPES)
    factors = random_factors(problem, 3)
    whole = KrylovPLS.build(problem, COARSE).at(factors)
    monkeypatch.setattr(system, "PAIRS", 500)
    monkeypatch.setattr(system, "COLUMNS", 3)
    pieces = KrylovPLS.build(problem, COARSE)
    assert len(pieces.system.pieces) > 3
    point = pieces.at(factors)
    assert point.logdet == pytest.approx(whole.logdet, rel=1e-12)
    found, right = point.derivatives(True), whole.derivatives(True)
    for own, other in zip(found.logdet, right.logdet, strict=True):
        assert_close(own, other, 1e-10)


def test_no_rows_are_needed():
    problem = problem_of(SLOPES)
    products = problem.products
    pairs = {
        (g, h): products.pairs(g, h)
        for g, h in itertools.combinations(range(len(problem.groups)), 2)
    }
    gone = KnownProducts(products.groups, products.grams, products.couplings, pairs)
    without = lmm.pls.Problem(
        problem.matrices, problem.layout, gone, problem.base, problem.beta0, problem.scale
    )
    factors = random_factors(problem, 4)
    point = KrylovPLS.build(without, COARSE).at(factors)
    expected = KrylovPLS.build(problem, COARSE).at(factors)
    assert point.terms == expected.terms
    assert_close(point.solution().effects[1], expected.solution().effects[1], 1e-12)


# The log determinant --------------------------------------------------------------------------


@pytest.mark.parametrize("formula", FORMULAS)
def test_the_log_determinant_is_within_its_error(formula, few_directions):
    problem = problem_of(formula)
    factors = random_factors(problem, 5)
    expected = DensePLS(problem).at(factors)
    scores, slopes = [], []
    exact = np.concatenate([G.ravel() for G in expected.derivatives(False).logdet])
    for seed in range(20):
        point = KrylovPLS.build(problem, Krylov(100.0, seed=seed)).at(factors)
        covariance = point.sampling()
        error = np.sqrt(covariance.diagonal())
        scores.append((point.logdet - expected.logdet) / error[0])
        found = np.concatenate([G.ravel() for G in point.derivatives(False).logdet])
        slopes.append((found - exact) / error[1:])
        assert np.linalg.eigvalsh(covariance)[0] > -1e-12 * covariance.max()
    assert 0.6 < np.sqrt(np.mean(np.square(scores))) < 1.5
    assert 0.6 < np.sqrt(np.mean(np.square(slopes))) < 1.6


@pytest.mark.parametrize("zero", [False, True])
@pytest.mark.parametrize("formula", FORMULAS)
def test_the_gradient_is_that_of_the_value(formula, zero, few_directions):
    problem = problem_of(formula)
    solver = KrylovPLS.build(problem, COARSE)
    factors = random_factors(problem, 6, zero)
    slopes = solver.at(factors).derivatives(False).logdet
    for i, factor in enumerate(factors):
        for entry in zip(*np.nonzero(np.tril(np.ones_like(factor))), strict=True):
            if factor[entry] == 0.0 and factor.shape[0] > 1 and entry[0] != entry[1]:
                continue  # not an entry of this term's factor

            def value(step, i=i, entry=entry):
                moved = [each.copy() for each in factors]
                moved[i][entry] += step
                return solver.at(tuple(moved)).logdet

            step = 1e-4
            ahead, behind = value(step) - value(-step), value(2 * step) - value(-2 * step)
            expected = (8.0 * ahead - behind) / (12.0 * step)
            found = 2.0 * (slopes[i] @ factor)[entry]
            assert found == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_the_log_determinant_depends_on_covariances_alone(few_directions):
    problem = problem_of(SLOPES)
    solver = KrylovPLS.build(problem, COARSE)
    factors = random_factors(problem, 7)
    rng = np.random.default_rng(0)
    turned = tuple(L @ np.linalg.qr(rng.standard_normal(L.shape))[0] for L in factors)
    assert solver.at(turned).logdet == pytest.approx(solver.at(factors).logdet, rel=1e-12)


def test_more_is_taken_out_and_drawn_where_the_tolerance_asks_for_it(few_directions):
    problem = problem_of(CROSSED)
    factors = random_factors(problem, 8)
    coarse, fine = (KrylovPLS.build(problem, Krylov(tolerance)) for tolerance in (100.0, 1e-4))
    assert fine.space.Q.shape[1] > coarse.space.Q.shape[1]
    exact = DensePLS(problem).at(factors).logdet
    wide, narrow = (np.sqrt(each.at(factors).sampling()[0, 0]) for each in (coarse, fine))
    assert 10 * narrow < wide
    assert abs(fine.at(factors).logdet - exact) < 5 * narrow


def test_a_seed_makes_one_function():
    problem = problem_of(CROSSED)
    factors = random_factors(problem, 9)
    one, same, other = (
        KrylovPLS.build(problem, Krylov(100.0, seed=seed)).at(factors).logdet for seed in (1, 1, 2)
    )
    assert one == same
    assert one != other


def test_another_response_has_the_same_log_determinant():
    data = table()
    problem = standardize(lmm.build_matrices(CROSSED, data))
    solver = KrylovPLS.build(problem, COARSE)
    y = np.random.default_rng(5).standard_normal(len(data["y"]))
    factors = random_factors(problem, 10)
    found, expected = (each.with_response(y).at(factors) for each in (solver, DensePLS(problem)))
    assert found.logdet == solver.at(factors).logdet
    assert found.terms.pwrss == pytest.approx(expected.terms.pwrss, rel=1e-10)


# The inverse ----------------------------------------------------------------------------------


@pytest.mark.parametrize("formula", FORMULAS)
def test_products_with_the_inverse(formula):
    problem = problem_of(formula)
    factors = random_factors(problem, 11)
    point, expected = KrylovPLS.build(problem, COARSE).at(factors), DensePLS(problem).at(factors)
    rng = np.random.default_rng(1)
    right = tuple(rng.standard_normal((3, group.size, group.n_levels)) for group in problem.groups)
    for own, other in zip(point.solve(right), expected.solve(right), strict=True):
        assert_close(own, other, 1e-8)
    i, j = np.array([0, 3, 2, 2]), np.array([1, 1, 4, 0])
    for g, h in np.ndindex(len(problem.groups), len(problem.groups)):
        found, right = (each.blocks(g, h, i, j) for each in (point, expected))
        size = np.abs(expected.diagonal[h]).max()
        np.testing.assert_allclose(found, right, rtol=0, atol=1e-9 * size)


@pytest.mark.parametrize("formula", FORMULAS)
def test_blocks_of_few_levels_are_solved_for(formula):
    problem = problem_of(formula)
    factors = random_factors(problem, 12)
    point, expected = KrylovPLS.build(problem, COARSE).at(factors), DensePLS(problem).at(factors)
    for own, other, error in zip(
        point.diagonal, expected.diagonal, point.diagonal_error, strict=True
    ):
        assert_close(own, other, 1e-8)
        assert not error.any()


@pytest.mark.parametrize("formula", FORMULAS)
def test_blocks_of_many_levels_are_within_their_error(formula, few_directions, monkeypatch):
    monkeypatch.setattr(variances, "FEW", 0)
    problem = problem_of(formula)
    factors = random_factors(problem, 13)
    point = KrylovPLS.build(problem, Krylov(100.0, probes=64)).at(factors)
    expected = DensePLS(problem).at(factors)
    for own, other, error in zip(
        point.diagonal, expected.diagonal, point.diagonal_error, strict=True
    ):
        scores = (own - other) / error
        assert 0.5 < np.sqrt(np.mean(scores**2)) < 2.0
        size = np.einsum("aam->am", other)
        assert np.abs(np.einsum("aam->am", own - other) / size).max() < 0.05


# Whole fits -----------------------------------------------------------------------------------


def test_insteval_is_fitted_as_by_the_exact_solver():
    data = lmm.load_dataset("InstEval")
    formula = "y ~ 1 + (1 | s) + (1 | d)"
    exact = lmm.lmer(formula, data, reml=False, solver="block")
    m = lmm.lmer(formula, data, reml=False, solver="krylov")
    np.testing.assert_allclose(m.theta, exact.theta, rtol=1e-4)
    optimum = m.optimum
    assert optimum.converged
    assert not optimum.exact
    assert exact.optimum.exact
    assert exact.optimum.theta_error is None
    assert 0.001 < optimum.error < 0.02
    assert abs(optimum.value - exact.optimum.value) < 5 * optimum.error
    assert (optimum.theta_error < 1e-5).all()
    factors = m.fit.whitened_factors
    logdet = crossed(m.fit.problem).at(factors).logdet
    assert m.fit.point.logdet == pytest.approx(logdet, rel=1e-5)
    assert "by iteration" in optimum.solver


def test_a_variance_of_zero_is_found(few_directions):
    data = table()
    rng = np.random.default_rng(2)
    data["y"] = rng.standard_normal(80)[data["b"]] + rng.standard_normal(len(data["b"]))
    fits = []
    for solver in ("block", "krylov"):
        with pytest.warns(lmm.SingularFitWarning):
            fits.append(lmm.lmer(CROSSED, data, solver=solver))
        assert fits[-1].optimum.converged
    np.testing.assert_allclose(fits[1].theta, fits[0].theta, rtol=1e-4, atol=1e-5)


def test_a_saved_fit_is_read_back(tmp_path):
    m = lmm.lmer(CROSSED, table(), solver=Krylov(tolerance=0.1, seed=3))
    m.save(tmp_path / "m.lmm")
    again = lmm.load(tmp_path / "m.lmm")
    assert again.optimum.error == m.optimum.error
    np.testing.assert_array_equal(again.optimum.theta_error, m.optimum.theta_error)
    np.testing.assert_allclose(again.ranef()["a"], m.ranef()["a"], rtol=1e-8)


# Choice and refusals --------------------------------------------------------------------------


@pytest.mark.parametrize("options, message", [({"tolerance": 0.0}, "tol"), ({"probes": 1}, "2")])
def test_options_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        Krylov(**options)


def test_one_factor_needs_no_iteration():
    m = lmm.lmer("y ~ x + (1 | a)", table(), solver="krylov")
    assert m.optimum.exact
    assert m.optimum.solver.startswith("block")


def random_crossing(n=3000, levels=(1500, 1200)):
    rng = np.random.default_rng(4)
    a, b = (rng.integers(0, count, n) for count in levels)
    y = rng.standard_normal(levels[0])[a] + rng.standard_normal(levels[1])[b]
    return {"y": y + rng.standard_normal(n), "a": a, "b": b}


BARE = "y ~ 1 + (1 | a) + (1 | b)"


def test_iteration_is_chosen_where_exact_solvers_take_too_long(monkeypatch):
    matrices = lmm.build_matrices(BARE, random_crossing())
    assert not isinstance(lmm.pls.Auto().bind(standardize(matrices)), KrylovPLS)
    monkeypatch.setattr(lmm.pls.choose, "PATIENCE", 1e6)
    monkeypatch.setattr(lmm.pls.choose, "LOOK", 1e2)
    assert isinstance(lmm.pls.Auto().bind(standardize(matrices)), KrylovPLS)
    chosen = lmm.pls.Auto(sampling=False).bind(standardize(matrices))
    assert isinstance(chosen.tail, SparseTail)


def test_what_fits_no_memory_is_refused_with_numbers(monkeypatch):
    monkeypatch.setattr(lmm.pls.choose, "LOOK", 1e2)
    matrices = lmm.build_matrices(BARE, random_crossing())
    columns = matrices.terms[1].q
    monkeypatch.setattr(costs, "available", lambda: 2.0**10)
    with pytest.raises(lmm.DataError, match=rf"tail of {columns} columns takes .*iteration takes"):
        lmm.ProfiledCriterion(matrices)
    with pytest.raises(lmm.DataError, match=r"GiB are free\. solver='krylov' needs less"):
        lmm.ProfiledCriterion(matrices, solver="block")
    with pytest.raises(lmm.DataError, match="iteration takes"):
        lmm.ProfiledCriterion(matrices, solver="krylov")
    with pytest.raises(lmm.DataError, match=r"sparse factor of .* entries takes"):
        lmm.ProfiledCriterion(matrices, solver=Sparse("scipy"))


def test_generalized_models_are_refused():
    data = random_crossing()
    data["k"] = (np.asarray(data["y"]) > 0).astype(int)
    with pytest.raises(ValueError, match="solver='krylov' fits linear"):
        lmm.glmer("k ~ 1 + (1 | a) + (1 | b)", data, "binomial", solver="krylov")
    solver = KrylovPLS.build(problem_of(CROSSED), COARSE)
    with pytest.raises(ValueError, match="solver='krylov' fits linear"):
        solver.reweighted(np.ones(1900))


def test_the_machine_tells_its_memory():
    assert costs.available() > 1e8


def test_factors_of_the_tail_that_are_nested_are_told_apart():
    rng = np.random.default_rng(6)
    n, brands, items, users = 8000, 120, 480, 500
    brand = rng.integers(0, brands, items)
    item, user = rng.integers(0, items, n), rng.integers(0, users, n)
    effects = rng.standard_normal(brands)[brand[item]] + 0.5 * rng.standard_normal(items)[item]
    y = effects + 0.7 * rng.standard_normal(users)[user] + rng.standard_normal(n)
    data = {"y": y, "user": user, "item": item, "brand": brand[item]}
    formula = "y ~ 1 + (1 | user) + (1 | item) + (1 | brand)"
    exact, m = (lmm.lmer(formula, data, solver=solver) for solver in ("block", "krylov"))
    np.testing.assert_allclose(m.theta, exact.theta, rtol=1e-4)
    assert m.optimum.error < 0.02
    assert abs(m.optimum.value - exact.optimum.value) < 5 * m.optimum.error
