"""Factored penalized equations for what follows a fit: products with, and blocks of, D.

``D = Lambda (Lambda'Z'Z Lambda + I)^-1 Lambda'`` is the covariance of the random effects given the
response (and the fixed effects), over sigma^2. With the largest grouping factor in front (1) and
the others behind it (2), ``H = D_11`` of the model without the others, and ``B = H Z_1'Z_2``,

    D_22 = Lambda_2 (Lambda_2'(Z_2'Z_2 - Z_2'Z_1 B) Lambda_2 + I)^-1 Lambda_2'
    D_12 = -B D_22,   D_11 = H + B D_22 B'

(inversion by blocks). H is block-diagonal and B is sparse. The matrix that D_22 inverts falls apart
into the connected components of the tail's levels: one, mostly, for crossed factors, many small
ones for nested factors. So nothing of size q x q is formed unless the tail itself is dense.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy import sparse
from scipy.linalg import block_diag, lapack

from lmm._threads import blas_threads
from lmm._types import IntVector, Matrix
from lmm.errors import NumericalError
from lmm.pls.base import Factors
from lmm.pls.kernels import invert, sum_by
from lmm.pls.problem import Group, Problem

__all__ = ["PenalizedFactor", "group_factors"]

# Entries of a chunk of B D_22.
CHUNK = 1 << 22


def group_factors(problem: Problem, factors: Factors) -> Factors:
    """Relative covariance factor of each group: those of its terms, block-diagonal."""
    return tuple(
        np.asarray(block_diag(*(factors[i] for i, _ in group.members))) for group in problem.groups
    )


@dataclass(frozen=True, eq=False)
class PenalizedFactor:
    """D at given covariance factors, in the whitened coordinates of a problem.

    Random effects are arranged by group, in the problem's order: level by level, columns within.

    Attributes
    ----------
    groups : tuple of Group
        Random effects by grouping factor.
    lead : int
        The group in front.
    H : (k, k, l) array
        Blocks of H.
    B : (q1, q2) sparse array
        H Z_1'Z_2.
    tail : (q2, q2) array, dense or sparse
        D_22.
    """

    groups: tuple[Group, ...]
    lead: int
    H: Matrix
    B: sparse.csr_array
    tail: Matrix | sparse.csr_array

    @classmethod
    def of(cls, problem: Problem, factors: Factors) -> PenalizedFactor:
        """Factor the equations of a problem at whitened factors, one (k_i, k_i) per term."""
        groups = problem.groups
        lead = int(np.argmax([group.q for group in groups]))
        lams = group_factors(problem, factors)
        H = _lead_blocks(groups[lead], lams[lead])
        behind = [g for g in range(len(groups)) if g != lead]
        Z2 = sparse.hstack(
            [sparse.csr_array((problem.n, 0)), *(_sparse_columns(groups[g]) for g in behind)],
            format="csr",
        )
        Lambda = sparse.block_diag(
            [
                sparse.csr_array((0, 0)),
                *(sparse.kron(sparse.eye_array(groups[g].n_levels), lams[g]) for g in behind),
            ],
            format="csr",
        )
        coupling = sparse.csr_array(_sparse_columns(groups[lead]).T @ Z2)
        B = sparse.csr_array(_block_diagonal(H) @ coupling)
        schur = Lambda.T @ (Z2.T @ Z2 - coupling.T @ B) @ Lambda
        tail = _tail_inverse(sparse.csr_array(schur), sparse.csr_array(Lambda))
        return cls(groups, lead, H, B, tail)

    @cached_property
    def offsets(self) -> dict[int, int]:
        """Where each group behind the leading one starts in the tail."""
        behind = [g for g in range(len(self.groups)) if g != self.lead]
        starts = np.cumsum([0, *(self.groups[g].q for g in behind)])
        return dict(zip(behind, map(int, starts), strict=False))

    def product(self, right: tuple[Matrix, ...]) -> tuple[Matrix, ...]:
        """D times a matrix that is given by group, (l_g, k_g, r) each; the result likewise."""
        r = right[0].shape[2]
        first, *rest = (right[g].reshape(self.groups[g].q, r) for g in (self.lead, *self.offsets))
        swept = np.concatenate([np.empty((0, r)), *rest]) - self.B.T @ first
        behind = self.tail @ swept
        front = np.einsum("abl,lbr->lar", self.H, right[self.lead]).reshape(first.shape)
        results = {g: behind[a : a + self.groups[g].q] for g, a in self.offsets.items()}
        results[self.lead] = front - self.B @ behind
        return tuple(results[g].reshape(right[g].shape) for g in range(len(self.groups)))

    @cached_property
    def diagonal_blocks(self) -> tuple[Matrix, ...]:
        """Blocks of D per group and level, (l_g, k_g, k_g) each."""
        return tuple(
            self._lead_diagonal()
            if g == self.lead
            else self.blocks(g, g, *2 * (np.arange(group.n_levels),))
            for g, group in enumerate(self.groups)
        )

    def blocks(self, g: int, h: int, i: IntVector, j: IntVector) -> Matrix:
        """Blocks of D between levels i of group g and levels j of another group h (or of g = h).

        Parameters
        ----------
        g, h : int
            Groups.
        i, j : (m,) int arrays
            Levels.

        Returns
        -------
        (m, k_g, k_h) array
        """
        if g == h == self.lead:
            return np.where((i == j)[:, None, None], self.diagonal_blocks[g][i], 0.0)
        if h == self.lead:
            return self.blocks(h, g, j, i).transpose(0, 2, 1)
        columns = self._positions(h, j)
        if g != self.lead:
            return _entries(self.tail, self._positions(g, i), columns)
        k = self.groups[g].size
        found = np.empty((len(i), k, columns.shape[1]))
        for part, product in self._products():
            here = np.flatnonzero((i >= part.start) & (i < part.stop))
            rows = (i[here] - part.start)[:, None] * k + np.arange(k)
            found[here] = -_entries(product, rows, columns[here])
        return found

    def _positions(self, g: int, levels: IntVector) -> IntVector:
        """Rows of the tail that levels of a group have, (m, k)."""
        k = self.groups[g].size
        return self.offsets[g] + levels[:, None] * k + np.arange(k)

    def _products(self) -> Iterator[tuple[slice, Any]]:
        """Rows of B D_22, a range of leading levels at a time."""
        group = self.groups[self.lead]
        step = max(1, CHUNK // max(1, group.size * self.tail.shape[0]))
        if sparse.issparse(self.tail):
            step = group.n_levels
        for start in range(0, group.n_levels, step):
            part = slice(start, min(start + step, group.n_levels))
            yield part, self._rows_of_B(part) @ self.tail

    def _rows_of_B(self, part: slice) -> Any:
        k = self.groups[self.lead].size
        return self.B[part.start * k : part.stop * k]

    def _lead_diagonal(self) -> Matrix:
        k = self.groups[self.lead].size
        blocks = np.array(self.H.transpose(2, 0, 1))
        if not self.offsets:
            return blocks
        for part, product in self._products():
            rows = self._rows_of_B(part)
            for a in range(k):
                for b in range(k):
                    # sums over the tail of B D_22 times B, entry by entry
                    blocks[part, a, b] += rows[b::k].multiply(product[a::k]).sum(axis=1)
        return blocks


def _lead_blocks(group: Group, lam: Matrix) -> Matrix:
    """H = lam (lam'Z_i'Z_i lam + I)^-1 lam' per level, (k, k, l)."""
    columns = group.Z @ lam
    products = columns.T[:, None, :] * columns.T[None, :, :]
    omega = sum_by(products, group.codes, group.n_levels) + np.eye(group.size)[:, :, None]
    inverse, _ = invert(omega)
    return np.asarray(np.einsum("ab,bcm,dc->adm", lam, inverse, lam, optimize=True))


