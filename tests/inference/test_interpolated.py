"""Many responses of a large design: interpolation about its estimates against single fits."""

import numpy as np
import pandas as pd
import pytest

import lmm
from lmm.inference.resample.interpolant import Interpolant, Node, Region
from lmm.inference.resample.interpolated import Interpolated
from lmm.inference.resample.many import OneByOne, engine_for
from lmm.inference.resample.polynomials import ProductBasis, count_for, nodes
from lmm.inference.resample.regressed import rows_of
from lmm.inference.resample.swept import Swept

CRITERION, ESTIMATES = 1e-8, 1e-5

MODELS = {
    "crossed": "y ~ x + (1 | g) + (1 | h)",
    "no fixed effects": "y ~ 0 + (1 | g) + (1 | h)",
    "independent slopes": "y ~ x + (1 | g) + (0 + x | h)",
    "one factor twice": "y ~ x + (1 | g) + (0 + x | g) + (1 | h)",
}


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(7)
    n, l_g, l_h = 4000, 240, 160
    data = pd.DataFrame({"g": rng.integers(l_g, size=n), "h": rng.integers(l_h, size=n)})
    data["x"] = rng.normal(size=n)
    effects = 0.7 * rng.normal(size=l_g)[data.g] + 0.5 * rng.normal(size=l_h)[data.h]
    slopes = 0.5 * rng.normal(size=l_g)[data.g] + 0.4 * rng.normal(size=l_h)[data.h]
    data["y"] = 1.0 + effects + (0.5 + slopes) * data.x + rng.normal(size=n)
    data["w"], data["o"] = rng.uniform(0.5, 2.0, n), rng.normal(size=n)
    return data


@pytest.fixture(scope="module")
def crossed(data):
    return lmm.lmer(MODELS["crossed"], data)


def interpolated(m):
    """The engine's design, which has to be interpolated."""
    design = engine_for(m.fit.criterion, m.optimum.x).design
    assert isinstance(design, Interpolated)
    return design


def simulated(m, number, seed=1):
    """Standardized responses."""
    return m.fit.matrices.response.standardized(m.simulate(number, seed=seed).to_numpy())


def assert_same(found, expected):
    np.testing.assert_allclose(found.criterion, expected.criterion, rtol=0, atol=CRITERION)
    for name in ("theta", "sigma", "std_error"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=ESTIMATES)
    assert np.all(np.abs(found.beta - expected.beta) <= ESTIMATES * expected.std_error)
    np.testing.assert_array_equal(found.singular, expected.singular)
    assert found.converged.all()
    assert expected.converged.all()


@pytest.mark.parametrize(
    "model",
    [pytest.param(m, marks=pytest.mark.slow) if m == "one factor twice" else m for m in MODELS],
)
@pytest.mark.parametrize("reml", [True, False])
def test_interpolated_fits_are_single_fits(data, model, reml):
    m = lmm.lmer(MODELS[model], data, reml=reml)
    y = simulated(m, 128)
    design = interpolated(m)
    fits = design.fit(design.responses(y, np.zeros(128)), m.optimum.x, df=True)
    assert fits.converged.mean() >= 0.97
    chosen = np.flatnonzero(fits.converged)[:4]
    one = OneByOne(m.fit.criterion, m.optimum.x).replicates(y[:, chosen], np.zeros(4), df=True)
    own = {name: getattr(fits, name)[chosen] for name in fits.__dataclass_fields__}
    assert_same(type(fits)(**own), one)
    np.testing.assert_allclose(own["df"], one.df, rtol=1e-4)


def test_weights_and_offset(data):
    m = lmm.lmer(MODELS["crossed"], data, weights="w", offset="o")
    interpolated(m)
    Y = m.simulate(60, seed=1)
    fits = lmm.refit_many(m, Y)
    for i, name in enumerate(Y.columns[:3]):
        one = m.refit(Y[name])
        assert fits.criterion.iloc[i] == pytest.approx(one.reml_criterion(), abs=CRITERION)
        np.testing.assert_allclose(fits.fixef.iloc[i], one.beta, rtol=1e-7)
        np.testing.assert_allclose(fits.theta.iloc[i], one.theta, rtol=ESTIMATES)


