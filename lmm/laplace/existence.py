"""Whether an optimum exists: separation as a linear program, and shapes without bound.

A direction delta of the fixed effects along which no row's likelihood falls and some row's rises
has no finite optimum, whatever the random effects (Albert & Anderson, 1984, Biometrika 71, 1-10):
rows at the upper end of the response want x'delta >= 0, those at the lower end <= 0, others = 0. So

    max sum_i s_i x_i'delta   with   s_i x_i'delta >= 0 at the ends,  x_i'delta = 0 between,
                                     |delta| <= 1                                               (1)

has a positive maximum just then. It is asked only where the information of some combination of
coefficients has vanished against that at means close to the responses.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lmm._types import Vector
from lmm.design.matrices import ModelMatrices
from lmm.family import Binomial, Family
from lmm.laplace.mode import Mode
from lmm.laplace.model import Model

# Information below this share of what it could be makes one suspect that a coefficient runs away.
SUSPICIOUS = 1e-3
# A logarithm of theta above the one makes one suspect that it has no bound; at the other the
# distribution is Poisson's.
LARGE, POISSON = 4.0, 30.0
# Means are at the end of their range where they are closer to it than this share of it.
CLOSE = 1e-6
# ... and closer their information is lost in rounding errors.
NEXT = 1e-8
# A search for a mode has not come to one if its last step promised more than this, beside the
# likelihood.
UNSETTLED = 1e-8


def is_suspicious(model: Model, weights: Vector, xi: float) -> bool:
    """Whether some combination of coefficients has lost its information X'WX.

    Parameters
    ----------
    model : Model
        The model. Its fit without random effects may have run away already: the weights of that
        are no measure.
    weights : (n,) array
        Expected information of the rows where a search has ended.
    xi : float
        Logarithm of the shape there.
    """
    family, bound, X = model.family, model.bound, model.X
    if not X.shape[1] or not any(end.any() for end in ends(family, bound.y)):
        return False
    near = family.link_function(family.start_mean(bound.y, bound.weights))
    left, full = (X.T @ (W[:, None] * X) for W in (weights, bound.at(near, xi, 0).expected[0]))
    if not np.isfinite(left).all():
        return True
    size = np.sqrt(np.outer(full.diagonal(), full.diagonal()))
    root = np.linalg.inv(np.linalg.cholesky(full / size))
    return float(np.linalg.eigvalsh(root @ (left / size) @ root.T)[0]) < SUSPICIOUS


def has_end(family: Family) -> bool:
    """Whether the link allows no linear predictors beyond one that the likelihood may lead to."""
    if isinstance(family, Binomial):
        return family.link == "log"
    return family.link == "identity" and family.name != "gaussian"


def is_at_end(family: Family, eta: Vector, close: float = CLOSE) -> bool:
    """Whether linear predictors (n,) have come to where the link allows no others."""
    if not has_end(family):
        return False
    return bool(eta.max() > -close if family.link == "log" else eta.min() < close * eta.mean())


def is_inside(family: Family, mode: Mode) -> bool:
    """Whether random effects have a mode, and it is not where the link allows no more."""
    is_settled = mode.decrement <= UNSETTLED * (1.0 + abs(mode.penalized))
    return is_settled and not is_at_end(family, mode.eta, NEXT)


def ends(family: Family, y: Vector) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Rows (n,) whose likelihood rises as the predictor goes to minus, and to plus, infinity."""
    none = np.zeros(len(y), dtype=np.bool_)
    if isinstance(family, Binomial):
        return y == 0.0, none if family.link == "log" else y == 1.0
    counts = family.name in ("poisson", "negative binomial") and family.link == "log"
    return (y == 0.0 if counts else none), none


def untold(matrices: ModelMatrices, family: Family) -> tuple[str, dict[str, float]] | None:
    """The grouping factor whose variance responses of two kinds do not tell, with its verdict.

    A level with a single trial varies as its mean says. Where the responses of each level are all
    the same, P(all 1) + P(all 0) < 1 for every finite variance of the intercepts, and comes to 1 as
    it grows.
    """
    response = matrices.response
    live = response.weights > 0.0
    lower, upper = (end[live] for end in ends(family, response.y))
    if not (lower.any() and upper.any() and (lower | upper).all()):
        return None
    is_single = response.weights[live].max() <= 1.0
    for term in matrices.terms:
        codes = term.codes[live]
        count, wins = np.bincount(codes), np.bincount(codes, upper)
        if is_single and count.max() == 1:
            return "SINGLE_TRIALS", dict.fromkeys(term.theta_names, 0.0)
        name = f"{term.group}.(Intercept)"
        if name in term.theta_names and ((wins == 0.0) | (wins == count)).all():
            return "EQUAL_WITHIN", {name: 1.0}
    return None


def separating(model: Model) -> Vector:
    """A direction (p,) of the coefficients without a finite optimum; zeros where there is none."""
    from scipy.optimize import linprog

    X, bound = model.matrices.X, model.bound
    lower, upper = ends(model.family, bound.y)
    signs = np.where(upper, 1.0, np.where(lower, -1.0, 0.0))
    # each column in its own unit, and equal rows once
    scale = np.maximum(np.abs(X).max(axis=0), 1e-300)
    rows = np.unique(np.column_stack([signs, X / scale])[bound.weights > 0.0], axis=0)
    signs, X = rows[:, 0], rows[:, 1:]
    at_end = signs != 0.0
    if not at_end.any():
        return np.zeros(X.shape[1])
    A = -signs[at_end, None] * X[at_end]
    between = X[~at_end] if (~at_end).any() else None
    result = linprog(
        A.sum(axis=0),
        A_ub=A,
        b_ub=np.zeros(len(A)),
        A_eq=between,
        b_eq=None if between is None else np.zeros(len(between)),
        bounds=[(-1.0, 1.0)] * X.shape[1],
        method="highs",
    )
    direction = np.zeros(X.shape[1]) if result.x is None else np.asarray(result.x)
    gained = float(-(A @ direction).sum())
    return np.where((np.abs(direction) > 1e-6) & (gained > 1e-7), direction, 0.0)
