"""R's expressions of columns: values as R 4.2.2 prints them, missing values among them."""

import random

import numpy as np
import pandas as pd
import pytest

from lmm.design.columns import Factor, is_missing, read_column
from lmm.design.evaluate import Evaluator
from lmm.design.functions import FUNCTIONS
from lmm.design.table import Table
from lmm.errors import DataError, FormulaError
from lmm.formula import parse_formula
from lmm.language.parse import parse_expression

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
    "center(p)": [-1.5, -0.5, 0.5, 1.5],
    "standardize(p)": [
        -1.161895003862225,
        -0.387298334620742,
        0.387298334620742,
        1.161895003862225,
    ],
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
    "f > 'u'": [False, True, True, NA],
    "'v' > f": [True, False, False, NA],
    "ordered(h, levels = c('w', 'u')) > 'w'": [True, False, False, True],
    "ordered(h, levels = c('w', 'u')) == 'w'": [False, True, True, False],
    "p %in% c()": [False, False, False, False],
    "p %in% c('a', 2)": [False, True, False, False],
    "p %in% c('2', '3')": [False, True, True, False],
    "b %in% TRUE": [True, False, False, True],
    "is.na(f)": [False, False, False, True],
    "!is.na(x) & x < 0": [True, True, False, False],
    "startsWith(h, 'u')": [True, False, False, True],
    "endsWith(f, 'w')": [False, False, True, NA],
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
    "interaction(h)": (["u", "w", "w", "u"], ["u", "w"]),
    "interaction(h, num, h)": (
        ["u.10.u", "w.9.w", "w.8.w", "u.9.u"],
        ["u.10.u", "u.9.u", "w.8.w", "w.9.w"],
    ),
    "cut(p, c(-Inf, 2, Inf))": (["(-Inf,2]"] * 2 + ["(2, Inf]"] * 2, ["(-Inf,2]", "(2, Inf]"]),
    "factor(p, labels = c('a', 'b', 'a', 'b'))": (["a", "b", "a", "b"], ["a", "b"]),
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
    "I(factor(f) > 'u')": "factors can be compared by == and != only, unless ordered",
    "I(ordered(h) > 'z')": "'z' is not a level",
    "I(f > h)": "the order of levels can be compared with one level only",
    "I(p %in% x)": "the right side of %in% must be values, such as",
    "I('a' + x)": "needs numbers, but is given str",
    "I(cbind(x, z) & x)": "needs numbers, but is given a matrix",
    "ifelse(b, 'yes', 2)": "both outcomes must be numbers, or both texts",
    "ifelse(b, f, h)": "both outcomes must be numbers, or both texts",
    "scale(f)": "must be a numeric column",
    "scale(p, 'a')": "'center' must be a number",
    "sign(TRUE)": "does not depend on the data",
    "pmax()": r"pmax\(\) needs an argument",
    "cbind()": r"cbind\(\) needs an argument",
    "as.numeric(NaN)": r"as.numeric\(\) needs a column, but is given one value",
    "as.numeric(c(1, 2))": r"as.numeric\(\) needs a column, but is given one value",
    "ifelse(p > 2, NULL, 1)": "'yes' must be numbers; both outcomes must be numbers, or both texts",
    "cut(p, Inf)": "'breaks' must be a whole number",
    "cut(p, NaN)": "'breaks' must be a whole number",
    "cut(p, 1e9)": "'breaks' must be a whole number between 2 and 10000, not 1e.09",
    "cut(p, c(1, NaN, 3))": "'breaks' must be a number, or a vector of numbers",
    "cut(p, c(1, 1, 3))": "'breaks' are not distinct",
    "poly(p, Inf)": "'degree' must be a whole number",
    "poly(p, 1e6, raw = TRUE)": "'degree' must be a whole number between 1 and 1000",
    "poly(p, x, degree = 2)": r"it takes one column: add poly\(\) of each",
    "poly(p, 2, 3)": "'raw' must be TRUE or FALSE",
    "poly(p, 2, 3, 4)": r"poly\(\) is given too many arguments: its arguments are x, degree, raw",
    "bs(p, degree = 5000)": "'degree' must be a whole number between 1 and 20",
    "bs(p, Inf)": "'df' must be a whole number",
    "bs(p, boundary_knots = c(3, 1))": "'Boundary.knots' must be two increasing numbers",
    "ns(p, df = 1e7)": "'df' must be a whole number between 1 and 1000",
    "ns(p, knots = 'a')": "'knots' must be a number, or a vector of numbers",
    "round(p, Inf)": "'digits' must be a whole number",
    "round(p, 400)": "'digits' must be a whole number between -300 and 300",
    "log(p, 'a')": "'base' must be a number",
    "relevel(h)": r"relevel\(\) needs an argument 'ref'",
    "factor(h, levels = c('u', 'u'))": "'levels' names a level twice",
    "dummy(h, 'z')": "'z' is not a level",
    "dummy(factor(ifelse(b, 'k', 'k')))": "it makes 0 columns: name at least 1 level, at most 1000",
    "C(h, 'nope')": "unknown contrasts 'nope'",
    "C(h, 3)": "the contrasts must be named",
    "C(h, contr.sum, base = 2.5)": "'base' must be a whole number",
    "np.log(p)": r"unknown function 'np.log'.* Write log\(\)",
    "p.isin(2)": r"R writes x %in% c\(1, 2\)",
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


