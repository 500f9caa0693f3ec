"""The standardized problem: rows weighted, X orthonormal, y a residual, Z whitened term by term.

Every solver works on it, so that no result depends on the unit or the origin of the data
(docs/theory/pls.md, eqns. 9 and 10):

* ``X = Q T`` by a QR decomposition of the weighted X, and ``y = X beta0 + scale * y*`` where beta0
  is the ordinary least-squares fit: y* and Q carry no large common part that could cancel.
* ``Z_i = Z*_i R_i`` with R_i upper triangular (diagonal for independent columns), scaled so that
  the mean over levels of ``Z*'Z*`` is the identity. ``lambda* = R_i lambda_i``: a random effect
  with ``lambda* = 1`` is as large as the noise of its level's own mean.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lmm import _lapack
from lmm._types import IntVector, Matrix, Vector
from lmm.design.matrices import ModelMatrices, ReTerm
from lmm.design.response import Response
from lmm.errors import NumericalError
from lmm.pls.kernels import sum_products

__all__ = ["Group", "Problem", "standardize"]

# A column of Z that adds less than this fraction of its norm to the columns before it is not
# whitened against them: dividing by what is left would only blow up rounding errors.
DEPENDENT = 1e-10
EPSILON = float(np.finfo(float).eps)


@dataclass(frozen=True, eq=False)
class Group:
    """Terms of one grouping factor, side by side.

    Attributes
    ----------
    name : str
        Grouping factor.
    codes : (n,) int array
        Level of each row.
    n_levels : int
        Number of levels l.
    Z : (n, k) array
        Weighted, whitened columns of all its terms.
    members : tuple of (int, slice)
        Index of each term and its columns in Z.
    """

    name: str
    codes: IntVector
    n_levels: int
    Z: Matrix
    members: tuple[tuple[int, slice], ...]

    @property
    def size(self) -> int:
        """Number of columns k."""
        return int(self.Z.shape[1])

    @property
    def q(self) -> int:
        """Number of random effects."""
        return self.n_levels * self.size


@dataclass(frozen=True, eq=False)
class Problem:
    """Standardized least-squares problem.

    Attributes
    ----------
    matrices : ModelMatrices
        Where it comes from.
    y : (n,) array
        Standardized response: weighted least-squares residual over `scale`.
    X : (n, p) array
        Orthonormal fixed-effects columns Q.
    groups : tuple of Group
        Random effects, merged by grouping factor, in order of first appearance.
    whitening : tuple of (k_i, k_i) arrays
        R_i per term.
    T : (p, p) array
        Upper triangular, X = Q T.
    beta0 : (p,) array
        Least-squares coefficients of the original response.
    scale : float
        Size of the residual.
    """

    matrices: ModelMatrices
    y: Vector
    X: Matrix
    groups: tuple[Group, ...]
    whitening: tuple[Matrix, ...]
    T: Matrix
    beta0: Vector
    scale: float

    @property
    def n(self) -> int:
        """Number of observations."""
        return len(self.y)

    @property
    def p(self) -> int:
        """Number of fixed effects."""
        return int(self.X.shape[1])

    @property
    def tail_size(self) -> int:
        """Random effects of all groups but the largest."""
        sizes = [group.q for group in self.groups]
        return sum(sizes) - max(sizes)

    @property
    def term_columns(self) -> tuple[Matrix, ...]:
        """Standardized columns of each term, (n, k_i)."""
        columns: dict[int, Matrix] = {}
        for group in self.groups:
            columns.update({i: group.Z[:, part] for i, part in group.members})
        return tuple(columns[i] for i in range(len(columns)))

    @property
    def base(self) -> Matrix:
        """[X y]'[X y], (p + 1, p + 1): X is orthonormal and y orthogonal to it."""
        base = np.eye(self.p + 1)
        base[-1, -1] = self.y @ self.y
        return base

    def dense_Z(self) -> Matrix:
        """Dense (n, q) random-effects columns: term by term, level by level, columns within."""
        blocks = []
        for term, Z in zip(self.matrices.terms, self.term_columns, strict=True):
            block = np.zeros((self.n, term.n_levels, term.size))
            block[np.arange(self.n), term.codes] = Z
            blocks.append(block.reshape(self.n, term.q))
        return np.hstack(blocks)

    def Z_times(self, x: Vector) -> Vector:
        """Z'x (q,) for x (n,), in the layout of `dense_Z`."""
        sums = [
            sum_products(Z, x, term.codes, term.n_levels).T.ravel()
            for term, Z in zip(self.matrices.terms, self.term_columns, strict=True)
        ]
        return np.concatenate(sums)

    def beta(self, standardized: Vector) -> Vector:
        """Fixed effects (p,) of the data, from those of the orthonormal X."""
        return np.asarray(self.beta0 + self.scale * _lapack.solve_upper(self.T, standardized))

    def effects(self, whitened: tuple[Matrix, ...]) -> tuple[Matrix, ...]:
        """Random effects (l_i, k_i) of the data, from those of the whitened Z."""
        return tuple(
            self.scale * _lapack.solve_upper(R, effect.T).T
            for R, effect in zip(self.whitening, whitened, strict=True)
        )

    def fixed_root(self, root: Matrix) -> Matrix:
        """Square root (p, p) of ``(X'V^-1 X)^-1`` of the data, from RX^-1 of the orthonormal X."""
        return _lapack.solve_upper(self.T, root)

    @cached_property
    def logdet_T(self) -> float:
        """``log|T|^2``: what standardizing took out of ``log|X'V^-1 X|``."""
        return 2.0 * float(np.log(np.abs(np.diag(self.T))).sum())

    @cached_property
    def sum_log_weights(self) -> float:
        """Sum of the log prior weights."""
        return float(np.log(self.matrices.weights).sum())

    def with_response(self, y: Vector) -> Problem:
        """The same design with another response (n,), offset not subtracted."""
        matrices = self.matrices.with_response(y)
        residual, beta0, scale = _standardize_response(matrices.response, self.X, self.T)
        return dataclasses.replace(self, matrices=matrices, y=residual, beta0=beta0, scale=scale)