@pytest.mark.filterwarnings("ignore::lmm.SingularFitWarning")
def test_responses_far_from_the_estimates_are_fitted_one_by_one(data, crossed):
    Y = crossed.simulate(60, seed=1)
    rng = np.random.default_rng(3)
    Y["noise"], Y["scaled"] = rng.normal(size=len(Y)), 1e3 * Y.iloc[:, 0] + 5.0
    Y["doubled"] = crossed.y + crossed.fit.sigma * rng.normal(size=len(Y))
    fits = lmm.refit_many(crossed, Y)
    assert fits.converged.all()
    for name in ("noise", "scaled", "doubled"):
        one = lmm.lmer(MODELS["crossed"], data.assign(y=Y[name].to_numpy()))
        assert fits.criterion[name] == pytest.approx(one.reml_criterion(), abs=1e-7)
    assert fits.singular["noise"]
    ratio = fits.theta.loc["scaled"] / fits.theta.iloc[0]
    np.testing.assert_allclose(ratio, 1.0, rtol=ESTIMATES)


def test_few_responses_are_fitted_one_by_one(crossed):
    design, y = interpolated(crossed), simulated(crossed, 5)
    fits = design.fit(design.responses(y, np.zeros(5)), crossed.optimum.x)
    assert not fits.converged.any()
    engine = engine_for(crossed.fit.criterion, crossed.optimum.x)
    one = OneByOne(crossed.fit.criterion, crossed.optimum.x)
    assert_same(engine.replicates(y, np.zeros(5)), one.replicates(y, np.zeros(5)))


def test_missing_values(data, crossed):
    Y = crossed.simulate(100, seed=2)
    Y.iloc[:50, 50:] = np.nan
    fits = lmm.refit_many(crossed, Y)
    for name in (Y.columns[0], Y.columns[60]):
        kept = Y[name].notna().to_numpy()
        frame = data.assign(y=Y[name].to_numpy())[kept]
        one = lmm.lmer(MODELS["crossed"], frame)
        assert fits.criterion[name] == pytest.approx(one.reml_criterion(), abs=CRITERION)


def test_designs_with_few_levels_are_fitted_one_by_one(data):
    m = lmm.lmer("y ~ x + (1 | g) + (1 | k)", data.assign(k=data.h % 6))
    assert isinstance(engine_for(m.fit.criterion, m.optimum.x), OneByOne)


@pytest.mark.filterwarnings("ignore::lmm.SingularFitWarning")
def test_variances_on_the_boundary_are_fitted_one_by_one(data):
    rng = np.random.default_rng(1)
    noise = pd.Series(rng.normal(size=len(data)))
    m = lmm.lmer(MODELS["crossed"], data.assign(y=noise - noise.groupby(data.h).transform("mean")))
    assert m.is_singular()
    assert isinstance(engine_for(m.fit.criterion, m.optimum.x), OneByOne)


@pytest.mark.parametrize("reml", [True, False])
def test_derivatives_are_the_criterions(data, reml):
    m = lmm.lmer(MODELS["one factor twice"], data, reml=reml)
    design, y = interpolated(m), simulated(m, 3)
    reduced = design.responses(y, np.zeros(3))
    region = Region.about(m.fit.criterion, m.optimum.x)
    z = nodes(3, int(1.2 * region.expected))
    known = [
        Node.of(region, m.fit.criterion, own, Swept.at(m.fit.criterion, x, reduced))
        for own, x in zip(z, region.x(z), strict=True)
    ]
    found = Interpolant.through(region, known)
    point, nu = np.full((3, 3), 0.2), m.fit.criterion.degrees_of_freedom
    at = found.at(point, np.arange(3), reml)
    x = region.x(point)[0]
    values, gradient = at.values(m.fit.criterion, reduced.scale), at.gradient(nu)
    steps = 1e-4 * np.eye(3)
    moved = [
        found.at(point + sign * step, np.arange(3), reml).gradient(nu)
        for step in steps
        for sign in (1.0, -1.0)
    ]
    hessian = (np.array(moved[::2]) - np.array(moved[1::2])).transpose(1, 0, 2) / 2e-4
    np.testing.assert_allclose(at.hessian(nu), hessian, rtol=1e-6, atol=1e-4)
    for i in range(3):
        single = m.fit.criterion.with_response(m.fit.matrices.response.raw(y[:, i]))
        here = single.evaluate(x)
        assert values[i] == pytest.approx(here.value, abs=CRITERION)
        expected = here.gradient @ region.jacobian(x)
        np.testing.assert_allclose(gradient[i], expected, rtol=1e-6, atol=1e-6)


