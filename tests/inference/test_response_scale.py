"""The way back from a transformed response, against its definition: the inverse function."""

import re

import numpy as np
import pytest

import lmm
from lmm.design.evaluate import Evaluator
from lmm.errors import DataError
from lmm.inference.marginal.inversion import way_back
from lmm.language.parse import parse_tilde

Y = np.random.default_rng(0).uniform(5.0, 60.0, 200)
# Expression -> values of y between which it must stay.
INVERTIBLE = {
    "sqrt(y + 1)": (-1.0, np.inf),
    "log(2 * y)": (0.0, np.inf),
    "log(1 + y)": (-1.0, np.inf),
    "log(y, 10)": (0.0, np.inf),
    "log(y, base = 3)": (0.0, np.inf),
    "log1p(y / 2)": (-2.0, np.inf),
    "10 * log2(y) + 3": (0.0, np.inf),
    "asin(sqrt(y / 100))": (0.0, 100.0),
    "acos(y / 100)": (-100.0, 100.0),
    "scale(y)": (-np.inf, np.inf),
    "(y - mean(y)) / sd(y)": (-np.inf, np.inf),
    "log(y / mean(y))": (0.0, np.inf),
    "1 / y": (0.0, np.inf),
    "-1 / y": (0.0, np.inf),
    "100 / (y + 3)": (-3.0, np.inf),
    "y / (1 + y)": (-1.0, np.inf),
    "1 / sqrt(y)": (0.0, np.inf),
    "(y^0.3 - 1) / 0.3": (0.0, np.inf),
    "(y^-0.5 - 1) / (-0.5)": (0.0, np.inf),
    "y^2": (0.0, np.inf),
    "y^-2": (0.0, np.inf),
    "I(y^(1 / 3))": (0.0, np.inf),
    "(y - 30)^3": (-np.inf, np.inf),
    "log(y / (100 - y))": (0.0, 100.0),
    "log(-log(1 - y / 100))": (0.0, 100.0),
    "sqrt(log(y))": (1.0, np.inf),
    "2^(-y / 10)": (-np.inf, np.inf),
    "exp(y / 100)": (-np.inf, np.inf),
    "3 - 2 / (1 + exp(-y / 30))": (-np.inf, np.inf),
    "-sqrt(y)": (0.0, np.inf),
    "abs(y)": (0.0, np.inf),
    "cosh(y / 10)": (0.0, np.inf),
    "expm1(y / 20)": (-np.inf, np.inf),
    "sinh(y / 10)": (-np.inf, np.inf),
    "tanh(y / 60)": (-np.inf, np.inf),
    "cos(y / 60)": (0.0, 60.0 * np.pi),
    "sin(y / 60)": (-30.0 * np.pi, 30.0 * np.pi),
    "y * pi - y / 2": (-np.inf, np.inf),
}


def evaluated(text, y):
    """The way back of an expression, and the expression as a function of y."""
    node = parse_tilde(f"{text} ~ 1")[0]
    learned = Evaluator({"y": y}, {}, text)

    def value(part):
        found = learned.value(part)
        return float(found) if np.ndim(found) == 0 else np.asarray(found)

    way = way_back(node, value)
    return way, lambda x: np.asarray(Evaluator({"y": x}, learned.state, text).value(node))


@pytest.mark.parametrize("text", INVERTIBLE)
def test_the_way_back_is_the_inverse(text):
    way, forward = evaluated(text, Y)
    values = np.linspace(*np.quantile(forward(Y), [0.1, 0.9]), 7)
    np.testing.assert_allclose(forward(way.inverse(values)), values, rtol=1e-9)
    step = 1e-5 * np.ptp(values)
    slope = (way.inverse(values + step) - way.inverse(values - step)) / (2.0 * step)
    np.testing.assert_allclose(way.slope(values), slope, rtol=1e-6)