def _sparse_columns(group: Group) -> sparse.csr_array:
    """Z of a group as a sparse matrix, (n, l k)."""
    n, k = group.Z.shape
    columns = group.codes[:, None] * k + np.arange(k)
    starts = np.arange(0, n * k + 1, k)
    return sparse.csr_array((group.Z.ravel(), columns.ravel(), starts), shape=(n, group.q))


def _block_diagonal(blocks: Matrix) -> sparse.csr_array:
    """Sparse block-diagonal matrix of blocks (k, k, l)."""
    k, _, m = blocks.shape
    stacked = np.ascontiguousarray(blocks.transpose(2, 0, 1))
    matrix = sparse.bsr_array((stacked, np.arange(m), np.arange(m + 1)), shape=(k * m, k * m))
    return sparse.csr_array(matrix)


def _tail_inverse(schur: sparse.csr_array, Lambda: sparse.csr_array) -> Matrix | sparse.csr_array:
    """``Lambda (schur + I)^-1 Lambda'``, by connected components."""
    from scipy.sparse.csgraph import connected_components

    q = schur.shape[0]
    if q == 0:
        return np.empty((0, 0))
    _, component = connected_components(schur, directed=False)
    sizes = np.bincount(component)
    if 4 * int((sizes**2).sum()) > q**2:
        with blas_threads(q):
            half = Lambda @ _dense_inverse(schur.toarray() + np.eye(q))
        return np.asarray((Lambda @ half.T).T)
    inverse = _inverse_by_component(schur + sparse.eye_array(q), component, sizes)
    return sparse.csr_array(Lambda @ inverse @ Lambda.T)


