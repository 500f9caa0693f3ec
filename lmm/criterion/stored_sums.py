"""Sums over rows as files hold them: arrays and JSON, from which no code is run.

What a recipe learned from the data is stored as it is: levels, and coefficients of transforms. The
rest of it is made of the formula again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np
import pandas as pd

from lmm.criterion.model_sums import ModelSums
from lmm.design.batches import recipe_from
from lmm.design.build import plan_for
from lmm.design.checks import LmerControl
from lmm.design.coding import Contrasts
from lmm.design.column_summary import CellCounts, ColumnSummary, Moments, Spanning
from lmm.design.columns import Basis, Factor
from lmm.design.keys import Keys, Values
from lmm.design.learn import Learned
from lmm.design.portions import GroupVariable, Reader, RowArguments
from lmm.design.stored_columns import Arrays, add_array, pack_column, unpack_column
from lmm.design.table import Table
from lmm.design.variables import Variables
from lmm.errors import DataError
from lmm.formula import Formula
from lmm.pls.sums import Coupled, Numbered, Pilot, Sums

# By the names that they have in files.
_KINDS: dict[str, Any] = {
    "Basis": Basis,
    "Cells": CellCounts,
    "Contrasts": Contrasts,
    "Coupled": Coupled,
    "Factor": Factor,
    "GroupVariable": GroupVariable,
    "Keys": Keys,
    "Moments": Moments,
    "Numbered": Numbered,
    "Pilot": Pilot,
    "Spanning": Spanning,
    "Summary": ColumnSummary,
    "Sums": Sums,
    "Values": Values,
}
_NAMES = {kind: name for name, kind in _KINDS.items()}


def pack_sums(sums: ModelSums, arrays: Arrays) -> dict[str, Any]:
    """Describe sums; their numbers go to `arrays`.

    Raises
    ------
    DataError
        A transform learned what files do not hold.
    """
    recipe = sums.recipe
    variables = recipe.reader.variables
    content = {
        "columns": recipe.columns,
        "groups": recipe.reader.groups,
        "state": variables.state,
        "levels": dict(variables.levels),
        "kinds": dict(recipe.frame.columns),
        "sums": sums.sums,
        "n_selected": sums.n_selected,
        "summary": sums.summary,
    }
    return {name: _packed(value, arrays) for name, value in content.items()}


def unpack_sums(
    packed: Mapping[str, Any],
    arrays: Arrays,
    formula: Formula,
    rows: RowArguments,
    contrasts: Mapping[str, object] | None,
    control: LmerControl | None,
) -> ModelSums:
    """Sums that `pack_sums` described.

    Parameters
    ----------
    packed : mapping
        The description.
    arrays : dict
        Arrays of the file.
    formula : Formula
        The formula.
    rows : RowArguments
        Which rows counted.
    contrasts, control
        As for `lmm.sums`.

    Raises
    ------
    DataError
        Its parts do not fit together.
    """
    content = {name: _unpacked(value, arrays) for name, value in packed.items()}
    names = [*content["columns"], *(contrasts or {})]
    heading = Table(pd.DataFrame(columns=list(dict.fromkeys(names))))
    plan = plan_for(formula, heading, False)
    nodes = {**plan.nodes, **plan.groups}
    variables = Variables(nodes, content["state"], content["levels"], plan.formula.source)
    learned = Learned(Reader(plan, variables, content["groups"], rows), content["kinds"])
    recipe = recipe_from(learned, heading, contrasts, control)
    parts = (content[name] for name in ("sums", "n_selected", "summary"))
    total = ModelSums(recipe, *parts)
    _check(total)
    return total


# Values -------------------------------------------------------------------------------------------


def _packed(value: Any, arrays: Arrays) -> Any:
    """A value as JSON: itself, or what describes it."""
    match value:
        case None | bool() | int() | float() | str():
            return value
        case np.generic():
            return value.item()
        case np.ndarray() if value.dtype.kind in "biuf":
            return {"array": add_array(arrays, value, "sums")}
        case np.ndarray():
            column = pd.Series(value, dtype=object).infer_objects()
            return {"objects": pack_column("a factor's values", column, arrays)}
        case pd.DataFrame():
            return {"table": [pack_column(str(name), value[name], arrays) for name in value]}
        case tuple():
            return {"tuple": [_packed(part, arrays) for part in value]}
        case list():
            return {"list": [_packed(part, arrays) for part in value]}
        case Mapping():
            pairs = value.items()
            return {"pairs": [[_packed(k, arrays), _packed(v, arrays)] for k, v in pairs]}
        case _:
            return _described(value, arrays)


def _described(value: Any, arrays: Arrays) -> dict[str, Any]:
    kind = type(value)
    if kind not in _NAMES:
        raise DataError(
            f"a saved model cannot hold {kind.__name__}, which its formula learned from data"
        )
    parts = {field.name: getattr(value, field.name) for field in fields(value)}
    return {"kind": _NAMES[kind], "parts": {name: _packed(p, arrays) for name, p in parts.items()}}


def _unpacked(value: Any, arrays: Arrays) -> Any:
    match value:
        case {"array": key}:
            return arrays[key].copy()
        case {"objects": column}:
            return unpack_column(column, arrays)
        case {"table": columns}:
            return pd.DataFrame({c["name"]: unpack_column(c, arrays) for c in columns})
        case {"tuple": parts}:
            return tuple(_unpacked(part, arrays) for part in parts)
        case {"list": parts}:
            return [_unpacked(part, arrays) for part in parts]
        case {"pairs": pairs}:
            return {_unpacked(k, arrays): _unpacked(v, arrays) for k, v in pairs}
        case {"kind": "Values", "parts": parts}:
            return _values(**{name: _unpacked(part, arrays) for name, part in parts.items()})
        case {"kind": kind, "parts": parts}:
            return _KINDS[kind](**{name: _unpacked(part, arrays) for name, part in parts.items()})
        case _:
            return value


def _values(name: str, values: Any, categories: Any, **options: Any) -> Values:
    """Values of a variable; kinds that files hold by their names become categories."""
    if isinstance(values, pd.Categorical):
        categories = tuple(values.categories)
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "iuf":
        values = np.asarray(values, dtype=object)
    return Values(name, values, categories, **options)


# Checks -------------------------------------------------------------------------------------------


def _check(total: ModelSums) -> None:
    """Refuse parts of different sizes, of which compiled code would read beyond the end."""
    sums, summary, recipe = total.sums, total.summary, total.recipe
    p = len(recipe.fixed.layout.names)
    levels = [len(keys) for keys in sums.keys]
    random = [len(term.columns) for term in recipe.terms]
    widths = [0] * len(levels)
    for group, size in zip(recipe.group_of, random, strict=True):
        widths[group] += size
    _expect(sums.pilot.T, p, p)
    _expect(sums.pilot.beta, p)
    _expect(sums.base, p + 1, p + 1)
    _expect(summary.triangle, p + 1, p + 1)
    _expect(summary.is_indicator, p)
    for R, Z, size in zip(sums.pilot.R, summary.random, random, strict=True):
        _expect(R, size, size)
        _expect(Z, size, size)
    for keys in (*total.keys, summary.cells.keys):
        _check_keys(keys)
    for gram, coupling, k, n in zip(sums.grams, sums.couplings, widths, levels, strict=True):
        _expect(gram, k, k, n)
        _expect(coupling, p + 1, k, n)
    if len(sums.pairs) != len(levels) * (len(levels) - 1) // 2:
        raise _mismatch()
    for (g, h), pairs in sums.pairs.items():
        _expect(pairs.A, widths[g], widths[h], len(pairs.i))
        _check_places(pairs.i, levels[g], len(pairs.i))
        _check_places(pairs.j, levels[h], len(pairs.i))


def _check_keys(keys: Keys | None) -> None:
    if keys is None:
        return
    for part in keys.parts:
        if not part.index.is_unique:
            raise _mismatch()
    if len(keys.codes) != (len(keys.parts) if len(keys.parts) > 1 else 0):
        raise _mismatch()
    for part, codes in zip(keys.parts, keys.codes, strict=False):
        _check_places(codes, len(part), len(keys))


def _check_places(places: np.ndarray, size: int, n: int) -> None:
    if places.shape != (n,) or places.dtype.kind != "i" or (n and places.min() < 0):
        raise _mismatch()
    if n and places.max() >= size:
        raise _mismatch()


def _expect(values: np.ndarray, *shape: int) -> None:
    if values.shape != shape or not np.isfinite(values).all():
        raise _mismatch()


def _mismatch() -> DataError:
    return DataError("the file is damaged: its sums do not fit together")
