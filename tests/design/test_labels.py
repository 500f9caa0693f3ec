"""Labelled vectors are put in order or refused, wherever vectors are taken."""

import numpy as np
import pandas as pd
import pytest

import lmm
from lmm.design.labels import by_name, in_order

FORMULA = "Reaction ~ Days + (Days | Subject)"


@pytest.fixture(scope="module")
def table():
    return lmm.load_dataset("sleepstudy")


@pytest.fixture(scope="module")
def shuffled(table):
    return table.sample(frac=1.0, random_state=1)


@pytest.fixture(scope="module")
def m(shuffled):
    return lmm.lmer(FORMULA, shuffled)


def test_a_response_is_aligned(m, table):
    twice = 2 * table["Reaction"]
    np.testing.assert_allclose(m.refit(twice).beta, 2 * m.beta)
    np.testing.assert_allclose(m.refit(twice.to_frame()).beta, 2 * m.beta)
    fits = lmm.refit_many(m, pd.DataFrame({"a": twice, "b": 3 * table["Reaction"]}))
    np.testing.assert_allclose(fits.fixef, [2 * m.beta, 3 * m.beta])
    for Y in (twice, {"a": twice}, {"a": twice.to_numpy()[np.argsort(table.index)]}):
        assert lmm.refit_many(m, Y).fixef.shape == (1, 2)
    np.testing.assert_allclose(lmm.refit_many(m, {"a": twice}).fixef, [2 * m.beta])
    np.testing.assert_allclose(m.refit(2 * m.y).beta, 2 * m.beta)


