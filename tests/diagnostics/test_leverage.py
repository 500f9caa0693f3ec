"""Residuals, leverages and Cook's distances against lme4."""

import numpy as np
import pytest

import lmm
from reference import MODEL_IDS, fit_arguments, load_reference, load_table

# R's optimizers stop at a relative error of theta of about 1e-7; residuals near 0 magnify it.
RTOL, ATOL = 2e-6, 1e-8


@pytest.mark.filterwarnings("ignore::lmm.LmmWarning")
@pytest.mark.parametrize("model_id", [m for m in MODEL_IDS if m != "insteval"])
def test_diagnostics_are_those_of_lme4(model_id):
    reference = load_reference(model_id)
    data = load_table(reference["data"])
    m = lmm.lmer(reference["formula"], data, **fit_arguments(reference))
    pearson = m.residuals("pearson", scaled=True)
    np.testing.assert_allclose(pearson[:6], reference["pearson_head"], rtol=RTOL)
    hat = m.hatvalues()
    np.testing.assert_allclose(hat.sum(), reference["hat_sum"], rtol=RTOL)
    np.testing.assert_allclose(hat[:6], reference["hat_head"], rtol=RTOL)
    np.testing.assert_allclose(
        m.cooks_distance()[:6], reference["cooks_head"], rtol=2 * RTOL, atol=ATOL
    )


def test_random_intercept_sleepstudy(sleepstudy_int):
    assert sleepstudy_int.hatvalues()[0] == pytest.approx(0.107483311203734, rel=1e-6)
    assert sleepstudy_int.rstudent()[0] == pytest.approx(-1.45598, rel=1e-5)
    assert sleepstudy_int.cooks_distance()[0] == pytest.approx(0.127645976734753, rel=1e-6)


def test_models_without_fixed_effects():
    d = lmm.load_dataset("Dyestuff").assign(y=lambda t: t["Yield"] - 1500)
    m = lmm.lmer("y ~ 0 + (1 | Batch)", d)
    Z = m.Z.toarray()
    V = m.theta[0] ** 2 * Z @ Z.T + np.eye(30)
    hat = np.eye(30) - np.linalg.inv(V)
    np.testing.assert_allclose(m.hatvalues(), np.diag(hat))
    np.testing.assert_allclose(
        m.rstudent(), m.residuals() / m.sigma / np.sqrt(1.0 - np.diag(hat)), rtol=1e-10
    )
    assert m.cooks_distance().isna().all()
    table = m.augment()
    np.testing.assert_allclose(table[".hat"], np.diag(hat))
    assert table[".cooksd"].isna().all()


def test_hat_matrix_of_crossed_factors_with_weights():
    rng = np.random.default_rng(1)
    data = {"g": rng.integers(0, 6, 60), "h": rng.integers(0, 5, 60), "x": rng.normal(size=60)}
    data["y"] = data["g"] + np.array([2.0, 0, -1, 3, 1])[data["h"]] + rng.normal(size=60)
    data["w"] = rng.uniform(0.5, 2, 60)
    m = lmm.lmer("y ~ x + (1 + x || g) + (1 | h)", data, weights="w")
    W = np.diag(data["w"])
    C = np.hstack([(m.Z @ m.Lambda).toarray(), m.X])
    penalty = np.diag([1.0] * m.u.size + [0.0] * m.beta.size)
    H = C @ np.linalg.solve(C.T @ W @ C + penalty, C.T @ W)
    np.testing.assert_allclose(m.hatvalues(), np.diag(H), rtol=1e-9)
    np.testing.assert_allclose(H @ m.y, m.fitted(), rtol=1e-9)


def test_kinds_of_residuals_with_weights():
    data = lmm.load_dataset("sleepstudy").assign(w=[1.0, 2.0, 0.5] * 60)
    m = lmm.lmer("Reaction ~ Days + (Days | Subject)", data, weights="w")
    response, pearson = m.residuals(), m.residuals("pearson")
    # R: residuals(m, type), scaled or not
    np.testing.assert_allclose(response[:3], [-6.806904, -14.346707, -38.935309], rtol=1e-5)
    np.testing.assert_allclose(pearson[:3], [-6.806904, -20.289307, -27.531421], rtol=1e-5)
    np.testing.assert_allclose(
        m.residuals("pearson", scaled=True)[:3], [-0.2602649, -0.7757703, -1.0526756], rtol=1e-5
    )
    np.testing.assert_array_equal(m.residuals("working"), response)
    np.testing.assert_array_equal(m.residuals("deviance"), pearson)
    np.testing.assert_allclose(m.hatvalues()[:3], [0.20247120, 0.29666753, 0.05493248], rtol=1e-5)
    np.testing.assert_allclose(m.rstudent()[:3], [-0.2914355, -0.9250236, -1.0828371], rtol=1e-5)


def test_an_unknown_kind_is_refused(sleepstudy_int):
    with pytest.raises(ValueError, match=r"'pearsn'\. Did you mean 'pearson'"):
        sleepstudy_int.residuals("pearsn")


def test_excluded_rows_are_padded():
    data = lmm.load_dataset("sleepstudy")
    data.loc[3, "Days"] = np.nan
    m = lmm.lmer("Reaction ~ Days + (1 | Subject)", data, na_action="exclude")
    hat = m.hatvalues()
    assert len(hat) == 180
    assert list(hat.index[hat.isna()]) == [3]
