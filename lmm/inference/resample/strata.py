"""Strata: levels of equal design, whose blocks are factored together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy import sparse

from lmm._types import IntVector, Matrix, Vector
from lmm.pls.kernels import invert

EPSILON = float(np.finfo(float).eps)


@dataclass(frozen=True, eq=False)
class Stratum:
    """Components with the same number of levels of every term.

    Attributes
    ----------
    columns : (c, K) int array
        Columns of Z (rows of Zt) of each component, components sorted by class.
    slots : tuple of (l_i, k_i) int arrays
        Per term, where its levels' columns stand among the K.
    A, inverse : (d, K, K) arrays
        Distinct blocks Z_i'Z_i and their generalized inverses.
    starts : (d + 1,) int array
        Where each class starts (and ends) among the components.
    B : (c, K, p) array
        Least-squares coefficients of X on Z_i.
    """

    columns: IntVector
    slots: tuple[IntVector, ...]
    A: Matrix
    inverse: Matrix
    starts: IntVector
    B: Matrix

    @classmethod
    def of(
        cls, columns: IntVector, slots: tuple[IntVector, ...], ZtX: Matrix, ZtZ: sparse.coo_array
    ) -> Stratum:
        """Gather the cross-products of components and collapse equal ones into classes."""
        c, K = columns.shape
        owner, place = np.full(len(ZtX), -1), np.zeros(len(ZtX), dtype=int)
        owner[columns], place[columns] = np.arange(c)[:, None], np.arange(K)
        own = owner[ZtZ.row] >= 0
        i, j = ZtZ.row[own], ZtZ.col[own]
        A = np.zeros((c, K, K))
        A[owner[i], place[i], place[j]] = ZtZ.data[own]
        _, first, classes, counts = np.unique(
            A.reshape(c, -1), axis=0, return_index=True, return_inverse=True, return_counts=True
        )
        columns = columns[np.argsort(classes.ravel(), kind="stable")]
        starts = np.concatenate([[0], np.cumsum(counts)])
        A = A[first]
        inverse = np.linalg.pinv(A, rcond=K * EPSILON, hermitian=True)
        B = np.repeat(inverse, counts, axis=0) @ ZtX[columns]
        return cls(columns, slots, A, inverse, starts, B)

    @property
    def counts(self) -> Vector:
        """Components in each class, (d,)."""
        return np.diff(self.starts).astype(float)

    @property
    def size(self) -> int:
        """Numbers in W per response."""
        _, K, p = self.B.shape
        return int(len(self.A) * (K * (p + 1)) ** 2)

    def regressed(self, Zy: Matrix) -> Matrix:
        """Least-squares coefficients (c, K, r) on Z_i of responses with Z'y (q, r)."""
        own = Zy[self.columns]
        B = np.empty_like(own)
        for inverse, start, end in zip(self.inverse, self.starts, self.starts[1:], strict=False):
            B[start:end] = inverse @ own[start:end]
        return B

    def sums(self, b: Matrix) -> Matrix:
        """W of (3) for responses with coefficients (c, K, r): (r, d, K t, K t)."""
        c, K, p = self.B.shape
        B = np.empty((b.shape[2], c, K, p + 1))
        B[..., :-1] = self.B
        B[..., -1] = b.transpose(2, 0, 1)
        flat = B.reshape(len(B), c, K * (p + 1))
        W = np.empty((len(B), len(self.A), flat.shape[2], flat.shape[2]))
        for j, (start, end) in enumerate(pairwise(self.starts)):
            part = flat[:, start:end]
            W[:, j] = part.transpose(0, 2, 1) @ part
        return W


def component_columns(
    codes: Sequence[IntVector], n_levels: Sequence[int], sizes: Sequence[int]
) -> Iterator[tuple[IntVector, tuple[IntVector, ...]]]:
    """Columns of Z by component, components with equal numbers of levels together.

    Parameters
    ----------
    codes : sequence of (n,) int arrays
        Level of each row, per term.
    n_levels, sizes : sequence of int
        Levels and columns of each term.

    Yields
    ------
    columns : (c, K) int array
        Columns of Z of each component.
    slots : tuple of (l_i, k_i) int arrays
        Places of each term's levels among the K.
    """
    labels = _components(codes, n_levels)
    n_components = 1 + max(int(label.max()) for label in labels)
    counts = np.stack([np.bincount(label, minlength=n_components) for label in labels], axis=1)
    widths = [n * k for n, k in zip(n_levels, sizes, strict=True)]
    offsets = np.cumsum([0, *widths])
    for signature in np.unique(counts, axis=0):
        members = (counts == signature).all(axis=1)
        columns, slots, start = [], [], 0
        for label, k, offset, number in zip(labels, sizes, offsets, signature, strict=False):
            levels = np.argsort(label, kind="stable")
            levels = levels[members[label[levels]]].reshape(members.sum(), number)
            wide = offset + levels[:, :, None] * k + np.arange(k)
            columns.append(wide.reshape(len(levels), number * k))
            slots.append(start + np.arange(number * k).reshape(number, k))
            start += number * k
        yield np.hstack(columns), tuple(slots)


def _components(codes: Sequence[IntVector], n_levels: Sequence[int]) -> list[IntVector]:
    """Component of each level, per term."""
    from scipy.sparse.csgraph import connected_components

    offsets = np.cumsum([0, *n_levels])
    first = np.tile(codes[0], len(codes))
    other = np.concatenate([c + offset for c, offset in zip(codes, offsets, strict=False)])
    shape = (int(offsets[-1]), int(offsets[-1]))
    links = sparse.coo_array((np.ones(len(first)), (first, other)), shape=shape)
    _, label = connected_components(links.tocsr(), directed=False)
    return [label[start:end] for start, end in pairwise(offsets)]


def weighted(stratum: Stratum, factors: Sequence[Matrix]) -> tuple[Matrix, Vector]:
    """F = Z_i'V^-1 Z_i (r, d, K, K), and log|lambda'A lambda + I| (r, d)."""
    r, (d, K, _) = len(factors[0]), stratum.A.shape
    lam = np.zeros((r, 1, K, K))
    for slots, factor in zip(stratum.slots, factors, strict=True):
        lam[:, 0, slots[:, :, None], slots[:, None, :]] = factor[:, None]
    lamt = lam.transpose(0, 1, 3, 2)
    omega = (lamt @ stratum.A @ lam).reshape(r * d, K, K)
    diagonal = np.arange(K)
    omega[:, diagonal, diagonal] += 1.0
    inverse, logdet = invert(np.ascontiguousarray(omega.transpose(1, 2, 0)))
    H = lam @ inverse.transpose(2, 0, 1).reshape(r, d, K, K) @ lamt
    # (Gamma + 1) N = H + N keeps the digits that N = 1 - A H loses when Gamma is large.
    identity = np.eye(K)
    N = np.linalg.solve(lam @ lamt + identity, identity + H - stratum.A @ H)
    return N @ stratum.A, logdet.reshape(r, d)
