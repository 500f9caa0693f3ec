"""Arrows of means that overlap where the means do not differ."""

import matplotlib as mpl

mpl.use("Agg")

import numpy as np
import pytest
from numpy.testing import assert_allclose

import lmm
from lmm.tables.emmeans.arrows import arrow_lengths, comparison_arrows

PAIRS = np.array([[0, 1], [0, 2], [1, 2]])


@pytest.fixture(scope="module")
def cake():
    formula = "angle ~ recipe + temperature + (1 | recipe:replicate)"
    return lmm.lmer(formula, lmm.load_dataset("cake"))


def test_arrows_are_those_of_emmeans(cake):
    # plot(emmeans(m, "temperature"), comparisons = TRUE, plotit = FALSE): lcmpl, rcmpl
    means = lmm.emmeans(cake, "temperature")
    arrows = comparison_arrows(means, means.pairs())
    left = [np.nan, 28.58421, 30.05087, 30.80643, 34.47310, 33.98421]
    right = [29.34913, 31.32690, 32.79357, 33.54913, np.nan]
    assert_allclose(arrows.left, left, atol=1e-5)
    assert_allclose(arrows.right[:5], right, atol=1e-5)
    assert arrows.wrong == ()


@pytest.mark.parametrize("seed", range(8))
def test_arrows_of_unequal_means_overlap_where_tests_are_not_significant(seed):
    rng = np.random.default_rng(seed)
    t = np.repeat(np.arange(7), rng.integers(2, 30, 7))
    y = 0.8 * rng.standard_normal(7)[t] + rng.uniform(0.3, 2.0) * rng.standard_normal(len(t))
    d = {"y": y, "t": t.astype(str), "b": rng.integers(0, 8, len(t)).astype(str)}
    m = lmm.lmer("y ~ t + (1 | b)", d, control=lmm.LmerControl(check_conv_singular="ignore"))
    means = lmm.emmeans(m, "t")
    pairs = means.pairs()
    arrows, order = comparison_arrows(means, pairs), means.to_frame()["emmean"].to_numpy()
    assert arrows.wrong == ()
    for ends, p in zip(pairs.differences, pairs.to_frame()["p.value"], strict=True):
        low, high = sorted(ends, key=order.__getitem__)
        assert (arrows.right[low] >= arrows.left[high]) == (p >= 0.05)


def test_significance_that_least_squares_gets_wrong_moves_the_lengths():
    gaps, margins = np.array([0.0, 1.0, 2.0]), np.array([0.5, 2.2, 1.5])
    significant = np.array([True, False, False])
    lengths, wrong = arrow_lengths(gaps, PAIRS, margins, significant)
    assert not wrong.any()
    reach = lengths[[0, 0, 1], 0] + lengths[[1, 2, 2], 1]
    assert ((reach < [1.0, 2.0, 1.0]) == significant).all()


def test_what_no_arrows_can_show_is_named():
    # Neighbours differ, the outer ones do not: R0 + L1 < 1, R1 + L2 < 1, R0 + L3 >= 3, ...
    estimates = np.array([0.0, 1.0, 2.0, 3.0])
    pairs = np.array([[0, 3], [1, 2], [0, 2], [1, 3]])
    _, wrong = arrow_lengths(estimates, pairs, np.ones(4), np.array([False, False, True, True]))
    # R0 + L3 + R1 + L2 >= 3 + 1 contradicts R0 + L2 + R1 + L3 < 2 + 2.
    assert wrong.sum() == 1


def test_arrows_are_drawn_on_the_scale_of_the_response():
    cbpp = lmm.load_dataset("cbpp")
    m = lmm.glmer("cbind(incidence, size - incidence) ~ period + (1 | herd)", cbpp)
    means = lmm.emmeans(m, "period")
    arrows = comparison_arrows(means, means.pairs())
    ax = lmm.emmeans(m, "period", type="response").plot(comparisons=True)
    ends = [text.xy[0] for text in ax.texts]
    shown = 1.0 / (1.0 + np.exp(-np.concatenate([arrows.left, arrows.right])))
    assert_allclose(ends, shown[np.isfinite(shown)])
    mpl.pyplot.close(ax.figure)


def test_arrows_stay_within_groups(cake):
    m = cake.update(". ~ . + recipe:temperature")
    means = lmm.emmeans(m, "recipe", by="temperature")
    arrows = comparison_arrows(means, means.pairs())
    # At one temperature two recipes share the largest mean.
    assert (np.isnan(arrows.left).sum(), np.isnan(arrows.right).sum()) == (6, 7)
    ax = means.plot(comparisons=True, adjust="holm")
    assert len(ax.texts) == 23
    mpl.pyplot.close(ax.figure)


def test_the_warning_says_where_it_is_explained():
    # The standard errors of differences are those of 2, 400, 400 and 2 rows.
    n = np.array([2, 400, 400, 2])
    f = np.repeat(list("abcd"), n)
    noise = np.where(np.arange(n.sum()) % 2, 1.0, -1.0)
    d = {"f": f, "y": np.repeat([0.0, 1.0, 1.3, 2.3], n) + noise}
    means = lmm.emmeans(lmm.lm("y ~ f", d), "f")
    with pytest.warns(lmm.ArrowsWarning, match=r'See "Comparison arrows" on the page Messages'):
        ax = means.plot(comparisons=True, adjust="none")
    mpl.pyplot.close(ax.figure)
