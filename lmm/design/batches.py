"""Model rows of a source, batch by batch: what a fit sums up without holding all rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import pandas as pd

from lmm._types import IntVector, Matrix, Vector, cached_property
from lmm.design.absent import Summed, Unread
from lmm.design.build import Plan, double_bar_notes, linear_response, plan_for, written_out
from lmm.design.checks import (
    DEFAULT_CONTROL,
    LmerControl,
    check_groups,
    check_identifiers,
    check_rank,
    check_scales,
)
from lmm.design.column_summary import ColumnSummary
from lmm.design.columns import Basis, Column, Factor, take
from lmm.design.factor_contrasts import choose_contrasts
from lmm.design.fixed import FixedEffects, check_finite
from lmm.design.frame import Frame, lost
from lmm.design.functions.own import own_functions
from lmm.design.keys import Keys
from lmm.design.layout import Layout, lay_out, lay_out_indicators
from lmm.design.learn import Learned, learn
from lmm.design.matrices import Design, ReTerm
from lmm.design.portions import Reader, RowArguments
from lmm.design.random import build_random, sorted_by_levels
from lmm.design.response import Response
from lmm.design.source import Portion, Source, placed
from lmm.design.table import Table
from lmm.design.variables import column_names
from lmm.errors import DataError, LmmWarning
from lmm.formula import Formula, parse_formula


@dataclass(frozen=True, eq=False)
class Batch:
    """Model rows of one batch; there may be none.

    Attributes
    ----------
    X : (n, p) array
        Fixed effects, before linearly dependent columns are dropped.
    Z : tuple of (n, k_i) arrays
        Columns of the random terms, in the formula's order.
    group_of : tuple of int
        Number of the grouping factor of each term.
    codes : tuple of (n,) int arrays
        Level of each row, per grouping factor.
    keys : tuple of Keys
        Levels in the batch, per grouping factor.
    response : Response
        Response, prior weights and offset.
    n_read, n_selected : int
        Numbers of rows of the batch, and of those that the subset selects.
    summary : ColumnSummary
        What later results ask of the columns.
    """

    X: Matrix
    Z: tuple[Matrix, ...]
    group_of: tuple[int, ...]
    codes: tuple[IntVector, ...]
    keys: tuple[Keys, ...]
    response: Response
    n_read: int
    n_selected: int
    summary: ColumnSummary


@dataclass(frozen=True, eq=False)
class Recipe:
    """What is known of a model before its rows are summed: made by `recipe_of`.

    Attributes
    ----------
    plan : Plan
        What the formula asks for.
    reader : Reader
        Reads batches by the formula's variables.
    frame : Frame
        The variables without rows.
    fixed : FixedEffects
        All columns of X.
    terms : tuple of ReTerm
        Random terms without rows, in the formula's order.
    columns : tuple of str
        Columns of the source that are read.
    control : LmerControl
        Levels of the checks.
    contrasts : mapping or None
        Codings of factors, as given.
    notes : tuple of LmmWarning
        What the formula and the contrasts tell.
    """

    plan: Plan
    reader: Reader
    frame: Frame
    fixed: FixedEffects
    terms: tuple[ReTerm, ...]
    columns: tuple[str, ...]
    control: LmerControl
    contrasts: Mapping[str, object] | None
    notes: tuple[LmmWarning, ...]

    @property
    def options(self) -> dict[str, Any]:
        """Options that say how rows are made of data, by name."""
        own = {field.name: getattr(self.reader.rows, field.name) for field in fields(RowArguments)}
        return {**own, "contrasts": self.contrasts, "control": self.control}

    @cached_property
    def groups(self) -> tuple[tuple[str, ...], ...]:
        """The grouping factors, as the variables that they cross."""
        return tuple(dict.fromkeys(_recipe(term).group for term in self.terms))

    @cached_property
    def group_of(self) -> tuple[int, ...]:
        """Number of the grouping factor of each term."""
        return tuple(self.groups.index(_recipe(term).group) for term in self.terms)

    def batches(self, source: Source) -> Iterator[Batch]:
        """Model rows of a source, batch by batch.

        Raises
        ------
        DataError
            The content of a batch does not suit the model; it is named with its file and place.
        """
        any_row = False
        for portion in source.batches(self.columns):
            batch = self.batch(portion)
            any_row = any_row or len(batch.X) > 0
            yield batch
        if not any_row:
            raise DataError(f"0 (non-NA) cases: no row of {source.label} is selected and complete")

    def batch(self, table: Table) -> Batch:
        """Model rows of one batch."""
        with placed(table):
            return self._batch(table)

    def _batch(self, table: Table) -> Batch:
        read = self.reader.read(table)
        rows = read.choice.rows
        start = table.start if isinstance(table, Portion) else 0
        columns = {text: take(column, rows) for text, column in read.columns.items()}
        frame = replace(self.frame, columns=columns, rows=rows + start, selected=rows + start)
        X = _finite(self.fixed.layout, frame)
        made: dict[int, Matrix] = {}
        for term in self.terms:
            layout = _recipe(term).layout
            if id(layout) not in made:
                made[id(layout)] = _finite(layout, frame)
        Z = tuple(made[id(_recipe(term).layout)][:, _recipe(term).kept] for term in self.terms)
        grouped = [read.keys(group) for group in self.groups]
        assert self.plan.response is not None
        y = linear_response(self.plan.formula, self.plan.response, frame)
        response = Response.of(y, read.choice.weights, read.choice.offset)
        return Batch(
            X,
            Z,
            self.group_of,
            tuple(codes for _, codes in grouped),
            tuple(keys for keys, _ in grouped),
            response,
            table.n,
            read.n_selected,
            self._summary(table, rows, columns, X, Z, response.offset),
        )

    def _summary(
        self,
        table: Table,
        rows: IntVector,
        columns: Mapping[str, Column],
        X: Matrix,
        Z: Sequence[Matrix],
        offset: Vector,
    ) -> ColumnSummary:
        """Summary of the rows used of a batch."""

        def model(some: IntVector) -> Matrix:
            taken = {text: take(columns[text], some) for text in self.fixed.term_factors}
            return self._indicators.matrix(taken, len(some))

        series = {name: table.series(name) for name in self._fixed_columns}
        if len(rows) < table.n:
            series = {name: column.iloc[rows] for name, column in series.items()}
        arrays = {name: column.array for name, column in series.items()}
        frame = pd.DataFrame(arrays, index=pd.RangeIndex(len(rows)), copy=False)
        return ColumnSummary.of(frame, X, Z, model, offset)

    @cached_property
    def _fixed_columns(self) -> tuple[str, ...]:
        """Columns of the source that the fixed part reads."""
        used = [self.fixed.variables.nodes[text] for text in self.fixed.term_factors]
        return column_names(used, Table(pd.DataFrame(columns=list(self.columns))))

    @cached_property
    def _indicators(self) -> Layout:
        """The fixed part with all factors coded by indicators."""
        return lay_out_indicators(self.fixed.layout, self.frame.columns)

    def order_of(self, keys: Sequence[Keys]) -> tuple[int, ...]:
        """Positions that put the terms into the order of the fit, by numbers of levels."""
        sizes = [len(keys[group]) for group in self.group_of]
        return sorted_by_levels(range(len(sizes)), sizes)

    def design(
        self,
        keys: Sequence[Keys],
        kept: IntVector,
        n: int,
        n_selected: int,
        summary: ColumnSummary,
    ) -> Design:
        """The design of all rows, which holds none of them.

        Parameters
        ----------
        keys : sequence of Keys
            Levels of the grouping factors, of all batches.
        kept : (p,) int array
            Columns of X that are linearly independent.
        n, n_selected : int
            Numbers of rows used, and of rows selected.
        summary : ColumnSummary
            What later results ask of the columns.

        Raises
        ------
        DataError
            A check at level ``"stop"`` does not pass.
        """
        sorted_keys = [_sorted_names(own) for own in keys]
        terms = [
            _without_rows(term, sorted_keys[group], columns)
            for term, group, columns in zip(
                self.terms, self.group_of, self._columns(n, summary), strict=True
            )
        ]
        control = self.control
        notes = check_identifiers(self._inexact(keys))
        notes += check_groups(terms, n, control) + self.notes
        fixed = replace(self.fixed, kept=kept)
        notes += check_rank(len(fixed.full_names), fixed.dropped, control)
        notes += check_scales(summary.deviations(kept), control) if n > 1 else ()
        columns = {text: _unread(column, n) for text, column in self.frame.columns.items()}
        rows, selected = Unread((n,)), Unread((n_selected,))
        frame = replace(
            self.frame,
            columns=columns,
            rows=rows,  # type: ignore[arg-type]
            selected=selected,  # type: ignore[arg-type]
            summary=summary,
        )
        ordered = tuple(terms[i] for i in self.order_of(keys))
        return Design(self.plan.formula, Unread((n, len(kept))), ordered, fixed, frame, notes)  # type: ignore[arg-type]

    def _columns(self, n: int, summary: ColumnSummary) -> list[Summed]:
        """What stands for the columns of the terms."""
        shapes = [(n, term.size) for term in self.terms]
        return [Summed(*known) for known in zip(shapes, summary.random, strict=True)]

    def _inexact(self, keys: Sequence[Keys]) -> list[str]:
        """Grouping factors whose numbers are doubles that are not told apart."""
        names = {group.text for group in self.reader.groups if group.column == group.text}
        parts = {part.name: part for own in keys for part in own.parts}
        return [
            name
            for name, part in parts.items()
            if name in names and part.values.dtype.kind == "f" and lost(part.values)
        ]


def _recipe(term: ReTerm) -> Any:
    assert term.recipe is not None
    return term.recipe


def _finite(layout: Layout, frame: Frame) -> Matrix:
    matrix = layout.matrix(frame.columns, frame.n)
    check_finite(matrix, layout.names, frame)
    return matrix


def _sorted_names(keys: Keys) -> tuple[np.ndarray, np.ndarray | None]:
    """Names of the levels in the order of a fit, and with escapes where these differ."""
    order = keys.order()
    labels = keys.labels[order]
    if keys.labels is keys.escaped or (keys.labels == keys.escaped).all():
        return labels, None
    return labels, keys.escaped[order]


def _without_rows(
    term: ReTerm, names: tuple[np.ndarray, np.ndarray | None], columns: Unread
) -> ReTerm:
    return replace(
        term,
        levels=names[0],
        keys=names[1],
        codes=Unread((len(columns),)),  # type: ignore[arg-type]
        Z=columns,  # type: ignore[arg-type]
    )


def _unread(column: Column, n: int) -> Any:
    """A variable that has n rows, none of which is there."""
    if isinstance(column, Factor):
        return replace(column, codes=Unread((n,)))  # type: ignore[arg-type]
    if isinstance(column, Basis):
        return replace(column, values=Unread((n, column.values.shape[1])))  # type: ignore[arg-type]
    return Unread((n,))


def recipe_of(
    formula: str | Formula,
    source: Source,
    *,
    weights: str | None = None,
    offset: str | None = None,
    subset: str | None = None,
    na_action: str = "omit",
    contrasts: Mapping[str, object] | None = None,
    control: LmerControl | None = None,
    extra_namespace: Mapping[str, Callable[..., Any]] | None = None,
) -> Recipe:
    """Recipe of a model's rows; reads the source before where the formula needs it.

    A formula of numbers and grouping factors needs no earlier reading. Factors of the fixed part
    take one, for their levels; transforms that learn from all rows, such as ``scale(x)``, take one
    of their columns, which are held in whole meanwhile.

    Parameters
    ----------
    formula : str or Formula
        Mixed-model formula.
    source : Source
        The data.
    weights, offset : str, optional
        Names of columns.
    subset : str, optional
        A condition, or a column's name.
    na_action, contrasts, control, extra_namespace
        As for `lmm.lmer`.

    Raises
    ------
    FormulaError
        The formula does not parse.
    DataError
        The source does not suit the formula, or can be read once only but is needed twice.

    Examples
    --------
    >>> import io, pyarrow as pa
    >>> table = pa.table({"y": [1.0, 2, 4, 3, 5, 6], "g": list("aaabbb")})
    >>> source = Source.of(pa.RecordBatchReader.from_batches(table.schema, table.to_batches(2)))
    >>> recipe = recipe_of("y ~ 1 + (1 | g)", source)
    >>> [batch.X.shape for batch in recipe.batches(source)]
    [(6, 1)]
    """
    rows = RowArguments(weights, offset, subset, na_action)
    heading = source.heading
    plan = plan_for(parse_formula(formula), heading, False)
    learned = learn(plan, source, rows, own_functions(extra_namespace))
    return recipe_from(learned, heading, contrasts, control)


def recipe_from(
    learned: Learned,
    heading: Table,
    contrasts: Mapping[str, object] | None = None,
    control: LmerControl | None = None,
) -> Recipe:
    """Recipe of a model's rows, of what the first look at the data found.

    Parameters
    ----------
    learned : Learned
        What was found.
    heading : Table
        Columns of the data.
    contrasts, control
        As for `lmm.lmer`.

    Raises
    ------
    FormulaError, DataError
        The formula does not suit what was found.
    """
    reader, plan = learned.reader, learned.reader.plan
    frame = _without_data(learned)
    if plan.response is not None:
        linear_response(plan.formula, plan.response, frame)
    plan = plan_for(written_out(plan, frame), heading, False)
    terms = build_random(plan.bars, frame)
    chosen, ignored = choose_contrasts(contrasts or {}, plan.fixed, frame.columns, heading.names)
    layout = lay_out(plan.fixed, frame.columns, chosen)
    fixed = FixedEffects(layout, np.arange(len(layout.names)), reader.variables, plan.offsets)
    notes = double_bar_notes(plan, frame) + ignored
    return Recipe(
        plan,
        replace(reader, plan=plan),
        frame,
        fixed,
        terms,
        tuple(reader.columns_of(heading)),
        LmerControl.of(control) or DEFAULT_CONTROL,
        contrasts,
        notes,
    )


def _without_data(learned: Learned) -> Frame:
    """Frame of the variables without rows."""
    none = np.zeros(0, dtype=np.intp)
    reader = learned.reader
    return Frame(
        learned.columns,
        {group.text: Factor(none, ()) for group in reader.groups},
        none,
        none,
        None,
        reader.rows.na_action,
        reader.variables,
    )
