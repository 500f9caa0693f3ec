"""Minimizing: optimizers agree, boundaries are reached and left, verdicts are right."""

import functools
import itertools

import numpy as np
import pytest

import lmm
from lmm import ProfiledCriterion
from lmm.errors import NumericalError
from lmm.optimize import COBYQA, LBFGSB, OPTIMIZERS, FisherScoring, NelderMead, Status, minimize
from lmm.optimize.charts import LocalModel
from models import STRUCTURES, matrices
from reference import MODEL_IDS, fit_arguments, load_reference, load_table
from simulated import well_posed

# No fit may be above the best known one by more.
WORSE = 1e-6


@functools.cache
def reference_criterion(model_id):
    reference = load_reference(model_id)
    arguments = {k: v for k, v in fit_arguments(reference).items() if k != "reml"}
    built = lmm.build_matrices(reference["formula"], load_table(reference["data"]), **arguments)
    return ProfiledCriterion(built, reml=reference["REML"])


def balanced(noise_of_means):
    """Six groups of four whose means vary by a given multiple of their noise."""
    within = np.array([-1.5, -0.5, 0.5, 1.5])
    means = noise_of_means * np.array([-1.2, -0.7, -0.1, 0.1, 0.7, 1.2])
    y = (means[:, None] + within).ravel()
    return {"y": y, "g": np.repeat(list("abcdef"), 4)}


def one_way(data, **arguments):
    return ProfiledCriterion(lmm.build_matrices("y ~ 1 + (1 | g)", data), **arguments)


