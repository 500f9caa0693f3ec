"""Equal blocks, chunks and kernels: what the reference models are too small to reach."""

from __future__ import annotations

import numpy as np
import pytest

import lmm
from lmm.pls import BlockPLS, DensePLS, levels, standardize
from lmm.pls.kernels import invert, sum_by, sum_products

LEVELS = 300


def design(occasions, seed=1):
    """Groups observed on `occasions`, (LEVELS, m) values of a covariate."""
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(LEVELS), occasions.shape[1])
    x = occasions.ravel()
    b = rng.standard_normal((LEVELS, 2)) * [1.0, 0.5]
    y = 1.0 + x + b[g, 0] + b[g, 1] * x + rng.standard_normal(len(g))
    return lmm.build_matrices("y ~ x + (x | g)", {"y": y, "x": x, "g": g})


def balanced():
    return design(np.tile(np.arange(4.0), (LEVELS, 1)))


def unbalanced():
    return design(np.random.default_rng(2).standard_normal((LEVELS, 4)))


def distinct_blocks(solver):
    return sum(levels.R.shape[2] for levels in solver.chain.chunks)


def assert_agrees(solver, oracle, reml):
    factors = (np.array([[1.1, 0.0], [-0.3, 0.7]]),)
    ours, theirs = solver.at(factors).derivatives(reml), oracle.at(factors).derivatives(reml)
    for name in ("logdet_L", "logdet_RX", "pwrss"):
        assert getattr(ours.terms, name) == pytest.approx(getattr(theirs.terms, name), rel=1e-12)
    for name in ("average", "trace"):
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-9)
    np.testing.assert_allclose(ours.logdet[0], theirs.logdet[0], rtol=1e-10)
    np.testing.assert_allclose(ours.quadratic[0], theirs.quadratic[0], rtol=1e-10)


@pytest.mark.parametrize("reml", [True, False])
def test_equal_blocks_are_computed_once(reml):
    problem = standardize(balanced())
    solver = BlockPLS.of_one(problem)
    assert distinct_blocks(solver) == 1
    assert solver.chain.chunks[0].S.shape[2] <= 2 * (problem.p + 1)
    assert_agrees(solver, DensePLS(problem), reml)


def test_counts_of_a_scalar_factor_are_a_histogram():
    rng = np.random.default_rng(3)
    sizes = rng.integers(1, 6, LEVELS)
    g = np.repeat(np.arange(LEVELS), sizes)
    y = rng.standard_normal(LEVELS)[g] + rng.standard_normal(len(g))
    problem = standardize(lmm.build_matrices("y ~ 1 + (1 | g)", {"y": y, "g": g}))
    assert distinct_blocks(BlockPLS.of_one(problem)) == 5


def test_different_blocks_are_kept_apart():
    solver = BlockPLS.of_one(standardize(unbalanced()))
    assert distinct_blocks(solver) == LEVELS


@pytest.mark.parametrize("matrices", [balanced, unbalanced])
def test_a_new_response_is_as_a_new_problem(matrices):
    built = matrices()
    y = built.y[::-1].copy()
    solver = BlockPLS.of_one(standardize(built)).with_response(y)
    assert_agrees(solver, DensePLS(solver.problem), True)


@pytest.mark.parametrize("reml", [True, False])
def test_chunks_add_up(monkeypatch, reml):
    monkeypatch.setattr(levels, "CHUNK", 64)
    problem = standardize(unbalanced())
    solver = BlockPLS.of_one(problem)
    assert len(solver.chain.chunks) == 5
    assert_agrees(solver, DensePLS(problem), reml)


@pytest.mark.parametrize("k", [1, 2, 3, 4, 5])
def test_invert(k):
    root = np.random.default_rng(k).standard_normal((50, k, k + 2))
    blocks = root @ root.transpose(0, 2, 1)
    inverse, logdet = invert(np.ascontiguousarray(blocks.transpose(1, 2, 0)))
    identity = np.broadcast_to(np.eye(k), blocks.shape)
    np.testing.assert_allclose(inverse.transpose(2, 0, 1) @ blocks, identity, atol=1e-9)
    np.testing.assert_allclose(logdet, np.linalg.slogdet(blocks)[1], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_invert_refuses_an_indefinite_block(k):
    blocks = np.repeat(np.eye(k)[:, :, None], 3, axis=2)
    blocks[k - 1, k - 1, 1] = -1.0
    with pytest.raises(lmm.NumericalError, match="not positive definite"):
        invert(blocks)


def test_sums_by_level():
    rng = np.random.default_rng(5)
    codes, Z, x = rng.integers(0, 7, 40), rng.standard_normal((40, 3)), rng.standard_normal(40)
    indicators = np.eye(7)[codes]
    np.testing.assert_allclose(sum_by(Z.T, codes, 7), Z.T @ indicators, atol=1e-12)
    expected = (Z * x[:, None]).T @ indicators
    np.testing.assert_allclose(sum_products(Z, x, codes, 7), expected, atol=1e-12)


@pytest.mark.parametrize("noise", [1.0, 1e-4, 1e-8])
def test_large_variances_cost_no_digits(noise):
    """Balanced one-way data in closed form: pwrss = SSW + SSB / (1 + n lambda^2)."""
    rng = np.random.default_rng(4)
    within = noise * rng.integers(-8, 9, (10, 6))
    within -= within.mean(axis=1, keepdims=True)
    between = rng.standard_normal(10)
    y = (between[:, None] + within).ravel()
    matrices = lmm.build_matrices("y ~ 1 + (1 | g)", {"y": y, "g": np.repeat(np.arange(10), 6)})
    criterion = lmm.ProfiledCriterion(matrices, reml=False)
    ssb, ssw = 6.0 * ((between - between.mean()) ** 2).sum(), (within**2).sum()
    for theta in (0.1, 1.0, 1e3, 1e6):
        shrink = 1.0 + 6.0 * theta**2
        expected = 10 * np.log(shrink)
        expected += 60 * (1.0 + np.log(2.0 * np.pi * (ssw + ssb / shrink) / 60))
        # 1e-16 in y are 1e-8 of the smallest noise.
        assert criterion([theta]) == pytest.approx(expected, abs=1e-15 / noise * 60 + 1e-10)


def test_roots_of_blocks_of_any_rank():
    rng = np.random.default_rng(6)
    Z = rng.standard_normal((3, 5, 3))  # 3 levels of 5 rows, 3 columns
    Z[1, :, 2] = 2.0 * Z[1, :, 0]
    Z[2, :, 0] = 0.0
    Xy = rng.standard_normal((3, 5, 2))
    A = np.einsum("lra,lrb->abl", Z, Z)
    C = np.einsum("lrt,lra->tal", Xy, Z)
    R = levels.root(A)
    S = levels.forward(R, C)
    np.testing.assert_allclose(np.einsum("bam,bcm->acm", R, R), A, atol=1e-12)
    np.testing.assert_allclose(np.einsum("bam,tbm->tam", R, S), C, atol=1e-12)
    B = levels.backward(R, S)
    residuals = Xy - np.einsum("lra,tal->lrt", Z, B)
    np.testing.assert_allclose(np.einsum("lra,lrt->alt", Z, residuals), 0.0, atol=1e-12)
