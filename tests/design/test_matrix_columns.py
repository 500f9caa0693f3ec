"""Matrices among the data: one term of a formula, held column by column."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import lmm

N = 60


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(11)
    g = np.repeat(np.arange(12), 5)
    M = rng.normal(size=(N, 3))
    y = 1.0 + M @ [1.0, -0.5, 0.0] + rng.normal(size=12)[g] + rng.normal(size=N)
    f = np.tile(["a", "b"], N // 2)
    return {"y": y, "M": M, "g": np.array([f"{level:02d}" for level in g]), "f": f}


@pytest.fixture(scope="module")
def apart(data):
    columns = dict(zip(["M1", "M2", "M3"], data["M"].T, strict=True))
    return {"y": data["y"], **columns, "g": data["g"], "f": data["f"]}


@pytest.mark.filterwarnings("ignore::lmm.SingularFitWarning")
def test_a_matrix_is_one_term_with_the_names_of_r(data, apart):
    m = lmm.lmer("y ~ M * f + (1 | g)", data)
    other = lmm.lmer("y ~ (M1 + M2 + M3) * f + (1 | g)", apart)
    # R: names(fixef(lmer(y ~ M * f + (1 | g), d)))
    names = ["(Intercept)", "M1", "M2", "M3", "fb", "M1:fb", "M2:fb", "M3:fb"]
    assert list(m.fixef().index) == names
    assert_allclose(m.fixef(), other.fixef()[names], rtol=1e-10)
    assert list(m.anova().index) == ["M", "f", "M:f"]
    assert m.anova()["NumDF"].tolist() == [3, 1, 3]
    assert lmm.lmer("y ~ f + (M | g)", data).cnms == {"g": ("(Intercept)", "M1", "M2", "M3")}


def test_columns_with_names_and_single_columns(data):
    named = pd.DataFrame(data["M"], columns=["a", "b", "c"])
    assert list(lmm.lmer("y ~ M + (1 | g)", data | {"M": named}).fixef().index[1:]) == [
        "Ma",
        "Mb",
        "Mc",
    ]
    single = lmm.lmer("y ~ M + (1 | g)", data | {"M": data["M"][:, :1]})
    assert list(single.fixef().index) == ["(Intercept)", "M"]


def test_new_data_have_the_same_form(data, apart):
    m = lmm.lmer("y ~ M + (1 | g)", data)
    assert_allclose(m.predict({"M": data["M"][:4], "g": data["g"][:4]}), m.fitted()[:4])
    assert_allclose(m.predict(m.data), m.fitted())
    for few in (data["M"][:4, :2], pd.DataFrame(data["M"][:4], columns=["a", "b", "c"])):
        with pytest.raises(lmm.DataError, match="the matrix 'M' has other columns than"):
            m.predict({"M": few, "g": data["g"][:4]})
    with pytest.raises(lmm.DataError, match="the formula uses 'M'"):
        m.predict({"g": data["g"][:4]})


def test_models_with_matrices_are_saved_changed_and_compared(data, tmp_path):
    m = lmm.lmer("y ~ M + f + (1 | g)", data)
    m.save(tmp_path / "m.lmm")
    loaded = lmm.load(tmp_path / "m.lmm")
    rows = {"M": data["M"][:3], "g": data["g"][:3], "f": data["f"][:3]}
    assert_allclose(loaded.predict(rows), m.predict(rows))
    assert m.update(". ~ . - M").fixef().size == 2
    assert m.drop1().loc["M", "npar"] == 3
    assert lmm.kr_modcomp(m, "M").to_frame()["ndf"].iloc[0] == 3
    assert lmm.lmer("y ~ . - g + (1 | g)", data).fixef().size == 5
    assert_allclose(lmm.slopes(m, "M[, 2]")["estimate"], m.fixef()["M2"], rtol=1e-6)
    assert lmm.standardize_parameters(m).shape[0] == 5
    assert lmm.emmeans(m, "f").to_frame().shape[0] == 2


def test_rows_with_missing_parts_are_left_out(data):
    M = data["M"].copy()
    M[3, 1] = np.nan
    assert lmm.lmer("y ~ M + (1 | g)", data | {"M": M}).nobs == N - 1


@pytest.mark.parametrize(
    "formula, matrix, message",
    [
        ("y ~ M + (1 | g)", np.empty((N, 0)), "must have columns of different names"),
        ("y ~ M + (1 | g)", np.full((N, 2), "a"), r"M\[, 1\] must be numeric"),
        ("y ~ M + (1 | g)", np.ones((N, 2, 2)), "must have one dimension"),
        ("y ~ M + (1 | g)", np.ones((N - 1, 2)), "differ in length"),
        ("y ~ 1 + (1 | M)", np.ones((N, 2)), "a matrix cannot be used as a factor"),
        ("M ~ 1 + (1 | g)", np.ones((N, 2)), "can't handle matrix-valued responses"),
    ],
)
def test_what_a_matrix_cannot_be(data, formula, matrix, message):
    with pytest.raises(lmm.DataError, match=message):
        lmm.lmer(formula, data | {"M": matrix})


@pytest.mark.filterwarnings("ignore::lmm.SingularFitWarning")
def test_two_columns_of_counts_are_a_response(data):
    counts = np.c_[np.arange(N) % 4 + 1, 3 - np.arange(N) % 3]
    table = data | {"B": counts, "s": counts[:, 0], "t": counts.sum(axis=1)}
    m = lmm.glmer("B ~ f + (1 | g)", table, "binomial")
    assert_allclose(m.beta, lmm.glmer("cbind(s, t - s) ~ f + (1 | g)", table, "binomial").beta)


@pytest.mark.parametrize("expression", ["I(M^2)", "exp(M)", "I(M * M)", "I(M/x)", "I(-M + 2)"])
def test_arithmetic_goes_column_by_column(data, expression):
    M, x = data["M"], 1.0 + np.arange(N) % 5
    made = {
        "I(M^2)": M**2,
        "exp(M)": np.exp(M),
        "I(M * M)": M**2,
        "I(M/x)": M / x[:, None],
        "I(-M + 2)": 2 - M,
    }[expression]
    m = lmm.lmer(f"y ~ {expression} + (1 | g)", data | {"x": x})
    # R: names(fixef(lmer(y ~ I(M^2) + (1 | g), d)))
    assert list(m.fixef().index[1:]) == [f"{expression}{j}" for j in (1, 2, 3)]
    assert_allclose(m.fit.matrices.X[:, 1:], made)
    rows = {"M": M[:3], "x": x[:3], "g": data["g"][:3]}
    assert_allclose(m.predict(rows), m.fitted()[:3])


@pytest.mark.parametrize("expression", ["poly(M, 2)", "I(M & M)", "I(M + K)"])
def test_what_has_no_matrix_of_values(data, expression):
    table = data | {"K": data["M"][:, :2]}
    with pytest.raises(lmm.FormulaError, match=r"is given a matrix|of as many columns"):
        lmm.lmer(f"y ~ {expression} + (1 | g)", table)


@pytest.mark.filterwarnings("ignore::lmm.SingularFitWarning")
def test_columns_of_a_matrix_rise_together_or_alone(data):
    m = lmm.lmer("y ~ M + I(M^2) + f + (1 | g)", data)
    beta, mean = m.fixef(), data["M"].mean(axis=0)
    own = [beta[f"M{j}"] + 2 * beta[f"I(M^2){j}"] * mean[j - 1] for j in (1, 2, 3)]
    # R: emtrends(m, "f", "M") moves all columns by the same
    together = lmm.emtrends(m, "f", "M", ddf="satterthwaite").to_frame()["M.trend"]
    assert_allclose(together, sum(own), rtol=1e-7)
    alone = lmm.emtrends(m, "1", "M[, 2]", ddf="satterthwaite").to_frame()["M[, 2].trend"]
    assert_allclose(alone, own[1], rtol=1e-7)
