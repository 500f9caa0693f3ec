"""Many calls of one function, here or by several workers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")


def calls(work: Callable[..., T], *arguments: Iterable[Any], n_jobs: int | None) -> Iterator[T]:
    """Results of calls with one argument of each iterable, in order.

    Parameters
    ----------
    work : callable
        The function.
    arguments : iterables
        Its arguments, call by call; they are read as workers become free.
    n_jobs : int or None
        Workers (joblib's); 1 for none, None for those of ``joblib.parallel_config``.

    Raises
    ------
    ImportError
        Workers are asked for, but joblib is not installed.

    Examples
    --------
    >>> list(calls(pow, [2, 3], [3, 2], n_jobs=1))
    [8, 9]
    """
    if n_jobs == 1:
        yield from map(work, *arguments)
        return
    try:
        from joblib import Parallel, delayed
    except ImportError as error:
        raise ImportError("Several workers need joblib: pip install 'lmm[parallel]'.") from error
    tasks = (delayed(work)(*own) for own in zip(*arguments, strict=True))
    yield from Parallel(n_jobs=n_jobs, return_as="generator")(tasks)
