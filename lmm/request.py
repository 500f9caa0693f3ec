"""What was asked for: formula, data and options of a fit, as one value."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Self

import numpy as np
import pandas as pd

from lmm import optimize, pls
from lmm._types import Vector, cached_property
from lmm.criterion import ProfiledCriterion
from lmm.design import LmerControl, ModelMatrices, absent, build_matrices
from lmm.design.choice import RowArgument, row_numbers
from lmm.design.columns import numbers_of
from lmm.design.functions.own import own_functions
from lmm.design.table import Table
from lmm.design.variables import column_names
from lmm.errors import DataError, WeightsWarning, nearest, warn
from lmm.family import Family, family_named
from lmm.formula import Formula, parse_formula, parse_one_sided, parse_two_sided
from lmm.language.parse import parse_tilde
from lmm.language.tree import Name, variables
from lmm.laplace import LaplaceCriterion

if TYPE_CHECKING:
    from lmm.criterion.model_sums import ModelSums
    from lmm.design.source import Source


@dataclass(frozen=True, eq=False)
class Request:
    """How a model was asked for: what a print shows, and what `update` starts from.

    Made by `of`, which keeps copies: later changes of the user's data and arrays change nothing.

    Attributes
    ----------
    formula : Formula
        The parsed formula.
    table : Table or None
        The data; None for a model that was put together from its parts.
    reml, weights, offset, subset, na_action, contrasts, solver, optimizer, control
        Options of `lmm.lmer`.
    extra_namespace, sigma
        More of them.
    response : (n,) array, optional
        What `refit` put in place of the data's response.
    source : Source or ModelSums, optional
        What is read batch by batch, or has been, in place of the data.
    """

    formula: Formula
    table: Table | None
    reml: bool = True
    weights: RowArgument = None
    offset: RowArgument = None
    subset: RowArgument = None
    na_action: str = "omit"
    contrasts: Mapping[str, object] | None = None
    solver: str | pls.Solver = "auto"
    optimizer: str | optimize.Optimizer = "auto"
    control: LmerControl | None = None
    extra_namespace: Mapping[str, Callable[..., Any]] | None = None
    response: Vector | None = None
    source: Source | ModelSums | None = None
    sigma: float | None = None

    def __post_init__(self) -> None:
        if self.reml not in (True, False):
            raise TypeError(f"reml must be True or False, not {self.reml!r}.")
        if self.sigma is not None:
            object.__setattr__(self, "sigma", _known_sigma(self.sigma))
        if self.contrasts is not None and not isinstance(self.contrasts, Mapping):
            raise TypeError(
                "contrasts must be a mapping from factors to contrasts, such as "
                f"{{'f': 'contr.sum'}}, not {type(self.contrasts).__name__}."
            )
        own_functions(self.extra_namespace)
        pls.named(self.solver)
        optimize.named(self.optimizer)
        object.__setattr__(self, "control", LmerControl.of(self.control))

    @classmethod
    def of(cls, formula: str | Formula, data: Any, **options: Any) -> Self:
        """Request with a copy of the data as they are now.

        Parameters
        ----------
        formula : str or Formula
            Mixed-model formula.
        data : table
            As `lmm.lmer` takes it.
        **options
            Those of the attributes.

        Raises
        ------
        FormulaError, DataError, TypeError, ValueError
            The formula does not parse, the data are no table, or an option is unknown or of a
            kind that it cannot have.
        """
        options = cls._own(options)
        return cls(cls.parsed(formula), **cls._read(data), **options)

    @classmethod
    def parsed(cls, formula: str | Formula) -> Formula:
        """A formula with random terms, or without, as the model needs it."""
        return parse_formula(formula) if cls.mixed else parse_two_sided(formula)

    @classmethod
    def _read(cls, data: Any) -> dict[str, Any]:
        """The data as they are now, or where they come from."""
        source = None if isinstance(data, Table | pd.DataFrame | Mapping) else _source_of(data)
        if source is not None:
            return {"table": None, "source": source}
        return {"table": Table.of(data).frozen(), "source": None}

    def changed(self, formula: Formula, data: Any = None, **options: Any) -> Self:
        """Request for another formula, other data or options.

        What `refit` put in place of the response stays, unless data or response change.
        """
        if self.source is None and self.table is None:
            refuse()
        read = self._read(data) if data is not None else {}
        same = data is None and formula.response == self.formula.response
        return replace(
            self,
            formula=formula,
            **read,
            response=self.response if same else None,
            **self._own(options),
        )

    #: What fits it, as messages call it.
    function: ClassVar[str] = "lmer"
    #: Fields that are no arguments.
    without: ClassVar[tuple[str, ...]] = ()
    #: Whether the formula has random terms.
    mixed: ClassVar[bool] = True

    @classmethod
    def _own(cls, options: Mapping[str, Any]) -> dict[str, Any]:
        """Known options, with copies of arrays."""
        known = cls.__dataclass_fields__.keys() - {*_NO_OPTIONS, *cls.without}
        if not known.issuperset(options):
            name = next(name for name in options if name not in known)
            hint = nearest(name, [f.name for f in fields(cls) if f.name in known])
            raise TypeError(f"{cls.function} has no argument {name!r}.{hint}")
        given = [name for name in _ARRAYS if options.get(name) is not None]
        return {**options, **{name: copy.deepcopy(options[name]) for name in given}}

    @property
    def options(self) -> dict[str, Any]:
        """Options by name, as given."""
        hidden = (*_NO_OPTIONS, *(() if self.mixed else self.without))
        known = (f.name for f in fields(self) if f.name not in hidden)
        return {name: getattr(self, name) for name in known}

    def build(self, *, planned: bool = False) -> ModelMatrices:
        """Build the model's matrices; those of a planned study need no response."""
        matrices = build_matrices(
            self.formula,
            self._table,
            weights=self.weights,
            offset=self.offset,
            subset=self.subset,
            na_action=self.na_action,
            contrasts=self.contrasts,
            control=self.control,
            planned=planned,
            family=self.conditional,
            extra_namespace=self.extra_namespace,
            sigma=self.sigma,
            mixed=self.mixed,
        )
        if self.response is None:
            return matrices
        return matrices.with_response(matrices.frame.response_values(self.response))

    @property
    def conditional(self) -> Family | None:
        """Conditional distribution of the response; None for a linear model."""
        return None

    def criterion(self) -> ProfiledCriterion:
        """The criterion to minimize. Without fixed effects REML is ML, and is called so."""
        if self.source is not None:
            return self.sums.criterion(self.reml, self.solver, self.sigma)
        matrices = self.build()
        reml = self.reml and matrices.p > 0
        return ProfiledCriterion(matrices, reml, self.solver, sigma=self.sigma)

    @cached_property
    def sums(self) -> ModelSums:
        """Sums over the rows of the source, which is read once.

        Raises
        ------
        DataError
            The source does not suit the formula, or sums are those of another model.
        """
        from lmm.criterion.model_sums import ModelSums
        from lmm.design.batches import recipe_of

        source = self.source
        assert source is not None
        asked: dict[str, Any] = {name: getattr(self, name) for name in _OF_ROWS}
        if isinstance(source, ModelSums):
            source.check(self.formula, {k: v for k, v in asked.items() if v not in (None, "omit")})
            return source
        return ModelSums.of(recipe_of(self.formula, source, **asked), source)

    @property
    def _table(self) -> Table:
        if self.source is not None:
            absent.refuse()
        return refuse() if self.table is None else self.table

    @property
    def heading(self) -> Table:
        """A table with the columns of the data; it need not have their rows."""
        return self._table if self.source is None else self.source.heading

    @property
    def data(self) -> Any:
        """The data, of the user's kind (pandas for a dict); None where there are none."""
        return None if self.table is None else self.table.to_native()

    @property
    def data_name(self) -> str | None:
        """Name of the table, where it has one (``data.attrs["name"]``)."""
        return None if self.table is None else self.table.label

    def offset_for(self, newdata: Any) -> Vector | None:
        """The column of new data, if there are any, that was the fit's offset argument.

        Raises
        ------
        DataError
            The offset was given as an array, or the column is missing.
        """
        return None if newdata is None else offset_of(self.offset, newdata)

    def weights_for(self, newdata: Any) -> Vector | None:
        """The column of new data, if there are any, that held the fit's weights.

        Raises
        ------
        DataError
            A weight is not positive and finite.

        Warns
        -----
        WeightsWarning
            New rows have no such column, or the fit's weights were an array: they count as one.
        """
        if self.weights is None or newdata is None:
            return None
        table = Table.of(newdata)
        if not (isinstance(self.weights, str) and self.weights in table.names):
            warn(WeightsWarning(_UNKNOWN_WEIGHTS))
            return None
        weights = numbers_of(table.column(self.weights), self.weights)
        if not ((weights > 0) & np.isfinite(weights)).all():
            raise DataError(f"weights of new rows must be positive and finite: see {self.weights}")
        return weights

    def text(self, argument: str) -> str | None:
        """An argument as a print shows it: a name or expression as typed, values in brief."""
        value = getattr(self, argument)
        if value is None or isinstance(value, str):
            return value
        return str(getattr(value, "name", None) or argument)


