"""Traces by fixed random probes: Lanczos quadrature, with the exact derivative of its value.

For a probe z orthogonal to Q, m steps of Lanczos give ``E_Q V = V T + ...`` and

    z'f(E_Q)z = |z|^2 e_1'f(T)e_1,   f(x) = log(1 + x) - x.                                    (3)

Its derivative is that of a quadratic form in few vectors,

    d z'f(E_Q)z = sum_kl g_kl u_k'(dE_Q)u_l,   g_kl = c_k c_l f[x_k, x_l]                      (4)

with the eigenvalues x and eigenvectors of T, ``u = V (eigenvectors)``, c the first components, and
divided differences f[., .]: value and gradient belong to one function.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lmm._types import IntVector, Matrix, Vector, cached_property
from lmm.errors import NumericalError
from lmm.pls.krylov.deflation import NESTED, Deflated
from lmm.pls.krylov.slopes import Slopes, form_slopes
from lmm.pls.krylov.system import COLUMNS

# What Lanczos steps leave of a system with the probe as its right side, relative to the probe.
RESIDUAL = 1e-8
STEPS = 200
# Eigenvalues of (4), relative to the largest, that are left out.
SMALL = 1e-8


@dataclass(frozen=True, eq=False)
class ProbeForms:
    """Values of (3) for some probes, and the forms (4) of their derivatives.

    Attributes
    ----------
    values : (T,) array
        z'f(E_Q)z.
    vectors : (q, T, r) array
        Vectors of the forms.
    signs : (T, r) array
        Their coefficients.
    """

    values: Vector
    vectors: Matrix
    signs: Matrix


def lanczos(deflated: Deflated, Z: Matrix) -> tuple[list[Matrix], Matrix]:
    """Bases, m times (q, T), and tridiagonal matrices (T, m, m) for probes Z (q, T)."""
    count = Z.shape[1]
    norm = np.sqrt(np.einsum("ij,ij->j", Z, Z))
    basis: list[Matrix] = [
        Z / np.where(norm > 0.0, norm, 1.0)
    ]  # with all directions taken out nothing is left
    diagonal: list[Vector] = []
    beside: list[Vector] = []
    # Of LL' = I + T, whose last rows tell the residual of a system with z as its right side.
    pivot, left = np.zeros(count), np.ones(count)
    for _ in range(STEPS):
        new = deflated.times(basis[-1])
        own = np.einsum("ij,ij->j", basis[-1], new)
        diagonal.append(own)
        new -= own * basis[-1]
        if beside:
            new -= beside[-1] * basis[-2]
        size = np.sqrt(np.einsum("ij,ij->j", new, new))
        if beside:
            left = left * beside[-1] / pivot
            pivot = 1.0 + own - beside[-1] ** 2 / pivot
        else:
            pivot = 1.0 + own
        if not np.all(pivot > 0.0):
            raise NumericalError("The tail of the normal equations is not positive definite.")
        if np.all(left * size <= RESIDUAL * pivot):
            return basis, _tridiagonal(diagonal, beside)
        beside.append(size)
        basis.append(new / np.where(size > 0.0, size, 1.0))
    raise NumericalError(NESTED.format(what="Quadrature", residual=RESIDUAL, steps=STEPS))


def _tridiagonal(diagonal: list[Vector], beside: list[Vector]) -> Matrix:
    """Matrices (T, m, m)."""
    m = len(diagonal)
    T: Matrix = np.zeros((len(diagonal[0]), m, m))
    for i, own in enumerate(diagonal):
        T[:, i, i] = own
    for i, own in enumerate(beside):
        T[:, i, i + 1] = T[:, i + 1, i] = own
    return T


def quadratures(deflated: Deflated, Z: Matrix) -> ProbeForms:
    """Values and forms for probes Z (q, T) orthogonal to Q."""
    basis, tridiagonal = lanczos(deflated, Z)
    x, vectors = np.linalg.eigh(tridiagonal)
    square = np.einsum("ij,ij->j", Z, Z)
    c = vectors[:, 0] * np.sqrt(square)[:, None]
    f = np.log1p(x) - x
    g = c[:, :, None] * c[:, None, :] * divided(x)
    weights, turned = np.linalg.eigh(g)
    order = np.argsort(-np.abs(weights), axis=1)
    weights = np.take_along_axis(weights, order, axis=1)
    large = np.abs(weights) > SMALL * np.abs(weights).max(initial=1e-300)
    kept = max(int(large.any(axis=0).sum()), 1)
    turned = np.take_along_axis(turned, order[:, None, :kept], axis=2)
    mixing = np.einsum("tmk,tkr->mtr", vectors, turned)
    combined = np.stack([_combined(basis, own) for own in np.moveaxis(mixing, 2, 0)], axis=2)
    return ProbeForms(np.einsum("tk,tk->t", c**2, f), combined, weights[:, :kept])


def functions(deflated: Deflated, Z: Matrix, *fs: Callable[[Matrix], Matrix]) -> list[Matrix]:
    """Functions of E_Q times probes Z (q, T) orthogonal to Q."""
    basis, tridiagonal = lanczos(deflated, Z)
    x, vectors = np.linalg.eigh(tridiagonal)
    first = vectors[:, 0] * np.sqrt(np.einsum("ij,ij->j", Z, Z))[:, None]
    weights = [np.einsum("tmk,tk->mt", vectors, first * f(x)) for f in fs]
    return [_combined(basis, each) for each in weights]


def _combined(basis: list[Matrix], weights: Matrix) -> Matrix:
    """Combinations (q, T) of the vectors of each probe's basis, weights (m, T)."""
    total = np.zeros_like(basis[0])
    for V, own in zip(basis, weights, strict=True):
        total += V * own
    return total


