"""The conditional mode of the random effects: penalized iteratively reweighted least squares.

Newton's method on ``F = -2 l(eta) + b'v`` with ``b = Gamma v`` (docs/theory/laplace.md, eqns.
2-3): the step solves ``b+ = D Z'(W Z b + r)``, ``v+ = Z'(r + W Z(b - b+))``. The dual effects v
exist for a singular Gamma too, and are what the next mode starts from.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lmm._types import Vector
from lmm.errors import NumericalError
from lmm.family import Conditional, Rows
from lmm.laplace.effects import Effects, Elimination
from lmm.pls import Factors

__all__ = ["Mode", "conditional_mode"]

# A Newton step with a smaller decrement is the last: it leaves an error of the order of its square.
QUADRATIC = 1e-8
# Scoring converges linearly: it goes on until nothing moves but rounding errors.
LINEAR = 1e-18
ROUNDING = 1e-22
MAX_STEPS = 100
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
    penalized : float
        ``-2 l + b'v``.
    decrement : float
        What the last step promised, before it was taken.
    n_steps : int
        Steps taken.
    """

    eta: Vector
    b: Vector
    v: Vector
    penalized: float
    decrement: float
    n_steps: int


@dataclass(frozen=True, eq=False)
class _State:
    v: Vector
    b: Vector
    Zb: Vector
    eta: Vector
    rows: Rows
    F: float

    @classmethod
    def at(
        cls, bound: Conditional, fixed: Vector, xi: float, parts: tuple[Vector, Vector, Vector]
    ) -> _State:
        v, b, Zb = parts
        eta = fixed + Zb
        with np.errstate(all="ignore"):  # means outside the family's range are refused later
            rows = bound.at(eta, xi, 0)
        return cls(v, b, Zb, eta, rows, -2.0 * rows.loglik + float(b @ v))

    def toward(self, target: tuple[Vector, Vector, Vector], t: float) -> tuple[Vector, ...]:
        """The share t of the way to new v, b, Zb: they stay dual."""
        if t == 1.0:
            return target
        own = (self.v, self.b, self.Zb)
        return tuple(here + t * (there - here) for here, there in zip(own, target, strict=True))


def conditional_mode(
    effects: Effects,
    bound: Conditional,
    factors: Factors,
    fixed: Vector,
    xi: float,
    v: Vector | None = None,
) -> Mode:
    """Find the mode at given covariances, fixed part of the predictor (n,) and shape.

    Parameters
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
    v : (q,) array, optional
        Dual effects to start from; zeros by default.

    Raises
    ------
    NumericalError
        The likelihood is zero at the start.
    """
    state = _start(effects, bound, factors, fixed, xi, v)
    decrement, n_steps = 0.0, 0
    while n_steps < MAX_STEPS:
        n_steps += 1
        rows = state.rows
        D, newton = _informed(effects, rows, factors)
        W = D.weights
        b = D.solve(effects.Zt @ (rows.score + W * state.Zb))
        Zb = effects.Z @ b
        v_new = effects.Zt @ (rows.score + W * (state.Zb - Zb))
        decrement = float((effects.Zt @ rows.score - state.v) @ (b - state.b))
        moved, whole = _descended(state, bound, fixed, xi, (v_new, b, Zb))
        if moved is None:
            break
        state = moved
        size = max(abs(state.F), 1.0)
        enough = QUADRATIC if newton else LINEAR * size
        if (whole and decrement < enough) or decrement < ROUNDING * size:
            break
    return Mode(state.eta, state.b, state.v, state.F, decrement, n_steps)


def _informed(effects: Effects, rows: Rows, factors: Factors) -> tuple[Elimination, bool]:
    """D of the observed information, which gives quadratic convergence; else of the expected."""
    if rows.observed is not rows.expected and not rows.observed[0].min() > 0.0:
        try:
            return effects.eliminated(rows.observed[0], factors), True
        except NumericalError:
            return effects.eliminated(rows.expected[0], factors), False
    return effects.eliminated(rows.observed[0], factors), True


def _start(
    effects: Effects,
    bound: Conditional,
    factors: Factors,
    fixed: Vector,
    xi: float,
    v: Vector | None,
) -> _State:
    zero = np.zeros(effects.q)
    for guess in (zero,) if v is None else (v, zero):
        b = effects.times_gamma(factors, guess)
        state = _State.at(bound, fixed, xi, (guess, b, effects.Z @ b))
        if np.isfinite(state.F):
            return state
    raise NumericalError(
        "The likelihood is zero or not finite at the starting values: means leave the family's "
        "range. Start from other values, or use another link."
    )


def _descended(
    state: _State,
    bound: Conditional,
    fixed: Vector,
    xi: float,
    target: tuple[Vector, Vector, Vector],
) -> tuple[_State | None, bool]:
    """The state after a step, halved until it descends, and whether the step was whole."""
    t = 1.0
    while t > SHORTEST:
        v, b, Zb = state.toward(target, t)
        there = _State.at(bound, fixed, xi, (v, b, Zb))
        if state.F + 1e-10 * (1.0 + abs(state.F)) >= there.F:
            return there, t == 1.0
        t *= 0.5
    return None, False
