"""Newton's step and its rules are the same for one search and for many side by side."""

import numpy as np

from lmm.optimize import steps

RNG = np.random.default_rng(5)
M = RNG.normal(size=(6, 4, 4))
HESSIAN = M + M.transpose(0, 2, 1)  # indefinite
GRADIENT = RNG.normal(size=(6, 4))
DAMPING = np.array([0.0, 0.0, 0.1, 1.0, 10.0, 1e3])


def test_step_is_newtons_where_the_criterion_is_convex():
    H = M[0] @ M[0].T
    step = steps.solved(*np.linalg.eigh(H), GRADIENT[0])
    np.testing.assert_allclose(step, np.linalg.solve(H, GRADIENT[0]), rtol=1e-9)


def test_step_descends_at_saddles():
    step = -steps.solved(*np.linalg.eigh(HESSIAN), GRADIENT)
    assert ((GRADIENT * step).sum(axis=1) < 0.0).all()


def test_many_searches_take_the_steps_of_each():
    values, directions = np.linalg.eigh(HESSIAN)
    size = np.abs(values).max(axis=1)
    step = steps.solved(values, directions, GRADIENT, DAMPING, size)
    promise = steps.promised(GRADIENT, HESSIAN, -step)
    settled = steps.is_settled(promise, DAMPING, 0.5, size)
    gain = np.array([0.9, 0.5, 0.1, -2.0, 0.8, np.nan])
    damping, stalled = steps.damped(DAMPING, gain, size), steps.is_stalled(gain, promise, 1.0)
    saddle = steps.curves_down(values, size)
    for i in range(6):
        one = steps.solved(values[i], directions[i], GRADIENT[i], DAMPING[i], size[i])
        np.testing.assert_allclose(one, step[i], rtol=1e-12)
        np.testing.assert_allclose(steps.promised(GRADIENT[i], HESSIAN[i], -one), promise[i])
        assert steps.is_settled(promise[i], DAMPING[i], 0.5, size[i]) == settled[i]
        assert steps.damped(DAMPING[i], gain[i], size[i]) == damping[i]
        assert steps.is_stalled(gain[i], promise[i], 1.0) == stalled[i]
        assert (steps.curves_down(values[i], size[i]) == saddle[i]).all()


def test_quadratic_model_delivers_what_it_promises():
    H = M[1] @ M[1].T
    step = -steps.solved(*np.linalg.eigh(H), GRADIENT[1], 0.3)
    change = GRADIENT[1] @ step + 0.5 * step @ H @ step
    np.testing.assert_allclose(steps.promised(GRADIENT[1], H, step), -change)


def test_damping_follows_what_steps_deliver():
    grown = steps.damped(0.0, 0.1), steps.damped(1.0, 0.1)
    assert grown == (steps.DAMPED, 4.0)
    assert steps.damped(1.0, 0.5) == 1.0
    assert steps.damped(1.0, 0.9) == 0.1
    assert steps.damped(0.5 * steps.DAMPED**2, 0.9) == 0.0
