"""The functions of the formula language, in one table.

Those whose coefficients come from the data (``poly``, ``ns``, ``bs``, ``scale``, ``cut``, ``mean``
...) have an argument `state`, in which they keep what they learned for new data.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import wraps
from typing import Any, Literal

import numpy as np

from lmm._types import cached_property
from lmm.design.coding import CONTRASTS
from lmm.design.columns import Basis
from lmm.design.functions import bases, factors, numbers
from lmm.design.functions.values import Scalar

__all__ = ["FUNCTIONS", "NAMED_CONSTANTS", "Function"]


@dataclass(frozen=True)
class Function:
    """One function of the formula language.

    Attributes
    ----------
    apply : callable
        Computes the value. A keyword ``state`` keeps what the function learns from the data; a
        keyword ``names`` is given the names of the arguments.
    first : {"numbers", "elements", "column", "factor", "value"}
        What the first argument must be (each one, where their number is free): numbers, among them
        truth values as 0 and 1; these or a matrix; a column of any kind; a column that is read as a
        factor; or anything.
    """

    apply: Callable[..., Any]
    first: Literal["numbers", "elements", "column", "factor", "value"]

    @cached_property
    def _signature(self) -> Mapping[str, inspect.Parameter]:
        return inspect.signature(self.apply).parameters

    @property
    def keeps_state(self) -> bool:
        """Whether the function learns from the data."""
        return "state" in self._signature

    @property
    def takes_names(self) -> bool:
        """Whether the function uses the names of its arguments."""
        return "names" in self._signature

    @cached_property
    def is_variadic(self) -> bool:
        """Whether the number of arguments is free."""
        return any(p.kind is p.VAR_POSITIONAL for p in self._signature.values())

    @cached_property
    def parameters(self) -> tuple[str, ...]:
        """Names of the arguments that a formula may give, those with a name only included."""
        return tuple(
            p.name
            for p in self._signature.values()
            if p.kind is not p.VAR_POSITIONAL and p.name not in ("state", "names")
        )

    @cached_property
    def required(self) -> tuple[str, ...]:
        """Names of the arguments without a default."""
        return tuple(
            n for n in self.parameters if self._signature[n].default is inspect.Parameter.empty
        )


def _elementwise(ufunc: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda x: ufunc(x)


def _by_element(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, of the elements of a matrix as well."""

    @wraps(function)
    def apply(x: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(x, Basis):
            return replace(x, values=function(x.values, *args, **kwargs))
        return function(x, *args, **kwargs)

    return apply


_OF_ELEMENTS: Mapping[str, Callable[..., Any]] = {
    **{name: _elementwise(ufunc) for name, ufunc in numbers.ELEMENTWISE.items()},
    "log": numbers.log,
    "round": numbers.round_to,
}
_OF_NUMBERS: Mapping[str, Callable[..., Any]] = {
    **numbers.EXTREMES,
    **numbers.SUMMARIES,
    "bs": bases.bs,
    "cbind": numbers.cbind,
    "center": numbers.center,
    "cut": factors.cut,
    "ns": bases.ns,
    "poly": bases.poly,
}
_OF_COLUMNS: Mapping[str, Callable[..., Any]] = {
    "as.integer": lambda x: np.trunc(factors.as_numeric(x)),
    "as.numeric": factors.as_numeric,
    "is.na": numbers.is_na,
    "scale": bases.scale,
    "standardize": lambda x, *, state: bases.scale(x, state=state),
}
_OF_FACTORS: Mapping[str, Callable[..., Any]] = {
    "C": factors.with_contrasts,
    "as.character": factors.as_character,
    "as.factor": factors.as_factor_only,
    "dummy": factors.dummy,
    "endsWith": factors.ends_with,
    "factor": factors.factor,
    "interaction": factors.interaction,
    "ordered": factors.ordered,
    "relevel": factors.relevel,
    "startsWith": factors.starts_with,
}
_OF_VALUES: Mapping[str, Callable[..., Any]] = {
    "I": numbers.identity,
    "Treatment": factors.treatment,
    "c": numbers.combine,
    "ifelse": numbers.ifelse,
    **factors.CONTRAST_FUNCTIONS,
}
FUNCTIONS: Mapping[str, Function] = {
    **{name: Function(_by_element(apply), "elements") for name, apply in _OF_ELEMENTS.items()},
    **{name: Function(apply, "numbers") for name, apply in _OF_NUMBERS.items()},
    **{name: Function(apply, "column") for name, apply in _OF_COLUMNS.items()},
    **{name: Function(apply, "factor") for name, apply in _OF_FACTORS.items()},
    **{name: Function(apply, "value") for name, apply in _OF_VALUES.items()},
}
"""Every function, by the name that formulas have for it."""

NAMED_CONSTANTS: Mapping[str, Scalar] = {
    "pi": np.pi,
    "T": True,
    "F": False,
    "True": True,
    "False": False,
    "None": None,
    **{name: name for name in CONTRASTS},
    # patsy's names
    "Treatment": "contr.treatment",
    "Sum": "contr.sum",
    "Helmert": "contr.helmert",
    "Poly": "contr.poly",
    "Diff": "contr.sdif",
}
"""Names that stand for a value where no column has that name."""
