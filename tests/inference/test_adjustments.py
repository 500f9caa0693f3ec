"""Adjusted p-values and limits: their distributions and the laws between them."""

import numpy as np
import pytest
from scipy import stats

from lmm.inference.marginal.adjustments import (
    ADJUSTMENTS,
    SimultaneousTests,
    adjusted_p_values,
    critical_values,
)
from lmm.inference.marginal.contrast_families import contrasts_of
from lmm.inference.marginal.distributions import studentized_range

T = np.array([0.4, 1.1, 1.9, 2.4, 2.9, 3.6])


def all_pairs(k: int, df: float) -> SimultaneousTests:
    C = contrasts_of("pairwise", [str(i) for i in range(k)]).coefficients
    return SimultaneousTests(np.full(len(C), df), C @ C.T / 2.0, k)


@pytest.mark.parametrize("k, df", [(2, 2.5), (3, 15.6), (6, 210.0), (18, 77.4), (40, 12.0)])
def test_studentized_range_is_that_of_scipy(k, df):
    q = np.array([1.0, 3.0, 5.0])
    expected = stats.studentized_range.cdf(q, k, df)
    np.testing.assert_allclose([studentized_range(x, k, df) for x in q], expected, atol=1e-11)


def test_studentized_range_of_normal_variables():
    # R: ptukey(3.633, 4, Inf) is 0.95
    assert studentized_range(3.633160, 4, np.inf) == pytest.approx(0.95, abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("k, tolerance", [(3, 1e-8), (4, 1e-4)])
def test_largest_of_all_differences_is_tukeys(k, tolerance):
    # In the plane directions are equally spaced; above, quasi-random.
    family = all_pairs(k, 20.0)
    t = np.linspace(0.5, 4.0, family.size)
    expected = adjusted_p_values("tukey", t, family)
    np.testing.assert_allclose(adjusted_p_values("mvt", t, family), expected, atol=tolerance)
    limits = critical_values("tukey", 0.95, family)
    np.testing.assert_allclose(critical_values("mvt", 0.95, family), limits, atol=10 * tolerance)


@pytest.mark.slow
def test_dunnetts_table():
    # Dunnett (1964), Biometrics 20, table II: two-sided 5 % points, 10 df, against one control
    for k, point in ((2, 2.57), (3, 2.76), (5, 2.99)):
        C = contrasts_of("trt.vs.ctrl", [str(i) for i in range(k + 1)]).coefficients
        family = SimultaneousTests(np.full(k, 10.0), C @ C.T / 2.0)
        assert critical_values("mvt", 0.95, family)[0] == pytest.approx(point, abs=0.01)


def test_independent_normal_variables():
    family = SimultaneousTests(np.full(3, np.inf), np.eye(3))
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
    family = SimultaneousTests(np.full(4, np.inf), np.eye(4))
    t = stats.norm.isf(p / 2)
    np.testing.assert_allclose(adjusted_p_values("holm", t, family), [0.04, 0.09, 0.09, 0.5])
    fdr = [0.04, 0.16 / 3, 0.16 / 3, 0.5]
    np.testing.assert_allclose(adjusted_p_values("fdr", t, family), fdr)


# R: p.adjust(p, method)
P = np.array([0.01, 0.013, 0.014, 0.19, 0.35, 0.5])
OF_R = {
    "hochberg": [0.056, 0.056, 0.056, 0.5, 0.5, 0.5],
    "hommel": [0.04, 0.052, 0.056, 0.5, 0.5, 0.5],
    "BY": [0.0686, 0.0686, 0.0686, 0.69825, 1.0, 1.0],
}


@pytest.mark.parametrize("adjustment", OF_R)
def test_more_stepwise_methods_are_those_of_r(adjustment):
    family = SimultaneousTests(np.full(6, np.inf), np.eye(6))
    t = stats.norm.isf(P / 2)
    np.testing.assert_allclose(
        adjusted_p_values(adjustment, t, family), OF_R[adjustment], rtol=1e-6
    )
    backwards = adjusted_p_values(adjustment, t[::-1], family)
    np.testing.assert_allclose(backwards[::-1], OF_R[adjustment], rtol=1e-6)


@pytest.mark.parametrize("tail", [-1, 1])
def test_one_sided_tests_of_correlated_variables(tail):
    C = contrasts_of("trt.vs.ctrl", ["a", "b", "c", "d"]).coefficients
    family = SimultaneousTests(np.full(3, 9.0), C @ C.T / 2.0, tail=tail)
    joint = stats.multivariate_t(shape=family.correlation, df=9, seed=1)
    t = np.array([-1.5, 0.3, 2.2])
    expected = [1.0 - joint.cdf(np.full(3, tail * x), maxpts=200_000) for x in t]
    np.testing.assert_allclose(adjusted_p_values("mvt", t, family), expected, atol=1e-4)
    reach = critical_values("mvt", 0.9, family)
    np.testing.assert_allclose(adjusted_p_values("mvt", tail * reach, family), 0.1, rtol=1e-6)


def test_one_sided_tests_have_one_tail():
    family = SimultaneousTests(np.full(6, 7.0), np.eye(6), tail=1)
    np.testing.assert_allclose(adjusted_p_values("none", T, family), stats.t.sf(T, 7.0))
    sidak = -np.expm1(6 * np.log1p(-stats.t.sf(T, 7.0)))
    np.testing.assert_allclose(adjusted_p_values("sidak", T, family), sidak)
    scheffe = adjusted_p_values("scheffe", T, family)
    np.testing.assert_allclose(scheffe, sidak)  # it is for two-sided tests only


def test_scheffes_limits_hold_for_all_combinations():
    family = all_pairs(4, 25.0)
    assert family.rank == 3
    reach = critical_values("scheffe", 0.95, family)
    np.testing.assert_allclose(reach, np.sqrt(3 * stats.f.isf(0.05, 3, 25.0)))
    np.testing.assert_allclose(adjusted_p_values("scheffe", reach, family), 0.05)
    assert family.df[0] == 25.0


@pytest.mark.parametrize("adjustment", ["tukey", "mvt"])
def test_limits_at_many_degrees_of_freedom_are_interpolated(adjustment):
    k = 6
    one = all_pairs(k, 10.0)
    df = np.linspace(4.3, 60.0, one.size)
    many = SimultaneousTests(df, one.correlation, k)
    limits = critical_values(adjustment, 0.95, many)
    for i in (0, 7, 14):
        single = SimultaneousTests(np.full(one.size, df[i]), one.correlation, k)
        assert limits[i] == pytest.approx(critical_values(adjustment, 0.95, single)[0], rel=1e-6)
