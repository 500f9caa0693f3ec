import numpy as np
import pandas as pd
import pytest

import lmm
from lmm.design.batches import recipe_of
from lmm.design.column_summary import ColumnSummary
from lmm.design.source import Source
from sources import cut, once, study

# Matrix products of one row and of many round differently.
CLOSE = {"rtol": 1e-13, "atol": 1e-14}
FORMULAS = [
    "y ~ x + (1 | id)",
    "y ~ x + z + (1 + z | id) + (1 | text)",
    "y ~ z + (z || id) + (1 | id)",
    "y ~ f + (1 | id)",
    "y ~ f * z + size + (0 + f | id)",
    "y ~ 0 + f:size + flag + (1 | text)",
    "y ~ 1 + (1 | text:other)",
    "y ~ 1 + (1 | other:text:f) + (z | text)",
    "y ~ 1 + (1 | text/other)",
    "y ~ factor(year) + (1 | factor(year))",
    "y ~ as.factor(year) * f + (1 | as.factor(id))",
    "y ~ relevel(f, ref = 'mid') + (1 | flag)",
    "y ~ interaction(f, size) + (1 | interaction(size, other))",
    "y ~ C(f, contr.sum) + text + (1 | day)",
    "y ~ scale(x) + poly(z, 2) + (scale(z) | id)",
    "y ~ ns(z, 3) + cut(x, 3) + (1 | cut(z, 4))",
    "y ~ I(z - mean(z)) + center(x) + (1 | dose)",
    "log(z) ~ x + offset(o) + (1 | big)",
    "y ~ ifelse(z > 1, 'much', 'little') + (1 | id)",
    "y ~ factor(f) + ordered(year) + factor(cut(z, 3)) + (1 | id)",
    "y ~ factor(day) + (1 | size:flag)",
    "y ~ as.character(f) + as.numeric(size) + (f == 'lo') + (1 | id)",
    "y ~ diag(0 + f | id) + (1 | year)",
    "y ~ ar1(0 + factor(year) | id)",
    "y ~ (f || id)",
    "y ~ (z > 1) + I(year + 1) + (1 | factor(z > 1)) + (1 | factor(year + 1))",
    "y ~ cut(z, 3) + (1 | cut(z, 3))",
    "y ~ dummy(f, 'hi') + dummy(size) + (1 | id)",
]
OPTIONS = [
    {},
    {"weights": "w"},
    {"offset": "o"},
    {"subset": "z > 1 & text != 'a'"},
    {"subset": "flag"},
    {"subset": "z > mean(z) & size != 'L'"},
    {"na_action": "exclude"},
    {"contrasts": {"f": "contr.sum"}},
]


def compare(formula, data, source, **options):
    """Compare batches of a source with the matrices of the whole."""
    with lmm.errors.silence():
        whole = lmm.build_matrices(formula, data, **options)
    recipe = recipe_of(formula, source, **options)
    batches = list(recipe.batches(source))
    keys, codes = joined(batches)
    X = np.vstack([batch.X for batch in batches])
    assert recipe.plan.formula.source == whole.formula.source
    np.testing.assert_allclose(X[:, whole.fixed.kept], whole.X, **CLOSE)
    summary = sum((batch.summary for batch in batches[1:]), batches[0].summary)
    kept, n = whole.fixed.kept, len(X)
    selected = sum(batch.n_selected for batch in batches)
    design = recipe.design(keys, kept, n, selected, summary)
    assert sum(batch.n_read for batch in batches) == len(data)
    assert design.fixed.names == whole.fixed.names
    assert design.fixed.full_names == whole.fixed.full_names
    assert list(map(str, design.notes)) == list(map(str, whole.notes))
    assert design.frame.n_omitted == whole.frame.n_omitted
    order = recipe.order_of(keys)
    for term, own, i in zip(whole.terms, design.terms, order, strict=True):
        Z = np.vstack([batch.Z[i] for batch in batches])
        np.testing.assert_allclose(Z, term.Z, **CLOSE)
        group = recipe.group_of[i]
        position = np.argsort(keys[group].order())
        np.testing.assert_array_equal(position[codes[group]], term.codes)
        assert own.levels.tolist() == term.levels.tolist()
        assert (own.keys is None) == (term.keys is None)
        assert own.keys is None or own.keys.tolist() == term.keys.tolist()
        assert (own.group, own.label, own.columns) == (term.group, term.label, term.columns)
        assert type(own.covariance) is type(term.covariance)
        assert own.theta_names == term.theta_names
    for name in ("y", "weights", "offset"):
        values = [getattr(batch.response, name) for batch in batches]
        np.testing.assert_array_equal(np.concatenate(values), getattr(whole, name))
    new = data.head(20).dropna()
    np.testing.assert_allclose(design.fixed.matrix(new), whole.fixed.matrix(new), **CLOSE)
    for term, own in zip(whole.terms, design.terms, strict=True):
        np.testing.assert_array_equal(own.codes_for(new), term.codes_for(new))


