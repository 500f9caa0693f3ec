"""Effect sizes against the prints of R's performance and insight."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

import lmm


@pytest.fixture(scope="module")
def slopes():
    return lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))


def test_prints_are_those_of_performance(slopes):
    assert str(lmm.icc(slopes)) == (
        "# Intraclass Correlation Coefficient\n\n    Adjusted ICC: 0.722\n  Unadjusted ICC: 0.521"
    )
    assert str(lmm.r2_nakagawa(slopes)) == (
        "# R2 for Mixed Models\n\n  Conditional R2: 0.799\n     Marginal R2: 0.279"
    )
    intercepts = lmm.lmer("Reaction ~ Days + (1 | Subject)", lmm.load_dataset("sleepstudy"))
    assert str(lmm.icc(intercepts, by_group=True)) == (
        "# ICC by Group\n\nGroup   |   ICC\n---------------\nSubject | 0.589"
    )
    assert str(lmm.model_performance(slopes)) == (
        "# Indices of model performance\n\n"
        "AIC      |     AICc |      BIC | R2 (cond.) | R2 (marg.) |   ICC |   RMSE |  Sigma\n"
        f"{'-' * 82}\n"
        "1755.628 | 1756.114 | 1774.786 |      0.799 |      0.279 | 0.722 | 23.438 | 25.592"
    )


def test_variance_is_decomposed_as_by_insight(slopes):
    decomposition = lmm.get_variance(slopes)
    assert decomposition.parts.fixed == pytest.approx(909, abs=0.5)
    assert decomposition.parts.random == pytest.approx(1698, abs=0.5)
    assert decomposition.parts.residual == pytest.approx(654.94, rel=1e-5)
    assert decomposition.intercept == pytest.approx({"Subject": 612.1}, rel=1e-4)
    assert decomposition.slope == pytest.approx({"Subject.Days": 35.07}, rel=1e-3)
    assert decomposition.slope_intercept == pytest.approx({"Subject.Days": 0.06555}, rel=1e-3)
    assert len(decomposition.to_frame()) == 6


def test_random_part_is_the_mean_of_the_marginal_variance(slopes):
    ZL = (slopes.Z @ slopes.Lambda).toarray()
    mean = slopes.sigma**2 * np.mean(np.sum(ZL**2, axis=1))
    assert lmm.get_variance(slopes).parts.random == pytest.approx(mean, rel=1e-10)


def test_groups_add_up():
    m = lmm.lmer("diameter ~ 1 + (1 | plate) + (1 | sample)", lmm.load_dataset("Penicillin"))
    frame = lmm.icc(m, by_group=True).to_frame()
    assert frame["Group"].tolist() == ["plate", "sample"]
    assert frame["ICC"].sum() == pytest.approx(lmm.icc(m).adjusted)
    assert lmm.r2_nakagawa(m).marginal == pytest.approx(0.0, abs=1e-25)


def test_no_random_variance():
    with pytest.warns(lmm.SingularFitWarning):
        m = lmm.lmer("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff2"))
    assert lmm.icc(m).adjusted == pytest.approx(0.0, abs=1e-12)


def test_intervals_are_those_of_the_bootstrap():
    m = lmm.lmer("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff"))
    replicates = m.bootstrap(60, seed=3, statistic=lambda model: lmm.icc(model).adjusted)
    result = lmm.icc(m, nsim=60, seed=3, level=0.9)
    explained = lmm.r2_nakagawa(m, nsim=60, seed=3)
    limits = result.to_frame()["Adjusted ICC"].iloc[1:]
    assert list(limits.index) == ["5 %", "95 %"]
    np.testing.assert_allclose(limits, replicates.confint(0.9).to_frame().iloc[0])
    assert f"[{limits.iloc[0]:.3f}, {limits.iloc[1]:.3f}]" in str(result)
    np.testing.assert_allclose(explained.to_frame()["Marginal R2"], 0.0, atol=1e-20)
    with pytest.raises(ValueError, match="leave by_group or nsim out"):
        lmm.icc(m, by_group=True, nsim=60)


@pytest.mark.parametrize(
    "formula, data, expected",
    [
        (
            "Reaction ~ Days + (Days | Subject)",
            "sleepstudy",
            {"Level 1": 1.231324e-06, "Subject": 6.066842e-02},
        ),
        (
            "yield ~ nitro + Variety + (1 | Block)",
            "Oats",
            {"Level 1": 0.5709829541, "Block": -0.1188780977},
        ),
    ],
)
def test_variance_explained_by_level_is_that_of_performance(formula, data, expected):
    """performance 0.10: r2_nakagawa(m, by_group = TRUE), with the precision of lme4's optima."""
    explained = lmm.r2_nakagawa(lmm.lmer(formula, lmm.load_dataset(data)), by_group=True)
    assert list(explained.by_group) == list(expected)
    np.testing.assert_allclose(
        list(explained.by_group.values()), list(expected.values()), atol=2e-5
    )


