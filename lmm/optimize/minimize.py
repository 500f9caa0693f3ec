"""Minimizing a criterion: start, run, tidy up the boundary, and judge."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence

import numpy as np

from lmm._threads import blas_threads
from lmm._types import Vector
from lmm.criterion import Criterion
from lmm.criterion.base import checked_start
from lmm.errors import NumericalError, nearest
from lmm.optimize.newton import Report, value_at
from lmm.optimize.optimizers import Optimizer, Path
from lmm.optimize.point import Point
from lmm.optimize.scoring import FisherScoring
from lmm.optimize.searches import COBYQA, LBFGSB, NelderMead
from lmm.optimize.status import Optimum, Status
from lmm.optimize.steps import STALLED
from lmm.optimize.verdict import cleared, judged

# Powers of such coordinates overflow in the derivatives.
OVERFLOWING = 1e50


OPTIMIZERS: dict[str, Optimizer] = {
    "auto": FisherScoring(),
    "L-BFGS-B": LBFGSB(),
    "COBYQA": COBYQA(),
    "Nelder-Mead": NelderMead(),
}


# What R and SciPy call what comes nearest to ours.
_ELSEWHERE = {
    **dict.fromkeys(("bobyqa", "nloptwrap", "nloptr", "newuoa", "uobyqa", "powell"), "COBYQA"),
    **dict.fromkeys(("bfgs", "lbfgs", "nlminb", "nlminbwrap", "optimx", "cg"), "L-BFGS-B"),
    **dict.fromkeys(("nm", "nelder_mead", "nmkb", "simplex"), "Nelder-Mead"),
    **dict.fromkeys(("newton", "nr", "ncg", "fisher", "scoring"), "auto"),
}


def named(optimizer: str | Optimizer) -> Optimizer:
    """The optimizer of that name, or the object itself.

    Raises
    ------
    ValueError
        The name is unknown; the message lists the known ones.
    TypeError
        It is neither a name nor an optimizer.
    """
    if not isinstance(optimizer, str):
        if isinstance(optimizer, type) or not callable(getattr(optimizer, "run", None)):
            raise TypeError(
                f"optimizer must be one of {', '.join(map(repr, OPTIMIZERS))}, or an optimizer, "
                f"such as lmm.COBYQA(), not {optimizer!r}."
            )
        return optimizer
    if optimizer not in OPTIMIZERS:
        meant = _ELSEWHERE.get(optimizer.lower(), optimizer)
        raise ValueError(f"Unknown optimizer {optimizer!r}.{nearest(meant, OPTIMIZERS)}")
    return OPTIMIZERS[optimizer]


def silent(_count: int, _value: float, _x: Vector) -> None:
    """Report nothing."""


def reporter(verbose: int) -> Report:
    """Report evaluations on standard error, where `verbose` is above 0.

    Raises
    ------
    TypeError
        `verbose` is no whole number.
    """
    if not isinstance(verbose, int | np.integer):
        raise TypeError(f"verbose must be a whole number, not {verbose!r}.")

    def write(count: int, value: float, x: Vector) -> None:
        sys.stderr.write(f"evaluation {count}: criterion {value:.6f}, whitened theta {x}\n")

    return write if verbose > 0 else silent


def minimize(
    criterion: Criterion,
    optimizer: str | Optimizer = "auto",
    *,
    start: Vector | None = None,
    others: Sequence[Vector] = (),
    report: Report = silent,
) -> Optimum:
    """Minimize a criterion and certify the result.

    Parameters
    ----------
    criterion : Criterion
        What to minimize, such as a `ProfiledCriterion` or a `PlainCriterion`.
    optimizer : str or Optimizer, default "auto"
        ``"auto"`` (second-order `FisherScoring`), ``"L-BFGS-B"``, ``"COBYQA"``, ``"Nelder-Mead"``
        or an optimizer object.
    start : (d,) array, optional
        Start on the users' scale (lme4's theta); by default the first of the criterion's own, for
        linear models the moment estimates of `lmm.criterion.moments`.
    others : sequence of (d,) arrays, optional
        Further points on the users' scale. Where the criterion is lower than at the minimum found,
        another search is made from there, and the lower end is kept.
    report : callable, optional
        Called as ``report(count, value, x)`` after each evaluation.

    Returns
    -------
    Optimum
        The point, its certificate and the verdict.

    Raises
    ------
    ValueError
        `optimizer` is unknown, or `start` has the wrong length or values that are not finite.
    NumericalError
        The criterion cannot be computed at the start.

    Examples
    --------
    >>> import lmm
    >>> data = lmm.load_dataset("Dyestuff")
    >>> formula = lmm.parse_formula("Yield ~ 1 + (1 | Batch)")
    >>> criterion = lmm.ProfiledCriterion(lmm.build_matrices(formula, data))
    >>> round(lmm.minimize(criterion).value, 6)
    319.654277
    """
    optimizer = named(optimizer)
    # Trial points may overflow: what is not a smaller number is not accepted.
    with blas_threads(criterion.dense_size), np.errstate(all="ignore"):
        path = _searched(criterion, optimizer, start, report)
        if not np.isfinite(path.point.value):
            raise NumericalError(
                f"The criterion is {path.point.value} from the start: start from a smaller theta."
            )
        for other in others:
            x = criterion.to_x(checked_start(criterion, other))
            path = _lowered(path, optimizer, x, report)
        optimum = judged(_snapped(path), optimizer.name)
        if optimizer != OPTIMIZERS["auto"]:
            return optimum
        if start is not None and optimum.status in ASTRAY:
            optimum = _begun_anew(criterion, optimum, report)
        return _rescued(criterion, optimum, report)


def minimize_near(criterion: Criterion, start: Vector) -> Optimum:
    """Minimize from the parameters (d,) of another fit, or from the criterion's own start.

    It is the latter where the criterion cannot be computed at the former, as where the link allows
    no predictors of other rows there.
    """
    try:
        return minimize(criterion, start=start)
    except NumericalError:
        return minimize(criterion)


# Verdicts that another optimizer may change, and the optimizers to try, in turn.
IMPERFECT = (Status.NOT_STATIONARY, Status.SADDLE, Status.MAX_EVALUATIONS)
OTHERS: tuple[Optimizer, ...] = (LBFGSB(), COBYQA(max_evaluations=1000))


# Verdicts on a search that may owe to where it was told to start.
ASTRAY = (*IMPERFECT, Status.ROUNDING, Status.UNBOUNDED)


def _searched(
    criterion: Criterion, optimizer: Optimizer, start: Vector | None, report: Report
) -> Path:
    """The search from a start on the users' scale, or from the criterion's own if it breaks down.

    Where not even the criterion can be computed at the start, that is an error.
    """
    x = _start(criterion, start)
    if not np.abs(x).max(initial=0.0) < OVERFLOWING:
        where = "at any start" if start is None else f"at theta = {start}"
        advice = "measure in other units" if start is None else "start from a smaller one"
        raise NumericalError(f"No derivatives exist {where}: {advice}.")
    try:
        return optimizer.run(criterion, x, report)
    except NumericalError:
        if start is None or not np.isfinite(value_at(criterion, x)):
            raise
    return optimizer.run(criterion, _start(criterion, None), report)


def _begun_anew(criterion: Criterion, optimum: Optimum, report: Report) -> Optimum:
    """The optimum from the criterion's own start, if that is one or lower."""
    path = OPTIMIZERS["auto"].run(criterion, _start(criterion, None), report)
    found = judged(_snapped(path), optimum.optimizer)
    count = optimum.n_evaluations + found.n_evaluations
    best = found if found.converged or found.value < optimum.value else optimum
    return dataclasses.replace(best, n_evaluations=count)


