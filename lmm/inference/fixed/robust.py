"""Cluster-robust covariance of the fixed effects, with degrees of freedom for its t tests.

With clusters i, marginal covariances Phi_i of the fitted model, ``M = (X'Phi^-1 X)^-1`` and
marginal residuals ``e_i = y_i - X_i beta``, the sandwich is

    V = M (sum_i X_i' Phi_i^-1 A_i e_i e_i' A_i' Phi_i^-1 X_i) M                                (1)

CR0 has ``A_i = 1``, CR1 ``sqrt(m / (m - 1))`` for m clusters, CR1p ``sqrt(m / (m - p))``, CR1S
``sqrt(m (n - 1) / ((m - 1) (n - p)))`` as Stata, and CR2 the matrices that make V
unbiased when the model holds, ``A_i = D_i' B_i^(-1/2) D_i`` with ``Phi_i = D_i'D_i`` (Cholesky) and
``B_i = D_i (Phi_i - X_i M X_i') D_i'`` (Pustejovsky & Tipton, 2018, J. Bus. Econ. Stat. 36,
672-683). CR3 is nearly the jackknife over clusters, ``A_i = (1 - X_i M X_i'Phi_i^-1)^-1``. CR4
makes the scores unbiased instead of the residuals: with ``S_i = X_i'Phi_i^-1 X_i = E_i'E_i`` and
``F_i = E_i'(E_i (S_i - S_i M S_i) E_i')^(-1/2) E_i`` it has ``F_i X_i'Phi_i^-1`` in the place of
``X_i'Phi_i^-1 A_i``. The variance of a contrast c is then ``sum_i (g_i'e_i)^2`` with
``g_i = A_i'Phi_i^-1 X_i M c``, and Satterthwaite's degrees of freedom are those of this quadratic
form under the model: with ``P_ij = [i = j] g_i'Phi_i g_i - g_i'X_i M X_j'g_j``,

    df = (tr P)^2 / tr(P P)                                                                     (2)

Several contrasts C, (q, p), are tested by ``Q = (C b)'(C V C')^-1 C b``. Where the model holds,
``D = O^(-1/2) C V C' O^(-1/2)`` with ``O = E(C V C')`` has mean 1, and is nearly Wishart with

    eta = q (q + 1) / sum_st Var(D_st)                                                          (3)

degrees of freedom, so that ``(eta - q + 1) Q / (eta q)`` has nearly an F distribution with q and
``eta - q + 1`` of them (HTZ; Pustejovsky & Tipton, section 3.2).

Without degrees of freedom, ``P(|t| > t_0) = P(sum_i g_i z_i^2 > 0)`` for independent normal z,
``g_0 = 1`` and ``g_i = -t_0^2 e_i / sum e`` with the eigenvalues e of P. With K the cumulant
generating function of the sum and s the root of ``K'(s) = 0``, Lugannani and Rice's saddlepoint
approximation is (McCaffrey & Bell, 2006, Stat. Med. 25, 4081-4098; Kuonen, 1999, Biometrika 86,
929-935)

    p = 1 - Phi(r) - phi(r) (1/r - 1/q),   r = sgn(s) sqrt(-2 K(s)),   q = s sqrt(K''(s))      (4)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import cholesky, solve_triangular
from scipy.optimize import brentq
from scipy.special import ndtr

from lmm._types import Frozen, IntVector, Matrix, Vector
from lmm.design.beside import Beside
from lmm.design.codes import is_nested, rows_by_level
from lmm.design.columns import RawColumn, as_factor, drop_unused_levels
from lmm.design.matrices import ModelMatrices
from lmm.design.table import Table
from lmm.errors import DataError, nearest
from lmm.fit import Fit
from lmm.fixed_fit import FixedFit
from lmm.inference.fixed.base import FTest, orthogonal_rows
from lmm.plain_fit import PlainFit

KINDS = ("CR0", "CR1", "CR1p", "CR1S", "CR2", "CR3", "CR4")
TESTS = ("HTZ", "Naive-F", "Naive-Fp", "chi-sq")
# Eigenvalues of B below this fraction of the largest are zero: a cluster that alone determines a
# coefficient leaves no residual in its direction.
SINGULAR = 1e-12
# Mean of a quadratic form about which its saddlepoint cancels too many digits.
CENTRAL = 1e-4


@dataclass(frozen=True, eq=False)
class ClusterRobust(Frozen):
    """Sandwich covariance of a fit's fixed effects.

    Attributes
    ----------
    fit : Fit
        The fit.
    kind : str
        ``"CR0"`` to ``"CR4"``.
    cluster : str
        Name of the clusters.
    vcov : (p, p) array
        V of (1).
    spreads : (m, p, p) array
        ``G_i'Phi_i G_i`` per cluster, with ``G_i = A_i'Phi_i^-1 X_i M``.
    loadings : (m, p, p) array
        ``X_i'G_i`` per cluster.
    """

    fit: Fit | PlainFit
    kind: str
    cluster: str
    vcov: Matrix
    spreads: Matrix
    loadings: Matrix

    @property
    def n_clusters(self) -> int:
        """Number of clusters m."""
        return len(self.spreads)

    def _loading(self, L: Matrix) -> Matrix:
        """Loadings (r, m, p) of rows of L (r, p), in units of the model."""
        root = self.fit.sigma * self.fit.fixed_root
        return np.asarray(np.einsum("mpq,rq->rmp", self.loadings, L) @ root)

    def df(self, L: Matrix) -> Vector:
        """Degrees of freedom (2) of the t test of each row of L (r, p)."""
        spread = np.einsum("rp,mpq,rq->rm", L, self.spreads, L)
        loading = self._loading(L)
        shared = np.einsum("rmp,rmp->rm", loading, loading)
        inner = np.einsum("rmp,rmq->rpq", loading, loading)
        trace = (spread - shared).sum(axis=1)
        square = (spread**2 - 2.0 * spread * shared).sum(axis=1)
        square += np.einsum("rpq,rpq->r", inner, inner)
        return np.asarray(trace**2 / square)

    def saddlepoints(self, L: Matrix, t: Vector) -> tuple[Vector, Vector]:
        """Saddlepoints and two-sided p-values (4) of statistics t (r,) of rows of L (r, p)."""
        spread = np.einsum("rp,mpq,rq->rm", L, self.spreads, L)
        loading = self._loading(L)
        forms = [np.diag(d) - u @ u.T for d, u in zip(spread, loading, strict=True)]
        found = [_saddlepoint(np.linalg.eigvalsh(P), one) for P, one in zip(forms, t, strict=True)]
        return np.array([s for s, _ in found]), np.array([p for _, p in found])

    def f_test(self, L: Matrix, rhs: Vector, test: str = "HTZ") -> FTest:
        """Joint test of ``L beta = rhs`` for L (q, p); dependent rows count once.

        Raises
        ------
        ValueError
            The test is none of `TESTS`.
        """
        if test not in TESTS:
            raise ValueError(f"test must be one of {', '.join(TESTS)}, not {test!r}.")
        rows, Q = wald(self.fit, self.vcov, L, rhs)
        q = len(rows)
        if test == "HTZ":
            eta = self.wishart_df(rows)
            scaling = (eta - q + 1.0) / eta
            return FTest(scaling * Q / q, q, eta - q + 1.0, scaling)
        return FTest(Q / q, q, plain_ddf(test, self.n_clusters, rows.shape[1]))

    def wishart_df(self, L: Matrix) -> float:
        """Degrees of freedom eta (3) of the covariance of L (q, p), of full rank.

        A pair of rows s, t has ``P_st = diag(d_st) - U_s U_t'`` over clusters, d the spreads and U
        the loadings in units of the model; Var(D_st) = tr(P_ss P_tt) + tr(P_st P_st).
        """
        loading = self._loading(L)
        spread = np.einsum("rp,mpq,sq->rsm", L, self.spreads, L, optimize=True)
        shared = np.einsum("rmp,smp->rsm", loading, loading)
        mean = (spread - shared).sum(axis=2)
        values, vectors = np.linalg.eigh(mean)
        unit = (vectors / np.sqrt(values)) @ vectors.T
        loading = np.einsum("rs,smp->rmp", unit, loading)
        spread = np.einsum("rs,stm,tu->rum", unit, spread, unit, optimize=True)
        shared = np.einsum("rmp,smp->rsm", loading, loading)
        crossed = np.einsum("rmp,smq->rspq", loading, loading, optimize=True)
        d, u = np.einsum("rrm->rm", spread), np.einsum("rrm->rm", shared)
        same = d @ d.T - d @ u.T - u @ d.T + np.einsum("rspq,rspq->rs", crossed, crossed)
        turned = (spread**2 - 2.0 * spread * shared).sum(axis=2)
        turned += np.einsum("rspq,rsqp->rs", crossed, crossed)
        q = len(L)
        return q * (q + 1.0) / float((same + turned).sum())


def _saddlepoint(eigenvalues: Vector, t: float) -> tuple[float, float]:
    """The saddlepoint and the p-value (4) of one statistic."""
    positive = np.maximum(eigenvalues, 0.0)
    g = np.append(1.0, -(t**2) * positive / positive.sum())
    if abs(g.sum()) < CENTRAL:  # limit at s = 0, by the skewness
        return 0.0, 0.5 - float(np.sum(g**3) / (3.0 * np.sqrt(np.pi) * np.sum(g**2) ** 1.5))
    pole = 0.5 / (g.min() if g.sum() > 0.0 else 1.0)  # K' has its sign at 0, the other one there
    s = float(brentq(lambda s: np.sum(g / (1.0 - 2.0 * g * s)), 0.0, pole * (1.0 - 1e-12)))
    left = 1.0 - 2.0 * g * s
    r = np.sign(s) * np.sqrt(np.sum(np.log(left)))
    q = s * np.sqrt(2.0 * np.sum((g / left) ** 2))
    density = np.exp(-0.5 * r**2) / np.sqrt(2.0 * np.pi)
    return s, float(ndtr(-r) - density * (1.0 / r - 1.0 / q))


def cluster_robust(
    fit: Fit | PlainFit,
    kind: str = "CR2",
    cluster: str | Sequence[Any] | None = None,
    data: Table | None = None,
) -> ClusterRobust:
    """Cluster-robust covariance of a fit's fixed effects.

    Time and memory grow as the cube and the square of the largest cluster.

    Parameters
    ----------
    fit : Fit
        The fit.
    kind : {"CR2", "CR3", "CR4", "CR1", "CR1p", "CR1S", "CR0"}
        Correction for few clusters.
    cluster : str or (n,) sequence, optional
        A grouping factor, a column of the data, or the label of each row's cluster; a Series is put
        in the order of the data's labels. By default the grouping factor in which all others are
        nested.
    data : Table, optional
        Where columns are looked for.

    Raises
    ------
    ValueError
        The kind is unknown.
    DataError
        Levels of a grouping factor are spread over several clusters, so that clusters are not
        independent; labels are missing; there is a single cluster, or no such column.

    Examples
    --------
    >>> import lmm
    >>> m = lmm.lmer("Reaction ~ Days + (Days | Subject)", lmm.load_dataset("sleepstudy"))
    >>> robust = cluster_robust(m.fit)
    >>> robust.df(np.eye(2)).round(2)
    array([17., 17.])
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, not {kind!r}.")
    name, codes = clusters_of(fit.matrices, cluster, data)
    m, p = int(codes.max()) + 1, fit.matrices.p
    corrections = inflations(kind, m, fit.matrices.n, p)
    scores, spreads, loadings = np.empty((m, p)), np.empty((m, p, p)), np.empty((m, p, p))
    residuals = fit.matrices.y - fit.fixed_part
    for i, rows in enumerate(rows_by_level(codes)):
        X, Phi = fit.matrices.X[rows], _marginal(fit, rows)
        G = _weights(X, Phi, fit.vcov, kind, corrections)
        scores[i] = G.T @ residuals[rows]
        spreads[i] = G.T @ Phi @ G
        loadings[i] = X.T @ G
    return ClusterRobust(fit, kind, name, scores.T @ scores, spreads, loadings)


