"""Satterthwaite's and Kenward-Roger's methods against R, and against their definitions."""

import json
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy.linalg import block_diag
from scipy.stats import f_oneway

import lmm
from lmm.inference.fixed import ddf as ddf_module
from lmm.inference.fixed.ddf import Asymptotic, check_contrasts, ddf_method
from lmm.inference.fixed.kenward_roger import KenwardRoger
from lmm.inference.fixed.satterthwaite import Satterthwaite
from lmm.inference.fixed.sensitivity import total_roots
from reference import FOLDER, fit_arguments, load_reference, load_table
from reference.inference import fit, frame, load_inference
from reference.inference import load_table as table_of

# lme4 stops within about 1e-7 of its parameters' optimum; p-values amplify that.
DF, STATISTIC, P_VALUE = 1e-3, 1e-5, 1e-4
TESTED = [
    path.stem
    for path in sorted(FOLDER.glob("*.json"))
    if "coef_satt" in json.loads(path.read_text())
]
METHODS = {"satt": "satterthwaite", "kr": "kenward-roger"}
CASES = load_inference()["models"]
IDS = [f"{case['formula']} in {case['data']} {case['contrasts'] or ''}" for case in CASES]


def reference_frame(table):
    rows = [table["rows"]] if isinstance(table["rows"], str) else table["rows"]
    return frame({**table, "rows": rows, "values": np.reshape(table["values"], (len(rows), -1))})


@pytest.fixture(params=TESTED, scope="module")
def reference(request):
    r = load_reference(request.param)
    return r, lmm.lmer(r["formula"], load_table(r["data"]), **fit_arguments(r))


@pytest.mark.parametrize("key", METHODS)
def test_coefficients_are_those_of_lmertest(reference, key):
    r, m = reference
    expected = reference_frame(r[f"coef_{key}"])
    assert_same_tests(
        m.summary(ddf=METHODS[key]).coefficients, expected, "df", "t value", "Pr(>|t|)"
    )


@pytest.mark.parametrize("type_", [1, 2, 3])
@pytest.mark.parametrize("key", METHODS)
def test_anova_is_that_of_lmertest(reference, key, type_):
    r, m = reference
    expected = reference_frame(r[f"anova_{key}_{type_}"])
    found = m.anova(type=type_, ddf=METHODS[key]).to_frame()
    assert_same_tests(found, expected, "DenDF", "F value", "Pr(>F)")
    assert_allclose(found["Mean Sq"], expected["Mean Sq"], rtol=STATISTIC)


@pytest.fixture(params=CASES, ids=IDS, scope="module")
def case(request):
    return request.param, fit(request.param)


def test_tests_of_unbalanced_and_singular_models_are_those_of_lmertest(case):
    r, m = case
    for name, expected in r["coefficients"].items():
        found = m.summary(ddf=name).coefficients
        assert_same_tests(found, frame(expected), "df", "t value", "Pr(>|t|)")
    for name, tables in r["anova"].items():
        for type_, expected in tables.items():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", lmm.MissingCellsWarning)
                found = m.anova(type_, name).to_frame()
            assert_same_tests(found, frame(expected), "DenDF", "F value", "Pr(>F)")


def assert_same_tests(found, expected, df, statistic, p_value):
    assert list(found.index) == list(expected.index)
    assert list(found.columns) == list(expected.columns)
    assert_allclose(found[df], expected[df], rtol=DF)
    assert_allclose(found[statistic], expected[statistic], rtol=STATISTIC, atol=1e-9)
    # In the far tail a change of 1e-6 in t already changes more than the fourth digit of p.
    assert_allclose(found[p_value], expected[p_value], rtol=P_VALUE, atol=1e-17)


def test_adjusted_covariance_is_that_of_pbkrtest():
    m = lmm.lmer("y ~ A*B + x + (x|g) + (1|h)", table_of("unbalanced"))
    expected = np.array(load_inference()["vcov_adjusted"])
    scale = np.sqrt(np.diag(expected))
    assert_allclose(
        ddf_method(m.fit, "kenward-roger").vcov / np.outer(scale, scale),
        expected / np.outer(scale, scale),
        atol=1e-5,
    )


# Definitions -------------------------------------------------------------------------------------

