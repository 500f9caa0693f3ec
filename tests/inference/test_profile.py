"""Profile likelihood against R's intervals and against its own definition."""

import warnings

import numpy as np
import pytest

import lmm
import simulated
from lmm.inference.profile.criterion_curve import criterion_curve
from lmm.inference.profile.curves import _targets, profile_curves
from lmm.inference.profile.path import first_point, settle
from lmm.inference.profile.targets import variance_target
from lmm.inference.variance.laplace import likelihood_of
from lmm.inference.variance.reported import variance_parameters
from reference import MODEL_IDS, fit_arguments, load_reference, load_table

PROFILED = [name for name in MODEL_IDS if "ci_profile" in load_reference(name)]

# R interpolates between grid points: of its 134 limits the least exact (the upper one of Pastes'
# sd of casks) lies 1.1e-4 of its interval's width from the root of zeta, all others below 3e-5.
WIDTH = 1.5e-4


def fitted(model_id):
    reference = load_reference(model_id)
    return lmm.lmer(reference["formula"], load_table(reference["data"]), **fit_arguments(reference))


@pytest.fixture(scope="module")
def sleep():
    return lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))


@pytest.mark.parametrize("model_id", PROFILED)
def test_intervals_are_those_of_r(model_id):
    expected = load_reference(model_id)["ci_profile"]
    table = fitted(model_id).confint().to_frame()
    values = np.array(expected["values"])
    assert list(table.index) == expected["rows"]
    assert list(table.columns) == expected["cols"]
    width = np.diff(values, axis=1)
    np.testing.assert_array_less(np.abs(table.to_numpy() - values) / width, WIDTH)


def test_known_intervals_of_maximum_likelihood_fits():
    # Rows 15 and 16 of lme4's own tests (profile-tst.R).
    m = lmm.lmer("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff"), reml=False)
    table = m.profile().log().confint().to_frame()
    np.testing.assert_allclose(table.loc["log(sigma)"], [3.64362, 4.21446], rtol=1e-5)
    np.testing.assert_allclose(table.loc["(Intercept)"], [1486.451500, 1568.548494], rtol=1e-7)
    formula = "diameter ~ 1 + (1 | plate) + (1 | sample)"
    m = lmm.lmer(formula, lmm.load_dataset("Penicillin"), reml=False)
    table = m.profile().log().confint().to_frame()
    assert table.loc["log(sigma)"].tolist() == pytest.approx([-0.7218645, -0.4629033], rel=1e-5)


def test_levels_are_those_of_r(sleep):
    # confint(profile(ML fit), level = 0.99), R 4.2.2, lme4 1.1-31.
    expected = [
        [11.697855, 43.9249121],
        [-0.611183, 0.8620229],
        [3.313161, 10.1306220],
        [22.149064, 30.0282535],
        [232.619532, 270.1906680],
        [6.212281, 14.7222899],
    ]
    profile = sleep.profile(level=0.99)
    np.testing.assert_allclose(profile.confint().to_frame(), expected, rtol=1e-3)
    # Interpolated from a profile made for another level.
    other = sleep.profile().confint(0.99).to_frame()
    np.testing.assert_allclose(other, profile.confint().to_frame(), rtol=1e-3)


@pytest.mark.parametrize("scale", ["sdcor", "varcov"])
def test_ends_of_intervals_are_roots_of_zeta(sleep, scale):
    for curve in profile_curves(sleep.fit, scale=scale):
        for sign, limit in zip((-1, 1), curve.limits(0.95), strict=True):
            t = float(curve.coordinate(limit))
            assert curve.spline(t) == pytest.approx(sign * 1.959963984540054, abs=1e-9)
            assert np.min(np.abs(curve.t - t)) < 1e-3 * np.ptp(curve.t)


