"""Predictions: R's values, variances for seen and unseen levels, bad input."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import lmm
from fits import fitted
from reference.model import load_model_reference

R = load_model_reference()["numbers"]["predict"]
ROWS = {"Days": [0, 9] * 3, "Subject": ["308", "308", "309", "309", "310", "310"]}


@pytest.mark.parametrize(
    "key, re_form",
    [
        ("all", None),
        ("none", "~0"),
        ("slope", "~ (0 + Days | Subject)"),
        ("intercept", "~ (1 | Subject)"),
    ],
)
def test_values_are_rs(key, re_form):
    predicted = fitted("slopes").predict(ROWS, re_form)
    np.testing.assert_allclose(predicted, R[key], rtol=1e-7)


def test_random_part_alone():
    m = fitted("slopes")
    np.testing.assert_allclose(m.predict(ROWS, random_only=True), R["random_only"], rtol=1e-6)
    np.testing.assert_allclose(m.predict(ROWS) - m.predict(ROWS, "~0"), R["random_only"], rtol=1e-6)


def test_standard_errors_are_lme4s():
    # predict(fm1, se.fit = TRUE) of lme4 1.1-35, whose theta is good to four digits
    m = fitted("slopes")
    table = m.predict(se=True)
    np.testing.assert_allclose(table["se"][:3], [12.254811, 10.543385, 9.113832], rtol=1e-5)
    fixed = m.predict({"Days": [0, 5]}, "~0", se=True)
    np.testing.assert_allclose(fixed["se"], [6.824597, 9.581277], rtol=1e-5)


def test_rows_of_the_fit_by_default():
    m = fitted("slopes")
    pd.testing.assert_series_equal(m.predict(), m.fitted())


@pytest.mark.parametrize("convert", [pd.DataFrame, pl.DataFrame, pa.table, dict])
def test_every_kind_of_table(convert):
    np.testing.assert_allclose(fitted("slopes").predict(convert(ROWS)), R["all"], rtol=1e-7)


def test_labels_of_pandas_rows_stay():
    rows = pd.DataFrame(ROWS, index=list("abcdef"))
    assert list(fitted("slopes").predict(rows).index) == list("abcdef")


def test_unseen_and_missing_levels_are_predicted_when_allowed():
    m = fitted("slopes")
    rows = {"Days": [0, 1, 2], "Subject": ["308", "999", None]}
    table = m.predict(rows, allow_new_levels=True, se=True)
    np.testing.assert_allclose(table["fit"], [253.6637, 261.8724, 272.3397], rtol=1e-6)
    X = np.array([[1.0, 1.0], [1.0, 2.0]])
    population = m.fit.vcov + m.fit.covariances[0]
    np.testing.assert_allclose(table["se"][1:] ** 2, np.einsum("ij,jk,ik->i", X, population, X))


def test_one_of_two_crossed_factors_may_be_unseen():
    m = fitted("penicillin")
    rows = {"plate": ["a", "new", "new"], "sample": ["A", "A", "new"]}
    table = m.predict(rows, allow_new_levels=True, se=True)
    variances = [block[0, 0] for block in m.fit.covariances]
    mean, sample = m.beta[0], m.ranef()["sample"].loc["A", "(Intercept)"]
    np.testing.assert_allclose(table["fit"][1:], [mean + sample, mean])
    known = m.predict({"plate": ["a"], "sample": ["A"]}, "~ (1 | sample)", se=True)["se"][0] ** 2
    np.testing.assert_allclose(table["se"][1] ** 2, known + variances[0])
    np.testing.assert_allclose(table["se"][2] ** 2, m.fit.vcov[0, 0] + sum(variances))


@pytest.mark.parametrize("options", [{"se": True}, {"interval": "confidence"}])
def test_rows_without_known_levels_of_two_nested_factors(options):
    """Alone as beside a row whose levels are known."""
    m = fitted("pastes")
    rows = pd.DataFrame({"batch": ["A", "ZZ", "A"], "cask": ["zz", "a", "a"]})
    together = m.predict(rows, allow_new_levels=True, **options)
    for i in range(2):
        alone = m.predict(rows[i : i + 1], allow_new_levels=True, **options)
        np.testing.assert_allclose(alone, together[i : i + 1])
    new = m.predict(rows[1:2], allow_new_levels=True, se=True)["se"][1] ** 2
    np.testing.assert_allclose(
        new, m.fit.vcov[0, 0] + sum(block[0, 0] for block in m.fit.covariances)
    )


def test_data_dependent_bases_are_those_of_the_fit():
    data = lmm.load_dataset("sleepstudy")
    formula = "Reaction ~ poly(Days, 2) + scale(Days) + (scale(Days) | Subject)"
    with pytest.warns(lmm.RankDeficiencyWarning):
        m = lmm.lmer(formula, data)
    some = data.iloc[[3, 5]]
    np.testing.assert_allclose(m.predict(some), m.fitted().iloc[[3, 5]])


def test_missing_covariates_give_nan_and_excluded_rows_are_padded():
    m = fitted("slopes")
    table = m.predict({"Days": [0, None], "Subject": ["308", "309"]}, se=True)
    assert list(table.isna().all(axis=1)) == [False, True]
    data = lmm.load_dataset("sleepstudy")
    data.loc[3, "Days"] = np.nan
    padded = lmm.lmer(str(m.formula), data, na_action="exclude").predict(interval="prediction")
    assert len(padded) == 180
    assert padded.loc[3].isna().all()
    assert padded.drop(3).notna().all(axis=None)


def test_offsets_of_formula_and_argument():
    data = lmm.load_dataset("sleepstudy").assign(known=np.linspace(0.0, 5.0, 180))
    by_formula = lmm.lmer("Reaction ~ Days + offset(known) + (1 | Subject)", data)
    by_argument = lmm.lmer("Reaction ~ Days + (1 | Subject)", data, offset="known")
    by_array = lmm.lmer("Reaction ~ Days + (1 | Subject)", data, offset=data["known"])
    np.testing.assert_allclose(by_formula.predict(data), by_formula.fitted())
    np.testing.assert_allclose(by_argument.predict(data), by_formula.fitted())
    np.testing.assert_allclose(by_array.predict(), by_formula.fitted())
    with pytest.raises(lmm.DataError, match="array as offset"):
        by_array.predict(data)


def test_intervals_nest_and_widen_with_the_level():
    m = fitted("slopes")
    mean, wide, new = (
        m.predict(ROWS, interval=kind, level=level)
        for kind, level in (("confidence", 0.9), ("confidence", 0.99), ("prediction", 0.9))
    )
    width = [table["upper"] - table["lower"] for table in (mean, wide, new)]
    assert (width[0] < width[1]).all()
    assert (width[0] < width[2]).all()
    for table in (mean, wide, new):
        np.testing.assert_allclose(table["upper"] + table["lower"], 2.0 * table["fit"])


def test_weights_enter_prediction_intervals_of_the_fitted_rows():
    data = lmm.load_dataset("sleepstudy").assign(w=np.where(np.arange(180) < 90, 1.0, 100.0))
    m = lmm.lmer("Reaction ~ Days + (1 | Subject)", data, weights="w")
    table = m.predict(interval="prediction")
    width = table["upper"] - table["lower"]
    assert width[:90].min() > 3.0 * width[90:].max()


@pytest.mark.parametrize(
    "rows, options, message",
    [
        ({"Subject": ["308"]}, {}, "'Days'"),
        ({"Days": [1]}, {}, "'Subject'"),
        ({"Days": [1], "Subject": ["999"]}, {}, "new levels detected in newdata: 999"),
        ({"Days": [1], "Subject": [None]}, {}, "NAs are not allowed"),
        (ROWS, {"re_form": "~ (1 | Subjct)"}, "Did you mean 'Subject'"),
        (ROWS, {"re_form": "~ (Dys | Subject)"}, "Did you mean 'Days'"),
        (ROWS, {"re_form": "~ (Reaction | Subject)"}, "does not have"),
    ],
)
def test_bad_new_data_are_refused(rows, options, message):
    with pytest.raises(lmm.DataError, match=message):
        fitted("slopes").predict(rows, **options)


def test_an_unknown_level_of_a_fixed_factor_is_refused():
    rows = {"recipe": ["D"], "temperature": ["175"], "replicate": ["1"]}
    with pytest.raises(lmm.DataError, match="level 'D'"):
        fitted("cake").predict(rows, "~0")


@pytest.mark.parametrize(
    "options, message",
    [
        ({"interval": "credible"}, "'confidence' or 'prediction'"),
        ({"interval": "confidence", "level": 95}, "between 0 and 1"),
        ({"interval": "prediction", "random_only": True}, "random_only"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        fitted("slopes").predict(ROWS, **options)


def test_unknown_levels_may_be_missing():
    m = fitted("slopes")
    rows = {"Days": [0, 3, 3], "Subject": ["308", "new", None]}
    known = m.predict(rows, allow_new_levels=True, interval="prediction")
    table = m.predict(rows, allow_new_levels="missing", interval="prediction")
    np.testing.assert_allclose(table.iloc[0], known.iloc[0])
    assert table.iloc[1:].isna().all(axis=None)
    assert m.predict(rows, re_form="~0", allow_new_levels="missing").notna().all()
    with pytest.raises(ValueError, match="must be True, False or 'missing', not 'nan'"):
        m.predict(rows, allow_new_levels="nan")


def test_parts_add_up():
    m = fitted("penicillin")
    parts = m.predict_parts()
    assert list(parts.columns) == ["fixed", "plate", "sample", "total"]
    np.testing.assert_allclose(parts["total"], m.fitted(), rtol=1e-12)
    np.testing.assert_allclose(parts["fixed"], m.predict(re_form="~0"))
    for group in ("plate", "sample"):
        alone = m.predict(re_form=f"~ (1 | {group})", random_only=True)
        np.testing.assert_allclose(parts[group], alone, atol=1e-12)
    rows = {"plate": ["a", "new"], "sample": ["F", "F"]}
    some = m.predict_parts(rows, allow_new_levels="missing")
    assert some["total"].isna().tolist() == [False, True]
    assert some["plate"].tolist()[1] == 0.0
    with pytest.raises(lmm.DataError, match="new levels detected"):
        m.predict_parts(rows)


def test_parts_of_several_terms_of_one_factor_and_generalized_models():
    m = fitted("independent")
    parts = m.predict_parts()
    assert list(parts.columns) == ["fixed", "Subject", "total"]
    np.testing.assert_allclose(parts["total"], m.fitted(), rtol=1e-12)
    cbpp = lmm.load_dataset("cbpp")
    g = lmm.glmer("cbind(incidence, size - incidence) ~ period + (1 | herd)", cbpp)
    np.testing.assert_allclose(g.predict_parts(cbpp)["total"], g.predict(cbpp), rtol=1e-12)


def test_other_parameters_as_lme4():
    # lme4 1.1-31: predict(m, sleepstudy[c(1, 20, 100), ], newparams = list(beta = , theta = ))
    m, rows = fitted("slopes"), lmm.load_dataset("sleepstudy").iloc[[0, 19, 99]]
    other = m.predict(rows, newparams={"beta": [250.0, 10.0]})
    np.testing.assert_allclose(other, [252.2585509, 222.0241364, 452.5448733], rtol=1e-6)
    other = m.predict(rows, newparams={"theta": [1.0, 0.1, 0.3]})
    np.testing.assert_allclose(other, [253.7413553, 172.8356570, 508.6709649], rtol=1e-5)
    named = m.predict(rows, newparams={"beta": {"Days": 10.0}}, re_form="~0")
    np.testing.assert_allclose(named, m.fixef().iloc[0] + 10.0 * rows["Days"], rtol=1e-12)
    same = m.predict(newparams={"beta": m.fixef(), "theta": m.theta})
    np.testing.assert_allclose(same, m.predict(), rtol=1e-12)
    z = m.predict(rows, newparams={"theta": [0.0, 0.0, 0.0]}, random_only=True)
    np.testing.assert_array_equal(z, 0.0)


@pytest.mark.parametrize(
    "newparams, error, text",
    [
        ([250.0, 10.0], TypeError, "newparams must be a mapping"),
        ({"sigma": 1.0}, ValueError, "holds 'beta' and 'theta'"),
        ({"beta": [1.0]}, ValueError, "beta has 1 components"),
        ({"theta": [1.0]}, ValueError, "theta has 1 components"),
        ({"beta": {"x": 1.0}}, ValueError, "x"),
    ],
)
def test_wrong_parameters(newparams, error, text):
    with pytest.raises(error, match=text):
        fitted("slopes").predict(ROWS, newparams=newparams)


def test_parameters_that_are_given_have_no_errors():
    with pytest.raises(ValueError, match="leave se and interval out"):
        fitted("slopes").predict(ROWS, newparams={"beta": [250.0, 10.0]}, se=True)


def test_arrays_predict_as_tables():
    d = lmm.load_dataset("sleepstudy")
    X = np.column_stack([np.ones(180), d["Days"]])
    m = lmm.lmer_arrays(d["Reaction"].to_numpy(), X, d["Subject"].to_numpy(), X)
    rows = slice(5, 9)
    found = m.predict_arrays(X[rows], d["Subject"].to_numpy()[rows], X[rows], se=True)
    expected = fitted("slopes").predict(d[rows], se=True)
    np.testing.assert_allclose(found, expected, rtol=1e-7)
    fixed = m.predict_arrays(X[rows], re_form="~0")
    np.testing.assert_allclose(fixed, X[rows] @ m.fixef(), rtol=1e-12)
    for wrong, text in (
        ((X[:3, :1],), "X has shape"),
        ((2.0 * X[:3],), "must have ones"),
        ((X[:3], ["308"], X[:3]), "same number of rows"),
    ):
        with pytest.raises(lmm.DataError, match=text):
            m.predict_arrays(*wrong)
