"""Contrasts and reference grids of models whose rows were added up, and not kept."""

from types import SimpleNamespace

import numpy as np
import pytest

import lmm
from lmm.design.batches import recipe_of
from lmm.design.matrices import ModelMatrices
from lmm.design.response import Response
from lmm.inference.fixed.term_contrasts import deletion_contrasts, term_contrasts
from lmm.inference.marginal.grid import reference_grid
from sources import cut, study

FORMULAS = [
    "y ~ f * z + size + (1 | id)",
    "y ~ f * size * z + x + (1 | id)",
    "y ~ 0 + f:size + year + flag + (1 | id)",
    "y ~ poly(z, 2) * factor(year) + (1 | id)",
    "y ~ z + I(2 * z) + f + (1 | id)",
    "y ~ cut(w, c(-1, 0, 2, 5)) + w + other + (1 | id)",
    "y ~ C(f, contr.sum) * size + offset(o) + (1 | id)",
]


def both(formula, data):
    """Matrices of the whole, and of its sums."""
    whole = lmm.build_matrices(formula, data)
    source = cut(data, 37)
    recipe = recipe_of(formula, source)
    batches = list(recipe.batches(source))
    keys = list(batches[0].keys)
    for batch in batches[1:]:
        keys = [a.union(b)[0] for a, b in zip(keys, batch.keys, strict=True)]
    summary = sum((batch.summary for batch in batches[1:]), batches[0].summary)
    kept, n = whole.fixed.kept, whole.n
    design = recipe.design(keys, kept, n, n, summary)
    return whole, ModelMatrices(design, Response.of(np.zeros(n)))


@pytest.fixture(params=FORMULAS)
def pair(request):
    with lmm.errors.silence():
        return both(request.param, study(300, seed=8))


@pytest.mark.parametrize("kind", ["I", "II", "III"])
def test_contrasts_of_terms_need_no_rows(pair, kind):
    whole, sums = pair
    expected, found = term_contrasts(whole, kind), term_contrasts(sums, kind)
    assert found.rows == expected.rows
    assert found.missing_cells == expected.missing_cells
    for label, L in expected.L.items():
        np.testing.assert_allclose(found.L[label], L, rtol=1e-6, atol=1e-7)


def test_contrasts_of_deleted_terms_need_no_rows(pair):
    whole, sums = pair
    for label in whole.fixed.term_labels[-1:]:
        L, own = deletion_contrasts(whole, label), deletion_contrasts(sums, label)
        np.testing.assert_allclose(own.T @ own, L.T @ L, atol=1e-8)


def test_reference_grids_need_no_rows(pair):
    whole, sums = pair
    data = study(300, seed=8)
    expected = reference_grid(model(whole, data))
    found = reference_grid(model(sums, None))
    assert found.names == expected.names
    for own, axis in zip(found.axes, expected.axes, strict=True):
        assert own.kind == axis.kind
        np.testing.assert_allclose(own.spread, axis.spread, rtol=1e-9)
        if axis.kind in ("factor", "logical"):
            assert own.levels == axis.levels
        else:
            np.testing.assert_allclose(own.levels, axis.levels, rtol=1e-12)
    assert found.nesting == expected.nesting
    np.testing.assert_array_equal(found.cells.codes, expected.cells.codes)
    np.testing.assert_array_equal(found.cells.counts, expected.cells.counts)
    np.testing.assert_allclose(found.rows(), expected.rows(), rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(found.offset, expected.offset, rtol=1e-10, atol=1e-15)


def model(matrices, data):
    return SimpleNamespace(fit=SimpleNamespace(matrices=matrices), call=SimpleNamespace(data=data))


def test_other_values_of_a_covariate_than_its_mean_need_rows():
    _, sums = both("y ~ f + z + (1 | id)", study(300))
    for reduce in (np.median, None):
        with pytest.raises(lmm.DataError, match="keeps no rows"):
            reference_grid(model(sums, None), reduce=reduce)
