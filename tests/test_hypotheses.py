"""Linear hypotheses as text, against car and against the arrays that they stand for."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

import lmm
from lmm.inference.fixed.hypotheses import parse_hypotheses

NAMES = ["(Intercept)", "Days", "x", "recipeB", "recipeB:temp", "poly(x, 2)1", "I(x^2)"]


@pytest.mark.parametrize(
    "text, row, value, label",
    [
        ("Days = 10", {"Days": 1}, 10, "Days = 10"),
        ("Days", {"Days": 1}, 0, "Days = 0"),
        ("Days = x", {"Days": 1, "x": -1}, 0, "Days - x = 0"),
        ("2*Days - x = 15", {"Days": 2, "x": -1}, 15, "2 Days - x = 15"),
        ("2 Days - x/4 = 15", {"Days": 2, "x": -0.25}, 15, "2 Days - 0.25 x = 15"),
        ("10 = Days + 3", {"Days": -1}, -7, "-Days = -7"),
        ("-(x - 2*(Days - 1)) = 0", {"x": -1, "Days": 2}, 2, "2 Days - x = 2"),
        ("(Intercept) = 250", {"(Intercept)": 1}, 250, "(Intercept) = 250"),
        ("Intercept + Days = 1e2", {"(Intercept)": 1, "Days": 1}, 100, "(Intercept) + Days = 100"),
        ("recipeB:temp = recipeB", {"recipeB:temp": 1, "recipeB": -1}, 0, None),
        ("poly(x, 2)1 = 2*`I(x^2)`", {"poly(x, 2)1": 1, "I(x^2)": -2}, 0, None),
        ("I(x^2)*.5 = x", {"I(x^2)": 0.5, "x": -1}, 0, None),
    ],
)
def test_hypotheses_are_rows(text, row, value, label):
    found = parse_hypotheses(text, NAMES)
    assert_allclose(found.L, [[row.get(name, 0.0) for name in NAMES]])
    assert_allclose(found.rhs, [value])
    if label:
        assert found.labels == (label,)
        again = parse_hypotheses(found.labels, NAMES)
        assert_allclose(np.column_stack([again.L, again.rhs]), [[*found.L[0], value]])


@pytest.mark.parametrize(
    "text", ["Days = 1, x = 2", "Days = 1\nx = 2\n", ["Days = 1", "x = 2"], ["Days = 1, x = 2"]]
)
def test_several_hypotheses(text):
    found = parse_hypotheses(text, NAMES)
    assert found.labels == ("Days = 1", "x = 2")


def test_a_chain_says_that_all_sides_are_equal():
    assert parse_hypotheses("Days = x = recipeB", NAMES).labels == (
        "Days - recipeB = 0",
        "x - recipeB = 0",
    )


@pytest.mark.parametrize(
    "text, message",
    [
        ("Day = 10", "no coefficient 'Day'. Did you mean 'Days'"),
        ("Days x", "expected an operator"),
        ("Days * x = 0", "a hypothesis is linear"),
        ("1 / Days = 0", "a hypothesis is linear"),
        ("Days / 0", "numbers other than 0"),
        ("3 = 4", "says nothing about a coefficient"),
        ("Days - Days = 1", "says nothing about a coefficient"),
        ("Days =", "expected a coefficient or a number"),
        ("(Days = 2", "expected '\\)'"),
        ("Days < 2", "a hypothesis has no '<'"),
        ("(" * 500 + "Days", "nested too deeply"),
    ],
)
def test_what_is_no_hypothesis(text, message):
    with pytest.raises(lmm.FormulaError, match=message):
        parse_hypotheses(text, NAMES)


@pytest.fixture(scope="module")
def sleep():
    d = lmm.load_dataset("sleepstudy")
    d["f"] = np.tile(["a", "b", "c"], 60)
    return lmm.lmer("Reaction ~ Days + f + (Days | Subject)", d)


def test_tables_are_those_of_car(sleep):
    m = lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))
    # linearHypothesis(fm1, "Days = 10"), and test = "F"
    row = lmm.linear_hypothesis(m, "Days = 10").loc["2"]
    assert_allclose(row, [1.0, 0.09138293, 0.76242635], rtol=1e-6)
    row = lmm.linear_hypothesis(m, "Days", test="F").loc["2"]
    assert_allclose(row, [17.0, 1.0, 45.8530038, 3.263789e-06], rtol=1e-6)


def test_text_and_arrays_say_the_same(sleep):
    L = np.array([[0.0, 0, 1, -1], [0, 2, 1, 0]])
    for options in ({}, {"test": "F"}, {"test": "F", "ddf": "satterthwaite"}):
        found = lmm.linear_hypothesis(sleep, "fb = fc, 2*Days + fb = 15", **options)
        expected = lmm.linear_hypothesis(sleep, L, [0.0, 15.0], **options)
        assert str(found) == str(expected)
    text = ["fb = fc", "2*Days + fb = 15"]
    assert_allclose(sleep.wald_test(text), sleep.contest(L, [0.0, 15.0]))
    found = sleep.t_test(text, ddf="kenward-roger")
    assert list(found.to_frame().index) == ["fb - fc = 0", "2 Days + fb = 15"]
    assert_allclose(found, sleep.contest(L, [0.0, 15.0], joint=False, ddf="kenward-roger"))


def test_dropped_coefficients_are_not_estimable():
    d = lmm.load_dataset("sleepstudy").assign(twice=lambda d: 2.0 * d["Days"])
    control = lmm.LmerControl(check_rankX="silent.drop.cols")
    m = lmm.lmer("Reaction ~ Days + twice + (1 | Subject)", d, control=control)
    with pytest.raises(lmm.DataError, match="not estimable"):
        m.contest("twice = 3")
    assert_allclose(m.contest("Days + 2*twice = 3"), m.contest([[0.0, 1.0]], 3.0))


def test_mistakes_are_named(sleep):
    with pytest.raises(ValueError, match="hold their values: leave rhs out"):
        sleep.contest("Days = 10", rhs=3.0)
    with pytest.raises(ValueError, match="test is 'LR'"):
        lmm.linear_hypothesis(sleep, "Days", test="LR")
    with pytest.raises(lmm.DataError, match="contradict"):
        sleep.contest("Days = 1, Days = 2")
