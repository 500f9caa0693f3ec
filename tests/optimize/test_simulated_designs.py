"""A grid of 500 small well-posed designs, and harder ones: no false warning, no worse fit."""

import warnings

import numpy as np
import pytest

import lmm
from simulated import STRESS, WELL_POSED, Design, stressful, well_posed

# No fit may be above the best of all optimizers by more.
WORSE = 1e-6
# Which designs also meet the slow searches without derivatives.
EVERY = 25


def fit(design: Design) -> lmm.LinearMixedModel:
    """The fit; warns of nothing but singularity."""
    weights = "weight" if "weight" in design.data else None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", lmm.SingularFitWarning)
        return lmm.lmer(design.formula, design.data, reml=design.reml, weights=weights)


def best_of_others(m: lmm.LinearMixedModel, searches: tuple[str, ...]) -> float:
    """Smallest criterion that the other optimizers find from several starts."""
    criterion = m.fit.criterion
    rng = np.random.default_rng(1)
    spread = np.exp(rng.standard_normal(len(criterion.lower)))
    starts = [None, *(criterion.to_theta(s * criterion.start) for s in (1.0, spread))]
    values = [lmm.minimize(criterion, "L-BFGS-B", start=start).value for start in starts]
    values += [lmm.minimize(criterion, name).value for name in searches]
    return min(values)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [kind.__name__ for kind in WELL_POSED])
def test_well_posed_designs(kind):
    designs = [d for d in enumerate(well_posed(500)) if d[1].name.startswith(f"{kind}-")]
    for i, design in designs:
        m = fit(design)
        optimum = m.optimum
        assert optimum.converged, design.name
        # A singular fit is searched for twice.
        assert optimum.n_evaluations <= (24 if optimum.boundary else 12), design.name
        searches = ("COBYQA", "Nelder-Mead") if i % EVERY == 0 else ()
        assert optimum.value <= best_of_others(m, searches) + WORSE, design.name
        # Called singular if and only if a variance is exactly zero in some direction.
        assert m.is_singular() == bool(optimum.boundary), design.name


@pytest.mark.slow
@pytest.mark.parametrize("kind", [kind.__name__.strip("_") for kind in STRESS])
def test_hard_designs(kind):
    for design in stressful(6 * len(STRESS)):
        if design.name.startswith(f"{kind}-"):
            m = fit(design)
            assert m.optimum.converged, design.name
            assert m.optimum.n_evaluations <= 24, design.name
            assert m.optimum.value <= best_of_others(m, ()) + WORSE, design.name


def test_singular_is_not_a_matter_of_ratios():
    """Intercepts a thousand times as variable as slopes are not a singular fit."""
    for design in stressful(10 * len(STRESS)):
        if design.name.startswith("huge_ratio"):
            m = fit(design)
            assert not m.is_singular(), design.name
            assert max(m.theta) > 300.0