@dataclass(frozen=True, eq=False)
class GeneralizedRequest(Request):
    """How a generalized model was asked for.

    Attributes
    ----------
    family, nagq, information
        Options of `lmm.glmer`, beside those of `Request`.
    """

    family: Any = "binomial"
    nagq: int = 1
    information: str | None = None

    function = "glmer"
    without: ClassVar[tuple[str, ...]] = ("reml",)

    def __post_init__(self) -> None:
        if self.sigma is not None:
            raise ValueError(f"sigma: {OF_LINEAR_MODELS}.")
        super().__post_init__()
        object.__setattr__(self, "family", family_named(self.family))
        if isinstance(self.nagq, bool) or self.nagq not in range(101):
            raise ValueError(
                f"nagq must be a whole number from 0 to 100, not {self.nagq!r}: 1 is Laplace's "
                "approximation, more are points of adaptive quadrature."
            )
        if self.information not in (None, "expected", "observed"):
            raise ValueError(
                f"information must be 'expected' or 'observed', not {self.information!r}."
            )

    @classmethod
    def _read(cls, data: Any) -> dict[str, Any]:
        """The data as they are now: every step of a fit weighs all rows anew."""
        if isinstance(data, Table | pd.DataFrame | Mapping):
            return {"table": Table.of(data).frozen()}
        from lmm.criterion.model_sums import ModelSums
        from lmm.design.source import Source

        if isinstance(data, Source | ModelSums):
            raise DataError(
                "a generalized model weighs its rows anew at every step, so that they must be in "
                "memory: read them into a table"
            )
        return {"table": Table.of(data).frozen()}

    @property
    def conditional(self) -> Family:
        """Conditional distribution of the response."""
        family: Family = self.family
        return family

    def criterion(self) -> LaplaceCriterion:  # type: ignore[override]
        """The criterion to minimize."""
        information = self.information
        if information is None:
            information = self.conditional.information
        return LaplaceCriterion(
            self.build(), self.conditional, int(self.nagq), information, self.solver
        )


