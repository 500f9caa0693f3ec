"""From sums over rows in a pilot's coordinates to the standardized problem: see `lmm.pls.sums`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, combinations, pairwise
from typing import cast

import numpy as np
from scipy.linalg import block_diag

from lmm import _lapack
from lmm._types import IntVector, Matrix, Vector, cached_property
from lmm.design.absent import Unread
from lmm.design.fixed import independent_columns
from lmm.design.matrices import ModelMatrices
from lmm.pls.groups import Group
from lmm.pls.problem import MANY_ROWS, Problem, ProblemLayout, exact_fit, standardize_rows
from lmm.pls.products import KnownProducts, Pairs
from lmm.pls.sums import Numbered, Part, Pilot, Sums, add, triangle

# Condition of the summed columns, and share of the response that the pilot left to its regression,
# from which the rows are to be summed once more.
FAR = 1e6
EPSILON = float(np.finfo(float).eps)
# Rounding errors of a row, which its products with the pilot's coefficients leave.
ROUNDING = 8.0 * EPSILON


@dataclass(frozen=True, eq=False)
class Fixed:
    """What sums say of the fixed effects and the response.

    Attributes
    ----------
    sums : Sums
        Sums over all rows.
    """

    sums: Sums

    @cached_property
    def kept(self) -> IntVector:
        """Columns of X that do not depend on those before them."""
        # as many rows as columns, with the cross-products of all rows
        return independent_columns(_root(self.sums.base[:-1, :-1]) @ self.sums.pilot.T)

    @cached_property
    def turn(self) -> Matrix:
        """T1 of (1), (p, p) upper triangular, for the columns that are kept."""
        gram = self.sums.base[np.ix_(self.kept, self.kept)]
        return _lapack.cholesky(gram).T

    @cached_property
    def T(self) -> Matrix:
        """Upper triangular (p, p): X = X** T."""
        return np.asarray(self.turn @ self.sums.pilot.T[np.ix_(self.kept, self.kept)])

    @cached_property
    def projected(self) -> Vector:
        """Coefficients (p,) of y* on X**."""
        return np.asarray(self._inverse.T @ self.sums.base[self.kept, -1])

    @cached_property
    def _inverse(self) -> Matrix:
        """T1^-1, (p, p)."""
        return _lapack.invert_lower(np.ascontiguousarray(self.turn.T)).T

    @cached_property
    def left(self) -> float:
        """Sum of squares of y* that X leaves.

        Raises
        ------
        NumericalError
            It is none.
        """
        total = float(self.sums.base[-1, -1])
        left = total - float(self.projected @ self.projected)
        if not left > self.sums.n * EPSILON * total or self._is_rounding(left):
            raise exact_fit()
        return left

    def _is_rounding(self, left: float) -> bool:
        """Whether the sum of squares that is left is that of the response's rounding errors."""
        pilot = self.sums.pilot
        whole = np.append(pilot.beta, pilot.scale)
        squares = float(whole @ self.sums.base @ whole)  # y = X* beta + scale y*
        return not math.sqrt(left) * pilot.scale > ROUNDING * math.sqrt(squares)

    @property
    def size(self) -> float:
        """Standard deviation of what is left, in the pilot's units."""
        return math.sqrt(self.left / max(self.sums.n - len(self.kept), 1))

    @property
    def scale(self) -> float:
        """The same in units of the response."""
        return self.size * self.sums.pilot.scale

    @property
    def beta(self) -> Vector:
        """Least-squares coefficients (p,) of X."""
        pilot = self.sums.pilot
        T0 = pilot.T[np.ix_(self.kept, self.kept)]
        first = _lapack.solve_upper(T0, pilot.beta[self.kept])
        return first + pilot.scale * _lapack.solve_upper(self.T, self.projected)

    def changed(self, couplings: Matrix) -> Matrix:
        """Couplings (t, k, l) of [X* y*] as those of [X** y**]."""
        p = len(self.kept)
        chosen = couplings[[*self.kept, -1]]
        basis = np.zeros((p + 1, p + 1))
        basis[:p, :p] = self._inverse
        basis[:p, -1] = -self._inverse @ self.projected / self.size
        basis[-1, -1] = 1.0 / self.size
        return np.asarray(np.einsum("ts,tkl->skl", basis, chosen))

    @property
    def base(self) -> Matrix:
        """[X** y**]'[X** y**], (t, t)."""
        base = np.eye(len(self.kept) + 1)
        base[-1, -1] = self.left / self.size**2
        return base

    def pilot(self, R: tuple[Matrix, ...]) -> Pilot:
        """Coordinates that suit all rows, with those of the random effects."""
        old = self.sums.pilot
        T, beta = old.T.copy(), np.zeros(len(old.T))
        T[np.ix_(self.kept, self.kept)] = self.T / math.sqrt(self.sums.n)
        beta[self.kept] = T[np.ix_(self.kept, self.kept)] @ self.beta
        return Pilot(T, R, beta, self.scale)


