"""Designs without a response, responses without a design, and rows of both."""

import numpy as np
import pytest

import lmm
from lmm.design import build_matrices
from lmm.design.response import Response


@pytest.fixture
def response():
    rng = np.random.default_rng(5)
    return Response(rng.normal(size=9), rng.uniform(0.5, 2.0, 9), rng.normal(size=9))


def test_nothing_is_missing():
    plain = Response.of(np.arange(3.0))
    np.testing.assert_array_equal(plain.weights, np.ones(3))
    np.testing.assert_array_equal(plain.offset, np.zeros(3))
    assert plain.weighted(plain.y) is plain.y


@pytest.mark.parametrize("columns", [(), (4,)])
def test_raw_undoes_standardized(response, columns):
    y = np.random.default_rng(2).normal(size=(9, *columns))
    np.testing.assert_allclose(response.raw(response.standardized(y)), y)
    first = response.standardized(y)[0]
    np.testing.assert_allclose(first, (y[0] - response.offset[0]) * response.weights[0] ** 0.5)


def test_rows_of_a_design_are_the_design_of_the_rows():
    data = lmm.load_dataset("sleepstudy").assign(w=np.linspace(1, 2, 180))
    formula = "Reaction ~ Days + offset(Days) + (Days | Subject)"
    whole = build_matrices(formula, data, weights="w")
    rows = np.flatnonzero(data["Days"].to_numpy() > 3)[12:]
    some, own = whole.at_rows(rows), build_matrices(formula, data.iloc[rows], weights="w")
    for name in ("y", "X", "weights", "offset"):
        np.testing.assert_array_equal(getattr(some, name), getattr(own, name))
    np.testing.assert_array_equal(some.terms[0].codes, own.terms[0].codes)
    assert list(some.terms[0].levels) == list(own.terms[0].levels)
    assert some.frame.n == some.n == len(rows)


def test_rows_may_be_repeated_with_levels_of_their_own():
    matrices = build_matrices("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff"))
    rows = np.tile(np.arange(30), 2)
    twice = matrices.design.at_rows(rows).with_codes([np.repeat(np.arange(12), 5)])
    assert twice.terms[0].n_levels == 12
    assert twice.frame.n == len(twice.X) == 60
