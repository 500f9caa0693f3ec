"""Names of R: reserved words, and names that need back-ticks."""

from __future__ import annotations

import math
import re

CONSTANTS: dict[str, bool | float | None] = {
    "TRUE": True,
    "FALSE": False,
    "NULL": None,
    "NA": math.nan,
    "NaN": math.nan,
    "Inf": math.inf,
}


KEYWORDS = frozenset(
    {"if", "else", "repeat", "while", "function", "for", "next", "break", "in"}
    | {"NA_integer_", "NA_real_", "NA_character_", "NA_complex_"}
)


SYNTACTIC = re.compile(r"(?:[^\W\d_]|\.(?!\d))[\w.]*")


def quote(name: str) -> str:
    """A name as R writes it: in back-ticks where it is no syntactic name."""
    if SYNTACTIC.fullmatch(name) and name not in KEYWORDS and name not in CONSTANTS:
        return name
    escaped = name.replace("\\", "\\\\").replace("`", "\\`")
    return f"`{escape_spaces(escaped)}`"


def escape_spaces(text: str) -> str:
    """Blanks other than spaces as R's escapes."""
    return text.replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r")