# Optimizers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if name != "auto"])
@pytest.mark.parametrize("model_id", ["dyestuff", "sleep_slope", "pastes", "penicillin", "pixel"])
def test_every_optimizer_reaches_the_optimum(model_id, name):
    criterion = reference_criterion(model_id)
    best, other = minimize(criterion), minimize(criterion, name)
    assert other.converged
    assert other.optimizer == name
    assert other.value == pytest.approx(best.value, abs=WORSE)
    np.testing.assert_allclose(other.theta, best.theta, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("model", STRUCTURES)
def test_fisher_scoring_is_not_worse_than_a_search(model):
    for reml in (True, False):
        criterion = ProfiledCriterion(matrices(model), reml=reml)
        optimum = minimize(criterion)
        assert optimum.converged
        # What ends on the boundary is searched for up to three times.
        assert optimum.n_evaluations <= (24 if optimum.boundary else 12)
        assert optimum.value <= minimize(criterion, "L-BFGS-B").value + WORSE


BALANCED = ["dyestuff", "sleep_slope", "oats", "penicillin", "pastes"]


@pytest.mark.parametrize("model_id", BALANCED)
def test_balanced_data_are_solved_at_the_start(model_id):
    criterion = reference_criterion(model_id)
    optimum = minimize(criterion)
    assert optimum.n_evaluations == 1
    assert optimum.value == pytest.approx(load_reference(model_id)["criterion"], abs=WORSE)


def test_nested_intercepts_and_slopes_are_solved_at_the_start_by_maximum_likelihood():
    for formula, name in (
        ("Reaction ~ Days + (Days | Subject)", "sleepstudy"),
        ("strength ~ 1 + (1 | batch / cask)", "Pastes"),
        ("score ~ Machine + (1 | Worker / Machine)", "Machines"),
    ):
        optimum = lmm.lmer(formula, lmm.load_dataset(name), reml=False).optimum
        assert (optimum.n_evaluations, optimum.converged) == (1, True)


@pytest.mark.parametrize("model_id", BALANCED)
def test_one_scoring_step_solves_balanced_data(model_id):
    """From the identity: the estimating equations are linear in the covariances."""
    criterion = reference_criterion(model_id)
    start = criterion.to_theta(criterion.start)
    optimum = minimize(criterion, FisherScoring(max_evaluations=2), start=start)
    # Unless a variance shrinks twentyfold in it, as for sleep_slope's residual it does not.
    assert optimum.value <= load_reference(model_id)["criterion"] + WORSE


@pytest.mark.parametrize("model_id", MODEL_IDS)
def test_the_start_does_not_matter(model_id):
    criterion = reference_criterion(model_id)
    if model_id == "insteval":
        return
    best = minimize(criterion).value
    for scale in (1e-6, 1.0, 30.0):
        start = criterion.to_theta(scale * criterion.start)
        optimum = minimize(criterion, start=start)
        assert optimum.converged
        assert optimum.value == pytest.approx(best, abs=WORSE)


def test_each_evaluation_is_reported():
    calls = []
    optimum = minimize(
        reference_criterion("pixel"), report=lambda count, value, x: calls.append((count, value))
    )
    assert [count for count, _ in calls] == list(range(1, len(calls) + 1))
    # A last value without derivatives is counted, not reported.
    assert optimum.n_evaluations - len(calls) in (0, 1)
    assert min(value for _, value in calls) == pytest.approx(optimum.value, abs=1e-6)


# The boundary ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_variance_of_zero_is_exactly_zero(name):
    criterion = one_way(balanced(0.3))
    optimum = minimize(criterion, name)
    assert optimum.converged
    assert optimum.theta[0] == 0.0
    assert optimum.boundary == ("g.(Intercept)",)
    assert optimum.value == pytest.approx(criterion(np.zeros(1)), rel=1e-14)
    assert optimum.hessian_eigenvalues.size == 0


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_start_at_zero_is_left(name):
    criterion = one_way(balanced(3.0))
    optimum = minimize(criterion, name, start=np.zeros(1))
    if name in ("auto", "COBYQA", "Nelder-Mead"):
        assert optimum.value == pytest.approx(minimize(criterion).value, abs=WORSE)
    else:  # a gradient sees nothing at zero, and the verdict says so
        assert optimum.status is Status.NOT_STATIONARY
        assert "Parameter: g.(Intercept)." in optimum.message


@pytest.mark.parametrize(
    "start", [(0, 0, 0), (1, 0, 0), (0, 0, 1), (0, 1, 0), (1, 2, 0), (-1, 0.3, -1)]
)
def test_singular_starts_are_left(start):
    criterion = reference_criterion("sleep_slope")
    optimum = minimize(criterion, start=np.array(start, dtype=float))
    assert optimum.converged
    assert optimum.value == pytest.approx(minimize(criterion).value, abs=WORSE)
    assert optimum.boundary == ()


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_perfect_correlation(sign):
    rng = np.random.default_rng(2)
    g = np.repeat(np.arange(12), 6)
    x, u = rng.standard_normal(len(g)), rng.standard_normal(12)[g]
    y = 2.0 * u + sign * u * x + rng.standard_normal(len(g))
    built = lmm.build_matrices("y ~ x + (x | g)", {"y": y, "x": x, "g": g.astype(str)})
    optimum = minimize(ProfiledCriterion(built))
    assert optimum.converged
    assert optimum.boundary == ("g.x",)
    assert optimum.theta[2] == 0.0
    assert np.sign(optimum.theta[1]) == sign
    assert optimum.value <= minimize(ProfiledCriterion(built), "COBYQA").value + WORSE


def test_a_lower_minimum_inside_is_found():
    """From moments the search ends on the boundary, at a minimum 0.14 above another one inside."""
    design = next(itertools.islice(well_posed(684, seed=3), 683, None))
    criterion = ProfiledCriterion(lmm.build_matrices(design.formula, design.data))
    optimum = minimize(criterion)
    assert optimum.converged
    assert optimum.boundary == ()
    assert optimum.value == pytest.approx(148.654168, abs=WORSE)


def test_multipliers_tell_a_false_boundary_from_a_true_one():
    """At zero both are stationary in theta; only the derivative in the variance differs."""
    for multiple, falls in ((0.3, False), (3.0, True)):
        criterion = one_way(balanced(multiple))
        here = criterion.evaluate(np.zeros(1))
        assert here.gradient[0] == 0.0
        assert (here.slopes[0][0, 0] < 0.0) == falls
        assert (LocalModel.at(criterion, np.zeros(1), here).decrement > 0.0) == falls


# Verdicts ----------------------------------------------------------------------------------------


def test_running_out_of_evaluations_is_told():
    criterion = reference_criterion("pixel")
    optimum = minimize(criterion, FisherScoring(max_evaluations=2))
    assert optimum.status is Status.MAX_EVALUATIONS
    assert not optimum.converged
    assert "max_evaluations" in optimum.message
    with pytest.warns(lmm.ConvergenceWarning, match=r"Parameter: \S+"):
        lmm.lmer(
            load_reference("pixel")["formula"],
            load_table("Pixel"),
            optimizer=FisherScoring(max_evaluations=2),
        )


def test_stopping_early_is_told():
    optimum = minimize(reference_criterion("pixel"), NelderMead(max_evaluations=30))
    assert optimum.status is Status.MAX_EVALUATIONS
    optimum = minimize(reference_criterion("pixel"), COBYQA(tolerance=0.3))
    assert optimum.status is Status.NOT_STATIONARY


def test_a_redundant_term_is_a_valley_and_no_saddle():
    """(1 | g) adds nothing to a full covariance of two indicators: the optimum is a curve."""
    with pytest.warns(lmm.ConvergenceWarning, match=r"school.\(Intercept\), school.sexF"):
        m = lmm.lmer(
            "normexam ~ standLRT + (1 | school) + (0 + sex | school)", lmm.load_dataset("Exam")
        )
    full = lmm.lmer("normexam ~ standLRT + (0 + sex | school)", lmm.load_dataset("Exam"))
    assert m.optimum.status is Status.NOT_IDENTIFIED
    assert m.optimum.value == pytest.approx(full.optimum.value, abs=1e-6)
    assert m.optimum.n_evaluations <= 12


@pytest.mark.parametrize("effects", ["1", "x"])
def test_a_response_that_varies_only_between_levels_is_told(effects):
    rng = np.random.default_rng(0)
    g = np.repeat(np.arange(20), 5)
    data = {"g": g, "x": rng.standard_normal(100), "y": rng.standard_normal(20)[g]}
    with pytest.warns(lmm.ConvergenceWarning, match="residual variance goes to zero"):
        m = lmm.lmer(f"y ~ x + ({effects} | g)", data)
    assert m.optimum.status is Status.UNBOUNDED


def test_an_optimizer_object_has_validated_options():
    for kind in (FisherScoring, LBFGSB, COBYQA, NelderMead):
        for option in ("max_evaluations", "tolerance"):
            with pytest.raises(ValueError, match=f"{option} must be positive, not 0"):
                kind(**{option: 0})


def test_an_unknown_optimizer_is_named_with_the_nearest():
    with pytest.raises(ValueError, match=r"'bobyqa'.*COBYQA"):
        minimize(reference_criterion("dyestuff"), "bobyqa")


def test_start_of_the_wrong_length_is_refused():
    with pytest.raises(ValueError, match="3 covariance parameters"):
        minimize(reference_criterion("sleep_slope"), start=np.ones(2))


def test_a_start_that_is_not_finite_is_refused():
    with pytest.raises(ValueError, match=r"theta must be finite, but g.\(Intercept\) is inf"):
        minimize(one_way(balanced(1.0)), start=np.array([np.inf]))


@pytest.mark.parametrize("theta", [1e60, 1e150, 1e200])
def test_a_start_that_cannot_be_computed_is_an_error(theta):
    with pytest.raises(NumericalError):
        minimize(one_way(balanced(1.0)), start=np.array([theta]))


def test_a_huge_start_is_recovered_from():
    criterion = one_way(balanced(3.0))
    optimum = minimize(criterion, start=np.array([1e20]))
    assert optimum.value == pytest.approx(minimize(criterion).value, abs=WORSE)
