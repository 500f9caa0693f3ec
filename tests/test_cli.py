"""The ``lmm`` command: what it prints, and its exit status."""

import json
import os
import subprocess
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import lmm
from lmm import load_dataset
from lmm.cli import main
from lmm.files.reading import read_table
from reference import load_reference

SLEEP = "Reaction ~ Days + (Days | Subject)"


def run(*arguments, cwd="."):
    """Call the command in this process, which saves the start of one for each test."""
    with chdir(cwd), redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err:
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as exit_:
            status = exit_.code
    return subprocess.CompletedProcess(arguments, status, out.getvalue(), err.getvalue())


def summary_lines(model_id, data):
    """R's summary, with our name of the table where the R session has ``d``."""
    lines = load_reference(model_id)["summary_text"]
    return [f"   Data: {data}" if line == "   Data: d" else line for line in lines]


@pytest.fixture
def table():
    return load_dataset("sleepstudy")


def test_fit_prints_the_summary_of_a_shipped_data_set():
    done = run("fit", SLEEP, "sleepstudy")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.rstrip("\n").split("\n") == summary_lines("sleep_slope", "sleepstudy")


def test_ml(table):
    done = run("fit", SLEEP, "sleepstudy", "--ml")
    assert done.stdout.rstrip("\n").split("\n") == summary_lines("sleep_slope_ml", "sleepstudy")


