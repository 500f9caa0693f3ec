"""R's expressions of columns: values as R 4.2.2 prints them, missing values among them."""

import numpy as np
import pytest

from lmm.design.columns import Factor, is_missing, read_column
from lmm.design.evaluate import Evaluator
from lmm.design.frame import Table
from lmm.errors import FormulaError
from lmm.formula import parse_formula

# R's printed digits.
PRINTED = 1e-14

TABLE = Table.of(
    {
        "x": [-7.0, -2.0, 5.5, np.nan],
        "z": [2, 0, -2, 1],
        "p": [1, 2, 3, 4],
        "b": np.array([True, False, None, True], dtype=object),
        "f": np.array(["u", "v", "w", None], dtype=object),
        "h": ["u", "w", "w", "u"],
        "num": ["10", "9", "8", "9"],
    }
)
COLUMNS = {name: read_column(TABLE.series(name), name) for name in TABLE.names}
NA = None
NAN = np.nan


def evaluate(expression):
    formula = parse_formula(f"y ~ {expression} + (1 | g)")
    return Evaluator(COLUMNS, {}, formula.source).column(formula.fixed)


NUMBERS = {
    "I(x %/% z)": [-4, -np.inf, -3, NAN],
    "I(x %% z)": [1, NAN, -0.5, NAN],
    "I(x^2)": [49, 4, 30.25, NAN],
    "I((-8 * p)^(1/3))": [NAN, NAN, NAN, NAN],
    "I(-x)": [7, 2, -5.5, NAN],
    "I(+x)": [-7, -2, 5.5, NAN],
    "I(b + 1)": [2, 1, NAN, 2],
    "log(p, 2)": [0, 1, 1.58496250072116, 2],
    "log(p, base = 10)": [0, 0.301029995663981, 0.477121254719662, 0.602059991327962],
    "round(p/3, 2)": [0.33, 0.67, 1, 1.33],
    "round(p * 2.5)": [2, 5, 8, 10],
    "ceiling(x)": [-7, -2, 6, NAN],
    "trunc(x)": [-7, -2, 5, NAN],
    "sign(x)": [-1, -1, 1, NAN],
    "pmin(x, z)": [-7, -2, -2, NAN],
    "pmax(x, 0, z)": [2, 0, 5.5, NAN],
    "ifelse(b, p, -p)": [1, -2, NAN, 4],
    "ifelse(x > 0, x, 0)": [0, 0, 5.5, NAN],
    "as.numeric(factor(h))": [1, 2, 2, 1],
    "as.numeric(b)": [1, 0, NAN, 1],
    "as.numeric(num)": [10, 9, 8, 9],
    "as.numeric(p)": [1, 2, 3, 4],
    "as.integer(x)": [-7, -2, 5, NAN],
    "cut(p, 2, labels = FALSE)": [1, 1, 2, 2],
    "I(mean(p) - p)": [1.5, 0.5, -0.5, -1.5],
    "I(p - median(p))": [-1.5, -0.5, 0.5, 1.5],
    "I(p/sd(p))": [0.774596669241483, 1.549193338482967, 2.323790007724450, 3.098386676965934],
    "I(p - min(p))": [0, 1, 2, 3],
    "I(p/max(p))": [0.25, 0.5, 0.75, 1],
    "I(x - mean(x))": [-7 + 3.5 / 3, -2 + 3.5 / 3, 5.5 + 3.5 / 3, NAN],
}


@pytest.mark.parametrize("expression", NUMBERS)
def test_numbers(expression):
    np.testing.assert_allclose(evaluate(expression), NUMBERS[expression], rtol=PRINTED, atol=1e-15)


TRUTHS = {
    "!b": [False, True, NA, False],
    "!z": [False, True, False, False],
    "x > z": [False, False, True, NA],
    "x <= -2": [True, True, False, NA],
    "f == 'u'": [True, False, False, NA],
    "'u' != f": [False, True, True, NA],
    "f == h": [True, False, True, NA],
    "f != h": [False, True, False, NA],
    "f %in% c('u', 'w')": [True, False, True, False],
    "p %in% c(1, 3)": [True, False, True, False],
    "p %in% 2": [False, True, False, False],
    "b | p > 3": [True, False, NA, True],
    "b & p > 3": [False, False, False, True],
    "b == TRUE": [True, False, NA, True],
}


