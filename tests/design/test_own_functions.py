"""Functions that a caller passes in for formulas to call."""

import pickle

import numpy as np
import pytest

import lmm


def hinge(x, at):
    return np.maximum(x - at, 0.0)


def last(text):
    return np.array([value[-1] for value in text])


SLEEP = lmm.load_dataset("sleepstudy")
FORMULA = "Reaction ~ Days + hinge(Days, 4) + (1 | Subject)"


@pytest.fixture(scope="module")
def pair():
    """A model with a caller's function, and the same one in the formula's own language."""
    own = lmm.lmer(FORMULA, SLEEP, extra_namespace={"hinge": hinge})
    known = lmm.lmer("Reaction ~ Days + pmax(Days - 4, 0) + (1 | Subject)", SLEEP)
    return own, known


def test_estimates_are_those_of_the_formulas_own_language(pair):
    own, known = pair
    np.testing.assert_array_equal(own.fixef(), known.fixef())
    assert own.fixef().index[2] == "hinge(Days, 4)"


def test_new_data_are_read_by_the_function(pair):
    own, known = pair
    new = {"Days": [2.5, 7.5], "Subject": ["308", "309"]}
    np.testing.assert_array_equal(own.predict(new), known.predict(new))


def test_update_and_anova_keep_the_function(pair):
    own, known = pair
    smaller = own.update(". ~ . - Days")
    assert list(smaller.fixef().index) == ["(Intercept)", "hinge(Days, 4)"]
    np.testing.assert_allclose(own.drop1().to_frame()["AIC"], known.drop1().to_frame()["AIC"])


def test_means_and_slopes_go_through_the_function(pair):
    means = [lmm.emmeans(m, "Days", at={"Days": [0, 9]}).to_frame()["emmean"] for m in pair]
    np.testing.assert_allclose(*means, rtol=1e-12)
    squared = lmm.lmer(
        "Reaction ~ square(Days) + (1 | Subject)", SLEEP, extra_namespace={"square": np.square}
    )
    slope = lmm.emtrends(squared, "1", "square(Days)").to_frame().iloc[0, 1]
    assert slope == pytest.approx(squared.fixef()["square(Days)"], rel=1e-7)


def test_pickled_models_keep_it(pair):
    own, _ = pair
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(own)).predict(SLEEP), own.predict())


def test_several_columns():
    m = lmm.lmer(
        "Reaction ~ powers(Days) + (1 | Subject)",
        SLEEP,
        extra_namespace={"powers": lambda x: np.column_stack([x, x**2])},
    )
    known = lmm.lmer("Reaction ~ Days + I(Days^2) + (1 | Subject)", SLEEP)
    assert list(m.fixef().index[1:]) == ["powers(Days)1", "powers(Days)2"]
    np.testing.assert_allclose(m.fixef(), known.fixef(), rtol=1e-10)


def test_texts_and_truth_values():
    m = lmm.lmer(
        "Reaction ~ last(Subject) + Days + (1 | Subject)", SLEEP, extra_namespace={"last": last}
    )
    assert "last(Subject)7" in m.fixef().index
    late = lmm.glmer(
        "cbind(incidence, size - incidence) ~ late(period) + (1 | herd)",
        lmm.load_dataset("cbpp"),
        extra_namespace={"late": lambda period: np.isin(period, ["3", "4"])},
    )
    assert list(late.fixef().index) == ["(Intercept)", "late(period)TRUE"]
    flipped = {"f": lambda truth: ~truth}
    opposite = lmm.lm("Reaction ~ f(Days > 4)", SLEEP, extra_namespace=flipped)
    assert opposite.matrices.X[:, 1].sum() == (SLEEP["Days"] <= 4).sum()


def test_rows_in_batches(tmp_path):
    file = tmp_path / "sleep.parquet"
    SLEEP.astype({"Subject": str}).to_parquet(file, row_group_size=50)
    own = {"hinge": hinge, "last": last}
    formula = "Reaction ~ last(Subject) + (hinge(Days, 3) | Subject)"
    whole = lmm.lmer(formula, SLEEP, extra_namespace=own)
    batches = lmm.lmer(formula, lmm.scan(file), extra_namespace=own)
    np.testing.assert_allclose(batches.fixef(), whole.fixef(), rtol=1e-6)
    summed = lmm.lmer(formula, lmm.sums(formula, lmm.scan(file), extra_namespace=own))
    assert summed.reml_criterion() == pytest.approx(whole.reml_criterion(), rel=1e-10)


def test_missing_values_stay_missing():
    data = SLEEP.assign(Days=SLEEP["Days"].where(SLEEP.index != 3))
    assert lmm.lmer(FORMULA, data, extra_namespace={"hinge": hinge}).nobs == 179


REFUSED = {
    "centred": (lambda x: x - x.mean(), "another value beside other rows"),
    "ranks": (lambda x: np.argsort(x), "another value beside other rows"),
    "short": (lambda x: x[:3], r"returned shape \(3,\) for 180 rows"),
    "cube": (lambda x: np.ones((len(x), 2, 2)), r"returned shape \(180, 2, 2\)"),
    "raises": (lambda x: {}["a"], "raised KeyError: 'a'"),
    "texts": (lambda x: np.array([["a", "b"]] * len(x)), "several columns that are not numbers"),
    "objects": (lambda x: [{}] * len(x), r"'f\(\)'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_functions_of_other_rows_are_refused(case):
    function, message = REFUSED[case]
    with pytest.raises(lmm.FormulaError, match=message):
        lmm.lmer("Reaction ~ f(Days) + (1 | Subject)", SLEEP, extra_namespace={"f": function})


def test_a_call_without_a_column_is_refused():
    with pytest.raises(lmm.FormulaError, match="needs a column"):
        lmm.lmer("Reaction ~ f(2) + (1 | Subject)", SLEEP, extra_namespace={"f": np.square})


NO_NAMESPACES = [
    ([1], TypeError, "must be a mapping from names to functions"),
    ({"f": 3}, TypeError, "must be a function of columns, not int"),
    ({"log": np.log}, ValueError, "means something in formulas already"),
    ({"cs": np.log}, ValueError, "means something in formulas already"),
    ({"offset": np.log}, ValueError, "means something in formulas already"),
    ({"1a": np.log}, ValueError, "no name of a function"),
    ({3: np.log}, ValueError, "no name of a function"),
]


@pytest.mark.parametrize("namespace, kind, message", NO_NAMESPACES)
def test_what_is_no_namespace_is_refused(namespace, kind, message):
    with pytest.raises(kind, match=message):
        lmm.lmer("Reaction ~ f(Days) + (1 | Subject)", SLEEP, extra_namespace=namespace)


def test_files_hold_no_functions(pair, tmp_path):
    with pytest.raises(lmm.DataError, match=r"functions of your own \(hinge\)"):
        pair[0].save(tmp_path / "m.lmm")


def test_names_of_the_session_are_never_called():
    with pytest.raises(lmm.FormulaError, match=r"unknown function 'hinge'.*extra_namespace"):
        lmm.lmer(FORMULA, SLEEP)
