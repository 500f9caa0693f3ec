"""Sparse solvers agree with the dense oracle, with either library, and without scikit-sparse."""

import builtins
import pickle
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import sparse

import lmm
from lmm.covariance import Diagonal
from lmm.criterion import ProfiledCriterion
from lmm.errors import NumericalError
from lmm.pls import DensePLS, Sparse, choose, named, standardize
from lmm.pls.sparse import cholesky
from lmm.pls.sparse.cholesky import SparseTail
from lmm.pls.sparse.selected import SelectedInverse
from lmm.pls.sparse.symbolic import column_counts, factor_columns, permuted
from models import sparse as sparse_of
from reference import MODEL_IDS, fit_arguments, load_reference, load_table

BACKENDS = ["cholmod", "scipy"]
# The dense oracle forms n x q matrices: it is for the small tables.
SMALL = [i for i in MODEL_IDS if i not in {"insteval", "scotssec", "exam", "ham"}]


@pytest.fixture(params=BACKENDS)
def backend(request):
    if request.param == "cholmod":
        pytest.importorskip("sksparse")
    return request.param


def matrices_of(model_id):
    reference = load_reference(model_id)
    arguments = {k: v for k, v in fit_arguments(reference).items() if k != "reml"}
    return lmm.build_matrices(reference["formula"], load_table(reference["data"]), **arguments)


def random_factors(matrices, rng, zero=False):
    """One factor per term between 1e-2 and 10 in size; singular in its last column if `zero`."""
    factors = []
    for term in matrices.terms:
        factor = np.tril(rng.standard_normal((term.size, term.size))) * 10 ** rng.uniform(-2, 1)
        if zero:
            factor[:, -1] = 0.0
        factors.append(
            np.diag(np.diag(factor)) if isinstance(term.covariance, Diagonal) else factor
        )
    return tuple(factors)


def assert_close(actual, expected, relative):
    scale = np.abs(expected).max(initial=1e-300)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=relative * scale)


