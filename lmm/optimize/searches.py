"""SciPy's searches, with the exact gradient or without derivatives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from lmm._types import Vector
from lmm.criterion import Criterion
from lmm.errors import NumericalError
from lmm.optimize.newton import Report
from lmm.optimize.optimizers import Limited, Path
from lmm.optimize.point import Point


@dataclass(frozen=True)
class LBFGSB(Limited):
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

    def run(self, criterion: Criterion, start: Vector, report: Report) -> Path:
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
class COBYQA(Limited):
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

    def run(self, criterion: Criterion, start: Vector, report: Report) -> Path:
        """Minimize from `start`; see `Optimizer`."""
        options = {"maxfev": self.max_evaluations, "final_tr_radius": self.tolerance}
        return _scipy("COBYQA", criterion, criterion.value, start, report, options)


@dataclass(frozen=True)
class NelderMead(Limited):
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

    def run(self, criterion: Criterion, start: Vector, report: Report) -> Path:
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
    criterion: Criterion,
    function: Callable[[Vector], Any],
    start: Vector,
    report: Report,
    options: Any,
) -> Path:
    """Run a method of `scipy.optimize.minimize` on the coordinates x."""
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
        bounds=Bounds(criterion.lower, criterion.upper),
        options=options,
    )
    x = np.clip(result.x, criterion.lower, criterion.upper)
    exhausted = count >= options.get("maxfev", options.get("maxfun", np.inf))
    return Path(Point.at(criterion, x), count + 1, exhausted)
