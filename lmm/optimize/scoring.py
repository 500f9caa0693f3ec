"""The second-order optimizer: Fisher scoring far away, Newton steps near the optimum."""

from __future__ import annotations

from dataclasses import dataclass

from lmm._types import Vector
from lmm.criterion import Completed, Criterion
from lmm.errors import NumericalError
from lmm.optimize.newton import Report, Walk, escapes, leave_saddle, settle
from lmm.optimize.optimizers import Limited, Path
from lmm.optimize.point import Point
from lmm.optimize.steps import STALLED

# Promised decrease of the criterion below which Newton steps take over from scoring.
NEAR = 0.5
# Fraction of the tolerance to which a stationary point is refined that looks like a saddle.
FINE = 1e-5


@dataclass(frozen=True)
class FisherScoring(Limited):
    """Fisher scoring while far from the optimum, Newton steps when near.

    Far away the expected information is the better model of the criterion, near it the Hessian,
    of which eigenvalues enter by their absolute value, so that steps descend at saddles too.
    Damping in the manner of Levenberg and Marquardt, in the metric of the information, reacts to
    how well the quadratic model predicted. Steps follow paths that suit covariances (see
    `lmm.optimize.charts`), end on the boundary where a variance vanishes, and leave it where
    the criterion descends. A saddle is left along its direction of negative curvature. What ends
    on the boundary, or at a minimum unlike the expected one, is searched for once more from large
    variances, and from wherever a few values lie lower; the lowest minimum is kept.

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

    def run(self, criterion: Criterion, start: Vector, report: Report) -> Path:
        """Minimize from `start`; see `Optimizer`."""
        walk = self._search(Walk(criterion, start, report, self.max_evaluations))
        if not (walk.exhausted or walk.lost) and walk.point.is_doubtful:
            _, *others = criterion.starts()
            for far in others[:1]:
                walk = self._again(walk, far)
            for lowest in walk.lower(others[1:]):
                walk = self._again(walk, lowest)
        return Path(walk.point, walk.n, walk.exhausted)

    def _again(self, walk: Walk, start: Vector) -> Walk:
        """A search from another start, if it ends lower; else the walk that was."""
        try:
            other = Walk(walk.criterion, start, walk.report, self.max_evaluations, walk)
        except NumericalError:  # too far away: the factorization breaks down
            return walk
        self._search(other)
        if other.point.value < walk.point.value - STALLED:
            return other
        walk.n = other.n
        return walk

    def _search(self, walk: Walk) -> Walk:
        """Walk to a minimum."""
        while not self._is_minimum(walk) and _score(walk):
            pass
        while not self._is_minimum(walk) and settle(walk, self.tolerance):
            if self._completed(walk):
                continue
            if not escapes(walk, self.tolerance):
                break
            # A flat valley looks like a saddle from its slope: down to its floor before judging.
            settle(walk, FINE * self.tolerance)
            if not leave_saddle(walk, self.tolerance):
                break
        return walk

    def _completed(self, walk: Walk) -> bool:
        """Whether the Hessian at the end of a search was not exact before, and is now."""
        if walk.point.here.exact or not isinstance(walk.criterion, Completed):
            return False
        settle(walk, FINE * self.tolerance)  # it is dear: only where nothing is left to gain
        return walk.complete()

    def _is_minimum(self, walk: Walk) -> bool:
        """Whether the Hessian alone shows that there is no more to gain."""
        point: Point = walk.point
        return point.is_regular and point.decrement < self.tolerance * walk.unit


def _score(walk: Walk) -> bool:
    """One scoring step; True when it moved and the next one may still gain much."""
    if walk.over:
        return False
    model = walk.point.model
    target, taken = walk.score(model.scoring_step())
    promise = model.promise(taken, model.information)
    # The first step is taken wherever it starts: for balanced data it is exact.
    enough = STALLED if walk.n == walk.first else NEAR
    return promise > enough and walk.descend(target, taken, promise)