def test_other_labels_are_refused(m, table):
    moved = table["Reaction"].set_axis(np.arange(180) + 7)
    twice = table["Reaction"].set_axis(np.arange(180) // 2)
    for y in (moved, twice):
        with pytest.raises(lmm.DataError, match="the index of the new response is not that of"):
            m.refit(y)
        with pytest.raises(lmm.DataError, match="the index of Y is not that of the data"):
            lmm.refit_many(m, y.to_frame())


def test_rows_left_out_are_left_out_of_labelled_vectors(table):
    holes = table.assign(Days=table["Days"].where(table["Days"] != 3))
    m = lmm.lmer(FORMULA, holes, subset="Subject != '308'")
    order = holes.sample(frac=1.0, random_state=2).index
    for rows in (order, order[[i >= 10 for i in order]], [i for i in order if i in m.fitted()]):
        np.testing.assert_allclose(m.refit(2 * table["Reaction"][rows]).beta, 2 * m.beta)


def test_weights_offsets_and_subsets_are_aligned(table, shuffled):
    weights = pd.Series(np.linspace(1, 3, 180), index=table.index)
    keep = weights > 1.5
    by_column = lmm.lmer(FORMULA, shuffled.assign(w=weights, k=keep), weights="w", subset="k")
    m = lmm.lmer(FORMULA, shuffled, weights=weights, subset=keep)
    np.testing.assert_allclose(m.beta, by_column.beta)


def test_series_of_a_dict_are_aligned(table, shuffled):
    mixed = {"Reaction": shuffled["Reaction"], "Days": table["Days"], "Subject": table["Subject"]}
    np.testing.assert_allclose(lmm.lmer(FORMULA, mixed).beta, lmm.lmer(FORMULA, table).beta)
    for odd in ({"Days": table["Days"].set_axis(np.arange(180) + 1)}, {"more": np.zeros(180)}):
        with pytest.raises(lmm.DataError, match="the index of column 'Days' is not that of"):
            lmm.lmer(FORMULA, mixed | odd)


def test_arrays_are_aligned(table, shuffled):
    X = pd.DataFrame({"one": 1.0, "Days": table["Days"]})
    m = lmm.lmer_arrays(shuffled["Reaction"], X, table["Subject"])
    expected = lmm.lmer("Reaction ~ Days + (1 | Subject)", table)
    np.testing.assert_allclose(m.beta, expected.beta)
    with pytest.raises(lmm.DataError, match="the index of 'Days' is not that of the response"):
        lmm.lmer_arrays(table["Reaction"].to_numpy(), X, shuffled["Subject"])
    m = lmm.lmer_arrays(table["Reaction"].to_numpy(), X, table["Subject"])
    np.testing.assert_allclose(m.beta, expected.beta)


def test_coefficients_are_taken_by_name(m):
    L = pd.Series({"Days": 1.0, "(Intercept)": 0.0})
    expected = m.contest([0, 1]).to_frame()
    for given in (L, {"Days": 1.0}, pd.DataFrame([L]), pd.DataFrame({"Days": [1.0]})):
        pd.testing.assert_frame_equal(m.contest(given).to_frame(), expected)
    one = lmm.sat_modcomp(m, L).to_frame()["stat"]
    np.testing.assert_allclose(one, expected["F value"])
    with pytest.raises(ValueError, match=r"L has no place for 'days'. Did you mean 'Days'"):
        m.contest({"days": 1.0})
    with pytest.raises(lmm.DataError, match=r"no fixed term 'days'\. Did you mean 'Days'"):
        lmm.kr_modcomp(m, "days")


def test_parameters_are_taken_by_name(m, table):
    beta = pd.Series({"Days": 10.0, "(Intercept)": 250.0})
    simulated = m.simulate(2, seed=1, beta=beta)
    pd.testing.assert_frame_equal(simulated, m.simulate(2, seed=1, beta=[250.0, 10.0]))
    pd.testing.assert_frame_equal(
        m.simulate(2, seed=1, beta={"Days": 0.0}), m.simulate(2, seed=1, beta=[m.beta[0], 0.0])
    )
    theta = dict(zip(m.fit.matrices.theta_names, [1.0, 0.0, 0.2], strict=True))
    arguments = {"sigma": 30.0, "seed": 1}
    y = lmm.simulate_formula(FORMULA, table, beta=beta, theta=theta, **arguments)
    pd.testing.assert_frame_equal(
        y, lmm.simulate_formula(FORMULA, table, beta=[250, 10], theta=[1, 0, 0.2], **arguments)
    )
    study = lmm.StudyDesign(FORMULA, table, beta, theta, 30.0)
    np.testing.assert_array_equal(study.beta, [250.0, 10.0])
    for start in (theta, pd.Series(theta)[::-1], {"theta": [1.0, 0.0, 0.2]}):
        np.testing.assert_allclose(lmm.lmer(FORMULA, table, start=start).theta, m.theta, atol=1e-5)
    with pytest.raises(ValueError, match="start holds theta only: leave out fixef"):
        lmm.lmer(FORMULA, table, start={"theta": [1, 0, 1], "fixef": [1, 2]})


def test_contrasts_of_means_are_taken_by_label():
    m = lmm.lmer("score ~ Machine + (1 | Worker)", lmm.load_dataset("Machines"))
    means = lmm.emmeans(m, "Machine")
    expected = means.contrast({"C - A": [-1, 0, 1]}).to_frame()
    for row in ({"C": 1, "A": -1}, pd.Series({"C": 1.0, "B": 0.0, "A": -1.0})):
        pd.testing.assert_frame_equal(means.contrast({"C - A": row}).to_frame(), expected)
    with pytest.raises(ValueError, match="contrast 'x' has no place for 'D'"):
        means.contrast({"x": {"D": 1}})


def test_clusters_are_aligned_and_complete(m, table):
    expected = lmm.vcov_cr(m)
    given = table["Subject"]
    pd.testing.assert_frame_equal(lmm.vcov_cr(m, cluster=given), expected)
    labels = [None if i == 4 else s for i, s in enumerate(given)]
    with pytest.raises(lmm.DataError, match="cluster is missing in 1 of 180 rows"):
        lmm.vcov_cr(m, cluster=labels)
    with pytest.raises(lmm.DataError, match="'cluster' makes a single cluster"):
        lmm.vcov_cr(m, cluster=["one"] * 180)


def test_the_two_rules():
    index = pd.Index(["a", "b"])
    assert in_order(pd.Series({"b": 1, "a": 2}), index, "w").tolist() == [2, 1]
    assert in_order([1, 2], index, "w") == [1, 2]
    assert by_name([1, 2], ["x"], "beta") == [1, 2]
    assert by_name(pd.Series([1, 2]), ["x", "y"], "beta").tolist() == [1, 2]
    with pytest.raises(ValueError, match="beta says nothing of x, z"):
        by_name({"y": 1}, ["x", "y", "z"], "beta")
    with pytest.raises(ValueError, match="beta names 'x' twice"):
        by_name(pd.Series([1, 2], index=["x", "x"]), ["x", "y"], "beta")
