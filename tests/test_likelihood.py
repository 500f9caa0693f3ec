"""The likelihood as plain functions: one fit or many, whatever the units."""

import numpy as np
import pytest

import lmm
from lmm import likelihood


def test_sigma_is_profiled_out_at_its_best():
    logdet, pwrss, nu = 12.5, 340.0, 57
    best = np.sqrt(pwrss / nu)
    profiled = likelihood.criterion(logdet, pwrss, nu)
    assert likelihood.criterion(logdet, pwrss, nu, best) == pytest.approx(profiled, rel=1e-14)
    for other in (0.9 * best, 1.1 * best):
        assert likelihood.criterion(logdet, pwrss, nu, other) > profiled


def entries(rng, *lead, m=3):
    square = rng.standard_normal((2, *lead, m, m))
    average, trace = square @ np.swapaxes(square, -1, -2)
    logdet, quadratic = rng.standard_normal((2, *lead, m))
    return likelihood.Entries(logdet, quadratic, average, trace)


def test_a_batch_is_many_single_fits():
    rng = np.random.default_rng(1)
    many, r, m, d, nu = entries(rng, 5), 5, 3, 4, 20.0
    J, bend = rng.standard_normal((r, m, d)), rng.standard_normal((r, d, d))
    bend = bend @ np.swapaxes(bend, -1, -2)
    gradient, hessian = likelihood.with_log_sigma(many, J, bend, 17.0, nu)
    covariance = likelihood.variance_of_estimates(hessian)
    for i in range(r):
        one = likelihood.Entries(many.logdet[i], many.quadratic[i], many.average[i], many.trace[i])
        np.testing.assert_allclose(one.profiled(nu), many.profiled(nu)[i], rtol=1e-13)
        g, H = likelihood.with_log_sigma(one, J[i], bend[i], 17.0, nu)
        np.testing.assert_allclose(g, gradient[i], rtol=1e-13)
        np.testing.assert_allclose(H, hessian[i], rtol=1e-13)
        np.testing.assert_allclose(
            likelihood.variance_of_estimates(H), covariance[i], rtol=1e-10, atol=1e-14
        )


def test_units_of_the_coordinates_do_not_matter_to_degrees_of_freedom():
    rng = np.random.default_rng(2)
    root = rng.standard_normal((3, 3))
    H, g, v = root @ root.T, rng.standard_normal((2, 3)), np.array([0.3, 0.7])
    df = likelihood.satterthwaite(v, g, likelihood.variance_of_estimates(H))
    units = np.array([1e-7, 1.0, 1e6])
    scaled = likelihood.variance_of_estimates(H * units[:, None] * units)
    np.testing.assert_allclose(likelihood.satterthwaite(v, g * units, scaled), df, rtol=1e-9)
    np.testing.assert_allclose(df, 2 * v**2 / (2 * np.sum(g @ np.linalg.inv(H) * g, axis=1)))


def test_what_has_no_curvature_has_no_part():
    H = np.diag([4.0, 0.0, -1.0])
    np.testing.assert_allclose(likelihood.variance_of_estimates(H), np.diag([0.5, 0.0, 0.0]))


def test_singular_is_no_matter_of_ratios():
    factors = (np.diag([1e5, 3.0]), np.eye(1))
    assert not likelihood.is_singular(factors, 1e-4)
    assert likelihood.is_singular((*factors, np.array([[1e-5]])), 1e-4)
    both = (np.array([factors[0], np.diag([1.0, 1e-6])]), np.ones((2, 1, 1)))
    np.testing.assert_array_equal(likelihood.is_singular(both, 1e-4), [False, True])


def test_correlations_without_a_variance_are_missing():
    covariance = np.array([[4.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    expected = np.array([[1.0, 0.5, np.nan], [0.5, 1.0, np.nan], [np.nan, np.nan, 1.0]])
    np.testing.assert_array_equal(likelihood.correlations(covariance), expected)
    batch = likelihood.correlations(np.array([covariance, 9.0 * covariance]))
    np.testing.assert_array_equal(batch, [expected, expected])
    beyond = np.array([[1.0, 1.0 + 1e-15], [1.0 + 1e-15, 1.0]])
    assert likelihood.correlations(beyond)[0, 1] == 1.0


def large_ratio():
    """Intercepts a hundred thousand times as variable as slopes, none of which is zero."""
    rng = np.random.default_rng(0)
    g, x = np.repeat(np.arange(30), 8), np.tile(np.arange(8.0) - 3.5, 30)
    intercepts, slopes = 3e4 * rng.standard_normal(30), 0.3 * rng.standard_normal(30)
    y = intercepts[g] + slopes[g] * x + 0.5 * rng.standard_normal(240)
    return {"y": y, "x": x, "g": np.char.add("g", g.astype(str))}


@pytest.mark.filterwarnings("ignore::lmm.PrecisionWarning")  # of six digits left
def test_fits_and_batches_call_the_same_fits_singular():
    m = lmm.lmer("y ~ x + (x | g)", large_ratio())
    assert not m.is_singular()
    y = m.simulate(4, seed=1)
    one_by_one = [m.refit(y[column]).is_singular() for column in y]
    assert lmm.refit_many(m, y).singular.tolist() == one_by_one == [False] * 4
    assert m.bootstrap(20, seed=1).n_singular == 0
