"""Generalized models against R: optima, standard errors, prints, and what follows a fit."""

import re

import numpy as np
import pandas as pd
import pytest

import lmm
from generalized import IDS, family, fitted, many, reference, table, values, without_scale

# Models of which glmmTMB maximizes the same likelihood, by Laplace with observed information.
SAME = [m for m in IDS if reference(m)["glmmTMB"] and family(m).is_canonical]


def close(actual, expected, scale, tolerance):
    difference = np.abs(np.asarray(actual, float) - np.asarray(expected, float)) / scale
    assert np.max(difference) <= tolerance


@pytest.mark.parametrize("model", IDS)
def test_optimum(model):
    """Never above R's by 1e-6; an estimated theta of R's is only nearly the best."""
    m, r = fitted(model), reference(model)
    target = r["glmmTMB"]["criterion"] if r["useSc"] else r["laplace_again"]
    assert m.converged
    assert -1e-3 < m.deviance() - target < 1e-6
    assert m.optimum.exact_hessian
    assert m.is_singular() == r["singular"]


@pytest.mark.parametrize("model", without_scale())
def test_estimates(model):
    m, r = fitted(model), reference(model)
    se = values(r["se"])
    assert list(m.fixef().index) == list(r["fixef"])
    near = 1e-3 if r["nb_estimated"] else 1e-5
    close(m.fixef(), values(r["fixef"]), se, near)
    close(m.theta, values(r["theta"]), np.abs(values(r["theta"])) + 0.1, near)


@pytest.mark.parametrize("model", without_scale())
def test_criterion_at_given_parameters(model):
    r, fit = reference(model), fitted(model).fit
    shape = [r["nb_theta"]] if r["nb_estimated"] else []
    for point in r["criterion_at"]:
        x = fit.criterion.to_x(np.concatenate([many(point["theta"]), many(point["beta"]), shape]))
        # R's own modes stop at 1e-14 of the penalized deviance, or before
        assert fit.criterion.value(x) == pytest.approx(point["value"], rel=1e-6)


@pytest.mark.parametrize("model", SAME)
def test_standard_errors(model):
    """R's come from differences; glmmTMB's, like these, from exact second derivatives."""
    m, r = fitted(model), reference(model)
    expected = np.array(r["glmmTMB"]["se"][: len(m.beta)])
    if not r["singular"]:
        close(m.bse, expected, expected, 1e-4)


@pytest.mark.parametrize("model", IDS)
def test_dispersion_families_are_likelihoods(model):
    r = reference(model)
    if r["useSc"]:
        m = fitted(model)
        assert m.shape == pytest.approx(r["glmmTMB"]["dispersion_sigma"] ** 2, rel=1e-5)
        expected = np.array(r["glmmTMB"]["se"][: len(m.beta)])
        close(m.bse, expected, expected, 1e-4)


@pytest.mark.parametrize("model", without_scale())
def test_after_the_fit(model):
    m, r = fitted(model), reference(model)
    near = 1e-3 if r["nb_estimated"] else 1e-4
    close(m.predict()[:6], r["linear_head"], 1.0, near)
    close(m.fitted()[:6], r["fitted_head"], np.maximum(np.abs(r["fitted_head"]), 1e-3), near)
    for kind, head in r["residuals_head"].items():
        close(m.residuals(kind)[:6], head, np.maximum(np.abs(head), 0.1), near)
    assert m.deviance(conditional=True) == pytest.approx(r["deviance_conditional"], rel=near)
    assert m.aic() == pytest.approx(r["AIC"], abs=1e-3)
    assert m.bic() == pytest.approx(r["BIC"], abs=1e-3)
    for group, modes in r["ranef"].items():
        levels = [str(level) for level in modes["levels"]]
        expected = np.array(modes["values"], dtype=float)
        actual = m.ranef()[group].loc[levels].to_numpy()
        close(actual, expected.reshape(actual.shape), max(np.abs(expected).max(), 0.1), near)


@pytest.mark.parametrize("model", without_scale())
def test_conditional_variances(model):
    m, r = fitted(model), reference(model)
    for (group, blocks), (_, D) in zip(
        r["condVar"].items(), m.ranef(condvar=True).condvar.items(), strict=True
    ):
        expected = np.moveaxis(np.array(blocks, dtype=float), -1, 0)
        close(D[: len(expected)], expected, max(np.abs(expected).max(), 1e-6), 1e-3), group


@pytest.mark.parametrize("model", without_scale())
def test_predictions_of_new_rows(model):
    m, r = fitted(model), reference(model)
    rows = pd.DataFrame(r["newdata"])
    data = table(r["data"])
    for name in rows:
        if isinstance(data[name].dtype, pd.CategoricalDtype):
            rows[name] = rows[name].astype(str)
    for kind in ("link", "response"):
        expected = np.array(r[f"predict_new_{kind}"], dtype=float)
        actual = m.predict(rows, type=kind, allow_new_levels=True)
        close(actual, expected, np.maximum(np.abs(expected), 0.05), 1e-3)


