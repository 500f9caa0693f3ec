"""Several grouping factors: the largest is eliminated in front, the others are a dense tail.

With ``H`` the D of the leading factor alone (1), block by block, ``C = Z_1'WZ_2``, ``B = H C`` and
Y = D_22,

    D = [[H, 0], [0, 0]] + J Y J',     J = [-B; I]                                              (1)

C and B are sparse: levels that meet in no row have nothing in them (`lmm.laplace.meetings`). What
is dense is of the tail's size, and products of that size dominate the time: one for the inverse Y
that gradients need, and for the Hessian one per direction (docs/theory/laplace.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
from scipy.linalg import lapack

from lmm._types import IntVector, Matrix, Vector
from lmm.errors import NumericalError
from lmm.laplace.elimination import Units, Weighted, product_traces
from lmm.laplace.meetings import Meetings, Parts
from lmm.pls.directions import level_traces, pair_traces
from lmm.pls.inverse import dense_blocks
from lmm.pls.kernels import identity_minus, penalized_inverse

__all__ = ["Split"]

Part = TypeVar("Part")

# Numbers in the largest array, beside the directions.
LARGEST = 30_000_000
# Up to this many random effects make a dense tail.
DENSE = 3000
# Columns of a tail above which its factorization is dearer than products with rows.
DEAR = 200
# Rows of a matrix that are there at once.
BLOCK = 128
# Relative size of the smallest singular value of lambda below which its inverse is not used.
REGULAR = 1e-3


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
    def _lams(self) -> list[Matrix]:
        return [group.factor(self.factors) for group in self.meetings.behind]

    @cached_property
    def _root(self) -> Matrix:
        """Lower Cholesky factor of ``Lambda_2' S Lambda_2 + I``, (q2, q2)."""
        turned = [lam.T for lam in self._lams]
        omega = self._both_sides(turned, self.schur)
        omega.flat[:: len(omega) + 1] += 1.0
        # In row order omega is its own transpose: LAPACK factors it in place.
        root, info = lapack.dpotrf(omega.T, lower=1, clean=0, overwrite_a=1)
        if info or not np.isfinite(root[-1, -1]):
            raise NumericalError("Lambda'Z'WZ Lambda + I is not positive definite.")
        return np.asarray(root)

    @property
    def logdet(self) -> float:
        """See `Elimination`."""
        return self._lead[1] + 2.0 * float(np.log(self._root.diagonal()).sum())

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
        half = self._scaled([lam.T for lam in self._lams], swept)
        solved, _ = lapack.dpotrs(self._root, half, lower=1)
        found = np.empty_like(columns)
        found[behind] = tail = self._scaled(self._lams, solved)
        own = np.einsum("abl,lbr->lar", self.H, lead) - self.meetings.spread(self.B, tail)
        found[front] = own.reshape(n_levels * k, -1)
        return found.reshape(right.shape)

    def release(self) -> None:
        """See `Elimination`: all of the size (q2, q2) but the Cholesky factor."""
        for name in ("schur", "_omega_inverse", "Y", "_rest", "_F22", "_G", "_GY", "_GR"):
            self.__dict__.pop(name, None)

    def _scaled(self, blocks: Sequence[Matrix], M: Matrix) -> Matrix:
        """One matrix (k, k) per group of the tail times rows M (q2, r) of each of its levels."""
        if all(group.size == 1 for group in self.meetings.behind):
            return self._repeated(blocks)[:, None] * M
        parts = []
        for block, start, group in zip(
            blocks, self.meetings.starts, self.meetings.behind, strict=False
        ):
            rows = M[start : start + group.q]
            if group.size == 1:
                parts.append(block[0, 0] * rows)
            else:
                turned = block @ rows.reshape(group.n_levels, group.size, -1)
                parts.append(turned.reshape(rows.shape))
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _repeated(self, blocks: Sequence[Matrix]) -> Vector:
        """Numbers (1, 1) per group of the tail for each of its levels, (q2,)."""
        sizes = [group.q for group in self.meetings.behind]
        return np.repeat([block[0, 0] for block in blocks], sizes)

    def _both_sides(self, blocks: Sequence[Matrix], M: Matrix) -> Matrix:
        """The same for a symmetric M (q2, q2), on both sides."""
        if all(group.size == 1 for group in self.meetings.behind):
            factors = self._repeated(blocks)
            scaled = factors[:, None] * M
            scaled *= factors
            return scaled
        return self._scaled(blocks, self._scaled(blocks, M).T)

    # The inverse ---------------------------------------------------------------------------------

    @cached_property
    def _omega_inverse(self) -> Matrix:
        lower, _ = lapack.dpotri(self._root, lower=1)
        return mirrored(lower).T

    @cached_property
    def Y(self) -> Matrix:
        """D of the tail, (q2, q2)."""
        return self._both_sides(self._lams, self._omega_inverse)

    @cached_property
    def _CY(self) -> Matrix:
        """``C Y``, (k, e)."""
        return self.meetings.carried(self.own.C, self.Y)

    @cached_property
    def leverages(self) -> Vector:
        """See `Elimination`."""
        return self._forms_behind(self.H, self._CY, self.Y)

    def _forms_behind(self, own: Matrix, CP: Matrix, P: Matrix) -> Vector:
        """``z'(own + J P J')z`` by row (n,), for blocks (k, k, l) in front and P (q2, q2)."""
        meetings = self.meetings
        BP = meetings.times(self.H, CP)
        return meetings.forms(own + meetings.outer(BP, self.B), -BP, P)

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
    def _inverse_lams(self) -> list[Matrix] | None:
        """Inverses of the tail's lambdas, unless one is nearly singular."""
        values = [np.linalg.svd(lam, compute_uv=False) for lam in self._lams]
        if any(s[-1] <= REGULAR * max(s[0], 1.0) for s in values):
            return None
        return [np.linalg.inv(lam) for lam in self._lams]

    @cached_property
    def _rest(self) -> Matrix:
        """``I - Y S``, (q2, q2): that is ``Y Gamma^-1`` where Gamma has an inverse."""
        roots = self._inverse_lams
        if roots is not None:
            return self._scaled([root.T @ root for root in roots], self.Y.T).T
        rest = -self.Y @ self.schur
        rest.flat[:: len(rest) + 1] += 1.0
        return rest

    @cached_property
    def _F22(self) -> Matrix:
        """``S - S Y S``: that is ``Lambda^-T (I - Omega^-1) Lambda^-1``."""
        roots = self._inverse_lams
        if roots is None:
            return np.asarray(self.schur @ self._rest)
        inner = -self._omega_inverse
        inner.flat[:: len(inner) + 1] += 1.0
        return self._both_sides([root.T for root in roots], inner)

    @cached_property
    def _F11(self) -> tuple[Matrix, Matrix]:
        """Diagonal blocks in front, (k, k, l), and what of them is between levels."""
        low = self.meetings.outer(self._NCY, self._NC)
        return np.einsum("abl,bcl->acl", self.N, self.own.A) - low, low

    @property
    def sums(self) -> tuple[Matrix, ...]:
        """See `Elimination`."""
        places = self.meetings.places
        behind = [dense_blocks(self._F22, own, own).sum(axis=2) for own in places]
        by_group = self._in_order(self._F11[0].sum(axis=2), behind)
        return tuple(by_group[g][part, part] for g, part in self.effects.place)

    def _in_order(self, lead: Part, behind: Sequence[Part]) -> list[Part]:
        """What belongs to the lead and the tail's groups in the order of the groups."""
        found = list(behind)
        found.insert(self.effects.lead, lead)
        return found

    @cached_property
    def scoring(self) -> Matrix:
        """See `Elimination`: what couples levels of the lead is left out."""
        lead = level_traces(self._F11[0])
        sides = [np.zeros((len(lead), group.size**2)) for group in self.meetings.behind]
        return self._of_terms(lead, sides, self._tail_traces)

    @cached_property
    def trace(self) -> Matrix:
        """See `Elimination`."""
        own, low = self._F11
        k = len(own)
        GY = self._GY.reshape(k * k, -1)
        turned = self._GY.transpose(0, 1, 3, 2).reshape(k * k, -1)
        lead = level_traces(own) - level_traces(low) + GY @ turned.T
        sides = [self._side_traces(places) for places in self.meetings.places]
        return self._of_terms(lead, sides, self._tail_traces)

    def _side_traces(self, places: IntVector) -> Matrix:
        """``tr(F E F'E')`` over entries of the lead's Gamma and one of the tail's, (k^2, k_h^2)."""
        k, size = self.meetings.lead.size, places.shape[1]
        found = np.empty((k, k, size, size))
        for c, left in enumerate(places.T):
            for d, right in enumerate(places.T):
                own = self._rest[:, left]
                for a in range(k):
                    for b in range(k):
                        found[a, b, c, d] = np.vdot(own, self._GR[b][a][:, right])
        return found.reshape(k * k, size * size)

    @cached_property
    def _GR(self) -> Sequence[Sequence[Matrix]]:
        """``(sum over levels of NC_a' NC_b) (I - Y S)``, (q2, q2) each."""
        roots = self._inverse_lams
        if roots is None:
            return [[G @ self._rest for G in row] for row in self._G]
        inverses = [root.T @ root for root in roots]
        return [[self._scaled(inverses, GY.T).T for GY in row] for row in self._GY]

    @cached_property
    def _tail_traces(self) -> list[list[Matrix]]:
        meetings = self.meetings
        each = list(zip(meetings.starts, meetings.behind, strict=False))
        return [
            [pair_traces(self._F22[s : s + g.q, t : t + h.q], g, h) for t, h in each]
            for s, g in each
        ]

    def _of_terms(
        self, lead: Matrix, sides: Sequence[Matrix], behind: Sequence[Sequence[Matrix]]
    ) -> Matrix:
        """Traces over entries of the terms' Gammas from those over the groups', by parts."""
        front = self._in_order(lead, sides)
        rows = [self._in_order(side.T, row) for side, row in zip(sides, behind, strict=True)]
        return self.effects.of_terms(np.block(self._in_order(front, rows)))

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

    def moving_weights(self, moved: Matrix) -> Matrix:
        """See `Elimination`."""
        meetings, rows, products = self.meetings, [], []
        for weights in moved.T:
            S = meetings.products(np.ascontiguousarray(weights))
            R = S.C - meetings.times(S.A, self.B)  # couplings of the lead's rows of S J
            half = meetings.crossed(self.B, -0.5 * (S.C + R))
            P = S.added_to(half + half.T)
            rows.append(R)
            products.append((np.einsum("abl,bcl->acl", self.H, S.A), self.Y @ P))
        d = len(rows)
        HR = np.array([meetings.times(self.H, R) for R in rows]).reshape(d, -1)
        RY = meetings.carried(np.concatenate(rows), self.Y).reshape(d, -1)
        cross = HR @ RY.T
        own, tail = zip(*products, strict=True)
        return cross + cross.T + product_traces(own) + product_traces(tail)

    def swept_forms(self, units: Units) -> Matrix:
        """See `Elimination`."""
        return np.array([self._swept(unit) for unit in zip(*units, strict=True)])

    def _swept(self, unit: Sequence[Matrix]) -> Vector:
        """``z'(I - DA) E (I - AD) z`` by row for a unit E of one group's Gamma, (n,)."""
        g = next((i for i, block in enumerate(unit) if block.any()), self.effects.lead)
        if g == self.effects.lead:
            return self._swept_in_front(unit[g])
        P = self._swept_behind(g if g < self.effects.lead else g - 1, unit[g])
        CP = self.meetings.carried(self.own.C, P)
        return self._forms_behind(np.zeros_like(self.H), CP, P)

    def _swept_in_front(self, E: Matrix) -> Vector:
        meetings, turned = self.meetings, self.N.transpose(1, 0, 2)
        P = self.Y @ np.einsum("ab,abij->ij", E, self._GY)
        EN = np.einsum("ab,bcl->acl", E, self.N)
        Q = meetings.times(np.einsum("abl,bc->acl", turned, E), self._NCY)
        BP = meetings.carried(self.B, P)
        side = meetings.outer(Q, self.B)
        own = np.einsum("abl,bcl->acl", turned, EN) + meetings.outer(BP, self.B)
        return meetings.forms(own + side + side.transpose(1, 0, 2), -Q - BP, P)

    def _swept_behind(self, h: int, E: Matrix) -> Matrix:
        """``(I - Y S) E (I - S Y)`` for a unit of the h-th group of the tail, (q2, q2)."""
        places, total = self.meetings.places[h], np.zeros_like(self.Y)
        columns = [np.ascontiguousarray(self._rest[:, own]) for own in places.T]
        for a, left in enumerate(columns):
            for b, right in enumerate(columns[: a + 1]):
                if E[a, b] == 0.0:
                    continue
                part = E[a, b] * (left @ right.T)
                total += part if a == b else part + part.T
        return total


def mirrored(M: Matrix) -> Matrix:
    """M (q, q) itself, with its lower triangle copied above the diagonal, some rows at a time."""
    for start in range(0, len(M), BLOCK):
        stop = start + BLOCK
        own = np.tril(M[start:stop, start:stop])
        M[start:stop, start:stop] = own + np.tril(own, -1).T
        M[start:stop, stop:] = M[stop:, start:stop].T
    return M
