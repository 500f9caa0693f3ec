"""Identifiers: whole numbers, decimals and dates that group, in every kind of table."""

import datetime
import decimal

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import lmm
from lmm.design import build_matrices
from lmm.design.columns import level_name
from lmm.errors import DataError, FormulaError

N, GROUPS = 48, 8
WHICH = np.repeat(np.arange(GROUPS), N // GROUPS)
Y = np.random.default_rng(3).normal(size=N) + WHICH
# Beyond 2^53 doubles are 2 and more apart; beyond 2^63 int64 ends.
STARTS = {"16 digits": 4532015112830366, "2^60": 2**60, "2^63": 2**63 + 5}


def identifiers(start):
    return [start + 3 * int(g) for g in WHICH]


def holes(values):
    return [None if i == 5 else value for i, value in enumerate(values)]


def nullable(values):
    return "UInt64" if max(v for v in values if v is not None) >= 2**63 else "Int64"


def frame(values, dtype=None):
    return pd.DataFrame({"y": Y, "g": pd.Series(values, dtype=dtype)})


def polars_series(ids):
    return pl.Series(ids, dtype=getattr(pl, nullable(ids)))


def arrow_array(ids):
    return pa.array(ids, getattr(pa, nullable(ids).lower())())


WHOLE = {
    "pandas": lambda ids: frame(ids),
    "nullable": lambda ids: frame(pd.array(ids, dtype=nullable(ids))),
    "pandas with arrow": lambda ids: frame(
        pd.array(ids, dtype=f"{nullable(ids).lower()}[pyarrow]")
    ),
    "objects": lambda ids: frame(ids, object),
    "decimals": lambda ids: frame([None if i is None else decimal.Decimal(i) for i in ids], object),
    "categories": lambda ids: frame(pd.Categorical(pd.array(ids, dtype=nullable(ids)))),
    "polars": lambda ids: pl.DataFrame(
        {"y": Y, "g": pl.Series(ids, dtype=getattr(pl, nullable(ids)))}
    ),
    "polars 128": lambda ids: pl.DataFrame({"y": Y, "g": pl.Series(ids, dtype=pl.Int128)}),
    "lazy": lambda ids: WHOLE["polars"](ids).lazy(),
    "pyarrow": lambda ids: pa.table(
        {"y": Y, "g": pa.array(ids, getattr(pa, nullable(ids).lower())())}
    ),
    "dict": lambda ids: {"y": Y, "g": ids},
    "dict of polars": lambda ids: {"y": Y, "g": polars_series(ids)},
    "dict of pyarrow": lambda ids: {
        "y": Y,
        "g": pa.array(ids, getattr(pa, nullable(ids).lower())()),
    },
}


@pytest.mark.parametrize("start", STARTS.values(), ids=STARTS)
@pytest.mark.parametrize("kind", WHOLE)
@pytest.mark.parametrize("missing", [False, True])
def test_whole_numbers_group_exactly(kind, start, missing):
    if missing and kind == "pandas":
        kind = "nullable"  # pandas itself makes doubles of integers and None
    ids = holes(identifiers(start)) if missing else identifiers(start)
    matrices = build_matrices("y ~ (1 | g)", WHOLE[kind](ids))
    (term,) = matrices.terms
    assert matrices.n == N - missing
    assert list(term.levels) == [str(start + 3 * i) for i in range(GROUPS)]
    assert term.codes.tolist() == [g for g, i in zip(WHICH, ids, strict=True) if i is not None]


def test_masked_identifiers_are_missing():
    ids = np.ma.masked_array(np.array(identifiers(2**60)), np.arange(N) == 5)
    (term,) = build_matrices("y ~ (1 | g)", {"y": Y, "g": ids}).terms
    assert (term.n_levels, len(term.codes)) == (GROUPS, N - 1)


@pytest.mark.parametrize("suffix", ["", "\nNA"])
def test_identifiers_in_a_text_file(suffix, tmp_path):
    from lmm.files.reading import read_table

    path = tmp_path / "ids.csv"
    lines = [f"{y},{g}" for y, g in zip(Y, identifiers(2**60), strict=True)]
    path.write_text("\n".join(["y,g", *lines]) + (suffix and "\n1.5,NA") + "\n")
    (term,) = build_matrices("y ~ (1 | g)", read_table(str(path))).terms
    assert term.n_levels == GROUPS


def test_long_whole_numbers_are_covariates_too():
    days = 1_600_000_000_000_000_000 + WHICH * 86_400_000_000_000
    matrices = build_matrices("y ~ t + (1 | g)", {"y": Y, "t": days, "g": WHICH % 4})
    assert matrices.fixed.names == ("(Intercept)", "t")
    np.testing.assert_array_equal(matrices.X[:, 1], days.astype(float))
    both = build_matrices("y ~ t + (1 | t)", {"y": Y, "t": 2**60 + WHICH})
    assert (both.terms[0].n_levels, both.X.shape[1]) == (GROUPS, 1)  # as doubles all are one


def test_identifiers_in_functions_that_make_factors():
    data = {"y": Y, "g": identifiers(2**60), "h": WHICH % 3}
    matrices = build_matrices("y ~ factor(g) + (1 | interaction(g, h))", data)
    assert matrices.fixed.names[1] == f"factor(g){2**60 + 3}"
    assert matrices.terms[0].n_levels == GROUPS


def test_long_decimals_are_told_apart():
    start = decimal.Decimal("1.0000000000000001")
    ids = [start + decimal.Decimal(int(g)).scaleb(-18) for g in WHICH]
    (term,) = build_matrices("y ~ (1 | g)", frame(ids, object)).terms
    assert (term.n_levels, term.levels[0]) == (GROUPS, "1.0000000000000001")
    (short,) = build_matrices(
        "y ~ (1 | g)", frame([decimal.Decimal("1.50"), decimal.Decimal(2)] * 24)
    ).terms
    assert list(short.levels) == ["1.5", "2"]


MOMENTS = {
    "date": ([datetime.date(2024, 1, 1 + g) for g in range(GROUPS)], "2024-01-01"),
    "midnights": (pd.date_range("2024-01-01", periods=GROUPS), "2024-01-01"),
    "times": (pd.date_range("2024-01-01 10:30", periods=GROUPS, freq="h"), "2024-01-01 10:30:00"),
    "nanoseconds": (
        pd.date_range("2024-01-01", periods=GROUPS, freq="ns") + pd.Timedelta(1),
        "2024-01-01 00:00:00.000000001",
    ),
    "zone": (
        pd.date_range("2024-01-01", periods=GROUPS, tz="Europe/Paris"),
        "2024-01-01 00:00:00+01:00",
    ),
    "month": (pd.period_range("2024-01", periods=GROUPS, freq="M"), "2024-01"),
    "duration": (pd.timedelta_range("1 h", periods=GROUPS, freq="h"), "0 days 01:00:00"),
    "hour": ([datetime.time(1 + g) for g in range(GROUPS)], "01:00:00"),
    "interval": (pd.interval_range(0, GROUPS), "(0, 1]"),
}


@pytest.mark.parametrize("kind", MOMENTS)
def test_dates_and_times_group(kind):
    values, first = MOMENTS[kind]
    data = pd.DataFrame({"y": Y, "g": pd.Series([values[g] for g in WHICH])})
    (term,) = build_matrices("y ~ (1 | g)", data).terms
    assert (term.n_levels, term.levels[0]) == (GROUPS, first)
    assert term.codes.tolist() == WHICH.tolist()
    np.testing.assert_array_equal(term.codes_for(data.iloc[::-7]), WHICH[::-7])
    data["g"] = data["g"].where(np.arange(N) != 3)
    assert build_matrices("y ~ (1 | g)", data).n == N - 1
    with pytest.raises(DataError, match=r"'g' holds .* convert it to numbers"):
        build_matrices("y ~ g + (1 | g)", data)


@pytest.mark.parametrize("kind", ["date", "midnights", "times", "nanoseconds", "zone"])
@pytest.mark.parametrize("table", ["polars", "pyarrow", "arrow in pandas"])
def test_dates_of_other_tables(kind, table):
    values, first = MOMENTS[kind]
    data = pd.DataFrame({"y": Y, "g": pd.Series([values[g] for g in WHICH])})
    other = {
        "polars": lambda: pl.from_pandas(data),
        "pyarrow": lambda: pa.Table.from_pandas(data),
        "arrow in pandas": lambda: pa.Table.from_pandas(data).to_pandas(types_mapper=pd.ArrowDtype),
    }[table]()
    (term,) = build_matrices("y ~ (1 | g)", other).terms
    assert (term.n_levels, term.levels[0]) == (GROUPS, first)
    assert term.codes.tolist() == WHICH.tolist()


def test_dates_are_compared_with_texts():
    data = pd.DataFrame(
        {"y": Y, "g": WHICH, "d": pd.Timestamp("2024-01-01") + pd.to_timedelta(WHICH, "D")}
    )
    matrices = build_matrices('y ~ I(d == "2024-01-02") + (1 | g)', data)
    np.testing.assert_array_equal(matrices.X[:, 1], WHICH == 1)


def test_dictionaries_of_arrow_in_pandas_keep_their_order():
    texts = pd.Categorical([f"s{7 - g}" for g in WHICH], [f"s{7 - g}" for g in range(GROUPS)])
    data = pa.Table.from_pandas(frame(texts)).to_pandas(types_mapper=pd.ArrowDtype)
    assert str(data["g"].dtype).startswith("dictionary")
    (term,) = build_matrices("y ~ (1 | g)", data).terms
    assert list(term.levels) == list(texts.categories)
    assert term.codes.tolist() == WHICH.tolist()


def test_ordered_dictionaries_of_arrow_are_ordered_factors():
    data = pd.DataFrame(
        {"y": Y, "g": WHICH, "f": pd.Categorical(list("lmh") * 16, list("lmh"), True)}
    )
    expected = build_matrices("y ~ f + (1 | g)", data)
    assert expected.fixed.names == ("(Intercept)", "f.L", "f.Q")
    np.testing.assert_array_equal(
        build_matrices("y ~ f + (1 | g)", pa.Table.from_pandas(data)).X, expected.X
    )


def test_relations_of_duckdb():
    relation = duckdb.from_arrow(pa.table({"y": Y, "g": identifiers(2**60)})).filter("y > 1")
    matrices = build_matrices("y ~ (1 | g)", relation)
    assert matrices.n == (Y > 1).sum()
    assert matrices.terms[0].levels[-1] == str(2**60 + 21)


@pytest.mark.parametrize(
    "value, name",
    [
        (4532015112830366.0, "4532015112830366"),
        (2.0**60, str(2**60)),
        (1e22, "1e+22"),
        (1e15 + 0.5, "1e+15"),
        (decimal.Decimal("1E+2"), "100"),
        (pd.Timestamp("2024-01-01"), "2024-01-01"),
    ],
)
def test_level_names(value, name):
    assert level_name(value) == name


def nested():
    cells = [("p:q", "s"), ("p", "q:s"), ("p", "s"), ("r", "t")]
    a, b = zip(*[cells[g % 4] for g in WHICH], strict=True)
    return pd.DataFrame({"y": Y + 5 * (WHICH % 4), "a": a, "b": b})


def test_labels_of_crossed_groups_never_collide():
    data = nested()
    m = lmm.lmer("y ~ (1 | a:b)", data)
    assert m.ngroups == {"a:b": 4}
    modes = m.ranef()["a:b"]
    assert modes.index.is_unique
    assert set(modes.index) == {r"p\:q:s", r"p:q\:s", "p:s", "r:t"}
    np.testing.assert_allclose(m.predict(data), m.fitted())
    without = m.predict(data.assign(a="p:q", b="q:s"), allow_new_levels=True)
    np.testing.assert_allclose(without, m.beta[0])
    subset = build_matrices("y ~ (1 | a:b)", data).at_rows(np.flatnonzero(data["b"] != "t"))
    assert subset.terms[0].codes_for(data[:3]).tolist() == subset.terms[0].codes[:3].tolist()


def test_combinations_by_interaction_need_names_of_their_own():
    data = pd.DataFrame({"y": Y, "a": ["1.5", "1", "1"] * 16, "b": ["2", "5.2", "2"] * 16})
    with pytest.raises(FormulaError, match=r"both be called '1.5.2': give another 'sep'"):
        build_matrices("y ~ (1 | interaction(a, b))", data)
    (term,) = build_matrices("y ~ (1 | interaction(a, b, sep = '/'))", data).terms
    assert list(term.levels) == ["1/2", "1.5/2", "1/5.2"]


def test_colons_and_backslashes_stay_as_they_are_where_labels_differ():
    data = nested().assign(a=["10:30", "10:45"] * 24, b=["x", "c\\d", "c\\d", "x"] * 12)
    (term,) = build_matrices("y ~ (1 | a:b)", data).terms
    assert set(term.levels) == {"10:30:x", "10:45:c\\d", "10:30:c\\d", "10:45:x"}
    np.testing.assert_array_equal(term.codes_for(data), term.codes)


def test_doubles_that_may_have_merged_identifiers_are_told_of():
    data = frame([None if i == 5 else 2.0**60 + 1024 * g for i, g in enumerate(WHICH)])
    (note,) = build_matrices("y ~ (1 | g)", data).notes
    assert note.text.startswith("the grouping factor g holds whole numbers beyond 2^53 as doubles")


def test_nan_among_labels_is_missing():
    labels = [float("nan") if i % 7 == 3 else f"s{g}" for i, g in enumerate(WHICH)]
    expected = build_matrices("y ~ (1 | g)", pd.DataFrame({"y": Y, "g": labels}))
    given = [
        build_matrices("y ~ (1 | g)", {"y": list(Y), "g": labels}),
        lmm.lmer_arrays(Y, np.ones((N, 1)), labels).fit.matrices,
        lmm.lmer_arrays(Y, np.ones((N, 1)), {"g": np.array(labels, dtype=object)}).fit.matrices,
    ]
    for matrices in given:
        assert list(matrices.terms[0].levels) == list(expected.terms[0].levels)
        np.testing.assert_array_equal(matrices.terms[0].codes, expected.terms[0].codes)


@pytest.fixture
def masked():
    x = np.tile(np.arange(6.0), 8)
    bad = np.arange(N) % 7 == 3
    return Y + 2 * x, x, bad


def test_masked_values_are_missing(masked):
    y, x, bad = masked
    kept = lmm.lmer("y ~ x + (1 | g)", {"y": y[~bad], "x": x[~bad], "g": WHICH[~bad]})
    hidden = np.ma.masked_array(np.where(bad, -9999.0, y), bad)
    m = lmm.lmer("y ~ x + (1 | g)", {"y": hidden, "x": x, "g": WHICH})
    arrays = lmm.lmer_arrays(hidden, np.column_stack([np.ones(N), x]), WHICH)
    X = np.ma.masked_array(np.column_stack([np.ones(N), x]), np.column_stack([0 * bad, bad]))
    columns = lmm.lmer_arrays(y, X, WHICH)
    for fit in (m, arrays, columns):
        np.testing.assert_allclose(fit.beta, kept.beta)
    whole = lmm.lmer("y ~ x + (1 | g)", {"y": y, "x": x, "g": WHICH})
    with pytest.raises(DataError, match=r"new response is missing or infinite in 7 of 48 rows"):
        whole.refit(hidden)
    values = np.ma.masked_array(np.where(bad, 1e6, 1.0), bad)
    np.testing.assert_allclose(whole.update(weights=values).beta, kept.beta)
    assert whole.update(offset=values).nobs == N - 7
