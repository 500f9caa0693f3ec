"""Tables in files: separators, decimals, encodings and formats."""

import datetime
import sys
from io import BytesIO
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import lmm
from lmm.cli import main
from lmm.files.reading import read_table
from lmm.files.text import Reading, almost_numbers

TABLE = pd.DataFrame({"y": [1.5, 2.25, -3.0], "n": [1, 2, 3], "g": ["a", "b", "c"]})


def written(tmp_path, text, name="t.csv", encoding="utf-8"):
    (tmp_path / name).write_bytes(text.encode(encoding))
    return str(tmp_path / name)


def plain(table):
    """The table with numpy's and Python's types."""
    return {str(name): table[name].tolist() for name in table}


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.txt", "t.csv.gz"])
def test_separators_are_guessed(separator, name, tmp_path):
    path = tmp_path / name
    TABLE.to_csv(path, sep=separator, index=False)
    assert plain(read_table(str(path))) == plain(TABLE)


def test_decimal_commas_of_files_with_semicolons(tmp_path):
    """What Excel writes where the comma marks decimals, read as R's read.csv2."""
    path = written(tmp_path, "y;n;g\n1,5;1;a\n2,25;2;b\n-3;3;c\n")
    assert plain(read_table(path)) == plain(TABLE)


def test_points_in_files_with_semicolons(tmp_path):
    path = written(tmp_path, "y;label\n1.5;1,2\n2.5;1,3\n")
    assert plain(read_table(path)) == {"y": [1.5, 2.5], "label": ["1,2", "1,3"]}


def test_decimal_commas_in_one_bad_column_are_named(tmp_path):
    rows = "".join(f"{i},5;{i}\n" for i in range(9))
    table = read_table(written(tmp_path, f"y;x\n{rows}keine;9\n"))
    assert almost_numbers(table) == {"y": ["keine"]}


def test_quoted_decimal_commas_are_named_not_guessed(tmp_path):
    path = written(tmp_path, 'y,x\n"1,5",1\n"2,5",2\n')
    assert almost_numbers(read_table(path)) == {"y": ["1,5", "2,5"]}
    assert plain(read_table(path, Reading(decimal=",")))["y"] == [1.5, 2.5]


def test_commas_within_quotes_and_texts_do_not_mislead(tmp_path):
    path = written(tmp_path, 'a;b,c\n1;"x,y,z"\n2;u\n')
    assert list(read_table(path)) == ["a", "b,c"]
    path = written(tmp_path, 'y,text\n1,"a;b;c"\n2,"d;e;f"\n')
    assert plain(read_table(path)) == {"y": [1, 2], "text": ["a;b;c", "d;e;f"]}


def test_one_column_and_several_lines_in_a_field(tmp_path):
    assert plain(read_table(written(tmp_path, "y\n1\n2\n"))) == {"y": [1, 2]}
    path = written(tmp_path, "y;t\n" + '1;"two\nlines"\n' * 60)
    assert read_table(path)["t"].tolist() == ["two\nlines"] * 60


def test_separators_by_name(tmp_path):
    path = written(tmp_path, "y  n\n1.5   2\n2.5 3\n", "t.txt")
    assert plain(read_table(path, Reading("space"))) == {"y": [1.5, 2.5], "n": [2, 3]}
    path = written(tmp_path, "y:n\n1:2\n")
    assert plain(read_table(path, Reading(":"))) == {"y": [1], "n": [2]}


def test_missing_values_by_name(tmp_path):
    path = written(tmp_path, "y,g\n1,a\n.,-99\n-99,.\n,b\n")
    table = read_table(path, Reading(missing=("NA", ".", "-99")))
    assert table["y"].isna().tolist() == [False, True, True, True]
    assert table["g"].isna().tolist() == [False, True, True, False]


