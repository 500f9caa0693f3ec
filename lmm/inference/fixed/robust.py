"""Cluster-robust covariance of the fixed effects, with degrees of freedom for its t tests.

With clusters i, marginal covariances Phi_i of the fitted model, ``M = (X'Phi^-1 X)^-1`` and
marginal residuals ``e_i = y_i - X_i beta``, the sandwich is

    V = M (sum_i X_i' Phi_i^-1 A_i e_i e_i' A_i' Phi_i^-1 X_i) M                                (1)

CR0 has ``A_i = 1``, CR1 ``sqrt(m / (m - 1))`` for m clusters, and CR2 the matrices that make V
unbiased when the model holds, ``A_i = D_i' B_i^(-1/2) D_i`` with ``Phi_i = D_i'D_i`` (Cholesky) and
``B_i = D_i (Phi_i - X_i M X_i') D_i'`` (Pustejovsky & Tipton, 2018, J. Bus. Econ. Stat. 36,
672-683). The variance of a contrast c is then ``sum_i (g_i'e_i)^2`` with
``g_i = A_i'Phi_i^-1 X_i M c``, and Satterthwaite's degrees of freedom are those of this quadratic
form under the model: with ``P_ij = [i = j] g_i'Phi_i g_i - g_i'X_i M X_j'g_j``,

    df = (tr P)^2 / tr(P P)                                                                     (2)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.linalg import cholesky, solve_triangular

from lmm._types import IntVector, Matrix, Vector
from lmm.design.columns import as_factor, drop_unused_levels, read_column
from lmm.design.frame import Frame
from lmm.design.matrices import ModelMatrices
from lmm.design.table import series_of
from lmm.errors import DataError, nearest
from lmm.fit import Fit
from lmm.inference.fixed.base import TTests

__all__ = ["KINDS", "ClusterRobust", "cluster_robust"]

KINDS = ("CR0", "CR1", "CR2")
# Eigenvalues of B below this fraction of the largest are zero: a cluster that alone determines a
# coefficient leaves no residual in its direction.
SINGULAR = 1e-12


@dataclass(frozen=True, eq=False)
class ClusterRobust:
    """Sandwich covariance of a fit's fixed effects.

    Attributes
    ----------
    fit : Fit
        The fit.
    kind : str
        ``"CR0"``, ``"CR1"`` or ``"CR2"``.
    cluster : str
        Name of the clusters.
    vcov : (p, p) array
        V of (1).
    spreads : (m, p, p) array
        ``G_i'Phi_i G_i`` per cluster, with ``G_i = A_i'Phi_i^-1 X_i M``.
    loadings : (m, p, p) array
        ``X_i'G_i`` per cluster.
    """

    fit: Fit
    kind: str
    cluster: str
    vcov: Matrix
    spreads: Matrix
    loadings: Matrix

    @property
    def n_clusters(self) -> int:
        """Number of clusters m."""
        return len(self.spreads)

    def df(self, L: Matrix) -> Vector:
        """Degrees of freedom (2) of the t test of each row of L (r, p)."""
        spread = np.einsum("rp,mpq,rq->rm", L, self.spreads, L)
        loading = np.einsum("mpq,rq->rmp", self.loadings, L) @ (
            self.fit.sigma * self.fit.fixed_root
        )
        shared = np.einsum("rmp,rmp->rm", loading, loading)
        inner = np.einsum("rmp,rmq->rpq", loading, loading)
        trace = (spread - shared).sum(axis=1)
        square = (spread**2 - 2.0 * spread * shared).sum(axis=1)
        square += np.einsum("rpq,rpq->r", inner, inner)
        return np.asarray(trace**2 / square)

    def t_tests(self, L: Matrix, rhs: Vector | float = 0.0) -> TTests:
        """Test each row of L (r, p): ``L beta = rhs``."""
        error = np.sqrt(np.einsum("rp,pq,rq->r", L, self.vcov, L))
        return TTests(L @ self.fit.beta, error, self.df(L), np.broadcast_to(rhs, error.shape))


def cluster_robust(
    fit: Fit, kind: str = "CR2", cluster: str | Sequence[Any] | None = None
) -> ClusterRobust:
    """Cluster-robust covariance of a fit's fixed effects.

    Time and memory grow as the cube and the square of the largest cluster.

    Parameters
    ----------
    fit : Fit
        The fit.
    kind : {"CR2", "CR1", "CR0"}
        Correction for few clusters.
    cluster : str or (n,) sequence, optional
        A grouping factor, or the label of each row's cluster; a Series is put in the order of the
        data's labels. By default the grouping factor in
        which all others are nested.

    Raises
    ------
    ValueError
        The kind is unknown.
    DataError
        Levels of a grouping factor are spread over several clusters, so that clusters are not
        independent; or there is no such grouping factor.

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
    name, codes = _clusters(fit.matrices, cluster)
    m, p = int(codes.max()) + 1, fit.matrices.p
    scores, spreads, loadings = np.empty((m, p)), np.empty((m, p, p)), np.empty((m, p, p))
    residuals = fit.matrices.y - fit.fixed_part
    for i, rows in enumerate(_rows_of(codes)):
        X, Phi = fit.matrices.X[rows], _marginal(fit, rows)
        G = _weights(X, Phi, fit.vcov, kind, m)
        scores[i] = G.T @ residuals[rows]
        spreads[i] = G.T @ Phi @ G
        loadings[i] = X.T @ G
    return ClusterRobust(fit, kind, name, scores.T @ scores, spreads, loadings)


