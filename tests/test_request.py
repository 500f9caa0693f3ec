"""What was asked for is kept as it was, and is checked before anything is computed."""

import copy
import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest

import lmm
from lmm.request import Request, planned_matrices

FORMULA = "Reaction ~ x + Days + (1 | Subject)"


def sleep():
    x = np.random.default_rng(1).normal(size=180)
    return lmm.load_dataset("sleepstudy").assign(x=x, w=np.linspace(1, 2, 180))


def answers(m):
    """Everything that reads the data again."""
    return [
        lmm.emmeans(m, "x").to_frame(),
        m.drop1(test="Chisq").to_frame(),
        m.ranova().to_frame(),
        m.update(reml=False).fixef(),
        m.update(". ~ . - x").fixef(),
        m.augment(),
    ]


CHANGES = {
    "a column": lambda d: d.__setitem__("x", d["x"] + 50),
    "a value": lambda d: d.__setitem__("x", d["x"].where(d["Days"] > 1, 9.0)),
    "in place": lambda d: d.iloc.__setitem__((slice(0, 90), d.columns.get_loc("x")), 7.0),
    "a column less": lambda d: d.pop("x"),
    "a row": lambda d: d.loc.__setitem__(0, d.loc[9]),
    "labels": lambda d: d.__setattr__("index", d.index[::-1]),
}


@pytest.mark.parametrize("change", CHANGES)
def test_later_changes_of_the_table_change_nothing(change):
    data = sleep()
    right = answers(lmm.lmer(FORMULA, data.copy()))
    m = lmm.lmer(FORMULA, data)
    matrices = lmm.build_matrices(FORMULA, data)
    y, X = matrices.y.copy(), matrices.X.copy()
    CHANGES[change](data)
    for ours, expected in zip(answers(m), right, strict=True):
        (pd.testing.assert_frame_equal if ours.ndim == 2 else pd.testing.assert_series_equal)(
            ours, expected
        )
    np.testing.assert_array_equal(matrices.y, y)
    np.testing.assert_array_equal(matrices.X, X)


def test_later_changes_of_arrays_change_nothing():
    data = {name: column.to_numpy().copy() for name, column in sleep().items()}
    weights, contrasts = np.ones(180), {"f": np.array([[-1.0], [1.0]])}
    data["f"] = np.tile(["a", "b"], 90)
    formula = "Reaction ~ f + Days + (1 | Subject)"
    m = lmm.lmer(formula, data, weights=weights, contrasts=contrasts)
    expected = m.update(reml=False).beta.copy()
    data["Reaction"] += 100.0
    data["Days"][:] = 3.0
    weights[:90] = 5.0
    contrasts["f"][:] = [[1.0], [0.0]]
    np.testing.assert_allclose(m.update(reml=False).beta, expected)
    np.testing.assert_array_equal(m.weights, np.ones(180))


def test_later_changes_of_a_polars_table_change_nothing():
    data = pl.DataFrame(sleep().drop(columns="Subject").assign(g=np.repeat(np.arange(18), 10)))
    m = lmm.lmer("Reaction ~ x + (1 | g)", data)
    expected = m.update(reml=False).beta
    data.replace_column(data.columns.index("x"), pl.Series("x", np.zeros(180)))
    np.testing.assert_allclose(m.update(reml=False).beta, expected)


def test_the_data_of_a_model_may_be_changed_freely():
    m = lmm.lmer(FORMULA, sleep())
    data = m.data
    data["x"] = 0.0
    assert m.data["x"].std() > 0.5
    assert isinstance(lmm.lmer(FORMULA, sleep().to_dict("list")).data, pd.DataFrame)


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"reml": "yes"}, TypeError, "reml must be True or False, not 'yes'"),
        ({"contrasts": "contr.sum"}, TypeError, "contrasts must be a mapping from factors"),
        ({"control": {"optimizer": "bobyqa"}}, TypeError, "no check 'optimizer'. It is lmer's"),
        ({"control": {"check_scalX": "stop"}}, TypeError, "mean 'check_scaleX'"),
        ({"control": "strict"}, TypeError, "control must be an LmerControl"),
        ({"optimizer": None}, TypeError, "optimizer must be one of 'auto', .*, not None"),
        ({"optimizer": lmm.COBYQA}, TypeError, "or an optimizer, such as lmm.COBYQA"),
        ({"optimizer": "bobyqa"}, ValueError, "'bobyqa'. Did you mean 'COBYQA'"),
        ({"optimizer": "nloptwrap"}, ValueError, "'nloptwrap'. Did you mean 'COBYQA'"),
        ({"optimizer": "Nelder_Mead"}, ValueError, "'Nelder_Mead'. Did you mean 'Nelder-Mead'"),
        ({"optimizer": "cobyqa"}, ValueError, "'cobyqa'. Did you mean 'COBYQA'"),
        ({"solver": "Dense"}, ValueError, "'Dense'. Did you mean 'dense'"),
        ({"solver": 3}, TypeError, "solver must be one of"),
        ({"na_action": "skip"}, lmm.DataError, "na_action must be one of"),
        ({"subset": 3}, lmm.DataError, "'subset' must have one dimension"),
    ],
)
def test_options_of_a_wrong_kind(options, error, message):
    with pytest.raises(error, match=message):
        lmm.lmer(FORMULA, sleep(), **options)


