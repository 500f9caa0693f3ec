"""Criteria of one's own: plain coordinates, alone and beside covariances."""

from dataclasses import dataclass

import numpy as np
import pytest

from lmm import Evaluation, PlainCriterion, ProfiledCriterion, minimize
from lmm.criterion import Move
from lmm.optimize import Status
from lmm.pls import stacked
from models import matrices


def rosenbrock(x):
    """A curved valley to (1, 1); the Hessian is indefinite far from it."""
    a, b = x
    value = 100.0 * (b - a * a) ** 2 + (1.0 - a) ** 2
    gradient = np.array([-400.0 * a * (b - a * a) - 2.0 * (1.0 - a), 200.0 * (b - a * a)])
    hessian = np.array([[1200.0 * a * a - 400.0 * b + 2.0, -400.0 * a], [-400.0 * a, 200.0]])
    return value, gradient, hessian


def two_wells(x):
    """A saddle at the origin, minima of -1 at (1, 0) and (-1, 0)."""
    a, b = x
    value = a**4 - 2.0 * a * a + b * b
    return value, np.array([4.0 * a**3 - 4.0 * a, 2.0 * b]), np.diag([12.0 * a * a - 4.0, 2.0])


def test_a_curved_valley_is_followed():
    optimum = minimize(PlainCriterion(rosenbrock, np.array([-1.2, 1.0])))
    assert optimum.converged
    np.testing.assert_allclose(optimum.x, 1.0, atol=1e-6)
    assert optimum.n_evaluations < 60


@pytest.mark.parametrize("start", [(0.0, 0.0), (0.0, 3.0)])
def test_a_saddle_is_left(start):
    optimum = minimize(PlainCriterion(two_wells, np.array(start)))
    assert optimum.converged
    assert optimum.value == pytest.approx(-1.0, abs=1e-12)


def test_units_of_plain_coordinates_do_not_matter():
    units = np.array([1e6, 1e-7])

    def rescaled(x):
        value, gradient, hessian = rosenbrock(x * units)
        return value, gradient * units, hessian * np.outer(units, units)

    optimum = minimize(PlainCriterion(rescaled, np.array([-1.2, 1.0]) / units))
    assert optimum.converged
    np.testing.assert_allclose(optimum.x * units, 1.0, atol=1e-6)


def test_a_lower_bound_is_kept():
    criterion = PlainCriterion(rosenbrock, np.array([2.0, 2.0]), least=np.array([1.5, -np.inf]))
    optimum = minimize(criterion)
    assert optimum.converged
    np.testing.assert_allclose(optimum.x, [1.5, 2.25], atol=1e-8)


@pytest.mark.parametrize("name", ["L-BFGS-B", "COBYQA", "Nelder-Mead"])
def test_every_optimizer_takes_plain_coordinates(name):
    optimum = minimize(PlainCriterion(two_wells, np.array([0.6, 0.4])), name)
    assert optimum.converged
    assert optimum.value == pytest.approx(-1.0, abs=1e-9)


def test_a_function_that_falls_for_ever_is_told():
    def line(x):
        return -x[0], np.array([-1.0]), np.zeros((1, 1))

    optimum = minimize(PlainCriterion(line, np.zeros(1), labels=("slope",)))
    assert optimum.status is not Status.CONVERGED
    assert "slope" in optimum.message


def test_a_start_of_the_wrong_length_is_refused():
    with pytest.raises(ValueError, match="2 parameters: x1, x2"):
        minimize(PlainCriterion(rosenbrock, np.zeros(2)), start=np.zeros(3))


