"""Several minima, saddles, narrow valleys: no fit ends above the best known one."""

import warnings

import numpy as np
import pandas as pd
import pytest

import lmm
from hard import CONTROL, Hard, hard
from lmm.optimize import Status, minimize
from reference import FOLDER

# No fit may be above the best of all optimizers by more.
WORSE = 1e-6

# The smallest value that any of R's optimizers, L-BFGS-B and COBYQA find.
TABLES = {
    "cells": ("y ~ f + (f:f2 | g)", 540.060944),
    "independent_slope": ("y ~ o * x + (t || g)", 548.805736),
    "constant_in_groups": (
        "y ~ 0 + ifelse(w > 1, 1, 0) + l:x + (f | g) + (t || h)",
        -1034.678152,
    ),
    "far_origin": ("y ~ l + (x + 0 | g) + (1 | g)", 238.235115),
    "years": ("y ~ x + (x || g)", 339.358792),
    "years_no_slope": ("y ~ 1 + (x || g)", 481.234484),
}


def table(name):
    data = pd.read_csv(FOLDER / "optima" / f"{name}.csv")
    for column in {"g", "h"} & set(data):
        # What is missing becomes a level "nan" in pandas 2.
        data[column] = data[column].astype(str).where(data[column].notna())
    levels = ["low", "medium", "high"]
    if "o" in data and set(data["o"]) <= set(levels):
        data["o"] = pd.Categorical(data["o"], levels, ordered=True)
    return data


@pytest.mark.parametrize("name", TABLES)
def test_known_tables_end_at_their_best_known_optimum(name):
    formula, best = TABLES[name]
    built = lmm.build_matrices(formula, table(name), control=CONTROL)
    optimum = minimize(lmm.ProfiledCriterion(built))
    assert optimum.value <= best + WORSE
    assert optimum.status in (Status.CONVERGED, Status.NOT_IDENTIFIED)
    assert optimum.n_evaluations <= 60


def test_sitka_in_calendar_years():
    data = lmm.load_dataset("Sitka")
    data["Year"] = data["Time"] / 365 + 1990
    built = lmm.build_matrices("size ~ Year + (Year || tree)", data)
    optimum = minimize(lmm.ProfiledCriterion(built))
    assert optimum.converged
    assert optimum.value <= 152.974189 + WORSE


@pytest.mark.parametrize("i, best", [(76, -5.624959), (111, 23.335351)])
def test_the_lower_of_two_minima_of_weighted_slopes(i, best):
    """From moments the search ends on the boundary, 100 and 26 above the minimum inside."""
    rng = np.random.default_rng([11, i])
    n_levels = int(rng.integers(3, 14))
    g = np.repeat(np.arange(n_levels), rng.integers(2, 9, n_levels))
    x = rng.normal(size=len(g))
    sd = [float(rng.choice([0, 0.05, 0.3, 1, last])) for last in (4, 3)]
    noise = float(rng.choice([0.05, 1, 1, 3]))
    b = [scale * rng.normal(size=n_levels)[g] for scale in sd]
    y = 1 + 0.5 * x + b[0] + b[1] * x + noise * rng.normal(size=len(g))
    data = {"y": y, "x": x, "g": g.astype(str), "w": rng.choice([0.01, 1, 1, 5, 1000], len(g))}
    reml = bool(rng.random() < 0.6)
    built = lmm.build_matrices("y ~ x + (x | g)", data, weights="w", control=CONTROL)
    optimum = minimize(lmm.ProfiledCriterion(built, reml=reml))
    assert optimum.converged
    assert optimum.value <= best + WORSE


def best_of_others(criterion):
    """Smallest criterion that L-BFGS-B finds from several starts."""
    rng = np.random.default_rng(1)
    spread = np.exp(2.0 * rng.standard_normal(len(criterion.lower)))
    starts = [criterion.to_theta(scale * criterion.start) for scale in (0.1, 1.0, 10.0, spread)]
    return min(minimize(criterion, "L-BFGS-B", start=start).value for start in (None, *starts))


def check(design: Hard) -> None:
    criterion = design.criterion()
    optimum = minimize(criterion)
    if optimum.status in (Status.UNBOUNDED, Status.ROUNDING):
        return
    best = best_of_others(criterion)
    assert optimum.value <= best + max(WORSE, 1e-9 * abs(best)), design.name
    assert optimum.status in (Status.CONVERGED, Status.NOT_IDENTIFIED), design.name


@pytest.mark.parametrize("design", list(hard(40)), ids=lambda design: design.name)
def test_hard_designs(design):
    check(design)


# Two singular covariances for 26 effects, next to no noise: all starts lead to the higher minimum.
MISSED = "crossed-109"


@pytest.mark.slow
@pytest.mark.parametrize(
    "design",
    [design for design in list(hard(300))[40:] if design.name != MISSED],
    ids=lambda design: design.name,
)
def test_more_hard_designs(design):
    check(design)


def test_a_start_of_ones_own_reaches_a_minimum_that_the_others_miss():
    criterion = next(design for design in hard(110) if design.name == MISSED).criterion()
    found = minimize(criterion)
    lower = minimize(criterion, start=criterion.to_theta(100.0 * criterion.start))
    assert found.converged
    assert lower.converged
    assert lower.value < found.value - 1.0


