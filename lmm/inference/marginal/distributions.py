"""Distributions of the largest of several t statistics."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lmm._types import Matrix, Vector

# Directions in the plane, and the binary logarithm of their number in more dimensions: about five
# digits of the probabilities of a multivariate t distribution.
ANGLES = 8192
POINTS = 16
# Directions that are taken at a time, for memory's sake.
CHUNK = 8192
# Eigenvalues of a correlation matrix below this fraction of the largest one count as zero.
RANK = 1e-10


def studentized_range(q: float, k: int, df: float) -> float:
    """Probability that the range of k normal variables is at most q times an independent s.

    Tukey's distribution, ``E k int phi(z) (Phi(z) - Phi(z - q s))^(k-1) dz``, by the trapezoidal
    rule in z and log s, which is accurate to rounding for such integrands (SciPy's adaptive rule
    is too slow for the limits of many contrasts).

    Parameters
    ----------
    q : float
        Studentized range.
    k : int
        Number of variables.
    df : float
        Degrees of freedom of s.

    Examples
    --------
    >>> round(studentized_range(3.4358, 3, 42.0), 4)  # the upper 5 % point
    0.95
    """
    from scipy.special import gammaln, ndtr

    z = np.linspace(-8.5, 8.5, 121)
    scale, weight = np.ones(1), np.ones(1)
    if df < 1e6:
        # log s has density c exp(df (x - exp(2 x) / 2)), which falls slowly to the left only.
        spread = 9.0 / np.sqrt(df)
        points = 401 if df < 5.0 else 201 if df < 10.0 else 121
        x = np.linspace(-max(spread, 40.0 / df), min(spread, 3.0), points)
        log_density = df * (x - 0.5 * np.exp(2.0 * x)) + 0.5 * df * np.log(0.5 * df)
        weight = 2.0 * np.exp(log_density - gammaln(0.5 * df)) * (x[1] - x[0])
        scale = np.exp(x)
    between = ndtr(z) - ndtr(z - (q * scale)[:, None])
    density = np.exp(-0.5 * z**2) * (z[1] - z[0]) / np.sqrt(2.0 * np.pi)
    return float(weight @ (between ** (k - 1) @ (k * density)))


@dataclass(frozen=True, eq=False)
class LargestT:
    """The largest of r correlated t variables, of their sizes or of their values.

    With correlation = L L' of rank k, the t variables are ``L z / s`` and stay below r where
    ``|z| / s < r / max L u`` in the direction u of z, and ``|z|^2 / (k s^2)`` is an F variable
    with k and df degrees of freedom: only directions need sampling (Genz & Bretz, 2009,
    Computation of Multivariate Normal and t Probabilities, on spherical-radial transformations).

    Attributes
    ----------
    radii : (d,) array
        Largest of the variables ``L u`` for d directions spread over the unit sphere.
    rank : int
        Number of independent variables.
    """

    radii: Vector
    rank: int

    @classmethod
    def of(cls, correlation: Matrix, tail: int = 0) -> LargestT:
        """That of variables with a correlation (r, r): sizes for tail 0, values times the tail."""
        values, vectors = np.linalg.eigh(correlation)
        kept = values > RANK * values[-1]
        root = vectors[:, kept] * np.sqrt(values[kept])
        directions = _directions(root.shape[1])
        parts = [directions[i : i + CHUNK] @ root.T for i in range(0, len(directions), CHUNK)]
        largest = [(np.abs(part) if tail == 0 else tail * part).max(axis=1) for part in parts]
        return cls(np.concatenate(largest), root.shape[1])

    def below(self, reach: float, df: float) -> float:
        """Probability that it is below a value."""
        from scipy.special import chdtr, fdtr

        with np.errstate(divide="ignore"):
            squared = (reach / self.radii) ** 2
        inside = (
            chdtr(self.rank, squared) if np.isinf(df) else fdtr(self.rank, df, squared / self.rank)
        )
        if reach >= 0.0:
            return float(np.where(self.radii > 0.0, inside, 1.0).mean())
        return float(np.where(self.radii < 0.0, 1.0 - inside, 0.0).mean())


def _directions(k: int) -> Matrix:
    """Directions (m, k) spread evenly over the unit sphere."""
    from scipy.special import ndtri
    from scipy.stats.qmc import Sobol

    if k == 1:
        return np.array([[1.0], [-1.0]])
    if k == 2:
        angles = 2.0 * np.pi * (np.arange(ANGLES) + 0.5) / ANGLES
        return np.column_stack([np.cos(angles), np.sin(angles)])
    # Shifted off the corners of the unit cube, where ndtri is infinite.
    points = ndtri(Sobol(k, scramble=False).random_base2(POINTS) + 0.5 ** (POINTS + 1))
    return np.asarray(points / np.linalg.norm(points, axis=1, keepdims=True))
