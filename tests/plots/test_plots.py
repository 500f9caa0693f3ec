"""What the plots show: the numbers drawn, the axes used, the mistakes refused."""

from itertools import pairwise

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import rankdata

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


def test_binned_residuals(ax):
    cbpp = lmm.load_dataset("cbpp")
    m = lmm.glmer("cbind(incidence, size - incidence) ~ period + (1 | herd)", cbpp)
    assert lmm.plots.binned_residuals(m, bins=4, ax=ax) is ax
    x, means = ax.lines[1].get_data()
    order = np.argsort(m.fitted().to_numpy(), kind="stable")
    rows = np.array_split(order, 4)
    np.testing.assert_allclose(means, [m.residuals("response").to_numpy()[r].mean() for r in rows])
    assert (np.diff(x) > 0.0).all()


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


def test_fitted_lines_hold_other_predictors():
    rng = np.random.default_rng(0)
    g = rng.integers(0, 8, 120)
    d = {"x": rng.uniform(0, 10, 120), "z": rng.normal(size=120), "g": g.astype(str)}
    y = 0.3 * d["x"] + d["z"] + rng.normal(size=8)[g] + rng.normal(size=120)
    m = lmm.lmer("y ~ x + z + (1 | g)", {"y": y, **d})
    ax = lmm.plots.fitted_lines(m, "x", interval="confidence")
    at, line = points(ax, -2)
    held = {"x": at, "z": np.full(120, d["z"].mean()), "g": ["0"] * 120}
    limits = m.predict(held, "~0", interval="confidence")
    np.testing.assert_allclose(line, limits["fit"])
    (band,) = ax.collections
    np.testing.assert_allclose(band.get_paths()[0].vertices[1:121, 1], limits["lower"])
    level = points(ax, 1)
    np.testing.assert_allclose(np.diff(level[1]) / np.diff(level[0]), m.fixef()["x"])
    plt.close(ax.figure)


def test_fitted_lines_of_counts_are_means():
    rng = np.random.default_rng(1)
    g = rng.integers(0, 8, 120)
    x = rng.uniform(0.0, 2.0, 120)
    y = rng.poisson(np.exp(x + 0.5 * rng.normal(size=8)[g]))
    m = lmm.glmer("y ~ x + (1 | g)", {"y": y, "x": x, "g": g.astype(str)}, "poisson")
    ax = lmm.plots.fitted_lines(m, "x")
    at, line = points(ax, -2)
    np.testing.assert_allclose(line, np.exp(m.beta[0] + m.beta[1] * at))
    first = g == 0
    np.testing.assert_allclose(np.sort(points(ax, 1)[1]), np.sort(m.fitted()[first]))
    plt.close(ax.figure)


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
        (lambda m: lmm.plots.fitted_lines(m, "Days", level=95, interval="confidence"), "not 95"),
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


def test_coefficients_are_those_of_tidy(m, ax):
    other = lmm.lmer("Reaction ~ Days + (1 | Subject)", lmm.load_dataset("sleepstudy"))
    lmm.plots.coefficients(m, other, names=["slopes", "intercepts"], intercept=True, ax=ax)
    for model, bars, line in zip((m, other), ax.collections, ax.lines[1:], strict=True):
        tidy = model.tidy("fixed", conf_int=True)
        np.testing.assert_allclose(line.get_xdata(), tidy["estimate"])
        ends = np.array([segment[:, 0] for segment in bars.get_segments()])
        np.testing.assert_allclose(ends, tidy[["conf.low", "conf.high"]])
    # The first coefficient is the highest, under its own name.
    assert [label.get_text() for label in ax.get_yticklabels()] == ["Days", "(Intercept)"]
    assert ax.lines[1].get_ydata()[0] > ax.lines[1].get_ydata()[1]
    assert [text.get_text() for text in ax.get_legend().texts] == ["slopes", "intercepts"]


def test_coefficients_as_ratios(ax):
    cbpp = lmm.load_dataset("cbpp")
    g = lmm.glmer("cbind(incidence, size - incidence) ~ period + (1 | herd)", cbpp)
    lmm.plots.coefficients(g, exponentiate=True, ax=ax)
    np.testing.assert_allclose(ax.lines[1].get_xdata(), np.exp(g.fixef().iloc[1:]))
    assert ax.get_xscale() == "log"


def test_coefficients_that_are_none(m):
    with pytest.raises(lmm.DataError, match="a name for each"):
        lmm.plots.coefficients(m, names=["a", "b"])
    means = lmm.lmer("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff"))
    with pytest.raises(lmm.DataError, match="intercept=True"):
        lmm.plots.coefficients(means)


def test_check_model(m):
    figure = lmm.plots.check_model(m)
    simulated, _, size, _, effects, distances = figure.axes
    shares = simulated.lines[-1].get_ydata()
    assert shares.sum() == pytest.approx(1.0)
    assert len(simulated.lines) == 22
    np.testing.assert_allclose(
        np.sort(size.lines[0].get_ydata()), np.sort(np.abs(m.residuals(scaled=True)) ** 0.5)
    )
    assert effects.get_title() == "Random effects of Subject"
    (bars,) = distances.collections
    assert len(bars.get_segments()) == 180
    named = {text.get_text() for text in distances.texts}
    assert named == set(map(str, m.cooks_distance().nlargest(3).index))
    plt.close(figure)


def many(n_levels):
    rng = np.random.default_rng(3)
    g = np.repeat(np.arange(n_levels), 3)
    x = np.tile([0.0, 1.0, 2.0], n_levels)
    y = x + rng.normal(size=n_levels)[g] + rng.normal(size=len(g))
    return lmm.lmer("y ~ x + (1 | g)", {"y": y, "x": x, "g": [f"level {i:05d}" for i in g]})


