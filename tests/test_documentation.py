"""The reference lists every public name: functions, methods of models, results."""

import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import lmm
from lmm import plots
from lmm.report.printed import Printed

DOCS = Path(__file__).parent.parent / "docs"
MODELS = {
    "linear-model.md": lmm.LinearMixedModel,
    "generalized-model.md": lmm.GeneralizedMixedModel,
}
PUBLIC = [
    name
    for name in (*lmm.__all__, *plots.__all__)
    if name != "__version__" and getattr(lmm, name, None) not in MODELS.values()
]
# What other code of the package calls on a model; users have no use for it.
INTERNAL = {"at", "estimate", "fit_class", "lowered", "on", "update_on_own_rows"}
# Results that only others are made of.
PARTS = {"EstimatesTable", "Framed", "PrintedMapping", "Shares"}


@pytest.mark.parametrize("name", PUBLIC)
def test_public_names_are_in_the_reference(name):
    assert f"   {name}" in (DOCS / "reference.md").read_text().splitlines()


def public(cls, names):
    return {name for name in names if not name.startswith("_")} - INTERNAL


def documented(page):
    return re.findall(r"^\.\. auto(?:method|property|attribute):: \w+\.(\w+)$", page, re.MULTILINE)


def test_all_that_a_linear_model_has_is_on_its_page():
    names = documented((DOCS / "linear-model.md").read_text())
    assert len(names) == len(set(names))
    assert set(names) == public(lmm.LinearMixedModel, dir(lmm.LinearMixedModel))


def test_what_generalized_models_have_of_their_own_is_on_their_page():
    names = documented((DOCS / "generalized-model.md").read_text())
    assert set(names) == public(lmm.GeneralizedMixedModel, vars(lmm.GeneralizedMixedModel))


def classes_of_results():
    for module in pkgutil.walk_packages(lmm.__path__, "lmm."):
        if module.name.startswith(("lmm.tables", "lmm.report", "lmm.diagnostics", "lmm.inference")):
            for name, one in vars(importlib.import_module(module.name)).items():
                if inspect.isclass(one) and issubclass(one, Printed) and name[0] != "_":
                    yield f"{one.__module__}.{one.__qualname__}"


def test_all_results_are_in_the_reference():
    listed = re.findall(r"^   ~(\S+)$", (DOCS / "results.md").read_text(), re.MULTILINE)
    expected = {path for path in classes_of_results() if path.rpartition(".")[2] not in PARTS}
    assert expected <= set(listed)
    for path in listed:
        module, _, name = path.rpartition(".")
        assert inspect.isclass(getattr(importlib.import_module(module), name))


@pytest.mark.parametrize(
    "piece", sorted((DOCS / "changes").glob("*.md")), ids=lambda path: path.stem
)
def test_changes_are_short_texts(piece):
    text = piece.read_text()
    assert text.endswith(".\n")
    assert not text.startswith(("#", "-"))
    assert len(text.splitlines()) <= 6
