"""Tables in files: separators, decimals, encodings and formats."""

import sys

import numpy as np
import pandas as pd
import pytest

import lmm
from lmm.files import Reading, almost_numbers, read_table

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