@pytest.mark.parametrize("name", ["sd_Days|Subject", "cor_Days.(Intercept)|Subject", "sigma"])
def test_points_are_constrained_optima(sleep, name):
    """Compared with SciPy's constrained minimizer on the natural coordinates."""
    from scipy.optimize import minimize

    (curve,) = profile_curves(sleep.fit, [name])
    parameter = next(p for p in variance_parameters(sleep.fit.matrices) if p.name == name)
    ml = sleep.refit_ml().fit
    likelihood = likelihood_of(ml.criterion)
    z0 = likelihood.coordinates(ml.theta, ml.sigma)
    index = curve.estimate + 2

    def constraint(z):
        return parameter.value(likelihood.covariances(z), np.exp(z[-1])) - target

    target = float(curve.value(curve.t[index]))
    found = minimize(
        lambda z: likelihood.evaluate(z).value,
        z0,
        jac=lambda z: likelihood.evaluate(z).gradient,
        constraints={"type": "eq", "fun": constraint},
        method="SLSQP",
        options={"ftol": 1e-12, "maxiter": 500},
    )
    rise = found.fun - likelihood.evaluate(z0).value
    assert curve.zeta[index] ** 2 == pytest.approx(rise, abs=1e-5)


def test_fixed_effects_are_those_of_models_without_the_column(sleep):
    curve = sleep.profile("Days")["Days"]
    value = float(curve.t[2])
    data = lmm.load_dataset("sleepstudy")
    offset = value * data["Days"].to_numpy(dtype=float)
    without = lmm.lmer("Reaction ~ 1 + (Days | Subject)", data, offset=offset, reml=False)
    rise = without.deviance() - sleep.refit_ml().deviance()
    assert curve.zeta[2] ** 2 == pytest.approx(rise, abs=1e-6)
    assert curve.parameters[2, -2] == pytest.approx(without.beta[0], rel=1e-5)
    assert curve.parameters[2, -1] == value


def test_few_evaluations_per_point(sleep):
    for curve in profile_curves(sleep.fit):
        assert curve.n_evaluations <= 4 * len(curve.t)


def test_a_boundary_below_is_zero():
    m = fitted("pastes")
    table = m.confint().to_frame()
    assert table.loc["sd_(Intercept)|batch", "2.5 %"] == 0.0


def test_an_estimate_on_the_boundary():
    with pytest.warns(lmm.SingularFitWarning):
        m = lmm.lmer("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff2"))
    table = m.confint().to_frame()
    # confint(fm, oldNames = FALSE), R 4.2.2, lme4 1.1-31.
    expected = [[0.0, 2.084043489], [2.892831020, 4.815832552], [4.312100217, 7.019092347]]
    width = np.diff(expected, axis=1)
    # R's spline is bent where the sd leaves zero, between two of its points.
    np.testing.assert_array_less(np.abs(table.to_numpy() - expected) / width, 3e-4)
    # By minimizing the 30 x 30 normal density numerically at fixed means, and a root search.
    assert table.iloc[2, 0] == pytest.approx(4.3128375, abs=1e-7)