def crossed_table(n=300, seed=1):
    """Three crossed factors of which a covariate is centred: exact zeros in Z'Z."""
    rng = np.random.default_rng(seed)
    return {
        "y": rng.standard_normal(n),
        "x": np.tile([-1.0, 1.0], n // 2),
        "a": np.repeat(rng.integers(0, 25, n // 2), 2),
        "b": np.repeat(rng.integers(0, 20, n // 2), 2),
        "c": rng.integers(0, 6, n),
    }


CROSSED = "y ~ x + (x | a) + (1 | b) + (0 + x || c)"


# Agreement with the oracle -----------------------------------------------------------------------


@pytest.mark.parametrize("model_id", SMALL)
def test_values_and_gradient_agree_with_the_oracle(model_id, backend):
    matrices = matrices_of(model_id)
    problem = standardize(matrices)
    oracle, solver = DensePLS(problem), sparse_of(problem, backend)
    rng = np.random.default_rng(7)
    for zero, reml in [(False, True), (False, False), (True, True)]:
        check_derivatives(oracle, solver, random_factors(matrices, rng, zero), reml)


def check_derivatives(oracle, solver, factors, reml):
    expected, actual = oracle.at(factors).derivatives(reml), solver.at(factors).derivatives(reml)
    assert solver.at(factors).terms == actual.terms
    for name in ("logdet_L", "logdet_RX", "pwrss"):
        value = getattr(expected.terms, name)
        assert getattr(actual.terms, name) == pytest.approx(value, rel=1e-12, abs=1e-12)
    for ours, theirs in zip(actual.logdet, expected.logdet, strict=True):
        assert_close(ours, theirs, 1e-9)
    for ours, theirs in zip(actual.quadratic, expected.quadratic, strict=True):
        assert_close(ours, theirs, 1e-9)
    assert_close(actual.average, expected.average, 1e-9)
    assert actual.trace is None


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("zero", [True, False])
def test_slopes_on_crossed_factors(backend, reml, zero):
    matrices = lmm.build_matrices(CROSSED, crossed_table())
    problem = standardize(matrices)
    factors = random_factors(matrices, np.random.default_rng(3), zero)
    check_derivatives(DensePLS(problem), sparse_of(problem, backend), factors, reml)


def test_no_random_variation_at_all(backend):
    matrices = lmm.build_matrices(CROSSED, crossed_table())
    problem = standardize(matrices)
    factors = tuple(np.zeros((term.size, term.size)) for term in matrices.terms)
    check_derivatives(DensePLS(problem), sparse_of(problem, backend), factors, True)


def test_coefficients_agree_with_the_oracle(backend):
    matrices = lmm.build_matrices(CROSSED, crossed_table())
    problem = standardize(matrices)
    factors = random_factors(matrices, np.random.default_rng(5))
    expected = DensePLS(problem).at(factors).solution()
    actual = sparse_of(problem, backend).at(factors).solution()
    assert_close(actual.beta, expected.beta, 1e-10)
    for ours, theirs in zip(actual.effects, expected.effects, strict=True):
        assert_close(ours, theirs, 1e-10)
    assert_close(
        actual.fixed_root @ actual.fixed_root.T, expected.fixed_root @ expected.fixed_root.T, 1e-10
    )


def test_gradient_agrees_with_central_differences(backend):
    matrices = lmm.build_matrices(CROSSED, crossed_table())
    criterion = ProfiledCriterion(matrices, True, Sparse(backend))
    theta = np.array([0.8, -0.2, 0.5, 0.7, 0.3])
    _, gradient = criterion.value_and_gradient(theta)
    for i, step in enumerate(1e-5 * np.eye(len(theta))):
        slope = (criterion(theta + step) - criterion(theta - step)) / 2e-5
        assert gradient[i] == pytest.approx(slope, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("model_id", MODEL_IDS)
def test_criterion_is_that_of_lme4(model_id, backend):
    reference = load_reference(model_id)
    matrices = matrices_of(model_id)
    criterion = ProfiledCriterion(matrices, reference["REML"], Sparse(backend))
    for point in reference["criterion_at"]:
        assert criterion(point["theta"]) == pytest.approx(point["value"], rel=1e-9)


# One analysis for all theta ----------------------------------------------------------------------


def test_pattern_survives_zeros(backend):
    """An analysis made for one theta serves where zeros come and go."""
    matrices = lmm.build_matrices(CROSSED, crossed_table())
    problem = standardize(matrices)
    solver = sparse_of(problem, backend)
    ones = tuple(np.eye(term.size) for term in matrices.terms)
    zeros = tuple(0.0 * factor for factor in ones)
    before = solver.at(ones).derivatives(True)
    solver.at(zeros).derivatives(True)
    after = solver.at(ones).derivatives(True)
    assert before.terms == after.terms
    np.testing.assert_array_equal(before.logdet[0], after.logdet[0])


def test_pickled_solver_analyses_again(backend):
    matrices = lmm.build_matrices(CROSSED, crossed_table())
    solver = sparse_of(standardize(matrices), backend)
    factors = random_factors(matrices, np.random.default_rng(11))
    expected = solver.at(factors).terms
    assert pickle.loads(pickle.dumps(solver)).at(factors).terms == expected


def test_other_response_shares_the_analysis(backend):
    matrices = lmm.build_matrices(CROSSED, crossed_table())
    solver = sparse_of(standardize(matrices), backend)
    factors = random_factors(matrices, np.random.default_rng(13))
    y = np.random.default_rng(17).standard_normal(matrices.n)
    other = solver.with_response(y)
    assert other.tail.system is solver.tail.system
    expected = DensePLS(solver.problem).with_response(y).at(factors).terms
    assert other.at(factors).terms.pwrss == pytest.approx(expected.pwrss, rel=1e-12)


def test_not_positive_definite_is_a_numerical_error(backend):
    matrices = lmm.build_matrices("y ~ 1 + (1 | a)", crossed_table())
    solver = sparse_of(standardize(matrices), backend)
    with pytest.raises(NumericalError, match="not positive definite"):
        solver.tail.system.factor(-np.ones(len(solver.tail.system.rows)))


# Symbolic analysis and the selected inverse ------------------------------------------------------


def random_matrix(q, density, rng):
    """A symmetric positive-definite sparse matrix."""
    lower = np.where(rng.random((q, q)) < density, rng.random((q, q)), 0.0)
    return sparse.csc_array(lower + lower.T + q * np.eye(q))


@pytest.mark.parametrize("density", [0.005, 0.03, 0.3])
def test_columns_of_the_factor(density):
    matrix = random_matrix(80, density, np.random.default_rng(19))
    L = np.linalg.cholesky(matrix.toarray())
    for j, rows in enumerate(factor_columns(matrix)):
        np.testing.assert_array_equal(rows, j + 1 + np.flatnonzero(L[j + 1 :, j]))


@pytest.mark.parametrize("density", [0.005, 0.03, 0.3])
@pytest.mark.parametrize("q", [1, 2, 80, 200])
def test_selected_entries_are_those_of_the_inverse(q, density, backend):
    matrix = random_matrix(q, density, np.random.default_rng(23))
    library = cholesky._backend(backend)
    _, order = min(library.orderings(matrix), key=lambda found: found[0])
    matrix = permuted(matrix, order)
    analysis = library.Analysis(matrix)
    factor = analysis.factor(matrix)
    plan = SelectedInverse.of(analysis.indptr, analysis.indices)
    found = sparse.csc_array((plan(factor.values), analysis.indices, analysis.indptr), (q, q))
    rows, columns = found.nonzero()
    expected = np.linalg.inv(matrix.toarray())[rows, columns]
    np.testing.assert_allclose(found[rows, columns], expected, rtol=1e-12, atol=1e-16)
    L = sparse.csc_array((factor.values, analysis.indices, analysis.indptr), (q, q))
    assert_close((L @ L.T).toarray(), matrix.toarray(), 1e-13)


def test_orderings_reduce_the_fill(backend):
    """An arrow that points the wrong way fills up; every ordering turns it around."""
    q = 50
    arrow = sparse.lil_array((q, q))
    arrow[0, :] = arrow[:, 0] = 1.0
    arrow.setdiag(q)
    arrow = sparse.csc_array(arrow)
    assert column_counts(arrow).sum() == q * (q + 1) // 2
    for _, order in cholesky._backend(backend).orderings(arrow):
        assert column_counts(permuted(arrow, order)).sum() == 2 * q - 1


def test_cholmod_tries_both_orderings():
    library = pytest.importorskip("lmm.pls.sparse._sksparse")
    matrix = random_matrix(60, 0.05, np.random.default_rng(29))
    assert [name for name, _ in library.orderings(matrix)] == ["AMD", "METIS"]


# Choice ------------------------------------------------------------------------------------------


def large_tail(n_levels=4000, n=20_000, spread=4, seed=31):
    """Two crossed factors whose levels meet only close to the diagonal, or anywhere."""
    rng = np.random.default_rng(seed)
    a = rng.integers(0, n_levels, n)
    b = (a + rng.integers(-spread, spread + 1, n)) % n_levels
    return {"y": rng.standard_normal(n), "a": a, "b": b}


def test_auto_takes_a_sparse_factor_for_a_large_sparse_tail():
    table = large_tail()
    solver = named("auto").bind(standardize(lmm.build_matrices("y ~ 1 + (1 | a) + (1 | b)", table)))
    assert isinstance(solver.tail, SparseTail)
    assert f"all {len(set(table['a'])) + len(set(table['b']))} random effects" in solver.description


@pytest.mark.parametrize("formula", [CROSSED, "y ~ 1 + (1 | a)", "y ~ 1 + (1 | a / b)"])
def test_auto_keeps_small_tails_dense(formula):
    solver = named("auto").bind(standardize(lmm.build_matrices(formula, crossed_table())))
    assert solver.name == "block"


def test_auto_keeps_a_tail_dense_that_fills_up(monkeypatch):
    monkeypatch.setattr(choose, "LOOK", 0.0)
    table = large_tail(n_levels=150, n=6000, spread=75)
    solver = named("auto").bind(standardize(lmm.build_matrices("y ~ 1 + (1 | a) + (1 | b)", table)))
    assert solver.name == "block"


def test_fits_agree(backend):
    table = lmm.load_dataset("Penicillin")
    formula = "diameter ~ 1 + (1 | plate) + (1 | sample)"
    fit = lmm.lmer(formula, table, solver=Sparse(backend))
    expected = lmm.lmer(formula, table)
    assert fit.optimum.value == pytest.approx(expected.optimum.value, rel=1e-12)


# Without and with other versions of scikit-sparse ------------------------------------------------


@pytest.fixture
def no_sksparse(monkeypatch):
    """An interpreter in which importing sksparse fails."""
    for name in list(sys.modules):
        if name.startswith("sksparse") or name == "lmm.pls.sparse._sksparse":
            monkeypatch.delitem(sys.modules, name)
    found = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name.split(".")[0] == "sksparse":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return found(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)


@pytest.mark.usefixtures("no_sksparse")
def test_without_scikit_sparse():
    table = lmm.load_dataset("Penicillin")
    formula = "diameter ~ 1 + (1 | plate) + (1 | sample)"
    with pytest.raises(ImportError, match=r"pip install 'lmm\[cholmod\]'"):
        lmm.lmer(formula, table, solver="cholmod")
    model = lmm.lmer(formula, table, solver="sparse")
    assert model.optimum.solver.startswith("sparse: ")
    assert model.optimum.value == pytest.approx(330.86058899, rel=1e-9)


class RenamedFactor:
    """The interface of scikit-sparse 0.5 on dense matrices: analysed, copied, then factorized."""

    def __init__(self, A, *, lower=True, order="default", sym_kind=None, supernodal_mode=None):
        assert order in {"natural", "amd", "metis"}
        assert supernodal_mode == "supernodal"
        self.perm = np.arange(A.shape[0])
        self.factor = None

    def copy(self):
        return RenamedFactor(np.diag(self.perm), order="natural", supernodal_mode="supernodal")

    def factorize(self, A):
        try:
            L = np.linalg.cholesky(A.toarray())
        except np.linalg.LinAlgError:
            raise RenamedError from None
        pattern = sparse.csc_array(np.tril(np.ones_like(L)))
        pattern.data = L[pattern.indices, np.repeat(self.perm, np.diff(pattern.indptr))]
        self.factor = pattern
        return self

    def solve(self, b):
        L = self.factor.toarray()
        return np.linalg.solve(L @ L.T, b)


class RenamedError(Exception):
    pass


@pytest.fixture
def renamed_sksparse(monkeypatch):
    """scikit-sparse as 0.5 presents itself."""
    module = SimpleNamespace(
        CholeskyFactor=RenamedFactor,
        CholmodNotPositiveDefiniteError=RenamedError,
        CholmodNotInstalledError=RenamedError,
    )
    monkeypatch.setitem(sys.modules, "sksparse", SimpleNamespace(cholmod=module))
    monkeypatch.setitem(sys.modules, "sksparse.cholmod", module)
    monkeypatch.delitem(sys.modules, "lmm.pls.sparse._sksparse", raising=False)
    yield
    sys.modules.pop("lmm.pls.sparse._sksparse", None)


@pytest.mark.usefixtures("renamed_sksparse")
def test_renamed_interface_of_scikit_sparse():
    matrices = lmm.build_matrices(CROSSED, crossed_table())
    problem = standardize(matrices)
    solver = named("cholmod").bind(standardize(matrices))
    factors = random_factors(matrices, np.random.default_rng(37))
    check_derivatives(DensePLS(problem), solver, factors, True)
    with pytest.raises(NumericalError, match="not positive definite"):
        solver.tail.system.factor(-np.ones(len(solver.tail.system.rows)))
