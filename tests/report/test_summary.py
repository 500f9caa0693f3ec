"""Prints and summaries against R's, from R's own numbers."""

import numpy as np
import pandas as pd
import pytest

import lmm
from lmm.report.summary import ConvergenceReport, FitReport, Summary
from lmm.report.varcorr import variance_components
from reference.printing import array, frame, load_printing

MODELS = load_printing("models")


def summary_of(case) -> Summary:
    columns = [tuple(names) for names in case["columns"]]
    covariances = [array(values) for values in case["covariance"]]
    convergence = ConvergenceReport(
        case["optimizer"], case["code"], case["status"], tuple(case["messages"])
    )
    fit = FitReport(
        reml=case["reml"],
        formula=case["formula"],
        criteria=case["criteria"],
        varcorr=variance_components(case["groups"], columns, covariances, case["sigma"]),
        nobs=case["nobs"],
        ngroups=case["ngroups"],
        fixef=pd.Series(dict(case["fixef"]), dtype=float),
        **{key: case[key] or None for key in ("data", "weights", "offset", "subset")},
        fit_warnings=tuple(case["fit_warnings"]),
        convergence=convergence,
    )
    p = len(case["fixef"])
    vcov = array(case["vcov"]).reshape(p, p)
    se = np.sqrt(np.diag(vcov))
    coefficients = frame(case["coefficients"])
    return Summary(
        fit, coefficients, vcov / np.outer(se, se), array(case["residuals"]), case["ddf"] or None
    )


@pytest.mark.parametrize("name", MODELS)
def test_prints_agree_with_r(name):
    case = MODELS[name]
    fit = summary_of(case).fit
    title, *body = str(fit).split("\n")
    assert title == case["print"][0].replace("lmerModLmerTest", "lmerMod")
    assert body == case["print"][1:]
    variances = fit.to_text(digits=3, components=["Variance"])
    assert variances.split("\n")[1:] == case["print_variances"][1:]
    assert str(fit.varcorr).split("\n") == case["varcorr"]


@pytest.mark.parametrize("name", MODELS)
def test_summaries_agree_with_r(name):
    case = MODELS[name]
    summary = summary_of(case)
    short = summary.to_text(digits=3, correlation=False, residuals=False)
    printed = summary.to_text(correlation=summary.shows_correlation)
    assert printed.split("\n") == case["summary"]
    assert short.split("\n") == case["summary_short"]


@pytest.mark.parametrize("name", MODELS)
def test_correlations_of_more_than_12_coefficients_are_said_to_be_left_out(name):
    """R 4.2.2 sends the note to the message stream at this place, between blank lines."""
    summary, p = summary_of(MODELS[name]), len(MODELS[name]["fixef"])
    note = (
        f"\n\nCorrelation matrix not shown by default, as p = {p} > 12.\n"
        "Use m.summary().to_text(correlation=True)  or\n"
        "    m.vcov()        if you need it\n"
    )
    assert (note in str(summary)) == (p > 12)
    assert str(summary).replace(note, "") == summary.to_text(correlation=summary.shows_correlation)
    assert ("not shown by default" in summary._repr_html_()) == (p > 12)


@pytest.mark.parametrize("name", [name for name, case in MODELS.items() if case["summary_full"]])
def test_summaries_with_correlations_agree_with_r(name):
    text = summary_of(MODELS[name]).to_text(correlation=True)
    assert text.split("\n") == MODELS[name]["summary_full"]


def test_stars_can_be_left_out():
    text = summary_of(MODELS["satterthwaite"]).to_text(stars=False)
    assert "Signif. codes" not in text
    assert "Days          10.467      1.546  17.000   6.771 3.26e-06\n" in text


def test_a_stopped_optimizer_is_told_without_other_findings():
    fit = summary_of(MODELS["ml"]).fit
    stopped = ConvergenceReport("L-BFGS-B", 1, "maximum number of iterations reached")
    changed = FitReport(**{**vars(fit), "convergence": stopped})
    verdict = "optimizer (L-BFGS-B) convergence code: 1 (maximum number of iterations reached)"
    assert str(changed).endswith(f"\n{verdict} ; 0 optimizer warnings; 0 lme4 warnings ")
    summary = Summary(**{**vars(summary_of(MODELS["ml"])), "fit": changed})
    assert str(summary).endswith(f"\n{verdict}\n")


def test_no_foot_without_a_convergence_report():
    fit = summary_of(MODELS["ml"]).fit
    assert str(FitReport(**{**vars(fit), "convergence": None})) == str(fit)


def test_html_escapes_names_and_shows_estimates():
    summary = summary_of(MODELS["satterthwaite"])
    fit = FitReport(**{**vars(summary.fit), "data": "<b>"})
    for html in (Summary(**{**vars(summary), "fit": fit})._repr_html_(), fit._repr_html_()):
        assert "<b>" not in html
        assert "&lt;b&gt;" in html
        assert "Number of obs: 180, groups:  Subject, 18" in html
        assert "251.4" in html


@pytest.mark.parametrize(
    "response, lines",
    [
        (45, ["Formula: {} ~ Days + (1 | Subject)"]),
        (67, ["Formula: {} ~  ", "    Days + (1 | Subject)"]),
        (68, ["Formula: ", "{} ~  ", "    Days + (1 | Subject)"]),
    ],
)
def test_long_formulas_are_wrapped_as_in_r(response, lines):
    name = response * "v"
    data = lmm.load_dataset("sleepstudy").rename(columns={"Reaction": name})
    text = repr(lmm.lmer(f"{name} ~ Days + (1 | Subject)", data)).split("\n")
    assert text[1 : 1 + len(lines)] == [line.format(name) for line in lines]