def _weights(X: Matrix, Phi: Matrix, M: Matrix, kind: str, m: int) -> Matrix:
    """``G = A'Phi^-1 X M``, (n_i, p), of one cluster."""
    D = cholesky(Phi)
    half = solve_triangular(D, X, trans="T")
    G = solve_triangular(D, half @ M)
    if kind == "CR0":
        return G
    if kind == "CR1":
        return np.asarray(np.sqrt(m / (m - 1.0)) * G)
    DX = D @ X
    B = D @ Phi @ D.T - DX @ M @ DX.T
    values, vectors = np.linalg.eigh(0.5 * (B + B.T))
    kept = values > SINGULAR * values[-1]
    root = (vectors[:, kept] / np.sqrt(values[kept])) @ vectors[:, kept].T
    return np.asarray(D.T @ (root @ (D @ G)))


def _marginal(fit: Fit, rows: IntVector) -> Matrix:
    """Covariance of the responses of some rows, (n_i, n_i)."""
    Phi = np.diag(fit.sigma**2 / fit.matrices.weights[rows])
    for term, covariance in zip(fit.matrices.terms, fit.covariances, strict=True):
        Z, codes = term.Z[rows], term.codes[rows]
        Phi += np.where(codes[:, None] == codes, Z @ covariance @ Z.T, 0.0)
    return Phi


def _rows_of(codes: IntVector) -> Iterator[IntVector]:
    order = np.argsort(codes, kind="stable")
    yield from np.split(order, np.cumsum(np.bincount(codes))[:-1])


def _clusters(
    matrices: ModelMatrices, cluster: str | Sequence[Any] | None
) -> tuple[str, IntVector]:
    """Name and code of each row's cluster."""
    groups = {term.group: term.codes for term in matrices.terms}
    if cluster is None:
        for name, codes in reversed(groups.items()):
            if all(_is_nested(inner, codes) for inner in groups.values()):
                return name, codes
        raise DataError(
            f"the grouping factors {', '.join(groups)} are crossed: none of them makes independent "
            "clusters. Name clusters that hold whole levels of all of them."
        )
    if isinstance(cluster, str):
        if cluster not in groups:
            raise DataError(
                f"the model has no grouping factor {cluster!r}.{nearest(cluster, groups)}"
            )
        name, codes = cluster, groups[cluster]
    else:
        name, codes = "cluster", _labels(matrices.frame, cluster)
    if codes.max() == 0:
        raise DataError(f"{name!r} has one level: a robust covariance needs several clusters")
    for group, inner in groups.items():
        if not _is_nested(inner, codes):
            raise DataError(
                f"levels of {group!r} are spread over several clusters of {name!r}, which are not "
                "independent then: choose clusters that hold whole levels."
            )
    return name, codes


def _labels(frame: Frame, cluster: Sequence[Any]) -> IntVector:
    """Cluster (n,) of each row used, from labels of the rows used or of all rows."""
    given: Any = cluster
    if not isinstance(given, pd.Series):
        given = series_of(given, "cluster").array
        if len(given) != frame.n:
            raise DataError(
                f"cluster must hold {frame.n} labels, one per row used, not shape {given.shape}"
            )
    labels = series_of(frame.rows_of(given, "cluster"), "cluster")
    factor = drop_unused_levels(as_factor(read_column(labels, "cluster")))
    if (missing := factor.codes < 0).any():
        raise DataError(f"cluster is missing in {int(missing.sum())} of {len(missing)} rows")
    return factor.codes


def _is_nested(inner: IntVector, outer: IntVector) -> bool:
    """Whether every level of one factor lies within one level of another."""
    first = np.full(int(inner.max()) + 1, -1)
    first[inner] = outer
    return bool((first[inner] == outer).all())
