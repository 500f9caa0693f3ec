"""Joint covariances against Henderson's equations with dense matrices."""

import numpy as np
import pytest

import lmm
from fits import fitted
from lmm.joint import JointCovariance

MODELS = ["slopes", "independent", "pastes", "penicillin", "machines", "machines_two", "oats"]


def test_covariance_of_random_effects_without_fixed_ones():
    """sigma^2 times the inverse of Z'Z + Lambda^-2, and prediction errors that follow from it."""
    d = lmm.load_dataset("Pastes").assign(y=lambda t: t["strength"] - 60.0)
    m = lmm.lmer("y ~ 0 + (1 | batch/cask)", d)
    Z, theta = m.Z.toarray(), m.Lambda.diagonal()
    expected = m.sigma**2 * np.linalg.inv(Z.T @ Z + np.diag(1.0 / theta**2))
    full = m.vcov(full=True)
    assert full.shape == (40, 40)
    errors = m.predict(d, se=True)["se"]
    np.testing.assert_allclose(errors**2, np.diag(Z @ expected @ Z.T), rtol=1e-8)
    np.testing.assert_allclose(np.sort(np.linalg.eigvalsh(full)), np.linalg.eigvalsh(expected))
    assert lmm.joint_tests(m).to_frame().empty
    assert m.anova().to_frame().empty
    assert np.isfinite(m.predict(d, interval="prediction")).all(axis=None)


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
