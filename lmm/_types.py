"""Array aliases used in signatures, and arrays that do not change."""

from __future__ import annotations

from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

Vector: TypeAlias = NDArray[np.floating[Any]]
Matrix: TypeAlias = NDArray[np.floating[Any]]
IntVector: TypeAlias = NDArray[np.integer[Any]]

Array = TypeVar("Array", bound=np.ndarray)


def read_only(array: Array) -> Array:
    """A view of an array that cannot be written to."""
    view = array.view()
    view.flags.writeable = False
    return view
