"""Errors and warnings: every class that a user may catch or filter."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from difflib import get_close_matches
from numbers import Real
from typing import Any

_silent = ContextVar("_silent", default=False)


class DataError(ValueError):
    """The data, or an argument that describes them, cannot be used as given.

    Examples
    --------
    >>> import lmm
    >>> lmm.lmer("Yield ~ 1 + (1 | Batsch)", lmm.load_dataset("Dyestuff"))
    Traceback (most recent call last):
        ...
    lmm.errors.DataError: the formula uses 'Batsch', but the data have no such column. Did you ...
    """


class FormulaError(ValueError):
    """The formula does not say a model.

    Parameters
    ----------
    message : str
        What is wrong, why, and what to write instead.
    source : str, optional
        The formula as typed.
    position : int, optional
        Offset in `source` of the offending character; the message then shows the text with a
        caret under it.

    Examples
    --------
    >>> import lmm
    >>> lmm.parse_formula("y ~ x - (1 | g)")
    Traceback (most recent call last):
        ...
    lmm.errors.FormulaError: (1 | g) cannot be subtracted: leave it out instead.
        y ~ x - (1 | g)
                 ^
    """

    def __init__(self, message: str, source: str | None = None, position: int | None = None):
        self.message = message
        self.source = source
        self.position = position
        super().__init__(self._text())

    def _text(self) -> str:
        if self.source is None or self.position is None:
            return self.message
        # A window around the fault, so that a very long formula stays readable.
        start = max(0, self.position - 60)
        window = self.source[start : self.position + 40].replace("\n", " ").replace("\t", " ")
        return f"{self.message}\n    {window}\n    {' ' * (self.position - start)}^"

    def __reduce__(self) -> tuple[type, tuple[str, str | None, int | None]]:
        return type(self), (self.message, self.source, self.position)


class NumericalError(RuntimeError):
    """A computation broke down (a matrix that must be positive definite is not)."""


class LmmWarning(UserWarning):
    """Base class of this package's warnings.

    ``str()`` adds to `text` where the documentation says what to do.

    Attributes
    ----------
    section : str
        Heading on the page Messages.

    Examples
    --------
    >>> import lmm, warnings
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore", lmm.SingularFitWarning)
    ...     m = lmm.lmer("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff2"))
    >>> print(m.warnings[0].text)
    boundary (singular) fit: the variance is zero for (Intercept) by Batch.
    Simpler random effects fit as well: m.re_pca() shows in how many dimensions they vary.
    """

    section = "Checks of the grouping factors"

    @property
    def text(self) -> str:
        """What is wrong, as reports repeat it."""
        return str(self.args[0])

    def __str__(self) -> str:
        return f'{self.text}\nSee "{self.section}" on the page Messages of the documentation.'


class ConvergenceWarning(LmmWarning):
    """The optimizer stopped at a point that is not a verified optimum."""

    section = "Model failed to converge"


class SingularFitWarning(LmmWarning):
    """The estimated random-effects covariance is singular (on the boundary)."""

    section = "Singular fit"


class PrecisionWarning(LmmWarning):
    """The residuals are so small beside the response that rounding takes digits of estimates."""

    section = "Few digits left"


class MissingCellsWarning(LmmWarning):
    """Combinations of factor levels do not occur in the data, and hypotheses depend on which."""

    section = "Missing cells"


class RankDeficiencyWarning(LmmWarning):
    """Columns of the fixed-effects model matrix were dropped."""

    section = "Rank-deficient fixed effects"


class DoubleBarWarning(LmmWarning):
    """A ``||`` term makes columns independent that lme4 keeps correlated."""

    section = "Independent columns"


class ContrastsWarning(LmmWarning):
    """Contrasts are given for a factor that the model does not have."""

    section = "Contrasts of absent factors"


class RefitWarning(LmmWarning):
    """A test needs another criterion than the one the model was fitted by, and refits it."""

    section = "Refitted by REML"


class FailedReplicatesWarning(LmmWarning):
    """The statistic of a bootstrap failed in some replicates."""

    section = "Failed replicates"


class ScaleWarning(LmmWarning):
    """Predictors are on very different scales."""

    section = "Predictors on very different scales"


class ResponseWarning(LmmWarning):
    """The response is not of the form that its family is meant for."""

    section = "Responses of generalized models"


class ArrowsWarning(LmmWarning):
    """Comparison arrows cannot show which of the means differ."""

    section = "Comparison arrows"


class RatioWarning(LmmWarning):
    """Exponentials of coefficients are asked for where the link makes no ratios of them."""

    section = "No ratios"


class WeightsWarning(LmmWarning):
    """New rows have no weights, though the model was fitted with some."""

    section = "Weights of new rows"


@contextmanager
def silence() -> Iterator[None]:
    """Context in which this package does not warn: in this thread, whatever Python's filters say.

    Unlike `warnings.catch_warnings`, which changes the filters of all threads.
    """
    token = _silent.set(True)
    try:
        yield
    finally:
        _silent.reset(token)


def warn(warning: LmmWarning) -> None:
    """Warn at the line outside this package that led here, unless in `silence`."""
    if _silent.get():
        return
    frame, level = sys._getframe(), 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("lmm."):
        frame, level = frame.f_back, level + 1
    warnings.warn(warning, stacklevel=level)


def checked_level(level: Any) -> float:
    """A confidence level.

    Raises
    ------
    TypeError
        It is no number.
    ValueError
        It is not between 0 and 1.
    """
    if not isinstance(level, Real):
        raise TypeError(f"level must be a number between 0 and 1, not {level!r}.")
    number = float(level)
    if not 0.0 < number < 1.0:
        hint = f" Did you mean {number / 100:g}?" if 1.0 < number < 100.0 else ""
        raise ValueError(f"level must be between 0 and 1, not {level!r}.{hint}")
    return number


def nearest(name: str, known: Iterable[str]) -> str:
    """Hint that names the closest known spelling, or lists what is known.

    Examples
    --------
    >>> nearest("Subjct", ["Reaction", "Days", "Subject"])
    " Did you mean 'Subject'? Known: Reaction, Days, Subject."
    """
    known = [str(k) for k in known]
    by_lower = {k.lower(): k for k in reversed(known)}
    listed = ", ".join(known[:20]) + (", ..." if len(known) > 20 else "")
    close = get_close_matches(str(name).lower(), by_lower, n=1, cutoff=0.6)
    hint = f" Did you mean {by_lower[close[0]]!r}?" if close else ""
    return f"{hint} Known: {listed}." if known else " There is none."
