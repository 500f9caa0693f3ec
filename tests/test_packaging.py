"""What a user gets from an install: the README's promises, and what the base install needs."""

import re
import subprocess
import sys
from importlib import import_module
from importlib.metadata import requires, version
from pathlib import Path

import pytest

import lmm

README = (Path(__file__).parents[1] / "README.md").read_text()


def run_python(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_version_is_the_installed_one():
    assert lmm.__version__ == version("lmm")


def test_base_dependencies():
    base = [line for line in requires("lmm") if "extra ==" not in line]
    names = {re.match(r"[\w-]+", line).group() for line in base}
    assert names == {"formulaic", "narwhals", "numpy", "pandas", "scipy", "threadpoolctl"}


def test_readme_shows_what_its_command_prints():
    formula, table = re.search(r'lmm fit "(.*)" (\w+)', blocks("sh")[0]).groups()
    command = [sys.executable, "-m", "lmm", "fit", formula, table]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout == blocks("text")[0]


def test_readme_example_runs():
    assert "Number of obs: 180, groups:  Subject, 18" in run_python(blocks("python")[0])


def test_readme_names_files_that_exist():
    root = Path(__file__).parents[1]
    linked = re.findall(r"\]\((?!http)([^)]+)\)", README)
    named = re.findall(r"`((?:docs|notebooks|tests|\.ci)/[\w./-]*)`", README)
    paths = [root / path for path in {*linked, *named}]
    assert len(paths) >= 5
    assert [path for path in paths if not path.exists()] == []


def test_readmes_times_are_those_of_the_tables():
    folder = Path(__file__).parents[1] / "docs" / "benchmarks"
    tables = [(folder / f"{name}.md").read_text() for name in ("table", "generalized")]
    (speed,) = re.findall(r"^## Speed\n(.*?)^## ", README, flags=re.DOTALL | re.MULTILINE)
    (day,) = re.findall(r"On (\d+ \w+ \d+) a call took", speed)
    times = re.findall(r"\d[\d.]* (?:ms|s)\b", speed)
    assert len(times) >= 9
    assert all(table.startswith(day) for table in tables)
    assert [time for time in times if time not in "".join(tables)] == []


def test_citation_is_of_this_version():
    citation = (Path(__file__).parents[1] / "docs" / "CITATION.cff").read_text()
    assert f"version: {lmm.__version__}\n" in citation


OPTIONAL = ["sksparse", "matplotlib", "polars", "pyarrow", "joblib"]
MODELS = [
    ("Reaction ~ Days + (Days | Subject)", "sleepstudy", 1743.628272),
    ("diameter ~ 1 + (1 | plate) + (1 | sample)", "Penicillin", 330.860589),
    ("strength ~ 1 + (1 | batch/cask)", "Pastes", 246.990746),
]


@pytest.mark.parametrize("formula, table, criterion", MODELS)
def test_base_install_fits_without_the_optional_packages(formula, table, criterion):
    printed = run_python(
        f"import sys\n"
        f"sys.modules |= dict.fromkeys({OPTIONAL})\n"
        f"import lmm\n"
        f"model = lmm.lmer({formula!r}, lmm.load_dataset({table!r}))\n"
        f"print(model.reml_criterion(), model.summary(), sep='\\n')"
    )
    assert float(printed.splitlines()[0]) == pytest.approx(criterion, abs=1e-5)


LATE = [
    *(
        "formulaic",
        "matplotlib",
        "scipy.stats",
        "scipy.sparse.csgraph",
        "sksparse",
    ),
    *("lmm.tables.comparison", "lmm.inference", "lmm.plots", "lmm.report", "lmm.simulate"),
]


def test_import_loads_nothing_that_is_needed_later_only():
    code = (
        "import sys, numpy, pandas, scipy.linalg, scipy.sparse; before = set(sys.modules)\n"
        f"import lmm; print([name for name in {LATE} if name in set(sys.modules) - before])"
    )
    assert run_python(code).strip() == "[]"


def test_names_that_load_late_are_listed_and_load():
    names = ", ".join(name for name in lmm.__all__ if not name.startswith("_"))
    listed = run_python(f"import lmm; print(*dir(lmm)); from lmm import {names}")
    assert set(lmm.__all__) <= set(listed.split())


def test_a_name_that_loads_late_is_not_hidden_by_a_module_of_that_name():
    modules = {path.stem for path in Path(lmm.__file__).parent.iterdir()}
    assert not modules & set(lmm.__all__)


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'lmm' has no attribute 'lmerr'"):
        _ = lmm.lmerr


@pytest.mark.parametrize(
    "name, hint",
    [
        ("VarCorr", r"write m\.varcorr\(\)"),
        ("lmr", "did you mean 'lmer'"),
        ("hatvalues", r"write m\.hatvalues\(\)$"),
        ("nobs", r"write m\.nobs$"),
        ("KRmodcomp", r"write lmm\.kr_modcomp"),
        ("bobyqa", "optimizer='COBYQA'"),
        ("lsmeans", r"write lmm\.emmeans"),
        ("nothing_like_it", "$"),
    ],
)
def test_other_names_are_answered(name, hint):
    with pytest.raises(AttributeError, match=f"has no attribute '{name}'.*{hint}"):
        getattr(lmm, name)


def test_plots_load_by_attribute():
    assert run_python("import lmm; print(lmm.plots.caterpillar.__name__)").strip() == "caterpillar"


@pytest.mark.parametrize("name", ["formula", "fit", "predict", "simulate"])
def test_modules_that_are_called_say_what_to_write(name):
    module = import_module(f"lmm.{name}")
    with pytest.raises(TypeError, match=rf"lmm\.{name} is a module: write (m|lmm)\."):
        module("y ~ x", {})


@pytest.mark.parametrize(
    "name, hint",
    [
        ("scale_location", r"write lmm\.plots\.check_model\(m\)"),
        ("effects", r"write lmm\.plots\.effect\(m, name\)"),
        ("shrinkge", "did you mean 'shrinkage'"),
        ("nothing_like_it", "$"),
    ],
)
def test_other_names_of_pictures_are_answered(name, hint):
    with pytest.raises(AttributeError, match=f"has no attribute '{name}'.*{hint}"):
        getattr(lmm.plots, name)