# Columns of every kind that a table has.
EVERY_KIND = {
    "x": np.linspace(-2, 3, 12),
    "m": [np.nan, *range(11)],
    "empty": np.full(12, np.nan),
    "one": np.ones(12),
    "i": np.arange(12) + 2**53 + 1,
    "b": np.arange(12) % 2 == 0,
    "f": pd.Categorical(list("uvwu") * 3),
    "o": pd.Categorical(list("lmhl") * 3, list("lmh"), ordered=True),
    "t": ["a", "b", "10"] * 4,
    "d": pd.date_range("2020-01-01", periods=12),
}
CONSTANTS = """
0 1 2 -1 1e9 1e-300 NaN Inf -Inf NA NULL TRUE FALSE 'a' 'u' '' c(1,2) c('u','v') c() c(1,NA)
pi T Sum contr.sum 2.5 c(-Inf,0,Inf) contr.sum(3) Treatment('u')
""".split()  # noqa: SIM905
KEYWORDS = """
df knots degree intercept Boundary.knots breaks labels levels ref base raw center scale right
dig.lab include.lowest digits ordered n reference sep contr prefix yes no test x
""".split()  # noqa: SIM905
INFIX = "+ - * / ^ %% %/% & | && || == != < <= > >= %in% :".split()  # noqa: SIM905


def random_expression(rng, depth):
    kind = rng.random()
    if depth == 0 or kind < 0.25:
        return rng.choice(list(EVERY_KIND) if rng.random() < 0.7 else CONSTANTS)
    if kind < 0.4:
        operands = random_expression(rng, depth - 1), random_expression(rng, depth - 1)
        return f" {rng.choice(INFIX)} ".join(operands)
    if kind < 0.5:
        return f"{rng.choice('-+!')}({random_expression(rng, depth - 1)})"
    arguments = [random_expression(rng, depth - 1)] if rng.random() < 0.95 else []
    for _ in range(rng.randrange(3)):
        keyword = f"{rng.choice(KEYWORDS)} = " if rng.random() < 0.3 else ""
        arguments.append(f"{keyword}{rng.choice(CONSTANTS)}")
    return f"{rng.choice(list(FUNCTIONS))}({', '.join(arguments)})"


def test_any_expression_has_a_value_or_an_error_that_says_why():
    rng = random.Random(5)
    table = Table.of(EVERY_KIND)
    columns = {name: read_column(table.series(name), name) for name in table.names}
    known = 0
    for _ in range(3000):
        try:
            node = parse_expression(random_expression(rng, rng.randrange(1, 4)))
            value = Evaluator(columns, {}, "").column(node)
        except (DataError, FormulaError):
            continue
        known += 1
        assert len(is_missing(value)) == 12
    assert known > 300
