"""Polynomials in the covariances for what the fits of many responses are made of.

Equations are those of `lmm.inference.resample.interpolated`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log, pi

import numpy as np
from numpy.typing import NDArray

from lmm._types import IntVector, Matrix, Vector
from lmm.criterion import ProfiledCriterion
from lmm.inference.resample.polynomials import ProductBasis, count_for, nodes
from lmm.inference.resample.swept import ProfiledPieces, Swept

# Standard errors from the centre within which the functions are interpolated.
RADIUS = 4.0
# Errors of the criterion that are allowed.
ACCURACY = 5e-9
# Part of the criterion that is to be interpolated, and share of the rate at which errors should
# fall with the degree that is reached: from experience.
SIZE, REACHED = 30.0, 0.6
# The lowest rate, and the smallest change of a log standard deviation, that are counted on.
SLOWEST, NARROW = 1.1, 0.05


@dataclass(frozen=True, eq=False)
class Region:
    """An ellipsoid of covariance parameters, as the image of the unit ball.

    Attributes
    ----------
    centre : (m,) array
        Logarithms of the diagonal entries of lambda*, the others as they are.
    root : (m, m) array
        Its axes: `RADIUS` standard errors.
    positive : (m,) array of bool
        Which are logarithms.
    """

    centre: Vector
    root: Matrix
    positive: NDArray[np.bool_]

    @classmethod
    def about(cls, criterion: ProfiledCriterion, x: Vector) -> Region | None:
        """The region about whitened coordinates x (m,); None where it has no end."""
        positive = criterion.lower == 0.0
        if not x[positive].min(initial=np.inf) > 0.0:
            return None
        J = criterion.parameters.jacobian(x) * np.where(positive, x, 1.0)
        information = J.T @ criterion.evaluate(x).information @ J
        try:
            half = np.linalg.inv(np.linalg.cholesky(information))
        except np.linalg.LinAlgError:
            return None
        root = RADIUS * np.sqrt(2.0) * half.T
        return cls(np.where(positive, np.log(np.where(positive, x, 1.0)), x), root, positive)

    @property
    def degrees(self) -> Vector:
        """Degrees (m,) in z that are likely to do.

        A function that is analytic up to d half widths off the real axis has polynomials whose
        errors fall by ``d + sqrt(d^2 + 1)`` with each degree.
        """
        widths = np.abs(self.root[self.positive]).max(axis=0, initial=NARROW)
        distance = 0.5 * pi / widths
        rate = REACHED * (distance + np.sqrt(distance**2 + 1.0))
        return np.asarray(log(SIZE / ACCURACY) / np.log(np.maximum(rate, SLOWEST)))

    @property
    def expected(self) -> float:
        """Nodes that are likely to do."""
        return count_for(self.degrees)

    def x(self, z: Matrix) -> Matrix:
        """Whitened coordinates (r, m) of points z (r, m) of the ball."""
        t = self.centre + z @ self.root.T
        return np.where(self.positive, np.exp(np.where(self.positive, t, 0.0)), t)

    def jacobian(self, x: Vector) -> Matrix:
        """Derivative (m, m) of x (m,) by z."""
        return np.where(self.positive, x, 1.0)[:, None] * self.root


@dataclass(frozen=True, eq=False)
class Node:
    """The functions (1) of r responses at a point of the ball.

    Attributes
    ----------
    functions : (f,) array
        Their values.
    gradients : (m, f) array
        Their derivatives by z.
    p : int
        Number of fixed effects.
    """

    functions: Vector
    gradients: Matrix
    p: int

    @classmethod
    def of(cls, region: Region, criterion: ProfiledCriterion, z: Vector, swept: Swept) -> Node:
        """What remains of an elimination at z (m,)."""
        x, parameters = region.x(z[None])[0], criterion.parameters
        J = parameters.jacobian(x) @ region.jacobian(x)
        gradients = J.T @ (parameters.units(x) @ swept.derivatives)
        return cls(swept.functions, gradients, swept.border.shape[1] - 1)


@dataclass(frozen=True, eq=False)
class Interpolant:
    """Polynomials for the functions (1) of r responses.

    Attributes
    ----------
    basis : ProductBasis
        Products of polynomials in z.
    centre : (f,) array
        The functions at the centre, to which the polynomials add.
    coefficients : (c, f) array
        Their coefficients.
    p : int
        Number of fixed effects.
    """

    basis: ProductBasis
    centre: Vector
    coefficients: Matrix
    p: int

    @classmethod
    def through(cls, region: Region, known: Sequence[Node]) -> Interpolant:
        """From values and gradients at the first nodes."""
        z, centre = nodes(len(region.centre), len(known)), known[0].functions
        basis = ProductBasis.of(region.degrees, len(z))
        values = np.array([node.functions - centre for node in known])
        gradients = np.array([node.gradients for node in known])
        return cls(basis, centre, basis.coefficients(z, values, gradients), known[0].p)

    def at(self, z: Matrix, chosen: IntVector, reml: bool) -> ProfiledPieces:
        """The criteria of chosen responses at points z (s, m) of their own."""
        shared = 1 + self.p**2
        own = self.coefficients[:, shared:].reshape(len(self.coefficients), -1, self.p + 1)
        own = own[:, chosen]
        logdets, borders = [], []
        for order, B in enumerate(self.basis.at(z)):
            common = B @ self.coefficients[:, :shared]
            last = np.einsum("r...c,crq->r...q", B, own)
            if order == 0:
                common += self.centre[:shared]
                last += self.centre[shared:].reshape(-1, self.p + 1)[chosen]
            logdets.append(common[..., 0])
            borders.append(_bordered(common[..., 1:], last))
        return ProfiledPieces.of((logdets[0], logdets[1], logdets[2]), tuple(borders), reml)


def _bordered(fixed: Matrix, last: Matrix) -> Matrix:
    """Symmetric (..., t, t) arrays from their leading parts (..., p p) and last rows (..., t)."""
    t = last.shape[-1]
    border = np.empty((*last.shape, t))
    border[..., :-1, :-1] = fixed.reshape(*last.shape[:-1], t - 1, t - 1)
    border[..., -1, :] = border[..., :, -1] = last
    return border
