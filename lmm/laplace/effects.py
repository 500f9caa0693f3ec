"""Random effects as the Laplace approximation sees them: Z, and D for any weights of the rows.

With weights W, ``A = Z'WZ`` and ``D = Lambda (Lambda'A Lambda + I)^-1 Lambda'`` everything that
PIRLS and the derivatives of the criterion ask of a solver is: products with D, its quadratic forms
in the rows of Z, ``log|Lambda'A Lambda + I|``, and sums over levels of ``F = A - A D A``. A
singular Lambda is no special case. Vectors of random effects (q,) are arranged by grouping factor,
level by level, columns within.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse
from scipy.linalg import block_diag

from lmm import _lapack
from lmm._types import IntVector, Matrix, Vector
from lmm.errors import NumericalError
from lmm.laplace.rows import grams, row_forms
from lmm.laplace.split import LARGEST, Split
from lmm.pls import PLS, Derivatives, Factors, PLSPoint, Problem
from lmm.pls.groups import Group
from lmm.pls.inverse import flat, row_quadratic
from lmm.pls.kernels import invert

__all__ = ["Effects", "Elimination"]

# Up to this many random effects a dense matrix of D is formed: of all but the largest factor.
WHOLE = 3000
TINY = 1e-250


@dataclass(frozen=True, eq=False)
class Effects:
    """Columns of the random effects, whitened, rows not weighted.

    Attributes
    ----------
    pls : PLS
        Least squares on the same rows.
    """

    pls: PLS

    @property
    def problem(self) -> Problem:
        """The standardized problem; its layout holds the columns."""
        return self.pls.problem

    @property
    def groups(self) -> tuple[Group, ...]:
        """Random effects by grouping factor."""
        return self.problem.layout.groups

    @property
    def q(self) -> int:
        """Number of random effects."""
        return sum(group.q for group in self.groups)

    @cached_property
    def starts(self) -> IntVector:
        """Where each group starts among the random effects."""
        return np.cumsum([0, *(group.q for group in self.groups)])

    @cached_property
    def columns(self) -> tuple[IntVector, Matrix]:
        """Random effects that each row has a part in, and how large a part: (n, s) each."""
        where = [
            start + group.codes[:, None] * group.size + np.arange(group.size)
            for start, group in zip(self.starts, self.groups, strict=False)
        ]
        return np.hstack(where), np.hstack([group.Z for group in self.groups])

    @cached_property
    def Z(self) -> sparse.csr_array:
        """All columns, (n, q) sparse."""
        where, values = self.columns
        n, s = where.shape
        rows = np.arange(0, n * s + 1, s)
        return sparse.csr_array((values.ravel(), where.ravel(), rows), shape=(n, self.q))

    @cached_property
    def Zt(self) -> sparse.csr_array:
        """The transpose of Z, (q, n) sparse."""
        return sparse.csr_array(self.Z.T)

    def by_group(self, effects: np.ndarray) -> tuple[np.ndarray, ...]:
        """Random effects (q, ...) as (l, k, ...) per group."""
        return tuple(
            effects[start : start + group.q].reshape(group.n_levels, group.size, *effects.shape[1:])
            for start, group in zip(self.starts, self.groups, strict=False)
        )

    def times_gamma(self, factors: Factors, v: Matrix) -> Matrix:
        """``Gamma v`` for dual effects v (q, ...): the effects b themselves."""
        gammas = [lam @ lam.T for lam in (group.factor(factors) for group in self.groups)]
        return self.times_blocks(gammas, v)

    def times_blocks(self, blocks: Sequence[Matrix], v: Matrix) -> Matrix:
        """One matrix (k, k) per group times the effects (q, ...) of each of its levels."""
        parts = [
            np.einsum("ab,lb...->la...", block, own).reshape(-1, *v.shape[1:])
            for block, own in zip(blocks, self.by_group(v), strict=True)
        ]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    @cached_property
    def place(self) -> tuple[tuple[int, slice], ...]:
        """Group of each term, and its columns there."""
        found = {i: (g, part) for g, group in enumerate(self.groups) for i, part in group.members}
        return tuple(found[i] for i in range(len(found)))

    def by_term(self, effects: np.ndarray) -> tuple[np.ndarray, ...]:
        """Random effects (q, ...) as (l, k_i, ...) per term."""
        parts = self.by_group(effects)
        return tuple(parts[g][:, part] for g, part in self.place)

    def units(self, by_term: Sequence[Matrix]) -> Iterator[tuple[Matrix, ...]]:
        """Units (e_i, k_i, k_i) of each term, one by one: one (k, k) per group each."""
        for (g, part), units in zip(self.place, by_term, strict=True):
            for unit in units:
                blocks: list[Matrix] = [np.zeros((group.size,) * 2) for group in self.groups]
                blocks[g][part, part] = unit
                yield tuple(blocks)

    def eliminated(self, weights: Vector, factors: Factors) -> Elimination:
        """D for weights (n,) and whitened factors.

        Raises
        ------
        NumericalError
            Weights are negative, and ``Lambda'A Lambda + I`` is not positive definite.
        """
        if weights.min() >= 0.0:
            return Solved(self, weights, factors, self.pls.reweighted(weights))
        if len(self.groups) == 1:
            return ByLevel(self, weights, factors)
        if self.q > WHOLE:
            raise NumericalError(
                "The observed information of single rows is negative, and the random effects are "
                f"too many ({self.q}) to form their information as a whole."
            )
        return Whole(self, weights, factors)

    @cached_property
    def lead(self) -> int:
        """The group with most random effects."""
        return int(np.argmax([group.q for group in self.groups]))

    @cached_property
    def tail(self) -> IntVector:
        """Random effects of the other groups, (q2,)."""
        start, stop = self.starts[self.lead : self.lead + 2]
        everything = np.arange(self.q)
        return np.asarray(everything[(everything < start) | (everything >= stop)])

    @cached_property
    def cells(self) -> tuple[IntVector, IntVector]:
        """Random effects of the lead, and places in the tail, that meet in a row."""
        start, stop = self.starts[self.lead : self.lead + 2]
        size = abs(self.Zt)
        meeting = sparse.csr_array(size[start:stop] @ size[self.tail].T).tocoo()
        return meeting.row, meeting.col

    def gram(self, weights: Vector) -> sparse.csr_array:
        """Z'WZ of all factors, (q, q) sparse."""
        return sparse.csr_array(self.Zt @ sparse.csr_array(self.Z.multiply(weights[:, None])))


