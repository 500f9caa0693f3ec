"""R's results for the reference models (see README.md here), and the tables they were fitted to."""

import functools
import json
from pathlib import Path
from typing import Any

import pandas as pd

from lmm.datasets import DATASETS, load_dataset

FOLDER = Path(__file__).parent
MODEL_IDS = sorted(path.stem for path in FOLDER.glob("*.json"))


@functools.cache
def load_reference(model_id: str) -> dict[str, Any]:
    """Everything R computed for one model, as make_reference.R wrote it."""
    return json.loads((FOLDER / f"{model_id}.json").read_text())


def load_table(name: str) -> pd.DataFrame:
    """The table a reference model was fitted to: a shipped data set or one made from it."""
    if name in DATASETS:
        return load_dataset(name)
    types = json.loads((FOLDER / "data" / f"{name}.types.json").read_text())
    levels = {key: pd.CategoricalDtype(t["levels"]) for key, t in types.items() if "levels" in t}
    path = FOLDER / "data" / f"{name}.csv"
    return pd.read_csv(path, dtype=levels, keep_default_na=False, na_values=["NA"])


def fit_arguments(reference: dict[str, Any]) -> dict[str, Any]:
    """The keyword arguments of `lmm.lmer` under which the model is the reference's."""
    given = {key: reference[key] for key in ("weights", "offset", "subset") if reference.get(key)}
    return {"reml": reference["REML"], **given}
