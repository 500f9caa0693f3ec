"""Progress bars of whatever may take seconds: shown when asked, silent in scripts."""

import subprocess
import sys
import time

import pytest

import lmm
from lmm import _progress

ASKED = {
    "bootstrap": (lambda m, **show: m.bootstrap(20, seed=1, **show), "20/20"),
    "profile": (lambda m, **show: m.profile("beta_", **show), "1/1"),
    "confint": (lambda m, **show: m.confint("beta_", **show), "1/1"),
    "confint by bootstrap": (
        lambda m, **show: m.confint(method="boot", nsim=30, seed=1, **show),
        "30/30",
    ),
    "influence": (lambda m, **show: m.influence("Batch", **show), "6/6"),
    "all_fit": (lambda m, **show: m.all_fit(["L-BFGS-B", "COBYQA"], **show), "2/2"),
    "refit_many": (lambda m, **show: lmm.refit_many(m, m.simulate(7, seed=1), **show), "7/7"),
    "pb_modcomp": (lambda m, **show: lmm.pb_modcomp(m, ". ~ . - 1", 9, seed=1, **show), "9/9"),
    "anova": (
        lambda m, **show: m.update(". ~ . + C(Batch == 'A')").anova(
            test="PB", nsim=9, seed=1, **show
        ),
        "9/9",
    ),
    "icc": (lambda m, **show: lmm.icc(m, nsim=20, seed=1, **show), "20/20"),
    "r2": (lambda m, **show: lmm.r2_nakagawa(m, nsim=20, seed=1, **show), "20/20"),
    "power": (
        lambda m, **show: lmm.power(m, "(Intercept)", 8, along={"Batch": [4, 6]}, seed=1, **show),
        "16/16",
    ),
}


@pytest.fixture(scope="module")
def dyestuff():
    return lmm.lmer("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff"))


@pytest.mark.parametrize("name", ASKED)
def test_bars_are_shown_when_asked(dyestuff, name, capsys):
    call, counted = ASKED[name]
    call(dyestuff, progress=True)
    captured = capsys.readouterr()
    assert counted in captured.err
    assert captured.out == ""


@pytest.mark.parametrize("progress", [None, False])
@pytest.mark.parametrize("name", ASKED)
def test_scripts_print_nothing(dyestuff, name, progress, capsys, monkeypatch):
    monkeypatch.setattr(_progress, "PATIENCE", 0.0)
    call, _ = ASKED[name]
    call(dyestuff, progress=progress)
    captured = capsys.readouterr()
    assert captured.err == captured.out == ""


def test_terms_of_several_columns_are_tested_by_studies_without_them_too(capsys):
    m = lmm.lmer("yield ~ Variety + (1 | Block)", lmm.load_dataset("Oats"))
    lmm.power(m, "Variety", 5, seed=1, progress=True)
    assert "10/10" in capsys.readouterr().err


def test_generalized_models_have_bars_too(capsys):
    m = lmm.glmer(
        "cbind(incidence, size - incidence) ~ period + (1 | herd)",
        lmm.load_dataset("cbpp"),
        family="binomial",
    )
    lmm.pb_modcomp(m, "period", 3, seed=1, progress=True)
    assert "3/3" in capsys.readouterr().err


def test_a_terminal_shows_what_takes_long_and_is_clean_afterwards(monkeypatch, capsys):
    monkeypatch.setattr(_progress, "PATIENCE", 0.01)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    seen = []
    for item in _progress.watched([1, 2, 3], "step", None):
        time.sleep(0.15)
        seen.append(item)
    text = capsys.readouterr().err
    assert seen == [1, 2, 3]
    assert "/3" in text
    assert text.split("\r")[-1].strip() == ""


def test_without_tqdm_there_is_no_bar_unless_asked():
    code = """
import sys
sys.modules["tqdm"] = sys.modules["tqdm.auto"] = None
import lmm
m = lmm.lmer("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff"))
m.bootstrap(5, seed=1)
try:
    m.bootstrap(5, seed=1, progress=True)
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "The progress bar needs tqdm: pip install 'lmm[parallel]'."
    assert done.stderr == ""


IN_THREADS = """
import warnings
from concurrent.futures import ThreadPoolExecutor
import pandas, scipy.special
from lmm._progress import progress_bar
before = list(warnings.filters)
with ThreadPoolExecutor(8) as pool:
    list(pool.map(lambda _: progress_bar(3, "step", None), range(64)))
print(warnings.filters == before)
"""


def test_first_bars_of_several_threads_leave_the_warning_filters_alone():
    done = subprocess.run([sys.executable, "-c", IN_THREADS], capture_output=True, text=True)
    assert done.stdout.endswith("True\n"), done.stderr
