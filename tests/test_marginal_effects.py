"""Average predictions, comparisons and slopes: closed forms, marginal means, exact gradients."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy.special import expit
from scipy.stats import norm

import lmm
from fits import fitted
from lmm.inference.marginal.smooth import means, slopes


@pytest.fixture(scope="module")
def herds():
    formula = "cbind(incidence, size - incidence) ~ period + log(size) + (1 | herd)"
    return lmm.glmer(formula, lmm.load_dataset("cbpp"), family="binomial")


def test_comparisons_of_a_balanced_linear_model_are_those_of_marginal_means():
    m = fitted("cake")
    found = lmm.comparisons(m, {"recipe": "pairwise"}).to_frame()
    pairs = lmm.emmeans(m, "recipe").pairs().to_frame()
    np.testing.assert_allclose(found["estimate"], -pairs["estimate"], rtol=1e-10)
    np.testing.assert_allclose(found["std.error"], pairs["SE"], rtol=1e-10)
    np.testing.assert_allclose(found["df"], pairs["df"], rtol=1e-10)
    assert found["contrast"].tolist() == ["B - A", "C - A", "C - B"]


def test_predictions_of_a_balanced_linear_model_are_marginal_means():
    m = fitted("cake")
    found = lmm.predictions(m, by=["recipe", "temperature"]).to_frame()
    expected = lmm.emmeans(m, "~ temperature * recipe").to_frame()
    np.testing.assert_allclose(found["estimate"], expected["emmean"], rtol=1e-10)
    np.testing.assert_allclose(found["std.error"], expected["SE"], rtol=1e-10)
    np.testing.assert_allclose(found["conf.low"], expected["lower.CL"], rtol=1e-10)
    assert "p.value" not in found


def test_slopes_of_functions_of_a_covariate():
    """d/dx of b log(x + 1) is b / (x + 1); of b1 x + b2 x^2 it is b1 + 2 b2 x."""
    data = lmm.load_dataset("sleepstudy")
    x = data["Days"].to_numpy(float)
    m = lmm.lmer("Reaction ~ log(Days + 1) + (1 | Subject)", data)
    found = lmm.slopes(m, "Days").to_frame().loc[0]
    mean = np.mean(1.0 / (x + 1.0))
    assert found["estimate"] == pytest.approx(m.fixef().iloc[1] * mean, rel=1e-9)
    assert found["std.error"] == pytest.approx(m.bse.iloc[1] * mean, rel=1e-9)

    m = lmm.lmer("Reaction ~ Days + I(Days^2) + (1 | Subject)", data)
    found = lmm.slopes(m, "Days", ddf="satterthwaite").to_frame().loc[0]
    gradient = np.array([0.0, 1.0, 2.0 * x.mean()])
    assert found["estimate"] == pytest.approx(gradient @ m.beta, rel=1e-9)
    vcov = m.vcov().to_numpy()
    assert found["std.error"] == pytest.approx(np.sqrt(gradient @ vcov @ gradient), rel=1e-9)
    same = lmm.lmer("Reaction ~ poly(Days, 2) + (1 | Subject)", data)
    again = lmm.slopes(same, "Days", ddf="satterthwaite").to_frame().loc[0]
    np.testing.assert_allclose(again.iloc[1:].astype(float), found.iloc[1:].astype(float), 1e-6)


def test_slope_of_a_probability(herds):
    """p (1 - p) b / size, and its gradient by the product rule."""
    X, eta = herds.X, herds.X @ herds.beta
    size = lmm.load_dataset("cbpp")["size"].to_numpy(float)
    p = expit(eta)
    last = np.eye(X.shape[1])[-1]
    b = herds.beta[-1]
    first = p * (1.0 - p)
    gradient = np.mean(
        ((first * (1.0 - 2.0 * p) * b)[:, None] * X + first[:, None] * last) / size[:, None], axis=0
    )
    found = lmm.slopes(herds, "size").to_frame().loc[0]
    assert found["estimate"] == pytest.approx(np.mean(first * b / size), rel=1e-8)
    error = np.sqrt(gradient @ herds.vcov().to_numpy() @ gradient)
    assert found["std.error"] == pytest.approx(error, rel=1e-8)
    z = found["estimate"] / error
    assert found["p.value"] == pytest.approx(2.0 * norm.sf(abs(z)), rel=1e-7)
    assert found["df"] == np.inf


@pytest.mark.parametrize("on_response", [True, False])
def test_gradients_are_derivatives(herds, on_response):
    """Against central differences in each coefficient."""
    fit, X = herds.fit, herds.X
    rng = np.random.default_rng(1)
    by_z, offset = rng.standard_normal(X.shape), rng.standard_normal(len(X))

    class At:
        family = fit.family

        def __init__(self, beta):
            self.beta = beta

    for function in (
        lambda at: means(at, X, offset, on_response),
        lambda at: slopes(at, X, by_z, offset, on_response),
        lambda at: means(at, X, offset, on_response).over(means(at, X + 1.0, offset, on_response)),
    ):
        gradient = function(At(fit.beta)).gradient
        for j, unit in enumerate(np.eye(X.shape[1])):
            step = 1e-5 * unit
            rise = function(At(fit.beta + step)).value - function(At(fit.beta - step)).value
            np.testing.assert_allclose(gradient[:, j], rise / 2e-5, rtol=1e-5, atol=1e-8)


def test_ratios_are_of_averages(herds):
    ratio = lmm.comparisons(herds, {"period": ["1", "2"]}, comparison="ratio").to_frame().loc[0]
    data = lmm.load_dataset("cbpp")
    after, before = (
        lmm.predictions(herds, data.assign(period=level)).to_frame()["estimate"].item()
        for level in ("2", "1")
    )
    assert ratio["contrast"] == "2 / 1"
    assert ratio["estimate"] == pytest.approx(after / before, rel=1e-12)
    assert ratio["statistic"] == pytest.approx((ratio["estimate"] - 1.0) / ratio["std.error"])


def test_numbers_are_compared_by_steps_or_two_values():
    m = fitted("slopes")
    found = lmm.comparisons(m, {"Days": 2}).to_frame().loc[0]
    assert (found["term"], found["contrast"]) == ("Days", "+2")
    assert found["estimate"] == pytest.approx(2.0 * m.beta[1])
    found = lmm.comparisons(m, {"Days": [0, 9]}).to_frame().loc[0]
    assert found["contrast"] == "9 - 0"
    assert found["std.error"] == pytest.approx(9.0 * m.bse["Days"])
    assert lmm.comparisons(m, {"Days": -1}).to_frame()["contrast"].tolist() == ["-1"]


def test_sequential_comparisons_and_logical_predictors():
    m = fitted("cake")
    assert lmm.comparisons(m, {"recipe": "sequential"})["contrast"].tolist() == ["B - A", "C - B"]
    data = lmm.load_dataset("sleepstudy")
    m = lmm.lmer("Reaction ~ late + (1 | Subject)", data.assign(late=data["Days"] > 5))
    found = lmm.comparisons(m, "late").to_frame().loc[0]
    assert found["contrast"] == "True - False"
    assert found["estimate"] == pytest.approx(m.beta[1])


def test_rows_new_data_and_offsets():
    data = lmm.load_dataset("cbpp")
    m = lmm.glmer("incidence ~ period + offset(log(size)) + (1 | herd)", data, family="poisson")
    rows = lmm.predictions(m, average=False).to_frame()
    np.testing.assert_allclose(rows["estimate"], np.exp(m.X @ m.beta + m.offset))
    new = {"period": ["1", "3"], "size": [1.0, 10.0]}
    for table in (new, pd.DataFrame(new), pl.DataFrame(new)):
        found = lmm.predictions(m, table, average=False).to_frame()
        expected = np.exp(m.beta[0] + np.array([0.0, m.beta[2] + np.log(10.0)]))
        np.testing.assert_allclose(found["estimate"], expected)
    link = lmm.predictions(m, new, average=False, type="link").to_frame()
    np.testing.assert_allclose(link["estimate"], np.log(expected))
    assert lmm.predictions(m, by="herd").to_frame().shape == (15, 6)


def test_another_covariance_and_rows_left_out():
    data = lmm.load_dataset("sleepstudy").astype({"Reaction": float})
    data.loc[3, "Reaction"] = np.nan
    m = lmm.lmer("Reaction ~ Days + (Days | Subject)", data)
    assert len(lmm.predictions(m, average=False)) == 179
    robust = lmm.vcov_cr(m)
    found = lmm.slopes(m, "Days", vcov=robust).to_frame().loc[0]
    assert found["std.error"] == pytest.approx(np.sqrt(np.asarray(robust)[1, 1]))


def test_the_table_prints_and_writes():
    text = str(lmm.slopes(fitted("slopes"), "Days"))
    assert text.splitlines()[0] == (
        "Average slopes on the scale of the response (Kenward-Roger degrees of freedom)"
    )
    assert "3.264e-06" in text or "3.26e-06" in text
    assert "<table" in lmm.slopes(fitted("slopes"), "Days").to_html()


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda m: lmm.slopes(m, "Dayz"), "no predictor 'Dayz'. Did you mean 'Days'"),
        (lambda m: lmm.slopes(m, "Days", type="respons"), "Did you mean 'response'"),
        (lambda m: lmm.slopes(fitted("cake"), "recipe"), "'recipe' is a factor"),
        (lambda m: lmm.comparisons(m, "Days", comparison="odds"), "Unknown comparison 'odds'"),
        (lambda m: lmm.comparisons(m, {"Days": "pairwise"}), "a step or by two values"),
        (lambda m: lmm.comparisons(m, {"Days": [1, 2, 3]}), "a step or by two values"),
        (lambda m: lmm.comparisons(fitted("cake"), {"recipe": "all"}), "one of reference"),
        (lambda m: lmm.comparisons(fitted("cake"), {"recipe": ["A", "D"]}), "no level 'D'"),
        (lambda m: lmm.predictions(m, {"Days": [1.0, None]}), "'Days' has missing values"),
        (lambda m: lmm.predictions(m, {"Days": []}), "no rows"),
        (lambda m: lmm.predictions(m, level=2.0), "level"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call(fitted("slopes"))


@pytest.mark.parametrize("fixed", ["1", "0"])
def test_models_without_predictors(fixed):
    data = lmm.load_dataset("cbpp")
    m = lmm.glmer(f"incidence ~ {fixed} + (1 | herd)", data, family="poisson")
    mean = m.predict(re_form="~0", type="response")
    found = lmm.predictions(m, by="period").to_frame()
    np.testing.assert_allclose(
        found["estimate"], mean.groupby(data["period"], observed=True).mean()
    )
    np.testing.assert_allclose(lmm.predictions(m).to_frame()["estimate"], mean.mean())
    for ask in (lmm.slopes, lmm.comparisons):
        with pytest.raises(lmm.DataError, match=r"no predictor 'size'. There is none"):
            ask(m, "size")
    variance, mu = (
        m.varcorr()["herd"].sdcor[0, 0] ** 2,
        np.exp(m.fixef()).sum() if m.beta.size else 1,
    )
    np.testing.assert_allclose(lmm.icc(m).adjusted, variance / (variance + np.log1p(1.0 / mu)))
    assert lmm.table(m).to_frame().index[-1] == "log-likelihood"
