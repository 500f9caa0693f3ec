"""Numbers as R prints them: `format`, `format.pval`, `zapsmall`, `abbreviate`."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from lmm._types import Vector
from lmm.language.names import quote

SIGNIFICANCE_LEGEND = "Signif. codes:  0 ‘***’ 0.001 ‘**’ 0.01 ‘*’ 0.05 ‘.’ 0.1 ‘ ’ 1"
# Characters of a line.
WIDTH = 80
# P-values below this are not told apart.
SMALLEST = float(np.finfo(float).eps)
_STARS = ((0.001, "***"), (0.01, "**"), (0.05, "*"), (0.1, "."), (math.inf, " "))
_REMOVABLE = tuple(
    re.compile(rf"(?<=[^ ]){character}")
    for character in ("[aeiou](?= |$)", "[aeiou]", "[a-z](?= |$)", "[a-z]", "[^ ]")
)


def format_numbers(
    values: ArrayLike, digits: int = 7, *, decimals: int = 0, na: str = "NA"
) -> list[str]:
    """Format a vector as R's ``format(x, digits, nsmall)``.

    All numbers get the same number of decimals: the fewest with which the number that needs most
    shows `digits` significant digits, trailing zeros not counted. Scientific notation is used
    where it is narrower. All strings get the same width.

    Parameters
    ----------
    values : (n,) array_like
        Numbers. Integer types are written out; NaN is a missing value.
    digits : int
        Significant digits, R's ``options(digits=)``.
    decimals : int
        Least number of decimals in fixed notation, R's ``nsmall``.
    na : str
        Text of a missing value.

    Returns
    -------
    list of str
        Right-justified to a common width.

    Examples
    --------
    >>> format_numbers([612.1, 35.07, 654.94], digits=4)
    ['612.10', ' 35.07', '654.94']
    >>> format_numbers([1e-10, 3.5], digits=4)
    ['1.0e-10', '3.5e+00']
    """
    x = np.asarray(values)
    if x.dtype.kind in "iu":
        return _justify([str(value) for value in x])
    x = x.astype(np.float64) + 0.0  # R prints -0 as 0
    spec = _common_spec([float(value) for value in x[np.isfinite(x)]], digits, decimals)
    return _justify([_format_one(float(value), spec, na) for value in x])


def format_number(value: float, digits: int = 7) -> str:
    """Format one number as R's ``cat`` does.

    Examples
    --------
    >>> format_number(1743.62827)
    '1743.628'
    """
    return format_numbers([value], digits)[0]


def _format_one(value: float, spec: str, na: str) -> str:
    if math.isnan(value):
        return na
    if math.isinf(value):
        return "Inf" if value > 0 else "-Inf"
    return format(value, spec)


def _justify(texts: list[str]) -> list[str]:
    width = max(map(len, texts), default=0)
    return [text.rjust(width) for text in texts]


def _common_spec(values: Sequence[float], digits: int, decimals: int) -> str:
    """Shortest format specification that shows `digits` significant digits of every value."""
    if not values:
        return ".0f"
    needs = [_needed_digits(value, digits) for value in values]
    fixed = f".{max(0, *(significant - exponent - 1 for exponent, significant in needs))}f"
    scientific = f".{max(significant for _, significant in needs) - 1}e"
    if _width(values, fixed) > _width(values, scientific):
        return scientific
    return f".{max(int(fixed[1:-1]), decimals)}f"


def _needed_digits(value: float, digits: int) -> tuple[int, int]:
    """Decimal exponent, and significant digits left when trailing zeros are dropped."""
    mantissa, exponent = f"{abs(value):.{digits - 1}e}".split("e")
    return int(exponent), len(mantissa.replace(".", "").rstrip("0")) or 1


def _width(values: Sequence[float], spec: str) -> int:
    return max(len(format(value, spec)) for value in values)


def round_decimals(values: ArrayLike, decimals: int) -> Vector:
    """Round each number to the nearer of its two decimal neighbours, as ``round`` since R 4.0.

    `numpy.round` rounds the scaled number instead, and so turns 0.15, which is stored as
    0.1499999999999999944, into 0.2.

    Examples
    --------
    >>> round_decimals([0.15, 0.25, 2.5], 1)
    array([0.1, 0.2, 2.5])
    """
    x = np.asarray(values, dtype=np.float64)
    scale = 10.0 ** min(decimals, 300)
    floor = np.floor(x * scale)
    lower, upper = floor / scale, np.ceil(x * scale) / scale
    with np.errstate(invalid="ignore"):  # inf - inf
        below, above, is_even = x - lower, upper - x, floor % 2 == 0
    return np.where((below < above) | ((below == above) & is_even), lower, upper)


def zapsmall(values: ArrayLike, digits: int = 7) -> Vector:
    """Round so that the largest number keeps `digits` significant digits (R's ``zapsmall``).

    Examples
    --------
    >>> zapsmall([1.0, 1e-20, 0.123456789], 5)
    array([1.     , 0.     , 0.12346])
    """
    x = np.asarray(values, dtype=np.float64)
    largest = np.max(np.abs(x), initial=0.0, where=np.isfinite(x))
    if largest == 0:
        return x
    return round_decimals(x, max(0, round(digits - math.log10(largest))))


def format_p_values(values: ArrayLike, digits: int) -> list[str]:
    """Format p-values as R's ``format.pval``: those below the machine's precision as ``< 2e-16``.

    Examples
    --------
    >>> format_p_values([1e-20, 3.264e-06], 3)
    ['< 2e-16', '3.26e-06']
    >>> format_p_values([1e-20, 0.7809], 4)
    ['<2e-16', '0.7809']
    """
    p = np.asarray(values, dtype=np.float64)
    texts = np.full(p.shape, "NA", dtype=object)
    tiny, shown = p < SMALLEST, p >= SMALLEST
    small = p < (1e-3 if digits == 1 else 1e-4)
    for part in shown & ~small, shown & small:
        texts[part] = format_numbers(p[part], digits)
    if tiny.any():
        texts[tiny] = _smallest(digits, max(map(len, texts[shown]), default=0))
    return [str(text) for text in texts]


def _smallest(digits: int, width: int) -> str:
    """``< 2.2e-16``, with as many digits as the other p-values' width leaves room for."""
    digits = max(1, digits - 2)
    if width and digits > 1 and digits + 6 > width:
        digits = max(1, width - 7)
    tight = digits == 1 and width <= 6
    return f"<{'' if tight else ' '}{format_number(SMALLEST, digits)}"


def significance_stars(p_values: Iterable[float]) -> list[str]:
    """Stars of R's coefficient tables, all of one width; blank where p is missing.

    Examples
    --------
    >>> significance_stars([0.0004, 0.03, 0.5])
    ['***', '*  ', '   ']
    """
    stars = [
        "" if math.isnan(p) else next(star for bound, star in _STARS if p <= bound)
        for p in p_values
    ]
    width = max(map(len, stars), default=0)
    return [star.ljust(width) for star in stars]


def abbreviate(names: Sequence[str], min_length: int = 4) -> list[str]:
    """Shorten names as R's ``abbreviate``, keeping them distinct.

    Lower-case vowels go first, then lower-case letters, then anything, until `min_length`
    characters are left; the first letter of a word stays. Each class is removed from the right,
    at the ends of words before within them. Names that become equal are done again with one more
    character.

    Examples
    --------
    >>> abbreviate(["(Intercept)", "temperature.L", "recipeB:temperature.L"], 6)
    ['(Intr)', 'tmpr.L', 'rcB:.L']
    """
    short = {name: _shorten(name, min_length) for name in names}
    for length in range(min_length + 1, max(map(len, names), default=0) + 1):
        count = Counter(short.values())
        short |= {name: _shorten(name, length) for name, text in short.items() if count[text] > 1}
    return [short[name] for name in names]


def _shorten(name: str, length: int) -> str:
    text = name.strip(" ")
    if len(text) <= length:
        return text
    for removable in _REMOVABLE:
        text = _strip_from_right(text, length, removable)
    return text.replace(" ", "")


def _strip_from_right(text: str, length: int, removable: re.Pattern[str]) -> str:
    excess = len(text) - text.count(" ") - length
    for i in range(len(text) - 1, 0, -1):
        if excess > 0 and removable.match(text, i):
            text = text[:i] + text[i + 1 :]
            excess -= 1
    return text


def fill(pieces: Sequence[str], separator: str = " ") -> list[str]:
    """Lines of at most 80 characters with pieces in a row, as R's ``cat(..., fill = TRUE)``.

    Each piece counts with the separator after it, the last one too; a piece that is longer has a
    line of its own.

    Examples
    --------
    >>> fill(["Formula:", "a + b"])
    ['Formula: a + b']
    """
    lines = [""]
    for piece in pieces:
        if lines[-1] and len(lines[-1]) + len(piece) + len(separator) > WIDTH:
            lines.append("")
        lines[-1] += piece + separator
    lines[-1] = lines[-1].removesuffix(separator)
    return lines


def r_element(name: str) -> str:
    """How R heads an element of a printed list, in back-ticks where the name is not a plain one.

    Examples
    --------
    >>> r_element("Subject"), r_element("batch:cask")
    ('$Subject', '$`batch:cask`')
    """
    return f"${quote(name)}"
