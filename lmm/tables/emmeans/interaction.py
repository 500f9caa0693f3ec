"""Contrasts of contrasts: a method for each label, all combinations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from itertools import product
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from lmm._types import Matrix
from lmm.errors import DataError
from lmm.inference.marginal.contrast_families import MeanContrasts, contrasts_of
from lmm.tables.emmeans.row_labels import checked_labels, groups, label_text

Methods: TypeAlias = str | bool | Sequence[str] | Mapping[str, str]


def interaction_contrasts(
    methods: Methods, labels: pd.DataFrame, by: Sequence[str]
) -> tuple[Matrix, pd.DataFrame]:
    """Coefficients (c, r) of interaction contrasts of rows, and their labels.

    Parameters
    ----------
    methods : str, True, sequence or mapping
        One method for all labels, True for pairwise differences, one for each, or by label: then
        the others make groups.
    labels : DataFrame (r, j)
        Labels of the rows.
    by : sequence of str
        Labels that make groups.

    Raises
    ------
    DataError
        There are not as many methods as labels, or a group does not have all combinations.
    """
    chosen = _by_label(methods, labels, by)
    by = [name for name in labels.columns if name not in chosen]
    rows, made = [], []
    for group, inside in groups(labels, by):
        parts, order = _parts(chosen, labels.iloc[inside])
        coefficients = reduce(np.kron, [part.coefficients for part in reversed(parts)])
        full = np.zeros((len(coefficients), len(labels)))
        full[:, inside[order]] = coefficients
        rows.append(full)
        names = [f"{label}_{method}" for label, method in chosen.items()]
        cells = product(*(part.names for part in reversed(parts)))
        made += [{**dict(zip(names, reversed(cell), strict=True)), **group} for cell in cells]
    return np.vstack(rows), pd.DataFrame(made)


def _by_label(methods: Methods, labels: pd.DataFrame, by: Sequence[str]) -> dict[str, str]:
    if isinstance(methods, Mapping):
        return {checked_labels(name, labels)[0]: method for name, method in methods.items()}
    names = [str(name) for name in labels.columns if name not in by]
    if isinstance(methods, str | bool):
        return dict.fromkeys(names, "pairwise" if isinstance(methods, bool) else methods)
    if len(methods) != len(names):
        raise DataError(
            f"{len(methods)} methods for {len(names)} labels, {', '.join(names)}: give one for "
            "each, in their order, or a mapping"
        )
    return dict(zip(names, methods, strict=True))


def _parts(chosen: Mapping[str, str], labels: pd.DataFrame) -> tuple[list[MeanContrasts], Any]:
    """Contrasts of each label's levels, and the rows in the order of all combinations."""
    levels = {name: list(dict.fromkeys(labels[name])) for name in chosen}
    found = {
        key: i for i, key in enumerate(labels[list(chosen)].itertuples(index=False, name=None))
    }
    wanted = [cell[::-1] for cell in product(*(levels[name] for name in reversed(list(chosen))))]
    if len(found) != len(labels) or set(found) != set(wanted):
        raise DataError(
            f"interaction contrasts need all combinations of {', '.join(chosen)} in each group"
        )
    parts = [
        contrasts_of(method, [label_text(level) for level in levels[name]])
        for name, method in chosen.items()
    ]
    return parts, np.array([found[cell] for cell in wanted])
