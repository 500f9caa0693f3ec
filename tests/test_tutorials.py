"""The pages that take a user from a file to a report run, cell by cell, as a session would."""

import ast
import json
import re
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import pytest

ROOT = Path(__file__).parents[1]


def cells_of_page(path):
    found = re.findall(
        r"^```\{code-cell\}.*?\n(.*?)^```", path.read_text(), re.DOTALL | re.MULTILINE
    )
    return [re.sub(r"^:tags:.*\n", "", cell) for cell in found]


def cells_of_notebook(path):
    cells = json.loads(path.read_text())["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def run(cells):
    """What each cell shows: the value of its last line, unless that ends in a semicolon.

    The session has no name, as that of an embedded interpreter: warnings must not ask for it.
    """
    session, shown = {}, []
    for cell in cells:
        if cell.lstrip().startswith("!"):
            continue  # the shell's, which the tests of the command run
        tree = ast.parse(cell)
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, "<cell>", "exec"), session)
        if last is not None:
            value = eval(compile(ast.Expression(last.value), "<cell>", "eval"), session)
            shown.append(None if cell.rstrip().endswith(";") else value)
    return shown


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.mkdtemp", lambda: str(tmp_path))
    monkeypatch.chdir(tmp_path)
    yield
    plt.close("all")


def test_from_a_csv_to_a_report(tmp_path, capsys):
    """A script: factors, missing values, fit, tests, table, figure, each in a file."""
    run(cells_of_page(ROOT / "docs" / "csv-to-report.md"))
    assert (tmp_path / "table.docx").read_bytes().startswith(b"PK")
    assert list(tmp_path.glob("*.p[nd][gf]"))
    assert "t-tests use Satterthwaite's method" in capsys.readouterr().out


@pytest.mark.parametrize("page", ["getting-started", "marginaleffects", "tables", "which-test"])
def test_pages_run(page):
    assert cells_of_page(ROOT / "docs" / f"{page}.md")
    run(cells_of_page(ROOT / "docs" / f"{page}.md"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["02_sleepstudy", "04_anova", "07_from_an_lme4_script"])
def test_notebooks_show_tables_and_figures(name):
    """Every result that a cell shows has a table of HTML, or a short line of text."""
    shown = run(cells_of_notebook(ROOT / "notebooks" / f"{name}.ipynb"))
    results = [one for one in shown if one is not None]
    assert results
    for one in results:
        html = getattr(one, "_repr_html_", lambda: None)()
        assert html is not None or len(repr(one)) < 1000
