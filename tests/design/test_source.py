import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pytest

import lmm
from lmm.design.source import Source, scan
from sources import once, study


def whole(source, columns=None):
    """All rows of a source."""
    parts = list(source.batches(columns or source.names))
    assert [part.start for part in parts] == np.cumsum([0, *(p.n for p in parts)])[:-1].tolist()
    return pd.concat([part.native for part in parts], ignore_index=True)


@pytest.fixture
def files(tmp_path):
    """Three files of a table, and the table."""
    data = study(90)
    for i in range(3):
        data[30 * i : 30 * (i + 1)].to_parquet(tmp_path / f"part-{i}.parquet", index=False)
    return tmp_path, data


def same(found, data):
    assert list(found.columns) == list(data.columns)
    for name in data:
        left, right = found[name], data[name]
        assert left.isna().tolist() == right.isna().tolist(), name
        assert left.dropna().astype(str).tolist() == right.dropna().astype(str).tolist(), name


def test_files_folders_and_patterns_are_read_in_order(files):
    folder, data = files
    paths = sorted(folder.glob("*.parquet"))
    for given in (folder, str(folder), f"{folder}/part-*.parquet", paths):
        source = scan(given)
        assert source.is_rereadable
        assert source.names == tuple(data.columns)
        same(whole(source), data)
        same(whole(source, ["text", "y"]), data[["text", "y"]])
    same(whole(scan(paths[0])), data[:30])


@pytest.mark.parametrize("rows", [1, 7, 45])
def test_batches_have_the_rows_asked_for(files, rows):
    folder, data = files
    source = scan(folder, batch_rows=rows)
    sizes = [part.n for part in source.batches(["y"])]
    assert max(sizes) == min(rows, 30)
    assert sum(sizes) == 90
    same(whole(source), data)


@pytest.mark.parametrize("suffix", ["feather", "csv", "orc"])
def test_other_formats_are_read(tmp_path, suffix):
    data = study(20)[["y", "id", "text"]]
    path = tmp_path / f"table.{suffix}"
    if suffix == "csv":
        data.to_csv(path, index=False)
        data["text"] = data["text"].fillna("")
    else:
        getattr(data, f"to_{suffix}")(path)
    found = whole(scan(path))
    np.testing.assert_array_equal(found["id"], data["id"])
    assert found["text"].dropna().tolist() == data["text"].dropna().tolist()


def test_folders_that_name_a_column_are_read(tmp_path):
    data = study(40)[["y", "year"]]
    data.to_parquet(tmp_path, partition_cols=["year"])
    found = whole(scan(tmp_path))
    assert found["year"].tolist() == sorted(data["year"])


def test_columns_of_every_kind_arrive_as_they_are():
    moments = pd.Series(pd.date_range("2020-03-28 12:00", periods=3, freq="12h", tz="Europe/Rome"))
    table = pa.table(
        {
            "whole": pa.array([2**62 + 1, None, 3], pa.int64()),
            "small": pa.array([1, 2, 3], pa.int8()),
            "truth": pa.array([True, None, False]),
            "sure": pa.array([True, True, False]),
            "text": pa.array(["a", None, "b"]),
            "view": pa.array(["a", None, "b"], pa.string_view()),
            "number": pa.array([1.5, None, float("nan")]),
            "level": pa.array(["b", None, "a"]).dictionary_encode(),
            "moment": pa.array(moments),
            "none": pa.array([None, None, None]),
        }
    )
    (portion,) = scan(lambda: table).batches(table.column_names)
    columns = {name: portion.column(name) for name in table.column_names}
    assert columns["whole"].factor.levels == ("3", str(2**62 + 1))
    assert columns["truth"].codes.tolist() == [1, -1, 0]
    assert columns["sure"].codes.tolist() == [1, 1, 0]
    assert columns["text"].is_text
    assert columns["view"].codes.tolist() == [0, -1, 1]
    assert np.isnan(columns["number"]).tolist() == [False, True, True]
    assert columns["level"].levels == ("b", "a")
    assert columns["moment"].factor.levels[1] == "2020-03-29 00:00:00+01:00"
    assert np.isnan(columns["none"]).all()


def test_streams_of_other_libraries_are_sources(files):
    import duckdb

    folder, data = files
    arrow = pa.Table.from_pandas(data, preserve_index=False)
    plain = data[["y", "id", "text"]]
    relation = duckdb.from_arrow(arrow)
    query = pl.from_arrow(arrow).lazy().filter(pl.col("id") > 0)
    for given in (relation, query, ds.dataset(folder), scan(folder)):
        source = Source.of(given)
        assert source.is_rereadable
        assert source.n_rows == (len(data) if given is relation or given is query else np.inf)
        assert scan(given).n_rows == np.inf
        for _ in range(2):
            same(whole(source, ["y", "id", "text"]), plain)
    source = Source.of(once(data))
    assert not source.is_rereadable
    same(whole(source, ["y", "id", "text"]), plain)


def test_categories_of_polars_have_no_order():
    frame = pl.DataFrame({"f": ["b", "a", "b"]}, schema={"f": pl.Enum(["b", "a"])})
    (portion,) = Source.of(frame.lazy()).batches(["f"])
    column = portion.column("f")
    assert column.levels == ("b", "a")
    assert not column.is_ordered


def test_categories_of_polars_that_rows_brought_in_sort():
    frame = pl.DataFrame({"f": ["b", "a", "b"]}, schema={"f": pl.Categorical})
    (portion,) = Source.of(frame.lazy()).batches(["f"])
    assert portion.column("f").levels == ("a", "b")