# Lines of summaries that differ from R's by a last digit or two, and why.
DIFFERENT = {
    # standard errors by differences there, the fixed effects' own share only at a singular fit
    "sim_singular": r"^\(Intercept\)|optimizer|boundary|Simpler|^x |^$",
    "toenail": "treatmentterbinafine ",
    "owls_offset": r"^FoodTreatmentSatiated|^SexParentMale|^\(Intercept\) |FdTrt|^SexP|FTS:SP",
    # theta is the best here, and nearly that there
    "sim_nb": r"^-1.18|^\(Intercept\) |^x  |^fb|^z ",
}


def lines(text, model):
    """Lines that should be the same."""
    skipped = DIFFERENT.get(model)
    return [line for line in text if not (skipped and re.search(skipped, line))]


@pytest.mark.parametrize("model", without_scale())
def test_prints(model):
    """To the character; R was told not to mention a singular fit."""
    foot = reference(model)["singular"]
    text = str(fitted(model)).splitlines()
    assert (text[:-1] if foot else text) == reference(model)["print_text"]


@pytest.mark.parametrize("model", without_scale())
def test_summaries(model):
    """To the character, but for `DIFFERENT`."""
    text = str(fitted(model).summary()).splitlines()
    assert lines(text, model) == lines(reference(model)["summary_text"], model)


@pytest.mark.filterwarnings("ignore::lmm.SingularFitWarning")
@pytest.mark.parametrize("term", ["(1 | g)", "(x | g)", "(1 | g) + (1 | h)"])
@pytest.mark.parametrize("name, link", [("Gamma", "identity"), ("Gaussian", "log")])
def test_rows_of_negative_information(name, link, term):
    # glmmTMB 1.1.5's standard errors of the first predictions, Gamma(identity) and (1 | g)
    rng = np.random.default_rng(5)
    g, h = rng.integers(0, 20, 300), rng.integers(0, 6, 300)
    x, b = rng.normal(size=300), 0.5 * rng.normal(size=20)
    y = rng.gamma(4, (8.0 + 0.8 * x + b[g]) / 4)
    data = pd.DataFrame({"y": y, "x": x, "g": g.astype(str), "h": h.astype(str)})
    m = lmm.glmer(f"y ~ x + {term}", data, getattr(lmm, name)(link))
    mu = m.fitted().to_numpy()
    W = 2.0 * y / mu**3 - 1.0 / mu**2 if name == "Gamma" else mu * (2.0 * mu - y)
    assert W.min() < 0.0
    Z, L = (lmm.get_me(m, part).toarray() for part in ("Z", "Lambda"))
    inner = (Z @ L).T @ (W[:, None] / m.shape * (Z @ L)) + np.eye(len(L))
    D = (L @ np.linalg.solve(inner, L.T)).diagonal()
    found = np.concatenate([np.einsum("lkk->lk", own).ravel() for own in m.joint.conditional])
    np.testing.assert_allclose(np.sort(found), np.sort(D), rtol=1e-10, atol=1e-14)
    hat = m.hatvalues().to_numpy()
    assert 0.0 < hat.min() < hat.max() < 1.0
    if name == "Gamma" and term == "(1 | g)":
        se = m.predict(se=True)["se"].to_numpy()
        np.testing.assert_allclose(se[:2], [0.6803814, 0.7102205], rtol=1e-5)


def test_standard_errors_of_predictions():
    """By the joint covariance of fixed and random effects: glmmTMB's for the first row of cbpp."""
    m = fitted("cbpp")
    table = m.predict(se=True, interval="confidence")
    assert table["se"].iloc[0] == pytest.approx(0.37833013, abs=1e-6)
    response = m.predict(type="response", se=True, interval="confidence")
    np.testing.assert_allclose(response["lower"], 1.0 / (1.0 + np.exp(-table["lower"])))
    mu = response["fit"]
    np.testing.assert_allclose(response["se"], table["se"] * mu * (1.0 - mu))


@pytest.mark.parametrize(
    "start",
    [
        [1.0, 300.0, -200.0, 50.0, 9.0],
        1e4,
        {"theta": 0.3, "fixef": [-1.0, 0.0, 0.0, 0.0]},
        {"theta": 0.3},
        {"period2": -3.0, "herd.(Intercept)": 9.0},
    ],
)
def test_the_same_optimum_from_any_start(start):
    m = lmm.glmer(reference("cbpp")["formula"], table("cbpp"), start=start)
    assert m.converged
    assert m.deviance() == pytest.approx(fitted("cbpp").deviance(), abs=1e-7)


