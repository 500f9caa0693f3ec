"""BLAS threads, limited where they hurt.

For the matrix sizes of most mixed models a second BLAS thread costs more than it brings: factoring
n = 1128 took 12-20 ms with one thread and 160 ms with two on a busy two-core machine.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cache, wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

__all__ = ["blas_threads", "limited"]

# Columns of the largest dense matrix from which the BLAS may use all its threads.
WORTHWHILE = 5000


@cache
def _controller() -> Any:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas")


def blas_threads(size: int) -> AbstractContextManager[Any]:
    """Context in which the BLAS uses one thread, unless matrices have `size` >= 5000 columns.

    The former number of threads is restored on leaving.
    """
    if size >= WORTHWHILE:
        return nullcontext()
    limit: AbstractContextManager[Any] = _controller().limit(limits=1)
    return limit


class _Sized(Protocol):
    @property
    def dense_size(self) -> int: ...


Self = TypeVar("Self", bound=_Sized)
P = ParamSpec("P")
T = TypeVar("T")


def limited(method: Callable[Concatenate[Self, P], T]) -> Callable[Concatenate[Self, P], T]:
    """Run a method of a solver in `blas_threads` of its `dense_size`."""

    @wraps(method)
    def run(self: Self, /, *args: P.args, **kwargs: P.kwargs) -> T:
        with blas_threads(self.dense_size):
            return method(self, *args, **kwargs)

    return run