@dataclass(frozen=True, eq=False)
class LeastSquaresRequest(Request):
    """How a linear model without random effects was asked for."""

    function = "lm"
    without = ("reml", "sigma", "solver", "optimizer")
    mixed = False

    @classmethod
    def _read(cls, data: Any) -> dict[str, Any]:
        """The data as they are now, all in memory."""
        return {"table": Table.of(data).frozen()}


@dataclass(frozen=True, eq=False)
class ScoredRequest(GeneralizedRequest):
    """How a generalized model without random effects was asked for."""

    function = "glm"
    without = (*LeastSquaresRequest.without, "nagq", "information")
    mixed = False


OF_LINEAR_MODELS = (
    "a known residual standard deviation is one of linear models; in a generalized model the "
    "family says how the variance follows from the mean"
)
_UNKNOWN_WEIGHTS = (
    "the model was fitted with weights, which new rows do not have: each counts as one observation "
    "of weight 1. Fit with weights= as the name of a column, and give newdata that column"
)
# Rows up to which a query's result is read in whole: then all results by row are there.
FEW_ROWS = 1_000_000
# Options that say how rows are made of data.
_OF_ROWS = ("weights", "offset", "subset", "na_action", "contrasts", "control", "extra_namespace")
_NO_OPTIONS = ("formula", "table", "response", "source")
# Options that hold the user's arrays.
_ARRAYS = ("weights", "offset", "subset", "contrasts")