def test_what_r_means_by_an_option():
    m = lmm.lmer(FORMULA, sleep())
    for options in ({"control": {}}, {"control": {"check.scaleX": "stop"}}, {"subset": True}):
        np.testing.assert_array_equal(lmm.lmer(FORMULA, sleep(), **options).beta, m.beta)


def test_unknown_options_are_named():
    m = lmm.lmer(FORMULA, sleep())
    for call in (
        lambda: m.update(wieghts="w"),
        lambda: lmm.lmlist("Reaction ~ Days | Subject", sleep(), wieghts="w"),
        lambda: lmm.simulate_formula(
            "~ (1 | Subject)", sleep(), beta=[1], theta=[1], sigma=1, wieghts="w"
        ),
    ):
        with pytest.raises(TypeError, match=r"no argument 'wieghts'. Did you mean 'weights'"):
            call()


def test_a_changed_request_keeps_what_refit_put_in_place():
    m = lmm.lmer(FORMULA, sleep())
    twice = m.refit(2 * m.y)
    np.testing.assert_allclose(twice.update(". ~ . - x").beta, 2 * m.update(". ~ . - x").beta)
    np.testing.assert_allclose(twice.update(data=sleep()).beta, m.beta)
    np.testing.assert_allclose(twice.update("log(Reaction) ~ .").beta[0], 5.53, atol=0.01)


@pytest.mark.parametrize("formula", ["log(y) ~ x + (1 | g)", "y ~ x + (1 | g)", "~ x + (1 | g)"])
def test_a_planned_study_needs_no_response(formula):
    rows = {"g": np.repeat(list("abcdef"), 4), "x": np.tile(np.arange(4.0), 6)}
    matrices = planned_matrices(formula, rows)
    np.testing.assert_array_equal(matrices.y, np.zeros(24))
    study = lmm.StudyDesign(formula, rows, beta={"x": 1.0}, theta=[1], sigma=1)
    np.testing.assert_array_equal(study.beta, [0.0, 1.0])
    assert lmm.power(study, "x", 50, seed=1).table["power"].iloc[0] > 0.5
    y = lmm.simulate_formula(formula, rows, beta=[1, 2], theta=[1], sigma=1, seed=1)
    assert y.shape == (24, 1)


def test_missing_responses_do_not_matter_to_a_plan():
    rows = {"y": [np.nan] * 24, "g": np.repeat(list("abcdef"), 4)}
    assert planned_matrices("y ~ 1 + (1 | g)", rows).n == 24


# Weights of new rows -----------------------------------------------------------------------------


def test_the_column_of_weights_counts_for_new_rows():
    data = sleep().assign(w=lambda t: np.where(t["Days"] > 4, 25.0, 0.04))
    m = lmm.lmer("Reaction ~ Days + (1 | Subject)", data, weights="w")
    own, passed = m.predict(interval="prediction"), m.predict(data, interval="prediction")
    pd.testing.assert_frame_equal(own, passed)
    pd.testing.assert_frame_equal(
        m.simulate(2, seed=1, use_u=True), m.simulate(2, seed=1, use_u=True, newdata=data)
    )
    with pytest.raises(lmm.DataError, match="weights of new rows must be positive and finite"):
        m.simulate(newdata=data.assign(w=-1.0))


