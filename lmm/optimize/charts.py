"""Local coordinates of covariances, and the quadratic model of a criterion in them.

See docs/theory/optimizer.md, optimizer-scoring to optimizer-kkt.

The covariance ``Gamma = V D V'`` of a term (over sigma^2, whitened) moves by a symmetric S in the
frame of its eigenvectors: ``Gamma(S) = V (1 + S) D (1 + S) V'`` (optimizer-path). These are
geodesics of the Bures-Wasserstein metric (Bhatia, Jain & Lim 2019, Expo. Math. 37, 165-191):
standard deviations change linearly, eigenvectors may turn freely even where an eigenvalue is zero,
and no triangular factor distinguishes one column from another. On the boundary, where D has zeros,
S only reaches covariances of the same rank. So variances along null vectors w with a negative slope
``w'G w`` are added as coordinates: the boundary is left as soon as that pays.

Steps are straight in the covariances themselves, of which sigma^2 is one. A step d in Gamma changes
log(sigma^2) by ``-t'd/nu``, with t the derivative of the log determinants, and is stretched to
``d / (1 - t'd/nu)``. For balanced data the estimating equations are linear in the covariances, and
one scoring step solves them. Plain coordinates move as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lmm._lapack import eigh, einsum, lower_triangular, svd
from lmm._types import Matrix, Vector, cached_property
from lmm.covariance import Correlated, Covariance, Unstructured
from lmm.criterion import Criterion, Evaluation
from lmm.optimize.steps import promised, solved

# Singular values, and diagonal entries, of lambda below this fraction of the largest are rounding
# errors of zeros.
NEGLIGIBLE = 1e-13
# A step leaves this share of every variance, sigma^2 included, unless it is to end on the boundary.
KEPT = 0.05
# ... of those above this, in units of the noise of a level's mean, the share of this.
FAR = 100.0
# Directions are left out in which the metric, scaled to a unit diagonal, is a rounding error.
UNDETERMINED = 1e-12
# Standard deviations beyond which a criterion must fall that first rises from zero.
HUMP = 1e-3
# Information (of a variance, or of its relative change if that is larger) that is rounding error.
UNIDENTIFIED = 1e-16


Along = Callable[[Vector], tuple[Vector, Vector]]


class Chart(Protocol):
    """Local coordinates of one term's covariance, or of what is no covariance."""

    @property
    def is_relative(self) -> bool:
        """Whether the coordinates are relative changes, of which 1 is a large one."""

    @property
    def jacobian(self) -> Matrix:
        """Derivative (e_i, c) of Gamma by the coordinates, as combinations of its units."""

    @property
    def bend(self) -> Matrix:
        """What the curvature of Gamma in the coordinates adds to the Hessian, (c, c)."""

    def score(self, step: Vector) -> tuple[Vector, Vector]:
        """Entries of lambda (m_i,) after a step (c,) straight in Gamma, and the step as taken.

        Every direction keeps at least `KEPT` of its variance, or of `FAR`.
        """

    def follow(self, step: Vector) -> tuple[Vector, Vector]:
        """Entries of lambda (m_i,) after a step (c,) along Gamma(S), and the step as taken.

        It ends on the boundary where the tangent would make a variance negative.
        """


class Variances:
    """Independent columns: S is diagonal; variances that are zero have coordinates if they grow."""

    is_relative = True

    def __init__(self, x: Vector, G: Matrix):
        slopes = G.diagonal()
        self.x, self.is_zero = x, x == 0.0
        self.free = ~self.is_zero | (slopes < 0.0)
        unit = np.where(self.is_zero, 1.0, 2.0 * x * x)
        self.jacobian = np.diag(unit)[:, self.free]
        self.bend = np.diag((2.0 * slopes * x * x)[self.free])

    def _expand(self, step: Vector) -> tuple[Vector, Vector]:
        """S of the columns in use, and new variances of the others, (m_i,) each."""
        full = np.zeros(len(self.x))
        full[self.free] = step
        return np.where(self.is_zero, 0.0, full), np.where(self.is_zero, np.maximum(full, 0.0), 0.0)

    def score(self, step: Vector) -> tuple[Vector, Vector]:
        """See `Chart`."""
        S, new = self._expand(step)
        S = np.maximum(S, 0.5 * (_kept(self.x * self.x) - 1.0))
        return self.x * np.sqrt(1.0 + 2.0 * S) + np.sqrt(new), (S + new)[self.free]

    def follow(self, step: Vector) -> tuple[Vector, Vector]:
        """See `Chart`."""
        S, new = self._expand(step)
        landed = S <= -0.5
        S = np.maximum(S, -0.5)
        x = np.where(landed, 0.0, self.x * (1.0 + S))
        return x + np.sqrt(new), (S + new)[self.free]


