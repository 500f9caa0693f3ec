"""Adjustment of p-values and intervals for testing several contrasts at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from lmm._types import Matrix, Vector
from lmm.errors import nearest
from lmm.inference.marginal.distributions import RANK, LargestT, studentized_range

# Adjustments that are for two-sided tests only.
TWO_SIDED = ("tukey", "scheffe")
# Those that need p-values only.
OF_P_VALUES = ("none", "bonferroni", "sidak", "holm", "hochberg", "hommel", "fdr", "BH", "BY")
# Degrees of freedom at which critical values are computed where there are more.
NODES = 10


@dataclass(frozen=True, eq=False)
class SimultaneousTests:
    """Tests that are adjusted together.

    Attributes
    ----------
    df : (r,) array
        Degrees of freedom.
    correlation : (r, r) array
        Of the estimates.
    means : int
        Number of means that they are all the differences of; 0 if they are not.
    tail : {-1, 0, 1}
        Tail of the statistics that counts; 0 for both.
    """

    df: Vector
    correlation: Matrix
    means: int = 0
    tail: int = 0

    @property
    def size(self) -> int:
        """Number of tests."""
        return len(self.df)

    @property
    def rank(self) -> int:
        """Number of linearly independent estimates."""
        values = np.linalg.eigvalsh(self.correlation)
        return int((values > RANK * values.max(initial=0.0)).sum())


def adjusted_p_values(adjustment: str, t: Vector, family: SimultaneousTests) -> Vector:
    """Adjusted p-values (r,) of t statistics (r,).

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
    check_adjustment(adjustment, family.means > 0)
    raw = _tail_probability(t, family)
    chosen = ADJUSTMENTS[adjustment_for(adjustment, family.tail)]
    return np.minimum(chosen.p_values(raw, t, family), 1.0)


def _tail_probability(t: Vector, family: SimultaneousTests) -> Vector:
    from scipy.stats import t as student

    if family.tail:
        return np.asarray(student.sf(family.tail * t, family.df))
    return np.asarray(2.0 * student.sf(np.abs(t), family.df))


def critical_values(adjustment: str, level: float, family: SimultaneousTests) -> Vector:
    """How many standard errors an adjusted interval reaches to each side, or to one, (r,).

    Step-wise methods have no intervals of their own; Bonferroni's are used.
    """
    check_adjustment(adjustment, family.means > 0)
    return ADJUSTMENTS[adjustment_for(adjustment, family.tail)].critical(level, family)


def adjustment_for(adjustment: str, tail: int) -> str:
    """The adjustment itself, or Sidak's instead of those that are for two-sided tests only."""
    return "sidak" if tail and adjustment in TWO_SIDED else adjustment


def crossed_p_values(adjustment: str, p: Vector) -> Vector:
    """P-values (r,) of corresponding tests in r groups, adjusted by themselves alone.

    Raises
    ------
    ValueError
        The adjustment is unknown, or one that needs more than p-values.
    """
    if adjustment not in OF_P_VALUES:
        raise ValueError(f"unknown adjustment {adjustment!r}.{nearest(adjustment, OF_P_VALUES)}")
    family = SimultaneousTests(np.full(len(p), np.inf), np.eye(len(p)))
    return np.minimum(ADJUSTMENTS[adjustment].p_values(p, p, family), 1.0)


def check_adjustment(adjustment: str, is_pairwise: bool) -> None:
    """Refuse an adjustment that does not exist or does not suit the family."""
    if adjustment == "dunnettx":
        raise ValueError(
            "'dunnettx' approximates the exact multivariate t distribution, which is here: 'mvt'."
        )
    if adjustment not in ADJUSTMENTS:
        raise ValueError(f"unknown adjustment {adjustment!r}.{nearest(adjustment, ADJUSTMENTS)}")
    if adjustment == "tukey" and not is_pairwise:
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

    p_values: Callable[[Vector, Vector, SimultaneousTests], Vector]
    critical: Callable[[float, SimultaneousTests], Vector]
    interval_name: str | None = None


def _none(p: Vector, t: Vector, family: SimultaneousTests) -> Vector:
    return p


def _bonferroni(p: Vector, t: Vector, family: SimultaneousTests) -> Vector:
    return p * family.size


def _sidak(p: Vector, t: Vector, family: SimultaneousTests) -> Vector:
    return np.asarray(-np.expm1(family.size * np.log1p(-np.minimum(p, 1.0 - 1e-16))))


def _holm(p: Vector, t: Vector, family: SimultaneousTests) -> Vector:
    """Holm (1979), Scand. J. Stat. 6, 65-70."""
    order = np.argsort(p)
    stepped = np.maximum.accumulate(p[order] * (len(p) - np.arange(len(p))))
    return stepped[np.argsort(order)]


def _fdr(p: Vector, t: Vector, family: SimultaneousTests) -> Vector:
    """Benjamini & Hochberg (1995), J. R. Stat. Soc. B 57, 289-300."""
    from scipy.stats import false_discovery_control

    return np.asarray(false_discovery_control(p)) if len(p) else p


def _hochberg(p: Vector, t: Vector, family: SimultaneousTests) -> Vector:
    """Hochberg (1988), Biometrika 75, 800-802."""
    order = np.argsort(p)[::-1]
    stepped = np.minimum.accumulate(p[order] * np.arange(1, len(p) + 1))
    return stepped[np.argsort(order)]


