"""The map from theta to the factors of all terms, and its derivatives."""

import numpy as np
import pytest

from lmm.covariance import diagonal, parameters_of, unstructured

MAPS = [
    (unstructured(1),),
    (unstructured(3),),
    (diagonal(3),),
    (unstructured(2), unstructured(1), diagonal(2), unstructured(3)),
]


def entries(terms, theta):
    """Entries of lambda lambda' that theta fills, stacked over terms."""
    factors = parameters_of(terms).factors(theta)
    return np.concatenate([(f @ f.T)[c.pattern] for c, f in zip(terms, factors, strict=True)])


@pytest.mark.parametrize("terms", MAPS)
def test_jacobian_is_the_derivative_of_gamma(terms):
    theta = np.random.default_rng(1).standard_normal(len(parameters_of(terms).start))
    h = 1e-6
    central = [
        (entries(terms, theta + h * e) - entries(terms, theta - h * e)) / (2 * h)
        for e in np.eye(len(theta))
    ]
    np.testing.assert_allclose(
        parameters_of(terms).jacobian(theta), np.transpose(central), atol=1e-8
    )


@pytest.mark.parametrize("terms", MAPS)
def test_bend_is_the_second_derivative_of_gamma(terms):
    rng = np.random.default_rng(2)
    mapped = parameters_of(terms)
    theta, slopes = rng.standard_normal(len(mapped.start)), []
    for c in terms:
        G = rng.standard_normal((c.size, c.size))
        slopes.append((G + G.T).ravel())
    score = mapped.units(theta) @ np.concatenate(slopes)
    # Gamma is quadratic: a difference of Jacobians is exact.
    second = [
        score @ (mapped.jacobian(theta + e) - mapped.jacobian(theta)) for e in np.eye(len(theta))
    ]
    np.testing.assert_allclose(mapped.bend(theta, np.concatenate(slopes)), second, atol=1e-12)


def test_columns_that_vanish():
    terms = (unstructured(3), diagonal(2))
    mapped = parameters_of(terms)
    theta = np.array([1.0, 2.0, 3.0, 1e-7, 1e-8, 0.5, 1e-6, 2.0])
    cleared = mapped.cleared(theta, 1e-5)
    np.testing.assert_array_equal(cleared, [1.0, 2.0, 3.0, 0.0, 0.0, 0.5, 0.0, 2.0])
    np.testing.assert_array_equal(mapped.is_free(cleared), cleared != 0.0)
    np.testing.assert_array_equal(mapped.on_boundary(cleared), [0, 0, 0, 1, 0, 0, 1, 0])


def test_maps_are_shared():
    assert parameters_of((unstructured(2),)) is parameters_of((unstructured(2),))
    assert unstructured(2) is unstructured(2)
    assert unstructured(2) != diagonal(2)


@pytest.mark.parametrize("terms", MAPS)
def test_what_models_share_cannot_be_changed(terms):
    mapped = parameters_of(terms)
    shared = (mapped.start, mapped.lower, mapped.upper, mapped.units(mapped.start))
    for array in (*shared, *terms[0].pattern):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
