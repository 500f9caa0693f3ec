"""Joint covariances against Henderson's equations with dense matrices."""

import numpy as np
import pytest

from fits import fitted
from lmm.joint import JointCovariance
from lmm.pls import PenalizedFactor
from lmm.pls.dense import DensePLS

MODELS = ["slopes", "independent", "pastes", "penicillin", "machines", "machines_two", "oats"]


def groups_of(fit):
    """Per group, the positions of its random effects in lme4's order, (l, k)."""
    starts = np.cumsum([0, *(term.q for term in fit.matrices.terms)])
    for group in fit.criterion.problem.groups:
        parts = []
        for i, part in group.members:
            k = part.stop - part.start
            parts.append(starts[i] + np.arange(group.n_levels)[:, None] * k + np.arange(k))
        yield np.hstack(parts)


def effects_of(fit):
    """Columns of each group at the rows of the fit."""
    return {
        g: (group.codes, np.hstack([fit.matrices.terms[i].Z for i, _ in group.members]))
        for g, group in enumerate(fit.criterion.problem.groups)
    }


def henderson(model):
    """Inverse of the mixed-model equations times sigma^2, beta first, then b in lme4's order."""
    X, Z, Lambda = model.X, model.Z.toarray(), model.Lambda.toarray()
    # With b = Lambda u the equations have an inverse for a singular Lambda too.
    XZ = np.hstack([X, Z @ Lambda])
    penalty = np.diag([0.0] * X.shape[1] + [1.0] * Z.shape[1])
    back = np.eye(XZ.shape[1])
    back[X.shape[1] :, X.shape[1] :] = Lambda
    return model.sigma**2 * back @ np.linalg.inv(XZ.T @ XZ + penalty) @ back.T


@pytest.mark.parametrize("name", MODELS)
def test_blocks_and_products_are_those_of_the_dense_inverse(name):
    fit = fitted(name).fit
    problem, factors = fit.criterion.problem, fit.criterion.factors(fit.optimum.x + 0.1)
    state = DensePLS(problem).at(factors)
    D = state.Lambda @ np.linalg.inv(state.L @ state.L.T) @ state.Lambda.T
    factor = PenalizedFactor.of(problem, factors)
    positions = list(groups_of(fit))
    rng = np.random.default_rng(1)
    for g, rows in enumerate(positions):
        diagonal = D[rows[:, :, None], rows[:, None, :]]
        np.testing.assert_allclose(factor.diagonal_blocks[g], diagonal, atol=1e-10)
        for h, columns in enumerate(positions):
            i, j = rng.integers(len(rows), size=9), rng.integers(len(columns), size=9)
            if g == h:
                j = i
            expected = D[rows[i][:, :, None], columns[j][:, None, :]]
            np.testing.assert_allclose(factor.blocks(g, h, i, j), expected, atol=1e-10)
    right = [rng.normal(size=(*rows.shape, 3)) for rows in positions]
    stacked = np.zeros((len(D), 3))
    for rows, part in zip(positions, right, strict=True):
        stacked[rows] = part
    for rows, part in zip(positions, factor.product(tuple(right)), strict=True):
        np.testing.assert_allclose(part, (D @ stacked)[rows], atol=1e-10)


@pytest.mark.parametrize("name", MODELS)
def test_joint_covariance_solves_hendersons_equations(name):
    model = fitted(name)
    expected = henderson(model)
    joint = JointCovariance(model.fit)
    p = model.fit.matrices.p
    positions = [rows + p for rows in groups_of(model.fit)]
    order = np.concatenate([np.arange(p), *(rows.ravel() for rows in positions)])
    scale = np.abs(expected).max()
    np.testing.assert_allclose(joint.matrix(), expected[np.ix_(order, order)], atol=1e-10 * scale)
    for blocks, rows in zip(joint.random, positions, strict=True):
        np.testing.assert_allclose(
            blocks, expected[rows[:, :, None], rows[:, None, :]], atol=1e-10 * scale
        )
    W = np.hstack([model.X, model.Z.toarray()])
    np.testing.assert_allclose(
        joint.variance(model.X, effects_of(model.fit)),
        np.einsum("ij,jk,ik->i", W, expected, W),
        rtol=1e-8,
    )


def test_an_unknown_level_has_the_variance_of_the_population():
    model = fitted("slopes")
    z, X = np.array([[1.0, 4.0]]), np.array([[1.0, 4.0]])
    unknown = JointCovariance(model.fit).variance(X, {0: (np.array([-1]), z)})
    fixed = X @ model.fit.vcov @ X.T
    np.testing.assert_allclose(unknown, (fixed + z @ model.fit.covariances[0] @ z.T)[0])
