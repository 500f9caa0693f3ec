"""The approximation for one grouping factor: all derivatives from sums over the levels.

Linear predictors at the mode move by ``eta_k = Z T_k + X C_k`` along direction k. Then products
such as ``Y_k'W eta_l`` need nothing of the rows but cross-products of columns, level by level, and
moving weights their third-order sums: two passes over the rows, however many directions there are
(docs/theory/laplace.md, section "One grouping factor").
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lmm._types import Matrix, Vector, cached_property
from lmm.family import RowLikelihood
from lmm.family.jets import Jet
from lmm.laplace.effects import ALL
from lmm.laplace.elimination import ByLevel
from lmm.laplace.expansion import Expansion
from lmm.laplace.row_block import CrossSums, RowBlock, added, doubled, pair_index, paired, pairs_of

# Levels whose derivatives along all directions are there at once.
LEVELS = 1 << 13


@dataclass(frozen=True, eq=False)
class _Shape:
    """Sums for the logarithm xi of the shape.

    Attributes
    ----------
    first, second : float
        Derivatives of the log-likelihood.
    Z1, X1 : (k, l) and (p,) arrays
        ``Z'r_xi`` by level, and ``X'r_xi``.
    moved : (pairs, l) array
        ``Z'W_xi Z``.
    """

    first: float
    second: float
    Z1: Matrix
    X1: Vector
    moved: Matrix


@dataclass(frozen=True, eq=False)
class _Sums:
    """What first derivatives ask of the rows.

    Attributes
    ----------
    A : (k, k, l) array
        ``Z'WZ`` by level.
    own : CrossSums
        Cross-products for the observed information W_o.
    thirds : (pairs, k + p, l) array
        Sums of ``W' z_a z_b`` times columns of Z and of X.
    Xr : (p,) array
        ``X'r``.
    shape : _Shape, optional
        What xi adds.
    """

    A: Matrix
    own: CrossSums
    thirds: Matrix
    Xr: Vector
    shape: _Shape | None


@dataclass(frozen=True, eq=False)
class _Force:
    """How the mode follows a force f on linear predictors, by ``Z b + X c``.

    Attributes
    ----------
    b, c : (r, k, l) and (p, r) arrays
        Effects, and coefficients that are part of the mode.
    """

    b: Matrix
    c: Matrix


class LevelExpansion(Expansion):
    """See `Expansion`, whose arrays by row it makes do without."""

    # Sums over rows ------------------------------------------------------------------------------

    @cached_property
    def rows(self) -> RowLikelihood:
        """See `Expansion`: no derivatives."""
        return self.model.bound.scored(self.mode.eta, self.place.xi)

    def _rows_of(self, block: RowBlock, order: int) -> tuple[RowLikelihood, Jet]:
        """The rows of a block, and their W."""
        rows = block.bound.at(self.mode.eta[block.rows], self.place.xi, order)
        return rows, rows.observed if self.information == "observed" else rows.expected

    @property
    def _size(self) -> int:
        return self.model.effects.groups[0].size

    def _whole(self, pairs: Matrix) -> Matrix:
        """Symmetric blocks (..., k, k, l) of pairs of columns (..., pairs, l)."""
        return np.asarray(pairs[..., pair_index(self._size), :])

    @cached_property
    def _sums(self) -> _Sums:
        each = added(self._first_sums(block) for block in self.model.row_blocks)
        cross, gram, A, thirds, Xr = each[:5]
        own = self._cross_sums(cross, gram)
        A = self._whole(A) if A.size else own.A
        shape = None
        if len(each) > 5:
            shape = _Shape(float(each[5]), float(each[6]), *each[7:])
        count = len(pairs_of(self._size))
        return _Sums(A, own, thirds.reshape(count, -1, thirds.shape[-1]), Xr, shape)

    def _cross_sums(self, cross: Matrix, gram: Matrix) -> CrossSums:
        k, count = self._size, len(pairs_of(self._size))
        return CrossSums(
            self._whole(cross[:count]), cross[count:].reshape(-1, k, cross.shape[1]), gram
        )

    def _first_sums(self, block: RowBlock) -> tuple[np.ndarray, ...]:
        rows, W = self._rows_of(block, 1)
        is_observed = W is rows.observed
        A = np.empty(0) if is_observed else block.pairs(W[0])
        found = *block.cross(rows.observed[0]), A, block.thirds(W[1]), block.X.T @ rows.score
        if rows.shape is None:
            return found
        s = rows.shape
        by_xi = s.observed1 if self.information == "observed" else s.expected1
        scalars = np.array(s.first), np.array(s.second)
        return *found, *scalars, *block.along(s.score1), block.pairs(by_xi[0])

    @cached_property
    def _curving(self) -> tuple[np.ndarray, ...]:
        """Sums that second derivatives of the weights make."""
        return added(self._second_sums(block) for block in self.model.row_blocks)

    def _second_sums(self, block: RowBlock) -> tuple[np.ndarray, ...]:
        rows, W = self._rows_of(block, 2)
        c = self._followed
        leverages = block.forms(paired(self.D.blocks))
        Zc = block.spread(c.b[0], c.c[:, 0])
        found = block.cross(W[2] * leverages - rows.observed[1] * Zc)
        if rows.shape is None:
            return found
        s, is_observed = rows.shape, self.information == "observed"
        by_xi = s.observed1 if is_observed else s.expected1
        side = by_xi[1] * leverages - s.observed1[0] * Zc
        twice = s.observed2 if is_observed else s.expected2
        total = np.array(twice @ leverages + s.score2 @ Zc)
        return *found, *block.along(side), total

    # First derivatives ---------------------------------------------------------------------------

    @cached_property
    def D(self) -> ByLevel:
        """See `Expansion`."""
        model = self.model
        if self.order:
            return ByLevel(model.effects, self.place.factors, self._sums.A)
        each = ((block.pairs(self._rows_of(block, 0)[1][0]),) for block in model.row_blocks)
        return ByLevel(model.effects, self.place.factors, self._whole(added(each)[0]))

    @cached_property
    def D_o(self) -> ByLevel:
        """See `Expansion`."""
        own = self._sums.own.A
        if self._sums.A is own:
            return self.D
        return ByLevel(self.model.effects, self.place.factors, own)

    def _by_level(self, effects: Vector) -> Matrix:
        """Effects (q,) by column and level, (k, l)."""
        return np.ascontiguousarray(effects.reshape(-1, self._size).T)

    @cached_property
    def _inner(self) -> tuple[Matrix, Matrix]:
        """``D_o Z'W_oX`` (p, k, l) for columns of the mode, and their information."""
        own = self._sums.own
        swept = self.D_o.times(own.B)
        return swept, own.G - np.einsum("pal,ral->pr", own.B, swept)

    def _follow(self, Zf: Matrix, Xf: Matrix) -> _Force:
        """What forces do, of which ``Z'f`` (r, k, l) and ``X'f`` (p, r) are known."""
        b = self.D_o.times(Zf)
        if not self.model.inner.size:
            return _Force(b, np.zeros_like(Xf))
        swept, information = self._inner
        rest = Xf - self._sums.own.B.reshape(len(Xf), -1) @ b.reshape(len(b), -1).T
        c = np.linalg.solve(information, rest)
        return _Force(b - np.tensordot(c.T, swept, 1), c)

    @cached_property
    def _pull(self) -> tuple[Matrix, Vector]:
        """``Z's`` (k, l) and ``X's`` (p,) of (5)."""
        weights = paired(self.D.blocks) * doubled(self._size)
        pull = sum(own * third for own, third in zip(weights, self._sums.thirds, strict=True))
        return pull[: self._size], pull[self._size :].sum(axis=1)

    @cached_property
    def _followed(self) -> _Force:
        """C of (5): ``D_o Z's``, and its coefficients."""
        Zs, Xs = self._pull
        return self._follow(Zs[None], Xs[:, None])

    @cached_property
    def _t(self) -> tuple[Matrix, Vector]:
        """``Z't`` (k, l) and ``X't`` (p,) of (5)."""
        c = self._followed
        Zt, Xt = self._sums.own.times(c.b, c.c)
        Zs, Xs = self._pull
        return Zs - Zt[0], Xs - Xt[:, 0]

    @cached_property
    def w(self) -> Vector:
        """See `Expansion`."""
        return self._t[0].T.ravel()

    @cached_property
    def laplace_score(self) -> Vector:
        """See `Expansion`."""
        gamma = self._along_gamma
        sums, shape = self._sums, self._sums.shape
        beta = (self._t[1] - 2.0 * sums.Xr)[: self.model.p]
        if shape is None:
            return np.concatenate([gamma, beta])
        c = self._followed
        leverages = np.vdot(paired(self.D.blocks) * doubled(self._size), shape.moved)
        xi = leverages - 2.0 * shape.first + np.vdot(c.b, shape.Z1) + c.c[:, 0] @ shape.X1
        return np.concatenate([gamma, beta, [xi]])

    # How the mode moves --------------------------------------------------------------------------

    @cached_property
    def _start(self) -> tuple[Matrix, Matrix]:
        """Moves of predictors at fixed dual effects: T (d, k, l) and C (p, d)."""
        model, e = self.model, self.model.e
        T = np.zeros((model.width, self._size, model.effects.groups[0].n_levels))
        T[:e] = np.tensordot(self.units[0], self._by_level(self.mode.v), 1)
        C = np.zeros((model.X.shape[1], model.width))
        C[: model.p, e : e + model.p] = np.eye(model.p)
        return T, C

    @cached_property
    def _forces(self) -> tuple[Matrix, Matrix]:
        """What pulls the mode back along each direction: ``Z'f`` (d, k, l) and ``X'f`` (p, d)."""
        Zf, Xf = self._sums.own.times(*self._start)
        if self._sums.shape is not None:  # only the score moves
            Zf[-1], Xf[:, -1] = -self._sums.shape.Z1, -self._sums.shape.X1
        return Zf, Xf

    @cached_property
    def _moves(self) -> tuple[Matrix, Matrix]:
        """Moves at the mode, (4): T (d, k, l) and C (p, d)."""
        back = self._follow(*self._forces)
        T, C = self._start
        return T - back.b, C - back.c

    @cached_property
    def _dual_moves(self) -> Matrix:
        """How dual effects move, (d, k, l)."""
        moved = -self._sums.own.times(*self._moves)[0]
        if self._sums.shape is not None:
            moved[-1] += self._sums.shape.Z1
        return moved

    def _taken(self, moves: Matrix, change: Matrix) -> Matrix:
        """Effects (q, ...) for moves (d, k, l) along changes (d, ...)."""
        found = np.tensordot(moves, change, (0, 0)).swapaxes(0, 1)
        return found.reshape(self.model.effects.q, *change.shape[1:])

    def eta_along(self, change: Matrix, rows: slice = ALL) -> Matrix:
        """See `Expansion`."""
        T, C = self._moves
        moved = self.model.effects.spread(self._taken(T, change), rows)
        if len(C):
            moved += self.model.X[rows] @ (C @ change)
        return moved

    def v_along(self, change: Matrix) -> Matrix:
        """See `Expansion`."""
        return self._taken(self._dual_moves, change)

    def effects_along(self) -> Matrix:
        """See `Expansion`."""
        model = self.model
        J = np.zeros((model.width, model.m + model.width - model.e))
        J[: model.e, : model.m] = model.parameters.jacobian(self.place.x[: model.m])
        J[model.e :, model.m :] = np.eye(model.width - model.e)
        return self._taken(self._moves[0], J)

    # Second derivatives --------------------------------------------------------------------------

    def _form(self, left: tuple[Matrix, Matrix]) -> Matrix:
        """``f_k'eta_l`` (d, d) for forces given as ``Z'f`` (d, k, l) and ``X'f`` (p, d)."""
        T, C = self._moves
        return left[0].reshape(len(T), -1) @ T.reshape(len(T), -1).T + left[1].T @ C

    @cached_property
    def _plain(self) -> tuple[Matrix, Matrix]:
        """See `Expansion`."""
        e, shape = self.model.e, self._sums.shape
        curved = 2.0 * self._form(self._forces)
        if shape is not None:
            curved[:, -1] = curved[-1]
        curved = 0.5 * (curved + curved.T)
        if shape is not None:
            curved[-1, -1] -= 2.0 * shape.second
        moved = np.tensordot(self.units[0], self._t[0], 1).reshape(e, -1)
        rest = np.zeros_like(curved)
        rest[:e] = moved @ self._dual_moves.reshape(len(rest), -1).T
        rest += rest.T
        return curved, rest + self._weight_terms()

    def _weight_terms(self) -> Matrix:
        """Second derivatives of the weights at the mode, (d, d)."""
        cross, gram, *rest = self._curving
        H = self._form(self._cross_sums(cross, gram).times(*self._moves))
        if rest:
            Zside, Xside, total = rest
            T, C = self._moves
            side = T.reshape(len(T), -1) @ Zside.ravel() + Xside @ C
            H[-1] += side
            H[:, -1] += side
            H[-1, -1] += total
        return H

    def moving(self, levels: slice, directions: Matrix | None = None) -> Matrix:
        """``Z'diag(W_k)Z`` of moving weights W_k, by pairs of columns, (d, pairs, l).

        For some levels, and along other directions (d, r) if they are given.
        """
        (T, C), sums = self._moves, self._sums
        T = T[:, :, levels]
        if directions is not None:
            T, C = np.tensordot(directions.T, T, 1), C @ directions
        thirds, k = sums.thirds[:, :, levels], self._size
        found = np.empty((len(T), len(thirds), T.shape[2]))
        for own, third in zip(found.swapaxes(0, 1), thirds, strict=True):
            own[:] = C.T @ third[k:]
            for a in range(k):
                own += third[a] * T[:, a]
        if sums.shape is not None:
            by_xi = np.eye(self.model.width)[-1]
            share = by_xi if directions is None else by_xi @ directions
            found += share[:, None, None] * sums.shape.moved[:, levels]
        return found

    @cached_property
    def _dear_terms(self) -> Matrix:
        """See `Expansion`."""
        d, e, n_levels = self.model.width, self.model.e, self.model.effects.groups[0].n_levels
        H = np.zeros((d, d))
        for start in range(0, n_levels, LEVELS):
            levels = slice(start, start + LEVELS)
            S, D = self.moving(levels), self.D.at_levels(levels)
            swept = paired(D.swept(self.units)) * doubled(self._size)
            forms = swept.reshape(e, -1) @ S.reshape(d, -1).T
            H[:e] += forms
            H[:, :e] += forms.T
            H -= D.traces(self._whole(S))
        return H

    def completed(self) -> LevelExpansion:
        """See `Expansion`: it is complete."""
        return self

    def _release(self) -> None:
        for name in ("_sums", "_curving", "_start", "_forces", "_followed", "_pull", "_t"):
            self.__dict__.pop(name, None)
        for name in ("rows", "weights"):
            self.__dict__.pop(name, None)
        self.D.release()
        self.D_o.release()