def standardize(matrices: ModelMatrices) -> Problem:
    """Standardize a model's matrices (see the module's text)."""
    response = matrices.response
    Q, T = _lapack.qr(response.weighted(matrices.X))
    y, beta0, scale = _standardize_response(response, Q, T)
    whitened, whitening = [], []
    for term in matrices.terms:
        Z = response.weighted(term.Z)
        R = _whitening(term, Z)
        whitened.append(_divide(Z, R))
        whitening.append(R)
    groups = _merge(matrices.terms, whitened)
    return Problem(matrices, y, Q, groups, tuple(whitening), T, beta0, scale)


def _standardize_response(response: Response, Q: Matrix, T: Matrix) -> tuple[Vector, Vector, float]:
    target = response.standardized(response.y)
    # Project twice: after the first pass rounding leaves a part of X in the residual.
    coefficients = Q.T @ target
    residual = target - Q @ coefficients
    correction = Q.T @ residual
    residual -= Q @ correction
    beta0 = _lapack.solve_upper(T, coefficients + correction)
    scale = math.sqrt(residual @ residual)
    floor = EPSILON * math.sqrt(target @ target)
    if not scale > floor:
        raise NumericalError(
            "The fixed effects fit the response exactly: no variation is left for random effects "
            "or residuals. Check the response, or drop fixed effects."
        )
    scale /= math.sqrt(max(len(target) - len(T), 1))
    return residual / scale, beta0, scale


def _whitening(term: ReTerm, Z: Matrix) -> Matrix:
    """R (k, k) upper triangular such that the levels' mean of Z*'Z* is the identity."""
    norm = np.sqrt(term.n_levels)
    if term.covariance.is_diagonal or term.size == 1:
        lengths = np.sqrt(np.einsum("ij,ij->j", Z, Z)) / norm
        lengths[lengths == 0.0] = 1.0
        return np.diag(lengths)
    R: Matrix = _lapack.qr_factor(Z) / norm
    pivots = np.abs(np.diag(R))
    lengths = np.sqrt(np.einsum("ij,ij->j", R, R))
    dependent = pivots <= DEPENDENT * lengths
    R[dependent, :] = 0.0
    R[dependent, dependent] = np.where(lengths[dependent] > 0.0, lengths[dependent], 1.0)
    return R


def _divide(Z: Matrix, R: Matrix) -> Matrix:
    """Z R^-1, (n, k)."""
    if R.shape == (1, 1):
        scaled: Matrix = Z / R[0, 0]
        return scaled
    return _lapack.divide_upper(Z, R)


def _merge(terms: tuple[ReTerm, ...], whitened: list[Matrix]) -> tuple[Group, ...]:
    names = list(dict.fromkeys(term.group for term in terms))
    groups = []
    for name in names:
        members, columns, start = [], [], 0
        for i, term in enumerate(terms):
            if term.group == name:
                members.append((i, slice(start, start + term.size)))
                columns.append(whitened[i])
                start += term.size
                first = term
        Z = columns[0] if len(columns) == 1 else np.hstack(columns)
        groups.append(Group(name, first.codes, first.n_levels, Z, tuple(members)))
    return tuple(groups)
