"""Arrays of rows that a fit from a source does not keep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from lmm.errors import DataError


@dataclass(frozen=True, eq=False)
class Unread:
    """What stands for an array of rows that were read batch by batch, and are not there.

    It has a shape; any use of its values is an error that says how to get them.

    Attributes
    ----------
    shape : tuple of int
        Shape of the array.

    Examples
    --------
    >>> rows = Unread((1000, 2))
    >>> len(rows), rows.ndim
    (1000, 2)
    >>> rows[0]
    Traceback (most recent call last):
        ...
    lmm.errors.DataError: the model was fitted from a source, batch by batch, and keeps no rows, ...
    """

    shape: tuple[int, ...]

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what copying and pickling ask for
            raise AttributeError(name)
        refuse()

    def _refuse(self, *args: Any, **kwargs: Any) -> Any:
        refuse()

    __array__ = __array_ufunc__ = __array_function__ = _refuse
    __getitem__ = __iter__ = __bool__ = _refuse
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _refuse
    __truediv__ = __rtruediv__ = __pow__ = __matmul__ = __rmatmul__ = _refuse
    __neg__ = __abs__ = __lt__ = __le__ = __gt__ = __ge__ = _refuse
    __eq__ = __ne__ = _refuse
    __hash__ = object.__hash__


@dataclass(frozen=True, eq=False)
class Summed(Unread):
    """A column, or columns, of which only sums of squares and products are known.

    Attributes
    ----------
    squares : float or (k, k) array
        The sums; those of a response are weighted.
    """

    squares: Any


# Relative difference of sums over the same rows in another order.
ROUNDING = 1e-9


def is_unread(values: object) -> bool:
    """Whether an array of rows is not there."""
    return isinstance(values, Unread)


def cross_products(columns: Any) -> Any:
    """Sums of squares and products (k, k) of columns (n, k), also of those that are not there."""
    return columns.squares if isinstance(columns, Summed) else columns.T @ columns


def is_same(left: Any, right: Any) -> bool:
    """Whether two responses are the same: of those that are not there, by their sums."""
    if is_unread(left) or is_unread(right):
        sums = [each.squares for each in (left, right) if isinstance(each, Summed)]
        return len(sums) == 2 and abs(sums[0] - sums[1]) <= ROUNDING * max(sums)
    return np.array_equal(left, right)


def refuse() -> NoReturn:
    """Say that there are no rows.

    Raises
    ------
    DataError
        Always.
    """
    raise DataError(
        "the model was fitted from a source, batch by batch, and keeps no rows, which this result "
        "needs: residuals, fitted values and the like come batch by batch from "
        "m.augment_batches(source); for the rest, fit a sample of the rows in memory"
    )
