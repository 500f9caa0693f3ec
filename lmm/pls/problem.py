"""The standardized problem: rows weighted, X orthonormal, y a residual, Z whitened term by term.

Every solver works on it, so that no result depends on the unit or the origin of the data
(docs/theory/pls.md, pls-standardized and pls-back):

* ``X = Q T`` by a QR decomposition of the weighted X, and ``y = X beta0 + scale * y*`` where beta0
  is the ordinary least-squares fit: y* and Q carry no large common part that could cancel.
* ``Z_i = Z*_i R_i`` with R_i upper triangular (diagonal for independent columns), scaled so that
  the mean over levels of ``Z*'Z*`` is the identity. ``lambda* = R_i lambda_i``: a random effect
  with ``lambda* = 1`` is as large as the noise of its level's own mean.

T and R_i, with the codes of levels, are the `ProblemLayout`. It is made once: other weights and
responses on the same rows (`Problem.reweighted`) keep it, and with it all coordinates.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations
from typing import cast

import numpy as np

from lmm import _lapack
from lmm._brief import Brief
from lmm._types import IntVector, Matrix, Vector, cached_property
from lmm.design.absent import Unread
from lmm.design.fixed import FixedEffects
from lmm.design.matrices import Design, ModelMatrices, ReTerm
from lmm.design.response import Response
from lmm.errors import NumericalError
from lmm.pls.groups import Group, LevelPairs
from lmm.pls.levels import Levels, chunks
from lmm.pls.products import KnownProducts, Products, RowProducts

# A fixed-effects column of which no more than this is left beside those before it has no digits.
INDISTINGUISHABLE = 1e-13
# Rows up to which a model's are standardized all at once.
MANY_ROWS = 1 << 17
EPSILON = float(np.finfo(float).eps)


@dataclass(frozen=True, eq=False, repr=False)
class ProblemLayout(Brief):
    """What of a problem depends on neither weights nor response, in any metric.

    Attributes
    ----------
    design : Design
        Where it comes from.
    T : (p, p) array
        Upper triangular: X = X* T.
    whitening : tuple of (k_i, k_i) arrays
        R_i per term: Z_i = Z*_i R_i.
    """

    design: Design
    T: Matrix
    whitening: tuple[Matrix, ...]

    @cached_property
    def X(self) -> Matrix:
        """X* (n, p), not weighted."""
        return _lapack.divide_upper(self.design.X, self.T) if self.T.size else self.design.X

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """Groups with their columns Z*, not weighted."""
        return self.groups_of(slice(None))

    def groups_of(self, rows: slice) -> tuple[Group, ...]:
        """The groups of some rows, not weighted."""
        terms = self.design.terms
        each = zip(terms, self.whitening, strict=True)
        return _merge(terms, [_divide(term.Z[rows], R) for term, R in each], rows)

    @cached_property
    def cells(self) -> dict[tuple[int, int], LevelPairs]:
        """Pairs of levels of every two groups (g, h)."""
        each = permutations(enumerate(self.groups), 2)
        return {(g, h): LevelPairs(left, right) for (g, left), (h, right) in each}


@dataclass(frozen=True, eq=False, repr=False)
class Problem(Brief):
    """Standardized least-squares problem.

    Attributes
    ----------
    matrices : ModelMatrices
        Where it comes from.
    layout : ProblemLayout
        What does not depend on weights and response.
    products : Products
        Cross-products of its rows: the weighted columns X*, orthonormal in the weights that the
        layout was made with; the standardized response, a weighted least-squares residual over
        `scale`; the weighted random effects by grouping factor, in order of first appearance.
    base : (p + 1, p + 1) array
        [X y]'[X y].
    beta0 : (p,) array
        Least-squares coefficients of the original response.
    scale : float
        Size of the residual.
    is_reweighted : bool
        Whether its weights are others than those of the layout.
    """

    matrices: ModelMatrices
    layout: ProblemLayout
    products: Products
    base: Matrix
    beta0: Vector
    scale: float
    is_reweighted: bool = False

    @property
    def groups(self) -> tuple[Group, ...]:
        """Random effects, merged by grouping factor."""
        return self.products.groups

    @cached_property
    def rows(self) -> RowProducts:
        """The products with the rows that they are of, made anew where batches were summed.

        Raises
        ------
        DataError
            The rows were read from a source, and are gone.
        """
        if isinstance(self.products, RowProducts):
            return self.products
        return self._rows_of(self.layout.groups, slice(None))

    def parts(self) -> Iterator[RowProducts]:
        """All rows, some at a time."""
        if isinstance(self.products, RowProducts):
            yield self.products
            return
        for start in range(0, self.n, MANY_ROWS):
            rows = slice(start, start + MANY_ROWS)
            yield self._rows_of(self.layout.groups_of(rows), rows)

    def _rows_of(self, groups: tuple[Group, ...], rows: slice) -> RowProducts:
        response, T = self.matrices.response.within(rows), self.layout.T
        X = self.matrices.X[rows]
        X = response.weighted(_lapack.divide_upper(X, T) if T.size else X)
        y = response.standardized(response.y) - X @ (T @ self.beta0)
        weighted = tuple(group.weighted(response.root) for group in groups)
        return RowProducts(X, y / self.scale, weighted)

    @property
    def has_rows(self) -> bool:
        """Whether the model's rows are in memory."""
        return isinstance(self.products, RowProducts) or not isinstance(self.matrices.X, Unread)

    @property
    def X(self) -> Matrix:
        """Weighted columns X*, (n, p)."""
        return self.rows.X

    @property
    def y(self) -> Vector:
        """Standardized response, (n,)."""
        return self.rows.y

    def cells(self, g: int, h: int) -> LevelPairs:
        """Pairs of levels of two groups, and that of each row."""
        return self.rows.cells(g, h)

    @property
    def T(self) -> Matrix:
        """Upper triangular (p, p): X = X* T."""
        return self.layout.T

    @property
    def whitening(self) -> tuple[Matrix, ...]:
        """R_i (k_i, k_i) per term."""
        return self.layout.whitening

    @property
    def n(self) -> int:
        """Number of observations."""
        return self.matrices.n

    @property
    def p(self) -> int:
        """Number of fixed effects."""
        return len(self.base) - 1

    @property
    def squares(self) -> float:
        """Sum of squares of the standardized response."""
        return float(self.base[-1, -1])

    @cached_property
    def levels(self) -> tuple[Levels, ...]:
        """Roots of the cross-products of a single grouping factor, in pieces that fit the cache."""
        (A,), (C,) = self.products.grams, self.products.couplings
        return tuple(chunks(A, C, collapse=not self.is_reweighted))

    @cached_property
    def within(self) -> Matrix:
        """The part (t, t) of [X y]'[X y] that a single factor leaves, as a difference."""
        return self.base - sum(own.quadratic(own.S) for own in self.levels)

    @property
    def by_size(self) -> list[int]:
        """Numbers of the groups, those with most random effects first."""
        return sorted(range(len(self.groups)), key=lambda g: -self.groups[g].q)

    @property
    def tail_size(self) -> int:
        """Random effects of all groups but the largest."""
        sizes = [group.q for group in self.groups]
        return sum(sizes) - max(sizes)

    @property
    def term_columns(self) -> tuple[Matrix, ...]:
        """Standardized columns of each term, (n, k_i)."""
        columns: dict[int, Matrix] = {}
        for group in self.rows.groups:
            columns.update({i: group.Z[:, part] for i, part in group.members})
        return tuple(columns[i] for i in range(len(columns)))

    @cached_property
    def places(self) -> tuple[IntVector, ...]:
        """Per group, where its random effects stand in the layout of `dense_Z`, (l, k) each."""
        terms, starts = self.matrices.terms, np.cumsum([0, *(t.q for t in self.matrices.terms)])
        places = []
        for group in self.groups:
            own = np.empty((group.n_levels, group.size), dtype=np.intp)
            for i, part in group.members:
                index = np.arange(starts[i], starts[i] + terms[i].q)
                own[:, part] = index.reshape(group.n_levels, terms[i].size)
            places.append(own)
        return tuple(places)

    def dense_Z(self) -> Matrix:
        """Dense (n, q) random-effects columns: term by term, level by level, columns within."""
        blocks = []
        for term, Z in zip(self.matrices.terms, self.term_columns, strict=True):
            block = np.zeros((self.n, term.n_levels, term.size))
            block[np.arange(self.n), term.codes] = Z
            blocks.append(block.reshape(self.n, term.q))
        return np.hstack(blocks)

    def beta(self, standardized: Vector) -> Vector:
        """Fixed effects (p,) of the data, from those of the orthonormal X."""
        return np.asarray(self.beta0 + self.scale * _lapack.solve_upper(self.T, standardized))

    def effects(self, whitened: tuple[Matrix, ...]) -> tuple[Matrix, ...]:
        """Random effects (l_i, k_i) of the data, from those of the whitened Z."""
        return tuple(
            self.scale * _lapack.solve_upper(R, effect.T).T
            for R, effect in zip(self.whitening, whitened, strict=True)
        )

    def fixed_root(self, root: Matrix) -> Matrix:
        """Square root (p, p) of ``(X'V^-1 X)^-1`` of the data, from RX^-1 of the orthonormal X."""
        return _lapack.solve_upper(self.T, root)

    @cached_property
    def logdet_T(self) -> float:
        """``log|T|^2``: what standardizing took out of ``log|X'V^-1 X|``."""
        return 2.0 * float(np.log(np.abs(self.T.diagonal())).sum())

    @cached_property
    def sum_log_weights(self) -> float:
        """Sum of the log prior weights."""
        if isinstance(self.products, KnownProducts):
            return self.products.log_weights
        response = self.matrices.response
        return float(np.log(response.weights).sum()) if response.is_weighted else 0.0

    def with_response(self, y: Vector) -> Problem:
        """The same design with another response (n,), offset not subtracted."""
        if self.is_reweighted:
            return self.reweighted(self.matrices.weights, y)
        matrices = self.matrices.with_response(y)
        y, beta0, scale = _standardize_response(matrices.response, self.X, self.T)
        return dataclasses.replace(
            self,
            matrices=matrices,
            products=self.rows.with_response(y),
            base=_base(len(self.T), y),
            beta0=beta0,
            scale=scale,
        )

    def fixing(self, j: int, value: float) -> Problem:
        """The problem without column j of X, whose coefficient is held at a value.

        Its columns are combinations of this one's [X y]: no row is read.
        """
        p = self.p
        Q, R = np.linalg.qr(np.delete(self.T, j, axis=1))
        # what is held fixed leaves of X beta0, in terms of the orthonormal columns
        target = self.T @ self.beta0 - value * self.T[:, j]
        coefficients = Q.T @ target
        rest = target - Q @ coefficients
        squares = self.squares * self.scale**2 + float(rest @ rest)
        scale = math.sqrt(squares / max(self.n - p + 1, 1))
        basis = np.zeros((p + 1, p))
        basis[:p, : p - 1] = Q
        basis[:p, -1], basis[p, -1] = rest / scale, self.scale / scale
        design = dataclasses.replace(self.layout.design, X=cast(Matrix, Unread((self.n, p - 1))))
        return Problem(
            ModelMatrices(design, self.matrices.response),
            dataclasses.replace(self.layout, design=design, T=R),
            self.products.mixed(basis),
            basis.T @ self.base @ basis,
            _lapack.solve_upper(R, coefficients),
            scale,
        )

    def reweighted(self, weights: Vector, y: Vector | None = None) -> Problem:
        """The same rows with other weights and another response: what a step of PIRLS needs.

        All coordinates stay: T, the whitening and the offset are those of the layout.

        Parameters
        ----------
        weights : (n,) array
            Weights, prior ones included; none negative.
        y : (n,) array, optional
            Response, offset not subtracted. Without one, the random effects stand alone: no fixed
            effects either, and nothing but `logdet` and what does not concern them can be asked.
        """
        layout, old = self.layout, self.matrices.response
        root = np.sqrt(weights)
        groups = tuple(group.weighted(root) for group in layout.groups)
        response = Response(old.y if y is None else y, weights, old.offset)
        matrices = ModelMatrices(layout.design, response)
        if y is None:
            alone = RowProducts(
                np.empty((len(weights), 0)), np.zeros(len(weights)), groups, layout.cells
            )
            return Problem(matrices, layout, alone, np.zeros((1, 1)), np.empty(0), 1.0, True)
        X = layout.X * root[:, None]
        target = response.standardized(y)
        projected = _least_squares(X, target)
        residual = target - X @ projected
        scale = math.sqrt(residual @ residual / max(len(y) - X.shape[1], 1)) or 1.0
        both = np.column_stack([X, residual / scale])
        beta0 = _lapack.solve_upper(self.T, projected)
        products = RowProducts(X, both[:, -1], groups, layout.cells)
        return Problem(matrices, layout, products, both.T @ both, beta0, scale, True)


