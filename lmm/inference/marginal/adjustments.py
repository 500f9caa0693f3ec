"""Adjustment of p-values and intervals for testing several contrasts at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lmm._types import Matrix, Vector
from lmm.errors import nearest

__all__ = ["ADJUSTMENTS", "Family", "adjusted_p_values", "check_adjustment", "critical_values"]

# Directions in the plane, and the binary logarithm of their number in more dimensions: about five
# digits of the probabilities of a multivariate t distribution.
ANGLES = 4096
POINTS = 16


@dataclass(frozen=True, eq=False)
class Family:
    """Tests that are adjusted together.

    Attributes
    ----------
    df : (r,) array
        Degrees of freedom.
    correlation : (r, r) array
        Of the estimates.
    means : int
        Number of means that they are all the differences of; 0 if they are not.
    """

    df: Vector
    correlation: Matrix
    means: int = 0

    @property
    def size(self) -> int:
        """Number of tests."""
        return len(self.df)


def adjusted_p_values(adjustment: str, t: Vector, family: Family) -> Vector:
    """Adjusted two-sided p-values (r,) of t statistics (r,).

    Parameters
    ----------
    adjustment : str
        One of `ADJUSTMENTS`.
    t : (r,) array
        Statistics.
    family : Family
        The tests.

    Raises
    ------
    ValueError
        The adjustment is unknown, or is Tukey's and the family not all pairs of means.
    """
    from scipy.stats import t as student

    check_adjustment(adjustment, family)
    raw = np.asarray(2.0 * student.sf(np.abs(t), family.df))
    return np.minimum(ADJUSTMENTS[adjustment].p_values(raw, t, family), 1.0)


def critical_values(adjustment: str, level: float, family: Family) -> Vector:
    """How many standard errors an adjusted interval reaches to each side, (r,).

    Step-wise methods have no intervals of their own; Bonferroni's are used.
    """
    check_adjustment(adjustment, family)
    return ADJUSTMENTS[adjustment].critical(level, family)


def check_adjustment(adjustment: str, family: Family) -> None:
    """Refuse an adjustment that does not exist or does not suit the family."""
    if adjustment not in ADJUSTMENTS:
        raise ValueError(f"unknown adjustment {adjustment!r}.{nearest(adjustment, ADJUSTMENTS)}")
    if adjustment == "tukey" and not family.means:
        raise ValueError(
            "Tukey's adjustment is for all pairwise differences of one set of means: use 'mvt', "
            "'sidak' or 'holm' for these tests."
        )


@dataclass(frozen=True)
class Adjustment:
    """One method: adjusted p-values of (raw p-values, t, family), critical values of intervals.

    Attributes
    ----------
    p_values : callable
    critical : callable
    interval_name : str
        What intervals are called after, where it differs.
    """

    p_values: Callable[[Vector, Vector, Family], Vector]
    critical: Callable[[float, Family], Vector]
    interval_name: str | None = None


def _none(p: Vector, t: Vector, family: Family) -> Vector:
    return p


def _bonferroni(p: Vector, t: Vector, family: Family) -> Vector:
    return p * family.size


def _sidak(p: Vector, t: Vector, family: Family) -> Vector:
    return np.asarray(-np.expm1(family.size * np.log1p(-np.minimum(p, 1.0 - 1e-16))))


def _holm(p: Vector, t: Vector, family: Family) -> Vector:
    """Holm (1979), Scand. J. Stat. 6, 65-70."""
    order = np.argsort(p)
    stepped = np.maximum.accumulate(p[order] * (len(p) - np.arange(len(p))))
    return stepped[np.argsort(order)]


def _fdr(p: Vector, t: Vector, family: Family) -> Vector:
    """Benjamini & Hochberg (1995), J. R. Stat. Soc. B 57, 289-300."""
    from scipy.stats import false_discovery_control

    return np.asarray(false_discovery_control(p)) if len(p) else p


def _tukey(p: Vector, t: Vector, family: Family) -> Vector:
    reach = np.sqrt(2.0) * np.abs(t)
    values = zip(reach, family.df, strict=True)
    return np.array([1.0 - studentized_range(q, family.means, df) for q, df in values])


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

    z = np.linspace(-8.5, 8.5, 171)
    scale, weight = np.ones(1), np.ones(1)
    if df < 1e6:
        # log s has density c exp(df (x - exp(2 x) / 2)), which falls slowly to the left only.
        spread = 9.0 / np.sqrt(df)
        x = np.linspace(-max(spread, 40.0 / df), min(spread, 3.0), 401)
        log_density = df * (x - 0.5 * np.exp(2.0 * x)) + 0.5 * df * np.log(0.5 * df)
        weight = 2.0 * np.exp(log_density - gammaln(0.5 * df)) * (x[1] - x[0])
        scale = np.exp(x)
    between = ndtr(z) - ndtr(z - (q * scale)[:, None])
    density = np.exp(-0.5 * z**2) * (z[1] - z[0]) / np.sqrt(2.0 * np.pi)
    return float(weight @ (between ** (k - 1) @ (k * density)))


def _mvt(p: Vector, t: Vector, family: Family) -> Vector:
    radii, rank = _spherical(family.correlation)
    return np.array(
        [1.0 - _within(abs(value), df, radii, rank) for value, df in zip(t, family.df, strict=True)]
    )


def _spherical(correlation: Matrix) -> tuple[Vector, int]:
    """Largest of the variables ``|L u|`` for directions u spread over the unit sphere; rank of L.

    With correlation = L L' of rank k, the t variables are ``L z / s`` and lie within +-r where
    ``|z| / s < r / max|L u|`` in the direction u of z, and ``|z|^2 / (k s^2)`` is an F variable
    with k and df degrees of freedom: only directions need sampling (Genz & Bretz, 2009,
    Computation of Multivariate Normal and t Probabilities, on spherical-radial transformations).
    """
    values, vectors = np.linalg.eigh(correlation)
    kept = values > 1e-10 * values[-1]
    root = vectors[:, kept] * np.sqrt(values[kept])
    directions = _directions(root.shape[1])
    return np.abs(directions @ root.T).max(axis=1), root.shape[1]


def _directions(k: int) -> Matrix:
    """Directions (m, k) spread evenly over the unit sphere."""
    from scipy.special import ndtri
    from scipy.stats.qmc import Sobol

    if k == 1:
        return np.ones((1, 1))
    if k == 2:
        angles = np.pi * (np.arange(ANGLES) + 0.5) / ANGLES
        return np.column_stack([np.cos(angles), np.sin(angles)])
    # Shifted off the corners of the unit cube, where ndtri is infinite.
    points = ndtri(Sobol(k, scramble=False).random_base2(POINTS) + 0.5 ** (POINTS + 1))
    return np.asarray(points / np.linalg.norm(points, axis=1, keepdims=True))


def _within(reach: float, df: float, radii: Vector, rank: int) -> float:
    """Probability that all t variables of a family lie within +-reach."""
    from scipy.special import chdtr, fdtr

    squared = (reach / radii) ** 2
    within = chdtr(rank, squared) if np.isinf(df) else fdtr(rank, df, squared / rank)
    return float(within.mean())


def _student(share: Callable[[float, int], float]) -> Callable[[float, Family], Vector]:
    """Student's quantiles at a level that depends on the size of the family."""

    def critical(level: float, family: Family) -> Vector:
        from scipy.stats import t

        return np.asarray(t.isf(0.5 * share(1.0 - level, family.size), family.df))

    return critical