class Full:
    """A full covariance: S has no entries between null directions."""

    is_relative = True

    def __init__(self, covariance: Unstructured, factor: Matrix, G: Matrix):
        rows, columns = covariance.positions
        self.covariance = covariance
        self.V, values, _ = svd(factor)
        rank = int((values > NEGLIGIBLE * values[0]).sum())
        values[rank:] = 0.0
        self.values, self.is_regular = values, rank == len(values)
        self.off = _descending(self.V[:, rank:], G)
        inside = columns < rank
        self.i, self.j = rows[inside], columns[inside]
        units = covariance.symmetric_units[inside]
        variances = values**2
        tangents = self.V @ (units * (variances + variances[:, None])) @ self.V.T
        self.jacobian = np.hstack(
            [tangents[:, rows, columns].T, self.off[rows] * self.off[columns]]
        )
        # tr(G V (S_a D S_b + S_b D S_a) V')
        half = units * values
        bend = (self.V.T @ G @ self.V @ half).reshape(-1, G.size) @ half.reshape(-1, G.size).T
        self.bend = np.zeros((self.jacobian.shape[1],) * 2)
        self.bend[: len(bend), : len(bend)] = bend + bend.T

    def _symmetric(self, entries: Vector) -> Matrix:
        S = np.zeros_like(self.V)
        S[self.i, self.j] = S[self.j, self.i] = entries
        return S

    def score(self, step: Vector) -> tuple[Vector, Vector]:
        """See `Chart`."""
        if not self.is_regular:
            return self.follow(step)
        # D + D S + S D, relative to the least that is left.
        variances = self.values**2
        least = np.sqrt(_kept(variances) * variances)
        outer, tangent = least * least[:, None], variances + variances[:, None]
        w, U = eigh((np.diag(variances) + tangent * self._symmetric(step)) / outer)
        w = np.maximum(w, 1.0)
        S = ((U * w) @ U.T * outer - np.diag(variances)) / tangent
        lam = self.V @ (least[:, None] * U * np.sqrt(w))
        return self.covariance.par(lower_triangular(lam)), S[self.i, self.j]

    def follow(self, step: Vector) -> tuple[Vector, Vector]:
        """See `Chart`."""
        n = len(self.i)
        S, variances = self._symmetric(step[:n]), np.maximum(step[n:], 0.0)
        own = np.diag(S)
        least = int(np.argmin(own))
        lands = bool(own[least] <= -0.5)
        if lands:
            S = S * (-0.5 / own[least])
        root = self.values * S + np.diag(self.values)
        if lands:
            root[:, least] = 0.0
        lam = lower_triangular(np.hstack([self.V @ root, self.off * np.sqrt(variances)]))
        diagonal = np.diag(lam)
        tiny = np.flatnonzero(diagonal <= NEGLIGIBLE * np.abs(lam).max())
        lam[tiny, tiny] = 0.0
        return self.covariance.par(lam), np.concatenate([S[self.i, self.j], variances])


class Bounded:
    """Standard deviations and a structured correlation: the parameters themselves, in bounds.

    Standard deviations change by a fraction of themselves, as in `Variances`; one that is zero
    has its own size as a coordinate, or its square where only that descends. What stands on a bound
    has a coordinate if the criterion descends from there.
    """

    is_relative = False

    def __init__(self, covariance: Correlated, x: Vector, G: Matrix, score: Vector):
        self.covariance, self.x = covariance, x
        J, H = covariance.jacobian(x), covariance.bend(x, G)
        slopes = score @ J
        is_sd = np.arange(len(x)) < covariance.n_sd
        self.is_zero = is_sd & (x == 0.0)
        # Across a hump no higher than rounding: a slope that counts keeps it at zero.
        hump = 2.0 * slopes <= HUMP * np.abs(np.diag(H))
        self.squared = self.is_zero & (slopes >= 0.0) & (np.diag(H) < 0.0) & hump
        inward = ((x > covariance.lower) | (slopes < 0.0)) & (
            (x < covariance.upper) | (slopes > 0.0)
        )
        units = covariance.units(x).reshape(len(J), -1)
        sizes = np.abs(units).max(axis=1)
        says = sizes @ np.abs(J) > 0.0
        self.free = (inward & says) | self.squared
        scale = np.where(is_sd & ~self.is_zero, x, 1.0)
        J = J * scale
        # Squares of standard deviations move Gamma along the first units.
        J = np.where(self.squared, np.eye(*J.shape), J)
        H = np.where(self.squared | self.squared[:, None], 0.0, H * scale * scale[:, None])
        self.jacobian = J[:, self.free]
        self.bend = H[self.free][:, self.free]
        self.scale = scale

    def score(self, step: Vector) -> tuple[Vector, Vector]:
        """See `Chart`."""
        return self.follow(step)

    def follow(self, step: Vector) -> tuple[Vector, Vector]:
        """See `Chart`."""
        full = np.zeros(len(self.x))
        full[self.free] = step
        squares = np.where(self.squared, np.maximum(full, 0.0), 0.0)
        moved = self.x + self.scale * np.where(self.squared, 0.0, full)
        # As in `Variances`: the variance would be negative along the tangent.
        landed = (np.arange(len(full)) < self.covariance.n_sd) & ~self.is_zero & (full <= -0.5)
        moved = np.where(landed, 0.0, moved)
        moved = np.clip(moved, self.covariance.lower, self.covariance.upper)
        taken = np.where(landed, -0.5, (moved - self.x) / self.scale)
        return moved + np.sqrt(squares), np.where(self.squared, squares, taken)[self.free]