def wald(fit: FixedFit, vcov: Matrix, L: Matrix, rhs: Vector) -> tuple[Matrix, float]:
    """Independent rows of L (q, p), and ``(L b - rhs)'(L vcov L')^-1 (L b - rhs)``."""
    rows, residual, _ = orthogonal_rows(fit, L, rhs)
    return rows, float(residual @ np.linalg.solve(rows @ vcov @ rows.T, residual))


def plain_ddf(test: str, m: int, p: int) -> float:
    """Denominator degrees of freedom that only count m clusters and p fixed effects.

    Raises
    ------
    DataError
        The test is Naive-Fp, and the clusters are not more than the fixed effects.
    """
    if test == "Naive-Fp" and m <= p:
        raise DataError(f"Naive-Fp needs more clusters than fixed effects; there are {m} and {p}.")
    return {"chi-sq": np.inf, "Naive-F": m - 1.0, "Naive-Fp": float(m - p)}[test]


def inflations(kind: str, m: int, n: int, p: int) -> dict[str, float]:
    """Factors of the covariances that correct for few clusters by one number.

    Raises
    ------
    DataError
        The kind is CR1p, and m clusters are not more than p fixed effects.
    """
    if kind == "CR1p" and m <= p:
        raise DataError(f"CR1p needs more clusters than fixed effects; there are {m} and {p}.")
    known = {"CR1": m / (m - 1.0), "CR1S": m * (n - 1.0) / ((m - 1.0) * (n - p))}
    return known if m <= p else {**known, "CR1p": m / float(m - p)}


