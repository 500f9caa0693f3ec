"""Random-effects terms against lme4's lFormula: order, levels, columns, Zt."""

import pickle

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from lmm.covariance import Diagonal, Unstructured
from lmm.design import LmerControl, build_matrices
from lmm.design.columns import read_column
from lmm.errors import DataError, FormulaError
from reference.design import design_table, load_design

ROUNDING = 1e-12
RANDOM = load_design()["random"]
PERMISSIVE = LmerControl(check_nobs_vs_nlev="ignore", check_nobs_vs_nRE="ignore")


@pytest.fixture(scope="module")
def table():
    return design_table()


def build(formula, data, **arguments):
    return build_matrices(formula, data, control=PERMISSIVE, **arguments)


@pytest.mark.parametrize("case", RANDOM, ids=lambda case: case["formula"])
def test_terms_are_those_of_lme4(case, table):
    matrices = build(case["formula"], table)
    terms = matrices.terms
    assert [term.label for term in terms] == case["terms"]
    assert [term.group for term in terms] == case["groups"]
    assert [list(term.columns) for term in terms] == case["columns"]
    assert {term.group: list(term.levels) for term in terms} == case["levels"]
    assert np.concatenate([term.covariance.start for term in terms]).tolist() == case["theta"]
    stored = case["Zt"]
    shape = tuple(case["dim"])
    expected = sparse.csc_array((stored["x"], stored["i"], stored["p"]), shape=shape).toarray()
    np.testing.assert_allclose(matrices.Zt.toarray(), expected, rtol=ROUNDING, atol=ROUNDING)


@pytest.mark.parametrize("case", RANDOM, ids=lambda case: case["formula"])
def test_the_data_themselves_are_new_data(case, table):
    for term in build(case["formula"], table).terms:
        np.testing.assert_allclose(term.matrix(table), term.Z, rtol=ROUNDING)
        np.testing.assert_array_equal(term.codes_for(table), term.codes)
        np.testing.assert_array_equal(term.labels_for(table), term.levels[term.codes])


# What lme4 1.1-31 cannot read, or does otherwise: formula -> (label, columns, structure) in order.
BEYOND = {
    "y ~ (f || h)": [
        ("1 | h", ["(Intercept)"], Unstructured(1)),
        ("0 + fv | h", ["fv"], Unstructured(1)),
        ("0 + fw | h", ["fw"], Unstructured(1)),
    ],
    "y ~ (0 + f || h)": [(f"0 + f{v} | h", [f"f{v}"], Unstructured(1)) for v in "uvw"],
    "y ~ diag(x + z | h)": [("x + z | h", ["(Intercept)", "x", "z"], Diagonal(3))],
    "y ~ (1 || h)": [("1 | h", ["(Intercept)"], Unstructured(1))],
    "y ~ (1 | f * g)": [
        (f"1 | {group}", ["(Intercept)"], Unstructured(1)) for group in ("f:g", "f", "g")
    ],
    "y ~ (1 | f + h)": [(f"1 | {g}", ["(Intercept)"], Unstructured(1)) for g in ("h", "f")],
    "y ~ (1 | factor(k))": [("1 | factor(k)", ["(Intercept)"], Unstructured(1))],
    "y ~ (1 | interaction(f, g))": [
        ("1 | interaction(f, g)", ["(Intercept)"], Unstructured(1)),
    ],
    "y ~ (1 | cut(x, 3))": [("1 | cut(x, 3)", ["(Intercept)"], Unstructured(1))],
    "y ~ (x || f/g)": [
        (f"{effects} | {group}", [column], Unstructured(1))
        for group, effects, column in [
            ("g:f", "1", "(Intercept)"),
            ("g:f", "0 + x", "x"),
            ("f", "0 + x", "x"),
            ("f", "1", "(Intercept)"),
        ]
    ],
}


@pytest.mark.parametrize("formula", BEYOND)
def test_terms_beyond_lme4(formula, table):
    terms = build(formula, table).terms
    assert sorted((term.label, list(term.columns), term.covariance) for term in terms) == sorted(
        BEYOND[formula], key=lambda expected: expected[:2]
    )


@pytest.mark.parametrize(
    "formula, levels",
    [
        ("y ~ (1 | factor(k))", ["1", "2", "3", "4", "5", "6"]),
        ("y ~ (1 | interaction(f, g))", ["u.a", "v.a", "w.a", "u.b", "v.b", "w.b"]),
        ("y ~ (1 | f:g)", ["u:a", "u:b", "v:a", "v:b", "w:a", "w:b"]),
        ("y ~ (1 | g:f)", ["a:u", "a:v", "a:w", "b:u", "b:v", "b:w"]),
        ("y ~ (1 | ifelse(x > 5, 'high', 'low'))", ["high", "low"]),
    ],
)
def test_levels(formula, levels, table):
    assert list(build(formula, table).terms[0].levels) == levels