def _kept(variances: Vector) -> Vector:
    """Shares of variances (k,) that a step leaves at least."""
    return KEPT * FAR / np.maximum(variances, FAR)


def _descending(null: Matrix, G: Matrix) -> Matrix:
    """Orthonormal null vectors (k, d) along which the criterion descends."""
    if not null.size:
        return null
    slopes, turn = eigh(null.T @ G @ null)
    return np.asarray((null @ turn)[:, slopes < 0.0])


class Plain:
    """Coordinates that are no covariances; those on a bound leave it if that pays."""

    is_relative = False

    def __init__(self, x: Vector, gradient: Vector, lower: Vector, upper: Vector):
        self.x, self.lower, self.upper = x, lower, upper
        self.free = ((x > lower) | (gradient < 0.0)) & ((x < upper) | (gradient > 0.0))
        self.jacobian = np.eye(len(x))[:, self.free]
        self.bend = np.zeros((self.jacobian.shape[1],) * 2)

    def score(self, step: Vector) -> tuple[Vector, Vector]:
        """See `Chart`."""
        return self.follow(step)

    def follow(self, step: Vector) -> tuple[Vector, Vector]:
        """See `Chart`."""
        x = self.x.copy()
        x[self.free] += step
        x = np.clip(x, self.lower, self.upper)
        return x, (x - self.x)[self.free]


def _chart(covariance: Covariance, x: Vector, G: Matrix, score: Vector) -> Chart:
    match covariance:
        case Correlated():
            return Bounded(covariance, x, G, score)
        case Unstructured(size=size) if size > 1:
            return Full(covariance, covariance.factor(x), G)
        case _:
            return Variances(x, G)


