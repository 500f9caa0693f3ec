import numpy as np
import pytest

import lmm
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
