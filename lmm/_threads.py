"""BLAS threads, limited where they hurt.

For the matrix sizes of most mixed models a second BLAS thread costs more than it brings: factoring
n = 1128 took 12-20 ms with one thread and 160 ms with two on a busy two-core machine, and a thread
that waits spins, so that small fits in a loop took several times their processor time.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import wraps
from threading import RLock
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

# Columns of the largest dense matrix from which the BLAS may use all its threads.
WORTHWHILE = 5000


class _Libraries:
    """The BLAS libraries of the process, and who asks how many threads they have.

    The numbers belong to the process: one thread while anyone asks for one and nobody asks for
    all, the numbers from before otherwise. Whoever asks is kept by identity and withdraws when it
    is gone, so that an interrupt at any point leaves the numbers as they were.
    """

    def __init__(self) -> None:
        self._lock = RLock()  # one that a collected request may take again
        self._for_one: set[int] = set()
        self._for_all: set[int] = set()
        self._found: list[Any] | None = None
        self._before: list[tuple[Any, int]] = []

    def ask(self, request: _Request) -> None:
        with self._lock:
            (self._for_all if request.all_threads else self._for_one).add(id(request))
            self._settle()

    def withdraw(self, request: _Request) -> None:
        with self._lock:
            self._for_one.discard(id(request))
            self._for_all.discard(id(request))
            self._settle()

    @property
    def have_one(self) -> bool:
        """Whether they have one thread because someone asks for it."""
        return bool(self._before)

    def look_again(self) -> None:
        """Look for libraries anew when next limited."""
        self._found = None

    def _settle(self) -> None:
        if self._for_one and not self._for_all:
            if not self._before:
                self._before = [(each, each.get_num_threads()) for each in self._loaded()]
                for library, _ in self._before:
                    library.set_num_threads(1)
        elif self._before:
            for library, threads in self._before:
                library.set_num_threads(threads)
            self._before = []

    def _loaded(self) -> list[Any]:
        if self._found is None:
            from threadpoolctl import ThreadpoolController

            self._found = ThreadpoolController().select(user_api="blas").lib_controllers
        return self._found


_libraries = _Libraries()


class _Request:
    """Context in which the BLAS has one thread, or all even where others asked for one."""

    is_open = False

    def __init__(self, all_threads: bool) -> None:
        self.all_threads = all_threads

    def __enter__(self) -> None:
        self.is_open = True
        _libraries.ask(self)

    def __exit__(self, *_: object) -> None:
        _libraries.withdraw(self)
        self.is_open = False

    def __del__(self) -> None:
        if self.is_open:  # an interrupt came between the two
            _libraries.withdraw(self)


_NOTHING = nullcontext()


def blas_threads(size: int) -> AbstractContextManager[None]:
    """Context in which the BLAS uses one thread, or all where matrices have `size` >= 5000 columns.

    The outermost context restores the former number of threads; contexts nest in any order. Where
    there is one already, nothing is asked for.
    """
    if size < WORTHWHILE and _libraries.have_one:  # whoever calls has asked already
        return _NOTHING
    return _Request(size >= WORTHWHILE)


def blas_was_loaded() -> None:
    """Tell that an import has loaded another BLAS, which is to be limited too from now on."""
    _libraries.look_again()


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


def one_blas_thread(function: Callable[P, T]) -> Callable[P, T]:
    """Run a function with one BLAS thread, but for the solvers of large dense matrices in it.

    It asks even where there is one, which another Python thread may have asked for.
    """

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        with _Request(all_threads=False):
            return function(*args, **kwargs)

    return run
