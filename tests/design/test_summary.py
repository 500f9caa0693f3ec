import numpy as np
import pandas as pd
import pytest

import lmm
from lmm.design import column_summary
from lmm.design.batches import recipe_of
from lmm.design.column_summary import Described, Moments, independent_rows
from sources import cut, study

FORMULAS = [
    "y ~ f * z + size + x + (1 | id)",
    "y ~ 0 + f:size + year + flag + (1 | id)",
    "y ~ poly(z, 2) * factor(year) + (1 | id)",
    "y ~ z + I(2 * z) + f + (1 | id)",
    "y ~ 1 + (1 | id)",
    "y ~ is.na(text) + factor(day) + (1 | id)",
]


def summed(formula, data, rows, **options):
    """Summary of all batches, and the recipe."""
    source = cut(data, rows)
    recipe = recipe_of(formula, source, **options)
    parts = [batch.summary for batch in recipe.batches(source)]
    return sum(parts[1:], parts[0]), recipe


@pytest.mark.parametrize("formula", FORMULAS)
@pytest.mark.parametrize("rows", [1, 17, 1000])
def test_summaries_of_batches_are_those_of_the_whole(formula, rows):
    data = study(60 if rows == 1 else 200, seed=4)
    total, recipe = summed(formula, data, rows)
    whole = lmm.build_matrices(formula, data, control={"check.rankX": "ignore"})
    used = data.iloc[whole.frame.rows]
    X = recipe.fixed.layout.matrix(whole.frame.columns, whole.n)
    np.testing.assert_allclose(total.factor.T @ total.factor, X.T @ X, rtol=1e-10, atol=1e-6)
    for name, moments in total.moments.items():
        assert moments.n == whole.n
        np.testing.assert_allclose(moments.mean, used[name].mean(), rtol=1e-14)
        described = Described.of(moments)
        np.testing.assert_allclose(np.std(described), used[name].std(ddof=0), rtol=1e-7)
        assert (np.min(described), np.max(described)) == (used[name].min(), used[name].max())
    names = list(total.cells.names)
    assert total.cells.counts.sum() == whole.n
    if names:
        ints = {name: float for name in names if used[name].dtype.kind == "i"}
        counts = used[names].astype(ints).astype(str).value_counts()
        found = total.cells.table().astype(str).assign(n=total.cells.counts)
        for _, row in found.iterrows():
            key = tuple(row[names]) if len(names) > 1 else row[names[0]]
            assert counts[key] == row["n"]
        assert len(found) == len(counts)


@pytest.mark.parametrize("formula", FORMULAS)
@pytest.mark.parametrize("rows", [1, 17, 1000])
def test_few_rows_span_all(formula, rows):
    data = study(60 if rows == 1 else 3000, seed=4)
    total, recipe = summed(formula, data, max(rows, len(data) // 60))
    whole = lmm.build_matrices(formula, data, control={"check.rankX": "ignore"})
    indicators = summary_matrix(recipe, whole.frame.columns, whole.n)
    own = total.spanning.matrix
    assert len(own) == np.linalg.matrix_rank(indicators / np.abs(indicators).max(axis=0), tol=1e-9)
    weights = np.linalg.lstsq(own.T, indicators.T, rcond=None)[0]
    np.testing.assert_allclose(own.T @ weights, indicators.T, rtol=1e-7, atol=1e-7)
    columns, n = recipe.fixed.variables.on(total.spanning.rows, recipe.fixed.term_factors)
    np.testing.assert_allclose(summary_matrix(recipe, columns, n), own, rtol=1e-12, atol=1e-13)


def summary_matrix(recipe, columns, n):
    return recipe._indicators.matrix(columns, n)


def test_a_row_that_alone_has_a_cell_is_found():
    n = 5000
    data = pd.DataFrame({"y": np.arange(n) % 7.0, "g": np.arange(n) % 11})
    data["f"] = pd.Categorical.from_codes(np.arange(n) % 2, ["a", "b", "c"])
    data.loc[3333, "f"] = "c"
    total, _ = summed("y ~ f + (1 | g)", data, 5000)
    assert sorted(total.spanning.rows["f"]) == ["a", "b", "c"]
    assert total.cells.counts.tolist() == [2500.0, 2499.0, 1.0]


def test_numbers_of_many_values_are_not_counted_however_rows_are_cut():
    n = 450
    data = pd.DataFrame({"y": np.arange(n) % 7.0, "g": np.arange(n) % 9})
    data["many"] = np.arange(n) // 3
    data["few"] = np.arange(n) % 3
    for rows in (1, 50, 200, 450):
        total, _ = summed("y ~ many + few + (1 | g)", data, rows)
        assert total.cells.names == ("few",)
        assert total.cells.counts.tolist() == [150.0] * 3


def test_combinations_are_bounded(monkeypatch):
    monkeypatch.setattr(column_summary, "MAX_CELLS", 6)
    data = study()
    total, _ = summed("y ~ f + size + year + (1 | id)", data, 40)
    assert total.cells.names == ()
    total, _ = summed("y ~ size + year + (1 | id)", data, 40)
    assert total.cells.names == ("size",)


def test_moments_of_nothing():
    nothing = Moments.of(np.zeros(0))
    assert nothing + nothing == nothing
    assert (nothing + Moments.of(np.ones(2))).mean == 1.0
    assert len(independent_rows(np.zeros((0, 3)))) == 0
