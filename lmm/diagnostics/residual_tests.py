"""Tests of uniform residuals: over time, over space, along a predictor and by category."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lmm._types import Matrix, Vector
from lmm.design.columns import Factor
from lmm.errors import DataError
from lmm.inference.marginal.adjustments import crossed_p_values

QUANTILES = (0.25, 0.5, 0.75)
# Degree of the polynomial in the ranks of a predictor.
DEGREE = 3
# Rows of a matrix of distances that are computed at once.
BLOCK = 1024


def durbin_watson(values: Vector) -> tuple[float, float]:
    """Durbin and Watson's statistic of a sequence around its mean, and its two-sided p-value.

    For independent normal values the statistic is ``sum_j l_j z_j^2 / sum_j z_j^2`` with
    ``l_j = 2 - 2 cos(pi j / n)``, j < n (Durbin & Watson, 1950, Biometrika 37, 409-428). The
    probability of a smaller one is that of a negative quadratic form, by Imhof's integral (1961,
    Biometrika 48, 419-426, equation 3.2).

    Parameters
    ----------
    values : (n,) array
        The sequence, at least three values.

    Examples
    --------
    >>> statistic, p_value = durbin_watson(np.array([1.0, 2.0, 3.0, 5.0, 4.0, 6.0]))
    >>> round(statistic, 3), round(p_value, 4)
    (0.629, 0.0308)
    """
    from scipy.integrate import quad

    centred = values - values.mean()
    statistic = float(np.sum(np.diff(centred) ** 2) / np.sum(centred**2))
    form = 2.0 - 2.0 * np.cos(np.pi * np.arange(1, len(values)) / len(values)) - statistic

    def integrand(u: float) -> float:
        angle = 0.5 * np.sum(np.arctan(u * form))
        return float(np.sin(angle) / u * np.exp(-0.25 * np.sum(np.log1p((u * form) ** 2))))

    below = 0.5 - quad(integrand, 0.0, np.inf, limit=500)[0] / np.pi
    return statistic, float(np.clip(2.0 * min(below, 1.0 - below), 0.0, 1.0))


def morans_i(values: Vector, places: Matrix) -> tuple[float, float]:
    """Moran's I of values at places, weighted by inverse distances, and its two-sided p-value.

    Weights of each place are divided by their sum, as R's ``ape::Moran.I`` does. Mean and variance
    are those under random permutation of the values (Cliff & Ord, 1981, Spatial Processes,
    equations 1.37 and 1.39).

    Parameters
    ----------
    values : (n,) array
        The values, at least four.
    places : (n, d) array
        Coordinates of their places.

    Raises
    ------
    DataError
        Two values have the same place, or all are equal.

    Examples
    --------
    >>> statistic, p_value = morans_i(np.arange(9.0), np.indices((3, 3)).reshape(2, -1).T)
    >>> round(statistic, 4), round(p_value, 4)
    (0.0616, 0.0009)
    """
    from scipy.special import ndtr

    n, z = len(values), values - values.mean()
    if not z.any():
        raise DataError("all residuals are equal: they have no autocorrelation.")
    total = np.concatenate([_inverse(places, rows).sum(axis=1) for rows in _blocks(n)])
    product, columns, s1 = 0.0, np.zeros(n), 0.0
    for rows in _blocks(n):
        near = _inverse(places, rows)
        own = near / total[rows, None]
        product += float(z[rows] @ own @ z)
        columns += own.sum(axis=0)
        s1 += 0.5 * float(np.sum((own + near / total) ** 2))
    s2 = float(np.sum((1.0 + columns) ** 2))
    kurtosis = float(np.mean(z**4) / np.mean(z**2) ** 2)
    first = n * ((n**2 - 3 * n + 3) * s1 - n * s2 + 3 * n**2)
    second = kurtosis * (n * (n - 1) * s1 - 2 * n * s2 + 6 * n**2)
    mean = -1.0 / (n - 1)
    variance = (first - second) / ((n - 1) * (n - 2) * (n - 3) * n**2) - mean**2
    statistic = product / float(z @ z)
    return statistic, float(2.0 * ndtr(-abs(statistic - mean) / np.sqrt(variance)))


def _blocks(n: int) -> list[slice]:
    return [slice(start, start + BLOCK) for start in range(0, n, BLOCK)]


def _inverse(places: Matrix, rows: slice) -> Matrix:
    """Inverse distances (r, n) of some places to all, 0 of each to itself."""
    from scipy.spatial.distance import cdist

    distance = cdist(places[rows], places)
    own = np.arange(len(places))[rows]
    distance[np.arange(len(own)), own] = np.inf
    if not distance.all():
        raise DataError(
            "several rows have the same place, so that they have no distance: test grouped(place), "
            "the residuals of the sums at each place."
        )
    return np.asarray(1.0 / distance)


def quantile_scores(values: Vector, along: Vector) -> pd.DataFrame:
    """Tests that quantiles of uniform values are the same all along a predictor.

    The score test of a quantile tau: the indicators of values below it are regressed on a cubic
    polynomial in the ranks of the predictor; ``S'(B'B)^-1 S / (tau (1 - tau))`` with the scores
    ``S = B'(1[u < tau] - tau)`` is chi-squared (Gutenbrunner, Jurečková, Koenker & Portnoy, 1993,
    J. Nonparametr. Stat. 2, 307-331, with tau's quantile known).

    Parameters
    ----------
    values : (n,) array
        Values that are uniform from 0 to 1 if the model holds.
    along : (n,) array
        The predictor.
    """
    from numpy.polynomial.legendre import legvander
    from scipy.stats import chi2, rankdata

    places = 2.0 * (rankdata(along) - 0.5) / len(along) - 1.0
    degree = min(DEGREE, len(np.unique(places)) - 1)
    basis = np.linalg.qr(legvander(places, degree))[0]
    rows = {}
    for tau in QUANTILES:
        score = basis.T @ ((values < tau) - tau)
        statistic = float(score @ score / (tau * (1.0 - tau)))
        rows[str(tau)] = [statistic, degree + 1, float(chi2.sf(statistic, degree + 1))]
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["statistic", "df", "p.value"])
    return table.assign(**{"p.adjusted": crossed_p_values("holm", table["p.value"].to_numpy())})


def categories(values: Vector, factor: Factor) -> pd.DataFrame:
    """Kolmogorov and Smirnov's test in each level, and Levene's test of equal variances.

    Parameters
    ----------
    values : (n,) array
        Values that are uniform from 0 to 1 if the model holds.
    factor : Factor
        Category of each, none missing.

    Raises
    ------
    DataError
        There is one level.
    """
    from scipy.stats import kstest, levene

    parts = [values[factor.codes == code] for code in range(len(factor.levels))]
    if len(parts) < 2:
        raise DataError("there is one category: uniformity() tests it.")
    tests = [kstest(part, "uniform") for part in parts]
    table = pd.DataFrame(
        {
            "statistic": [float(test.statistic) for test in tests],
            "p.value": [float(test.pvalue) for test in tests],
        },
        index=[*map(str, factor.levels)],
    )
    table["p.adjusted"] = crossed_p_values("holm", table["p.value"].to_numpy())
    spread = levene(*parts)
    equal = float(spread.pvalue)
    table.loc["equal variances"] = [float(spread.statistic), equal, equal]
    return table
