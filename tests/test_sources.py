"""Models of tables that are read batch by batch: the same as those of tables in memory."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import lmm

CUTS = [1, 7, 1000]


def source(data, rows):
    table = pa.Table.from_pandas(pd.DataFrame(data), preserve_index=False)
    return lmm.scan(lambda: table.to_reader(), batch_rows=rows)


@pytest.fixture(scope="module")
def ratings():
    rng = np.random.default_rng(5)
    n = 600
    user, item = rng.integers(0, 40, n), rng.integers(0, 25, n)
    x = rng.standard_normal(n)
    y = 3 + x + rng.standard_normal(40)[user] + 0.5 * rng.standard_normal(25)[item] * x
    data = pd.DataFrame({"user": user, "item": item, "x": x, "w": rng.uniform(0.5, 2, n)})
    data["y"] = y + rng.standard_normal(n)
    data["f"] = np.array(["b", "c", "a"])[np.arange(n) % 3]
    data.loc[::50, "x"] = np.nan
    return data


FORMULAS = [
    "y ~ x + (x | user)",
    "y ~ x + (1 | user) + (x | item)",
    "y ~ f * x + (x || user) + (0 + f | item)",
    "y ~ scale(x) + poly(w, 2) + (1 | user / f)",
    "y ~ 0 + f + offset(w) + (1 | item)",
    "log(y + 20) ~ x + I(2 * x) + (1 | user:item)",
]


@pytest.mark.parametrize("rows", CUTS)
@pytest.mark.parametrize("formula", FORMULAS)
@pytest.mark.parametrize("weights", [None, "w"])
def test_estimates(ratings, formula, rows, weights):
    if rows == 1:
        ratings = ratings.sample(200, random_state=1)
    if rows == 7:
        ratings = ratings.sort_values(["f", "user"])
    with lmm.errors.silence():
        m = lmm.lmer(formula, source(ratings, rows), weights=weights)
        known = lmm.lmer(formula, ratings, weights=weights)
    assert m.reml_criterion() == pytest.approx(known.reml_criterion(), rel=1e-9)
    pd.testing.assert_series_equal(m.fixef(), known.fixef(), rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(m.theta, known.theta, rtol=1e-5, atol=1e-6)
    assert str(m.varcorr()) == str(known.varcorr())
    for name, effects in known.ranef().items():
        pd.testing.assert_frame_equal(m.ranef()[name], effects, rtol=1e-5, atol=1e-6)


def test_what_a_fit_without_rows_says(ratings):
    m = lmm.lmer("y ~ x + (x | user)", source(ratings, 100))
    known = lmm.lmer("y ~ x + (x | user)", ratings)
    pd.testing.assert_frame_equal(
        m.summary(ddf="kenward-roger").coefficients,
        known.summary(ddf="kenward-roger").coefficients,
        rtol=1e-6,
    )
    rows = {"x": [0.0, 1.0], "user": [3, 99]}
    pd.testing.assert_frame_equal(
        m.predict(rows, allow_new_levels=True, interval="prediction"),
        known.predict(rows, allow_new_levels=True, interval="prediction"),
        rtol=1e-5,
    )
    assert "not kept" in str(m.summary())
    for result in (m.residuals, m.fitted, m.hatvalues, m.predict, lambda: m.simulate(1)):
        with pytest.raises(lmm.DataError, match="batch by batch"):
            result()


def test_first_rows_that_mislead(ratings):
    moved = ratings.dropna().assign(x=lambda d: d["x"] + 1e6, y=lambda d: d["y"] + 1e8)
    moved = moved.sort_values("x")
    moved.loc[moved.index[:20], "x"] = 1e6
    m = lmm.lmer("y ~ x + (1 | user)", source(moved, 20))
    known = lmm.lmer("y ~ x + (1 | user)", moved)
    assert m.reml_criterion() == pytest.approx(known.reml_criterion(), rel=1e-9)
    assert m.theta == pytest.approx(known.theta, rel=1e-6)


def test_generalized_models_need_their_rows(ratings):
    with pytest.raises(lmm.DataError, match="in memory"):
        lmm.glmer("f == 'a' ~ x + (1 | user)", source(ratings, 100))


def test_models_of_one_source_are_compared(ratings):
    m = lmm.lmer("y ~ x + f + (1 | user)", source(ratings.dropna(), 100))
    known = lmm.lmer("y ~ x + f + (1 | user)", ratings.dropna())
    for results in (lambda m: m.drop1(), lambda m: m.confint(method="wald")):
        pd.testing.assert_frame_equal(
            pd.DataFrame(results(m)), pd.DataFrame(results(known)), rtol=1e-5
        )
    assert str(lmm.icc(m)) == str(lmm.icc(known))
    assert str(lmm.r2_nakagawa(m)) == str(lmm.r2_nakagawa(known))
    smaller = m.update(". ~ . - f")
    assert smaller.formula == known.update(". ~ . - f").formula
    table = lmm.anova(m, smaller)
    assert table["Chisq"].iloc[1] == pytest.approx(
        lmm.anova(known, known.update(". ~ . - f"))["Chisq"].iloc[1], rel=1e-6
    )
    with pytest.raises(lmm.DataError, match="responses"):
        lmm.anova(m, lmm.lmer("exp(y / 9) ~ x + (1 | user)", source(ratings.dropna(), 100)))
    with pytest.raises(lmm.DataError, match="subset="):
        lmm.lmer("y ~ x + f + (1 | user)", source(ratings, 100)).drop1()


def test_profiles_need_no_rows(ratings):
    m = lmm.lmer("y ~ x + (1 | user)", source(ratings, 100))
    known = lmm.lmer("y ~ x + (1 | user)", ratings)
    np.testing.assert_allclose(m.confint(), known.confint(), rtol=1e-6)