def _dense_inverse(matrix: Matrix) -> Matrix:
    """Inverse of a positive-definite matrix."""
    factor, failed = lapack.dpotrf(matrix, lower=1)
    if failed:
        raise NumericalError("The penalized normal equations are not positive definite.")
    lower, _ = lapack.dpotri(factor, lower=1)
    return np.asarray(np.tril(lower) + np.tril(lower, -1).T)


def _inverse_by_component(
    matrix: sparse.csr_array, component: IntVector, sizes: IntVector
) -> sparse.csr_array:
    """Inverse of a matrix that is block-diagonal after sorting by component."""
    order = np.argsort(component, kind="stable")
    starts = np.cumsum(sizes) - sizes
    local = np.empty(len(order), dtype=np.intp)
    local[order] = np.arange(len(order)) - np.repeat(starts, sizes)
    entries = matrix.tocoo()
    owner = component[entries.row]
    rows, columns, values = [], [], []
    for size in np.unique(sizes):
        members = np.flatnonzero(sizes == size)
        rank = np.full(len(sizes), -1)
        rank[members] = np.arange(len(members))
        here = rank[owner] >= 0
        blocks = np.zeros((len(members), size, size))
        where = rank[owner[here]], local[entries.row[here]], local[entries.col[here]]
        blocks[where] = entries.data[here]
        inverse, _ = invert(np.ascontiguousarray(blocks.transpose(1, 2, 0)))
        index = order[starts[members][:, None] + np.arange(size)]
        rows.append(np.repeat(index, size, axis=1).ravel())
        columns.append(np.tile(index, size).ravel())
        values.append(inverse.transpose(2, 0, 1).ravel())
    coordinates = np.concatenate(rows), np.concatenate(columns)
    return sparse.csr_array((np.concatenate(values), coordinates), shape=matrix.shape)


def _entries(matrix: Matrix | sparse.csr_array, rows: IntVector, columns: IntVector) -> Matrix:
    """Entries at rows (m, a) and columns (m, b), as (m, a, b)."""
    pairs = np.broadcast_arrays(rows[:, :, None], columns[:, None, :])
    flat = pairs[0].ravel(), pairs[1].ravel()
    return np.asarray(matrix[flat], dtype=np.float64).reshape(pairs[0].shape)