@pytest.mark.parametrize("start", [[3.0, 100.0, -50.0], [300.0, 0.5, 0.3], 1e9])
def test_starts_from_which_counts_overflow(start):
    rng = np.random.default_rng(11)
    g, x = rng.integers(0, 20, 300), rng.normal(size=300)
    counts = rng.poisson(np.exp(0.5 + 0.3 * x + 0.6 * rng.normal(size=20)[g]))
    data = {"n": counts, "x": x, "g": g.astype(str)}
    m = lmm.glmer("n ~ x + (1 | g)", data, "poisson", start=start)
    assert m.converged
    expected = lmm.glmer("n ~ x + (1 | g)", data, "poisson").deviance()
    assert m.deviance() == pytest.approx(expected, abs=1e-7)


def test_starts_that_cannot_be_used():
    formula, data = reference("cbpp")["formula"], table("cbpp")
    with pytest.raises(ValueError, match="no place for 'perod2'"):
        lmm.glmer(formula, data, start={"perod2": 0.0})
    with pytest.raises(lmm.NumericalError, match=r"start from a smaller one\.$"):
        lmm.glmer(formula, data, start=1e60)
    with pytest.raises(ValueError, match="start of theta must be positive, not 0"):
        lmm.glmer_nb("incidence ~ 1 + (1 | herd)", data, start=[0.5, 0.0, 0.0])


@pytest.mark.parametrize("nagq", [-1, 101, 2.5, None, True, np.nan, np.inf])
def test_points_are_a_number_of_them(nagq):
    with pytest.raises(ValueError, match="nagq must be a whole number from 0 to 100"):
        lmm.glmer(reference("cbpp")["formula"], table("cbpp"), nagq=nagq)


def test_an_exposure_of_zero_has_no_logarithm():
    formula = "incidence ~ 1 + offset(log(exposure)) + (1 | herd)"
    data = table("cbpp").assign(exposure=np.r_[0.0, np.ones(55)])
    with pytest.raises(lmm.DataError, match="1 of 56 rows are not, first -inf at row 0"):
        lmm.glmer(formula, data, "poisson")


def test_refits_take_responses_of_the_same_form():
    with pytest.raises(lmm.DataError, match="numbers of trials"):
        fitted("cbpp").refit(np.ones((56, 2)))
    data = table("cbpp").assign(ill=np.where(table("cbpp")["incidence"] > 1, "yes", "no"))
    control = lmm.GlmerControl(check_conv_singular="ignore")
    m = lmm.glmer("ill ~ 1 + (1 | herd)", data, control=control)
    with pytest.raises(lmm.DataError, match="'maybe', but its levels are 'no', 'yes'"):
        m.refit(["yes", "maybe"] * 28)


# What linear models and others share --------------------------------------------------------------


def test_linear_models_take_the_scale_of_predictions():
    d = lmm.load_dataset("Dyestuff")
    with pytest.warns(lmm.ResponseWarning, match="Responses of generalized models"):
        m = lmm.glmer("Yield ~ 1 + (1 | Batch)", d, "gaussian")
    for scale in ("link", "response"):
        np.testing.assert_array_equal(m.predict(type=scale), m.fitted())
    np.testing.assert_array_equal(m.predict(type="population"), m.predict(re_form="~0"))
    with pytest.raises(ValueError, match="leave random_only and re_form out"):
        m.predict(type="population", re_form="~0")
    with pytest.raises(ValueError, match="'population', not 'terms'"):
        m.predict(type="terms")


def test_a_dispersion_is_drawn_with_only_where_there_is_one():
    with pytest.raises(ValueError, match="binomial family has no dispersion"):
        fitted("cbpp").simulate(1, sigma=2.0)
    draws = fitted("sim_gamma_log").simulate(2, seed=1, sigma=2.0)
    assert not draws.equals(fitted("sim_gamma_log").simulate(2, seed=1))


def test_kinds_of_residuals_are_those_of_the_model():
    with pytest.raises(ValueError, match="Known: response, working, deviance, pearson, quantile"):
        fitted("cbpp").residuals("partial")
    m = lmm.lmer("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff"))
    with pytest.raises(ValueError, match="pearson, marginal, normalized, least-squares"):
        m.residuals("quantile")


