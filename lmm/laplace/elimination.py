"""D = Lambda (Lambda'Z'WZ Lambda + I)^-1 Lambda' and what the criterion asks of it.

With ``A = Z'WZ``: products with D, ``F = A - A D A``, and how determinants change as weights move
(docs/theory/laplace.md, laplace-gradient and laplace-moving).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from lmm._lapack import einsum
from lmm._types import Matrix, Vector, cached_property
from lmm.laplace.row_sums import grams, row_forms
from lmm.pls.base import Factors, FullDerivatives, PLSPoint
from lmm.pls.directions import level_traces
from lmm.pls.inverse import flat, row_quadratic
from lmm.pls.kernels import identity_minus, penalized_inverse

if TYPE_CHECKING:
    from lmm.laplace.effects import Effects


Units: TypeAlias = tuple[Matrix, ...]
"""Directions of all Gammas, (e, k, k) per group."""

TINY = 1e-250


@dataclass(frozen=True, eq=False)
class Elimination(ABC):
    """D at given weights and covariance factors.

    Attributes
    ----------
    effects : Effects
        The columns.
    factors : tuple of (k_i, k_i) arrays
        Whitened factors of the terms.
    """

    effects: Effects
    factors: Factors

    @property
    @abstractmethod
    def logdet(self) -> float:
        """``log|Lambda'A Lambda + I|``."""

    @property
    @abstractmethod
    def is_dear(self) -> bool:
        """Whether it costs much more than a few products with D."""

    @abstractmethod
    def solve(self, right: Matrix) -> Matrix:
        """``D right`` for (q,) or (q, r)."""

    @abstractmethod
    def gram(self, b: Vector, moved: Vector) -> Vector:
        """``Z'WZ b`` (q,) of effects b (q,), which move linear predictors by ``Z b`` (n,)."""

    @abstractmethod
    def release(self) -> None:
        """Forget what is large and served derivatives alone; it would be computed again."""

    @property
    @abstractmethod
    def sums(self) -> tuple[Matrix, ...]:
        """Sums over levels of the diagonal blocks of F, (k_i, k_i) per term."""

    @property
    @abstractmethod
    def scoring(self) -> Matrix:
        """``tr(F E_a F E_b)`` over all entries of the terms' Gammas, (K, K), roughly."""

    @property
    @abstractmethod
    def trace(self) -> Matrix | None:
        """`scoring` with nothing left out, if it can be had."""

    @property
    @abstractmethod
    def leverages(self) -> Vector:
        """``z'D z`` by row, (n,)."""

    @abstractmethod
    def is_exact(self, directions: int) -> bool:
        """Whether the two that follow can be had in closed form, for some directions."""

    @abstractmethod
    def moving_weights(self, units: Units, moved: Matrix) -> tuple[Matrix, Matrix]:
        """How D and its determinant change as weights move, ``S_j = Z'diag(moved_j)Z`` for (n, d).

        Returns
        -------
        traces : (d, d) array
            ``tr(D S_i D S_j)``.
        swept : (e, d) array
            ``tr(E_i (I - AD) S_j (I - DA))`` for every unit E of Gamma.
        """


@dataclass(frozen=True, eq=False)
class ByLevel(Elimination):
    """D of one grouping factor, level by level: weights may be negative.

    Attributes
    ----------
    A : (k, k, l) array
        ``Z'WZ``.
    """

    A: Matrix

    @cached_property
    def _inverse(self) -> tuple[Matrix, float]:
        """Blocks of D (k, k, l), and the log determinant."""
        D, logdets = penalized_inverse(self.A, self.effects.groups[0].factor(self.factors))
        return D, float(logdets.sum())

    @property
    def blocks(self) -> Matrix:
        """Blocks of D, (k, k, l)."""
        return self._inverse[0]

    @property
    def logdet(self) -> float:
        """See `Elimination`."""
        return self._inverse[1]

    @property
    def is_dear(self) -> bool:
        """See `Elimination`: never."""
        return False

    def release(self) -> None:
        """See `Elimination`: all but D itself."""
        for name in ("leverages", "_N", "_F"):
            self.__dict__.pop(name, None)

    def at_levels(self, levels: slice) -> ByLevel:
        """The same of some levels."""
        found = ByLevel(self.effects, self.factors, self.A[:, :, levels])
        found.__dict__["_inverse"] = self.blocks[:, :, levels], self.logdet
        return found

    def gram(self, b: Vector, moved: Vector) -> Vector:
        """See `Elimination`: no row is read."""
        if len(self.A) == 1:
            return np.asarray(self.A[0, 0] * b)
        (own,) = self.effects.by_group(b)
        return np.asarray(einsum("abl,lb->la", self.A, own)).ravel()

    def solve(self, right: Matrix) -> Matrix:
        """See `Elimination`."""
        if len(self.blocks) == 1:
            return np.asarray((self.blocks[0, 0] * right.T).T)
        (own,) = self.effects.by_group(right)
        return np.asarray(np.einsum("abl,lb...->la...", self.blocks, own)).reshape(right.shape)

    def times(self, right: Matrix) -> Matrix:
        """``D right`` for effects by column and level, (r, k, l)."""
        if len(self.blocks) == 1:
            return np.asarray(self.blocks[0] * right)
        return np.asarray(einsum("abl,rbl->ral", self.blocks, right))

    @cached_property
    def _N(self) -> Matrix:
        """``I - A D``, (k, k, l)."""
        return identity_minus(self.A, self.blocks)

    @cached_property
    def _F(self) -> Matrix:
        return times(self._N, self.A)

    @property
    def sums(self) -> tuple[Matrix, ...]:
        """See `Elimination`."""
        total = self._F.sum(axis=2)
        return tuple(total[part, part] for _, part in self.effects.place)

    @cached_property
    def scoring(self) -> Matrix:
        """See `Elimination`."""
        return self.effects.of_terms(level_traces(self._F))

    @property
    def trace(self) -> Matrix:
        """See `Elimination`."""
        return self.scoring

    @cached_property
    def leverages(self) -> Vector:
        """See `Elimination`."""
        return row_forms(self.effects.groups[0], self.blocks)

    def is_exact(self, directions: int) -> bool:
        """See `Elimination`: always."""
        return True

    def moving_weights(self, units: Units, moved: Matrix) -> tuple[Matrix, Matrix]:
        """See `Elimination`: sums over levels."""
        S, swept = grams(self.effects.groups[0], moved), self.swept(units)
        return self.traces(S), swept.reshape(len(swept), -1) @ S.reshape(len(S), -1).T

    def traces(self, S: Matrix) -> Matrix:
        """``tr(D S_i D S_j)``, (d, d), for blocks (d, k, k, l)."""
        DS = times(self.blocks, S)
        d = len(DS)
        return np.asarray(DS.reshape(d, -1) @ DS.swapaxes(1, 2).reshape(d, -1).T)

    def swept(self, units: Units) -> Matrix:
        """Blocks ``(I - DA) E (I - AD)``, (e, k, k, l)."""
        N = self._N
        if len(N) == 1:
            return units[0][:, :, :, None] * (N * N)
        half = np.einsum("iab,bcl->iacl", units[0], N)
        return times(N.swapaxes(0, 1), half)


