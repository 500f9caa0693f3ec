"""Structures in generalized models: values of glmmTMB 1.1.5, derivatives, what comes after."""

import numpy as np
import pandas as pd
import pytest

import lmm

CBPP = "cbind(incidence, size - incidence) ~ "
STRUCTURES = [
    "cs(0 + t | g)",
    "cs(0 + t | g, hom = TRUE)",
    "ar1(0 + t | g)",
    "ar1(0 + t | g, hom = FALSE)",
    "toep(0 + t | g)",
    "ou(0 + t | g) + (1 | h)",
    "diag(0 + t | g, hom = TRUE)",
]


@pytest.fixture(scope="module")
def counts():
    """50 subjects counted twice at 3 times, at irregular distances."""
    rng = np.random.default_rng(7)
    g, t = (a.ravel() for a in np.indices((50, 6)))
    times = np.array([0.0, 1.0, 3.0])
    u = rng.multivariate_normal(np.zeros(3), 0.7 ** np.abs(np.subtract.outer(times, times)), 50)
    x, h = rng.standard_normal(300), rng.integers(0, 8, 300)
    z = rng.poisson(np.exp(0.3 + 0.4 * x + u[g, t % 3] + 0.4 * rng.standard_normal(8)[h]))
    level = pd.Categorical([f"{times[k]:.0f}" for k in t % 3])
    return pd.DataFrame({"z": z, "x": x, "g": g, "h": h, "t": level})


def test_an_autoregression_is_that_of_glmmTMB():
    m = lmm.glmer(CBPP + "1 + ar1(0 + period | herd)", lmm.load_dataset("cbpp"), family="binomial")
    assert m.deviance() == pytest.approx(188.461080531, abs=1e-7)
    assert m.fixef().iloc[0] == pytest.approx(-2.52052837533, abs=1e-5)
    np.testing.assert_allclose(m.par, [1.15731085996, 0.0226603464366], atol=1e-5)


def test_compound_symmetry_is_as_low_as_in_glmmTMB():
    formula = CBPP + "period + cs(0 + period | herd)"
    with pytest.warns(lmm.SingularFitWarning, match="variance is zero for period4"):
        m = lmm.glmer(formula, lmm.load_dataset("cbpp"), family="binomial")
    assert m.converged
    assert m.deviance() == pytest.approx(169.915755823, abs=1e-6)


@pytest.mark.parametrize("term", STRUCTURES)
def test_derivatives_agree_with_differences(counts, term):
    m = lmm.glmer(f"z ~ x + {term}", counts, family="poisson")
    criterion, step = m.fit.criterion, 1e-5
    m_par = len(criterion.parameters.lower)
    x = m.fit.optimum.x.copy()
    x[:m_par] = criterion.parameters.generic * 0.8
    here = criterion.exactly(x)
    sides = [(criterion.evaluate(x + s), criterion.evaluate(x - s)) for s in step * np.eye(len(x))]
    slopes = np.array([(up.value - down.value) / (2 * step) for up, down in sides])
    np.testing.assert_allclose(here.gradient, slopes, atol=1e-6 * np.abs(slopes).max())
    bends = np.array([(up.gradient - down.gradient) / (2 * step) for up, down in sides])
    np.testing.assert_allclose(here.hessian, bends, atol=1e-5 * np.abs(bends).max())


@pytest.mark.filterwarnings("ignore::lmm.SingularFitWarning")
@pytest.mark.parametrize("term", ["cs(0 + t | g)", "ar1(0 + t | g)", "ou(0 + t | g) + (1 | h)"])
def test_results_after_the_fit(counts, term, tmp_path):
    m = lmm.glmer(f"z ~ x + {term}", counts, family="poisson")
    assert f"({term[: term.index('(')]})" in str(m.varcorr())
    again = m.refit(m.fit.matrices.y)
    np.testing.assert_allclose(again.par, m.par, atol=1e-5)
    m.save(tmp_path / "m.lmm")
    loaded = lmm.load(tmp_path / "m.lmm")
    np.testing.assert_allclose(loaded.predict(counts), m.predict(counts), atol=1e-9)
    limits = m.confint(method="wald").to_frame()
    assert "cor_rho|g" in limits.index
    assert np.isfinite(m.simulate(2, seed=1).to_numpy()).all()
    new = counts.head(4).assign(g=999)
    assert np.isfinite(m.predict(new, allow_new_levels=True)).all()
