"""Adjusted p-values and limits: their distributions and the laws between them."""

import numpy as np
import pytest
from scipy import stats

from lmm.inference.marginal import (
    ADJUSTMENTS,
    Family,
    adjusted_p_values,
    contrasts_of,
    critical_values,
)
from lmm.inference.marginal.adjustments import studentized_range

T = np.array([0.4, 1.1, 1.9, 2.4, 2.9, 3.6])


def all_pairs(k: int, df: float) -> Family:
    C = contrasts_of("pairwise", [str(i) for i in range(k)]).coefficients
    return Family(np.full(len(C), df), C @ C.T / 2.0, k)


@pytest.mark.parametrize("k, df", [(2, 2.5), (3, 15.6), (6, 210.0), (18, 77.4), (40, 12.0)])
def test_studentized_range_is_that_of_scipy(k, df):
    q = np.array([1.0, 3.0, 5.0])
    expected = stats.studentized_range.cdf(q, k, df)
    np.testing.assert_allclose([studentized_range(x, k, df) for x in q], expected, atol=1e-11)


def test_studentized_range_of_normal_variables():
    # R: ptukey(3.633, 4, Inf) is 0.95
    assert studentized_range(3.633160, 4, np.inf) == pytest.approx(0.95, abs=1e-6)


@pytest.mark.parametrize("k, tolerance", [(3, 1e-8), (4, 1e-4)])
def test_largest_of_all_differences_is_tukeys(k, tolerance):
    # In the plane directions are equally spaced; above, quasi-random.
    family = all_pairs(k, 20.0)
    t = np.linspace(0.5, 4.0, family.size)
    expected = adjusted_p_values("tukey", t, family)
    np.testing.assert_allclose(adjusted_p_values("mvt", t, family), expected, atol=tolerance)
    limits = critical_values("tukey", 0.95, family)
    np.testing.assert_allclose(critical_values("mvt", 0.95, family), limits, atol=10 * tolerance)


def test_dunnetts_table():
    # Dunnett (1964), Biometrics 20, table II: two-sided 5 % points, 10 df, against one control
    for k, point in ((2, 2.57), (3, 2.76), (5, 2.99)):
        C = contrasts_of("trt.vs.ctrl", [str(i) for i in range(k + 1)]).coefficients
        family = Family(np.full(k, 10.0), C @ C.T / 2.0)
        assert critical_values("mvt", 0.95, family)[0] == pytest.approx(point, abs=0.01)


def test_independent_normal_variables():
    family = Family(np.full(3, np.inf), np.eye(3))
    expected = adjusted_p_values("sidak", T[:3], family)
    np.testing.assert_allclose(adjusted_p_values("mvt", T[:3], family), expected, atol=1e-4)


@pytest.mark.parametrize("adjustment", [name for name in ADJUSTMENTS if name != "none"])
def test_adjusted_p_values_keep_order_and_do_not_shrink(adjustment):
    family = all_pairs(4, 30.0)
    raw = adjusted_p_values("none", T, family)
    adjusted = adjusted_p_values(adjustment, T, family)
    assert (adjusted >= raw - 1e-12).all()
    assert (np.diff(adjusted) <= 1e-12).all()
    assert (adjusted <= 1.0).all()


@pytest.mark.parametrize("adjustment", ["none", "tukey", "bonferroni", "sidak", "mvt"])
def test_limits_invert_tests(adjustment):
    family = all_pairs(4, 30.0)
    reach = critical_values(adjustment, 0.9, family)
    np.testing.assert_allclose(adjusted_p_values(adjustment, reach, family), 0.1, rtol=1e-6)


def test_stepwise_methods_are_those_of_r():
    # R: p.adjust(c(0.01, 0.04, 0.03, 0.5), "holm"), "fdr"
    p = np.array([0.01, 0.04, 0.03, 0.5])
    family = Family(np.full(4, np.inf), np.eye(4))
    t = stats.norm.isf(p / 2)
    np.testing.assert_allclose(adjusted_p_values("holm", t, family), [0.04, 0.09, 0.09, 0.5])
    fdr = [0.04, 0.16 / 3, 0.16 / 3, 0.5]
    np.testing.assert_allclose(adjusted_p_values("fdr", t, family), fdr)
