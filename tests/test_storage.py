"""Files, pickles and copies give back the model; other files are refused."""

import copy
import datetime
import decimal
import io
import json
import pickle
import tracemalloc
import zipfile
from contextlib import suppress
from pathlib import Path

import formulaic
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import lmm
import lmm.storage
from fits import fitted
from lmm.request import Request

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
    assert (header["format"], header["version"]) == ("lmm model", 2)
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
        (lambda header: header.update(version=4), "version 4.*reads versions 1 to 3"),
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


def saved(m, path):
    m.save(path / "again.lmm")
    return lmm.load(path / "again.lmm")


def test_columns_are_chosen_by_name_not_by_their_letters(tmp_path):
    data = sleep().assign(e="a name", Day=pd.Timestamp("2024-01-01"), w=1.0, o=0.0, late=True)
    m = lmm.lmer(SLEEP, data, weights="w", offset="o", subset="late")
    m.save(tmp_path / "m.lmm")
    with zipfile.ZipFile(tmp_path / "m.lmm") as archive:
        header = json.loads(archive.read("model.json"))
    names = [column["name"] for column in header["columns"]]
    assert names == ["Reaction", "Days", "Subject", "w", "o", "late"]


@pytest.mark.parametrize("name", ["a`b", "a \\ b", "line\nbreak", "nul\0", "column/0", "Übergröße"])
def test_any_name_that_a_formula_can_quote(name, tmp_path):
    quoted = name.replace("\\", "\\\\").replace("`", "\\`").replace("\n", "\\n")
    m = lmm.lmer(f"Reaction ~ `{quoted}` + (1 | Subject)", sleep().rename(columns={"Days": name}))
    same(saved(m, tmp_path), m)


def moments(unit="s", zone=None):
    start = pd.Timestamp("2024-03-31 00:30", tz=zone).as_unit(unit)
    return pd.Series(start + pd.to_timedelta(np.repeat(np.arange(18), 10), "h"))


GROUPS = {
    "int64": lambda g: g.astype(np.int64) + 2**60,
    "uint64": lambda g: g.astype(np.uint64) + np.uint64(2**63),
    "int8": lambda g: g.astype(np.int8),
    "nullable": lambda g: pd.array([None, *(2**60 + g[1:])], dtype="Int64"),
    "objects": lambda g: pd.Series([None, *(2**70 + int(i) for i in g[1:])], dtype=object),
    "decimals": lambda g: pd.Series([decimal.Decimal(2**70 + int(i)) for i in g], dtype=object),
    "arrow": lambda g: pd.array(g + 2**60, dtype="int64[pyarrow]"),
    "text": lambda g: pd.Series([None, *(f"s{i}" for i in g[1:])]),
    "categories of numbers": lambda g: pd.Categorical(g + 0.5),
    "dictionary": lambda g: pd.Series(
        pd.Categorical(9 - g % 9, [7, 9, 1, 2, 3, 4, 5, 6, 8])
    ).astype(pd.ArrowDtype(pa.dictionary(pa.int8(), pa.int64()))),
    "sparse": lambda g: pd.arrays.SparseArray(g),
    "intervals": lambda g: pd.cut(g, 6),
    "days": lambda g: pd.Series([datetime.date(2024, 1, 1 + int(i)) for i in g]),
    "moments": lambda g: moments(),
    "nanoseconds": lambda g: moments("ns"),
    "zone": lambda g: moments("us", "Europe/Paris"),
    "periods": lambda g: pd.Series(pd.PeriodIndex.from_ordinals(g, freq="M")),
    "durations": lambda g: pd.Series(pd.to_timedelta(g, "h")),
    "booleans": lambda g: pd.array([None, *(g[1:] > 8)], dtype="boolean"),
}


@pytest.mark.parametrize("kind", GROUPS)
@pytest.mark.filterwarnings("ignore::lmm.LmmWarning")
def test_columns_of_every_kind_come_back(kind, tmp_path):
    data = sleep().assign(g=GROUPS[kind](np.repeat(np.arange(18), 10)))
    m = lmm.lmer("Reaction ~ Days + (1 | g)", data)
    back = saved(m, tmp_path)
    same(back, m)
    assert list(back.ranef()["g"].index) == list(m.ranef()["g"].index)
    same(saved(back, tmp_path), m)


