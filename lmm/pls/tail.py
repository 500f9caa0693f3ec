"""The tail: groups that are left as one matrix when a chain in front of them is eliminated.

What the chain leaves of their cross-products, ``K = Z_T'V_1^-1 Z_T``, is mostly full.
`DenseTail` factors ``Omega_T = Lambda_T'K Lambda_T + I`` as a dense matrix. With its inverse
``Y = Lambda_T Omega_T^-1 Lambda_T'``, which is D of the tail,

    V^-1 = V_1^-1 - V_1^-1 Z_T Y Z_T'V_1^-1                                                    (1)

(docs/theory/blocks.md, blocks-crossed to blocks-crossed-gradient). A tail of no groups leaves
everything as it is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import lapack

from lmm import _lapack
from lmm._types import IntVector, Matrix, cached_property
from lmm.errors import NumericalError
from lmm.pls.effect_columns import Columns, Lambda
from lmm.pls.inverse import dense_blocks
from lmm.pls.problem import Problem

if TYPE_CHECKING:
    from typing import Self


# Relative size of the smallest singular value of lambda from which its inverse is used, to save
# products of a large tail's size, which keep more digits.
REGULAR = 1e-3
# Columns up to which such products cost next to nothing.
FEW = 100


def bordered(upper: Matrix, base: Matrix) -> Matrix:
    """The symmetric matrix with the given first rows (q, q + t) and last block (t, t)."""
    q = len(upper)
    whole = np.empty((q + len(base),) * 2)
    whole[:q], whole[q:, :q], whole[q:, q:] = upper, upper[:, q:].T, base
    return whole


def _inverted(Lambda_T: Lambda) -> Lambda | None:
    """The inverse, unless products of the tail's size keep more digits."""
    if Lambda_T.columns.q <= FEW or any(map(_is_near_singular, Lambda_T.factors)):
        return None
    return Lambda(Lambda_T.columns, [np.linalg.inv(factor) for factor in Lambda_T.factors])


def _is_near_singular(factor: Matrix) -> bool:
    """Whether a factor's inverse would cost digits."""
    values = _lapack.singular_values(factor)
    return bool(values[-1] <= REGULAR * max(values[0], 1.0))


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

    def base(self, problem: Problem, known: Matrix | None = None) -> Matrix:
        """What `at` is given where no chain is in front, and what it is with other columns [X y].

        By default the cross-products of the latter alone: the tail holds its own.
        """
        return problem.base

    def with_columns(self, problem: Problem) -> Self:
        """The same random effects with other columns [X y]."""
        return self

    def reweighted(self, problem: Problem) -> Self:
        """The same layout with other weights."""
        return self

    @abstractmethod
    def at(self, lams: Sequence[Matrix], left: Matrix) -> TailPoint:
        """Factor at given lambdas what is left of the columns behind the chain."""


class TailPoint(ABC):
    """A tail at given lambdas, V_1 that of the chain in front of it.

    Attributes
    ----------
    logdet : float
        log|Omega_T|.
    reduced : (t, t) array
        ``[X y]'V^-1[X y]``.
    is_exact : bool
        Whether `trace` leaves nothing out.
    """

    logdet: float
    reduced: Matrix
    is_exact: bool

    @property
    @abstractmethod
    def coupling(self) -> Matrix:
        """``Z_T'V_1^-1[X y]``, (q_T, t)."""

    @property
    @abstractmethod
    def columns(self) -> Columns:
        """Its columns."""

    @abstractmethod
    def solve(self, right: Matrix) -> Matrix:
        """D of the tail times columns (q_T, r)."""

    @property
    @abstractmethod
    def unswept(self) -> Matrix:
        """``Z_T'V^-1[X y]``, (q_T, t)."""

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

    def base(self, problem: Problem, known: Matrix | None = None) -> Matrix:
        """``[Z X y]'[Z X y]``, (q + t, q + t)."""
        if known is None:
            return bordered(problem.products.whole, problem.base)
        return self.with_border(known, problem.products.couplings, problem.base)

    def with_border(self, base: Matrix, couplings: Sequence[Matrix], rest: Matrix) -> Matrix:
        """Cross-products with others of [X y], given by level (t, k, l) and with themselves."""
        q = self.columns.q
        if not q:
            return rest
        border = self.columns.flat(couplings, len(rest))
        return bordered(np.hstack([base[:q, :q], border]), rest)

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
        return DenseFactor(Lambda_T, None, left[:0], np.empty((0, 0)), 0.0, left)

    def _factored(self, Lambda_T: Lambda, left: Matrix) -> DenseFactor:
        q = self.columns.q
        omega = Lambda_T.around(left[:q, :q], transpose=True)
        omega.flat[:: q + 1] += 1.0
        # By rows omega is its own transpose: LAPACK factors it in place.
        root, info = lapack.dpotrf(omega.T, lower=1, clean=1, overwrite_a=1)
        if info:
            raise NumericalError("The tail of the normal equations is not positive definite.")
        logdet = 2.0 * float(np.log(root.diagonal()).sum())
        coupling, inverted = left[:q, q:], _inverted(Lambda_T)
        half, _ = lapack.dtrtrs(root, Lambda_T.times(coupling, transpose=True), lower=1)
        # A copy keeps nothing of the matrix that it is a part of.
        upper = left[:q] if inverted is None else coupling.copy()
        return DenseFactor(Lambda_T, inverted, upper, root, logdet, left[q:, q:] - half.T @ half)