@pytest.mark.parametrize("text", INVERTIBLE)
def test_far_values_go_to_the_ends_of_the_range(text):
    way, _ = evaluated(text, Y)
    ends = np.sort(way.inverse(np.array([-np.inf, np.inf])))
    np.testing.assert_allclose(ends, INVERTIBLE[text], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("text", ["y^2", "1 / y", "y^-3", "abs(y)", "cosh(y / 10)"])
def test_negative_data_choose_the_negative_branch(text):
    way, forward = evaluated(text, -Y)
    np.testing.assert_allclose(way.inverse(forward(-Y)), -Y, rtol=1e-9)


@pytest.mark.parametrize(
    "text, reason",
    [
        ("round(y)", r"round\(\) has no inverse"),
        ("y^2", r"y\^2 is not one to one over the data.*from -\d"),
        ("1 / y", "not one to one"),
        ("sin(y)", "not one to one"),
        ("y * y", "has no inverse"),
        ("y + exp(y)", "stands twice"),
        ("y^y", "has no inverse"),
        ("0 * y", "does not depend"),
        ("y / y", "does not depend"),
    ],
)
def test_what_has_no_inverse_is_refused_with_the_reason(text, reason):
    with pytest.raises(DataError, match=reason):
        evaluated(text, Y - 30.0)


@pytest.fixture(scope="module")
def cake():
    return lmm.load_dataset("cake").rename(columns={"angle": "y"})


def fitted(text, data):
    return lmm.lmer(f"{text} ~ recipe + (1 | recipe:replicate)", data)


@pytest.mark.parametrize(
    "text", ["sqrt(y + 1)", "1/y", "asin(sqrt(y/100))", "scale(y)", "log(2 * y)"]
)
def test_means_are_those_of_the_model_taken_back(text, cake):
    m = fitted(text, cake)
    back = evaluated(text, cake["y"].to_numpy(dtype=float))[0]
    plain, shown = (
        lmm.emmeans(m, "recipe", type=kind).to_frame().iloc[:, 1:] for kind in ("link", "response")
    )
    np.testing.assert_allclose(shown["response"], back.inverse(plain["emmean"].to_numpy()))
    ends = np.sort(
        [back.inverse(plain[name].to_numpy()) for name in ("lower.CL", "upper.CL")], axis=0
    )
    np.testing.assert_allclose(shown[["lower.CL", "upper.CL"]], ends.T)


# What emmeans 1.8.4 prints of these, first row: response, SE, lower.CL, upper.CL.
PRINTED = {
    "sqrt(y + 1)": ("sqrt(mu + 1)", [32.7, 1.68, 29.4, 36.2]),
    "scale(y)": ("scale(32.1, 8.21)", [33.1, 1.74, 29.6, 36.6]),
    "log2(y)": ("log2", [32.3, 1.62, 29.2, 35.8]),
}


@pytest.mark.parametrize("text", PRINTED)
def test_means_and_names_are_those_of_emmeans(text, cake):
    name, numbers = PRINTED[text]
    means = lmm.emmeans(fitted(text, cake), "recipe", type="response", ddf="satterthwaite")
    assert f"back-transformed from the {name} scale" in str(means)
    first = re.search(r"^ A +(.*)$", str(means), re.MULTILINE).group(1).split()
    assert [float(first[i]) for i in (0, 1, 3, 4)] == numbers


def test_differences_of_logarithms_are_ratios_and_of_log_odds_odds_ratios(cake):
    pairs = {
        text: lmm.emmeans(fitted(text, cake), "recipe").pairs()
        for text in ("10 * log(y)", "log(3 * y, 10)", "log(y / (100 - y))")
    }
    log = lmm.emmeans(fitted("log(y)", cake), "recipe").pairs().to_frame()["estimate"]
    for text in ("10 * log(y)", "log(3 * y, 10)"):
        ratio = pairs[text].response().to_frame()["ratio"]
        np.testing.assert_allclose(ratio, np.exp(log), rtol=1e-6)
    odds = pairs["log(y / (100 - y))"]
    shown = odds.response().to_frame()
    assert list(shown)[:2] == ["contrast", "odds.ratio"]
    np.testing.assert_allclose(shown["odds.ratio"], np.exp(odds.to_frame()["estimate"]))


def test_a_response_without_a_way_back_says_why(cake):
    m = fitted("round(y / 2)", cake)
    assert "on the round(mu/2) (not the response) scale" in str(lmm.emmeans(m, "recipe"))
    with pytest.raises(DataError, match=r"round\(\) has no inverse"):
        lmm.emmeans(m, "recipe", type="response")


def test_limits_near_the_edge_stay_in_the_range():
    rng = np.random.default_rng(4)
    f = np.tile(["a", "b"], 30)
    data = {"y": rng.poisson(np.where(f == "a", 0.05, 3.0)), "f": f, "g": np.arange(60) // 5}
    m = lmm.lmer("sqrt(y) ~ f + (1 | g)", data)
    low, high = lmm.emmeans(m, "f", ddf="asymptotic", type="response").to_frame().to_numpy()[:, 1:]
    assert low[3] == 0.0 <= low[0] <= low[4]
    assert 0.0 < high[3] < high[0] < high[4]
