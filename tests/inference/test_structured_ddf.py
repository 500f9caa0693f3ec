"""Degrees of freedom where correlations are parameters: the definitions, with n x n matrices."""

import numpy as np
import pandas as pd
import pytest

import lmm
from lmm.inference.fixed.kenward_roger import KenwardRoger
from lmm.inference.fixed.satterthwaite import Satterthwaite

TERMS = [
    "cs(0 + t | g)",
    "ar1(0 + t | g)",
    "ar1(0 + t | g, hom = FALSE)",
    "toep(0 + t | g)",
    "ou(0 + t | g) + (1 | h)",
    "cs(0 + t | g, hom = TRUE) + (1 | h)",
]
STEP = 1e-4


@pytest.fixture(scope="module")
def data():
    """30 subjects seen twice at most of 4 visits, in 6 blocks."""
    rng = np.random.default_rng(3)
    g, t = (a.ravel() for a in np.indices((30, 8)))
    t = t % 4
    lags = np.abs(np.subtract.outer(np.arange(4), np.arange(4)))
    u = rng.multivariate_normal(np.zeros(4), 2.0 * 0.6**lags, 30)
    x, h, blocks = rng.standard_normal(240), rng.integers(0, 6, 240), rng.standard_normal(6)
    y = 1.0 + 0.5 * x + 0.3 * t + u[g, t] + blocks[h] + rng.standard_normal(240)
    table = pd.DataFrame({"y": y, "x": x, "g": g, "h": h, "t": pd.Categorical(t.astype(str))})
    return table[rng.uniform(size=240) < 0.85]


@pytest.fixture(scope="module", params=TERMS)
def model(request, data):
    return lmm.lmer(f"y ~ x + t + {request.param}", data)


def covariance(m, phi):
    """V (n, n) at parameters and log sigma."""
    matrices, Z = m.fit.matrices, m.Z.toarray()
    V, start = np.eye(len(Z)), 0
    for term, factor in zip(matrices.terms, matrices.factors(phi[:-1]), strict=True):
        columns = Z[:, start : start + term.q]
        start += term.q
        blocks = np.kron(np.eye(term.n_levels), factor @ factor.T)
        V = V + columns @ blocks @ columns.T
    return np.exp(2.0 * phi[-1]) * V


def information_of_fixed(m, phi):
    return m.X.T @ np.linalg.solve(covariance(m, phi), m.X)


def criterion(m, phi):
    """-2 log restricted likelihood, but a constant."""
    X, y, V = m.X, m.fit.matrices.y, covariance(m, phi)
    XVX = information_of_fixed(m, phi)
    e = y - X @ np.linalg.solve(XVX, X.T @ np.linalg.solve(V, y))
    return np.linalg.slogdet(V)[1] + np.linalg.slogdet(XVX)[1] + e @ np.linalg.solve(V, e)


def at(m):
    return np.append(m.par, np.log(m.sigma))


def central(function, phi):
    steps = STEP * np.eye(len(phi))
    return np.array([(function(phi + s) - function(phi - s)) / (2 * STEP) for s in steps])


def test_satterthwaite_by_its_definition(model):
    assert not model.optimum.boundary
    phi = at(model)
    hessian = central(lambda p: central(lambda q: criterion(model, q), p), phi)
    slopes = central(lambda p: np.linalg.inv(information_of_fixed(model, p)), phi)
    g = np.einsum("rjj->rj", slopes)
    variance = np.diag(np.linalg.inv(information_of_fixed(model, phi)))
    spread = np.einsum("rj,rs,sj->j", g, 2.0 * np.linalg.inv(hessian), g)
    expected = 2.0 * variance**2 / spread
    actual = Satterthwaite.of(model.fit).df(np.eye(len(variance)))
    np.testing.assert_allclose(actual, expected, rtol=1e-4)


def test_kenward_and_rogers_covariance_by_its_definition(model):
    """First order: V is taken as linear in its parameters around the estimates."""
    phi, X = at(model), model.X
    slopes = central(lambda p: covariance(model, p), phi)
    inverse = np.linalg.inv(covariance(model, phi))
    vcov = np.linalg.inv(X.T @ inverse @ X)
    P = inverse - inverse @ X @ vcov @ X.T @ inverse
    PG = [P @ G for G in slopes]
    W = np.linalg.inv([[0.5 * np.sum(a * b.T) for b in PG] for a in PG])
    VX = inverse @ X
    first = [VX.T @ G @ VX for G in slopes]
    bias = sum(
        W[r, s] * (VX.T @ G @ inverse @ H @ VX - first[r] @ vcov @ first[s])
        for r, G in enumerate(slopes)
        for s, H in enumerate(slopes)
    )
    expected = vcov + 2.0 * vcov @ bias @ vcov
    np.testing.assert_allclose(KenwardRoger.of(model.fit).vcov, expected, rtol=1e-5)
