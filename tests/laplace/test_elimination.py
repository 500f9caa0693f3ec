"""What the criterion asks of D, against dense matrices."""

import numpy as np
import pytest
from scipy.linalg import block_diag

import lmm
import lmm.laplace.meetings
from lmm.laplace.model import Model
from lmm.pls.choose import SOLVERS

STRUCTURES = {
    "one": "(x | g)",
    "crossed": "(1 | g) + (1 | h)",
    "slopes": "(x | g) + (1 + x + z | h)",
    "slope behind": "(1 | g) + (x | h) + (0 + z | h) + (1 | k)",
    "nested": "(x | g) + (1 | g:h) + (1 | k)",
}


def effects_of(formula, solver="auto", levels=60, n=150):
    """Random effects of a model of few meetings: of most pairs of levels there is no row."""
    rng = np.random.default_rng(8)
    g, h, k = (rng.integers(0, size, n) for size in (levels, levels // 2, 5))
    data = {"x": rng.normal(size=n), "z": rng.normal(size=n), "g": g, "h": h, "k": k}
    data["y"] = rng.integers(0, 2, n)
    control = lmm.LmerControl(check_nobs_vs_nRE="ignore", check_nobs_vs_nlev="ignore")
    matrices = lmm.build_matrices(f"y ~ 1 + {formula}", data, control=control)
    family = lmm.Binomial()
    bound = family.conditional(matrices.response.y, matrices.weights)
    return Model.of(matrices, family, bound, SOLVERS[solver]), rng


def dense(model, weights, factors):
    """Columns Z, and Z'WZ, Lambda and D."""
    groups = model.effects.groups
    Z = np.hstack(
        [
            (np.eye(group.n_levels)[group.codes][:, :, None] * group.Z[:, None]).reshape(
                model.n, -1
            )
            for group in groups
        ]
    )
    lam = block_diag(*(np.kron(np.eye(g.n_levels), g.factor(factors)) for g in groups))
    A = Z.T @ (weights[:, None] * Z)
    omega = lam.T @ A @ lam + np.eye(len(A))
    return Z, A, omega, lam @ np.linalg.inv(omega) @ lam.T


def unit_of(model, blocks):
    """A unit of every group's Gamma as one matrix."""
    groups = model.effects.groups
    return block_diag(
        *(np.kron(np.eye(g.n_levels), block) for g, block in zip(groups, blocks, strict=True))
    )


def units_of(model):
    """Symmetric units of the terms' Gammas, (e, k, k) per group."""
    return model.units(np.ones(model.d))


def entries(model):
    """Units of every entry (a, b) of the terms' Gammas."""
    for g, part in model.effects.place:
        for a in range(part.start, part.stop):
            for b in range(part.start, part.stop):
                blocks = [np.zeros((group.size,) * 2) for group in model.effects.groups]
                blocks[g][a, b] = 1.0
                yield unit_of(model, blocks)


@pytest.mark.parametrize("chunk, few", [(1 << 16, 100), (7, 0)])
@pytest.mark.parametrize("solver, size", [("auto", 1.0), ("auto", 0.0), ("sparse", 0.7)])
@pytest.mark.parametrize("structure", STRUCTURES)
def test_against_dense_matrices(structure, solver, size, chunk, few, monkeypatch):
    monkeypatch.setattr(lmm.pls.tail, "FEW", few)  # tails whose factors are inverted
    monkeypatch.setattr(lmm.laplace.meetings, "CHUNK", chunk)
    monkeypatch.setattr(lmm.laplace.meetings, "KEPT", 100 * chunk)
    model, rng = effects_of(STRUCTURES[structure], solver)
    weights = rng.uniform(0.1, 1.0, model.n)
    if solver == "auto":
        weights[::17] *= -0.05
    sizes = [term.size for term in model.matrices.terms]
    # the last term's is singular where the size is 0
    factors = tuple(np.tril(rng.normal(size=(k, k))) + np.eye(k) for k in sizes[:-1])
    factors += (size * np.eye(sizes[-1]),)
    Z, A, omega, D = dense(model, weights, factors)
    F = A - A @ D @ A
    found = model.effects.eliminated(weights, factors)
    close = {"rtol": 1e-8, "atol": 1e-9 * np.abs(F).max()}
    assert found.logdet == pytest.approx(np.linalg.slogdet(omega)[1], abs=1e-9)
    right = rng.normal(size=(len(A), 3))
    np.testing.assert_allclose(found.solve(right), D @ right, atol=1e-10)
    np.testing.assert_allclose(found.solve(right[:, 0]), D @ right[:, 0], atol=1e-10)
    np.testing.assert_allclose(found.leverages, np.einsum("ij,jk,ik->i", Z, D, Z), atol=1e-10)
    units = list(entries(model))
    sums = np.concatenate([own.ravel() for own in found.sums])
    np.testing.assert_allclose(sums, [np.trace(F @ E) for E in units], **close)
    traces = [[np.trace(F @ E @ F @ G) for G in units] for E in units]
    np.testing.assert_allclose(found.trace, traces, rtol=1e-8, atol=1e-9 * np.max(np.abs(traces)))
    assert found.is_exact(3)
    moved = rng.normal(size=(model.n, 3))
    S = [Z.T @ (own[:, None] * Z) for own in moved.T]
    products = [[np.trace(D @ one @ D @ two) for two in S] for one in S]
    traces, swept = found.moving_weights(units_of(model), moved)
    np.testing.assert_allclose(traces, products, rtol=1e-8, atol=1e-9)
    N = np.eye(len(A)) - A @ D
    units = [unit_of(model, E) for E in zip(*units_of(model), strict=True)]
    sides = [[np.trace(E @ N @ one @ N.T) for one in S] for E in units]
    np.testing.assert_allclose(swept, sides, rtol=1e-8, atol=1e-9)
