"""Polynomials of several variables on the unit ball, from values and gradients at nodes."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import ceil, inf

import numpy as np
from scipy.special import ndtri

from lmm._types import IntVector, Matrix, Vector

# Equations per coefficient, at least.
REDUNDANT = 1.3
# Degrees beyond those asked for to which a basis may go.
BEYOND = 1.5
# Products that are looked through, at most.
MANY = 200_000


def nodes(m: int, count: int) -> Matrix:
    """The centre of the ball and points (count, m) dense near its surface; more go on from fewer.

    Directions in m + 1 dimensions that fill the sphere evenly (Roberts's sequence), without their
    last coordinate: the distribution of the nodes of Chebyshev's polynomials.
    """
    golden = 2.0
    for _ in range(60):
        golden = (1.0 + golden) ** (1.0 / (m + 2))
    steps = golden ** -np.arange(1.0, m + 2)
    normal = ndtri((0.5 + np.arange(1, count)[:, None] * steps) % 1.0)
    directions = normal / np.linalg.norm(normal, axis=1, keepdims=True)
    return np.vstack([np.zeros(m), directions[:, :m]])


def products(degrees: Vector, within: float = 1.0) -> IntVector:
    """Degrees (c, m) whose shares of given ones (m,) have a sum within a bound, lowest first."""
    each = [range(int(within * degree) + 1) for degree in degrees]
    powers = np.array(list(product(*each)))
    sums = (powers / degrees).sum(axis=1)
    order = np.argsort(sums, kind="stable")
    return np.asarray(powers[order[sums[order] <= within]])


def count_for(degrees: Vector) -> float:
    """Nodes at which values and gradients determine polynomials of degrees (m,), if not many."""
    if not np.prod(BEYOND * degrees + 1.0) <= MANY:
        return inf
    return ceil(REDUNDANT * len(products(degrees)) / (len(degrees) + 1))


@dataclass(frozen=True, eq=False)
class ProductBasis:
    """Products of Chebyshev polynomials.

    Attributes
    ----------
    degrees : (m,) array
        Degrees of the variables that are in proportion.
    powers : (c, m) int array
        Degree of each product in each variable.
    """

    degrees: Vector
    powers: IntVector

    @classmethod
    def of(cls, degrees: Vector, count: int) -> ProductBasis:
        """The products of lowest degrees that `count` nodes determine, and no more than needed."""
        fewest = len(degrees) + 1
        number = max(int(count * fewest / REDUNDANT), fewest)
        return cls(degrees, products(degrees, BEYOND)[:number])

    def at(self, z: Matrix) -> tuple[Matrix, Matrix, Matrix]:
        """The products (r, c) with first (r, m, c) and second (r, m, m, c) derivatives at z."""
        tables = _chebyshev(z, int(self.powers.max()))
        m = z.shape[1]

        def derivative(*by: int) -> Matrix:
            each = [tables[by.count(j)][:, j, self.powers[:, j]] for j in range(m)]
            return np.asarray(np.prod(each, axis=0))

        first = np.stack([derivative(i) for i in range(m)], axis=1)
        second = [np.stack([derivative(i, j) for j in range(m)], axis=1) for i in range(m)]
        return derivative(), first, np.stack(second, axis=1)

    def coefficients(self, z: Matrix, values: Matrix, gradients: Matrix) -> Matrix:
        """Coefficients (c, f) of f functions by least squares.

        Parameters
        ----------
        z : (j, m) array
            Nodes.
        values, gradients : (j, f) and (j, m, f) arrays
            The functions there.
        """
        own, first, _ = self.at(z)
        weight = 1.0 / self.degrees[:, None]  # gradients are larger by up to the degrees
        c, f = own.shape[1], values.shape[1]
        left = np.vstack([own, (weight * first).reshape(-1, c)])
        right = np.vstack([values, (weight * gradients).reshape(-1, f)])
        return np.asarray(np.linalg.lstsq(left, right, rcond=None)[0])


def _chebyshev(z: Matrix, degree: int) -> tuple[Matrix, Matrix, Matrix]:
    """Chebyshev's polynomials (r, m, degree + 1) at z (r, m), and two derivatives."""
    T, T1, T2 = (np.zeros((*z.shape, degree + 1)) for _ in range(3))
    T[..., 0] = 1.0
    T[..., 1], T1[..., 1] = z, 1.0
    for n in range(1, degree):
        T[..., n + 1] = 2.0 * z * T[..., n] - T[..., n - 1]
        T1[..., n + 1] = 2.0 * T[..., n] + 2.0 * z * T1[..., n] - T1[..., n - 1]
        T2[..., n + 1] = 4.0 * T1[..., n] + 2.0 * z * T2[..., n] - T2[..., n - 1]
    return T, T1, T2
