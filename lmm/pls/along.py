"""Derivatives along few directions of a wide Gamma: k x k blocks, but no k^2 x k^2 ones.

A structured covariance of k columns moves along e symmetric matrices U, two for a homogeneous
autoregression. With ``F_i = R_i'M_i R_i`` (`lmm.pls.roots`), ``B_a = R_i U_a R_i'`` and
``E_i = M_i S_i L^-T``, whose columns explain X (E_X) and y (the last),

    tr(F U_a F U_b)   = sum_i tr(M B_a M B_b)                                                  (1)
    v'U_a Z'PZ U_b v  = sum_i e'B_a M B_b e - n_a'n_b,   n_a = sum_i E_X'B_a e                  (2)

over pwrss, and for REML (1) less ``2 sum_i tr(E_X'B_a M B_b E_X)``, with
``tr(N_a N_b), N_a = sum_i E_X'B_a E_X``. They cost e k^2 d per level with d rows of R_i.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from lmm._types import Matrix
from lmm.pls.base import Derivatives, Forms, PLSTerms
from lmm.pls.kernels import multiply, multiply_turned
from lmm.pls.levels import Levels


class SweptLevels(NamedTuple):
    """A set of levels with M (d, d, m) and E (t, d, r) there."""

    levels: Levels
    M: Matrix
    E: Matrix


@dataclass(frozen=True, eq=False)
class AlongUnits(Derivatives):
    """Derivatives of a problem with one grouping factor.

    Attributes
    ----------
    swept : tuple of SweptLevels
        All levels.
    members : tuple of slice
        Columns of each term.
    reml : bool
        Whether fixed effects are taken out.
    """

    swept: tuple[SweptLevels, ...]
    members: tuple[slice, ...]
    reml: bool

    @classmethod
    def of(
        cls, terms: PLSTerms, swept: tuple[SweptLevels, ...], members: tuple[slice, ...], reml: bool
    ) -> AlongUnits:
        """The first derivatives at once, the second ones when they are asked for."""
        logdet = np.sum([_first(part, reml) for part in swept], axis=0)
        effects = [_effects(levels, E[-1:])[0] for levels, _, E in swept]
        quadratic = np.sum([v @ v.T for v in effects], axis=0)
        return cls(
            terms,
            tuple(logdet[part, part] for part in members),
            tuple(quadratic[part, part] for part in members),
            swept,
            members,
            reml,
        )

    def along(self, units: Matrix) -> Forms:
        """Second derivatives along combinations (e, K) of the entries of all Gamma."""
        e, p = len(units), len(self.swept[0].E) - 1
        trace, average = np.zeros((2, e, e))
        N = np.zeros((e, p + 1, p + 1))
        for levels, M, E in self.swept:
            MB, BE = _moved(levels, M, E, self._blocks(units))
            turned = (MB.swapaxes(1, 2) * levels.counts).reshape(e, -1)
            trace += MB.reshape(e, -1) @ turned.T
            N += BE.reshape(e, p + 1, -1) @ E.reshape(p + 1, -1).T
            forms = _forms(levels, M, BE)
            average += forms[-1]
            if self.reml:
                trace -= 2.0 * forms[:-1].sum(axis=0)
        average -= N[:, -1, :-1] @ N[:, -1, :-1].T
        if self.reml:
            own = N[:, :-1, :-1]
            trace += own.reshape(e, -1) @ own.swapaxes(1, 2).reshape(e, -1).T
        return Forms(average, trace, trace)

    def _blocks(self, units: Matrix) -> Iterator[Matrix]:
        """Units as (k, k) over the columns of the factor."""
        k, sizes = self.swept[0].levels.R.shape[1], [p.stop - p.start for p in self.members]
        ends = np.cumsum([size * size for size in sizes])[:-1]
        for unit in units:
            block = np.zeros((k, k))
            for own, part, size in zip(np.split(unit, ends), self.members, sizes, strict=True):
                block[part, part] = own.reshape(size, size)
            yield block


def _effects(levels: Levels, E: Matrix) -> Matrix:
    """R'E, (t, k, r)."""
    return levels.times(levels.R.swapaxes(0, 1), E)


def _first(part: SweptLevels, reml: bool) -> Matrix:
    """Sum over levels of F, (k, k)."""
    levels, M, E = part
    k = levels.R.shape[1]
    weighted = multiply(M, levels.R) * levels.counts
    flat = (block.transpose(1, 0, 2).reshape(k, -1) for block in (levels.R, weighted))
    F: Matrix = next(flat) @ next(flat).T
    if reml:
        X = _effects(levels, E[:-1]).transpose(1, 0, 2).reshape(k, -1)
        F = F - X @ X.T
    return F


def _moved(levels: Levels, M: Matrix, E: Matrix, blocks: Iterator[Matrix]) -> tuple[Matrix, Matrix]:
    """M B_a (e, d, d, m) and B_a E (e, t, d, r)."""
    MB, BE = [], []
    for block in blocks:
        B = multiply_turned(levels.R, block @ levels.R)
        MB.append(multiply(M, B))
        BE.append(levels.times(B, E))
    return np.array(MB), np.array(BE)


def _forms(levels: Levels, M: Matrix, BE: Matrix) -> Matrix:
    """Sum over levels of ``E'B_a M B_b E`` for each column of E, (t, e, e)."""
    e, t, d, r = BE.shape
    right = levels.times(M, BE.reshape(e * t, d, r)).reshape(e, t, -1)
    return np.asarray(BE.swapaxes(0, 1).reshape(t, e, -1) @ right.transpose(1, 2, 0))
