"""The classic data of the mixed-model literature, loadable by name.

Every table was exported from the R package named as its source. R's ordered factors (such as
``cake$temperature`` or ``Machines$Worker``) are unordered here, with their levels in R's order, so
that a formula codes them by treatment contrasts.
"""

from __future__ import annotations

import json
from importlib.resources import files
from typing import TYPE_CHECKING

from lmm.datasets.registry import DATASETS, DataSet
from lmm.errors import DataError, nearest

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["DATASETS", "DataSet", "dataset_names", "find_dataset", "load_dataset"]


def dataset_names() -> list[str]:
    """Return the names of the shipped data sets, in alphabetical order.

    Examples
    --------
    >>> dataset_names()[:3]
    ['Arabidopsis', 'cake', 'cbpp']
    """
    return sorted(DATASETS, key=str.lower)


def find_dataset(name: str) -> DataSet:
    """Return the description of a shipped data set.

    Raises
    ------
    DataError
        If there is no data set of that name.

    Examples
    --------
    >>> find_dataset("Sitka").title
    'Growth of Sitka spruce trees with and without ozone'
    """
    if name not in DATASETS:
        raise DataError(f"There is no data set named {name!r}.{nearest(name, dataset_names())}")
    return DATASETS[name]


def load_dataset(name: str) -> pd.DataFrame:
    """Load a shipped data set.

    Parameters
    ----------
    name : str
        One of `dataset_names`, such as ``"sleepstudy"``.

    Returns
    -------
    pandas.DataFrame
        A new table on every call. Factors are unordered categoricals whose levels stand in R's
        order; ``attrs["name"]`` is the name, which fits print; `find_dataset` tells the title and
        source.

    Raises
    ------
    DataError
        If there is no data set of that name.

    Examples
    --------
    >>> load_dataset("sleepstudy").head(2)
       Reaction  Days Subject
    0  249.5600     0     308
    1  258.7047     1     308
    """
    dataset = find_dataset(name)
    import pandas as pd

    levels = json.loads((files(__name__) / f"data/{name}.levels.json").read_text(encoding="utf-8"))
    with dataset.open() as file:
        table = pd.read_csv(
            file,
            dtype={column: pd.CategoricalDtype(order) for column, order in levels.items()},
            keep_default_na=False,
            na_values=["NA"],
        )
    table.attrs["name"] = name
    return table
