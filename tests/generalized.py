"""Reference fits of generalized models by R, and their tables."""

from __future__ import annotations

import functools
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import lmm
from lmm.family import Family

FOLDER = Path(__file__).parent / "reference" / "generalized"
IDS = sorted(path.stem for path in FOLDER.glob("*.json"))


def many(value: Any) -> list[Any]:
    """What R writes as a number if it is one."""
    return value if isinstance(value, list) else [value]


@functools.cache
def reference(model: str) -> dict[str, Any]:
    """Everything that R computed for one model."""
    return json.loads((FOLDER / f"{model}.json").read_text())


@functools.cache
def table(name: str) -> pd.DataFrame:
    """The table of a model, with R's levels."""
    types = json.loads((FOLDER / "data" / f"{name}.types.json").read_text())
    levels = {
        key: pd.CategoricalDtype([str(level) for level in many(t["levels"])])
        for key, t in types.items()
        if t["type"] == "category"
    }
    data = pd.read_csv(FOLDER / "data" / f"{name}.csv.gz", dtype=dict.fromkeys(levels, str))
    data = data.astype(levels)
    data.attrs["name"] = name
    return data


def family(model: str) -> Family:
    """Family and link of a model."""
    r = reference(model)
    if r["family"] == "nbinom":
        return lmm.NegativeBinomial(None if r["nb_estimated"] else r["nb_theta"])
    return lmm.family.FAMILIES[r["family"]](r["link"])


@functools.cache
def fitted(model: str, nagq: int = 1) -> lmm.GeneralizedMixedModel:
    """A fit of a model of R's."""
    r = reference(model)
    weights = r["weights"] or None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", lmm.SingularFitWarning)
        data = table(r["data"])
        return lmm.glmer(r["formula"], data, family(model), weights=weights, nagq=nagq)


def without_scale() -> list[str]:
    """Models whose criterion is glmer's own; of the others it is no likelihood."""
    return [model for model in IDS if not reference(model)["useSc"]]


def values(mapping: dict[str, Any]) -> np.ndarray:
    """The numbers of a named vector."""
    return np.array(list(mapping.values()), dtype=float)
