"""Verdicts and the record of an optimization."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import numpy as np

from lmm._types import Frozen, Vector


class Status(Enum):
    """How an optimization ended. The value is the advice."""

    CONVERGED = "The gradient vanishes at a minimum."
    MAX_EVALUATIONS = (
        "The limit on evaluations was reached before the gradient vanished. Raise the optimizer's "
        "max_evaluations, or start from another point."
    )
    NOT_STATIONARY = (
        "The optimizer stopped where the gradient does not vanish. Use optimizer='auto', or "
        "tighten the tolerances of the optimizer object."
    )
    UNBOUNDED = (
        "The residual variance goes to zero, and the criterion falls without bound: within the "
        "levels of a grouping factor the response, given the fixed effects, does not vary. Average "
        "it over these levels, or leave the factor out."
    )
    ROUNDING = (
        "The residuals are so small beside the response that rounding errors hide the minimum. "
        "Subtract a constant from the response, add a fixed intercept, or leave out the grouping "
        "factor that explains all but them."
    )
    NOT_IDENTIFIED = (
        "The criterion does not depend on a random effect, or on a sum of variances only: the "
        "fixed effects contain it, two terms say the same, or nothing in the data tells it from "
        "the residuals. Leave out one of the two."
    )
    SEPARATED = (
        "Fixed effects separate the responses: along them the likelihood rises for ever, and the "
        "best coefficients are infinite. Leave out or merge what separates."
    )
    EQUAL_WITHIN = (
        "In each level of a grouping factor all responses are equal, so that they do not bound its "
        "standard deviation: where the estimate ends is owed to how the integral is approximated, "
        "by Laplace or with nagq points, and other estimates grow with it. Analyse one row per "
        "level, without the factor."
    )
    SINGLE_TRIALS = (
        "Each level of a grouping factor has a single 0/1 response, which tells a mean and no "
        "variance. Leave the factor out."
    )
    SHAPE_UNBOUNDED = (
        "The counts vary no more than Poisson's: the best theta is infinite. Use family='poisson'."
    )
    EXACT = (
        "The dispersion goes to zero, and the likelihood rises without bound: fixed and random "
        "effects fit the response exactly. Check the response, or leave out a grouping factor."
    )
    END_OF_LINK = (
        "The likelihood is largest where means reach the end of what the link allows, and standard "
        "errors mean nothing there. Use another link."
    )
    SADDLE = (
        "The optimizer stopped at a saddle point: the Hessian has a negative eigenvalue. Use "
        "optimizer='auto', or start from another point."
    )


@dataclass(frozen=True, eq=False)
class Optimum(Frozen):
    """Where an optimization ended, with the certificate that it is an optimum.

    Attributes
    ----------
    theta : (m,) array
        Estimate on lme4's scale.
    x : (m,) array
        The same in whitened coordinates (free of units and origins).
    value : float
        The criterion there.
    status : Status
        Verdict.
    n_evaluations : int
        Evaluations of the criterion, with or without derivatives.
    gradient : (m,) array
        Projected gradient in whitened coordinates.
    decrement : float
        Predicted possible decrease of the criterion, g'H^-1 g / 2 (docs/theory/optimizer.md,
        optimizer-decrement).
    hessian_eigenvalues : (m - boundary,) array
        Eigenvalues of the Hessian over the parameters that are not on the boundary, ascending.
    boundary : tuple of str
        Names of the standard deviations (``Subject.Days``) whose factor is on the boundary.
    exact_hessian : bool
        Whether the eigenvalues are those of the exact Hessian or of the average information.
    solver : str
        What computed the criterion, and why it was chosen.
    optimizer : str
        What moved theta.
    message : str
        Parameter with the largest gradient and the advice, where not converged.
    error : float
        Standard error of the criterion where the solver estimates it with random probes; 0 where it
        is computed.
    theta_error : (m,) array or None
        Standard error of theta due to the same; None where there is none.
    state : object, optional
        What the criterion has computed at x and can go on from (`lmm.criterion.base.Resumable`);
        copies and files do without.
    """

    theta: Vector
    x: Vector
    value: float
    status: Status
    n_evaluations: int
    gradient: Vector
    decrement: float
    hessian_eigenvalues: Vector
    boundary: tuple[str, ...]
    exact_hessian: bool
    solver: str
    optimizer: str
    message: str
    error: float = 0.0
    theta_error: Vector | None = None
    state: object = field(default=None, repr=False, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "state": None}

    def _repr_html_(self) -> str:
        from lmm.report.cells import Cells, Column
        from lmm.report.document import Document
        from lmm.report.format import format_numbers

        facts = {
            "Verdict": self.message or self.status.value,
            "Criterion": f"{self.value:.10g}" + (f" ± {self.error:.2g}" if self.error else ""),
            "Theta": ", ".join(format_numbers(self.theta, 4)) or "none",
            "On the boundary": ", ".join(self.boundary) or "nothing",
            "Largest gradient": f"{np.abs(self.gradient).max(initial=0.0):.2g}",
            "Decrease still possible": f"{self.decrement:.2g}",
            "Evaluations": str(self.n_evaluations),
            "Optimizer": self.optimizer,
            "Solver": self.solver,
        }
        values = Column("Optimum", tuple(facts.values()), "label")
        return Document((Cells((values,), tuple(facts)),)).to_html()

    def __copy__(self) -> Optimum:
        bare = object.__new__(Optimum)
        vars(bare).update(self.__getstate__())
        return bare

    @property
    def exact(self) -> bool:
        """Whether the criterion is computed, rather than estimated with random probes."""
        return self.error == 0.0

    @property
    def converged(self) -> bool:
        """Whether a stationary point that is not a saddle was reached."""
        return self.status is Status.CONVERGED
