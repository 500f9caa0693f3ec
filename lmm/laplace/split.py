"""Several grouping factors: the largest is eliminated in front, the others are a dense tail.

With ``H`` the D of the leading factor alone (1), block by block, ``C = Z_1'WZ_2``, ``B = H C`` and
Y = D_22,

    D = [[H, 0], [0, 0]] + J Y J',     J = [-B; I]                                              (1)

C and B are sparse: levels that meet in no row have nothing in them (`lmm.laplace.meetings`). What
is dense is of the tail's size, and products of that size dominate the time: one for the inverse Y
that gradients need, and for the Hessian one per direction (docs/theory/laplace.md).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lmm._types import Matrix, Vector, cached_property
from lmm.errors import NumericalError
from lmm.laplace.elimination import Units, Weighted, product_traces, times
from lmm.laplace.meetings import Meetings, Parts
from lmm.pls.directions import level_traces
from lmm.pls.kernels import identity_minus, penalized_inverse
from lmm.pls.tail import DenseFactor, DenseTail

# Numbers in the largest array, beside the directions.
LARGEST = 30_000_000
# Up to this many random effects make a dense tail.
DENSE = 3000
# Columns of a tail above which its factorization is dearer than products with rows.
DEAR = 200


@dataclass(frozen=True, eq=False)
class Split(Weighted):
    """D of several factors as in (1): weights may be negative."""

    @property
    def meetings(self) -> Meetings:
        """The lead, the tail's groups, and which of their levels meet."""
        return self.effects.meetings

    @cached_property
    def own(self) -> Parts:
        """Cross-products for the weights of D."""
        return self.meetings.products(self.weights)

    @cached_property
    def _lead(self) -> tuple[Matrix, float]:
        """D of the lead alone, (k, k, l), and its log determinant."""
        H, logdets = penalized_inverse(self.own.A, self.meetings.lead.factor(self.factors))
        return H, float(logdets.sum())

    @property
    def H(self) -> Matrix:
        """D of the lead alone, (k, k, l)."""
        return self._lead[0]

    @cached_property
    def B(self) -> Matrix:
        """Couplings ``H C``, (k, e)."""
        return self.meetings.times(self.H, self.own.C)

    @cached_property
    def schur(self) -> Matrix:
        """What the lead leaves of the tail's cross-products, (q2, q2)."""
        return self.own.added_to(self.meetings.crossed(self.own.C, -self.B))

    @cached_property
    def tail(self) -> DenseFactor:
        """What the lead leaves of the tail, factored."""
        columns = self.meetings.tail
        lams = [group.factor(self.factors) for group in columns.groups]
        found = DenseTail(columns).at(lams, self.schur)
        if not np.isfinite(found.logdet):
            raise NumericalError("Lambda'Z'WZ Lambda + I is not positive definite.")
        return found

    @cached_property
    def logdet(self) -> float:
        """See `Elimination`: what is asked for after `release`, too."""
        return self._lead[1] + self.tail.logdet

    @property
    def is_dear(self) -> bool:
        """See `Elimination`: where the tail is large."""
        return self.meetings.shape[1] > DEAR

    def solve(self, right: Matrix) -> Matrix:
        """See `Elimination`."""
        columns = right[:, None] if right.ndim == 1 else right
        front, behind = self.effects.in_front, self.effects.behind
        k, _, n_levels = self.H.shape
        lead = columns[front].reshape(n_levels, k, -1)
        swept = columns[behind] - self.meetings.gathered(self.B, lead)
        found = np.empty_like(columns)
        found[behind] = tail = self.tail.solve(swept)
        own = np.einsum("abl,lbr->lar", self.H, lead) - self.meetings.spread(self.B, tail)
        found[front] = own.reshape(n_levels * k, -1)
        return found.reshape(right.shape)

    def release(self) -> None:
        """See `Elimination`: all of the size (q2, q2)."""
        for name in ("schur", "tail", "_rest", "_G", "_GY"):
            self.__dict__.pop(name, None)

    # The inverse ---------------------------------------------------------------------------------

    @property
    def Y(self) -> Matrix:
        """D of the tail, (q2, q2)."""
        return self.tail.Y

    @cached_property
    def _CY(self) -> Matrix:
        """``C Y``, (k, e)."""
        return self.meetings.carried(self.own.C, self.Y)

    @cached_property
    def leverages(self) -> Vector:
        """See `Elimination`."""
        meetings = self.meetings
        BY = meetings.times(self.H, self._CY)
        return meetings.forms(self.H + meetings.outer(BY, self.B), -BY, self.Y)

    # F = A - A D A -------------------------------------------------------------------------------

    @cached_property
    def N(self) -> Matrix:
        """``I - A H``, (k, k, l)."""
        return identity_minus(self.own.A, self.H)

    @cached_property
    def _NC(self) -> Matrix:
        return self.meetings.times(self.N, self.own.C)

    @cached_property
    def _NCY(self) -> Matrix:
        return self.meetings.times(self.N, self._CY)

    @cached_property
    def _rest(self) -> Matrix:
        """``I - Y S``, (q2, q2)."""
        rest = -self.Y @ self.schur
        rest.flat[:: len(rest) + 1] += 1.0
        return rest

    def _swept_behind(self, P: Matrix, YP: Matrix) -> list[Matrix]:
        """Diagonal blocks of ``(I - S Y) P (I - Y S)``, summed over levels, (k, k) per group.

        ``I - Y S`` is ``Y Gamma^-1`` where Gamma has an inverse.
        """
        columns, inverted = self.meetings.tail, self.tail.inverted
        if inverted is None:
            return columns.row_products(self._rest.T @ P, self._rest.T)
        found = columns.row_products(YP, self.Y)
        gammas = [root.T @ root for root in inverted.factors]
        return [gamma @ M @ gamma for gamma, M in zip(gammas, found, strict=True)]

    @cached_property
    def _F11(self) -> tuple[Matrix, Matrix]:
        """Diagonal blocks in front, (k, k, l), and what of them is between levels."""
        low = self.meetings.outer(self._NCY, self._NC)
        return np.einsum("abl,bcl->acl", self.N, self.own.A) - low, low

    @property
    def sums(self) -> tuple[Matrix, ...]:
        """See `Elimination`."""
        by_group = self.tail.sums
        by_group.insert(self.effects.lead, self._F11[0].sum(axis=2))
        return tuple(by_group[g][part, part] for g, part in self.effects.place)

    @cached_property
    def scoring(self) -> Matrix:
        """See `Elimination`: what couples levels of the lead is left out."""
        lead = level_traces(self._F11[0])
        return self._of_terms(lead, np.zeros((len(lead), len(self._tail_trace))))

    @cached_property
    def trace(self) -> Matrix:
        """See `Elimination`."""
        own, low = self._F11
        k = len(own)
        GY = self._GY.reshape(k * k, -1)
        turned = self._GY.transpose(0, 1, 3, 2).reshape(k * k, -1)
        lead = level_traces(own) - level_traces(low) + GY @ turned.T
        return self._of_terms(lead, self._side_traces)

    @property
    def _side_traces(self) -> Matrix:
        """``tr(F E F'E')`` over entries of the lead's Gamma and of the tail's, (k^2, K)."""
        found = []
        for a, row in enumerate(self._G):
            for b, G in enumerate(row):
                blocks = self._swept_behind(G, self._GY[b, a].T)
                found.append(np.concatenate([block.T.ravel() for block in blocks]))
        return np.array(found)

    @cached_property
    def _tail_trace(self) -> Matrix:
        return self.tail.trace(None)

    def _of_terms(self, lead: Matrix, side: Matrix) -> Matrix:
        """Traces over entries of the terms' Gammas from those of the lead, and with the tail's."""
        full, first = np.block([[lead, side], [side.T, self._tail_trace]]), self.effects.lead
        sizes = [group.size**2 for group in self.effects.groups]
        before, own = sum(sizes[:first]), sizes[first]
        order = np.r_[own : own + before, :own, own + before : len(full)]
        return self.effects.of_terms(full[order[:, None], order])

    @cached_property
    def _G(self) -> list[list[Matrix]]:
        """Sum over levels of ``NC_a' NC_b``, (q2, q2) each."""
        columns = self._NC[:, None]
        return [[self.meetings.crossed(a, b) for b in columns] for a in columns]

    @cached_property
    def _GY(self) -> Matrix:
        """The same times Y, (k, k, q2, q2)."""
        return np.array([[G @ self.Y for G in row] for row in self._G])

    # Moving weights ------------------------------------------------------------------------------

    def is_exact(self, directions: int) -> bool:
        """See `Elimination`: where arrays for that many directions are not too large."""
        front, behind = self.meetings.shape
        return directions * behind * max(behind, front) <= LARGEST

    def moving_weights(self, units: Units, moved: Matrix) -> tuple[Matrix, Matrix]:
        """See `Elimination`."""
        meetings, rows, products, sides = self.meetings, [], [], []
        for weights in moved.T:
            S = meetings.products(np.ascontiguousarray(weights))
            R = S.C - meetings.times(S.A, self.B)  # couplings of the lead's rows of S J
            half = meetings.crossed(self.B, -0.5 * (S.C + R))
            P = S.added_to(half + half.T)
            YP = self.Y @ P
            rows.append(R)
            products.append((np.einsum("abl,bcl->acl", self.H, S.A), YP))
            by_group = self._swept_behind(P, YP)
            by_group.insert(self.effects.lead, self._swept_in_front(S.A, R, YP))
            sides.append(by_group)
        d = len(rows)
        HR = np.array([meetings.times(self.H, R) for R in rows]).reshape(d, -1)
        RY = meetings.carried(np.concatenate(rows), self.Y).reshape(d, -1)
        cross = HR @ RY.T
        own, tail = zip(*products, strict=True)
        traces = cross + cross.T + product_traces(own) + product_traces(tail)
        swept = np.zeros((len(units[0]), d))
        for E, side in zip(units, zip(*sides, strict=True), strict=True):
            swept += np.einsum("eab,dab->ed", E, np.array(side))
        return traces, swept

    def _swept_in_front(self, SA: Matrix, R: Matrix, YP: Matrix) -> Matrix:
        """Diagonal blocks in front of ``(I - AD) S (I - DA)``, summed over levels, (k, k)."""
        own = np.einsum("abl,cbl->ac", times(self.N, SA), self.N)
        side = self.meetings.times(self.N, R) @ self._NCY.T
        return np.asarray(own - side - side.T + np.tensordot(self._GY, YP))
