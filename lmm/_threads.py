"""BLAS threads, limited where they hurt.

For the matrix sizes of most mixed models a second BLAS thread costs more than it brings: factoring
n = 1128 took 12-20 ms with one thread and 160 ms with two on a busy two-core machine.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import wraps
from threading import Lock
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

__all__ = ["blas_threads", "blas_was_loaded", "limited"]

# Columns of the largest dense matrix from which the BLAS may use all its threads.
WORTHWHILE = 5000


class _OneThread:
    """Context in which every BLAS has one thread.

    The numbers of threads belong to the process: the first to enter sets them, and the last to
    leave, of nested uses and of all Python threads, restores them.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._depth = 0
        self._libraries: list[Any] | None = None
        self._before: list[tuple[Any, int]] = []

    def __enter__(self) -> None:
        with self._lock:
            if self._depth == 0:
                self._before = [(each, each.get_num_threads()) for each in self._loaded()]
                for library, _ in self._before:
                    library.set_num_threads(1)
            self._depth += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._depth -= 1
            if self._depth == 0:
                for library, threads in self._before:
                    library.set_num_threads(threads)

    def _loaded(self) -> list[Any]:
        if self._libraries is None:
            from threadpoolctl import ThreadpoolController

            self._libraries = ThreadpoolController().select(user_api="blas").lib_controllers
        return self._libraries

    def look_again(self) -> None:
        """Look for libraries anew when next entered from outside."""
        self._libraries = None


_one_thread = _OneThread()


def blas_threads(size: int) -> AbstractContextManager[None]:
    """Context in which the BLAS uses one thread, unless matrices have `size` >= 5000 columns.

    The former number of threads is restored on leaving.
    """
    return _one_thread if size < WORTHWHILE else nullcontext()


def blas_was_loaded() -> None:
    """Tell that an import has loaded another BLAS, which is to be limited too from now on."""
    _one_thread.look_again()


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