def joined(batches):
    """Levels of all batches, and all rows' codes."""
    keys, codes = list(batches[0].keys), [[own] for own in batches[0].codes]
    for batch in batches[1:]:
        for g, (new, rows) in enumerate(zip(batch.keys, batch.codes, strict=True)):
            keys[g], own, others = keys[g].union(new)
            assert own.tolist() == list(range(len(own)))
            codes[g].append(others[rows])
    return keys, [np.concatenate(parts) for parts in codes]


@pytest.mark.parametrize("formula", FORMULAS)
@pytest.mark.parametrize("rows", [7, 1000])
def test_batches_of_any_size_hold_the_rows_of_the_whole(formula, rows):
    data = study()
    compare(formula, data, cut(data, rows))


def test_batches_of_one_row_are_enough():
    data = study(40)
    for formula in ("y ~ f * z + size + (z | year)", "y ~ ns(x, 3) + (1 | text:other)"):
        compare(formula, data, cut(data, 1))


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_rows_are_chosen_as_in_memory(options):
    data = study()
    for rows in (11, 1000):
        compare("y ~ f + scale(z) + (1 | text:other)", data, cut(data, rows), **options)


@pytest.mark.parametrize("by", [["id"], ["x"], ["f", "size"], ["text"], ["flag", "year"]])
def test_sorted_and_reversed_rows_give_the_same(by):
    data = study().sort_values(by, ignore_index=True)
    for table in (data, data[::-1].reset_index(drop=True)):
        compare("y ~ f * size + x + year + (z | id) + (1 | text:other)", table, cut(table, 10))


def test_a_formula_of_numbers_and_groups_takes_one_reading():
    data = study()
    reader = once(data, 10)
    source = Source.of(reader)
    recipe = recipe_of("y ~ x + log(z) + flag + (z | text) + (1 | day)", source)
    assert recipe.columns == ("y", "x", "z", "text", "flag", "day")
    assert sum(len(batch.X) for batch in recipe.batches(source)) > 80
    with pytest.raises(lmm.DataError, match="can be read once only, and has been"):
        list(recipe.batches(source))


@pytest.mark.parametrize("formula", ["y ~ f + (1 | id)", "y ~ scale(x) + (1 | id)"])
def test_what_must_be_known_before_is_asked_of_sources_that_can_be_read_again(formula):
    with pytest.raises(lmm.DataError, match=r"can be read once only, but .* lmm.scan\(\)"):
        recipe_of(formula, Source.of(once(study())))


@pytest.mark.parametrize("name", ["weights", "offset", "subset"])
def test_arrays_have_no_place_beside_batches(name):
    data = study()
    with pytest.raises(lmm.DataError, match=f"{name} is given as ndarray, but the data are read"):
        recipe_of("y ~ x + (1 | id)", cut(data, 10), **{name: data["z"].to_numpy() > 1})


def test_errors_name_the_batch():
    data = study()
    with pytest.raises(lmm.DataError, match=r"batch 1 of .*missing values in 'y'.*'raise'"):
        list(recipe_of("y ~ x + (1 | id)", cut(data, 30), na_action="raise").batches(cut(data, 30)))
    data.loc[77, "x"] = np.inf
    source = cut(data, 10)
    with pytest.raises(lmm.DataError, match=r"batch 8 of .*infinite values in 'x'.* at row 77"):
        list(recipe_of("z ~ x + (1 | id)", source).batches(source))
    data.loc[77, "x"] = -1.0
    data["w"] = data["x"]
    source = cut(data, 10)
    with pytest.raises(lmm.DataError, match=r"batch 8 of .*weights must be finite"):
        list(recipe_of("z ~ x + (1 | id)", source, weights="w").batches(source))


