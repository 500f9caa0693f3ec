"""The conditional mode of the random effects: penalized iteratively reweighted least squares.

Newton's method on ``F = -2 l(eta) + b'v`` with ``b = Gamma v`` (docs/theory/laplace.md,
laplace-pirls and laplace-decrement): the step solves ``b+ = D Z'(W Z b + r)``,
``v+ = Z'(r + W Z(b - b+))``. The dual effects v exist for a singular Gamma too, and are what the
next mode starts from.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lmm._types import Matrix, Vector
from lmm.errors import NumericalError
from lmm.family import Conditional, RowLikelihood
from lmm.laplace.effects import Effects
from lmm.laplace.elimination import Elimination
from lmm.pls import Factors

# A Newton step with a smaller decrement is the last: it leaves an error of the order of its square.
QUADRATIC = 1e-8
# Scoring converges linearly: it goes on until nothing moves but rounding errors.
LINEAR = 1e-18
ROUNDING = 1e-22
# Where linear predictors have moved by less than this, a dear D serves for the next step too, as
# long as each step promises this much less than the one before it.
CLOSE, SLOW = 0.5, 0.1
MAX_STEPS = 100
# A Newton step that leaves what the link allows is cut; much shorter, it is of no use there.
CUT = 0.1
# A penalty below minus this share of the likelihood has lost all digits.
LOST = 1e-6
# A guess from which a step promises more than this share of the penalized likelihood is compared
# with zeros: at weights much larger than the mode's, b = Gamma v loses digits for good.
WRONG = 0.1
# Of a start.
ROUGH = 2
SHORTEST = 1e-9


@dataclass(frozen=True, eq=False)
class Mode:
    """Random effects at which the penalized likelihood is largest.

    Attributes
    ----------
    eta : (n,) array
        Linear predictor.
    b, v : (q,) arrays
        Random effects, and dual effects with b = Gamma v.
    beta : (p,) array
        Coefficients of the columns that are part of the mode, if there are any.
    penalized : float
        ``-2 l + b'v``.
    decrement : float
        What the last step promised, before it was taken, or not.
    n_steps : int
        Steps taken.
    """

    eta: Vector
    b: Vector
    v: Vector
    beta: Vector
    penalized: float
    decrement: float
    n_steps: int


@dataclass(frozen=True, eq=False)
class ModeTarget:
    """What the mode maximizes.

    Attributes
    ----------
    effects : Effects
        The random effects.
    bound : Conditional
        Family, responses and weights.
    factors : tuple of (k_i, k_i) arrays
        Whitened covariance factors.
    fixed : (n,) array
        Fixed part of the linear predictor, offset included.
    xi : float
        Logarithm of the family's shape.
    X : (n, p) array
        Columns whose coefficients are part of the mode; mostly none.
    """

    effects: Effects
    bound: Conditional
    factors: Factors
    fixed: Vector
    xi: float
    X: Matrix

    def state(self, v: Vector, b: Vector, beta: Vector, moving: Vector) -> _State:
        """The penalized likelihood at dual effects, effects, coefficients and their predictor."""
        eta = self.fixed + moving
        with np.errstate(all="ignore"):  # means outside the family's range are refused later
            rows = self.bound.scored(eta, self.xi)
        penalty = float(b @ v)
        if penalty < -LOST * (1.0 + abs(rows.loglik)):  # b'v = v'Gamma v: nothing but rounding
            penalty = np.inf
        return _State(v, b, beta, moving, rows, -2.0 * rows.loglik + penalty)

    def informed(self, rows: RowLikelihood, by_scoring: bool = False) -> _Metric:
        """D of the observed information, which gives quadratic convergence; else of the expected.

        The observed information of single rows may be negative where that of all is not. The
        expected one grows where means come to the end of their range, and keeps steps inside.
        """
        effects, W = self.effects, rows.observed[0]
        if by_scoring and rows.observed is not rows.expected:
            W = rows.expected[0]
            return _Metric(effects.eliminated(W, self.factors), W, False)
        if rows.observed is not rows.expected and not W.min() > 0.0:
            try:
                D = effects.eliminated(W, self.factors)
                if np.isfinite(D.logdet):  # asked for here, where an indefinite matrix is no error
                    return _Metric(D, W, True)
            except (NumericalError, np.linalg.LinAlgError):
                pass
            W = rows.expected[0]
            return _Metric(effects.eliminated(W, self.factors), W, False)
        return _Metric(effects.eliminated(W, self.factors), W, True)


@dataclass(frozen=True, eq=False)
class _Metric:
    """What a step is made with.

    Attributes
    ----------
    D : Elimination
        The inverse information of the random effects.
    weights : (n,) array
        Information of the rows.
    is_newton : bool
        Whether that is the observed one at the state itself.
    """

    D: Elimination
    weights: Vector
    is_newton: bool


@dataclass(frozen=True, eq=False)
class _State:
    v: Vector
    b: Vector
    beta: Vector
    moving: Vector
    rows: RowLikelihood
    F: float

    def toward(self, aim: tuple[Vector, ...], t: float) -> tuple[Vector, ...]:
        """The share t of the way to new v, b, beta and predictor: v and b stay dual."""
        own = (self.v, self.b, self.beta, self.moving)
        if t == 1.0:
            return aim
        return tuple(here + t * (there - here) for here, there in zip(own, aim, strict=True))


def conditional_mode(
    target: ModeTarget, v: Vector | None = None, beta: Vector | None = None, steps: int = MAX_STEPS
) -> Mode:
    """Find the mode.

    Parameters
    ----------
    target : ModeTarget
        What it maximizes.
    v : (q,) array, optional
        Dual effects to start from; zeros by default.
    beta : (p,) array, optional
        Coefficients to start from, of the columns that are part of the mode.
    steps : int
        Limit on the steps.

    Raises
    ------
    NumericalError
        The likelihood is zero at the start.
    """
    beta = np.zeros(target.X.shape[1]) if beta is None else beta
    state = _start(target, v, beta)
    decrement, n_steps, length = 0.0, 0, 1.0
    kept: _Metric | None = None
    while n_steps < steps:
        n_steps += 1
        metric = kept or target.informed(state.rows, length < CUT)
        aim, promise = _step(target, state, metric)
        if v is not None and promise > WRONG * max(abs(state.F), 1.0):
            zeros = _at(target, np.zeros_like(v), beta)
            state, v, kept = min(state, zeros, key=lambda at: at.F), None, None
            continue
        moved, length = _descended(target, state, aim)
        whole = length == 1.0
        if moved is None:
            decrement = promise
            break
        shift = np.abs(moved.moving - state.moving).max()
        gain = promise / decrement if kept else 0.0
        state, decrement = moved, promise
        size = max(abs(state.F), 1.0)
        left = gain * decrement if kept else np.inf  # what the next step would promise
        enough = QUADRATIC if metric.is_newton else LINEAR * size
        if (whole and (decrement < enough or left < QUADRATIC**2)) or decrement < ROUNDING * size:
            break
        lasting = metric.D.is_dear and whole and shift < CLOSE and gain < SLOW
        kept = replace(metric, is_newton=False) if lasting else None
    eta = target.fixed + state.moving
    return Mode(eta, state.b, state.v, state.beta, state.F, decrement, n_steps)


def joint_mode(target: ModeTarget, beta: Vector) -> Mode | None:
    """The mode of effects and coefficients (p,), roughly, from a first guess of these."""
    try:
        return conditional_mode(target, beta=beta, steps=ROUGH)
    except (NumericalError, np.linalg.LinAlgError):
        return None


def _step(target: ModeTarget, state: _State, metric: _Metric) -> tuple[tuple[Vector, ...], float]:
    """Where a step by D ends, and what it promises.

    With ``g = Z'r - v``, ``b+ - b = D g`` and ``v+ = Z'r - Z'WZ (b+ - b)``: less is lost in
    rounding than in `b+` as a whole.
    """
    effects, X, D, W = target.effects, target.X, metric.D, metric.weights
    pull = effects.sums(state.rows.score)
    force = pull - state.v
    beta = state.beta
    if X.size:
        change = _coefficients(effects, metric, X, force, X.T @ state.rows.score)
        beta = beta + change
        fixed = X @ change
        pulled = effects.sums(W * fixed)
        b = D.solve(force - pulled)
        moved = effects.spread(b)
        v = pull - pulled - D.gram(b, moved)
        moved += fixed
    else:
        b = D.solve(force)
        moved = effects.spread(b)
        v = pull - D.gram(b, moved)
    decrement = float(state.rows.score @ moved - state.v @ b)
    moved += state.moving
    return (v, state.b + b, beta, moved), decrement


def _coefficients(
    effects: Effects, metric: _Metric, X: Matrix, force: Vector, own: Vector
) -> Vector:
    """Change of the coefficients (p,) of X, by generalized least squares."""
    WX = metric.weights[:, None] * X
    pulled = effects.sums(WX)
    swept = metric.D.solve(pulled)
    information = WX.T @ X - pulled.T @ swept
    return np.linalg.solve(information, own - swept.T @ force)


def _start(target: ModeTarget, v: Vector | None, beta: Vector) -> _State:
    """The state at dual effects (q,), at zeros, or at effects that lead to the responses.

    Fixed effects alone may leave the range of the link.
    """
    zero = np.zeros(target.effects.q)
    for guess in (zero,) if v is None else (v, zero):
        state = _at(target, guess, beta)
        if np.isfinite(state.F):
            return state
    if not target.X.size:
        state = _at(target, _toward_responses(target), beta)
        if np.isfinite(state.F):
            return state
    raise NumericalError(
        "The likelihood is zero or not finite at the starting values: means leave the family's "
        "range. Start from other values, or use another link."
    )


def _at(target: ModeTarget, v: Vector, beta: Vector) -> _State:
    effects = target.effects
    b = effects.times_gamma(target.factors, v)
    return target.state(v, b, beta, target.X @ beta + effects.spread(b))


def _toward_responses(target: ModeTarget) -> Vector:
    """Dual effects (q,) of least squares for the responses on the scale of the predictor."""
    effects, bound = target.effects, target.bound
    eta = bound.family.link_function(bound.family.start_mean(bound.y, bound.weights))
    with np.errstate(all="ignore"):
        W = bound.at(eta, target.xi, 0).expected[0]
    W = np.where(np.isfinite(W), W, 0.0)
    away = eta - target.fixed
    b = effects.eliminated(W, target.factors).solve(effects.sums(W * away))
    return effects.sums(W * (away - effects.spread(b)))


def _descended(
    target: ModeTarget, state: _State, aim: tuple[Vector, ...]
) -> tuple[_State | None, float]:
    """The state after a step, halved until it descends, and the share of it that was taken."""
    t = 1.0
    while t > SHORTEST:
        there = target.state(*state.toward(aim, t))
        if state.F + 1e-10 * (1.0 + abs(state.F)) >= there.F:
            return there, t
        t *= 0.5
    return None, t