def test_encodings(tmp_path):
    path = written(tmp_path, "Größe,g\n1,ä\n", encoding="latin-1")
    assert plain(read_table(path, Reading(encoding="latin-1"))) == {"Größe": [1], "g": ["ä"]}
    with pytest.raises(lmm.DataError, match=r"no utf-8 text.*--encoding latin-1"):
        read_table(path)
    path = written(tmp_path, "Größe;g\n1,5;ä\n", encoding="utf-16")
    assert plain(read_table(path, Reading(encoding="utf-16"))) == {"Größe": [1.5], "g": ["ä"]}
    path = written(tmp_path, "y;g\n1;a\n", encoding="utf-8-sig")
    assert list(read_table(path)) == ["y", "g"]


@pytest.mark.parametrize(
    "options, message",
    [
        ({"separator": "::"}, "one character"),
        ({"separator": '"'}, "one character"),
        ({"decimal": ";"}, "decimal mark must be"),
        ({"separator": ",", "decimal": ","}, "cannot separate both"),
        ({"encoding": "latin-99"}, "no encoding 'latin-99'"),
    ],
)
def test_readings_that_are_none(options, message):
    with pytest.raises(lmm.DataError, match=message):
        Reading(**options)


WRITERS = {
    "t.parquet": lambda path: TABLE.to_parquet(path),
    "t.feather": lambda path: TABLE.to_feather(path),
    "t.ndjson": lambda path: TABLE.to_json(path, orient="records", lines=True),
    "t.xlsx": lambda path: TABLE.to_excel(path, index=False),
    "t.dta": lambda path: TABLE.to_stata(path, write_index=False),
}


@pytest.mark.parametrize("name", WRITERS)
def test_formats_by_suffix(name, tmp_path):
    WRITERS[name](tmp_path / name)
    table = read_table(str(tmp_path / name))
    assert plain(table) == plain(TABLE)
    assert table.attrs["name"] == name


def test_json_keeps_texts_and_digits(tmp_path):
    path = written(tmp_path, '{"id": "007", "date": "2020-01-01", "y": 0.1}\n', "t.jsonl")
    assert plain(read_table(path)) == {"id": ["007"], "date": ["2020-01-01"], "y": [0.1]}


LABELS = {"dose": {1: "low", 2: "medium", 3: "high"}, "age": {99: "refused"}}
CODED = pd.DataFrame(
    {
        "y": [1.5, np.nan, 3.0, 4.0],
        "dose": [1.0, 2.0, 3.0, 2.0],
        "age": [20.0, 30.0, 99.0, 40.0],
        "id": ["01", "1", "02", "2"],
        "day": [datetime.date(2024, 1, day) for day in (1, 2, 3, 4)],
    }
)


def coded_file(path):
    if path.suffix == ".sav":
        import pyreadstat

        pyreadstat.write_sav(CODED, str(path), variable_value_labels=LABELS)
    else:
        CODED.drop(columns="day").to_stata(path, write_index=False, value_labels=LABELS)


@pytest.mark.parametrize("name", ["t.sav", "t.dta"])
def test_labels_of_codes_are_factors_in_the_order_of_the_codes(name, tmp_path):
    """As R's haven::as_factor has them; numbers of which a few have labels stay numbers."""
    coded_file(tmp_path / name)
    table = read_table(str(tmp_path / name))
    assert table["dose"].tolist() == ["low", "medium", "high", "medium"]
    assert table["dose"].cat.categories.tolist() == ["low", "medium", "high"]
    assert not table["dose"].cat.ordered
    assert table["age"].tolist() == [20.0, 30.0, 99.0, 40.0]
    assert table["id"].tolist() == ["01", "1", "02", "2"]
    assert table["y"].isna().tolist() == [False, True, False, False]


def test_dates_and_double_labels_of_spss(tmp_path):
    import pyreadstat

    coded_file(tmp_path / "t.sav")
    assert read_table(str(tmp_path / "t.sav"))["day"].tolist() == CODED["day"].tolist()
    labels = {"dose": {1: "some", 2: "some", 3: "much"}}
    pyreadstat.write_sav(CODED, str(tmp_path / "two.sav"), variable_value_labels=labels)
    table = read_table(str(tmp_path / "two.sav"))
    assert table["dose"].cat.categories.tolist() == ["some", "much"]