def test_own_rows_as_new_ones_draw_the_same_whatever_the_order_of_levels():
    data = sleep()
    order = sorted(data["Subject"].astype(str).unique(), reverse=True)
    data["Subject"] = pd.Categorical(data["Subject"].astype(str), order)
    m = lmm.lmer("Reaction ~ Days + (Days | Subject)", data)
    pd.testing.assert_frame_equal(m.simulate(2, seed=1), m.simulate(2, seed=1, newdata=data))
    new = m.simulate(500, seed=1, newdata={"Days": [0, 0, 9], "Subject": ["new", "other", "new"]})
    correlation = np.corrcoef(new)
    assert abs(correlation[0, 1]) < 0.15
    assert correlation[0, 2] > 0.2


def test_weights_that_new_rows_do_not_have_are_told_of():
    data = sleep()
    named = lmm.lmer("Reaction ~ Days + (1 | Subject)", data, weights="w")
    given = lmm.lmer("Reaction ~ Days + (1 | Subject)", data, weights=data["w"].to_numpy())
    rows = data[["Days", "Subject"]]
    for m in (named, given):
        with pytest.warns(lmm.WeightsWarning, match="each counts as one observation of weight 1"):
            m.predict(rows, interval="prediction")
        assert len(m.predict(rows, interval="confidence")) == 180


def test_requests_are_made_of_text_and_data():
    request = Request.of(FORMULA, sleep(), weights="w")
    assert request.text("weights") == "w"
    assert request.options["reml"] is True
    assert request.build().X.shape == (180, 3)


# Arrays of a fit cannot be written to -------------------------------------------------------------

ARRAYS = {
    "beta": lambda m: m.beta,
    "theta": lambda m: m.theta,
    "X": lambda m: m.X,
    "y": lambda m: m.y,
    "weights": lambda m: m.weights,
    "offset": lambda m: m.offset,
    "u": lambda m: m.u,
    "b": lambda m: m.fit.b[0],
    "fitted": lambda m: m.fit.fitted,
    "residuals": lambda m: m.fit.residuals,
    "vcov": lambda m: m.fit.vcov,
    "covariances": lambda m: m.fit.covariances[0],
    "codes": lambda m: m.fit.matrices.terms[0].codes,
    "Z": lambda m: m.fit.matrices.terms[0].Z,
    "levels": lambda m: m.fit.matrices.terms[0].levels,
    "Zt": lambda m: m.Zt.data,
    "Lambdat": lambda m: m.Lambdat.data,
    "rows": lambda m: m.fit.matrices.frame.rows,
    "column": lambda m: m.fit.matrices.frame.columns["x"],
    "x": lambda m: m.optimum.x,
    "gradient": lambda m: m.optimum.gradient,
}
COPIES = {
    "itself": lambda m: m,
    "a copy": copy.copy,
    "a deep copy": copy.deepcopy,
    "unpickled": lambda m: pickle.loads(pickle.dumps(m)),
}


@pytest.mark.parametrize("copied", COPIES)
@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_of_a_fit_are_read_only(name, copied):
    m = COPIES[copied](lmm.lmer(FORMULA, sleep()))
    with pytest.raises(ValueError, match="read-only"):
        ARRAYS[name](m)[0] = 0
    with pytest.raises(ValueError, match="read-only"):
        m.beta /= 10


RESULTS = {
    "bootstrap": lambda m: m.bootstrap(4, seed=1).converged,
    "influence": lambda m: m.influence("Subject").fixef_without,
    "profile": lambda m: m.profile(["Days"])["Days"].zeta,
    "lmlist": lambda m: lmm.lmlist("Reaction ~ Days | Subject", m.data).estimates,
}


@pytest.mark.parametrize("name", RESULTS)
def test_arrays_of_results_are_read_only(name):
    values = RESULTS[name](lmm.lmer("Reaction ~ Days + (1 | Subject)", sleep()))
    with pytest.raises(ValueError, match="read-only"):
        values[0] = 0


def test_tables_of_results_are_the_users():
    m = lmm.lmer(FORMULA, sleep())
    table, frame = m.fixef(), m.vcov()
    table.iloc[0] = frame.iloc[0, 0] = 0.0
    assert m.fixef().iloc[0] != 0
    assert m.vcov().iloc[0, 0] != 0
    fitted = m.fitted()
    fitted.iloc[:] = 0.0
    assert m.fitted().iloc[0] != 0