CROSSED = "y ~ A + x + (1 + x|g) + (1|h)"
WEIGHTED = {"weights": "w"}
MODELS = [
    ("y ~ A*B + x + (1|g)", {}),
    ("y ~ A + x + (1 + x|g)", {}),
    ("y ~ A + x + (1 + x||g)", {}),
    (CROSSED, {}),
    (CROSSED, WEIGHTED),
    ("y ~ A + (1|g) + (0 + x|g) + (z|h)", {"reml": False}),
]


@pytest.fixture(params=MODELS, ids=[f"{f} {k}" for f, k in MODELS], scope="module")
def model(request):
    formula, arguments = request.param
    control = lmm.LmerControl(check_conv_singular="ignore")
    return lmm.lmer(formula, table_of("unbalanced"), control=control, **arguments)


def marginal_covariance(m, theta, sigma):
    """Sigma (n, n) by its definition."""
    blocks = [
        np.kron(np.eye(term.n_levels), factor @ factor.T)
        for term, factor in zip(m.fit.matrices.terms, m.fit.matrices.factors(theta), strict=True)
    ]
    Z = m.Z.toarray()
    return sigma**2 * (Z @ block_diag(*blocks) @ Z.T + np.diag(1.0 / m.weights))


def covariance_at(m, phi):
    """Sigma at whitened coordinates and log sigma."""
    return marginal_covariance(m, m.fit.criterion.to_theta(phi[:-1]), np.exp(phi[-1]))


def minus_two_loglik(m, phi):
    """Criterion with sigma not profiled out, up to a constant."""
    V = covariance_at(m, phi)
    inverse = np.linalg.inv(V)
    information = m.X.T @ inverse @ m.X
    residual = m.y - m.X @ np.linalg.solve(information, m.X.T @ inverse @ m.y)
    value = np.linalg.slogdet(V)[1] + residual @ inverse @ residual
    return value + (np.linalg.slogdet(information)[1] if m.reml else 0.0)


def second_differences(f, x, step):
    m = len(x)
    H = np.empty((m, m))
    E = step * np.eye(m)
    for i in range(m):
        for j in range(m):
            H[i, j] = f(x + E[i] + E[j]) - f(x + E[i] - E[j]) - f(x - E[i] + E[j])
            H[i, j] += f(x - E[i] - E[j])
    return H / (4.0 * step**2)


def entries_of_mu(m):
    """Derivatives (m + 1, m + 1) of x and log sigma in the method's own coordinates."""
    blocks = []
    for term, C in zip(m.fit.matrices.terms, total_roots(m.fit), strict=True):
        rows, columns = term.covariance.pattern
        moved = np.zeros((len(rows), term.size, term.size))
        moved[np.arange(len(rows)), :, columns] = C.T[rows]
        blocks.append(moved[:, rows, columns].T)
    return block_diag(*blocks, 1.0)


def test_satterthwaite_has_the_derivatives_of_the_likelihood(model):
    phi = np.append(model.fit.optimum.x, np.log(model.sigma))
    J = entries_of_mu(model)
    H = J.T @ second_differences(lambda x: minus_two_loglik(model, x), phi, 1e-3) @ J
    method = Satterthwaite.of(model.fit)
    assert_allclose(np.linalg.inv(method.varpar_vcov / 2.0), H, rtol=1e-4, atol=1e-4 * H.max())
    for r, step in enumerate(1e-5 * J.T):
        slope = (vcov_at(model, phi + step) - vcov_at(model, phi - step)) / 2e-5
        assert_allclose(method.gradients[r], slope, atol=1e-6 * np.abs(slope).max())


def vcov_at(m, phi):
    return np.linalg.inv(m.X.T @ np.linalg.inv(covariance_at(m, phi)) @ m.X)


