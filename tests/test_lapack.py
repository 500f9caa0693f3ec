"""The bare LAPACK calls against `numpy.linalg`."""

import warnings

import numpy as np
import pytest

import lmm
from lmm import _lapack as lapack

SHAPES = [(1, 1), (2, 2), (5, 3), (3, 5), (40, 40), (200, 70)]


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape)


def positive(n: int) -> np.ndarray:
    root = random(n, n + 2)
    return root @ root.T


@pytest.mark.parametrize("n", [1, 2, 3, 40])
def test_symmetric_matrices(n):
    A = positive(n)
    values, vectors = lapack.eigh(A)
    np.testing.assert_allclose((vectors * values) @ vectors.T, A, atol=1e-10)
    L = lapack.cholesky(A)
    np.testing.assert_allclose(L, np.linalg.cholesky(A), rtol=1e-8)
    np.testing.assert_allclose(lapack.invert_lower(L) @ L, np.eye(n), atol=1e-9)
    right = random(n, 3)
    np.testing.assert_allclose(A @ lapack.solve_positive(A, right[:, 0]), right[:, 0], atol=1e-8)


@pytest.mark.parametrize("n", [0, 1, 3, 200, 700])
def test_inverses_of_factored_matrices(n):
    A = positive(n) / (n + 1) + np.eye(n)
    L = np.asfortranarray(np.linalg.cholesky(A))
    before = L.copy()
    inverse = lapack.inverse_of_factored(L)
    np.testing.assert_allclose(inverse @ A, np.eye(n), atol=1e-12)
    np.testing.assert_array_equal(inverse, inverse.T)
    np.testing.assert_array_equal(L, before)


def test_cholesky_reads_the_lower_triangle():
    A = positive(3)
    spoiled = A + np.triu(np.ones((3, 3)), 1)
    np.testing.assert_array_equal(lapack.cholesky(spoiled), lapack.cholesky(A))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("order", ["C", "F"])
def test_decompositions(shape, order):
    A = np.asarray(random(*shape), order=order)
    before = A.copy()
    Q, R = lapack.qr(A)
    np.testing.assert_allclose(Q @ R, A, atol=1e-12)
    np.testing.assert_allclose(Q.T @ Q, np.eye(min(shape)), atol=1e-12)
    np.testing.assert_array_equal(np.tril(R, -1), np.zeros(R.shape))
    np.testing.assert_array_equal(lapack.qr_factor(A), R)
    U, values, Vt = lapack.svd(A)
    np.testing.assert_allclose(U[:, : len(values)] * values @ Vt[: len(values)], A, atol=1e-11)
    np.testing.assert_allclose(lapack.singular_values(A), values, rtol=1e-10)
    np.testing.assert_array_equal(A, before)


@pytest.mark.parametrize("n", [1, 2, 6])
def test_triangular_systems(n):
    R, right = np.triu(random(n, n)) + 3.0 * np.eye(n), random(n, 4)
    np.testing.assert_allclose(R @ lapack.solve_upper(R, right), right, atol=1e-11)
    np.testing.assert_allclose(R @ lapack.solve_upper(R, right[:, 0]), right[:, 0], atol=1e-11)
    np.testing.assert_allclose(lapack.divide_upper(right.T, R) @ R, right.T, atol=1e-11)


def test_empty_matrices(capfd):
    assert lapack.cholesky(np.empty((0, 0))).shape == (0, 0)
    assert lapack.eigh(np.empty((0, 0)))[0].shape == (0,)
    assert lapack.invert_lower(np.empty((0, 0))).shape == (0, 0)
    assert [part.shape for part in lapack.qr(np.empty((5, 0)))] == [(5, 0), (0, 0)]
    assert lapack.solve_upper(np.empty((0, 0)), np.empty(0)).shape == (0,)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("solver", ["auto", "dense", "sparse"])
@pytest.mark.parametrize(
    "formula",
    ["y ~ 1 + (1 | a)", "y ~ 0 + (1 | a)", "y ~ x + (1 | b / a)", "y ~ x + (x | b) + (1 | a)"],
)
@pytest.mark.parametrize("fit", [lmm.lmer, lmm.glmer])
def test_lapack_says_nothing(fit, formula, solver, capfd):
    given = np.random.default_rng(1)
    a = np.repeat(np.arange(12), 6)
    data = {"y": given.poisson(2.0 + a % 3), "x": given.normal(size=72), "a": a, "b": a // 3}
    family = {} if fit is lmm.lmer else {"family": "poisson"}
    with warnings.catch_warnings(action="ignore"):
        m = fit(formula, data, solver=solver, **family)
        m.summary(), m.ranef(), m.confint(method="wald")
    assert capfd.readouterr() == ("", "")


def test_what_cannot_be_factored_is_an_error():
    singular = np.diag([1.0, 0.0])
    for attempt in (
        lambda: lapack.cholesky(-np.eye(2)),
        lambda: lapack.solve_positive(-np.eye(2), np.ones(2)),
        lambda: lapack.solve_upper(singular, np.ones(2)),
        lambda: lapack.invert_lower(singular),
    ):
        with pytest.raises(np.linalg.LinAlgError):
            attempt()
