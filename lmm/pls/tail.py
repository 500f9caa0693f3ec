"""The tail: groups that are left as one matrix when a chain in front of them is eliminated.

What the chain leaves of their cross-products, ``K = Z_T'V_1^-1 Z_T``, is mostly full.
`DenseTail` factors ``Omega_T = Lambda_T'K Lambda_T + I`` as a dense matrix. With its inverse
``Y = Lambda_T Omega_T^-1 Lambda_T'``, which is D of the tail,

    V^-1 = V_1^-1 - V_1^-1 Z_T Y Z_T'V_1^-1                                                    (1)

(docs/theory/blocks.md, eqns. 10-12). A tail of no groups leaves everything as it is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import lapack

from lmm import _lapack
from lmm._types import IntVector, Matrix, Vector
from lmm.errors import NumericalError
from lmm.pls.directions import directions, pair_traces
from lmm.pls.groups import Group
from lmm.pls.inverse import by_level, dense_blocks, flat
from lmm.pls.problem import Problem

if TYPE_CHECKING:
    from typing import Self

__all__ = ["Columns", "DenseFactor", "DenseTail", "Lambda", "Tail", "TailPoint"]

# Relative size of the smallest singular value of lambda from which its inverse is used, to save
# products of a large tail's size.
REGULAR = 1e-3
# Columns of a tail up to which such products, which keep more digits, cost next to nothing.
FEW = 200


def _is_near_singular(factor: Matrix) -> bool:
    """Whether a factor's inverse would cost digits."""
    values = _lapack.singular_values(factor)
    return bool(values[-1] <= REGULAR * max(values[0], 1.0))


@dataclass(frozen=True, eq=False)
class Columns:
    """Random effects of some groups, one group after the other, level by level.

    Attributes
    ----------
    groups : tuple of Group
        The groups.
    """

    groups: tuple[Group, ...]

    @cached_property
    def q(self) -> int:
        """Number of random effects."""
        return sum(group.q for group in self.groups)

    @cached_property
    def parts(self) -> tuple[slice, ...]:
        """Rows of each group."""
        starts = accumulate((group.q for group in self.groups), initial=0)
        return tuple(
            slice(start, start + group.q) for start, group in zip(starts, self.groups, strict=False)
        )

    @cached_property
    def places(self) -> tuple[IntVector, ...]:
        """Rows of each level of each group, (l, k) each."""
        return tuple(
            part.start + np.arange(group.q).reshape(group.n_levels, group.size)
            for part, group in zip(self.parts, self.groups, strict=True)
        )

    def by_level(self, rows: Matrix) -> list[Matrix]:
        """Rows (q, r) as (r, k, l) per group."""
        return [
            by_level(rows[part], group) for part, group in zip(self.parts, self.groups, strict=True)
        ]

    def flat(self, effects: Sequence[Matrix], r: int) -> Matrix:
        """The inverse of `by_level`, for effects (r, k, l) per group."""
        return np.concatenate([np.empty((0, r)), *map(flat, effects)])

    def directions(self, v: Sequence[Matrix]) -> Matrix:
        """E_ab v over all entries (a, b) of the groups' Gammas, (q, K), for v (k, l) each."""
        W = np.zeros((self.q, self._entries[-1].stop))
        for rows, own, effects in zip(self.parts, self._entries, v, strict=True):
            W[rows, own] = flat(directions(effects))
        return W

    def sums(self, F: Matrix) -> list[Matrix]:
        """Sums over levels of the diagonal blocks of F (q, q), (k, k) per group."""
        if self.is_scalar:
            return list(np.add.reduceat(F.diagonal(), self._starts).reshape(-1, 1, 1))
        return [F[own[:, :, None], own[:, None, :]].sum(axis=0) for own in self.places]

    def trace(self, F: Matrix) -> Matrix:
        """``tr(F E F E')`` (K, K) over the directions, for a symmetric F (q, q)."""
        if self.is_scalar:
            squares = np.add.reduceat(F * F, self._starts, axis=0)
            return np.add.reduceat(squares, self._starts, axis=1)
        each = list(zip(self.parts, self.groups, self._entries, strict=True))
        K = self._entries[-1].stop if each else 0
        trace = np.empty((K, K))
        for m, (rows, g, own) in enumerate(each):
            for columns, h, other in each[: m + 1]:
                trace[own, other] = pair_traces(F[rows, columns], g, h)
                trace[other, own] = trace[own, other].T
        return trace

    @cached_property
    def _entries(self) -> tuple[slice, ...]:
        """Numbers of the directions of each group."""
        stops = accumulate((group.size**2 for group in self.groups), initial=0)
        return tuple(slice(*part) for part in pairwise(stops))

    @cached_property
    def is_scalar(self) -> bool:
        """Whether every level has one random effect, and there are any."""
        return bool(self.groups) and all(group.size == 1 for group in self.groups)

    @cached_property
    def _starts(self) -> list[int]:
        """First row of each group."""
        return [part.start for part in self.parts]


