"""The Laplace approximation of -2 log likelihood at one point, with exact gradient and Hessian.

Random effects ``b ~ N(0, Gamma)`` are integrated out at their mode (docs/theory/laplace.md):

    d(Gamma, beta, xi) = -2 l(eta) + b'v + log|I + Gamma Z'WZ|,   b = Gamma v,  v = Z'r         (1)

with ``eta = X beta + Z b + offset``, r = dl/deta, and W the expected or the observed information.
For the identity link of the normal distribution, and xi = log sigma^2, this is the deviance of a
linear model. Along a direction k, with ``Y_k = Z E_k v`` or a column of X, and W_o observed, the
mode moves by

    eta_k = Y_k - Z D_o Z'W_o Y_k,      v_k = -Z'W_o eta_k                                      (4)

and with ``s = W' z'Dz``, ``t = s - W_o Z D_o Z's``, ``w = Z't`` the gradient is

    dd/dbeta = X'(t - 2 r),    dd/dGamma = sum_levels F - v v' + (w v' + v w') / 2              (5)
    dd/dxi = -2 l_xi + z'Dz W_xi + (Z D_o Z's)'r_xi                                             (6)
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lmm._types import Matrix, Vector, cached_property
from lmm.criterion.base import Evaluation
from lmm.family import RowLikelihood, ShapeRows
from lmm.family.jets import Jet
from lmm.laplace.effects import ALL
from lmm.laplace.elimination import Elimination, Units
from lmm.laplace.mode import Mode
from lmm.laplace.model import Model, Place
from lmm.laplace.row_part import RowPart
from lmm.pls import stacked

# A step may move no linear predictor by more than this: farther the mode is not predicted.
REACH = 5.0
# What a step may change the logarithm of the shape by: from a wild guess it would lose all digits.
SHAPE_REACH = 3.0
# Share of the largest singular value of `Expansion.chain` below which x reaches no direction.
REACHED = 1e-3


@dataclass(frozen=True)
class LaplaceEvaluation(Evaluation):
    """The criterion with its derivatives, and what the next mode starts from.

    Attributes
    ----------
    expansion : Expansion
        The approximation itself.
    missing : (d, d) array
        What `hessian` has beside the terms that every evaluation computes, or is believed to have.
    """

    expansion: Expansion
    missing: Matrix

    def with_missing(self, missing: Matrix) -> LaplaceEvaluation:
        """The evaluation with another such part (d, d)."""
        added = missing - self.missing
        # directions of Gamma that x hardly reaches keep what they have
        J = self.expansion.chain
        half = np.linalg.lstsq(J.T, added, rcond=REACHED)[0]
        curvature = self.curvature + np.linalg.lstsq(J.T, half.T, rcond=REACHED)[0]
        hessian = self.hessian + added
        return replace(self, hessian=hessian, curvature=curvature, missing=missing)

    @property
    def state(self) -> LaplaceEvaluation:
        """See `Evaluation`: itself."""
        return self

    def share(self, change: Vector) -> float:
        """See `Evaluation`: as far as no linear predictor moves by more than `REACH`.

        Nor the logarithm of the shape by more than `SHAPE_REACH`.
        """
        size = float(np.abs(self.expansion.eta_along(change)).max(initial=0.0)) / REACH
        if self.expansion.model.has_xi:
            size = max(size, abs(float(change[-1])) / SHAPE_REACH)
        return 1.0 if size <= 1.0 else 1.0 / size

    def predicted_v(self, change: Vector) -> Vector:
        """Dual effects (q,) after a change (d,) of the coordinates, to first order."""
        return np.asarray(self.expansion.mode.v + self.expansion.v_along(change))


@dataclass(frozen=True, eq=False)
class Expansion:
    """Criterion (1) at a mode, and its derivatives by (Gamma along its units, beta, xi).

    Attributes
    ----------
    model : Model
        The model.
    place : Place
        The parameters.
    mode : Mode
        The mode there.
    information : str
        Which weights stand in the determinant: ``"expected"`` or ``"observed"``.
    order : int
        1 leaves out the dearest terms of the Hessian, 2 does not.
    """

    model: Model
    place: Place
    mode: Mode
    information: str
    order: int = 2

    @cached_property
    def rows(self) -> RowLikelihood:
        """Log-likelihood and information with derivatives."""
        return self.model.bound.at(self.mode.eta, self.place.xi, self.order and 2)

    @cached_property
    def weights(self) -> Jet:
        """W of (1) with its derivatives."""
        return self.rows.observed if self.information == "observed" else self.rows.expected

    @property
    def observed(self) -> Jet:
        """W_o with its derivatives."""
        return self.rows.observed

    @cached_property
    def D(self) -> Elimination:
        """D of the weights W."""
        return self.model.effects.eliminated(self.weights[0], self.place.factors)

    @cached_property
    def D_o(self) -> Elimination:
        """D of the weights W_o."""
        if self.weights is self.observed:
            return self.D
        return self.model.effects.eliminated(self.observed[0], self.place.factors)

    @cached_property
    def value(self) -> float:
        """The criterion."""
        return self.mode.penalized + self.D.logdet

    @cached_property
    def units(self) -> Units:
        """Directions of Gamma, (e, k, k) per group."""
        return self.model.units(self.place.x)

    @property
    def flat_units(self) -> Matrix:
        """The same in the entries of all terms' Gamma, (e, K)."""
        return self.model.parameters.units(self.place.x[: self.model.m])

    # First derivatives ---------------------------------------------------------------------------

    def response(self, force: Matrix) -> Matrix:
        """How linear predictors at the mode follow a force on them, (n,) or (n, r).

        ``Z D_o Z'`` times the force, and what coefficients that are part of the mode add.
        """
        effects = self.model.effects
        moved = effects.spread(self.D_o.solve(effects.sums(force)))
        if not self.model.inner.size:
            return np.asarray(moved)
        swept, information = self._inner
        return np.asarray(moved + swept @ np.linalg.solve(information, swept.T @ force))

    @cached_property
    def _inner(self) -> tuple[Matrix, Matrix]:
        """Columns of the mode less what random effects explain, and their information."""
        effects, X = self.model.effects, self.model.inner
        WX = self.observed[0][:, None] * X
        swept = X - effects.spread(self.D_o.solve(effects.sums(WX)))
        return swept, WX.T @ swept

    @property
    def inner_information(self) -> Matrix:
        """Information (p, p) of the coefficients that are part of the mode."""
        return self._inner[1]

    @cached_property
    def Zc(self) -> Vector:
        """``Z D_o Z's``, (n,)."""
        return self.response(self.weights[1] * self.D.leverages)

    @cached_property
    def t(self) -> Vector:
        """T of (5), (n,)."""
        return self.weights[1] * self.D.leverages - self.observed[0] * self.Zc

    @cached_property
    def w(self) -> Vector:
        """W of (5), (q,)."""
        return self.model.effects.sums(self.t)

    @property
    def slopes(self) -> tuple[Matrix, ...]:
        """Derivative of the criterion in each term's Gamma, (k_i, k_i)."""
        return self.laplace_slopes

    @property
    def score(self) -> Vector:
        """Derivatives of the criterion, (d,)."""
        return self.laplace_score

    def along(self, units: Matrix) -> Vector:
        """Derivatives along other units (e, K) of Gamma, and by the plain coordinates."""
        return np.append(units @ stacked(self.slopes), self.score[len(units) :])

    @cached_property
    def laplace_slopes(self) -> tuple[Matrix, ...]:
        """Derivative (5) in each term's Gamma, (k_i, k_i)."""
        effects = self.model.effects
        found = []
        for F, v, w in zip(
            self.D.sums, effects.by_term(self.mode.v), effects.by_term(self.w), strict=True
        ):
            wv = w.T @ v
            found.append(F - v.T @ v + 0.5 * (wv + wv.T))
        return tuple(found)

    @property
    def _along_gamma(self) -> Vector:
        """Derivatives along the units of Gamma, (e,)."""
        return np.asarray(self.flat_units @ stacked(self.laplace_slopes))

    @cached_property
    def laplace_score(self) -> Vector:
        """Derivatives (5) and (6), (d,)."""
        model, gamma = self.model, self._along_gamma
        beta = model.outer.T @ (self.t - 2.0 * self.rows.score)
        if not model.has_xi:
            return np.concatenate([gamma, beta])
        s = self.shape
        xi = -2.0 * s.first + self.D.leverages @ self.by_xi[0] + self.Zc @ s.score1
        return np.concatenate([gamma, beta, [xi]])

    @property
    def shape(self) -> ShapeRows:
        """Derivatives of the rows by xi."""
        assert self.rows.shape is not None
        return self.rows.shape

    @property
    def by_xi(self) -> Jet:
        """Derivative of W by xi, and that by eta of it."""
        return self.shape.observed1 if self.information == "observed" else self.shape.expected1

    # How the mode moves --------------------------------------------------------------------------

    @cached_property
    def part(self) -> RowPart:
        """What the rows add to derivatives."""
        return RowPart(self, ALL)

    @cached_property
    def pushed(self) -> Matrix:
        """``E_k v``, (q, e): how effects move at fixed dual effects."""
        return self.model.effects.along(self.units, self.mode.v)

    @cached_property
    def _tangent(self) -> tuple[Matrix, Matrix]:
        """How the effects (q, d), and coefficients that are part of the mode, (p, d), move."""
        model, effects = self.model, self.model.effects
        moved = -self.D_o.solve(effects.sums(self.part.force))
        moved[:, : model.e] += self.pushed
        if not model.inner.size:
            return moved, np.empty((0, model.width))
        swept, information = self._inner
        inner = -np.linalg.solve(information, swept.T @ self.part.force)
        WX = self.observed[0][:, None] * model.inner
        return moved - self.D_o.solve(effects.sums(WX)) @ inner, inner

    def eta_along(self, change: Matrix, rows: slice = ALL) -> Matrix:
        """How linear predictors at the mode move, by (4): (n,) or (n, r) for (d,) or (d, r)."""
        model = self.model
        effects, inner = self._tangent
        moved = model.effects.spread(effects @ change, rows)
        if model.p:
            moved += model.outer[rows] @ change[model.e : model.e + model.p]
        if model.inner.size:
            moved += model.inner[rows] @ (inner @ change)
        return moved

    def effects_along(self) -> Matrix:
        """Derivatives of the random effects at the mode by the coordinates x, (q, d)."""
        model, m, e = self.model, self.model.m, self.model.e
        moved = self._tangent[0]
        J = model.parameters.jacobian(self.place.x[:m])
        return np.hstack([moved[:, :e] @ J, moved[:, e:]])

    def v_along(self, change: Matrix) -> Matrix:
        """How the dual effects move, by (4), with the parameters: (q,) or (q, r) for (d, ...)."""
        moved = -(self.observed[0] * self.eta_along(change).T).T
        if self.model.has_xi:
            moved += np.multiply.outer(self.shape.score1, change[-1])
        return self.model.effects.sums(moved)

    # Second derivatives --------------------------------------------------------------------------

    @cached_property
    def _plain(self) -> tuple[Matrix, Matrix]:
        """Second derivative of ``-2 l + b'v`` at the mode, and all but the dearest rest, (d, d)."""
        curved, rest = self.part.curved(), self.part.mode_terms() + self.part.weight_terms()
        if self.model.has_xi:
            curved[-1, -1] -= 2.0 * self.shape.second
        return curved, rest

    @cached_property
    def _trace(self) -> Matrix:
        """``tr(F E_k F E_l)`` over the units of Gamma, (e, e)."""
        S = self.flat_units
        trace = self.D.trace if self.order > 1 else None
        return np.asarray(S @ (self.D.scoring if trace is None else trace) @ S.T)

    @cached_property
    def metric(self) -> Matrix:
        """Expected second derivative, block by block, (d, d): the sizes of steps."""
        m = self.model.e
        info = np.zeros((self.model.width,) * 2)
        info[:m, :m] = self._trace
        info[m:, m:] = self._plain[0][m:, m:]
        if self.model.has_xi:
            info[-1, :-1] = info[:-1, -1] = 0.0
            info[-1, -1] = abs(info[-1, -1]) + 1e-12
        return info

    @property
    def is_exact(self) -> bool:
        """Whether `hessian` leaves nothing out."""
        return self.order > 1 and self.D.is_exact(self.model.width)

    @cached_property
    def hessian(self) -> Matrix:
        """Second derivatives (7), (d, d)."""
        m = self.model.e
        H = self._plain[0] + self._plain[1]
        H[:m, :m] -= self._trace
        return H + self._dear_terms if self.is_exact else H

    @cached_property
    def _dear_terms(self) -> Matrix:
        """``-tr(D S_k D S_l)``, and what quadratic forms of Z do as weights move, (d, d)."""
        traces, swept = self.D.moving_weights(self.units, self.part.moved)
        H = -traces
        H[: self.model.e] += swept
        H[:, : self.model.e] += swept.T
        return H

    @property
    def chain(self) -> Matrix:
        """Derivatives (width, d) of the units of Gamma, beta and xi by the coordinates x."""
        model = self.model
        m, e = model.m, model.e
        J = np.zeros((model.width, model.d))
        J[:e, :m] = model.parameters.jacobian(self.place.x[:m])
        J[e:, m:] = np.eye(model.d - m)
        return J

    def completed(self) -> Expansion:
        """The same with the dearest terms, and with what has been computed."""
        found = replace(self, order=2)
        known = ("D", "D_o", "w", "_tangent", "laplace_slopes", "laplace_score", "_plain")
        found.__dict__.update((name, vars(self)[name]) for name in known if name in vars(self))
        return found

    def evaluation(self) -> LaplaceEvaluation:
        """Everything in the coordinates of a search."""
        model, J = self.model, self.chain
        x, m = self.place.x[: model.m], model.m
        hessian = J.T @ self.hessian @ J
        hessian[:m, :m] += model.parameters.bend(x, stacked(self.slopes))
        here = LaplaceEvaluation(
            self.value,
            self.score @ J,
            hessian,
            self.score,
            self.hessian,
            self.metric,
            np.zeros(model.width),
            self.slopes,
            self.is_exact,
            np.inf if self.place.xi < model.least_xi else 0.0,
            self,
            np.zeros_like(hessian),
        )
        self._release()
        return here

    def _release(self) -> None:
        """Forget what is large and has served; it would be computed again."""
        for name in ("part", "Zc", "t", "pushed"):
            self.__dict__.pop(name, None)
        rows = self.rows
        observed, expected = rows.observed[:1], rows.expected[:1]
        if rows.expected is rows.observed:
            expected = observed
        rows = replace(rows, observed=observed, expected=expected)
        weights = observed if self.weights is self.observed else expected
        self.__dict__.update(rows=rows, weights=weights)
        if self.order > 1:  # else it may be completed
            self.release()

    def release(self) -> None:
        """Forget what is large and served derivatives by D alone."""
        self.D.release()
        self.D_o.release()
