"""The criterion of a generalized model, as an optimizer sees it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmm._types import IntVector, Matrix, Vector, cached_property
from lmm.covariance import Parameters
from lmm.criterion.base import Completed, Evaluation, Move, Resumable
from lmm.criterion.identification import undetermined_at
from lmm.design.labels import by_name
from lmm.design.matrices import ModelMatrices
from lmm.errors import NumericalError
from lmm.family import Family
from lmm.laplace.collapse import collapsed
from lmm.laplace.existence import (
    LARGE,
    POISSON,
    has_end,
    is_at_end,
    is_inside,
    is_suspicious,
    separating,
    untold,
)
from lmm.laplace.expansion import Expansion, LaplaceEvaluation
from lmm.laplace.level_expansion import LevelExpansion
from lmm.laplace.mode import Mode, ModeTarget, conditional_mode, joint_mode
from lmm.laplace.model import Model, Place
from lmm.laplace.quadrature import Quadrature, check_rule
from lmm.laplace.start import moment_start, scored_start
from lmm.likelihood import variance_of_estimates
from lmm.pls import Solver, exact, named, stacked

# Steps of differences.
STEP = 1e-4
# Differences of the criterion that are lost in rounding errors.
STALLED = 1e-7
# Of covariances, until random effects have a mode inside what the link allows.
HALVINGS = 12


@dataclass(frozen=True, eq=False)
class LaplaceCriterion(Resumable, Completed):
    """-2 log likelihood of a generalized model by Laplace's approximation.

    Parameters
    ----------
    matrices : ModelMatrices
        The model.
    family : Family
        Conditional distribution of the response.
    nagq : int, default 1
        1 for Laplace's approximation, more for points of adaptive quadrature, 0 for fixed effects
        at the joint mode.
    information : {"expected", "observed"}
        Information in the approximation's determinant.
    solver : str or Solver, default "auto"
        What eliminates the random effects.

    Notes
    -----
    Coordinates are the whitened covariance factors, the fixed effects of orthonormal columns, and
    the logarithm of the family's shape, if it is estimated.

    Examples
    --------
    >>> import lmm
    >>> from lmm.laplace import LaplaceCriterion
    >>> matrices = lmm.build_matrices("Yield ~ 1 + (1 | Batch)", lmm.load_dataset("Dyestuff"))
    >>> optimum = lmm.minimize(LaplaceCriterion(matrices, lmm.Gaussian()))
    >>> round(optimum.value, 5)  # lmer's deviance, for a linear model is one of them
    327.32706
    """

    matrices: ModelMatrices
    family: Family
    nagq: int = 1
    information: str = "expected"
    solver: str | Solver = "auto"

    def __post_init__(self) -> None:
        if self.nagq > 1:
            check_rule(self.matrices, self.nagq)

    @cached_property
    def model(self) -> Model:
        """The model in whitened coordinates."""
        matrices, bound = collapsed(self.matrices, self.family)
        return Model.of(matrices, self.family, bound, exact(named(self.solver)), self.nagq == 0)

    @property
    def parameters(self) -> Parameters:
        """Structures of the covariances that the first m coordinates fill."""
        return self.model.parameters

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the d coordinates."""
        return self.model.names

    @property
    def lower(self) -> Vector:
        """Lower bounds of the coordinates, (d,)."""
        return self.model.lower

    @property
    def upper(self) -> Vector:
        """Upper bounds of the d coordinates."""
        return self.model.upper

    @property
    def description(self) -> str:
        """How it is computed, one line."""
        return self.model.effects.description

    @property
    def dense_size(self) -> int:
        """Columns of the largest dense matrix that is factored."""
        return self.model.effects.dense_size

    def to_x(self, theta: Vector) -> Vector:
        """Coordinates x of parameters theta (d,) on the users' scale."""
        return self.model.to_x(theta)

    def to_theta(self, x: Vector) -> Vector:
        """Parameters on the users' scale of coordinates x (d,)."""
        return self.model.to_theta(x)

    @cached_property
    def first_start(self) -> Vector:
        """Where the search begins by itself, on the users' scale, (d,)."""
        return self.model.to_theta(next(iter(self.starts())))

    def completed(self, start: Any) -> Any:
        """A start on the users' scale made whole: the rest is where the search begins by itself.

        Parameters
        ----------
        start : array, Series or mapping, optional
            Theta; theta and coefficients; or all. R's list is a mapping of ``"theta"`` and
            ``"fixef"``; another one, or a Series, gives any parameters by name.

        Raises
        ------
        ValueError
            A name is unknown, or the family's shape is not positive.
        """
        if start is None:
            return None
        model = self.model
        if isinstance(start, Mapping) and {"theta"} <= set(start) <= {"theta", "fixef"}:
            parts = start["theta"], start.get("fixef", ())
            start = np.concatenate([np.ravel(np.asarray(part, dtype=float)) for part in parts])
        first = self.first_start
        start = np.ravel(by_name(start, model.names, "start", otherwise=first))
        if len(start) in (model.m, model.m + model.p):
            start = np.concatenate([start, first[len(start) :]])
        if model.has_xi and len(start) == model.d and start[-1] <= 0.0:
            raise ValueError(f"start of {model.names[-1]} must be positive, not {start[-1]:g}.")
        return start

    def on(self, matrices: ModelMatrices) -> LaplaceCriterion:
        """The criterion of other matrices."""
        return replace(self, matrices=matrices)

    def with_response(self, y: Vector) -> LaplaceCriterion:
        """The criterion for another response (n,) on the same design."""
        return replace(self, matrices=self.matrices.with_response(y))

    def starts(self) -> Iterator[Vector]:
        """Moment estimates of the covariances, with coefficients at the joint mode there.

        The coefficients of the marginal fit are not those given the random effects.
        """
        yield self._first[0]

    @cached_property
    def _first(self) -> tuple[Vector, Vector | None]:
        """Coordinates (d,) of the start, and dual effects (q,) near the mode there."""
        model, marginal = self.model, self.model.marginal
        theta = moment_start(model)
        if not model.p:
            return model.joined(theta, np.empty(0), marginal.xi), None
        factors = self.matrices.factors(theta)
        target = ModeTarget(model.effects, model.bound, factors, model.offset, marginal.xi, model.X)
        beta = model.T @ marginal.beta
        mode = joint_mode(target, beta)
        inside = mode is not None and np.isfinite(
            model.bound.loglik(model.X @ mode.beta + model.offset, marginal.xi)
        )
        if mode is None or not inside:  # of the link's range
            return self._within(model.joined(theta, beta, marginal.xi)), None
        theta = scored_start(model, theta, mode, marginal.xi)
        x = model.joined(theta, mode.beta, marginal.xi)
        if has_end(self.family) and (within := self._within(x)) is not x:
            return within, None
        return x, mode.v

    def _within(self, x: Vector) -> Vector:
        """The point (d,) with smaller covariances, where the random effects have no mode at x."""
        smaller = np.append(
            np.where(self.parameters.scales, 0.5, 1.0), np.ones(len(x) - self.model.m)
        )
        for _ in range(HALVINGS):
            place = self.model.place(x)
            try:
                self._mode_from(place)
            except (NumericalError, np.linalg.LinAlgError):
                x = smaller * x
            else:
                break
        return x

    def value(self, x: Vector) -> float:
        """The criterion at x (d,)."""
        place = self.model.place(x)
        return self._expansion(place, self._mode(place, None), 0).value

    def gradient(self, x: Vector) -> Vector:
        """First derivatives of the criterion at x (d,)."""
        place = self.model.place(x)
        here = self._expansion(place, self._mode(place, None), 1)
        return np.asarray(here.score @ here.chain)

    def part(self, rows: IntVector) -> LaplaceCriterion:
        """What some rows add to the criterion, as a criterion in the same coordinates.

        Parameters
        ----------
        rows : (r,) int array
            Rows that share no level of a random effect with others.

        Raises
        ------
        NumericalError
            Their random effects are too many to be eliminated in closed form.
        """
        model = self.model.at_rows(self.matrices, rows)
        if not model.effects.has_closed_form:
            raise NumericalError(
                f"{model.effects.q} random effects of {len(rows)} rows are crossed: they are too "
                "many to be taken apart from others."
            )
        part = replace(self, matrices=model.matrices)
        part.__dict__["model"] = model  # its own would have other coordinates
        return part

    def evaluate(self, x: Vector, move: Move | None = None) -> LaplaceEvaluation:
        """The criterion with its derivatives at x (d,), where a search came to by `move`.

        For several factors the Hessian leaves out its dearest terms. What they are is learned from
        the gradients on the way, and computed where the search ends (`exact`).
        """
        place = self.model.place(x)
        order = 1 if len(self.model.effects.groups) > 1 else 2
        if move is not None and isinstance(move.origin, LaplaceEvaluation):
            move.origin.expansion.release()
        here = self._expansion(place, self._mode(place, move), order).evaluation()
        if not (np.isfinite(here.hessian).all() and np.isfinite(here.information).all()):
            raise NumericalError("Derivatives overflow here: linear predictors are too large.")
        origin = None if move is None else move.origin
        if here.exact or not isinstance(origin, LaplaceEvaluation):
            return here
        return _learned(here, origin)

    def _differentiated(self, here: LaplaceEvaluation, x: Vector) -> LaplaceEvaluation:
        """The evaluation with second derivatives by differences of exact gradients."""
        model, d, m = self.model, len(x), self.model.m
        J = here.expansion.chain
        changes, units = [], model.parameters.units(x[:m])
        for step in STEP * np.eye(d):
            sides = (self._beside(here, x, J, sign * step).along(units) for sign in (1.0, -1.0))
            changes.append(next(sides) - next(sides))
        # directions that x does not reach keep their approximation
        change = np.array(changes).T / (2.0 * STEP) - here.curvature @ J
        curvature = here.curvature + np.linalg.lstsq(J.T, change.T, rcond=1e-10)[0].T
        curvature = 0.5 * (curvature + curvature.T)
        hessian = J.T @ curvature @ J
        hessian[:m, :m] += model.parameters.bend(x[:m], stacked(here.slopes))
        return replace(here, curvature=curvature, hessian=hessian, exact=True)

    def _beside(self, here: LaplaceEvaluation, x: Vector, J: Matrix, step: Vector) -> Expansion:
        place = self.model.place(x + step)
        return self._expansion(place, self._mode(place, Move(here, J @ step, np.inf)), 1)

    def undetermined(self, x: Vector, here: Evaluation) -> NDArray[np.bool_]:
        """Coordinates (d,) that can change together without changing the criterion anywhere.

        Where units depend on the parameters, information at generic ones tells.
        """
        parameters, model = self.parameters, self.model
        m, e = model.m, model.e
        if not np.array_equal(parameters.informative(x[:m]), parameters.generic):
            here = self.evaluate(self._within(np.append(parameters.generic, x[m:])))
        mask = np.zeros(len(self.names), dtype=np.bool_)
        mask[:m] = undetermined_at(parameters, here.information[:e, :e])
        return mask

    def endless(self, x: Vector, here: Evaluation) -> tuple[str, Mapping[str, float]] | None:
        """Shapes and variances without bound, proven separation, or the end of a link."""
        model, fixed = self.model, self.matrices.fixed.names
        own = self.known(x, here).expansion
        if model.has_xi and own.place.xi < model.least_xi:
            return "EXACT", {self.family.shape_name: 0.0}
        if self.family.shape_name == "theta" and x[-1] > LARGE and self._is_poisson(x, here.value):
            return "SHAPE_UNBOUNDED", {"theta": 1.0}
        information = model.bound.scored(own.mode.eta, own.place.xi).expected[0]
        if is_suspicious(model, information, own.place.xi):
            signs = dict(zip(fixed, np.sign(separating(model)).tolist(), strict=True))
            if any(signs.values()):
                return "SEPARATED", {name: sign for name, sign in signs.items() if sign}
        if found := untold(self.matrices, self.family):
            return found
        if is_at_end(self.family, own.mode.eta):
            return "END_OF_LINK", dict.fromkeys(fixed, 0.0)
        return None

    def _is_poisson(self, x: Vector, value: float) -> bool:
        """Whether Poisson's distribution is as likely as at x (d,), but for rounding errors."""
        limit = np.append(x[:-1], POISSON)
        return bool(x[-1] >= POISSON or self.value(limit) <= value + STALLED)

    def fits_exactly(self, x: Vector) -> bool:
        """False: a likelihood without residuals knows no exact fit."""
        return False

    def value_and_state(
        self, x: Vector, move: Move | None = None
    ) -> tuple[float, LaplaceEvaluation]:
        """The criterion at x (d,), and the approximation there."""
        here = self.exactly(x, move)
        return here.value, here

    def known(self, x: Vector, state: object = None) -> LaplaceEvaluation:
        """The criterion at x (d,), with all derivatives in closed form.

        It is the state that a search has ended with, if that was made there.
        """
        if isinstance(state, LaplaceEvaluation):
            own = state.expansion
            if own.model is self.model and np.array_equal(own.place.x, x):
                return state
        return self._closed(x, None)

    def exactly(self, x: Vector, move: Move | None = None) -> LaplaceEvaluation:
        """The criterion with exact derivatives at x (d,), where a search came to by `move`."""
        return self.exact(self._closed(x, move))

    def exact(self, here: LaplaceEvaluation) -> LaplaceEvaluation:
        """An evaluation with its exact Hessian, if need be by differences of gradients."""
        if here.exact:
            return here
        plain = here.with_missing(np.zeros_like(here.missing))
        found = here.expansion.completed().evaluation()
        if not found.exact:
            found = self._differentiated(found, here.expansion.place.x)
        return replace(found, missing=found.hessian - plain.hessian)

    def _closed(self, x: Vector, move: Move | None) -> LaplaceEvaluation:
        place = self.model.place(x)
        return self._expansion(place, self._mode(place, move), 2).evaluation()

    def fixed_covariance(self, here: LaplaceEvaluation) -> Matrix:
        """Asymptotic covariance (p, p) of the coefficients of X*.

        From the Hessian over all parameters; where they are part of the mode, from its information.
        """
        model = self.model
        if model.joint:
            return np.linalg.inv(here.expansion.inner_information)
        covariance = variance_of_estimates(here.hessian)
        return covariance[model.m : model.m + model.p, model.m : model.m + model.p]

    def _mode(self, place: Place, move: Move | None) -> Mode:
        """The mode at a place, from where the one before is predicted to move.

        Of several modes it is the one that a search from zeros finds, whichever way led here.
        """
        if not self.family.is_concave:
            return self._mode_from(place)
        beta: Vector | None = None
        guess: Vector | None = None
        first = vars(self).get("_first")  # there where a search has asked for it
        if first is not None and np.array_equal(place.x, first[0]):
            guess = first[1]
        if move is not None and isinstance(move.origin, LaplaceEvaluation):
            guess, beta = move.origin.predicted_v(move.change), move.origin.expansion.mode.beta
        for v in (None,) if guess is None else (guess, None):
            try:
                return self._mode_from(place, v, beta)
            except (NumericalError, np.linalg.LinAlgError) as error:
                failure = error
        raise NumericalError(str(failure))

    def _mode_from(self, place: Place, v: Vector | None = None, beta: Vector | None = None) -> Mode:
        """The mode at a place, from dual effects (q,) and coefficients (p,) that belong to it."""
        model = self.model
        target = ModeTarget(
            model.effects, model.bound, place.factors, model.fixed(place), place.xi, model.inner
        )
        if beta is None and model.joint:
            beta = model.T @ model.marginal.beta
        mode = conditional_mode(target, v, beta)
        if has_end(self.family) and not is_inside(self.family, mode):
            raise NumericalError(
                "The random effects have no mode inside what the link allows: use another link."
            )
        return mode

    def _expansion(self, place: Place, mode: Mode, order: int) -> Expansion:
        if self.nagq > 1:
            return Quadrature(self.model, place, mode, self.information, order, self.nagq)
        kind = LevelExpansion if self.model.effects.is_by_level else Expansion
        return kind(self.model, place, mode, self.information, order)


def _learned(here: LaplaceEvaluation, origin: LaplaceEvaluation) -> LaplaceEvaluation:
    """An evaluation with what its Hessian lacks, as gradients here and at `origin` tell.

    Of all that explain how the gradient has changed, it differs least from what was believed there,
    in the metric of the information (Dennis, Gay & Welsch, 1981, ACM Trans. Math. Softw. 7,
    348-368).
    """
    step = here.expansion.place.x - origin.expansion.place.x
    J = here.expansion.chain
    plain = 0.5 * (here.hessian + origin.hessian - origin.missing)
    rest = here.gradient - origin.gradient - (plain + origin.missing) @ step
    force = J.T @ (here.information @ (J @ step))
    size = float(force @ step)
    if not size > 0.0:
        return here
    change = np.outer(rest, force) / size
    change = change + change.T - float(rest @ step) * np.outer(force, force) / size**2
    found = here.with_missing(origin.missing + change)
    return found if np.isfinite(found.curvature).all() else here
