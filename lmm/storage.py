"""Fitted models in files: a zip archive of arrays and one JSON text, read without unpickling.

The file holds what a fit is made of, not what follows from it: the columns of the data that the
model uses, the formula, the options and the optimum. Reading builds the design again and checks
that the criterion takes the stored value. The format is described in ``docs/storage.md``.
"""

from __future__ import annotations

import io
import json
import math
import os
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd

from lmm._types import Vector
from lmm._versions import __version__
from lmm.criterion import ProfiledCriterion
from lmm.criterion.stored_sums import pack_sums, unpack_sums
from lmm.design import LmerControl
from lmm.design.choice import used_columns
from lmm.design.coding import Contrasts
from lmm.design.factor_contrasts import contrast_columns
from lmm.design.labels import in_order
from lmm.design.matrices import ModelMatrices
from lmm.design.portions import RowArguments
from lmm.design.stored_columns import Arrays, pack_column, unpack_column
from lmm.design.table import Table, series_of
from lmm.errors import DataError
from lmm.family import FAMILIES, Family
from lmm.files.writing import put_whole
from lmm.fit import Fit
from lmm.formula import Formula
from lmm.laplace import LaplaceCriterion
from lmm.optimize import COBYQA, LBFGSB, FisherScoring, NelderMead, Optimizer, Optimum, Status
from lmm.plain_fit import PlainFit, plain_fit
from lmm.pls import Auto, Block, Dense, Krylov, Solver, Sparse
from lmm.request import GeneralizedRequest, LeastSquaresRequest, Request, ScoredRequest

FORMAT = "lmm model"
FORMAT_VERSION = 2
SUMS_VERSION = 3  # which holds sums, and no columns
READ_VERSIONS = (1, 2, 3)
HEADER = "model.json"

OPTIMIZERS = {kind.__name__: kind for kind in (FisherScoring, LBFGSB, COBYQA, NelderMead)}
SOLVERS: dict[str, Any] = {kind.__name__: kind for kind in (Auto, Block, Sparse, Dense, Krylov)}
FAMILY_CLASSES: dict[str, Any] = {kind.__name__: kind for kind in FAMILIES.values()}
REQUESTS = {
    kind.function: kind
    for kind in (Request, GeneralizedRequest, LeastSquaresRequest, ScoredRequest)
}

# What a file may grow to in memory: so much, and so many times its size on the disk.
ARRAYS_FREE, ARRAYS_RATIO = 64_000_000, 64
HEADER_FREE, HEADER_RATIO = 1_000_000, 12


@dataclass(frozen=True, eq=False)
class Stored:
    """What a file holds.

    Attributes
    ----------
    request : Request
        Formula, options and the columns of the data that the model uses, all rows.
    criterion : ProfiledCriterion or LaplaceCriterion
        The criterion of the design that is built from them.
    optimum : Optimum
        Where the minimization ended.
    """

    request: Request
    criterion: ProfiledCriterion | LaplaceCriterion
    optimum: Optimum

    @property
    def matrices(self) -> ModelMatrices:
        """The model's matrices."""
        return self.criterion.matrices


@dataclass(frozen=True, eq=False)
class StoredPlain:
    """What a file of a model without random effects holds.

    Attributes
    ----------
    request : Request
        Formula, options and the columns of the data that the model uses, all rows.
    fit : PlainFit
        The model fitted to them again.
    """

    request: Request
    fit: PlainFit

    @property
    def matrices(self) -> ModelMatrices:
        """The model's matrices."""
        return self.fit.matrices


def write(path: str | Path, fit: Fit | PlainFit, request: Request) -> None:
    """Write a fit to a file, which is read back before it takes its place: see `FittedModel.save`.

    A file that exists stays whole where writing fails.
    """
    target = Path(path).resolve()
    if target.is_dir():
        raise IsADirectoryError(f"{str(path)!r} is a folder: name a file in it")
    content = _content(fit, request)

    def written(whole: Path) -> None:
        with whole.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        _check_again(whole, fit)

    put_whole(target, written)


def _check_again(path: Path, fit: Fit | PlainFit) -> None:
    """Refuse a file that would not give the fit back."""
    try:
        stored = read(path)
    except DataError as error:
        raise DataError(f"the model cannot be saved: it would not load. {error}") from error
    for kept, own in zip(stored.matrices.terms, fit.matrices.terms, strict=True):
        if list(kept.levels) != list(own.levels) or kept.columns != own.columns:
            raise DataError(f"the model cannot be saved: levels of {own.group!r} would change")
    if stored.matrices.fixed.names != fit.matrices.fixed.names:
        raise DataError("the model cannot be saved: names of fixed effects would change")


