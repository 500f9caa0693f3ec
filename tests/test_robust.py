"""Cluster-robust tests against clubSandwich, and against the laws that define them."""

import numpy as np
import pytest

import lmm
from lmm.inference.fixed.robust import KINDS, cluster_robust


@pytest.fixture(scope="module")
def unbalanced():
    rng = np.random.default_rng(7)
    g = np.repeat(np.arange(12), rng.integers(2, 9, 12))
    x, z = rng.normal(size=len(g)), rng.integers(0, 2, 12)[g]
    y = 2 + x + z + rng.normal(size=12)[g] + rng.normal(size=12)[g] * x + rng.normal(size=len(g))
    data = {"y": y, "x": x, "z": z, "g": g, "w": rng.uniform(0.5, 2, len(g))}
    return lmm.lmer("y ~ x + z + (x | g)", data, weights="w")


def marginal(m):
    Zb = (m.Z @ m.Lambda).toarray()
    return m.sigma**2 * (Zb @ Zb.T + np.diag(1 / m.weights))


def test_prints_and_numbers_of_clubsandwich():
    data = lmm.load_dataset("sleepstudy")
    m = lmm.lmer("Reaction ~ Days + (Days | Subject)", data)
    assert str(lmm.coef_test(m, vcov="CR2")) == (
        "       Coef. Estimate   SE t-stat d.f. (Satt) p-val (Satt) Sig.\n"
        " (Intercept)    251.4 6.82  36.84          17       <0.001  ***\n"
        "        Days     10.5 1.55   6.77          17       <0.001  ***"
    )
    m = lmm.lmer("Reaction ~ Days + (1 | Subject)", data)
    np.testing.assert_allclose(
        lmm.vcov_cr(m, "CR2"), [[46.574572, -1.451096], [-1.451096, 2.389463]], atol=6e-7
    )


def test_cr2_is_unbiased_when_the_model_holds(unbalanced):
    robust = cluster_robust(unbalanced.fit, "CR2")
    # E V = sum_i G_i'(Phi_i - X_i M X_i') G_i
    M = unbalanced.fit.vcov
    expected = sum(K - S.T @ M @ S for K, S in zip(robust.spreads, robust.loadings, strict=True))
    np.testing.assert_allclose(expected, M, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_degrees_of_freedom_are_those_of_the_quadratic_form(unbalanced, kind):
    m = unbalanced
    robust = cluster_robust(m.fit, kind)
    X, V, M = m.X, marginal(m), m.fit.vcov
    codes = m.fit.matrices.terms[0].codes
    residual_map = np.eye(m.nobs) - X @ M @ X.T @ np.linalg.inv(V)
    c = np.array([0.3, 1.0, -0.5])
    rows = []
    for i in range(12):
        here = codes == i
        Phi, Xi = V[np.ix_(here, here)], X[here]
        G = np.linalg.solve(Phi, Xi @ M)
        if kind == "CR1":
            G = G * np.sqrt(12 / 11)
        if kind == "CR2":
            D = np.linalg.cholesky(Phi).T
            values, vectors = np.linalg.eigh(D @ (Phi - Xi @ M @ Xi.T) @ D.T)
            kept = values > 1e-10 * values[-1]
            root = vectors[:, kept] / np.sqrt(values[kept]) @ vectors[:, kept].T
            G = (D.T @ root @ D).T @ G
        rows.append(residual_map[here].T @ (G @ c))
    P = np.array(rows)
    spread = P @ V @ P.T
    df = np.trace(spread) ** 2 / np.sum(spread**2)
    np.testing.assert_allclose(robust.df(c[None]), df, rtol=1e-8)
    variance = np.sum((P @ m.y) ** 2)
    np.testing.assert_allclose(c @ robust.vcov @ c, variance, rtol=1e-8)


def test_clusters_hold_nested_factors():
    m = lmm.lmer("strength ~ 1 + (1 | batch/cask)", lmm.load_dataset("Pastes"))
    assert lmm.coef_test(m).cluster == "batch"
    np.testing.assert_allclose(lmm.vcov_cr(m), m.vcov(), rtol=1e-3)
    batches = m.call.data["batch"].to_numpy()
    np.testing.assert_allclose(lmm.vcov_cr(m, cluster=batches), lmm.vcov_cr(m), rtol=1e-12)
    with pytest.raises(lmm.DataError, match="levels of 'batch' are spread over several clusters"):
        lmm.coef_test(m, cluster="cask:batch")


def test_crossed_factors_make_no_clusters():
    m = lmm.lmer("diameter ~ 1 + (1 | plate) + (1 | sample)", lmm.load_dataset("Penicillin"))
    with pytest.raises(lmm.DataError, match="plate, sample are crossed"):
        lmm.coef_test(m)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"vcov": "CR3"}, "kind must be one of CR0, CR1, CR2, not 'CR3'"),
        ({"cluster": "G"}, "no grouping factor 'G'. Known: g"),
        ({"cluster": [1, 2]}, r"labels, one per row used, not shape \(2,\)"),
    ],
)
def test_mistakes_are_named(unbalanced, arguments, message):
    with pytest.raises(ValueError, match=message):
        lmm.coef_test(unbalanced, **arguments)