def _hommel(p: Vector, t: Vector, family: SimultaneousTests) -> Vector:
    """Hommel (1988), Biometrika 75, 383-386, as a closed test of Simes' (Wright, 1992).

    With p sorted, the test of the m largest rejects at ``min_i m p_(i) / i`` over them; each
    p-value is raised to the largest level of the closed tests that its hypothesis is part of.
    """
    order = np.argsort(p)
    rising, n = p[order], len(p)
    adjusted = rising.copy()
    for m in range(n, 1, -1):
        last = rising[n - m + 1 :]
        simes = float(np.min(m * last / np.arange(2, m + 1)))
        adjusted[n - m + 1 :] = np.maximum(adjusted[n - m + 1 :], simes)
        first = adjusted[: n - m + 1]
        adjusted[: n - m + 1] = np.maximum(first, np.minimum(simes, m * rising[: n - m + 1]))
    return adjusted[np.argsort(order)]


def _by(p: Vector, t: Vector, family: SimultaneousTests) -> Vector:
    """Benjamini & Yekutieli (2001), Ann. Stat. 29, 1165-1188."""
    return _fdr(p, t, family) * np.sum(1.0 / np.arange(1, len(p) + 1))


def _scheffe(p: Vector, t: Vector, family: SimultaneousTests) -> Vector:
    """Scheffe (1953), Biometrika 40, 87-104: all linear functions of the estimates at once."""
    from scipy.stats import chi2, f

    k, squared = family.rank, t**2
    finite = f.sf(squared / max(k, 1), k, family.df)
    return np.where(np.isinf(family.df), chi2.sf(squared, k), finite)


def _scheffe_critical(level: float, family: SimultaneousTests) -> Vector:
    from scipy.stats import chi2, f

    k = family.rank
    finite = k * f.isf(1.0 - level, k, family.df)
    return np.sqrt(np.where(np.isinf(family.df), chi2.isf(1.0 - level, k), finite))


def _student(share: Callable[[float, int], float]) -> Callable[[float, SimultaneousTests], Vector]:
    """Student's quantiles at a level that depends on the size of the family."""

    def critical(level: float, family: SimultaneousTests) -> Vector:
        from scipy.stats import t

        alpha = share(1.0 - level, max(family.size, 1))
        return np.asarray(t.isf(alpha if family.tail else 0.5 * alpha, family.df))

    return critical


def _tukey(p: Vector, t: Vector, family: SimultaneousTests) -> Vector:
    reach = np.sqrt(2.0) * np.abs(t)
    values = zip(reach, family.df, strict=True)
    return np.array([1.0 - studentized_range(q, family.means, df) for q, df in values])


def _tukey_critical(level: float, family: SimultaneousTests) -> Vector:
    def within(reach: float, df: float) -> float:
        return studentized_range(np.sqrt(2.0) * reach, family.means, df)

    return _solve(within, level, family)


def _mvt(p: Vector, t: Vector, family: SimultaneousTests) -> Vector:
    if not family.size:
        return p
    largest = LargestT.of(family.correlation, family.tail)
    reach = family.tail * t if family.tail else np.abs(t)
    return np.array(
        [1.0 - largest.below(value, df) for value, df in zip(reach, family.df, strict=True)]
    )


def _mvt_critical(level: float, family: SimultaneousTests) -> Vector:
    if not family.size:
        return np.empty(0)
    return _solve(LargestT.of(family.correlation, family.tail).below, level, family)


def _solve(
    within: Callable[[float, float], float], level: float, family: SimultaneousTests
) -> Vector:
    """Reach, for the df of each test, within which all t variables lie with probability level.

    One root for each distinct df; of many, those at Chebyshev's points in 1 / df are interpolated.
    """
    from scipy.interpolate import BarycentricInterpolator

    inverse = np.round(1.0 / family.df, 12)
    distinct, position = np.unique(inverse, return_inverse=True)
    if len(distinct) <= NODES:
        return np.array([_root(within, level, family, x) for x in distinct])[position]
    angles = np.pi * (np.arange(NODES) + 0.5) / NODES
    nodes = 0.5 * (distinct[0] + distinct[-1] + np.ptp(distinct) * np.cos(angles))
    roots = [_root(within, level, family, x) for x in nodes]
    return np.asarray(BarycentricInterpolator(nodes, roots)(inverse))


def _root(
    within: Callable[[float, float], float], level: float, family: SimultaneousTests, inverse: float
) -> float:
    from scipy.optimize import brentq

    df = 1.0 / inverse if inverse else np.inf
    one = replace(family, df=np.array([df]))
    size = max(family.size, family.means * (family.means - 1) // 2)
    low = _unadjusted(level, one).item()
    high = _student(lambda alpha, _: alpha / size)(level, one).item()
    ends = low - 0.1 * abs(low) - 1e-3, high + 0.1 * abs(high) + 1e-3
    return float(brentq(lambda reach: within(reach, df) - level, *ends))


_unadjusted = _student(lambda alpha, size: alpha)
_bonferroni_critical = _student(lambda alpha, size: alpha / size)
_sidak_critical = _student(lambda alpha, size: -np.expm1(np.log1p(-alpha) / size))

ADJUSTMENTS: dict[str, Adjustment] = {
    "none": Adjustment(_none, _unadjusted),
    "tukey": Adjustment(_tukey, _tukey_critical),
    "bonferroni": Adjustment(_bonferroni, _bonferroni_critical),
    "sidak": Adjustment(_sidak, _sidak_critical),
    "holm": Adjustment(_holm, _bonferroni_critical, "bonferroni"),
    "hochberg": Adjustment(_hochberg, _bonferroni_critical, "bonferroni"),
    "hommel": Adjustment(_hommel, _bonferroni_critical, "bonferroni"),
    "fdr": Adjustment(_fdr, _bonferroni_critical, "bonferroni"),
    "BH": Adjustment(_fdr, _bonferroni_critical, "bonferroni"),
    "BY": Adjustment(_by, _bonferroni_critical, "bonferroni"),
    "scheffe": Adjustment(_scheffe, _scheffe_critical),
    "mvt": Adjustment(_mvt, _mvt_critical),
}
