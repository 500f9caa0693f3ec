"""X and its labels against R's model.matrix; linear dependence; new data."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmm.design import LmerControl, build_matrices
from lmm.design.fixed import independent_columns
from lmm.errors import ContrastsWarning, DataError, FormulaError
from reference.design import design_table, load_design

# Model matrices are products of few operations: agreement to rounding.
ROUNDING = 1e-12

FIXED = load_design()["fixed"]
PREDICTED = load_design()["predicted"]
PERMISSIVE = LmerControl(check_nobs_vs_nlev="ignore", check_nobs_vs_nRE="ignore")


def case_id(case):
    return f"{case['formula']} {case.get('contrasts') or ''}"


@pytest.fixture(scope="module")
def table():
    return design_table()


def build(formula, data, **arguments):
    return build_matrices(f"{formula} + (1 | k)", data, control=PERMISSIVE, **arguments)


@pytest.mark.parametrize("case", FIXED, ids=case_id)
def test_columns_are_those_of_r(case, table):
    matrices = build(case["formula"], table, contrasts=case["contrasts"])
    fixed = matrices.fixed
    assert list(fixed.full_names) == case["names"]
    assert list(fixed.names) == case["kept"]
    assert fixed.layout.assign.tolist() == case["assign"]
    assert list(fixed.term_labels) == case["labels"]
    full = fixed.layout.matrix(matrices.frame.columns, matrices.n)
    expected = np.reshape(np.array(case["values"], float), (-1, matrices.n)).T
    np.testing.assert_allclose(full, expected, rtol=ROUNDING, atol=ROUNDING)
    np.testing.assert_array_equal(matrices.X, full[:, fixed.kept])


@pytest.mark.parametrize("case", FIXED, ids=case_id)
def test_factors_table_is_that_of_r(case, table):
    fixed = build(case["formula"], table, contrasts=case["contrasts"]).fixed
    rows = {v: r.tolist() for v, r in zip(fixed.term_factors, fixed.factors, strict=True)}
    offsets = {variable for variable in case["factors"] if variable.startswith("offset(")}
    assert rows == {v: row for v, row in dict(case["factors"]).items() if v not in offsets}


@pytest.mark.parametrize("case", PREDICTED, ids=case_id)
def test_new_data_get_the_transforms_that_were_learned(case, table):
    fixed = build(case["formula"], table).fixed
    X = fixed.matrix(design_table("new"))
    expected = np.array(case["values"], float).T[:, fixed.kept]
    np.testing.assert_allclose(X, expected, rtol=ROUNDING, atol=ROUNDING)


@pytest.mark.parametrize("case", FIXED, ids=case_id)
def test_the_data_themselves_are_new_data(case, table):
    matrices = build(case["formula"], table, contrasts=case["contrasts"])
    again = matrices.fixed.matrix(table)
    np.testing.assert_allclose(again, matrices.X, rtol=ROUNDING, atol=ROUNDING)


@pytest.mark.parametrize(
    "formula",
    ["y ~ I(x - mean(x))", "y ~ I(scale(x)^2)", "y ~ log(scale(x) + 5)", "y ~ cut(x, 3)"],
)
def test_transforms_nested_in_expressions_keep_what_they_learned(formula, table):
    matrices = build(formula, table)
    some = matrices.fixed.matrix(table.iloc[[3, 8]])
    np.testing.assert_allclose(some, matrices.X[[3, 8]], rtol=ROUNDING, atol=ROUNDING)


def test_missing_values_in_new_data_give_missing_rows(table):
    fixed = build("y ~ f + ns(x, 3)", table).fixed
    new = pd.DataFrame({"f": ["u", None, "v"], "x": [2.0, 3.0, np.nan]})
    assert np.isnan(fixed.matrix(new)).any(axis=1).tolist() == [False, True, True]


def test_new_data_of_another_kind(table):
    fixed = build("y ~ factor(k) + I(x > 5)", table).fixed
    X = fixed.matrix({"k": [2.0, 6.0], "x": [7, 1]})
    assert X.tolist() == [[1, 1, 0, 0, 0, 0, 1], [1, 0, 0, 0, 0, 1, 0]]


@pytest.mark.parametrize(
    "new, message",
    [
        ({"x": [1.0]}, r"'f', but the data have no such column"),
        ({"x": [1.0], "f": ["zz"]}, r"factor 'f' has level 'zz'.* Known: u, v, w\."),
        ({"x": ["a"], "f": ["u"]}, r"'x' must be numeric"),
    ],
)
def test_new_data_that_do_not_fit(new, message, table):
    fixed = build("y ~ f + x", table).fixed
    with pytest.raises(DataError, match=message):
        fixed.matrix(new)


def test_offsets_of_new_data_add_up(table):
    fixed = build("y ~ x + offset(z) + offset(log(x))", table, offset="size").fixed
    new = {"x": [1.0, np.e], "z": [2.0, 3.0]}
    np.testing.assert_allclose(fixed.offset(new), [2.0, 4.0])
    assert build("y ~ x", table).fixed.offset(new).tolist() == [0.0, 0.0]


def test_contrast_matrices_of_the_user(table):
    columns = pd.DataFrame({"low": [1.0, 0, -1], "quad": [1.0, -2, 1]})
    named = build("y ~ f", table, contrasts={"f": columns})
    plain = build("y ~ f", table, contrasts={"f": columns.to_numpy()})
    assert named.fixed.names == ("(Intercept)", "flow", "fquad")
    assert plain.fixed.names == ("(Intercept)", "f1", "f2")
    np.testing.assert_array_equal(plain.X[:, 1:], columns.to_numpy()[table["f"].cat.codes])
    np.testing.assert_array_equal(named.X, plain.X)


def test_formulaic_contrasts_are_taken_as_they_are(table):
    from formulaic.transforms.contrasts import SumContrasts

    ours = build("y ~ f", table, contrasts={"f": "contr.sum"})
    theirs = build("y ~ f", table, contrasts={"f": SumContrasts()})
    assert theirs.fixed.names == ("(Intercept)", "fu", "fv")
    np.testing.assert_array_equal(theirs.X, ours.X)


@pytest.mark.parametrize("name", ["f", "factor(k)"])
def test_contrasts_of_absent_factors_are_ignored_with_r_s_warning(name, table):
    matrices = build("y ~ x", table, contrasts={name: "contr.sum"})
    (note,) = matrices.notes
    assert isinstance(note, ContrastsWarning)
    assert note.text == f"variable {name!r} is absent, its contrast will be ignored"


@pytest.mark.parametrize("name", ["my f", "`my f`"])
def test_contrasts_name_factors_with_or_without_back_ticks(name, table):
    matrices = build("y ~ `my f`", table, contrasts={name: "contr.sum"})
    assert matrices.fixed.names[1] == "`my f`1"


@pytest.mark.parametrize(
    "formula, contrasts, message",
    [
        ("y ~ x", {"x": "contr.sum"}, "contrasts are given for 'x', which is not a factor"),
        ("y ~ f", {"ff": "contr.sum"}, "for 'ff', .* Known: f"),
        ("y ~ f", {"f +": "contr.sum"}, r"for 'f \+', .* Known: f"),
        ("y ~ f", {"f": "contr.sums"}, "unknown contrasts 'contr.sums'.* mean 'contr.sum'"),
        ("y ~ f", {"f": np.eye(3)}, r"shape \(3, 3\), .* need shape \(3, 2\)"),
        ("y ~ f", {"f": 3}, "not int"),
    ],
)
def test_contrasts_that_do_not_fit(formula, contrasts, message, table):
    with pytest.raises(DataError, match=message):
        build(formula, table, contrasts=contrasts)


@pytest.mark.parametrize(
    "formula, message",
    [
        ("y ~ foo(x)", "unknown function 'foo'"),
        ("y ~ __import__(x)", "Unexpected character '_'"),
        ("y ~ poly(x, degre = 2)", "poly.. has no argument 'degre': .* x, degree, raw"),
        ("y ~ poly(x, 2, FALSE, 3)", "too many arguments"),
        ("y ~ poly(degree = 2)", "needs an argument 'x'"),
        ("y ~ poly(x, 50)", "less than the number of unique points"),
        ("y ~ log(f)", "needs numbers, but is given a factor"),
        ("y ~ I(f + 1)", "needs numbers, but is given a factor"),
        ("y ~ I(f < 1)", "factors can be compared by == and != only"),
        ("y ~ sqrt(x, z)", "sqrt.. is given too many arguments: its arguments are x"),
        ("y ~ I(2 > 1)", "does not depend on the data"),
        ("y ~ pi", "does not depend on the data"),
        ("y ~ dummy(f, 'zz')", "'zz' is not a level"),
        ("y ~ relevel(f, 'zz')", "'zz' is not a level"),
        ("y ~ factor(f, labels = 'a')", "1 labels are given for 3 levels"),
        ("y ~ cut(x, 1)", "'breaks' must be a whole number between 2 and"),
        ("y ~ ns(x, df = 1, intercept = TRUE)", "'df' is too small"),
        ("y ~ bs(x, df = 1)", "Invalid value for `df`"),
        ("y ~ as.numeric(txt)", "the texts are not numbers"),
        ("y ~ c(x, 1)", "not columns"),
    ],
)
def test_expressions_that_have_no_value(formula, message, table):
    with pytest.raises(FormulaError, match=message):
        build(formula, table)


def test_a_column_shadows_no_function_and_no_function_a_column(table):
    data = table.assign(log=2.0, poly=table["x"], pi=1.5, I=table["z"])
    X = build("y ~ log(log) + poly(poly, 2) + I(I * pi)", data).fixed
    rows = X.layout.names
    assert rows == ("(Intercept)", "log(log)", "poly(poly, 2)1", "poly(poly, 2)2", "I(I * pi)")
    at = X.layout.matrix(X.variables.on(data, X.term_factors)[0], len(data))
    np.testing.assert_allclose(at[:, 1], np.log(2.0))
    np.testing.assert_allclose(at[:, 4], 1.5 * table["z"])


def test_no_columns_at_all(table):
    matrices = build("y ~ 0", table)
    assert matrices.X.shape == (len(table), 0)
    assert matrices.fixed.names == ()
    assert matrices.fixed.matrix(table).shape == (len(table), 0)


@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(1, 6))
def test_independent_columns_span_the_others(seed, n_basis, n_copies):
    rng = np.random.default_rng(seed)
    basis = rng.normal(size=(12, n_basis))
    copies = basis @ rng.integers(-2, 3, size=(n_basis, n_copies))
    X = np.column_stack([basis, copies])[:, rng.permutation(n_basis + n_copies)]
    kept = independent_columns(X)
    rank = np.linalg.matrix_rank(X)
    assert len(kept) == rank == np.linalg.matrix_rank(X[:, kept])
    # Each dropped column depends on the kept ones before it.
    for j in set(range(X.shape[1])) - set(kept.tolist()):
        before = X[:, kept[kept < j]]
        before_rank = np.linalg.matrix_rank(before) if before.size else 0
        assert before_rank == np.linalg.matrix_rank(X[:, : j + 1])


def test_more_columns_than_rows():
    X = np.vander(np.array([1.0, 2.0, 3.0]), 5, increasing=True)
    assert independent_columns(X).tolist() == [0, 1, 2]
    assert independent_columns(np.zeros((3, 2))).tolist() == []


# R: colnames(model.matrix(~ C(f, ...))), and MASS for contr.sdif.
NAMED_CONTRASTS = {
    "contr.treatment(3, base = 2)": ["1", "3"],
    "contr.treatment, base = 2": ["1", "3"],
    "contr.treatment(base = 'v')": ["1", "3"],
    "contr.sum(3)": ["1", "2"],
    "contr.sdif": ["2-1", "3-2"],
    'Treatment(reference = "v")': ["u", "w"],
    "Treatment('w')": ["u", "v"],
    "Treatment": ["2", "3"],
    "Sum": ["1", "2"],
    "Helmert": ["1", "2"],
    "Poly": [".L", ".Q"],
    "Diff": ["2-1", "3-2"],
}


@pytest.mark.parametrize("contrasts", NAMED_CONTRASTS)
def test_contrasts_by_name(contrasts, table):
    matrices = build_matrices(f"y ~ C(f, {contrasts}) + (1 | k)", table)
    suffixes = [name.rpartition(")")[2] for name in matrices.fixed.names[1:]]
    assert suffixes == NAMED_CONTRASTS[contrasts]


@pytest.mark.parametrize(
    "text, names",
    [
        ("contr.treatment(base = 2)", ["fu", "fw"]),
        ("contr.treatment(3, base = 'w')", ["fu", "fv"]),
        ("Treatment(reference='v')", ["fu", "fw"]),
        ("Sum", ["f1", "f2"]),
        ("contr.sum(3)", ["f1", "f2"]),
    ],
)
def test_the_argument_takes_contrasts_as_text(text, names, table):
    matrices = build("y ~ f", table, contrasts={"f": text})
    assert list(matrices.fixed.names[1:]) == names


def test_contrasts_find_their_factor_whatever_the_spacing(table):
    matrices = build("y ~ factor(k)", table, contrasts={"factor( k )": "contr.sum"})
    assert matrices.fixed.names[1] == "factor(k)1"


def test_another_base_is_the_other_reference(table):
    treated = build_matrices("y ~ C(f, contr.treatment, base = 2) + (1 | k)", table)
    releveled = build_matrices("y ~ relevel(f, 'v') + (1 | k)", table)
    np.testing.assert_array_equal(treated.X, releveled.X)


def test_successive_differences_are_those_of_mass(table):
    matrices = build_matrices("y ~ f + (1 | k)", table, contrasts={"f": "contr.sdif"})
    assert matrices.fixed.names == ("(Intercept)", "fv-u", "fw-v")
    (coding,) = matrices.fixed.layout.codings[0].values()
    np.testing.assert_allclose(
        coding.matrix, [[-2 / 3, -1 / 3], [1 / 3, -1 / 3], [1 / 3, 2 / 3]], rtol=1e-15
    )


@pytest.mark.parametrize(
    "contrasts, message",
    [
        ("contr.sum(4)", r"contr.sum\(4\) is for 4 levels, but .* has 3: u, v, w"),
        ("contr.treatment, base = 4", "the base 4 of .* is not among 3 levels"),
        ("Treatment('x')", "the base 'x' is not a level of"),
    ],
)
def test_named_contrasts_that_do_not_fit(contrasts, message, table):
    with pytest.raises(DataError, match=message):
        build_matrices(f"y ~ C(f, {contrasts}) + (1 | k)", table)


def test_interactions_that_no_memory_holds_are_refused_before_they_are_named():
    data = {"y": np.arange(400.0), "a": [f"a{i}" for i in range(400)], "k": np.arange(400) % 8}
    data |= {"b": data["a"], "c": data["a"]}
    message = r"more than 100000 columns: a:b:c alone makes 64000000\. Let a factor"
    with pytest.raises(DataError, match=message):
        build_matrices("y ~ a:b:c + a + b + c + (1 | k)", data)
