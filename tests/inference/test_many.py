"""Many responses, one design: the batched engine against single fits."""

import numpy as np
import pandas as pd
import pytest

import lmm
import simulated
from lmm.inference.resample.lockstep import Lockstep
from lmm.inference.resample.many import Batched, OneByOne, engine_for
from lmm.inference.resample.regressed import compressed, rows_of

# A single fit and a batched one each stop when less than 1e-10 can be gained.
CRITERION = 1e-8
# At a gain of 1e-10 parameters are off by about 1e-5 of their standard errors.
ESTIMATES = 1e-4

MODELS = {
    "slopes": ("Reaction ~ Days + (Days | Subject)", "sleepstudy"),
    "independent": ("Reaction ~ Days + (Days || Subject)", "sleepstudy"),
    "scalar": ("Yield ~ 1 + (1 | Batch)", "Dyestuff"),
    "nested": ("strength ~ 1 + (1 | batch/cask)", "Pastes"),
    "crossed": ("diameter ~ 1 + (1 | plate) + (1 | sample)", "Penicillin"),
    "factors": ("score ~ Machine + (Machine | Worker)", "Machines"),
    "split plots": ("yield ~ nitro + Variety + (1 | Block/Variety)", "Oats"),
    "unbalanced": ("Weight ~ Time + (Time | Pig)", "dietox"),
    "no fixed effects": ("Reaction ~ 0 + (1 | Subject)", "sleepstudy"),
}


def fitted(model, **arguments):
    formula, data = MODELS[model]
    return lmm.lmer(formula, lmm.load_dataset(data), **arguments)


@pytest.fixture(scope="module")
def sleep():
    return fitted("slopes")


def quiet_refit(m, y):
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", lmm.SingularFitWarning)
        return m.refit(y)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("reml", [True, False])
def test_batched_fits_are_single_fits(model, reml):
    m = fitted(model, reml=reml)
    assert isinstance(engine_for(m.fit.criterion, m.optimum.x), Batched)
    Y = m.simulate(12, seed=1)
    fits = lmm.refit_many(m, Y)
    single = [quiet_refit(m, Y[name]) for name in Y]
    assert fits.converged.all()
    expected = [one.optimum.value for one in single]
    np.testing.assert_allclose(fits.criterion, expected, rtol=0, atol=CRITERION)
    np.testing.assert_allclose(fits.sigma, [one.sigma for one in single], rtol=ESTIMATES)
    for i, one in enumerate(single):
        errors = one.bse.to_numpy()
        assert np.all(np.abs(fits.fixef.iloc[i] - one.beta) <= ESTIMATES * errors)
        np.testing.assert_allclose(fits.std_error.iloc[i], errors, rtol=1e-3)
    np.testing.assert_array_equal(fits.singular, [one.is_singular() for one in single])


@pytest.mark.parametrize("design", list(simulated.well_posed(26)), ids=lambda design: design.name)
@pytest.mark.filterwarnings("ignore::lmm.LmmWarning")
def test_simulated_designs(design):
    m = lmm.lmer(design.formula, design.data, reml=design.reml)
    Y = m.simulate(3, seed=1)
    fits = lmm.refit_many(m, Y)
    single = [m.refit(Y[name]) for name in Y]
    assert fits.converged.all()
    # Of two local minima a batched fit may have found the lower one.
    for value, one in zip(fits.criterion, single, strict=True):
        rounding = one.fit.criterion.evaluate(one.optimum.x).rounding
        assert value <= one.optimum.value + max(CRITERION, 4.0 * rounding)


