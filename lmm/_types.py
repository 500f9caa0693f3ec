"""Array aliases used in signatures, arrays that do not change, and properties computed once."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Self, TypeAlias, TypeVar, overload

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Vector: TypeAlias = NDArray[np.floating[Any]]
Matrix: TypeAlias = NDArray[np.floating[Any]]
IntVector: TypeAlias = NDArray[np.integer[Any]]
IntMatrix: TypeAlias = NDArray[np.integer[Any]]

T = TypeVar("T")


class cached_property(functools.cached_property[T]):
    """A property that is computed once.

    That of Python 3.11 lets one thread at a time compute it, of whichever object: a fit would wait
    for another one's.
    """

    @overload
    def __get__(self, instance: None, owner: type[Any] | None = None) -> Self: ...

    @overload
    def __get__(self, instance: object, owner: type[Any] | None = None) -> T: ...

    def __get__(self, instance: Any, owner: type[Any] | None = None) -> Any:
        if instance is None:
            return self
        value = instance.__dict__[self.attrname] = self.func(instance)
        return value


class frozen_property(cached_property[T]):
    """A cached property whose arrays are read-only."""

    def __init__(self, compute: Callable[[Any], T]):
        super().__init__(lambda owner: read_only(compute(owner)))
        self.__doc__ = compute.__doc__


class Frozen:
    """A dataclass whose arrays are read-only, also after copying and pickling."""

    def __post_init__(self) -> None:
        own = self.__dict__
        for name, value in own.items():
            if view := _VIEWS.get(type(value)):
                own[name] = view(value)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        Frozen.__post_init__(self)


def read_only(value: T) -> T:
    """A view of an array, or of those in a tuple or dict, that cannot be written to."""
    view = _VIEWS.get(type(value))
    return value if view is None else view(value)


def _array(array: np.ndarray) -> np.ndarray:
    if not array.flags.writeable:
        return array
    view = array.view()
    view.setflags(write=False)
    return view


def _sparse(matrix: Any) -> Any:
    matrix.data = read_only(matrix.data)
    return matrix


_VIEWS: dict[type[Any], Callable[[Any], Any]] = {
    np.ndarray: _array,
    tuple: lambda parts: tuple(map(read_only, parts)),
    dict: lambda parts: {key: read_only(part) for key, part in parts.items()},
    sparse.csc_array: _sparse,
    sparse.csr_array: _sparse,
}