STRUCTURED = ["diag(0 + f | g)", "cs(0 + f | g)", "ar1(0 + f | g)", "toep(0 + f | g)", "cs(x | g)"]


@pytest.mark.parametrize("seed", range(15))
def test_structured_covariances_on_their_bounds(seed):
    """Standard deviations of zero beside correlations of one, and a saddle as high as its start."""
    rng = np.random.default_rng(seed)
    n_levels = int(rng.integers(6, 25))
    g, t = np.repeat(np.arange(n_levels), 8), np.tile(np.arange(4), 2 * n_levels)
    b = rng.normal(size=(n_levels, 4)) * rng.choice([0, 0.3, 1, 2], 4)
    b = b + rng.normal(size=n_levels)[:, None] * rng.choice([0, 0.5, 2])
    y = b[g, t] + rng.normal(size=len(g))
    data = {"y": y, "g": g.astype(str), "f": np.array(list("abcd"))[t]}
    data["x"] = rng.normal(size=len(g))
    formula = f"y ~ x + {STRUCTURED[seed % len(STRUCTURED)]}"
    criterion = lmm.ProfiledCriterion(lmm.build_matrices(formula, data, control=CONTROL))
    optimum = minimize(criterion)
    assert optimum.converged
    starts = (None, criterion.parameters.start)
    best = min(minimize(criterion, "L-BFGS-B", start=start).value for start in starts)
    assert optimum.value <= best + WORSE


# Nested models -----------------------------------------------------------------------------------

WEIGHTED = {"weights": "wt", "control": CONTROL}


@pytest.fixture
def weighted_slopes():
    data = table("weighted_slopes")
    data["f"] = pd.Categorical(data["f"], ["hi", "mid", "lo"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", lmm.LmmWarning)
        yield data


def test_maximum_likelihood_is_searched_for_from_the_reml_estimates_too(weighted_slopes):
    """R's refitML gives 201.3349; from the moments alone the search ends at 218.8."""
    m = lmm.lmer("y ~ z * f + o + (x | g)", weighted_slopes, **WEIGHTED)
    assert m.refit_ml().deviance() == pytest.approx(201.3349, abs=1e-4)


def test_single_term_deletions_of_r(weighted_slopes):
    m = lmm.lmer("y ~ z * f + o + (x | g)", weighted_slopes, **WEIGHTED)
    frame = m.drop1(test="Chisq").to_frame()
    np.testing.assert_allclose(frame["AIC"], [225.34, 279.77, 223.24], atol=0.006)
    np.testing.assert_allclose(frame["LRT"][1:], [58.436, 1.900], atol=5e-4)


def test_a_larger_model_is_searched_for_from_a_smaller_one(weighted_slopes):
    """Fitted on its own the larger one ends 15.6 above the smaller one."""
    large = lmm.lmer("y ~ z * f + o + (x | g)", weighted_slopes, reml=False, **WEIGHTED)
    small = lmm.lmer("y ~ z + f + o + (x | g)", weighted_slopes, reml=False, **WEIGHTED)
    comparison = lmm.anova(small, large).to_frame()
    assert comparison["Chisq"].iloc[1] == pytest.approx(1.900, abs=5e-4)
    assert large.lowered([small.fit]).deviance() <= small.deviance()


def test_covariances_are_carried_by_name():
    data = lmm.load_dataset("sleepstudy")
    independent = lmm.lmer("Reaction ~ Days + (Days || Subject)", data, reml=False)
    full = lmm.lmer("Reaction ~ Days + (Days | Subject)", data, reml=False)
    criterion = full.fit.criterion
    carried = independent.fit.carried_to(criterion)
    assert criterion(carried) == pytest.approx(independent.deviance(), abs=1e-9)
    back = full.fit.carried_to(independent.fit.criterion)
    variances = np.diag(full.fit.factors[0] @ full.fit.factors[0].T)
    np.testing.assert_allclose(back**2, variances, rtol=1e-12)
    intercepts = lmm.lmer("Reaction ~ Days + (1 | Subject)", data, reml=False)
    carried = intercepts.fit.carried_to(criterion)
    assert criterion(carried) == pytest.approx(intercepts.deviance(), abs=1e-8)


@pytest.mark.parametrize("i", range(12))
@pytest.mark.filterwarnings("ignore::lmm.LmmWarning")
def test_likelihood_ratios_are_not_negative(i):
    design = next(d for d in list(hard(5 * i + 3))[-1:])
    models = [
        lmm.lmer(formula, design.data, weights=design.weights, reml=False, control=CONTROL)
        for formula in ("y ~ 1 + (1 | g)", "y ~ x + (1 | g)", "y ~ x + (x | g)")
    ]
    deviances = [m.fit.optimum.value for m in models]
    table = lmm.anova(*models).to_frame()
    assert np.all(np.diff(table["deviance"]) <= 1e-6)
    assert np.all(np.sort(table["deviance"])[::-1] <= np.array(deviances) + 1e-9)
