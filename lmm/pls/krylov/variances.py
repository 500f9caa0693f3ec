"""Blocks of D of each level: by solves where there are few, else by probes.

``S^-1 = Q M^-1 Q' + T'(I + E_Q)^-1 T`` with ``T = I - G Q'`` and ``G = Q + W M^-1``. Of the tail's
blocks all is known but those of ``T'E_Q(I + E_Q)^-1 E_Q T``, which are small; of the leading
factor's, what the tail adds to H_i, less the same for ``E_Q = 0`` (docs/theory/krylov.md,
krylov-inverse).
That is left to probes, whose spread tells the error.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lmm._types import Matrix
from lmm.pls.base import Blocks
from lmm.pls.inverse import by_solving
from lmm.pls.krylov.deflation import Deflated
from lmm.pls.krylov.system import COLUMNS, Piece, Scaled
from lmm.pls.krylov.traces import functions

if TYPE_CHECKING:
    from lmm.pls.krylov.iteration import KrylovPoint


# Random effects of a group up to which its blocks are solved for.
FEW = 500


@dataclass(frozen=True, eq=False)
class EstimatedVariances:
    """Blocks of D and their standard errors, (k, k, l) by group in the problem's order."""

    blocks: Blocks
    errors: Blocks

    @classmethod
    def of(cls, point: KrylovPoint) -> EstimatedVariances:
        """Solve or sample."""
        groups, order = point.pls.groups, np.argsort(point.pls.order)
        known = [
            _solved(point, g) if group.q <= FEW else None
            for group, g in zip(groups, point.pls.order, strict=True)
        ]
        sampled = known if None not in known else _sampled(point)
        found = [own or other for own, other in zip(known, sampled, strict=True)]
        each = [own for own in found if own is not None]
        return cls(tuple(each[c][0] for c in order), tuple(each[c][1] for c in order))


def _solved(point: KrylovPoint, g: int) -> tuple[Matrix, Matrix]:
    """Blocks of a group, and their errors."""
    levels = np.arange(point.pls.problem.groups[g].n_levels)
    blocks = by_solving(point.solve, point.pls.problem.groups, g, g, levels, levels)
    return blocks, np.zeros_like(blocks)


def _sampled(point: KrylovPoint) -> list[tuple[Matrix, Matrix]]:
    """Blocks and standard errors by probes, the leading group first."""
    scaled, deflated = point.scaled, point.deflated
    space = point.pls.space
    totals = [_Mean() for _ in point.pls.groups]
    step = max(1, COLUMNS // space.repeats) * space.repeats
    for start in range(0, space.probes.shape[1], step):
        Z = space.probes[:, start : start + step]
        near, far = functions(
            deflated,
            deflated.project(Z),
            lambda x: 1.0 / np.sqrt(1.0 + x),
            lambda x: x / np.sqrt(1.0 + x),
        )
        samples: list[Matrix] = [_front(scaled, deflated.lifted(near)) - _front(scaled, Z)]
        own = scaled.each(scaled.outer, deflated.lifted(far))
        for part, group in zip(scaled.system.tail.parts, scaled.system.tail.groups, strict=True):
            samples.append(_squares(own[part].reshape(group.n_levels, group.size, -1)))
        for total, sample in zip(totals, samples, strict=True):
            total.add(sample, space.repeats)
    known = [_known_front(scaled, deflated), *_known_tail(scaled, deflated)]
    return [(exact + total.mean, total.error) for exact, total in zip(known, totals, strict=True)]


class _Mean:
    """Mean of samples (k, k, l, r) and its standard error."""

    def __init__(self) -> None:
        self.n = 0
        self.sum: Matrix = np.zeros(())
        self.squares: Matrix = np.zeros(())

    def add(self, sample: Matrix, repeats: int) -> None:
        """Take samples in, `repeats` of which belong to one draw."""
        draws = sample.reshape(*sample.shape[:3], -1, repeats).mean(axis=4)
        self.n += draws.shape[3]
        self.sum = self.sum + draws.sum(axis=3)
        self.squares = self.squares + (draws**2).sum(axis=3)

    @property
    def mean(self) -> Matrix:
        """Mean (k, k, l)."""
        return np.asarray(self.sum / self.n)

    @property
    def error(self) -> Matrix:
        """Standard error (k, k, l)."""
        spread = np.maximum(self.squares - self.n * self.mean**2, 0.0)
        return np.asarray(np.sqrt(spread / (self.n * (self.n - 1))))


def _squares(rows: Matrix) -> Matrix:
    """(k, k, l, r) from rows (l, k, r): products within each column."""
    rows = rows.transpose(1, 0, 2)
    return rows[:, None] * rows


def _reached(scaled: Scaled, X: Matrix) -> Matrix:
    """H C Lambda L^-T X, (k_1, l, r)."""
    front = scaled.system.reach(scaled.each(scaled.outer, X))
    return np.asarray(np.einsum("abm,bmr->amr", scaled.H, front))


def _front(scaled: Scaled, X: Matrix) -> Matrix:
    reached = _reached(scaled, X)
    return reached[:, None] * reached


def _known_front(scaled: Scaled, deflated: Deflated) -> Matrix:
    """Blocks of D_11 with E_Q = 0, (k_1, k_1, l)."""
    squares = [np.einsum("acm,bcm->abm", outer, outer) for outer in scaled.outer]

    def summed(piece: Piece) -> Matrix:
        each = [links.by_lead(X) for links, X in zip(piece.links, squares, strict=True)]
        return np.asarray(sum(each))

    inner = np.concatenate(list(scaled.system.over_pieces(summed)), axis=2)
    H, reached = scaled.H, _reached(scaled, deflated.Q)
    K = reached.shape[2]
    low = np.einsum("amr,rs,bms->abm", reached, deflated.inner(np.eye(K)), reached, optimize=True)
    return np.asarray(H + np.einsum("abm,bcm,cdm->adm", H, inner, H) + low)


def _known_tail(scaled: Scaled, deflated: Deflated) -> list[Matrix]:
    """Blocks of D_TT but for what is sampled, (k, k, l_g) per group."""
    Q, F, K = deflated.Q, deflated.WM, len(deflated.M)
    G, R = Q + F, deflated.Y + scaled.times(F)
    inverse = deflated.inner(np.eye(K))
    left = Q @ (inverse + G.T @ G - G.T @ R) + 2.0 * (R - G)
    V = deflated.W - Q @ (F.T @ deflated.W)
    found: list[Matrix] = []
    tail = scaled.system.tail
    for part, group, outer in zip(tail.parts, tail.groups, scaled.outer, strict=True):
        shape = group.n_levels, group.size, K
        block = np.einsum("mar,mbr->abm", left[part].reshape(shape), Q[part].reshape(shape))
        block = 0.5 * (block + block.transpose(1, 0, 2))
        turned = (V[part] @ inverse).reshape(shape)
        block += np.einsum("mar,mbr->abm", turned, V[part].reshape(shape))
        block[np.diag_indices(group.size)] += 1.0
        found.append(np.einsum("acm,cdm,bdm->abm", outer, block, outer, optimize=True))
    return found