@dataclass(frozen=True, eq=False)
class Elimination(ABC):
    """D at given weights and covariance factors.

    Attributes
    ----------
    effects : Effects
        The columns.
    weights : (n,) array
        Weights of the rows.
    factors : tuple of (k_i, k_i) arrays
        Whitened factors of the terms.
    """

    effects: Effects
    weights: Vector
    factors: Factors

    @property
    @abstractmethod
    def logdet(self) -> float:
        """``log|Lambda'A Lambda + I|``."""

    @abstractmethod
    def solve(self, right: Matrix) -> Matrix:
        """``D right`` for (q,) or (q, r)."""

    @property
    @abstractmethod
    def sums(self) -> tuple[Matrix, ...]:
        """Sums over levels of the diagonal blocks of F, (k_i, k_i) per term."""

    @property
    @abstractmethod
    def scoring(self) -> Matrix:
        """``tr(F E_a F E_b)`` over all entries of the terms' Gammas, (K, K)."""

    @property
    @abstractmethod
    def trace(self) -> Matrix | None:
        """`scoring` with nothing left out, if it can be had."""

    @property
    @abstractmethod
    def leverages(self) -> Vector:
        """``z'D z`` by row, (n,)."""

    @cached_property
    def split(self) -> Split | None:
        """D of several factors by parts, if these are not too large."""
        sizes = [group.q for group in self.effects.groups]
        tail = sum(sizes) - max(sizes)
        fits = tail <= WHOLE and tail * max(sizes) <= LARGEST
        return Split(self) if len(sizes) > 1 and fits else None

    @property
    @abstractmethod
    def by_level(self) -> Matrix:
        """Blocks of D of a single factor, (l, k, k)."""

    @property
    def is_single(self) -> bool:
        """Whether there is one grouping factor."""
        return len(self.effects.groups) == 1


