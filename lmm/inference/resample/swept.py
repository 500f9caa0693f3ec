"""What fits of r responses are made of at given covariances, and their criteria with derivatives.

Equations are those of `lmm.inference.resample.interpolated`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lmm import likelihood
from lmm._types import Matrix, Vector
from lmm.criterion import ProfiledCriterion
from lmm.pls.base import Blocks, stacked

EPSILON = float(np.finfo(float).eps)


@dataclass(frozen=True, eq=False)
class Reduced:
    """What a design needs of r responses.

    Attributes
    ----------
    C : tuple of (r, k, l) arrays
        Z'y by group, of standardized residuals of least squares.
    yy : (r,) array
        Their sums of squares.
    beta0 : (r, p) array
        Least-squares coefficients.
    scale : (r,) array
        Units of the responses.
    """

    C: Blocks
    yy: Vector
    beta0: Matrix
    scale: Vector


@dataclass(frozen=True, eq=False)
class Swept:
    """The functions (1) at one point.

    Attributes
    ----------
    logdet : float
        log|V|.
    border : (r, t, t) array
        [X y]'V^-1[X y] of each response.
    v : tuple of (p + r, k_i, l_i) arrays
        Z'V^-1[X y] of each term, for all responses side by side.
    slopes : (K,) array
        Derivatives of log|V| by the entries of Gamma.
    """

    logdet: float
    border: Matrix
    v: tuple[Matrix, ...]
    slopes: Vector

    @classmethod
    def at(cls, criterion: ProfiledCriterion, x: Vector, data: Reduced) -> Swept:
        """Eliminate a design's random effects at whitened coordinates x (m,), all regular."""
        problem, factors = criterion.problem, criterion.factors(x)
        p, point = problem.p, criterion.pls.at(factors)
        C = tuple(
            np.concatenate([shared[:p], own])
            for shared, own in zip(problem.products.couplings, data.C, strict=True)
        )
        effects = point.solve(C)
        v = {}
        for group, b in zip(problem.groups, effects, strict=True):
            for i, columns in group.members:
                root = np.linalg.inv(factors[i])
                v[i] = root.T @ (root @ b[:, columns])
        border = _border(problem.base[:p, :p], data.yy, C, effects)
        slopes = stacked(point.derivatives(False).logdet)
        return cls(point.logdet, border, tuple(v[i] for i in range(len(v))), slopes)

    @property
    def functions(self) -> Vector:
        """Log determinant, X'V^-1 X, and the last row of each border, one after the other."""
        p = self.border.shape[1] - 1
        return np.concatenate(
            [[self.logdet], self.border[0, :p, :p].ravel(), self.border[:, -1].ravel()]
        )

    @property
    def derivatives(self) -> Matrix:
        """Derivatives (K, f) of the functions by the entries of Gamma."""
        p = self.border.shape[1] - 1
        each = []
        for v in self.v:
            X, y = v[:p], v[p:]
            k = v.shape[1]
            fixed = np.tensordot(X, X, (2, 2)).transpose(1, 3, 0, 2).reshape(k * k, -1)
            mixed = np.tensordot(y, X, (2, 2)).transpose(1, 3, 0, 2)
            own = np.einsum("ral,rbl->abr", y, y)[..., None]
            each.append(np.hstack([fixed, np.concatenate([mixed, own], 3).reshape(k * k, -1)]))
        return np.hstack([self.slopes[:, None], -np.vstack(each)])


def _border(XX: Matrix, yy: Vector, C: Blocks, effects: Blocks) -> Matrix:
    """``[X y]'[X y] - C'D C`` (r, t, t), for X'y = 0 and effects D C."""
    p = len(XX)
    border = np.zeros((len(yy), p + 1, p + 1))
    border[:, :p, :p], border[:, p, p] = XX, yy
    for own, b in zip(C, effects, strict=True):
        border[:, :p, :p] -= np.tensordot(own[:p], b[:p], ((1, 2), (1, 2)))
        border[:, p, :p] -= np.tensordot(own[p:], b[:p], ((1, 2), (1, 2)))
        border[:, p, p] -= np.einsum("ral,ral->r", own[p:], b[p:])
    border[:, :p, p] = border[:, p, :p]
    return border


