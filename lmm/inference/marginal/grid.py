"""The reference grid: combinations of the predictors at which a model's mean is looked at.

Factors contribute their levels, covariates their mean (Searle, Speed & Milliken, 1980, Am. Stat.
34, 216-221). As in R's emmeans, a covariate with two values keeps both, and a number that the
formula turns into a factor keeps all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from lmm._types import IntMatrix, IntVector, Matrix, Vector, cached_property
from lmm.design.absent import refuse
from lmm.design.columns import Column, Factor, Identifiers, drop_unused_levels
from lmm.design.evaluate import Evaluator
from lmm.design.fixed import FixedEffects
from lmm.design.matrix_columns import parts_of
from lmm.errors import DataError, nearest
from lmm.fitted import EstimatedModel
from lmm.inference.marginal.combinations import Combinations, checked
from lmm.inference.marginal.known import KnownColumn, KnownColumns
from lmm.inference.marginal.nesting import Nesting, combinations_of, detected, read_nesting
from lmm.inference.marginal.regressed_covariate import RegressedCovariate
from lmm.language.parse import parse_tilde
from lmm.language.tree import Call, Node, variables

DETECT = "detect"
FACTOR_CALLS = ("factor", "as.factor", "ordered", "as.ordered")
# A covariate with no more distinct values than this keeps them all.
KEPT_VALUES = 2
# A number made a factor keeps all its values up to this many, then one for each level.
MADE_VALUES = 100
# Numbers in the model rows of a grid.
LARGEST = 2e8
# Step for slopes, as a part of the covariate's standard deviation: wide enough to round little,
# narrow enough that a spline or polynomial bends little.
STEP = 1e-4
# The same for coefficients of higher degree, from more points.
WIDE_STEP = 1e-2

Level = str | float | bool
Reduction: TypeAlias = Callable[[Vector], ArrayLike] | None
Keep: TypeAlias = int | str | Sequence[int | str]


class AxisKind(StrEnum):
    """What the values of a predictor are."""

    FACTOR = "factor"
    LOGICAL = "logical"
    NUMBERED = "numbered"  # numbers that are a factor's levels, as in factor(x)
    MADE = "made"  # numbers that the formula makes a factor of otherwise, as in cut(x, 3)
    COVARIATE = "covariate"

    @property
    def dtype(self) -> type:
        """Type of a column of them."""
        return {AxisKind.FACTOR: object, AxisKind.LOGICAL: bool}.get(self, float)

    @property
    def is_free(self) -> bool:
        """Whether a mean can be had at any number."""
        return self in (AxisKind.MADE, AxisKind.COVARIATE)


@dataclass(frozen=True, eq=False)
class Axis:
    """One predictor of the grid.

    Attributes
    ----------
    name : str
        Column of the data.
    levels : tuple
        Labels of a factor (truth values: False, True), or numbers.
    kind : AxisKind
        What they are.
    codes : (n,) int array or None
        Level of each row of the data, -1 for none; None for a covariate of which all rows count
        for each of its values.
    spread : float
        Standard deviation of a covariate.
    """

    name: str
    levels: tuple[Level, ...]
    kind: AxisKind
    codes: IntVector | None
    spread: float = 0.0

    def values(self) -> np.ndarray:
        """Levels as a column of data."""
        return np.array(self.levels, dtype=self.kind.dtype)

    @property
    def has_levels(self) -> bool:
        """Whether its values are levels, which may be nested in others; numbers occur by chance."""
        measured = self.kind == AxisKind.COVARIATE and len(self.levels) > KEPT_VALUES
        return self.codes is not None and not measured

    def at(self, levels: Sequence[Any]) -> Axis:
        """The axis at other levels.

        Raises
        ------
        DataError
            There are none, or the factor has no such level.
        """
        if not len(levels):
            raise DataError(f"'at' gives no value for {self.name!r}")
        is_number = self.kind.dtype is float
        chosen = tuple(
            _number(self.name, level) if is_number else self._level(level) for level in levels
        )
        unknown = [level for level in chosen if level not in self.levels]
        if self.kind.is_free and (unknown or self.codes is None):
            return replace(self, levels=chosen, codes=None)
        if unknown:
            hint = nearest(str(unknown[0]), map(str, self.levels))
            raise DataError(f"{self.name!r} has no level {unknown[0]!r}.{hint}")
        assert self.codes is not None
        position = {level: i for i, level in enumerate(chosen)}
        new = np.array([*(position.get(level, -1) for level in self.levels), -1])
        return replace(self, levels=chosen, codes=new[self.codes])

    def _level(self, level: Any) -> Level:
        return level if level in self.levels else str(level)


def _number(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise DataError(f"{name!r} is a number: it cannot be {value!r}") from None


@dataclass(frozen=True, eq=False)
class ReferenceGrid:
    """Model rows over the combinations of the predictors that there are.

    Attributes
    ----------
    fixed : FixedEffects
        The model's fixed effects.
    axes : tuple of Axis
        The k predictors.
    offset : float
        Mean of the model's offset, a part of every mean.
    nesting : Nesting
        Predictors nested in others.
    is_detected : bool
        Whether it was found in the data.
    frequencies : (n,) array or None
        Rows of the data that each row of the axes' codes stands for; one each by default.
    regressed : mapping of str to RegressedCovariate
        Covariates that stand at their mean given other predictors.
    """

    fixed: FixedEffects
    axes: tuple[Axis, ...]
    offset: float
    nesting: Nesting
    is_detected: bool
    frequencies: Vector | None = None
    regressed: Mapping[str, RegressedCovariate] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the predictors."""
        return tuple(axis.name for axis in self.axes)

    @cached_property
    def cells(self) -> Combinations:
        """The r combinations, the first predictor's levels changing fastest.

        Raises
        ------
        DataError
            There are too many.
        """
        sizes = [len(axis.levels) for axis in self.axes]
        if not self.nesting:
            self._check_size(float(np.prod(sizes)))
        observed, counts = _observed(self.axes, self.frequencies)
        codes = combinations_of(self.names, sizes, observed, self.nesting)
        self._check_size(len(codes))
        known = [axis.codes is not None for axis in self.axes]
        return Combinations(
            self.names, codes, _counts(codes[:, known], observed[:, known], counts), self.nesting
        )

    def _check_size(self, rows: float) -> None:
        if rows * len(self.fixed.full_names) > LARGEST:
            raise DataError(
                f"the reference grid has {rows:.3g} combinations of {', '.join(self.names)}: "
                "choose some of their values by at="
            )

    def rows(self, **shifts: float) -> Matrix:
        """Rows of the model matrix, dropped columns too, (r, P); covariates shifted.

        What the formula makes a factor of stays as it is without the shift.
        """
        wanted = self.fixed.layout.predictor.variables
        size = len(self.cells.codes)
        columns = self._columns({}, wanted)
        if shifts:
            moved = self._columns(shifts, wanted)
            columns = {
                text: column if isinstance(column, Factor) else moved[text]
                for text, column in columns.items()
            }
        return self.fixed.layout.matrix(columns, size)

    def _columns(self, shifts: Mapping[str, float], wanted: Sequence[str]) -> dict[str, Column]:
        if not wanted:
            return {}
        data = {name: self.values(name) for name in self.names}
        data |= {name: data[name] + shift for name, shift in shifts.items()}
        return self.fixed.variables.on(data, wanted)[0]

    def values(self, name: str) -> np.ndarray:
        """Values (r,) of a predictor at the combinations."""
        if name not in self.regressed:
            axis = self.axis(name)
            return np.asarray(axis.values()[self.cells.codes[:, self.names.index(name)]])
        regressed = self.regressed[name]
        data = {one: self.values(one) for one in regressed.predictors}
        return regressed.means(data, len(self.cells.codes))

    def differences(self, text: str, degree: int = 1) -> list[tuple[Vector, Matrix]]:
        """Rows of the model around the combinations, and weights that make a derivative of them.

        Parameters
        ----------
        text : str
            A covariate, an expression of one such as ``log(x)``, or a matrix of the data, whose
            columns move together.
        degree : int
            Which coefficient: 1 for the derivative, 2 for half the second one.

        Returns
        -------
        list of (r,) and (r, P) arrays
            Weights and rows, of whose products the sum is the derivative, over ``degree!``.

        Raises
        ------
        DataError
            The covariate is not a number of the fixed part, or the expression is not one of one
            covariate.
        """
        names = parts_of(text, self.names)  # all columns of a matrix, which move together
        if not names:
            names = (text if text in self.names else self._argument(text),)
        axes = [self.axis(name) for name in names]
        if not all(axis.kind.is_free for axis in axes):
            raise DataError(f"{text!r} is a factor of the model: it has no slope")
        spread = max(axis.spread for axis in axes)
        spread = spread or max(1.0, float(np.max(np.abs(axes[0].values()))))
        if degree == 1:
            step = STEP * spread
            run = self._value(text, names[0], step) - self._value(text, names[0], -step)
            return [(sign / run, self._moved(names, sign * step)) for sign in (1.0, -1.0)]
        # The interpolating polynomial through more points than its degree needs.
        points = np.arange(-degree - 1.0, degree + 2.0)
        weights = np.linalg.inv(np.vander(points, increasing=True))[degree]
        step = WIDE_STEP * spread
        each = np.ones(len(self.cells.codes)) / step**degree
        return [
            (w * each, self._moved(names, step * t))
            for w, t in zip(weights.tolist(), points.tolist(), strict=True)
        ]

    def _moved(self, names: Sequence[str], shift: float) -> Matrix:
        return self.rows(**dict.fromkeys(names, shift))

    def _argument(self, text: str) -> str:
        names = [name for name in variables(parse_tilde(f"~ {text}")[1]) if name in self.names]
        if len(names) != 1:
            raise DataError(
                f"slopes are those in one covariate, or in a function of one, not in {text!r}. "
                f"Known: {', '.join(self.names)}."
            )
        return names[0]

    def _value(self, text: str, name: str, shift: float) -> Vector:
        """A covariate or a function of it, shifted, in each cell."""
        values = self.values(name) + shift
        if text == name or parts_of(text, self.names):
            return np.asarray(values)
        known = self.fixed.variables
        node = parse_tilde(f"~ {text}")[1]
        return np.asarray(
            Evaluator({name: values}, known.state, text, known.own).value(node), dtype=float
        )

    def axis(self, name: str) -> Axis:
        """The predictor of that name.

        Raises
        ------
        DataError
            The fixed part has no such predictor.
        """
        return self.axes[self.names.index(checked(name, self.names))]


