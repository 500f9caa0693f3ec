"""The commands that read saved models: the same numbers as in Python, in every format."""

import json
import re
import shlex
import subprocess
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import lmm
from lmm.cli import main

SLEEP = "Reaction ~ Days + (Days | Subject)"
CBPP = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
PAGE = Path(__file__).parent.parent / "docs" / "command-line.md"


def run(*arguments, cwd="."):
    with chdir(cwd), redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err:
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as exit_:
            status = exit_.code
    return subprocess.CompletedProcess(arguments, status, out.getvalue(), err.getvalue())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with saved models of each kind."""
    path = tmp_path_factory.mktemp("models")
    for name, arguments in {
        "m1.lmm": [SLEEP, "sleepstudy"],
        "m0.lmm": ["Reaction ~ Days + (1 | Subject)", "sleepstudy"],
        "oats.lmm": ["yield ~ nitro * Variety + (1 | Block/Variety)", "Oats"],
        "herds.lmm": [CBPP, "cbpp", "--family", "binomial"],
    }.items():
        done = run("fit", *arguments, "--save", path / name, "--quiet")
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return path


def answer(folder, *arguments):
    """What a command prints, when all goes well."""
    done = run(*arguments, cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def rows(folder, *arguments):
    return json.loads(answer(folder, *arguments, "--format", "json"))["rows"]


def frame(folder, *arguments):
    return pd.read_csv(StringIO(answer(folder, *arguments, "--format", "csv")))


@pytest.fixture(scope="module")
def model(folder):
    return lmm.load(folder / "m1.lmm")


def test_fit_saves_and_prints(folder, tmp_path):
    done = run("fit", SLEEP, "sleepstudy", "--save", tmp_path / "m.lmm")
    assert done.stdout.startswith("Linear mixed model fit by REML")
    assert lmm.load(tmp_path / "m.lmm").sigma == lmm.load(folder / "m1.lmm").sigma
    again = run("fit", SLEEP, "sleepstudy", "--save", tmp_path / "m.lmm")
    assert again.returncode == 2
    assert "exists: choose another name, or --force" in again.stderr
    assert run("fit", SLEEP, "sleepstudy", "--save", tmp_path / "m.lmm", "--force").returncode == 0


def test_generalized_models(folder):
    """R 4.2.2, lme4 1.1-31: glmer, as in ?cbpp."""
    done = json.loads(answer(folder, "fit", CBPP, "cbpp", "--family", "binomial", "--json"))
    assert (done["family"], done["link"], done["nagq"]) == ("binomial", "logit", 1)
    assert done["fixef"]["period2"] == pytest.approx(-0.9923, abs=5e-5)
    arguments = ("fit", CBPP, "cbpp", "--family", "binomial", "--exponentiate", "--tidy", "-")
    assert "fixed,,(Intercept),0.2469" in answer(folder, *arguments)
    added = answer(folder, *arguments[:-2])
    assert "Generalized linear mixed model fit" in added
    assert re.search(r"Exponentiated coefficients:\n.*\n\(Intercept\) +0\.2469", added)
    ratios = json.loads(answer(folder, *arguments[:-2], "--json"))["exponentiated"]
    assert ratios["(Intercept)"]["estimate"] == pytest.approx(0.24696, abs=1e-5)
    probit = answer(folder, "fit", CBPP, "cbpp", "--family", "binomial", "--link", "probit")
    assert "binomial  ( probit )" in probit
    points = json.loads(
        answer(folder, "fit", CBPP, "cbpp", "--family", "binomial", "--nagq", "9", "--json")
    )
    assert points["loglik"] != done["loglik"]


def test_a_known_residual_deviation(folder):
    done = json.loads(answer(folder, "fit", SLEEP, "sleepstudy", "--sigma", "25", "--json"))
    m = lmm.lmer(SLEEP, lmm.load_dataset("sleepstudy"), sigma=25.0)
    assert (done["sigma"], done["fixef"]["Days"]) == (25.0, pytest.approx(m.fixef()["Days"]))


def test_json_of_a_fit_is_complete(folder, model):
    done = json.loads(answer(folder, "fit", SLEEP, "sleepstudy", "--format", "json"))
    assert done["loglik"] == model.loglik()
    assert done["aic"] == model.aic()
    assert done["vcov"]["Days"]["Days"] == pytest.approx(model.vcov().loc["Days", "Days"])
    assert done["theta"] == pytest.approx(model.theta.tolist())
    assert done["status"]


def test_formats_of_a_fit(folder, model):
    assert "| Days | 10.467 |" in answer(folder, "fit", SLEEP, "sleepstudy", "--format", "markdown")
    assert "<table" in answer(folder, "fit", SLEEP, "sleepstudy", "--format", "html")
    assert r"\toprule" in answer(folder, "fit", SLEEP, "sleepstudy", "--format", "latex")
    estimates = frame(folder, "fit", SLEEP, "sleepstudy", "--ddf", "satterthwaite")
    pd.testing.assert_frame_equal(estimates, model.tidy(ddf="satterthwaite"))


def test_warnings_that_csv_cannot_hold_are_told():
    singular = ["fit", "Yield ~ 1 + (1 | Batch)", "Dyestuff2"]
    assert "singular" in run(*singular, "--format", "csv").stderr
    assert "singular" in run(*singular).stdout
    quiet = run(*singular, "--format", "csv", "--quiet")
    assert (quiet.returncode, quiet.stderr) == (0, "")


def test_anova(folder, model):
    assert answer(folder, "anova", "m1.lmm", "--ddf", "kenward-roger").rstrip("\n") == str(
        model.anova(ddf="kenward-roger")
    )
    compared = frame(folder, "anova", "m0.lmm", "m1.lmm")
    assert compared["row"].tolist() == ["m0", "m1"]
    # R 4.2.2: anova(m0, m1)
    assert compared["Chisq"][1] == pytest.approx(42.139, abs=5e-4)
    whole = json.loads(answer(folder, "anova", "m0.lmm", "m1.lmm", "--format", "json"))
    assert whole["rows"][0]["Chisq"] is None
    assert "refitting model(s) with ML (instead of REML)" in whole["notes"]
    assert not any("Signif" in note for note in whole["notes"])


def test_confint(folder, model):
    wald = frame(folder, "confint", "m1.lmm", "--method", "wald", "--level", "0.9")
    limits = model.confint(method="wald", level=0.9).to_frame()
    assert wald["row"].tolist() == limits.index.tolist()
    np.testing.assert_allclose(wald[["5 %", "95 %"]], limits, rtol=1e-14)
    some = rows(folder, "confint", "m1.lmm", "--parm", "Days", "--parm", "sigma")
    assert {row["row"] for row in some} == {"Days", "sigma"}


def test_ranef(folder, model):
    effects = frame(folder, "ranef", "m1.lmm", "--condvar")
    expected = model.ranef(condvar=True).to_frame()
    np.testing.assert_allclose(effects[["condval", "condsd"]], expected[["condval", "condsd"]])
    assert answer(folder, "ranef", "m1.lmm").startswith("$Subject")


def test_emmeans(folder):
    oats = lmm.load(folder / "oats.lmm")
    pairs = frame(
        folder, "emmeans", "oats.lmm", "Variety", "--contrast", "pairwise", "--adjust", "holm"
    )
    expected = lmm.emmeans(oats, "Variety").contrast("pairwise", adjust="holm").to_frame()
    np.testing.assert_allclose(pairs["p.value"], expected["p.value"], rtol=1e-12)
    at = rows(folder, "emmeans", "oats.lmm", "~ Variety | nitro", "--at", "nitro=0,0.6")
    assert [row["nitro"] for row in at] == [0.0] * 3 + [0.6] * 3
    several = rows(folder, "emmeans", "oats.lmm", "pairwise ~ Variety", "--level", "0.9")
    assert {len(several[name]) for name in several} == {3}
    assert "lower.CL" in several["contrasts"][0]
    periods = rows(
        folder, "emmeans", "herds.lmm", "period", "--type", "response", "--at", "period=1,3"
    )
    assert periods[0]["prob"] == pytest.approx(0.198, abs=5e-4)


def test_predict_new_rows_from_a_pipe(folder, model, monkeypatch):
    command = [sys.executable, "-m", "lmm", "predict", "m1.lmm", "-", "--join", "--format", "csv"]
    done = subprocess.run(
        [*command, "--interval", "prediction"],
        input="Subject;Days\n308;1,5\n309;2\n",
        capture_output=True,
        text=True,
        check=True,
        cwd=folder,
    )
    predicted = pd.read_csv(StringIO(done.stdout))
    new = pd.DataFrame({"Subject": [308, 309], "Days": [1.5, 2.0]})
    expected = model.predict(new, interval="prediction")
    np.testing.assert_allclose(predicted[expected.columns], expected, rtol=1e-13)
    assert predicted[["Subject", "Days"]].to_numpy().tolist() == new.to_numpy().tolist()


def test_predict_the_rows_of_the_fit(folder, model):
    fixed = frame(folder, "predict", "m1.lmm", "--re-form", "~0", "--se")
    np.testing.assert_allclose(fixed, model.predict(re_form="~0", se=True), rtol=1e-13)
    chances = frame(folder, "predict", "herds.lmm", "--type", "response")
    assert chances["fit"].between(0.0, 1.0).all()


def test_simulate(folder, model):
    drawn = frame(folder, "simulate", "m1.lmm", "--nsim", "3", "--seed", "4")
    np.testing.assert_allclose(drawn, model.simulate(3, seed=4), rtol=1e-13)
    pairs = frame(folder, "simulate", "herds.lmm", "--seed", "1")
    total = pairs["sim_1_successes"] + pairs["sim_1_failures"]
    assert total.tolist() == lmm.load_dataset("cbpp")["size"].tolist()


def test_a_dash_is_the_screen(folder):
    assert answer(folder, "anova", "m1.lmm", "-o", "-") == answer(folder, "anova", "m1.lmm")


def test_table(folder, tmp_path):
    shown = answer(folder, "table", "m0.lmm", "m1.lmm", "--show", "error", "--digits", "1")
    assert re.search(r"^Days +10\.5 +", shown, re.MULTILINE)
    assert shown.split()[0] == "m0"
    assert "First" in answer(folder, "table", "m0.lmm", "--names", "First", "--format", "latex")
    assert answer(folder, "table", "m0.lmm", "--output", tmp_path / "t.docx") == ""
    assert (tmp_path / "t.docx").read_bytes().startswith(b"PK")


PICTURES = {
    "check": [],
    "coefficients": [],
    "residuals": [],
    "qq": [],
    "effect": ["--x", "Days"],
    "lines": ["--x", "Days"],
    "predictions": ["--x", "Days"],
    "caterpillar": ["--group", "Subject"],
    "qq-random": [],
    "shrinkage": [],
    "correlation": [],
}


@pytest.mark.parametrize("kind", PICTURES)
def test_plot(kind, folder, tmp_path):
    out = tmp_path / "picture.svg"
    assert answer(folder, "plot", "m1.lmm", kind, *PICTURES[kind], "--output", out) == ""
    assert "<svg" in out.read_text()


OUTPUTS = {
    "a.txt": "Type III Analysis",
    "a.json": '"NumDF": 1',
    "a.csv": "row,Sum Sq",
    "a.md": "| Days |",
    "a.html": "<table",
    "a.tex": r"\toprule",
    "a.tsv": "row\tSum Sq",
}


@pytest.mark.parametrize("name", OUTPUTS)
def test_the_suffix_of_the_output_says_the_format(name, folder, tmp_path):
    assert answer(folder, "anova", "m1.lmm", "--output", tmp_path / name) == ""
    assert OUTPUTS[name] in (tmp_path / name).read_text()
    assert run("anova", "m1.lmm", "-o", tmp_path / name, cwd=folder).returncode == 2
    answer(folder, "anova", "m1.lmm", "-o", tmp_path / name, "--force", "--format", "json")
    assert json.loads((tmp_path / name).read_text())["rows"]


BAD_INPUT = [
    (["anova", "none.lmm"], "Cannot read model 'none.lmm': No such file"),
    (["anova", "text.lmm"], "text.lmm"),
    (["anova", "."], "Cannot read model '.'"),
    (["anova", "m0.lmm", "m1.lmm", "--type", "II"], "tests of the terms of one model"),
    (["anova", "m1.lmm", "--boundary"], "name two models"),
    (["anova", "m1.lmm", "--output", "out"], "give --format"),
    (["anova", "m1.lmm", "--output", "no/out.csv"], "there is no folder"),
    (["anova", "m1.lmm", "m1.lmm", "oats.lmm"], "180 rows"),
    (["confint", "m1.lmm", "--level", "95"], "level"),
    (["confint", "m1.lmm", "--parm", "Dayz"], "Dayz"),
    (["emmeans", "oats.lmm", "Varietie"], "Did you mean 'Variety'?"),
    (["emmeans", "oats.lmm", "Variety", "--at", "nitro"], "--at NAME=VALUES"),
    (["emmeans", "oats.lmm", "Variety", "--contrast", "pears"], "pears"),
    (["emmeans", "oats.lmm", "pairwise ~ Variety", "--contrast", "eff"], "leave out --contrast"),
    (["emmeans", "oats.lmm", "pairwise ~ Variety", "--format", "csv"], "--format json"),
    (["predict", "m1.lmm", "none.csv"], "Cannot read 'none.csv'"),
    (["predict", "m1.lmm", "--join"], "name one"),
    (["predict", "m1.lmm", "sleepstudy", "--type", "response"], "linear one has one scale"),
    (["predict", "m1.lmm", "Oats"], "'Days'"),
    (["predict", "m1.lmm", "sleepstudy", "--encoding", "latin-99"], "no encoding"),
    (["simulate", "m1.lmm", "--nsim", "-1"], "nsim"),
    (["table", "m0.lmm", "m1.lmm", "--names", "one"], "name"),
    (["plot", "m1.lmm", "effect", "--output", "a.png"], "--x NAME"),
    (["plot", "m1.lmm", "qq", "--output", "a.bmp"], ".png, .pdf, .svg"),
    (["plot", "m1.lmm", "lines", "--x", "Dayz", "--output", "a.png"], "Dayz"),
    (["fit", SLEEP, "sleepstudy", "--family", "binomal"], "Did you mean 'binomial'?"),
    (["fit", SLEEP, "sleepstudy", "--link", "log"], "add --family"),
    (["fit", CBPP, "cbpp", "--family", "binomial(probit)"], "the link by --link"),
    (["fit", SLEEP, "sleepstudy", "--exponentiate"], "add --tidy"),
    (["fit", SLEEP, "sleepstudy", "--family", "poisson", "--sigma", "1"], "the family says how"),
    (["fit", SLEEP, "sleepstudy", "--sigma", "-1"], "sigma must be positive"),
    (["fit", SLEEP, "sleepstudy", "--family", "poisson", "--ml"], "linear models"),
    (["fit", SLEEP, "sleepstudy", "--save", "x", "--output", "x"], "format of 'x'"),
    (["fit", SLEEP, "sleepstudy", "--save", "x.csv", "--tidy", "x.csv"], "different files"),
    (["fit", SLEEP, "sleepstudy", "--save", "no/x.lmm"], "there is no folder"),
    (["fit", SLEEP, "sleepstudy", "--save", ""], "it is a folder"),
    (["fit", SLEEP, "sleepstudy", "--save", "-"], "name a file"),
    (["table", "m0.lmm", "--digits", "-1"], "digits must be"),
    (["table", "m0.lmm", "--output", "x.docx", "--format", "json"], "leave out --format"),
    (
        ["plot", "m1.lmm", "effect", "--x", "Days", "--by", "Days", "-o", "a.png"],
        "another predictor",
    ),
    (["plot", "m1.lmm", "qq", "--dpi", "0", "-o", "a.png"], "--dpi must lie between"),
]


@pytest.mark.parametrize("arguments, message", BAD_INPUT)
def test_bad_input_is_one_message_and_status_2(arguments, message, folder):
    (folder / "text.lmm").write_text("no model")
    before = sorted(folder.iterdir())
    done = run(*arguments, cwd=folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("lmm: error: ")
    assert "unexpected" not in done.stderr
    assert message in done.stderr
    assert sorted(folder.iterdir()) == before


def examples():
    """The command lines of the page, in order."""
    return [line[1:] for line in PAGE.read_text().splitlines() if line.startswith("!")]


def test_every_command_has_an_example_on_its_page():
    text = "\n".join(examples())
    commands = "fit anova predict confint ranef emmeans simulate plot table datasets versions"
    assert [name for name in commands.split() if f"lmm {name}" not in text] == []


def test_the_examples_of_the_page_run(tmp_path):
    for line in examples():
        command = line.partition(" | head")[0]
        if command.startswith("printf"):
            given, _, command = command.partition(" | ")
            content = shlex.split(given)[1].replace("\\n", "\n")
            arguments = [sys.executable, "-m", *shlex.split(command)]
            done = subprocess.run(
                arguments, input=content, text=True, capture_output=True, check=False, cwd=tmp_path
            )
        else:
            done = run(*shlex.split(command)[1:], cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, ""), line


@pytest.mark.parametrize(
    "fitted, question",
    [
        (lambda d: lmm.lm("Reaction ~ Days", d), lambda m: m.anova()),
        (lambda d: lmm.glm("Reaction ~ Days", d, "Gamma"), lambda m: m.anova()),
    ],
)
def test_models_without_random_effects_are_asked_as_well(fitted, question, tmp_path):
    data = lmm.load_dataset("sleepstudy")
    m = fitted(data)
    m.save(tmp_path / "m.lmm")
    lmm.lmer("Reaction ~ Days + (1 | Subject)", data, reml=False).save(tmp_path / "mixed.lmm")
    table = frame(tmp_path, "anova", "m.lmm")
    assert_allclose(table.iloc[:, -1].dropna(), question(m).iloc[:, -1].dropna(), rtol=1e-6)
    limits = frame(tmp_path, "confint", "m.lmm", "--level", "0.9")
    assert_allclose(limits.iloc[:, -2:], m.confint(level=0.9).to_frame(), rtol=1e-6)
    predicted = frame(tmp_path, "predict", "m.lmm", "--type", "response", "--se")
    assert_allclose(predicted["fit"], m.predict(type="response"), rtol=1e-6)
    assert len(frame(tmp_path, "simulate", "m.lmm", "--seed", "1")) == len(data)
    assert "Days" in answer(tmp_path, "table", "m.lmm", "mixed.lmm")
    assert "200" in answer(tmp_path, "emmeans", "m.lmm", "Days", "--at", "Days=200")


def test_least_squares_are_tested_by_f_and_compared_with_mixed_models(tmp_path):
    data = lmm.load_dataset("sleepstudy")
    lmm.lm("Reaction ~ Days", data).save(tmp_path / "m.lmm")
    lmm.lmer("Reaction ~ Days + (1 | Subject)", data, reml=False).save(tmp_path / "mixed.lmm")
    assert "F value" in answer(tmp_path, "anova", "m.lmm", "--type", "II")
    assert "106.2" in answer(tmp_path, "anova", "m.lmm", "mixed.lmm")


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("anova", "m.lmm", "--ddf", "satterthwaite"), "--ddf belongs to models with random"),
        (("predict", "m.lmm", "--re-form", "~0"), "--re-form and --allow-new-levels belong"),
        (("ranef", "m.lmm"), "holds a model without random effects (lm)"),
        (("confint", "m.lmm", "--method", "boot"), "method 'boot' is unknown"),
    ],
)
def test_what_asks_for_random_effects_is_told(arguments, message, tmp_path):
    lmm.lm("Reaction ~ Days", lmm.load_dataset("sleepstudy")).save(tmp_path / "m.lmm")
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
