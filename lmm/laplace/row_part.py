"""What some rows add to the second derivatives of a Laplace approximation.

Arrays of a column per direction would be several times as large as the model itself: they are made
for some rows at a time (docs/theory/laplace.md, laplace-hessian).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lmm._types import Matrix, cached_property

if TYPE_CHECKING:
    from lmm.laplace.expansion import Expansion


@dataclass(frozen=True, eq=False)
class RowPart:
    """Some rows of an expansion.

    Attributes
    ----------
    whole : Expansion
        The expansion.
    rows : slice
        The rows, c of them.
    """

    whole: Expansion
    rows: slice

    @cached_property
    def Y(self) -> Matrix:
        """Directions in which linear predictors move at fixed random effects, (c, e + p)."""
        model = self.whole.model
        moved = model.effects.spread(self.whole.pushed, self.rows)
        return np.hstack([moved, model.outer[self.rows]])

    @cached_property
    def force(self) -> Matrix:
        """What pulls the mode back along each direction, (c, d)."""
        whole, rows = self.whole, self.rows
        pulled = whole.observed[0][rows, None] * self.Y
        if not whole.model.has_xi:
            return pulled
        return np.column_stack([pulled, -whole.shape.score1[rows]])  # only the score moves

    @cached_property
    def eta(self) -> Matrix:
        """Derivatives (4) of linear predictors at the mode, (c, d)."""
        return self.whole.eta_along(np.eye(self.whole.model.width), self.rows)

    @property
    def moved(self) -> Matrix:
        """How the weights W move along each direction, (c, d)."""
        whole, rows = self.whole, self.rows
        moved = whole.weights[1][rows, None] * self.eta
        if whole.model.has_xi:
            moved[:, -1] += whole.by_xi[0][rows]
        return moved

    def curved(self) -> Matrix:
        """Second derivative of ``-2 l + b'v`` at the mode, (d, d), but for that of l by xi."""
        model = self.whole.model
        c = model.e + model.p
        H = np.empty((model.width,) * 2)
        H[:c] = 2.0 * self.force[:, :c].T @ self.eta
        if model.has_xi:
            H[c] = -2.0 * (self.whole.shape.score1[self.rows] @ self.eta)
            H[:, c] = H[c]
        return 0.5 * (H + H.T)

    def mode_terms(self) -> Matrix:
        """``w'(E_k v_l + E_l v_k)``, (d, d)."""
        whole, rows = self.whole, self.rows
        model, e = whole.model, whole.model.e
        H = np.zeros((model.width,) * 2)
        moved = model.effects.spread(model.effects.along(whole.units, whole.w), rows)
        H[:e] = -(whole.observed[0][rows, None] * moved).T @ self.eta
        if model.has_xi:
            H[:e, -1] += moved.T @ whole.shape.score1[rows]
        return H + H.T

    def weight_terms(self) -> Matrix:
        """Second derivatives of the weights at the mode, (d, d)."""
        whole, rows, eta = self.whole, self.rows, self.eta
        lev, Zc = whole.D.leverages[rows], whole.Zc[rows]
        H = eta.T @ ((whole.weights[2][rows] * lev - whole.observed[1][rows] * Zc)[:, None] * eta)
        if whole.model.has_xi:
            s = whole.shape
            side = (whole.by_xi[1][rows] * lev - s.observed1[0][rows] * Zc) @ eta
            H[-1] += side
            H[:, -1] += side
            twice = s.observed2 if whole.information == "observed" else s.expected2
            H[-1, -1] += twice[rows] @ lev + s.score2[rows] @ Zc
        return np.asarray(H)
