"""Anova, contests, hypotheses and least-squares means against lmerTest."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import lmm
from fits import fitted
from reference.inference import fit, frame, load_inference, load_table, load_terms

REFERENCE = load_inference()
CASES = REFERENCE["models"]
IDS = [f"{case['formula']} in {case['data']} {case['contrasts'] or ''}" for case in CASES]
# lme4 stops within about 1e-7 of its parameters' optimum.
RTOL = 1e-5

pytestmark = pytest.mark.filterwarnings("ignore::lmm.MissingCellsWarning")


def lines(text):
    """Lines without the spaces that R leaves at their ends."""
    return [line.rstrip() for line in (text.split("\n") if isinstance(text, str) else text)]


@pytest.fixture(params=CASES, ids=IDS, scope="module")
def case(request):
    return request.param, fit(request.param)


def test_hypotheses_are_those_of_show_tests(case):
    r, m = case
    shown = m.show_tests()
    for term, expected in r["hypotheses"].items():
        expected = frame(expected)
        if len(expected):
            assert list(shown[term].columns) == list(expected.columns)
            assert list(shown[term].index) == list(expected.index)
            # lmerTest rounds to 7 digits.
            assert_allclose(shown[term], expected, atol=1e-6)
        else:
            assert term not in shown


def test_drop1_is_that_of_lmertest(case):
    r, m = case
    expected = frame(r["drop1"])
    found = m.drop1(test="F").to_frame()
    assert list(found.index) == list(expected.index)
    assert_allclose(found, expected, rtol=RTOL, atol=1e-9)


MEANS = [(r, i) for r, i in zip(CASES, IDS, strict=True) if r.get("ls_means")]


@pytest.mark.parametrize("r", [r for r, _ in MEANS], ids=[i for _, i in MEANS])
def test_least_squares_means_are_those_of_lmertest(r):
    m = fit(r)
    for found, expected in (
        (m.ls_means(), frame(r["ls_means"]["means"])),
        (m.difflsmeans(), frame(r["ls_means"]["differences"])),
    ):
        table = found.to_frame()
        assert list(table.index) == list(expected.index)
        assert list(table.columns) == list(expected.columns)
        if m.fit.matrices.fixed.dropped:
            # lmerTest gives numbers to differences between two means that no data determine.
            expected[table["Estimate"].isna()] = np.nan
        assert_allclose(table, expected, rtol=1e-4, atol=1e-6)


PRINTED = [
    "y ~ A*x + (1|g)",
    "Preference ~ sens2*Homesize + (1|Consumer)",
    "y ~ A + x + I(2*x) + (1|g)",
]


@pytest.mark.parametrize("r", [r for r in CASES if r["formula"] in PRINTED])
def test_texts_are_those_of_lmertest(r):
    m = fit(r)
    assert lines(str(m.anova())) == lines(r["text"])
    if "ls_means" in r:
        assert lines(str(m.ls_means())) == lines(r["ls_means"]["text"])


def test_type_three_of_carrots_is_that_of_sas():
    m = lmm.lmer("Preference ~ Homesize*sens1*sens2 + (1|Consumer)", load_table("carrots"))
    expected = frame(REFERENCE["carrots_type_III"])
    assert_allclose(m.anova(ddf="satterthwaite").to_frame(), expected, rtol=1e-4)


@pytest.mark.parametrize(
    "formula, expected",
    [
        ("Weight ~ Time * Evit + (1 | Pig)", [43863.96973, 0.30092, 6.71358]),
        ("Weight ~ scale(Time) * Evit + (1 | Pig)", [43863.96973, 1.56806, 6.71358]),
        ("Weight ~ poly(Time, 2) * Cu + (1 | Pig)", [24426.79042, 1.05109, 2.06486]),
        ("Weight ~ ns(Time, 2) * Cu + (1 | Pig)", [24496.06261, 1.05078, 2.05326]),
    ],
)
def test_matrices_count_as_factors_in_type_two(formula, expected):
    """F values of lmerTest 3.1-3."""
    table = lmm.lmer(formula, lmm.load_dataset("dietox")).anova(type="II").to_frame()
    assert_allclose(table["F value"], expected, rtol=1e-5, atol=1e-5)


@pytest.fixture
def table():
    return load_table("unbalanced")


@pytest.mark.filterwarnings("ignore::lmm.SingularFitWarning", "ignore::lmm.RankDeficiencyWarning")
@pytest.mark.parametrize("r", load_terms(), ids=lambda r: r["formula"])
def test_terms_are_tested_as_by_lmertest(r, table):
    """Terms that contain each other in unusual ways: slopes without main effects, `a / x * b`."""
    m = lmm.lmer(r["formula"], table)
    for type_ in ("I", "II", "III"):
        found, expected = m.anova(type_).to_frame(), r[type_]
        assert list(found.index) == expected["terms"]
        assert_allclose(found["NumDF"], expected["NumDF"])
        assert_allclose(found["F value"], expected["F"], rtol=1e-4)
        assert_allclose(found["DenDF"], expected["DenDF"], rtol=1e-3)


@pytest.mark.parametrize("type_", ["II", "III"])
@pytest.mark.parametrize(
    "formula", ["y ~ B:x + A:x + (1|g)", "y ~ A/x*B + (1|g)", "y ~ A*B + (1|g)"]
)
def test_the_order_of_levels_does_not_matter(table, formula, type_):
    expected = lmm.lmer(formula, table).anova(type_).to_frame()["F value"]
    for order in (["b", "a", "c"], ["c", "b", "a"]):
        turned = table.assign(A=pd.Categorical(table["A"], order))
        assert_allclose(lmm.lmer(formula, turned).anova(type_).to_frame()["F value"], expected)


@pytest.mark.filterwarnings("ignore::lmm.RankDeficiencyWarning")
@pytest.mark.parametrize(
    "formula, term",
    [
        ("y ~ B + A:x + (1|g)", "A:x"),
        ("y ~ A + B:C + (1|g)", "B:C"),
        ("y ~ B*x + z:A + (1|g)", "z:A"),
    ],
)
def test_a_main_effect_contains_no_interaction(table, formula, term):
    """There lmerTest's type II leaves the main effect out; car's, as here, does not."""
    m = lmm.lmer(formula, table)
    values = [m.anova(type_).to_frame().loc[term, "F value"] for type_ in ("I", "II", "III")]
    assert_allclose(values, values[0])


MADE = {
    "relevel(A, ref = 'b')": ("A", {}),
    "factor(A, levels = c('c', 'a', 'b'))": ("A", {}),
    "I(A == 'b')": ("A", {"a": "FALSE", "b": "TRUE", "c": "FALSE"}),
    "ifelse(A == 'b', 'two', 'one')": ("A", {"a": "one", "b": "two", "c": "one"}),
    "cut(x, c(-9, -0.5, 0.5, 9))": ("x", None),
}


@pytest.mark.parametrize("text", MADE)
def test_means_of_factors_that_the_formula_makes_have_their_own_labels(table, text):
    """The same means as of a column that holds the factor."""
    column, recoded = MADE[text]
    if recoded is None:
        labels = ["(-9,-0.5]", "(-0.5,0.5]", "(0.5,9]"]
        made = pd.cut(table[column], [-9, -0.5, 0.5, 9], labels=labels).astype(str)
    else:
        made = table[column].replace(recoded).astype(str)
    plain = lmm.lmer("y ~ made + z + (1|g)", table.assign(made=made))
    expected = plain.ls_means().to_frame()
    m = lmm.lmer(f"y ~ {text} + z + (1|g)", table)
    name = m.fit.matrices.fixed.term_factors[0]
    found = m.ls_means().to_frame()
    labels = [label.replace(name, "made") for label in found.index]
    columns = ["Estimate", "Std. Error", "df", "t value"]
    assert_allclose(found[columns], expected.loc[labels, columns], rtol=1e-6)
    differences = m.difflsmeans().to_frame()["Estimate"]
    pairs = [label.split(" - ") for label in differences.index]
    assert_allclose(differences, [found["Estimate"][i] - found["Estimate"][j] for i, j in pairs])


def test_factors_made_of_one_column_go_together(table):
    """The mean of level a of A is taken where A is a: not over both values of `A == 'a'`."""
    m = lmm.lmer("y ~ A + I(A == 'a'):z + (1|g)", table)
    beta, z = m.fixef(), table["z"].mean()
    means = m.ls_means("A").to_frame()["Estimate"]
    inside, outside = beta['I(A == "a")TRUE:z'], beta['I(A == "a")FALSE:z']
    start = beta["(Intercept)"]
    assert_allclose(
        means,
        [start + inside * z, start + beta["Ab"] + outside * z, start + beta["Ac"] + outside * z],
    )


def test_numbers_made_of_factors_stand_at_their_mean(table):
    m = lmm.lmer("y ~ B + as.numeric(A == 'a') + (1|g)", table)
    plain = lmm.lmer("y ~ B + a + (1|g)", table.assign(a=1.0 * (table["A"] == "a")))
    assert_allclose(m.ls_means().to_frame(), plain.ls_means().to_frame())


@pytest.mark.parametrize("coding", ["contr.treatment", "contr.sum", "contr.helmert", "contr.SAS"])
def test_type_three_does_not_depend_on_contrasts(coding):
    formula, table = "y ~ A*B*C + (1|g)", load_table("missing_cell")
    control = lmm.LmerControl(check_rankX="silent.drop.cols")
    plain = lmm.lmer(formula, table, control=control).anova().to_frame()
    coded = lmm.lmer(formula, table, control=control, contrasts=dict.fromkeys("ABC", coding))
    assert_allclose(coded.anova().to_frame()["F value"], plain["F value"], rtol=1e-6)


def test_missing_cells_are_named():
    control = lmm.LmerControl(check_rankX="silent.drop.cols")
    m = lmm.lmer("y ~ A*B + (1|g)", load_table("missing_cell"), control=control)
    with pytest.warns(lmm.MissingCellsWarning, match="Missing cells for: Ac:Bv"):
        m.anova()


@pytest.mark.parametrize("type_", ["III", "iii", 3, "3"])
def test_types_have_several_names(type_):
    assert "Type III Analysis" in str(fitted("slopes").anova(type=type_))


def test_unknown_types_are_listed():
    with pytest.raises(ValueError, match=r"unknown type of test 4.*I, II, III"):
        fitted("slopes").anova(type=4)


def test_without_degrees_of_freedom_sums_are_sequential():
    table = fitted("cake").anova(ddf="lme4")
    assert lines(str(table)) == [
        "Analysis of Variance Table",
        "                   npar  Sum Sq Mean Sq F value",
        "recipe                2   10.19    5.09  0.2488",
        "temperature           5 2100.30  420.06 20.5199",
        "recipe:temperature   10  205.98   20.60  1.0062",
    ]


@pytest.mark.filterwarnings("ignore::lmm.RefitWarning")
@pytest.mark.parametrize("ddf", ["satterthwaite", "kenward-roger", "asymptotic"])
def test_models_without_fixed_effects_have_empty_tables(ddf):
    m = lmm.lmer("y ~ 0 + (1|g)", load_table("unbalanced"))
    assert m.summary(ddf=ddf).coefficients.empty
    assert m.anova(ddf=ddf).to_frame().empty
    assert "Fixed effects" not in str(m.summary(ddf=ddf))


def test_models_without_fixed_terms_have_empty_tables():
    table = fitted("dyestuff").anova()
    assert table.to_frame().empty
    assert str(table).startswith("Type III Analysis of Variance Table with Satterthwaite's method")
    assert fitted("dyestuff").ls_means().to_frame().empty


# Contests ----------------------------------------------------------------------------------------

L = np.array(REFERENCE["L"])
ASKED = {
    "joint": ("unbalanced", L, {}),
    "joint_rhs": ("unbalanced", L, {"rhs": [1, 2]}),
    "joint_kr": ("unbalanced", L, {"ddf": "kenward-roger"}),
    "single": ("unbalanced", L, {"joint": False}),
    "single_kr_rhs": ("unbalanced", L, {"joint": False, "rhs": 1, "ddf": "kenward-roger"}),
    "dependent": ("unbalanced", np.vstack([L, L[0] + L[1]]), {}),
    "both_kr": ("sleepstudy", np.eye(2), {"ddf": "kenward-roger"}),
}


@pytest.fixture(scope="module")
def unbalanced():
    return lmm.lmer("y ~ A*B + x + (1|g)", load_table("unbalanced"))


@pytest.mark.parametrize("name", ASKED)
def test_contests_are_those_of_lmertest(unbalanced, name):
    data, contrasts, options = ASKED[name]
    m = unbalanced if data == "unbalanced" else fitted("slopes")
    found, expected = m.contest(contrasts, **options), frame(REFERENCE["contests"][name])
    assert list(found.to_frame().columns) == list(expected.columns)
    assert_allclose(found.to_frame(), expected, rtol=RTOL)


def test_named_contrasts_keep_their_names():
    rows = pd.DataFrame([[0, 1]], index=["slope"])
    assert list(fitted("slopes").contest(rows, joint=False).to_frame().index) == ["slope"]


def test_contradictory_values_are_refused(unbalanced):
    rows = np.eye(7)[[1, 1]]
    with pytest.raises(lmm.DataError, match="contradict each other"):
        unbalanced.contest(rows, rhs=[0, 1])


def test_there_must_be_something_to_test(unbalanced):
    with pytest.raises(lmm.DataError, match="nothing to test"):
        unbalanced.contest(np.zeros(7))


@pytest.fixture(scope="module")
def deficient():
    control = lmm.LmerControl(check_rankX="silent.drop.cols")
    return lmm.lmer("y ~ A*B + (1|g)", load_table("missing_cell"), control=control)


def test_estimable_contrasts_of_all_columns(deficient):
    # (Intercept) Ab Ac Bv Ab:Bv Ac:Bv, the last one dropped: a difference within level b
    found = deficient.contest([0, 0, 0, 1, 1, 0], joint=False).to_frame()
    expected = deficient.contest([0, 0, 0, 1, 1], joint=False).to_frame()
    pd.testing.assert_frame_equal(found, expected)


def test_contrasts_that_are_not_estimable_are_refused(deficient):
    with pytest.raises(lmm.DataError, match=r"row 2 of L is not estimable.*Ac:Bv"):
        deficient.contest([[0, 0, 0, 1, 1, 0], [0, 0, 0, 1, 0, 1]])


# Least-squares means -----------------------------------------------------------------------------


def test_least_squares_means_need_factors(unbalanced):
    with pytest.raises(lmm.DataError, match=r"factors alone, not 'x'.*Known: A, B, A:B"):
        unbalanced.ls_means("x")


def test_transformed_covariates_are_taken_at_the_mean_of_the_covariate():
    table = load_table("unbalanced")
    m = lmm.lmer("y ~ A + log(z) + (1|g)", table)
    expected = m.fixef()["(Intercept)"] + m.fixef()["log(z)"] * np.log(table["z"].mean())
    assert_allclose(m.ls_means("A").to_frame().loc["Aa", "Estimate"], expected)


# Texts -------------------------------------------------------------------------------------------


def test_fractions_are_printed_as_lmertest_does(unbalanced):
    assert lines(str(unbalanced.show_tests(fractions=True)))[:5] == [
        "$A",
        "   (Intercept) Ab  Ac  Bv  x   Ab:Bv Ac:Bv",
        "Ab   0           1   0   0   0 1/2     0",
        "Ac   0           0   1   0   0   0   1/2",
        "",
    ]
    assert "$`A:B`" in str(unbalanced.show_tests())


@pytest.mark.parametrize(
    "result",
    [
        lambda m: m.anova(),
        lambda m: m.show_tests(),
        lambda m: m.ls_means(),
        lambda m: m.contest(np.eye(7)[1]),
        lambda m: m.summary(ddf="satterthwaite"),
    ],
)
def test_results_show_in_notebooks(unbalanced, result):
    assert "<table>" in result(unbalanced)._repr_html_()


def test_means_show_what_they_are_of_the_coefficients():
    # lmerTest 3.1-3: show_tests(ls_means(m)), show_tests(ls_means(m, pairwise = TRUE))
    m = lmm.lmer("angle ~ recipe + temp + (1 | recipe:replicate)", lmm.load_dataset("cake"))
    means = m.ls_means("recipe").show_tests().tables["recipe"]
    expected = [[1, 0, 0, 200], [1, 1, 0, 200], [1, 0, 1, 200]]
    np.testing.assert_allclose(means, expected)
    assert list(means.columns) == list(m.fixef().index)
    np.testing.assert_allclose(means @ m.fixef(), m.ls_means("recipe")["Estimate"])
    pairs = m.difflsmeans().show_tests(fractions=True)
    expected = [[0, -1, 0, 0], [0, 0, -1, 0], [0, 1, -1, 0]]
    np.testing.assert_allclose(pairs.tables["recipe"], expected)
    assert "recipeB - recipeC  0           1      -1       0" in str(pairs)
