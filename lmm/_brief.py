"""Short representations of records that hold large arrays."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import Any

SHORT = 60


class Brief:
    """A dataclass whose representation says what its parts are instead of what they hold.

    Examples
    --------
    >>> import lmm
    >>> lmm.build_matrices("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff"))
    ModelMatrices(design=Design(...), ...)
    """

    def __repr__(self) -> str:
        fields = [field for field in dataclasses.fields(self) if field.repr]  # type: ignore[arg-type]
        parts = (f"{field.name}={_brief(getattr(self, field.name))}" for field in fields)
        return f"{type(self).__name__}({', '.join(parts)})"


def _brief(value: Any) -> str:
    shape = getattr(value, "shape", None)
    if shape:
        return f"{type(value).__name__}{tuple(shape)}"
    if isinstance(value, Brief):
        return f"{type(value).__name__}(...)"
    text = repr(value)
    if len(text) <= SHORT:
        return text
    size = f" of {len(value)}" if isinstance(value, Collection) else "(...)"
    return f"{type(value).__name__}{size}"
