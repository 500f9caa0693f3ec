"""Cluster-robust covariances of generalized models: sandwiches of the clusters' scores."""

import numpy as np
import pytest

import lmm
from lmm.errors import DataError
from lmm.inference.fixed.scores import score_robust

CBPP = "cbind(incidence, size - incidence) ~ period + (1 | herd)"


@pytest.fixture(scope="module")
def cbpp():
    return lmm.glmer(CBPP, lmm.load_dataset("cbpp"))


def parts_of(m):
    codes = m.fit.matrices.terms[-1].codes
    return [m.fit.criterion.part(np.flatnonzero(codes == i)) for i in range(codes.max() + 1)]


def regions():
    """Counts of persons and items that are crossed within regions, and of rows within persons."""
    rng = np.random.default_rng(3)
    region, person, item = (
        part.ravel() for part in np.meshgrid(np.arange(8), np.arange(4), np.arange(5))
    )
    x = rng.standard_normal(160)
    effects = rng.standard_normal(8)[region] + rng.standard_normal(32)[4 * region + person]
    y = rng.poisson(np.exp(0.5 + 0.3 * x + 0.4 * effects))
    names = {"region": region, "person": 4 * region + person, "item": 5 * region + item}
    return {name: codes.astype(str) for name, codes in names.items()} | {"x": x, "y": y}


CASES = {
    "laplace": (CBPP, {}),
    "quadrature": (CBPP, {"nagq": 7}),
    "slopes": ("incidence ~ size + (1 + size | herd)", {"family": "poisson"}),
    "probit": (CBPP, {"family": lmm.Binomial("probit"), "information": "observed"}),
    "shape": ("y ~ x + (1 | region)", {"family": lmm.NegativeBinomial()}),
    "nested": ("y ~ x + (1 | region / person)", {"family": "poisson"}),
    "crossed": ("y ~ x + (x | person) + (1 | item) + (1 | region)", {"family": "poisson"}),
}


@pytest.mark.filterwarnings("ignore::lmm.errors.LmmWarning")
@pytest.mark.parametrize("case", CASES)
def test_scores_are_derivatives_of_what_clusters_contribute(case):
    """Contributions sum to the criterion, and their difference quotients are the scores."""
    formula, options = CASES[case]
    data = regions() if formula.startswith("y") else lmm.load_dataset("cbpp")
    m = lmm.glmer(formula, data, **({"family": "binomial"} | options))
    x = m.optimum.x + 0.1  # where scores do not sum to zero
    parts = parts_of(m)
    assert sum(part.value(x) for part in parts) == pytest.approx(
        m.fit.criterion.value(x), rel=1e-11
    )
    total = np.sum([part.gradient(x) for part in parts], axis=0)
    np.testing.assert_allclose(total, m.fit.criterion.gradient(x), rtol=1e-6, atol=1e-5)
    h = 1e-5
    for part in parts[:4]:
        quotients = [
            (part.value(x + h * e) - part.value(x - h * e)) / (2.0 * h) for e in np.eye(len(x))
        ]
        np.testing.assert_allclose(part.gradient(x), quotients, rtol=1e-5, atol=1e-5)


def test_merged_rows_come_apart():
    """Rows that are alike are one row of the criterion, but belong to their clusters."""
    rng = np.random.default_rng(1)
    codes, x = np.repeat(np.arange(40), 40), np.tile([0.0, 1.0], 800)
    y = rng.binomial(1, 1.0 / (1.0 + np.exp(-(0.5 * x + rng.standard_normal(40)[codes]))))
    m = lmm.glmer("y ~ x + (1 | g)", {"y": y, "x": x, "g": codes.astype(str)})
    assert m.fit.criterion.model.n < 100
    robust = score_robust(m.fit, "CR0")
    assert np.abs(robust.scores.sum(axis=0)).max() < 1e-5
    np.testing.assert_allclose(robust.vcov, m.vcov(), rtol=0.6)


def test_sandwich_of_numerical_derivatives(cbpp):
    """numDeriv's Hessian and gradients of each herd's Laplace approximation, written out in R."""
    known = [
        [0.081933108864, -0.095895313153, -0.070499209335, -0.057395252743],
        [-0.095895313153, 0.206401593115, 0.173565324532, 0.056242379721],
        [-0.070499209335, 0.173565324532, 0.263389149308, 0.008197324906],
        [-0.057395252743, 0.056242379721, 0.008197324906, 0.130911606665],
    ]
    np.testing.assert_allclose(lmm.vcov_cr(cbpp, "CR0"), known, rtol=2e-6)
    np.testing.assert_allclose(lmm.vcov_cr(cbpp), np.multiply(known, 15 / 14), rtol=2e-6)
    table = lmm.coef_test(cbpp)
    assert table.kind == "CR1"
    assert table.test == "z"
    errors = [0.2962861, 0.4702601, 0.5312275, 0.3745163]
    np.testing.assert_allclose(table.to_frame()["SE"], errors, rtol=1e-6)


def test_joint_tests_and_degrees_of_freedom(cbpp):
    V = lmm.vcov_cr(cbpp).to_numpy()[1:, 1:]
    b = cbpp.beta[1:]
    Q = b @ np.linalg.solve(V, b)
    chi = lmm.wald_test_cr(cbpp, ["period2", "period3", "period4"]).to_frame()
    assert chi.index[0] == "chi-sq"
    assert chi["Fstat"].iloc[0] == pytest.approx(Q / 3)
    f = lmm.wald_test_cr(cbpp, ["period2", "period3", "period4"], test="Naive-F").to_frame()
    assert f["df_denom"].iloc[0] == 14.0
    assert (lmm.coef_test(cbpp, test="naive-t").to_frame()["d.f."] == 14.0).all()


def test_clusters_of_clusters():
    m = lmm.glmer("y ~ x + (1 | region / person)", regions(), "poisson")
    assert lmm.coef_test(m).cluster == "region"
    np.testing.assert_array_equal(lmm.vcov_cr(m), lmm.vcov_cr(m, cluster="region"))
    with pytest.raises(DataError, match="spread over several clusters"):
        lmm.vcov_cr(m, cluster="person:region")


@pytest.mark.filterwarnings("ignore::lmm.SingularFitWarning")
def test_a_variance_of_zero():
    m = lmm.glmer("period == '1' ~ size + (1 | herd)", lmm.load_dataset("cbpp"))
    assert m.is_singular()
    V = lmm.vcov_cr(m, "CR0").to_numpy()
    assert np.isfinite(V).all()
    assert (np.diag(V) > 0.0).all()


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda m: lmm.vcov_cr(m, "CR2"), ValueError, "CR0, CR1, CR1p, CR1S for a generalized"),
        (lambda m: lmm.coef_test(m, test="Satterthwaite"), ValueError, "one of z, naive-t"),
        (
            lambda m: lmm.wald_test_cr(m, "period2", test="HTZ"),
            ValueError,
            "chi-sq, Naive-F, Naive-Fp here",
        ),
        (lambda m: lmm.vcov_cr(m, cluster="period"), DataError, "spread over several clusters"),
    ],
)
def test_bad_input(cbpp, call, error, message):
    with pytest.raises(error, match=message):
        call(cbpp)


def test_fixed_effects_of_the_joint_mode():
    m = lmm.glmer(CBPP, lmm.load_dataset("cbpp"), nagq=0)
    with pytest.raises(ValueError, match="with nagq=0 fixed effects are no parameters"):
        lmm.vcov_cr(m)