def is_far(sums: Sums) -> bool:
    """Whether the pilot's coordinates were so far from the right ones that digits were lost."""
    fixed = Fixed(sums)
    grams = [sums.base[np.ix_(fixed.kept, fixed.kept)], *(A.sum(axis=2) for A in sums.grams)]
    if any(_condition(gram) > FAR for gram in grams):
        return True
    return bool(sums.base[-1, -1] > FAR * fixed.left)


def _condition(gram: Matrix) -> float:
    """Condition of a matrix of cross-products, whatever the units; of its regular part."""
    if not gram.size:
        return 1.0
    lengths = np.sqrt(gram.diagonal())
    scale = np.where(lengths > 0.0, lengths, 1.0)
    values = _lapack.eigh(gram / np.outer(scale, scale))[0]
    values = values[values > len(gram) * EPSILON * values[-1]]
    spread = (lengths.max() / lengths[lengths > 0.0].min(initial=np.inf)) ** 2
    return float(max(values[-1] / values[0], spread)) if len(values) else 1.0


def better(sums: Sums, group_of: Sequence[int]) -> Pilot:
    """Coordinates that suit all rows, to sum them once more."""
    parts = _parts(sums, group_of)
    R = tuple(
        triangle(_pseudo_rows(sums, g, part, i))[0] * math.sqrt(len(sums.pilot.R[i]) / sums.n)
        for i, (g, part) in enumerate(zip(group_of, parts, strict=True))
    )
    return Fixed(sums).pilot(R)


@dataclass(frozen=True, eq=False)
class _Turned:
    """A group of the problem: the sums' group, its columns in their final order and basis.

    Attributes
    ----------
    number : int
        Group of the sums.
    columns : (k,) int array
        Its columns, in the order of the problem's terms.
    M : (k, k) array
        Change of basis, Z** = Z* M.
    place : (l,) int array
        Place of each level in the order of the problem's.
    """

    number: int
    columns: IntVector
    M: Matrix
    place: IntVector

    def gram(self, sums: Sums) -> Matrix:
        """Z'Z per level, (k, k, l)."""
        chosen = sums.grams[self.number][np.ix_(self.columns, self.columns)]
        return self._placed(np.einsum("ba,bcm,cd->adm", self.M, chosen, self.M, optimize=True))

    def coupling(self, fixed: Fixed) -> Matrix:
        """[X y]'Z per level, (t, k, l)."""
        chosen = fixed.changed(fixed.sums.couplings[self.number])[:, self.columns]
        return self._placed(np.einsum("tbl,ba->tal", chosen, self.M))

    @cached_property
    def is_sorted(self) -> bool:
        """Whether the levels are in order already."""
        return bool((np.diff(self.place) > 0).all())

    def _placed(self, blocks: Matrix) -> Matrix:
        if self.is_sorted:
            return blocks
        out = np.empty_like(blocks)
        out[..., self.place] = blocks
        return out


def _pairs(sums: Sums, turned: Sequence[_Turned], g: int, h: int) -> Pairs:
    """Pairs of two groups of the problem."""
    one, two = turned[g], turned[h]
    if one.number < two.number:
        found = sums.pairs[one.number, two.number]
        i, j, A = found.i, found.j, found.A
    else:
        found = sums.pairs[two.number, one.number]
        i, j, A = found.j, found.i, found.A.transpose(1, 0, 2)
    chosen = A[np.ix_(one.columns, two.columns)]
    A = np.einsum("ba,bcm,cd->adm", one.M, chosen, two.M, optimize=True)
    i, j = one.place[i], two.place[j]
    if one.number < two.number and one.is_sorted and two.is_sorted:
        return Pairs(g, h, i, j, A)
    order = np.argsort(i * np.int64(len(two.place)) + j)
    return Pairs(g, h, i[order], j[order], A[:, :, order])


def standardize(matrices: ModelMatrices) -> Problem:
    """Standardize a model's matrices (see `lmm.pls.problem`): many rows batch by batch.

    Copies of all rows would take more memory than the model.
    """
    if matrices.n <= MANY_ROWS:
        return standardize_rows(matrices)
    groups = list(dict.fromkeys(term.group for term in matrices.terms))
    group_of = tuple(groups.index(term.group) for term in matrices.terms)
    sums = _summed(matrices, group_of, None)
    if len(Fixed(sums).kept) < matrices.p:
        return standardize_rows(matrices)
    if is_far(sums):
        sums = _summed(matrices, group_of, better(sums, group_of))
    return problem_of(sums, group_of, matrices, range(len(matrices.terms)))


