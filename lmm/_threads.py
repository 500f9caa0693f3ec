"""BLAS threads, limited where they hurt.

For the matrix sizes of most mixed models a second BLAS thread costs more than it brings: factoring
n = 1128 took 12-20 ms with one thread and 160 ms with two on a busy two-core machine.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

__all__ = ["blas_threads"]

# Columns of the largest dense matrix from which the BLAS may use all its threads.
WORTHWHILE = 2000


@cache
def _controller() -> Any:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas")


def blas_threads(size: int) -> AbstractContextManager[Any]:
    """Context in which the BLAS uses one thread, unless matrices have `size` >= 2000 columns.

    The former number of threads is restored on leaving.
    """
    if size >= WORTHWHILE:
        return nullcontext()
    limit: AbstractContextManager[Any] = _controller().limit(limits=1)
    return limit