@pytest.mark.parametrize("expression", TRUTHS)
def test_truths(expression):
    value = evaluate(f"I({expression})")
    assert isinstance(value, Factor)
    assert value.is_logical
    assert [NA if code < 0 else bool(code) for code in value.codes] == TRUTHS[expression]


FACTORS = {
    "ifelse(p > 2, 'hi', 'lo')": (["lo", "lo", "hi", "hi"], ["hi", "lo"]),
    "ifelse(b, 'yes', 'no')": (["yes", "no", NA, "yes"], ["no", "yes"]),
    "as.character(h)": (["u", "w", "w", "u"], ["u", "w"]),
    "as.factor(z)": (["2", "0", "-2", "1"], ["-2", "0", "1", "2"]),
    "factor(p, labels = c('a', 'b', 'c', 'd'))": (["a", "b", "c", "d"], ["a", "b", "c", "d"]),
    "factor(h, levels = c('w', 'u'), labels = c('W', 'U'))": (["U", "W", "W", "U"], ["W", "U"]),
    "factor(h, levels = 'w')": ([NA, "w", "w", NA], ["w"]),
    "factor(b)": (["TRUE", "FALSE", NA, "TRUE"], ["FALSE", "TRUE"]),
    "relevel(h, ref = 'w')": (["u", "w", "w", "u"], ["w", "u"]),
    "interaction(f, h, sep = '/')": (["u/u", "v/w", "w/w", NA], ["u/u", "v/w", "w/w"]),
    "cut(p, c(1, 2, 4))": ([NA, "(1,2]", "(2,4]", "(2,4]"], ["(1,2]", "(2,4]"]),
    "cut(p, c(1, 2, 4), include.lowest = TRUE)": (
        ["[1,2]", "[1,2]", "(2,4]", "(2,4]"],
        ["[1,2]", "(2,4]"],
    ),
    "cut(p, c(1, 2, 4), right = FALSE, include.lowest = TRUE)": (
        ["[1,2)", "[2,4]", "[2,4]", "[2,4]"],
        ["[1,2)", "[2,4]"],
    ),
    "cut(p, c(0, 2, 4), labels = c('lo', 'hi'))": (["lo", "lo", "hi", "hi"], ["lo", "hi"]),
    "cut(p/1e+05 + 1, 2)": (
        ["(1.00001,1.00002]"] * 2 + ["(1.00002,1.00004]"] * 2,
        ["(1.00001,1.00002]", "(1.00002,1.00004]"],
    ),
    "ordered(p, levels = c(4, 3, 2, 1))": (["1", "2", "3", "4"], ["4", "3", "2", "1"]),
}


@pytest.mark.parametrize("expression", FACTORS)
def test_factors(expression):
    value = evaluate(expression)
    assert isinstance(value, Factor)
    values, levels = FACTORS[expression]
    assert list(value.levels) == levels
    assert [NA if code < 0 else value.levels[code] for code in value.codes] == values
    assert value.is_ordered == expression.startswith("ordered")
    assert is_missing(value).tolist() == [v is NA for v in values]


REFUSED = {
    "I(x ~ 1)": "one '~'",
    "I(f == x)": "a factor can be compared with a level or another factor",
    "I(f > 'u')": "factors can be compared by == and != only",
    "I('a' + x)": "needs numbers, but is given str",
    "I(cbind(x, z) + 1)": "needs numbers, but is given basis",
    "ifelse(b, 'yes', 2)": "both outcomes must be numbers, or both texts",
    "ifelse(b, f, h)": "both outcomes must be numbers, or both texts",
    "scale(f)": "must be a numeric column",
    "as.numeric(h)": "the texts are not numbers",
    "as.numeric(cbind(x, z))": "a matrix is not one column",
    "cut(p, c(0, 2, 4), labels = 'lo')": "1 labels are given for 2 intervals",
    "I(pi * T + F)": "does not depend on the data",
    "I(f:h)": "operator ':' has no value inside an expression",
    "system('true')": "unknown function 'system'",
    "eval(x)": "unknown function 'eval'",
}


@pytest.mark.parametrize("expression", REFUSED)
def test_refused(expression):
    with pytest.raises(FormulaError, match=REFUSED[expression]) as caught:
        evaluate(expression)
    assert caught.value.position is not None