def _summed(matrices: ModelMatrices, group_of: tuple[int, ...], pilot: Pilot | None) -> Sums:
    parts = _parts_of(matrices, group_of)
    pilot = pilot or Pilot.of(next(_parts_of(matrices, group_of)))
    return add(Sums.of(part, pilot) for part in parts)


def _parts_of(matrices: ModelMatrices, group_of: tuple[int, ...]) -> Iterator[Part]:
    """The rows of a model, some at a time; every part has all levels."""
    first = [group_of.index(g) for g in range(max(group_of) + 1)]
    factors = [matrices.terms[i] for i in first]
    keys = tuple(Numbered(factor.n_levels) for factor in factors)
    # Sums by level cost as much as the levels, however few the rows.
    size = max(MANY_ROWS, 2 * max(map(len, keys)))
    for start in range(0, matrices.n, size):
        rows = slice(start, start + size)
        yield Part(
            matrices.X[rows],
            tuple(term.Z[rows] for term in matrices.terms),
            group_of,
            tuple(factor.codes[rows] for factor in factors),
            keys,
            matrices.response.within(rows),
        )


def problem_of(
    sums: Sums, group_of: Sequence[int], matrices: ModelMatrices, order: Sequence[int]
) -> Problem:
    """The standardized problem of summed rows.

    Parameters
    ----------
    sums : Sums
        Sums over all rows.
    group_of : sequence of int
        Number of each term's grouping factor, in the order of the pilot's terms.
    matrices : ModelMatrices
        The model; its terms have their levels in order.
    order : sequence of int
        Number of each of its terms among the pilot's.
    """
    fixed, parts = Fixed(sums), _parts(sums, group_of)
    whitening = tuple(
        term.covariance.whitening(_pseudo_rows(sums, group_of[i], parts[i], i), term.n_levels)
        for i, term in zip(order, matrices.terms, strict=True)
    )
    turned, groups = [], []
    for g in dict.fromkeys(group_of[i] for i in order):
        members = [j for j, i in enumerate(order) if group_of[i] == g]
        columns = [range(parts[order[j]].start, parts[order[j]].stop) for j in members]
        M = [_lapack.divide_upper(sums.pilot.R[order[j]], whitening[j]) for j in members]
        place = np.argsort(sums.keys[g].order())
        turned.append(_Turned(g, np.concatenate(columns), block_diag(*M), place))
        groups.append(_group(matrices, members))
    pairs = {(g, h): _pairs(sums, turned, g, h) for g, h in combinations(range(len(turned)), 2)}
    products = KnownProducts(
        tuple(groups),
        tuple(group.gram(sums) for group in turned),
        tuple(group.coupling(fixed) for group in turned),
        pairs,
        sums.log_weights,
    )
    layout = ProblemLayout(matrices.design, fixed.T, whitening)
    return Problem(matrices, layout, products, fixed.base, fixed.beta, fixed.scale)


def _parts(sums: Sums, group_of: Sequence[int]) -> list[slice]:
    """Columns of each term in its group."""
    ends = [0] * len(sums.keys)
    parts = []
    for g, R in zip(group_of, sums.pilot.R, strict=True):
        parts.append(slice(ends[g], ends[g] + len(R)))
        ends[g] += len(R)
    return parts


def _pseudo_rows(sums: Sums, g: int, part: slice, i: int) -> Matrix:
    """As many rows as columns (k, k), with the cross-products of all rows of a term's Z."""
    return _root(sums.grams[g][part, part].sum(axis=2)) @ sums.pilot.R[i]


def _root(gram: Matrix) -> Matrix:
    """A with A'A a positive-semidefinite matrix."""
    values, vectors = _lapack.eigh(gram)
    return np.asarray(np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T)


def _group(matrices: ModelMatrices, members: Sequence[int]) -> Group:
    """A group without columns by row, of some of the model's terms."""
    terms = [matrices.terms[j] for j in members]
    stops = list(accumulate((term.size for term in terms), initial=0))
    spans = tuple((j, slice(*span)) for j, span in zip(members, pairwise(stops), strict=True))
    Z = cast(Matrix, Unread((matrices.n, stops[-1])))
    return Group(terms[0].group, terms[0].codes, terms[0].n_levels, Z, spans)
