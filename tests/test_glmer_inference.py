"""What follows from generalized fits: tests and diagnostics, beside R's."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

import lmm
from generalized import IDS, fitted, reference, table, without_scale
from lmm.plain_fit import ScoredFit


def rows(block):
    """A table of R's as rows by name; missing numbers are NaN."""
    names = block["rows"] if isinstance(block["rows"], list) else [block["rows"]]
    numbers = [
        [np.nan if value is None else float(value) for value in row] for row in block["values"]
    ]
    return dict(zip(names, np.array(numbers), strict=True))


@pytest.mark.filterwarnings("ignore::lmm.SingularFitWarning")
@pytest.mark.parametrize("model", [m for m in IDS if "drop1" in reference(m)])
def test_drop1(model):
    found = fitted(model).drop1(test="Chisq").to_frame()
    for term, expected in rows(reference(model)["drop1"]["table"]).items():
        np.testing.assert_allclose(found.loc[term], expected, rtol=2e-5, atol=1e-4)


@pytest.mark.parametrize("model", [m for m in IDS if "anova_sequential" in reference(m)])
def test_sequential_sums_of_squares(model):
    found = fitted(model).anova(ddf="lme4").to_frame()
    for term, expected in rows(reference(model)["anova_sequential"]["table"]).items():
        np.testing.assert_allclose(found.loc[term], expected, rtol=1e-3)


def test_wald_tests_take_the_covariance_of_the_hessian():
    m = fitted("cbpp")
    beta, vcov = m.beta[1:], m.fit.vcov[1:, 1:]
    table = m.anova(2)
    assert table.heading[0] == "Analysis of Deviance Table (Type II Wald chisquare tests)"
    chisq = beta @ np.linalg.solve(vcov, beta)
    np.testing.assert_allclose(table["Chisq"]["period"], chisq, rtol=1e-12)
    joint = lmm.linear_hypothesis(m, [f"period{k} = 0" for k in "234"])
    np.testing.assert_allclose(joint["Chisq"].iloc[1], chisq, rtol=1e-12)


@pytest.mark.parametrize("model", IDS)
def test_leverages_sum_to_the_effective_number_of_parameters(model):
    m = fitted(model)
    h = m.hatvalues().to_numpy()
    W, X, Z, L = m.fit.working_weights, m.X, m.Z.tocsr(), m.Lambda
    spherical = (Z @ L).toarray()
    A = np.hstack([X, spherical]) * np.sqrt(W)[:, None]
    penalty = np.r_[np.zeros(X.shape[1]), np.ones(spherical.shape[1])]
    hat = np.einsum("ij,ji->i", A, np.linalg.solve(A.T @ A + np.diag(penalty), A.T))
    np.testing.assert_allclose(h, hat, atol=1e-9)
    assert (h < 1.0).all()  # lme4's are not: 1.92 for the first row of cbpp
    assert m.cooks_distance().to_numpy().max() < np.inf


@pytest.mark.parametrize("kind", ["satterthwaite", "kenward-roger"])
def test_degrees_of_freedom_are_of_linear_models(kind):
    m = fitted("cbpp")
    for call in (m.anova, m.contest, m.drop1, lmm.emmeans):
        arguments = {m.contest: ([0, 1, 0, 0],), lmm.emmeans: (m, "period")}.get(call, ())
        keywords = {"test": "F"} if call == m.drop1 else {}
        with pytest.raises(ValueError, match="exist for linear models only"):
            call(*arguments, ddf=kind, **keywords)


def test_default_tests_are_asymptotic():
    m = fitted("cbpp")
    assert np.isinf(m.contest([0, 1, 0, 0])["DenDF"].iloc[0])
    assert np.isinf(m.ls_means("period")["df"]).all()


@pytest.mark.parametrize("model", ["cbpp", "sim_nb", "sim_gamma_log"])
def test_random_terms_are_tested_against_the_model_without_any(model):
    m = fitted(model)
    table = m.ranova().to_frame()
    plain = ScoredFit.of(m.fit.matrices, m.fit.criterion.family)
    assert table["npar"].iloc[-1] == table["npar"].iloc[0] - len(m.theta)
    gone = m.fit.without_effects
    small = m.fit.criterion.to_theta(
        m.fit.criterion.model.joined(
            np.zeros(len(m.theta)), m.fit.criterion.model.T @ plain.beta, plain.xi
        )
    )
    at_zero = m.fit.criterion.value(m.fit.criterion.to_x(small))
    np.testing.assert_allclose(gone, at_zero, rtol=1e-10)


