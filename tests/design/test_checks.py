"""lmerControl's checks: what passes, what is noted, what is refused, in lme4's words."""

import numpy as np
import pandas as pd
import pytest

from lmm import lmer
from lmm.design import LmerControl, build_matrices
from lmm.errors import (
    DataError,
    LmmWarning,
    NumericalError,
    RankDeficiencyWarning,
    ScaleWarning,
)

N = 20


@pytest.fixture
def table():
    rng = np.random.default_rng(2)
    return pd.DataFrame(
        {
            "y": rng.normal(size=N),
            "x": rng.normal(size=N),
            "one": "a",
            "row": range(N),
            "pair": np.tile(range(N // 2), 2),
            "g": np.tile(range(4), N // 4),
            "h": np.tile(range(5), N // 5),
        }
    )


ONE_LEVEL = r"grouping factors must have > 1 sampled level \(problems: one\)"
MANY_LEVELS = (
    r"number of levels of each grouping factor must be < number of observations \(problems: row\)"
)
FEW_LEVELS = r"< 5 sampled levels may give unreliable estimates \(problems: g\)"
MANY_EFFECTS = (
    r"number of observations \(=20\) <= number of random effects \(=20\) for term \(x \| pair\); "
    r"the random-effects parameters and the residual variance \(or scale parameter\) are probably "
    r"unidentifiable"
)
RANK_OF_Z = r"number of observations \(=20\) <= rank\(Z\) \(=20\); the random-effects parameters"

# Formula, the check that it fails, its default, what the check says.
CHECKS = [
    ("y ~ x + (1 | one)", "check_nlev_gtr_1", "stop", ONE_LEVEL),
    ("y ~ x + (1 | row)", "check_nobs_vs_nlev", "stop", MANY_LEVELS),
    ("y ~ x + (1 | g)", "check_nlev_gtreq_5", "ignore", FEW_LEVELS),
    ("y ~ x + (x | pair)", "check_nobs_vs_nRE", "stop", MANY_EFFECTS),
    ("y ~ x + (x | pair)", "check_nobs_vs_rankZ", "ignore", RANK_OF_Z),
]
OTHERS_OFF = {check: "ignore" for _, check, _, _ in CHECKS}
IDS = [check for _, check, _, _ in CHECKS]


@pytest.mark.parametrize("formula, check, default, text", CHECKS, ids=IDS)
def test_defaults(formula, check, default, text):
    assert getattr(LmerControl(), check) == default


@pytest.mark.parametrize("level", ["stop", "stopSmall"])
@pytest.mark.parametrize("formula, check, default, text", CHECKS, ids=IDS)
def test_stop(formula, check, default, text, level, table):
    control = LmerControl(**{**OTHERS_OFF, check: level})
    with pytest.raises(DataError, match=text):
        build_matrices(formula, table, control=control)


@pytest.mark.parametrize("level", ["warning", "message", "warningSmall"])
@pytest.mark.parametrize("formula, check, default, text", CHECKS, ids=IDS)
def test_notes(formula, check, default, text, level, table):
    control = LmerControl(**{**OTHERS_OFF, check: level})
    (note,) = build_matrices(formula, table, control=control).notes
    assert isinstance(note, LmmWarning)
    assert str(note).startswith(note.text)
    assert note.section in str(note)
    with pytest.raises(LmmWarning, match=text):
        raise note


@pytest.mark.parametrize("formula, check, default, text", CHECKS, ids=IDS)
def test_ignore(formula, check, default, text, table):
    assert build_matrices(formula, table, control=LmerControl(**OTHERS_OFF)).notes == ()


def test_small_levels_pass_over_large_models():
    n = 1500
    rng = np.random.default_rng(0)
    data = {"y": rng.normal(size=n), "x": rng.normal(size=n), "g": np.arange(n) // 2}
    control = LmerControl(check_nobs_vs_nRE="stopSmall", check_nobs_vs_rankZ="stopSmall")
    assert build_matrices("y ~ x + (x | g)", data, control=control).notes == ()


@pytest.mark.parametrize("check", ["check_nobs_vs_nlev", "check_rankX", "check_scaleX"])
def test_invalid_levels_list_the_valid_ones(check):
    with pytest.raises(DataError, match=f"invalid control level 'foo' in {check}: .*'ignore'"):
        LmerControl(**{check: "foo"})


@pytest.mark.parametrize("tolerance", [0.0, -1.0, np.nan])
def test_tolerances_are_positive(tolerance):
    with pytest.raises(DataError, match="check_conv_singular_tol must be a positive number"):
        LmerControl(check_conv_singular_tol=tolerance)


@pytest.mark.parametrize(
    "formula, dropped, text",
    [
        ("y ~ x + I(2 * x)", ("I(2 * x)",), "dropping 1 column / coefficient"),
        ("y ~ x + I(2 * x) + I(3 * x)", ("I(2 * x)", "I(3 * x)"), "2 columns / coefficients"),
    ],
)
def test_dependent_columns_are_dropped(formula, dropped, text, table):
    matrices = build_matrices(formula + " + (1 | h)", table)
    assert matrices.fixed.names == ("(Intercept)", "x")
    assert matrices.fixed.dropped == dropped
    (note,) = matrices.notes
    assert isinstance(note, RankDeficiencyWarning)
    assert note.text.startswith("fixed-effect model matrix is rank deficient so dropping")
    assert note.text.endswith(text)


def test_dependent_columns_are_dropped_in_silence_or_refused(table):
    formula = "y ~ x + I(2 * x) + (1 | h)"
    silent = LmerControl(check_rankX="silent.drop.cols")
    matrices = build_matrices(formula, table, control=silent)
    assert (matrices.p, matrices.notes) == (2, ())
    ignoring = LmerControl(check_rankX="ignore")
    assert build_matrices(formula, table, control=ignoring).p == 3
    with pytest.raises(NumericalError, match=r"fixed effects I\(2 \* x\) are combinations"):
        lmer(formula, table, control=ignoring)
    with pytest.raises(DataError, match=r"rank\(X\) = 2 < 3 = p\);\n.* leave out I\(2 \* x\)"):
        build_matrices(formula, table, control=LmerControl(check_rankX="stop.deficient"))


@pytest.mark.parametrize(
    "formula, noted",
    [
        ("y ~ I(x * 1e6)", True),
        ("y ~ I(x / 1e6)", True),
        ("y ~ I(x * 90) + I(x^2 / 90)", True),
        ("y ~ I(x * 100)", False),
        ("y ~ 1", False),
        ("y ~ factor(g)", False),
    ],
)
def test_scales(formula, noted, table):
    notes = build_matrices(formula + " + (1 | h)", table).notes
    scale_notes = [note for note in notes if isinstance(note, ScaleWarning)]
    assert bool(scale_notes) == noted
    if noted:
        expected = "Some predictor variables are on very different scales: consider rescaling"
        assert scale_notes[0].text == expected
        with pytest.raises(DataError, match="very different scales"):
            build_matrices(formula + " + (1 | h)", table, control=LmerControl(check_scaleX="stop"))
