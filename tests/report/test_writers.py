"""A printed result as HTML, Markdown and LaTeX: what is escaped, aligned and kept."""

from html.parser import HTMLParser
from inspect import isabstract

import numpy as np
import pandas as pd
import pytest

import lmm
from lmm.report import html, latex, markdown
from lmm.report.cells import Cells, Column, bars, listed, vector
from lmm.report.document import MANY_ROWS, SHOWN_ROWS, Document
from lmm.report.printed import AnovaTable, Printed, PrintedTable, PrintedTables


class Parsed(HTMLParser):
    """Collects the texts of a table, row by row."""

    def __init__(self, text):
        super().__init__()
        self.rows = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data):
        if self.rows:
            self.rows[-1][-1] += data


NUMBERS = Column("a&b", (" 1.5", "-2"))
WORDS = Column("c_|", ("<NA>", "50 % $x$"), "label")
TABLE = Cells((NUMBERS, WORDS), ("r1", '"r2"'), "A <title>")


def test_html_of_a_table():
    text = html.table(TABLE)
    caption, rest = text.split("</caption>")
    assert caption == '<table><caption style="white-space:nowrap">A &lt;title&gt;'
    assert Parsed(rest).rows == [
        ["", "a&b", "c_|"],
        ["r1", "1.5", "<NA>"],
        ['"r2"', "-2", "50 % $x$"],
    ]
    assert "<NA>" not in text
    assert '<td style="text-align:left">50 % $x$</td>' in text


def test_html_of_lines_keeps_them():
    text = html.paragraph(["y ~ x +", "    (1 | g) & <b>"])
    assert ">y ~ x +\n    (1 | g) &amp; &lt;b&gt;</p>" in text
    assert "pre-wrap" in text


def test_markdown_of_a_table():
    assert markdown.table(TABLE).split("\n") == [
        r"A \<title>",
        "",
        r"|  | a&b | c\_\| |",
        "| :--- | ---: | :--- |",
        r"| r1 | 1.5 | \<NA> |",
        r'| "r2" | -2 | 50 % \$x\$ |',
    ]


@pytest.mark.parametrize(
    "line, written",
    [("y ~ x", r"y \~ x"), ("# ICC", r"\# ICC"), ("- a", r"\- a"), ("1. a", r"1\. a")],
)
def test_markdown_of_lines(line, written):
    assert markdown.paragraph([line, "b"]) == f"{written}  \nb"


def test_latex_of_a_table():
    assert latex.table(TABLE).split("\n") == [
        r"A \textless{}title\textgreater{}",
        "",
        r"\begin{tabular}{lrl}",
        r"\toprule",
        r" & a\&b & c\_\textbar{} \\",
        r"\midrule",
        r"r1 & 1.5 & \textless{}NA\textgreater{} \\",
        r'"r2" & $-2$ & 50 \% \$x\$ \\',
        r"\bottomrule",
        r"\end{tabular}",
    ]


@pytest.mark.parametrize(
    "text, written",
    [
        ("1.5", "1.5"),
        ("-0.138", "$-0.138$"),
        ("3.264e-06", r"$3.264 \times 10^{-6}$"),
        ("< 2e-16", r"$< 2 \times 10^{-16}$"),
        ("<.0001", "$< .0001$"),
        ("1e+05", r"$1 \times 10^{5}$"),
        ("NA", "NA"),
        ("<none>", r"\textless{}none\textgreater{}"),
    ],
)
def test_latex_of_numbers(text, written):
    assert latex.table(Cells((Column("x", (text,)),))).split("\n")[4] == rf"{written} \\"


@pytest.mark.parametrize("name", ["[1,]", "*"])
def test_latex_rows_do_not_begin_with_what_ends_a_line_takes_for_its_option(name):
    assert latex.table(Cells((NUMBERS,), (name, "b"))).split("\n")[4].startswith("{}" + name)


def test_layouts_of_text():
    names = Column("", ("b", "adjusted"), "label")
    listing = Cells((names, Column("", ("0.5", "0.25"))), layout=listed)
    assert str(listing) == "         b: 0.5\n  adjusted: 0.25"
    row = Cells((Column("a", ("1",)), Column("long", ("22",))), layout=vector)
    assert str(row) == "   a long \n   1   22 "
    ruled = Cells((Column("f", ("x",), "label", left=True), Column("n", ("10",))), layout=bars)
    assert str(ruled) == "f |  n\n------\nx | 10"


def test_a_document_keeps_lines_tables_and_their_order():
    document = Document(("One", "two", "", TABLE, "---", "three"))
    assert document.to_text() == f"One\ntwo\n\n{TABLE}\n---\nthree"
    for text in (document.to_html(), document.to_markdown(), document.to_latex()):
        assert "---\n" not in text.replace(":---", "")
        places = [text.index(part) for part in ("One", "two", "title", "r2", "three")]
        assert places == sorted(places)