def _observed(axes: Sequence[Axis], frequencies: Vector | None = None) -> tuple[IntMatrix, Vector]:
    """Combinations of levels (c, k) in the data, -1 for none, and how many rows have each."""
    known = [axis.codes for axis in axes if axis.codes is not None]
    if not known:
        return np.zeros((1, len(axes)), dtype=np.intp), np.ones(1)
    key = np.zeros(len(known[0]), dtype=np.intp)
    for axis in axes:
        if axis.codes is not None:  # renumbered, so that keys stay small
            _, key = np.unique(key * (len(axis.levels) + 1) + axis.codes + 1, return_inverse=True)
    _, first, place, counts = np.unique(
        key, return_index=True, return_inverse=True, return_counts=True
    )
    if frequencies is not None:
        counts = np.bincount(place, frequencies)
    zeros = np.zeros(len(first), dtype=np.intp)
    columns = [zeros if axis.codes is None else axis.codes[first] for axis in axes]
    return np.column_stack(columns), counts.astype(float)


def _counts(codes: IntMatrix, observed: IntMatrix, counts: Vector) -> Vector:
    """Rows of the data in each combination (r, k)."""
    found: dict[tuple[int, ...], float] = {}
    for row, count in zip(map(tuple, observed.tolist()), counts.tolist(), strict=True):
        found[row] = found.get(row, 0.0) + count
    return np.array([found.get(tuple(row), 0.0) for row in codes.tolist()])