@pytest.mark.parametrize(
    "index",
    [
        pd.MultiIndex.from_product([range(18), list("abcdefghij")], names=["s", None]),
        pd.date_range("2024-01-01", periods=180, name="when"),
        pd.RangeIndex(5, 185),
        pd.Index([f"row {i}" for i in range(180)], name="label"),
    ],
    ids=["two levels", "dates", "range", "text"],
)
def test_row_labels_come_back(index, tmp_path):
    m = lmm.lmer(SLEEP, sleep().set_axis(index))
    fitted_ = saved(m, tmp_path).fitted()
    pd.testing.assert_series_equal(fitted_, m.fitted(), check_freq=False, check_index_type=False)


def machines(contrasts):
    formula = "score ~ Machine + (1 | Worker)"
    return lmm.lmer(formula, lmm.load_dataset("Machines"), contrasts={"Machine": contrasts})


@pytest.mark.parametrize(
    "contrasts",
    [
        pd.DataFrame([[1.0, 0], [0, 1], [-1, -1]], columns=["p", "q"]),
        pd.DataFrame([[-1.0, -1], [1, 0], [0, 1]], index=list("CAB"), columns=["p", "q"]),
        np.array([[1.0, 0], [0, 1], [-1, -1]]),
        formulaic.transforms.contrasts.SumContrasts(),
        "contr.helmert",
    ],
    ids=["table", "table by level", "array", "object", "name"],
)
def test_contrasts_come_back(contrasts, tmp_path):
    m = machines(contrasts)
    back = saved(m, tmp_path)
    assert list(back.fixef().index) == list(m.fixef().index)
    same(back, m)
    same(back.update(reml=False), m.update(reml=False))


def test_labelled_arguments_come_back(tmp_path):
    data = sleep().sample(frac=1.0, random_state=3)
    weights = pd.Series(np.linspace(1, 2, 180), index=data.index[::-1])
    m = lmm.lmer(SLEEP, data, weights=weights, offset=list(np.arange(180.0)))
    same(saved(m, tmp_path), m)


def test_numbers_of_numpy_among_options(tmp_path):
    data = sleep()
    data.attrs["name"] = np.int64(3)
    m = lmm.lmer(SLEEP, data, optimizer=lmm.FisherScoring(max_evaluations=np.int64(100)))
    same(saved(m, tmp_path), m)


def test_a_file_of_the_first_version():
    m = lmm.load(Path(__file__).parent / "reference" / "storage" / "version_1.lmm")
    expected = lmm.lmer(
        "Reaction ~ f + (1 | Subject)",
        sleep()
        .assign(f=np.tile(list("ab"), 90), w=np.tile([1.0, 2.0], 90))
        .set_index(pd.Index([f"r{i}" for i in range(180)])),
        weights="w",
        offset=np.arange(180.0),
        contrasts={"f": np.array([[-1.0], [1.0]])},
    )
    np.testing.assert_allclose(m.beta, expected.beta)
    pd.testing.assert_series_equal(m.fitted(), expected.fitted())


# Failures leave what was there -------------------------------------------------------------------


def refuse(*_, **__):
    raise KeyboardInterrupt


@pytest.mark.parametrize("step", ["json.dumps", "os.fsync", "os.replace", "lmm.storage._checked"])
def test_an_interrupted_save_leaves_the_old_file(step, tmp_path, monkeypatch):
    path = tmp_path / "m.lmm"
    fitted("slopes").save(path)
    old = path.read_bytes()
    monkeypatch.setattr(step, refuse)
    with pytest.raises(KeyboardInterrupt):
        fitted("slopes", reml=False).save(path)
    monkeypatch.undo()
    assert path.read_bytes() == old
    assert [p.name for p in tmp_path.iterdir()] == ["m.lmm"]


def test_what_would_not_load_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "m.lmm"
    fitted("slopes").save(path)
    old = path.read_bytes()
    monkeypatch.setitem(lmm.storage.OPTIMIZERS, "FisherScoring", None)
    with pytest.raises(lmm.DataError, match="cannot be saved: it would not load"):
        lmm.lmer(SLEEP, sleep(), optimizer=lmm.FisherScoring()).save(path)
    assert path.read_bytes() == old


