"""Tables against R's printCoefmat, print.anova, and prints of matrices, vectors and data frames."""

import numpy as np
import pandas as pd
import pytest

from lmm.report.cells import WIDTH, Cells, Column, named, wide_vector
from lmm.report.document import Document
from lmm.report.format import format_numbers
from lmm.report.printed import AnovaTable, PrintedTable
from lmm.report.tables import anova_blocks, coefficient_blocks, frame_cells
from reference.printing import array, frame, load_printing

TABLES = load_printing("tables")


def test_coefficient_tables_agree_with_r():
    for case in TABLES["coefficients"]:
        blocks = coefficient_blocks(frame(case), digits=case["digits"])
        assert Document(blocks).to_text().split("\n") == case["text"]


def test_anova_tables_agree_with_r():
    for case in TABLES["anova"]:
        text = Document(("A heading", "of two lines", *anova_blocks(frame(case)))).to_text()
        assert text.split("\n") == case["text"]


def test_matrices_agree_with_r():
    for case in TABLES["matrix"]:
        assert str(frame_cells(frame(case), case["digits"])).split("\n") == case["text"]


def test_named_vectors_agree_with_r():
    for case in TABLES["vector"]:
        texts = format_numbers(array(case["x"]), case["digits"])
        assert str(named(case["names"], texts)).split("\n") == case["text"]
        assert str(named(case["names"], texts, layout=wide_vector)).split("\n") == case["wide"]


def test_data_frame_of_mixed_columns():
    table = pd.DataFrame(
        {"a": [1.5, None, 3], "b": ["x", None, "zz"], "ok": [True, False, True], "n": [1, 10, 3]},
        index=[1, 2, 3],
    )
    assert str(frame_cells(table)).split("\n") == [
        "    a    b    ok  n",
        "1 1.5    x  TRUE  1",
        "2  NA <NA> FALSE 10",
        "3 3.0   zz  TRUE  3",
    ]


def test_integers_are_written_out_and_may_be_missing():
    table = pd.DataFrame({"n": [100000, 5], "m": pd.array([100000, None], dtype="Int64")})
    lines = ["       n     m", "0 100000 1e+05", "1      5    NA"]
    assert str(frame_cells(table)).split("\n") == lines


def test_a_column_wider_than_the_line_stands_alone():
    columns = (Column("x" * 100, ("a",)), Column("y", ("b",)))
    lines = str(Cells(columns, ("r",))).split("\n")
    assert [len(line) for line in lines] == [102, 102, 3, 3]


@pytest.mark.parametrize("width", range(1, 12))
def test_matrices_leave_the_last_character_of_a_line_free(width):
    text = str(Cells((Column("y" * width, ("x",)),) * 90, ("r",)))
    assert max(map(len, text.split("\n"))) < WIDTH


def test_anova_table_of_lmertest():
    """prints of lmerTest 3.1-3: anova(sleepstudy model)."""
    values = [[30030.94, 30030.94, 1, 16.99998, 45.85296, 3.263824e-06]]
    columns = ["Sum Sq", "Mean Sq", "NumDF", "DenDF", "F value", "Pr(>F)"]
    table = AnovaTable(
        pd.DataFrame(values, ["Days"], columns),
        ("Type III Analysis of Variance Table with Satterthwaite's method",),
    )
    assert str(table).split("\n") == [
        "Type III Analysis of Variance Table with Satterthwaite's method",
        "     Sum Sq Mean Sq NumDF DenDF F value    Pr(>F)    ",
        "Days  30031   30031     1    17  45.853 3.264e-06 ***",
        "---",
        "Signif. codes:  0 ‘***’ 0.001 ‘**’ 0.01 ‘*’ 0.05 ‘.’ 0.1 ‘ ’ 1",
    ]
    assert table.to_text(stars=False).endswith("45.853 3.264e-06")


def test_deletions_table_has_blank_cells_and_a_footing():
    columns = ["npar", "AIC", "LRT", "Pr(Chi)"]
    values = [[np.nan, 1719.04, np.nan, np.nan], [10, 1709.57, 10.53, 0.3953]]
    frame = pd.DataFrame(values, ["<none>", "recipe:temperature"], columns)
    assert str(AnovaTable(frame, footing=("the end",))).split("\n") == [
        "                   npar    AIC   LRT Pr(Chi)",
        "<none>                  1719.0              ",
        "recipe:temperature   10 1709.6 10.53  0.3953",
        "the end",
    ]


def test_intervals_print_as_a_matrix():
    """confint(profile) of lme4 1.1-31, sleepstudy by ML."""
    names = [".sig01", ".sig02", "(Intercept)"]
    limits = pd.DataFrame(
        {"2.5 %": [14.3815707, -0.4815007, 237.6806955], "97.5 %": [37.7159964, 0.6849859, np.nan]},
        index=names,
    )
    assert repr(PrintedTable(limits)).split("\n") == [
        "                  2.5 %     97.5 %",
        ".sig01       14.3815707 37.7159964",
        ".sig02       -0.4815007  0.6849859",
        "(Intercept) 237.6806955         NA",
    ]


def test_a_copy_of_the_frame_is_the_callers():
    table = PrintedTable(pd.DataFrame({"x": [1.0]}))
    copy = table.to_frame()
    copy.loc[0, "x"] = 2.0
    assert table.frame.loc[0, "x"] == 1.0


def test_tables_have_what_reads_a_data_frame_and_no_pictures_of_it():
    table = PrintedTable(pd.DataFrame({"x": [1.0, 2.0]}))
    assert table.mean()["x"] == 1.5
    for name in ("plot", "hist", "sample", "filter", "update", "pop"):
        assert not hasattr(table, name)
    with pytest.raises(AttributeError, match=r"no update of its own: write to_frame\(\).update"):
        table.update(pd.DataFrame())
