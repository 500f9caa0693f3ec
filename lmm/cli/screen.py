"""What the command prints: text without tricks, and messages."""

from __future__ import annotations

import os
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from lmm.errors import LmmWarning


def write(text: str) -> None:
    """Write lines to standard output."""
    _print(text.rstrip("\n"), sys.stdout)
    flush()


def tell(kind: str, message: str) -> None:
    """Write one message to standard error."""
    _print(f"lmm: {kind}: {message}", sys.stderr)


@contextmanager
def told_warnings(quiet: bool = False) -> Iterator[list[str]]:
    """Tell the warnings of a block when it ends, each once, but those in the list that it gets."""
    known: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", LmmWarning)
        yield known
    for message in dict.fromkeys(_text(each.message) for each in caught):
        if not quiet and message not in known:
            tell("warning", message)


def _text(warning: Warning | str) -> str:
    return warning.text if isinstance(warning, LmmWarning) else str(warning)


def _print(text: str, stream: TextIO | None) -> None:
    if stream is not None:
        print(_shown(text, getattr(stream, "encoding", None) or "utf-8"), file=stream)


def flush() -> None:
    """Write what is buffered now, so that a failure is not left to the interpreter's exit."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
        raise


# What a terminal would obey: control characters other than tab and newline, and marks that turn the
# direction of writing.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_TYPOGRAPHIC = str.maketrans("‘’“”–−×", "''\"\"--x")


def _shown(text: str, encoding: str) -> str:
    """Text in which nothing steers the terminal and nothing is beyond its encoding."""
    text = _CONTROL.sub(lambda found: ascii(found[0])[1:-1], text)
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        text = text.translate(_TYPOGRAPHIC).encode(encoding, "backslashreplace").decode(encoding)
    return text