def test_a_saved_file_keeps_its_permissions_and_its_link(tmp_path):
    path, link = tmp_path / "m.lmm", tmp_path / "link"
    fitted("slopes").save(path)
    path.chmod(0o640)
    link.symlink_to(path)
    fitted("slopes").save(link)
    assert link.is_symlink()
    assert path.stat().st_mode & 0o777 == 0o640
    with pytest.raises(IsADirectoryError, match="is a folder"):
        fitted("slopes").save(tmp_path)


# Damage ------------------------------------------------------------------------------------------


def damaged(path, content):
    """What loading other bytes gives: a model, or a `DataError`."""
    path.write_bytes(content)
    try:
        return lmm.load(path)
    except lmm.DataError:
        return None


@pytest.mark.filterwarnings("ignore")
def test_any_damage_is_told_or_harmless(tmp_path):
    m = fitted("slopes")
    m.save(tmp_path / "m.lmm")
    good = (tmp_path / "m.lmm").read_bytes()
    rng = np.random.default_rng(1)
    for _ in range(150):
        bad = bytearray(good)
        at = int(rng.integers(len(good)))
        match int(rng.integers(4)):
            case 0:
                bad[at] ^= 1 << int(rng.integers(8))
            case 1:
                del bad[at:]
            case 2:
                del bad[at : at + 9]
            case _:
                bad[at:at] = rng.bytes(5)
        back = damaged(tmp_path / "bad.lmm", bytes(bad))
        if back is not None:
            np.testing.assert_array_equal(back.theta, m.theta)


def leaves(value, path=()):
    if isinstance(value, dict | list):
        yield path
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(part, (*path, key))
    else:
        yield path


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("odd", [None, -1, "x", [], {}, 1e308, [[0]], True])
def test_any_wrong_value_in_the_header_is_told_or_harmless(odd, tmp_path):
    MODELS["transforms, arrays, options"]().save(tmp_path / "m.lmm")
    with zipfile.ZipFile(tmp_path / "m.lmm") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    header = json.loads(members["model.json"])
    for path in leaves(header):
        other = copy.deepcopy(header)
        part = other
        for key in path[:-1]:
            part = part[key]
        if path:
            part[path[-1]] = odd
        else:
            other = odd
        with zipfile.ZipFile(tmp_path / "bad.lmm", "w") as archive:
            for name, content in members.items():
                text = json.dumps(other).encode() if name == "model.json" else content
                archive.writestr(name, text)
        with suppress(lmm.DataError):
            lmm.load(tmp_path / "bad.lmm")


def bomb(path, name, content):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.json", "{}")
        archive.writestr(name, content)


def test_sizes_are_checked_before_reading(tmp_path):
    path = tmp_path / "bomb.lmm"
    bomb(path, "column/0.npy", bytes(200_000_000))
    assert path.stat().st_size < 300_000
    other = tmp_path / "other.lmm"
    bomb(other, "other.json", b"[]," * 30_000_000)
    tracemalloc.start()
    with pytest.raises(lmm.DataError, match="would become 200000002 in memory"):
        lmm.load(path)
    with pytest.raises(lmm.DataError, match="in memory"):
        lmm.load(other)
    assert tracemalloc.get_traced_memory()[1] < 2_000_000
    tracemalloc.stop()


def test_an_array_that_claims_a_vast_shape(tmp_path):
    fitted("slopes").save(tmp_path / "m.lmm")
    header = io.BytesIO()
    shape = {"descr": "<f8", "fortran_order": False, "shape": (10**12,)}
    np.lib.format.write_array_header_1_0(header, shape)
    with zipfile.ZipFile(tmp_path / "m.lmm", "a") as archive:
        archive.writestr("more.npy", header.getvalue())
    with pytest.raises(lmm.DataError, match=r"more.npy does not hold what it says"):
        lmm.load(tmp_path / "m.lmm")


