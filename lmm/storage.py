"""Fitted models in files: a zip archive of arrays and one JSON text, read without unpickling.

The file holds what a fit is made of, not what follows from it: the columns of the data that the
model uses, the formula, the arguments and the optimum. Reading builds the design again and checks
that the criterion takes the stored value. The format is described in ``docs/storage.md``.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lmm._types import Vector
from lmm._versions import __version__
from lmm.design import LmerControl
from lmm.design.table import Table
from lmm.errors import DataError
from lmm.fit import Fit
from lmm.optimize import COBYQA, LBFGSB, FisherScoring, NelderMead, Optimizer, Optimum, Status
from lmm.pls import Auto, Block, Dense, Solver, Sparse

__all__ = ["FORMAT_VERSION", "Stored", "read", "write"]

FORMAT = "lmm model"
FORMAT_VERSION = 1
HEADER = "model.json"

OPTIMIZERS = {kind.__name__: kind for kind in (FisherScoring, LBFGSB, COBYQA, NelderMead)}
SOLVERS: dict[str, Any] = {kind.__name__: kind for kind in (Auto, Block, Sparse, Dense)}


@dataclass(frozen=True, eq=False)
class Stored:
    """What a file holds.

    Attributes
    ----------
    formula : str
        The formula.
    data : DataFrame
        The columns that the model uses, all rows.
    arguments : dict
        Keyword arguments of `lmm.lmer`.
    response : (n,) array or None
        What `refit` put in place of the data's response.
    optimum : Optimum
        Where the minimization ended.
    """

    formula: str
    data: pd.DataFrame
    arguments: dict[str, Any]
    response: Vector | None
    optimum: Optimum


def write(
    path: str | Path,
    fit: Fit,
    data: Any,
    arguments: Mapping[str, Any],
    response: Vector | None = None,
) -> None:
    """Write a fit to a file.

    Parameters
    ----------
    path : str or Path
        The file; an existing one is replaced.
    fit : Fit
        The fit.
    data : table
        Its data.
    arguments : mapping
        Keyword arguments of `lmm.lmer`.
    response : (n,) array, optional
        What replaces the data's response.

    Raises
    ------
    DataError
        A column or an argument is of a kind that the format does not hold.
    """
    arrays: dict[str, np.ndarray] = {}
    table = Table.of(data)
    columns = {name: table.series(name) for name in _used_columns(fit, table, arguments)}
    header = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "lmm": __version__,
        "formula": fit.formula.source,
        "name": getattr(data, "attrs", {}).get("name"),
        "columns": [_pack(name, values, arrays) for name, values in columns.items()],
        "index": None if table.index is None else _pack_index(table.index, arrays),
        "arguments": {name: _argument(name, arguments[name], arrays) for name in arguments},
        "optimum": _pack_optimum(fit.optimum, arrays),
    }
    if response is not None:
        arrays["response"] = response
    with Path(path).open("wb") as file:  # savez would append .npz to a name
        np.savez_compressed(file, allow_pickle=False, **arrays)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(HEADER, json.dumps(header, indent=1))


def read(path: str | Path) -> Stored:
    """Read a file that `write` made.

    Raises
    ------
    DataError
        It is no such file, or one of another version of the format.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            header = json.loads(archive.read(HEADER))
    except (zipfile.BadZipFile, KeyError, json.JSONDecodeError) as error:
        raise DataError(f"{str(path)!r} is not a model saved by lmm: {error}") from error
    if header.get("format") != FORMAT or header.get("version") != FORMAT_VERSION:
        raise DataError(
            f"{str(path)!r} holds {header.get('format')!r} version {header.get('version')!r}, "
            f"written by lmm {header.get('lmm')}; this is lmm {__version__}, which reads version "
            f"{FORMAT_VERSION}. Fit the model again, or use the version that wrote the file"
        )
    with np.load(path, allow_pickle=False) as arrays:
        index = None if header["index"] is None else _unpack(header["index"], arrays)
        columns = {column["name"]: _unpack(column, arrays) for column in header["columns"]}
        data = pd.DataFrame(columns, index=index)
        if header["name"] is not None:
            data.attrs["name"] = header["name"]
        return Stored(
            header["formula"],
            data,
            {name: _unpack_argument(value, arrays) for name, value in header["arguments"].items()},
            arrays.get("response"),
            _unpack_optimum(header["optimum"], arrays),
        )


# Data -----------------------------------------------------------------------------------------


def _used_columns(fit: Fit, table: Table, arguments: Mapping[str, Any]) -> list[str]:
    """Columns that the formula or an argument names, in the table's order."""
    texts = [fit.formula.source, *(v for v in arguments.values() if isinstance(v, str))]
    nodes = fit.matrices.frame.variables.nodes
    return [name for name in table.names if any(name in text for text in (*texts, *nodes))]


