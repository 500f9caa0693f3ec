"""Optimizers of a criterion: frozen objects with their own validated options.

The second-order one is derived in docs/theory/optimizer.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np

from lmm._types import Vector
from lmm.criterion import ProfiledCriterion
from lmm.errors import NumericalError, nearest
from lmm.optimize.point import Point

__all__ = ["COBYQA", "LBFGSB", "FisherScoring", "NelderMead", "Optimizer", "Path", "named"]

Report = Callable[[int, float, Vector], None]


@dataclass(frozen=True, eq=False)
class Path:
    """What an optimizer returns.

    Attributes
    ----------
    point : Point
        The best point.
    n_evaluations : int
        Evaluations used.
    exhausted : bool
        Whether the limit on evaluations ended it.
    """

    point: Point
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


# Promised decrease of the criterion below which Newton steps take over from scoring.
NEAR = 0.5
# A step that promised less than this and did not deliver was lost in rounding errors.
STALLED = 1e-7
# Where the second search starts, in units of the noise of a level's own mean.
SECOND = 3.0
# Fraction of the tolerance to which a stationary point is refined that looks like a saddle.
FINE = 1e-5
# Damping that leaves nothing of a step.
HOPELESS = 1e12
# A stationary point is a saddle if an eigenvalue of the Hessian, relative to the information, is
# below this.
SADDLE = -1e-6


@dataclass(frozen=True)
class FisherScoring:
    """Fisher scoring while far from the optimum, Newton steps when near.

    Far away the expected information is the better model of the criterion, near it the Hessian,
    of which eigenvalues enter by their absolute value, so that steps descend at saddles too.
    Damping in the manner of Levenberg and Marquardt, in the metric of the information, reacts to
    how well the quadratic model predicted. Steps follow paths that suit covariances (see
    `lmm.optimize.local_model`), end on the boundary where a variance vanishes, and leave it where
    the criterion descends. A saddle is left along its direction of negative curvature. What ends
    on the boundary is searched for once more from large variances, for there may be another
    minimum inside; the lower one is kept.

    Parameters
    ----------
    max_evaluations : int, default 200
        Limit on evaluations of the criterion.
    tolerance : float, default 1e-8
        Stop when the quadratic model promises less than this decrease of the criterion (times
        a thousandth of the criterion, where that is more than 1).

    Examples
    --------
    >>> import lmm
    >>> dyestuff = lmm.load_dataset("Dyestuff")
    >>> optimizer = lmm.FisherScoring(max_evaluations=50)
    >>> m = lmm.lmer("Yield ~ 1 + (1 | Batch)", dyestuff, optimizer=optimizer)
    >>> round(m.reml_criterion(), 4)
    319.6543
    """

    max_evaluations: int = 200
    tolerance: float = 1e-8

    name = "Fisher scoring"

    def __post_init__(self) -> None:
        _positive("max_evaluations", self.max_evaluations)
        _positive("tolerance", self.tolerance)

    def run(self, criterion: ProfiledCriterion, start: Vector, report: Report) -> Path:
        """Minimize from `start`; see `Optimizer`."""
        walk = self._search(_Walk(criterion, start, report, self.max_evaluations))
        n = walk.n
        if walk.is_singular and not walk.exhausted:
            elsewhere = SECOND * criterion.start
            other = self._search(_Walk(criterion, elsewhere, report, self.max_evaluations, n))
            n = other.n
            if other.point.value < walk.point.value - STALLED:
                walk = other
        return Path(walk.point, n, n >= self.max_evaluations)

    def _search(self, walk: _Walk) -> _Walk:
        """Walk to a minimum."""
        while _score(walk) and not self._is_minimum(walk.point):
            pass
        while (
            not self._is_minimum(walk.point)
            and self._settle(walk, self.tolerance)
            and _is_saddle(walk.point)
        ):
            # A flat valley looks like a saddle from its slope: down to its floor before judging.
            self._settle(walk, FINE * self.tolerance)
            if not (_is_saddle(walk.point) and _leave_saddle(walk)):
                break
        return walk

    def _is_minimum(self, point: Point) -> bool:
        """Whether the Hessian alone shows that there is no more to gain."""
        return point.is_regular and point.decrement < self.tolerance * _unit(point)

    def _settle(self, walk: _Walk, tolerance: float) -> bool:
        """Damped Newton steps until stationary; False when evaluations ran out."""
        damping = 0.0
        while not walk.exhausted and damping < HOPELESS:
            model, unit = walk.point.model, _unit(walk.point)
            step = model.newton_step(damping)
            promise = model.promise(step, model.hessian)
            if damping <= 1.0 and promise < tolerance * unit:
                return True
            target, taken = model.follow(step)
            kept = model.promise(taken, model.hessian)
            gain = 0.0
            # A step that the boundary has cut short may no longer point downwards.
            if kept > 0.1 * promise:
                before = walk.point.value
                walk.descend(target)
                gain = (before - walk.tried) / kept
                if gain < 0.25 and kept < STALLED * unit:
                    return True
            if gain > 0.75:
                damping = 0.0 if damping < 1e-2 else 0.1 * damping
            elif gain < 0.25:
                damping = max(4.0 * damping, 0.1)
        return False


def _unit(point: Point) -> float:
    """What counts as a small difference of the criterion, relative to the tolerances."""
    return max(1.0, 1e-3 * abs(point.value))


def _score(walk: _Walk) -> bool:
    """One scoring step; True when it moved and the next one may still gain much."""
    if walk.exhausted:
        return False
    model = walk.point.model
    target, taken = model.score(model.scoring_step())
    promise = model.promise(taken, model.information)
    # The first step is taken wherever it starts: for balanced data it is exact.
    enough = STALLED if walk.n == walk.first else NEAR
    return promise > enough and walk.descend(target)


def _is_saddle(point: Point) -> bool:
    values, _ = point.model.spectrum
    return bool(values.size and values[0] <= SADDLE)


def _leave_saddle(walk: _Walk) -> bool:
    """From a saddle down a direction of negative curvature; False when that does not descend."""
    _, directions = walk.point.model.spectrum
    model, size = walk.point.model, 1.0
    while size > 1e-4 and not walk.exhausted:
        if walk.descend(model.follow(size * directions[:, 0])[0]):
            return True
        size *= 0.25
    return False


class _Walk:
    """The current point of a descent; every trial is counted and reported."""

    def __init__(
        self, criterion: ProfiledCriterion, start: Vector, report: Report, limit: int, n: int = 0
    ):
        self.criterion = criterion
        self.report = report
        self.limit = limit
        self.point = Point.at(criterion, start)
        self.tried = self.point.value
        self.first = self.n = n + 1
        report(self.n, self.tried, start)

    @property
    def exhausted(self) -> bool:
        """Whether the limit on evaluations is reached."""
        return self.n >= self.limit

    @property
    def is_singular(self) -> bool:
        """Whether a diagonal entry of lambda is zero."""
        return bool(np.any(self.point.x[self.criterion.lower == 0.0] == 0.0))

    def descend(self, target: Vector) -> bool:
        """Evaluate `target`; move there if the criterion does not increase."""
        self.n += 1
        try:
            there = Point.at(self.criterion, target)
        except NumericalError:  # a step gone too far: the factorization breaks down
            self.tried = np.inf
            return False
        self.tried = there.value
        self.report(self.n, there.value, target)
        if not there.value <= self.point.value:
            return False
        self.point = there
        return True


@dataclass(frozen=True)
class LBFGSB:
    """SciPy's L-BFGS-B with the exact gradient.

    Parameters
    ----------
    max_evaluations : int, default 1000
        Limit on evaluations of the criterion.
    tolerance : float, default 1e-8
        Largest projected gradient (whitened coordinates) at which to stop.

    Examples
    --------
    >>> import lmm
    >>> dyestuff = lmm.load_dataset("Dyestuff")
    >>> optimizer = lmm.LBFGSB(tolerance=1e-6)
    >>> m = lmm.lmer("Yield ~ 1 + (1 | Batch)", dyestuff, optimizer=optimizer)
    >>> round(m.reml_criterion(), 4)
    319.6543
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

    Examples
    --------
    >>> import lmm
    >>> dyestuff = lmm.load_dataset("Dyestuff")
    >>> optimizer = lmm.COBYQA(max_evaluations=500)
    >>> m = lmm.lmer("Yield ~ 1 + (1 | Batch)", dyestuff, optimizer=optimizer)
    >>> round(m.reml_criterion(), 4)
    319.6543
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

    Examples
    --------
    >>> import lmm
    >>> dyestuff = lmm.load_dataset("Dyestuff")
    >>> optimizer = lmm.NelderMead(max_evaluations=500)
    >>> m = lmm.lmer("Yield ~ 1 + (1 | Batch)", dyestuff, optimizer=optimizer)
    >>> round(m.reml_criterion(), 4)
    319.6543
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
    function: Callable[[Vector], Any],
    start: Vector,
    report: Report,
    options: Any,
) -> Path:
    """Run a method of `scipy.optimize.minimize` on the whitened coordinates."""
    from scipy.optimize import Bounds, minimize

    count = 0
    with_gradient = method == "L-BFGS-B"

    def counted(x: Vector) -> Any:
        nonlocal count
        count += 1
        try:
            result = function(x)
        except NumericalError:  # a step gone too far: the factorization breaks down
            result = (np.inf, np.zeros_like(x)) if with_gradient else np.inf
        report(count, result[0] if with_gradient else result, x)
        return result

    result = minimize(
        counted,
        start,
        method=cast(Any, method),
        jac=cast(Any, with_gradient),
        bounds=Bounds(criterion.lower, np.inf),
        options=options,
    )
    x = np.maximum(result.x, criterion.lower)
    exhausted = count >= options.get("maxfev", options.get("maxfun", np.inf))
    return Path(Point.at(criterion, x), count + 1, exhausted)


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
