"""Intervals of predictions cover what they say (the fast version of benchmarks/coverage.py)."""

import pytest

from benchmarks.coverage import DESIGNS, coverage

# Monte Carlo error of 60 replicates: two percentage points are at least two standard errors for
# unseen levels, whose effects share their errors, and four for seen ones.
TOLERANCE = {"seen": 1.0, "unseen": 2.5}


@pytest.mark.slow
@pytest.mark.parametrize("name", DESIGNS)
@pytest.mark.filterwarnings("ignore::lmm.SingularFitWarning")
def test_95_percent_intervals_cover_95_percent(name):
    table = coverage(DESIGNS[name](), 60)
    for levels, tolerance in TOLERANCE.items():
        assert (table[levels] - 95.0).abs().max() < tolerance, table
