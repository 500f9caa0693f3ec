"""Predictions along a predictor: the bands are those of `predict`."""

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import lmm
import lmm.plots
from fits import fitted


@pytest.fixture
def m():
    return fitted("slopes")


@pytest.fixture
def ax():
    _, ax = plt.subplots()
    yield ax
    plt.close("all")


def band(collection):
    """Lower and upper ends of a band by place."""
    points = pd.DataFrame(collection.get_paths()[0].vertices, columns=["x", "y"]).round(9)
    return points.groupby("x")["y"].agg(["min", "max"])


def test_bands_are_those_of_predictions(m, ax):
    """Outer: a new observation of a new level; inner: the mean; line: the fixed part."""
    lmm.plots.predictions(m, "Days", ax=ax)
    outer, inner = (band(collection) for collection in ax.collections[:2])
    days = {"Days": outer.index.to_numpy()}
    for drawn, interval in ((outer, "prediction"), (inner, "confidence")):
        expected = m.predict(days, "~0", interval=interval)
        assert_allclose(drawn["min"], expected["lower"], rtol=1e-6)
        assert_allclose(drawn["max"], expected["upper"], rtol=1e-6)
    assert_allclose(ax.lines[0].get_ydata(), m.predict(days, "~0"), rtol=1e-6)
    assert len(ax.collections[2].get_offsets()) == 180


def test_predictions_by_a_factor_hold_the_others(ax):
    m = lmm.lmer("yield ~ nitro * Variety + (1 | Block)", lmm.load_dataset("Oats"))
    lmm.plots.predictions(m, "nitro", by="Variety", interval="confidence", data=False, ax=ax)
    assert [line.get_label() for line in ax.lines] == list(m.fit.matrices.fixed.levels["Variety"])
    assert len(ax.collections) == 3
    plt.close("all")
    bars = lmm.plots.predictions(m, "Variety", at={"nitro": 0.6}, data=False)
    rows = {"Variety": m.fit.matrices.fixed.levels["Variety"], "nitro": [0.6] * 3}
    assert_allclose(bars.lines[0].get_ydata(), m.predict(rows, "~0"))
    held = lmm.plots.predictions(m, "Variety", data=False).lines[0].get_ydata()
    assert_allclose(held, m.predict(rows | {"nitro": [0.3] * 3}, "~0"))


def test_predictions_of_probabilities_have_the_band_of_the_mean(ax):
    herds = lmm.load_dataset("cbpp")
    formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
    m = lmm.glmer(formula, herds, family="binomial")
    lmm.plots.predictions(m, "period", ax=ax)
    assert len(ax.collections) == 2
    expected = m.predict({"period": list("1234")}, "~0", type="response")
    assert_allclose(ax.lines[0].get_ydata(), expected)


def test_predictors_of_random_effects_are_held_too():
    sleep = lmm.load_dataset("sleepstudy")
    m = lmm.lmer("Reaction ~ late + (Days | Subject)", sleep.assign(late=sleep["Days"] > 4))
    drawn = lmm.plots.predictions(m, "late")
    rows = {"late": [False, True], "Days": [4.5, 4.5]}
    assert_allclose(drawn.lines[0].get_ydata(), m.predict(rows, "~0"))


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("Dayz",), "no predictor 'Dayz'. Did you mean 'Days'"),
        (("Days", "Days"), "another predictor"),
    ],
)
def test_mistakes_in_predictions_are_named(m, arguments, message):
    with pytest.raises(lmm.DataError, match=message):
        lmm.plots.predictions(m, *arguments)
    with pytest.raises(ValueError, match="interval must be"):
        lmm.plots.predictions(m, "Days", interval="tolerance")


@pytest.mark.parametrize(
    "formula, offset", [("n ~ x + (1 | g)", "e"), ("n ~ x + offset(e) + (1 | g)", None)]
)
def test_offsets_are_held_at_their_mean(formula, offset, ax):
    rng = np.random.default_rng(1)
    g, x, e = rng.integers(0, 9, 90), rng.normal(size=90), rng.uniform(0.0, 1.0, 90)
    data = {"n": rng.poisson(np.exp(0.4 * x + e)), "x": x, "e": e, "g": g.astype(str)}
    control = lmm.GlmerControl(check_conv_singular="ignore")
    m = lmm.glmer(formula, data, "poisson", offset=offset, control=control)
    lmm.plots.predictions(m, "x", ax=ax)
    (line,) = ax.lines
    beta = m.fixef().to_numpy()
    expected = np.exp(beta[0] + beta[1] * line.get_xdata() + e.mean())
    assert_allclose(line.get_ydata(), expected)