def test_very_regular_models_load(tmp_path):
    n = 100_000
    data = {"y": np.tile([0.0, 1.0], n // 2), "g": np.repeat(np.arange(10), n // 10)}
    data["y"][:5] += [3.0, 1.0, 2.0, 0.5, 1.5]
    ones = {f"c{i}": np.zeros(n) for i in range(60)}
    matrices = lmm.build_matrices("y ~ (1 | g)", data)
    criterion = lmm.ProfiledCriterion(matrices)
    request = Request.of("y ~ (1 | g)", data | ones, weights=np.ones(n))
    names = " + ".join(f"offset({name})" for name in ones)
    request = Request.of(f"y ~ {names} + (1 | g)", data | ones, weights=np.ones(n))
    m = lmm.LinearMixedModel.at(request.criterion(), lmm.minimize(criterion), request)
    m.save(tmp_path / "m.lmm")
    np.testing.assert_array_equal(lmm.load(tmp_path / "m.lmm").theta, m.theta)


@pytest.mark.filterwarnings("ignore::lmm.ContrastsWarning")
def test_contrasts_of_a_factor_that_was_dropped_are_saved(tmp_path):
    cake = lmm.load_dataset("cake").assign(baker=lambda d: d["recipe"])
    formula = "angle ~ baker + temperature + (1 | recipe:replicate)"
    m = lmm.lmer(formula, cake, contrasts={"baker": "contr.sum"}).update(". ~ . - baker")
    m.save(tmp_path / "model.lmm")
    back = lmm.load(tmp_path / "model.lmm")
    same(back, m)
    assert back.update(". ~ . + baker").fixef().index.tolist()[-2:] == ["baker1", "baker2"]


@pytest.mark.parametrize(
    "subset",
    [
        "Days > @pd.io.common.os.system('touch ran') - 1",
        "Days > @np.load.__globals__['os'].system('touch ran') - 1",
        "Reaction.to_csv('ran') != 3",
        "10**10**10",
        "cut(Days, 1e9) == 1",
    ],
)
def test_a_stored_condition_runs_no_code(subset, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fitted("slopes").save("model.lmm")
    rewritten(Path("model.lmm"), lambda header: header["arguments"].update(subset=subset))
    with pytest.raises(lmm.DataError):
        lmm.load("model.lmm")
    assert [path.name for path in tmp_path.iterdir()] == ["model.lmm"]


# Generalized models ------------------------------------------------------------------------------


def counts(**options):
    rng = np.random.default_rng(1)
    g = np.repeat(np.arange(15), 8)
    data = pd.DataFrame({"g": g, "x": rng.normal(size=120)})
    mean = np.exp(0.5 + 0.3 * data["x"] + rng.normal(size=15)[g])
    return data.assign(y=rng.poisson(mean), z=rng.gamma(2.0, mean / 2.0), b=rng.random(120) < 0.4)


CBPP = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
GENERALIZED = {
    "counts": lambda: lmm.glmer("y ~ x + (1 | g)", counts(), family="poisson"),
    "link": lambda: lmm.glmer(CBPP, lmm.load_dataset("cbpp"), family=lmm.Binomial("probit")),
    "successes and failures": lambda: lmm.glmer(CBPP, lmm.load_dataset("cbpp")),
    "truth values": lambda: lmm.glmer("b ~ x + (1 | g)", counts(), nagq=5),
    "nagq=0": lambda: lmm.glmer(CBPP, lmm.load_dataset("cbpp"), nagq=0),
    "scale": lambda: lmm.glmer("z ~ x + (1 | g)", counts(), family=lmm.Gamma("log")),
    "negative binomial": lambda: lmm.glmer_nb("y ~ x + (1 | g)", counts()),
    "another response": lambda: GENERALIZED["counts"]().refit(counts()["y"][::-1].to_numpy()),
}


@pytest.mark.filterwarnings("ignore::lmm.LmmWarning")
@pytest.mark.parametrize("name", GENERALIZED)
def test_generalized_models_come_back(name, tmp_path):
    m = GENERALIZED[name]()
    back = saved(m, tmp_path)
    assert type(back) is type(m)
    assert back.summary().to_text() == m.summary().to_text()
    np.testing.assert_allclose(back.beta, m.beta, rtol=1e-8)
    np.testing.assert_allclose(back.fitted(), m.fitted(), rtol=1e-6)
    assert back.family == m.family
