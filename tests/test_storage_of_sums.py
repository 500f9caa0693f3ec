"""Models of sources come back from files, without the source and with the same numbers."""

import json
import zipfile

import numpy as np
import pandas as pd
import pytest

import lmm
from sources import cut, study

pytestmark = pytest.mark.filterwarnings("ignore::lmm.LmmWarning")


def complete():
    return study(300).dropna().reset_index(drop=True)


MODELS = {
    "plain": ("y ~ x + (x | id)", {}),
    "crossed, texts": ("y ~ z + (z | text) + (1 | id)", {"reml": False}),
    "nested, logical and days": ("y ~ f * z + (1 | flag/day)", {}),
    "transforms": ("y ~ scale(x) + poly(z, 2) + ns(o, 3) + (1 | id)", {}),
    "arguments": (
        "y ~ f + z + (1 | id:other)",
        {"weights": "z", "offset": "o", "subset": "w >= mean(w) - 2", "solver": "block"},
    ),
    "contrasts": ("y ~ f * size + (0 + z | id)", {"contrasts": {"f": "contr.sum"}}),
    "table of contrasts": (
        "y ~ f + z + (1 | id)",
        {"contrasts": {"f": np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]])}},
    ),
    "expressions that group": ("y ~ factor(year) + (1 | factor(w)) + (1 | cut(o, 3))", {}),
    "numbers that group": ("y ~ z + (1 | dose) + (1 | big)", {}),
    "dependent columns": ("y ~ z + I(2 * z) + f + (1 | id)", {}),
}


@pytest.fixture(scope="module", params=MODELS)
def pair(request, tmp_path_factory):
    """A model of a source, and what its file gives back."""
    formula, options = MODELS[request.param]
    model = lmm.lmer(formula, cut(study(300), 70), **options)
    path = tmp_path_factory.mktemp("saved") / "m.lmm"
    model.save(path)
    return model, lmm.load(path)


def test_estimates_are_the_same(pair):
    model, loaded = pair
    assert str(loaded) == str(model)
    assert loaded.formula == model.formula
    np.testing.assert_array_equal(loaded.optimum.theta, model.optimum.theta)
    for ddf in ("satterthwaite", "kenward-roger"):
        pd.testing.assert_frame_equal(
            loaded.summary(ddf).coefficients, model.summary(ddf).coefficients, rtol=1e-9
        )
    pd.testing.assert_frame_equal(loaded.vcov(), model.vcov(), rtol=1e-9)
    effects, own = loaded.ranef(condvar=True), model.ranef(condvar=True)
    assert list(effects) == list(own)
    for name in own:
        pd.testing.assert_frame_equal(effects[name], own[name], rtol=1e-9, atol=1e-12)


def test_terms_are_tested_alike(pair):
    model, loaded = pair
    for type_ in ("I", "II", "III"):
        tables = [m.anova(type=type_, ddf="satterthwaite") for m in (loaded, model)]
        assert list(tables[0].index) == list(tables[1].index)
        np.testing.assert_allclose(*map(np.asarray, tables), rtol=1e-8, atol=1e-12)


def test_new_rows_are_predicted_alike(pair):
    model, loaded = pair
    rows = complete()[:40]
    np.testing.assert_allclose(loaded.predict(rows), model.predict(rows), rtol=1e-10)


def test_saved_again_it_is_the_same(pair, tmp_path):
    _, loaded = pair
    loaded.save(tmp_path / "again.lmm")
    assert str(lmm.load(tmp_path / "again.lmm")) == str(loaded)


def saved(tmp_path, formula="y ~ f * z + (1 | id) + (1 | text)", **options):
    model = lmm.lmer(formula, cut(study(300), 70), **options)
    model.save(tmp_path / "m.lmm")
    return model, lmm.load(tmp_path / "m.lmm")


def test_means_profiles_and_comparisons(tmp_path):
    model, loaded = saved(tmp_path, reml=False)
    means, own = (lmm.emmeans(m, "f").to_frame() for m in (loaded, model))
    pd.testing.assert_frame_equal(means, own, rtol=1e-9)
    intervals, own = (m.confint(method="profile", parm="sigma") for m in (loaded, model))
    np.testing.assert_allclose(intervals, own, rtol=1e-6)


def test_loaded_models_are_compared(tmp_path):
    source = cut(complete(), 70)
    pairs = []
    for fixed in ("z", "f * z"):
        model = lmm.lmer(f"y ~ {fixed} + (1 | id) + (1 | text)", source, reml=False)
        model.save(tmp_path / "m.lmm")
        pairs.append((model, lmm.load(tmp_path / "m.lmm")))
    own, tables = (lmm.anova(*models) for models in zip(*pairs, strict=True))
    np.testing.assert_allclose(np.asarray(tables, float), np.asarray(own, float), rtol=1e-9)
    assert tables["Df"].iloc[1] == 4


