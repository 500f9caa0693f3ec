"""Links that allow no predictors beyond some: optima inside, and what stops at the end."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import minimize_scalar

import lmm
from lmm.optimize import Status

GROUPS, TIMES = 12, 6
GROUP, TIME = np.divmod(np.arange(GROUPS * TIMES), TIMES)
STRUCTURES = [
    "(x | g)",
    "(x || g)",
    "cs(0 + f | g)",
    "diag(0 + f | g)",
    "ar1(0 + t | g)",
    "toep(0 + t | g)",
    "ou(0 + t | g)",
]
LOG, IDENTITY = lmm.Binomial("log"), lmm.Poisson("identity")
CONTROL = lmm.GlmerControl(check_conv_singular="ignore")


def table(family, seed=0):
    """Responses whose means come close to 1, or to 0."""
    rng = np.random.default_rng(seed)
    x, _ = rng.normal(size=GROUPS * TIMES), rng.normal(size=GROUPS)
    noise = rng.normal(size=(GROUPS, TIMES))
    for j in range(1, TIMES):
        noise[:, j] = 0.6 * noise[:, j - 1] + 0.8 * noise[:, j]
    effect = noise[GROUP, TIME]
    if family == LOG:
        y = rng.binomial(1, np.exp(np.minimum(-0.35 + 0.21 * effect + 0.1 * x, -1e-3)))
    else:
        y = rng.poisson(np.maximum(0.8 + 0.6 * effect + 0.3 * x, 0.02))
    f = rng.choice(list("abc"), GROUPS * TIMES)
    return {"y": y, "x": x, "g": GROUP.astype(str), "t": TIME.astype(str).astype(object), "f": f}


def fit(formula, family, seed=0, **options):
    return lmm.glmer(formula, table(family, seed), family, control=CONTROL, **options)


@pytest.mark.parametrize("random", STRUCTURES)
@pytest.mark.parametrize("family, seed", [(LOG, 0), (LOG, 1), (IDENTITY, 1)], ids=str)
def test_there_are_optima_inside(tmp_path, family, seed, random):
    m = fit(f"y ~ x + {random}", family, seed)
    assert m.converged
    assert m.fit.criterion.value(m.optimum.x) == pytest.approx(m.deviance(), abs=1e-8)
    m.save(tmp_path / "model.lmm")
    assert lmm.load(tmp_path / "model.lmm").deviance() == m.deviance()
    smaller = m.update(". ~ . - x")
    chisq = lmm.anova(smaller, m).to_frame()["Chisq"].iloc[1]
    assert chisq == pytest.approx(smaller.deviance() - m.deviance())
    assert chisq >= 0.0


@pytest.mark.parametrize("family, seed", [(LOG, 0), (IDENTITY, 1)], ids=str)
def test_the_criterion_is_that_of_modes_found_level_by_level(family, seed):
    m = fit("y ~ x + (1 | g)", family, seed)
    data, sd, fixed = table(family, seed), float(m.fit.theta[0]), m.fit.matrices.X @ m.fit.beta
    total = 0.0
    for level in range(GROUPS):
        rows = level == GROUP
        y, eta = data["y"][rows], np.asarray(fixed)[rows]

        def penalized(b, y=y, eta=eta):
            mu = np.exp(eta + b) if family == LOG else eta + b
            with np.errstate(invalid="ignore", divide="ignore"):
                own = family.conditional(y.astype(float), np.ones(len(y))).loglik(eta + b, 0.0)
            inside = (mu < 1.0).all() if family == LOG else (mu > 0.0).all()
            return -2.0 * own + (b / sd) ** 2 if inside else 1e10

        end = -eta.max() if family == LOG else -eta.min()
        bounds = (-8 * sd, min(end, 8 * sd)) if family == LOG else (max(end, -8 * sd), 8 * sd)
        b = minimize_scalar(penalized, bounds=bounds, method="bounded", options={"xatol": 1e-12}).x
        mu = np.exp(eta + b) if family == LOG else eta + b
        W = mu / (1.0 - mu) if family == LOG else 1.0 / mu
        total += penalized(b) + np.log1p(sd**2 * W.sum())
    assert m.deviance() == pytest.approx(total, abs=1e-6)


def test_what_stops_at_the_end_is_the_same_when_looked_at_again(tmp_path):
    with pytest.warns(lmm.ConvergenceWarning, match="the end of what the link allows"):
        m = fit("y ~ x + (x || g)", IDENTITY)
    assert m.optimum.status is Status.END_OF_LINK
    assert m.fit.criterion.value(m.optimum.x) == pytest.approx(m.deviance(), abs=1e-6)
    m.save(tmp_path / "model.lmm")
    assert lmm.load(tmp_path / "model.lmm").deviance() == m.deviance()
    with pytest.raises(
        lmm.NumericalError, match="the link allows no other values: it has no profile"
    ):
        m.profile("sd_(Intercept)|g")


def test_profiles_end_where_the_link_does():
    m = fit("y ~ x + (x | g)", LOG)
    with pytest.warns(lmm.ConvergenceWarning, match="x: below the estimate the profile ends early"):
        profile = m.profile("x")
    low, high = profile.confint().to_numpy()[0]
    assert low < m.fixef()["x"] < high
    assert np.isnan(profile.confint(0.9999).to_numpy()[0, 0])


def test_random_effects_may_bring_back_what_fixed_effects_lead_outside():
    """The search for the mode then starts from effects that lead to the responses."""
    rng = np.random.default_rng(2)
    x = np.where(GROUP < 3, -1.0, 0.2)
    data = {"y": rng.poisson(np.where(GROUP < 3, 9.0, 5.0)), "x": x, "g": GROUP.astype(str)}
    criterion = lmm.LaplaceCriterion(lmm.build_matrices("y ~ x + (1 | g)", data), IDENTITY)
    theta = [4.0, 3.0, 4.0]  # the fixed part of the first levels is -1
    assert np.isfinite(criterion.value(criterion.to_x(np.array(theta))))
    far = np.array([1e-3, 3.0, 4.0])
    with pytest.raises(lmm.NumericalError, match="use another link"):
        criterion.value(criterion.to_x(far))


@pytest.mark.parametrize(
    "family, random",
    [(lmm.Gamma("identity"), "ar1(0 + t | g)"), (lmm.InverseGaussian("identity"), "(x | g)")],
)
def test_of_several_modes_the_same_is_found_again(family, random):
    rng = np.random.default_rng(0)
    data = table(IDENTITY)
    mean = np.maximum(1.0 + 0.5 * rng.normal(size=GROUPS)[GROUP] + 0.2 * data["x"], 0.05)
    data["y"] = rng.gamma(2.0, mean / 2.0) + 1e-3
    criterion = lmm.LaplaceCriterion(lmm.build_matrices(f"y ~ x + {random}", data), family)
    optimum = lmm.minimize(criterion)
    assert criterion.value(optimum.x) == pytest.approx(optimum.value, abs=1e-8)
    assert_allclose(criterion.to_theta(optimum.x), optimum.theta)
