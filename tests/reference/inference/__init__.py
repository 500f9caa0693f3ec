"""Tests of effects that R made (make_inference.R), and the tables they were made from."""

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import lmm

FOLDER = Path(__file__).parent
FACTORS = ("g", "h", "Consumer", "Homesize", "block", "sow", "harvest")


@functools.cache
def load_inference() -> dict[str, Any]:
    """Everything R computed, as make_inference.R wrote it."""
    return json.loads((FOLDER / "inference.json").read_text())


def load_terms() -> list[dict[str, Any]]:
    """F tests of terms that contain each other in unusual ways, as make_terms.R wrote them."""
    return json.loads((FOLDER / "terms.json").read_text())


def load_table(name: str) -> pd.DataFrame:
    """A table that a model was fitted to."""
    if name in lmm.dataset_names():
        return lmm.load_dataset(name)
    file = "unbalanced" if name == "ordered" else name
    table = pd.read_csv(FOLDER / "data" / f"{file}.csv")
    for factor in set(FACTORS) & set(table):
        table[factor] = table[factor].astype(str)
    if name == "ordered":
        table["C"] = pd.Categorical(table["C"], ordered=True)
    return table


def fit(case: dict[str, Any]) -> lmm.LinearMixedModel:
    """The model of a case, singular or rank-deficient as R's is."""
    arguments = {key: case[key] for key in ("contrasts", "weights") if case.get(key)}
    control = lmm.LmerControl(check_conv_singular="ignore", check_rankX="silent.drop.cols")
    table = load_table(case["data"])
    reml = case.get("reml", True)
    return lmm.lmer(case["formula"], table, reml=reml, control=control, **arguments)


def frame(table: dict[str, Any]) -> pd.DataFrame:
    """A table of numbers, without columns of text."""
    missing = (None, "NA")
    values = [[np.nan if x in missing else x for x in row] for row in table["values"]]
    result = pd.DataFrame(values, index=table["rows"], columns=table["cols"])
    return result.drop(columns=["term", "levels"], errors="ignore").astype(float)
