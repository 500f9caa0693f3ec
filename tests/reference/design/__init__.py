"""R's model matrices and random-effects structures (make_design.R), and the table they are of."""

import functools
import json
from pathlib import Path
from typing import Any

import pandas as pd


@functools.cache
def load_design() -> dict[str, Any]:
    """Everything make_design.R wrote."""
    return json.loads((Path(__file__).parent / "design.json").read_text())


def design_table(name: str = "data") -> pd.DataFrame:
    """The table of all cases ("data"), or the rows to predict at ("new")."""
    return pd.DataFrame({key: _column(stored) for key, stored in load_design()[name].items()})


def _column(stored: dict[str, Any]) -> Any:
    if "levels" not in stored:
        return stored["values"]
    levels, values = stored["levels"], stored["values"]
    return pd.Categorical(values, categories=levels, ordered=stored["ordered"])