def _content(fit: Fit | PlainFit, request: Request) -> bytes:
    """The bytes of a file."""
    if request.table is None and request.source is None:
        raise TypeError(
            "the model was put together from its parts, without data: it cannot be saved"
        )
    own = fit.matrices.frame.variables.own
    if own:
        names = ", ".join(own)
        raise DataError(
            f"the formula calls functions of your own ({names}), which a file cannot hold: "
            "compute their columns in the data, or pickle the model"
        )
    arrays: Arrays = {}
    header = _header(fit, request, arrays)
    text = json.dumps(header, indent=1, default=_plain).encode()
    for method in (zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED):
        content = _archive(text, arrays, method)
        try:
            _check_sizes(zipfile.ZipFile(io.BytesIO(content)), len(content))
        except DataError:  # so regular that it would be taken for a bomb
            continue
        break
    return content


def _archive(text: bytes, arrays: Arrays, method: int) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.writestr(HEADER, text)
        for key, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)
            archive.writestr(f"{key}.npy", member.getvalue())
    return file.getvalue()


def _header(fit: Fit | PlainFit, request: Request, arrays: Arrays) -> dict[str, Any]:
    options = request.options
    if request.source is not None:
        options |= request.sums.recipe.options
    return {
        "format": FORMAT,
        "version": FORMAT_VERSION if request.source is None else SUMS_VERSION,
        "lmm": __version__,
        "function": request.function,
        "formula": fit.formula.source,
        **_data(fit, request, arrays),
        "arguments": {
            name: _pack_option(name, value, request, fit, arrays)
            for name, value in options.items()
            if name != "extra_namespace"
        },
        **_estimates(fit, arrays),
        "refitted": request.response is not None and _put(arrays, "response", request.response),
    }


def _estimates(fit: Fit | PlainFit, arrays: Arrays) -> dict[str, Any]:
    """Where the minimization ended; coefficients of a model without random effects."""
    if isinstance(fit, PlainFit):
        arrays["beta"] = fit.beta
        return {"loglik": fit.loglik}
    return {"optimum": _pack_optimum(fit.optimum, arrays)}


def _data(fit: Fit | PlainFit, request: Request, arrays: Arrays) -> dict[str, Any]:
    """The columns that the model uses, or the sums over rows that were read batch by batch."""
    table = request.table
    if table is None:
        return {"sums": pack_sums(request.sums, arrays)}
    named = [v for v in (request.weights, request.offset) if isinstance(v, str)]
    named += contrast_columns(request.contrasts)
    names = used_columns(fit.matrices.frame.variables, table, named, request.subset)
    return {
        "name": table.label,
        "columns": [pack_column(name, table.series(name), arrays) for name in names],
        "index": None if table.index is None else _pack_index(table.index, arrays),
    }


def _put(arrays: Arrays, key: str, values: np.ndarray) -> bool:
    arrays[key] = values
    return True


def _plain(value: Any) -> Any:
    """A NumPy number as JSON holds it."""
    if isinstance(value, np.generic):
        return value.item()
    raise DataError(f"a saved model cannot hold {type(value).__name__}")


# Reading ------------------------------------------------------------------------------------------


def read(path: str | Path) -> Stored | StoredPlain:
    """Read a file that `write` made.

    Nothing in it is run or unpickled, and it is not read where it would grow beyond measure.

    Raises
    ------
    DataError
        It is no such file, one of another version, or damaged.
    """
    with Path(path).open("rb") as file:
        try:
            return _read(file, str(path))
        except DataError:
            raise
        except Exception as error:  # damage makes any part of the reading raise anything
            raise DataError(f"{str(path)!r} is damaged: {type(error).__name__}: {error}") from error


def _read(file: BinaryIO, path: str) -> Stored | StoredPlain:
    try:
        archive = zipfile.ZipFile(file)
        member = archive.getinfo(HEADER)
    except (zipfile.BadZipFile, KeyError) as error:
        raise DataError(f"{path!r} is not a model saved by lmm: {error}") from error
    _check_sizes(archive, os.fstat(file.fileno()).st_size)
    header = json.loads(archive.read(member))
    if header.get("format") != FORMAT or header.get("version") not in READ_VERSIONS:
        raise DataError(
            f"{path!r} holds {header.get('format')!r} version {header.get('version')!r}, "
            f"written by lmm {header.get('lmm')}; this is lmm {__version__}, which reads versions "
            f"1 to {SUMS_VERSION}. Fit the model again, or use the version that wrote the file"
        )
    arrays = {name.removesuffix(".npy"): _array(archive, name) for name in _members(archive)}
    request = _unpack_request(header, arrays)
    if not request.mixed:
        return _refitted(request, header["loglik"], arrays["beta"], path)
    return _checked(request, _unpack_optimum(header["optimum"], arrays), path)