def reference_grid(
    source: EstimatedModel,
    at: Mapping[str, Any] | None = None,
    reduce: Reduction | Mapping[str, Reduction] = np.mean,
    nesting: str | Mapping[str, str | Sequence[str]] | None = DETECT,
    keep: Keep = KEPT_VALUES,
    regressions: Sequence[str] = (),
) -> ReferenceGrid:
    """Reference grid of a model.

    Parameters
    ----------
    source : EstimatedModel
        The model.
    at : mapping, optional
        Levels or values to use instead, by predictor.
    reduce : callable, None, or mapping of these
        Value or values that stand for a covariate, from its values (n,); None for all of them. By
        predictor, the mean for others.
    nesting : str, mapping or None
        What is nested in what; by default what the data show.
    keep : int, str, or sequence of these
        Covariates of which all values are kept, and up to how many values all covariates keep
        them: the largest number, also as text; 1 without any.
    regressions : sequence of str
        Formulas such as ``"x ~ a"`` of covariates that stand at their mean given others.

    Raises
    ------
    DataError
        `at` or `nesting` names what is not a predictor, or a level that a factor does not have.
    """
    known = KnownColumns.of(source)
    names = tuple(known.columns)
    kept, at_most = _kept(keep, names)
    reductions = _reductions(reduce, names) | dict.fromkeys(kept)
    axes = {
        name: _axis(name, one, reductions[name], at_most) for name, one in known.columns.items()
    }
    regressed = [RegressedCovariate.of(text, source, names) for text in regressions]
    _check_order(regressed)
    for one in regressed:
        axes[one.name] = _alone(axes[one.name])
    nested = _nesting(nesting, tuple(axes.values()))
    if not isinstance(at, Mapping | None):
        raise TypeError(f"at must be a mapping of predictors to values, not {type(at).__name__}")
    for name, levels in (at or {}).items():
        axis = axes[checked(name, tuple(axes))]
        axes[name] = axis.at(np.atleast_1d(np.asarray(levels, dtype=object)).tolist())
    return ReferenceGrid(
        source.fit.matrices.fixed,
        tuple(axes.values()),
        known.offset,
        _of_known(nested, axes),
        nesting == DETECT,
        known.frequencies,
        {one.name: one for one in regressed if one.name not in (at or {})},
    )