def test_a_perfect_correlation_ends_at_one():
    rng = np.random.default_rng(4)
    g, x = np.repeat(np.arange(12), 6), np.tile(np.arange(6.0), 12)
    b = rng.normal(size=12)
    data = {"g": g.astype(str), "x": x, "y": b[g] * (1 + x) + rng.normal(size=72)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", lmm.SingularFitWarning)
        m = lmm.lmer("y ~ x + (x | g)", data)
    profile = m.profile(["sd_(Intercept)|g", "cor_x.(Intercept)|g"])
    table = profile.confint().to_frame()
    assert table.iloc[1, 1] == 1.0
    assert -1.0 < table.iloc[1, 0] < 1.0
    # A correlation of -1 is fitted best by an intercept that does not vary at all.
    sd, correlation = profile.curves
    assert sd.zeta[0] == pytest.approx(correlation.zeta[0], abs=1e-6)
    assert np.all(np.diff(correlation.zeta) > -1e-9)


def test_units_do_not_matter(sleep):
    data = lmm.load_dataset("sleepstudy")
    data["Days"] = data["Days"] * 24.0
    hours = lmm.lmer("Reaction ~ Days + (Days | Subject)", data).confint().to_frame()
    days = sleep.confint().to_frame()
    scale = np.array([1.0, 1.0, 24.0, 1.0, 1.0, 24.0])
    np.testing.assert_allclose(hours.to_numpy() * scale[:, None], days.to_numpy(), rtol=1e-5)


@pytest.mark.parametrize("design", list(simulated.well_posed(26)), ids=lambda design: design.name)
@pytest.mark.filterwarnings("ignore::lmm.LmmWarning")
def test_simulated_designs(design):
    m = lmm.lmer(design.formula, design.data, reml=design.reml)
    profile = m.profile()
    for curve in profile.curves:
        low, high = curve.limits(0.95)
        assert low <= float(curve.value(curve.t[curve.estimate])) <= high
    assert not any("lower than the fit's" in note for note in profile.notes)


def test_a_profile_with_two_valleys():
    """Maxima of the likelihood at two values of another parameter make the profile bend back."""
    designs = {design.name: design for design in simulated.stressful(40)}
    design = designs["between_slope-39"]
    with pytest.warns(lmm.LmmWarning):
        m = lmm.lmer(design.formula, design.data, reml=design.reml)
    with pytest.warns(lmm.ConvergenceWarning, match="not monotone"):
        curve = m.profile("x")["x"]
    assert np.any(np.diff(curve.zeta) < 0.0)
    target = _targets(m.fit, "sdcor")["x"][1]
    first = first_point(target)
    rng = np.random.default_rng(1)
    for t, zeta in zip(curve.t[4:-3], curve.zeta[4:-3], strict=True):
        starts = first.w * rng.normal(1.0, 0.8, (20, len(first.w)))
        lowest = min(settle(target, float(t), w, first.w).value for w in starts)
        assert zeta**2 <= lowest - first.value + 1e-4


def test_three_random_effects():
    m = lmm.lmer("height ~ age + I(age^2) + (age + I(age^2) | Subject)", lmm.load_dataset("Oxboys"))
    names = list(m.profile("theta_").confint().to_frame().index)
    assert names[:6] == [
        "sd_(Intercept)|Subject",
        "cor_age.(Intercept)|Subject",
        "cor_I(age^2).(Intercept)|Subject",
        "sd_age|Subject",
        "cor_I(age^2).age|Subject",
        "sd_I(age^2)|Subject",
    ]
    ml = m.refit_ml()
    for name, estimate in zip(
        names,
        [p.value(ml.fit.covariances, ml.sigma) for p in variance_parameters(ml.fit.matrices)],
        strict=True,
    ):
        low, high = m.confint(name).to_frame().loc[name]
        assert low < estimate < high


def test_a_better_likelihood_is_reported(sleep):
    from dataclasses import replace

    ml = sleep.refit_ml().fit
    parameter = variance_parameters(ml.matrices)[0]
    worse = 1.3 * ml.theta
    target = variance_target(parameter, ml.criterion, worse, ml.sigma)
    first = first_point(target)
    assert first.value > ml.deviance
    away = replace(ml.optimum, x=1.3 * ml.optimum.x)
    with pytest.warns(lmm.ConvergenceWarning, match="deviance lower than the fit's"):
        replace(sleep, fit=replace(ml, optimum=away)).profile("sd_(Intercept)|Subject")


def test_the_path_recovers_from_a_poor_start(sleep):
    ml = sleep.refit_ml().fit
    parameter = variance_parameters(ml.matrices)[0]
    target = variance_target(parameter, ml.criterion, ml.theta, ml.sigma)
    t, w = target.start
    near = settle(target, t + 10.0, w)
    far = settle(target, t + 10.0, np.array([-40.0, 30.0, 5.0]))
    assert far.value == pytest.approx(near.value, abs=1e-6)


# Results ------------------------------------------------------------------------------------------


def test_table_of_points(sleep):
    profile = sleep.profile()
    frame = profile.to_frame()
    names = list(profile.names)
    assert list(frame.columns) == [".zeta", *names, ".par", ".focal"]
    for name in names:
        part = frame[frame[".par"] == name]
        np.testing.assert_allclose(part[name], part[".focal"], rtol=1e-12)
        assert part[".zeta"].is_monotonic_increasing


def test_views_transform_intervals(sleep):
    profile = sleep.profile()
    plain, log = profile.confint().to_frame(), profile.log().confint().to_frame()
    np.testing.assert_allclose(np.exp(log.loc["log(sigma)"]), plain.loc["sigma"], rtol=1e-9)
    variance = profile.variance().confint().to_frame()
    np.testing.assert_allclose(
        variance.loc["var_Days|Subject"], plain.loc["sd_Days|Subject"] ** 2, rtol=1e-9
    )
    direct = sleep.profile(scale="varcov").confint().to_frame()
    np.testing.assert_allclose(variance.loc["sigma^2"], direct.loc["sigma^2"], rtol=1e-6)
    columns = list(profile.variance().to_frame().columns)
    assert "var_Days|Subject" in columns
    assert "sigma^2" in columns


@pytest.mark.parametrize(
    "parm, expected",
    [
        ("theta_", ["sd_(Intercept)|Batch", "sigma"]),
        ("beta_", ["(Intercept)"]),
        (1, ["sigma"]),
        ([0, "(Intercept)"], ["sd_(Intercept)|Batch", "(Intercept)"]),
    ],
)
@pytest.mark.parametrize("method", ["profile", "wald"])
def test_choosing_parameters(parm, expected, method):
    m = lmm.lmer("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff"))
    assert list(m.confint(parm, method=method).to_frame().index) == expected


