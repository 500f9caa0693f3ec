"""Array aliases used in signatures, and arrays that do not change."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Vector: TypeAlias = NDArray[np.floating[Any]]
Matrix: TypeAlias = NDArray[np.floating[Any]]
IntVector: TypeAlias = NDArray[np.integer[Any]]
IntMatrix: TypeAlias = NDArray[np.integer[Any]]

T = TypeVar("T")


# What needs no look inside.
CONSTANT = frozenset({bool, int, float, str, np.float64, type(None)})


def read_only(value: T) -> T:
    """A view of an array, or of those in a tuple or dict, that cannot be written to."""
    parts: Any = value
    kind = type(parts)
    if kind is np.ndarray:
        if not parts.flags.writeable:
            return value
        view: Any = parts.view()
        view.setflags(write=False)
        return view  # type: ignore[no-any-return]
    if kind in CONSTANT:
        return value
    if kind is tuple:
        return tuple(map(read_only, parts))  # type: ignore[return-value]
    if kind is dict:
        return {key: read_only(part) for key, part in parts.items()}  # type: ignore[return-value]
    if kind is sparse.csc_array or kind is sparse.csr_array:
        parts.data = read_only(parts.data)
    return value


class frozen_property(cached_property[T]):
    """A cached property whose arrays are read-only."""

    def __init__(self, compute: Callable[[Any], T]):
        super().__init__(lambda owner: read_only(compute(owner)))
        self.__doc__ = compute.__doc__


class Frozen:
    """A dataclass whose arrays are read-only, also after copying and pickling."""

    def __post_init__(self) -> None:
        self.__setstate__(self.__dict__)

    def __setstate__(self, state: dict[str, Any]) -> None:
        own = self.__dict__
        for name, value in state.items():
            own[name] = value if type(value) in CONSTANT else read_only(value)