@pytest.mark.parametrize("model", without_scale()[:3])
def test_all_optimizers_agree(model):
    fits = fitted(model).all_fit().fits
    values = [fit.optimum.value for fit in fits.values()]
    assert np.ptp(values) < 1e-5
    assert fitted(model).check_convergence()


# Intervals ---------------------------------------------------------------------------------------


def names_of(block):
    return dict(zip(block["rows"], np.array(block["values"], dtype=float), strict=True))


@pytest.mark.parametrize("model", ["cbpp", "epil", "bacteria"])
def test_profile_intervals(model):
    found = fitted(model).confint().to_frame()
    for name, expected in names_of(reference(model)["ci_profile"]).items():
        # R interpolates its profile; ours is exact at the limits (see the next test)
        np.testing.assert_allclose(found.loc[name], expected, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("model", ["cbpp", "sim_nb", "sim_gamma_log"])
def test_profile_limits_rise_by_the_quantile(model):
    m = fitted(model)
    profile = m.profile()
    frame = profile.to_frame()
    for curve in profile.curves:
        rows = frame[frame[".par"] == curve.name]
        for limit in curve.limits(0.95):
            if np.isfinite(limit) and limit not in (0.0, -1.0, 1.0):
                nearest = rows.iloc[(rows[".focal"] - limit).abs().argmin()]
                np.testing.assert_allclose(abs(nearest[".zeta"]), 1.959964, rtol=1e-4)
                value = m.fit.criterion.value(at(m, profile, nearest))
                np.testing.assert_allclose(value - m.optimum.value, 3.841459, rtol=1e-3)


def at(m, profile, row):
    """Coordinates of the parameters that a row of a profile's table holds; single terms only."""
    criterion, names = m.fit.criterion, list(profile.names)
    values = row[names].to_numpy(dtype=float)
    fixed = values[len(names) - m.X.shape[1] :]
    sd = [value for name, value in zip(names, values, strict=True) if name.startswith("sd_")]
    assert len(sd) == len(m.theta)
    size = [
        v**2 if n == "sigma" else v
        for n, v in zip(names, values, strict=True)
        if n in ("sigma", "theta")
    ]
    return criterion.to_x(np.r_[sd, fixed, size])


def test_profiles_of_correlated_effects():
    m = fitted("contraception_slope")
    table = m.profile("theta_").confint().to_frame()
    assert list(table.index) == m.confint(method="wald").to_frame().index.tolist()[:3]
    estimate = m.varcorr().to_frame()["sdcor"].to_numpy()
    assert (table.to_numpy()[:, 0] < estimate[[0, 2, 1]]).all()
    assert (table.to_numpy()[:, 1] > estimate[[0, 2, 1]]).all()


@pytest.mark.parametrize("model", [m for m in without_scale() if not reference(m)["singular"]])
def test_wald_intervals(model):
    found = fitted(model).confint(method="wald").to_frame()
    b, half = fitted(model).beta, 1.959964 * fitted(model).bse.to_numpy()
    np.testing.assert_allclose(found.iloc[-len(b) :, 0], b - half, rtol=1e-5)
    assert np.isfinite(found.to_numpy()).all()  # R has none for variances


def test_wald_intervals_of_sizes_come_from_the_hessian():
    for model in ("sim_nb", "sim_gamma_log"):
        m = fitted(model)
        name = "theta" if model == "sim_nb" else "sigma"
        power = 1.0 if model == "sim_nb" else 0.5
        covariance = np.linalg.inv(m.fit.hessian) * 2.0
        error = power * np.sqrt(covariance[-1, -1])
        size = m.shape**power
        expected = size * np.exp(np.array([-1.959964, 1.959964]) * error)
        np.testing.assert_allclose(m.confint(method="wald").loc[name], expected, rtol=1e-5)


def test_profiles_need_fixed_effects_as_parameters():
    with pytest.raises(ValueError, match="nagq=0"):
        fitted("cbpp", 0).profile()


def test_quadrature_has_profiles_too():
    m = fitted("cbpp", 9)
    limits = m.confint("beta_").to_frame()
    assert (limits.iloc[:, 0] < m.fixef()).all()
    assert (limits.iloc[:, 1] > m.fixef()).all()


# The bootstrap -----------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["cbpp", "sim_nb", "sim_gamma_log"])
def test_bootstrap_draws_from_the_model_and_refits_it(model):
    m = fitted(model)
    b = m.bootstrap(12, seed=3)
    assert b.converged.all()
    assert not b.failed.any()
    assert list(b.estimate.index) == list(m.confint(method="wald").index)
    refits = m.bootstrap(12, seed=3, statistic=lambda each: each.deviance())
    assert len(refits.replicates.drop_duplicates()) == 12
    assert np.isfinite(b.confint(type="bca").to_numpy()).all()
    again = m.bootstrap(12, seed=3, statistic=lambda each: each.fixef())
    p = len(m.beta)
    np.testing.assert_allclose(again.replicates, b.replicates.iloc[:, -p:], atol=1e-3)


def test_bootstrap_names_responses_that_cannot_be_fitted():
    # Two of twelve: now and then a simulated response is zero throughout.
    data = pd.DataFrame({"y": [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0], "g": list("aaabbbcccddd")})
    with pytest.warns(lmm.SingularFitWarning):
        m = lmm.glmer("y ~ 1 + (1 | g)", data, family="binomial")
    with pytest.warns(lmm.FailedReplicatesWarning, match=r"The fit failed in 1 of 30 replicates"):
        b = m.bootstrap(30, seed=1)
    assert b.failed.sum() == 1
    assert b.replicates[b.failed].isna().all(axis=None)
    assert "The response is 0 in all rows" in b.errors[0]


def test_bootstrap_has_the_sampling_spread():
    m = fitted("cbpp")
    b = m.bootstrap(60, seed=1)
    error = b.std_error[-4:].to_numpy()
    np.testing.assert_allclose(error, m.bse, rtol=0.35)


def test_semiparametric_bootstrap_is_of_linear_models():
    with pytest.raises(ValueError, match="linear models only"):
        fitted("cbpp").bootstrap(5, kind="semiparametric", use_u=True)


# Influence ---------------------------------------------------------------------------------------


def test_influence_refits_without_levels():
    m = fitted("cbpp")
    without = m.influence("herd")
    data = m.data
    other = m.update(data=data[data["herd"] != "4"])
    place = list(without.deleted).index("4")
    np.testing.assert_allclose(without.fixef_without[place], other.beta, atol=1e-6)
    np.testing.assert_allclose(without.components_without[place], other.theta**2, atol=1e-5)
    assert without.converged.all()
    assert without.component_names == ("var_(Intercept)|herd",)


def test_errors_of_few_rows_are_those_of_all():
    cbpp = lmm.load_dataset("cbpp")
    m = lmm.glmer("cbind(incidence, size - incidence) ~ period + (1 | herd)", cbpp)
    whole = m.predict(se=True)["se"]
    few = m.predict(cbpp.iloc[[3, 40]], se=True)["se"]
    np.testing.assert_allclose(few, whole.iloc[[3, 40]], rtol=1e-12)
    fixed = m.predict(cbpp.iloc[[3]], re_form="~0", se=True)["se"]
    row = [1.0, 0.0, 0.0, 1.0]
    np.testing.assert_allclose(fixed, np.sqrt(row @ m.vcov().to_numpy() @ row), rtol=1e-10)


# Sizes of effects, and checks --------------------------------------------------------------------


@pytest.mark.parametrize(
    "model", [m for m in without_scale() if m not in ("sim_singular", "grouseticks")]
)
def test_variance_explained(model):
    expected, m = reference(model), fitted(model)
    r2, icc = lmm.r2_nakagawa(m), lmm.icc(m)
    np.testing.assert_allclose(r2.conditional, expected["r2_nakagawa"]["conditional"], rtol=2e-3)
    np.testing.assert_allclose(r2.marginal, expected["r2_nakagawa"]["marginal"], rtol=2e-3)
    np.testing.assert_allclose(icc.adjusted, expected["icc"]["adjusted"], rtol=2e-3)


def test_effects_of_single_rows_are_dispersion():
    # R's model without predictors did not converge, to which the mean count belongs
    r2 = lmm.r2_nakagawa(fitted("grouseticks"))
    np.testing.assert_allclose(r2.conditional, 0.7654, rtol=5e-3)


def test_links_without_a_latent_variance_have_no_r2():
    m = fitted("cbpp").update(family=lmm.Binomial("log"))
    with pytest.raises(ValueError, match="log link has none"):
        lmm.r2_nakagawa(m)
    assert lmm.model_performance(m).to_frame().columns[-2:].to_list() == ["RMSE", "Sigma"]
    rows = lmm.table(m, fitted("cbpp")).to_frame().index
    assert {"ICC", "R2 marginal", "AIC"} <= set(rows)
    assert "ICC" not in lmm.table(m).to_frame().index


@pytest.mark.parametrize("model", without_scale())
def test_overdispersion(model):
    check, expected = fitted(model).check_overdispersion(), reference(model)["overdispersion"]
    np.testing.assert_allclose(check.chisq, expected["chisq"], rtol=1e-4)
    assert check.df == expected["rdf"]


def test_overdispersion_prints_as_in_r():
    assert str(fitted("epil").check_overdispersion()) == (
        "# Overdispersion test\n\n"
        "       dispersion ratio =   1.586\n"
        "  Pearson's Chi-Squared = 363.093\n"
        "                p-value = < 0.001\n\n"
        "Overdispersion detected."
    )


def test_zero_inflation_prints_as_in_r():
    assert str(fitted("epil").check_zero_inflation()) == (
        "# Check for zero-inflation\n\n"
        "   Observed zeros: 23\n"
        "  Predicted zeros: 12\n"
        "            Ratio: 0.52\n\n"
        "Model is underfitting zeros (probable zero-inflation)."
    )
    with pytest.raises(ValueError, match="not of binomial"):
        fitted("cbpp").check_zero_inflation()


def test_laplace_is_checked_by_quadrature():
    assert fitted("cbpp").check_laplace()
    poor = fitted("toenail").check_laplace(25)
    assert not poor
    assert poor.loc["(Intercept)", "shift"] > 1.0
    assert str(poor).endswith("fit with nagq=25.")


# Comparisons -------------------------------------------------------------------------------------


def test_likelihoods_of_other_rules_are_not_compared():
    m = fitted("cbpp")
    for other in (
        fitted("cbpp", 9),
        m.update(information="observed", family=lmm.Binomial("probit")),
    ):
        with pytest.raises(lmm.DataError, match="likelihoods cannot be compared"):
            lmm.anova(m, other)


def test_poisson_is_compared_with_negative_binomial():
    data = table("epil")
    formula = "y ~ lbase + (1 | subject)"
    table_ = lmm.anova(lmm.glmer(formula, data, "poisson"), lmm.glmer_nb(formula, data))
    assert table_["Df"].iloc[1] == 1
    assert table_["Pr(>Chisq)"].iloc[1] < 1e-6


def test_parametric_bootstrap_compares_nested_models():
    m = fitted("cbpp")
    comparison = lmm.pb_modcomp(m, m.update(". ~ . - period"), nsim=19, seed=1)
    assert comparison.to_frame()["p.value"].iloc[1] == 0.05


@pytest.mark.parametrize(
    "call",
    [
        lambda m: lmm.refit_many(m, np.column_stack([m.y, m.y])),
        lambda m: m.exact_rlrt(),
        lambda m: m.reml_criterion(),
        lambda m: m.summary("satterthwaite"),
        lambda m: lmm.kr_modcomp(m, m),
    ],
)
def test_what_is_of_linear_models_says_so(call):
    with pytest.raises(ValueError, match="exist for linear models only"):
        call(fitted("cbpp"))


# Tables ------------------------------------------------------------------------------------------


def test_tidy_tables_hold_ratios():
    m = fitted("cbpp")
    plain = m.tidy("fixed", conf_int=True)
    ratios = m.tidy("fixed", conf_int=True, exponentiate=True)
    np.testing.assert_allclose(ratios["estimate"], np.exp(m.beta))
    np.testing.assert_allclose(ratios["conf.high"], np.exp(plain["conf.high"]))
    np.testing.assert_allclose(ratios["std.error"], np.exp(m.beta) * plain["std.error"])
    assert list(ratios["statistic"]) == list(plain["statistic"])
    assert ratios["p.value"].notna().all()


@pytest.mark.parametrize("model", ["sim_nb", "sim_gamma_log"])
def test_tidy_tables_have_intervals_of_random_effects(model):
    m = fitted(model)
    rows = m.tidy("ran_pars", conf_int=True)
    limits = m.confint("theta_", method="wald").to_frame().to_numpy()
    np.testing.assert_allclose(rows[["conf.low", "conf.high"]], limits[: len(rows)])


def test_glance_and_augment_are_brooms():
    m = fitted("cbpp")
    np.testing.assert_allclose(m.glance()["deviance"], 73.4717, rtol=1e-5)
    rows = m.augment()
    np.testing.assert_allclose(rows[".sqrtXwt"][:3], [1.7277, 1.2083, 0.9955], atol=2e-4)
    np.testing.assert_allclose(rows[".fitted"], rows[".eta"])
    np.testing.assert_allclose(rows[".wtres"], m.residuals("pearson"))
    np.testing.assert_allclose(rows[".resid"], m.residuals())


def test_tables_of_models_show_odds_ratios():
    text = str(lmm.table(fitted("cbpp"), exponentiate=True))
    assert "0.37" in text
    assert "z tests" in text


def test_generalized_models_have_no_reml():
    with pytest.raises(TypeError, match="glmer has no argument 'reml'"):
        fitted("cbpp").update(reml=False)


def test_components_of_the_deviance_are_those_of_a_generalized_model():
    parts = lmm.get_me(fitted("cbpp"), "devcomp")
    np.testing.assert_allclose(parts["cmp"]["drsum"], 73.4717, rtol=1e-5)
    np.testing.assert_allclose(parts["cmp"]["wrss"], reference("cbpp")["wrss"], rtol=1e-4)
    np.testing.assert_allclose(parts["cmp"]["ussq"], reference("cbpp")["ussq"], rtol=1e-3)
    np.testing.assert_allclose(parts["cmp"]["ldL2"], reference("cbpp")["ldL2"], rtol=1e-4)
    assert (parts["dims"]["GLMM"], parts["dims"]["useSc"]) == (1, 0)


def test_means_over_the_population_have_intervals_on_the_scale_of_the_link():
    m = lmm.glmer(
        "cbind(incidence, size - incidence) ~ period + (1 | herd)", lmm.load_dataset("cbpp")
    )
    table = m.predict({"period": ["1", "2"]}, type="population", interval="confidence", level=0.9)
    mean, error = table["fit"].to_numpy(), table["se"].to_numpy()
    half = 1.6448536269514722 * error / (mean * (1.0 - mean))
    for end, sign in (("lower", -1.0), ("upper", 1.0)):
        odds = mean / (1.0 - mean) * np.exp(sign * half)
        np.testing.assert_allclose(table[end], odds / (1.0 + odds), rtol=1e-10)
    with pytest.raises(ValueError, match="confidence intervals only"):
        m.predict(type="population", interval="prediction")


def test_exponentials_are_ratios_with_links_of_logarithms_only():
    m = fitted("cbpp").update(family=lmm.Binomial("probit"))
    with pytest.warns(lmm.RatioWarning, match="not with 'probit'"):
        rows = m.tidy("fixed", exponentiate=True)
    np.testing.assert_allclose(rows["estimate"], np.exp(m.beta))
    with pytest.warns(lmm.RatioWarning, match="emmeans"):
        lmm.table(m, exponentiate=True)
    with pytest.warns(lmm.RatioWarning, match="log, logit or cloglog"):
        lmm.plots.coefficients(m, exponentiate=True)
    for link in ("logit", "cloglog", "log"):
        fitted("cbpp").update(family=lmm.Binomial(link)).tidy("fixed", exponentiate=True)


def test_profiles_of_nested_models_whose_hessians_are_learned_settle():
    """Coefficients go on with exact second derivatives where approximate ones lead slowly."""
    rng = np.random.default_rng(183)
    g, k = np.repeat(np.arange(12), 9), np.tile(np.repeat(np.arange(3), 3), 12)
    x, u, v = rng.normal(size=108), rng.normal(size=12), rng.normal(size=(12, 3))
    rng.normal(size=3)
    mu = np.exp(0.5 + 0.3 * x + 0.3 * u[g] + 0.2 * v[g, k])
    data = {"y": rng.poisson(mu * rng.gamma(100.0, 0.01, size=108)), "x": x, "g": g, "k": k}
    control = lmm.GlmerControl(check_conv_singular="ignore")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", lmm.ConvergenceWarning)  # theta is all but infinite
        m = lmm.glmer_nb("y ~ x + (1 | g / k)", data, control=control)
        low, high = m.confint("x", method="profile").to_numpy()[0]
    wald = m.confint("x", method="wald").to_numpy()[0]
    np.testing.assert_allclose([low, high], wald, atol=0.01)