def standardize_rows(matrices: ModelMatrices) -> Problem:
    """Standardize all rows of a model at once."""
    response = matrices.response
    Q, T = _lapack.qr(response.weighted(matrices.X))
    _check_rank(T, matrices.fixed)
    y, beta0, scale = _standardize_response(response, Q, T)
    whitened, whitening = [], []
    for term in matrices.terms:
        Z = response.weighted(term.Z)
        R = term.covariance.whitening(Z, term.n_levels)
        whitened.append(_divide(Z, R))
        whitening.append(R)
    layout = ProblemLayout(matrices.design, T, tuple(whitening))
    groups = _merge(matrices.terms, whitened)
    base = _base(len(T), y)
    return Problem(matrices, layout, RowProducts(Q, y, groups), base, beta0, scale)


def _base(p: int, y: Vector) -> Matrix:
    """[X y]'[X y] for an orthonormal X (n, p) and y (n,) orthogonal to it."""
    base = np.eye(p + 1)
    base[-1, -1] = y @ y
    return base


def _least_squares(X: Matrix, y: Vector) -> Vector:
    """Coefficients (p,) of y (n,) on columns X (n, p) that are not far from orthonormal."""
    gram = X.T @ X
    coefficients = _lapack.solve_positive(gram, X.T @ y) if X.size else np.empty(0)
    # Once more: the first pass leaves rounding errors of the size of what it projects.
    again = X.T @ (y - X @ coefficients)
    return coefficients + (_lapack.solve_positive(gram, again) if X.size else again)