@dataclass(frozen=True, eq=False)
class ProfiledPieces:
    """The pieces of r criteria at their points, with derivatives by z where they are known.

    Attributes
    ----------
    logdet, logdet1, logdet2 : (r,), (r, m) and (r, m, m) arrays
        Log determinants: log|V| (REML: + log|X'V^-1 X|).
    pwrss, pwrss1, pwrss2 : (r,), (r, m) and (r, m, m) arrays
        Penalized residual sums of squares.
    beta : (r, p) array
        Fixed effects of the orthonormal X.
    inverse, inverse1 : (r, p, p) and (r, m, p, p) arrays
        ``(X'V^-1 X)^-1``.
    """

    logdet: Vector
    logdet1: Matrix
    logdet2: Matrix
    pwrss: Vector
    pwrss1: Matrix
    pwrss2: Matrix
    beta: Matrix
    inverse: Matrix
    inverse1: Matrix

    @classmethod
    def of(
        cls, logdets: tuple[Matrix, Matrix, Matrix], borders: tuple[Matrix, ...], reml: bool
    ) -> ProfiledPieces:
        """Eliminate the fixed effects from borders (r, t, t) with their derivatives by z."""
        (logdet, logdet1, logdet2), (own, first, second) = logdets, borders
        inverse = np.linalg.inv(own[:, :-1, :-1])
        beta = np.einsum("rst,rt->rs", inverse, own[:, :-1, -1])
        w = np.hstack([-beta, np.ones((len(beta), 1))])
        moved = np.einsum("rmst,rt->rms", first, w)
        e = moved[..., :-1]
        # beta is a minimum: it moves the second derivative alone.
        pwrss2 = np.einsum("rmnst,rs,rt->rmn", second, w, w, optimize=True)
        pwrss2 -= 2.0 * np.einsum("rms,rst,rnt->rmn", e, inverse, e, optimize=True)
        turned = inverse[:, None] @ first[..., :-1, :-1]
        if reml:
            logdet = logdet + np.linalg.slogdet(own[:, :-1, :-1])[1]
            logdet1 = logdet1 + np.einsum("rmss->rm", turned)
            logdet2 = logdet2 + np.einsum("rst,rmnts->rmn", inverse, second[..., :-1, :-1])
            logdet2 = logdet2 - np.einsum("rmst,rnts->rmn", turned, turned)
        return cls(
            logdet,
            logdet1,
            logdet2,
            np.einsum("rst,rs,rt->r", own, w, w, optimize=True),
            np.einsum("rms,rs->rm", moved, w),
            pwrss2,
            beta,
            inverse,
            -turned @ inverse[:, None],
        )

    @classmethod
    def at(cls, swept: Swept, reml: bool) -> ProfiledPieces:
        """Without derivatives."""
        r, t, _ = swept.border.shape
        logdet = np.full(r, swept.logdet), np.zeros((r, 0)), np.zeros((r, 0, 0))
        borders = swept.border, np.zeros((r, 0, t, t)), np.zeros((r, 0, 0, t, t))
        return cls.of(logdet, borders, reml)

    def values(self, criterion: ProfiledCriterion, scale: Vector) -> Vector:
        """The criterion (r,) of responses in units (r,)."""
        nu, logdet = criterion.degrees_of_freedom, self.logdet + criterion.constant
        return likelihood.criterion(logdet, self.pwrss * scale**2, nu)

    def rounding(self, nu: int, yy: Vector) -> Vector:
        """Rounding errors (r,) of the criterion, for sums of squares (r,)."""
        return np.asarray(nu * EPSILON * yy / self.pwrss)

    def gradient(self, nu: int) -> Matrix:
        """Derivative (r, m) of the criterion."""
        return np.asarray(self.logdet1 + nu * self.pwrss1 / self.pwrss[:, None])

    def hessian(self, nu: int) -> Matrix:
        """Second derivative (r, m, m) of the criterion."""
        share = self.pwrss1 / self.pwrss[:, None]
        fixed = self.logdet2 + nu * self.pwrss2 / self.pwrss[:, None, None]
        return np.asarray(fixed - nu * share[:, :, None] * share[:, None])