def test_spss_files_from_standard_input_are_refused(monkeypatch):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=BytesIO(b"$FL2 and so on")))
    with pytest.raises(lmm.DataError, match="SPSS files are read by name only"):
        read_table("-")


@pytest.fixture
def workbook(tmp_path):
    import openpyxl

    book = openpyxl.Workbook()
    sheet = book.active
    rows = [
        ["y", "id", "typed", "n", "day", "g"],
        [1.5, "01", "2.5", 1, datetime.datetime(2024, 1, 1), "None"],
        ["NA", "1", "3", None, datetime.datetime(2024, 1, 2), "NA"],
        [-99, "02", "4", 3, datetime.datetime(2024, 1, 3), "b"],
    ]
    for row in rows:
        sheet.append(row)
    book.create_sheet("another").append(["not read"])
    book.save(tmp_path / "t.xlsx")
    return tmp_path / "t.xlsx"


def test_cells_of_excel(workbook):
    """Identifiers keep their zeros, numbers typed as text are numbers, NA and empty are missing."""
    table = read_table(str(workbook))
    assert table["y"].isna().tolist() == [False, True, False]
    assert table["y"].dtype == float
    assert table["id"].tolist() == ["01", "1", "02"]
    assert table["typed"].tolist() == [2.5, 3.0, 4.0]
    assert table["n"].isna().tolist() == [False, True, False]
    assert table["g"].isna().tolist() == [False, True, False]
    assert table["g"][0] == "None"
    assert table["day"].dt.day.tolist() == [1, 2, 3]


def test_missing_values_of_excel_by_name(workbook):
    table = read_table(str(workbook), Reading(missing=("NA", "-99")))
    assert table["y"].isna().tolist() == [False, True, True]


def test_excel_from_standard_input(workbook, monkeypatch):
    buffer = BytesIO(workbook.read_bytes())
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=buffer))
    assert read_table("-")["id"].tolist() == ["01", "1", "02"]


@pytest.mark.parametrize("suffix", [".xlsx", ".sav"])
def test_models_of_excel_and_spss(suffix, tmp_path, capsys):
    """The same numbers as from the data set, by the command."""
    import pyreadstat

    sleepstudy = lmm.load_dataset("sleepstudy").astype({"Subject": str})
    path = tmp_path / f"sleep{suffix}"
    if suffix == ".sav":
        pyreadstat.write_sav(sleepstudy, str(path))
    else:
        sleepstudy.to_excel(path, index=False)
    assert main(["fit", "Reaction ~ Days + (Days | Subject)", str(path)]) == 0
    assert "REML criterion at convergence: 1743.6" in capsys.readouterr().out


@pytest.mark.parametrize("name, package", [("t.xlsx", "openpyxl"), ("t.sav", "pyreadstat")])
def test_formats_whose_reader_is_missing(name, package, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    content = b"PK\x03\x04" if name == "t.xlsx" else b"$FL2"
    (tmp_path / name).write_bytes(content)
    with pytest.raises(lmm.DataError, match=f"Cannot read .*{name}"):
        read_table(str(tmp_path / name))


def test_integers_beyond_doubles_stay_exact_beside_missing_ones(tmp_path):
    path = written(tmp_path, "n;y\n9007199254740993;1,5\n;2,5\n")
    table = read_table(path)
    assert table["n"][0] == np.int64(9007199254740993)
    assert table["y"].tolist() == [1.5, 2.5]


def test_leading_zeros_keep_identifiers_apart(tmp_path):
    path = tmp_path / "ids.csv"
    path.write_text("id,n,code\n01,1,007\n1,2,008\n001,3,NA\n")
    table = read_table(str(path))
    assert table["id"].tolist() == ["01", "1", "001"]
    assert table["n"].tolist() == [1, 2, 3]
    assert table["code"].isna().tolist() == [False, False, True]
    assert table["code"].tolist()[:2] == ["007", "008"]
