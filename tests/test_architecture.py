"""What docs/architecture.md and docs/contributing.md say of the code, counted in it."""

import ast
import re
from collections import defaultdict
from pathlib import Path
from statistics import median

import pytest

import lmm

ROOT = Path(lmm.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in FILES}
FUNCTIONS = [
    (f"{path.relative_to(ROOT)}:{node.lineno} {node.name}", node)
    for path, tree in TREES.items()
    for node in ast.walk(tree)
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
]
# What every package may have, and two adapters that stand in for one another.
COMMON_FILES = {"__init__.py", "__main__.py", "base.py"}
COMMON_CLASSES = {"Analysis"}


def body_lines(function):
    """Lines of a function's body without its docstring."""
    body = function.body
    if isinstance(body[0], ast.Expr) and isinstance(getattr(body[0].value, "value", None), str):
        body = body[1:]
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0


def repeated(places):
    """Names that stand in more than one place."""
    by_name = defaultdict(set)
    for name, place in places:
        by_name[name].add(str(place))
    return {name: sorted(where) for name, where in by_name.items() if len(where) > 1}


def test_functions_are_short():
    lengths = {name: body_lines(node) for name, node in FUNCTIONS}
    assert median(lengths.values()) <= 6
    assert not {name: lines for name, lines in lengths.items() if lines > 60}


def test_files_are_below_six_hundred_lines():
    lengths = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert not {name: lines for name, lines in lengths.items() if lines >= 600}


def test_a_file_has_a_name_of_its_own():
    names = [(path.name, path) for path in FILES if path.name not in COMMON_FILES]
    assert not repeated(names)


def test_a_class_has_a_name_of_its_own():
    names = [
        (node.name, path)
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and node.name not in COMMON_CLASSES
    ]
    assert not repeated(names)


@pytest.mark.parametrize("word", ["get_", "util", "helper", "manager"])
def test_names_say_what_is_meant(word):
    allowed = {"get_me", "get_model", "get_variance"}  # lme4's, lmerTest's and insight's names
    assert not [name for name, node in FUNCTIONS if word in node.name and node.name not in allowed]
    assert not [path for path in FILES if word in path.name]


def test_documentation_names_files_and_modules_that_exist():
    parts = ["", *(f"{name}/" for name in ("lmm", "lmm/pls", "docs", "tests", "tests/benchmarks"))]
    known = {path.name for path in ROOT.parent.rglob("*.py") if ".venv" not in path.parts}
    for page in (ROOT.parent / "docs").rglob("*.md"):
        text = page.read_text(encoding="utf-8")
        for name in re.findall(r"`([\w/]+\.py)`", text):
            exists = name in known or any((ROOT.parent / (part + name)).exists() for part in parts)
            assert exists, f"{page.name}: {name}"
        for name in re.findall(r"`(lmm/[\w/]+/)`", text):
            assert (ROOT.parent / name).is_dir(), f"{page.name}: {name}"
