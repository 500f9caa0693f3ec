"""The Laplace criterion as a likelihood of absolute covariance factors, coefficients and a size.

Coordinates are ``z = (entries of the L_i, B^-1 beta*, log size)`` with ``L_i L_i' = Sigma_i``,
beta* the coefficients of orthonormal columns, B any basis of them, and the size sigma or theta of
families that have one. The criterion has derivatives in the entries of
``Gamma_i = R_i Sigma_i R_i'`` and in beta* (docs/theory/laplace.md), which the chain rule takes to
z.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from lmm._types import IntVector, Matrix, Vector
from lmm.criterion import ProfiledCriterion
from lmm.inference.variance.reported import KnownSizeLikelihood, Likelihood, Taylor
from lmm.laplace import LaplaceCriterion
from lmm.laplace.expansion import LaplaceEvaluation
from lmm.pls import stacked


@dataclass(frozen=True, eq=False)
class LaplaceLikelihood(Likelihood):
    """-2 log-likelihood of a generalized model as a function of z (d,).

    Attributes
    ----------
    basis : (p, p) array
        B: columns are directions of beta*.
    """

    criterion: LaplaceCriterion  # type: ignore[assignment]
    basis: Matrix

    @property
    def n_coordinates(self) -> int:
        """Length of z."""
        return self.criterion.model.d

    @property
    def whitening(self) -> tuple[Matrix, ...]:
        return self.criterion.model.effects.problem.whitening

    @property
    def _fixed(self) -> slice:
        """Where z holds the coefficients."""
        model = self.criterion.model
        return slice(model.m, model.m + model.p)

    @property
    def _power(self) -> float:
        """The size as a power of the shape: sigma is the root of the dispersion."""
        return 0.5 if self.criterion.family.has_scale else 1.0

    def size(self, z: Vector) -> float:
        """Sigma or theta; 1 where the family has neither."""
        return float(np.exp(z[-1])) if self.criterion.model.has_xi else 1.0

    def noise(self, z: Vector) -> float:
        """1: the whitening holds the dispersion."""
        return 1.0

    def coordinates(self, theta: Vector, sigma: float) -> Vector:
        """Coordinates z (d,) of all parameters theta (d,) on the users' scale."""
        model = self.criterion.model
        turns = [np.eye(len(order))[order] for order in self.orders]
        L = self._parameters.whitened(theta[: model.m], turns)
        beta = np.linalg.solve(self.basis, model.T @ theta[self._fixed])
        log_size = [self._power * np.log(theta[-1])] if model.has_xi else []
        return np.concatenate([L, beta, log_size])

    def beta(self, z: Vector) -> Vector:
        """Fixed effects (p,) at z."""
        return self.criterion.model.coefficients(self.basis @ z[self._fixed])

    def x(self, z: Vector) -> Vector:
        """The criterion's coordinates (d,)."""
        model = self.criterion.model
        L = self._parameters.whitened(z[: model.m], self._roots)
        xi = float(z[-1]) / self._power if model.has_xi else 0.0
        return model.joined(L, self.basis @ z[self._fixed], xi)

    def evaluate(self, z: Vector) -> Taylor:
        """Value, gradient and Hessian at z (d,)."""
        if self.always_exact:
            return self.exactly(z)
        return self._local(z, self.criterion.evaluate(self.x(z)))

    def exactly(self, z: Vector) -> Taylor:
        """Value, gradient and Hessian at z (d,), exact with every solver and rule."""
        return self._local(z, self.criterion.exactly(self.x(z)))

    def _local(self, z: Vector, here: LaplaceEvaluation) -> Taylor:
        model, e = self.criterion.model, self.criterion.model.e
        J = np.zeros((model.width, model.d))
        lift = self._parameters.lift(self._roots)
        J[:e, : model.m] = lift @ self._parameters.jacobian(z[: model.m])
        J[e : e + model.p, self._fixed] = self.basis
        if model.has_xi:
            J[-1, -1] = 1.0 / self._power
        hessian = J.T @ here.curvature @ J
        pulled = tuple(R.T @ G @ R for R, G in zip(self._roots, here.slopes, strict=True))
        hessian[: model.m, : model.m] += self._parameters.bend(z[: model.m], stacked(pulled))
        hessian = 0.5 * (hessian + hessian.T)
        return Taylor(here.value, J.T @ here.score, hessian, here.exact)

    def toward(self, index: int) -> LaplaceLikelihood:
        """With fixed effect number `index` as the first coordinate of the coefficients.

        ``beta_j = r'beta*``; the other coordinates are of directions across r.
        """
        T = self.criterion.model.T
        r = np.linalg.solve(T.T, np.eye(len(T))[index])
        across = np.linalg.svd(r[None])[2][1:].T
        return replace(self, basis=np.column_stack([r / (r @ r), across]))


def likelihood_of(
    criterion: ProfiledCriterion | LaplaceCriterion, orders: Sequence[IntVector] | None = None
) -> Likelihood:
    """The likelihood in absolute factors of a linear or a generalized model.

    Parameters
    ----------
    criterion : ProfiledCriterion or LaplaceCriterion
        What was minimized.
    orders : sequence of (k_i,) int arrays, optional
        As for `Likelihood`; the terms' own by default.

    Raises
    ------
    ValueError
        The fixed effects are no coordinates of the criterion (nagq = 0).
    """
    terms = criterion.matrices.terms
    chosen = tuple(np.arange(term.size) for term in terms) if orders is None else tuple(orders)
    if isinstance(criterion, ProfiledCriterion):
        kind = Likelihood if criterion.sigma is None else KnownSizeLikelihood
        return kind(criterion, chosen)
    if criterion.model.joint:
        raise ValueError(
            "with nagq=0 fixed effects are no parameters of the criterion: fit with nagq=1 for "
            "profiles and for intervals of variance parameters."
        )
    return LaplaceLikelihood(criterion, chosen, np.eye(criterion.model.p))
