"""Files, pickles and copies give back the model; other files are refused."""

import copy
import json
import pickle
import zipfile

import numpy as np
import pandas as pd
import polars as pl
import pytest

import lmm
from fits import fitted

SLEEP = "Reaction ~ Days + (Days | Subject)"


def sleep():
    return lmm.load_dataset("sleepstudy")


def with_missing():
    data = sleep().astype({"Subject": str}).assign(w=2.0)
    data.index = [f"row {i}" for i in range(len(data))]
    data.loc["row 3", "Days"] = np.nan
    return data


MODELS = {
    "plain": lambda: fitted("slopes"),
    "maximum likelihood": lambda: fitted("slopes", reml=False),
    "crossed": lambda: fitted("penicillin"),
    "transforms, arrays, options": lambda: lmm.lmer(
        "log(Reaction) ~ poly(Days, 2) + (Days | Subject)",
        sleep(),
        weights=np.linspace(1.0, 2.0, 180),
        subset="Days > 1",
        optimizer=lmm.COBYQA(),
        control=lmm.LmerControl(check_nlev_gtreq_5="warning"),
    ),
    "text, labels and missing values": lambda: lmm.lmer(
        SLEEP, with_missing(), na_action="exclude", weights="w"
    ),
    "contrasts": lambda: lmm.lmer(
        "angle ~ recipe * temperature + (1 | recipe:replicate)",
        lmm.load_dataset("cake"),
        contrasts={"recipe": "contr.sum", "temperature": np.eye(6)[:, 1:]},
    ),
    "polars and booleans": lambda: lmm.lmer(
        "Reaction ~ late + (1 | Subject)",
        pl.DataFrame(sleep().assign(late=sleep()["Days"] > 4)),
        offset="Days",
    ),
    "another response": lambda: fitted("slopes").refit(sleep()["Reaction"] * 2.0),
    "arrays": lambda: lmm.lmer_arrays(
        sleep()["Reaction"], np.ones((180, 1)), sleep()["Subject"].to_numpy()
    ),
}


def same(left, right):
    assert left.summary().to_text() == right.summary().to_text()
    assert str(left) == str(right)
    np.testing.assert_array_equal(left.theta, right.theta)
    np.testing.assert_array_equal(left.beta, right.beta)
    pd.testing.assert_series_equal(left.fitted(), right.fitted())
    assert left.optimum.status is right.optimum.status


@pytest.mark.parametrize("name", MODELS)
def test_a_saved_model_comes_back(name, tmp_path):
    m = MODELS[name]()
    m.save(tmp_path / "model.lmm")
    back = lmm.load(tmp_path / "model.lmm")
    same(back, m)
    same(back.refit_ml(), m.refit_ml())
    same(back.update(reml=False), m.update(reml=False))


@pytest.mark.parametrize("name", MODELS)
def test_pickles_and_copies(name):
    m = MODELS[name]()
    same(pickle.loads(pickle.dumps(m)), m)
    same(copy.deepcopy(m), m)
    same(copy.copy(m), m)


def test_warnings_come_back(tmp_path):
    with pytest.warns(lmm.SingularFitWarning):
        m = lmm.lmer("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff2"))
    m.save(tmp_path / "model.lmm")
    back = lmm.load(tmp_path / "model.lmm")
    assert [str(note) for note in back.warnings] == [str(note) for note in m.warnings]


def test_the_file_is_an_archive_of_arrays_and_text(tmp_path):
    path = tmp_path / "model.lmm"
    fitted("slopes").save(path)
    with zipfile.ZipFile(path) as archive:
        header = json.loads(archive.read("model.json"))
    assert (header["format"], header["version"]) == ("lmm model", 1)
    assert [column["name"] for column in header["columns"]] == ["Reaction", "Days", "Subject"]
    with np.load(path, allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["optimum/theta"], fitted("slopes").theta)


def test_unused_columns_are_left_out(tmp_path):
    data = sleep().assign(odd=[object()] * 180)
    m = lmm.lmer(SLEEP, data)
    m.save(tmp_path / "model.lmm")
    same(lmm.load(tmp_path / "model.lmm"), m)


def rewritten(path, change):
    """The file with a changed header."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    header = json.loads(members["model.json"])
    change(header)
    members["model.json"] = json.dumps(header).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda header: header.update(version=2), "version 2.*reads version 1"),
        (lambda header: header.update(format="other"), "'other'"),
        (lambda header: header["optimum"].update(value=1.0), "damaged"),
    ],
)
def test_foreign_contents_are_refused(tmp_path, change, message):
    path = tmp_path / "model.lmm"
    fitted("slopes").save(path)
    rewritten(path, change)
    with pytest.raises(lmm.DataError, match=message):
        lmm.load(path)


def test_other_files_are_refused(tmp_path):
    (tmp_path / "text").write_text("hello")
    pd.Series([1]).to_pickle(tmp_path / "pickle")
    with zipfile.ZipFile(tmp_path / "zip", "w") as archive:
        archive.writestr("other", "text")
    for name in ("text", "pickle", "zip"):
        with pytest.raises(lmm.DataError, match="not a model saved by lmm"):
            lmm.load(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        lmm.load(tmp_path / "nothing")