def _pack(name: str, values: pd.Series[Any], arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """Description of a column; its values go to `arrays`."""
    key = f"column/{name}"
    dtype = values.dtype
    column: dict[str, Any] = {"name": name, "key": key}
    if isinstance(dtype, pd.CategoricalDtype):
        arrays[key] = values.cat.codes.to_numpy()
        categories = _plain(name, dtype.categories.to_list())
        return column | {"kind": "category", "levels": categories, "ordered": bool(dtype.ordered)}
    if pd.api.types.is_bool_dtype(dtype) and not values.hasnans:
        arrays[key] = values.to_numpy(dtype=bool)
        return column | {"kind": "bool"}
    if pd.api.types.is_numeric_dtype(dtype):
        whole = pd.api.types.is_integer_dtype(dtype) and not values.hasnans
        numbers = values if whole else values.astype(np.float64)
        arrays[key] = numbers.to_numpy(dtype=np.int64 if whole else np.float64, na_value=np.nan)
        return column | {"kind": "number"}
    texts = [None if pd.isna(value) else value for value in values]
    return column | {"kind": "text", "values": _plain(name, texts)}


def _plain(name: str, values: list[Any]) -> list[Any]:
    """Values as JSON holds them."""
    plain = [value.item() if isinstance(value, np.generic) else value for value in values]
    for value in plain:
        if value is not None and not isinstance(value, str | bool | int | float):
            raise DataError(
                f"column {name!r} holds {type(value).__name__}, which a saved model cannot: "
                "convert it to numbers, text or a categorical before fitting"
            )
    return plain


def _pack_index(index: pd.Index[Any], arrays: dict[str, np.ndarray]) -> dict[str, Any] | None:
    if isinstance(index, pd.RangeIndex) and index.start == 0 and index.step == 1:
        return None
    return _pack("row labels", index.to_series(), arrays)


def _unpack(column: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Any:
    if column["kind"] == "text":
        return pd.Series(column["values"], dtype=object).to_numpy()
    values = arrays[column["key"]]
    if column["kind"] == "category":
        levels = pd.Index(column["levels"])
        return pd.Categorical.from_codes(values, categories=levels, ordered=column["ordered"])
    return values


# Arguments --------------------------------------------------------------------------------------


def _argument(name: str, value: Any, arrays: dict[str, np.ndarray]) -> Any:
    """An argument as JSON: itself, the key of an array, or a described object."""
    if value is None or isinstance(value, str | bool):
        return value
    if name == "contrasts":
        return {"contrasts": {f: _argument(f"contrasts/{f}", c, arrays) for f, c in value.items()}}
    if isinstance(value, LmerControl):
        return {"control": asdict(value)}
    if is_dataclass(value) and type(value).__name__ in OPTIMIZERS:
        return {"optimizer": type(value).__name__, "options": asdict(value)}  # type: ignore[arg-type]
    if is_dataclass(value) and type(value).__name__ in SOLVERS:
        return {"solver": type(value).__name__, "options": asdict(value)}  # type: ignore[arg-type]
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise DataError(
            f"the argument {name} is {type(value).__name__}, which a saved model cannot hold: give "
            "it as the name of a column, as numbers or as a name"
        )
    arrays[f"argument/{name}"] = array
    return {"array": f"argument/{name}"}


def _unpack_argument(value: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    match value:
        case {"array": key}:
            return arrays[key]
        case {"contrasts": chosen}:
            return {factor: _unpack_argument(coding, arrays) for factor, coding in chosen.items()}
        case {"control": levels}:
            return LmerControl(**levels)
        case {"solver": kind, "options": options}:
            solver: Solver = SOLVERS[kind](**options)
            return solver
        case {"optimizer": kind, "options": options}:
            optimizer: Optimizer = OPTIMIZERS[kind](**options)
            return optimizer
        case _:
            return value


# The optimum --------------------------------------------------------------------------------------


def _pack_optimum(optimum: Optimum, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    packed: dict[str, Any] = {}
    for field in fields(optimum):
        value = getattr(optimum, field.name)
        if isinstance(value, np.ndarray):
            arrays[f"optimum/{field.name}"] = value
        else:
            packed[field.name] = value.name if isinstance(value, Status) else value
    return packed


def _unpack_optimum(packed: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Optimum:
    prefix = "optimum/"
    stored = [key for key in arrays if key.startswith(prefix)]
    values = {**packed, **{key.removeprefix(prefix): arrays[key] for key in stored}}
    values |= {"status": Status[packed["status"]], "boundary": tuple(packed["boundary"])}
    return Optimum(**values)