def _members(archive: zipfile.ZipFile) -> list[str]:
    return [name for name in archive.namelist() if name.endswith(".npy")]


def _check_sizes(archive: zipfile.ZipFile, size: int) -> None:
    """Refuse an archive whose members are larger than any that `write` makes of `size` bytes."""
    text = sum(member.file_size for member in archive.infolist() if member.filename == HEADER)
    total = sum(member.file_size for member in archive.infolist())
    if text > HEADER_FREE + HEADER_RATIO * size or total > ARRAYS_FREE + ARRAYS_RATIO * size:
        raise DataError(
            f"the file is damaged: its {size} bytes would become {total} in memory, more than any "
            "saved model"
        )


def _array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """An array of numbers, whose stated shape is checked before it is made."""
    file = io.BytesIO(archive.read(name))
    version = np.lib.format.read_magic(file)
    reader = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }[version]
    shape, fortran, dtype = reader(file)
    values = file.read()
    if dtype.kind not in "biuf" or math.prod(shape) * dtype.itemsize != len(values):
        raise DataError(f"the file is damaged: {name} does not hold what it says")
    order = "F" if fortran else "C"
    return np.frombuffer(values, dtype).reshape(shape, order=order)  # type: ignore[call-overload, no-any-return]


def _refitted(request: Request, loglik: float, beta: Vector, path: str) -> StoredPlain:
    """A model without random effects, fitted again to what was stored."""
    fit = plain_fit(request)
    same = fit.beta.shape == beta.shape and np.allclose(fit.beta, beta, rtol=1e-6, atol=1e-8)
    if not (same and math.isclose(fit.loglik, loglik, rel_tol=1e-8, abs_tol=1e-8)):
        raise DataError(f"{path!r} is damaged: its data do not give its coefficients")
    return StoredPlain(request, fit)


def _checked(request: Request, optimum: Optimum, path: str) -> Stored:
    """What was stored, if data and optimum belong together."""
    criterion: ProfiledCriterion | LaplaceCriterion = request.criterion()
    value = criterion.value(optimum.x)
    if not math.isclose(value, optimum.value, rel_tol=1e-8, abs_tol=1e-8):
        raise DataError(
            f"{path!r} is damaged: its data and its optimum give {value}, but it says "
            f"{optimum.value}"
        )
    if not np.allclose(criterion.to_theta(optimum.x), optimum.theta, rtol=1e-6, atol=1e-8):
        raise DataError(f"{path!r} is damaged: its theta is not that of its optimum")
    return Stored(request, criterion, optimum)


def _unpack_request(header: Mapping[str, Any], arrays: Arrays) -> Request:
    kind = REQUESTS[header.get("function", Request.function)]
    formula = kind.parsed(header["formula"])
    given = {name: _unpack_option(v, arrays) for name, v in header["arguments"].items()}
    if "sums" in header:
        return _summed_request(header["sums"], arrays, formula, given)
    columns = {c["name"]: unpack_column(c, arrays) for c in header["columns"]}
    index = None if header["index"] is None else _unpack_index(header["index"], arrays)
    data = pd.DataFrame(columns, index=index)
    if header["name"] is not None:
        data.attrs["name"] = header["name"]
    table = Table(data, is_own=True)
    response: Vector | None = arrays.get("response")
    return kind(formula, table, **given, response=response)


def _summed_request(
    packed: Mapping[str, Any], arrays: Arrays, formula: Formula, given: dict[str, Any]
) -> Request:
    """Request of a model whose rows were read batch by batch."""
    rows = RowArguments(**{field.name: given[field.name] for field in fields(RowArguments)})
    sums = unpack_sums(packed, arrays, formula, rows, given["contrasts"], given["control"])
    return Request(formula, None, **given, source=sums)


# Row labels ---------------------------------------------------------------------------------------


def _pack_index(index: pd.Index[Any], arrays: Arrays) -> dict[str, Any] | None:
    if isinstance(index, pd.RangeIndex) and (index.start, index.step) == (0, 1) and not index.name:
        return None
    levels = [index.get_level_values(i) for i in range(index.nlevels)]
    return {
        "kind": "index",
        "names": [None if name is None else str(name) for name in index.names],
        "levels": [pack_column("row labels", pd.Series(level.array), arrays) for level in levels],
    }


def _unpack_index(packed: Mapping[str, Any], arrays: Arrays) -> pd.Index[Any]:
    if packed["kind"] != "index":  # version 1
        return _index(packed, arrays)
    levels = [_index(level, arrays) for level in packed["levels"]]
    if len(levels) == 1:
        levels[0].name = packed["names"][0]
        return levels[0]
    return pd.MultiIndex.from_arrays(levels, names=packed["names"])


