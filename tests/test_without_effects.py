"""Results of models without random effects, against R's lm, glm, car, emmeans and broom."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose

import lmm
import lmm.plots
import r_tables


@pytest.fixture(scope="module")
def warpbreaks():
    return r_tables.warpbreaks()


@pytest.fixture(scope="module")
def mtcars():
    return r_tables.mtcars()


@pytest.fixture(scope="module")
def linear(warpbreaks):
    return lmm.lm("breaks ~ wool * tension", warpbreaks)


@pytest.fixture(scope="module")
def counts(warpbreaks):
    return lmm.glm("breaks ~ wool + tension", warpbreaks, "poisson")


@pytest.fixture(scope="module")
def gamma(mtcars):
    return lmm.glm("mpg ~ wt + factor(cyl)", mtcars, lmm.Gamma("log"))


def test_summary_of_lm_prints_as_in_r(linear):
    assert [line.rstrip() for line in str(linear.summary()).replace("\t", " ").split("\n")] == [
        "Call:",
        "lm(formula = breaks ~ wool * tension, data = w)",
        "",
        "Residuals:",
        "     Min       1Q   Median       3Q      Max",
        "-19.5556  -6.8889  -0.6667   7.1944  25.4444",
        "",
        "Coefficients:",
        "               Estimate Std. Error t value Pr(>|t|)",
        "(Intercept)      44.556      3.647  12.218 2.43e-16 ***",
        "woolB           -16.333      5.157  -3.167 0.002677 **",
        "tensionM        -20.556      5.157  -3.986 0.000228 ***",
        "tensionH        -20.000      5.157  -3.878 0.000320 ***",
        "woolB:tensionM   21.111      7.294   2.895 0.005698 **",
        "woolB:tensionH   10.556      7.294   1.447 0.154327",
        "---",
        "Signif. codes:  0 ‘***’ 0.001 ‘**’ 0.01 ‘*’ 0.05 ‘.’ 0.1 ‘ ’ 1",
        "",
        "Residual standard error: 10.94 on 48 degrees of freedom",
        "Multiple R-squared:  0.3778, Adjusted R-squared:  0.3129",
        "F-statistic: 5.828 on 5 and 48 DF,  p-value: 0.0002772",
    ]


def test_tables_of_broom(linear, counts):
    r = [0.377750856446, 0.312933237326, 10.9402840372, 5.82790391831, 0.000277196404348, 5]
    r += [-202.634933862, 419.269867723, 433.192756049, 5745.11111111, 48, 54]
    assert_allclose(linear.glance().iloc[0], r, rtol=1e-10)
    r = [297.372211805, 53, -242.527983209, 493.055966418, 501.011902604, 210.391888762, 50, 54]
    assert_allclose(counts.glance().iloc[0], r, rtol=1e-10)
    columns = [".fitted", ".resid", ".hat", ".sigma", ".cooksd", ".std.resid"]
    r = [44.5555555556, -18.5555555556, 0.111111111111, 10.6768429959, 0.0674220593355]
    assert_allclose(linear.augment()[columns].iloc[0], [*r, -1.79896049098], rtol=1e-10)
    # R's weights are those before its last step
    r = [3.69196314495, -2.38453611085, 0.0827404262558, 2.04137296525, 0.1222252800399]
    assert_allclose(counts.augment()[columns].iloc[0], [*r, -2.48976167194], rtol=2e-5)
    assert_allclose(linear.rstudent()[:2], [-1.84334814613, -1.42628314008], rtol=1e-10)
    assert_allclose(counts.rstudent()[:2], [-2.47678454796, -1.74113029517], rtol=1e-5)
    rows = linear.augment({"wool": ["B"], "tension": ["H"]})
    assert_allclose(rows[".fitted"], linear.fitted().iloc[-1:])
    limits = linear.tidy(conf_int=True).iloc[2][["conf.low", "conf.high"]].astype(float)
    assert_allclose(limits, [-30.9250008919, -10.1861102192], rtol=1e-10)
    ratios = counts.tidy(exponentiate=True, conf_int=True)
    assert_allclose(ratios["estimate"], np.exp(counts.beta))
    with pytest.raises(ValueError, match="the model has fixed effects alone"):
        linear.tidy("ran_pars")


def test_types_of_anova(linear, mtcars):
    table = linear.anova("II").to_frame()
    r = [450.666666667, 2034.259259259, 1002.777777778, 5745.11111111]
    assert_allclose(table["Sum Sq"], r, rtol=1e-9)
    assert_allclose(table["Pr(>F)"][:3], [0.05821298, 0.00069262, 0.02104419], rtol=1e-5)
    assert str(linear.anova("II")).startswith("Anova Table (Type II tests)\n\nResponse: breaks")
    # a factor is contained in its interaction with a number, as car has it
    weighted = lmm.lm("mpg ~ wt * factor(cyl)", mtcars, weights="hp")
    r = [13126.720097, 16191.558911, 3118.531668, 18326.630173]
    assert_allclose(weighted.anova(2).to_frame()["Sum Sq"], r, rtol=1e-9)
    assert_allclose(weighted.glance()["r.squared"], 0.852811827697, rtol=1e-10)
    tests = lmm.wald_anova(weighted, test="F").to_frame()
    assert_allclose(tests["F"], [18.62288, 11.48549, 2.21213], rtol=1e-6)
    assert (tests["Df.res"] == 26).all()


def test_type_two_of_mixed_models_is_that_of_car(mtcars):
    m = lmm.lmer("mpg ~ hp * factor(cyl) + (1 | gear)", mtcars, weights="wt")
    # car::Anova(lmer(mpg ~ hp * factor(cyl) + (1 | gear), mtcars, weights = wt))
    found = lmm.wald_anova(m).to_frame()["Chisq"]
    assert_allclose(found, [7.17085113186, 7.31555335903, 3.97921671480], rtol=1e-5)


def test_deviances_are_those_of_r(counts, gamma):
    table = counts.anova().to_frame()
    assert_allclose(table["Deviance"][1:], [16.03875253, 70.94157051], rtol=1e-8)
    assert_allclose(table["Pr(>Chi)"][1:], [6.2059e-05, 3.9376e-16], rtol=1e-4)
    dropped = counts.drop1().to_frame()
    assert_allclose(dropped["AIC"], [493.0559664, 507.0947190, 559.9975369], rtol=1e-9)
    table = gamma.anova().to_frame()
    assert_allclose(table["F"][1:], [150.00752, 6.09115], rtol=2e-5)
    assert_allclose(table["Pr(>F)"][1:], [9.1846e-13, 0.0063639], rtol=1e-4)
    dropped = gamma.drop1().to_frame()
    assert_allclose(dropped["F value"][1:], [23.77873, 6.31312], rtol=1e-6)
    # differences of R's AIC, whose own dispersion is another estimate
    assert_allclose(np.diff(dropped["AIC"]), np.diff([149.1686583, 170.1113392, 157.3509653]), 1e-4)
    assert_allclose(gamma.drop1(test="Chisq").to_frame()["Df"][1:], [1, 2])
    with pytest.raises(ValueError, match="F is for families with a dispersion"):
        counts.anova("F")


def test_models_without_random_effects_are_compared(linear, counts, warpbreaks):
    smaller = linear.update(". ~ wool")
    table = lmm.anova(smaller, linear)
    assert_allclose(table.iloc[1], [48, 5745.11111111, 4, 3037.037037, 6.34356, 0.00035092], 1e-5)
    assert str(table).split("\n")[2:4] == ["Model 1: breaks ~ wool", f"Model 2: {linear.formula}"]
    found = lmm.anova(counts.update(". ~ . - tension"), counts, names=["a", "b"]).to_frame()
    assert_allclose(
        found.loc["b", ["Df", "Deviance", "Pr(>Chi)"]], [2, 70.94157051, 3.9376e-16], 1e-4
    )
    with pytest.raises(lmm.DataError, match="one of another family"):
        lmm.anova(linear, counts)
    with pytest.raises(lmm.DataError, match="different families"):
        lmm.anova(counts, counts.update(family="negative.binomial"))


def test_marginal_means_and_contrasts(linear, counts, gamma):
    means = lmm.emmeans(linear, "tension").to_frame()
    assert_allclose(means["df"], 48)
    assert_allclose(means["SE"], 2.5786497, rtol=1e-7)
    pairs = lmm.emmeans(linear, "pairwise ~ wool | tension").contrasts.to_frame()
    assert_allclose(pairs["t.ratio"], [3.167, -0.926, 1.120], atol=5e-4)
    rates = lmm.emmeans(counts, "tension", type="response").to_frame()
    assert_allclose(rates["rate"], [36.2, 26.2, 21.6], atol=0.05)
    assert np.isinf(rates["df"]).all()
    means = lmm.emmeans(gamma, "cyl").to_frame()
    assert_allclose(means["emmean"], [3.12, 2.96, 2.84], atol=5e-3)
    assert_allclose(means["SE"], [0.0490, 0.0456, 0.0424], atol=5e-5)
    assert_allclose(means["df"], 28)
    assert len(lmm.joint_tests(linear).to_frame()) == 3
    assert len(lmm.emtrends(gamma, "cyl", "wt").to_frame()) == 3


def test_predictions_have_errors_and_intervals(linear, counts, warpbreaks):
    row = warpbreaks[:1]
    found = linear.predict(row, interval="prediction").iloc[0]
    r = [44.5555555556, 3.64676134574, 21.3687708944, 67.7423402167]
    assert_allclose(found, r, rtol=1e-10)
    found = counts.predict(row, type="response", se=True).iloc[0]
    assert_allclose(found, [40.1235380122, 1.82203765066], rtol=1e-5)
    with pytest.raises(ValueError, match="for linear models only"):
        counts.predict(row, interval="prediction")


def test_profile_intervals(mtcars, counts):
    m = lmm.glm("am ~ wt", mtcars)
    # confint(glm(...)), which interpolates
    r = [[5.21379462635, 23.62891068633], [-7.69893019550, -1.83336475261]]
    assert_allclose(m.confint(), r, rtol=5e-3)
    # at its limits the deviance is the quantile of chi-square above the minimum
    low = m.confint("wt").to_frame().iloc[0, 0]
    held = lmm.glm("am ~ 1", mtcars, offset=low * mtcars["wt"].to_numpy())
    assert_allclose(held.deviance() - m.deviance(), 3.841458820694124, rtol=1e-9)
    assert_allclose(counts.confint(1), [[-0.307262988056, -0.105064053155]], rtol=1e-5)
    separated = {"y": [0, 0, 1, 0, 1, 1, 1, 1], "x": [0, 0, 0, 0, 1, 1, 1, 1]}
    with pytest.warns(lmm.ConvergenceWarning, match="fitted probabilities"):
        apart = lmm.glm("y ~ x", separated)
    assert apart.confint("x").to_frame().iloc[0, 1] == np.inf
    with pytest.raises(ValueError, match="There is no coefficient 'wd'"):
        m.confint("wd")


def test_robust_covariances(mtcars, gamma):
    m = lmm.lm("mpg ~ wt", mtcars)
    # clubSandwich::coef_test(vcov = "CR2", cluster = gear)
    tests = lmm.coef_test(m, cluster="gear").to_frame()
    assert_allclose(tests["SE"], [4.47, 1.26], atol=5e-3)
    assert_allclose(tests["d.f."], [1.99, 1.86], atol=5e-3)
    # sandwich::vcovCL(type = "HC0", cadjust = TRUE)
    errors = np.sqrt(np.diag(lmm.vcov_cr(gamma, cluster="gear")))
    r = [0.0593363129205, 0.0174162267730, 0.0420269612154, 0.0501164458915]
    assert_allclose(errors, r, rtol=1e-4)
    with pytest.raises(lmm.DataError, match="no grouping factor: name the clusters"):
        lmm.vcov_cr(m)


def test_indices_and_tables(mtcars, counts, warpbreaks, linear):
    m = lmm.glm("am ~ wt", mtcars)
    for model, r in ((m, 0.713123284104), (counts, 0.803522848234)):
        shown = lmm.model_performance(model).to_frame()["R2 (Nagelkerke)"]
        assert_allclose(shown, r, rtol=1e-9)
    mixed = lmm.lmer("breaks ~ wool + (1 | tension)", warpbreaks)
    compared = lmm.compare_performance(linear, mixed, names=["lm", "lmer"])
    assert_allclose(compared.loc["lm", "AIC"], 419.269867723)
    assert np.isnan(compared.loc["lm", "ICC"])
    assert "nan" not in str(compared)
    side = lmm.table(linear, mixed, names=["lm", "lmer"])
    assert side.to_frame().loc["R2"].tolist() == ["0.38", "", "", "", "", ""]
    assert side.notes[0].startswith("p-values: t tests with the residual degrees of freedom")


def test_standard_errors_of_variances_stand_in_tables():
    m = lmm.lmer("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff"))
    table = lmm.table(m, show="error", variance_errors=True).to_frame()
    errors = m.tidy("ran_pars", variance_errors=True)["std.error"]
    shown = table["SE"][["sd (Intercept) | Batch", "sd Residual"]].astype(float)
    assert_allclose(shown, errors, atol=0.005)
    assert lmm.table(m, show="error").to_frame()["SE"]["sd Residual"] == ""
    with pytest.raises(ValueError, match="they need show='error'"):
        lmm.table(m, variance_errors=True)


def test_models_are_updated_refitted_and_simulated(linear, counts, warpbreaks):
    logs = linear.update("log(.) ~ . - wool:tension")
    assert str(logs.formula) == "log(breaks) ~ wool + tension"
    half = counts.update(subset="wool == 'A'", formula=". ~ . - wool")
    assert half.nobs == 27
    assert counts.update(family="negative.binomial").n_parameters == 5
    drawn = counts.simulate(3, seed=4)
    assert drawn.shape == (54, 3)
    refitted = counts.refit(drawn["sim_1"])
    again = lmm.glm("breaks ~ wool + tension", warpbreaks.assign(breaks=drawn["sim_1"]), "poisson")
    assert_allclose(refitted.beta, again.beta)
    cbpp = lmm.load_dataset("cbpp")
    m = lmm.glm("cbind(incidence, size - incidence) ~ period", cbpp)
    first = m.simulate(1, seed=1)["sim_1"]
    assert (first.sum(axis=1) == cbpp["size"]).all()
    assert m.refit(first).nobs == 56
    assert_allclose(linear.simulate(4000, seed=1).std(axis=1).mean(), linear.sigma, rtol=0.01)
    with pytest.raises(lmm.FormulaError, match="fit the model with lmer"):
        linear.update(". ~ . + (1 | wool)")
    with pytest.raises(TypeError, match="lm has no argument 'reml'"):
        linear.update(reml=False)


@pytest.mark.parametrize("name", ["linear", "counts", "gamma"])
def test_models_are_kept(name, request, tmp_path):
    m = request.getfixturevalue(name)
    m.save(tmp_path / "m.lmm")
    for again in (lmm.load(tmp_path / "m.lmm"), pickle.loads(pickle.dumps(m))):
        assert type(again) is type(m)
        assert str(again.summary()) == str(m.summary())
        assert_allclose(again.predict(), m.predict())


def test_pictures(linear, counts):
    for m in (linear, counts):
        assert m.plot().get_ylabel() == "Pearson residuals"
        titles = [ax.get_title() for ax in lmm.plots.check_model(m).axes]
        assert "Leverages" in titles
        assert lmm.plots.qq_residuals(m) is not None


def test_what_needs_random_effects_says_so(linear, counts):
    for m in (linear, counts):
        kind = type(m).__name__
        with pytest.raises(
            AttributeError, match=f"{kind} has no 'ranef', which is for models with"
        ):
            m.ranef()
        with pytest.raises(TypeError, match=f"{kind} has no random effects"):
            lmm.icc(m)
        with pytest.raises(AttributeError, match="no attribute 'rannef'"):
            m.rannef()


def test_models_are_pooled_as_by_mice(warpbreaks):
    shifts = [(np.arange(54) * k) % 7 for k in (1, 2, 3)]
    sets = [warpbreaks.assign(breaks=warpbreaks["breaks"] + shift) for shift in shifts]
    pooled = lmm.pool([lmm.lm("breaks ~ wool + tension", d) for d in sets]).to_frame()
    r = [3.26243952585, 3.26264975165, 4.00808168490, 3.99883041886]
    assert_allclose(pooled["std.error"], r, rtol=1e-10)
    # mice takes shares of variance below 1e-4, as the intercept's, for 1e-4
    assert_allclose(pooled["df"][1:], [48.1049066431, 47.7689286452, 48.0317233825], rtol=1e-10)
    assert pooled["df"].iloc[0] == pytest.approx(48.1083846543, rel=1e-4)
    exact = lmm.pool([lmm.lm("breaks ~ wool", d) for d in sets], df="satterthwaite")
    assert (exact.variances()["dfcom"] == 52).all()
    pooled = lmm.pool([lmm.glm("breaks ~ wool + tension", d, "poisson") for d in sets]).to_frame()
    r = [0.0437763977587, 0.0490332495426, 0.0584875619004, 0.0608978229883]
    assert_allclose(pooled["std.error"], r, rtol=1e-8)
    r = [48.0968979385, 48.0487386969, 45.2782215305, 47.4130807888]
    assert_allclose(pooled["df"], r, rtol=1e-7)


def test_likelihood_ratios_of_deletions(warpbreaks):
    m = lmm.lm("breaks ~ wool + tension", warpbreaks)
    # drop1(lm(breaks ~ wool + tension, warpbreaks), test = "Chisq")
    tests = m.drop1(test="Chisq").to_frame()
    assert_allclose(tests["Pr(>Chi)"][1:], [0.0616981863112, 0.0008134173338], rtol=1e-8)
    with pytest.raises(ValueError, match="test must be 'F' or 'Chisq', not 'LRT'"):
        m.drop1(test="LRT")


def test_quantile_residuals_are_normal():
    rng = np.random.default_rng(1)
    d = {"x": rng.normal(size=4000)}
    d["n"] = rng.poisson(np.exp(0.5 * d["x"]))
    values = lmm.glm("n ~ x", d, "poisson").residuals("quantile", seed=2)
    assert_allclose([values.mean(), values.std()], [0.0, 1.0], atol=0.03)
    assert_allclose(np.quantile(values, [0.025, 0.975]), [-1.96, 1.96], atol=0.1)


def test_models_without_coefficients(mtcars):
    for m in (lmm.lm("mpg ~ 0", mtcars), lmm.glm("am ~ 0", mtcars)):
        assert "No coefficients" in str(m)
        assert "No Coefficients" in str(m.summary())
        assert len(m.tidy(conf_int=True)) == 0
    assert lmm.glm("am ~ 1", mtcars).anova().index.tolist() == ["NULL"]
