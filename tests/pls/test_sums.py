"""Models whose rows are summed batch by batch are those of all rows at once."""

import numpy as np
import pytest

import lmm
from lmm.pls import named, problem, summed
from lmm.pls.problem import standardize_rows
from models import MODELS, matrices
from sources import cut


@pytest.fixture(params=[1, 7, 20])
def few_rows(request, monkeypatch):
    monkeypatch.setattr(summed, "MANY_ROWS", request.param)
    monkeypatch.setattr(problem, "MANY_ROWS", request.param)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("reml", [True, False])
def test_sums_of_batches(model, reml, few_rows):
    own = matrices(model)
    whole = lmm.ProfiledCriterion(own, reml, bound=named("auto").bind(standardize_rows(own)))
    parts = lmm.ProfiledCriterion(own, reml, bound=named("auto").bind(summed.standardize(own)))
    assert not isinstance(parts.problem.products, type(whole.problem.products))
    for theta in (whole.start, 0.3 * whole.start):
        value, gradient = whole.value_and_gradient(theta)
        other, slope = parts.value_and_gradient(theta)
        assert other == pytest.approx(value, rel=1e-11)
        np.testing.assert_allclose(slope, gradient, rtol=1e-7, atol=1e-7 * np.abs(gradient).max())


@pytest.mark.parametrize("sort", [False, True])
def test_large_common_parts(few_rows, sort):
    data = lmm.load_dataset("sleepstudy")
    data["Reaction"] += 1e8
    data["Days"] += 1e6
    if sort:
        data = data.sort_values("Days")  # the first rows show one value of the covariate
    m = lmm.lmer("Reaction ~ Days + (1 | Subject)", data)
    plain = lmm.lmer("Reaction ~ Days + (1 | Subject)", lmm.load_dataset("sleepstudy"))
    assert m.reml_criterion() == pytest.approx(plain.reml_criterion(), abs=1e-6)
    assert m.theta == pytest.approx(plain.theta, rel=1e-6)
    assert m.fixef()["Days"] == pytest.approx(plain.fixef()["Days"], rel=1e-8)


def test_rows_are_made_again_where_they_are_needed(few_rows):
    own = matrices("three columns")
    parts, whole = summed.standardize(own), standardize_rows(own)
    np.testing.assert_allclose(np.abs(parts.X), np.abs(whole.X), atol=1e-12)
    np.testing.assert_allclose(parts.y, whole.y, atol=1e-10)
    total = sum(rows.X.T @ rows.X for rows in parts.parts())
    np.testing.assert_allclose(total, np.eye(own.p), atol=1e-12)


def test_the_dense_solver_reads_no_rows(few_rows):
    # whose other columns of X are combinations, of which no rows are made
    own = matrices("three columns")
    whole, parts = (each(own).fixing(0, 0.5) for each in (standardize_rows, summed.standardize))
    factors = tuple(0.7 * np.eye(term.size) for term in whole.matrices.terms)
    one, other = (named("dense").bind(each).at(factors) for each in (whole, parts))
    assert other.pwrss == pytest.approx(one.pwrss, rel=1e-11)
    assert other.logdet == pytest.approx(one.logdet, rel=1e-11)


def test_profiles_by_the_dense_solver():
    data = lmm.load_dataset("sleepstudy")
    formula = "Reaction ~ Days + (Days | Subject)"
    m = lmm.lmer(formula, cut(data, 50), solver="dense")
    limits = lmm.lmer(formula, data).confint()
    np.testing.assert_allclose(m.confint(), limits, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("response", ["0 * Days + 3", "2 * Days - 7.1", "Days / 3 + 1e6"])
def test_exact_fits_are_refused(response, few_rows):
    data = lmm.load_dataset("sleepstudy")
    data["Reaction"] = data.eval(response)
    for given in (data, cut(data, 50)):
        with pytest.raises(lmm.NumericalError, match="fit the response exactly"):
            lmm.lmer("Reaction ~ Days + (1 | Subject)", given)