@dataclass(frozen=True, eq=False)
class WithSigma:
    """The likelihood with log sigma as a plain coordinate instead of profiled out."""

    profiled: ProfiledCriterion
    moves: list

    description = "sigma is a coordinate"
    dense_size = 0

    @property
    def parameters(self):
        return self.profiled.parameters

    @property
    def names(self):
        return (*self.profiled.names, "log sigma")

    @property
    def lower(self):
        return np.append(self.profiled.lower, -np.inf)

    @property
    def upper(self):
        return np.append(self.profiled.upper, np.inf)

    def starts(self):
        for x in self.profiled.starts():
            yield np.append(x, np.log(self.profiled.problem.scale) + 1.0)

    def to_x(self, theta):
        return np.append(self.profiled.to_x(theta[:-1]), theta[-1])

    def to_theta(self, x):
        return np.append(self.profiled.to_theta(x[:-1]), x[-1])

    def value(self, x):
        return self.evaluate(x).value

    def undetermined(self, x, here):
        return np.zeros(len(here.gradient), dtype=bool)

    def endless(self, x, here):
        return None

    def fits_exactly(self, x):
        return self.profiled.fits_exactly(x[:-1])

    def evaluate(self, x, move=None):
        """docs/theory/criterion.md at fixed sigma: c = pwrss / sigma^2 instead of nu."""
        self.moves.append(move)
        criterion, nu = self.profiled, self.profiled.degrees_of_freedom
        at = criterion.pls.at(criterion.factors(x[:-1])).derivatives(criterion.reml)
        c = at.terms.pwrss * criterion.problem.scale**2 * np.exp(-2.0 * x[-1])
        parameters = self.parameters
        S, J = parameters.units(x[:-1]), parameters.jacobian(x[:-1])
        t, q = S @ stacked(at.logdet), S @ stacked(at.quadratic)
        score = np.append(t - c * q, 2.0 * (nu - c))
        trace = S @ at.trace @ S.T
        curvature = _bordered(2.0 * c * S @ at.average @ S.T - trace, 2.0 * c * q, 4.0 * c)
        information = _bordered(trace, 2.0 * t, 2.0 * nu)
        inner = np.eye(len(x))
        inner[:-1, :-1] = J
        hessian = inner.T @ curvature @ inner
        slopes = at.slopes(c)
        hessian[:-1, :-1] += parameters.bend(x[:-1], stacked(slopes))
        profiled = criterion.from_terms(at.terms)
        value = profiled + c - nu - nu * np.log(c / nu)
        zero = np.zeros(len(x))
        return Evaluation(
            value, score @ inner, hessian, score, curvature, information, zero, slopes, True, 0.0
        )


def _bordered(block, border, corner):
    return np.block([[block, border[:, None]], [border[None], np.array([[corner]])]])


@pytest.mark.parametrize("model", ["three columns", "crossed", "two terms, one factor"])
@pytest.mark.parametrize("reml", [True, False])
def test_plain_coordinates_beside_covariances(model, reml):
    profiled = ProfiledCriterion(matrices(model), reml=reml)
    best = minimize(profiled)
    moves = []
    optimum = minimize(WithSigma(profiled, moves))
    assert optimum.converged
    assert optimum.value == pytest.approx(best.value, abs=1e-8)
    np.testing.assert_allclose(optimum.theta[:-1], best.theta, atol=1e-5)
    if not optimum.boundary:
        assert optimum.n_evaluations <= 15
    assert isinstance(moves[1], Move)
    assert moves[1].promise > 0.0


def test_a_move_tells_the_change_to_first_order():
    profiled = ProfiledCriterion(matrices("between-level slope"))
    found = []

    class Watched(WithSigma):
        def evaluate(self, x, move=None):
            here = super().evaluate(x, move)
            found.append((x, move, here))
            return here

    minimize(Watched(profiled, []))
    (x, _, origin), (moved, move, _) = found[-3], found[-2]
    assert move.origin is origin
    before, after = (profiled.factors(y[:-1])[0] for y in (x, moved))
    change = (after @ after.T - before @ before.T).T[np.triu_indices(2)]
    # What is left out is of second order.
    assert np.abs(move.change[:3] - change).max() < 10.0 * np.abs(change).max() ** 2
    assert move.change[3] == pytest.approx(moved[3] - x[3], abs=1e-12)