def test_the_score_is_that_of_single_fits(data):
    m = lmm.lmer(MODELS["one factor twice"], data)
    y, engine = simulated(m, 3), engine_for(m.fit.criterion, m.optimum.x)
    expected = OneByOne(m.fit.criterion, m.optimum.x).score(y, np.zeros(3))
    np.testing.assert_allclose(engine.score(y, np.zeros(3)), expected, rtol=1e-9)


@pytest.mark.slow
def test_bootstrap(crossed):
    number = interpolated(crossed).batch + 32
    b = crossed.bootstrap(number, seed=3)
    assert len(b) == number
    assert b.n_failed == 0
    assert b.std_error["x"] == pytest.approx(crossed.bse["x"], rel=0.2)
    two = crossed.bootstrap(number, seed=3, n_jobs=2)
    pd.testing.assert_frame_equal(b.to_frame(), two.to_frame(), check_exact=True)


@pytest.mark.slow
def test_a_dask_cluster_gives_the_same(crossed):
    import joblib
    from distributed import Client, LocalCluster

    number = interpolated(crossed).batch + 32
    expected = crossed.bootstrap(number, seed=4)
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None
        ) as cluster,
        Client(cluster),
        joblib.parallel_config(backend="dask"),
    ):
        found = crossed.bootstrap(number, seed=4, n_jobs=None)
    pd.testing.assert_frame_equal(found.to_frame(), expected.to_frame(), check_exact=True)


def test_designs_with_many_fixed_effects_are_fitted_one_by_one(data):
    parts = [f"part {i % 100}" for i in range(len(data))]
    matrices = lmm.build_matrices("y ~ part + (1 | g) + (1 | h)", data.assign(part=parts))
    criterion = lmm.ProfiledCriterion(matrices)
    assert isinstance(engine_for(criterion, np.array([2.5, 2.5])), OneByOne)


# Polynomials --------------------------------------------------------------------------------------


def test_nodes_lie_in_the_ball_and_go_on():
    few, many = nodes(3, 10), nodes(3, 50)
    np.testing.assert_array_equal(few, many[:10])
    lengths = np.linalg.norm(many, axis=1)
    assert lengths[0] == 0.0
    assert lengths.max() <= 1.0
    # A share (t - sin(t) cos(t)) / (pi / 2) of the density 1 / sqrt(1 - r^2) lies within sin(t).
    t = np.arcsin(0.7)
    within = (t - np.sin(t) * np.cos(t)) / (0.5 * np.pi)
    assert (lengths <= 0.7).mean() == pytest.approx(within, abs=0.06)


def test_polynomials_are_found_from_values_and_gradients():
    degrees = np.array([4.0, 3.0])
    count = int(count_for(degrees)) + 4
    z = nodes(2, count)

    def function(z):
        a, b = z.T
        gradient = np.stack([3 * a**2 * b - 2 * a, a**3 + 1.0 + 0 * b], axis=1)
        return (a**3 * b - a**2 + b)[:, None], gradient[:, :, None]

    basis = ProductBasis.of(degrees, count)
    assert len(basis.powers) < 3 * count
    coefficients = basis.coefficients(z, *function(z))
    points = np.array([[0.3, -0.4], [0.9, 0.1]])
    own, first, second = basis.at(points)
    value, gradient = function(points)
    np.testing.assert_allclose(own @ coefficients, value, atol=1e-12)
    np.testing.assert_allclose(first @ coefficients, gradient, atol=1e-12)
    a, b = points.T
    hessian = np.array([[6 * a * b - 2.0, 3 * a**2], [3 * a**2, 0 * a]]).transpose(2, 0, 1)
    np.testing.assert_allclose((second @ coefficients)[..., 0], hessian, atol=1e-11)


def test_rows_show_all_responses(crossed):
    engine = engine_for(crossed.fit.criterion, crossed.optimum.x)
    assert engine.rows.n == rows_of(crossed.fit.criterion.problem).n == 4000
