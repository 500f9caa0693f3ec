"""The front door for arrays gives what the formula gives."""

import numpy as np
import pandas as pd
import pytest

from lmm.design import build_matrices, table_of_arrays
from lmm.errors import DataError

N = 30


@pytest.fixture
def table():
    rng = np.random.default_rng(3)
    return pd.DataFrame(
        {
            "y": rng.normal(size=N),
            "const": 1.0,
            "x": rng.normal(size=N),
            "z": rng.normal(size=N),
            "g": np.tile(list("abcde"), N // 5),
            "h": np.repeat(list("uvw"), N // 3),
        }
    )


def matrices_from_arrays(y, X, groups, Z=None, **options):
    return build_matrices(*table_of_arrays(y, X, groups, Z), **options)


def assert_same(arrays, formula):
    np.testing.assert_array_equal(arrays.X, formula.X)
    np.testing.assert_array_equal(arrays.y, formula.y)
    np.testing.assert_array_equal(arrays.Zt.toarray(), formula.Zt.toarray())


def test_plain_arrays(table):
    arrays = matrices_from_arrays(
        table["y"].to_numpy(), table[["const", "x"]].to_numpy(), table["g"].to_numpy()
    )
    assert str(arrays.formula) == "y ~ 1 + x2 + (1 | group)"
    assert_same(arrays, build_matrices("y ~ x + (1 | g)", table))


def test_frames_and_series_bring_their_names(table):
    X = table[["const", "x"]]
    arrays = matrices_from_arrays(table["y"], X, table["g"], Z=X)
    assert str(arrays.formula) == "y ~ 1 + x + (1 + x | g)"
    assert arrays.theta_names == ("g.(Intercept)", "g.x.(Intercept)", "g.x")
    assert_same(arrays, build_matrices("y ~ x + (x | g)", table))


def test_no_column_of_ones_is_added(table):
    arrays = matrices_from_arrays(table["y"], table["x"], table["g"], Z=table["z"])
    assert str(arrays.formula) == "y ~ 0 + x + (0 + z | g)"
    assert_same(arrays, build_matrices("y ~ 0 + x + (0 + z | g)", table))


def test_a_later_column_of_ones_keeps_its_place(table):
    arrays = matrices_from_arrays(table["y"], table[["x", "const"]], table["g"])
    assert arrays.fixed.names == ("x", "const")


@pytest.mark.parametrize(
    "groups",
    [
        lambda d: {"g": d["g"].to_numpy(), "h": d["h"].to_numpy()},
        lambda d: [d["g"], d["h"]],
        lambda d: d[["g", "h"]],
    ],
)
def test_several_groups(groups, table):
    arrays = matrices_from_arrays(table["y"], table[["const"]], groups(table), Z={"g": table["x"]})
    assert_same(arrays, build_matrices("y ~ 1 + (0 + x | g) + (1 | h)", table))
    assert [term.group for term in arrays.terms] == ["g", "h"]


def test_names_that_need_back_ticks(table):
    odd = table.rename(columns={"x": "my x", "g": "the group"})
    arrays = matrices_from_arrays(odd["y"], odd[["const", "my x"]], odd["the group"])
    assert str(arrays.formula) == "y ~ 1 + `my x` + (1 | `the group`)"
    assert arrays.terms[0].group == "the group"


def test_weights_and_missing_values(table):
    table.loc[4, "x"] = np.nan
    weights = np.arange(1.0, N + 1)
    arrays = matrices_from_arrays(
        table["y"], table[["const", "x"]], table["g"], weights=weights, na_action="exclude"
    )
    assert arrays.n == N - 1
    assert arrays.weights.tolist() == np.delete(weights, 4).tolist()
    assert np.flatnonzero(np.isnan(arrays.frame.pad(arrays.y))).tolist() == [4]


def test_new_data_by_the_same_names(table):
    arrays = matrices_from_arrays(
        table["y"].to_numpy(), table[["const", "x"]].to_numpy(), table["g"]
    )
    np.testing.assert_array_equal(arrays.fixed.matrix({"x2": [3.0]}), [[1.0, 3.0]])


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda a: a | {"X": a["X"].iloc[:5]}, "the index of 'x' is not that of the response"),
        (lambda a: a | {"X": np.ones((5, 2))}, r"X has 5 rows, but the response has 30"),
        (lambda a: a | {"X": np.ones((N, 2, 2))}, "X must have two dimensions"),
        (lambda a: a | {"groups": list("ab")}, r"'group' has shape \(2,\), .* 30 rows"),
        (lambda a: a | {"Z": {"q": a["X"]}}, "Z has columns for q, but the groups are g"),
        (lambda a: a | {"Z": a["X"].assign(x=1.5)}, "two different columns are called 'x'"),
    ],
)
def test_arrays_that_do_not_match(change, message, table):
    arguments = {"y": table["y"], "X": table[["const", "x"]], "groups": table["g"]}
    with pytest.raises(DataError, match=message):
        matrices_from_arrays(**change(arguments))