def _index(column: Mapping[str, Any], arrays: Arrays) -> pd.Index[Any]:
    labels: pd.Index[Any] = pd.Index(unpack_column(column, arrays))
    return labels


# Options ------------------------------------------------------------------------------------------


def _pack_option(
    name: str, value: Any, request: Request, fit: Fit | PlainFit, arrays: Arrays
) -> Any:
    """An option as JSON: itself, or a described object."""
    if value is None or isinstance(value, str | bool):
        return value
    if name == "contrasts":
        return {"contrasts": {f: _pack_coding(f, c, fit, arrays) for f, c in value.items()}}
    if isinstance(value, LmerControl):
        return {"control": asdict(value)}
    if is_dataclass(value) and type(value).__name__ in OPTIMIZERS:
        return {"optimizer": type(value).__name__, "options": asdict(value)}  # type: ignore[arg-type]
    if isinstance(value, Family):
        return {"family": type(value).__name__, "options": asdict(value)}  # type: ignore[call-overload]
    if is_dataclass(value) and type(value).__name__ in SOLVERS:
        return {"solver": type(value).__name__, "options": asdict(value)}  # type: ignore[arg-type]
    if name == "sigma":
        return float(value)
    if name in ("reml", "nagq"):
        return int(value) if name == "nagq" else bool(value)
    if name not in ("weights", "offset", "subset"):
        raise DataError(
            f"the argument {name} is {type(value).__name__}, which a saved model cannot hold: give "
            "it by its name"
        )
    assert request.table is not None
    rows = series_of(in_order(value, request.table.index, name), name)
    return {"rows": pack_column(name, rows, arrays)}


def _pack_coding(factor: str, value: Any, fit: Fit | PlainFit, arrays: Arrays) -> Any:
    """Contrasts of a factor: a name, numbers, or the table of the coding that they gave."""
    if isinstance(value, str):
        return value
    if isinstance(value, Contrasts):
        return {"named": asdict(value)}
    if not isinstance(value, np.ndarray | pd.DataFrame):
        value = _coding_table(factor, fit)
    key = f"contrasts/{len(arrays)}"
    arrays[key] = np.asarray(value, dtype=np.float64)
    if isinstance(value, np.ndarray):
        return {"array": key}
    index = None if isinstance(value.index, pd.RangeIndex) else list(map(str, value.index))
    return {"array": key, "columns": list(map(str, value.columns)), "index": index}


def _coding_table(factor: str, fit: Fit | PlainFit) -> pd.DataFrame:
    for codings in fit.matrices.fixed.layout.codings:
        if factor in codings and codings[factor].contrasts != "dummy":
            coding = codings[factor]
            return pd.DataFrame(coding.matrix, list(coding.levels), list(coding.suffixes))
    raise DataError(
        f"the contrasts of {factor!r}, which the model does not use, cannot be saved: leave them "
        "out, or give them by name or as a table"
    )


def _unpack_option(value: Any, arrays: Arrays) -> Any:
    match value:
        case {"rows": column}:
            return unpack_column(column, arrays)
        case {"array": key}:  # version 1
            return arrays[key]
        case {"contrasts": chosen}:
            return {factor: _unpack_coding(coding, arrays) for factor, coding in chosen.items()}
        case {"control": levels}:
            return LmerControl(**levels)
        case {"family": kind, "options": options}:
            return FAMILY_CLASSES[kind](**options)
        case {"solver": kind, "options": options}:
            solver: Solver = SOLVERS[kind](**options)
            return solver
        case {"optimizer": kind, "options": options}:
            optimizer: Optimizer = OPTIMIZERS[kind](**options)
            return optimizer
        case _:
            return value


def _unpack_coding(value: Any, arrays: Arrays) -> Any:
    match value:
        case {"array": key, "columns": columns, "index": index}:
            return pd.DataFrame(arrays[key], index=index, columns=columns)
        case {"array": key}:
            return arrays[key]
        case {"named": options}:
            return Contrasts(**options)
        case _:
            return value


# The optimum --------------------------------------------------------------------------------------


def _pack_optimum(optimum: Optimum, arrays: Arrays) -> dict[str, Any]:
    packed: dict[str, Any] = {}
    for field in fields(optimum):
        if field.name == "state":
            continue
        value = getattr(optimum, field.name)
        if isinstance(value, np.ndarray):
            arrays[f"optimum/{field.name}"] = value
        else:
            packed[field.name] = value.name if isinstance(value, Status) else value
    return packed


def _unpack_optimum(packed: Mapping[str, Any], arrays: Arrays) -> Optimum:
    prefix = "optimum/"
    stored = {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
    values = {**packed, **stored}
    values |= {"status": Status[packed["status"]], "boundary": tuple(packed["boundary"])}
    return Optimum(**values)
