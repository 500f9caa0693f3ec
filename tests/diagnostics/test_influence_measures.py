"""Influence of rows without random effects, against R 4.2.2 and against fits without the rows."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import lmm
from lmm.diagnostics.influence_measures import changes_of_coefficients

COLUMNS = ["dfb.1_", "dfb.al", "dfb.am", "dfb.x", "dffit", "cov.r", "cook.d", "hat"]


@pytest.fixture(scope="module")
def data():
    i = np.arange(40)
    a, k = np.array(["k", "l", "m"])[i % 3], np.array([1.0, 2.0, 4.0, 7.0])[i * (i // 5) % 4]
    x = 1 + i * 37 % 83 / 10 + 1.5 * (a == "l")
    eta = 0.1 * x * (a != "m") + 0.3 * (a == "l") + 0.05 * k + 0.3 * np.sin(1.7 * (i * 7 % 11))
    y = np.exp(eta + 0.2 * np.sin(12.9898 * i))
    table = {"y": y, "a": a, "x": x, "w": 0.5 + i * 11 % 7 / 3, "t": i * 7 % 9}
    return pd.DataFrame(table)


def test_weighted_least_squares_as_in_r(data):
    m = lmm.lm("y ~ a + x", data, weights="w")
    measures = m.influence_measures()
    assert list(measures.frame) == COLUMNS
    expected = [
        *(-0.04695587266, -2.91976445e-01, -2.11022870e-02, 0.061697869195),
        *(-0.407636411274, 1.05634698, 4.10040239e-02, 0.1014225249),
        *(0.06118530411, 3.43677475e-02, -6.55228087e-02, -0.080394691347),
        *(-0.159252609697, 1.13245246, 6.44474363e-03, 0.0573507904),
    ]
    assert_allclose(measures.frame.iloc[1:3].to_numpy().ravel(), expected, rtol=1e-7)
    large = measures.is_influential
    assert large.index[large.any(axis=1)].tolist() == [19, 31]
    assert [COLUMNS[j] for j in np.flatnonzero(large.loc[31])] == ["dfb.x", "dffit", "cov.r"]
    text = str(measures).split("\n")
    assert text[1] == "\t lm(formula = y ~ a + x, weights = w) :"
    assert sum(line.endswith("*") for line in text) == 2


def test_changes_of_coefficients_are_those_of_fits_without_the_row(data):
    m = lmm.lm("y ~ a + x", data, weights="w")
    changes = changes_of_coefficients(m.fit)
    full = m.influence_measures().frame
    for row in (0, 7, 31):
        without = lmm.lm("y ~ a + x", data.drop(index=row), weights="w")
        assert_allclose(changes[row], m.beta - without.beta, rtol=1e-8, atol=1e-14)
        ratio = np.linalg.det(without.vcov()) / np.linalg.det(m.vcov())
        assert_allclose(full["cov.r"][row], ratio, rtol=1e-10)


def test_generalized_models_as_in_r(data):
    # R's fits with glm.control(epsilon = 1e-14)
    gamma = lmm.glm("t ~ a + x", data[data["t"] > 0], "Gamma").influence_measures()
    expected = [-0.02348407590, 0.17321233601, -0.00143342114, 0.03088822999]
    expected += [0.27953809857, 1.08722273541, 0.03614266255, 0.07534320318]
    assert_allclose(gamma.frame.iloc[0], expected, rtol=2e-7)
    counts = lmm.glm("t ~ a + x", data, "poisson").influence_measures()
    expected = [-0.5605879974, 0.2132137088, 0.2411101247, 0.3014596398]
    expected += [-0.5664138858, 0.8931196615, 0.0805565085, 0.0969564960]
    assert_allclose(counts.frame.iloc[0], expected, rtol=2e-7)
    assert not counts.is_influential.any(axis=None)


def test_rows_left_out_stay_missing(data):
    table = data.assign(x=data["x"].where(data.index != 3))
    measures = lmm.lm("y ~ a + x", table, na_action="exclude").influence_measures()
    assert np.isnan(measures.frame.loc[3]).all()
    assert len(measures.frame) == 40


def test_names_of_r_lead_here(data):
    with pytest.raises(AttributeError, match="influence_measures"):
        lmm.lm("y ~ a", data).dfbetas  # noqa: B018