@dataclass(frozen=True, eq=False)
class Weighted(Elimination):
    """D with the weights that it is of.

    Attributes
    ----------
    weights : (n,) array
        Weights of the rows.
    """

    weights: Vector

    def gram(self, b: Vector, moved: Vector) -> Vector:
        """See `Elimination`."""
        return np.asarray(self.effects.sums(self.weights * moved))


@dataclass(frozen=True, eq=False)
class Solved(Weighted):
    """D by a solver of penalized least squares: weights are not negative.

    Attributes
    ----------
    closed : Elimination or None
        The same in closed form, if that is not too large: everything but products with D.
    """

    closed: Elimination | None

    @cached_property
    def _point(self) -> PLSPoint:
        return self.effects.pls.reweighted(self.weights).at(self.factors)

    @property
    def logdet(self) -> float:
        """See `Elimination`."""
        return self._point.logdet

    def release(self) -> None:
        """See `Elimination`."""
        self.__dict__.pop("_derivatives", None)
        if self.closed:
            self.closed.release()

    @property
    def is_dear(self) -> bool:
        """See `Elimination`."""
        return self.closed is None or self.closed.is_dear

    def solve(self, right: Matrix) -> Matrix:
        """See `Elimination`."""
        columns = right[:, None] if right.ndim == 1 else right
        given = tuple(part.transpose(2, 1, 0) for part in self.effects.by_group(columns))
        solved = [flat(part) for part in self._point.solve(given)]
        return np.concatenate(solved).reshape(right.shape)

    @cached_property
    def _derivatives(self) -> FullDerivatives:
        # any response will do: of one that weighs the same in all rows nothing vanishes
        y = 1.0 / np.sqrt(np.maximum(self.weights, TINY)) + self.effects.problem.matrices.offset
        found = self.effects.pls.reweighted(self.weights, y).at(self.factors).derivatives(False)
        assert isinstance(found, FullDerivatives)  # one factor is `ByLevel`
        return found

    @property
    def sums(self) -> tuple[Matrix, ...]:
        """See `Elimination`."""
        return self.closed.sums if self.closed else self._derivatives.logdet

    @property
    def scoring(self) -> Matrix:
        """See `Elimination`: couplings between levels may be left out."""
        return self.closed.scoring if self.closed else self._derivatives.scoring

    @property
    def trace(self) -> Matrix | None:
        """See `Elimination`."""
        return self.closed.trace if self.closed else self._derivatives.trace

    @cached_property
    def leverages(self) -> Vector:
        """See `Elimination`."""
        if self.closed:
            return self.closed.leverages
        return row_quadratic(self._point, self.effects.groups)

    def is_exact(self, directions: int) -> bool:
        """See `Elimination`."""
        return self.closed is not None and self.closed.is_exact(directions)

    def moving_weights(self, units: Units, moved: Matrix) -> tuple[Matrix, Matrix]:
        """See `Elimination`."""
        assert self.closed is not None
        return self.closed.moving_weights(units, moved)


def times(left: Matrix, right: Matrix) -> Matrix:
    """Blocks (k, k, l) times blocks (..., k, k, l)."""
    if len(left) == 1:
        return np.asarray(left * right)
    return np.asarray(np.einsum("abl,...bcl->...acl", left, right))


def product_traces(products: Sequence[Matrix]) -> Matrix:
    """``tr(M_i M_j)``, (d, d), for square M or blocks (k, k, l) of them."""
    d = len(products)
    found = np.empty((d, d))
    for j, M in enumerate(products):
        turned = np.ascontiguousarray(M.swapaxes(0, 1))
        for i in range(j + 1):
            found[i, j] = found[j, i] = np.vdot(products[i], turned)
    return found
