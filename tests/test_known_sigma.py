"""Fits whose residual standard deviation is known, as in meta-analysis.

Right values: metafor 3.8-1 (Viechtbauer, 2010, J. Stat. Softw. 36(3)), `rma` and `rma.mv` with
tightened tolerances. Its restricted log-likelihood adds half the log determinant of X'X.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import lmm
from lmm.inference.variance.laplace import likelihood_of

# Colditz et al. (1994), JAMA 271, 698-702: tuberculosis cases and others, vaccinated and not, and
# the latitude.
BCG = """
4 119 11 128 44; 6 300 29 274 55; 3 228 11 209 42; 62 13536 248 12619 52; 33 5036 47 5761 13
180 1361 372 1079 44; 8 2537 10 619 19; 505 87886 499 87892 13; 29 7470 45 7232 27
17 1699 65 1600 42; 186 50448 141 27197 18; 5 2493 3 2338 33; 27 16886 29 17825 33
"""

# Konstantopoulos (2011), Res. Synth. Methods 2, 61-76: effects of modified school calendars, as
# district, effect and variance of each school.
CALENDARS = """
11 -.18 .118; 11 -.22 .118; 11 .23 .144; 11 -.3 .144; 12 .13 .014; 12 -.26 .014; 12 .19 .015
12 .32 .024; 18 .45 .023; 18 .38 .043; 18 .29 .012; 27 .16 .02; 27 .65 .004; 27 .36 .004
27 .6 .007; 56 .08 .019; 56 .04 .007; 56 .19 .005; 56 -.06 .004; 58 -.18 .02; 58 0 .018; 58 0 .019
58 -.28 .022; 58 -.04 .02; 58 -.3 .021; 58 .07 .006; 58 0 .007; 58 .05 .007; 58 -.08 .007
58 -.09 .007; 71 .3 .015; 71 .98 .011; 71 1.19 .01; 86 -.07 .001; 86 -.05 .001; 86 -.01 .001
86 .02 .001; 86 -.03 .001; 86 0 .001; 86 .01 .001; 86 -.1 .001; 91 .5 .01; 91 .66 .011; 91 .2 .01
91 0 .009; 91 .05 .013; 91 .07 .013; 108 -.52 .031; 108 .7 .031; 108 -.03 .03; 108 .27 .03
108 -.34 .03; 644 .12 .087; 644 .61 .082; 644 .04 .067; 644 -.05 .067
"""


def _numbers(text: str) -> np.ndarray:
    return np.array(
        [row.split() for row in text.replace("\n", ";").split(";") if row.strip()], float
    )


@functools.cache
def bcg() -> pd.DataFrame:
    a, b, c, d, latitude = _numbers(BCG).T
    return pd.DataFrame(
        {
            "y": np.log(a / (a + b)) - np.log(c / (c + d)),
            "w": 1.0 / (1.0 / a - 1.0 / (a + b) + 1.0 / c - 1.0 / (c + d)),
            "latitude": latitude,
            "trial": [f"t{i}" for i in range(13)],
        }
    )


@functools.cache
def calendars() -> pd.DataFrame:
    district, y, v = _numbers(CALENDARS).T
    return pd.DataFrame(
        {"y": y, "w": 1.0 / v, "district": district.astype(int), "school": np.arange(56)}
    )


def fitted(formula: str = "y ~ 1 + (1 | trial)", **options: Any) -> lmm.LinearMixedModel:
    data = bcg() if "trial" in formula else calendars()
    return lmm.lmer(formula, data, weights="w", **{"sigma": 1.0, **options})


NESTED = "y ~ 1 + (1 | district / school)"


def test_random_effects_model_as_metafor() -> None:
    m = fitted()
    assert m.converged
    assert m.sigma == 1.0
    assert m.varcorr()["trial"].variance[0] == pytest.approx(0.3132432581, rel=1e-9)
    assert m.fixef().item() == pytest.approx(-0.7145323422, rel=1e-9)
    assert m.bse.item() == pytest.approx(0.1797815161, rel=1e-9)
    assert m.loglik() + 0.5 * np.log(13) == pytest.approx(-12.2023714155, rel=1e-9)
    assert m.fit.n_parameters == 2
    b = m.ranef(condvar=True).to_frame()
    assert b["condval"].iloc[:2].to_numpy() == pytest.approx([-0.08570121981, -0.53717363814])


def test_meta_regression_as_metafor() -> None:
    m = fitted("y ~ latitude + (1 | trial)", reml=False)
    assert m.varcorr()["trial"].variance[0] == pytest.approx(0.034351442482, abs=1e-8)
    assert m.fixef().to_numpy() == pytest.approx([0.282107173896, -0.029509335388], rel=1e-7)
    assert m.bse.to_numpy() == pytest.approx([0.187184556336, 0.005487736308], rel=1e-7)
    assert m.loglik() == pytest.approx(-7.685665528, rel=1e-9)
    assert (m.aic(), m.bic()) == pytest.approx((21.371331057, 23.066179129), rel=1e-9)
    test = lmm.anova(fitted(reml=False), m).to_frame()
    assert test["Df"].iloc[1] == 1
    z = m.summary().coefficients["z value"].iloc[1]
    assert z**2 == pytest.approx(28.915611904, rel=1e-7)


@pytest.mark.parametrize("solver", ["auto", "block", "sparse", "dense"])
def test_levels_within_levels_as_metafor(solver: Any) -> None:
    m = fitted(NESTED, solver=solver)
    variances = [m.varcorr()[g].variance[0] for g in ("district", "school:district")]
    assert variances == pytest.approx([0.06506194428, 0.03273651703], abs=1e-7)
    assert m.fixef().item() == pytest.approx(0.18471316367, rel=1e-6)
    assert m.bse.item() == pytest.approx(0.08455591874, rel=1e-6)
    assert m.loglik() + 0.5 * np.log(56) == pytest.approx(-7.95872403371, rel=1e-10)
    ml = m.refit_ml()
    assert ml.loglik() == pytest.approx(-8.39493557126, rel=1e-10)
    assert ml.bse.item() == pytest.approx(0.08048168217, rel=1e-6)


def test_profile_intervals_as_metafor() -> None:
    limits = fitted(reml=False).confint().to_frame()
    assert list(limits.index) == ["sd_(Intercept)|trial", "(Intercept)"]
    assert limits.iloc[0].to_numpy() == pytest.approx([0.3241, 0.9132], abs=1e-4)
    nested = fitted(NESTED, reml=False).confint().to_frame()
    assert nested.iloc[0].to_numpy() == pytest.approx([0.1278, 0.2512], abs=1e-4)
    assert nested.iloc[1].to_numpy() == pytest.approx([0.1407, 0.4195], abs=1e-4)


def test_wald_intervals_are_normal() -> None:
    m = fitted()
    limits = m.confint("beta_", method="wald").to_frame().to_numpy()[0]
    assert limits == pytest.approx([-1.0668976388, -0.3621670455], rel=1e-9)
    # Of log tau: metafor's standard error is by the expected information, this by the observed.
    x, h = m.optimum.x, 1e-4
    criterion = m.fit.criterion
    values = [criterion.value(x * np.exp(k * h)) for k in (-1, 0, 1)]
    half = 1.959963984540054 * np.sqrt(2.0 * h**2 / (values[0] - 2.0 * values[1] + values[2]))
    limits = m.confint("theta_", method="wald").to_frame().to_numpy()[0]
    assert np.log(limits) - np.log(m.varcorr()["trial"].sd[0]) == pytest.approx(
        [-half, half], rel=1e-4
    )


@pytest.mark.parametrize("reml", [True, False])
def test_derivatives_at_a_known_sigma(reml: bool) -> None:
    criterion = fitted("y ~ w + (1 | district / school)", sigma=1.3, reml=reml).fit.criterion
    x, h = np.array([1.7, 0.6]), 1e-5
    steps = h * np.eye(2)
    here = criterion.evaluate(x)
    gradient = [(criterion.value(x + s) - criterion.value(x - s)) / (2 * h) for s in steps]
    hessian = [
        (criterion.evaluate(x + s).gradient - criterion.evaluate(x - s).gradient) / (2 * h)
        for s in steps
    ]
    assert here.gradient == pytest.approx(np.array(gradient), rel=1e-6)
    assert here.hessian == pytest.approx(np.array(hessian), rel=1e-6)
    theta = np.array([0.2, 0.3])
    slope = [(criterion(theta + s) - criterion(theta - s)) / (2 * h) for s in steps]
    assert criterion.value_and_gradient(theta)[1] == pytest.approx(np.array(slope), rel=1e-6)


def test_likelihood_in_standard_deviations_is_the_criterion() -> None:
    m = fitted(NESTED)
    likelihood = likelihood_of(m.fit.criterion)
    z = likelihood.coordinates(m.theta, m.sigma)
    here = likelihood.evaluate(z)
    assert z.shape == (2,)
    assert here.value == pytest.approx(m.optimum.value, rel=1e-12)
    assert here.gradient == pytest.approx(np.zeros(2), abs=1e-4)
    step = np.array([1e-5, 0.0])
    slopes = [likelihood.evaluate(z + s * step).gradient for s in (-1, 1)]
    assert here.hessian[0] == pytest.approx((slopes[1] - slopes[0]) / 2e-5, rel=1e-6)


def test_the_estimate_given_as_known_changes_no_estimate() -> None:
    d = lmm.load_dataset("sleepstudy")
    formula = "Reaction ~ Days + (Days | Subject)"
    free = lmm.lmer(formula, d)
    known = lmm.lmer(formula, d, sigma=free.sigma)
    assert known.theta == pytest.approx(free.theta, rel=1e-5)
    assert known.loglik() == pytest.approx(free.loglik(), rel=1e-12)
    assert known.aic() == pytest.approx(free.aic() - 2.0, rel=1e-12)
    assert known.vcov().to_numpy() == pytest.approx(free.vcov().to_numpy(), rel=1e-5)


def test_units_of_response_and_sigma_do_not_matter() -> None:
    other = bcg().assign(y=bcg()["y"] * 1e6)
    m = lmm.lmer("y ~ 1 + (1 | trial)", other, weights="w", sigma=1e6)
    assert m.theta == pytest.approx(fitted().theta, rel=1e-9)


def test_no_heterogeneity_is_the_fixed_effect_model() -> None:
    d = bcg()
    y = d["w"] ** -0.5 * np.where(np.arange(13) % 2, 0.1, -0.1)
    with pytest.warns(lmm.SingularFitWarning):
        m = lmm.lmer("y ~ 1 + (1 | trial)", d.assign(y=y), weights="w", sigma=1.0)
    assert m.theta.item() == 0.0
    assert m.fixef().item() == pytest.approx(np.average(y, weights=d["w"]), rel=1e-10)
    assert m.bse.item() == pytest.approx(d["w"].sum() ** -0.5, rel=1e-12)
    assert np.isinf(m.summary("satterthwaite").coefficients["df"].item())


def test_satterthwaite_of_one_variance() -> None:
    # df = 2 v^2 / (v'(tau^2)^2 2 / H) with H the second derivative of the criterion in tau^2.
    m, w = fitted(), bcg()["w"].to_numpy()
    tau2, h = m.varcorr()["trial"].variance[0], 1e-4

    def v(t: float) -> float:
        return float(1.0 / np.sum(1.0 / (t + 1.0 / w)))

    values = [m.fit.criterion(np.sqrt([tau2 + k * h])) for k in (-1, 0, 1)]
    curvature = (values[0] - 2.0 * values[1] + values[2]) / h**2
    slope = (v(tau2 + h) - v(tau2 - h)) / (2.0 * h)
    expected = v(tau2) ** 2 * curvature / slope**2
    assert m.summary("satterthwaite").coefficients["df"].item() == pytest.approx(expected, rel=1e-5)


def test_tests_are_normal_by_default() -> None:
    m = fitted("y ~ latitude + (1 | trial)")
    assert list(m.summary().coefficients)[2:] == ["z value", "Pr(>|z|)"]
    assert "Residual (known)" in str(m.summary())
    assert np.isinf(m.anova().to_frame()["DenDF"].item())
    assert np.isinf(lmm.emmeans(m, "latitude").to_frame()["df"]).all()
    assert m.tidy(conf_int=True)["conf.low"].isna().sum() == 1  # of sigma


def test_it_lasts(tmp_path: Any) -> None:
    m = fitted()
    m.save(tmp_path / "m.lmm")
    kept = lmm.load(tmp_path / "m.lmm")
    assert kept.sigma == kept.call.sigma == 1.0
    assert kept.loglik() == m.loglik()
    assert m.update(". ~ . + latitude").fit.known_sigma == 1.0
    assert m.refit(bcg()["y"] * 1.1).fit.known_sigma == 1.0
    assert m.update(". ~ 1 + (1 | latitude)", sigma=None).fit.known_sigma is None
    many = lmm.refit_many(m, np.column_stack([bcg()["y"], bcg()["y"] * 1.1]))
    assert many.fixef.to_numpy()[1] == pytest.approx(m.refit(bcg()["y"] * 1.1).fixef().to_numpy())
    replicates = m.bootstrap(3, seed=1).to_frame()
    assert not any("sigma" in str(name) for name in replicates)
    influence = m.influence()
    without = lmm.lmer("y ~ 1 + (1 | trial)", bcg()[1:], weights="w", sigma=1.0)
    assert influence.fixef_without[0] == pytest.approx(without.fixef().to_numpy(), rel=1e-6)


def test_without_random_effects() -> None:
    table = fitted().ranova().to_frame()
    d = bcg()
    mu = np.average(d["y"], weights=d["w"])
    quadratic = np.sum(d["w"] * (d["y"] - mu) ** 2)
    constant = 12 * np.log(2 * np.pi) - np.log(d["w"]).sum() + np.log(d["w"].sum())
    assert table["logLik"].iloc[1] == pytest.approx(-0.5 * (quadratic + constant), rel=1e-12)
    assert list(table["npar"]) == [2, 1]


def test_refusals() -> None:
    m = fitted()
    wrong: list[tuple[Any, type[Exception]]] = [
        (0, ValueError),
        (-1.0, ValueError),
        (np.nan, ValueError),
        (np.inf, ValueError),
        ("1", TypeError),
        (True, TypeError),
        ([1.0], TypeError),
    ]
    for sigma, kind in wrong:
        with pytest.raises(kind, match="sigma"):
            fitted(sigma=sigma)
    with pytest.raises(ValueError, match="fitted with sigma=1 as known"):
        m.summary("kenward-roger")
    with pytest.raises(ValueError, match="exact tests are for models"):
        m.exact_rlrt()
    with pytest.raises(ValueError, match="studies of power"):
        lmm.power(m, "(Intercept)", 5)
    with pytest.raises(ValueError, match="least squares"):
        m.least_squares("y ~ 1")
    with pytest.raises(lmm.DataError, match="same known residual"):
        lmm.anova(m, lmm.lm("y ~ 1", bcg(), weights="w"))
    with pytest.raises(lmm.DataError, match="same known residual"):
        lmm.anova(m, fitted("y ~ latitude + (1 | trial)", sigma=0.9))
    with pytest.raises(lmm.DataError, match="number of levels"):
        fitted(sigma=None)
    with pytest.raises(ValueError, match="family says how the variance follows from the mean"):
        lmm.glmer("y ~ 1 + (1 | trial)", bcg(), "poisson", sigma=1.0)


def test_sums_and_iterations_give_the_same() -> None:
    formula = "y ~ 1 + (1 | district)"
    m = fitted(formula)
    summed = lmm.lmer(formula, lmm.sums(formula, calendars(), weights="w"), sigma=1.0)
    assert summed.loglik() == pytest.approx(m.loglik(), rel=1e-12)
    iterated = fitted(NESTED, solver="krylov")
    assert iterated.loglik() + 0.5 * np.log(56) == pytest.approx(-7.95872403371, rel=1e-8)


def test_intervals_of_predictions() -> None:
    # metafor's standard error; limits by t quantiles, and a little wider for the estimated mean.
    m = fitted()
    found = m.predict({"trial": ["new"]}, re_form="~0", interval="confidence").iloc[0]
    assert (found["fit"], found["se"]) == pytest.approx((-0.7145323422, 0.1797815161), rel=1e-9)
    half = found["upper"] - found["fit"]
    df = m.summary("satterthwaite").coefficients["df"].item()
    assert half / found["se"] == pytest.approx(stats.t.ppf(0.975, df), rel=0.02)
