"""Responses of generalized models: what a formula's left side means under a family.

A binomial response is a proportion with its number of trials, whatever form it comes in; the form
is kept, so that simulated responses come back in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from lmm._types import Matrix, Vector
from lmm.design.columns import Basis, Column, Factor
from lmm.errors import DataError, LmmWarning, ResponseWarning
from lmm.family import Binomial, Family


@dataclass(frozen=True)
class Form:
    """How a response is written.

    Attributes
    ----------
    kind : str
        ``"numbers"``, ``"counts"`` (successes and failures), ``"levels"`` or ``"truth"``.
    names : tuple of str
        Columns of counts; the levels of a factor, failure first.
    """

    kind: str = "numbers"
    names: tuple[str, ...] = ()

    def pack(self, y: Vector, trials: Vector, index: pd.Index) -> pd.Series[Any] | pd.DataFrame:
        """Responses (n,) as they would stand in the data."""
        if self.kind == "counts":
            successes = np.rint(y * trials)
            table = np.column_stack([successes, np.rint(trials) - successes])
            return pd.DataFrame(table, index=index, columns=list(self.names))
        if self.kind == "levels":
            codes = np.where(np.isnan(y), -1, y > 0.5).astype(np.int8)
            return pd.Series(pd.Categorical.from_codes(codes, pd.Index(self.names)), index=index)
        return pd.Series(y > 0.5 if self.kind == "truth" else y, index=index)


NUMBERS = Form()


@dataclass(frozen=True, eq=False)
class Outcome:
    """A response as a family sees it.

    Attributes
    ----------
    y : (n,) array
        Numbers; proportions for a binomial.
    trials : (n,) array or None
        Numbers of trials of a binomial, where they are not the weights.
    form : Form
        How it is written.
    notes : tuple of LmmWarning
        What does not look right.
    """

    y: Vector
    trials: Vector | None = None
    form: Form = NUMBERS
    notes: tuple[LmmWarning, ...] = ()


def read_outcome(name: str, column: Column, family: Family, weights: Vector | None) -> Outcome:
    """Read a response.

    Parameters
    ----------
    name : str
        The formula's left side.
    column : Column
        Its values in the rows used.
    family : Family
        Conditional distribution.
    weights : (n,) array, optional
        Prior weights as given.

    Raises
    ------
    DataError
        The family cannot have such a response, or all values are the same.
    """
    given = np.ones(_length(column)) if weights is None else weights
    outcome = (
        _binomial(name, column, given) if isinstance(family, Binomial) else _numeric(name, column)
    )
    family.check(outcome.y, given)
    told = outcome.y if outcome.trials is None else outcome.y[outcome.trials > 0.0]
    if len(outcome.y) > 1 and (told == told[:1]).all():
        value = told[0] if len(told) else 0.0
        raise DataError(
            f"Response is constant: {name!r} is {value:g} in all rows, and there is nothing "
            "to model"
        )
    return outcome


def _length(column: Column) -> int:
    if isinstance(column, Factor):
        return len(column.codes)
    return len(column.values) if isinstance(column, Basis) else len(column)


def _numeric(name: str, column: Column) -> Outcome:
    if isinstance(column, Basis):
        raise DataError(
            f"can't handle matrix-valued responses: {name!r} has {column.values.shape[1]} columns. "
            "Successes and failures as cbind() makes them are a response of family='binomial'"
        )
    if isinstance(column, Factor):
        if column.is_logical:
            return Outcome(column.codes.astype(float), form=Form("truth", column.levels))
        raise DataError(
            f"response must be numeric: {name!r} holds a factor, such as {column.levels[0]!r}. "
            "A factor of two levels is a response of family='binomial'"
        )
    return Outcome(_finite(name, column))


def _finite(name: str, y: Vector) -> Vector:
    if not np.isfinite(y).all():
        raise DataError(f"the response {name!r} is infinite in {int((~np.isfinite(y)).sum())} rows")
    return y


def _binomial(name: str, column: Column, weights: Vector) -> Outcome:
    if isinstance(column, Basis):
        return _counted(name, column.values, column.suffixes)
    if isinstance(column, Factor):
        return _of_levels(name, column)
    y = _finite(name, column)
    if ((y < 0.0) | (y > 1.0)).any():
        return Outcome(y)  # refused by the family
    successes = weights * y
    if (np.abs(successes - np.rint(successes)) <= 1e-3).all():
        return Outcome(y)
    text = (
        "non-integer #successes in a binomial glm! A proportion needs its number of trials as "
        "weights"
    )
    return Outcome(y, notes=(ResponseWarning(text),))


def _counted(name: str, counts: Matrix, names: tuple[str, ...]) -> Outcome:
    if counts.shape[1] != 2:
        raise DataError(
            f"a binomial response of several columns has two, successes and failures, but {name!r} "
            f"has {counts.shape[1]}"
        )
    counts = np.column_stack([_finite(name, column) for column in counts.T])
    if (counts < 0.0).any():
        raise DataError(f"negative values not allowed for the 'binomial' family: see {name!r}")
    if (np.abs(counts - np.rint(counts)) > 1e-3).any():
        raise DataError(f"successes and failures must be counts, but {name!r} holds fractions")
    trials = counts.sum(axis=1)
    y = counts[:, 0] / np.where(trials > 0.0, trials, 1.0)
    return Outcome(y, trials, Form("counts", tuple(names)))


def _of_levels(name: str, column: Factor) -> Outcome:
    used = np.unique(column.codes)
    levels = column.levels
    if len(levels) != 2 and not column.is_logical:
        levels = tuple(column.levels[i] for i in used)
    if len(levels) > 2:
        listed = ", ".join(map(repr, levels[:5]))
        raise DataError(
            f"a binomial response has two levels, but {name!r} has {len(levels)}: {listed}. Say "
            f"which is a success, as in I({name} == {levels[-1]!r})"
        )
    if len(used) < 2:
        raise DataError(f"Response is constant: {name!r} is {column.levels[used[0]]!r} in all rows")
    y = (column.codes == used[-1]).astype(float)
    return Outcome(y, form=Form("truth" if column.is_logical else "levels", tuple(levels)))