@dataclass(frozen=True, eq=False)
class DenseFactor(TailPoint):
    """A dense tail at given lambdas, behind a chain.

    Attributes
    ----------
    Lambda_T : Lambda
        Factors of its groups.
    inverted : Lambda or None
        Its inverse, unless products of the tail's size keep more digits.
    upper : (q_T, q_T + t) or (q_T, t) array
        ``Z_T'V_1^-1[Z_T X y]``, the chain alone in V_1; without Z_T where `inverted` replaces it.
    root : (q_T, q_T) array
        Lower Cholesky factor of Omega_T, by columns.
    logdet : float
        log|Omega_T|.
    reduced : (t, t) array
        ``[X y]'V^-1[X y]``.
    """

    Lambda_T: Lambda
    inverted: Lambda | None
    upper: Matrix
    root: Matrix
    logdet: float
    reduced: Matrix

    is_exact = True

    @property
    def columns(self) -> Columns:
        """See `TailPoint`."""
        return self.Lambda_T.columns

    @property
    def coupling(self) -> Matrix:
        """See `TailPoint`."""
        return self.upper[:, self.upper.shape[1] - len(self.reduced) :]

    def solve(self, right: Matrix) -> Matrix:
        """See `TailPoint`."""
        return self.Lambda_T.times(self._solved(right)) if right.size else right

    def _solved(self, right: Matrix) -> Matrix:
        """``Omega_T^-1 Lambda_T'`` times columns (q_T, r)."""
        inner = self.Lambda_T.times(right, transpose=True)
        solved, _ = lapack.dpotrs(self.root, inner, lower=1)
        return np.ascontiguousarray(solved)

    @property
    def unswept(self) -> Matrix:
        """See `TailPoint`."""
        if self.inverted is None:
            return self._swept[:, len(self.root) :]
        return self.across(self.coupling)[1]

    def across(self, right: Matrix) -> tuple[Matrix, Matrix]:
        """Of columns w of the chain, from ``Z_T'V_1^-1 w`` (q_T, r): Y times it, ``Z_T'V^-1 w``.

        The latter is ``(I - K Y) Z_T'V_1^-1 w``, or ``Lambda^-T Omega^-1 Lambda'Z_T'V_1^-1 w``.
        """
        if self.inverted is None:
            solved = self.solve(right)
            return solved, right - self.upper[:, : len(self.root)] @ solved
        scaled = self._solved(right)
        return self.Lambda_T.times(scaled), self.inverted.times(scaled, transpose=True)

    @cached_property
    def _swept(self) -> Matrix:
        """``Z_T'V^-1[Z_T X y]`` (q_T, q_T + t), by products."""
        if not self.root.size:  # of which LAPACK complains aloud
            return self.upper
        half, _ = lapack.dtrtrs(self.root, self.Lambda_T.times(self.upper, transpose=True), lower=1)
        return np.asarray(self.upper - half[:, : len(half)].T @ half)

    @cached_property
    def Y(self) -> Matrix:
        """D of the tail as one matrix, (q_T, q_T)."""
        if self.inverted is None:
            return self.Lambda_T.around(_lapack.inverse_of_factored(self.root), overwrite=True)
        return self._regular[0]

    @cached_property
    def F(self) -> Matrix:
        """``Z_T'V^-1 Z_T`` (q_T, q_T): ``K - K Y K``, or ``Lambda^-T (I - Omega^-1) Lambda^-1``."""
        return self._swept[:, : len(self.root)] if self.inverted is None else self._regular[1]

    @cached_property
    def _regular(self) -> tuple[Matrix, Matrix]:
        """Y and F where `inverted` is: fresh memory of the tail's size costs as much as copying."""
        assert self.inverted is not None
        inverse = _lapack.inverse_of_factored(self.root)
        F = self.inverted.around(inverse, transpose=True)
        np.negative(F, out=F)
        for factor, own in zip(self.inverted.factors, self.columns.places, strict=True):
            F[own[:, :, None], own[:, None, :]] += factor.T @ factor
        return self.Lambda_T.around(inverse, overwrite=True), F

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
