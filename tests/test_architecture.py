"""What docs/architecture.md and docs/contributing.md say of the code, counted in it."""

import ast
import inspect
import re
from collections import defaultdict
from functools import cached_property
from importlib import import_module
from pathlib import Path
from statistics import median

import pytest

import lmm
from lmm.covariance import STRUCTURES, Covariance
from lmm.design.functions import FUNCTIONS, Function
from lmm.family import FAMILIES, Family
from lmm.optimize import OPTIMIZERS
from lmm.pls import SOLVERS

ROOT = Path(lmm.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in FILES}
DEFINED = [
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
    lengths = {name: body_lines(node) for name, node in DEFINED}
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


def public_classes():
    """Classes of all modules that run without scikit-sparse."""
    for path in FILES:
        name = ".".join(("lmm", *path.relative_to(ROOT).with_suffix("").parts))
        if path.name not in ("__init__.py", "__main__.py", "_sksparse.py"):
            for one in vars(import_module(name)).values():
                if inspect.isclass(one) and one.__module__ == name and one.__name__[0] != "_":
                    yield one


def test_methods_have_a_docstring_of_their_own_or_that_of_what_they_override():
    kinds = (property, cached_property, classmethod, staticmethod)
    silent = [
        f"{one.__qualname__}.{name}"
        for one in public_classes()
        for name, member in vars(one).items()
        if name[0] != "_" and (inspect.isfunction(member) or isinstance(member, kinds))
        if not inspect.getdoc(getattr(one, name))
    ]
    assert not silent


@pytest.mark.parametrize("word", ["get_", "util", "helper", "manager"])
def test_names_say_what_is_meant(word):
    # Python's, lme4's, lmerTest's and insight's names
    allowed = {"__get__", "get_me", "get_model", "get_variance"}
    assert not [name for name, node in DEFINED if word in node.name and node.name not in allowed]
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


def test_cited_equations_exist():
    label = "([a-z]+-[a-z-]+)"
    cited = re.compile(rf"docs/theory/([a-z-]+)\.md, {label}(?:(?: and| to) {label})?")
    found = [
        (page, label)
        for path in TREES
        for page, *labels in cited.findall(" ".join(path.read_text().split()))
        for label in filter(None, labels)
    ]
    assert len(found) >= 20
    for page, label in found:
        assert f":label: {label}\n" in (ROOT.parent / f"docs/theory/{page}.md").read_text()


def test_architecture_names_what_there_is():
    text = (ROOT.parent / "docs" / "architecture.md").read_text(encoding="utf-8")
    for name in re.findall(r"`(lmm(?:\.\w+)+)`", text):
        module, _, last = name.rpartition(".")
        assert hasattr(import_module(module), last), name
    for name in re.findall(r"`(\w+/)`", text):
        assert any(each.is_dir() for each in (ROOT.parent / name, *ROOT.rglob(name))), name
    classes = {node.name for tree in TREES.values() for node in tree.body if is_class(node)}
    for name in re.findall(r"`([A-Z][A-Za-z]+[a-z][A-Za-z]*)`", text):
        assert name in classes, name


def is_class(node):
    return isinstance(node, ast.ClassDef)


def test_tables_hold_what_they_are_said_to_hold():
    for each in STRUCTURES.values():
        assert isinstance(each.make(3, bool(each.hom), (0.0, 1.0, 2.0)), Covariance)
    assert all(isinstance(each, Function) for each in FUNCTIONS.values())
    assert all(issubclass(family, Family) for family in FAMILIES.values())
    for options in (*SOLVERS.values(), *OPTIMIZERS.values()):
        assert options.__dataclass_params__.frozen
        assert isinstance(options.name, str)
    assert all(callable(solver.bind) for solver in SOLVERS.values())
    assert all(callable(optimizer.run) for optimizer in OPTIMIZERS.values())


def test_all_values_are_frozen():
    decorators = [
        (node.name, ast.unparse(each))
        for tree in TREES.values()
        for node in ast.walk(tree)
        if is_class(node)
        for each in node.decorator_list
    ]
    loose = [name for name, each in decorators if each.startswith("dataclass")]
    frozen = [name for name, each in decorators if "frozen=True" in each]
    assert loose == frozen


def imports(tree):
    """Imports of a file, other than those for types only."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            yield from imports(node)


@pytest.mark.parametrize(
    "library, home",
    [
        ("sksparse", "pls/sparse/_sksparse.py"),
        ("formulaic", "design/_formulaic.py"),
        ("matplotlib", "plots/"),
    ],
)
def test_a_library_is_imported_in_one_place(library, home):
    for path, tree in TREES.items():
        for node in imports(tree):
            names = [node.module] if isinstance(node, ast.ImportFrom) else []
            names += [each.name for each in node.names] if isinstance(node, ast.Import) else []
            if any((name or "").partition(".")[0] == library for name in names):
                assert str(path.relative_to(ROOT)).startswith(home)


def test_fitting_functions_read_as_tables_of_contents():
    lengths = {name.split()[-1]: body_lines(node) for name, node in DEFINED if "pipeline" in name}
    assert all(lengths[name] <= 25 for name in ("lmer", "glmer", "lmer_arrays", "load"))


def test_fitted_models_are_described_in_one_place():
    homes = {
        path.name
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if is_class(node) and {"fit", "call"} <= {part.name for part in node.body if is_def(part)}
        if any("Protocol" in ast.unparse(base) for base in node.bases)
    }
    assert homes == {"fitted.py"}


def is_def(node):
    return isinstance(node, ast.FunctionDef)
