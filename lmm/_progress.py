"""Progress bars (tqdm, where it is installed) of what takes seconds."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Iterable, Iterator, Sized
from threading import Lock
from typing import Any, TypeVar

Item = TypeVar("Item")

# A bar that nobody asked for appears after so many seconds.
PATIENCE = 2.0
_importing = Lock()


def progress_bar(total: int | None, unit: str, progress: bool | None) -> Any:
    """A progress bar, or a stand-in; both are context managers with ``update(done)``.

    Parameters
    ----------
    total : int or None
        How many steps there are; None where nobody knows.
    unit : str
        What a step is.
    progress : bool or None
        Whether to show a bar; None for one in a terminal or a notebook, after two seconds, that
        goes away when all is done.

    Raises
    ------
    ImportError
        A bar is asked for, but tqdm is not installed.
    """
    if progress is False:
        return NoBar()
    try:
        tqdm = _drawing_bars()
    except ImportError as error:
        if progress:
            raise ImportError(
                "The progress bar needs tqdm: pip install 'lmm[parallel]'."
            ) from error
        return NoBar()
    if progress:
        return tqdm(total=total, unit=unit)
    # disable=None hides the bar where the output is neither a terminal nor a notebook.
    return tqdm(total=total, unit=unit, delay=PATIENCE, disable=None, leave=False)


def _drawing_bars() -> Any:
    """Tqdm's class of bars, without its warning of notebooks that lack ipywidgets.

    Imported by one thread at a time, since filters of warnings are those of all threads.
    """
    with _importing:
        if "tqdm.auto" not in sys.modules:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                importlib.import_module("tqdm.auto")
        return importlib.import_module("tqdm.auto").tqdm


def watched(
    items: Iterable[Item], unit: str, progress: bool | None, total: int | None = None
) -> Iterator[Item]:
    """The items one by one, under a progress bar; `total` of them, where they have no length.

    Examples
    --------
    >>> list(watched([1, 2, 3], "step", progress=False))
    [1, 2, 3]
    """
    size = len(items) if isinstance(items, Sized) else total
    with progress_bar(size, unit, progress) as bar:
        for item in items:
            yield item
            bar.update(1)


class NoBar:
    """Stands in for a progress bar."""

    def __enter__(self) -> NoBar:
        return self

    def __exit__(self, *_exception: object) -> None:
        return None

    def update(self, _done: int) -> None:
        """Show nothing."""