def _weights(
    X: Matrix, Phi: Matrix, M: Matrix, kind: str, inflations: Mapping[str, float]
) -> Matrix:
    """``G = A'Phi^-1 X M``, (n_i, p), of one cluster."""
    D = cholesky(Phi)
    half = solve_triangular(D, X, trans="T")
    if kind == "CR4":
        return np.asarray(solve_triangular(D, half @ (_score_correction(half, M).T @ M)))
    G = solve_triangular(D, half @ M)
    if kind == "CR0":
        return G
    if kind in inflations:
        return np.asarray(np.sqrt(inflations[kind]) * G)
    if kind == "CR3":
        # A' = (1 - Phi^-1 X M X')^-1, and D A'D^-1 is symmetric
        inner = np.eye(len(X)) - half @ M @ half.T
        return np.asarray(solve_triangular(D, _power(inner, -1.0) @ (half @ M)))
    DX = D @ X
    return np.asarray(D.T @ (_power(D @ Phi @ D.T - DX @ M @ DX.T, -0.5) @ (D @ G)))


def _score_correction(half: Matrix, M: Matrix) -> Matrix:
    """F of CR4 from ``half = D'^-1 X``: ``F (S - S M S) F' = S`` for ``S = half'half``."""
    S = half.T @ half
    values, vectors = np.linalg.eigh(S)
    if values[0] > SINGULAR * values[-1]:
        E = cholesky(S)
    else:  # a cluster in which a column is constant has no Cholesky factor
        kept = values > SINGULAR * values[-1]
        E = (vectors[:, kept] * np.sqrt(values[kept])).T
    return np.asarray(E.T @ _power(E @ (S - S @ M @ S) @ E.T, -0.5) @ E)