@dataclass(frozen=True, eq=False)
class LocalModel:
    """Quadratic model of a criterion around a point.

    Attributes
    ----------
    charts : tuple of Chart
        Coordinates of each term and of what is no covariance, c in all.
    parts : tuple of slice
        Which coordinates belong to each chart.
    jacobian : (w, c) array
        Derivative of Gamma, in its units, and of the plain coordinates, by the local ones.
    gradient, hessian, information : (c,), (c, c) and (c, c) arrays
        Derivatives of the criterion, and the expected Hessian.
    bend : (c,) array
        What the curvature of Gamma in each coordinate adds to the Hessian's diagonal.
    log_variance : (c,) array
        Derivative of ``-log(sigma^2)``.
    is_identified : (c,) array of bool
        Whether the data say anything about each coordinate.
    """

    charts: tuple[Chart, ...]
    parts: tuple[slice, ...]
    jacobian: Matrix
    gradient: Vector
    hessian: Matrix
    information: Matrix
    bend: Vector
    log_variance: Vector
    is_identified: NDArray[np.bool_]

    @classmethod
    def at(cls, criterion: Criterion, x: Vector, here: Evaluation) -> LocalModel:
        """The model around x (d,)."""
        charts, entries = _charts(criterion, x, here)
        parts, c = [], 0
        for chart in charts:
            parts.append(slice(c, c + len(chart.bend)))
            c += len(chart.bend)
        J, bend = np.zeros((len(here.score), c)), np.zeros((c, c))
        for chart, rows, part in zip(charts, entries, parts, strict=True):
            J[rows, part] = chart.jacobian
            bend[part, part] = chart.bend
        gradient = here.score @ J
        log_variance = here.log_variance @ J
        stretch = gradient[:, None] * log_variance
        hessian = J.T @ here.curvature @ J + bend + stretch + stretch.T
        information = J.T @ here.information @ J
        # A relative change of a tiny variance says little, a change of the variance itself much.
        floor = UNIDENTIFIED * np.minimum(einsum("ij,ij->j", J, J), 1.0)
        known = information.diagonal() > floor
        own = bend.diagonal()
        return cls(
            charts, tuple(parts), J, gradient, hessian, information, own, log_variance, known
        )

    @property
    def relative(self) -> NDArray[np.bool_]:
        """Which coordinates are relative changes of covariances, (c,)."""
        counts = [len(chart.bend) for chart in self.charts]
        return np.repeat([chart.is_relative for chart in self.charts], counts)

    @cached_property
    def metric(self) -> Matrix:
        """Columns W (c, r) that measure steps: orthonormal in the information and `bend`.

        The information alone says next to nothing about a tiny variance, whose relative change
        may be limited by the slope of the criterion in it.
        """
        size = self.information.copy()
        size.flat[:: len(size) + 1] += np.abs(self.bend)
        return self._orthonormal(size)

    def _orthonormal(self, size: Matrix) -> Matrix:
        """Columns W (c, r) with ``W'size W = 1``, in all directions that the data determine.

        An approximate information may be indefinite: its eigenvalues count by their size.
        """
        scale = np.sqrt(np.where(self.is_identified, size.diagonal(), np.inf))
        values, vectors = eigh(size / (scale * scale[:, None]))
        values = np.abs(values)
        kept = values > UNDETERMINED
        return np.asarray(vectors[:, kept] / (np.sqrt(values[kept]) * scale[:, None]))

    @cached_property
    def spectrum(self) -> tuple[Vector, Matrix]:
        """Eigenvalues (r,) of the Hessian relative to the metric, about 1 at an optimum.

        With their directions, columns (c, r).
        """
        values, vectors = eigh(self.metric.T @ self.hessian @ self.metric)
        return values, self.metric @ vectors

    def scoring_step(self) -> Vector:
        """Step (c,) to the minimum by the expected information, optimizer-scoring."""
        W = self._orthonormal(self.information)
        return np.asarray(-W @ (W.T @ self.gradient))

    def newton_step(self, damping: float = 0.0) -> Vector:
        """Step (c,) to the minimum by the Hessian, optimizer-newton.

        Its eigenvalues relative to the metric enter by absolute value, plus `damping`.
        """
        return -self.solve(self.gradient, damping)

    def solve(self, right: Vector, damping: float = 0.0) -> Vector:
        """The Hessian's inverse times a vector (c,), with absolute eigenvalues plus `damping`."""
        return solved(*self.spectrum, right, damping)

    def promise(self, step: Vector, curvature: Matrix) -> float:
        """Decrease of the criterion that is predicted for a step (c,), with a (c, c) curvature."""
        return float(promised(self.gradient, curvature, step))

    @cached_property
    def decrement(self) -> float:
        """Decrease of the criterion that a full Newton step promises."""
        return self.promise(self.newton_step(), self.hessian)

    def score(self, step: Vector) -> tuple[Vector, Vector]:
        """Coordinates x (d,) after a scoring step (c,), and the step as taken."""
        return self._along([chart.score for chart in self.charts], step)

    def follow(self, step: Vector) -> tuple[Vector, Vector]:
        """Coordinates x (d,) after a Newton step (c,), and the step as taken."""
        return self._along([chart.follow for chart in self.charts], step)

    def _along(self, paths: Sequence[Along], step: Vector) -> tuple[Vector, Vector]:
        """Coordinates along a path in each chart, and the step as taken."""
        # What covariances are relative to, sigma^2, changes too.
        shrink = max(1.0 - float(self.log_variance @ step), KEPT)
        nothing = np.empty(0)
        moved = (path(step[part] / shrink) for path, part in zip(paths, self.parts, strict=True))
        xs, taken = zip((nothing, nothing), *moved, strict=True)
        return np.concatenate(xs), shrink * np.concatenate(taken)


def _charts(
    criterion: Criterion, x: Vector, here: Evaluation
) -> tuple[tuple[Chart, ...], tuple[slice, ...]]:
    """Charts at x (d,), and the entries that belong to each."""
    parameters = criterion.parameters
    charts: list[Chart] = [
        _chart(covariance, x[part], G, here.score[units])
        for covariance, part, G, units in zip(
            parameters.covariances,
            parameters.slices,
            here.slopes,
            parameters.unit_slices,
            strict=True,
        )
    ]
    m = len(parameters.lower)
    if m == len(x):
        return tuple(charts), parameters.unit_slices
    charts.append(Plain(x[m:], here.gradient[m:], criterion.lower[m:], criterion.upper[m:]))
    return tuple(charts), (*parameters.unit_slices, slice(parameters.n_units, len(here.score)))
