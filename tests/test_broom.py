import warnings

import narwhals.stable.v2 as nw
import numpy as np
import polars as pl
import pyarrow as pa
import pytest

import lmm
from fits import fitted
from reference import fit_arguments, load_reference, load_table

# Labels as broom.mixed::tidy gives them; the numbers are those of the reference fits.
TERMS = [
    (
        "sleep_slope",
        [
            ("Subject", "sd__(Intercept)"),
            ("Subject", "cor__(Intercept).Days"),
            ("Subject", "sd__Days"),
            ("Residual", "sd__Observation"),
        ],
    ),
    (
        "pastes",
        [
            ("cask:batch", "sd__(Intercept)"),
            ("batch", "sd__(Intercept)"),
            ("Residual", "sd__Observation"),
        ],
    ),
]


@pytest.mark.parametrize("model_id, random", TERMS)
def test_rows_and_columns_are_broom_mixeds(model_id, random):
    reference = load_reference(model_id)
    table = load_table(reference["data"])
    tidy = lmm.lmer(reference["formula"], table, **fit_arguments(reference)).tidy()
    assert list(tidy.columns) == ["effect", "group", "term", "estimate", "std.error", "statistic"]
    fixed, ran_pars = (tidy[tidy["effect"] == effect] for effect in ("fixed", "ran_pars"))
    assert len(fixed) + len(ran_pars) == len(tidy)
    assert fixed["group"].isna().all()
    estimates, errors = (np.array(list(reference[key].values())) for key in ("fixef", "se"))
    assert list(fixed["term"]) == list(reference["fixef"])
    np.testing.assert_allclose(fixed["estimate"], estimates, rtol=1e-5)
    np.testing.assert_allclose(fixed["std.error"], errors, rtol=1e-5)
    np.testing.assert_allclose(fixed["statistic"], estimates / errors, rtol=1e-5)
    assert list(zip(ran_pars["group"], ran_pars["term"], strict=True)) == random
    sdcor = [row["sdcor"] for row in reference["VarCorr"]]
    np.testing.assert_allclose(ran_pars["estimate"], sdcor, rtol=1e-4)
    assert ran_pars[["std.error", "statistic"]].isna().all(axis=None)


def test_a_model_without_fixed_effects_has_variance_parameters_only():
    tidy = lmm.lmer("Reaction ~ 0 + (1 | Subject)", lmm.load_dataset("sleepstudy")).tidy()
    assert list(tidy["term"]) == ["sd__(Intercept)", "sd__Observation"]


def test_intervals_stand_beside_the_estimates():
    # confint(fm1, method = "Wald") and confint(fm1) of lme4
    m = fitted("slopes")
    fixed = m.tidy("fixed", conf_int=True).set_index("term")
    assert list(fixed.loc["Days", ["conf.low", "conf.high"]]) == pytest.approx(
        [7.437592, 13.49698], rel=1e-5
    )
    random = m.tidy("ran_pars", conf_int=True, conf_method="profile").set_index("term")
    assert list(random.loc["sd__Days", ["conf.low", "conf.high"]]) == pytest.approx(
        [3.8011640, 8.7533831], rel=1e-4
    )


@pytest.mark.parametrize(
    "ddf, limits",
    [
        # coef(summary(fm1, ddf = ...)): estimate -+ qt(0.975, df) * standard error
        ("satterthwaite", [7.205954651, 13.72861727]),
        ("kenward-roger", [7.205954889, 13.72861703]),
        ("asymptotic", [7.437592, 13.49698]),
        (None, [7.437592, 13.49698]),
    ],
)
def test_limits_belong_to_the_p_values(ddf, limits):
    table = fitted("slopes").tidy("fixed", conf_int=True, ddf=ddf).set_index("term")
    assert list(table.loc["Days", ["conf.low", "conf.high"]]) == pytest.approx(limits, rel=1e-5)


def test_a_limit_at_zero_has_the_p_value_of_its_level():
    """The level whose interval just reaches zero is one minus the p-value."""
    m = lmm.lmer(
        "Yield ~ 1 + (1 | Batch)",
        lmm.load_dataset("Dyestuff").assign(Yield=lambda d: d["Yield"] - 1484),
    )
    p = float(m.tidy("fixed", ddf="satterthwaite")["p.value"].iloc[0])
    row = m.tidy("fixed", ddf="satterthwaite", conf_int=True, conf_level=1.0 - p).iloc[0]
    assert row["conf.low"] == pytest.approx(0.0, abs=1e-8 * row["estimate"])