def divided(x: Matrix) -> Matrix:
    """Divided differences of ``log(1 + x) - x`` between eigenvalues x (T, m), (T, m, m)."""
    a, b = x[:, :, None], x[:, None, :]
    gap = (b - a) / (1.0 + a)
    close = np.abs(gap) < 1e-4
    safe = np.where(close, 1.0, gap)
    # log(1 + u) / u near zero
    ratio = np.where(close, 1.0 - gap / 2.0 + gap**2 / 3.0 - gap**3 / 4.0, np.log1p(safe) / safe)
    return np.asarray(ratio / (1.0 + a) - 1.0)


@dataclass(frozen=True, eq=False)
class LogDeterminant:
    """``log|S|`` of (2) and its derivatives.

    Attributes
    ----------
    deflated : Deflated
        The tail.
    repeats : int
        Probes per draw.
    forms : tuple of ProbeForms
        Of the probes, some at a time.
    """

    deflated: Deflated
    repeats: int
    forms: tuple[ProbeForms, ...]

    @classmethod
    def of(cls, deflated: Deflated, probes: Matrix, repeats: int) -> LogDeterminant:
        """Quadrature with probes (q, T)."""
        starts = range(0, probes.shape[1], COLUMNS)
        parts = (deflated.project(probes[:, a : a + COLUMNS]) for a in starts)
        return cls(deflated, repeats, tuple(quadratures(deflated, part) for part in parts))

    @property
    def draws(self) -> Vector:
        """Independent values of ``tr f(E_Q)``, one per draw."""
        values = np.concatenate([forms.values for forms in self.forms])
        return np.asarray(values.reshape(-1, self.repeats).mean(axis=1))

    @property
    def value(self) -> float:
        """log|S|."""
        return self.deflated.logdet + self.deflated.trace + float(self.draws.mean())

    @cached_property
    def draw_slopes(self) -> Slopes:
        """Derivatives (draws, k, k) of `draws`, by group."""
        parts = zip(*(_slopes(self.deflated, forms) for forms in self.forms), strict=True)
        each = [np.concatenate(part) for part in parts]
        return tuple(own.reshape(-1, self.repeats, *own.shape[1:]).mean(axis=1) for own in each)

    @cached_property
    def slopes(self) -> Slopes:
        """Derivatives (k, k) by group."""
        exact = _deflated_slopes(self.deflated)
        return tuple(
            own + each.mean(axis=0) for own, each in zip(exact, self.draw_slopes, strict=True)
        )

    def covariance(self, chosen: IntVector) -> Matrix:
        """Sampling covariance of the value and the derivatives by chosen directions, (1 + K,)."""
        slopes = [own.reshape(len(own), -1) for own in self.draw_slopes]
        both = np.column_stack([self.draws, np.hstack(slopes)[:, chosen]])
        return np.atleast_2d(np.cov(both, rowvar=False)) / len(both)


def _slopes(deflated: Deflated, forms: ProbeForms) -> Slopes:
    """Derivatives (T, k, k) of z'f(E_Q)z: ``u'(dE_Q)u = v'(dE)v`` with v the lifted u."""
    q, count, rank = forms.vectors.shape
    U = deflated.lifted(forms.vectors.reshape(q, -1))
    EU = deflated.scaled.times(U)
    each = form_slopes(deflated.scaled, U, EU, U, EU)
    return tuple(
        np.einsum("tr,trab->tab", forms.signs, own.reshape(count, rank, *own.shape[1:]))
        for own in each
    )


def _deflated_slopes(deflated: Deflated) -> Slopes:
    """Derivatives (k, k) of ``log|M| + tr E_Q``."""
    Q, WM, K = deflated.Q, deflated.WM, len(deflated.M)
    inner = deflated.inner(np.eye(K)) - np.eye(K) + WM.T @ WM
    U = Q @ inner - 2.0 * WM
    EU = deflated.Y @ inner - 2.0 * deflated.scaled.times(WM)
    each = form_slopes(deflated.scaled, Q, deflated.Y, U, EU)
    return tuple(own.sum(axis=0) for own in each)