def test_kenward_roger_follows_its_definition(model):
    """Kenward & Roger (1997) with n x n matrices and the residual variance as a parameter."""
    if not model.reml:
        with pytest.warns(lmm.RefitWarning):
            method = KenwardRoger.of(model.fit)
    else:
        method = KenwardRoger.of(model.fit)
    fit_ = method.fit
    refitted = lmm.LinearMixedModel(fit_, model.call, ())
    V = marginal_covariance(refitted, fit_.theta, fit_.sigma)
    inverse = np.linalg.inv(V)
    X = model.X
    Phi = np.linalg.inv(X.T @ inverse @ X)
    G = [*structures(refitted), np.diag(1.0 / model.weights)]
    halves = [inverse @ g for g in G]
    P = [-X.T @ half @ inverse @ X for half in halves]
    Q = [[X.T @ a @ b @ inverse @ X for b in halves] for a in halves]
    information = np.array(
        [
            [
                np.trace(a @ b) - 2.0 * np.trace(Phi @ Q[i][j]) + np.trace(Phi @ P[i] @ Phi @ P[j])
                for j, b in enumerate(halves)
            ]
            for i, a in enumerate(halves)
        ]
    )
    W = 2.0 * np.linalg.inv(information)
    U = sum(W[i, j] * (Q[i][j] - P[i] @ Phi @ P[j]) for i in range(len(G)) for j in range(len(G)))
    expected = Phi + 2.0 * Phi @ U @ Phi
    assert_allclose(method.vcov, expected, atol=1e-8 * np.abs(expected).max())
    L = np.eye(len(Phi))[1:3]
    theta = L.T @ np.linalg.solve(L @ Phi @ L.T, L)
    traces = [np.trace(theta @ Phi @ p @ Phi) for p in P]
    A1 = sum(W[i, j] * traces[i] * traces[j] for i in range(len(G)) for j in range(len(G)))
    A2 = sum(
        W[i, j] * np.trace(theta @ Phi @ P[i] @ Phi @ theta @ Phi @ P[j] @ Phi)
        for i in range(len(G))
        for j in range(len(G))
    )
    B, g = (A1 + 6 * A2) / 4, (3 * A1 - 6 * A2) / (4 * A2)
    c1, c2, c3 = (c / (6 + 2 * (1 - g)) for c in (g, 2 - g, 4 - g))
    E, variance = 1 / (1 - A2 / 2), (1 + c1 * B) / ((1 - c2 * B) ** 2 * (1 - c3 * B))
    rho = variance / (2 * E**2)
    m_df = 4 + 4 / (2 * rho - 1)
    test = method.f_test(L)
    assert_allclose(test.ddf, m_df, rtol=1e-7)
    assert_allclose(test.scaling, m_df / (E * (m_df - 2)), rtol=1e-7)


def structures(m):
    """Derivatives of Sigma in the variances and covariances of each term."""
    start = 0
    Z = m.Z.toarray()
    for term in m.fit.matrices.terms:
        columns = Z[:, start : start + term.q]
        start += term.q
        for i, j in zip(*term.covariance.pattern, strict=True):
            S = np.zeros((term.size, term.size))
            S[i, j] = S[j, i] = 1.0
            yield columns @ np.kron(np.eye(term.n_levels), S) @ columns.T


def test_differences_of_the_gradient_give_the_exact_trace(monkeypatch, model):
    criterion, factors = model.fit.criterion, model.fit.whitened_factors
    parameters = criterion.parameters
    units = parameters.units(parameters.start)
    _, exact = criterion.exactly(factors, units)
    point = type(criterion.pls.at(factors))
    derivatives = point.derivatives
    monkeypatch.setattr(
        point, "derivatives", lambda self, reml: replace(derivatives(self, reml), trace=None)
    )
    _, differenced = criterion.exactly(factors, units)
    scale = np.sqrt(np.diag(exact.trace))
    error = (differenced.trace - exact.trace) / np.outer(scale, scale)
    assert np.abs(error).max() < 1e-4


# Exact degrees of freedom -------------------------------------------------------------------------

RATIOS = [1e-3, 0.1, 1.0, 30.0, 1e3, 1e4]
SIZES = [100, 10_000, pytest.param(1_000_000, marks=pytest.mark.slow)]


