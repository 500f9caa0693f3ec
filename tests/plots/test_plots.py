"""What the plots show: the numbers drawn, the axes used, the mistakes refused."""

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest

import lmm
import lmm.plots


@pytest.fixture(scope="module")
def m():
    return lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))


@pytest.fixture
def ax():
    figure, ax = plt.subplots()
    yield ax
    plt.close(figure)


def points(ax, i=-1):
    return ax.lines[i].get_xdata(), ax.lines[i].get_ydata()


def test_residuals_vs_fitted(m, ax):
    assert lmm.plots.residuals_vs_fitted(m, ax=ax) is ax
    x, y = points(ax)
    np.testing.assert_array_equal(x, m.fitted())
    np.testing.assert_array_equal(y, m.residuals("pearson"))


def test_qq_of_residuals(m, ax):
    lmm.plots.qq_residuals(m, ax=ax)
    x, y = points(ax, 0)
    assert (np.diff(y) >= 0).all()
    assert x[0] == pytest.approx(-x[-1])
    np.testing.assert_allclose(sorted(m.residuals(scaled=True)), y)


def test_caterpillar(m, ax):
    lmm.plots.caterpillar(m, "Subject", "Days", ax=ax)
    table = m.ranef(condvar=True).to_frame().query("term == 'Days'").sort_values("condval")
    centres = ax.containers[0].lines[0].get_xdata()
    np.testing.assert_allclose(centres, table["condval"])
    (bars,) = ax.containers[0].lines[2]
    length = [np.ptp(bar[:, 0]) for bar in bars.get_segments()]
    np.testing.assert_allclose(length, 2 * 1.959963985 * table["condsd"])
    assert [label.get_text() for label in ax.get_yticklabels()] == table["grp"].to_list()


def test_qq_of_random_effects(m, ax):
    lmm.plots.qq_random_effects(m, ax=ax)
    assert ax.get_ylabel() == "(Intercept) | Subject"
    np.testing.assert_allclose(points(ax, 0)[1], sorted(m.ranef()["Subject"]["(Intercept)"]))


def test_shrinkage_leads_from_each_level_alone(m, ax):
    lmm.plots.shrinkage(m, ax=ax)
    data = lmm.load_dataset("sleepstudy")
    alone = [
        np.polyfit(d["Days"], d["Reaction"], 1)[::-1]
        for _, d in data.groupby("Subject", observed=True)
    ]
    np.testing.assert_allclose(np.column_stack(points(ax, 0)), alone)
    np.testing.assert_allclose(np.column_stack(points(ax, 1)), m.coef()["Subject"])
    assert len(ax.texts) == 18


def test_shrinkage_of_one_column(ax):
    m = lmm.lmer("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff"))
    lmm.plots.shrinkage(m, ax=ax)
    means = lmm.load_dataset("Dyestuff").groupby("Batch", observed=True)["Yield"].mean()
    np.testing.assert_allclose(sorted(points(ax, 0)[0]), sorted(means))


def test_fitted_lines(m, ax):
    lmm.plots.fitted_lines(m, "Days", ax=ax)
    assert len(ax.lines) == 1 + 18 + 2
    x, y = points(ax, -2)
    np.testing.assert_allclose(y, m.beta[0] + m.beta[1] * x)
    np.testing.assert_allclose(points(ax, 1)[1], m.fitted()[:10])
    assert ax.get_ylabel() == "Reaction"


def test_influence_names_the_largest(m, ax):
    deletion = m.influence("Subject")
    lmm.plots.influence(deletion, label=2, ax=ax)
    largest = deletion.cooks_distance().nlargest(2).index
    assert [text.get_text() for text in ax.texts] == list(largest)


def test_influence_takes_deletions_not_the_model(m):
    with pytest.raises(TypeError, match=r"such as m.influence\('Subject'\), not LinearMixedModel"):
        lmm.plots.influence(m)


def test_a_new_figure_is_made(m):
    ax = lmm.plots.caterpillar(m)
    assert ax.figure.axes == [ax]
    plt.close(ax.figure)


@pytest.mark.parametrize(
    "plot, message",
    [
        (lambda m: lmm.plots.caterpillar(m, "Subjct"), "Did you mean 'Subject'"),
        (lambda m: lmm.plots.caterpillar(m, effect="Day"), "Did you mean 'Days'"),
        (lambda m: lmm.plots.shrinkage(m, effects=("Days", "x")), "no random effect 'x'"),
        (lambda m: lmm.plots.fitted_lines(m, "Subject"), "no covariate 'Subject'"),
        (lambda m: lmm.plots.caterpillar(m, level=95), "between 0 and 1, not 95"),
        (lambda m: lmm.plots.correlation(m.update("~ Days + (1 | Subject)")), "no correlation"),
    ],
)
def test_mistakes_are_named(m, plot, message):
    with pytest.raises(ValueError, match=message):
        plot(m)
    plt.close("all")


def test_correlations_of_a_structure_are_drawn(ax):
    data = lmm.load_dataset("sleepstudy")
    m = lmm.lmer("Reaction ~ Days + ar1(0 + factor(Days) | Subject)", data)
    lmm.plots.correlation(m, ax=ax)
    drawn = ax.images[0].get_array()
    np.testing.assert_allclose(drawn[0], m.par[1] ** np.arange(10))
    assert len(ax.texts) == 100
    with pytest.raises(lmm.DataError, match="has 1 terms with several columns"):
        lmm.plots.correlation(m, term=1, ax=ax)


def test_effects_are_marginal_means(ax):
    data = lmm.load_dataset("dietox")
    m = lmm.lmer("Weight ~ poly(Time, 2) * Cu + (1 | Pig)", data)
    lmm.plots.effect(m, "Time", by="Cu", ddf="asymptotic", ax=ax)
    assert [line.get_label() for line in ax.lines] == ["Cu000", "Cu035", "Cu175"]
    means = lmm.emmeans(m, "~ Cu | Time", at={"Time": [12.0]}, ddf="asymptotic").to_frame()
    np.testing.assert_allclose([line.get_ydata()[-1] for line in ax.lines], means["emmean"])
    assert len(ax.collections[-1].get_offsets()) == m.nobs
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("Time", "Weight")


def test_effects_on_a_transformed_response_are_shown_on_its_own_scale(ax):
    m = lmm.lmer("log(Weight) ~ log(Time) + (1 | Pig)", lmm.load_dataset("dietox"))
    lmm.plots.effect(m, "Time", ddf="asymptotic", ax=ax)
    assert 80 < ax.lines[0].get_ydata()[-1] < 100
    assert ax.get_ylabel() == "Weight"


def test_effects_of_a_factor(ax):
    m = lmm.lmer("score ~ Machine + (1 | Worker)", lmm.load_dataset("Machines"))
    lmm.plots.effect(m, "Machine", ax=ax)
    assert [text.get_text() for text in ax.get_xticklabels()] == ["A", "B", "C"]
    with pytest.raises(lmm.DataError, match="machine"):
        lmm.plots.effect(m, "machine", ax=ax)