def test_only_combinations_that_occur_are_levels():
    data = {"y": np.arange(6.0), "a": list("AABBBA"), "b": list("zyzzyz")}
    (term,) = build("y ~ (1 | b:a)", data).terms
    assert list(term.levels) == ["y:A", "y:B", "z:A", "z:B"]
    (term,) = build("y ~ (1 | a:b)", {**data, "b": list("zyzzzz")}).terms
    assert list(term.levels) == ["A:y", "A:z", "B:z"]
    assert term.codes.tolist() == [1, 0, 2, 2, 2, 1]


def test_contrasts_are_for_the_fixed_part_only(table):
    matrices = build("y ~ f + (f | h)", table, contrasts={"f": "contr.sum"})
    assert matrices.fixed.names == ("(Intercept)", "f1", "f2")
    assert matrices.terms[0].columns == ("(Intercept)", "fv", "fw")


def test_new_levels_and_missing_groups(table):
    (term,) = build("y ~ (poly(x, 2) | f:g)", table).terms
    new = pd.DataFrame({"x": [3.0, 4, 5], "f": ["u", "u", None], "g": ["b", "zz", "a"]})
    assert term.codes_for(new).tolist() == [1, -1, -1]
    assert term.labels_for(new).tolist() == ["u:b", "u:zz", None]
    assert term.matrix(new).shape == (3, 3)


def test_numbers_and_their_texts_are_the_same_levels(table):
    (term,) = build("y ~ (1 | k)", table).terms
    assert term.codes_for({"k": ["3", "6"]}).tolist() == [2, 5]
    assert term.codes_for({"k": [3.0, 6.0]}).tolist() == [2, 5]


def test_a_term_without_columns(table):
    with pytest.raises(FormulaError, match=r"\(0 \| h\) has no columns"):
        build("y ~ x + (0 | h)", table)


def test_a_matrix_is_not_a_grouping_factor(table):
    with pytest.raises(DataError, match="a matrix cannot be used as a factor"):
        build("y ~ x + (1 | poly(x, 2))", table)


def test_split_bar_is_its_terms(table):
    split = build("y ~ x + (x + z || h)", table)
    written = build("y ~ x + (1 | h) + (0 + x | h) + (0 + z | h)", table)
    assert split.theta_names == written.theta_names
    np.testing.assert_array_equal(split.Zt.toarray(), written.Zt.toarray())


def test_nested_groups_are_their_interaction(table):
    nested = build("y ~ x + (x | f/h)", table)
    written = build("y ~ x + (x | h:f) + (x | f)", table)
    assert nested.theta_names == written.theta_names
    np.testing.assert_array_equal(nested.Zt.toarray(), written.Zt.toarray())


def test_matrices_survive_pickling(table):
    matrices = build("y ~ ns(x, 3) * f + (poly(z, 2) | f:g)", table)
    again = pickle.loads(pickle.dumps(matrices))
    np.testing.assert_array_equal(again.fixed.matrix(table), matrices.X)
    np.testing.assert_array_equal(again.terms[0].matrix(table), matrices.terms[0].Z)
    assert again.fixed.names == matrices.fixed.names


@pytest.mark.parametrize("n_levels", [7, 150])
def test_crossed_levels_are_those_that_occur_in_order(n_levels):
    rng = np.random.default_rng(8)
    codes = rng.integers(0, n_levels, (200, 2))
    names = [[f"{code:03d}" for code in column] for column in codes.T]
    data = {"y": rng.normal(size=200), "a": names[0], "b": names[1]}
    control = LmerControl(check_nobs_vs_nlev="ignore", check_nobs_vs_nRE="ignore")
    (term,) = build_matrices("y ~ 1 + (1 | a:b)", data, control=control).terms
    pairs = [f"{a}:{b}" for a, b in zip(*names, strict=True)]
    assert term.levels.tolist() == sorted(set(pairs))
    assert term.levels[term.codes].tolist() == pairs


def test_short_and_long_columns_of_texts_are_read_alike():
    texts = pd.Series(["b", None, "Z", "a", "b", "é", ""] * 400, dtype="str")
    short, long = read_column(texts[:1400], "g"), read_column(texts, "g")
    assert short.levels == long.levels == ("", "Z", "a", "b", "é")
    assert short.codes.tolist() == long.codes[:1400].tolist()
    assert short.is_text
    assert long.is_text