@pytest.mark.parametrize(
    "formula, said",
    [
        ("y ~ nothing + (1 | id)", "no such column"),
        ("text ~ x + (1 | id)", "response must be numeric: 'text' holds a factor"),
        ("cbind(y, z) ~ x + (1 | id)", "takes one response"),
        ("y ~ text2 + (1 | id)", "text2"),
        ("y ~ 0 + (0 | id)", "has no columns"),
        ("y ~ only + (1 | id)", r"has 1 level\(s\) in the rows used"),
    ],
)
def test_formulas_that_do_not_suit_the_source_are_refused(formula, said):
    data = study().assign(only="a")
    with pytest.raises(ValueError, match=said):
        recipe_of(formula, cut(data, 10))


def test_no_row_left_is_an_error():
    for formula in ("y ~ x + (1 | id)", "y ~ f + (1 | id)"):
        source = cut(study(), 10)
        with pytest.raises(lmm.DataError, match=r"0 \(non-NA\) cases"):
            list(recipe_of(formula, source, subset="z > 9").batches(source))


def test_levels_of_columns_that_change_their_kind_are_refused():
    recipe = recipe_of("y ~ x + (1 | id)", cut(study(), 10))
    table = study(20)
    first = recipe.batch(lmm.design.table.Table(table)).keys[0]
    table["id"] = "a" + table["id"].astype(str)
    second = recipe.batch(lmm.design.table.Table(table)).keys[0]
    with pytest.raises(lmm.DataError, match="'id' holds texts, but numbers in rows before"):
        first.union(second)


def test_rows_that_are_not_kept_say_so():
    source = cut(study(), 50)
    recipe = recipe_of("y ~ x + (1 | id)", source)
    batches = list(recipe.batches(source))
    keys, _ = joined(batches)
    summary = batches[0].summary + batches[1].summary + batches[2].summary
    design = recipe.design(keys, np.arange(2), 110, 120, summary)
    assert design.X.shape == (110, 2)
    assert len(design.terms[0].codes) == 110
    uses = [
        lambda: np.asarray(design.X),
        lambda: design.X @ np.ones(2),
        lambda: design.terms[0].Z.sum(),
        lambda: np.sqrt(design.terms[0].codes),
        lambda: design.frame.columns["y"] + 1,
        lambda: list(design.frame.rows),
    ]
    for use in uses:
        with pytest.raises(lmm.DataError, match=r"keeps no rows.*m.augment_batches\(source\)"):
            use()


def test_identifiers_that_doubles_merge_are_told():
    data = study()
    data["big"] = data["big"].astype(float)
    source = cut(data, 50)
    recipe = recipe_of("y ~ x + (1 | big)", source)
    batches = list(recipe.batches(source))
    keys, _ = joined(batches)
    summary = batches[0].summary
    control = lmm.LmerControl(check_nlev_gtr_1="ignore")
    recipe = recipe_of("y ~ x + (1 | big)", source, control=control)
    notes = recipe.design(keys, np.arange(2), 110, 120, summary).notes
    assert any("beyond 2^53 as doubles" in str(note) for note in notes)


def summary_of(X):
    empty = pd.DataFrame(index=range(len(X)))
    return ColumnSummary.of(empty, X, (), lambda rows: X[rows], np.zeros(len(X)))


def test_scales_add_up():
    rng = np.random.default_rng(3)
    X = np.column_stack([np.ones(50), rng.normal(1e6, 2.0, 50), rng.integers(0, 2, 50)])
    parts = [summary_of(X[part]) for part in (slice(0), slice(1), slice(1, 20), slice(20, None))]
    total = sum(parts[1:], parts[0])
    np.testing.assert_allclose(total.deviations(np.arange(3)), [X[:, 1].std(ddof=1)], rtol=1e-9)
