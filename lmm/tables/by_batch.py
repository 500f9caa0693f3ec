"""Results by row of data that are read batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from lmm._types import Vector
from lmm.design.build import plan_for
from lmm.design.columns import take
from lmm.design.partitions import source_of
from lmm.design.portions import GroupVariable, Reader, RowArguments
from lmm.design.rows import Rows, Selection, new_rows, select
from lmm.design.source import Portion, Source, placed
from lmm.diagnostics.leverage import distances
from lmm.errors import DataError
from lmm.fit import Fit, check_linear
from lmm.fitted import Fitted
from lmm.joint import JointCovariance
from lmm.predict import effects_of


def source_for(model: Fitted, data: Any) -> Source:
    """What is read: the data given, or those that the model was fitted to.

    Raises
    ------
    DataError
        The model has none.
    """
    if data is not None:
        return source_of(data)
    if isinstance(model.call.source, Source):
        return model.call.source
    if model.call.table is None:
        raise DataError("the model was fitted to sums, not to data: name the source to read")
    return source_of(model.call.table)


def augment_batches(
    model: Fitted, data: Any = None, *, columns: Sequence[str] = (), hat: bool = True
) -> Iterator[pd.DataFrame]:
    """Rows of data with what the fit says of each, batch by batch."""
    check_linear("Results batch by batch", model)
    source = source_for(model, data)
    reader = _reader(model, source)
    read = list(dict.fromkeys([*reader.columns_of(source.heading), *columns]))
    joint = JointCovariance(model.fit) if hat else None
    return (_augmented(model, reader, portion, joint) for portion in source.batches(read))


def _reader(model: Fitted, source: Source) -> Reader:
    """Reads batches as the fit did."""
    call, fixed = model.call, model.fit.matrices.fixed
    rows = RowArguments(call.weights, call.offset, call.subset, call.na_action)  # type: ignore[arg-type]
    plan = plan_for(model.fit.formula, source.heading, False)
    groups = tuple(GroupVariable.of(text, node) for text, node in plan.groups.items())
    return Reader(plan, fixed.variables, groups, rows)


def _augmented(
    model: Fitted, reader: Reader, portion: Portion, joint: JointCovariance | None
) -> pd.DataFrame:
    with placed(portion):
        read = reader.read(portion)
        used = read.choice.rows
        native = {name: portion.series(name).iloc[used].array for name in portion.names}
        table = pd.DataFrame(native, index=pd.Index(portion.start + used))
        y = take(read.columns[reader.response], used)
        ones = np.ones(len(used))
        weights = ones if read.choice.weights is None else read.choice.weights
        offset = 0.0 * ones if read.choice.offset is None else read.choice.offset
        selection = select(model.fit.matrices, None)
        rows = new_rows(model.fit.matrices, table, selection)
        rows = replace(rows, offset=offset, weights=weights)
        return table.assign(**_values(model.fit, rows, selection, np.asarray(y), joint))


def _values(
    fit: Fit, rows: Rows, selection: Selection, y: Vector, joint: JointCovariance | None
) -> dict[str, Vector]:
    """What `augment` tells of rows, by its names."""
    known, _ = rows.interpolated(fit.matrices, fit.theta)
    fixed = known.fixed_part(fit.beta)
    linear = fixed + known.random_part(fit.b, selection)
    residuals, root = y - linear, np.sqrt(rows.weights)
    values: dict[str, Vector] = {".fitted": linear, ".resid": residuals}
    if joint is not None:
        variance = joint.variance(rows.X, effects_of(fit, known, selection))
        hat = variance / fit.noise**2 * rows.weights
        scaled = root * residuals / fit.sigma
        values |= {".hat": hat, ".cooksd": distances(scaled, hat, len(fit.beta))}
    return values | {
        ".fixed": fixed,
        ".mu": linear,
        ".offset": rows.offset,
        ".sqrtXwt": root,
        ".sqrtrwt": root,
        ".weights": rows.weights,
        ".wtres": root * residuals,
    }


def predict_batches(
    model: Fitted, predict: Callable[[pd.DataFrame], Any], data: Any
) -> Iterator[pd.Series[float] | pd.DataFrame]:
    """What `predict` makes of rows, batch by batch."""
    source = source_of(data)
    names = _predictors(model, source)
    for portion in source.batches(names):
        with placed(portion):
            index = pd.RangeIndex(portion.start, portion.start + portion.n)
            frame = pd.DataFrame({name: portion.series(name).array for name in names}, index=index)
            yield predict(frame)


def _predictors(model: Fitted, source: Source) -> list[str]:
    """Columns of a source that predictions may need."""
    matrices, call = model.fit.matrices, model.call
    variables_ = matrices.fixed.variables
    texts = [*matrices.fixed.term_factors, *matrices.fixed.offsets]
    for term in matrices.terms:
        if term.recipe is not None:
            texts += [*term.recipe.layout.predictor.variables, *term.recipe.group]
    used = {name for text in texts for name in variables_.columns_of(text)}
    used |= {name for name in (call.offset, call.weights) if isinstance(name, str)}
    return [name for name in source.names if name in used]
