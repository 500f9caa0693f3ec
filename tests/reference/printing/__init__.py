"""Numbers and tables with the text R prints of them, as make_printing.R wrote them."""

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd


@functools.cache
def load_printing(name: str) -> Any:
    """The cases of one file: numbers, tables, varcorr or models."""
    return json.loads(Path(__file__).with_name(f"{name}.json").read_text())


def array(values: list[Any]) -> np.ndarray:
    """Numbers from JSON, null as NaN."""
    return np.array(values, dtype=float)


def frame(case: dict[str, Any]) -> pd.DataFrame:
    """The table of a case."""
    rows = array([[None if x == "NA" else x for x in row] for row in case["values"]])
    return pd.DataFrame(
        rows.reshape(len(case["rows"]), len(case["columns"])), case["rows"], case["columns"]
    )
