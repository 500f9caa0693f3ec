"""Models without fixed intercept whose response has a large mean: digits are kept, or missed."""

import warnings

import numpy as np
import pytest

import lmm
from lmm import ProfiledCriterion
from lmm.optimize import Status

SINGLE = [f"y ~ 0 + x + ({effects})" for effects in ("1 | g", "x || g", "x * t || g", "x | g")]
SEVERAL = [
    f"y ~ 0 + x + {terms}" for terms in ("(1 | a/b)", "(x | a) + (1 | a:b)", "(x | a) + (1 | h)")
]


def table(mean):
    rng = np.random.default_rng(5)
    g = np.repeat(np.arange(8), [1, 2, 3, 4, 5, 6, 2, 3])
    a, b, n = np.repeat(np.arange(4), 6)[: len(g)], np.repeat(np.arange(9), 3)[: len(g)], len(g)
    a, b = np.resize(a, n), np.resize(b, n)
    x, t = rng.normal(size=n).round(4), rng.integers(0, 3, n)
    y = rng.normal(size=8)[g] + 0.6 * rng.normal(size=8)[g] * x + rng.normal(size=n)
    h = rng.integers(0, 4, n)
    return {"y": mean + y.round(6), "x": x, "t": t, "g": g.astype(str), "a": a, "b": b, "h": h}


def quiet(formula, mean):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", lmm.LmmWarning)
        return lmm.lmer(formula, table(mean))


def exact_fitted(m):
    """X beta + Z b at the model's theta, in long doubles.

    The penalized least-squares problem as an ordinary one (Bates et al. 2015, eqn. 17), solved by
    Householder reflections, which lose no digits to cross-products.
    """
    X, A = np.asarray(m.X), (m.Lambdat @ m.Zt).toarray().T
    q, p = A.shape[1], X.shape[1]
    both = np.block([[A, X], [np.eye(q), np.zeros((q, p))]]).astype(np.longdouble)
    right = np.concatenate([m.y, np.zeros(q)]).astype(np.longdouble)
    return both[: len(X)] @ least_squares(both, right)


def least_squares(A, y):
    A, y = A.copy(), y.copy()
    columns = A.shape[1]
    for j in range(columns):
        v = A[j:, j].copy()
        v[0] += np.copysign(np.sqrt(v @ v), v[0])
        v /= np.sqrt(v @ v)
        A[j:] -= 2.0 * np.outer(v, v @ A[j:])
        y[j:] -= 2.0 * v * (v @ y[j:])
    x = np.zeros(columns, dtype=A.dtype)
    for j in reversed(range(columns)):
        x[j] = (y[j] - A[j, j + 1 :] @ x[j + 1 :]) / A[j, j]
    return x


@pytest.mark.parametrize("formula", [*SINGLE, *SEVERAL])
@pytest.mark.parametrize("mean", [1e3, 1e5, 1e6])
def test_fitted_values_keep_their_digits(formula, mean):
    m = quiet(formula, mean)
    error = np.abs(np.asarray(m.fitted(), dtype=np.longdouble) - exact_fitted(m)).max()
    assert float(error) < 1e-5 * m.sigma


@pytest.mark.parametrize("formula", [*SINGLE, *SEVERAL])
@pytest.mark.parametrize("mean", [1e3, 1e4, 1e5, 1e6, 1e7])
def test_lost_digits_are_told(formula, mean):
    """The criterion is as exact as that of the dense solver, or the fit says that it is not."""
    m = quiet(formula, mean)
    dense = ProfiledCriterion(m.fit.matrices, True, "dense")
    error = abs(dense.value(m.optimum.x) - m.optimum.value)
    told = any(isinstance(note, lmm.PrecisionWarning) for note in m.warnings)
    assert error < 1e-5 or told or m.optimum.status is Status.ROUNDING
    if m.optimum.status is not Status.ROUNDING:
        assert told == (m.fit.rounding > 3e-7)
        assert m.fit.rounding < 1e-2


def test_the_message_says_how_many_digits_are_left():
    with pytest.warns(lmm.PrecisionWarning, match=r"is 1e\+06 times .* about 3 digits"):
        lmm.lmer("y ~ 0 + x + (1 | g)", table(1e6))


def test_large_random_effects_alone_are_no_reason():
    with warnings.catch_warnings():
        warnings.simplefilter("error", lmm.PrecisionWarning)
        warnings.simplefilter("ignore", lmm.SingularFitWarning)
        lmm.lmer("y ~ 1 + x + (1 | g)", table(1e9))
        lmm.lmer("y ~ 0 + x + (1 | g)", table(1e4))