def _check_rank(T: Matrix, fixed: FixedEffects) -> None:
    """Refuse columns that nothing is left of beside those before them."""
    explained = _lapack.dependent(T, INDISTINGUISHABLE)
    if explained.any():
        listed = ", ".join(fixed.names[j] for j in np.flatnonzero(explained)[:12])
        raise NumericalError(
            f"The fixed effects {listed} are combinations of the others: no data determine their "
            'coefficients. Leave them out, or leave LmerControl(check_rankX="message+drop.cols").'
        )


def _standardize_response(response: Response, Q: Matrix, T: Matrix) -> tuple[Vector, Vector, float]:
    target = response.standardized(response.y)
    # Project twice: after the first pass rounding leaves a part of X in the residual.
    coefficients = Q.T @ target
    residual = target - Q @ coefficients
    correction = Q.T @ residual
    residual -= Q @ correction
    beta0 = _lapack.solve_upper(T, coefficients + correction)
    scale = math.sqrt(residual @ residual)
    floor = EPSILON * math.sqrt(target @ target)
    if not scale > floor:
        raise exact_fit()
    scale /= math.sqrt(max(len(target) - len(T), 1))
    return residual / scale, beta0, scale


def exact_fit() -> NumericalError:
    """What is said where the fixed effects leave nothing of the response."""
    return NumericalError(
        "The fixed effects fit the response exactly: no variation is left for random effects "
        "or residuals. Check the response, or drop fixed effects."
    )


def _divide(Z: Matrix, R: Matrix) -> Matrix:
    """Z R^-1, (n, k)."""
    if R.shape == (1, 1):
        scaled: Matrix = Z / R[0, 0]
        return scaled
    return _lapack.divide_upper(Z, R)


def _merge(
    terms: tuple[ReTerm, ...], whitened: list[Matrix], rows: slice = slice(None)
) -> tuple[Group, ...]:
    names = list(dict.fromkeys(term.group for term in terms))
    groups = []
    for name in names:
        members, columns, start = [], [], 0
        for i, term in enumerate(terms):
            if term.group == name:
                members.append((i, slice(start, start + term.size)))
                columns.append(whitened[i])
                start += term.size
                first = term
        Z = columns[0] if len(columns) == 1 else np.hstack(columns)
        groups.append(Group(name, first.codes[rows], first.n_levels, Z, tuple(members)))
    return tuple(groups)
