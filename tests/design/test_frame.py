"""Rows: missing values, weights, subset, offset; every kind of table."""

from contextlib import chdir

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmm.design import LmerControl, build_matrices
from lmm.design.columns import Factor, array_of, level_name, read_column
from lmm.design.table import Table
from lmm.errors import DataError, FormulaError
from lmm.formula import parse_one_sided

N = 24


@pytest.fixture
def table():
    rng = np.random.default_rng(4)
    return pd.DataFrame(
        {
            "y": rng.normal(size=N),
            "x": rng.normal(size=N),
            "f": rng.choice(list("uvw"), N),
            "g": np.repeat(list("dcba"), N // 4),
            "day": np.tile([1, 2, 10], N // 3),
            "flag": rng.random(N) > 0.5,
            "w": np.tile([1.0, 2.0, 0.5], N // 3),
            "off": np.arange(float(N)),
        },
        index=pd.Index([f"r{i}" for i in range(N)]),
    )


FORMULA = "y ~ x + f + flag + (x | g)"
UNCHECKED = LmerControl(
    check_nobs_vs_nlev="ignore", check_nobs_vs_nRE="ignore", check_nlev_gtr_1="ignore"
)


def assert_same_numbers(a, b):
    np.testing.assert_array_equal(a.y, b.y)
    np.testing.assert_array_equal(a.X, b.X)
    assert a.fixed.names == b.fixed.names
    for left, right in zip(a.terms, b.terms, strict=True):
        np.testing.assert_array_equal(left.codes, right.codes)
        np.testing.assert_array_equal(left.Z, right.Z)
        assert list(left.levels) == list(right.levels)


CONVERSIONS = {
    "object": lambda d: d.astype({"f": object, "g": object}),
    "category": lambda d: d.astype({"f": "category", "g": "category"}),
    "nullable": lambda d: d.convert_dtypes(),
    "float32": lambda d: d.astype({"day": "float32"}),
    "polars": lambda d: pl.DataFrame(d.to_dict("list")),
    "polars enum": lambda d: pl.DataFrame(d.to_dict("list")).with_columns(
        pl.col("f").cast(pl.Enum(["u", "v", "w"])), pl.col("g").cast(pl.Enum(["a", "b", "c", "d"]))
    ),
    "pyarrow": lambda d: pa.table(d.to_dict("list")),
    "pyarrow dictionary": lambda d: pa.Table.from_pandas(
        d.astype({"f": "category", "g": "category"})
    ),
    "dict": lambda d: d.to_dict("list"),
    "dict of arrays": lambda d: {name: column.to_numpy() for name, column in d.items()},
    "dict of series": lambda d: dict(d.items()),
}


@pytest.mark.parametrize("kind", CONVERSIONS)
def test_every_kind_of_table_gives_the_same_matrices(kind, table):
    expected = build_matrices(FORMULA, table)
    assert_same_numbers(build_matrices(FORMULA, CONVERSIONS[kind](table)), expected)


@pytest.mark.parametrize("kind", ["polars", "pyarrow", "dict", "nullable", "object"])
def test_missing_values_of_every_kind_of_table(kind, table):
    holes = table.astype({"day": object, "flag": object, "f": object})
    for row, name in enumerate(["y", "x", "f", "g", "day", "flag"]):
        holes.iloc[2 * row, holes.columns.get_loc(name)] = None
    formula = "y ~ x + f + flag + day + (1 | g)"
    expected = build_matrices(
        formula, table.iloc[[i for i in range(N) if i not in range(0, 12, 2)]]
    )
    plain = {name: [None if pd.isna(v) else v for v in column] for name, column in holes.items()}
    convert = {
        "polars": lambda: pl.DataFrame(plain, strict=False),
        "pyarrow": lambda: pa.table(plain),
        "dict": lambda: {name: np.array(values, object) for name, values in plain.items()},
        "nullable": lambda: holes.convert_dtypes(),
        "object": lambda: holes,
    }[kind]
    matrices = build_matrices(formula, convert())
    assert_same_numbers(matrices, expected)
    assert matrices.frame.n_omitted == 6


def test_only_columns_in_use_are_read(table):
    table["when"] = pd.Timestamp("2020-01-01")
    table.loc["r3", "off"] = np.nan
    assert build_matrices(FORMULA, table).n == N
    with pytest.raises(DataError, match=r"'when' holds datetime64 values, .* convert it"):
        build_matrices("y ~ when + (1 | g)", table)


@pytest.mark.parametrize("na_action", ["omit", "exclude"])
def test_missing_rows_are_left_out(na_action, table):
    table.loc[["r2", "r5"], "x"] = np.nan
    table.loc["r7", "y"] = np.nan
    matrices = build_matrices(FORMULA, table, na_action=na_action, subset=np.arange(N) != 9)
    frame = matrices.frame
    assert frame.rows.tolist() == [i for i in range(N) if i not in (2, 5, 7, 9)]
    assert (frame.n, frame.n_omitted) == (N - 4, 3)
    padded = frame.pad(matrices.y)
    if na_action == "omit":
        np.testing.assert_array_equal(padded, matrices.y)
        assert frame.labels.tolist() == table.index[frame.rows].tolist()
    else:
        assert frame.labels.tolist() == [label for label in table.index if label != "r9"]
        expected = table["y"].where(table["x"].notna())[frame.labels]
        np.testing.assert_array_equal(padded, expected)


def test_missing_values_can_be_refused(table):
    table.loc[["r2", "r5"], "x"] = np.nan
    with pytest.raises(DataError, match=r"missing values in 'x': 2 of 24 rows"):
        build_matrices(FORMULA, table, na_action="raise")
    assert build_matrices(FORMULA, table.dropna(), na_action="raise").n == N - 2


def test_weights_and_offset_by_name_and_value(table):
    named = build_matrices(FORMULA, table, weights="w", offset="off")
    given_ = build_matrices(FORMULA, table, weights=table["w"].tolist(), offset=table["off"])
    for matrices in (named, given_):
        np.testing.assert_array_equal(matrices.weights, table["w"])
        np.testing.assert_array_equal(matrices.offset, table["off"])
    np.testing.assert_array_equal(build_matrices(FORMULA, table).weights, np.ones(N))
    np.testing.assert_array_equal(build_matrices(FORMULA, table).offset, np.zeros(N))


def test_offsets_add_up(table):
    formula = "y ~ x + offset(off) + offset(2 * x) + (1 | g)"
    matrices = build_matrices(formula, table, offset="w")
    np.testing.assert_allclose(matrices.offset, table["off"] + 2 * table["x"] + table["w"])
    assert matrices.fixed.names == ("(Intercept)", "x")


def test_a_missing_offset_is_a_missing_row(table):
    table.loc["r4", "off"] = np.nan
    assert build_matrices(FORMULA, table, offset="off").frame.rows.tolist() == [
        i for i in range(N) if i != 4
    ]


@pytest.mark.parametrize("argument", ["weights", "offset"])
def test_missing_weights_and_offsets_are_missing_values_as_in_r(argument, table):
    values = np.where(np.arange(N) == 3, np.nan, 2.0)
    found = build_matrices(FORMULA, table, **{argument: values}, na_action="exclude").frame
    assert found.n == N - 1
    assert np.isnan(found.pad(np.ones(N - 1))).tolist() == np.isnan(values).tolist()


def test_a_column_called_offset_is_checked_beside_the_argument(table):
    table["offset"] = np.where(np.arange(N) == 3, np.nan, 2.0 * table["x"])
    assert build_matrices("y ~ offset + (1 | g)", table, offset="off").n == N - 1


def test_rows_of_weight_zero_are_left_out(table):
    table.loc[["r0", "r9"], "w"] = 0.0
    matrices = build_matrices(FORMULA, table, weights="w")
    positive = table[table["w"] > 0]
    assert_same_numbers(matrices, build_matrices(FORMULA, positive))
    np.testing.assert_array_equal(matrices.weights, positive["w"])


@pytest.mark.parametrize(
    "subset",
    [
        "x > 0",
        "flag",
        "x > 0 and f != 'u'",
        pytest.param(np.arange(N) % 3 > 0, id="array"),
        pytest.param([True] * 20 + [False] * 4, id="list"),
    ],
)
@pytest.mark.parametrize("kind", ["pandas", "polars"])
def test_subset(subset, kind, table):
    if isinstance(subset, str) and subset == "flag":
        rows = table["flag"].to_numpy()
    else:
        rows = table.eval(subset).to_numpy() if isinstance(subset, str) else np.asarray(subset)
    data = table if kind == "pandas" else pl.DataFrame(table.to_dict("list"))
    matrices = build_matrices("y ~ x + (1 | g)", data, subset=subset)
    assert matrices.frame.rows.tolist() == np.flatnonzero(rows).tolist()


# R's spelling -> pandas', which is read too.
CONDITIONS = {
    "x > 0 & f != 'u'": "x > 0 and f != 'u'",
    "x > 0 | flag": "x > 0 or flag",
    "!(x > 0)": "not (x > 0)",
    "!(x > 0) & flag": "not x > 0 and flag",
    "x > 0 & x < 1": "0 < x < 1",
    "x >= -0.5 & x < 0.5 & x < 1": "-0.5 <= x < 0.5 and x < 1",
    "f %in% c('u', 'v')": "f in ['u', 'v']",
    "f %in% c('u', 'w')": "f in ('u', 'w')",
    "(f %in% 'u')": "(f in ['u'])",
    "!(f %in% 'u')": "f not in ['u']",
    "flag == TRUE": "flag == True",
    "x^2 + 1 > 2 * abs(x)": "x**2 + 1 > 2 * abs(x)",
    "(x > 0) != flag": "(x > 0) != flag",
    "'u' == f": "'u' == f",
    "(day + 1) %in% c(2, 3)": "day + 1 in [2, 3]",
}


@pytest.mark.parametrize("condition", CONDITIONS)
def test_conditions_in_the_spelling_of_r_and_of_pandas(condition, table):
    rows = np.flatnonzero(table.eval(CONDITIONS[condition]).to_numpy()).tolist()
    for subset in (condition, CONDITIONS[condition]):
        found = build_matrices("y ~ 1 + (1 | g)", table, subset=subset, control=UNCHECKED)
        assert found.frame.rows.tolist() == rows


def test_conditions_know_the_functions_of_formulas(table):
    table["name"] = ["ab", "ba"] * 12
    table["day"] = pd.date_range("2020-01-01", periods=24)
    expected = {
        "x > mean(x)": table["x"] > table["x"].mean(),
        "startsWith(name, 'a')": table["name"].str.startswith("a"),
        "name < 'b'": table["name"] < "b",
        "!is.na(x)": table["x"].notna(),
        "day >= '2020-01-20'": table["day"] >= "2020-01-20",
        'Q("x") > 0 & `x` < 1': (table["x"] > 0) & (table["x"] < 1),
    }
    for subset, rows in expected.items():
        found = build_matrices(
            "y ~ 1 + (1 | g)", table, subset=subset, control=UNCHECKED
        ).frame.rows
        assert found.tolist() == np.flatnonzero(rows).tolist()


def test_conditions_tell_long_identifiers_apart(table):
    table["id"] = 2**53 + np.arange(N)
    for subset in ("id == '9007199254740993'", "id %in% c('9007199254740993', '7')"):
        frame = build_matrices("y ~ 1 + (1 | g)", table, subset=subset, control=UNCHECKED).frame
        assert frame.rows.tolist() == [1]
    for subset in ("id == 9007199254740993", "9007199254740993 >= id", "id in [9007199254740993]"):
        with pytest.raises(DataError, match="stands for several identifiers: write it in quotes"):
            build_matrices(FORMULA, table, subset=subset)


# Text -> what the message says.
NO_CONDITIONS = {
    "'a'": "does not depend on the data",
    "True": "does not depend on the data",
    "10**10**10": "does not depend on the data",
    "x > 9**9**9": "subset selects no row",
    "x": "must hold 24 truth values, one per row of the data, not 24 numbers",
    "f": "must hold 24 truth values, one per row of the data, not 24 texts",
    "poly(x, 2)": "must hold 24 truth values, one per row of the data, not 24 numbers",
    "x = 3": "Equality is written ==",
    "x[0] > 1": r"Values of a set are written c\(1, 2\)",
    "x // 2 > 1": r"Whole division is written x %/% 2",
    "x % 2 == 0": "remainders are written x %% 2",
    "~(x > 1)": r"write !\(x > 1\) for 'not'",
    "@pd": "'@' is not part",
    "@pd.io.common.os.system('true')": "'@' is not part",
    "x > 2; y": "Unexpected character ';'",
    "import os": "found 'os'",
    "__builtins__": "Unexpected character '_'",
    "x.map(print)": "it uses 'print', but the data have no such column",
    "x.map(x)": "unknown function 'x.map'",
    "x.to_csv('written.csv') != 3": "unknown function 'x.to_csv'",
    "x.__class__ == 1": "it uses 'x.__class__', but the data have no such column",
    "x.isin([1, 2])": r"R writes x %in% c\(1, 2\)",
    "x.notna()": r"R writes !is.na\(x\)",
    "x > '2'": "needs numbers, but is given str",
    "x is None": r"Missing values are found by is.na\(x\)",
    "x<-1": "needs a blank: x < -1",
    "x in [1, 2": r"This '\[' is never closed",
    "cut(x, 1e9) == 1": "must be a whole number between 2 and 10000",
    "bs(x, degree = 5000) > 1": "must be a whole number between 1 and 20",
    "poly(x, 1e6) > 1": "must be a whole number between 1 and 1000",
    "(" * 200: "nests more than 100 operations",
    "x > 0" + " & x > 0" * 20_000: "has 160005 characters, more than 100000",
}


@pytest.mark.parametrize("subset", NO_CONDITIONS, ids=lambda text: text[:20])
def test_texts_that_are_no_conditions_are_refused_and_run_nothing(subset, table, tmp_path):
    with chdir(tmp_path), pytest.raises(DataError, match=NO_CONDITIONS[subset]):
        build_matrices(FORMULA, table, subset=subset)
    assert not list(tmp_path.iterdir())


def test_missing_truth_values_select_no_row(table):
    subset = pd.array([True] * 20 + [None] * 4, dtype="boolean")
    assert build_matrices(FORMULA, table, subset=subset).n == 20


def test_transforms_are_learned_from_all_rows_as_in_r(table):
    table.loc["r1", "y"] = np.nan
    some = build_matrices("y ~ scale(x) + (1 | g)", table, subset="x > 0")
    scaled = (table["x"] - table["x"].mean()) / table["x"].std()
    np.testing.assert_allclose(some.X[:, 1], scaled.iloc[some.frame.rows])


def test_unused_levels_are_dropped(table):
    table["f"] = pd.Categorical(table["f"], ["w", "none", "v", "u"])
    table["g"] = pd.Categorical(table["g"], ["d", "never", "c", "b", "a"])
    matrices = build_matrices("y ~ f + (1 | g)", table, subset="g != 'b'")
    assert matrices.fixed.names == ("(Intercept)", "fv", "fu")
    assert list(matrices.terms[0].levels) == ["d", "c", "a"]
    assert np.bincount(matrices.terms[0].codes).tolist() == [6, 6, 6]


def test_whole_numbers_group_in_numeric_order(table):
    (term,) = build_matrices("y ~ (1 | day)", table).terms
    assert list(term.levels) == ["1", "2", "10"]
    table["id"] = 2**60 + np.repeat([2, 0, 1], 8)
    (term,) = build_matrices("y ~ (1 | id)", table).terms
    assert list(term.levels) == [str(2**60 + i) for i in range(3)]


NAMES = [(1.0, "1"), (0.1 + 0.2, "0.3"), (1 / 3, "0.333333333333333"), (1e-5, "1e-05")]
NAMES += [(123456.5, "123456.5"), (1e22, "1e+22"), (-2.0, "-2"), (100000, "100000")]
NAMES += [(1e5, "100000"), (1e-300, "1e-300"), (0.0001, "1e-04"), (0.001, "0.001"), (True, "TRUE")]


@pytest.mark.parametrize("value, name", NAMES)
def test_level_names_are_spelled_as_in_r(value, name):
    assert level_name(value) == name


def test_numbers_that_print_the_same_are_one_level():
    factor = read_column(pd.Series(pd.Categorical([0.3, 0.1 + 0.2, 1.0])), "v")
    assert isinstance(factor, Factor)
    assert (factor.levels, factor.codes.tolist()) == (("0.3", "1"), [0, 0, 1])


KINDS = {
    "float32": np.float32([0.5, np.nan, 1.5]),
    "big": np.array([2**60, 2**60 + 1, 3]),
    "bool": np.array([True, False, True]),
    "mixed": pd.Series([1, 2.5, None], dtype=object),
    "text": pd.Series(["b", None, "a"], dtype=object),
    "string": pd.array(["b", None, "a"], dtype="string"),
    "category": pd.Categorical(["b", None, "a"], categories=["b", "a", "c"]),
    "nullable": pd.array([2**60 + 1, None, 3], dtype="Int64"),
    "truth": pd.array([True, None, False], dtype="boolean"),
    "moment": pd.to_datetime(["2020-02-01", None, "2020-01-01"]),
    "zoned": pd.to_datetime(["2020-02-01", None, "2020-01-01"]).tz_localize("UTC"),
    "sparse": pd.arrays.SparseArray([0.0, 2.0, np.nan]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_columns_are_read_alike_with_a_series_around_them_and_without(kind, monkeypatch):
    def told(column):
        factor = getattr(column, "factor", column)
        return (factor.codes, factor.levels) if isinstance(factor, Factor) else column

    table = Table.of(pd.DataFrame({"first": np.arange(3), "v": KINDS[kind]}))
    expected = told(read_column(table.series("v"), "v"))
    np.testing.assert_equal(told(table.column("v")), expected)
    monkeypatch.setattr("lmm.design.table._array_at", lambda frame, i: array_of(frame.iloc[:, i]))
    np.testing.assert_equal(told(table.column("v")), expected)


# Arguments that do not suit the data: keywords -> part of the message.
BAD_ARGUMENTS = [
    ({"weights": -np.ones(N)}, r"weights must be finite and not negative: 24 .* first -1.0"),
    (
        {"weights": np.r_[np.nan, np.ones(N - 1)], "na_action": "raise"},
        r"missing values in '\(weights\)': 1 of 24 rows",
    ),
    ({"weights": np.r_[np.inf, np.ones(N - 1)]}, "weights must be finite .* inf at row 0"),
    ({"weights": np.zeros(N)}, r"0 \(non-NA\) cases: every selected row .* zero weight"),
    ({"weights": np.ones(3)}, r"weights must hold 24 numbers, .* not shape \(3,\)"),
    ({"weights": "ww"}, "there is no column 'ww' .* mean 'w'"),
    ({"weights": "f"}, "weights 'f' must be numeric"),
    ({"offset": [1.0]}, r"offset must hold 24 numbers, .* not shape \(1,\)"),
    ({"offset": pd.Series(np.ones(N))}, "the index of offset is not that of the data"),
    ({"subset": "x > 100"}, r"0 \(non-NA\) cases: subset selects no row"),
    ({"subset": "q > 1"}, "subset 'q > 1' cannot be evaluated: it uses 'q', but the data have no"),
    ({"subset": "x >"}, "subset 'x >' cannot be evaluated"),
    ({"subset": "x + 1"}, "subset must hold 24 truth values"),
    ({"subset": np.arange(N)}, "subset must hold 24 truth values"),
    ({"subset": [True]}, "subset must hold 24 truth values, .* not 1"),
    ({"na_action": "skip"}, "na_action must be one of omit, exclude, raise, not 'skip'"),
]


@pytest.mark.parametrize("arguments, message", BAD_ARGUMENTS)
def test_arguments_that_do_not_suit_the_data(arguments, message, table):
    with pytest.raises(DataError, match=message):
        build_matrices(FORMULA, table, **arguments)


BAD_DATA = [
    (lambda d: d.assign(y=np.where(d.index == "r3", np.inf, d["y"])), "values in 'y': 1 .* 'r3'"),
    (lambda d: d.assign(x=np.where(d.index == "r5", -np.inf, d["x"])), "values in 'x': 1 .* 'r5'"),
    (lambda d: d.assign(y=np.nan), r"0 \(non-NA\) cases: 'y' is missing in every selected row"),
    (lambda d: d.iloc[:0], r"0 \(non-NA\) cases: the data have no rows"),
    (lambda d: d.assign(y=d["f"]), "response must be numeric: 'y' holds a factor, such as 'u'"),
    (lambda d: d.assign(y=d["flag"]), "response must be numeric: 'y' holds truth values"),
    (lambda d: d.assign(y=1j), "'y' holds complex values"),
    (lambda d: d.assign(f="u"), r"factor 'f' has 1 level\(s\)"),
    (lambda d: d.rename(columns={"x": "xx"}), "uses 'x', but the data .* mean 'xx'"),
    (lambda d: pd.concat([d, d[["x"]]], axis=1), "2 columns named 'x'"),
    (lambda d: 5, "must be a pandas, polars or pyarrow table, .* not int"),
    (lambda d: {"y": [1, 2], "x": [1]}, "differ in length: y has 2, x has 1"),
    (lambda d: {"y": np.ones((2, 2, 1))}, r"'y' must have one dimension, not shape \(2, 2, 1\)"),
]


@pytest.mark.parametrize("change, message", BAD_DATA)
def test_data_that_do_not_suit_the_formula(change, message, table):
    with pytest.raises(DataError, match=message):
        build_matrices(FORMULA, change(table))


@pytest.mark.parametrize(
    "formula, message",
    [
        ("y ~ x + offset(f) + (1 | g)", r"offset\(f\) must be numeric"),
        ("y ~ x + offset(x, w) + (1 | g)", r"offset\(\) takes one expression"),
        ("~ x + (1 | g)", "no response"),
    ],
)
def test_formulas_that_do_not_suit_the_data(formula, message, table):
    with pytest.raises((DataError, FormulaError), match=message):
        build_matrices(formula, table)


def test_one_sided_formulas_have_no_matrices(table):
    with pytest.raises(DataError, match="the formula has no response"):
        build_matrices(parse_one_sided("~ x + (1 | g)"), table)


def test_columns_whose_names_are_numbers(table):
    data = table.rename(columns={"y": 0, "x": 1})
    matrices = build_matrices("`0` ~ `1` + (1 | g)", data)
    assert matrices.fixed.names == ("(Intercept)", "`1`")
    np.testing.assert_array_equal(matrices.y, table["y"])


def test_a_matrix_response(table):
    with pytest.raises(DataError, match=r"matrix-valued responses: 'poly\(y, 2\)' has 2 columns"):
        build_matrices("poly(y, 2) ~ x + (1 | g)", table)


@given(st.permutations(range(N)))
def test_permuted_rows_give_permuted_matrices(order):
    rng = np.random.default_rng(1)
    data = pd.DataFrame(
        {
            "y": rng.normal(size=N),
            "x": rng.normal(size=N),
            "f": rng.choice(list("uvw"), N),
            "g": rng.choice(list("abcde"), N),
        }
    )
    formula = "y ~ x * f + (x | g) + (1 | f:g)"
    plain = build_matrices(formula, data)
    shuffled = build_matrices(formula, data.iloc[order])
    np.testing.assert_array_equal(shuffled.X, plain.X[order])
    np.testing.assert_array_equal(shuffled.y, plain.y[order])
    assert shuffled.theta_names == plain.theta_names
    np.testing.assert_array_equal(shuffled.Zt.toarray(), plain.Zt.toarray()[:, order])


def test_categories_of_polars_sort_unless_they_have_an_order_of_their_own():
    g = pl.Series("g", ["c", "a", "b", None, "a", "c"])

    def levels(column):
        return Table.of(pl.DataFrame({"g": column})).column("g").levels

    assert levels(g.cast(pl.Categorical)) == levels(g) == ("a", "b", "c")
    assert levels(g.reverse().cast(pl.Categorical)) == ("a", "b", "c")
    assert levels(g.cast(pl.Enum(["b", "c", "a"]))) == ("b", "c", "a")