def test_rows_come_from_a_source_that_is_named(tmp_path):
    model, loaded = saved(tmp_path)
    source = cut(study(300), 70)
    parts = [pd.concat(m.augment_batches(source)) for m in (loaded, model)]
    pd.testing.assert_frame_equal(*parts, rtol=1e-9)
    with pytest.raises(lmm.DataError, match="name the source"):
        loaded.augment_batches()
    with pytest.raises(lmm.DataError, match="keeps no rows"):
        loaded.residuals()


def test_a_loaded_model_is_changed_without_its_source(tmp_path):
    model, loaded = saved(tmp_path, weights="z", contrasts={"f": "contr.sum"})
    ml = loaded.update(reml=False)
    assert ml.deviance() == pytest.approx(model.update(reml=False).deviance(), rel=1e-10)
    with pytest.raises(lmm.DataError, match="give this formula"):
        loaded.update(". ~ . - z")
    with pytest.raises(lmm.DataError, match=r"weights must be given to lmm\.sums"):
        loaded.update(weights="w")


def test_sums_of_parts_are_saved(tmp_path):
    data = lmm.load_dataset("sleepstudy")
    formula = "Reaction ~ scale(Days) + (Days | Subject)"
    like = lmm.sums(formula, data)
    total = lmm.sums(formula, data[:90], like=like) + lmm.sums(formula, data[90:], like=like)
    model = lmm.lmer(formula, total)
    model.save(tmp_path / "m.lmm")
    loaded = lmm.load(tmp_path / "m.lmm")
    assert str(loaded) == str(model)
    assert loaded.reml_criterion() == model.reml_criterion()


def test_a_formula_with_all_columns(tmp_path):
    data = lmm.load_dataset("sleepstudy")
    model = lmm.lmer("Reaction ~ . - Subject + (1 | Subject)", cut(data, 50))
    model.save(tmp_path / "m.lmm")
    assert str(lmm.load(tmp_path / "m.lmm")) == str(model)


def test_functions_of_the_caller_are_not_saved(tmp_path):
    formula, own = "y ~ f(z) + (1 | id)", {"f": np.sqrt}
    models = (
        lmm.lmer(formula, cut(complete(), 70), extra_namespace=own),
        lmm.lmer(formula, lmm.sums(formula, complete(), extra_namespace=own)),
    )
    for model in models:
        with pytest.raises(lmm.DataError, match=r"functions of your own \(f\)"):
            model.save(tmp_path / "m.lmm")


def test_a_known_sigma_is_kept(tmp_path):
    model, loaded = saved(tmp_path, sigma=0.9)
    assert loaded.sigma == model.sigma == 0.9
    assert str(loaded) == str(model)


# Damage -------------------------------------------------------------------------------------------


def rewritten(path, change):
    """The file with another header."""
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    header = json.loads(content["model.json"])
    change(header)
    content["model.json"] = json.dumps(header).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, part in content.items():
            archive.writestr(name, part)
    return path


def parts(header, *names):
    """A part of the sums as the header describes it."""
    found = header["sums"]["sums"]
    for name in names:
        found = found["parts"][name]
    return found


def fewer_rows(header):
    parts(header)["parts"]["n"] -= 10


def other_pilot(header):
    parts(header, "pilot")["parts"]["scale"] *= 1.5


def exchanged_sums(header):
    grams = parts(header, "grams")["tuple"]
    grams.reverse()


def level_twice(header):
    part = parts(header, "keys")["tuple"][1]["parts"]["parts"]["tuple"][0]
    values = part["parts"]["values"]["objects"]["values"]
    values[0] = values[1]


def places_beyond(header):
    pairs = parts(header, "pairs")["pairs"][0][1]["parts"]
    pairs["i"], pairs["j"] = pairs["j"], pairs["i"]


def without_pairs(header):
    parts(header, "pairs")["pairs"] = []


def unknown_class(header):
    parts(header)["kind"] = "Popen"


def no_summary(header):
    del header["sums"]["summary"]


def other_formula(header):
    header["formula"] = "y ~ f + z + (1 | id) + (1 | text)"


DAMAGES = (
    fewer_rows,
    other_pilot,
    exchanged_sums,
    level_twice,
    places_beyond,
    without_pairs,
    unknown_class,
    no_summary,
    other_formula,
)


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_files_are_refused(damage, tmp_path):
    saved(tmp_path)
    with pytest.raises(lmm.DataError, match=r"damaged|fit together"):
        lmm.load(rewritten(tmp_path / "m.lmm", damage))


def test_a_truncated_file_is_refused(tmp_path):
    saved(tmp_path)
    content = (tmp_path / "m.lmm").read_bytes()
    (tmp_path / "m.lmm").write_bytes(content[: len(content) // 2])
    with pytest.raises(lmm.DataError, match="not a model saved"):
        lmm.load(tmp_path / "m.lmm")