def test_bad_input(sleep):
    with pytest.raises(ValueError, match=r"between 0 and 1, not 95. Did you mean 0.95"):
        sleep.confint(level=95)
    with pytest.raises(ValueError, match="Did you mean 'Days'"):
        sleep.confint("Dais")
    with pytest.raises(ValueError, match="positions are 0 to 5"):
        sleep.confint(6)
    with pytest.raises(ValueError, match="Known: profile, wald"):
        sleep.confint(method="walt")
    with pytest.raises(ValueError, match="Ask for a profile with this level"):
        sleep.profile("sigma").confint(1 - 1e-9)
    with pytest.raises(ValueError, match="ascending and within"):
        sleep.profile_criterion("Days Var", -1.0, 10.0)
    with pytest.raises(ValueError, match="points must be at least 2"):
        sleep.profile_criterion("Days Var", 1.0, 10.0, 1)


def test_prints_as_r(sleep):
    lines = str(sleep.confint("theta_")).splitlines()
    assert lines[0].split() == ["2.5", "%", "97.5", "%"]
    assert lines[1].startswith("sd_(Intercept)|Subject ")
    assert "refitted by maximum likelihood" in str(sleep.profile("sigma"))


# The criterion along one parameter ----------------------------------------------------------------


@pytest.mark.parametrize("reml", [True, False])
def test_criterion_curve_is_the_fitted_criterion(reml):
    m = lmm.lmer("size ~ Time + (Time | tree)", lmm.load_dataset("Sitka"), reml=reml)
    estimate = m.varcorr()["tree"].variance[1]
    curve = m.profile_criterion("Time Var", 0.5 * estimate, 1.8 * estimate, 14)
    assert curve.curve.parameter == "var_Time|tree"
    assert curve.curve.reml is reml
    np.testing.assert_allclose(curve.values, np.linspace(0.5, 1.8, 14) * estimate)
    assert np.interp(estimate, curve.values, curve.difference) < 0.01
    below = curve.values < estimate
    assert np.all(np.diff(curve.difference[below]) < 0.0)
    assert np.all(np.diff(curve.difference[~below]) > 0.0)