@dataclass(frozen=True, eq=False)
class Lambda:
    """A block-diagonal matrix, the same k x k factor for every level of a group.

    Attributes
    ----------
    columns : Columns
        Groups.
    factors : sequence of (k, k) arrays
        Factor of each group.
    """

    columns: Columns
    factors: Sequence[Matrix]

    @cached_property
    def _diagonal(self) -> Vector:
        """Diagonal (q,) where every level has one random effect."""
        sizes = [group.n_levels for group in self.columns.groups]
        return np.repeat([factor[0, 0] for factor in self.factors], sizes)

    def times(self, M: Matrix, transpose: bool = False, overwrite: bool = False) -> Matrix:
        """Lambda M, or Lambda'M."""
        out = M if overwrite else np.empty_like(M)
        if self.columns.is_scalar:
            return np.multiply(self._diagonal[:, None], M, out=out)
        each = zip(self.factors, self.columns.parts, self.columns.groups, strict=True)
        for given, part, group in each:
            factor, k = given.T if transpose else given, group.size
            rows = [M[part.start + b : part.stop : k] for b in range(k)]
            if overwrite and k > 1:
                rows = [row.copy() for row in rows]
            for a in range(k):
                target = out[part.start + a : part.stop : k]
                np.multiply(factor[a, 0], rows[0], out=target)
                for b in range(1, k):
                    if factor[a, b] != 0.0:
                        target += factor[a, b] * rows[b]
        return out

    def around(self, M: Matrix, transpose: bool = False, overwrite: bool = False) -> Matrix:
        """Lambda M Lambda', or Lambda'M Lambda, for a symmetric M (q, q).

        Fresh memory of the tail's size costs as much as the arithmetic.
        """
        half = self.times(M, transpose, overwrite)
        if self.columns.is_scalar:
            half *= self._diagonal
            return half
        return self.times(half.T, transpose, overwrite=True).T


class Tail(ABC):
    """What is left to be factored when a chain is eliminated, q_T columns.

    Attributes
    ----------
    columns : Columns
        Its columns.
    """

    columns: Columns

    @property
    @abstractmethod
    def name(self) -> str:
        """What a solver with it is called."""

    @property
    @abstractmethod
    def description(self) -> str:
        """What it is."""

    @property
    @abstractmethod
    def dense_size(self) -> int:
        """Columns of the largest dense matrix that is factored."""

    def with_columns(self, problem: Problem) -> Self:
        """The same random effects with other columns [X y]."""
        return self

    def reweighted(self, problem: Problem) -> Self:
        """The same layout with other weights."""
        return self

    @abstractmethod
    def at(self, lams: Sequence[Matrix], left: Matrix) -> TailPoint:
        """Factor at given lambdas what the chain leaves of U, `lmm.pls.chain.SweptChain.left`."""


class TailPoint(ABC):
    """A tail at given lambdas, V_1 that of the chain in front of it.

    Attributes
    ----------
    coupling : (q_T, t) array
        ``Z_T'V_1^-1[X y]``.
    logdet : float
        log|Omega_T|.
    reduced : (t, t) array
        ``[X y]'V^-1[X y]``.
    is_exact : bool
        Whether `trace` leaves nothing out.
    """

    coupling: Matrix
    logdet: float
    reduced: Matrix
    is_exact: bool

    @property
    @abstractmethod
    def columns(self) -> Columns:
        """Its columns."""

    @property
    def Y(self) -> Matrix:
        """D of the tail as one matrix, (q_T, q_T): the entries that sparse couplings ask for."""
        raise NotImplementedError

    @abstractmethod
    def solve(self, right: Matrix) -> Matrix:
        """D of the tail times columns (q_T, r)."""

    @abstractmethod
    def unswept(self, right: Matrix) -> Matrix:
        """``Z_T'V^-1 w`` of columns w, from ``Z_T'V_1^-1 w`` (q_T, r)."""

    @property
    @abstractmethod
    def sums(self) -> list[Matrix]:
        """Sums over levels of the diagonal blocks of ``F = Z_T'V^-1 Z_T``, (k, k) per group."""

    @abstractmethod
    def trace(self, E: Matrix | None) -> Matrix:
        """``tr(F E_ab F E_cd)`` (K, K), or of ``F - E E'`` with columns E (q_T, s)."""

    @abstractmethod
    def forms(self, W: Matrix) -> Matrix:
        """``W'F W`` for columns W (q_T, K)."""

    @property
    @abstractmethod
    def diagonal(self) -> list[Matrix]:
        """Blocks of D of each level, (k, k, l) per group."""

    @abstractmethod
    def blocks(self, g: int, h: int, i: IntVector, j: IntVector) -> Matrix:
        """Blocks of D between levels i of its group g and j of h, (k_g, k_h, m)."""


