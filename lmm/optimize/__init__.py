"""Minimizing a criterion: start, run, tidy up the boundary, and judge."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from lmm._threads import blas_threads
from lmm._types import Vector
from lmm.criterion import ProfiledCriterion
from lmm.errors import NumericalError
from lmm.optimize.local_model import LocalModel
from lmm.optimize.optimizers import (
    COBYQA,
    LBFGSB,
    OPTIMIZERS,
    FisherScoring,
    NelderMead,
    Optimizer,
    Path,
    Report,
    named,
)
from lmm.optimize.start import moment_start
from lmm.optimize.status import Optimum, Status

__all__ = [
    "COBYQA",
    "LBFGSB",
    "OPTIMIZERS",
    "FisherScoring",
    "NelderMead",
    "Optimizer",
    "Optimum",
    "Report",
    "Status",
    "at_zero",
    "minimize",
    "named",
    "silent",
]

# Columns of lambda* shorter than this are set to zero when the criterion does not object: a random
# effect 1e-5 times the noise of its level's mean changes the criterion by about 1e-10 per level.
SNAP = 1e-5
# A stationary point promises no larger decrease of the criterion than this ...
STATIONARY = 1e-6
# Nothing is to be gained where less than this fraction of the criterion is promised.
ROUNDING = 1e-15
# ... and has no Hessian eigenvalue below minus this fraction of the largest.
SADDLE = 1e-6


def silent(_count: int, _value: float, _x: Vector) -> None:
    """Report nothing."""


def minimize(
    criterion: ProfiledCriterion,
    optimizer: str | Optimizer = "auto",
    *,
    start: Vector | None = None,
    report: Report = silent,
) -> Optimum:
    """Minimize a criterion over theta and certify the result.

    Parameters
    ----------
    criterion : ProfiledCriterion
        What to minimize.
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
    with blas_threads(criterion.pls.dense_size), np.errstate(all="ignore"):
        x = moment_start(criterion) if start is None else criterion.to_x(criterion.checked(start))
        path = optimizer.run(criterion, x, report)
        if not np.isfinite(path.here.value):
            raise NumericalError(
                f"The criterion is {path.here.value} from the start: start from a smaller theta."
            )
        return _judge(criterion, optimizer, _snapped(criterion, path))


def _cleared(criterion: ProfiledCriterion, x: Vector) -> Vector:
    """The point x (m,) with tiny columns of lambda* set to zero."""
    cleared = x.copy()
    for term, part, factor in zip(
        criterion.matrices.terms, criterion.matrices.theta_slices, criterion.factors(x), strict=True
    ):
        lengths = np.sqrt(np.einsum("ij,ij->j", factor, factor))
        _, columns = term.covariance.positions
        cleared[part] = np.where(lengths[columns] < SNAP, 0.0, x[part])
    return cleared


def _snapped(criterion: ProfiledCriterion, path: Path) -> Path:
    """Set tiny columns of lambda* to zero, if the criterion stays as low."""
    x = _cleared(criterion, path.x)
    if np.array_equal(x, path.x):
        return path
    here = criterion.evaluate(x)
    n = path.n_evaluations + 1
    if here.value > path.here.value + 1e-8:
        return dataclasses.replace(path, n_evaluations=n)
    return Path(x, here, LocalModel.at(criterion, x, here), n, path.exhausted)


def _judge(criterion: ProfiledCriterion, optimizer: Optimizer, path: Path) -> Optimum:
    here, model = path.here, path.model
    free = ~at_zero(criterion, path.x)
    eigenvalues = np.linalg.eigvalsh(here.hessian[np.ix_(free, free)])
    status = _status(path, model, eigenvalues)
    x, value, n_evaluations = path.x, here.value, path.n_evaluations
    if status is Status.CONVERGED and model.decrement > ROUNDING * abs(value):
        x, value = _polished(criterion, path, model)
        n_evaluations += 1
    theta = criterion.to_theta(x)
    return Optimum(
        theta=theta,
        x=x,
        value=value,
        status=status,
        n_evaluations=n_evaluations,
        gradient=np.where(free, here.gradient, 0.0),
        decrement=model.decrement,
        hessian_eigenvalues=eigenvalues,
        boundary=_boundary(criterion, theta),
        exact_hessian=here.exact,
        solver=criterion.pls.description,
        optimizer=optimizer.name,
        message="" if status is Status.CONVERGED else _advice(criterion, path, model, status),
    )


def _polished(criterion: ProfiledCriterion, path: Path, model: LocalModel) -> tuple[Vector, float]:
    """A last Newton step (x, value): it squares the distance to the optimum and costs a value.

    The certificate stays that of the point before it.
    """
    x = _cleared(criterion, model.follow(model.newton_step())[0])
    value = criterion.value(x)
    return (x, value) if value <= path.here.value else (path.x, path.here.value)


def _status(path: Path, model: LocalModel, eigenvalues: Vector) -> Status:
    # Rounding of the criterion itself bounds how small a promised decrease can get.
    if not model.decrement <= max(STATIONARY, 1e-11 * abs(path.here.value)):
        return Status.MAX_EVALUATIONS if path.exhausted else Status.NOT_STATIONARY
    if not model.is_identified.all():
        return Status.NOT_IDENTIFIED
    if eigenvalues.size and eigenvalues[0] < -SADDLE * max(float(eigenvalues[-1]), 1.0):
        return Status.SADDLE
    return Status.CONVERGED


def _advice(criterion: ProfiledCriterion, path: Path, model: LocalModel, status: Status) -> str:
    """What to do, and the parameter that is farthest from where it should be."""
    if status is Status.NOT_IDENTIFIED:
        step = np.where(model.is_identified, 0.0, 1.0)
    else:
        step = model.spectrum[1][:, 0] if status is Status.SADDLE else model.newton_step()
    change = np.abs(model.follow(step)[0] - path.x)
    return f"{status.value} Parameter: {criterion.matrices.theta_names[int(np.argmax(change))]}."


def at_zero(criterion: ProfiledCriterion, x: Vector) -> NDArray[np.bool_]:
    """Components of x in columns of lambda* that are zero altogether, (m,)."""
    zero = np.zeros(len(x), dtype=bool)
    for term, part, factor in zip(
        criterion.matrices.terms,
        criterion.matrices.theta_slices,
        criterion.factors(x),
        strict=True,
    ):
        _, columns = term.covariance.positions
        zero[part] = np.all(factor == 0.0, axis=0)[columns]
    return zero


def _boundary(criterion: ProfiledCriterion, theta: Vector) -> tuple[str, ...]:
    """Names of the diagonal components of theta that vanish against their row of lambda."""
    names: list[str] = []
    for term, part in zip(criterion.matrices.terms, criterion.matrices.theta_slices, strict=True):
        factor = term.covariance.factor(theta[part])
        lengths = np.sqrt(np.einsum("ij,ij->i", factor, factor))
        for name, i, j in zip(term.theta_names, *term.covariance.positions, strict=True):
            if i == j and abs(factor[i, j]) <= 1e-6 * lengths[i]:
                names.append(name)
    return tuple(names)
