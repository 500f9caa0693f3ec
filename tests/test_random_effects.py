"""Random effects, coefficients and principal components against R's values and prints."""

import numpy as np
import pandas as pd
import pytest

import lmm
from fits import fitted
from reference import MODEL_IDS, fit_arguments, load_reference, load_table
from reference.model import load_model_reference

R = load_model_reference()
# The reference fits stop where theta is good to 1e-5 or so.
RELATIVE = 1e-4


def without_class(lines):
    """R's lines less the class attribute that print shows of some lists."""
    end = lines.index('attr(,"class")') if 'attr(,"class")' in lines else len(lines)
    return lines[:end]


def covariances(values):
    """R's (k, k, l) arrays as (l, k, k); a list of them for several terms of one factor."""
    parts = values.values() if isinstance(values, dict) else [values]
    return [np.moveaxis(np.array(part, dtype=float), -1, 0) for part in parts]


@pytest.mark.filterwarnings("ignore::lmm.LmmWarning")
@pytest.mark.parametrize("model_id", MODEL_IDS)
def test_modes_and_conditional_variances_are_rs(model_id):
    reference = load_reference(model_id)
    if reference["singular"]:
        tolerance = 1e-2 * reference["sigma"]
    else:
        tolerance = RELATIVE * reference["sigma"]
    m = lmm.lmer(reference["formula"], load_table(reference["data"]), **fit_arguments(reference))
    random = m.ranef(condvar=True)
    assert list(random) == list(reference["ranef"])
    for group, expected in reference["ranef"].items():
        shown = random[group].loc[expected["levels"], expected["cols"]].to_numpy()
        np.testing.assert_allclose(
            shown, np.array(expected["values"], dtype=float).reshape(shown.shape), atol=tolerance
        )
        start = 0
        for blocks in covariances(reference["condVar"][group]):
            part = slice(start, start + blocks.shape[1])
            mine = random.condvar[group][: len(blocks), part, part]
            np.testing.assert_allclose(mine, blocks, atol=2.0 * tolerance * reference["sigma"])
            start = part.stop
    for group, sd in reference["rePCA"].items():
        np.testing.assert_allclose(
            m.re_pca()[group][0], sd, atol=1e-2 if reference["singular"] else RELATIVE
        )


@pytest.mark.parametrize(
    "name, key",
    [("slopes", "condsd"), ("independent", "condsd_independent"), ("pastes", "condsd_pastes")],
)
def test_conditional_standard_deviations_are_rs(name, key):
    table = fitted(name).ranef(condvar=True).to_frame()
    assert list(table.columns) == ["grpvar", "term", "grp", "condval", "condsd"]
    np.testing.assert_allclose(table["condsd"], R["numbers"][key], rtol=1e-5)


PRINTS = [
    ("ranef", lambda: fitted("slopes").ranef(condvar=True).to_text(digits=4)),
    ("ranef_pastes", lambda: fitted("pastes").ranef().to_text(digits=4)),
    ("coef", lambda: fitted("slopes").coef().to_text(digits=4)),
    (
        "coef_slopes",
        lambda: (
            lmm.lmer("Reaction ~ 1 + (Days | Subject)", lmm.load_dataset("sleepstudy"))
            .coef()
            .to_text(digits=4)
        ),
    ),
    ("re_pca_independent", lambda: fitted("independent").re_pca().to_text(digits=4)),
    ("re_pca_summary", lambda: fitted("slopes").re_pca().summary().to_text()),
    ("re_pca_summary_machines", lambda: fitted("machines").re_pca().summary().to_text()),
    ("re_pca_summary_pastes", lambda: fitted("pastes").re_pca().summary().to_text()),
]


@pytest.mark.parametrize("key, printed", PRINTS)
def test_prints_are_rs(key, printed):
    assert printed().rstrip("\n").split("\n") == "\n".join(without_class(R["text"][key])).rstrip(
        "\n"
    ).split("\n")


def test_without_conditional_variances_there_are_none():
    random = fitted("slopes").ranef()
    assert random.condvar is None
    assert "condsd" not in random.to_frame()
    assert "conditional" not in str(random)


def test_terms_of_one_factor_share_a_table():
    random = fitted("independent").ranef(condvar=True)
    assert list(random["Subject"].columns) == ["(Intercept)", "Days"]
    # Independent a priori, correlated given the response.
    assert (np.abs(random.condvar["Subject"][:, 0, 1]) > 1.0).all()


def test_an_unknown_grouping_factor_suggests_the_nearest():
    with pytest.raises(KeyError, match="Did you mean 'Subject'"):
        fitted("slopes").ranef()["Subjct"]


def test_vcov_full_holds_fixed_and_random_effects():
    full = fitted("slopes").vcov(full=True)
    assert list(full.columns[:3]) == ["(Intercept)", "Days", "Subject.308.(Intercept)"]
    # lme4 1.1-36's vcov(full = TRUE)
    block = full.loc[["Subject.308.(Intercept)", "Subject.308.Days"]]
    expected = [[171.616, -19.7196], [-19.7196, 6.96558]]
    columns = ["Subject.308.(Intercept)", "Subject.308.Days"]
    np.testing.assert_allclose(block[columns], expected, rtol=1e-5)
    np.testing.assert_allclose(block.loc[columns[0], "(Intercept)"], -34.0056, rtol=1e-4)
    pd.testing.assert_frame_equal(full.iloc[:2, :2], fitted("slopes").vcov())


def test_html_escapes_and_names_groups():
    html = fitted("pastes").ranef()._repr_html_()
    assert "cask:batch" in html
    assert html.count("<table>") == 2
    assert "Proportion of Variance" in fitted("slopes").re_pca().summary()._repr_html_()


def test_components_as_a_table():
    table = fitted("machines").re_pca().to_frame()
    assert list(table.columns) == ["group", "component", "sd", "proportion", "cumulative"]
    assert table["cumulative"].iloc[-1] == pytest.approx(1.0)


@pytest.mark.slow
def test_insteval_takes_no_dense_matrix_of_all_levels():
    data = lmm.load_dataset("InstEval")
    m = lmm.lmer("y ~ service + (1 | s) + (1 | d) + (1 | dept:service)", data, reml=False)
    random = m.ranef(condvar=True)
    assert sum(len(table) for table in random.values()) == 4128
    # What a level contributes no more than its own data allow: below its prior variance.
    for (group, blocks), covariance in zip(random.condvar.items(), m.fit.covariances, strict=True):
        assert (blocks > 0.0).all(), group
        assert (blocks <= covariance).all(), group


@pytest.mark.filterwarnings("ignore::lmm.LmmWarning")
def test_effects_of_one_name_add_up_in_the_coefficients():
    sleepstudy = lmm.load_dataset("sleepstudy")
    m = lmm.lmer("Reaction ~ Days + (1 | Subject) + (Days | Subject)", sleepstudy)
    rows = m.coef()["Subject"].loc[sleepstudy["Subject"].astype(str)]
    np.testing.assert_allclose(
        rows["(Intercept)"].to_numpy() + rows["Days"].to_numpy() * sleepstudy["Days"].to_numpy(),
        m.fitted(),
        rtol=1e-10,
    )