def balanced(n, groups, ratio):
    """Treatments between equal groups; sd(between) / sigma is about the ratio."""
    rng = np.random.default_rng(1)
    group = np.arange(n) % groups
    d = pd.DataFrame({"g": group, "arm": np.where(group % 2, "B", "A")})
    d["x"] = (np.arange(n) // groups) % 5
    d["y"] = ratio * rng.normal(size=groups)[group] + rng.normal(size=n)
    return d


@pytest.mark.filterwarnings("ignore::lmm.SingularFitWarning")
@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("groups", [4, 20])
@pytest.mark.parametrize("n", SIZES)
def test_treatments_between_balanced_groups_have_exact_degrees_of_freedom(n, groups, ratio):
    """The groups' means are a one-way design with groups - 2 degrees of freedom."""
    d = balanced(n, groups, ratio)
    m = lmm.lmer("y ~ arm + (1 | g)", d)
    names = ["kenward-roger"] if m.is_singular() else METHODS.values()
    for name in names:
        method = ddf_method(m.fit, name)
        assert_allclose(method.df(np.array([[0.0, 1.0]])), groups - 2, rtol=1e-5)
        assert_allclose(method.f_test(np.array([[0.0, 1.0]])).ddf, groups - 2, rtol=1e-5)
    # the exact F test is the analysis of variance of the groups' means
    means = d.groupby(["arm", "g"], as_index=False)["y"].mean()
    arms = [part["y"].to_numpy() for _, part in means.groupby("arm")]
    if not m.is_singular():
        F = m.anova(ddf="kenward-roger").to_frame().loc["arm"]
        assert_allclose(F[["F value", "Pr(>F)"]], f_oneway(*arms), rtol=1e-4)
        many = lmm.refit_many(m, d[["y"]].to_numpy())
        assert_allclose(many.df.iloc[0, 1], groups - 2, rtol=1e-4)


@pytest.mark.parametrize("ratio", RATIOS[2:])
@pytest.mark.parametrize("name", METHODS.values())
def test_treatments_between_balanced_random_slopes(name, ratio):
    d = balanced(1000, 20, 1.0)
    slopes = np.random.default_rng(2).normal(size=(20, 2)) * [ratio, 1.0]
    d["y"] += slopes[d["g"], 0] + slopes[d["g"], 1] * d["x"]
    m = lmm.lmer("y ~ arm * x + (x | g)", d)
    assert_allclose(ddf_method(m.fit, name).df(np.eye(4)), 18.0, rtol=1e-5)


@pytest.mark.parametrize("solver", ["auto", "dense", "sparse"])
@pytest.mark.parametrize("name", METHODS.values())
@pytest.mark.parametrize("ratio", [1.0, 80.0, 1e3])
def test_treatments_between_balanced_crossed_factors(ratio, name, solver):
    """Levels of a balanced crossed factor are compared among themselves: 12 - 2."""
    rng = np.random.default_rng(1)
    rows = [(a, b) for a in range(12) for b in range(10) for _ in range(2)]
    d = pd.DataFrame(rows, columns=["a", "b"])
    d["t"] = (d["a"] % 2).astype(str)
    d["y"] = ratio * rng.normal(size=12)[d["a"]] + rng.normal(size=10)[d["b"]]
    d["y"] += rng.normal(size=len(d))
    m = lmm.lmer("y ~ t + (1 | a) + (1 | b)", d, solver=solver)
    assert_allclose(ddf_method(m.fit, name).df(np.array([[0.0, 1.0]])), 10.0, rtol=1e-5)


def test_marginal_means_have_the_same_degrees_of_freedom():
    m = lmm.lmer("y ~ arm + (1 | g)", balanced(2000, 4, 3.0))
    assert_allclose(lmm.emmeans(m, "arm").pairs().to_frame()["df"], 2.0, rtol=1e-6)


@pytest.mark.filterwarnings("ignore::lmm.ScaleWarning")
@pytest.mark.parametrize("name", METHODS.values())
def test_units_of_coefficients_do_not_change_the_rank_of_a_test(name):
    d = balanced(100, 20, 1.0).assign(z=np.random.default_rng(3).normal(size=100))
    expected = lmm.lmer("y ~ x + z + (1 | g)", d).contest(np.eye(3)[1:], ddf=name).to_frame()
    large = lmm.lmer("y ~ x + z + (1 | g)", d.assign(z=1e9 * d["z"]))
    found = large.contest(np.eye(3)[1:], ddf=name).to_frame()
    assert_allclose(found["NumDF"], 2)
    assert_allclose(found["F value"], expected["F value"], rtol=1e-6)
    assert_allclose(found["DenDF"], expected["DenDF"], rtol=0.05)


# Behaviour ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sleep():
    return lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))