def _power(B: Matrix, exponent: float) -> Matrix:
    """Power of a positive-semidefinite matrix on its range."""
    values, vectors = np.linalg.eigh(0.5 * (B + B.T))
    kept = values > SINGULAR * values[-1]
    return np.asarray((vectors[:, kept] * values[kept] ** exponent) @ vectors[:, kept].T)


def _marginal(fit: Fit | PlainFit, rows: IntVector) -> Matrix:
    """Covariance of the responses of some rows, (n_i, n_i)."""
    Phi = np.diag(fit.sigma**2 / fit.matrices.weights[rows])
    for term, covariance in zip(fit.matrices.terms, fit.covariances, strict=True):
        Z, codes = term.Z[rows], term.codes[rows]
        Phi += np.where(codes[:, None] == codes, Z @ covariance @ Z.T, 0.0)
    return Phi


def clusters_of(
    matrices: ModelMatrices, cluster: str | Sequence[Any] | None, data: Table | None
) -> tuple[str, IntVector]:
    """Name of the clusters, and code (n,) of each row's; arguments as for `cluster_robust`.

    Raises
    ------
    DataError
        They are not independent, labels are missing, or there is a single one.
    """
    groups = {term.group: term.codes for term in matrices.terms}
    if cluster is None:
        name, codes = outermost(groups)
    elif isinstance(cluster, str) and cluster in groups:
        name, codes = cluster, groups[cluster]
    else:
        name = cluster if isinstance(cluster, str) else "cluster"
        codes = _coded(name, _labels(matrices, cluster, data))
    for group, inner in groups.items():
        if not is_nested(inner, codes):
            raise DataError(
                f"levels of {group!r} are spread over several clusters of {name!r}, which are not "
                "independent then: choose clusters that hold whole levels."
            )
    if codes.max() < 1:
        raise DataError(
            f"{name!r} makes a single cluster: robust covariances are made of differences between "
            "clusters, and need two at least."
        )
    return name, codes


def outermost(groups: Mapping[str, IntVector]) -> tuple[str, IntVector]:
    """The grouping factor in which all others are nested, and its levels.

    Parameters
    ----------
    groups : mapping of str to (n,) int array
        Level of each row, by factor.

    Raises
    ------
    DataError
        They are crossed.
    """
    if not groups:
        raise DataError("the model has no grouping factor: name the clusters, cluster='g'.")
    for name, codes in reversed(list(groups.items())):
        if all(is_nested(inner, codes) for inner in groups.values()):
            return name, codes
    raise DataError(
        f"the grouping factors {', '.join(groups)} are crossed: none of them makes independent "
        "clusters. Name clusters that hold whole levels of all of them."
    )


def _labels(matrices: ModelMatrices, cluster: str | Sequence[Any], data: Table | None) -> RawColumn:
    """Label (n,) of each row's cluster."""
    if isinstance(cluster, str) and (data is None or cluster not in data.names):
        known = dict.fromkeys([term.group for term in matrices.terms])
        known.update(dict.fromkeys(() if data is None else data.names))
        raise DataError(
            f"there is no grouping factor or column {cluster!r}.{nearest(cluster, known)}"
        )
    return Beside(matrices.frame, data).column(cluster, "cluster")


def _coded(name: str, column: RawColumn) -> IntVector:
    """Codes (n,) of labels, none of which is missing."""
    codes = drop_unused_levels(as_factor(column)).codes
    if (missing := codes < 0).any():
        raise DataError(
            f"{name} is missing in {int(missing.sum())} of {len(missing)} rows: every row belongs "
            "to a cluster. Give them labels, or fit the rows that have one"
        )
    return codes