def test_variances_instead_of_standard_deviations():
    table = fitted("slopes").tidy("ran_pars", scales="vcov")
    assert list(table["term"]) == [
        "var__(Intercept)",
        "cov__(Intercept).Days",
        "var__Days",
        "var__Observation",
    ]
    np.testing.assert_allclose(
        table["estimate"], [612.100158, 9.604409, 35.071714, 654.940008], rtol=1e-4
    )


def test_random_effects_and_coefficients_by_level():
    m = fitted("slopes")
    modes = m.tidy("ran_vals")
    assert list(modes.columns) == ["effect", "group", "level", "term", "estimate", "std.error"]
    assert list(modes.iloc[0, :4]) == ["ran_vals", "Subject", "308", "(Intercept)"]
    np.testing.assert_allclose(modes["std.error"][0], 12.07086, rtol=1e-5)
    sums = m.tidy("ran_coefs")
    assert list(sums.columns) == ["effect", "group", "level", "term", "estimate"]
    np.testing.assert_allclose(sums["estimate"][:3], [253.6637, 211.0064, 212.4447], rtol=1e-6)


def test_degrees_of_freedom_on_demand():
    table = fitted("slopes").tidy("fixed", ddf="satterthwaite")
    np.testing.assert_allclose(table["df"], 17.0, rtol=1e-4)
    np.testing.assert_allclose(table["p.value"], [1.171558e-17, 3.263824e-06], rtol=1e-3)


def test_glance_is_one_row():
    row = fitted("slopes").glance()
    assert list(row.columns) == ["nobs", "sigma", "logLik", "AIC", "BIC", "REMLcrit", "df.residual"]
    np.testing.assert_allclose(
        row.iloc[0], [180, 25.5918, -871.8141, 1755.628, 1774.786, 1743.628, 174], rtol=1e-6
    )
    assert "deviance" in fitted("slopes", reml=False).glance()


def test_augment_adds_columns_to_the_data():
    table = fitted("slopes").augment()
    added = ".fitted .resid .hat .cooksd .fixed .mu .offset .sqrtXwt .sqrtrwt .weights .wtres"
    assert list(table.columns) == ["Reaction", "Days", "Subject", *added.split()]
    first = [253.6637, -4.103656, 0.229304, 0.004963133, 251.4051, 253.6637, 0, 1, 1, 1, -4.103656]
    np.testing.assert_allclose(table.iloc[0, 3:].astype(float), first, rtol=1e-4)


def test_augment_follows_na_action():
    data = lmm.load_dataset("sleepstudy")
    data.loc[3, "Reaction"] = np.nan
    short = lmm.lmer("Reaction ~ Days + (1 | Subject)", data).augment()
    long = lmm.lmer("Reaction ~ Days + (1 | Subject)", data, na_action="exclude").augment()
    assert len(short) == 179
    assert long[".fitted"].isna().sum() == 1
    np.testing.assert_allclose(long.drop(3)[".resid"], short[".resid"])


