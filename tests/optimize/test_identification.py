"""What the data do not determine is named: shared variances, absorbed effects, exact fits."""

import warnings

import numpy as np
import pytest

import lmm
from lmm import ProfiledCriterion
from lmm.criterion.identification import _first, _traces, undetermined
from lmm.optimize import Status

CONTROL = lmm.LmerControl(
    check_nobs_vs_nlev="ignore", check_nobs_vs_nRE="ignore", check_conv_singular="ignore"
)


def schools():
    """Twenty schools of ten rows, and whatever may be confounded with them."""
    rng = np.random.default_rng(1)
    school = np.repeat(np.arange(20), 10)
    n = len(school)
    return {
        "y": rng.normal(size=20)[school] + rng.normal(size=n),
        "school": school.astype(str),
        "cls": np.char.add("c", school.astype(str)),
        "pair": (school // 2).astype(str),
        "row": np.arange(n).astype(str),
        "k": np.full(n, 3.0),
        "x": rng.normal(size=n),
        "year": rng.integers(1990, 2010, n).astype(float),
        "day": 2.45e6 + rng.integers(0, 30, n),
        "sex": np.array(["m", "f"])[rng.integers(0, 2, n)],
        "arm": np.array(["a", "b", "c"])[rng.integers(0, 3, n)],
    }


SCHOOLS = schools()

UNDETERMINED = {
    "y ~ 1 + (1 | school/cls)": {"school.(Intercept)", "cls:school.(Intercept)"},
    "y ~ 1 + (1 | school) + (1 | cls)": {"school.(Intercept)", "cls.(Intercept)"},
    "y ~ 1 + (1 | school) + (1 | school)": {"school.(Intercept)"},
    "y ~ x + (x | school) + (x | cls)": {
        f"{g}.{e}" for g in ("school", "cls") for e in ("(Intercept)", "x.(Intercept)", "x")
    },
    "y ~ x + (x | school) + (1 | cls)": {"school.(Intercept)", "cls.(Intercept)"},
    "y ~ 1 + (1 | school) + (0 + sex | school)": {
        "school.(Intercept)",
        "school.sexf",
        "school.sexm.sexf",
        "school.sexm",
    },
    "y ~ 1 + (k | school)": {"school.(Intercept)", "school.k.(Intercept)", "school.k"},
    "y ~ school + (1 | school)": {"school.(Intercept)"},
    "y ~ school + (1 | pair)": {"pair.(Intercept)"},
    "y ~ school + (x | school)": {"school.(Intercept)", "school.x.(Intercept)"},
    "y ~ school * x + (x || school)": {"school.(Intercept)", "school.x"},
    "y ~ school + (1 | pair/school)": {"school:pair.(Intercept)", "pair.(Intercept)"},
    "y ~ x + (1 | row)": {"row.(Intercept)"},
}

DETERMINED = [
    "y ~ x + (x | school)",
    "y ~ pair + (1 | school)",
    "y ~ 1 + (1 | pair/school)",
    "y ~ sex + (0 + sex | school)",
    "y ~ 1 + (year || school)",
    "y ~ 1 + (day || school)",
    "y ~ x + (1 | school) + (0 + x | cls)",
    "y ~ arm + (1 | school/arm)",
    "y ~ 0 + (1 | school)",
    "y ~ 0 + (x | school)",
]


def names_of(formula, reml=True):
    criterion = ProfiledCriterion(lmm.build_matrices(formula, SCHOOLS, control=CONTROL), reml=reml)
    where = undetermined(criterion.problem, reml)
    return {name for name, found in zip(criterion.names, where, strict=True) if found}


@pytest.mark.parametrize("formula", UNDETERMINED)
def test_what_is_not_determined_is_named(formula):
    assert names_of(formula) == UNDETERMINED[formula]


@pytest.mark.parametrize("formula", DETERMINED)
@pytest.mark.parametrize("reml", [True, False])
def test_what_is_determined_is_not(formula, reml):
    assert names_of(formula, reml) == set()


def test_maximum_likelihood_determines_what_fixed_effects_absorb():
    """Log|V| alone depends on it: the variance is zero."""
    assert names_of("y ~ school + (1 | school)", reml=False) == set()
    m = lmm.lmer(
        "y ~ school + (1 | school)",
        SCHOOLS,
        reml=False,
        control=lmm.LmerControl(check_conv_singular="ignore"),
    )
    assert m.optimum.converged
    assert m.theta[0] == 0.0


@pytest.mark.parametrize("formula", [*UNDETERMINED, *DETERMINED])
@pytest.mark.parametrize("reml", [True, False])
def test_the_information_at_zero_is_that_of_the_dense_solver(formula, reml):
    built = lmm.build_matrices(formula, SCHOOLS, control=CONTROL)
    criterion = ProfiledCriterion(built, reml, "dense")
    zero = criterion.pls.at(criterion.factors(0.0 * criterion.start)).derivatives(reml)
    S = built.parameters.units(built.parameters.start)
    difference = S @ (_traces(criterion.problem, reml) - zero.trace) @ S.T
    np.testing.assert_allclose(difference, 0.0, atol=1e-10)
    first = np.concatenate([block.ravel() for block in zero.logdet])
    np.testing.assert_allclose(_first(criterion.problem, reml), first, atol=1e-11)


@pytest.mark.parametrize("formula", UNDETERMINED)
def test_a_fit_says_so(formula):
    with pytest.warns(lmm.ConvergenceWarning, match="nothing in the data tells it from"):
        m = lmm.lmer(formula, SCHOOLS, control=CONTROL)
    assert m.optimum.status is Status.NOT_IDENTIFIED
    assert not m.converged
    assert not m.check_convergence()
    named = UNDETERMINED[formula]
    if len(named) == 1:
        assert f"Parameter: {named.copy().pop()}." in m.optimum.message


@pytest.mark.parametrize("formula", DETERMINED)
def test_a_fit_is_silent_where_all_is_determined(formula):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", lmm.SingularFitWarning)
        warnings.simplefilter("ignore", lmm.ScaleWarning)
        m = lmm.lmer(formula, SCHOOLS)
    assert m.optimum.converged
    assert m.check_convergence()


@pytest.mark.parametrize("solver", ["block", "sparse", "dense"])
def test_every_solver_says_so(solver):
    """Also those whose second derivatives are not exact."""
    rng = np.random.default_rng(3)
    a, b = rng.integers(0, 40, 400), rng.integers(0, 30, 400)
    data = {
        "y": rng.normal(size=400) + 0.1 * a,
        "a": a,
        "b": b,
        "copy": np.char.add("a", a.astype(str)),
    }
    with pytest.warns(lmm.ConvergenceWarning, match=r"Parameters: copy.\(Intercept\), a.\(Int"):
        lmm.lmer("y ~ 1 + (1 | a) + (1 | b) + (1 | copy)", data, solver=solver, control=CONTROL)


# Exact fits --------------------------------------------------------------------------------------


def copied(seed, effect=0.0):
    """A value of each of twenty subjects, on five rows each, and a covariate of the rows."""
    rng = np.random.default_rng(seed)
    subject = np.repeat(np.arange(20), 5)
    arm = np.where(subject % 2, "drug", "placebo")
    value = rng.normal(size=20).round(3)
    y = 100.0 + value[subject] + effect * (arm == "drug")
    return {"y": y, "id": subject, "arm": arm, "x": rng.normal(size=100)}


@pytest.mark.parametrize("formula", ["y ~ 1 + (1 | id)", "y ~ arm + (1 | id)", "y ~ x + (1 | id)"])
@pytest.mark.parametrize("seed", range(4))
def test_a_response_copied_over_rows_has_no_optimum(formula, seed):
    with pytest.warns(lmm.ConvergenceWarning, match="residual variance goes to zero"):
        m = lmm.lmer(formula, copied(seed))
    assert m.optimum.status is Status.UNBOUNDED
    assert not m.check_convergence()


def test_estimates_of_an_exact_fit_are_near_their_limit():
    """Balanced: the difference of the arms' means, whatever theta is."""
    data = copied(0, effect=0.5)
    with pytest.warns(lmm.ConvergenceWarning):
        m = lmm.lmer("y ~ arm + (1 | id)", data)
    y, arm = data["y"], data["arm"]
    difference = y[arm == "placebo"].mean() - y[arm == "drug"].mean()
    assert m.beta[1] == pytest.approx(difference, abs=1e-9)


def test_an_exact_line_with_constants_of_groups_has_no_optimum():
    data = {"y": [1.0, 2, 13, 14, 5, 6], "x": [1.0, 2, 3, 4, 5, 6], "g": list("aabbcc")}
    with pytest.warns(lmm.ConvergenceWarning, match="residual variance goes to zero"):
        m = lmm.lmer("y ~ x + (1 | g)", data)
    assert m.optimum.status is Status.UNBOUNDED


def test_many_responses_are_judged_the_same():
    s = lmm.load_dataset("sleepstudy")
    rng = np.random.default_rng(34)
    m = lmm.lmer("Reaction ~ Days + (1 | Subject)", s)
    constant = np.repeat(rng.normal(size=18), 10)
    noise = rng.normal(size=180)
    responses = np.column_stack([constant, constant + 1e-9 * noise, constant + noise])
    many = lmm.refit_many(m, responses)
    assert many.converged.tolist() == [False, False, True]


def test_residuals_within_rounding_are_told():
    s = lmm.load_dataset("sleepstudy")
    rng = np.random.default_rng(34)
    y = np.repeat(rng.normal(size=18), 10) + 1e-9 * rng.normal(size=180)
    with pytest.warns(lmm.ConvergenceWarning, match="rounding errors hide the minimum"):
        m = lmm.lmer("y ~ Days + (1 | Subject)", s.assign(y=y))
    assert m.optimum.status is Status.ROUNDING