@pytest.mark.parametrize("name", METHODS.values())
def test_origin_of_a_covariate_does_not_matter(sleep, name):
    shifted = lmm.load_dataset("sleepstudy")
    shifted["Days"] += 2000
    m = lmm.lmer("Reaction ~ Days + (Days | Subject)", shifted)
    row = m.summary(ddf=name).coefficients.loc["Days"]
    assert_allclose(row["df"], 17.0, rtol=1e-4)
    assert_allclose(row["t value"], 6.7714853, rtol=1e-6)


def test_asymptotic_tests_are_normal(sleep):
    method = ddf_method(sleep.fit, "asymptotic")
    assert isinstance(method, Asymptotic)
    test = method.f_test(np.eye(2))
    assert test.ddf == np.inf
    assert_allclose(test.p_value, np.exp(-test.statistic), rtol=1e-9)  # chi-square with 2 df


def test_single_questions(sleep):
    method = ddf_method(sleep.fit, "Kenward-Roger")
    assert_allclose(method.f_test(np.array([[0.0, 1.0]])).ddf, 17.0)
    assert_allclose(method.f_test(np.eye(2)).ddf, 16.0)
    assert_allclose(ddf_method(sleep.fit, "satterthwaite").vcov, sleep.fit.vcov)


def test_kenward_roger_where_its_variance_has_a_pole():
    m = lmm.lmer("score ~ Machine + (Machine | Worker)", lmm.load_dataset("Machines"))
    found = m.anova(ddf="kenward-roger").to_frame().loc["Machine", ["F value", "DenDF", "Pr(>F)"]]
    # lmerTest 3.1-3, lme4's bobyqa with rhoend 1e-10.
    assert_allclose(found.to_numpy(dtype=float), [32.8030146, 4, 0.003302374], rtol=STATISTIC)


def test_maximum_likelihood_fits_are_refitted_for_kenward_roger(sleep):
    ml = sleep.refit_ml()
    with pytest.warns(lmm.RefitWarning, match="refitted by REML"):
        summary = ml.summary(ddf="kenward-roger")
    expected = sleep.summary(ddf="kenward-roger").coefficients
    assert_allclose(summary.coefficients, expected, rtol=1e-5)
    assert summary.fit.reml


def test_satterthwaite_of_a_maximum_likelihood_fit(sleep):
    row = sleep.refit_ml().anova().to_frame().loc["Days"]
    assert_allclose([row["DenDF"], row["F value"]], [18.0, 48.551], rtol=1e-4)


@pytest.mark.parametrize(
    "question",
    [
        lambda m: m.summary(ddf="kenward"),
        lambda m: m.anova(ddf="KR"),
        lambda m: m.contest([0, 1], ddf="z"),
    ],
)
def test_unknown_methods_are_listed(sleep, question):
    with pytest.raises(ValueError, match=r"unknown ddf method .*satterthwaite, kenward-roger"):
        question(sleep)


@pytest.mark.parametrize("L", [[1], [[1, 0, 0]], np.zeros((1, 1, 2))])
def test_contrasts_of_the_wrong_length_are_refused(sleep, L):
    with pytest.raises(lmm.DataError, match=r"2 coefficients: .*\(Intercept\), Days"):
        check_contrasts(sleep.fit, L)


def test_contrasts_must_be_finite(sleep):
    with pytest.raises(lmm.DataError, match="missing or infinite"):
        check_contrasts(sleep.fit, [0, np.nan])


@pytest.mark.slow
def test_crossed_factors_are_quick():
    m = lmm.lmer("y ~ service + (1|s) + (1|d) + (1|dept:service)", lmm.load_dataset("InstEval"))
    satterthwaite = m.summary(ddf="satterthwaite").coefficients["df"]
    kenward_roger = m.summary(ddf="kenward-roger").coefficients["df"]
    assert_allclose(satterthwaite, [30.104843, 19.234970], rtol=1e-4)
    assert_allclose(kenward_roger, [28.259434, 18.053313], rtol=1e-4)


def test_methods_have_the_names_of_the_table():
    assert list(ddf_module.METHODS) == ["satterthwaite", "kenward-roger", "asymptotic"]