def _tukey_critical(level: float, family: Family) -> Vector:
    def within(reach: float, df: float) -> float:
        return studentized_range(np.sqrt(2.0) * reach, family.means, df)

    return _solve(within, level, family)


def _mvt_critical(level: float, family: Family) -> Vector:
    radii, rank = _spherical(family.correlation)
    return _solve(lambda reach, df: _within(reach, df, radii, rank), level, family)


def _solve(within: Callable[[float, float], float], level: float, family: Family) -> Vector:
    """Reach, for the df of each test, within which all t variables lie with probability level."""
    from scipy.optimize import brentq

    lower = 0.9 * _unadjusted(level, family)
    upper = 1.1 * _bonferroni_critical(level, family)
    reached = {
        df: brentq(lambda reach, df=df: within(reach, df) - level, low, high)
        for df, low, high in zip(family.df, lower, upper, strict=True)
    }
    return np.array([reached[df] for df in family.df])


_unadjusted = _student(lambda alpha, size: alpha)
_bonferroni_critical = _student(lambda alpha, size: alpha / size)
_sidak_critical = _student(lambda alpha, size: -np.expm1(np.log1p(-alpha) / size))

ADJUSTMENTS: dict[str, Adjustment] = {
    "none": Adjustment(_none, _unadjusted),
    "tukey": Adjustment(_tukey, _tukey_critical),
    "bonferroni": Adjustment(_bonferroni, _bonferroni_critical),
    "sidak": Adjustment(_sidak, _sidak_critical),
    "holm": Adjustment(_holm, _bonferroni_critical, "bonferroni"),
    "fdr": Adjustment(_fdr, _bonferroni_critical, "bonferroni"),
    "mvt": Adjustment(_mvt, _mvt_critical),
}
