"""Rows of a problem, equal ones once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from lmm._types import IntVector, Matrix, Vector
from lmm.criterion import ProfiledCriterion
from lmm.design.codes import indicators, rows_by_level
from lmm.pls import Problem

# Rows are compressed if that leaves fewer than one in so many.
WORTHWHILE = 3


@dataclass(frozen=True, eq=False)
class Regressed:
    """Responses of which least squares has taken the fixed effects, in units of what is left.

    Attributes
    ----------
    residual : (n, r) array
        What is left, over `scale`.
    yy : (r,) array
        Its sums of squares, with those of hidden rows.
    beta0 : (r, p) array
        Least-squares coefficients of the data.
    scale : (r,) array
        Units of the responses.
    """

    residual: Matrix
    yy: Vector
    beta0: Matrix
    scale: Vector


@dataclass(frozen=True, eq=False)
class StandardizedRows:
    """Standardized rows of a design, on which batches of responses are regressed.

    Attributes
    ----------
    X : (n, p) array
        Fixed-effects columns, orthonormal.
    Z : tuple of (n, k_i) arrays
        Whitened columns of each term.
    codes : tuple of (n,) int arrays
        Level of each row, per term.
    hidden : int
        Degrees of freedom of residuals that no row shows (see `compressed`).
    """

    X: Matrix
    Z: tuple[Matrix, ...]
    codes: tuple[IntVector, ...]
    hidden: int

    @property
    def n(self) -> int:
        """Number of rows."""
        return len(self.X)

    def regressed(self, y: Matrix, hidden: Vector, criterion: ProfiledCriterion) -> Regressed:
        """Least squares of responses on the fixed effects.

        Parameters
        ----------
        y : (n, r) array
            Responses in these rows: weighted, offset subtracted.
        hidden : (r,) array
            Further residual sums of squares that no row shows.
        criterion : ProfiledCriterion
            The design.
        """
        X, T = self.X, criterion.problem.T
        coefficients = X.T @ y
        residual = y - X @ coefficients
        correction = X.T @ residual  # the first pass leaves rounding errors of X's size
        residual -= X @ correction
        yy = np.einsum("ij,ij->j", residual, residual) + hidden
        nu = max(criterion.matrices.n - criterion.matrices.p, 1)
        scale = np.sqrt(yy / nu)
        beta0 = (
            np.linalg.solve(T, coefficients + correction).T if T.size else np.empty((len(yy), 0))
        )
        residual /= scale
        return Regressed(residual, yy / scale**2, beta0, scale)

    def Zt(self, n_levels: Sequence[int]) -> sparse.csr_array:
        """Z' (q, n), term by term, level by level."""
        blocks = map(indicators, self.Z, self.codes, n_levels)
        return sparse.csr_array(sparse.vstack(list(blocks), format="csr"))


def rows_of(problem: Problem) -> StandardizedRows:
    """All rows of a problem."""
    terms = problem.matrices.terms
    return StandardizedRows(problem.X, problem.term_columns, tuple(term.codes for term in terms), 0)


def compressed(rows: StandardizedRows) -> StandardizedRows:
    """Fewer rows with the same cross-products, if levels have many rows each.

    Rows that share their levels in every term are turned by an orthogonal matrix so that
    ``[Z_i X_i]`` is triangular: below K + p of them, only noise is left, which is counted in
    `hidden`. Normal responses of the new rows and a chi-square for the hidden ones have the same
    joint distribution of all sufficient statistics.
    """
    cells, cell = np.unique(np.stack(rows.codes, axis=1), axis=0, return_inverse=True)
    widths = [Z.shape[1] for Z in rows.Z]
    both = np.hstack([*rows.Z, rows.X])
    members = rows_by_level(cell.ravel())
    kept = sum(min(len(part), both.shape[1]) for part in members)
    if WORTHWHILE * kept > rows.n:
        return rows
    turned = [np.linalg.qr(both[part], mode="r") for part in members]
    owner = np.repeat(np.arange(len(cells)), [len(part) for part in turned])
    *Z, X = np.split(np.vstack(turned), np.cumsum(widths), axis=1)
    codes = tuple(cells[owner, i] for i in range(len(widths)))
    return StandardizedRows(X, tuple(Z), codes, rows.n - len(owner))