@pytest.mark.parametrize(
    "options, message",
    [
        ({"effects": "ran_val"}, "Did you mean 'ran_vals'"),
        ({"scales": "var"}, "'sdcor' or 'vcov'"),
        ({"scales": "vcov", "conf_int": True}, "standard deviations"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        fitted("slopes").tidy(**options)


def test_statsmodels_names():
    m = fitted("slopes")
    assert m.llf == m.loglik()
    assert m.scale == m.sigma**2
    np.testing.assert_allclose(m.params / m.bse, m.tvalues)
    np.testing.assert_allclose(m.pvalues, [1.171558e-17, 3.263824e-06], rtol=1e-3)
    np.testing.assert_allclose(m.resid + m.fittedvalues, m.y)
    assert m.cov_params().equals(m.vcov())
    limits = m.conf_int(alpha=0.05)
    assert list(limits.columns) == [0, 1]
    np.testing.assert_allclose(limits.loc["Days"], [7.437592, 13.49698], rtol=1e-5)
    assert m.df_resid == 174


def test_statsmodels_words_for_random_effects():
    """Numbers of statsmodels 0.15, whose optimum is good to five digits."""
    m = fitted("slopes")
    expected = [[612.096487, 9.604599], [9.604599, 35.071623]]
    np.testing.assert_allclose(m.cov_re, expected, rtol=5e-5)
    assert m.fe_params.equals(m.params)
    assert m.bse_fe.equals(m.bse)
    np.testing.assert_allclose(m.random_effects["308"], [2.258584, 9.198969], rtol=5e-5)
    expected = [[145.705322, -21.444456], [-21.444456, 5.312276]]
    np.testing.assert_allclose(m.random_effects_cov["308"], expected, rtol=5e-5)
    assert m.random_effects_cov["308"].index.tolist() == ["(Intercept)", "Days"]


def test_random_effects_of_several_factors_are_named_by_factor():
    m = fitted("penicillin")
    assert m.cov_re.index.tolist() == [("plate", "(Intercept)"), ("sample", "(Intercept)")]
    np.testing.assert_allclose(np.diag(m.cov_re), m.varcorr().to_frame()["vcov"][:2])
    assert m.cov_re.iloc[0, 1] == 0.0
    assert m.random_effects["sample", "A"]["(Intercept)"] == m.ranef()["sample"].loc["A"].item()
    variance = m.ranef(condvar=True).to_frame().query("grpvar == 'plate'")["condsd"].iloc[0] ** 2
    assert m.random_effects_cov["plate", "a"].iloc[0, 0] == pytest.approx(variance)


LIBRARIES = {"pandas": lambda data: data, "polars": pl.from_pandas, "pyarrow": pa.Table.from_pandas}


@pytest.mark.parametrize("library", LIBRARIES)
def test_results_in_the_library_of_the_data(library):
    data = LIBRARIES[library](lmm.load_dataset("sleepstudy"))
    m = lmm.lmer("Reaction ~ Days + (Days | Subject)", data)
    for result in (m.tidy(), m.fixef(), m.confint(method="wald"), m.anova(), m.ranef()):
        assert type(m.native(result)) is type(data)
    shown = nw.from_native(m.native(m.confint(method="wald")))
    assert shown.columns == ["row", "2.5 %", "97.5 %"]
    assert shown["row"].to_list() == m.confint(method="wald").index.tolist()
    assert shown["2.5 %"].to_list() == m.confint(method="wald")["2.5 %"].tolist()
    modes = nw.from_native(m.native(m.ranef()["Subject"]))
    assert modes.columns == ["row", "(Intercept)", "Days"]


def test_standard_errors_of_variances_of_balanced_groups():
    # Searle, Casella & McCulloch (1992), Variance Components, section 3.7: one-way, REML
    m = lmm.lmer("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff"))
    table = m.tidy("ran_pars", scales="vcov", variance_errors=True)
    between, within = table["estimate"]
    n, k = 6, 5
    of_within = 2.0 * within**2 / (n * (k - 1))
    mean_square = within + k * between
    of_between = 2.0 / k**2 * (mean_square**2 / (n - 1) + within**2 / (n * (k - 1)))
    np.testing.assert_allclose(table["std.error"], np.sqrt([of_between, of_within]), rtol=1e-6)


def _deviance(data):
    """Twice the negative log-likelihood of (Days | Subject), by its definition, less constants."""
    ordered = data.sort_values(["Subject", "Days"])
    y, Z = ordered["Reaction"].to_numpy().reshape(18, 10), np.vander(np.arange(10.0), 2)[:, ::-1]

    def value(covariance, variance):
        V = Z @ covariance @ Z.T + variance * np.eye(10)
        W = np.linalg.inv(V)
        r = y - Z @ np.linalg.solve(18 * Z.T @ W @ Z, Z.T @ W @ y.sum(axis=0))
        return 18 * np.linalg.slogdet(V)[1] + np.einsum("ij,jk,ik", r, W, r)

    return value


def _by_differences(value, x):
    """Root diagonal of twice the inverse Hessian, by central differences."""
    steps = np.diag(1e-3 * np.abs(x))
    hessian = [
        [
            (value(x + a + b) - value(x + a - b) - value(x - a + b) + value(x - a - b))
            / (4 * a.sum() * b.sum())
            for b in steps
        ]
        for a in steps
    ]
    return np.sqrt(np.diag(2.0 * np.linalg.inv(hessian)))


def test_standard_errors_of_variance_parameters_are_those_of_the_likelihood():
    data = lmm.load_dataset("sleepstudy")
    m = lmm.lmer("Reaction ~ Days + (Days | Subject)", data, reml=False)
    deviance = _deviance(data)

    def by_sdcor(p):
        cov = p[0] * p[1] * p[2]
        return deviance(np.array([[p[0] ** 2, cov], [cov, p[2] ** 2]]), p[3] ** 2)

    def by_vcov(p):
        return deviance(np.array([[p[0], p[1]], [p[1], p[2]]]), p[3])

    for scales, value in [("sdcor", by_sdcor), ("vcov", by_vcov)]:
        table = m.tidy("ran_pars", scales=scales, variance_errors=True)
        expected = _by_differences(value, table["estimate"].to_numpy())
        np.testing.assert_allclose(table["std.error"], expected, rtol=2e-5)


def test_standard_errors_of_a_structure_are_those_of_the_same_free_covariance():
    data = lmm.load_dataset("sleepstudy")
    free = lmm.lmer("Reaction ~ Days + (Days | Subject)", data)
    same = lmm.lmer("Reaction ~ Days + cs(1 + Days | Subject)", data)
    for scales in ("sdcor", "vcov"):
        one, other = (m.tidy("ran_pars", scales=scales, variance_errors=True) for m in (free, same))
        np.testing.assert_allclose(
            one["std.error"], other["std.error"].iloc[[0, 2, 1, 3]], rtol=1e-4
        )


def test_standard_errors_of_one_standard_deviation_for_all_columns():
    data = lmm.load_dataset("sleepstudy")
    m = lmm.lmer("Reaction ~ Days + cs(1 + Days | Subject, hom = TRUE)", data)
    (sd, rho, _), (sd_error, _, _) = (
        m.tidy("ran_pars", variance_errors=True)[name] for name in ("estimate", "std.error")
    )
    table = m.tidy("ran_pars", scales="vcov", variance_errors=True)
    np.testing.assert_allclose(table["std.error"].iloc[0], 2 * sd * sd_error, rtol=1e-12)
    np.testing.assert_allclose(table["estimate"].iloc[1], rho * sd**2, rtol=1e-12)


def test_standard_errors_on_the_boundary_are_missing():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", lmm.SingularFitWarning)
        m = lmm.lmer("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff2"))
    assert m.tidy("ran_pars", variance_errors=True)["std.error"].isna().all()


def test_standard_errors_of_a_generalized_models_deviations():
    cbpp = lmm.load_dataset("cbpp")
    m = lmm.glmer("cbind(incidence, size - incidence) ~ period + (1 | herd)", cbpp)
    row = m.tidy("ran_pars", variance_errors=True, conf_int=True).iloc[0]
    half = np.log(row["conf.high"] / row["conf.low"]) / 2.0 / 1.959963984540054
    assert row["std.error"] == pytest.approx(row["estimate"] * half, rel=1e-9)


def test_new_rows_are_augmented_by_predictions():
    new = {"Days": [2.0, 12.0], "Subject": ["308", "309"], "note": ["a", "b"]}
    m = fitted("slopes")
    table = m.augment(new)
    assert list(table.columns) == ["Days", "Subject", "note", ".fitted", ".fixed", ".mu"]
    np.testing.assert_allclose(table[".fitted"], m.predict(new), rtol=1e-14)
    np.testing.assert_allclose(table[".fixed"], m.predict(new, re_form="~0"), rtol=1e-14)
    with pytest.raises(lmm.DataError, match="new levels detected in newdata"):
        m.augment({"Days": [1.0], "Subject": ["new"]})


def test_new_rows_of_a_generalized_model_have_the_mean_too():
    cbpp = lmm.load_dataset("cbpp")
    m = lmm.glmer("cbind(incidence, size - incidence) ~ period + (1 | herd)", cbpp)
    table = m.augment(cbpp.iloc[:5])
    assert list(table.index) == list(cbpp.index[:5])
    np.testing.assert_allclose(table[".mu"], m.fitted()[:5], rtol=1e-12)
    np.testing.assert_allclose(table[".fitted"], np.log(table[".mu"] / (1 - table[".mu"])))
