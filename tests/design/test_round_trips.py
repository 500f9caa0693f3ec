"""The text of a formula, and an update that changes nothing, give the same model."""

import numpy as np
import pytest

from design.test_random import BEYOND
from lmm.design import LmerControl, build_matrices
from lmm.formula import parse_formula, update_formula
from reference.design import design_table, load_design

CONTROL = LmerControl(
    check_nobs_vs_nlev="ignore",
    check_nobs_vs_nRE="ignore",
    check_rankX="silent.drop.cols",
    check_scaleX="ignore",
)
DESIGNS = load_design()
FIXED = [f"{case['formula']} + (1 | k)" for case in DESIGNS["fixed"]]
RANDOM = [case["formula"] for case in DESIGNS["random"]]
FURTHER = [
    "y ~ f + (f || h)",
    "y ~ f + (f * x || h)",
    "y ~ (f || h) + (x || h) + (1 | g)",
    "y ~ (poly(x, 2) || h)",
    "y ~ (poly(x, 1) || h)",
    "y ~ (ns(x, 2) + z || f/g)",
    "y ~ (flag || h)",
    "y ~ (0 + o || k)",
    "y ~ (dummy(f, 'v') || h)",
    "y ~ (cbind(x, z) || h)",
    "y ~ x + (x || h) + offset(z)",
    "y ~ 0 + offset(z) + (0 + x || h)",
    "y ~ x - z + (1 | h)",
    "y ~ x + diag(f | h)",
    "y ~ us(x | h) + diag(1 + z | f:g)",
    "y ~ x + cs(0 + f | h, hom = TRUE) + ar1(0 + o | k)",
    "y ~ cs(x | f/g, hom = FALSE)",
    "y ~ . - f:g + (x || h)",
    "log(y + 100) ~ (`my f` || h) + (`my var` || g)",
    "y ~ f %in% g + (x * z || k)",
    "y ~ (1 || f/g) + x:f - 1",
    "y ~ ((x || h)) + ((1 | f))",
    "y ~ x || h",
]
# R takes the same random term once in an update; the dot is written out there.
TWICE = {"y ~ (1 | f) + (1 | f)"}


@pytest.fixture(scope="module")
def table():
    return design_table()


def named_columns(matrices):
    """Columns by name; R's update may change the order of factors in an interaction."""
    full = matrices.fixed.layout.matrix(matrices.frame.columns, matrices.n)
    names = [":".join(sorted(name.split(":"))) for name in matrices.fixed.full_names]
    return dict(zip(names, full.T.tolist(), strict=True))


def assert_same_model(one, other):
    assert named_columns(one) == named_columns(other)
    assert one.theta_names == other.theta_names
    np.testing.assert_array_equal(one.Zt.toarray(), other.Zt.toarray())
    np.testing.assert_array_equal(one.y, other.y)
    np.testing.assert_array_equal(one.offset, other.offset)


@pytest.mark.parametrize("source", [*FIXED, *RANDOM, *BEYOND, *FURTHER])
def test_a_formula_survives_its_text_and_an_update(source, table):
    matrices = build_matrices(source, table, control=CONTROL)
    for formula in (parse_formula(source), matrices.formula):
        again = parse_formula(str(formula))
        assert again == formula
        assert_same_model(matrices, build_matrices(again, table, control=CONTROL))
        if source not in TWICE:
            updated = update_formula(formula, ". ~ .")
            assert_same_model(matrices, build_matrices(updated, table, control=CONTROL))


# As lme4 stores ``||``: only where every effect is one numeric column.
STORED = {
    "y ~ x + (x || h)": "y ~ x + ((1 | h) + (0 + x | h))",
    "y ~ (poly(x, 1) || h)": "y ~ ((1 | h) + (0 + poly(x, 1) | h))",
    "y ~ (f || h) + (x || k)": "y ~ (f || h) + ((1 | k) + (0 + x | k))",
    "y ~ (poly(x, 2) || h)": "y ~ (poly(x, 2) || h)",
    "y ~ (flag || h)": "y ~ (flag || h)",
}


@pytest.mark.parametrize("source", STORED)
def test_double_bars_are_stored_as_in_lme4_where_they_are_the_same(source, table):
    matrices = build_matrices(source, table, control=CONTROL)
    assert str(matrices.formula) == STORED[source]
    noted = [note.text for note in matrices.notes if "varies independently" in note.text]
    assert len(noted) == ("||" in STORED[source])


def test_the_note_about_double_bars_says_lme4_s_model(table):
    (note,) = build_matrices("y ~ (z + poly(x, 2) || h)", table, control=CONTROL).notes
    assert note.text == (
        "every column of (z + poly(x, 2) || h) varies independently, as in "
        "diag(z + poly(x, 2) | h); lme4 keeps the columns of poly(x, 2) correlated: for its model "
        "write (1 | h) + (0 + z | h) + (0 + poly(x, 2) | h)"
    )


def test_a_subtracted_variable_decides_which_rows_are_complete(table):
    table = table.assign(gap=np.where(np.arange(len(table)) == 5, np.nan, table["x"]))
    assert build_matrices("y ~ z - gap + (1 | h)", table).n == len(table) - 1
    assert build_matrices("y ~ z + (1 | h)", table).n == len(table)
