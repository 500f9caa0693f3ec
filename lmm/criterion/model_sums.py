"""Models whose rows are read batch by batch: their sums, and the criterion that these make."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

import numpy as np
import pandas as pd

from lmm._brief import Brief
from lmm._types import Vector
from lmm.criterion.profiled import ProfiledCriterion
from lmm.design.absent import Summed, Unread
from lmm.design.batches import Batch, Recipe
from lmm.design.column_summary import ColumnSummary
from lmm.design.keys import Keys
from lmm.design.matrices import ModelMatrices
from lmm.design.partitions import source_of
from lmm.design.response import Response
from lmm.design.source import Source
from lmm.design.table import Table
from lmm.errors import DataError
from lmm.formula import Formula, parse_formula
from lmm.pls import Problem, Solver, named
from lmm.pls.summed import Fixed, better, is_far, problem_of
from lmm.pls.sums import Pilot, Sums, add


@dataclass(frozen=True, eq=False, repr=False)
class ModelSums(Brief):
    """Sums over rows of a model, which is all that `lmm.lmer` needs of them.

    Made by `lmm.sums`. Sums of parts that were made ``like`` the same first one are added by ``+``,
    in any order and on any machine.

    Attributes
    ----------
    recipe : Recipe
        How rows are made of data.
    sums : Sums
        Their cross-products.
    n_selected : int
        Number of rows that the subset selects, those with missing values too.
    summary : ColumnSummary
        What later results ask of the data's columns.
    """

    recipe: Recipe
    sums: Sums
    n_selected: int
    summary: ColumnSummary

    @classmethod
    def of(cls, recipe: Recipe, source: Source) -> ModelSums:
        """Sums over all rows of a source; it is read again where the first rows mislead.

        Raises
        ------
        DataError
            The source does not suit the formula, or can be read once only but must be read twice.
        """
        total = cls._over_source(recipe, source)
        if not is_far(total.sums):
            return total
        source.check_rereadable("its first rows are so unlike the others that digits were lost")
        return cls._over_source(recipe, source, better(total.sums, recipe.group_of))

    @classmethod
    def _over_source(cls, recipe: Recipe, source: Source, pilot: Pilot | None = None) -> ModelSums:
        if not source.is_spread:
            return cls.over(recipe, recipe.batches(source), pilot)
        pilot = pilot or _first_pilot(recipe.batches(source))
        total = source.total(recipe.columns, partial(cls.of_rows, recipe, pilot))
        if total.n == 0:
            raise _no_rows()
        return cast(ModelSums, total)

    @classmethod
    def of_rows(cls, recipe: Recipe, pilot: Pilot, table: Table) -> ModelSums:
        """Sums over the rows of a table, of which none may count."""
        batch = recipe.batch(table)
        return cls(recipe, Sums.of(batch, pilot), batch.n_selected, batch.summary)

    def of_more(self, data: Any) -> ModelSums:
        """Sums over other rows, of which none may count, to be added to these."""
        source, columns = source_of(data), self.recipe.columns
        part = partial(type(self).of_rows, self.recipe, self.sums.pilot)
        if source.is_spread:
            return cast(ModelSums, source.total(columns, part))
        return add(map(part, source.batches(columns)))

    @classmethod
    def over(
        cls, recipe: Recipe, batches: Iterable[Batch], pilot: Pilot | None = None
    ) -> ModelSums:
        """Sums over batches, in coordinates that suit the first of them unless others are given.

        Raises
        ------
        DataError
            No row counts.
        """
        return add(_parts(recipe, batches, pilot))

    @property
    def size(self) -> int:
        """What adding costs."""
        return self.sums.size

    @property
    def n(self) -> int:
        """Number of rows that count."""
        return self.sums.n

    @property
    def heading(self) -> Table:
        """A table with the columns that were read, without rows."""
        return Table(pd.DataFrame(columns=list(self.recipe.columns)))

    @property
    def keys(self) -> tuple[Keys, ...]:
        """Levels of each grouping factor, in order of appearance."""
        return cast("tuple[Keys, ...]", self.sums.keys)

    def __add__(self, other: ModelSums) -> ModelSums:
        """The sums over the rows of both.

        Raises
        ------
        DataError
            They were not made alike.
        """
        if not isinstance(other, ModelSums):
            return NotImplemented
        return replace(
            self,
            sums=self.sums + other.sums,
            n_selected=self.n_selected + other.n_selected,
            summary=self.summary + other.summary,
        )

    def __radd__(self, other: object) -> ModelSums:
        """These sums added to nothing, from which Python's ``sum`` starts."""
        return self if other == 0 else NotImplemented

    def check(self, formula: Formula, options: Mapping[str, Any]) -> None:
        """Refuse another formula, or options that the sums were not made with.

        Raises
        ------
        DataError
            They are others.
        """
        own = self.recipe.plan.formula
        if str(parse_formula(formula)) not in (str(own), own.source):
            raise DataError(f"the sums are those of {own}: give this formula, or sum anew")
        made = self.recipe.options
        others = [name for name, value in options.items() if not _is_option(value, made.get(name))]
        if others:
            raise DataError(
                f"{', '.join(others)} must be given to lmm.sums, which made the rows of these sums"
            )

    def matrices(self) -> ModelMatrices:
        """The model, without rows."""
        kept, n = Fixed(self.sums).kept, self.n
        design = self.recipe.design(self.keys, kept, n, self.n_selected, self.summary)
        rows = self.recipe.reader.rows
        known = cast(Vector, Unread((n,)))
        has_offset = rows.offset is not None or self.recipe.plan.offsets
        weights = None if rows.weights is None else known
        y = cast(Vector, Summed((n,), self.response_squares))
        return ModelMatrices(design, Response.of(y, weights, known if has_offset else None))

    @property
    def response_squares(self) -> float:
        """Sum of squares of the weighted response, less its offset."""
        pilot, base = self.sums.pilot, self.sums.base
        whole = np.append(pilot.beta, pilot.scale)  # y = X* beta + scale y*
        return float(whole @ base @ whole)

    def problem(self) -> Problem:
        """The standardized problem, without rows."""
        order = self.recipe.order_of(self.keys)
        return problem_of(self.sums, self.recipe.group_of, self.matrices(), order)

    def criterion(
        self, reml: bool, solver: Solver | str, sigma: float | None = None
    ) -> ProfiledCriterion:
        """The criterion of the model; without fixed effects REML is ML."""
        bound = named(solver).bind(self.problem())
        matrices = bound.problem.matrices
        return ProfiledCriterion(matrices, reml and matrices.p > 0, solver, bound, sigma)


def _parts(recipe: Recipe, batches: Iterable[Batch], pilot: Pilot | None) -> Iterator[ModelSums]:
    selected = 0
    for batch in batches:
        selected += batch.n_selected
        if len(batch.X) == 0:
            continue
        pilot = pilot or Pilot.of(batch)
        yield ModelSums(recipe, Sums.of(batch, pilot), selected, batch.summary)
        selected = 0
    if pilot is None:
        raise _no_rows()


def _is_option(value: Any, made: Any) -> bool:
    """Whether an option is the one that sums were made with; contrasts may hold arrays."""
    return value is made or (not isinstance(value, Mapping) and bool(value == made))


def _first_pilot(batches: Iterable[Batch]) -> Pilot:
    """Coordinates that suit the first rows that count."""
    for batch in batches:
        if len(batch.X):
            return Pilot.of(batch)
    raise _no_rows()


def _no_rows() -> DataError:
    return DataError("0 (non-NA) cases: no row is selected and complete")
