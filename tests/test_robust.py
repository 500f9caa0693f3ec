"""Cluster-robust tests against clubSandwich, and against the laws that define them."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats

import lmm
from lmm.inference.fixed.robust import KINDS, cluster_robust


@pytest.fixture(scope="module")
def unbalanced():
    rng = np.random.default_rng(7)
    g = np.repeat(np.arange(12), rng.integers(2, 9, 12))
    x, z = rng.normal(size=len(g)), rng.integers(0, 2, 12)[g]
    y = 2 + x + z + rng.normal(size=12)[g] + rng.normal(size=12)[g] * x + rng.normal(size=len(g))
    data = {"y": y, "x": x, "z": z, "g": g, "w": rng.uniform(0.5, 2, len(g))}
    data["one"] = np.ones(len(g))
    data["gaps"] = np.where(g == g[0], np.nan, g)
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


@pytest.fixture(scope="module")
def sleep_with_more():
    d = lmm.load_dataset("sleepstudy")
    d["f"] = np.tile(["a", "b", "c"], 60)
    d["z"] = np.round(2.0 * np.sin(1.7 * np.arange(1, 181)), 3)
    d["two"] = (np.arange(180) // 20).astype(str)
    d = d.drop(index=[*range(7), *range(39, 44)])
    return lmm.lmer("Reaction ~ Days + f + z + (Days | Subject)", d)


# clubSandwich 0.5.8: standard errors and degrees of freedom of coef_test; Wald_test of fb = fc = 0
# (F, df_denom) by HTZ, and of all but the intercept
CLUBSANDWICH = {
    "CR0": (
        [8.1431776, 1.5227916, 3.8707213, 3.3628601, 1.2141070],
        [15.903706, 16.849889, 16.293126, 16.316098, 16.308077],
        [0.57415466, 15.327229, 12.177737, 13.087132],
    ),
    "CR1": (
        [8.3792606, 1.5669397, 3.9829393, 3.4603545, 1.2493058],
        [15.903706, 16.849889, 16.293126, 16.316098, 16.308077],
        [0.54225718, 15.327229, 11.501196, 13.087132],
    ),
    "CR2": (
        [8.4159245, 1.5675576, 3.9768336, 3.4891038, 1.2547111],
        [15.887734, 16.845616, 16.261031, 16.279287, 16.271175],
        [0.53859655, 15.295437, 11.472101, 13.027407],
    ),
    "CR3": (
        [8.7023292, 1.6137371, 4.0869589, 3.6140069, 1.2965935],
        [15.871769, 16.841416, 16.227385, 16.241170, 16.234089],
        [0.50657297, 15.263062, 10.809479, 12.966503],
    ),
    "CR4": (
        [8.4228388, 1.5676518, 3.9775786, 3.4866554, 1.2544279],
        [15.887703, 16.845696, 16.259963, 16.278471, 16.273045],
        [0.5398118, 15.295058, 11.496923, 13.02756],
    ),
}


@pytest.mark.parametrize("kind", CLUBSANDWICH)
def test_all_kinds_are_those_of_clubsandwich(sleep_with_more, kind):
    errors, df, joint = CLUBSANDWICH[kind]
    m = sleep_with_more
    table = lmm.coef_test(m, kind)
    np.testing.assert_allclose(table["SE"], errors, rtol=1e-5)
    np.testing.assert_allclose(table["d.f."], df, rtol=1e-5)
    for hypothesis, expected in (("fb, fc", joint[:2]), ("Days, fb, fc, z", joint[2:])):
        test = lmm.wald_test_cr(m, hypothesis, vcov=kind).to_frame()
        np.testing.assert_allclose(test[["Fstat", "df_denom"]].iloc[0], expected, rtol=1e-5)


def test_plain_joint_tests_are_those_of_clubsandwich(sleep_with_more):
    m = sleep_with_more
    for test, df, p in (("Naive-F", 17.0, 0.57391662), ("chi-sq", np.inf, 0.5633752)):
        row = lmm.wald_test_cr(m, ["fb", "fc"], test=test).to_frame().loc[test]
        np.testing.assert_allclose(row, [0.57380945, 2.0, df, p], rtol=1e-5)
    with pytest.raises(ValueError, match="test must be one of HTZ, Naive-F, Naive-Fp, chi-sq"):
        lmm.wald_test_cr(m, "fb", test="F")
    stools = lmm.lmer("effort ~ Type + (1 | Subject)", lmm.load_dataset("ergoStool"))
    row = lmm.wald_test_cr(stools, "TypeT2, TypeT3", test="Naive-Fp").to_frame().iloc[0]
    np.testing.assert_allclose(row, [47.0967741935, 2.0, 5.0, 5.704485035e-04], rtol=1e-7)


def test_one_coefficient_has_the_degrees_of_freedom_of_its_t_test(unbalanced):
    for kind in KINDS:
        table = lmm.coef_test(unbalanced, kind)
        row = lmm.wald_test_cr(unbalanced, "z", vcov=kind).to_frame().iloc[0]
        np.testing.assert_allclose(row["df_denom"], table["d.f."]["z"])
        np.testing.assert_allclose(row["p_val"], table["p-val"]["z"])


def test_clusters_are_any_column_of_the_data(sleep_with_more):
    # coef_test(m, vcov = "CR2", cluster = d$two)
    m = sleep_with_more
    table = lmm.coef_test(m, cluster="two")
    np.testing.assert_allclose(table["t-stat"], [31.914, 7.996, -0.147, 0.909, -0.396], atol=6e-4)
    np.testing.assert_allclose(table["d.f."], [7.73, 7.97, 7.85, 7.83, 7.87], atol=6e-3)
    labelled = m.data["two"].sample(frac=1.0, random_state=1)
    np.testing.assert_allclose(lmm.coef_test(m, cluster=labelled), table)


def test_intervals_are_those_of_clubsandwich(sleep_with_more):
    limits = lmm.coef_test(sleep_with_more).confint()
    expected = [[231.19, 266.90], [7.20, 13.81], [-8.95, 7.89], [-4.82, 9.95], [-3.19, 2.12]]
    np.testing.assert_allclose(limits, expected, atol=6e-3)


def test_cr4_makes_scores_unbiased_when_the_model_holds(unbalanced):
    robust = cluster_robust(unbalanced.fit, "CR4")
    M = unbalanced.fit.vcov
    expected = sum(K - S.T @ M @ S for K, S in zip(robust.spreads, robust.loadings, strict=True))
    np.testing.assert_allclose(expected, M, rtol=1e-9, atol=1e-12)


def test_cr2_is_unbiased_when_the_model_holds(unbalanced):
    robust = cluster_robust(unbalanced.fit, "CR2")
    # E V = sum_i G_i'(Phi_i - X_i M X_i') G_i
    M = unbalanced.fit.vcov
    expected = sum(K - S.T @ M @ S for K, S in zip(robust.spreads, robust.loadings, strict=True))
    np.testing.assert_allclose(expected, M, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", ["CR0", "CR1", "CR2"])
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
        ({"vcov": "CR5"}, "kind must be one of CR0, CR1, CR1p, CR1S, CR2, CR3, CR4, not 'CR5'"),
        ({"cluster": "G"}, "no grouping factor or column 'G'. .*Known: g, y, x"),
        ({"cluster": [1, 2]}, r"cluster must hold 68 values, one per row used, not shape \(2,\)"),
        ({"cluster": "one"}, "'one' makes a single cluster"),
        ({"cluster": "gaps"}, "gaps is missing in 8 of 68 rows"),
        ({"cluster": "x"}, "levels of 'g' are spread over several clusters of 'x'"),
    ],
)
def test_mistakes_are_named(unbalanced, arguments, message):
    with pytest.raises(ValueError, match=message):
        lmm.coef_test(unbalanced, **arguments)


# Against clubSandwich 0.5.8 (R 4.2.2); in R from i <- 0:119
def _clustered():
    i = np.arange(120)
    a, g = np.array(["k", "l", "m"])[i % 3], i * 7 % 11
    k = np.array([1.0, 2.0, 4.0, 7.0])[i * (i // 5) % 4]
    x = 1 + i * 37 % 83 / 10 + 1.5 * (a == "l")
    eta = 0.1 * x * (a != "m") + 0.3 * (a == "l") + 0.05 * k + 0.3 * np.sin(1.7 * g)
    y = np.exp(eta + 0.2 * np.sin(12.9898 * i))
    return {"y": y, "a": a, "x": x, "g": g, "w": 0.5 + i * 11 % 7 / 3}


def test_saddlepoint_p_values_are_those_of_clubsandwich():
    data = _clustered()
    tests = lmm.coef_test(lmm.lm("y ~ a + x", data), "CR3", "g", test="saddlepoint")
    p = [1.1560940e-05, 4.5111178e-05, 7.7856277e-06, 9.9811877e-05]
    assert_allclose(tests.frame["p-val"], p, rtol=1e-3)  # R's root is found to 1e-4
    assert_allclose(tests.frame["s.p."], [0.448, 0.445, 0.448, 0.443], atol=6e-4)
    assert "p-val (Saddle)" in str(tests)
    p = [5.7139007e-06, 3.4418427e-05, 4.7939898e-06, 3.0064676e-05]
    tests = lmm.coef_test(lmm.lmer("y ~ a + x + (1 | g)", data), "CR4", test="saddlepoint")
    assert_allclose(tests.frame["p-val"], p, rtol=1e-3)
    with pytest.raises(ValueError, match="no intervals"):
        tests.confint()


def test_saddlepoint_p_values_are_nearly_those_of_many_degrees_of_freedom():
    rng = np.random.default_rng(2)
    g = np.repeat(np.arange(200), 3)
    m = lmm.lm("y ~ x", {"y": rng.normal(size=600), "x": rng.normal(size=600), "g": g})
    robust = cluster_robust(m.fit, "CR2", "g", m.call.table)
    L, t = np.eye(2)[[1] * 5], np.array([0.3, 0.9999, 1.0001, 1.0, 2.5])
    points, p = robust.saddlepoints(L, t)
    assert_allclose(p, 2 * stats.t.sf(t, robust.df(L)), rtol=0.03)
    assert np.all(np.diff(points[[0, 1, 3, 2, 4]]) >= 0.0)


def test_scores_of_mixed_models_are_unbiased_as_in_clubsandwich():
    m = lmm.lmer("y ~ a + x + (1 | g)", _clustered())
    V = [
        [0.018346180, 0.0093442871, -0.0055365471, -0.0011463506],
        [0.009344287, 0.0184710292, 0.0002714020, -0.0007514838],
        [-0.005536547, 0.0002714020, 0.0083911861, -0.0009064195],
        [-0.001146351, -0.0007514838, -0.0009064195, 0.0004396279],
    ]
    assert_allclose(lmm.vcov_cr(m, "CR4"), V, rtol=2e-6)


def test_weights_are_inverse_variances_of_the_working_model():
    # vcovCR(lm(y ~ a + x, d, weights = w), d$g, "CR2", target = 1 / d$w)
    tests = lmm.coef_test(lmm.lm("y ~ a + x", _clustered(), weights="w"), "CR2", "g").frame
    assert_allclose(tests["SE"], [0.1490439919, 0.1655644661, 0.1045973867, 0.0290791284])
    assert_allclose(tests["d.f."], [9.58, 9.79, 9.68, 9.89], atol=0.006)
    p = [2.0894841e-05, 7.9090061e-05, 1.4692920e-05, 2.6428187e-04]
    assert_allclose(tests["p-val"], p, rtol=1e-7)
