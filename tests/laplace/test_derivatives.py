"""Gradient and Hessian of the Laplace criterion against central differences."""

import numpy as np
import pytest

import lmm
import lmm.family.base
import lmm.laplace.row_block
from laplace.cases import FAMILIES, STRUCTURES, simulated
from lmm.criterion import Move
from lmm.laplace import Expansion, LaplaceCriterion
from lmm.laplace.level_expansion import LevelExpansion

STEP = 1e-5


def differences(criterion, x):
    """Gradient from values, and Hessian from gradients."""
    gradient, hessian = [], []
    for unit in np.eye(len(x)):
        up, down = (criterion.evaluate(x + s * STEP * unit) for s in (1.0, -1.0))
        gradient.append((up.value - down.value) / (2.0 * STEP))
        hessian.append((up.gradient - down.gradient) / (2.0 * STEP))
    return np.array(gradient), np.array(hessian)


# Families with their kinds of information, which are one for canonical links.
PAIRS = [
    (family, information)
    for family in FAMILIES
    for information in (["expected"] if family.is_canonical else ["expected", "observed"])
]
ALWAYS = ("slopes", "crossed")
KINDS = [s if s in ALWAYS else pytest.param(s, marks=pytest.mark.slow) for s in STRUCTURES]


@pytest.mark.parametrize("structure", KINDS)
@pytest.mark.parametrize("family, information", PAIRS, ids=str)
def test_derivatives(family, structure, information):
    matrices = simulated(family, STRUCTURES[structure])
    criterion = LaplaceCriterion(matrices, family, information=information)
    x = next(iter(criterion.starts()))
    here = criterion.exact(criterion.evaluate(x))
    gradient, hessian = differences(criterion, x)
    assert here.exact
    size = np.sqrt(np.abs(np.diag(hessian)))
    np.testing.assert_allclose(here.gradient, gradient, rtol=1e-6, atol=1e-6 * size.max())
    np.testing.assert_allclose(here.hessian, hessian, rtol=1e-5, atol=1e-6 * size.max() ** 2)


@pytest.mark.parametrize("structure", ["crossed", "slopes and crossed"])
def test_what_a_hessian_lacks_is_learned_from_gradients(structure):
    """After a step the Hessians at both ends explain how the gradient has changed."""
    family = lmm.Binomial()
    criterion = LaplaceCriterion(simulated(family, STRUCTURES[structure]), family)
    x = next(iter(criterion.starts()))
    first = criterion.evaluate(x)
    step = 1e-2 * np.arange(1.0, len(x) + 1.0)
    move = Move(first, first.expansion.chain @ step, 0.1)
    here = criterion.evaluate(x + step, move)
    assert not first.exact
    assert not here.exact
    mean = 0.5 * (first.hessian + here.hessian - here.missing) + here.missing
    np.testing.assert_allclose(mean @ step, here.gradient - first.gradient, rtol=1e-9)
    exact = criterion.exact(here)
    assert exact.exact
    plain = here.hessian - here.missing
    np.testing.assert_allclose(exact.hessian, plain + exact.missing, rtol=1e-12)
    both = [own.hessian @ step for own in (exact, criterion.exact(first))]
    np.testing.assert_allclose(0.5 * (both[0] + both[1]), mean @ step, rtol=1e-2)


def test_a_search_computes_the_whole_hessian_once(monkeypatch):
    """Several factors: nothing but the end of the search asks for the dearest terms."""
    family = lmm.Binomial()
    criterion = LaplaceCriterion(simulated(family, STRUCTURES["crossed"]), family)
    dear = []
    terms = Expansion._dear_terms.func
    monkeypatch.setattr(
        Expansion, "_dear_terms", property(lambda self: dear.append(self) or terms(self))
    )
    optimum = lmm.minimize(criterion)
    assert optimum.converged
    assert optimum.exact_hessian
    assert len(dear) == 1


def test_rows_in_blocks_give_what_they_give_at_once(monkeypatch):
    """One factor: rows are read some at a time, and so are levels."""
    family = lmm.NegativeBinomial()
    matrices = simulated(family, STRUCTURES["slopes"])
    x = next(iter(LaplaceCriterion(matrices, family).starts()))
    at_once = LaplaceCriterion(matrices, family).evaluate(x)
    monkeypatch.setattr(lmm.family.base, "BLOCK", 50)
    monkeypatch.setattr(lmm.laplace.row_block, "SMALL", 0)
    monkeypatch.setattr(lmm.laplace.level_expansion, "LEVELS", 5)
    by_blocks = LaplaceCriterion(matrices, family).evaluate(x)
    assert len(by_blocks.expansion.model.row_blocks) == 3
    np.testing.assert_allclose(by_blocks.gradient, at_once.gradient, rtol=1e-9)
    np.testing.assert_allclose(by_blocks.hessian, at_once.hessian, rtol=1e-9)
    change = np.ones(len(x))
    np.testing.assert_allclose(
        by_blocks.predicted_v(change), at_once.predicted_v(change), rtol=1e-9
    )


@pytest.mark.parametrize("nagq", [0, 1])
@pytest.mark.parametrize("structure", ["one", "slopes"])
@pytest.mark.parametrize("family, information", PAIRS, ids=str)
def test_sums_over_levels_give_what_rows_give(family, structure, information, nagq):
    """One factor: no derivative needs an array with a row per observation."""
    matrices = simulated(family, STRUCTURES[structure])
    criterion = LaplaceCriterion(matrices, family, nagq, information)
    x = next(iter(criterion.starts()))
    here = criterion.evaluate(x)
    own = here.expansion
    assert isinstance(own, LevelExpansion)
    by_row = Expansion(own.model, own.place, own.mode, information).evaluation()
    size = np.abs(by_row.hessian).max()
    assert here.value == pytest.approx(by_row.value, rel=1e-12)
    np.testing.assert_allclose(here.gradient, by_row.gradient, rtol=1e-8, atol=1e-9 * size)
    np.testing.assert_allclose(here.hessian, by_row.hessian, rtol=1e-8, atol=1e-9 * size)
    np.testing.assert_allclose(here.information, by_row.information, rtol=1e-8, atol=1e-9 * size)
    change = np.arange(1.0, own.model.width + 1.0)
    for name in ("eta_along", "v_along"):
        expected = getattr(by_row.expansion, name)(change)
        found = getattr(own, name)(change)
        np.testing.assert_allclose(found, expected, atol=1e-9 * np.abs(expected).max())
    expected = by_row.expansion.effects_along()
    atol = 1e-9 * np.abs(expected).max()
    np.testing.assert_allclose(own.effects_along(), expected, atol=atol)
    if nagq == 0:
        expected = by_row.expansion.inner_information
        np.testing.assert_allclose(own.inner_information, expected, rtol=1e-9, atol=1e-9)
