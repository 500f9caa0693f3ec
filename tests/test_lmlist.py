"""A linear model per level: R's prints and intervals."""

import numpy as np
import pandas as pd
import pytest

import lmm
from lmm.report.tables import frame_cells
from reference.model import load_model_reference

R = load_model_reference()["text"]


@pytest.fixture(scope="module")
def fits():
    return lmm.lmlist("Reaction ~ Days | Subject", lmm.load_dataset("sleepstudy"))


def test_print_is_rs(fits):
    assert str(fits).split("\n") == R["lmlist"]
    assert "308" in fits._repr_html_()


def test_summary_is_rs(fits):
    # lme4 prints "Reaction ~ Days | NULL" for the model
    expected = [line.replace("| NULL", "| Subject") for line in R["lmlist_summary"]]
    assert str(fits.summary()).rstrip("\n").split("\n") == "\n".join(expected).rstrip("\n").split(
        "\n"
    )


def test_intervals_are_rs(fits):
    printed = "\n".join(R["lmlist_confint"])
    for name, table in fits.confint().items():
        assert f", , {name}\n\n{frame_cells(table)!s}" in printed
    pooled = fits.confint(pooled=True)["Days"]
    width = pooled["97.5 %"] - pooled["2.5 %"]
    np.testing.assert_allclose(width, width.iloc[0])


def test_pooled_standard_deviation(fits):
    assert fits.sigma == pytest.approx(25.59182, abs=5e-6)
    assert fits.df_resid == 144
    assert fits.sigmas["308"] == pytest.approx(47.77968658, abs=1e-7)
    np.testing.assert_allclose(fits.fixef(), [251.4051, 10.46729], rtol=1e-6)


def test_weights_and_offset():
    data = lmm.load_dataset("sleepstudy")
    heavy = lmm.lmlist("Reaction ~ Days | Subject", data, weights=np.full(180, 4.0))
    assert heavy.sigma == pytest.approx(2.0 * 25.59182, abs=1e-4)
    shifted = lmm.lmlist("Reaction ~ Days | Subject", data, offset="Days")
    plain = lmm.lmlist("Reaction ~ Days | Subject", data)
    np.testing.assert_allclose(shifted.coef()["Days"] + 1.0, plain.coef()["Days"])


def test_a_level_that_cannot_estimate_a_coefficient_has_none():
    data = pd.DataFrame({"y": [1.0, 2, 4, 3, 5], "x": [0, 1, 2, 1, 1], "g": list("aaabb")})
    fits = lmm.lmlist("y ~ x | g", data)
    assert np.isnan(fits.coef().loc["b", "x"])
    assert fits.coef().loc["b", "(Intercept)"] == pytest.approx(4.0)
    assert fits.df_resid == 2


@pytest.mark.parametrize("formula", ["Reaction ~ Days", "~ Days | Subject", "y ~ (x | g)"])
def test_a_formula_without_group_is_refused(formula):
    with pytest.raises(lmm.FormulaError, match=r"terms \| group"):
        lmm.lmlist(formula, lmm.load_dataset("sleepstudy"))


def test_fitted_values_are_those_of_each_levels_own_fit(fits):
    data = lmm.load_dataset("sleepstudy")
    own = data["Subject"] == "309"
    alone = lmm.lm("Reaction ~ Days", data[own])
    np.testing.assert_allclose(fits.fitted()[own], alone.fitted(), rtol=1e-10)
    np.testing.assert_allclose(fits.residuals()[own], alone.residuals(), atol=1e-9)
    np.testing.assert_allclose(fits.predict(data), fits.fitted(), rtol=1e-12)
    # predict(lmList(Reaction ~ Days | Subject, sleepstudy), ...)
    new = pd.DataFrame({"Days": [0, 10], "Subject": ["308", "309"]}, index=["a", "b"])
    np.testing.assert_allclose(fits.predict(new), [244.1926691, 227.6728], rtol=1e-7)
    assert list(fits.predict(new).index) == ["a", "b"]


def test_offsets_are_in_fitted_and_predicted_values():
    data = lmm.load_dataset("sleepstudy").assign(known=lambda d: 3.0 * d["Days"])
    plain = lmm.lmlist("Reaction ~ Days | Subject", data)
    moved = lmm.lmlist("Reaction ~ Days | Subject", data, offset="known")
    for values in (moved.fitted(), moved.predict(data)):
        np.testing.assert_allclose(values, plain.fitted(), rtol=1e-10)


def test_what_a_level_cannot_predict():
    data = lmm.load_dataset("sleepstudy")
    few = data[(data["Subject"] != "308") | (data["Days"] == 2)]
    fits = lmm.lmlist("Reaction ~ Days | Subject", few)
    np.testing.assert_allclose(fits.residuals()[few["Subject"] == "308"], 0.0, atol=1e-9)
    predicted = fits.predict({"Days": [0, 5, 5], "Subject": ["308", "308", "309"]})
    assert predicted.isna().tolist() == [False, True, False]
    with pytest.raises(lmm.DataError, match=r"which no model was fitted to.*'369'"):
        fits.predict({"Days": [0], "Subject": ["3O9"]})


def test_updates(fits):
    data = lmm.load_dataset("sleepstudy").assign(half=lambda d: d["Days"] % 2)
    squared = fits.update(". ~ . + I(Days^2) | Subject")
    assert squared.names == ("(Intercept)", "Days", "I(Days^2)")
    other = fits.update("log(.) ~ . | half", data=data)
    assert other.formula == "log(Reaction) ~ Days | half"
    assert list(other.levels) == ["0", "1"]
    assert fits.update(subset="Days > 2").formula == fits.formula
    assert fits.update(". ~ . - 1").formula == "Reaction ~ 0 + Days | Subject"
    with pytest.raises(lmm.DataError, match="uses 'Dayz'"):
        fits.update(". ~ . + Dayz")