@dataclass(frozen=True, eq=False)
class Solved(Elimination):
    """D by a solver of penalized least squares: weights are not negative.

    Attributes
    ----------
    pls : PLS
        Least squares with the weighted rows.
    """

    pls: PLS

    @cached_property
    def _point(self) -> PLSPoint:
        return self.pls.at(self.factors)

    @property
    def logdet(self) -> float:
        """See `Elimination`."""
        return self._point.logdet

    def solve(self, right: Matrix) -> Matrix:
        """See `Elimination`."""
        columns = right[:, None] if right.ndim == 1 else right
        given = tuple(part.transpose(2, 1, 0) for part in self.effects.by_group(columns))
        solved = [flat(part) for part in self._point.solve(given)]
        return np.concatenate(solved).reshape(right.shape)

    @cached_property
    def _derivatives(self) -> Derivatives:
        # any response will do: of one that weighs the same in all rows nothing vanishes
        y = 1.0 / np.sqrt(np.maximum(self.weights, TINY)) + self.effects.problem.matrices.offset
        return self.effects.pls.reweighted(self.weights, y).at(self.factors).derivatives(False)

    @property
    def sums(self) -> tuple[Matrix, ...]:
        """See `Elimination`."""
        return self._derivatives.logdet

    @property
    def scoring(self) -> Matrix:
        """See `Elimination`: couplings between levels may be left out."""
        return self._derivatives.scoring

    @cached_property
    def trace(self) -> Matrix | None:
        """See `Elimination`."""
        if self._derivatives.trace is not None or self.split is None:
            return self._derivatives.trace
        return self.split.trace

    @property
    def by_level(self) -> Matrix:
        """See `Elimination`."""
        return self._point.diagonal[0].transpose(2, 0, 1)

    @cached_property
    def leverages(self) -> Vector:
        """See `Elimination`."""
        if self.is_single:
            return row_forms(self.effects.groups[0], self.by_level)
        if self.split is not None:
            return self.split.leverages
        return row_quadratic(self._point, self.effects.groups)


@dataclass(frozen=True, eq=False)
class ByLevel(Elimination):
    """D of one grouping factor, level by level: weights may be negative."""

    @cached_property
    def _D(self) -> tuple[Matrix, float]:
        """Blocks (k, k, l), and the log determinant."""
        lam = self.effects.groups[0].factor(self.factors)
        half = np.einsum("ba,bcm->acm", lam, self._A)
        omega = np.einsum("abm,bc->acm", half, lam)
        for a in range(len(lam)):
            omega[a, a] += 1.0
        inverse, logdets = invert(omega)
        return np.einsum("ab,bcm,dc->adm", lam, inverse, lam, optimize=True), float(logdets.sum())

    @cached_property
    def _A(self) -> Matrix:
        return grams(self.effects.groups[0], self.weights)

    @property
    def logdet(self) -> float:
        """See `Elimination`."""
        return self._D[1]

    def solve(self, right: Matrix) -> Matrix:
        """See `Elimination`."""
        (own,) = self.effects.by_group(right)
        return np.asarray(np.einsum("abl,lb...->la...", self._D[0], own)).reshape(right.shape)

    @cached_property
    def _F(self) -> Matrix:
        A, D = self._A, self._D[0]
        swept = np.einsum("abm,bcm,cdm->adm", A, D, A, optimize=True)
        return np.asarray(A - swept)

    @property
    def sums(self) -> tuple[Matrix, ...]:
        """See `Elimination`."""
        total = self._F.sum(axis=2)
        return tuple(total[part, part] for _, part in self.effects.place)

    @property
    def scoring(self) -> Matrix:
        """See `Elimination`."""
        k = len(self._F)
        flat = self._F.reshape(k * k, -1)
        full = (flat @ flat.T).reshape(k, k, k, k).transpose(3, 0, 1, 2).reshape(k * k, k * k)
        index = np.arange(k * k).reshape(k, k)
        chosen = np.concatenate([index[part, part].ravel() for _, part in self.effects.place])
        return np.asarray(full[np.ix_(chosen, chosen)])

    @property
    def trace(self) -> Matrix:
        """See `Elimination`."""
        return self.scoring

    @cached_property
    def by_level(self) -> Matrix:
        """See `Elimination`."""
        return np.ascontiguousarray(self._D[0].transpose(2, 0, 1))

    @cached_property
    def leverages(self) -> Vector:
        """See `Elimination`."""
        return row_forms(self.effects.groups[0], self.by_level)