def test_criterion_curve_against_fits_with_a_fixed_variance():
    """With one random intercept the criterion at fixed variance has only sigma left."""
    from scipy.optimize import minimize_scalar

    m = lmm.lmer("size ~ Time + (1 | tree)", lmm.load_dataset("Sitka"))
    curve = criterion_curve(m.fit, "tree Var", 0.2, 0.7, 6)
    likelihood = likelihood_of(m.fit.criterion)
    for value, difference in zip(curve.values, curve.difference, strict=True):
        best = minimize_scalar(
            lambda s, value=value: likelihood.evaluate(np.array([value**0.5, s])).value,
            bounds=(-3.0, 0.0),
            options={"xatol": 1e-10},
        )
        assert difference == pytest.approx(best.fun - m.optimum.value, abs=1e-6)


def test_default_range_covers_the_interval(sleep):
    curve = sleep.profile_criterion("cor_Days.(Intercept)|Subject")
    assert curve.difference[0] > 6.63
    assert curve.difference[-1] > 6.63
    assert list(curve.to_frame().columns) == ["cor_Days.(Intercept)|Subject", "difference"]


# Plots --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def _agg():
    import matplotlib as mpl

    mpl.use("Agg")


@pytest.mark.usefixtures("_agg")
def test_plots(sleep):
    import matplotlib.pyplot as plt

    profile = sleep.profile()
    figures = [profile.plot_zeta(), profile.plot_zeta(absolute=True), profile.plot_density()]
    for figure in figures:
        assert [ax.get_xlabel() for ax in figure.axes] == list(profile.names)
    pairs = profile.plot_pairs()
    assert len(pairs.axes) == 36
    ax = sleep.profile_criterion("Days Var").plot()
    assert ax.get_ylabel() == "−2 log profile restricted likelihood ratio"
    plt.close("all")


def test_joint_regions_touch_the_profile_limits(sleep):
    """The extent of a joint region is the profile interval of the same size."""
    from lmm.plots.profile import _contour, _trace

    profile = sleep.profile()
    across, down = profile["sd_(Intercept)|Subject"], profile["sd_Days|Subject"]
    x, y = _contour(
        2.0, across, down, _trace(across, down, profile.names), _trace(down, across, profile.names)
    )
    assert np.ptp(x) == pytest.approx(4.0, abs=1e-3)
    assert np.ptp(y) == pytest.approx(4.0, abs=1e-3)


def correlated(seed):
    """Few groups and a strong, badly known correlation: far points of its profile are curved."""
    r = np.random.default_rng(seed)
    g = np.repeat(np.arange(12), 10) if seed % 2 else r.integers(0, 12, 120)
    h, x, f = r.integers(0, 5, 120), r.normal(size=120), r.integers(0, 3, 120)
    w = r.gamma(2, size=120) + 0.1
    r.normal(size=120)
    y = 3 + r.normal(size=12)[g] + 0.7 * r.normal(size=5)[h] + 0.6 * r.normal(size=12)[g] * x
    y += x + r.normal(size=120)
    return {"y": y, "x": x, "f": np.array(list("abc"))[f], "g": g, "h": h, "w": w}


@pytest.mark.parametrize(
    "solver, formula, seed, weights",
    [
        ("sparse", "y ~ f + x + (x | g) + (1 | h)", 1, None),
        ("dense", "y ~ x + f + (x | g)", 5, "w"),
    ],
)
def test_profiles_settle_with_every_solver(solver, formula, seed, weights):
    """Where the average information leads nowhere, and where a step overflows."""
    data = correlated(seed)
    name = "cor_x.(Intercept)|g"
    found, right = (
        lmm.lmer(formula, data, weights=weights, solver=one).confint(name).to_frame()
        for one in (solver, "auto")
    )
    np.testing.assert_allclose(found, right, rtol=1e-5)
