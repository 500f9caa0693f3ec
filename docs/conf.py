"""Sphinx configuration: Markdown pages and notebooks, executed at every build."""

import os
import re
import sys
from pathlib import Path

from docutils import nodes
from latex2mathml.converter import convert

import lmm

# Pages run the `lmm` command, also where the environment is not activated.
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])

project = "lmm"
SUMMARY = (
    "Linear and generalized linear mixed models in Python, with lme4's formulas and printed output."
)
author = "The lmm developers"
copyright = "2026, the lmm developers"
version = release = lmm.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "jupyter_execute", "benchmarks/*.md", "changes/*.md"]

# A page whose code fails must fail the build, and outputs are never stored in the sources.
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 120
nb_merge_streams = True
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3

templates_path = ["_templates"]
autodoc_typehints = "none"
toc_object_entries_show_parents = "hide"
autodoc_member_order = "bysource"
autosummary_generate = True
# Names of attributes are looked up as if they were references, and some classes share them.
suppress_warnings = ["ref.python"]
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
napoleon_preprocess_types = True
# A result that a docstring names leads to its page.
RESULTS = re.findall(r"   ~(lmm\S+)", Path(__file__).with_name("results.md").read_text())
napoleon_type_aliases = {path.rpartition(".")[2]: f":class:`~{path}`" for path in RESULTS}

html_math_renderer = "mathml"
html_theme = "pydata_sphinx_theme"
html_title = f"lmm {release}"
html_show_sourcelink = False
html_static_path = ["_static"]
html_css_files = ["tables.css"]
# Pages without siblings need no navigation beside them.
html_sidebars = {"index": [], "getting-started": []}
html_theme_options = {"show_prev_next": False, "navigation_with_keys": False}


def with_changes(app, docname, source):
    """Put what has changed since the last release into the changelog, a paragraph of each file."""
    if docname == "changelog":
        pieces = sorted(Path(app.srcdir, "changes").glob("*.md"))
        text = "\n".join(piece.read_text(encoding="utf-8") for piece in pieces)
        source[0] = source[0].replace("% changes\n", text)


def with_texts(app, error):
    """Write llms.txt: the manual's pages, and where the plain text of each is."""
    if error or app.builder.name != "html":
        return
    folder = Path(app.outdir)
    lines = [f"# {project} {release}", "", f"> {SUMMARY}", ""]
    for docname, title in app.env.titles.items():
        source = f"_sources/{docname}.md.txt"
        lines += [f"- [{title.astext()}]({source})"] * (folder / source).exists()
    (folder / "llms.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def mathml(tex, display):
    """A formula as MathML, with what MathML or its writer has no word for put in other words."""
    words = {"{aligned}": "{align*}", "{gathered}": "{matrix}", r"\mathtt": r"\text", r"\_": "_"}
    for one, other in words.items():
        tex = tex.replace(one, other)
    return convert(tex, display=display)


def inline_math(writer, node):
    """Write a formula as MathML, which browsers draw without fetching anything."""
    writer.body.append(mathml(node.astext(), "inline"))
    raise nodes.SkipNode


def display_math(writer, node):
    """Write a displayed formula, with its number if it has one."""
    tex, number = node.astext(), node["number"]
    if tag := re.search(r"\\tag\{(\w+)\}", tex):
        tex, number = tex.replace(tag[0], ""), tag[1]
    writer.body.append(writer.starttag(node, "div", CLASS="math"))
    writer.body.append(mathml(tex, "block"))
    if number:
        writer.body.append(f'<span class="eqno">({number})</span>')
    writer.body.append("</div>")
    raise nodes.SkipNode


def without_constructor(app, what, name, obj, options, signature, returns):
    """Leave out how results and models are made: no user makes them."""
    if what == "class" and (name in RESULTS or name.endswith("MixedModel")):
        return "", returns
    return signature, returns


def setup(app):
    """Register what this file adds to Sphinx."""
    app.connect("autodoc-process-signature", without_constructor)
    app.add_html_math_renderer("mathml", (inline_math, None), (display_math, None))
    app.connect("source-read", with_changes)
    app.connect("build-finished", with_texts)
