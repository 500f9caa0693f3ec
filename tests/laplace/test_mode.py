"""The conditional mode of the random effects."""

import numpy as np
import pytest

import lmm
from lmm.criterion import Move


@pytest.mark.parametrize(
    "link, loglik",
    [
        ("logit", -92.026282),
        ("probit", -92.621223),
        ("cloglog", -91.802038),
        ("cauchit", -90.801148),
    ],
)
def test_links_whose_observed_information_may_be_indefinite(link, loglik):
    """At the start with cauchit; glmer ends at -90.80141."""
    formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
    m = lmm.glmer(formula, lmm.load_dataset("cbpp"), lmm.Binomial(link))
    assert m.converged
    assert m.loglik() == pytest.approx(loglik, abs=2e-6)


def test_values_do_not_depend_on_where_a_search_came_from():
    """A mode is first predicted from the one before: at worst by weights 1e20 times too large."""
    rng = np.random.default_rng(1)
    a, b = rng.integers(0, 7, 200), rng.integers(0, 13, 200)
    x, z = rng.normal(size=(2, 200))
    eta = 0.5 * x + 2.0 * rng.normal(size=7)[a] + 0.5 * rng.normal(size=13)[b]
    data = {"y": rng.poisson(np.exp(eta)), "x": x, "z": z, "a": a, "b": b}
    m = lmm.glmer("y ~ x + (z | b) + (1 | a)", data, family="poisson")
    criterion, end = m.fit.criterion, m.optimum.x
    expected = criterion.value(end)
    for step in 3.0 * rng.normal(size=(40, len(end))):
        move = Move(criterion.evaluate(end + step), -step, 1.0)
        assert criterion.evaluate(end, move).value == pytest.approx(expected, rel=1e-9)
