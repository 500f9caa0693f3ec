"""Sums over strata, and their entries in the covariances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from lmm._types import Matrix, Vector
from lmm.inference.resample.replicates import ROUNDING
from lmm.inference.resample.strata import Stratum
from lmm.likelihood import Entries


@dataclass(frozen=True, eq=False)
class StrataSums:
    """What r fits at their points are made of; entries of Gamma stacked row by row over terms.

    Attributes
    ----------
    logdet : (r,) array
        log|V| (REML: + log|X'V^-1 X|).
    pwrss : (r,) array
        Penalized residual sums of squares.
    half : (r, t, t) array
        L^-1 of (2).
    first, quadratic : (r, Q) arrays
        Derivatives of the log determinants, and minus those of log pwrss.
    entries : Entries
        All derivatives by the m entries of Gamma that theta fills.
    couplings : (r, Q, p, p) array
        ``sum E_a E_b'`` over the fixed effects for each entry (a, b).
    """

    logdet: Vector
    pwrss: Vector
    half: Matrix
    first: Matrix
    quadratic: Matrix
    entries: Entries
    couplings: Matrix


def symmetric(blocks: Matrix) -> Matrix:
    """Blocks (r, t, t) without the rounding errors that make them asymmetric."""
    return np.asarray(0.5 * (blocks + blocks.transpose(0, 2, 1)))


def cholesky(blocks: Matrix) -> Matrix:
    """Lower Cholesky factors (r, t, t); NaN where a step went so far that there is none."""
    try:
        return np.linalg.cholesky(blocks)
    except np.linalg.LinAlgError:
        lowest = np.linalg.eigvalsh(blocks)[:, 0]
        positive = lowest > ROUNDING * np.trace(blocks, axis1=1, axis2=2)
        factors = np.full_like(blocks, np.nan)
        factors[positive] = np.linalg.cholesky(blocks[positive])
        return factors


class Accumulated:
    """Sums over strata for the entries of Gamma, stacked row by row over terms."""

    def __init__(self, sizes: Sequence[int], r: int, p: int):
        stops = np.cumsum([0, *(k * k for k in sizes)])
        self.parts = [slice(a, b) for a, b in pairwise(stops.tolist())]
        Q = int(stops[-1])
        self.first, self.quadratic = np.zeros((r, Q)), np.zeros((r, Q))
        self.average, self.trace = np.zeros((r, Q, Q)), np.zeros((r, Q, Q))
        self.coupled, self.mixed = np.zeros((r, Q, p, p)), np.zeros((r, Q, p))

    def add(self, stratum: Stratum, W: Matrix, F: Matrix, half: Matrix, reml: bool) -> None:
        """Add one stratum's part."""
        r, d, K, _ = F.shape
        t = half.shape[1]
        P = (F[:, :, :, None, :, None] * half[:, None, None, :, None, :]).reshape(
            r, d, K * t, K * t
        )
        E = (P @ W @ P.transpose(0, 1, 3, 2)).reshape(r, d, K, t, K, t)  # (3)
        E = E.transpose(0, 1, 2, 4, 3, 5)
        XX, Xv, vv = E[..., :-1, :-1], E[..., :-1, -1], E[..., -1, -1]
        counted = F * stratum.counts[:, None, None]
        RR = np.einsum("rdabss->rdab", XX)
        for i, part in zip(stratum.slots, self.parts, strict=True):
            own = (slice(None), slice(None), i[:, :, None], i[:, None, :])
            n = part.stop - part.start
            self.first[:, part] += counted[own].sum(axis=(1, 2)).reshape(r, n)
            self.quadratic[:, part] += vv[own].sum(axis=(1, 2)).reshape(r, n)
            self.coupled[:, part] += XX[own].sum(axis=(1, 2)).reshape(r, n, t - 1, t - 1)
            self.mixed[:, part] += Xv[own].sum(axis=(1, 2)).reshape(r, n, t - 1)
            for j, other in zip(stratum.slots, self.parts, strict=True):
                pair = (slice(None), slice(None), i[:, :, None, None], j)
                f, w = F[pair], counted[pair]
                size = (r, n, other.stop - other.start)
                average = np.einsum("rdsauc,rdsbue->rabce", f, vv[pair])
                trace = np.einsum("rdsbuc,rdsaue->rabce", w, f)
                if reml:
                    R = RR[pair]
                    trace -= np.einsum("rdsbuc,rdsaue->rabce", f, R)
                    trace -= np.einsum("rdsbuc,rdsaue->rabce", R, f)
                self.average[:, part, other] += average.reshape(size)
                self.trace[:, part, other] += trace.reshape(size)

    def total(self, reml: bool) -> tuple[Matrix, Matrix, Matrix, Matrix]:
        """First derivatives of the log determinants, quadratic, average, trace."""
        average = self.average - self.mixed @ self.mixed.transpose(0, 2, 1)
        if not reml:
            return self.first, self.quadratic, average, self.trace
        first = self.first - np.einsum("rkss->rk", self.coupled)
        r, Q, p, _ = self.coupled.shape
        flat, turned = (
            part.reshape(r, Q, p * p) for part in (self.coupled, self.coupled.transpose(0, 1, 3, 2))
        )
        trace = self.trace + flat @ turned.transpose(0, 2, 1)
        return first, self.quadratic, average, trace