def test_long_tables_are_shown_in_part_and_printed_in_full():
    frame = pd.DataFrame({"x": np.arange(MANY_ROWS + 1.0)})
    for table in (PrintedTable(frame), PrintedTables({"g": frame})):
        lines = repr(table).split("\n")
        assert lines.index(f"[ {SHOWN_ROWS} of {MANY_ROWS + 1} rows: print() shows all ]")
        assert len(lines) < SHOWN_ROWS + 5
        assert str(table).count("\n") >= MANY_ROWS + 1
        assert table._repr_html_().count("<tr>") == SHOWN_ROWS + 1
        assert table.to_html().count("<tr>") == MANY_ROWS + 2
    many = PrintedTables({str(i): frame[:2] for i in range(MANY_ROWS)})
    assert repr(many).endswith("[ further tables are left out: print() shows all ]")
    assert repr(PrintedTable(frame[:MANY_ROWS])) == str(PrintedTable(frame[:MANY_ROWS]))


def test_a_printed_table_behaves_like_a_table():
    frame = pd.DataFrame({"Df": [1, 2], "Pr(>F)": [0.04, 0.5]}, ["a", "b"])
    table = AnovaTable(frame)
    assert list(table) == ["Df", "Pr(>F)"]
    assert len(table) == 2
    assert table["Pr(>F)"]["a"] == table.loc["a", "Pr(>F)"] == table.iloc[0, 1] == 0.04
    assert "Df" in table
    assert "a" not in table
    assert table.shape == (2, 2)
    assert list(table.index) == ["a", "b"]
    assert np.asarray(table).shape == (2, 2)
    with pytest.raises(AttributeError, match="nonsense"):
        _ = table.nonsense
    with pytest.raises(KeyError, match="nonsense"):
        _ = table["nonsense"]


def subclasses(cls):
    for sub in cls.__subclasses__():
        yield sub
        yield from subclasses(sub)


@pytest.fixture(scope="module")
def results():
    d = lmm.load_dataset("sleepstudy")
    m = lmm.lmer("Reaction ~ Days + (Days | Subject)", d)
    cake = lmm.lmer("angle ~ recipe + (1 | recipe:replicate)", lmm.load_dataset("cake"))
    small = m.update(". ~ . - Days")
    fits = lmm.lmlist("Reaction ~ Days | Subject", d)
    means = lmm.emmeans(cake, "pairwise ~ recipe")
    drawn = m.simulate(3, seed=1)
    simple = lmm.lmer("Reaction ~ Days + (1 | Subject)", d)
    return [
        *(m.report(), m.summary(), m.summary("satterthwaite"), m.varcorr(), m.ranef(), m.coef()),
        *(m.re_pca(), m.re_pca().summary(), m.all_fit(), m.all_fit().summary()),
        *(m.anova(), m.confint(method="wald"), m.profile("theta_"), m.bootstrap(5, seed=1)),
        *(cake.ls_means(), cake.show_tests(), means, means.emmeans, means.contrasts),
        *(lmm.joint_tests(cake), lmm.icc(m), lmm.icc(m, by_group=True), lmm.r2_nakagawa(m)),
        *(lmm.get_variance(m), lmm.model_performance(m), lmm.coef_test(m), m.step()),
        *(lmm.kr_modcomp(m, small), lmm.pb_modcomp(m, small, 5, seed=1), fits, fits.summary()),
        *(fits.confint(), lmm.refit_many(m, drawn), simple.exact_rlrt(nsim=50, seed=1)),
        lmm.power(m, "Days", 5, seed=1),
        m.check_convergence(),
        m.profile_criterion("Subject Var", 500.0, 700.0, 2),
    ]


def test_every_printed_result_writes_itself_everywhere(results):
    for result in results:
        text, page = str(result), result.to_html()
        assert text == result.to_text()
        assert result.to_markdown()
        assert result.to_latex().count(r"\begin{tabular}") == page.count("<table>")


def test_a_model_writes_its_print():
    m = lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))
    assert m.to_html() == m.report().to_html()
    assert "| 251.4051 | 10.4673 |" in m.to_markdown(digits=6)
    assert m.to_latex().count(r"\begin{tabular}") == 2


def test_printed_results_say_in_one_place_what_they_print():
    for cls in subclasses(Printed):
        assert (cls.__repr__, cls.__str__) == (Printed.__repr__, Printed.__str__), cls
        assert isabstract(cls) or cls.document is not Printed.document, cls