@dataclass(frozen=True, eq=False)
class DenseTail(Tail):
    """A tail that is factored as a dense matrix.

    Attributes
    ----------
    columns : Columns
        Its columns.
    """

    columns: Columns

    name = "block"

    @property
    def description(self) -> str:
        """What is left to be factored."""
        names = ", ".join(group.name for group in self.columns.groups)
        return names and f"dense tail of {self.columns.q} columns for {names}"

    @property
    def dense_size(self) -> int:
        """Columns of the largest dense matrix that is factored."""
        return self.columns.q

    def at(self, lams: Sequence[Matrix], left: Matrix) -> DenseFactor:
        """Factor at given lambdas what the chain leaves of [Z_T X y], (q_T + t, q_T + t).

        Raises
        ------
        NumericalError
            Omega_T is not positive definite.
        """
        Lambda_T = Lambda(self.columns, lams)
        if self.columns.q:
            return self._factored(Lambda_T, left)
        none = np.empty((0, 0))
        return DenseFactor(Lambda_T, none, left[:0], none, 0.0, left)

    def _factored(self, Lambda_T: Lambda, left: Matrix) -> DenseFactor:
        q = self.columns.q
        K, coupling = left[:q, :q], left[:q, q:]
        omega = Lambda_T.around(K, transpose=True)
        omega.flat[:: q + 1] += 1.0
        # By rows omega is its own transpose: LAPACK factors it in place.
        root, info = lapack.dpotrf(omega.T, lower=1, clean=1, overwrite_a=1)
        if info:
            raise NumericalError("The tail of the normal equations is not positive definite.")
        logdet = 2.0 * float(np.log(root.diagonal()).sum())
        half, _ = lapack.dtrtrs(root, Lambda_T.times(coupling, transpose=True), lower=1)
        return DenseFactor(Lambda_T, K, coupling, root, logdet, left[q:, q:] - half.T @ half)


@dataclass(frozen=True, eq=False)
class DenseFactor(TailPoint):
    """A dense tail at given lambdas, behind a chain.

    Attributes
    ----------
    Lambda : Lambda
        Factors of its groups.
    K : (q_T, q_T) array
        ``Z_T'V_1^-1 Z_T``, the chain alone in V_1.
    coupling : (q_T, t) array
        ``Z_T'V_1^-1[X y]``.
    root : (q_T, q_T) array
        Lower Cholesky factor of Omega_T, by columns.
    logdet : float
        log|Omega_T|.
    reduced : (t, t) array
        ``[X y]'V^-1[X y]``.
    """

    Lambda: Lambda
    K: Matrix
    coupling: Matrix
    root: Matrix
    logdet: float
    reduced: Matrix

    is_exact = True

    @property
    def columns(self) -> Columns:
        """See `TailPoint`."""
        return self.Lambda.columns

    def solve(self, right: Matrix) -> Matrix:
        """See `TailPoint`."""
        if not right.size:
            return right
        inner = self.Lambda.times(right, transpose=True)
        solved, _ = lapack.dpotrs(self.root, inner, lower=1)
        return self.Lambda.times(np.ascontiguousarray(solved))

    def unswept(self, right: Matrix) -> Matrix:
        """See `TailPoint`."""
        return right - self.K @ self.solve(right)

    @cached_property
    def _inverse(self) -> Matrix:
        """Omega_T^-1, (q_T, q_T)."""
        if not self.root.size:
            return self.root
        lower, _ = lapack.dpotri(self.root, lower=1)
        inverse: Matrix = lower + lower.T
        inverse.flat[:: len(inverse) + 1] *= 0.5
        return inverse

    @cached_property
    def Y(self) -> Matrix:
        """See `TailPoint`."""
        return self.Lambda.around(self._inverse)

    @cached_property
    def F(self) -> Matrix:
        """``Z_T'V^-1 Z_T`` (q_T, q_T): ``K - K Y K``, or ``Lambda^-T (I - Omega^-1) Lambda^-1``."""
        if len(self.K) <= FEW or any(map(_is_near_singular, self.Lambda.factors)):
            half, _ = lapack.dtrtrs(self.root, self.Lambda.times(self.K, transpose=True), lower=1)
            return np.asarray(self.K - half.T @ half)
        F = -self._inverse
        F.flat[:: len(F) + 1] += 1.0
        inverses = [np.linalg.inv(factor) for factor in self.Lambda.factors]
        return Lambda(self.columns, inverses).around(F, transpose=True, overwrite=True)

    @property
    def sums(self) -> list[Matrix]:
        """See `TailPoint`."""
        return self.columns.sums(self.F)

    def trace(self, E: Matrix | None) -> Matrix:
        """See `TailPoint`."""
        return self.columns.trace(self.F if E is None else self.F - E @ E.T)

    def forms(self, W: Matrix) -> Matrix:
        """See `TailPoint`."""
        return np.asarray(W.T @ self.F @ W)

    @cached_property
    def diagonal(self) -> list[Matrix]:
        """See `TailPoint`."""
        return [dense_blocks(self.Y, own, own) for own in self.columns.places]

    def blocks(self, g: int, h: int, i: IntVector, j: IntVector) -> Matrix:
        """See `TailPoint`."""
        places = self.columns.places
        return dense_blocks(self.Y, places[g][i], places[h][j])
