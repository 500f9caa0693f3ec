"""Minimizing a criterion: start, run, tidy up the boundary, and judge."""

from __future__ import annotations

import dataclasses
import sys

import numpy as np

from lmm._threads import blas_threads
from lmm._types import Vector
from lmm.criterion import Criterion
from lmm.criterion.base import checked_start
from lmm.errors import NumericalError, nearest
from lmm.optimize.newton import Report
from lmm.optimize.optimizers import Optimizer, Path
from lmm.optimize.point import Point
from lmm.optimize.scoring import FisherScoring
from lmm.optimize.searches import COBYQA, LBFGSB, NelderMead
from lmm.optimize.status import Optimum, Status

__all__ = ["OPTIMIZERS", "minimize", "named", "silent"]

# Columns of lambda* shorter than this are set to zero when the criterion does not object: a random
# effect 1e-5 times the noise of its level's mean changes the criterion by about 1e-10 per level.
SNAP = 1e-5
# A stationary point promises no larger decrease of the criterion than this ...
STATIONARY = 1e-6
# ... and has no Hessian eigenvalue below minus this fraction of the largest.
SADDLE = 1e-6
# Powers of such coordinates overflow in the derivatives.
OVERFLOWING = 1e50
# Nothing is to be gained where less than this fraction of the criterion is promised.
ROUNDING = 1e-15
# Random effects this many times as large as the noise of their level's mean leave no noise.
VAST = 1e6


OPTIMIZERS: dict[str, Optimizer] = {
    "auto": FisherScoring(),
    "L-BFGS-B": LBFGSB(),
    "COBYQA": COBYQA(),
    "Nelder-Mead": NelderMead(),
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
        raise ValueError(f"Unknown optimizer {optimizer!r}.{nearest(optimizer, OPTIMIZERS)}")
    return OPTIMIZERS[optimizer]


def silent(_count: int, _value: float, _x: Vector) -> None:
    """Report nothing."""


def reporter(verbose: int) -> Report:
    """Report evaluations on standard error, where `verbose` is above 0."""

    def write(count: int, value: float, x: Vector) -> None:
        sys.stderr.write(f"evaluation {count}: criterion {value:.6f}, whitened theta {x}\n")

    return write if verbose > 0 else silent


def minimize(
    criterion: Criterion,
    optimizer: str | Optimizer = "auto",
    *,
    start: Vector | None = None,
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
    start : (m,) array, optional
        Start on lme4's scale; by default the moment estimates of `lmm.optimize.start`.
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
        x = _start(criterion, start)
        if not np.abs(x).max(initial=0.0) < OVERFLOWING:
            raise NumericalError(
                f"No derivatives exist at theta = {start}: start from a smaller one."
            )
        path = optimizer.run(criterion, x, report)
        if not np.isfinite(path.point.value):
            raise NumericalError(
                f"The criterion is {path.point.value} from the start: start from a smaller theta."
            )
        return _judge(optimizer, _snapped(path))


def _start(criterion: Criterion, theta: Vector | None) -> Vector:
    """The first of the criterion's own starts (d,), or the one given on the users' scale."""
    if theta is None:
        return next(iter(criterion.starts()))
    return criterion.to_x(checked_start(criterion, theta))


def _cleared(criterion: Criterion, x: Vector) -> Vector:
    """The point x (d,) with tiny columns of lambda* set to zero."""
    parameters = criterion.parameters
    m = len(parameters.lower)
    return np.append(parameters.cleared(x[:m], SNAP), x[m:])


def _snapped(path: Path) -> Path:
    """Set tiny columns of lambda* to zero, if the criterion stays as low."""
    point = path.point
    x = _cleared(point.criterion, point.x)
    if np.array_equal(x, point.x):
        return path
    cleared = Point.at(point.criterion, x)
    if cleared.value > point.value + 1e-8:
        cleared = point
    return dataclasses.replace(path, point=cleared, n_evaluations=path.n_evaluations + 1)


def _judge(optimizer: Optimizer, path: Path) -> Optimum:
    point, n_evaluations = path.point, path.n_evaluations
    criterion, x, value = point.criterion, point.x, point.value
    status = _status(path)
    if status is Status.CONVERGED and point.decrement > ROUNDING * abs(value):
        x, value = _polished(point)
        n_evaluations += 1
    theta = criterion.to_theta(x)
    return Optimum(
        theta=theta,
        x=x,
        value=value,
        status=status,
        n_evaluations=n_evaluations,
        gradient=np.where(point.free, point.here.gradient, 0.0),
        decrement=point.decrement,
        hessian_eigenvalues=point.spectrum[0],
        boundary=_boundary(criterion, theta),
        exact_hessian=point.here.exact,
        solver=criterion.description,
        optimizer=optimizer.name,
        message="" if status is Status.CONVERGED else _advice(point, status),
    )


def _polished(point: Point) -> tuple[Vector, float]:
    """A last Newton step (x, value): it squares the distance to the optimum and costs a value.

    The certificate stays that of the point before it.
    """
    x = _cleared(point.criterion, point.newton_target)
    value = point.criterion.value(x)
    return (x, value) if value <= point.value else (point.x, point.value)


def _status(path: Path) -> Status:
    point = path.point
    # Rounding of the criterion itself bounds how small a promised decrease can get.
    if not point.decrement <= max(STATIONARY, 1e-11 * abs(point.value)):
        covariances = point.x[: len(point.criterion.parameters.lower)]
        if np.abs(covariances).max(initial=0.0) > VAST:
            return Status.UNBOUNDED
        return Status.MAX_EVALUATIONS if path.exhausted else Status.NOT_STATIONARY
    if point.is_regular:
        return Status.CONVERGED
    if not point.model.is_identified.all():
        return Status.NOT_IDENTIFIED
    eigenvalues, _ = point.spectrum
    if eigenvalues.size and eigenvalues[0] < -SADDLE * max(float(eigenvalues[-1]), 1.0):
        return Status.SADDLE
    return Status.CONVERGED


def _advice(point: Point, status: Status) -> str:
    """What to do, and the parameter that is farthest from where it should be."""
    model = point.model
    if status is Status.NOT_IDENTIFIED:
        step = np.where(model.is_identified, 0.0, 1.0)
    else:
        step = model.spectrum[1][:, 0] if status is Status.SADDLE else model.newton_step()
    change = np.abs(model.follow(step)[0] - point.x)
    names = point.criterion.names
    return f"{status.value} Parameter: {names[int(np.argmax(change))]}."


def _boundary(criterion: Criterion, theta: Vector) -> tuple[str, ...]:
    """Names of the parameters that make a covariance singular."""
    parameters = criterion.parameters
    where = np.flatnonzero(parameters.on_boundary(theta[: len(parameters.lower)]))
    return tuple(criterion.names[i] for i in where)
