"""Gradient and Hessian of the Laplace criterion against central differences."""

import numpy as np
import pytest

from laplace.cases import FAMILIES, STRUCTURES, simulated
from lmm.criterion.base import Move
from lmm.laplace import LaplaceCriterion

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
    first = criterion.evaluate(x)
    near = Move(first, np.zeros(criterion.model.width), 0.0)
    here = criterion.evaluate(x, near)
    gradient, hessian = differences(criterion, x)
    assert here.exact
    size = np.sqrt(np.abs(np.diag(hessian)))
    np.testing.assert_allclose(here.gradient, gradient, rtol=1e-6, atol=1e-6 * size.max())
    np.testing.assert_allclose(here.hessian, hessian, rtol=1e-5, atol=1e-6 * size.max() ** 2)