def test_labels_do_not_overprint():
    """Each label is lower than its row, in figures of their own and in small axes."""
    ax = lmm.plots.caterpillar(many(60))
    ax.figure.canvas.draw()
    boxes = [label.get_window_extent() for label in ax.get_yticklabels()]
    assert len(boxes) == 60
    assert all(a.y1 < b.y0 for a, b in pairwise(boxes))
    plt.close(ax.figure)
    figure, small = plt.subplots(figsize=(2, 2))
    lmm.plots.caterpillar(many(60), ax=small)
    assert small.get_yticklabels() == []
    plt.close(figure)


def test_many_levels_are_sampled(ax):
    m = many(5000)
    lmm.plots.caterpillar(m, ax=ax)
    centres = ax.containers[0].lines[0].get_xdata()
    effects = m.ranef()["g"]["(Intercept)"]
    assert len(centres) == 2000
    assert (centres[0], centres[-1]) == (effects.min(), effects.max())
    assert ax.get_ylabel() == "g (2000 of 5000 levels)"


def test_arrows_of_a_sample_are_those_of_all(m, ax, monkeypatch):
    lmm.plots.shrinkage(m, ax=ax)
    whole = np.array(points(ax, 0)).T
    monkeypatch.setattr("lmm.plots.modes.MOST_ARROWS", 3)
    figure, few = plt.subplots()
    lmm.plots.shrinkage(m, ax=few)
    np.testing.assert_allclose(np.array(points(few, 0)).T, whole[[0, 8, 17]])
    plt.close(figure)


def test_a_notebook_shows_a_figure_once(m, monkeypatch):
    figure = lmm.plots.check_model(m)
    with pytest.raises(NotImplementedError):
        figure._ipython_display_()
    assert plt.fignum_exists(figure.number)
    # The inline backend shows what is open when the cell ends: a figure already shown is not.
    monkeypatch.setattr(mpl, "get_backend", lambda: "module://matplotlib_inline.backend_inline")
    with pytest.raises(NotImplementedError):
        figure._ipython_display_()
    assert not plt.fignum_exists(figure.number)


def test_simulated_residuals_in_four_pictures(m):
    residuals = m.simulated_residuals(seed=1)
    figure = lmm.plots.check_simulated(residuals)
    quantiles, means, dispersion, last = figure.axes
    assert "uniformity p = " in quantiles.get_title()
    points = means.collections[0].get_offsets()
    assert_allclose(points[:, 1], residuals.values)
    assert_allclose(points[:, 0], (rankdata(residuals.predicted) - 0.5) / 180)
    counted = sum(bar.get_height() for bar in dispersion.patches)
    assert counted == residuals.nsim
    assert f"p = {residuals.dispersion()[1]:.3g}" in dispersion.get_title()
    assert last.get_title().startswith("Largest response")


def test_zeros_are_drawn_where_there_are_any():
    m = lmm.glmer(
        "cbind(incidence, size - incidence) ~ period + (1 | herd)", lmm.load_dataset("cbpp")
    )
    last = lmm.plots.check_simulated(m.simulated_residuals(seed=1)).axes[3]
    assert last.get_title().startswith("Zeros")


def test_effects_of_generalized_models_say_their_scale():
    formula = "cbind(incidence, size - incidence) ~ period + log(size) + (1 | herd)"
    m = lmm.glmer(formula, lmm.load_dataset("cbpp"))
    response = "cbind(incidence, size - incidence)"
    ax = lmm.plots.effect(m, "period", type="response")
    assert ax.get_ylabel() == response
    ax = lmm.plots.effect(m, "period", type="link")
    assert ax.get_ylabel() == f"{response}, logit scale"
    ax = lmm.emmip(m, "period ~ size", bands=True)
    bars = [lines for lines in ax.collections if hasattr(lines, "get_segments")]
    assert len(bars) == 4  # intervals of one value of a covariate are no bands
    assert all(np.ptp(bar.get_segments()[0][:, 1]) > 0.1 for bar in bars)


def test_replicates_of_a_bootstrap_have_a_histogram_each():
    m = lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))
    replicates = m.bootstrap(40, seed=1)
    figure = lmm.plots.bootstrap(replicates, level=0.9)
    assert [ax.get_xlabel() for ax in figure.axes] == list(replicates.replicates.columns)
    limits = replicates.confint(0.9).to_frame().to_numpy()
    for ax, name, ends in zip(figure.axes, replicates.replicates, limits, strict=True):
        assert sum(bar.get_height() for bar in ax.patches) == replicates.replicates[name].count()
        drawn = [line.get_xdata()[0] for line in ax.get_lines()]
        np.testing.assert_allclose(drawn, [replicates.estimate[name], *ends])


def test_a_bootstrap_of_one_statistic_has_one_histogram():
    m = lmm.lmer("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff"))
    replicates = m.bootstrap(10, seed=1, statistic=lambda fit: fit.sigma)
    assert len(lmm.plots.bootstrap(replicates).axes) == 1


@pytest.mark.parametrize("step", [0.0, 2.0**-52])
def test_replicates_that_differ_by_rounding_are_one_bar(step):
    m = lmm.lmer("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff"))
    values = iter(1.0 + step * np.arange(11.0))
    (panel,) = lmm.plots.bootstrap(m.bootstrap(10, seed=1, statistic=lambda fit: next(values))).axes
    assert [bar.get_height() for bar in panel.patches] == [10]


def test_results_that_are_drawn_draw_themselves():
    m = lmm.lmer("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff"))
    results = m.bootstrap(20, seed=1), m.simulated_residuals(seed=1), m.influence("Batch")
    for result in results:
        assert type(result.plot()) is type(getattr(lmm.plots, result.picture)(result))
    assert len(results[0].plot(level=0.5).axes) == 3
