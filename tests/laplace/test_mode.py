"""The conditional mode of the random effects."""

import pytest

import lmm


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