def _rescued(criterion: Criterion, optimum: Optimum, report: Report) -> Optimum:
    """The best that other optimizers make of where the default one has failed.

    Each goes on from the best point, and the default one from where it ends.
    """
    if optimum.status not in IMPERFECT:
        return optimum
    best, count = optimum, optimum.n_evaluations
    for other in OTHERS:
        if best.status not in IMPERFECT:
            break
        moved = other.run(criterion, best.x, report)
        again = OPTIMIZERS["auto"].run(criterion, moved.point.x, report)
        name = f"{optimum.optimizer} and {other.name}"
        found = judged(_snapped(again), name)
        count += moved.n_evaluations + found.n_evaluations
        if found.converged or found.value < best.value:
            best = found
    return dataclasses.replace(best, n_evaluations=count)


def _start(criterion: Criterion, theta: Vector | None) -> Vector:
    """The first of the criterion's own starts (d,), or the one given on the users' scale."""
    if theta is None:
        return next(iter(criterion.starts()))
    return criterion.to_x(checked_start(criterion, theta))


def _lowered(path: Path, optimizer: Optimizer, x: Vector, report: Report) -> Path:
    """The path, or one from x (d,), if x lies lower than where the path has ended."""
    count = path.n_evaluations + 1
    value = value_at(path.point.criterion, x)
    report(count, value, x)
    if not value < path.point.value - STALLED:
        return dataclasses.replace(path, n_evaluations=count)
    other = optimizer.run(path.point.criterion, x, report)
    return dataclasses.replace(other, n_evaluations=count + other.n_evaluations)


def _snapped(path: Path) -> Path:
    """Set tiny columns of lambda* to zero, if the criterion stays as low."""
    point = path.point
    x = cleared(point.criterion, point.x)
    if x is point.x or np.array_equal(x, point.x):
        return path
    there = Point.at(point.criterion, x)
    if there.value > point.value + 1e-8:
        there = point
    return dataclasses.replace(path, point=there, n_evaluations=path.n_evaluations + 1)