@pytest.mark.parametrize("model", ["slopes", "nested", "crossed", "factors"])
def test_derivatives_are_the_criterions(model):
    m = fitted(model)
    criterion = m.fit.criterion
    lockstep = Lockstep.build(criterion, rows_of(criterion.problem))
    Y = m.simulate(3, seed=2).to_numpy()
    x = 0.7 * criterion.start + 0.1
    here = lockstep._local(np.tile(x, (3, 1)), lockstep.responses(Y, np.zeros(3)))
    for i in range(3):
        at = criterion.with_response(Y[:, i]).evaluate(x)
        assert here.value[i] == pytest.approx(at.value, rel=1e-12)
        np.testing.assert_allclose(here.gradient[i], at.gradient, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(here.hessian[i], at.hessian, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("model", ["slopes", "crossed", "factors", "unbalanced"])
def test_degrees_of_freedom_are_satterthwaites(model):
    m = fitted(model)
    fits = lmm.refit_many(m, m.simulate(4, seed=3))
    engine = OneByOne(m.fit.criterion, m.optimum.x)
    y = m.simulate(4, seed=3).to_numpy()
    one = engine.replicates(y, np.zeros(4), df=True)
    np.testing.assert_allclose(fits.df, one.df, rtol=1e-3)


@pytest.mark.parametrize("model", ["slopes", "crossed", "split plots"])
def test_both_engines_agree_on_the_score(model):
    m = fitted(model)
    y = m.simulate(3, seed=3).to_numpy()
    batched, single = (
        engine_for(m.fit.criterion, m.optimum.x),
        OneByOne(m.fit.criterion, m.optimum.x),
    )
    expected = single.score(y, np.zeros(3))
    np.testing.assert_allclose(batched.score(y, np.zeros(3)), expected, rtol=1e-9)


def test_large_components_with_few_levels_are_fitted_one_by_one():
    m = lmm.lmer("attain ~ sex + (1 | primary) + (sex | second)", lmm.load_dataset("ScotsSec"))
    assert isinstance(engine_for(m.fit.criterion, m.optimum.x), OneByOne)
    Y = m.simulate(2, seed=1)
    fits = lmm.refit_many(m, Y)
    expected = [m.refit(Y[name]).reml_criterion() for name in Y]
    np.testing.assert_allclose(fits.criterion, expected, atol=CRITERION)


def test_weights_and_offset():
    data = lmm.load_dataset("sleepstudy")
    rng = np.random.default_rng(0)
    data["w"], data["o"] = rng.uniform(0.5, 2.0, 180), rng.normal(size=180)
    formula = "Reaction ~ Days + (Days | Subject)"
    m = lmm.lmer(formula, data, weights="w", offset="o")
    Y = m.simulate(3, seed=1)
    fits = lmm.refit_many(m, Y)
    for i, name in enumerate(Y):
        one = m.refit(Y[name])
        assert fits.criterion.iloc[i] == pytest.approx(one.reml_criterion(), abs=CRITERION)
        np.testing.assert_allclose(fits.fixef.iloc[i], one.beta, rtol=1e-6)
        np.testing.assert_allclose(fits.theta.iloc[i], one.theta, rtol=1e-3)


def test_a_response_is_the_fit_itself(sleep):
    fits = lmm.refit_many(sleep, sleep.y)
    assert fits.criterion.iloc[0] == pytest.approx(sleep.reml_criterion(), abs=CRITERION)
    np.testing.assert_allclose(fits.theta.iloc[0], sleep.theta, rtol=1e-4)
    assert list(fits.theta.columns) == list(sleep.fit.matrices.theta_names)


def test_a_singular_design_lets_go_of_the_boundary():
    data = lmm.load_dataset("Dyestuff2")
    with pytest.warns(lmm.SingularFitWarning):
        m = lmm.lmer("Yield ~ 1 + (1 | Batch)", data)
    other = lmm.load_dataset("Dyestuff")["Yield"].to_numpy(dtype=float)
    fits = lmm.refit_many(m, other)
    assert fits.theta.iloc[0, 0] == pytest.approx(0.8483, abs=1e-3)
    assert fits.criterion.iloc[0] == pytest.approx(319.6543, abs=1e-4)


def test_scale_and_origin_of_responses_do_not_matter(sleep):
    y = sleep.y
    fits = lmm.refit_many(sleep, np.column_stack([y, 1e6 * y, 1e-6 * y, y + 1e6]))
    np.testing.assert_allclose(fits.theta, np.tile(sleep.theta, (4, 1)), rtol=1e-4)
    np.testing.assert_allclose(
        fits.sigma / [1.0, 1e6, 1e-6, 1.0], np.full(4, sleep.sigma), rtol=1e-5
    )


def test_missing_values_by_pattern(sleep):
    data = lmm.load_dataset("sleepstudy")
    Y = sleep.simulate(4, seed=5).to_numpy().copy()
    Y[3, 1] = Y[40:50, 2] = Y[[3, 7], 3] = np.nan  # 40-49: a whole subject
    fits = lmm.refit_many(sleep, Y)
    for i in range(4):
        data["y"] = Y[:, i]
        one = lmm.lmer("y ~ Days + (Days | Subject)", data)
        assert fits.criterion[i] == pytest.approx(one.reml_criterion(), abs=CRITERION)
        np.testing.assert_allclose(fits.fixef.loc[i], one.beta, rtol=1e-6)
        np.testing.assert_allclose(fits.theta.loc[i], one.theta, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kind", ["pandas", "polars", "pyarrow", "dict"])
def test_tables_name_the_fits(sleep, kind):
    frame = sleep.simulate(2, seed=1)
    if kind == "polars":
        import polars as pl

        table = pl.DataFrame({name: frame[name].to_numpy() for name in frame})
    elif kind == "pyarrow":
        import pyarrow as pa

        table = pa.table({name: frame[name].to_numpy() for name in frame})
    else:
        table = frame if kind == "pandas" else {name: frame[name].to_numpy() for name in frame}
    fits = lmm.refit_many(sleep, table)
    assert list(fits.to_frame().index) == ["sim_1", "sim_2"]


def test_columns_of_the_frame(sleep):
    frame = lmm.refit_many(sleep, sleep.simulate(3, seed=1)).to_frame()
    assert list(frame.columns) == [
        "criterion",
        "converged",
        "singular",
        "sigma",
        "theta Subject.(Intercept)",
        "theta Subject.Days.(Intercept)",
        "theta Subject.Days",
        "(Intercept)",
        "Days",
        "se (Intercept)",
        "se Days",
        "t (Intercept)",
        "t Days",
        "df (Intercept)",
        "df Days",
    ]
    fits = lmm.refit_many(sleep, sleep.simulate(3, seed=1))
    assert ((fits.pvalues > 0) & (fits.pvalues < 1)).all().all()
    assert lmm.refit_many(sleep, sleep.y, df=False).df.shape == (1, 0)


def test_rows_left_out_of_the_fit_may_be_given():
    data = lmm.load_dataset("sleepstudy")
    data.loc[5, "Reaction"] = np.nan
    m = lmm.lmer("Reaction ~ Days + (Days | Subject)", data)
    every = np.full(180, 1.0)
    every[np.delete(np.arange(180), 5)] = m.y
    fits = lmm.refit_many(m, np.column_stack([every]))
    assert fits.criterion[0] == pytest.approx(m.reml_criterion(), abs=CRITERION)


def test_compressed_rows_have_the_same_cross_products():
    m = lmm.lmer("normexam ~ standLRT + (standLRT | school)", lmm.load_dataset("Exam"))
    rows = rows_of(m.fit.criterion.problem)
    fewer = compressed(rows)
    assert fewer.n + fewer.hidden == rows.n
    assert 3 * fewer.n <= rows.n
    levels = [term.n_levels for term in m.fit.matrices.terms]
    Zt, few = rows.Zt(levels), fewer.Zt(levels)
    np.testing.assert_allclose((few @ few.T).toarray(), (Zt @ Zt.T).toarray(), atol=1e-10)
    np.testing.assert_allclose(few @ fewer.X, Zt @ rows.X, atol=1e-10)
    np.testing.assert_allclose(fewer.X.T @ fewer.X, np.eye(2), atol=1e-10)


@pytest.mark.parametrize(
    "Y, message",
    [
        (np.zeros((7, 2)), r"shape \(7, 2\), but the model has 180 rows"),
        (np.full((180, 1), np.nan), "1 responses are missing altogether: 0"),
        (np.full((180, 1), np.inf), "have infinite values"),
        (np.empty((180, 0)), "no columns"),
        (np.ones((180, 2)), "fitted exactly by the fixed effects: 0, 1"),
        (pd.DataFrame({"a": np.r_[1.0, 2.0, np.full(178, np.nan)]}), "not determined: a"),
        (pd.DataFrame({"a": np.r_[np.arange(10.0) ** 2, np.full(170, np.nan)]}), "single level: a"),
    ],
)
def test_bad_responses(sleep, Y, message):
    with pytest.raises(lmm.DataError, match=message):
        lmm.refit_many(sleep, Y)


@pytest.mark.parametrize("bars", ["(x | g)", "(1 | g/h)", "(1 | g) + (1 | h)"])
def test_large_variances_cost_batches_few_digits(bars):
    rng = np.random.default_rng(3)
    g, h, x = rng.integers(0, 20, 240), rng.integers(0, 6, 240), rng.normal(size=240)
    others = {"(x | g)": rng.normal(size=20)[g] * x, "(1 | g/h)": rng.normal(size=(20, 6))[g, h]}
    levels = rng.normal(size=20)[g] + others.get(bars, rng.normal(size=6)[h])
    data = {
        "y": 100.0 * levels + rng.normal(size=240),
        "x": x,
        "g": g.astype(str),
        "h": h.astype(str),
    }
    m = lmm.lmer(f"y ~ x + {bars}", data)
    Y = m.simulate(3, seed=1)
    single = [m.refit(Y[name]).optimum.value for name in Y]
    np.testing.assert_allclose(lmm.refit_many(m, Y).criterion, single, rtol=1e-11)


@pytest.mark.filterwarnings("ignore::lmm.SingularFitWarning")
@pytest.mark.filterwarnings("ignore::lmm.PrecisionWarning")
def test_responses_with_much_larger_effects_than_the_model_are_fitted_one_by_one():
    rng = np.random.default_rng(1)
    a, f = np.repeat(np.arange(3), 60), rng.integers(0, 3, 180)
    data = {"y": rng.normal(size=3)[a] + rng.normal(size=180), "a": a, "f": np.array([*"uvw"])[f]}
    m = lmm.lmer("y ~ f + (0 + f | a)", data)
    Y = rng.normal(size=(180, 10)) + 1e5 * rng.normal(size=(3, 10))[a]
    single = [m.refit(y).optimum.value for y in Y.T]
    np.testing.assert_allclose(lmm.refit_many(m, Y).criterion, single, rtol=1e-6)