@pytest.mark.parametrize(
    "names", [["parts"], ["parts/*.parquet"], ["parts/0.parquet", "parts/1.parquet"]]
)
def test_files_that_are_read_batch_by_batch(table, tmp_path, names):
    (tmp_path / "parts").mkdir()
    for i in range(2):
        table[90 * i : 90 * (i + 1)].to_parquet(tmp_path / "parts" / f"{i}.parquet")
    done = run("fit", SLEEP, *names, "--json", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    whole = json.loads(run("fit", SLEEP, "sleepstudy", "--json").stdout)
    assert json.loads(done.stdout)["criterion"] == pytest.approx(whole["criterion"], rel=1e-10)
    done = run("fit", SLEEP, *names, "--output", "parts/0.parquet", "--force", cwd=tmp_path)
    assert done.returncode == 2
    assert "holds the data" in done.stderr
    assert run("fit", SLEEP, "none/*.parquet").returncode == 2


WRITERS = {
    "sleep.csv": lambda table, path: table.to_csv(path, index=False),
    "sleep.csv.gz": lambda table, path: table.to_csv(path, index=False),
    "sleep.TSV": lambda table, path: table.to_csv(path, index=False, sep="\t"),
    "sleep.parquet": lambda table, path: table.to_parquet(path),
}


@pytest.mark.parametrize("name", WRITERS)
def test_file_types_give_the_same_fit(tmp_path, table, name):
    WRITERS[name](table, tmp_path / name)
    done = run("fit", SLEEP, tmp_path / name)
    assert done.stdout.rstrip("\n").split("\n") == summary_lines("sleep_slope", name)


def test_json_holds_the_estimates():
    done = run("fit", SLEEP, "sleepstudy", "--json")
    estimates, reference = json.loads(done.stdout), load_reference("sleep_slope")
    assert estimates["formula"] == SLEEP
    assert estimates["reml"] is True
    assert estimates["converged"] is True
    assert estimates["warnings"] == []
    assert estimates["nobs"] == 180
    assert estimates["ngroups"] == {"Subject": 18}
    assert estimates["criterion"] == pytest.approx(reference["criterion"], abs=1e-6)
    assert estimates["sigma"] == pytest.approx(reference["sigma"], rel=1e-5)
    assert estimates["fixef"] == pytest.approx(reference["fixef"], rel=1e-5)
    assert estimates["theta"] == pytest.approx(list(reference["theta"].values()), abs=1e-3)
    assert estimates["coefficients"]["Days"]["Std. Error"] == pytest.approx(
        reference["se"]["Days"], rel=1e-5
    )
    rows = {(row["grp"], row["var1"], row["var2"]): row["vcov"] for row in estimates["varcorr"]}
    assert rows == pytest.approx(
        {(row["grp"], row["var1"], row["var2"]): row["vcov"] for row in reference["VarCorr"]},
        rel=1e-4,
    )


def test_tidy_writes_a_table_beside_the_summary(tmp_path):
    done = run("fit", SLEEP, "sleepstudy", "--tidy", tmp_path / "tidy.csv")
    tidy = pd.read_csv(tmp_path / "tidy.csv")
    assert done.stdout.startswith("Linear mixed model fit by REML")
    fixed = tidy[tidy["effect"] == "fixed"].set_index("term")["estimate"]
    assert fixed.to_dict() == pytest.approx(load_reference("sleep_slope")["fixef"], rel=1e-5)


@pytest.mark.parametrize(
    "ddf, title", [("satterthwaite", "Satterthwaite's"), ("kenward-roger", "Kenward-Roger's")]
)
def test_ddf_adds_degrees_of_freedom_everywhere(tmp_path, ddf, title):
    file = tmp_path / "tidy.csv"
    printed = run("fit", SLEEP, "sleepstudy", "--ddf", ddf, "--tidy", file).stdout
    assert printed.startswith(f"Linear mixed model fit by REML. t-tests use {title} method")
    assert "Days          10.467      1.546  17.000   6.771 3.26e-06 ***" in printed
    days = pd.read_csv(file).set_index("term").loc["Days"]
    done = run("fit", SLEEP, "sleepstudy", "--ddf", ddf, "--json")
    row = json.loads(done.stdout)["coefficients"]["Days"]
    # lmerTest 3.1-3 and pbkrtest 0.5.2: balanced data, so both methods agree.
    assert [row["df"], days["df"]] == pytest.approx([17, 17], rel=1e-3)
    assert [row["Pr(>|t|)"], days["p.value"]] == pytest.approx([3.264e-06] * 2, rel=1e-3)


def test_weights_offset_and_subset(tmp_path, table):
    table = table.assign(w=np.tile([1.0, 2.0, 0.5], 60), off=2.0 * table["Days"], noise=1)
    table.to_csv(tmp_path / "sleep.csv", index=False)
    options = ["--weights", "w", "--offset", "off", "--subset", "Days >= 2", "--json"]
    plain = run("fit", SLEEP, tmp_path / "sleep.csv", "--json", *options[:2], *options[4:6])
    shifted = run("fit", SLEEP, tmp_path / "sleep.csv", *options)
    assert json.loads(shifted.stdout)["nobs"] == 144
    slopes = [json.loads(done.stdout)["fixef"]["Days"] for done in (plain, shifted)]
    assert slopes[0] - slopes[1] == pytest.approx(2.0, rel=1e-6)


def test_only_empty_fields_and_na_are_missing(tmp_path, table):
    names = {"308": "None", "309": "nan", "310": "null", "330": "N/A", "331": "NaN"}
    table["Subject"] = table["Subject"].astype(str).replace(names)
    table = table.astype({"Reaction": str})
    table.loc[[0, 1], "Reaction"] = ["", "NA"]
    table.to_csv(tmp_path / "sleep.csv", index=False)
    estimates = json.loads(run("fit", SLEEP, tmp_path / "sleep.csv", "--json").stdout)
    assert (estimates["nobs"], estimates["ngroups"]) == (178, {"Subject": 18})


def test_singular_fit_is_told_once_in_the_summary():
    done = run("fit", "Yield ~ 1 + (1 | Batch)", "Dyestuff2")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("singular") == 1


def test_a_fit_that_did_not_converge_is_printed_with_status_1(monkeypatch, capsys):
    stopped = lmm.FisherScoring(max_evaluations=1)

    def lmer_stopped_early(*arguments, optimizer, **options):
        return lmm.lmer(*arguments, optimizer=stopped, **options)

    monkeypatch.setattr("lmm.pipeline.lmer", lmer_stopped_early)
    assert (
        main(["fit", "score ~ Machine + (Machine | Worker)", "Machines", "--subset", "score > 45"])
        == 1
    )
    printed = capsys.readouterr()
    assert printed.out.startswith("Linear mixed model fit by REML")
    assert "Model failed to converge" in printed.out
    assert printed.err == ""


def with_fields(table, path, column, fields):
    """Write a table in which the first rows of a column have these fields."""
    texts = table.astype({column: str})
    texts.loc[: len(fields) - 1, column] = fields
    texts.to_csv(path, index=False)
    return path


@pytest.mark.parametrize("field", ["NaN", "nan", " NaN ", "NA", ""])
def test_a_column_of_numbers_with_missing_ones_stays_numeric(field, table, tmp_path):
    """R 4.2.2: read.csv, class numeric; lmer, 179 observations."""
    path = with_fields(table, tmp_path / "t.csv", "Days", [field])
    done = run("fit", SLEEP, path, "--json")
    estimates = json.loads(done.stdout)
    assert estimates["nobs"] == 179
    assert list(estimates["fixef"]) == ["(Intercept)", "Days"]
    assert done.stderr == ""


@pytest.mark.parametrize("field", ["inf", "-Inf", "Infinity"])
def test_infinite_fields_are_numbers_and_named(field, table, tmp_path):
    path = with_fields(table, tmp_path / "t.csv", "Days", ["1", field])
    done = run("fit", SLEEP, path)
    assert done.returncode == 2
    assert "infinite values in 'Days'" in done.stderr


def test_a_column_of_almost_only_numbers_is_named(table, tmp_path):
    path = with_fields(table, tmp_path / "t.csv", "Days", ["1,5", ".", "."])
    done = run("fit", "Reaction ~ Days + (1 | Subject)", path)
    assert done.returncode == 0
    assert done.stderr == (
        "lmm: warning: column 'Days' is read as text, because some of its fields are no numbers: "
        "'1,5', '.'. Write missing values as NA or leave them empty, or name them by --na; "
        "--decimal , reads decimal commas.\n"
    )
    assert run("fit", "Reaction ~ 1 + (1 | Subject)", path).stderr == ""


def test_long_identifiers_stay_text_and_levels_called_nan_levels(tmp_path, table):
    names = {label: f"{10**20 + i}" for i, label in enumerate(table["Subject"].unique())}
    table["Subject"] = table["Subject"].map(names)
    table.assign(g="nan").to_csv(tmp_path / "t.csv", index=False)
    read = read_table(str(tmp_path / "t.csv"))
    assert read["Subject"].nunique() == 18
    assert set(read["g"]) == {"nan"}


def test_tidy_never_overwrites(tmp_path, table):
    table.to_csv(tmp_path / "mine.csv", index=False)
    before = (tmp_path / "mine.csv").read_bytes()
    done = run("fit", SLEEP, "mine.csv", "--tidy", "mine.csv", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "'mine.csv' exists: choose another name, or --force replaces it." in done.stderr
    assert (tmp_path / "mine.csv").read_bytes() == before
    (tmp_path / "link.csv").symlink_to(tmp_path / "nowhere.csv")
    assert run("fit", SLEEP, "mine.csv", "--tidy", "link.csv", cwd=tmp_path).returncode == 2
    (tmp_path / "old.csv").write_text("old")
    done = run("fit", SLEEP, "mine.csv", "--tidy", "old.csv", "--force", cwd=tmp_path)
    assert done.returncode == 0
    assert pd.read_csv(tmp_path / "old.csv").columns[0] == "effect"
    done = run("fit", SLEEP, "mine.csv", "--tidy", "./mine.csv", "--force", cwd=tmp_path)
    assert "'mine.csv' holds the data: write to another file." in done.stderr
    assert (tmp_path / "mine.csv").read_bytes() == before
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"mine.csv", "link.csv", "old.csv"}


READERS = {
    "out.csv": pd.read_csv,
    "out.tsv": lambda path: pd.read_csv(path, sep="\t"),
    "out.csv.gz": pd.read_csv,
    "out.parquet": pd.read_parquet,
}


@pytest.mark.parametrize("name", READERS)
def test_the_suffix_decides_the_format_of_tidy(name, tmp_path):
    assert run("fit", SLEEP, "sleepstudy", "--tidy", name, cwd=tmp_path).returncode == 0
    tidy = READERS[name](tmp_path / name)
    assert dict(zip(tidy["term"], tidy["estimate"], strict=True))["Days"] == pytest.approx(10.46729)


def test_tidy_to_standard_output_takes_the_summarys_place(tmp_path):
    done = run("fit", SLEEP, "sleepstudy", "--tidy", "-", cwd=tmp_path)
    assert (done.returncode, list(tmp_path.iterdir())) == (0, [])
    assert pd.read_csv(StringIO(done.stdout))["term"].tolist()[:2] == ["(Intercept)", "Days"]


def test_a_table_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    def fails(*arguments, **options):
        Path(arguments[1]).write_text("half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_csv", fails)
    (tmp_path / "t.csv").write_text("old")
    done = run("fit", SLEEP, "sleepstudy", "--tidy", tmp_path / "t.csv", "--force")
    assert done.returncode == 2
    assert "No space left on device" in done.stderr
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


FAILURES = {
    "memory": (MemoryError(), 2, "not enough memory"),
    "interrupt": (KeyboardInterrupt(), 130, "interrupted"),
    "package": (ImportError("solver='cholmod' needs scikit-sparse"), 2, "needs scikit-sparse"),
    "ours": (KeyError("x"), 2, "unexpected KeyError: 'x'. Please report it"),
    "numbers": (lmm.NumericalError("a matrix is not positive definite"), 1, "positive definite"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_whatever_goes_wrong_is_one_message(name, monkeypatch):
    error, status, message = FAILURES[name]

    def fails(*arguments, **options):
        raise error

    monkeypatch.setattr("lmm.pipeline.lmer", fails)
    done = run("fit", SLEEP, "sleepstudy")
    assert (done.returncode, done.stdout) == (status, "")
    assert done.stderr.startswith("lmm: error: ")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def start(*arguments, **options):
    command = [sys.executable, "-m", "lmm", *arguments]
    return subprocess.run(command, check=False, timeout=120, **options)


def test_output_that_nobody_reads_is_one_message():
    read, write = os.pipe()
    os.close(read)
    done = start("fit", SLEEP, "sleepstudy", stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert done.returncode == 2
    assert done.stderr == "lmm: error: the output was closed before all of it was written\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_output_that_has_no_room_is_one_message():
    with open("/dev/full", "w") as full:
        done = start("fit", SLEEP, "sleepstudy", stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert done.stderr == "lmm: error: [Errno 28] No space left on device\n"


def test_terminals_that_know_ascii_only(tmp_path, table):
    table = table.assign(Größe=table["Days"])
    table.to_csv(tmp_path / "t.csv", index=False)
    ascii_only = {**os.environ, "PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    options = {"capture_output": True, "env": ascii_only, "cwd": tmp_path}
    done = start("fit", SLEEP, "sleepstudy", "--ddf", "satterthwaite", **options)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"Signif. codes:  0 '***' 0.001 '**' 0.01 '*' 0.05 '.' 0.1 ' ' 1" in done.stdout
    done = start("fit", "Reaction ~ Größe + (1 | Subject)", "t.csv", **options)
    assert done.returncode == 0
    assert rb"Gr\xf6\xdfe" in done.stdout


def test_nothing_steers_the_terminal(tmp_path, table):
    evil = "z\x1b[2J\x1b]0;gone\x07\u202e"
    table = table.assign(g=np.where(table.index % 2, evil, "b"))
    table.to_csv(tmp_path / "t.csv", index=False)
    for options in ([], ["--json"], ["--tidy", "-"]):
        done = run("fit", "Reaction ~ g + (1 | Subject)", tmp_path / "t.csv", *options)
        assert done.returncode == 0
        assert not set("\x1b\x07\u202e") & set(done.stdout)
        assert "x1b[2J" in done.stdout or "u001b[2J" in done.stdout, options
    done = run("fit", f"Reaction ~ g + (1 | Subject) {evil}", tmp_path / "t.csv")
    assert done.returncode == 2
    assert "\x1b" not in done.stderr


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:9/t.csv", "file:///etc/t.csv", "s3://b/t.csv"]
)
def test_no_address_is_read(address, monkeypatch):
    monkeypatch.setattr("urllib.request.urlopen", lambda *_: pytest.fail("an address was read"))
    done = run("fit", SLEEP, address)
    assert done.returncode == 2
    assert f"Cannot read '{address}': No such file or directory" in done.stderr


def test_json_has_null_for_what_is_no_number(tmp_path):
    done = run("fit", "Yield ~ 1 + (1 | Batch)", "Dyestuff2", "--json", "--ddf", "satterthwaite")
    estimates = json.loads(done.stdout, parse_constant=lambda name: pytest.fail(name))
    assert estimates["varcorr"][0]["var2"] is None


BAD_INPUT = [
    (["fit", "Reaction ~ Days", "sleepstudy"], "random"),
    (["fit", "Reaction ~ Dayz + (1 | Subject)", "sleepstudy"], "Did you mean 'Days'?"),
    (["fit", "Reaction ~ Days + (1 | Subject", "sleepstudy"], "^"),
    (["fit", SLEEP, "sleepstudie"], "Did you mean 'sleepstudy'?"),
    (["fit", SLEEP, "missing.csv"], "No such file"),
    (["fit", SLEEP, "table.sas"], "the suffix must be one of .csv, .tsv, .txt"),
    (["fit", SLEEP, "sleepstudy", "--weights", "w"], "'w'"),
    (["fit", SLEEP, "sleepstudy", "--solver", "fast"], "dense"),
    (["fit", SLEEP, "sleepstudy", "--optimizer", "bobyqa"], "COBYQA"),
    (["fit", SLEEP, "sleepstudy", "--tidy", "no/such/folder.csv"], "no/such"),
    (["fit", SLEEP, "sleepstudy", "--ml", "--ddf", "kenward-roger"], "leave out --ml"),
    (["fit", SLEEP, "sleepstudy", "--tidy", "out.xlsx"], ".csv, .tsv or .parquet"),
    (["fit", SLEEP, "sleepstudy", "--tidy", "out"], ".csv, .tsv or .parquet"),
    (["fit", SLEEP, "sleepstudy", "--tidy", "-", "--json"], "leave one out"),
    (["datasets", "cak"], "Did you mean 'cake'?"),
]


@pytest.mark.parametrize("arguments, message", BAD_INPUT)
def test_bad_input_is_one_message_and_status_2(arguments, message, tmp_path):
    done = run(*arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("lmm: error: ")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


MALFORMED = {
    "empty.csv": b"",
    "ragged.csv": b"a,b\n1,2\n1,2,3\n",
    "binary.csv": b"\xff\xfe\x00\x01",
    "broken.parquet": b"not parquet",
    "broken.csv.gz": b"\x1f\x8b\x08 broken",
    "broken.csv.xz": b"not xz",
    "broken.csv.zip": b"PK not zip",
}


@pytest.mark.parametrize("name", MALFORMED)
def test_unreadable_files_are_named(name, tmp_path):
    (tmp_path / name).write_bytes(MALFORMED[name])
    done = run("fit", SLEEP, name, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"Cannot read '{name}'" in done.stderr
    assert "Traceback" not in done.stderr


def test_unknown_option_shows_the_usage():
    done = run("fit", SLEEP, "sleepstudy", "--mll")
    assert done.returncode == 2
    assert "usage: lmm" in done.stderr


def test_datasets_lists_and_describes():
    listing = run("datasets").stdout.splitlines()
    assert len(listing) == 20
    assert any(line.startswith("InstEval     73421 x 7") for line in listing)
    assert "Source: R package lme4; Belenky" in run("datasets", "sleepstudy").stdout


def test_versions_and_the_ways_to_start_it():
    done = run("versions")
    assert done.stdout.splitlines()[0].split() == ["lmm", "0.1.0"]
    assert run("--version").stdout == "lmm 0.1.0\n"
    for command in ([sys.executable, "-m", "lmm"], [Path(sys.executable).with_name("lmm")]):
        done = subprocess.run(
            [*command, "fit", "no formula", "sleepstudy"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("lmm: error: ")