def test_tables_in_memory_are_no_sources():
    data = study(5)
    tables = (
        data,
        {"y": [1.0]},
        pa.Table.from_pandas(data),
        pa.Table.from_pandas(data).to_batches()[0],
        pl.from_pandas(data),
    )
    for table in tables:
        assert Source.of(table) is None


class Stream:
    def __init__(self, table):
        self.table = table

    def __arrow_c_stream__(self, requested_schema=None):
        return self.table.__arrow_c_stream__(requested_schema)


def test_anything_that_gives_an_arrow_stream_is_read_once():
    data = study(5)
    source = Source.of(Stream(pa.Table.from_pandas(data, preserve_index=False)))
    same(whole(source), data)
    with pytest.raises(lmm.DataError, match="the Stream can be read once only, and has been"):
        source.batches(["y"])


def test_the_first_batch_is_read_once(files):
    folder, _ = files
    reads = []

    def open_():
        reads.append(1)
        return ds.dataset(folder).to_table().to_reader()

    source = scan(open_)
    source.first(["y"])
    assert len(list(source.batches(["y"]))) == 1
    assert len(reads) == 2  # one for the names
    source.first(["y"])
    list(source.batches(["x"]))
    assert len(reads) == 4


# Bad sources -------------------------------------------------------------------------------------


def refused(given, columns, match):
    with pytest.raises(lmm.DataError, match=match):
        list(Source.of(given).batches(columns))


def test_files_whose_types_differ_are_refused_before_reading(files):
    folder, data = files
    data[:5].assign(id=[str(i) for i in range(5)]).to_parquet(folder / "part-7.parquet")
    refused(scan(folder), ["y", "id"], r"column 'id' of .*part-7.parquet holds .*string, but int64")
    assert len(whole(scan(folder), ["y"])) == 95


def test_types_that_hold_the_same_numbers_are_joined(files):
    folder, data = files
    data[:5].astype({"id": "int32", "x": "float32"}).to_parquet(folder / "part-7.parquet")
    data[:5].astype({"id": "float64"}).to_parquet(folder / "part-8.parquet")
    found = whole(scan(folder), ["id", "x"])
    assert found["id"].tolist()[-10:] == data["id"].tolist()[:5] * 2


def test_files_without_a_column_are_named(files):
    folder, data = files
    data[:5].drop(columns="id").to_parquet(folder / "part-7.parquet")
    refused(scan(folder), ["y", "id"], r"part-7.parquet has no column 'id'")
    refused(scan(folder), ["idd"], r"has no column 'idd'. Did you mean 'id'\?")


def test_damaged_files_are_named(files):
    folder, _ = files
    path = folder / "part-1.parquet"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    refused(scan(folder), ["y"], r"cannot read .*part-1.parquet")
    damaged = content[:40] + b"\x00" * 400 + content[440:]
    path.write_bytes(damaged)
    refused(scan(folder), list(study(1).columns), r"batches of part-[01].parquet")
    path.write_bytes(b"")
    with pytest.raises(lmm.DataError, match=r"cannot read .*part-1.parquet"):
        scan(path)


def test_a_text_among_numbers_is_named_with_its_file(tmp_path):
    path = tmp_path / "table.csv"
    lines = [f"{i},{i % 7}" for i in range(300_000)]
    lines[250_000] = "250000,seven"
    path.write_text("\n".join(["y,g", *lines]) + "\n")
    refused(scan(path), ["y", "g"], r"batches of table.csv: in 'g'.*seven")


def test_errors_inside_a_stream_become_one():
    def batches():
        yield pa.record_batch({"y": [1.0]})
        raise OSError("connection lost")

    schema = pa.schema([("y", pa.float64())])
    reader = pa.RecordBatchReader.from_batches(schema, batches())
    refused(reader, ["y"], "cannot read on after 1 batches of the RecordBatchReader: .*lost")


def test_empty_sources_are_refused(tmp_path):
    empty = pa.table({"y": pa.array([], pa.float64())})
    refused(scan(lambda: empty), ["y"], "has no rows")
    with pytest.raises(lmm.DataError, match="has no files of"):
        scan(tmp_path)


@pytest.mark.parametrize(
    "given, match",
    [
        ("nothing.parquet", "there is no file or folder 'nothing.parquet'"),
        ("nothing-*.parquet", "there is no file like"),
        (__file__, "the suffix must be one of .parquet"),
        ([], "no path is given"),
    ],
)
def test_paths_that_name_no_table_are_refused(given, match):
    with pytest.raises(lmm.DataError, match=match):
        scan(given)


@pytest.mark.parametrize("given", [None, 3, study(5), [1, 2], {"y": [1.0]}])
def test_what_is_no_stream_cannot_be_scanned(given):
    with pytest.raises(lmm.DataError, match=f"nothing to scan.*not {type(given).__name__};"):
        scan(given)


def test_queries_of_files_that_are_not_there():
    with pytest.raises(lmm.DataError, match=r"cannot read the polars query: .*nothing\.parquet"):
        Source.of(pl.scan_parquet("nothing.parquet"))


def test_functions_must_return_a_stream():
    with pytest.raises(lmm.DataError, match="must return what has __arrow_c_stream__"):
        scan(lambda: 3)
    with pytest.raises(ValueError, match="batch_rows must be positive"):
        scan("x.parquet", batch_rows=0)