@pytest.mark.filterwarnings("ignore::lmm.SingularFitWarning")
@pytest.mark.parametrize("link, end", [("1/mu^2", np.inf), ("sqrt", 0.0)])
def test_limits_of_means_end_where_the_link_does(link, end):
    rng = np.random.default_rng(5)
    g = np.repeat(np.arange(8), 4)
    d = pd.DataFrame({"g": g, "x": np.where(g % 2, 1.0, 0.0)})
    mean = 0.15 if link == "sqrt" else 1.0
    count = rng.poisson(mean, 32) if link == "sqrt" else rng.wald(mean, 0.5, 32)
    family = lmm.Poisson(link) if link == "sqrt" else lmm.InverseGaussian(link)
    m = lmm.glmer("y ~ x + (1 | g)", d.assign(y=count), family)
    eta = m.predict(re_form="~0", interval="confidence", level=0.999)
    means = m.predict(re_form="~0", interval="confidence", level=0.999, type="response")
    over = eta["lower"] * eta["upper"] < 0.0
    assert over.any()
    assert (means.loc[over, "upper" if end else "lower"] == end).all()
    assert (means["lower"] <= means["fit"]).all()
    assert (means["fit"] <= means["upper"]).all()
    ax = lmm.plots.fitted_lines(m, "x", interval="confidence", level=0.999)
    drawn = [path.vertices[:, 1] for path in ax.collections[0].get_paths()]
    for band in drawn:  # none where it would be infinite
        assert set(means[["lower", "upper"]].to_numpy().ravel().round(9)) <= set(band.round(9))
    assert bool(drawn) == (end == 0.0)


RATES = {"a": 0.2, "b": 1.5, "c": 4.0}
SHARES = {"a": 0.97, "b": 0.5, "c": 0.3}


@pytest.mark.filterwarnings("ignore::lmm.SingularFitWarning")
@pytest.mark.parametrize(
    "family", [lmm.Poisson("identity"), lmm.NegativeBinomial(3.0, "identity"), lmm.Binomial("log")]
)
def test_limits_of_means_stay_in_the_range_of_means(family):
    rng = np.random.default_rng(5)
    d = pd.DataFrame({"g": np.repeat(np.arange(10), 6), "f": rng.choice(list("abc"), 60)})
    d["count"], d["sick"] = rng.poisson(d["f"].map(RATES)), rng.binomial(8, d["f"].map(SHARES))
    response = "cbind(sick, 8 - sick)" if family.name == "binomial" else "count"
    m = lmm.glmer(f"{response} ~ f + (1 | g)", d, family)
    least, largest = family.mean_range
    new = {"f": ["a", "b", "c"]}
    wide = {"interval": "confidence", "level": 0.999}
    eta, means = m.predict(new, "~0", **wide), m.predict(new, "~0", type="response", **wide)
    beyond = means["lower"] == least if family.link == "identity" else means["upper"] == largest
    assert beyond.to_list() == [True, False, False]
    np.testing.assert_allclose(means["fit"], family.inverse(eta["fit"].to_numpy()))
    np.testing.assert_allclose(means["lower"][1:], family.inverse(eta["lower"][1:].to_numpy()))
    if family.link == "log":
        table = lmm.emmeans(m, "f", type="response").confint(level=0.999).to_frame()
        np.testing.assert_allclose(table["asymp.UCL"], means["upper"])


def test_a_fit_whose_mode_holds_the_fixed_effects_has_their_wald_intervals():
    m = fitted("cbpp", 0)
    limits = m.confint(method="wald")
    assert limits.iloc[0].isna().all()
    half = 1.959963984540054 * m.bse
    np.testing.assert_allclose(limits.iloc[1:, 0], m.fixef() - half)
    assert m.tidy(conf_int=True)["conf.low"].notna().sum() == 4


def test_bootstraps_outside_the_link_say_so():
    rng = np.random.default_rng(1)
    d = pd.DataFrame({"g": np.repeat(np.arange(20), 10)})
    level = np.minimum(-0.6 + 0.5 * rng.standard_normal(20), -0.05)
    d["y"] = rng.binomial(1, np.exp(level)[d["g"]])
    m = lmm.glmer("y ~ 1 + (1 | g)", d, lmm.Binomial("log"))
    with pytest.raises(lmm.NumericalError, match="'log' link allows"):
        m.bootstrap(20, seed=1)


def test_tests_of_linear_models_are_refused():
    with pytest.raises(ValueError, match="F tests exist for linear models only"):
        fitted("cbpp").drop1(test="F")
    with pytest.raises(ValueError, match="test must be 'Chisq', 'LRT' or 'PB', not 'F'"):
        fitted("cbpp").anova(test="F")


def test_families_that_are_nearly_right_are_named():
    with pytest.raises(lmm.DataError, match="not 'log'; a link is given by link='log'"):
        lmm.NegativeBinomial("log")
    with pytest.raises(lmm.DataError, match=r"write lmm.Binomial\(link=...\)"):
        lmm.glmer("y ~ 1 + (1 | g)", {"y": [0, 1], "g": [0, 1]}, "binomial(probit)")


def test_means_of_computed_proportions_are_probabilities():
    m = lmm.glmer(
        "I(incidence / size) ~ period + (1 | herd)", lmm.load_dataset("cbpp"), weights="size"
    )
    assert list(lmm.emmeans(m, "period", type="response").to_frame())[1] == "prob"
