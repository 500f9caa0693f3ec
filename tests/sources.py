"""Sources that cut a table in memory into batches."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa

from lmm.design.source import Source, scan


def cut(data: pd.DataFrame, rows: int) -> Source:
    """A source of a table in batches of some rows."""
    table = pa.Table.from_pandas(data, preserve_index=False)

    def open_() -> pa.RecordBatchReader:
        return pa.RecordBatchReader.from_batches(table.schema, table.to_batches(rows))

    return scan(open_, batch_rows=rows)


def once(data: pd.DataFrame, rows: int = 100) -> pa.RecordBatchReader:
    """A stream of a table that can be read once."""
    table = pa.Table.from_pandas(data, preserve_index=False)
    return pa.RecordBatchReader.from_batches(table.schema, table.to_batches(rows))


def study(n: int = 120, seed: int = 1) -> pd.DataFrame:
    """Rows with columns of every kind, some of which are missing."""
    rng = np.random.default_rng(seed)
    texts = np.array(["b:1", "b", "a", "c", r"a\:x", "10", "9"], dtype=object)
    table = pd.DataFrame(
        {
            "y": rng.normal(size=n),
            "x": rng.normal(1e6, 3.0, size=n),
            "z": rng.uniform(0.5, 2.0, size=n),
            "w": rng.integers(0, 4, size=n).astype(float),
            "o": rng.normal(size=n),
            "year": rng.integers(2009, 2013, size=n),
            "id": rng.integers(1, 30, size=n),
            "big": rng.integers(2**60, 2**60 + 9, size=n),
            "dose": rng.choice([0.1 + 0.2, 0.3, 2.5, 10.0, 1e-7], size=n),
            "text": rng.choice(texts, size=n),
            "other": rng.choice(["1:b", "1", "x"], size=n),
            "flag": rng.integers(0, 2, size=n).astype(bool),
            "day": pd.Timestamp("2020-02-27") + pd.to_timedelta(rng.integers(0, 9, n), "D"),
        }
    )
    table["f"] = pd.Categorical(rng.choice(["lo", "mid", "hi"], n), ["lo", "mid", "hi", "none"])
    table["size"] = pd.Categorical(rng.choice(["S", "M", "L"], n), ["S", "M", "L"], ordered=True)
    for column, share in (("y", 0.05), ("z", 0.05), ("text", 0.1), ("f", 0.05)):
        table.loc[rng.random(n) < share, column] = None
    return table