@dataclass(frozen=True, eq=False)
class Whole(Elimination):
    """D of several factors as one matrix: weights may be negative."""

    @cached_property
    def _A(self) -> Matrix:
        return np.asarray(self.effects.gram(self.weights).toarray())

    @cached_property
    def _Lambda(self) -> Matrix:
        blocks = [
            np.kron(np.eye(group.n_levels), group.factor(self.factors))
            for group in self.effects.groups
        ]
        return np.asarray(block_diag(*blocks))

    @cached_property
    def _L(self) -> Matrix:
        omega = self._Lambda.T @ self._A @ self._Lambda
        omega.flat[:: len(omega) + 1] += 1.0
        try:
            return _lapack.cholesky(omega)
        except np.linalg.LinAlgError as error:
            raise NumericalError("Lambda'Z'WZ Lambda + I is not positive definite.") from error

    @cached_property
    def _D(self) -> Matrix:
        half = _lapack.solve_lower(self._L, self._Lambda.T)
        return np.asarray(half.T @ half)

    @property
    def logdet(self) -> float:
        """See `Elimination`."""
        return 2.0 * float(np.log(self._L.diagonal()).sum())

    def solve(self, right: Matrix) -> Matrix:
        """See `Elimination`."""
        return np.asarray(self._D @ right)

    @cached_property
    def _F(self) -> Matrix:
        return np.asarray(self._A - self._A @ self._D @ self._A)

    @property
    def sums(self) -> tuple[Matrix, ...]:
        """See `Elimination`."""
        return tuple(
            np.array([[self._F[a, b].sum() for b in columns] for a in columns])
            for columns in positions(self.effects)
        )

    @cached_property
    def scoring(self) -> Matrix:
        """See `Elimination`."""
        return traces(self.effects, self._F)

    @property
    def trace(self) -> Matrix:
        """See `Elimination`."""
        return self.scoring

    @property
    def by_level(self) -> Matrix:
        """Not asked for: there are several factors."""
        raise NotImplementedError

    @property
    def leverages(self) -> Vector:
        """See `Elimination`."""
        assert self.split is not None
        return self.split.leverages


def positions(effects: Effects) -> list[list[IntVector]]:
    """Random effects of every column of each term."""
    return [list(own.T) for own in effects.by_term(np.arange(effects.q))]


def traces(effects: Effects, F: Matrix) -> Matrix:
    """``tr(F E_a F E_b)`` (K, K) for a symmetric F (q, q)."""
    pairs = [(a, b) for columns in positions(effects) for a in columns for b in columns]
    found = np.empty((len(pairs),) * 2)
    for i, (a, b) in enumerate(pairs):
        for j, (c, d) in enumerate(pairs[: i + 1]):
            found[i, j] = found[j, i] = np.vdot(F[b[:, None], c], F[a[:, None], d])
    return found
