"""The model fitted by every optimizer, to see whether they agree."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

from lmm._progress import watched
from lmm.errors import NumericalError
from lmm.fit import Fit
from lmm.optimize import OPTIMIZERS, Optimizer, minimize, named


@dataclass(frozen=True, eq=False)
class Attempt:
    """What one optimizer made of a model.

    Attributes
    ----------
    optimizer : str
        Its name.
    fit : Fit or None
        Where it ended; None if a computation broke down.
    message : str
        What went wrong; empty if it reached a verified optimum.
    seconds : float
        Elapsed time.
    """

    optimizer: str
    fit: Fit | None
    message: str
    seconds: float


def fit_with_each(
    fit: Fit, optimizers: Iterable[str | Optimizer] | None = None, *, progress: bool | None = None
) -> tuple[Attempt, ...]:
    """Minimize a model's criterion with each optimizer: see `LinearMixedModel.all_fit`.

    The start is the one that `lmm.lmer` begins with, not the estimate, so that agreement says
    something.
    """
    chosen = [named(one) for one in (OPTIMIZERS if optimizers is None else optimizers)]
    return tuple(_attempt(fit, one) for one in watched(chosen, "optimizer", progress))


def _attempt(fit: Fit, optimizer: Optimizer) -> Attempt:
    began = time.perf_counter()
    try:
        optimum = minimize(fit.criterion, optimizer)
        reached = type(fit).at(fit.formula, fit.criterion, optimum)
    except NumericalError as error:
        return Attempt(optimizer.name, None, str(error), time.perf_counter() - began)
    return Attempt(optimizer.name, reached, optimum.message, time.perf_counter() - began)