def _known_sigma(sigma: Any) -> float:
    """A residual standard deviation as a number.

    Raises
    ------
    TypeError, ValueError
        It is none.
    """
    if isinstance(sigma, bool) or not isinstance(sigma, float | int | np.floating | np.integer):
        raise TypeError(
            "sigma is the residual standard deviation where it is known, one number (1.0 where "
            f"weights are reciprocal sampling variances), not {type(sigma).__name__}."
        )
    if not 0.0 < sigma < np.inf:
        raise ValueError(
            f"sigma must be positive and finite, not {sigma!r}: leave it out to estimate it."
        )
    return float(sigma)


def _source_of(data: Any) -> Source | ModelSums | None:
    """What is to be read batch by batch, or has been; None for tables, and for short queries."""
    from lmm.criterion.model_sums import ModelSums
    from lmm.design.source import Source

    if isinstance(data, ModelSums):
        return data
    source = Source.of(data)
    return None if source is None or source.n_rows <= FEW_ROWS else source


def planned_matrices(
    formula: str | Formula, data: Any, family: Family | None = None, **options: Any
) -> ModelMatrices:
    """Matrices of a study whose response is not there yet: it is not read, and zero.

    Parameters
    ----------
    formula : str or Formula
        With a response, which need not be among the data, or without, as ``"~ x + (1 | g)"``.
    data : table
        The rows of the study.
    family : Family, optional
        Conditional distribution of the response; without one it is a linear model's.
    **options
        As for `Request.of`.

    Examples
    --------
    >>> rows = {"g": list("aabbcc"), "x": [0, 1, 0, 1, 0, 1]}
    >>> planned_matrices("log(y) ~ x + (1 | g)", rows).X.shape
    (6, 2)
    """
    text = str(formula)
    parsed = parse_one_sided(text) if text.lstrip().startswith("~") else parse_formula(text)
    if family is not None:
        request: Request = GeneralizedRequest.of(parsed, data, family=family, **options)
    else:
        request = Request.of(parsed, data, **options)
    return request.build(planned=True)


def refuse() -> NoReturn:
    """Say that there is nothing to repeat.

    Raises
    ------
    TypeError
        Always.
    """
    raise TypeError(
        "the model was put together from its parts: there are no data and no call of lmer to "
        "repeat. Build new matrices, or fit with lmer"
    )


def offset_of(offset: RowArgument, newdata: Any) -> Vector | None:
    """The column of new data that was a fit's offset argument; None without one.

    Raises
    ------
    DataError
        The offset was given as an array, or the column is missing.
    """
    if offset is None:
        return None
    if not isinstance(offset, str):
        raise DataError(
            "the model was fitted with an array as offset, which says nothing about new rows: "
            "put it into the data, and name its column in offset= or in the formula"
        )
    return row_numbers(Table.of(newdata), offset, "offset")


def check_names(change: str, data: Any) -> None:
    """Refuse a change of a formula that names what the data do not have.

    R ignores the removal of a term that is not there, and so hides a misspelt name.
    """
    nodes = [node for node in parse_tilde(change) if node is not None]
    names = {Name(name) for node in nodes for name in variables(node) if name != "."}
    column_names(names, Table.of(data))
