"""The map from theta to the factors of all terms, and its derivatives."""

import numpy as np
import pytest

from lmm.covariance import diagonal, theta_map, unstructured

MAPS = [
    (unstructured(1),),
    (unstructured(3),),
    (diagonal(3),),
    (unstructured(2), unstructured(1), diagonal(2), unstructured(3)),
]


def entries(terms, theta):
    """Entries of lambda lambda' that theta fills, stacked over terms."""
    factors = theta_map(terms).factors(theta)
    return np.concatenate([(f @ f.T)[c.positions] for c, f in zip(terms, factors, strict=True)])


@pytest.mark.parametrize("terms", MAPS)
def test_jacobian_is_the_derivative_of_gamma(terms):
    theta = np.random.default_rng(1).standard_normal(len(theta_map(terms).start))
    h = 1e-6
    central = [
        (entries(terms, theta + h * e) - entries(terms, theta - h * e)) / (2 * h)
        for e in np.eye(len(theta))
    ]
    np.testing.assert_allclose(theta_map(terms).jacobian(theta), np.transpose(central), atol=1e-8)


@pytest.mark.parametrize("terms", MAPS)
def test_bend_is_the_second_derivative_of_gamma(terms):
    rng = np.random.default_rng(2)
    mapped = theta_map(terms)
    theta, score = rng.standard_normal((2, len(mapped.start)))
    # Gamma is quadratic: a difference of Jacobians is exact.
    second = [
        score @ (mapped.jacobian(theta + e) - mapped.jacobian(theta)) for e in np.eye(len(theta))
    ]
    np.testing.assert_allclose(mapped.bend(score), second, atol=1e-12)


def test_lengths_of_rows_and_columns():
    terms = MAPS[-1]
    theta = np.arange(1.0, 13.0)
    mapped = theta_map(terms)
    factors = mapped.factors(theta)
    for c, f, part in zip(terms, factors, mapped.slices, strict=True):
        rows, columns = c.positions
        np.testing.assert_allclose(mapped.row_lengths(theta)[part], np.linalg.norm(f, axis=1)[rows])
        np.testing.assert_allclose(
            mapped.column_lengths(theta)[part], np.linalg.norm(f, axis=0)[columns]
        )


def test_maps_are_shared():
    assert theta_map((unstructured(2),)) is theta_map((unstructured(2),))
    assert unstructured(2) is unstructured(2)
    assert unstructured(2) != diagonal(2)


@pytest.mark.parametrize("terms", MAPS)
def test_what_models_share_cannot_be_changed(terms):
    mapped = theta_map(terms)
    shared = (mapped.start, mapped.lower, mapped.on_diagonal, mapped.symmetric_units)
    for array in (*shared, *mapped.positions, *terms[0].positions):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
