"""HTML tables for notebooks."""

from html.parser import HTMLParser

from lmm.report.html import table_html, text_html


class Cells(HTMLParser):
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


def test_table_with_row_names():
    html = table_html([[" 1.5", "<NA>"], ["-2", "x"]], ["a&b", "c"], rows=["r1", '"r2"'])
    assert Cells(html).rows == [["", "a&b", "c"], ["r1", "1.5", "<NA>"], ['"r2"', "-2", "x"]]
    assert "<NA>" not in html


def test_table_without_row_names_and_with_a_caption():
    html = table_html([["1"]], ["x"], caption="<title>")
    assert Cells(html.split("</caption>")[1]).rows == [["x"], ["1"]]
    assert "<caption>&lt;title&gt;</caption>" in html


def test_text_keeps_its_lines():
    html = text_html("y ~ x +\n    (1 | g) & <b>")
    assert ">y ~ x +\n    (1 | g) &amp; &lt;b&gt;</p>" in html
    assert "pre-wrap" in html