def test_variance_of_generalized_models_explained_by_level():
    """performance: 0.374319 and 0.461062; the distribution's variance is not explained."""
    cbpp = lmm.load_dataset("cbpp")
    m = lmm.glmer("cbind(incidence, size - incidence) ~ period + (1 | herd)", cbpp)
    explained = lmm.r2_nakagawa(m, by_group=True)
    np.testing.assert_allclose(explained.to_frame()["R2"], [0.0, 0.374319239], atol=1e-4)
    assert str(explained) == (
        "# Explained Variance by Level\n\n"
        "Level   |    R2\n---------------\nLevel 1 | 0.000\nherd    | 0.374"
    )
    counts = lmm.glmer("incidence ~ period + (1 | herd)", cbpp, "poisson")
    herd = lmm.r2_nakagawa(counts, by_group=True).by_group["herd"]
    assert herd == pytest.approx(0.461062387, abs=1e-4)
    with pytest.raises(ValueError, match="those of the whole R2"):
        lmm.r2_nakagawa(m, by_group=True, nsim=10)


def test_intervals_of_shares_in_the_word_of_performance():
    m = lmm.lmer("Reaction ~ Days + (1 | Subject)", lmm.load_dataset("sleepstudy"))
    assert str(lmm.icc(m, ci=0.9, seed=2)) == str(lmm.icc(m, nsim=100, level=0.9, seed=2))
    assert str(lmm.r2_nakagawa(m, ci=0.9, nsim=30, seed=2)) == str(
        lmm.r2_nakagawa(m, nsim=30, level=0.9, seed=2)
    )
    with pytest.raises(ValueError, match="level"):
        lmm.icc(m, ci=95)


def test_performance_of_fits_without_rows(tmp_path):
    data, path = lmm.load_dataset("sleepstudy"), tmp_path / "rows.parquet"
    data.to_parquet(path)
    formula = "Reaction ~ Days + (Days | Subject)"
    rows = lmm.model_performance(lmm.lmer(formula, data)).to_frame()
    sums = lmm.model_performance(lmm.lmer(formula, lmm.scan(path))).to_frame()
    assert_allclose(sums.astype(float), rows.astype(float), rtol=1e-7)
    data.assign(w=np.linspace(0.5, 2.0, 180)).to_parquet(path)
    weighted = lmm.lmer(formula, lmm.scan(path), weights="w")
    with pytest.raises(lmm.DataError, match="keeps no rows"):
        lmm.model_performance(weighted)


def test_shares_of_counts_with_offset_and_independent_slopes():
    """The mean is that at an offset of 0; slopes count with the mean square of their variable."""
    rng = np.random.default_rng(4)
    g, x, hours = np.repeat(np.arange(30), 10), rng.normal(size=300), rng.uniform(1.0, 8.0, 300)
    u, v = rng.normal(size=(2, 30)) * 0.5
    counts = rng.poisson(hours * np.exp(-1.0 + 0.4 * x + u[g] + v[g] * x))
    data = {"y": counts, "x": x, "g": g, "hours": hours}
    m = lmm.glmer("y ~ x + offset(log(hours)) + (x || g)", data, "poisson")
    empty = lmm.glmer("y ~ 1 + offset(log(hours)) + (x || g)", data, "poisson")
    intercepts, slopes = (float(c[0, 0]) for c in m.fit.covariances)
    random = intercepts + slopes * np.mean(x**2)
    fixed = m.fixef()["x"] ** 2 * np.var(x, ddof=1)
    rows = np.log1p(1.0 / np.exp(empty.fixef()["(Intercept)"]))
    r2 = lmm.r2_nakagawa(m)
    assert_allclose(r2.conditional, (fixed + random) / (fixed + random + rows), rtol=1e-6)
    assert_allclose(r2.marginal, fixed / (fixed + random + rows), rtol=1e-6)