def _reductions(
    reduce: Reduction | Mapping[str, Reduction], names: Sequence[str]
) -> dict[str, Reduction]:
    """What stands for each covariate."""
    if not isinstance(reduce, Mapping):
        return dict.fromkeys(names, reduce)
    return dict.fromkeys(names, np.mean) | {checked(k, names): one for k, one in reduce.items()}


def _kept(keep: Keep, names: Sequence[str]) -> tuple[list[str], int]:
    """Covariates that are kept, and the number of values up to which all are."""
    given = [keep] if isinstance(keep, str | int) else list(keep)
    numbers = [int(one) for one in given if str(one).isdecimal()]
    return [checked(one, names) for one in map(str, given) if not one.isdecimal()], max(
        [1, *numbers]
    )


def _check_order(regressed: Sequence[RegressedCovariate]) -> None:
    names = [one.name for one in regressed]
    if len(set(names)) < len(names) or any(set(one.predictors) & set(names) for one in regressed):
        raise DataError(
            "cov_reduce: a covariate is predicted once, by what is not predicted itself, not "
            f"{', '.join(names)} by each other"
        )


def _alone(axis: Axis) -> Axis:
    """A covariate's axis with one value, whatever that is."""
    if axis.kind != AxisKind.COVARIATE:
        raise DataError(f"{axis.name!r} is a factor of the model: it has no mean")
    return replace(axis, levels=(float(np.mean(axis.values())),), codes=None)


def _nesting(
    given: str | Mapping[str, str | Sequence[str]] | None, axes: tuple[Axis, ...]
) -> Nesting:
    names = tuple(axis.name for axis in axes)
    if not isinstance(given, str | Mapping | None):
        raise TypeError(f"nesting must be text, a mapping or None, not {type(given).__name__}")
    if given != DETECT:
        return read_nesting(given, lambda name: checked(name, names))
    sizes = [len(axis.levels) if axis.has_levels else 1 for axis in axes]
    return detected(names, _observed(axes)[0], sizes)


def _of_known(nesting: Nesting, axes: Mapping[str, Axis]) -> Nesting:
    """Nesting among predictors whose levels are those of the data."""
    known = {name for name, axis in axes.items() if axis.codes is not None}
    inside = {
        name: tuple(other for other in outer if other in known)
        for name, outer in nesting.items()
        if name in known
    }
    return {name: outer for name, outer in inside.items() if outer}


def _axis(name: str, known: KnownColumn, reduce: Reduction, at_most: int) -> Axis:
    raw, makers = known.raw, known.makers
    column = raw.plain(bool(makers)) if isinstance(raw, Identifiers) else raw
    if isinstance(column, Factor):
        factor = drop_unused_levels(column)
        if factor.is_logical:
            return Axis(name, (False, True), AxisKind.LOGICAL, factor.codes)
        return Axis(name, factor.levels, AxisKind.FACTOR, factor.codes)
    spread = float(np.std(known.numbers))
    if column is None:
        if makers or reduce is None:
            refuse()
        return Axis(name, _reduced(known, reduce), AxisKind.COVARIATE, None, spread)
    assert isinstance(column, np.ndarray)
    found, codes = np.unique(column, return_inverse=True)
    if makers:
        kind = AxisKind.NUMBERED if all(map(_is_numbering, makers)) else AxisKind.MADE
        if kind == AxisKind.MADE and len(found) > MADE_VALUES:
            some, positions = _one_for_each(column, makers.values())
            return Axis(name, tuple(some.tolist()), kind, positions, spread)
        return Axis(name, tuple(found.tolist()), kind, codes, spread)
    if reduce is None or len(found) <= at_most:
        return Axis(name, tuple(found.tolist()), AxisKind.COVARIATE, codes, spread)
    return Axis(name, _reduced(known, reduce), AxisKind.COVARIATE, None, spread)


def _reduced(known: KnownColumn, reduce: Callable[[Vector], ArrayLike]) -> tuple[float, ...]:
    """Values that stand for a covariate."""
    values = np.atleast_1d(np.asarray(reduce(known.numbers), dtype=float))
    return tuple(values.tolist())


def _is_numbering(node: Node) -> bool:
    return isinstance(node, Call) and node.function in FACTOR_CALLS


def _one_for_each(column: Vector, factors: Iterable[Factor]) -> tuple[Vector, IntVector]:
    """A middle value for each combination of factors' levels, and each row's."""
    key = np.zeros(len(column), dtype=np.intp)
    for factor in factors:
        _, key = np.unique(key * (len(factor.levels) + 1) + factor.codes + 1, return_inverse=True)
    order = np.lexsort((column, key))
    starts = np.searchsorted(key[order], np.arange(key.max() + 2))
    middles = column[order[(starts[:-1] + starts[1:] - 1) // 2]]
    found, position = np.unique(middles, return_inverse=True)
    return found, position[key]
