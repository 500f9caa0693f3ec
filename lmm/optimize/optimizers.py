"""Optimizers of a criterion: frozen objects with their own validated options.

The second-order one is derived in docs/theory/optimizer.md ("eqn." below).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from lmm._types import Matrix, Vector
from lmm.criterion import Evaluation, ProfiledCriterion, lower_triangular
from lmm.errors import NumericalError, nearest

__all__ = ["COBYQA", "LBFGSB", "FisherScoring", "NelderMead", "Optimizer", "Path", "named"]

Report = Callable[[int, float, Vector], None]


@dataclass(frozen=True, eq=False)
class Path:
    """What an optimizer returns.

    Attributes
    ----------
    x : (m,) array
        Best point, whitened coordinates.
    here : Evaluation
        Value and derivatives there.
    n_evaluations : int
        Evaluations used.
    exhausted : bool
        Whether the limit on evaluations ended it.
    """

    x: Vector
    here: Evaluation
    n_evaluations: int
    exhausted: bool


class Optimizer(Protocol):
    """Moves the whitened coordinates of a criterion from a start to a minimum."""

    @property
    def name(self) -> str:
        """Name shown to users."""

    def run(self, criterion: ProfiledCriterion, start: Vector, report: Report) -> Path:
        """Minimize from `start` (m,); call ``report(i, value, x)`` after each evaluation."""


def _positive(name: str, value: float) -> None:
    if not value > 0:
        raise ValueError(f"{name} must be positive, not {value!r}.")


# The criterion carries rounding errors of about this fraction of itself: a promised decrease below
# it can neither be seen nor gained.
ROUNDING = 1e-12


@dataclass(frozen=True)
class FisherScoring:
    """Fisher scoring in the covariance while far, Newton steps in its factor when near.

    Far from the optimum the expected information in Gamma is the better model (for balanced data
    one step is exact); it cannot say what happens on the boundary. Near it, damped Newton steps in
    x converge quadratically and land on the boundary x = 0 exactly. Eigenvalues of the Hessian
    enter by their absolute value, so that steps descend at saddles too; damping in the manner of
    Levenberg and Marquardt reacts to how well the quadratic model predicted. Points that are
    stationary only because lambda is singular (or a saddle) are left along the direction of
    steepest descent.

    Parameters
    ----------
    max_evaluations : int, default 200
        Limit on evaluations of the criterion.
    tolerance : float, default 1e-8
        Stop when the quadratic model promises less than this decrease of the criterion (times
        a thousandth of the criterion, where that is more than 1).
    """

    max_evaluations: int = 200
    tolerance: float = 1e-8

    name = "Fisher scoring"

    def __post_init__(self) -> None:
        _positive("max_evaluations", self.max_evaluations)
        _positive("tolerance", self.tolerance)

    def run(self, criterion: ProfiledCriterion, start: Vector, report: Report) -> Path:
        """Minimize from `start`; see `Optimizer`."""
        walk = _Walk(criterion, start, report)
        self._score(walk)
        while self._newton(walk):
            target = _downhill(criterion, walk, self._negligible(walk.here))
            if target is None or not self._leave(walk, target):
                return Path(walk.x, walk.here, walk.n, exhausted=False)
        return Path(walk.x, walk.here, walk.n, exhausted=True)

    def _negligible(self, here: Evaluation) -> float:
        return self.tolerance * max(1.0, 1e-3 * abs(here.value))

    def _score(self, walk: _Walk) -> None:
        """Fisher scoring in Gamma until the promise is small, or a step fails or is clipped."""
        clipped = False
        while walk.n < self.max_evaluations and not clipped:
            target, promise, clipped = scoring_step(walk.criterion, walk.x, walk.here)
            if promise < NEAR or not walk.descend(target):
                return

    def _newton(self, walk: _Walk) -> bool:
        """Damped Newton steps in x until stationary; False when evaluations ran out."""
        damping = 0.0
        while walk.n < self.max_evaluations:
            step, promise, scale = newton_step(walk.here, damping)
            if promise < self._negligible(walk.here) and damping <= scale:
                return True
            target = np.maximum(walk.x + step, walk.criterion.lower)
            predicted = _predicted(walk.here, target - walk.x)
            before = walk.here.value
            moved = walk.descend(target)
            gain = (before - walk.tried) / predicted
            if gain > 0.75:
                damping = 0.0 if damping < 1e-3 * scale else 0.1 * damping
            elif gain < 0.25:
                damping = max(4.0 * damping, 0.1 * scale)
            if not moved and predicted < ROUNDING * abs(before):
                return True
        return False

    def _leave(self, walk: _Walk, target: Callable[[float], Vector]) -> bool:
        """Try shorter and shorter moves along a descent direction; True when one descends."""
        for size in 0.25 ** np.arange(8.0):
            if walk.n >= self.max_evaluations:
                return False
            if walk.descend(target(size)):
                return True
        return False


# Promised decrease of the criterion below which Newton steps in x take over from scoring.
NEAR = 0.5


class _Walk:
    """The current point of a descent; every trial is counted and reported."""

    def __init__(self, criterion: ProfiledCriterion, start: Vector, report: Report):
        self.criterion = criterion
        self.report = report
        self.x = start
        self.here = criterion.evaluate(start)
        self.tried = self.here.value
        self.n = 1
        report(1, self.here.value, start)

    def descend(self, target: Vector) -> bool:
        """Evaluate `target`; move there if the criterion does not increase."""
        self.n += 1
        try:
            there = self.criterion.evaluate(target)
        except NumericalError:  # a step gone too far: the factorization breaks down
            self.tried = np.inf
            return False
        self.tried = there.value
        self.report(self.n, there.value, target)
        if not there.value <= self.here.value:
            return False
        self.x, self.here = target, there
        return True


def scoring_step(
    criterion: ProfiledCriterion, x: Vector, here: Evaluation
) -> tuple[Vector, float, bool]:
    """Fisher-scoring step (eqn. 1): new x (m,), promised decrease, whether Gamma was clipped."""
    eigenvalues, vectors = np.linalg.eigh(here.information)
    floor = 1e-10 * max(float(eigenvalues[-1]), np.finfo(float).tiny)
    along = vectors.T @ here.score
    coefficients = -along / np.maximum(eigenvalues, floor)
    promise = -0.5 * float(along @ coefficients)
    step = vectors @ coefficients
    target, clipped = np.empty(len(x)), False
    matrices = criterion.matrices
    for term, part, factor in zip(
        matrices.terms, matrices.theta_slices, criterion.factors(x), strict=True
    ):
        change = term.covariance.factor(step[part])
        change = change + change.T - np.diag(np.diag(change))
        root, short = _root(factor @ factor.T + change, factor)
        clipped = clipped or short
        target[part] = term.covariance.theta(root)
    return target, promise, clipped


def _root(gamma: Matrix, factor: Matrix) -> tuple[Matrix, bool]:
    """Lower-triangular root of gamma (k, k), its eigenvalues kept clear of zero."""
    eigenvalues, vectors = np.linalg.eigh(gamma)
    # Keep a part of the smallest current eigenvalue: from exactly 0 no step would lead away.
    floor = max(0.05 * float(np.linalg.svd(factor, compute_uv=False)[-1]) ** 2, 1e-8)
    root = lower_triangular(vectors * np.sqrt(np.maximum(eigenvalues, floor)))
    return root, bool(eigenvalues[0] < floor)


def newton_step(here: Evaluation, damping: float) -> tuple[Vector, float, float]:
    """Newton step (eqn. 2) with |eigenvalues| + damping, its promise, largest |eigenvalue|."""
    eigenvalues, vectors = np.linalg.eigh(here.hessian)
    size = np.abs(eigenvalues)
    scale = float(size.max())
    along = vectors.T @ here.gradient
    curvature = np.maximum(size, 1e-10 * scale) + damping
    curvature[curvature == 0.0] = 1.0
    coefficients = -along / curvature
    return vectors @ coefficients, -0.5 * float(along @ coefficients), scale


def _predicted(here: Evaluation, step: Vector) -> float:
    """Decrease that the quadratic model predicts for a (projected) step; kept positive."""
    linear = float(here.gradient @ step)
    quadratic = 0.5 * float(step @ here.hessian @ step)
    return max(-(linear + max(quadratic, 0.0)), -0.5 * linear, 1e-300)


def _downhill(
    criterion: ProfiledCriterion, walk: _Walk, tolerance: float
) -> Callable[[float], Vector] | None:
    """A way down from a stationary point that is no minimum, or None.

    At a singular lambda every x is stationary in the null directions; the derivative in the
    variance along w w' is ``w'G w``, and a minimum needs G positive semi-definite (eqns. 3 and 4).
    Elsewhere a negative eigenvalue of the Hessian in x tells a saddle.
    """
    matrices = criterion.matrices
    for term, part, factor, G in zip(
        matrices.terms,
        matrices.theta_slices,
        criterion.factors(walk.x),
        walk.here.slopes,
        strict=True,
    ):
        if term.covariance.is_diagonal:
            G = np.diag(np.diag(G))
        eigenvalues, vectors = np.linalg.eigh(G)
        slope, w = float(eigenvalues[0]), vectors[:, 0]
        if slope >= 0.0:
            continue
        direction = np.zeros(len(walk.x))
        direction[part] = np.outer(w, w)[term.covariance.positions]
        curvature = max(float(direction @ walk.here.information @ direction), 1e-300)
        if slope * slope / curvature < 2.0 * tolerance:
            continue

        def along(size: float) -> Vector:
            t = np.sqrt(size * -slope / curvature)
            target = walk.x.copy()
            root = lower_triangular(np.column_stack([factor, t * w]))
            target[part] = term.covariance.theta(root)
            return target

        return along
    eigenvalues, vectors = np.linalg.eigh(walk.here.hessian)
    if eigenvalues[0] >= -1e-6 * max(abs(eigenvalues[-1]), 1.0):
        return None
    length = max(1.0, float(np.abs(walk.x).max()))
    return lambda size: np.maximum(walk.x + size * length * vectors[:, 0], criterion.lower)


@dataclass(frozen=True)
class LBFGSB:
    """SciPy's L-BFGS-B with the exact gradient.

    Parameters
    ----------
    max_evaluations : int, default 1000
        Limit on evaluations of the criterion.
    tolerance : float, default 1e-8
        Largest projected gradient (whitened coordinates) at which to stop.
    """

    max_evaluations: int = 1000
    tolerance: float = 1e-8

    name = "L-BFGS-B"

    def __post_init__(self) -> None:
        _positive("max_evaluations", self.max_evaluations)
        _positive("tolerance", self.tolerance)

    def run(self, criterion: ProfiledCriterion, start: Vector, report: Report) -> Path:
        """Minimize from `start`; see `Optimizer`."""
        options = {
            "maxfun": self.max_evaluations,
            "maxiter": self.max_evaluations,
            "gtol": self.tolerance,
            "ftol": 1e-15,
        }

        def value_and_gradient(x: Vector) -> tuple[float, Vector]:
            here = criterion.evaluate(x)
            return here.value, here.gradient

        return _scipy("L-BFGS-B", criterion, value_and_gradient, start, report, options)


@dataclass(frozen=True)
class COBYQA:
    """SciPy's COBYQA: bounded search by quadratic models, without derivatives.

    Parameters
    ----------
    max_evaluations : int, default 5000
        Limit on evaluations of the criterion.
    tolerance : float, default 1e-7
        Final radius of the trust region (whitened coordinates).
    """

    max_evaluations: int = 5000
    tolerance: float = 1e-7

    name = "COBYQA"

    def __post_init__(self) -> None:
        _positive("max_evaluations", self.max_evaluations)
        _positive("tolerance", self.tolerance)

    def run(self, criterion: ProfiledCriterion, start: Vector, report: Report) -> Path:
        """Minimize from `start`; see `Optimizer`."""
        options = {"maxfev": self.max_evaluations, "final_tr_radius": self.tolerance}
        return _scipy("COBYQA", criterion, criterion.value, start, report, options)


@dataclass(frozen=True)
class NelderMead:
    """SciPy's bounded Nelder-Mead simplex, without derivatives.

    Parameters
    ----------
    max_evaluations : int, default 20000
        Limit on evaluations of the criterion.
    tolerance : float, default 1e-8
        Size of the simplex (whitened coordinates) and spread of values at which to stop.
    """

    max_evaluations: int = 20000
    tolerance: float = 1e-8

    name = "Nelder-Mead"

    def __post_init__(self) -> None:
        _positive("max_evaluations", self.max_evaluations)
        _positive("tolerance", self.tolerance)

    def run(self, criterion: ProfiledCriterion, start: Vector, report: Report) -> Path:
        """Minimize from `start`; see `Optimizer`."""
        options = {
            "maxfev": self.max_evaluations,
            "maxiter": self.max_evaluations,
            "xatol": self.tolerance,
            "fatol": self.tolerance,
            "adaptive": len(start) > 4,
        }
        return _scipy("Nelder-Mead", criterion, criterion.value, start, report, options)


def _scipy(
    method: str,
    criterion: ProfiledCriterion,
    function: Callable[[Vector], float | tuple[float, Vector]],
    start: Vector,
    report: Report,
    options: dict[str, float],
) -> Path:
    """Run a method of `scipy.optimize.minimize` on the whitened coordinates."""
    from scipy.optimize import Bounds, minimize

    count = 0

    def counted(x: Vector) -> float | tuple[float, Vector]:
        nonlocal count
        count += 1
        result = function(x)
        report(count, result[0] if isinstance(result, tuple) else result, x)
        return result

    result = minimize(
        counted,
        start,
        method=method,
        jac=method == "L-BFGS-B",
        bounds=Bounds(criterion.lower, np.inf),
        options=options,
    )
    x = np.maximum(result.x, criterion.lower)
    exhausted = count >= options.get("maxfev", options.get("maxfun", np.inf))
    return Path(x, criterion.evaluate(x), count + 1, exhausted)


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
    """
    if not isinstance(optimizer, str):
        return optimizer
    if optimizer not in OPTIMIZERS:
        raise ValueError(f"Unknown optimizer {optimizer!r}.{nearest(optimizer, OPTIMIZERS)}")
    return OPTIMIZERS[optimizer]
