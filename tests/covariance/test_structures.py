"""Structures of covariances: derivatives, bounds, changes of units."""

import numpy as np
import pytest

from lmm.covariance import (
    AutoRegressive,
    CompoundSymmetry,
    Correlated,
    OrnsteinUhlenbeck,
    ScaledIdentity,
    Toeplitz,
    diagonal,
    unstructured,
)

STRUCTURES = [
    unstructured(1),
    unstructured(3),
    diagonal(3),
    ScaledIdentity(3, hom=True),
    CompoundSymmetry(3, hom=True),
    CompoundSymmetry(4, hom=False),
    AutoRegressive(4, hom=True),
    AutoRegressive(5, hom=False),
    OrnsteinUhlenbeck(4, hom=True, times=(0.0, 1.0, 1.7, 4.0)),
    OrnsteinUhlenbeck(3, hom=False, times=(2.0, -1.0, 0.5)),
    Toeplitz(3, hom=True),
    Toeplitz(5, hom=False),
]
CORRELATED = [structure for structure in STRUCTURES if isinstance(structure, Correlated)]


def inside(structure, seed=0):
    """Parameters in the interior."""
    rng = np.random.default_rng(seed)
    if not isinstance(structure, Correlated):
        return rng.standard_normal(structure.n_par)
    lower, upper = structure.rho_bounds
    sd = rng.uniform(0.5, 2.0, structure.n_sd)
    return np.concatenate([sd, lower + (upper - lower) * rng.uniform(0.3, 0.8, len(lower))])


def gamma(structure, par):
    factor = structure.factor(par)
    return factor @ factor.T


@pytest.mark.parametrize("structure", STRUCTURES, ids=repr)
def test_derivatives_of_gamma(structure):
    par, h = inside(structure), 1e-6
    slopes = np.random.default_rng(1).standard_normal((structure.size, structure.size))
    slopes = slopes + slopes.T

    def central(f):
        steps = h * np.eye(len(par))
        return np.array([(f(par + step) - f(par - step)) / (2 * h) for step in steps])

    def first(par):
        return np.einsum("eij,em->mij", structure.units(par), structure.jacobian(par))

    np.testing.assert_allclose(first(par), central(lambda par: gamma(structure, par)), atol=1e-8)
    bends = central(lambda par: np.einsum("mij,ij->m", first(par), slopes))
    np.testing.assert_allclose(structure.bend(par, slopes), bends, atol=1e-7)


@pytest.mark.parametrize("structure", STRUCTURES, ids=repr)
def test_units_combine_to_gamma_and_follow_changes_of_units(structure):
    par = inside(structure)
    combined = np.einsum("e,eij->ij", structure.combination(par), structure.units(par))
    np.testing.assert_allclose(combined, gamma(structure, par), atol=1e-14)
    Z = np.random.default_rng(2).standard_normal((60, structure.size)) * 10.0
    R = structure.whitening(Z, 10)
    there = structure.units(structure.whitened(par, R))
    moved = np.einsum("ba,bij->aij", structure.lift(R), there)
    np.testing.assert_allclose(moved, R @ structure.units(par) @ R.T, atol=1e-11)


@pytest.mark.parametrize("structure", STRUCTURES, ids=repr)
def test_factors_are_lower_triangular_roots(structure):
    if not isinstance(structure, OrnsteinUhlenbeck):  # it has no identity inside its bounds
        np.testing.assert_allclose(gamma(structure, structure.start), np.eye(structure.size))
    np.testing.assert_array_equal(np.triu(structure.factor(inside(structure)), 1), 0.0)


@pytest.mark.parametrize("structure", CORRELATED, ids=repr)
def test_the_nearest_member_of_a_member_is_itself(structure):
    par = inside(structure, seed=3)
    np.testing.assert_allclose(structure.nearest(gamma(structure, par)), par, rtol=1e-9)


@pytest.mark.parametrize("structure", STRUCTURES, ids=repr)
def test_closed_under_its_whitening(structure):
    Z = np.random.default_rng(2).standard_normal((60, structure.size)) * 10.0
    R = structure.whitening(Z, 10)
    par = inside(structure)
    moved = structure.whitened(par, R)
    np.testing.assert_allclose(gamma(structure, moved), R @ gamma(structure, par) @ R.T, rtol=1e-10)
    back = structure.unwhitened(moved, R)
    np.testing.assert_allclose(gamma(structure, back), gamma(structure, par), rtol=1e-9)


@pytest.mark.parametrize("structure", CORRELATED, ids=repr)
@pytest.mark.parametrize("end", [0, 1], ids=["lower", "upper"])
def test_singular_correlations_have_a_root(structure, end):
    bound = (structure.lower, structure.upper)[end]
    par = np.concatenate([np.ones(structure.n_sd), bound[structure.n_sd :]])
    C = structure.correlation(par[structure.n_sd :]).value
    np.testing.assert_allclose(gamma(structure, par), C, atol=1e-12)
    assert np.linalg.eigvalsh(C)[0] > -1e-12


def test_structures_that_are_the_same_for_two_columns():
    par = np.array([1.3, 0.4])
    same = [AutoRegressive(2, True), CompoundSymmetry(2, True), Toeplitz(2, True)]
    for structure in same:
        np.testing.assert_allclose(gamma(structure, par), 1.69 * np.array([[1, 0.4], [0.4, 1]]))


def test_partial_autocorrelations_of_an_autoregression_vanish():
    C = AutoRegressive(5, True).correlation(np.array([0.7])).value
    np.testing.assert_allclose(Toeplitz(5, True).nearest_rho(C), [0.7, 0, 0, 0], atol=1e-12)


def test_names():
    columns = ["a", "b"]
    assert CompoundSymmetry(2, hom=False).names("g", columns) == ("g.a", "g.b", "g.rho")
    assert AutoRegressive(2, hom=True).names("g", columns) == ("g.*", "g.rho")
    assert Toeplitz(2, hom=True).names("g", columns) == ("g.*", "g.phi1")
